"""CUT's step against an independent one, written plainly here from the paper; and the whole way."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cyclegan.cli.flags import parse_train_config
from cyclegan.methods.cut import patch_nce
from cyclegan.networks import build_generator
from tests.methods.stepping import assert_resumes_exactly, assert_steps_between_processes, batch, make
from tests.methods.test_reference_step import copy_weights, plain_discriminator, plain_generator
from tests.methods.whole_way import whole_way

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
