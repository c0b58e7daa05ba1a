"""Thresholds of exposure in a report, where a staircase has adapted it to each participant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cyclegan.errors import number_of, rounded
from cyclegan.study import statistics
from cyclegan.study.format import Study
from cyclegan.study.report.names import Names, bracketed

if TYPE_CHECKING:
    import pandas as pd

_interval = partial(bracketed, form=".0f")

NOTE = (
    "A staircase adapted the exposure to each participant, so that everyone is right about equally often. Therefore "
    "there is no fooling rate, and the threshold takes its place: the exposure at which a participant is right that "
    "often; the longer, the harder the fakes are to tell from real pictures. It is the mean exposure over the second "
    "half of a participant's trials. The interval is a bootstrap over participants, for these pictures. It doesn't "
    "cover the way that a staircase still has to go at its end: a threshold far from the exposure at which staircases "
    "begin comes out too near to it, and so differences come out too small."
)


BOUNDS = {"yes": "", "short": "≥ ", "long": "≤ "}
"""The sign before a threshold, by whether the staircases have settled."""


def thresholds(study: Study, counted: pd.DataFrame) -> dict[str, Any]:
    """Return the thresholds of each epoch's participants, in ms, and the differences of epochs."""
    protocol = study.protocol
    bounds = (float(protocol.least_exposure_ms), float(protocol.most_exposure_ms))
    # A session judges one epoch, and its real pictures belong to the same staircase.
    arm_of = {epochs[0]: arm for arm, epochs in enumerate(study.arms)}
    rows = counted[counted["correct"].notna()].sort_values(["session_id", "trial_index"], kind="stable")
    found = []
    for epoch in study.epochs:
        of = rows[rows["arm"] == arm_of[epoch]]
        made = statistics.thresholds(of["exposure_planned_ms"], of["correct"], of["participant"], bounds=bounds,
                                     target=protocol.staircase_target, seed=study.seed)
        found.append({"epoch": epoch, "participants": len(made.each_ms), **vars(made)})
    each = [(ms, f"{one['epoch']} {n}", one["epoch"]) for one in found for n, ms in enumerate(one["each_ms"])]
    differences = statistics.differences(*zip(*each, strict=True), [], scale=bounds[1], seed=study.seed) if each else []
    return {"target": protocol.staircase_target, "epochs": found, "differences": [*map(vars, differences)]}


def opening(report: Mapping[str, Any], names: Names) -> str:
    """Return the thresholds, as the end of a sentence about who judged how much."""
    seen = [each for each in report["thresholds"]["epochs"] if each["mean_ms"] is not None]
    parts = [f"{names.full(each['epoch'])}, {BOUNDS[each['settled']]}{_ms(each['mean_ms'])} "
             f"(95% interval {_interval(each['interval'])})"
             for each in seen]  # fmt: skip
    return f". Mean thresholds of exposure: {'; '.join(parts)}." if parts else "."


def words(
    report: Mapping[str, Any], names: Names, table: Callable[[Sequence[str], Sequence[Sequence[Any]]], str],
    percent: Callable[[float | None], str], p: Callable[[float | None], str], picture: Sequence[str],
) -> list[str]:
    """Return the results in words and a table.

    Args:
        report: as `make_report` returns it.
        names: its names, as Markdown reads them.
        table: makes a table of heads and rows.
        percent: writes a share.
        p: writes a p-value.
        picture: the link to the plot, if there is one.
    """
    protocol, found = report["protocol"], report["thresholds"]
    seen = [each for each in found["epochs"] if each["mean_ms"] is not None]
    sentences = [
        f"The mean threshold for {names.full(each['epoch'])} is {_ms(each['mean_ms'])} (95% interval over participants "
        f"{_interval(each['interval'])}; N = {number_of(each['participants'], 'participant')}, "
        f"{number_of(each['trials'], 'trial')})." for each in seen
    ]  # fmt: skip
    low, high = protocol["least_exposure_ms"], protocol["most_exposure_ms"]
    parts = [
        " ".join(sentences), *picture,
        table(
            [names.kind, "threshold", "95%, participants", "modal exposure (HYPE)", "right answers",
             "95%, participants", "not settled", f"at {low} ms", f"at {high} ms", "participants", "trials"],
            [[names.short(e["epoch"]), f"{BOUNDS[e['settled']]}{_ms(e['mean_ms'])}", _interval(e["interval"]),
              _ms(e["modal_ms"]), percent(e["accuracy"]),
              " to ".join(map(percent, e["accuracy_interval"] or ())) or "–", e["unsettled"], e["at_least"],
              e["at_most"], e["participants"], e["trials"]] for e in seen],
        ),
        *(_unsettled(names.first(e["epoch"]), e, found["target"], percent) for e in seen if e["settled"] != "yes"),
        f"“Right answers” is the part of right answers in the trials behind the threshold, and the staircase aims at "
        f"{percent(found['target'])}. “Not settled” counts participants whose own part doesn't fit that (binomial "
        f"test at {statistics.LEAST_P:.0%}). Participants with an exposure of {low} or {high} ms in "
        f"{statistics.BOUND_SHARE:.0%} of these trials may have a threshold beyond it.",
    ]  # fmt: skip
    if found["differences"]:
        many = len(found["differences"])
        holm = f", and Holm's p is corrected for all {many}" if many > 1 else ""
        parts += [
            f"Differences of thresholds between different people: p is a studentised permutation test's{holm}.",
            table(["A − B", "difference (ms)", "95%, participants, uncorrected", "p", "p, Holm", "participants"],
                  [[f"{names.short(d['a'])} − {names.short(d['b'])}", rounded(d["difference"], "+.0f"),
                    bracketed(d["interval"], "+.0f"), p(d["p"]), p(d["p_holm"]), d["participants"]]
                   for d in found["differences"]]),
        ]  # fmt: skip
    return parts


def _unsettled(
    name: str, epoch: Mapping[str, Any], target: float, percent: Callable[[float | None], str]
) -> str:
    """Return the warning that an epoch's staircases have not settled."""
    few, short = ("few", "short") if epoch["settled"] == "short" else ("many", "long")
    bound = "at least" if epoch["settled"] == "short" else "at most"
    return (
        f"**{name}: the staircases had not settled.** Too {few} of the late answers are right, "
        f"{percent(epoch['accuracy'])} instead of {percent(target)}, so the threshold comes out too {short}: read "
        f"it as {bound} {_ms(epoch['mean_ms'])}, whatever its interval says, and take more trials, larger steps or "
        "another exposure_ms in the next study."
    )


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{rounded(value, '.0f')} ms"
