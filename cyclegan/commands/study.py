"""`python -m cyclegan study`: build, check, serve, simulate, report, export, import, exclude, include, forget, publish.

The shell's door to `cyclegan.study`, which itself knows neither networks nor data sets nor the Hub.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.cli import flags, ports
from cyclegan.cli.flags import command_adder, positive, share
from cyclegan.cli.progress import progress_bar
from cyclegan.config import DIRECTIONS
from cyclegan.errors import ConfigError, DataError, StudyError
from cyclegan.files import write_bytes
from cyclegan.study import protocol as protocols
from cyclegan.study.format import PlannedCheckpoint, Study, read_study
from cyclegan.study.protocol import PROTOCOLS, Protocol

if TYPE_CHECKING:
    from PIL import Image

    from cyclegan.checkpoints.format import CheckpointInfo
    from cyclegan.checkpoints.sources import CheckpointSource
    from cyclegan.study.build import Translate
    from cyclegan.study.store import Store

LIMIT = 200
"""Inputs, and real pictures, that a study uses unless told otherwise."""
REPORT_FORMATS = ("md", "json", "csv", "parquet")
EXPORT_FORMATS = ("amt", "csv", "parquet")


def add_study_commands(add_command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `study`, with its subcommands, by a function as `cli.command_adder` gives."""
    # Which one is required, so each subcommand's function takes the place of the first.
    parser = add_command("study", lambda _: None, "build, play and count crowd judgements of realism")
    add = command_adder(parser)
    _add_build(add("build", build, "render a study's pictures from checkpoints and a data set, and freeze it"))

    def about(
        name: str, run: Callable[[argparse.Namespace], int], help: str, *, votes: bool = False
    ) -> argparse.ArgumentParser:
        sub = add(name, run, help)
        sub.add_argument("study", type=Path, metavar="STUDY", help="folder of the study")
        if votes:
            sub.add_argument("--votes", default=None, metavar="USER/NAME",
                             help="private data set on the Hub that keeps the votes: first bring them here")
        return sub

    sub = about("check", check, "test that nothing but the pictures tells real from fake, and what it can resolve")
    sub.add_argument("--json", action="store_true", help="print the result as JSON")

    sub = about("serve", serve, "let people take part: serve the study's page until interrupted")
    sub.add_argument("--host", default="127.0.0.1", help="address to serve at; 0.0.0.0: to the whole network")
    sub.add_argument("--port", type=ports.port, default=7861, metavar="N", help="port to serve at")
    sub.add_argument("--trust_proxy", action="store_true",
                     help="believe the last hop of X-Forwarded-For; only behind a proxy that writes it")

    sub = about("simulate", simulate, "let synthetic participants take part through the server, to prove the whole way")
    sub.add_argument("--participants", type=positive, default=25, metavar="N", help="how many, over all epochs")
    sub.add_argument("--fooling", type=_rates, default=_rates("0.27"), metavar="P",
                     help="how often fakes are taken for real: a share for all epochs, or 20=0.1,60=0.3")
    sub.add_argument("--icc", type=share, default=0.05, metavar="R",
                     help="how much a participant's answers resemble each other: the intra-participant correlation")
    sub.add_argument("--stimulus_sd", type=_sd, default=0.0, metavar="X",
                     help="how much stimuli differ: standard deviation on the logit scale")
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that the participants do")

    sub = about("report", report, "print what the votes say", votes=True)
    sub.add_argument("--format", default="md", choices=REPORT_FORMATS,
                     help="md: for people; json: for programs; csv, parquet: a row per vote")
    sub.add_argument("--output", type=Path, default=None, metavar="FILE",
                     help="file to write (default: the screen; parquet needs a file)")
    sub.add_argument("--simulated", action="store_true",
                     help="report the simulated participants even where people have taken part")

    sub = about("export", export, "write the votes themselves, a row each or as AMT_Real_vs_Fake does", votes=True)
    sub.add_argument("--format", default="csv", choices=EXPORT_FORMATS,
                     help="amt: results of AMT_Real_vs_Fake, a row per session; csv, parquet: a row per vote")
    sub.add_argument("--output", type=Path, required=True, metavar="FILE", help="file to write")

    sub = add("import", import_results, "count the results of another tool")
    sub.add_argument("study", type=Path, metavar="STUDY",
                     help="folder to write, a new one: votes.csv, a row per vote, and figures.json")
    sub.add_argument("--input", type=Path, required=True, metavar="FILE", help="results CSV")
    sub.add_argument("--format", default="amt", choices=("amt",), help="amt: results of AMT_Real_vs_Fake")
    sub.add_argument("--practice", type=_count, default=10, metavar="N", help="practice trials, which don't count")

    sub = about("exclude", exclude, "leave a participant out of reports; the votes are kept, the reason is recorded",
                votes=True)
    sub.add_argument("participant", metavar="PARTICIPANT", help="whose votes")
    sub.add_argument("--reason", required=True, metavar="TEXT", help="why; reports count exclusions by reason")

    sub = about("include", include, "take an exclusion back; both decisions stay on record", votes=True)
    sub.add_argument("participant", metavar="PARTICIPANT", help="whose votes")

    sub = about("forget", forget, "erase a participant's session and votes, as they may ask", votes=True)
    sub.add_argument("participant", metavar="PARTICIPANT", help="who")

    sub = about("publish", publish, "put each epoch's figure onto its run's model card", votes=True)
    sub.add_argument("--run", dest="runs", type=Path, action="append", default=[], metavar="RUN",
                     help="folder of a run that is not on the Hub, of the name that the study was built from")


