"""Changed data, pictures in both domains, test pictures that are trained on: one note each."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cyclegan.checkpoints.format import CheckpointConfig, save_checkpoint
from cyclegan.config import DataConfig, RunConfig, TrainConfig
from cyclegan.data import find_data, open_data
from cyclegan.data.fingerprints import fingerprints, known_pictures, picture_changes, trained_pictures
from cyclegan.errors import CheckpointError
from cyclegan.files import MOST_BYTES, fingerprint
from cyclegan.training.run import Run
from tests.training.test_run_folder import ALONE


def picture(path, seed, width=20):
    pixels = np.random.default_rng(seed).integers(0, 255, (20, width, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path):
    for number, folder in enumerate(("trainA", "trainB", "testA", "testB")):
        for index in range(3):
            picture(tmp_path / "data" / folder / f"{index}.png", 10 * number + index)
    return tmp_path / "data"


@pytest.fixture
def notes(tmp_path):
    """The notes of a start on a folder, whose record remains for the next one."""

    def notes(root, **settings):
        accelerator = SimpleNamespace(is_main_process=True, num_processes=1)
        settings = DataConfig(dataset=str(root), load_size=20, crop_size=16, num_workers=0, **settings)
        run = Run(TrainConfig(settings, run=RunConfig(output_dir=str(tmp_path / "run"))), accelerator)
        with open_data(run.config.data, seed=0, progress=False) as data:
            run.compare_pictures(data)
        return [str(note) for note in run.notes]

    return notes


def test_nothing_is_said_of_data_that_did_not_change(folders, notes, tmp_path):
    assert notes(folders) == notes(folders) == []
    shutil.copytree(folders, tmp_path / "copy")  # Elsewhere, and with other times.
    assert notes(tmp_path / "copy") == []


def test_added_removed_and_replaced_pictures_are_counted_once(folders, notes):
    notes(folders)
    picture(folders / "trainA" / "3.png", 70)
    picture(folders / "trainB" / "0.png", 71)
    (folders / "testB" / "2.png").unlink()
    (note,) = notes(folders)
    assert "(trainA: 1 added; trainB: 1 replaced; testB: 1 removed)" in note
    assert notes(folders) == []


@pytest.fixture
def resume(folders, tmp_path):
    """Resume a run of `folders`, from the domains photo and painting, with another data set; return its notes."""
    accelerator, run = ALONE, tmp_path / "run"

    def start(root, a="photo", b="painting", resume="auto"):
        data = DataConfig(str(root), a, b, load_size=20, crop_size=16, num_workers=0)
        config = TrainConfig(data, run=RunConfig(output_dir=str(run), resume=str(resume)))
        with Run(config, accelerator, splits=find_data(data)) as started, open_data(data, seed=0, progress=False) as d:
            started.compare_pictures(d)
        return [str(note) for note in started.notes]

    def begin(root):
        assert start(root) == []
        (run / "training_state" / "step-000000007").mkdir(parents=True)
        (run / "training_state" / "step-000000007" / "state.pt").write_bytes(b"state")
        return start

    return begin


def files_of(run):
    return {path.name: path.read_bytes() for path in run.glob("*.json") if path.name != "progress.json"}


def test_another_data_set_is_refused_and_a_named_state_continues_with_a_warning(folders, resume, tmp_path):
    """Forgetting to change --output_dir must not cost the run its only training state."""
    run, other = tmp_path / "run", tmp_path / "other"
    for number in range(8):
        picture(other / ("trainA" if number % 2 else "trainB") / f"{number}.png", 80 + number)
    start, before = resume(folders), files_of(run)
    for _ in range(2):  # A refusal leaves no trace that would let the next start pass.
        with pytest.raises(CheckpointError) as caught:
            start(other)
        assert f"other pictures (none of domain A's is in {other}): choose another --output_dir" in str(caught.value)
        assert files_of(run) == before
    state = str(caught.value).rpartition(" ")[2]
    assert Path(state) == run / "training_state" / "step-000000007"
    warning, *_ = start(other, resume=state)
    assert warning.startswith("warning: this run was trained on other pictures (none of domain A's")
    assert "warning" not in " ".join(start(other))


def test_exchanged_domains_are_named(folders, resume, tmp_path):
    start = resume(folders)
    for one, other in (("A", "B"), ("B", "A")):
        shutil.copytree(folders / f"train{one}", tmp_path / "turned" / f"train{other}")
    with pytest.raises(CheckpointError, match="turned has its domains the other way round: A's pictures are B"):
        start(tmp_path / "turned")


def test_a_domain_of_other_pictures_is_enough(folders, resume):
    start = resume(folders)
    for path in (folders / "trainB").iterdir():
        picture(path, 90 + int(path.stem))
    with pytest.raises(CheckpointError, match="none of domain B's is in"):
        start(folders)


def test_a_handful_of_its_pictures_is_another_data_set(folders, resume, tmp_path):
    """A mistyped folder may hold copies of some of the pictures; half of them are enough to continue."""
    start, few = resume(folders), tmp_path / "few"
    shutil.copytree(folders, few)
    *gone, last, _ = sorted((few / "trainB").iterdir())
    for path in gone:
        path.unlink()
    total = len(gone) + 2
    last.unlink()
    with pytest.raises(CheckpointError, match=f"only 1 of domain B's {total} are in"):
        start(few)
    for path in sorted((folders / "trainB").iterdir())[: (total + 1) // 2]:
        shutil.copy(path, few / "trainB")
    assert "warning" not in " ".join(start(few))


def test_a_data_set_that_moved_or_grew_is_the_same(folders, resume, tmp_path):
    start = resume(folders)
    shutil.copytree(folders, tmp_path / "copy")
    picture(tmp_path / "copy" / "trainA" / "0.png", 95)
    notes = start(tmp_path / "copy", a="renamed")
    assert any("trainA: 1 replaced" in note for note in notes) and "warning" not in " ".join(notes)


def test_without_a_record_of_pictures_the_settings_decide(folders, resume, tmp_path):
    """As in runs of older versions and those that came from the Hub."""
    start = resume(folders)
    shutil.copytree(folders, tmp_path / "copy")
    (tmp_path / "run" / "pictures.json").unlink()
    with pytest.raises(CheckpointError, match="--dataset was .*, now .*copy; --domain_b was painting, now map"):
        start(tmp_path / "copy", b="map")
    assert "warning" not in " ".join(start(tmp_path / "copy"))


def test_scenes_drawn_by_code_are_told_from_pictures(folders, resume):
    """They have no fingerprints: other numbers of them are the same data set, folders of pictures aren't."""
    start = resume("streets:count=2,test_count=0,size=32")
    assert start("streets:count=2,test_count=0,size=32") == []
    (note,) = start("streets:count=3,test_count=0,size=32")
    assert note.startswith("--dataset was streets:count=2")
    with pytest.raises(CheckpointError, match="other pictures .--dataset was streets:count=3"):
        start(folders)


