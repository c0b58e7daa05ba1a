"""Answers to a participant's browser: the state of a session, and the acknowledgement of a vote."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class State:
    """The state of a session, as far as a browser may know it."""

    phase: str
    """practice, test, done, disqualified, expired."""
    number: int
    """Number of the current trial within its phase, from 1; at the end the number of trials."""
    of: int
    """Trials in the phase."""
    trial: dict[str, Any] | None = None
    """{token, left, right, seen}: tokens of the trial and of its pictures. seen: they were shown before a reload and
    aren't shown again, so left and right are None. Right is None where one picture is shown. With a staircase also
    exposure_ms. None at the end."""
    score: dict[str, int] | None = None
    """{correct, of} over the test, at the end; None where there is no right answer, or the study doesn't show it."""
    code: str | None = None
    """For the participant to hand in, at the end; None in a preview."""
    url: str | None = None
    """Link on the last page."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON that is sent."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Ack:
    """The acknowledgement of a vote that is recorded permanently."""

    recorded: bool
    duplicate: bool
    """The vote had been recorded before; nothing was changed."""
    feedback: dict[str, Any] | None
    """In practice {correct, real_side}, of one picture {correct, truth}. None in the test, or if no answer is right."""
    next: State

    def to_json(self) -> dict[str, Any]:
        """Return the JSON that is sent."""
        return dataclasses.asdict(self)
