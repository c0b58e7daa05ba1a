"""`python -m cyclegan study`, its votes: report, export, import, exclude, include, forget, publish."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.cli import flags
from cyclegan.cli.flags import positive
from cyclegan.errors import ConfigError, english, number_of
from cyclegan.files import write_bytes
from cyclegan.study.format import Study, read_study

if TYPE_CHECKING:
    from cyclegan.study.store import Store

REPORT_FORMATS = ("md", "json", "csv", "parquet")
EXPORT_FORMATS = ("amt", "csv", "parquet")


def add_study_vote_commands(
    add: Callable[..., argparse.ArgumentParser], about: Callable[..., argparse.ArgumentParser]
) -> None:
    """Add the commands that read a study's votes, or decide about them.

    Args:
        add: function from `cli.flags.command_adder`.
        about: the same for commands about a study that is there; `votes` adds --votes.
    """
    sub = about("report", report, "print the results", votes=True)
    sub.add_argument("--format", default="md", choices=REPORT_FORMATS,
                     help="md: for people; json: for programs; csv, parquet: a row per vote")
    sub.add_argument("--output", type=flags.file_path, default=None, metavar="FILE",
                     help="file to write (default: the screen; parquet needs a file)")
    sub.add_argument("--simulated", action="store_true",
                     help="report the simulated participants even where people have taken part")
    sub.add_argument("--interim", action="store_true",
                     help="apply the study's plan to simulated participants, too: what people's votes would show")

    sub = about("export", export, "write the votes, a row each or in the format of AMT_Real_vs_Fake", votes=True)
    sub.add_argument("--format", default="csv", choices=EXPORT_FORMATS,
                     help="amt: results of AMT_Real_vs_Fake, a row per session; csv, parquet: a row per vote")
    sub.add_argument("--table", default="votes", choices=("votes", "sessions"),
                     help="a row per vote; or per session, with code, consent, screen, and answers to your questions")
    sub.add_argument("--output", type=flags.file_path, required=True, metavar="FILE", help="file to write")

    sub = add("import", import_results, "count the results of another tool")
    sub.add_argument("study", type=flags.file_path, metavar="STUDY",
                     help="folder to write, a new one: votes.csv, a row per vote, and figures.json")
    sub.add_argument("--input", type=flags.file_path, required=True, metavar="FILE", help="results CSV")
    sub.add_argument("--format", default="amt", choices=("amt",), help="amt: results of AMT_Real_vs_Fake")
    sub.add_argument("--practice", type=_count, default=10, metavar="N", help="practice trials, which don't count")
    _add_participant_commands(about)


def _add_participant_commands(about: Callable[..., argparse.ArgumentParser]) -> None:
    sub = about("exclude", exclude, "leave a participant out of reports; the votes are kept, the reason is recorded",
                votes=True)
    who = "who gave the votes: the name, or the session's number as reports print it"
    sub.add_argument("participant", metavar="PARTICIPANT", help=who)
    sub.add_argument("--reason", required=True, metavar="TEXT", help="why; reports count exclusions by reason")

    sub = about("include", include, "revoke an exclusion; both decisions are kept on record", votes=True)
    sub.add_argument("participant", metavar="PARTICIPANT", help=who)

    sub = about("forget", forget, "erase a participant's session and votes, as they may ask", votes=True)
    sub.add_argument("participant", metavar="PARTICIPANT", help="who is erased")

    sub = about("publish", publish, "put each epoch's figure on its run's model card", votes=True)
    sub.add_argument("--run", dest="runs", type=flags.file_path, action="append", default=[], metavar="RUN",
                     help="folder of a run that is not on the Hub, with the name that the study was built from")


def _count(text: str) -> int:
    return 0 if text == "0" else positive(text)


@contextlib.contextmanager
def open_store(study: Study, args: argparse.Namespace) -> Iterator[Store]:
    """Open the study's database; with --votes, exchange votes with the Hub's data set before and after."""
    from cyclegan.study.store import Store, database_url

    assert study.folder is not None
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(Store(database_url(study.folder)))
        if count := store.others(study):
            belong = english("1 session belongs", f"{count:,} sessions belong", count)
            print(f"warning: {belong} to another {study.name}: its study.json has changed since then", file=sys.stderr)
        if getattr(args, "votes", None) is None:
            yield store
            return
        from hub.studies.votes_dataset import Shipment

        shipment = stack.enter_context(Shipment(args.votes))
        shipment.add(study, store)
        shipment.ship()
        yield store
        shipment.ship()


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; raise ConfigError if it can't be written, and keep an old file."""
    target = Path(os.path.realpath(path))  # A link is kept.
    try:
        if target.exists() and not target.is_file():
            raise ConfigError(
                "{path} is a folder, a device or the like, which can't be replaced: name a file", path=path
            )
        write_bytes(target, content)
    except OSError as error:
        raise ConfigError(
            "{path} can't be written ({reason}): free space or name another",
            path=path, reason=error,
        ) from error


