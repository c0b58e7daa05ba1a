"""The fields of settings: a default, a help text and bounds; they validate themselves and go to and from JSON."""

from __future__ import annotations

import dataclasses
import functools
import math
import reprlib
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Any, Literal

from cyclegan.errors import ConfigError, Message, message

Direction = Literal["ab", "ba"]
DIRECTIONS: tuple[Direction, ...] = ("ab", "ba")


def direction_name(direction: str, a: str = "A", b: str = "B") -> str:
    """Return `A → B` or `B → A`, with the domains' names instead of the letters where they are given."""
    return f"{b} → {a}" if direction == "ba" else f"{a} → {b}"


def option(
    default: Any, help: str, *, choices: Collection[Any] | None = None, least: float | None = None,
    most: float | None = None, above: float | None = None, below: float | None = None, since: int = 1,
    flag: bool = True, former: Any = None,
) -> Any:
    """Return a dataclass field that knows its help text and its allowed values; None is always allowed.

    Args:
        choices: the allowed values; a view of a dictionary's keys follows the dictionary.
        least, most: bounds that are allowed themselves.
        above, below: bounds that are not.
        since: the format version of checkpoints that brought this field.
        former: the value that programs before `since` assume; None if that is the default.
        flag: False if other settings decide the value, so that the command line has no flag for it.
    """
    bounds = {"least": least, "most": most, "above": above, "below": below}
    metadata = {"help": help, "choices": choices, "bounds": bounds, "since": since, "flag": flag,
                "former": default if former is None else former}  # fmt: skip
    return field(default=default, metadata=metadata)


def require(condition: bool, template: str, /, **values: Any) -> None:
    """Raise ConfigError with this template and these values unless the condition holds."""
    if not condition:
        raise ConfigError(template, **values)


def check_option(name: str, value: Any, choices: Collection[Any] | None, bounds: Mapping[str, float | None]) -> None:
    """Check one value against its field's choices and bounds.

    Raises:
        ConfigError: names the setting, the value and what is allowed.
    """
    if value is None:
        return
    if choices and value not in choices:
        raise ConfigError(
            "--{name} {value!r} is not one of {choices}", name=name, value=value, choices=", ".join(map(str, choices))
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError("--{name} must be a finite number, not {value}", name=name, value=value)
    least, most, above, below = (bounds.get(key) for key in ("least", "most", "above", "below"))
    fits = (
        (least is None or value >= least) and (most is None or value <= most)
        and (above is None or value > above) and (below is None or value < below)
    )  # fmt: skip
    if not fits:
        raise ConfigError("--{name} {value} is out of range: {range}", name=name, value=value, range=_range(bounds))


def _range(bounds: Mapping[str, float | None]) -> Message:
    """Return the allowed values in words."""
    low = bounds.get("least") if bounds.get("above") is None else bounds["above"]
    high = bounds.get("most") if bounds.get("below") is None else bounds["below"]
    low, high = (f"{bound:g}" if isinstance(bound, float) else bound for bound in (low, high))
    inside, outside = bounds.get("above") is None, bounds.get("below") is None
    if high is None:
        return message("{low} or more", low=low) if inside else message("above {low}", low=low)
    if low is None:
        return message("{high} or less", high=high) if outside else message("below {high}", high=high)
    if inside and outside:
        return message("{low} to {high}", low=low, high=high)
    if inside:
        return message("{low} to below {high}", low=low, high=high)
    return message("above {low}, up to {high}" if outside else "above {low}, below {high}", low=low, high=high)


class Config:
    """A group of settings that goes to and from JSON; the base of the dataclasses below."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dictionary."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    def recorded(self) -> tuple[dict[str, Any], int]:
        """Return the settings for a checkpoint, and the format version that they need: a newer field that has its
        default, or the value that they assume, is left out, so that older programs read what they can rebuild."""
        values, versions = self.to_json(), [1]
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            if f.metadata["since"] > 1 and values[f.name] in (f.default, f.metadata["former"]):
                del values[f.name]
            else:
                versions.append(f.metadata["since"])
        return values, max(versions)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]):
        """Rebuild from `to_json()`'s dictionary and validate.

        Raises:
            ConfigError: a key is unknown, a value has the wrong type or is out of range.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(
                "{name} must be a JSON object, not {type}", name=cls.__name__, type=type(values).__name__
            )
        hints = cls._types(values)
        names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - names):
            raise ConfigError("{name} has no setting {unknown}", name=cls.__name__, unknown=", ".join(unknown))
        config = cls(**{name: convert(name, value, hints[name]) for name, value in values.items()})
        config.validate()
        return config

    @classmethod
    def _types(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the types of the fields, by name; `values` is the JSON to rebuild from."""
        return _type_hints(cls)

    def validate(self) -> None:
        """Raise ConfigError for a value that can't work."""
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            if "bounds" in f.metadata:
                check_option(f.name, getattr(self, f.name), f.metadata["choices"], f.metadata["bounds"])


@functools.cache
def _type_hints(cls: type) -> dict[str, Any]:
    """Return a class's types; evaluating them takes longer than all else that reading settings does."""
    return typing.get_type_hints(cls)


def convert(name: str, value: Any, kind: Any) -> Any:
    """Return one JSON value, checked against its field's type; an int may stand for a float."""
    if dataclasses.is_dataclass(kind):
        return kind.from_json(value)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if value is None:
            return None
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise ConfigError("{name} is too large", name=name) from error
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        shown = reprlib.repr(value)
        raise ConfigError("{name} must be {kind}, not {value}", name=name, kind=kind.__name__, value=shown)
    return value
