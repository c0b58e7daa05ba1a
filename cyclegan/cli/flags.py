"""Dataclasses of settings → command line flags and back, and the flags' types."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import itertools
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cyclegan.cli.config_file import config_text, read_settings
from cyclegan.cli.near import nearest
from cyclegan.cli.reference_flags import explain_training, refuse
from cyclegan.config import METHOD_CONFIGS, DataConfig, RunConfig, TrainConfig, check_option
from cyclegan.errors import MOST_SHOWN, ConfigError, Message, message, number_of, shown

GROUP_TITLES = {"data": "pictures", "model": "networks", "optim": "optimisation", "run": "run"}
"""Titles of the argument groups, by field of TrainConfig; a method's group has the method's name."""
MOST_KEPT = 4
"""So many flags are named whose values a resumed run keeps, and one more if it is the last."""


class _Formatter(argparse.HelpFormatter):
    """Show defaults, except empty ones."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", default_of(action)
        shown = default not in (None, "", False, (), []) and "%(default)" not in text
        return f"{text} (default: {_show(default)})" if shown else text


def default_of(action: argparse.Action) -> Any:
    """Return a flag's default as people should read it, None where there is none."""
    return getattr(action, "shown", None if action.default == argparse.SUPPRESS else action.default)


def _show(value: Any) -> str:
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _plain_type(hint: Any) -> type:
    """Return `int` for both `int` and `int | None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(t for t in typing.get_args(hint) if t is not type(None))
    return hint


def add_option_flags(group: Any, config_type: type, *, skip: Collection[str] = (), show_defaults: bool = True) -> None:
    """Add one flag for each field of a dataclass of `option`s.

    A flag that isn't given leaves nothing in the parsed arguments, so that the dataclass's own default counts.

    Args:
        group: an argument group or a parser.
        skip: names of fields that get no flag.
        show_defaults: False where something else, such as a preset, decides what counts if a flag isn't given.
    """
    hints = typing.get_type_hints(config_type)
    for f in dataclasses.fields(config_type):
        if f.name in skip or not f.metadata["flag"]:
            continue
        kind, flag = _plain_type(hints[f.name]), f"--{f.name}"
        text = f.metadata["help"].replace("%", "%%")
        options: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        if kind is not bool:
            choices = f.metadata["choices"]
            metavar = None if choices else {int: "N", float: "X"}.get(kind, f.name.split("_")[-1].upper())
            options = {"type": kind, "choices": choices, "metavar": metavar}
        action = group.add_argument(flag, default=argparse.SUPPRESS, help=text, **options)
        action.shown = f.default if show_defaults else None  # type: ignore[attr-defined]


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a training: an argument group for each group of settings, and one for each method.

    Methods may share a flag's name; it is then explained in the group of the first one.
    """
    hints = typing.get_type_hints(TrainConfig)
    for group in dataclasses.fields(TrainConfig):
        kinds = METHOD_CONFIGS if group.name == "loss" else {GROUP_TITLES[group.name]: hints[group.name]}
        seen: dict[str, Any] = {}
        for title, kind in kinds.items():
            about = (kind.__doc__ or "").strip().split("\n\n")[0]
            own = {f.name: f.default for f in dataclasses.fields(kind)}
            others = getattr(kind, "defaults", {}) | {k: v for k, v in own.items() if seen.get(k, v) != v}
            if others:
                about += f" Defaults that differ: {_flag_words(others)}."
            if shared := [f"--{name}" for name in own if name in seen]:
                about += f" Also takes, from above: {', '.join(shared)}."
            add_option_flags(parser.add_argument_group(title, about), kind, skip=seen.keys())
            seen = own | seen


def _flag_words(values: Mapping[str, Any]) -> str:
    """Return e.g. "--generator unet_256, --dropout, --pool_size 0"."""
    flags = {True: "--{}", False: "--no-{}"}
    return ", ".join(flags[v].format(k) if isinstance(v, bool) else f"--{k} {v}" for k, v in values.items())


def add_file_flags(parser: argparse.ArgumentParser) -> None:
    """Add --config and --print_config."""
    group = parser.add_argument_group("settings in a file")
    group.add_argument(
        "--config", type=file_path, metavar="FILE",
        help="read settings from a YAML or JSON file, by the names of the flags, or from another run's run.json, whose "
        "output_dir, resume and hub settings aren't taken; flags given here count more",
    )  # fmt: skip
    group.add_argument(
        "--print_config", action="store_true", help="print all settings that would be used, for --config, and exit"
    )


