"""A vote as a browser sends it: its validation, and its correctness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cyclegan.study.format import Study
from cyclegan.study.protocol import RATINGS, TAGS, Protocol
from cyclegan.study.refusals import SessionError
from cyclegan.study.sequences import Trial

MAX_MARKS = 50
MAX_FRAMES = 10_000_000
WATCHFUL = 2
"""Somebody who looks rates a broken picture as this or less: bad or poor."""
MAX_PX = 100_000
SIZES = ("picture_css_px", "picture_device_px", "window_width", "window_height")
"""Sizes on the screen while the pictures were shown, in pixels."""


@dataclass(frozen=True)
class Answer:
    """A checked vote; times in milliseconds."""

    chosen_side: str | None
    verdict: str | None
    marks: list[dict[str, Any]] | None
    rating: int | None
    exposure_left_ms: float | None
    exposure_right_ms: float | None
    exposure_left_clock_ms: float | None
    exposure_right_clock_ms: float | None
    frames: int | None
    longest_frame_ms: float | None
    focus_lost: bool
    response_ms: float | None
    picture_css_px: float | None
    picture_device_px: float | None
    window_width: float | None
    window_height: float | None
    stacked: bool | None

    @property
    def judgement(self) -> tuple[Any, ...]:
        """The part that distinguishes it from another vote on the same trial."""
        return self.chosen_side, self.verdict, self.marks, self.rating


def check_vote(answer: Mapping[str, Any], trial: Trial, protocol: Protocol, *, resumed: bool) -> Answer:
    """Return the validated answer to a trial; fields that don't apply are None.

    The size of the body and the trial's token are checked before, in requests.py and session.py.

    Args:
        answer: as `StudySessions.vote` takes it, from anyone on the network.
        resumed: the page was reloaded after the pictures were shown, so exposure and response times are unknown.

    Raises:
        SessionError: bad_answer.
    """
    if not isinstance(answer, Mapping):
        raise SessionError("bad_answer")
    chosen_side = verdict = marks = rating = None
    if protocol.task == "tag":
        marks = _check_marks(answer.get("marks"))
    elif protocol.task == "rate":
        rating = answer.get("rating")
        if type(rating) is not int or not 1 <= rating <= len(RATINGS):
            raise SessionError("bad_answer")
    elif trial.right is None:
        verdict = _one_of(answer.get("verdict"), ("real", "fake"))
    else:
        sides = ("left", "right", "tie") if protocol.task == "pick" else ("left", "right")
        chosen_side = _one_of(answer.get("chosen_side"), sides)
    longest = protocol.session_hours * 3_600_000

    def milliseconds(name: str, required: bool) -> float | None:
        value = answer.get(name)
        return None if value is None and not required else check_number(value, longest)

    # Not of a picture that isn't there, or that remains until the answer.
    shown = ["left", "right"][: len(trial.stimuli)] if protocol.exposure_ms else []
    exposures: dict[str, float | None] = {}
    for side in ("left", "right"):
        exposures[f"exposure_{side}_ms"] = milliseconds(f"exposure_{side}_ms", side in shown and not resumed)
        exposures[f"exposure_{side}_clock_ms"] = milliseconds(f"exposure_{side}_clock_ms", False)
    exposures = {name: value if name.split("_")[1] in shown else None for name, value in exposures.items()}
    frames, focus_lost = answer.get("frames"), answer.get("focus_lost")
    if frames is not None and (type(frames) is not int or not 0 <= frames <= MAX_FRAMES):
        raise SessionError("bad_answer")
    if type(focus_lost) is not bool or type(answer.get("stacked")) not in (bool, type(None)):
        raise SessionError("bad_answer")
    sizes = {name: None if answer.get(name) is None else check_number(answer[name], MAX_PX) for name in SIZES}
    return Answer(
        chosen_side, verdict, marks, rating, **exposures, frames=frames, focus_lost=focus_lost,
        longest_frame_ms=milliseconds("longest_frame_ms", False),
        response_ms=milliseconds("response_ms", not resumed), **sizes,
        stacked=None if trial.right is None else answer.get("stacked"),
    )


def _one_of(value: object, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise SessionError("bad_answer")
    return value


def check_number(value: object, most: float) -> float:
    """Return a number from 0 to `most` as a float, or raise SessionError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise SessionError("bad_answer")  # NaN compares as false, too.
    return float(value)


def _check_marks(marks: object) -> list[dict[str, Any]]:
    """Return marks of faults, each with its tag and its box or None."""
    if not isinstance(marks, list) or len(marks) > MAX_MARKS:
        raise SessionError("bad_answer")
    checked = []
    for mark in marks:
        if not isinstance(mark, Mapping):
            raise SessionError("bad_answer")
        tag, box = _one_of(mark.get("tag"), TAGS), mark.get("box")
        if box is not None:
            if not isinstance(box, list) or len(box) != 4:
                raise SessionError("bad_answer")
            x, y, width, height = box = [check_number(value, 1) for value in box]
            # Rounding may put the edge of a box slightly outside.
            if width <= 0 or height <= 0 or x + width > 1 + 1e-6 or y + height > 1 + 1e-6:
                raise SessionError("bad_answer")
        checked.append({"tag": tag, "box": box})
    return checked


def planned_columns(trial: Trial, study: Study, exposure_ms: int) -> dict[str, Any]:
    """Return the columns of a vote that were planned before it, `exposure_ms` among them."""
    right = trial.right
    made_by = [sha for s in trial.stimuli if (sha := study.commit_sha(s.epoch)) is not None]
    return {
        "trial_index": trial.index, "study_id": study.study_id, "phase": trial.phase, "kind": trial.kind,
        "left_stimulus": trial.left.sha256, "right_stimulus": right and right.sha256,
        "epoch_left": trial.left.epoch, "epoch_right": right and right.epoch,
        "commit_sha": " ".join(made_by) or None, "direction": study.direction, "real_side": trial.real_side,
        "exposure_planned_ms": exposure_ms,
    }  # fmt: skip


def is_correct(trial: Trial, protocol: Protocol, chosen_side: str | None, verdict: str | None) -> bool | None:
    """Return True for a right answer, False for a wrong one, None where neither exists."""
    if protocol.task != "realness":
        return None
    if trial.right is None:
        return verdict == _truth(trial)
    if trial.real_side not in ("left", "right"):
        return None
    return (chosen_side == trial.real_side) == (protocol.question == "real")


def is_watchful(
    trial: Trial, protocol: Protocol, chosen_side: str | None, verdict: str | None, rating: int | None = None
) -> bool:
    """Return whether the answer to a vigilance trial is the one of somebody who looks."""
    if rating is not None:
        return rating <= WATCHFUL
    if trial.right is None:
        return verdict == "fake"
    if protocol.task == "realness" and protocol.question == "fake":
        chosen_side = {"left": "right", "right": "left"}.get(chosen_side or "")
    taken = {"left": trial.left, "right": trial.right}.get(chosen_side or "")
    return taken is not None and taken.kind != "broken"


def feedback(trial: Trial, protocol: Protocol, answer: Answer) -> dict[str, Any] | None:
    """Return the truth for practice: {correct, real_side}, of one picture {correct, truth}; None in the test."""
    correct = is_correct(trial, protocol, answer.chosen_side, answer.verdict)
    if trial.phase != "practice" or correct is None:
        return None
    truth = {"truth": _truth(trial)} if trial.right is None else {"real_side": trial.real_side}
    return {"correct": correct, **truth}


def _truth(trial: Trial) -> str:
    return "real" if trial.left.kind == "real" else "fake"
