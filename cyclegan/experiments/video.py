"""The same frames under all rows of an experiment, as one video."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DataConfig, Direction
from cyclegan.data import find_data
from cyclegan.errors import ConfigError
from cyclegan.evaluation.scores.sets import evenly
from cyclegan.experiments.plan import Plan
from cyclegan.images import resize
from cyclegan.translation.split_screen import MOST_TILES, write_split_screen
from cyclegan.translation.translator import Translator, working_size
from cyclegan.translation.video_io import Frame, Video

SIZES = (208, 384)
"""Pixels of the shorter side at which the rows translate, as in the GTA experiment."""
MOST_SECONDS, RATE = 10.0, 15
"""The seconds of a recording that are shown, and about how many frames of each: every row translates all of them."""
PICTURES, SHOWN_S = 40, Fraction(1, 2)
"""Without a recording, the test pictures, and the seconds for which each is shown."""


def write_videos(
    plan: Plan, video: Path | None, way: Direction = "ab", *, device: str | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[Path]:
    """Write DIR/video-208.mp4 and DIR/video-384.mp4: the input, and its translation by each row's first seed.

    Args:
        video: a recording of the inputs' domain; None shows test pictures.
        way: the direction; rows without it, and those that aren't trained, are left out.
        device: where to translate; None chooses.
        progress: called with the number of frames that are translated, and of all.

    Raises:
        UserError: the recording can't be read, or no row can translate.
    """
    rows = {
        training.row.name: training for training in plan.trainings()
        if training.seed == plan.seeds[0] and way in training.directions and training.epoch is not None
    }  # fmt: skip
    if not rows:
        raise ConfigError("{folder} has no row yet that translates {way}: train it first", folder=plan.output, way=way)
    rows = dict(list(rows.items())[: MOST_TILES - 1])
    translators = {
        name: Translator(LocalSource(training.folder).load(training.epoch, (way,)), device)
        for name, training in rows.items()
    }  # fmt: skip
    written, done = [], itertools.count(1)
    for size in SIZES:
        frames, total = _of_video(Video(video), size) if video else _of_tests(plan, way, size)
        first, *others = itertools.tee(frames, 1 + len(rows))

        def shown(part: Iterator[Frame], translator: Translator) -> Iterator[Frame]:
            for frame in part:
                yield Frame(translator.translate(frame.image, way).fake, frame.time, frame.duration)

        def counted(part: Iterator[Frame], total: int = total) -> Iterator[Frame]:
            for frame in part:
                if progress:
                    progress(next(done), total * len(SIZES))
                yield frame

        streams = {"input": counted(first)}
        streams |= {name: shown(part, each) for part, (name, each) in zip(others, translators.items(), strict=True)}
        target = plan.output / f"video-{size}.mp4"
        write_split_screen(target, streams, rate=Fraction(RATE) if video else 1 / SHOWN_S)
        written.append(target)
    return written


def _of_video(video: Video, size: int) -> tuple[Iterator[Frame], int]:
    every = max(1, round(video.info.rate / RATE))

    def frames() -> Iterator[Frame]:
        for frame in video.frames(end=MOST_SECONDS, every=every):
            yield Frame(resize(frame.image, working_size(frame.image.size, size)), frame.time, frame.duration)

    seconds = min(MOST_SECONDS, video.info.duration or MOST_SECONDS)
    return frames(), max(1, round(seconds * video.info.rate / every))


def _of_tests(plan: Plan, way: Direction, size: int) -> tuple[Iterator[Frame], int]:
    splits = find_data(DataConfig(dataset=plan.dataset))
    domain = getattr(splits, f"test_{way[0]}") or getattr(splits, f"train_{way[0]}")
    chosen = evenly(min(PICTURES, len(domain)), len(domain))
    side = working_size(domain.probe(chosen[0]), size)

    def frames() -> Iterator[Frame]:
        for number, index in enumerate(chosen):
            yield Frame(resize(domain.load(index), side), number * SHOWN_S, SHOWN_S)

    return frames(), len(chosen)
