"""Sources of checkpoints: the protocol of every source, and the folder of a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cyclegan.checkpoints.format import (
    EPOCH_NAME,
    SAMPLES,
    Checkpoint,
    CheckpointInfo,
    epoch_name,
    load_checkpoint,
    load_discriminators,
    read_info,
)
from cyclegan.checkpoints.progress import PROGRESS, MetricsLog, Progress, newest_samples, read_progress
from cyclegan.config import Direction
from cyclegan.errors import CheckpointError, Message, UserError
from cyclegan.files import nearest_folder

if TYPE_CHECKING:
    from torch import Tensor

NAMED = 4
"""Runs that an error names, at most."""
EXAMPLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif")


class Watch(NamedTuple):
    """Words that change with what they stand for."""

    epochs: str = ""
    """The list of epochs; empty while there is none."""
    training: str = ""
    """The progress of the training."""
    details: str = ""
    """The losses and samples of the epoch that is being trained."""


class CheckpointSource(Protocol):
    """A source of checkpoints: the folder of a run, or a repository of the Hub."""

    name: str
    """The name that people know it by: a folder's name or USER/NAME."""
    problems: list[UserError | Message]
    """One sentence for each checkpoint or question that the last `list` had to leave out."""
    url: str | None
    """Its page on the Hub; None for a folder."""
    has_begun: bool
    """True if a training has written here, though maybe no epoch yet."""

    def watch(self) -> Watch:
        """Return words that change once there is something new to show. It is cheap: open pages ask again and again.

        Raises CheckpointError.
        """
        ...

    def progress(self) -> Progress | None:
        """Return how far the training is that writes here, or that wrote here last; None if that isn't known."""
        ...

    def refresh(self) -> None:
        """Make the next `list` look again instead of remembering."""
        ...

    def examples(self) -> list[Path]:
        """Return example pictures of both domains, named a_*.png and b_*.png, or .tif; may be empty."""
        ...

    def samples(self, epoch: int) -> list[Path]:
        """Return an epoch's grids of test pictures, ab.png and ba.png in this order; either may be missing.

        Raises CheckpointError.
        """
        ...

    def scores(self) -> tuple[Sequence[Path], Sequence[UserError]]:
        """Return the files of scores that came with the run, and the reason for each that is left out; not checked.

        Raises CheckpointError.
        """
        ...

    def list(self) -> list[CheckpointInfo]:
        """Return all checkpoints, newest epoch first, without reading weights. Raises CheckpointError."""
        ...

    def load(self, epoch: int | None = None, directions: tuple[Direction, ...] | None = None) -> Checkpoint:
        """Return the checkpoint of `epoch`, None for the newest. Raises CheckpointError."""
        ...

    def discriminators(self, epoch: int, names: Collection[str] | None = None) -> dict[str, dict[str, Tensor]]:
        """Return the weights of the epoch's discriminators by name, of those `names` or all; {} where none were kept.

        Raises CheckpointError.
        """
        ...


