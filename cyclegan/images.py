"""The one way between picture files, PIL images and tensors in [-1, 1].

A leaf: imports nothing of the package, and torch only inside the three functions that need it, so that the
app can read an upload before torch is loaded. Everything that opens a picture, a person's upload or a
training file, comes through `open_image`: 8 bit RGB, upright, without metadata, or an `ImageError` whose
message can be shown as it is.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
from PIL import ExifTags, Image

from cyclegan.errors import ImageError, Message

if TYPE_CHECKING:
    import torch

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MIN_SIDE",
    "ImageError",
    "Preprocessing",
    "augment",
    "crop_box",
    "evaluation_size",
    "list_images",
    "normalise",
    "open_image",
    "prepare_for_evaluation",
    "probe_image",
    "resize_for_training",
    "to_image",
    "to_tensor",
    "training_size",
]

MAX_PIXELS = 50_000_000
MAX_SIDE = 20_000
# The generators halve a side twice or more and pad by reflection, the 70×70 discriminator halves it three
# times: below this, either runs out of pixels.
MIN_SIDE = 32

# What a folder listing takes for a picture. HEIC and SVG are here so that they are reported, not overlooked.
IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".webp",
        ".bmp",
        ".dib",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".tga",
        ".jp2",
        ".j2k",
        ".avif",
        ".heic",
        ".heif",
        ".svg",
    }
)

# Pillow opens more than this, and some of it should never meet a stranger's file: EPS starts Ghostscript.
_FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "MPO",
    "BMP",
    "DIB",
    "GIF",
    "TIFF",
    "PPM",
    "TGA",
    "JPEG2000",
    "AVIF",
    "ICO",
    "HEIF",
)
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TRUNCATED = ("truncated", "broken", "unexpected end", "decoder", "eof", "expected to read")
_quiet_lock = threading.Lock()

Source = str | os.PathLike | bytes | BinaryIO | Image.Image


# ---------------------------------------------------------------------------------------------- opening


def open_image(source: Source, *, name: str | Message | None = None) -> Image.Image:
    """Read a picture as upright 8 bit RGB without metadata.

    Transparency is composited over white: the networks know no alpha, what lies under transparent pixels is
    arbitrary (often black), and white is what a page shows behind the picture. 16 bit grey is scaled from its
    true range; of an animation the first frame is taken.

    Args:
        source: a path, the bytes of a file, a binary file object, or a PIL image (which is left as it was).
        name: what messages call the picture; by default the file's name without its folder.

    Returns:
        A new, loaded image: mode "RGB", `info` empty, at most MAX_PIXELS pixels and MAX_SIDE per side.

    Raises:
        ImageError: missing, a folder, unreadable, empty, not a picture, truncated, or too large.
    """
    name = name or _name_of(source)
    with _opened(source, name) as image, _explained(source, name):
        image.load()
        method = _TRANSPOSE.get(_orientation(image))
        image = _to_rgb(image, name)
        image = image.transpose(method) if method is not None else image
        # A plain copy of the pixels: no EXIF, no colour profile, no comments travel on.
        return Image.fromarray(np.array(image))


def probe_image(source: Source, *, name: str | Message | None = None) -> tuple[int, int]:
    """Width and height as `open_image` would return them, from the header alone.

    Raises:
        ImageError: for everything that the header shows; a truncated file is only found by decoding it.
    """
    name = name or _name_of(source)
    with _opened(source, name) as image, _explained(source, name):
        if image.format == "TIFF":
            # Pillow turns TIFFs upright while decoding; the size that it gives before depends on its version.
            if image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8):
                image.load()
            return image.size
        width, height = image.size
        return (height, width) if _orientation(image, header_only=True) in (5, 6, 7, 8) else (width, height)


def list_images(folder: str | os.PathLike) -> list[Path]:
    """The pictures directly inside a folder, in natural order: 2.jpg before 10.jpg.

    Suffixes are matched whatever their case; hidden files (".DS_Store", "._1.jpg") are ignored.

    Raises:
        ImageError: the folder is missing, is no folder, or can't be read.
    """
    folder = Path(folder)
    try:
        seen = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."]
        return sorted((p for p in seen if not p.is_dir()), key=lambda p: natural_order(p.name))
    except OSError as error:
        message = f"{folder} can't be listed ({_reason(error)}): give a folder that can be read"
        raise ImageError(message) from error


def natural_order(name: str) -> tuple:
    """A sort key that counts: digits compare as numbers; the name itself breaks ties such as 01 and 1."""
    parts = re.split(r"([0-9]+)", name.lower())
    # Every second part is digits; str.isdigit would take ² for one, which int() refuses.
    return [(int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts)], name


def _name_of(source: Source) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.path.basename(os.path.normpath(os.fspath(source))) or str(source)
    return "the picture"


@contextlib.contextmanager
def _opened(source: Source, name: str) -> Iterator[Image.Image]:
    """The source as a PIL image: its header is read and its size allowed, its pixels are not decoded yet."""
    if isinstance(source, Image.Image):
        _check_size(source.size, name)
        yield source
        return
    with _explained(source, name):
        stream = _stream(source, name)
    with stream:
        with _explained(source, name, stream):
            try:
                with _quiet():
                    image = Image.open(stream, formats=_formats())
            except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
                raise ImageError(_too_large(name)) from error
        with image:
            _check_size(image.size, name)
            yield image


def _stream(source: Source, name: str) -> BinaryIO:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            raise ImageError("{name} is a folder: give a picture file", name=name)
        if path.exists() and not path.is_file():  # opening a pipe would wait forever
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
    """The allowed formats that this Pillow knows (AVIF came with 11.3, HEIF with a plugin)."""
    Image.init()
    return tuple(f for f in _FORMATS if f in Image.OPEN)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings about odd headers from people; what matters is raised by us.

    The lock is because `catch_warnings` swaps a global: two threads inside at once could leave it swapped.
    """
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _explained(source: Source, name: str, stream: BinaryIO | None = None) -> Iterator[None]:
    """Turn what Pillow and the system raise into one sentence. Pillow's decoders raise nearly anything."""
    try:
        yield
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageError(_unidentified(name, stream)) from error
    except FileNotFoundError as error:
        raise ImageError("{name} does not exist: check the name and the folder", name=name) from error
    except PermissionError as error:
        raise ImageError("{name} may not be read: change the file's permissions", name=name) from error
    except MemoryError as error:
        raise ImageError("{name} does not fit in memory: make it smaller first", name=name) from error
    except (OSError, EOFError) as error:
        text = str(error).lower()
        if any(word in text for word in _TRUNCATED):
            raise ImageError("{name} is truncated or damaged: copy or download it again", name=name) from error
        raise ImageError(
            "{name} can't be read ({reason}): copy or download it again",
            name=name, reason=_reason(error),
        ) from error
    except Exception as error:
        raise ImageError(
            "{name} is damaged ({reason}): copy or download it again",
            name=name, reason=_reason(error),
        ) from error


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return text[:80].rstrip(".").lower() if not text.isupper() else text[:80]