def _add_build(sub: argparse.ArgumentParser) -> None:
    required = {"required": True}
    sub.add_argument("--checkpoints", metavar="SOURCE", **required,
                     help="folder of a run; or USER/NAME on the Hub")
    sub.add_argument("--epochs", default="latest", type=_epochs, metavar="N,N,…",
                     help="which epochs are judged; or latest, or all")
    sub.add_argument("--direction", choices=DIRECTIONS, **required, help="ab: A → B, ba: B → A")
    sub.add_argument("--dataset", metavar="DATA", **required, help="as in training; its test pictures are used")
    sub.add_argument("--output", type=Path, metavar="DIR", **required,
                     help="folder to write, a new one; its name is the study's, and part of its address")
    sub.add_argument("--protocol", default="cyclegan2017", choices=tuple(PROTOCOLS),
                     help="preset of all that is listed under protocol")
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="of the pictures, the sequences and the sides")
    sub.add_argument("--size", type=_size, default=None, metavar="N",
                     help="stimuli of N×N pixels, or as in 340x256 (default: what the networks work at)")
    sub.add_argument("--limit", type=positive, default=LIMIT, metavar="N",
                     help="use at most N inputs and N real pictures, drawn by the seed")
    sub.add_argument("--split", default="test", choices=("test", "train"),
                     help="pictures of which split; networks know the training pictures, so that is for trying only")
    sub.add_argument("--title", default="", help="what participants see at the top (default: the name)")
    sub.add_argument("--contact", default="", metavar="TEXT",
                     help="whom participants can ask, and who answers for their data: a name and an address")
    sub.add_argument("--completion_code", default="", metavar="CODE",
                     help="code that all get at the end, as Prolific wants it (default: each a code of their own)")
    sub.add_argument("--completion_url", default="", metavar="URL",
                     help="where the last page links to; {code} and {participant} are filled in")
    sub.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps; chosen if not given")
    group = sub.add_argument_group("protocol", "Each is the preset's unless given.")
    for f in dataclasses.fields(Protocol):
        if f.name == "name":
            continue
        flag, text, choices = f"--{f.name}", f.metadata["help"].replace("%", "%%"), f.metadata["choices"]
        if f.type == "bool":
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            kind = {"int": int, "float": float, "str": str}[f.type]
            metavar = None if choices else {int: "N", float: "X"}.get(kind, "TEXT")
            group.add_argument(flag, type=kind, default=None, choices=choices, metavar=metavar, help=text)


