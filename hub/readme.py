"""README.md of a repository: front matter, a generated block, and a person's text around it, which is kept.

    --- front matter ---    shared: what a person set is kept to the letter
    text                    a person's, above and below the block, kept byte for byte
    BEGIN … END             generated
"""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Mapping
from typing import Any

import yaml
from huggingface_hub.utils import yaml_dump

BEGIN = "<!-- cyclegan: generated from here; text above and below is yours and is kept -->"
END = "<!-- cyclegan: generated to here -->"
MAX_NAME = 60
_MARKER_LINE = re.compile(rf"^[ \t]*({re.escape(BEGIN)}|{re.escape(END)})[ \t]*\r?$", re.MULTILINE)
_YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError)


# --- the block ----------------------------------------------------------------------------------------------


def with_block(body: str, block: str) -> str | None:
    """Return the text with `block` in place of the generated blocks in it; None if there are none."""
    spans = _blocks(body)
    if not spans:
        return None
    for start, end in reversed(spans[1:]):  # Copies of the block are generated text, too.
        body = body[:start] + body[end:]
    start, end = spans[0]
    return body[:start] + block + body[end:]


def _blocks(body: str) -> list[tuple[int, int]]:
    """Return where generated blocks begin and end. A single marker bounds none: the text may be a person's."""
    found, start = [], None
    for match in _MARKER_LINE.finditer(body):
        if match[1] == BEGIN:
            start = match.start(1)
        elif start is not None:
            found.append((start, match.end(1)))
            start = None
    return found


# --- front matter -------------------------------------------------------------------------------------------


def front_matter(text: str) -> dict[str, Any] | None:
    """Return the values of a front matter's YAML; None if it isn't a valid mapping."""
    try:
        values = yaml.safe_load(text)
    except _YAML_ERRORS:
        return None
    values = {} if values is None else values
    return values if isinstance(values, dict) else None


def front_matter_text(values: Mapping[str, Any], newline: str = "\n") -> str:
    """Return the YAML of these values in their order, without the lines of dashes."""
    return yaml_dump(dict(values), sort_keys=False, line_break=newline)


def edited_front_matter(text: str, wanted: Mapping[str, Any], newline: str = "\n") -> str:
    """Return the YAML `text`, changed to mean `wanted`; unchanged values keep their text and comments.

    Args:
        text: YAML of a mapping, which ends in a line break.
    """
    values = front_matter(text) or {}
    changed = {key: value for key, value in wanted.items() if key not in values or values[key] != value}
    removed = values.keys() - wanted.keys()
    with contextlib.suppress(*_YAML_ERRORS):
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        keys = [key for key, _ in root.value] if root else []
        starts = [key.start_mark.index for key in keys] + [len(text)]
        parts = [text[: starts[0]]]
        for key, start, end in zip(keys, starts, starts[1:], strict=False):
            part = text[start:end]
            comments = re.search(r"(?:^[ \t]*(?:#.*)?\r?\n)*\Z", part, re.MULTILINE)[0]
            if key.value in changed:
                parts.append(front_matter_text({key.value: changed.pop(key.value)}, newline) + comments)
            else:
                parts.append(comments if key.value in removed else part)
        if changed:
            parts.append(front_matter_text(changed, newline))
        result = "".join(parts)
        if yaml.safe_load(result) == wanted:
            return result
    return front_matter_text(wanted, newline)  # It is written in a way that can't be patched, such as {license: mit}.


# --- a person's words ---------------------------------------------------------------------------------------


def one_line(text: str, fallback: str) -> str:
    """Return a name in one line of at most MAX_NAME characters, all of which can be shown and encoded.

    Args:
        fallback: returned where nothing is left.
    """
    # Besides printable characters, keep the two that join or part letters, in Persian for example.
    shown = "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in text)
    shown = " ".join(shown.split())
    return (shown if len(shown) <= MAX_NAME else shown[: MAX_NAME - 1].rstrip() + "…") or fallback


def escaped(text: str) -> str:
    """Return text as Markdown, so that neither Markdown, its tables nor HTML take it for markup."""
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", html.escape(text, quote=False))
