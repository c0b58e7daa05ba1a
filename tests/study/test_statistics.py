"""Estimates and intervals, against formulas, libraries and made-up people."""

import dataclasses
import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.special import expit

from cyclegan.errors import StudyError
from cyclegan.study import statistics
from cyclegan.study.protocol import TAGS, protocol
from cyclegan.study.statistics import (
    agreement,
    always_valid,
    cautious_rate,
    clustered_rate,
    contrasts,
    correlation,
    crossed_interval,
    detection,
    extremes,
    half_width,
    heat,
    mixed_model,
    pairs,
    paper_figure,
    participants_for,
    participants_to_tell,
    pictures_for,
    pictures_to_tell,
    planning_rate,
    preferences,
    rates,
    resolution,
    response_times,
    tag_rates,
    trend,
    wilson_interval,
)


def answers(people=25, trials=40, *, intercept=-1.1, person_sd=0.5, stimulus_sd=1.0, seed=0):
    """(N,) answers, people and stimuli: everyone judges the same ones."""
    rng = np.random.default_rng(seed)
    person, stimulus = rng.normal(0, person_sd, people), rng.normal(0, stimulus_sd, trials)
    y = rng.random((people, trials)) < expit(intercept + person[:, None] + stimulus)
    who, what = np.indices(y.shape)
    return y.ravel().astype(float), who.ravel(), what.ravel()


def as_logit(rate, error, freedom):
    from scipy.stats import t

    half = t.ppf(0.975, freedom) * error / (rate * (1 - rate))
    centre = math.log(rate / (1 - rate))
    return expit(centre - half), expit(centre + half)


# --- rates --------------------------------------------------------------------------------------------------


def test_the_clustered_interval_is_that_of_cluster_robust_regression():
    y, who, _ = answers()
    keep = np.random.default_rng(1).random(len(y)) < 0.8  # Unequal numbers of trials.
    y, who = y[keep], who[keep]
    names = np.array([f"P{n}" for n in who], object)
    rate = clustered_rate(y, names)
    fit = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": who})
    # statsmodels also multiplies by (N - 1) / (N - 1 regressor), which is 1.
    assert rate.rate == pytest.approx(y.mean()) and rate.participants == 25 and rate.trials == len(y)
    assert rate.interval == pytest.approx(as_logit(y.mean(), fit.bse[0], 24)) and not rate.assumed


def test_the_crossed_interval_is_that_of_two_way_clusters():
    y, who, what = answers()
    fit = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": np.stack([who, what], 1)})
    found = crossed_interval(y, who, [what])
    assert found == pytest.approx(as_logit(y.mean(), fit.bse[0], 24), abs=2e-4)
    assert found == pytest.approx(crossed_interval(y, who, [what, what % 1000]))  # What follows adds nothing.
    low, high = clustered_rate(y, who).interval
    assert found[0] < low and high < found[1]


def test_pictures_that_nobody_shares_add_nothing():
    y, who, _ = answers()
    crossed, clustered = crossed_interval(y, who, [np.arange(len(y))]), clustered_rate(y, who).interval
    assert crossed == pytest.approx(clustered, abs=1e-3)


def test_weights_count():
    y, who, _ = answers(people=12)
    weights = np.where(who < 6, 2.0, 1.0)
    twice = np.concatenate([np.arange(len(y)), np.flatnonzero(who < 6)])
    weighted, repeated = clustered_rate(y, who, weights), clustered_rate(y[twice], who[twice])
    assert weighted.rate == pytest.approx(repeated.rate) and weighted.interval == pytest.approx(repeated.interval)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("people", [1, 2, 25])
def test_no_interval_is_a_point(value, people):
    who = np.repeat(np.arange(people), 40)
    rate = clustered_rate(np.full(len(who), value), who)
    low, high = rate.interval
    assert rate.assumed and rate.rate == value and 0 <= low < high <= 1 and low <= value <= high
    naive = wilson_interval(value * len(who), len(who))
    assert high - low > 1.5 * (naive[1] - naive[0])
    if people > 1:
        crossed = crossed_interval(np.full(len(who), value), who, [np.tile(np.arange(40), people)])
        assert crossed[1] - crossed[0] > high - low


