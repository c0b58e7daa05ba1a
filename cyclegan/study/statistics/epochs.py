"""Comparisons of epochs by their rates: trend and contrasts."""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.study.statistics import rates

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Trend:
    """Change of the rate from epoch to epoch."""

    points_per_step: float
    """Slope of a straight line over the order of the study's epochs, 0 to 1."""
    interval: tuple[float, float] | None
    p: float
    """From a permutation test, two-sided."""
    participants: int


def trend(values: Any, participants: Any, epochs: Any, *, paired: bool, seed: int) -> Trend | None:
    """Fit a straight line to the participants' rates over the order of the epochs.

    Args:
        values, participants, epochs: (N,), one per trial.
        paired: each participant judged several epochs; a line is fitted for each, and the test flips the signs of
            their slopes. Otherwise the test exchanges participants' rates between epochs.

    Returns:
        None with fewer than three participants or two epochs, or if all rates are equal.
    """
    from scipy import stats

    means = _means(values, participants, epochs)
    order = {epoch: place for place, epoch in enumerate(sorted(set(means.columns)))}
    if len(order) < 2:
        return None
    rng = rates.seeded(seed, "trend")
    if paired:
        slopes = []
        for _, row in means.iterrows():
            row = row.dropna()
            if len(row) > 1:
                slopes.append(stats.linregress([order[e] for e in row.index], row.to_numpy(float)).slope)
        y = np.asarray(slopes)
        if len(y) < 3 or y.std() < 1e-12:
            return None
        test = stats.permutation_test((y,), _mean, permutation_type="samples", vectorized=True,
                                      n_resamples=rates.RESAMPLES - 1, rng=rng)
        half = float(stats.t.ppf((1 + rates.LEVEL) / 2, len(y) - 1) * stats.sem(y))
        return Trend(float(y.mean()), (float(y.mean()) - half, float(y.mean()) + half), float(test.pvalue), len(y))
    long = means.stack().dropna()
    x, y = np.array([order[e] for e in long.index.get_level_values(1)], float), long.to_numpy(float)
    if len(y) < 3 or y.std() < 1e-12 or not x.std():
        return None

    def slope(y: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.moveaxis(y, axis, -1) @ (x - x.mean()) / ((x - x.mean()) ** 2).sum()

    test = stats.permutation_test((y,), slope, permutation_type="pairings", vectorized=True,
                                  n_resamples=rates.RESAMPLES - 1, rng=rng)
    # Rates near 0 or 1 vary less than others, so the line's error must not assume equal variances (White, HC1).
    found = float(slope(y))
    residuals = y - y.mean() - found * (x - x.mean())
    error = math.sqrt(len(y) / (len(y) - 2) * (((x - x.mean()) * residuals) ** 2).sum()) / ((x - x.mean()) ** 2).sum()
    half = float(stats.t.ppf((1 + rates.LEVEL) / 2, len(y) - 2)) * error
    return Trend(found, (found - half, found + half) if half else None, float(test.pvalue), len(y))


@dataclass(frozen=True)
class Contrast:
    """Two epochs compared."""

    epoch_a: int
    epoch_b: int
    difference: float
    """Mean of participants' rates, a − b."""
    interval: tuple[float, float] | None
    """95%, Welch's or the paired t's, not corrected for the number of contrasts."""
    p: float | None
    """From a permutation test on participants' rates, two-sided; None with fewer than two participants of either."""
    p_holm: float | None
    """p corrected for all contrasts of the study."""
    a_beats_b: float
    """P(A > B) as AMT_Real_vs_Fake prints it: share of bootstrap samples, ties half."""
    paired: bool
    """The same participants judged both epochs, and are compared with themselves."""
    participants_a: int
    """Number of participants behind difference, interval and p; if paired, both numbers are the same."""
    participants_b: int


def contrasts(values: Any, participants: Any, epochs: Any, *, paired: bool, seed: int) -> list[Contrast]:
    """Compare every epoch with every other, the later one first; p is corrected by Holm's method.

    Args:
        values, participants, epochs: (N,), one per trial.
        paired: each participant judged several epochs; those who judged both are compared with themselves.
    """
    from statsmodels.stats.multitest import multipletests

    means = _means(values, participants, epochs)
    samples = _samples(values, participants, epochs, paired, seed)
    found = []
    for b, a in itertools.combinations(sorted(means.columns), 2):
        rng = rates.seeded(seed, f"contrast {a} {b}")
        if paired:
            both = means[[a, b]].dropna().to_numpy(float)
            x, y = both[:, 0], both[:, 1]
        else:
            x, y = means[a].dropna().to_numpy(float), means[b].dropna().to_numpy(float)
        beats = float((samples[a] > samples[b]).mean() + (samples[a] == samples[b]).mean() / 2)
        difference = float(x.mean() - y.mean()) if len(x) and len(y) else float(means[a].mean() - means[b].mean())
        interval, p = _difference(x, y, paired, rng)
        found.append(Contrast(int(a), int(b), difference, interval, p, None, beats, paired, len(x), len(y)))
    known = [contrast.p for contrast in found if contrast.p is not None]
    corrected = iter(multipletests(known, method="holm")[1]) if known else iter(())
    return [each if each.p is None else replace(each, p_holm=float(next(corrected))) for each in found]


def _samples(values: Any, participants: Any, epochs: Any, paired: bool, seed: int) -> dict[Any, np.ndarray]:
    """Return each epoch's rates in the papers' bootstrap; if paired, from the same participants for all epochs."""
    trials, fooled = (_means(values, participants, epochs, how).fillna(0) for how in ("count", "sum"))
    rng = rates.seeded(seed, "samples")
    people = rng.integers(0, len(trials), (rates.RESAMPLES, len(trials))) if paired else None
    found = {}
    for epoch in trials:
        there = slice(None) if paired else (trials[epoch] > 0).to_numpy()
        answers = fooled[epoch].to_numpy(float)[there], trials[epoch].to_numpy(int)[there]
        found[epoch] = rates.resampled(*answers, rng, people)
    return found


def _difference(
    x: np.ndarray, y: np.ndarray, paired: bool, rng: np.random.Generator
) -> tuple[tuple[float, float] | None, float | None]:
    """Return interval and p of a difference of means."""
    from scipy import stats

    if min(len(x), len(y)) < 2:
        return None, None
    test = stats.permutation_test(
        (x - y,) if paired else (x, y), _mean if paired else _difference_of_means,
        permutation_type="samples" if paired else "independent", vectorized=True,
        n_resamples=rates.RESAMPLES - 1, rng=rng,
    )  # fmt: skip
    spread = (x - y).std() if paired else x.std() + y.std()
    if spread < 1e-12:
        return None, float(test.pvalue)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # All values of one group may be equal.
        t = stats.ttest_rel(x, y) if paired else stats.ttest_ind(x, y, equal_var=False)
    low, high = t.confidence_interval(rates.LEVEL)
    return (float(low), float(high)), float(test.pvalue)


def _mean(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return x.mean(axis=axis)


def _difference_of_means(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    return x.mean(axis=axis) - y.mean(axis=axis)


def _means(values: Any, participants: Any, epochs: Any, how: str = "mean") -> pd.DataFrame:
    """Return the participants' rates: a row per participant, a column per epoch."""
    import pandas as pd

    frame = pd.DataFrame({"y": np.asarray(values, float), "who": np.asarray(participants, object),
                          "epoch": np.asarray(epochs)}).dropna()
    return frame.groupby(["who", "epoch"])["y"].agg(how).unstack()
