"""The one way between picture files, PIL images and tensors in [-1, 1].

It loads torch only inside the three functions that need it, so that the app can read an upload before torch is
loaded. Everything that opens a picture, an upload or a training file, calls `open_image`: 8 bit RGB, upright, without
metadata, or an `ImageError` whose message can be shown as it is.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from cyclegan.config import DataConfig
from cyclegan.errors import ImageError, Message, message, reason_of
from cyclegan.pixels import Stored, has_pages, record, recording, to_rgb, why_unread
from cyclegan.values import MAX_CHANNELS

if TYPE_CHECKING:
    import torch

__all__ = [
    "IMAGE_SUFFIXES", "MAX_PIXELS", "MAX_SIDE", "MIN_SIDE", "STACK_SUFFIXES", "VALUE_SUFFIXES", "augment", "crop_box",
    "evaluation_size", "is_picture_name", "list_images", "mean_difference", "natural_order", "normalise",
    "open_image", "pictures_among", "prepare_for_evaluation", "prepare_labels", "probe_image", "resize",
    "resize_for_training", "to_image", "to_tensor", "training_size",
]  # fmt: skip

MAX_PIXELS = 50_000_000
MAX_SIDE = 20_000
# Below this, networks run out of pixels: generators halve a side twice or more and pad by reflection, and the 70×70
# discriminator halves it three times.
MIN_SIDE = 32

# Folder listings take these for pictures; HEIC and SVG so that they are reported rather than overlooked.
IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm",
    ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".svg",
})  # fmt: skip

VALUE_SUFFIXES = (".npy", ".npz", ".dcm", ".ima", ".nii", ".nii.gz")
"""Ends of names of files of other values than 8-bit pictures have, which `cyclegan.rasters` reads."""
STACK_SUFFIXES = (*VALUE_SUFFIXES, ".tif", ".tiff")
"""Ends of names of files that may hold several slices."""

# Pillow opens more, but some of it is unsafe with files from strangers: EPS starts Ghostscript.
_FORMATS = (
    "JPEG", "PNG", "WEBP", "MPO", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF", "ICO", "HEIF",
)  # fmt: skip
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TRUNCATED = ("truncated", "broken", "unexpected end", "decoder", "eof", "expected to read")  # in Pillow's messages
_quiet_lock = threading.RLock()

Source = str | os.PathLike | bytes | BinaryIO | Image.Image


# ---------------------------------------------------------------------------------------------- opening


def open_image(source: Source, *, name: str | Message | None = None, enough: int | None = None) -> Image.Image:
    """Read a picture as upright 8 bit RGB without metadata.

    Transparency is composited over white, because networks have no alpha, the colour under transparent pixels is
    arbitrary (often black), and pages show white behind a picture. Grey of more bits is scaled from 0 to the file's
    white (`cyclegan.pixels`). An animation gives its first frame. `cyclegan.pixels.recorded_facts` gets the facts about
    whatever is left out.

    Args:
        source: a path, the bytes of a file, a binary file object, or a PIL image (which is left as it was).
        name: the picture's name in messages; by default the file's name without its folder.
        enough: pixels that the caller needs; a larger JPEG is decoded at 1/2, 1/4 or 1/8 of its size, to at least so
            many, which takes a part of the memory and the time.

    Returns:
        A new, loaded image: mode "RGB", `info` empty, at most MAX_PIXELS pixels and MAX_SIDE per side.

    Raises:
        ImageError: missing, a folder, unreadable, empty, not a picture, truncated, or too large.
    """
    name = name or _name_of(source)
    own = not isinstance(source, Image.Image)
    with _opened(source, name) as image, _explained(source, name):
        pages = False
        if own and recording():
            with quiet():
                pages = has_pages(image)
        stored = Stored.of(image, change=own)
        if own and enough is not None and math.prod(image.size) > enough:
            scale = math.sqrt(enough / math.prod(image.size))
            image.draft(None, tuple(math.ceil(side * scale) for side in image.size))  # Only JPEG has drafts.
        image.load()
        method = _TRANSPOSE.get(_orientation(image))
        image, facts = to_rgb(image, name, stored)
        record(replace(facts, pages=pages))
        image = image.transpose(method) if method is not None else image
        # A plain copy of the pixels drops EXIF, colour profile and comments.
        plain = Image.new("RGB", image.size)
        plain.paste(image)
        return plain


def probe_image(source: Source, *, name: str | Message | None = None) -> tuple[int, int]:
    """Return width and height as `open_image` would, from the header alone.

    Raises:
        ImageError: for everything that the header shows; only decoding finds a truncated file.
    """
    name = name or _name_of(source)
    with _opened(source, name) as image, _explained(source, name):
        if image.format == "TIFF":
            # Pillow turns TIFFs upright while decoding; the size before that depends on Pillow's version.
            if image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8):
                image.load()
            return image.size
        width, height = image.size
        return (height, width) if _orientation(image, header_only=True) in (5, 6, 7, 8) else (width, height)


def list_images(folder: str | os.PathLike) -> list[Path]:
    """Return the pictures directly inside a folder, in natural order: 2.jpg before 10.jpg.

    Suffixes match in any case; hidden files (".DS_Store", "._1.jpg") are ignored.

    Raises:
        ImageError: the folder is missing, isn't a folder, or can't be read.
    """
    folder = Path(folder)
    try:
        listed = {p.name: p for p in folder.iterdir() if is_picture_name(p.name) and not p.is_dir()}
        return [listed[name] for name in sorted(pictures_among(listed), key=natural_order)]
    except OSError as error:
        raise ImageError(
            "{folder} can't be listed ({reason}): give a folder that can be read",
            folder=folder, reason=reason_of(error),
        ) from error  # fmt: skip


def pictures_among(names: Iterable[str]) -> list[str]:
    """Return the names of a folder's pictures: where there are ordinary ones, arrays next to them aren't pictures."""
    names = [name for name in names if is_picture_name(name)]
    return [name for name in names if not name.lower().endswith(VALUE_SUFFIXES)] or names


def is_picture_name(name: str) -> bool:
    """Return whether a file of this name counts as a picture in a listing: by its end, unless it is hidden."""
    name = name.lower()
    return not name.startswith(".") and (os.path.splitext(name)[1] in IMAGE_SUFFIXES or name.endswith(VALUE_SUFFIXES))


def natural_order(name: str) -> tuple:
    """Return a sort key in which digits compare as numbers; the name itself breaks ties such as 01 and 1."""
    parts = re.split(r"([0-9]+)", name.lower())
    # Every second part is digits; str.isdigit would accept ², which int() refuses.
    return [(int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts)], name


def _name_of(source: Source) -> str | Message:
    if isinstance(source, (str, os.PathLike)):
        return os.path.basename(os.path.normpath(os.fspath(source))) or str(source)
    return message("the picture")


@contextlib.contextmanager
def _opened(source: Source, name: str | Message) -> Iterator[Image.Image]:
    """Yield the source as a PIL image of an allowed size, whose pixels are not decoded yet."""
    if isinstance(source, Image.Image):
        _check_size(source.size, name)
        yield source
        return
    with _explained(source, name):
        stream = _stream(source, name)
    with stream:
        with _explained(source, name, stream):
            try:
                with quiet():
                    image = Image.open(stream, formats=_formats())
            except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
                raise ImageError(
                    "{name} has more than {most} megapixels: make it smaller first",
                    name=name, most=MAX_PIXELS // 1_000_000,
                ) from error  # fmt: skip
        with image:
            _check_size(image.size, name)
            yield image


def _stream(source: Source, name: str | Message) -> BinaryIO:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            raise ImageError("{name} is a folder: give a picture file", name=name)
        if path.exists() and not path.is_file():  # Opening a pipe would wait for ever.
            raise ImageError("{name} is not a regular file: give a picture file", name=name)
        if path.stat().st_size:
            return open(path, "rb")
        data = b""
    else:
        data = bytes(source) if isinstance(source, (bytes, bytearray, memoryview)) else source.read()
    if not data:
        raise ImageError("{name} is empty (0 bytes): copy or download it again", name=name)
    return io.BytesIO(data)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return the allowed formats that this Pillow supports (AVIF came with 11.3, HEIF with a plugin)."""
    Image.init()
    return tuple(f for f in _FORMATS if f in Image.OPEN)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence a library's warnings about odd headers; whatever matters is raised.

    The lock is needed because `catch_warnings` swaps a global: two threads at once could leave it swapped. So it is
    one for all files of pictures.
    """
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def out_of_reach(name: object) -> Iterator[None]:
    """Turn the system's refusals, which don't depend on what a file holds, into an ImageError."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError("{name} does not exist: check the name and the folder", name=name) from error
    except PermissionError as error:
        raise ImageError("{name} may not be read: change the file's permissions", name=name) from error
    except MemoryError as error:
        raise ImageError("{name} does not fit in memory: make it smaller first", name=name) from error


