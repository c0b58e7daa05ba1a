"""Ratings from 1 to 5, of the task `rate`: mean opinion scores, and their differences."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cyclegan.study.protocol import RATINGS
from cyclegan.study.statistics import rates
from cyclegan.study.statistics.epochs import holm
from cyclegan.study.statistics.permutations import slope

STEPS = len(RATINGS) - 1
"""Steps of the scale: a rating is 1 + STEPS times a share."""


@dataclass(frozen=True)
class Opinion:
    """The mean opinion score of some pictures."""

    mean: float | None
    """1 to 5; None if there is no rating."""
    interval: tuple[float, float] | None
    """95%, over participants, for these pictures."""
    interval_crossed: tuple[float, float] | None
    """95%, over participants and pictures."""
    sd: float | None
    """Standard deviation of single ratings."""
    counts: tuple[int, ...]
    """Number of ratings from 1 to 5."""
    participants: int
    trials: int
    pictures: int


def opinion(ratings: Any, participants: Any, pictures: Any) -> Opinion:
    """Return the mean of ratings with its intervals.

    They are those of `clustered_rate` and `crossed_interval` for the share (rating − 1) / 4, so that they stay within
    the scale.

    Args:
        ratings: (N,), 1 to 5.
        participants, pictures: (N,).
    """
    x = np.asarray(ratings, float)
    share = (x - 1) / STEPS
    found = rates.clustered_rate(share, participants)
    counts = tuple(int((x == value).sum()) for value in range(1, len(RATINGS) + 1))
    if found.rate is None:
        return Opinion(None, None, None, None, counts, 0, 0, 0)
    crossed = rates.crossed_interval(share, participants, [pictures])
    sd = float(x.std(ddof=1)) if len(x) > 1 else None
    return Opinion(1 + STEPS * found.rate, _scaled(found.interval), _scaled(crossed), sd, counts, found.participants,
                   found.trials, len(set(pictures)))


def _scaled(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (1 + STEPS * interval[0], 1 + STEPS * interval[1])


@dataclass(frozen=True)
class Difference:
    """Two conditions compared by their means."""

    a: int
    b: int
    difference: float
    """Mean of participants' values, a − b."""
    interval: tuple[float, float] | None
    """95%, over participants and pictures, not corrected for the number of differences."""
    p: float
    """From a studentised permutation test, two-sided."""
    p_holm: float
    """p corrected for all differences of the study."""
    participants: int


def differences(
    values: Any, participants: Any, conditions: Any, pictures: Sequence[Any], *, scale: float, seed: int
) -> list[Difference]:
    """Compare every condition with every other, the later one first, where enough people have judged them.

    Where the same people have judged both conditions, each is compared with themselves.

    Args:
        values: (N,), within `scale` of each other, such as ratings.
        participants: (N,).
        conditions: (N,), whole numbers.
        pictures: one (N,) for each way in which pictures are alike, such as the scenes.
        scale: the largest difference that there can be.
        seed: of the permutations.
    """
    share, who = np.asarray(values, float) / scale, np.asarray(participants, object)
    conditions = np.asarray(conditions)
    people = {each: set(who[conditions == each]) for each in sorted(set(conditions.tolist()))}
    found = []
    for b, a in itertools.combinations(people, 2):
        steps = np.where(conditions == a, 1.0, np.where(conditions == b, 0.0, np.nan))
        paired = bool(people[a] & people[b])
        rng = rates.seeded(seed, f"difference {a} {b}")
        test = slope(share, who, steps, pictures, paired=paired, rng=rng)
        if test is not None:
            interval = None if test.interval is None else (scale * test.interval[0], scale * test.interval[1])
            found.append(Difference(a, b, scale * test.value, interval, test.p, test.p, test.participants))
    corrected = holm(np.array([each.p for each in found])).tolist() if found else []
    return [replace(each, p_holm=p) for each, p in zip(found, corrected, strict=True)]
