"""The protocol of a study: how judgements are collected, and the presets of the papers."""

from __future__ import annotations

import dataclasses
import reprlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cyclegan.config import check_option, option
from cyclegan.errors import ConfigError, Message, StudyError, message

TASKS = ("realness", "pick", "tag", "rate")
PRESENTATIONS = ("together", "sequence", "single")
PAIRINGS = ("same", "different")
TAGS = ("blur", "smear", "colour", "missing", "invented", "checkerboard", "other")
"""Faults of a fake that participants can mark, for the task `tag`."""
RATINGS = ("bad", "poor", "fair", "good", "excellent")
"""The scale of the task `rate`, from 1 to 5: absolute category rating (ITU-T P.910)."""
MAX_TRIALS = 1000
FORMERLY: dict[str, Any] = {
    "impossible_most": 1.0, "fast_ms": 0, "one_sided": 0.0, "away_most": 1.0, "guessing_p": 0.0, "show_score": "yes",
    "address_code": False, "results": "open", "planned_participants": 0, "least_px": 0, "device_scale": 0,
    "staircase_right": 0, "step_down_ms": 0, "step_up_ms": 0, "least_exposure_ms": 0, "most_exposure_ms": 0,
}  # fmt: skip
"""Fields that studies once lacked, with the values that they were played by. study.json holds a field of another value,
so that an old study keeps its bytes, and with them its id."""


SHOWN = ("device_scale", "staircase_right", "step_down_ms", "step_up_ms", "least_exposure_ms", "most_exposure_ms")
"""Those among them that are about how pictures are shown."""


