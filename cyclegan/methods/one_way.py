"""The base of methods with one generator and one discriminator. What binds a fake to its input is each one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from cyclegan.config import TrainConfig
from cyclegan.methods.image_pool import ImagePool
from cyclegan.methods.losses import called_real, gan_loss, judging_loss
from cyclegan.methods.method import Batch, Loss, Method, OptimiserGroup, bare
from cyclegan.networks import discriminator_of, generator_of


class OneWay(Method):
    """A generator of `--direction`, and a discriminator of its target domain.

    Networks are created in the order generator, discriminator. A subclass has the options of `AdversarialConfig` and
    `direction`, and defines `content`.
    """

    judged: ClassVar[int] = 1
    """Pictures that the discriminator sees at once: 2 if it judges a picture next to its input."""

    def __init__(self, config: TrainConfig, *, process_index: int = 0) -> None:
        self.options: Any = config.loss
        self.batch_passes = config.run.batch_passes
        self.directions = (self.options.direction,)
        self.source, self.target = self.options.direction
        self.gen, self.disc = f"gen_{self.options.direction}", f"disc_{self.target}"
        judged = self.options.direction if self.judged == 2 else self.target
        self.networks = {
            self.gen: generator_of(config, self.options.direction),
            self.disc: discriminator_of(config, judged, norm_affine=config.model.norm_affine),
        }
        self.groups = (
            OptimiserGroup("generator", (self.gen,), self.generator_loss, frozen=(self.disc,)),
            OptimiserGroup(
                "discriminator", (self.disc,), self.discriminator_loss, discriminators=True,
                compilable=self.options.gan_mode != "wgan_gp",
            ),
        )  # fmt: skip
        # Each process keeps the fakes that it made itself, so each draws for itself.
        self.pool = ImagePool(self.options.pool_size, seed=config.run.seed * 65_537 + 2 * process_index)

    def content(self, real: Tensor, fake: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted terms that bind the fake to its input, summed, and the terms, unweighted, by name.

        Args:
            real: the inputs, (N, 3, H, W) in [-1, 1].
            fake: their translations, of the same shape.
            batch: the whole batch.
        """
        raise NotImplementedError

    def shown(self, real: Tensor, picture: Tensor) -> Tensor:
        """Return what the discriminator sees of a picture, real or fake, that belongs to the input `real`."""
        return torch.cat([real, picture], dim=1) if self.judged == 2 else picture

    def generator_loss(self, batch: Batch, _: Batch) -> Loss:
        """Return the adversarial loss and `content`'s, and what the discriminator will see of the detached fake."""
        real = batch[f"real_{self.source}"]
        fake = self.networks[self.gen](real)
        total, terms = self.content(real, fake, batch)
        shown = self.shown(real, fake)
        if self.options.lambda_gan:
            logits = bare(self.networks[self.disc])(shown)
            gan = gan_loss(logits, real=True, mode=self.options.gan_mode, for_discriminator=False)
            total, terms = total + self.options.lambda_gan * gan, {f"gan_{self.options.direction}": gan} | terms
        return total, terms, {"shown": shown.detach()}

    def remember(self, fakes: Batch, keep: Tensor) -> Batch:
        """Return what the pool gives for the new fakes."""
        return {name: self.pool.query(shown, keep=keep) for name, shown in fakes.items()}

    def discriminator_loss(self, batch: Batch, fakes: Batch) -> Loss | None:
        """Return the discriminator's loss on real pictures and on fakes from the pool; None without it."""
        if not self.options.lambda_gan:
            return None
        options = self.options
        real = self.shown(batch[f"real_{self.source}"], batch[f"real_{self.target}"])
        loss = judging_loss(
            self.networks[self.disc], real, fakes["shown"], mode=options.gan_mode, lambda_gp=options.lambda_gp,
            together=self.batch_passes,
        )
        return loss, {self.disc: loss}, {}

    def judges(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return the discriminator's judgement; none if it needs the input, too, or has no threshold (wgan_gp)."""
        if self.judged > 1 or self.options.gan_mode == "wgan_gp":
            return {}
        return {self.target: self._calls_real}

    def _calls_real(self, pictures: Tensor) -> Tensor:
        return called_real(bare(self.networks[self.disc])(pictures), mode=self.options.gan_mode)

    def state_dict(self) -> dict[str, Any]:
        """Return the pool's state."""
        return self.pool.state_dict()

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from `state_dict()`'s result, with the pool's pictures on `device`."""
        self.pool.load_state_dict(state, device)
