"""`python -m hub`: push."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclegan.checkpoint import CheckpointError, LocalSource
from cyclegan.cli import make_parser, run_command
from hub import HubError


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = make_parser("python -m hub", "Checkpoints on the Hugging Face Hub.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    text = "publish each epoch of a run that is not on the Hub yet: one commit and one tag each"
    sub = commands.add_parser(
        "push", help=text, description=text, formatter_class=parser.formatter_class, allow_abbrev=False
    )
    sub.add_argument("folder", type=Path, metavar="RUN", help="folder of a run, which holds epoch-0001 and on")
    sub.add_argument("repo_id", metavar="USER/NAME", help="model repository; made if there is none")
    sub.add_argument("--private", action="store_true", help="make the repository private, if it has to be made")
    sub.set_defaults(run=push)
    return parser


def push(args: argparse.Namespace) -> None:
    """Publish what is missing, a line for each epoch."""
    from hub.publish import Publisher

    LocalSource(args.folder)  # Says what a run's folder is, if this is none.
    publisher = Publisher(args.repo_id, private=args.private)
    publisher.check(args.folder)
    sentences = publisher.push(args.folder)
    if not publisher.unpublished(args.folder):
        print(f"nothing to do: all epochs of {args.folder} are at {publisher.url}")
    for sentence in sentences:
        print(sentence, flush=True)
    if left := publisher.unpublished(args.folder):
        raise HubError(f"{len(left)} of the run's epochs could not be published, as said above; mend them, push again")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status."""
    args = build_parser().parse_args(argv)
    return run_command(lambda: args.run(args), (HubError, CheckpointError))


if __name__ == "__main__":
    sys.exit(main())
