"""The page of the studies: links to take part, the results, and a form that builds another."""

from __future__ import annotations

import contextlib
import html
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import gradio as gr

from cyclegan.checkpoints.sources import CheckpointSource, LocalSource
from cyclegan.errors import StudyError
from cyclegan.study.protocol import PROTOCOLS
from cyclegan.study.protocol import protocol as preset
from cyclegan.study.shelf import KEY_VARIABLE, Studies
from cyclegan.ui import live, runs, words
from cyclegan.ui.feedback import busy, raise_for_page, shows_errors
from cyclegan.ui.studies import card, drawn_report, offered_dataset, report_files, results, spread
from cyclegan.ui.theme import announce, header
from cyclegan.ui.workbench import Workbench

CSS = Path(__file__).with_name("studies.css")
SCRIPT = Path(__file__).with_name("studies.js")

BUILT_IN = Path("studies")
"""The folder of the studies that the page builds; the app looks for studies there by itself."""
REPORTS: dict[str, Any] = {"concurrency_id": "reports", "concurrency_limit": 2}
BUILDS: dict[str, Any] = {"concurrency_id": "builds", "concurrency_limit": 1}
PRIVATE = {"show_progress": "hidden", "api_visibility": "private", **REPORTS}
ABOUT = (
    "The results of a study of realism. study: its name, the first by default. key: the owner's, on a server for "
    "others. Returns the report: participants; epochs, each with epoch, fooling_rate (0 to 1), interval (95%, over "
    "participants) and counts; trend, contrasts and the rest of what `python -m cyclegan study report --format json` "
    "writes."
)
"""For programs that call the page."""


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`: `bench.studies`, and for its owner the form that builds others."""
    studies: Studies = bench.studies
    parts, events = _layout(studies), Events(studies, bench)
    card_of, page = shows_errors(events.card_of), gr.context.Context.root_block

    def then_count(event: Any) -> None:
        counted = event.success(shows_errors(events.count), parts.choice, parts.first[1:], **PRIVATE)
        counted.failure(events.stopped, None, parts.note, **PRIVATE)

    then_count(page.load(shows_errors(events.open_page), parts.choice, [parts.choice, *parts.first], **PRIVATE))
    then_count(parts.choice.input(card_of, parts.choice, parts.first, **PRIVATE))
    then_count(parts.refresh.click(card_of, parts.choice, parts.first, **PRIVATE))
    parts.make_files.click(
        shows_errors(events.write_files), parts.choice, parts.files, api_visibility="private", **REPORTS
    )
    named, key = gr.Textbox(visible=False, label="study"), gr.Textbox(visible=False, label="key")
    gr.Button(visible=False).click(
        shows_errors(events.study_report), [named, key], gr.JSON(visible=False, label="report"),
        api_name="study_report", api_description=ABOUT, preprocess=False, **REPORTS,
    )  # fmt: skip
    announce()
    if studies.own:
        built, run, training = _build_form(bench, studies, parts.choice)
        then_count(built.success(card_of, parts.choice, parts.first, **PRIVATE))
    else:
        run, training = gr.State(next(iter(bench.runs))), live.live(bench, shown=False)
    page.load(events.line, run, training, **PRIVATE)
    training.studied(shows_errors(events.noticed), parts.choice, [parts.choice, *parts.first], **PRIVATE)


def _layout(studies: Studies) -> SimpleNamespace:
    header("studies")
    gr.HTML(
        words.label(
            "People judge what looks real. Each takes part once and sees pictures from a plan that was fixed in "
            "advance."
        ),
        elem_classes="lead",
    )  # fmt: skip
    with gr.Row(elem_classes="choose-study"):
        choice = gr.Dropdown(
            list(studies.by_name), value=next(iter(studies.by_name), None), label=words.label("Study"),
            visible=len(studies.by_name) > 1, filterable=False,
        )  # fmt: skip
    script = SCRIPT.read_text(encoding="utf-8")
    shown = gr.HTML(elem_classes="study-card", js_on_load=script, words=words.for_script(script))
    note = gr.HTML("", label="note", elem_classes="note")
    table = gr.HTML(elem_classes="results-table", visible=False)
    with gr.Row(visible=False, elem_classes="results-buttons") as buttons:
        refresh = gr.Button(words.label("Refresh"), size="sm")
        make_files = gr.Button(words.label("Make the files"), size="sm")
    files = gr.File(
        label=words.label("Report and votes as files"), file_count="multiple", interactive=False, visible=False
    )
    with gr.Accordion(words.label("The whole report"), open=False, visible=False) as whole_box:
        drawn = gr.HTML(elem_classes="drawn-report", padding=False)
        whole = gr.Markdown(elem_classes="whole-report")
    first = [shown, note, table, buttons, whole_box, drawn, whole, files]
    return SimpleNamespace(choice=choice, note=note, refresh=refresh, make_files=make_files, files=files, first=first)


def _key(request: gr.Request) -> str | None:
    return dict(request.query_params).get("key")


def _hidden() -> list[Any]:
    """Return `first` without the card and the note, hidden."""
    return [
        gr.HTML("", visible=False), gr.Row(visible=False), gr.Accordion(visible=False), "", gr.Markdown(""),
        gr.File(visible=False),
    ]  # fmt: skip


class Events:
    """The page's reactions to what its visitor does."""

    def __init__(self, studies: Studies, bench: Workbench) -> None:
        self.studies, self.bench = studies, bench

    def line(self, run: str, request: gr.Request) -> str:
        """Return the line about a run's training."""
        return live.value(self.bench, run, words.speaker(request))

    def card_of(self, name: str | None, request: gr.Request) -> list[Any]:
        """Return the study itself without its results, in the order of `first`."""
        say, key = words.speaker(request), _key(request)
        if not self.studies.by_name:
            return [f"<p>{say.html('There are no studies here yet.')}</p>", "", *_hidden()]
        owner, said = self.studies.may_see(key), ""
        if owner:
            said = busy(say("Counting the votes …"))
        elif key:
            said = say(
                "Only the owner can see the results: open this page with ?key= and the server's STUDY_KEY at the end "
                "of its address."
            )
        return [card(self.studies.study(name), say, owner=owner, own=self.studies.own), said, *_hidden()]

    def count(self, name: str | None, request: gr.Request) -> list[Any]:
        """Return the results for those who may see them, in the order of `first` without the card."""
        if not self.studies.by_name or not self.studies.may_see(_key(request)):
            return [gr.skip(), *_hidden()]
        from cyclegan.study.report import to_markdown

        study = self.studies.study(name)
        report = self.studies.report(study)
        any_votes = bool(report["participants"]["started"])
        return [
            "", gr.HTML(results(report, words.speaker(request)), visible=True), gr.Row(visible=True),
            gr.Accordion(visible=any_votes), drawn_report(study, report) if any_votes else "",
            gr.Markdown(to_markdown(report) if any_votes else ""), gr.File(visible=False),
        ]  # fmt: skip

    def open_page(self, name: str | None, request: gr.Request) -> list[Any]:
        """Show the study that the address names, else the first one."""
        choices = self.studies.names()
        asked = dict(request.query_params).get("study")
        name = asked if asked in choices else name if name in choices else next(iter(choices), None)
        return [gr.Dropdown(choices, value=name, visible=len(choices) > 1), *self.card_of(name, request)]

    def noticed(self, name: str | None, request: gr.Request) -> list[Any]:
        """Offer the studies that have come; the one that is shown stays, and without one the first is shown."""
        choices = self.studies.names()
        shown = name if name in choices else next(iter(choices), None)
        choice = gr.Dropdown(choices, value=shown, visible=len(choices) > 1)
        if shown == name:
            return [choice, *[gr.skip()] * (len(_hidden()) + 2)]
        return [choice, self.card_of(shown, request)[0], *self.count(shown, request)]

    def stopped(self) -> str:
        """Return the empty note after a failure, which a notice reports."""
        return ""

    def study_report(self, study: str | None = None, key: str | None = None) -> dict[str, Any]:
        """Return a study's report: the fooling rate of each epoch with its interval, and everything else.

        Args:
            study: its name, None for the first one.
            key: the owner's, on a server for others.
        """
        self._check_key(key)
        return self.studies.report(self.studies.study(study))

    def write_files(self, name: str | None, request: gr.Request) -> Any:
        """Show the report in all formats, with its figures."""
        self._check_key(_key(request))
        return gr.File(report_files(self.studies, self.studies.study(name)), visible=True)

    def _check_key(self, key: str | None) -> None:
        if not self.studies.may_see(key):
            raise StudyError("results are for the owner: give the server's {variable} as key", variable=KEY_VARIABLE)


# --- building -----------------------------------------------------------------------------------------------


def _build_form(bench: Workbench, studies: Studies, choice: gr.Dropdown) -> tuple[Any, gr.Dropdown, gr.HTML]:
    """Add the form that builds a study; return the event that ends with the new study chosen, its run, and the line
    about the run's training.
    """
    infos = runs.listed(bench.run(None))
    info = infos[0] if infos else None
    numbers, choices = [info.epoch for info in infos], runs.run_choices(bench, words.speaker())
    with gr.Accordion(words.label("Build a study"), open=not studies.by_name):
        gr.HTML(
            words.label(
                "The pictures are translated once and frozen, with the real ones that they are shown next to. This "
                "takes about a minute; the study then appears above."
            ),
            elem_classes="lead",
        )  # fmt: skip
        training = live.live(bench)
        with gr.Row():
            run = gr.Dropdown(choices, value=next(iter(bench.runs)), label=words.label("Run"),
                              visible=len(bench.runs) > 1, filterable=False)
            epochs = gr.Dropdown(numbers[::-1], value=spread(numbers), multiselect=True, label=words.label("Epochs"))
            direction = gr.Radio(runs.direction_choices(info) if info else [],
                                 value=info.directions[0] if info else None, label=words.label("Direction"))
        with gr.Row():
            offered = offered_dataset(info.config.data.dataset) if info else ""
            dataset = gr.Textbox(offered, label=words.label("Data set"), lines=1,
                                 info=words.label("A folder with testA and testB, USER/NAME on the Hub, or "
                                                  "streets. Its test pictures are shown."))
            name = gr.Textbox(label=words.label("Name"),
                              info=words.label("Letters, digits, dots, hyphens: part of its address."))
        with gr.Row():
            title = gr.Textbox(label=words.label("Title that participants see"))
            contact = gr.Textbox(label=words.label("Contact for participants"))
        with gr.Row():
            protocol = gr.Dropdown(list(PROTOCOLS), value="cyclegan2017", label=words.label("Protocol"),
                                   filterable=False)
            practice = gr.Number(10, precision=0, minimum=0, label=words.label("Practice trials"))
            test = gr.Number(40, precision=0, minimum=1, label=words.label("Test trials"))
        with gr.Row():
            vigilance = gr.Number(0, step=0.05, label=words.label("Share of vigilance trials"))
            repeats = gr.Number(0, step=0.05, label=words.label("Share of repeated pairs"))
            mask = gr.Checkbox(False, label=words.label("Cover the pictures' places once they have disappeared"))
        go = gr.Button(words.label("Build"), variant="primary")
        said = gr.HTML(elem_classes="built", label="built")

    def take_run(run: str, request: gr.Request) -> list[Any]:
        infos, line = runs.listed(bench.run(run)), live.value(bench, run, words.speaker(request))
        if not infos:
            return [gr.Dropdown([], value=[]), gr.Radio([], value=None), "", line]
        numbers = [info.epoch for info in infos]
        return [
            gr.Dropdown(numbers[::-1], value=spread(numbers)),
            gr.Radio(runs.direction_choices(infos[0]), value=infos[0].directions[0]),
            offered_dataset(infos[0].config.data.dataset), line,
        ]  # fmt: skip

    def take_epochs(run: str, request: gr.Request) -> list[Any]:
        """Offer the epochs that have come; the chosen ones stay."""
        numbers = [info.epoch for info in runs.listed(bench.run(run))]
        return [gr.Dropdown(numbers[::-1]), live.value(bench, run, words.speaker(request))]

    def take_protocol(name: str) -> list[Any]:
        rules = PROTOCOLS[name]
        return [rules.practice_trials, rules.test_trials, rules.vigilance_share, rules.repeat_share, rules.mask]

    def build_study(
        run: str, epochs: list[int], direction: str, dataset: str, protocol: str, name: str, title: str, contact: str,
        practice: int, test: int, vigilance: float, repeats: float, mask: bool, request: gr.Request,
    ) -> Iterator[list[Any]]:
        """Make a study in a process of its own, and show it."""
        from cyclegan.study.make import make_in_process  # Only the owner's own computer has it: see hub/space.py.

        say, source = words.speaker(request), bench.run(run)
        dataset = (dataset or "").strip()
        if not dataset:
            raise StudyError("name a data set, whose test pictures are shown")
        name = (name or "").strip() or f"{Path(source.name).name}-{direction}-{protocol}"
        options = {
            "epochs": sorted(int(epoch) for epoch in epochs or []) or "latest", "direction": direction,
            "output": BUILT_IN / name, "title": title or "", "contact": contact or "",
        }  # fmt: skip
        rules = {"practice_trials": practice, "test_trials": test, "vigilance_share": _float(vigilance),
                 "repeat_share": _float(repeats), "mask": bool(mask)}  # fmt: skip
        waiting = gr.Button(interactive=False)
        yield [busy(say("Building …")), waiting, gr.skip()]
        try:
            made = make_in_process(source, dataset, protocol=preset(protocol, **rules), **options)
            with contextlib.closing(made):
                for part in _percentages(made):
                    shown = busy(say("Building … {part}", part=part)) if part else gr.skip()
                    yield [shown, gr.skip(), gr.skip()]
            study = studies.add(options["output"])
        except Exception as error:
            yield ["", gr.Button(interactive=True), gr.skip()]
            raise_for_page(error, say)
        link = f'<a href="study/{quote(study.name)}" target="_blank">{say.html("Take part")}</a>'
        built = say.html(
            "Built in {folder}; nothing but the pictures gives away what is real. It is selected at the top of this "
            "page.", folder=options["output"],
        )  # fmt: skip
        line = f"<p>{built}</p><p>{link}</p><p>{say.html('The same from a shell:')}</p>"
        line += f"<code>{html.escape(_command(source, dataset, protocol, {**options, **rules}))}</code>"
        names = list(studies.by_name)
        yield [line, gr.Button(interactive=True), gr.Dropdown(names, value=study.name, visible=len(names) > 1)]

    private = {"show_progress": "hidden", "api_visibility": "private"}
    for event in (run.input, training.first):
        event(shows_errors(take_run), run, [epochs, direction, dataset, training], **private, **REPORTS)
    training.arrived(shows_errors(take_epochs), run, [epochs, training], **private, **REPORTS)
    protocol.input(take_protocol, protocol, [practice, test, vigilance, repeats, mask], **private, **REPORTS)
    built = go.click(
        shows_errors(build_study),
        [run, epochs, direction, dataset, protocol, name, title, contact, practice, test, vigilance, repeats, mask],
        [said, go, choice], **private, **BUILDS,
    )  # fmt: skip
    return built, run, training


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _percentages(made: Iterable[tuple[int, int] | None]) -> Iterator[str]:
    """Yield the progress of a build in percent, empty where it hasn't changed."""
    last = ""
    for progress in made:
        part = f"{100 * progress[0] // max(1, progress[1])}%" if progress else ""
        yield part if part != last else ""
        last = part


def _command(source: CheckpointSource, dataset: str, protocol: str, options: Mapping[str, Any]) -> str:
    """Return the shell's command that builds the same study."""
    spec = source.folder if isinstance(source, LocalSource) else source.name
    flags = {"checkpoints": spec, "dataset": dataset, "protocol": protocol, **options}
    if isinstance(epochs := flags["epochs"], list):
        flags["epochs"] = ",".join(map(str, epochs))
    mask = "--mask" if flags.pop("mask") else "--no-mask"
    given = [f"--{name}={value}" for name, value in flags.items() if value not in (None, "")]
    return shlex.join(["python", "-m", "cyclegan", "study", "build", *given, mask])
