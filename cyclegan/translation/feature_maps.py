"""Feature maps of which any window can be computed from windows of the maps that they are made of.

Each map handles its own halos and borders. Sizes are (height, width) in pixels of the map itself; windows are
(rows, columns), each a `range`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO
from weakref import finalize

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.networks.dropout import FixedDropout
from cyclegan.networks.generators import CHANNELS

Size = tuple[int, int]
Window = tuple[range, range]


class FeatureMap:
    """A feature map (1, channels, *size) in float32 with windows to read.

    Attributes:
        sources: the maps that it is computed from.
    """

    itemsize = 4

    def __init__(self, channels: int, size: Size, *sources: FeatureMap) -> None:
        self.channels, self.size, self.sources = channels, size, sources

    @property
    def whole(self) -> Window:
        """All rows and columns."""
        return range(self.size[0]), range(self.size[1])

    def reach(self, window: Window) -> Window:
        """Return the sources' window that this window is computed from."""
        return window

    def compute(self, window: Window, *sources: Tensor) -> Tensor:
        """Return this window, computed from the sources' windows, as a new tensor."""
        raise NotImplementedError

    def scratch(self, window: Window) -> int:
        """Return the bytes that computing takes besides the sources and the result."""
        return 0

    def cost(self, window: Window) -> int:
        """Return the multiplications to compute this window from its sources, roughly."""
        return self.channels * area(window)

    def read(self, window: Window) -> Tensor:
        """Return (1, channels, rows, columns), which the caller must not change."""
        inner = self.reach(window)
        return self.compute(window, *(source.read(inner) for source in self.sources))

    def nbytes(self, window: Window) -> int:
        """Return the bytes of this window itself."""
        return self.itemsize * self.channels * area(window)

    def peak(self, window: Window) -> int:
        """Return the most bytes that are held while `read` computes this window."""
        inner, held, peak = self.reach(window), 0, 0
        for source in self.sources:
            peak = max(peak, held + source.peak(inner))
            held += source.nbytes(inner)
        return max(peak, held + self.scratch(window) + self.nbytes(window))

    def work(self, window: Window) -> int:
        """Return the multiplications to read this window, roughly."""
        inner = self.reach(window)
        return self.cost(window) + sum(source.work(inner) for source in self.sources)


class Picture(FeatureMap):
    """The network's input, (1, 3, H, W); a plan has no tensor, only the size."""

    def __init__(self, x: Tensor | None, size: Size | None = None) -> None:
        super().__init__(CHANNELS, size or (x.shape[2], x.shape[3]))
        self._x = x

    def compute(self, window: Window) -> Tensor:
        # With channels last, a window of a kept map is contiguous memory, and CPUs convolve faster.
        return cut(self._x, window).contiguous(memory_format=torch.channels_last)


class KeptMap(FeatureMap):
    """A map that was written here, with its statistics; as (H, W, channels) in memory, or in a file in that order."""

    def __init__(self, like: FeatureMap, room: Tensor | BinaryIO | None, device: torch.device | None = None) -> None:
        super().__init__(like.channels, like.size)
        self.moments = RunningMoments()
        self._room, self._device = room, device
        if hasattr(room, "close"):
            finalize(self, room.close)

    @property
    def in_memory(self) -> int:
        """Its bytes in memory."""
        return self._room.nbytes if isinstance(self._room, Tensor) else 0

    def close(self) -> None:
        """Release the memory or the file, although something may still refer to this."""
        if hasattr(self._room, "close"):
            self._room.close()
        self._room = None

    def write(self, window: Window, values: Tensor) -> None:
        """Keep (1, channels, rows, columns) as this window."""
        self.moments.add(values)
        if isinstance(self._room, Tensor):
            cut(self._room, window).copy_(values)
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
                    "space, name a folder with more in TMPDIR, or choose a smaller working size",
                ) from error

    def compute(self, window: Window) -> Tensor:
        if isinstance(self._room, Tensor):
            return cut(self._room, window)
        values = torch.empty(len(window[0]), len(window[1]), self.channels)
        for offset, part in self._parts(window, values):
            self._room.seek(offset)
            while part:
                part = part[self._room.readinto(part) :]
        return channels_first(values.to(self._device))

    def _parts(self, window: Window, values: Tensor) -> Iterator[tuple[int, memoryview]]:
        """Yield the parts of `values` (rows, columns, channels) with their offsets in the file."""
        rows, columns = window
        pixel = self.itemsize * self.channels
        step = len(rows) if len(columns) == self.size[1] else 1  # Whole rows are contiguous.
        for row in range(0, len(rows), step):
            part = values[row : row + step].view(torch.uint8).numpy().reshape(-1)
            yield pixel * ((rows.start + row) * self.size[1] + columns.start), memoryview(part)


