"""Generators: sizes, ranges, counts, independence of the batch, and what the settings change."""

import pytest
import torch
from torch import nn

from cyclegan import config
from cyclegan.config import UPSAMPLES, ModelConfig
from cyclegan.errors import ConfigError
from cyclegan.networks import UnetGenerator, build_generator, initialise

GENERATORS = tuple(name for name in config.GENERATORS if name != "coupled")
"""Those that take pictures of any size; tests/networks/test_coupled.py has the other."""


def small(generator: str = "resnet_6", **settings) -> ModelConfig:
    return ModelConfig(generator=generator, ngf=4, **settings)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def pictures(number: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(number, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(
    ("generator", "parameters"),
    [
        ("resnet_9", 11_378_179),
        ("resnet_6", 7_837_699),
        # The authors' U-Net 256 with batch norm has 54,413,955: less its norms' scales and shifts
        # (9,856), plus the biases that its convolutions lack (5,504).
        ("unet_256", 54_413_955 - 9_856 + 5_504),
        # One 512 → 512 level less: a convolution down and, from the concatenation, one up.
        ("unet_128", 54_409_603 - (512 * 512 * 16 + 512) - (1024 * 512 * 16 + 512)),
    ],
)
def test_parameters_of_the_published_networks(generator, parameters):
    with torch.device("meta"):
        assert count(build_generator(ModelConfig(generator=generator))) == parameters


@pytest.mark.parametrize("upsample", UPSAMPLES)
@pytest.mark.parametrize("generator", GENERATORS)
def test_keeps_the_shape_and_the_range(generator, upsample):
    network = build_generator(small(generator, upsample=upsample, init_gain=0.5)).eval()
    width = network.min_size + network.size_multiple
    x = pictures(1, width)[:, :, : network.min_size]
    with torch.inference_mode():
        y = network(x)
    assert y.shape == x.shape == (1, 3, network.min_size, width)
    assert y.abs().max() <= 1
    assert y.std() > 0.01  # and something comes out


@pytest.mark.parametrize(
    ("generator", "multiple"),
    [("resnet_9", 4), ("resnet_6", 4), ("unet_256", 256), ("unet_128", 128), ("encoder_decoder", 16)],
)
def test_wrong_sizes_are_refused_by_name(generator, multiple):
    network = build_generator(small(generator))
    assert network.size_multiple == multiple
    for height, width in [(2 * multiple + 1, 2 * multiple), (2 * multiple, 2 * multiple - 2)]:
        with pytest.raises(ValueError, match=rf"{width}×{height}.*multiples of {multiple}\b"):
            network(torch.zeros(1, 3, height, width))


@pytest.mark.parametrize(
    ("generator", "least"), [("resnet_6", 8), ("encoder_decoder", 32), ("unet_128", 128)]
)
def test_too_small_is_refused_and_the_least_size_is_not(generator, least):
    network = build_generator(small(generator))
    assert network.min_size == least
    network(torch.zeros(1, 3, least, least))
    with pytest.raises(ValueError, match=f"at least {least}"):
        network(torch.zeros(1, 3, least - network.size_multiple, least))


def test_wrong_channels_are_refused():
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\), not \(1, 4, 32, 32\)"):
        build_generator(small())(torch.zeros(1, 4, 32, 32))


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_result_does_not_depend_on_the_rest_of_the_batch(generator):
    torch.manual_seed(0)
    network = build_generator(small(generator, init_gain=0.2))  # training mode: batch norm would show
    x = pictures(2, max(32, network.min_size))
    x[1] = x[1] * 0.1 - 0.8
    together = network(x)
    for i in range(2):
        # Kernels for another batch size round otherwise, to 1e-5 over these layers.
        torch.testing.assert_close(together[i : i + 1], network(x[i : i + 1]), rtol=0, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-2


@pytest.mark.parametrize("upsample", UPSAMPLES)
@pytest.mark.parametrize("generator", GENERATORS)
def test_state_dict_round_trip(generator, upsample):
    config = small(generator, upsample=upsample, norm_affine=True)
    torch.manual_seed(1)
    first, second = build_generator(config).eval(), build_generator(config).eval()
    x = pictures(1, first.min_size)
    with torch.inference_mode():
        assert not torch.equal(first(x), second(x))
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(x), second(x))


def test_keys_say_what_they_are():
    keys = set(build_generator(small("resnet_9")).state_dict())
    assert {"stem.conv.weight", "down.1.conv.bias", "blocks.8.conv2.weight"} <= keys
    assert {"up.0.conv.weight", "head.bias"} <= keys
    assert len(keys) == 48


@pytest.mark.parametrize("generator", GENERATORS)
def test_dropout_acts_in_training_only(generator):
    network = build_generator(small(generator, dropout=True, init_gain=0.2))
    drops = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    expected = {"resnet_9": 9, "resnet_6": 6, "unet_256": 3, "unet_128": 2, "encoder_decoder": 1}
    assert len(drops) == expected[generator]
    x = pictures(1, network.min_size)
    with torch.inference_mode():
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))


