"""`python -m cyclegan frames`, `holdout`, `streets` and `phantoms`: folders of pictures to train on."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cyclegan.cli.flags import file_path, positive, share
from cyclegan.cli.progress import progress_bar
from cyclegan.commands.options import stopped_by_interrupt
from cyclegan.errors import Cancelled, ConfigError, english, number_of, shown
from cyclegan.files import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from cyclegan.data.drawn import DrawnSpec
    from cyclegan.translation.video_io import Video

FOR_SCORES = 50
"""Test pictures in each domain with which scores can tell epochs apart."""


def add_picture_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands `frames`, `holdout`, `streets` and `phantoms`."""
    sub = add("frames", frames, "write frames of a video as pictures, or a data set of two videos, to train on")
    sub.add_argument("videos", type=file_path, nargs="+", metavar="VIDEO",
                     help="the recording; or two, one per domain: of these, a whole data set is written")
    sub.add_argument("--every", type=positive, default=6, metavar="N",
                     help="write every Nth frame, because neighbouring frames are too similar to add much")
    sub.add_argument("--output", required=True, type=file_path, metavar="DIR",
                     help="folder for the pictures, e.g. data/mine/trainA; it may hold pictures of other videos. For "
                     "two videos, the data set's folder, e.g. data/drive; it may hold one of other recordings")
    sub.add_argument("--start", type=_seconds, default=0.0, metavar="TIME", help="time to start at: 90, or 1:30")
    sub.add_argument("--end", type=_seconds, default=None, metavar="TIME", help="time to stop at (default: the end)")
    sub.add_argument("--size", type=positive, default=None, metavar="N",
                     help="scale the shorter side down to N pixels (default: the video's own size)")
    sub.add_argument("--limit", type=positive, default=None, metavar="N", help="write at most N pictures of a video")
    sub.add_argument("--duplicate_distance", type=_bits, default=6, metavar="N",
                     help="leave out near-duplicates, such as frames of a car that waits at a traffic light: those "
                     "whose perceptual hash differs in at most N of 256 bits from an earlier picture's; 0 leaves out "
                     "none")
    group = sub.add_argument_group("two videos")
    group.add_argument("--names", type=_names, default=None, metavar="ONE,OTHER",
                       help="names of the domains, in the order of the videos (default: the files' names, or for "
                       "further recordings those of the data set)")
    group.add_argument("--test_share", type=_less_than_half, default=None, metavar="X",
                       help="share of each recording's time that becomes test pictures, from 0 to below 0.5: in up to "
                       "three stretches, spread over the recording (default: 0.1)")
    group.add_argument("--gap", type=_seconds, default=None, metavar="TIME",
                       help="time before and after each test stretch whose frames are left out, because they are "
                       "almost test pictures (default: 5)")

    sub = add("holdout", holdout, "move some training pictures into the test split of a folder that has none")
    sub.add_argument("dataset", metavar="DATA", help="folder of the data set, as for --dataset")
    sub.add_argument("--every", type=positive, default=10, metavar="N", help="one picture of N of each domain")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--together", action="store_true", default=None,
                       help="the last ones by name, for frames of a video, instead of every Nth")
    which.add_argument("--spread", dest="together", action="store_false", default=None,
                       help="every Nth, though pictures resemble their neighbours")

    sub = add("streets", write_streets, "write the built-in day/night scenes as folders, with labels and truth")
    sub.add_argument("--spec", default="streets", metavar="SPEC",
                     help="as for --dataset, e.g. streets:count=400,size=256,seed=1,pedestrian_b=0, or "
                     "streets:a=labels,b=day")
    sub.add_argument("--output", required=True, type=file_path, metavar="DIR", help="folder to write, empty or new")

    sub = add("phantoms", write_phantoms, "write the built-in MR/CT slices as folders of 16-bit TIFF files, with truth")
    sub.add_argument("--spec", default="phantoms", metavar="SPEC",
                     help="as for --dataset, e.g. phantoms:count=400,test_count=40,size=128,seed=1")
    sub.add_argument("--output", required=True, type=file_path, metavar="DIR", help="folder to write, empty or new")


