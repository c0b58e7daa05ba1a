"""Docstrings in plain English: a noun phrase, or "Return …", "Write …"; never a clause."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = [
    ROOT / "app.py",
    ROOT / "train_accelerate.py",
    *sorted(path for part in ("cyclegan", "hub") for path in (ROOT / part).rglob("*.py")),
]
REFUSED = ("What", "Whether", "How", "Of", "By", "Until")
"""First words of a clause where a noun phrase or a verb belongs."""


def docstrings(path):
    """Yield (line, text) of each docstring in a file, those below attributes included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        body = getattr(node, "body", None)
        for inner in body if isinstance(body, list) else ():
            value = getattr(inner, "value", None)
            if isinstance(inner, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield inner.lineno, value.value


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_docstrings_open_with_a_noun_or_a_verb(path):
    wrong = [f"{line}: {text[:70]}" for line, text in docstrings(path) if text.split(maxsplit=1)[0] in REFUSED]
    assert not wrong, "name the actor, then the verb: " + "; ".join(wrong)
