"""A time-lapse over epochs: pictures next to their translations, one epoch after the other, as mp4 or GIF."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cyclegan.errors import ImageError
from cyclegan.files import whole_file
from cyclegan.translation.video_io import VideoWriter

SECONDS, LAST_SECONDS = Fraction(4, 5), Fraction(2)
"""Time for which an epoch is shown, and the last one, because people look at the result for longer."""
RATE = Fraction(10)
"""Frames per second of an mp4: some players stumble over files with hardly more than one."""
MOST_SIDE = {".mp4": 1280, ".gif": 800}
"""Longest side of the frames in pixels."""
LEAST_TILE, GAP, HEAD = 128, 4, 30
"""Pixels: the shorter side of small pictures, white between pictures, and the height of the caption."""
INK, PAPER, EMPTY, BAR = "#222222", "white", "#dddddd", "#0d9488"

Step = tuple[str, Iterable[Image.Image | None]]
"""A caption such as "epoch 4", and the translations of the pictures, taken when they are drawn; None is drawn grey."""


def write_timelapse(target: str | os.PathLike, inputs: Sequence[Image.Image], steps: Sequence[Step]) -> None:
    """Write a time-lapse; the file is written whole or not at all.

    Args:
        target: the file to write, .mp4 or .gif.
        inputs: the pictures, RGB, at least one; each stays at the left of its translation.
        steps: one per epoch, at least one.

    Raises:
        ImageError: the target's suffix is another, or it can't be written.
    """
    target = Path(target)
    suffix = target.suffix.lower()
    if suffix not in MOST_SIDE:
        raise ImageError("{name} isn't a time-lapse: name a file .mp4 or .gif", name=target.name)
    frames = _frames(inputs, steps, MOST_SIDE[suffix])
    durations = [SECONDS] * (len(steps) - 1) + [LAST_SECONDS]
    if suffix == ".mp4":
        _write_mp4(target, frames, durations)
    else:
        _write_gif(target, frames, durations)


def _write_mp4(target: Path, frames: Iterator[Image.Image], durations: Sequence[Fraction]) -> None:
    first = next(frames)
    with VideoWriter(target, first.size, rate=RATE) as writer:
        n = 0
        for frame, duration in zip(chain([first], frames), durations, strict=True):
            for _ in range(int(duration * RATE)):
                writer.write(frame, n / RATE, 1 / RATE)
                n += 1


def _write_gif(target: Path, frames: Iterator[Image.Image], durations: Sequence[Fraction]) -> None:
    # Each with colours of its own: 256 for all of them would show as bands.
    how = Image.Quantize.MEDIANCUT
    first, *others = (frame.quantize(256, how, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames)
    try:
        with whole_file(target, durable=False) as part:
            first.save(
                part, format="GIF", save_all=True, append_images=others, loop=0,
                duration=[int(1000 * duration) for duration in durations],
            )  # fmt: skip
    except OSError as error:
        raise ImageError(
            "{target} can't be written ({reason}): free space or choose another place",
            target=target.name, reason=error,
        ) from error


def _frames(inputs: Sequence[Image.Image], steps: Sequence[Step], most: int) -> Iterator[Image.Image]:
    """Yield a frame for each step: a grid of pictures and translations, under a caption and a bar of progress."""
    tile = _tile(inputs, most)
    columns, rows = _grid(len(inputs), tile)
    size = columns * 2 * (tile[0] + GAP) + GAP, HEAD + rows * (tile[1] + GAP) + GAP
    font = ImageFont.load_default(16)
    given = [_fit(picture, tile) for picture in inputs]
    for number, (caption, translations) in enumerate(steps, 1):
        frame = Image.new("RGB", size, PAPER)
        draw = ImageDraw.Draw(frame)
        draw.text((GAP, HEAD // 2 - 2), caption, INK, font, anchor="lm")
        draw.rectangle((0, HEAD - 4, round(size[0] * number / len(steps)) - 1, HEAD - 2), BAR)
        for place, (left, right) in enumerate(zip(given, translations, strict=True)):
            x = GAP + place % columns * 2 * (tile[0] + GAP)
            y = HEAD + GAP + place // columns * (tile[1] + GAP)
            frame.paste(left, (x, y))
            frame.paste(_fit(right or Image.new("RGB", tile, EMPTY), tile), (x + tile[0] + GAP, y))
        yield frame


def _grid(count: int, tile: tuple[int, int]) -> tuple[int, int]:
    """Return the columns and rows of pairs whose whole is nearest to a square, rather wide than high."""

    def longest(columns: int) -> int:
        return max(2 * columns * tile[0], math.ceil(count / columns) * tile[1])

    columns = min(range(count, 0, -1), key=longest)
    return columns, math.ceil(count / columns)


def _tile(inputs: Sequence[Image.Image], most: int) -> tuple[int, int]:
    """Return the width and height of all tiles: those of the largest picture, as far as the frame has room for it."""
    width, height = max((picture.size for picture in inputs), key=math.prod)
    columns, rows = _grid(len(inputs), (width, height))
    room = min(
        ((most - GAP) / (2 * columns) - GAP) / width, ((most - HEAD - GAP) / rows - GAP) / height
    )  # fmt: skip
    scale = min(max(1.0, LEAST_TILE / min(width, height)), room)
    return max(1, int(scale * width)), max(1, int(scale * height))


def _fit(picture: Image.Image, tile: tuple[int, int]) -> Image.Image:
    """Return a picture scaled in proportion, in the middle of a tile."""
    scale = min(tile[0] / picture.width, tile[1] / picture.height)
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    whole = Image.new("RGB", tile, PAPER)
    corner = tuple((room - side) // 2 for room, side in zip(tile, size, strict=True))
    whole.paste(picture.resize(size, Image.Resampling.BICUBIC), corner)
    return whole
