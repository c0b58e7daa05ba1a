"""The pictures of a study, drawn from a data set, and whether they suffice for its sessions."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Protocol as Interface

from cyclegan.errors import StudyError, message
from cyclegan.study.format import Stimulus, Study
from cyclegan.study.protocol import Protocol, trial_counts

if TYPE_CHECKING:
    from PIL import Image

BROKEN_PER_TRIAL = 4
"""Broken pictures for each vigilance trial of a session, so that participants don't all see the same ones."""


def draw(*what: object) -> bytes:
    """Return 32 random bytes that depend on nothing but `what`."""
    return hashlib.sha256("|".join(map(str, what)).encode()).digest()


class Pictures(Interface):
    """A domain of a data set, as `cyclegan.data` opens it."""

    def __len__(self) -> int: ...

    def label(self, index: int) -> str:
        """Return the file's name, or an id."""
        ...

    def probe(self, index: int) -> tuple[int, int]:
        """Return width and height."""
        ...

    def load(self, index: int) -> Image.Image:
        """Return the picture, RGB."""
        ...

    def truth(self, index: int) -> Image.Image | None:
        """Return the same scene in the other domain; None if it is unknown."""
        ...


@dataclass(frozen=True)
class Choice:
    """The pictures that are used, by their numbers in the data set."""

    inputs: tuple[int, ...]
    reals: tuple[int, ...]
    broken: tuple[int, ...]
    """Among `reals`, or among `inputs` if the truth is used."""
    truths: bool
    """The real pictures are the truth of the inputs."""

    @classmethod
    def of(cls, study: Study, inputs: Pictures, reals: Pictures, limit: int | None) -> Choice:
        """Return at most `limit` inputs and as many real pictures, drawn by the seed. Raises StudyError."""
        def some(purpose: str, numbers: Sequence[int], count: int | None) -> tuple[int, ...]:
            return tuple(sorted(sorted(numbers, key=lambda n: draw(study.seed, purpose, n))[:count]))

        protocol = study.protocol
        chosen = some("inputs", range(len(inputs)), limit)
        truths = protocol.shows_truths
        if truths and chosen and inputs.truth(chosen[0]) is None:
            raise StudyError(
                "the data set doesn't know which real picture shows the same scene, so pairing can't be same: "
                "choose --pairing different, or take paired data"
            )
        others = chosen if truths else some("reals", range(len(reals)), limit)
        broken = some("broken", others, BROKEN_PER_TRIAL * protocol.counts["vigilance"])
        if not protocol.shows_reals:
            others = ()  # Picking and tagging show fakes only.
        return cls(chosen, others, broken, truths)

    def check_enough(self, study: Study) -> None:
        """Raise StudyError, before anything is rendered, if sessions can't be filled with as many pictures."""
        stimuli = [
            Stimulus(draw("fake", n, epoch).hex(), "fake", f"{n}", epoch) for n in self.inputs
            for epoch in study.epochs
        ]  # fmt: skip
        scenes = ("" if self.truths else "real ") + "{}"
        stimuli += [Stimulus(draw("real", n).hex(), "real", scenes.format(n)) for n in self.reals]
        stimuli += [Stimulus(draw("broken", n).hex(), "broken", scenes.format(n)) for n in self.broken]
        dataclasses.replace(study, stimuli=tuple(stimuli)).check_enough()


class TooFewPictures(StudyError):
    """A data set with too few pictures for the protocol's trials.

    The message's values `practice_trials` and `test_trials` are the most that would fit, if any do.
    """


def choose(
    study: Study, inputs: Pictures, reals: Pictures, limit: int | None, shorten: bool
) -> tuple[Study, Choice]:
    """Return the study and its pictures; with fewer trials if `shorten` and there are too few pictures for all."""
    choice = Choice.of(study, inputs, reals, limit)
    try:
        choice.check_enough(study)
        return study, choice
    except StudyError as error:
        fitting = _shortened(study, inputs, reals, limit)
        if fitting is not None and shorten:
            return fitting
        raise _too_few(study.protocol, choice, fitting and fitting[0].protocol, error) from error


def _shortened(
    study: Study, inputs: Pictures, reals: Pictures, limit: int | None
) -> tuple[Study, Choice] | None:
    """Return the study with the most trials that its pictures can fill, practice keeping its part; None if none fit."""
    rules, best = study.protocol, None
    whole = rules.practice_trials + rules.test_trials
    low, high = 0, whole
    while high - low > 1:
        total = (low + high) // 2
        practice = -(-total * rules.practice_trials // whole)  # Rounded up: 5 + 20 of 25, as in 10 + 40.
        try:
            fewer = dataclasses.replace(
                rules, name=f"{rules.name}, shortened", practice_trials=practice, test_trials=total - practice
            )
            found = dataclasses.replace(study, protocol=fewer)
            choice = Choice.of(found, inputs, reals, limit)
            choice.check_enough(found)
            low, best = total, (found, choice)
        except StudyError:
            high = total
    return best


def _too_few(rules: Protocol, choice: Choice, fitting: Protocol | None, error: StudyError) -> StudyError:
    inputs = message("{count:,} to translate", count=len(choice.inputs))
    have = inputs
    if rules.shows_reals:
        have = message("{inputs} and {reals:,} real ones", inputs=inputs, reals=len(choice.reals))
    if fitting is None:
        return TooFewPictures("{needs}; the data set has {have}", needs=error, have=have)
    return TooFewPictures(
        "{practice} and {test} need more pictures than there are, {have}: add some, or take "
        "--practice_trials {practice_trials} --test_trials {test_trials}",
        have=have, **trial_counts(rules.practice_trials, rules.test_trials),
        practice_trials=fitting.practice_trials, test_trials=fitting.test_trials,
    )  # fmt: skip
