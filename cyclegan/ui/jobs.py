"""Long jobs, for the page of videos and files: a video or many pictures translated, with progress and limits."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import itertools
import math
import os
import shutil
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.errors import ImageError
from cyclegan.images import open_image
from cyclegan.pixels import PictureFacts, notes_on, recorded_facts
from cyclegan.ui import inputs, runs, withheld, words
from cyclegan.ui.feedback import busy, nothing_translated, notices, page_error, raise_for_page
from cyclegan.ui.inputs import by
from cyclegan.ui.results import SERVED, Picture, address, file_name
from cyclegan.ui.workbench import Workbench
from cyclegan.values import RGB, Values

if TYPE_CHECKING:
    from cyclegan.translation.files import FilesTranslation, Found
    from cyclegan.translation.video import VideoTranslation
    from cyclegan.translation.video_io import Video

VIDEO_SIDE = 256
"""Most pixels of a video's shorter side, unless its visitor chooses: every frame takes time."""
MAX_SECONDS, MAX_FRAMES, MAX_PICTURES = 60, 1800, 200
"""Limits of one job on a computer that visitors share; its owner has none."""
MAX_JOB_S = 900
"""Seconds that one job may take there."""
MAX_RESULT_BYTES = 2 * 2**30
"""Most bytes in a zip that a visitor gets from such a computer."""
SHOW_EVERY_S = 0.5
"""Time between two reports of progress; gradio ends the job of a visitor who has left as often."""
LEFT_OUT_SAID = 3
"""So many left-out files are named in the sentence; the zip names them all."""
PAN_S, PAN_RATE, PAN_SIDE = 2, 12, 256
PREVIEWS, PREVIEW_SIDE = 12, 320

PLAYED = {".mp4", ".m4v", ".mov", ".webm"}
"""The kinds of video that a browser may play as they are."""
SIDE_BY_SIDE = "side_by_side.mp4"
"""The file next to a translated video that has the input and the result in one."""

Steps = Generator[Any, None, None]
"""Yields (done, total or None) now and then, and at last the result."""
Count = Callable[[int, "int | None", words.Speaker], str]
"""Returns the progress in words: (done, total or None, say)."""


def video_job(
    bench: Workbench, steps: Callable[..., Steps], payload: dict | None, direction: str | None, run: str | None,
    epoch: str | None, size: str, smoothing: float, say: words.Speaker,
) -> Iterator[list[Any]]:
    """Yield the note and the video while the job runs.

    Args:
        bench: has the networks.
        steps: `video_steps`, perhaps on a GPU that is lent.
        payload: the uploaded video.
        direction: None for the checkpoint's first.
        run: None for the first.
        epoch: None for the newest.
        size: the shorter side of the result, "original", or "auto": VIDEO_SIDE or twice the training size.
        smoothing: 0 to 1.
        say: the visitor's language.
    """
    if payload is None:
        yield [say("Choose a video."), None]
        return
    from cyclegan.translation.video_io import Video, refuse_values

    choice, smoothing = inputs.checked_size(size), _checked_smoothing(smoothing)
    (path,) = _paths([payload])
    info, way = _chosen(bench, run, epoch, direction)
    refuse_values(info.config.data)
    video = Video(path)
    if not bench.own:
        refuse_long(video)
        video.max_seconds = MAX_SECONDS  # A file may hold more than its header says.
    if not bench.ready.is_set():
        yield [busy(inputs.loading(say)), gr.skip()]
    own = video.info.width, video.info.height
    if choice == "auto":
        choice = min(VIDEO_SIDE, 2 * inputs.training_side(own, info.config.data))
    side, remarks = inputs.working_side(own, choice, info.config.data, bench.device_type(), say)
    scale_back = choice == "original"
    if remarks and not scale_back:
        remarks = [say("A larger size would take this computer too long.")]
    with _new_file(f"{file_name(f'{path.stem[:30]} as {runs.domains(info)[way[1]]} {info.tag}')}.mp4") as target:
        began = time.monotonic()
        options = {"direction": way, "size": side, "scale_back": scale_back, "smoothing": smoothing}
        options["side_by_side"] = both = target.with_name(f"{target.stem}_{SIDE_BY_SIDE}")
        made = steps(video, target, run, info.epoch, say, **options)
        limits = {} if bench.own else {"most": MAX_FRAMES, "most_s": MAX_JOB_S, "name": path.name}
        done = yield from _shown(made, [path], say, frames_said, **limits)
        SERVED.add(str(both))
        yield [" ".join([_video_said(done, info, smoothing, time.monotonic() - began, say), *remarks]), str(target)]


