"""Participants that a study needs for the precision it aims at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cyclegan.errors import StudyError
from cyclegan.study.protocol import Protocol
from cyclegan.study.statistics.rates import ASSUMED_CORRELATION, ASSUMED_STIMULUS_CORRELATION, LEVEL

PLANNING_RATES = (0.05, 0.95)
"""Bounds of a rate to plan with; an observed rate outside counts as the nearer bound."""
MIN_PARTICIPANTS = 10
"""With fewer, the correlation of their answers is assumed, not estimated."""


ASSURANCE = 0.8
"""Share of studies that should reach the precision which was promised."""
MOST = 100_000
"""Participants: a precision that takes more isn't reached."""
Pictures = Sequence[tuple[float, int]]
"""For each role of a trial's pictures (the fake, the real one): correlation of the answers to one picture, and the
number of pictures. Empty: a rate is wanted for these pictures only."""


def half_width(
    participants: int, rate: float, icc: float, trials: float, pictures: Pictures = (), known: float = math.inf
) -> float:
    """Return ± of a 95% interval, which ASSURANCE of studies with `participants` of `trials` each don't exceed.

    The variance of a rate is that between participants, that between pictures, and that of the single answers. A study
    estimates it with as many degrees of freedom as the fewer of participants and pictures, less one, and takes t's
    quantile for them (Kupper and Hafner, How appropriate are popular sample size formulas?, 1989).

    Args:
        icc: intra-participant correlation.
        pictures: for a rate that holds for other pictures, too.
        known: degrees of freedom from which the correlations were estimated; infinite: they are given.
    """
    from scipy.stats import f, t

    answers = participants * trials
    variance = icc / participants + (1 - icc - sum(each for each, _ in pictures)) / answers
    variance += sum(each / min(count, answers) for each, count in pictures)
    freedom = max(1, min([participants, *(count for _, count in pictures)]) - 1)
    variance *= rate * (1 - rate) * max(1.0, f.ppf(ASSURANCE, freedom, min(known, 1e9)))
    return min(1.0, float(t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance))


def planning_rate(rate: float) -> float:
    """Return the rate to plan with. Near 0 and 1 a Wald interval is far too narrow: 0 of 40 would need nobody else."""
    low, high = PLANNING_RATES
    return min(max(rate, low), high)


def cautious_rate(rate: float, answers: float) -> float:
    """Return the rate to plan with after few answers: the end of its interval of ASSURANCE that is nearer to 50%.

    Args:
        answers: their number, divided by the design effect.
    """
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(rate * answers, answers, alpha=2 * (1 - ASSURANCE), method="wilson")
    return planning_rate(min(max(0.5, float(low)), float(high)))


def participants_for(
    width: float, rate: float, icc: float, trials: float, pictures: Pictures = (), known: float = math.inf
) -> int | None:
    """Return the participants for a 95% interval of ± `width` in ASSURANCE of studies; None if no number is enough.

    The arguments are those of `half_width`.
    """
    return _least(lambda people: half_width(people, rate, icc, trials, pictures, known) <= width)


def pictures_for(
    width: float, rate: float, icc: float, trials: float, pictures: Pictures, known: float = math.inf
) -> int | None:
    """Return the pictures of each role that leave half of the variance of ± `width` to participants.

    The arguments are those of `half_width`; of `pictures`, only the correlations are used.
    """

    def enough(count: int) -> bool:
        every = [(each, count) for each, _ in pictures]
        return half_width(MOST, rate, icc, trials, every, known) <= width / math.sqrt(2)

    return _least(enough)


def participants_to_tell(
    rate_a: float, rate_b: float, icc: float, trials: float, power: float = 0.8, pictures: Pictures = (),
    comparisons: int = 1,
) -> int | None:  # fmt: skip
    """Return the participants per epoch that distinguish two rates at the 5% level with this power.

    For two groups of people; fewer are enough if the same people judge both epochs. Variances use `planning_rate`; the
    difference is that of the rates themselves.

    Args:
        pictures: for a difference that holds for other pictures, too.
        comparisons: number of tests that are corrected by Holm; the power is that of the strictest.

    Returns:
        None if the rates are equal, or no number of participants is enough with so few pictures.
    """
    if abs(rate_a - rate_b) < 1e-9:
        return None
    wanted = (rate_a - rate_b) ** 2 * (1 + 1e-9)
    plan = (rate_a, rate_b, icc, trials, power, pictures, comparisons)
    return _least(lambda people: _squared_difference(people, *plan) <= wanted)


def pictures_to_tell(
    rate_a: float, rate_b: float, icc: float, trials: float, pictures: Pictures, power: float = 0.8,
    comparisons: int = 1,
) -> int | None:  # fmt: skip
    """Return the pictures of each role that leave half of the variance of a difference to participants.

    The arguments are those of `participants_to_tell`; of `pictures`, only the correlations are used.
    """

    def enough(count: int) -> bool:
        every = [(each, count) for each, _ in pictures]
        found = _squared_difference(MOST, rate_a, rate_b, icc, trials, power, every, comparisons)
        return found <= (rate_a - rate_b) ** 2 / 2

    return _least(enough)