def test_people_who_are_all_alike_have_an_interval():
    y = np.tile([1.0, 0, 0, 0], 6)
    rate = clustered_rate(y, np.repeat(np.arange(6), 4))
    assert rate.rate == 0.25 and rate.assumed and rate.interval[1] - rate.interval[0] > 0.2


def test_no_trial_and_one_participant():
    assert clustered_rate([], []) == statistics.Rate(None, None, 0, 0)
    assert clustered_rate([np.nan], ["P"]) == statistics.Rate(None, None, 0, 0)
    one = clustered_rate([1, 0, 0, 1], ["P"] * 4)
    assert one.rate == 0.5 and one.assumed and one.participants == 1
    assert crossed_interval([1, 0], ["P", "P"], [[1, 2]]) is None
    assert crossed_interval([], [], [[]]) is None
    assert paper_figure([], [], 1) == statistics.PaperFigure(None, None)


def test_both_intervals_cover():
    """A small run of benchmarks/study_coverage.py: the means must lie within its noise of 95%."""
    rng, inside = np.random.default_rng(5), np.zeros(2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    weights = weights / weights.sum()
    intercept = -1.1
    population = (weights * expit(intercept + math.hypot(0.5, 1) * nodes)).sum()
    for _ in range(300):
        person, stimulus = rng.normal(0, 0.5, 25), rng.normal(0, 1, 40)
        y = (rng.random((25, 40)) < expit(intercept + person[:, None] + stimulus)).astype(float).ravel()
        who, what = (index.ravel() for index in np.indices((25, 40)))
        these = (weights[:, None] * expit(intercept + 0.5 * nodes[:, None] + stimulus)).sum(0).mean()
        low, high = clustered_rate(y, who).interval
        inside[0] += low <= these <= high
        low, high = crossed_interval(y, who, [what])
        inside[1] += low <= population <= high
    assert np.all(inside / 300 > 0.91) and np.all(inside / 300 < 0.99)


def test_the_papers_figure_is_their_bootstrap():
    y, who, _ = answers(people=8, trials=20)
    rng, rates = np.random.default_rng(1), []
    table = y.reshape(8, 20)
    for _ in range(4000):
        people, trials = rng.integers(0, 8, 8), rng.integers(0, 20, (8, 20))
        rates.append(table[people[:, None], trials].mean())
    found = paper_figure(y, who, 7)
    assert found.rate == pytest.approx(y.mean()) and found.sd == pytest.approx(np.std(rates), rel=0.05)
    assert found == paper_figure(y, who, 7) and found.sd != paper_figure(y, who, 8).sd


@pytest.mark.parametrize(("rate", "person_sd"), [(0.05, 0.8), (0.27, 0.5), (0.5, 0.5)])
def test_whoever_stops_at_the_first_significant_moment_errs_in_5_percent(rate, person_sd):
    """A look after each participant. The usual interval errs far more often."""
    rng, sd = np.random.default_rng(4), person_sd
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    grid = np.linspace(-6, 3, 2001)
    means = (weights / weights.sum() * expit(grid[:, None] + sd * nodes)).sum(1)
    level = grid[np.argmin(abs(means - rate))]
    wrong = np.zeros(2)
    for _ in range(60):
        shares = rng.binomial(40, expit(level + rng.normal(0, sd, 25))) / 40
        looks = range(2, 26)
        for n, interval in enumerate((always_valid, lambda *answers: clustered_rate(*answers).interval)):
            found = (interval(shares[:count], np.arange(count)) for count in looks)
            wrong[n] += any(not low <= rate <= high for low, high in found)
    assert wrong[0] <= 4 and wrong[1] >= 7


def test_the_always_valid_interval_narrows():
    y, who, _ = answers(people=60)
    widths = [np.ptp(always_valid(y[who < n], who[who < n])) for n in (2, 5, 10, 25, 60)]
    assert widths == sorted(widths, reverse=True) and widths[0] == 1 and widths[-1] < 0.2
    assert np.ptp(always_valid(y, who, 0.9)) < widths[-1] < np.ptp(always_valid(y, who, 0.99))
    assert always_valid([1, 0], ["P", "P"]) is always_valid([], []) is None
    low, high = always_valid(np.zeros(400), np.repeat(np.arange(10), 40))
    assert 0 < low < 0.01 < high < 0.12


# --- planning -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("icc", "five", "three", "tell"), [(0.03, 17, 46, 32), (0.05, 23, 63, 43),
                                                           (0.10, 38, 104, 71)])
