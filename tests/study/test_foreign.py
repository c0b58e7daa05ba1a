"""Studies of pictures that other programs made: matched by name, prepared like ours, named in reports."""

import dataclasses
import io
from datetime import datetime, timezone
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DataConfig
from cyclegan.data import find_data
from cyclegan.errors import StudyError
from cyclegan.study.build import encode_png
from cyclegan.study.foreign import ForeignPictures, about_quality, find_foreign
from cyclegan.study.format import PlannedCheckpoint, read_study
from cyclegan.study.make import make_study
from cyclegan.study.preregistration import preregistration, votes_so_far
from cyclegan.study.protocol import protocol
from cyclegan.study.report import make_report, to_markdown
from cyclegan.study.store import Store, answers
from tests.study.made_up import made_votes
from tests.study.pictures import Noise

DATA = "streets:count=2,test_count=12,size=40"
RULES = protocol("cyclegan2017", practice_trials=2, test_trials=6, results="open")


@pytest.fixture
def options(tmp_path):
    return {"direction": "ab", "output": tmp_path / "studies" / "mine", "protocol": RULES, "limit": 10}


@pytest.fixture
def made_by(tmp_path):
    """Write another program's pictures of DATA's inputs; returns the folder."""

    def make(name, *, count=12, size=(32, 32), file="{stem}_fake_B.png", blur=1.0):
        inputs = find_data(DataConfig(dataset=DATA)).test_a
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        for index in range(count):
            picture = inputs.load(index).resize(size).filter(ImageFilter.GaussianBlur(blur))
            picture.save(folder / file.format(stem=inputs.label(index), n=index))
        return folder

    return make


@pytest.fixture
def find(tmp_path):
    """Find pictures of these names, of all folders, for six inputs 0000.png to 0005.png."""

    def call(needs_match=False, direction="ab", inputs=None, **folders):
        notes, pictures = [], Noise(6, 0)
        if inputs:
            pictures.label = inputs.__getitem__
        for name, files in folders.items():
            (tmp_path / name).mkdir(exist_ok=True)
            for file in files:
                Image.new("RGB", (32, 32)).save(tmp_path / name / file)
        found, usable = find_foreign(
            {name: tmp_path / name for name in folders}, pictures, direction, needs_match=needs_match, seed=3,
            note=lambda said: notes.append(str(said)),
        )  # fmt: skip
        return [{n: path.name for n, path in each.paths.items()} for each in found], usable, notes

    call.folder = tmp_path
    return call


def test_pictures_belong_to_the_inputs_of_their_names(find):
    names = [f"{n:04}" for n in range(6)]
    found, usable, notes = find(
        plain=[f"{name}.jpg" for name in names],
        authors=[f"{name}_{what}.png" for name in names for what in ("real_A", "fake_B", "fake_A")],
        pix2pix=[f"{name}-outputs.png" for name in names],
    )  # fmt: skip
    assert usable == [0, 1, 2, 3, 4, 5] and found[0] == {n: f"{name}.jpg" for n, name in enumerate(names)}
    assert found[1] == {n: f"{name}_fake_B.png" for n, name in enumerate(names)}
    assert found[2][5] == "0005-outputs.png"
    assert notes == ["authors: files with the name of a picture that is translated: 6 of 18; the others aren't used"]
    (back,), _, _ = find(direction="ba", authors=[])
    assert back[0] == "0000_fake_A.png"


def test_inputs_without_a_picture_of_each_condition_are_left_out(find):
    found, usable, notes = find(one=["0000.png", "0001.png", "0002.png"], two=["0002.png", "0001.png", "other.png"])
    assert usable == [1, 2] and [set(each) for each in found] == [{1, 2}, {1, 2}]
    assert notes == [
        "two: files with the name of a picture that is translated: 2 of 3; the others aren't used",
        "pictures to translate for which each condition has one: 2 of 6; the others aren't used",
    ]
    with pytest.raises(StudyError, match="no picture that is translated has one of its name in each of these folders"):
        find(three=["0004.png"], four=["0005.png"])


def test_pictures_of_other_scenes_are_dealt_out_where_they_may_be(find):
    found, usable, notes = find(gan=[f"sample{n}.png" for n in range(4)])
    assert len(usable) == 4 and sorted(found[0].values()) == [f"sample{n}.png" for n in range(4)]
    assert find(gan=[])[0] == found  # By the seed.
    assert notes[0].startswith("gan: no file has the name of a picture that is translated, such as 0000.png")
    with pytest.raises(StudyError, match="name them after these, or build a study that doesn't need it, with --pair"):
        find(needs_match=True, gan=[])