def _rows(study: Study, args: argparse.Namespace, *, simulated: bool = False) -> tuple[Any, Any]:
    """Return people's votes and sessions; simulated ones while there are none, or with `simulated`."""
    from cyclegan.study.store import answers

    with open_store(study, args) as store:
        return answers(study, store, simulated=simulated)


def report(args: argparse.Namespace) -> int:
    """Write or print the report."""
    from cyclegan.study.report import csv_of, make_report, to_markdown, to_table, write_report

    study = read_study(args.study)
    votes, sessions = _rows(study, args, simulated=args.simulated)
    if args.output is not None:
        first, *others = write_report(study, votes, sessions, args.format, args.output, interim=args.interim)
        beside = f", and {number_of(len(others), 'picture')} next to it" if others else ""
        nobody = len(sessions) and not (sessions["origin"] == "people").any()
        kind = "simulated session" if nobody else "session"
        rows = f"{number_of(len(sessions), kind)} and {number_of(len(votes), 'vote')}"
        print(f"{rows} on {study.name}: report written to {first}{beside}")
        return 0
    if args.format == "parquet":
        raise ConfigError("parquet can't be shown on a screen: name a file with --output")
    if args.format == "csv":
        print(csv_of(to_table(votes, study)).decode(), end="")
    else:
        made = make_report(study, votes, sessions, mixed=True, interim=args.interim)
        print(to_markdown(made) if args.format == "md" else json.dumps(made, indent=1, ensure_ascii=False))
    return 0


def export(args: argparse.Namespace) -> int:
    """Write the votes for other programs."""
    study = read_study(args.study)
    if args.format == "amt" and args.table == "sessions":
        raise ConfigError("--format amt has a row per session by itself: choose csv or parquet for --table sessions")
    votes, sessions = _rows(study, args)
    if args.format == "amt":
        from cyclegan.study.amt import export_amt

        content, sentence = export_amt(study, votes)
        write_file(args.output, content.encode())
        print(f"{sentence}; written to {args.output}")
        return 0
    from cyclegan.study.report import to_session_table, write_report, write_table

    if args.table == "sessions":
        write_table(to_session_table(study, votes, sessions), args.format, args.output)
        print(f"{number_of(len(sessions), 'session')} of {study.name} written to {args.output}")
        return 0
    write_report(study, votes, sessions, args.format, args.output)
    print(f"{number_of(len(votes), 'vote')} on {study.name} written to {args.output}")
    return 0


def import_results(args: argparse.Namespace) -> int:
    """Count another tool's results, and write the votes and figures."""
    from cyclegan.study.amt import figures_amt, import_amt, report_amt
    from cyclegan.study.report import csv_of

    if os.path.lexists(args.study):
        raise ConfigError("{study} exists already: choose another folder", study=args.study)
    votes = import_amt(args.input, args.practice)
    figures = figures_amt(votes)
    write_file(args.study / "votes.csv", csv_of(votes))
    write_file(args.study / "figures.json", (json.dumps(figures, indent=1, ensure_ascii=False) + "\n").encode())
    print(report_amt(figures))
    print(f"{number_of(len(votes), 'vote')} and these figures written to {args.study}")
    return 0


# --- participants -------------------------------------------------------------------------------------------


def exclude(args: argparse.Namespace) -> int:
    """Record that a participant is left out of reports."""
    study = read_study(args.study)
    with open_store(study, args) as store:
        store.exclude(study, args.participant, args.reason)
    print(f"{args.participant} is now left out of the reports on {study.name}; the votes are kept")
    return 0


def include(args: argparse.Namespace) -> int:
    """Revoke an exclusion."""
    study = read_study(args.study)
    with open_store(study, args) as store:
        store.include(study, args.participant)
    print(f"{args.participant} counts in the reports on {study.name} again")
    return 0


def forget(args: argparse.Namespace) -> int:
    """Erase a participant."""
    from cyclegan.study.invitations import PREFIX

    study = read_study(args.study)
    with open_store(study, args) as store:
        count = store.forget(study, args.participant)
    rest = "" if args.votes else ", and a data set on the Hub, unless you name it with --votes"
    print(
        f"{args.participant} and {number_of(count, 'vote')} are erased from {study.name}; clear earlier reports and "
        f"copies yourself{rest}"
    )
    if args.participant.startswith(PREFIX):
        print("note: their link is unused again; delete it from your list, or whoever has it can take part")
    return 0


def publish(args: argparse.Namespace) -> int:
    """Put the figures on model cards."""
    from cyclegan.study.report import make_report
    from hub.studies.figures import publish_study

    study = read_study(args.study)

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr if sentence.startswith("warning") else sys.stdout)

    publish_study(make_report(study, *_rows(study, args)), runs=args.runs, say=say)
    return 0
