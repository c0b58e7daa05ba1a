"""Instance norm against its definition, forward and backward, in every memory layout that training uses."""

import pytest
import torch

from cyclegan.config import ModelConfig
from cyclegan.networks import build_discriminator, build_generator
from cyclegan.networks.norm import instance_norm

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def by_definition(x):
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("gradient_layout", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_equals_its_definition_and_so_do_its_gradients(layout, gradient_layout, batch):
    torch.manual_seed(0)
    x, gradient = torch.randn(2, batch, 6, 8, 8, dtype=torch.float64)
    expected_input = x.clone().requires_grad_()
    expected = by_definition(expected_input)
    expected.backward(gradient)
    given = x.contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    output = instance_norm(6)(given)
    output.backward(gradient.contiguous(memory_format=LAYOUTS[gradient_layout]))
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(given.grad, expected_input.grad)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("build", "model"),
    [
        (build_generator, ModelConfig(generator="resnet_6", ngf=4)),
        (build_generator, ModelConfig(generator="resnet_6", ngf=4, upsample="resize")),
        (build_generator, ModelConfig(generator="encoder_decoder", ngf=4)),
        (build_generator, ModelConfig(generator="unet_128", ngf=2)),
        (build_discriminator, ModelConfig(ndf=4)),
        (build_discriminator, ModelConfig(ndf=4, discriminator="pixel")),
    ],
)
def test_gradients_of_whole_networks_do_not_depend_on_the_memory_layout(build, model, batch):
    torch.manual_seed(0)
    network, size = build(model).double(), 128 if model.generator == "unet_128" else 32
    x = torch.randn(batch, 3, size, size, dtype=torch.float64)
    results = []
    for layout in LAYOUTS.values():
        network.to(memory_format=layout)
        network.zero_grad()
        network(x.contiguous(memory_format=layout)).square().mean().backward()
        results.append([p.grad.clone() for p in network.parameters()])
    for contiguous, channels_last in zip(*results, strict=True):
        torch.testing.assert_close(contiguous, channels_last, rtol=1e-6, atol=1e-12)


def test_statistics_stay_in_fp32_in_mixed_precision():
    """Forward and backward are then as good as the type allows: as the fp32 result, rounded once."""
    torch.manual_seed(0)
    x, gradient = (torch.randn(2, 1, 8, 64, 64) + 3).bfloat16()
    short, full = x.clone().requires_grad_(), x.float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        output = instance_norm(8)(short)
    output.backward(gradient)
    expected = instance_norm(8)(full)
    expected.backward(gradient.float())
    assert output.dtype == torch.bfloat16
    for ours, theirs in ((output, expected), (short.grad, full.grad)):
        error, least = ((y.float() - theirs).norm() / theirs.norm() for y in (ours, theirs.bfloat16()))
        assert error < 1.05 * least


def test_a_picture_of_one_colour_has_ordinary_gradients_in_mixed_precision():
    """Each norm of such a picture divides rounding by the root of eps; kernels for short types made 1e7 of it."""
    largest = {}
    for short in (False, True):
        torch.manual_seed(0)
        there, back = (build_generator(ModelConfig(generator="resnet_6", ngf=8)) for _ in range(2))
        optimiser = torch.optim.Adam([*there.parameters(), *back.parameters()], lr=2e-3)
        for step in range(12):
            x = torch.rand(1, 3, 32, 32) * 2 - 1 if step < 11 else torch.full((1, 3, 32, 32), 0.3)
            with torch.autocast("cpu", torch.bfloat16, enabled=short):
                loss = (back(there(x)) - x).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            largest[short, step] = max(float(p.grad.abs().max()) for p in there.parameters())
            optimiser.step()
    assert largest[True, 11] < 10 * max(largest[False, step] for step in range(12))
