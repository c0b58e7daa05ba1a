"""Colour and depth: any decoded picture → 8-bit RGB, and the facts about whatever that leaves out or guesses.

`cyclegan.images.open_image` is the only caller; who wants the facts asks for them with `recorded_facts`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from cyclegan.errors import ImageError, Message, message

__all__ = [
    "Depth", "PictureFacts", "Stored", "has_pages", "notes_on", "record", "recorded_facts", "recording", "to_rgb",
    "why_unread",
]  # fmt: skip

_FEW_LEVELS = 66
"""A depth that leaves at most this many of 256 grey levels is remarked upon: 14 bits in 16 leave 65, 12 bits 17."""
_NEW_SUBFILE_TYPE, _PHOTOMETRIC, _BITS, _SAMPLES, _SAMPLE_FORMAT = 254, 262, 258, 277, 339
_WHITE_IS_ZERO = 0
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")


@dataclass(frozen=True)
class Depth:
    """The values of a picture of more than 8 bits, before they become 256 levels."""

    bits: int
    """Bits of a value; 0 for floats."""
    low: float
    high: float
    white: float | None
    """The value that becomes 255; None: the picture was stretched from `low` to `high`."""


@dataclass(frozen=True)
class PictureFacts:
    """The parts of a file that its picture lacks, and the guesses behind it."""

    pages: bool = False
    """There are more pages or frames than the first."""
    bands: bool = False
    """There are bands beyond colour and transparency."""
    false_alpha: bool = False
    """A band is marked as transparency, but its values are those of a picture; it isn't used."""
    depth: Depth | None = None


_recorded: ContextVar[list[PictureFacts] | None] = ContextVar("recorded", default=None)


@contextlib.contextmanager
def recorded_facts() -> Iterator[list[PictureFacts]]:
    """Yield a list that gets the facts of each picture opened by this thread until the end of the block."""
    facts: list[PictureFacts] = []
    token = _recorded.set(facts)
    try:
        yield facts
    finally:
        _recorded.reset(token)


def recording() -> bool:
    """Return True within a block of `recorded_facts`; then facts that cost something are worth it."""
    return _recorded.get() is not None


def record(facts: PictureFacts) -> None:
    """Add a picture's facts to the list that `recorded_facts` yielded, if there is one."""
    if (seen := _recorded.get()) is not None:
        seen.append(facts)


# --- sentences ----------------------------------------------------------------------------------------------


def notes_on(facts: Sequence[PictureFacts]) -> list[Message]:
    """Return a sentence for each kind of thing that these pictures lost or that was guessed; none if all was used.

    Ranges of values are those of all the pictures together, so that one dark picture among bright ones is no reason,
    unless its brightest value is one of 12 bits: then it is nearly black, most likely by the way it was saved.
    """
    counts = [
        (sum(one.pages for one in facts), message("only the first of several pages or frames is used")),
        (sum(one.bands for one in facts), message("the bands beyond colour aren't used")),
        (sum(one.false_alpha for one in facts), message(
            "the band marked as transparency isn't used, because most of its values are neither 0 nor 255"
        )),
    ]  # fmt: skip
    notes = []
    depths = [one.depth for one in facts if one.depth is not None]
    for bits, white in dict.fromkeys((depth.bits, depth.white) for depth in depths):
        these = [depth for depth in depths if (depth.bits, depth.white) == (bits, white)]
        if white is None:
            counts.append((len(these), message(
                "the {kind} values have no known white, so each picture is stretched from its own minimum to its own "
                "maximum: save them as 16-bit, all scaled alike, if brightness matters",
                kind=_kind(bits),
            )))  # fmt: skip
            continue
        low, high = min(depth.low for depth in these), max(depth.high for depth in these)
        levels = round(high * 255 / white) - round(low * 255 / white) + 1
        if levels <= _FEW_LEVELS:
            notes.append(message(
                "{kind} pictures use only {low:g}..{high:g} of {white:g} and become {levels}: multiply their values "
                "first, all by the same number",
                kind=_kind(bits), low=low, high=high, white=white, levels=_levels(levels),
            ))  # fmt: skip
        elif black := [depth.high for depth in these if bits == 16 and 0 < depth.high < 4096]:
            notes.append(message(
                "{n} of {total} 16-bit pictures has no value above {high:g} of {white:g}, so it is nearly black: if "
                "its values are of 12 bits, multiply them by 16",
                "{n} of {total} 16-bit pictures have no value above {high:g} of {white:g}, so they are nearly black: "
                "if their values are of 12 bits, multiply them by 16",
                len(black), total=len(these), high=max(black), white=white,
            ))  # fmt: skip
    return [*(_counted(count, len(facts), note) for count, note in counts if count), *notes]


