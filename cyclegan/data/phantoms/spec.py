"""`PhantomsSpec`: the slices that a data set "phantoms:…" consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from cyclegan.data.drawn import DrawnSpec, other, read_common, read_words
from cyclegan.data.phantoms.slices import Slice, draw_slice
from cyclegan.errors import message
from cyclegan.rasters.raster import Origin, Raster

_ORIGINS = {"a": Origin("tiff", "uint16"), "b": Origin("tiff", "int16")}


@dataclass(frozen=True)
class PhantomsSpec(DrawnSpec):
    """Parsed form of `--dataset phantoms:count=400,test_count=40,size=128,seed=0`.

    Domain a is MR, 0 to 4095 in arbitrary units; b is CT, -1000 to 2000 in Hounsfield units. Both have one channel.

    Args:
        count, test_count, width, height, seed: as for `DrawnSpec`.

    Raises:
        DataError: a value is out of range.
    """

    width: int = 128
    height: int = 128
    kind: ClassVar[str] = "phantoms"

    @classmethod
    def parse(cls, text: str) -> PhantomsSpec:
        """Read "phantoms" or "phantoms:key=value,…".

        Raises:
            DataError: not understood; the message lists the keys. Or a value is out of range.
        """
        understood = message("phantoms understands count, test_count, size (128 or 128x256) and seed")
        values: dict[str, Any] = {}
        read_words(cls.kind, text, understood, lambda key, value: read_common(key, value, values))
        return cls(**values)

    def slice(self, split: str, domain: str, index: int) -> Slice:
        """Return a slice in both modalities.

        Args:
            split: "train" or "test".
            domain: "a" or "b": the domain whose data set the slice belongs to.
            index: 0 … `length(split)` - 1.
        """
        return draw_slice(self.series_with(split, domain, index), index, (self.width, self.height))

    def image(self, split: str, domain: str, index: int) -> Raster:
        """Return the picture of the data set: MR for "a", CT for "b"."""
        return self.show(self.slice(split, domain, index), domain)

    def truth(self, split: str, domain: str, index: int) -> Raster:
        """Return the same slice in the other domain, for evaluation only."""
        return self.show(self.slice(split, domain, index), other(domain))

    def show(self, drawn: Slice, domain: str) -> Raster:
        """Return a slice as the pictures of domain "a" or "b" show it."""
        return Raster((drawn.mr if domain == "a" else drawn.ct)[..., None], _ORIGINS[domain])
