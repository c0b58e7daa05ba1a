"""One checkpoint → pictures translated and reconstructed, of any size; and the cache of loaded checkpoints."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import psutil
import torch
from PIL import Image, PngImagePlugin
from torch import nn

from cyclegan.checkpoints.format import Checkpoint, direction_name
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.config import Direction
from cyclegan.errors import Cancelled, CheckpointError, ImageError
from cyclegan.images import mean_difference, to_image, to_tensor
from cyclegan.networks.fast import fast_generator
from cyclegan.translation.tiling import BoundTooSmall, translate_in_pieces

# What a forward pass was measured to hold at its peak, for each input pixel and channel of the first layer:
# the worst case of benchmarks/reports/translate_memory.json (`python -m benchmarks.translate_memory`).
BYTES_PER_PIXEL_AND_CHANNEL = 23
MAX_BYTES = 2 * 2**30
"""Of a pass, unless a `Translator` is told otherwise."""
# Beside the networks: the input, the translation and the way back as tensors, arrays and pictures.
BYTES_PER_PIXEL = 60
# Pixels of a batch: beyond, bigger batches bring no speed, and on a CPU they only take memory.
BATCH_PIXELS = {"cpu": 2**18, "other": 2**21}


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
        max_bytes: on a CPU, what a pass may take beside the pictures; larger ones go in pieces.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: str | torch.device | None = None, *, max_bytes: int = MAX_BYTES
    ) -> None:
        self.checkpoint, self.max_bytes = checkpoint, max_bytes
        self.device = torch.device(device or default_device())
        self.generators: dict[str, nn.Module] = {
            direction: fast_generator(generator.to(self.device, memory_format=torch.channels_last), self.device)
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
        """Translate a picture, and on request bring it back: `translate_many` of one."""
        return self.translate_many([image], direction, reconstruct=reconstruct, size=size)[0]

    def translate_many(
        self, images: Sequence[Image.Image], direction: Direction, *, reconstruct: bool = False,
        size: int | None = None, progress: Callable[[float], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[Translation]:
        """Translate pictures in one batch, and on request bring them back; each as if it came alone.

        The networks normalise each picture by itself, so a batch is for speed only. Rounding may differ by one
        grey level, since other kernels may compute a batch. Sides that the network can't take are padded by
        reflection and cropped off again, never stretched. Pictures whose pass would take more than `max_bytes` go
        through the networks one by one and in pieces, normalised by the whole picture's statistics (`tiling`).

        Args:
            images: RGB, as `cyclegan.images.open_image` returns them; at least 1×1, of any sizes that are one at
                `size`.
            direction: which way.
            reconstruct: also compute F(G(x)), if the checkpoint has both directions.
            size: work at this length of the shorter side and scale the result back; None works at the
                pictures' own size. Networks do best near the size of objects that they were trained on.
            progress: called with the part that is done, 0 to 1; only while a picture goes in pieces.
            cancelled: asked before each pass and piece; true ends with `tiling.Cancelled`.

        Raises:
            CheckpointError: the checkpoint lacks this direction.
            ImageError: the sizes differ, or a picture needs more memory than there is.
        """
        if not images:
            return []
        worked = {working_size(image.size, size) for image in images}
        if len(worked) > 1:
            raise ImageError("the pictures of a batch differ in size: translate them one by one")
        there = self._generator(direction)
        passes = [direction, direction[::-1]] if reconstruct and direction[::-1] in self.generators else [direction]
        (size_there,) = worked
        bound, fits = self._memory(size_there, len(images))

        def one_by_one() -> list[Translation]:
            options = {"reconstruct": reconstruct, "size": size, "progress": progress, "cancelled": cancelled}
            return [self.translate_many([image], direction, **options)[0] for image in images]

        def on_progress(done: float) -> None:
            if progress is not None:
                progress((len(outputs) - 1 + done) / len(passes))

        if not fits and len(images) > 1:
            return one_by_one()
        padded = [
            to_tensor(_padded(np.asarray(_resized(image, size_there)), there.size_multiple, there.min_size))
            for image in images
        ]
        outputs = [torch.stack(padded).to(self.device, memory_format=torch.channels_last)]
        try:
            with torch.inference_mode():
                for way in passes:
                    if cancelled is not None and cancelled():
                        raise Cancelled("nobody waits for this translation any more")
                    if fits:
                        outputs.append(self.generators[way](outputs[-1]))
                    else:  # By the network itself: what was made of it for speed has other layers.
                        outputs.append(translate_in_pieces(
                            self.checkpoint.generators[way], outputs[-1], max_bytes=bound, progress=on_progress,
                            cancelled=cancelled,
                        ))  # fmt: skip
        except torch.OutOfMemoryError as error:
            if len(images) > 1:
                return one_by_one()
            raise ImageError(_too_much(size_there, "the device has too little")) from error
        except BoundTooSmall as error:
            raise ImageError(_too_much(size_there, f"{bound / 2**30:.1f} GB can be had")) from error
        except OSError as error:
            raise ImageError(_too_much(size_there, "the disk for temporary files is full")) from error
        results = []
        for number, image in enumerate(images):
            fake, *back = (_finish(each[number : number + 1], size_there, image.size) for each in outputs[1:])
            rec = back[0] if back else None
            results.append(Translation(direction, fake, rec, None if rec is None else mean_difference(rec, image)))
        return results

    def translate_batch(
        self, images: Sequence[Image.Image], direction: Direction, size: int | None = None
    ) -> list[Image.Image]:
        """The translations alone of `translate_many`."""
        return [each.fake for each in self.translate_many(images, direction, size=size)]

    def batch_size(self, worked: tuple[int, int]) -> int:
        """How many pictures, worked at this width and height, should go through the networks together."""
        pixels = BATCH_PIXELS["cpu" if self.device.type == "cpu" else "other"]
        return max(1, min(32, pixels // self._padded_pixels(worked)))

    def _padded_pixels(self, size: tuple[int, int]) -> int:
        """What the networks are given of a picture: a U-Net makes 256 rows of one."""
        network = next(iter(self.generators.values()))
        return math.prod(_padded_side(side, network.size_multiple, network.min_size) for side in size)

    def _generator(self, direction: Direction) -> nn.Module:
        if direction not in self.generators:
            only = " and ".join(direction_name(d) for d in self.generators)
            raise CheckpointError(
                "this checkpoint translates {only} only, not {direction_name}",
                only=only, direction_name=direction_name(direction),
            )
        return self.generators[direction]

    def _memory(self, size: tuple[int, int], count: int) -> tuple[int, bool]:
        """Bytes that a pass over `count` pictures may take, and whether one over them whole stays within.

        Raises:
            ImageError: the pictures alone need more memory than there is.
        """
        if self.device.type != "cpu":
            return self.max_bytes, True  # A GPU says so itself, at once; a CPU would swap for an hour or be killed.
        available = int(0.8 * psutil.virtual_memory().available)
        bound = min(self.max_bytes, available // 2)
        pixels = count * self._padded_pixels(size)
        if count == 1 and pixels * BYTES_PER_PIXEL > available - bound:
            raise ImageError(_too_much(size, f"{available / 2**30:.1f} GB can be had"))
        return bound, pixels * self.checkpoint.config.model.ngf * BYTES_PER_PIXEL_AND_CHANNEL <= bound


def _too_much(size: tuple[int, int], have: str) -> str:
    return (
        f"a picture of {size[0]}×{size[1]} needs more memory to translate than there is ({have}): choose a smaller "
        "working size"
    )


def _finish(output: torch.Tensor, worked: tuple[int, int], wanted: tuple[int, int]) -> Image.Image:
    """Crop the padding off and scale back to the input's size."""
    return _resized(to_image(output[:, :, : worked[1], : worked[0]]), wanted)


