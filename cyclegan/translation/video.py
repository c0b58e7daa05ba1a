"""A video → its translation with the same times and sound, and on request with less flicker."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cyclegan.config import Direction
from cyclegan.errors import Cancelled, ImageError
from cyclegan.images import resize
from cyclegan.translation.smoothing import Smoother
from cyclegan.translation.split_screen import SplitScreen
from cyclegan.translation.translator import Translator, working_size
from cyclegan.translation.video_io import MAX_SIDE, Frame, Video, VideoWriter, refuse_values


@dataclass(frozen=True)
class VideoTranslation:
    """Facts about a translated video."""

    frames: int
    """Frames translated and written."""
    seconds: float
    """Seconds from the recording's start to the end of the last frame."""
    size: tuple[int, int]
    """Width and height of the written frames."""
    skipped: int
    """Damaged or missing frames; the frame before each is shown for longer."""
    flicker_before: float | None
    """Mean change of the networks' results between consecutive frames where the input is still, in grey levels
    (0 to 255); None if nothing was ever still."""
    flicker_after: float | None
    """The same of the written frames."""
    sound: str | None
    """"copied", "re-encoded", "left out", or None: there is none."""


def translate_video(
    translator: Translator, source: str | os.PathLike | Video, target: str | os.PathLike, direction: Direction, *,
    size: int | None = None, scale_back: bool = True, smoothing: float = 0.0, batch_size: int | None = None,
    side_by_side: str | os.PathLike | None = None, progress: Callable[[int, int | None], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> VideoTranslation:
    """Translate a video into an mp4 with its frames' times, its duration and its sound.

    The file is written whole or not at all.

    Args:
        translator: the checkpoint.
        source: the video's path, or the opened `Video`.
        target: the file to write, .mp4; one that exists is replaced at the end.
        direction: the direction of the translation.
        size: work at this length of the shorter side; None works at the video's own size.
        scale_back: write at the video's own size, whatever the working size; else at the working size. Either way an
            odd side gets one pixel more (`VideoWriter`).
        smoothing: 0 to 1, the weight of the frame before where the input is still (`Smoother`).
        batch_size: frames that go through the network together; None chooses by size and device.
        side_by_side: another file to write, .mp4: the input at the left, the result at the right.
        progress: called with (frames done, all frames or None if the file doesn't say) before the first frame and
            after each batch.
        cancelled: asked after each of these calls; true ends with `Cancelled`.

    Raises:
        ImageError: the source can't be read, the target can't be written, or a frame needs more memory than there is.
        Cancelled: `cancelled` returned true.
        CheckpointError: the checkpoint lacks this direction.
    """
    video = source if isinstance(source, Video) else Video(source)
    steps = translate_video_in_steps(
        translator, video, target, direction, size=size, scale_back=scale_back, smoothing=smoothing,
        batch_size=batch_size, side_by_side=side_by_side,
    )  # fmt: skip
    with contextlib.closing(steps):
        while True:
            try:
                done, total = next(steps)
            except StopIteration as end:
                return end.value
            if progress is not None:
                progress(done, total)
            if cancelled is not None and cancelled():
                raise Cancelled(f"{video.name} was cancelled: nothing was written")


def translate_video_in_steps(
    translator: Translator, video: Video, target: str | os.PathLike, direction: Direction, *,
    size: int | None = None, scale_back: bool = True, smoothing: float = 0.0, batch_size: int | None = None,
    side_by_side: str | os.PathLike | None = None,
) -> Generator[tuple[int, int | None], None, VideoTranslation]:
    """Translate a video as `translate_video` does, with a pause after each batch.

    Yields:
        (frames done, all frames or None if the file doesn't say), before the first frame and after each batch.
        Closed before its end, the generator leaves nothing behind.

    Returns:
        Facts about the translated video.

    Raises:
        As `translate_video`.
    """
    refuse_values(translator.checkpoint.config.data)
    paths = [Path(path).resolve() for path in (target, side_by_side) if path is not None]
    if video.path.resolve() in paths:
        raise ImageError("{video} would be overwritten by its own translation: choose another name", video=video.name)
    info, checkpoint = video.info, translator.checkpoint.info
    own = info.width, info.height
    worked = working_size(own, size)
    written, then = (own, size) if scale_back else (worked, None)
    # By the requested size, because nobody who chooses one wants the largest that `working_size` allows.
    wanted = own if scale_back or size is None else tuple(round(side * size / min(own)) for side in own)
    if max(wanted) > MAX_SIDE:
        raise ImageError(
            "{video} would become {width}×{height}, and H.264 ends at {most}: choose a smaller size",
            video=video.name, width=wanted[0], height=wanted[1], most=MAX_SIDE,
        )
    smoother, done, end = Smoother(smoothing), 0, 0.0
    batch_size = batch_size or translator.batch_size(worked)
    comment = f"cyclegan: epoch {checkpoint.epoch}, direction {direction}, commit_sha {checkpoint.commit_sha}"
    options = {"rate": info.rate, "time_base": info.time_base, "sound_from": video, "comment": comment}
    with contextlib.ExitStack() as stack:
        writer, both = stack.enter_context(VideoWriter(target, written, **options)), None
        if side_by_side is not None:
            screen = SplitScreen(_labels(translator, direction), written)
            both = stack.enter_context(VideoWriter(side_by_side, screen.size, **options))
        yield 0, info.expected_frames
        for batch in _batches(video.frames(), batch_size):
            shown = [resize(frame.image, written) for frame in batch]
            translated = translator.translate_batch(shown, direction, then)
            for frame, image, result in zip(batch, shown, translated, strict=True):
                smooth = smoother.smooth(image, result)
                writer.write(smooth, frame.time, frame.duration)
                if both is not None:
                    both.write(screen.compose([image, smooth]), frame.time, frame.duration)
                end = float(frame.time + frame.duration)
            done += len(batch)
            yield done, None if info.expected_frames is None else max(done, info.expected_frames)
    return VideoTranslation(
        done, end, writer.written_size, video.skipped, smoother.flicker_before, smoother.flicker_after, writer.sound
    )  # fmt: skip


def _labels(translator: Translator, direction: Direction) -> list[str]:
    """Return the captions of an input and its translation: `day`, `night, epoch 4`."""
    data = translator.checkpoint.config.data
    given, made = (data.domain_a, data.domain_b)[:: 1 if direction == "ab" else -1]
    return [given, f"{made}, epoch {translator.checkpoint.info.epoch}"]


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    frames = iter(frames)
    while batch := list(islice(frames, size)):
        yield batch
