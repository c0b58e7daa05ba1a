"""Videos next to each other in one, with captions: an input and its translation, or the same frames under many runs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain, zip_longest

from PIL import Image, ImageDraw

from cyclegan.errors import ImageError
from cyclegan.translation.captions import fitted, font_for
from cyclegan.translation.video_io import Frame, Video, VideoWriter

MOST_TILES = 16
MOST_SIZE = 3840, 2160
"""Width and height that players show without trouble; larger tiles are made smaller."""
GAP, INK, PAPER = 4, "white", "#0f172a"


class SplitScreen:
    """A grid of captioned tiles; two are side by side, in their order from left to right.

    Args:
        labels: captions of the tiles, 2 to MOST_TILES.
        tile: width and height of a tile; other pictures are scaled in proportion.

    Raises:
        ImageError: too few or too many tiles.

    Attributes:
        size: width and height of the whole.
    """

    def __init__(self, labels: Sequence[str], tile: tuple[int, int]) -> None:
        if not 2 <= len(labels) <= MOST_TILES:
            raise ImageError(
                "a split screen has 2 to {most} tiles, not {count}: leave some out", most=MOST_TILES, count=len(labels)
            )
        columns = _columns(len(labels), tile)
        rows = math.ceil(len(labels) / columns)
        # A caption takes a twelfth of its tile.
        whole = columns * (tile[0] + GAP), rows * (tile[1] * 13 / 12 + GAP)
        scale = min(1.0, *(most / side for most, side in zip(MOST_SIZE, whole, strict=True)))
        self._tile = width, height = tuple(max(2, int(side * scale)) for side in tile)
        head = max(14, height // 12)
        self._corners = [
            (GAP + number % columns * (width + GAP), GAP + number // columns * (height + head + GAP) + head)
            for number in range(len(labels))
        ]
        self.size = columns * (width + GAP) + GAP, rows * (height + head + GAP) + GAP
        self._empty = Image.new("RGB", self.size, PAPER)
        draw = ImageDraw.Draw(self._empty)
        for (x, y), label in zip(self._corners, labels, strict=True):
            font = font_for(label, round(head * 0.72))
            draw.text((x + GAP, y - head / 2), fitted(label, font, width - 2 * GAP), INK, font, anchor="lm")

    def compose(self, pictures: Iterable[Image.Image]) -> Image.Image:
        """Return one picture of a picture per tile, all RGB."""
        whole = self._empty.copy()
        for (x, y), picture in zip(self._corners, pictures, strict=True):
            scale = min(room / side for room, side in zip(self._tile, picture.size, strict=True))
            size = tuple(max(1, round(side * scale)) for side in picture.size)
            if size != picture.size:
                picture = picture.resize(size, Image.Resampling.BICUBIC)
            whole.paste(picture, (x + (self._tile[0] - size[0]) // 2, y + (self._tile[1] - size[1]) // 2))
        return whole


def write_split_screen(
    target: str | os.PathLike, streams: Mapping[str, Iterable[Frame]], *, rate: Fraction,
    tile: tuple[int, int] | None = None, sound_from: Video | None = None,
) -> int:
    """Write streams of frames as one mp4 and return the number of its frames.

        videos = {name: Video(path) for name, path in translated.items()}
        write_split_screen("all.mp4", {name: video.frames() for name, video in videos.items()}, rate=Fraction(30))

    Args:
        target: the file, written whole or not at all.
        streams: frames of each tile by its caption, 2 to MOST_TILES streams of equal length; the first has the times.
        rate: frames per second, for the encoder's rate control.
        tile: width and height of a tile; None takes those of the first stream's frames.
        sound_from: as for `VideoWriter`.

    Raises:
        ImageError: streams differ in length or have no frames, there are too few or too many, or the file can't be
            written.
    """
    rows = _in_step(streams)
    first = next(rows, None)
    if first is None:
        raise ImageError("there are no frames to put next to each other")
    screen = SplitScreen(list(streams), tile or first[0].image.size)
    count = 0
    with VideoWriter(target, screen.size, rate=rate, sound_from=sound_from) as writer:
        for frames in chain([first], rows):
            writer.write(screen.compose(frame.image for frame in frames), frames[0].time, frames[0].duration)
            count += 1
    return count


def _in_step(streams: Mapping[str, Iterable[Frame]]) -> Iterator[list[Frame]]:
    """Yield a frame of each stream at a time. Raises ImageError if one ends before the others."""
    for count, frames in enumerate(zip_longest(*streams.values())):
        if None in frames:
            label = list(streams)[frames.index(None)]
            raise ImageError(
                "{label} ends after {n} frame, before the others", "{label} ends after {n} frames, before the others",
                count, label=label,
            )  # fmt: skip
        yield list(frames)


def _columns(count: int, tile: tuple[int, int]) -> int:
    """Return the number of columns of a grid that is about 16:9 and has few empty places; two tiles are one row."""

    def badness(columns: int) -> float:
        rows = math.ceil(count / columns)
        shape = columns * tile[0] / (rows * tile[1])
        return abs(math.log(shape / (16 / 9))) + (rows * columns - count) / count

    return 2 if count == 2 else min(range(1, count + 1), key=badness)
