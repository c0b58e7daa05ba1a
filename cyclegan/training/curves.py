"""The picture of a run's curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclegan.evaluation.figures import FIGURES, figure_of, fit_axes
from cyclegan.evaluation.scores.table import BY_KEY

COLOURS = ("#0072b2", "#d55e00")


def _panels(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return by title the losses that were recorded: the figures of the table in its order, then others by name."""
    names = list(dict.fromkeys(name for row in rows for name in row["losses"]))
    panels: dict[str, list[str]] = {str(figure.title): [] for figure in FIGURES if figure.in_curves}
    for name in sorted(names):
        figure, _ = figure_of(name)
        panels.setdefault(str(figure.title) if figure else name, []).append(name)
    scored = dict.fromkeys(name for row in rows if row["event"] == "scores" for name in row.get("metrics", {}))
    for name in scored:
        if figure := BY_KEY.get(name[:-3]):
            panels.setdefault(str(figure.label), []).append(name)
    return {title: found for title, found in panels.items() if found}


def line_name(key: str, names: Mapping[str, str]) -> str:
    """Return a loss's name in the legend: `cycle_a` by its domain, `gan_ab` by its direction, others as they are."""
    figure, ending = figure_of(key)
    if key[:-3] in BY_KEY:
        figure, ending = BY_KEY[key[:-3]], key[-2:]
    return " → ".join(names.get(domain, domain.upper()) for domain in ending) if figure else key


def draw_curves(
    rows: list[dict[str, Any]], path: Path, title: str = "", names: Mapping[str, str] | None = None
) -> None:
    """Draw the losses against the epoch as a PNG: steps' lines pale, epochs' means with markers.

    Args:
        rows: of metrics.jsonl.
        path: the file to write.
        title: above all panels.
        names: the domains' names by `a`, `b`, for the legends.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = [row for row in rows if row["event"] == "epoch"]
    per_epoch = epochs[-1]["step"] / epochs[-1]["epoch"] if epochs else 1.0
    steps, scored = ([row for row in rows if row["event"] == event] for event in ("step", "scores"))
    panels = _panels(rows)
    high = max(1, math.ceil(len(panels) / 2))
    figure = Figure(figsize=(10, 3 * high), layout="constrained")
    FigureCanvasAgg(figure)
    grid = list(figure.subplots(high, 2, squeeze=False).flat)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for axes, (name, keys) in zip(grid, panels.items(), strict=False):
        for key, colour in zip(keys, COLOURS, strict=False):
            drawn = [(row["step"] / per_epoch, row["losses"][key]) for row in steps if key in row["losses"]]
            if len(drawn) > 1:
                axes.plot(*zip(*drawn, strict=True), color=colour, alpha=0.3, linewidth=1)
            means = [(row["epoch"], row["losses"][key]) for row in epochs if key in row["losses"]]
            means += [(row["epoch"], row["metrics"][key]) for row in scored if key in row.get("metrics", {})]
            if means:
                label = line_name(key, names or {})
                axes.plot(*zip(*means, strict=True), color=colour, marker="o", markersize=3, label=label)
            for plain in {row["untranslated"][key] for row in scored if key in row.get("untranslated", {})}:
                axes.axhline(plain, color=colour, linestyle="--", linewidth=1)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("epoch")
        fit_axes(axes)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    dashed = "; dashed: the input, untranslated" if scored else ""
    figure.supxlabel(f"marks: means of epochs; pale lines: means of some steps{dashed}", fontsize=8)
    figure.savefig(path, dpi=100)
