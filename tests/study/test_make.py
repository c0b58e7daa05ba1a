"""A study from checkpoints and a data set in one call, here and in a process of its own."""

import contextlib
import json
import shutil
from datetime import datetime, timezone

import numpy as np
import pytest
from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DataConfig
from cyclegan.data import find_data
from cyclegan.data.fingerprints import fingerprints
from cyclegan.errors import DataError, ImageError, StudyError
from cyclegan.locale import in_language
from cyclegan.study.choice import TooFewPictures
from cyclegan.study.format import read_study
from cyclegan.study.make import make_in_process, make_study
from cyclegan.study.preregistration import preregistration, votes_so_far
from cyclegan.study.protocol import protocol
from cyclegan.study.report import make_report, to_markdown
from cyclegan.study.store import Store, answers
from cyclegan.ui.studies import card
from cyclegan.ui.words import Speaker

DATA = "streets:count=2,test_count=12,size=40"


@pytest.fixture
def source(make_checkpoint, tmp_path):
    """Two epochs of untrained networks."""
    for epoch in (1, 2):
        make_checkpoint(tmp_path / "myrun", epoch)
    return LocalSource(tmp_path / "myrun")


@pytest.fixture
def options(tmp_path):
    rules = protocol("cyclegan2017", practice_trials=2, test_trials=6)
    return {"direction": "ab", "output": tmp_path / "studies" / "mine", "protocol": rules, "limit": 10}


def test_a_study_in_one_call(source, options):
    steps, reports = [], []
    study = make_study(source, DATA, **options, epochs="all", title="Which is real?",
                       progress=lambda *step: steps.append(step), report=reports.append)  # fmt: skip
    assert study == read_study(options["output"]) and study.folder == options["output"]
    assert study.epochs == (1, 2) and study.size == (32, 32) and study.title == "Which is real?"
    assert study.protocol == options["protocol"] and study.arrow == "day → night"
    total = steps[-1][1]
    assert steps[-1] == (total, total) and [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert [report.passed for report in reports] == [True]


def test_a_data_set_of_other_domains_is_noted(source, options, tmp_path):
    for folder in ("test/drawn", "test/satellite", "train/drawn", "train/satellite"):
        (tmp_path / "maps" / folder).mkdir(parents=True)
        for number in range(12):
            shade = np.random.default_rng([number, len(folder)]).integers(0, 255, (40, 40, 3), np.uint8)
            Image.fromarray(shade).save(tmp_path / "maps" / folder / f"{number}.png")
    notes = []
    make_study(source, str(tmp_path / "maps"), **options, note=lambda said: notes.append(str(said)))
    assert [said for said in notes if "maps has drawn and satellite, but the run translates between day and" in said]


def test_an_epoch_that_is_named_twice_is_judged_once(source, options):
    assert make_study(source, DATA, **options, epochs=(2, 2)).epochs == (2,)


def test_test_pictures_that_the_networks_know_are_noted(source, options, tmp_path):
    rng = np.random.default_rng(0)
    for folder, count in (("trainA", 3), ("trainB", 3), ("testA", 20), ("testB", 20)):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / folder / f"{index:02}.png")
    shutil.copy(tmp_path / "data" / "trainA" / "00.png", tmp_path / "data" / "testA" / "known.png")
    notes = []
    study = make_study(source, str(tmp_path / "data"), **options, note=notes.append)
    assert study.title == "Real or fake?"
    assert [str(note).split(";")[0] for note in notes] == [
        "test pictures that are also training pictures: 1 of 41, such as known.png"
    ]
    assert study.trained_on == (1, 41)


def test_test_pictures_that_the_run_was_trained_on_mark_the_study(source, options, tmp_path):
    """As after a training whose pictures were moved into the test split: the data set doesn't say so any more."""
    rng = np.random.default_rng(0)
    for folder in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / folder / f"{index:02}.png")
    moved = fingerprints(find_data(DataConfig(dataset=str(tmp_path / "data"))), ["test"])["test_b"][:5]
    (source.folder / "pictures.json").write_text(json.dumps({"train_a": ["0"], "train_b": [], "earlier": moved}))
    reports = []
    study = make_study(source, str(tmp_path / "data"), **options, report=reports.append)
    assert study == read_study(study.folder) and study.trained_on == (5, 40)
    seen = "test pictures that the networks have seen in training: 5 of 40"
    assert any(str(note).startswith(seen) for note in reports[0].notes)
    with Store(f"sqlite:///{study.folder / 'votes.sqlite3'}") as store:
        report = make_report(study, *answers(study, store))
        plan = preregistration(study, votes_so_far(study, store), now=datetime.now(timezone.utc))
    text = to_markdown(report)
    assert f"> **{seen.capitalize()}.** So" in text
    assert any(note.startswith(seen.capitalize()) for note in report["notes"])
    assert f"{seen.capitalize()}." in plan
    assert "in training: 5 of 40" in card(study, Speaker("en"), owner=True, own=True)


def test_a_preset_by_its_name(source, options):
    with pytest.raises(StudyError, match="no protocol 'cyclegan2018'"):
        make_study(source, DATA, **{**options, "protocol": "cyclegan2018"})
    with pytest.raises(TooFewPictures, match="10 practice trials and 40 test trials need more pictures"):
        make_study(source, DATA, **{**options, "protocol": "cyclegan2017"})
    study = make_study(source, DATA, **{**options, "protocol": None})
    assert (study.protocol.practice_trials, study.protocol.test_trials) == (2, 8)


