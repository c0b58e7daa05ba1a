"""The scores of the runs: what was measured alike, as a table, as plots over the epochs, and in words."""

from __future__ import annotations

import contextlib
import functools
import html
import itertools
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from cyclegan.checkpoints.sources import CheckpointSource, LocalSource
from cyclegan.config import Direction
from cyclegan.errors import CheckpointError, Message, UserError, message, rounded
from cyclegan.evaluation.scores.exchange import alike, known, read_checked
from cyclegan.evaluation.scores.people import Judgement
from cyclegan.evaluation.scores.recommend import FEWEST, fewest_pictures, recommend, verdicts
from cyclegan.evaluation.scores.report import SECTIONS, Report, scores_folder
from cyclegan.evaluation.scores.table import BY_KEY, LABELS, SCORES, ScoreFigure
from cyclegan.evaluation.scores.tables import columns_of, measured_scores
from cyclegan.ui import words
from cyclegan.ui.curves import Reference, score_panel
from cyclegan.ui.legend import BETTER, arrow_of, date, legend
from cyclegan.ui.studies import offered_dataset, to_copy


@dataclass(frozen=True)
class Row:
    """A line of the table: an epoch of a run, a baseline or a ceiling."""

    section: str
    answer: str
    run: str
    """"" for a baseline or a ceiling."""
    epoch: int
    scores: Mapping[str, Any]

    def value(self, figure: ScoreFigure) -> dict[str, float] | None:
        """Return a figure, None where it wasn't measured or isn't finite."""
        found = self.scores.get(figure.score, {}).get(figure.key)
        return found if found and math.isfinite(found["value"]) else None

    def label(self, say: words.Speaker, several: bool) -> str:
        """Return its name, with the run's if there are several."""
        if not self.run:
            return say.text_of(LABELS.get(self.answer, self.answer))
        epoch = say("epoch {epoch}", epoch=self.epoch)
        return f"{self.run} · {epoch}" if several else epoch


@dataclass
class Measurement:
    """Scores of runs on the same pictures in one direction, so that their figures compare."""

    name: str
    way: Direction
    facts: dict[str, Any]
    """`measured_on` of the files."""
    domains: dict[str, str]
    reports: dict[str, Report] = field(default_factory=dict)
    """The files by run."""

    @property
    def key(self) -> str:
        """A name for it in the browser."""
        return json.dumps([self.name, self.way, self.domains, self.facts], sort_keys=True)

    def best(self, figure: ScoreFigure, rows: Sequence[Row]) -> float | None:
        """Return the best value; None if no value is better, all are equal, or the pictures can't tell epochs apart."""
        values = {value["value"] for row in rows if (value := row.value(figure))}
        if not figure.better or fewest_pictures(self.facts) < FEWEST or len(values) < 2:
            return None
        return min(values) if figure.better == "lower" else max(values)

    @property
    def arrow(self) -> str:
        """Return `day → night`."""
        return " → ".join(self.domains[end] for end in self.way)

    def chosen(self, run: str | None, tag: str | None) -> Row | None:
        """Return the row of a run's epoch.

        If it isn't there: the run's best one, by the first figure that recommends one, else its newest. The last run
        stands in for one that isn't there. None without any row.
        """
        rows = self.epochs()
        if not rows:
            return None
        run, tag = (run, tag) if any(row.run == run for row in rows) else (rows[-1].run, None)
        of_run = [row for row in rows if row.run == run]
        best = next((each.epoch for each in recommend(self.reports[of_run[0].run], self.way) if each.recommends), None)
        found = {row.answer: row for row in of_run} | {row.epoch: row for row in of_run}
        return found.get(tag) or found.get(best) or of_run[-1]

    def epochs(self) -> list[Row]:
        """Return the rows of epochs, run by run, from the first on."""
        return [
            Row("scores", tag, run, scores["epoch"], scores)
            for run, report in self.reports.items()
            for tag, scores in sorted(report.section(self.way, "scores").items(), key=lambda item: item[1]["epoch"])
        ]

    def references(self) -> list[Row]:
        """Return the rows of baselines and ceilings, which equal pictures share: the first run's, and what it lacks."""
        found: dict[tuple[str, str], Row] = {}
        for report in self.reports.values():
            for section in SECTIONS[1:]:
                for answer, scores in report.section(self.way, section).items():
                    before = found[section, answer].scores if (section, answer) in found else {}
                    found[section, answer] = Row(section, answer, "", 0, {**scores, **before})
        return sorted(found.values(), key=lambda row: SECTIONS.index(row.section))

    def columns(self) -> list[ScoreFigure]:
        """Return the figures that some row has, in the table's order."""
        had = {
            figure.key for report in self.reports.values() for score in measured_scores(report, self.way)
            for figure in columns_of(report, self.way, score)
        }  # fmt: skip
        return [figure for figure in BY_KEY.values() if figure.key in had]

    def heading(self, figure: ScoreFigure, say: words.Speaker) -> str:
        """Return a figure's name, with the network of features that it depends on."""
        network = self.facts.get("features") if figure.by_features else None
        return say.text_of(figure.label) + (f" ({network})" if network else "")

    def title(self, figure: ScoreFigure, say: words.Speaker) -> str:
        """Return the same where no column shows the score that it belongs to: two of them share their names."""
        heading = self.heading(figure, say)
        return f"{heading} ({figure.score})" if figure.shares_its_label else heading


