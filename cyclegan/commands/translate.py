"""`python -m cyclegan translate`: pictures, folders, zips and videos."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan.cli.flags import device, file_path, positive, share
from cyclegan.cli.progress import progress_bar, shown_on
from cyclegan.commands.options import add_checkpoint_flags, load_checkpoint, stopped_by_interrupt
from cyclegan.config import Direction, direction_name
from cyclegan.errors import MOST_SHOWN, CheckpointError, ConfigError, UserError, english, number_of, shown

if TYPE_CHECKING:
    from tqdm import tqdm

    from cyclegan.translation.inputs import Gathered, Input
    from cyclegan.translation.translator import Translator

SENTENCES_SAID = 3
"""So many sentences of a kind are printed in one line."""


def add_translate_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command `translate`."""
    sub = add("translate", translate, "translate pictures, folders and zips of pictures, or a video")
    add_checkpoint_flags(sub)
    sub.add_argument("--input", dest="inputs", required=True, type=file_path, nargs="+", action="extend",
                     metavar="PATH",
                     help="pictures, folders or zips of them, patterns such as 'photos/*.jpg'; or one video")
    sub.add_argument(
        "--output",
        required=True,
        type=file_path,
        metavar="PATH",
        help="a .png file for one picture, an .mp4 file for a video, else a folder, which is made if it is missing; "
        "with several folders or zips as input, each gets a folder of its name in it",
    )
    sub.add_argument("--recursive", action="store_true",
                     help="also take the pictures in subfolders of a folder; the results are in subfolders, too")
    sub.add_argument("--reconstruct", action="store_true", help="also write the way back, F(G(x)), as NAME_rec.png")
    sub.add_argument(
        "--size",
        type=_size,
        default=None,
        metavar="N",
        help="work at this length of the shorter side, then scale the result to the input's own size; the app's videos "
        "keep this size (default: the picture's own size; in the app, pictures begin at up to twice the training "
        "size, and videos at 256)",
    )
    sub.add_argument("--smoothing", type=share, default=0.0, metavar="X",
                     help="0 to 1, for videos: against flicker, the weight of the frame before where nothing moves")
    sub.add_argument("--side_by_side", type=file_path, default=None, metavar="FILE.mp4",
                     help="for videos: also write a video with the input at the left and the result at the right, to "
                     "show to people")
    sub.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps; chosen if not given")


def _size(text: str) -> int:
    """Return a working size."""
    from cyclegan.images import MAX_SIDE

    if (size := positive(text)) > MAX_SIDE:
        raise argparse.ArgumentTypeError(f"{text} is too large for a working size: 1 to {MAX_SIDE}")
    return size


def translate(args: argparse.Namespace) -> int:
    """Translate pictures or a video; return 1 if any picture failed."""
    from cyclegan.rasters.files import is_series
    from cyclegan.translation.inputs import find_inputs
    from cyclegan.translation.video_io import VIDEO_SUFFIXES, is_video

    with _finding() as bar:
        inputs = find_inputs(args.inputs, progress=bar.update)
    if len(inputs) == 1 and is_video(inputs[0].path):
        return _translate_video(args, inputs[0].path)
    if len(inputs) == 1 and is_series(inputs[0].path):
        return _translate_series(args, inputs[0].path)
    for each in inputs:
        if each.path.suffix.lower() in VIDEO_SUFFIXES and not each.by_pattern and not os.path.isdir(each.path):
            raise ConfigError("{input} is a video: translate each video by itself", input=each.path)
    return _translate_pictures(args, inputs)


def _translate_pictures(args: argparse.Namespace, inputs: Sequence[Input]) -> int:
    from cyclegan.pixels import notes_on, recorded_facts
    from cyclegan.translation.pictures import translate_pictures
    from cyclegan.translation.translator import Translator

    if args.smoothing:
        raise ConfigError(
            "--smoothing is for videos, and --input {input} isn't one: leave it out", input=inputs[0].path
        )
    if args.side_by_side:
        raise ConfigError(
            "--side_by_side is for videos, and --input {input} isn't one: leave it out", input=inputs[0].path
        )
    folder, gathered = _picture_targets(args, inputs)
    translator = Translator(load_checkpoint(args), device(args.device))
    if args.reconstruct and len(translator.generators) < 2:
        raise CheckpointError("this checkpoint has one direction only, so --reconstruct has no way back")
    _make_folder(folder)
    items = gathered.items
    _say_skipped(gathered, named=folder != args.output)
    replaced = sum(os.path.lexists(folder / item.target) for item in items)
    # Parts of pictures count, because a large one is translated in pieces, for minutes.
    look = "{percentage:3.0f}%|{bar}| {n:.2f}/{total} [{elapsed}<{remaining}]"
    with progress_bar(total=len(items), delay=0.5, bar_format=look) as bar, recorded_facts() as facts:
        result = translate_pictures(
            translator, items, folder, args.direction, reconstruct=args.reconstruct, size=args.size,
            progress=lambda done: bar.update(done - bar.n),
        )  # fmt: skip
    for note in notes_on(facts):
        print(f"note: {note}", file=sys.stderr)
    for sentence in result.volumes:
        print(sentence)
    for note in result.doubts(translator.values(args.direction[0])):
        print(f"note: {note}", file=sys.stderr)
    if result.smaller:
        print(f"note: {_first(result.smaller)}", file=sys.stderr)
    for error in [*gathered.failed, *result.failed]:
        print(f"error: {error}", file=sys.stderr)
    epoch, done = translator.checkpoint.info.epoch, len(items) - len(result.failed)
    again = f", where {replaced} of this name existed and were replaced" if replaced else ""
    count = number_of(len(items), "picture")
    apart = len(args.inputs) > 1 and any("/" in item.target for item in items)
    folders = "; each folder and zip has a folder of its own there" if apart else ""
    out = f"; {len(result.failed)} left out, for the reason above" if result.failed else ""
    how = f"with epoch {epoch}, {_arrow(translator, args.direction)}"
    where = f", written to {args.output}{again}{folders}" if done else ", so nothing was written"
    print(f"{done} of {count} translated {how}{where}{out}")
    return 1 if gathered.failed or result.failed else 0


