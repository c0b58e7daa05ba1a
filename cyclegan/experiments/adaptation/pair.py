"""The two domains of an adaptation, their common classes, and the data set that translations are learned from::

    DIR/data/
      trainA/, trainB/           the source's and the target's training pictures
      labels/trainA/, trainB/    their label maps, by common classes
      classes.json, pair.json    the common classes; what was copied, from where

No test picture is in it, so that no method can see one.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cyclegan.cli.config_file import load_mapping
from cyclegan.config import DataConfig
from cyclegan.data import find_data
from cyclegan.data.domains import Domain, is_streets
from cyclegan.data.labels import VOID, Classes, Side, write_classes
from cyclegan.errors import ConfigError, DataError, message
from cyclegan.evaluation.scores.sets import evenly
from cyclegan.evaluation.segmenter import require_classes
from cyclegan.files import name_alone, read_json, whole_folder, write_json
from cyclegan.images import resize

FOLDER, FILE = "data", "pair.json"
EXAMPLE = "road: {source: [road, lane_marking], target: Road}"


@dataclass(frozen=True)
class Half:
    """One of the two domains.

    Attributes:
        role: "source" or "target".
        dataset: as typed, without the side.
        side: the domain of that data set.
        classes: of that data set.
        train, test: its pictures; test is None without a split for tests.
        name: of the domain, for people.
    """

    role: str
    dataset: str
    side: Side
    classes: Classes
    train: Domain
    test: Domain | None
    name: str

    @property
    def text(self) -> str:
        """The domain as one types it."""
        return f"{self.dataset}@{self.side}"


@dataclass(frozen=True)
class Pair:
    """Both domains with what their labels have in common.

    Attributes:
        source, target: the domains.
        classes: the common classes, in the source's colours.
        tables: for each role, the common class of each of the domain's class numbers: uint8 (256,); VOID for none.
        left_out: for each role, the names of classes that aren't scored.
    """

    source: Half
    target: Half
    classes: Classes
    tables: Mapping[str, np.ndarray]
    left_out: Mapping[str, tuple[str, ...]]

    def half(self, role: str) -> Half:
        """Return the source or the target."""
        return self.source if role == "source" else self.target

    def domain(self, role: str, split: str) -> Mapped:
        """Return a split's pictures with labels by common classes. The split must exist."""
        domain = getattr(self.half(role), split)
        assert domain is not None
        return Mapped(domain, self.tables[role])


class Mapped:
    """A domain whose labels are numbers of other classes.

    Args:
        whole: the domain.
        table: the new number of each old one: uint8 (256,).
    """

    def __init__(self, whole: Domain, table: np.ndarray) -> None:
        self.whole, self.table = whole, table

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    def __len__(self) -> int:
        return len(self.whole)

    def labels(self, index: int) -> np.ndarray | None:
        """Return the label map by the new numbers; None if the picture has none."""
        labels = self.whole.labels(index)
        return None if labels is None else self.table[labels]


def open_pair(source: str, target: str | None, classes: Path | None) -> Pair:
    """Return the domains of an adaptation.

    Args:
        source: DATA or DATA@a or DATA@b; a by default.
        target: likewise, b by default; None for the source's other domain.
        classes: a YAML file with the common classes (`EXAMPLE`); None where the names are the same.

    Raises:
        DataError: no such data, no labels, or no test pictures of the target.
        ConfigError: the classes have nothing in common, or the file can't be used.
    """
    of_source = _half("source", *_parsed(source, "a"))
    other: Side = "b" if of_source.side == "a" else "a"
    of_target = _half("target", *((of_source.dataset, other) if target is None else _parsed(target, "b")))
    if of_source.text == of_target.text:
        raise ConfigError("--source and --target are both {name}: give two domains", name=of_source.text)
    if of_target.test is None:
        raise DataError(
            "{name} has no test pictures, on which the segmenters are compared: move some, with their label maps, "
            "into its test split",
            name=of_target.text,
        )  # fmt: skip
    halves = {"source": of_source, "target": of_target}
    if classes is None:
        table = {name: {role: [name] for role in halves} for name in of_source.classes.scored
                 if name in of_target.classes.scored}  # fmt: skip
        if len(table) < 2:
            raise ConfigError(
                "the classes of {source} ({ours}) and of {target} ({theirs}) have fewer than two names in common: say "
                "which belong together in a file for --classes, a line for each, such as `{example}`",
                source=of_source.text, ours=", ".join(of_source.classes.scored), target=of_target.text,
                theirs=", ".join(of_target.classes.scored), example=EXAMPLE,
            )  # fmt: skip
    else:
        table = _read(classes, halves)
    tables, left_out = {}, {}
    for role, half in halves.items():
        numbers = np.full(VOID + 1, VOID, np.uint8)
        for number, names in enumerate(table.values()):
            numbers[[half.classes.scored.index(name) for name in names[role]]] = number
        tables[role] = numbers
        left_out[role] = tuple(name for k, name in enumerate(half.classes.scored) if numbers[k] == VOID)
    colors = dict(zip(of_source.classes.names, of_source.classes.colors, strict=True))
    common = Classes(tuple(table), tuple(colors[names["source"][0]] for names in table.values()))
    return Pair(of_source, of_target, common, tables, left_out)


def _parsed(text: str, default: Side) -> tuple[str, Side]:
    dataset, _, side = text.rpartition("@")
    if side in ("a", "b") and dataset and not Path(text).expanduser().exists():
        return dataset, side  # type: ignore[return-value]
    return text, default


