"""One picture under several checkpoints, for the compare page: its entries, their links, and the comparison."""

from __future__ import annotations

import hashlib
import html
import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import gradio as gr

from cyclegan.checkpoints.format import CheckpointInfo, epoch_name
from cyclegan.config import DIRECTIONS
from cyclegan.errors import CheckpointError, ImageError, Message, UserError, message
from cyclegan.ui import inputs, runs, words
from cyclegan.ui.curves import curves
from cyclegan.ui.feedback import busy, raise_for_page
from cyclegan.ui.inputs import by
from cyclegan.ui.live import waiting
from cyclegan.ui.results import Picture, Result, ResultRequest
from cyclegan.ui.workbench import GPU_IS_LENT, Workbench

MOST = 6
"""Most entries at a time; a comparison takes two."""
SPREAD = 3
"""Entries that a visitor gets without choosing any."""
OF_EXAMPLES = "example-"
"""Prefix of the folder that an example is served from; then comes its number, counted from 1."""


@dataclass(frozen=True)
class Entry:
    """A checkpoint to look at."""

    run: str
    """Its name in the workbench."""
    info: CheckpointInfo

    @property
    def value(self) -> str:
        """`streets@epoch-0012`."""
        return f"{self.run}@{self.info.tag}"


# --- entries ------------------------------------------------------------------------------------------------


def resolve(bench: Workbench, chosen: Sequence[str] | None) -> tuple[list[Entry], list[UserError]]:
    """Return the entries that exist, each once and at most MOST, and an error for each that doesn't.

    Args:
        bench: knows the runs.
        chosen: such as `streets@epoch-0012`; without an epoch, the run's newest.
    """
    found: dict[str, Entry] = {}
    lists: dict[str, list[CheckpointInfo]] = {}  # Kept here, because each `list` reads a folder again.
    problems: list[UserError] = []
    if chosen is not None and not (isinstance(chosen, (list, tuple)) and all(isinstance(one, str) for one in chosen)):
        return [], [CheckpointError("entries has to be a list of checkpoints such as 'streets@epoch-0012'")]
    for one in chosen or ():
        try:
            entry = _entry(bench, one.strip(), lists)
        except CheckpointError as error:
            problems.append(error)
        else:
            found.setdefault(entry.value, entry)
        if len(found) + len(problems) > 2 * MOST:  # Each may take a request to the Hub.
            break
    if len(found) > MOST:
        problems.append(CheckpointError(
            "{count} checkpoints are more than the {most} that can be compared: choose fewer",
            count=len(found), most=MOST,
        ))  # fmt: skip
    return list(found.values())[:MOST], problems


def _entry(bench: Workbench, value: str, lists: dict[str, list[CheckpointInfo]]) -> Entry:
    run, _, tag = value.rpartition("@")
    if not run:
        run, tag = value, ""
    elif not re.fullmatch(r"(epoch-)?\d{1,9}", tag):
        if run in bench.runs:
            raise CheckpointError(
                "{tag!r} isn't an epoch of {run}: name one such as {example}",
                tag=tag[:40], run=run, example=f"{run}@{epoch_name(12)}",
            )  # fmt: skip
        run, tag = value, ""  # USER/NAME@REVISION, or a run whose name has an @.
    epoch = runs.epoch_number(tag) if tag else None
    if run not in lists:
        lists[run] = bench.run(run).list()
    info = next((info for info in lists[run] if epoch in (None, info.epoch)), None)
    return Entry(run, info or bench.info(run, epoch))  # Its error names the epochs that exist.


def default_entries(bench: Workbench, run: str) -> list[Entry]:
    """Return up to SPREAD epochs of a run, from its first to its last, oldest first; none if the run is starting.

    Raises CheckpointError.
    """
    infos = runs.listed(bench.run(run))[::-1]
    count = min(SPREAD, len(infos))
    places = [round(n * (len(infos) - 1) / max(1, count - 1)) for n in range(count)]
    return [Entry(run, infos[place]) for place in places]


