"""`python -m cyclegan translate` of pictures: one by one, on several devices, or by Ray."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan.cli.flags import device
from cyclegan.cli.progress import progress_bar
from cyclegan.commands.options import load_checkpoint
from cyclegan.config import Direction, direction_name
from cyclegan.errors import MOST_SHOWN, CheckpointError, ConfigError, UserError, number_of, shown

if TYPE_CHECKING:
    from tqdm import tqdm

    from cyclegan.checkpoints.format import Checkpoint
    from cyclegan.pixels import PictureFacts
    from cyclegan.translation.existing import Existing
    from cyclegan.translation.files import Item
    from cyclegan.translation.inputs import Gathered, Input
    from cyclegan.translation.pictures import PicturesTranslation
    from cyclegan.translation.saving import Encoding

# Parts of pictures count, because a large one is translated in pieces, for minutes.
BAR = "{percentage:3.0f}%|{bar}| {n:.2f}/{total} [{elapsed}<{remaining}, {rate_fmt}]"
SENTENCES_SAID = 3
"""So many sentences of a kind are printed in one line."""


def translate_pictures(args: argparse.Namespace, inputs: Sequence[Input]) -> int:
    """Translate pictures into a folder or a file; return 1 if any failed."""
    from cyclegan.pixels import recorded_facts
    from cyclegan.translation.manifest import finished_in
    from cyclegan.translation.saving import FORMATS

    _check_flags(args, str(inputs[0].path))
    devices = _devices(args.device)
    folder, gathered = _picture_targets(args, inputs)
    job = _Job.of(args, folder)
    _say_skipped(gathered, FORMATS[args.format], named=folder != args.output)
    first, step = args.shard or (1, 1)
    items = gathered.items[first - 1 :: step]
    before = len(items)
    # Also where they are to be replaced: the record would name another checkpoint than theirs.
    finished = finished_in(folder, job.settings) if folder == args.output else {}
    if args.skip_existing:
        items = [item for item in items if not job.is_finished(item, finished)]
        job.record([item for item in items if item in job.there])
        items = [item for item in items if item not in job.there]
    replaced = job.there.check_replaced(items, args.direction)
    with recorded_facts() as facts, progress_bar(total=len(items), delay=0.5, bar_format=BAR) as bar:
        result = _translated(args, job, items, devices, lambda done: bar.update(done - bar.n))
    job.report(result, facts, gathered.failed)
    apart = len(args.inputs) > 1 and any("/" in item.target for item in items)
    again = f", where {replaced} of this name existed and were replaced" if replaced else ""
    job.conclude(result, len(items), before - len(items),
                 again + ("; each folder and zip has a folder of its own there" if apart else ""))  # fmt: skip
    return 1 if gathered.failed or result.failed else 0


def translate_hub(args: argparse.Namespace) -> int:
    """Translate the pictures of a Hub data set as they arrive; return 1 if any failed."""
    from cyclegan.data.hub_pictures import open_pictures
    from cyclegan.pixels import recorded_facts
    from cyclegan.translation.files import Item, harmless
    from cyclegan.translation.manifest import finished_in

    name = str(args.inputs[0])
    _check_flags(args, name)
    devices = _devices(args.device)
    if len(args.inputs) > 1:
        raise ConfigError("--input {input} is a data set of the Hub: translate it by itself", input=name)
    if len(devices) > 1 or args.engine == "ray":
        raise ConfigError(
            "--input {input} is read from its beginning to its end: leave --engine and further devices out, and share "
            "the work by --shard", input=name,
        )  # fmt: skip
    if args.output.suffix and not os.path.isdir(args.output):
        raise ConfigError("--output {output} names a file, but --input is a data set: name a folder",
                          output=args.output.name)  # fmt: skip
    pictures = open_pictures(name)
    job = _Job.of(args, args.output)
    finished = finished_in(args.output, job.settings)
    (first, step), taken, before = args.shard or (1, 1), 0, 0
    unrecorded = []

    def items() -> Iterator[Item]:
        nonlocal taken, before
        for picture in itertools.islice(pictures, first - 1, None, step):
            item = Item(Path(pictures.name), None, picture.name, f"{harmless([picture.name])[0]}.png", picture.content)
            recorded = args.skip_existing and job.is_finished(item, finished)
            if recorded or args.skip_existing and item in job.there:
                before += 1
                if not recorded:
                    unrecorded.append(item)
                bar.total = bar.total and bar.total - 1
            else:
                taken += 1
                yield item

    total = pictures.count and len(range(first - 1, pictures.count, step))
    look = {"bar_format": BAR} if total else {"unit": "picture"}
    with recorded_facts() as facts, progress_bar(total=total, delay=0.5, **look) as bar:
        result = _translated(args, job, items(), devices, lambda done: bar.update(done - bar.n))
    job.record(unrecorded)
    job.report(result, facts, [])
    job.conclude(result, taken, before, "")
    return 1 if result.failed else 0


@dataclass
class _Job:
    """A call's checkpoint and folder of results."""

    args: argparse.Namespace
    checkpoint: Checkpoint
    folder: Path
    encoding: Encoding
    there: Existing
    settings: dict[str, object]
    """The settings that all results in a folder share."""

    @classmethod
    def of(cls, args: argparse.Namespace, folder: Path) -> _Job:
        """Load the checkpoint and make the folder. Raises UserError."""
        from cyclegan.translation.existing import Existing
        from cyclegan.translation.saving import Encoding

        encoding, checkpoint = Encoding(args.format, args.quality), load_checkpoint(args)
        if args.reconstruct and len(checkpoint.generators) < 2:
            raise CheckpointError("this checkpoint has one direction only, so --reconstruct has no way back")
        make_folder(folder)
        target = checkpoint.config.data.values(args.direction[1])
        settings = {"checkpoint": checkpoint.info.commit_sha, "direction": args.direction, "size": args.size,
                    "reconstruct": args.reconstruct, "format": args.format, "quality": args.quality}  # fmt: skip
        there = Existing(folder, encoding, target, reconstruct=args.reconstruct)
        return cls(args, checkpoint, folder, encoding, there, settings)

    def is_finished(self, item: Item, finished: Mapping[str, str]) -> bool:
        """Return whether a picture is recorded as finished. Raises ConfigError: another one with its name is."""
        from cyclegan.translation.manifest import is_of
        from cyclegan.translation.pictures import name_of

        recorded = finished.get(name_of(item))
        if recorded is not None and not is_of(recorded, item.source, name_of(item)):
            raise ConfigError(
                "{folder} has the result of {then} where that of {now} would be: choose another --output for other "
                "pictures, or name both folders in one call", folder=self.folder, then=recorded, now=item.source,
            )  # fmt: skip
        return recorded is not None

    def record(self, items: Sequence[Item]) -> None:
        """Record results that are there: written, but not recorded, when a call was killed; or made without records.

        Raises ConfigError: one is of another checkpoint or direction.
        """
        from cyclegan.translation.manifest import Manifest
        from cyclegan.translation.pictures import name_of

        for item in items:
            self.there.check_made_by(item, self.checkpoint.info.commit_sha, self.args.direction)
        if items:
            with Manifest(self.folder, self.settings, self.args.shard or (1, 1)) as manifest:
                for item in items:
                    manifest.finished(name_of(item), item.source, self.there.outputs(item))

    def report(self, result: PicturesTranslation, facts: Sequence[PictureFacts], failed: Sequence[UserError]) -> None:
        """Print what is worth knowing about the pictures, and why some have no result."""
        from cyclegan.pixels import notes_on

        for note in notes_on(facts):
            print(f"note: {note}", file=sys.stderr)
        for sentence in result.volumes:
            print(sentence)
        for note in result.doubts(self.checkpoint.config.data.values(self.args.direction[0])):
            print(f"note: {note}", file=sys.stderr)
        if result.smaller:
            print(f"note: {_first(result.smaller)}", file=sys.stderr)
        for error in [*failed, *result.failed]:
            print(f"error: {error}", file=sys.stderr)

    def conclude(self, result: PicturesTranslation, count: int, before: int, more: str) -> None:
        """Print the last line.

        Args:
            result: of the pictures.
            count: the pictures that were to be translated.
            before: others that an earlier call had translated.
            more: put behind the folder's name.
        """
        if not count and before:
            print(f"nothing to do: {number_of(before, 'picture')} had been translated before, into {self.args.output}")
            return
        done = count - len(result.failed)
        where = f", written to {self.args.output}{more}" if done else ", so nothing was written"
        out = f"; {len(result.failed)} left out, for the reason above" if result.failed else ""
        out += f"; {number_of(before, 'other')} had been translated before" if before else ""
        how = f"with epoch {self.checkpoint.info.epoch}, {arrow(self.checkpoint, self.args.direction)}"
        print(f"{done} of {number_of(count, 'picture')} translated {how}{where}{out}")


