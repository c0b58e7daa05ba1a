"""Text in pictures: fonts that have its letters, and as much of it as fits."""

from __future__ import annotations

import functools

from PIL import ImageFont

# Pillow's own font has Latin letters only. It looks for these names in the system's folders of fonts.
_WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSansKR-Regular.otf", "NanumGothic.ttf", "malgun.ttf",
               "AppleSDGothicNeo.ttc")  # fmt: skip


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font that most likely has the letters of a text: Pillow's own, or one of the system's for Korean."""
    return _font(max(text, default="") >= "\u0250", size)


@functools.lru_cache
def _font(wide: bool, size: int) -> ImageFont.FreeTypeFont:
    for name in _WIDE_FONTS if wide else ():
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return a text of at most `width` pixels: its end is cut off where it is longer."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
