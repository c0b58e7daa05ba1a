"""Scores on a card: of the newest epoch and of the best, never without their baselines and ceilings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index

from cyclegan.checkpoints.format import epoch_name
from cyclegan.config import DIRECTIONS, Direction
from cyclegan.evaluation.scores.recommend import JUDGES, Advice, recommend
from cyclegan.evaluation.scores.report import SECTIONS, Report
from cyclegan.evaluation.scores.table import LABELS, ScoreFigure
from cyclegan.evaluation.scores.tables import (
    columns_of,
    direction_line,
    heading,
    measured_line,
    measured_scores,
    short_cell,
)
from hub.card.names import hub_dataset, model_name
from hub.readme import escaped, one_line

INDEXED = ("fid", *JUDGES)
"""The figures in the model-index; the table has all."""


class Scored(NamedTuple):
    """A file's scores in one direction."""

    report: Report
    """With the published epochs alone, and with names of one line."""
    way: Direction
    newest: int
    advice: list[Advice]

    @property
    def epochs(self) -> list[int]:
        """The newest epoch, and the best by the first figure that recommends one."""
        return list(dict.fromkeys([self.newest, *(one.epoch for one in self.advice[:1])]))

    def value(self, section: str, answer: str, figure: ScoreFigure) -> dict[str, float] | None:
        """Return an answer's figure; None where it wasn't measured."""
        return self.report.value(self.way, section, answer, figure.score, figure.key)

    def references(self) -> Iterator[tuple[str, str]]:
        """Yield section and name of the baselines and ceilings."""
        return ((section, name) for section in SECTIONS[1:] for name in LABELS
                if name in self.report.section(self.way, section))  # fmt: skip

    def figures(self) -> list[ScoreFigure]:
        """Return the figures of the epochs that some baseline or ceiling has, too."""
        return [
            figure for score in measured_scores(self.report, self.way)
            for figure in columns_of(self.report, self.way, score)
            if any(self.value("scores", epoch_name(epoch), figure) for epoch in self.epochs)
            and any(self.value(*reference, figure) for reference in self.references())
        ]  # fmt: skip

    def where(self, repo_id: str) -> str:
        """Return the file's address."""
        return f"https://huggingface.co/{repo_id}/blob/main/scores/{self.report.path.name}"


def scored_ways(reports: Sequence[Report], epochs: Collection[int]) -> list[Scored]:
    """Return the directions of files of scores that have figures of these epochs."""
    found = []
    for report in reports:
        shown = Report(report.path, _shown(report.content, epochs))
        for way in shown.directions:
            measured = [answer["epoch"] for answer in shown.section(way, "scores").values()]
            if measured:
                advice = sorted(recommend(shown, way), key=lambda one: one.problem is not None)
                found.append(Scored(shown, way, max(measured), advice))
    return found


def _shown(content: dict[str, Any], epochs: Collection[int]) -> dict[str, Any]:
    """Return a file's content with names of one line, and these epochs alone."""
    found = {**content, "names": {end: one_line(name, end.upper()) for end, name in content["names"].items()}}
    for way in DIRECTIONS:
        if way in content:
            facts = dict(content[way]["measured_on"])
            facts = {name: one_line(v, "unknown") if isinstance(v, str) else v for name, v in facts.items()}
            if facts.get("segmenter"):
                about = {name: facts["segmenter"].get(name) for name in ("network", "side", "dataset")}
                facts["segmenter"] = {name: one_line(str(value), "unknown") for name, value in about.items()}
            scores = {name: one for name, one in content[way]["scores"].items() if one["epoch"] in epochs}
            found[way] = {**content[way], "measured_on": facts, "scores": scores}
    return found


