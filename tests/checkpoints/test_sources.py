"""A run's folder before its first epoch, and the words that change with it."""

import time

import pytest

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
