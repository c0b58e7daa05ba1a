"""Data sets that code draws: numbered scenes in two splits and two domains, the words that choose them, and folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cyclegan.errors import DataError, Message
from cyclegan.files import added_files, write_json

SPLITS, DOMAINS = ("train", "test"), ("a", "b")
MIN_SIDE, MAX_SIDE = 16, 4096
COMMON = ("count", "test_count", "size", "seed")
"""The words that every drawn data set understands."""
_LEAST = {"count": 1, "test_count": 0, "seed": 0}


@dataclass(frozen=True)
class DrawnSpec:
    """A drawn data set.

    Args:
        count, test_count: scenes per domain.
        width, height: pixels.
        seed: another one gives other scenes.

    Raises:
        DataError: a value is out of range.
    """

    count: int = 400
    test_count: int = 40
    width: int = 256
    height: int = 256
    seed: int = 0
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        check_size(self.kind, self.width, self.height)
        for name, least in _LEAST.items():
            if (value := getattr(self, name)) < least:
                raise DataError(
                    "{kind} needs {name}={least} or more, not {value}", kind=self.kind, name=name, least=least,
                    value=value,
                )  # fmt: skip

    def series(self, split: str, domain: str) -> int:
        """Return the seed of a split's scenes in one domain: different for each, and for each seed of the spec."""
        if split not in SPLITS or domain not in DOMAINS:
            raise ValueError(f"split is train or test and domain a or b, not {split!r} and {domain!r}")
        return 4 * self.seed + 2 * SPLITS.index(split) + DOMAINS.index(domain)

    def length(self, split: str) -> int:
        """Return the number of scenes per domain in a split."""
        return self.count if split == "train" else self.test_count

    def series_with(self, split: str, domain: str, index: int) -> int:
        """Return the series that a scene is in. Raises ValueError if it has no scene of that number."""
        series = self.series(split, domain)
        if not 0 <= index < self.length(split):
            raise ValueError(f"{self.kind} has {self.length(split)} {split} scenes per domain, but no number {index}")
        return series


def check_size(kind: str, width: int, height: int) -> None:
    """Raise DataError for a picture that is too small or too large."""
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in (width, height)):
        raise DataError(
            "a picture of {kind} has {least} to {most} pixels on each side, not {width}×{height}",
            kind=kind, least=MIN_SIDE, most=MAX_SIDE, width=width, height=height,
        )  # fmt: skip


def read_words(kind: str, text: str, understood: Message, read: Callable[[str, str], None]) -> None:
    """Take "kind:key=value,…" apart.

    Args:
        understood: a sentence that lists the keys.
        read: called with each key and its value; raises ValueError or DataError for one that it doesn't understand.

    Raises:
        DataError: another kind, or a key or a value isn't understood.
    """
    name, _, rest = text.partition(":")
    if name.strip() != kind:
        raise DataError(
            "{text!r} is not a {kind} data set: {understood}", text=text, kind=kind, understood=understood
        )
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, _, value = (part.strip() for part in item.partition("="))
        try:
            read(key, value)
        except (ValueError, DataError):
            raise DataError(
                "{item!r} in {text!r} is not understood: {understood}", item=item, text=text, understood=understood
            ) from None


def read_common(key: str, value: str, values: dict[str, Any]) -> None:
    """Put the value of one of `COMMON` where `DrawnSpec` takes it. Raises ValueError."""
    if key not in COMMON:
        raise ValueError(key)
    if key == "size":
        width, _, height = value.lower().partition("x")
        values["width"], values["height"] = int(width), int(height or width)
    else:
        values[key] = int(value)


def write_drawn(
    spec: DrawnSpec, output: Path, write_scene: Callable[[Path, str, str, int, str], None], facts: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a drawn data set as folders, whole or not at all.

    File names count from zero, padded with zeros to four digits or more.

    Args:
        output: a new or empty folder.
        write_scene: called with the folder to write in, the split, the domain, the scene's number, and the name of its
            files without a suffix.
        facts: for KIND.json.
        progress: called with (done, total) after each scene.

    Raises:
        DataError: `output` is a file or a folder that isn't empty, or can't be written.
    """
    output = Path(output)
    jobs = [(split, domain, index) for split in SPLITS for domain in DOMAINS for index in range(spec.length(split))]
    digits = max(4, len(str(max(spec.count, spec.test_count) - 1)))
    try:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise DataError("{output} is not an empty folder: give a new or an empty one", output=output)
        with added_files(output) as part:
            for done, (split, domain, index) in enumerate(jobs, 1):
                write_scene(part, split, domain, index, f"{index:0{digits}d}")
                if progress:
                    progress(done, len(jobs))
            write_json(part / f"{spec.kind}.json", facts)
    except OSError as error:
        raise DataError(
            "{folder} can't be written ({reason}): free space or choose another folder",
            folder=output, reason=error,
        ) from error  # fmt: skip


def other(domain: str) -> str:
    """Return the other domain of "a" and "b"."""
    return "b" if domain == "a" else "a"
