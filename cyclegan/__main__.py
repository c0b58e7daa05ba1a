"""`python -m cyclegan`: translate, frames, export, import, streets, study."""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from cyclegan.checkpoint import Checkpoint
from cyclegan.cli import command_adder, device, make_parser, positive, run_command, share
from cyclegan.config import DIRECTIONS, ConfigError, Direction
from cyclegan.progress import progress_bar
from cyclegan.study_commands import add_study_commands
from hub import HubError, open_source


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = make_parser(
        "python -m cyclegan", "Translate, take frames, export and import weights, write streets, study realism."
    )
    add = command_adder(parser)

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

    sub = add("export", export, "write one generator as an ONNX file, for programs without torch")
    sub.add_argument("source", metavar="SOURCE",
                     help="folder of a run or of one epoch; or USER/NAME, USER/NAME@epoch-0012 on the Hub")
    sub.add_argument("--epoch", default="latest", type=_epoch, metavar="N", help="which epoch, or latest")
    sub.add_argument("--direction", required=True, choices=DIRECTIONS, help="ab: A → B, ba: B → A")
    sub.add_argument("--format", default="onnx", choices=("onnx",), help="format of the file")
    sub.add_argument("--output", type=Path, metavar="FILE.onnx",
                     help="file to write, a new one (default: epoch-0012-ab.onnx, for epoch 12 and ab)")

    sub = add("import", import_weights, "turn weights of the reference implementation into a checkpoint")
    sub.add_argument(
        "--from",
        dest="files",
        required=True,
        nargs="+",
        metavar="FILE",
        help="latest_net_G_A.pth and latest_net_G_B.pth, or one of them; hub:USER/NAME:FILE downloads one from the Hub",
    )
    sub.add_argument("--output", required=True, type=Path, metavar="RUN", help="folder of the run to write")
    sub.add_argument("--epoch", type=positive, default=1, metavar="N", help="number of the epoch to write it as")
    sub.add_argument("--domain_a", default="A", help="name of domain A")
    sub.add_argument("--domain_b", default="B", help="name of domain B")
    sub.add_argument("--crop_size", type=positive, default=256, metavar="N", help="size that it was trained at")

    sub = add("frames", frames, "write frames of a video as pictures, to train on")
    sub.add_argument("video", type=Path, metavar="VIDEO", help="the recording")
    sub.add_argument("--every", type=positive, default=6, metavar="N",
                     help="write each Nth frame: neighbours are too alike to teach more")
    sub.add_argument("--output", required=True, type=Path, metavar="DIR",
                     help="folder for the pictures, e.g. data/mine/trainA; may hold those of other videos")
    sub.add_argument("--start", type=_seconds, default=0.0, metavar="TIME", help="where to begin: 90, or 1:30")
    sub.add_argument("--end", type=_seconds, default=None, metavar="TIME", help="where to stop (default: at the end)")
    sub.add_argument("--size", type=positive, default=None, metavar="N",
                     help="scale the shorter side down to N pixels (default: the video's own size)")
    sub.add_argument("--limit", type=positive, default=None, metavar="N", help="write at most N pictures")

    sub = add("streets", write_streets, "write the built-in day/night scenes as folders, with labels and truth")
    sub.add_argument(
        "--spec",
        default="streets",
        metavar="SPEC",
        help="as for --dataset, e.g. streets:count=400,size=256,seed=1,pedestrian_b=0",
    )
    sub.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write, empty or new")

    add_study_commands(add)
    return parser


def _seconds(text: str) -> float:
    """90, 1:30 or 0:01:30.5 in seconds."""
    if not re.fullmatch(r"([0-9]+:){0,2}[0-9]+(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give seconds, or minutes:seconds")
    return sum(float(part) * 60**power for power, part in enumerate(reversed(text.split(":"))))


def _epoch(text: str) -> int | None:
    return None if text == "latest" else positive(text)


