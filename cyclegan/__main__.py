"""`python -m cyclegan`: translate, evaluate, frames, export, import, streets, phantoms, classes, segmenter, study."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from cyclegan.cli.entry import run_command
from cyclegan.cli.flags import command_adder, make_parser
from cyclegan.cli.reference_flags import explain_translation, refuse
from cyclegan.commands.checkpoints import add_checkpoint_commands
from cyclegan.commands.evaluate import add_evaluate_command
from cyclegan.commands.experiment import add_experiment_command
from cyclegan.commands.labels import add_label_commands
from cyclegan.commands.pictures import add_picture_commands
from cyclegan.commands.segmenter import add_segmenter_commands
from cyclegan.commands.study import add_study_commands
from cyclegan.commands.translate import add_translate_command

ELSEWHERE = {
    "train": "train_accelerate.py", "training": "train_accelerate.py", "app": "app.py", "serve": "app.py",
    "push": "-m hub push",
}  # fmt: skip
"""Programs of their own, by the names under which people look for them here."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = make_parser(
        "python -m cyclegan",
        "Translate, evaluate, take frames, export and import weights, write streets and phantoms, find classes, train "
        "segmenters, study realism.",
    )
    add = command_adder(parser)
    add_translate_command(add)
    add_evaluate_command(add)
    add_checkpoint_commands(add)
    add_picture_commands(add)
    add_label_commands(add)
    add_segmenter_commands(add)
    add_experiment_command(add)
    add_study_commands(add)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit status."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in ELSEWHERE:
        line = f"python {ELSEWHERE[words[0]]} {shlex.join(words[1:])}".strip()
        refuse(f"python -m cyclegan: error: {words[0]} is a program of its own: {line}\n")
    if words and words[0] == "translate":
        refuse(explain_translation(words[1:]))
    args = build_parser().parse_args(words)
    return run_command(lambda: args.run(args))


if __name__ == "__main__":
    sys.exit(main())