# --- flags --------------------------------------------------------------------------------------------------


def _count(text: str) -> int:
    return 0 if text == "0" else positive(text)


def _sd(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 10:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 10")


def _epochs(text: str) -> tuple[int, ...] | str:
    """latest, all, or the numbers."""
    if text in ("latest", "all"):
        return text
    return tuple(positive(part.strip()) for part in text.split(","))


class _Rates(dict[int | None, float]):
    """Fooling rates by epoch; that of None is for all others. Shown as it is written."""

    def __str__(self) -> str:
        return ",".join(f"{rate}" if epoch is None else f"{epoch}={rate}" for epoch, rate in self.items())


def _rates(text: str) -> _Rates:
    """0.27 for all epochs, or 20=0.1,60=0.3."""
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
    from tqdm import tqdm

    from cyclegan.data import find_data
    from cyclegan.study.build import Preparation
    from cyclegan.study.build import build as build_study
    from hub import open_source

    overrides = {f.name: getattr(args, f.name) for f in dataclasses.fields(Protocol) if f.name != "name"}
    protocol = protocols.protocol(args.protocol, **overrides)
    source = open_source(args.checkpoints)
    chosen = _chosen(source, args.epochs)
    for sentence in source.problems:
        print(f"warning: {sentence}", file=sys.stderr)
    config = chosen[-1].config or source.load(chosen[-1].epoch, (args.direction,)).config
    for info in chosen:
        if info.config is not None and _shown(info.config.data) != _shown(config.data):
            raise StudyError(
                "epochs {epoch} and {epoch_2} were trained on pictures prepared in different ways, so their fakes "
                "can't be compared in one study: build one for each",
                epoch=info.epoch, epoch_2=chosen[-1].epoch,
            )
    data = dataclasses.replace(config.data, dataset=args.dataset)
    splits = find_data(data)
    inputs, reals = (getattr(splits, f"{args.split}_{domain}") for domain in args.direction)
    if inputs is None or reals is None:
        raise DataError(
            "{dataset} has no test pictures: add them, or try it out with --split train",
            dataset=args.dataset,
        )
    device = flags.device(args.device)
    checkpoints = [
        (PlannedCheckpoint(info.epoch, info.commit_sha, source.name), _opener(source, info, args.direction, device))
        for info in chosen
    ]
    with tqdm(unit="picture", delay=0.5) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        study, found = build_study(
            checkpoints=checkpoints, inputs=inputs, reals=reals,
            preparation=Preparation(config.data, config.model.size_multiple), protocol=protocol,
            direction=args.direction, domains=(data.domain_a, data.domain_b), dataset=_dataset_name(args.dataset),
            output=args.output, seed=args.seed, size=args.size, limit=args.limit, title=args.title,
            contact=args.contact, completion_code=args.completion_code, completion_url=args.completion_url,
            progress=show,
        )  # fmt: skip
    scenes = len({s.scene for s in study.stimuli if s.kind == "fake"})
    epochs = ", ".join(map(str, study.epochs))
    print(
        f"{study.name}: epoch {epochs} of {source.name}, {_way(study)}, {len(study.stimuli)} pictures of "
        f"{study.size[0]}×{study.size[1]}, written to {args.output}"
    )
    print(
        f"a session shows {protocol.practice_trials} practice and {protocol.test_trials} test trials and draws on "
        f"{scenes} translated pictures: that is enough"
    )
    print(found.text())
    if args.split == "train":
        print("note: the networks have seen these pictures in training: this study says nothing of new ones")
    print(f"next: python -m cyclegan study serve {args.output}")
    return 0


def _chosen(source: CheckpointSource, epochs: tuple[int, ...] | str) -> list[CheckpointInfo]:
    """What is to be judged, by epoch."""
    infos = {info.epoch: info for info in source.list()}
    if not infos:
        raise StudyError("{source} holds no readable checkpoint: name another with --checkpoints", source=source.name)
    if epochs == "latest":
        return [infos[max(infos)]]
    wanted = sorted(infos) if epochs == "all" else sorted(epochs)
    for epoch in wanted:
        if epoch not in infos:
            have = ", ".join(map(str, sorted(infos)))
            raise StudyError(
                "{source} has no epoch {epoch}: choose --epochs from {have}",
                source=source.name, epoch=epoch, have=have,
            )
    return [infos[epoch] for epoch in wanted]


def _shown(data: Any) -> tuple[Any, ...]:
    """What decides how a test picture is shown to a network."""
    return data.preprocess, data.crop_size, data.load_size if data.preprocess.endswith("crop") else None


def _opener(
    source: CheckpointSource, info: CheckpointInfo, direction: str, device: str | None
) -> Callable[[], Translate]:
    """Loads the checkpoint when it is its turn, and makes sure that it is the one that was planned."""

    def opened() -> Translate:
        from cyclegan.translation.translator import Translator

        checkpoint = source.load(info.epoch, (direction,))
        if checkpoint.info.commit_sha != info.commit_sha:
            raise StudyError(
                "epoch {epoch} of {source} has changed meanwhile: build the study again",
                epoch=info.epoch, source=source.name,
            )
        translator = Translator(checkpoint, device)

        def translate(images: list[Image.Image]) -> list[Image.Image]:
            count = translator.batch_size(images[0].size)
            parts = (images[start : start + count] for start in range(0, len(images), count))
            return [fake for part in parts for fake in translator.translate_batch(part, direction)]

        return translate

    return opened


def _dataset_name(dataset: str) -> str:
    """What reports call it: no folders of this machine."""
    folder = Path(dataset).expanduser()
    return folder.resolve().name if folder.is_dir() else dataset


def _way(study: Study) -> str:
    first, second = study.domains if study.direction == "ab" else study.domains[::-1]
    return f"{first} → {second}"


def check(args: argparse.Namespace) -> int:
    """The blinding self-test; 1 if it fails."""
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
                "changed, so bring it back, or build the study under another name",
                study=study.name,
            )
    if not ports.is_loopback(args.host):
        print("note: everyone who can reach this computer can take part", file=sys.stderr)
    serve_studies([study], host=args.host, port=args.port, trust_proxy=args.trust_proxy)
    return 0