def test_participants_needed(icc, five, three, tell):
    """More than the facts' table (40 trials each, p = .27), which takes the normal's quantile and the mean width."""
    assert five < participants_for(0.05, 0.27, icc, 40) <= 1.4 * five
    assert three < participants_for(0.03, 0.27, icc, 40) <= 1.25 * three
    assert tell < participants_to_tell(0.20, 0.27, icc, 40) <= tell + 1
    enough = participants_for(0.05, 0.27, icc, 40)
    assert half_width(enough, 0.27, icc, 40) <= 0.05 < half_width(enough - 1, 0.27, icc, 40)
    assert participants_for(0.05, 0.27, icc, 40, known=9) > enough  # The correlation was estimated from ten people.


@pytest.mark.parametrize("rate", [0.05, 0.27, 0.5])
def test_studies_reach_the_precision_that_ten_participants_promised(rate):
    """Beta-binomial people; the same ten belong to the study, as in a report."""
    rng, reached = np.random.default_rng(7), []
    for _ in range(100):
        shares = rng.beta(rate * 9, (1 - rate) * 9, 400)  # A correlation of 0.1.
        means = rng.binomial(40, shares) / 40
        pilot = (rng.random((10, 40)) < means[:10, None]).astype(float)
        means[:10] = pilot.mean(1)
        icc = correlation(pilot.ravel(), np.repeat(np.arange(10), 40))
        people = participants_for(0.05, planning_rate(pilot.mean()), max(0, icc or 0), 40, known=9)
        low, high = clustered_rate(means[: max(10, people)], np.arange(max(10, people))).interval
        reached.append((high - low) / 2 <= 0.05)
    assert np.mean(reached) >= 0.75


def test_few_pictures_limit_the_crossed_interval():
    plan, few = (0.27, 0.05, 40), [(0.15, 30)]
    least = half_width(10**5, *plan, few)
    assert 0.06 < least < 0.08 and participants_for(0.05, *plan, few) is None
    pictures = pictures_for(0.05, *plan, few)
    people = participants_for(0.05, *plan, [(0.15, pictures)])
    assert pictures > 60 and people < 3 * participants_for(0.05, *plan)
    widths = []
    for seed in range(40):
        low, high = crossed_interval(*(each if n < 2 else [each] for n, each in enumerate(answers(60, 30, seed=seed))))
        widths.append((high - low) / 2)
    assert np.mean(np.array(widths) <= 0.05) < 0.1  # Nobody reaches it, as was said.
    assert np.mean(np.array(widths) <= half_width(60, 0.27, 0.05, 30, few)) >= 0.75
    assert participants_to_tell(0.2, 0.27, 0.05, 40, pictures=few) is None
    assert participants_to_tell(0.2, 0.27, 0.05, 40, pictures=[(0.15, 10**4)]) <= 46
    pictures = pictures_to_tell(0.2, 0.27, 0.05, 40, few)
    people = participants_to_tell(0.2, 0.27, 0.05, 40, pictures=[(0.15, pictures)])
    assert pictures > 150 and people < 3 * participants_to_tell(0.2, 0.27, 0.05, 40)
    assert participants_to_tell(0.2, 0.27, 0.05, 40, comparisons=3) > participants_to_tell(0.2, 0.27, 0.05, 40)


