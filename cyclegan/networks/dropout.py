"""Dropout that also drops values while translating (Isola et al., 2017, section 3.1), by a draw that never changes."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

SIDE = 64
"""A draw covers this many rows and columns of a feature map, and repeats on a larger one."""


class FixedDropout(nn.Dropout):
    """Dropout of a half: a new draw at each training step, and one fixed draw, the layer's own, in evaluation mode.

    The published networks draw anew for each translation, with little effect on the picture. With a fixed draw, which
    a value's channel, row and column decide, a translation depends on nothing but the picture: alone or in a batch,
    whole or in pieces, on any device. Frames of a video don't flicker.

    Args:
        channels: C of the input (N, C, H, W).
        number: the layer's number; other numbers have other draws.
    """

    def __init__(self, channels: int, number: int) -> None:
        super().__init__(0.5)
        self.channels, self.number = channels, number
        self.register_buffer("constant", None)  # The draw, only where an exporter needs it as a part of the network.

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of (N, C, H, W); the same shape."""
        return super().forward(x) if self.training else self.drop(x)

    def drop(self, x: Tensor, top: int = 0, left: int = 0) -> Tensor:
        """Drop by the fixed draw; (N, C, H, W) is the part of a feature map from this row and column on."""
        rows, columns = (
            torch.arange(first, first + side, device=x.device) % SIDE
            for first, side in zip((top, left), x.shape[2:], strict=True)
        )
        drawn = self.draw(x.device) if self.constant is None else self.constant
        kept = drawn[:, rows][:, :, columns]
        return x * (2 * kept.to(x.dtype))

    def draw(self, device: torch.device) -> Tensor:
        """Return the fixed draw, bool (C, SIDE, SIDE): True where a value is kept, and doubled."""
        return _draw(self.channels, self.number, device)


@lru_cache(maxsize=256)  # Not a buffer, which loading would leave empty and DDP would send around at each step.
def _draw(channels: int, number: int, device: torch.device) -> Tensor:
    # Drawn on the CPU, so that every device has the same; a tensor of inference mode couldn't be used outside it.
    with torch.inference_mode(False):
        chance = torch.Generator().manual_seed(number)
        drawn = torch.rand(channels, SIDE, SIDE, generator=chance, device="cpu") < 0.5
        return drawn.to(device)


def dropout_layer(channels: int, number: int, *, at_test: bool) -> nn.Dropout:
    """Return a layer that drops half of the values while training and, with `at_test`, while translating."""
    return FixedDropout(channels, number) if at_test else nn.Dropout(0.5)
