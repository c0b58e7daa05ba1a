"""The errors of the Hub, the network and the token."""

from __future__ import annotations

from typing import Any

from cyclegan.errors import Message, UserError, message


class HubError(UserError):
    """A refusal by the Hub, the network or the token.

    Args:
        problem: a template, see `UserError`, or a message.
        remedy: the next step for the person; None where the problem names it.
        temporary: the same call may succeed later.
        status: the HTTP status of the Hub's answer; None without an answer.
        retry_after_s: seconds that the Hub asked to wait; None if it did not ask.
        values: of the problem's template.

    Attributes:
        reason: the problem without its remedy.
    """

    def __init__(
        self, problem: str | Message, /, *, remedy: Message | None = None, temporary: bool = False,
        status: int | None = None, retry_after_s: float | None = None, **values: Any,
    ) -> None:
        self.reason = problem if isinstance(problem, Message) else message(problem, **values)
        both = message("{problem}; {remedy}", problem=self.reason, remedy=remedy)
        super().__init__(both if remedy else self.reason)
        self.temporary, self.status, self.retry_after_s = temporary, status, retry_after_s


class CardError(HubError):
    """A commit was refused for the front matter of its README.md."""


class OtherRunError(HubError):
    """The repository holds the epochs of another run."""
