"""Dropout that stays on while translating: a function of the picture, alone, in a batch, in pieces, made fast."""

import pytest
import torch

from cyclegan.config import ModelConfig
from cyclegan.networks import build_generator
from cyclegan.networks.dropout import SIDE, FixedDropout
from cyclegan.networks.fast import fast_generator
from cyclegan.translation.tiling import least_bytes, translate_in_pieces

GENERATORS = {"resnet_6": 40, "encoder_decoder": 48, "unet_128": 256}


def network(generator="resnet_6", **settings):
    torch.manual_seed(0)
    both = {"dropout": True, "test_dropout": True}
    return build_generator(ModelConfig(generator=generator, ngf=2, init_gain=0.2, **both | settings)).eval()


def pictures(side, n=1, width=None):
    return torch.rand(n, 3, side, width or side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_layer_drops_half_by_a_draw_of_its_own_and_doubles_the_rest():
    one, other = FixedDropout(5, 0).eval(), FixedDropout(5, 1).eval()
    x = torch.ones(2, 5, 100, 70)
    y = one(x)
    assert set(y.unique().tolist()) == {0.0, 2.0} and y.mean() == pytest.approx(1, abs=0.05)
    assert torch.equal(y[0], y[1]) and torch.equal(y, one(x)) and not torch.equal(y, other(x))
    assert torch.equal(y[:, :, SIDE:], y[:, :, : 100 - SIDE])  # The draw repeats on a larger map.
    assert torch.equal(one.drop(x[:, :, 70:, 5:], 70, 5), y[:, :, 70:, 5:])
    assert not one.state_dict()
    one.train()
    assert not torch.equal(one(x), one(x))


def test_it_draws_nothing_from_the_global_chance_and_works_under_inference_mode_first():
    layer, x = FixedDropout(3, 91).eval(), torch.ones(1, 3, 4, 4, requires_grad=True)
    before = torch.get_rng_state()
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()
    assert torch.equal(torch.get_rng_state(), before) and set(x.grad.unique().tolist()) <= {0.0, 2.0}


@pytest.mark.parametrize("generator", GENERATORS)
@torch.no_grad()
def test_a_translation_depends_on_the_picture_alone(generator):
    g, x = network(generator), pictures(GENERATORS[generator], 3)
    together = g(x)
    for i in range(3):
        torch.testing.assert_close(g(x[i : i + 1]), together[i : i + 1], atol=1e-5, rtol=0)
    plain = network(generator, test_dropout=False)
    plain.load_state_dict(g.state_dict())
    assert (plain(x) - together).abs().mean() > 0.01
    torch.testing.assert_close(fast_generator(g, "cpu")(x), together, atol=1e-4, rtol=0)


@pytest.mark.parametrize("generator", GENERATORS)
@torch.no_grad()
def test_pieces_drop_what_the_whole_picture_drops(generator):
    g = network(generator)
    x = pictures(256, width=320 if generator != "unet_128" else 384)
    bound = least_bytes(g, *x.shape[2:])
    torch.testing.assert_close(translate_in_pieces(g, x, max_bytes=bound), g(x), atol=2e-4, rtol=0)


def test_without_dropout_nothing_is_dropped():
    x = pictures(40)
    plain, both = network(dropout=False, test_dropout=False), network(dropout=False)
    assert torch.equal(plain(x), both(x))


def test_a_file_of_weights_is_that_of_plain_dropout():
    assert network().state_dict().keys() == network(test_dropout=False).state_dict().keys()