def files_job(
    bench: Workbench, steps: Callable[..., Steps], payloads: list | None, direction: str | None, run: str | None,
    epoch: str | None, size: str, say: words.Speaker,
) -> Iterator[list[Any]]:
    """Yield the note and the zip while the job runs; the arguments are as `video_job`'s."""
    if not payloads:
        yield [say("Choose pictures, or a zip of them."), None]
        return
    choice, paths = inputs.checked_size(size), _paths(payloads)
    info, way = _chosen(bench, run, epoch, direction)
    if not bench.ready.is_set():
        yield [busy(inputs.loading(say)), gr.skip()]
    from cyclegan.translation.files import find_pictures

    _refuse_many(bench, len(paths))
    found = find_pictures(paths)
    _refuse_many(bench, len(found.items))
    stem = paths[0].stem[:30] if len(paths) == 1 else "pictures"  # Without their number: some may be left out.
    with _new_file(f"{file_name(f'{stem} as {runs.domains(info)[way[1]]} {info.tag}')}.zip") as target:
        began = time.monotonic()
        max_bytes = None if bench.own else MAX_RESULT_BYTES
        options = {"direction": way, "choice": choice, "device": bench.device_type(), "max_bytes": max_bytes}
        limits = {} if bench.own else {"most_s": MAX_JOB_S, "name": paths[0].name}
        made = steps(found, target, run, info.epoch, say, **options)
        done = yield from _shown(made, paths, say, pictures_said, **limits)
        yield [_files_said(done, info, way, time.monotonic() - began, say), str(target)]


def video_steps(
    bench: Workbench, video: Video, target: Path, run: str | None, epoch: int, say: words.Speaker, **options: Any
) -> Steps:
    """Translate a video into `target`."""
    from cyclegan.translation.video import translate_video_in_steps

    with _errors_shown(say):
        translator, batch_size = _behind(bench, run, epoch)
        yield (yield from translate_video_in_steps(translator, video, target, batch_size=batch_size, **options))


def files_steps(
    bench: Workbench, found: Found, target: Path, run: str | None, epoch: int, say: words.Speaker, *,
    choice: str | int, device: str, **options: Any,
) -> Steps:
    """Translate many pictures into the zip `target`."""
    from cyclegan.translation.files import translate_files

    with _errors_shown(say):
        translator, batch_size = _behind(bench, run, epoch)
        data, limited = translator.checkpoint.config.data, []
        facts: list[PictureFacts] = []

        @contextlib.contextmanager
        def recorded() -> Iterator[None]:
            with recorded_facts() as seen:  # Of one picture, because each step may run in another thread.
                yield
            facts.extend(seen)

        def side(size: tuple[int, int]) -> int | None:
            worked, remarks = inputs.working_side(size, choice, data, device, say)
            limited.extend(remarks)
            return worked

        options |= {"batch_size": batch_size, "side": side, "around": recorded}
        done = yield from translate_files(translator, found, target, **options)
        yield dataclasses.replace(done, smaller=len(limited), notes=notes_on(facts))


def _behind(bench: Workbench, run: str | None, epoch: int) -> tuple[Any, int | None]:
    """Return a translator that lets people's pictures go first, and the size of a job's batches."""
    translator = bench.translator(run, epoch)
    # A CPU takes a second for one picture, and nobody should wait for several.
    batch_size = 1 if translator.device.type == "cpu" else None
    return (translator if bench.engine is None else bench.engine.behind(translator)), batch_size


