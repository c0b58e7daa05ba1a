"""Pictures → PNG files of their translations."""

from __future__ import annotations

import errno
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from PIL import Image

from cyclegan.config import Direction
from cyclegan.errors import ConfigError, ImageError, Message, UserError, message
from cyclegan.files import MAX_NAME_BYTES, shortened
from cyclegan.rasters.files import ENDINGS, Stack
from cyclegan.rasters.raster import Raster
from cyclegan.translation.files import Item, folded, open_pictures
from cyclegan.translation.translator import Translator, path_of, save_picture, working_size
from cyclegan.translation.volume import VolumeTranslation, translate_volume
from cyclegan.values import Values

MOST_BEYOND = 0.05
# A name that is too long or that the file system doesn't take, or a folder or file in the way: others may still work.
_OF_ONE_NAME = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR, errno.ENOTDIR, errno.EEXIST}


@dataclass
class PicturesTranslation:
    """Facts about a translation of many pictures."""

    failed: list[Message | UserError] = field(default_factory=list)
    """The errors of pictures that can't be read, translated or written."""
    smaller: list[Message] = field(default_factory=list)
    """A sentence for each picture that was worked at less than the requested size."""
    volumes: list[Message] = field(default_factory=list)
    """A sentence for each volume."""
    eight_bits: int = 0
    """Pictures whose grey levels were taken as values, where the networks know another range."""
    cut: int = 0
    """Pictures of whose values more than a twentieth lie beyond the range."""

    def look_at(self, picture: Image.Image | Raster, values: Values) -> None:
        """Count a picture whose values may not be what the networks were trained on."""
        if not isinstance(picture, Raster):
            return
        beyond = (picture.values < values.low) | (picture.values > values.high)
        self.cut += bool(beyond.mean() > MOST_BEYOND)
        self.eight_bits += picture.origin.dtype == "uint8" and (values.low, values.high) != (0, 255)

    def doubts(self, values: Values) -> list[Message]:
        """Return sentences about pictures that may be of another kind than those of the training."""
        ends = {"low": values.low, "high": values.high}
        found = []
        if self.eight_bits:
            found.append(message(
                "{n} picture has 8 bits: its grey levels were taken as values, but the training's were {low:g} to "
                "{high:g}",
                "{n} pictures have 8 bits: their grey levels were taken as values, but the training's were {low:g} to "
                "{high:g}", self.eight_bits, **ends,
            ))  # fmt: skip
        if self.cut:
            found.append(message(
                "{n} picture has more than a twentieth of its values outside {low:g} to {high:g}, where they were cut",
                "{n} pictures have more than a twentieth of their values outside {low:g} to {high:g}, where they were "
                "cut", self.cut, **ends,
            ))  # fmt: skip
        return found


def output_names(paths: Sequence[Path], *, reconstruct: bool) -> list[str]:
    """Return FOLDER/NAME.png for each relative path, or FOLDER/NAME.SUFFIX.png where paths differ in their suffix only.

    All are distinct on any file system, by a number if need be, and none is a folder of another. A name that would have
    more than MAX_NAME_BYTES is shortened, unless the input's own name is as long.

    Args:
        reconstruct: NAME_rec.png is written for each, too.
    """
    alike: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        alike[folded(f"{path.parent / path.stem}")].add(folded(path.name))
    taken = {folded(f"{parent}") for path in paths for parent in path.parents}
    numbers: Counter[str] = Counter()  # Kept, because many files of one name would each count from 1.
    endings = [".png", "_rec.png"] if reconstruct else [".png"]
    names = []
    for path in paths:
        base = path.stem if len(alike[folded(f"{path.parent / path.stem}")]) == 1 else path.name
        most = max(MAX_NAME_BYTES, len(os.fsencode(path.name))) - len(endings[-1])
        for number in count(numbers[folded(f"{path}")] + 1):
            extra = f"-{number}" if number > 1 else ""
            name = (path.parent / f"{shortened(base, most - len(extra))}{extra}").as_posix()
            wanted = {folded(name + ending) for ending in endings}
            if not wanted & taken:
                break
        numbers[folded(f"{path}")] = number
        taken |= wanted
        names.append(f"{name}.png")
    return names


