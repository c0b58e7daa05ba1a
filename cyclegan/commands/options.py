"""Flags that several commands share, and the checkpoint that they name."""

from __future__ import annotations

import argparse
import sys

from cyclegan.checkpoints.format import Checkpoint
from cyclegan.cli.flags import positive
from cyclegan.config import DIRECTIONS, Direction
from hub import open_source


def add_checkpoint_flags(parser: argparse.ArgumentParser, *names: str, **options: object) -> None:
    """Add a source of checkpoints, --epoch and --direction.

    Args:
        names, options: of the argument that names the source; its destination is `source`.
    """
    parser.add_argument(*names, **options, metavar="SOURCE",
                        help="folder of a run or of one epoch; or USER/NAME, USER/NAME@epoch-0012 on the Hub")
    parser.add_argument("--epoch", default="latest", type=_epoch, metavar="N", help="which epoch, or latest")
    parser.add_argument("--direction", required=True, choices=DIRECTIONS, help="ab: A → B, ba: B → A")


def _epoch(text: str) -> int | None:
    return None if text == "latest" else positive(text)


def load_checkpoint(args: argparse.Namespace, *directions: Direction) -> Checkpoint:
    """Return the checkpoint that the flags name, after a warning for each of its source's problems.

    Args:
        directions: the directions to load; all where none is named.
    """
    source = open_source(args.source)
    checkpoint = source.load(args.epoch, directions or None)
    for sentence in source.problems:
        print(f"warning: {sentence}", file=sys.stderr)
    return checkpoint
