"""`evaluate`: scores of a run's epochs on a test set, with their baselines and ceilings, epoch by epoch into a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.config import DIRECTIONS, DataConfig, Direction
from cyclegan.data import find_data, name_domains
from cyclegan.data.domains import Splits
from cyclegan.errors import ConfigError, Message, UserError, message
from cyclegan.evaluation.scores.answers import Answer, Batch, references
from cyclegan.evaluation.scores.describe import BATCH, Describer
from cyclegan.evaluation.scores.kinds import Score
from cyclegan.evaluation.scores.processes import Processes
from cyclegan.evaluation.scores.report import Report, read_report, scores_folder
from cyclegan.evaluation.scores.sets import TestSet
from cyclegan.evaluation.scores.table import SCORES
from cyclegan.translation.translator import Translator

if TYPE_CHECKING:
    import torch

Progress = Callable[[str, int, int], object]


def evaluate(
    source: CheckpointSource, dataset: str | DataConfig | None = None, *,
    epochs: str | Iterable[int] = "latest", directions: Collection[Direction] | None = None,
    scores: Collection[str] | None = None, name: str = "test", output: Path | None = None, features: str = "lite0",
    features_weights: Path | None = None, segmenter: Path | None = None, pictures: int | None = None,
    device: str | torch.device | None = None, progress: Progress | None = None,
    note: Callable[[Message | UserError], object] = lambda _: None, splits: Splits | None = None,
) -> Report:
    """Score epochs on whole test sets, and write RUN/scores/NAME.json after each; what is there isn't measured again.

    Every score comes with baselines (the input itself, one colour, the usual colour or class of each place, another
    real picture) and ceilings (real pictures, the true ones), measured alike. Under torchrun, the processes share the
    pictures.

    Args:
        source: a run.
        dataset: the data set; None for the one that the run was trained on. Its pictures are prepared as the run's.
        epochs: "all", "latest" or numbers.
        directions: "ab", "ba"; None for all that the run has.
        scores: names of `table.SCORES`; None for all that can be measured here.
        name: of the file of scores.
        output: the folder of the file; None for RUN/scores.
        features: the network of features: "lite0", "inception" or "dinov2".
        features_weights: a file with its weights, in place of a download.
        segmenter: a trained segmenter's folder; None for the embedded one, where its classes fit.
        pictures: inputs and real pictures at most; None for all.
        device: where to compute; None chooses.
        progress: called with what is measured, pictures done, and their total, after each batch.
        note: called with sentences about what isn't measured.
        splits: the data set's pictures, where the caller has opened it already; None opens it.

    Raises:
        UserError: a score, an epoch or a direction that isn't there, data that can't be read, or a file of scores that
            other settings have written.
    """
    infos = chosen_epochs(source, epochs)
    config = data_config(dataset, infos[0])
    splits = splits or find_data(config)
    ways = tuple(directions or infos[0].directions)
    with Processes() as processes:
        kinds = chosen_scores(scores)
        needs = any(kind.features for kind in kinds)
        describer = Describer(features, weights=features_weights, device=device or "cpu") if needs else None
        report = None
        for way in ways:
            test = TestSet(splits, config, way, describer, most=pictures)
            judges = measurable(kinds, test, asked=scores is not None, segmenter=segmenter, note=note)
            if report is None:
                report = read_report(output or scores_folder(source), name, source.name)
            report.measure_on(way, facts(config, test, describer, judges), splits=(config.domain_a, config.domain_b))
            run = _Run(report, test, judges, processes, progress)
            run.references()
            for info in infos:
                if way in info.directions:
                    run.epoch(source, info, device)
        assert report is not None
    return report


def check_scores(config: DataConfig, scores: Collection[str], *, device: str | torch.device | None = None) -> None:
    """Raise UserError if these scores can't be measured on a data set; reads a picture or two."""
    splits = find_data(config)
    kinds = chosen_scores(scores)
    if any(kind.features for kind in kinds):
        Describer("lite0", device=device or "cpu")
    for way in DIRECTIONS:
        for kind in kinds:
            measurable([kind], TestSet(splits, config, way), asked=True, segmenter=None, note=lambda _: None)


