"""The scores of a finished run, and some of its translations for the report's pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DataConfig, Direction
from cyclegan.data import Domain, find_data, name_domains
from cyclegan.data.domains import Splits
from cyclegan.evaluation.scores.evaluate import evaluate, translate_all
from cyclegan.evaluation.scores.report import Report, read_report
from cyclegan.evaluation.scores.sets import KEPT_BYTES, TestSet
from cyclegan.experiments.plan import SCORES_NAME, Training
from cyclegan.files import read_json, whole_file, write_json
from cyclegan.translation.translator import Translator

SHOWN = 6
"""Test pictures in the report."""
_DONE = "scored.json"


class Kept:
    """A domain whose pictures and labels remain in memory as far as `KEPT_BYTES` allow, for all runs of an experiment.

    Args:
        domain: reads, or draws, them.
    """

    def __init__(self, domain: Domain) -> None:
        self.domain, self.used = domain, 0
        self.kept: dict[tuple[str, int], Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.domain, name)

    def __len__(self) -> int:
        return len(self.domain)

    def load(self, index: int) -> Image.Image:
        """Return the picture."""
        return self._once("load", index)

    def truth(self, index: int) -> Image.Image | None:
        """Return the same scene in the other domain."""
        return self._once("truth", index)

    def labels(self, index: int) -> np.ndarray | None:
        """Return the picture's label map."""
        return self._once("labels", index)

    def _once(self, what: str, index: int) -> Any:
        if (what, index) in self.kept:
            return self.kept[what, index]
        found = getattr(self.domain, what)(index)
        self.used += np.asarray(found).nbytes if found is not None else 0
        if self.used <= KEPT_BYTES:
            self.kept[what, index] = found
        return found


def keep(splits: Splits) -> Splits:
    """Return a data set whose pictures remain in memory."""
    domains = {name: getattr(splits, name) for name in ("train_a", "train_b", "test_a", "test_b")}
    return replace(splits, **{name: Kept(domain) for name, domain in domains.items() if domain is not None})


class Scorer:
    """Scores runs one after the other; baselines and ceilings are measured once for each way to prepare pictures.

    Args:
        segmenter: a trained segmenter's folder; None for the embedded one, where its classes fit.
        scores: names of scores; None for all that can be measured.
        device: where to compute; None chooses.
        note: called with a sentence about what isn't measured, once each.
    """

    def __init__(
        self, *, segmenter: Path | None, scores: Sequence[str] | None, device: str | None, note: Callable[[str], object]
    ) -> None:
        self.segmenter, self.scores, self.device, self.note = segmenter, scores, device, note
        self._noted: set[str] = set()
        self._measured: dict[str, Report] = {}
        self._splits: dict[str, Splits] = {}

    def score(self, training: Training, progress: Callable[[str, int, int], object]) -> None:
        """Write RUN/scores/experiment.json and RUN/shown-*.png unless they are there.

        Raises:
            UserError: it can't be scored.
        """
        source = LocalSource(training.folder)
        info = source.list()[0]
        done = {"commit_sha": info.commit_sha, "segmenter": self.segmenter and str(self.segmenter),
                "scores": self.scores and list(self.scores)}  # fmt: skip
        path = training.folder / _DONE
        if path.exists() and read_json(path) == done:
            return
        assert info.config is not None
        config = info.config.data
        kind = str(sorted(config.to_json().items()))
        splits = self._splits.setdefault(config.dataset, keep(find_data(name_domains(config))))
        self._borrow(kind, training)
        report = evaluate(
            source, directions=training.directions, scores=self.scores, name=SCORES_NAME, segmenter=self.segmenter,
            device=self.device, progress=progress, note=self._once, splits=splits,
        )  # fmt: skip
        self._measured[kind] = report
        translator = Translator(source.load(info.epoch, training.directions), self.device)
        for way in training.directions:
            inputs, truths = shown_pictures(splits, config, way)
            strips = {"inputs": inputs, "shown": translate_all(translator, inputs, way), "truth": truths}
            for kind, pictures in strips.items():
                if pictures:
                    save_strip(pictures, training.folder / f"{kind}-{way}.png")
        write_json(path, done)

    def _once(self, sentence: Any) -> None:
        reason = getattr(sentence, "values", {}).get("reason")
        if getattr(reason, "template", "").startswith("the target"):
            return  # A score of the other direction.
        if str(sentence) not in self._noted:
            self._noted.add(str(sentence))
            self.note(str(sentence))

    def _borrow(self, kind: str, training: Training) -> None:
        """Begin a run's file with the baselines and ceilings of an earlier run, which are the same."""
        folder = training.folder / "scores"
        if kind not in self._measured or (folder / f"{SCORES_NAME}.json").exists():
            return
        other = self._measured[kind]
        ways = {way: {**other.content[way], "scores": {}} for way in other.directions if way in training.directions}
        head = {key: other.content[key] for key in ("version", "name", "names")}
        mine = read_report(folder, SCORES_NAME, training.folder.name)
        Report(mine.path, {**head, "run": training.folder.name, **ways}).write()


def shown_pictures(
    splits: Splits, config: DataConfig, way: Direction
) -> tuple[list[Image.Image], list[Image.Image]]:
    """Return some test pictures, evenly spread, and their true translations, [] where those aren't known."""
    test = TestSet(splits, config, way)
    chosen = np.linspace(0, len(test.inputs) - 1, min(SHOWN, len(test.inputs))).round().astype(int).tolist()
    truths = [test.truth(index) for index in chosen] if test.has_truth else []
    return [test.inputs[index] for index in chosen], [truth for truth in truths if truth is not None]


def save_strip(pictures: Sequence[Image.Image], path: Path) -> None:
    """Write pictures next to each other, each in the middle of a square, as a PNG; whole."""
    side = max(max(picture.size) for picture in pictures)
    strip = Image.new("RGB", (side * len(pictures), side), "white")
    for place, picture in enumerate(pictures):
        strip.paste(picture, (place * side + (side - picture.width) // 2, (side - picture.height) // 2))
    with whole_file(path) as part:
        strip.save(part, "PNG")
