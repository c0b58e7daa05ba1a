"""Size and power of the tests of epochs in a study's report, over simulated studies.

    python -m benchmarks.study_contrasts

Answers are drawn from effects of participants, of the fakes, and of the real pictures next to them, normal on the logit
scale. Each epoch's fakes have a difficulty of their own, half of whose variance is their scene's. Where epochs have the
same rate over all possible participants and pictures, a test at the 5% level should find a difference in 5% of studies:
its size. "Power" is the share of studies in which it finds one of the stated size. `welch` is the test that ignores the
pictures, for comparison. In `apart`, each participant judges one epoch, and `participants` is their number per epoch;
in `mixed` all. The command fails unless the size of every printed test is from 3.5% to 6.5%.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats
from scipy.special import expit

from benchmarks.machine import conclude
from benchmarks.study_coverage import mean_rate
from cyclegan.cli.progress import progress_bar
from cyclegan.study import statistics
from cyclegan.study.statistics import permutations, rates

TAKES = "about half an hour on two cores"
REPORT = Path(__file__).parent / "reports" / "study_contrasts.json"
LOW, HIGH = 0.035, 0.065
RESAMPLES = 500
"""Permutations of each test; reports take twenty times as many."""
SD = {"participant": 0.5, "fake": 1.0, "real": 0.5}


@dataclass(frozen=True)
class Setting:
    """A simulated design of a study."""

    design: str
    participants: int
    rate: float
    step: float = 0.0
    """Change of the rate from one epoch to the next, 0 to 1."""
    epochs: int = 3
    trials: int = 40
    scenes: int = 100


RATES = ((0.05, 0.0), (0.27, 0.0), (0.5, 0.0), (0.2, 0.1))
SETTINGS = [Setting(design, people, rate, step) for design in ("apart", "mixed") for people in (10, 25, 60)
            for rate, step in (RATES if people < 60 else RATES[1:2])]  # fmt: skip


def simulate(setting: Setting, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Answers, participants, epochs, scenes and real pictures of every trial: (N,) each."""
    mixed, sd = setting.design == "mixed", math.sqrt(sum(sd**2 for sd in SD.values()))
    level = [optimize.brentq(lambda a, rate=setting.rate + n * setting.step: mean_rate(a, sd) - rate, -15, 15)
             for n in range(setting.epochs)]  # fmt: skip
    people = setting.participants * (1 if mixed else setting.epochs)
    shape = (people, setting.trials)
    who = np.repeat(np.arange(people), setting.trials).reshape(shape)
    epoch = rng.permuted(np.tile(np.arange(setting.trials) % setting.epochs, (people, 1)), axis=1)
    epoch = epoch if mixed else who % setting.epochs
    scene, real = (np.argsort(rng.random((people, setting.scenes)), 1)[:, : setting.trials] for _ in range(2))
    half = math.sqrt(0.5) * SD["fake"]
    fakes = rng.normal(0, half, (setting.epochs, setting.scenes)) + rng.normal(0, half, setting.scenes)
    effect = np.array(level)[epoch] + fakes[epoch, scene] + rng.normal(0, SD["real"], setting.scenes)[real]
    effect += rng.normal(0, SD["participant"], (people, 1))
    y = (rng.random(shape) < expit(effect)).astype(float)
    return tuple(each.ravel() for each in (y, who, epoch, scene, real))


def one_study(setting: Setting, number: int) -> dict[str, bool]:
    """Name of a test → whether it finds a difference at the 5% level."""
    rng = np.random.default_rng([number, setting.participants, round(1000 * setting.rate), len(setting.design)])
    y, who, epoch, scene, real = simulate(setting, rng)
    mixed, pictures, seed = setting.design == "mixed", [scene, real], int(rng.integers(2**31))
    trend = statistics.trend(y, who, epoch, pictures, paired=mixed, seed=seed)
    contrast = permutations.slope(y, who, np.where(epoch < 2, epoch, np.nan), pictures, paired=mixed, rng=rng)
    means = [np.bincount(who[epoch == n], y[epoch == n]) / np.maximum(np.bincount(who[epoch == n]), 1) for n in (0, 1)]
    means = means if mixed else [means[n][n :: setting.epochs] for n in (0, 1)]
    welch = stats.ttest_rel(*means) if mixed else stats.ttest_ind(*means, equal_var=False)
    found = {"trend": trend is not None and trend.p <= 0.05, "contrast": contrast is not None and contrast.p <= 0.05}
    return found | {"welch": bool(welch.pvalue <= 0.05)}


def some_studies(setting: Setting, first: int, last: int) -> list[dict[str, bool]]:
    """The studies of these numbers."""
    rates.RESAMPLES = RESAMPLES
    return [one_study(setting, number) for number in range(first, last)]


def main() -> None:
    """Simulate and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies of each setting")
    parser.add_argument("--processes", type=int, default=2, help="side by side")
    parser.add_argument("--output", type=Path, default=REPORT, help="the report")
    args = parser.parse_args()

    started, rows = time.perf_counter(), []
    bar = progress_bar(total=len(SETTINGS) * args.studies, unit="study")
    with ProcessPoolExecutor(args.processes) as pool, bar:
        for setting in SETTINGS:
            bounds = np.linspace(0, args.studies, 4 * args.processes + 1).astype(int).tolist()
            studies: list[dict[str, bool]] = []
            for part in pool.map(functools.partial(some_studies, setting), bounds[:-1], bounds[1:]):
                studies += part
                bar.update(len(part))
            for name in studies[0]:
                share = float(np.mean([study[name] for study in studies]))
                what = "power" if setting.step else "size"
                row: dict[str, Any] = {**asdict(setting), "test": name, "printed": name != "welch"}
                row[what] = round(share, 4)
                row["monte_carlo_error"] = round(math.sqrt(share * (1 - share) / len(studies)), 4)
                row |= {} if setting.step else {"within": LOW <= share <= HIGH}
                rows.append(row)
                bar.write(f"{setting.design}, {setting.participants} participants, rate {setting.rate:g}, step "
                          f"{setting.step:g}: {name:8} {what} {100 * share:5.1f}%")  # fmt: skip
    reached = all(row["within"] for row in rows if row["printed"] and "within" in row)
    conclude(
        args.output,
        f"python -m benchmarks.study_contrasts --studies {args.studies} --processes {args.processes}", started,
        {"from": LOW, "to": HIGH, "reached": reached}, "the size of a printed test isn't from 3.5% to 6.5%",
        sd_logit=SD, rows=rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
