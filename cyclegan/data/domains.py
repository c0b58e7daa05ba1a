"""What every data set becomes: numbered pictures per domain, and the splits that hold them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from PIL import Image

from cyclegan.errors import DataError
from cyclegan.images import open_image, probe_image

LAYOUTS = """Layouts that are understood:
  DATA/trainA/*.jpg  DATA/trainB/*.jpg  (and testA/, testB/)    one folder per domain
  DATA/train/*.jpg  (and val/, test/)                           pairs side by side: left half = A, right = B
  USER/NAME or USER/NAME:CONFIG                                 a Hub data set: two image columns, or two
                                                                configs, or an image and a two-class label
  streets or streets:count=400,size=256                         built-in synthetic day/night scenes"""


class Domain(Protocol):
    """Numbered pictures of one domain. Nothing is read before `probe` or `load`.

    `fallible`: pictures may turn out to be unusable, so they are checked before training.
    """

    name: str
    fallible: bool

    def __len__(self) -> int: ...

    def label(self, index: int) -> str:
        """The file's name, or an id: short, for people."""
        ...

    def where(self, index: int) -> str:
        """What error messages call the picture: enough to find it in the data set."""
        ...

    def probe(self, index: int) -> tuple[int, int]:
        """Width and height, from the header. Raises ImageError, naming the file."""
        ...

    def load(self, index: int) -> Image.Image:
        """The picture: RGB, upright, full size. Raises ImageError, naming the file."""
        ...

    def truth(self, index: int) -> Image.Image | None:
        """The same scene in the other domain (RGB), None where nobody knows. For evaluation only."""
        ...


@dataclass(frozen=True)
class Splits:
    """A data set as it was found.

    `test_a` and `test_b` are None where it has no test split. `aligned`: index i of both training domains
    (and of both test domains) is the same scene, so a picture that is left out takes its partner along.
    """

    train_a: Domain
    train_b: Domain
    test_a: Domain | None
    test_b: Domain | None
    aligned: bool = False


@dataclass(frozen=True)
class Files:
    """One file, one picture. `truths`, where given, are the files of the same scenes in the other domain."""

    name: str
    paths: Sequence[Path]
    truths: Sequence[Path | None] | None = None
    fallible: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.paths)

    def label(self, index: int) -> str:
        return self.paths[index].name

    def where(self, index: int) -> str:
        return short_name(self.paths[index])

    def probe(self, index: int) -> tuple[int, int]:
        return probe_image(self.paths[index], name=self.where(index))

    def load(self, index: int) -> Image.Image:
        return open_image(self.paths[index], name=self.where(index))

    def truth(self, index: int) -> Image.Image | None:
        path = self.truths[index] if self.truths is not None else None
        return None if path is None else open_image(path, name=short_name(path))


@dataclass(frozen=True)
class Subset:
    """Some pictures of a domain, renumbered."""

    whole: Domain
    indices: Sequence[int]

    @property
    def name(self) -> str:
        """The whole's."""
        return self.whole.name

    @property
    def fallible(self) -> bool:
        """The whole's."""
        return self.whole.fallible

    def __len__(self) -> int:
        return len(self.indices)

    def label(self, index: int) -> str:
        return self.whole.label(self.indices[index])

    def where(self, index: int) -> str:
        return self.whole.where(self.indices[index])

    def probe(self, index: int) -> tuple[int, int]:
        return self.whole.probe(self.indices[index])

    def load(self, index: int) -> Image.Image:
        return self.whole.load(self.indices[index])

    def truth(self, index: int) -> Image.Image | None:
        return self.whole.truth(self.indices[index])


@dataclass(frozen=True)
class Drawn:
    """One split and domain of the built-in synthetic scenes; `side` is "a" (day) or "b" (night).

    With `partner`, the pictures are those of the other domain's scenes: that makes pairs of two domains.
    """

    name: str
    spec: object
    split: str
    side: str
    count: int
    partner: bool = False
    fallible: ClassVar[bool] = False

    def __len__(self) -> int:
        return self.count

    def label(self, index: int) -> str:
        return f"{self.split}-{self.side}-{index:04d}"

    where = label

    def probe(self, index: int) -> tuple[int, int]:
        return self.spec.width, self.spec.height

    def load(self, index: int) -> Image.Image:
        return self._picture(index, self.partner)

    def truth(self, index: int) -> Image.Image:
        return self._picture(index, not self.partner)

    def _picture(self, index: int, other: bool) -> Image.Image:
        return (self.spec.truth if other else self.spec.image)(self.split, self.side, index)


def open_streets(dataset: str, names: tuple[str, str], *, paired: bool) -> Splits:
    """The built-in scenes, drawn on demand. Unpaired, the two domains show different scenes.

    Raises:
        DataError: the text after "streets:" is not understood.
    """
    from cyclegan.data.streets import StreetsSpec

    spec = StreetsSpec.parse(dataset)

    def domain(split: str, side: str, count: int) -> Drawn | None:
        name = names[side == "b"]
        if paired and side == "b":
            return Drawn(name, spec, split, "a", count, partner=True) if count else None
        return Drawn(name, spec, split, side, count) if count else None

    domains = [domain(s, d, spec.length(s)) for s in ("train", "test") for d in "ab"]
    return Splits(*domains, aligned=paired)


def no_folder(text: str) -> str:
    """How a message about a folder that is not here begins: with a folder of nearly that name, if there is one."""
    near = _nearest(Path(text).expanduser())
    return f"there is no folder {text!r}" + (f" (did you mean {str(near)!r}?)" if near else "")


def _nearest(path: Path) -> Path | None:
    """The folder whose path is this one's or, name by name, much like it."""
    here = Path(path.anchor)
    for name in path.parts[bool(path.anchor) :]:
        try:
            if not (here / name).is_dir():
                with os.scandir(here) as entries:
                    known = {entry.name.casefold(): entry.name for entry in entries if entry.is_dir()}
                name = known[difflib.get_close_matches(name.casefold(), known, n=1)[0]]
        except (OSError, LookupError):
            return None
        here /= name
    return here if path.parts else None


def short_name(path: str | os.PathLike) -> str:
    """What messages call a file: its folder and name, enough to find it, without the machine's folders."""
    return "/".join(Path(path).parts[-2:])


__all__ = [
    "LAYOUTS", "DataError", "Domain", "Drawn", "Files", "Splits", "Subset", "no_folder", "open_streets", "short_name",
]
