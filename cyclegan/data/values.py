"""The values of a data set's pictures, found before training: channels and range of both domains."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cyclegan.config import DataConfig, TrainConfig
from cyclegan.data.domains import Domain, DrawnDomain, Files, Splits, short_name
from cyclegan.errors import DataError, ImageError, Message, message
from cyclegan.images import STACK_SUFFIXES
from cyclegan.rasters.opening import Look, look
from cyclegan.values import RGB, Values

MAY_BE_DEEP = (".png", ".tif", ".tiff")
"""Ends of names of pictures of 8 bits or more."""
MOST_PICTURES, MOST_VALUES = 100, 20_000
"""Training pictures, and values of each, that a range is found from."""
TAILS = (0.1, 99.9)
"""Percentiles of the training pictures' values: the ends of a range that is found."""


def with_values(config: TrainConfig, splits: Splits) -> tuple[TrainConfig, Splits]:
    """Return the settings with both domains' channels and ranges, and the data set whose pictures are opened so.

    Raises:
        DataError: pictures of one domain differ in kind, or can't be read.
        ConfigError: a setting doesn't suit such pictures.
    """
    data, splits = values_found(config.data, splits)
    config = dataclasses.replace(config, data=data)
    config.loss.check(config)
    return config, splits


def values_found(config: DataConfig, splits: Splits) -> tuple[DataConfig, Splits]:
    """Return the same for settings of data alone. Raises DataError."""
    found: dict[str, Values] = {}
    # Of a run that began as 8-bit RGB, pictures are read as ever.
    plain = [side for side in "ab" if getattr(config, f"channels_{side}") == 3 and config.values(side) == RGB
             and getattr(config, f"range_{side}") != "auto"]  # fmt: skip
    splits = _in_slices(splits, [side for side in "ab" if side not in plain])
    for side, domain in (("a", splits.train_a), ("b", splits.train_b)):
        if side in plain:
            found[side] = RGB
            continue
        channels, known = getattr(config, f"channels_{side}"), getattr(config, f"range_{side}") != "auto"
        seen = _look(domain)
        if not isinstance(domain, (Files, DrawnDomain)) and not config.values(side).plain:
            raise DataError(
                "{part}: pictures of tables, tars and the Hub are read as 8-bit RGB; for other values, save them as "
                "files in folders, or leave out --channels_{side} and --range_{side}", part=domain.part, side=side,
            )  # fmt: skip
        if config.neighbours and not (isinstance(domain, Files) and domain.slices):
            raise DataError(
                "--neighbours {n} is for volumes in one file each, such as NIfTI, and {part} has none: leave it out, "
                "or turn series of DICOM slices into NIfTI first", n=config.neighbours, part=domain.part,
            )  # fmt: skip
        seen = dataclasses.replace(seen, channels=seen.channels * (2 * config.neighbours + 1))
        if channels is not None and seen.deep and channels != seen.channels:
            raise DataError(
                "--channels_{side} {given} isn't what the pictures of {part} have ({found}): leave it out", side=side,
                given=channels, part=domain.part, found=seen.channels,
            )  # fmt: skip
        one = dataclasses.replace(config.values(side), channels=channels or seen.channels)
        found[side] = _in_range(domain, one) if seen.deep and not known else one
    settings = {f"channels_{side}": one.channels for side, one in found.items()}
    settings |= {f"range_{side}": one.text() for side, one in found.items()}
    notes = [note for side, one in found.items() if (note := _note(side, one))]
    if notes and config.colour:
        notes.append(message("--colour changes 8-bit colours alone: these pictures keep their values"))
    return dataclasses.replace(config, **settings), dataclasses.replace(
        opened_as(splits, found["a"], found["b"]), notes=[*splits.notes, *notes]
    )


def opened_as(splits: Splits, a: Values, b: Values) -> Splits:
    """Return a data set whose pictures are opened as these values, those of volumes slice by slice."""
    if a.plain and b.plain:
        return splits
    splits = _in_slices(splits, [side for side, values in (("a", a), ("b", b)) if not values.plain])
    changed = {}
    for name in ("train_a", "train_b", "test_a", "test_b"):
        domain = getattr(splits, name)
        if isinstance(domain, Files):
            own, other = (a, b) if name.endswith("a") else (b, a)
            changed[name] = dataclasses.replace(domain, values=own, truth_values=other)
    return dataclasses.replace(splits, **changed)


def _note(side: str, values: Values) -> Message | None:
    """Return the sentence about a domain that isn't 8-bit RGB, to be printed before training."""
    if values.plain:
        return None
    return message(
        "domain {side}: {n} channel, values from {low:g} to {high:g}; what lies beyond is cut",
        "domain {side}: {n} channels, values from {low:g} to {high:g}; what lies beyond is cut", values.channels,
        side=side.upper(), low=values.low, high=values.high,
    )  # fmt: skip


