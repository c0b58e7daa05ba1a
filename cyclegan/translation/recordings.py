"""Two recordings → a data set, split by time into training and test pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cyclegan.errors import DataError, ImageError
from cyclegan.files import (
    MAX_NAME_BYTES,
    added_files,
    finish_adding,
    read_json,
    remove_leftovers,
    shortened,
    write_json,
)
from cyclegan.translation.contact_sheet import Thumbnails, write_sheet
from cyclegan.translation.time_split import Recording, Split
from cyclegan.translation.video_frames import (
    candidates,
    explained,
    frame_stem,
    picture_size,
    refuse_known,
    save_frame,
)
from cyclegan.translation.video_io import Video

SPLITS = ("train", "test")
RECORD = "recordings.json"
LEFTOVER_S = 3600.0
"""Hidden folders in which nothing was written for so long are leftovers of a killed process."""


def write_recordings(
    videos: Sequence[Video], root: str | os.PathLike, names: Sequence[str], *, split: Split | None = None,
    every: int = 1, start: float = 0.0, end: float | None = None, size: int | None = None, limit: int | None = None,
    distance: int = 0, progress: Callable[[], None] | None = None,
) -> list[Recording]:
    """Write a data set of recordings, one per domain, or add them to one that was written so.

        ROOT/
          train/game/drive_000000240.jpg …    the domain's name, the recording's name, the frame's time in milliseconds
          train/real/walk_000000000.jpg …
          test/game/…  test/real/…
          contact_game_drive.jpg …            what was taken: `write_sheet`
          recordings.json                     the domains, in the order of the recordings, which of them is A, and
                                              facts about each

    All of it appears at the end. After an exception, or if the process is killed, the data set is as it was, or the
    next call completes it (`added_files`).

    Args:
        videos: the recordings.
        root: the data set's folder.
        names: of the domains, in the order of the recordings.
        split: the way in which they are split by time.
        every, start, end, size, limit, distance: see `candidates`; they count for each recording.
        progress: called after each frame.

    Raises:
        DataError: the data set's record is damaged.
        ImageError: a recording is too short to split, or leaves a part without pictures; the data set has other
            domains, or pictures of such a recording already; the folder can't be written.
    """
    root, split = Path(root), split or Split()
    for video in videos:
        if video.info.duration is not None:
            split.stretches(start, min(end or video.info.duration, video.info.duration), video.name)
    with explained(root):
        if root.is_dir():
            finish_adding(root)
            remove_leftovers(root, older_than_s=LEFTOVER_S)
        _refuse_known(videos, root, names)
        with added_files(root) as part:

            def written() -> None:
                os.utime(part)  # So that no other process takes it for a leftover.
                if progress is not None:
                    progress()

            options = {"every": every, "start": start, "end": end, "size": size, "limit": limit, "distance": distance}
            done = [
                _write(video, part, name, split, written, options)
                for video, name in zip(videos, names, strict=True)
            ]  # fmt: skip
            _refuse_known(videos, root, names)  # Another process may have been faster.
            _record(root, part, names, split, done)
    return [Recording(**{**vars(one), "sheet": root / one.sheet.name}) for one in done]


def domains_in(root: Path) -> list[str]:
    """Return the names of the domains in a data set that `write_recordings` wrote, in the order of A and B."""
    folders = {path.name for split in SPLITS if (root / split).is_dir() for path in (root / split).iterdir()
               if path.is_dir() and not path.name.startswith(".")}  # fmt: skip
    first = _read_record(root).get("a")
    return sorted(folders, key=lambda name: (name != first, name))


def recorded_domains(root: Path) -> list[str]:
    """Return the domains of a data set of recordings in the order in which they were named first; none elsewhere.

    Raises:
        DataError: the record is damaged.
    """
    return _read_record(root)["domains"]


def _read_record(root: Path) -> dict[str, Any]:
    if not (root / RECORD).exists():
        return {"domains": [], "recordings": []}
    record = read_json(root / RECORD, error=DataError)
    domains, recordings = record.get("domains"), record.get("recordings")
    named = isinstance(domains, list) and all(isinstance(name, str) for name in domains)
    if not named or not isinstance(recordings, list):
        raise DataError("{file} is damaged: remove it, and name the domains with --names", file=root / RECORD)
    return record


def _record(root: Path, part: Path, names: Sequence[str], split: Split, done: Sequence[Recording]) -> None:
    """Write a data set's record with further recordings."""
    record = _read_record(root)
    facts = [
        {"domain": one.name, "video": one.video, "train": one.train, "test": one.test, "in_gaps": one.in_gaps,
         "near_duplicates": one.alike, "gap_s": split.gap,
         "test_stretches_s": [[round(time, 3) for time in stretch] for stretch in one.stretches]}
        for one in done
    ]  # fmt: skip
    domains = record["domains"] or list(names)
    # Where an older version has begun a data set, A is the first in the alphabet, and runs know it so.
    first = {"a": record.get("a", names[0])} if "a" in record or not record["domains"] else {}
    write_json(part / RECORD, {"domains": domains, **first, "recordings": record["recordings"] + facts})


