"""A study's plan and its precision: when results are given, and how many participants and pictures more takes."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from cyclegan.errors import StudyError
from cyclegan.study import statistics
from cyclegan.study.format import Study

if TYPE_CHECKING:
    import pandas as pd

CONTRAST_NOTE = (
    "P(A > B) is the share of bootstrap samples of participants and their trials in which A's rate is the higher one, "
    "as AMT_Real_vs_Fake prints it: for these pictures, not corrected for the number of contrasts, and not a p. "
    "Participants for 80% power are for a new study of as many pictures, at the 5% level without correction, for a "
    "difference that holds for other pictures, too. They take the observed difference for the true one, which after a "
    "study (post hoc) is often too optimistic. A dash: no number is enough with so few pictures."
)


FEWEST_PICTURES = 8
"""So many pictures tell how much they differ; of fewer, the usual difference is assumed."""


def plan_of(study: Study, counted: pd.DataFrame) -> dict[str, Any] | None:
    """Return when the protocol gives results, and how far its participants are there; None if it has no plan.

    `state` is "reached" when they are, and before "closed", without results, or "always_valid".
    """
    protocol = study.protocol
    if protocol.results == "open":
        return None
    people = counted.groupby("arm")["participant"].nunique()
    least = min(int(people.get(arm, 0)) for arm in range(len(study.arms)))
    state = "reached" if least >= protocol.planned_participants else protocol.results
    return {"results": protocol.results, "participants": protocol.planned_participants, "least": least, "state": state}


def needed_for(study: Study, rate: statistics.Rate, rows: pd.DataFrame) -> dict[str, Any]:
    """Return the participants and pictures needed for ± 5 and ± 3 points, from an epoch's votes so far."""
    assumed, icc, pictures = _correlations(study, rows)
    trials = statistics.trials_per_epoch(study.protocol, len(study.epochs))
    expected, known = 0.27, math.inf
    if rate.rate is not None and assumed:
        expected = statistics.cautious_rate(rate.rate, rate.trials / (1 + (trials - 1) * icc))
    elif rate.rate is not None:
        expected, known = statistics.planning_rate(rate.rate), rate.participants - 1
    crossed_known = min([known, *(count - 1 for _, count in pictures)])
    plan = (expected, icc, trials)
    needed: dict[str, Any] = {
        "rate": expected, "correlation": icc, "assumed": assumed, "trials_each": trials,
        "pictures": min(count for _, count in pictures), "pictures_correlation": sum(each for each, _ in pictures),
        "crossed_least": statistics.half_width(statistics.MOST, *plan, pictures, crossed_known),
    }  # fmt: skip
    for points in (5, 3):
        width = points / 100
        total = statistics.participants_for(width, *plan, known=known)
        reached = False  # What has been reached needs nobody else, and what hasn't needs somebody.
        if rate.interval and total is not None and not rate.assumed:
            reached = (rate.interval[1] - rate.interval[0]) / 2 <= width
            total = total if reached else max(total, rate.participants + 1)
        needed[f"for_{points}_points"] = total
        still = None if total is None else max(0, total - rate.participants)
        needed[f"still_for_{points}_points"] = 0 if reached else still
        needed[f"crossed_for_{points}_points"] = statistics.participants_for(width, *plan, pictures, crossed_known)
        needed[f"pictures_for_{points}_points"] = statistics.pictures_for(width, *plan, pictures, crossed_known)
    return needed


def mean_correlations(study: Study, rows: pd.DataFrame) -> tuple[float, list[tuple[float, int]]]:
    """Return the correlations of `_correlations`, averaged over the epochs that can estimate them."""
    found = [_correlations(study, of_epoch) for _, of_epoch in rows.groupby("epoch")]
    found = [each for each in found if not each[0]] or found
    icc = sum(each[1] for each in found) / len(found)
    roles = zip(*(each[2] for each in found), strict=True)
    return icc, [(sum(each for each, _ in role) / len(role), min(count for _, count in role)) for role in roles]


def _correlations(study: Study, rows: pd.DataFrame) -> tuple[bool, float, list[tuple[float, int]]]:
    """Return whether correlations are assumed, that within participants, and those within pictures with their numbers.

    The pictures are those that a study's sessions can show in the test: an epoch's fakes, and the real pictures next to
    them where these vary on their own.
    """
    planned, columns = [0, 0], roles(study)
    with contextlib.suppress(StudyError):  # A report needs no secret; without it, those that were shown count.
        planned = [len(study.sequences.test_scenes), len(study.sequences.test_reals)]
    counts = [max(2, count, rows[column].nunique()) for count, column in zip(planned, columns, strict=False)]
    icc = statistics.correlation(rows["fooled"], rows["participant"])
    if icc is None or rows["participant"].nunique() < statistics.MIN_PARTICIPANTS:
        return True, statistics.ASSUMED_CORRELATION, list(statistics.assumed_pictures(counts))
    # A handful of pictures can't show how much pictures differ: by chance, not at all.
    found = [statistics.correlation(rows["fooled"], rows[column])
             if rows[column].nunique() >= FEWEST_PICTURES else None for column in columns]  # fmt: skip
    assumed = statistics.assumed_pictures(counts)
    pictures = [
        one if each is None else (max(0.0, each), one[1]) for each, one in zip(found, assumed, strict=True)
    ]
    return False, max(0.0, icc), pictures


def roles(study: Study) -> list[str]:
    """Return the columns of a trial's pictures that vary on their own, unlike a real picture of the fake's scene."""
    alone = study.protocol.presentation == "single" or study.protocol.pairing == "same"
    return ["stimulus"] if alone else ["stimulus", "partner"]
