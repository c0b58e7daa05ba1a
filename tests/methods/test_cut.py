"""CUT's step against an independent one, written plainly here from the paper; and the whole way."""


from functools import partial

import pytest
import torch
from torch import nn

from cyclegan.cli.flags import parse_train_config
from cyclegan.methods.cut import patch_nce
from tests.methods.stepping import assert_resumes_exactly, assert_steps_between_processes, batch, make
from tests.methods.test_reference_step import copy_weights, plain_discriminator, plain_generator
from tests.methods.whole_way import whole_way
from tests.training.test_trainer import Reads

LAYERS = (4, 7, 10, 14)
"""Of the plain generator: both downsampling convolutions, and the first and the fifth residual block."""


class PlainCUT:
    """Section 3 of the paper, one picture and one patch after the other."""

    def __init__(self, *, identity, weight, patches, flip, k=4):
        self.identity, self.weight, self.patches, self.flip = identity, weight, patches, flip
        self.G, self.D = plain_generator(k, 6), plain_discriminator(k)
        self.H = nn.ModuleList(
            nn.Sequential(nn.Linear(c, 256), nn.ReLU(), nn.Linear(256, 256)) for c in (3, 2 * k, 4 * k, 4 * k, 4 * k)
        )
        for network in (self.G, self.D, self.H):
            network.double()

    def start(self):
        self.optim_g, self.optim_f, self.optim_d = (
            torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (self.G, self.H, self.D)
        )

    def features(self, x):
        found = [x]
        for number, layer in enumerate(self.G[: LAYERS[-1] + 1]):
            x = layer(x)
            if number in LAYERS:
                found.append(x)
        return found

    def nce(self, x, y, flipped):
        """ℓ(v, v⁺, v⁻) of eq. 2, summed over layers and places as in eq. 3; here their mean."""
        keys, queries = self.features(x), self.features(y)
        total = 0
        for head, key, query in zip(self.H, keys, queries, strict=True):
            if flipped:
                query = query.flip(3)
            height, width = key.shape[2:]
            places = [divmod(int(p), width) for p in torch.randperm(height * width)[: self.patches]]
            losses = []
            for n in range(len(x)):
                v = [head(query[n, :, i, j]) for i, j in places]
                positive = [head(key[n, :, i, j]).detach() for i, j in places]
                v, positive = ([p / p.norm() for p in vectors] for vectors in (v, positive))
                for s in range(len(places)):
                    similar = torch.stack([v[s] @ positive[other] for other in range(len(places))]) / 0.07
                    losses.append(-torch.log(similar[s].exp() / similar.exp().sum()))
            total = total + sum(losses) / len(losses)
        return total / len(self.H)

    def step(self, x, y):
        mse = nn.MSELoss()
        flipped = self.flip and torch.rand(()).item() < 0.5
        fake = self.G(x.flip(3) if flipped else x)
        judged = self.D(fake)
        losses = {"gan_ab": mse(judged, torch.ones_like(judged)), "nce_ab": self.nce(x, fake, flipped)}
        nce = losses["nce_ab"]
        if self.identity:
            losses["nce_identity_b"] = self.nce(y, self.G(y.flip(3) if flipped else y), flipped)
            nce = (nce + losses["nce_identity_b"]) / 2
        for optimiser in (self.optim_g, self.optim_f):
            optimiser.zero_grad()
        (losses["gan_ab"] + self.weight * nce).backward()
        self.optim_g.step()
        self.optim_f.step()
        self.optim_d.zero_grad()
        on_real, on_fake = self.D(y), self.D(fake.detach())
        losses["disc_b"] = 0.5 * (mse(on_real, torch.ones_like(on_real)) + mse(on_fake, torch.zeros_like(on_fake)))
        losses["disc_b"].backward()
        self.optim_d.step()
        return losses


FASTCUT = {"lambda_nce": 10.0, "nce_identity": False, "flip_equivariance": True}


