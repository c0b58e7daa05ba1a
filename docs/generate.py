"""Write docs/flags.md, docs/api.md and the tables of figures from the code, and update the catalogues.

Run it as `python docs/generate.py`.

Tests keep all of them up to date. A new sentence gets an empty translation, which a person has to write.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
UNTITLED = {"options", "positional arguments"}
"""Titles that argparse gives to the flags of no group."""


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """(command, parser) of every program, subcommands each by itself."""
    from cyclegan.__main__ import build_parser
    from cyclegan.cli.flags import add_config_flags, add_file_flags, make_parser

    train = make_parser("train_accelerate.py", "")
    add_file_flags(train)
    add_config_flags(train)
    yield "python train_accelerate.py", train
    yield "python app.py", _load(ROOT / "app.py").build_parser()
    found = [("python -m cyclegan", build_parser())]
    if (ROOT / "hub" / "__main__.py").is_file():
        found.append(("python -m hub", _load(ROOT / "hub" / "__main__.py").build_parser()))
    for command, parser in found:
        yield from _subcommands(command, parser)


def _subcommands(command: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """What has no subcommands of its own, at whatever depth."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield command, parser
    for action in inner:
        for name, sub in action.choices.items():
            yield from _subcommands(f"{command} {name}", sub)


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(f"documented_{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flags_page() -> str:
    """Every flag of every program, with its default and meaning."""
    lines = ["# Flags", "", "Written by `python docs/generate.py`; change the code, not this page.", ""]
    train: set[str | None] = set()
    for command, parser in parsers():
        lines += [f"## `{command}`", ""]
        train = train or {group.title for group in parser._action_groups}  # The trainer's, which are the first.
        for group in parser._action_groups:
            actions = [a for a in group._group_actions if not isinstance(a, argparse._HelpAction)]
            if not actions or (command == "python -m hub job" and group.title in train - UNTITLED):
                continue
            if group.title not in UNTITLED:
                lines += [f"### {group.title}", "", *([group.description, ""] if group.description else [])]
            lines += ["| flag | default | meaning |", "|---|---|---|"]
            for action in actions:
                names = action.option_strings or [action.metavar or action.dest.upper()]
                names = ", ".join(f"`{name}`" for name in names)
                choices = f" One of {', '.join(f'`{c}`' for c in action.choices)}." if action.choices else ""
                meaning = ((action.help or "") % vars(action)).replace("|", "\\|").rstrip(".") + "." + choices
                lines.append(f"| {names} | {_default(action)} | {meaning} |")
            lines.append("")
        if command == "python -m hub job":
            lines += ["Also takes the flags of `python train_accelerate.py`, but for those that it sets itself.", ""]
    return "\n".join(lines)


def _default(action: argparse.Action) -> str:
    if action.required or (not action.option_strings and action.nargs != "?"):
        return "required"
    from cyclegan.cli.flags import default_of

    default = default_of(action)
    if default in (None, ""):
        return ""
    return {True: "on", False: "off"}[default] if isinstance(default, bool) else f"`{default}`"


def public(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """(qualified name, node) of public functions, classes, and their public methods, but for inherited promises."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if prefix and not ast.get_docstring(node) and node.name in promised(tree):
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from public(node, f"{prefix}{node.name}.")


def members(node: ast.ClassDef) -> set[str]:
    """Names of a class's methods, properties and fields."""
    fields = {f.target.id for f in node.body if isinstance(f, ast.AnnAssign) and isinstance(f.target, ast.Name)}
    aliases = {t.id for f in node.body if isinstance(f, ast.Assign) for t in f.targets if isinstance(t, ast.Name)}
    return fields | aliases | {f.name for f in node.body if isinstance(f, ast.FunctionDef)}


@functools.cache
def promises() -> dict[str, tuple[bool, set[str], set[str]]]:
    """Per class of the library: whether it is a protocol, its members, and the methods that it documents."""
    found = {}
    for path in modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                documented = {f.name for f in node.body if isinstance(f, ast.FunctionDef) and ast.get_docstring(f)}
                protocol = any(ast.unparse(base) == "Protocol" for base in node.bases)
                found[node.name] = (protocol, members(node), documented)
    return found


def promised(node: ast.ClassDef) -> set[str]:
    """Methods that a base of this class, or a protocol that it wholly fulfils, documents in its stead."""
    bases, own = {ast.unparse(base) for base in node.bases}, members(node)
    return {
        method
        for name, (protocol, needed, documented) in promises().items()
        if name in bases or (protocol and needed <= own)
        for method in documented
    }


def modules() -> Iterator[Path]:
    """The library's files."""
    yield from sorted(p for folder in ("cyclegan", "hub") for p in (ROOT / folder).rglob("*.py"))


def api_page() -> str:
    """Every public class and function with its signature and the first sentence that it says of itself."""
    lines = ["# Library", "", "Written by `python docs/generate.py`; the whole text is in the docstrings.", ""]
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        lines += [f"## `{name}`", "", _first(ast.get_docstring(tree)), ""]
        for qualified, node in public(tree):
            signature = "" if isinstance(node, ast.ClassDef) else f"({_arguments(node)})"
            lines.append(f"- `{qualified}{signature}`: {_first(ast.get_docstring(node))}")
        lines.append("")
    return "\n".join(lines)


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    arguments = node.args
    for removed in ("self", "cls"):
        arguments.args = [a for a in arguments.args if a.arg != removed]
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = None
    return ast.unparse(arguments)


def _first(docstring: str | None) -> str:
    """The first paragraph on one line."""
    return " ".join(inspect.cleandoc(docstring or "").split("\n\n")[0].split())


FIGURES_BEGIN, FIGURES_END = "<!-- figures: written by docs/generate.py -->", "<!-- /figures -->"


def training_page() -> str:
    """Return docs/training.md with the table of figures that the code has."""
    from cyclegan.evaluation.figures import FIGURES

    lines = ["", "| figure | in | meaning | better |", "|---|---|---|---|"]
    for figure in FIGURES:
        names = f"`{figure.name('ab')}`, `{figure.name('ba')}`"
        lines.append(f"| {names} | {figure.group} | {figure.meaning} | {figure.better or '–'} |")
    return _with_figures("training.md", lines)


def evaluation_page() -> str:
    """Return docs/evaluation.md with the table of scores' figures that the code has."""
    from cyclegan.evaluation.scores.table import SCORE_FIGURES

    lines = ["", "| score | figure | meaning | better |", "|---|---|---|---|"]
    for figure in SCORE_FIGURES:
        unit = f" ({figure.unit})" if figure.unit else ""
        lines.append(f"| `{figure.score}` | {figure.label} | {figure.meaning}{unit} | {figure.better or '–'} |")
    return _with_figures("evaluation.md", lines)


def _with_figures(page: str, lines: list[str]) -> str:
    """Return a page with these lines between the marks of its table of figures."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").rstrip("\n")
    before, _, rest = text.partition(FIGURES_BEGIN)
    return before + FIGURES_BEGIN + "\n".join([*lines, ""]) + FIGURES_END + rest.partition(FIGURES_END)[2]


PAGES = {"flags.md": flags_page, "api.md": api_page, "training.md": training_page, "evaluation.md": evaluation_page}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (ROOT / "docs" / page).write_text(write() + "\n", encoding="utf-8")
    from cyclegan.locale.extract import update_catalogues

    update_catalogues()
