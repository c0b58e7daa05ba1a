"""The texts of the pages, in the visitor's language. The English text itself is the key (`cyclegan.locale`).

The browser translates what never changes (`label`); the server translates what it says about a visitor's work
(`speaker`), and the scripts get the translations of their own texts (`for_script`).
"""

from __future__ import annotations

import hashlib
import html
import re
from dataclasses import dataclass

import gradio as gr
from gradio.i18n import I18nData

from cyclegan.errors import Message, UserError, message
from cyclegan.locale import LANGUAGES, in_script, translate

_LABELS: dict[str, str] = {}
"""The templates that `label` was asked for, by their keys in the browser."""


def label(text: str) -> I18nData:
    """Return what the browser shows in the visitor's language: for labels, choices, placeholders, or as a component's
    whole value (gradio doesn't look for it within a longer text).

    Call it while a page is built: `launch` hands the texts to the browser.

    Args:
        text: English, without places.
    """
    assert not re.search(r"\{\w*\}", text), f"the server has to fill in {text!r}"
    key = f"t{hashlib.sha256(text.encode()).hexdigest()[:12]}"  # Dots and spaces mean something in the browser's keys.
    _LABELS[key] = text
    return I18nData(key)


def language_of(request: gr.Request | None) -> str:
    """Return the first of the visitor's languages if it is spoken here, else English: the browser decides alike."""
    header = request.headers.get("accept-language", "") if request is not None else ""
    return "ko" if header.strip().lower().startswith("ko") else LANGUAGES[0]


@dataclass(frozen=True)
class Speaker:
    """`say(template, **values)` or `say(singular, plural, n, **values)` in one language, as plain text."""

    language: str

    def __call__(self, template: str, plural: str = "", n: float | None = None, /, **values: object) -> str:
        """Return the text with `values` in its places, as `message` takes them; messages among them are translated."""
        return message(template, plural, n, **values).text(translate(self.language))

    def html(self, template: str, plural: str = "", n: float | None = None, /, **values: object) -> str:
        """Return the text escaped for HTML."""
        return html.escape(self(template, plural, n, **values))

    def text_of(self, said: Message | UserError | str) -> str:
        """Return a message in this language; a plain string is returned unchanged."""
        return said if isinstance(said, str) else said.text(translate(self.language))


def speaker(request: gr.Request | None = None) -> Speaker:
    """Return the speaker of the visitor's language, of English without a request."""
    return Speaker(language_of(request))


def i18n() -> gr.I18n:
    """Return all labels of the pages built so far, for `launch`."""
    tables = {
        code: {
            **{key: translate(code)(text) for key, text in _LABELS.items()},
            # What screen readers hear at the end of an event: gradio has no text for its own key.
            "common": {"complete": Speaker(code).text_of(message("Done"))},
        } for code in LANGUAGES
    }  # fmt: skip
    return gr.I18n(**tables)


def for_script(script: str) -> dict[str, dict[str, str]]:
    """Return the translations of a script's texts, by language and English text.

    Args:
        script: JavaScript, in which a text stands as `say("…")`; these scripts count nothing.
    """
    found = {code: translate(code) for code in LANGUAGES[1:]}
    return {code: {text: say(text) for text in in_script(script)} for code, say in found.items()}
