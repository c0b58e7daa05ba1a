"""The scores of a finished run, and some of its translations for the report's pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DIRECTIONS, DataConfig
from cyclegan.data import name_domains
from cyclegan.errors import UserError
from cyclegan.evaluation.scores.evaluate import Evaluator, translate_all
from cyclegan.evaluation.scores.exchange import checked
from cyclegan.evaluation.scores.report import OtherFactsError, ScoresError, read_report, scores_folder
from cyclegan.evaluation.scores.sets import TestSet, evenly
from cyclegan.experiments.plan import SCORES_NAME, Training
from cyclegan.files import read_json, whole_file, write_json
from cyclegan.images import open_image
from cyclegan.translation.translator import Translator

SHOWN = 6
"""Test pictures in the report."""
KINDS = 2
"""Ways to prepare pictures whose test sets remain in memory: crop and whole, in the GTA experiment."""
_DONE = "scored.json"
CONTENT = "pooled"
"""In `_DONE`, how shares of kept and invented classes are computed. Shares of an earlier version are measured again."""


class Scorer:
    """Scores runs one after the other; baselines and ceilings are measured once for each way to prepare pictures.

    Args:
        segmenter: a trained segmenter's folder; None for the embedded one, where its classes fit.
        scores: names of scores; None for all that can be measured.
        device: where to compute; None chooses.
        note: called with a sentence about what isn't measured, once each.
        every_epoch: score all epochs, not the last alone.
    """

    def __init__(
        self, *, segmenter: Path | None, scores: Sequence[str] | None, device: str | None,
        note: Callable[[str], object], every_epoch: bool = False,
    ) -> None:
        self.segmenter, self.scores, self.device, self.note = segmenter, scores, device, note
        self.epochs = "all" if every_epoch else "latest"
        self._noted: set[str] = set()
        self._evaluators: dict[str, Evaluator] = {}

    def score(self, training: Training, progress: Callable[[str, int, int], object]) -> None:
        """Write RUN/scores/experiment.json and RUN/shown-*.png unless they are there.

        Raises:
            UserError: it can't be scored.
        """
        source = LocalSource(training.folder)
        info = source.list()[0]
        evaluator = self._evaluator(name_domains(training.config.data))  # A checkpoint has the folder's name alone.
        done = {"commit_sha": info.commit_sha, "content": CONTENT, "epochs": self.epochs,
                "scores": self.scores and list(self.scores),
                "measured_on": {way: evaluator.facts(way) for way in training.directions}}  # fmt: skip
        path = training.folder / _DONE
        with suppress(UserError):  # Missing or damaged.
            if read_json(path) == done and checked(read_report(scores_folder(source), SCORES_NAME, source.name)):
                for strip in training.folder.glob("*-*.png"):
                    open_image(strip)
                return
        wanted = {"epochs": self.epochs, "directions": training.directions, "name": SCORES_NAME, "progress": progress}
        try:
            evaluator.score(source, **wanted)
        except (OtherFactsError, ScoresError):  # The experiment's own file, which it can measure again.
            self.note(f"{training.name} is scored anew: its scores were of other pictures or settings, or are damaged")
            (scores_folder(source) / f"{SCORES_NAME}.json").unlink(missing_ok=True)
            evaluator.score(source, **wanted)
        translator = Translator(source.load(info.epoch, training.directions), self.device)
        for way in training.directions:
            strips = shown_pictures(evaluator.test(way))
            strips["shown"] = translate_all(translator, strips["inputs"], way)
            for kind, pictures in strips.items():
                if pictures:
                    save_strip(pictures, training.folder / f"{kind}-{way}.png")
        write_json(path, done)

    def _evaluator(self, config: DataConfig) -> Evaluator:
        """Return the evaluator of runs whose pictures are prepared like this."""
        kind = str(sorted(config.to_json().items()))
        if kind not in self._evaluators:
            while len(self._evaluators) >= KINDS:
                self._evaluators.pop(next(iter(self._evaluators)))
            self._evaluators[kind] = Evaluator(
                config, scores=self.scores, segmenter=self.segmenter, device=self.device
            )
            for sentence in map(str, self._evaluators[kind].notes(DIRECTIONS)):
                if sentence not in self._noted:
                    self._noted.add(sentence)
                    self.note(sentence)
        return self._evaluators[kind]


def shown_pictures(test: TestSet) -> dict[str, list[Image.Image]]:
    """Return some `inputs`, evenly spread, their `truth`, [] where it isn't known, and as many real `targets`."""
    inputs, real = test.inputs, test.references
    chosen = evenly(min(SHOWN, len(inputs)), len(inputs))
    truths = [test.truth(index) for index in chosen] if test.has_truth else []
    return {
        "inputs": [inputs[index] for index in chosen], "truth": [truth for truth in truths if truth is not None],
        "targets": [real[index] for index in evenly(min(SHOWN, len(real)), len(real))],
    }  # fmt: skip


def save_strip(pictures: Sequence[Image.Image], path: Path) -> None:
    """Write pictures next to each other, each in the middle of a square, as a PNG; whole."""
    side = max(max(picture.size) for picture in pictures)
    strip = Image.new("RGB", (side * len(pictures), side), "white")
    for place, picture in enumerate(pictures):
        strip.paste(picture, (place * side + (side - picture.width) // 2, (side - picture.height) // 2))
    with whole_file(path) as part:
        strip.save(part, "PNG")
