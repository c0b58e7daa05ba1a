"""Pictures → the files of their translations."""

from __future__ import annotations

import contextvars
import errno
import functools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import torch
from PIL import Image

from cyclegan.config import Direction
from cyclegan.errors import ConfigError, ImageError, Message, UserError, message
from cyclegan.files import MAX_NAME_BYTES, shortened
from cyclegan.rasters.files import ENDINGS, Stack
from cyclegan.rasters.raster import Raster
from cyclegan.translation.at_once import (
    batch_size,
    goes_alone,
    most_at_once,
    prepare,
    set_by_errors,
    stoppable,
    translations,
)
from cyclegan.translation.cores import SharedCores
from cyclegan.translation.files import Item, PictureReader, folded
from cyclegan.translation.manifest import Manifest
from cyclegan.translation.pipeline import Batches, Tasks, pixels_of, read_ahead
from cyclegan.translation.saving import PNG, Encoding, path_of, save_picture
from cyclegan.translation.translator import Picture, TranslationResult, Translator, working_size
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

    def add(self, other: PicturesTranslation) -> None:
        """Add what another process has found."""
        self.failed += other.failed
        self.smaller += other.smaller
        self.volumes += other.volumes
        self.eight_bits += other.eight_bits
        self.cut += other.cut

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


def output_names(paths: Sequence[str], *, reconstruct: bool) -> list[str]:
    """Return FOLDER/NAME.png for each relative path, or FOLDER/NAME.SUFFIX.png where paths differ in their suffix only.

    All are distinct on any file system, by a number if need be, and none is a folder of another. A name that would have
    more than MAX_NAME_BYTES is shortened, unless the input's own name is as long.

    Args:
        paths: with slashes.
        reconstruct: NAME_rec.png is written for each, too.
    """
    alike: dict[str, str | None] = {}  # The only name with this folder and stem, None for several.
    parts = [_parts(path) for path in paths]
    for folder, name, stem in parts:
        key, same = folded(folder + stem), folded(name)
        alike[key] = same if alike.get(key, same) == same else None
    taken = {folded(each) for folder in {folder for folder, _, _ in parts} for each in _folders(folder)}
    numbers: Counter[str] = Counter()  # Kept, because many files of one name would each count from 1.
    endings = [".png", "_rec.png"] if reconstruct else [".png"]
    names = []
    for folder, given, stem in parts:
        base = given if alike[folded(folder + stem)] is None else stem
        most = max(MAX_NAME_BYTES, len(os.fsencode(given))) - len(endings[-1])
        path = folded(folder + given)
        for number in count(numbers[path] + 1):
            extra = f"-{number}" if number > 1 else ""
            name = f"{folder}{shortened(base, most - len(extra))}{extra}"
            wanted = [folded(name + ending) for ending in endings]
            if taken.isdisjoint(wanted):
                break
        if number > 1 or path in numbers:
            numbers[path] = number
        taken.update(wanted)
        names.append(f"{name}.png")
    return names


def _parts(path: str) -> tuple[str, str, str]:
    """Return a path's folder, "" or with a slash at its end, its name, and its name without a suffix."""
    folder, slash, name = path.rpartition("/")
    dot = name.rfind(".")
    return folder + slash, name, name[:dot] if 0 < dot < len(name) - 1 else name


