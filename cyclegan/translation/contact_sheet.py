"""A contact sheet of a recording: what became training and test pictures, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from cyclegan.errors import number_of
from cyclegan.files import whole_file
from cyclegan.translation.captions import fitted, font_for
from cyclegan.translation.time_split import Recording, Split

FEWEST, MOST = 80, 160
"""Thumbnails at least and at most where there are more frames; these are spread evenly."""
TILE, GAP, LINE, WIDTH = 190, 10, 22, 1610
"""Pixels: a thumbnail's longer side, the room between two, a caption's height, and the sheet's width."""
INK, PAPER, MUTED = "#1e293b", "white", "#64748b"
TRAIN, TEST = "#0d9488", "#b45309"


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a frame."""

    image: Image.Image
    time: float
    """Seconds since the recording's start."""
    alike: bool
    """True for a near-duplicate."""


class Thumbnails:
    """Thumbnails of frames that are spread evenly over a recording whose length is unknown; at most MOST."""

    def __init__(self) -> None:
        self.kept: list[Thumbnail] = []
        self.step = 1
        """1 if every frame is kept, 4 for each fourth."""
        self.count = 0
        """The frames that were seen."""

    def add(self, image: Image.Image, time: float, alike: bool) -> None:
        """Keep a frame's thumbnail if it is its turn."""
        if self.count % self.step == 0:
            small = image.copy()
            small.thumbnail((TILE, TILE))
            self.kept.append(Thumbnail(small, time, alike))
            if len(self.kept) > MOST:
                self.kept, self.step = self.kept[::2], 2 * self.step
        self.count += 1


def clock(seconds: float) -> str:
    """Return 83.46 as 1:23.5."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


def write_sheet(
    target: Path, thumbnails: Thumbnails, begin: float, end: float, split: Split, recording: Recording
) -> None:
    """Write a recording's contact sheet as a JPEG.

    At its top is the recording as a bar, with its test stretches and gaps. Below are thumbnails with their times. Test
    pictures have a thick frame and the word test; what was left out is crossed out, with the reason.

    Args:
        target: the file.
        thumbnails: of frames of the recording.
        begin, end: seconds of the recording.
        split: the way in which it was split.
        recording: what was taken.

    Raises:
        OSError: the file can't be written.
    """
    kept = thumbnails.kept
    tile = max(one.image.width for one in kept), max(one.image.height for one in kept)
    columns = (WIDTH - GAP) // (tile[0] + GAP)
    rows = -(-len(kept) // columns)
    head = 4 * LINE + 74
    sheet = Image.new("RGB", (WIDTH, head + rows * (tile[1] + LINE + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_head(draw, thumbnails, recording, end - begin, split)
    _draw_bar(draw, 4 * LINE, begin, end, split, recording.stretches)
    for number, one in enumerate(kept):
        corner = GAP + number % columns * (tile[0] + GAP), head + number // columns * (tile[1] + LINE + GAP)
        why = "near-duplicate" if one.alike else split.part_of(one.time, recording.stretches) or "gap"
        _draw_tile(sheet, draw, one, corner, tile, why)
    with whole_file(target, durable=False) as part:
        sheet.save(part, format="JPEG", quality=88, subsampling=0)


def _draw_head(
    draw: ImageDraw.ImageDraw, thumbnails: Thumbnails, recording: Recording, seconds: float, split: Split
) -> None:
    title = f"{recording.name}: {recording.video}, {clock(seconds)}"
    font = font_for(title, 24)
    draw.text((GAP, GAP), fitted(title, font, WIDTH - 2 * GAP), INK, font)
    said = [
        f"{number_of(recording.train, 'picture')} for training", f"{recording.test:,} for testing",
        f"left out: {recording.in_gaps:,} in the gaps of {split.gap:g} s, "
        + number_of(recording.alike, "near-duplicate"),
    ]  # fmt: skip
    if thumbnails.step > 1:
        said.append(f"shown: 1 in {thumbnails.step}")
    draw.text((GAP, GAP + 1.7 * LINE), "  ·  ".join(said), MUTED, font_for("", 16))


def _draw_bar(
    draw: ImageDraw.ImageDraw, top: int, begin: float, end: float, split: Split,
    stretches: Sequence[tuple[float, float]],
) -> None:
    """Draw the recording from left to right: training plain, gaps hatched, test stretches dark with their times."""
    scale, font, bottom = (WIDTH - 2 * GAP) / max(1e-6, end - begin), font_for("", 15), top + 26

    def x(time: float) -> float:
        return GAP + scale * (min(max(time, begin), end) - begin)

    draw.rectangle((GAP, top, WIDTH - GAP, bottom), TRAIN)
    for first, last in stretches:
        left, right = x(first - split.gap), x(last + split.gap)
        draw.rectangle((left, top, right, bottom), PAPER, MUTED)
        for place in range(int(left), int(right - 26), 9):
            draw.line((place, bottom, place + 26, top), MUTED)
        draw.rectangle((x(first), top - 4, max(x(last), x(first) + 2), bottom + 4), TEST)
        said = f"test {clock(first)} to {clock(last)}"
        draw.text(((x(first) + x(last)) / 2, bottom + 8), said, TEST, font, anchor="mt")
    draw.text((2 * GAP, (top + bottom) / 2), "train", PAPER, font, anchor="lm")
    draw.text((GAP, bottom + 8), clock(begin), MUTED, font, anchor="lt")
    draw.text((WIDTH - GAP, bottom + 8), clock(end), MUTED, font, anchor="rt")


def _draw_tile(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, one: Thumbnail, corner: tuple[int, int], tile: tuple[int, int],
    why: str,
) -> None:
    """Draw a thumbnail with its frame, and its time and part below."""
    x, y = corner[0] + (tile[0] - one.image.width) // 2, corner[1] + (tile[1] - one.image.height) // 2
    box = x, y, x + one.image.width - 1, y + one.image.height - 1
    ink, width = {"train": (TRAIN, 1), "test": (TEST, 6)}.get(why, (MUTED, 1))
    image = one.image
    if why not in ("train", "test"):
        image = Image.blend(image, Image.new("RGB", image.size, PAPER), 0.6)
    sheet.paste(image, (x, y))
    draw.rectangle(box, None, ink, width)
    if image is not one.image:
        draw.line(box, ink, 2)
    text = f"{clock(one.time)}  {why}"
    draw.text((x, box[3] + 4), fitted(text, font_for("", 14), tile[0] + GAP), ink, font_for("", 14))
