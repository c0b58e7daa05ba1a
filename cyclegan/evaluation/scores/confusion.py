"""The confusion matrix of label maps, and the three figures that the paper takes from it (its tables 2 to 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cyclegan.data.labels import VOID


@dataclass(frozen=True)
class Accuracies:
    """Figures of one confusion matrix, all from 0 to 1.

    `pixel`, `classes` and `iou` are the paper's, computed as in pix2pix's script eval_cityscapes: a class that never
    occurs in the truth counts as 0 in both means.
    """

    pixel: float
    """The share of pixels that are right."""
    classes: float
    """The mean over the classes of the share of a class's pixels that are right."""
    iou: float
    """The mean over the classes of intersection over union."""
    classes_by_class: tuple[float, ...]
    """The share of right pixels of each class; 0 for one that never occurs."""
    iou_by_class: tuple[float, ...]
    """Intersection over union of each class; 0 for one that never occurs."""
    shares: tuple[float, ...]
    """The share of all pixels that each class has in the truth."""

    @property
    def occurring(self) -> tuple[int, ...]:
        """The classes that occur in the truth."""
        return tuple(np.flatnonzero(self.shares).tolist())

    @property
    def classes_occurring(self) -> float:
        """The mean of the classes' accuracies over those that occur; 0 if none does."""
        return self._mean(self.classes_by_class)

    @property
    def iou_occurring(self) -> float:
        """The mean intersection over union of the classes that occur; 0 if none does."""
        return self._mean(self.iou_by_class)

    def _mean(self, values: tuple[float, ...]) -> float:
        return float(np.mean([values[each] for each in self.occurring])) if self.occurring else 0.0


def confusion(truth: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Return the confusion matrix of two index maps. Matrices of several pictures are added.

    Args:
        truth: integers of any shape, 0 to count - 1, or VOID where a pixel isn't scored.
        predicted: of the same shape; 0 to count - 1 wherever the truth is scored.
        count: the number of classes.

    Returns:
        int64 (count, count); a row for each class of the truth, a column for each class that was predicted.

    Raises:
        ValueError: the shapes differ, or a value is out of range.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        raise ValueError(f"index maps of the shapes {truth.shape} and {predicted.shape} can't be compared")
    scored = truth != VOID
    rows, columns = truth[scored].astype(np.int64), predicted[scored].astype(np.int64)
    for values in (rows, columns):
        if values.size and not (values.min() >= 0 and values.max() < count):
            raise ValueError(f"an index map has values from {values.min()} to {values.max()}, not 0 to {count - 1}")
    return np.bincount(rows * count + columns, minlength=count * count).reshape(count, count)


def accuracies(matrix: np.ndarray) -> Accuracies:
    """Return the figures of a confusion matrix, as `confusion` returns it; all 0 where nothing is scored."""
    right = np.diag(matrix).astype(np.float64)
    truth, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    total, tiny = matrix.sum() + 1e-12, 1e-12  # As published: what never occurs counts as 0.
    by_class, iou = right / (truth + tiny), right / (truth + predicted - right + tiny)
    return Accuracies(
        pixel=float(right.sum() / total), classes=float(by_class.mean()), iou=float(iou.mean()),
        classes_by_class=tuple(by_class.tolist()), iou_by_class=tuple(iou.tolist()),
        shares=tuple((truth / total).tolist()),
    )  # fmt: skip
