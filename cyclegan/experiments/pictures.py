"""The report's pictures: grids with a row for each method, as in the paper's Figures 5 to 7, and curves."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from cyclegan.checkpoints.progress import MetricsLog
from cyclegan.config import DIRECTIONS, direction_name
from cyclegan.errors import ImageError
from cyclegan.evaluation.figures import FIGURES
from cyclegan.experiments.plan import Plan
from cyclegan.files import whole_file
from cyclegan.images import open_image

CURVES = ("truth_l1", "reconstruction_l1", "diversity")
"""Figures that the trainer measures after each epoch."""
LEAST, MOST, GAP, LABELS = 96, 256, 4, 190
"""Pixels: side of a picture in the grid, at least and at most; white between two; width of the rows' names."""


def write_grids(plan: Plan, report: Mapping[str, Any]) -> dict[str, str]:
    """Write pictures-ab.png and pictures-ba.png of the rows that are scored, and return their names by direction."""
    found = {}
    for way in DIRECTIONS:
        strips: dict[str, Image.Image] = {}
        runs = [(row["name"], plan.output / "runs" / run["folder"]) for row in report["rows"] for run in row["runs"]]
        for kind in ("inputs", "shown", "truth"):
            for name, folder in runs:
                path = folder / f"{kind}-{way}.png"
                label = name if kind == "shown" else {"inputs": "input"}.get(kind, kind)
                if path.is_file() and label not in strips:  # The first seed's; inputs and truth are the same for all.
                    with suppress(ImageError):  # A damaged one is made again when its run is scored.
                        strips[label] = open_image(path)
        if strips:
            found[way] = f"pictures-{way}.png"
            with whole_file(plan.output / found[way]) as part:
                grid(strips).save(part, "PNG", optimize=True)
    return found


def write_curves(plan: Plan, report: Mapping[str, Any]) -> str | None:
    """Write curves.png, figures of the trainer's few test pictures over the epochs by row, each of its first seed.

    Returns None, and writes nothing, where no run has two epochs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines: dict[tuple[str, str], dict[str, list[tuple[int, float]]]] = {}
    for row in report["rows"]:
        for run in row["runs"]:
            for epoch in (e for e in MetricsLog(plan.output / "runs" / run["folder"]).read() if e["event"] == "epoch"):
                for key, value in epoch["metrics"].items():
                    if run["seed"] == report["seeds"][0] and (place := (key[:-3], key[-2:]))[0] in CURVES:
                        lines.setdefault(place, {}).setdefault(row["name"], []).append((epoch["epoch"], value))
    if not any(len(points) > 1 for rows in lines.values() for points in rows.values()):
        return None
    names = list(dict.fromkeys(name for rows in lines.values() for name in rows))
    look = row_looks(names)
    keys = [key for key in CURVES if any(key == each for each, _ in lines)]
    ways = [way for way in DIRECTIONS if any(way == each for _, each in lines)]
    figure = Figure(figsize=(2 + 3.6 * len(keys), 3.2 * len(ways)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(ways), len(keys), squeeze=False).flat
    for axes, (way, key) in zip(panels, itertools.product(ways, keys), strict=True):
        place = key, way
        if place not in lines:
            axes.set_visible(False)
            continue
        for name, points in lines[place].items():
            axes.plot(*zip(*points, strict=True), marker=".", label=name, **look[name])
        known = next(f for f in FIGURES if f.key == place[0])
        label_panel(axes, f"{known.label}, {direction_name(place[1], **report['names'])}")
    save_panels(figure, plan.output / "curves.png")
    return "curves.png"


def row_looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the colour and the line of each row's curves."""
    return {name: {"color": f"C{n % 10}", "linestyle": ("-", "--")[n // 10 % 2]} for n, name in enumerate(names)}


def label_panel(axes: Any, title: str) -> None:
    """Write a panel's title, and epochs as whole numbers below it."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)


def save_panels(figure: Any, path: Path) -> None:
    """Write a figure with one legend for all panels; whole."""
    drawn = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in figure.axes]
    handles = {label: handle for each in drawn for handle, label in each}
    figure.legend(handles.values(), handles, loc="outside right upper", fontsize=9)
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=100)


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
