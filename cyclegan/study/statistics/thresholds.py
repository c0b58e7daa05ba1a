"""Thresholds of exposure, from adaptive staircases, and how far they can be trusted.

A staircase ends where the share of right answers is its target's, if it has enough trials to get there. One that hasn't
stops between its beginning and the threshold, which its own answers reveal: too many of them are right, or too few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cyclegan.study.statistics import rates

BOUND_SHARE = 0.25
"""Part of the late trials from which on an exposure counts as being at its bound."""
LEAST_P = 0.01
"""A participant's staircase has not settled if late right answers as theirs have less than this probability."""
TOLERANCE = 0.02
"""Part of right answers by which an epoch's late trials may miss the target. Where the mean threshold is right, 150
trials end that near to it."""


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
    """Part of right answers in the late trials, which are those behind the thresholds."""
    accuracy_interval: tuple[float, float] | None
    """95%, over participants."""
    settled: str | None
    """yes; short: too few late answers are right, so that the thresholds are longer than found; long: the contrary."""
    unsettled: int
    """Participants whose own late answers don't fit the target, see LEAST_P."""
    at_least: int
    """Participants with the shortest exposure in BOUND_SHARE of the late trials: their threshold may be shorter."""
    at_most: int
    """Participants with the longest exposure in as many: their threshold may be longer."""
    trials: int


def thresholds(
    exposures: Any, correct: Any, participants: Any, *, bounds: tuple[float, float], target: float, seed: int
) -> Thresholds:
    """Return each participant's threshold, and their mean.

    A threshold is the mean exposure over the second half of a participant's trials, the late ones.

    Args:
        exposures: (N,), planned, in ms, in each participant's order.
        correct: (N,), 1 for right answers and 0 for wrong ones.
        participants: (N,).
        bounds: the shortest and the longest exposure.
        target: the part of right answers at which the staircase settles.
        seed: of the bootstrap.
    """
    ms, right, who = np.asarray(exposures, float), np.asarray(correct, float), np.asarray(participants, object)
    each, modes, late = [], [], []
    for person in dict.fromkeys(who.tolist()):
        own = np.flatnonzero(who == person)
        late.append(own[len(own) // 2 :])
        each.append(float(ms[late[-1]].mean()))
        values, counts = np.unique(ms[own], return_counts=True)
        modes.append(float(values[counts.argmax()]))
    if not each:
        return Thresholds(None, None, None, (), None, None, None, 0, 0, 0, 0)
    found, behind = np.array(each), np.concatenate(late)
    share = rates.clustered_rate(right[behind], who[behind])
    return Thresholds(
        float(found.mean()), mean_interval(found, seed), float(np.mean(modes)), tuple(sorted(each)),
        share.rate, share.interval, _settled(share, target), sum(_p(right[own], target) < LEAST_P for own in late),
        sum(float(np.mean(ms[own] <= bounds[0])) >= BOUND_SHARE for own in late),
        sum(float(np.mean(ms[own] >= bounds[1])) >= BOUND_SHARE for own in late), len(ms),
    )  # fmt: skip


def _settled(share: rates.Rate, target: float) -> str:
    if share.rate is None or share.interval is None or abs(share.rate - target) <= TOLERANCE:
        return "yes"
    low, high = share.interval
    return "short" if high < target else "long" if low > target else "yes"


def _p(right: np.ndarray, target: float) -> float:
    from scipy import stats

    return float(stats.binomtest(int(right.sum()), len(right), target).pvalue)


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
