"""Winograd's convolution for training: the same values and gradients as torch's own, and only where it applies."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from cyclegan.config import ModelConfig
from cyclegan.networks import build_generator, generators
from cyclegan.networks import winograd as module
from cyclegan.networks.winograd import WinogradConv2d, use_winograd


@pytest.fixture(autouse=True)
def small_networks_count(monkeypatch):
    """A few channels and tiles are computed as many are, in several parts, the last of them smaller."""
    monkeypatch.setattr(module, "_MIN_CHANNELS", 3)
    monkeypatch.setattr(module, "_MIN_TILES", 1)
    monkeypatch.setattr(module, "_TILES_AT_ONCE", 6)
    monkeypatch.setattr(module, "_TILES_TRANSFORMED", 2)


def pair(inputs=3, outputs=5, **settings):
    """The same layer twice, computed by torch and by Winograd's method."""
    torch.manual_seed(0)
    plain = nn.Conv2d(inputs, outputs, 3, **{"padding": 1, "padding_mode": "reflect", **settings})
    fast = copy.deepcopy(plain)
    use_winograd(fast)
    assert type(fast) is WinogradConv2d
    return plain, fast


def values_and_gradients(conv, x, layout=torch.contiguous_format):
    x = x.detach().requires_grad_()
    y = conv(x)
    towards = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
    return y, *torch.autograd.grad(y, (x, *conv.parameters()), towards.contiguous(memory_format=layout))


class Calls(TorchDispatchMode):
    """Counts calls of torch's operations."""

    def __init__(self):
        super().__init__()
        self.counts = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.counts[name] = self.counts.get(name, 0) + 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["reflect", "zeros"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 2, 3), (2, 5, 9), (3, 16, 16), (1, 7, 50), (1, 50, 7), (7, 6, 6)])
def test_values_and_gradients_are_the_convolutions(shape, bias, mode, dtype):
    plain, fast = (conv.to(dtype) for conv in pair(bias=bias, padding_mode=mode))
    x = torch.randn(shape[0], 3, *shape[1:], dtype=dtype)
    for layout in (torch.contiguous_format, torch.channels_last):
        laid = x.contiguous(memory_format=layout)
        expected, found = (values_and_gradients(conv, laid, layout) for conv in (plain, fast))
        for one, other in zip(expected, found, strict=True):
            assert other.shape == one.shape and other.dtype == dtype and other.is_contiguous()
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4 if dtype == torch.float32 else 2e-5)


def test_gradients_are_those_of_the_function():
    _, fast = pair(3, 4)
    fast.double()
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: fast(x), (x, fast.weight, fast.bias))


@pytest.mark.parametrize("needed", [(True, False), (False, True)])
def test_only_the_needed_gradients_are_computed(needed):
    _, fast = pair()
    x = torch.randn(1, 3, 8, 8, requires_grad=needed[0])
    fast.requires_grad_(needed[1])
    y = fast(x)
    with Calls() as calls:
        y.sum().backward()
    assert [x.grad is not None, fast.weight.grad is not None] == list(needed)
    assert ("bmm" in calls.counts, "baddbmm_" in calls.counts) == needed


def test_gradients_of_gradients_are_refused():
    _, fast = pair()
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(fast(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_weights_names_and_hooks_remain():
    network = build_generator(ModelConfig(generator="resnet_6", ngf=8))
    before = {name: id(p) for name, p in network.named_parameters()}
    seen = []
    network.blocks[0].conv1.register_forward_hook(lambda *_: seen.append(1))
    use_winograd(network)
    assert {name: id(p) for name, p in network.named_parameters()} == before
    assert sum(type(layer) is WinogradConv2d for layer in network.modules()) == 12  # Two a block.
    other = copy.deepcopy(network)
    other.load_state_dict(network.state_dict())
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(other(x), network(x))
    assert seen == [1, 1]


@pytest.mark.parametrize(
    "settings",
    [{"stride": 2}, {"dilation": 2}, {"groups": 2}, {"padding": 0}, {"padding_mode": "circular"}, {"kernel_size": 5}],
)
def test_other_convolutions_are_left_alone(settings):
    conv = nn.Conv2d(8, 8, **{"kernel_size": 3, "padding": 1, **settings})
    use_winograd(conv)
    assert type(conv) is nn.Conv2d


def test_a_convolution_with_spectral_norm_is_left_alone():
    conv = spectral_norm(nn.Conv2d(8, 8, 3, padding=1))
    use_winograd(conv)
    assert not isinstance(conv, WinogradConv2d)


def test_few_tiles_short_types_and_compilers_get_the_plain_convolution(monkeypatch):
    monkeypatch.setattr(module._Convolution, "apply", None)
    plain, fast = pair()
    x = torch.randn(1, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fast(x), plain(x))
    compiled = torch.compile(fast, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), plain(x))
    monkeypatch.setattr(module, "_MIN_TILES", 5)
    assert torch.equal(fast(x), plain(x))
    assert torch.equal(copy.deepcopy(fast).bfloat16()(x.bfloat16()), copy.deepcopy(plain).bfloat16()(x.bfloat16()))
    with pytest.raises(TypeError, match="not callable"):
        fast(torch.randn(1, 3, 8, 9))


def test_memory_that_held_nan_does_not_show(monkeypatch):
    monkeypatch.setattr(module, "_scratch", lambda name, like, *shape: like.new_full(shape, float("nan")))
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda self, *shape: self.new_full(shape, float("nan")))
    _, fast = pair()
    for side in (5, 6, 7, 8):
        assert all(found.isfinite().all() for found in values_and_gradients(fast, torch.randn(2, 3, side, side)))


def test_the_same_bits_each_time_from_every_thread_and_with_checkpointing():
    _, fast = pair(8, 8)
    inputs = [torch.randn(1, 8, 12 + 4 * i, 16) for i in range(6)]
    expected = [values_and_gradients(fast, x) for x in inputs]
    with ThreadPoolExecutor(3) as pool:
        for found in (pool.map(lambda x: values_and_gradients(fast, x), inputs) for _ in range(3)):
            assert all(map(torch.equal, sum(found, ()), sum(expected, ())))
    again = copy.deepcopy(fast)
    again.forward = lambda x: checkpoint(fast, x, use_reentrant=False)
    x = inputs[0].requires_grad_()
    y = again(x)
    towards = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    found = (y, *torch.autograd.grad(y, (x, *fast.parameters()), towards))
    assert all(map(torch.equal, found, expected[0]))


def test_no_wide_convolution_is_left_to_torch_in_a_step():
    """Structure, not time: of a ResNet's 3×3 convolutions without stride, torch computes neither value nor gradient."""
    network = build_generator(ModelConfig(generator="resnet_6", ngf=8))
    use_winograd(network)
    x = torch.rand(2, 3, 32, 32)
    with Calls() as calls:
        network(x).mean().backward()
    assert len(network.blocks) == 6 and isinstance(network.blocks[0], generators.ResidualBlock)
    # Torch's own: the first, two down, two up, the last.
    assert calls.counts["convolution"] == calls.counts["convolution_backward"] == 6
    # 2 parts of 8 tiles at most 6 at once: for each of 12 layers, forward and for the input's gradient.
    assert calls.counts["bmm"] == 2 * calls.counts["baddbmm_"]
