"""Refused requests of participants: every code, its sentence, and the exception."""

from __future__ import annotations

from typing import Any

from cyclegan.errors import Message, StudyError, message

REFUSED = {
    "taken": message("You have taken part in this study already."),
    "no_session": message("This session is not known here: open the study's link again."),
    "gone": message("This picture's address was good once, and has been used or replaced."),
    "not_found": message("There is nothing at this address."),
    "stale_token": message("This study is open in another tab, or was reloaded: continue there, or reload this page."),
    "out_of_order": message("This trial has been answered or shown already: reload the page to continue."),
    "not_revealed": message("This trial has not been shown yet: reload the page to continue."),
    "late": message("The time for this session has run out; what you answered in time is kept."),
    "bad_answer": message("The answer could not be read: reload the page to continue."),
    "no_consent": message("Nobody takes part without having agreed: reload the page and read the consent."),
    "bad_participant": message(
        "The participant's name has to have 1 to 128 printable characters: check the link."
    ),
    "closed": message("This session is over."),
    "too_many": message("Too many attempts: wait a few minutes, then reload the page."),
    "busy": message("Please wait: nothing was recorded; the page tries again."),
}  # fmt: skip
"""The sentence for people, by code."""


class SessionError(StudyError):
    """A request that was refused and has changed nothing.

    Args:
        code: for programs; one of REFUSED.
        said: the sentence, if another than the code's.
        detail: a few words for the log of incidents.
    """

    def __init__(self, code: str, said: Message | None = None, *, detail: str = "") -> None:
        super().__init__(said or REFUSED[code])
        self.code, self.detail = code, detail

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message), self.__dict__
