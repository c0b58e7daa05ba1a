"""Data sets of the Hugging Face Hub, in the usual shapes of unpaired pictures.

`fetch` downloads, and imports `datasets`, which a training cluster may lack. `analyse` finds the two domains in the
download. `open_image` decodes the pictures, as everywhere: upright, RGB, limited in size.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from cyclegan.data.domains import UNUSED_PAIRS, Splits, found_line, no_folder
from cyclegan.errors import DataError, ImageError, Message, UserError, message
from cyclegan.files import fingerprint
from cyclegan.images import open_image, probe_image

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

__all__ = [
    "LABELS", "SHAPES", "Rows", "Sets", "a_then_b", "analyse", "column_pair", "columns_of", "fetch", "fetch_streams",
    "folder_label", "image_columns", "only_image", "open_hub", "split_of", "test_of",
]  # fmt: skip

Sets = Mapping[str, "DatasetDict"]  # by configuration name
_TESTS = ("test", "validation", "valid", "val")
QUESTION_S = 5.0
"""Seconds that the Hub may be silent before only the cache is read."""
LABELS = ("label", "labels", "domain", "class", "category", "style")
SHAPES = message(
    "Data sets that are understood have two image columns (e.g. imageA and imageB), two configurations with an image "
    "column each, or one image column and a label with two values"
)


@dataclass(frozen=True)
class Rows:
    """Some rows of one image column; `partner` holds the same scenes in the other domain, if known."""

    name: str
    table: Dataset
    column: str
    rows: np.ndarray
    split: str
    partner: Rows | None = None
    fallible: ClassVar[bool] = True

    @property
    def part(self) -> str:
        """The split, the column and the domain's name."""
        return f"{self.name} ({self.split}, {self.column})"

    def __len__(self) -> int:
        return len(self.rows)

    def label(self, index: int) -> str:
        return f"{self.split}-{self.column}-{int(self.rows[index]):05d}"

    where = label

    def probe(self, index: int) -> tuple[int, int]:
        return probe_image(self._source(index), name=self.label(index))

    def load(self, index: int) -> Image.Image:
        return open_image(self._source(index), name=self.label(index))

    def truth(self, index: int) -> Image.Image | None:
        return self.partner and self.partner.load(index)

    def labels(self, index: int) -> None:
        return None

    def fingerprint(self, index: int) -> str:
        return fingerprint(self._source(index))

    def _source(self, index: int) -> bytes | str:
        cell = self.table[int(self.rows[index])][self.column]
        source = cell and (cell.get("bytes") or cell.get("path"))
        if not source:
            raise ImageError("{name} is empty: remove the row from the data set", name=self.label(index))
        return source


def open_hub(text: str, names: tuple[str, str], *, paired: bool = False) -> Splits:
    """Open "USER/NAME" or "USER/NAME:CONFIG".

    Args:
        text: the data set's id.
        names: of domains a and b.
        paired: rows with two image columns are pairs; other shapes have none.

    Raises:
        DataError: not found, private, no network, `datasets` not installed, or no two domains recognised.
    """
    repo, _, config = text.partition(":")
    return analyse(fetch(repo, config or None), text, names, paired=paired)


def fetch(repo: str, config: str | None) -> Sets:
    """Download a data set: one configuration, or both of two if `config` is None.

    Raises:
        DataError: with the cause in one sentence.
    """
    return _opened(repo, config)[0]


def fetch_streams(repo: str, config: str | None) -> tuple[Sets, str]:
    """Return a data set whose rows stay on the Hub until they are read, and its commit, "" if no answer came.

    Raises:
        DataError: with the cause in one sentence.
    """
    return _opened(repo, config, streaming=True)


def _opened(repo: str, config: str | None, *, streaming: bool = False) -> tuple[Sets, str]:
    with explained(repo, config):
        from datasets import get_dataset_config_names, load_dataset

        with _cache_only_without_network(repo) as commit:
            options = {"streaming": True, "revision": commit or None} if streaming else {}
            if config is not None:
                return {config: load_dataset(repo, config, **options)}, commit
            configs = get_dataset_config_names(repo)
            if len(configs) > 2:
                listed = ", ".join(configs[:20])
                raise DataError(
                    "{repo} has several configurations: choose {repo}:CONFIG out of {listed}", repo=repo, listed=listed
                )
            return {name: load_dataset(repo, name, **options) for name in configs}, commit


