"""The page that translates one picture, read as A and read as B, and brings it back again."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from cyclegan.config import DIRECTIONS
from cyclegan.ui import inputs, live, runs, windows, withheld, words
from cyclegan.ui.feedback import busy, shows_errors
from cyclegan.ui.results import linked, served
from cyclegan.ui.rows import Row
from cyclegan.ui.theme import after_load, header
from cyclegan.ui.translating import (
    EMPTY,
    NO_FILES,
    first_saved,
    lead,
    meanwhile,
    reading_choices,
    row_boxes,
    translate,
    translate_first_example,
)  # fmt: skip
from cyclegan.ui.workbench import FILES, PEOPLE, QUEUED, QUICK, Workbench

CSS = Path(__file__).with_name("translate.css")

ENLARGE = """() => document.addEventListener("click", (event) => {
  const picture = event.target.closest(".pictures .image-container > button");
  picture?.parentElement.querySelector(".icon-button-wrapper > button")?.click();
})"""
"""A click on a result does what its button for the full screen does."""
OF_EXAMPLES = "example-"
"""Prefix of the folder that an example is served from, because an example isn't the visitor's own picture."""
ABOUT = (
    "Translate a picture in both readings, and bring it back. image: a picture file. run: name of a run, the first by "
    "default, or USER/NAME on the Hub. epoch: a checkpoint such as 'epoch-0012', the newest by default. size: 'auto' "
    "works at the picture's own size up to twice the one that the networks were trained on, 'training' works at the "
    "size that the networks were trained on, 'original' at the picture's own, and a number such as '512' with the "
    "shorter side of so many pixels; the result always has the picture's size. reading: 'both', or only 'ab' or 'ba'. "
    "Returns a sentence; then for A → B and for B → A: the picture as it was read, translated, brought back, where it "
    "differs then (None where the checkpoint has one direction only), and a sentence with L1, PSNR and SSIM; and at "
    "last for A → B and for B → A the files with their values, where a domain's pictures aren't 8-bit RGB, else None."
)
"""For programs that call the page."""


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`.

    Raises:
        CheckpointError: the first run holds no readable checkpoint.
    """
    parts = _layout(bench)
    bench.first = functools.partial(translate_first_example, bench)
    _wire(parts, Events(bench, parts.rows, parts.controls))


def _layout(bench: Workbench) -> SimpleNamespace:
    infos = runs.listed(bench.run(None))
    info, say = next(iter(infos), None), words.speaker()
    header("")
    training = live.live(bench)
    likely, saved = first_saved(bench)
    introduction = gr.HTML(lead(info, bench.run(None).problems, say), elem_classes="lead")
    with gr.Row(elem_classes="page"):
        with gr.Column(elem_classes="given"):
            image, examples = inputs.picture_inputs(200)
            other_file = gr.UploadButton(
                words.label("Or a file of values: DICOM, NIfTI, NumPy"), size="sm", visible=False
            )  # fmt: skip
        with gr.Column(elem_classes="results"):
            note = gr.HTML(busy(meanwhile(say("Starting …"), saved, say)), label="note", elem_classes="note")
            cancel = gr.Button(words.label("Cancel"), size="sm", elem_classes="cancel")
            with gr.Row(elem_classes="switches"):
                reading = gr.Radio(
                    reading_choices(info), value="both", label=words.label("Read it as"), visible=info is not None
                )  # fmt: skip
                view = gr.Radio(
                    [(words.label("Pictures"), "pictures"), (words.label("Slider"), "slider")], value="pictures",
                    label=words.label("Show"),
                )  # fmt: skip
            controls = [windows.Controls(domain) for domain in "ab"]
            looks = row_boxes(info, info.directions if info else (), likely, say)
            boxes = dict(zip(DIRECTIONS, looks, strict=True))
            rows = [Row(one, info, box, saved.get(one, EMPTY), say) for one, box in boxes.items()]
        with gr.Column(elem_classes="settings"):
            run = runs.run_dropdown(bench)
            epoch, refresh = runs.epoch_dropdown(infos)
            size = inputs.size_dropdown()
    known = gr.State(None)  # The newest epoch that the page knows.
    kept = gr.State({})  # The windows that the visitor has chosen, by run and domain.
    picked, refused = inputs.picked(image, **QUEUED)
    shown_run = gr.State(next(iter(bench.runs)))  # The run that the page shows, whatever is typed.
    boxes = [row.box for row in rows]
    about = [shown_run, known, training, introduction, epoch, reading, *boxes]
    about += [part for row in rows for part in row.about]
    results = [note, *(part for row in rows for part in row.results)]
    files = [row.files for row in rows]
    hidden = ("bench", "info", "say", "likely", "looks", "saved")
    return SimpleNamespace(**{name: value for name, value in locals().items() if name not in hidden})