def _counted(count: int, of: int, note: Message) -> Message:
    """Return the sentence with the number of pictures that it is about, if there are several in all."""
    if of == 1:
        return note
    return message("in {n} picture, {note}", "in {n} pictures, {note}", count, note=note)


def _levels(count: int) -> Message:
    return message("{n} grey level", "{n} grey levels", count)


def _kind(bits: int) -> Message:
    return message("{bits}-bit", bits=bits) if bits else message("float")


# --- pages --------------------------------------------------------------------------------------------------


def has_pages(image: Image.Image) -> bool:
    """Return True if a file, not decoded yet, has more pages or frames; thumbnails, masks and previews don't count."""
    found = False
    with contextlib.suppress(Exception):  # EOFError after the last one; of what is damaged, the first still counts
        if image.format in _ANIMATED:
            found = getattr(image, "is_animated", False)
        elif image.format == "TIFF":
            for page in range(1, 20):  # GeoTIFFs hold a dozen smaller copies at most.
                image.seek(page)
                if not image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & 0b101:
                    found = True
                    break
    if image.format in (*_ANIMATED, "TIFF"):
        image.seek(0)
    return found


# --- colour and depth ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """A file's own words about its pixels, from before they are decoded."""

    raw_mode: str = ""
    """Pillow's name for the order and depth in the file, such as RGB;16B."""
    tiff: bool = False
    bits: int = 0
    """Bits of a TIFF's first band."""
    bands: int = 0
    """Bands of a TIFF."""
    white_is_zero: bool = False
    premultiplied: bool = False
    """Colours were multiplied by transparency, and still are after decoding."""

    @classmethod
    def of(cls, image: Image.Image, *, change: bool) -> Stored:
        """Return what a picture's header says.

        Args:
            image: not decoded yet.
            change: let premultiplied colours be decoded as they are, because Pillow would divide by what may be
                another band than transparency.
        """
        args = next((tile[3] for tile in getattr(image, "tile", ())), "") or ""
        raw_mode = args if isinstance(args, str) else str(args[0])
        if image.format != "TIFF":
            return cls(raw_mode)
        premultiplied = change and raw_mode.startswith("RGBa")
        if premultiplied:
            image.tile = [_with_raw_mode(tile, raw_mode.replace("RGBa", "RGBA")) for tile in image.tile]
        tags = image.tag_v2
        return cls(
            raw_mode, True, tags.get(_BITS, (1,))[0], tags.get(_SAMPLES, 1), tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO,
            premultiplied,
        )  # fmt: skip


def _with_raw_mode(tile: tuple, raw_mode: str) -> tuple:
    """Return a part of a file to decode with another raw mode; Pillow names the fields from 11 on."""
    fields = (*tile[:3], (raw_mode, *tile[3][1:]))
    return tile._make(fields) if hasattr(tile, "_make") else fields


