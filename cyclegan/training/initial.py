"""The weights that a new run starts from, with `--init_from`."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cyclegan.checkpoints.format import GENERATOR_OF, CheckpointInfo
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.checkpoints.training_state import list_training_states
from cyclegan.config import ModelConfig
from cyclegan.errors import CheckpointError, Message, message
from cyclegan.training.trainer import Trainer

_EPOCH = re.compile(r"(?P<source>.+)@(?:epoch-)?(?P<epoch>\d{1,9})")
_SHAPING = {
    "gen": ("generator", "ngf", "upsample", "norm_affine"),
    "coupled": ("generator", "picture_size", "latent_size", "ngf", "upsample"),
    "disc": ("discriminator", "picture_size", "ndf", "n_layers_d", "spectral_norm"),
}
"""The settings that decide about names and shapes of weights, by the kind of network."""
_FLAG_OF = {"picture_size": "crop_size"}
"""The flags of settings that follow from others."""


def parse_start(text: str) -> tuple[str, int | None]:
    """Return the source and the epoch of `SOURCE[@12]`; None for the newest."""
    match = None if os.path.exists(text) else _EPOCH.fullmatch(text)
    return (match["source"], int(match["epoch"])) if match else (text, None)


class StartWeights:
    """The checkpoint that `--init_from` names.

    Args:
        text: SOURCE, or SOURCE@12 for one of its epochs.
        open_source: `hub.open_source`.

    Raises:
        CheckpointError: it can't be opened, or has no such epoch.
    """

    def __init__(self, text: str, open_source: Callable[[str], CheckpointSource]) -> None:
        name, epoch = parse_start(text)
        self.source = open_source(name)
        self._checkpoint = self.source.load(epoch)
        self.info: CheckpointInfo = self._checkpoint.info
        self.name = self.source.name

    @property
    def model(self) -> ModelConfig:
        """The settings of its networks."""
        return self._checkpoint.config.model

    def record(self) -> dict[str, Any]:
        """Return the entry `started_from` of the run's checkpoints."""
        return {
            "source": self.name, "epoch": self.info.epoch, "commit_sha": self.info.commit_sha,
            "on_hub": self.source.url is not None,
        }  # fmt: skip

    def _weights(self, trainer: Trainer) -> dict[str, Mapping[str, Tensor]]:
        """Return the state dicts of those of the trainer's networks that it has."""
        generators = {GENERATOR_OF[d]: network.state_dict() for d, network in self._checkpoint.generators.items()}
        found = trainer.method.from_generators(generators)
        judging = [name for group in trainer.method.groups if group.discriminators for name in group.networks]
        found |= self.source.discriminators(self.info.epoch, judging)
        return {name: weights for name, weights in found.items() if name in trainer.networks}

    def load(self, trainer: Trainer) -> list[Message]:
        """Give a new trainer's networks these weights, and return notes about it.

        Networks that the checkpoint lacks keep their own beginning.

        Raises:
            CheckpointError: it has none of the networks, or weights of other shapes without `--init_partial`.
        """
        networks, notes = trainer.networks, [self._about(trainer.config.model)]
        found = self._weights(trainer)
        if not any(name in found for name in trainer.method.published):
            raise CheckpointError(
                "{source} has the generators {there}, and --method {method} trains {here}: choose another --init_from",
                source=self.name, there=", ".join(sorted(GENERATOR_OF[d] for d in self.info.directions)),
                method=trainer.config.run.method, here=", ".join(trainer.method.published),
            )
        for name, weights in found.items():
            own = networks[name].state_dict()
            fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
            if len(fitting) < len(own.keys() | weights.keys()):
                if not trainer.config.run.init_partial:
                    raise self._misfit(name, own, weights, trainer.config.model)
                left = _layers(key for key in [*own, *weights] if key not in fitting)
                notes.append(message(
                    "{network}: {count} of {total} tensors are taken; those of these layers aren't: {left}",
                    network=name, count=len(fitting), total=len(own), left=left,
                ))  # fmt: skip
            networks[name].load_state_dict(own | fitting)
        trainer.averages.load_state_dict({}, {name: networks[name].state_dict() for name in trainer.method.published})
        if fresh := [name for name in networks if name not in found]:
            notes.append(message(
                "{source} has no weights for {fresh}, so random ones are drawn{advice}",
                source=self.name, fresh=", ".join(fresh),
                advice=message("; --freeze_first 1 would let the discriminators learn alone first")
                if not trainer.config.optim.freeze_first and any(name.startswith("disc") for name in fresh)
                else "",
            ))  # fmt: skip
        return notes

    def _about(self, model: ModelConfig) -> Message:
        """Return the line that names the start, and the settings that follow it."""
        values, usual = dataclasses.asdict(model), dataclasses.asdict(ModelConfig())
        theirs = dataclasses.asdict(self.model)
        flags = [_flag(name, value) for name, value in values.items() if value == theirs[name] != usual[name]]
        where = {"source": self.name, "epoch": self.info.epoch}
        if not flags:
            return message("starting from the weights of {source}, epoch {epoch}", **where)
        return message(
            "starting from the weights of {source}, epoch {epoch}, with its settings {flags}",
            flags=" ".join(flags), **where,
        )

    def _misfit(
        self, name: str, own: Mapping[str, Tensor], weights: Mapping[str, Tensor], model: ModelConfig
    ) -> CheckpointError:
        """Return the refusal of a network whose weights don't all fit, with the flags that would make them."""
        shaping = next(names for kind, names in _SHAPING.items() if name.startswith(kind))
        flags = [_flag(key, there) for key in shaping if (there := getattr(self.model, key)) != getattr(model, key)]
        remedy = message("--init_partial takes what fits")
        if flags:
            remedy = message("use {flags}, or {remedy}", flags=" ".join(flags), remedy=remedy)
        values = {"network": name, "source": self.name, "remedy": remedy}
        for key, tensor in weights.items():
            if key in own and own[key].shape != tensor.shape:
                return CheckpointError(
                    "{network}: {key} is {theirs} in {source}, here {ours}: {remedy}",
                    key=key, theirs=_shape(tensor), ours=_shape(own[key]), **values,
                )
        if missing := [key for key in own if key not in weights]:
            return CheckpointError("{network}: {source} has no {key}: {remedy}", key=missing[0], **values)
        extra = next(key for key in weights if key not in own)
        return CheckpointError(
            "{network}: {source} has {key}, which has no place here: {remedy}", key=extra[:100], **values
        )


def has_begun(run: Path) -> bool:
    """Return whether a run's folder holds an epoch or a step; `Run` forgets the state of the beginning."""
    return any(state.global_step for state in list_training_states(run)) or any(run.glob("epoch-*"))


def _flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{_FLAG_OF.get(name, name)} {value}"


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or torch.typename(tensor)


def _layers(keys: Any) -> str:
    """Return the layers that weights belong to, each once, in their order."""
    return ", ".join(dict.fromkeys(str(key)[:100].rpartition(".")[0] or str(key)[:100] for key in keys))
