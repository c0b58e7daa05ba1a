"""Hours of a training with the default networks, computed from a card's data sheet; no GPU has confirmed them yet.

`benchmarks/training_hours.py` counts the work of a step, and its report names every assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

from cyclegan.config import ModelConfig, TrainConfig

SIDED = ("resize_crop", "resize", "crop", "scale_width_crop")
"""Ways of --preprocess after which every training picture has the sides of --crop_size."""


@dataclass(frozen=True)
class Card:
    """A graphics card by its maker's data sheet."""

    name: str
    tflops: float
    """Peak of its matrix units in fp16 and bf16, added up in fp32, dense: without the doubling by sparsity."""
    bandwidth: float
    """GB/s of its memory."""


T4 = Card("T4 (`--mixed_precision fp16`)", 65, 320)
L4 = Card("L4", 121, 300)
A10G = Card("A10G", 70, 600)
A100 = Card("A100, 40 GB", 312, 1555)
H100 = Card("H100 SXM", 989, 3350)
OF_THE_HUB = {"T4": T4, "L4": L4, "A10G": A10G, "A100": A100, "H200": H100}
"""The cards of Hugging Face's flavors, by the name of their accelerator.

Its A100 has 80 GB, and its H200 the arithmetic of an H100; both have faster memory than is assumed here.
"""


@dataclass(frozen=True)
class Assumption:
    """The share of a card's published figures that a training reaches."""

    peak: float
    """Share of the peak that convolutions reach."""
    bandwidth: float
    """Share of the bandwidth."""
    host_us: float
    """Microseconds in which the processor starts one operation. The card can't be faster than that."""
    rest: float
    """Time of an epoch outside its steps (samples, saving, loading), as a share of the steps'."""


FAST, SLOW = Assumption(0.5, 0.8, 5, 0.05), Assumption(0.2, 0.5, 15, 0.15)


@dataclass(frozen=True)
class Work:
    """The work of a step on one pair."""

    flop: float
    bytes: float
    """That operations read and write in fp32. bf16 would halve part of it; what it saves is left out."""
    operations: int


def default_work(side: int) -> Work:
    """Return the work of a step of the default networks on a pair of pictures of side² pixels.

    Layers cost in proportion to the area; the weights, which Adam reads and writes, cost the same at every size.
    """
    return Work(28.69e6 * side**2, 3.14e9 + 335.8e3 * side**2, 3168)


def seconds(work: Work, card: Card, assumed: Assumption) -> float:
    """Return the time that a step is assumed to take, with its share of the epoch's other work."""
    device = work.flop / (card.tflops * 1e12 * assumed.peak) + work.bytes / (card.bandwidth * 1e9 * assumed.bandwidth)
    return max(device, work.operations * assumed.host_us * 1e-6) * (1 + assumed.rest)


def computed_hours(config: TrainConfig, pictures: int, epochs: int, accelerator: str) -> tuple[float, float] | None:
    """Return the fewest and the most hours of a training on one card; None for what the count doesn't cover.

    Args:
        pictures: of the larger domain.
        epochs: those that are left.
        accelerator: the card's name in Hugging Face's list of hardware.
    """
    usual, model = ModelConfig(), config.model
    sizes = ("generator", "ngf", "discriminator", "ndf", "n_layers_d")
    same = all(getattr(model, name) == getattr(usual, name) for name in sizes)
    covered = same and config.run.method == "cyclegan" and config.optim.batch_size == 1 and not config.run.reference
    if accelerator not in OF_THE_HUB or not covered or config.data.preprocess not in SIDED:
        return None
    work, steps = default_work(config.data.crop_size), epochs * min(pictures, config.data.max_images or pictures)
    fewest, most = (steps * seconds(work, OF_THE_HUB[accelerator], assumed) / 3600 for assumed in (FAST, SLOW))
    return fewest, most
