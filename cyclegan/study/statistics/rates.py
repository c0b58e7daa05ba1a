"""Rates with intervals over participants, and over participants and stimuli."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
"""Resamples of the papers' bootstrap; permutation tests use one less, so that their p is a round share."""
ASSUMED_CORRELATION = 0.05
"""Of a participant's answers, where it can't be estimated; a participant sd of .5 on the logit scale amounts to it."""
ASSUMED_STIMULUS_CORRELATION = 0.15
"""The same for answers to one stimulus: about a stimulus sd of 1 on the logit scale."""


def seeded(seed: int, purpose: str) -> np.random.Generator:
    """The random numbers of one purpose within a study."""
    return np.random.default_rng(zlib.crc32(f"{seed}|{purpose}".encode()))


@dataclass(frozen=True)
class Rate:
    """A share of trials with its interval over participants."""

    rate: float | None
    """None if there is no trial."""
    interval: tuple[float, float] | None
    participants: int
    trials: int
    assumed: bool = False
    """Participants could not show how their answers vary; the interval assumes ASSUMED_CORRELATION."""


def clustered_rate(values: Any, participants: Any, weights: Any = None) -> Rate:
    """The share of trials with a 95% interval over participants, for the stimuli that were shown.

    The standard error is that of a ratio of sums over participants (statsmodels' `cov_type="cluster"`); the interval is
    taken on the logit scale, with t's quantile for participants − 1 degrees of freedom (Korn and Graubard, Analysis of
    Health Surveys, 1999, 2.2). It covers what the mean over all possible participants would be of these stimuli. Where
    participants don't differ at all, as at a rate of 0 or 1, that would have no width: then it is Wilson's, with the
    trials divided by the design effect of ASSUMED_CORRELATION.

    Args:
        values: (N,), 0 to 1, one per trial.
        participants: (N,), whose trial it is.
        weights: (N,), > 0; None: all alike.
    """
    y, (person,), w = arrays(values, [participants], weights)
    if not len(y):
        return Rate(None, None, 0, 0)
    rate, count = float(np.average(y, weights=w)), int(person.max()) + 1
    variance = _cluster_variance(w * (y - rate), person) / w.sum() ** 2 if count > 1 else 0.0
    if count < 2 or variance < 1e-12 or not 0 < rate < 1:
        design = 1 + (_cluster_size(person) - 1) * ASSUMED_CORRELATION
        return Rate(rate, wilson_interval(rate * len(y) / design, len(y) / design), count, len(y), assumed=True)
    return Rate(rate, _logit_interval(rate, variance, count - 1), count, len(y))


def crossed_interval(values: Any, participants: Any, stimuli: Sequence[Any]) -> tuple[float, float] | None:
    """A 95% interval over participants and stimuli: for other people, and other pictures of the same kind.

    Variances clustered by participant and by stimulus are added, and those by both subtracted (Cameron, Gelbach and
    Miller, Robust inference with multiway clustering, 2011, equation 2.13); then as in `clustered_rate`, with the
    degrees of freedom of whichever there are fewest of.

    Args:
        values: (N,), 0 to 1, one per trial.
        participants: (N,), whose trial it is.
        stimuli: one (N,) for each picture of a trial, say the fakes and the reals; one that follows from another adds
            nothing.

    Returns:
        None if there are fewer than two of any of them.
    """
    y, factors, w = arrays(values, [participants, *stimuli], None)
    counts = [int(factor.max()) + 1 if len(y) else 0 for factor in factors]
    if min(counts) < 2:
        return None
    rate, total, single = float(y.mean()), 0.0, []
    for size in range(1, len(factors) + 1):
        for chosen in itertools.combinations(factors, size):
            both = np.unique(np.stack(chosen), axis=1, return_inverse=True)[1].ravel() if size > 1 else chosen[0]
            variance = _cluster_variance(y - rate, both) / len(y) ** 2
            total += variance if size % 2 else -variance
            single += [variance] if size == 1 else []
    if max(single) < 1e-12 or not 0 < rate < 1:
        design = 1 + (_cluster_size(factors[0]) - 1) * ASSUMED_CORRELATION
        design += max((_cluster_size(factor) - 1) * ASSUMED_STIMULUS_CORRELATION for factor in factors[1:])
        return wilson_interval(rate * len(y) / design, len(y) / design)
    # With few clusters, the difference can come out too small, even below 0; the whole is no less than its parts.
    return _logit_interval(rate, max(total, *single), min(counts) - 1)


