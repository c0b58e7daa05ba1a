"""The common form of every data set: numbered pictures per domain, in splits."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from PIL import Image

from cyclegan.data.contents import counted
from cyclegan.data.labels import SIDES, Classes, Labelling, LabelMaps, Side
from cyclegan.errors import ImageError, Message, message
from cyclegan.files import fingerprint, nearest_folder
from cyclegan.images import resize
from cyclegan.rasters.opening import open_picture, probe_picture
from cyclegan.values import RGB, Values

if TYPE_CHECKING:
    from cyclegan.data.phantoms import PhantomsSpec
    from cyclegan.data.streets import StreetsSpec
    from cyclegan.rasters.raster import Raster

__all__ = [
    "LAYOUTS", "UNUSED_PAIRS", "Domain", "DrawnDomain", "Files", "Splits", "StreetsDomain", "Subset",
    "drawn_names", "found_line", "is_drawn", "is_phantoms", "is_streets", "named", "no_folder", "open_phantoms",
    "open_streets", "readable", "short_name", "with_labels",
]  # fmt: skip

LAYOUTS = """Layouts that are understood:
  DATA/trainA/*.jpg  DATA/trainB/*.jpg  (and testA/, testB/)    one folder per domain
  DATA/train/horse/*.jpg  DATA/train/zebra/*.jpg  (and test/)   any two folders of pictures, also without train/
  DATA/train/*.jpg  (and val/, test/)                           pairs side by side: left half = A, right = B
  FILE.parquet, a folder of datasets.save_to_disk               these, as tables; and pictures with metadata.csv
                                                                (archives such as .zip: unpack them first)
  USER/NAME or USER/NAME:CONFIG                                 a Hub data set: two image columns, or two
                                                                configs, or an image and a two-class label
  streets or streets:count=400,size=256                         built-in synthetic day/night scenes
  phantoms or phantoms:count=400,size=128                       built-in synthetic MR/CT slices of 16 bits"""


UNUSED_PAIRS = message(
    "the pairs aren't used: the two sides are trained on as separate sets; --method pix2pix learns from pairs"
)
"""For a data set of pairs under a method that doesn't train on pairs."""


class Domain(Protocol):
    """Numbered pictures of one domain. Nothing is read before `probe` or `load`.

    Attributes:
        name: the domain's name.
        part: the folder, or the split and column: which pictures these are, in messages.
        fallible: whether pictures may prove unusable, so that they are checked before training.
    """

    name: str
    part: str
    fallible: bool

    def __len__(self) -> int: ...

    def label(self, index: int) -> str:
        """Return the file's name or an id: short, for people."""
        ...

    def where(self, index: int) -> str:
        """Return the picture's name in error messages: enough to find it in the data set."""
        ...

    def probe(self, index: int) -> tuple[int, int]:
        """Return width and height, from the header. Raises ImageError, which names the file."""
        ...

    def load(self, index: int) -> Image.Image | Raster:
        """Return the picture, full size: RGB and upright, or a raster in a domain of other values.

        Raises:
            ImageError: it can't be read; the file is named.
        """
        ...

    def truth(self, index: int) -> Image.Image | Raster | None:
        """Return the same scene in the other domain, or None if it is unknown. For evaluation only."""
        ...

    def labels(self, index: int) -> np.ndarray | None:
        """Return the class of each pixel, uint8 (H, W) of the picture's size, or None if it is unknown.

        Values are numbers of `Splits.classes`, 0 … count - 1, or VOID where a pixel has no class. For evaluation and
        for training a segmenter.

        Raises:
            DataError: the label map is missing or can't be used.
            ImageError: labels are the colours of a picture, which can't be read.
        """
        ...

    def fingerprint(self, index: int) -> str:
        """Return a short text that equal pictures share, "" if there is none. Raises OSError."""
        ...


@dataclass(frozen=True)
class Splits:
    """A data set as it was found.

    Attributes:
        test_a, test_b: None if it has no test split.
        aligned: index i of both training domains, and of both test domains, is the same scene. Leaving out a picture
            then leaves out its partner, too.
        classes: of the pixels' labels, None if the data set has none.
        label_domain: the domain whose pictures are label maps in the classes' colours, None if neither's are.
        notes: sentences about what was found and what isn't used, to be printed before training.
        warnings: likewise, about what is probably a mistake.
    """

    train_a: Domain
    train_b: Domain
    test_a: Domain | None
    test_b: Domain | None
    aligned: bool = False
    notes: Sequence[Message] = ()
    warnings: Sequence[Message] = ()
    classes: Classes | None = None
    label_domain: Side | None = None

    def epoch_length(self, limit: int | None = None) -> int:
        """Return the samples in an epoch: the longer domain's pictures, of which at most `limit` are used."""
        longer = max(len(self.train_a), len(self.train_b))
        return longer if limit is None else min(longer, limit)


@dataclass(frozen=True)
class Files:
    """One file per picture.

    Attributes:
        truths: if known, the files of the same scenes in the other domain.
        maps: if known, the pictures' label maps.
        values, truth_values: what this domain's pictures are, and the other's.
        slices: of pictures that are slices of volumes, their numbers; empty where each file is a picture.
    """

    name: str
    paths: Sequence[Path]
    truths: Sequence[Path | None] | None = None
    part: str = ""
    maps: LabelMaps | None = None
    values: Values = RGB
    truth_values: Values = RGB
    slices: Sequence[int] = ()
    fallible: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.paths)

    def label(self, index: int) -> str:
        return self._sliced(self.paths[index].name, index)

    def where(self, index: int) -> str:
        return self._sliced(short_name(self.paths[index]), index)

    def _sliced(self, name: str, index: int) -> str:
        return f"{name}, slice {self.slices[index] + 1}" if self.slices else name

    def probe(self, index: int) -> tuple[int, int]:
        return probe_picture(self.paths[index], self.values, name=self.where(index))

    def load(self, index: int) -> Image.Image | Raster:
        return open_picture(self.paths[index], self.values, name=self.where(index), index=self._slice(index))

    def truth(self, index: int) -> Image.Image | Raster | None:
        path = self.truths[index] if self.truths is not None else None
        if path is None:
            return None
        return open_picture(path, self.truth_values, name=short_name(path), index=self._slice(index))

    def _slice(self, index: int) -> int:
        return self.slices[index] if self.slices else 0

    def labels(self, index: int) -> np.ndarray | None:
        if self.maps is None:
            return None
        if self.maps.files is not None:
            return self.maps.read(self.paths[index].stem, self.probe(index))
        picture = {"picture": self.load, "truth": self.truth, None: lambda _: None}[self.maps.coded](index)
        if picture is None:
            return None
        labels = Image.fromarray(self.maps.classes.nearest(picture))
        return np.asarray(resize(labels, self.probe(index), Image.Resampling.NEAREST))

    def fingerprint(self, index: int) -> str:
        found = fingerprint(self.paths[index])
        return f"{found}.{self.slices[index]}" if self.slices else found


@dataclass(frozen=True)
class Subset:
    """Some pictures of a domain, renumbered."""

    whole: Domain
    indices: Sequence[int]

    @property
    def name(self) -> str:
        """The whole domain's."""
        return self.whole.name

    @property
    def part(self) -> str:
        """The whole domain's."""
        return self.whole.part

    @property
    def fallible(self) -> bool:
        """The whole domain's."""
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

    def labels(self, index: int) -> np.ndarray | None:
        return self.whole.labels(self.indices[index])

    def fingerprint(self, index: int) -> str:
        return self.whole.fingerprint(self.indices[index])


def with_labels(splits: Splits, labelling: Labelling | None) -> Splits:
    """Return a folder's data set with its classes, and with the label maps of the pictures in its folders.

    Raises:
        DataError: a folder of label maps can't be listed.
    """
    if labelling is None:
        return splits
    found = {
        f"{split}_{side}": dataclasses.replace(domain, maps=labelling.maps(domain.part, side))
        for split in ("train", "test") for side in SIDES
        if isinstance(domain := getattr(splits, f"{split}_{side}"), Files)
    }  # fmt: skip
    return dataclasses.replace(splits, **found, classes=labelling.classes, label_domain=labelling.label_domain)


def readable(domain: Domain) -> tuple[Domain, list[str]]:
    """Return a domain without the pictures that can't be read, and the names of those. Decodes all of them."""
    def can_be_read(index: int) -> bool:
        try:
            domain.load(index)
            domain.truth(index)
        except ImageError:
            return False
        return True

    if not domain.fallible:
        return domain, []
    with ThreadPoolExecutor() as pool:
        good = list(pool.map(can_be_read, range(len(domain))))
    if all(good):
        return domain, []
    kept = [index for index, is_good in enumerate(good) if is_good]
    return Subset(domain, kept), [domain.label(index) for index, is_good in enumerate(good) if not is_good]


@dataclass(frozen=True)
class DrawnDomain:
    """One split and domain of a built-in synthetic data set.

    Attributes:
        side: the domain whose scenes these are, "a" or "b".
        partner: show these scenes in the other domain instead, which makes pairs out of the two domains.
    """

    name: str
    spec: StreetsSpec | PhantomsSpec
    split: str
    side: str
    count: int
    partner: bool = False
    fallible: ClassVar[bool] = False

    @property
    def part(self) -> str:
        """The split and the side."""
        return f"{self.spec.kind}, {self.split}{'B' if self.partner else self.side.upper()}"

    @property
    def values(self) -> Values:
        """8-bit RGB, or one channel of a range that is found in the pictures."""
        return RGB if self.spec.kind == "streets" else Values(1)

    def __len__(self) -> int:
        return self.count

    def label(self, index: int) -> str:
        return f"{self.split}-{self.side}-{index:04d}"

    where = label

    def probe(self, index: int) -> tuple[int, int]:
        return self.spec.width, self.spec.height

    def load(self, index: int) -> Image.Image | Raster:
        return self._picture(index, self.partner)

    def truth(self, index: int) -> Image.Image | Raster:
        return self._picture(index, not self.partner)

    def labels(self, index: int) -> np.ndarray | None:
        return None

    def fingerprint(self, index: int) -> str:
        return ""

    def _picture(self, index: int, other: bool) -> Image.Image | Raster:
        return (self.spec.truth if other else self.spec.image)(self.split, self.side, index)


@dataclass(frozen=True)
class StreetsDomain(DrawnDomain):
    """One split and domain of the built-in day and night scenes, which have labels."""

    spec: StreetsSpec

    def labels(self, index: int) -> np.ndarray:
        """Return the class of each pixel, uint8 (H, W)."""
        return self.spec.raster(self.split, self.side, index).labels


def is_streets(dataset: str) -> bool:
    """Return True for a `--dataset` that names the built-in scenes; a folder of that name would win."""
    return dataset == "streets" or dataset.startswith("streets:")


def is_phantoms(dataset: str) -> bool:
    """Return True for a `--dataset` that names the built-in slices; a folder of that name would win."""
    return dataset == "phantoms" or dataset.startswith("phantoms:")


def is_drawn(dataset: str) -> bool:
    """Return True for a `--dataset` that names pictures drawn by code; a folder of that name would win."""
    return is_streets(dataset) or is_phantoms(dataset)


def drawn_names(dataset: str) -> tuple[str, str]:
    """Return what the domains of a `--dataset` drawn by code are called. Raises DataError: it isn't understood."""
    if is_phantoms(dataset):
        return "MR", "CT"
    from cyclegan.data.streets.spec import StreetsSpec

    spec = StreetsSpec.parse(dataset)
    return spec.a, spec.b


def open_streets(dataset: str, names: tuple[str, str], *, paired: bool) -> Splits:
    """Return the built-in scenes, drawn on demand. Unpaired, the two domains show different scenes.

    Raises:
        DataError: the text after "streets:" is not understood.
    """
    from cyclegan.data.streets import PALETTE, StreetsSpec

    spec = StreetsSpec.parse(dataset)
    splits = _drawn_splits(StreetsDomain, spec, names, paired)
    return dataclasses.replace(splits, classes=PALETTE, label_domain=spec.label_domain)


def open_phantoms(dataset: str, names: tuple[str, str], *, paired: bool) -> Splits:
    """Return the built-in slices, drawn on demand. Unpaired, the two domains show different slices.

    Raises:
        DataError: the text after "phantoms:" is not understood.
    """
    from cyclegan.data.phantoms import PhantomsSpec

    return _drawn_splits(DrawnDomain, PhantomsSpec.parse(dataset), names, paired)


def _drawn_splits(
    kind: type[DrawnDomain], spec: StreetsSpec | PhantomsSpec, names: tuple[str, str], paired: bool
) -> Splits:
    def domain(split: str, side: str, count: int) -> DrawnDomain | None:
        name = names[side == "b"]
        if paired and side == "b":
            return kind(name, spec, split, "a", count, partner=True) if count else None
        return kind(name, spec, split, side, count) if count else None

    domains = [domain(s, d, spec.length(s)) for s in ("train", "test") for d in "ab"]
    notes = [found_line(domain.part, len(domain)) for domain in domains if domain]
    return Splits(*domains, aligned=paired, notes=notes)


def found_line(part: str, count: int, unused: Message | str = "") -> Message:
    """Return "trainA: 2 pictures", and what else is there but not used."""
    if unused:
        return message("{part}: {pictures}; not used: {unused}", part=part, pictures=counted(count), unused=unused)
    return message("{part}: {pictures}", part=part, pictures=counted(count))


def no_folder(text: str) -> Message:
    """Return "there is no folder …", with a folder of nearly that name if there is one."""
    near = nearest_folder(Path(text).expanduser())
    if near is None:
        return message("there is no folder {name!r}", name=text)
    return message("there is no folder {name!r} (did you mean {near!r}?)", name=text, near=str(near))


def short_name(path: str | os.PathLike) -> str:
    """Return a file's name in messages: its folder and name, enough to find it, without the machine's folders."""
    return "/".join(Path(path).parts[-2:])


@contextlib.contextmanager
def named(domain: Domain, index: int) -> Iterator[None]:
    """Put the picture's name before an ImageError that doesn't know it."""
    try:
        yield
    except ImageError as error:
        raise ImageError("{name}: {reason}", name=domain.where(index), reason=error) from error