def _check_flags(args: argparse.Namespace, given: str) -> None:
    """Raise ConfigError for flags that don't go with pictures, or with each other."""
    for flag in ("smoothing", "side_by_side"):
        if getattr(args, flag):
            raise ConfigError("--{flag} is for videos, and --input {input} isn't one: leave it out", flag=flag,
                              input=given)  # fmt: skip
    if args.quality and args.format == "png":
        raise ConfigError("--quality is for JPEG and WebP, and PNG has no loss: leave it out, or choose a --format")
    if args.engine == "ray" and args.device:
        raise ConfigError("--engine ray takes every GPU of its cluster: leave --device out")
    if args.address and args.engine != "ray":
        raise ConfigError("--address is a Ray cluster's: add --engine ray, or leave it out")


def _devices(text: str | None) -> list[str | None]:
    """Return the devices that `--device` names; loads torch. Raises ConfigError."""
    if text == "all":
        import torch

        count = torch.cuda.device_count()
        return [f"cuda:{number}" for number in range(count)] if count > 1 else [None]
    return [device(name.strip()) for name in text.split(",")] if text else [None]


def _translated(
    args: argparse.Namespace, job: _Job, items: Iterable[Item], devices: Sequence[str | None],
    progress: Callable[[float], None],
) -> PicturesTranslation:
    """Translate by the engine and on the devices that the flags name."""
    from cyclegan.translation import pictures
    from cyclegan.translation.existing import remove_leftovers
    from cyclegan.translation.manifest import Manifest
    from cyclegan.translation.translator import Translator

    checkpoint, folder, direction, shard = job.checkpoint, job.folder, args.direction, args.shard or (1, 1)
    options = {"reconstruct": args.reconstruct, "size": args.size, "encoding": job.encoding, "progress": progress}
    recorded = args.skip_existing or args.shard or len(devices) > 1 or args.engine == "ray"
    if isinstance(items, Sequence):
        if not items:
            return pictures.PicturesTranslation()
        if recorded:
            remove_leftovers(folder, items)
    if len(devices) > 1:
        from cyclegan.translation.processes import translate_on_devices

        return translate_on_devices(
            checkpoint, items, folder, direction, devices, settings=job.settings, shard=shard, **options
        )
    with contextlib.ExitStack() as stack:
        manifest = stack.enter_context(Manifest(folder, job.settings, shard)) if recorded else None
        if args.engine == "ray":
            from cyclegan.translation.ray_engine import translate_by_ray

            return translate_by_ray(
                checkpoint, items, folder, direction, manifest=manifest, address=args.address, **options
            )
        translator = Translator(checkpoint, devices[0])
        return pictures.translate_pictures(translator, items, folder, direction, manifest=manifest, **options)