def test_pictures_that_cannot_be_read_are_left_out_if_asked(source, options, tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("trainA", "trainB"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / folder / f"{index:02}.png")
    (tmp_path / "data" / "trainA" / "broken.png").write_bytes(b"PNG")
    options |= {"limit": None, "split": "train", "skip_bad_images": True}
    notes, data = [], str(tmp_path / "data")
    with pytest.raises(ImageError, match="broken.png"):
        make_study(source, data, **{**options, "skip_bad_images": False})
    reports = []
    study = make_study(source, data, **options, note=notes.append, report=reports.append)
    assert len({s.scene for s in study.stimuli if s.kind == "fake"}) == 20
    # Whoever reads a figure of it learns that, too, not only whoever built it.
    assert read_study(study.folder).split == "train" and any("in training" in str(note) for note in reports[0].notes)
    with Store(f"sqlite:///{study.folder / 'votes.sqlite3'}") as store:
        report = make_report(study, *answers(study, store))
    assert "> **These are training pictures.**" in to_markdown(report)
    seen, left_out = map(str, notes)
    assert left_out == "left out: 1 picture that can't be read, such as broken.png" and "in training" in seen


def test_what_is_missing_is_named(source, options):
    with pytest.raises(StudyError, match="has no epoch 7: choose --epochs from 1, 2"):
        make_study(source, DATA, **options, epochs=[1, 7])
    with pytest.raises(DataError, match="try a study of its training pictures$"):
        make_study(source, "streets:count=2,test_count=0,size=40", **options)
    assert not options["output"].exists()


def test_the_same_in_a_process_of_its_own(source, options):
    options["secret"] = "a" * 64
    steps = [step for step in make_in_process(source, DATA, **options) if step is not None]
    total = steps[-1][1]
    assert steps[-1] == (total, total) and len(set(steps)) > 2
    study = read_study(options["output"])
    again = make_study(source, DATA, **{**options, "output": options["output"].with_name("again") / "mine"})
    assert study == again and study.study_id == again.study_id and study.epochs == (2,)


def test_an_error_of_the_process_is_translated(source, options):
    with pytest.raises(TooFewPictures) as caught:
        list(make_in_process(source, DATA, **{**options, "limit": 4}))
    assert str(caught.value).startswith("2 practice trials and 6 test trials need more pictures than there are, 4 to ")
    assert in_language(caught.value, "ko").startswith("연습 2회, 본시험 6회에 쓸 사진이 모자랍니다(변환할 사진 4장")
    assert caught.value.message.values["test_trials"] == 3


def test_a_cancelled_build_leaves_nothing(source, options):
    with contextlib.closing(make_in_process(source, DATA, **options)) as steps:
        next(step for step in steps if step is not None)
    assert list(options["output"].parent.iterdir()) == []



# --- several runs -------------------------------------------------------------------------------------------


def test_several_runs_judge_the_same_inputs_under_their_names(make_checkpoint, tmp_path, options):
    for seed, name in enumerate(("one", "two", "one-way")):
        make_checkpoint(tmp_path / name, 8, seed=seed, directions=("ba",) if name == "one-way" else ("ab", "ba"))
    runs = {"CycleGAN": LocalSource(tmp_path / "one"), "GAN alone": LocalSource(tmp_path / "two"),
            "pix2pix": LocalSource(tmp_path / "one-way")}  # fmt: skip
    notes = []
    study = make_study(runs, DATA, **options, note=notes.append)
    assert study == read_study(options["output"]) and study.labels == {1: "CycleGAN", 2: "GAN alone"}
    assert [(c.source, c.true_epoch) for c in study.checkpoints] == [("one", 8), ("two", 8)]
    assert "pix2pix isn't in the study, because it doesn't translate A → B" in map(str, notes)
    scenes = {n: {s.scene for s in study.stimuli if s.epoch == n} for n in (1, 2)}
    assert scenes[1] == scenes[2] and len(scenes[1]) == 10
    with pytest.raises(StudyError, match="none of these runs translates A → B: pix2pix"):
        make_study({"pix2pix": runs["pix2pix"]}, DATA, **{**options, "output": tmp_path / "none"})


def test_runs_without_names_have_those_of_their_folders(make_checkpoint, tmp_path, options):
    for seed, folder in enumerate(("x/mine", "y/mine", "z/other")):
        make_checkpoint(tmp_path / folder, 1, seed=seed)
        make_checkpoint(tmp_path / folder, 2, seed=seed)
    sources = [LocalSource(tmp_path / folder) for folder in ("x/mine", "y/mine", "z/other")]
    study = make_study(sources, DATA, **options, domains=("labels", "photo"))
    assert list(study.labels.values()) == ["mine", "mine (2)", "other"] and study.arrow == "labels → photo"
    study = make_study(sources[1:], DATA, **{**options, "output": tmp_path / "all"}, epochs="all")
    assert list(study.labels.values()) == ["mine, epoch 1", "mine, epoch 2", "other, epoch 1", "other, epoch 2"]
    assert [c.true_epoch for c in study.checkpoints] == [1, 2, 1, 2] and study.epochs == (1, 2, 3, 4)


def test_a_list_of_one_run_is_the_run(source, options, tmp_path):
    options["secret"] = "a" * 64
    one = make_study(source, DATA, **options)
    again = make_study([source], DATA, **{**options, "output": tmp_path / "again" / "mine"})
    assert one.study_id == again.study_id and not one.labels


def test_runs_whose_pictures_were_prepared_otherwise_cannot_be_compared(make_checkpoint, tmp_path, options):
    make_checkpoint(tmp_path / "one", 1)
    make_checkpoint(tmp_path / "two", 1, crop_size=64)
    runs = {name: LocalSource(tmp_path / name) for name in ("one", "two")}
    with pytest.raises(StudyError, match="^one and two were trained on pictures prepared in different ways"):
        make_study(runs, DATA, **options)
