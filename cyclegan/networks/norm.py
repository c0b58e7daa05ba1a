"""Instance norm (paper section 4; Ulyanov et al., 2016), as the networks here use it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class InstanceNorm(nn.GroupNorm):
    """Normalises each channel of each picture by its own mean and variance; eps 1e-5, no memory.

    It is spelled as group norm with a group per channel, which is the same function. `nn.InstanceNorm2d` is not
    used: for a batch of one whose gradients are channels-last, its backward pass on CPUs returns wrong gradients
    without a word (seen in torch 2.15; tests/networks/test_norm.py holds the case).

    In mixed precision, means and variances stay in fp32, and pictures as short as they come: autocast would have GPUs
    write them out in fp32, twice the memory for the same result.
    """

    def __init__(self, channels: int, *, affine: bool = False) -> None:
        super().__init__(channels, channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape and type."""
        if self.affine or x.dtype not in (torch.bfloat16, torch.float16):
            return super().forward(x)
        scale = shift = None
        if x.device.type == "cpu":  # Its kernel keeps the statistics in the type of the scale, else in that of `x`.
            scale, shift = torch.ones(self.num_channels), torch.zeros(self.num_channels)
        with torch.autocast(x.device.type, enabled=False):
            return F.group_norm(x, self.num_groups, scale, shift, self.eps)


def instance_norm(channels: int, *, affine: bool = False) -> InstanceNorm:
    """A layer of `InstanceNorm`.

    Args:
        channels: C of the input (N, C, H, W).
        affine: learn a scale and a shift per channel; only old imported weights have them.
    """
    return InstanceNorm(channels, affine=affine)
