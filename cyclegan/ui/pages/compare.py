"""The page that shows one picture under several epochs, or runs, side by side, with the curves of their training."""

from __future__ import annotations

import shutil
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import gradio as gr

from cyclegan.errors import CheckpointError, ImageError, UserError
from cyclegan.ui import inputs, live, runs, words
from cyclegan.ui.comparison import (
    MOST,
    OF_EXAMPLES,
    checked_number,
    compare,
    curves_of,
    default_entries,
    digest,
    directions_of,
    entry_choices,
    figures_schema,
    in_one,
    lacking,
    opening_entries,
    resolve,
    usual_direction,
)  # fmt: skip
from cyclegan.ui.feedback import busy, shows_errors, warn
from cyclegan.ui.results import linked, served
from cyclegan.ui.theme import announce, header
from cyclegan.ui.workbench import FILES, PEOPLE, QUEUED, QUICK, Workbench

CSS = Path(__file__).with_name("compare.css")
SCRIPT = Path(__file__).with_name("compare.js")

MAX_SESSIONS = 1000
"""So many visitors' latest choices are remembered."""
LINKED = ("entries", "run", "direction", "size", "example")
"""Parameters in an address of this page; the viewer adds its own."""
ABOUT = (
    "Translate a picture under several checkpoints, to compare them. image: a picture file. entries: up to 6 "
    "checkpoints such as 'streets@epoch-0012', or 'USER/NAME@epoch-0012' on the Hub; by default the newest of up to 3 "
    "runs between the same domains, or with one such run some of its own, from its first to its last. direction: 'ab' "
    "or 'ba', by default the one that most entries have; entries that lack it are left out. size: 'auto' works at the "
    "picture's own size up to twice the one that the networks were trained on, 'training' at the size that they were "
    "trained on, 'original' at the picture's own, and a number such as '512' with the shorter side of so many pixels; "
    "results always have the picture's size. Returns a sentence; the picture as it was read; the translations, each "
    "with its checkpoint's name; the pictures that were brought back, likewise; and JSON whose 'entries' have run, "
    "epoch, commit_sha, l1 (grey levels), psnr (dB) and ssim of what was brought back against the picture (null where "
    "there is no way back)."
)
"""For programs that call the page."""


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`.

    Raises:
        CheckpointError: the first run holds no readable checkpoint.
    """
    _wire(_layout(bench), Events(bench))


def _layout(bench: Workbench) -> SimpleNamespace:
    first, say = next(iter(bench.runs)), words.speaker()
    spread, script = opening_entries(bench), SCRIPT.read_text(encoding="utf-8")
    header("compare")
    training = live.live(bench)
    gr.HTML(
        words.label(
            "The same picture under several epochs: which one would you keep? The wheel or a pinch magnifies all of "
            "them together, a drag moves them."
        ),
        elem_classes="lead said",
    )  # fmt: skip
    with gr.Row(elem_classes="page"):
        with gr.Column(elem_classes="given"):
            image, examples = inputs.picture_inputs(200)
        with gr.Column(elem_classes="results"):
            with gr.Row(elem_classes="progress"):
                note = gr.HTML(busy(say("Starting …")), label="note", elem_classes="note")
                cancel = gr.Button(words.label("Cancel"), size="sm", elem_classes="cancel")
            viewer = gr.HTML(
                label="comparison", html_template='<div class="viewer"></div>', js_on_load=script,
                apply_default_css=False, elem_classes="bare", words=words.for_script(script),
            )  # fmt: skip
            # The browser shows it (compare.js); programs get the figures.
            viewer.api_info = figures_schema  # Not a subclass, because gradio writes a .pyi file next to each.
            with gr.Row(visible=False):  # The results of a comparison for programs.
                given = gr.Image(label="input", format="png", interactive=False)
                fakes = gr.Gallery(label="translations", format="png", interactive=False)
                recs = gr.Gallery(label="ways back", format="png", interactive=False)
        with gr.Column(elem_classes="settings"):
            run = runs.run_dropdown(bench)
            with gr.Column(elem_classes="epoch"):
                more = words.label("2 to 6, of any run; or type USER/NAME@epoch-0012.")
                # No value until the page opens, so that programs that name none get the spread of that moment.
                entries = gr.Dropdown(
                    entry_choices(bench, first, spread, say), value=None, multiselect=True, max_choices=MOST,
                    label=words.label("Epochs to compare"), allow_custom_value=bench.takes_more,
                    info=more if bench.takes_more else words.label("2 to 6, of any run."),
                )  # fmt: skip
                refresh = gr.Button(words.label("Refresh"), size="sm")
            direction = gr.Radio(directions_of(spread), value=None, label=words.label("Direction"))
            size = inputs.size_dropdown()
        with gr.Column(elem_classes="charts"):
            charts = gr.HTML(label=words.label("Training curves"), elem_classes="bare")
    wanted_example = gr.State(1)  # The example to begin with.
    known = gr.State(None)  # The newest epoch of the run that the page knows.
    settled = gr.State(None)  # The entries as the server has put them; others are the visitor's choice.
    turned = gr.State(None)  # Changes when the visitor changes the entries.
    return SimpleNamespace(**{name: part for name, part in locals().items() if name not in ("bench", "say", "script")})


class Events:
    """The page's reactions to what its visitor does."""

    def __init__(self, bench: Workbench) -> None:
        self.bench, self.first = bench, next(iter(bench.runs))
        self.turns: OrderedDict[str | None, int] = OrderedDict()
        """The number of changes of each session's choices: a change stops the older comparison."""

    def _describe(
        self, run: str, chosen: Sequence[str] | None, direction: str | None, request: gr.Request
    ) -> tuple[list[Any], list[UserError]]:
        """Return the settings for these entries (entries, settled, direction), and what was wrong with them.

        A run that is starting has no entry and no direction.
        """
        say = words.speaker(request)
        found, problems = resolve(self.bench, chosen)
        found = found or default_entries(self.bench, run)
        directions = directions_of(found)
        valid = [value for _, value in directions]
        if found and direction is not None and direction not in valid:
            problems.append(lacking(found[0], direction))
        values = [entry.value for entry in found]
        return [
            gr.Dropdown(entry_choices(self.bench, run, found, say), value=values, multiselect=True), values,
            gr.Radio(
                directions, value=direction if direction in valid else usual_direction(found), visible=len(valid) > 1
            ),
        ], problems  # fmt: skip

    def open_page(self, request: gr.Request) -> list[Any]:
        """Show what the address names; where it names nothing that exists, the first run's defaults."""
        asked, say = {name: request.query_params.get(name) for name in LINKED}, words.speaker(request)
        found, problems = resolve(self.bench, [unquote(one) for one in (asked["entries"] or "").split(",") if one])
        if not found and asked["run"] is None:
            found = opening_entries(self.bench)
        run, side, number = self.first, "auto", 1
        try:
            run = asked["run"] or (found[0].run if found else self.first)
            runs.listed(self.bench.run(run))
        except CheckpointError as error:
            problems.append(error)
            run = self.first
        try:
            if asked["size"] is not None:
                side = str(inputs.checked_size(asked["size"]))
        except ImageError as error:
            problems.append(error)
        try:
            if asked["example"] is not None:
                number = checked_number(asked["example"], len(runs.examples_of(self.bench.run(run))))
        except ImageError as error:
            problems.append(error)
        described, more = self._describe(run, [entry.value for entry in found], asked["direction"], request)
        if problems := [*problems, *more]:
            warn(in_one(problems), say, say("Part of this link couldn't be shown"))
        gallery = runs.examples_gallery(self.bench.run(run))
        line = live.value(self.bench, run, say)
        return [runs.chosen(self.bench, run, request), *described, self._newest(run), line, side, number, gallery]

    def open_run(self, run: str, request: gr.Request) -> list[Any]:
        """Show another run's defaults, and its examples."""
        gallery = runs.examples_gallery(self.bench.run(run))
        line = live.value(self.bench, run, words.speaker(request))
        return [*self._describe(run, None, None, request)[0], self._newest(run), line, 1, gallery]

    def _newest(self, run: str) -> int | None:
        return next((info.epoch for info in runs.listed(self.bench.run(run))), None)

    def first_picture(self, run: str, payload: dict | None, number: int, request: gr.Request) -> list[Any]:
        """Return the visitor's own picture, or else the run's example; a changed picture is compared."""
        say = words.speaker(request)
        own = inputs.source_of(payload) if payload and payload.get("path") else None
        if own is not None and not own.parent.name.startswith(OF_EXAMPLES):
            # Under a new name, so that it counts as changed and is compared under this run's epochs.
            return [linked(own), busy(say("Starting …"))]
        picture = self._take_example(run, number - 1)
        return [picture, busy(say("Starting …")) if picture else say("Choose a picture.")]

    def _take_example(self, run: str, index: int) -> str | None:
        paths = runs.examples_of(self.bench.run(run))
        if index >= len(paths):
            return None
        folder = f"{OF_EXAMPLES}{index + 1}-{digest(run)}-"
        return served(paths[index].name, lambda path: shutil.copyfile(paths[index], path), folder)

    def pick_example(self, run: str, event: gr.SelectData) -> str | None:
        """Return the example that was clicked."""
        return self._take_example(run, event.index)

    def notice(self, chosen: list[str] | None, settled: list[str] | None) -> Any:
        """Return a new value for `turned` if the visitor has changed the entries."""
        return gr.skip() if chosen == settled else time.monotonic()

    def settle(self, run: str, chosen: list[str] | None, direction: str | None, request: gr.Request) -> list[Any]:
        """Return the choices as they can be compared; a notice reports what was wrong with them."""
        say = words.speaker(request)
        described, problems = self._describe(run, chosen, direction, request)
        if problems:
            warn(in_one(problems), say, say("That didn't work"))
        self.turns[request.session_hash] = self.turns.pop(request.session_hash, 0) + 1
        while len(self.turns) > MAX_SESSIONS:
            self.turns.popitem(last=False)
        return described

    def look_again(
        self, run: str, chosen: list[str] | None, direction: str | None, known: int | None, request: gr.Request
    ) -> list[Any]:
        """Offer epochs that a running training has added since the last look."""
        info, _ = runs.look_for_newer(self.bench.run(run), known, words.speaker(request))
        return [*self._describe(run, chosen, direction, request)[0], info.epoch]

    def arrived(
        self, run: str, chosen: list[str] | None, direction: str | None, request: gr.Request
    ) -> list[Any]:
        """Offer the epochs that have come; the chosen ones stay."""
        line = live.value(self.bench, run, words.speaker(request))
        return [*self._describe(run, chosen, direction, request)[0], self._newest(run), line]

    def draw(self, chosen: list[str] | None, request: gr.Request) -> str:
        """Return the curves of each run that is shown."""
        return curves_of(self.bench, chosen, words.speaker(request))

    def compare(
        self, image: dict | None, entries: list[str] | None = None, direction: str | None = None, size: str = "auto",
        request: gr.Request = None,  # type: ignore[assignment]  # gradio's way to ask for it
    ) -> Iterator[list[Any]]:
        """Compare, until the visitor's choice changes."""
        turn = self.turns.get(request.session_hash)
        for shown in compare(self.bench, image, entries, direction, size, words.speaker(request)):
            if self.turns.get(request.session_hash) != turn:
                return  # The next comparison has begun.
            yield shown

    def stop(self, shown: dict | None, request: gr.Request) -> list[Any]:
        """Keep the finished tiles only."""
        kept = [entry for entry in (shown or {}).get("entries", []) if entry.get("fake")]
        say = words.speaker(request)
        return [say("Stopped. What was ready is kept."), {**shown, "entries": kept} if kept else None]


def _wire(parts: SimpleNamespace, events: Events) -> None:
    opening, unread = {**QUICK, **FILES}, {"preprocess": False}
    run, image, note, known, size = parts.run, parts.image, parts.note, parts.known, parts.size
    settings, choices = [parts.entries, parts.settled, parts.direction], [run, parts.entries, parts.direction]
    start = [known, parts.training, size, parts.wanted_example, parts.examples]
    opened = gr.context.Context.root_block.load(
        shows_errors(events.open_page), None, [run, *settings, *start], **QUEUED
    )
    another = [*settings, known, parts.training, parts.wanted_example, parts.examples]
    chosen, first = (
        event(shows_errors(events.open_run), run, another, **QUEUED) for event in (run.input, parts.training.first)
    )
    parts.training.arrived(
        shows_errors(events.arrived), choices, [*settings, known, parts.training], **unread, **QUEUED
    )
    for event in (opened, chosen, first):
        event.success(
            shows_errors(events.first_picture), [run, image, parts.wanted_example], [image, note], **unread, **opening
        )
    runs.unmark(events.bench, parts.training, run)
    parts.examples.select(shows_errors(events.pick_example), run, image, **QUICK)

    # Every choice is settled first; then only one event compares, so that no two run at a time.
    # Not `input`: for a typed value, gradio reports only a change. Queued, or the state's change isn't reported.
    parts.entries.change(events.notice, [parts.entries, parts.settled], parts.turned, **unread, **QUEUED)
    ready = gr.on(
        [image.change, parts.turned.change, parts.direction.input, size.input], shows_errors(events.settle), choices,
        settings, trigger_mode="always_last", **unread, **QUEUED,
    )  # fmt: skip
    compared = ready.success(
        events.compare, [image, parts.entries, parts.direction, size],
        [note, parts.given, parts.fakes, parts.recs, parts.viewer], trigger_mode="always_last", **unread, **PEOPLE,
        show_progress="hidden", api_name="compare", api_description=ABOUT,
    )  # fmt: skip
    ready.success(shows_errors(events.draw), parts.entries, parts.charts, **unread, **QUEUED)
    compared.failure(inputs.unless_bad, image, image, **unread, **opening)
    compared.success(shows_errors(inputs.for_browsers), image, image, **unread, **opening)
    parts.cancel.click(events.stop, parts.viewer, [note, parts.viewer], cancels=[compared], **QUICK)
    parts.refresh.click(shows_errors(events.look_again), [*choices, known], [*settings, known], **unread, **QUEUED)
    announce()