def arrow(checkpoint: Checkpoint, direction: Direction) -> str:
    """Return the direction by the domains' names: `day → night`."""
    data = checkpoint.config.data
    return direction_name(direction, data.domain_a, data.domain_b)


def finding(total: int | None = None) -> tqdm:
    """Return a bar for the search for pictures: among tens of thousands it takes many seconds."""
    return progress_bar(desc="Finding pictures", unit="file", total=total, delay=0.5, leave=False)


def _say_skipped(gathered: Gathered, ending: str, *, named: bool) -> None:
    """Print a line about what isn't translated, and one about results that are named unlike their pictures.

    Args:
        gathered: the pictures.
        ending: of results.
        named: a person chose the result's name.
    """
    if skipped := str(gathered.skipped):
        print(f"note: not translated: {skipped}", file=sys.stderr)
    if gathered.notes:
        print(f"note: {_first(gathered.notes)}", file=sys.stderr)
    other = [item for item in gathered.items if not named and Path(item.target).stem != Path(item.shown).stem]
    if other:
        changes = _first([f"{item.shown} becomes {item.target.removesuffix('.png')}{ending}" for item in other])
        print(f"note: names that are taken or too long are changed: {changes}", file=sys.stderr)


def _first(sentences: Sequence[object]) -> str:
    """Return the first sentences in one line, and the number of the others."""
    more = len(sentences) - SENTENCES_SAID
    said = [shown(str(sentence), MOST_SHOWN) for sentence in sentences[:SENTENCES_SAID]]
    return "; ".join(said) + (f"; and {more} more" if more > 0 else "")