def test_a_damaged_record_is_written_again(folders, notes, tmp_path):
    notes(folders)
    for content in ("[", "5", '{"train_a": 5}', '{"train_a": [{}]}'):
        (tmp_path / "run" / "pictures.json").write_text(content)
        assert notes(folders) == []
    picture(folders / "trainA" / "3.png", 70)
    assert len(notes(folders)) == 1


def test_test_pictures_that_were_added_or_taken_away(folders, notes, tmp_path):
    notes(folders)
    for side in "AB":
        (folders / f"test{side}").rename(tmp_path / f"put-away-{side}")
    (note,) = notes(folders)
    assert "(testA: 3 removed; testB: 3 removed)" in note
    for side in "AB":
        (tmp_path / f"put-away-{side}").rename(folders / f"test{side}")
    (note,) = notes(folders)
    assert "(testA: 3 added; testB: 3 added)" in note and notes(folders) == []


def test_samples_are_known_by_their_pictures(folders, tmp_path):
    settings = DataConfig(dataset=str(folders), load_size=20, crop_size=16, num_workers=0)

    def measured_on():
        with open_data(settings, seed=0, progress=False) as data:
            return data.measured_on(2)

    first = measured_on()
    assert first["split"] == "test" and measured_on() == first
    (folders / "testA" / "0.png").replace(tmp_path / "0.png")
    other = measured_on()
    assert other["split"] == "test" and other != first
    for side in "AB":
        shutil.rmtree(folders / f"test{side}")
    assert measured_on()["split"] == "train"


def test_figures_of_other_pictures_are_noted_at_the_start(folders, notes, tmp_path):
    def epoch(**record):
        config = CheckpointConfig.of(TrainConfig(DataConfig(dataset=str(folders))))
        save_checkpoint(tmp_path / "run", epoch=1, weights={"gen_ab": {}}, config=config, record=record)

    epoch()  # An older one, which doesn't record it.
    assert notes(folders) == []
    with open_data(DataConfig(dataset=str(folders), load_size=20, crop_size=16), seed=0, progress=False) as data:
        epoch(measured_on=data.measured_on(8))
    assert notes(folders) == []
    for side in "AB":
        shutil.rmtree(folders / f"test{side}")
    removed, others = notes(folders)
    assert "removed" in removed
    assert others.startswith("samples and figures are of other pictures from now on, so the figures of earlier epochs")