@pytest.mark.slow
def test_as_many_participants_and_pictures_as_were_named_tell_two_rates_apart():
    """By the test that reports make; the plan says 80% of such studies."""
    icc, of_pictures, found = 0.05, 0.15, []
    pictures = pictures_to_tell(0.2, 0.27, icc, 40, [(of_pictures, 1)])
    people = participants_to_tell(0.2, 0.27, icc, 40, pictures=[(of_pictures, pictures)])
    for seed in range(60):
        rng, rows = np.random.default_rng(seed), []
        # These deviations give about those correlations: 0.046 and 0.139 at 20%, 0.053 and 0.157 at 27%.
        for epoch, intercept in ((1, -1.80), (2, -1.30)):
            person, own = rng.normal(0, 0.66, (people, 1)), rng.normal(0, 1.1, pictures)
            seen = np.argsort(rng.random((people, pictures)), axis=1)[:, :40]
            y = rng.random((people, 40)) < expit(intercept + person + own[seen])
            who = np.repeat(np.arange(people) + people * epoch, 40)
            rows.append(np.stack([y.ravel(), who, np.full(y.size, epoch), seen.ravel()]))
        y, who, epoch, seen = np.concatenate(rows, axis=1)
        (contrast,) = contrasts(y, who, epoch, [seen], paired=False, seed=seed)
        found.append(contrast.p < 0.05)
    assert np.mean(found) >= 0.65, np.mean(found)  # Of 80%, less three standard errors.


def test_a_rate_of_none_so_far_is_planned_for_as_a_small_one():
    assert [planning_rate(rate) for rate in (0, 0.27, 1)] == [0.05, 0.27, 0.95]
    assert participants_for(0.05, planning_rate(0), 0.05, 40) == participants_for(0.05, planning_rate(1), 0.05, 40) > 6
    assert participants_to_tell(0, 0.02, 0.05, 40) > 100  # Not by a variance of 0.


def test_after_few_answers_the_rate_is_taken_nearer_to_a_half():
    assert 0.1 < cautious_rate(0.1, 20) < 0.25 and 0.75 < cautious_rate(0.9, 20) < 0.9
    assert cautious_rate(0.1, 2000) == pytest.approx(0.1, abs=0.01) and cautious_rate(0.45, 20) == 0.5
    assert cautious_rate(0, 4000) == 0.05


def test_resolution_of_protocols():
    found = resolution(protocol("cyclegan2017"), 30)
    assert found.trials == 40 and (found.for_5_points, found.for_3_points, found.to_tell) == (30, 73, 44)
    assert found.comparisons == 0 and found.to_tell_crossed is found.pictures_to_tell is None
    assert found.half_width == pytest.approx(0.05, abs=0.001) and found.pictures is found.crossed_least is None
    crossed = resolution(protocol("cyclegan2017"), 30, pictures=[60, 80])
    assert crossed.pictures == 60 and found.half_width < crossed.crossed_half_width
    assert 0.04 < crossed.crossed_least < crossed.crossed_half_width and crossed.pictures_for_5_points > 80
    assert crossed.to_tell_crossed is None and crossed.pictures_to_tell > 150
    three = resolution(protocol("cyclegan2017"), 30, epochs=3, pictures=[2000, 2000])
    assert three.comparisons == 3 and found.to_tell < three.to_tell < three.to_tell_crossed
    assert resolution(protocol("hype_infinity"), 30).trials == 50  # Of 100, half are fakes.
    assert resolution(protocol("colorization2016"), 30, epochs=3).trials == 36
    mixed = resolution(protocol("cyclegan2017", epochs_per_session="mixed"), 30, epochs=4)
    assert mixed.trials == 10 and mixed.half_width > found.half_width
    for bad in ({"participants": 0}, {"participants": 5, "rate": 0}, {"participants": 5, "icc": 2}):
        with pytest.raises(StudyError):
            resolution(protocol("cyclegan2017"), **bad)


def test_correlation_is_recovered():
    rng = np.random.default_rng(3)
    shares = rng.beta(*(np.array([0.27, 0.73]) * (1 / 0.1 - 1)), 2000)  # Beta-binomial with icc 0.1.
    y = (rng.random((2000, 40)) < shares[:, None]).ravel()
    assert correlation(y, np.repeat(np.arange(2000), 40)) == pytest.approx(0.1, abs=0.01)
    assert correlation(rng.random(4000) < 0.3, np.repeat(np.arange(100), 40)) == pytest.approx(0, abs=0.02)
    assert correlation(np.ones(80), np.repeat([0, 1], 40)) is None
    assert correlation([1, 0], ["P", "P"]) is None and correlation([1, 0], ["P", "Q"]) is None


