"""Class labels of pictures: the classes with their colours, and the maps that give each pixel's class."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from cyclegan.data.contents import pictures_in
from cyclegan.errors import DataError, ImageError, Message, message, reason_of
from cyclegan.files import write_bytes
from cyclegan.images import probe_image

__all__ = [
    "CLASSES_FILE", "SIDES", "VOID", "Classes", "Color", "LabelMaps", "Labelling", "Side", "classes_file",
    "entries_of", "find_labelling", "open_map", "read_classes", "read_map", "write_classes",
]  # fmt: skip

VOID = 255
"""In a label map, a pixel without a class, which no score counts."""
CLASSES_FILE = "classes.json"
_STREETS_FILE = "streets.json"  # As `write_streets` writes it.

Color = tuple[int, int, int]
Side = Literal["a", "b"]
SIDES: tuple[Side, Side] = ("a", "b")


@dataclass(frozen=True)
class Classes:
    """The classes of a data set. Those that are scored are numbered from 0, without gaps, in the order of `names`.

    Args:
        names: of the classes, void ones included; a file of indices holds positions in this tuple.
        colors: of the classes, RGB.
        void: positions of the void classes, whose pixels no score counts.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    void: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """The number of classes that are scored."""
        return len(self.names) - len(self.void)

    @property
    def scored(self) -> tuple[str, ...]:
        """The names of the classes that are scored, by number."""
        return tuple(name for index, name in enumerate(self.names) if index not in self.void)

    @property
    def same_color(self) -> tuple[str, str] | None:
        """The names of two classes, not both void, of the same colour; None if all differ."""
        seen: dict[Color, int] = {}
        for index, color in enumerate(self.colors):
            first = seen.setdefault(color, index)
            if first != index and not {first, index} <= set(self.void):
                return self.names[first], self.names[index]
        return None

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        """The number of each class, or VOID for a void one: uint8 (len(names),)."""
        void = np.isin(np.arange(len(self.names)), self.void)
        return np.where(void, VOID, np.cumsum(~void) - 1).astype(np.uint8)

    def nearest(self, image: Image.Image | np.ndarray) -> np.ndarray:
        """Return the class whose colour is nearest to each pixel of an RGB picture, by the sum over channels.

        Returns:
            uint8 (H, W): 0 … count - 1, or VOID where the colour of a void class is nearest.
        """
        array = np.asarray(image, np.int16)
        least = np.full(array.shape[:2], np.iinfo(np.int16).max, np.int16)
        found = np.full(array.shape[:2], VOID, np.uint8)
        for color, number in zip(self.colors, self.numbers, strict=True):
            distance = np.abs(array - np.asarray(color, np.int16)).sum(-1, dtype=np.int16)
            nearer = distance < least
            least[nearer], found[nearer] = distance[nearer], number
        return found

    def picture(self, labels: np.ndarray) -> Image.Image:
        """Return a label map in the classes' colours, RGB; VOID in the first void class's, or black without one.

        Args:
            labels: uint8 (H, W): 0 … count - 1, or VOID.
        """
        palette = np.zeros((VOID + 1, 3), np.uint8)
        for index in reversed(range(len(self.names))):
            palette[self.numbers[index]] = self.colors[index]
        return Image.fromarray(palette[labels])


# ---------------------------------------------------------------------------------------- labels of a folder


@dataclass(frozen=True)
class LabelMaps:
    """The label maps of one folder of pictures.

    Attributes:
        files: of the maps, by the pictures' names without suffix; None if there is no folder with maps.
        coded: which picture of a scene is a colour-coded map, to be read where there are no files.
    """

    classes: Classes
    folder: Path
    files: Mapping[str, Path] | None = None
    coded: Literal["picture", "truth"] | None = None

    def read(self, stem: str, size: tuple[int, int]) -> np.ndarray:
        """Return a picture's label map from its file: uint8 (H, W).

        Args:
            stem: the picture's name without suffix.
            size: the picture's width and height.

        Raises:
            DataError: the file is missing, can't be read, holds other classes, or has another size.
        """
        assert self.files is not None
        place = f"{self.folder.parent.name}/{self.folder.name}"
        if (path := self.files.get(stem)) is None:
            raise DataError(
                "{folder} has no label map for {picture}: add {file}, or remove {folder} if there are no labels",
                folder=place, picture=stem, file=f"{place}/{stem}.png",
            )  # fmt: skip
        labels = read_map(path, self.classes)
        if labels.shape[::-1] != size:
            height, width = labels.shape
            raise DataError(
                "{file} is {width}×{height} pixels, but its picture is {size}: save the label map at the picture's "
                "size, resized without mixing of colours (nearest neighbour)",
                file=f"{place}/{path.name}", width=width, height=height, size="×".join(map(str, size)),
            )  # fmt: skip
        return labels


@dataclass(frozen=True)
class Labelling:
    """The classes of a data set in a folder, and the domain whose pictures are colour-coded label maps, if any."""

    root: Path
    classes: Classes
    label_domain: Side | None = None

    def maps(self, part: str, side: Side) -> LabelMaps:
        """Return the label maps of the pictures in ROOT/`part`, which are domain `side`'s.

        Raises:
            DataError: the folder of maps can't be listed.
        """
        folder = self.root / "labels" / part
        files = {path.stem: path for path in pictures_in(folder)} if folder.is_dir() else {}
        coded = {None: None, side: "picture"}.get(self.label_domain, "truth")
        return LabelMaps(self.classes, folder, files or None, coded)


