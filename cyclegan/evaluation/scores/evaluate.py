"""`evaluate`: scores of a run's epochs on a test set, with their baselines and ceilings, epoch by epoch into a file."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.config import DataConfig, Direction
from cyclegan.data import about_domains, find_data, name_domains
from cyclegan.data.domains import Splits, Subset, readable
from cyclegan.data.fingerprints import Known, fingerprints, known_pictures, trained_pictures
from cyclegan.data.values import opened_as
from cyclegan.errors import ConfigError, Message, message
from cyclegan.evaluation.dataset import dataset_of
from cyclegan.evaluation.scores.answers import Answer, Batch, references
from cyclegan.evaluation.scores.describe import BATCH, Describer
from cyclegan.evaluation.scores.exchange import checked
from cyclegan.evaluation.scores.kinds import Pairs, Result, Score
from cyclegan.evaluation.scores.labelled import OfLabels
from cyclegan.evaluation.scores.processes import Processes
from cyclegan.evaluation.scores.recommend import FEWEST
from cyclegan.evaluation.scores.report import Report, read_report, scores_folder, writing
from cyclegan.evaluation.scores.sets import MOST_TRAINED, Picture, Shelf, TestSet, evenly
from cyclegan.evaluation.scores.table import SCORES
from cyclegan.files import name_alone
from cyclegan.rasters.raster import from_shown
from cyclegan.translation.translator import Translator, default_device

if TYPE_CHECKING:
    import torch

Progress = Callable[[str, int, int], object]
LEAST_SIZE = 16


def evaluate(
    source: CheckpointSource, dataset: str | DataConfig | None = None, *,
    epochs: str | Iterable[int] = "latest", directions: Collection[Direction] | None = None,
    scores: Collection[str] | None = None, name: str | None = None, output: Path | None = None, features: str = "lite0",
    features_weights: Path | None = None, segmenter: Path | None = None, pictures: int | None = None,
    device: str | torch.device | None = None, progress: Progress | None = None,
    skip_bad_images: bool | None = None, size: int | None = None,
    note: Callable[[Message], object] = lambda _: None,
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
        name: of the file of scores; None for "test", or "train" for want of test pictures, with "-SIZE" for a `size`
            that isn't the run's own.
        output: the folder of the file; None for RUN/scores.
        features: the network of features: "lite0", "inception" or "dinov2".
        features_weights: a file with its weights, in place of a download.
        segmenter: a trained segmenter's folder; None for the embedded one, where its classes fit.
        pictures: inputs and real pictures at most; None for all.
        device: where to compute; None chooses.
        progress: called with what is measured, the pictures that are done, of all answers in all directions and also
            by earlier starts, and their total; before and after each batch.
        skip_bad_images: leave out pictures that can't be read; None does so if the run's training did.
        size: prepare the pictures for training at this `crop_size` instead of the run's own, so that runs of two sizes
            compare.
        note: called with sentences about what isn't measured.

    Raises:
        UserError: a score, an epoch or a direction that isn't there, data that can't be read, or a file of scores that
            other settings have written.
    """
    infos = chosen_epochs(source, epochs)
    config = data_config(dataset, infos[0], source)
    if skip_bad_images is not None:
        config = dataclasses.replace(config, skip_bad_images=skip_bad_images)
    trained_at = config.crop_size
    if size is not None and size != trained_at:
        config = at_size(config, size)
    evaluator = Evaluator(
        config, scores=scores, features=features, features_weights=features_weights,
        segmenter=segmenter, pictures=pictures, device=device,
    )  # fmt: skip
    ways = tuple(directions or infos[0].directions)
    evaluator.check(ways)
    # So that figures of training pictures, or at another size, are never taken for others.
    name = name or evaluator.test(ways[0]).split + (f"-{config.crop_size}" if config.crop_size != trained_at else "")
    own = infos[0].config.data if infos[0].config else config
    if other := about_domains(own, config.dataset):
        note(other)
    for sentence in evaluator.notes(ways, infos):
        note(sentence)
    if known := evaluator.known(source):
        note(known.sentence())
    return evaluator.score(source, infos=infos, directions=ways, name=name, output=output, progress=progress)