# --- epochs -------------------------------------------------------------------------------------------------


def three_epochs(rates, *, paired, people=15, seed=0):
    rng = np.random.default_rng(seed)
    y, who, epoch = [], [], []
    for n, (number, rate) in enumerate(rates.items()):
        for person in range(people):
            y += list(rng.random(20) < rate)
            who += [person if paired else n * people + person] * 20
            epoch += [number] * 20
    return np.array(y, float), np.array(who), np.array(epoch)


@pytest.mark.parametrize("paired", [False, True])
def test_a_trend_is_found(paired):
    y, who, epoch = three_epochs({20: 0.1, 60: 0.25, 200: 0.4}, paired=paired)
    found = trend(y, who, epoch, paired=paired, seed=1)
    assert found.points_per_step == pytest.approx(0.15, abs=0.04) and found.p < 0.001
    assert found.interval[0] < 0.15 < found.interval[1] and found.participants == (15 if paired else 45)
    assert found == trend(y, who, epoch, paired=paired, seed=1)
    falling = trend(1 - y, who, epoch, paired=paired, seed=1)
    assert falling.points_per_step == pytest.approx(-found.points_per_step)


@pytest.mark.parametrize("paired", [False, True])
def test_where_nothing_differs_few_trends_are_found(paired, monkeypatch):
    monkeypatch.setattr(rates, "RESAMPLES", 400)
    found = [trend(*three_epochs({20: 0.3, 60: 0.3, 200: 0.3}, paired=paired, people=8, seed=n), paired=paired, seed=n)
             for n in range(120)]
    assert sum(each.p < 0.05 for each in found) <= 14  # 6 are expected; more than 14 in less than 1 of 1,000 runs.


def test_contrasts():
    for paired in (False, True):
        y, who, epoch = three_epochs({20: 0.1, 60: 0.12, 200: 0.4}, paired=paired)
        found = {(c.epoch_a, c.epoch_b): c for c in contrasts(y, who, epoch, paired=paired, seed=1)}
        assert list(found) == [(60, 20), (200, 20), (200, 60)]
        clear, same = found[200, 20], found[60, 20]
        assert clear.difference == pytest.approx(0.3, abs=0.06) and clear.p_holm < 0.01 and clear.a_beats_b > 0.999
        assert clear.interval[0] < 0.3 < clear.interval[1]
        assert same.p_holm > 0.05 and same.interval[0] < 0 < same.interval[1]
        p = sorted(c.p for c in found.values())
        assert sorted(c.p_holm for c in found.values()) == pytest.approx(
            [3 * p[0], max(3 * p[0], 2 * p[1]), max(3 * p[0], 2 * p[1], p[2])])


def epochs_of_own_pictures(*, paired, seed, people=15, scenes=30, gap=0.0, person_sd=0.5):
    """Two epochs, equal over all pictures but for `gap` (logit), whose pictures each have a difficulty of their own."""
    rng = np.random.default_rng(seed)
    fakes = rng.normal(0, 1.2, (2, scenes)) + [[0], [gap]]
    who, scene = (index.ravel() for index in np.indices((people if paired else 2 * people, scenes)))
    epoch = (who + scene) % 2 if paired else who % 2
    y = rng.random(len(who)) < expit(-1 + fakes[epoch, scene] + rng.normal(0, person_sd, who.max() + 1)[who])
    return y.astype(float), who, np.array([20, 60])[epoch], [scene]