def smaller_note(name: str, size: tuple[int, int], shorter: int | None) -> Message | None:
    """Return a sentence if a picture or video of this size is worked at less than a shorter side of `shorter`."""
    worked = working_size(size, shorter)
    if shorter is None or min(worked) >= shorter:
        return None
    return message(
        "{name}, {width}×{height}, was translated at {worked_width}×{worked_height}, the largest size for its shape, "
        "instead of at --size {shorter}",
        name=name, width=size[0], height=size[1], worked_width=worked[0], worked_height=worked[1], shorter=shorter,
    )  # fmt: skip


def about_volume(name: str, done: VolumeTranslation) -> Message:
    """Return the sentence about a volume's translation."""
    return message(
        "{name}: {n} slice; neighbouring slices differ by {after:.1%} of the range, in the input by {before:.1%}",
        "{name}: {n} slices; neighbouring slices differ by {after:.1%} of the range, in the input by {before:.1%}",
        done.slices, name=name, after=done.step_after, before=done.step_before,
    )  # fmt: skip


def translate_pictures(
    translator: Translator, items: Sequence[Item], folder: Path, direction: Direction, *, reconstruct: bool = False,
    size: int | None = None, progress: Callable[[float], None] = lambda done: None,
) -> PicturesTranslation:
    """Translate pictures one by one; those that can't be read, translated or written don't stop the others.

    Args:
        translator: the checkpoint.
        items: the pictures, with the .png files to write; with `reconstruct`, NAME_rec.png next to each.
        folder: the folder of the results.
        direction: the direction of the translation.
        reconstruct: also write the way back, if the checkpoint has both directions.
        size: see `Translator.translate_many`.
        progress: called with the number of pictures done; parts of pictures count.

    Raises:
        ConfigError: no result can be written, for example because the disk is full.
        CheckpointError: the checkpoint lacks this direction.
    """
    done = PicturesTranslation()
    values = translator.values(direction[0])
    for number, (item, image) in enumerate(open_pictures(items, done.failed, values=values)):
        target = folder / item.target
        try:
            if isinstance(image, Stack):
                ending = ENDINGS[image.header.kind]
                back = path_of(target, ending, "_rec") if reconstruct else None
                translation = translate_volume(
                    translator, image, path_of(target, ending), direction, back=back, size=size,
                    progress=lambda part, number=number: progress(number + part),
                )  # fmt: skip
                done.volumes.append(about_volume(item.shown, translation))
            elif image is not None:
                done.look_at(image, values)
                result = translator.translate_many(
                    [image], direction, reconstruct=reconstruct, size=size,
                    progress=lambda part, number=number: progress(number + part),
                )[0]  # fmt: skip
                for picture, part in ((result.fake, ""), (result.rec, "_rec")):
                    if picture is not None:
                        save_picture(picture, target, checkpoint=translator.checkpoint, direction=direction, part=part,
                                     of=item.path)  # fmt: skip
                if (note := smaller_note(item.shown, image.size, size)) is not None:
                    done.smaller.append(note)
        except ImageError as error:
            done.failed.append(message("{name}: {reason}", name=item.shown, reason=error))
        except OSError as error:
            if error.errno not in _OF_ONE_NAME:
                raise ConfigError(
                    "{target} can't be written ({reason}): free space or choose another --output",
                    target=target, reason=error,
                ) from error
            done.failed.append(message(
                "{name}: its translation can't be written as {target} ({reason}): rename the picture, or choose "
                "another --output",
                name=item.shown, target=item.target, reason=error,
            ))  # fmt: skip
        progress(number + 1.0)
    return done
