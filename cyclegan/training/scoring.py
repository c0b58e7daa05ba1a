"""Scores during a training: `--evaluate_every`, and `--keep best:N` by them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.format import epoch_name
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DIRECTIONS, TrainConfig
from cyclegan.data import find_data
from cyclegan.errors import ConfigError, Message, UserError, message
from cyclegan.evaluation.scores.evaluate import Evaluator
from cyclegan.evaluation.scores.report import Report
from cyclegan.evaluation.scores.table import BY_KEY, SCORE_FIGURES
from cyclegan.evaluation.scores.tables import direction_line
from cyclegan.files import remove_whole

NAME = "training"
"""The file of scores that a training writes: RUN/scores/training.json."""


class EpochScores:
    """Scores every Nth epoch once it is written, while the next one trains.

    Args:
        config: the run's settings.
        device: where to compute.

    Raises:
        UserError: the scores can't be measured on this data set.
    """

    def __init__(self, config: TrainConfig, device: Any) -> None:
        self.run = config.run
        self.folder = Path(config.run.output_dir)
        self.names = self.run.scores.split(",")
        found = BY_KEY.get(self.run.by) or next((f for f in SCORE_FIGURES if f.score == self.run.by), None)
        if found is None or found.better is None:
            raise ConfigError(
                "--by {by} isn't a score or a figure that is better the higher or the lower: kid, for example",
                by=self.run.by,
            )
        self.figure = found
        if self.run.keep != "all" and self.figure.score not in self.names:
            raise ConfigError(
                "--keep {keep} --by {by} needs --scores {score}", keep=self.run.keep, by=self.run.by,
                score=self.figure.score,
            )  # fmt: skip
        splits = None
        if config.data.stream:  # Its training pictures have no numbers, except for the first ones.
            splits = find_data(config.data)
            first = {name: getattr(splits, name).first() for name in ("train_a", "train_b")}
            splits = dataclasses.replace(splits, **first)
        self.evaluator = Evaluator(config.data, scores=self.names, device=device, splits=splits)
        self.evaluator.check((config.loss.direction,) if hasattr(config.loss, "direction") else DIRECTIONS)
        if self.evaluator.describer:
            self.evaluator.describer.load()  # What is missing is said before the training.

    def after(self, epoch: int, step: int, say: Callable[[Message], object]) -> dict[str, Any] | None:
        """Score an epoch that has been written, if it is its turn, and return a row for metrics.jsonl.

        Args:
            epoch: its number.
            step: the steps so far.
            say: called with a line of the figures, or of what went wrong.
        """
        if epoch % self.run.evaluate_every:
            return None
        try:
            report = self.evaluator.score(LocalSource(self.folder), [epoch], name=NAME)
        except UserError as error:
            say(message("warning: epoch {epoch} isn't scored: {reason}", epoch=epoch, reason=error))
            return None
        figures, plain, parts = {}, {}, []
        for way in report.directions:
            for figure in SCORE_FIGURES:
                for found, answer in ((figures, ("scores", epoch_name(epoch))), (plain, ("baselines", "untranslated"))):
                    if value := report.value(way, *answer, figure.score, figure.key):
                        found[f"{figure.key}_{way}"] = value["value"]
            name = f"{self.figure.key}_{way}"
            if name in figures:
                known = f" (untranslated {self.figure.show(plain[name])})" if name in plain else ""
                parts.append(f"{direction_line(report, way)} {self.figure.show(figures[name])}{known}")
        say(message(
            "epoch {epoch}, {figure}: {figures}", epoch=epoch, figure=self.figure.label,
            figures=", ".join(parts),
        ))  # fmt: skip
        if self.run.keep != "all":
            self._prune(report, int(self.run.keep.removeprefix("best:")), say)
        return {"event": "scores", "epoch": epoch, "step": step, "losses": {}, "metrics": figures,
                "untranslated": plain}  # fmt: skip

    def _prune(self, report: Report, count: int, say: Callable[[Message], object]) -> None:
        """Remove the epochs that are neither among the best `count`, by the mean over directions, nor the newest."""
        infos = LocalSource(self.folder).list()
        ranks = {}
        for info in infos:
            found = [
                value["value"] for way in report.directions
                if (value := report.value(way, "scores", info.tag, self.figure.score, self.figure.key))
            ]
            if found:  # An epoch that was never scored is kept.
                ranks[info.epoch] = sum(found) / len(found) * (1 if self.figure.better == "lower" else -1)
        kept = {*sorted(ranks, key=lambda epoch: ranks[epoch])[:count], infos[0].epoch}
        for epoch in sorted(ranks.keys() - kept):
            remove_whole(self.folder / epoch_name(epoch))
            say(message("epoch {epoch} is removed (--keep {keep})", epoch=epoch, keep=self.run.keep))
