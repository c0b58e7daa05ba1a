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
    """Return the translations by English template; {} for English. Fuzzy and empty ones are left out.

    Reads the part of the .po format that this project uses, because Babel takes 0.2 s for it, which every start of
    the app would wait for. A test compares the result with Babel's.
    """
    if language == LANGUAGES[0]:
        return {}
    text = catalogue_path(language).read_text(encoding="utf-8")
    entries = ((notes, _unquoted(key), _unquoted(value)) for notes, key, value in _ENTRY.findall(text))
    return {
        key: value for notes, key, value in entries
        if key and value and not re.search(r"^#,.*\bfuzzy\b", notes, re.MULTILINE)
    }  # fmt: skip


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
