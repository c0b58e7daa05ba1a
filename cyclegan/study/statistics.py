"""Estimates and intervals for studies: arrays and tables in, small results out.

A participant's answers resemble each other, so trials are never treated as independent: every interval here is over
participants, and the crossed one over participants and stimuli. Which kind of interval was chosen by measuring how
often it covers the truth; see `benchmarks/study_coverage.py`.

Rates and intervals go from 0 to 1. Whatever is random is seeded, so that a report says the same twice.
"""

from __future__ import annotations

import itertools
import math
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.errors import StudyError
from cyclegan.study.protocol import TAGS, Protocol

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
RESAMPLES = 10_000
"""Of the papers' bootstrap; permutation tests use one less, which makes their p a round share."""
STRENGTH_RESAMPLES = 1_000
ASSUMED_CORRELATION = 0.05
"""Of a participant's answers, where they can't show it: what a participant sd of .5 on the logit scale amounts to."""
ASSUMED_STIMULUS_CORRELATION = 0.15
"""The same of answers to one stimulus: a stimulus sd of 1 on the logit scale."""
PLANNING_RATES = (0.05, 0.95)
"""Where participants are planned, a rate seen so far counts as no less and no more than these."""
MIN_PARTICIPANTS = 10
"""With fewer, the correlation of their answers is assumed, not estimated."""
TOLERANCE_MS = 50
"""A measured exposure further from the planned one than this is marked."""
HEAT_CELLS = 8
"""Rows and columns of the grid on which boxes are counted."""
PRIOR = 0.1
"""Wins that Bradley-Terry's fit adds for each of any two epochs: so it exists also where one has never lost."""


def seeded(seed: int, purpose: str) -> np.random.Generator:
    """The random numbers of one purpose within a study."""
    return np.random.default_rng(zlib.crc32(f"{seed}|{purpose}".encode()))


# --- rates --------------------------------------------------------------------------------------------------


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
    y, (person,), w = _arrays(values, [participants], weights)
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
    y, factors, w = _arrays(values, [participants, *stimuli], None)
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


def _arrays(values: Any, factors: Sequence[Any], weights: Any) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
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
    y, (person,), _ = _arrays(values, [participants], None)
    if not len(y):
        return PaperFigure(None, None)
    fooled, trials = np.bincount(person, y), np.bincount(person)
    return PaperFigure(float(y.mean()), float(_resampled(fooled, trials, seeded(seed, "paper")).std()))


def _resampled(fooled: np.ndarray, trials: np.ndarray, rng: np.random.Generator, people: Any = None) -> np.ndarray:
    """Rates when participants and then their trials are drawn again: (RESAMPLES,)."""
    people = rng.integers(0, len(trials), (RESAMPLES, len(trials))) if people is None else people
    # Drawing from n answers, k of them 1, with replacement gives a binomial number of ones.
    drawn = rng.binomial(trials[people], (fooled / np.maximum(trials, 1))[people])
    return drawn.sum(1) / np.maximum(trials[people].sum(1), 1)


# --- how many participants ----------------------------------------------------------------------------------


def correlation(values: Any, participants: Any) -> float | None:
    """How much a participant's answers resemble each other: the intra-participant correlation, by analysis of variance.

    Returns:
        1 at most; a little below 0 where participants differ less than chance would have it; None where answers can't
        show it: all alike, or fewer than two participants.
    """
    y, (person,), _ = _arrays(values, [participants], None)
    sizes = np.bincount(person) if len(y) else np.zeros(0)
    if len(sizes) < 2 or len(y) <= len(sizes) or not y.std():
        return None
    means = np.bincount(person, y) / sizes
    between = float((sizes * (means - y.mean()) ** 2).sum() / (len(sizes) - 1))
    within = float(((y - means[person]) ** 2).sum() / (len(y) - len(sizes)))
    size = (len(y) - (sizes**2).sum() / len(y)) / (len(sizes) - 1)
    return (between - within) / (between + (size - 1) * within)


def half_width(participants: int, rate: float, icc: float, trials: float) -> float:
    """± of a 95% interval for `participants` with `trials` each, by the design effect 1 + (trials − 1) × icc."""
    design = 1 + (trials - 1) * icc
    return _z(LEVEL) * math.sqrt(rate * (1 - rate) * design / (participants * trials))


