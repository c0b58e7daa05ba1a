"""How far a training is, for the app: progress.json, and samples within an epoch."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from cyclegan.checkpoints.progress import STALE_S, Progress, newest_samples, read_progress, write_progress
from cyclegan.training.monitor import Monitor
from cyclegan.training.progress import ProgressWriter
from tests.training.test_trainer import Reads, batch, make, weights

pytestmark = pytest.mark.usefixtures("any_precision")
STEPS = 4


def wait_until(what, limit_s=60):
    """Return the first true result of `what`."""
    deadline = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)
    return found


def start(folder, writer, **run):
    """A trainer of tiny networks with dropout, and its monitor, which writes into `folder`."""
    trainer = make(model={"dropout": True}, optim={"ema": 0.5}, **run)
    pictures = [picture for picture in batch(9, 3)["real_a"]]
    samples = {"real_a": pictures, "real_b": pictures[:2], "label_a": ["x"] * 3, "label_b": ["y"] * 2}
    trainer.data = SimpleNamespace(
        steps_per_epoch=lambda *_: STEPS, samples=lambda count: samples, test_is_train=False
    )
    config = replace(trainer.config, run=replace(trainer.config.run, output_dir=str(folder)))
    monitor = Monitor(config, trainer, trainer.accelerator)
    monitor.begin(SimpleNamespace(notes=[], progress=writer, save_examples=lambda *_: None))
    monitor.start_epoch()
    return trainer, monitor


def train(trainer, monitor, steps):
    for step in range(steps):
        losses = trainer.step(batch(step))
        trainer.global_step += 1
        trainer.step_in_epoch += 1
        monitor.on_step(losses)


@pytest.fixture
def writer(tmp_path):
    writer = ProgressWriter(tmp_path)
    yield writer
    writer.close()


def test_samples_within_an_epoch_change_nothing_of_the_training(tmp_path, writer):
    ends = []
    for every in (1, 0):
        trainer, monitor = start(tmp_path, writer, samples_every=every)
        train(trainer, monitor, STEPS)
        monitor.close_bar()
        buffers = [value.clone() for network in trainer.networks.values() for value in network.buffers()]
        averages = [p.clone() for network in trainer.averages.networks.values() for p in network.parameters()]
        modes = [module.training for network in trainer.networks.values() for module in network.modules()]
        ends.append([*weights(trainer), *buffers, *averages, torch.get_rng_state(), torch.tensor(modes)])
    with_samples, without = ends
    assert len(with_samples) == len(without) > 100
    assert all(torch.equal(x, y) for x, y in zip(with_samples, without, strict=True))


def test_the_newest_samples_are_in_the_run_and_the_epochs_last_step_makes_none(tmp_path, writer):
    trainer, monitor = start(tmp_path, writer, samples_every=2, sample_count=2)
    train(trainer, monitor, STEPS)
    monitor.close_bar()
    writer.close()
    assert [path.name for path in newest_samples(tmp_path)] == ["ab.png", "ba.png"]
    with Image.open(newest_samples(tmp_path)[0]) as grid:
        assert grid.width > 3 * 128 and 2 * 128 < grid.height < 3 * 128  # Real, fake and rec; two rows.
    assert read_progress(tmp_path).samples_step == 2


def test_progress_is_written_while_nothing_waits_for_the_device(tmp_path, writer):
    trainer, monitor = start(tmp_path, writer, samples_every=0)
    train(trainer, monitor, 1)  # The bar shows the first step's losses.
    pictures = batch(1)
    with Reads() as reads:
        losses = trainer.step(pictures)
        trainer.global_step, trainer.step_in_epoch = 2, 2
        monitor.on_step(losses)
        progress = monitor.progress()
    monitor.close_bar()
    assert not reads.found
    assert (progress.state, progress.epoch, progress.step, progress.steps) == ("training", 1, 2, STEPS)
    assert progress.part == 0.5 and progress.seconds_left > 0 and progress.run_seconds_left > progress.seconds_left
    assert progress.losses.keys() == losses.keys() and progress.domains == {"a": "A", "b": "B"}
    writer.follow(monitor.progress)
    written = wait_until(lambda: (found := read_progress(tmp_path)) and found.step == 2 and found)
    assert written.alive and written.samples_step is None


def test_the_file_tells_the_end_of_a_training_from_its_death(tmp_path, monkeypatch):
    writer = ProgressWriter(tmp_path)
    assert wait_until(lambda: read_progress(tmp_path)).state == "preparing"
    writer.close()
    assert read_progress(tmp_path).state == "stopped" and not read_progress(tmp_path).alive
    writer = ProgressWriter(tmp_path)
    writer.follow(lambda: Progress("done", epoch=3, epochs=2))
    writer.close()
    assert read_progress(tmp_path).state == "done"

    write_progress(tmp_path, Progress("training", epoch=1, epochs=2, step=34, steps=100))
    assert read_progress(tmp_path).alive
    now = time.time()
    for later in (STALE_S + 1, -STALE_S - 1):  # Killed long ago, or by a clock that is wrong.
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        assert read_progress(tmp_path).state == "training" and not read_progress(tmp_path).alive


def test_a_killed_process_of_this_computer_is_seen_at_once(tmp_path):
    write = "from pathlib import Path; from cyclegan.checkpoints.progress import *; "
    write += f"write_progress(Path({str(tmp_path)!r}), Progress('training', epoch=1)); import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", write]) as training:
        try:
            assert wait_until(lambda: read_progress(tmp_path)).alive
        finally:
            training.kill()
        wait_until(lambda: not read_progress(tmp_path).alive)  # As a zombie, too, which its shell hasn't seen yet.
    assert not read_progress(tmp_path).alive
    found = json.loads((tmp_path / "progress.json").read_text())
    for other in ("another-computer 1 2.0", "", "x", None, f"{found['process'].split()[0]} 9999999999 1"):
        (tmp_path / "progress.json").write_text(json.dumps(found | {"process": other}))
        assert read_progress(tmp_path).alive, "only the time is known there"


def test_a_failure_does_not_end_the_reports(tmp_path, caplog):
    writer = ProgressWriter(tmp_path)
    writer.follow(lambda: Progress("done", epoch=3, epochs=2))

    def fail():
        raise MemoryError("no room for a grid")

    writer.show(3, fail)
    assert wait_until(lambda: "no room for a grid" in caplog.text)
    writer.close()
    assert read_progress(tmp_path).state == "done"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"state": "training"}', '{"state": 5, "written": 1}',
                                  '{"state": "training", "written": NaN}'])  # fmt: skip
def test_a_damaged_file_is_none(tmp_path, text):
    (tmp_path / "progress.json").write_text(text)
    assert read_progress(tmp_path) is None


def test_odd_values_do_no_harm(tmp_path):
    odd = {"state": "training", "written": 5, "epoch": "x", "steps": -3, "losses": {"a": "x", "b": 1.5}, "domains": 5}
    (tmp_path / "progress.json").write_text(json.dumps(odd))
    progress = read_progress(tmp_path)
    assert progress.losses == {"b": 1.5} and progress.epoch == 0 and progress.part == 0.0
