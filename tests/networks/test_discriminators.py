"""Discriminators: counts, sizes, and how far one logit sees."""

import pytest
import torch
from torch import nn

from cyclegan.config import ModelConfig
from cyclegan.networks import PatchDiscriminator, PixelDiscriminator, build_discriminator, initialise


def test_parameters_and_output_of_the_published_one():
    with torch.device("meta"):
        network = build_discriminator(ModelConfig())
        assert sum(parameter.numel() for parameter in network.parameters()) == 2_764_737
        assert network(torch.empty(1, 3, 256, 256)).shape == (1, 1, 30, 30)


def seen(network: nn.Module, size: int) -> tuple[int, int]:
    """Rows and columns that the middle logit's gradient reaches, without the norms, which see everything."""
    for name, module in list(network.layers.named_children()):
        if isinstance(module, nn.GroupNorm):
            network.layers[int(name)] = nn.Identity()
    x = torch.rand(1, 3, size, size, requires_grad=True)
    logits = network(x)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    touched = x.grad[0].abs().sum(dim=0) > 0
    return int(touched.any(dim=1).sum()), int(touched.any(dim=0).sum())


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_receptive_field_is_what_the_gradient_reaches(layers, field):
    network = PatchDiscriminator(4, layers)
    initialise(network, gain=0.2)
    assert network.receptive_field == field
    assert seen(network, 3 * field) == (field, field)


def test_pixel_discriminator_judges_pixels():
    network = build_discriminator(ModelConfig(discriminator="pixel", ndf=4))
    assert network.receptive_field == 1
    assert network(torch.rand(2, 3, 5, 7)).shape == (2, 1, 5, 7)
    assert seen(network, 9) == (1, 1)


@pytest.mark.parametrize("layers", [1, 3, 5])
def test_least_size(layers):
    network = PatchDiscriminator(2, layers)
    assert network(torch.rand(1, 3, network.min_size, network.min_size)).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=f"at least {network.min_size}"):
        network(torch.rand(1, 3, network.min_size - 1, 200))


def test_pixel_discriminator_needs_two_pixels():
    with pytest.raises(ValueError, match="at least 2"):
        PixelDiscriminator(2)(torch.rand(1, 3, 1, 1))


@pytest.mark.parametrize("kind", ["patch", "pixel"])
def test_logits_are_raw_and_each_picture_is_judged_by_itself(kind):
    torch.manual_seed(1)
    network = build_discriminator(ModelConfig(discriminator=kind, ndf=8, init_gain=1.0))
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    together = network(x)
    assert together.max() > 1 and together.min() < -1
    torch.testing.assert_close(together[1:], network(x[1:]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["patch", "pixel"])
def test_slope_zero_is_relu(kind):
    leaky = build_discriminator(ModelConfig(discriminator=kind, ndf=4, init_gain=0.2))
    zero = build_discriminator(ModelConfig(discriminator=kind, ndf=4, init_gain=0.2, leaky_slope=0.0))
    zero.load_state_dict(leaky.state_dict())
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    outputs = leaky(x), zero(x)
    for name, module in list(leaky.layers.named_children()):
        if isinstance(module, nn.LeakyReLU):
            leaky.layers[int(name)] = nn.ReLU()
    assert torch.equal(outputs[1], leaky(x))
    assert not torch.equal(outputs[0], leaky(x))


def test_first_layer_has_no_norm():
    layers = PatchDiscriminator(4).layers
    assert [type(layer) for layer in layers[:3]] == [nn.Conv2d, nn.LeakyReLU, nn.Conv2d]
    assert sum(isinstance(layer, nn.GroupNorm) for layer in layers) == 3


def test_a_gradient_penalty_can_be_differentiated():
    """WGAN-GP differentiates twice, which activations in place must survive."""
    network = PatchDiscriminator(4)
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    gradient.norm().backward()
    assert network.layers[0].weight.grad.abs().max() > 0


def test_no_layers_is_refused():
    with pytest.raises(ValueError, match="n_layers"):
        PatchDiscriminator(4, 0)
