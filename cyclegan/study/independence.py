"""Tests that file names, times and sequences are independent of the truth: each alone, and a classifier of all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from cyclegan.errors import Message, message
from cyclegan.study.findings import Finding, label
from cyclegan.study.format import Study
from cyclegan.study.sequences import Trial

ALPHA = 0.001
"""Chance that a blind study fails, over all tests together (Holm)."""
SESSIONS = 60
"""Sessions whose sequences are tested, over all arms."""
SURPRISING = 0.6
"""A share of right answers above which a reader wonders why the test passes."""
MOST_SAMPLES = 600
PERMUTATIONS = 1000


class Samples:
    """Values with the hidden truth, by channel; in the end they are all tested together."""

    def __init__(self) -> None:
        self.single: dict[str, tuple[list[Any], list[str], list[Hashable]]] = {}
        self.tests: list[tuple[str, float, Message]] = []
        """(channel, p, result in words) of finished tests."""
        self.rows: dict[str, tuple[list[list[float]], list[bool], list[Hashable]]] = {}

    def add(self, channel: str, value: Any, truth: str, within: Hashable = None) -> None:
        """Add one value of a channel, its truth, and the group in which truths depend on each other."""
        for values, new in zip(self.single.setdefault(channel, ([], [], [])), (value, truth, within), strict=True):
            values.append(new)

    def add_row(self, name: str, row: Sequence[float], truth: bool, within: Hashable = None) -> None:
        """Add all that is known about one stimulus or trial, for the classifier called `name`."""
        for values, new in zip(self.rows.setdefault(name, ([], [], [])), (list(row), truth, within), strict=True):
            values.append(new)

    def findings(self) -> list[Finding]:
        """Return one finding for each test, with p corrected by Holm."""
        tests = list(self.tests)
        for channel, added in self.single.items():
            p = dependence(*added)
            result = message("reveals nothing about the truth") if p > ALPHA else message("tells real from fake")
            tests.append((channel, p, result))
        for name, (rows, truths, within) in self.rows.items():
            accuracy, p = classify(np.array(rows, float), np.array(truths), within)
            result = message("is right in {accuracy:.1%}, by chance 50%", accuracy=accuracy)
            if p > ALPHA and accuracy > SURPRISING:
                result = message(
                    "is right in {accuracy:.1%} of {n}, which chance often is, too: so few decide nothing",
                    "is right in {accuracy:.1%} of only {n}, which chance often is, too: so few decide nothing",
                    len(rows), accuracy=accuracy,
                )  # fmt: skip
            tests.append((f"classifier of {name}", p, result))
        corrected = holm([p for _, p, _ in tests])
        return [
            Finding(channel, p > ALPHA, _detail(channel, p, result), p)
            for (channel, _, result), p in zip(tests, corrected, strict=True)
        ]


def _detail(channel: str, p: float, result: Message) -> Message:
    if p > ALPHA:
        return message("{result} (p {p})", result=result, p=_p(p))
    return message(
        "{channel}: {result} (p {p}); if `study build` built the study, build it again",
        channel=channel, result=result, p=_p(p),
    )


def _p(p: float) -> str:
    return f"{p:.2f}" if p >= 0.01 else "below 0.001" if p < 0.001 else f"{p:.3f}"


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's method (1979)."""
    if not ps:
        return []
    from statsmodels.stats.multitest import multipletests

    return multipletests(np.clip(ps, 0, 1), method="holm")[1].tolist()


def dependence(values: Sequence[Any], truths: Sequence[str], within: Sequence[Hashable] | None = None) -> float:
    """Return p of the hypothesis that values are independent of the truth.

    It is the smaller p of two tests, doubled: of ranks, for higher and lower values (Kruskal–Wallis), and over bins,
    for any other pattern (χ²). Text is ranked alphabetically.

    Args:
        within: the group of each value. Truths are then thought to be shuffled within each group only, because a
            session's trials have even sides, so that they depend on each other (Mantel–Haenszel, generalised by Landis,
            Heyman and Koch, 1978).
    """
    kinds = np.unique(np.array(truths, str), return_inverse=True)[1]
    if isinstance(values[0], (str, bytes)):
        numbers = np.unique(np.array(values), return_inverse=True)[1].astype(float)
    else:
        numbers = np.array(values, float)
    if len(set(kinds)) < 2 or len(set(numbers)) < 2:
        return 1.0
    groups = _groups(within, len(kinds))
    indicators = (kinds[:, None] == np.arange(kinds.max())).astype(float)  # The last kind is what the others aren't.
    ps = [_shuffled_p(stats.rankdata(numbers)[:, None], indicators, groups)]
    # Each bin should hold five values of each kind, because χ² isn't valid below that.
    bins = min(10, int(np.bincount(kinds).min()) // 5)
    if bins > 1:
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, bins + 1)[1:-1]))
        places = np.searchsorted(edges, numbers, side="right")
        ps.append(_shuffled_p((places[:, None] == np.unique(places)[1:]).astype(float), indicators, groups))
    return min(1.0, len(ps) * min(ps))


