"""The learning rate of each epoch: `--schedule`, `--lr_disc`."""

from __future__ import annotations

import difflib
import math
import statistics
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cyclegan.config import OptimConfig
from cyclegan.errors import ConfigError, Message, message
from cyclegan.evaluation.figures import FIGURES, figure_of
from cyclegan.methods import OptimiserGroup

AUTO = ("truth_l1", "reconstruction_l1")
"""The figures that `--plateau_figure auto` looks for, in this order."""


def lr_factor(epoch: int, optim: OptimConfig) -> float:
    """Return the share of the learning rate in `epoch` (from 1): 1 while flat, then down to just above 0.

    The reference counts alike: 1 − max(0, epoch − n_flat) / (n_decay + 1), so no epoch runs at 0. A cosine goes the
    same way through half a period; `constant` and `plateau` have no plan.
    """
    done = max(0, epoch - optim.epochs) / (optim.decay_epochs + 1)
    if optim.schedule == "linear":
        return 1.0 - done
    return (1 + math.cos(math.pi * done)) / 2 if optim.schedule == "cosine" else 1.0


class Schedule:
    """The learning rates of a run's epochs.

    `plateau` is torch's ReduceLROnPlateau on a learning rate of 1, with its own threshold (a relative 0.0001).

    Args:
        optim: the run's settings.

    Raises:
        ConfigError: `--plateau_figure` isn't the name of a figure.
    """

    def __init__(self, optim: OptimConfig) -> None:
        self.optim = optim
        self._plateau: ReduceLROnPlateau | None = None
        if optim.schedule == "plateau":
            self._share = torch.optim.SGD([torch.zeros(1)], lr=1.0)
            self._plateau = ReduceLROnPlateau(
                self._share, mode="max" if _is_higher_better(optim.plateau_figure) else "min",
                factor=optim.plateau_factor, patience=optim.plateau_patience,
            )  # fmt: skip

    def lr(self, epoch: int, *, discriminators: bool = False) -> float:
        """Return the learning rate of an epoch, counted from 1."""
        lr = self.optim.lr_disc if discriminators and self.optim.lr_disc else self.optim.lr
        share = lr_factor(epoch, self.optim)
        return lr * (share if self._plateau is None else self._share.param_groups[0]["lr"])

    def apply(self, epoch: int, optimisers: Mapping[str, Any], groups: tuple[OptimiserGroup, ...]) -> None:
        """Set the epoch's learning rates and Adam's decay rates, which a resumed run may have changed."""
        for group in groups:
            for values in optimisers[group.name].param_groups:
                values["lr"] = self.lr(epoch, discriminators=group.discriminators)
                values["betas"] = (self.optim.beta1, self.optim.beta2)

    def observe(
        self, losses: Mapping[str, float], metrics: Mapping[str, float], accelerator: Accelerator
    ) -> Message | None:
        """Lower the learning rate of the next epochs if an epoch's figure has not improved for long enough.

        Called on every process; the main one's figures count.

        Returns:
            A warning for an epoch that has no such figure, or None.
        """
        if self._plateau is None:
            return None
        figure = self._figure(losses, metrics) if accelerator.is_main_process else 0.0
        if accelerator.num_processes > 1:
            shared = torch.tensor(figure, dtype=torch.float64, device=accelerator.device)
            figure = accelerator.reduce(shared, reduction="sum").item()
        if math.isfinite(figure):
            self._plateau.step(figure)
            return None
        return message(
            "warning: this epoch has no {figure}, so --schedule plateau leaves the learning rate as it is",
            figure=self.optim.plateau_figure,
        )

    def _figure(self, losses: Mapping[str, float], metrics: Mapping[str, float]) -> float:
        """Return the figure that must improve, NaN where the epoch has none."""
        values, name = {**losses, **metrics}, self.optim.plateau_figure
        for each in AUTO if name == "auto" else (name,):
            if found := [value for key, value in values.items() if each in (key, _key(key))]:
                return statistics.fmean(found)
        generators = [value for key, value in losses.items() if not key.startswith("disc")]
        return sum(generators) if name == "auto" and generators else math.nan

    def state_dict(self) -> dict[str, Any] | None:
        """Return what continuing needs; None if the epoch's number is enough."""
        if self._plateau is None:
            return None
        kept = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
        state = self._plateau.state_dict()
        return {"share": self._share.param_groups[0]["lr"]} | {name: state[name] for name in kept}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Continue from `state_dict()`'s result; from None, begin here. The run's own patience and factor remain."""
        if self._plateau is None or state is None:
            return
        self._share.param_groups[0]["lr"] = state["share"]
        self._plateau.load_state_dict({name: value for name, value in state.items() if name != "share"})


def _key(name: str) -> str | None:
    figure, _ = figure_of(name)
    return figure.key if figure else None


def _is_higher_better(name: str) -> bool:
    """Return True if a figure's larger values are better. Raises ConfigError for a name that is none."""
    keys = {figure.key: figure for figure in FIGURES}
    figure = keys.get(name) or figure_of(name)[0]
    if figure is None and name != "auto":
        near = difflib.get_close_matches(name, keys, 1)
        raise ConfigError(
            "--plateau_figure {name} isn't a figure of an epoch: use {near}, or auto",
            name=name, near=near[0] if near else ", ".join(keys),
        )
    return figure is not None and figure.better == "higher"
