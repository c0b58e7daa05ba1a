"""Decoded pictures in memory, and the uint8 arrays that batches are made of."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cyclegan.config import DataConfig
from cyclegan.data.domains import Domain, named
from cyclegan.data.order import Step, sample_rng
from cyclegan.data.vary import vary
from cyclegan.images import augment, resize_for_training
from cyclegan.values import RGB, Values

if TYPE_CHECKING:
    import torch

__all__ = ["BatchMaker", "PictureCache", "changed_alike", "fits_cache", "plan_cache"]

log = logging.getLogger(__name__)
_SHM = "/dev/shm"
Sizes = tuple[np.ndarray, np.ndarray]  # per domain int64 (n, 2): width and height


def plan_cache(
    sizes: Sizes, budget: int, pixel_bytes: Sequence[int] = (3, 3)
) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Choose the pictures that fit into `budget` bytes, taking a and b in turn, from the first on.

    A picture counts width × height × `pixel_bytes` at the size to which training resizes it.

    Args:
        sizes: per domain int64 (n, 2), width and height; (0, 0) for a picture that must not be cached.
        pixel_bytes: per domain: 3 for 8-bit RGB, else 4 for each channel.

    Returns:
        Per domain int64 (n,), each picture's start in the buffer, or -1; and the total of bytes.
    """
    offsets = tuple(np.full(len(s), -1, dtype=np.int64) for s in sizes)
    needs = [(s[:, 0] * s[:, 1] * each).tolist() for s, each in zip(sizes, pixel_bytes, strict=True)]
    used = 0
    for index in range(max(map(len, needs))):
        for domain, need in enumerate(needs):
            if index < len(need) and need[index] and used + need[index] <= budget:
                offsets[domain][index] = used
                used += need[index]
    return offsets, used


def fits_cache(sizes: Sizes, budget: int, pixel_bytes: Sequence[int] = (3, 3)) -> bool:
    """Return whether `plan_cache` has room for every picture that can be cached."""
    offsets, _ = plan_cache(sizes, budget, pixel_bytes)
    return all(bool(((o >= 0) | (s[:, 0] == 0)).all()) for o, s in zip(offsets, sizes, strict=True))


class PictureCache:
    """One buffer, exactly as large as what it holds.

    Args:
        sizes, budget: as for `plan_cache`; memory for decoding and for Python comes on top.
        values: per domain, what its pictures are: 8-bit RGB is kept as uint8, all else as float32 in [-1, 1].
        shared: put the buffer into shared memory, so that worker processes (forked or spawned) read the same
            pages. It is unlinked from the start, so a killed process leaves nothing behind. If /dev/shm is small, as
            in many containers, less is cached, with a warning.
    """

    def __init__(
        self, sizes: Sizes, budget: int, *, shared: bool, values: Sequence[Values] = (RGB, RGB)
    ) -> None:
        import torch

        self.sizes, self.values = sizes, values
        each = [pixel_bytes(one) for one in values]
        self.offsets, self.bytes = plan_cache(sizes, budget, each)
        if shared and os.path.isdir(_SHM):
            room = int(shutil.disk_usage(_SHM).free * 0.8)  # Batches in transit need some, too.
            if self.bytes > room:
                log.warning(
                    "shared memory (%s) has room for %d MiB of the %d MiB of decoded pictures; the rest is "
                    "decoded again each time. Enlarge it, e.g. docker run --shm-size=4g",
                    _SHM, room >> 20, self.bytes >> 20,
                )
                self.offsets, self.bytes = plan_cache(sizes, room, each)
        self.buffer = torch.empty(self.bytes, dtype=torch.uint8)
        if shared and self.bytes:
            self.buffer.share_memory_()

    def get(self, domain: int, index: int) -> np.ndarray | None:
        """Return the picture's place, a view of the buffer (H, W, C); None if it has none."""
        offset = int(self.offsets[domain][index])
        if offset < 0:
            return None
        width, height = (int(side) for side in self.sizes[domain][index])
        values = self.values[domain]
        place = self.buffer.numpy()[offset : offset + width * height * pixel_bytes(values)]
        return place.view(np.uint8 if values.plain else np.float32).reshape(height, width, values.channels)

    def keep(self, kept: tuple[np.ndarray, np.ndarray]) -> None:
        """Renumber after pictures were left out; `kept` holds the old numbers per domain."""
        self.offsets = tuple(o[k] for o, k in zip(self.offsets, kept, strict=True))
        self.sizes = tuple(s[k] for s, k in zip(self.sizes, kept, strict=True))


