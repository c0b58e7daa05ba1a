"""Coverage of the 95% intervals in a study's report, over simulated studies.

    python -m benchmarks.study_coverage

Answers are drawn from participant and stimulus effects, normal on the logit scale. Each interval should cover one of:

    these    the mean over all possible participants, of the stimuli that were shown: the interval over participants
    any      the mean over all possible participants and stimuli: the crossed interval

The intervals that reports print are computed by `cyclegan.study.statistics`; the rejected ones are computed from the
same answers, for comparison. In `all`, every participant judges the same stimuli; in `pool`, each judges as many from a
larger set, used evenly, as in a study's plan; in `pairs`, the real picture next to the fake has an effect, too.
`spammers` is the part of the sessions that don't look: by turns (`kinds`), always left, at random, and a bot whose
votes come before the pictures could have been shown. The rules of the default protocol (`cyclegan.study.rules`) leave
sessions out, honest ones, too; `left_out` says which part of either. "Without rules" is the interval over all sessions.
People who guess at random as slowly as others answer look like people who can't distinguish the pictures, so the
hardest cell is also simulated for each kind alone, and with `vigilance` trials, of which a session must get three
quarters right; people who look get 97% of them right.

"Within" means a coverage of 93% to 97%. The command fails unless the printed intervals reach it in the 18 cells of
participants × rate × spammers of all kinds.
The stated setting and the hardest cell are simulated four times as often. The last row is for Bradley-Terry's P(A beats
B) in picking.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
import warnings
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats
from scipy.special import expit

from benchmarks.machine import conclude
from cyclegan.cli.progress import progress_bar
from cyclegan.study import rules, statistics
from cyclegan.study.protocol import DEFAULT, PROTOCOLS

TAKES = "about 6 minutes on two cores"
REPORT = Path(__file__).parent / "reports" / "study_coverage.json"
PRINTED = ("clustered", "crossed", "preferences")
LOW, HIGH = 0.93, 0.97
RESAMPLES = 2000
"""Resamples of the rejected bootstraps."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True)
class Setting:
    """One simulated design of a study; `spammers` is the part of the sessions that don't look, by turns of `kinds`."""

    design: str
    participants: int
    rate: float
    trials: int = 40
    stimuli: int = 40
    participant_sd: float = 0.5
    stimulus_sd: float = 1.0
    spammers: float = 0.0
    kinds: str = "left, random, bot"
    vigilance: int = 0


STATED = Setting("all", 25, 0.27)
HARDEST = Setting("all", 60, 0.27, spammers=0.12)
GRID = [Setting("all", people, rate, spammers=share)
        for share in (0.0, 0.12) for people in (10, 25, 60) for rate in (0.05, 0.27, 0.5)]  # fmt: skip
SETTINGS = [
    *GRID,
    *(replace(HARDEST, kinds=kind) for kind in ("left", "random", "bot")), replace(HARDEST, vigilance=4),
    Setting("pool", 25, 0.27, stimuli=100), Setting("pairs", 25, 0.27, stimuli=100),
]  # fmt: skip
PICK = Setting("pick", 25, 0.5, stimulus_sd=0)


def mean_rate(intercept: Any, sd: float) -> Any:
    """Mean of expit(intercept + N(0, sd))."""
    return (WEIGHTS * expit(np.asarray(intercept)[..., None] + sd * NODES)).sum(-1)


def simulate(setting: Setting, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray], float]:
    """Answers and stimuli of every trial, (participants, trials) each, and the rate of these stimuli."""
    shape = (setting.participants, setting.trials)
    sd = math.hypot(setting.participant_sd, setting.stimulus_sd)
    intercept = optimize.brentq(lambda a: mean_rate(a, sd) - setting.rate, -15, 15)
    factors = 2 if setting.design == "pairs" else 1
    shown, effect = [], np.zeros(shape)
    for _ in range(factors):
        own = rng.normal(0, setting.stimulus_sd / math.sqrt(factors), setting.stimuli)
        used, seen = np.zeros(setting.stimuli), np.empty(shape, int)
        for row in seen:
            row[:] = np.lexsort((rng.random(setting.stimuli), used))[: setting.trials]
            rng.shuffle(row)
            used[row] += 1
        shown.append(seen)
        effect += own[seen]
    person = rng.normal(0, setting.participant_sd, (setting.participants, 1))
    y = (rng.random(shape) < expit(intercept + person + effect)).astype(float)
    return y, shown, float(mean_rate(intercept + effect, setting.participant_sd).mean())


