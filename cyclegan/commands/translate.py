"""`python -m cyclegan translate`: pictures, folders and videos."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from cyclegan.cli.flags import device, positive, share
from cyclegan.cli.progress import progress_bar
from cyclegan.commands.checkpoints import _epoch, _load
from cyclegan.config import DIRECTIONS
from cyclegan.errors import Cancelled, CheckpointError, ConfigError, ImageError


def add_translate_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command `translate`."""
    sub = add("translate", translate, "translate a picture, a folder of pictures, or a video")
    sub.add_argument("--checkpoints", required=True, metavar="SOURCE",
                     help="folder of a run or of one epoch; or USER/NAME, USER/NAME@epoch-0012 on the Hub")
    sub.add_argument("--epoch", default="latest", type=_epoch, metavar="N", help="which epoch, or latest")
    sub.add_argument("--direction", required=True, choices=DIRECTIONS, help="ab: A → B, ba: B → A")
    sub.add_argument("--input", required=True, type=Path, metavar="PATH",
                     help="a picture, a folder of pictures, or a video")
    sub.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="PATH",
        help="a .png file for one picture, an .mp4 file for a video, else a folder, which is made if need be",
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
                     help="0 to 1, for videos: against flicker, how much a frame leans on the one before where nothing "
                          "moves")
    sub.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps; chosen if not given")


def translate(args: argparse.Namespace) -> int:
    """Translate a picture, a folder or a video; 1 if any picture failed."""
    from cyclegan.images import IMAGE_SUFFIXES, list_images, open_image
    from cyclegan.translation.translator import Translator, save_png
    from cyclegan.translation.video_io import VIDEO_SUFFIXES, is_video

    if is_video(args.input):
        return _translate_video(args)
    if args.smoothing:
        raise ConfigError("--smoothing is for videos, and --input {input} is none: leave it out", input=args.input)
    single = not args.input.is_dir()
    if single and not args.input.exists():
        raise ConfigError("--input {input} does not exist: name a picture or a folder", input=args.input)
    paths = [args.input] if single else list_images(args.input)
    if not paths:
        raise ConfigError(
            "--input {input} holds no pictures; a video is named itself, not its folder",
            input=args.input,
        )
    to_file = single and args.output.suffix.lower() == ".png" and not args.output.is_dir()
    if not single and args.output.suffix.lower() == ".png" and not args.output.is_dir():
        raise ConfigError(
            "--output {output} names one picture, but --input is a folder: name a folder",
            output=args.output.name,
        )
    if args.output.suffix.lower() in (IMAGE_SUFFIXES | VIDEO_SUFFIXES) - {".png"} and not args.output.is_dir():
        raise ConfigError(
            "--output {output} is no PNG: results are written as .png, or into a folder",
            output=args.output.name,
        )
    folder = args.output.parent if to_file else args.output
    if folder.resolve() == (args.input.parent if single else args.input).resolve() and not to_file:
        raise ConfigError("--output is the folder of the input: choose another, so that no picture is overwritten")
    if to_file and args.output.resolve() == args.input.resolve():
        raise ConfigError("--output is the input itself: choose another name")
    translator = Translator(_load(args.checkpoints, args.epoch), device(args.device))
    if args.reconstruct and len(translator.generators) < 2:
        raise CheckpointError("this checkpoint has one direction only, so --reconstruct has no way back")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "--output {folder} can't be made ({reason}): choose another folder",
            folder=folder, reason=error.strerror,
        ) from error

    failed = []
    names = _output_names(paths, reconstruct=args.reconstruct)
    # Parts of pictures count, since a large one is translated in pieces, for minutes.
    look = "{percentage:3.0f}%|{bar}| {n:.2f}/{total} [{elapsed}<{remaining}]"
    with progress_bar(total=len(paths), delay=0.5, bar_format=look) as bar:
        for number, path in enumerate(paths):

            def show(part: float, number: int = number) -> None:
                bar.update(number + part - bar.n)

            target = args.output if to_file else folder / names[path]
            try:
                result = translator.translate_many(
                    [open_image(path)], args.direction, reconstruct=args.reconstruct, size=args.size, progress=show
                )[0]
                save_png(result.fake, target, checkpoint=translator.checkpoint, direction=args.direction)
                if result.rec is not None:
                    rec = target.with_name(f"{target.stem}_rec.png")
                    save_png(result.rec, rec, checkpoint=translator.checkpoint, direction=args.direction)
            except ImageError as error:
                failed.append(str(error))
            except OSError as error:
                raise ConfigError(
                    "{target} can't be written ({reason}): free space or choose another --output",
                    target=target, reason=error.strerror or error,
                ) from error
            show(1.0)
    for sentence in failed:
        print(f"error: {sentence}", file=sys.stderr)
    epoch, done = translator.checkpoint.info.epoch, len(paths) - len(failed)
    print(f"{done} of {len(paths)} pictures translated with epoch {epoch}, written to {args.output}")
    return 1 if failed else 0