def planning_rate(rate: float) -> float:
    """The rate to plan with. Near 0 and 1 a Wald interval is far too narrow: 0 of 40 would need nobody else."""
    low, high = PLANNING_RATES
    return min(max(rate, low), high)


def participants_for(width: float, rate: float, icc: float, trials: float) -> int:
    """Participants with `trials` each for a 95% interval of ± `width`."""
    return max(2, math.ceil(half_width(1, rate, icc, trials) ** 2 / width**2 - 1e-9))


def participants_to_tell(rate_a: float, rate_b: float, icc: float, trials: float, power: float = 0.8) -> int | None:
    """Participants of each of two epochs that tell these rates apart, at the 5% level with this power; None if equal.

    For two groups of people. Where the same people judge both epochs, fewer are enough. Variances are those of
    `planning_rate`; the difference is that of the rates themselves.
    """
    from scipy.stats import norm

    if abs(rate_a - rate_b) < 1e-9:
        return None
    variance = sum(rate * (1 - rate) for rate in map(planning_rate, (rate_a, rate_b)))
    z = _z(LEVEL) + float(norm.ppf(power))
    trials_needed = z**2 * variance / (rate_a - rate_b) ** 2 * (1 + (trials - 1) * icc)
    return max(2, math.ceil(trials_needed / trials - 1e-9))


def _z(level: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf((1 + level) / 2))


@dataclass(frozen=True)
class Resolution:
    """What a study can tell before anyone has voted."""

    half_width: float
    """± of an epoch's 95% interval, 0 to 1."""
    trials: int
    """That count, of one participant for one epoch."""
    for_5_points: int
    """Participants per epoch for ± 5 points."""
    for_3_points: int
    to_tell: int
    """Participants per epoch that tell 20% from 27% at 80% power."""


def resolution(
    protocol: Protocol, participants: int, rate: float = 0.27, icc: float = ASSUMED_CORRELATION, epochs: int = 1
) -> Resolution:
    """What `participants` per epoch can resolve under a protocol.

    Args:
        rate: the expected fooling rate.
        icc: the expected intra-participant correlation.
        epochs: of the study. They share a participant's trials where sessions are mixed.

    Raises:
        StudyError: a number is out of its range.
    """
    if participants < 1 or epochs < 1:
        raise StudyError("a study needs at least one participant and one epoch")
    if not 0 < rate < 1 or not 0 <= icc <= 1:
        raise StudyError("the expected rate lies between 0 and 1, and the correlation from 0 to 1")
    trials = trials_per_epoch(protocol, epochs)
    return Resolution(
        half_width(participants, rate, icc, trials), trials, participants_for(0.05, rate, icc, trials),
        participants_for(0.03, rate, icc, trials), participants_to_tell(0.20, 0.27, icc, trials) or 0,
    )  # fmt: skip


def trials_per_epoch(protocol: Protocol, epochs: int) -> int:
    """Trials of one complete session that count for one epoch."""
    trials = protocol.counts["comparison"]
    if protocol.task == "realness" and protocol.presentation == "single":
        trials //= 2  # The other half are real pictures.
    if protocol.epochs_per_session == "mixed" or protocol.task == "pick":
        trials //= epochs
    return max(1, trials)


# --- several epochs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trend:
    """Whether the rate rises or falls from epoch to epoch."""

    points_per_step: float
    """Change of the rate from one of the study's epochs to the next, 0 to 1: a straight line over their order."""
    interval: tuple[float, float] | None
    p: float
    """Of a permutation test, two-sided."""
    participants: int


