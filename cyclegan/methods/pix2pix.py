"""pix2pix (Isola, Zhu, Zhou, Efros 2017, arXiv 1611.07004): translation learnt from pairs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from cyclegan.config import Pix2PixConfig
from cyclegan.methods.method import Batch
from cyclegan.methods.one_way import OneWay


class Pix2Pix(OneWay):
    """A generator, and a discriminator that sees an input next to its true or its made picture (paper, section 3).

    L = lambda_gan · cGAN(x, G(x)) + lambda_l1 · mean|y − G(x)|. The generator steps before the discriminator, as with
    every method here, where the authors' code has the discriminator step first; see docs/methods.md.
    """

    Config = Pix2PixConfig
    paired = True
    judged = 2

    def content(self, real: Tensor, fake: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted distance to the true picture, and the distance (paper, section 3.1)."""
        l1 = F.l1_loss(fake, batch[f"real_{self.target}"])
        return self.options.lambda_l1 * l1, {f"l1_{self.options.direction}": l1}
