"""The fast generator: the same pictures as the network's own, for every architecture, size, batch and thread."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cyclegan.config import ModelConfig
from cyclegan.networks import build_generator, choices
from cyclegan.networks import fast as module
from cyclegan.networks.fast import fast_generator

HALF_A_GREY_LEVEL = 0.5 / 127.5


@pytest.fixture(autouse=True)
def small_networks_count(monkeypatch):
    """Networks of 8 channels are computed as those of 64 are, so that tests are fast and mean something."""
    monkeypatch.setenv(choices.VARIABLE, "fixed")
    monkeypatch.setattr(module, "_MIN_CHANNELS", 16)
    monkeypatch.setattr(module, "_SURE_PRODUCTS", 16 * 16)
    monkeypatch.setattr(module, "_MIN_TILES", 1)
    monkeypatch.setattr(module, "_TILES_AT_ONCE", 12)  # Several chunks, the last of them smaller.


def network(generator="resnet_6", *, ngf=8, **settings):
    """Weights as training leaves them: biases, scales and shifts are drawn too."""
    torch.manual_seed(0)
    made = build_generator(ModelConfig(generator=generator, ngf=ngf, **settings)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return made


def pictures(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def kinds(module):
    return {type(m) for m in module.modules()}


@pytest.mark.parametrize("norm_affine", [False, True])
@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize("generator", ["resnet_6", "resnet_9", "unet_128", "unet_256", "encoder_decoder"])
def test_every_architecture_gives_the_same_picture(generator, upsample, norm_affine):
    plain = network(generator, upsample=upsample, norm_affine=norm_affine)
    fast = fast_generator(plain, "cpu")
    side = max(64, plain.min_size)
    x = pictures(1, 3, side, side)
    with torch.inference_mode():
        expected, found = plain(x), fast(x)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert float((found - expected).abs().max()) < HALF_A_GREY_LEVEL
    if generator.startswith("resnet"):
        assert {module._Winograd, module._FewOutputs} <= kinds(fast)
    assert (module._Doubled in kinds(fast)) == (upsample == "resize")


def test_zeros_around_the_picture():
    plain, x = network("resnet_6", upsample="resize_zeros"), pictures(1, 3, 64, 64)
    with torch.inference_mode():
        assert float((fast_generator(plain, "cpu")(x) - plain(x)).abs().max()) < HALF_A_GREY_LEVEL


@pytest.mark.parametrize(
    "shape", [(1, 3, 64, 64), (1, 3, 40, 132), (1, 3, 132, 44), (3, 3, 52, 60), (5, 3, 32, 32), (2, 3, 8, 12)]
)
def test_sizes_and_batches(shape):
    plain = network()
    x = pictures(*shape)
    with torch.inference_mode():
        expected, found = plain(x), fast_generator(plain, torch.device("cpu"))(x)
    # Norms over a few values enlarge the last bits; 8×12 pixels are 2×3 values in the residual blocks.
    allowed = HALF_A_GREY_LEVEL if min(shape[2:]) >= 32 else 0.1
    assert float((found - expected).abs().max()) < allowed


@pytest.mark.parametrize("mode", ["reflect", "zeros"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 2, 3), (2, 5, 9), (3, 16, 16), (1, 7, 50), (1, 50, 7), (7, 6, 6)])
def test_winograd_is_the_convolution(mode, bias, shape):
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 24, 3, padding=1, padding_mode=mode, bias=bias).requires_grad_(False)
    x = torch.randn(shape[0], 16, *shape[1:])
    found = module._Winograd(conv)(x)
    torch.testing.assert_close(found, conv(x), rtol=1e-4, atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last) or any(side % 4 for side in shape[1:])


def test_memory_that_held_nan_does_not_show(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda self, *shape: self.new_full(shape, float("nan")))
    conv = nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect").requires_grad_(False)
    for side in (5, 6, 7, 8):
        assert module._Winograd(conv)(torch.randn(1, 16, side, side)).isfinite().all()


@pytest.mark.parametrize("mode", ["reflect", "zeros"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), (2, 5, 9), (3, 16, 16)])
def test_a_doubled_picture_is_convolved_without_being_doubled(mode, bias, shape):
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 24, 3, padding=1, padding_mode=mode, bias=bias).requires_grad_(False)
    x, layer = torch.randn(shape[0], 16, *shape[1:]), module._Doubled(conv)
    expected = conv(torch.repeat_interleave(torch.repeat_interleave(x, 2, 2), 2, 3))
    torch.testing.assert_close(layer.other(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.usual(x), expected, rtol=1e-4, atol=1e-4)
    assert layer.kernels.shape == (4 * 24, 16, 2, 2)  # 16 products for four values, not 36.


@pytest.mark.parametrize("mode", ["reflect", "zeros"])
@pytest.mark.parametrize("bias", [True, False])
def test_few_outputs_are_the_convolution(mode, bias):
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 3, 7, padding=3, padding_mode=mode, bias=bias).requires_grad_(False)
    x = torch.randn(2, 16, 13, 21)
    assert module._FewOutputs.suits(conv)
    torch.testing.assert_close(module._FewOutputs(conv)(x), conv(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings", [{"stride": 2}, {"dilation": 2}, {"groups": 2}, {"padding": 0}, {"padding_mode": "circular"}]
)
def test_other_convolutions_are_left_alone(settings):
    for outputs, side in ((64, 3), (4, 7)):
        conv = nn.Conv2d(64, outputs, side, **{"padding": side // 2, **settings})
        assert not module._Winograd.suits(conv) and not module._FewOutputs.suits(conv)


def test_few_tiles_are_computed_as_before(monkeypatch):
    monkeypatch.setattr(module, "_MIN_TILES", 5)
    monkeypatch.setattr(module, "_winograd", None)
    conv = nn.Conv2d(16, 16, 3, padding=1).requires_grad_(False)
    x = torch.randn(1, 16, 8, 8)
    assert torch.equal(module._Winograd(conv)(x), conv(x))
    with pytest.raises(TypeError, match="not callable"):
        module._Winograd(conv)(torch.randn(1, 16, 8, 9))


def test_gradients_flow_through_the_plain_convolution():
    conv = nn.Conv2d(16, 16, 3, padding=1).requires_grad_(False)
    x = torch.randn(1, 16, 8, 8, requires_grad=True)
    module._Winograd(conv)(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("shape", [(1, 3, 66, 64), (1, 3, 4, 64), (1, 4, 64, 64), (3, 64, 64)])
def test_it_refuses_what_the_network_refuses(shape):
    plain = network()
    with pytest.raises(ValueError) as expected:
        plain(torch.zeros(shape))
    with pytest.raises(ValueError) as found:
        fast_generator(plain, "cpu")(torch.zeros(shape))
    assert str(found.value) == str(expected.value)


def test_weights_are_shared_where_they_can_be_and_the_network_stays_as_it_is():
    plain = network().to(memory_format=torch.channels_last).train()
    before = {name: (p.data_ptr(), p.clone()) for name, p in plain.named_parameters()}
    fast = fast_generator(plain, "cpu")
    assert {p.data_ptr() for p in fast.parameters()} == {p.data_ptr() for p in plain.parameters()}
    assert plain.training and not fast.training
    assert all(p.requires_grad for p in plain.parameters()) and not any(p.requires_grad for p in fast.parameters())
    assert all(p.data_ptr() == before[n][0] and torch.equal(p, before[n][1]) for n, p in plain.named_parameters())
    assert not kinds(plain) & {module._Winograd, module._FewOutputs}
    assert (fast.size_multiple, fast.min_size) == (plain.size_multiple, plain.min_size)


def test_elsewhere_and_in_other_precisions_the_network_itself():
    plain = network()
    assert fast_generator(plain, "cuda") is plain
    half = network().to(torch.bfloat16)
    assert fast_generator(half, "cpu") is half


def test_dropout_is_off():
    plain = network(dropout=True).train()
    x = pictures(1, 3, 64, 64)
    with torch.inference_mode():
        found = fast_generator(plain, "cpu")(x)
        assert float((found - plain.eval()(x)).abs().max()) < HALF_A_GREY_LEVEL


def test_several_threads_at_once():
    fast = fast_generator(network(), "cpu")
    inputs = [pictures(1, 3, 40 + 4 * i, 64) for i in range(8)]

    def translate(x):
        with torch.inference_mode():
            return fast(x)

    expected = [translate(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert all(map(torch.equal, pool.map(translate, inputs), expected))


def test_it_goes_with_its_object():
    plain = network()
    held = []
    for _ in range(3):
        fast = fast_generator(plain, "cpu")
        with torch.inference_mode():
            fast(pictures(1, 3, 64, 64))
        held += [weakref.ref(fast), *map(weakref.ref, fast.parameters())]
    gc.disable()  # Nothing refers back, so nothing has to be searched for.
    try:
        del fast
        assert not any(ref() is not None for ref in held)
    finally:
        gc.enable()


def test_the_transforms_are_exact_on_whole_numbers():
    """Lavin and Gray's identity, in float64: Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A is the convolution of a tile."""
    torch.manual_seed(0)
    d, g = torch.randint(-9, 9, (6, 6)).double(), torch.randint(-9, 9, (3, 3)).double()
    through = (module._KERNEL_2D.double() @ g.flatten()) * (module._INPUT_2D.double() @ d.flatten())
    found = (module._OUTPUT_2D.double() @ through).view(4, 4)
    torch.testing.assert_close(found, F.conv2d(d[None, None], g[None, None])[0, 0], rtol=0, atol=1e-4)
    assert torch.equal(module._OUTPUT_2D[:, module._ONES], torch.ones(16))
