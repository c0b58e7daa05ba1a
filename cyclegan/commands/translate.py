"""`python -m cyclegan translate`: pictures, folders and videos."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cyclegan.cli.flags import device, positive, share
from cyclegan.cli.progress import progress_bar
from cyclegan.commands.options import add_checkpoint_flags, load_checkpoint
from cyclegan.errors import Cancelled, CheckpointError, ConfigError, english, number_of


def add_translate_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command `translate`."""
    sub = add("translate", translate, "translate a picture, a folder of pictures, or a video")
    add_checkpoint_flags(sub, "--checkpoints", dest="source", required=True)
    sub.add_argument("--input", required=True, type=Path, metavar="PATH",
                     help="a picture, a folder of pictures, or a video")
    sub.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="PATH",
        help="a .png file for one picture, an .mp4 file for a video, else a folder, which is made if it is missing",
    )
    sub.add_argument("--reconstruct", action="store_true", help="also write the way back, F(G(x)), as NAME_rec.png")
    sub.add_argument(
        "--size",
        type=positive,
        default=None,
        metavar="N",
        help="work at this length of the shorter side and scale back (default: the picture's own size)",
    )
    sub.add_argument("--smoothing", type=share, default=0.0, metavar="X",
                     help="0 to 1, for videos: against flicker, the weight of the frame before where nothing moves")
    sub.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps; chosen if not given")


def translate(args: argparse.Namespace) -> int:
    """Translate a picture, a folder or a video; return 1 if any picture failed."""
    from cyclegan.translation.video_io import is_video

    return _translate_video(args) if is_video(args.input) else _translate_pictures(args)


def _translate_pictures(args: argparse.Namespace) -> int:
    from cyclegan.pixels import notes_on, recorded_facts
    from cyclegan.translation.pictures import translate_pictures
    from cyclegan.translation.translator import Translator

    if args.smoothing:
        raise ConfigError("--smoothing is for videos, and --input {input} isn't one: leave it out", input=args.input)
    targets = _picture_targets(args)
    translator = Translator(load_checkpoint(args), device(args.device))
    if args.reconstruct and len(translator.generators) < 2:
        raise CheckpointError("this checkpoint has one direction only, so --reconstruct has no way back")
    _make_folder(next(iter(targets.values())).parent)
    # Parts of pictures count, because a large one is translated in pieces, for minutes.
    look = "{percentage:3.0f}%|{bar}| {n:.2f}/{total} [{elapsed}<{remaining}]"
    with progress_bar(total=len(targets), delay=0.5, bar_format=look) as bar, recorded_facts() as facts:
        failed = translate_pictures(
            translator, targets, args.direction, reconstruct=args.reconstruct, size=args.size,
            progress=lambda done: bar.update(done - bar.n),
        )  # fmt: skip
    for note in notes_on(facts):
        print(f"note: {note}", file=sys.stderr)
    for error in failed:
        print(f"error: {error}", file=sys.stderr)
    epoch, done = translator.checkpoint.info.epoch, len(targets) - len(failed)
    print(f"{done} of {number_of(len(targets), 'picture')} translated with epoch {epoch}, written to {args.output}")
    return 1 if failed else 0


def _picture_targets(args: argparse.Namespace) -> dict[Path, Path]:
    """Return the file to write for each input picture. Raise ConfigError for flags that can't work."""
    from cyclegan.images import IMAGE_SUFFIXES, list_images
    from cyclegan.translation.pictures import output_names
    from cyclegan.translation.video_io import VIDEO_SUFFIXES

    single = not args.input.is_dir()
    if single and not args.input.exists():
        raise ConfigError("--input {input} does not exist: name a picture or a folder", input=args.input)
    paths = [args.input] if single else list_images(args.input)
    if not paths:
        raise ConfigError("--input {input} holds no pictures; name a video itself, not its folder", input=args.input)
    suffix = "" if args.output.is_dir() else args.output.suffix.lower()
    if not single and suffix == ".png":
        raise ConfigError(
            "--output {output} names one picture, but --input is a folder: name a folder", output=args.output.name
        )
    if suffix in (IMAGE_SUFFIXES | VIDEO_SUFFIXES) - {".png"}:
        raise ConfigError(
            "--output {output} isn't a .png file: results are written as .png, or into a folder",
            output=args.output.name,
        )
    if suffix == ".png":
        _check_not_input(args)
        return {args.input: args.output}
    if args.output.resolve() == (args.input.parent if single else args.input).resolve():
        raise ConfigError("--output is the folder of the input: choose another, so that no picture is overwritten")
    names = output_names(paths, reconstruct=args.reconstruct)
    return {path: args.output / name for path, name in names.items()}


def _translate_video(args: argparse.Namespace) -> int:
    from cyclegan.translation.translator import Translator
    from cyclegan.translation.video import translate_video
    from cyclegan.translation.video_io import Video

    if args.reconstruct:
        raise ConfigError("--reconstruct is for pictures: write some of the video's with python -m cyclegan frames")
    if args.output.suffix.lower() != ".mp4" or args.output.is_dir():
        raise ConfigError(
            "--output {output} isn't an .mp4 file: a translated video is written as .mp4", output=args.output.name
        )
    _check_not_input(args)
    video = Video(args.input)  # Checked before a checkpoint is downloaded.
    translator = Translator(load_checkpoint(args, args.direction), device(args.device))
    _make_folder(args.output.parent)
    with progress_bar(unit="frame") as bar, _stopped_by_interrupt() as stopped:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        done = translate_video(
            translator, video, args.output, args.direction, size=args.size, smoothing=args.smoothing, progress=show,
            cancelled=stopped,
        )  # fmt: skip
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
        f"{translator.checkpoint.info.epoch}, written to {args.output}"
    )
    return 0


@contextlib.contextmanager
def _stopped_by_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns true after Ctrl-C; the cancelled work then ends with KeyboardInterrupt.

    The exception isn't raised at once, because the video library would swallow it.
    """
    stop = threading.Event()

    def stop_soon(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # A second one doesn't wait for the batch.

    before = signal.signal(signal.SIGINT, stop_soon)
    try:
        yield stop.is_set
    except Cancelled as error:
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGINT, before)


def _check_not_input(args: argparse.Namespace) -> None:
    if args.output.resolve() == args.input.resolve():
        raise ConfigError("--output is the input itself: choose another name")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "--output {folder} can't be made ({reason}): choose another folder", folder=folder, reason=error
        ) from error
