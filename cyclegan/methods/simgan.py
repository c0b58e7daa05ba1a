"""SimGAN and "feature loss + GAN" as the CycleGAN authors ran them (Zhu et al. 2017, section 5.1.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cyclegan.config import SimGANConfig, TrainConfig
from cyclegan.methods.method import Batch
from cyclegan.methods.one_way import OneWay
from cyclegan.networks.features import build_features


class SimGAN(OneWay):
    """A generator whose results look like the target and remain close to their inputs.

    L = lambda_gan · GAN(G(x)) + lambda_content · mean|φ(G(x)) − φ(x)|, where φ gives the pixels themselves
    (Shrivastava et al. 2017) or the features of a network trained on ImageNet.
    """

    Config = SimGANConfig

    def __init__(self, config: TrainConfig, *, process_index: int = 0) -> None:
        super().__init__(config, process_index=process_index)
        if self.options.content_loss == "features":
            self.fixed = {"features": build_features(self.options.features, vgg_weights=self.options.vgg_weights)}

    def content(self, real: Tensor, fake: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted distance to the input, and the distance."""
        if features := self.fixed.get("features"):
            with torch.no_grad():
                wanted = features(real)
            distance = F.l1_loss(features(fake), wanted)
        else:
            distance = F.l1_loss(fake, real)
        return self.options.lambda_content * distance, {f"content_{self.options.direction}": distance}
