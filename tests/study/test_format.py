"""The study format: a frozen folder that is written whole and read back the same."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import pytest

from cyclegan.errors import StudyError
from cyclegan.study.format import FILE_TIME, PlannedCheckpoint, commitment, find_studies, read_study, write_study
from cyclegan.study.protocol import protocol
from cyclegan.study.shelf import Studies
from tests.study.made_up import made_study, unseen_study


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "../up"}, "can't be a study's name"),
        ({"name": "x" * 65}, "can't be a study's name"),
        ({"name": "static"}, "can't be a study's name"),  # Its page would never be found.
        ({"direction": "up"}, "choose ab or ba"),
        ({"checkpoints": ()}, "at least one checkpoint"),
        ({"checkpoints": (PlannedCheckpoint(1, "a", "r"), PlannedCheckpoint(1, "b", "r"))}, "named twice"),
        ({"checkpoints": (PlannedCheckpoint(1, "a", "r", "x"), PlannedCheckpoint(2, "b", "r", "x"))}, "named twice"),
        ({"checkpoints": (PlannedCheckpoint(1, "a", "r", "x"), PlannedCheckpoint(2, "b", "r"))}, "a name for each"),
        ({"completion_url": "javascript:alert(1)"}, "has to begin with https://"),
        ({"protocol": protocol("pick"), "checkpoints": (PlannedCheckpoint(1, "a", "r"),)}, "name at least two"),
    ],
)
def test_studies_that_make_no_sense(changes, sentence):
    with pytest.raises(StudyError, match=sentence):
        dataclasses.replace(unseen_study(), **changes)


def test_a_study_is_read_as_it_was_written(small_study):
    study = small_study(contact="someone@example.org", vigilance_share=0.2)
    again = read_study(study.folder)
    assert again == study and again.study_id == study.study_id and again.folder == study.folder
    assert again.trials(1, 3) == study.trials(1, 3)
    files = sorted((study.folder / "stimuli").iterdir())
    assert len(files) == len(study.stimuli) and {path.stat().st_mtime for path in files} == {FILE_TIME}
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        assert study.stimulus_path(path.stem) == path
    assert not list(study.folder.parent.glob(".*"))


def test_the_same_study_twice_is_the_same_bytes(small_study, tmp_path):
    one, two = small_study(), small_study(folder=tmp_path / "elsewhere")
    assert one.study_id == two.study_id
    for path in sorted(p for p in one.folder.rglob("*") if p.is_file()):
        assert path.read_bytes() == (two.folder / path.relative_to(one.folder)).read_bytes()
    assert small_study("other").study_id != one.study_id != small_study("third", seed=2).study_id


def test_a_study_of_one_run_is_as_older_programs_read_it():
    path = Path(__file__).parents[1] / "old_data" / "night-streets" / "study.json"
    study = read_study(path.parent)  # Built before studies had methods.
    again = {**json.loads(path.read_text(encoding="utf-8"))}
    assert json.loads(json.dumps(study.to_json())) == again and not study.labels
    assert study.study_id == hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def test_a_study_of_several_runs_has_their_names(tmp_path):
    study = made_study(tmp_path / "made-up", epochs=(1, 2), labels=("CycleGAN", "pix2pix"))
    assert read_study(study.folder) == study and study.labels == {1: "CycleGAN", 2: "pix2pix"}
    content = json.loads((study.folder / "study.json").read_text(encoding="utf-8"))
    assert content["format_version"] == 2  # Older programs ask for an update.
    assert content["checkpoints"][0] | {"commit_sha": ""} == {
        "epoch": 1, "commit_sha": "", "source": "run-1", "label": "CycleGAN", "of_epoch": 8
    }


SECRET = "0123456789abcdef" * 4


def test_a_secret_is_kept_in_a_file_of_its_own(tmp_path):
    study = dataclasses.replace(made_study(), secret=SECRET, secret_sha256=commitment(SECRET))
    contents = {s.sha256: b"" for s in study.stimuli}
    written = write_study(study, contents, tmp_path / "made-up")
    again = read_study(written.folder)
    assert again == study and again.draw_key == SECRET and again.trials(0, 0) == study.trials(0, 0)
    content = json.loads((written.folder / "study.json").read_text(encoding="utf-8"))
    assert content["format_version"] == 3 and content["secret_sha256"] == hashlib.sha256(SECRET.encode()).hexdigest()
    assert SECRET not in json.dumps(content) + repr(study) + repr(again)
    file = written.folder / "secret"
    assert file.read_text() == SECRET and file.stat().st_mode & 0o777 == 0o600
    file.write_text(SECRET + "\n")  # As an editor leaves it.
    assert read_study(written.folder).draw_key == SECRET
    for change in (lambda: file.write_text("f" * 64), lambda: file.write_bytes(b"\xff"), file.unlink):
        change()
        damaged = read_study(written.folder)  # Reports need no secret.
        with pytest.raises(StudyError, match="secret.*copy it from where the study was built, or from a backup"):
            damaged.check_enough()
        with pytest.raises(StudyError, match="backup"):
            Studies([written.folder])
        with pytest.raises(StudyError, match="backup"):
            write_study(damaged, contents, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_secrets_that_make_no_sense():
    for changes in ({"secret": SECRET}, {"secret": "abc", "secret_sha256": commitment("abc")}, {"secret_sha256": "x"}):
        with pytest.raises(StudyError, match="secret"):
            dataclasses.replace(made_study(), **changes)


def test_a_study_is_frozen(small_study):
    study = small_study()
    before = (study.folder / "study.json").read_bytes()
    with pytest.raises(StudyError, match="exists already: a study is frozen"):
        small_study(seed=2)
    assert (study.folder / "study.json").read_bytes() == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        study.seed = 2


def test_a_folder_is_there_whole_or_not_at_all(small_study, tmp_path, monkeypatch):
    study = small_study()
    contents = {s.sha256: study.stimulus_path(s.sha256).read_bytes() for s in study.stimuli}
    target = tmp_path / "new"
    with pytest.raises(StudyError, match="not those of the study's stimuli"):
        write_study(study, dict(list(contents.items())[1:]), target)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudyError, match="No space left on device.*free space"):
        write_study(study, contents, target)
    assert not target.exists() and not list(tmp_path.glob(".*"))


def test_stimulus_paths_are_those_of_the_study_only(small_study):
    study = small_study()
    for name in ("0" * 64, "../study", ""):
        with pytest.raises(StudyError, match="has no stimulus"):
            study.stimulus_path(name)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text[: len(text) // 2], "is damaged"),
        (lambda text: "[]", "is damaged"),
        (lambda text: "[" * 100_000, "is damaged"),
        (lambda text: "\xff", "is damaged"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 4'), "newer version.*update the program"),
        (lambda text: text.replace('"format_version": 1', '"format_version": "one"'), "is damaged"),
        (lambda text: text.replace('"seed"', '"sead"'), "is damaged"),
        (lambda text: text.replace('"mask"', '"musk"'), "is damaged"),
        (lambda text: text.replace('"question": "real"', '"question": "why"'), "--question 'why' is not one of"),
        (lambda text: text.replace('"sha256": "', '"sha256": "../'), "is damaged.*has a wrong name, kind"),
    ],
)  # fmt: skip
def test_a_damaged_study_is_told(small_study, change, sentence):
    path = small_study().folder / "study.json"
    text = path.read_text(encoding="utf-8")
    assert change(text) != text
    path.write_text(change(text), encoding="latin-1")
    with pytest.raises(StudyError, match=sentence):
        read_study(path.parent)


def test_finding_studies(small_study, tmp_path):
    one, two = small_study("one"), small_study("two", seed=2)
    assert find_studies([one.folder]) == [one]
    assert find_studies([tmp_path / "studies"]) == [one, two]
    with pytest.raises(StudyError, match="two studies are called one"):
        find_studies([one.folder, tmp_path / "studies"])
    for empty in (tmp_path / "nowhere", one.folder / "stimuli"):
        with pytest.raises(StudyError, match="holds no study"):
            find_studies([empty])
        with pytest.raises(StudyError, match="holds no study"):
            read_study(empty)
    with pytest.raises(StudyError, match=r"studies/tow holds no study \(did you mean .*studies/two\?\)"):
        read_study(tmp_path / "studies" / "tow")