class Evaluator:
    """A data set, opened once, for the scores of any number of runs whose pictures are prepared alike.

    Args:
        config: the data set and the preparation of its pictures.
        splits: its pictures, where the caller has opened it already; None opens it.
        scores, features, features_weights, segmenter, pictures, device: see `evaluate`.

    Raises:
        UserError: a score that doesn't exist, a file of weights or data that can't be read.
    """

    def __init__(
        self, config: DataConfig, *, scores: Collection[str] | None = None, features: str = "lite0",
        features_weights: Path | None = None, segmenter: Path | None = None, pictures: int | None = None,
        device: str | torch.device | None = None, splits: Splits | None = None,
    ) -> None:
        self.config, self.device = config, device or default_device()
        self.named, self.segmenter, self.pictures = scores, segmenter, pictures
        needs = any(kind.features for kind in chosen_scores(scores))
        self.describer = Describer(features, weights=features_weights, device=self.device) if needs else None
        splits = splits or find_data(config)
        self.splits, self.left_out = opened_as(splits, config.values("a"), config.values("b")), []
        if config.skip_bad_images:
            self.splits, self.left_out = without_bad(self.splits)
        self._parts: dict[Direction, _Part] = {}
        self._shelves: dict[tuple[str, int], Shelf] = {}
        self._digests: dict[str, list[str]] | None = None

    def check(self, ways: Sequence[Direction]) -> None:
        """Raise ConfigError for a score that was named and can be measured in none of these directions."""
        parts = [self._part(way) for way in ways]
        for name in self.named or ():
            if all(name in part.lacking for part in parts):
                raise ConfigError(
                    "{direction}, {score}: {reason}", direction=ways[0], score=name, reason=parts[0].lacking[name]
                )

    def notes(self, ways: Sequence[Direction], infos: Sequence[CheckpointInfo] = ()) -> Iterator[Message]:
        """Yield sentences about what isn't measured in these directions, on which pictures, or by whom, of epochs."""
        parts = [self._part(way) for way in ways]
        if any(part.test.split == "train" for part in parts):
            yield message(
                "warning: {dataset} has no test pictures, so training pictures are scored: the networks know them, "
                "and the figures flatter them", dataset=name_alone(self.config.dataset),
            )
        fewest = min(min(len(part.test.inputs), len(part.test.references)) for part in parts)
        if fewest < FEWEST:
            yield message(
                "{n} test picture is too few to tell epochs apart: 50 or more are wanted",
                "{n} test pictures are too few to tell epochs apart: 50 or more are wanted", fewest,
            )  # fmt: skip
        if self.left_out:
            yield message(
                "left out: {n} picture that can't be read, such as {example}",
                "left out: {n} pictures that can't be read, such as {example}", len(self.left_out),
                example=self.left_out[0],
            )  # fmt: skip
        trained_by = {info.read_by for info in infos} - {""}
        biased = [score.name for score in parts[0].scores if getattr(score, "judge", "") in trained_by]
        if biased:
            yield message(
                "warning: {scores}: the segmenter that judges is the one that --lambda_semantic trained with, so the "
                "figures flatter; --segmenter DIR names another judge", scores=", ".join(biased),
            )  # fmt: skip
        lacking: dict[str, list[str]] = {}
        for score in chosen_scores(self.named):
            reasons = [part.lacking.get(score.name) for part in parts]
            if reasons and None not in reasons:  # What one direction can't have, such as labels, the other one may.
                lacking.setdefault(str(reasons[0]), []).append(score.name)
        sides = {judge.side for part in parts for score in part.scores if (judge := getattr(score, "segmenter", None))}
        for side in sides - {self.config.crop_size} if self.config.preprocess != "none" else ():
            yield message(
                "the segmenter was trained at {side} pixels, and pictures of {size} are scored: the ceilings show how "
                "well it reads them; one that is trained at their size reads better", side=side,
                size=self.config.crop_size,
            )  # fmt: skip
        for reason, names in lacking.items():
            yield message("{scores}: {reason}", scores=", ".join(names), reason=reason)

    def known(self, source: CheckpointSource) -> Known | None:
        """Return the test pictures that a run of this computer was trained on, None without any."""
        trained = trained_pictures(getattr(source, "folder", None))
        if not trained or not all((self.splits.test_a, self.splits.test_b)):
            return None
        if self._digests is None:
            self._digests = fingerprints(self.splits, ["test"])
        return known_pictures(self.splits, self._digests, trained)

    def facts(self, way: Direction) -> dict[str, Any]:
        """Return what the figures of a direction depend on, as a file of scores has it."""
        part = self._part(way)
        return facts(self.config, part.test, self.describer, part.scores)

    def test(self, way: Direction) -> TestSet:
        """Return a direction's pictures."""
        return self._part(way).test

    def score(
        self, source: CheckpointSource, epochs: str | Iterable[int] = "latest", *,
        infos: Sequence[CheckpointInfo] = (), directions: Collection[Direction] | None = None, name: str = "test",
        output: Path | None = None, progress: Progress | None = None,
    ) -> Report:  # fmt: skip
        """Score epochs of a run whose pictures are prepared as these; for the rest, see `evaluate`.

        What only a measurement needs, such as the network of features, is loaded if something is missing in the file.

        Args:
            infos: the epochs, by one who has listed them already.
        """
        infos, folder = infos or chosen_epochs(source, epochs), output or scores_folder(source)
        for way in directions or ():
            if not any(way in info.directions for info in infos):
                raise ConfigError(
                    "{name} doesn't translate {direction}, only {have}", name=source.name, direction=way,
                    have=", ".join(infos[-1].directions),
                )  # fmt: skip
        read_report(folder, name, source.name)  # Refuses a name that no file can have.
        processes = Processes()
        with writing(folder, name) if processes.is_main else nullcontext(), processes:
            report = read_report(folder, name, source.name)
            checked(report)
            jobs: deque[tuple[_Run, Answer]] = deque()
            known = self.known(source)
            for way in directions or infos[0].directions:
                part = self._part(way)
                report.measure_on(way, self.facts(way), splits=(self.config.domain_a, self.config.domain_b))
                report.set_known(way, known)
                run = _Run(report, part, processes)
                answers = [*run.references(), *run.epochs(source, infos, self.device)]
                jobs.extend((run, answer) for answer in answers if run.judges(answer))
            if self.describer and any(score.features for run, answer in jobs for score in run.missing(answer)):
                self.describer.load()
            _work_off(jobs, progress)
        return report

    def _part(self, way: Direction) -> _Part:
        if way not in self._parts:
            test = TestSet(
                self.splits, self.config, way, self.describer, most=self.pictures, shelves=self._shelves
            )
            self._parts[way] = _Part(
                test, chosen_scores(self.named), segmenter=self.segmenter, device=self.device
            )
        return self._parts[way]


