"""One checkpoint → pictures translated and reconstructed, of any size; and the cache of loaded checkpoints."""

from __future__ import annotations

import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import psutil
import torch
from PIL import Image, PngImagePlugin
from torch import nn

from cyclegan.checkpoint import Checkpoint, CheckpointError, CheckpointSource, direction_name
from cyclegan.config import Direction
from cyclegan.images import ImageError, to_image, to_tensor

# What a forward pass was measured to hold at its peak, for each input pixel and channel of the first layer:
# the worst case of benchmarks/reports/translate_memory.json (`python -m benchmarks.translate_memory`).
BYTES_PER_PIXEL_AND_CHANNEL = 18
# Beside the networks: the input, the translation and the way back as tensors, arrays and pictures.
BYTES_PER_PIXEL = 60


@dataclass(frozen=True)
class Translation:
    """What a checkpoint makes of one picture."""

    direction: Direction
    fake: Image.Image
    """RGB, the input's size."""
    rec: Image.Image | None
    """The way back, F(G(x)), the input's size; None if it wasn't asked for or the checkpoint has one direction only."""
    reconstruction_l1: float | None
    """Mean |rec − input| over pixels and channels, in grey levels (0 to 255)."""


class Translator:
    """Translates pictures with one checkpoint's generators.

    Args:
        checkpoint: from a `CheckpointSource`.
        device: where to compute; None chooses CUDA, then MPS, then the CPU.
    """

    def __init__(self, checkpoint: Checkpoint, device: str | torch.device | None = None) -> None:
        self.checkpoint = checkpoint
        self.device = torch.device(device or default_device())
        self.generators: dict[str, nn.Module] = {
            direction: generator.to(self.device, memory_format=torch.channels_last)
            for direction, generator in checkpoint.generators.items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the weights."""
        parameters = (p for generator in self.generators.values() for p in generator.parameters())
        return sum(p.numel() * p.element_size() for p in parameters)

    def translate(
        self, image: Image.Image, direction: Direction, *, reconstruct: bool = False, size: int | None = None
    ) -> Translation:
        """Translate a picture, and on request bring it back.

        Sides that the network can't take are padded by reflection and cropped off again, never stretched.

        Args:
            image: RGB, as `cyclegan.images.open_image` returns it; at least 1×1.
            direction: which way.
            reconstruct: also compute F(G(x)), if the checkpoint has both directions.
            size: work at this length of the shorter side and scale the result back; None works at the
                picture's own size. Networks do best near the size of objects that they were trained on.

        Raises:
            CheckpointError: the checkpoint lacks this direction.
            ImageError: the picture needs more memory than there is.
        """
        there = self._generator(direction)
        self._check_memory(working_size(image.size, size))
        worked = image if size is None else _scaled(image, size)
        back = self.generators.get(direction[::-1]) if reconstruct else None
        padded = _padded(np.asarray(worked), there.size_multiple, there.min_size)
        batch = to_tensor(padded)[None].to(self.device, memory_format=torch.channels_last)
        with torch.inference_mode():
            translated = there(batch)
            fake = self._finish(translated, worked.size, image.size)
            if back is None:
                return Translation(direction, fake, None, None)
            rec = self._finish(back(translated), worked.size, image.size)
        return Translation(direction, fake, rec, mean_difference(rec, image))

    def translate_batch(
        self, images: Sequence[Image.Image], direction: Direction, size: int | None = None
    ) -> list[Image.Image]:
        """Translate pictures of one size together; each result is what `translate` makes of it alone.

        The networks normalise each picture by itself, so a batch is for speed only. Rounding may differ by one
        grey level, since other kernels may compute a batch.

        Args:
            images: RGB, all of one width and height.
            direction: which way.
            size: as for `translate`.

        Returns:
            RGB pictures of the input's size, in order.

        Raises:
            CheckpointError: the checkpoint lacks this direction.
            ImageError: the sizes differ, or the batch needs more memory than there is.
        """
        if not images:
            return []
        if len({image.size for image in images}) > 1:
            raise ImageError("the pictures of a batch differ in size: translate them one by one")
        there = self._generator(direction)
        wanted = images[0].size
        self._check_memory(working_size(wanted, size), len(images))
        worked = images if size is None else [_scaled(image, size) for image in images]
        padded = [to_tensor(_padded(np.asarray(image), there.size_multiple, there.min_size)) for image in worked]
        batch = torch.stack(padded).to(self.device, memory_format=torch.channels_last)
        with torch.inference_mode():
            return [self._finish(output[None], worked[0].size, wanted) for output in there(batch)]

    def _generator(self, direction: Direction) -> nn.Module:
        if direction not in self.generators:
            only = " and ".join(direction_name(d) for d in self.generators)
            raise CheckpointError(f"this checkpoint translates {only} only, not {direction_name(direction)}")
        return self.generators[direction]

    def _check_memory(self, size: tuple[int, int], count: int = 1) -> None:
        if self.device.type != "cpu":
            return  # A GPU says so itself, at once; a CPU would swap for an hour or be killed.
        channels = self.checkpoint.config.model.ngf * BYTES_PER_PIXEL_AND_CHANNEL
        needed = count * size[0] * size[1] * (channels + BYTES_PER_PIXEL)
        available = psutil.virtual_memory().available
        if needed > 0.8 * available:
            what = "a picture" if count == 1 else f"a batch of {count} pictures"
            raise ImageError(
                f"{what} of {size[0]}×{size[1]} needs about {needed / 2**30:.1f} GB of memory to translate, and "
                f"{available / 2**30:.1f} GB are free; choose a working size, such as --size 1024"
            )

    @staticmethod
    def _finish(output: torch.Tensor, worked: tuple[int, int], wanted: tuple[int, int]) -> Image.Image:
        """Crop the padding off and scale back to the input's size."""
        image = to_image(output[:, :, : worked[1], : worked[0]])
        return image if image.size == wanted else image.resize(wanted, Image.Resampling.BICUBIC)


def default_device() -> str:
    """The best device that is here."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def working_size(size: tuple[int, int], shorter: int | None) -> tuple[int, int]:
    """Width and height with the shorter side brought to `shorter`, in proportion; as they are for None."""
    scale = 1.0 if shorter is None else shorter / min(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _scaled(image: Image.Image, shorter: int) -> Image.Image:
    wanted = working_size(image.size, shorter)
    return image if wanted == image.size else image.resize(wanted, Image.Resampling.BICUBIC)


def _padded(array: np.ndarray, multiple: int, least: int) -> np.ndarray:
    """uint8 (H, W, 3) with rows and columns reflected on at the bottom and the right, up to what a network takes."""
    wanted = [max(least, -(-side // multiple) * multiple) for side in array.shape[:2]]
    extra = [(0, want - have) for want, have in zip(wanted, array.shape[:2], strict=True)]
    # NumPy reflects as often as it takes, where torch refuses a pad wider than the picture.
    return np.pad(array, (*extra, (0, 0)), mode="reflect") if any(e[1] for e in extra) else array


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two RGB pictures of one size, in grey levels (0 to 255)."""
    first, second = (np.asarray(image, dtype=np.int16) for image in (one, other))
    return float(np.abs(first - second).mean())


def save_png(
    image: Image.Image, path: Path, *, checkpoint: Checkpoint, direction: str, compress_level: int = 6
) -> None:
    """Write a PNG that says which checkpoint made it; there whole or not at all.

    Args:
        compress_level: 0 to 9; 1 is six times as fast as 6, for a file a quarter larger.

    Raises:
        OSError: the file can't be written.
    """
    info = PngImagePlugin.PngInfo()
    info.add_itxt("cyclegan:commit_sha", checkpoint.info.commit_sha)
    info.add_itxt("cyclegan:epoch", str(checkpoint.info.epoch))
    info.add_itxt("cyclegan:direction", direction)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        image.save(part, format="PNG", pnginfo=info, compress_level=compress_level)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


class TranslatorCache:
    """Loaded checkpoints by commit SHA, the least recently used dropped when they grow beyond a bound.

    Args:
        max_bytes: bound of all weights together; the newest one is kept whatever its size.
    """

    def __init__(self, max_bytes: int = 2 * 2**30, device: str | None = None) -> None:
        self.max_bytes, self.device = max_bytes, device
        self._kept: OrderedDict[str, Translator] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: WeakValueDictionary[str, Any] = WeakValueDictionary()
        """By commit SHA, a lock: one loads it and the others wait, but nobody waits for another checkpoint."""

    def get(self, source: CheckpointSource, epoch: int | None = None) -> Translator:
        """The translator of `epoch`, None for the newest; loads it if it isn't here.

        Raises:
            CheckpointError: it isn't there or can't be read.
        """
        infos = source.list()
        info = next((i for i in infos if epoch is None or i.epoch == epoch), None)
        if info is None:
            return self._keep(Translator(source.load(epoch), self.device))
        with self._lock:
            loading = self._loading.setdefault(info.commit_sha, threading.Lock())
        with loading:
            with self._lock:
                if info.commit_sha in self._kept:
                    self._kept.move_to_end(info.commit_sha)
                    return self._kept[info.commit_sha]
            # It may be downloaded, for minutes.
            return self._keep(Translator(source.load(info.epoch), self.device))

    def _keep(self, translator: Translator) -> Translator:
        with self._lock:
            self._kept[translator.checkpoint.info.commit_sha] = translator
            while len(self._kept) > 1 and sum(t.nbytes for t in self._kept.values()) > self.max_bytes:
                self._kept.popitem(last=False)
            return translator
