"""Pictures under several checkpoints, for the compare page: the translations, how far they differ, their time-lapse."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from cyclegan.config import DIRECTIONS
from cyclegan.errors import CheckpointError, ImageError
from cyclegan.ui import inputs, runs, withheld, words
from cyclegan.ui.comparison import (
    Entry,
    example_of,
    having,
    in_one,
    lacking,
    link_to,
    opening_entries,
    resolve,
    tile_names,
    usual_direction,
    ways,
)  # fmt: skip
from cyclegan.ui.feedback import busy, nothing_translated, page_error, raise_for_page
from cyclegan.ui.inputs import by
from cyclegan.ui.live import waiting
from cyclegan.ui.results import Picture, Result, ResultRequest, address, file_name, served
from cyclegan.ui.workbench import GPU_IS_LENT, Workbench
from cyclegan.values import Values

MOST_PICTURES, MOST_PICTURES_OWN = 6, runs.MAX_EXAMPLES
"""Most pictures of a matrix on a computer that visitors share, and on their own."""
FILMS = ("mp4", "gif")


def most_pictures(bench: Workbench) -> int:
    """Return the most pictures of a matrix."""
    return MOST_PICTURES_OWN if bench.own else MOST_PICTURES


def checked_pictures(bench: Workbench, pictures: Any) -> int:
    """Return the number of a matrix's pictures; raise ImageError for another."""
    most, text = most_pictures(bench), str(pictures).strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= most):
        raise ImageError("{text!r} isn't a number of pictures: give 1 to {most}", text=text[:20], most=most)
    return int(text)


def compare(
    bench: Workbench, payload: dict | None, chosen: list[str] | None, direction: str | None, size: str,
    say: words.Speaker, pictures: Any = 1,
) -> Iterator[list[Any]]:
    """Yield a sentence, the picture, the translations, the ways back, the viewer's value, after each translation.

    The sentence and the viewer's value are of all pictures, the others of the visitor's.

    Args:
        bench: makes the results.
        payload: the visitor's picture.
        chosen: the checkpoints; none: those that the page opens with.
        direction: the translation's, as `ways` takes it; None: the one that most checkpoints have.
        size: the working size.
        say: the visitor's language.
        pictures: number of the matrix's rows, which are the visitor's picture and then examples of its domain.
    """
    if payload is None:
        yield [say("Choose a picture."), None, [], [], None]
        return
    try:
        comparison, remarks = _begun(bench, payload, chosen, direction, size, pictures, say)
        if comparison is None:
            yield [waiting(say), None, [], [], None]
            return
        if not bench.ready.is_set():
            yield [busy(inputs.loading(say)), *[gr.skip()] * 4]
        yield from comparison.run(remarks)
    except Exception as error:
        problem = page_error(error, say)
        yield [nothing_translated(problem, say), None, [], [], None]
        raise_for_page(problem, say)


