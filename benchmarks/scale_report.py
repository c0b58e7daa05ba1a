"""The report of `benchmarks.scale`: how fast each curve grows, a verdict, a picture of all, Markdown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LINEAR = 1.15
"""The largest exponent that counts as linear: what is measured on two cores scatters."""
FLAT = 1.5
"""A curve whose largest value is at most so many times the first one is flat: the difference of two values that are
nearly equal is mostly noise."""
RULE = (
    "**The rule.** A curve's exponent is the slope of log(value) over log(n), by least squares over the upper half of "
    "its points. First, the value at the smallest n is subtracted from all others: it is what a start costs, such as "
    "imports, and no curve looks better for that. Only visitors' waits have no start in them. A curve that never "
    f"exceeds {FLAT} × its first value is flat, and its slope is that of the values as they are. An exponent up to "
    f"{LINEAR} is linear or better. Times are the processor's seconds, of all threads, because other work on the "
    "machine changes these little; where somebody waits, they are the clock's. Memory is the largest resident set of a "
    "process and its children, looked at every 0.03 s."
)


@dataclass(frozen=True)
class Curve:
    """A figure against n.

    Attributes:
        part, key: of scale.json.
        label: the figure with its unit.
        against: n's meaning.
        points: n and value, n rising.
        has_start: the first value is what a start costs.
    """

    part: str
    key: str
    label: str
    against: str
    points: tuple[tuple[float, float], ...]
    has_start: bool = True

    @property
    def is_flat(self) -> bool:
        """True if it hardly grows."""
        return max(value for _, value in self.points) <= FLAT * self.points[0][1]

    @property
    def exponent(self) -> float:
        """Its growth, by RULE; 0 for a single point."""
        first, upper = self.points[0][1], self.points[len(self.points) // 2 :]
        grown = [(n, value - first) for n, value in upper if value > first and n > self.points[0][0]]
        if not self.has_start or self.is_flat or len(grown) < 2:
            grown = [point for point in upper if point[1] > 0]
        chosen = grown if len(grown) > 1 else [point for point in self.points if point[1] > 0]
        if len(chosen) < 2:
            return 0.0
        return float(np.polyfit(*np.log(np.array(chosen)).T, 1)[0])

    @property
    def is_linear(self) -> bool:
        """True if it grows as n does, or less."""
        return round(self.exponent, 2) <= LINEAR

    @property
    def verdict(self) -> str:
        """The verdict, in words."""
        return ("flat" if self.is_flat else "linear or better") if self.is_linear else "worse than linear"


def curves_of(
    name: str, part: Mapping[str, Any], labels: Mapping[str, str], without_start: Collection[str]
) -> list[Curve]:
    """Return the curves of a part of scale.json, in the order of `labels`, key → label.

    Args:
        without_start: the keys whose first value isn't what a start costs.
    """
    rows = sorted(part["rows"], key=lambda row: row["n"])
    return [
        Curve(name, key, label, part["against"], tuple((row["n"], row[key]) for row in rows), key not in without_start)
        for key, label in labels.items()
    ]


def summary(curves: Sequence[Curve]) -> list[str]:
    """Return a row of a table for each part: its sizes and all exponents."""
    rows = []
    for _, group in itertools.groupby(curves, key=lambda curve: curve.part):
        of_part = list(group)
        (low, _), (high, _) = of_part[0].points[0], of_part[0].points[-1]
        found = ", ".join(f"{each.label.partition(',')[0]} {_rounded(each.exponent)}" for each in of_part)
        rows.append(f"| {_number(low)} to {_number(high)} {of_part[0].against} | {found} |")
    return rows


def markdown(report: Mapping[str, Any], curves: Sequence[Curve], notes: Mapping[str, Sequence[str]]) -> str:
    """Return README.md.

    Args:
        report: scale.json.
        curves: all of them.
        notes: part → sentences about what was measured.
    """
    rows = []
    for curve in curves:
        (low, first), (high, last) = curve.points[0], curve.points[-1]
        rows.append(f"| {curve.part} | {curve.label} | {_number(low)} to {_number(high)} {curve.against} | "
                    f"{_number(first)} → {_number(last)} | {_number((last - first) / max(high - low, 1e-9))} | "
                    f"{_rounded(curve.exponent)} | {curve.verdict} |")  # fmt: skip
    worse = [f"{curve.part}: {curve.label}" for curve in curves if not curve.is_linear]
    linear = f"Nothing is worse than linear: no exponent is above {LINEAR}."
    verdict = f"Worse than linear: {'; '.join(worse)}." if worse else linear
    about = []
    for name, part in report["parts"].items():
        machine = part["machine"]
        about += [f"- **{name}** ({part['seconds']:.0f} s on {machine['cores']} cores of {machine['processor']}, torch "
                  f"{machine['torch']}, commit {machine['commit']}). {' '.join(notes[name])}"]  # fmt: skip
    tiny = ["", "**A trial:** with `--tiny`, of one size each, so without exponents."] if report["tiny"] else []
    return "\n".join([
        "# Scale", "", f"How time and memory grow. Written by `{report['command']}`. {verdict}", *tiny, "",
        "| n | exponents: 1 is linear |", "|---|---|", *summary(curves), "", "## Each curve", "",
        "| part | figure | n | from → to | for each more | exponent | |", "|---|---|---|--:|--:|--:|---|", *rows, "",
        "![A panel for each curve, log-log, next to a line of slope 1](scale.png)", "", RULE, "",
        "## What was measured", "", *about, "",
    ])  # fmt: skip


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draw a panel for each curve, next to a line of slope 1 through its last point."""
    from matplotlib.figure import Figure

    columns = 4
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(3.1 * columns, 2.6 * rows), dpi=110, layout="constrained")
    for number, curve in enumerate(curves):
        panel = figure.add_subplot(rows, columns, number + 1)
        n, values = np.array(curve.points).T
        panel.loglog(n, values[-1] * n / n[-1], "--", color="0.7", linewidth=1)
        panel.loglog(n, values, "o-", color="#0072b2" if curve.is_linear else "#d55e00", markersize=4)
        low, high = max(values.min(), 1e-9), values.max()
        room = max(1.2, (10 * low / high) ** 0.5)  # At least a decade, or noise would look like growth.
        panel.set_ylim(low / room, high * room)
        panel.set_title(f"{curve.part}: {curve.label}\n{curve.verdict}, {_rounded(curve.exponent)}", fontsize=8)
        panel.set_xlabel(curve.against, fontsize=8)
        panel.tick_params(labelsize=7, which="both")
    figure.savefig(path)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if abs(value) < 1e-3 else f"{value:.3g}"


def _rounded(exponent: float) -> str:
    return f"{round(exponent, 2) + 0.0:.2f}"  # Without a minus before 0.
