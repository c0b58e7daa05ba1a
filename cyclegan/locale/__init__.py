"""The catalogues: one .po file per language, with the English templates as keys.

    locale/ko/LC_MESSAGES/cyclegan.po

Pages, errors and the player read them; translators' tools open them. `python docs/generate.py` adds the templates that
the code has and a catalogue lacks, and drops those that no code has any more (`cyclegan.locale.extract`).
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from cyclegan.errors import Message, Translate, UserError

FOLDER = Path(__file__).parent
LANGUAGES = ("en", "ko")
"""The first is the language of the templates."""

_STRING = r'"(?:[^"\\]|\\.)*"'
_ENTRY = re.compile(rf"((?:^#.*\n)*)^msgid ((?:{_STRING}\s*)+)^msgstr ((?:{_STRING}\s*)+)", re.MULTILINE)


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
    """Return all entries of a .po file by template, without its header; fuzzy translations as empty ones.

    Reads the part of the format that this project uses, because Babel takes 0.2 s for it, and every start of the app
    would wait for that. A test compares the result with Babel's.
    """
    found = {}
    for notes, template, translation in _ENTRY.findall(text):
        fuzzy = re.search(r"^#,.*\bfuzzy\b", notes, re.MULTILINE)
        found[_unquoted(template)] = "" if fuzzy else _unquoted(translation)
    found.pop("", None)
    return found


def _unquoted(strings: str) -> str:
    """Return the text of quoted strings on one or more lines; the escapes are those of JSON."""
    return "".join(json.loads(string) for string in re.findall(_STRING, strings))


def translate(language: str) -> Translate:
    """Return the function that puts a template into `language`; what the catalogue lacks stays English."""
    known = catalogue(language)
    return lambda template: known.get(template, template)


def in_language(said: Message | UserError, language: str) -> str:
    """Return a message's sentence in `language`, nested messages included."""
    return said.text(translate(language))
