"""The layout of an epoch's sample grids, to draw them and to cut them up again; without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cyclegan.images import open_image

GAP, HEADS = 4, (22, 38)
"""Pixels: white around every picture, and the height of captions of one or two lines above the first gap."""


def cut_grid(path: Path) -> list[list[Image.Image]]:
    """Return the pictures of a sample grid by rows: real, fake, rec, truth and redrawn, as far as it has them.

    Returns [] if its gaps aren't found, as in a picture from elsewhere.

    Raises:
        ImageError: it can't be read.
    """
    grid = open_image(path)
    white = (np.asarray(grid) == 255).all(axis=2)
    head = next((head for head in reversed(HEADS) if white[head : head + GAP].all()), grid.height)
    blank = white[head:]
    for count in (5, 4, 3, 2):
        width, rest = divmod(grid.width - GAP * (count + 1), count)
        lefts = [GAP + column * (width + GAP) for column in range(count)]
        if rest == 0 and all(blank[:, left - GAP : left].all() for left in (*lefts, grid.width)):
            break
    else:
        return []
    rows, top = [], None
    for y, filled in enumerate(~blank.all(axis=1)):
        if filled and top is None:
            top = y
        elif not filled and top is not None:
            rows.append([grid.crop((left, head + top, left + width, head + y)) for left in lefts])
            top = None
    return rows
