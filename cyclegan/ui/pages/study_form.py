"""The form on the studies' page with which an owner builds another study."""

from __future__ import annotations

import contextlib
import html
import itertools
import os
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import gradio as gr

from cyclegan.checkpoints.sources import CheckpointSource, LocalSource
from cyclegan.errors import Message, StudyError
from cyclegan.study.format import Study, check_name
from cyclegan.study.protocol import DEFAULT, PROTOCOLS, trial_counts
from cyclegan.study.protocol import protocol as preset
from cyclegan.study.shelf import PREVIEW, Studies
from cyclegan.ui import live, runs, words
from cyclegan.ui.feedback import busy, notices, page_error, shows_errors
from cyclegan.ui.studies import offered_dataset, spread
from cyclegan.ui.workbench import Workbench

BUILT_IN = Path("studies")
"""The folder of the studies that the page builds; the app looks for studies there by itself."""
PRIVATE = {"show_progress": "hidden", "api_visibility": "private"}
READS: dict[str, Any] = {**PRIVATE, "concurrency_id": "reports", "concurrency_limit": 2}
BUILDS: dict[str, Any] = {**PRIVATE, "concurrency_id": "builds", "concurrency_limit": 4}
LOOK_EVERY_S = 0.5
"""Time between two looks of a page at the progress of a build."""


def build(bench: Workbench, studies: Studies, choice: gr.Dropdown) -> tuple[gr.State, gr.Dropdown, gr.HTML]:
    """Add the form to the current page.

    Returns:
        A state that changes once a new study is chosen in `choice`, the form's run, and the line about its training.
    """
    form, react = _layout(bench, studies), _Reactions(bench, studies)
    of_run = [form.epochs, form.direction, form.dataset, form.where, form.training]
    for event in (form.run.input, form.training.first):
        event(shows_errors(react.take_run), form.run, of_run, **READS)
    gr.context.Context.root_block.load(shows_errors(react.take_news), form.run, of_run, **READS)
    gr.context.Context.root_block.load(react.name_runs, form.run, form.run, **READS)
    runs.unmark(bench, form.training, form.run)
    form.training.arrived(shows_errors(react.take_epochs), form.run, [form.epochs, form.training], **READS)
    form.protocol.input(_rules_of, form.protocol, form.rules, **READS)
    given = [
        form.run, form.epochs, form.direction, form.dataset, form.protocol, form.name, form.title, form.contact,
        *form.rules, form.fewer, form.train, form.skip,
    ]  # fmt: skip
    shown = [
        form.said, form.go, choice, form.offer, form.fitting, form.built, *form.rules[:2], form.fewer,
    ]  # fmt: skip
    form.go.click(shows_errors(react.build_study), given, shown, **BUILDS)
    taken = form.offer.click(lambda fitting: fitting, form.fitting, form.rules[:2], **READS)
    taken.success(shows_errors(react.build_study), given, shown, **BUILDS)
    gr.context.Context.root_block.load(shows_errors(react.follow), None, shown, **BUILDS)
    return form.built, form.run, form.training