def film(
    bench: Workbench, payload: dict | None, chosen: list[str] | None, direction: str | None, size: str, pictures: Any,
    row: int | None, kind: str, say: words.Speaker,
) -> Iterator[list[Any]]:
    """Yield a sentence and the path of a time-lapse over the checkpoints, as long as it is made None.

    Args:
        bench, payload, chosen, direction, size, pictures: as `compare` takes them; what it has translated is taken
            from there.
        row: the matrix's row to show, counted from 0; None shows all.
        kind: one of FILMS.
        say: the visitor's language.
    """
    from cyclegan.translation.timelapse import write_timelapse

    if kind not in FILMS:
        raise ImageError("{kind!r} isn't a kind of time-lapse: give mp4 or gif", kind=str(kind)[:20])
    if payload is None:
        raise ImageError("There is no picture yet: choose one first")
    comparison, _ = _begun(bench, payload, chosen, direction, size, pictures, say)
    if comparison is None or len(comparison.able) < 2:
        raise CheckpointError("A time-lapse takes at least two epochs: choose more")
    rows = comparison.rows
    if row is not None and not (isinstance(row, int) and 0 <= row < len(rows)):
        raise ImageError("the matrix has no picture {number}: it has {count}", number=str(row)[:20], count=len(rows))
    chosen_rows = rows if row is None else [rows[row]]
    for each in chosen_rows:
        for said, *_ in comparison.translate(each):
            yield [said, None]
    yield [busy(say("Writing …")), None]
    # A run's epochs in their order; of several runs, the order is the visitor's.
    order = comparison.able
    if len({entry.run for entry in order}) == 1:
        order = sorted(order, key=lambda entry: entry.info.epoch)
    steps = [
        (_caption(entry, order), map(_opened, [each.results.get(entry.value) for each in chosen_rows]))
        for entry in order if any(entry.value in each.results for each in chosen_rows)
    ]  # fmt: skip
    if len(steps) < 2:
        raise CheckpointError("A time-lapse takes at least two epochs that can be read: choose others")
    first, last = steps[0][0], steps[-1][0]
    path = served(
        f"{file_name(f'{first} to {last}')}.{kind}",
        lambda target: write_timelapse(target, [each.picture.shown for each in chosen_rows], steps),
    )
    yield [say("A time-lapse of {n} epoch.", "A time-lapse of {n} epochs.", len(steps)), path]


def film_shown(path: str, say: words.Speaker) -> str:
    """Return the HTML that plays a time-lapse and offers it as a file."""
    url = html.escape(address(path))
    played = (
        f'<img src="{url}" alt="{say.html("Time-lapse")}">' if path.endswith(".gif")
        else f'<video src="{url}" controls loop muted playsinline aria-label="{say.html("Time-lapse")}"></video>'
    )  # fmt: skip
    link = f'<a href="{url}" download>{say.html("Save {name}", name=Path(path).name)}</a>'
    return f"<figure>{played}<figcaption>{link}</figcaption></figure>"


def _caption(entry: Entry, entries: Sequence[Entry]) -> str:
    """Return an entry's name in English, because the file may be shown anywhere and its font is plain."""
    several = len({each.run for each in entries}) > 1
    return f"{entry.run}, epoch {entry.info.epoch}" if several else f"epoch {entry.info.epoch}"


@dataclass
class _Row:
    """A picture of the matrix, and what has come of it so far; dictionaries are by the entries' values."""

    picture: Picture
    name: str
    input: str
    """Path of the picture as a file."""
    requests: dict[str, ResultRequest]
    shown: dict[str, dict[str, Any]]
    results: dict[str, Result] = field(default_factory=dict)
    differences: list[list[float | None]] = field(default_factory=list)
    """As `evaluation.disagreement.differences` returns them, of the picture itself and the translations."""

    def measure(self) -> None:
        """Compare the translations that are there, and the picture itself, each with each."""
        from cyclegan.evaluation.disagreement import differences

        fakes = [_opened(self.results.get(value)) for value in self.requests]
        self.differences = differences([self.picture.shown, *fakes])

    def value(self) -> dict[str, Any]:
        """Return what the viewer shows."""
        from cyclegan.evaluation.disagreement import disagreement

        return {
            "name": self.name, "input": address(self.input), "width": self.picture.image.width,
            "height": self.picture.image.height, "entries": [dict(entry) for entry in self.shown.values()],
            "differences": [[x and round(x, 2) for x in line] for line in self.differences],
            "disagreement": disagreement([line[1:] for line in self.differences[1:]]),
        }  # fmt: skip


