"""What the Hub, the network or the token did not allow."""

from __future__ import annotations

from typing import Any

from cyclegan.errors import UserError


class HubError(UserError):
    """The Hub, the network or the token refused something.

    Args:
        template: see `UserError`; the remedy follows its last semicolon.
        temporary: the same call may well succeed later.
        status: the HTTP status of the Hub's answer; None if there was none.
        retry_after_s: seconds that the Hub asked to wait; None if it did not.
    """

    def __init__(
        self, template: str, /, *, temporary: bool = False, status: int | None = None,
        retry_after_s: float | None = None, **values: Any,
    ) -> None:
        super().__init__(template, **values)
        self.temporary, self.status, self.retry_after_s = temporary, status, retry_after_s

    @property
    def reason(self) -> str:
        """The sentence without its remedy."""
        return str(self).rpartition("; ")[0] or str(self)


class CardError(HubError):
    """A commit was refused for the front matter of its README.md."""


class OtherRunError(HubError):
    """The repository holds the epochs of another run."""
