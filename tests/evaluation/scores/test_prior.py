"""Answers without looking, from the training labels."""

import numpy as np
import pytest

from cyclegan.data import find_data
from cyclegan.data.labels import VOID
from cyclegan.errors import DataError
from cyclegan.evaluation.scores.prior import blind_prior, prior_of, square_labels
from cyclegan.evaluation.segmenter import square_config


def test_the_commonest_class_of_each_position():
    maps = [np.array(each, np.uint8) for each in ([[0, 1, VOID]], [[0, 1, VOID]], [[2, 0, VOID]], [[0, 1, VOID]])]
    found = prior_of(maps, 3)
    assert found.map.dtype == np.uint8 and found.map.tolist() == [[0, 1, 0]], "unlabelled everywhere: the commonest"
    assert found.commonest == 0


def test_labels_that_are_all_void_are_refused():
    with pytest.raises(DataError, match="none of the classes that are scored"):
        prior_of([np.full((2, 2), VOID, np.uint8)], 3)


def test_the_prior_of_a_data_set_is_square_and_of_its_training_labels():
    splits = find_data(square_config(16, dataset="streets:size=32x16,count=2,test_count=1"))
    domain, classes, config = splits.train_a, splits.classes, square_config(16)
    found = blind_prior(domain, classes, config)
    maps = np.stack([square_labels(domain, index, config) for index in range(2)])
    by_hand = np.stack([(maps == number).sum(0) for number in range(classes.count)])
    assert found.map.shape == (16, 16) and (found.map == by_hand.argmax(0)).all()
    assert found.commonest == by_hand.sum((1, 2)).argmax()
    first = blind_prior(domain, classes, square_config(16, max_images=1))
    assert (first.map == maps[0]).all()
