"""The catalogues: one .po file per language, with the English templates as keys.

    locale/ko/LC_MESSAGES/cyclegan.po

Pages, errors and the player read them; translators' tools open them. `python docs/generate.py` adds the templates that
the code has and a catalogue lacks, and drops those that no code has any more (`cyclegan.locale.extract`).
"""

from __future__ import annotations

import functools
import io
from pathlib import Path

from cyclegan.errors import Message, Translate, UserError

FOLDER = Path(__file__).parent
LANGUAGES = ("en", "ko")
"""The first is the language of the templates."""

def catalogue_path(language: str) -> Path:
    """Return the catalogue's file."""
    return FOLDER / language / "LC_MESSAGES" / "cyclegan.po"


@functools.cache
def catalogue(language: str) -> dict[str, str]:
    """Return the translations by English template; {} for English. Fuzzy and empty ones are left out."""
    if language == LANGUAGES[0]:
        return {}
    text = catalogue_path(language).read_text(encoding="utf-8")
    return {template: translation for template, translation in entries(text).items() if translation}


def entries(text: str) -> dict[str, str]:
    """Return all entries of a .po file by template, without its header; fuzzy translations as empty ones."""
    from babel.messages.pofile import read_po  # Takes 0.2 s, which only those who need another language wait for.

    found = read_po(io.StringIO(text))
    return {entry.id: "" if entry.fuzzy else entry.string for entry in found if isinstance(entry.id, str) and entry.id}


def translate(language: str) -> Translate:
    """Return the function that puts a template into `language`; what the catalogue lacks stays English."""
    known = catalogue(language)
    return lambda template: known.get(template, template)


def in_language(said: Message | UserError, language: str) -> str:
    """Return a message's sentence in `language`, nested messages included."""
    return said.text(translate(language))