@pytest.mark.parametrize("paired", [False, True])
def test_pictures_difficulty_is_no_difference_of_epochs(paired, monkeypatch):
    """A small run of benchmarks/study_contrasts.py."""
    monkeypatch.setattr(rates, "RESAMPLES", 200)
    found = np.zeros((2, 2))
    for seed in range(120):
        y, who, epoch, pictures = epochs_of_own_pictures(paired=paired, seed=seed)
        tests = [trend(y, who, epoch, given, paired=paired, seed=seed) for given in (pictures, ())]
        found += [[each.p <= 0.05, not -1e-9 < np.clip(0, *each.interval) < 1e-9] for each in tests]
    assert np.all(found[0] <= 14)  # 6 are expected; more than 14 in less than 1 of 500 runs.
    assert paired or found[1, 0] >= 18  # The test that ignores them.
    assert np.all(found[:, 0] >= found[:, 1]) and np.all(found[:, 0] <= found[:, 1] + 3)  # The interval agrees with p.


@pytest.mark.parametrize("paired", [False, True])
def test_a_difference_of_epochs_is_found_in_spite_of_their_pictures(paired):
    y, who, epoch, pictures = epochs_of_own_pictures(paired=paired, seed=1, gap=1.5)
    (contrast,) = contrasts(y, who, epoch, [*pictures, np.array(pictures[0]) + 100 * epoch], paired=paired, seed=1)
    assert contrast.p < 0.01 and contrast.interval[0] > 0.03
    (same,) = contrasts(y, who, epoch, pictures, paired=paired, seed=1)
    assert contrast == same  # A scene's fakes add nothing to the scene.


def test_without_pictures_the_test_exchanges_participants_rates():
    y, who, epoch, _ = epochs_of_own_pictures(paired=False, seed=3, person_sd=1.5)
    means = [np.array([y[who == n].mean() for n in np.unique(who[epoch == each])]) for each in (20, 60)]
    other = stats.permutation_test(means, lambda a, b: a.mean() - b.mean(), n_resamples=9999, rng=1)
    (contrast,) = contrasts(y, who, epoch, paired=False, seed=3)
    assert contrast.p == pytest.approx(other.pvalue, abs=0.02) and 0.05 < contrast.p < 0.95
    low, high = stats.ttest_ind(means[1], means[0], equal_var=False).confidence_interval()
    assert contrast.interval == pytest.approx((low, high), abs=0.02)


def test_epochs_that_too_few_have_judged():
    (contrast,) = contrasts([1, 0, 1, 1], ["P", "P", "Q", "Q"], [20, 20, 60, 60], paired=False, seed=1)
    assert contrast.p is None and contrast.p_holm is None and contrast.interval is None and contrast.difference == 0.5
    assert contrasts([1, 0], ["P", "Q"], [20, 20], paired=False, seed=1) == []
    assert trend([1, 0], ["P", "Q"], [20, 60], paired=False, seed=1) is None
    assert trend([], [], [], paired=False, seed=1) is None
    y, who, epoch = three_epochs({20: 0.0, 60: 0.0}, paired=True)
    assert trend(y, who, epoch, paired=True, seed=1) is None
    (contrast,) = contrasts(y, who, epoch, paired=True, seed=1)
    assert contrast.p == 1 and contrast.interval is None and contrast.a_beats_b == 0.5


def test_epochs_that_are_wholly_apart():
    y, who, epoch = three_epochs({20: 0.0, 60: 1.0}, paired=False)
    assert trend(y, who, epoch, paired=False, seed=1).points_per_step == pytest.approx(1)
    (contrast,) = contrasts(y, who, epoch, paired=False, seed=1)
    assert contrast.difference == 1 and contrast.p < 0.001


# --- answers ------------------------------------------------------------------------------------------------


def test_agreement():
    """By hand, after Krippendorff: pictures a and b judged alike, c not, d by one only."""
    y, who, what = [1, 1, 0, 0, 1, 0, 1], list("PQPQPQP"), list("aabbccd")
    # Of 6 answers that pair, 3 are 1: 1 - (6 - 1) * 1/3 pairs that differ / (expected 2 * 3 * 3 / 6).
    assert agreement(y, who, what) == pytest.approx(1 - 5 * 2 / (2 * 3 * 3))
    assert agreement([1, 1, 1, 1], list("PQPQ"), list("aabb")) is None
    assert agreement([], [], []) is None and agreement([1, 0], list("PQ"), list("ab")) is None


