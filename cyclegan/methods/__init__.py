"""Training methods behind one small protocol. A new one is a file here and a line in `METHODS`."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from cyclegan.config import TrainConfig
from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.methods.image_pool import ImagePool
from cyclegan.methods.losses import LossTerms

Batch = dict[str, Tensor]
Networks = dict[str, nn.Module]


class Method(Protocol):
    """What the trainer needs to know of a method.

    The trainer owns optimisers, precision and processes; a method owns networks, pools and losses. In each
    step the trainer asks for `generator_loss` while the discriminators are frozen, steps the generators,
    then asks for `discriminator_loss` on what the pools give for the fakes of the first, and steps the
    discriminators. Neither loss may look at values on the host: the device would have to be waited for.
    """

    paired: bool
    """Whether pictures come as aligned pairs."""
    generators: Networks
    """By name; what is published. The trainer replaces them by their prepared (DDP) selves."""
    discriminators: Networks
    """By name; never published."""
    pools: dict[str, ImagePool]
    """By the name of the fakes that go through them."""

    def __init__(self, config: TrainConfig, *, process_index: int = 0) -> None: ...

    def generator_loss(self, batch: Batch) -> tuple[Tensor, LossTerms, Batch]:
        """(weighted sum to minimise, terms, fakes by name) for a batch of `real_a`, `real_b`."""
        ...

    def discriminator_loss(self, batch: Batch, fakes: Batch) -> tuple[Tensor, LossTerms] | None:
        """(sum to minimise, terms), or None where the method's weights leave discriminators out."""
        ...


METHODS: dict[str, type[Method]] = {"cyclegan": CycleGAN}


def build_method(config: TrainConfig, *, process_index: int = 0) -> Method:
    """The method that `config.run.method` names, with freshly initialised networks."""
    return METHODS[config.run.method](config, process_index=process_index)
