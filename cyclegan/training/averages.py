"""Averages over the steps of a training, without waiting for the device: of losses, and of weights (`--ema`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class RunningMeans:
    """Means of losses, summed on the device, so that only reading them waits for it. NaN is left out.

    Args:
        totals, counts: by name, to continue earlier sums.
    """

    def __init__(self, totals: dict[str, Tensor] | None = None, counts: dict[str, int] | None = None) -> None:
        self.names = tuple(totals or ())
        self.totals = torch.stack(list(totals.values())) if totals else torch.zeros(0)
        counted = [counts[name] for name in self.names] if counts else []
        self.counts = torch.tensor(counted, dtype=torch.int64, device=self.totals.device)

    def add(self, losses: dict[str, Tensor]) -> None:
        """Add one step's losses, each 0-dim; nothing waits for the device."""
        if not losses:
            return
        if new := [name for name in losses if name not in self.names]:
            device = losses[new[0]].device
            # Apple's GPUs have no float64.
            nothing = torch.zeros(len(new), device=device, dtype=None if device.type == "mps" else torch.float64)
            self.names += tuple(new)
            self.totals = torch.cat([self.totals.to(nothing), nothing])
            self.counts = torch.cat([self.counts.to(device), nothing.long()])
        if missing := [name for name in self.names if name not in losses]:
            losses = losses | dict.fromkeys(missing, torch.full((), torch.nan, device=self.totals.device))
        values = torch.stack([losses[name] for name in self.names])
        self.totals += values.nan_to_num(nan=0.0)
        self.counts += ~values.isnan()

    def means(self) -> dict[str, float]:
        """Return the mean of each term that had values since the last `clear`; waits for the device."""
        totals, counts = self.totals.tolist(), self.counts.tolist()
        return {name: t / c for name, t, c in zip(self.names, totals, counts, strict=True) if c}

    def clear(self) -> None:
        """Start again."""
        self.__init__()

    def state(self) -> list[dict[str, Any]]:
        """Return the constructor's arguments."""
        return [dict(zip(self.names, values, strict=True)) for values in (self.totals.clone(), self.counts.tolist())]


class AveragedWeights:
    """Exponential moving averages of networks' weights.

    `AveragedModel.update_parameters` does the same, but waits for the device to know if it is its first.

    Args:
        networks: by name, before Accelerate wraps them; copied. With none, nothing is averaged.
        decay: share of the old average at each step, below 1.
        device: of the averages.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float, device: torch.device) -> None:
        self._decay = decay
        self._moving: set[str] = set()
        self._averages = {name: AveragedModel(network, device=device) for name, network in networks.items()}

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The averaged networks, by name."""
        return {name: average.module for name, average in self._averages.items()}

    @torch.no_grad()
    def update(self, networks: Mapping[str, nn.Module], moved: Tensor) -> None:
        """Update the averages after a step.

        Args:
            networks: those that the step trained, by name; names without an average are ignored.
            moved: bool, 0-dim, on the device: False if the step changed nothing; then averages don't change either.
        """
        for name in self._averages.keys() & networks.keys():
            average = self._averages[name]
            averaged, raw = (list(network.parameters()) for network in (average.module, networks[name]))
            if name in self._moving:
                torch._foreach_lerp_(averaged, raw, [(1 - self._decay) * moved] * len(raw))
            else:
                torch._foreach_copy_(averaged, raw)
            average.n_averaged += moved
            self._moving.add(name)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages by network."""
        return {name: average.state_dict() for name, average in self._averages.items()}

    def load_state_dict(self, state: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`'s result; a network that has no part in it starts from its own `weights`."""
        for name, average in self._averages.items():
            if name in state:
                average.load_state_dict(state[name])
            else:  # Averaging was switched on only now.
                average.module.load_state_dict(weights[name])
            if average.n_averaged:
                self._moving.add(name)
