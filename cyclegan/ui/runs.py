"""The runs, epochs, directions and examples that pages offer."""

from __future__ import annotations

import html
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import gradio as gr
from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo, direction_name, epoch_name
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.config import DIRECTIONS
from cyclegan.errors import CheckpointError, ImageError
from cyclegan.images import natural_order
from cyclegan.rasters.opening import open_picture, probe_picture
from cyclegan.ui import words
from cyclegan.ui.feedback import warn
from cyclegan.ui.live import is_starting
from cyclegan.ui.results import Picture
from cyclegan.values import RGB, Values

if TYPE_CHECKING:
    from cyclegan.ui.workbench import Workbench

MAX_EXAMPLES = 12
MAX_EXAMPLE_PIXELS = 4_000_000
"""Larger ones are left out: every visitor would wait for all of them to be decoded."""

log = logging.getLogger(__name__)


def listed(source: CheckpointSource) -> list[CheckpointInfo]:
    """Return the source's epochs, newest first; none for a run that is starting, else CheckpointError is raised."""
    infos = source.list()
    if not infos and not is_starting(source):
        raise CheckpointError("{source} holds no readable checkpoint", source=source.name)
    return infos


def measured_anew(infos: Sequence[CheckpointInfo]) -> list[int]:
    """Return the epochs, in order, whose samples are of other pictures than those of the epoch before."""
    found, before = [], ""
    for info in sorted(infos, key=lambda info: info.epoch):
        if before and info.measured_pictures and info.measured_pictures != before:
            found.append(info.epoch)
        before = info.measured_pictures or before
    return found


def of_training_pictures(info: CheckpointInfo, say: words.Speaker) -> str:
    """Return the sentence for an epoch whose data set had no test pictures; "" for another."""
    if info.measured_on != "train":
        return ""
    return say("For want of test pictures, this epoch's samples and their figures are of training pictures.")


def domains(info: CheckpointInfo) -> dict[str, str]:
    """Return the names of the domains `a` and `b`."""
    return {"a": info.config.data.domain_a, "b": info.config.data.domain_b}


_values: WeakKeyDictionary[CheckpointSource, tuple[str, dict[str, Values]]] = WeakKeyDictionary()
"""Results of `values_of`, with the epochs that were there: a list of 200 epochs takes 0.3 s, and `watch` nothing."""


def values_of(source: CheckpointSource) -> dict[str, Values]:
    """Return the channels and the ranges of a run's domains, as its newest epoch has them; 8-bit RGB without one.

    Raises CheckpointError.
    """
    there = source.watch().epochs
    if _values.get(source, ("", {}))[0] != there or not there:
        info = next(iter(source.list()), None)
        known = info is not None and info.config is not None
        _values[source] = there, {d: info.config.data.values(d) if known else RGB for d in "ab"}
    return _values[source][1]


def readings(source: CheckpointSource) -> list[Values]:
    """Return the values of the domains of which a visitor's picture may be, each once."""
    return list(dict.fromkeys(values_of(source).values()))


def arrow(info: CheckpointInfo, direction: str) -> str:
    """Return a direction by its domains: `day → night`."""
    return " → ".join(domains(info)[domain] for domain in direction)


def direction_choices(info: CheckpointInfo) -> list[tuple[str, str]]:
    """Return the directions that a checkpoint has, for a gr.Radio."""
    return [(arrow(info, direction), direction) for direction in info.directions]


def checked_direction(direction: str | None, info: CheckpointInfo) -> str:
    """Return `direction`, None for the checkpoint's first; raise CheckpointError if the checkpoint lacks it."""
    if direction is None:
        return info.directions[0]
    if direction not in DIRECTIONS:
        raise CheckpointError(
            "{direction!r} isn't a valid direction: give ab or ba", direction=str(direction)[:40]
        )
    if direction not in info.directions:
        only = " and ".join(direction_name(each) for each in info.directions)
        raise CheckpointError(
            "epoch {epoch} translates {only} only: choose that, or another epoch",
            epoch=info.epoch, only=only,
        )
    return direction


