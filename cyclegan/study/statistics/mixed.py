"""A logistic mixed model with crossed participants and pictures: a second opinion about a rate.

It is fitted as lme4's glmer does it, by maximum likelihood with Laplace's approximation. statsmodels has no such fit:
in simulated studies, the 95% intervals of its variational one (BinomialBayesMixedGLM.fit_vb) covered 7 of 12 truths,
and its fit_map didn't converge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cyclegan.study.statistics.rates import LEVEL, arrays

LEAST = 5
"""Participants, and pictures of each role, without which nothing is fitted."""
SD_LIMIT = 8.0
"""A standard deviation on the logit scale beyond which answers are all but determined, and the fit isn't one."""
STEPS = 60
"""Newton's, at most, for the effects."""


@dataclass(frozen=True)
class MixedModel:
    """A rate by a logistic mixed model, over all possible participants and pictures."""

    rate: float | None
    interval: tuple[float, float] | None
    """95%, with t's quantile for the fewest of participants and pictures, less one."""
    sd: tuple[float, ...] | None
    """Standard deviations on the logit scale: of participants, then of each role of pictures."""
    failed: str = ""
    """Why there is no fit, in English; empty if there is one."""


def mixed_model(values: Any, participants: Any, pictures: Sequence[Any]) -> MixedModel:
    """Fit logit P(1) = intercept + participant + picture, with normal effects; return the rate over all of them.

    Args:
        values: (N,), 0 or 1, one per trial.
        participants: (N,), who judged.
        pictures: one (N,) for each picture of a trial.
    """
    from scipy import optimize, special, stats

    y, factors, _ = arrays(values, [participants, *pictures], None)
    counts = [int(factor.max()) + 1 if len(y) else 0 for factor in factors]
    if min(counts) < LEAST:
        return MixedModel(None, None, None, f"too few people or pictures: {LEAST} of each are needed")
    if y.min() == y.max():
        return MixedModel(None, None, None, "all answers are alike")
    fit = _Laplace(y, factors, counts)
    with np.errstate(over="ignore"):
        found = optimize.minimize(fit.deviance, np.full(len(counts), -0.7), method="Nelder-Mead",
                                  options={"xatol": 0.02, "fatol": 0.01, "maxfev": 300})
    sd = np.exp(found.x)
    if not found.success or sd.max() > SD_LIMIT or not math.isfinite(fit.deviance(found.x)):
        return MixedModel(None, None, None, "the fit didn't converge")
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    half = stats.t.ppf((1 + LEVEL) / 2, min(counts) - 1) * fit.error
    spread = math.hypot(*sd)

    def rate(intercept: float) -> float:
        return float(np.average(special.expit(intercept + spread * nodes), weights=weights))

    low, middle, high = (rate(fit.effects[0] + shift) for shift in (-half, 0.0, half))
    return MixedModel(middle, (low, high), tuple(float(each) for each in sd))


class _Laplace:
    """The deviance of the model for given standard deviations, and the effects and the intercept's error there."""

    def __init__(self, y: np.ndarray, factors: Sequence[np.ndarray], counts: Sequence[int]) -> None:
        from scipy import sparse

        places = np.cumsum([1, *counts[:-1]])
        effects = (factor + place for factor, place in zip(factors, places, strict=True))
        columns = np.stack([np.zeros(len(y), int), *effects], 1)
        shape, starts = (len(y), 1 + sum(counts)), np.arange(0, columns.size + 1, columns.shape[1])
        self.design = sparse.csr_matrix((np.ones(columns.size), columns.ravel(), starts), shape)
        self.y, self.counts, self.error = y, counts, math.nan
        self.effects = np.zeros(shape[1])

    def deviance(self, log_sd: np.ndarray) -> float:
        """Return −2 × the log-likelihood, without its constant; infinite if Newton's steps don't converge."""
        from scipy import linalg, special

        log_sd = np.clip(log_sd, -7, 4)
        penalty = np.concatenate([[0.0], np.repeat(np.exp(-2 * log_sd), self.counts)])
        effects = self.effects.copy()
        for _ in range(STEPS):
            p = special.expit(self.design @ effects)
            gradient = self.design.T @ (self.y - p) - penalty * effects
            hessian = (self.design.T @ self.design.multiply((p * (1 - p))[:, None])).toarray()
            hessian[np.diag_indices_from(hessian)] += penalty
            try:
                factor = linalg.cho_factor(hessian, lower=True)
            except linalg.LinAlgError:
                return math.inf
            step = linalg.cho_solve(factor, gradient)
            effects += step * min(1.0, 5 / max(1e-9, float(np.abs(step).max())))
            if np.abs(step).max() < 1e-6:
                break
        else:
            return math.inf
        self.effects = effects
        unit = np.zeros(len(effects))
        unit[0] = 1
        self.error = math.sqrt(linalg.cho_solve(factor, unit)[0])
        linear = self.design @ effects
        likely = float(self.y @ linear - np.logaddexp(0, linear).sum() - (penalty * effects**2).sum() / 2)
        # Of the effects alone: the intercept is maximised, not integrated out.
        inner = np.linalg.slogdet(hessian[1:, 1:])[1]
        return -2 * (likely - float(np.dot(self.counts, log_sd)) - inner / 2)