def to_rgb(image: Image.Image, name: str | Message, stored: Stored) -> tuple[Image.Image, PictureFacts]:
    """Return a decoded picture as 8-bit RGB, transparency over white, and the facts about it except for its pages.

    Raises:
        ImageError: it is in LAB colours, and Pillow was built without LittleCMS.
    """
    mode, depth, false_alpha = image.mode, None, False
    bands = stored.bands > len(image.getbands())
    if mode.startswith(("I", "F")):
        values, depth = _to_8_bit(np.asarray(image), mode, image.format, stored)
        return Image.fromarray(values).convert("RGB"), PictureFacts(bands=bands, depth=depth)
    if mode == "LAB":
        return _lab_to_rgb(image, name), PictureFacts(bands=bands)
    if stored.tiff and mode in ("RGBA", "LA") and not _is_alpha(image.getchannel("A")):
        image, false_alpha = image.convert(mode.rstrip("A")), True  # drops the band
    elif stored.premultiplied:
        image = Image.merge("RGBa", image.split()).convert("RGBA")
    if ";16" in stored.raw_mode and image.mode in ("RGB", "RGBA", "L", "LA"):  # Pillow kept each value's upper byte.
        extrema = [band.getextrema() for band in image.split()[: 3 if image.mode.startswith("RGB") else 1]]
        low, high = min(least for least, _ in extrema), max(most for _, most in extrema)
        depth = Depth(16, low * 256, high * 256 + 255, 65535)
    return _over_white(image), PictureFacts(bands=bands, false_alpha=false_alpha, depth=depth)


def _over_white(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode == "La":  # premultiplied; Pillow converts it to LA only
        image = image.convert("LA")
    if image.has_transparency_data or mode in ("La", "RGBa"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _is_alpha(band: Image.Image) -> bool:
    """Return False for a band of other values that is marked as transparency, such as near infrared.

    Transparency is 0 or 255 nearly everywhere, and opaque somewhere.
    """
    histogram = band.histogram()
    return histogram[255] > 0 and 2 * (histogram[0] + histogram[255]) >= sum(histogram)


def _to_8_bit(values: np.ndarray, mode: str, format: str | None, stored: Stored) -> tuple[np.ndarray, Depth]:
    """Return grey of more than 8 bits, (H, W), as uint8 (H, W), scaled rather than clipped; and its depth.

    Files of 12 and 16 bits have a known white: 4095 or 65535, whichever values are used. Files of 32-bit integers and
    of floats have none: values within 0…1 (floats), 0…255 or 0…65535 use that range, and any others are stretched from
    their minimum to their maximum.
    """
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    bits = 0 if mode == "F" else stored.bits or 32
    if mode.startswith("I;16") or (mode == "I" and format in ("PNG", "PPM")):  # older Pillow opens 16-bit PNG as I
        bits = 12 if stored.bits == 12 else 16
        white = float(2**bits - 1)
    else:
        tops = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
        white = next((top for top in tops if low >= 0 and high <= top), None)
    first, last = (low, high) if white is None else (0.0, white)
    levels = np.clip(np.rint((values - first) * (255.0 / max(last - first, 1e-12))), 0, 255).astype(np.uint8)
    if stored.white_is_zero:  # Pillow inverts these of 8 bits only.
        levels = 255 - levels
        low, high = (low, high) if white is None else (white - high, white - low)
    return levels, Depth(bits, low, high, white)


def _lab_to_rgb(image: Image.Image, name: str | Message) -> Image.Image:
    try:
        from PIL import ImageCms

        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB"))
    except Exception as error:  # Pillow may be built without LittleCMS
        raise ImageError(
            "{name} is in LAB colours, which can't be read here: save it as PNG or JPEG", name=name
        ) from error


def why_unread(name: str | Message, head: bytes, stream: BinaryIO) -> Message | None:
    """Return the reason why a TIFF can't be read: its bands and their values; None for a file that isn't a TIFF.

    Args:
        name: its name in messages.
        head: its first bytes.
        stream: the file, anywhere.
    """
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    with contextlib.suppress(Exception):  # The list of tags may be damaged, too.
        tags = TiffImagePlugin.ImageFileDirectory_v2(head[: 16 if b"+" in head[:4] else 8])
        stream.seek(tags.next)
        tags.load(stream)
        bits, floats = tags.get(_BITS, (1,))[0], 3 in tags.get(_SAMPLE_FORMAT, (1,))
        values = message("{bits}-bit floats", bits=bits) if floats else message("{bits} bits", bits=bits)
        count = tags.get(_SAMPLES, 1)
        bands = message("{n} band", "{n} bands", count)
        return message(
            "{name} is a TIFF of {bands} of {values}, which can't be read here: save it as RGB or grey of 8 bits",
            name=name, bands=bands, values=values,
        )  # fmt: skip
    return None