@contextlib.contextmanager
def _errors_shown(say: words.Speaker) -> Iterator[None]:
    """Raise errors as gr.Error, because only that comes back as it was raised where a GPU is lent."""
    try:
        yield
    except Exception as error:
        raise page_error(error, say) from error


def cleared(job: Iterator[list[Any]], say: words.Speaker) -> Iterator[list[Any]]:
    """Yield a job's values, and empty ones before its error is raised."""
    try:
        yield from job
    except Exception as error:
        problem = page_error(error, say)
        yield [nothing_translated(problem, say), None]
        raise_for_page(problem, say)


def _shown(
    steps: Steps, sources: list[Path], say: words.Speaker, count: Count, *, most: int | None = None,
    most_s: float = math.inf, name: str = "",
) -> Generator[list[Any], None, Any]:
    """Yield the progress now and then; return the result. Raises ImageError beyond so many steps or seconds."""
    began, shown = None, 0.0
    with contextlib.closing(steps):
        for step in steps:
            if not isinstance(step, tuple):
                return step
            (done, total), now = step, time.monotonic()
            if most is not None and done > most:
                raise _too_long(name)
            began = began or now
            if now - began > most_s:
                raise ImageError(
                    "{name} took longer than {minutes} min, the limit on this shared computer: choose a smaller "
                    "size or send less at a time, or run python -m cyclegan translate on your own computer",
                    name=name, minutes=round(most_s / 60),
                )  # fmt: skip
            if now - shown >= SHOW_EVERY_S:
                shown = now
                for source in sources:  # Gradio removes what nobody has used for an hour.
                    with contextlib.suppress(OSError):
                        os.utime(source)
                yield [progress(done, total, now - began, say, count), gr.skip()]


@contextlib.contextmanager
def _new_file(name: str) -> Iterator[Path]:
    """Give a path in gradio's folder, as `served` does; after an error nothing is left there."""
    path = Path(get_upload_folder()) / uuid.uuid4().hex / name
    path.parent.mkdir(parents=True)
    try:
        yield path
        SERVED.add(str(path))
    except BaseException:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise


# --- input --------------------------------------------------------------------------------------------------


def _paths(payloads: list[dict]) -> list[Path]:
    """Return the uploaded files, each once. Raises ImageError if one isn't an uploaded file."""
    paths = [inputs.source_of(payload) for payload in payloads]
    if not all(isinstance(path, Path) and path.is_file() for path in paths):
        raise ImageError("This file didn't arrive: choose it again")
    return list(dict.fromkeys(paths))


def _chosen(bench: Workbench, run: str | None, epoch: str | None, direction: str | None) -> tuple[CheckpointInfo, str]:
    """Return the epoch and the direction. Raises CheckpointError."""
    info = bench.info(run, None if epoch is None else runs.epoch_number(epoch))
    return info, runs.checked_direction(direction, info)


def _checked_smoothing(value: Any) -> float:
    with contextlib.suppress(TypeError, ValueError):
        if 0 <= float(value) <= 1:
            return float(value)
    raise ImageError("{value!r} isn't a valid smoothing: give a number from 0 to 1", value=str(value)[:20])


def refuse_long(video: Video) -> None:
    """Raise ImageError for a video that is too long for a shared computer."""
    if (video.info.duration or 0) > MAX_SECONDS or (video.info.expected_frames or 0) > MAX_FRAMES:
        raise _too_long(video.name)


def _too_long(name: str) -> ImageError:
    return ImageError(
        "{name} is longer than {seconds} s or {frames:,} frames, the limit on this shared computer: shorten it, or run "
        "python -m cyclegan translate on your own computer", name=name, seconds=MAX_SECONDS, frames=MAX_FRAMES,
    )  # fmt: skip


