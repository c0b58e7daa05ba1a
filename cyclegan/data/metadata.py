"""Folders of pictures whose labels are in a file metadata.csv or metadata.jsonl, as imagefolder's are."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cyclegan.data.contents import subfolders
from cyclegan.data.domains import Files, Splits, found_line
from cyclegan.data.hub import LABELS
from cyclegan.data.unpaired import TESTS
from cyclegan.errors import DataError, reason_of

__all__ = ["Labelled", "find_labels", "open_labelled"]


class Labelled(NamedTuple):
    """The two values of a label, and the pictures of each by split."""

    column: str
    values: tuple[str, str]
    files: dict[str, tuple[list[Path], list[Path]]]


def find_labels(root: Path) -> Labelled | None:
    """Return the label that separates the pictures of a folder in two; None without metadata, or without such a label.

    The files metadata.csv or metadata.jsonl are in the folder itself or in its folders train, test and so on. Each row
    has a `file_name` relative to them.

    Raises:
        DataError: the metadata can't be read.
    """
    found = subfolders(root)
    folders = {"": root} | {split: found[split] for split in ("train", *TESTS) if split in found}
    rows = [(split, folder, row) for split, folder in folders.items() for row in _rows(folder)]
    splits: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for split, folder, row in rows:
        name = Path(str(row["file_name"]))
        path, first = folder / name, (name.parts or ("",))[0].lower()
        splits.setdefault(split or (first if first in TESTS else "train"), []).append((path, row))
    if (column := _label_of([row for _, row in splits.get("train", [])])) is None:
        return None
    first, second = sorted({str(row[column]) for _, row in splits["train"] if _has(row, column)})
    files = {
        split: tuple(
            [path for path, row in these if _has(row, column) and str(row[column]) == value]
            for value in (first, second)
        )
        for split, these in splits.items()
    }
    return Labelled(column, (first, second), files)


def open_labelled(labelled: Labelled, names: tuple[str, str]) -> Splits:
    """Return the pictures of the two values as domains a and b, in the values' order."""
    test = next((split for split in TESTS if all(labelled.files.get(split, ([], [])))), None)
    domains = [
        Files(name, labelled.files[split][side], part=f"{split} ({labelled.column}: {labelled.values[side]})")
        if split else None
        for split in ("train", test) for side, name in enumerate(names)
    ]  # fmt: skip
    return Splits(*domains, notes=[found_line(domain.part, len(domain)) for domain in domains if domain])


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a folder's metadata that name a file."""
    for name in ("metadata.csv", "metadata.jsonl"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            with open(path, encoding="utf-8-sig", newline="") as lines:
                read = csv.DictReader(lines) if path.suffix == ".csv" else map(json.loads, filter(str.strip, lines))
                yield from (row for row in read if isinstance(row, dict) and row.get("file_name"))
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            raise DataError(
                "{path} can't be read ({reason}): repair or remove it", path=path, reason=reason_of(error)
            ) from error


def _has(row: dict[str, Any], column: str) -> bool:
    return row.get(column) not in (None, "") and isinstance(row[column], (str, int, bool))


def _label_of(rows: list[dict[str, Any]]) -> str | None:
    """Return the column of two values that has a usual name: others may be widths, splits or cities."""
    columns = dict.fromkeys(column for row in rows for column in row if column not in (None, "file_name"))
    usual = [column for column in columns if column.lower() in LABELS]
    two = (column for column in usual if len({str(row[column]) for row in rows if _has(row, column)}) == 2)
    return next(two, None)
