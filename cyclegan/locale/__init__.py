"""The catalogues: one .po file per language, with the English templates as keys.

    locale/ko/LC_MESSAGES/cyclegan.po

Pages, errors and the player read them; translators' tools open them. `python docs/generate.py` adds what the code has
and a catalogue lacks. Babel reads the .po itself, so nothing is compiled and nothing can be out of date.
"""

from __future__ import annotations

import functools
from pathlib import Path

from cyclegan.errors import Message, Translate, UserError

FOLDER = Path(__file__).parent
LANGUAGES = ("en", "ko")
"""The first is the language of the templates."""


@functools.cache
def catalogue(language: str) -> dict[str, str]:
    """Return the translations by English template; {} for English. Fuzzy and empty ones are left out."""
    if language == LANGUAGES[0]:
        return {}
    from babel.messages.pofile import read_po

    with open(FOLDER / language / "LC_MESSAGES" / "cyclegan.po", encoding="utf-8") as file:
        entries = read_po(file)
    return {
        entry.id: entry.string
        for entry in entries
        if isinstance(entry.id, str) and entry.id and entry.string and not entry.fuzzy
    }


def translate(language: str) -> Translate:
    """Return the function that puts a template into `language`; what the catalogue lacks stays English."""
    known = catalogue(language)
    return lambda template: known.get(template, template)


def in_language(said: Message | UserError, language: str) -> str:
    """Return a message's sentence in `language`, nested messages included."""
    return said.text(translate(language))