def simulate(args: argparse.Namespace) -> int:
    """Let synthetic participants take part."""

    from cyclegan.study.simulate import simulate as simulate_study

    study = read_study(args.study)
    total = args.participants
    with progress_bar(total=total, unit="participant", delay=0.5) as bar:
        done = simulate_study(
            study, participants=total, fooling=args.fooling, icc=args.icc, stimulus_sd=args.stimulus_sd,
            seed=args.seed, progress=bar.update,
        )  # fmt: skip
    rate = "" if done.fooling_rate is None else f", fooled in {done.fooling_rate:.1%} of {done.comparisons:,} trials"
    print(
        f"{done.participants} simulated participants gave {done.votes:,} votes on {study.name} in {done.seconds:.0f} s"
        f"{rate}; next: python -m cyclegan study report {args.study}"
    )
    return 0


# --- report -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _store(study: Study, args: argparse.Namespace) -> Iterator[Store]:
    """The study's database; with --votes, brought up to date with the Hub's data set before and after."""
    from cyclegan.study.store import Store, database_url

    assert study.folder is not None
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(Store(database_url(study.folder)))
        if count := store.others(study):
            print(f"warning: {count} sessions are of another {study.name}: its study.json is not the one that they saw",
                  file=sys.stderr)
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
    """There whole or not at all; an old file is as it was until then."""
    target = Path(os.path.realpath(path))  # A link stays one.
    try:
        if target.exists() and not target.is_file():
            raise ConfigError(
                "{path} is a folder, a device or the like, which can't be replaced: name a file",
                path=path,
            )
        write_bytes(target, content)
    except OSError as error:
        raise ConfigError(
            "{path} can't be written ({reason}): free space or name another",
            path=path, reason=error.strerror or error,
        ) from error


