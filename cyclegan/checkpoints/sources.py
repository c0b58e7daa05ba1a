"""Sources of checkpoints: the protocol of every source, and the folder of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from cyclegan.checkpoints.format import EPOCH_NAME, SAMPLES, Checkpoint, CheckpointInfo, load_checkpoint, read_info
from cyclegan.config import Direction
from cyclegan.errors import CheckpointError, Message, UserError

EXAMPLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class CheckpointSource(Protocol):
    """A source of checkpoints: the folder of a run, or a repository of the Hub."""

    name: str
    """The name that people know it by: a folder's name or USER/NAME."""
    problems: list[UserError | Message]
    """One sentence for each checkpoint or question that the last `list` had to leave out."""
    url: str | None
    """Its page on the Hub; None for a folder."""

    def refresh(self) -> None:
        """Make the next `list` look again instead of remembering."""
        ...

    def examples(self) -> list[Path]:
        """Return example pictures of both domains, named a_*.png and b_*.png; may be empty."""
        ...

    def samples(self, epoch: int) -> list[Path]:
        """Return an epoch's grids of test pictures, ab.png and ba.png in this order; either may be missing.

        Raises CheckpointError.
        """
        ...

    def list(self) -> list[CheckpointInfo]:
        """Return all checkpoints, newest epoch first, without reading weights. Raises CheckpointError."""
        ...

    def load(self, epoch: int | None = None, directions: tuple[Direction, ...] | None = None) -> Checkpoint:
        """Return the checkpoint of `epoch`, None for the newest. Raises CheckpointError."""
        ...


class LocalSource:
    """The checkpoints of a run's folder, or the single one of an epoch's folder.

    Raises:
        CheckpointError: the folder is missing or holds no checkpoint.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        # Path.is_dir raises for a name that is too long; Path("") is the current folder.
        if not os.path.isdir(folder):
            raise CheckpointError(
                "{folder} is not a folder; name a run's folder, which holds epoch-0001 and on", folder=folder or "''"
            )
        self.name = self.folder.resolve().name
        self.url = None
        self.problems: list[UserError | Message] = []
        """One sentence for each checkpoint that `list` left out."""
        if not self._folders():
            raise CheckpointError("{folder} holds no checkpoint: a run's folder holds epoch-0001 and on", folder=folder)

    def refresh(self) -> None:
        """Do nothing, because nothing is remembered."""

    def examples(self) -> list[Path]:
        """Return the pictures in RUN/examples."""
        return sorted(path for path in (self.folder / "examples").glob("*") if path.suffix.lower() in EXAMPLE_SUFFIXES)

    def samples(self, epoch: int) -> list[Path]:
        """Return the grids in the epoch's folder."""
        folder = self.path(epoch)
        return [path for name in SAMPLES.values() if (path := folder / name).is_file()]

    def _folders(self) -> list[Path]:
        if os.path.isfile(self.folder / "checkpoint.json"):  # Path's own raises where it may not look.
            return [self.folder]
        try:
            found = [path for path in self.folder.iterdir() if EPOCH_NAME.fullmatch(path.name) and path.is_dir()]
        except OSError as error:  # The folder existed when this source was opened.
            raise CheckpointError(
                "{name} can't be listed any more ({reason})", name=self.name, reason=error
            ) from error
        return sorted(found, key=lambda path: int(path.name[6:]), reverse=True)

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
            raise CheckpointError(
                "{name} holds no readable checkpoint: {reason}", name=self.name, reason=problems[0]
            )
        known = {int(folder.name[6:]): folder for folder in self._folders() if EPOCH_NAME.fullmatch(folder.name)}
        if not known:  # The folder of a single epoch, which may have any name.
            known = {read_info(self.folder).epoch: self.folder}
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
