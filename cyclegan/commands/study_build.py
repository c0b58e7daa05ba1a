"""`python -m cyclegan study build`: the flags, and the call."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from typing import Any

from cyclegan.cli import flags
from cyclegan.cli.flags import positive
from cyclegan.cli.progress import progress_bar, shown_on
from cyclegan.commands.options import add_direction_flag, found_direction
from cyclegan.errors import ConfigError, DataError, ImageError, number_of
from cyclegan.study.make import LIMIT, NoTestPictures, make_study
from cyclegan.study.protocol import DEFAULT, PROTOCOLS, Protocol, protocol, trial_counts

END_CODES = {
    "code_screened_out": "code, with the link, of those who don't qualify in practice (default: an individual code "
    "each, without the link)",
    "code_timed_out": "code, with the link, of those whose time has run out (default: none)",
    "code_left_out": "code of those whom a rule over their own votes leaves out (default: the one of all others)",
}


def add_study_build_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `build` to the commands of `study`."""
    sub = add("build", build, "render a study's pictures from checkpoints and a data set, and freeze it")
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
    sub.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps; chosen if not given")
    sub.add_argument("--verbose", action="store_true",
                     help="print every channel of the blinding self-test, as study check does")
    group = sub.add_argument_group("protocol", "Each defaults to the preset's value.")
    flags.add_option_flags(group, Protocol, skip=("name",), show_defaults=False)


def _epochs(text: str) -> tuple[int, ...] | str:
    """Return latest, all, or the numbers."""
    if text in ("latest", "all"):
        return text
    return tuple(positive(part.strip()) for part in text.split(","))


def _size(text: str) -> tuple[int, int]:
    width, by, height = text.lower().partition("x")
    return positive(width), positive(height if by else width)


def build(args: argparse.Namespace) -> int:
    """Render, check and freeze a study."""
    overrides = {f.name: getattr(args, f.name) for f in dataclasses.fields(Protocol) if f.name in args}
    rules = protocol(args.protocol or DEFAULT, **overrides)
    shorten = args.protocol is None and not {"practice_trials", "test_trials"} & overrides.keys()
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
                device=device, progress=shown_on(bar), report=reports.append, note=notes.append,
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
