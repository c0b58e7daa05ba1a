"""A second training method, in this file alone: paired, one direction, one group of three networks and three steps.

By hand: `python -m tests.methods.another_method --method another --dataset streets --output_dir runs/another`.
"""

import sys
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from cyclegan.config import GAN_MODES, MethodConfig, option
from cyclegan.methods import Method, OptimiserGroup, register_method
from cyclegan.methods.losses import gan_loss
from cyclegan.networks import build_discriminator, build_generator


@dataclass(frozen=True)
class AnotherConfig(MethodConfig):
    """Distance to the partner, and two networks that judge."""

    defaults: ClassVar[dict] = {"generator": "resnet_6", "ngf": 4, "ndf": 4}

    gan_mode: str = option("vanilla", "adversarial objective", choices=GAN_MODES)
    lambda_l1: float = option(100.0, "weight of the distance to the partner", least=0)


class Another(Method):
    """A generator, a discriminator of pairs with 6 channels, and a head made from the first batch."""

    Config = AnotherConfig
    paired = True
    directions = ("ab",)

    def __init__(self, config, *, process_index=0):
        self.options, self.seen = config.loss, torch.zeros(())
        self.networks = {
            "gen_ab": build_generator(config.model),
            "disc_pair": build_discriminator(config.model, in_channels=6),
        }
        self.groups = (OptimiserGroup("all", ("gen_ab", "disc_pair", "head"), self.loss, steps=3),)

    def prepare(self, batch):
        self.networks["head"] = nn.Linear(batch["real_b"][0].numel(), 2)

    def loss(self, batch, fakes):
        fake = self.networks["gen_ab"](batch["real_a"])
        logits = self.networks["disc_pair"](torch.cat([batch["real_a"], fake], dim=1))
        terms = {
            "l1_ab": F.l1_loss(fake, batch["real_b"]),
            "pair_ab": gan_loss(logits, real=True, mode=self.options.gan_mode, for_discriminator=False),
            "head": self.networks["head"](fake.flatten(1)).square().mean(),
        }
        total = self.options.lambda_l1 * terms["l1_ab"] + terms["pair_ab"] + terms["head"] / (1 + self.seen)
        return total, terms, {"fake_b": fake.detach()}

    def remember(self, fakes, keep):
        self.seen = self.seen + keep
        return fakes

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state, device):
        self.seen = state["seen"].to(device)


if __name__ == "__main__":
    from train_accelerate import main

    register_method("another", Another)
    sys.exit(main())
