"""Pictures too large for one forward pass: the same result, computed piece by piece within a bound of memory.

Instance norm needs the mean and variance of the *whole* picture, so a network can't be run tile by tile: each tile
would be normalised by itself, and a bright one come out like a dark one. Here the picture passes the network layer by
layer instead. A layer's output is a *feature map* that knows how to compute any window of itself from windows of what
it is made of; halos and borders are its own affair. The walk through a network then only says which maps are worth
keeping:

- what a convolution puts out below the picture's own size is computed once, window by window, and kept: in memory, or
  in a temporary file where it would exceed the bound;
- at the picture's own size, where maps are largest and convolutions cheapest, nothing is kept: a first pass gathers
  the statistics, and what comes next computes the windows again.

Sizes are (height, width) in pixels of the map itself; windows are (rows, columns), each a `range`.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO
from weakref import WeakSet, finalize

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.errors import Cancelled
from cyclegan.networks.generators import (
    CHANNELS,
    EncoderDecoder,
    Generator,
    ResidualBlock,
    ResnetGenerator,
    UnetGenerator,
)

Size = tuple[int, int]
Window = tuple[range, range]

# What libraries take once and allocators keep for the next time; and of the rest, what tensors may take, since
# allocators lose some between them. Measured by `python -m benchmarks.tiling`.
OVERHEAD = 16 * 2**20
SHARE = 0.75
# Windows that need more than this are no faster, leave larger holes in the heap, and make a cancel wait longer.
WINDOW_BYTES = 16 * 2**20
# Windows are never made smaller than about this many pixels a side: computing halos twice would cost too much.
SMALLEST = 32


class BoundTooSmall(ValueError):
    """Even the smallest pieces need more memory than the bound."""


def least_bytes(generator: Generator, height: int, width: int) -> int:
    """The smallest `max_bytes` that `translate_in_pieces` takes for a picture of this size, in bytes."""
    return OVERHEAD + math.ceil(_plan(generator, (height, width)).least / SHARE)


@torch.inference_mode()
def translate_in_pieces(
    generator: Generator,
    x: Tensor,
    *,
    max_bytes: int,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Tensor:
    """What `generator.eval()(x)` returns, up to rounding, in pieces that take little memory.

    Maps that don't fit the bound go to temporary files in `TMPDIR`, else `/var/tmp`; these have no names, so nothing
    is left behind, whatever happens. All maps together take at most 3 bytes per pixel and channel of the first layer.

    Args:
        generator: on x's device; its dropout is left out, in training mode too.
        x: (1, 3, H, W) float32 in [-1, 1], sides as the generator takes them.
        max_bytes: bound of the memory taken beside the weights, x and the result; at least `least_bytes`.
        progress: called with the part that is done, rising to 1.0.
        cancelled: asked before each piece; true ends the translation.

    Returns:
        (1, 3, H, W) in [-1, 1].

    Raises:
        BoundTooSmall: max_bytes is below `least_bytes`.
        Cancelled: `cancelled` returned true.
        OSError: the temporary files don't fit the disk.
        ValueError: x is no such picture.
    """
    generator.check_size(x)
    if len(x) != 1:
        raise ValueError(f"translate_in_pieces takes one picture at a time, not {len(x)}")
    size = x.shape[2], x.shape[3]
    plan = _plan(generator, size)
    tensors = int((max_bytes - OVERHEAD) * SHARE)
    if tensors < plan.least:
        least = math.ceil(least_bytes(generator, *size) / 2**20)
        raise BoundTooSmall(
            f"a picture of {size[1]}×{size[0]} needs at least {least} MiB of memory to translate with this network, "
            f"even in pieces, and the bound is {max_bytes / 2**20:.3g} MiB; raise the bound, or choose a smaller "
            "working size"
        )
    progress, cancelled = progress or (lambda part: None), cancelled or (lambda: False)
    run = _Run(x, tensors, plan, progress, cancelled)
    result = torch.empty_like(x)

    def take(window: Window, values: Tensor) -> None:
        _cut(result, window).copy_(values.tanh_())

    try:
        run.each(run.through(generator, _Picture(x)), take)
    finally:
        run.close()
    progress(1.0)
    return result


# Feature maps --------------------------------------------------------------------------------------------------------


class _Map:
    """A feature map (1, channels, *size) in float32, of which windows can be read.

    Attributes:
        sources: the maps that it is computed from.
    """

    itemsize = 4

    def __init__(self, channels: int, size: Size, *sources: _Map) -> None:
        self.channels, self.size, self.sources = channels, size, sources

    @property
    def whole(self) -> Window:
        """All rows and columns."""
        return range(self.size[0]), range(self.size[1])

    def reach(self, window: Window) -> Window:
        """The window of each source that this window is computed from."""
        return window

    def compute(self, window: Window, *sources: Tensor) -> Tensor:
        """This window from the sources' windows, as a new tensor."""
        raise NotImplementedError

    def scratch(self, window: Window) -> int:
        """Bytes that computing takes beside the sources and the result."""
        return 0

    def cost(self, window: Window) -> int:
        """Multiplications to compute this window from its sources, roughly."""
        return self.channels * _area(window)

    def read(self, window: Window) -> Tensor:
        """(1, channels, rows, columns), which the caller may not change."""
        inner = self.reach(window)
        return self.compute(window, *(source.read(inner) for source in self.sources))

    def nbytes(self, window: Window) -> int:
        """Bytes of this window itself."""
        return self.itemsize * self.channels * _area(window)

    def peak(self, window: Window) -> int:
        """Bytes that are held at most while `read` computes this window."""
        inner, held, peak = self.reach(window), 0, 0
        for source in self.sources:
            peak = max(peak, held + source.peak(inner))
            held += source.nbytes(inner)
        return max(peak, held + self.scratch(window) + self.nbytes(window))

    def work(self, window: Window) -> int:
        """Multiplications to read this window, roughly."""
        inner = self.reach(window)
        return self.cost(window) + sum(source.work(inner) for source in self.sources)