def translate(args: argparse.Namespace) -> int:
    """Translate a picture, a folder or a video; 1 if any picture failed."""
    from cyclegan.checkpoint import CheckpointError
    from cyclegan.images import IMAGE_SUFFIXES, ImageError, list_images, open_image
    from cyclegan.translator import Translator, save_png
    from cyclegan.video import VIDEO_SUFFIXES, is_video

    if is_video(args.input):
        return _translate_video(args)
    if args.smoothing:
        raise ConfigError(f"--smoothing is for videos, and --input {args.input} is none: leave it out")
    single = not args.input.is_dir()
    if single and not args.input.exists():
        raise ConfigError(f"--input {args.input} does not exist: name a picture or a folder")
    paths = [args.input] if single else list_images(args.input)
    if not paths:
        raise ConfigError(f"--input {args.input} holds no pictures; a video is named itself, not its folder")
    to_file = single and args.output.suffix.lower() == ".png" and not args.output.is_dir()
    if not single and args.output.suffix.lower() == ".png" and not args.output.is_dir():
        raise ConfigError(f"--output {args.output.name} names one picture, but --input is a folder: name a folder")
    if args.output.suffix.lower() in (IMAGE_SUFFIXES | VIDEO_SUFFIXES) - {".png"} and not args.output.is_dir():
        raise ConfigError(f"--output {args.output.name} is no PNG: results are written as .png, or into a folder")
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
        raise ConfigError(f"--output {folder} can't be made ({error.strerror}): choose another folder") from error

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
                    f"{target} can't be written ({error.strerror or error}): free space or choose another --output"
                ) from error
            show(1.0)
    for sentence in failed:
        print(f"error: {sentence}", file=sys.stderr)
    epoch, done = translator.checkpoint.info.epoch, len(paths) - len(failed)
    print(f"{done} of {len(paths)} pictures translated with epoch {epoch}, written to {args.output}")
    return 1 if failed else 0


def _translate_video(args: argparse.Namespace) -> int:

    from cyclegan.translate_video import translate_video
    from cyclegan.translator import Translator
    from cyclegan.video import Video, VideoCancelled

    if args.reconstruct:
        raise ConfigError("--reconstruct is for pictures: write some of the video's with python -m cyclegan frames")
    if args.output.suffix.lower() != ".mp4" or args.output.is_dir():
        raise ConfigError(f"--output {args.output.name} is no .mp4 file: a translated video is written as .mp4")
    if args.output.resolve() == args.input.resolve():
        raise ConfigError("--output is the input itself: choose another name")
    video = Video(args.input)  # Before a checkpoint is downloaded for nothing.
    translator = Translator(_load(args.checkpoints, args.epoch, (args.direction,)), device(args.device))
    try:
        args.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--output {args.output.parent} can't be made ({error.strerror}): choose another folder"
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
        except VideoCancelled as error:
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


def import_weights(args: argparse.Namespace) -> int:
    """Write a checkpoint from `.pth` files of the reference implementation."""
    from cyclegan.checkpoint import (
        GENERATOR_OF,
        CheckpointConfig,
        CheckpointError,
        epoch_name,
        save_checkpoint,
    )
    from cyclegan.config import DataConfig
    from cyclegan.reference import import_reference

    target = args.output / epoch_name(args.epoch)
    if target.exists():
        raise CheckpointError(f"{target} exists already: choose another --epoch or --output")
    files = [_fetched(name) for name in args.files]
    found = import_reference(files)
    model = next(iter(found.values()))[0]
    data = DataConfig(
        dataset="unknown",
        domain_a=args.domain_a,
        domain_b=args.domain_b,
        crop_size=args.crop_size,
        load_size=round(args.crop_size * 286 / 256),
    )
    data.validate()
    save_checkpoint(
        args.output,
        epoch=args.epoch,
        weights={GENERATOR_OF[direction]: state for direction, (_, state) in found.items()},
        config=CheckpointConfig(model=model, data=data),
        record={"global_step": 0, "weights": "imported", "files": [path.name for path in files]},
    )
    ways = " and ".join("A → B" if d == "ab" else "B → A" for d in found)
    print(f"{model.generator}, ngf {model.ngf}, {ways}: written to {target}")
    return 0


