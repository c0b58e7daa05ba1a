"""One checkpoint → pictures of any size translated and reconstructed, whole or in pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from PIL import Image
from torch import Tensor, nn

from cyclegan.checkpoints.format import Checkpoint, missing_direction
from cyclegan.config import Direction
from cyclegan.errors import Cancelled, ImageError, Message, message
from cyclegan.images import MAX_PIXELS, MAX_SIDE, mean_difference, resize, to_image, to_tensor
from cyclegan.networks.coupled import CANCELLED
from cyclegan.networks.fast import fast_generator
from cyclegan.rasters import files
from cyclegan.rasters.opening import as_raster
from cyclegan.rasters.raster import Origin, Raster, to_raster
from cyclegan.translation.tiling import BoundTooSmall, translate_in_pieces
from cyclegan.values import Values

# Measured peak of a forward pass, for each input pixel and channel of the first layer: the worst case of
# benchmarks/reports/translate_memory.json (`python -m benchmarks.translate_memory`).
BYTES_PER_PIXEL_AND_CHANNEL = 23
MAX_BYTES = 2 * 2**30
"""Default bound of a pass on a CPU."""
# Besides the networks: the input, the translation and the way back as tensors, arrays and pictures.
BYTES_PER_PIXEL = 60
# Pixels of a batch: bigger batches are no faster, and on a CPU they only take memory.
BATCH_PIXELS = {"cpu": 2**18, "other": 2**21}


Picture = Image.Image | Raster


@dataclass(frozen=True)
class TranslationResult:
    """One picture's translation by a checkpoint."""

    direction: Direction
    fake: Picture
    """RGB, or a raster where the domain has other values, without a slice's neighbours; the input's size."""
    rec: Picture | None
    """The way back, F(G(x)), the input's size; None if it wasn't requested or the checkpoint has one direction."""
    reconstruction_l1: float | None
    """Mean |rec − input| at the working size, in grey levels (0 to 255), or a raster's units."""
    worked: tuple[Picture, Picture] | None = None
    """The input and the way back at the working size, as the networks had them; None without a way back."""


