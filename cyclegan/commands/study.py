"""`python -m cyclegan study`: build, check, serve, invite, simulate, report, export, import, exclude, include,
forget, publish.

Each command parses, calls one function of `cyclegan.study` and prints.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.cli import flags, ports
from cyclegan.cli.flags import command_adder, positive, share
from cyclegan.cli.progress import progress_bar, shown_on
from cyclegan.commands.options import add_direction_flag, found_direction
from cyclegan.commands.study_asks import add_asks_flags, asks_of
from cyclegan.commands.study_preregister import add_preregister_command
from cyclegan.errors import ConfigError, DataError, ImageError, StudyError, english, number_of
from cyclegan.files import write_bytes
from cyclegan.study.format import Study, read_study
from cyclegan.study.make import LIMIT, NoTestPictures, make_study
from cyclegan.study.protocol import DEFAULT, PROTOCOLS, Protocol, protocol, trial_counts

if TYPE_CHECKING:
    from cyclegan.study.store import Store

REPORT_FORMATS = ("md", "json", "csv", "parquet")
END_CODES = {
    "code_screened_out": "code, with the link, of those who don't qualify in practice (default: an individual code "
    "each, without the link)",
    "code_timed_out": "code, with the link, of those whose time has run out (default: none)",
    "code_declined": "code, with the link, of those who don't consent (default: none)",
    "code_left_out": "code of those whom a rule over their own votes leaves out (default: the one of all others)",
}
EXPORT_FORMATS = ("amt", "csv", "parquet")


def add_study_commands(add_command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `study` and its subcommands with a function from `cli.flags.command_adder`."""
    # A subcommand is required, so its function replaces the first one.
    parser = add_command("study", lambda _: None, "build, play and count crowd judgements of realism")
    add = command_adder(parser)
    _add_build(add("build", build, "render a study's pictures from checkpoints and a data set, and freeze it"))

    def about(
        name: str, run: Callable[[argparse.Namespace], int], help: str, *, votes: bool = False
    ) -> argparse.ArgumentParser:
        sub = add(name, run, help)
        sub.add_argument("study", type=flags.file_path, metavar="STUDY", help="folder of the study")
        if votes:
            sub.add_argument("--votes", default=None, metavar="USER/NAME",
                             help="private data set on the Hub that keeps the votes: they are fetched first")
        return sub

    sub = about("check", check, "test that only the pictures tell real from fake, and what the study can resolve")
    sub.add_argument("--json", action="store_true", help="print the result as JSON")

    sub = about("serve", serve, "let people take part: serve the study's page until interrupted")
    sub.add_argument("--host", default="127.0.0.1", help="address to serve at; 0.0.0.0: to the whole network")
    sub.add_argument("--port", type=ports.port, default=7861, metavar="N", help="port to serve at")
    sub.add_argument("--trust_proxy", action="store_true",
                     help="believe the last hop of X-Forwarded-For; only behind a proxy that writes it")

    sub = about("invite", invite, "make single-use links, for a study that was built with --login invitation")
    sub.add_argument("count", type=positive, metavar="N", help="how many people to invite")
    sub.add_argument("--address", default=None, metavar="URL",
                     help="public address of the server, as in https://example.org (default: this computer's)")
    sub.add_argument("--output", type=flags.file_path, default=None, metavar="FILE",
                     help="CSV file to write: participant and link, a row each (default: the links, on the screen)")

    sub = about("simulate", simulate, "let synthetic participants take part, apart from people, to test everything")
    sub.add_argument("--participants", type=positive, default=25, metavar="N", help="how many, over all epochs")
    sub.add_argument("--fooling", type=_rates, default=_rates("0.27"), metavar="P",
                     help="how often fakes are taken for real: a share for all epochs, or 20=0.1,60=0.3")
    sub.add_argument("--icc", type=share, default=0.05, metavar="R",
                     help="how much a participant's answers resemble each other: the intra-participant correlation")
    sub.add_argument("--stimulus_sd", type=_sd, default=0.0, metavar="X",
                     help="how much stimuli differ: standard deviation on the logit scale")
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="seed of everything that the participants do")
    for name, about_them in (
        ("spammers", "always give the same answer"), ("bots", "answer at random before a picture can have been seen"),
        ("drop_outs", "leave within the test"), ("side_bias", "often choose the same side without looking"),
    ):  # fmt: skip
        sub.add_argument(f"--{name}", type=share, default=0.0, metavar="SHARE",
                         help=f"part of the participants, 0 to 1, who {about_them}")
    again = sub.add_mutually_exclusive_group()
    again.add_argument("--replace", action="store_true",
                       help="erase the simulated participants of an earlier run first")
    again.add_argument("--resume", action="store_true", help="continue a run of the same flags that was stopped")

    add_preregister_command(about)

    sub = about("report", report, "print the results", votes=True)
    sub.add_argument("--format", default="md", choices=REPORT_FORMATS,
                     help="md: for people; json: for programs; csv, parquet: a row per vote")
    sub.add_argument("--output", type=flags.file_path, default=None, metavar="FILE",
                     help="file to write (default: the screen; parquet needs a file)")
    sub.add_argument("--simulated", action="store_true",
                     help="report the simulated participants even where people have taken part")

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
    sub.add_argument("participant", metavar="PARTICIPANT", help="who gave the votes")
    sub.add_argument("--reason", required=True, metavar="TEXT", help="why; reports count exclusions by reason")

    sub = about("include", include, "revoke an exclusion; both decisions are kept on record", votes=True)
    sub.add_argument("participant", metavar="PARTICIPANT", help="who gave the votes")

    sub = about("forget", forget, "erase a participant's session and votes, as they may ask", votes=True)
    sub.add_argument("participant", metavar="PARTICIPANT", help="who is erased")

    sub = about("publish", publish, "put each epoch's figure on its run's model card", votes=True)
    sub.add_argument("--run", dest="runs", type=flags.file_path, action="append", default=[], metavar="RUN",
                     help="folder of a run that is not on the Hub, with the name that the study was built from")


