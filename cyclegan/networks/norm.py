"""Instance norm (paper section 4; Ulyanov et al., 2016), as the networks here use it; and a norm of whole pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PictureNorm(nn.GroupNorm):
    """Normalises each picture by the mean and variance of all its channels; with a scale and a shift per channel.

    It keeps the channels' means apart, which instance norm erases: a picture that is drawn from nothing but a latent
    vector has its overall colours in them.

    Args:
        channels: C of the input (N, C, H, W).
        groups: groups of channels that are normalised by themselves.
    """

    def __init__(self, channels: int, groups: int = 1, *, affine: bool = True) -> None:
        super().__init__(groups, channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W); the same shape and type."""
        if x.dtype not in (torch.bfloat16, torch.float16):
            return super().forward(x)
        return super().forward(x.float()).to(x.dtype)


class InstanceNorm(PictureNorm):
    """Normalises each channel of each picture by its own mean and variance; eps 1e-5, no memory.

    Group norm with a group per channel is the same function. `nn.InstanceNorm2d` is not used, because for a batch of
    one whose gradients are channels-last, its backward pass on CPUs silently returns wrong gradients (seen in torch
    2.15; tests/networks/test_norm.py holds the case).

    In mixed precision it is computed in fp32, forward and backward, and returned in the input's type. Kernels for
    short types keep means and deviations as short for the backward pass, or lose the rest of a nearly flat picture:
    gradients of 1e7 and above were seen for a picture of one colour.
    """

    def __init__(self, channels: int, *, affine: bool = False) -> None:
        super().__init__(channels, channels, affine=affine)


def instance_norm(channels: int, *, affine: bool = False) -> InstanceNorm:
    """Return a layer of `InstanceNorm`.

    Args:
        channels: C of the input (N, C, H, W).
        affine: learn a scale and a shift per channel; only old imported weights have them.
    """
    return InstanceNorm(channels, affine=affine)
