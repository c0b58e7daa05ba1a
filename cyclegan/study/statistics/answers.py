"""Quality of the answers: agreement, response times, stimuli with the highest and lowest rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

TOLERANCE_MS = 50
"""A measured exposure that differs more than this from the planned one is marked."""


def agreement(values: Any, participants: Any, stimuli: Any, level: str = "nominal") -> float | None:
    """Return Krippendorff's alpha: the agreement of participants on the same picture; 1 perfect, 0 by chance.

    Near a fooling rate of 50%, a low value is expected: it describes the answers and doesn't test their quality.

    Args:
        values, participants, stimuli: (N,), one per trial.
        level: nominal; or ordinal, where values are ratings.

    Returns:
        None if no two participants judged the same picture, or all answers are alike.
    """
    import krippendorff
    import pandas as pd

    frame = pd.DataFrame({"y": np.asarray(values, float), "stimulus": np.asarray(stimuli, object),
                          "who": np.asarray(participants, object)}).dropna()
    frame = frame.drop_duplicates(["stimulus", "who"])
    if not len(frame):
        return None
    kinds = sorted(frame["y"].unique())
    counts = frame.groupby(["stimulus", "y"]).size().unstack(fill_value=0)[kinds].to_numpy()
    counts = counts[counts.sum(1) > 1]
    if len(counts) < 2 or (counts.sum(0) > 0).sum() < 2:
        return None
    return float(krippendorff.alpha(value_counts=counts, value_domain=kinds, level_of_measurement=level))


@dataclass(frozen=True)
class Times:
    """Response times of some trials, in ms."""

    trials: int
    median_ms: float | None
    quartiles_ms: tuple[float, float] | None
    range_ms: tuple[float, float] | None
    """The 5th and the 95th percentile."""


def response_times(ms: Any) -> Times:
    """Return median, quartiles, and the range of the middle 90% of the trials."""
    x = np.asarray(ms, float)
    x = x[~np.isnan(x)]
    if not len(x):
        return Times(0, None, None, None)
    low, first, median, third, high = (float(v) for v in np.percentile(x, [5, 25, 50, 75, 95]))
    return Times(len(x), median, (first, third), (low, high))


@dataclass(frozen=True)
class Extreme:
    """A stimulus and its rate, for example of being taken for real."""

    stimulus: str
    rate: float
    trials: int


def extremes(values: Any, stimuli: Any, count: int = 8, least: int = 3) -> tuple[list[Extreme], list[Extreme]]:
    """Return the stimuli with the highest and with the lowest rates, of those judged at least `least` times.

    Sorted by Wilson's bounds (lower for the highest, upper for the lowest), so that 3 of 3 doesn't beat 19 of 20. None
    is in both lists: each has at most half of the stimuli, and one in the middle is among the highest.
    """
    import pandas as pd
    from statsmodels.stats.proportion import proportion_confint

    frame = pd.DataFrame({"y": np.asarray(values, float), "stimulus": np.asarray(stimuli, object)}).dropna()
    table = frame.groupby("stimulus")["y"].agg(["sum", "count"])
    table = table[table["count"] >= least]
    if not len(table):
        return [], []
    table["low"], table["high"] = proportion_confint(table["sum"], table["count"], method="wilson")
    table = table.sort_index()
    highest = table.sort_values("low", ascending=False, kind="stable").head(min(count, (len(table) + 1) // 2))
    # Of those left, because one that many have judged may be first by both bounds.
    lowest = table.drop(highest.index).sort_values("high", kind="stable").head(count)
    return tuple(
        [Extreme(str(name), float(row["sum"] / row["count"]), int(row["count"])) for name, row in rows.iterrows()]
        for rows in (highest, lowest)
    )
