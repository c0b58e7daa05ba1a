"""BiGAN's step against an independent one, written plainly here; and the whole way."""

import pytest
import torch
from torch import nn

from tests.methods.stepping import assert_resumes_exactly, assert_steps_between_processes, batch, make
from tests.methods.test_reference_step import copy_weights, plain_discriminator, plain_generator
from tests.methods.whole_way import whole_way


class PlainBiGAN:
    """bigan_model.lua's closures, but for its order (D last) and with the discriminator's newest verdict."""

    def __init__(self, k=4):
        self.G, self.E = plain_generator(k, 6), plain_generator(k, 6)
        self.D = plain_discriminator(k)
        self.D[0] = nn.Conv2d(6, k, 4, 2, 1)
        for network in (self.G, self.E, self.D):
            network.double()

    def start(self):
        self.optims = [torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (self.G, self.E, self.D)]

    def step(self, a, b):
        mse = nn.MSELoss()
        fake_b, fake_a = self.G(a), self.E(b)
        on_g, on_e = self.D(torch.cat([a, fake_b], 1)), self.D(torch.cat([fake_a, b], 1))
        g, e = mse(on_g, torch.zeros_like(on_g)), mse(on_e, torch.ones_like(on_e))
        for network, optimiser, loss in ((self.G, self.optims[0], g), (self.E, self.optims[1], e)):
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            for p, gradient in zip(network.parameters(), gradients, strict=True):
                p.grad = gradient
            optimiser.step()
        on_g, on_e = self.D(torch.cat([a, fake_b.detach()], 1)), self.D(torch.cat([fake_a.detach(), b], 1))
        one, zero = mse(on_g, torch.ones_like(on_g)), mse(on_e, torch.zeros_like(on_e))
        self.optims[2].zero_grad()
        (0.5 * (one + zero)).backward()
        self.optims[2].step()
        return {"gan_ab": g, "gan_ba": e, "disc_b": one, "disc_a": zero}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("run", [{}, {"reference": True}])
def test_steps_equal_plain_ones(run, count):
    trainer, plain = make("bigan", **run), PlainBiGAN()
    pairs = list(zip(trainer.networks.values(), (plain.G, plain.E, plain.D), strict=True))
    assert list(trainer.networks) == ["gen_ab", "gen_ba", "disc_ab"] and len(trainer.optimisers) == 3
    for ours, theirs in pairs:
        ours.double()
        copy_weights(ours, theirs)
    plain.start()
    for seed in range(3):
        pictures = batch(seed, count, dtype=torch.float64)
        ours, theirs = trainer.step(pictures), plain.step(*pictures.values())
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value.detach(), rtol=1e-7, atol=0)
    for ours, theirs in pairs:
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-8)


def test_each_generator_wants_its_pairs_to_be_taken_for_the_others():
    """Under the other objectives, too: a step makes D's verdict on G's pairs lower and on E's higher."""
    for mode in ("vanilla", "hinge", "wgan_gp"):
        trainer = make("bigan", loss={"gan_mode": mode}, optim={"lr": 1e-3})
        pictures, method = batch(), trainer.method
        disc = method.networks["disc_ab"]

        def verdicts(method=method, disc=disc, pictures=pictures):
            with torch.no_grad():
                pairs = (method.forward_loss(pictures, {})[2], method.backward_loss(pictures, {})[2])
                return [disc(pair).mean() for made in pairs for pair in made.values()]

        frozen = {name: value.clone() for name, value in disc.state_dict().items()}
        before = verdicts()
        trainer.step(pictures)
        moved = any(not torch.equal(value, frozen[name]) for name, value in disc.state_dict().items())
        disc.load_state_dict(frozen)
        after = verdicts()
        assert moved and after[0] < before[0] and after[1] > before[1], mode


def test_old_pairs_are_shown_to_the_discriminator_only():
    trainer = make("bigan", loss={"pool_size": 1})
    for seed in range(6):
        trainer.step(batch(seed))
    pools = trainer.method.pools
    assert {name: pool.images[0].shape for name, pool in pools.items()} == dict.fromkeys(
        ("forward", "backward"), (6, 32, 32)
    )
    assert trainer.method.judges() == {}


def test_it_resumes_exactly():
    assert_resumes_exactly(method="bigan", loss={"pool_size": 2}, optim={"ema": 0.9}, model={"dropout": True})


def test_it_steps_between_processes():
    assert_steps_between_processes(method="bigan")


@pytest.mark.slow
def test_it_goes_the_whole_way(tmp_path, run_script, start_script):
    record, card = whole_way(tmp_path, run_script, start_script, "--method", "bigan")
    assert record["losses"].keys() == {"gan_ab", "gan_ba", "disc_a", "disc_b"}
    assert "disc_accuracy_a" not in record["metrics"] and "reconstruction_l1_ab" in record["metrics"]
    assert "adversarial (lsgan) on pairs" in card
