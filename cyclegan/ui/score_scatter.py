"""Scores against people: fooling rates of a study next to the figures of the same epochs, as plots and in words."""

from __future__ import annotations

import functools
import html
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cyclegan.errors import Message, StudyError, message, rounded
from cyclegan.evaluation.scores.people import LEAST, Agreement, Judgement, People, judgement, percent
from cyclegan.evaluation.scores.recommend import JUDGES
from cyclegan.ui import words
from cyclegan.ui.curves import COLOURS, INK, drawing, svg_of
from cyclegan.ui.scores import Measurement

if TYPE_CHECKING:
    from cyclegan.study.shelf import Studies

Point = tuple[str, tuple[float, float, float], tuple[float, float, float]]
"""Its mark; score and fooling rate in percent, each with its interval: (low, value, high)."""


@dataclass(frozen=True)
class Said:
    """People's answers about a measurement.

    Args:
        studies: those about its epochs.
        problems: sentences about those that can't be read.
    """

    studies: Sequence[People] = ()
    problems: Sequence[Message] = ()

    def of(self, one: Measurement, run: str | None = None) -> Judgement | None:
        """Return what the study says that judged most epochs of a run, or of all runs; None without one."""
        rows = [row for row in one.epochs() if run in (None, row.run)]
        return judgement(self.studies, one.way, [{**row.scores, "row": row} for row in rows])

    def by_run(self, one: Measurement) -> dict[str, Judgement]:
        """Return the same for each run that people judged."""
        return {run: found for run in one.reports if (found := self.of(one, run))}


def said_about(one: Measurement, shelf: Studies | None, key: str | None) -> Said:
    """Return what people say in the studies of a shelf, nothing to a visitor who may not see results."""
    if shelf is None or not shelf.may_see(key):
        return Said()
    commits = {row.scores.get("commit_sha") for row in one.epochs()}
    found, problems = [], []
    for name in shelf.names():
        study = shelf.by_name[name]
        if study.direction != one.way or not any(c.commit_sha in commits for c in study.checkpoints):
            continue
        try:
            if people := shelf.people(study):
                found.append(people)
        except StudyError as error:
            problems.append(message("the answers of {study} can't be shown: {problem}", study=name, problem=error))
    return Said(found, problems)


def scatter(one: Measurement, said: Said, say: words.Speaker) -> str:
    """Return the HTML of scores against fooling rates, a panel for each main score, and a table of all correlations.

    "" where no study judged these epochs. Too few of them give a sentence.
    """
    found = said.of(one)
    if found is None:
        return ""
    several = len(one.reports) > 1
    rows = {number: answer["row"] for number, answer in found.answers.items()}
    marks = {number: str(row.epoch) for number, row in rows.items()}
    if several:
        marks = dict(zip(rows, string.ascii_letters, strict=False))
    simulated = [say("These votes are simulated: nobody has judged the pictures.")] if found.people.simulated else []
    if len(rows) < LEAST:
        shown = "".join(f"<p>{html.escape(each)}</p>" for each in [*simulated, say.text_of(found.too_few)])
        return f'<section class="curves"><h2>{say.html("Scores and people")}</h2>{shown}</section>'
    about = say(
        "Study {study}, n = {n}. Across: the score; upwards: how often a translation was taken for real, in "
        "percent. Lines: 95% intervals. Kendall's τ is 1 where the score and people put the epochs in the same order, "
        "and −1 where they put them the other way round.",
        study=found.people.study, n=found.people.count,
    )  # fmt: skip
    keys = [key for key in found.agreements if key in JUDGES] or list(found.agreements)[: len(JUDGES)]
    panels = "".join(_panel(found.agreements[key], one, found, marks, say) for key in keys)
    names = [f"<span>{mark}: {html.escape(rows[number].label(say, True))}</span>" for number, mark in marks.items()]
    return (
        f'<section class="curves"><h2>{say.html("Scores and people")}</h2>'
        + "".join(f"<p>{html.escape(each)}</p>" for each in [*simulated, about])
        + (f"<p>{', '.join(names)}</p>" if several else "")
        + f'<div class="panels">{panels}</div>{_table(found, one, say)}</section>'
    )


def _panel(
    agreement: Agreement, one: Measurement, found: Judgement, marks: dict[int, str], say: words.Speaker
) -> str:
    figure, points, in_words = agreement.figure, [], []
    for number, answer in found.answers.items():
        value, rate = answer["row"].value(figure), found.people.rates[number]
        if value is None or number not in marks:
            continue
        score = (value.get("low", value["value"]), value["value"], value.get("high", value["value"]))
        points.append((marks[number], score, (100 * rate["low"], 100 * rate["value"], 100 * rate["high"])))
        name = answer["row"].label(say, len(one.reports) > 1)
        in_words.append(f"{name}: {figure.show(value['value'])}, {percent(rate)}")
    title = one.title(figure, say)
    label = html.escape(f"{title}. {'; '.join(in_words)}.")
    svg = _svg(tuple(points)).replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    tau = html.escape(f"τ {agreement.shown}")
    return f"<figure><figcaption><b>{html.escape(title)}</b><span>{tau}</span></figcaption>{svg}</figure>"


def _table(found: Judgement, one: Measurement, say: words.Speaker) -> str:
    rows = "".join(
        f'<tr><th scope="row">{html.escape(one.title(each.figure, say))}</th>'
        f"<td>{'–' if each.tau is None else rounded(each.tau, '.2f')}</td>"
        f"<td>{' – '.join(rounded(end, '.2f') for end in each.interval) if each.interval else '–'}</td></tr>"
        for each in found.agreements.values()
    )
    heads = "".join(f'<th scope="col">{text}</th>' for text in (say.html("Kendall's τ"), say.html("95% interval")))
    return (
        f'<details><summary>{say.html("All scores against people")}</summary><div class="table"><table><thead><tr>'
        f"<td></td>{heads}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


@functools.lru_cache(64)
def _svg(points: tuple[Point, ...]) -> str:
    """Return a scatter plot without words."""
    with drawing:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(2.8, 1.9), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        for mark, (left, x, right), (low, y, high) in points:
            axes.plot([left, right], [y, y], color=COLOURS[0], alpha=0.35, linewidth=1)
            axes.plot([x, x], [low, high], color=COLOURS[0], alpha=0.35, linewidth=1)
            axes.plot([x], [y], color=COLOURS[0], marker="o", markersize=4)
            axes.annotate(mark, (x, y), (4, 3), textcoords="offset points", color=INK, fontsize=8)
        axes.margins(0.08)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        return svg_of(axes)
