"""The compare page's entries, which are checkpoints, and its links."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from cyclegan.checkpoints.format import CheckpointInfo, epoch_name
from cyclegan.config import DIRECTIONS
from cyclegan.errors import CheckpointError, ImageError, Message, UserError, message
from cyclegan.ui import runs, withheld, words
from cyclegan.ui.curves import curves
from cyclegan.ui.workbench import Workbench

MOST, MOST_OWN = 6, 24
"""Most entries at a time, on a computer that visitors share and on their own; a comparison takes two."""
USUAL_PICTURES = 4
"""Pictures of a matrix, unless a visitor chooses another number."""
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


def most_entries(bench: Workbench) -> int:
    """Return the most entries at a time."""
    return MOST_OWN if bench.own else MOST


def resolve(bench: Workbench, chosen: Sequence[str] | None) -> tuple[list[Entry], list[UserError]]:
    """Return the entries that exist, each once and at most `most_entries`, and an error for each that doesn't.

    Args:
        bench: knows the runs.
        chosen: such as `streets@epoch-0012`; without an epoch, the run's newest.
    """
    found: dict[str, Entry] = {}
    most = most_entries(bench)
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
        if len(found) + len(problems) > 2 * most:  # Each may take a request to the Hub.
            break
    if len(found) > most:
        problems.append(CheckpointError(
            "{count} checkpoints are more than the {most} that can be compared: choose fewer",
            count=len(found), most=most,
        ))  # fmt: skip
    return list(found.values())[:most], problems


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
        if runs.domains(info) == runs.domains(own[0].info) and _alike(info, own[0].info):
            newest[name] = Entry(name, info)
    return list(newest.values())[:SPREAD] if len(newest) > 1 else own


def _alike(one: CheckpointInfo, other: CheckpointInfo) -> bool:
    """Return whether two checkpoints take pictures of one kind."""
    kinds = [[(values.plain, values.channels) for values in map(info.config.data.values, "ab")]
             for info in (one, other)]  # fmt: skip
    return kinds[0] == kinds[1]


def usual_direction(entries: Sequence[Entry]) -> str | None:
    """Return the direction of the first entry that most entries have, its own first if several; None without entries.
    """
    if not entries:
        return None

    def count(direction: str) -> int:
        return len(having(entries, ways(entries, direction)))

    own = entries[0].info.directions
    return max([*own, *(one for one in DIRECTIONS if one not in own)], key=count)


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


def ways(entries: Sequence[Entry], direction: str) -> dict[str, str]:
    """Return each entry's own direction by its value, for one of the first entry, even if that lacks it.

    Runs may have their domains the other way round, so directions are matched by the domains' names. The direction
    stays where neither is nearer.
    """
    wanted = _names(entries[0], direction) if entries else []

    def near(entry: Entry, way: str) -> int:
        return sum(one == other for one, other in zip(_names(entry, way), wanted, strict=True))

    # The first of equal ones.
    return {entry.value: max((direction, direction[::-1]), key=functools.partial(near, entry)) for entry in entries}


def having(entries: Sequence[Entry], found: Mapping[str, str]) -> list[Entry]:
    """Return the entries that have their direction of `ways`."""
    return [entry for entry in entries if found.get(entry.value) in entry.info.directions]


def _names(entry: Entry, direction: str) -> list[str]:
    names = runs.domains(entry.info)
    return [names[domain].strip().casefold() for domain in direction]


def tile_names(entries: Sequence[Entry], found: Mapping[str, str], say: words.Speaker) -> dict[str, str]:
    """Return the captions by the entries' values: the epoch; the run, its direction and its method where they differ.

    Args:
        found: each entry's direction, from `ways`.
    """
    several = len({entry.run for entry in entries}) > 1
    methods = len({entry.info.config.method for entry in entries}) > 1
    arrows = {entry.value: runs.arrow(entry.info, found[entry.value]) for entry in entries}
    names = {}
    for entry in entries:
        name = entry_label(entry, several, say("epoch {epoch}", epoch=entry.info.epoch))
        facts = [arrows[entry.value]] if len(set(arrows.values())) > 1 else []
        facts += [entry.info.config.method] if methods else []
        names[entry.value] = f"{name} ({', '.join(facts)})" if facts else name
    return names


def directions_of(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Return the directions that any entry has, for a gr.Radio, named as by the first entry that has them."""
    choices = []
    for direction in DIRECTIONS:
        found = ways(entries, direction)
        if some := having(entries, found):
            choices.append((runs.arrow(some[0].info, found[some[0].value]), direction))
    return choices


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


def first_example(bench: Workbench, run: str, direction: str | None) -> int:
    """Return the number of a run's first example of a direction's domain, 1 if there is none."""
    names = [path.name for path in withheld.examples(bench, run)]
    return next((n for n, name in enumerate(names, 1) if direction and name.startswith(f"{direction[0]}_")), 1)


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


def link_to(
    entries: Sequence[Entry], direction: str, size: str | int, example: tuple[str, str] | None,
    pictures: int = USUAL_PICTURES,
) -> str:
    """Return the query of the address that shows a comparison again.

    Commas separate the entries, so commas within an entry are quoted twice.
    """
    values = {"entries": ",".join(quote(entry.value, safe="@/ ") for entry in entries)}
    if example is not None and example[0] != entries[0].run:
        values["run"] = example[0]
    values |= {"direction": direction, "size": str(size)}
    if pictures != USUAL_PICTURES:
        values["pictures"] = str(pictures)
    if example is not None:
        values["example"] = example[1]
    return urlencode(values, safe="@,/")