def intervals(y: np.ndarray, shown: list[np.ndarray], rng: np.random.Generator, all_of_them: bool) -> dict[str, Any]:
    """Name → what it should cover and its bounds."""
    who = np.repeat(np.arange(len(y)), y.shape[1])
    flat, stimuli = y.ravel(), [seen.ravel() for seen in shown]
    clustered = statistics.clustered_rate(flat, who).interval
    found = {
        "clustered": ("these", clustered),
        "crossed": ("any", statistics.crossed_interval(flat, who, stimuli)),
        "clustered, taken for the crossed": ("any", clustered),
        "wilson": ("these", statistics.wilson_interval(flat.sum(), len(flat))),
    }
    if not all_of_them:
        return found
    means = y.mean(1)
    if means.std() > 0:
        t = stats.t.interval(0.95, len(means) - 1, means.mean(), stats.sem(means))
        found |= {"t on participants' means": ("these", t)}
        found |= {name: ("these", bounds) for name, bounds in bootstraps(means, rng).items()}
    paper = statistics.paper_figure(flat, who, int(rng.integers(2**31)))
    found["papers' ± 1.96 sd"] = "these", (paper.rate - 1.96 * paper.sd, paper.rate + 1.96 * paper.sd)
    if len(shown) == 1:
        found["pigeonhole bootstrap"] = "any", pigeonhole(y, shown[0], rng)
    return found