def _arrow(translator: Translator, direction: Direction) -> str:
    """Return the direction by the domains' names: `day → night`."""
    data = translator.checkpoint.config.data
    return direction_name(direction, data.domain_a, data.domain_b)


def _finding(total: int | None = None) -> tqdm:
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
    with _finding(total=len(inputs)) as bar:
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


def _translate_video(args: argparse.Namespace, path: Path) -> int:
    from cyclegan.translation.pictures import smaller_note
    from cyclegan.translation.translator import Translator
    from cyclegan.translation.video import translate_video
    from cyclegan.translation.video_io import Video, refuse_values

    if args.reconstruct:
        raise ConfigError("--reconstruct is for pictures: write some of the video's with python -m cyclegan frames")
    if args.output.suffix.lower() != ".mp4" or os.path.isdir(args.output):
        raise ConfigError(
            "--output {output} isn't an .mp4 file: a translated video is written as .mp4", output=args.output.name
        )
    if args.output.resolve() == path.resolve():
        raise ConfigError("--output is the input itself: choose another name")
    if args.side_by_side is not None:
        _check_side_by_side(args, path)
    video = Video(path)  # Checked before a checkpoint is downloaded.
    translator = Translator(load_checkpoint(args, one_way=True), device(args.device))
    refuse_values(translator.checkpoint.config.data)
    _make_folder(args.output.parent)
    with progress_bar(unit="frame") as bar, stopped_by_interrupt() as stopped:
        done = translate_video(
            translator, video, args.output, args.direction, size=args.size, smoothing=args.smoothing,
            side_by_side=args.side_by_side, progress=shown_on(bar), cancelled=stopped,
        )  # fmt: skip
    if note := smaller_note(video.name, (video.info.width, video.info.height), args.size):
        print(f"note: {note}", file=sys.stderr)
    if done.skipped:
        count = done.skipped
        frames = english("1 damaged or missing frame was", f"{count:,} damaged or missing frames were", count)
        print(f"note: {frames} left out", file=sys.stderr)
    if done.sound == "left out":
        print("note: the sound can't be decoded here, so the video has none", file=sys.stderr)
    if done.flicker_before is not None:
        after = f", {done.flicker_after:.2f} after smoothing" if args.smoothing else "; --smoothing 0.5 lowers it"
        print(f"flicker where nothing moves: {done.flicker_before:.2f} grey levels from frame to frame{after}")
    sound = f", sound {done.sound}" if done.sound in ("copied", "re-encoded") else ""
    print(
        f"{number_of(done.frames, 'frame')}, {done.seconds:.1f} s{sound}, translated with epoch "
        f"{translator.checkpoint.info.epoch}, {_arrow(translator, args.direction)}, written to {args.output}"
        + (f", and next to the input to {args.side_by_side}" if args.side_by_side else "")
    )
    return 0


def _translate_series(args: argparse.Namespace, folder: Path) -> int:
    """Translate the DICOM slices of a folder into another one, as a series of derived images."""
    from cyclegan.rasters.files import open_stack
    from cyclegan.translation.pictures import about_volume
    from cyclegan.translation.translator import Translator
    from cyclegan.translation.volume import translate_volume

    for flag in ("smoothing", "side_by_side"):
        if getattr(args, flag):
            raise ConfigError("--{flag} is for videos, and --input {input} isn't one: leave it out", flag=flag,
                              input=folder)  # fmt: skip
    if os.path.lexists(args.output):
        raise ConfigError("--output {folder} exists already: name a new folder for the series", folder=args.output)
    stack = open_stack(folder)
    translator = Translator(load_checkpoint(args), device(args.device))
    back = args.output.with_name(f"{args.output.name}_rec") if args.reconstruct else None
    _make_folder(args.output.parent)
    with progress_bar(total=len(stack), unit="slice") as bar:
        done = translate_volume(
            translator, stack, args.output, args.direction, back=back, size=args.size,
            progress=lambda part: bar.update(round(part * len(stack)) - bar.n),
        )  # fmt: skip
    print(about_volume(folder.name, done))
    print(f"translated with epoch {translator.checkpoint.info.epoch}, {_arrow(translator, args.direction)}, written to "
          f"{args.output}")  # fmt: skip
    return 0


def _check_side_by_side(args: argparse.Namespace, path: Path) -> None:
    """Raise ConfigError if --side_by_side can't be written."""
    wanted = args.side_by_side
    if wanted.suffix.lower() != ".mp4" or os.path.isdir(wanted):
        raise ConfigError("--side_by_side {name} isn't an .mp4 file: name one", name=wanted.name)
    if wanted.resolve() in (path.resolve(), args.output.resolve()):
        raise ConfigError("--side_by_side {name} is the input or --output: choose another name", name=wanted.name)
    _make_folder(wanted.parent)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "--output {folder} can't be made ({reason}): choose another folder", folder=folder, reason=error
        ) from error
