"""Rows of the Hub's data sets and of Parquet files, which `datasets` reads one after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cyclegan.data.hub import (
    SHAPES,
    Sets,
    a_then_b,
    column_pair,
    columns_of,
    folder_label,
    image_columns,
    only_image,
    split_of,
    test_of,
)
from cyclegan.data.streams.sources import Picture, Source
from cyclegan.errors import DataError, reason_of

if TYPE_CHECKING:
    from datasets import IterableDataset

__all__ = ["Rows", "sources_of"]


class Rows:
    """The pictures in one column of a table.

    Args:
        table: streamed.
        column: of pictures.
        part: the split and the column, for messages.
        identity: of the table's files.
        label, value: only the rows that have this value in this column, if one is given.
    """

    def __init__(
        self, table: IterableDataset, column: str, part: str, identity: str, label: str | None = None, value: Any = None
    ) -> None:
        import datasets

        self.table = table.select_columns([column, *([label] if label else [])]).cast_column(
            column, datasets.Image(decode=False)
        )
        self.column, self.part, self.label, self.value = column, part, label, value
        self.shards = table.num_shards
        self.identity = f"{identity} {datasets.__version__} {self.shards}"  # Its places are for this version alone.

    def read(
        self, shard: int, start: dict[str, Any] | None = None, part: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Picture, dict[str, Any]]]:
        """Yield the pictures of a shard; see `Source.read`. Rows without a picture are passed over."""
        from datasets.distributed import split_dataset_by_node

        rows, count = self.table.shard(self.shards, shard), 0  # A new object each time, because it keeps its place.
        if part[1] > 1:
            rows = split_dataset_by_node(rows, *part)
        if start is not None:
            count = start["count"]
            rows.load_state_dict(start["state"])
        reading = iter(rows)
        while (row := self._next(reading)) is not None:
            count += 1
            cell = row[self.column]
            content = cell and (cell.get("bytes") or cell.get("path"))
            if content and (self.label is None or row[self.label] == self.value):
                label = f"{self.part}, file {shard + 1}, row {(count - 1) * part[1] + part[0] + 1}"
                yield Picture(label, content), {"state": rows.state_dict(), "count": count}

    def _next(self, reading: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
        try:
            return next(reading, None)
        except Exception as error:  # datasets, the Hub's client, pyarrow and fsspec raise kinds of their own.
            raise DataError(
                "{part} can't be read any more ({reason}): check the network or the file, then resume",
                part=self.part, reason=reason_of(error),
            ) from error  # fmt: skip


def sources_of(sets: Sets, name: str, identity: str) -> dict[str, tuple[Source, str]]:
    """Return the source and its part by "traina", "trainb", "testa" and "testb", in the shapes that `analyse` knows.

    A label must be one whose two classes are named in the data set, because finding other values takes a whole pass.

    Args:
        sets: streamed, by configuration name, one or two of them.
        name: of the data set, for messages.
        identity: of its files.

    Raises:
        DataError: no two domains are recognised.
    """
    for found in sets.values():
        for split, table in found.items():
            if table.features is None:
                raise DataError("{name} doesn't say what its columns are ({split}). {shapes}", name=name, split=split,
                                shapes=SHAPES)  # fmt: skip

    def rows(
        table: IterableDataset, column: str, split: str, label: str | None = None, value: Any = None
    ) -> tuple[Source, str]:
        part = f"{name} ({split}, {column})" if label is None else f"{name} ({split}, {label} {value})"
        return Rows(table, column, part, f"{identity} {split} {column}", label, value), part

    def alone(table: IterableDataset, split: str) -> tuple[Source, str]:
        return rows(table, only_image(table, name), split)

    if len(sets) == 2:
        configs = a_then_b(list(sets))
        test = test_of(set(sets[configs[0]]) & set(sets[configs[1]]))
        tables = {
            f"{kind}{side}": (sets[config], split) for kind, split in (("train", "train"), ("test", test)) if split
            for side, config in zip("ab", configs, strict=True)
        }  # fmt: skip
        return {key: alone(split_of(found, split, name), split) for key, (found, split) in tables.items()}
    (found,) = sets.values()
    lower = {split.lower(): split for split in found}
    if {"traina", "trainb"} <= set(lower):
        keys = [key for key in ("traina", "trainb", "testa", "testb") if key in lower]
        return {key: alone(found[lower[key]], lower[key]) for key in keys}
    train, test = split_of(found, "train", name), test_of(set(found))
    splits = {"train": ("train", train), **({"test": (test, found[test])} if test else {})}
    columns = image_columns(train)
    if pair := column_pair(columns, name):
        return {
            f"{kind}{side}": rows(table, column, split) for kind, (split, table) in splits.items()
            for side, column in zip("ab", pair, strict=True)
        }  # fmt: skip
    if label := folder_label(train):
        folders = [folder.lower() for folder in train.features[label].names]
        keys = [key for key in ("traina", "trainb", "testa", "testb") if key in folders]
        return {key: rows(train, columns[0], "train", label, folders.index(key)) for key in keys}
    label = _two_classes(train, name)
    return {
        f"{kind}{side}": rows(table, columns[0], split, label, value) for kind, (split, table) in splits.items()
        for value, side in enumerate("ab")
    }  # fmt: skip


def _two_classes(table: IterableDataset, name: str) -> str:
    """Return the label of two classes."""
    classes: Mapping[str, Collection[str]] = {
        column: getattr(feature, "names", None) or () for column, feature in table.features.items()
    }
    found = [column for column, names in classes.items() if len(names) == 2]
    if not found:
        raise DataError(
            "{name} has the columns {columns}, and no label whose two classes it names, which --stream needs. {shapes}",
            name=name, columns=columns_of(table), shapes=SHAPES,
        )  # fmt: skip
    return found[0]
