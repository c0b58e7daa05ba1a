"""Confusion matrices and their figures, next to torchmetrics'."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassJaccardIndex

from cyclegan.data.labels import VOID
from cyclegan.evaluation.scores.confusion import accuracies, confusion


def maps(count, seed=0, shape=(40, 50)):
    """Return a truth with VOID and a prediction that is right in about half of the pixels."""
    rng = np.random.default_rng(seed)
    truth, guess = rng.integers(0, count, (2, *shape), dtype=np.uint8)
    predicted = np.where(rng.random(shape) < 0.5, truth, guess)
    truth[rng.random(shape) < 0.1] = VOID
    return truth, predicted


@pytest.mark.parametrize("count", [2, 3, 19])
def test_the_matrix_is_that_of_torchmetrics(count):
    truth, predicted = maps(count)
    found = confusion(truth, predicted, count)
    assert found.dtype == np.int64 and found.shape == (count, count)
    assert all(found[t, p] == ((truth == t) & (predicted == p)).sum() for t in range(count) for p in range(count))
    theirs = MulticlassConfusionMatrix(count, ignore_index=VOID)
    as_torch = [torch.from_numpy(each.astype(np.int64)) for each in (predicted, truth)]
    assert (found == theirs(*as_torch).numpy()).all()


def test_the_figures_are_those_of_torchmetrics_where_all_classes_occur():
    truth, predicted = maps(7)
    found = accuracies(confusion(truth, predicted, 7))
    as_torch = [torch.from_numpy(each.astype(np.int64)) for each in (predicted, truth)]
    theirs = [
        MulticlassAccuracy(7, average="micro", ignore_index=VOID), MulticlassAccuracy(7, ignore_index=VOID),
        MulticlassJaccardIndex(7, average="macro", ignore_index=VOID),
    ]  # fmt: skip
    expected = [float(each(*as_torch)) for each in theirs]
    assert [found.pixel, found.classes, found.iou] == pytest.approx(expected, abs=1e-6)
    assert found.classes_occurring == pytest.approx(found.classes) and found.iou_occurring == pytest.approx(found.iou)
    assert sum(found.shares) == pytest.approx(1)


def test_a_class_that_never_occurs_counts_as_zero_and_is_left_out_of_the_other_means():
    truth = np.array([[0, 0, 1, 1, VOID]], np.uint8)
    predicted = np.array([[0, 0, 1, 0, 2]], np.uint8)
    found = accuracies(confusion(truth, predicted, 4))
    # By hand: class 0 has 2 of 2 right and IoU 2/3, class 1 has 1 of 2 right and IoU 1/2, 2 and 3 never occur.
    assert found.pixel == pytest.approx(3 / 4)
    assert found.classes == pytest.approx(1.5 / 4) and found.classes_occurring == pytest.approx(0.75)
    assert found.iou == pytest.approx((2 / 3 + 1 / 2) / 4) and found.iou_occurring == pytest.approx(7 / 12)
    assert found.occurring == (0, 1) and found.iou_by_class[2:] == (0, 0)


def test_a_class_that_is_only_predicted_takes_nothing_from_those_that_occur_but_its_pixels():
    found = accuracies(confusion(np.zeros((1, 4), np.uint8), np.array([[0, 0, 0, 1]], np.uint8), 2))
    assert found.iou_by_class == pytest.approx((3 / 4, 0)) and found.iou_occurring == pytest.approx(3 / 4)


def test_matrices_of_pictures_add_up():
    several = [maps(5, seed) for seed in range(3)]
    whole = confusion(*(np.stack(each) for each in zip(*several, strict=True)), 5)
    assert (sum(confusion(*each, 5) for each in several) == whole).all()


def test_swapped_labels_score_badly_and_equal_ones_perfectly():
    truth, _ = maps(3)
    right = accuracies(confusion(truth, np.where(truth == VOID, 0, truth), 3))
    assert (right.pixel, right.classes, right.iou) == pytest.approx((1, 1, 1))
    wrong = accuracies(confusion(truth, np.where(truth == VOID, 0, (truth + 1) % 3), 3))
    assert (wrong.pixel, wrong.classes, wrong.iou) == (0, 0, 0)


def test_nothing_scored_is_zero():
    found = accuracies(confusion(np.full((2, 2), VOID, np.uint8), np.zeros((2, 2), np.uint8), 3))
    assert (found.pixel, found.classes, found.iou, found.classes_occurring) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("truth", "predicted", "says"),
    [([[0, 1]], [[0]], "shapes"), ([[0, 3]], [[0, 0]], "from 0 to 3"), ([[0, 0]], [[0, VOID]], "from 0 to 255")],
)
def test_maps_that_cannot_be_compared_are_a_bug(truth, predicted, says):
    with pytest.raises(ValueError, match=says):
        confusion(np.array(truth, np.uint8), np.array(predicted, np.uint8), 3)
