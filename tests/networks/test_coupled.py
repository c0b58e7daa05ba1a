"""Coupled generators: what one of them drew is found again, and drawn by the other."""

import dataclasses

import pytest
import torch

from cyclegan.config import ModelConfig
from cyclegan.errors import ConfigError
from cyclegan.evaluation.grids import cut_grid
from cyclegan.evaluation.samples import sample_grid, sample_metrics, translate_samples
from cyclegan.images import mean_difference
from cyclegan.networks import CoupledGenerator, CoupledPair, build_coupled, build_discriminator, build_generator
from cyclegan.networks.fast import fast_generator

MODEL = ModelConfig(generator="coupled", discriminator="coupled", picture_size=16, latent_size=4, ngf=4, ndf=4,
                    init_gain=0.2)  # fmt: skip


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(1)
    return build_coupled(MODEL)[0].eval()


def drawn(pair, count, seed=0):
    """Pictures of both domains that the pair can draw."""
    z = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    with torch.no_grad():
        return pair(z)


def test_what_the_pair_drew_is_inverted_and_drawn_in_the_other_domain(pair):
    a, b = drawn(pair, 2)
    assert (a - b).abs().mean() > 0.1 and (a[0] - a[1]).abs().mean() > 0.02  # So that equality means something.
    ab, ba = (CoupledGenerator(pair, way, starts=4, steps=50) for way in ("ab", "ba"))
    with torch.inference_mode():
        for network, real, other in ((ab, a, b), (ba, b, a)):
            fake, redrawn = network.translate_and_redraw(real)
            assert (redrawn - real).abs().mean() * 127.5 < 0.5
            assert (fake - other).abs().mean() * 127.5 < 0.5
            assert torch.equal(network(real), fake)  # The same each time,
        alone = network(real[1:])
        torch.testing.assert_close(alone, fake[1:], rtol=0, atol=1e-5)  # and for each as if it came alone.
    assert all(p.grad is None for p in pair.parameters()) and not fake.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(fast_generator(ba, "cpu")(real[:1]), fake[:1], rtol=0, atol=1e-3)


def test_pictures_of_other_sizes_are_scaled_to_its_own_and_back(pair):
    network = CoupledGenerator(pair, starts=1, steps=2)
    with torch.inference_mode():
        assert network(torch.rand(2, 3, 33, 7)).shape == (2, 3, 33, 7)
        assert network(torch.rand(1, 3, 1, 1)).shape == (1, 3, 1, 1)
        large, small = network(torch.ones(1, 3, 48, 48)), network(torch.ones(1, 3, 16, 16))
        enlarged = torch.nn.functional.interpolate(small, (48, 48), mode="bilinear")
        torch.testing.assert_close(large, enlarged, rtol=0, atol=1e-3)
        with pytest.raises(ValueError, match="CoupledGenerator takes"):
            network(torch.rand(1, 4, 16, 16))


def test_more_steps_come_nearer_and_the_best_start_is_taken(pair):
    a = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1  # Nothing that it can draw.
    errors = []
    for starts, steps in ((1, 1), (8, 1), (8, 30)):
        with torch.inference_mode():
            redrawn = CoupledGenerator(pair, starts=starts, steps=steps).translate_and_redraw(a)[1]
        errors.append(float((redrawn - a).square().mean()))
    assert errors[0] > 1.01 * errors[1] and errors[1] > 1.01 * errors[2]


@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize("size", [8, 64])
def test_it_draws_and_judges_pictures_of_its_size(size, upsample):
    pair, judge = build_coupled(ModelConfig.from_json(MODEL.to_json() | {"picture_size": size, "upsample": upsample}))
    a, b = pair(torch.rand(3, 4) * 2 - 1)
    assert a.shape == b.shape == (3, 3, size, size) and a.abs().max() <= 1
    on_a, on_b = judge(a, b)
    assert on_a.shape == on_b.shape == (3, 1, 1, 1)
    torch.testing.assert_close(judge.judge(b, "b"), on_b)
    assert judge.judge(torch.rand(1, 3, 50, 40), "a").shape == (1, 1, 1, 1)


def test_a_checkpoints_weights_hold_what_its_direction_needs(pair):
    a, b = drawn(pair, 1)
    for way, source in (("ab", a), ("ba", b)):
        view = CoupledGenerator(pair, way, steps=5)
        rebuilt = build_generator(dataclasses.replace(MODEL, inversion_steps=5))
        rebuilt.load_state_dict(view.state_dict())
        with torch.no_grad():
            assert torch.equal(rebuilt.eval()(source), view(source))


def test_sizes_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match="not 24"):
        CoupledPair(24)
    with pytest.raises(ConfigError, match="8, 16, 32, 64, 128, 256, 512 or 1024 pixels a side, not 100"):
        ModelConfig(generator="coupled", picture_size=100).validate()
    with pytest.raises(ConfigError, match="64 × --inversion_steps 1000 are 64000, .* at most 4000 together"):
        ModelConfig.from_json(MODEL.to_json() | {"inversion_starts": 64, "inversion_steps": 1000})
    with pytest.raises(ValueError, match="build_coupled"):
        build_discriminator(MODEL)


def test_mixed_precision_draws_in_full_precision_and_inverts_as_without(pair):
    a, _ = drawn(pair, 1)
    network = CoupledGenerator(pair, starts=2, steps=5)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        mixed = network.translate_and_redraw(a)
        assert all(each.dtype == torch.float32 for each in pair(torch.rand(1, 4)))
    with torch.inference_mode():
        for one, other in zip(mixed, network.translate_and_redraw(a), strict=True):
            assert torch.equal(one, other)


def test_the_inversions_error_is_a_figure_and_a_column_of_the_grid(pair, tmp_path):
    a, b = drawn(pair, 2)
    given = {"real_a": list(a), "real_b": [torch.full_like(x, 1.0) for x in b], "label_a": ["1", "2"],
             "label_b": ["1", "2"]}  # fmt: skip
    networks = {f"gen_{way}": CoupledGenerator(pair, way, steps=20) for way in ("ab", "ba")}
    seen = []
    translated = translate_samples(given, networks, "cpu", lambda: seen.append(1))
    metrics = sample_metrics(given, translated, {}, "cpu")
    assert metrics["inversion_l1_ab"] < 1 < 20 < metrics["inversion_l1_ba"] and len(seen) == 4
    redrawn = networks["gen_ba"].translate_and_redraw(given["real_b"][0][None])[1]
    torch.testing.assert_close(translated["ba"].redrawn[0], redrawn[0], rtol=0, atol=1e-4)
    sample_grid(translated["ab"], {"a": "A", "b": "B"}, count=2).save(tmp_path / "ab.png")
    rows = cut_grid(tmp_path / "ab.png")
    assert [len(row) for row in rows] == [4, 4]  # The last one looks like the first.
    assert mean_difference(rows[0][0], rows[0][3]) < 1 < mean_difference(rows[0][0], rows[0][1])
