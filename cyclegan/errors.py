"""The only exceptions whose text a person reads, and the text itself: a template with values, in any language."""

from __future__ import annotations

import numbers
import re
import string
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Translate = Callable[..., str]
"""`translate(template, plural="", n=1)`: the template in another language, `english` where the catalogue lacks it."""


def english(template: str, plural: str = "", n: float = 1) -> str:
    """Return the template for `n` things: `plural` unless it is one."""
    return plural if plural and n != 1 else template


def number_of(number: int, noun: str, plural: str = "") -> str:
    """Return "1 vote", "2 votes" or "1,234 votes", for text in English alone.

    Args:
        number: how many.
        noun: of one.
        plural: of several, where an s isn't enough.
    """
    return f"{number:,} {english(noun, plural or f'{noun}s', number)}"


MOST_SHOWN = 1000
"""The letters of a value that a sentence shows; a longer path or list is cut there."""
_JOINERS = "\u200c\u200d"
"""Letters without a width that scripts and emoji need."""


def shown(text: str, most: int = 80) -> str:
    """Return a name that someone else chose for a terminal or a page: one line, at most `most` letters and "…".

    Control characters would move the cursor, colour the screen or begin a line that looks like this program's own.
    """
    safe = "".join(_safe(letter) for letter in text[:most])
    return safe if len(text) <= most else f"{safe}…"


def _safe(letter: str) -> str:
    if letter.isprintable() or letter in _JOINERS:
        return letter
    return " " if unicodedata.category(letter) == "Zs" else "?"


def rounded(value: float, form: str) -> str:
    """Return `format(value, form)`, without a sign where all that is left is zero: 0.0, not -0.0 or +0.0."""
    return re.sub(r"^(\s*)[-+](?=0[0.,]*(?:%|e\+00)?\s*$)", r"\1", format(value, form))


class _Formatter(string.Formatter):
    def format_field(self, value: Any, form: str) -> str:
        if isinstance(value, _Sentence):
            return format(str(value), form)
        try:
            text = rounded(value, form) if isinstance(value, numbers.Real) else format(value, form)
        except ValueError:
            if not isinstance(value, int):  # Python refuses to write whole numbers of thousands of digits.
                raise
            text = f"{value.bit_length():,} bits"
        return shown(text, MOST_SHOWN)


class _Sentence(str):
    """A nested message's text, whose own values are safe already."""


@dataclass(frozen=True)
class Message:
    """A sentence for a person: an English template and the values for its places.

    The template is the key in the catalogues of `cyclegan.locale`, so it must be a literal where a message is made.

    Args:
        template: the sentence with places such as `{name}` or `{size:.1f}`. Literal braces are doubled, except in a
            template without values, which is the text itself.
        values: the values of the places. A value that is a message or a UserError itself is translated, too; of any
            other, letters that a terminal would obey are replaced, and what is very long is cut (`shown`).
        plural: the template for another number than one of something; "" where the sentence counts nothing. The number
            is the value `n`.
    """

    template: str
    values: dict[str, Any] = field(default_factory=dict, hash=False)
    plural: str = ""

    def text(self, translate: Translate = english) -> str:
        """Return the sentence, with the template and every nested message put through `translate`."""
        if not self.values:
            return translate(self.template)
        values = {name: _text_of(value, translate) for name, value in self.values.items()}
        template = translate(self.template, self.plural, values["n"]) if self.plural else translate(self.template)
        return _Formatter().vformat(template, (), values)

    def __str__(self) -> str:
        return self.text()


def message(template: str, plural: str = "", n: float | None = None, /, **values: Any) -> Message:
    """Return a `Message`; the extraction of templates knows this name.

    Args:
        template: see `Message`.
        plural: see `Message`: `message("{n} picture", "{n} pictures", 3)`. A sentence that counts two kinds of things
            has a nested message for each.
        n: the number of things; with `plural` only.
        values: see `Message`. An exception of another library becomes its text, an OSError the system's reason.
    """
    counted = {"n": n} if plural else {}
    return Message(template, {**counted, **{name: _plain(value) for name, value in values.items()}}, plural)


SYSTEM_REASONS = (
    message("No such file or directory"), message("Permission denied"), message("No space left on device"),
    message("Input/output error"), message("Is a directory"), message("Not a directory"),
)  # fmt: skip
"""The commonest reasons of an OSError, here for the catalogues."""


def _plain(value: Any) -> Any:
    """Return a value for a message: another library's exception becomes its text, because it would keep its frames.

    An OSError becomes the system's reason, a message of its own, without the path.
    """
    if not isinstance(value, BaseException) or isinstance(value, UserError):
        return value
    return Message(value.strerror) if isinstance(value, OSError) and value.strerror else " ".join(str(value).split())


def reason_of(error: BaseException) -> Message:
    """Return another program's exception in short, such as "Permission denied"; catalogues know the system's words."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return Message(shown(text[:80]).rstrip("."))


def _text_of(value: Any, translate: Translate) -> Any:
    if isinstance(value, UserError):
        value = value.message
    return _Sentence(value.text(translate)) if isinstance(value, Message) else value


class UserError(Exception):
    """A problem that the person can fix: one sentence that names the thing and the remedy.

    Commands print it and pages show it. Any other exception is a bug and must look like one.

    Args:
        template: see `Message`; without a full stop at its end.
        plural, n, values: see `message`.

    Attributes:
        message: the sentence as a `Message`, for other languages.
    """

    def __init__(
        self, template: str | Message, plural: str = "", n: float | None = None, /, **values: Any
    ) -> None:
        self.message = template if isinstance(template, Message) else message(template, plural, n, **values)
        super().__init__(self.message)

    def __str__(self) -> str:
        return str(self.message)

    def text(self, translate: Translate = english) -> str:
        """Return the sentence in the language of `translate`."""
        return self.message.text(translate)


class ConfigError(UserError):
    """A setting or flag that can't work."""


class ImageError(UserError):
    """A picture or video that can't be read, translated or written."""


class DataError(UserError):
    """A data set that can't be used."""


class CheckpointError(UserError):
    """A checkpoint, training state or file of weights that can't be found, read or written."""


class TrainingError(UserError):
    """A training that can't continue."""


class StudyError(UserError):
    """A study, its database or its report that can't be built, read, played or written."""


class Cancelled(Exception):
    """The work was cancelled at the caller's request; there is nothing to report."""
