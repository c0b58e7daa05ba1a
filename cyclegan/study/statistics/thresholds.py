"""Thresholds of exposure, from adaptive staircases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cyclegan.study.statistics import rates


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of an epoch's participants, in ms."""

    mean_ms: float | None
    """Mean over participants; None if there are none."""
    interval: tuple[float, float] | None
    """95%, by a bootstrap over participants; None with fewer than two."""
    modal_ms: float | None
    """Mean over participants of their commonest exposure, which is HYPE's own figure."""
    each_ms: tuple[float, ...]
    """The participants' thresholds, in ascending order."""
    accuracy: float | None
    """Part of right answers in the trials behind the thresholds."""
    at_least: int
    """Participants whose threshold is the shortest exposure: theirs may be shorter."""
    at_most: int
    """Participants whose threshold is the longest exposure: theirs may be longer."""
    trials: int


def thresholds(
    exposures: Any, correct: Any, participants: Any, *, bounds: tuple[float, float], seed: int
) -> Thresholds:
    """Return each participant's threshold, and their mean.

    A threshold is the mean exposure over the second half of a participant's trials: by then, the staircase has left its
    beginning behind.

    Args:
        exposures: (N,), planned, in ms, in each participant's order.
        correct: (N,), 1 for right answers and 0 for wrong ones.
        participants: (N,).
        bounds: the shortest and the longest exposure.
        seed: of the bootstrap.
    """
    ms, right, who = np.asarray(exposures, float), np.asarray(correct, float), np.asarray(participants, object)
    each, modes, late = [], [], []
    for person in dict.fromkeys(who.tolist()):
        own = np.flatnonzero(who == person)
        half = own[len(own) // 2 :]
        each.append(float(ms[half].mean()))
        late.append(right[half])
        values, counts = np.unique(ms[own], return_counts=True)
        modes.append(float(values[counts.argmax()]))
    if not each:
        return Thresholds(None, None, None, (), None, 0, 0, 0)
    found = np.array(each)
    return Thresholds(
        float(found.mean()), mean_interval(found, seed), float(np.mean(modes)), tuple(sorted(each)),
        float(np.concatenate(late).mean()), int((found <= bounds[0]).sum()), int((found >= bounds[1]).sum()), len(ms),
    )  # fmt: skip


def mean_interval(values: Sequence[float] | np.ndarray, seed: int) -> tuple[float, float] | None:
    """Return a 95% interval of a mean by a bootstrap; None with fewer than two values.

    The percentiles are further out than 2.5% and 97.5%, because the usual ones are too narrow with few values
    (expanded percentile interval: Hesterberg, What teachers should know about the bootstrap, 2015).
    """
    from scipy import stats

    x = np.asarray(values, float)
    if len(x) < 2:
        return None
    means = x[rates.seeded(seed, "thresholds").integers(0, len(x), (rates.RESAMPLES, len(x)))].mean(1)
    t = stats.t.ppf((1 - rates.LEVEL) / 2, len(x) - 1)
    tail = float(stats.norm.cdf(math.sqrt(len(x) / (len(x) - 1)) * t))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
