"""The test of a slope over steps, such as epochs, for other participants and other pictures of the same kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cyclegan.study.statistics import rates

BLOCK = 1000
"""Permutations that are computed at once, which limits the memory."""
_Drawn = tuple[np.ndarray, np.ndarray, np.ndarray | float]


@dataclass(frozen=True)
class Slope:
    """Mean change of participants' rates from one step to the next."""

    value: float
    interval: tuple[float, float] | None
    """95%, over participants and pictures; None if the answers don't show how they vary."""
    p: float
    """From a studentised permutation test, two-sided."""
    participants: int


def slope(
    values: Any, participants: Any, steps: Any, pictures: Sequence[Any], *, paired: bool, rng: np.random.Generator
) -> Slope | None:
    """Return the slope of participants' rates over steps; with two steps, 0 and 1, it is their difference.

    Each step's pictures have a difficulty of their own, so a difference has to exceed what other pictures would change:
    its variance is clustered by participant and by picture. p compares the ratio of the slope to its error with the
    ratios after exchanging participants between steps or, where each judged several, after reversing the steps of some.
    That is exact if pictures don't differ. If they do, the error, which includes them, keeps the size of the test
    (Chung and Romano, Exact and asymptotically robust permutation tests, 2013); `benchmarks.study_contrasts` measures
    it. The interval takes the 95% quantile of the same ratios, so it excludes 0 where p is below 5%; with few
    participants it takes Student's t, which is larger.

    Args:
        values: (N,), 0 to 1, one per trial.
        participants: (N,), who judged.
        steps: (N,), numbers; NaN for trials that aren't compared.
        pictures: one (N,) for each picture of a trial.
        paired: each participant judged several steps, and is compared with themselves; those with one are left out.

    Returns:
        None if there are fewer than two steps or two participants, or two steps and one of them has one participant.
    """
    from scipy import stats

    steps = np.asarray(steps, float)
    values = np.where(np.isnan(steps), np.nan, np.asarray(values, float))
    y, (who, *factors), x = rates.arrays(values, [participants, *pictures], steps)
    levels, place = np.unique(x, return_inverse=True)
    if paired:
        seen = np.bincount(np.unique(who * len(levels) + place) // max(1, len(levels)))
        keep = seen[who] > 1
        y, place, who, *factors = (each[keep] for each in (y, place, who, *factors))
        who = np.unique(who, return_inverse=True)[1]
    else:  # Whoever judged several counts for each.
        who = np.unique(who * len(levels) + place, return_inverse=True)[1]
    people = int(who.max()) + 1 if len(who) else 0
    sizes = np.bincount(np.unique(who * len(levels) + place) % max(1, len(levels)), minlength=len(levels))
    if len(levels) < 2 or people < 2 or (len(levels) == 2 and sizes.min() < 2):
        return None
    scores, shares, draws = (_reversed if paired else _exchanged)(y, who, place, levels, rng)
    estimate, variance = _ratios(scores, shares, who, _coarsest(factors), draws)
    error, ratio = np.sqrt(np.maximum(variance, 1e-24)), np.abs(estimate)
    ratio = np.where(ratio < 1e-12, 0, ratio / error)
    found, interval = float(estimate[0]), None
    if error[0] > 1e-9:
        t = float(stats.t.ppf((1 + rates.LEVEL) / 2, people - (1 if paired else len(levels))))
        half = float(error[0]) * max(t, float(np.quantile(ratio, rates.LEVEL, method="higher")))
        interval = found - half, found + half
    return Slope(found, interval, float((ratio >= ratio[0] * (1 - 1e-9)).mean()), people)


def _coarsest(factors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return factors from 0 without those from which another follows, such as a fake from which its scene follows."""
    found: list[np.ndarray] = []
    for factor in (np.unique(each, return_inverse=True)[1] for each in factors):
        pairs = [len(np.unique(factor * (other.max() + 1) + other)) for other in found]
        if any(count == factor.max() + 1 for count in pairs):
            continue
        found = [other for other, count in zip(found, pairs, strict=True) if count > other.max() + 1] + [factor]
    return found


def _reversed(
    y: np.ndarray, who: np.ndarray, place: np.ndarray, levels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Iterator[_Drawn]]:
    """Return the parts of the mean of participants' slopes, and draws in which some are reversed; see `_ratios`."""
    people, size = int(who.max()) + 1, len(levels)
    counts = np.bincount(who * size + place, minlength=people * size).reshape(people, size)
    there = counts > 0
    means = np.bincount(who * size + place, y, people * size).reshape(people, size) / np.maximum(counts, 1)
    steps = np.where(there, levels - (levels * there).sum(1, keepdims=True) / there.sum(1, keepdims=True), 0)
    weight = steps / (steps**2).sum(1, keepdims=True) / people / np.maximum(counts, 1)
    own = (means * there).sum(1) / there.sum(1)
    scores, shares = weight[who, place] * (y - own[who]), (weight * steps)[who, place]
    of_each = np.bincount(who, scores)

    def draws() -> Iterator[_Drawn]:
        signs = np.ones((1, people))
        for count in _blocks():
            signs = np.concatenate([signs, rng.choice([-1.0, 1.0], (count, people))])
            yield signs, np.repeat((signs @ of_each)[:, None], people, 1), people / (people - 1)
            signs = np.ones((0, people))

    return scores, shares, draws()


def _exchanged(
    y: np.ndarray, who: np.ndarray, place: np.ndarray, levels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Iterator[_Drawn]]:
    """Return the parts of a line over all participants' rates, and draws in which they change places; see `_ratios`."""
    shares = 1 / np.bincount(who)[who]
    means = np.bincount(who, y * shares)
    scores, means = shares * (y - means.mean()), means - means.mean()
    step = np.zeros(len(means), int)
    step[who] = place
    sizes = np.bincount(step, minlength=len(levels))
    weight = levels - np.average(levels, weights=sizes)
    weight = weight / (sizes * weight**2).sum()
    correction = sizes / np.maximum(sizes - 1, 1)

    def draws() -> Iterator[_Drawn]:
        order = step[None]
        for count in _blocks():
            order = np.concatenate([order, rng.permuted(np.tile(step, (count, 1)), axis=1)])
            of_step = np.stack([((order == n) * means).sum(1) / sizes[n] for n in range(len(levels))], 1)
            yield weight[order], weight[order] * np.take_along_axis(of_step, order, 1), correction[order]
            order = order[:0]

    return scores, shares, draws()


def _blocks() -> Iterator[int]:
    """Return the numbers of permutations to draw at once."""
    left = rates.RESAMPLES - 1
    while left > 0:
        yield min(BLOCK, left)
        left -= BLOCK


def _ratios(
    scores: np.ndarray, shares: np.ndarray, who: np.ndarray, pictures: Sequence[np.ndarray], draws: Iterator[_Drawn]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the slope and its variance in each draw, the observed one first: (RESAMPLES,) each.

    In a draw, participant i's trial t adds `factor[i] * scores[t]` to the slope, and its residual is that minus
    `fitted[i] * shares[t]`. The variance adds those clustered by participant and by each picture, less that of trials,
    which each contains.

    Args:
        scores, shares, who: (N,).
        pictures: (N,) each.
        draws: (factor, fitted, correction for small samples): (draws, participants) each, or one number.
    """
    people = int(who.max()) + 1

    def of(cluster: np.ndarray, what: np.ndarray) -> np.ndarray:
        size = int(cluster.max()) + 1
        return np.bincount(who * size + cluster, what, people * size).reshape(people, size)

    own = [np.bincount(who, what) for what in (scores, shares, scores**2, scores * shares, shares**2)]
    tables = [(of(picture, scores), of(picture, shares)) for picture in pictures]
    estimates, variances = [], []
    for factor, fitted, correction in draws:
        estimates.append(factor @ own[0])
        root = np.sqrt(correction)
        factor, fitted = factor * root, fitted * root
        largest = total = ((factor * own[0] - fitted * own[1]) ** 2).sum(1)
        trial = factor**2 @ own[2] - 2 * (factor * fitted) @ own[3] + fitted**2 @ own[4]
        for one, other in tables:
            size = one.shape[1]
            clustered = ((factor @ one - fitted @ other) ** 2).sum(1) * size / max(1, size - 1)
            total = total + clustered - trial
            largest = np.maximum(largest, clustered)
        # With few clusters, the difference can be too small, even negative; the total is at least each of its parts.
        variances.append(np.maximum(total, largest))
    return np.concatenate(estimates), np.concatenate(variances)