@contextlib.contextmanager
def explained(repo: str, config: str | None) -> Iterator[None]:
    """Turn what goes wrong with a data set of the Hub into DataError."""
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        if error.name != "datasets":
            raise
        raise DataError(
            "{missing}, and the Hub's data sets need a package: pip install datasets",
            missing=no_folder(_spec(repo, config)),
        ) from error  # fmt: skip
    except Exception as error:  # datasets, huggingface_hub, the network and pyarrow raise kinds of their own
        raise DataError(_why(repo, config, error)) from error


@contextlib.contextmanager
def _cache_only_without_network(repo: str) -> Iterator[str]:
    """Let `datasets` read only its cache while the Hub can't be reached, because its retries take half a minute.

    One question decides, which isn't repeated. Yields the newest commit, "" if no answer came.
    """
    import datasets.load  # Its client, because only hub/ may use another one, and that imports this library.

    before, commit = datasets.config.HF_HUB_OFFLINE, ""
    try:
        client = datasets.load.HfApi(endpoint=datasets.config.HF_ENDPOINT)
        commit = client.dataset_info(repo, timeout=QUESTION_S).sha or ""
    except Exception as error:  # `load_dataset` explains any other kind, and asks again.
        datasets.config.HF_HUB_OFFLINE = before or _is_of_network(error)
    try:
        yield commit
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _is_of_network(error: Exception) -> bool:
    """Return True if no answer came, by the names of the kinds, because the client's library may change."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"ConnectionError", "ConnectError", "Timeout", "TransportError", "TimeoutError"})


def _spec(repo: str, config: str | None) -> str:
    return repo if config is None else f"{repo}:{config}"


def _why(repo: str, config: str | None, error: Exception) -> Message:
    """Return a failed download's cause. Unless the Hub has the data set, it includes that there is no such folder."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = " ".join(str(error).split())
    if "BuilderConfig" in text:
        return message(
            "{repo} has no configuration {config}: {reason}", repo=repo, config=config, reason=text[:200]
        )
    if "gated" in text.lower() or "GatedRepoError" in kinds:
        return message("{repo} is gated: accept its terms on its page, then run hf auth login", repo=repo)
    missing = no_folder(_spec(repo, config))
    if kinds & {"OfflineModeIsEnabled", "LocalEntryNotFoundError"}:
        return message(
            "{missing}, nor a data set of that name in the Hub's local cache, and the Hub can't be reached: check the "
            "folder's name, or the network",
            missing=missing,
        )
    if kinds & {"DatasetNotFoundError", "RepositoryNotFoundError"}:
        return message(
            "{missing}, and the Hub has no data set of that name that you may read: check the name, or run hf auth "
            "login if it is private",
            missing=missing,
        )
    if _is_of_network(error):
        return message(
            "{missing}, and the Hub can't be reached to look for a data set of that name: check the folder's name, or "
            "the network",
            missing=missing,
        )
    return message(
        "{missing}, and as a data set of the Hub it could not be opened ({kind}: {reason}): check the name and the "
        "network",
        missing=missing, kind=type(error).__name__, reason=text[:200],
    )  # fmt: skip


def analyse(sets: Sets, name: str, names: tuple[str, str], *, paired: bool = False) -> Splits:
    """Find two domains in a downloaded data set. Its own test split, or else validation, is kept.

    These shapes are understood:

    - two image columns. They force equal lengths, but domain b is still sampled independently of a, and rows that are
      empty in one column serve the other;
    - two configurations with one image column each;
    - one image column with a label of two values, or of the four trainA, trainB, testA, testB of uploaded folders;
    - splits named trainA, trainB.

    Args:
        sets: DatasetDict by configuration name, one or two of them.
        name: the data set's name, for messages.
        names: of domains a and b.
        paired: the rows of two image columns are pairs.

    Raises:
        DataError: none of these, or a domain without pictures; `paired`, and the rows aren't pairs.
    """
    if len(sets) == 2:
        splits = _from_configs(sets, name, names)
    else:
        (splits_found,) = sets.values()
        splits = _from_splits(splits_found, name, names, paired)
    if paired and not splits.aligned:
        raise DataError(
            "{name} has no pairs: training on pairs needs two image columns of equal length; --method cyclegan trains "
            "without pairs",
            name=name,
        )  # fmt: skip
    return splits