class Translator:
    """Translates pictures with one checkpoint's generators.

    Args:
        checkpoint: from a `CheckpointSource`.
        device: where to compute; None chooses CUDA, then MPS, then the CPU.
        max_bytes: on a CPU, the memory that a pass may take besides the pictures; larger ones go in pieces.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: str | torch.device | None = None, *, max_bytes: int = MAX_BYTES
    ) -> None:
        self.checkpoint, self.max_bytes = checkpoint, max_bytes
        self.with_neighbours = False
        """Set it to True for results with all channels, which can be translated back; else a slice has its own."""
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

    @property
    def _whole_only(self) -> bool:
        return any(network.whole_only for network in self.generators.values())

    def translate(
        self, image: Picture, direction: Direction, *, reconstruct: bool = False, size: int | None = None
    ) -> TranslationResult:
        """Translate a picture, and on request bring it back: `translate_many` of one."""
        return self.translate_many([image], direction, reconstruct=reconstruct, size=size)[0]

    def translate_many(
        self, images: Sequence[Picture], direction: Direction, *, reconstruct: bool = False,
        size: int | None = None, progress: Callable[[float], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[TranslationResult]:
        """Translate pictures in one batch, and on request bring them back; each as if it came alone.

        The networks normalise each picture by itself, so a batch only serves speed. Rounding may differ by one grey
        level, because other kernels may compute a batch. Sides that the network can't take are padded by reflection
        and cropped again, never stretched. A picture goes through the networks in pieces, normalised by the whole
        picture's statistics (`tiling`), where a pass would take more than `max_bytes` on a CPU, or more memory than
        another device has.

        Args:
            images: as `cyclegan.rasters.opening.open_picture` returns them: RGB, or rasters where the domain has other
                values; at least 1×1, of any sizes that are equal at `size`.
            direction: the direction of the translation.
            reconstruct: also compute F(G(x)), if the checkpoint has both directions.
            size: work at this length of the shorter side, or at what `working_size` allows, and scale the result
                back; None works at the pictures' own size. Networks do best near the size of objects that they were
                trained on.
            progress: called with the completed part, 0 to 1, after each pass and each piece.
            cancelled: asked before each pass and piece; true ends with `Cancelled`.

        Raises:
            CheckpointError: the checkpoint lacks this direction.
            ImageError: the sizes differ, a picture isn't of the domain's kind, or needs more memory than there is.
        """
        if not images:
            return []
        images = [self._of_domain(image, direction[0]) for image in images]
        sizes = {working_size(image.size, size) for image in images}
        if len(sizes) > 1:
            raise ImageError("the pictures of a batch differ in size: translate them one by one")
        (worked,) = sizes
        if direction not in self.generators:
            raise missing_direction(self.checkpoint.info.tag, self.generators, direction)
        ways = [direction, direction[::-1]] if reconstruct and direction[::-1] in self.generators else [direction]
        bound = self._bound(worked, len(images))
        outputs = None
        if bound is None or len(images) == 1:
            given = [resize(image, worked) for image in images]
            outputs = self._passes(given, ways, bound, progress, cancelled)
        if outputs is None:  # The batch is too large; its pictures may not be.
            def one_by_one(number: int) -> Callable[[float], None] | None:
                return progress and (lambda part: progress((number + part) / len(images)))

            return [
                self.translate_many([image], direction, reconstruct=reconstruct, size=size,
                                    progress=one_by_one(number), cancelled=cancelled)[0]
                for number, image in enumerate(images)
            ]  # fmt: skip
        results = []
        for number, image in enumerate(images):
            fake, *back = (
                self._finish(each[number : number + 1], way[1], worked, image)
                for each, way in zip(outputs, ways, strict=True)
            )
            rec, l1, compared = None, None, None
            if back:
                compared = self._own(given[number], direction[0]), back[0]
                rec, l1 = self._enlarged(back[0], direction[0], image), mean_difference(*compared)
            results.append(TranslationResult(direction, self._enlarged(fake, direction[1], image), rec, l1, compared))
        return results

    def _passes(
        self, images: Sequence[Picture], ways: Sequence[str], bound: int | None,
        progress: Callable[[float], None] | None, cancelled: Callable[[], bool] | None,
    ) -> list[Tensor] | None:
        """Return each pass's output, (N, C, H, W) with padding; None where a batch doesn't fit on the device.

        Args:
            images: of one size.
            ways: directions, one after the other.
            bound: bytes that pieces may take; None for whole passes, which fall back to pieces.
        """
        size, outputs, reached = images[0].size, [], 0.0
        network, planned, short = self.generators[ways[0]], bound, message("the device has too little")

        def on_progress(done: float) -> None:
            nonlocal reached  # Smaller pieces start again, but a bar never goes back.
            reached = max(reached, (len(outputs) + done) / len(ways))
            if progress is not None:
                progress(reached)

        searching = CANCELLED.set(cancelled)
        try:
            values = self.values(ways[0][0])
            arrays = [np.asarray(each) if values.plain else values.normalised(each) for each in images]
            padded = [_padded(each, network.size_multiple, network.min_size) for each in arrays]
            x = [to_tensor(each) if values.plain else torch.from_numpy(each.transpose(2, 0, 1)) for each in padded]
            x = torch.stack(x).to(self.device, memory_format=torch.channels_last)
            with torch.inference_mode():
                for way in ways:
                    if cancelled is not None and cancelled():
                        raise Cancelled("the translation was cancelled")
                    whole = self._whole(way, x) if bound is None else None
                    if whole is None and len(images) > 1:
                        return None
                    if whole is None and self._whole_only:
                        raise ImageError(_too_much(size, short))
                    if whole is None:
                        bound = bound or free_bytes(self.device)
                        whole, bound = self._in_pieces(way, x, bound, on_progress, cancelled)
                    outputs.append(x := whole)
                    on_progress(0)
        except torch.OutOfMemoryError as error:
            if len(images) > 1:
                return None
            raise ImageError(_too_much(size, short)) from error
        except BoundTooSmall as error:
            raise ImageError(_too_much(size, _available(planned) if planned else short)) from error
        except OSError as error:
            raise ImageError(_too_much(size, message("the disk for temporary files is full"))) from error
        finally:
            CANCELLED.reset(searching)
        return outputs

    def values(self, domain: str) -> Values:
        """Return the channels and the range of domain "a" or "b"."""
        return self.checkpoint.config.data.values(domain)

    def _own(self, image: Picture, domain: str) -> Picture:
        """Return an input without its neighbours, as results are."""
        if not isinstance(image, Raster) or self.with_neighbours:
            return image
        return image.with_values(image.values[..., self.values(domain).own])

    def _of_domain(self, image: Picture, domain: str) -> Picture:
        """Return a picture of the domain's kind: 8-bit ones become rasters. Raises ImageError for the opposite."""
        values = self.values(domain)
        if values.plain:
            if isinstance(image, Raster):
                raise ImageError(
                    "these networks were trained on 8-bit RGB pictures, and this one has other values: save it as an "
                    "8-bit PNG first"
                )
            return image
        raster = image if isinstance(image, Raster) else as_raster(image, values, message("the picture"))
        values.check(raster, message("the picture"))
        # Cut before anything is resized, because one value far beyond the range would spread.
        return raster.with_values(values.cut(raster.values))

    def _finish(self, output: Tensor, domain: str, worked: tuple[int, int], given: Picture) -> Picture:
        """Return a domain's picture without padding, of the kind of the input."""
        values, output = self.values(domain), output[:, :, : worked[1], : worked[0]]
        if values.plain:
            return to_image(output)
        origin = given.origin if isinstance(given, Raster) else Origin("png", "uint8")
        raster = to_raster(output, values, files.held(origin, values.low, values.high))
        return raster if self.with_neighbours else raster.with_values(raster.values[..., values.own])

    def _enlarged(self, picture: Picture, domain: str, given: Picture) -> Picture:
        """Return a domain's picture at the input's size."""
        if not isinstance(picture, Raster) or picture.size == given.size:
            return resize(picture, given.size)
        return picture.with_values(self.values(domain).cut(resize(picture, given.size).values))  # A bicubic overshoots.

    def _whole(self, way: str, x: Tensor) -> Tensor | None:
        """Return the output of one pass over whole pictures; None where the device has too little memory."""
        try:
            return self.generators[way](x)
        except torch.OutOfMemoryError:
            return None  # Return outside the handler, because the traceback would keep the memory alive.

    def _in_pieces(
        self, way: str, x: Tensor, bound: int, progress: Callable[[float], None],
        cancelled: Callable[[], bool] | None,
    ) -> tuple[Tensor, int]:
        """Return the output of a pass in pieces, and the bound that sufficed: halved until it fits.

        Raises:
            BoundTooSmall: even the smallest pieces don't fit.
        """
        while True:
            try:
                # By the network itself, because `fast_generator`'s copy has other layers.
                network = self.checkpoint.generators[way]
                return translate_in_pieces(network, x, max_bytes=bound, progress=progress, cancelled=cancelled), bound
            except torch.OutOfMemoryError:
                bound //= 2
            free_bytes(self.device)  # Once the exception is gone, its memory can be released.

    def translate_batch(
        self, images: Sequence[Picture], direction: Direction, size: int | None = None
    ) -> list[Picture]:
        """Return the translations alone of `translate_many`."""
        return [each.fake for each in self.translate_many(images, direction, size=size)]

    def batch_size(self, worked: tuple[int, int]) -> int:
        """Return the number of pictures of this working width and height that should go through together."""
        if self._whole_only:
            return 1  # It takes them one by one in any case, and a video's progress shows each.
        pixels = BATCH_PIXELS["cpu" if self.device.type == "cpu" else "other"]
        return max(1, min(32, pixels // self.padded_pixels(worked)))

    def padded_pixels(self, size: tuple[int, int]) -> int:
        """Return the pixels of a padded picture: a U-Net pads even 1 row to 256."""
        network = next(iter(self.generators.values()))
        return math.prod(_padded_side(side, network.size_multiple, network.min_size) for side in size)

    def _bound(self, size: tuple[int, int], count: int) -> int | None:
        """Return the bytes for pieces of `count` pictures; None where they go through the networks whole.

        Raises:
            ImageError: the pictures alone need more memory than there is.
        """
        if self.device.type != "cpu":
            return None  # A GPU reports a lack of memory at once; a CPU would swap for an hour or be killed.
        available = int(0.8 * psutil.virtual_memory().available)
        bound = min(self.max_bytes, available // 2)
        pixels = count * self.padded_pixels(size)
        if count == 1 and pixels * BYTES_PER_PIXEL > available - bound:
            raise ImageError(_too_much(size, _available(available)))
        fits = self._whole_only or pixels * self.checkpoint.config.model.ngf * BYTES_PER_PIXEL_AND_CHANNEL <= bound
        return None if fits else bound


def free_bytes(device: torch.device) -> int:
    """Return most of the bytes that are free on a device, after its allocator has released its cache."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free = torch.cuda.mem_get_info(device)[0]
    elif device.type == "mps":
        torch.mps.empty_cache()
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    else:
        free = psutil.virtual_memory().available
    return int(0.8 * free)


def _available(size: int) -> Message:
    return message("{size:.1f} GB is available", size=size / 2**30)


def _too_much(size: tuple[int, int], reason: Message) -> Message:
    return message(
        "a picture of {width}×{height} needs more memory to translate than there is ({reason}): choose a smaller "
        "working size",
        width=size[0], height=size[1], reason=reason,
    )


def default_device() -> str:
    """Return the best device of this machine: CUDA, then MPS, then the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def working_size(size: tuple[int, int], shorter: int | None) -> tuple[int, int]:
    """Return width and height with the shorter side brought to `shorter`, in proportion; unchanged for None.

    A picture is enlarged within MAX_SIDE and MAX_PIXELS only, as in training: 600×1 would become 153,600×256.
    """
    wanted = 1.0 if shorter is None else shorter / min(size)
    most = max(1.0, min(MAX_SIDE / max(size), math.sqrt(MAX_PIXELS / math.prod(size))))
    if wanted > most:
        return int(size[0] * most), int(size[1] * most)
    return max(1, round(size[0] * wanted)), max(1, round(size[1] * wanted))


def _padded_side(side: int, multiple: int, least: int) -> int:
    return max(least, -(-side // multiple) * multiple)


def _padded(array: np.ndarray, multiple: int, least: int) -> np.ndarray:
    """Return (H, W, C) with reflected rows and columns at the bottom and the right, up to a network's sizes."""
    wanted = [_padded_side(side, multiple, least) for side in array.shape[:2]]
    extra = [(0, want - have) for want, have in zip(wanted, array.shape[:2], strict=True)]
    # NumPy reflects repeatedly, where torch refuses a pad wider than the picture.
    return np.pad(array, (*extra, (0, 0)), mode="reflect") if any(e[1] for e in extra) else array
