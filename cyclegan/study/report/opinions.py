"""Ratings in a report: mean opinion scores of each epoch and of the real pictures among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cyclegan.errors import number_of, rounded
from cyclegan.study import statistics
from cyclegan.study.format import Study
from cyclegan.study.protocol import RATINGS
from cyclegan.study.report.names import Names, bracketed

if TYPE_CHECKING:
    import pandas as pd

_interval = partial(bracketed, form=".2f")

REAL = 0
"""The real pictures' number among the conditions, which are otherwise epochs."""
NOTE = (
    "Ratings are on the scale of absolute category rating (ITU-T P.910): 5 excellent, 4 good, 3 fair, 2 poor, 1 bad. "
    "Real pictures were among them without being named, as a hidden reference: their mean is what the best fakes can "
    "expect. The interval over participants holds for these pictures and other people; the crossed one, and "
    "differences, for other people and other pictures of the same kind."
)


def opinions(study: Study, counted: pd.DataFrame) -> dict[str, Any]:
    """Return the mean opinion score of each epoch and of real pictures, and their differences.

    In `conditions`, `epoch` is None for the real pictures; in `differences`, `a` and `b` are.
    """
    rows = counted[counted["rating"].notna()]
    rows = rows.assign(condition=rows["epoch"].where(rows["truth"] != "real", REAL).astype(int))
    conditions = []
    for number in (*study.epochs, REAL):
        of = rows[rows["condition"] == number]
        found = statistics.opinion(of["rating"], of["participant"], of["left_stimulus"])
        conditions.append({"epoch": number or None, **vars(found)})
    scenes = [study.shown_scene(sha) for sha in rows["left_stimulus"]]
    found = statistics.differences(rows["rating"], rows["participant"], rows["condition"], [scenes],
                                   scale=statistics.STEPS, seed=study.seed)
    differences = [{**vars(each), "a": each.a or None, "b": each.b or None} for each in found]
    return {"scale": list(RATINGS), "trials": len(rows), "participants": rows["participant"].nunique(),
            "conditions": conditions, "differences": differences}


def opening(report: Mapping[str, Any], names: Names) -> str:
    """Return how the fakes were rated, as the end of a sentence about who judged how much."""
    parts = []
    for each in report["mos"]["conditions"]:
        if each["mean"] is not None:
            what = "real pictures" if each["epoch"] is None else f"fakes of {names.full(each['epoch'])}"
            parts.append(f"{what} were rated {_score(each['mean'])} (95% interval {_interval(each['interval'])})")
    return f" on a scale from 1 (bad) to 5 (excellent): {', '.join(parts)}."


def words(
    report: Mapping[str, Any], names: Names, table: Callable[[Sequence[str], Sequence[Sequence[Any]]], str],
    p: Callable[[float | None], str], picture: Sequence[str],
) -> list[str]:
    """Return the results in words and tables.

    Args:
        report: as `make_report` returns it.
        names: its names, as Markdown reads them.
        table: makes a table of heads and rows.
        p: writes a p-value.
        picture: the link to the plot, if there is one.
    """
    mos = report["mos"]

    def name(epoch: int | None) -> str:
        return "real pictures" if epoch is None else names.short(epoch)

    seen = [each for each in mos["conditions"] if each["mean"] is not None]
    sentences = []
    for e in seen:
        what = "Real pictures" if e["epoch"] is None else f"Fakes of {names.full(e['epoch'])}"
        both = f"; over participants and pictures {_interval(e['interval_crossed'])}" if e["interval_crossed"] else ""
        sentences.append(
            f"{what} have a mean opinion score of {_score(e['mean'])} (95% interval over participants "
            f"{_interval(e['interval'])}{both}; N = {number_of(e['participants'], 'participant')}, "
            f"{number_of(e['trials'], 'rating')} of {number_of(e['pictures'], 'picture')})."
        )
    parts = [" ".join(sentences), *picture, table(
        [names.kind, "mean opinion score", "95%, participants", "95%, crossed", "sd of a rating",
         *(f"{n} {word}" for n, word in enumerate(mos["scale"], 1)), "participants", "pictures"],
        [[name(e["epoch"]), _score(e["mean"]), _interval(e["interval"]), _interval(e["interval_crossed"]),
          _score(e["sd"]), *e["counts"], e["participants"], e["pictures"]] for e in seen],
    )]  # fmt: skip
    if found := mos["differences"]:
        holm = f" Holm's p is corrected for all {len(found)} differences." if len(found) > 1 else ""
        parts.append(
            "Differences of scores, with 95% intervals over participants and pictures that aren't corrected for their "
            f"number. p is a studentised permutation test's.{holm}"
        )
        parts.append(table(
            ["A − B", "difference", "95%, crossed, uncorrected", "p", "p, Holm", "participants"],
            [[f"{name(d['a'])} − {name(d['b'])}", rounded(d["difference"], "+.2f"), bracketed(d["interval"], "+.2f"),
              p(d["p"]), p(d["p_holm"]), d["participants"]] for d in found],
        ))  # fmt: skip
    return parts


def _score(value: float | None) -> str:
    return "–" if value is None else rounded(value, ".2f")
