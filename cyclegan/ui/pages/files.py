"""The page that translates a whole video, or many pictures at once."""

from __future__ import annotations

import contextlib
import html
import itertools
import math
import os
import shutil
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.errors import ImageError
from cyclegan.images import open_image
from cyclegan.ui import common, words
from cyclegan.ui.common import arrow, by, domains, told
from cyclegan.ui.results import SERVED, file_name, served
from cyclegan.ui.sentences import in_language
from cyclegan.ui.workbench import FILES, JOBS, Workbench, header, on_gpu

if TYPE_CHECKING:
    from cyclegan.translation.files import FilesTranslation, Found
    from cyclegan.translation.video import VideoTranslation
    from cyclegan.translation.video_io import Video

CSS = Path(__file__).with_name("files.css")

MAX_SECONDS, MAX_FRAMES, MAX_PICTURES = 60, 1800, 200
"""Of one job on a computer that visitors share; its owner has no limit."""
MAX_RESULT_BYTES = 2 * 2**30
"""Of a zip that a visitor gets from there."""
VIDEO_SIZES = ("196", "208", "256", "384")
SHOW_EVERY_S = 0.5
"""How often a job says how far it is. As often, gradio lets go of a job whose visitor has left."""
LEFT_OUT_SAID = 3
GPU_SECONDS = 180
"""For how long a job asks for a GPU, where one is lent."""
"""Files that are named in the sentence; the zip names them all."""
PAN_S, PAN_RATE, PAN_SIDE = 2, 12, 256
PREVIEWS, PREVIEW_SIDE = 12, 320