def _begun(
    bench: Workbench, payload: dict, chosen: list[str] | None, direction: str | None, size: str, pictures: Any,
    say: words.Speaker,
) -> tuple[_Comparison | None, list[str]]:
    """Return the comparison that was asked for, None if the run is starting, and remarks about the picture."""
    wanted_size, count = inputs.checked_size(size), checked_pictures(bench, pictures)
    entries, problems = resolve(bench, chosen) if chosen else (opening_entries(bench), [])
    if problems:
        raise CheckpointError(in_one(problems))
    if not entries:
        return None, []
    if direction is None:
        direction = usual_direction(entries)
    found = ways(entries, direction) if direction in DIRECTIONS else {}
    able = having(entries, found)
    if not able:
        raise lacking(entries[0], direction)
    values = _values_of(able, found)
    image, remarks = inputs.received(payload, say, values)
    example = example_of([*(entry.run for entry in entries), *bench.runs], payload)
    comparison = _Comparison(bench, entries, able, found, wanted_size, say)
    link = link_to(entries, direction, wanted_size, example, count)
    comparison.shared |= {"direction": direction, "own": example is None, "link": link}
    comparison.add(Picture(image, values), say("your picture") if example is None else say("example {n}", n=example[1]))
    for number, path in _more(bench, entries, found, example)[: count - 1]:
        picture = runs.open_example(path, {path.name[0]: values})
        comparison.add(picture, say("example {n}", n=number))
    return comparison, [*remarks, *_ranges_said(able, found, say)]


def _values_of(entries: Sequence[Entry], found: Mapping[str, str]) -> Values:
    """Return the values of the pictures that checkpoints take, those of the first one's range.

    Raises:
        CheckpointError: they take pictures of different kinds.
    """
    first, *others = (entry.info.config.data.values(found[entry.value][0]) for entry in entries)
    for entry, values in zip(entries[1:], others, strict=True):
        if (values.plain, values.channels) != (first.plain, first.channels):
            raise CheckpointError(
                "{name} and {other} take different kinds of values: compare them apart",
                name=entries[0].value, other=entry.value,
            )  # fmt: skip
    return first


def _ranges_said(entries: Sequence[Entry], found: Mapping[str, str], say: words.Speaker) -> list[str]:
    """Return a remark if equal greys of the checkpoints' pictures don't have equal values."""
    for end in (0, 1):
        ranges = dict.fromkeys(entry.info.config.data.values(found[entry.value][end]).text() for entry in entries)
        if len(ranges) > 1:
            return [say("Their ranges differ ({ranges}), so equal greys aren't equal values.",
                        ranges=", ".join(ranges))]  # fmt: skip
    return []


def _more(
    bench: Workbench, entries: Sequence[Entry], found: Mapping[str, str], example: tuple[str, str] | None
) -> list[tuple[int, Path]]:
    """Return the other examples of what is translated, with their numbers, of the first run that has any."""
    domains = {entry.run: found[entry.value][0] for entry in entries}
    for run in dict.fromkeys([*([example[0]] if example else []), *domains]):
        domain = domains.get(run, found[entries[0].value][0])
        others = [
            (n, path) for n, path in enumerate(withheld.examples(bench, run), 1)
            if path.name.startswith(f"{domain}_") and example != (run, str(n))
        ]  # fmt: skip
        if others:
            return others
    return []


