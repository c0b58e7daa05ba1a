"""The page of scores over whole test sets: which epoch of which run is best, by what, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from cyclegan.checkpoints.sources import CheckpointSource, LocalSource
from cyclegan.errors import Message, UserError
from cyclegan.ui import epochs, live, score_scatter, scores, words
from cyclegan.ui.feedback import busy, notices, shows_errors
from cyclegan.ui.owner import proof_of
from cyclegan.ui.studies import COPY
from cyclegan.ui.theme import after_load, header
from cyclegan.ui.workbench import Workbench

CSS = Path(__file__).with_name("scores.css")
SCRIPT = Path(__file__).with_name("scores.js")

MAX_RUNS = 12
"""So many runs are shown together, unless the app has more of its own."""
PRIVATE: dict[str, Any] = {
    "preprocess": False, "show_progress": "hidden", "api_visibility": "private", "concurrency_id": "scores",
    "concurrency_limit": 32,
}  # fmt: skip
ABOUT = (
    "The scores of a run on whole test sets, as `python -m cyclegan evaluate` wrote them. run: name of a run, the "
    "first by default, or USER/NAME on the Hub. Returns a list of files, each with name, run, names (of the domains a "
    "and b), and for each direction, ab or ba, measured_on, scores by epoch, baselines and ceilings. A figure has "
    "value, low and high (95% interval)."
)
"""For programs that call the page."""


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`."""
    _wire(_layout(bench), Events(bench))


def _layout(bench: Workbench) -> SimpleNamespace:
    header("scores")
    gr.HTML(
        words.label(
            "Epochs and runs measured on whole test sets, next to answers that need no training and to real pictures."
        ),
        elem_classes="lead",
    )  # fmt: skip
    info = None
    if bench.takes_more:
        info = words.label("Or type USER/NAME of a repository on the Hub, then press Enter.")
    if bench.takes_more and bench.own:
        info = words.label(
            "Or type a folder such as runs/maps, or USER/NAME of a repository on the Hub, then press Enter."
        )
    runs = gr.Dropdown(
        list(bench.runs), value=list(bench.runs), multiselect=True, label=words.label("Runs"), info=info,
        allow_custom_value=bench.takes_more, visible=bench.takes_more or len(bench.runs) > 1,
        max_choices=max(MAX_RUNS, len(bench.runs)), elem_classes="runs",
    )  # fmt: skip
    with gr.Row(elem_classes="choose-scores"):
        choice = gr.Radio([], label=words.label("Direction"), visible=False)
        refresh = gr.Button(words.label("Refresh"), size="sm")
    copy = COPY.read_text(encoding="utf-8")
    about = gr.HTML(
        busy(words.speaker()("Starting …")), elem_classes="about-scores", js_on_load=copy, words=words.for_script(copy)
    )
    advice = gr.HTML(elem_classes="advice")
    table = gr.HTML(elem_classes="scores-table", js_on_load=SCRIPT.read_text(encoding="utf-8"))
    with gr.Column(elem_classes="chosen", visible=False) as column:
        heading = gr.HTML(elem_classes="heading")
        note = gr.HTML("", label="note", elem_classes="note")
        grids = gr.Gallery(
            label=words.label("Samples"), columns=2, object_fit="contain", format="png", height="auto",
            interactive=False, elem_classes="grids", buttons=["download", "fullscreen"],
        )  # fmt: skip
        details = gr.HTML(elem_classes="of-classes")
    plots = gr.HTML(elem_classes="trend")
    people = gr.HTML(elem_classes="trend")
    # The epoch, and the runs, that are shown.
    run, epoch, opened = gr.State(None), gr.State(None), gr.State(list(bench.runs))
    picked = [run, epoch, column, heading, details, plots]
    for_programs = gr.Button(visible=False)
    named, files = gr.Textbox(visible=False, label="run"), gr.JSON(visible=False, label="files")
    return SimpleNamespace(
        runs=runs, choice=choice, refresh=refresh, table=table, note=note, grids=grids, run=run, epoch=epoch,
        opened=opened, picked=picked, for_programs=for_programs, named=named, files=files,
        shown=[choice, about, advice, table, *picked, people],
    )  # fmt: skip