@pytest.mark.parametrize("run", [{}, {"reference": True}])
@pytest.mark.parametrize(("options", "count"), [({}, 1), ({}, 2), (FASTCUT, 1), ({"flip_equivariance": True}, 2)])
def test_steps_equal_plain_ones(run, options, count):
    trainer = make("cut", loss={**options, "nce_patches": 4}, **run)
    plain = PlainCUT(
        identity=options.get("nce_identity", True), weight=options.get("lambda_nce", 1.0), patches=4,
        flip="flip_equivariance" in options,
    )  # fmt: skip
    pairs = [(trainer.networks[name], theirs)
             for name, theirs in (("gen_ab", plain.G), ("disc_b", plain.D), ("heads", plain.H))]  # fmt: skip
    for ours, theirs in pairs:
        ours.double()
        copy_weights(ours, theirs)
    plain.start()
    for seed in range(3):
        pictures = batch(seed, count, dtype=torch.float64)
        torch.manual_seed(seed)
        ours = trainer.step(pictures)
        torch.manual_seed(seed)
        theirs = plain.step(*pictures.values())
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value.detach(), rtol=1e-7, atol=0, msg=lambda m, n=name: f"{n}: {m}")
    for ours, theirs in pairs:
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-8)


def test_the_loss_is_that_of_finding_the_own_key():
    described = torch.eye(4)[None].repeat(2, 1, 1)
    assert patch_nce(described, described, temperature=0.07) < 1e-5  # All others are orthogonal.
    blank = torch.ones(2, 4, 4)
    torch.testing.assert_close(patch_nce(blank, blank, temperature=0.07), torch.tensor(4.0).log())
    others = torch.cat([described[:1], described[1:].roll(1, 1)])
    assert patch_nce(described[:1], described[:1], temperature=0.07) < patch_nce(described, others, temperature=0.07)
    described.requires_grad_()
    patch_nce(torch.rand(2, 4, 4), described, temperature=1.0)  # Keys get no gradients.
    query = torch.rand(2, 4, 4, requires_grad=True)
    patch_nce(query, described, temperature=1.0).backward()
    assert described.grad is None and query.grad is not None