def _layout(bench: Workbench, studies: Studies) -> SimpleNamespace:
    with gr.Accordion(words.label("Build a study"), open=not studies.by_name):
        gr.HTML(
            words.label(
                "The pictures are translated once and frozen, with the real ones that they are shown next to. This "
                "takes about a minute, and continues if you leave this page; the study then appears above."
            ),
            elem_classes="lead",
        )  # fmt: skip
        of_epochs, of_direction, of_dataset, _ = _of_run(bench, None, words.speaker())
        training = live.live(bench)
        with gr.Row():
            run = gr.Dropdown(runs.run_choices(bench, words.speaker()), value=next(iter(bench.runs)),
                              label=words.label("Run"), visible=len(bench.runs) > 1, filterable=False)
            epochs = gr.Dropdown(**of_epochs, multiselect=True, label=words.label("Epochs"))
            direction = gr.Radio(**of_direction, label=words.label("Direction"))
        with gr.Row():
            with gr.Column():
                dataset = gr.Textbox(of_dataset, label=words.label("Data set"), lines=1,
                                     info=words.label("As in training: a folder, USER/NAME on the Hub, or streets. "
                                                      "Its test pictures are shown."))
                train = gr.Checkbox(label=words.label("Use its training pictures, for trying only"))
                where = gr.HTML(visible=False, elem_classes="problem", padding=False)
            name = gr.Textbox(label=words.label("Name"), placeholder=words.label("Chosen for you if left empty"),
                              info=words.label("Letters, digits, dots, hyphens, underscores: part of its address."))
        with gr.Row():
            title = gr.Textbox(label=words.label("Title that participants see"),
                               placeholder=words.label("A question that fits, if left empty"))
            contact = gr.Textbox(label=words.label("Contact for participants"),
                                 placeholder=words.label("A name and an address, for questions"))
        with gr.Accordion(words.label("Protocol, number of trials, controls"), open=False):
            practice, test, vigilance, repeats, mask = _rules_of("")
            with gr.Row():
                automatic = words.label("cyclegan2017, shorter if needed")
                protocol = gr.Dropdown([(automatic, ""), *PROTOCOLS], value="", label=words.label("Protocol"),
                                       filterable=False)
                rules = [
                    gr.Number(practice, precision=0, minimum=0, label=words.label("Practice trials")),
                    gr.Number(test, precision=0, minimum=1, label=words.label("Test trials")),
                ]
            with gr.Row():
                rules += [
                    gr.Number(vigilance, step=0.05, label=words.label("Share of vigilance trials")),
                    gr.Number(repeats, step=0.05, label=words.label("Share of repeated pairs")),
                ]
            rules.append(gr.Checkbox(mask, label=words.label("Cover the pictures' places once they have disappeared")))
            skip = gr.Checkbox(label=words.label("Leave out pictures that can't be read"))
        go = gr.Button(words.label("Build"), variant="primary")
        said = gr.HTML(elem_classes="built", label="built")
        offer, fitting = gr.Button(visible=False), gr.State()
        built = gr.State()  # The name of the study that was built.
        fewer = gr.State()  # The numbers of trials that the last build chose, which nobody has typed.
    return SimpleNamespace(
        run=run, epochs=epochs, direction=direction, dataset=dataset, where=where, name=name, title=title,
        contact=contact, protocol=protocol, rules=rules, go=go, said=said, offer=offer, fitting=fitting, built=built,
        fewer=fewer, train=train, skip=skip, training=training,
    )  # fmt: skip


def _of_run(bench: Workbench, run: str | None, say: words.Speaker) -> tuple[dict[str, Any], dict[str, Any], str, str]:
    """Return choices and value of a run's epochs and directions, its data set, and a sentence if that isn't here."""
    source = bench.run(run)
    infos = runs.listed(source)
    if not infos:  # The first epoch may still be training.
        return {"choices": [], "value": []}, {"choices": [], "value": None}, "", ""
    numbers, newest = [info.epoch for info in infos], infos[0]
    dataset, where = offered_dataset(source, newest.config.data.dataset, say)
    ways = {"choices": runs.direction_choices(newest), "value": newest.directions[0]}
    return {"choices": numbers, "value": spread(numbers)}, ways, dataset, where


def _rules_of(protocol: str) -> list[Any]:
    """Return the values of a protocol's fields in the form; empty: of the default one."""
    rules = PROTOCOLS[protocol or DEFAULT]
    return [rules.practice_trials, rules.test_trials, rules.vigilance_share, rules.repeat_share, rules.mask]


class _Build:
    """A study that is built in a thread, whether or not a page shows it.

    Args:
        made: makes it, yielding its progress in words.
        finish: called at the end; returns the study.
    """

    def __init__(self, made: Iterator[str], finish: Callable[[], Study]) -> None:
        self.part = ""
        self.study: Study | None = None
        self.error: Exception | None = None
        self.ended = threading.Event()
        self._made, self._finish = made, finish
        threading.Thread(target=self._work, name="build", daemon=True).start()

    def _work(self) -> None:
        try:
            for part in self._made:
                self.part = part or self.part
            self.study = self._finish()
        except Exception as error:  # Raised where a page shows it.
            self.error = error
        finally:
            self.ended.set()

    def progress(self) -> Iterator[str]:
        """Yield the progress where it has changed, and "" else, until the end. Raises what the build has raised."""
        last = ""
        while not self.ended.wait(LOOK_EVERY_S):
            part = self.part
            yield part if part != last else ""
            last = part
        if self.error is not None:
            raise self.error


