"""Pictures too large for one forward pass: the same result, computed piece by piece within a bound of memory.

Instance norm needs the mean and variance of the *whole* picture, so a network can't be run tile by tile: each tile
would be normalised by itself, and a bright one would come out like a dark one. Here the picture passes the network
layer by layer instead. A layer's output is a feature map (`feature_maps`) that can compute any window of itself. The
walk through a network only decides which maps to keep:

- A convolution's output below the picture's own size is computed once, window by window, and kept: in memory, or in a
  temporary file where it would exceed the bound.
- At the picture's own size, where maps are largest and convolutions cheapest, nothing is kept: a first pass gathers
  the statistics, and the next map computes the windows again.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.errors import Cancelled, ImageError
from cyclegan.networks.dropout import FixedDropout
from cyclegan.networks.generators import EncoderDecoder, Generator, ResidualBlock, ResnetGenerator, UnetGenerator
from cyclegan.translation.feature_maps import (
    Convolution,
    Doubled,
    Dropped,
    FeatureMap,
    KeptMap,
    Normalised,
    Picture,
    Pointwise,
    RunningMoments,
    Size,
    TransposedConvolution,
    Window,
    area,
    channels_first,
    cut,
)

# Bytes that libraries take once and allocators keep; and the share of the rest for tensors, because allocators lose
# some between them. Measured by `python -m benchmarks.tiling`.
OVERHEAD = 16 * 2**20
SHARE = 0.75
# Larger windows are no faster, leave larger holes in the heap, and delay a cancellation.
WINDOW_BYTES = 16 * 2**20
# The least side of a window in pixels: below it, computing halos twice costs too much.
SMALLEST = 32


class BoundTooSmall(ImageError):
    """Even the smallest pieces need more memory than the bound."""


def least_bytes(generator: Generator, height: int, width: int) -> int:
    """Return the smallest `max_bytes` that `translate_in_pieces` accepts for a picture of this size."""
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
    """Return what `generator.eval()(x)` returns, up to rounding, in pieces that take little memory.

    Maps that don't fit the bound go to temporary files in `TMPDIR`, else `/var/tmp`. These have no names, so the system
    removes them even after a crash. All maps together take at most 3 bytes per pixel and channel of the first layer.

    Args:
        generator: on x's device; dropout that is for training only is left out, in training mode too.
        x: (1, 3, H, W) float32 in [-1, 1], with sides that the generator accepts.
        max_bytes: bound of the memory besides the weights, x and the result; at least `least_bytes`.
        progress: called with the completed part, rising to 1.0.
        cancelled: asked before each piece; true ends the translation.

    Returns:
        (1, 3, H, W) in [-1, 1].

    Raises:
        BoundTooSmall: max_bytes is below `least_bytes`.
        Cancelled: `cancelled` returned true.
        OSError: the temporary files don't fit the disk.
        ValueError: x isn't such a picture.
    """
    generator.check_size(x)
    if len(x) != 1:
        raise ValueError(f"translate_in_pieces takes one picture at a time, not {len(x)}")
    size = x.shape[2], x.shape[3]
    plan = _plan(generator, size)
    tensors = int((max_bytes - OVERHEAD) * SHARE)
    if tensors < plan.least:
        raise BoundTooSmall(
            "a picture of {width}×{height} needs at least {least} MiB of memory to translate with this network, even "
            "in pieces, and the bound is {bound:.3g} MiB; raise the bound, or choose a smaller working size",
            width=size[1], height=size[0], least=math.ceil(least_bytes(generator, *size) / 2**20),
            bound=max_bytes / 2**20,
        )
    progress, cancelled = progress or (lambda part: None), cancelled or (lambda: False)
    run = _Run(x, tensors, plan, progress, cancelled)
    result = torch.empty_like(x)

    def take(window: Window, values: Tensor) -> None:
        cut(result, window).copy_(values.tanh_())

    try:
        run.each(run.through(generator, Picture(x)), take)
    finally:
        run.close()
    progress(1.0)
    return result


class _Plan:
    """The walk through a network with sizes only: nothing is computed.

    Args:
        full: the picture's size.

    Attributes:
        least: the fewest bytes for tensors, with all kept maps on disk and the smallest windows.
        work: all multiplications, roughly.
    """

    device = torch.device("cpu")

    def __init__(self, full: Size) -> None:
        self.least, self.work, self._full = 0, 0, full
        self._kept: WeakSet[KeptMap] = WeakSet()
        """The maps still in use. Weak, so that a map's memory or file is freed once the walk no longer refers to it."""

    def each(self, feature: FeatureMap, take: Callable[[Window, Tensor], None]) -> None:
        """Call `take` with every window of a map."""
        *_, smallest = _splits(feature.size)
        self.least = max(self.least, _taken(feature, smallest))
        self.work += feature.work(feature.whole)

    def room(self, feature: FeatureMap) -> Tensor | BinaryIO | None:
        """Return memory or a file to keep a map in."""
        return None

    def keep(self, feature: FeatureMap) -> KeptMap:
        """Compute a map and keep it, so that it needs no earlier map any more."""
        kept = KeptMap(feature, self.room(feature), self.device)
        self._kept.add(kept)
        self.each(feature, kept.write)
        return kept

    def through(self, generator: Generator, x: FeatureMap) -> FeatureMap:
        """Return the generator's output before the tanh.

        Raises:
            TypeError: the architecture isn't supported.
        """
        # One flat loop for each architecture, because a caller's variable would keep a map's memory too long.
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
                        x = Pointwise(_behind, skip, x, channels=skip.channels + x.channels)
                        del skip
            case _:
                raise TypeError(f"{type(generator).__name__} can't be computed in pieces")
        return x

    def convolution(self, feature: Convolution | TransposedConvolution) -> FeatureMap:
        """Keep a convolution's output, unless it has the picture's own size."""
        return feature if feature.size == self._full else self.keep(feature)

    def moments(self, feature: FeatureMap) -> RunningMoments:
        """Return the statistics of a map."""
        if isinstance(feature, KeptMap):
            return feature.moments
        moments = RunningMoments()
        self.each(feature, lambda window, values: moments.add(values))
        return moments

    def block(self, block: ResidualBlock, x: FeatureMap) -> FeatureMap:
        """Return the output of a residual block."""
        y = self.stage((block.conv1, block.norm1, block.act, block.dropout, block.conv2, block.norm2), x)
        return self.keep(Pointwise(torch.add, x, y))

    def stage(self, layers: Iterable[nn.Module], x: FeatureMap) -> FeatureMap:
        """Return the output of layers, one after the other."""
        for layer in layers:
            match layer:
                case nn.Conv2d():
                    x = self.convolution(Convolution(layer, x))
                case nn.ConvTranspose2d():
                    x = self.convolution(TransposedConvolution(layer, x))
                case nn.Upsample():
                    x = Doubled(x)
                case nn.GroupNorm():
                    x = Normalised(layer, x, self.moments(x))
                case nn.ReLU():
                    x = Pointwise(torch.relu, x)
                case nn.LeakyReLU(negative_slope=slope):
                    x = Pointwise(lambda values, slope=slope: F.leaky_relu(values, slope), x)
                case FixedDropout():
                    x = Dropped(layer, x)
                case nn.Dropout() | nn.Identity():
                    pass
                case _:
                    raise TypeError(f"{type(layer).__name__} can't be computed in pieces")
        return x


