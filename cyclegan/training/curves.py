"""metrics.jsonl: one line per epoch and per `--log_every` steps, and the picture of its curves."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PANELS = (
    ("adversarial, generators", ("gan_ab", "gan_ba")),
    ("cycle (L1)", ("cycle_a", "cycle_b")),
    ("identity (L1)", ("identity_a", "identity_b")),
    ("discriminators", ("disc_a", "disc_b")),
)


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
        """All lines that this class wrote; a crash may have cut the last one."""
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
        """Drop lines of steps that will be run again after resuming from `global_step`."""
        kept = [row for row in self.read() if row["step"] <= global_step]
        part = self.path.with_suffix(".part")
        part.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        os.replace(part, self.path)


def draw_curves(rows: list[dict[str, Any]], path: Path, title: str = "") -> None:
    """Draw the losses against the epoch as a PNG: steps' lines thin, epochs' means with markers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [row for row in rows if row["event"] == "epoch"]
    per_epoch = epochs[-1]["step"] / epochs[-1]["epoch"] if epochs else 1.0
    steps = [row for row in rows if row["event"] == "step"]
    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, keys) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for key, colour in zip(keys, ("#0072b2", "#d55e00"), strict=True):
            drawn = [(row["step"] / per_epoch, row["losses"][key]) for row in steps if key in row["losses"]]
            if len(drawn) > 1:
                axes.plot(*zip(*drawn, strict=True), color=colour, alpha=0.3, linewidth=1)
            means = [(row["epoch"], row["losses"][key]) for row in epochs if key in row["losses"]]
            if means:
                axes.plot(*zip(*means, strict=True), color=colour, marker="o", markersize=3, label=key)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("epoch")
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
        else:
            axes.text(0.5, 0.5, "weight 0", transform=axes.transAxes, ha="center", color="#777777")
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=100)