class _Reactions:
    """The form's reactions to what its owner does."""

    def __init__(self, bench: Workbench, studies: Studies) -> None:
        self.bench, self.studies = bench, studies
        self._laid_out = _of_run(bench, None, words.speaker())
        self._build: tuple[_Build, Callable[[Study, words.Speaker], list[Any]]] | None = None
        """The newest one, with what a page shows at its end; None once a page has shown it."""
        self._lock = threading.Lock()

    def take_run(self, run: str, request: gr.Request) -> list[Any]:
        """Offer a run's epochs, directions and data set, with the line about its training."""
        say = words.speaker(request)
        epochs, ways, dataset, where = _of_run(self.bench, run, say)
        offered = [gr.Dropdown(**epochs, multiselect=True), gr.Radio(**ways), dataset]
        return [*offered, gr.HTML(where, visible=bool(where)), live.value(self.bench, run, say)]

    def take_news(self, run: str, request: gr.Request) -> list[Any]:
        """Offer what has changed since the app started: the rest may be filled in already when this arrives."""
        offered, now = self.take_run(run, request), _of_run(self.bench, run, words.speaker(request))
        same = [new == old for new, old in zip(now[:3], self._laid_out, strict=False)]
        return [gr.skip() if kept else each for kept, each in zip([*same, False, False], offered, strict=True)]

    def name_runs(self, run: str, request: gr.Request) -> gr.Dropdown:
        """Offer the runs as they are now, in the visitor's language."""
        return runs.chosen(self.bench, run, request)

    def take_epochs(self, run: str, request: gr.Request) -> list[Any]:
        """Offer the epochs that have come; the chosen ones remain chosen."""
        numbers = [info.epoch for info in runs.listed(self.bench.run(run))]
        return [gr.Dropdown(numbers), live.value(self.bench, run, words.speaker(request))]

    def build_study(
        self, run: str, epochs: list[int], direction: str, dataset: str, protocol: str, name: str, title: str,
        contact: str, practice: int | None, test: int | None, vigilance: float, repeats: float, mask: bool,
        fewer: list[int] | None, train: bool, skip: bool, request: gr.Request,
    ) -> Iterator[list[Any]]:  # fmt: skip
        """Make a study in a process of its own, and choose it; a problem is shown in the form, which keeps its values.

        Yields the values of [said, go, choice, offer, fitting, built, practice, test, fewer].
        """
        options = {
            "epochs": sorted(int(epoch) for epoch in epochs or []) or "latest", "direction": direction,
            "title": title or "", "contact": contact or "", "split": "train" if train else "test",
            "skip_bad_images": bool(skip),
        }  # fmt: skip
        if not protocol and [practice, test] in (_rules_of("")[:2], fewer):
            practice = test = None  # Nobody has chosen them.
        rules = {"practice_trials": practice, "test_trials": test, "vigilance_share": _float(vigilance),
                 "repeat_share": _float(repeats), "mask": bool(mask)}  # fmt: skip

        def start() -> tuple[_Build, Callable[[Study, words.Speaker], list[Any]]]:
            source, data = self.bench.run(run), (dataset or "").strip()
            if not data:
                raise StudyError("name a data set, whose test pictures are shown")
            chosen = (name or "").strip() or f"{Path(source.name).name}-{direction}-{protocol or DEFAULT}"
            chosen = "-".join(chosen.split())
            check_name(chosen)  # A path would lead out of the folder in which the app looks for studies.
            if not (name or "").strip():
                names = itertools.chain([chosen], (f"{chosen}-{number}" for number in itertools.count(2)))
                chosen = next(each for each in names if not os.path.lexists(BUILT_IN / each))
            options["output"] = BUILT_IN / chosen
            notes: list[Message] = []

            def built(study: Study, say: words.Speaker) -> list[Any]:
                command = _command(source, data, protocol, {**options, **rules})
                counts = [study.protocol.practice_trials, study.protocol.test_trials]
                return [_built(study, command, notes, say), *counts, None if practice else counts]

            made = _made(source, data, protocol, rules, options, notes)
            return _Build(made, lambda: self.studies.add(options["output"])), built

        yield from self._shown(start, words.speaker(request))

    def follow(self, request: gr.Request) -> Iterator[list[Any]]:
        """Show the build that goes on, or that has ended while no page showed it; yields as `build_study`."""
        if self._build is None:
            yield [gr.skip()] * 9  # Without a value, gradio would empty all of them.
        else:
            yield from self._shown(None, words.speaker(request))

    def _shown(self, start: Callable[[], Any] | None, say: words.Speaker) -> Iterator[list[Any]]:
        """Yield the values of a build that `start` begins; None follows the one that is there."""
        kept = [gr.skip()] * 4
        waiting, none = gr.Button(interactive=False), [gr.Button(visible=False), None, *kept]
        yield [busy(say("Building …")), waiting, gr.skip(), *none]
        current = None
        try:
            with self._lock:
                if start is not None:
                    if self._build is not None and not self._build[0].ended.is_set():
                        raise StudyError("another study is being built: wait until it is there")
                    self._build = start()
                current = self._build
            if current is None:  # Another page has shown it.
                yield [gr.skip(), gr.Button(interactive=True), gr.skip(), *none]
                return
            build, built = current
            for part in build.progress():
                shown = busy(say("Building … {part}", part=part)) if part else gr.skip()
                yield [shown, gr.skip(), gr.skip(), *none]
        except Exception as error:
            self._forget(current)
            problem = page_error(error, say)
            yield [_problem(problem), gr.Button(interactive=True), gr.skip(), *_offer(error, say), *kept]
            problem.visible = False  # It is in the form, where it doesn't vanish.
            raise problem from error
        self._forget(current)
        names = list(self.studies.by_name)
        chosen = gr.Dropdown(names, value=build.study.name, visible=len(names) > 1)
        said, *counts = built(build.study, say)
        yield [said, gr.Button(interactive=True), chosen, *none[:2], build.study.name, *counts]

    def _forget(self, shown: Any) -> None:
        """Forget a build that a page has shown to its end."""
        with self._lock:
            if self._build is shown:
                self._build = None


