"""Participants that a study needs for the precision it aims at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cyclegan.errors import StudyError
from cyclegan.study.protocol import Protocol
from cyclegan.study.statistics.rates import ASSUMED_CORRELATION, LEVEL

PLANNING_RATES = (0.05, 0.95)
"""Bounds of a rate to plan with; an observed rate outside counts as the nearer bound."""
MIN_PARTICIPANTS = 10
"""With fewer, the correlation of their answers is assumed, not estimated."""


def half_width(participants: int, rate: float, icc: float, trials: float) -> float:
    """Return ± of a 95% interval for `participants` with `trials` each, by the design effect 1 + (trials − 1) × icc."""
    design = 1 + (trials - 1) * icc
    return _z(LEVEL) * math.sqrt(rate * (1 - rate) * design / (participants * trials))


def planning_rate(rate: float) -> float:
    """Return the rate to plan with. Near 0 and 1 a Wald interval is far too narrow: 0 of 40 would need nobody else."""
    low, high = PLANNING_RATES
    return min(max(rate, low), high)


def participants_for(width: float, rate: float, icc: float, trials: float) -> int:
    """Return the number of participants with `trials` each for a 95% interval of ± `width`."""
    return max(2, math.ceil(half_width(1, rate, icc, trials) ** 2 / width**2 - 1e-9))


def participants_to_tell(rate_a: float, rate_b: float, icc: float, trials: float, power: float = 0.8) -> int | None:
    """Return the participants per epoch that distinguish two rates at the 5% level with this power; None if equal.

    For two groups of people; fewer are enough if the same people judge both epochs. Variances use `planning_rate`; the
    difference is that of the rates themselves.
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
    """Precision of a study, known before anyone has voted."""

    half_width: float
    """± of an epoch's 95% interval, 0 to 1."""
    trials: int
    """Trials of one participant that count for one epoch."""
    for_5_points: int
    """Participants per epoch for ± 5 points."""
    for_3_points: int
    to_tell: int
    """Participants per epoch that distinguish 20% from 27% at 80% power."""


def resolution(
    protocol: Protocol, participants: int, rate: float = 0.27, icc: float = ASSUMED_CORRELATION, epochs: int = 1
) -> Resolution:
    """Return the precision that `participants` per epoch reach under a protocol.

    Args:
        rate: the expected fooling rate.
        icc: the expected intra-participant correlation.
        epochs: number of the study's epochs, which share a participant's trials if sessions are mixed.

    Raises:
        StudyError: a number is out of its range.
    """
    if participants < 1 or epochs < 1:
        raise StudyError("a study needs at least one participant and one epoch")
    if not 0 < rate < 1 or not 0 <= icc <= 1:
        raise StudyError("the expected rate must be between 0 and 1, and the correlation from 0 to 1")
    trials = trials_per_epoch(protocol, epochs)
    return Resolution(
        half_width(participants, rate, icc, trials), trials, participants_for(0.05, rate, icc, trials),
        participants_for(0.03, rate, icc, trials), participants_to_tell(0.20, 0.27, icc, trials) or 0,
    )  # fmt: skip


def trials_per_epoch(protocol: Protocol, epochs: int) -> int:
    """Return the trials of one complete session that count for one epoch."""
    trials = protocol.counts["comparison"]
    if protocol.task == "realness" and protocol.presentation == "single":
        trials //= 2  # The other half are real pictures.
    if protocol.epochs_per_session == "mixed" or protocol.task == "pick":
        trials //= epochs
    return max(1, trials)
