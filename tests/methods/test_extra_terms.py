"""The semantic and the temporal term: steps against independent ones, what they leave alone, resuming, processes."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cyclegan.config import CUTConfig, CycleGANConfig
from cyclegan.data.streets import PALETTE, StreetsSpec
from cyclegan.errors import ConfigError
from cyclegan.evaluation.segmenter import load_segmenter
from cyclegan.images import to_tensor
from cyclegan.methods.losses import semantic_loss, stillness, temporal_loss
from cyclegan.networks.segmenter import Reader, UNet
from cyclegan.training.semantic import SemanticSegmenter
from cyclegan.translation.smoothing import MOST_KEPT, Smoother
from tests.methods.stepping import assert_resumes_exactly, assert_steps_between_processes, batch, make
from tests.methods.test_cut import FASTCUT
from tests.methods.test_reference_step import PlainCycleGAN, copy_weights

BOTH = {"lambda_semantic": 2.0, "lambda_temporal": 3.0}


def reader(side=24):
    """The embedded segmenter, which isn't indifferent to what it sees, at a small size."""
    return Reader(load_segmenter(None, PALETTE).network, side)


def segmenter(side=24):
    return SemanticSegmenter(reader(side), {"name": "judge", "weights": "0" * 16})


def frames(seed=0, count=1, size=32, dtype=torch.float32):
    """A batch whose frames have a next one, nearly alike in the left half; the last picture has none."""
    pictures = batch(seed, count, size, dtype)
    generator = torch.Generator().manual_seed(100 + seed)
    for domain in "ab":
        real = pictures[f"real_{domain}"]
        noise = torch.rand(real.shape, dtype=dtype, generator=generator) - 0.5
        noise[..., : size // 2] /= 20
        pictures[f"next_{domain}"] = (real + noise).clamp(-1, 1)
    return pictures


class PlainReadCycleGAN(PlainCycleGAN):
    """The plain step with CyCADA's term and the weighted difference of neighbouring frames, pixel by pixel."""

    def __init__(self, f):
        super().__init__(4, 4, 6)
        self.f = f

    def extra(self, x, following, G):
        fake, next_fake = G(x), G(following)
        small = [nn.functional.interpolate(p, (24, 24), mode="bilinear", antialias=True) for p in (x, fake)]
        labels, logits = self.f(small[0]).argmax(1), self.f(small[1])
        chosen = torch.log_softmax(logits, 1).gather(1, labels[:, None])
        d = (x - following).abs().max(1).values[0].numpy() * 127.5
        height, width = d.shape
        mean = np.array([[d[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].mean() for j in range(width)]
                         for i in range(height)])  # fmt: skip
        most = np.array([[mean[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].max() for j in range(width)]
                         for i in range(height)])  # fmt: skip
        weight = torch.from_numpy(np.exp(-((most / 6) ** 2)))
        return -chosen.mean(), (weight * (fake - next_fake).abs()[0]).mean()

    def step(self, a, b, next_a, next_b):
        semantic_ab, temporal_ab = self.extra(a, next_a, self.G)
        semantic_ba, temporal_ba = self.extra(b, next_b, self.F)
        self.optim_g.zero_grad()
        gradients = {}
        (2 * (semantic_ab + semantic_ba) + 3 * (temporal_ab + temporal_ba)).backward()
        for p in [*self.G.parameters(), *self.F.parameters()]:
            gradients[p] = p.grad.clone()
        step, zero = self.optim_g.step, self.optim_g.zero_grad

        def with_extra():
            for p, gradient in gradients.items():
                p.grad += gradient
            step()

        self.optim_g.step = with_extra
        losses = super().step(a, b)
        self.optim_g.step, self.optim_g.zero_grad = step, zero
        extra = {"semantic_ab": semantic_ab, "semantic_ba": semantic_ba, "temporal_ab": temporal_ab,
                 "temporal_ba": temporal_ba}  # fmt: skip
        return losses | {name: value.detach() for name, value in extra.items()}


@pytest.mark.parametrize("run", [{}, {"reference": True}])
def test_steps_equal_plain_ones(run):
    judge = segmenter()
    judge.reader.double()
    trainer = make("cyclegan", loss=BOTH, segmenter=judge, **run)
    plain = PlainReadCycleGAN(copy.deepcopy(judge.reader.network))
    for name, theirs in (("gen_ab", plain.G), ("gen_ba", plain.F), ("disc_a", plain.D_X), ("disc_b", plain.D_Y)):
        copy_weights(trainer.networks[name].double(), theirs)
        theirs.double()
    for seed in range(2):
        pictures = frames(seed, dtype=torch.float64)
        ours = trainer.step(pictures)
        theirs = plain.step(*(pictures[name] for name in ("real_a", "real_b", "next_a", "next_b")))
        assert ours.keys() == theirs.keys() and len(ours) == 12
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-6, atol=0, msg=lambda m, n=name: f"{n}: {m}")
    for name, theirs in (("gen_ab", plain.G), ("gen_ba", plain.F)):
        for x, y in zip(trainer.networks[name].parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(x.detach(), y.detach(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("flip", [False, True])
def test_cut_has_the_same_terms_of_what_it_translated(flip):
    judge = segmenter()
    trainer = make("cut", loss={**BOTH, "direction": "ba", "flip_equivariance": flip}, segmenter=judge)
    without = make("cut", loss={"direction": "ba", "flip_equivariance": flip})
    for seed in range(2):  # Both draws of the mirror.
        pictures = frames(seed)
        generator = trainer.networks["gen_ba"]
        torch.manual_seed(seed)
        mirrored = flip and torch.rand(()).item() < 0.5
        x, following = (pictures[name].flip(3) if mirrored else pictures[name] for name in ("real_b", "next_b"))
        with torch.no_grad():
            fake, next_fake = generator(x), generator(following)
            expected = {"semantic_ba": semantic_loss(judge.reader, x, fake),
                        "temporal_ba": temporal_loss(x, following, fake, next_fake)}  # fmt: skip
        torch.manual_seed(seed)
        found = trainer.step(pictures)
        assert found.keys() == {"gan_ba", "nce_ba", "nce_identity_a", "disc_a", *expected}
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
        torch.manual_seed(seed)
        plain = without.step(pictures)
        if not seed:
            assert all(torch.equal(plain[name], found[name]) for name in ("nce_ba", "gan_ba"))


@pytest.mark.parametrize("method", ["cyclegan", "cut"])
def test_weight_0_computes_nothing_and_changes_nothing(method):
    class Untouchable(Reader):
        def forward(self, pictures):
            raise AssertionError("read")

    trainer, plain = (make(method, segmenter=judge) for judge in (
        SemanticSegmenter(Untouchable(UNet(3), 24), {}), None))  # fmt: skip
    for seed in range(2):
        found = []
        for each in (trainer, plain):
            torch.manual_seed(seed)
            found.append(each.step(batch(seed)))
        assert found[0].keys() == found[1].keys() and not any(name[:4] in ("sema", "temp") for name in found[0])
    for name, network in trainer.networks.items():
        others = plain.networks[name].state_dict()
        assert all(torch.equal(value, others[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("loss", "terms"),
    [
        ({"lambda_semantic": 1.0, "semantic_domain": "a"}, {"semantic_ab"}),
        ({"lambda_semantic": 1.0, "semantic_domain": "b"}, {"semantic_ba"}),
        ({"lambda_semantic": 1.0, "semantic_domain": "ab"}, {"semantic_ab", "semantic_ba"}),
    ],
)
def test_only_translations_of_pictures_that_can_be_read_have_the_term(loss, terms):
    assert {name for name in make("cyclegan", loss=loss, segmenter=segmenter()).step(batch()) if "sem" in name} == terms


def test_a_domain_without_next_frames_has_no_temporal_term():
    pictures = {name: value for name, value in frames().items() if name != "next_b"}
    found = make("cyclegan", loss={"lambda_temporal": 1.0}).step(pictures)
    assert "temporal_ab" in found and "temporal_ba" not in found


def test_the_segmenter_is_in_no_state_and_never_changes():
    judge = segmenter()
    before = copy.deepcopy(judge.reader.state_dict())
    trainer = make("cyclegan", loss=BOTH, optim={"ema": 0.5}, segmenter=judge)
    for network in (*trainer.method.networks.values(), *trainer.method.fixed.values()):
        network.train()
    trainer.step(frames())
    assert trainer.method.fixed["segmenter"] is judge.reader and not any(m.training for m in judge.reader.modules())
    assert all(torch.equal(value, before[name]) for name, value in judge.reader.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in judge.reader.parameters())
    assert trainer.state_dict()["shared"]["networks"].keys() == {"gen_ab", "gen_ba", "disc_a", "disc_b"}
    moved = {id(p) for optimiser in trainer.optimisers.values() for g in optimiser.param_groups for p in g["params"]}
    assert not moved & {id(p) for p in judge.reader.parameters()}


@pytest.mark.parametrize("method", ["cyclegan", "cut"])
def test_it_resumes_exactly_and_steps_between_processes(method):
    settings = {"method": method, "loss": {**BOTH, **(FASTCUT if method == "cut" else {})}, "segmenter": segmenter(),
                "pictures": frames}  # fmt: skip
    assert_resumes_exactly(**settings, optim={"ema": 0.9})
    assert_steps_between_processes(**settings)


def test_the_terms_can_be_compiled_and_bf16_is_fine(any_precision):
    judge, pictures = Reader(nn.Conv2d(3, 4, 3), 24), frames()
    a, b = pictures["real_a"], pictures["real_b"]
    for term, given in ((semantic_loss, (judge, a, b)), (temporal_loss, (a, pictures["next_a"], b, a))):
        compiled = torch.compile(term, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(*given), term(*given), rtol=1e-4, atol=1e-6)
    found = make("cyclegan", loss=BOTH, segmenter=segmenter(), precision="bf16").step(pictures)
    assert len(found) == 12 and all(value.isfinite() for value in found.values())


# ---------------------------------------------------------------------------------------------------- the terms


def test_the_semantic_term_is_low_where_labels_are_kept_and_leads_back_to_them():
    judge, spec = reader(64), StreetsSpec(count=2, width=64, height=64)
    day, night = (to_tensor(draw("train", "a", 0))[None] for draw in (spec.image, spec.truth))
    other = to_tensor(spec.truth("train", "a", 1))[None]
    kept, lost = semantic_loss(judge, day, night), semantic_loss(judge, day, other)
    assert semantic_loss(judge, day, day) < kept < lost
    fake = other.requires_grad_(True)
    (gradient,) = torch.autograd.grad(semantic_loss(judge, day, fake), fake)
    assert semantic_loss(judge, day, fake - 0.05 * gradient.sign()) < 0.7 * lost


def test_stillness_is_the_share_that_smoothing_keeps():
    rng = np.random.default_rng(0)
    one = rng.integers(60, 200, (40, 48, 3), dtype=np.uint8)
    noise = rng.integers(0, 4, one.shape)
    noise[10:20, 10:30] += 12
    other = (one + noise).astype(np.uint8)
    smoother = Smoother(1.0)
    black, white = (Image.new("RGB", (48, 40), (level,) * 3) for level in (0, 255))
    smoother.smooth(Image.fromarray(one), black)
    kept = 1 - np.asarray(smoother.smooth(Image.fromarray(other), white))[..., 0] / 255
    both = (torch.from_numpy(p.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None] for p in (one, other))
    found = MOST_KEPT * stillness(*both)[0, 0].numpy()
    assert 0 < found.min() < 0.05 and found.max() > 0.7
    assert np.abs(found - kept)[2:-2, 2:-2].max() < 0.08  # It rounds changes to whole grey levels.


def test_the_temporal_term_counts_still_pixels_alone():
    still, jump = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    jump[..., 4:] = 1.0
    fake = torch.zeros(1, 3, 8, 8)
    fake[..., 4:] = 0.5
    assert temporal_loss(still, jump, torch.zeros_like(fake), fake) < 1e-6
    nearly = still + 1e-4
    found = temporal_loss(still, nearly, torch.zeros_like(fake), fake)
    torch.testing.assert_close(found.item(), 0.25, rtol=1e-4, atol=0)
    # A picture that is its own next one has none, so differences of dropout don't count.
    two, following = torch.cat([still, still]), torch.cat([nearly, still])
    torch.testing.assert_close(temporal_loss(two, following, torch.zeros(2, 3, 8, 8), fake.repeat(2, 1, 1, 1)).item(),
                               0.125, rtol=1e-4, atol=0)  # fmt: skip


def test_options():
    for kind in (CycleGANConfig, CUTConfig):
        assert kind().next_frames == {} and "semantic" not in kind().describe()
        assert not {"lambda_semantic", "semantic_segmenter", "lambda_temporal"} & kind().recorded()[0].keys()
        named = kind(lambda_semantic=1.0, semantic_segmenter="/home/me/judges/mine").recorded()[0]
        assert named["semantic_segmenter"] == "mine"
        with pytest.raises(ConfigError, match="--semantic_segmenter is for --lambda_semantic"):
            kind(semantic_segmenter="x").validate()
        with pytest.raises(ConfigError, match="--temporal_gap_ms 0 is out of range"):
            kind(temporal_gap_ms=0).validate()
    loss = CycleGANConfig(lambda_semantic=1.0, semantic_domain="b", lambda_temporal=10.0, temporal_gap_ms=40)
    assert loss.describe().endswith("semantic × 1 (B), temporal × 10") and loss.next_frames == {"a": 40, "b": 40}
    cut = CUTConfig(lambda_semantic=0.5, direction="ba", lambda_temporal=1.0)
    assert cut.describe().endswith("semantic × 0.5, temporal × 1") and cut.next_frames == {"b": 250}