def _made(
    source: CheckpointSource, dataset: str, protocol: str, rules: Mapping[str, Any], options: Mapping[str, Any],
    notes: list[Message],
) -> Iterator[str]:  # fmt: skip
    """Make a study in a process of its own, adding to `notes`; yield its progress in percent, as `_percentages`."""
    from cyclegan.study.make import make_in_process  # Only the owner's own computer has it: see hub/space.py.

    shorten = not protocol and rules["practice_trials"] is None and rules["test_trials"] is None
    options = {**options, "protocol": preset(protocol or DEFAULT, **rules), "shorten": shorten}
    made = make_in_process(source, dataset, note=notes.append, **options)
    with contextlib.closing(made):
        yield from _percentages(made)


def _problem(problem: gr.Error) -> str:
    """Return the HTML of what went wrong; the message is escaped already."""
    return f'<p class="problem" role="alert"><strong>{html.escape(problem.title)}:</strong> {problem.message}</p>'


def _offer(error: Exception, say: words.Speaker) -> list[Any]:
    """Return the button that builds with as many trials as there are pictures for, and their numbers."""
    from cyclegan.study.choice import TooFewPictures

    values = error.message.values if isinstance(error, TooFewPictures) else {}
    if "test_trials" not in values:
        return [gr.Button(visible=False), None]
    practice, test = values["practice_trials"], values["test_trials"]
    text = say("Build with {practice} and {test}", **trial_counts(practice, test))
    return [gr.Button(text, visible=True), [practice, test]]


def _built(study: Study, command: str, notes: Iterable[Message], say: words.Speaker) -> str:
    """Return the HTML of what was built and noted, with the link to try it and the command that does the same."""
    built = say.html(
        "Built in {folder}; nothing but the pictures gives away what is real. It is shown at the top of this page.",
        folder=study.folder,
    )  # fmt: skip
    rules = study.protocol
    counts = say.html(
        "A session has {practice} and {test}.", **trial_counts(rules.practice_trials, rules.test_trials)
    )
    if rules.name not in PROTOCOLS:  # Shortened.
        whole = PROTOCOLS[DEFAULT]
        counts += " " + say.html(
            "The paper's {practice} and {test} would need more pictures.", practice=whole.practice_trials,
            test=whole.test_trials,
        )  # fmt: skip
    address, same = f"study/{PREVIEW}/{quote(study.name)}", say.html("The same from a shell:")
    link = f'<a href="{address}" target="_blank">{say.html("Try it: nothing is recorded")}</a>'
    return f"<p>{built} {counts}</p>{notices(notes, say)}<p>{link}</p><p>{same}</p><code>{html.escape(command)}</code>"


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
    mask = ["--mask" if flags.pop("mask") else "--no-mask"]
    mask += ["--skip_bad_images"] if flags.pop("skip_bad_images", False) else []
    if flags.get("split") == "test":
        del flags["split"]
    given = [f"--{name}={value}" for name, value in flags.items() if value not in (None, "")]
    return shlex.join(["python", "-m", "cyclegan", "study", "build", *given, *mask])