class _Picture(_Map):
    """The network's input, (1, 3, H, W); a plan has no tensor, only the size."""

    def __init__(self, x: Tensor | None, size: Size | None = None) -> None:
        super().__init__(CHANNELS, size or (x.shape[2], x.shape[3]))
        self._x = x

    def compute(self, window: Window) -> Tensor:
        # With channels last, a window of a kept map is contiguous memory, and CPUs convolve faster.
        return _cut(self._x, window).contiguous(memory_format=torch.channels_last)


class _Kept(_Map):
    """What was written to it, and its statistics; in memory as (H, W, channels), or in a file in the same order."""

    def __init__(self, like: _Map, room: Tensor | BinaryIO | None, device: torch.device | None = None) -> None:
        super().__init__(like.channels, like.size)
        self.moments = _Moments()
        self._room, self._device = room, device
        if hasattr(room, "close"):
            finalize(self, room.close)

    @property
    def in_memory(self) -> int:
        """Bytes that it takes in memory."""
        return self._room.nbytes if isinstance(self._room, Tensor) else 0

    def close(self) -> None:
        """Give memory or file back, although something may still refer to this."""
        if hasattr(self._room, "close"):
            self._room.close()
        self._room = None

    def write(self, window: Window, values: Tensor) -> None:
        """Keep (1, channels, rows, columns) as this window."""
        self.moments.add(values)
        if isinstance(self._room, Tensor):
            _cut(self._room, window).copy_(values)
            return
        values = values[0].permute(1, 2, 0)
        for offset, part in self._parts(window, values.contiguous().cpu()):
            try:
                self._room.seek(offset)
                while part:
                    part = part[self._room.write(part) :]
            except OSError as error:
                need = self.nbytes(self.whole) / 2**20
                raise OSError(
                    error.errno,
                    f"{error.strerror}: this picture's translation needs a temporary file of {need:.0f} MiB; free some "
                    "space, name a folder with more by TMPDIR, or choose a smaller working size",
                ) from error

    def compute(self, window: Window) -> Tensor:
        if isinstance(self._room, Tensor):
            return _cut(self._room, window)
        values = torch.empty(len(window[0]), len(window[1]), self.channels)
        for offset, part in self._parts(window, values):
            self._room.seek(offset)
            while part:
                part = part[self._room.readinto(part) :]
        return _channels_first(values.to(self._device))

    def _parts(self, window: Window, values: Tensor) -> Iterator[tuple[int, memoryview]]:
        """Where in the file which bytes of `values` (rows, columns, channels) belong."""
        rows, columns = window
        pixel = self.itemsize * self.channels
        step = len(rows) if len(columns) == self.size[1] else 1  # Whole rows lie one after the other.
        for row in range(0, len(rows), step):
            part = values[row : row + step].view(torch.uint8).numpy().reshape(-1)
            yield pixel * ((rows.start + row) * self.size[1] + columns.start), memoryview(part)