def _squared_difference(
    people: int, rate_a: float, rate_b: float, icc: float, trials: float, power: float, pictures: Pictures,
    comparisons: int,
) -> float:  # fmt: skip
    """Return the square of the difference that so many people per epoch distinguish."""
    from scipy.stats import t

    single = sum(rate * (1 - rate) for rate in map(planning_rate, (rate_a, rate_b)))
    freedom = max(1, min([2 * people - 2, *(count - 1 for _, count in pictures)]))
    quantiles = float(t.ppf([1 - (1 - LEVEL) / 2 / comparisons, power], freedom).sum())
    answers = people * trials
    variance = icc / people + (1 - icc) / answers + sum(each / min(count, answers) for each, count in pictures)
    return quantiles**2 * single * variance


def _least(enough: Callable[[int], bool]) -> int | None:
    """Return the least number from 2 to MOST that is enough, if all larger ones are; None if none is."""
    few, many = 1, 2
    while not enough(many):
        few, many = many, 2 * many
        if many > MOST:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many


@dataclass(frozen=True)
class Resolution:
    """Precision of a study, known before anyone has voted."""

    half_width: float
    """± of an epoch's 95% interval for these pictures, 0 to 1, which ASSURANCE of studies reach."""
    trials: int
    """Trials of one participant that count for one epoch."""
    for_5_points: int | None
    """Participants per epoch for ± 5 points; None if no number is enough."""
    for_3_points: int | None
    comparisons: int
    """Pairs of epochs that the report compares; Holm corrects for them."""
    to_tell: int | None
    """Participants per epoch that distinguish 20% from 27% in these pictures at 80% power, by the strictest test."""
    to_tell_crossed: int | None
    """The same for other pictures, too, as the report tests it; None if no number is enough, or pictures are unknown.
    """
    pictures_to_tell: int | None
    """Pictures that it takes for that with about twice `to_tell`."""
    pictures: int | None
    """Pictures of the role with fewest; None if unknown, and so is what follows."""
    crossed_half_width: float | None
    """± with these participants of the interval that holds for other pictures, too."""
    crossed_least: float | None
    """± of that interval with any number of participants."""
    pictures_for_5_points: int | None
    """Pictures that it takes for ± 5 points and about twice `for_5_points`."""


def resolution(
    protocol: Protocol, participants: int, rate: float = 0.27, icc: float = ASSUMED_CORRELATION, epochs: int = 1,
    pictures: Sequence[int] = (),
) -> Resolution:  # fmt: skip
    """Return the precision that `participants` per epoch reach under a protocol.

    Args:
        rate: the expected fooling rate.
        icc: the expected intra-participant correlation.
        epochs: number of the study's epochs, which share a participant's trials if sessions are mixed.
        pictures: numbers of the fakes of an epoch, and of the real pictures next to them if they vary, too.

    Raises:
        StudyError: a number is out of its range.
    """
    if participants < 1 or epochs < 1:
        raise StudyError("a study needs at least one participant and one epoch")
    if not 0 < rate < 1 or not 0 <= icc <= 1:
        raise StudyError("the expected rate must be between 0 and 1, and the correlation from 0 to 1")
    trials = trials_per_epoch(protocol, epochs)
    plan = (rate, icc, trials)
    every = assumed_pictures(pictures)
    comparisons = math.comb(epochs, 2)
    strictest = max(1, comparisons)
    to_tell = (0.20, 0.27, icc, trials)
    return Resolution(
        half_width(participants, *plan), trials, participants_for(0.05, *plan), participants_for(0.03, *plan),
        comparisons, participants_to_tell(*to_tell, comparisons=strictest),
        participants_to_tell(*to_tell, pictures=every, comparisons=strictest) if every else None,
        pictures_to_tell(*to_tell, every, comparisons=strictest) if every else None,
        min(pictures) if pictures else None,
        half_width(participants, *plan, every) if every else None,
        half_width(MOST, *plan, every) if every else None, pictures_for(0.05, *plan, every) if every else None,
    )  # fmt: skip


def assumed_pictures(counts: Sequence[int]) -> Pictures:
    """Return numbers of pictures with the correlation that is assumed, of which each role has its part."""
    return [(ASSUMED_STIMULUS_CORRELATION / len(counts), max(1, count)) for count in counts]


def trials_per_epoch(protocol: Protocol, epochs: int) -> int:
    """Return the trials of one complete session that count for one epoch."""
    trials = protocol.counts["comparison"]
    if protocol.task == "realness" and protocol.presentation == "single":
        trials //= 2  # The other half are real pictures.
    if protocol.epochs_per_session == "mixed" or protocol.task == "pick":
        trials //= epochs
    return max(1, trials)