@contextlib.contextmanager
def _explained(source: Source, name: str | Message, stream: BinaryIO | None = None) -> Iterator[None]:
    """Turn exceptions of Pillow, whose decoders raise nearly anything, and of the system into an ImageError."""
    try:
        with out_of_reach(name):
            yield
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageError(_unidentified(name, stream)) from error
    except (OSError, EOFError) as error:
        text = str(error).lower()
        if any(word in text for word in _TRUNCATED):
            raise ImageError("{name} is truncated or damaged: copy or download it again", name=name) from error
        raise ImageError(
            "{name} can't be read ({reason}): copy or download it again",
            name=name, reason=reason_of(error),
        ) from error  # fmt: skip
    except Exception as error:
        raise ImageError(
            "{name} is damaged ({reason}): copy or download it again",
            name=name, reason=reason_of(error),
        ) from error  # fmt: skip


def _unidentified(name: str | Message, stream: BinaryIO | None) -> Message:
    """Return the reason why a file isn't a usable picture; the first bytes show the common cases."""
    head = b""
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.seek(0)
            head = stream.read(512)
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"):
        return message("{name} is a HEIC picture, which can't be read here: save it as PNG or JPEG", name=name)
    if brand in (b"avif", b"avis") and "AVIF" in _formats():
        return message("{name} is truncated or damaged: copy or download it again", name=name)
    if brand in (b"avif", b"avis"):
        return message("{name} is an AVIF picture, which can't be read here: save it as PNG or JPEG", name=name)
    if brand:
        return message("{name} is a video, not a picture: extract its frames as PNG or JPEG", name=name)
    if b"<svg" in head.lower() or str(name).lower().endswith(".svg"):
        return message("{name} is an SVG drawing, which has no pixels: save it as PNG or JPEG", name=name)
    if head.startswith((b"%PDF", b"%!PS")):
        return message("{name} is a document, not a picture: save it as PNG or JPEG", name=name)
    if head.startswith(b"version https://git-lfs"):
        return message("{name} is a Git LFS pointer, not the picture itself: fetch it with git lfs pull", name=name)
    if unread := stream and why_unread(name, head, stream):
        return unread
    text = head.decode("utf-8", "ignore")  # The 512 bytes may end within a character.
    if head and len(text.encode()) > len(head) - 4 and all(char.isprintable() or char.isspace() for char in text):
        if isinstance(name, str) and os.path.splitext(name)[1] and not is_picture_name(name):
            return message("{name} is not a picture but text: give pictures, such as PNG or JPEG", name=name)
        return message(
            "{name} is not a picture but text, whatever its name: download it again, or save the picture as PNG or "
            "JPEG",
            name=name,
        )
    return message(
        "{name} is not a picture that can be read here, whatever its name: save the picture as PNG or JPEG", name=name
    )