def collect(runs: Mapping[str, CheckpointSource]) -> tuple[list[Measurement], list[Message]]:
    """Return the measurements in the files of scores, and a sentence for each file that can't be read.

    A repository's own files come first, then those that were measured here, which count where both are alike.
    """
    found: list[Measurement] = []
    problems: list[Message] = []
    for run, source in runs.items():
        reports, wrong = reports_of(source)
        problems += [message("scores of {run} can't be shown: {problem}", run=run, problem=error) for error in wrong]
        for report in reports:
            for way in report.directions:
                content = report.content
                one = Measurement(report.name, way, content[way]["measured_on"], content["names"])
                _alike(found, one, run).reports[run] = report
    return found, problems


def _alike(found: list[Measurement], one: Measurement, run: str) -> Measurement:
    """Return the measurement among those found that a run's file belongs to, after it was added if there is none.

    A run whose scores need no labels or no segmenter compares with those whose scores need them.
    """
    for other in found:
        if (other.way, other.domains) != (one.way, one.domains) or other.name != one.name and run in other.reports:
            continue
        compares = run not in other.reports and other.facts.get("dataset") == one.facts.get("dataset")
        if other.facts == one.facts or compares and alike(other.facts, one.facts):
            other.facts = {**one.facts, **known(other.facts)}
            return other
    found.append(one)
    return one


def reports_of(source: CheckpointSource) -> tuple[list[Report], list[UserError]]:
    """Return the files of a run's scores, checked, and the reason for each that can't be read."""
    reports, wrong = [], []
    try:
        paths, left_out = source.scores()
        wrong += left_out
    except CheckpointError as error:
        paths = ()
        wrong.append(error)
    try:
        here = [] if isinstance(source, LocalSource) else sorted(scores_folder(source).glob("*.json"))
    except OSError:  # A visitor has typed more than a folder's name can have.
        here = []
    for path in (*paths, *here):
        try:
            status = path.stat()
            reports.append(_read(path, status.st_mtime_ns, status.st_size))
        except OSError:
            continue  # It has just been removed.
        except UserError as error:
            wrong.append(error)
    return reports, wrong


@functools.lru_cache(maxsize=8)
def _read(path: Path, changed_ns: int, size: int) -> Report:
    """Return a file of scores; read again only when it has changed."""
    return read_checked(path)


def _count(one: Measurement) -> str:
    size = f" at {one.facts['crop_size']} px" if "crop_size" in one.facts else ""
    return f"{one.facts.get('pictures', '')}{', train' if one.facts.get('split') == 'train' else ''}{size}"


