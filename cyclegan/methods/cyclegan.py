"""CycleGAN (Zhu, Park, Isola, Efros 2017, arXiv 1703.10593)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.config import CycleGANConfig, TrainConfig
from cyclegan.methods.image_pool import ImagePool
from cyclegan.methods.losses import called_real, extra_terms, frames_of, gan_loss, judging_loss, through
from cyclegan.methods.method import Batch, Loss, Method, OptimiserGroup, bare
from cyclegan.networks import discriminator_of, generator_of


class CycleGAN(Method):
    """Two generators and two discriminators; the objective of section 3.3, trained as in section 4.

    Networks are created in the order gen_ab, gen_ba, disc_a, disc_b. One optimiser moves both generators and one both
    discriminators, as in the reference. The suffix of a loss names the domain that the picture looks like; the two
    adversarial terms are named after their generator.
    """

    Config = CycleGANConfig

    def __init__(self, config: TrainConfig, *, process_index: int = 0) -> None:
        self.options = config.loss
        self.batch_passes = config.run.batch_passes
        generators, discriminators = ("gen_ab", "gen_ba"), ("disc_a", "disc_b")
        self.networks = {name: generator_of(config, name[-2:]) for name in generators}
        self.networks |= {name: discriminator_of(config, name[-1]) for name in discriminators}
        self.groups = (
            OptimiserGroup("generators", generators, self.generator_loss, frozen=discriminators),
            OptimiserGroup(
                "discriminators", discriminators, self.discriminator_loss, discriminators=True,
                compilable=self.options.gan_mode != "wgan_gp",
            ),
        )  # fmt: skip
        # Each process keeps the fakes that it made itself, so each draws for itself.
        seed = config.run.seed * 65_537 + 2 * process_index
        self.pools = {
            "fake_a": ImagePool(self.options.pool_size, seed=seed),
            "fake_b": ImagePool(self.options.pool_size, seed=seed + 1),
        }

    @property
    def generators(self) -> dict[str, nn.Module]:
        """The two generators, by name."""
        return {name: network for name, network in self.networks.items() if name.startswith("gen_")}

    @property
    def discriminators(self) -> dict[str, nn.Module]:
        """The two discriminators, by name."""
        return {name: network for name, network in self.networks.items() if name.startswith("disc_")}

    def generator_loss(self, batch: Batch, _: Batch) -> Loss:
        """Return the loss of both translations, both cycles and both identities, and the detached fakes.

        Terms whose weight is 0 are not computed. The identity weight is relative to the cycle weight of the
        same domain, as in the reference implementation.
        """
        weights, networks = self.options, self.networks
        terms: dict[str, Tensor] = {}
        gen_ab, gen_ba = networks["gen_ab"], networks["gen_ba"]
        real_a, real_b = batch["real_a"], batch["real_b"]
        identity_a = weights.lambda_identity * weights.lambda_cycle_a
        identity_b = weights.lambda_identity * weights.lambda_cycle_b
        frames_a, frames_b = frames_of(batch, "a"), frames_of(batch, "b")
        made_b = through(gen_ab, *frames_a, *([real_b] if identity_b else []), together=self.batch_passes)
        made_a = through(gen_ba, *frames_b, *([real_a] if identity_a else []), together=self.batch_passes)
        fake_b, fake_a = made_b[0], made_a[0]
        total = real_a.new_zeros(())

        if weights.lambda_gan:
            fool = partial(gan_loss, real=True, mode=weights.gan_mode, for_discriminator=False)
            terms["gan_ab"] = fool(bare(networks["disc_b"])(fake_b))
            terms["gan_ba"] = fool(bare(networks["disc_a"])(fake_a))
            total = total + weights.lambda_gan * (terms["gan_ab"] + terms["gan_ba"])
        if weights.lambda_cycle_a:
            terms["cycle_a"] = F.l1_loss(gen_ba(fake_b), real_a)
            total = total + weights.lambda_cycle_a * terms["cycle_a"]
        if weights.lambda_cycle_b:
            terms["cycle_b"] = F.l1_loss(gen_ab(fake_a), real_b)
            total = total + weights.lambda_cycle_b * terms["cycle_b"]
        if identity_a:
            terms["identity_a"] = F.l1_loss(made_a[-1], real_a)
            total = total + identity_a * terms["identity_a"]
        if identity_b:
            terms["identity_b"] = F.l1_loss(made_b[-1], real_b)
            total = total + identity_b * terms["identity_b"]
        for way, frames, made in (("ab", frames_a, made_b), ("ba", frames_b, made_a)):
            for name, (weight, term) in extra_terms(weights, way, frames, made, self.fixed.get("segmenter")).items():
                total, terms[name] = total + weight * term, term
        return total, terms, {"fake_a": fake_a.detach(), "fake_b": fake_b.detach()}

    def remember(self, fakes: Batch, keep: Tensor) -> Batch:
        """Return what the pools give for the new fakes."""
        return {name: self.pools[name].query(fake, keep=keep) for name, fake in fakes.items()}

    def discriminator_loss(self, batch: Batch, fakes: Batch) -> Loss | None:
        """Return the loss of both discriminators on real pictures and on fakes from the pools; None without them.

        It is halved, so that discriminators learn slower (section 4).
        """
        if not self.options.lambda_gan:
            return None
        terms = {f"disc_{d}": self._judge(f"disc_{d}", batch[f"real_{d}"], fakes[f"fake_{d}"]) for d in ("a", "b")}
        return terms["disc_a"] + terms["disc_b"], terms, {}

    def _judge(self, name: str, real: Tensor, fake: Tensor) -> Tensor:
        mode, lambda_gp, together = self.options.gan_mode, self.options.lambda_gp, self.batch_passes
        return judging_loss(self.networks[name], real, fake, mode=mode, lambda_gp=lambda_gp, together=together)

    def judges(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return both discriminators' judgements; none for wgan_gp, because a Wasserstein critic has no threshold."""
        if self.options.gan_mode == "wgan_gp":
            return {}
        return {domain: partial(self._calls_real, f"disc_{domain}") for domain in ("a", "b")}

    def _calls_real(self, name: str, pictures: Tensor) -> Tensor:
        return called_real(bare(self.networks[name])(pictures), mode=self.options.gan_mode)

    def state_dict(self) -> dict[str, Any]:
        """Return the pools' states, by name."""
        return {name: pool.state_dict() for name, pool in self.pools.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from `state_dict()`'s result, with the pools' pictures on `device`."""
        for name, pool in self.pools.items():
            pool.load_state_dict(state[name], device)