def _work_off(jobs: deque[tuple[_Run, Answer]], progress: Progress | None) -> None:
    """Measure what is missing, and show how far it is, of everything."""
    of, total = len(jobs), sum(answer.count for _, answer in jobs)
    open_ = deque((run, answer) for run, answer in jobs if run.missing(answer))
    jobs.clear()
    done = total - sum(answer.count for _, answer in open_)
    while open_:
        number = of - len(open_) + 1
        run, answer = open_.popleft()  # Its networks are freed with it.

        what = f"{run.test.direction} {answer.name} ({number} of {of})"
        run.measure(answer, partial(_show, progress, what, done, total))
        done += answer.count


def _show(progress: Progress | None, what: str, before: int, total: int, done: int) -> None:
    if progress is not None:
        progress(what, before + done, total)


class _Part:
    """A direction of an `Evaluator`: its test set, the scores that it allows, and what they found of the references.

    Args:
        test: the test set.
        scores: those that are wanted.
        segmenter, device: see `evaluate`.

    Attributes:
        scores: those that can be measured.
        lacking: why the others can't be, by name.
        measured: results of baselines and ceilings, by section, answer and score, which are the same for every run.
    """

    def __init__(
        self, test: TestSet, scores: Sequence[Score], *, segmenter: Path | None, device: str | torch.device
    ) -> None:
        self.test, self.scores = test, []
        self.lacking: dict[str, Message] = {}
        self.measured: dict[tuple[str, str, str], Result] = {}
        for score in scores:
            if hasattr(score, "prepare"):
                score.prepare(test, segmenter, device)
            reason = score.lacks(test)
            if reason is None:
                self.scores.append(score)
            else:
                self.lacking[score.name] = reason