def opening_entries(bench: Workbench) -> list[Entry]:
    """Return what the page opens with: the newest epochs of the first SPREAD runs whose domains are the first run's.

    If no other run has these, the first run's own epochs are compared. Raises CheckpointError.
    """
    first = next(iter(bench.runs))
    own, newest = default_entries(bench, first), {}
    for name in bench.runs if own else ():
        try:
            info = bench.info(name, None)
        except CheckpointError:  # It is starting or damaged; whoever chooses it gets the error.
            continue
        if runs.domains(info) == runs.domains(own[0].info):
            newest[name] = Entry(name, info)
    return list(newest.values())[:SPREAD] if len(newest) > 1 else own


def usual_direction(entries: Sequence[Entry]) -> str | None:
    """Return the direction that most entries have, the first entry's first if several; None without entries."""
    found = [direction for entry in entries for direction in entry.info.directions]
    return max(dict.fromkeys(found), key=found.count, default=None)


def entry_choices(bench: Workbench, run: str, chosen: Sequence[Entry], say: words.Speaker) -> list[tuple[str, str]]:
    """Return the choices of a gr.Dropdown: the run's epochs, newest first, those of other runs, and the chosen ones."""
    offered = {}
    for name in dict.fromkeys([run, *bench.runs]):
        try:
            infos = bench.run(name).list()
        except CheckpointError:  # Whoever chooses that run gets the error.
            infos = []
        offered.update({entry.value: entry for entry in (Entry(name, info) for info in infos)})
    offered.update({entry.value: entry for entry in chosen})
    several = len({entry.run for entry in offered.values()}) > 1
    return [
        (entry_label(entry, several, runs.epoch_label(entry.info, say)), value) for value, entry in offered.items()
    ]


def entry_label(entry: Entry, several: bool, label: str) -> str:
    """Return `label`, with the run's name if `several` runs are shown."""
    return f"{entry.run}, {label}" if several else label


def tile_names(entries: Sequence[Entry], say: words.Speaker) -> dict[str, str]:
    """Return the captions by the entries' values: the epoch, and the run and the method where they differ."""
    several = len({entry.run for entry in entries}) > 1
    methods = len({entry.info.config.method for entry in entries}) > 1
    names = {}
    for entry in entries:
        name = entry_label(entry, several, say("epoch {epoch}", epoch=entry.info.epoch))
        names[entry.value] = f"{name} ({entry.info.config.method})" if methods else name
    return names


def directions_of(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Return the directions that any entry has, for a gr.Radio, named after the first entry that has them."""
    names = {value: name for entry in entries[::-1] for name, value in runs.direction_choices(entry.info)}
    return [(names[direction], direction) for direction in DIRECTIONS if direction in names]


def in_one(problems: Sequence[UserError]) -> Message:
    """Return the first of at least one problem, with the number of the others."""
    first = problems[0].message
    if len(problems) == 1:
        return first
    return message("{problem} (and {count} more like this)", problem=first, count=len(problems) - 1)


def lacking(entry: Entry, direction: str) -> CheckpointError:
    """Return the error for a direction that an entry lacks."""
    try:
        runs.checked_direction(str(direction)[:20], entry.info)
    except CheckpointError as error:
        return error
    raise AssertionError("the entry has it")


def curves_of(bench: Workbench, chosen: Sequence[str] | None, say: words.Speaker) -> str:
    """Return the HTML of the curves of each run among the entries."""
    marked: dict[str, list[int]] = {}
    for entry in resolve(bench, chosen)[0]:
        marked.setdefault(entry.run, []).append(entry.info.epoch)
    return "".join(
        curves(bench.run(run).list(), epochs, say, run if len(marked) > 1 else "") for run, epochs in marked.items()
    )


# --- examples and links -------------------------------------------------------------------------------------


def digest(run: str) -> str:
    """Return a short mark of a run's name for an example's folder."""
    return hashlib.sha256(run.encode()).hexdigest()[:8]


def example_of(names: Iterable[str], payload: dict) -> tuple[str, str] | None:
    """Return the run that a picture is an example of, and its number; None if it isn't one of these runs'."""
    found = re.match(rf"{OF_EXAMPLES}(\d+)-(\w+)-", Path(payload.get("path") or "").parent.name)
    return next(((run, found[1]) for run in names if digest(run) == found[2]), None) if found else None


def checked_number(text: str, count: int) -> int:
    """Return an example's number, counted from 1. Raises ImageError."""
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= count):
        if not count:
            raise ImageError("there is no example {text!r} here; there are none", text=text[:20])
        raise ImageError(
            "there is no example {text!r} here; there is {n}", "there is no example {text!r} here; there are {n}",
            count, text=text[:20],
        )  # fmt: skip
    return int(text)


