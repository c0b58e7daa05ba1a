"""The catalogues: one .po file per language, with the English templates as keys.

    locale/ko/LC_MESSAGES/cyclegan.po

Pages, errors and the player read them; translators' tools open them. `python docs/generate.py` adds the templates that
the code has and a catalogue lacks, and drops those that no code has any more (`cyclegan.locale.extract`).
"""

from __future__ import annotations

import functools
import gettext
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cyclegan.errors import Message, Translate, UserError, english

FOLDER = Path(__file__).parent
LANGUAGES = ("en", "ko")
"""The first is the language of the templates."""
_SAID = re.compile(r'\bsay\(\s*("(?:[^"\\\n]|\\.)*")(?:,\s*("(?:[^"\\\n]|\\.)*"))?')


def catalogue_path(language: str) -> Path:
    """Return the catalogue's file."""
    return FOLDER / language / "LC_MESSAGES" / "cyclegan.po"


Id = str | tuple[str, str]
"""A sentence's name in a catalogue, as Babel has it: its template, or the singular and the plural of a counted one."""
Forms = dict[str, str]
"""A counted sentence's translations by plural category (`one`, `few`, `other` …), the names that browsers use, too."""


@functools.cache
def catalogue(language: str) -> dict[str, str | Forms]:
    """Return the translations by English template, a counted one's by its singular; {} for English.

    Fuzzy and empty ones are left out.
    """
    if language == LANGUAGES[0]:
        return {}
    found = entries(catalogue_path(language).read_text(encoding="utf-8"))
    return {name: said for name, said in found.items() if said and (isinstance(said, str) or all(said.values()))}


def entries(text: str) -> dict[str, str | Forms]:
    """Return all entries of a .po file by template, without its header; fuzzy translations as empty ones."""
    from babel.messages.pofile import read_po  # Takes 0.2 s, which only those who need another language wait for.

    found = read_po(io.StringIO(text))
    numbers = _numbers(found)
    return {entry.id: "" if entry.fuzzy else entry.string for entry in found if entry.id and not entry.pluralizable} | {
        entry.id[0]: {name: "" if entry.fuzzy else entry.string[number] for name, number in numbers.items()}
        for entry in found if entry.pluralizable
    }  # fmt: skip


def _numbers(found: Any) -> dict[str, int]:
    """Return the number of each plural category's form in a file, whose header numbers them by an expression.

    Args:
        found: the file's `babel.messages.Catalog`.
    """
    category, number = found.locale.plural_form, gettext.c2py(found.plural_expr)
    # A category of fractions alone gets the last form, which is also for whatever else the file doesn't know.
    return {"other": found.num_plurals - 1, **{category(n): number(n) for n in range(1000)}}


def translate(language: str) -> Translate:
    """Return the function that puts a template into `language`; what the catalogue lacks stays English."""
    known = catalogue(language)

    def look_up(template: str, plural: str = "", n: float = 1) -> str:
        said = known.get(template) or english(template, plural, n)
        return said if isinstance(said, str) else said.get(_rule(language)(n)) or said["other"]

    return look_up


@functools.cache
def _rule(language: str) -> Callable[[float], str]:
    """Return the function that finds the plural category of a number in a language."""
    from babel import Locale

    return Locale.parse(language).plural_form


def in_language(said: Message | UserError, language: str) -> str:
    """Return a message's sentence in `language`, nested messages included."""
    return said.text(translate(language))


def in_script(text: str) -> Iterator[Id]:
    """Yield the sentences of a script: the literals of `say("…")` and `say("{n} …", "{n} …s", …)`, as they occur."""
    for template, plural in _SAID.findall(text):
        yield (json.loads(template), json.loads(plural)) if plural else json.loads(template)
