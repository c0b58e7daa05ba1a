"""An interval that holds at every moment at which somebody looks, so that one may stop at a lucky one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cyclegan.study.statistics.rates import LEVEL, arrays

PRIOR_VARIANCE = 1.0
"""Variance of the mixture over distances in standard deviations; a larger one favours early looks."""


def always_valid(values: Any, participants: Any, level: float = LEVEL) -> tuple[float, float] | None:
    """Return a confidence sequence's interval of a rate, for these pictures: all looks together err in 1 − `level`.

    It is the mixture of t-tests over a normal distribution of the effect, which may be looked at after each participant
    (Hendriksen, de Heide and Grünwald, Optional stopping with Bayes factors, 2021), of participants' rates on the logit
    scale. Rates differ at least by chance, and two answers, one of each kind, are added to all; without that, the first
    few participants could be all alike.

    Args:
        values: (N,), 0 to 1, one per trial.
        participants: (N,), who judged.
        level: from 0 to 1.

    Returns:
        None with fewer than two participants; (0, 1) while there are too few to exclude anything.
    """
    from scipy.special import expit, logit

    y, (person,), _ = arrays(values, [participants], None)
    count = int(person.max()) + 1 if len(y) else 0
    if count < 2:
        return None
    trials = np.bincount(person)
    means = np.bincount(person, y) / trials
    rate = (y.sum() + 1) / (len(y) + 2)
    variance = max(float(means.var(ddof=1)), rate * (1 - rate) * float((1 / trials).mean())) / count
    wide = 1 + count * PRIOR_VARIANCE
    bound = (math.sqrt(wide) / (1 - level)) ** (2 / count)
    if bound >= wide:
        return 0.0, 1.0
    t = math.sqrt((count - 1) * (bound - 1) / (1 - bound / wide))
    half = t * math.sqrt(variance) / (rate * (1 - rate))
    return float(expit(logit(rate) - half)), float(expit(logit(rate) + half))
