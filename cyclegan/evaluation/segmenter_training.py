"""The training of a segmenter on a data set's own pictures and labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cyclegan.config import DataConfig
from cyclegan.data.domains import Domain
from cyclegan.data.labels import VOID, Classes
from cyclegan.evaluation.scores.prior import square_labels
from cyclegan.evaluation.segmenter import Segmenter
from cyclegan.images import normalise, prepare_for_evaluation, resize
from cyclegan.networks.segmenter import build_segmenter

BATCH = 8
LEARNING_RATE, DECAY = 1e-3, 0.9
"""AdamW's rate at the start, and the exponent with which it falls to 0."""
LEAST_CROP = 0.6
"""The smallest crop that is enlarged to the whole, as a share of the side."""
BRIGHTNESS = 0.2
"""Pictures become darker or brighter by up to this share."""


@dataclass(frozen=True)
class Labelled:
    """Pictures with their label maps, at the size at which a network is trained.

    Attributes:
        pictures: uint8 (N, side, side, 3).
        labels: uint8 (N, side, side): a class, or VOID.
    """

    pictures: np.ndarray
    labels: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Labelled]) -> Labelled:
        """Return the pictures of several parts of one size, in order."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("pictures", "labels")))


def read_labelled(domain: Domain, config: DataConfig, progress: Callable[[int], object] | None = None) -> Labelled:
    """Return a domain's pictures and labels, prepared for evaluation and brought to `config.crop_size`².

    Args:
        domain: at most `config.max_images` of its pictures are read; width × height × 4 bytes each.
        progress: called with 1 after each picture.

    Raises:
        DataError: a picture has no label map.
        ImageError: a picture can't be read.
    """
    count, side = min(len(domain), config.max_images or len(domain)), config.crop_size
    found = Labelled(np.empty((count, side, side, 3), np.uint8), np.empty((count, side, side), np.uint8))

    def read(index: int) -> None:
        found.labels[index] = square_labels(domain, index, config)
        found.pictures[index] = resize(prepare_for_evaluation(domain.load(index), config), (side, side))

    with ThreadPoolExecutor() as pool:
        try:
            for _ in pool.map(read, range(count)):
                if progress:
                    progress(1)
        finally:
            pool.shutdown(cancel_futures=True)  # After an error or Ctrl-C, the other pictures aren't read.
    return found


def train_segmenter(
    labelled: Labelled, classes: Classes, *, network: str = "unet", seed: int = 0, epochs: int = 24,
    steps: int | None = None, minutes: float | None = None, class_weights: bool = False, device: str = "cpu",
    progress: Callable[[float, float], object] | None = None,
) -> Segmenter:
    """Train a network on pictures and labels; the same seed gives the same weights on the same machine's CPU.

    AdamW with a rate that falls polynomially; each picture is mirrored in half of the cases, made darker or brighter,
    and a crop of it is enlarged.

    Args:
        network: a name in `SEGMENTERS`.
        seed: of the initial weights, the pictures' order and their changes.
        epochs: passes through all pictures.
        steps: batches of 8, in place of epochs, so that trainings on different pictures are equally long.
        minutes: train for so long instead; then the machine's speed decides how many steps there are.
        class_weights: weigh rare classes up, by 1 / ln(1.10 + share).
        device: where to train; the segmenter stays there.
        progress: called after each step with the share that is done, 0 to 1, and the loss.

    Raises:
        ConfigError: unknown network; its package is missing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build_segmenter(network, classes.count, pretrained=True).to(device).train()
    weights = _class_weights(labelled.labels, classes.count) if class_weights else torch.ones(classes.count)
    weights = weights.to(device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE)
    rng = np.random.default_rng(seed)
    total = epochs * math.ceil(len(labelled.pictures) / BATCH) if steps is None else steps
    start, step, share = time.monotonic(), 0, 0.0
    batches = _batches(len(labelled.pictures), rng)
    while share < 1:
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 - share) ** DECAY
        indices = next(batches)
        pictures = normalise(torch.from_numpy(labelled.pictures[indices]))
        # On the CPU, because not every device can sample at the edges.
        pictures, labels = _varied(pictures, torch.from_numpy(labelled.labels[indices]), rng)
        pictures, labels = pictures.to(device), labels.to(device)
        sums = F.cross_entropy(net(pictures), labels, weights, ignore_index=VOID, reduction="sum")
        loss = sums / (labels != VOID).sum().clamp(min=1)  # A batch may be VOID throughout.
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        share = step / total if minutes is None else (time.monotonic() - start) / (60 * minutes)
        if progress:
            progress(min(share, 1.0), float(loss.detach()))
    about = {
        "network": network, "seed": seed, "steps": step, "batch": BATCH,
        **({"minutes": minutes} if minutes is not None else {} if steps is not None else {"epochs": epochs}),
        "class_weights": class_weights, "pictures": len(labelled.pictures),
    }  # fmt: skip
    return Segmenter(classes, labelled.pictures.shape[1], net.eval(), about)


def _batches(count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield full batches for ever: each picture once before any is seen again."""
    waiting = np.empty(0, np.int64)
    while True:
        while len(waiting) < BATCH:
            waiting = np.concatenate([waiting, rng.permutation(count)])
        yield waiting[:BATCH]
        waiting = waiting[BATCH:]


def _varied(pictures: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return changed pictures (N, 3, H, W) and their labels, int64 (N, H, W), with the same crop and mirror."""
    count = len(pictures)
    crop = rng.uniform(LEAST_CROP, 1, count)
    place = rng.uniform(-1, 1, (2, count)) * (1 - crop)
    bright = rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS, count)
    grid = np.zeros((count, 2, 3), np.float32)
    grid[:, 0, 0], grid[:, 1, 1] = crop * rng.choice([-1, 1], count), crop
    grid[:, :, 2] = place.T
    where = F.affine_grid(torch.from_numpy(grid), list(pictures.shape), align_corners=False)
    factor = torch.from_numpy(bright.astype(np.float32))[:, None, None, None]
    pictures = F.grid_sample(pictures, where, padding_mode="border", align_corners=False)
    chosen = F.grid_sample(
        labels[:, None].float(), where, mode="nearest", padding_mode="border", align_corners=False
    )  # fmt: skip
    return ((pictures + 1) * factor - 1).clamp(-1, 1), chosen[:, 0].long()


def _class_weights(labels: np.ndarray, count: int) -> Tensor:
    """Return float32 (count,): large for rare classes, so that a pixel weighs 1 in the mean."""
    pixels = np.bincount(labels[labels != VOID], minlength=count)
    shares = pixels / max(1, pixels.sum())
    weights = 1 / np.log(1.10 + shares)
    return torch.from_numpy((weights / (weights * shares).sum()).astype(np.float32))
