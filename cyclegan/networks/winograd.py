"""3×3 convolutions made fast for training on CPUs in fp32: forward and both gradients by Winograd's method.

`fast` has the same method for translation. Here the weights change in each step, and each step needs two gradients.
The convolution of a tile is Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A, linear in the input d and in the kernel g, so both gradients
are the transposed products of the same transforms: A dy Aᵀ is computed once, the gradient of d is B[…]Bᵀ, and that of g
is Gᵀ[…]G, summed over all tiles. So all three take 36 products a tile where the definition takes 144.
benchmarks/reports/train_throughput-cpu-fp32-256.md has the measured speed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cyclegan.networks.fast import _INPUT_2D, _KERNEL_2D, _ONES, _OUTPUT_2D, _SEEN, TILE, _keeps_size, _padded

# Below these the transforms cost more than the products save: measured with 1 thread and 64 to 512 channels.
_MIN_CHANNELS = 96
_MIN_TILES = 48
# More tiles make larger, faster products of matrices, until these exceed the caches.
_TILES_AT_ONCE = 256
# One thread transforms faster what its processor's second cache holds. Several wait for each other after each
# operation, long on a machine with other work, so theirs are few and large.
_TILES_TRANSFORMED = 32


class WinogradConv2d(nn.Conv2d):
    """A 3×3 convolution that keeps the size, by F(4×4, 3×3) where that is faster, and else as always.

    Weights, their names and their gradients' layout are `nn.Conv2d`'s. There are no gradients of gradients.
    """

    @staticmethod
    def suits(conv: nn.Conv2d) -> bool:
        """Return whether a convolution can be computed by this class, and gains for large enough pictures."""
        enough = min(conv.in_channels, conv.out_channels) >= _MIN_CHANNELS
        return enough and conv.kernel_size == (3, 3) and _keeps_size(conv)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W)."""
        tiles = len(x) * -(-x.shape[-2] // TILE) * -(-x.shape[-1] // TILE)
        if (
            tiles < _MIN_TILES
            or x.ndim != 4
            or min(x.shape[2:]) < 2
            or x.device.type != "cpu"
            or x.dtype != self.weight.dtype
            or x.dtype not in (torch.float32, torch.float64)
            or torch.is_autocast_enabled("cpu")
            or torch.compiler.is_compiling()
        ):
            return super().forward(x)
        return _Convolution.apply(x, self.weight, self.bias, self.padding_mode == "reflect")


def use_winograd(network: nn.Module) -> None:
    """Let a network's 3×3 convolutions be `WinogradConv2d` where that suits them, in place.

    Only their class changes, so weights, optimisers and hooks that know them remain valid.
    """
    for layer in network.modules():
        # Not those of a derived class, e.g. with spectral norm.
        if type(layer) is nn.Conv2d and WinogradConv2d.suits(layer):
            layer.__class__ = WinogradConv2d


class _Convolution(torch.autograd.Function):
    """(x, weight, bias or None, reflect) → the convolution of `x`, padded by a pixel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, reflect: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.reflect = reflect
        tiles, outputs = _Tiles(x), len(weight)
        gather = tiles.gatherer(x, reflect)
        kernels = _transformed_kernels(weight).transpose(1, 2)
        result = x.new_empty(tiles.count, TILE * tiles.rows, TILE * tiles.columns, outputs)
        by_tile = tiles.by_tile(result)
        values, products = tiles.scratch("one", x, x.shape[1]), tiles.scratch("two", x, outputs)
        for lines in tiles.parts():
            for part in tiles.parts(lines):
                torch.mm(_as(_INPUT_2D, x), gather(part), out=tiles.flat(values, lines, part))
            found = torch.bmm(tiles.whole(values, lines), kernels, out=tiles.whole(products, lines))
            if bias is not None:
                found[_ONES] += bias
            for part in tiles.parts(lines):
                out = torch.mm(
                    _as(_OUTPUT_2D, x), tiles.flat(products, lines, part), out=tiles.room(part, x, TILE, outputs)
                )
                by_tile[part].copy_(out.view(TILE, TILE, -1, tiles.columns, outputs).permute(2, 0, 3, 1, 4))
        return _channels_first(result[:, : x.shape[2], : x.shape[3]])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias, _ = ctx.needs_input_grad
        tiles, (outputs, inputs) = _Tiles(x), weight.shape[:2]
        grad = tiles.filled(grad)
        by_tile = tiles.by_tile(grad)
        gradients, values = tiles.scratch("one", x, outputs), tiles.scratch("two", x, inputs)
        if for_x:
            kernels = _transformed_kernels(weight)
            grad_x = x.new_zeros(tiles.count, TILE * (tiles.rows + 1), TILE * (tiles.columns + 1), inputs)
        if for_weight:
            gather = tiles.gatherer(x, ctx.reflect)
            grad_kernels = _scratch("sums", x, _SEEN**2, outputs, inputs).zero_()
        for lines in tiles.parts():
            for part in tiles.parts(lines):
                one = tiles.room(part, x, TILE, outputs)
                one.view(TILE, TILE, -1, tiles.columns, outputs).copy_(by_tile[part].permute(1, 3, 0, 2, 4))
                torch.mm(_as(_OUTPUT_2D, x).t(), one, out=tiles.flat(gradients, lines, part))
            found = tiles.whole(gradients, lines)
            if for_weight:
                for part in tiles.parts(lines):
                    torch.mm(_as(_INPUT_2D, x), gather(part), out=tiles.flat(values, lines, part))
                grad_kernels.baddbmm_(found.transpose(1, 2), tiles.whole(values, lines))
            if for_x:
                torch.bmm(found, kernels, out=tiles.whole(values, lines))
                for part in tiles.parts(lines):
                    seen = tiles.room(part, x, _SEEN, inputs)
                    torch.mm(_as(_INPUT_2D, x).t(), tiles.flat(values, lines, part), out=seen)
                    tiles.scatter(seen.view(_SEEN, _SEEN, -1, tiles.columns, inputs), grad_x, part)
        grad_weight = None
        if for_weight:
            by_place = torch.mm(_as(_KERNEL_2D, x).t(), grad_kernels.view(_SEEN**2, -1))
            grad_weight = by_place.t().contiguous().view(weight.shape)
        return (
            _without_border(grad_x, x.shape, ctx.reflect) if for_x else None,
            grad_weight,
            grad.sum((0, 1, 2)) if for_bias else None,
            None,
        )


class _Tiles:
    """The tiles of a batch of pictures (N, C, H, W): where they lie, and in which order they are worked on.

    A line is a row of tiles of one picture. Lines are numbered through all pictures.
    """

    def __init__(self, x: Tensor) -> None:
        self.count, _, self.height, self.width = x.shape
        self.rows, self.columns = -(-self.height // TILE), -(-self.width // TILE)
        self.lines = self.count * self.rows
        self.at_once = min(self.lines, max(1, _TILES_AT_ONCE // self.columns))
        alone = torch.get_num_threads() == 1
        self.transformed = max(1, _TILES_TRANSFORMED // self.columns) if alone else self.at_once

    def parts(self, lines: slice | None = None) -> Iterator[slice]:
        """Yield the lines whose products are computed at once, or of such lines those that are transformed at once."""
        step = self.at_once if lines is None else self.transformed
        lines = lines or slice(0, self.lines)
        for line in range(lines.start, lines.stop, step):
            yield slice(line, min(line + step, lines.stop))

    def scratch(self, name: str, like: Tensor, channels: int) -> Tensor:
        """Return room for the transforms of as many lines as are worked on at once."""
        return _scratch(name, like, _SEEN**2 * self.at_once * self.columns * channels)

    def room(self, lines: slice, like: Tensor, side: int, channels: int) -> Tensor:
        """Return (side², tiles · channels) for the tiles of some lines, which the next call overwrites."""
        return _scratch("tiles", like, side**2, (lines.stop - lines.start) * self.columns * channels)

    def whole(self, scratch: Tensor, lines: slice) -> Tensor:
        """Return the room as (36, tiles, channels) for these lines."""
        tiles = (lines.stop - lines.start) * self.columns
        channels = len(scratch) // (_SEEN**2 * self.at_once * self.columns)
        return scratch[: _SEEN**2 * tiles * channels].view(_SEEN**2, tiles, channels)

    def flat(self, scratch: Tensor, lines: slice, part: slice) -> Tensor:
        """Return of `whole` the tiles of a part of its lines, as (36, tiles · channels)."""
        tiles = slice((part.start - lines.start) * self.columns, (part.stop - lines.start) * self.columns)
        whole = self.whole(scratch, lines)
        channels = whole.shape[2]
        return whole.view(_SEEN**2, -1)[:, tiles.start * channels : tiles.stop * channels]

    def filled(self, y: Tensor) -> Tensor:
        """Return (N, C, H, W) as (N, H, W, C), contiguous, with zeros up to whole tiles."""
        y = _channels_last(y)
        if self.height % TILE == 0 == self.width % TILE:
            return y
        filled = y.new_zeros(self.count, TILE * self.rows, TILE * self.columns, y.shape[3])
        filled[:, : self.height, : self.width] = y
        return filled

    def by_tile(self, y: Tensor) -> Tensor:
        """Return whole tiles (N, H, W, C) as (lines, 4, columns, 4, C)."""
        return y.view(self.lines, TILE, self.columns, TILE, y.shape[3])

    def gatherer(self, x: Tensor, reflect: bool) -> Any:
        """Return a function from lines to their tiles' input, as (36, tiles · channels)."""
        padded = _padded(_channels_last(x), TILE * self.rows + 2, TILE * self.columns + 2, reflect=reflect)
        picture, row, column, _ = padded.stride()
        channels = x.shape[1]
        # Overlapping views of each tile's input: (N, rows, 6, 6, columns, channels).
        seen = padded.as_strided(
            (self.count, self.rows, _SEEN, _SEEN, self.columns, channels),
            (picture, TILE * row, row, column, TILE * column, 1),
        )

        def gather(lines: slice) -> Tensor:
            room = self.room(lines, x, _SEEN, channels)
            found = room.view(_SEEN, _SEEN, -1, self.columns, channels)
            for picture, rows, place in self._by_picture(lines):
                found[:, :, place].copy_(seen[picture, rows].permute(1, 2, 0, 3, 4))
            return room

        return gather

    def scatter(self, seen: Tensor, target: Tensor, lines: slice) -> None:
        """Add each tile's input (6, 6, lines, columns, C) to where it lies in `target` (N, H + 4, W + 4, C)."""
        for picture, rows, place in self._by_picture(lines):
            part = target[picture, TILE * rows.start : TILE * (rows.stop + 1)]
            # (4, 4, rows + 1, columns + 1, C): the last two rows and columns of a tile are the next one's first two.
            grid = part.view(-1, TILE, self.columns + 1, TILE, part.shape[2]).permute(1, 3, 0, 2, 4)
            rest, here = _SEEN - TILE, seen[:, :, place]
            grid[:, :, :-1, :-1] += here[:TILE, :TILE]
            grid[:, :rest, :-1, 1:] += here[:TILE, TILE:]
            grid[:rest, :, 1:, :-1] += here[TILE:, :TILE]
            grid[:rest, :rest, 1:, 1:] += here[TILE:, TILE:]

    def _by_picture(self, lines: slice) -> Iterator[tuple[int, slice, slice]]:
        """Yield the lines of each picture among these: the picture, its rows of tiles, and their places in `lines`."""
        line = lines.start
        while line < lines.stop:
            picture, row = divmod(line, self.rows)
            number = min(lines.stop - line, self.rows - row)
            place = line - lines.start
            yield picture, slice(row, row + number), slice(place, place + number)
            line += number


def _transformed_kernels(weight: Tensor) -> Tensor:
    """Return (outputs, inputs, 3, 3) as (36, outputs, inputs), in room that the next call overwrites."""
    outputs, inputs = weight.shape[:2]
    room = _scratch("kernels", weight, _SEEN**2, outputs * inputs)
    kernels = torch.mm(_as(_KERNEL_2D, weight), weight.reshape(outputs * inputs, 9).t(), out=room)
    return kernels.view(_SEEN**2, outputs, inputs)


def _without_border(grad: Tensor, shape: torch.Size, reflect: bool) -> Tensor:
    """Return the gradient of pictures (N, C, H, W) from that of the padded ones, (N, H + 2 or more, W + 2, C)."""
    bottom, right = shape[2], shape[3]
    if reflect:
        grad[:, :, 2] += grad[:, :, 0]
        grad[:, :, right - 1] += grad[:, :, right + 1]
        grad[:, 2] += grad[:, 0]
        grad[:, bottom - 1] += grad[:, bottom + 1]
    return _channels_first(grad[:, 1 : bottom + 1, 1 : right + 1])


# torch's norms are many times slower for channels-last gradients on a CPU, and so are mixtures of both layouts. So what
# goes in and out is channels-first. A transpose of a matrix takes torch a third of the time of a permuted copy.


def _channels_last(y: Tensor) -> Tensor:
    """Return (N, C, H, W) as (N, H, W, C), contiguous."""
    count, channels, height, width = y.shape
    if (laid := y.permute(0, 2, 3, 1)).is_contiguous():
        return laid
    laid = y.new_empty(count, height, width, channels)
    for target, source in zip(laid, y.contiguous(), strict=True):
        target.view(-1, channels).copy_(source.view(channels, -1).t())
    return laid


def _channels_first(y: Tensor) -> Tensor:
    """Return (N, H, W, C) as (N, C, H, W), contiguous."""
    count, height, width, channels = y.shape
    laid = y.new_empty(count, channels, height, width)
    for target, source in zip(laid, y.contiguous(), strict=True):
        target.view(channels, -1).copy_(source.view(-1, channels).t())
    return laid


def _as(matrix: Tensor, like: Tensor) -> Tensor:
    """Return a transform in a tensor's precision."""
    return matrix.to(like.dtype)


_ROOM = threading.local()


def _scratch(name: str, like: Tensor, *shape: int) -> Tensor:
    """Return a tensor of undefined values, which this thread's next call with that name overwrites.

    The same memory in each call: to get as much from the system anew took a quarter of a convolution's time.
    """
    size, key = torch.Size(shape).numel(), f"{name}_{like.dtype}"
    held = getattr(_ROOM, key, None)
    if held is None or len(held) < size:
        with torch.inference_mode(False):
            held = like.new_empty(size)
        setattr(_ROOM, key, held)
    return held[:size].view(shape)