def _folders(folder: str) -> Iterator[str]:
    """Yield a folder and those around it, without slashes at their ends."""
    while folder := folder.rstrip("/"):
        yield folder
        folder = folder.rpartition("/")[0]


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
    translator: Translator, items: Iterable[Item], folder: Path, direction: Direction, *, reconstruct: bool = False,
    size: int | None = None, encoding: Encoding = PNG, manifest: Manifest | None = None,
    progress: Callable[[float], None] = lambda done: None,
) -> PicturesTranslation:
    """Translate pictures; those that can't be read, translated or written don't stop the others.

    Threads read the next pictures and write the last ones while the networks compute, by batches of one size. On a CPU,
    several batches are computed at once, each with its share of the processors (`at_once`). Calls at the same time
    share the processors.

    Args:
        translator: the checkpoint.
        items: the pictures, with the .png files to write; with `reconstruct`, NAME_rec.png next to each.
        folder: the folder of the results.
        direction: the direction of the translation.
        reconstruct: also write the way back, if the checkpoint has both directions.
        size: see `Translator.translate_many`.
        encoding: of 8-bit results, which then have its ending in place of .png.
        manifest: gets a line for each picture.
        progress: called with the number of pictures done; parts of pictures count.

    Raises:
        ConfigError: no result can be written, for example because the disk is full.
        CheckpointError: the checkpoint lacks this direction.
    """
    work = _Work(translator, folder, direction, reconstruct, size, encoding, manifest, progress)
    batches = Batches(
        key=work.worked, most=lambda worked: batch_size(translator, worked, work.most_at_once),
        pixels=lambda one: pixels_of(one[1]),
    )  # fmt: skip
    with (
        work.cores.taken(translator.device),
        PictureReader(work.values) as reader,
        Tasks() as work.writing,
        stoppable(translator) as stopped,
        Tasks("translate", work.most_at_once, step_back=False) as work.computing,
        set_by_errors(stopped),
    ):
        work.prepare()
        for item, picture in read_ahead(items, reader):
            if isinstance(picture, ImageError):
                work.failed(item, picture, picture)
            elif isinstance(picture, Stack):
                work.alone()
                work.volume(item, picture)
            else:
                for batch in batches.add((item, picture)):
                    work.batch(batch)
        for batch in batches.rest():
            work.batch(batch)
        work.computing.finish()  # Within the block, so that Ctrl-C ends these, too.
    return work.done


