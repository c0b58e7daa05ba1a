"""An attack on a study's blinding: a participant who computes the sequence of trials and never looks at a picture.

The browser gets the pictures' files, and so the hashes that the draws depend on. Until studies had a secret, the order
of practice was enough to find the seed, the arm and the slot, and with them the sides. The self-test and
`benchmarks/study_attack.py` play this attack.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cyclegan.study.format import Study
from cyclegan.study.sequences import Trial, drawn_without_secret

SEEDS, SLOTS = 16, 30
"""The attack tries seeds from 0 and the study's own, and slots from 0: most studies have neither many."""
SESSIONS = 8
"""Sessions that are attacked, over all arms."""
WATCHED = 10
"""Trials of the test whose order is looked at before the first is answered; practice is looked at whole."""


@dataclass(frozen=True)
class Attacked:
    """The result of an attack."""

    right: int
    """Trials that were answered right without looking."""
    trials: int
    found: int
    """Sessions whose order of trials fitted some seed, arm and slot."""
    sessions: int


def attack_sequences(study: Study, *, sessions: int = SESSIONS, seeds: int = SEEDS, slots: int = SLOTS) -> Attacked:
    """Return how often the attack is right about the test trials of some sessions, which it gets one by one.

    It knows the protocol and the files' hashes, and guesses where it finds nothing. In tasks without a right answer, it
    only looks for the seed.
    """
    arms, coin, hits, found = len(study.arms), random.Random(0), [], 0
    for number in range(sessions):
        trials = study.trials(number % arms, number // arms)
        candidates = list(_candidates(study, trials, sorted({*range(seeds), study.seed}), slots, arms))
        found += bool(candidates)
        for trial in trials[study.protocol.practice_trials + _watched(study) :]:
            if trial.kind == "comparison" and study.protocol.task == "realness":
                score = sum(_score(trial, *candidate) for candidate in candidates) or coin.random() - 0.5
                hits.append((score > 0) == (trial.left.kind == "real"))
    return Attacked(sum(hits), len(hits), found, sessions)


def _watched(study: Study) -> int:
    """Return the number of test trials whose order is looked at: 0 with controls among them, whose kind isn't sent."""
    practice, counts = study.protocol.practice_trials, study.protocol.counts
    alone = sum(counts.values()) == counts["comparison"]
    return min(WATCHED, study.protocol.test_trials // 2) if alone and practice < WATCHED else 0


def _candidates(
    study: Study, trials: Sequence[Trial], seeds: Sequence[int], slots: int, arms: int
) -> Iterator[tuple[int, int, int]]:
    """Yield each (seed, arm, slot) whose draws put the trials in the order in which they came."""
    practice = study.protocol.practice_trials
    shown = {"practice": trials[:practice], "test": trials[practice : practice + _watched(study)]}
    keys = {phase: [trial.key for trial in part] for phase, part in shown.items() if len(part) > 1}
    if keys:
        for seed in seeds:
            for arm in range(arms):
                for slot in range(slots):
                    if all(_in_order(seed, (arm, slot, phase, "order"), names) for phase, names in keys.items()):
                        yield seed, arm, slot


def _in_order(seed: int, purpose: object, names: Sequence[str]) -> bool:
    last = -1
    for name in names:
        number = drawn_without_secret(seed, purpose, name)
        if number < last:
            return False
        last = number
    return True


def _score(trial: Trial, seed: int, arm: int, slot: int) -> float:
    """Return evidence that the left picture is real, or the only one: above 0 if it is likelier than not.

    Real pictures are those with the lowest draws of their role; and the fakes of lower draws are the ones at the left.
    """

    def draw(*what: object) -> float:
        return drawn_without_secret(seed, arm, slot, *what) / 2**64 - 0.5

    reals = [draw("test real", stimulus.key) for stimulus in trial.stimuli]
    if trial.right is None:
        return -reals[0]
    return reals[1] - reals[0] + 2 * sum(draw("test comparison", "side", s.key) for s in trial.stimuli)
