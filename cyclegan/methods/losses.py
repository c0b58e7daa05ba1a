"""The terms of the objective: adversarial (paper eq. 1, section 4), cycle (eq. 2), identity (section 5.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.methods.method import bare


def gan_loss(logits: Tensor, *, real: bool, mode: str, for_discriminator: bool) -> Tensor:
    """Return the adversarial loss of one batch of judgements, averaged over patches and batch.

    Args:
        logits: the discriminator's raw output, any shape.
        real: True if the judge should call these real. A generator asks for `real=True` on its fakes.
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
    """Return (‖∇D(x̂)‖₂ − 1)² on random mixtures x̂ of real and fake (Gulrajani et al. 2017, eq. 3).

    Args:
        real, fake: (N, 3, H, W), detached, of one size.
    """
    weight = torch.rand(real.shape[0], 1, 1, 1, device=real.device, dtype=real.dtype)
    mixed = torch.lerp(fake, real, weight).requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(mixed).sum(), mixed, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def called_real(logits: Tensor, *, mode: str) -> Tensor:
    """Return a bool map of the patches that a discriminator calls real; meaningless for wgan_gp."""
    return logits > (0.5 if mode == "lsgan" else 0.0)


def through(network: nn.Module, *pictures: Tensor, together: bool | None) -> list[Tensor]:
    """Return what the network makes of each batch: `together` in one pass where sizes allow, because norms look at
    each picture by itself."""
    if together and len(pictures) > 1 and len({p.shape[1:] for p in pictures}) == 1:
        return list(network(torch.cat(pictures)).split([len(p) for p in pictures]))
    return [network(p) for p in pictures]


def judging_loss(
    discriminator: nn.Module, real: Tensor, fake: Tensor, *, mode: str, lambda_gp: float, together: bool | None
) -> Tensor:
    """Return a discriminator's loss on real and fake pictures, halved, so that it learns slower (section 4).

    Args:
        real, fake: (N, C, H, W) in [-1, 1]; detached.
        lambda_gp: weight of the gradient penalty, for wgan_gp only.
        together: see `through`.
    """
    on_real, on_fake = through(discriminator, real, fake, together=together)
    loss = gan_loss(on_real, real=True, mode=mode, for_discriminator=True)
    loss = loss + gan_loss(on_fake, real=False, mode=mode, for_discriminator=True)
    if mode == "wgan_gp":
        loss = loss + lambda_gp * gradient_penalty(bare(discriminator), real, fake)
    return loss / 2
