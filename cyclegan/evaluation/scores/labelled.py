"""The scores that need labels: a segmenter's view of the answer (FCN score), label maps by colour, and content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.data.labels import Classes
from cyclegan.errors import Message, UserError, message
from cyclegan.evaluation.scores.answers import Answer, Batch
from cyclegan.evaluation.scores.confusion import accuracies, confusion
from cyclegan.evaluation.scores.distances import interval, resampled, share_interval
from cyclegan.evaluation.scores.kinds import Result, Rows, Value
from cyclegan.evaluation.scores.sets import TestSet
from cyclegan.evaluation.segmenter import Segmenter, load_segmenter

if TYPE_CHECKING:
    import torch

PRESENT, KEPT = 0.005, 0.1
"""A class is in a picture from this share of its pixels on, and kept if this share of those is still found in place."""


FEWEST_CASES = 10
"""Classes in pictures that are behind a share of kept or invented ones at least: one of one isn't 100%."""


class OfLabels:
    """Right and wrong labels, counted in one matrix over all pictures, as in the paper's tables 2 to 5."""

    name = ""
    maps = features = False
    prefix = ""

    def measure(self, batch: Batch) -> Rows:
        """Return each picture's confusion matrix, rows = truth."""
        assert batch.test.classes is not None
        count = batch.test.classes.count
        found = zip(batch.labels, self.predict(batch), strict=True)
        return {"matrices": np.stack([confusion(truth, answer, count) for truth, answer in found])}

    def predict(self, batch: Batch) -> list[np.ndarray]:
        """Return the label maps of the batch's pictures."""
        raise NotImplementedError

    def figures(self, rows: Rows, test: TestSet) -> Result:
        """Return the three accuracies, with intervals by resampling pictures, and those of each class."""
        assert test.classes is not None
        matrices = rows["matrices"]
        found = accuracies(matrices.sum(0))
        samples = [accuracies(matrix) for matrix in resampled(matrices)]
        values = {}
        for key, name in (("pixel", "pixel"), ("class", "classes"), ("iou", "iou")):
            value, drawn = getattr(found, name), np.array([getattr(sample, name) for sample in samples])
            values[f"{self.prefix}_{key}"] = Value(value, *(interval(value, drawn, len(matrices), (0.0, 1.0)) or ()))
        by_class = {
            name: {"accuracy": round(found.classes_by_class[k], 4), "iou": round(found.iou_by_class[k], 4),
                   "share": round(found.shares[k], 5)}
            for k, name in enumerate(test.classes.scored)
        }  # fmt: skip
        return Result(values, {"classes": by_class, "iou_of_occurring": round(found.iou_occurring, 4)})


class Segmentation(OfLabels):
    """The FCN score (Isola et al. 2017, section 4.1.2): can a segmenter read the translation?"""

    name, prefix = "segmentation", "seg"

    def __init__(self) -> None:
        self.segmenter: Segmenter | None = None
        self.problem: UserError | None = None

    def prepare(self, test: TestSet, folder: Path | None, device: str | torch.device) -> None:
        """Load the segmenter, if the test set has labels to compare with. Raises UserError if `folder` has none."""
        if test.has_labels and not test.into_labels:
            assert test.classes is not None
            try:
                self.segmenter = load_segmenter(folder, test.classes, device=device)
            except UserError as error:
                if folder is not None:
                    raise
                self.problem = error

    @property
    def judge(self) -> str:
        """The fingerprint of the segmenter's weights, "" without one."""
        return self.segmenter.fingerprint if self.segmenter else ""

    @property
    def about(self) -> dict[str, Any] | None:
        """The facts that the figures depend on."""
        if self.segmenter is None:
            return None
        return {"network": self.segmenter.about.get("network"), "dataset": self.segmenter.about.get("dataset"),
                "seed": self.segmenter.about.get("seed"), "side": self.segmenter.side}  # fmt: skip

    def lacks(self, test: TestSet) -> Message | None:
        """Return a reason where the labels or the segmenter are missing."""
        if test.into_labels:
            return message("the target is label maps, which the score labels reads")
        if not test.has_labels:
            return message("the inputs' labels aren't known; python -m cyclegan classes explains what is needed")
        return self.problem.message if self.problem else None

    def judges(self, answer: Answer) -> bool:
        """Return True."""
        return True

    def predict(self, batch: Batch) -> list[np.ndarray]:
        """Return the segmenter's label maps; the blind answer brings its own."""
        assert self.segmenter is not None
        if batch.predicted is None:
            batch.predicted = self.segmenter.predict(batch.fakes)  # Once for `segmentation` and `content`.
        return batch.predicted


class Labels(OfLabels):
    """Translations into label maps: each pixel has the class of the nearest colour of the palette."""

    name, prefix = "labels", "labels"

    def lacks(self, test: TestSet) -> Message | None:
        """Return a reason where the target isn't label maps."""
        if test.into_labels and test.has_labels:
            return None
        return message("the target isn't label maps of known classes")

    def judges(self, answer: Answer) -> bool:
        """Return True for answers to inputs."""
        return answer.answers_inputs

    def predict(self, batch: Batch) -> list[np.ndarray]:
        """Return the classes of the nearest colours; those of void classes aren't among the answers."""
        if batch.predicted:
            return batch.predicted
        classes = batch.test.classes
        assert classes is not None
        kept = [k for k in range(len(classes.names)) if k not in classes.void]
        palette = Classes(classes.scored, tuple(classes.colors[k] for k in kept))
        return [palette.nearest(fake) for fake in batch.fakes]


class Content(Segmentation):
    """The classes that a segmenter sees erased and invented: the answer's pixels against the input's labels."""

    name = "content"

    def figures(self, rows: Rows, test: TestSet) -> Result:
        """Return the shares of kept and invented classes, and a row for each class."""
        assert test.classes is not None
        matrices = rows["matrices"].astype(np.float64)
        totals = matrices.sum((1, 2))[:, None].clip(1)
        truth, found = matrices.sum(2), matrices.sum(1)
        hits = np.diagonal(matrices, axis1=1, axis2=2)
        present = truth / totals >= PRESENT
        kept = present & (hits >= KEPT * truth)
        absent = truth == 0
        invented = absent & (found / totals >= PRESENT)
        values, cases = {}, {}
        for key, some, of in (("content_kept", kept, present), ("content_invented", invented, absent)):
            cases[key] = [int(some.sum()), int(of.sum())]
            if of.sum() >= FEWEST_CASES:
                values[key] = Value(cases[key][0] / cases[key][1], *(share_interval(some.sum(1), of.sum(1)) or ()))
        by_class = {
            name: {
                "pixels_of_input": round(float(truth[:, k].sum() / totals.sum()), 5),
                "pixels_of_answer": round(float(found[:, k].sum() / totals.sum()), 5),
                "pictures_with_it": int(present[:, k].sum()), "erased_in": int((present & ~kept)[:, k].sum()),
                "pictures_without_it": int(absent[:, k].sum()), "invented_in": int(invented[:, k].sum()),
            }
            for k, name in enumerate(test.classes.scored)
        }  # fmt: skip
        return Result(values, {"classes": by_class, "cases": cases})
