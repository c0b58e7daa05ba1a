"""Scores on the checkpoints page: in the epochs' cards, next to their baselines and ceilings, and as their order."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.errors import Message, rounded
from cyclegan.evaluation.figures import Figure
from cyclegan.evaluation.scores.recommend import JUDGES
from cyclegan.evaluation.scores.table import ScoreFigure
from cyclegan.ui import scores, words
from cyclegan.ui.legend import arrow_of


class Column(NamedTuple):
    """A figure of a measurement, with the rows that have it."""

    one: scores.Measurement
    figure: ScoreFigure
    rows: dict[str, scores.Row]
    """Those of epochs, by tag."""
    best: float | None
    """None where no value is the best: see `Measurement.best`."""

    @property
    def key(self) -> str:
        """A name for it in the browser."""
        return f"{self.one.name}/{self.one.way}/{self.figure.key}"

    def value(self, tag: str) -> dict[str, float] | None:
        """Return an epoch's figure; None where it wasn't measured."""
        return self.rows[tag].value(self.figure) if tag in self.rows else None

    def title(self, say: words.Speaker) -> str:
        """Return the figure's name, with its score where two scores have figures of this name."""
        return self.one.title(self.figure, say)


class EpochOrder:
    """The scores of a run's epochs, and the one that puts the epochs in order.

    Args:
        source: the run.
        infos: its epochs, newest first.
        order: the key of a column, from the browser, so it may be anything; "" for the newest first.
    """

    def __init__(self, source: CheckpointSource, infos: Sequence[CheckpointInfo], order: object = "") -> None:
        found, self.problems = scores.collect({source.name: source}) if infos else ([], [])
        weights = {info.tag: info.commit_sha for info in infos}
        columns: dict[str, Column] = {}
        for one in found:
            rows = {
                row.answer: row for row in one.epochs()
                # The Hub has other names for the same weights. Here, an epoch may have been trained again since.
                if row.answer in weights and (source.url or row.scores["commit_sha"] == weights[row.answer])
            }  # fmt: skip
            for figure in one.columns():
                if any(row.value(figure) for row in rows.values()):
                    column = Column(one, figure, rows, one.best(figure, list(rows.values())))
                    columns.setdefault(column.key, column)
        self.columns = list(columns.values())
        self.by = next((column for column in self.columns if column.key == order), None)
        self.infos = list(infos)
        if self.by is not None:
            self.infos.sort(key=self._place)

    problems: list[Message]
    """A sentence for each file of scores that can't be read."""

    def _place(self, info: CheckpointInfo) -> tuple[bool, float]:
        """Return the sort key of an epoch: the best first, the unmeasured last."""
        assert self.by is not None
        value = self.by.value(info.tag)
        if value is None:
            return True, 0.0
        return False, value["value"] if self.by.figure.better == "lower" else -value["value"]

    @property
    def key(self) -> str:
        """The key of the column that orders the epochs; "" for the newest first."""
        return self.by.key if self.by else ""

    def choices(self, say: words.Speaker) -> list[tuple[str, str]]:
        """Return the orders for a gr.Dropdown."""
        several = len({column.one.name for column in self.columns}) > 1
        return [(say("newest first"), "")] + [
            (f"{column.title(say)}, {column.one.arrow}" + (f" · {column.one.name}" if several else ""), column.key)
            for column in self.columns
        ]

    def shown(self) -> list[Column]:
        """Return the columns in the cards: the figures that recommend an epoch, and the one that orders them."""
        judges = [column for column in self.columns if column.figure.key in JUDGES]
        return [column for column in self.columns if column in judges or column is self.by] or self.columns[:1]

    def figures(self) -> list[Figure]:
        """Return the figures in the cards."""
        return list(dict.fromkeys(column.figure for column in self.shown()))

    def groups(self, info: CheckpointInfo, ways: Sequence[str], say: words.Speaker) -> list[tuple[str, list[str]]]:
        """Return the HTML of a title and of rows for each file of scores that has the epoch.

        Args:
            info: the epoch.
            ways: the directions, a cell each.
            say: the visitor's language.
        """
        found = []
        for name in dict.fromkeys(column.one.name for column in self.shown()):
            here = [column for column in self.shown() if column.one.name == name]
            rows = [self._row(figure, [self._column(here, figure, way) for way in ways], info, say)
                    for figure in dict.fromkeys(column.figure for column in here)]  # fmt: skip
            found.append((html.escape(_title(here, name, say)), [row for row in rows if row]))
        return found

    def _column(self, columns: Sequence[Column], figure: ScoreFigure, way: str) -> Column | None:
        return next((column for column in columns if column.figure == figure and column.one.way == way), None)

    def _row(
        self, figure: ScoreFigure, columns: Sequence[Column | None], info: CheckpointInfo, say: words.Speaker
    ) -> str:
        mark, cells = say.html("best of this run"), []
        values = [column.value(info.tag) if column else None for column in columns]
        for column, value in zip(columns, values, strict=True):
            if column is None or value is None:
                cells.append("<td>–</td>")
                continue
            is_best = value["value"] == column.best
            dot = f'<span class="best" title="{mark}" aria-label="{mark}" role="img"></span>' if is_best else ""
            cells.append(f"<td>{dot}{figure.show(value['value'])}{_interval(figure, value)}</td>")
        if not any(values):
            return ""
        column = next(filter(None, columns))
        meaning = html.escape(say.text_of(figure.meaning))
        head = f"{html.escape(column.title(say))}{arrow_of(figure, say, 'way')}"
        return f'<tr><th scope="row" title="{meaning}">{head}</th>{"".join(cells)}</tr>'

    def references(self, run: str, say: words.Speaker) -> str:
        """Return the HTML of the baselines and ceilings of the shown columns; "" without scores.

        Args:
            run: the run's name in addresses.
            say: the visitor's language.
        """
        columns = self.shown()
        if not columns:
            return ""
        several = len({column.one.name for column in columns}) > 1
        lines = {(row.section, row.answer): row for column in columns for row in column.one.references()}
        kinds = {"baselines": say.html("baseline"), "ceilings": say.html("ceiling")}
        heads = "".join(
            f'<th scope="col">{html.escape(column.title(say))}{arrow_of(column.figure, say, "way")}'
            f"<small>{html.escape(column.one.arrow)}{f' · {html.escape(column.one.name)}' if several else ''}</small>"
            "</th>"
            for column in columns
        )
        rows = ""
        for section, answer in sorted(lines, key=lambda line: line[0]):
            cells = []
            for column in columns:
                found = (row.value(column.figure) for row in column.one.references()
                         if (row.section, row.answer) == (section, answer))  # fmt: skip
                value = next(found, None)
                shown = "–" if value is None else column.figure.show(value["value"])
                cells.append(f"<td>{shown}{'' if value is None else _interval(column.figure, value)}</td>")
            label = html.escape(lines[section, answer].label(say, False))
            rows += f'<tr><th scope="row">{label}<small>{kinds[section]}</small></th>{"".join(cells)}</tr>'
        title = say.html("To compare the epochs' scores with: answers that need no training, and real pictures")
        there = f'<a href="scores?run={html.escape(quote(run, safe=""))}">{say.html("All scores")}</a>'
        return (
            f'<div class="references"><p>{title} · {there}</p>'
            f'<div class="table" tabindex="0" role="region" aria-label="{title}"><table><thead><tr><td></td>'
            f"{heads}</tr></thead><tbody>{rows}</tbody></table></div></div>"
        )


def _interval(figure: ScoreFigure, value: dict[str, float]) -> str:
    if "low" not in value:
        return ""
    return f"<small>{rounded(value['low'], figure.format)} – {rounded(value['high'], figure.format)}</small>"


def _title(columns: Sequence[Column], name: str, say: words.Speaker) -> str:
    """Return what a file of scores was measured on, with what the run has seen of it."""
    ones = {column.one.way: column.one for column in columns}
    counts = dict.fromkeys(one.facts["pictures"] for _, one in sorted(ones.items()))  # Directions may have others.
    count = ", ".join(map(str, counts))
    if next(iter(ones.values())).facts["split"] == "train":
        return say("Scores on training pictures: {count} ({name})", count=count, name=name)
    title = say("Scores on test pictures: {count} ({name})", count=count, name=name)
    known = [report.content[way]["trained_on"] for way, one in ones.items() for report in one.reports.values()
             if "trained_on" in report.content[way]]  # fmt: skip
    if not known:
        return title
    return say("{title}; trained on: {known} of {of}", title=title, known=known[0]["count"], of=known[0]["of"])
