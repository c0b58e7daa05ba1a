"""The part of this program that another place needs: a module, whatever it imports, and the requirements of those."""

from __future__ import annotations

import ast
import functools
import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import requires
from pathlib import Path

from cyclegan.errors import message
from hub.errors import HubError

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cyclegan", "hub")
DATA = ("*.css", "*.html", "*.js", "*.po")
"""Files of our packages that aren't modules."""
DISTRIBUTIONS = {"PIL": "pillow", "markdown_it": "markdown-it-py", "skimage": "scikit-image", "yaml": "pyyaml"}
"""Names of packages, where they differ from those of their modules."""
COMPANIONS = {"authlib": ("httpx", "itsdangerous")}
"""Packages that a library needs for its use here, and doesn't install itself."""


def data_files() -> list[Path]:
    """Return the files of our packages that aren't modules."""
    return [path for package in PACKAGES for pattern in DATA for path in (ROOT / package).rglob(pattern)]


def zipped(paths: Sequence[Path], root: Path = ROOT) -> bytes:
    """Return files as a zip, by their names below `root`; the same files give the same bytes, and are sent once."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            name = zipfile.ZipInfo(path.relative_to(root).as_posix())
            archive.writestr(name, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


@functools.cache
def reached_modules(names: Sequence[str], without: Sequence[str] = ()) -> dict[Path, set[str]]:
    """Return these modules and every module of ours that they import, directly or not, each with its imports.

    Imports within functions count, too.

    Args:
        names: full names, such as cyclegan.images.
        without: packages and modules of two or three names that are left out.
    """
    reached: dict[Path, set[str]] = {}
    queue = [ROOT.joinpath(*name.split(".")).with_suffix(".py") for name in names]
    while queue:
        path = queue.pop()
        if path in reached:
            continue
        reached[path] = set(_imports(ast.parse(path.read_text(encoding="utf-8"))))
        for name in reached[path]:
            parts = name.split(".")
            if parts[0] not in PACKAGES or {".".join(parts[:2]), ".".join(parts[:3])} & {*without}:
                continue
            for depth in range(1, len(parts) + 1):
                module = ROOT.joinpath(*parts[:depth])
                queue += [p for p in (module.with_suffix(".py"), module / "__init__.py") if p.is_file()]
    return reached


def _imports(node: ast.AST) -> Iterator[str]:
    """Yield the full names of imports; those under `if TYPE_CHECKING` don't count."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif not (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from _imports(child)


def requirements(modules: Mapping[Path, set[str]], head: str, extra: tuple[str, str] | None = None) -> str:
    """Return a requirements.txt for what the modules import, without gradio.

    Args:
        modules: as `reached_modules` returns them.
        head: the comment in its first line.
        extra: an installed package and its extra, whose requirements are added.

    Raises:
        HubError: this isn't a clone of the program.
    """
    imported = {name.split(".")[0] for names in modules.values() for name in names} - {"gradio"}
    imported |= {other for name in imported for other in COMPANIONS.get(name, ())}
    needed = {DISTRIBUTIONS.get(name, name).replace("_", "-").lower() for name in imported}
    path = ROOT / "requirements.txt"
    if not path.is_file():
        raise HubError(
            "{missing} isn't next to the packages", missing=path.name,
            remedy=message("run this in a clone of this program"),
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if (match := re.match(r"[\w.-]+", line)) and match[0].lower() in needed]
    return "\n".join([f"# {head}", *kept, *(_of_extra(*extra) if extra else []), ""])


def _of_extra(package: str, extra: str) -> list[str]:
    """Return the requirements of an installed package's extra."""
    found = [line.partition(";") for line in requires(package) or ()]
    return sorted(line.strip() for line, _, marker in found if re.search(rf"extra == .{extra}.", marker))
