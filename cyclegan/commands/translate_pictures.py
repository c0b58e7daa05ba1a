"""`python -m cyclegan translate` of pictures: one by one, on several devices, or by Ray."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Sequence
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
    from cyclegan.pixels import notes_on, recorded_facts
    from cyclegan.translation.existing import Existing
    from cyclegan.translation.manifest import finished_in
    from cyclegan.translation.pictures import name_of
    from cyclegan.translation.saving import Encoding

    _check_flags(args, inputs)
    devices = _devices(args.device)
    folder, gathered = _picture_targets(args, inputs)
    encoding, checkpoint = Encoding(args.format, args.quality), load_checkpoint(args)
    if args.reconstruct and len(checkpoint.generators) < 2:
        raise CheckpointError("this checkpoint has one direction only, so --reconstruct has no way back")
    make_folder(folder)
    _say_skipped(gathered, named=folder != args.output)
    first, step = args.shard or (1, 1)
    items = gathered.items[first - 1 :: step]
    source, target = map(checkpoint.config.data.values, args.direction)
    there, before = Existing(folder, encoding, target, reconstruct=args.reconstruct), len(items)
    settings = {"checkpoint": checkpoint.info.commit_sha, "direction": args.direction, "size": args.size,
                "reconstruct": args.reconstruct, "format": args.format, "quality": args.quality}  # fmt: skip
    if args.skip_existing:
        finished = finished_in(folder, settings)
        items = [item for item in items if name_of(item) not in finished and item not in there]
    replaced = sum(item in there for item in items)
    with recorded_facts() as facts, progress_bar(total=len(items), delay=0.5, bar_format=BAR) as bar:
        result = _translated(
            args, checkpoint, items, folder, encoding, devices, settings, lambda done: bar.update(done - bar.n)
        )
    for note in notes_on(facts):
        print(f"note: {note}", file=sys.stderr)
    for sentence in result.volumes:
        print(sentence)
    for note in result.doubts(source):
        print(f"note: {note}", file=sys.stderr)
    if result.smaller:
        print(f"note: {_first(result.smaller)}", file=sys.stderr)
    for error in [*gathered.failed, *result.failed]:
        print(f"error: {error}", file=sys.stderr)
    epoch, done = checkpoint.info.epoch, len(items) - len(result.failed)
    again = f", where {replaced} of this name existed and were replaced" if replaced else ""
    count = number_of(len(items), "picture")
    apart = len(args.inputs) > 1 and any("/" in item.target for item in items)
    folders = "; each folder and zip has a folder of its own there" if apart else ""
    out = f"; {len(result.failed)} left out, for the reason above" if result.failed else ""
    out += f"; {before - len(items)} were there before" if before > len(items) else ""
    how = f"with epoch {epoch}, {arrow(checkpoint, args.direction)}"
    where = f", written to {args.output}{again}{folders}" if done else ", so nothing was written" if items else ""
    print(f"{done} of {count} translated {how}{where}{out}")
    return 1 if gathered.failed or result.failed else 0


def _check_flags(args: argparse.Namespace, inputs: Sequence[Input]) -> None:
    """Raise ConfigError for flags that don't go with pictures, or with each other."""
    for flag in ("smoothing", "side_by_side"):
        if getattr(args, flag):
            raise ConfigError("--{flag} is for videos, and --input {input} isn't one: leave it out", flag=flag,
                              input=inputs[0].path)  # fmt: skip
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
    args: argparse.Namespace, checkpoint: Checkpoint, items: Sequence[Item], folder: Path, encoding: Encoding,
    devices: Sequence[str | None], settings: dict[str, object], progress: Callable[[float], None],
) -> PicturesTranslation:
    """Translate by the engine and on the devices that the flags name."""
    from cyclegan.translation import pictures
    from cyclegan.translation.existing import remove_leftovers
    from cyclegan.translation.manifest import Manifest
    from cyclegan.translation.translator import Translator

    options = {"reconstruct": args.reconstruct, "size": args.size, "encoding": encoding, "progress": progress}
    shard = args.shard or (1, 1)
    if not items:
        return pictures.PicturesTranslation()
    if args.skip_existing or args.shard or len(devices) > 1 or args.engine == "ray":
        remove_leftovers(folder, items)
    if len(devices) > 1:
        from cyclegan.translation.processes import translate_on_devices

        return translate_on_devices(
            checkpoint, items, folder, args.direction, devices, settings=settings, shard=shard, **options
        )
    with contextlib.ExitStack() as stack:
        manifest = None
        if args.skip_existing or args.shard or args.engine == "ray":
            manifest = stack.enter_context(Manifest(folder, settings, shard))
        if args.engine == "ray":
            from cyclegan.translation.ray_engine import translate_by_ray

            return translate_by_ray(
                checkpoint, items, folder, args.direction, manifest=manifest, address=args.address, **options
            )
        translator = Translator(checkpoint, devices[0])
        return pictures.translate_pictures(translator, items, folder, args.direction, manifest=manifest, **options)


def arrow(checkpoint: Checkpoint, direction: Direction) -> str:
    """Return the direction by the domains' names: `day → night`."""
    data = checkpoint.config.data
    return direction_name(direction, data.domain_a, data.domain_b)


def finding(total: int | None = None) -> tqdm:
    """Return a bar for the search for pictures: among tens of thousands it takes many seconds."""
    return progress_bar(desc="Finding pictures", unit="file", total=total, delay=0.5, leave=False)


def _say_skipped(gathered: Gathered, *, named: bool) -> None:
    """Print a line about what isn't translated, and one about results that are named unlike their pictures.

    Args:
        gathered: the pictures.
        named: a person chose the result's name.
    """
    if skipped := str(gathered.skipped):
        print(f"note: not translated: {skipped}", file=sys.stderr)
    if gathered.notes:
        print(f"note: {_first(gathered.notes)}", file=sys.stderr)
    other = [item for item in gathered.items if not named and Path(item.target).stem != Path(item.shown).stem]
    if other:
        changes = _first([f"{item.shown} becomes {item.target}" for item in other])
        print(f"note: names that are taken or too long are changed: {changes}", file=sys.stderr)


def _first(sentences: Sequence[object]) -> str:
    """Return the first sentences in one line, and the number of the others."""
    more = len(sentences) - SENTENCES_SAID
    said = [shown(str(sentence), MOST_SHOWN) for sentence in sentences[:SENTENCES_SAID]]
    return "; ".join(said) + (f"; and {more} more" if more > 0 else "")


def _picture_targets(args: argparse.Namespace, inputs: Sequence[Input]) -> tuple[Path, Gathered]:
    """Return the folder to write into, and the pictures. Raise ConfigError for flags that can't work."""
    from cyclegan.translation.inputs import entry, gather

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
        for ending in (".png", "_rec.png") if args.reconstruct else (".png",):
            if entry(Path(f"{stem}{ending}"), real) in pictures:
                raise ConfigError(
                    "{target} would be overwritten, and it is an input itself: choose another --output",
                    target=f"{stem}{ending}",
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
