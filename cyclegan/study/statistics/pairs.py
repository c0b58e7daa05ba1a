"""Preferences between epochs, of the task pick: Bradley-Terry strengths."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cyclegan.study.statistics.rates import LEVEL, arrays, seeded

STRENGTH_RESAMPLES = 1_000
PRIOR = 0.1
"""Wins that the fit adds for each of any two epochs, so that it exists even if one has never lost."""


@dataclass(frozen=True)
class Strength:
    """An epoch's strength in preferences."""

    epoch: int
    strength: float
    """Bradley-Terry strength on the logit scale; the mean over epochs is 0."""
    interval: tuple[float, float] | None
    """95%, over participants; None with fewer than two."""


@dataclass(frozen=True)
class Duel:
    """Two epochs in preferences."""

    epoch_a: int
    epoch_b: int
    wins: int
    """Wins of a."""
    ties: int
    losses: int
    a_beats_b: float | None
    """P(a beats b) by the model; None if comparisons don't link the two."""
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Preferences:
    """Bradley-Terry over epochs."""

    strengths: list[Strength]
    duels: list[Duel]
    participants: int
    trials: int
    connected: bool
    """Comparisons link all epochs; otherwise strengths of unlinked ones can't be compared."""
    separated: bool
    """Some epochs have never lost to others; their distance depends on PRIOR alone."""


def preferences(
    epoch_a: Any, epoch_b: Any, a_wins: Any, participants: Any, epochs: Sequence[int], seed: int
) -> Preferences:
    """Fit Bradley-Terry strengths (Bradley and Terry, 1952); a tie is half a win for each.

    Fitted by `choix`, with PRIOR added so that a fit always exists. Intervals: participants are resampled 1,000 times;
    ± t's quantile × the standard deviation, corrected for the small number of participants.

    Args:
        epoch_a, epoch_b: (N,), the epochs compared in each trial.
        a_wins: (N,), 1, 0.5 for a tie, 0.
        participants: (N,), who judged.
        epochs: all epochs of the study.
    """
    from scipy.sparse.csgraph import connected_components
    from scipy.special import expit
    from scipy.stats import t

    place = {epoch: n for n, epoch in enumerate(epochs)}
    y, (person,), _ = arrays(a_wins, [participants], None)
    there = ~np.isnan(np.asarray(a_wins, float))
    a, b = (np.array([place[int(e)] for e in np.asarray(x)[there]], int) for x in (epoch_a, epoch_b))
    people, size = (int(person.max()) + 1 if len(y) else 0), len(epochs)
    wins = np.zeros((people, size, size))
    np.add.at(wins, (person, a, b), y)
    np.add.at(wins, (person, b, a), 1 - y)
    total = wins.sum(0)
    linked, island = connected_components(total, directed=False)
    strong, _ = connected_components(total, directed=True, connection="strong")
    fit = fit_strengths(total)
    spread = np.zeros((size, size))
    half = None
    if people > 1:
        drawn = seeded(seed, "strengths").multinomial(people, np.full(people, 1 / people), STRENGTH_RESAMPLES)
        drawn, again = np.unique(drawn, axis=0, return_inverse=True)  # Few participants are often drawn alike.
        samples = np.array([fit_strengths(np.tensordot(weights, wins, 1)) for weights in drawn])[again.ravel()]
        scale = float(t.ppf((1 + LEVEL) / 2, people - 1)) * math.sqrt(people / (people - 1))
        half = scale * samples.std(0)
        spread = scale * (samples[:, :, None] - samples[:, None, :]).std(0)
    strengths = [
        Strength(epoch, float(fit[n]), None if half is None else (float(fit[n] - half[n]), float(fit[n] + half[n])))
        for n, epoch in enumerate(epochs)
    ]
    duels = []
    for second, first in itertools.combinations(range(size), 2):
        met = ((a == first) & (b == second)) | ((a == second) & (b == first))
        won = np.where(a == first, y, 1 - y)[met]
        gap = fit[first] - fit[second]
        reachable = island[first] == island[second]
        bounds = (float(expit(gap - spread[first, second])), float(expit(gap + spread[first, second])))
        duels.append(Duel(
            epochs[first], epochs[second], int((won == 1).sum()), int((won == 0.5).sum()), int((won == 0).sum()),
            float(expit(gap)) if reachable else None, bounds if reachable and half is not None else None,
        ))  # fmt: skip
    return Preferences(strengths, duels, people, len(y), linked == 1, strong > linked)


def fit_strengths(wins: np.ndarray) -> np.ndarray:
    """Return the Bradley-Terry strengths of an (n, n) table of wins, row over column."""
    import choix

    strengths = choix.ilsr_pairwise_dense(wins + PRIOR * (1 - np.eye(len(wins))), max_iter=10_000)
    return strengths - strengths.mean()
