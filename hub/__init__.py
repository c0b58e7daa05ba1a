"""Checkpoints, votes and Spaces on the Hugging Face Hub. Nothing outside this package imports huggingface_hub."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.errors import CheckpointError, Message, UserError

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # Read by huggingface_hub as it is imported.

from hub.errors import HubError  # noqa: E402

if TYPE_CHECKING:
    from cyclegan.checkpoints.sources import CheckpointSource
    from cyclegan.study.shelf import Studies

__all__ = ["HubError", "open_begun", "open_source", "open_sources", "open_studies", "opener"]


def open_source(
    spec: str | Path, *, for_visitors: bool = False, awaited: bool = False, most_bytes: int | None = None
) -> CheckpointSource:
    """Return the checkpoints that a person named on a command line or in the app.

    Args:
        spec: a run's or an epoch's folder, RUN@epoch-0012 or RUN@12, or USER/NAME, USER/NAME@epoch-0012,
            USER/NAME@COMMIT on the Hub. A folder takes precedence over a repository, even if only its first part
            exists.
        for_visitors: a stranger named it: open no folder, and use no token of this computer.
        awaited: also open a folder or a repository that holds no checkpoint yet.
        most_bytes: bound of an epoch's weights, for visitors.

    Raises:
        CheckpointError: it is neither, or a folder without checkpoints.
    """
    from cyclegan.checkpoints.sources import LocalSource

    text = str(spec)
    if for_visitors:
        from hub.source import HubSource

        return HubSource(text, token=False, awaited=awaited, most_bytes=most_bytes)
    try:
        return LocalSource(_of_epoch(text) or spec, awaited=awaited)
    except CheckpointError as error:
        if isinstance(spec, Path) or os.path.exists(text) or os.path.isdir(text.split("/")[0]):
            raise  # runs/mni is a misspelt folder, not a repository of the user "runs".
        from hub.source import HubSource, parse_spec

        try:
            revision = parse_spec(text).revision
        except CheckpointError:
            raise error from None  # It explains what a run's folder is.
        return HubSource(text, no_folder=None if revision else error, awaited=awaited)


def _of_epoch(text: str) -> str:
    """Return the folder of the epoch that RUN@epoch-0012 or RUN@12 names; "" for anything else."""
    from cyclegan.checkpoints.format import epoch_name

    run, _, epoch = text.rpartition("@")
    named = re.fullmatch(r"(?:epoch-)?(\d{1,9})", epoch)
    if not run or not named or os.path.exists(text) or not os.path.isdir(run):
        return ""
    return os.path.join(run, epoch_name(int(named[1])))


def opener(*, own: bool, most_bytes: int) -> Callable[[str], CheckpointSource] | None:
    """Return the function that opens what an app's visitor names; None where visitors can name nothing.

    A run that has begun needs no checkpoint yet. The function raises CheckpointError as `open_source` does.

    Args:
        own: whether the visitor owns this computer.
        most_bytes: bound of an epoch's weights for anybody else; 0: they can name nothing.
    """
    if own:
        return open_begun
    return functools.partial(open_begun, for_visitors=True, most_bytes=most_bytes) if most_bytes else None


def open_begun(spec: str, **options: Any) -> CheckpointSource:
    """Return a source as `open_source`; a run that has begun needs no checkpoint yet.

    Raises:
        CheckpointError: as `open_source`.
    """
    source = open_source(spec, awaited=True, **options)
    return source if source.has_begun or source.list() else open_source(spec, **options)


def open_sources(specs: Sequence[str | Path]) -> tuple[list[CheckpointSource], list[Message | UserError]]:
    """Return the runs that an app shows, in this order, and what is wrong with some of them.

    A run that is starting doesn't stop the others; neither does one that can't be read, which comes last.

    Raises:
        CheckpointError: a folder is missing; or no run has a readable checkpoint, and none is starting.
    """
    usable, others = [], []
    problems: list[Message | UserError] = []
    for spec in specs:
        source, group = open_source(spec, awaited=True), others
        try:
            if source.list():
                group = usable
            elif source.problems:
                reasons = "; ".join(map(str, source.problems))
                raise CheckpointError("{name} holds no readable checkpoint: {reason}", name=source.name, reason=reasons)
            elif source.has_begun:  # Its first epoch may be training.
                group = usable
            else:
                open_source(spec)  # Its error explains what a run's folder is.
            problems += source.problems
        except CheckpointError as error:
            problems.append(error)
        group.append(source)
    if not usable:
        raise problems[0]
    return usable + others, problems


@contextlib.contextmanager
def open_studies(
    folders: Sequence[str | Path], *, later: Sequence[str | Path] = (), own: bool = False, votes: str | None = None
) -> Iterator[Studies]:
    """Yield the studies in these folders, with a login by Hugging Face for those that ask for it.

    Args:
        folders: of studies, or of folders that hold some.
        later, own: see `Studies`.
        votes: private data set, USER/NAME, that votes are copied to and restored from. Pending ones are sent before
            the context ends.

    Raises:
        StudyError: a study can't be read.
        HubError: a study asks for a login, and this isn't a Space that has one; the data set can't be used.
    """
    from cyclegan.study.shelf import Studies

    def login() -> object:
        from hub.login import HubLogin

        return HubLogin()

    with contextlib.ExitStack() as stack:
        studies = Studies(folders, later=later, own=own, login=login)
        stack.callback(studies.close)
        if votes is not None:
            from hub.studies.votes_dataset import Shipment

            studies.opened = stack.enter_context(Shipment(votes)).add
        yield studies