def _unidentified(name: str, stream: BinaryIO | None) -> str:
    """Why a file is no picture for us; the common cases by their first bytes."""
    head = b""
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.seek(0)
            head = stream.read(512)
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"):
        return f"{name} is a HEIC picture, which can't be read here: save it as PNG or JPEG"
    if brand in (b"avif", b"avis") and "AVIF" in _formats():
        return f"{name} is truncated or damaged: copy or download it again"
    if brand in (b"avif", b"avis"):
        return f"{name} is an AVIF picture, which can't be read here: save it as PNG or JPEG"
    if brand:
        return f"{name} is a video, not a picture: extract its frames as PNG or JPEG"
    if b"<svg" in head.lower() or str(name).lower().endswith(".svg"):
        return f"{name} is an SVG drawing, which has no pixels: save it as PNG or JPEG"
    if head.startswith((b"%PDF", b"%!PS")):
        return f"{name} is a document, not a picture: save it as PNG or JPEG"
    if head.startswith(b"version https://git-lfs"):
        return f"{name} is a Git LFS pointer, not the picture itself: fetch it with git lfs pull"
    return f"{name} is not a picture that can be read here: save it as PNG or JPEG"


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels: make it smaller first"


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(
            "{name} has no pixels ({width}×{height}): save it again",
            name=name, width=width, height=height,
        )
    if max(size) > MAX_SIDE:
        message = f"{name}, {width}×{height}, has a side above {MAX_SIDE:,} pixels: make it smaller first"
        raise ImageError(message)
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(name).replace(" has", f", {width}×{height}, has", 1))


def _orientation(image: Image.Image, *, header_only: bool = False) -> int:
    """The EXIF orientation that is still to be applied; damaged EXIF counts as none."""
    # TIFFs have none left: Pillow applies it while decoding, and takes it out.
    read = Image.Image.getexif if header_only else type(image).getexif  # PNG's own decodes the pixels first
    with contextlib.suppress(Exception), _quiet():
        return read(image).get(ExifTags.Base.Orientation, 1)
    return 1


