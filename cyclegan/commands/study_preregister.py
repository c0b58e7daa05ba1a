"""`python -m cyclegan study preregister`: the frozen plan of a study as one document."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from cyclegan.cli import flags
from cyclegan.commands.study_votes import open_store, write_file
from cyclegan.errors import StudyError, english, message, number_of
from cyclegan.study.format import read_study
from cyclegan.study.texts import read_text


def add_preregister_command(about: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command; `about` adds one that has the study's folder as its argument."""
    sub = about("preregister", preregister, "write the frozen plan, rules, hypotheses and planned participants as one "
                "Markdown file, to be registered before the first vote", votes=True)
    sub.add_argument("--hypotheses", type=flags.file_path, default=None, metavar="FILE",
                     help="your hypotheses, Markdown or plain text, which are copied into the document")
    sub.add_argument("--output", type=flags.file_path, default=None, metavar="FILE",
                     help="Markdown file to write (default: the screen)")


def preregister(args: argparse.Namespace) -> int:
    """Write or print the preregistration; mark it if people have voted already."""
    from cyclegan.study.preregistration import preregistration, votes_so_far

    study = read_study(args.study)
    hypotheses = _hypotheses(args.hypotheses) if args.hypotheses else ""
    with open_store(study, args) as store:
        so_far = votes_so_far(study, store)
    text = preregistration(study, so_far, hypotheses=hypotheses, now=datetime.now(timezone.utc))
    if so_far.votes:
        print(f"warning: people have given {number_of(so_far.votes, 'vote')} already, and the document says so: it "
              "isn't a registration before the data", file=sys.stderr)  # fmt: skip
    elif so_far.forgotten:
        print(f"warning: {number_of(so_far.forgotten, 'participant')} "
              f"{english('was', 'were', so_far.forgotten)} erased by `study forget`, and the document says so: nothing "
              "shows that it is a registration before the data",
              file=sys.stderr)  # fmt: skip
    if not hypotheses:
        print("note: the document has no hypotheses; add them with --hypotheses FILE, or it is exploratory",
              file=sys.stderr)  # fmt: skip
    if args.output is None:
        print(text, end="")
        return 0
    write_file(args.output, text.encode())
    print(f"preregistration of {study.name} written to {args.output}; next: register it, for instance at osf.io, "
          "before anybody takes part")  # fmt: skip
    return 0


def _hypotheses(path: Path) -> str:
    text = read_text(path, message("the hypotheses' file")).strip()
    if not text:
        raise StudyError("{path} is empty: write what you expect", path=path)
    return text