def _refuse_many(bench: Workbench, count: int) -> None:
    if not bench.own and count > MAX_PICTURES:
        raise ImageError(
            "{count:,} pictures are more than the {most} that this shared computer takes at a time: send fewer, or run "
            "python -m cyclegan translate on your own computer", count=count, most=MAX_PICTURES,
        )  # fmt: skip


def examples(bench: Workbench, run: str) -> list[Path]:
    """Return a run's examples, at least one. Raises ImageError."""
    paths = withheld.examples(bench, run)
    if not paths:
        raise ImageError("This run has no example pictures: choose a file of your own")
    return paths


def previews(payload: Any, values: Values = RGB) -> list[tuple[Image.Image, str]]:
    """Return the first pictures of a zip that was made here, small, each with its name.

    Args:
        payload: the zip.
        values: of the domain of its pictures.
    """
    if not payload:
        return []
    from cyclegan.translation.files import find_pictures, open_pictures

    found = find_pictures([inputs.source_of(payload)])  # A request may name any uploaded zip.
    shown = []
    for item, image in open_pictures(found.items[:PREVIEWS], [], values=values):
        if image is not None:
            image = Picture(image, values).shown
            image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
            shown.append((image, PurePosixPath(item.target).stem))
    return shown


def played(payload: dict | None) -> Path | None:
    """Return the path of a visitor's video, None if browsers don't play its kind."""
    path = inputs.source_of(payload) if payload else None
    return path if isinstance(path, Path) and path.suffix.lower() in PLAYED else None


def compared(given: dict | None, made: dict | None) -> dict[str, str] | None:
    """Return the addresses of a visitor's video, its translation and both in one, for files.js; None without them."""
    path, result = played(given), played(made)
    if path is None or result is None or str(result) not in SERVED:  # A request may name any file.
        return None
    both = result.with_name(f"{result.stem}_{SIDE_BY_SIDE}")
    files = {"given": path, "made": result, "both": both}
    return {name: address(str(file)) for name, file in files.items() if file.is_file()}


def pan(picture: Path, target: Path) -> None:
    """Write a short video that glides over a picture, from one corner to the opposite one.

    Raises:
        ImageError: the picture can't be read.
    """
    from cyclegan.translation.video_io import VideoWriter

    image = open_image(picture)
    window = [side * 3 / 4 for side in image.size]
    scale = min(1, PAN_SIDE / min(window))
    size = tuple(max(2, round(side * scale / 2) * 2) for side in window)
    count = PAN_S * PAN_RATE
    with VideoWriter(target, size, rate=Fraction(PAN_RATE)) as writer:
        for index in range(count):
            way = (1 - math.cos(math.pi * index / (count - 1))) / 2
            left, top = ((whole - seen) * way for whole, seen in zip(image.size, window, strict=True))
            frame = image.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + window[0], top + window[1]))
            writer.write(frame, Fraction(index, PAN_RATE), Fraction(1, PAN_RATE))


# --- texts --------------------------------------------------------------------------------------------------


def lead(bench: Workbench, run: str, say: words.Speaker) -> str:
    """Return the HTML of the page's introduction, its limits, and what couldn't be shown of the run."""
    said = say(
        "A video is translated frame by frame and keeps its frame rate, its length and its sound. Many pictures, as "
        "files or in a zip, come back as a zip."
    )
    if not bench.own:
        said += " " + say(
            "Visitors share this computer: a video may last {seconds} s and have {frames:,} frames, you can send "
            "{pictures} pictures at a time, and the work on them may take {minutes} min.", seconds=MAX_SECONDS,
            frames=MAX_FRAMES, pictures=MAX_PICTURES, minutes=MAX_JOB_S // 60,
        )  # fmt: skip
    return f"<p>{said}</p>{notices(bench.run(run).problems, say)}"


def frames_said(done: int, total: int | None, say: words.Speaker) -> str:
    """Return `Frame 3 of 20`."""
    if total is None:
        return say("Frame {done:,}", done=done)
    return say("Frame {done:,} of {total:,}", done=done, total=total)