class _Comparison:
    """A comparison in progress: its pictures, the results so far, the failures.

    Args:
        bench: makes the results.
        entries: the chosen ones.
        able: those of them that have the direction.
        found: each entry's own direction, from `ways`.
        size: as `inputs.checked_size` returns it.
        say: the visitor's language.
    """

    def __init__(
        self, bench: Workbench, entries: list[Entry], able: list[Entry], found: Mapping[str, str],
        size: str | int, say: words.Speaker,
    ) -> None:
        self.bench, self.entries, self.able = bench, entries, able
        self.ways, self.size, self.say, self.began = found, size, say, time.monotonic()
        self.names, direction = tile_names(entries, found, say), found[able[0].value]
        names = runs.domains(able[0].info)
        of_input = able[0].info.config.data.values(direction[0])
        self.shared = {
            # The range whose units the figures have, for a viewer; none for grey levels.
            "range": None if of_input.plain else [of_input.low, of_input.high],
            "here": names[direction[0]], "there": names[direction[1]],
            "returns": any(len(entry.info.directions) > 1 for entry in able),
        }  # fmt: skip
        self.rows: list[_Row] = []
        self.capped: list[str] = []
        self.failures: dict[str, str] = {}

    def add(self, picture: Picture, name: str) -> None:
        """Add a picture to the matrix."""
        requests = {}
        for entry in self.able:
            info, device = entry.info, self.bench.device_type()
            side, remarks = inputs.working_side(picture.image.size, self.size, info.config.data, device, self.say)
            self.capped += [one for one in remarks if one not in self.capped]
            requests[entry.value] = ResultRequest(entry.run, info.epoch, info.commit_sha, self.ways[entry.value], side)
        shown = {entry.value: _waiting(entry, self.names[entry.value]) for entry in self.able}
        self.rows.append(_Row(picture, name, self.bench.input(picture), requests, shown))

    def run(self, remarks: list[str]) -> Iterator[list[Any]]:
        """Yield as `compare` does.

        Args:
            remarks: about the picture, for the last sentence.
        """
        for row in self.rows:
            yield from self.translate(row)
            row.measure()
        first = self.rows[0]
        fakes, recs = [], []
        for value, result in first.results.items():
            fakes.append((result.fake, self.names[value]))
            recs += [(result.rec, self.names[value])] if result.rec else []
        said = " ".join([*map(html.escape, [*self._said(), *remarks, *self.capped]), *self.failures.values()])
        yield [said, first.input, fakes, recs, self._value(done=True)]

    def translate(self, row: _Row) -> Iterator[list[Any]]:
        """Yield as `compare` does, before each translation of a picture."""
        able = [entry for entry in self.able if entry.value not in self.failures]
        # One loan of a GPU for all; elsewhere one by one, so that an unreadable checkpoint doesn't stop the others.
        for group in [able] if GPU_IS_LENT else [[entry] for entry in able]:
            results = self.bench.results(row.picture, [row.requests[entry.value] for entry in group], self.say)
            for entry in group:
                yield [busy(self._progress(row, entry)), *[gr.skip()] * 3, self._value(done=False)]
                try:
                    result = next(results)
                except gr.Error as error:
                    if len(self.failures) + 1 == len(self.able) or len(group) > 1:
                        raise
                    self.failures[entry.value] = f"{html.escape(self.names[entry.value])}: {error.message}"
                    for each in self.rows:
                        if entry.value not in each.results:
                            each.shown[entry.value]["error"] = html.unescape(error.message)
                    continue
                row.results[entry.value] = result
                row.shown[entry.value] |= _figures(result)

    def _progress(self, row: _Row, entry: Entry) -> str:
        name, place = self.names[entry.value], self.rows.index(row)
        if place:
            name = f"{row.name}, {name}"
        n = place * len(self.able) + self.able.index(entry) + 1
        return self.say("{name}: {n} of {count} …", name=name, n=n, count=len(self.rows) * len(self.able))

    def _said(self) -> list[str]:
        """Return a sentence about the comparison, and one for each entry that was left out."""
        first = self.able[0]
        arrow, count = runs.arrow(first.info, self.ways[first.value]), len(self.able)
        lacks = [
            self.say("{name} doesn't translate {arrow} and was left out.", name=self.names[entry.value], arrow=arrow)
            for entry in self.entries if entry not in self.able
        ]  # fmt: skip
        seconds = time.monotonic() - self.began
        if count > 1 and len(self.rows) > 1:
            said = self.say(
                "{arrow} with {count} checkpoints, {pictures} pictures, {seconds:.1f} s.", arrow=arrow, count=count,
                pictures=len(self.rows), seconds=seconds,
            )  # fmt: skip
        elif count > 1:
            said = self.say(
                "{arrow} with {count} checkpoints, {size} pixels, {seconds:.1f} s.", arrow=arrow, count=count,
                size=by(self.rows[0].picture.image.size), seconds=seconds,
            )  # fmt: skip
        elif len(runs.listed(self.bench.run(self.able[0].run))) == 1 and len(self.bench.runs) == 1:
            said = self.say(
                "{arrow}: this run has only one epoch so far, so there is nothing to compare it with.", arrow=arrow
            )
        else:
            said = self.say("{arrow} with one checkpoint: choose a second one to compare it with.", arrow=arrow)
        return [said, *lacks]

    def _value(self, *, done: bool) -> dict[str, Any]:
        first, *more = [row.value() for row in self.rows]
        return {**self.shared, **first, "more": more, "done": done}


