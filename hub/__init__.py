"""Checkpoints, votes and Spaces on the Hugging Face Hub. Nothing outside this package imports huggingface_hub."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # Read by huggingface_hub as it is imported.

if TYPE_CHECKING:
    from cyclegan.checkpoints.sources import CheckpointSource
    from cyclegan.study.shelf import Studies

__all__ = ["HubError", "open_source", "open_studies"]


class HubError(RuntimeError):
    """What the Hub, the network or the token did not allow: one sentence with the remedy, fit to be shown.

    Attributes:
        temporary: whether the same call may well succeed later.
        status: the HTTP status of the Hub's answer; None if there was none.
        retry_after_s: seconds that the Hub asked to wait for; None if it did not.
        reason: the message without its remedy, which follows its last semicolon.
    """

    def __init__(
        self, message: str, *, temporary: bool = False, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.temporary, self.status, self.retry_after_s = temporary, status, retry_after_s
        self.reason = message.rpartition("; ")[0] or message


def open_source(spec: str | Path, *, for_visitors: bool = False) -> CheckpointSource:
    """The checkpoints that a person named on a command line or in the app.

    Args:
        spec: a run's or an epoch's folder, or USER/NAME, USER/NAME@epoch-0012, USER/NAME@COMMIT on the Hub.
            A folder goes before a repository, also where only its first part is here.
        for_visitors: whether a stranger named it: then no folder is opened, and no token of this computer used.

    Raises:
        CheckpointError: it is neither, or a folder without checkpoints.
    """
    from cyclegan.checkpoints.format import CheckpointError
    from cyclegan.checkpoints.sources import LocalSource

    text = str(spec)
    if for_visitors:
        from hub.source import HubSource

        return HubSource(text, token=False)
    try:
        return LocalSource(spec)
    except CheckpointError as error:
        if isinstance(spec, Path) or os.path.exists(text) or os.path.isdir(text.split("/")[0]):
            raise  # runs/mni is a slip, not a repository of the user "runs".
        from hub.source import HubSource, parse_spec

        try:
            revision = parse_spec(text).revision
        except CheckpointError:
            raise error from None  # Says what a run's folder is.
        return HubSource(text, no_folder=None if revision else str(error))


@contextlib.contextmanager
def open_studies(folders: Sequence[str | Path], *, own: bool = False, votes: str | None = None) -> Iterator[Studies]:
    """The studies in these folders, with accounts of Hugging Face for those that ask for them.

    Args:
        folders: of studies, or of folders that hold some.
        own: see `Studies`.
        votes: private data set, USER/NAME, that keeps the votes too and gives back what it has. What is on its way
            there is sent before the context ends.

    Raises:
        PlanError: a study can't be read.
        HubError: a study asks for accounts, and this is no Space that has them; the data set can't be used.
    """
    from cyclegan.study.shelf import Studies

    def login() -> object:
        from hub.login import HubLogin

        return HubLogin()

    with contextlib.ExitStack() as stack:
        studies = Studies(folders, own=own, login=login)
        stack.callback(studies.close)
        if votes is not None:
            from hub.studies.votes_dataset import Shipment

            studies.opened = stack.enter_context(Shipment(votes)).add
        yield studies