def _check_size(size: tuple[int, int], name: str | Message) -> None:
    width, height = size
    shown = {"name": name, "width": width, "height": height}
    if width < 1 or height < 1:
        raise ImageError("{name} has no pixels ({width}×{height}): save it again", **shown)
    if max(size) > MAX_SIDE:
        raise ImageError(
            "{name}, {width}×{height}, has a side above {most:,} pixels: make it smaller first", most=MAX_SIDE, **shown
        )
    if width * height > MAX_PIXELS:
        raise ImageError(
            "{name}, {width}×{height}, has more than {most} megapixels: make it smaller first",
            most=MAX_PIXELS // 1_000_000, **shown,
        )  # fmt: skip


def _orientation(image: Image.Image, *, header_only: bool = False) -> int:
    """Return the EXIF orientation that still has to be applied; damaged EXIF counts as none."""
    # TIFFs have none, because Pillow applies it while decoding and removes it. PNG's own method decodes the pixels.
    read = Image.Image.getexif if header_only else type(image).getexif
    with contextlib.suppress(Exception), quiet():
        return read(image).get(ExifTags.Base.Orientation, 1)
    return 1


# ------------------------------------------------------------------------------------------------ tensors


def to_tensor(image: Image.Image | np.ndarray) -> torch.Tensor:
    """Return an RGB picture as a tensor: float32 (3, H, W) in [-1, 1], a copy.

    Args:
        image: a PIL image, converted to RGB if necessary, or a uint8 array (H, W, 3).

    Raises:
        ImageError: the array isn't uint8 (H, W, 3).
    """
    import torch

    array = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(
            "an array of {dtype} {shape} isn't a picture: give uint8 (H, W, 3)", dtype=array.dtype, shape=array.shape
        )
    return torch.from_numpy(_normalised(array.transpose(2, 0, 1), "C"))


