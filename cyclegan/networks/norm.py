"""Instance norm (paper section 4; Ulyanov et al., 2016), as the networks here use it."""

from __future__ import annotations

from torch import nn


def instance_norm(channels: int, *, affine: bool = False) -> nn.GroupNorm:
    """A layer that normalises each channel of each picture by its own mean and variance; eps 1e-5, no memory.

    It is spelled as group norm with a group per channel, which is the same function. `nn.InstanceNorm2d` is not
    used: for a batch of one whose gradients are channels-last, its backward pass on CPUs returns wrong gradients
    without a word (seen in torch 2.15; tests/networks/test_norm.py holds the case).

    Args:
        channels: C of the input (N, C, H, W).
        affine: learn a scale and a shift per channel; only old imported weights have them.
    """
    return nn.GroupNorm(channels, channels, affine=affine)