def test_response_times():
    found = response_times([np.nan, *range(101)])
    assert dataclasses.astuple(found) == (101, 50, (25, 75), (5, 95))
    assert response_times([]).median_ms is None


def test_extremes_weigh_how_many_judged():
    y = [1] * 3 + [1] * 19 + [0] + [0] * 12 + [0] * 3 + [1, 0] * 5 + [1, 1]
    what = ["a"] * 3 + ["b"] * 20 + ["c"] * 12 + ["d"] * 3 + ["e"] * 10 + ["f"] * 2
    most, least = extremes(y, what, count=2)
    assert [each.stimulus for each in most] == ["b", "a"] and [each.stimulus for each in least] == ["c", "d"]
    assert most[0].rate == 0.95 and most[0].trials == 20
    assert extremes([1, 0], ["a", "b"]) == ([], [])
    most, least = extremes([1] * 3, ["a"] * 3)
    assert len(most) == 1 and not least


def test_extremes_never_share_a_stimulus():
    rng = np.random.default_rng(0)
    for stimuli in range(1, 20):
        counts = rng.integers(3, 60, stimuli)
        what = np.repeat(np.arange(stimuli), counts)
        most, least = ({each.stimulus for each in side} for side in extremes(rng.random(len(what)) < 0.5, what))
        assert not most & least and len(most) <= (stimuli + 1) // 2 and len(least) <= stimuli // 2


# --- pick and tag -------------------------------------------------------------------------------------------


def duels(strengths, people=20, each=30, seed=0, ties=0.1):
    rng, epochs = np.random.default_rng(seed), list(strengths)
    a, b, y, who = [], [], [], []
    for person in range(people):
        for _ in range(each):
            first, second = rng.choice(epochs, 2, replace=False)
            a.append(first)
            b.append(second)
            won = rng.random() < expit(strengths[first] - strengths[second])
            y.append(0.5 if rng.random() < ties else float(won))
            who.append(person)
    return a, b, y, who, epochs


@pytest.fixture
def few_resamples(monkeypatch):
    monkeypatch.setattr(pairs, "STRENGTH_RESAMPLES", 100)


def test_strengths_are_recovered(few_resamples):
    strengths = {20: -0.6, 60: 0.0, 100: 0.6}
    found = preferences(*duels(strengths, people=60, ties=0), seed=1)
    for each in found.strengths:
        assert each.interval[0] < strengths[each.epoch] < each.interval[1]
        assert each.strength == pytest.approx(strengths[each.epoch], abs=0.15)
    duel = found.duels[1]
    assert (duel.epoch_a, duel.epoch_b) == (100, 20) and duel.wins + duel.ties + duel.losses > 500
    assert duel.interval[0] < expit(1.2) < duel.interval[1] and found.connected and not found.separated
    assert found == preferences(*duels(strengths, people=60, ties=0), seed=1)


def test_ties_are_half_a_win_for_each(few_resamples):
    a, b, y = [20, 20, 20, 20], [60, 60, 60, 60], [0.5, 0.5, 1, 0]
    found = preferences(a, b, y, list("PPQQ"), [20, 60], seed=1)
    assert found.strengths[0].strength == pytest.approx(0) and found.duels[0].ties == 2
    swapped = preferences(b, a, y, list("PPQQ"), [20, 60], seed=1)
    assert swapped.duels == found.duels


def test_epochs_that_were_not_compared(few_resamples):
    found = preferences([20, 100], [60, 140], [1, 1], ["P", "Q"], [20, 60, 100, 140], seed=1)
    assert not found.connected
    assert {(d.epoch_a, d.epoch_b) for d in found.duels if d.a_beats_b is not None} == {(60, 20), (140, 100)}
    one_sided = preferences([20] * 5, [60] * 5, [1] * 5, list("PQRST"), [20, 60], seed=1)
    assert one_sided.connected and one_sided.separated and one_sided.duels[0].a_beats_b < 0.1
    none = preferences([], [], [], [], [20, 60], seed=1)
    assert none.trials == 0 and [s.strength for s in none.strengths] == [0, 0] and none.strengths[0].interval is None
    assert preferences([20], [60], [1], ["P"], [20, 60], seed=1).strengths[0].interval is None