def _refuse_known(videos: Sequence[Video], root: Path, names: Sequence[str]) -> None:
    """Raise ImageError if a data set has other domains, or pictures of a recording of this name."""
    if found := set(domains_in(root)) - set(names):
        known = ",".join(domains_in(root))
        raise ImageError(
            "{root} holds pictures of {found}: add recordings to its domains with --names {known}, in the order of the "
            "recordings, or choose another --output",
            root=root, found=", ".join(sorted(found)), known=known,
        )  # fmt: skip
    if any((root / folder).is_dir() for folder in ("trainA", "trainB")):
        raise ImageError("{root} holds a data set with trainA or trainB: choose another --output", root=root)
    for video, name in zip(videos, names, strict=True):
        for part in SPLITS:
            refuse_known(video, root / part / name)


def _write(
    video: Video, root: Path, name: str, split: Split, progress: Callable[[], None], options: dict
) -> Recording:
    """Write the pictures and the contact sheet of one recording."""
    frames, thumbnails = root / "frames", Thumbnails()
    taken: dict[str, float] = {}
    times: list[float] = []
    for frame in candidates(video, **options):
        thumbnails.add(frame.image, frame.time, frame.alike)
        times.append(frame.time)
        if not frame.alike:
            save_frame(frame.image, frames / frame.name)
            taken[frame.name] = frame.time
        progress()
    begin, end = times[0], times[-1] + float(options["every"] / video.info.rate)
    for known in (video.info.duration, options["end"]):
        end = end if known is None else max(times[-1], min(end, known))
    stretches = split.stretches(begin, end, video.name)
    counts = dict.fromkeys((*SPLITS, None), 0)
    for file, time in taken.items():
        part = split.part_of(time, stretches)
        counts[part] += 1
        if part is None:
            (frames / file).unlink()
        else:
            (root / part / name).mkdir(parents=True, exist_ok=True)
            os.rename(frames / file, root / part / name / file)
    frames.rmdir()
    for part in SPLITS if split.share else SPLITS[:1]:
        if not counts[part]:
            raise ImageError(
                "{video} leaves no picture for {part}: lower --every, keep near-duplicates with --duplicate_distance "
                "0, or use a longer recording",
                video=video.name, part=part,
            )  # fmt: skip
    stem = frame_stem(video)
    title = f"contact_{name}" if name == stem else f"contact_{name}_{stem}"
    sheet = root / f"{shortened(title, MAX_NAME_BYTES - len('.jpg'))}.jpg"
    done = Recording(name, video.name, counts["train"], counts["test"], counts[None], len(times) - len(taken),
                     picture_size(video, options["size"]), stretches, sheet)  # fmt: skip
    write_sheet(sheet, thumbnails, begin, end, split, done)
    return done
