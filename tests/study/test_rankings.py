"""Strengths from one person's rankings, against independent computations."""

import itertools

import numpy as np
import pytest

from cyclegan.study.statistics import PRIOR, chance, rankings

RANKS = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [1, 2, 2]]


def test_strengths_have_the_greatest_likelihood():
    """Bradley and Terry's likelihood, maximised by scipy instead of by choix."""
    from scipy.optimize import minimize

    wins = np.full((3, 3), PRIOR)
    for ranks in RANKS:
        for i, j in itertools.permutations(range(3), 2):
            wins[i, j] += 1.0 if ranks[i] < ranks[j] else 0.5 if ranks[i] == ranks[j] else 0.0

    def loss(strengths):
        gaps = strengths[:, None] - strengths[None]
        return (wins * np.logaddexp(0, -gaps))[~np.eye(3, dtype=bool)].sum() + strengths.sum() ** 2

    expected = minimize(loss, np.zeros(3), tol=1e-12).x
    found = rankings(RANKS, 0)
    assert [each.strength for each in found.preferences.strengths] == pytest.approx(expected, abs=1e-4)
    assert found.won == pytest.approx([7 / 8, 3.5 / 8, 1.5 / 8])
    assert found.preferences.participants == len(RANKS)  # Intervals are over pictures.
    low, high = found.preferences.strengths[0].interval
    assert low < expected[0] < high
    assert found.chance == chance(RANKS, 0)


def test_chance_counts_the_random_rankings_with_such_a_leader():
    orders = list(itertools.permutations((2, 1, 0)))  # Wins of each of three alternatives on one picture.
    for ranks, leads in (([[1, 2, 3]] * 3, 6), ([[1, 2, 3], [1, 3, 2], [2, 1, 3]], 5)):
        totals = np.array([np.sum(each, axis=0) for each in itertools.product(orders, repeat=3)])
        assert chance(ranks, 0) == pytest.approx((totals.max(1) >= leads).mean(), abs=0.015)
    assert chance([[1, 1, 1]] * 3, 0) == 1  # No difference at all is as good as any chance.


def test_alike_rankings_of_few_pictures_are_not_certain():
    for pictures, expected in ((1, 1), (2, 0.5), (8, 2 / 2**8)):
        assert chance([[1, 2]] * pictures, 0) == pytest.approx(expected, abs=0.02)