class _Run(_Plan):
    """The walk through a network, computed.

    Args:
        x: (1, 3, H, W), the picture.
        max_bytes: bound of the tensors' memory, at least the plan's `least`.
        plan: the plan of the same network and size.
        progress: called with the completed part of the work.
        cancelled: true ends the walk with `Cancelled`.
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

    def each(self, feature: FeatureMap, take: Callable[[Window, Tensor], None]) -> None:
        budget = min(self._free(), max(WINDOW_BYTES, self._plan.least))
        parts = next(parts for parts in _splits(feature.size) if _taken(feature, parts) <= budget)
        whole, work = area(feature.whole), feature.work(feature.whole)
        for window in _windows(feature.size, parts):
            if self._cancelled():
                raise Cancelled("the translation was cancelled")
            take(window, feature.read(window))
            self.work += work * area(window) / whole
            self._progress(min(1.0, self.work / self._plan.work))

    def room(self, feature: FeatureMap) -> Tensor | BinaryIO:
        needed = feature.nbytes(feature.whole)
        # Keep room for windows, because larger ones have less halo.
        if needed <= self._free() - max(self._plan.least, min(WINDOW_BYTES, self._max_bytes // 4)):
            shape = (*feature.size, feature.channels)
            if self.device.type != "cpu":
                return channels_first(torch.empty(shape, device=self.device))
            # Pages of its own, which return to the system with the map; in the heap they would leave holes.
            return channels_first(torch.frombuffer(mmap.mmap(-1, needed), dtype=torch.float32).view(shape))
        # Not a mapped file, because its pages would count as this process's memory. Without a name, because the system
        # then removes it even if the process is killed.
        return tempfile.TemporaryFile(buffering=0, dir=_folder())

    def close(self) -> None:
        """Release all kept maps, because an exception's traceback may refer to them for long."""
        for kept in self._kept:
            kept.close()

    def _free(self) -> int:
        return self._max_bytes - sum(kept.in_memory for kept in self._kept)


def _plan(generator: Generator, size: Size) -> _Plan:
    plan = _Plan(size)
    plan.each(plan.through(generator, Picture(None, size)), lambda window, values: None)
    return plan


def _splits(size: Size) -> Iterator[Size]:
    """Yield the splits of a map into (rows, columns) of windows, from one window to the smallest allowed."""
    down, across = 1, 1
    while True:
        yield down, across
        height, width = size[0] / down, size[1] / across
        if max(height, width) <= SMALLEST:
            return
        # Squarish windows have the least halo.
        down, across = (2 * down, across) if height > width else (down, 2 * across)


def _windows(size: Size, parts: Size) -> Iterator[Window]:
    """Yield windows that cover a map, rows first, which differ in size by a pixel at most."""
    for i in range(parts[0]):
        rows = range(size[0] * i // parts[0], size[0] * (i + 1) // parts[0])
        for j in range(parts[1]):
            yield rows, range(size[1] * j // parts[1], size[1] * (j + 1) // parts[1])


def _taken(feature: FeatureMap, parts: Size) -> int:
    """Return the bytes of one pass over a map, besides kept maps, for a window in the middle with all its halo."""
    window = tuple(
        range((side - -(-side // n)) // 2, (side + -(-side // n)) // 2)
        for side, n in zip(feature.size, parts, strict=True)
    )
    # `take` may need a window twice more, to square or to reorder it.
    return max(feature.peak(window), 3 * feature.nbytes(window))


def _behind(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second], dim=1)


def _folder() -> str | None:
    """Return the folder for large temporary files: /tmp is memory on many systems, /var/tmp never is."""
    named = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return "/var/tmp" if not named and os.access("/var/tmp", os.W_OK) else None