def choices(found: Sequence[Measurement]) -> list[tuple[str, str]]:
    """Return the measurements for a gr.Radio: their directions, and what else tells them apart."""
    names = [one.arrow for one in found]
    # Where a name isn't enough, the file and its pictures are added, then the runs, because labels may differ alone.
    for more in (lambda one: f" · {one.name}: {one.facts.get('dataset', '')} ({_count(one)})",
                 lambda one: f" · {', '.join(one.reports)}"):  # fmt: skip
        names = [name if names.count(name) == 1 else name + more(one) for name, one in zip(names, found, strict=True)]
    return list(zip(names, (one.key for one in found), strict=True))


# --- in words -----------------------------------------------------------------------------------------------


MOST_COMMANDS = 8
"""Runs without scores that get a command at most."""
MOST_PLOTS = 6
"""Plots that are open; the others are folded, because a phone shows one below the other."""
DATA = "DATA"
"""Stands in a command for the data set's folder, where only the reader knows it."""


def nothing(runs: Mapping[str, CheckpointSource], say: words.Speaker, *, own: bool) -> str:
    """Return the HTML for runs without scores: a command for each of the first ones that measures them, to copy.

    Args:
        runs: at least one.
        say: the visitor's language.
        own: whether the visitor owns this computer, whose folders are shown to nobody else.
    """
    commands, unknown = [], []
    for source in itertools.islice(runs.values(), MOST_COMMANDS):
        command = _to_measure(source, say, own)
        if command.endswith(DATA) and (name := _dataset_name(source)):
            unknown.append(say("{run} on {dataset}", run=Path(source.name).name, dataset=name))
        commands.append(to_copy("", command, say))
    said = say.html(
        "No scores have been measured yet. This command measures those of every epoch, with baselines; then press "
        "Refresh.",
        "No scores have been measured yet. Each of these commands measures those of every epoch of a run, with "
        "baselines; then press Refresh.", len(commands),
    )  # fmt: skip
    if any(DATA in each for each in commands):
        said += " " + say.html("Replace {placeholder} with the path of the data set's folder.", placeholder=DATA)
        if unknown:
            said += " " + say.html("Trained on: {names}.", names=", ".join(unknown))
    return f'<p>{said}</p><ul class="to-copy">{"".join(commands)}</ul>'


def _dataset_name(source: CheckpointSource) -> str:
    """Return the name of the data set that a run was trained on, empty if nobody knows."""
    with contextlib.suppress(CheckpointError):
        for info in source.list():
            name = info.config.data.dataset if info.config else ""
            return "" if name == "unknown" else name
    return ""


def unmeasured(name: str, source: CheckpointSource, say: words.Speaker, *, own: bool) -> Message:
    """Return the sentence for a run without scores next to runs that have some."""
    command = _to_measure(source, say, own)
    if command.endswith(DATA):
        return message(
            "the run {run} has no scores yet: measure them with {command}, with the path of the data set's folder in "
            "place of {placeholder}, then press Refresh", run=name, command=command, placeholder=DATA,
        )  # fmt: skip
    return message(
        "the run {run} has no scores yet: measure them with {command}, then press Refresh", run=name, command=command
    )


def newer(name: str, source: CheckpointSource, found: Sequence[Measurement], say: words.Speaker, *, own: bool) -> str:
    """Return the sentence for epochs that came after a run's last measured one; "" if there are none."""
    measured = [row.epoch for one in found for row in one.epochs() if row.run == name]
    try:
        count = sum(info.epoch > max(measured, default=0) for info in source.list())
    except CheckpointError:
        return ""
    if not measured or not count:
        return ""
    return say(
        "{n} epoch of {run} after epoch {epoch} has no scores yet: {command} measures it too; then press Refresh",
        "{n} epochs of {run} after epoch {epoch} have no scores yet: {command} measures them too; then press Refresh",
        count, run=name, epoch=max(measured), command=_to_measure(source, say, own),
    )  # fmt: skip