class _Run:
    """The scoring of one direction of one run.

    Args:
        report: takes the figures.
        part: the direction.
        processes: those that share the pictures.
    """

    def __init__(self, report: Report, part: _Part, processes: Processes) -> None:
        self.report, self.part, self.processes = report, part, processes
        self.test = part.test
        self._infos: dict[str, CheckpointInfo] = {}

    def references(self) -> Iterator[Answer]:
        """Yield the baselines and the ceilings; what an earlier run has measured is in the report then."""
        for answer in references(self.test):
            for score in self.part.scores:
                known = self.part.measured.get((answer.group, answer.name, score.name))
                if known is not None and not self.report.has(self.test.direction, answer, score.name):
                    self.report.add(self.test.direction, answer, score.name, known)
            yield answer

    def epochs(self, source: CheckpointSource, infos: Iterable[CheckpointInfo], device: Any) -> Iterator[Answer]:
        """Yield the epochs that have this direction."""
        for info in infos:
            if self.test.direction in info.directions:
                self._infos[info.tag] = info
                yield self._epoch(source, info, device)

    def _epoch(self, source: CheckpointSource, info: CheckpointInfo, device: Any) -> Answer:
        way = self.test.direction
        translator: list[Translator] = []  # Loaded when the first score needs it.

        def translated(pictures: Sequence[Picture], direction: Direction) -> list[Picture]:
            if not translator:
                translator.append(Translator(source.load(info.epoch), device))
                translator[0].with_neighbours = True  # What is translated back needs them.
            return translate_all(translator[0], pictures, direction)

        def batch(indices: Sequence[int]) -> Batch:
            test, (here, there) = self.test, way
            made = translated([test.given(index) for index in indices], way)
            fakes, plain = [test.shown(each, there) for each in made], test.values[there].plain

            def back(pictures: Sequence[Image.Image]) -> list[Image.Image]:
                # Those that were changed exist as pictures for a screen alone.
                own = made if pictures is fakes else [from_shown(each, test.values[there]) for each in pictures]
                return [test.shown(each, here) for each in translated(pictures if plain else own, way[::-1])]  # type: ignore[arg-type]

            return Batch(test, indices, fakes, back=back, made=[] if plain else made)  # type: ignore[arg-type]

        return Answer(
            info.tag, "scores", len(self.test.inputs), batch, has_way_back=way[::-1] in info.directions
        )

    def judges(self, answer: Answer) -> list[Score]:
        """Return the scores that an answer gets."""
        return [
            score for score in self.part.scores
            if (answer.scores is None or score.name in answer.scores) and score.judges(answer)
        ]

    def missing(self, answer: Answer) -> list[Score]:
        """Return the scores of an answer that the file lacks."""
        way, info = self.test.direction, self._infos.get(answer.name)
        other = info is not None and not self.report.is_of(way, info)
        return [score for score in self.judges(answer) if other or not self.report.has(way, answer, score.name)]

    def measure(self, answer: Answer, progress: Callable[[int], object]) -> None:
        """Measure an answer by the scores that the file lacks, and write the file.

        Args:
            progress: called with the number of its pictures that are done.
        """
        way, scores = self.test.direction, self.missing(answer)
        if (info := self._infos.get(answer.name)) is not None:
            self.report.begin_epoch(way, info)
        mine, parts = list(self.processes.share(answer.count)), []
        maps = any(score.maps for score in scores)
        progress(0)
        for start in range(0, len(mine), BATCH):
            batch = answer.make(mine[start : start + BATCH])
            batch.with_maps = maps
            parts.append([score.measure(batch) for score in scores])
            progress(min(answer.count, min(len(mine), start + BATCH) * self.processes.count))
        for number, score in enumerate(scores):
            rows = self.processes.gather(mine, joined([part[number] for part in parts]))
            result = score.figures(rows, self.test)
            self.report.add(way, answer, score.name, result)
            if answer.group != "scores":
                self.part.measured[answer.group, answer.name, score.name] = result
        if self.processes.is_main:
            self.report.write()


