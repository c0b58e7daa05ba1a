"""The data set's own pictures, to find those that come as translations but aren't."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from cyclegan.errors import Message, StudyError, message
from cyclegan.study.format import PlannedCheckpoint


def pixels_of(image: Image.Image) -> str:
    """Return the hash of a picture's pixels."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


class Originals:
    """The prepared inputs and real pictures of a study, by their pixels.

    Attributes:
        inputs, reals: hashes of pixels.
    """

    def __init__(self) -> None:
        self.inputs: set[str] = set()
        self.reals: set[str] = set()
        self._untranslated: dict[PlannedCheckpoint, list[str]] = {}

    def meet(self, condition: PlannedCheckpoint, fake: Image.Image, label: str) -> None:
        """Look whether a fake is an input or a real picture; one colour alone shows nothing.

        Args:
            label: name of the fake's input.

        Raises:
            StudyError: another program's picture is one of the real pictures.
        """
        extrema = fake.convert("RGB").getextrema()
        if all(low == high for low, high in extrema):
            return
        pixels = pixels_of(fake)
        if pixels in self.inputs:
            self._untranslated.setdefault(condition, []).append(label)
        elif condition.foreign and pixels in self.reals:
            raise StudyError(
                "the pictures of {name} are the real pictures, such as the one for {example}: name the folder of "
                "translations",
                name=condition.label, example=label,
            )  # fmt: skip

    def notes(self, total: int) -> Iterator[Message]:
        """Yield a sentence about each condition with untranslated inputs, of `total` pictures."""
        for condition, labels in self._untranslated.items():
            name = condition.label or message("epoch {epoch}", epoch=condition.epoch)
            yield message(
                "{name}: pictures that are their own inputs, untranslated: {count} of {total}, such as {example}; that "
                "may be meant, as a baseline; otherwise name translations",
                name=name, count=len(labels), total=total, example=labels[0],
            )  # fmt: skip