def _seconds(text: str) -> float:
    """Return 90, 1:30 or 0:01:30.5 in seconds."""
    if not re.fullmatch(r"([0-9]+:){0,2}[0-9]+(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a time: give seconds, or minutes:seconds")
    return sum(float(part) * 60**power for power, part in enumerate(reversed(text.split(":"))))


def _bits(text: str) -> int:
    """Return a distance of perceptual hashes."""
    if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) > 64:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number of bits from 0 to 64")
    return int(text)


def _less_than_half(text: str) -> float:
    """Return a share that leaves more for training than for tests."""
    if (value := share(text)) >= 0.5:
        raise argparse.ArgumentTypeError(f"{text} leaves too little for training: give a share below 0.5")
    return value


def _names(text: str) -> list[str]:
    """Return two names of folders."""
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} isn't two names: give them as game,real")
    return names


def frames(args: argparse.Namespace) -> int:
    """Write frames of a video as pictures, or a data set of two."""
    if args.end is not None and args.end <= args.start:
        raise ConfigError("--end is not after --start: choose other times")
    if len(args.videos) > 2:
        raise ConfigError(
            "{count} videos: give one, or two for a data set, and add further ones with the same --output",
            count=len(args.videos),
        )  # fmt: skip
    if len(args.videos) == 2:
        return _data_set(args)
    for flag in ("names", "test_share", "gap"):
        if getattr(args, flag) is not None:
            raise ConfigError("--{flag} is for two videos: name the other domain's, too, or leave it out", flag=flag)
    return _one_folder(args)


def _one_folder(args: argparse.Namespace) -> int:
    """Write frames of a video into a folder."""
    from cyclegan.translation.video_frames import write_frames
    from cyclegan.translation.video_io import Video

    video = Video(args.videos[0])
    with _progress([video], args) as step:
        done = write_frames(video, args.output, progress=step, **_options(args))
    _say_damaged([video])
    root, other = args.output.parent, {"traina": "trainB", "trainb": "trainA"}.get(args.output.name.lower())
    train = f"python train_accelerate.py --dataset {shlex.quote(str(root))}"
    if other is None:
        step = "use the folder as trainA or trainB of a data set"
    else:
        step = train if any((root / other).glob("*")) else f"fill {root / other}, then {train}"
    (width, height), left_out = done.size, ""
    if done.alike:
        left_out = f", {number_of(done.alike, 'near-duplicate')} left out"
    print(f"{number_of(done.pictures, 'picture')} of {width}×{height} written to {args.output}{left_out}; next: {step}")
    return 0


def _data_set(args: argparse.Namespace) -> int:
    """Write a data set of two recordings."""
    from cyclegan.images import list_images
    from cyclegan.translation.contact_sheet import clock
    from cyclegan.translation.recordings import domains_in, write_recordings
    from cyclegan.translation.time_split import Split
    from cyclegan.translation.video_io import Video

    videos, root = [Video(path) for path in args.videos], args.output
    if fingerprint(args.videos[0]) == fingerprint(args.videos[1]):
        raise ConfigError(
            "{first} and {second} are the same video: give one of each domain",
            first=args.videos[0], second=args.videos[1],
        )  # fmt: skip
    names = _domain_names(args)
    chosen = {"share": args.test_share, "gap": args.gap}
    split = Split(**{name: value for name, value in chosen.items() if value is not None})
    with _progress(videos, args) as step:
        done = write_recordings(videos, root, names, split=split, progress=step, **_options(args))
    _say_damaged(videos)
    for one in done:
        width, height = one.size
        print(f"{shown(one.name)}: {number_of(one.train, 'picture')} for training and {one.test:,} for testing, "
              f"{width}×{height}, from {shown(str(one.video))}")  # fmt: skip
        if one.stretches:
            times = ", ".join(f"{clock(begin)} to {clock(end)}" for begin, end in one.stretches)
            print(f"  test: {split.share:.0%} of the time, {times}; {number_of(one.in_gaps, 'frame')} left out in the "
                  f"gaps of {split.gap:g} s around")  # fmt: skip
        if args.duplicate_distance:
            print(f"  near-duplicates left out: {one.alike:,}")
        print(f"  contact sheet: {one.sheet}")
    # Those of earlier recordings count, too.
    if split.share and min(len(list_images(root / "test" / one.name)) for one in done) < FOR_SCORES:
        print(f"note: few test pictures: scores and studies want {FOR_SCORES} and more in each domain; longer "
              "recordings have more, and further ones add theirs", file=sys.stderr)  # fmt: skip
    name_a, name_b = domains_in(root)
    print(f"domain A is {shown(name_a)}, B is {shown(name_b)}")
    run = shlex.quote(f"runs/{root.resolve().name}")
    print(f"next: python train_accelerate.py --dataset {shlex.quote(str(root))} --output_dir {run} --resume auto")
    return 0