def score_results(repo_id: str, scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Return the results for the model-index, one for each file and direction.

    Each by a call of its own, because the Hub's library keeps one source for all figures of a data set.
    """
    results = []
    for one in scored:
        if metrics := [_result(repo_id, one, epoch, figure) for epoch in one.epochs for figure in one.figures()
                       if figure.key in INDEXED and one.value("scores", epoch_name(epoch), figure)]:  # fmt: skip
            results += eval_results_to_model_index(model_name(repo_id), metrics)[0]["results"]
    return results


def _result(repo_id: str, one: Scored, epoch: int, figure: ScoreFigure) -> EvalResult:
    facts, tag = one.report.content[one.way]["measured_on"], epoch_name(epoch)
    value = one.value("scores", tag, figure)
    assert value is not None
    network = f" ({facts['features']})" if figure.by_features and facts.get("features") else ""
    score = f" ({figure.score})" if figure.shares_its_label else ""
    dataset, dataset_config = hub_dataset(facts["dataset"])
    references = {
        section: {name: round(found["value"], 4) for group, name in one.references()
                  if group == section and (found := one.value(group, name, figure))}
        for section in SECTIONS[1:]
    }  # fmt: skip
    interval = {"interval_95": [round(value[end], 4) for end in ("low", "high")]} if "low" in value else {}
    return EvalResult(
        task_type="image-to-image",
        task_name="Image-to-Image",
        dataset_type=dataset or "pictures",
        dataset_name=facts["dataset"],
        dataset_config=dataset_config,
        dataset_split=facts["split"],
        dataset_args={"pictures": facts["pictures"], "references": facts["references"], "size": facts["crop_size"]},
        metric_type=figure.name(one.way),
        metric_name=f"{figure.label}{network}{score}, {direction_line(one.report, one.way)}, epoch {epoch}",
        metric_value=round(value["value"], 4),
        metric_args={"scores": one.report.path.stem, "epoch": epoch, "revision": tag, **interval, **references},
        source_name=f"scores {one.report.path.stem}: python -m cyclegan evaluate",
        source_url=one.where(repo_id),
    )


def is_score(metric: dict[str, Any]) -> bool:
    """Return True for a metric of the model-index that `score_results` wrote."""
    args = metric.get("args")
    return isinstance(args, dict) and {"scores", "revision", "baselines"} <= args.keys()


def scores_section(repo_id: str, scored: Sequence[Scored]) -> str:
    """Return a table for each file and direction; empty without scores."""
    tables = [(one, figures) for one in scored if (figures := one.figures())]
    if not tables:
        return ""
    parts = [
        "## Scores",
        "Measured on whole test sets, with ± half of the 95% interval over the pictures. Columns in italics are "
        "answers that need no training (baselines) and real pictures treated alike (ceilings): compare with them "
        "first.",
    ]
    for one, figures in tables:
        way, measured = direction_line(one.report, one.way), measured_line(one.report, one.way)
        advice = " ".join(escaped(str(said)) for best in one.advice[:1] for said in best.sentences())
        heads = [_head(repo_id, one, epoch) for epoch in one.epochs]
        heads += [f"*{LABELS[name]}*" for _, name in one.references()]
        answers = [*(("scores", epoch_name(epoch)) for epoch in one.epochs), *one.references()]
        rows = "\n".join(
            f"| {_label(one, figure)} | "
            + " | ".join(short_cell(figure, one.value(*answer, figure)) for answer in answers) + " |"
            for figure in figures
        )  # fmt: skip
        about = f"**{escaped(way)}**: {escaped(measured)} ([all epochs and figures]({one.where(repo_id)}))."
        if known := one.report.known(one.way):
            about += f" **{escaped(str(known))}**"
        parts += [f"{about} {advice}".rstrip(), f"| | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}\n{rows}"]
    return "\n\n".join(parts)


def _head(repo_id: str, one: Scored, epoch: int) -> str:
    tag = epoch_name(epoch)
    best = next((each for each in one.advice if each.problem is None), None)
    said = [word for word, there in (("newest", epoch == one.newest),
            ("best", best and epoch == best.epoch and best.measured > 1)) if there]  # fmt: skip
    return f"[{tag}](https://huggingface.co/{repo_id}/tree/{tag}), {' and '.join(said)}"


def _label(one: Scored, figure: ScoreFigure) -> str:
    score = f" ({figure.score})" if figure.shares_its_label else ""
    return escaped(heading(figure, one.report, one.way)) + score
