"""The state of a session: its rows, what a browser may know of it, and the acknowledgement of a vote."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


class Random(Protocol):
    """Source of secrets: the module `secrets`, or a predictable one in tests."""

    def token_hex(self, nbytes: int, /) -> str:
        """Return random bytes as hex digits."""

    def choice(self, sequence: Any, /) -> Any:
        """Return one of these."""


@dataclass(frozen=True)
class Reveal:
    """The moment at which a trial's pictures were about to be shown."""

    token_hash: str
    revealed_at: datetime


@dataclass(frozen=True)
class Standing:
    """A session's rows, read in one transaction."""

    session: Any
    index: int
    """Index of the current trial; `trials_per_session` if all have been voted on."""
    completion: Any
    issue: Any
    """The newest issue of the current trial, or None."""
    reveal: Reveal | None
    """The reveal of the current trial, or None."""


@dataclass(frozen=True)
class State:
    """The state of a session, as far as a browser may know it."""

    phase: str
    """before, practice, test, after, done, disqualified, expired. In before and after, questions are due."""
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