def _rows(study: Study, args: argparse.Namespace, *, simulated: bool = False) -> tuple[Any, Any]:
    """Votes and sessions; of simulated participants only, if asked for."""
    with _store(study, args) as store:
        votes, sessions = store.votes(study), store.sessions(study)
    if simulated:
        votes, sessions = (frame[frame["origin"] == "simulated"] for frame in (votes, sessions))
    return votes, sessions


def report(args: argparse.Namespace) -> int:
    """Write or print the report."""
    from cyclegan.study.report import csv_of, make_report, to_markdown, to_table, write_report

    study = read_study(args.study)
    votes, sessions = _rows(study, args, simulated=args.simulated)
    if args.output is not None:
        first, *others = write_report(study, votes, sessions, args.format, args.output)
        beside = f", and {len(others)} pictures beside it" if others else ""
        print(f"{len(sessions)} sessions and {len(votes):,} votes on {study.name}: report written to {first}{beside}")
        return 0
    if args.format == "parquet":
        raise ConfigError("parquet is nothing for a screen: name a file with --output")
    if args.format == "csv":
        print(csv_of(to_table(votes, study)).decode(), end="")
    else:
        made = make_report(study, votes, sessions)
        print(to_markdown(made) if args.format == "md" else json.dumps(made, indent=1, ensure_ascii=False))
    return 0


def export(args: argparse.Namespace) -> int:
    """Write the votes in a format of others."""
    study = read_study(args.study)
    votes, sessions = _rows(study, args)
    if args.format == "amt":
        from cyclegan.study.amt import export_amt

        content, sentence = export_amt(study, votes)
        _write(args.output, content.encode())
        print(f"{sentence}; written to {args.output}")
        return 0
    from cyclegan.study.report import write_report

    write_report(study, votes, sessions, args.format, args.output)
    print(f"{len(votes):,} votes on {study.name} written to {args.output}")
    return 0


def import_results(args: argparse.Namespace) -> int:
    """Count another tool's results, and keep what was read."""
    from cyclegan.study.amt import figures_amt, import_amt, report_amt
    from cyclegan.study.report import csv_of

    if args.study.exists():
        raise ConfigError("{study} exists already: choose another folder", study=args.study)
    votes = import_amt(args.input, args.practice)
    figures = figures_amt(votes)
    _write(args.study / "votes.csv", csv_of(votes))
    _write(args.study / "figures.json", (json.dumps(figures, indent=1, ensure_ascii=False) + "\n").encode())
    print(report_amt(figures))
    print(f"{len(votes):,} votes and these figures written to {args.study}")
    return 0


# --- participants -------------------------------------------------------------------------------------------


def exclude(args: argparse.Namespace) -> int:
    """Record that a participant is left out of reports."""
    study = read_study(args.study)
    with _store(study, args) as store:
        store.exclude(study, args.participant, args.reason)
    print(f"{args.participant} is left out of the reports on {study.name} from now on; the votes are kept")
    return 0


def include(args: argparse.Namespace) -> int:
    """Take an exclusion back."""
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
        f"{args.participant} and {count} votes are erased from {study.name}; reports and copies that were made before "
        f"are yours to clear{rest}"
    )
    return 0


def publish(args: argparse.Namespace) -> int:
    """Put the figures onto model cards."""
    from cyclegan.study.report import make_report
    from hub.studies.figures import publish_study

    study = read_study(args.study)
    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr if sentence.startswith("warning") else sys.stdout)

    publish_study(make_report(study, *_rows(study, args)), runs=args.runs, say=say)
    return 0
