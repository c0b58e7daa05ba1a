"""Frames of a video as pictures in a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from cyclegan.errors import ImageError
from cyclegan.files import MAX_NAME_BYTES, shortened, whole_file
from cyclegan.images import resize
from cyclegan.translation.video_io import Video


def write_frames(
    video: Video, folder: str | os.PathLike, *, every: int = 1, start: float = 0.0, end: float | None = None,
    size: int | None = None, limit: int | None = None, progress: Callable[[], None] | None = None,
) -> tuple[int, tuple[int, int]]:
    """Write frames as pictures, for example into a training folder.

        trainA/drive_000000000.jpg  drive_000000240.jpg …       the video's name and the frame's time in milliseconds

    JPEG at quality 95 with full colour resolution loses far less than the video's own compression did, and PNG would
    take several times the space. The folder may hold other pictures, for example of other videos, but none of a video
    of this name, so that nothing is overwritten and two recordings are never mixed up.

    Args:
        video: the source of the frames.
        folder: made if it is missing.
        every, start, end: as for `Video.frames`.
        size: pixels of the shorter side; smaller frames are not enlarged. None keeps the size.
        limit: the most pictures to write.
        progress: called after each picture.

    Returns:
        The number of pictures written, and their width and height.

    Raises:
        ImageError: there is nothing to write, pictures of this name exist, or the folder can't be written.
    """
    folder, written = Path(folder), 0
    # A leading dot would hide the pictures from listings.
    stem = shortened(video.path.stem.lstrip(".") or "video", MAX_NAME_BYTES - len("_000000000.jpg"))
    width, height = video.info.width, video.info.height
    scale = 1.0 if size is None else min(1.0, size / min(width, height))
    wanted = max(1, round(width * scale)), max(1, round(height * scale))
    try:
        ours = re.compile(rf"{re.escape(stem)}_[0-9]{{9,}}\.jpg", re.IGNORECASE)
        if folder.is_dir() and any(ours.fullmatch(path.name) for path in folder.iterdir()):
            raise ImageError(
                "{folder} holds pictures of a video named {stem} already: remove them, rename the video, or choose "
                "another folder",
                folder=folder, stem=stem,
            )
        last = -1
        for frame in video.frames(start=start, end=end, every=every):
            last = max(last + 1, round(frame.time * 1000))
            with whole_file(folder / f"{stem}_{last:09d}.jpg", durable=False) as part:
                resize(frame.image, wanted).save(part, format="JPEG", quality=95, subsampling=0)
            written += 1
            if progress is not None:
                progress()
            if written == limit:
                break
    except OSError as error:
        raise ImageError(
            "{folder} can't be written ({reason}): free space or choose another folder",
            folder=folder, reason=error,
        ) from error
    if not written:
        if video.info.duration is None:
            raise ImageError(
                "there are no frames between --start and --end in {video}: choose other times", video=video.name
            )
        raise ImageError(
            "there are no frames between --start and --end in {video}, which is {duration:.1f} seconds long: choose "
            "other times",
            video=video.name, duration=video.info.duration,
        )
    return written, wanted
