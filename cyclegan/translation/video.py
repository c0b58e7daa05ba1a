"""A video → the same video translated: same times, same sound, with less flicker if wanted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter

from cyclegan.config import Direction
from cyclegan.errors import Cancelled, ImageError
from cyclegan.translation.translator import Translator, working_size
from cyclegan.translation.video_io import MAX_SIDE, Frame, Video, VideoWriter

# The share of the frame before that `smoothing=1` keeps where nothing moves: an average over about ten frames. All
# of it would never forget, so that daylight could not fade.
MOST_KEPT = 0.9
# Grey levels: where the input changes by this much, its share has fallen to a third.
MOTION = 6.0
# Grey levels: a pixel whose input changes by less counts as still when flicker is measured.
STILL = 3


@dataclass(frozen=True)
class VideoTranslation:
    """What became of a video."""

    frames: int
    """Translated and written."""
    seconds: float
    """From the recording's start to the end of the last frame."""
    size: tuple[int, int]
    """Width and height of the written frames."""
    skipped: int
    """Damaged or missing frames; the one before each is shown for longer."""
    flicker_before: float | None
    """Mean change of the networks' results between consecutive frames where the input stands still, in grey levels
    (0 to 255); None if nothing ever stood still."""
    flicker_after: float | None
    """The same of the written frames."""
    sound: str | None
    """"copied", "re-encoded", "left out", or None: there is none."""


def translate_video(
    translator: Translator, source: str | os.PathLike | Video, target: str | os.PathLike, direction: Direction, *,
    size: int | None = None, scale_back: bool = True, smoothing: float = 0.0, batch_size: int | None = None,
    progress: Callable[[int, int | None], None] | None = None, cancelled: Callable[[], bool] | None = None,
) -> VideoTranslation:
    """Translate a video into an mp4 with its frames' times, its duration and its sound.

    The file is there whole at the end, or not at all.

    Args:
        translator: the checkpoint.
        source: the video's path, or the opened `Video`.
        target: the file to write, .mp4; one that exists is replaced at the end.
        direction: which way.
        size: work at this length of the shorter side; None: at the video's own size.
        scale_back: write at the video's own size, whatever size the networks work at; else at the size that they
            work at. Either way an odd side gets one pixel more (`VideoWriter`).
        smoothing: 0 to 1; how strongly a frame leans on the one before where the input stands still (`Smoother`).
        batch_size: frames that go through the network together; None chooses by size and device.
        progress: called with (frames done, frames in all or None if the file doesn't say) before the first frame
            and after each batch.
        cancelled: asked after each of these calls; True ends with Cancelled.

    Raises:
        ImageError: the source can't be read or the target can't be written.
        Cancelled: `cancelled` said so.
        CheckpointError: the checkpoint lacks this direction.
        ImageError: a frame needs more memory than there is.
    """
    video = source if isinstance(source, Video) else Video(source)
    steps = translate_video_in_steps(
        translator, video, target, direction, size=size, scale_back=scale_back, smoothing=smoothing,
        batch_size=batch_size,
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
) -> Generator[tuple[int, int | None], None, VideoTranslation]:
    """`translate_video` for those who go on with something else between two batches.

    Yields:
        (frames done, frames in all or None if the file doesn't say), before the first frame and after each batch.
        Closed before its end, the generator leaves nothing behind.

    Returns:
        What became of the video.

    Raises:
        As `translate_video`.
    """
    if Path(target).resolve() == video.path.resolve():
        raise ImageError("{video} would be overwritten by its own translation: choose another name", video=video.name)
    info, checkpoint = video.info, translator.checkpoint.info
    worked = working_size((info.width, info.height), size)
    written, then = ((info.width, info.height), size) if scale_back else (worked, None)
    if max(written) > MAX_SIDE:
        raise ImageError(
            "{video} would become {written}×{written_2}, and H.264 ends at {MAX_SIDE}: choose a smaller size",
            video=video.name, written=written[0], written_2=written[1], MAX_SIDE=MAX_SIDE,
        )
    smoother, done, end = Smoother(smoothing), 0, 0.0
    batch_size = batch_size or translator.batch_size(worked)
    comment = f"cyclegan: epoch {checkpoint.epoch}, direction {direction}, commit_sha {checkpoint.commit_sha}"
    with VideoWriter(
        target, written, rate=info.rate, time_base=info.time_base, sound_from=video, comment=comment
    ) as writer:
        yield 0, info.expected_frames
        for batch in _batches(video.frames(), batch_size):
            shown = [_resized(frame.image, written) for frame in batch]
            try:
                translated = translator.translate_batch(shown, direction, then)
            except torch.OutOfMemoryError as error:
                raise ImageError(
                    "{count} frames of {video} don't fit on the device: choose a smaller size",
                    count=len(batch), video=video.name,
                ) from error
            for frame, image, result in zip(batch, shown, translated, strict=True):
                writer.write(smoother.smooth(image, result), frame.time, frame.duration)
                end = float(frame.time + frame.duration)
            done += len(batch)
            yield done, None if info.expected_frames is None else max(done, info.expected_frames)
    return VideoTranslation(
        done, end, writer.written_size, video.skipped, smoother.flicker_before, smoother.flicker_after, writer.sound
    )  # fmt: skip


