"""Terms of the objectives: adversarial (paper eq. 1, section 4), semantic, temporal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.config import MOTION
from cyclegan.methods.method import Batch, bare


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


def semantic_loss(segmenter: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return the cross entropy of a segmenter's reading of translations against its own reading of their inputs, a mean
    over pixels: one of the two terms of CyCADA's semantic consistency (Hoffman et al. 2018, eq. 4).

    Args:
        segmenter: pictures → logits (N, classes, h, w); frozen.
        real, fake: inputs and translations, (N, 3, H, W) in [-1, 1].
    """
    with torch.no_grad():
        read = segmenter(real).argmax(1)
    return F.cross_entropy(segmenter(fake), read)


def stillness(one: Tensor, other: Tensor) -> Tensor:
    """Return how still each pixel is between two frames, from 0 (moves) to 1, as `translation.smoothing` sees it.

    exp(−(d / MOTION)²), where d is the largest change of a channel, in grey levels, averaged over 3×3 pixels, because a
    camera's noise would count as motion; of that the largest of 3×3, because a passing edge changes a network's result
    next to it, too.

    Args:
        one, other: (N, 3, H, W) in [-1, 1].

    Returns:
        (N, 1, H, W), without gradients.
    """
    change = 127.5 * (one - other).detach().abs().amax(1, keepdim=True)
    near = F.max_pool2d(F.avg_pool2d(change, 3, 1, 1, count_include_pad=False), 3, 1, 1)
    return torch.exp(-((near / MOTION) ** 2))


def temporal_loss(frame: Tensor, following: Tensor, fake: Tensor, following_fake: Tensor) -> Tensor:
    """Return the mean difference of two neighbouring frames' translations, each pixel weighted by its stillness (the
    short-term loss of Lai et al. 2018, arXiv 1808.00449, without optical flow).

    A frame that is given as its own follower counts as 0, because it has none.

    Args:
        frame, following: inputs, (N, 3, H, W) in [-1, 1].
        fake, following_fake: their translations.
    """
    follows = (frame != following).flatten(1).any(1)[:, None, None, None]
    return (stillness(frame, following) * follows * (fake - following_fake).abs()).mean()


def frames_of(batch: Batch, domain: str) -> list[Tensor]:
    """Return a domain's pictures, and the frames that follow them where the batch has those."""
    return [batch[name] for name in (f"real_{domain}", f"next_{domain}") if name in batch]


def extra_terms(
    options: Any, way: str, frames: Sequence[Tensor], made: Sequence[Tensor], segmenter: nn.Module | None
) -> dict[str, tuple[float, Tensor]]:
    """Return the weight and the value of one direction's semantic and temporal terms by name; none of weight 0.

    Args:
        options: with `config.method_options.ExtraTerms`.
        way: "ab" or "ba".
        frames: see `frames_of`.
        made: their translations; more may follow.
        segmenter: of the semantic term.
    """
    found = {}
    if options.lambda_semantic and way[0] in options.read:
        assert segmenter is not None, "the trainer gives it to the method"
        found[f"semantic_{way}"] = options.lambda_semantic, semantic_loss(segmenter, frames[0], made[0])
    if options.lambda_temporal and len(frames) > 1:
        found[f"temporal_{way}"] = options.lambda_temporal, temporal_loss(*frames, *made[:2])
    return found
