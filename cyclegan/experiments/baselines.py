"""The figures of an experiment's rows, and whether they beat answers that need no training."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cyclegan.errors import number_of
from cyclegan.evaluation.scores.recommend import FEWEST, JUDGES, fewest_pictures, overlap, weak_judge
from cyclegan.evaluation.scores.table import BY_KEY

REFERENCES = {
    "untranslated": "the input, untranslated", "one_colour": "one colour",
    "blind": "blind: the usual colour or class of each place", "another": "another real picture",
    "real": "real pictures", "truth": "the true pictures",
}  # fmt: skip


def figures_of(row: Mapping[str, Any], way: str, key: str) -> dict[int, dict[str, float]]:
    """Return a row's figure by seed, as a file of scores has it."""
    return {run["seed"]: run["figures"][way][key] for run in row["runs"] if key in run["figures"].get(way, {})}


def values_of(row: Mapping[str, Any], way: str, key: str) -> dict[int, float]:
    """Return the value of a row's figure by seed."""
    return {seed: figure["value"] for seed, figure in figures_of(row, way, key).items()}


def head_of(key: str) -> str:
    """Return a figure's label with an arrow for the better way."""
    figure = BY_KEY[key]
    arrow = {"higher": " ↑", "lower": " ↓"}.get(figure.better or "", "")
    return f"{figure.label}{arrow}"


def verdicts(report: Mapping[str, Any], way: str) -> list[str]:
    """Return what the figures of `JUDGES` say about the rows against the baselines, as a Markdown list."""
    keys = [key for key in JUDGES if any(values_of(row, way, key) for row in report["rows"])]
    references = report["references"].get(way, {})
    if not keys or not references.get("baselines"):
        return []
    if (fewest := fewest_pictures(report["measured_on"][way])) < FEWEST:
        return [f"{number_of(fewest, 'test picture')} can't tell rows from baselines. Measure on 50 or more."]
    several = len(report["seeds"]) > 1
    rule = "with every seed" if several else "outside each other's intervals"
    lines = [_verdict(report, references, way, key) for key in keys]
    return [f"Against answers that need no training (clearly: {rule}):", "", *filter(None, lines)]


def _verdict(report: Mapping[str, Any], references: Mapping[str, Any], way: str, key: str) -> str | None:
    """Return the sentence of a figure; None without a baseline that has it."""
    baselines, label = {name: each[key] for name, each in references["baselines"].items() if key in each}, head_of(key)
    rows = {row["name"]: found for row in report["rows"] if (found := list(figures_of(row, way, key).values()))}
    if not baselines:
        return None
    if key == "seg_iou":
        ceilings = {name: figures.get(key) for name, figures in references.get("ceilings", {}).items()}
        if problem := weak_judge(ceilings, baselines.get("blind")):
            return f"- **{label}**: {problem}."
    lost = {name: [b for b, value in baselines.items() if not _beats(found, value, key)]
            for name, found in rows.items()}  # fmt: skip
    if winners := [name for name, unbeaten in lost.items() if not unbeaten]:
        others = "" if len(winners) == len(rows) else " No other row does."
        return f"- **{label}**: clearly better than every baseline: {', '.join(winners)}.{others}"
    best = min(rows, key=lambda name: _mean(rows[name]) * (-1 if BY_KEY[key].better == "higher" else 1))
    worse = [b for b in lost[best] if _beats(rows[best], baselines[b], key, worse=True)]
    alike = [b for b in lost[best] if b not in worse]
    than, like = (
        "; ".join(f"{REFERENCES.get(b, b)} ({BY_KEY[key].show(baselines[b]['value'])})" for b in names)
        for names in (worse, alike)
    )
    said = [than and f"is clearly worse than: {than}", like and f"isn't clearly better or worse than: {like}"]
    return (f"- **{label}**: no row is clearly better than every baseline. The best, {best} "
            f"({BY_KEY[key].show(_mean(rows[best]))}), {'; and '.join(filter(None, said))}.")  # fmt: skip


def _mean(figures: Sequence[Mapping[str, float]]) -> float:
    return statistics.fmean(figure["value"] for figure in figures)


def _beats(
    figures: Sequence[Mapping[str, float]], baseline: Mapping[str, float], key: str, *, worse: bool = False
) -> bool:
    """Return whether each seed's figure is better than a baseline's, and apart from it where there is one seed.

    Args:
        worse: ask the opposite.
    """
    sign = 1 if (BY_KEY[key].better == "higher") != worse else -1
    better = all(sign * figure["value"] > sign * baseline["value"] for figure in figures)
    return better and (len(figures) > 1 or not overlap(figures[0], baseline))
