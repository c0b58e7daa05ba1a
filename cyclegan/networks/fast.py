"""A generator made fast for translation: on CPUs the same function from fewer multiplications, with torch alone.

A ResNet spends most of its time in its residual blocks' 3×3 convolutions, which torch already computes near the
processor's peak. So the only gain left is to multiply less: Winograd's minimal filtering F(4×4, 3×3) (Lavin and Gray,
Fast Algorithms for Convolutional Neural Networks, 2016) takes 36 products where the definition takes 144. A 3×3
convolution of a picture that was doubled just before sees each pixel several times: on the picture itself it is four
2×2 convolutions, 16 products where the definition takes 36. Where such a way is in fact faster is measured (`choices`).
benchmarks/reports/translate_speed.json has the measured speed, with alternatives.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.networks.choices import Choices, is_fixed
from cyclegan.networks.generators import Generator

TILE = 4
"""A tile is 4×4 values of the output. With 6×6, a sixth fewer products meet larger transforms."""
_SEEN = TILE + 2
"""The side of a 3×3 kernel's input for a tile: 6×6 values."""
# More tiles make larger, faster products of matrices, until these exceed the caches.
_TILES_AT_ONCE = 256
# Below these, the transforms cost more than the products save on every processor that was seen.
_MIN_CHANNELS = 48
# The rule where nothing is measured.
_SURE_PRODUCTS = 128 * 64
_MIN_TILES = 16
USUAL_SIDE = 256
"""Both ways of a layer are measured with what it sees of a picture of so many pixels squared, or of half of that."""
MOST_PRODUCTS = 1.3e9
"""Multiplications of a layer with such a picture, above which the rule decides: measuring would take seconds."""
CHOICES = Choices()
"""Which ways were found to be faster."""
_WEIGHTS_PER_TILE = 2048

# The transforms of the input, the kernel and the output, by the points 0, ±1, ±2 and ∞ (Lavin and Gray, section 4.3).
# In two dimensions they are Kronecker products, so each is one product of matrices over all tiles and channels.
_INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float32,
)
_KERNEL = (
    torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float32) / 24
)
_OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float32
)
_INPUT_2D, _KERNEL_2D, _OUTPUT_2D = (torch.kron(m, m).contiguous() for m in (_INPUT, _KERNEL, _OUTPUT))
# The product for the point (1, 1) adds equally to all 16 values of a tile, so a bias can be added there.
_ONES = _SEEN + 1


def fast_generator(generator: Generator, device: torch.device | str) -> Generator:
    """Return the fastest known network for translation that computes the same as `generator` in evaluation mode.

    On CPUs, this is a copy that works channels-last, computes 3×3 convolutions by Winograd's method, those of a doubled
    picture on the picture itself, and a last convolution with few outputs row by row: each where a short measurement
    with a picture of 256² found that faster, once for each processor. It accepts the same pictures, raises the same
    errors, and can be called by several threads at once. Weights that are channels-last already are shared with
    `generator`, others are copied once.

    Its results differ from the network's own in the last bits, as those of any two kernels do. A network with norms
    over a few values (a picture near `min_size`) enlarges such differences in any case; there, plain convolutions are
    used.

    Args:
        generator: weights and layers, already on `device`.
        device: the device of the pictures.

    Returns:
        On a CPU and in float32, a copy in evaluation mode, for translation only: its weights need no gradients. Else
        `generator` itself, unchanged.
    """
    if torch.device(device).type != "cpu" or any(p.dtype != torch.float32 for p in generator.parameters()):
        return generator
    # deepcopy uses the objects in its memo instead of copying.
    laid = {id(p): _laid(p) for p in generator.parameters()}
    fast: Generator = copy.deepcopy(generator, laid)
    _replace(fast)
    fast.eval()
    _choose(fast)
    return fast


def _laid(parameter: nn.Parameter) -> nn.Parameter:
    """Return the same values without gradient; kernels channels-last, shared if they are so already."""
    values = parameter.detach()
    if values.ndim == 4:
        values = values.contiguous(memory_format=torch.channels_last)
    return nn.Parameter(values, requires_grad=False)


