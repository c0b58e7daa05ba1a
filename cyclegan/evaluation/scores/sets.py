"""The pictures that one direction is scored on: inputs, their truths and labels, and real pictures of the target."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from PIL import Image

from cyclegan.config import DataConfig, Direction
from cyclegan.data import Domain
from cyclegan.data.domains import Splits, Subset
from cyclegan.errors import DataError
from cyclegan.evaluation.scores.describe import Describer
from cyclegan.evaluation.scores.prior import prior_of, square_labels
from cyclegan.images import prepare_for_evaluation, prepare_labels, resize
from cyclegan.rasters.raster import Raster

Picture = Image.Image | Raster

KEPT_BYTES = 2**28
"""Decoded pictures that a `Shelf` keeps; the others are decoded again."""
SMALL = 32
"""Side of the pictures that are compared with each other."""
MOST_TRAINED = 1000
"""Training pictures of the target at most, for the baselines and ceilings."""


class Shelf(Sequence[Image.Image]):
    """Pictures that are prepared when they are first asked for, and kept as far as the memory allows."""

    def __init__(self, count: int, load: Callable[[int], Image.Image]) -> None:
        self.count, self.load = count, load
        self.kept: dict[int, Image.Image] = {}
        self.used = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Image.Image:  # type: ignore[override]  # Slices aren't needed.
        if not 0 <= index < self.count:
            raise IndexError(index)
        if index in self.kept:
            return self.kept[index]
        picture = self.load(index)
        size = 3 * picture.width * picture.height
        if self.used + size <= KEPT_BYTES:
            self.kept[index], self.used = picture, self.used + size
        return picture


class TestSet:
    """One direction's pictures, prepared as for every evaluation: without chance, at the training's size.

    Args:
        splits: the data set.
        config: the preparation of pictures.
        direction: the direction that is scored.
        describer: describes pictures by features; None where no score needs it.
        most: inputs, and real pictures of the target, at most, evenly spread, because neighbours in a folder are often
            of one film; None for all.
        shelves: the pictures of other directions of the same data set, which are the same; takes those of this one.

    Attributes:
        split: "test", or "train" for want of test pictures.
        inputs: pictures of the source.
        numbers: their numbers in its folder.
        references: real pictures of the target.
        trained: training pictures of the target, evenly spread.

    Raises:
        DataError: fewer than two pictures in a domain, or `most` is less than two.
    """

    __test__ = False  # For pytest, which collects classes by this name.

    def __init__(
        self, splits: Splits, config: DataConfig, direction: Direction, describer: Describer | None = None, *,
        most: int | None = None, shelves: dict[tuple[str, int], Shelf] | None = None,
    ) -> None:
        if most is not None and most < 2:
            raise DataError("scores need at least two pictures: raise --pictures {n}", n=most)
        self._shelves = {} if shelves is None else shelves
        self.config, self.direction, self.describer, self.classes = config, direction, describer, splits.classes
        train = {"a": splits.train_a, "b": splits.train_b}
        test = {"a": splits.test_a, "b": splits.test_b}
        self.split = "test" if all(test.values()) else "train"
        domains = test if self.split == "test" else train
        source, target = (self._domain(domains[side]) for side in direction)
        self.into_labels = splits.label_domain == direction[1]
        self.target_train = self._domain(train[direction[1]])
        for domain in (source, target, self.target_train):
            if len(domain) < 2:
                raise DataError("{part} has fewer than two pictures: scores need more", part=domain.part)
        self.numbers, of_target = (evenly(min(len(each), most or len(each)), len(each)) for each in (source, target))
        self.values = {side: config.values(side) for side in direction}
        here, there = direction
        self.source, self.inputs = Subset(source, self.numbers), self._shelf("scored", source, self.numbers, here)
        self.target, self.references = Subset(target, of_target), self._shelf("scored", target, of_target, there)
        count = min(len(self.target_train), MOST_TRAINED, most or MOST_TRAINED)
        self.chosen = evenly(count, len(self.target_train))
        self.trained = self._shelf("trained", self.target_train, self.chosen, there)
        self._truths = Shelf(len(self.inputs), self._truth)
        self._known: dict[tuple[str, int], np.ndarray | None] = {}

    def _domain(self, domain: Domain | None) -> Domain:
        assert domain is not None
        return domain

    def _shelf(self, kind: str, domain: Domain, chosen: Sequence[int], side: str) -> Shelf:
        new = Shelf(len(chosen), lambda i: self.shown(self._prepared(domain.load(chosen[i])), side))
        return self._shelves.setdefault((kind, id(domain)), new)

    def _prepared(self, picture: Picture) -> Picture:
        return prepare_for_evaluation(picture, self.config)

    def shown(self, picture: Picture, side: str) -> Image.Image:
        """Return a domain's picture as scores see it: 8-bit RGB, of other values the domain's whole range."""
        return self.values[side].shown(picture) if isinstance(picture, Raster) else picture

    def given(self, index: int) -> Picture:
        """Return an input as networks take it."""
        if self.values[self.direction[0]].plain:
            return self.inputs[index]
        return self._prepared(self.source.load(index))

    def _truth(self, index: int) -> Image.Image:
        return self.shown(self.true_values(index), self.direction[1])

    def true_values(self, index: int) -> Picture:
        """Return an input's true translation in the target's own values, which are known where `has_truth`."""
        truth = self.source.truth(index)
        if truth is None:
            raise DataError("{name} has no true picture", name=self.source.where(index))
        return resize(self._prepared(truth), self.inputs[index].size)

    @cached_property
    def has_truth(self) -> bool:
        """True if every input's true translation is known."""
        return all(self.source.truth(index) is not None for index in (0, len(self.inputs) - 1))

    def truth(self, index: int) -> Image.Image | None:
        """Return an input's true translation; None if the data set doesn't know it."""
        return self._truths[index] if self.has_truth else None

    @cached_property
    def has_labels(self) -> bool:
        """True if the inputs' labels are known."""
        return self.classes is not None and self.source.labels(0) is not None

    def labels(self, index: int) -> np.ndarray | None:
        """Return an input's labels, uint8 (H, W) at the prepared size; None if they aren't known."""
        return self._labels(self.source, index) if self.has_labels else None

    def reference_labels(self, index: int) -> np.ndarray | None:
        """Return the labels of a real picture of the target; None if they aren't known."""
        return self._labels(self.target, index) if self.classes is not None else None

    @cached_property
    def prior(self) -> np.ndarray | None:
        """The commonest class of each place in the labels of `trained`, uint8 (S, S); None if they aren't known."""
        if self.classes is None or self.target_train.labels(0) is None:
            return None
        maps = (square_labels(self.target_train, index, self.config) for index in self.chosen)
        return prior_of(maps, self.classes.count).map

    def _labels(self, domain: Domain, index: int) -> np.ndarray | None:
        key = (domain.part, index)
        if key not in self._known:
            labels = domain.labels(index)
            self._known[key] = None if labels is None else prepare_labels(labels, self.config)
        return self._known[key]

    @cached_property
    def colour(self) -> tuple[int, int, int]:
        """The median colour of the target's training pictures: the best single colour by L1."""
        some = np.concatenate([np.asarray(resize(picture, (SMALL, SMALL))).reshape(-1, 3) for picture in self.trained])
        return tuple(int(value) for value in np.median(some, axis=0).round())  # type: ignore[return-value]

    @cached_property
    def usual(self) -> Image.Image:
        """The median colour of each place in the target's training pictures, at the first one's size."""
        size = self.trained[0].size
        stack = np.stack([np.asarray(resize(self.trained[i], size)) for i in range(min(len(self.trained), 400))])
        return Image.fromarray(np.median(stack, axis=0).round().astype(np.uint8))

    @cached_property
    def fingerprint(self) -> str:
        """Equal for test sets with the same pictures, prepared alike."""
        digest = hashlib.sha256()
        for shelf in (self.inputs, self.references):
            for picture in shelf:
                digest.update(str(picture.size).encode() + picture.tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def labels_fingerprint(self) -> str | None:
        """Equal for test sets with the same label maps of the same classes; None without labels."""
        if self.classes is None or not self.has_labels:
            return None
        digest = hashlib.sha256(repr(self.classes.scored).encode())
        for of, count in ((self.labels, len(self.inputs)), (self.reference_labels, len(self.references))):
            for index in range(count):
                if (labels := of(index)) is not None:
                    digest.update(str(labels.shape).encode() + labels.tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def truths_fingerprint(self) -> str | None:
        """Equal for test sets with the same true translations; None where those aren't known."""
        if not self.has_truth:
            return None
        digest = hashlib.sha256()
        for picture in self._truths:
            digest.update(picture.tobytes())
        return digest.hexdigest()[:16]

    def another(self, index: int) -> Image.Image:
        """Return a training picture of the target that isn't an input's own translation."""
        place = index % len(self.trained)
        if self.split == "train" and self.chosen[place] == self.numbers[index]:  # Of pairs, it is the true picture.
            place = (place + 1) % len(self.trained)
        return self.trained[place]

    @cached_property
    def reference_features(self) -> np.ndarray:
        """Features (n, d) of the references."""
        assert self.describer is not None
        return self.describer.pooled(list(self.references))

    @cached_property
    def small_inputs(self) -> np.ndarray:
        """`small` of the inputs, (n, 3072)."""
        return np.stack([small(picture) for picture in self.inputs])

    @cached_property
    def small_references(self) -> np.ndarray:
        """`small` of the references, (m, 3072)."""
        return np.stack([small(picture) for picture in self.references])


def evenly(count: int, total: int) -> list[int]:
    """Return `count` of the numbers from 0 to `total` - 1, evenly spread."""
    return np.linspace(0, total - 1, count).round().astype(int).tolist()


def small(picture: Image.Image) -> np.ndarray:
    """Return a picture at SMALL², flat, in grey levels: float32 (3072,)."""
    return np.asarray(picture.resize((SMALL, SMALL), Image.Resampling.BOX), np.float32).reshape(-1)
