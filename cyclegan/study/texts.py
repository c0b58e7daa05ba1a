"""Texts that people write: how their files are read, and which characters can be kept and shown."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from cyclegan.errors import Message, StudyError

_UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf")


def read_text(path: Path, what: Message) -> str:
    """Return what an owner has written in a file.

    Args:
        what: the file in a remedy: "the consent's file".

    Raises:
        StudyError: it can't be read, or isn't UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StudyError("{path} can't be read ({reason}): name {what}", path=path, reason=error, what=what) from error
    except UnicodeDecodeError as error:
        raise StudyError("{path} isn't UTF-8: save it in that encoding", path=path) from error


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
