"""What is written beside the training: of the moment at which it was handed over, in order, and not after a failure."""

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cyclegan.checkpoints.format import write_error
from cyclegan.errors import CheckpointError
from cyclegan.training.background import BackgroundWriter, TrainerSnapshot


class Trained:
    """A trainer of one small network that goes on training in place."""

    def __init__(self, num_processes=1):
        self.accelerator = SimpleNamespace(num_processes=num_processes)
        self.data = SimpleNamespace(train_a=[0] * 3, train_b=[0] * 4, test_a=[0], test_b=[0])
        self.network, self.pool, self.counts = nn.Linear(2, 2), [torch.zeros(3)], {"cycle_a": 1}
        self.epoch = self.global_step = 1
        self.stop_requested = False

    def published_generators(self):
        return {"gen_ab": self.network}

    def state_dict(self):
        shared = {"epoch": self.epoch, "global_step": self.global_step, "skipped_steps": 0, "ema": {}}
        networks = {"gen_ab": self.network.state_dict()}
        process = {"pool": self.pool, "sums": [self.counts], "random": (1, (2, 3), None)}
        return {"shared": {**shared, "networks": networks}, "process": process}

    def train(self):
        with torch.no_grad():
            for value in (*self.network.parameters(), *self.pool):
                value.add_(1)
        self.pool.append(torch.ones(3))
        self.counts["cycle_a"] += 1
        self.epoch, self.global_step = self.epoch + 1, self.global_step + 1


def numbers(snapshot):
    tensors = (snapshot.weights["gen_ab"]["weight"], snapshot.state["shared"]["networks"]["gen_ab"]["weight"])
    process = snapshot.state["process"]
    return [*(t.tolist() for t in tensors), [t.tolist() for t in process["pool"]], process["sums"], process["random"]]


def test_a_snapshot_does_not_change():
    trainer = Trained()
    snapshot = TrainerSnapshot.of(trainer)
    before = numbers(snapshot)
    trainer.train()
    assert numbers(snapshot) == before and numbers(TrainerSnapshot.of(trainer)) != before
    assert (snapshot.epoch, snapshot.global_step) == (1, 1)
    assert snapshot.pictures == {"train_a": 3, "train_b": 4, "test_a": 1, "test_b": 1}
    assert before[-1] == (1, (2, 3), None)


def test_the_training_goes_on_while_one_epoch_is_written_and_waits_with_the_next():
    free, done, trainer = threading.Event(), [], Trained()
    with BackgroundWriter(trainer) as writer:
        writer.submit(lambda: done.append(free.wait(10)))
        assert done == []  # Came back before it was written.
        threading.Timer(0.05, free.set).start()
        writer.submit(lambda: done.append(2))
        assert done[0] is True
    assert done == [True, 2]


def test_a_failure_stops_the_training_and_nothing_is_written_after_it():
    trainer, written = Trained(), []

    def full():
        raise write_error(OSError(28, "No space left on device"), Path("epoch-0002"))

    with pytest.raises(CheckpointError, match="disk is full"), BackgroundWriter(trainer) as writer:
        writer.submit(full)
        writer.submit(lambda: written.append("later"))
    assert trainer.stop_requested and written == []


def test_what_was_handed_over_is_written_whatever_ends_the_training():
    free, written = threading.Event(), []
    with pytest.raises(KeyError, match="the training's own"), BackgroundWriter(Trained()) as writer:
        writer.submit(lambda: written.append(free.wait(10)))
        threading.Timer(0.05, free.set).start()
        raise KeyError("the training's own")
    assert written == [True]


def test_an_error_of_the_training_and_one_of_the_writing_are_both_told(caplog):
    def full():
        raise write_error(OSError(28, "No space left on device"), Path("epoch-0002"))

    with pytest.raises(KeyError, match="the training's own"), BackgroundWriter(Trained()) as writer:
        writer.submit(full)
        raise KeyError("the training's own")
    assert "disk is full" in caplog.text


def test_several_processes_write_at_once_in_their_main_threads():
    threads = []
    with BackgroundWriter(Trained(num_processes=2)) as writer:
        writer.submit(lambda: threads.append(threading.current_thread()))
        assert threads == [threading.main_thread()]