def test_copies_of_the_inputs_are_not_taken_for_fakes(find):
    names = [f"{n:04}" for n in range(6)]
    found, usable, notes = find(
        one=[f"{name}{end}.png" for name in names for end in ("", "_fake_B")],
        two=[*(f"{name}.jpg" for name in names), *(f"{name}_fake.png" for name in names[:4])],
    )  # fmt: skip
    assert found[0] == {n: f"{name}_fake_B.png" for n, name in enumerate(names[:4])}
    assert found[1] == {n: f"{name}_fake.png" for n, name in enumerate(names[:4])} and usable == [0, 1, 2, 3]
    assert notes[0] == (
        "one: files that end as 0000_fake_B.png does are taken for its results; files without that ending, such as "
        "0000.png, for copies of the pictures that are translated"
    )
    for files in (["0001.png", "0001.jpg"], ["0001_fake.png", "0001_output.png"], ["0001.png", "0001.PNG"]):
        with pytest.raises(StudyError, match=r"twice: 0001.* and 0001.* have the name of the same picture"):
            find(twice=files)
        for file in files:
            (find.folder / "twice" / file).unlink()


@pytest.mark.parametrize("end", ["_output", "_fake", "_fake_B", "-outputs"])
def test_inputs_may_have_names_like_results(find, end):
    inputs = [f"s{n:02}{end}.png" for n in range(6)]
    found, usable, notes = find(inputs=inputs, needs_match=True, gan=inputs)
    assert found == [dict(enumerate(inputs))] and len(usable) == 6 and not notes
    results = [name.replace(".png", "_fake_B.png") for name in inputs]
    assert find(inputs=inputs, gan=results)[0] == [dict(enumerate(results))]


def test_names_are_compared_as_people_read_them(find):
    composed, apart = "r\u00e9al{}.png", "re\u0301al{}.png"
    inputs = [composed.format(n) for n in range(5)] + ["P1.png"]
    files = [*(apart.format(n) for n in range(5)), "p1.png"]
    assert find(inputs=inputs, needs_match=True, gan=files)[0] == [dict(enumerate(files))]
    assert find(inputs=inputs, needs_match=True, results=["p1_FAKE_b.png"])[0] == [{5: "p1_FAKE_b.png"}]
    two = ["p1.png", "P1.png", *(f"{n}.png" for n in range(4))]
    assert find(inputs=two, both=two)[0] == [dict(enumerate(two))]


def test_what_is_no_folder_of_pictures_is_named(find, tmp_path):
    with pytest.raises(StudyError, match="holds no pictures: name the folder that holds those of empty"):
        find(empty=[])
    with pytest.raises(StudyError, match="gone: .*can't be listed"):
        find_foreign({"gone": tmp_path / "no"}, Noise(6, 0), "ab", needs_match=False, seed=0, note=print)


