"""CycleGAN (Zhu, Park, Isola, Efros 2017, arXiv 1703.10593)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.config import TrainConfig
from cyclegan.methods.image_pool import ImagePool
from cyclegan.methods.losses import LossTerms, gan_loss, gradient_penalty
from cyclegan.networks import build_discriminator, build_generator


def _bare(module: nn.Module) -> nn.Module:
    """The network inside a DDP wrapper: a frozen judge must not wake the wrapper's gradient reduction."""
    return getattr(module, "module", module)


class CycleGAN:
    """Two generators and two discriminators; the objective of section 3.3, trained as in section 4.

    Networks are created in the order gen_ab, gen_ba, disc_a, disc_b from torch's global random state.
    """

    paired = False

    def __init__(self, config: TrainConfig, *, process_index: int = 0) -> None:
        self.loss = config.loss
        self.batch_passes = config.run.batch_passes
        self.generators: dict[str, nn.Module] = {
            "gen_ab": build_generator(config.model),
            "gen_ba": build_generator(config.model),
        }
        self.discriminators: dict[str, nn.Module] = {
            "disc_a": build_discriminator(config.model),
            "disc_b": build_discriminator(config.model),
        }
        # Each process keeps the fakes that it made itself, so each draws for itself.
        seed = config.run.seed * 65_537 + 2 * process_index
        self.pools = {
            "fake_a": ImagePool(self.loss.pool_size, seed=seed),
            "fake_b": ImagePool(self.loss.pool_size, seed=seed + 1),
        }

    def _through(self, network: nn.Module, *pictures: Tensor) -> list[Tensor]:
        """Each batch of pictures through the network: in one pass where they are of one size, as norms look at each
        picture by itself."""
        if self.batch_passes and len(pictures) > 1 and len({p.shape[1:] for p in pictures}) == 1:
            return list(network(torch.cat(pictures)).split([len(p) for p in pictures]))
        return [network(p) for p in pictures]

    def generator_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, LossTerms, dict[str, Tensor]]:
        """Both translations, both cycles, both identities, for real_a, real_b of (N, 3, H, W) in [-1, 1].

        Terms whose weight is 0 are not computed. The identity weight is relative to the cycle weight of the
        same domain, as in the reference implementation.
        """
        weights, terms = self.loss, LossTerms()
        gen_ab, gen_ba = self.generators["gen_ab"], self.generators["gen_ba"]
        real_a, real_b = batch["real_a"], batch["real_b"]
        identity_a = weights.lambda_identity * weights.lambda_cycle_a
        identity_b = weights.lambda_identity * weights.lambda_cycle_b
        fake_b, *idt_b = self._through(gen_ab, real_a, *([real_b] if identity_b else []))
        fake_a, *idt_a = self._through(gen_ba, real_b, *([real_a] if identity_a else []))
        total = real_a.new_zeros(())

        if weights.lambda_gan:
            judge_a, judge_b = (_bare(self.discriminators[name]) for name in ("disc_a", "disc_b"))
            terms.gan_ab = gan_loss(judge_b(fake_b), real=True, mode=weights.gan_mode, for_discriminator=False)
            terms.gan_ba = gan_loss(judge_a(fake_a), real=True, mode=weights.gan_mode, for_discriminator=False)
            total = total + weights.lambda_gan * (terms.gan_ab + terms.gan_ba)
        if weights.lambda_cycle_a:
            terms.cycle_a = F.l1_loss(gen_ba(fake_b), real_a)
            total = total + weights.lambda_cycle_a * terms.cycle_a
        if weights.lambda_cycle_b:
            terms.cycle_b = F.l1_loss(gen_ab(fake_a), real_b)
            total = total + weights.lambda_cycle_b * terms.cycle_b
        if identity_a:
            terms.identity_a = F.l1_loss(idt_a[0], real_a)
            total = total + identity_a * terms.identity_a
        if identity_b:
            terms.identity_b = F.l1_loss(idt_b[0], real_b)
            total = total + identity_b * terms.identity_b
        return total, terms, {"fake_a": fake_a.detach(), "fake_b": fake_b.detach()}

    def discriminator_loss(self, batch: dict[str, Tensor], fakes: dict[str, Tensor]) -> tuple[Tensor, LossTerms] | None:
        """Both judges on real pictures and on fakes from the pools; halved, so that D learns slower (section 4)."""
        if not self.loss.lambda_gan:
            return None
        terms = LossTerms(
            disc_a=self._judge("disc_a", batch["real_a"], fakes["fake_a"]),
            disc_b=self._judge("disc_b", batch["real_b"], fakes["fake_b"]),
        )
        return terms.disc_a + terms.disc_b, terms

    def _judge(self, name: str, real: Tensor, fake: Tensor) -> Tensor:
        disc, mode = self.discriminators[name], self.loss.gan_mode
        on_real, on_fake = self._through(disc, real, fake)
        loss = gan_loss(on_real, real=True, mode=mode, for_discriminator=True)
        loss = loss + gan_loss(on_fake, real=False, mode=mode, for_discriminator=True)
        if mode == "wgan_gp":
            loss = loss + self.loss.lambda_gp * gradient_penalty(_bare(disc), real, fake)
        return loss / 2