class LocalSource:
    """The checkpoints of a run's folder, or the single one of an epoch's folder.

    Args:
        folder: the run's or the epoch's.
        awaited: open a folder that holds no checkpoint yet; its list then is empty.

    Raises:
        CheckpointError: the folder is missing or holds no checkpoint.
    """

    def __init__(self, folder: str | Path, *, awaited: bool = False) -> None:
        self.folder = Path(folder)
        # Path.is_dir raises for a name that is too long; Path("") is the current folder.
        if not os.path.isdir(folder):
            if near := nearest_folder(self.folder):
                raise CheckpointError(
                    "{folder} is not a folder (did you mean {near}?); name a run's folder, which its training makes "
                    "when it starts",
                    folder=folder, near=near,
                )  # fmt: skip
            raise CheckpointError(
                "{folder} is not a folder; name a run's folder, which its training makes when it starts",
                folder=folder or "''",
            )
        self.name = self.folder.resolve().name
        self.url = None
        self.problems: list[UserError | Message] = []
        """One sentence for each checkpoint that `list` left out."""
        if not awaited and not self._folders():
            raise self.nothing()

    @property
    def has_begun(self) -> bool:
        """True if the folder holds what a training writes first."""
        return any((self.folder / name).exists() for name in ("run.json", "training_state", PROGRESS))

    def nothing(self) -> CheckpointError:
        """Return the error for a folder without checkpoints, with the runs in it if it has some."""
        if runs := self._runs():
            return CheckpointError(
                "{folder} holds no checkpoint itself; name a run in it: {runs}",
                folder=self.folder, runs=", ".join(map(str, runs[:NAMED])) + ", …" * (len(runs) > NAMED),
            )
        if self.has_begun:
            return CheckpointError(
                "{folder} has no epoch yet: wait for its first one, or resume its training", folder=self.folder
            )
        return CheckpointError(
            "{folder} holds no checkpoint: a run's folder holds epoch-0001 and on", folder=self.folder
        )

    def _runs(self) -> list[Path]:
        """Return the folders in this one that hold epochs, by name."""
        with contextlib.suppress(OSError):  # Nothing more to say about a folder that can't be listed.
            inner = sorted(path for path in self.folder.iterdir() if path.is_dir())
            return [path for path in inner if any(EPOCH_NAME.fullmatch(each.name) for each in path.glob("epoch-*"))]
        return []

    def watch(self) -> Watch:
        """Return what the names of the folders, and progress.json, show without opening an epoch."""
        names, progress = self._names(), self.progress()
        epochs = f"{names[0]} of {len(names)}" if names else ""
        if progress is None:
            return Watch(epochs)
        rows = MetricsLog(self.folder).size()
        step = progress.run_step if progress.losses else ""
        return Watch(epochs, f"{progress.written}.{progress.alive}", f"{progress.samples_step}.{rows}.{step}")

    def progress(self) -> Progress | None:
        """Return the progress that the trainer writes into the run's folder."""
        return read_progress(self.folder)

    def newest_samples(self) -> list[Path]:
        """Return the grids of test pictures that were made within the present epoch."""
        return newest_samples(self.folder)

    def steps(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl."""
        return MetricsLog(self.folder).read()

    def refresh(self) -> None:
        """Do nothing, because nothing is remembered."""

    def examples(self) -> list[Path]:
        """Return the pictures in RUN/examples."""
        return sorted(path for path in (self.folder / "examples").glob("*") if path.suffix.lower() in EXAMPLE_SUFFIXES)

    def samples(self, epoch: int) -> list[Path]:
        """Return the grids in the epoch's folder."""
        folder = self.path(epoch)
        return [path for name in SAMPLES.values() if (path := folder / name).is_file()]

    def scores(self) -> tuple[Sequence[Path], Sequence[UserError]]:
        """Return the files in RUN/scores."""
        run = self.folder.parent if os.path.isfile(self.folder / "checkpoint.json") else self.folder
        return sorted((run / "scores").glob("*.json")), ()

    def _names(self) -> list[str]:
        """Return the names of the epochs' folders, newest first; "" for the folder of a single epoch."""
        if os.path.isfile(self.folder / "checkpoint.json"):  # Path's own raises where it may not look.
            return [""]
        try:
            with os.scandir(self.folder) as entries:
                found = [entry.name for entry in entries if EPOCH_NAME.fullmatch(entry.name) and entry.is_dir()]
        except OSError as error:  # The folder existed when this source was opened.
            raise CheckpointError(
                "{name} can't be listed any more ({reason})", name=self.name, reason=error
            ) from error
        return sorted(found, key=lambda name: int(name[6:]), reverse=True)

    def _folders(self) -> list[Path]:
        return [self.folder / name for name in self._names()]

    def list(self) -> list[CheckpointInfo]:
        """Return the checkpoints that can be read, newest epoch first; `problems` names the damaged ones."""
        infos, self.problems = [], []
        for folder in self._folders():
            try:
                infos.append(read_info(folder))
            except CheckpointError as error:
                self.problems.append(error)
        return infos

    def load(self, epoch: int | None = None, directions: tuple[Direction, ...] | None = None) -> Checkpoint:
        """Return the checkpoint of `epoch`, None for the newest readable one."""
        return load_checkpoint(self.path(epoch), directions)

    def discriminators(self, epoch: int, names: Collection[str] | None = None) -> dict[str, dict[str, Tensor]]:
        """Return those in the epoch's folder."""
        return load_discriminators(self.path(epoch), names)

    def path(self, epoch: int | None = None) -> Path:
        """Return the folder of `epoch`, None for the newest readable one."""
        if epoch is None:
            problems = []
            for folder in self._folders():
                try:
                    read_info(folder)
                    return folder
                except CheckpointError as error:
                    problems.append(error)
            if not problems:
                raise self.nothing()
            raise CheckpointError(
                "{name} holds no readable checkpoint: {reason}", name=self.name, reason=problems[0]
            )
        names = self._names()
        if names == [""]:  # The folder of a single epoch, which may have any name.
            known = {read_info(self.folder).epoch: self.folder}
        else:  # Of names such as epoch-0005 and epoch-00005, only the first is an epoch's; `list` names the other.
            known = {int(name[6:]): self.folder / name for name in names if name == epoch_name(int(name[6:]))}
        if epoch not in known:
            have = ", ".join(str(number) for number in sorted(known))
            raise CheckpointError("{name} has no epoch {epoch}; it has {have}", name=self.name, epoch=epoch, have=have)
        return known[epoch]


def open_source(folder: str | Path) -> LocalSource:
    """Return the checkpoints in a run's folder, or the single one in an epoch's folder.

    `hub.open_source` opens repositories of the Hub as well.

    Raises:
        CheckpointError: the folder is missing or holds no checkpoint.
    """
    return LocalSource(folder)