def trend(values: Any, participants: Any, epochs: Any, *, paired: bool, seed: int) -> Trend | None:
    """A straight line through the participants' rates over the order of the epochs.

    Args:
        values, participants, epochs: (N,), one per trial.
        paired: each participant judged several epochs: then a line for each participant, and their mean against 0 by
            flipping signs. Else participants' rates are exchanged between the epochs.

    Returns:
        None with fewer than three participants or two epochs, or where all rates are alike.
    """
    from scipy import stats

    means = _means(values, participants, epochs)
    order = {epoch: place for place, epoch in enumerate(sorted(set(means.columns)))}
    if len(order) < 2:
        return None
    rng = seeded(seed, "trend")
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
                                      n_resamples=RESAMPLES - 1, rng=rng)
        half = float(stats.t.ppf((1 + LEVEL) / 2, len(y) - 1) * stats.sem(y))
        return Trend(float(y.mean()), (float(y.mean()) - half, float(y.mean()) + half), float(test.pvalue), len(y))
    long = means.stack().dropna()
    x, y = np.array([order[e] for e in long.index.get_level_values(1)], float), long.to_numpy(float)
    if len(y) < 3 or y.std() < 1e-12 or not x.std():
        return None

    def slope(y: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.moveaxis(y, axis, -1) @ (x - x.mean()) / ((x - x.mean()) ** 2).sum()

    test = stats.permutation_test((y,), slope, permutation_type="pairings", vectorized=True,
                                  n_resamples=RESAMPLES - 1, rng=rng)
    # Epochs with rates near 0 or 1 vary less than others: the line's error mustn't take them for alike (White, HC1).
    found = float(slope(y))
    residuals = y - y.mean() - found * (x - x.mean())
    error = math.sqrt(len(y) / (len(y) - 2) * (((x - x.mean()) * residuals) ** 2).sum()) / ((x - x.mean()) ** 2).sum()
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(y) - 2)) * error
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
    """Of a permutation test on participants' rates, two-sided; None with fewer than two participants of either."""
    p_holm: float | None
    """Corrected for all contrasts of the study."""
    a_beats_b: float
    """P(A > B) as AMT_Real_vs_Fake prints it: share of bootstrap samples, ties half."""
    paired: bool
    """The same participants judged both, and are compared with themselves."""
    participants_a: int
    """On whom difference, interval and p rest; if paired, the same number twice."""
    participants_b: int


def contrasts(values: Any, participants: Any, epochs: Any, *, paired: bool, seed: int) -> list[Contrast]:
    """Every epoch against every other, later one first; p corrected by Holm's method.

    Args:
        values, participants, epochs: (N,), one per trial.
        paired: each participant judged several epochs; then those who judged both are compared with themselves.
    """
    from statsmodels.stats.multitest import multipletests

    means = _means(values, participants, epochs)
    samples = _samples(values, participants, epochs, paired, seed)
    found = []
    for b, a in itertools.combinations(sorted(means.columns), 2):
        rng = seeded(seed, f"contrast {a} {b}")
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
    return [
        contrast if contrast.p is None
        else Contrast(**{**contrast.__dict__, "p_holm": float(next(corrected))})
        for contrast in found
    ]  # fmt: skip


def _samples(values: Any, participants: Any, epochs: Any, paired: bool, seed: int) -> dict[Any, np.ndarray]:
    """Each epoch's rates in the papers' bootstrap; of the same people at a time where they judge several epochs."""
    trials, fooled = (_means(values, participants, epochs, how).fillna(0) for how in ("count", "sum"))
    rng = seeded(seed, "samples")
    people = rng.integers(0, len(trials), (RESAMPLES, len(trials))) if paired else None
    found = {}
    for epoch in trials:
        there = slice(None) if paired else (trials[epoch] > 0).to_numpy()
        found[epoch] = _resampled(fooled[epoch].to_numpy(float)[there], trials[epoch].to_numpy(int)[there], rng, people)
    return found


def _difference(
    x: np.ndarray, y: np.ndarray, paired: bool, rng: np.random.Generator
) -> tuple[tuple[float, float] | None, float | None]:
    """Interval and p of a difference of means."""
    from scipy import stats

    if min(len(x), len(y)) < 2:
        return None, None
    test = stats.permutation_test(
        (x - y,) if paired else (x, y), _mean if paired else _difference_of_means,
        permutation_type="samples" if paired else "independent", vectorized=True, n_resamples=RESAMPLES - 1, rng=rng,
    )  # fmt: skip
    spread = (x - y).std() if paired else x.std() + y.std()
    if spread < 1e-12:
        return None, float(test.pvalue)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # One of the two groups may be all alike.
        t = stats.ttest_rel(x, y) if paired else stats.ttest_ind(x, y, equal_var=False)
    low, high = t.confidence_interval(LEVEL)
    return (float(low), float(high)), float(test.pvalue)


