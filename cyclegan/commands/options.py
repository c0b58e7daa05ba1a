"""Flags that several commands share, and the checkpoint that they name."""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cyclegan.checkpoints.format import Checkpoint
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.cli.flags import positive
from cyclegan.config import DIRECTIONS, Direction, direction_name
from cyclegan.errors import Cancelled, ConfigError
from cyclegan.evaluation.scores.table import SCORES
from hub import open_source


def add_checkpoint_flags(parser: argparse.ArgumentParser, *, positional: bool = False) -> None:
    """Add --checkpoints, whose destination is `source`, --epoch and --direction.

    Args:
        positional: the source may also be named without its flag.
    """
    text = "folder of a run or of one epoch; or USER/NAME, USER/NAME@epoch-0012 on the Hub"
    if positional:
        either = parser.add_mutually_exclusive_group(required=True)
        either.add_argument("source", nargs="?", default=argparse.SUPPRESS, metavar="SOURCE", help=text)
        either.add_argument("--checkpoints", dest="source", default=argparse.SUPPRESS, metavar="SOURCE",
                            help="the same, as other commands have it")
    else:
        parser.add_argument("--checkpoints", dest="source", required=True, metavar="SOURCE", help=text)
    parser.add_argument("--epoch", default="latest", type=_epoch, metavar="N", help="which epoch, or latest")
    add_direction_flag(parser)


def add_direction_flag(parser: argparse.ArgumentParser, **options: Any) -> None:
    """Add --direction, whose error says which is which."""
    parser.add_argument("--direction", **{"default": None, **options}, metavar="{ab,ba}",
                        help="ab: A → B, ba: B → A; or the domains' names, such as day-night. A is trainA, or the "
                        "first name in the alphabet; the training says which (default: the only one of a run with one)")


def add_scores_flag(parser: argparse.ArgumentParser) -> None:
    """Add --scores, some names of scores."""
    parser.add_argument("--scores", type=_scores, default=None, metavar="NAMES",
                        help=f"some of {', '.join(SCORES)}, with commas in between (default: all that the data set "
                        "allows, but fid)")


def _scores(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SCORES:
            raise argparse.ArgumentTypeError(f"{name!r} isn't a score: choose from {', '.join(SCORES)}")
    return names


def found_direction(text: str | None, source: CheckpointSource) -> Direction:
    """Return the direction that a person means: ab, ba, or the domains' names, such as "day-night" or "day → night".

    Args:
        text: None for the only direction of a source that has one.

    Raises:
        ConfigError: it isn't clear; the sentence has the names of the source's domains.
    """
    info = next((info for info in source.list() if info.config is not None), None)
    names = (info.config.data.domain_a, info.config.data.domain_b) if info and info.config else ("A", "B")
    if text is None and info is not None and len(info.directions) == 1:
        return info.directions[0]
    for way in DIRECTIONS:
        one, other = names if way == "ab" else names[::-1]
        if text == way or text is not None and re.split(r"\s*(?:→|->)\s*", text.strip()) == [one, other]:
            return way
        if text == f"{one}-{other}":
            return way
    raise ConfigError(
        "--direction{given}: give ab ({ab}) or ba ({ba})", given="" if text is None else f" {text[:80]}",
        **{way: direction_name(way, *names) for way in DIRECTIONS},
    )  # fmt: skip


def _epoch(text: str) -> int | None:
    return None if text == "latest" else positive(text)


def picture_size(text: str) -> int:
    """Return a working size."""
    from cyclegan.images import MAX_SIDE

    if (size := positive(text)) > MAX_SIDE:
        raise argparse.ArgumentTypeError(f"{text} is too large for a working size: 1 to {MAX_SIDE}")
    return size


def load_checkpoint(args: argparse.Namespace, *, one_way: bool = False) -> Checkpoint:
    """Return the checkpoint that the flags name, after a warning for each of its source's problems.

    Args:
        args: takes the direction that is meant.
        one_way: load that direction alone.
    """
    source = open_source(args.source)
    args.direction = found_direction(args.direction, source)
    checkpoint = source.load(args.epoch, (args.direction,) if one_way else None)
    for sentence in source.problems:
        print(f"warning: {sentence}", file=sys.stderr)
    return checkpoint


@contextlib.contextmanager
def stopped_by_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns true after Ctrl-C; the cancelled work then ends with KeyboardInterrupt.

    The exception isn't raised at once, because the video library would swallow it.
    """
    stop = threading.Event()

    def stop_soon(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # A second one doesn't wait for the batch.

    before = signal.signal(signal.SIGINT, stop_soon)
    try:
        yield stop.is_set
    except Cancelled as error:
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGINT, before)
