"""The templates that the code can show to a visitor, and the catalogues kept in step with them.

For `python docs/generate.py` and a test; the app itself doesn't need it. A template is the literal first argument of an
error, of `message`, or of what the pages call; it is read from the syntax tree, because much of it stands in f-strings.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cyclegan.locale import LANGUAGES, catalogue_path, entries

ROOT = Path(__file__).resolve().parents[2]

COMMAND_LINE_ONLY = (
    "app.py", "train_accelerate.py", "cyclegan/__main__.py", "cyclegan/cli/", "cyclegan/commands/",
    "cyclegan/config.py", "cyclegan/methods/", "cyclegan/networks/", "cyclegan/training/", "cyclegan/data/loader.py",
    "cyclegan/checkpoints/export_onnx.py", "cyclegan/checkpoints/import_reference.py",
    "cyclegan/checkpoints/training_state.py", "cyclegan/study/amt.py", "cyclegan/study/simulate.py",
    "cyclegan/study/statistics", "hub/__main__.py", "hub/card.py", "hub/login.py", "hub/outbox.py",
    "hub/publish.py", "hub/space.py", "hub/state.py", "hub/studies/", "hub/training.py",
)  # fmt: skip
"""Beginnings of the paths whose sentences no visitor of the app and no participant sees."""

ARGUMENT = {"message": 0, "label": 0, "say": 0, "html": 0, "_require": 1, "SessionError": 1}
"""Which argument of a call is a template, by the function's name; of any other error it is the first."""


def sources() -> list[Path]:
    """Return the files whose templates a visitor can see."""
    found = [ROOT / "app.py", *ROOT.glob("cyclegan/**/*.py"), *ROOT.glob("hub/**/*.py"), *ROOT.glob("cyclegan/**/*.js")]
    return sorted(path for path in found if not path.relative_to(ROOT).as_posix().startswith(COMMAND_LINE_ONLY))


@functools.cache
def error_names() -> set[str]:
    """Return the names of UserError and all classes that come from it."""
    names, before = {"UserError"}, 0
    paths = [path for folder in ("cyclegan", "hub") for path in (ROOT / folder).rglob("*.py")]
    classes = [
        node for path in paths for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]  # fmt: skip
    while len(names) > before:
        before = len(names)
        names |= {node.name for node in classes if names & {ast.unparse(base) for base in node.bases}}
    return names


def templates() -> dict[str, str]:
    """Return every template, and the file that has it first."""
    errors, found = error_names(), {}
    for path in sources():
        text = path.read_text(encoding="utf-8")
        for template in _of_script(text) if path.suffix == ".js" else _of_module(ast.parse(text), errors):
            found.setdefault(template, path.relative_to(ROOT).as_posix())
    return found


def _of_script(text: str) -> Iterator[str]:
    yield from (json.loads(found) for found in re.findall(r'\bsay\(\s*("(?:[^"\\]|\\.)*")', text))


def _of_module(tree: ast.Module, errors: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            place = ARGUMENT.get(name, 0 if name in errors else None)
            if place is not None and len(node.args) > place:
                yield from _literals(node.args[place])


def _literals(node: ast.expr) -> Iterator[str]:
    """Yield the strings that an expression may be: a literal, or a choice of literals."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)


def update_catalogues() -> None:
    """Add the templates that a catalogue lacks, with an empty translation, and drop those that no code has."""
    needed = templates()
    for language in LANGUAGES[1:]:
        path = catalogue_path(language)
        path.write_text(updated(path.read_text(encoding="utf-8"), needed), encoding="utf-8")


def updated(text: str, needed: Mapping[str, str]) -> str:
    """Return a .po file's text with exactly the templates that are needed; the others' order and notes stay.

    Args:
        text: of the file, with every template and translation on one line.
        needed: as `templates` returns it.
    """
    known = entries(text)
    for template in known.keys() - needed.keys():
        text = re.sub(rf"^msgid {re.escape(_quoted(template))}\nmsgstr .*\n\n?", "", text, flags=re.MULTILINE)
    missing = "".join(
        f'\n#: {where}\nmsgid {_quoted(template)}\nmsgstr ""\n'
        for template, where in needed.items() if template not in known
    )  # fmt: skip
    return f"{text.rstrip()}\n{missing}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
