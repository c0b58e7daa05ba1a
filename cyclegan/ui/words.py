"""What the pages say, in English and Korean.

Every page adds its own table as it is imported. What stands still is sent as a key, which the browser puts into the
visitor's language (`label`); what the server says about a visitor's picture is put into words here (`speaker`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import gradio as gr
from gradio.i18n import I18nData

LANGUAGES = ("en", "ko")

_TABLE: dict[str, tuple[str, str]] = {}


def add(table: dict[str, tuple[str, str]]) -> None:
    """Add a page's words: key → (English, Korean); `{name}` stands for what `speaker` is given.

    Raises:
        ValueError: a key is there already with other words.
    """
    for key, pair in table.items():
        if _TABLE.setdefault(key, pair) != pair:
            raise ValueError(f"the words {key!r} are there already")


def label(key: str) -> I18nData:
    """What the browser shows in the visitor's language: for labels, choices, placeholders, or as a component's whole
    value (within a longer text gradio doesn't look for it).

    Raises:
        KeyError: no page has such words.
    """
    assert "{" not in _TABLE[key][0], f"{key} has to be said by the server"
    return I18nData(key)


def language_of(request: gr.Request | None) -> str:
    """The first of the visitor's languages that is spoken here: the browser, too, looks at that one."""
    header = request.headers.get("accept-language", "") if request is not None else ""
    return "ko" if header.strip().lower().startswith("ko") else "en"


@dataclass(frozen=True)
class Speaker:
    """`say(key, **values)` in one language, as plain text."""

    language: str

    def __call__(self, key: str, **values: object) -> str:
        """The words, with `values` in their places. Raises KeyError if no page has such words."""
        return _TABLE[key][LANGUAGES.index(self.language)].format(**values)


def speaker(request: gr.Request | None = None) -> Speaker:
    """For the visitor's language; English without a request."""
    return Speaker(language_of(request))


def i18n() -> gr.I18n:
    """All words that the browser may be asked for, for `launch`."""
    static = {key: pair for key, pair in _TABLE.items() if not re.search(r"\{\w*\}", pair[0])}
    return gr.I18n(**{code: {key: pair[n] for key, pair in static.items()} for n, code in enumerate(LANGUAGES)})