def elsewhere(names: Sequence[str], one: Measurement, found: Sequence[Measurement]) -> list[Message]:
    """Return sentences for runs that a measurement doesn't have, but others do.

    Args:
        names: the runs.
        one: the measurement.
        found: all.
    """
    size, sizes = one.facts.get("crop_size"), {}
    for other in found:
        same = all(other.facts.get(name) == one.facts.get(name) for name in ("dataset", "split", "pictures"))
        if same and (other.way, other.domains) == (one.way, one.domains):
            sizes.update((run, other.facts["crop_size"]) for run in other.reports if "crop_size" in other.facts)
    by_size = [name for name in names if sizes.get(name, size) != size]
    said = [
        message(
            "{run}: measured at {other} pixels, these at {size}, so their figures don't compare: choose it above, or "
            "measure it again with --size {size}", run=run, other=sizes[run], size=size,
        ) for run in by_size
    ]  # fmt: skip
    if rest := [name for name in names if name not in by_size]:
        said.append(message(
            "{runs}: measured in other directions or on other pictures, so not among {way}: choose those above",
            runs=", ".join(rest), way=one.arrow,
        ))  # fmt: skip
    return said


def _to_measure(source: CheckpointSource, say: words.Speaker, own: bool) -> str:
    """Return the command that measures a run; it ends with DATA where the data set must be named."""
    command = ["python", "-m", "cyclegan", "evaluate", _to_name(source, own), "--epochs", "all"]
    return shlex.join(command if _finds_dataset(source, own, say) else [*command, "--dataset", DATA])


def _to_name(source: CheckpointSource, own: bool) -> str:
    """Return a run as the command line takes it: USER/NAME, or a folder as seen from the app's."""
    if not isinstance(source, LocalSource):
        return source.name
    if not own:
        return f"runs/{source.name}"
    folder, here = source.folder.resolve(), Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def _finds_dataset(source: CheckpointSource, own: bool, say: words.Speaker) -> bool:
    """Return whether `evaluate` finds the data set that a run was trained on by itself.

    A visitor of another's computer has no folders of it.
    """
    try:
        info = next(iter(source.list()), None)
    except CheckpointError:
        return False
    if info is None or info.config is None:
        return False
    name = info.config.data.dataset
    if not own:
        return "/" in name or name.startswith("streets")
    dataset, problem = offered_dataset(source, name, say)
    return bool(dataset) and not problem


def measured_on(one: Measurement, say: words.Speaker) -> str:
    """Return the HTML of what the figures are of."""
    facts, segmenter = one.facts, one.facts.get("segmenter")
    kind = say("training pictures") if facts.get("split") == "train" else say("test pictures")
    rows = [
        (say("Data set"), f"{facts.get('dataset', '–')}, {kind}"),
        (say("Pictures"), say("{n} at {size} pixels, against {references} real ones", n=facts.get("pictures", "–"),
                              size=facts.get("crop_size", "–"), references=facts.get("references", "–"))),
    ]  # fmt: skip
    if isinstance(segmenter, dict):
        network, side, dataset = (segmenter.get(key) for key in ("network", "side", "dataset"))
        rows.append((say("Segmenter"), f"{network}, {side}², {dataset}"))
    # Not the file's own date, which is that of a copy. Files of earlier versions have none.
    if dates := [report.content["measured"] for report in one.reports.values() if "measured" in report.content]:
        rows.append((say("Last measured"), date(max(dates), say)))
    facts_shown = "".join(f"<div><dt>{html.escape(a)}</dt><dd>{html.escape(b)}</dd></div>" for a, b in rows)
    return f"<dl>{facts_shown}</dl>"


def advice(one: Measurement, say: words.Speaker, of_people: Mapping[str, Judgement] = MappingProxyType({})) -> str:
    """Return the HTML of "Which epoch?": a recommendation for each run, with its evidence and what people say of it."""
    parts = []
    for run, report in one.reports.items():
        items = []
        for paragraph in verdicts(report, one.way, of_people.get(run)):
            first, *rest = (html.escape(say.text_of(sentence)) for sentence in paragraph)
            items.append(f"<li>{' '.join([f'<b>{first}</b>', *rest])}</li>")
        if items:
            title = f"<h3>{html.escape(run)}</h3>" if len(one.reports) > 1 else ""
            parts.append(f"{title}<ul>{''.join(items)}</ul>")
    return f"<h2>{say.html('Which epoch?')}</h2>{''.join(parts)}" if parts else ""