def fill_from_file(args: argparse.Namespace) -> list[Message]:
    """Add the settings in the file of --config for which no flag is given, and return notes.

    Raises:
        ConfigError: see `read_settings`.
    """
    if args.config is None:
        return []
    settings, notes = read_settings(args.config)
    method = vars(args).get("method", settings.get("method", RunConfig.method))
    if method != settings.get("method", method) and method in METHOD_CONFIGS:
        foreign = sorted(options_but(method) & settings.keys())
        settings = {name: value for name, value in settings.items() if name not in foreign}
        notes += [message(
            "{path} is of method {other}, so its {names} aren't taken",
            path=args.config, other=settings["method"], names=", ".join(foreign),
        )] if foreign else []  # fmt: skip
    args.from_file = frozenset(settings) - vars(args).keys()
    for name in args.from_file:
        setattr(args, name, settings[name])
    return notes


def _names(kind: type) -> frozenset[str]:
    return frozenset(f.name for f in dataclasses.fields(kind))


def options_but(method: str) -> frozenset[str]:
    """Return the names of other methods' options that this method doesn't have."""
    return frozenset().union(*map(_names, METHOD_CONFIGS.values())) - _names(METHOD_CONFIGS[method])


def config_from_args(args: argparse.Namespace, follow: Mapping[str, Any] | None = None) -> TrainConfig:
    """Return the validated config that the parsed flags of `add_config_flags` describe.

    Args:
        follow: defaults of settings, before those of the method.

    Raises:
        ConfigError: a value, or a combination of values, can't work.
    """
    given = vars(args)
    method = given.get("method", (follow or {}).get("method", RunConfig.method))
    check_option("method", method, METHOD_CONFIGS.keys(), {})
    kinds = typing.get_type_hints(TrainConfig) | {"loss": METHOD_CONFIGS[method]}
    if wrong := sorted(options_but(method) & given.keys()):
        others = [name for name, kind in METHOD_CONFIGS.items() if wrong[0] in _names(kind)]
        raise ConfigError(
            "--{name} isn't an option of --method {method}, but of {others}: choose one of these with --method, or "
            "leave it out", name=wrong[0], method=method, others=", ".join(others),
        )
    offered = kinds["data"].presets | kinds["loss"].presets
    chosen = [name for name in offered if given.get(name, "none") not in (False, "none")]
    from_file = given.get("from_file", frozenset())
    layers = [kinds["loss"].defaults]
    layers += [offered[name] for name in chosen if name in from_file]  # A file that has them all counts more, too.
    layers += [follow or {}, {name: given[name] for name in from_file}]
    layers += [offered[name] for name in chosen if name not in from_file]
    layers += [{name: value for name, value in given.items() if name not in from_file}]
    values = {name: value for each in layers for name, value in each.items()}
    groups = {}
    for group in dataclasses.fields(TrainConfig):
        names = _names(kinds[group.name])
        groups[group.name] = kinds[group.name](**{name: values[name] for name in names & values.keys()})
    config = TrainConfig(**groups)
    config = config.loss.completed(config)
    config.validate()
    return config


def _kept(args: argparse.Namespace, followed: Mapping[str, Any]) -> str:
    """Return the flags of followed settings without which the config would be another one."""
    shown = {name: value for name, value in followed.items() if name not in vars(args)}
    needed = {name: followed[name] for name in ("dataset", "method") if name in followed}
    with contextlib.suppress(ConfigError):  # All are worth a word then.
        usual = config_from_args(args, needed).to_json()
        flat = {name: value for group in usual.values() for name, value in group.items()}
        shown = {name: value for name, value in shown.items() if flat.get(name, value) != value}
    values = {name: value for name, value in shown.items() if value is not None}
    if len(values) <= MOST_KEPT + 1:
        return _flag_words(values)
    first = dict(itertools.islice(values.items(), MOST_KEPT))
    return f"{_flag_words(first)} and {number_of(len(values) - MOST_KEPT, 'other')} (--print_config shows all)"