def pixel_bytes(values: Values) -> int:
    """Return the bytes that a decoded pixel takes."""
    return 3 if values.plain else 4 * values.channels


class BatchMaker:
    """Makes batches out of two training domains. Every worker process holds one.

    Args:
        domains: training domains a and b.
        cache: filled by `fill`.
        multiple: sides are rounded to it where the preprocessing keeps the picture's own.
        paired: a and b share every change, and keep their colours.
        following: per domain the number of each picture's next frame, see `next_frames`; None for none.
    """

    def __init__(
        self, domains: tuple[Domain, Domain], cache: PictureCache, config: DataConfig, *,
        seed: int, multiple: int, paired: bool, following: Sequence[np.ndarray | None] = (None, None),
    ) -> None:
        self.domains, self.cache, self.config, self.following = domains, cache, config, following
        self.seed, self.multiple, self.paired = seed, multiple, paired

    def decode(self, domain: int, index: int) -> np.ndarray:
        """Decode and resize one picture: uint8 (H, W, 3), or float32 (H, W, C) in [-1, 1].

        Raises:
            ImageError: it can't be read; the file is named.
        """
        image, values = self.domains[domain].load(index), self.cache.values[domain]
        with named(self.domains[domain], index):
            image = resize_for_training(image, self.config, multiple=self.multiple)
            return np.asarray(image) if values.plain else values.normalised(image)

    def fill(self, domain: int, index: int) -> None:
        """Decode one picture, into the cache if it has a place there. Raises ImageError, which names the file."""
        array = self.decode(domain, index)
        place = self.cache.get(domain, index)
        if place is None:
            return
        if place.shape == array.shape:
            place[...] = array
        else:  # The header lied, so the picture is decoded again each time.
            self.cache.offsets[domain][index] = -1

    def array(self, domain: int, index: int) -> np.ndarray:
        """Return one picture as `decode` does, read-only. Raises ImageError."""
        place = self.cache.get(domain, index)
        return self.decode(domain, index) if place is None else place

    def batch(self, step: Step) -> dict[str, torch.Tensor]:
        """Return {"real_a", "real_b"}: (B, H, W, C) as `decode` has them, cropped and mirrored; and "next_a" and
        "next_b", the next frames with the same changes, where there are some. Raises ImageError."""
        found = {}
        for domain, (side, indices) in enumerate((("a", step.indices_a), ("b", step.indices_b))):
            found[f"real_{side}"] = self._side(domain, step, indices)
            if (following := self.following[domain]) is not None:
                found[f"next_{side}"] = self._side(domain, step, tuple(following[list(indices)].tolist()))
        return found

    def _side(self, domain: int, step: Step, indices: tuple[int, ...]) -> torch.Tensor:
        arrays = (self.array(domain, index) for index in indices)
        colour = self.cache.values[domain].plain and not self.paired
        return changed_alike(
            arrays, step, self.config, seed=self.seed, domain=domain, paired=self.paired, colour=colour
        )


def changed_alike(
    arrays: Iterable[np.ndarray], step: Step, config: DataConfig, *, seed: int, domain: int, paired: bool = False,
    colour: bool = True,
) -> torch.Tensor:
    """Return one domain's pictures of a step as a batch (B, H, W, C), varied, cropped and mirrored at random.

    The changes depend on the seed, the epoch and a picture's position in it.

    Args:
        arrays: decoded, one for each of the step's positions.
        paired: both domains share every change.
        colour: colours are varied, too, if the settings say so.
    """
    import torch

    batch = None
    for row, (position, array) in enumerate(zip(step.positions, arrays, strict=True)):
        rng = sample_rng(seed, step.epoch, position, 0 if paired else domain)
        chance = sample_rng(seed, step.epoch, position, 2 if paired else 2 + domain)
        array = augment(vary(array, config, chance, colour=colour), config, rng)
        if batch is None:
            batch = np.empty((len(step.positions), *array.shape), array.dtype)
        # One by one, because NumPy copies mirrored pictures whole five times slower.
        for channel in range(array.shape[2]):
            batch[row, ..., channel] = array[..., channel]
    return torch.from_numpy(batch)
