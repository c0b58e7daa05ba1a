"""The runnable benchmarks, by what their files say: nothing is imported, so that listing them takes no time."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Benchmark:
    """A benchmark, as its file describes it.

    Attributes:
        name: as in `python -m benchmarks.NAME`.
        shows: the first sentence of its docstring.
        takes: TAKES: how long its default flags take, and what it needs.
        writes: REPORT, or WRITES where no file name is fixed.
    """

    name: str
    shows: str
    takes: str
    writes: str


def runnable() -> list[str]:
    """Return the names of the files that run something, in alphabetical order."""
    return [path.stem for path in sorted(FOLDER.glob("[!_]*.py")) if _main(ast.parse(path.read_text("utf-8")))]


def describe(name: str) -> Benchmark:
    """Return what a benchmark's file says; what it doesn't say is empty.

    Raises:
        FileNotFoundError: no file has this name.
    """
    tree = ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))
    values = {node.targets[0].id: node.value for node in tree.body
              if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}  # fmt: skip
    paragraph = " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())
    shows = paragraph.partition(". ")[0].rstrip(".") + "."
    return Benchmark(name, shows, _text(values, "TAKES"), _text(values, "WRITES") or _text(values, "REPORT"))


def announce() -> None:
    """Print what the benchmark that Python is starting shows and takes.

    `benchmarks/__init__.py` calls this before the benchmark's own imports, of which torch's alone take seconds. While
    `python -m` looks for a module, sys.argv[0] is "-m", and only sys.orig_argv has the module's name.
    """
    words = sys.orig_argv
    if sys.argv[:1] != ["-m"] or "-m" not in words or {"-h", "--help"} & {*words}:
        return
    package, _, name = words[words.index("-m") + 1].partition(".")
    if package == FOLDER.name and (FOLDER / f"{name}.py").is_file():
        found = describe(name)
        print(f"{name}: {found.shows} With its default flags it takes {found.takes}.", file=sys.stderr, flush=True)


def _main(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body)


def _text(values: dict[str, ast.expr], name: str) -> str:
    """Return a string constant, or a path below this folder as one: `Path(__file__).parent / "reports" / NAME`."""
    parts = [node for node in ast.walk(values[name]) if isinstance(node, ast.Constant)] if name in values else []
    words = [str(node.value) for node in sorted(parts, key=lambda node: node.col_offset)]
    return "/".join([FOLDER.name, *words] if len(words) > 1 else words)
