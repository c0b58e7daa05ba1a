"""The report's grids: a row for each method, a column for each test picture, as in the paper's Figures 5 to 7."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from cyclegan.config import DIRECTIONS
from cyclegan.experiments.plan import Plan
from cyclegan.files import whole_file
from cyclegan.images import open_image

LEAST, MOST, GAP, LABELS = 96, 256, 4, 190
"""Pixels: side of a picture in the grid, at least and at most; white between two; width of the rows' names."""


def write_grids(plan: Plan, report: Mapping[str, Any]) -> dict[str, str]:
    """Write pictures-ab.png and pictures-ba.png of the rows that are scored, and return their names by direction."""
    found = {}
    for way in DIRECTIONS:
        strips: dict[str, Path] = {}
        runs = [(row["name"], plan.output / "runs" / run["folder"]) for row in report["rows"] for run in row["runs"]]
        for kind in ("inputs", "shown", "truth"):
            for name, folder in runs:
                path = folder / f"{kind}-{way}.png"
                if path.is_file():  # The first seed's; inputs and truth are the same for all.
                    strips.setdefault(name if kind == "shown" else {"inputs": "input"}.get(kind, kind), path)
        if strips:
            found[way] = f"pictures-{way}.png"
            with whole_file(plan.output / found[way]) as part:
                grid({name: open_image(path) for name, path in strips.items()}).save(part, "PNG", optimize=True)
    return found


def grid(strips: Mapping[str, Image.Image]) -> Image.Image:
    """Return strips of pictures below each other, each with its name on the left."""
    side = max(strip.height for strip in strips.values())
    count = max(strip.width // strip.height for strip in strips.values())
    shown = min(MOST, side * max(1, -(-LEAST // side)))
    font = ImageFont.load_default(14)
    whole = Image.new("RGB", (LABELS + count * (shown + GAP), len(strips) * (shown + GAP)), "white")
    draw = ImageDraw.Draw(whole)
    for number, (name, strip) in enumerate(strips.items()):
        top = number * (shown + GAP)
        draw.multiline_text((4, top + shown // 2), "\n".join(_wrapped(name, font)), "black", font, anchor="lm")
        for column in range(strip.width // strip.height):
            picture = strip.crop((column * strip.height, 0, (column + 1) * strip.height, strip.height))
            how = Image.Resampling.NEAREST if shown >= strip.height else Image.Resampling.LANCZOS
            whole.paste(picture.resize((shown, shown), how), (LABELS + column * (shown + GAP), top))
    return whole


def _wrapped(text: str, font: Any) -> list[str]:
    """Return a name in lines that fit."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > LABELS - 12:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