def _slid(view: str, shown: dict[str, list[Any]]) -> list[Any]:
    """Return the sliders' pictures of what the rows show."""
    pairs = [(first, other) for first, *others in shown.values() for other in others]
    return [(str(first), str(other)) if other and view == "slider" else None for first, other in pairs]


class Events:
    """The page's reactions to what its visitor does."""

    def __init__(self, bench: Workbench, rows: list[Row], controls: list[windows.Controls]) -> None:
        self.bench, self.rows, self.controls = bench, rows, controls

    def describe(self, run: str, tag: str | None, reading: str, request: gr.Request) -> list[Any]:
        """Return what depends on the run and its epoch (the newest, if it isn't there), in the order of `about`."""
        source, say = self.bench.run(run), words.speaker(request)
        infos = runs.listed(source)
        info = next((i for i in infos if i.tag == tag), next(iter(infos), None))
        directions = info.directions if info else ()
        reading = reading if reading in directions else "both"
        shown = directions if reading == "both" else (reading,)
        return [
            run,
            infos[0].tag if infos else None,
            live.value(self.bench, run, say),
            lead(info, source.problems, say),
            runs.epochs_shown(infos, info, say),
            gr.Radio(reading_choices(info), value=reading, visible=len(directions) > 1),
            *(gr.Accordion(**look) for look in row_boxes(info, shown, None, say)),
            *(part for row in self.rows for part in row.describe(info, say)),
        ]

    def open_page(self, run: str, reading: str, request: gr.Request) -> list[Any]:
        """Show the run and epoch that the address names, else the first run's newest, and the run's examples."""
        run, tag = runs.asked(self.bench, request, run)
        examples = self._examples(run)
        return [runs.chosen(self.bench, run, request), *self.describe(run, tag, reading, request), examples]

    def open_run(self, run: str, reading: str, request: gr.Request) -> list[Any]:
        """Show a run's newest epoch and its examples."""
        return [*self.describe(run, None, reading, request), self._examples(run)]

    def _examples(self, run: str) -> gr.Gallery:
        return runs.examples_gallery(self.bench.run(run), withheld.examples(self.bench, run))

    def windows(self, run: str, kept: dict[str, Any], request: gr.Request) -> list[Any]:
        """Return the look of the controls of a run's windows, and of the button for files that aren't pictures."""
        say = words.speaker(request)
        values, infos = runs.values_of(self.bench.run(run)), runs.listed(self.bench.run(run))
        names, shown = runs.domains(infos[0]) if infos else {}, kept.get(run, {})
        looks = [
            look for one in self.controls
            for look in one.described(names.get(one.domain, ""), values[one.domain],
                                      shown.get(one.domain) or windows.whole(values[one.domain]), say)
        ]  # fmt: skip
        return [gr.UploadButton(visible=any(not one.plain for one in values.values())), *looks]

    def for_browsers(self, image: dict | None, run: str, request: gr.Request) -> Any:
        """Return what the picture's box shows of a file that browsers can't."""
        return inputs.for_browsers(image, request, runs.readings(self.bench.run(run)))

    def unless_bad(self, image: dict | None, run: str, refused: int) -> list[Any]:
        """Return the picture's box, emptied if the picture can't be read, and the number of refused ones."""
        return inputs.unless_bad(image, refused, runs.readings(self.bench.run(run)))

    def give_file(self, given: dict, run: str, request: gr.Request) -> str:
        """Return a picture of a file that isn't one for browsers; `request` is for the language of errors."""
        values = inputs.readable(given, runs.readings(self.bench.run(run)))
        return inputs.preview(inputs.source_of(given), values)

    def first_picture(self, run: str, payload: dict | None, request: gr.Request) -> list[Any]:
        """Return the visitor's own picture, or else the run's first example; a changed picture is translated."""
        say = words.speaker(request)
        given = inputs.source_of(payload) if payload and payload.get("path") else None
        if given is not None and not given.parent.name.startswith(OF_EXAMPLES):
            # Under a new name, so that it counts as changed and is translated with this run's networks.
            picture = linked(given)
        else:
            picture = self._take_example(run, 0)
        return [picture, busy(say("Starting …")) if picture else say("Choose a picture.")]

    def _take_example(self, run: str, index: int) -> str | None:
        paths = withheld.examples(self.bench, run)
        if index >= len(paths):
            return None
        values = runs.values_of(self.bench.run(run))[paths[index].name[0]]
        if not values.plain:
            return inputs.preview(paths[index], values, OF_EXAMPLES)
        return served(paths[index].name, lambda path: shutil.copyfile(paths[index], path), OF_EXAMPLES)

    def pick_example(self, run: str, event: gr.SelectData) -> str | None:
        """Return the example that was clicked."""
        return self._take_example(run, event.index)

    def look_again(self, run: str, tag: str | None, reading: str, known: str | None, request: gr.Request) -> list[Any]:
        """Find epochs that a running training has added since the last look, and show the newest of those."""
        info, new = runs.look_for_newer(self.bench.run(run), known, words.speaker(request))
        return self.describe(run, info.tag if new else tag, reading, request)

    def arrived(self, run: str, tag: str | None, reading: str, request: gr.Request) -> list[Any]:
        """Offer the epochs that have come; the one that is shown stays, and so do the headings of its rows.

        What the page knows stays too: whoever asks for the newest afterwards has not seen it yet.
        """
        values, first = self.describe(run, tag, reading, request), 6
        values[1] = gr.skip()
        values[4] = runs.offer(self.bench.run(run), tag, words.speaker(request))
        values[first : first + len(self.rows)] = [gr.skip()] * len(self.rows)
        return values

    def translate(
        self, image: dict | None, run: str | None = None, epoch: str | None = None, size: str = "auto",
        reading: str = "both", request: gr.Request = None,  # type: ignore[assignment]  # gradio's way to ask for it
    ) -> Iterator[list[Any]]:
        """Translate the picture; yields the values of `results`, the rows' files and their headings."""
        yield from translate(self.bench, image, run, epoch, size, reading, words.speaker(request))

    def _paths(self, results: Sequence[Any]) -> dict[str, list[Path | None]]:
        """Return what the rows show, by direction: input, translation, way back."""
        parts = {row.direction: results[len(EMPTY) * n :][: windows.PER_ROW] for n, row in enumerate(self.rows)}
        return {way: [inputs.source_of(part) if part else None for part in shown] for way, shown in parts.items()}

    def slide(self, view: str, *results: Any) -> list[Any]:
        """Return the sliders' pictures: input and translation, input and what came back."""
        return _slid(view, self._paths(results))

    def redraw(self, view: str, run: str, kept: dict[str, Any], *given: Any) -> list[Any]:
        """Draw the pictures through the windows that the controls mean.

        Returns:
            The windows by run, the controls' values, the rows' pictures, and the sliders'.
        """
        values, per = runs.values_of(self.bench.run(run)), len(self.controls[0].given)
        paths = self._paths(given[per * len(self.controls) :])
        if all(one.plain for one in values.values()):
            as_it_is = per * len(self.controls) + windows.PER_ROW * len(self.rows)
            return [gr.skip(), *[gr.skip()] * as_it_is, *_slid(view, paths)]
        before = {domain: windows.whole(own) for domain, own in values.items()} | kept.get(run, {})
        chosen = {one.domain: given[per * n :][:per] for n, one in enumerate(self.controls)}
        now, drawn = windows.redraw(values, before, chosen, paths)
        moved = [
            part for one in self.controls
            for part in one.moved(before[one.domain], now.get(one.domain, before[one.domain]))
        ]  # fmt: skip
        shown = {way: [new or path for new, path in zip(drawn[way], paths[way], strict=True)] for way in paths}
        pictures = [new or gr.skip() for row in self.rows for new in drawn[row.direction]]
        return [{**kept, run: now}, *moved, *pictures, *_slid(view, shown)]

    def choose_view(self, view: str, *results: Any) -> list[Any]:
        """Show the pictures or the sliders."""
        boxes = [gr.Row(visible=view == name) for _ in self.rows for name in ("pictures", "slider")]
        return [*boxes, *self.slide(view, *results)]

    def cancelled(self, request: gr.Request) -> list[Any]:
        """Return the empty `results`, and no files."""
        say = words.speaker(request)
        return [say("Nothing was translated."), *EMPTY * len(self.rows), *NO_FILES]


