"""A video → the same video translated: same times, same sound, with less flicker if wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter

from cyclegan.config import Direction
from cyclegan.data.video import Frame, Video, VideoCancelled, VideoError, VideoWriter
from cyclegan.translator import Translator, working_size

# The share of the frame before that `smoothing=1` keeps where nothing moves: an average over about ten frames. All
# of it would never forget, so that daylight could not fade.
MOST_KEPT = 0.9
# Grey levels: where the input changes by this much, its share has fallen to a third.
MOTION = 6.0
# Grey levels: a pixel whose input changes by less counts as still when flicker is measured.
STILL = 3
# Pixels of a batch: beyond, bigger batches bring no speed, and on a CPU they only take memory.
BATCH_PIXELS = {"cpu": 2**18, "other": 2**21}


@dataclass(frozen=True)
class VideoTranslation:
    """What became of a video."""

    frames: int
    """Translated and written."""
    seconds: float
    """From the recording's start to the end of the last frame."""
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
    size: int | None = None, smoothing: float = 0.0, batch_size: int | None = None,
    progress: Callable[[int, int | None], None] | None = None, cancelled: Callable[[], bool] | None = None,
) -> VideoTranslation:
    """Translate a video into an mp4 with its size, its frames' times, its duration and its sound.

    As everywhere in this program the result has the input's size, whatever size the networks work at; an odd side
    gets one pixel more (`VideoWriter`). The file is there whole at the end, or not at all.

    Args:
        translator: the checkpoint.
        source: the video's path, or the opened `Video`.
        target: the file to write, .mp4; one that exists is replaced at the end.
        direction: which way.
        size: work at this length of the shorter side and scale the result back; None: at the video's own size.
        smoothing: 0 to 1; how strongly a frame leans on the one before where the input stands still (`Smoother`).
        batch_size: frames that go through the network together; None chooses by size and device.
        progress: called with (frames done, frames in all or None if the file doesn't say) before the first frame
            and after each batch.
        cancelled: asked before each batch; True ends with VideoCancelled.

    Raises:
        VideoError: the source can't be read or the target can't be written.
        VideoCancelled: `cancelled` said so.
        CheckpointError: the checkpoint lacks this direction.
        ImageError: a frame needs more memory than there is.
    """
    video = source if isinstance(source, Video) else Video(source)
    if Path(target).resolve() == video.path.resolve():
        raise VideoError(f"{video.name} would be overwritten by its own translation: choose another name")
    info, checkpoint = video.info, translator.checkpoint.info
    smoother, done, end = Smoother(smoothing), 0, 0.0
    batch_size = batch_size or _batch_size(translator, working_size((info.width, info.height), size))
    comment = f"cyclegan: epoch {checkpoint.epoch}, direction {direction}, commit_sha {checkpoint.commit_sha}"
    with VideoWriter(
        target, (info.width, info.height), rate=info.rate, time_base=info.time_base, sound_from=video, comment=comment
    ) as writer:
        if progress is not None:
            progress(0, info.expected_frames)
        for batch in _batches(video.frames(), batch_size):
            if cancelled is not None and cancelled():
                raise VideoCancelled(f"{video.name} was cancelled: nothing was written")
            shown = [frame.image for frame in batch]
            try:
                translated = translator.translate_batch(shown, direction, size)
            except torch.OutOfMemoryError as error:
                raise VideoError(
                    f"{len(batch)} frames of {video.name} don't fit on the device: choose a smaller --size"
                ) from error
            for frame, result in zip(batch, translated, strict=True):
                writer.write(smoother.smooth(frame.image, result), frame.time, frame.duration)
                end = float(frame.time + frame.duration)
            done += len(batch)
            if progress is not None:
                progress(done, None if info.expected_frames is None else max(done, info.expected_frames))
    return VideoTranslation(
        done, end, video.skipped, smoother.flicker_before, smoother.flicker_after, writer.sound
    )  # fmt: skip


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    frames = iter(frames)
    while batch := list(islice(frames, size)):
        yield batch


def _batch_size(translator: Translator, worked: tuple[int, int]) -> int:
    pixels = BATCH_PIXELS["cpu" if translator.device.type == "cpu" else "other"]
    return max(1, min(32, pixels // (worked[0] * worked[1])))


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
            raise VideoError(f"a smoothing of {strength:g} is not between 0 and 1")
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
