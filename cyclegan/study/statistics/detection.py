"""Signal detection for pictures that are judged one by one: sensitivity, and the inclination to one answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cyclegan.study.statistics.rates import LEVEL, arrays


@dataclass(frozen=True)
class Detection:
    """Means over participants, with t's 95% intervals; None with fewer than two participants, or if all are alike."""

    d_prime: float
    """Distance of fakes from real pictures in standard deviations: 0 where people can't distinguish them."""
    d_prime_interval: tuple[float, float] | None
    criterion: float
    """0 if neither answer is preferred; below 0, "fake" is, above 0, "real"."""
    criterion_interval: tuple[float, float] | None
    participants: int


def detection(said_fake: Any, is_fake: Any, participants: Any) -> Detection | None:
    """Return d′ = z(hits) − z(false alarms) and the criterion −(z(hits) + z(false alarms)) / 2.

    A hit is a fake that was called fake, a false alarm a real picture that was. Shares are corrected log-linearly,
    (n + 0.5) / (N + 1), so that 0 and 1 have a z, too (Hautus, Corrections for extreme proportions, 1995; Macmillan and
    Creelman, Detection Theory, 2005).

    Args:
        said_fake, is_fake: (N,), 0 or 1, one per trial.
        participants: (N,), who judged.

    Returns:
        None if nobody judged both kinds.
    """
    from scipy import stats

    y, (who,), fake = arrays(said_fake, [participants], np.asarray(is_fake, float))
    people = int(who.max()) + 1 if len(y) else 0
    counts = [np.bincount(who[fake == kind], minlength=people) for kind in (1, 0)]
    said = [np.bincount(who[fake == kind], y[fake == kind], people) for kind in (1, 0)]
    both = (counts[0] > 0) & (counts[1] > 0)
    if not both.any():
        return None
    hits, alarms = (stats.norm.ppf((n[both] + 0.5) / (of[both] + 1)) for n, of in zip(said, counts, strict=True))

    def mean(values: np.ndarray) -> tuple[float, tuple[float, float] | None]:
        found = float(values.mean())
        if len(values) < 2 or values.std() < 1e-12:
            return found, None
        half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
        return found, (found - half, found + half)

    return Detection(*mean(hits - alarms), *mean(-(hits + alarms) / 2), int(both.sum()))