class _Convolution(_Map):
    """A convolution, whose padding is seen at the picture's borders only."""

    def __init__(self, layer: nn.Conv2d, source: _Map) -> None:
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
        size = tuple((side + 2 * padding - kernel) // stride + 1 for side in source.size)
        super().__init__(layer.out_channels, size, source)
        self._layer, self._kernel, self._stride, self._padding = layer, kernel, stride, padding

    def _wanted(self, window: Window) -> Window:
        """Source rows and columns, beyond the borders too."""
        step, before = self._stride, self._padding
        return tuple(range(r.start * step - before, (r.stop - 1) * step - before + self._kernel) for r in window)

    def reach(self, window: Window) -> Window:
        return _within(self._wanted(window), self.sources[0].size)

    def compute(self, window: Window, source: Tensor) -> Tensor:
        (top, bottom), (left, right) = (
            (max(0, -wanted.start), max(0, wanted.stop - side))
            for wanted, side in zip(self._wanted(window), self.sources[0].size, strict=True)
        )
        if top or bottom or left or right:
            mode = "reflect" if self._layer.padding_mode == "reflect" else "constant"
            source = F.pad(source, (left, right, top, bottom), mode)
        return F.conv2d(source, self._layer.weight, self._layer.bias, self._stride)

    def scratch(self, window: Window) -> int:
        # The padded source, and the weights as the library likes them; without oneDNN, a CPU unfolds the source.
        padded = self.sources[0].nbytes(self._wanted(window))
        unfolded = 0 if _has_onednn(self._layer) else self.cost(window) // self.channels * self.itemsize
        return padded + self._layer.weight.nbytes + unfolded

    def cost(self, window: Window) -> int:
        return self._layer.weight.numel() * _area(window)


class _TransposedConvolution(_Map):
    """A transposed convolution: each source pixel adds `kernel` pixels from `stride` × its place − `padding` on."""

    def __init__(self, layer: nn.ConvTranspose2d, source: _Map) -> None:
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
        size = tuple((side - 1) * stride - 2 * padding + kernel + layer.output_padding[0] for side in source.size)
        super().__init__(layer.out_channels, size, source)
        self._layer, self._kernel, self._stride, self._padding = layer, kernel, stride, padding

    def reach(self, window: Window) -> Window:
        step, before = self._stride, self._padding
        wanted = tuple(
            range(-((self._kernel - 1 - before - r.start) // step), (r.stop - 1 + before) // step + 1) for r in window
        )
        return _within(wanted, self.sources[0].size)

    def compute(self, window: Window, source: Tensor) -> Tensor:
        values = F.conv_transpose2d(source, self._layer.weight, self._layer.bias, self._stride)
        starts = (inner.start * self._stride - self._padding for inner in self.reach(window))
        cropped = tuple(range(r.start - at, r.stop - at) for r, at in zip(window, starts, strict=True))
        return _cut(values, cropped)

    def scratch(self, window: Window) -> int:
        inner = self.reach(window)
        edges = self.itemsize * self.channels * 4 * (len(inner[0]) + len(inner[1]) + 4)  # Cropped off.
        unfolded = 0 if _has_onednn(self._layer) else self.cost(window) // self.sources[0].channels * self.itemsize
        return self.sources[0].nbytes(inner) + self._layer.weight.nbytes + edges + unfolded

    def cost(self, window: Window) -> int:
        return self._layer.weight.numel() * _area(self.reach(window))


class _Doubled(_Map):
    """Each pixel twice in each direction."""

    def __init__(self, source: _Map) -> None:
        super().__init__(source.channels, (2 * source.size[0], 2 * source.size[1]), source)

    def reach(self, window: Window) -> Window:
        return tuple(range(r.start // 2, (r.stop + 1) // 2) for r in window)

    def compute(self, window: Window, source: Tensor) -> Tensor:
        values = F.interpolate(source, scale_factor=2, mode="nearest")
        values = _cut(values, tuple(range(r.start % 2, r.start % 2 + len(r)) for r in window))
        # Else what pads it would copy it once more, to channels first.
        return values.contiguous(memory_format=torch.channels_last)

    def scratch(self, window: Window) -> int:
        return 4 * self.sources[0].nbytes(self.reach(window))  # Before it is cut.


class _Normalised(_Map):
    """Instance norm by the statistics of the whole source, then scale and shift, if the layer has them."""

    def __init__(self, layer: nn.GroupNorm, source: _Map, moments: _Moments) -> None:
        super().__init__(source.channels, source.size, source)
        self._layer, self._moments = layer, moments

    def compute(self, window: Window, source: Tensor) -> Tensor:
        mean, scale = self._moments.mean, (self._moments.variance + self._layer.eps).rsqrt()
        # Subtracted first: a large mean, multiplied, would leave a large rounding error.
        mean, scale = (values.to(source.dtype).to(source.device)[:, None, None] for values in (mean, scale))
        values = (source - mean).mul_(scale)
        if self._layer.affine:
            values.mul_(self._layer.weight[:, None, None]).add_(self._layer.bias[:, None, None])
        return values


class _Pointwise(_Map):
    """A function of each pixel: an activation, a sum of two maps, or two maps one behind the other."""

    def __init__(self, function: Callable[..., Tensor], *sources: _Map, channels: int | None = None) -> None:
        super().__init__(channels or sources[0].channels, sources[0].size, *sources)
        self._function = function

    def compute(self, window: Window, *sources: Tensor) -> Tensor:
        return self._function(*sources)


class _Moments:
    """Mean and variance of each channel over windows that come one by one, (channels,) in float64, on the CPU.

    Not every accelerator has float64.
    """

    def __init__(self) -> None:
        self.mean: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0
        self._count = 0

    def add(self, values: Tensor) -> None:
        """Take in (1, channels, rows, columns)."""
        # Squares of the distance from the window's own mean, merged as Chan et al. (1979) do: the difference of
        # two large sums would lose what matters where the mean is large.
        here = values.mean(dim=(0, 2, 3))
        squares = (values - here[:, None, None]).square_().sum(dim=(0, 2, 3)).cpu().double()
        here, count = here.cpu().double(), values.shape[2] * values.shape[3]
        total = self._count + count
        apart = here - self.mean
        self.mean = self.mean + apart * (count / total)
        self._squares = self._squares + squares + apart.square() * (self._count * count / total)
        self._count = total

    @property
    def variance(self) -> Tensor:
        """Mean square of the distance from the mean."""
        return self._squares / self._count


# The walk ------------------------------------------------------------------------------------------------------------


class _Plan:
    """The walk through a network, of sizes only: nothing is computed.

    Args:
        full: the picture's size.

    Attributes:
        least: bytes that tensors take at the least, with all kept maps on disk and the smallest windows.
        work: multiplications in all, roughly.
    """

    device = torch.device("cpu")

    def __init__(self, full: Size) -> None:
        self.least, self.work, self._full = 0, 0, full
        self._kept: WeakSet[_Kept] = WeakSet()
        """Those that something still needs: the walk just lets go of a map, and its memory or file is free again."""

    def each(self, feature: _Map, take: Callable[[Window, Tensor], None]) -> None:
        """One pass over a map: `take` every window of it."""
        *_, smallest = _splits(feature.size)
        self.least = max(self.least, _taken(feature, smallest))
        self.work += feature.work(feature.whole)

    def room(self, feature: _Map) -> Tensor | BinaryIO | None:
        """Where to keep a map."""
        return None

    def keep(self, feature: _Map) -> _Kept:
        """Compute a map and keep it, so that nothing before it is needed for it any more."""
        kept = _Kept(feature, self.room(feature), self.device)
        self._kept.add(kept)
        self.each(feature, kept.write)
        return kept

    def through(self, generator: Generator, x: _Map) -> _Map:
        """What the generator puts out before the tanh.

        Raises:
            TypeError: there is no walk through this architecture.
        """
        # One flat loop for each architecture: a caller's variable would keep a map, and its memory, too long.
        match generator:
            case ResnetGenerator():
                parts = (generator.stem, *generator.down, *generator.blocks, *generator.up, (generator.head,))
                for part in parts:
                    x = self.block(part, x) if isinstance(part, ResidualBlock) else self.stage(part, x)
            case EncoderDecoder():
                for part in (*generator.down, *generator.up, generator.head):
                    x = self.stage(part, x)
            case UnetGenerator():
                skips = []
                for part in generator.down:
                    x = self.stage(part, x)
                    skips.append(x)
                skips.pop()
                for part in generator.up:
                    x = self.stage(part, x)
                    if skips:
                        skip = skips.pop()
                        x = _Pointwise(_behind, skip, x, channels=skip.channels + x.channels)
                        del skip
            case _:
                raise TypeError(f"{type(generator).__name__} can't be computed in pieces")
        return x

    def convolution(self, feature: _Convolution | _TransposedConvolution) -> _Map:
        """Keep what a convolution puts out, unless it is of the picture's own size."""
        return feature if feature.size == self._full else self.keep(feature)

    def moments(self, feature: _Map) -> _Moments:
        """The statistics of a map."""
        if isinstance(feature, _Kept):
            return feature.moments
        moments = _Moments()
        self.each(feature, lambda window, values: moments.add(values))
        return moments

    def block(self, block: ResidualBlock, x: _Map) -> _Map:
        """A residual block."""
        y = self.stage((block.conv1, block.norm1, block.act, block.conv2, block.norm2), x)
        return self.keep(_Pointwise(torch.add, x, y))

    def stage(self, layers: Iterable[nn.Module], x: _Map) -> _Map:
        """Layers, one after the other."""
        for layer in layers:
            match layer:
                case nn.Conv2d():
                    x = self.convolution(_Convolution(layer, x))
                case nn.ConvTranspose2d():
                    x = self.convolution(_TransposedConvolution(layer, x))
                case nn.Upsample():
                    x = _Doubled(x)
                case nn.GroupNorm():
                    x = _Normalised(layer, x, self.moments(x))
                case nn.ReLU():
                    x = _Pointwise(torch.relu, x)
                case nn.LeakyReLU(negative_slope=slope):
                    x = _Pointwise(lambda values, slope=slope: F.leaky_relu(values, slope), x)
                case nn.Dropout() | nn.Identity():
                    pass
                case _:
                    raise TypeError(f"{type(layer).__name__} can't be computed in pieces")
        return x


class _Run(_Plan):
    """The walk through a network, computed.

    Args:
        x: (1, 3, H, W), the picture.
        max_bytes: bound of what tensors take, at least the plan's `least`.
        plan: of the same network and size.
        progress: called with the part of the work that is done.
        cancelled: true ends it by Cancelled.
    """

    def __init__(
        self,
        x: Tensor,
        max_bytes: int,
        plan: _Plan,
        progress: Callable[[float], None],
        cancelled: Callable[[], bool],
    ) -> None:
        super().__init__((x.shape[2], x.shape[3]))
        self.device = x.device
        self._max_bytes, self._plan, self._progress, self._cancelled = max_bytes, plan, progress, cancelled

    def each(self, feature: _Map, take: Callable[[Window, Tensor], None]) -> None:
        budget = min(self._free(), max(WINDOW_BYTES, self._plan.least))
        parts = next(parts for parts in _splits(feature.size) if _taken(feature, parts) <= budget)
        whole, work = _area(feature.whole), feature.work(feature.whole)
        for window in _windows(feature.size, parts):
            if self._cancelled():
                raise Cancelled("the translation was cancelled")
            take(window, feature.read(window))
            self.work += work * _area(window) / whole
            self._progress(min(1.0, self.work / self._plan.work))

    def room(self, feature: _Map) -> Tensor | BinaryIO:
        needed = feature.nbytes(feature.whole)
        # Larger windows have less halo, so not every byte goes to what is kept.
        if needed <= self._free() - max(self._plan.least, min(WINDOW_BYTES, self._max_bytes // 4)):
            shape = (*feature.size, feature.channels)
            if self.device.type != "cpu":
                return _channels_first(torch.empty(shape, device=self.device))
            # Pages of its own, which go back to the system with the map: the heap would be left full of holes.
            return _channels_first(torch.frombuffer(mmap.mmap(-1, needed), dtype=torch.float32).view(shape))
        # Not a mapped file: its pages would count as this process's memory. And it has no name, so that it goes
        # away with its last user, even where the process is killed.
        return tempfile.TemporaryFile(buffering=0, dir=_folder())

    def close(self) -> None:
        """Give back what is still kept: an exception's traceback may refer to it for long."""
        for kept in self._kept:
            kept.close()

    def _free(self) -> int:
        return self._max_bytes - sum(kept.in_memory for kept in self._kept)


def _plan(generator: Generator, size: Size) -> _Plan:
    plan = _Plan(size)
    plan.each(plan.through(generator, _Picture(None, size)), lambda window, values: None)
    return plan


def _splits(size: Size) -> Iterator[Size]:
    """Into how many (rows, columns) of windows a map may be split, from one window to the smallest allowed."""
    down, across = 1, 1
    while True:
        yield down, across
        height, width = size[0] / down, size[1] / across
        if max(height, width) <= SMALLEST:
            return
        # Squarish windows have the least halo.
        down, across = (2 * down, across) if height > width else (down, 2 * across)


def _windows(size: Size, parts: Size) -> Iterator[Window]:
    """Windows that cover a map, rows first, which differ in size by a pixel at most."""
    for i in range(parts[0]):
        rows = range(size[0] * i // parts[0], size[0] * (i + 1) // parts[0])
        for j in range(parts[1]):
            yield rows, range(size[1] * j // parts[1], size[1] * (j + 1) // parts[1])


def _taken(feature: _Map, parts: Size) -> int:
    """Bytes that one pass over a map takes, beside what is kept: for a window in the middle, which has all its halo."""
    window = tuple(
        range((side - -(-side // n)) // 2, (side + -(-side // n)) // 2)
        for side, n in zip(feature.size, parts, strict=True)
    )
    # Who takes a window may need it twice more, to square or to reorder it.
    return max(feature.peak(window), 3 * feature.nbytes(window))


def _area(window: Window) -> int:
    return len(window[0]) * len(window[1])


def _channels_first(values: Tensor) -> Tensor:
    """(H, W, C) → (1, C, H, W), the same memory. The batch comes first, so that torch sees channels-last strides."""
    return values[None].permute(0, 3, 1, 2)


def _cut(values: Tensor, window: Window) -> Tensor:
    rows, columns = window
    return values[..., rows.start : rows.stop, columns.start : columns.stop]


def _within(window: Window, size: Size) -> Window:
    return tuple(range(max(0, r.start), min(side, r.stop)) for r, side in zip(window, size, strict=True))


def _behind(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second], dim=1)


def _has_onednn(layer: nn.Module) -> bool:
    return layer.weight.device.type != "cpu" or torch.backends.mkldnn.is_available()


def _folder() -> str | None:
    """Where large temporary files go: /tmp is memory on many systems, /var/tmp never is."""
    named = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return "/var/tmp" if not named and os.access("/var/tmp", os.W_OK) else None
