"""A study's consent in its owner's words: read from a file, shown before anything else, and agreed to.

The text is Markdown or plain. It reaches a browser as a tree of a few known elements, never as HTML, so that nothing in
it can run, load or style anything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.errors import StudyError

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

FORMATS = {".md": "md", ".txt": "txt"}
MAX_CHARS, MAX_LABEL = 20_000, 100
Part = str | dict[str, Any]
"""Text, or an element: {tag, parts, href or start where it has one}."""
_ELEMENTS = {
    "paragraph": "p", "bullet_list": "ul", "ordered_list": "ol", "list_item": "li", "blockquote": "blockquote",
    "strong": "strong", "em": "em", "hr": "hr", "hardbreak": "br", "link": "a", "code_inline": "code",
    "code_block": "pre", "fence": "pre",
}  # fmt: skip
_LINK = re.compile(r"https?://[^\s<>\"]*[^\s<>\".,;:!?)\]']|[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


@dataclass(frozen=True)
class Consent:
    """The text that participants agree to, with what identifies it.

    Raises:
        StudyError: the text is empty, too long or has pictures, or something can't be shown.
    """

    text: str
    format: str = "md"
    """md or txt."""
    version: str = ""
    ethics: str = ""
    """The approval's number."""

    def __post_init__(self) -> None:
        if not all(isinstance(value, str) for value in asdict(self).values()) or self.format not in FORMATS.values():
            raise StudyError("a consent has a text, a format (md or txt), a version and an ethics number")
        for name, value in (("--consent_version", self.version), ("--ethics", self.ethics)):
            if len(value) > MAX_LABEL or not value.isprintable():
                raise StudyError("{name} takes at most {most} printable characters", name=name, most=MAX_LABEL)
        if not self.text.strip():
            raise StudyError("the consent has no text: write what participants agree to")
        if len(self.text) > MAX_CHARS:
            raise StudyError("the consent has {count:,} characters: shorten it to {most:,}, or nobody reads it",
                             count=len(self.text), most=MAX_CHARS)  # fmt: skip
        if wrong := [char for char in self.text if not char.isprintable() and not char.isspace()]:
            raise StudyError("the consent holds a character that can't be shown ({code}): remove it",
                             code=f"U+{ord(wrong[0]):04X}")  # fmt: skip
        list(_walk(self.blocks))  # Raises for pictures.

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the text in UTF-8: that of the file, unless the file has a byte order mark or CRLF."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def blocks(self) -> list[Part]:
        """The text as elements: p, h2, h3, ul, ol, li, blockquote, hr, pre; within them strong, em, a, br, code."""
        if self.format == "txt":
            return [{"tag": "p", "parts": list(_plain(part))} for part in re.split(r"\n\s*\n", self.text.strip("\n"))]
        from markdown_it import MarkdownIt
        from markdown_it.tree import SyntaxTreeNode

        return list(_parts(SyntaxTreeNode(MarkdownIt("commonmark", {"html": False}).parse(self.text))))

    def to_json(self) -> dict[str, str]:
        """Return its content in study.json."""
        return asdict(self)

    def shown(self) -> dict[str, Any]:
        """Return what the page needs."""
        return {**self.to_json(), "sha256": self.sha256, "blocks": self.blocks}


def read_consent(path: str | Path, *, version: str = "", ethics: str = "") -> Consent:
    """Return the consent in a file, .md or .txt.

    Raises:
        StudyError: it can't be read, or can't be a consent.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise StudyError("{path} isn't Markdown or plain text: save the consent as .md or .txt", path=path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StudyError("{path} can't be read ({reason}): name the consent's file", path=path, reason=error) from error
    except UnicodeDecodeError as error:
        raise StudyError("{path} isn't UTF-8: save it in that encoding", path=path) from error
    return Consent(text, FORMATS[path.suffix.lower()], version, ethics)


def _walk(parts: list[Part]) -> Iterator[Part]:
    for part in parts:
        yield part
        if isinstance(part, dict):
            yield from _walk(part["parts"])


def _parts(node: SyntaxTreeNode) -> Iterator[Part]:
    """Yield what is in a node of the Markdown, with elements of `blocks` for its own."""
    for child in node.children:
        if child.type == "image":
            raise StudyError("the consent can't show pictures: remove {text}", text=f"![{child.content}]"[:60])
        if child.type in ("text", "html_inline", "html_block"):
            yield from _linked(child.content) if node.type != "link" else [child.content]
        elif child.type == "softbreak":
            yield " "
        elif child.type == "heading":
            yield {"tag": "h2" if child.tag in ("h1", "h2") else "h3", "parts": list(_parts(child))}
        elif child.type in _ELEMENTS:
            element: dict[str, Any] = {"tag": _ELEMENTS[child.type]}
            if child.type == "link":
                if not re.match(r"https?://|mailto:", str(child.attrs.get("href")), re.IGNORECASE):
                    yield from _parts(child)  # Its words alone.
                    continue
                element["href"] = str(child.attrs["href"])
            if "start" in child.attrs:
                element["start"] = child.attrs["start"]
            own = [child.content] if child.type in ("code_inline", "code_block", "fence") else list(_parts(child))
            yield {**element, "parts": own}
        else:  # inline, and text that nothing else is known of.
            yield from _parts(child)


def _plain(text: str) -> Iterator[Part]:
    """Yield the lines of a paragraph of plain text, with breaks between them."""
    for number, line in enumerate(text.split("\n")):
        if number:
            yield {"tag": "br", "parts": []}
        yield from _linked(line)


def _linked(text: str) -> Iterator[Part]:
    """Yield a text with its addresses as links."""
    end = 0
    for found in _LINK.finditer(text):
        if found.start() > end:
            yield text[end : found.start()]
        href = found[0] if found[0].startswith("http") else f"mailto:{found[0]}"
        yield {"tag": "a", "href": href, "parts": [found[0]]}
        end = found.end()
    if end < len(text):
        yield text[end:]