def epoch_label(info: CheckpointInfo, say: words.Speaker) -> str:
    """Return `epoch 12 — 2026-11-21, cycle 0.08`; without the loss where none is recorded."""
    cycle = [info.losses[name] for name in ("cycle_a", "cycle_b") if name in info.losses]
    parts = [info.created[:10], *([say("cycle {loss:.2f}", loss=sum(cycle) / len(cycle))] if cycle else [])]
    return " — ".join(filter(None, [say("epoch {epoch}", epoch=info.epoch), ", ".join(filter(None, parts))]))


def epoch_choices(infos: list[CheckpointInfo], say: words.Speaker) -> list[tuple[str, str]]:
    """Return the choices of a gr.Dropdown of epochs; its values are tags."""
    return [(epoch_label(info, say), info.tag) for info in infos]


def epochs_shown(infos: list[CheckpointInfo], info: CheckpointInfo | None, say: words.Speaker) -> gr.Dropdown:
    """Return the dropdown of a run's epochs with one of them chosen."""
    value = info.tag if info else None
    return gr.Dropdown(epoch_choices(infos, say), value=value, info=_newer(infos, value, say))


def offer(source: CheckpointSource, tag: str | None, say: words.Speaker) -> dict[str, Any]:
    """Return the update of a gr.Dropdown of epochs that leaves the choice alone, unless that epoch is gone."""
    infos = listed(source)
    tags = [info.tag for info in infos]
    # Not the choice itself where it stays: the visitor may just be changing it.
    value = {} if tag in tags else {"value": next(iter(tags), None)}
    return gr.update(choices=epoch_choices(infos, say), info=_newer(infos, value.get("value", tag), say), **value)


def _newer(infos: list[CheckpointInfo], tag: str | None, say: words.Speaker) -> str:
    """Return the sentence that names the newest epoch where another is shown."""
    if not infos or infos[0].tag == tag:
        return ""
    return say("The newest is {epoch}.", epoch=say("epoch {epoch}", epoch=infos[0].epoch))