words.add({
    "files.lead": (
        "A video goes through a network frame by frame, and comes back with its frame rate, its length and its sound. "
        "Many pictures, as files or in a zip, come back as a zip.",
        "동영상은 한 프레임씩 신경망을 거쳐 원래의 프레임 속도, 길이, 소리 그대로 돌아옵니다. 여러 장의 사진은 파일로 "
        "올리든 zip으로 올리든 zip 하나로 돌아옵니다.",
    ),
    "files.limits": (
        "Visitors share this computer, so a video may last {seconds} s and {frames:,} frames, and {pictures} pictures "
        "may come at a time.",
        "여럿이 함께 쓰는 컴퓨터이므로 동영상은 {seconds}초, {frames:,}프레임까지, 사진은 한 번에 {pictures}장까지 "
        "받습니다.",
    ),
    "files.video_tab": ("Video", "동영상"),
    "files.files_tab": ("Pictures, zip", "사진·zip"),
    "files.video": ("Your video", "내 동영상"),
    "files.files": ("Your pictures, or a zip of them", "내 사진들, 또는 사진을 담은 zip"),
    "files.video_example": ("Try a pan over an example picture", "예시 사진을 훑는 영상으로 해 보기"),
    "files.files_example": ("Try the example pictures", "예시 사진들로 해 보기"),
    "files.translate_video": ("Translate the video", "동영상 변환"),
    "files.translate_files": ("Translate the pictures", "사진 변환"),
    "files.video_size": ("Size of the result", "결과 크기"),
    "files.video_size_info": (
        "Its shorter side in pixels, which the network sees too; or type another number.",
        "짧은 변의 픽셀 수이며, 신경망도 이 크기로 봅니다. 다른 수를 입력해도 됩니다.",
    ),
    "files.smoothing": ("Smoothing against flicker", "깜박임 줄이기"),
    "files.smoothing_info": (
        "How much a frame leans on the one before where nothing moves: 0 is not at all, 1 the most.",
        "움직임이 없는 곳에서 앞 프레임을 얼마나 따를지 정합니다. 0이면 전혀 따르지 않고, 1이면 가장 많이 따릅니다.",
    ),
    "files.result_video": ("Translated video", "변환한 동영상"),
    "files.result_zip": ("Translated pictures", "변환한 사진"),
    "files.choose": (
        "Choose a video or pictures, or try an example.", "동영상이나 사진을 고르거나 예시로 해 보세요."
    ),
    "files.choose_video": ("Choose a video.", "동영상을 고르세요."),
    "files.choose_files": ("Choose pictures, or a zip of them.", "사진이나 사진을 담은 zip을 고르세요."),
    "files.cancelled": ("Cancelled: nothing is kept.", "취소했습니다. 저장된 결과는 없습니다."),
    "files.frame": ("Frame {done:,} of {total:,}", "{total:,}프레임 중 {done:,}프레임"),
    "files.frame_alone": ("Frame {done:,}", "{done:,}프레임"),
    "files.picture": ("Picture {done:,} of {total:,}", "사진 {total:,}장 중 {done:,}장"),
    "files.seconds_left": ("about {count} s left", "약 {count}초 남음"),
    "files.minutes_left": ("about {count} min left", "약 {count}분 남음"),
    "files.hours_left": ("about {count:.1f} h left", "약 {count:.1f}시간 남음"),
    "files.video_done": (
        "{frames:,} frames, {length:.1f} s, {size} pixels, {sound}; translated with epoch {epoch} in {seconds:.1f} s.",
        "{frames:,}프레임, {length:.1f}초, {size} 픽셀, {sound}. 에폭 {epoch}, 걸린 시간 {seconds:.1f}초.",
    ),
    "files.sound_kept": ("with its sound", "소리 포함"),
    "files.sound_none": ("without sound", "소리 없음"),
    "files.sound_left_out": (
        "without its sound, which is of a kind that can't be read here", "소리는 읽을 수 없는 형식이라 빠짐"
    ),
    "files.skipped": (
        "{count:,} damaged or missing frames were left out.", "손상되거나 없는 {count:,}프레임은 뺐습니다."
    ),
    "files.flicker": (
        "Flicker where nothing moves: {before:.2f} grey levels from frame to frame, {after:.2f} after smoothing.",
        "움직임이 없는 곳의 깜박임: 프레임 사이 평균 {before:.2f} 계조, 줄인 뒤 {after:.2f} 계조.",
    ),
    "files.flicker_left": (
        "Flicker where nothing moves: {before:.2f} grey levels from frame to frame; smoothing lowers it.",
        "움직임이 없는 곳의 깜박임: 프레임 사이 평균 {before:.2f} 계조. ‘깜박임 줄이기’로 낮출 수 있습니다.",
    ),
    "files.no_flicker": (
        "Nothing ever stood still, so there is no flicker to measure.",
        "멈춰 있는 곳이 없어 깜박임을 재지 못했습니다.",
    ),
    "files.capped": (
        "A larger size would take this computer too long.", "더 큰 크기는 이 컴퓨터에서 너무 오래 걸립니다."
    ),
    "files.files_done": (
        "{done:,} of {total:,} files translated with epoch {epoch}, {arrow}, in {seconds:.1f} s.",
        "파일 {total:,}개 중 {done:,}개를 변환했습니다. 에폭 {epoch}, {arrow}, 걸린 시간 {seconds:.1f}초.",
    ),
    "files.left_out": ("Left out: {named}.", "제외한 파일: {named}."),
    "files.left_out_more": (
        "Left out: {named}; and {count:,} more, which left_out.txt in the zip names.",
        "제외한 파일: {named}. 그 밖의 {count:,}개는 zip 안의 left_out.txt에 있습니다.",
    ),
    "files.video_too_long": (
        "{name} is longer than {seconds} s or {frames:,} frames, the most that this shared computer takes: shorten it, "
        "or run python -m cyclegan translate on your own computer",
        "{name}: 여럿이 함께 쓰는 컴퓨터라서 {seconds}초나 {frames:,}프레임을 넘는 동영상은 받지 않습니다. "
        "짧게 자르거나 자신의 컴퓨터에서 python -m cyclegan translate를 실행하세요",
    ),
    "files.too_many": (
        "These are {count:,} pictures, and this shared computer takes {most} at a time: send fewer, or run "
        "python -m cyclegan translate on your own computer",
        "사진이 {count:,}장입니다. 함께 쓰는 컴퓨터라서 한 번에 {most}장까지 받습니다. 나누어 올리거나 자신의 "
        "컴퓨터에서 python -m cyclegan translate를 실행하세요",
    ),
    "files.no_examples": (
        "This run has no example pictures: choose a file of your own",
        "이 학습 실행에는 예시 사진이 없습니다. 직접 고르세요",
    ),
    "files.not_arrived": (
        "This file did not arrive: choose it again", "파일이 도착하지 않았습니다. 다시 고르세요"
    ),
    "files.no_smoothing": (
        "{value!r} is no smoothing: give a number from 0 to 1", "{value!r}: 0에서 1 사이의 수를 입력하세요"
    ),
})


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`.

    Raises:
        CheckpointError: the first run holds no readable checkpoint.
    """
    first = next(iter(bench.runs))
    infos = common.listed(bench.run(first))
    info, say = infos[0], words.speaker()
    header("files")
    lead = gr.HTML(_lead(bench, first, say), elem_classes="lead")
    with gr.Row(elem_classes="page"):
        with gr.Column(elem_classes="given"):
            # Without a value until the page opens, as the epoch: programs that name none get the checkpoint's first.
            direction = gr.Radio(common.direction_choices(info), value=None, label=words.label("direction"))
            tabs = gr.Tabs()
        with tabs:
            with gr.Tab(words.label("files.video_tab")):
                video = gr.File(label=words.label("files.video"), height=160)
                video_example = gr.Button(words.label("files.video_example"), size="sm")
                video_size = gr.Dropdown(
                    [*((f"{pixels} px", pixels) for pixels in VIDEO_SIZES), (words.label("size.original"), "original")],
                    value="256", allow_custom_value=True, label=words.label("files.video_size"),
                    info=words.label("files.video_size_info"),
                )
                smoothing = gr.Slider(
                    0, 1, value=0, step=0.05, label=words.label("files.smoothing"),
                    info=words.label("files.smoothing_info"),
                )
                go_video = gr.Button(words.label("files.translate_video"), variant="primary")
            with gr.Tab(words.label("files.files_tab")):
                files = gr.File(label=words.label("files.files"), file_count="multiple", height=160)
                files_example = gr.Button(words.label("files.files_example"), size="sm")
                files_size = common.size_dropdown()
                go_files = gr.Button(words.label("files.translate_files"), variant="primary")
        with gr.Column(elem_classes="results"):
            note = gr.HTML(say("files.choose"), label="note", elem_classes="note")
            cancel = gr.Button(words.label("cancel"), size="sm", visible=False, elem_classes="cancel-job")
            result_video = gr.Video(
                label=words.label("files.result_video"), interactive=False, buttons=["download"], elem_classes="made",
            )
            result_zip = gr.File(label=words.label("files.result_zip"), interactive=False, elem_classes="made")
            previews = gr.Gallery(
                show_label=False, interactive=False, columns=4, buttons=[], format="png", elem_classes="made previews",
            )
        with gr.Column(elem_classes="settings"):
            run = common.run_dropdown(bench)
            epoch, refresh = common.epoch_dropdown(infos)

    known = gr.State(None)  # The newest epoch that the page has heard of.
    about = [known, lead, epoch, direction]
    doing = [note, cancel, video_example, go_video, files_example, go_files]

    @on_gpu(GPU_SECONDS)
    def video_steps(video: Video, target: Path, run: str | None, epoch: int, say: words.Speaker, **options: Any) -> Any:
        yield from _told_steps(say, lambda: _video_steps(bench, video, target, run, epoch, **options))

    @on_gpu(GPU_SECONDS)
    def files_steps(found: Found, target: Path, run: str | None, epoch: int, say: words.Speaker, **options: Any) -> Any:
        yield from _told_steps(say, lambda: _files_steps(bench, found, target, run, epoch, say=say, **options))

    def translate_video(
        video: dict | None, direction: str | None = None, run: str | None = None, epoch: str | None = None,
        size: str = "256", smoothing: float = 0.0,
        request: gr.Request = None,  # type: ignore[assignment]  # gradio's way to ask for it
    ) -> Iterator[list[Any]]:
        say = words.speaker(request)
        yield from _told_job(_video_job(bench, video_steps, video, direction, run, epoch, size, smoothing, say), say)

    def translate_files(
        files: list | None, direction: str | None = None, run: str | None = None, epoch: str | None = None,
        size: str = "auto", request: gr.Request = None,  # type: ignore[assignment]
    ) -> Iterator[list[Any]]:
        say = words.speaker(request)
        yield from _told_job(_files_job(bench, files_steps, files, direction, run, epoch, size, say), say)

    def describe(run: str, tag: str | None, direction: str | None, request: gr.Request) -> list[Any]:
        """What depends on the run and its epoch (the newest, if it isn't there), in the order of `about`."""
        source, say = bench.run(run), words.speaker(request)
        infos = common.listed(source)
        info = next((i for i in infos if i.tag == tag), infos[0])
        direction = direction if direction in info.directions else info.directions[0]
        return [
            infos[0].tag,
            _lead(bench, run, say),
            gr.Dropdown(common.epoch_choices(infos, say), value=info.tag),
            gr.Radio(common.direction_choices(info), value=direction, interactive=len(info.directions) > 1),
        ]

    def open_page(run: str, request: gr.Request) -> list[Any]:
        """The run and the epoch that the address names, else the first run's newest."""
        run, tag = common.asked(bench, request, run)
        return [gr.Dropdown(value=run), words.speaker(request)("files.choose"), *describe(run, tag, None, request)]

    def open_run(run: str, direction: str | None, request: gr.Request) -> list[Any]:
        return describe(run, None, direction, request)

    def look_again(run: str, tag: str | None, direction: str | None, known: str | None, request: gr.Request) -> Any:
        """Find epochs that a running training has added since the last look, and go on to the newest of those."""
        info, new = common.look_for_newer(bench.run(run), known, words.speaker(request))
        return describe(run, info.tag if new else tag, direction, request)

    def example_video(run: str, request: gr.Request) -> str:
        path = _examples(bench, run, words.speaker(request))[0]
        return served(f"pan_over_{file_name(path.stem)}.mp4", lambda target: pan(path, target))

    def example_files(run: str, request: gr.Request) -> list[str]:
        paths = _examples(bench, run, words.speaker(request))
        return [served(path.name, lambda target, path=path: shutil.copyfile(path, target)) for path in paths]

    def start(request: gr.Request) -> list[Any]:
        """In the order of `doing`, then nothing of the results before."""
        at_work = [gr.Button(visible=True), *[gr.Button(interactive=False)] * 4]
        return [common.busy(words.speaker(request)("said.starting")), *at_work, None, None, None]

    def end() -> list[Any]:
        return [gr.Button(visible=False), *[gr.Button(interactive=True)] * 4]

    def cancelled(request: gr.Request) -> list[Any]:
        return [words.speaker(request)("files.cancelled"), *end()]

    quick = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    # Queued: gradio shows its notice of no other event.
    queued = {**quick, "queue": True, "concurrency_limit": None}
    # The file itself reaches us, and only where it was uploaded: gradio would copy or convert it.
    work = {"preprocess": False, **JOBS, "show_progress": "minimal", "show_progress_on": note}
    whose = (
        "direction: 'ab' or 'ba', the checkpoint's first by default. run: name of a run, the first by default, or "
        "USER/NAME on the Hub. epoch: a checkpoint such as 'epoch-0012', the newest by default."
    )
    video_job = {
        **work, "fn": translate_video, "inputs": [video, direction, run, epoch, video_size, smoothing],
        "outputs": [note, result_video], "api_name": "translate_video",
        "api_description": (
            f"Translate a video. video: a video file. {whose} size: the shorter side of the result in pixels, such as "
            "'256', at which the networks work too, or 'original'. smoothing: 0 to 1, against flicker: how much a "
            "frame leans on the one before where nothing moves. Returns a sentence with frames, seconds, size, sound "
            "and the flicker before and after; then an mp4 with the video's frame times, duration and sound."
        ),
    }  # fmt: skip
    files_job = {
        **work, "fn": translate_files, "inputs": [files, direction, run, epoch, files_size],
        "outputs": [note, result_zip], "api_name": "translate_files",
        "api_description": (
            f"Translate many pictures. files: picture files, and zips of pictures. {whose} size: 'auto' works at a "
            "picture's own size up to twice the one that the networks were trained on, 'training' works at the size "
            "that the networks were trained on, 'original' at the picture's own, and a number such as '512' with the "
            "shorter side of so many pixels; a result always has its picture's size. Returns a sentence that names "
            "what was left out; then a zip of PNGs with the pictures' folders and names."
        ),
    }  # fmt: skip
    jobs = []
    for go, take, given, fn, job in (
        (go_video, video_example, video, example_video, video_job),
        (go_files, files_example, files, example_files, files_job),
    ):
        hidden = {**job, "api_name": f"{job['api_name']}_example", "api_visibility": "private"}
        taken = take.click(told(fn), run, given, **queued)
        for begun, what in ((go.click, job), (taken.success, hidden)):
            started = begun(start, None, [*doing, result_video, result_zip, previews], **quick)
            jobs.append(started.then(**what))
            for over in (jobs[-1].success, jobs[-1].failure):  # `then` does not come after a failure.
                over(end, None, doing[1:], **quick)
            if what["fn"] is translate_files:
                jobs[-1].success(told(_previews), result_zip, previews, preprocess=False, **{**quick, **FILES})
    cancel.click(None, cancels=jobs, queue=False).then(cancelled, None, doing, **quick)

    page = gr.context.Context.root_block
    page.load(told(open_page), run, [run, note, *about], **queued)
    run.input(told(open_run), [run, direction], about, **queued)
    epoch.input(told(describe), [run, epoch, direction], about, **queued)
    refresh.click(told(look_again), [run, epoch, direction, known], about, **queued)
    # Screen readers are told what goes on.
    page.load(None, js="() => document.querySelector('.note').setAttribute('role', 'status')", **quick)


# --- jobs ---------------------------------------------------------------------------------------------------

Steps = Generator[Any, None, None]
"""(done, in all or None), each time that some more is done; at last what became of it all."""


def _video_job(
    bench: Workbench, steps: Callable[..., Steps], payload: dict | None, direction: str | None, run: str | None,
    epoch: str | None, size: str, smoothing: float, say: words.Speaker,
) -> Iterator[list[Any]]:
    """The note and the video, as the job goes on."""
    if payload is None:
        yield [say("files.choose_video"), None]
        return
    from cyclegan.translation.video_io import Video

    choice, smoothing = common.checked_size(size), _checked_smoothing(smoothing, say)
    (path,) = _paths([payload], say)
    info, way = _chosen(bench, run, epoch, direction)
    video = Video(path)
    if not bench.own:
        _refuse_long(video, say)
        video.max_seconds = MAX_SECONDS  # A file may hold more than it says.
    if not bench.ready.is_set():
        yield [common.busy(say("said.loading")), gr.skip()]
    own = video.info.width, video.info.height
    side, capped = common.working_side(own, choice, info.config.data, bench.device_type(), say)
    scale_back = choice == "original"
    remarks = (capped if scale_back else [say("files.capped")]) if capped else []
    there = domains(info)[way[1]]
    with _new_file(f"{file_name(f'{path.stem[:30]} as {there} {info.tag}')}.mp4") as target:
        began = time.monotonic()
        made = steps(
            video, target, run, info.epoch, say, direction=way, size=side, scale_back=scale_back, smoothing=smoothing
        )
        done = yield from _shown(made, [path], say, "files.frame", None if bench.own else MAX_FRAMES, path.name)
        yield [" ".join([_video_said(done, info, smoothing, time.monotonic() - began, say), *remarks]), str(target)]


def _files_job(
    bench: Workbench, steps: Callable[..., Steps], payloads: list | None, direction: str | None, run: str | None,
    epoch: str | None, size: str, say: words.Speaker,
) -> Iterator[list[Any]]:
    """The note and the zip, as the job goes on."""
    if not payloads:
        yield [say("files.choose_files"), None]
        return
    choice = common.checked_size(size)
    paths = _paths(payloads, say)
    info, way = _chosen(bench, run, epoch, direction)
    if not bench.ready.is_set():
        yield [common.busy(say("said.loading")), gr.skip()]
    from cyclegan.translation.files import find_pictures

    if not bench.own and len(paths) > MAX_PICTURES:
        raise ImageError(say("files.too_many", count=len(paths), most=MAX_PICTURES))
    found = find_pictures(paths)
    if not bench.own and len(found.items) > MAX_PICTURES:
        raise ImageError(say("files.too_many", count=len(found.items), most=MAX_PICTURES))
    there = domains(info)[way[1]]
    stem = paths[0].stem[:30] if len(paths) == 1 else f"{len(found.items)} pictures"
    with _new_file(f"{file_name(f'{stem} as {there} {info.tag}')}.zip") as target:
        began = time.monotonic()
        made = steps(
            found, target, run, info.epoch, say, direction=way, choice=choice, device=bench.device_type(),
            max_bytes=None if bench.own else MAX_RESULT_BYTES,
        )
        done = yield from _shown(made, paths, say, "files.picture")
        yield [_files_said(done, info, way, time.monotonic() - began, say), str(target)]


def _video_steps(bench: Workbench, video: Video, target: Path, run: str | None, epoch: int, **options: Any) -> Steps:
    from cyclegan.translation.video import translate_video_in_steps

    translator, batch_size = _behind(bench, run, epoch)
    yield (yield from translate_video_in_steps(translator, video, target, batch_size=batch_size, **options))


def _files_steps(
    bench: Workbench, found: Found, target: Path, run: str | None, epoch: int, *, say: words.Speaker,
    choice: str | int, device: str, **options: Any,
) -> Steps:
    from cyclegan.translation.files import translate_files

    translator, batch_size = _behind(bench, run, epoch)
    data = translator.checkpoint.config.data
    yield (yield from translate_files(
        translator, found, target, batch_size=batch_size,
        side=lambda size: common.working_side(size, choice, data, device, say)[0], **options,
    ))  # fmt: skip


def _behind(bench: Workbench, run: str | None, epoch: int) -> tuple[Any, int | None]:
    """A translator that lets people's pictures go first, and how many of a job's go through it together."""
    translator = bench.translator(run, epoch)
    # A CPU takes a second for one: nobody should wait for several.
    batch_size = 1 if translator.device.type == "cpu" else None
    return (translator if bench.engine is None else bench.engine.behind(translator)), batch_size


def _told_steps(say: words.Speaker, steps: Callable[[], Steps]) -> Steps:
    """Where a GPU is lent, only gr.Error comes back as it was raised."""
    try:
        yield from steps()
    except Exception as error:
        raise common.told_error(error, say) from error


def _told_job(job: Iterator[list[Any]], say: words.Speaker) -> Iterator[list[Any]]:
    """A job, cleared before an error is told."""
    try:
        yield from job
    except Exception as error:
        yield [say("said.nothing"), None]
        told = common.told_error(error, say)
        raise told from (None if told is error else error)


def _shown(
    steps: Steps, sources: list[Path], say: words.Speaker, key: str, most: int | None = None, name: str = ""
) -> Generator[list[Any], None, Any]:
    """How far the steps are, now and then; returns what became of it all."""
    began, shown = None, 0.0
    with contextlib.closing(steps):
        for step in steps:
            if not isinstance(step, tuple):
                return step
            (done, total), now = step, time.monotonic()
            if most is not None and done > most:
                raise ImageError(say("files.video_too_long", name=name, seconds=MAX_SECONDS, frames=MAX_FRAMES))
            began = began or now
            if now - shown >= SHOW_EVERY_S:
                shown = now
                for source in sources:  # Gradio removes what nobody has used for an hour.
                    with contextlib.suppress(OSError):
                        os.utime(source)
                yield [_progress(done, total, now - began, say, key), gr.skip()]


@contextlib.contextmanager
def _new_file(name: str) -> Iterator[Path]:
    """A path in gradio's folder, as `served`'s; unless all goes well, nothing is left there."""
    path = Path(get_upload_folder()) / uuid.uuid4().hex / name
    path.parent.mkdir(parents=True)
    try:
        yield path
        SERVED.add(str(path))
    except BaseException:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise


# --- what was asked for -------------------------------------------------------------------------------------


def _paths(payloads: list[dict], say: words.Speaker) -> list[Path]:
    """The uploaded files, each once. Raises ImageError if one isn't."""
    paths = [common.source_of(payload) for payload in payloads]
    if not all(isinstance(path, Path) and path.is_file() for path in paths):
        raise ImageError(say("files.not_arrived"))
    return list(dict.fromkeys(paths))


def _chosen(
    bench: Workbench, run: str | None, epoch: str | None, direction: str | None
) -> tuple[CheckpointInfo, str]:
    """The epoch and the direction. Raises CheckpointError."""
    info = bench.info(run, None if epoch is None else common.epoch_number(epoch))
    return info, common.checked_direction(direction, info)


def _checked_smoothing(value: Any, say: words.Speaker) -> float:
    with contextlib.suppress(TypeError, ValueError):
        if 0 <= float(value) <= 1:
            return float(value)
    raise ImageError(say("files.no_smoothing", value=str(value)[:20]))


def _refuse_long(video: Video, say: words.Speaker) -> None:
    if (video.info.duration or 0) > MAX_SECONDS or (video.info.expected_frames or 0) > MAX_FRAMES:
        raise ImageError(say("files.video_too_long", name=video.name, seconds=MAX_SECONDS, frames=MAX_FRAMES))


def _examples(bench: Workbench, run: str, say: words.Speaker) -> list[Path]:
    paths = common.examples_of(bench.run(run))
    if not paths:
        raise ImageError(say("files.no_examples"))
    return paths


def _previews(payload: Any) -> list[Image.Image]:
    """The first pictures of a zip that was made here, small."""
    if not payload:
        return []
    from cyclegan.translation.files import find_pictures, open_pictures

    found = find_pictures([common.source_of(payload)])  # Whoever asks may name any zip that was uploaded.
    shown = []
    for _, image in open_pictures(found.items[:PREVIEWS], []):
        if image is not None:
            image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
            shown.append(image)
    return shown


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
            box = (left, top, left + window[0], top + window[1])
            writer.write(
                image.resize(size, Image.Resampling.BICUBIC, box=box), Fraction(index, PAN_RATE), Fraction(1, PAN_RATE)
            )


# --- what is said -------------------------------------------------------------------------------------------


def _lead(bench: Workbench, run: str, say: words.Speaker) -> str:
    """What the page is about, what it takes, and what could not be shown of the run."""
    limits = say("files.limits", seconds=MAX_SECONDS, frames=MAX_FRAMES, pictures=MAX_PICTURES)
    said = say("files.lead") if bench.own else f"{say('files.lead')} {limits}"
    return f"<p>{said}</p>{common.notices(bench.run(run).problems, say)}"


def _progress(done: int, total: int | None, seconds: float, say: words.Speaker, key: str) -> str:
    """HTML of how far a job is, and when it will be done."""
    if total is None:
        said, bar = say(f"{key}_alone", done=done), "<progress></progress>"
    else:
        said = say(key, done=done, total=total)
        bar = f'<progress value="{done}" max="{max(1, total)}"></progress>'
        if done:
            said += f", {_left(seconds / done * (total - done), say)}"
    # Not read out each time that it changes.
    return f'<span class="busy" aria-live="off">{html.escape(said)}</span>{bar}'


def _left(seconds: float, say: words.Speaker) -> str:
    if seconds < 90:
        return say("files.seconds_left", count=math.ceil(seconds))
    if seconds < 90 * 60:
        return say("files.minutes_left", count=math.ceil(seconds / 60))
    return say("files.hours_left", count=seconds / 3600)


def _video_said(
    done: VideoTranslation, info: CheckpointInfo, smoothing: float, seconds: float, say: words.Speaker
) -> str:
    sound = {None: "none", "left out": "left_out"}.get(done.sound, "kept")
    said = [say(
        "files.video_done", frames=done.frames, length=done.seconds, size=by(done.size), epoch=info.epoch,
        sound=say(f"files.sound_{sound}"), seconds=seconds,
    )]  # fmt: skip
    if done.skipped:
        said.append(say("files.skipped", count=done.skipped))
    if done.flicker_before is None:
        said.append(say("files.no_flicker"))
    else:
        key = "files.flicker" if smoothing else "files.flicker_left"
        said.append(say(key, before=done.flicker_before, after=done.flicker_after))
    return " ".join(said)


def _files_said(done: FilesTranslation, info: CheckpointInfo, way: str, seconds: float, say: words.Speaker) -> str:
    total = done.done + len(done.left_out)
    said = say(
        "files.files_done", done=done.done, total=total, epoch=info.epoch, arrow=arrow(info, way), seconds=seconds
    )
    if done.left_out:
        named = "; ".join(in_language(one, say.language) for one in itertools.islice(done.left_out, LEFT_OUT_SAID))
        more = len(done.left_out) - LEFT_OUT_SAID
        said += " " + (
            say("files.left_out_more", named=named, count=more) if more > 0 else say("files.left_out", named=named)
        )
    return html.escape(said, quote=False)
