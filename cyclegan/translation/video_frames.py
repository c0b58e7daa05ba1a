"""Frames of a video as pictures in a folder, without near-duplicates."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cyclegan.errors import ImageError
from cyclegan.files import MAX_NAME_BYTES, shortened, whole_file
from cyclegan.images import resize
from cyclegan.translation.video_io import Video

DISTANCE = 6
"""Bits of 256 in which near-duplicates differ at most. In nine of ten of CamVid's street scenes, sensor noise and JPEG
change at most 5 bits; a step of 2% into the picture changes 12 and more, or 6 where a cabin fills half of it."""


@dataclass(frozen=True)
class Candidate:
    """A frame that may become a picture."""

    time: float
    """Seconds since the recording's start."""
    name: str
    """The file's name: the video's, and the time in milliseconds."""
    image: Image.Image
    """RGB, of the requested size."""
    alike: bool
    """True for a near-duplicate of an earlier frame."""


@dataclass(frozen=True)
class FramesWritten:
    """Facts about the pictures of a video."""

    pictures: int
    alike: int
    """Near-duplicates that were left out."""
    size: tuple[int, int]
    """Width and height of the pictures."""


class Duplicates:
    """The near-duplicates among a recording's frames, such as those of a car that waits at a traffic light.

    Frames are compared by ImageHash's perceptual hash of 16 × 16 bits: the signs of the lowest frequencies of the grey
    picture against their median.

    Args:
        distance: bits of 256 in which near-duplicates differ at most; 0 looks for none.

    Raises:
        ImageError: the package ImageHash is missing.
    """

    def __init__(self, distance: int) -> None:
        self.distance = distance
        self._kept, self._count = np.empty((64, 256), bool), 0
        if distance:
            try:
                import imagehash
            except ImportError as error:
                raise ImageError(
                    "leaving out near-duplicates needs a package: pip install imagehash, or keep them with "
                    "--duplicate_distance 0"
                ) from error
            self._hash = imagehash.phash

    def found(self, image: Image.Image) -> bool:
        """Return whether a picture is a near-duplicate of one that wasn't; else remember it."""
        if not self.distance:
            return False
        bits = self._hash(image, hash_size=16).hash.ravel()
        if (np.count_nonzero(self._kept[: self._count] != bits, axis=1) <= self.distance).any():
            return True
        if self._count == len(self._kept):
            self._kept = np.concatenate([self._kept, np.empty_like(self._kept)])
        self._kept[self._count] = bits
        self._count += 1
        return False


def candidates(
    video: Video, *, every: int = 1, start: float = 0.0, end: float | None = None, size: int | None = None,
    limit: int | None = None, distance: int = 0,
) -> Iterator[Candidate]:
    """Yield frames that may become pictures, near-duplicates included.

    Args:
        video: the source of the frames.
        every, start, end: as for `Video.frames`.
        size: pixels of the shorter side; smaller frames are not enlarged. None keeps the size.
        limit: the most frames that aren't near-duplicates.
        distance: see `Duplicates`.

    Raises:
        ImageError: there are no frames, or the package ImageHash is missing.
    """
    stem, wanted, duplicates = frame_stem(video), picture_size(video, size), Duplicates(distance)
    last, count = -1, 0
    for frame in video.frames(start=start, end=end, every=every):
        last = max(last + 1, round(frame.time * 1000))
        image = resize(frame.image, wanted)
        alike = duplicates.found(image)
        yield Candidate(float(frame.time), f"{stem}_{last:09d}.jpg", image, alike)
        count += not alike
        if count == limit:
            return
    if last >= 0:
        return
    if video.info.duration is None:
        raise ImageError(
            "there are no frames between --start and --end in {video}: choose other times", video=video.name
        )
    raise ImageError(
        "there are no frames between --start and --end in {video}, which is {duration:.1f} seconds long: choose "
        "other times",
        video=video.name, duration=video.info.duration,
    )


def frame_stem(video: Video) -> str:
    """Return the beginning of the names of a video's pictures."""
    # A leading dot would hide the pictures from listings.
    return shortened(video.path.stem.lstrip(".") or "video", MAX_NAME_BYTES - len("_000000000.jpg"))


def picture_size(video: Video, size: int | None) -> tuple[int, int]:
    """Return width and height of a video's pictures whose shorter side has at most `size` pixels."""
    width, height = video.info.width, video.info.height
    scale = 1.0 if size is None else min(1.0, size / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def refuse_known(video: Video, folder: Path) -> None:
    """Raise ImageError if a folder holds pictures of a video of this name."""
    stem = frame_stem(video)
    ours = re.compile(rf"{re.escape(stem)}_[0-9]{{9,}}\.jpg", re.IGNORECASE)
    if folder.is_dir() and any(ours.fullmatch(path.name) for path in folder.iterdir()):
        raise ImageError(
            "{folder} holds pictures of a video named {stem} already: remove them, rename the video, or choose "
            "another folder",
            folder=folder, stem=stem,
        )


def save_frame(image: Image.Image, path: Path) -> None:
    """Write a frame whole. Raises OSError.

    JPEG at quality 95 with full colour resolution loses far less than the video's own compression did, and PNG would
    take several times the space.
    """
    with whole_file(path, durable=False) as part:
        image.save(part, format="JPEG", quality=95, subsampling=0)


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn the system's errors while pictures are written into one sentence."""
    try:
        yield
    except OSError as error:
        raise ImageError(
            "{folder} can't be written ({reason}): free space or choose another folder", folder=folder, reason=error
        ) from error


def write_frames(
    video: Video, folder: str | os.PathLike, *, every: int = 1, start: float = 0.0, end: float | None = None,
    size: int | None = None, limit: int | None = None, distance: int = 0, progress: Callable[[], None] | None = None,
) -> FramesWritten:
    """Write frames as pictures, for example into a training folder.

        trainA/drive_000000000.jpg  drive_000000240.jpg …       the video's name and the frame's time in milliseconds

    The folder may hold other pictures, for example of other videos, but none of a video of this name, so that nothing
    is overwritten and two recordings are never mixed up.

    Args:
        video, every, start, end, size, limit, distance: see `candidates`.
        folder: made if it is missing.
        progress: called after each frame.

    Raises:
        ImageError: there is nothing to write, pictures of this name exist, or the folder can't be written.
    """
    folder, written, alike = Path(folder), 0, 0
    with explained(folder):
        refuse_known(video, folder)
        options = {"every": every, "start": start, "end": end, "size": size, "limit": limit, "distance": distance}
        for frame in candidates(video, **options):
            if frame.alike:
                alike += 1
            else:
                save_frame(frame.image, folder / frame.name)
                written += 1
            if progress is not None:
                progress()
    return FramesWritten(written, alike, picture_size(video, size))