@dataclass(frozen=True)
class Protocol:
    """The rules of a study. Every field can be overridden when a study is built, and reports print them all.

    Raises:
        StudyError: a value has the wrong type or is out of range, or the fields contradict each other.
    """

    name: str = option("custom", "preset that the fields were taken from")
    task: str = option("realness", "realness: real or fake; pick: which of two epochs; tag: what is wrong; "
                       "rate: how good, 1 to 5", choices=TASKS)
    question: str = option("real", "which picture participants are asked for", choices=("real", "fake"))
    presentation: str = option("together", "two pictures side by side or in sequence, or one by one",
                               choices=PRESENTATIONS)
    practice_trials: int = option(10, "trials with feedback, which never count", least=0, most=MAX_TRIALS)
    test_trials: int = option(40, "trials without feedback, controls among them", least=1, most=MAX_TRIALS)
    exposure_ms: int = option(1000, "how long each picture is shown; 0: until the answer", least=0, most=60_000)
    blank_ms: int = option(600, "empty screen before each picture, at least", least=0, most=10_000)
    mask: bool = option(False, "cover the places of the pictures with a pattern once they are gone")
    feedback_ms: int = option(2400, "how long practice shows the right answer", least=0, most=60_000)
    pairing: str = option("different", "the real picture shows the fake's own scene, or another one", choices=PAIRINGS)
    vigilance_share: float = option(0.0, "part of the test trials with a plainly broken fake", least=0, most=0.5)
    real_real_share: float = option(0.0, "part of the test trials with two real pictures", least=0, most=0.5)
    repeat_share: float = option(0.0, "part of the test trials that show an earlier pair again, sides swapped",
                                 least=0, most=0.5)
    vigilance_pass: float = option(0.0, "part of the vigilance trials that a session must get right to count",
                                   least=0, most=1)
    qualification: float = option(0.0, "part of practice that must be right to continue to the test", least=0, most=1)
    epochs_per_session: str = option("one", "each session judges one epoch (or method), or all of them mixed",
                                     choices=("one", "mixed"))
    impossible_most: float = option(
        0.1, "leave out sessions in which more than this part of the test trials was answered before its pictures "
        "could have been shown; 1: leave out none", least=0, most=1)
    fast_ms: int = option(
        100, "leave out sessions that answer most test trials within so many ms after the question; 0: leave out none",
        least=0, most=60_000)
    one_sided: float = option(
        0.9, "leave out sessions that answer with one side (of single pictures: with one answer) in this part of the "
        "test trials or more, or give one rating; 0: leave out none", least=0, most=1)
    away_most: float = option(
        0.3, "leave out sessions in which the page lost the focus or was reloaded in more than this part of the test "
        "trials; 1: leave out none", least=0, most=1)
    guessing_p: float = option(
        0.01, "leave out sessions that are right no more often than a coin, if somebody like the others is so with "
        "less than this probability; 0: leave out none", least=0, most=0.1)
    staircase_right: int = option(
        0, "adapt the exposure of test pictures to each participant: it shortens after so many right answers in a row, "
        "and lengthens after each wrong one; 0: it doesn't change", least=0, most=10)
    step_down_ms: int = option(0, "how much it shortens, in ms", least=0, most=1000)
    step_up_ms: int = option(0, "how much it lengthens, in ms", least=0, most=1000)
    least_exposure_ms: int = option(0, "shortest exposure that it adapts to, in ms", least=0, most=60_000)
    most_exposure_ms: int = option(0, "longest exposure that it adapts to, in ms", least=0, most=60_000)
    least_px: int = option(
        160, "least width and height of each picture on the screen, in CSS pixels; where there is less room, the page "
        "asks for a larger window before it shows a picture; 0: no minimum", least=0, most=2000)
    device_scale: int = option(
        0, "show each pixel of a picture as exactly N × N pixels of the display, for everybody; 0: as large as fits",
        least=0, most=8)
    login: str = option("none", "who takes part: anyone with the link, accounts of Hugging Face, or single-use links",
                        choices=("none", "huggingface", "invitation"))
    address_code: bool = option(True, "keep a short code of each address, which thousands of addresses share, so that "
                                "the report can list sessions that look like one person")
    show_score: str = option(
        "auto", "show participants at the end how often they were right; auto: not where anyone with the link can take "
        "part again under another name", choices=("auto", "yes", "no"))
    session_hours: int = option(24, "how long after its start a session still takes votes", least=1, most=10_000)
    results: str = option(
        "always_valid", "results before planned_participants: closed: none; always_valid: with intervals that hold "
        "however often somebody looks, and without tests; open: as at the end",
        choices=("closed", "always_valid", "open"))
    planned_participants: int = option(
        25, "participants planned for each epoch (or method), for whom intervals and tests are made; 0: no plan, with "
        "results open",
        least=0, most=100_000)

    def __post_init__(self) -> None:
        # Not `Config.from_json`: it turns 0 into 0.0, which would change the hash of a study that is being played.
        kinds = typing.get_type_hints(Protocol)
        for f in dataclasses.fields(self):
            value, kind = getattr(self, f.name), kinds[f.name]
            allowed = (int, float) if kind is float else kind
            if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
                shown = reprlib.repr(value)
                raise StudyError("{name} must be {kind}, not {value}", name=f.name, kind=kind.__name__, value=shown)
            try:
                check_option(f.name, value, f.metadata["choices"], f.metadata["bounds"])
            except ConfigError as error:
                raise StudyError(error.message) from error
        self._check_task()
        self._check_counts()

    def _check_task(self) -> None:
        """Raise StudyError for fields that don't fit the task or the presentation."""
        if self.task == "pick" and self.presentation == "single":
            raise StudyError("picking takes two pictures: presentation can't be single")
        if self.task == "pick" and self.real_real_share:
            raise StudyError("real_real_share is for judging real or fake: leave it out of picking")
        if self.task == "rate" and self.presentation != "single":
            raise StudyError("rating shows one picture at a time: presentation has to be single")
        if self.task == "tag" and (self.presentation != "single" or self.practice_trials or self.controls):
            raise StudyError("tagging shows one fake at a time, without practice, vigilance or controls")
        if self.presentation == "single" and self.real_real_share:
            raise StudyError("real_real_share is for pairs: leave it out where pictures are shown one by one")
        if self.staircase_right:
            self._check_staircase()
        if self.qualification and not self.practice_trials:
            raise StudyError("qualification is judged in practice: practice_trials can't be 0")
        if self.task != "realness" and self.qualification:
            raise StudyError("qualification is for judging real or fake: a preference has no right answer")

    def _check_staircase(self) -> None:
        """Raise StudyError for a staircase that can't adapt, or whose threshold would be nobody's."""
        if self.task != "realness" or self.epochs_per_session != "one":
            raise StudyError("a staircase is for judging real or fake, with one epoch per session")
        if self.controls:
            raise StudyError("a staircase has no vigilance trials, controls or repeats")
        if not self.step_down_ms or not self.step_up_ms:
            raise StudyError("a staircase needs steps: set step_down_ms and step_up_ms")
        if not 0 < self.least_exposure_ms <= self.exposure_ms <= self.most_exposure_ms:
            raise StudyError(
                "a staircase begins at exposure_ms, between least_exposure_ms and most_exposure_ms: {exposure} isn't "
                "within {least} to {most}",
                exposure=self.exposure_ms, least=self.least_exposure_ms, most=self.most_exposure_ms,
            )

    def _check_counts(self) -> None:
        """Raise StudyError if a session would have too few trials of a kind, or a plan has no number."""
        if self.results != "open" and self.planned_participants < 2:
            raise StudyError("results {results} need a plan: set planned_participants to 2 or more",
                             results=self.results)  # fmt: skip
        if self.results == "always_valid" and not self.gives_rate:
            raise StudyError(
                "results can be always_valid for judging real or fake only, without a staircase: choose closed or open"
            )
        if self.vigilance_pass and not self.counts["vigilance"]:
            raise StudyError("vigilance_pass without a vigilance trial: set vigilance_share")
        once = self.test_trials - self.counts["repeat"]
        if self.counts["comparison"] < 1 or self.counts["repeat"] > min(self.counts["comparison"], (once + 1) // 2):
            raise StudyError("too few comparisons are left after vigilance, controls and repeats: lower their shares")

    @property
    def shows_truths(self) -> bool:
        """True where a fake is next to the real picture of its own scene."""
        return self.task == "realness" and self.pairing == "same" and self.presentation != "single"

    @property
    def shows_reals(self) -> bool:
        """True if real pictures are shown, too: next to the fakes, or among them."""
        return self.task in ("realness", "rate")

    @property
    def gives_rate(self) -> bool:
        """True if it measures a fooling rate; a staircase keeps that the same for everybody."""
        return self.task == "realness" and not self.staircase_right

    @property
    def staircase_target(self) -> float:
        """The part of right answers at which a staircase neither shortens nor lengthens on average."""
        return (self.step_up_ms / (self.step_up_ms + self.step_down_ms)) ** (1 / self.staircase_right)

    @property
    def controls(self) -> float:
        """The share of all test trials that don't compare."""
        return self.vigilance_share + self.real_real_share + self.repeat_share

    @property
    def counts(self) -> dict[str, int]:
        """Test trials of a session by kind: comparison, vigilance, real_real, repeat."""
        shares = {"vigilance": self.vigilance_share, "real_real": self.real_real_share, "repeat": self.repeat_share}
        counts = {kind: max(1, round(share * self.test_trials)) if share else 0 for kind, share in shares.items()}
        return {"comparison": self.test_trials - sum(counts.values()), **counts}

    @property
    def label(self) -> str:
        """Its name on pages and in reports: a preset's name alone stands for the preset's own rules."""
        return f"{self.name}, changed" if self.changed else self.name

    @property
    def changed(self) -> list[str]:
        """The rules that differ from those of the preset whose name it has, by the names of their flags."""
        own = PROTOCOLS.get(self.name, self)
        # Who may take part, for how long, who counts and who sees results isn't how a paper has collected judgements.
        same = {"login", "session_hours", "vigilance_pass", *(name for name in FORMERLY if name not in SHOWN)}
        names = (field.name for field in dataclasses.fields(self))
        return [name for name in names if name not in same and getattr(self, name) != getattr(own, name)]

    def to_json(self) -> dict[str, Any]:
        """Return the protocol as study.json holds it."""
        return {key: v for key, v in dataclasses.asdict(self).items() if key not in FORMERLY or v != FORMERLY[key]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Protocol:
        """Return the protocol that `to_json` wrote, or an older version of this program."""
        return cls(**{**FORMERLY, **values})


_PAPERS = {"exposure_ms": 1000, "practice_trials": 10, "test_trials": 40, "presentation": "together"}
PROTOCOLS: dict[str, Protocol] = {
    "cyclegan2017": Protocol("cyclegan2017", question="real", **_PAPERS),
    "pix2pix2017": Protocol("pix2pix2017", question="fake", **_PAPERS),
    "colorization2016": Protocol("colorization2016", question="fake", pairing="same", vigilance_share=0.1,
                                 vigilance_pass=0.75, **_PAPERS),
    "hype_infinity": Protocol(
        "hype_infinity", presentation="single", practice_trials=20, test_trials=100, exposure_ms=0, qualification=0.65,
        fast_ms=200, one_sided=0.95,
    ),
    "hype_time": Protocol(
        "hype_time", presentation="single", practice_trials=20, test_trials=150, exposure_ms=500, mask=True,
        qualification=0.65, staircase_right=3, step_down_ms=30, step_up_ms=10, least_exposure_ms=100,
        most_exposure_ms=1000, one_sided=0.95, results="closed", planned_participants=30,
    ),
    "pick": Protocol("pick", task="pick", practice_trials=0, exposure_ms=0, epochs_per_session="mixed", fast_ms=200,
                     results="open"),
    "tag": Protocol(
        "tag", task="tag", presentation="single", practice_trials=0, test_trials=20, exposure_ms=0,
        epochs_per_session="mixed", fast_ms=200, results="open",
    ),
    "mos": Protocol(
        "mos", task="rate", presentation="single", practice_trials=5, exposure_ms=0, epochs_per_session="mixed",
        fast_ms=200, one_sided=0.95, results="closed", planned_participants=24,
    ),
}  # fmt: skip
"""Presets: those of the papers, as far as the papers specify them; docs/study.md lists what they leave open."""


DEFAULT = "cyclegan2017"
"""The preset of a study for which none is named."""


def trial_counts(practice: int, test: int) -> dict[str, Message]:
    """Return the words for numbers of trials, as the values `practice` and `test` of a sentence."""
    return {
        "practice": message("{n} practice trial", "{n} practice trials", practice),
        "test": message("{n} test trial", "{n} test trials", test),
    }


def protocol(name: str, **overrides: Any) -> Protocol:
    """Return a preset with some fields replaced; an override of None keeps the preset's value.

    Raises:
        StudyError: there is no such preset, or the fields contradict each other.
    """
    if name not in PROTOCOLS:
        raise StudyError("there is no protocol {name!r}: choose {names}", name=name, names=", ".join(PROTOCOLS))
    given = {key: v for key, v in overrides.items() if v is not None}
    if given.get("vigilance_share") == 0:
        given.setdefault("vigilance_pass", 0.0)  # The preset's mark is for trials that are left out.
    return dataclasses.replace(PROTOCOLS[name], **given)