def link_to(entries: Sequence[Entry], direction: str, size: str | int, example: tuple[str, str] | None) -> str:
    """Return the query of the address that shows a comparison again.

    Commas separate the entries, so commas within an entry are quoted twice.
    """
    values = {"entries": ",".join(quote(entry.value, safe="@/ ") for entry in entries)}
    if example is not None and example[0] != entries[0].run:
        values["run"] = example[0]
    values |= {"direction": direction, "size": str(size)}
    if example is not None:
        values["example"] = example[1]
    return urlencode(values, safe="@,/")


# --- comparing ----------------------------------------------------------------------------------------------


def compare(
    bench: Workbench, payload: dict | None, chosen: list[str] | None, direction: str | None, size: str,
    say: words.Speaker,
) -> Iterator[list[Any]]:
    """Yield a sentence, the picture, the translations, the ways back, the viewer's value, after each checkpoint."""
    if payload is None:
        yield [say("Choose a picture."), None, [], [], None]
        return
    try:
        wanted_size = inputs.checked_size(size)
        entries, problems = resolve(bench, chosen) if chosen else (opening_entries(bench), [])
        if problems:
            raise CheckpointError(in_one(problems))
        if not entries:
            yield [waiting(say), None, [], [], None]
            return
        if direction is None:
            direction = usual_direction(entries)
        able = [entry for entry in entries if direction in entry.info.directions]
        if not able:
            raise lacking(entries[0], direction)
        image, remarks = inputs.received(payload, say)
        if not bench.ready.is_set():
            yield [busy(inputs.loading(say)), *[gr.skip()] * 4]
        example = example_of([*(entry.run for entry in entries), *bench.runs], payload)
        comparison = _Comparison(bench, Picture(image), entries, able, direction, wanted_size, say)
        comparison.shared |= {
            "own": example is None, "link": link_to(entries, direction, wanted_size, example),
        }  # fmt: skip
        yield from comparison.run(remarks)
    except Exception as error:
        yield [say("Nothing was translated."), None, [], [], None]
        raise_for_page(error, say)


