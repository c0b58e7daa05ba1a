"""A run while a page is open: the line about its training, and the look for epochs that have come.

The browser asks every few seconds for the words of `CheckpointSource.watch` (live.js), and triggers an event of the
page only when they have changed: an idle page costs one small request, and a hidden one costs nothing.
"""

from __future__ import annotations

import html
import shlex
from pathlib import Path
from typing import Any

import gradio as gr

from cyclegan.checkpoints.progress import Progress
from cyclegan.checkpoints.sources import CheckpointSource, LocalSource, Watch
from cyclegan.errors import Message, UserError, message
from cyclegan.ui import words
from cyclegan.ui.workbench import Workbench

SCRIPT = Path(__file__).with_name("live.js")


def live(bench: Workbench, *, shown: bool = True) -> gr.HTML:
    """Add the line about the training of the run that the page shows; `value` is its value.

    It triggers `first` when the run's first epoch has come, `arrived` for later ones, `moved` when the losses or the
    samples of the epoch in training have changed, and `studied` when there is another study.

    Args:
        bench: knows the runs and the studies.
        shown: False for a page that needs the events without the line.
    """

    def look(seen: Any) -> dict[str, str] | None:
        return _look(bench, seen)

    classes = "training" if shown else "training unseen"
    return gr.HTML(elem_classes=classes, js_on_load=SCRIPT.read_text(encoding="utf-8"), server_functions=[look])


def value(bench: Workbench, run: str, say: words.Speaker) -> str:
    """Return the HTML of the line, with what the page has seen of the run. It is empty if nothing is to be said.

    A run that isn't the first is marked: links to the other pages keep it.
    """
    try:
        watch = bench.run(run).watch()
        said = line(bench, run, say)
    except UserError:  # The event that shows the run raises it.
        watch, said = Watch(), ""
    seen = {"run": run, **watch._asdict(), "studies": _studies(bench)}
    marks = "".join(f' data-{name}="{html.escape(word)}"' for name, word in seen.items())
    chosen = "" if run == next(iter(bench.runs)) else " data-chosen"
    return f"<div{marks}{chosen}>{said}</div>"


def _look(bench: Workbench, seen: Any) -> dict[str, str] | None:
    """Return the words that have changed, with the line; None if nothing has.

    Args:
        bench: knows the runs.
        seen: {"run", "epochs", "training", "details", "studies", "language"} from the browser, so it may be anything.
    """
    try:
        run = str(seen["run"])
        now = {**bench.run(run).watch()._asdict(), "studies": _studies(bench)}
        if all(seen.get(name) == word for name, word in now.items()):
            return None
        language = "ko" if str(seen.get("language")).lower().startswith("ko") else "en"
        return now | {"line": line(bench, run, words.Speaker(language))}
    except (UserError, LookupError, TypeError, AttributeError):
        return None  # Nothing new can be shown; the page keeps what it has.


def _studies(bench: Workbench) -> str:
    return "" if bench.studies is None else " ".join(bench.studies.names())


def line(bench: Workbench, run: str, say: words.Speaker) -> str:
    """Return the HTML of the sentences about a run's training; "" if nothing is trained and it has an epoch."""
    source = bench.run(run)
    progress, said = source.progress(), []
    if not source.watch().epochs:
        saving = progress is not None and progress.alive and progress.epoch > 1
        said.append(say.html("The first epoch of {run} is being saved.", run=run) if saving
                    else say.html("{run} has no epoch yet.", run=run))  # fmt: skip
    if progress is not None and progress.state != "done":
        command = ""
        if bench.own and isinstance(source, LocalSource):
            words_of_it = ["python", "train_accelerate.py", "--output_dir", str(source.folder), "--resume", "auto"]
            command = shlex.join(words_of_it)
        said += [html.escape(say.text_of(each)) for each in _sentences(progress, command)]
    elif said:
        said.append(say.html("The first one appears here by itself."))
    busy = ' class="busy"' if progress is not None and progress.alive else ""
    return f"<p><span{busy}>{' '.join(said)}</span></p>" if said else ""


def _sentences(progress: Progress, command: str) -> list[Message]:
    """Return the sentences about a training that isn't done; `command` continues it, "" to say none."""
    epoch, percent = progress.epoch, int(100 * progress.part)
    if progress.alive:
        if not epoch:
            return [message("The training is starting: it loads the pictures and the networks.")]
        if progress.seconds_left is None:
            return [message("Epoch {epoch} is training, {percent}%.", epoch=epoch, percent=percent)]
        left = duration(progress.seconds_left)
        said = [message("Epoch {epoch} is training, {percent}%, {time} left.", epoch=epoch, percent=percent, time=left)]
        if progress.epochs > epoch and progress.run_seconds_left is not None:
            time = duration(progress.run_seconds_left)
            said.append(message("All {epochs} epochs: {time} left.", epochs=progress.epochs, time=time))
        return said
    if not epoch:
        said = [message("The training ended before its first step.")]
    else:
        said = [message("The training ended in epoch {epoch}, at {percent}%.", epoch=epoch, percent=percent)]
    return [*said, message("To continue it: {command}", command=command)] if command else said


def duration(seconds: float) -> Message:
    """Return a duration in one unit, such as `20 minutes`; up to two hours in minutes, up to two days in hours."""
    if seconds >= 2 * 86400:
        return message("{count} days", count=round(seconds / 86400))
    if seconds >= 2 * 3600:
        return message("{count} hours", count=round(seconds / 3600))
    if seconds >= 90:
        return message("{count} minutes", count=round(seconds / 60))
    return message("1 minute") if seconds >= 30 else message("less than a minute")


def waiting(say: words.Speaker) -> str:
    """Return the note of a page whose run has no epoch yet."""
    return say("Nothing can be translated before the first epoch. It appears here by itself.")


def is_starting(source: CheckpointSource) -> bool:
    """Return True for a run that has no epoch yet, and nothing that can't be read. Raises CheckpointError."""
    return not source.watch().epochs and not source.problems