@dataclass
class _Work:
    """The translation of pictures into a folder, with what has become of them."""

    translator: Translator
    folder: Path
    direction: Direction
    reconstruct: bool
    size: int | None
    encoding: Encoding
    manifest: Manifest | None
    progress: Callable[[float], None]
    done: PicturesTranslation = field(default_factory=PicturesTranslation)
    through: int = 0
    """Pictures that the networks, or an error, are through with."""
    writing: Tasks = field(init=False)
    computing: Tasks = field(init=False)
    cores: SharedCores = field(default_factory=SharedCores)

    def __post_init__(self) -> None:
        self.most_at_once = most_at_once(self.translator.device, self.cores.cores)

    @property
    def values(self) -> Values:
        return self.translator.values(self.direction[0])

    def failed(self, item: Item, reason: object, sentence: Message | UserError, count: int = 1) -> None:
        """Note a picture that has no result."""
        self.done.failed.append(sentence)
        if self.manifest is not None:
            self.manifest.failed(item.source, reason)
        self._advance(count)

    def _advance(self, count: int) -> None:
        self.through += count
        self.progress(float(self.through))

    def volume(self, item: Item, stack: Stack) -> None:
        """Translate a volume's slices into a file."""
        target, ending = self.folder / item.target, ENDINGS[stack.header.kind]
        back = path_of(target, ending, "_rec") if self.reconstruct else None
        try:
            translation = translate_volume(
                self.translator, stack, path_of(target, ending), self.direction, back=back, size=self.size,
                progress=lambda part: self.progress(self.through + part),
            )  # fmt: skip
        except ImageError as error:
            self.failed(item, error, message("{name}: {reason}", name=item.shown, reason=error))
            return
        except OSError as error:
            self._unwritable(item, error)
            self._advance(1)
            return
        self.done.volumes.append(about_volume(item.shown, translation))
        self._record(item, [path_of(target, ending), *([back] if back else [])])
        self._advance(1)

    def prepare(self) -> None:
        """Let the networks choose how they compute the batches that go at once."""
        if self.most_at_once > 1:
            share, at_once = self._share()
            prepare(self.translator, share // at_once)

    def worked(self, one: tuple[Item, Picture]) -> tuple[int, int]:
        """Return the size at which the networks get a picture."""
        return working_size(one[1].size, self.size)

    def alone(self) -> None:
        """Wait for the batches that are computed, so that what comes next has all of this call's processors."""
        self.computing.finish()
        if self.most_at_once > 1:
            torch.set_num_threads(self.cores.share())

    def batch(self, batch: Sequence[tuple[Item, Picture]]) -> None:
        """Translate pictures of one working size, or have a thread do it, and hand the results over to be written."""
        translated = functools.partial(
            translations, self.translator, [picture for _, picture in batch], self.direction,
            reconstruct=self.reconstruct, size=self.size,
        )  # fmt: skip
        if self.most_at_once == 1 or goes_alone(self.translator, self.worked(batch[0])):
            self.alone()
            self._translated(batch, translated(
                progress=lambda part: self.progress(self.through + part * len(batch))
            ))  # fmt: skip
            return
        share, at_once = self._share()
        # One more waits where all threads may compute; else it would be computed, too.
        self.computing.most = at_once if at_once == self.most_at_once else at_once - 1
        self.computing.put(
            functools.partial(contextvars.copy_context().run, translated, threads=share // at_once),
            lambda computing: self._translated(batch, computing.result()),
            sum(pixels_of(picture) for _, picture in batch),
        )

    def _share(self) -> tuple[int, int]:
        """Return the threads that this call may take, and the batches that it computes with them at once."""
        share = self.cores.share()
        return share, min(self.most_at_once, most_at_once(self.translator.device, share))

    def _translated(
        self, batch: Sequence[tuple[Item, Picture]], results: Sequence[TranslationResult | ImageError]
    ) -> None:
        """Hand results over to be written."""
        for (item, picture), result in zip(batch, results, strict=True):
            if isinstance(result, ImageError):
                self.failed(item, result, message("{name}: {reason}", name=item.shown, reason=result))
                continue
            self.done.look_at(picture, self.values)
            if (note := smaller_note(item.shown, picture.size, self.size)) is not None:
                self.done.smaller.append(note)
            self.writing.put(
                functools.partial(self._write, item, result), functools.partial(self._written, item),
                pixels_of(result.fake) + pixels_of(result.rec),
            )  # fmt: skip
            self._advance(1)

    def _write(self, item: Item, result: TranslationResult) -> list[Path]:
        checkpoint, target = self.translator.checkpoint, self.folder / item.target
        return [
            save_picture(picture, target, checkpoint=checkpoint, direction=self.direction, part=part, of=item.path,
                         encoding=self.encoding)
            for picture, part in ((result.fake, ""), (result.rec, "_rec")) if picture is not None
        ]  # fmt: skip

    def _written(self, item: Item, writing: Future[list[Path]]) -> None:
        try:
            self._record(item, writing.result())
        except ImageError as error:
            self.failed(item, error, message("{name}: {reason}", name=item.shown, reason=error), 0)
        except OSError as error:
            self._unwritable(item, error)

    def _record(self, item: Item, paths: Sequence[Path]) -> None:
        if self.manifest is not None:
            outputs = [path.relative_to(self.folder).as_posix() for path in paths]
            self.manifest.finished(name_of(item), item.source, outputs)

    def _unwritable(self, item: Item, error: OSError) -> None:
        """Note a result that can't have its name. Raises ConfigError where no other could be written either."""
        if error.errno not in _OF_ONE_NAME:
            raise ConfigError(
                "{target} can't be written ({reason}): free space or choose another --output",
                target=self.folder / item.target, reason=error,
            ) from error
        self.failed(item, error, message(
            "{name}: its translation can't be written as {target} ({reason}): rename the picture, or choose "
            "another --output",
            name=item.shown, target=item.target, reason=error,
        ), 0)  # fmt: skip


def name_of(item: Item) -> str:
    """Return the name by which manifests know a picture: its result's, without an ending."""
    return item.target.removesuffix(".png")