def _translate_video(args: argparse.Namespace) -> int:

    from cyclegan.translation.translator import Translator
    from cyclegan.translation.video import translate_video
    from cyclegan.translation.video_io import Video

    if args.reconstruct:
        raise ConfigError("--reconstruct is for pictures: write some of the video's with python -m cyclegan frames")
    if args.output.suffix.lower() != ".mp4" or args.output.is_dir():
        raise ConfigError(
            "--output {output} is no .mp4 file: a translated video is written as .mp4",
            output=args.output.name,
        )
    if args.output.resolve() == args.input.resolve():
        raise ConfigError("--output is the input itself: choose another name")
    video = Video(args.input)  # Before a checkpoint is downloaded for nothing.
    translator = Translator(_load(args.checkpoints, args.epoch, (args.direction,)), device(args.device))
    try:
        args.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "--output {parent} can't be made ({reason}): choose another folder",
            parent=args.output.parent, reason=error.strerror,
        ) from error
    with progress_bar(unit="frame") as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        # Not by KeyboardInterrupt, which is lost where it comes up within the video library.
        stop = threading.Event()

        def stop_soon(*_: object) -> None:
            stop.set()
            signal.signal(signal.SIGINT, signal.default_int_handler)  # A second one does not wait for the batch.

        before = signal.signal(signal.SIGINT, stop_soon)
        try:
            done = translate_video(
                translator, video, args.output, args.direction, size=args.size, smoothing=args.smoothing,
                progress=show, cancelled=stop.is_set,
            )  # fmt: skip
        except Cancelled as error:
            raise KeyboardInterrupt from error
        finally:
            signal.signal(signal.SIGINT, before)
    if done.skipped:
        print(f"note: {done.skipped} damaged or missing frames were left out", file=sys.stderr)
    if done.sound == "left out":
        print("note: the sound is of a kind that can't be read here, so there is none", file=sys.stderr)
    if done.flicker_before is not None:
        after = f", {done.flicker_after:.2f} after smoothing" if args.smoothing else "; --smoothing 0.5 lowers it"
        print(f"flicker where nothing moves: {done.flicker_before:.2f} grey levels from frame to frame{after}")
    sound = f", sound {done.sound}" if done.sound in ("copied", "re-encoded") else ""
    print(
        f"{done.frames} frames, {done.seconds:.1f} s{sound}, translated with epoch {translator.checkpoint.info.epoch}, "
        f"written to {args.output}"
    )
    return 0


def _output_names(paths: Sequence[Path], *, reconstruct: bool) -> dict[Path, str]:
    """NAME.png for each input, or NAME.SUFFIX.png where inputs differ in their suffix only; no two alike."""
    stems = [path.stem.casefold() for path in paths]
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        first = [path.stem] if stems.count(path.stem.casefold()) == 1 else []
        for name in (*first, path.name, *(f"{path.name}-{n}" for n in range(2, len(paths) + 2))):
            wanted = {f"{name}.png".casefold()}
            if reconstruct:
                wanted.add(f"{name}_rec.png".casefold())
            if not wanted & taken:
                break
        taken |= wanted
        names[path] = f"{name}.png"
    return names