def read_map(path: Path, classes: Classes) -> np.ndarray:
    """Return a label map from a file: of one value per pixel, a position in `classes.names` or 255; or of colours.

    Returns:
        uint8 (H, W): 0 … count - 1, or VOID.

    Raises:
        DataError: the file can't be read, or holds an index beyond the classes.
    """
    name = "/".join(path.parts[-3:])
    indices = open_map(path)
    if indices.ndim == 3:
        return classes.nearest(indices)
    table = np.full(VOID + 1, VOID, np.uint8)
    table[: len(classes.names)] = classes.numbers
    wrong = indices[(indices < 0) | (indices >= len(classes.names)) & (indices != VOID)]
    if wrong.size:
        raise DataError(
            "{file} has the class index {index}, but {classes} has only 0 to {last}: add the class there, or correct "
            "the label map",
            file=name, index=int(wrong.min()), classes=CLASSES_FILE, last=len(classes.names) - 1,
        )  # fmt: skip
    return table[indices]


def open_map(path: Path) -> np.ndarray:
    """Return the values in a label map's file: int64 (H, W) of indices, or uint8 (H, W, 3) of colours.

    Raises:
        DataError: the file can't be read.
    """
    name = "/".join(path.parts[-3:])
    try:
        probe_image(path, name=name)
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "P", "I") and not image.mode.startswith("I;16"):
                return np.asarray(image.convert("RGB"))
            if image.format == "JPEG":
                raise DataError("{file} is a JPEG, which changes the class numbers: save label maps as PNG", file=name)
            return np.asarray(image).astype(np.int64)
    except ImageError as error:
        raise DataError(error.message) from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's, of damaged files.
        raise DataError("{file} can't be read ({reason}): save it again", file=name, reason=reason_of(error)) from error


# ------------------------------------------------------------------------------------------------- classes.json


def classes_file(folder: Path) -> Path | None:
    """Return FOLDER/classes.json, or the streets.json that `write_streets` wrote; None without."""
    return next((folder / name for name in (CLASSES_FILE, _STREETS_FILE) if (folder / name).is_file()), None)


def read_classes(folder: Path) -> Classes | None:
    """Return the classes in FOLDER/classes.json, or in the streets.json that `write_streets` wrote; None without.

    Raises:
        DataError: the file is damaged or lacks something.
    """
    found = find_labelling(folder)
    return None if found is None else found.classes


def find_labelling(folder: Path) -> Labelling | None:
    """Return what FOLDER/classes.json, or streets.json, says; None without such a file. Raises as `read_classes`."""
    if (path := classes_file(folder)) is None:
        return None
    try:
        values = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(path, message("it can't be read ({reason})", reason=reason_of(error))) from error
    if not isinstance(values, dict):
        raise _broken(path, message("it isn't a JSON object"))
    side = values.get("label_domain")
    if side not in (None, "a", "b"):
        raise _broken(path, message("label_domain is {value!r}, not \"a\", \"b\" or null", value=side))
    entries = values.get("classes")
    if not isinstance(entries, list) or not 1 <= len(entries) < VOID:
        raise _broken(path, message("it has no list of 1 to {most} classes", most=VOID - 1))
    for index, entry in enumerate(entries):
        if problem := _problem_of(entry):
            raise _broken(path, message("class {index}: {problem}", index=index, problem=problem))
    names = tuple(entry["name"] for entry in entries)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _broken(path, message("two classes are named {name!r}", name=twice))
    colors = tuple(tuple(entry["color"]) for entry in entries)
    void = tuple(index for index, entry in enumerate(entries) if entry.get("void"))
    if len(void) == len(names):
        raise _broken(path, message("every class is void, so nothing can be scored"))
    classes = Classes(names, colors, void)
    if side and (same := classes.same_color):
        raise _broken(path, message(
            "{first} and {second} have the same color, so label maps in colours can't be read",
            first=same[0], second=same[1],
        ))  # fmt: skip
    return Labelling(folder, classes, side)


def _broken(path: Path, problem: Message) -> DataError:
    return DataError(
        "{file} can't be used: {problem}. Correct it, rename it if it is another program's, or write it again: "
        "{command}",
        file=f"{path.parent.name}/{path.name}", problem=problem, command="python -m cyclegan classes DATA --overwrite",
    )  # fmt: skip


def _problem_of(entry: Any) -> Message | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
        return message('it needs a name: {"name": "sky", "color": [70, 130, 180]}')
    color = entry.get("color")
    good = isinstance(color, list) and len(color) == 3 and all(type(value) is int for value in color)
    if not good or not all(0 <= value <= 255 for value in color):
        return message("{name} needs a color of three numbers from 0 to 255", name=entry["name"])
    if not isinstance(entry.get("void", False), bool):
        return message("{name}'s void is neither true nor false", name=entry["name"])
    return None


def write_classes(folder: Path, classes: Classes, label_domain: Side | None = None) -> Path:
    """Write FOLDER/classes.json, a line per class, and return its path::

        {
          "label_domain": "b",
          "classes": [
            {"name": "sky", "color": [70, 130, 180]},
            {"name": "unlabelled", "color": [0, 0, 0], "void": true}
          ]
        }

    Raises:
        DataError: it can't be written.
    """
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries_of(classes)]
    text = f'{{\n  "label_domain": {json.dumps(label_domain)},\n  "classes": [\n    ' + ",\n    ".join(lines)
    path = folder / CLASSES_FILE
    try:
        write_bytes(path, f"{text}\n  ]\n}}\n".encode())
    except OSError as error:
        raise DataError(
            "{folder} can't be written ({reason}): free space or choose another folder", folder=folder, reason=error
        ) from error
    return path


def entries_of(classes: Classes) -> Sequence[dict[str, Any]]:
    """Return the classes as they are written to a file."""
    return [
        {"name": name, "color": list(color)} | ({"void": True} if index in classes.void else {})
        for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True))
    ]