def _replace(module: nn.Module) -> None:
    """Replace convolutions by those that have another way of computing them."""
    before: str | None = None  # The name of the layer that doubles the next one's input.
    for name, child in module.named_children():
        if not isinstance(child, nn.Conv2d):
            _replace(child)
        elif before is not None and isinstance(module, nn.Sequential) and _Doubled.suits(child):
            setattr(module, before, nn.Identity())
            setattr(module, name, _Doubled(child))
        elif _Winograd.suits(child):
            setattr(module, name, _Winograd(child))
        elif _FewOutputs.suits(child):
            setattr(module, name, _FewOutputs(child))
        before = name if _doubles(child) else None


def _doubles(layer: nn.Module) -> bool:
    """Return whether a layer repeats each pixel in two rows and columns."""
    return isinstance(layer, nn.Upsample) and layer.mode == "nearest" and layer.scale_factor == 2 and not layer.size


def _choose(fast: Generator) -> None:
    """Measure which way is faster for each layer with what it sees of a picture of USUAL_SIDE²."""
    layers = [layer for layer in fast.modules() if isinstance(layer, _TwoWays)]
    if not layers or is_fixed() or fast.whole_only:  # These search with gradients, which other ways don't have.
        return
    seen: dict[_TwoWays, torch.Size] = {}
    hooks = [layer.register_forward_pre_hook(lambda one, given: seen.update({one: given[0].shape})) for layer in layers]
    side = fast.min_size + -fast.min_size % fast.size_multiple
    with torch.inference_mode():
        fast(torch.zeros(1, fast.in_channels, side, side))
    for hook in hooks:
        hook.remove()
    for layer, shape in seen.items():
        for usual in (USUAL_SIDE, USUAL_SIDE // 2):
            at = (1, shape[1], *(max(1, length * usual // side) for length in shape[2:]))
            if layer.products(at) <= MOST_PRODUCTS:
                layer.shape = at
                break
    choose_ways(fast)


def choose_ways(network: nn.Module) -> None:
    """Measure which ways of a fast generator's layers are faster with torch's present number of threads.

    Without it, that is done as a picture comes, perhaps while others are computed, whose work disturbs the measurement.
    """
    for layer in network.modules():
        if isinstance(layer, _TwoWays):
            layer.is_other_faster()


def _keeps_size(conv: nn.Conv2d) -> bool:
    """Return whether a convolution has stride 1, one group, an odd square kernel, and pads to the input's size."""
    side = conv.kernel_size[0]
    return (
        conv.kernel_size == (side, side)
        and side % 2 == 1
        and conv.stride == (1, 1)
        and conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding == (side // 2, side // 2)
        and conv.padding_mode in ("reflect", "zeros")
    )


class _TwoWays(nn.Module):
    """A convolution that can be computed in another way, and is where that is faster."""

    sure = True
    """The choice by rule, where nothing is measured."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.shape: tuple[int, ...] | None = None
        """The usual input's, with which both ways are measured."""
        self.faster: dict[int, bool] = {}
        """True where the other way is, by torch's number of threads."""

    def usual(self, x: Tensor) -> Tensor:
        """Compute the layer with torch's own convolution."""
        return self.conv(x)

    def other(self, x: Tensor) -> Tensor:
        """Compute the same in the other way. Has no gradient."""
        raise NotImplementedError

    def products(self, shape: tuple[int, ...]) -> int:
        """Return the multiplications of the usual way for an input of this shape."""
        return self.conv.weight.numel() * shape[0] * shape[2] * shape[3]

    def is_enough(self, x: Tensor) -> bool:
        """Return whether the other way may be the faster one for this input."""
        return True

    def is_other_faster(self) -> bool:
        """Return what was measured with torch's present number of threads, or measure it."""
        if self.shape is None or is_fixed():
            return self.sure
        threads = torch.get_num_threads()
        if threads not in self.faster:
            conv = self.conv
            layer = f"{type(self).__name__.strip('_')} {conv.in_channels}→{conv.out_channels}, {conv.kernel_size[0]}²"
            self.faster[threads] = CHOICES.other_is_faster(
                f"{layer}, {conv.padding_mode}", self.shape, self.usual, self.other, rule=self.sure
            )
        return self.faster[threads]

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H', W')."""
        # Values written into a prepared tensor have no gradient.
        if torch.is_grad_enabled() and x.requires_grad:
            return self.usual(x)
        return self.other(x) if self.is_enough(x) and self.is_other_faster() else self.usual(x)


class _Winograd(_TwoWays):
    """A 3×3 convolution that keeps the size, by F(4×4, 3×3) where there are enough tiles."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        products = conv.in_channels * conv.out_channels
        self.fewest = max(_MIN_TILES, products // _WEIGHTS_PER_TILE)
        self.sure = products >= _SURE_PRODUCTS

    @staticmethod
    def suits(conv: nn.Conv2d) -> bool:
        """Return whether this class can replace `conv` and may be faster for large pictures."""
        enough = min(conv.in_channels, conv.out_channels) >= _MIN_CHANNELS
        return enough and conv.kernel_size == (3, 3) and _keeps_size(conv)

    def is_enough(self, x: Tensor) -> bool:
        """Return whether there are enough tiles."""
        return x.shape[0] * -(-x.shape[2] // TILE) * -(-x.shape[3] // TILE) >= self.fewest

    def other(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W), channels-last."""
        return _winograd(x, self.conv.weight, self.conv.bias, reflect=self.conv.padding_mode == "reflect")


def _winograd(x: Tensor, weight: Tensor, bias: Tensor | None, *, reflect: bool) -> Tensor:
    """Return `x` (N, inputs, H, W) convolved with `weight` (outputs, inputs, 3, 3), padded by a pixel; same H and W."""
    count, inputs, height, width = x.shape
    outputs = weight.shape[0]
    rows, columns = -(-height // TILE), -(-width // TILE)
    padded = _padded(x.permute(0, 2, 3, 1), TILE * rows + 2, TILE * columns + 2, reflect=reflect)
    steps = padded.stride()
    # Overlapping views of each tile's input: (6, 6, N, rows, columns, inputs).
    seen = padded.as_strided(
        (_SEEN, _SEEN, count, rows, columns, inputs),
        (steps[1], steps[2], steps[0], TILE * steps[1], TILE * steps[2], 1),
    )
    # Computed in each call, a twentieth of the convolution's time, because they take four times the weights' memory.
    kernels = torch.matmul(_KERNEL_2D, weight.permute(0, 2, 3, 1).reshape(outputs, 9, inputs)).permute(1, 2, 0)

    result = x.new_empty(count, TILE * rows, TILE * columns, outputs)
    laid = result.view(count, rows, TILE, columns, TILE, outputs).permute(2, 4, 0, 1, 3, 5)
    images = min(count, max(1, _TILES_AT_ONCE // (rows * columns)))
    lines = min(rows, max(1, _TILES_AT_ONCE // columns))
    most = _SEEN * _SEEN * images * lines * columns
    one, two = x.new_empty(most * max(inputs, outputs)), x.new_empty(most * max(inputs, outputs))
    for image in range(0, count, images):
        for line in range(0, rows, lines):
            here = (slice(None), slice(None), slice(image, image + images), slice(line, line + lines))
            part = seen[here]
            tiles = part.shape[2] * part.shape[3] * part.shape[4]
            gathered = _as(one, _SEEN**2, tiles * inputs)
            gathered.view(part.shape).copy_(part)
            values = torch.mm(_INPUT_2D, gathered, out=_as(two, _SEEN**2, tiles * inputs))
            products = torch.bmm(values.view(_SEEN**2, tiles, inputs), kernels, out=_as(one, _SEEN**2, tiles, outputs))
            if bias is not None:
                products[_ONES].add_(bias)
            flat = products.view(_SEEN**2, tiles * outputs)
            target = laid[here]
            target.copy_(torch.mm(_OUTPUT_2D, flat, out=_as(two, TILE**2, tiles * outputs)).view(target.shape))
    return result[:, :height, :width].permute(0, 3, 1, 2)


def _as(scratch: Tensor, *shape: int) -> Tensor:
    """Return the beginning of a flat tensor in this shape."""
    return scratch[: torch.Size(shape).numel()].view(shape)


def _padded(x: Tensor, height: int, width: int, *, reflect: bool) -> Tensor:
    """Return (N, height, width, C) with `x` (N, H, W, C) from row and column 1 on, its border of one pixel, and zeros.

    One write instead of two calls of `F.pad`. The zeros complete the last tiles. Their results are cut off, but
    unwritten values could be NaN, which a transform would spread over the whole tile.
    """
    bottom, right = x.shape[1] + 1, x.shape[2] + 1
    padded = x.new_empty(x.shape[0], height, width, x.shape[3])
    padded[:, 1:bottom, 1:right] = x
    if reflect:
        padded[:, 0, 1:right] = x[:, 1]
        padded[:, bottom, 1:right] = x[:, -2]
        padded[:, : bottom + 1, 0] = padded[:, : bottom + 1, 2]
        padded[:, : bottom + 1, right] = padded[:, : bottom + 1, right - 2]
        padded[:, bottom + 1 :] = 0
        padded[:, : bottom + 1, right + 1 :] = 0
    else:
        padded[:, 0] = 0
        padded[:, bottom:] = 0
        padded[:, 1:bottom, 0] = 0
        padded[:, 1:bottom, right:] = 0
    return padded


class _Doubled(_TwoWays):
    """A picture doubled by repeating pixels, and a 3×3 convolution of that which keeps the size.

    Each 2×2 block of the result sees 2×2 pixels of the picture in each of its four places, so the kernel's rows and
    columns that meet the same pixel are added beforehand (Shi et al., Is the deconvolution layer the same as a
    convolutional layer?, 2016). Reflected by a pixel, the doubled picture has its border pixels twice: the picture's,
    repeated once.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        # Of the three rows that an even row of the result sees, the last two are of one pixel; of an odd row's, the
        # first two.
        ends = torch.tensor([[[1.0, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
        kernels = torch.einsum("ayr,bxs,oirs->aboiyx", ends, ends, conv.weight).flatten(0, 2)
        self.register_buffer("kernels", kernels.contiguous(memory_format=torch.channels_last), persistent=False)
        self.register_buffer("bias", None if conv.bias is None else conv.bias.repeat(4), persistent=False)

    @staticmethod
    def suits(conv: nn.Conv2d) -> bool:
        """Return whether this class can replace `conv`, which sees a doubled picture."""
        return conv.kernel_size == (3, 3) and _keeps_size(conv)

    def products(self, shape: tuple[int, ...]) -> int:
        """Return the multiplications of the usual way, of the doubled picture, for an input of this shape."""
        return 4 * super().products(shape)

    def usual(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, 2H, 2W)."""
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))

    def other(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, 2H, 2W), channels-last."""
        count, _, height, width = x.shape
        mode = "constant" if self.conv.padding_mode == "zeros" else "replicate"
        # (N, H + 1, W + 1, 2, 2, outputs): even rows of the result begin a pixel earlier than odd ones.
        places = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), self.kernels, self.bias).permute(0, 2, 3, 1)
        places = places.unflatten(3, (2, 2, -1))
        result = x.new_empty(count, height, 2, width, 2, self.conv.out_channels)
        for row in range(2):
            for column in range(2):
                result[:, :, row, :, column] = places[:, row : row + height, column : column + width, row, column]
        return result.view(count, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


class _FewOutputs(_TwoWays):
    """A convolution to a few channels that keeps the size, by one-row kernels.

    torch takes three times as long for 3 outputs (64 inputs, 7×7, 256²). Here each row of the kernel has outputs of its
    own, 21 for a 7×7 kernel and 3 channels, which are then added, each shifted by a row.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        self.side = conv.kernel_size[0]
        outputs, inputs = conv.weight.shape[:2]
        rows = conv.weight.permute(2, 0, 1, 3).reshape(self.side * outputs, inputs, 1, self.side)
        self.register_buffer("rows", rows.contiguous(memory_format=torch.channels_last), persistent=False)

    @staticmethod
    def suits(conv: nn.Conv2d) -> bool:
        """Return whether this class can replace `conv` and may be faster."""
        return conv.kernel_size[0] >= 5 and conv.out_channels <= 4 and conv.in_channels >= 8 and _keeps_size(conv)

    def other(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W)."""
        height, edge = x.shape[2], self.side // 2
        mode = "constant" if self.conv.padding_mode == "zeros" else "reflect"
        by_row = F.conv2d(F.pad(x, (edge,) * 4, mode=mode), self.rows).unflatten(1, (self.side, -1))
        total = by_row[:, 0, :, :height]
        if self.conv.bias is not None:
            total = total + self.conv.bias.view(-1, 1, 1)
        for row in range(1, self.side):
            total = total + by_row[:, row, :, row : row + height]
        return total
