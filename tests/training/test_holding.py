"""A run's folder on a file system whose locks hold on one computer only: progress.json shows another training."""

import json
import threading

import pytest

from cyclegan.checkpoints.progress import PROGRESS, Progress, is_written, write_progress
from cyclegan.errors import CheckpointError
from cyclegan.files import write_json
from cyclegan.training.holding import hold


@pytest.fixture
def elsewhere(tmp_path):
    """Write the progress of a training on another computer, whose clock is wrong."""
    run, beats = tmp_path, iter(range(10**6))

    def write(state="training"):
        write_progress(run, Progress(state, epoch=1, epochs=9))
        values = json.loads((run / PROGRESS).read_text())
        write_json(run / PROGRESS, {**values, "process": "node7 12 1.0", "written": float(next(beats))})

    return write


def test_a_training_on_another_computer_that_still_writes_holds_the_folder(tmp_path, elsewhere):
    elsewhere()
    done = threading.Event()

    def beat():
        while not done.wait(0.1):
            elsewhere()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(CheckpointError, match="another process is training into"):
            hold(tmp_path)
    finally:
        done.set()
        thread.join()


def test_one_that_was_killed_or_has_ended_there_does_not(tmp_path, elsewhere):
    elsewhere()
    assert not is_written(tmp_path, within_s=0.5)
    elsewhere("stopped")
    lock, notes = hold(tmp_path)
    lock.release()
    assert not notes
