"""The CycleGAN recipe as it is usually run: plain eager torch in fp32, nothing taken from `cyclegan`.

What training is measured against, in speed (`benchmarks.train_throughput`) and in quality. Everything is as the paper
and the authors' defaults have it: six generator passes one by one, the discriminators on real and fake pictures one
after the other, a pool that branches in Python per picture, Adam as torch makes it, contiguous tensors, the
framework's own setting of TF32. The layers hold their weights in the same order as `cyclegan.networks`, so that both
can start from equal ones (`load`).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import torch
from torch import Tensor, nn

LR, BETAS = 2e-4, (0.5, 0.999)
LAMBDA_CYCLE, LAMBDA_IDENTITY = 10.0, 0.5
POOL_SIZE = 50


class Residual(nn.Module):
    """x + conv-norm-ReLU-conv-norm of x: (N, k, H, W) → the same shape."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(k, k, 3), nn.InstanceNorm2d(k), nn.ReLU(True),
            nn.ReflectionPad2d(1), nn.Conv2d(k, k, 3), nn.InstanceNorm2d(k),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def plain_generator(ngf: int = 64, blocks: int = 9) -> nn.Sequential:
    """c7s1-k, d2k, d4k, R4k × blocks, u2k, uk, c7s1-3 (paper, appendix): (N, 3, H, W) in [-1, 1] → the same."""
    k = ngf
    return nn.Sequential(
        nn.ReflectionPad2d(3), nn.Conv2d(3, k, 7), nn.InstanceNorm2d(k), nn.ReLU(True),
        nn.Conv2d(k, 2 * k, 3, 2, 1), nn.InstanceNorm2d(2 * k), nn.ReLU(True),
        nn.Conv2d(2 * k, 4 * k, 3, 2, 1), nn.InstanceNorm2d(4 * k), nn.ReLU(True),
        *[Residual(4 * k) for _ in range(blocks)],
        nn.ConvTranspose2d(4 * k, 2 * k, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(2 * k), nn.ReLU(True),
        nn.ConvTranspose2d(2 * k, k, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(k), nn.ReLU(True),
        nn.ReflectionPad2d(3), nn.Conv2d(k, 3, 7), nn.Tanh(),
    )  # fmt: skip


def plain_discriminator(ndf: int = 64) -> nn.Sequential:
    """C64-C128-C256-C512, 70×70 patches (paper, appendix): (N, 3, H, W) in [-1, 1] → logits (N, 1, h, w)."""
    k = ndf
    return nn.Sequential(
        nn.Conv2d(3, k, 4, 2, 1), nn.LeakyReLU(0.2, True),
        nn.Conv2d(k, 2 * k, 4, 2, 1), nn.InstanceNorm2d(2 * k), nn.LeakyReLU(0.2, True),
        nn.Conv2d(2 * k, 4 * k, 4, 2, 1), nn.InstanceNorm2d(4 * k), nn.LeakyReLU(0.2, True),
        nn.Conv2d(4 * k, 8 * k, 4, 1, 1), nn.InstanceNorm2d(8 * k), nn.LeakyReLU(0.2, True),
        nn.Conv2d(8 * k, 1, 4, 1, 1),
    )  # fmt: skip


def draw_weights(network: nn.Module) -> None:
    """Weights from N(0, 0.02), biases 0 (paper, appendix)."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            nn.init.zeros_(layer.bias)


class PlainPool:
    """The last 50 fakes, one by one: half of the time an old one is shown and the new one takes its place."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.images, self.random = size, [], random.Random(seed)

    def query(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) → the same shape: what the discriminator is to see."""
        shown = []
        for image in images.detach():
            image = image.unsqueeze(0)
            if len(self.images) < self.size:
                self.images.append(image.clone())
                shown.append(image)
            elif self.random.random() < 0.5:
                index = self.random.randrange(self.size)
                shown.append(self.images[index])
                self.images[index] = image.clone()
            else:
                shown.append(image)
        return torch.cat(shown)


class PlainCycleGAN:
    """Two generators, two discriminators, and one step of both players.

    Args:
        ngf: channels of the generators' first layer.
        ndf: channels of the discriminators' first layer.
        blocks: residual blocks; 9 for 256² and above, 6 for 128².
        device: where it trains.
        seed: of the weights and the pools.

    Attributes:
        gen_ab, gen_ba: a → b and b → a.
        disc_a, disc_b: judge pictures of domain a and of domain b.
    """

    def __init__(
        self, ngf: int = 64, ndf: int = 64, blocks: int = 9, device: torch.device | str = "cpu", seed: int = 0
    ) -> None:
        torch.manual_seed(seed)
        self.gen_ab, self.gen_ba = plain_generator(ngf, blocks), plain_generator(ngf, blocks)
        self.disc_a, self.disc_b = plain_discriminator(ndf), plain_discriminator(ndf)
        for network in self.networks.values():
            draw_weights(network)
            network.to(device)
        generators = itertools.chain(self.gen_ab.parameters(), self.gen_ba.parameters())
        discriminators = itertools.chain(self.disc_a.parameters(), self.disc_b.parameters())
        self.optim_gen = torch.optim.Adam(generators, lr=LR, betas=BETAS)
        self.optim_disc = torch.optim.Adam(discriminators, lr=LR, betas=BETAS)
        self.pool_a, self.pool_b = PlainPool(POOL_SIZE, 2 * seed), PlainPool(POOL_SIZE, 2 * seed + 1)
        self.mse, self.l1 = nn.MSELoss(), nn.L1Loss()
        self.real, self.fake = torch.tensor(1.0, device=device), torch.tensor(0.0, device=device)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The four networks by name."""
        return {"gen_ab": self.gen_ab, "gen_ba": self.gen_ba, "disc_a": self.disc_a, "disc_b": self.disc_b}

    @torch.no_grad()
    def load(self, name: str, weights: Iterable[Tensor]) -> None:
        """Copy weights into a network, in the order of its parameters.

        Raises:
            ValueError: their number or a shape differs from this network's.
        """
        for mine, given in zip(self.networks[name].parameters(), weights, strict=True):
            if mine.shape != given.shape:
                raise ValueError(f"{name} holds a weight of {tuple(mine.shape)}, not {tuple(given.shape)}")
            mine.copy_(given)

    def set_lr(self, lr: float) -> None:
        """Set both optimisers' learning rate, as the schedule asks for once per epoch."""
        for optimiser in (self.optim_gen, self.optim_disc):
            for group in optimiser.param_groups:
                group["lr"] = lr

    def step(self, real_a: Tensor, real_b: Tensor) -> dict[str, Tensor]:
        """One step: the generators against frozen discriminators, then the discriminators.

        Args:
            real_a, real_b: (N, 3, H, W) in [-1, 1], on the device.

        Returns:
            Eight losses before their weights, detached.
        """
        self._judges_learn(False)
        fake_b, fake_a = self.gen_ab(real_a), self.gen_ba(real_b)
        rec_a, rec_b = self.gen_ba(fake_b), self.gen_ab(fake_a)
        idt_b, idt_a = self.gen_ab(real_b), self.gen_ba(real_a)
        losses = {
            "gan_ab": self._against(self.disc_b(fake_b), self.real),
            "gan_ba": self._against(self.disc_a(fake_a), self.real),
            "cycle_a": self.l1(rec_a, real_a),
            "cycle_b": self.l1(rec_b, real_b),
            "identity_a": self.l1(idt_a, real_a),
            "identity_b": self.l1(idt_b, real_b),
        }
        total = (
            losses["gan_ab"] + losses["gan_ba"]
            + LAMBDA_CYCLE * (losses["cycle_a"] + losses["cycle_b"])
            + LAMBDA_CYCLE * LAMBDA_IDENTITY * (losses["identity_a"] + losses["identity_b"])
        )  # fmt: skip
        self.optim_gen.zero_grad()
        total.backward()
        self.optim_gen.step()

        self._judges_learn(True)
        self.optim_disc.zero_grad()
        losses["disc_a"] = self._judge(self.disc_a, real_a, self.pool_a.query(fake_a))
        losses["disc_b"] = self._judge(self.disc_b, real_b, self.pool_b.query(fake_b))
        self.optim_disc.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def _against(self, logits: Tensor, label: Tensor) -> Tensor:
        return self.mse(logits, label.expand_as(logits))

    def _judge(self, disc: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        loss = 0.5 * (self._against(disc(real), self.real) + self._against(disc(fake), self.fake))
        loss.backward()
        return loss

    def _judges_learn(self, learn: bool) -> None:
        for parameter in itertools.chain(self.disc_a.parameters(), self.disc_b.parameters()):
            parameter.requires_grad_(learn)
