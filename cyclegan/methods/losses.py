"""The terms of the objective: adversarial (paper eq. 1, section 4), cycle (eq. 2), identity (section 5.2)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class LossTerms:
    """One step's losses, unweighted, as 0-dim tensors on the device; None where a term's weight is 0.

    The suffix names the domain that the judged picture looks like, but for the two adversarial terms,
    which are named after their generator.
    """

    gan_ab: Tensor | None = None  # gen_ab against disc_b
    gan_ba: Tensor | None = None  # gen_ba against disc_a
    cycle_a: Tensor | None = None  # |gen_ba(gen_ab(a)) - a|
    cycle_b: Tensor | None = None  # |gen_ab(gen_ba(b)) - b|
    identity_a: Tensor | None = None  # |gen_ba(a) - a|
    identity_b: Tensor | None = None  # |gen_ab(b) - b|
    disc_a: Tensor | None = None
    disc_b: Tensor | None = None

    def items(self) -> list[tuple[str, Tensor]]:
        """(name, detached value) of the terms that were computed."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return [(name, value.detach()) for name, value in pairs if value is not None]


def gan_loss(logits: Tensor, *, real: bool, mode: str, for_discriminator: bool) -> Tensor:
    """The adversarial loss of one batch of judgements, averaged over patches and batch.

    Args:
        logits: the discriminator's raw output, any shape.
        real: whether the judge is asked to call these real. A generator asks for `real=True` on its fakes.
        mode: lsgan (squared error, the paper's choice), vanilla (cross entropy), hinge, or wgan_gp.
        for_discriminator: hinge clips the discriminator's side only.
    """
    if mode == "lsgan":
        return F.mse_loss(logits, torch.full_like(logits, float(real)))
    if mode == "vanilla":
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))
    signed = -logits if real else logits
    if mode == "hinge" and for_discriminator:
        return F.relu(1 + signed).mean()
    return signed.mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """(‖∇D(x̂)‖₂ − 1)² on random mixtures x̂ of real and fake (Gulrajani et al. 2017, eq. 3).

    Args:
        real, fake: (N, 3, H, W), detached, of one size.
    """
    weight = torch.rand(real.shape[0], 1, 1, 1, device=real.device, dtype=real.dtype)
    mixed = torch.lerp(fake, real, weight).requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(mixed).sum(), mixed, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def judged_correctly(logits: Tensor, *, real: bool, mode: str) -> Tensor:
    """Share of patches (0 to 1) that a discriminator calls by their right name; for wgan_gp it means nothing."""
    threshold = 0.5 if mode == "lsgan" else 0.0
    called_real = logits > threshold
    return (called_real if real else ~called_real).float().mean()