def _from_configs(sets: Sets, name: str, names: tuple[str, str]) -> Splits:
    configs = a_then_b(list(sets))
    parts = []
    for split in ("train", test_of(set(sets[configs[0]]) & set(sets[configs[1]]))):
        for side, config in enumerate(configs):
            if split is None:
                parts.append(None)
                continue
            table = split_of(sets[config], split, name)
            parts.append(_rows(names[side], table, only_image(table, name), None, f"{config}-{split}"))
    return _checked(parts, name)


def _from_splits(found: DatasetDict, name: str, names: tuple[str, str], paired: bool) -> Splits:
    lower = {split.lower(): split for split in found}
    if {"traina", "trainb"} <= set(lower):
        parts = []
        for split in ("train", "test"):
            for side in "ab":
                table = found[lower[split + side]] if split + side in lower else None
                rows = table and _rows(names[side == "b"], table, only_image(table, name), None, split)
                parts.append(rows)
        return _checked(parts, name)
    train, test_split = split_of(found, "train", name), test_of(set(found))
    columns = image_columns(train)
    pair = column_pair(columns, name)
    tables = [("train", train)] + ([(test_split, found[test_split])] if test_split else [])
    parts = []
    if pair:
        for split, table in tables:
            parts += _two_columns(table, pair, names, split, name, paired)
        splits = _checked(parts, name, aligned=paired)
        return splits if paired else replace(splits, notes=[*splits.notes, UNUSED_PAIRS])
    if folders := folder_label(train):
        return _checked(_by_folder(train, columns[0], folders, names), name)
    label = _label_column(train, name)
    for split, table in tables:
        parts += _by_label(table, columns[0], label, _values(train, label), names, split)
    return _checked(parts, name)


def _two_columns(
    table: Dataset, pair: tuple[str, str], names: tuple[str, str], split: str, name: str, paired: bool
) -> list[Rows]:
    filled = [_filled(table, column) for column in pair]
    if paired:
        filled = [np.intersect1d(*filled)] * 2
    a, b = (_rows(n, table, c, rows, split) for n, c, rows in zip(names, pair, filled, strict=True))
    return [replace(a, partner=b), replace(b, partner=a)] if paired else [a, b]


def _by_label(
    table: Dataset, column: str, label: str, values: list, names: tuple[str, str], split: str
) -> list[Rows]:
    labels = np.array([str(v) for v in table[label]])
    return [
        _rows(n, table, column, np.flatnonzero(labels == str(value)), split)
        for n, value in zip(names, values, strict=True)
    ]


def folder_label(table: Dataset) -> str | None:
    """Return the label whose classes are the folders trainA, trainB, …, as `datasets` reads uploaded folders."""
    names = {c: getattr(f, "names", None) or () for c, f in table.features.items()}
    return next((c for c, n in names.items() if {"traina", "trainb"} <= {x.lower() for x in n}), None)


def _by_folder(table: Dataset, column: str, label: str, names: tuple[str, str]) -> list[Rows]:
    folders = [folder.lower() for folder in table.features[label].names]
    labels, parts = np.array(table[label][:]), []
    for split in ("train", "test"):
        for name, side in zip(names, "ab", strict=True):
            wanted = folders.index(split + side) if split + side in folders else -2
            parts.append(_rows(name, table, column, np.flatnonzero(labels == wanted), split))
    return parts


def _rows(name: str, table: Dataset, column: str, rows: np.ndarray | None, split: str) -> Rows:
    """Return the rows of a column as stored bytes, so that only `open_image` decodes them."""
    from datasets import Image as ImageFeature

    rows = _filled(table, column) if rows is None else rows
    table = table.with_format(None).select_columns([column]).cast_column(column, ImageFeature(decode=False))
    return Rows(name, table, column, rows, split)


def _filled(table: Dataset, column: str) -> np.ndarray:
    """Return the numbers of the rows that have a picture in this column."""
    if table.data.column(column).null_count == 0:
        return np.arange(len(table))
    cells = table.select_columns([column]).with_format("arrow")[:][column]
    return np.flatnonzero(cells.is_valid().to_numpy())


