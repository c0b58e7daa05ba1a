"""Which picture is the next frame of which: recordings as `python -m cyclegan frames` wrote them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cyclegan.data.contents import counted
from cyclegan.data.domains import Domain
from cyclegan.errors import DataError, message

__all__ = ["followers", "next_frames"]

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


def followers(
    domains: Sequence[Domain], within: Mapping[str, int], sizes: Sequence[np.ndarray] | None = None, *,
    progress: bool = False,
) -> list[np.ndarray | None]:
    """Return `next_frames` of the domains a and b; None for one that isn't asked for, or has none.

    Args:
        within: the most milliseconds, by domain.
        sizes: per domain (n, 2): only frames of one size follow each other, because they get the same crop.
        progress: print how many pictures have a next frame.

    Raises:
        DataError: domains are asked for, and none has any.
    """
    found: list[np.ndarray | None] = []
    for place, (side, domain) in enumerate(zip("ab", domains, strict=True)):
        own = np.arange(len(domain))
        following = next_frames([domain.label(index) for index in own], within[side]) if side in within else own
        if sizes is not None:
            following = np.where((sizes[place][following] == sizes[place]).all(1), following, own)
        count = int((following != own).sum())
        found.append(following if count else None)
        if progress and side in within:
            tqdm.write(str(message(
                "{part}: {count} of {pictures} have a next frame, for --lambda_temporal",
                part=domain.part, count=count, pictures=counted(len(domain)),
            )), file=sys.stderr)  # fmt: skip
    if within and not any(each is not None for each in found):
        raise DataError(
            "--lambda_temporal needs frames of recordings, and no training picture has a next one within "
            "--temporal_gap_ms {within_ms}: write them with {command}, or raise --temporal_gap_ms if they are "
            "further apart", within_ms=max(within.values()), command="python -m cyclegan frames",
        )
    return found
