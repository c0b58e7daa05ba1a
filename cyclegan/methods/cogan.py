"""CoGAN (Liu and Tuzel 2016, arXiv 1606.07536): two GANs that share layers, and translation by inversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cyclegan.config import DIRECTIONS, CoGANConfig, TrainConfig
from cyclegan.methods.image_pool import ImagePool
from cyclegan.methods.losses import called_real, gan_loss, gradient_penalty
from cyclegan.methods.method import Batch, Loss, Method, OptimiserGroup, bare
from cyclegan.networks import CoupledGenerator, build_coupled


class CoGAN(Method):
    """Two generators that draw from one latent vector, and two discriminators; no pairs, and nothing binds them but
    shared layers.

    The pairs of networks are two networks here, `coupled` and `disc`, because shared layers must move once. Each
    group draws nothing but the latent vectors, which are equal for both domains.
    """

    Config = CoGANConfig

    def __init__(self, config: TrainConfig, *, process_index: int = 0) -> None:
        self.options: Any = config.loss
        self.model, self.batch_passes = config.model, config.run.batch_passes
        pair, judge = build_coupled(config.model)
        self.networks = {"coupled": pair, "disc": judge}
        self.latent_size = pair.latent_size
        self.groups = (
            OptimiserGroup("generators", ("coupled",), self.generator_loss, frozen=("disc",)),
            OptimiserGroup(
                "discriminators", ("disc",), self.discriminator_loss, discriminators=True,
                compilable=self.options.gan_mode != "wgan_gp",
            ),
        )  # fmt: skip
        # Each process keeps the fakes that it made itself, so each draws for itself.
        seed = config.run.seed * 65_537 + 2 * process_index
        self.pools = {f"fake_{d}": ImagePool(self.options.pool_size, seed=seed + i) for i, d in enumerate("ab")}

    @property
    def published(self) -> tuple[str, ...]:
        """The pair, which both directions' generators come from."""
        return ("coupled",)

    def to_generators(self, networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
        """Return the generators of both directions, which invert one domain's and draw with the other's."""
        options = {"starts": self.model.inversion_starts, "steps": self.model.inversion_steps}
        return {f"gen_{way}": CoupledGenerator(networks["coupled"], way, **options) for way in DIRECTIONS}

    def from_generators(self, weights: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Mapping[str, Tensor]]:
        """Return the pair's state dict, which either direction's generator holds whole."""
        coupled = {}
        for way in DIRECTIONS:
            parts = {"trunk": "trunk", "source": f"head_{way[0]}", "target": f"head_{way[1]}"}
            for key, value in weights.get(f"gen_{way}", {}).items():
                part, _, rest = key.partition(".")
                if part in parts:  # Others are of another kind of generator.
                    coupled[f"{parts[part]}.{rest}"] = value
        return {"coupled": coupled} if coupled else {}

    def generator_loss(self, batch: Batch, _: Batch) -> Loss:
        """Return both adversarial losses, and the detached fakes."""
        real = batch["real_a"]
        z = torch.rand(len(real), self.latent_size, dtype=real.dtype, device=real.device) * 2 - 1
        fakes = dict(zip(("fake_a", "fake_b"), self.networks["coupled"](z), strict=True))
        on_a, on_b = bare(self.networks["disc"])(*fakes.values())
        mode = self.options.gan_mode
        terms = {
            "gan_ab": gan_loss(on_b, real=True, mode=mode, for_discriminator=False),
            "gan_ba": gan_loss(on_a, real=True, mode=mode, for_discriminator=False),
        }
        return terms["gan_ab"] + terms["gan_ba"], terms, {name: fake.detach() for name, fake in fakes.items()}

    def remember(self, fakes: Batch, keep: Tensor) -> Batch:
        """Return what the pools give for the new fakes."""
        return {name: self.pools[name].query(fake, keep=keep) for name, fake in fakes.items()}

    def discriminator_loss(self, batch: Batch, fakes: Batch) -> Loss:
        """Return both discriminators' losses on real pictures and on fakes, halved as CycleGAN's."""
        judge, options = self.networks["disc"], self.options
        real, fake = ([of[f"{kind}_{d}"] for d in "ab"] for kind, of in (("real", batch), ("fake", fakes)))
        if self.batch_passes:
            both = judge(*(torch.cat(pair) for pair in zip(real, fake, strict=True)))
            on_real, on_fake = zip(*(logits.chunk(2) for logits in both), strict=True)
        else:
            on_real, on_fake = judge(*real), judge(*fake)
        terms = {}
        for i, domain in enumerate("ab"):
            loss = gan_loss(on_real[i], real=True, mode=options.gan_mode, for_discriminator=True)
            loss = loss + gan_loss(on_fake[i], real=False, mode=options.gan_mode, for_discriminator=True)
            if options.gan_mode == "wgan_gp":
                loss = loss + options.lambda_gp * gradient_penalty(self._trained_on(domain), real[i], fake[i])
            terms[f"disc_{domain}"] = loss / 2
        return terms["disc_a"] + terms["disc_b"], terms, {}

    def _trained_on(self, domain: str) -> Callable[[Tensor], Tensor]:
        """Return one domain's discriminator by way of `forward`, so that it sees what `--diff_augment` makes."""
        judge = bare(self.networks["disc"])
        # With no pictures of the other domain.
        return lambda x: judge(x, x[:0].detach())[0] if domain == "a" else judge(x[:0].detach(), x)[1]

    def _judge_of(self, domain: str) -> Callable[[Tensor], Tensor]:
        return lambda pictures: bare(self.networks["disc"]).judge(pictures, domain)

    def judges(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return each domain's discriminator; none where it has no threshold (wgan_gp)."""
        if self.options.gan_mode == "wgan_gp":
            return {}
        return {d: lambda x, d=d: called_real(self._judge_of(d)(x), mode=self.options.gan_mode) for d in "ab"}

    def state_dict(self) -> dict[str, Any]:
        """Return the pools' state."""
        return {name: pool.state_dict() for name, pool in self.pools.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from `state_dict()`'s result, with the pools' pictures on `device`."""
        for name, pool in self.pools.items():
            pool.load_state_dict(state[name], device)
