"""Rules for texts that people write: which characters can be kept and shown."""

from __future__ import annotations

import unicodedata

_UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf")


def wrong_character(text: str, *, lines: bool = False) -> str | None:
    """Return the first character that can't be kept or shown, None without any: control characters, half a surrogate.

    Spaces of any width and characters without a width of their own are right: Persian, Hindi, joined emoji and East
    Asian keyboards need them. So are those that Python's Unicode tables don't know yet, such as new emoji.

    Args:
        lines: whether the text may have several lines, and tabs.
    """
    refused = ("Cc", "Cs") if lines else ("Cc", "Cs", "Zl", "Zp")
    return next((c for c in text if unicodedata.category(c) in refused and not (lines and c in "\n\t")), None)


def is_blank(text: str) -> bool:
    """Return True if nothing in a text can be seen."""
    return all(unicodedata.category(char) in _UNSEEN for char in text)