def _picture_targets(args: argparse.Namespace, inputs: Sequence[Input]) -> tuple[Path, Gathered]:
    """Return the folder to write into, and the pictures. Raise ConfigError for flags that can't work."""
    from cyclegan.translation.inputs import entry, gather
    from cyclegan.translation.saving import FORMATS

    real = functools.cache(os.path.realpath)
    folder = args.output
    if named := _is_file(args, inputs):
        folder = folder.parent
    with finding(total=len(inputs)) as bar:
        gathered = gather(
            inputs, recursive=args.recursive, reconstruct=args.reconstruct, output=folder, progress=bar.update
        )
    if not gathered.items:
        raise _nothing(args, gathered)
    if named:
        gathered.items[:] = [dataclasses.replace(gathered.items[0], target=args.output.name)]
    else:
        folders = [each.path for each in inputs if os.path.isdir(each.path) and not each.by_pattern]
        folders += [item.path.parent for item in gathered.items if item.member is None]
        if real(folder) in set(map(real, folders)):
            raise ConfigError("--output is the folder of the input: choose another, so that no picture is overwritten")
    pictures = {entry(item.path, real) for item in gathered.items}
    for item in gathered.items:
        stem = folder / item.target.removesuffix(".png")
        for part in ("", "_rec") if args.reconstruct else ("",):
            if entry(Path(f"{stem}{part}{FORMATS[args.format]}"), real) in pictures:
                raise ConfigError(
                    "{target} would be overwritten, and it is an input itself: choose another --output",
                    target=f"{stem}{part}{FORMATS[args.format]}",
                )  # fmt: skip
    return folder, gathered


def _is_file(args: argparse.Namespace, inputs: Sequence[Input]) -> bool:
    """Return whether --output names a file rather than a folder. Raise ConfigError if it can't be written."""
    from cyclegan.images import IMAGE_SUFFIXES, VALUE_SUFFIXES
    from cyclegan.translation.files import is_archive
    from cyclegan.translation.video_io import VIDEO_SUFFIXES

    suffix = "" if os.path.isdir(args.output) else args.output.suffix.lower()
    named = suffix == ".png" or bool(suffix) and args.output.name.lower().endswith(VALUE_SUFFIXES)
    if named and (len(inputs) > 1 or os.path.isdir(inputs[0].path) or is_archive(inputs[0].path)):
        raise ConfigError(
            "--output {output} names one picture, but --input is a folder or several pictures: name a folder",
            output=args.output.name,
        )
    if suffix == ".png" and args.format != "png":
        raise ConfigError("--output {output} is a PNG, not --format {format}: leave one of them out, or name a folder",
                          output=args.output.name, format=args.format)  # fmt: skip
    if suffix == ".zip":
        raise ConfigError("--output {output}: results are written into a folder, so name one", output=args.output.name)
    if suffix in (IMAGE_SUFFIXES | VIDEO_SUFFIXES) - {".png"}:
        raise ConfigError(
            "--output {output} isn't a .png file: results are written as .png, or into a folder",
            output=args.output.name,
        )
    return named


def _nothing(args: argparse.Namespace, gathered: Gathered) -> UserError:
    """Return the error of inputs without a picture."""
    from cyclegan.translation.video_io import VIDEO_SUFFIXES

    named = " ".join(map(str, args.inputs))
    if gathered.failed:
        return gathered.failed[0]
    if any(suffix.lower() in VIDEO_SUFFIXES for suffix in gathered.skipped.suffixes):
        return ConfigError(
            "--input {input} holds no pictures, but {skipped}; name a video itself, not its folder",
            input=named, skipped=str(gathered.skipped),
        )  # fmt: skip
    found = str(gathered.skipped) or _first(gathered.notes)
    if found:
        return ConfigError("--input {input} holds no pictures, but {found}", input=named, found=found)
    return ConfigError("--input {input} holds no pictures", input=named)


def make_folder(folder: Path) -> None:
    """Make a folder. Raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "--output {folder} can't be made ({reason}): choose another folder", folder=folder, reason=error
        ) from error
