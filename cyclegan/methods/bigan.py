"""BiGAN/ALI (Donahue et al. 2017; Dumoulin et al. 2017) between two domains, as the CycleGAN authors ran it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cyclegan.config import BiGANConfig, TrainConfig
from cyclegan.methods.image_pool import ImagePool
from cyclegan.methods.losses import gan_loss, gradient_penalty, through
from cyclegan.methods.method import Batch, Loss, Method, OptimiserGroup, bare
from cyclegan.networks import discriminator_of, generator_of


class BiGAN(Method):
    """Two generators and one discriminator that sees pairs: (a, G(a)), labelled 1, and (E(b), b), labelled 0.

    G is `gen_ab`, E is `gen_ba`. Each wants its pair to be taken for the other's; where the two kinds of pairs are
    alike, G and E are each other's inverse. Nothing else binds them. Networks are created in the order gen_ab, gen_ba,
    disc_ab; each has its own optimiser.
    """

    Config = BiGANConfig

    def __init__(self, config: TrainConfig, *, process_index: int = 0) -> None:
        self.options: Any = config.loss
        self.batch_passes = config.run.batch_passes
        self.networks = {name: generator_of(config, name[-2:]) for name in ("gen_ab", "gen_ba")}
        self.networks["disc_ab"] = discriminator_of(config, "ab")
        self.groups = (
            OptimiserGroup("gen_ab", ("gen_ab",), self.forward_loss, frozen=("disc_ab",)),
            OptimiserGroup("gen_ba", ("gen_ba",), self.backward_loss, frozen=("disc_ab",)),
            OptimiserGroup(
                "discriminator", ("disc_ab",), self.discriminator_loss, discriminators=True,
                compilable=self.options.gan_mode != "wgan_gp",
            ),
        )  # fmt: skip
        # Each process keeps the pairs that it made itself, so each draws for itself.
        seed = config.run.seed * 65_537 + 2 * process_index
        self.pools = {
            "forward": ImagePool(self.options.pool_size, seed=seed),
            "backward": ImagePool(self.options.pool_size, seed=seed + 1),
        }

    def forward_loss(self, batch: Batch, _: Batch) -> Loss:
        """Return G's loss, which wants 0 for (a, G(a)), and the detached pair."""
        pair = torch.cat([batch["real_a"], self.networks["gen_ab"](batch["real_a"])], dim=1)
        loss = self._deceive(pair, real=False)
        return loss, {"gan_ab": loss}, {"forward": pair.detach()}

    def backward_loss(self, batch: Batch, _: Batch) -> Loss:
        """Return E's loss, which wants 1 for (E(b), b), and the detached pair."""
        pair = torch.cat([self.networks["gen_ba"](batch["real_b"]), batch["real_b"]], dim=1)
        loss = self._deceive(pair, real=True)
        return loss, {"gan_ba": loss}, {"backward": pair.detach()}

    def _deceive(self, pair: Tensor, *, real: bool) -> Tensor:
        logits = bare(self.networks["disc_ab"])(pair)
        return gan_loss(logits, real=real, mode=self.options.gan_mode, for_discriminator=False)

    def remember(self, fakes: Batch, keep: Tensor) -> Batch:
        """Return what the pools give for the new pairs."""
        return {name: self.pools[name].query(pair, keep=keep) for name, pair in fakes.items()}

    def discriminator_loss(self, batch: Batch, fakes: Batch) -> Loss:
        """Return the discriminator's loss on pairs from the pools, halved, so that it learns slower.

        Its terms are what it gets wrong on each direction's pairs, so their mean is the loss.
        """
        pairs, mode = (fakes["forward"], fakes["backward"]), self.options.gan_mode
        logits = through(self.networks["disc_ab"], *pairs, together=self.batch_passes)
        disc_b, disc_a = (
            gan_loss(judged, real=real, mode=mode, for_discriminator=True)
            for judged, real in zip(logits, (True, False), strict=True)
        )
        if mode == "wgan_gp":
            penalty = self.options.lambda_gp * gradient_penalty(bare(self.networks["disc_ab"]), *pairs) / 2
            disc_b, disc_a = disc_b + penalty, disc_a + penalty
        return (disc_b + disc_a) / 2, {"disc_a": disc_a, "disc_b": disc_b}, {}

    def state_dict(self) -> dict[str, Any]:
        """Return the pools' states, by name."""
        return {name: pool.state_dict() for name, pool in self.pools.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from `state_dict()`'s result, with the pools' pictures on `device`."""
        for name, pool in self.pools.items():
            pool.load_state_dict(state[name], device)