def normalise(pictures: torch.Tensor, memory_format: torch.memory_format | None = None) -> torch.Tensor:
    """Return pictures as networks expect them, on the device that they are on, without waiting for it.

    Args:
        pictures: uint8 (B, H, W, 3), contiguous; or float32 (B, H, W, C), in [-1, 1] already.
        memory_format: of the result, torch.channels_last or by default torch.contiguous_format.

    Returns:
        float32 (B, 3, H, W) in [-1, 1], with the same bits as `to_tensor`'s on every device.
    """
    import torch

    last = memory_format == torch.channels_last
    if pictures.dtype == torch.float32:
        return pictures.permute(0, 3, 1, 2).contiguous(memory_format=memory_format or torch.contiguous_format)
    if pictures.device.type == "cpu":
        # NumPy, because torch starts its threads for a picture of this size, and on a busy machine waits for them:
        # up to 40 ms instead of 0.1.
        array = pictures.numpy().transpose(0, 3, 1, 2)
        return torch.from_numpy(_normalised(array, "K" if last else "C"))
    values = pictures.permute(0, 3, 1, 2).to(torch.float32, memory_format=memory_format or torch.contiguous_format)
    # A tensor, because GPUs replace division by a number with multiplication by its rounded inverse.
    half = torch.full((), 127.5, device=pictures.device)
    return values.div_(half).sub_(1)


def _normalised(array: np.ndarray, order: str) -> np.ndarray:
    """Return uint8 as float32 in [-1, 1]; in memory in the order of its shape ("C") or as it was ("K")."""
    out = np.divide(array, np.float32(127.5), dtype=np.float32, order=order)
    return np.subtract(out, np.float32(1), out=out)


def to_image(tensor: torch.Tensor) -> Image.Image:
    """Return a tensor as an RGB picture; `to_image(to_tensor(x))` equals x exactly.

    Args:
        tensor: (C, H, W) or (1, C, H, W), any float type and device. Values are clamped to [-1, 1] and rounded to the
            nearest of 256 levels. NaN, which only a broken network returns, becomes mid-grey. One channel becomes
            grey, two red and green; of more than three, the first three are shown.

    Raises:
        ImageError: the tensor has another shape.
    """
    import torch

    tensor = tensor.detach()
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 3 or not 1 <= tensor.shape[0] <= MAX_CHANNELS:
        raise ImageError("a tensor {shape} isn't a picture: give (C, H, W) or (1, C, H, W)", shape=tuple(tensor.shape))
    levels = tensor[:3].to(torch.float32).nan_to_num(nan=0.0).clamp(-1, 1).add(1).mul(127.5).round()
    if len(levels) < 3:
        levels = levels.expand(3, -1, -1) if len(levels) == 1 else torch.cat([levels, torch.zeros_like(levels[:1])])
    return Image.fromarray(levels.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy())


# -------------------------------------------------------------------------- geometry: resize, crop, mirror


def mean_difference(one: Any, other: Any) -> float:
    """Return the mean absolute difference of two pictures of one size, images, rasters or arrays (H, W, C).

    It is in grey levels (0 to 255), or in a raster's units.
    """
    first, second = (np.asarray(image) for image in (one, other))
    exact = np.float32 if np.float32 in (first.dtype, second.dtype) else np.int16
    return float(np.abs(first.astype(exact) - second.astype(exact)).mean())


def training_size(size: tuple[int, int], config: DataConfig, *, multiple: int = 4) -> tuple[int, int]:
    """Return the width and height to which `resize_for_training` resizes a picture of this (width, height).

    A picture smaller than the crop is enlarged in proportion until the crop fits. (The reference stretches it in
    scale_width_crop, and crops beyond the edge in crop.)

    Raises:
        ImageError: an extreme shape would grow beyond MAX_PIXELS or MAX_SIDE.
    """
    width, height = size
    crop = config.crop_size
    if config.preprocess == "resize_crop":
        return config.load_size, config.load_size
    if config.preprocess == "resize":
        return crop, crop
    if config.preprocess in ("crop", "scale_width_crop"):
        wanted = 1.0 if config.preprocess == "crop" else config.load_size / width
        scale = max(wanted, crop / width, crop / height)
        return _bounded(max(crop, round(width * scale)), max(crop, round(height * scale)))
    if config.preprocess == "scale_width":
        return _rounded(crop, height * crop / width, multiple)
    return _rounded(width, height, multiple)


