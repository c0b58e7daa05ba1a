"""Distances of sets: equal to independent code, and with intervals that hold what they promise."""

import numpy as np
import pytest
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_poly, mmd2

from cyclegan.evaluation.scores import distances


def features(n, d=24, seed=0, shift=0.0):
    return np.maximum(0, np.random.default_rng(seed).standard_normal((n, d)) + shift).astype(np.float32)


@pytest.mark.parametrize("n, m", [(40, 40), (25, 60)])
def test_kid_is_torch_fidelitys(n, m):
    ours, theirs = features(n, seed=1, shift=0.3).astype(np.float64), features(m, seed=2).astype(np.float64)
    k = min(n, m)  # Theirs takes equal numbers.
    x, y = ours[:k], theirs[:k]
    options = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1.0}
    known = mmd2(*(kernel_poly(one, other, **options) for one, other in ((x, x), (x, y), (y, y))))
    assert distances.kid(ours[:k], theirs[:k]) == pytest.approx(known, rel=1e-6)
    xx, yy, xy = ((x @ y.T / 24 + 1) ** 3 for x, y in ((ours, ours), (theirs, theirs), (ours, theirs)))
    plain = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1)) - 2 * xy.mean()
    assert distances.kid(ours, theirs) == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("n, m", [(15, 10), (100, 80), (12, 80)], ids=["few pictures", "many", "few against many"])
def test_the_frechet_distance_is_torch_fidelitys(n, m):
    ours, theirs = features(n, seed=1, shift=0.5).astype(np.float64), features(m, seed=2).astype(np.float64)
    known = fid_statistics_to_metric(
        *({"mu": side.mean(0), "sigma": np.cov(side, rowvar=False)} for side in (ours, theirs)), False
    )["frechet_inception_distance"]
    assert distances.frechet(ours, theirs) == pytest.approx(known, rel=1e-6)
    assert distances.frechet(ours, ours) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shift, most", [(0.1, 0.97), (0.5, 0.97), (0.0, 1.0)], ids=["near", "far", "equal"])
def test_kids_interval_covers_the_truth(shift, most):
    """Where the sets are equal it may be wider than it needs to be, never narrower."""
    n, m, d, rounds = 60, 60, 64, 400
    truth = np.mean([distances.kid(features(900, d, 2 * k, shift), features(900, d, 2 * k + 1)) for k in range(12)])
    inside = 0
    for k in range(rounds):
        low, high = distances.kid_interval(features(n, d, 1000 + 2 * k, shift), features(m, d, 1001 + 2 * k))
        inside += low <= truth <= high
    assert 0.93 <= inside / rounds <= most


def test_too_few_pictures_have_no_interval():
    assert distances.kid_interval(features(3), features(50)) is None
    low, high = distances.frechet_interval(features(20, seed=1), features(20, seed=2))
    assert low < distances.frechet(features(20, seed=1), features(20, seed=2)) < high


def test_a_means_interval():
    values = features(200, 1)[:, 0]
    low, high = distances.mean_interval(values)
    error = values.std() / np.sqrt(200)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=error / 4)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=error / 4)


def test_pair_distances():
    pictures = features(5, 12)
    found = distances.pair_distances(pictures)
    assert found[0] == pytest.approx(np.abs(pictures[0] - pictures[1]).mean(), rel=1e-6) and len(found) == 10


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_the_interval_of_a_few_pictures_holds_the_mean_as_often_as_that_of_many(n):
    rng, rounds = np.random.default_rng(n), 600
    ends = [distances.mean_interval(rng.normal(size=n), seed=k) for k in range(rounds)]
    assert 0.92 <= np.mean([low <= 0 <= high for low, high in ends]) <= 0.98


@pytest.mark.parametrize("n", [5, 10])
def test_kids_interval_of_a_few_pictures_is_wider(n):
    """1.96 standard errors would hold it in 80 and 86% of cases."""
    rng, inside = np.random.default_rng(n), 0
    many = [rng.normal(size=(2000, 16)) + shift for shift in (0, 1)]
    truth = distances.kid(*many)
    for _ in range(600):
        low, high = distances.kid_interval(rng.normal(size=(n, 16)), rng.normal(size=(n, 16)) + 1)
        inside += low <= truth <= high
    assert inside / 600 >= 0.87


def test_intervals_keep_to_what_a_figure_can_be():
    shares = np.array([1.0, 1.0, 0.9])
    assert distances.mean_interval(shares)[1] > 1
    assert distances.mean_interval(shares, bounds=(0.0, 1.0))[1] == 1
    assert distances.mean_interval(shares[:1]) is None  # One picture says nothing of others.


def clustered(n, share, seed):
    """Counts (some, of) of pictures whose cases are alike: in a third of them there is none, in the others up to 5."""
    rng = np.random.default_rng(seed)
    of = np.maximum(0, rng.integers(-1, 5, n))
    return rng.binomial(of, rng.beta(2 * share, 2 * (1 - share), n)), of


def test_a_shares_interval_covers_the_truth_although_cases_of_a_picture_are_alike():
    found = [distances.share_interval(*clustered(40, 0.3, seed)) for seed in range(300)]
    assert 0.92 <= np.mean([low <= 0.3 <= high for low, high in found]) <= 0.98


@pytest.mark.parametrize("value, ends", [(0, (0, 0.369)), (1, (0.631, 1))])
def test_none_or_all_of_few_cases_is_not_sure(value, ends):
    of = np.array([2, 2, 0, 1, 3, 1, 1, 1, 1])
    assert distances.share_interval(value * of, of) == pytest.approx(ends, abs=1e-3)  # Of eight pictures that have any.