class Events:
    """The page's reactions to what its visitor does."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def open_page(self, request: gr.Request) -> list[Any]:
        """Show the first measurement, with the run and the epoch that the address names."""
        asked, names = dict(request.query_params), list(self.bench.runs)
        if (run := asked.get("run")) and run not in names and self.bench.takes_more:
            names.append(run)
        return [names, names, *self.show(names, None, run, asked.get("epoch"), request)]

    def show(self, names: Any, key: str | None, run: str | None, tag: str | None, request: gr.Request) -> list[Any]:
        """Read the files of scores, and return a measurement in the order of `shown`.

        Without one of this key it is the first that has the run, else the first of all.
        """
        say = words.speaker(request)
        sources, problems = self._opened(names)
        found, unread = scores.collect(sources)
        # A run without scores is nothing special, unless somebody asks for it or others have some.
        said = {name for one in found for name in one.reports}.union(str(each.values.get("run")) for each in unread)
        missing = [name for name in sources if name not in said and (found or name not in self.bench.runs)]
        problems += [*unread, *(scores.unmeasured(name, sources[name], say, own=self.bench.own) for name in missing)]
        if not found:
            shown, sources = notices(problems, say), sources or self.bench.runs
            young = [name for name, source in sources.items()
                     if isinstance(source, LocalSource) and source.has_begun and not source.watch().epochs]
            shown += "".join(live.line(self.bench, name, say) for name in young)
            if able := {name: source for name, source in sources.items() if name not in young}:
                shown += scores.nothing(able, say, own=self.bench.own)
            return [gr.Radio([], value=None, visible=False), shown, "", "", *self._nothing(), ""]
        later = (scores.newer(name, source, found, say, own=self.bench.own) for name, source in sources.items())
        problems += filter(None, later)
        of_run = [each for each in found if run in each.reports] or found
        one = next((each for each in found if each.key == key), of_run[0])
        elsewhere = [name for name in said if name in sources and name not in one.reports]
        problems += scores.elsewhere(elsewhere, one, found)
        radio = gr.Radio(scores.choices(found), value=one.key, visible=True)
        about = notices(problems, say) + scores.measured_on(one, say)
        table = scores.table(one, one.chosen(run, tag), say)
        said = score_scatter.said_about(one, self.bench.studies, proof_of(request))
        about += notices(said.problems, say)
        advice, people = scores.advice(one, say, said.by_run(one)), score_scatter.scatter(one, said, say)
        return [radio, about, advice, table, *self._picked(one, run, tag, say), people]

    def choose_runs(self, names: Any, opened: Any, request: gr.Request) -> Any:
        """Show other runs, if they aren't shown already: a measurement of the one that was added last."""
        if names == opened:  # Set by the server: gradio has no event that is a visitor's alone.
            return gr.skip()
        last = names[-1] if isinstance(names, list) and names and isinstance(names[-1], str) else None
        return [names, *self.show(names, None, last, None, request)]

    def look_again(
        self, names: Any, key: str | None, run: str | None, tag: str | None, request: gr.Request
    ) -> list[Any]:
        """Read the files again, also those of the Hub."""
        for source in self._opened(names)[0].values():
            source.refresh()
        return self.show(names, key, run, tag, request)

    def _opened(self, names: Any) -> tuple[dict[str, CheckpointSource], list[Message | UserError]]:
        """Return the runs of these names, which a visitor may have typed, and what is wrong with some; all for none."""
        problems: list[Message | UserError] = []
        asked = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        sources: dict[str, CheckpointSource] = {}
        for name in asked[: max(MAX_RUNS, len(self.bench.runs))]:
            try:
                sources[name] = self.bench.run(name)
            except UserError as error:
                problems.append(error)
        return sources or dict(self.bench.runs), problems

    def pick(self, names: Any, key: str | None, request: gr.Request, event: gr.EventData) -> list[Any]:
        """Return what is shown of the row that was selected."""
        found, _ = scores.collect(self._opened(names)[0])
        one = next((each for each in found if each.key == key), None)
        if one is None:
            return self._nothing()
        return self._picked(one, str(event.run), str(event.epoch), words.speaker(request))

    def _picked(self, one: scores.Measurement, run: str | None, tag: str | None, say: words.Speaker) -> list[Any]:
        """Return a row in the order of `picked`."""
        row = one.chosen(run, tag)
        if row is None:
            return self._nothing()
        tags = [other.answer for other in one.epochs() if other.run == row.run]
        return [
            row.run, row.answer, gr.Column(visible=True), scores.heading(row, tags, say), scores.details(row, say),
            scores.plots(one, row.run, row.answer, say),
        ]  # fmt: skip

    def _nothing(self) -> list[Any]:
        return [None, None, gr.Column(visible=False), "", "", ""]

    def samples(self, run: str | None, tag: str | None, request: gr.Request) -> Iterator[list[Any]]:
        """Show the samples of the row's epoch; yields the note and the gallery."""
        if tag is None:
            yield ["", []]
        else:
            yield from epochs.samples(self.bench, run, tag, request)

    def scores(self, run: str | None = None) -> list[dict[str, Any]]:
        """Return the files of a run's scores, for programs; those that can't be read are left out."""
        found, _ = scores.collect({"": self.bench.run(run or None)})
        files = {report.path: report.content for one in found for report in one.reports.values()}
        return list(files.values())


def _wire(parts: SimpleNamespace, events: Events) -> None:
    def pictures(event: Any) -> None:
        event.success(
            events.samples, [parts.run, parts.epoch], [parts.note, parts.grids], trigger_mode="always_last", **PRIVATE
        )  # fmt: skip

    page, now = gr.context.Context.root_block, [parts.runs, parts.choice, parts.run, parts.epoch]
    with_runs = [parts.opened, *parts.shown]
    pictures(page.load(shows_errors(events.open_page), None, [parts.runs, *with_runs], **PRIVATE))
    named = [parts.runs, parts.opened]
    pictures(parts.runs.change(shows_errors(events.choose_runs), named, with_runs, **PRIVATE))
    pictures(parts.choice.input(shows_errors(events.show), now, parts.shown, **PRIVATE))
    pictures(parts.refresh.click(shows_errors(events.look_again), now, parts.shown, **PRIVATE))
    pictures(parts.table.pick(shows_errors(events.pick), [parts.runs, parts.choice], parts.picked, **PRIVATE))
    parts.for_programs.click(
        shows_errors(events.scores), parts.named, parts.files, **{**PRIVATE, "api_visibility": "public"},
        api_name="scores", api_description=ABOUT,
    )  # fmt: skip
    after_load()