def _mean(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return x.mean(axis=axis)


def _difference_of_means(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    return x.mean(axis=axis) - y.mean(axis=axis)


def _means(values: Any, participants: Any, epochs: Any, how: str = "mean") -> pd.DataFrame:
    """A row per participant, a column per epoch."""
    import pandas as pd

    frame = pd.DataFrame({"y": np.asarray(values, float), "who": np.asarray(participants, object),
                          "epoch": np.asarray(epochs)}).dropna()
    table = frame.groupby(["who", "epoch"])["y"].agg(how).unstack()
    return table


# --- quality of the answers ---------------------------------------------------------------------------------


def agreement(values: Any, participants: Any, stimuli: Any) -> float | None:
    """Krippendorff's alpha (nominal): whether participants say the same of the same picture; 1 always, 0 by chance.

    Near a fooling rate of 50%, a low one is expected: it describes, and is no test of quality.

    Returns:
        None where nobody judged what another did, or all answers are alike.
    """
    import krippendorff
    import pandas as pd

    frame = pd.DataFrame({"y": np.asarray(values, float), "stimulus": np.asarray(stimuli, object),
                          "who": np.asarray(participants, object)}).dropna()
    frame = frame.drop_duplicates(["stimulus", "who"])
    if not len(frame):
        return None
    kinds = sorted(frame["y"].unique())
    counts = frame.groupby(["stimulus", "y"]).size().unstack(fill_value=0)[kinds].to_numpy()
    counts = counts[counts.sum(1) > 1]
    if len(counts) < 2 or (counts.sum(0) > 0).sum() < 2:
        return None
    return float(krippendorff.alpha(value_counts=counts, value_domain=kinds, level_of_measurement="nominal"))


@dataclass(frozen=True)
class Times:
    """Response times of some trials, in ms."""

    trials: int
    median_ms: float | None
    quartiles_ms: tuple[float, float] | None
    range_ms: tuple[float, float] | None
    """The 5th and the 95th percentile."""


def response_times(ms: Any) -> Times:
    """Median, quartiles, and the range of nine tenths of the trials."""
    x = np.asarray(ms, float)
    x = x[~np.isnan(x)]
    if not len(x):
        return Times(0, None, None, None)
    low, first, median, third, high = (float(v) for v in np.percentile(x, [5, 25, 50, 75, 95]))
    return Times(len(x), median, (first, third), (low, high))


@dataclass(frozen=True)
class Extreme:
    """A stimulus and how often it was taken for real."""

    stimulus: str
    rate: float
    trials: int


def extremes(values: Any, stimuli: Any, count: int = 8, least: int = 3) -> tuple[list[Extreme], list[Extreme]]:
    """The stimuli with the highest and with the lowest rate, of those that were judged `least` times or more.

    In order of Wilson's bounds (lower for the highest, upper for the lowest), so that 3 of 3 is no more than 19 of 20.
    """
    import pandas as pd
    from statsmodels.stats.proportion import proportion_confint

    frame = pd.DataFrame({"y": np.asarray(values, float), "stimulus": np.asarray(stimuli, object)}).dropna()
    table = frame.groupby("stimulus")["y"].agg(["sum", "count"])
    table = table[table["count"] >= least]
    if not len(table):
        return [], []
    table["low"], table["high"] = proportion_confint(table["sum"], table["count"], method="wilson")
    found = []
    for column, ascending in (("low", False), ("high", True)):
        rows = table.sort_index().sort_values(column, ascending=ascending, kind="stable").head(min(count, len(table)))
        found.append([Extreme(str(name), float(row["sum"] / row["count"]), int(row["count"]))
                      for name, row in rows.iterrows()])
    # With few stimuli, none is at both ends.
    most, fewest = found
    half = (len(table) + 1) // 2
    return most[:half], fewest[: len(table) - min(half, len(most))]


# --- pick: preferences --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Strength:
    """How an epoch does in preferences."""

    epoch: int
    strength: float
    """Bradley and Terry's, on the logit scale; the mean over epochs is 0."""
    interval: tuple[float, float] | None
    """95% over participants; None with fewer than two."""


@dataclass(frozen=True)
class Duel:
    """Two epochs in preferences."""

    epoch_a: int
    epoch_b: int
    wins: int
    """Of a."""
    ties: int
    losses: int
    a_beats_b: float | None
    """By the model; None where neither can be reached from the other by comparisons."""
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Preferences:
    """Bradley-Terry over epochs."""

    strengths: list[Strength]
    duels: list[Duel]
    participants: int
    trials: int
    connected: bool
    """Whether comparisons link all epochs; if not, strengths of unlinked ones can't be compared."""
    separated: bool
    """Some epochs have never lost to others: how far apart they are is set by PRIOR alone."""


def preferences(
    epoch_a: Any, epoch_b: Any, a_wins: Any, participants: Any, epochs: Sequence[int], seed: int
) -> Preferences:
    """Bradley-Terry strengths (Bradley and Terry, 1952), a tie being half a win for each.

    Fitted by `choix`, with PRIOR added, so that a fit exists whatever the wins. Intervals: participants
    are resampled 1,000 times; ± t's quantile × the standard deviation, corrected for its being that of few.

    Args:
        epoch_a, epoch_b: (N,), what was compared in each trial.
        a_wins: (N,), 1, 0.5 for a tie, 0.
        participants: (N,), who judged.
        epochs: all of the study.
    """
    from scipy.sparse.csgraph import connected_components
    from scipy.special import expit
    from scipy.stats import t

    place = {epoch: n for n, epoch in enumerate(epochs)}
    y, (person,), _ = _arrays(a_wins, [participants], None)
    there = ~np.isnan(np.asarray(a_wins, float))
    a, b = (np.array([place[int(e)] for e in np.asarray(x)[there]], int) for x in (epoch_a, epoch_b))
    people, size = (int(person.max()) + 1 if len(y) else 0), len(epochs)
    wins = np.zeros((people, size, size))
    np.add.at(wins, (person, a, b), y)
    np.add.at(wins, (person, b, a), 1 - y)
    total = wins.sum(0)
    linked, island = connected_components(total, directed=False)
    strong, _ = connected_components(total, directed=True, connection="strong")
    fit = _strengths(total)
    spread = np.zeros((size, size))
    half = None
    if people > 1:
        drawn = seeded(seed, "strengths").multinomial(people, np.full(people, 1 / people), STRENGTH_RESAMPLES)
        samples = np.array([_strengths(np.tensordot(weights, wins, 1)) for weights in drawn])
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


def _strengths(wins: np.ndarray) -> np.ndarray:
    """Bradley-Terry of a (n, n) table of wins, of a row over a column."""
    import choix

    strengths = choix.ilsr_pairwise_dense(wins + PRIOR * (1 - np.eye(len(wins))), max_iter=10_000)
    return strengths - strengths.mean()


# --- tag: what is wrong -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TagRate:
    """How often fakes of an epoch were marked with a tag."""

    epoch: int
    tag: str
    """One of plan.TAGS, or "any"."""
    rate: Rate
    boxes: int
    heat: list[list[float]] | None
    """Where: the part of the boxes that cover each cell of a grid, rows from the top; None without boxes."""


def tag_rates(marks: Sequence[Any], participants: Any, epochs: Any) -> list[TagRate]:
    """The share of trials with each tag, per epoch, with intervals over participants.

    Args:
        marks: one per trial: a list of {"tag", "box": [x, y, w, h] in 0 to 1, or None}; None or empty: nothing wrong.
        participants, epochs: (N,).
    """
    who, when = np.asarray(participants, object), np.asarray(epochs)
    lists = [marks_of(value) for value in marks]
    found = []
    for epoch in sorted(set(when.tolist())):
        of_epoch = np.flatnonzero(when == epoch)
        for tag in ("any", *TAGS):
            share = [float(any(tag in ("any", mark["tag"]) for mark in lists[n])) for n in of_epoch]
            boxes = [mark["box"] for n in of_epoch for mark in lists[n] if tag in ("any", mark["tag"]) and mark["box"]]
            found.append(TagRate(int(epoch), tag, clustered_rate(share, who[of_epoch]), len(boxes), heat(boxes)))
    return found


def heat(boxes: Sequence[Sequence[float]]) -> list[list[float]] | None:
    """The part of the boxes, 0 to 1, over each cell of a grid; boxes that cover a part of a cell count as that part."""
    if not boxes:
        return None
    edges = np.linspace(0, 1, HEAT_CELLS + 1)
    x, y, w, h = np.asarray(boxes, float).T

    def covered(start: np.ndarray, length: np.ndarray) -> np.ndarray:
        inner = np.minimum((start + length)[:, None], edges[1:]) - np.maximum(start[:, None], edges[:-1])
        return np.clip(inner * HEAT_CELLS, 0, 1)

    grid = np.einsum("ny,nx->yx", covered(y, h), covered(x, w)) / len(boxes)
    return [[round(float(cell), 4) for cell in row] for row in grid]


def marks_of(value: Any) -> list[Mapping[str, Any]]:
    """Marks of one trial, whether they come as a list or as JSON text."""
    import json

    if isinstance(value, str):
        value = json.loads(value)
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else []