def _with_ranges(words: list[str]) -> list[str]:
    """Return a command line in which a range such as -1000:3000 is its flag's value, which argparse takes for a flag.
    """
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in ("--range_a", "--range_b") and re.match(r"-[\d.]", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, without the whole usage, and with what was probably meant."""

    _words: Sequence[str] = ()

    def parse_known_args(self, args=None, namespace=None):
        """Refuse unknown flags here, so that a subcommand names its own."""
        words = _with_ranges(list(sys.argv[1:] if args is None else args))
        self._words = () if self._subparsers else words  # The others are for the subcommand's parser.
        namespace, unknown = super().parse_known_args(words, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        self._words = ()
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        typed = dict.fromkeys(word.partition("=")[0] for word in self._words if word.startswith("--"))
        for flag in (flag for flag in typed if flag not in self._option_string_actions):
            if near := nearest(flag, self._option_string_actions):
                message += f"; did you mean {near} instead of {flag}?"
        self.exit(2, f"{self.prog}: error: {shown(message, MOST_SHOWN)} (all flags: {self.prog} --help)\n")

    def _match_argument(self, action: argparse.Action, arg_strings_pattern: str) -> int:
        """Add to argparse's error what the flag takes."""
        try:
            return super()._match_argument(action, arg_strings_pattern)
        except argparse.ArgumentError as error:
            takes = self._get_formatter()._expand_help(action) if action.help else ""
            raise argparse.ArgumentError(action, f"{error.message}: {takes}" if takes else error.message) from None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Add the choice that was probably meant to argparse's error."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            if near := nearest(str(value), map(str, action.choices or ())):
                raise argparse.ArgumentError(action, f"{error.message}; did you mean {near}?") from None
            raise


def make_parser(prog: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return an ArgumentParser in the house's style; without abbreviated flags, so that scripts stay valid."""
    return _Parser(prog=prog, description=description, epilog=epilog, formatter_class=_Formatter, allow_abbrev=False)


def command_adder(parser: argparse.ArgumentParser) -> Callable[..., argparse.ArgumentParser]:
    """Return `add(name, run, help)`, which adds a subcommand to `parser`; parsed arguments have its `run`."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int | None], help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=help, description=help, formatter_class=parser.formatter_class, allow_abbrev=False
        )
        sub.set_defaults(run=run)
        return sub

    return add


def parse_train_config(
    argv: Sequence[str] | None = None, *, follow: Callable[[argparse.Namespace], Mapping[str, Any]] = lambda args: {}
) -> TrainConfig:
    """Return the config that `train_accelerate.py`'s command line describes; exit with a sentence on an error.

    Args:
        follow: returns settings that count where neither a flag nor the file of `--config` gives them.
    """
    refuse(explain_training(sys.argv[1:] if argv is None else argv))
    parser = make_parser(
        "train_accelerate.py",
        "Train a CycleGAN, or one of its rivals by --method, on pictures of two domains; one checkpoint per epoch "
        "lands in OUTPUT_DIR.",
        "Example: python train_accelerate.py --dataset data/maps --output_dir runs/maps --resume auto",
    )
    add_file_flags(parser)
    add_config_flags(parser)
    args = parser.parse_args(argv)
    try:
        for note in fill_from_file(args):
            if os.environ.get("RANK", "0") == "0":  # One of several processes.
                print(note, file=sys.stderr)
    except ConfigError as error:
        parser.error(str(error))
    if "output_dir" in args:
        args.output_dir = os.path.expanduser(args.output_dir)  # The shell leaves --output_dir=~/runs as it is.
    try:
        followed = follow(args)
        if getattr(args, "stream", None) is False:  # What only a stream needs goes with it.
            followed = {name: value for name, value in followed.items() if name not in DataConfig.of_stream}
        config = config_from_args(args, followed)
    except ConfigError as error:
        parser.error(str(error))
    if config.run.resume != "none" and (kept := _kept(args, followed)) and os.environ.get("RANK", "0") == "0":
        print(f"as in {config.run.output_dir} so far, because no flag says otherwise: {kept}", file=sys.stderr)
    if args.print_config:
        print(config_text(config), end="")
        parser.exit()
    return config


# --- types of flags -----------------------------------------------------------------------------------------


def file_path(text: str) -> Path:
    """Return a path that a file system can hold, `~` expanded; the type of a flag."""
    if not text:
        raise argparse.ArgumentTypeError("'' names nothing: give a file or a folder")
    found = Path(text)
    with contextlib.suppress(RuntimeError):  # A user who doesn't exist; the shell leaves such a name as it is.
        found = found.expanduser()  # The shell leaves --output=~/x as it is.
    try:
        os.lstat(found)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} has a character that no file's name can hold") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            said = f"'{text[:40]}…' is too long for a file's name here: choose a shorter one"
            raise argparse.ArgumentTypeError(said) from error
    return found


def duration(text: str) -> int:
    """Return the seconds in 7200s, 90m, 6h or 1.5d; the type of a flag."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])", text)
    found = int(float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]) if match else 0
    if found < 60:
        raise argparse.ArgumentTypeError(f"{text!r} must be a minute or more, such as 90m, 6h or 1.5d")
    return found


def positive(text: str) -> int:
    """Return a whole number above 0, from ASCII digits; the type of a flag."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def epoch_numbers(text: str) -> str | tuple[int, ...]:
    """Return "latest", "all", or the numbers of epochs, with commas in between; the type of a flag."""
    if text in ("latest", "all"):
        return text
    parts = [part.strip() for part in text.split(",")]
    if alone := next((part for part in parts if part in ("latest", "all")), ""):
        raise argparse.ArgumentTypeError(f"{alone} stands alone, without numbers")
    return tuple(map(positive, parts))


def share(text: str) -> float:
    """Return a number from 0 to 1; the type of a flag."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def device(name: str | None) -> str | None:
    """Return a `--device` that is available, None to choose one; loads torch. Raises ConfigError."""
    if name is None:
        return None
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            "--device {name} is unavailable: {reason}",
            name=name, reason=str(error).splitlines()[0],
        ) from error
    return name