@pytest.mark.parametrize("generator", ["resnet_9", "unet_128", "encoder_decoder"])
def test_every_generator_gives_its_features_with_the_picture(generator):
    size = 128 if generator == "unet_128" else 32
    trainer = make("cut", model={"generator": generator, "ngf": 2}, size=size)
    network, pictures = trainer.networks["gen_ab"], batch(size=size)
    with torch.no_grad():
        made, found = network(pictures["real_a"], features="also")
        torch.testing.assert_close(made, network(pictures["real_a"]))
        alone = network(pictures["real_a"], features="only")
    assert [f.shape for f in found] == [f.shape for f in alone] and len(found) == 5
    assert all(torch.equal(f, g) for f, g in zip(found, alone, strict=True))
    assert torch.equal(found[0], pictures["real_a"])
    shapes = {
        "resnet_9": [(3, 1), (4, 2), (8, 4), (8, 4), (8, 4)],
        "unet_128": [(3, 1), (2, 2), (4, 4), (8, 8), (16, 16)],
        "encoder_decoder": [(3, 1), (2, 2), (4, 4), (8, 8), (16, 16)],
    }
    assert [(f.shape[1], size // f.shape[2]) for f in found] == shapes[generator]
    losses = trainer.step(pictures)
    assert losses.keys() == {"gan_ab", "nce_ab", "nce_identity_b", "disc_b"}
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.slow
def test_one_step_whatever_the_flags_for_speed(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))

    def stepped(**run):
        trainer = make("cut", loss=FASTCUT if run.pop("fast", False) else {}, **run)
        torch.manual_seed(5)
        trainer.step(batch())
        torch.manual_seed(6)
        return trainer.step(batch(1))

    for fast in (False, True):
        expected = stepped(reference=True, fast=fast)
        for run in ({}, {"gradient_checkpointing": True}, {"channels_last": True}, {"compile": True}):
            for name, value in stepped(**run, fast=fast).items():
                torch.testing.assert_close(
                    value, expected[name], rtol=1e-3, atol=1e-4, msg=lambda m, r=run: f"{r}: {m}"
                )


@pytest.mark.parametrize(
    ("options", "passes"),
    [({}, [2, 2]), ({"nce_identity": False}, [1, 1]), (FASTCUT, [1, 1, 1]), ({"lambda_gan": 0.0}, [2, 2])],
)
def test_passes_through_each_network(options, passes):
    """The inputs' features come from the translating pass, unless it sees them mirrored."""
    trainer, seen = make("cut", loss=options), {}
    for name, network in trainer.networks.items():
        network.register_forward_hook(lambda _, args, __, n=name: seen.setdefault(n, []).append(len(args[0])))
    trainer.step(batch())
    assert seen["gen_ab"] == passes and seen.get("disc_b") == ([1, 2] if options.get("lambda_gan", 1) else None)


def test_it_takes_pictures_of_two_sizes_and_bf16(any_precision):
    trainer = make("cut", precision="bf16")
    losses = trainer.step(batch() | {"real_b": torch.rand(1, 3, 24, 40) * 2 - 1})
    assert len(losses) == 4 and all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize("options", [{}, FASTCUT])
def test_nothing_in_a_step_waits_for_the_device(options):
    trainer = make("cut", loss=options)
    pictures = batch()
    with Reads() as reads:
        trainer.step(pictures)
    assert not reads.found


def test_it_resumes_exactly():
    assert_resumes_exactly(
        method="cut", loss={**FASTCUT, "pool_size": 2, "direction": "ba"}, optim={"ema": 0.9}, model={"dropout": True}
    )


@pytest.mark.parametrize("options", [{}, FASTCUT])
def test_it_steps_between_processes(options):
    assert_steps_between_processes(method="cut", loss=options)


def test_the_heads_are_the_same_in_every_process_and_are_not_published():
    from cyclegan.methods import build_method

    config = make("cut").config
    made = []
    for index in (0, 1):
        torch.manual_seed(3)
        method = build_method(config, process_index=index)
        method.prepare(batch(index, size=64))
        made.append(method.networks["heads"].state_dict())
    assert all(torch.equal(value, made[1][name]) for name, value in made[0].items())
    weight = made[0]["heads.0.0.weight"]
    assert weight.shape == (256, 3) and 0.015 < weight.std() < 0.025
    assert method.published == ("gen_ab",) and method.judges().keys() == {"b"}


def test_fastcut_is_a_preset():
    def parsed(*flags):
        config = parse_train_config(["--method", "cut", "--dataset", "x", "--output_dir", "x", *flags])
        loss, optim = config.loss, config.optim
        return (loss.lambda_nce, loss.nce_identity, loss.flip_equivariance, optim.epochs, optim.decay_epochs,
                loss.pool_size)  # fmt: skip

    assert parsed() == (1.0, True, False, 200, 200, 0)
    assert parsed("--fastcut") == (10.0, False, True, 150, 50, 0)
    assert parsed("--fastcut", "--lambda_nce", "5", "--epochs", "3") == (5.0, False, True, 3, 50, 0)
    with pytest.raises(SystemExit):
        parsed("--lambda_nce", "0")


@pytest.mark.slow
def test_it_goes_the_whole_way(tmp_path, run_script, start_script):
    flags = ("--method", "cut", "--fastcut")
    record, card = whole_way(tmp_path, run_script, start_script, *flags)
    assert record["losses"].keys() == {"gan_ab", "nce_ab", "disc_b"}
    assert record["metrics"].keys() >= {"disc_accuracy_b", "change_l1_ab", "diversity_ab"}
    assert "PatchNCE × 10" in card
