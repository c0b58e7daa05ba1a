"""The epoch that a file of scores speaks for, in words, with the evidence and with what speaks against it."""

from __future__ import annotations

from cyclegan.config import Direction
from cyclegan.errors import Message, message
from cyclegan.evaluation.scores.report import Report
from cyclegan.evaluation.scores.table import BY_KEY, ScoreFigure
from cyclegan.evaluation.scores.tables import LABELS

CHOOSING = ("kid", "seg_iou", "labels_iou", "pairs_l1", "fid")
"""The figures that a recommendation rests on; the first one that was measured counts."""
NAMED = 6
"""Epochs that a sentence lists at most."""


def recommendation(report: Report, way: Direction) -> list[Message]:
    """Return sentences about a direction's epochs: the best one, its equals, and baselines that it doesn't beat.

    Returns [] where fewer than two epochs have a figure of `CHOOSING`, apart from the baselines' sentence.
    """
    for figure in (BY_KEY[key] for key in CHOOSING):
        values = {
            scores["epoch"]: value for tag, scores in report.section(way, "scores").items()
            if (value := report.value(way, "scores", tag, figure.score, figure.key)) is not None
        }  # fmt: skip
        if values:
            return _sentences(report, way, figure, dict(sorted(values.items())))
    return []


def _sentences(
    report: Report, way: Direction, figure: ScoreFigure, values: dict[int, dict[str, float]]
) -> list[Message]:
    lower = figure.better == "lower"
    best = min(values, key=lambda epoch: values[epoch]["value"] * (1 if lower else -1))
    said = []
    if len(values) > 1:
        extreme = message("the lowest") if lower else message("the highest")
        said.append(message(
            "epoch {epoch} has {extreme} {figure} ({value})", epoch=best, extreme=extreme, figure=figure.label,
            value=figure.show(values[best]["value"]),
        ))  # fmt: skip
        low, high = (values[best].get(end, values[best]["value"]) for end in ("low", "high"))
        equals = [epoch for epoch, value in values.items() if epoch != best and low <= value["value"] <= high]
        if equals:
            shown = ", ".join(map(str, equals[:NAMED])) + (" …" if len(equals) > NAMED else "")
            said.append(message(
                "within its interval, so hardly worse: epoch {epochs}",
                "within its interval, so hardly worse: epochs {epochs}", len(equals), epochs=shown,
            ))  # fmt: skip
    unbeaten = [
        LABELS[name] for name in report.section(way, "baselines")
        if (plain := report.value(way, "baselines", name, figure.score, figure.key)) is not None
        and (plain["value"] <= values[best]["value"] if lower else plain["value"] >= values[best]["value"])
    ]  # fmt: skip
    if unbeaten:
        listed = unbeaten[0]
        for each in unbeaten[1:]:
            listed = message("{first}; {second}", first=listed, second=each)
        said.append(message(
            "by {figure}, no epoch beats these answers, which need no network: {baselines}", figure=figure.label,
            baselines=listed,
        ))  # fmt: skip
    return said