def evaluation_size(size: tuple[int, int], config: DataConfig, *, multiple: int = 4) -> tuple[int, int]:
    """Return the width and height of `prepare_for_evaluation`'s result for a picture of this (width, height).

    Raises:
        ImageError: an extreme shape would grow beyond MAX_PIXELS or MAX_SIDE.
    """
    if config.preprocess in ("resize", "resize_crop", "crop"):
        return config.crop_size, config.crop_size
    if config.preprocess in ("scale_width", "scale_width_crop"):
        return _rounded(config.crop_size, size[1] * config.crop_size / size[0], multiple)
    return _rounded(*size, multiple)


def resize_for_training(image: Image.Image, config: DataConfig, *, multiple: int = 4) -> Image.Image:
    """Return an RGB picture at its `training_size`: the part of preprocessing without chance.

    Raises:
        ImageError: as `training_size`.
    """
    return resize(image, training_size(image.size, config, multiple=multiple))


def crop_box(size: tuple[int, int], config: DataConfig, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of a random crop, or of the whole where `config.preprocess` crops nothing.

    Args:
        size: width and height, as `training_size` returns them.
        rng: two numbers are always drawn, so later draws don't depend on the settings.
    """
    width, height = size
    across, down = rng.random(2)
    if config.preprocess not in ("resize_crop", "crop", "scale_width_crop"):
        return 0, 0, width, height
    crop = config.crop_size
    left, top = int(across * (width - crop + 1)), int(down * (height - crop + 1))
    return left, top, left + crop, top + crop


def augment(array: np.ndarray, config: DataConfig, rng: np.random.Generator) -> np.ndarray:
    """Return a random crop, mirrored in half of the cases if `config.flip`.

    Args:
        array: uint8 (H, W, 3) of `training_size`.
        rng: the only source of chance; three numbers are always drawn.

    Returns:
        uint8 (h, w, 3), a view of the array, backwards where mirrored.
    """
    left, top, right, bottom = crop_box((array.shape[1], array.shape[0]), config, rng)
    array = array[top:bottom, left:right]
    mirrored = rng.random() < 0.5
    return array[:, ::-1] if mirrored and config.flip else array


def prepare_for_evaluation(image: Image.Image, config: DataConfig, *, multiple: int = 4) -> Image.Image:
    """Return a test picture as networks see it: without chance, and as much of it as training allows.

    resize, resize_crop: the whole picture at crop_size². scale_width, scale_width_crop: the whole picture, crop_size
    wide. crop: the middle crop_size². none: unchanged. Sides that follow the picture's own are rounded to `multiple`,
    and are at least MIN_SIDE.

    Raises:
        ImageError: an extreme shape would grow beyond MAX_PIXELS or MAX_SIDE.
    """
    return _prepared(image, config, multiple, Image.Resampling.BICUBIC)


def prepare_labels(labels: np.ndarray, config: DataConfig, *, multiple: int = 4) -> np.ndarray:
    """Return a label map, uint8 (H, W), in the geometry of `prepare_for_evaluation`, without mixing classes.

    Raises:
        ImageError: as `prepare_for_evaluation`.
    """
    return np.asarray(_prepared(Image.fromarray(labels), config, multiple, Image.Resampling.NEAREST))


def _prepared(image: Image.Image, config: DataConfig, multiple: int, resampling: Image.Resampling) -> Image.Image:
    if config.preprocess == "crop":
        image = resize(image, training_size(image.size, config, multiple=multiple), resampling)
        crop = config.crop_size
        left, top = (image.width - crop) // 2, (image.height - crop) // 2
        return image.crop((left, top, left + crop, top + crop))
    return resize(image, evaluation_size(image.size, config, multiple=multiple), resampling)


def resize(
    image: Image.Image, size: tuple[int, int], resampling: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Return the picture at this width and height, antialiased bicubic; the same object if it has that size."""
    return image if image.size == size else image.resize(size, resampling)


def _rounded(width: float, height: float, multiple: int) -> tuple[int, int]:
    """Return both sides rounded to the multiple, after enlarging in proportion if one is below MIN_SIDE."""
    scale = max(1.0, MIN_SIDE / width, MIN_SIDE / height)
    sides = (max(multiple, round(side * scale / multiple) * multiple) for side in (width, height))
    return _bounded(*sides)


def _bounded(width: int, height: int) -> tuple[int, int]:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise ImageError(
            "the picture's shape is too extreme: it would become {width}×{height} pixels, so crop it first",
            width=width, height=height,
        )  # fmt: skip
    return width, height