# --- the table ----------------------------------------------------------------------------------------------


def table(one: Measurement, chosen: Row | None, say: words.Speaker) -> str:
    """Return the HTML of all rows: baselines and ceilings in the head, which keeps in sight, then the epochs."""
    columns, epochs, several = one.columns(), one.epochs(), len(one.reports) > 1
    marked = {figure.key: one.best(figure, epochs) for figure in columns}
    groups = "".join(
        f'<th scope="colgroup" colspan="{count}" title="{html.escape(say.text_of(SCORES[score]))}">{score}</th>'
        for score in SCORES if (count := sum(figure.score == score for figure in columns))
    )
    heads = "".join(_head(figure, one, say) for figure in columns)
    labels = {"baselines": say.html("baseline"), "ceilings": say.html("ceiling")}
    references = "".join(_row(row, columns, {}, say, several, labels[row.section]) for row in one.references())
    rows = "".join(_row(row, columns, marked, say, several) for row in epochs)
    hint = say.html("Select an epoch to see its pictures, and a heading to sort by it. Small: 95% intervals.")
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{say.html("Scores")}">'
        f'<table class="scores"{_data(chosen)}><thead>'
        f'<tr class="groups"><td></td>{groups}</tr><tr class="heads">'
        f'<th scope="col" aria-sort="none"><button type="button">{say.html("epoch")}</button></th>{heads}</tr>'
        f"{references}</thead><tbody>{rows}</tbody></table></div>"
        f'<p class="hint">{hint}</p>'
        f"{legend(columns, True, say)}"
    )


def _head(figure: ScoreFigure, one: Measurement, say: words.Speaker) -> str:
    label, meaning = html.escape(one.heading(figure, say)), html.escape(say.text_of(figure.meaning))
    arrow = arrow_of(figure, say)
    if figure.better:
        arrow = f"&nbsp;{arrow}"
        meaning += f"; {html.escape(say.text_of(BETTER[figure.better][1]))}"
    return (
        f'<th scope="col" aria-sort="none" data-better="{figure.better or "higher"}" title="{meaning}">'
        f'<button type="button">{label}{arrow}</button></th>'
    )


def _row(
    row: Row, columns: Sequence[ScoreFigure], marked: Mapping[str, float | None], say: words.Speaker, several: bool,
    kind: str = "",
) -> str:  # fmt: skip
    label, mark, cells = html.escape(row.label(say, several)), say.html("best"), []
    for before, figure in zip([None, *columns], columns, strict=False):
        first = ' class="first"' if before is None or before.score != figure.score else ""
        value = row.value(figure)
        if value is None:
            cells.append(f"<td{first}>–</td>")
            continue
        dot = ""
        if row.run and value["value"] == marked.get(figure.key):
            dot = f'<span class="best" title="{mark}" aria-label="{mark}" role="img"></span>'
        ends = ""
        if "low" in value:
            low, high = (rounded(value[end], figure.format) for end in ("low", "high"))
            ends = f"<small>{low} – {high}</small>"
        cells.append(f'<td{first} data-value="{value["value"]}">{dot}{figure.show(value["value"])}{ends}</td>')
    if not row.run:
        return f'<tr class="{row.section}"><th scope="row">{label}<small>{kind}</small></th>{"".join(cells)}</tr>'
    name = f'<th scope="row"><button type="button">{label}</button></th>'
    return f'<tr{_data(row)} data-value="{row.epoch}">{name}{"".join(cells)}</tr>'


def _data(row: Row | None) -> str:
    """Return the attributes that name an epoch for the script."""
    return f' data-run="{html.escape(row.run)}" data-epoch="{html.escape(row.answer)}"' if row else ""


# --- a run and an epoch -------------------------------------------------------------------------------------


def heading(row: Row, tags: Sequence[str], say: words.Speaker) -> str:
    """Return the HTML of a row's name, and its links.

    Args:
        tags: the run's scored epochs.
    """
    title = say.html("Epoch {epoch} of {run}", epoch=row.epoch, run=row.run)
    return f"<h2>{title}</h2><p>{links(row.run, row.answer, tags, say)}</p>"


