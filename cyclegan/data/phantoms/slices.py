"""One slice in both modalities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cyclegan.data.phantoms.anatomy import LEVELS, Body, draw_spine, draw_table
from cyclegan.data.phantoms.canvas import OVER, Canvas
from cyclegan.data.phantoms.tissues import CT_RANGE, MR_RANGE, tissues_of
from cyclegan.data.streets.raster import noise

F32 = np.float32
_TRIANGLE = np.array([1, 2, 3, 2, 1], F32) / 9  # Over OVER pixels: a tent twice as wide as a pixel.


@dataclass(frozen=True)
class Slice:
    """One patient's slice, float32 (H, W) of whole numbers.

    Attributes:
        mr: arbitrary units, 0 to 4095.
        ct: Hounsfield units, -1000 to 2000.
        level: the slice's height in the body, a name of `anatomy.LEVELS`.
    """

    mr: np.ndarray
    ct: np.ndarray
    level: str


def draw_slice(series: int, index: int, size: tuple[int, int]) -> Slice:
    """Draw one slice: a pure function of its arguments, in about 8 ms at 128×128.

    Both modalities come from one painting of tissues and one field of their density, so CT is a function of what MR
    shows, apart from the scanner's uneven brightness and the table.

    Args:
        series, index: the slice's number, each 0 or more.
        size: width and height in pixels.
    """
    rng = np.random.default_rng([series, index])
    level = tuple(LEVELS)[rng.integers(len(LEVELS))]
    tissues, body = tissues_of(rng), Body(rng, level)
    turn, dx, dy = rng.uniform(-1, 1, 3) * (0.06, 0.03, 0.02)
    canvas = Canvas(size, rng, turn, (dx, dy - 0.02))
    draw_table(canvas, body)
    around = canvas.image.copy()
    LEVELS[level](canvas, body)
    if level in ("chest", "belly"):
        draw_spine(canvas, body)
    canvas.keep_outside(body.outline(0), around)
    x, y = (((np.arange(side) + 0.5 - side / 2) / min(size)).astype(F32) for side in size)
    density = _density(rng, x[None, :], y[:, None])
    mr, ct, mr_texture, ct_texture = _mixed(canvas, tissues)
    mr = (mr + mr_texture * density) * _brightness(rng, x[None, :], y[:, None])
    ct = ct + ct_texture * density
    return Slice(np.clip(np.rint(mr), *MR_RANGE), np.clip(np.rint(ct), *CT_RANGE), level)


def _mixed(canvas: Canvas, tissues: np.ndarray) -> list[np.ndarray]:
    """Return the tissues' values, each averaged over a pixel and a little of its neighbours, as a scanner does."""
    numbers = np.asarray(canvas.image)
    if canvas.over == 1:
        return [column[numbers] for column in tissues.T]
    numbers, (width, height), mixed = np.pad(numbers, 1, "edge"), canvas.size, []
    for column in tissues.T:
        fine = column[numbers]
        rows = sum(fine[k : k + OVER * height : OVER] * w for k, w in enumerate(_TRIANGLE))
        mixed.append(sum(rows[:, k : k + OVER * width : OVER] * w for k, w in enumerate(_TRIANGLE)))
    return mixed


def _density(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how much denser the tissue is than usual, about -1 to 1: patches, strands and grain."""
    table = rng.random((256, 256), F32) * 2 - 1
    patches = noise(table, x * 9 + 40, y * 9 + 80)
    strands = noise(table, x * 31 + 120, y * 23 + 10)
    grain = noise(table, x * 83 + 7, y * 83 + 190)
    return F32(0.45) * patches + F32(0.5) * strands + F32(0.6) * grain


def _brightness(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the MR coil's brightness, within about 10% of 1: a slope and a bowl."""
    along, across, bowl = rng.uniform(-1, 1, 3).astype(F32) * F32(0.12)
    return 1 + along * x + across * y + bowl * (x * x + y * y - F32(0.08))