@pytest.mark.parametrize("generator", ["unet_128", "encoder_decoder"])
def test_slope_zero_is_relu(generator):
    leaky = build_generator(small(generator, leaky_slope=0.2, init_gain=0.2)).eval()
    zero = build_generator(small(generator, leaky_slope=0.0, init_gain=0.2)).eval()
    zero.load_state_dict(leaky.state_dict())
    x = pictures(1, leaky.min_size)
    with torch.inference_mode():
        outputs = leaky(x), zero(x)
        for stage in leaky.down:
            if hasattr(stage, "act"):
                stage.act = nn.ReLU()
        relu = leaky(x)
    assert torch.equal(outputs[1], relu)
    assert not torch.equal(outputs[0], relu)


def test_unet_skips_carry_what_the_bottleneck_loses():
    network = UnetGenerator(7, 4)
    initialise(network, gain=0.2)
    with torch.no_grad():
        network.up[0].conv.weight.zero_()  # nothing passes the innermost level
        a, b = network.eval()(pictures(1, 128, seed=1)), network(pictures(1, 128, seed=2))
    assert (a - b).abs().max() > 1e-3


def test_gradients_reach_every_weight():
    for generator in ("resnet_6", "unet_128", "encoder_decoder"):
        for upsample in UPSAMPLES:
            network = build_generator(small(generator, upsample=upsample))
            network(pictures(1, network.min_size)).square().mean().backward()
            for name, parameter in network.named_parameters():
                assert parameter.grad is not None, name
                if name.endswith("weight"):
                    assert parameter.grad.abs().max() > 0, name


def test_channels_last_changes_nothing():
    network = build_generator(small(init_gain=0.2)).eval()
    x = pictures(1, 32)
    with torch.inference_mode():
        plain = network(x)
        network.to(memory_format=torch.channels_last)
        last = network(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, last, rtol=0, atol=1e-5)


def test_exports_with_sides_left_open():
    network = build_generator(small(init_gain=0.2)).eval()
    side = torch.export.Dim("quarter", min=2, max=256)
    sides = {"x": {2: 4 * side, 3: 4 * side}}
    program = torch.export.export(network, (pictures(1, 32),), dynamic_shapes=sides)
    x = pictures(1, 48)
    torch.testing.assert_close(program.module()(x), network(x), rtol=0, atol=1e-5)


def test_a_setting_that_does_not_validate_is_refused():
    with pytest.raises(ConfigError, match="--generator"):
        build_generator(ModelConfig(generator="vit"))
    with pytest.raises(ValueError, match="n_down"):
        UnetGenerator(4)


def test_resize_leaves_no_checkerboard_in_a_flat_picture():
    """A transposed 3×3 kernel reaches pixels 1, 2 or 4 times; resize and convolve is even inside."""

    def unevenness(upsample: str) -> float:
        torch.manual_seed(0)
        up = build_generator(small(upsample=upsample, init_gain=0.2)).up[0]
        with torch.inference_mode():
            flat = torch.ones(1, 16, 8, 8)
            inside = up.conv(up.resize(flat) if upsample == "resize" else flat)
        return float(inside[:, :, 4:-4, 4:-4].std(dim=(2, 3)).max())

    assert unevenness("resize") < 1e-5
    assert unevenness("transpose") > 0.1