def default_device() -> str:
    """The best device that is here."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def working_size(size: tuple[int, int], shorter: int | None) -> tuple[int, int]:
    """Width and height with the shorter side brought to `shorter`, in proportion; as they are for None."""
    scale = 1.0 if shorter is None else shorter / min(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _resized(image: Image.Image, wanted: tuple[int, int]) -> Image.Image:
    return image if wanted == image.size else image.resize(wanted, Image.Resampling.BICUBIC)


def _padded_side(side: int, multiple: int, least: int) -> int:
    return max(least, -(-side // multiple) * multiple)


def _padded(array: np.ndarray, multiple: int, least: int) -> np.ndarray:
    """uint8 (H, W, 3) with rows and columns reflected on at the bottom and the right, up to what a network takes."""
    wanted = [_padded_side(side, multiple, least) for side in array.shape[:2]]
    extra = [(0, want - have) for want, have in zip(wanted, array.shape[:2], strict=True)]
    # NumPy reflects as often as it takes, where torch refuses a pad wider than the picture.
    return np.pad(array, (*extra, (0, 0)), mode="reflect") if any(e[1] for e in extra) else array


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
        _return_memory()
        return translator


def _return_memory() -> None:
    """Give back to the system what loading left behind and what was dropped.

    glibc keeps freed blocks of a few megabytes, and after many checkpoints holds gigabytes of them.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # Another C library, which does so by itself.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