def _load(spec: str, epoch: int | None, directions: tuple[Direction, ...] | None = None) -> Checkpoint:
    """A checkpoint of a folder or of the Hub, with what there is to say of its source."""
    source = open_source(spec)
    checkpoint = source.load(epoch, directions)
    for sentence in source.problems:
        print(f"warning: {sentence}", file=sys.stderr)
    return checkpoint


def _fetched(name: str) -> Path:
    """The file itself, or where one of the Hub was downloaded to."""
    if not name.startswith("hub:"):
        return Path(name)
    from hub.source import fetch_file

    return fetch_file(name.removeprefix("hub:"))


def export(args: argparse.Namespace) -> int:
    """Write one generator as an ONNX file."""
    from cyclegan.export import INPUT, OPSET, OUTPUT, check_packages, check_path, export_onnx

    check_packages()
    if args.output is not None:  # Before anything is downloaded.
        check_path(args.output)
    checkpoint = _load(args.source, args.epoch, (args.direction,))
    path = args.output or Path(f"{checkpoint.info.tag}-{args.direction}.onnx")
    done = export_onnx(checkpoint, args.direction, path)
    sizes = ", ".join(f"{n}×3×{height}×{width}" for n, height, width in done.checked)
    way = " → ".join(getattr(checkpoint.config.data, f"domain_{domain}") for domain in args.direction)
    size = path.stat().st_size / 1e6
    print(f"{way} of epoch {checkpoint.info.epoch} written to {path}, {size:.1f} MB, ONNX opset {OPSET}")
    print(f"takes {INPUT}, gives {OUTPUT}: float32 (N, 3, H, W), RGB in [-1, 1]; H and W multiples of "
          f"{done.size_multiple}, at least {done.min_size}")  # fmt: skip
    print(f"checked with ONNX Runtime against torch on {sizes}: at most {done.max_difference:.2g} grey levels apart")
    return 0


def frames(args: argparse.Namespace) -> int:
    """Write frames of a video as pictures."""

    from cyclegan.video import Video, write_frames

    if args.end is not None and args.end <= args.start:
        raise ConfigError("--end is not after --start: choose other times")
    video = Video(args.video)
    expected = video.info.expected_frames
    if expected is not None:
        length = expected / video.info.rate
        until = length if args.end is None else min(length, args.end)
        expected = max(1, -(-round((until - args.start) * video.info.rate) // args.every))
        expected = expected if args.limit is None else min(expected, args.limit)
    with progress_bar(total=expected, unit="picture") as bar:
        count, (width, height) = write_frames(
            video, args.output, every=args.every, start=args.start, end=args.end, size=args.size, limit=args.limit,
            progress=bar.update,
        )  # fmt: skip
    if video.skipped:
        print(f"note: {video.skipped} damaged or missing frames were left out", file=sys.stderr)
    root, other = args.output.parent, {"traina": "trainB", "trainb": "trainA"}.get(args.output.name.lower())
    train = f"python train_accelerate.py --dataset {shlex.quote(str(root))}"
    if other is None:
        step = "use the folder as trainA or trainB of a data set"
    else:
        step = train if any((root / other).glob("*")) else f"fill {root / other}, then {train}"
    print(f"{count} pictures of {width}×{height} written to {args.output}; next: {step}")
    return 0


def write_streets(args: argparse.Namespace) -> int:
    """Write the built-in data set to disk."""
    from cyclegan.data.streets import StreetsSpec, write_streets

    write_streets(StreetsSpec.parse(args.spec), args.output)
    print(
        f"written to {args.output}; train on it with: python train_accelerate.py --dataset {args.output} "
        "--output_dir runs/streets"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status. Every error meant for people is a ValueError of ours, or the Hub's."""
    args = build_parser().parse_args(argv)
    return run_command(lambda: args.run(args), (ValueError, HubError))


if __name__ == "__main__":
    sys.exit(main())
