"""A file of scores as tables: for the terminal, Markdown and CSV. Baselines and ceilings are rows of every table."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cyclegan.config import Direction
from cyclegan.errors import Message, message, number_of, rounded
from cyclegan.evaluation.scores.people import LEAST, Judgement, People, judgement, percent
from cyclegan.evaluation.scores.recommend import verdicts
from cyclegan.evaluation.scores.report import Report
from cyclegan.evaluation.scores.table import BY_KEY, LABELS, SCORES, ScoreFigure, cell

KINDS = {"baselines": "baseline", "scores": "epoch", "ceilings": "ceiling"}
"""The kind of a row by its section."""
ARROWS = {"lower": "\u00a0↓", "higher": "\u00a0↑", None: ""}


def row_label(answer: str, content: dict[str, Any]) -> Message:
    """Return the label of a row: a baseline's or ceiling's, or "epoch 12"."""
    return LABELS.get(answer) or message("epoch {epoch}", epoch=content.get("epoch", answer))


def rows_of(report: Report, way: Direction) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (section, answer, its scores): baselines, epochs from the first on, ceilings."""
    epochs = report.section(way, "scores")
    for answer in report.section(way, "baselines"):
        yield "baselines", answer, report.section(way, "baselines")[answer]
    for answer in sorted(epochs, key=lambda tag: epochs[tag]["epoch"]):
        yield "scores", answer, epochs[answer]
    for answer in report.section(way, "ceilings"):
        yield "ceilings", answer, report.section(way, "ceilings")[answer]


def columns_of(report: Report, way: Direction, score: str) -> list[ScoreFigure]:
    """Return the figures of a score that some row has, in the table's order."""
    had = {key for _, _, scores in rows_of(report, way) for key in scores.get(score, {})}
    return [figure for figure in BY_KEY.values() if figure.score == score and figure.key in had]


def measured_scores(report: Report, way: Direction) -> list[str]:
    """Return the scores that some row has, in the table's order."""
    had = {score for _, _, scores in rows_of(report, way) for score in scores}
    return [score for score in SCORES if score in had]


def heading(figure: ScoreFigure, report: Report, way: Direction) -> str:
    """Return a column's heading: label, network of features, and an arrow for the better way."""
    network = report.content[way]["measured_on"].get("features") if figure.by_features else None
    return f"{figure.label}{f' ({network})' if network else ''}{ARROWS[figure.better]}"


def short_cell(figure: ScoreFigure, value: dict[str, float] | None) -> str:
    """Return "41.2 ±5.2", with half of the interval; "–" where nothing was measured."""
    if value is None or "low" not in value:
        return cell(figure, value)
    return f"{figure.show(value['value'])} ±{rounded((value['high'] - value['low']) / 2, figure.format)}"


def judgement_of(report: Report, way: Direction, studies: Iterable[People]) -> Judgement | None:
    """Return what people say about a run's scored epochs, None where no study asked them."""
    return judgement(studies, way, list(report.section(way, "scores").values()))


def sentences(report: Report, way: Direction, studies: Iterable[People] = ()) -> list[str]:
    """Return what the tables of a direction say in words, a paragraph each; see `recommend.verdicts`."""
    return [" ".join(map(str, each)) for each in verdicts(report, way, judgement_of(report, way, studies))]


def markdown(report: Report, studies: Sequence[People] = ()) -> str:
    """Return a table of each direction and score as Markdown, with what they and people say, and what figures mean."""
    shown: dict[str, ScoreFigure] = {}
    parts = [f"# Scores of {report.content['run']}: {report.name}"]
    for way in report.directions:
        parts += ["## " + direction_line(report, way), measured_line(report, way)]
        for score in measured_scores(report, way):
            columns = columns_of(report, way, score)
            shown |= {figure.key: figure for figure in columns}
            lines = ["| | " + " | ".join(heading(figure, report, way) for figure in columns) + " |",
                     "|---|" + "--:|" * len(columns)]  # fmt: skip
            for section, label, cells in _lines(report, way, score, columns):
                lines.append(f"| {f'**{label}**' if section == 'scores' else f'*{label}*'} | {' | '.join(cells)} |")
            parts += [f"### {score}: {SCORES[score]}", "\n".join(lines)]
        if found := judgement_of(report, way, studies):
            for title, head, rows in _of_people(report, way, found):
                lines = [f"| | {head} |", "|---|--:|", *(f"| **{label}** | {value} |" for label, value in rows)]
                parts += [f"### {title}", "\n".join(lines)]
        if said := sentences(report, way, studies):
            parts += ["### In words", "\n".join(f"- {each}" for each in said)]
    if shown:
        parts += ["## Figures", "\n".join(map(explained, shown.values()))]
    return "\n\n".join(parts) + "\n"


def explained(figure: ScoreFigure) -> str:
    """Return the meaning of a figure as an item of a list."""
    name = f"{figure.label} ({figure.score})" if figure.shares_its_label else str(figure.label)
    unit = f" ({figure.unit})" if figure.unit else ""
    return f"- **{name}**{ARROWS[figure.better]}: {figure.meaning}{unit}."


