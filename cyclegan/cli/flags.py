"""Config dataclasses → command line flags and back; what every command says when it can't go on."""

from __future__ import annotations

import argparse
import dataclasses
import os
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from cyclegan.config import TrainConfig
from cyclegan.errors import ConfigError

GROUP_TITLES = {
    "data": "pictures",
    "model": "networks",
    "loss": "losses",
    "optim": "optimisation",
    "run": "run",
}


class _Formatter(argparse.HelpFormatter):
    """Show defaults, but not the ones that say nothing."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        shown = action.default not in (None, "", argparse.SUPPRESS, False)
        return f"{text} (default: {_show(action.default)})" if shown and "%(default)" not in text else text


def _show(value: Any) -> str:
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _plain_type(hint: Any) -> type:
    """`int` for both `int` and `int | None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(t for t in typing.get_args(hint) if t is not type(None))
    return hint


def add_config_flags(parser: argparse.ArgumentParser, config_type: type = TrainConfig) -> None:
    """Add one flag for each field of each group of `config_type`, in argument groups, with help and choices."""
    hints = typing.get_type_hints(config_type)
    for group_field in dataclasses.fields(config_type):
        group_type = hints[group_field.name]
        group = parser.add_argument_group(GROUP_TITLES[group_field.name], (group_type.__doc__ or "").strip())
        add_option_flags(group, group_type)


def add_option_flags(
    group: argparse._ActionsContainer, options_type: type, *, skip: Sequence[str] = (), unset: bool = False
) -> None:
    """Add one flag for each field of a dataclass that `config.option` made, with help and choices.

    Args:
        skip: fields without a flag.
        unset: the default of each flag is None instead of the field's, so that a preset can fill it.
    """
    hints = typing.get_type_hints(options_type)
    for f in dataclasses.fields(options_type):
        if f.name in skip:
            continue
        kind, choices = _plain_type(hints[f.name]), f.metadata["choices"]
        common = {"default": None if unset else f.default, "help": f.metadata["help"].replace("%", "%%")}
        if kind is bool:
            group.add_argument(f"--{f.name}", action=argparse.BooleanOptionalAction, **common)
        else:
            metavar = None if choices else {int: "N", float: "X"}.get(kind, f.name.split("_")[-1].upper())
            group.add_argument(f"--{f.name}", type=kind, choices=choices, metavar=metavar, **common)


def config_from_args(args: argparse.Namespace, config_type: type = TrainConfig) -> Any:
    """The validated config that the parsed flags describe.

    Raises:
        ConfigError: a value, or a combination of values, can't work.
    """
    hints = typing.get_type_hints(config_type)
    groups = {
        group.name: hints[group.name](**{f.name: getattr(args, f.name) for f in dataclasses.fields(hints[group.name])})
        for group in dataclasses.fields(config_type)
    }
    config = config_type(**groups)
    config.validate()
    return config


class _Parser(argparse.ArgumentParser):
    """Say what is wrong, not the whole usage around it."""

    def parse_known_args(self, args=None, namespace=None):
        """As ever, but a subcommand says itself which of its flags it does not know."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (all flags: {self.prog} --help)\n")


def make_parser(prog: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """An ArgumentParser in the house's style; no abbreviated flags, so that scripts stay valid."""
    return _Parser(prog=prog, description=description, epilog=epilog, formatter_class=_Formatter, allow_abbrev=False)


def command_adder(parser: argparse.ArgumentParser) -> Callable[..., argparse.ArgumentParser]:
    """`add(name, run, help)`, which gives `parser` a subcommand in its style; parsed arguments have its `run`."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int | None], help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=help, description=help, formatter_class=parser.formatter_class, allow_abbrev=False
        )
        sub.set_defaults(run=run)
        return sub

    return add


def parse_train_config(argv: Sequence[str] | None = None) -> TrainConfig:
    """`train_accelerate.py`'s command line → TrainConfig; exits with a sentence where it can't be."""
    parser = make_parser(
        "train_accelerate.py",
        "Train a CycleGAN on two sets of unpaired pictures; one checkpoint per epoch lands in OUTPUT_DIR.",
        "Example: python train_accelerate.py --dataset data/maps --output_dir runs/maps --resume auto",
    )
    add_config_flags(parser)
    args = parser.parse_args(argv)
    args.output_dir = os.path.expanduser(args.output_dir)  # The shell leaves --output_dir=~/runs as it is.
    try:
        return config_from_args(args)
    except ConfigError as error:
        parser.error(str(error))


# --- types of flags -----------------------------------------------------------------------------------------


def positive(text: str) -> int:
    """The type of a flag that is a whole number above 0, in ASCII digits."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def share(text: str) -> float:
    """The type of a flag that goes from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def device(name: str | None) -> str | None:
    """A `--device` that is here, None for the one that is chosen; loads torch. Raises ConfigError."""
    if name is None:
        return None
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            "--device {name} is not here: {reason}",
            name=name, reason=str(error).splitlines()[0],
        ) from error
    return name


# --- serving ------------------------------------------------------------------------------------------------