def epoch_number(value: str | int) -> int:
    """Return 12 for `epoch-0012`, `12` or 12; raise CheckpointError for anything else."""
    digits = str(value).removeprefix("epoch-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 9:
        raise CheckpointError(
            "{text!r} isn't an epoch: name one such as {example}", text=str(value)[:40], example=epoch_name(12)
        )
    return int(digits)


def look_for_newer(
    source: CheckpointSource, known: str | int | None, say: words.Speaker
) -> tuple[CheckpointInfo, bool]:
    """Refresh the source, show a notice, and return its newest epoch and whether that is new.

    Args:
        source: the run.
        known: the newest epoch that the page knows, a tag or a number; None: none yet.
        say: the visitor's language.
    """
    source.refresh()
    infos = listed(source)
    if not infos:
        raise CheckpointError("{name} has no epoch yet", name=source.name)
    info = infos[0]
    new = known is None or info.epoch > epoch_number(known)
    newest = html.escape(epoch_label(info, say))
    gr.Info(say("The newest is {epoch}.", epoch=newest) if new else say("No newer epoch yet."), title="", duration=4)
    return info, new


def run_choices(bench: Workbench, say: words.Speaker) -> list[tuple[str, str]]:
    """Return the choices of a gr.Dropdown of runs; those without an epoch are marked."""

    def has_epochs(source: CheckpointSource) -> bool:
        try:
            return bool(source.watch().epochs)
        except CheckpointError:  # Whoever chooses it gets the error.
            return True

    return [
        (name if has_epochs(source) else say("{run} (starting)", run=name), name) for name, source in bench.runs.items()
    ]


def chosen(bench: Workbench, run: str, request: gr.Request) -> gr.Dropdown:
    """Return the choice of a run with `run` chosen, in the visitor's language."""
    return gr.Dropdown(run_choices(bench, words.speaker(request)), value=run)


def run_dropdown(bench: Workbench) -> gr.Dropdown:
    """Add the choice of a run; another one can be typed where visitors may."""
    info = (
        words.label("Or type a folder such as runs/maps, or USER/NAME of a repository on the Hub.") if bench.own
        else words.label("Or type USER/NAME of a repository on the Hub.")
    )  # fmt: skip
    return gr.Dropdown(
        run_choices(bench, words.speaker()), value=next(iter(bench.runs)), label=words.label("Run"), elem_classes="run",
        info=info if bench.takes_more else None, allow_custom_value=bench.takes_more,
        visible=bench.takes_more or len(bench.runs) > 1, filterable=bench.takes_more,
    )  # fmt: skip


def unmark(bench: Workbench, training: gr.HTML, run: gr.Dropdown) -> None:
    """Take the mark off a run that was starting as soon as its first epoch has come."""

    def named(shown: str, request: gr.Request) -> gr.Dropdown:
        return chosen(bench, shown, request)

    training.first(named, run, run, queue=False, show_progress="hidden", api_visibility="private")


def epoch_dropdown(infos: list[CheckpointInfo]) -> tuple[gr.Dropdown, gr.Button]:
    """Add the choice of an epoch, and the button that looks for newer ones.

    It has no value until the page opens, so that programs that name no epoch get the newest of that moment.
    """
    with gr.Column(elem_classes="epoch"):
        epoch = gr.Dropdown(epoch_choices(infos, words.speaker()), value=None, label=words.label("Epoch"),
                            filterable=False)  # fmt: skip
        return epoch, gr.Button(words.label("Refresh"), size="sm")


def asked(bench: Workbench, request: gr.Request, run: str) -> tuple[str, str | None]:
    """Return the run and the epoch's tag that the page's address names, as in `?run=maps&epoch=epoch-0012`.

    Args:
        run: the run where the address names none, or one that isn't there, which a notice then reports.
    """
    named = dict(request.query_params)
    try:
        if "run" in named:
            listed(bench.run(named["run"]))
            run = named["run"]
        if "epoch" not in named:
            return run, None
        return run, bench.info(run, epoch_number(named["epoch"])).tag
    except CheckpointError as error:
        say = words.speaker(request)
        warn(error, say, say("That didn't work"))
        return run, None


# --- examples -----------------------------------------------------------------------------------------------


def examples_of(source: CheckpointSource) -> list[Path]:
    """Return the source's examples, a_*.png and b_*.png in turn; none if they can't be read: pages work without."""
    try:
        found = sorted(source.examples(), key=lambda path: natural_order(path.name))
        values = values_of(source)
    except (CheckpointError, OSError) as error:
        log.warning("no examples of %s: %s", source.name, error)
        return []
    a, b = ([p for p in found if p.name.startswith(prefix)] for prefix in ("a_", "b_"))
    turns = [path for pair in zip(a, b, strict=False) for path in pair]
    small = (path for path in [*turns, *a[len(b):], *b[len(a):]] if _is_small(path, values[path.name[0]]))
    return list(itertools.islice(small, MAX_EXAMPLES))


def _is_small(path: Path, values: Values) -> bool:
    """Return whether an example is decoded quickly, by the size in its header."""
    try:
        width, height = probe_picture(path, values)
    except ImageError as error:
        log.warning("%s", error)
        return False
    return width * height <= MAX_EXAMPLE_PIXELS


def open_example(path: Path, values: dict[str, Values]) -> Picture:
    """Return an example, a_*.* or b_*.*, as its domain has it. Raises ImageError."""
    own = values[path.name[0]]
    return Picture(open_picture(path, own), own)


def thumbnails_of(paths: Sequence[Path], values: dict[str, Values]) -> list[tuple[Image.Image, str]]:
    """Return examples in their order, small, each with a caption, for a gr.Gallery."""
    thumbnails = []
    for number, path in enumerate(paths, 1):  # By which Compare names them.
        try:
            thumbnail = open_example(path, values).shown
        except ImageError as error:
            log.warning("%s", error)
            thumbnail = Image.new("RGB", (160, 160), "grey")  # In its place, or those after it would be mixed up.
        thumbnail.thumbnail((160, 160))
        thumbnails.append((thumbnail, f"{number}: {path.stem.replace('_', ' ')}"))
    return thumbnails


def examples_gallery(source: CheckpointSource, paths: Sequence[Path]) -> gr.Gallery:
    """Return the gallery of a run's examples, hidden if there are none; none is selected."""
    thumbnails = thumbnails_of(paths, values_of(source) if paths else {})
    return gr.Gallery(thumbnails, visible=bool(thumbnails), selected_index=None)
