"""Comparisons of epochs by their rates: trend and contrasts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.study.statistics import rates
from cyclegan.study.statistics.permutations import slope

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Trend:
    """Change of the rate from epoch to epoch."""

    points_per_step: float
    """Slope of a straight line over the order of the study's epochs, 0 to 1."""
    interval: tuple[float, float] | None
    """95%, over participants and pictures."""
    p: float
    """From a studentised permutation test, two-sided."""
    participants: int


def trend(
    values: Any, participants: Any, epochs: Any, pictures: Sequence[Any] = (), *, paired: bool, seed: int
) -> Trend | None:
    """Fit a straight line to the participants' rates over the order of the epochs.

    Args:
        values, participants, epochs: (N,), one per trial.
        pictures: one (N,) for each picture of a trial, such as the fakes' scenes and the reals.
        paired: each participant judged several epochs, and a line is fitted for each.

    Returns:
        None with fewer than three participants or two epochs, or if all rates are equal.
    """
    epochs = np.asarray(epochs, float)
    there = ~(np.isnan(epochs) | np.isnan(np.asarray(values, float)))
    steps = np.where(there, np.searchsorted(np.unique(epochs[there]), epochs), np.nan)
    found = slope(values, participants, steps, pictures, paired=paired, rng=rates.seeded(seed, "trend"))
    if found is None or found.participants < 3 or (found.interval is None and not found.value):
        return None
    return Trend(found.value, found.interval, found.p, found.participants)


@dataclass(frozen=True)
class Contrast:
    """Two epochs compared."""

    epoch_a: int
    epoch_b: int
    difference: float
    """Mean of participants' rates, a − b."""
    interval: tuple[float, float] | None
    """95%, over participants and pictures, not corrected for the number of contrasts."""
    p: float | None
    """From a studentised permutation test, two-sided; None with fewer than two participants of either."""
    p_holm: float | None
    """p corrected for all contrasts of the study."""
    a_beats_b: float | None
    """P(A > B) as AMT_Real_vs_Fake prints it: share of bootstrap samples, ties half."""
    paired: bool
    """The same participants judged both epochs, and are compared with themselves."""
    participants_a: int
    """Number of participants behind difference, interval and p; if paired, both numbers are the same."""
    participants_b: int


def contrasts(
    values: Any, participants: Any, epochs: Any, pictures: Sequence[Any] = (), *, paired: bool, seed: int
) -> list[Contrast]:
    """Compare every epoch with every other, the later one first; p is corrected by Holm's method.

    Args:
        values, participants, epochs: (N,), one per trial.
        pictures: one (N,) for each picture of a trial, such as the fakes' scenes and the reals.
        paired: each participant judged several epochs; those who judged both are compared with themselves.
    """
    means = _means(values, participants, epochs)
    samples = _samples(values, participants, epochs, paired, seed)
    epochs = np.asarray(epochs)
    found = []
    for b, a in itertools.combinations(sorted(means.columns), 2):
        there = means[[a, b]].dropna() if paired else means[[a, b]]
        people = there.notna().sum()
        beats = float((samples[a] > samples[b]).mean() + (samples[a] == samples[b]).mean() / 2)
        steps = np.where(epochs == a, 1.0, np.where(epochs == b, 0.0, np.nan))
        rng = rates.seeded(seed, f"contrast {a} {b}")
        test = slope(values, participants, steps, pictures, paired=paired, rng=rng)
        difference = float((there if people.min() else means)[[a, b]].mean() @ [1, -1])
        interval, p = (test.interval, test.p) if test else (None, None)
        found.append(Contrast(int(a), int(b), difference, interval, p, None, beats, paired, *map(int, people)))
    known = np.array([np.nan if contrast.p is None else contrast.p for contrast in found])
    corrected = zip(found, holm(known).tolist(), strict=True)
    return [each if each.p is None else replace(each, p_holm=p) for each, p in corrected]


def holm(p: np.ndarray) -> np.ndarray:
    """Return p corrected by Holm's method; NaN is kept. statsmodels' own collects garbage, for 0.2 s a call."""
    order = np.argsort(p)  # NaN last.
    left = np.count_nonzero(~np.isnan(p)) - np.arange(len(p))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.maximum(left, 1) * p[order]))
    return corrected


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


def _means(values: Any, participants: Any, epochs: Any, how: str = "mean") -> pd.DataFrame:
    """Return the participants' rates: a row per participant, a column per epoch."""
    import pandas as pd

    frame = pd.DataFrame({"y": np.asarray(values, float), "who": np.asarray(participants, object),
                          "epoch": np.asarray(epochs)}).dropna()
    return frame.groupby(["who", "epoch"])["y"].agg(how).unstack()