def _checked(parts: list[Rows | None], name: str, *, aligned: bool = False) -> Splits:
    parts = [part if part is not None and len(part) else None for part in [*parts, None, None][:4]]
    for part, side in zip(parts[:2], "AB", strict=True):
        if part is None:
            raise DataError(
                "{name} has no training pictures for domain {side}. {shapes}", name=name, side=side, shapes=SHAPES
            )
    test = parts[2:] if all(parts[2:]) else [None, None]
    used = [*parts[:2], *test]
    return Splits(*used, aligned=aligned, notes=[found_line(part.part, len(part)) for part in used if part])


def split_of(found: DatasetDict, split: str, name: str) -> Dataset:
    """Return a split. Raises DataError if there is none of that name."""
    if split not in found:
        raise DataError(
            "{name} has no split {split}, but {found}. {shapes}",
            name=name, split=split, found=", ".join(map(str, found)) or message("none"), shapes=SHAPES,
        )  # fmt: skip
    return found[split]


def test_of(splits: set[str]) -> str | None:
    """Return the name of the split of test pictures, None without one."""
    return next((split for split in _TESTS if split in splits), None)


def image_columns(table: Dataset) -> list[str]:
    """Return the names of the columns of pictures."""
    from datasets import Image as ImageFeature

    return [column for column, feature in table.features.items() if isinstance(feature, ImageFeature)]


def only_image(table: Dataset, name: str) -> str:
    """Return the name of the one column of pictures. Raises DataError if there are none or several."""
    columns = image_columns(table)
    if len(columns) != 1:
        raise DataError(
            "{name} has the columns {columns}, where one image column was expected. {shapes}",
            name=name, columns=columns_of(table), shapes=SHAPES,
        )  # fmt: skip
    return columns[0]


def column_pair(columns: list[str], name: str) -> tuple[str, str] | None:
    """Return the columns for a and b, by their names or as the only two; None if there is one image column."""
    named = {side: [c for c in columns if _letter(c) == side] for side in "ab"}
    if len(named["a"]) == len(named["b"]) == 1:
        return named["a"][0], named["b"][0]
    if len(columns) == 2:
        return columns[0], columns[1]
    if len(columns) == 1:
        return None
    raise DataError(
        "{name} has {count} image columns ({found}). {shapes}",
        name=name, count=len(columns), found=", ".join(columns) or message("none"), shapes=SHAPES,
    )  # fmt: skip


def _letter(text: str) -> str | None:
    """Return the domain at a name's end: a for imageA, image_a, A, domain-a; None for RGB, camera."""
    match = re.search(r"(?:^|[a-z0-9_\-. ])(A|B)$|(?:^|[_\-. ])([ab])$", text)
    return (match[1] or match[2]).lower() if match else None


def a_then_b(configs: list[str]) -> list[str]:
    """Return two configurations in the order of the letters at their ends, if they have some."""
    return sorted(configs, key=_letter) if {_letter(c) for c in configs} == {"a", "b"} else configs


def _label_column(table: Dataset, name: str) -> str:
    """Return the column that separates the domains: one of two values."""
    from datasets import ClassLabel, Value

    candidates = [
        column
        for column, feature in table.features.items()
        if (isinstance(feature, ClassLabel) or (isinstance(feature, Value) and _is_discrete(feature.dtype)))
        and len(_values(table, column)) == 2
    ]
    candidates.sort(key=lambda c: (c.lower() not in LABELS, not isinstance(table.features[c], ClassLabel)))
    if not candidates:
        raise DataError(
            "{name} has the columns {columns}, and no label with two values. {shapes}",
            name=name, columns=columns_of(table), shapes=SHAPES,
        )  # fmt: skip
    return candidates[0]


def _is_discrete(dtype: str) -> bool:
    return dtype in ("string", "large_string", "bool") or "int" in dtype


def _values(table: Dataset, label: str) -> list:
    """Return the label's values: a ClassLabel's in its own order, others sorted; none if there are many."""
    values: set[Any] = set()
    for value in table[label]:
        values.add(value)
        if len(values) > 4:
            return []
    return sorted(v for v in values if v is not None)


def columns_of(table: Dataset) -> str:
    """Return the names and kinds of a table's columns, for messages."""
    return ", ".join(f"{c} ({type(f).__name__})" for c, f in table.features.items())
