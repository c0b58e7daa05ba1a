"""The protocol between the trainer and a training method: what a method owns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cyclegan.config import DIRECTIONS, Direction, MethodConfig, TrainConfig
from cyclegan.networks.winograd import use_winograd

Batch = dict[str, Tensor]
"""Pictures by name, `real_a`, `fake_b` and so on: (N, C, H, W) in [-1, 1], on the device."""
Loss = tuple[Tensor, dict[str, Tensor], Batch]
"""The sum to minimise; its terms by name, unweighted, 0-dim; and the fakes that later groups need."""


@dataclass(frozen=True)
class OptimiserGroup:
    """Networks that one optimiser moves, and the loss that moves them."""

    name: str
    networks: tuple[str, ...]
    """Names of the networks whose weights move."""
    loss: Callable[[Batch, Batch], Loss | None]
    """Called with the batch and with what `Method.remember` made of the fakes of the groups before; returns None where
    the options leave the group out. It must not read values on the host, because the device would be waited for."""
    frozen: tuple[str, ...] = ()
    """Names of networks that the loss uses and that need no gradients meanwhile."""
    steps: int = 1
    """Optimiser steps on each batch; the loss is computed again for each."""
    discriminators: bool = False
    """True if the networks judge: the flags for discriminators hold for them."""
    compilable: bool = True
    """False where torch.compile can't take the loss, because it needs gradients of gradients."""


class Method:
    """A training method: it owns whatever differs between methods.

    The trainer owns devices, precision, processes, optimiser steps and state. In each step it goes through `groups` in
    their order. Subclasses create their networks in the constructor, from torch's global random state.

    Args:
        config: the run; `config.loss` is an instance of the method's `Config`.
        process_index: number of this process, for draws that must differ between processes.

    Attributes:
        networks: all networks by name. The trainer replaces each by its prepared (DDP) self.
        groups: the optimiser groups, in the order of their steps.
    """

    Config: ClassVar[type[MethodConfig]]
    """The method's options, with their defaults; each field is a flag."""
    paired: ClassVar[bool] = False
    """True if it trains on aligned pairs of pictures."""
    directions: tuple[Direction, ...] = DIRECTIONS
    """Directions that its checkpoints translate; an instance may have fewer, by its options."""

    fixed: Mapping[str, nn.Module] = {}
    """Networks that losses use and nothing ever trains, by name. The trainer moves them to the device; no checkpoint or
    training state holds them."""

    networks: dict[str, nn.Module]
    groups: tuple[OptimiserGroup, ...]

    def __init__(self, config: TrainConfig, *, process_index: int = 0) -> None:
        raise NotImplementedError

    @property
    def published(self) -> tuple[str, ...]:
        """Names of the networks that a checkpoint's generators come from: `gen_ab` for direction "ab"."""
        return tuple(f"gen_{direction}" for direction in self.directions)

    def to_generators(self, networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
        """Return the generators that a checkpoint holds, `gen_ab` for direction "ab"; they share their weights.

        Args:
            networks: those that `published` names, or averages of them.
        """
        return dict(networks)

    def from_generators(self, weights: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Mapping[str, Tensor]]:
        """Return the state dicts of the method's networks by name: the inverse of `to_generators`.

        Args:
            weights: state dicts of a checkpoint's generators, `gen_ab` for direction "ab"; one may be missing.
        """
        return dict(weights)

    def prepare(self, batch: Batch) -> None:
        """Make the parts whose size the first batch decides, before any is loaded or moved to a device.

        A method that has no such parts leaves this method as it is; the first batch is then not read in advance.

        Args:
            batch: `real_a` and `real_b` of this process's first batch, on the CPU.
        """

    def use_winograd(self) -> None:
        """Let every network but the judges compute its 3×3 convolutions by Winograd's method where that is faster.

        It has no gradients of gradients, which some losses need from judges.
        """
        judging = {name for group in self.groups if group.discriminators for name in group.networks}
        for name in self.networks.keys() - judging:
            use_winograd(self.networks[name])

    def remember(self, fakes: Batch, keep: Tensor) -> Batch:
        """Return the fakes that later groups see in place of a group's own, e.g. a mixture with earlier ones.

        Args:
            fakes: from the group's loss.
            keep: bool, 0-dim, on the device: False if the step isn't finite, so that nothing of it may be kept.
        """
        return fakes

    def judges(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Return by domain a function from pictures (N, 3, H, W) to a bool map: True where they look real.

        Only of discriminators that judge a picture by itself; the figures of an epoch use them.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return what this process needs to continue besides weights: tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from `state_dict()`'s result, with tensors on `device`."""


def bare(network: nn.Module) -> nn.Module:
    """Return the network inside a DDP wrapper: a frozen one must not start the wrapper's gradient reduction."""
    return getattr(network, "module", network)