def _add_build(sub: argparse.ArgumentParser) -> None:
    required = {"required": True}
    sub.add_argument("--checkpoints", metavar="SOURCE", nargs="+", **required,
                     help="folder of a run; or USER/NAME on the Hub. Several are compared in one study: METHOD=SOURCE "
                     "gives one a name for reports")
    sub.add_argument("--epochs", default="latest", type=_epochs, metavar="N,N,…",
                     help="which epochs are judged, of each run; or latest, or all")
    add_direction_flag(sub)
    sub.add_argument("--dataset", metavar="DATA", **required, help="as in training; its test pictures are used")
    sub.add_argument("--output", type=flags.file_path, metavar="DIR", **required,
                     help="folder to write, a new one; its name is the study's, and part of its address")
    sub.add_argument("--protocol", default=None, choices=tuple(PROTOCOLS),
                     help="preset of everything that is listed under protocol, as published (default: "
                          f"{DEFAULT}, with fewer trials if there are too few pictures for all)")
    sub.add_argument("--seed", type=int, default=0, metavar="N",
                     help="seed of which pictures are taken; sequences and sides are drawn from a secret")
    sub.add_argument("--size", type=_size, default=None, metavar="N",
                     help="stimuli of N×N pixels, or as in 340x256 (default: the networks' size)")
    sub.add_argument("--limit", type=positive, default=LIMIT, metavar="N",
                     help="use at most N inputs and N real pictures, drawn by the seed")
    sub.add_argument("--split", default="test", choices=("test", "train"),
                     help="split of the pictures; the networks know train, so that is for trying only")
    sub.add_argument("--skip_bad_images", action="store_true",
                     help="skip pictures that can't be read, instead of stopping")
    sub.add_argument("--title", default="",
                     help="title that participants see at the top (default: a question that fits the task)")
    sub.add_argument("--contact", default="", metavar="TEXT",
                     help="whom participants can ask, and who answers for their data: a name and an address")
    sub.add_argument("--completion_code", default="", metavar="CODE",
                     help="code that all get at the end, as Prolific requires (default: an individual code each)")
    sub.add_argument("--completion_url", default="", metavar="URL",
                     help="link on the last page; {code} and {participant} are filled in")
    for name, who in END_CODES.items():
        sub.add_argument(f"--{name}", default="", metavar="CODE", help=who)
    add_asks_flags(sub)
    sub.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps; chosen if not given")
    sub.add_argument("--verbose", action="store_true",
                     help="print every channel of the blinding self-test, as study check does")
    group = sub.add_argument_group("protocol", "Each defaults to the preset's value.")
    flags.add_option_flags(group, Protocol, skip=("name",), show_defaults=False)


