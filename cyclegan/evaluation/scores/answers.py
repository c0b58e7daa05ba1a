"""Answers to a test set: translations by a checkpoint, and those that need no network, as baselines and ceilings."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from cyclegan.evaluation.scores.describe import Description
from cyclegan.evaluation.scores.sets import TestSet, small
from cyclegan.images import resize
from cyclegan.rasters.raster import Raster

Back = Callable[[Sequence[Image.Image]], list[Image.Image]]


class Batch:
    """Some pictures of an answer, with what scores compare them with.

    Args:
        test: the test set.
        indices: numbers of the inputs, or of the real pictures that the answer consists of.
        fakes: the answer's pictures.
        back: translates pictures back; None where there is no way back.
        predicted: label maps that replace a segmenter's or the nearest colours'.
        answers_inputs: False for real pictures of the target, which answer no input.
        made: the networks' own results where they aren't 8-bit RGB, of which `fakes` are the pictures for a screen.
    """

    def __init__(
        self, test: TestSet, indices: Sequence[int], fakes: list[Image.Image], *, back: Back | None = None,
        predicted: list[np.ndarray] | None = None, answers_inputs: bool = True, made: Sequence[Raster] = (),
    ) -> None:
        self.made = made
        self.test, self.indices, self.fakes, self.predicted = test, list(indices), fakes, predicted
        self._back, self.answers_inputs = back, answers_inputs
        self.with_maps = False
        """True if `described` holds maps; a score that compares by them sets it first."""

    @property
    def inputs(self) -> list[Image.Image]:
        """The inputs."""
        return [self.test.inputs[index] for index in self.indices]

    @property
    def truths(self) -> list[Image.Image]:
        """The true translations."""
        return [truth for index in self.indices if (truth := self.test.truth(index)) is not None]

    @property
    def labels(self) -> list[np.ndarray]:
        """The labels that the answer should have: the inputs', or the real pictures' own."""
        of = self.test.labels if self.answers_inputs else self.test.reference_labels
        return [labels for index in self.indices if (labels := of(index)) is not None]

    @cached_property
    def described(self) -> Description:
        """The fakes' features."""
        assert self.test.describer is not None
        return self.test.describer.describe(self.fakes, maps=self.with_maps and self.test.describer.has_maps)

    @cached_property
    def small(self) -> np.ndarray:
        """The fakes at 32×32, flat: (n, 3072)."""
        return np.stack([small(fake) for fake in self.fakes])

    def back(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        """Return the pictures translated back."""
        assert self._back is not None
        return self._back(pictures)

    def noisy(self) -> list[Image.Image]:
        """Return the fakes changed by −1, 0 or 1 grey level in each channel, by chance but always alike."""
        found = []
        for index, fake in zip(self.indices, self.fakes, strict=True):
            array = np.asarray(fake).astype(np.int16)
            array += np.random.default_rng(index).integers(-1, 2, array.shape, np.int16)
            found.append(Image.fromarray(array.clip(0, 255).astype(np.uint8)))
        return found

    def as_jpeg(self, quality: int = 90) -> list[Image.Image]:
        """Return the fakes after JPEG."""
        found = []
        for fake in self.fakes:
            stream = io.BytesIO()
            fake.save(stream, "JPEG", quality=quality)
            found.append(Image.open(stream).convert("RGB"))
        return found


@dataclass(frozen=True)
class Answer:
    """A way to answer a test set.

    Attributes:
        name: its key in the file of scores; `tables.LABELS` has its words.
        group: the file's section.
        scores: those that may judge it; None for all.
        count: its number of pictures.
        make: returns a batch of it.
        has_way_back: True if its batches can be translated back.
        answers_inputs: see `Batch`.
    """

    name: str
    group: str
    count: int
    make: Callable[[Sequence[int]], Batch]
    scores: frozenset[str] | None = None
    has_way_back: bool = False
    answers_inputs: bool = True


OF_PICTURES = frozenset({"pairs", "segmentation", "labels", "content"})
"""Scores that judge each picture against its own input."""
OF_SETS = frozenset({"kid", "fid", "collapse"})
"""Scores that judge a set of pictures as a whole."""


def references(test: TestSet) -> list[Answer]:
    """Return the baselines and ceilings of a test set."""
    count = len(test.inputs)

    def answer(
        name: str, make: Callable[[int], Image.Image], *, scores: frozenset[str] | None = None,
        blind: bool = False,
    ) -> Answer:
        def batch(indices: Sequence[int]) -> Batch:
            fakes = [make(index) for index in indices]
            predicted = None
            if blind and test.prior is not None:
                prior = Image.fromarray(test.prior)
                predicted = [np.asarray(resize(prior, fake.size, Image.Resampling.NEAREST)) for fake in fakes]
            return Batch(test, indices, fakes, predicted=predicted)

        return Answer(name, "baselines", count, batch, scores)

    def sized(index: int, picture: Image.Image) -> Image.Image:
        return resize(picture, test.inputs[index].size)

    found = [
        answer("untranslated", lambda i: test.inputs[i]),
        answer("one_colour", lambda i: Image.new("RGB", test.inputs[i].size, test.colour)),
        answer("blind", lambda i: sized(i, test.usual), blind=True),
        answer("another", lambda i: sized(i, test.another(i)), scores=OF_PICTURES),
    ]  # fmt: skip
    if test.split == "test":  # Else they are the references themselves, and nothing could be as near to them.
        found.append(Answer(
            "real", "ceilings", len(test.trained),
            lambda indices: Batch(test, indices, [test.trained[i] for i in indices], answers_inputs=False),
            OF_SETS, answers_inputs=False,
        ))  # fmt: skip
    if test.has_labels and test.reference_labels(0) is not None:
        found.append(Answer(
            "real", "ceilings", len(test.references),
            lambda indices: Batch(test, indices, [test.references[i] for i in indices], answers_inputs=False),
            frozenset({"segmentation"}), answers_inputs=False,
        ))  # fmt: skip
    if test.has_truth:
        found.append(Answer(
            "truth", "ceilings", count,
            lambda indices: Batch(test, indices, [test.truth(i) for i in indices]),  # type: ignore[misc]
            OF_PICTURES - {"pairs"} | OF_SETS,
        ))  # fmt: skip
    return found
