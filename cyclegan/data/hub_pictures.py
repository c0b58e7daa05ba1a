"""The pictures of one column of a Hub data set, streamed in their order, whatever their number."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from cyclegan.data.hub import explained, fetch_streams
from cyclegan.errors import DataError, ImageError

if TYPE_CHECKING:
    from datasets import IterableDataset

PREFIX = "hf://datasets/"
"""The beginning of a Hub data set's name, where a path could stand."""


@dataclass(frozen=True)
class HubPicture:
    """A row's picture."""

    name: str
    """The split and the row's number, and its file's name where it has one."""
    content: Callable[[], bytes]
    """Returns its bytes. Raises ImageError."""


@dataclass(frozen=True)
class HubPictures:
    """A column of a split.

    Attributes:
        name: of the data set.
        count: its rows, where the data set's card says it.
    """

    name: str
    split: str
    column: str
    count: int | None
    table: IterableDataset

    def __iter__(self) -> Iterator[HubPicture]:
        """Yield the pictures in the data set's order. Raises DataError where the network fails."""
        rows = iter(enumerate(self.table))
        while True:
            with explained(self.name, None):
                number, row = next(rows, (0, None))
            if row is None:
                return
            cell = row[self.column] or {}
            stem = PurePosixPath(str(cell.get("path") or "")).stem
            name = f"{self.split}-{number:08d}" + (f"-{stem}" if stem else "")
            yield HubPicture(name, functools.partial(_bytes_of, cell, name))


def _bytes_of(cell: dict[str, Any], name: str) -> bytes:
    if not cell.get("bytes"):
        raise ImageError("{name} is empty: remove the row from the data set", name=name)
    return cell["bytes"]


def open_pictures(text: str) -> HubPictures:
    """Open the pictures of `hf://datasets/USER/NAME`, where there are several with `:CONFIG` and `?split=…&column=…`.

    Raises:
        DataError: not found, private, no network, `datasets` not installed; or no such split, or no column of pictures.
    """
    name, _, query = text.removeprefix(PREFIX).partition("?")
    repo, _, config = name.partition(":")
    wanted = dict(parse_qsl(query))
    if "/" not in repo.strip("/") or wanted.keys() - {"split", "column"}:
        raise DataError(
            "{text} isn't a data set of the Hub: write hf://datasets/USER/NAME, with ?split=test&column=image where it "
            "has several", text=text,
        )  # fmt: skip
    sets, _ = fetch_streams(repo, config or None)
    if len(sets) > 1:
        raise DataError("{repo} has several configurations: choose {repo}:CONFIG out of {listed}", repo=repo,
                        listed=", ".join(sets))  # fmt: skip
    with explained(repo, config or None):
        from datasets import Image

        (splits,) = sets.values()
        split = wanted.get("split") or (next(iter(splits)) if len(splits) == 1 else "train")
        if split not in splits:
            raise DataError("{repo} has no split {split}, but {splits}: choose one by ?split=…", repo=repo, split=split,
                            splits=", ".join(splits))  # fmt: skip
        table = splits[split]
        features = table.features or {}
        columns = [column for column, kind in features.items() if isinstance(kind, Image)]
        column = wanted.get("column") or (columns[0] if columns else "")
        if column not in columns:
            raise DataError("{repo} has no column {column} of pictures, but {columns}: choose one by ?column=…",
                            repo=repo, column=column or "at all", columns=", ".join(columns) or "none")  # fmt: skip
        found = table.info.splits and table.info.splits.get(split)
        return HubPictures(repo, split, column, found.num_examples if found else None,
                           table.select_columns([column]).cast_column(column, Image(decode=False)))  # fmt: skip