def _groups(within: Sequence[Hashable] | None, count: int) -> list[np.ndarray]:
    """Return the places of each group's members."""
    members: dict[Hashable, list[int]] = {}
    for place, group in enumerate(within or [0] * count):
        members.setdefault(group, []).append(place)
    return [np.array(places) for places in members.values()]


def _shuffled_p(scores: np.ndarray, indicators: np.ndarray, groups: list[np.ndarray]) -> float:
    """Return p of Σ scores × indicators, from its mean and covariance when indicators are shuffled within each group.

    Both have a row for each value. Of one group, with ranks as scores, it is Kruskal–Wallis's test.
    """
    size = scores.shape[1] * indicators.shape[1]
    total, covariance = np.zeros(size), np.zeros((size, size))
    for group in groups:
        if len(group) > 1:
            x, y = (part[group] - part[group].mean(axis=0) for part in (scores, indicators))
            total += (x.T @ y).ravel()
            covariance += np.kron(x.T @ x, y.T @ y) / (len(group) - 1)
    rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
    if rank == 0:
        return 1.0
    return float(stats.chi2.sf(total @ np.linalg.pinv(covariance, hermitian=True) @ total, rank))


def classify(
    rows: np.ndarray, truths: np.ndarray, within: Sequence[Hashable] | None = None, *, seed: int = 0
) -> tuple[float, float]:
    """Return a linear classifier's balanced accuracy in telling `truths` from rows of numbers, left one out, and its p.

    Ridge regression on standardised columns and their squares. Leaving one out has a closed form, so the same
    classifier is fitted to many random permutations of the truth, and p holds whatever the rows are.

    Args:
        within: the group of each row, as for `dependence`.
    """
    if len(rows) > MOST_SAMPLES:
        kept = np.random.default_rng(seed).choice(len(rows), MOST_SAMPLES, replace=False)
        rows, truths = rows[kept], truths[kept]
        within = within and [within[place] for place in kept]
    rows = rows - rows.min(axis=0)  # Otherwise the standard deviation of times in nanoseconds is mostly rounding.
    rows = rows[:, rows.max(axis=0) > 0]
    if rows.shape[1] == 0 or truths.all() or not truths.any():
        return 0.5, 1.0
    columns = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    squares = columns**2
    varied = squares.std(axis=0) > 1e-9
    squares = (squares[:, varied] - squares[:, varied].mean(axis=0)) / squares[:, varied].std(axis=0)
    columns = np.hstack([columns, squares])
    gram = columns @ columns.T
    # Ridge in its dual form: hat = K (K + λ n)⁻¹ with the mean taken out, and leave-one-out residuals r / (1 − h).
    count = len(columns)
    hat = gram @ np.linalg.inv(gram + 0.1 * columns.shape[1] * count ** 0.5 * np.eye(count))
    leverage = np.clip(np.diag(hat), 0, 0.999)
    rng = np.random.default_rng(seed)
    signs = np.where(truths, 1.0 / truths.sum(), -1.0 / (~truths).sum())[:, None]
    shuffled = np.repeat(signs, 1 + PERMUTATIONS, axis=1)
    for group in _groups(within, count):
        shuffled[group, 1:] = rng.permuted(shuffled[group, 1:], axis=0)
    right = np.zeros(shuffled.shape[1])
    for start in range(0, shuffled.shape[1], 500):
        part = shuffled[:, start : start + 500]
        predicted = (hat @ part - leverage[:, None] * part) / (1 - leverage[:, None])
        right[start : start + 500] = (np.abs(part) * ((predicted > 0) == (part > 0))).sum(axis=0) / 2
    beaten = int((right[1:] >= right[0] - 1e-12).sum())
    p = (1 + beaten) / (1 + PERMUTATIONS)
    if beaten < 10:  # Too few to count: use the normal curve that the permutations follow.
        p = min(p, float(stats.norm.sf((right[0] - right[1:].mean()) / max(1e-9, right[1:].std()))))
    return float(right[0]), p


def add_files(samples: Samples, study: Study) -> None:
    """Add names, and times and order on the disk. A copied study has other times, so they needn't be equal."""
    listed = {entry.name: place for place, entry in enumerate(os.scandir(study.folder / "stimuli"))}
    names = sorted(study.by_hash)
    for place, sha256 in enumerate(names):
        stimulus = study.by_hash[sha256]
        truth, info = label(stimulus), os.stat(study.stimulus_path(sha256))
        name = bytes.fromhex(sha256)
        samples.add("name", place, truth)
        samples.add("first byte of the name", name[0], truth)
        samples.add("last byte of the name", name[-1], truth)
        samples.add("file time", info.st_mtime_ns, truth)
        samples.add("time of writing", info.st_ctime_ns, truth)
        samples.add("place in the folder", listed[f"{sha256}.png"], truth)
        if stimulus.kind in ("real", "fake"):
            row = [place, info.st_mtime_ns % 10**15, info.st_ctime_ns % 10**15, listed[f"{sha256}.png"]]
            row += [*name[:4], name[0] % 2, *name[-2:], name[-1] % 2]
            samples.add_row("files", row, stimulus.kind == "real")