def links(run: str, tag: str, others: Sequence[str], say: words.Speaker) -> str:
    """Return the HTML of the links to the other pages with an epoch.

    Args:
        others: the run's scored epochs, to compare with; at most five of them are.
    """
    here = f"run={quote(run, safe='')}&epoch={quote(tag, safe='')}"
    compared = [tag, *[other for other in others if other != tag][-5:]]
    entries = ",".join(quote(f"{run}@{each}", safe="") for each in sorted(compared))
    found = [(f"./?{here}", say.html("Translate with this")), (f"checkpoints?{here}", say.html("Checkpoints"))]
    if len(compared) > 1:
        found.append((f"compare?entries={entries}", say.html("Compare with other epochs")))
    return "".join(f'<a href="{html.escape(to)}">{text}</a>' for to, text in found)


def plots(one: Measurement, run: str, tag: str, say: words.Speaker) -> str:
    """Return the HTML of a run's scores over the epochs, with the baselines and ceilings as dashed lines."""
    rows = [row for row in one.epochs() if row.run == run]
    marked = tuple(row.epoch for row in rows if row.answer == tag)
    panels = []
    for figure in one.columns():
        values = [(row.epoch, value) for row in rows if (value := row.value(figure))]
        if len(values) < 2:
            continue
        references = [
            Reference(row.label(say, False), value["value"], figure.show(value["value"]))
            for row in one.references() if (value := row.value(figure))
        ]  # fmt: skip
        points = tuple((epoch, value["value"]) for epoch, value in values)
        bands = tuple((epoch, value["low"], value["high"]) for epoch, value in values if "low" in value)
        panels.append(score_panel(one.title(figure, say), points, bands, references, marked, say))
    if not panels:
        return ""
    title = say.html("Scores of {run} over the epochs", run=run)
    first, more = panels[:MOST_PLOTS], panels[MOST_PLOTS:]
    shown = f'<div class="panels">{"".join(first)}</div>'
    if more:
        summary = say.html("{n} more plot", "{n} more plots", len(more))
        shown += f'<details><summary>{summary}</summary><div class="panels">{"".join(more)}</div></details>'
    return f'<section class="curves"><h2>{title}</h2>{shown}</section>'


def details(row: Row, say: words.Speaker) -> str:
    """Return the HTML of an epoch's figures class by class; "" where none were measured."""
    columns: list[tuple[str, dict[str, str]]] = []
    for score, title in (("segmentation", say("segmenter")), ("labels", say("nearest colour"))):
        for key, label in (("accuracy", say("accuracy")), ("iou", say("IoU"))):
            found = {name: rounded(each[key], ".3f") for name, each in _classes(row, score, key)}
            columns.append((f"{title}: {label}", found))
    for title, some, of in (
        (say("erased"), "erased_in", "pictures_with_it"), (say("invented"), "invented_in", "pictures_without_it"),
    ):  # fmt: skip
        found = {
            name: say("{some} of {n}", some=each[some], n=each[of]) for name, each in _classes(row, "content", some, of)
        }
        columns.append((title, found))
    columns = [column for column in columns if column[1]]
    if not columns:
        return ""
    names = dict.fromkeys(name for _, values in columns for name in values)
    head = "".join(f'<th scope="col">{html.escape(title)}</th>' for title, _ in columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{html.escape(values.get(name, '–'))}</td>" for _, values in columns) + "</tr>"
        for name in names
    )  # fmt: skip
    return (
        f'<details><summary>{say.html("Class by class")}</summary><div class="table"><table><thead><tr><td></td>{head}'
        f"</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def _classes(row: Row, score: str, *keys: str) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yield the classes with their details, without those that lack one: a class that doesn't occur has none."""
    for name, each in row.scores.get(score, {}).get("details", {}).get("classes", {}).items():
        if all(isinstance(each.get(key), (int, float)) for key in keys):
            yield name, each
