"""What a person sees while a training runs."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from cyclegan.config import CycleGANConfig, DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from cyclegan.training import monitor as module
from cyclegan.training.monitor import Monitor

pytestmark = pytest.mark.usefixtures("any_precision")


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves; the bar draws itself at each of its seconds."""
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now.s)
    return now


def make(folder, *, done=0, precision="no"):
    config = TrainConfig(DataConfig(dataset="none"), ModelConfig(), CycleGANConfig(),
                         OptimConfig(epochs=2, decay_epochs=0), RunConfig(output_dir=str(folder)))  # fmt: skip
    trainer = SimpleNamespace(epoch=0, steps_per_epoch=100, step_in_epoch=done, global_step=done)
    return Monitor(config, trainer, Accelerator(cpu=True, mixed_precision=precision))


def pace(bar):
    """The bar's text behind the time, and what it says of images per second and of the time left."""
    text = str(bar).rsplit("[", 1)[1]
    found = re.search(r"([\d.e+]+) images/s, (\S+) left", text)
    return text, found and found.groups()


def test_the_bar_shows_a_pace_once_it_has_measured_one(tmp_path, clock, capsys):
    """The first step loads and compiles kernels, so it counts for nothing."""
    monitor = make(tmp_path)
    monitor.start_epoch()
    for step in range(1, 4):
        clock.s += 60 if step == 1 else 40
        monitor.trainer.global_step = monitor.trainer.step_in_epoch = step
        monitor.on_step({"cycle_a": torch.tensor(0.5)})
        text, shown = pace(monitor.bar)
        assert "cycle 0.500" in text
        assert (shown is None) if step == 1 else (shown == ("0.025", "2:11:20" if step == 3 else "2:12:00"))
    monitor.close_bar()


@pytest.mark.parametrize(("later", "shown"), [
    ((), "0.0167 images/s"), ((40.0,), "0.025 images/s"), ((0.0002,), "5,000 images/s"),
])  # fmt: skip
def test_an_epochs_pace_is_of_its_steps_however_few(tmp_path, clock, later, shown):
    """Without the first step, unless there is no other: what is left of the clock then says nothing."""
    monitor = make(tmp_path)
    monitor.start_epoch()
    for step, seconds in enumerate((60.0, *later), 1):
        clock.s += seconds
        monitor.trainer.global_step = monitor.trainer.step_in_epoch = step
        monitor.on_step({"cycle_a": torch.tensor(0.5)})
    monitor.close_bar()
    monitor.trainer.epoch_means = SimpleNamespace(means=lambda: {"cycle_a": 0.5})
    monitor.trainer.schedule, monitor.trainer.skipped_steps = SimpleNamespace(lr=lambda epoch: 1e-4), 0
    monitor._evaluate = lambda samples: ({}, {})
    (line,) = monitor.finish_epoch({}, 60.0 + sum(later)).lines
    assert f"  {shown}  " in line


def test_an_epochs_first_steps_are_expected_to_last_as_the_epoch_before(tmp_path, clock):
    monitor = make(tmp_path)
    monitor._usual = 2.0
    monitor.start_epoch()
    assert monitor.progress().seconds_left == pytest.approx(200.0)
    monitor._first = False
    clock.s += 50.0  # One slow step of hundred: 1 of 26 that count.
    monitor.trainer.global_step = monitor.trainer.step_in_epoch = 1
    assert monitor.progress().seconds_left == pytest.approx(99 * (50 + 25 * 2.0) / 26)


@pytest.mark.parametrize(("precision", "said"), [("no", "fp32"), ("bf16", "bf16 mixed precision")])
def test_each_start_says_and_records_what_computes(tmp_path, capsys, precision, said):
    for done in (0, 7):
        make(tmp_path, done=done, precision=precision)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(re.fullmatch(rf"training on the CPU with \d+ threads?, in {said}", x) for x in lines[::2])
    assert set(lines[1::2]) == {f"method cyclegan: {CycleGANConfig().describe()}"}
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["event"], row["step"], row["mixed_precision"]) for row in rows] == [
        ("start", 0, precision), ("start", 7, precision)]  # fmt: skip
    assert all(row["processes"] == 1 and "CPU" in row["device"] for row in rows)