def wilson_interval(successes: float, trials: float) -> tuple[float, float]:
    """Wilson's 95% interval of a share, as if trials were independent."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, trials, alpha=1 - LEVEL, method="wilson")
    share = successes / trials  # Rounding can move a bound of 0 or 1 by the last bit.
    return max(0.0, min(float(low), share)), min(1.0, max(float(high), share))


def arrays(values: Any, factors: Sequence[Any], weights: Any) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Values, factors as numbers from 0, and weights; without trials that have no value."""
    import pandas as pd

    y = np.asarray(values, float)
    there = ~np.isnan(y)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, float)
    return y[there], [pd.factorize(np.asarray(f, object)[there])[0] for f in factors], w[there]


def _cluster_variance(residuals: np.ndarray, cluster: np.ndarray) -> float:
    """Variance of the residuals' sum, from sums within clusters."""
    sums = np.bincount(cluster, residuals)
    return float((sums**2).sum() * len(sums) / max(1, len(sums) - 1))


def _cluster_size(cluster: np.ndarray) -> float:
    """Members of a cluster, as a design effect weighs them: the mean over members."""
    sizes = np.bincount(cluster)
    return float((sizes**2).sum() / sizes.sum())


def _logit_interval(rate: float, variance: float, freedom: int) -> tuple[float, float]:
    from scipy.special import expit, logit
    from scipy.stats import t

    half = t.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(variance) / (rate * (1 - rate))
    return float(expit(logit(rate) - half)), float(expit(logit(rate) + half))


@dataclass(frozen=True)
class PaperFigure:
    """What the papers print: rate ± sd."""

    rate: float | None
    sd: float | None
    """Standard deviation of the bootstrap; no interval."""


def paper_figure(values: Any, participants: Any, seed: int) -> PaperFigure:
    """Rate ± bootstrap standard deviation, as AMT_Real_vs_Fake computes it and the CycleGAN paper's tables print it.

    Participants are resampled, then trials within each, 10,000 times.
    """
    y, (person,), _ = arrays(values, [participants], None)
    if not len(y):
        return PaperFigure(None, None)
    fooled, trials = np.bincount(person, y), np.bincount(person)
    return PaperFigure(float(y.mean()), float(resampled(fooled, trials, seeded(seed, "paper")).std()))


def resampled(fooled: np.ndarray, trials: np.ndarray, rng: np.random.Generator, people: Any = None) -> np.ndarray:
    """Rates when participants and then their trials are drawn again: (RESAMPLES,)."""
    people = rng.integers(0, len(trials), (RESAMPLES, len(trials))) if people is None else people
    # Drawing from n answers, k of them 1, with replacement gives a binomial number of ones.
    drawn = rng.binomial(trials[people], (fooled / np.maximum(trials, 1))[people])
    return drawn.sum(1) / np.maximum(trials[people].sum(1), 1)


def correlation(values: Any, participants: Any) -> float | None:
    """How much a participant's answers resemble each other: the intra-participant correlation, by analysis of variance.

    Returns:
        1 at most; a little below 0 where participants differ less than chance would have it; None where answers can't
        show it: all alike, or fewer than two participants.
    """
    y, (person,), _ = arrays(values, [participants], None)
    sizes = np.bincount(person) if len(y) else np.zeros(0)
    if len(sizes) < 2 or len(y) <= len(sizes) or not y.std():
        return None
    means = np.bincount(person, y) / sizes
    between = float((sizes * (means - y.mean()) ** 2).sum() / (len(sizes) - 1))
    within = float(((y - means[person]) ** 2).sum() / (len(y) - len(sizes)))
    size = (len(y) - (sizes**2).sum() / len(y)) / (len(sizes) - 1)
    return (between - within) / (between + (size - 1) * within)
