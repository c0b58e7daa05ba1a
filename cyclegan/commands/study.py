"""`python -m cyclegan study`: all its commands, and check, serve, invite and simulate.

Each command parses, calls one function of `cyclegan.study` and prints.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Callable

from cyclegan.cli import flags, ports
from cyclegan.cli.flags import command_adder, positive, share
from cyclegan.cli.progress import progress_bar
from cyclegan.commands.study_build import add_study_build_command
from cyclegan.commands.study_preregister import add_preregister_command
from cyclegan.commands.study_votes import add_study_vote_commands, open_store, write_file
from cyclegan.errors import ConfigError, StudyError, number_of
from cyclegan.study.format import read_study


def add_study_commands(add_command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `study` and its subcommands with a function from `cli.flags.command_adder`."""
    # A subcommand is required, so its function replaces the first one.
    parser = add_command("study", lambda _: None, "build, play and count crowd judgements of realism")
    add = command_adder(parser)
    add_study_build_command(add)

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
    sub.add_argument("--fooling", type=_rates, default=None, metavar="P",
                     help="how often fakes are taken for real: a share for all epochs, or 20=0.1,60=0.3 (default: "
                     "0.27); ratings rise with it, to those of real pictures at 0.5 (default: they rise with epochs)")
    sub.add_argument("--icc", type=share, default=0.05, metavar="R",
                     help="how much a participant's answers resemble each other: the intra-participant correlation")
    sub.add_argument("--stimulus_sd", type=_sd, default=1.0, metavar="X",
                     help="how much stimuli differ: standard deviation on the logit scale; real pictures do, 0: not at "
                     "all")
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
    add_study_vote_commands(add, about)


# --- flags --------------------------------------------------------------------------------------------------


def _sd(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 10:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 10")


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
    with open_store(study, args) as store:
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
    with open_store(study, args) as store:
        made = invitations(study, store, args.count)
        who = [participant_of(study, store, each) for each in made]
    links = [f"{address}/study/{study.name}?invitation={each}" for each in made]
    if args.address is None:
        print("note: only this computer can open these links, which lead to its port 7861; name the server with "
              "--address, as in --address http://127.0.0.1:8000 for serve --port 8000", file=sys.stderr)
    if args.output is None:
        print("\n".join(links))
        return 0
    write_file(args.output, csv_of(pd.DataFrame({"participant": who, "link": links})))
    print(f"{number_of(len(links), 'invitation')} to {study.name} written to {args.output}: each is for one person")
    return 0


def simulate(args: argparse.Namespace) -> int:
    """Let synthetic participants take part."""
    from cyclegan.study.simulate import BEHAVIOURS
    from cyclegan.study.simulate import simulate as simulate_study
    from cyclegan.study.simulated import words

    study = read_study(args.study)
    total = args.participants
    with progress_bar(desc="Simulating", total=total, unit="participant", delay=0.5) as bar:
        done = simulate_study(
            study, participants=total, fooling=args.fooling, icc=args.icc, stimulus_sd=args.stimulus_sd,
            seed=args.seed, replace=args.replace, resume=args.resume, progress=bar.update,
            behaviours={name: value for name in BEHAVIOURS if (value := getattr(args, name))},
        )  # fmt: skip
    comparisons = number_of(done.comparisons, "trial")
    rate = "" if done.fooling_rate is None else f"; who looked was fooled in {done.fooling_rate:.1%} of {comparisons}"
    print(
        f"{number_of(done.participants, 'simulated participant')} gave {number_of(done.votes, 'vote')} on {study.name} "
        f"in {done.seconds:.0f} s{rate}; the report counts {number_of(done.trials, 'trial')}"
    )
    for line in words(study, done):
        print(line)
    print(f"next: python -m cyclegan study report {args.study} --simulated")
    return 0


