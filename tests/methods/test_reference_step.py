"""One training step against an independent one, written plainly here with nothing of the package but weights."""

import copy
import itertools
import random

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from cyclegan.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from cyclegan.training.trainer import Trainer


class Config:
    """Defaults of the paper and the reference, by value, so that a changed default is a failed test."""

    lr, betas, lambda_a, lambda_b, lambda_idt, pool = 2e-4, (0.5, 0.999), 10.0, 10.0, 0.5, 50


def plain_generator(ngf: int, blocks: int) -> nn.Sequential:
    """c7s1-k, d2k, d4k, R4k × blocks, u2k, uk, c7s1-3 (paper, appendix), as one flat list of layers."""

    class Residual(nn.Module):
        def __init__(self, k):
            super().__init__()
            self.body = nn.Sequential(
                nn.ReflectionPad2d(1), nn.Conv2d(k, k, 3), nn.InstanceNorm2d(k), nn.ReLU(),
                nn.ReflectionPad2d(1), nn.Conv2d(k, k, 3), nn.InstanceNorm2d(k),
            )  # fmt: skip

        def forward(self, x):
            return x + self.body(x)

    k = ngf
    return nn.Sequential(
        nn.ReflectionPad2d(3), nn.Conv2d(3, k, 7), nn.InstanceNorm2d(k), nn.ReLU(),
        nn.Conv2d(k, 2 * k, 3, 2, 1), nn.InstanceNorm2d(2 * k), nn.ReLU(),
        nn.Conv2d(2 * k, 4 * k, 3, 2, 1), nn.InstanceNorm2d(4 * k), nn.ReLU(),
        *[Residual(4 * k) for _ in range(blocks)],
        nn.ConvTranspose2d(4 * k, 2 * k, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(2 * k), nn.ReLU(),
        nn.ConvTranspose2d(2 * k, k, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(k), nn.ReLU(),
        nn.ReflectionPad2d(3), nn.Conv2d(k, 3, 7), nn.Tanh(),
    )  # fmt: skip


def plain_discriminator(ndf: int) -> nn.Sequential:
    """C64-C128-C256-C512 with LeakyReLU 0.2 and no norm on the first (paper, appendix), ndf = 64."""
    k = ndf
    return nn.Sequential(
        nn.Conv2d(3, k, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(k, 2 * k, 4, 2, 1), nn.InstanceNorm2d(2 * k), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * k, 4 * k, 4, 2, 1), nn.InstanceNorm2d(4 * k), nn.LeakyReLU(0.2),
        nn.Conv2d(4 * k, 8 * k, 4, 1, 1), nn.InstanceNorm2d(8 * k), nn.LeakyReLU(0.2),
        nn.Conv2d(8 * k, 1, 4, 1, 1),
    )  # fmt: skip


class PlainCycleGAN:
    """The reference's optimize_parameters, in its order: both generators, then both discriminators."""

    def __init__(self, ngf, ndf, blocks):
        self.G, self.F = plain_generator(ngf, blocks), plain_generator(ngf, blocks)  # A→B, B→A
        self.D_X, self.D_Y = plain_discriminator(ndf), plain_discriminator(ndf)  # judge A, judge B
        pairs = itertools.chain(self.G.parameters(), self.F.parameters())
        judges = itertools.chain(self.D_X.parameters(), self.D_Y.parameters())
        self.optim_g = torch.optim.Adam(pairs, lr=Config.lr, betas=Config.betas)
        self.optim_d = torch.optim.Adam(judges, lr=Config.lr, betas=Config.betas)

    def step(self, a, b):
        """The eight losses by the names that the package gives them."""
        ones, zeros = torch.ones, torch.zeros
        mse, l1 = nn.MSELoss(), nn.L1Loss()
        for p in [*self.D_X.parameters(), *self.D_Y.parameters()]:
            p.requires_grad = False
        fake_b, fake_a = self.G(a), self.F(b)
        rec_a, rec_b = self.F(fake_b), self.G(fake_a)
        judged_b, judged_a = self.D_Y(fake_b), self.D_X(fake_a)
        losses = {
            "identity_b": l1(self.G(b), b), "identity_a": l1(self.F(a), a),
            "gan_ab": mse(judged_b, ones(judged_b.shape)), "gan_ba": mse(judged_a, ones(judged_a.shape)),
            "cycle_a": l1(rec_a, a), "cycle_b": l1(rec_b, b),
        }  # fmt: skip
        total = (
            losses["gan_ab"] + losses["gan_ba"]
            + losses["cycle_a"] * Config.lambda_a + losses["cycle_b"] * Config.lambda_b
            + losses["identity_a"] * Config.lambda_a * Config.lambda_idt
            + losses["identity_b"] * Config.lambda_b * Config.lambda_idt
        )  # fmt: skip
        self.optim_g.zero_grad()
        total.backward()
        self.optim_g.step()
        for p in [*self.D_X.parameters(), *self.D_Y.parameters()]:
            p.requires_grad = True
        self.optim_d.zero_grad()
        # The pool returns what it is given until it holds 50, so these first steps see their own fakes.
        for name, disc, real, fake in (("disc_a", self.D_X, a, fake_a), ("disc_b", self.D_Y, b, fake_b)):
            on_real, on_fake = disc(real), disc(fake.detach())
            losses[name] = 0.5 * (mse(on_real, ones(on_real.shape)) + mse(on_fake, zeros(on_fake.shape)))
            losses[name].backward()
        self.optim_d.step()
        return {name: loss.detach() for name, loss in losses.items()}


class NoData:
    """The trainer's steps are called directly here."""


def make(run=None, **model):
    config = TrainConfig(
        data=DataConfig(dataset="none"),
        model=ModelConfig(ngf=4, ndf=4, generator="resnet_6", **model),
        run=RunConfig(output_dir="none", seed=3, **(run or {})),
    )
    return Trainer(config, NoData(), Accelerator(cpu=True))


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Both list their layers in the same order, so their weights match one by one."""
    for ours, theirs in zip(source.parameters(), target.parameters(), strict=True):
        assert ours.shape == theirs.shape
        theirs.data.copy_(ours.data)


@pytest.mark.parametrize("run", [{}, {"reference": True}])
def test_steps_equal_the_reference_term_by_term(run):
    trainer, plain = make(run), PlainCycleGAN(4, 4, 6)
    method = trainer.method
    pairs = [
        (method.generators["gen_ab"], plain.G), (method.generators["gen_ba"], plain.F),
        (method.discriminators["disc_a"], plain.D_X), (method.discriminators["disc_b"], plain.D_Y),
    ]  # fmt: skip
    for ours, theirs in pairs:
        copy_weights(ours, theirs)
        # In float64 rounding does not hide a difference: Adam's first steps turn every gradient, however tiny, into
        # a step of nearly the full learning rate.
        ours.double()
        theirs.double()
    before = copy.deepcopy([p.detach() for ours, _ in pairs for p in ours.parameters()])
    torch.manual_seed(0)
    for _ in range(3):
        a, b = (torch.rand(1, 3, 32, 32, dtype=torch.float64) * 2 - 1 for _ in range(2))
        ours, theirs = trainer.step({"real_a": a, "real_b": b}), plain.step(a, b)
        assert set(ours) == set(theirs) and len(ours) == 8
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-7, atol=0, msg=lambda m, n=name: f"{n}: {m}")
    after = [p.detach() for ours, _ in pairs for p in ours.parameters()]
    expected = [p.detach() for _, theirs in pairs for p in theirs.parameters()]
    for start, ours, theirs in zip(before, after, expected, strict=True):
        if ours.ndim == 4:
            assert (theirs - start).abs().mean() > 1e-4  # It moved, so equality means something.
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-8)


def test_defaults_are_the_references():
    config = TrainConfig(data=DataConfig(dataset="x"), run=RunConfig(output_dir="x"))
    loss, optim, model, data = config.loss, config.optim, config.model, config.data
    assert (loss.gan_mode, loss.pool_size) == ("lsgan", Config.pool)
    assert (loss.lambda_cycle_a, loss.lambda_cycle_b, loss.lambda_identity) == (10, 10, 0.5)
    assert (optim.lr, optim.beta1, optim.beta2, optim.batch_size) == (Config.lr, *Config.betas, 1)
    assert (optim.epochs, optim.decay_epochs) == (100, 100)
    assert (model.generator, model.ngf, model.ndf, model.n_layers_d, model.leaky_slope) == ("resnet_9", 64, 64, 3, 0.2)
    assert (data.preprocess, data.load_size, data.crop_size, data.flip) == ("resize_crop", 286, 256, True)
    assert OptimConfig().ema == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_discriminators_see_the_pools_pictures(seed):
    """After the pool has filled, half of the fakes that D sees are old ones; before, all are new."""
    from cyclegan.methods.image_pool import ImagePool

    pool, rng, old, new = ImagePool(5, seed=seed), random.Random(seed), 0, 0
    shown = []
    for step in range(400):
        value = step + rng.random()
        image = torch.full((1, 3, 2, 2), value)
        got = pool.query(image)[0, 0, 0, 0].item()
        is_new = got == torch.tensor(value).item()
        if step < 5:
            assert is_new
        else:
            old, new = old + (not is_new), new + is_new
        shown.append(got)
    assert 0.4 < old / (old + new) < 0.6
    # A picture that was handed out left the pool, so none comes back twice beyond its first showing.
    assert max(shown.count(value) for value in set(shown)) <= 2