def test_tags():
    marks = [[{"tag": "blur", "box": [0, 0, 0.5, 0.5]}, {"tag": "blur", "box": None}], None, [],
             '[{"tag": "smear", "box": [0.5, 0.5, 0.5, 0.5]}]']
    found = {(t.epoch, t.tag): t for t in tag_rates(marks, ["P", "P", "Q", "Q"], [20, 20, 20, 60])}
    assert set(found) == {(epoch, tag) for epoch in (20, 60) for tag in ("any", *TAGS)}
    assert found[20, "blur"].rate.rate == pytest.approx(1 / 3) and found[20, "blur"].rate.interval
    assert found[20, "blur"].boxes == 1 and found[20, "smear"].rate.rate == 0 and found[60, "any"].rate.rate == 1
    assert found[20, "smear"].heat is None
    grid = np.array(found[20, "blur"].heat)
    assert grid.shape == (8, 8) and grid[:4, :4].min() == 1 and grid.sum() == 16


def test_heat_is_a_share_of_the_boxes():
    grid = np.array(heat([[0, 0, 1, 1], [0, 0, 0.0625, 0.125]]))
    assert grid[0, 0] == 0.75 and grid[7, 7] == 0.5 and grid[0, 1] == 0.5


# --- mixed model and signal detection -------------------------------------------------------------------------


def test_the_mixed_model_recovers_what_it_was_drawn_from():
    y, who, what = answers(people=60, trials=60, intercept=-1.1, person_sd=0.5, stimulus_sd=1.0, seed=3)
    found = mixed_model(y, who, [what])
    assert not found.failed and found.sd == pytest.approx((0.5, 1.0), rel=0.3)
    assert found.rate == pytest.approx(y.mean(), abs=0.02)
    low, high = crossed_interval(y, who, [what])
    assert found.interval == pytest.approx((low, high), abs=0.03) and found.interval[0] < found.rate < found.interval[1]
    swapped = mixed_model(1 - y, who, [what])
    assert swapped.rate == pytest.approx(1 - found.rate, abs=0.005)


def test_without_a_fit_the_mixed_model_says_why():
    y, who, what = answers(people=6, trials=4)
    assert mixed_model(y, who, [what]).failed == "too few people or pictures: 5 of each are needed"
    assert mixed_model([], [], [[]]).failed and mixed_model([], [], [[]]).rate is None
    y, who, what = answers(people=6, trials=6)
    assert mixed_model(np.zeros(36), who, [what]).failed == "all answers are alike"
    apart = mixed_model((what < 3).astype(float), who, [what])  # Each picture determines its answers.
    assert apart.failed == "the fit didn't converge" and apart.interval is apart.sd is None


def test_detection_is_that_of_the_shares():
    said = np.concatenate([np.ones(39), np.zeros(10), np.ones(19), np.zeros(30)])  # Of 49 fakes 39, of 49 reals 19.
    fake = np.repeat([1, 0], 49)
    one = detection(said, fake, np.zeros(98))
    z = stats.norm.ppf
    assert one.d_prime == pytest.approx(z(0.79) - z(0.39)) and one.criterion == pytest.approx(-(z(0.79) + z(0.39)) / 2)
    assert one.participants == 1 and one.d_prime_interval is one.criterion_interval is None
    rng = np.random.default_rng(1)
    who, fake = np.repeat(np.arange(40), 100), np.tile(np.arange(100) % 2, 40)
    said = rng.normal(1.5 * fake, 1) > 1.2  # d' of 1.5; the criterion is 1.2 − 0.75.
    found = detection(said, fake, who)
    assert found.d_prime == pytest.approx(1.5, abs=0.1) and found.criterion == pytest.approx(0.45, abs=0.05)
    assert found.d_prime_interval[0] < 1.5 < found.d_prime_interval[1] and found.participants == 40
    perfect = detection(fake, fake, who)
    assert 3 < perfect.d_prime < 6 and perfect.criterion == pytest.approx(0) and perfect.d_prime_interval is None
    assert detection([1, 0], [1, 1], ["P", "Q"]) is detection([], [], []) is None
