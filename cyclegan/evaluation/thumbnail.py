"""A small picture that stands for a run: a test picture, and its translation by an epoch; without torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from cyclegan.errors import ImageError
from cyclegan.evaluation.grids import GAP, cut_grid
from cyclegan.images import open_image

SIZE = (800, 420)
"""Pixels, in the proportion in which links are shown."""


def thumbnail(samples: Sequence[Path]) -> bytes | None:
    """Return a JPEG of the first readable sample grid; None without one."""
    for path in samples:
        try:
            rows = cut_grid(path)
            picture = _pair(*rows[0][:2]) if rows else ImageOps.fit(open_image(path), SIZE, centering=(0.5, 0))
        except ImageError:
            continue
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=90)
        return content.getvalue()
    return None


def _pair(real: Image.Image, fake: Image.Image) -> Image.Image:
    sheet = Image.new("RGB", SIZE, "white")
    half = (SIZE[0] - GAP) // 2
    for picture, left in ((real, 0), (fake, SIZE[0] - half)):
        sheet.paste(ImageOps.fit(picture, (half, SIZE[1])), (left, 0))
    return sheet
