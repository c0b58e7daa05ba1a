"""The page of the studies: links to take part, the results, and for its owner a form that builds another."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from cyclegan.errors import StudyError
from cyclegan.study.shelf import KEY_VARIABLE, Studies
from cyclegan.ui import live, words
from cyclegan.ui.feedback import busy, shows_errors
from cyclegan.ui.owner import form, proof_of
from cyclegan.ui.pages import study_form
from cyclegan.ui.studies import COPY, card, drawn_report, report_files, results
from cyclegan.ui.theme import after_load, header
from cyclegan.ui.workbench import Workbench

CSS = Path(__file__).with_name("studies.css")
SCRIPTS = [COPY, Path(__file__).with_name("studies.js")]

REPORTS: dict[str, Any] = {"concurrency_id": "reports", "concurrency_limit": 2}
PRIVATE = {"show_progress": "hidden", "api_visibility": "private", **REPORTS}
ABOUT = (
    "The results of a study of realism. study: its name, the first by default. key: the owner's, on a server for "
    "others. Returns the report: participants; epochs, each with epoch, label (a method, in a study of several runs), "
    "fooling_rate (0 to 1), interval (95%, over participants) and counts; trend, contrasts and the rest of what "
    "`python -m cyclegan study report --format json` writes."
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
    after_load()
    if studies.own and find_spec("cyclegan.study.make"):  # A Space has no builder: see hub/space.py.
        built, run, training = study_form.build(bench, studies, parts.choice)
        # Not of the choice, which the browser may not have taken yet.
        then_count(built.change(card_of, built, parts.first, **PRIVATE))
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
    script = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    shown = gr.HTML(elem_classes="study-card", js_on_load=script, words=words.for_script(script))
    note = gr.HTML("", label="note", elem_classes="note")
    table = gr.HTML(elem_classes="results-table", visible=False)
    with gr.Row(visible=False, elem_classes="results-buttons") as buttons:
        refresh = gr.Button(words.label("Refresh"), size="sm")
        make_files = gr.Button(words.label("Report and votes as files"), size="sm")
    files = gr.File(
        label=words.label("Report and votes as files"), file_count="multiple", interactive=False, visible=False
    )
    with gr.Accordion(words.label("The whole report"), open=False, visible=False) as whole_box:
        drawn = gr.HTML(elem_classes="drawn-report", padding=False)
        whole = gr.Markdown(elem_classes="whole-report")
    first = [shown, note, table, buttons, whole_box, drawn, whole, files, make_files]
    return SimpleNamespace(choice=choice, note=note, refresh=refresh, make_files=make_files, files=files, first=first)


def _hidden() -> list[Any]:
    """Return `first` without the card and the note, hidden."""
    return [
        gr.HTML("", visible=False), gr.Row(visible=False), gr.Accordion(visible=False), "", gr.Markdown(""),
        gr.File(visible=False), gr.Button(visible=False),
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
        say, key = words.speaker(request), proof_of(request)
        if not self.studies.by_name:
            return [f"<p>{say.html('There are no studies here yet.')}</p>", "", *_hidden()]
        owner, said = self.studies.may_see(key), ""
        if owner:
            said = busy(say("Counting the votes …"))
        elif self.studies.proof():
            said = form(request, say)
        return [card(self.studies.study(name), say, owner=owner, own=self.studies.own), said, *_hidden()]

    def count(self, name: str | None, request: gr.Request) -> list[Any]:
        """Return the results for those who may see them, in the order of `first` without the card."""
        if not self.studies.by_name or not self.studies.may_see(proof_of(request)):
            return [gr.skip(), *_hidden()]
        from cyclegan.study.report import to_markdown

        study = self.studies.study(name)
        report = self.studies.report(study)
        any_votes = bool(report["participants"]["started"])
        return [
            "", gr.HTML(results(report, words.speaker(request)), visible=True), gr.Row(visible=True),
            gr.Accordion(visible=any_votes), drawn_report(study, report) if any_votes else "",
            gr.Markdown(to_markdown(report) if any_votes else ""), gr.File(visible=False), gr.Button(visible=any_votes),
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
        self._check_key(proof_of(request))
        return gr.File(report_files(self.studies, self.studies.study(name)), visible=True)

    def _check_key(self, key: str | None) -> None:
        if not self.studies.may_see(key):
            raise StudyError("results are for the owner: give the server's {variable} as key", variable=KEY_VARIABLE)