def _domain_names(args: argparse.Namespace) -> list[str]:
    """Return the names of the domains, which become folders.

    A data set that has recordings already knows them; further ones come in the order of the first.
    """
    from cyclegan.translation.recordings import recorded_domains

    names = args.names or [path.stem.lstrip(".") or "video" for path in args.videos]
    known = [] if args.names else recorded_domains(args.output)
    if known and set(known) != set(names):
        names = known
    for name in names:
        if name.startswith(".") or any(sign in name for sign in "/\\") or name == "__MACOSX":
            raise ConfigError(
                "{name!r} isn't a valid name of a domain, as it becomes a folder: choose another", name=name
            )
    if names[0].casefold() == names[1].casefold():
        raise ConfigError("both domains would be named {name}: give two names with --names game,real", name=names[0])
    return names


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options that one video and two share."""
    return {"every": args.every, "start": args.start, "end": args.end, "size": args.size, "limit": args.limit,
            "distance": args.duplicate_distance}  # fmt: skip


@contextlib.contextmanager
def _progress(videos: Sequence[Video], args: argparse.Namespace) -> Iterator[Callable[[], None]]:
    """Yield a function to be called after each frame: it moves a bar, and ends the work after Ctrl-C."""
    expected = [_expected_pictures(video, args) for video in videos]
    total = None if None in expected else sum(expected)
    with stopped_by_interrupt() as stopped, progress_bar(total=total, unit="frame") as bar:

        def step() -> None:
            bar.update()
            if stopped():
                raise Cancelled

        yield step


def _say_damaged(videos: Sequence[Video]) -> None:
    """Print a note if frames of videos could not be read."""
    if count := sum(video.skipped for video in videos):
        frames = english("1 damaged or missing frame was", f"{count:,} damaged or missing frames were", count)
        print(f"note: {frames} left out", file=sys.stderr)


def _expected_pictures(video: Video, args: argparse.Namespace) -> int | None:
    """Return about how many frames `frames` will look at, for its progress bar; None if the file doesn't say."""
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
    for part, each in moved.items():
        print(f"{number_of(each.count, 'picture')} moved from {part} to {each.folder}")
        if each.one_scene:
            print(f"note: those of {each.folder} show almost one scene, so scores and samples say little about others: "
                  "move a stretch with more in it by hand, or take more with a smaller --every", file=sys.stderr)
    print("note: runs that were trained before this know these pictures: train again before scoring them or building a "
          "study", file=sys.stderr)  # fmt: skip
    if min(each.count for each in moved.values()) < FOR_SCORES:
        print(f"note: enough for samples and curves; scores and studies want {FOR_SCORES} and more in each domain",
              file=sys.stderr)  # fmt: skip
    return 0


def write_streets(args: argparse.Namespace) -> int:
    """Write the built-in day and night scenes to disk."""
    from cyclegan.data.streets import StreetsSpec, write_streets

    return _write_drawn(StreetsSpec.parse(args.spec), write_streets, args.output)


def write_phantoms(args: argparse.Namespace) -> int:
    """Write the built-in MR and CT slices to disk."""
    from cyclegan.data.phantoms import PhantomsSpec, write_phantoms

    return _write_drawn(PhantomsSpec.parse(args.spec), write_phantoms, args.output)


def _write_drawn(spec: DrawnSpec, write: Callable[[DrawnSpec, Path], None], output: Path) -> int:
    write(spec, output)
    print(
        f"written to {output}; train on it with: python train_accelerate.py --dataset {output} "
        f"--output_dir runs/{spec.kind}"
    )
    return 0