class _Comparison:
    """A comparison in progress: what its viewer shows, the files so far, the failures.

    Args:
        bench: makes the results.
        picture: the visitor's.
        entries: the chosen ones.
        able: those of them that have the direction.
        direction: the translation's.
        size: as `inputs.checked_size` returns it.
        say: the visitor's language.
    """

    def __init__(
        self, bench: Workbench, picture: Picture, entries: list[Entry], able: list[Entry], direction: str,
        size: str | int, say: words.Speaker,
    ) -> None:
        self.bench, self.picture, self.entries, self.able = bench, picture, entries, able
        self.direction, self.say, self.began = direction, say, time.monotonic()
        self.names = tile_names(entries, say)
        self.requests, self.capped = {}, []
        for entry in able:
            info, device = entry.info, bench.device_type()
            side, remarks = inputs.working_side(picture.image.size, size, info.config.data, device, say)
            self.capped += [one for one in remarks if one not in self.capped]
            self.requests[entry.value] = ResultRequest(entry.run, info.epoch, info.commit_sha, direction, side)
        names = runs.domains(able[0].info)
        self.shown = {entry.value: _waiting(entry, self.names[entry.value]) for entry in able}
        self.shared = {
            "direction": direction, "here": names[direction[0]], "there": names[direction[1]],
            "input": _url(bench.input(picture)), "width": picture.image.width, "height": picture.image.height,
            "returns": any(len(entry.info.directions) > 1 for entry in able),
        }  # fmt: skip
        self.fakes: list[tuple[str, str]] = []
        self.recs: list[tuple[str, str]] = []
        self.failures: list[str] = []

    def run(self, remarks: list[str]) -> Iterator[list[Any]]:
        """Yield as `compare` does.

        Args:
            remarks: about the picture, for the last sentence.
        """
        # One loan of a GPU for all; elsewhere one by one, so that an unreadable checkpoint doesn't stop the others.
        for group in [self.able] if GPU_IS_LENT else [[entry] for entry in self.able]:
            results = self.bench.results(self.picture, [self.requests[entry.value] for entry in group], self.say)
            for entry in group:
                name, n = self.names[entry.value], self.able.index(entry) + 1
                said = self.say("{name}: {n} of {count} …", name=name, n=n, count=len(self.able))
                yield [busy(said), gr.skip(), gr.skip(), gr.skip(), self._value(done=False)]
                try:
                    result = next(results)
                except gr.Error as error:
                    if len(self.failures) + 1 == len(self.able) or len(group) > 1:
                        raise
                    self.failures.append(f"{html.escape(name)}: {error.message}")
                    self.shown[entry.value]["error"] = html.unescape(error.message)
                    continue
                self.shown[entry.value] |= _figures(result)
                self.fakes.append((result.fake, name))
                self.recs += [(result.rec, name)] if result.rec else []
        said = " ".join([*map(html.escape, [*self._said(), *remarks, *self.capped]), *self.failures])
        yield [said, self.bench.input(self.picture), self.fakes, self.recs, self._value(done=True)]

    def _said(self) -> list[str]:
        """Return a sentence about the comparison, and one for each entry that was left out."""
        arrow, count = runs.arrow(self.able[0].info, self.direction), len(self.able)
        lacks = [
            self.say("{name} doesn't translate {arrow} and was left out.", name=self.names[entry.value], arrow=arrow)
            for entry in self.entries if entry not in self.able
        ]  # fmt: skip
        if count > 1:
            said = self.say(
                "{arrow} with {count} checkpoints, {size} pixels, {seconds:.1f} s.", arrow=arrow, count=count,
                size=by(self.picture.image.size), seconds=time.monotonic() - self.began,
            )  # fmt: skip
        elif len(runs.listed(self.bench.run(self.able[0].run))) == 1 and len(self.bench.runs) == 1:
            said = self.say(
                "{arrow}: this run has only one epoch so far, so there is nothing to compare it with.", arrow=arrow
            )
        else:
            said = self.say("{arrow} with one checkpoint: choose a second one to compare it with.", arrow=arrow)
        return [said, *lacks]

    def _value(self, *, done: bool) -> dict[str, Any]:
        return {**self.shared, "done": done, "entries": [dict(entry) for entry in self.shown.values()]}


def _waiting(entry: Entry, name: str) -> dict[str, Any]:
    """Return what the viewer knows of a checkpoint before its result is ready."""
    info = entry.info
    known = {
        "run": entry.run, "epoch": info.epoch, "commit_sha": info.commit_sha, "created": info.created, "label": name,
    }  # fmt: skip
    return known | dict.fromkeys(("l1", "psnr", "ssim", "fake", "rec", "lost", "error"))


def _figures(result: Result) -> dict[str, Any]:
    figures = result.similarity
    found = {} if figures is None else {"l1": figures.l1, "psnr": figures.psnr, "ssim": figures.ssim}
    # JSON has no infinity, which is the PSNR of equal pictures.
    rounded = {name: None if x is None or not math.isfinite(x) else round(x, 4) for name, x in found.items()}
    urls = {"fake": result.fake, "rec": result.rec, "lost": result.lost}
    return {"commit_sha": result.commit_sha, **rounded, **{name: path and _url(path) for name, path in urls.items()}}


def _url(path: str) -> str:
    """Return the address of a file of gradio's folder, relative to the page's."""
    return f"gradio_api/file={quote(path)}"


def figures_schema() -> dict[str, Any]:
    """Return the JSON schema of the viewer's value, for programs."""
    text, number = ({"anyOf": [{"type": name}, {"type": "null"}]} for name in ("string", "number"))
    shapes = {
        "run": text, "epoch": {"type": "integer"}, "commit_sha": text, "created": text, "label": text,
        "l1": number, "psnr": number, "ssim": number, "fake": text, "rec": text, "lost": text, "error": text,
    }  # fmt: skip
    entries = {"type": "array", "items": {"type": "object", "properties": shapes}}
    whole = {"direction": text, "here": text, "there": text, "input": text, "link": text, "entries": entries}
    whole["returns"] = {"type": "boolean"}
    return {"type": "object", "properties": whole}
