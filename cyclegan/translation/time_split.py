"""A recording split by time into training and test pictures, and what was taken from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclegan.errors import ImageError

MOST_STRETCHES = 3

Stretch = tuple[float, float]
"""Seconds of a recording: from, until."""


@dataclass(frozen=True)
class Split:
    """The way in which a recording is split by time.

    Neighbouring frames are almost equal, so a test set drawn frame by frame would hold what was trained on.
    """

    share: float = 0.1
    """Share of the time that becomes test pictures, 0 to 1; 0 makes none."""
    gap: float = 5.0
    """Seconds before and after each test stretch whose frames are in neither part."""

    def stretches(self, begin: float, end: float, video: str) -> list[Stretch]:
        """Return the test stretches: three spread evenly over the recording, or fewer if it is short.

        Of the time that isn't tested, the gaps of several take at most a quarter, and those of a single one at most
        half.

        Args:
            begin, end: seconds of the recording.
            video: its name, for the error.

        Raises:
            ImageError: even one stretch takes too much.
        """
        if not self.share:
            return []
        length = max(0.0, end - begin)
        for count in range(MOST_STRETCHES, 0, -1):
            most = length * (1 - self.share) / (2 if count == 1 else 4)
            if 2 * self.gap * count <= most + 1e-9:  # A gap that the error below names, fits.
                half = self.share * length / count / 2
                middles = [begin + (number + 0.5) / count * length for number in range(count)]
                return [(middle - half, middle + half) for middle in middles]
        facts = {"video": video, "length": length, "gap": self.gap, "least": 4 * self.gap / (1 - self.share) + 0.5}
        if not (fits := math.floor(length * (1 - self.share) / 4 * 10 + 1e-9) / 10):
            raise ImageError(
                "{video} has {length:.1f} s, too few for a test part with gaps of {gap:g} s around it: use a recording "
                "of at least {least:.0f} s", **facts,
            )  # fmt: skip
        raise ImageError(
            "{video} has {length:.1f} s, too few for a test part with gaps of {gap:g} s around it: use a recording of "
            "at least {least:.0f} s, or --gap {fits:g} or less", fits=fits, **facts,
        )  # fmt: skip

    def part_of(self, time: float, stretches: Iterable[Stretch]) -> str | None:
        """Return "train" or "test" for a frame's time, or None in a gap."""
        for begin, end in stretches:
            if begin <= time < end:
                return "test"
            if begin - self.gap <= time < end + self.gap:
                return None
        return "train"


@dataclass(frozen=True)
class Recording:
    """Facts about the pictures that were taken from a recording."""

    name: str
    """The domain's."""
    video: str
    """The file's name."""
    train: int
    test: int
    in_gaps: int
    """Frames next to a test stretch, which are in neither part."""
    alike: int
    """Near-duplicates that were left out."""
    size: tuple[int, int]
    """Width and height of the pictures."""
    stretches: Sequence[Stretch]
    """The parts of the recording that the test pictures are from."""
    sheet: Path
    """The contact sheet."""