def test_runs_and_other_programs_in_one_study(make_checkpoint, made_by, options, tmp_path):
    """They are prepared alike, counted alike, and named in the report; participants and old programs see no more."""
    for epoch in (1, 4):
        make_checkpoint(tmp_path / "runs" / "mine", epoch)
    make_checkpoint(tmp_path / "runs" / "gan", 2, seed=3)
    cogan = made_by("cogan", count=11)
    large = made_by("large", size=(80, 80), file="{stem}.png", blur=2.0)
    notes, steps = [], []
    study = make_study(
        {"CycleGAN": LocalSource(tmp_path / "runs" / "mine"), "GAN": LocalSource(tmp_path / "runs" / "gan")}, DATA,
        **options, epochs={"CycleGAN": (1, 4)}, fakes={"CoGAN": cogan, "BiGAN": large},
        note=lambda said: notes.append(str(said)), progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert study == read_study(options["output"])
    assert study.labels == {1: "CycleGAN, epoch 1", 2: "CycleGAN, epoch 4", 3: "GAN", 4: "CoGAN", 5: "BiGAN"}
    assert [c.foreign for c in study.checkpoints] == [False] * 3 + [True] * 2 and steps[-1][0] == steps[-1][1]
    assert [c.source for c in study.checkpoints[3:]] == ["cogan", "large"]
    # A run's entry is written as before, so that studies of runs keep their ids.
    assert (study.folder / "study.json").read_text().count('"foreign": true') == 2
    assert "false" not in (study.folder / "study.json").read_text().split('"direction"')[0]
    assert len({c.commit_sha for c in study.checkpoints}) == 5
    scenes = {n: {s.scene for s in study.stimuli if s.epoch == n} for n in study.epochs}
    assert len(scenes[1]) == 10 and all(each == scenes[1] for each in scenes.values())
    assert notes[:2] == ["CoGAN: pictures that match: 11 of 11", "BiGAN: pictures that match: 12 of 12"]
    assert notes[2:] == ["pictures to translate for which each condition has one: 11 of 12; the others aren't used"]
    # A picture of the networks' size is taken as it is.
    number = next(n for n in range(12) if any(s.scene.endswith(f"test-a-{n:04}") for s in study.stimuli))
    theirs = Image.open(cogan / f"test-a-{number:04}_fake_B.png").convert("RGB")
    shown = {s.scene.rpartition(":")[2]: study.stimulus(s.sha256) for s in study.stimuli if s.epoch == 4}
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown[f"test-a-{number:04}"]))), np.asarray(theirs))
    assert len(shown[f"test-a-{number:04}"]) == len(encode_png(theirs)) + 44  # With the mark, like all.

    mixed = dataclasses.replace(study, protocol=dataclasses.replace(RULES, epochs_per_session="mixed"))
    assert {trial.epoch for trial in mixed.trials(0, 0)[2:]} == {1, 2, 3, 4, 5}

    votes = made_votes(study, 5)
    report = make_report(study, votes, votes.iloc[:0])
    assert report["trend"] is None and len(report["contrasts"]) == 10  # Methods have no order.
    assert [e["of_epoch"] for e in report["epochs"]] == [1, 4, 2, None, None]
    text = to_markdown(report)
    assert "Pictures that other programs made, from a folder each: CoGAN from cogan, BiGAN from large." in text
    # A rival that left out its failures would change everybody's pictures, so the reader is told.
    assert study.unmatched == 1 and "because another program's folder has no picture for them: 1." in text
    assert "| CoGAN |" in text
    assert f"files `{study.checkpoints[3].commit_sha[:8]}`" in text and "judged one method" in text


