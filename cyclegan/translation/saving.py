"""A translation → its file: PNG, WebP or JPEG that names its checkpoint, or a raster's own kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, PngImagePlugin

from cyclegan.checkpoints.format import Checkpoint
from cyclegan.errors import ImageError
from cyclegan.files import whole_file
from cyclegan.images import STACK_SUFFIXES
from cyclegan.rasters import files
from cyclegan.rasters.raster import Raster

FORMATS = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}
"""The endings of the formats that 8-bit pictures are written in."""
JPEG_QUALITY = 95
COMPRESS_LEVEL = 1
"""PNG's: 6 takes four times as long, for a file that is a seventh smaller."""


@dataclass(frozen=True)
class Encoding:
    """The format of the files of 8-bit pictures.

    Attributes:
        format: png, webp or jpeg.
        quality: 1 to 100, of JPEG and WebP; None: WebP without loss, JPEG of JPEG_QUALITY.
    """

    format: str = "png"
    quality: int | None = None

    @property
    def ending(self) -> str:
        """The end of a file's name."""
        return FORMATS[self.format]

    def options(self, checkpoint: Checkpoint, direction: str) -> dict[str, object]:
        """Return the options of `Image.save`: what is written of the checkpoint, and how much is lost."""
        info = checkpoint.info
        if self.format == "png":
            texts = PngImagePlugin.PngInfo()
            texts.add_itxt("cyclegan:commit_sha", info.commit_sha)
            texts.add_itxt("cyclegan:epoch", str(info.epoch))
            texts.add_itxt("cyclegan:direction", direction)
            return {"format": "PNG", "pnginfo": texts, "compress_level": COMPRESS_LEVEL}
        exif = Image.Exif()
        exif[ExifTags.Base.ImageDescription] = (
            f"cyclegan:commit_sha={info.commit_sha} cyclegan:epoch={info.epoch} cyclegan:direction={direction}"
        )
        if self.format == "jpeg":
            return {"format": "JPEG", "quality": self.quality or JPEG_QUALITY, "exif": exif}
        lossy = {} if self.quality is None else {"quality": self.quality}
        return {"format": "WEBP", "lossless": self.quality is None, "exif": exif, **lossy}


PNG = Encoding()


def path_of(target: Path, ending: str, part: str = "") -> Path:
    """Return the path of a raster's file.

    Args:
        target: NAME.png, in place of which the file gets its own ending; or a name that a person chose, such as
            scan.nii.gz.
        ending: of a file of the raster's kind.
        part: put before the ending, such as "_rec".
    """
    name = target.name.removesuffix(".png")
    own = max((each for each in STACK_SUFFIXES if name.lower().endswith(each)), key=len, default="")
    base = name[: len(name) - len(own)]
    return target.with_name(base + part + (name[len(base):] if target.name == name else ending))


def save_picture(
    picture: Image.Image | Raster, target: Path, *, checkpoint: Checkpoint, direction: str, part: str = "",
    of: Path | None = None, encoding: Encoding = PNG,
) -> Path:
    """Write a translation, whole or not at all, and return its path: an 8-bit picture, or a raster's kind of file.

    Args:
        target: see `path_of`.
        part: see `path_of`.
        of: the file that was translated, which is never overwritten.
        encoding: of 8-bit pictures.

    Raises:
        ImageError: the path is `of`, or its name isn't one for this kind of picture.
        OSError: the file can't be written.
    """
    if not isinstance(picture, Raster):
        if not target.name.lower().endswith(".png"):
            raise ImageError("its translation has 8 bits: give --output a name that ends in .png")
        path = target.with_name(f"{target.stem}{part}{encoding.ending}")
        _never(path, of)
        save_image(picture, path, checkpoint=checkpoint, direction=direction, encoding=encoding)
        return path
    path = path_of(target, files.ending(picture), part)
    _never(path, of)
    files.write(path, picture)
    return path


def _never(path: Path, of: Path | None) -> None:
    """Raise ImageError if a result would overwrite its picture."""
    if of is not None and path.exists() and of.exists() and path.samefile(of):
        raise ImageError("its translation would overwrite it: choose another --output")


def save_image(
    image: Image.Image, path: Path, *, checkpoint: Checkpoint, direction: str, encoding: Encoding = PNG
) -> None:
    """Write an 8-bit picture, whole or not at all, that names the checkpoint it comes from.

    Raises:
        OSError: the file can't be written.
    """
    with whole_file(path, durable=False) as part:
        image.save(part, **encoding.options(checkpoint, direction))