def test_both_domains_hold_the_same(folders, notes):
    shutil.rmtree(folders / "trainB")
    (folders / "trainB").symlink_to(folders / "trainA")
    (note,) = notes(folders)
    assert note.startswith("A and B hold the same pictures (3)")


def test_some_pictures_are_in_both_domains(folders, notes):
    shutil.copy(folders / "trainA" / "1.png", folders / "trainB" / "again.png")
    (note,) = notes(folders, domain_a="day", domain_b="night")
    assert note.startswith("training pictures in both day and night: 1, such as 1.png;")


def test_test_pictures_that_are_trained_on(folders, notes):
    shutil.copy(folders / "trainA" / "1.png", folders / "testA" / "other-name.png")
    shutil.copy(folders / "trainB" / "1.png", folders / "testB" / "2.png")
    (note,) = notes(folders)
    assert note.startswith("test pictures that are also training pictures: 2 of 7, such as other-name.png;")


def test_what_a_run_was_trained_on_is_remembered(folders, notes, tmp_path):
    """Pictures that are moved into the test split after a training, or between two, are known to the networks."""
    assert notes(folders) == [] and trained_pictures(None) == trained_pictures(tmp_path / "none") == set()
    run, before = tmp_path / "run", find_data(DataConfig(dataset=str(folders)))
    trained = trained_pictures(run)
    assert len(trained) == 6 and trained_pictures(run / "epoch-0001") == trained
    assert known_pictures(before, fingerprints(before, ["test"]), trained) is None
    (folders / "trainA" / "1.png").rename(folders / "testA" / "moved.png")
    after = find_data(DataConfig(dataset=str(folders)))
    assert known_pictures(after, fingerprints(after, ["test"]), trained) == (1, 7, "moved.png")
    for changed in (1, 0):  # And each later start.
        assert len(said := notes(folders)) == changed + 1
        assert said[-1].startswith("test pictures that are also training pictures: 1 of 7, such as moved.png;")
        assert trained_pictures(run) == trained
    for damaged in ("[]", '{"train_a": 3}', "{"):
        (run / "pictures.json").write_text(damaged)
        assert trained_pictures(run) == set()


def test_without_test_pictures_the_training_pictures_are_no_find(folders, notes):
    for folder in ("testA", "testB"):
        shutil.rmtree(folders / folder)
    assert notes(folders) == []


def test_pairs_in_one_file_are_two_pictures(tmp_path, notes):
    for index in range(2):
        picture(tmp_path / "pairs" / "train" / f"{index}.png", index, width=40)
        picture(tmp_path / "pairs" / "test" / f"{index}.png", 10 * index, width=40)  # The first is trained on.
    (note,) = notes(tmp_path / "pairs")
    assert note.startswith("test pictures that are also training pictures: 2 of 4, such as 0.png;")


def test_pictures_that_are_drawn_by_code_have_none(notes, tmp_path):
    assert notes("streets:count=2,test_count=1,size=32") == []
    assert not (tmp_path / "run").exists()


def test_a_large_file_is_read_in_parts_from_its_first_to_its_last_byte(tmp_path):
    content = bytearray(3 * MOST_BYTES)
    path = tmp_path / "x.bmp"
    seen = set()
    for place in (None, 0, len(content) - 1):
        if place is not None:
            content[place] ^= 1
        path.write_bytes(content)
        assert fingerprint(path) == fingerprint(bytes(content))
        seen.add(fingerprint(path))
    assert len(seen) == 3
    assert fingerprint(b"a") != fingerprint(b"b") != fingerprint(b"")


def test_a_file_that_vanished_is_left_to_the_training(folders):
    with open_data(DataConfig(dataset=str(folders), num_workers=0), seed=0, progress=False) as data:
        (folders / "trainA" / "1.png").unlink()
        assert fingerprints(data)["train_a"][1] == ""


def test_order_and_what_one_side_lacks_do_not_count():
    assert picture_changes({"train_a": ["1", "2"], "test_a": ["3"]}, {"train_a": ["2", "1"]}) == ""
    assert picture_changes({"train_a": ["1", "1"]}, {"train_a": ["1", "2", "3"]}) == "trainA: 1 added, 1 replaced"
