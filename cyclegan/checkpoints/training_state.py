"""The training state of a run, for resuming. It is never published with a checkpoint, and the app never loads it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cyclegan.errors import CheckpointError

STATE_NAME = re.compile(r"step-(\d{9,})")


@dataclass(frozen=True)
class StateInfo:
    """A training state on disk."""

    path: Path
    global_step: int


def save_training_state(folder: Path, state: Mapping[str, Any], *, process_index: int) -> None:
    """Write one process's part of a training state into `folder`, which `files.whole_folder` provides.

        RUN/training_state/step-000002740/
          state.pt            networks, optimisers, averages, scaler, epoch, step (process 0)
          process-0.pt        pools and random states of each process

    Args:
        state: {"shared": …, "process": …}, tensors and plain values only, because it is read with weights_only.
    """
    import torch

    def write(values: Any, path: Path) -> None:
        with open(path, "wb") as file:
            checked = _CheckedFile(file)
            torch.save(values, checked)
        if checked.error is not None:
            raise checked.error

    write(state["process"], folder / f"process-{process_index}.pt")
    if process_index == 0:
        write(state["shared"], folder / "state.pt")


class _CheckedFile:
    """A file for torch.save that keeps the disk's error for the caller to raise, because torch.save hides it.

    Writing to memory first would show the error too, but takes longer than the disk does, and slows down the training
    that runs at the same time.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.error = file, None

    def write(self, data: memoryview) -> int:
        if self.error is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is closed."""


def state_folder(run: Path, global_step: int) -> Path:
    """Return the folder for the training state after `global_step` steps."""
    return run / "training_state" / f"step-{global_step:09d}"


def list_training_states(run: Path) -> list[StateInfo]:
    """Return the whole training states of a run, newest first."""
    root = run / "training_state"
    found = [path for path in root.iterdir() if STATE_NAME.fullmatch(path.name)] if root.is_dir() else []
    states = [StateInfo(path, int(path.name[5:])) for path in found if (path / "state.pt").is_file()]
    return sorted(states, key=lambda state: state.global_step, reverse=True)


def load_training_state(folder: Path, *, process_index: int) -> dict[str, Any]:
    """Return a training state's shared part and this process's part ({} if there was no such process), on the CPU.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    import torch

    try:
        shared = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
        process = {}
        if process_index < shared["num_processes"]:
            own = folder / f"process-{process_index}.pt"
            process = torch.load(own, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds, depending on the damage.
        raise CheckpointError(
            "the training state {folder} can't be read ({reason})", folder=folder, reason=type(error).__name__
        ) from error
    return {"shared": shared, "process": process}


def prune_training_states(run: Path, keep: int) -> None:
    """Remove all but the newest `keep` training states. Call it once the newest is safely on disk."""
    for state in list_training_states(run)[keep:]:
        shutil.rmtree(state.path, ignore_errors=True)