def test_pictures_of_unknown_scenes_are_kept_as_such(made_by, options):
    """The study, its plan and its report say so, and comparisons don't take them for pictures of the inputs' scenes."""
    fakes = {"CoGAN": made_by("cogan"), "BiGAN": made_by("bigan", file="sample{n}.png", blur=2.0)}
    study = make_study(None, DATA, **options, fakes=fakes)
    assert [c.matched for c in study.checkpoints] == [True, False] and read_study(study.folder) == study
    assert (study.folder / "study.json").read_text().count('"matched": false') == 1
    assert '"matched": true' not in (study.folder / "study.json").read_text()
    of = {n: {study.shown_scene(s.sha256) for s in study.stimuli if s.epoch == n} for n in (1, 2)}
    assert of[1] == {s.scene for s in study.stimuli if s.epoch == 1} and len(of[2]) == 10 and not of[1] & of[2]
    votes = made_votes(study, 5)
    said = "Its files have other names than the pictures that the others translated, so nobody knows which scenes"
    assert f"BiGAN: {said}" in to_markdown(make_report(study, votes, votes.iloc[:0]))
    with Store(f"sqlite:///{study.folder / 'votes.sqlite3'}") as store:
        plan = preregistration(study, votes_so_far(study, store), now=datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert f"BiGAN: {said}" in plan
    with pytest.raises(StudyError, match="only pictures of another program can show other scenes"):
        PlannedCheckpoint(1, "a" * 40, "mine", "mine", 1, matched=False)


def test_real_pictures_are_no_translations_and_inputs_are_noted(made_by, options, tmp_path):
    notes, real = [], tmp_path / "real"
    real.mkdir()
    splits = find_data(DataConfig(dataset=DATA))
    for n in range(12):
        splits.test_b.load(n).save(real / f"{splits.test_a.label(n)}.png")
    with pytest.raises(StudyError, match="of CoGAN are the real pictures, such as the one for .*: name the"):
        make_study(None, DATA, fakes={"CoGAN": real}, **options)
    assert not options["output"].exists()
    same = made_by("same", size=(40, 40), blur=0)
    make_study(None, DATA, fakes={"input": same, "other": made_by("other", size=(40, 40))}, **options,
               note=lambda said: notes.append(str(said)))
    (said,) = (note for note in notes if "inputs" in note)
    assert "other: pictures that match: 12 of 12" in notes
    assert said.startswith("input: pictures that are their own inputs, untranslated: 10 of 10, such as test-a-")


def test_only_other_programs(made_by, options):
    study = make_study(None, DATA, **options, fakes={"CoGAN": made_by("cogan", size=(48, 40), count=9)})
    assert study.size == (48, 40) and study.labels == {1: "CoGAN"}
    assert len([s for s in study.stimuli if s.kind == "fake"]) == 9 and study.checkpoints[0].foreign
    with Store(f"sqlite:///{study.folder / 'votes.sqlite3'}") as store:
        assert make_report(study, *answers(study, store))["epochs"][0]["label"] == "CoGAN"
    for side in (4, 2049):  # As with --size.
        tiny = {**options, "output": options["output"].with_name("other"), "size": None}
        with pytest.raises(StudyError, match=f"stimuli of {side}×{side} pixels: choose sides from 32 to 2048"):
            make_study(None, DATA, **tiny, fakes={"CoGAN": made_by(f"of{side}", size=(side, side), count=9)})
    with pytest.raises(StudyError, match="nothing is to be judged: name a run, or a folder"):
        make_study(None, DATA, **{**options, "output": options["output"].with_name("none")})


def test_what_may_give_a_condition_away_is_noted(made_by, options, make_checkpoint, tmp_path):
    make_checkpoint(tmp_path / "mine", 1)
    notes, small = [], made_by("small", size=(24, 24), file="{stem}.jpg")
    make_study(LocalSource(tmp_path / "mine"), DATA, **options, fakes={"CoGAN": small}, note=notes.append)
    _, enlarged, compressed = map(str, notes)
    assert enlarged.startswith("CoGAN: 12 of its pictures are smaller than the study's 32×32 pixels. They were enl")
    assert compressed.startswith("CoGAN: 12 of its pictures are JPEG or WebP files, and other fakes aren't")


def test_the_check_names_a_condition_with_traces_of_compression(made_by, options):
    """Even where its files aren't JPEG files any more."""
    clean, traces = made_by("clean", size=(64, 64)), made_by("traces", size=(64, 64), blur=0)
    for path in traces.iterdir():
        compressed = io.BytesIO()
        Image.open(path).save(compressed, "JPEG", quality=5)
        Image.open(compressed).save(path)
    reports = []
    make_study(None, DATA, **options, fakes={"clean": clean, "GAN": traces}, report=reports.append)
    notes = [str(note) for note in reports[0].notes if "than the other fakes" in str(note)]
    assert len(notes) == 1 and notes[0].startswith("the fakes of GAN show more of JPEG's grid")
    assert "10 fake of GAN" in reports[0].text() and "participants per method" in reports[0].text()


def test_one_compressed_picture_less_is_still_noted(made_by):
    paths = {name: dict(enumerate(sorted(made_by(name, file=file, count=3).iterdir())))
             for name, file in (("A", "{stem}.jpg"), ("B", "{stem}.jpg"), ("C", "{stem}.webp"))}  # fmt: skip
    Image.open(paths["A"][0]).save(paths["A"][0], "PNG")
    study = SimpleNamespace(size=(32, 32), checkpoints=[SimpleNamespace(foreign=True)] * 3)
    found = [ForeignPictures(name, paths[name][0].parent, paths[name], True) for name in paths]
    said = [str(text).split(" files")[0] for text in about_quality(found, study)]
    assert said == [f"{name}: {n} of its pictures are JPEG or WebP" for name, n in (("A", 2), ("B", 3), ("C", 3))]
    assert not about_quality(found[1:], study)  # All alike.
    Image.open(paths["C"][0]).save(paths["C"][0], lossless=True)
    assert str(about_quality(found[2:], study)[0]).startswith("C: 2 of its")


def test_names_are_given_once(made_by, options, make_checkpoint, tmp_path):
    make_checkpoint(tmp_path / "mine", 1)
    with pytest.raises(StudyError, match="'mine' can't be the name of pictures that another program made"):
        make_study(LocalSource(tmp_path / "mine"), DATA, **options, fakes={"mine": made_by("cogan")})
    for name in (" ", "", "x" * 81, "Real  pictures"):
        with pytest.raises(StudyError, match="can't be a name in reports: choose 1 to 80 letters"):
            make_study(None, DATA, **options, fakes={name: tmp_path})
    with pytest.raises(StudyError, match="pictures of another program need a name"):
        PlannedCheckpoint(1, "a" * 40, "cogan", foreign=True)


def test_next_to_the_real_picture_of_its_scene(made_by, options):
    """With the pairing same, a foreign picture is shown next to the truth of the input that it is named after."""
    rules = protocol("colorization2016", practice_trials=2, test_trials=6, vigilance_share=0, results="open")
    study = make_study(None, DATA, **{**options, "protocol": rules}, fakes={"CoGAN": made_by("cogan", blur=3.0)})
    for trial in study.trials(0, 0):
        assert trial.left.scene == trial.right.scene
