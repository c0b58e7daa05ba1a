"""metrics.jsonl: one line per epoch and per `--log_every` steps, and the picture of its curves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclegan.evaluation.figures import FIGURES, figure_of, fit_axes
from cyclegan.files import whole_file

COLOURS = ("#0072b2", "#d55e00")

class MetricsLog:
    """Appends JSON lines to RUN/metrics.jsonl.

    A line has `event` ("start", "step" or "epoch"), `epoch`, `step`, `losses`; for starts also `device`, `processes`,
    `mixed_precision`, and for epochs `metrics`, `lr`, `images_per_second`, `seconds`, `skipped_steps`.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / "metrics.jsonl"

    def append(self, values: Mapping[str, Any]) -> None:
        """Add a line and hand it to the operating system at once."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Return all lines that this class wrote; a crash may have cut the last one."""
        rows = []
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if (
                    isinstance(row, dict)
                    and row.get("event") in ("start", "step", "epoch")
                    and all(type(row.get(key)) is int for key in ("epoch", "step"))
                    and isinstance(row.get("losses"), dict)
                ):
                    rows.append(row)
        return rows

    def rewind(self, global_step: int) -> None:
        """Drop lines of steps that will be run again after resuming from `global_step`. Raises OSError."""
        kept = [row for row in self.read() if row["step"] <= global_step]
        with whole_file(self.path) as part:
            part.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")


def _panels(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return by title the losses that were recorded: the figures of the table in its order, then others by name."""
    names = list(dict.fromkeys(name for row in rows for name in row["losses"]))
    panels: dict[str, list[str]] = {str(figure.title): [] for figure in FIGURES if figure.in_curves}
    for name in sorted(names):
        figure, _ = figure_of(name)
        panels.setdefault(str(figure.title) if figure else name, []).append(name)
    return {title: found for title, found in panels.items() if found}


def draw_curves(rows: list[dict[str, Any]], path: Path, title: str = "") -> None:
    """Draw the losses against the epoch as a PNG: steps' lines thin, epochs' means with markers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = [row for row in rows if row["event"] == "epoch"]
    per_epoch = epochs[-1]["step"] / epochs[-1]["epoch"] if epochs else 1.0
    steps = [row for row in rows if row["event"] == "step"]
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
            if means:
                axes.plot(*zip(*means, strict=True), color=colour, marker="o", markersize=3, label=key)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("epoch")
        fit_axes(axes)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=100)