def kept(shown: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the viewer's value after a stop: its finished tiles, and the pictures that have all of these."""
    columns = [n for n, entry in enumerate((shown or {}).get("entries", [])) if entry.get("fake")]
    if shown is None or not columns:
        return None

    def narrowed(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "entries": [row["entries"][n] for n in columns], "differences": [], "disagreement": None}

    rows = [row if len(columns) == len(row["entries"]) and row["differences"] else narrowed(row)
            for row in (shown, *shown.get("more", []))]  # fmt: skip
    first, *more = [row for row in rows if all(entry.get("fake") for entry in row["entries"])]
    return {**first, "more": more, "stopped": True}


def _waiting(entry: Entry, name: str) -> dict[str, Any]:
    """Return what the viewer knows of a checkpoint before its result is ready."""
    info = entry.info
    known = {
        "run": entry.run, "epoch": info.epoch, "commit_sha": info.commit_sha, "created": info.created, "label": name,
    }  # fmt: skip
    return known | dict.fromkeys(("l1", "psnr", "ssim", "fake", "rec", "lost", "fake_file", "rec_file", "error"))


def _figures(result: Result) -> dict[str, Any]:
    figures = result.similarity
    found = {} if figures is None else {"l1": figures.l1, "psnr": figures.psnr, "ssim": figures.ssim}
    # JSON has no infinity, which is the PSNR of equal pictures.
    rounded = {name: None if x is None or not math.isfinite(x) else round(x, 4) for name, x in found.items()}
    urls = {"fake": result.fake, "rec": result.rec, "lost": result.lost}
    urls |= {"fake_file": result.fake_file, "rec_file": result.rec_file}
    return {"commit_sha": result.commit_sha, **rounded, **{name: path and address(path) for name, path in urls.items()}}


def _opened(result: Result | None) -> Image.Image | None:
    """Return a result's translation."""
    if result is None:
        return None
    with Image.open(result.fake) as image:
        return image.convert("RGB")


def figures_schema() -> dict[str, Any]:
    """Return the JSON schema of the viewer's value, for programs."""
    text, number = ({"anyOf": [{"type": name}, {"type": "null"}]} for name in ("string", "number"))
    shapes = {
        "run": text, "epoch": {"type": "integer"}, "commit_sha": text, "created": text, "label": text,
        "l1": number, "psnr": number, "ssim": number, "fake": text, "rec": text, "lost": text, "error": text,
        "fake_file": text, "rec_file": text,
    }  # fmt: skip
    entries = {"type": "array", "items": {"type": "object", "properties": shapes}}
    row = {
        "name": text, "input": text, "width": {"type": "integer"}, "height": {"type": "integer"}, "entries": entries,
        "differences": {"type": "array", "items": {"type": "array", "items": number}}, "disagreement": number,
    }  # fmt: skip
    more = {"type": "array", "items": {"type": "object", "properties": row}}
    of_units = {"anyOf": [{"type": "array", "items": number}, {"type": "null"}]}
    whole = {
        "range": of_units, "direction": text, "here": text, "there": text, "link": text,
        "returns": {"type": "boolean"},
    }  # fmt: skip
    return {"type": "object", "properties": {**whole, **row, "more": more}}
