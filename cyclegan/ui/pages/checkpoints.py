"""The page of a run's epochs: their samples, losses, figures and dates, and links to use one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from cyclegan.ui import epochs, live, runs, withheld, words
from cyclegan.ui.curves import curves
from cyclegan.ui.epoch_order import EpochOrder
from cyclegan.ui.feedback import busy, notices, shows_errors
from cyclegan.ui.in_training import in_training
from cyclegan.ui.theme import after_load, header
from cyclegan.ui.workbench import Workbench

CSS = Path(__file__).with_name("checkpoints.css")
SCRIPT = Path(__file__).with_name("checkpoints.js")

PAGE = 12
"""So many epochs are shown at first, and more at a time."""
LOOKS: dict[str, Any] = {"concurrency_id": "checkpoints", "concurrency_limit": 32}
"""For the events that may ask the Hub."""
PRIVATE = {"preprocess": False, "show_progress": "hidden", "api_visibility": "private", **LOOKS}
ADDRESS = """(run, epoch) => {
  if (run && epoch) history.replaceState(null, '', location.pathname + '?' + new URLSearchParams({run, epoch}));
}"""
ABOUT_SAMPLES = (
    "The samples of an epoch. run: name of a run, the first by default, or USER/NAME on the Hub. epoch: a "
    "checkpoint such as 'epoch-0012', the newest by default. Returns a sentence, and a list of PNG files with "
    "captions, one per direction: a grid with a row per picture, and in columns the real one, its translation, what "
    "was brought back, and where it is known the true one. The list may be empty."
)
"""For programs that call the page."""
ABOUT_CHECKPOINTS = (
    "The epochs of a run, without their weights. run: name of a run, the first by default, or USER/NAME or "
    "USER/NAME@epoch-0012 on the Hub. Returns a sentence, and a list of epochs, newest first, each with epoch, tag, "
    "commit_sha, created (ISO 8601, UTC), global_step, losses, metrics, directions ('ab', 'ba'), domains (names of 'a' "
    "and 'b'). A loss or metric that isn't a finite number is null."
)
"""For programs that call the page."""


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`.

    Raises:
        CheckpointError: the first run holds no readable checkpoint.
    """
    _wire(_layout(bench), Events(bench))


def _layout(bench: Workbench) -> SimpleNamespace:
    infos, say = runs.listed(bench.run(None)), words.speaker()
    header("checkpoints")
    gr.HTML(
        words.label("Every epoch that was saved, with samples of the same pictures each time."), elem_classes="lead"
    )
    with gr.Row(elem_classes="choose"):
        run = runs.run_dropdown(bench)
        epoch, refresh = runs.epoch_dropdown(infos)
    training = live.live(bench)
    in_training = gr.HTML(elem_classes="in-training")
    about = gr.HTML(elem_classes="about-run")
    with gr.Column(elem_classes="chosen"):
        heading = gr.HTML()
        note = gr.HTML(busy(say("Starting …")), label="note", elem_classes="note")
        grids = gr.Gallery(
            label=words.label("Samples"), columns=2, object_fit="contain", format="png", height="auto",
            interactive=False, elem_classes="grids", buttons=["download", "fullscreen"],
        )  # fmt: skip
    trend = gr.HTML(elem_classes="trend")

    def thumbnails(wanted: Any, request: gr.Request) -> dict[str, str] | None:
        return epochs.thumbnails(bench, wanted, request)

    # Visible once the run has scores.
    order = gr.Dropdown([("", "")], value="", label=words.label("Sort the epochs by"), visible=False,
                        filterable=False, elem_classes="order")  # fmt: skip
    script = SCRIPT.read_text(encoding="utf-8")
    cards = gr.HTML(elem_classes="cards", js_on_load=script, server_functions=[thumbnails])
    more = gr.Button(visible=False, elem_classes="more")
    # The run that the page shows, whatever is typed; the newest epoch that it knows; the number of cards.
    opened, known, count = gr.State(next(iter(bench.runs))), gr.State(None), gr.State(PAGE)
    shown = [opened, known, count, training, epoch, about, heading, order, cards, more]
    sentence, entries = gr.Textbox(visible=False, label="sentence"), gr.JSON(visible=False, label="epochs")
    for_programs = gr.Button(visible=False)
    parts = locals()
    return SimpleNamespace(**{name: parts[name] for name in parts if name not in ("bench", "infos", "say", "script")})


