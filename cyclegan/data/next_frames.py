"""Which picture is the next frame of which: recordings as `python -m cyclegan frames` wrote them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

__all__ = ["next_frames"]

_FRAME = re.compile(r"(?P<recording>.+)_(?P<ms>[0-9]{9,})")


def next_frames(names: Sequence[str], within_ms: int) -> np.ndarray:
    """Return int64 (n,): for each picture the number of the next frame of its recording, its own where there is none.

    Args:
        names: of the pictures' files, RECORDING_000000240.jpg: the frame's time in milliseconds, nine digits or more.
        within_ms: the most milliseconds between the two.
    """
    found = np.arange(len(names))
    frames = [(match["recording"], int(match["ms"]), number) for number, name in enumerate(names)
              if (match := _FRAME.fullmatch(Path(name).stem))]  # fmt: skip
    frames.sort()
    for (recording, ms, number), (other, later, following) in pairwise(frames):
        if recording == other and 0 < later - ms <= within_ms:
            found[number] = following
    return found
