"""`python -m cyclegan study build`: the flags, and the call."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclegan.cli import flags
from cyclegan.cli.flags import epoch_numbers, positive
from cyclegan.cli.progress import progress_bar, shown_on
from cyclegan.commands.options import add_direction_flag, found_direction
from cyclegan.commands.study_asks import add_asks_flags, asks_of
from cyclegan.config import DIRECTIONS, Direction
from cyclegan.errors import ConfigError, DataError, ImageError, english, number_of
from cyclegan.study.format import Study
from cyclegan.study.make import FEW_TRIALS, LIMIT, NoTestPictures, make_study
from cyclegan.study.protocol import DEFAULT, PROTOCOLS, Protocol, protocol, trial_counts

OWN_EPOCHS = re.compile(r"(.+)@(latest|all|\d{1,9}(?:,\d{1,9})*)")
"""A run with epochs of its own; USER/NAME@epoch-0012 is a revision on the Hub."""
END_CODES = {
    "code_screened_out": "code, with the link, of those who don't qualify in practice (default: an individual code "
    "each, without the link)",
    "code_timed_out": "code, with the link, of those whose time has run out (default: none)",
    "code_declined": "code, with the link, of those who don't consent (default: none)",
    "code_left_out": "code of those whom a rule over their own votes leaves out (default: the one of all others)",
}


def add_study_build_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `build` to the commands of `study`."""
    sub = add("build", build, "render a study's pictures from checkpoints and a data set, and freeze it")
    required = {"required": True}
    sub.add_argument("--checkpoints", metavar="SOURCE", nargs="+", action="extend", default=[],
                     help="folder of a run; or USER/NAME on the Hub. Several are compared in one study: METHOD=SOURCE "
                     "gives one a name for reports, and SOURCE@20,60, SOURCE@latest or SOURCE@all epochs of its own")
    sub.add_argument("--fakes", metavar="NAME=FOLDER", nargs="+", action="extend", default=[], type=_named_folder,
                     help="folder of pictures that another program made of the same inputs, and a name for reports; "
                     "files are named as the inputs are. Several, alone or with --checkpoints, are compared like runs")
    sub.add_argument("--epochs", default="latest", type=epoch_numbers, metavar="N,N,…",
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


def _named_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} isn't NAME=FOLDER, as in CoGAN=results/cogan")
    return name, flags.file_path(folder)


def _size(text: str) -> tuple[int, int]:
    width, by, height = text.lower().partition("x")
    return positive(width), positive(height if by else width)


def build(args: argparse.Namespace) -> int:
    """Render, check and freeze a study."""
    overrides = {f.name: getattr(args, f.name) for f in dataclasses.fields(Protocol) if f.name in args}
    rules = protocol(args.protocol or DEFAULT, **overrides)
    shorten = args.protocol is None and not {"practice_trials", "test_trials"} & overrides.keys()
    asks = asks_of(args)
    (sources, epochs), fakes, reports, notes = _sources(args.checkpoints, args.epochs), _fakes(args), [], []
    args.direction = _direction(args, sources)
    device = flags.device(args.device)

    try:
        with progress_bar(desc="Rendering", unit="picture", delay=0.5) as bar:
            study = make_study(
                sources, args.dataset, fakes=fakes, protocol=rules, shorten=shorten, epochs=epochs,
                direction=args.direction,
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
    epochs = english("epoch", "epochs", len(study.epochs))
    of = f"{epochs} {', '.join(map(str, study.epochs))} of {study.checkpoints[0].source}"
    if study.labels:
        of = ", ".join(f"{label} ({number})" for number, label in study.labels.items())
    print(
        f"{study.name}: {of}, {study.arrow}, {number_of(len(study.stimuli), 'picture')} of "
        f"{study.size[0]}×{study.size[1]}, written to {args.output}"
    )
    few = study.protocol != rules and study.protocol.test_trials < FEW_TRIALS
    print(
        f"a session shows {number_of(study.protocol.practice_trials, 'practice trial')} and "
        f"{number_of(study.protocol.test_trials, 'test trial')} and draws on "
        f"{number_of(scenes, 'translated picture')}{'' if few else ': that is enough'}"
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
    for when, command in zip(("next", "then", "then"), _next(study, args.output), strict=False):
        print(f"{when}: python -m cyclegan study {command}")
    return 0


def _next(study: Study, folder: Path) -> list[str]:
    """Return the commands that fit this study, in their order."""
    commands = [f"preregister {folder}"] if study.protocol.results != "open" else []
    commands += [f"invite {folder} N"] if study.protocol.login == "invitation" else []
    return [*commands, f"serve {folder}"]


def _sources(words: list[str], epochs: Any) -> tuple[Any, Any]:
    """Return the run and its epochs; or several, by name if one has a name, METHOD=SOURCE, or epochs, SOURCE@EPOCHS.

    None without a run.
    """
    from hub import open_source

    parts = [_parts(word) for word in words]
    if not parts:
        return None, epochs
    if len(parts) == 1 and not parts[0][0]:
        return open_source(parts[0][1]), parts[0][2] or epochs
    if not any(name or own for name, _, own in parts):
        return [open_source(word) for word in words], epochs
    found, chosen = {}, {}
    for name, word, own in parts:
        source = open_source(word)
        name = name or source.name
        if found.setdefault(name, source) is not source:
            raise ConfigError("two runs are called {name}: give them names as METHOD=SOURCE", name=name)
        chosen[name] = own or epochs
    return found, chosen


def _parts(word: str) -> tuple[str, str, Any]:
    """Return name, source and epochs of METHOD=SOURCE@EPOCHS, empty where they aren't given. A path is a source."""
    if os.path.exists(word):
        return "", word, None
    name, _, source = word.rpartition("=")
    if not os.path.exists(source) and (found := OWN_EPOCHS.fullmatch(source)):
        return name, found[1], epoch_numbers(found[2])
    return name, source, None


def _fakes(args: argparse.Namespace) -> dict[str, Path]:
    fakes: dict[str, Path] = {}
    for name, folder in args.fakes:
        if name in fakes:
            raise ConfigError("two folders of --fakes are called {name}: give them different names", name=name)
        fakes[name] = folder
    if not args.checkpoints and not fakes:
        raise ConfigError("name what is judged: --checkpoints, --fakes or both")
    return fakes


def _direction(args: argparse.Namespace, sources: Any) -> Direction:
    if sources is not None:
        return found_direction(args.direction, next(iter(_each(sources))))
    for direction in DIRECTIONS:
        if args.direction == direction:
            return direction
    raise ConfigError("without a run, --direction is ab (A → B) or ba (B → A)")


def _each(sources: Any) -> list[Any]:
    if sources is None:
        return []
    return list(sources.values()) if isinstance(sources, dict) else sources if isinstance(sources, list) else [sources]