def _half(role: str, dataset: str, side: Side) -> Half:
    splits = find_data(DataConfig(dataset=dataset))
    classes = require_classes(splits.classes, dataset)
    if splits.label_domain == side:
        raise DataError(
            "the pictures of {name} are label maps: --{role} needs photos with label maps beside them",
            name=f"{dataset}@{side}", role=role,
        )  # fmt: skip
    train, test = (getattr(splits, f"{split}_{side}") for split in ("train", "test"))
    return Half(role, dataset, side, classes, train, test, _name(dataset, side, train))


def _name(dataset: str, side: Side, domain: Domain) -> str:
    """Return "day" for streets, else "camvid, A" or "camvid, day"."""
    if is_streets(dataset):
        from cyclegan.data.streets import StreetsSpec

        return StreetsSpec.parse(dataset).view(side)
    return f"{name_alone(dataset)}, {domain.name}"


def _read(path: Path, halves: Mapping[str, Half]) -> dict[str, dict[str, list[str]]]:
    """Return the file's names of classes by common class and role."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, entry in load_mapping(path, shown=str(path)).items():
        if not isinstance(entry, Mapping) or set(entry) != set(halves):
            raise ConfigError("{path}: {name} needs names from both sides, such as `{example}`", path=path,
                              name=str(name)[:80], example=EXAMPLE)  # fmt: skip
        found[str(name)] = {role: _names(entry[role], halves[role], path) for role in halves}
    if len(found) < 2:
        raise ConfigError("{path} has fewer than two classes, so there is nothing to tell apart: add some, such as "
                          "`{example}`", path=path, example=EXAMPLE)  # fmt: skip
    for role in halves:
        every = [name for names in found.values() for name in names[role]]
        if twice := next((name for name in every if every.count(name) > 1), None):
            raise ConfigError("{path}: {name} of the {role} belongs to two classes: remove it from one", path=path,
                              name=twice, role=role)  # fmt: skip
    return found


def _names(value: Any, half: Half, path: Path) -> list[str]:
    names = [str(each) for each in (value if isinstance(value, list) else [value])]
    for name in names:
        if name not in half.classes.scored:
            near = difflib.get_close_matches(name, half.classes.scored, 1)
            hint = message("; do you mean {near}?", near=near[0]) if near else ""
            raise ConfigError("{path}: {dataset} has no class {name!r} that is scored, only {known}{hint}", path=path,
                              dataset=half.text, name=name[:80], known=", ".join(half.classes.scored),
                              hint=hint)  # fmt: skip
    if not names:
        raise ConfigError("{path}: a class has no name in the {role}: give one, or remove the line", path=path,
                          role=half.role)  # fmt: skip
    return names


# --- the data set ---------------------------------------------------------------------------------------------


def write_data(
    pair: Pair, output: Path, *, size: int, limit: int | None, progress: Callable[[int], object] | None = None
) -> Path:
    """Write DIR/data, unless it is there, and return it.

    Args:
        size: pictures whose shorter side is longer are scaled down to it.
        limit: the most pictures of a domain, spread evenly over all; None for all.
        progress: called with 1 after each picture.

    Raises:
        ConfigError: the folder holds other domains, classes or sizes.
        DataError: a picture has no label map, or the folder can't be written.
    """
    folder, known = output / FOLDER, about(pair, size, limit)
    if (folder / FILE).exists():
        check_same(read_json(folder / FILE, error=ConfigError), known, output)
        return folder
    try:
        with whole_folder(folder) as part, ThreadPoolExecutor() as pool:
            write_classes(part, pair.classes)
            for role, place in (("source", "trainA"), ("target", "trainB")):
                (part / place).mkdir()
                (part / "labels" / place).mkdir(parents=True)
                for _ in pool.map(lambda job: _write_one(*job), _jobs(pair, role, part, place, size, limit)):
                    if progress:
                        progress(1)
            write_json(part / FILE, known)
    except OSError as error:
        raise DataError(
            "{folder} can't be written ({reason}): free space or choose another folder", folder=folder, reason=error
        ) from error
    return folder


def _jobs(pair: Pair, role: str, part: Path, place: str, size: int, limit: int | None) -> Iterator[tuple[Any, ...]]:
    domain = pair.domain(role, "train")
    for number, index in enumerate(chosen(len(domain), limit)):
        yield domain, index, part / place / f"{number:05d}.png", part / "labels" / place / f"{number:05d}.png", size


def chosen(total: int, limit: int | None) -> Sequence[int]:
    """Return the numbers of the pictures that are used."""
    return evenly(min(limit or total, total), total)


def _write_one(domain: Mapped, index: int, picture: Path, labels: Path, size: int) -> None:
    image, found = domain.load(index), domain.labels(index)
    if found is None:
        raise DataError("{picture} has no label map: save one for each picture, see docs/evaluation.md",
                        picture=domain.where(index))  # fmt: skip
    scale = min(1.0, size / min(image.size))
    wanted = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    resize(image, wanted).save(picture)
    resize(Image.fromarray(found), wanted, Image.Resampling.NEAREST).save(labels)


def about(pair: Pair, size: int, limit: int | None) -> dict[str, Any]:
    """Return the facts that two starts must have in common."""
    return {
        "source": pair.source.text, "target": pair.target.text, "size": size, "limit": limit,
        "names": {"source": pair.source.name, "target": pair.target.name},
        "classes": {
            name: {role: [half for k, half in enumerate(pair.half(role).classes.scored)
                          if pair.tables[role][k] == number] for role in pair.tables}
            for number, name in enumerate(pair.classes.names)
        },
    }  # fmt: skip


def check_same(there: Mapping[str, Any], now: Mapping[str, Any], output: Path) -> None:
    """Raise ConfigError if a folder holds runs of another pair."""
    for name in now:
        if there.get(name) != now[name]:
            raise ConfigError(
                "{folder} holds runs with another {what} ({then}): give that again, or another --output",
                folder=output, what=name, then=str(there.get(name))[:200],
            )  # fmt: skip