def _resized(image: Image.Image, wanted: tuple[int, int]) -> Image.Image:
    return image if image.size == wanted else image.resize(wanted, Image.Resampling.BICUBIC)


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    frames = iter(frames)
    while batch := list(islice(frames, size)):
        yield batch


class Smoother:
    """Takes flicker out of translated frames, and measures it before and after.

    Each pixel is a mixture of its translation and of the smoothed frame before; the latter's share is
    `strength` · 0.9 · exp(−(d / 6)²), where d is the largest change of the input near that pixel, in grey levels. So
    what stands still settles, what moves is the network's own, and a cut starts anew. The input decides, never the
    output: flicker itself looks like motion.

    Args:
        strength: 0 (leaves everything as it is) to 1.
    """

    def __init__(self, strength: float = 0.0) -> None:
        if not 0 <= strength <= 1:
            raise ImageError("a smoothing of {strength:g} is not between 0 and 1", strength=strength)
        change = np.arange(256, dtype=np.float32) / MOTION
        self._kept = strength * MOST_KEPT * np.exp(-(change**2))
        self._strength = strength
        self._mixed: np.ndarray | None = None
        self._before: tuple[Image.Image, Image.Image, Image.Image] | None = None  # input, translation, result
        self._counted = 0
        self._changes = [0.0, 0.0]

    @property
    def flicker_before(self) -> float | None:
        """Mean change of the translations where the input stood still, in grey levels; None: nothing stood still."""
        return self._changes[0] / self._counted if self._counted else None

    @property
    def flicker_after(self) -> float | None:
        """The same of what `smooth` returned."""
        return self._changes[1] / self._counted if self._counted else None

    def smooth(self, shown: Image.Image, translated: Image.Image) -> Image.Image:
        """The next frame's result.

        Args:
            shown: RGB, what the network was given.
            translated: RGB of the same size, what it made of that.

        Returns:
            RGB of that size; `translated` itself where strength is 0.
        """
        result = translated
        if self._before is None:
            self._mixed = np.asarray(translated, np.float32) if self._strength else None
        else:
            changed = _change(shown, self._before[0])
            if self._strength:
                # Blurred, or a camera's noise would count as motion; widened, since an edge that passes changes
                # what the network sees beside it too.
                near = changed.filter(ImageFilter.BoxBlur(1)).filter(ImageFilter.MaxFilter(3))
                kept = self._kept[np.asarray(near)][..., None]
                fresh = np.asarray(translated, np.float32)
                # In floats from frame to frame: rounded, a small difference would stay forever.
                self._mixed = fresh + kept * (self._mixed - fresh)
                result = Image.fromarray(np.rint(self._mixed).astype(np.uint8))
            still = np.asarray(changed) < STILL
            self._counted += int(still.sum())
            pairs = ((translated, self._before[1]), (result, self._before[2]))
            for which, (now, then) in enumerate(pairs):
                self._changes[which] += float(np.asarray(ImageChops.difference(now, then))[still].sum()) / 3
        self._before = shown, translated, result
        return result


def _change(one: Image.Image, other: Image.Image) -> Image.Image:
    """The largest absolute difference of the three channels, per pixel: a grey picture."""
    red, green, blue = ImageChops.difference(one, other).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)