class _Run:
    """The scoring of one direction.

    Args:
        report: takes the figures.
        test: the test set.
        scores: those that can be measured here.
        processes: those that share the pictures.
        progress: see `evaluate`.
    """

    def __init__(
        self, report: Report, test: TestSet, scores: Sequence[Score], processes: Processes, progress: Progress | None
    ) -> None:
        self.report, self.test, self.scores = report, test, scores
        self.processes, self.progress = processes, progress

    def references(self) -> None:
        """Measure the baselines and the ceilings."""
        for answer in references(self.test):
            self._answer(answer)

    def epoch(self, source: CheckpointSource, info: CheckpointInfo, device: Any) -> None:
        """Measure an epoch."""
        way = self.test.direction
        self.report.begin_epoch(way, info)
        translator: list[Translator] = []  # Loaded when the first score needs it.

        def translated(pictures: Sequence[Image.Image], direction: Direction) -> list[Image.Image]:
            if not translator:
                translator.append(Translator(source.load(info.epoch), device))
            return translate_all(translator[0], pictures, direction)

        def batch(indices: Sequence[int]) -> Batch:
            fakes = translated([self.test.inputs[index] for index in indices], way)
            return Batch(self.test, indices, fakes, back=lambda pictures: translated(pictures, way[::-1]))  # type: ignore[arg-type]

        self._answer(Answer(
            info.tag, "scores", len(self.test.inputs), batch,
            has_way_back=way[::-1] in info.directions,
        ))  # fmt: skip

    def _answer(self, answer: Answer) -> None:
        """Measure an answer by the scores that the file lacks, and write the file."""
        way = self.test.direction
        scores = [
            score for score in self.scores
            if (answer.scores is None or score.name in answer.scores) and score.judges(answer)
            and not self.report.has(way, answer, score.name)
        ]  # fmt: skip
        if not scores:
            return
        mine, parts = list(self.processes.share(answer.count)), []
        maps = any(score.maps for score in scores)
        for start in range(0, len(mine), BATCH):
            batch = answer.make(mine[start : start + BATCH])
            batch.with_maps = maps
            parts.append([score.measure(batch) for score in scores])
            if self.progress is not None:
                done = min(len(mine), start + BATCH) * self.processes.count
                self.progress(f"{way} {answer.name}", min(done, answer.count), answer.count)
        for number, score in enumerate(scores):
            rows = self.processes.gather(mine, joined([part[number] for part in parts]))
            self.report.add(way, answer, score.name, score.figures(rows, self.test))
        if self.processes.is_main:
            self.report.write()


def translate_all(
    translator: Translator, pictures: Sequence[Image.Image], direction: Direction
) -> list[Image.Image]:
    """Return the translations of pictures of any sizes, in batches of equal ones, at their own size."""
    found: list[Image.Image | None] = [None] * len(pictures)
    by_size: dict[tuple[int, int], list[int]] = {}
    for place, picture in enumerate(pictures):
        by_size.setdefault(picture.size, []).append(place)
    for size, places in by_size.items():
        step = translator.batch_size(size)
        for start in range(0, len(places), step):
            some = places[start : start + step]
            fakes = translator.translate_batch([pictures[place] for place in some], direction)
            for place, fake in zip(some, fakes, strict=True):
                found[place] = fake
    return [fake for fake in found if fake is not None]


def joined(parts: Sequence[Any]) -> dict[str, Any]:
    """Return the rows of several batches as one; {} where a process has no picture."""
    import numpy as np

    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def chosen_scores(names: Collection[str] | None) -> list[Score]:
    """Return the scores by name, all but `fid` for None. Raises ConfigError for an unknown name."""
    from cyclegan.evaluation.scores.registry import KINDS

    for name in names or ():
        if name not in KINDS:
            raise ConfigError(
                "{name!r} isn't a score: choose from {known}", name=name, known=", ".join(SCORES)
            )
    return [KINDS[name]() for name in KINDS if (name != "fid" if names is None else name in names)]


def measurable(
    scores: Sequence[Score], test: TestSet, *, asked: bool, segmenter: Path | None,
    note: Callable[[Message | UserError], object],
) -> list[Score]:
    """Return the scores that this test set allows.

    Args:
        scores: those that are wanted.
        test: the test set.
        asked: True if a person named them; if a single one was named, it must be measurable.
        segmenter: a trained segmenter's folder.
        note: called with the reason for each that isn't measured.

    Raises:
        ConfigError: the only one that was named can't be measured.
    """
    found = []
    for score in scores:
        if hasattr(score, "prepare"):
            score.prepare(test, segmenter)
        reason = score.lacks(test)
        if reason is None:
            found.append(score)
            continue
        said = message("{direction}, {score}: {reason}", direction=test.direction, score=score.name, reason=reason)
        if asked and len(scores) == 1:
            raise ConfigError(said)
        note(said)
    return found


def chosen_epochs(source: CheckpointSource, epochs: str | Iterable[int]) -> list[CheckpointInfo]:
    """Return the epochs, oldest first. Raises UserError for one that isn't there."""
    infos = {info.epoch: info for info in reversed(source.list())}
    if not infos:
        raise ConfigError("{name} has no epoch yet", name=source.name)
    if epochs == "all":
        return list(infos.values())
    if epochs == "latest":
        return [infos[max(infos)]]
    wanted = sorted({int(epoch) for epoch in epochs})
    for epoch in wanted:
        if epoch not in infos:
            have = ", ".join(map(str, infos))
            raise ConfigError("{name} has no epoch {epoch}; it has {have}", name=source.name, epoch=epoch, have=have)
    return [infos[epoch] for epoch in wanted]


def data_config(dataset: str | DataConfig | None, info: CheckpointInfo) -> DataConfig:
    """Return the settings of the pictures: the run's preparation and names, with another data set if one is given."""
    if isinstance(dataset, DataConfig):
        return dataset
    assert info.config is not None
    own = info.config.data
    config = own if dataset is None else dataclasses.replace(own, dataset=dataset)
    return name_domains(config) if (own.domain_a, own.domain_b) == ("A", "B") else config


def facts(config: DataConfig, test: TestSet, describer: Describer | None, scores: Sequence[Score]) -> dict[str, Any]:
    """Return what the figures of a direction depend on, ready for JSON."""
    return {
        "dataset": config.dataset,
        "split": test.split,
        "preprocess": config.preprocess,
        "crop_size": config.crop_size,
        "pictures": len(test.inputs),
        "references": len(test.references),
        "fingerprint": test.fingerprint,
        "features": describer.name if describer else None,
        "segmenter": next((about for s in scores if (about := getattr(s, "about", None)) is not None), None),
    }
