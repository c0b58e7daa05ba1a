"""The page that translates a whole video, or many pictures at once."""

from __future__ import annotations

import html
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gradio as gr

from cyclegan.ui import inputs, jobs, live, reading, runs, words
from cyclegan.ui.feedback import busy, shows_errors
from cyclegan.ui.results import file_name, served
from cyclegan.ui.theme import after_load, header
from cyclegan.ui.workbench import FILES, JOBS, QUEUED, QUICK, Workbench, on_gpu

if TYPE_CHECKING:
    from cyclegan.translation.files import Found
    from cyclegan.translation.video_io import Video

CSS, SCRIPT = (Path(__file__).with_name(f"files.{kind}") for kind in ("css", "js"))

VIDEO_SIZES = ("196", "208", "256", "384")
HELPERS = ("bench", "say", "infos", "directions", "script")
"""Names in `_layout` that aren't parts of the page."""
GPU_SECONDS = 180
"""The time for which a job asks for a GPU, where one is lent."""
CHOICES = (
    "direction: 'ab' or 'ba', the checkpoint's first by default. run: name of a run, the first by default, or "
    "USER/NAME on the Hub. epoch: a checkpoint such as 'epoch-0012', the newest by default."
)
ABOUT_VIDEO = (
    f"Translate a video. video: a video file. {CHOICES} size: the shorter side of the result in pixels, such as '256', "
    "at which the networks work too, 'original', or 'auto', which is 256 or twice the training size, whichever is "
    "smaller. smoothing: 0 to 1, against flicker: how strongly still areas "
    "follow the previous frame. Returns a sentence with frames, seconds, size, sound and the flicker before and after; "
    "then an mp4 with the video's frame times, duration and sound."
)
"""For programs that call the page."""
ABOUT_FILES = (
    f"Translate many pictures. files: picture files, and zips of pictures. {CHOICES} size: 'auto' works at a picture's "
    "own size up to twice the one that the networks were trained on, 'training' works at the size that the networks "
    "were trained on, 'original' at the picture's own, and a number such as '512' with the shorter side of so many "
    "pixels; a result always has its picture's size. Returns a sentence that names what was left out; then a zip of "
    "PNGs, or files of their pictures' kinds where a domain isn't 8-bit RGB, with the pictures' folders and names."
)
"""For programs that call the page."""


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`.

    Raises:
        CheckpointError: the first run holds no readable checkpoint.
    """
    parts, events = _layout(bench), Events(bench)
    _wire(parts, events)
    _wire_jobs(parts, events)


def _layout(bench: Workbench) -> SimpleNamespace:
    infos, say, script = runs.listed(bench.run(None)), words.speaker(), SCRIPT.read_text(encoding="utf-8")
    header("files")
    training = live.live(bench)
    lead = gr.HTML(jobs.lead(bench, next(iter(bench.runs)), say), elem_classes="lead")
    with gr.Row(elem_classes="page"):
        with gr.Column(elem_classes="given"):
            # No value until the page opens, so that programs that name none get the checkpoint's first.
            directions = runs.direction_choices(infos[0]) if infos else []
            direction = gr.Radio(directions, value=None, label=words.label("Direction"))
            tabs = gr.Tabs()
        with tabs:
            with gr.Tab(words.label("Video")):
                video, video_example, video_size, smoothing, go_video = _video_tab()
            with gr.Tab(words.label("Pictures, zip")):
                files = gr.File(
                    label=words.label("Your pictures, or a zip of them"), file_count="multiple", height=160
                )
                files_example = gr.Button(words.label("Try the example pictures"), size="sm")
                files_size = inputs.size_dropdown()
                go_files = gr.Button(words.label("Translate the pictures"), variant="primary")
        with gr.Column(elem_classes="results"):
            note = gr.HTML(_choose(say), label="note", elem_classes="note")
            cancel = gr.Button(words.label("Cancel"), size="sm", visible=False, elem_classes="cancel-job")
            player = gr.HTML(
                label="comparison", html_template='<div class="player" hidden></div>', js_on_load=script,
                apply_default_css=False, elem_classes="bare", words=words.for_script(script),
            )  # fmt: skip
            with gr.Row(elem_classes="videos"):  # Where browsers don't play the visitor's kind of video.
                given_video = gr.Video(
                    label=words.label("Your video"), interactive=False, buttons=[], elem_classes="made given-video"
                )
                result_video = gr.Video(
                    label=words.label("Translated video"), interactive=False, buttons=["download"], elem_classes="made"
                )
            result_zip = gr.File(label=words.label("Translated pictures"), interactive=False, elem_classes="made")
            previews = gr.Gallery(
                show_label=False, interactive=False, columns=4, buttons=[], format="png", object_fit="contain",
                elem_classes="made previews",
            )
        with gr.Column(elem_classes="settings"):
            run = runs.run_dropdown(bench)
            epoch, refresh = runs.epoch_dropdown(infos)
    known = gr.State(None)  # The newest epoch that the page knows.
    buttons = [video_example, go_video, files_example, go_files]
    about, doing = [known, training, lead, epoch, direction, *buttons], [note, cancel, *buttons]
    return SimpleNamespace(**{name: part for name, part in locals().items() if name not in HELPERS})


def _video_tab() -> tuple[gr.File, gr.Button, gr.Dropdown, gr.Slider, gr.Button]:
    video = gr.File(label=words.label("Your video"), height=160)
    example = gr.Button(words.label("Try a pan over an example picture"), size="sm")
    size = gr.Dropdown(
        [
            (words.label("Automatic"), "auto"), *((f"{pixels} px", pixels) for pixels in VIDEO_SIZES),
            (words.label("Original"), "original"),
        ],
        value="auto", allow_custom_value=True, label=words.label("Size of the result"),
        info=words.label(
            "Its shorter side in pixels, which the network sees too; or type another number. Automatic is 256, or "
            "twice the training size if that is smaller, because every frame takes time. From a shell, --size works at "
            "this size too, but then scales the result to the video's own."
        ),
    )  # fmt: skip
    smoothing = gr.Slider(
        0, 1, value=0, step=0.05, label=words.label("Smoothing against flicker"),
        info=words.label("How strongly still areas follow the previous frame: 0 is not at all, 1 the most."),
    )  # fmt: skip
    return video, example, size, smoothing, gr.Button(words.label("Translate the video"), variant="primary")


def _choose(say: words.Speaker) -> str:
    return say("Choose a video or pictures, or try an example.")


class Events:
    """The page's reactions to what its visitor does."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

        @on_gpu(GPU_SECONDS)
        def video_steps(video: Video, target: Path, run: str | None, epoch: int, say: words.Speaker, **options: Any):
            yield from jobs.video_steps(bench, video, target, run, epoch, say, **options)

        @on_gpu(GPU_SECONDS)
        def files_steps(found: Found, target: Path, run: str | None, epoch: int, say: words.Speaker, **options: Any):
            yield from jobs.files_steps(bench, found, target, run, epoch, say, **options)

        self._video_steps, self._files_steps = video_steps, files_steps

    def translate_video(
        self, video: dict | None, direction: str | None = None, run: str | None = None, epoch: str | None = None,
        size: str = "auto", smoothing: float = 0.0,
        request: gr.Request = None,  # type: ignore[assignment]  # gradio's way to ask for it
    ) -> Iterator[list[Any]]:
        """Translate a video; yields the note and the result."""
        say = words.speaker(request)
        job = jobs.video_job(self.bench, self._video_steps, video, direction, run, epoch, size, smoothing, say)
        yield from jobs.cleared(job, say)

    def translate_files(
        self, files: list | None, direction: str | None = None, run: str | None = None, epoch: str | None = None,
        size: str = "auto", request: gr.Request = None,  # type: ignore[assignment]
    ) -> Iterator[list[Any]]:
        """Translate many pictures; yields the note and the zip."""
        say = words.speaker(request)
        job = jobs.files_job(self.bench, self._files_steps, files, direction, run, epoch, size, say)
        yield from jobs.cleared(job, say)

    translate_files._mcp_type = "no tool"  # type: ignore[attr-defined]  # Gradio's tools can't take a list of files.

    def describe(self, run: str, tag: str | None, direction: str | None, request: gr.Request) -> list[Any]:
        """Return what depends on the run and its epoch (the newest, if it isn't there), in the order of `about`."""
        source, say = self.bench.run(run), words.speaker(request)
        infos = runs.listed(source)
        able = [gr.Button(interactive=bool(infos))] * 4
        if not infos:
            return [None, live.value(self.bench, run, say), jobs.lead(self.bench, run, say),
                    gr.Dropdown([], value=None), gr.Radio([], value=None), *able]  # fmt: skip
        info = next((i for i in infos if i.tag == tag), infos[0])
        direction = direction if direction in info.directions else info.directions[0]
        return [
            infos[0].tag,
            live.value(self.bench, run, say),
            jobs.lead(self.bench, run, say),
            runs.epochs_shown(infos, info, say),
            gr.Radio(runs.direction_choices(info), value=direction, interactive=len(info.directions) > 1),
            *able,
        ]

    def open_page(self, run: str, request: gr.Request) -> list[Any]:
        """Show the run and the epoch that the address names, else the first run's newest."""
        run, tag = runs.asked(self.bench, request, run)
        say = words.speaker(request)
        newest, *others = self.describe(run, tag, None, request)
        note = _choose(say) if newest else live.waiting(say)
        return [runs.chosen(self.bench, run, request), note, newest, *others]

    def first(self, run: str, request: gr.Request) -> list[Any]:
        """Show the first epoch of a run, when it has come."""
        return [_choose(words.speaker(request)), *self.describe(run, None, None, request)]

    def open_run(self, run: str, direction: str | None, request: gr.Request) -> list[Any]:
        """Show a run's newest epoch."""
        return self.describe(run, None, direction, request)

    def look_again(
        self, run: str, tag: str | None, direction: str | None, known: str | None, request: gr.Request
    ) -> list[Any]:
        """Find epochs that a running training has added since the last look, and show the newest of those."""
        info, new = runs.look_for_newer(self.bench.run(run), known, words.speaker(request))
        return self.describe(run, info.tag if new else tag, direction, request)

    def arrived(self, run: str, tag: str | None, direction: str | None, request: gr.Request) -> list[Any]:
        """Offer the epochs that have come; the chosen one stays, and the newest counts as not yet seen."""
        values = self.describe(run, tag, direction, request)
        values[0], values[3] = gr.skip(), runs.offer(self.bench.run(run), tag, words.speaker(request))
        return values

    def look(self, given: Any, run: str, epoch: str | None, direction: str | None, request: gr.Request) -> list[Any]:
        """Choose the direction for which an upload looks, with a note if it is another one than was chosen."""
        likely = reading.likely_of_files(self.bench.run(run), given if isinstance(given, list) else [given])
        info = self.bench.info(run, None if epoch is None else runs.epoch_number(epoch))
        if likely in (None, direction) or likely not in info.directions:
            return [gr.skip()] * 2
        say = words.speaker(request)
        note = say("This looks like {domain}, so the direction is now {arrow}; choose the other one if that is wrong.",
                   domain=runs.domains(info)[likely[0]], arrow=runs.arrow(info, likely))  # fmt: skip
        return [gr.Radio(value=likely), html.escape(note)]

    def example_video(self, run: str, request: gr.Request) -> str:
        """Return a video that glides over the run's first example; `request` is for the language of errors."""
        from cyclegan.translation.video_io import refuse_values

        refuse_values(self.bench.info(run, None).config.data)
        path = jobs.examples(self.bench, run)[0]
        return served(f"pan_over_{file_name(path.stem)}.mp4", lambda target: jobs.pan(path, target))

    def show_video(self, payload: dict | None) -> dict | None:
        """Return the visitor's video as it is, to play before there is a result; None if browsers don't play it."""
        path = jobs.played(payload)
        return None if path is None else gr.FileData(path=str(path)).model_dump()

    def previews(self, payload: dict | None, run: str, epoch: str | None, direction: str | None) -> list[Any]:
        """Return small pictures of what the zip holds."""
        data = self.bench.info(run, None if epoch is None else runs.epoch_number(epoch)).config.data
        return jobs.previews(payload, data.values((direction or "ab")[1]))

    def example_files(self, run: str, request: gr.Request) -> list[str]:
        """Return the run's examples; `request` is for the language of errors."""
        paths = jobs.examples(self.bench, run)
        return [served(path.name, lambda target, path=path: shutil.copyfile(path, target)) for path in paths]

    def start(self, request: gr.Request) -> list[Any]:
        """Return the busy `doing`, then the empty results."""
        at_work = [gr.Button(visible=True), *[gr.Button(interactive=False)] * 4]
        say = words.speaker(request)
        return [busy(say("Starting …")), *at_work, None, None, None, None]

    def start_files(self, request: gr.Request) -> list[Any]:
        """Return the same, then no video of an earlier job."""
        return [*self.start(request), None]

    def end(self) -> list[Any]:
        """Return the idle `doing`, without the note."""
        return [gr.Button(visible=False), *[gr.Button(interactive=True)] * 4]

    def cancelled(self, request: gr.Request) -> list[Any]:
        """Return the idle `doing`."""
        say = words.speaker(request)
        return [say("Cancelled. Nothing was saved."), *self.end()]


def _wire(parts: SimpleNamespace, events: Events) -> None:
    run, epoch, direction, about = parts.run, parts.epoch, parts.direction, parts.about
    gr.context.Context.root_block.load(shows_errors(events.open_page), run, [run, parts.note, *about], **QUEUED)
    runs.unmark(events.bench, parts.training, run)
    run.input(shows_errors(events.open_run), [run, direction], about, **QUEUED)
    epoch.input(shows_errors(events.describe), [run, epoch, direction], about, **QUEUED)
    parts.training.first(shows_errors(events.first), run, [parts.note, *about], **QUEUED)
    parts.training.arrived(shows_errors(events.arrived), [run, epoch, direction], about, **QUEUED)
    parts.refresh.click(shows_errors(events.look_again), [run, epoch, direction, parts.known], about, **QUEUED)
    for given in (parts.video, parts.files):
        given.upload(shows_errors(events.look), [given, run, epoch, direction], [direction, parts.note],
                     preprocess=False, **QUEUED)  # fmt: skip
    after_load()


def _wire_jobs(parts: SimpleNamespace, events: Events) -> None:
    run, note, doing, chosen = parts.run, parts.note, parts.doing, [parts.direction, parts.run, parts.epoch]
    # The file itself reaches us, and only where it was uploaded, because gradio would copy or convert it.
    work = {"preprocess": False, **JOBS, "show_progress": "minimal", "show_progress_on": note}
    video_job = {
        **work, "fn": events.translate_video, "inputs": [parts.video, *chosen, parts.video_size, parts.smoothing],
        "outputs": [note, parts.result_video], "api_name": "translate_video", "api_description": ABOUT_VIDEO,
    }  # fmt: skip
    files_job = {
        **work, "fn": events.translate_files, "inputs": [parts.files, *chosen, parts.files_size],
        "outputs": [note, parts.result_zip], "api_name": "translate_files", "api_description": ABOUT_FILES,
    }  # fmt: skip
    started_jobs = []
    for go, take, given, example, job in (
        (parts.go_video, parts.video_example, parts.video, events.example_video, video_job),
        (parts.go_files, parts.files_example, parts.files, events.example_files, files_job),
    ):
        hidden = {**job, "api_name": f"{job['api_name']}_example", "api_visibility": "private"}
        taken = take.click(shows_errors(example), run, given, **QUEUED)
        for begun, what in ((go.click, job), (taken.success, hidden)):
            results = [parts.result_video, parts.result_zip, parts.previews, parts.player]
            start = events.start
            if job is files_job:
                start, results = events.start_files, [*results, parts.given_video]
            started_jobs.append(begun(start, None, [*doing, *results], **QUICK).then(**what))
            for over in (started_jobs[-1].success, started_jobs[-1].failure):  # `then` doesn't come after a failure.
                over(events.end, None, doing[1:], **QUICK)
            shown = {**QUICK, **FILES, "preprocess": False}
            if job is files_job:
                seen = [parts.result_zip, run, parts.epoch, parts.direction]
                started_jobs[-1].success(shows_errors(events.previews), seen, parts.previews, **shown)
            else:
                videos = [parts.video, parts.result_video]
                started_jobs[-1].success(shows_errors(jobs.compared), videos, parts.player, **shown)
    for event in (parts.video.change, parts.go_video.click):
        event(shows_errors(events.show_video), parts.video, parts.given_video, preprocess=False, postprocess=False,
              **{**QUICK, **FILES})  # fmt: skip
    parts.cancel.click(None, cancels=started_jobs, queue=False).then(events.cancelled, None, doing, **QUICK)