def translate_all(
    translator: Translator, pictures: Sequence[Picture], direction: Direction
) -> list[Picture]:
    """Return the translations of pictures of any sizes, in batches of equal ones, at their own size."""
    found: list[Picture | None] = [None] * len(pictures)
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


def without_bad(splits: Splits) -> tuple[Splits, list[str]]:
    """Return a data set without the pictures that can't be read, and the names of those; all used ones are decoded."""
    kept, left_out = {}, []
    for name in ("train_a", "train_b", "test_a", "test_b"):
        if (domain := getattr(splits, name)) is not None:
            if name.startswith("train") and splits.test_a and splits.test_b and len(domain) > MOST_TRAINED:
                domain = Subset(domain, evenly(MOST_TRAINED, len(domain)))  # No others are looked at.
            kept[name], bad = readable(domain)
            left_out += bad
    return dataclasses.replace(splits, **kept), left_out


def chosen_scores(names: Collection[str] | None) -> list[Score]:
    """Return the scores by name, all but `fid` for None. Raises ConfigError for an unknown name."""
    from cyclegan.evaluation.scores.registry import KINDS

    for name in names or ():
        if name not in KINDS:
            raise ConfigError(
                "{name!r} isn't a score: choose from {known}", name=name, known=", ".join(SCORES)
            )
    return [KINDS[name]() for name in KINDS if (name != "fid" if names is None else name in names)]


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


def at_size(config: DataConfig, size: int) -> DataConfig:
    """Return the settings of pictures that are prepared for another crop size. Raises ConfigError: it has no effect."""
    if config.preprocess == "none":
        raise ConfigError(
            "this run takes pictures at their own size (--preprocess {preprocess}): leave --size out",
            preprocess=config.preprocess,
        )
    if size < LEAST_SIZE:
        raise ConfigError("--size {size} is too small to score: choose {least} and more", size=size, least=LEAST_SIZE)
    return dataclasses.replace(config, crop_size=size, load_size=round(size * config.load_size / config.crop_size))


def data_config(dataset: str | DataConfig | None, info: CheckpointInfo, source: CheckpointSource) -> DataConfig:
    """Return the settings of the pictures: the run's preparation and names, with another data set if one is given.

    Raises:
        ConfigError: none is given, and the run's own isn't known or isn't here.
    """
    if isinstance(dataset, DataConfig):
        return dataset
    assert info.config is not None
    own = info.config.data
    if dataset is None:
        if own.dataset in ("", "unknown"):
            raise ConfigError(
                "{name} doesn't say which data set it was trained on: name one with --dataset", name=source.name
            )
        dataset, here = dataset_of(getattr(source, "folder", None), own.dataset)
        if not here:
            raise ConfigError(
                "{dataset}, the data set that {name} was trained on, isn't there: name its folder with --dataset, or "
                "another one if it was streamed",
                dataset=dataset, name=source.name,
            )
    config = dataclasses.replace(own, dataset=dataset)
    return name_domains(config) if (own.domain_a, own.domain_b) == ("A", "B") else config


def facts(config: DataConfig, test: TestSet, describer: Describer | None, scores: Sequence[Score]) -> dict[str, Any]:
    """Return what the figures of a direction depend on, ready for JSON."""
    judge = next((segmenter for s in scores if (segmenter := getattr(s, "segmenter", None)) is not None), None)
    return {
        "dataset": name_alone(config.dataset),
        "split": test.split,
        "preprocess": config.preprocess,
        "crop_size": config.crop_size,
        "pictures": len(test.inputs),
        "references": len(test.references),
        "fingerprint": test.fingerprint,
        "labels": test.labels_fingerprint if any(isinstance(score, OfLabels) for score in scores) else None,
        "truths": test.truths_fingerprint if any(isinstance(score, Pairs) for score in scores) else None,
        "features": describer.name if describer else None,
        "features_weights": describer.weights or "usual" if describer else None,
        "segmenter": next((about for s in scores if (about := getattr(s, "about", None)) is not None), None),
        "segmenter_weights": judge.fingerprint if judge else None,
    }
