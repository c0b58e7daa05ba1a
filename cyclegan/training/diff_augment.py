"""Differentiable augmentation of what discriminators see (Zhao et al. 2020, arXiv 2006.10738), for small sets.

Discriminators that see each picture changed by chance can't learn few pictures by heart; and because fakes are changed
in the same way and gradients pass through, the generators don't learn the changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


class DiffAugment:
    """Changes the input of discriminators in training mode, with one draw per step: real and fake get the same.

    Args:
        kinds: of color (brightness, saturation, contrast), translation (up to an eighth, zeros come in) and cutout (a
            square of half the side becomes zero), with the amounts of the paper's code.
    """

    def __init__(self, kinds: Sequence[str]) -> None:
        self.kinds = tuple(kinds)
        self.draws = torch.zeros(1, 7)

    def watch(self, discriminators: Iterable[nn.Module]) -> None:
        """Change all pictures that these networks are given while they train; before a DDP wrapper goes around them."""
        if self.kinds:
            for network in discriminators:
                network.register_forward_pre_hook(self._before)

    def draw(self, batch_size: int, device: torch.device) -> None:
        """Draw the changes of a step from torch's global random state of the CPU, which a training state holds."""
        if self.kinds:
            self.draws = torch.rand(batch_size, 7).to(device, non_blocking=True)

    def _before(self, network: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        return tuple(map(self.changed, given)) if network.training else None

    def changed(self, pictures: Tensor) -> Tensor:
        """Return pictures changed by the step's draws.

        Args:
            pictures: (N, C, H, W) in [-1, 1]; C is 3, or 6 for a picture next to its input. N may be a multiple of the
                step's batch: the picture at n is changed like those at n plus or minus batches.
        """
        draws = self.draws.to(pictures.device)
        draws = draws.repeat(-(-len(pictures) // len(draws)), 1)[: len(pictures)]
        if "color" in self.kinds:
            pictures = _coloured(pictures, draws[:, :3])
        if "translation" in self.kinds:
            pictures = _translated(pictures, draws[:, 3:5])
        return _cut_out(pictures, draws[:, 5:7]) if "cutout" in self.kinds else pictures


def _coloured(pictures: Tensor, draws: Tensor) -> Tensor:
    """Change brightness by ±0.5, saturation by 0 to 2, contrast by 0.5 to 1.5, each picture of a pair for itself."""
    brightness, saturation, contrast = draws[:, :, None, None, None].unbind(1)
    x = pictures.unflatten(1, (-1, 3)) + (brightness - 0.5).unsqueeze(1)
    grey = x.mean(dim=2, keepdim=True)
    x = grey + (x - grey) * (2 * saturation).unsqueeze(1)
    mean = x.mean(dim=(2, 3, 4), keepdim=True)
    return (mean + (x - mean) * (0.5 + contrast).unsqueeze(1)).flatten(1, 2)


def _translated(pictures: Tensor, draws: Tensor) -> Tensor:
    """Shift by up to an eighth of each side; zeros come in."""
    rows, columns = (
        torch.arange(side, device=pictures.device)[None] - _whole(2 * draws[:, [n]] - 1, side / 8)
        for n, side in enumerate(pictures.shape[2:])
    )
    inside = [(at >= 0) & (at < side) for at, side in zip((rows, columns), pictures.shape[2:], strict=True)]
    rows, columns = (at.clamp(0, side - 1) for at, side in zip((rows, columns), pictures.shape[2:], strict=True))
    number = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    moved = pictures.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return moved * (inside[0][:, None, :, None] & inside[1][:, None, None, :])


def _cut_out(pictures: Tensor, draws: Tensor) -> Tensor:
    """Set a rectangle of half the height and width to zero, whose centre is anywhere in the picture."""
    near = []
    for n, side in enumerate(pictures.shape[2:]):
        centre = (draws[:, [n]] * side).floor()
        near.append((torch.arange(side, device=pictures.device)[None] + 0.5 - centre).abs() <= side / 4)
    return pictures * ~(near[0][:, None, :, None] & near[1][:, None, None, :])


def _whole(share: Tensor, most: float) -> Tensor:
    """Return whole pixels for shares from -1 to 1 of `most`."""
    return (share * most).round().long()
