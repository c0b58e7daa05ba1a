"""A test set of small streets, described by a stand-in for a network of features: the pixels themselves."""

import pytest
import torch
import torch.nn.functional as F

from cyclegan.config import DataConfig
from cyclegan.data import find_data
from cyclegan.evaluation.scores import describe
from cyclegan.evaluation.scores.sets import TestSet

COUNT = 60
"""Scenes: enough for NDB."""


class Pixels(torch.nn.Module):
    """Describes a picture by its 4×4 mean colours, and compares pictures at 16×16."""

    name, side = "pixels", 32

    def pooled(self, pictures):
        return F.adaptive_avg_pool2d(pictures, 4).flatten(1)

    def described(self, pictures):
        return self.pooled(pictures), [F.adaptive_avg_pool2d(pictures, 16)]


@pytest.fixture(scope="session")
def kept_features(tmp_path_factory):
    """The folder in which features are kept."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(autouse=True)
def no_network_of_features(monkeypatch, kept_features):
    """Every test of scores is quick, and leaves the person's own cache alone."""
    monkeypatch.setattr(describe, "build_score_features", lambda name, weights=None: Pixels())
    monkeypatch.setattr(describe, "cache_folder", lambda: kept_features)


def streets(count, more="", size=32):
    return DataConfig(f"streets:count={count},test_count={count},size={size}{more}", crop_size=size, load_size=size)


@pytest.fixture(scope="module")
def night(kept_features):
    """Day → night."""
    config = streets(COUNT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(describe, "build_score_features", lambda name, weights=None: Pixels())
        return TestSet(find_data(config), config, "ab", describe.Describer("pixels"))


@pytest.fixture(scope="module")
def maps():
    """Day → labels."""
    config = streets(15, ",a=day,b=labels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(describe, "build_score_features", lambda name, weights=None: Pixels())
        return TestSet(find_data(config), config, "ab", describe.Describer("pixels"))