def judged(y: np.ndarray, number: int, setting: Setting, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Answers with spammers among them, and the rows that the rules of the default protocol keep.

    The first sessions are spammers'. Honest people answer after about 0.9 s, are off by a frame, and now and then leave
    the page.
    """
    protocol, shape, kinds = PROTOCOLS[DEFAULT], y.shape, setting.kinds.split(", ")
    spammers = round(setting.spammers * len(y))
    real_left = rng.permuted(np.tile(np.arange(shape[1]) % 2 == 0, (shape[0], 1)), axis=1)
    left = real_left ^ (y > 0.5)
    response = np.exp(rng.normal(6.8, 0.5, shape))
    server = rules.shortest_ms(protocol) + rng.normal(20, 15, shape) + response
    for row in range(spammers):
        kind = kinds[(row + number) % len(kinds)]
        left[row] = True if kind == "left" else rng.random(shape[1]) < 0.5
        server[row] = rng.uniform(50, 410, shape[1]) if kind == "bot" else server[row]
    y = (left != real_left).astype(float)
    broken = rules.broken_rules(protocol, first=left, second=~left, response_ms=response, server_ms=server,
                                resumed=np.zeros(shape, bool), focus_lost=rng.random(shape) < 0.01)
    kept = ~np.any(list(broken.values()), axis=0)
    seen = rng.binomial(setting.vigilance, np.where(np.arange(len(y)) < spammers, 0.5, 0.97))
    kept &= seen >= 0.75 * setting.vigilance
    kept[kept] = ~rules.guessing(protocol, (1 - y[kept]).sum(1), np.full(kept.sum(), shape[1]))
    return y, kept


def bootstraps(means: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Bootstraps over participants: percentile, BCa (both SciPy's), and studentised."""
    found = {}
    for name, method in (("percentile bootstrap", "percentile"), ("BCa bootstrap", "BCa")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            result = stats.bootstrap((means,), np.mean, n_resamples=RESAMPLES, method=method, rng=rng)
        found[name] = tuple(result.confidence_interval)
    drawn = means[rng.integers(0, len(means), (RESAMPLES, len(means)))]
    errors = drawn.std(1, ddof=1) / math.sqrt(len(means))
    ratios = (drawn.mean(1) - means.mean())[errors > 0] / errors[errors > 0]
    high, low = np.quantile(ratios, [0.025, 0.975]) * stats.sem(means)
    found["studentised bootstrap"] = means.mean() - low, means.mean() - high
    return found


def pigeonhole(y: np.ndarray, seen: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Participants and stimuli resampled, each on its own (Owen, The pigeonhole bootstrap, 2007)."""
    size = int(seen.max()) + 1
    table, there = np.zeros((len(y), size)), np.zeros((len(y), size))
    rows = np.arange(len(y))[:, None]
    table[rows, seen], there[rows, seen] = y, 1
    people = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), RESAMPLES).astype(float)
    stimuli = rng.multinomial(size, np.full(size, 1 / size), RESAMPLES)
    rates = (people @ table * stimuli).sum(1) / np.maximum((people @ there * stimuli).sum(1), 1e-9)
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


def pick(setting: Setting, rng: np.random.Generator) -> dict[str, Any]:
    """Three epochs compared by people whose taste differs; whether P(A beats B) covers that of all people."""
    strengths = np.array([-0.5, 0.0, 0.5])
    taste = strengths + rng.normal(0, setting.participant_sd / math.sqrt(2), (setting.participants, 3))
    pairs = np.array([(0, 1), (0, 2), (1, 2)])[rng.integers(0, 3, (setting.participants, setting.trials))]
    a, b = pairs[..., 0], pairs[..., 1]
    rows = np.arange(setting.participants)[:, None]
    won = (rng.random(a.shape) < expit(taste[rows, a] - taste[rows, b])).astype(float)
    won[rng.random(a.shape) < 0.1] = 0.5
    found = statistics.preferences(a.ravel(), b.ravel(), won.ravel(), np.repeat(rows, setting.trials), (0, 1, 2), 1)
    # In all people, a pair ends so, ties half; the model's own fit of that is what its interval is of.
    expected = np.zeros((3, 3))
    for first in range(3):
        for second in range(3):
            if first != second:
                gap = strengths[first] - strengths[second]
                expected[first, second] = 1e4 * (0.9 * mean_rate(gap, setting.participant_sd) + 0.05)
    fit = statistics.pairs.fit_strengths(expected)
    duel = found.duels[1]
    return {"preferences": (float(expit(fit[2] - fit[0])), duel.interval)}


def one_study(setting: Setting, number: int, all_of_them: bool) -> dict[str, tuple[str, bool, bool, float]]:
    """Name → what it should cover, whether its bounds lie above it, below it, and its width."""
    rng = np.random.default_rng([number, setting.participants, round(1000 * setting.rate), len(setting.design),
                                 round(100 * setting.spammers)])
    if setting.design == "pick":
        found = {name: ("the model", truth, bounds) for name, (truth, bounds) in pick(setting, rng).items()}
    else:
        y, shown, these = simulate(setting, rng)
        truths = {"these": these, "any": setting.rate}
        y, kept = judged(y, number, setting, rng)
        every = statistics.clustered_rate(y.ravel(), np.repeat(np.arange(len(y)), y.shape[1])).interval
        bounds_of = intervals(y[kept], [seen[kept] for seen in shown], rng, all_of_them)
        bounds_of |= {"clustered, without rules": ("these", every)} if setting.spammers else {}
        found = {name: (target, truths[target], bounds) for name, (target, bounds) in bounds_of.items()}
    return {name: (target, bool(bounds[0] > truth), bool(bounds[1] < truth), float(bounds[1] - bounds[0]))
            for name, (target, truth, bounds) in found.items()}


def some_studies(setting: Setting, first: int, last: int, all_of_them: int) -> list[dict[str, Any]]:
    """Studies of these numbers; those below `all_of_them` with the intervals that were not chosen."""
    return [one_study(setting, number, number < all_of_them) for number in range(first, last)]


def summary(setting: Setting, studies: list[dict[str, tuple[str, bool, bool, float]]]) -> list[dict[str, Any]]:
    """A row per interval."""
    found: dict[str, list[tuple[str, bool, bool, float]]] = defaultdict(list)
    for study in studies:
        for name, result in study.items():
            found[name].append(result)
    rows = []
    for name, results in found.items():
        above, below = (sum(result[n] for result in results) for n in (1, 2))
        coverage = (len(results) - above - below) / len(results)
        rows.append({
            "interval": name, "covers": results[0][0], "printed": name in PRINTED, "studies": len(results),
            "coverage": round(coverage, 4),
            "monte_carlo_error": round(math.sqrt(coverage * (1 - coverage) / len(results)), 4),
            "above_the_truth": round(above / len(results), 4), "below_the_truth": round(below / len(results), 4),
            "mean_width": round(float(np.mean([result[3] for result in results])), 4),
            "within": LOW <= coverage <= HIGH,
        })  # fmt: skip
    return [{**asdict(setting), **row} for row in rows]


def left_out(setting: Setting, studies: int) -> dict[str, float]:
    """The part of spammers, and of honest people, whose sessions the rules leave out."""
    spammers, counts = round(setting.spammers * setting.participants), np.zeros(2)
    for number in range(studies):
        rng = np.random.default_rng([number, setting.participants, round(1000 * setting.rate)])
        kept = judged(simulate(setting, rng)[0], number, setting, rng)[1]
        counts += (~kept[:spammers]).sum(), (~kept[spammers:]).sum()
    honest = studies * (setting.participants - spammers)
    return {"spammers": counts[0] / max(1, studies * spammers), "honest": counts[1] / honest}


def main() -> None:
    """Simulate and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies of each setting")
    parser.add_argument("--processes", type=int, default=2, help="side by side")
    parser.add_argument("--output", type=Path, default=REPORT, help="the report")
    args = parser.parse_args()

    started, rows, headline = time.perf_counter(), [], {}
    # More of what decides, so that it isn't chance; fewer of picking, whose bootstrap is slow.
    times = {STATED: 4, HARDEST: 4, PICK: 0.3}
    counts = {setting: math.ceil(times.get(setting, 1) * args.studies) for setting in [*SETTINGS, PICK]}
    bar = progress_bar(total=sum(counts.values()), unit="study")
    with ProcessPoolExecutor(args.processes) as pool, bar:
        for setting, count in counts.items():
            stated = setting == STATED
            bounds = np.linspace(0, count, min(count, 8 * args.processes) + 1).astype(int).tolist()
            part = functools.partial(some_studies, setting, all_of_them=args.studies if stated else 0)
            studies: list[dict[str, Any]] = []
            for done in pool.map(part, bounds[:-1], bounds[1:]):
                studies += done
                bar.update(len(done))
            found = summary(setting, studies)
            if setting.design != "pick":
                out = {who: round(share, 4) for who, share in left_out(setting, max(1, count // 5)).items()}
                found = [{**row, "left_out": out} for row in found]
            rows += found
            bar.write(f"{setting.design}, {setting.participants} participants × {setting.trials}, rate "
                      f"{setting.rate:g}, spammers {setting.spammers:.0%}"
                      + (f" ({setting.kinds})" if setting.spammers else "")
                      + (f", {setting.vigilance} vigilance trials" if setting.vigilance else ""))  # fmt: skip
            for row in found:
                bar.write(f"  {row['interval']:34} {100 * row['coverage']:5.1f}% ± "
                          f"{100 * row['monte_carlo_error']:.1f}  width {100 * row['mean_width']:.1f}")  # fmt: skip
            if stated:
                headline = {row["interval"]: row for row in found if row["printed"]}
    cells = [row for row in rows if row["printed"] and Setting(**{name: row[name] for name in asdict(STATED)}) in GRID]
    goal = {"setting": asdict(STATED), "from": LOW, "to": HIGH,
            **{name: row["coverage"] for name, row in headline.items()},
            "cells_within": sum(row["within"] for row in cells), "cells": len(cells),
            "reached": all(row["within"] for row in cells)}  # fmt: skip
    conclude(
        args.output, f"python -m benchmarks.study_coverage --studies {args.studies} --processes {args.processes}",
        started, goal, "the printed intervals don't cover 93% to 97% in all cells", rows=rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
