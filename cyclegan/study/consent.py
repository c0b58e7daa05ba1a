"""A study's consent in its owner's words: read from a file, shown before anything else, and agreed to.

The text is Markdown or plain. It reaches a browser as a tree of a few known elements, never as HTML, so that nothing in
it can run, load or style anything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.errors import StudyError, message
from cyclegan.locale import LANGUAGES
from cyclegan.study.texts import is_blank, read_text, wrong_character

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
_LINK = re.compile(r"https?://[^\s<>\"]*[^\s<>\".,;:!?)\]']|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
"""The name before an @ begins where such letters do: tried from each of them, a long word takes its length squared."""


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
    translations: Mapping[str, str] = field(default_factory=dict)
    """The same in other languages of the page, whose other languages show `text`."""

    def __post_init__(self) -> None:
        others = self.translations if isinstance(self.translations, Mapping) else {"": None}
        texts = (self.text, self.format, self.version, self.ethics, *others.values())
        if not all(isinstance(value, str) for value in texts) or self.format not in FORMATS.values():
            raise StudyError("a consent has texts, a format (md or txt), a version and an ethics number")
        if unknown := [language for language in others if language not in LANGUAGES]:
            raise StudyError("the page has no language {language!r} for a consent; it has {have}",
                             language=str(unknown[0])[:20], have=", ".join(LANGUAGES))  # fmt: skip
        for name, value in (("--consent_version", self.version), ("--ethics", self.ethics)):
            if len(value) > MAX_LABEL or wrong_character(value):
                raise StudyError("{name} takes at most {most} printable characters", name=name, most=MAX_LABEL)
        for text in (self.text, *others.values()):
            self._check(text)

    def _check(self, text: str) -> None:
        if is_blank(text):
            raise StudyError("the consent has no text: write what participants agree to")
        if len(text) > MAX_CHARS:
            raise StudyError("the consent has {count:,} characters: shorten it to {most:,}, or nobody reads it",
                             count=len(text), most=MAX_CHARS)  # fmt: skip
        if wrong := wrong_character("".join(char for char in text if not char.isspace())):
            raise StudyError("the consent holds a character that can't be shown ({code}): remove it",
                             code=f"U+{ord(wrong):04X}")  # fmt: skip
        self.blocks_of(text)  # Raises for pictures.

    @property
    def texts(self) -> dict[str, str]:
        """The text by language; the original first, whose language is ""."""
        return {"": self.text, **self.translations}

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 by language, as in `texts`; that of the file, unless it has a byte order mark or CRLF."""
        return {language: hashlib.sha256(text.encode()).hexdigest() for language, text in self.texts.items()}

    @property
    def sha256(self) -> str:
        """SHA-256 of the original text."""
        return self.hashes[""]

    def blocks_of(self, text: str) -> list[Part]:
        """Return a text as elements: p, h2, h3, ul, ol, li, blockquote, hr, pre; within them strong, em, a, br, code.

        Raises:
            StudyError: it has pictures.
        """
        if self.format == "txt":
            return [{"tag": "p", "parts": list(_plain(part))} for part in re.split(r"\n\s*\n", text.strip("\n"))]
        from markdown_it import MarkdownIt
        from markdown_it.tree import SyntaxTreeNode

        return list(_parts(SyntaxTreeNode(MarkdownIt("commonmark", {"html": False}).parse(text))))

    def to_json(self) -> dict[str, Any]:
        """Return its content in study.json."""
        values = asdict(self)
        return values if self.translations else {key: v for key, v in values.items() if key != "translations"}

    @cached_property
    def shown(self) -> dict[str, Any]:
        """The version, ethics and format for the page; texts by language, each with its text, sha256 and blocks."""
        return {
            "version": self.version, "ethics": self.ethics, "format": self.format,
            "texts": {language: {"text": text, "sha256": self.hashes[language], "blocks": self.blocks_of(text)}
                      for language, text in self.texts.items()},
        }  # fmt: skip


def read_consent(
    path: str | Path, *, translations: Sequence[str | Path] = (), version: str = "", ethics: str = ""
) -> Consent:
    """Return the consent in a file, .md or .txt.

    Args:
        translations: files named after their language, as in consent.ko.md.

    Raises:
        StudyError: a file can't be read, isn't named after a language, or can't be a consent.
    """
    path, others = Path(path), {}
    for other in map(Path, translations):
        language = Path(other.stem).suffix[1:]
        if language not in LANGUAGES or other.suffix.lower() != path.suffix.lower():
            raise StudyError(
                "{path} isn't named after its language: name translations as in consent.{language}{suffix}",
                path=other, language=LANGUAGES[-1], suffix=path.suffix,
            )  # fmt: skip
        others[language] = _text_of(other)
    text = _text_of(path)
    return Consent(text, FORMATS[path.suffix.lower()], version, ethics, others)


def _text_of(path: Path) -> str:
    if path.suffix.lower() not in FORMATS:
        raise StudyError("{path} isn't Markdown or plain text: save the consent as .md or .txt", path=path)
    return read_text(path, message("the consent's file"))


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
