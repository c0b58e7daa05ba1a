"""Folders and files on this machine that the package `datasets` wrote or reads: tables with a column of pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan.data.contents import has_pictures
from cyclegan.data.domains import Splits
from cyclegan.data.hub import analyse
from cyclegan.errors import DataError, reason_of

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

__all__ = ["has_table", "is_saved", "open_table", "stream_table"]


def has_table(root: Path) -> bool:
    """Return True for a folder of `save_to_disk`, or one with Parquet files in it or in a folder without pictures."""
    return is_saved(root) or any(True for _ in root.glob("*.parquet")) or any(
        not has_pictures(path.parent) for path in root.glob("*/*.parquet")
    )


def open_table(path: Path, names: tuple[str, str], *, paired: bool = False) -> Splits:
    """Open a folder of `save_to_disk`, or of Parquet files, or one Parquet file.

    Args:
        path: the folder or file.
        names: of domains a and b.
        paired: rows with two image columns are pairs; other shapes have none.

    Raises:
        DataError: `datasets` isn't installed or can't read it, or no two domains are recognised.
    """
    return analyse({"default": _load(path)}, path.name, names, paired=paired)


def stream_table(path: Path) -> DatasetDict:
    """Return a folder of Parquet files, or one, whose rows are read when they are needed.

    Raises:
        DataError: `datasets` isn't installed or can't read it.
    """
    return _load(path, streaming=True)


def is_saved(root: Path) -> bool:
    """Return True for a folder of `save_to_disk`."""
    return (root / "dataset_dict.json").is_file() or all(
        (root / name).is_file() for name in ("state.json", "dataset_info.json")
    )


def _load(path: Path, *, streaming: bool = False) -> DatasetDict:
    try:
        from datasets import Dataset, DatasetDict, IterableDatasetDict, load_dataset, load_from_disk
    except ImportError as error:
        raise DataError("{path} needs a package: pip install datasets", path=path) from error
    try:
        if path.is_file():
            found = load_dataset("parquet", data_files={"train": str(path.resolve())}, streaming=streaming)
        else:
            load = load_from_disk if is_saved(path) else partial(load_dataset, streaming=streaming)
            found = load(str(path.resolve()))
    except Exception as error:  # datasets and pyarrow raise kinds of their own
        raise DataError(
            "{path} could not be opened as a data set ({reason}): check its files, or save the pictures into trainA "
            "and trainB",
            path=path, reason=reason_of(error),
        ) from error
    found = {"train": found} if isinstance(found, Dataset) else found
    kind = IterableDatasetDict if streaming else DatasetDict
    return kind({split: _with_pictures(table) for split, table in found.items()})


def _with_pictures(table: Dataset) -> Dataset:
    """Return the table with columns of a picture's bytes as image columns, which other writers don't mark as such."""
    from datasets import Image, Value

    for column, feature in table.features.items():
        plain = isinstance(feature, Value) and feature.dtype in ("binary", "large_binary")
        if plain or (isinstance(feature, dict) and set(feature) == {"bytes", "path"}):
            table = table.cast_column(column, Image(decode=False))
    return table
