"""The templates that the code can show to a visitor, and the catalogues kept in step with them.

For `python docs/generate.py` and a test; the app itself doesn't need it. A template is the literal first argument of an
error, of `message`, or of what the pages call; it is read from the syntax tree, because much of it stands in f-strings.
"""

from __future__ import annotations

import ast
import functools
import io
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from babel.messages.pofile import read_po

from cyclegan.locale import LANGUAGES, Id, catalogue_path, in_script

ROOT = Path(__file__).resolve().parents[2]

ENGLISH_ONLY = (
    "app.py", "train_accelerate.py", "cyclegan/__main__.py", "cyclegan/cli/", "cyclegan/commands/",
    "cyclegan/experiments/", "cyclegan/training/", "cyclegan/data/holdout.py", "cyclegan/data/loader.py",
    "cyclegan/data/next_frames.py", "cyclegan/data/order.py", "cyclegan/data/phantoms/folders.py",
    "cyclegan/data/streams/", "cyclegan/data/values.py",
    "cyclegan/data/find_classes.py",
    "cyclegan/checkpoints/export_onnx.py", "cyclegan/checkpoints/import_reference.py",
    "cyclegan/checkpoints/import_discriminators.py",
    "cyclegan/checkpoints/containers.py", "cyclegan/checkpoints/stored.py", "cyclegan/checkpoints/training_state.py",
    "cyclegan/checkpoints/weights_file.py", "cyclegan/evaluation/collapse.py",
    *(f"cyclegan/evaluation/scores/{name}.py" for name in (
        "confusion", "describe", "distances", "evaluate", "kinds", "labelled", "prior", "processes", "registry",
        "sets")),
    "cyclegan/evaluation/segmenter.py",
    "cyclegan/evaluation/segmenter_training.py", "cyclegan/networks/features.py", "cyclegan/networks/segmenter.py",
    "cyclegan/data/hub_pictures.py", "cyclegan/translation/endpoint.py",
    "cyclegan/translation/existing.py", "cyclegan/translation/manifest.py", "cyclegan/translation/processes.py",
    "cyclegan/translation/ray_engine.py", "cyclegan/translation/tars.py",
    "cyclegan/translation/inputs.py", "cyclegan/translation/pictures.py", "cyclegan/translation/recordings.py",
    "cyclegan/translation/split_screen.py", "cyclegan/translation/time_split.py",
    "cyclegan/translation/video_frames.py",
    "cyclegan/study/amt.py", "cyclegan/study/consent.py", "cyclegan/study/foreign.py",
    "cyclegan/study/preregistration.py", "cyclegan/study/questions.py", "cyclegan/study/replies.py",
    "cyclegan/study/simulate.py", "cyclegan/study/statistics/", "cyclegan/study/texts.py",
    "cyclegan/study/store/exclusions.py",
    "cyclegan/study/admission.py", "cyclegan/study/refusals.py", "cyclegan/study/requests.py",
    "cyclegan/study/server.py", "cyclegan/study/session.py", "cyclegan/study/votes.py",
    "hub/__main__.py", "hub/card/", "hub/check.py", "hub/endpoint.py", "hub/job.py", "hub/modules.py", "hub/outbox.py",
    "hub/publish.py", "hub/renew.py", "hub/space.py", "hub/state.py", "hub/studies/", "hub/training.py",
)  # fmt: skip
"""Modules and packages whose sentences are shown in English alone.

Most are of the command line. The study's server answers in English, too: the player has its own sentence for each code.
"""

ARGUMENT = {"message": 0, "words.label": 0, "say": 0, "html": 0, "_require": 1, "SessionError": 1, "Refused": 1}
"""Which argument of a call is a template, by the function's name; of any other error it is the first.

Where two more arguments follow in their places, they are the plural and its number.
"""


def sources() -> list[Path]:
    """Return the files whose templates a visitor can see."""
    found = [ROOT / "app.py", *ROOT.glob("cyclegan/**/*.py"), *ROOT.glob("hub/**/*.py"), *ROOT.glob("cyclegan/**/*.js")]
    return sorted(path for path in found if not path.relative_to(ROOT).as_posix().startswith(ENGLISH_ONLY))


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


def templates() -> dict[Id, str]:
    """Return every template, and the file that has it first."""
    errors, found = error_names(), {}
    for path in sources():
        text = path.read_text(encoding="utf-8")
        for template in in_script(text) if path.suffix == ".js" else _of_module(text, errors):
            found.setdefault(template, path.relative_to(ROOT).as_posix())
    return found


def said(tree: ast.Module, errors: Collection[str]) -> Iterator[tuple[ast.expr, ...]]:
    """Yield the arguments of a module's calls that are templates: one, or a singular and a plural.

    Args:
        tree: the module's syntax.
        errors: as `error_names` returns them.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            name = function if function in ARGUMENT else function.rpartition(".")[2]
            place = ARGUMENT.get(name, 0 if name in errors else None)
            if place is not None and len(node.args) > place:
                yield tuple(node.args[place : place + 2 if len(node.args) == place + 3 else place + 1])


def _of_module(text: str, errors: Collection[str]) -> Iterator[Id]:
    for arguments in sorted(said(ast.parse(text), errors), key=lambda found: (found[0].lineno, found[0].col_offset)):
        if len(arguments) == 1:
            yield from _literals(arguments[0])
        else:
            yield from zip(*map(_literals, arguments), strict=True)


def _literals(node: ast.expr) -> Iterator[str]:
    """Yield the strings that an expression may be: a literal, or a choice of literals."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)


def update_catalogues() -> None:
    """Add the templates that a catalogue lacks, with an empty translation, drop those that no code has, and sort."""
    needed = templates()
    for language in LANGUAGES[1:]:
        path = catalogue_path(language)
        path.write_text(updated(path.read_text(encoding="utf-8"), needed), encoding="utf-8")


def updated(text: str, needed: Mapping[Id, str]) -> str:
    """Return a .po file's text with exactly the templates that are needed, each with its file, in the files' order.

    Args:
        text: of the file; its header, translations and notes are kept.
        needed: as `templates` returns it.
    """
    header, _, body = text.partition("\n\n")
    found = read_po(io.StringIO(text))
    known = {entry.id: entry for entry in found if entry.id}
    parts = [header]
    for template, where in sorted(needed.items(), key=lambda pair: pair[1]):
        lines, entry = [f"#: {where}"], known.get(template)
        if entry:
            notes = [f"# {note}" for note in entry.user_comments] + [f"#. {note}" for note in entry.auto_comments]
            lines = notes + lines + ["#, fuzzy"] * entry.fuzzy
        if isinstance(template, str):
            lines += [f"msgid {_quoted(template)}", f"msgstr {_quoted(entry.string if entry else '')}"]
        else:
            lines += [f"msgid {_quoted(template[0])}", f"msgid_plural {_quoted(template[1])}"]
            forms = entry.string if entry else [""] * found.num_plurals
            lines += [f"msgstr[{number}] {_quoted(form)}" for number, form in enumerate(forms)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