def _wire(parts: SimpleNamespace, events: Events) -> None:
    run, epoch, reading, image, results = parts.run, parts.epoch, parts.reading, parts.image, parts.results
    work = {
        # Programs get the results alone, because a layout's look isn't one.
        "fn": events.translate, "inputs": [image, run, epoch, parts.size, reading],
        "outputs": [*results, *parts.files, *parts.boxes],
        "trigger_mode": "always_last",
        # The file itself reaches `open_image`; gradio would decode it first, and fail with messages of its own.
        "preprocess": False,
        **PEOPLE, "show_progress": "minimal", "show_progress_on": parts.note,
    }  # fmt: skip
    opening = {**QUICK, **FILES}
    sliders = [slider for row in parts.rows for slider in row.sliders]
    given = [part for one in parts.controls for part in one.given]
    pictures = [picture for row in parts.rows for picture in row.pictures[: windows.PER_ROW]]
    redrawn = {
        "fn": shows_errors(events.redraw), "inputs": [parts.view, parts.shown_run, parts.kept, *given, *results[1:]],
        "outputs": [parts.kept, *given, *pictures, *sliders], "preprocess": False, **opening,
    }  # fmt: skip

    work_done = gr.on([parts.picked.change, parts.size.input], **work, api_name="translate", api_description=ABOUT)
    box = [image, parts.shown_run]
    work_done.failure(events.unless_bad, [*box, parts.refused], [image, parts.refused], preprocess=False, **opening)
    work_done.success(shows_errors(events.for_browsers), box, image, preprocess=False, **opening).then(**redrawn)
    for one in parts.controls:
        events_of = [one.preset.input, one.level.input, one.width.input, one.channels.input]
        gr.on(events_of, **redrawn, trigger_mode="always_last")
    parts.other_file.upload(shows_errors(events.give_file), [parts.other_file, run], image, preprocess=False, **opening)

    # First the run's own epoch, then the picture, because the picture's change translates it with the epoch shown.
    page = gr.context.Context.root_block
    changed, about = parts.examples, parts.about
    opened = page.load(shows_errors(events.open_page), [run, reading], [run, *about, changed], **QUEUED)
    chosen = run.input(shows_errors(events.open_run), [run, reading], [*about, changed], **QUEUED)
    chosen.failure(lambda shown: gr.Dropdown(value=shown), parts.shown_run, run, **QUICK)
    first = parts.training.first(
        shows_errors(events.open_run), [parts.shown_run, reading], [*about, changed], **QUEUED
    )
    first_picture = shows_errors(events.first_picture)
    looks = [parts.other_file, *(part for one in parts.controls for part in one.about)]
    for event in (opened, chosen, first):
        event.success(shows_errors(events.windows), [parts.shown_run, parts.kept], looks, **QUICK)
        event.success(first_picture, [run, image], [image, parts.note], preprocess=False, **opening)
    parts.examples.select(shows_errors(events.pick_example), run, image, **QUICK)
    runs.unmark(events.bench, parts.training, run)
    # Another epoch or reading keeps the picture.
    choices = [run, epoch, reading]
    parts.training.arrived(
        shows_errors(events.arrived), [parts.shown_run, epoch, reading], about, preprocess=False, **QUEUED
    )
    described = [
        choice.input(shows_errors(events.describe), choices, about, preprocess=False, **QUEUED)
        for choice in (epoch, reading)
    ]
    look_again = shows_errors(events.look_again)
    # A click while the page still looks counts too, so that an epoch that came meanwhile is seen.
    described.append(
        parts.refresh.click(
            look_again, [*choices, parts.known], about, preprocess=False, trigger_mode="always_last", **QUEUED
        )
    )
    works = [work_done]
    for event in described:
        works.append(event.success(**work, api_name="translate_again", api_visibility="private"))
        works[-1].success(**redrawn)
    emptied = [*results, *parts.files]
    parts.cancel.click(None, cancels=works, queue=False).then(events.cancelled, None, emptied, **QUICK)
    boxes = [box for row in parts.rows for box in row.boxes]
    seen = [parts.view, *results[1:]]
    parts.view.input(events.choose_view, seen, [*boxes, *sliders], preprocess=False, **QUICK)
    after_load()
    page.load(None, js=ENLARGE, queue=False, show_progress="hidden", api_visibility="private")
