"""A run's folder before its first epoch, and the words that change with it."""

import json
import os
import shutil
import time
import typing
from pathlib import Path

import pytest

from cyclegan.checkpoints.format import CheckpointConfig, load_checkpoint
from cyclegan.checkpoints.progress import STALE_S, Progress, write_progress
from cyclegan.checkpoints.sources import LocalSource, Watch
from cyclegan.errors import CheckpointError


def test_a_run_that_is_awaited_opens_before_its_first_epoch(tmp_path, make_checkpoint):
    with pytest.raises(CheckpointError, match="nowhere is not a folder"):
        LocalSource(tmp_path / "nowhere", awaited=True)
    source = LocalSource(tmp_path, awaited=True)
    assert source.list() == [] and source.problems == [] and not source.has_begun and source.watch() == Watch()
    for call in (source.load, source.path):
        with pytest.raises(CheckpointError, match="holds no checkpoint: a run's folder holds epoch-0001"):
            call()
    (tmp_path / "run.json").write_text("{}")
    assert source.has_begun
    with pytest.raises(CheckpointError, match="has no epoch yet: wait for its first one"):
        LocalSource(tmp_path)
    make_checkpoint(tmp_path, 1)
    assert [info.epoch for info in source.list()] == [1] and source.load().info.epoch == 1


@pytest.mark.parametrize(("given", "meant"), [
    ("run/mine", "runs/mine"), ("runs/min", "runs/mine"), ("runs/mime/epoch-001", "runs/mine/epoch-0001"),
    ("other/run", None), ("", None), ("n" * 300, None),
])  # fmt: skip
def test_a_slip_in_a_runs_name_gets_the_run_that_is_there(tmp_path, monkeypatch, given, meant):
    (tmp_path / "runs" / "mine" / "epoch-0001").mkdir(parents=True)
    (tmp_path / "runs" / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        LocalSource(given)
    near = f" (did you mean {meant}?)" if meant else ""
    assert str(caught.value).startswith(f"{given or repr('')} is not a folder{near}; name a run's folder")


def test_a_folder_of_runs_names_the_runs_in_it(tmp_path, make_checkpoint):
    (tmp_path / "notes" / "epoch-of-mine").mkdir(parents=True)
    for name in ("try", "maps"):
        make_checkpoint(tmp_path / name, 1)
    with pytest.raises(CheckpointError) as caught:
        LocalSource(tmp_path)
    runs = f"{tmp_path / 'maps'}, {tmp_path / 'try'}"
    assert str(caught.value) == f"{tmp_path} holds no checkpoint itself; name a run in it: {runs}"
    for name in "abc":
        make_checkpoint(tmp_path / name, 1)
    assert str(LocalSource(tmp_path, awaited=True).nothing()).endswith(f"{tmp_path / 'maps'}, …")


def test_the_words_change_with_what_they_stand_for(tmp_path, make_checkpoint, monkeypatch):
    source, seen, later = LocalSource(tmp_path, awaited=True), [], time.time() + STALE_S + 1
    for change in (
        lambda: None,
        lambda: write_progress(tmp_path, Progress("training", epoch=1, epochs=2, step=1, steps=9)),
        lambda: write_progress(tmp_path, Progress("training", epoch=1, epochs=2, step=2, steps=9)),
        lambda: (tmp_path / "metrics.jsonl").write_text("{}"),
        lambda: write_progress(tmp_path, Progress("training", epoch=1, epochs=2, samples_step=2)),
        lambda: make_checkpoint(tmp_path, 1),
        lambda: make_checkpoint(tmp_path, 2),
        lambda: monkeypatch.setattr(time, "time", lambda: later),
    ):
        change()
        assert source.watch() not in seen
        seen.append(source.watch())
        assert source.watch() == seen[-1]
    assert [bool(watch.epochs) for watch in seen] == [False] * 5 + [True] * 3


def says_epoch(folder, epoch):
    path = folder / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "epoch": epoch}))


@pytest.mark.parametrize("name", ["epoch-0005", "epoch-00003", "epoch-0000", "epoch-٠٠٠٣", "epoch-" + "9" * 200])
def test_a_folder_of_another_epochs_name_is_named_as_damaged(tmp_path, make_checkpoint, name):
    make_checkpoint(tmp_path, 1)
    wrong = make_checkpoint(tmp_path, 3).rename(tmp_path / name)
    source = LocalSource(tmp_path)
    said = f"{name} is damaged: it holds epoch 3; name the folder epoch-0003, or get the checkpoint again"
    assert [info.epoch for info in source.list()] == [1] and [str(problem) for problem in source.problems] == [said]
    assert source.load().info.epoch == 1 and source.path() == tmp_path / "epoch-0001"
    for open_it in (lambda: load_checkpoint(wrong), lambda: LocalSource(wrong).load()):
        with pytest.raises(CheckpointError) as caught:
            open_it()
        assert said in str(caught.value)
    assert LocalSource(wrong).list() == []
    make_checkpoint(tmp_path, 3)  # The true one is found next to it.
    assert source.load(3).info.epoch == 3 and source.path(3) == tmp_path / "epoch-0003"
    assert [info.epoch for info in source.list()] == [3, 1]


def test_an_epoch_that_its_folder_contradicts_is_not_loaded_by_either_number(tmp_path, make_checkpoint):
    says_epoch(make_checkpoint(tmp_path, 5), 3)
    make_checkpoint(tmp_path, 6)
    source = LocalSource(tmp_path)
    with pytest.raises(CheckpointError, match="epoch-0005 is damaged: it holds epoch 3"):
        source.load(5)
    with pytest.raises(CheckpointError, match="has no epoch 3; it has 5, 6"):
        source.load(3)


def test_a_single_epochs_folder_may_have_any_other_name(tmp_path, make_checkpoint, monkeypatch):
    folder = make_checkpoint(tmp_path, 3).rename(tmp_path / "best")
    assert LocalSource(folder).load(3).info.epoch == 3
    shutil.copytree(folder, tmp_path / "epoch-0005")
    monkeypatch.chdir(tmp_path / "epoch-0005")
    assert LocalSource(".").list() == []
    monkeypatch.chdir(folder)
    assert LocalSource(".").load().info.epoch == 3
    os.symlink(folder, tmp_path / "epoch-0004")
    with pytest.raises(CheckpointError, match="epoch-0004 is damaged: it holds epoch 3"):
        load_checkpoint(Path(tmp_path / "epoch-0004"))


def test_a_list_reads_the_settings_of_each_epoch_once(tmp_path, make_checkpoint, monkeypatch):
    """A run may have 2,000 epochs, and the app lists them at each event of a page."""
    for epoch in (1, 2, 3):
        make_checkpoint(tmp_path, epoch)
    source, read, evaluated = LocalSource(tmp_path), [], []
    source.list()  # Types are evaluated at the first one.
    from_json, get_type_hints = CheckpointConfig.from_json, typing.get_type_hints
    monkeypatch.setattr(CheckpointConfig, "from_json",
                        lambda values, where: read.append(where) or from_json(values, where))  # fmt: skip
    monkeypatch.setattr(typing, "get_type_hints", lambda kind: evaluated.append(kind) or get_type_hints(kind))
    source.list()
    assert read == ["epoch-0003", "epoch-0002", "epoch-0001"] and evaluated == []
