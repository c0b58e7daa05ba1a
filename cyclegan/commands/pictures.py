"""`python -m cyclegan frames`, `holdout` and `streets`: folders of pictures to train on."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from cyclegan.cli.flags import file_path, positive
from cyclegan.cli.progress import progress_bar
from cyclegan.errors import ConfigError, english, number_of

if TYPE_CHECKING:
    from cyclegan.translation.video_io import Video


def add_picture_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands `frames`, `holdout` and `streets`."""
    sub = add("frames", frames, "write frames of a video as pictures, to train on")
    sub.add_argument("video", type=file_path, metavar="VIDEO", help="the recording")
    sub.add_argument("--every", type=positive, default=6, metavar="N",
                     help="write every Nth frame, because neighbouring frames are too similar to add much")
    sub.add_argument("--output", required=True, type=file_path, metavar="DIR",
                     help="folder for the pictures, e.g. data/mine/trainA; it may hold pictures of other videos")
    sub.add_argument("--start", type=_seconds, default=0.0, metavar="TIME", help="time to start at: 90, or 1:30")
    sub.add_argument("--end", type=_seconds, default=None, metavar="TIME", help="time to stop at (default: the end)")
    sub.add_argument("--size", type=positive, default=None, metavar="N",
                     help="scale the shorter side down to N pixels (default: the video's own size)")
    sub.add_argument("--limit", type=positive, default=None, metavar="N", help="write at most N pictures")

    sub = add("holdout", holdout, "move some training pictures into the test split of a folder that has none")
    sub.add_argument("dataset", metavar="DATA", help="folder of the data set, as for --dataset")
    sub.add_argument("--every", type=positive, default=10, metavar="N", help="one picture of N of each domain")
    sub.add_argument("--together", action="store_true",
                     help="the last ones by name, for frames of a video, instead of every Nth")

    sub = add("streets", write_streets, "write the built-in day/night scenes as folders, with labels and truth")
    sub.add_argument("--spec", default="streets", metavar="SPEC",
                     help="as for --dataset, e.g. streets:count=400,size=256,seed=1,pedestrian_b=0, or "
                     "streets:a=labels,b=day")
    sub.add_argument("--output", required=True, type=file_path, metavar="DIR", help="folder to write, empty or new")


def _seconds(text: str) -> float:
    """Return 90, 1:30 or 0:01:30.5 in seconds."""
    if not re.fullmatch(r"([0-9]+:){0,2}[0-9]+(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a time: give seconds, or minutes:seconds")
    return sum(float(part) * 60**power for power, part in enumerate(reversed(text.split(":"))))


def frames(args: argparse.Namespace) -> int:
    """Write frames of a video as pictures."""

    from cyclegan.translation.video_frames import write_frames
    from cyclegan.translation.video_io import Video

    if args.end is not None and args.end <= args.start:
        raise ConfigError("--end is not after --start: choose other times")
    video = Video(args.video)
    with progress_bar(total=_expected_pictures(video, args), unit="picture") as bar:
        count, (width, height) = write_frames(
            video, args.output, every=args.every, start=args.start, end=args.end, size=args.size, limit=args.limit,
            progress=bar.update,
        )  # fmt: skip
    if video.skipped:
        count = video.skipped
        frames = english("1 damaged or missing frame was", f"{count:,} damaged or missing frames were", count)
        print(f"note: {frames} left out", file=sys.stderr)
    root, other = args.output.parent, {"traina": "trainB", "trainb": "trainA"}.get(args.output.name.lower())
    train = f"python train_accelerate.py --dataset {shlex.quote(str(root))}"
    if other is None:
        step = "use the folder as trainA or trainB of a data set"
    else:
        step = train if any((root / other).glob("*")) else f"fill {root / other}, then {train}"
    print(f"{number_of(count, 'picture')} of {width}×{height} written to {args.output}; next: {step}")
    return 0


def _expected_pictures(video: Video, args: argparse.Namespace) -> int | None:
    """Return about how many pictures `frames` will write, for its progress bar; None if the file doesn't say."""
    frames, rate = video.info.expected_frames, video.info.rate
    if frames is None:
        return None
    until = frames / rate if args.end is None else min(frames / rate, args.end)
    pictures = max(1, -(-round((until - args.start) * rate) // args.every))
    return pictures if args.limit is None else min(pictures, args.limit)


def holdout(args: argparse.Namespace) -> int:
    """Move training pictures into the test split."""
    from cyclegan.config import DataConfig
    from cyclegan.data import find_data
    from cyclegan.data.holdout import move_tests

    splits = find_data(DataConfig(dataset=args.dataset))
    moved = move_tests(splits, args.dataset, every=args.every, together=args.together)
    for part, (count, folder) in moved.items():
        print(f"{number_of(count, 'picture')} moved from {part} to {folder}")
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