def text(report: Report, studies: Sequence[People] = ()) -> str:
    """Return a table of each direction and score for the terminal, with ± half of the 95% intervals; and of people."""
    parts = []
    for way in report.directions:
        parts.append(f"{direction_line(report, way)}\n{measured_line(report, way)}")
        for score in measured_scores(report, way):
            columns = columns_of(report, way, score)
            heads = [heading(figure, report, way) for figure in columns]
            lines = list(_lines(report, way, score, columns, cell=short_cell))
            parts.append(f"{score}: {SCORES[score]}\n{_aligned(heads, lines)}")
        if found := judgement_of(report, way, studies):
            for title, head, rows in _of_people(report, way, found):
                parts.append(f"{title}\n{_aligned([head], [('scores', label, [value]) for label, value in rows])}")
    return "\n\n".join(parts) + "\n"


def json_content(report: Report, studies: Sequence[People] = ()) -> dict[str, Any]:
    """Return the file's content, with `sentences` of a direction, and what people say as its `people`."""
    found = {way: judgement_of(report, way, studies) for way in report.directions}
    return report.content | {
        way: {**report.content[way], "sentences": sentences(report, way, studies),
              **({"people": each.to_json()} if each else {})}
        for way, each in found.items()
    }  # fmt: skip


def csv_text(report: Report, studies: Sequence[People] = ()) -> str:
    """Return one line per figure: direction, section, answer, epoch, score, figure, value, low, high, kind.

    The kind is baseline, epoch or ceiling; "" for a correlation.
    Rates of a study are in the section people, correlations of figures with them in the section agreement; both have
    the study as their answer.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["direction", "section", "answer", "epoch", "score", "figure", "value", "low", "high", "kind"])
    for way in report.directions:
        for section, answer, scores in rows_of(report, way):
            for score in measured_scores(report, way):
                for figure in columns_of(report, way, score):
                    if value := scores.get(score, {}).get(figure.key):
                        ends = [value.get("low", ""), value.get("high", "")]
                        writer.writerow([way, section, answer, scores.get("epoch", ""), score, figure.key,
                                         value["value"], *ends, KINDS[section]])  # fmt: skip
        if found := judgement_of(report, way, studies):
            study = found.people.study
            for number, answer in found.answers.items():
                writer.writerow([way, "people", study, answer["epoch"], "people", "taken_for_real",
                                 *found.people.rates[number].values(), "epoch"])  # fmt: skip
            for key, each in found.agreements.items():
                ends = each.interval or ("", "")
                writer.writerow([way, "agreement", study, "", each.figure.score, key,
                                 "" if each.tau is None else each.tau, *ends, ""])  # fmt: skip
    return stream.getvalue()


def direction_line(report: Report, way: Direction) -> str:
    """Return "day → night"."""
    names = report.content["names"]
    return f"{names[way[0]]} → {names[way[1]]}"


def measured_line(report: Report, way: Direction) -> str:
    """Return what a direction was measured on."""
    facts = report.content[way]["measured_on"]
    kind = "training picture" if facts["split"] == "train" else "test picture"
    said = f"{number_of(facts['pictures'], kind)} of {facts['dataset']} at "
    said += f"{facts['crop_size']} px, against {number_of(facts['references'], 'real one')}"
    segmenter = facts.get("segmenter")
    if segmenter:
        said += f"; segmenter: {segmenter['network']} at {segmenter['side']}², trained on {segmenter['dataset']}"
    return said + "; with 95% intervals over pictures"


def _of_people(
    report: Report, way: Direction, found: Judgement
) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Yield the tables of a study as title, heading and rows: rates by epoch, and correlations by figure."""
    people = found.people
    who = number_of(people.count, "simulated participant" if people.simulated else "participant")
    rates = [(str(row_label("", answer)), percent(people.rates[n])) for n, answer in found.answers.items()]
    yield f"people: how often a translation is taken for real (study {people.study}, {who})", "taken for real ↑", rates
    if len(found.answers) >= LEAST:
        taus = [(heading(each.figure, report, way), each.shown) for each in found.agreements.values()]
        yield (
            f"agreement: whether scores and people put {number_of(len(found.answers), 'epoch')} in the same order (1: "
            "the same, −1: the other way round)"
        ), "Kendall's τ", taus


def _lines(
    report: Report, way: Direction, score: str, columns: Sequence[ScoreFigure],
    cell: Callable[[ScoreFigure, dict[str, float] | None], str] = cell,
) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the rows that have a score: section, label, with its kind before a baseline's or ceiling's, and cells."""
    for section, answer, scores in rows_of(report, way):
        if score in scores:
            kind = "" if section == "scores" else f"{KINDS[section]}: "
            yield section, f"{kind}{row_label(answer, scores)}", [cell(f, scores[score].get(f.key)) for f in columns]


def _aligned(heads: Sequence[str], lines: Sequence[tuple[str, str, list[str]]]) -> str:
    """Return lines with aligned columns; headings take as many lines as they need. Epochs stand out."""
    labels = [label if section == "scores" else f"  {label}" for section, label, _ in lines]
    left = max(map(len, labels), default=0)
    columns = list(zip(*(cells for _, _, cells in lines), strict=True))
    widths = [max(10, *map(len, column)) for column in columns]
    wrapped = [textwrap.wrap(head, width) for head, width in zip(heads, widths, strict=True)]
    height = max(map(len, wrapped), default=0)
    rows = list(zip(*([""] * (height - len(head)) + head for head in wrapped), strict=True))
    rows += [cells for _, _, cells in lines]
    shown = (
        f"{label:<{left}}" + "".join(f"  {text:>{width}}" for text, width in zip(cells, widths, strict=True))
        for label, cells in zip([""] * height + labels, rows, strict=True)
    )
    return "\n".join(line.rstrip() for line in shown)