# --------------------------------------------------------------------------------------- colour and depth


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    mode = image.mode
    if mode.startswith(("I", "F")):
        return Image.fromarray(_to_8_bit(np.asarray(image), mode, image.format)).convert("RGB")
    if mode == "LAB":
        return _lab_to_rgb(image, name)
    if mode == "La":  # premultiplied; Pillow converts it to LA only
        image = image.convert("LA")
    if image.has_transparency_data or mode in ("La", "RGBa"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(values: np.ndarray, mode: str, format: str | None) -> np.ndarray:
    """Grey of more than 8 bits, (H, W) → uint8 (H, W), scaled from its true range rather than clipped.

    16 bit files use 0…65535. 32 bit integers and floats say nowhere what white is: 0…1 (floats), 0…255 and
    0…65535 are taken as such when the values fit, anything else is stretched from its minimum to its maximum.
    """
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if mode.startswith("I;16") or (mode == "I" and format == "PNG"):  # older Pillow opens 16 bit PNG as I
        low, high = 0.0, 65535.0
    elif low >= 0:
        tops = (1.0, 255.0, 65535.0) if mode == "F" else (255.0, 65535.0)
        fitting = next((top for top in tops if high <= top), None)
        low, high = (0.0, fitting) if fitting else (low, high)
    return np.clip(np.rint((values - low) * (255.0 / max(high - low, 1e-12))), 0, 255).astype(np.uint8)


def _lab_to_rgb(image: Image.Image, name: str) -> Image.Image:
    try:
        from PIL import ImageCms

        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB"))
    except Exception as error:  # Pillow may be built without LittleCMS
        message = f"{name} is in LAB colours, which can't be read here: save it as PNG or JPEG"
        raise ImageError(message) from error


# ------------------------------------------------------------------------------------------------ tensors


def to_tensor(image: Image.Image | np.ndarray) -> torch.Tensor:
    """An RGB picture as a tensor: float32 (3, H, W) in [-1, 1], a copy.

    Args:
        image: a PIL image (converted to RGB if it is not) or a uint8 array (H, W, 3).

    Raises:
        ImageError: the array is not uint8 (H, W, 3).
    """
    import torch

    array = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(
            "an array of {dtype} {shape} is no picture: give uint8 (H, W, 3)",
            dtype=array.dtype, shape=array.shape,
        )
    return torch.from_numpy(_normalised(array.transpose(2, 0, 1), "C"))


def normalise(pictures: torch.Tensor, memory_format: torch.memory_format | None = None) -> torch.Tensor:
    """Pictures as the networks take them, on the device that they are on, which is not waited for.

    Args:
        pictures: uint8 (B, H, W, 3), contiguous.
        memory_format: of the result, torch.channels_last or by default torch.contiguous_format.

    Returns:
        float32 (B, 3, H, W) in [-1, 1]: on every device the same bits as `to_tensor`'s.
    """
    import torch

    last = memory_format == torch.channels_last
    if pictures.device.type == "cpu":
        # NumPy rather than torch: for a picture this size torch starts its threads, and on a busy machine waits
        # for them, up to 40 ms instead of 0.1.
        array = pictures.numpy().transpose(0, 3, 1, 2)
        return torch.from_numpy(_normalised(array, "K" if last else "C"))
    values = pictures.permute(0, 3, 1, 2).to(torch.float32, memory_format=memory_format or torch.contiguous_format)
    # A number would be turned into a multiplication by its rounded inverse on GPUs.
    half = torch.full((), 127.5, device=pictures.device)
    return values.div_(half).sub_(1)


def _normalised(array: np.ndarray, order: str) -> np.ndarray:
    """uint8 as float32 in [-1, 1]; in memory "C" as its shape says, "K" as it was."""
    out = np.divide(array, np.float32(127.5), dtype=np.float32, order=order)
    return np.subtract(out, np.float32(1), out=out)


def to_image(tensor: torch.Tensor) -> Image.Image:
    """A tensor as an RGB picture; `to_image(to_tensor(x))` equals x exactly.

    Args:
        tensor: (3, H, W) or (1, 3, H, W), any float type and device; values are clamped to [-1, 1] and
            rounded to the nearest of 256 levels. NaN, which only a broken network gives, becomes mid-grey.

    Raises:
        ImageError: the shape is another one.
    """
    import torch

    tensor = tensor.detach()
    if tensor.ndim == 4 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise ImageError("a tensor {tuple} is no picture: give (3, H, W) or (1, 3, H, W)", tuple=tuple(tensor.shape))
    levels = tensor.to(torch.float32).nan_to_num(nan=0.0).clamp(-1, 1).add(1).mul(127.5).round()
    return Image.fromarray(levels.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy())


# -------------------------------------------------------------------------- geometry: resize, crop, mirror


class Preprocessing(Protocol):
    """The settings that the geometry reads; `cyclegan.config.DataConfig` is one."""

    @property
    def preprocess(self) -> str:
        """One of `cyclegan.config.PREPROCESS`."""
        ...

    @property
    def load_size(self) -> int:
        """Pixels before the crop."""
        ...

    @property
    def crop_size(self) -> int:
        """Pixels that the networks see."""
        ...

    @property
    def flip(self) -> bool:
        """Whether half of the pictures are mirrored."""
        ...


def training_size(size: tuple[int, int], config: Preprocessing, *, multiple: int = 4) -> tuple[int, int]:
    """Width and height that `resize_for_training` gives a picture of this (width, height).

    A picture smaller than the crop is enlarged in proportion until the crop fits. (The reference stretches
    it in scale_width_crop, and crops beyond the edge in crop.)

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


def evaluation_size(size: tuple[int, int], config: Preprocessing, *, multiple: int = 4) -> tuple[int, int]:
    """Width and height that `prepare_for_evaluation` gives a picture of this (width, height).

    Raises:
        ImageError: an extreme shape would grow beyond MAX_PIXELS or MAX_SIDE.
    """
    if config.preprocess in ("resize", "resize_crop", "crop"):
        return config.crop_size, config.crop_size
    if config.preprocess in ("scale_width", "scale_width_crop"):
        return _rounded(config.crop_size, size[1] * config.crop_size / size[0], multiple)
    return _rounded(*size, multiple)


def resize_for_training(image: Image.Image, config: Preprocessing, *, multiple: int = 4) -> Image.Image:
    """The part of preprocessing without chance: RGB in, RGB of `training_size` out, bicubic with antialias.

    Raises:
        ImageError: as `training_size`.
    """
    return _resize(image, training_size(image.size, config, multiple=multiple))


def crop_box(size: tuple[int, int], config: Preprocessing, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a random crop, or of the whole where `config.preprocess` crops nothing.

    Args:
        size: width and height, as `training_size` gives them.
        rng: two numbers are always drawn, so what is drawn next does not depend on the settings.
    """
    width, height = size
    across, down = rng.random(2)
    if config.preprocess not in ("resize_crop", "crop", "scale_width_crop"):
        return 0, 0, width, height
    crop = config.crop_size
    left, top = int(across * (width - crop + 1)), int(down * (height - crop + 1))
    return left, top, left + crop, top + crop


def augment(array: np.ndarray, config: Preprocessing, rng: np.random.Generator) -> np.ndarray:
    """The part of preprocessing that chance decides: crop, then mirror half of the pictures if `config.flip`.

    Args:
        array: uint8 (H, W, 3), the size that `training_size` gives.
        rng: all chance comes from here, and always three numbers are drawn.

    Returns:
        uint8 (h, w, 3), a view of the array, backwards where mirrored.
    """
    left, top, right, bottom = crop_box((array.shape[1], array.shape[0]), config, rng)
    array = array[top:bottom, left:right]
    mirrored = rng.random() < 0.5
    return array[:, ::-1] if mirrored and config.flip else array


def prepare_for_evaluation(image: Image.Image, config: Preprocessing, *, multiple: int = 4) -> Image.Image:
    """What a network is shown of a test picture: no chance, as much of the picture as training allows.

    resize, resize_crop: the whole picture at crop_size². scale_width, scale_width_crop: the whole picture,
    crop_size wide. crop: the middle crop_size². none: as it is. Sides that follow the picture's own are
    rounded to `multiple`, and are at least MIN_SIDE.

    Raises:
        ImageError: an extreme shape would grow beyond MAX_PIXELS or MAX_SIDE.
    """
    if config.preprocess == "crop":
        image, crop = resize_for_training(image, config, multiple=multiple), config.crop_size
        left, top = (image.width - crop) // 2, (image.height - crop) // 2
        return image.crop((left, top, left + crop, top + crop))
    return _resize(image, evaluation_size(image.size, config, multiple=multiple))


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def _rounded(width: float, height: float, multiple: int) -> tuple[int, int]:
    """Both sides to the nearest multiple, after enlarging in proportion what is below MIN_SIDE."""
    scale = max(1.0, MIN_SIDE / width, MIN_SIDE / height)
    sides = (max(multiple, round(side * scale / multiple) * multiple) for side in (width, height))
    return _bounded(*sides)


def _bounded(width: int, height: int) -> tuple[int, int]:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise ImageError(
            "the picture's shape is too extreme: it would become {width}×{height} pixels, so crop it first",
            width=width, height=height,
        )
    return width, height