def _in_slices(splits: Splits, sides: Sequence[str]) -> Splits:
    """Return a data set in which each slice of a volume in these domains is a picture; the notes count them."""
    changed: dict[str, Domain] = {}
    notes: list[Message] = []
    for name in ("train_a", "train_b", "test_a", "test_b"):
        domain = getattr(splits, name)
        if not isinstance(domain, Files) or domain.slices or name[-1] not in sides:
            continue
        counts = [_slices(path) for path in domain.paths]
        if max(counts, default=1) == 1:
            continue
        order = [(file, index) for file, count in enumerate(counts) for index in range(count)]
        truths = None if domain.truths is None else [domain.truths[file] for file, _ in order]
        changed[name] = dataclasses.replace(
            domain, paths=[domain.paths[file] for file, _ in order], truths=truths, slices=[i for _, i in order]
        )
        notes.append(message(
            "{part}: {n} slice in volumes, each a picture", "{part}: {n} slices in volumes, each a picture",
            len(order), part=domain.part,
        ))  # fmt: skip
    return dataclasses.replace(splits, **changed, notes=[*splits.notes, *notes]) if changed else splits


def _slices(path: Path) -> int:
    """Return the number of a file's slices; 1 for a picture, and for whatever can't be read."""
    if not path.name.lower().endswith(STACK_SUFFIXES):
        return 1  # Nothing else has several.
    found = look(path)
    return found.slices if found else 1


def _look(domain: Domain) -> Look:
    """Return what a domain's pictures are, by all files' headers unless the first is 8-bit colour.

    Raises:
        DataError: some have more bits or channels than others.
    """
    if not isinstance(domain, Files):
        raster = getattr(domain, "values", RGB)
        return Look(raster.channels, not raster.plain)
    seen: dict[Look, str] = {}
    for path in dict.fromkeys(domain.paths):
        if (one := look(path)) is None:
            continue  # Whoever opens it says why it can't be read.
        one = dataclasses.replace(one, slices=1)
        seen.setdefault(one, short_name(path))
        if one == Look(3, False) and path.suffix.lower() not in MAY_BE_DEEP:
            break  # Colour of 8 bits: grey becomes the same. JPEGs in their thousands needn't all be opened.
    if len(deep := [one for one in seen if one.deep]) > 1 or deep and len(seen) > 1:
        (first, where), (second, there) = list(seen.items())[:2]
        raise DataError(
            "the pictures of {part} are of different kinds: {first} ({first_kind}) and {second} ({second_kind}); keep "
            "one kind there", part=domain.part, first=where, second=there, first_kind=_kind(first),
            second_kind=_kind(second),
        )  # fmt: skip
    return Look(3, False) if Look(3, False) in seen else next(iter(seen), Look(3, False))


def _kind(one: Look) -> Message:
    if one.deep:
        return message("{n} channel of more than 8 bits", "{n} channels of more than 8 bits", one.channels)
    return message("{n} channel of 8 bits", "{n} channels of 8 bits", one.channels)


def _in_range(domain: Domain, values: Values) -> Values:
    """Return the values with the range in which nearly all of the training pictures' values lie.

    Raises:
        DataError: no picture can be read, or all their values are one.
    """
    if isinstance(domain, Files):
        domain = dataclasses.replace(domain, values=dataclasses.replace(values, high=values.high + 1))  # A raster's.
    samples: list[np.ndarray] = []
    for index in _spread(len(domain)):
        try:
            flat = np.asarray(domain.load(index), np.float32).ravel()
        except ImageError:
            continue  # The check before training names it.
        flat = flat[np.isfinite(flat)]
        samples.append(flat[:: max(1, len(flat) // MOST_VALUES)])
    every = np.concatenate(samples) if samples else np.zeros(0, np.float32)
    if not len(every):
        raise DataError("no picture of {part} can be read", part=domain.part)
    low, high = (float(end) for end in np.percentile(every, TAILS))
    if not low < high:
        low, high = float(every.min()), float(every.max())
    rounded = float(f"{low:.6g}"), float(f"{high:.6g}")
    low, high = rounded if rounded[0] < rounded[1] else (low, high)
    if not low < high:
        raise DataError(
            "all values in {part} are {value:g}: these pictures show nothing; give a range, such as --range_a 0:4095, "
            "if that is right", part=domain.part, value=low,
        )  # fmt: skip
    return dataclasses.replace(values, low=low, high=high)


def _spread(count: int) -> Sequence[int]:
    return np.linspace(0, count - 1, min(count, MOST_PICTURES)).round().astype(int).tolist()
