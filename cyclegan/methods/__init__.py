"""Training methods behind one small protocol. A new one is a file here and a line in `METHODS`."""

from __future__ import annotations

import dataclasses
import typing

from cyclegan.config import METHOD_CONFIGS, TrainConfig
from cyclegan.methods.bigan import BiGAN
from cyclegan.methods.cogan import CoGAN
from cyclegan.methods.cut import CUT
from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.methods.method import Batch, Loss, Method, OptimiserGroup
from cyclegan.methods.pix2pix import Pix2Pix
from cyclegan.methods.simgan import SimGAN

__all__ = ["METHODS", "Batch", "Loss", "Method", "OptimiserGroup", "build_method", "register_method"]

METHODS: dict[str, type[Method]] = {}


def register_method(name: str, method: type[Method]) -> None:
    """Make a method available as `--method NAME`, with its options as flags.

    Raises:
        ValueError: another method has this name, or an option has the name of another setting, or the name of another
            method's option with another type.
    """
    if METHODS.get(name, method) is not method:
        raise ValueError(f"there is a method {name} already")
    types = typing.get_type_hints(method.Config)
    taken: dict[str, type | None] = {}
    for group, kind in typing.get_type_hints(TrainConfig).items():
        taken |= dict.fromkeys((f.name for f in dataclasses.fields(kind)) if group != "loss" else (), None)
    for other in METHODS.values():
        taken |= {f.name: typing.get_type_hints(other.Config)[f.name] for f in dataclasses.fields(other.Config)}
    for f in dataclasses.fields(method.Config):
        if taken.get(f.name, types[f.name]) != types[f.name]:
            raise ValueError(f"the option {f.name} of method {name} has the name of another setting")
    METHODS[name] = method
    METHOD_CONFIGS[name] = method.Config


def build_method(config: TrainConfig, *, process_index: int = 0) -> Method:
    """Return the method that `config.run.method` names, with freshly initialised networks."""
    return METHODS[config.run.method](config, process_index=process_index)


register_method("cyclegan", CycleGAN)
register_method("pix2pix", Pix2Pix)
register_method("bigan", BiGAN)
register_method("simgan", SimGAN)
register_method("cogan", CoGAN)
register_method("cut", CUT)