# --- flags --------------------------------------------------------------------------------------------------


def _count(text: str) -> int:
    return 0 if text == "0" else positive(text)


def _sd(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 10:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 10")


def _epochs(text: str) -> tuple[int, ...] | str:
    """Return latest, all, or the numbers."""
    if text in ("latest", "all"):
        return text
    return tuple(positive(part.strip()) for part in text.split(","))


class _Rates(dict[int | None, float]):
    """Fooling rates by epoch; the key None is for all others. `str` gives the flag's text back."""

    def __str__(self) -> str:
        return ",".join(f"{rate}" if epoch is None else f"{epoch}={rate}" for epoch, rate in self.items())


def _rates(text: str) -> _Rates:
    """Return the rates of a flag: 0.27 for all epochs, or 20=0.1,60=0.3."""
    rates = _Rates()
    for part in text.split(","):
        epoch, equals, rate = part.rpartition("=")
        rates[positive(epoch.strip()) if equals else None] = share(rate.strip())
    return rates


def _size(text: str) -> tuple[int, int]:
    width, by, height = text.lower().partition("x")
    return positive(width), positive(height if by else width)


# --- build and check ----------------------------------------------------------------------------------------


def build(args: argparse.Namespace) -> int:
    """Render, check and freeze a study."""
    overrides = {f.name: getattr(args, f.name) for f in dataclasses.fields(Protocol) if f.name in args}
    rules = protocol(args.protocol or DEFAULT, **overrides)
    shorten = args.protocol is None and not {"practice_trials", "test_trials"} & overrides.keys()
    asks = asks_of(args)
    sources, reports, notes = _sources(args.checkpoints), [], []
    args.direction = found_direction(args.direction, next(iter(_each(sources))))
    device = flags.device(args.device)

    try:
        with progress_bar(desc="Rendering", unit="picture", delay=0.5) as bar:
            study = make_study(
                sources, args.dataset, protocol=rules, shorten=shorten, epochs=args.epochs, direction=args.direction,
                output=args.output, split=args.split, skip_bad_images=args.skip_bad_images, seed=args.seed,
                size=args.size, limit=args.limit,
                title=args.title, contact=args.contact, completion_code=args.completion_code,
                completion_url=args.completion_url, end_codes={name: getattr(args, name) for name in END_CODES},
                **asks, device=device, progress=shown_on(bar), report=reports.append, note=notes.append,
            )  # fmt: skip
    except NoTestPictures as error:
        raise DataError("{reason}, with --split train", reason=error) from error
    except ImageError as error:
        if args.skip_bad_images:
            raise
        raise DataError("{reason}, remove it, or add --skip_bad_images", reason=error) from error
    finally:
        for problem in (problem for source in _each(sources) for problem in source.problems):
            print(f"warning: {problem}", file=sys.stderr)
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
    scenes = len({s.scene for s in study.stimuli if s.kind == "fake"})
    of = f"epoch {', '.join(map(str, study.epochs))} of {study.checkpoints[0].source}"
    if study.labels:
        of = ", ".join(f"{label} ({number})" for number, label in study.labels.items())
    print(
        f"{study.name}: {of}, {study.arrow}, {number_of(len(study.stimuli), 'picture')} of "
        f"{study.size[0]}×{study.size[1]}, written to {args.output}"
    )
    print(
        f"a session shows {number_of(study.protocol.practice_trials, 'practice trial')} and "
        f"{number_of(study.protocol.test_trials, 'test trial')} and draws on "
        f"{number_of(scenes, 'translated picture')}: that is enough"
    )
    if study.protocol != rules:
        whole = trial_counts(rules.practice_trials, rules.test_trials)
        print(
            f"note: {rules.name} has {whole['practice']} and {whole['test']}, for which "
            f"there are too few pictures; with --protocol {rules.name}, no study is built then"
        )
    if args.verbose:
        print(reports[0].text())
    else:
        print(f"{reports[0].summary()}; --verbose and study check list them")
        for note in reports[0].notes:
            print(f"note: {note}")
    print(f"next: python -m cyclegan study serve {args.output}")
    return 0


def _sources(words: list[str]) -> Any:
    """Return the run, or runs by name: METHOD=SOURCE, a list of sources where none has a name."""
    from hub import open_source

    named = [("", word) if os.path.exists(word) else word.rpartition("=")[::2] for word in words]
    if len(words) == 1 and not named[0][0]:
        return open_source(words[0])
    if not any(name for name, _ in named):
        return [open_source(word) for word in words]
    found: dict[str, Any] = {}
    for name, word in named:
        source = open_source(word)
        if found.setdefault(name or source.name, source) is not source:
            raise ConfigError("two runs are called {name}: give them names as METHOD=SOURCE", name=name or source.name)
    return found


def _each(sources: Any) -> list[Any]:
    return list(sources.values()) if isinstance(sources, dict) else sources if isinstance(sources, list) else [sources]


def check(args: argparse.Namespace) -> int:
    """Run the blinding self-test; raise StudyError if it fails."""
    from cyclegan.study.blinding import check as check_study

    study = read_study(args.study)
    found = check_study(study)
    print(json.dumps(found.to_json(), indent=1, ensure_ascii=False) if args.json else found.text())
    if found.passed:
        print(f"{study.name} is blind: no channel tells real from fake", file=sys.stderr if args.json else sys.stdout)
        return 0
    raise StudyError("{study} is not blind: {problems}", study=study.name, problems=found.problems[0])


# --- play ---------------------------------------------------------------------------------------------------


def serve(args: argparse.Namespace) -> int:
    """Serve a study until interrupted."""
    from cyclegan.study.server import serve as serve_studies

    study = read_study(args.study)
    study.check_enough()
    with _store(study, args) as store:
        if store.others(study):
            raise StudyError(
                "people have taken part in another study called {study} in this database: its study.json was "
                "changed, so restore it, or build the study under another name",
                study=study.name,
            )
    if study.protocol.login == "invitation":
        print("note: only people with a link of their own can take part: python -m cyclegan study invite "
              f"{args.study} N", file=sys.stderr)  # fmt: skip
    if ports.is_loopback(args.host):
        print("note: only this computer can open this address; with --host 0.0.0.0, your network can, and as a Space, "
              "everyone: see docs/hub.md", file=sys.stderr)  # fmt: skip
    else:
        print("note: everyone who can reach this computer can take part; others need its own name or address in place "
              "of 0.0.0.0", file=sys.stderr)  # fmt: skip
    if not study.secret_sha256:
        print(f"warning: {study.name} was built before studies had a secret, so participants can compute which picture "
              "is real; build it again for anyone who may cheat", file=sys.stderr)  # fmt: skip
    serve_studies([study], host=args.host, port=args.port, trust_proxy=args.trust_proxy)
    return 0


def invite(args: argparse.Namespace) -> int:
    """Make invitations, and write or print their links."""
    import pandas as pd

    from cyclegan.study.invitations import MOST, invitations, participant_of
    from cyclegan.study.report import csv_of

    study = read_study(args.study)
    if study.protocol.login != "invitation":
        raise StudyError(
            "anyone with the link can take part in {study}, so invitations would close nothing: build it with "
            "--login invitation", study=study.name,
        )  # fmt: skip
    if args.count > MOST:
        raise ConfigError("{count} invitations are too many at once: make {most} at most", count=args.count, most=MOST)
    address = (args.address or "http://127.0.0.1:7861").rstrip("/")
    if not re.match(r"https?://[^/]", address):
        raise ConfigError("--address {address} isn't an address: it has to begin with https://", address=address)
    with _store(study, args) as store:
        made = invitations(study, store, args.count)
        who = [participant_of(study, store, each) for each in made]
    links = [f"{address}/study/{study.name}?invitation={each}" for each in made]
    if args.address is None:
        print("note: only this computer can open these links; name the server with --address", file=sys.stderr)
    if args.output is None:
        print("\n".join(links))
        return 0
    _write(args.output, csv_of(pd.DataFrame({"participant": who, "link": links})))
    print(f"{number_of(len(links), 'invitation')} to {study.name} written to {args.output}: each is for one person")
    return 0


def simulate(args: argparse.Namespace) -> int:
    """Let synthetic participants take part."""
    from cyclegan.study.simulate import BEHAVIOURS
    from cyclegan.study.simulate import simulate as simulate_study

    study = read_study(args.study)
    total = args.participants
    with progress_bar(desc="Simulating", total=total, unit="participant", delay=0.5) as bar:
        done = simulate_study(
            study, participants=total, fooling=args.fooling, icc=args.icc, stimulus_sd=args.stimulus_sd,
            seed=args.seed, replace=args.replace, resume=args.resume, progress=bar.update,
            behaviours={name: value for name in BEHAVIOURS if (value := getattr(args, name))},
        )  # fmt: skip
    comparisons = number_of(done.comparisons, "trial")
    rate = "" if done.fooling_rate is None else f", fooled in {done.fooling_rate:.1%} of {comparisons}"
    print(
        f"{number_of(done.participants, 'simulated participant')} gave {number_of(done.votes, 'vote')} on {study.name} "
        f"in {done.seconds:.0f} s{rate}; next: python -m cyclegan study report {args.study} --simulated"
    )
    return 0


# --- report -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _store(study: Study, args: argparse.Namespace) -> Iterator[Store]:
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


def _write(path: Path, content: bytes) -> None:
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

    with _store(study, args) as store:
        return answers(study, store, simulated=simulated)


def report(args: argparse.Namespace) -> int:
    """Write or print the report."""
    from cyclegan.study.report import csv_of, make_report, to_markdown, to_table, write_report

    study = read_study(args.study)
    votes, sessions = _rows(study, args, simulated=args.simulated)
    if args.output is not None:
        first, *others = write_report(study, votes, sessions, args.format, args.output)
        beside = f", and {number_of(len(others), 'picture')} next to it" if others else ""
        rows = f"{number_of(len(sessions), 'session')} and {number_of(len(votes), 'vote')}"
        print(f"{rows} on {study.name}: report written to {first}{beside}")
        return 0
    if args.format == "parquet":
        raise ConfigError("parquet can't be shown on a screen: name a file with --output")
    if args.format == "csv":
        print(csv_of(to_table(votes, study)).decode(), end="")
    else:
        made = make_report(study, votes, sessions, mixed=True)
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
        _write(args.output, content.encode())
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
    _write(args.study / "votes.csv", csv_of(votes))
    _write(args.study / "figures.json", (json.dumps(figures, indent=1, ensure_ascii=False) + "\n").encode())
    print(report_amt(figures))
    print(f"{number_of(len(votes), 'vote')} and these figures written to {args.study}")
    return 0


# --- participants -------------------------------------------------------------------------------------------


def exclude(args: argparse.Namespace) -> int:
    """Record that a participant is left out of reports."""
    study = read_study(args.study)
    with _store(study, args) as store:
        store.exclude(study, args.participant, args.reason)
    print(f"{args.participant} is now left out of the reports on {study.name}; the votes are kept")
    return 0


def include(args: argparse.Namespace) -> int:
    """Revoke an exclusion."""
    study = read_study(args.study)
    with _store(study, args) as store:
        store.include(study, args.participant)
    print(f"{args.participant} counts in the reports on {study.name} again")
    return 0


def forget(args: argparse.Namespace) -> int:
    """Erase a participant."""
    study = read_study(args.study)
    with _store(study, args) as store:
        count = store.forget(study, args.participant)
    rest = "" if args.votes else ", and a data set on the Hub, unless you name it with --votes"
    print(
        f"{args.participant} and {number_of(count, 'vote')} are erased from {study.name}; clear earlier reports and "
        f"copies yourself{rest}"
    )
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