class Convolution(FeatureMap):
    """A convolution, padded at the picture's borders only."""

    def __init__(self, layer: nn.Conv2d, source: FeatureMap) -> None:
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
        size = tuple((side + 2 * padding - kernel) // stride + 1 for side in source.size)
        super().__init__(layer.out_channels, size, source)
        self._layer, self._kernel, self._stride, self._padding = layer, kernel, stride, padding

    def _wanted(self, window: Window) -> Window:
        """Return the source's rows and columns, beyond the borders too."""
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
        # The padded source, and the weights in the library's layout; without oneDNN, a CPU unfolds the source.
        padded = self.sources[0].nbytes(self._wanted(window))
        unfolded = 0 if _has_onednn(self._layer) else self.cost(window) // self.channels * self.itemsize
        return padded + self._layer.weight.nbytes + unfolded

    def cost(self, window: Window) -> int:
        return self._layer.weight.numel() * area(window)


class TransposedConvolution(FeatureMap):
    """A transposed convolution: each source pixel adds `kernel` pixels, from `stride` × its position − `padding`."""

    def __init__(self, layer: nn.ConvTranspose2d, source: FeatureMap) -> None:
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
        return cut(values, cropped)

    def scratch(self, window: Window) -> int:
        inner = self.reach(window)
        edges = self.itemsize * self.channels * 4 * (len(inner[0]) + len(inner[1]) + 4)  # Cropped off.
        unfolded = 0 if _has_onednn(self._layer) else self.cost(window) // self.sources[0].channels * self.itemsize
        return self.sources[0].nbytes(inner) + self._layer.weight.nbytes + edges + unfolded

    def cost(self, window: Window) -> int:
        return self._layer.weight.numel() * area(self.reach(window))


class Doubled(FeatureMap):
    """Each pixel twice in each direction."""

    def __init__(self, source: FeatureMap) -> None:
        super().__init__(source.channels, (2 * source.size[0], 2 * source.size[1]), source)

    def reach(self, window: Window) -> Window:
        return tuple(range(r.start // 2, (r.stop + 1) // 2) for r in window)

    def compute(self, window: Window, source: Tensor) -> Tensor:
        values = F.interpolate(source, scale_factor=2, mode="nearest")
        values = cut(values, tuple(range(r.start % 2, r.start % 2 + len(r)) for r in window))
        # Without this, padding would copy it once more, to channels first.
        return values.contiguous(memory_format=torch.channels_last)

    def scratch(self, window: Window) -> int:
        return 4 * self.sources[0].nbytes(self.reach(window))  # Before it is cut.


class Normalised(FeatureMap):
    """Instance norm by the statistics of the whole source, then scale and shift, if the layer has them."""

    def __init__(self, layer: nn.GroupNorm, source: FeatureMap, moments: RunningMoments) -> None:
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


class Dropped(FeatureMap):
    """A map without the values that a layer always drops."""

    def __init__(self, layer: FixedDropout, source: FeatureMap) -> None:
        super().__init__(source.channels, source.size, source)
        self._layer = layer

    def compute(self, window: Window, source: Tensor) -> Tensor:
        return self._layer.drop(source, window[0].start, window[1].start)

    def scratch(self, window: Window) -> int:
        return 3 * self.nbytes(window)  # The draw for these places, and as floats twice.


class Pointwise(FeatureMap):
    """A function of each pixel: an activation, a sum of two maps, or two maps joined along the channels."""

    def __init__(self, function: Callable[..., Tensor], *sources: FeatureMap, channels: int | None = None) -> None:
        super().__init__(channels or sources[0].channels, sources[0].size, *sources)
        self._function = function

    def compute(self, window: Window, *sources: Tensor) -> Tensor:
        return self._function(*sources)


class RunningMoments:
    """Mean and variance of each channel over windows that are added one by one, (channels,) in float64.

    They are kept on the CPU, because not every accelerator has float64.
    """

    def __init__(self) -> None:
        self.mean: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0
        self._count = 0

    def add(self, values: Tensor) -> None:
        """Add (1, channels, rows, columns)."""
        # Squares of the distance from the window's own mean, merged as by Chan et al. (1979), because the difference of
        # two large sums would lose precision where the mean is large.
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
        """The mean square of the distance from the mean."""
        return self._squares / self._count


def area(window: Window) -> int:
    """Return the number of positions in a window."""
    return len(window[0]) * len(window[1])


def channels_first(values: Tensor) -> Tensor:
    """Return (H, W, C) as (1, C, H, W) of the same memory, with strides that torch knows as channels-last."""
    return values[None].permute(0, 3, 1, 2)


def cut(values: Tensor, window: Window) -> Tensor:
    """Return the part of values (…, H, W) that lies in a window."""
    rows, columns = window
    return values[..., rows.start : rows.stop, columns.start : columns.stop]


def _within(window: Window, size: Size) -> Window:
    return tuple(range(max(0, r.start), min(side, r.stop)) for r, side in zip(window, size, strict=True))


def _has_onednn(layer: nn.Module) -> bool:
    return layer.weight.device.type != "cpu" or torch.backends.mkldnn.is_available()
