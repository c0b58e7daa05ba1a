"""The compare page's reactions to what its visitor does."""

from __future__ import annotations

import shutil
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

import gradio as gr

from cyclegan.errors import CheckpointError, ImageError, UserError
from cyclegan.ui import inputs, live, matrix, ranking, runs, withheld, words
from cyclegan.ui.comparison import (
    OF_EXAMPLES,
    USUAL_PICTURES,
    checked_number,
    curves_of,
    default_entries,
    digest,
    directions_of,
    entry_choices,
    first_example,
    in_one,
    lacking,
    opening_entries,
    resolve,
    usual_direction,
)  # fmt: skip
from cyclegan.ui.feedback import busy, warn
from cyclegan.ui.results import linked, served
from cyclegan.ui.workbench import Workbench
from cyclegan.values import Values

MAX_SESSIONS = 1000
"""So many visitors' latest choices are remembered."""
LINKED = ("entries", "run", "direction", "size", "pictures", "example")
"""Parameters in an address of the page; the viewer adds its own."""


class Events:
    """The page's reactions to what its visitor does."""

    def __init__(self, bench: Workbench) -> None:
        self.bench, self.first = bench, next(iter(bench.runs))
        self.turns: OrderedDict[str | None, int] = OrderedDict()
        """The number of changes of each session's choices: a change stops the older comparison."""

    def _describe(
        self, run: str, chosen: Sequence[str] | None, direction: str | None, request: gr.Request
    ) -> tuple[list[Any], list[UserError], str | None]:
        """Return the settings for these entries (entries, settled, direction), what was wrong, and the direction.

        A run that is starting has no entry and no direction.
        """
        say = words.speaker(request)
        found, problems = resolve(self.bench, chosen)
        found = found or default_entries(self.bench, run)
        directions = directions_of(found)
        valid = [value for _, value in directions]
        if found and direction is not None and direction not in valid:
            problems.append(lacking(found[0], direction))
        values, way = [entry.value for entry in found], direction if direction in valid else usual_direction(found)
        return [
            gr.Dropdown(entry_choices(self.bench, run, found, say), value=values, multiselect=True), values,
            gr.Radio(directions, value=way, visible=len(valid) > 1),
        ], problems, way  # fmt: skip

    def open_page(self, request: gr.Request) -> list[Any]:
        """Show what the address names; where it names nothing that exists, the first run's defaults."""
        asked, say = {name: request.query_params.get(name) for name in LINKED}, words.speaker(request)
        found, problems = resolve(self.bench, [unquote(one) for one in (asked["entries"] or "").split(",") if one])
        if not found and asked["run"] is None:
            found = opening_entries(self.bench)
        run, side, number, pictures = self.first, "auto", None, USUAL_PICTURES
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
            if asked["pictures"] is not None:
                pictures = matrix.checked_pictures(self.bench, asked["pictures"])
        except ImageError as error:
            problems.append(error)
        try:
            if asked["example"] is not None:
                number = checked_number(asked["example"], len(withheld.examples(self.bench, run)))
        except ImageError as error:
            problems.append(error)
        described, more, way = self._describe(run, [entry.value for entry in found], asked["direction"], request)
        if problems := [*problems, *more]:
            warn(in_one(problems), say, say("Part of this link couldn't be shown"))
        gallery = runs.examples_gallery(self.bench.run(run), withheld.examples(self.bench, run))
        line = live.value(self.bench, run, say)
        number = number or first_example(self.bench, run, way)
        start = [self._newest(run), line, side, str(pictures), number, gallery]
        return [runs.chosen(self.bench, run, request), *described, *start]

    def open_run(self, run: str, request: gr.Request) -> list[Any]:
        """Show another run's defaults, and its examples."""
        gallery = runs.examples_gallery(self.bench.run(run), withheld.examples(self.bench, run))
        line = live.value(self.bench, run, words.speaker(request))
        described, _, way = self._describe(run, None, None, request)
        return [*described, self._newest(run), line, first_example(self.bench, run, way), gallery]

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
        paths = withheld.examples(self.bench, run)
        if index >= len(paths):
            return None
        folder = f"{OF_EXAMPLES}{index + 1}-{digest(run)}-"
        values = runs.values_of(self.bench.run(run))[paths[index].name[0]]
        if not values.plain:
            return inputs.preview(paths[index], values, folder)
        return served(paths[index].name, lambda path: shutil.copyfile(paths[index], path), folder)

    def pick_example(self, run: str, event: gr.SelectData) -> str | None:
        """Return the example that was clicked."""
        return self._take_example(run, event.index)

    def for_browsers(self, image: dict | None, chosen: list[str] | None, request: gr.Request) -> Any:
        """Return what the picture's box shows of a file that browsers can't."""
        return inputs.for_browsers(image, request, self._readings(chosen))

    def unless_bad(self, image: dict | None, chosen: list[str] | None, refused: int) -> list[Any]:
        """Return the picture's box, emptied if the picture can't be read, and the number of refused ones."""
        return inputs.unless_bad(image, refused, self._readings(chosen))

    def _readings(self, chosen: list[str] | None) -> list[Values]:
        """Return the values of the domains of the first entry's run."""
        entries, _ = resolve(self.bench, chosen)
        return runs.readings(self.bench.run(entries[0].run if entries else self.first))

    def notice(self, chosen: list[str] | None, settled: list[str] | None) -> Any:
        """Return a new value for `turned` if the visitor has changed the entries."""
        return gr.skip() if chosen == settled else time.monotonic()

    def settle(self, run: str, chosen: list[str] | None, direction: str | None, request: gr.Request) -> list[Any]:
        """Return the choices as they can be compared; a notice reports what was wrong with them."""
        say = words.speaker(request)
        described, problems, _ = self._describe(run, chosen, direction, request)
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
        pictures: str | None = None,
        request: gr.Request = None,  # type: ignore[assignment]  # gradio's way to ask for it
    ) -> Iterator[list[Any]]:
        """Compare, until the visitor's choice changes."""
        turn, say = self.turns.get(request.session_hash), words.speaker(request)
        for shown in matrix.compare(self.bench, image, entries, direction, size, say, pictures or 1):
            if self.turns.get(request.session_hash) != turn:
                return  # The next comparison has begun.
            yield shown

    def stop(self, shown: dict | None, request: gr.Request) -> list[Any]:
        """Keep the finished tiles only."""
        return [words.speaker(request)("Stopped. What was ready is kept."), matrix.kept(shown)]

    def film(
        self, image: dict | None, entries: list[str] | None, direction: str | None, size: str, pictures: str | None,
        request: gr.Request, event: gr.EventData,
    ) -> Iterator[str]:
        """Yield the HTML of the time-lapse of what is shown."""
        chosen, say = (image, entries, direction, size, pictures or 1), words.speaker(request)
        try:
            for said, path in matrix.film(self.bench, *chosen, event.row, event.kind, say):
                yield said if path is None else matrix.film_shown(path, say)
        except Exception:
            yield ""  # Nothing is being made any more.
            raise

    def timelapse(
        self, image: dict | None, entries: list[str] | None = None, direction: str | None = None, size: str = "auto",
        pictures: str | None = None, kind: str = "mp4",
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> Iterator[list[Any]]:
        """Yield a sentence and the time-lapse of all pictures, for programs."""
        chosen = image, entries, direction, size, pictures or 1
        yield from matrix.film(self.bench, *chosen, None, kind, words.speaker(request))

    def ranked(self, shown: dict | None, request: gr.Request, event: gr.EventData) -> str:
        """Return the HTML of the visitor's own ranking."""
        labels = [str(entry.get("label")) for entry in (shown or {}).get("entries", [])]
        return ranking.verdict(labels, ranking.checked_ranks(event.ranks, len(labels)), words.speaker(request))

    def clear(self) -> list[str]:
        """Return nothing in the place of a time-lapse and a ranking of other pictures."""
        return ["", ""]