class Events:
    """The page's reactions to what its visitor does."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def _show(
        self, run: str, tag: str | None, count: int, say: words.Speaker, order: str | None = ""
    ) -> list[Any]:
        """Return a run with an epoch of it (the newest, if it isn't there), in the order of `shown`."""
        source = self.bench.run(run)
        infos = runs.listed(source)
        line = live.value(self.bench, run, say)
        if not infos:
            return [
                run, None, count, line, gr.Dropdown([], value=None), "", "", gr.Dropdown(visible=False), "",
                gr.Button(visible=False),
            ]  # fmt: skip
        ordered = EpochOrder(source, infos, order)
        info = next((i for i in infos if i.tag == tag), infos[0])
        rest = len(infos) - count
        more = say("Show {more} more of {rest}", more=min(PAGE, rest), rest=rest)
        return [
            run, infos[0].tag, count, line,
            runs.epochs_shown(infos, info, say),
            epochs.about(source, infos, say) + notices(ordered.problems, say),
            epochs.heading(info, say),
            gr.Dropdown(ordered.choices(say), value=ordered.key, visible=bool(ordered.columns)),
            epochs.cards(run, infos, count, info, say, ordered),
            gr.Button(more, visible=True) if rest > 0 else gr.Button(visible=False),
        ]  # fmt: skip

    def open_page(self, run: str, request: gr.Request) -> list[Any]:
        """Show the run and the epoch that the address names, else the first run's newest."""
        run, tag = runs.asked(self.bench, request, run)
        return [runs.chosen(self.bench, run, request), *self._show(run, tag, PAGE, words.speaker(request))]

    def say_opening(self, request: gr.Request) -> str:
        """Return the note while a run is opened."""
        say = words.speaker(request)
        return busy(say("Opening …"))

    def open_run(self, run: str, request: gr.Request) -> list[Any]:
        """Show another run's newest epoch."""
        return self._show((run or "").strip(), None, PAGE, words.speaker(request))

    def keep(self, opened: str) -> list[Any]:
        """Return the shown run's name and no note, after a failure."""
        return [opened, ""]

    def choose(self, opened: str, tag: str | None, order: str | None, count: int, request: gr.Request) -> list[Any]:
        """Show another epoch, or another order."""
        return self._show(opened, tag, count, words.speaker(request), order)

    def pick(
        self, opened: str, order: str | None, count: int, request: gr.Request, event: gr.EventData
    ) -> list[Any]:
        """Show the epoch whose card was clicked."""
        info = self.bench.info(opened, runs.epoch_number(event.epoch))
        return self._show(opened, info.tag, count, words.speaker(request), order)

    def show_more(self, opened: str, tag: str | None, order: str | None, count: int, request: gr.Request) -> list[Any]:
        """Show more cards."""
        return self._show(opened, tag, count + PAGE, words.speaker(request), order)

    def look_again(
        self, opened: str, tag: str | None, order: str | None, known: str | None, count: int, request: gr.Request
    ) -> list[Any]:
        """Find epochs that a running training has added since the last look, and show the newest of those."""
        say = words.speaker(request)
        info, new = runs.look_for_newer(self.bench.run(opened), known, say)
        return self._show(opened, info.tag if new else tag, count, say, order)

    def arrived(
        self, opened: str, tag: str | None, order: str | None, known: str | None, count: int, request: gr.Request
    ) -> list[Any]:
        """Show the epochs that have come; whoever looks at the newest one gets the new one.

        For whoever looks at another one the newest counts as not yet seen.
        """
        values = self._show(opened, None if tag == known else tag, count, words.speaker(request), order)
        return values if tag == known else [values[0], gr.skip(), *values[2:]]

    def in_training(self, opened: str, request: gr.Request) -> str:
        """Return the losses and samples of the epoch that is being trained."""
        source = self.bench.run(opened)
        hidden = withheld.from_visitor(self.bench, next(iter(runs.listed(source)), None), request)
        return in_training(source, words.speaker(request), samples=not hidden)

    def draw(self, opened: str, tag: str | None, request: gr.Request) -> str:
        """Return the run's curves."""
        infos = runs.listed(self.bench.run(opened))
        if not infos:
            return ""
        return curves(infos, [info.epoch for info in infos if info.tag == tag], words.speaker(request))

    def samples(
        self, run: str | None = None, epoch: str | None = None,
        request: gr.Request = None,  # type: ignore[assignment]  # gradio's way to ask for it
    ) -> Iterator[list[Any]]:
        """Show an epoch's samples; yields the note and the gallery."""
        yield from epochs.samples(self.bench, run, epoch, request)

    def checkpoints(
        self, run: str | None = None, request: gr.Request = None,  # type: ignore[assignment]
    ) -> tuple[str, list[dict[str, Any]]]:
        """Return a sentence and the epochs, for programs."""
        source = self.bench.run(run)
        infos = runs.listed(source)
        return epochs.sentence(source, infos, words.speaker(request)), [epochs.entry(info) for info in infos]


def _wire(parts: SimpleNamespace, events: Events) -> None:
    run, epoch, opened, order, known, count, shown = (
        parts.run, parts.epoch, parts.opened, parts.order, parts.known, parts.count, parts.shown,
    )  # fmt: skip
    pictures = {
        "fn": events.samples, "inputs": [run, epoch], "outputs": [parts.note, parts.grids], "preprocess": False,
        "trigger_mode": "always_last", "show_progress": "minimal", "show_progress_on": parts.note, **LOOKS,
    }  # fmt: skip

    def go_on(event: Any, **api: Any) -> None:
        """After a choice: the address, the pictures, and the curves last, because they take longest."""
        event.failure(events.keep, opened, [run, parts.note], **PRIVATE)
        event.success(None, [run, epoch], js=ADDRESS, **PRIVATE)
        event.success(shows_errors(events.in_training), opened, parts.in_training, **PRIVATE)
        event.success(**pictures, **{"api_name": "samples_again", "api_visibility": "private", **api})
        event.success(shows_errors(events.draw), [opened, epoch], parts.trend, **PRIVATE)

    page = gr.context.Context.root_block
    api = {"api_name": "samples", "api_visibility": "public", "api_description": ABOUT_SAMPLES}
    go_on(epoch.input(shows_errors(events.choose), [opened, epoch, order, count], shown, **PRIVATE), **api)
    go_on(page.load(shows_errors(events.open_page), run, [run, *shown], **PRIVATE))
    opening = run.input(events.say_opening, None, parts.note, **PRIVATE)
    go_on(opening.then(shows_errors(events.open_run), run, shown, **PRIVATE))
    go_on(parts.cards.pick(shows_errors(events.pick), [opened, order, count], shown, **PRIVATE))
    looked = [opened, epoch, order, known, count]
    go_on(parts.refresh.click(shows_errors(events.look_again), looked, shown, **PRIVATE))
    runs.unmark(events.bench, parts.training, run)
    for event in (parts.training.first, parts.training.arrived):
        go_on(event(shows_errors(events.arrived), looked, shown, **PRIVATE))
    parts.training.moved(shows_errors(events.in_training), opened, parts.in_training, **PRIVATE)
    order.input(shows_errors(events.choose), [opened, epoch, order, count], shown, **PRIVATE)
    parts.more.click(shows_errors(events.show_more), [opened, epoch, order, count], shown, **PRIVATE)
    parts.for_programs.click(
        shows_errors(events.checkpoints), run, [parts.sentence, parts.entries], api_name="checkpoints",
        api_description=ABOUT_CHECKPOINTS, preprocess=False, **LOOKS,
    )  # fmt: skip
    after_load()
