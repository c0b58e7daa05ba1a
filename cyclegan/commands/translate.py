"""`python -m cyclegan translate`: pictures, folders, zips and videos."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

from cyclegan.cli.flags import device, file_path, positive, share
from cyclegan.cli.progress import progress_bar, shown_on
from cyclegan.commands.options import add_checkpoint_flags, load_checkpoint, picture_size, stopped_by_interrupt
from cyclegan.commands.translate_pictures import arrow, finding, make_folder, translate_hub, translate_pictures
from cyclegan.errors import ConfigError, english, number_of


def add_translate_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command `translate`."""
    sub = add("translate", translate, "translate pictures, folders and zips of pictures, or a video")
    add_checkpoint_flags(sub)
    given = sub.add_mutually_exclusive_group(required=True)
    given.add_argument("--input", dest="inputs", type=_input, nargs="+", action="extend", metavar="PATH",
                       help="pictures, folders, zips or tars of them, patterns such as 'photos/*.jpg'; or one video, "
                       "or one data set of the Hub, hf://datasets/USER/NAME")
    given.add_argument("--list", type=file_path, default=None, metavar="FILE",
                       help="a text file with the path of a picture in each line; - reads standard input")
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
        type=picture_size,
        default=None,
        metavar="N",
        help="work at this length of the shorter side, then scale the result to the input's own size; the app's videos "
        "keep this size (default: the picture's own size; in the app, pictures begin at up to twice the training "
        "size, and videos at 256 or that, whichever is smaller)",
    )
    sub.add_argument("--smoothing", type=share, default=0.0, metavar="X",
                     help="0 to 1, for videos: against flicker, the weight of the frame before where nothing moves")
    sub.add_argument("--side_by_side", type=file_path, default=None, metavar="FILE.mp4",
                     help="for videos: also write a video with the input at the left and the result at the right, to "
                     "show to people")
    many = sub.add_argument_group("many pictures")
    many.add_argument("--format", choices=("png", "webp", "jpeg"), default="png",
                      help="of the results, where pictures have 8 bits; WebP is without loss unless --quality is given")
    many.add_argument("--quality", type=_quality, default=None, metavar="N",
                      help="1 to 100, of JPEG (default: 95) and WebP")
    many.add_argument("--skip_existing", action="store_true",
                      help="continue an earlier call: leave out pictures whose results are there, or are recorded in "
                      "translated.jsonl next to them, which it then keeps")
    many.add_argument("--shard", type=_shard, default=None, metavar="I/N",
                      help="only every N-th picture, beginning with the I-th, so that N calls share the work; each "
                      "keeps a record, translated-I-of-N.jsonl")
    many.add_argument("--engine", choices=("plain", "ray"), default="plain",
                      help="ray: on a cluster, by Ray Data; needs pip install 'ray[data]'")
    many.add_argument("--address", default=None, metavar="HOST:PORT",
                      help="the Ray cluster's, or auto; else one is started on this machine")
    sub.add_argument("--device", default=None,
                     help="cpu, cuda, cuda:1, mps; for pictures also several, cuda:0,cuda:1, or all; chosen if not "
                     "given")


def _input(text: str) -> Path | str:
    """Return a path, or the name of a Hub data set as it is."""
    return text if text.startswith("hf://") else file_path(text)


def _quality(text: str) -> int:
    """Return the quality of a JPEG or WebP."""
    if (quality := positive(text)) > 100:
        raise argparse.ArgumentTypeError(f"{text} is too high for a quality: 1 to 100")
    return quality


def _shard(text: str) -> tuple[int, int]:
    """Return a shard's number, from 1, and the count of shards."""
    number, slash, count = text.partition("/")
    try:
        found = positive(number), positive(count)
    except argparse.ArgumentTypeError:
        found = (1, 0)
    if not slash or found[0] > found[1]:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a part of the pictures: give 1/8, 2/8 … 8/8 to eight calls")
    return found


def translate(args: argparse.Namespace) -> int:
    """Translate pictures or a video; return 1 if any picture failed."""
    from cyclegan.rasters.files import is_series
    from cyclegan.translation.inputs import find_inputs, listed_inputs
    from cyclegan.translation.video_io import VIDEO_SUFFIXES, is_video

    if args.inputs and any(isinstance(each, str) for each in args.inputs):
        args.inputs.sort(key=lambda each: not isinstance(each, str))
        return translate_hub(args)
    with finding() as bar:
        inputs = listed_inputs(args.list) if args.list else find_inputs(args.inputs, progress=bar.update)
    if args.engine == "ray":  # Its workers are in the folder where Ray was started.
        inputs = [dataclasses.replace(each, path=Path(os.path.abspath(each.path))) for each in inputs]
    if args.list:
        args.inputs = [args.list]
        return translate_pictures(args, inputs)
    if len(inputs) == 1 and is_video(inputs[0].path):
        return _translate_video(args, inputs[0].path)
    if len(inputs) == 1 and is_series(inputs[0].path):
        return _translate_series(args, inputs[0].path)
    for each in inputs:
        if each.path.suffix.lower() in VIDEO_SUFFIXES and not each.by_pattern and not os.path.isdir(each.path):
            raise ConfigError("{input} is a video: translate each video by itself", input=each.path)
    return translate_pictures(args, inputs)


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
    make_folder(args.output.parent)
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
        f"{translator.checkpoint.info.epoch}, {arrow(translator.checkpoint, args.direction)}, written to {args.output}"
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
    make_folder(args.output.parent)
    with progress_bar(total=len(stack), unit="slice") as bar:
        done = translate_volume(
            translator, stack, args.output, args.direction, back=back, size=args.size,
            progress=lambda part: bar.update(round(part * len(stack)) - bar.n),
        )  # fmt: skip
    print(about_volume(folder.name, done))
    how = f"with epoch {translator.checkpoint.info.epoch}, {arrow(translator.checkpoint, args.direction)}"
    print(f"translated {how}, written to {args.output}")
    return 0


def _check_side_by_side(args: argparse.Namespace, path: Path) -> None:
    """Raise ConfigError if --side_by_side can't be written."""
    wanted = args.side_by_side
    if wanted.suffix.lower() != ".mp4" or os.path.isdir(wanted):
        raise ConfigError("--side_by_side {name} isn't an .mp4 file: name one", name=wanted.name)
    if wanted.resolve() in (path.resolve(), args.output.resolve()):
        raise ConfigError("--side_by_side {name} is the input or --output: choose another name", name=wanted.name)
    make_folder(wanted.parent)
