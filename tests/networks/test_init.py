"""Initial weights: N(0, gain), biases 0, the same for the same seed."""

import pytest
import torch
from torch import nn

from cyclegan.config import ModelConfig
from cyclegan.networks import build_discriminator, build_generator, initialise


@pytest.mark.parametrize("gain", [0.02, 0.1])
def test_weights_are_normal_and_biases_zero(gain):
    torch.manual_seed(0)
    network = build_generator(ModelConfig(generator="resnet_6", ngf=16, init_gain=gain))
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert torch.equal(parameter, torch.zeros_like(parameter)), name
        else:
            assert float(parameter.detach().std()) == pytest.approx(gain, rel=0.1), name
            assert abs(float(parameter.detach().mean())) < gain / 10, name
    weights = network.blocks[0].conv1.weight.detach().flatten() / gain
    assert float((weights.abs() < 1).float().mean()) == pytest.approx(
        0.683, abs=0.01
    )  # a normal, not a uniform


@pytest.mark.parametrize("build", [build_generator, build_discriminator])
def test_the_global_seed_decides(build):
    config = ModelConfig(generator="resnet_6", ngf=2, ndf=2)

    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in build(config).parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_a_generator_of_ones_own_decides_and_leaves_the_global_one_alone():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 3, 3))
    state = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        assert initialise(network, gain=0.02, generator=torch.Generator().manual_seed(5)) is network
        drawn.append(torch.cat([parameter.flatten() for parameter in network.parameters()]))
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), state)


def test_affine_norms_start_as_no_change():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(4, 4))
    nn.init.constant_(network[1].weight, 7.0)
    nn.init.constant_(network[1].bias, 7.0)
    initialise(network, gain=0.02)
    assert torch.equal(network[1].weight, torch.ones(4))
    assert torch.equal(network[1].bias, torch.zeros(4))


def test_nothing_is_drawn_where_there_are_no_values(monkeypatch):
    """Checkpoints build their networks so. Drawing would change nothing, and load a compiler first."""
    monkeypatch.setattr(torch.Tensor, "normal_", None)
    with torch.device("meta"):
        network = build_generator(ModelConfig(generator="resnet_6", ngf=2))
    assert all(parameter.is_meta for parameter in network.parameters())
