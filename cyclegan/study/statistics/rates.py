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
"""Correlation of a participant's answers if it can't be estimated: like a participant sd of .5 on the logit scale."""
ASSUMED_STIMULUS_CORRELATION = 0.15
"""The same for answers to one stimulus: about a stimulus sd of 1 on the logit scale."""


def seeded(seed: int, purpose: str) -> np.random.Generator:
    """Return the random generator for one purpose within a study."""
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
    """The answers don't show how participants vary; the interval assumes ASSUMED_CORRELATION."""


def clustered_rate(values: Any, participants: Any, weights: Any = None) -> Rate:
    """Return the share of trials with a 95% interval over participants, for the stimuli that were shown.

    The standard error is that of a ratio of sums over participants (statsmodels' `cov_type="cluster"`); the interval is
    taken on the logit scale, with t's quantile for participants − 1 degrees of freedom (Korn and Graubard, Analysis of
    Health Surveys, 1999, 2.2). It covers the mean over all possible participants for these stimuli. Where participants
    don't differ at all, as at a rate of 0 or 1, it would have no width; then Wilson's interval is used, with the trials
    divided by the design effect of ASSUMED_CORRELATION.

    Args:
        values: (N,), 0 to 1, one per trial.
        participants: (N,), who judged.
        weights: (N,), > 0; None: equal.
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
    """Return a 95% interval over participants and stimuli: for other people, and other pictures of the same kind.

    Variances clustered by participant and by stimulus are added, and those by both subtracted (Cameron, Gelbach and
    Miller, Robust inference with multiway clustering, 2011, equation 2.13); then as in `clustered_rate`, with the
    degrees of freedom of the smallest of these groups.

    Args:
        values: (N,), 0 to 1, one per trial.
        participants: (N,), who judged.
        stimuli: one (N,) for each picture of a trial, such as fakes and reals; one that follows from another adds
            nothing.

    Returns:
        None if any of them has fewer than two members.
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
    # With few clusters, the difference can be too small, even negative; the total is at least each of its parts.
    return _logit_interval(rate, max(total, *single), min(counts) - 1)


def wilson_interval(successes: float, trials: float) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share, as if trials were independent."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, trials, alpha=1 - LEVEL, method="wilson")
    share = successes / trials  # Rounding can change the last bit of a bound of 0 or 1.
    return max(0.0, min(float(low), share)), min(1.0, max(float(high), share))


def arrays(values: Any, factors: Sequence[Any], weights: Any) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Return values, factors as numbers from 0, and weights, without trials that have no value."""
    import pandas as pd

    y = np.asarray(values, float)
    there = ~np.isnan(y)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, float)
    return y[there], [pd.factorize(np.asarray(f, object)[there])[0] for f in factors], w[there]


def _cluster_variance(residuals: np.ndarray, cluster: np.ndarray) -> float:
    """Return the variance of the residuals' sum, from sums within clusters."""
    sums = np.bincount(cluster, residuals)
    return float((sums**2).sum() * len(sums) / max(1, len(sums) - 1))


def _cluster_size(cluster: np.ndarray) -> float:
    """Return the size of a cluster as a design effect weighs it: the mean over members."""
    sizes = np.bincount(cluster)
    return float((sizes**2).sum() / sizes.sum())


def _logit_interval(rate: float, variance: float, freedom: int) -> tuple[float, float]:
    from scipy.special import expit, logit
    from scipy.stats import t

    half = t.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(variance) / (rate * (1 - rate))
    return float(expit(logit(rate) - half)), float(expit(logit(rate) + half))


@dataclass(frozen=True)
class PaperFigure:
    """The papers' figure: rate ± sd."""

    rate: float | None
    sd: float | None
    """Standard deviation of the bootstrap, not an interval."""


def paper_figure(values: Any, participants: Any, seed: int) -> PaperFigure:
    """Return rate ± bootstrap standard deviation, as computed by AMT_Real_vs_Fake and printed in the CycleGAN paper.

    Participants are resampled, then trials within each, 10,000 times.
    """
    y, (person,), _ = arrays(values, [participants], None)
    if not len(y):
        return PaperFigure(None, None)
    fooled, trials = np.bincount(person, y), np.bincount(person)
    return PaperFigure(float(y.mean()), float(resampled(fooled, trials, seeded(seed, "paper")).std()))


def resampled(fooled: np.ndarray, trials: np.ndarray, rng: np.random.Generator, people: Any = None) -> np.ndarray:
    """Return rates for resampled participants, and resampled trials within each: (RESAMPLES,)."""
    people = rng.integers(0, len(trials), (RESAMPLES, len(trials))) if people is None else people
    # Drawing from n answers, k of them 1, with replacement gives a binomial number of ones.
    drawn = rng.binomial(trials[people], (fooled / np.maximum(trials, 1))[people])
    return drawn.sum(1) / np.maximum(trials[people].sum(1), 1)


def correlation(values: Any, participants: Any) -> float | None:
    """Return the intra-participant correlation of answers, by analysis of variance.

    Returns:
        1 at most; slightly below 0 if participants differ less than by chance; None if it can't be estimated: all
        answers alike, or fewer than two participants.
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
