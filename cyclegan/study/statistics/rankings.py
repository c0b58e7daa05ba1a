"""One person's rankings of the same alternatives on several pictures."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cyclegan.study.statistics.pairs import Preferences, preferences
from cyclegan.study.statistics.rates import seeded

SHUFFLES = 9_999


@dataclass(frozen=True)
class Rankings:
    """Strengths of ranked alternatives."""

    preferences: Preferences
    """Bradley-Terry over all pairs of alternatives, with the pictures in the place of participants: intervals are over
    pictures, because the pairs of one ranking depend on each other. Alternatives are numbered from 0."""
    won: list[float]
    """Share of its comparisons, 0 to 1, that each alternative won; a tie is half a win."""
    chance: float
    """As `chance` returns it."""


def rankings(ranks: Sequence[Sequence[float]], seed: int) -> Rankings:
    """Return strengths from ranks.

    Args:
        ranks: (pictures, alternatives), at least one and two; 1 is the best, and equal numbers are ties.
        seed: for resampling pictures and for `chance`.
    """
    table = np.asarray(ranks, float)
    pictures, size = table.shape
    first, second = np.array(list(itertools.combinations(range(size), 2))).T
    wins = (np.sign(table[:, second] - table[:, first]) + 1) / 2
    found = preferences(
        np.tile(first, pictures), np.tile(second, pictures), wins.ravel(), np.repeat(np.arange(pictures), len(first)),
        range(size), seed,
    )  # fmt: skip
    won = _wins(table).sum(0) / (pictures * (size - 1))
    return Rankings(found, won.tolist(), chance(ranks, seed))


def chance(ranks: Sequence[Sequence[float]], seed: int) -> float:
    """Return the probability that random rankings, with the same ties, give an alternative at least the leader's wins.

    It is estimated from SHUFFLES random rankings; the arguments are those of `rankings`.
    """
    wins = _wins(np.asarray(ranks, float))
    shuffled = seeded(seed, "chance").permuted(np.broadcast_to(wins, (SHUFFLES, *wins.shape)), axis=2).sum(1)
    as_many = int((shuffled.max(1) >= wins.sum(0).max() - 1e-9).sum())
    return (1 + as_many) / (1 + SHUFFLES)


def _wins(ranks: np.ndarray) -> np.ndarray:
    """Return the alternatives' wins on each picture, in the shape of `ranks`; a tie is half a win."""
    return (np.sign(ranks[:, None, :] - ranks[:, :, None]) + 1).sum(2) / 2 - 0.5
