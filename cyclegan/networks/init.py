"""The initial weights: a Gaussian with mean 0 and standard deviation 0.02 (paper, appendix)."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def initialise(module: nn.Module, *, gain: float, generator: torch.Generator | None = None) -> nn.Module:
    """Draw the weights of every convolution and linear layer from N(0, gain) and set its biases to 0, in place.

    The scales and shifts of affine norm layers become 1 and 0. The draw visits the layers in the order of
    `module.modules()`, so it is the same for the same architecture and the same seed.

    Args:
        module: network to initialise; on the meta device, where there are no values, nothing happens.
        gain: standard deviation of the weights; the paper's is 0.02.
        generator: source of randomness, on the device of the weights; None draws from torch's global one.

    Returns:
        `module`.
    """
    if any(parameter.is_meta for parameter in module.parameters()):
        return module  # torch would spend a second on loading its compiler.
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            layer.weight.normal_(0.0, gain, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
        elif isinstance(layer, nn.GroupNorm) and layer.affine:
            layer.weight.fill_(1.0)
            layer.bias.zero_()
    return module