def _sessions(study: Study) -> Iterable[tuple[int, int, tuple[Trial, ...]]]:
    arms = len(study.arms)
    for arm in range(arms):
        for slot in range(max(2, SESSIONS // arms)):
            yield arm, slot, study.trials(arm, slot)


def _truth(trial: Trial) -> str | None:
    """Return what a trial hides: the side of the real picture, or of the later epoch; None if it hides nothing."""
    if trial.right is None:
        return label(trial.left).partition(" ")[0]
    if trial.real_side in ("left", "right"):
        return trial.real_side
    left, right = (s.epoch if s.epoch is not None else -1 for s in trial.stimuli)
    return None if left == right else "left" if left > right else "right"


def check_sides(study: Study) -> Finding:
    """Check that sides are even in each session: they differ by at most one in each phase and kind."""
    count = 0
    for arm, slot, trials in _sessions(study):
        count += 1
        sides: Counter[tuple[str, str]] = Counter()
        for trial in trials:
            if trial.kind in ("comparison", "vigilance"):
                if trial.phase == "practice" and study.sequences.fair_practice:
                    continue  # Drawn for each trial anew, so that counting doesn't help.
                sides[trial.phase, trial.kind] += 1 if _truth(trial) == "left" else -1
        uneven = next((what for what, difference in sides.items() if abs(difference) > 1), None)
        if uneven:
            detail = message(
                "sides: session {slot} of arm {arm} has {count} more {kind} trials at one side than at the other; "
                "build the study again",
                slot=slot, arm=arm, count=abs(sides[uneven]), kind=uneven[1],
            )
            return Finding("sides", False, detail)
    return Finding("sides", True, message("even in {n} session", "even in each of {n} sessions", count))


def add_trials(samples: Samples, study: Study) -> None:
    """Add places and sequences of the trials."""
    lefts = total = 0
    same = expected = variance = 0.0
    for arm, slot, trials in _sessions(study):
        sides = []
        for trial in trials:
            truth = _truth(trial)
            if truth is None or trial.kind == "repeat":
                continue
            # Names are tested with the files: here, each would count in many sessions.
            phase = (arm, slot, trial.phase)
            samples.add(f"place of a trial in {trial.phase}", trial.index, truth, phase)
            samples.add("number of the session", slot, truth)
            if trial.right is not None:
                lefts, total = lefts + (truth == "left"), total + 1
            if trial.kind == "comparison":
                place = trial.index - (trial.phase == "test") * study.protocol.practice_trials
                row = [trial.index, place, slot, place % 2, place % 3, place % 4, trial.phase == "test"]
                samples.add_row("trials", row, truth in ("left", "real"), phase)
            if trial.phase == "test" and trial.kind == "comparison":
                sides.append(truth)
        # Compared with random orders of as many lefts and rights.
        if len(sides) > 2:
            mean, spread = neighbours_alike(Counter(sides))
            same += sum(one == other for one, other in zip(sides, sides[1:], strict=False))
            expected, variance = expected + mean, variance + spread
    if total:
        p = float(stats.binomtest(lefts, total).pvalue)
        result = message("{lefts:,} of {total:,} at the left", lefts=lefts, total=total)
        samples.tests.append(("sides of all sessions", p, result))
    if variance:
        p = float(2 * stats.norm.sf(abs(same - expected) / variance**0.5))
        result = message(
            "the same side follows once, {expected:,.0f} by chance",
            "the same side follows {n:,} times, {expected:,.0f} by chance", round(same), expected=expected,
        )  # fmt: skip
        samples.tests.append(("sequence of sides", p, result))


def neighbours_alike(counts: Counter[str]) -> tuple[float, float]:
    """Return mean and variance of the number of equal neighbours in a random order of things with these counts."""
    n = sum(counts.values())
    pairs = sum(k * (k - 1) for k in counts.values())
    triples = sum(k * (k - 1) * (k - 2) for k in counts.values())
    mean = pairs / n
    # The sum over pairs of neighbourhoods: the same one, overlapping ones, and disjoint ones.
    fours = sum(
        k * (k - 1) * ((j * (j - 1)) if i != m else (k - 2) * (k - 3))
        for i, k in counts.items()
        for m, j in counts.items()
    )
    square = mean + 2 * (n - 2) * triples / (n * (n - 1) * (n - 2))
    if n > 3:
        square += (n - 2) * (n - 3) * fours / (n * (n - 1) * (n - 2) * (n - 3))
    return mean, max(0.0, square - mean**2)