def pictures_said(done: int, total: int | None, say: words.Speaker) -> str:
    """Return `Picture 3 of 20`."""
    return say("Picture {done:,} of {total:,}", done=done, total=total)


def progress(done: int, total: int | None, seconds: float, say: words.Speaker, count: Count) -> str:
    """Return the HTML of a job's progress, with the time left."""
    said, bar = count(done, total, say), "<progress></progress>"
    if total is not None:
        bar = f'<progress value="{done}" max="{max(1, total)}"></progress>'
        if done:
            said += f", {time_left(seconds / done * (total - done), say)}"
    # Not live, or screen readers would read out every step.
    return f'<span class="busy" aria-live="off">{html.escape(said)}</span>{bar}'


def time_left(seconds: float, say: words.Speaker) -> str:
    """Return `about 5 min left`."""
    if seconds < 90:
        return say("about {count} s left", count=math.ceil(seconds))
    if seconds < 90 * 60:
        return say("about {count} min left", count=math.ceil(seconds / 60))
    return say("about {count:.1f} h left", count=seconds / 3600)


def _video_said(
    done: VideoTranslation, info: CheckpointInfo, smoothing: float, seconds: float, say: words.Speaker
) -> str:
    if done.sound is None:
        sound = say("without sound")
    elif done.sound == "left out":
        sound = say("without its sound, whose format can't be read here")
    else:
        sound = say("with its sound")
    said = [say(
        "{n:,} frame, {length:.1f} s, {size} pixels, {sound}; translated with epoch {epoch} in {seconds:.1f} s.",
        "{n:,} frames, {length:.1f} s, {size} pixels, {sound}; translated with epoch {epoch} in {seconds:.1f} s.",
        done.frames, length=done.seconds, size=by(done.size), epoch=info.epoch, sound=sound, seconds=seconds,
    )]  # fmt: skip
    if done.skipped:
        said.append(say(
            "{n:,} damaged or missing frame was left out.", "{n:,} damaged or missing frames were left out.",
            done.skipped,
        ))
    before, after = done.flicker_before, done.flicker_after
    if before is None:
        said.append(say("Nothing stood still, so there is no flicker to measure."))
    elif smoothing:
        said.append(say(
            "Flicker where nothing moves: {before:.2f} grey levels from frame to frame, {after:.2f} after smoothing.",
            before=before, after=after,
        ))  # fmt: skip
    else:
        said.append(say(
            "Flicker where nothing moves: {before:.2f} grey levels from frame to frame; smoothing lowers it.",
            before=before,
        ))  # fmt: skip
    return " ".join(said)


def _files_said(done: FilesTranslation, info: CheckpointInfo, way: str, seconds: float, say: words.Speaker) -> str:
    said = say(
        "{done:,} of {n:,} file translated with epoch {epoch}, {arrow}, in {seconds:.1f} s.",
        "{done:,} of {n:,} files translated with epoch {epoch}, {arrow}, in {seconds:.1f} s.",
        done.done + len(done.left_out), done=done.done, epoch=info.epoch, arrow=runs.arrow(info, way), seconds=seconds,
    )  # fmt: skip
    if done.smaller:
        said += " " + say(
            "Worked at a smaller size and scaled back, because a larger one would take this computer too long: "
            "{count:,}.", count=done.smaller,
        )  # fmt: skip
    said = " ".join([said, *(say("About your pictures: {note}.", note=note) for note in done.notes)])
    if done.left_out:
        named = "; ".join(say.text_of(one) for one in itertools.islice(done.left_out, LEFT_OUT_SAID))
        more = len(done.left_out) - LEFT_OUT_SAID
        said += " " + (
            say("Left out: {named}; and {count:,} more, which left_out.txt in the zip names.", named=named, count=more)
            if more > 0 else say("Left out: {named}.", named=named)
        )  # fmt: skip
    return html.escape(said, quote=False)
