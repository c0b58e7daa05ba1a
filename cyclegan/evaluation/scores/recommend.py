"""Which epoch: a recommendation in words, each sentence with the figures that it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from cyclegan.config import Direction
from cyclegan.errors import Message, message
from cyclegan.evaluation.scores.people import Judgement
from cyclegan.evaluation.scores.report import Report
from cyclegan.evaluation.scores.table import BY_KEY, LABELS, ScoreFigure, cell

JUDGES = ("kid", "pairs_l1", "seg_iou", "labels_iou")
"""The figures that recommend an epoch, one for each score that compares with real or true pictures."""
CEILINGS = ("real", "truth")
FEWEST = 8
"""With fewer test pictures, no epoch is recommended."""


@dataclass(frozen=True)
class Advice:
    """The epoch that a figure recommends.

    Args:
        figure: what it goes by.
        epoch: the best.
        value: its value with its interval.
        near: other epochs that the figure can't tell from it, in order.
        measured: the number of epochs that have the figure.
        pictures: the test pictures that it was measured on.
        unbeaten: baselines that are as good as the best epoch, or better, or can't be told from it, by name, with their
            values.
        problem: why nothing is recommended, although there are enough pictures: the segmenter can't judge.
    """

    figure: ScoreFigure
    epoch: int
    value: dict[str, float]
    near: tuple[int, ...]
    measured: int
    pictures: int
    unbeaten: dict[str, dict[str, float]]
    problem: Message | None = None

    @property
    def recommends(self) -> bool:
        """True if it says which epoch: there are enough pictures, and the segmenter can judge."""
        return self.problem is None and self.pictures >= FEWEST

    def sentences(self) -> Iterator[Message]:
        """Yield the recommendation, its evidence, and a warning about baselines that no epoch clearly beats."""
        figure, value = self.figure.label, cell(self.figure, self.value)
        if self.figure.shares_its_label:
            figure = message("{figure} ({score})", figure=figure, score=self.figure.score)
        if self.problem:
            yield message("{figure}: {problem}.", figure=figure, problem=self.problem)
            return
        if self.pictures < FEWEST:
            yield message(
                "{figure}: {n} test picture is too few to tell epochs apart. Measure on 50 or more.",
                "{figure}: {n} pictures are too few to tell epochs apart. Measure on 50 or more.",
                self.pictures, figure=figure,
            )  # fmt: skip
            return
        if self.measured == 1:
            yield message(
                "{figure}: only epoch {epoch} has been measured ({value}).", figure=figure, epoch=self.epoch,
                value=value,
            )  # fmt: skip
        else:
            yield message("{figure} is best at epoch {epoch} ({value}).", figure=figure, epoch=self.epoch, value=value)
        if self.near:
            yield message(
                "Epoch {epochs} is within its interval: these pictures can't tell them apart.",
                "Epochs {epochs} are within its interval: these pictures can't tell them apart.",
                len(self.near), epochs=spans(self.near, [self.epoch]),
            )  # fmt: skip
        elif self.measured > 1 and "low" in self.value:
            yield message("No other epoch is within its interval.")
        if self.unbeaten:
            each = [
                message("{answer} ({value})", answer=LABELS.get(name, name), value=cell(self.figure, baseline))
                for name, baseline in self.unbeaten.items()
            ]
            yield message(
                "But no epoch clearly beats this answer, which needs no training: {answers}. Don't choose by this "
                "score alone.",
                "But no epoch clearly beats these answers, which need no training: {answers}. Don't choose by this "
                "score alone.",
                len(each), answers=reduce(lambda some, more: message("{some}; {more}", some=some, more=more), each),
            )  # fmt: skip


def recommend(report: Report, way: Direction) -> list[Advice]:
    """Return the epoch that each of `JUDGES` recommends in a direction; none for a figure that no epoch has."""
    found = []
    for figure in map(BY_KEY.__getitem__, JUDGES):
        values = {
            answer["epoch"]: value for name, answer in report.section(way, "scores").items()
            if (value := report.value(way, "scores", name, figure.score, figure.key)) is not None
        }  # fmt: skip
        if not values:
            continue
        best = min(values, key=lambda epoch: (_loss(figure, values[epoch]), epoch))
        near = sorted(epoch for epoch in values if epoch != best and overlap(values[epoch], values[best]))
        baselines = {
            name: value for name in report.section(way, "baselines")
            if (value := report.value(way, "baselines", name, figure.score, figure.key)) is not None
        }  # fmt: skip
        unbeaten = {
            name: value for name, value in baselines.items()
            if _loss(figure, value) <= _loss(figure, values[best]) or overlap(value, values[best])
        }
        pictures = fewest_pictures(report.content[way]["measured_on"])
        problem = None
        if figure.score == "segmentation":
            ceilings = {name: report.value(way, "ceilings", name, figure.score, figure.key) for name in CEILINGS}
            problem = weak_judge(ceilings, baselines.get("blind"), clear=pictures >= FEWEST)
        found.append(Advice(figure, best, values[best], tuple(near), len(values), pictures, unbeaten, problem))
    return found


def fewest_pictures(facts: Mapping[str, Any]) -> int:
    """Return the number of test pictures that figures rest on, of inputs or of real ones: at least `FEWEST` to choose.

    Args:
        facts: `measured_on` of a direction.
    """
    return min(facts.get(name, FEWEST) for name in ("pictures", "references"))


def weak_judge(
    ceilings: Mapping[str, Mapping[str, float] | None], blind: Mapping[str, float] | None, *, clear: bool = True
) -> Message | None:
    """Return the sentence about a segmenter that reads real pictures no better than an answer without looking.

    Args:
        ceilings: class IoU of `CEILINGS` by name.
        blind: that of the blind answer.
        clear: whether the better ceiling must be above the blind answer by the intervals, not only by the values; those
            of a few pictures are too wide for it.

    Returns:
        None where it can judge, or where one of the two isn't known.
    """
    known = {name: value for name, value in ceilings.items() if value}
    if not known or blind is None:
        return None
    name = max(known, key=lambda each: known[each]["value"])
    best = known[name]
    if best["value"] > blind["value"] and not (clear and overlap(best, blind)):
        return None
    figure = BY_KEY["seg_iou"]
    return message(
        "this segmenter can't judge: {answer} get {value}, the blind answer {blind}. Don't go by segmentation and "
        "content; choose another --segmenter, or train one on more pictures, for longer",
        answer=LABELS[name], value=cell(figure, best), blind=cell(figure, blind),
    )  # fmt: skip


def verdicts(report: Report, way: Direction, people: Judgement | None = None) -> list[list[Message]]:
    """Return what a direction's figures say about its epochs: sentences by paragraph.

    Args:
        people: what people say about the same epochs.

    Returns:
        One paragraph if the run was trained on some of the pictures, one for each `Advice`, one if they disagree, and
        one of people.
    """
    found, known = recommend(report, way), report.known(way)
    paragraphs = [[known]] if known else []
    for each in found:
        agreement = people.agreements.get(each.figure.key) if people else None
        paragraphs.append([*each.sentences(), *filter(None, [agreement and agreement.sentence()])])
    if dissent := disagreement(found):
        paragraphs.append([dissent])
    return [*paragraphs, [*people.sentences()]] if people else paragraphs


def disagreement(advice: Sequence[Advice]) -> Message | None:
    """Return a sentence if the figures recommend epochs that they can tell apart, else None."""
    advice = [one for one in advice if one.problem is None]
    epochs = sorted({one.epoch for one in advice})
    choices = [{one.epoch, *one.near} for one in advice]
    if len(epochs) < 2 or set.intersection(*choices):
        return None
    return message(
        "These scores disagree: look at the pictures of epochs {epochs}.", epochs=", ".join(map(str, epochs))
    )


def spans(epochs: Sequence[int], between: Sequence[int] = ()) -> str:
    """Return "8, 110–140" for 8, 110, 120, 130 and 140: epochs at equal steps as a range, if there are three and more.

    Args:
        epochs: in order.
        between: epochs that interrupt no range, although they aren't in it.
    """
    every, parts = sorted({*epochs, *between}), []
    while every:
        count = min(2, len(every))
        while count >= 2 and count < len(every) and every[count] - every[count - 1] == every[1] - every[0]:
            count += 1
        if count >= 3:
            run, every = every[:count], every[count:]
        else:
            run, every = every[:1], every[1:]
        shown = [epoch for epoch in run if epoch in epochs]
        parts += [f"{shown[0]}–{shown[-1]}"] if len(shown) > 2 else map(str, shown)
    return ", ".join(parts)


def _loss(figure: ScoreFigure, value: dict[str, float]) -> float:
    return -value["value"] if figure.better == "higher" else value["value"]


def overlap(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Return whether one of two values is within the other's interval."""
    return any(a.get("low", a["value"]) <= b["value"] <= a.get("high", a["value"])
               for a, b in ((one, other), (other, one)))  # fmt: skip
