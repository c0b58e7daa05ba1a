"""CoGAN's networks (Liu and Tuzel, 2016): both domains' pictures from one latent vector, and translation by inversion.

The layers follow the 128² template of the authors' code, for any size of 4 × 2^n pixels. Batch norm is left out, as
everywhere in this package: a picture's result would depend on the rest of its batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.config import Direction
from cyclegan.errors import Cancelled
from cyclegan.networks.generators import Generator, _stage, _upsampling
from cyclegan.networks.norm import PictureNorm

_MOST = 32
"""The widest layer has this many times the channels of the one next to the picture."""
_SETTLED = 1e-6
"""A step of the search that lowers the mean squared error by less, of a range of 4, is the last one."""
CANCELLED: ContextVar[Callable[[], bool] | None] = ContextVar("CANCELLED", default=None)
"""Asked at each step of a search, which may take minutes; true ends it with `Cancelled`."""


class CoupledPair(nn.Module):
    """Both generators: layers near the latent vector are shared, the last ones are each domain's own.

    A linear layer to 4×4, then doublings with half the channels each, and a 3×3 convolution to a picture; norm and
    PReLU between them. The last doubling and the convolution are the domain's own.

    Args:
        size: height and width of the pictures: 4 × 2^n, at least 8.
        ngf: channels after the last doubling; each doubling before it has twice as many, up to 32 × ngf.
        latent_size: values of the latent vector.
        upsample: see `ModelConfig.upsample`.
    """

    def __init__(self, size: int, ngf: int = 32, latent_size: int = 100, *, upsample: str = "transpose") -> None:
        super().__init__()
        doublings = int(math.log2(size // 4))
        if doublings < 1 or 4 * 2**doublings != size:
            raise ValueError(f"coupled generators draw pictures of 8, 16, 32, 64 … pixels a side, not {size}")
        self.size, self.latent_size = size, latent_size
        widths = [ngf * min(2**level, _MOST) for level in reversed(range(doublings + 1))]
        # On a vector, it is the linear layer to 4×4.
        first = _stage(conv=nn.ConvTranspose2d(latent_size, widths[0], 4), norm=PictureNorm(widths[0]),
                       act=nn.PReLU(widths[0]))  # fmt: skip
        doubled = [_doubling(one, other, upsample) for one, other in zip(widths, widths[1:-1], strict=False)]
        self.trunk = nn.Sequential(first, *doubled)
        self.head_a, self.head_b = (
            nn.Sequential(_doubling(widths[-2], ngf, upsample), nn.Conv2d(ngf, 3, 3, padding=1)) for _ in range(2)
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pictures of domains a and b, (N, 3, size, size) in [-1, 1], of latent vectors (N, latent_size)."""
        features = self.trunk(z[:, :, None, None])
        return _picture(self.head_a(features)), _picture(self.head_b(features))


class CoupledGenerator(Generator):
    """Translates by inversion: the latent vector whose picture is nearest in the source domain, drawn in the target.

    It can only give what the two generators can draw. Pictures of any size are scaled to theirs and back. Each is
    inverted by itself, and the starts are always the same, so the same picture has the same translation.

    Args:
        pair: the generators, whose layers it shares.
        direction: of the translation.
        starts: latent vectors that the search starts from; the nearest one in the end counts.
        steps: of the search, at most.
    """

    size_multiple = min_size = 1
    whole_only = True

    def __init__(self, pair: CoupledPair, direction: Direction = "ab", *, starts: int = 8, steps: int = 50) -> None:
        super().__init__()
        heads = {"a": pair.head_a, "b": pair.head_b}
        self.size, self.latent_size = pair.size, pair.latent_size
        self.trunk = pair.trunk
        self.source, self.target = (heads[domain] for domain in direction)
        self.starts, self.steps = starts, steps

    def forward(self, x: Tensor) -> Tensor:
        """Translate pictures; see `Generator.forward`."""
        return self.translate_and_redraw(x)[0]

    def translate_and_redraw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the translations, and what the source domain's generator draws in place of the inputs.

        The distance of the latter from `x` is the inversion's error.

        Args:
            x: (N, 3, H, W) in [-1, 1].

        Returns:
            Two batches of x's shape, in [-1, 1].
        """
        self.check_size(x)
        small = _resized(_full(x), self.size, self.size)
        z = torch.cat([self._inverted(one[None]) for one in small])
        with torch.autocast(x.device.type, enabled=False):
            features = self.trunk(z[:, :, None, None])
            fake, redrawn = (_picture(head(features)) for head in (self.target, self.source))
        height, width = x.shape[2:]
        return _resized(fake, height, width), _resized(redrawn, height, width)

    def _inverted(self, x: Tensor) -> Tensor:
        """Return the latent vector (1, latent_size) in [-1, 1] whose picture is nearest to `x`, of the own size.

        All starts take a fifth of the steps together, then the best one takes all of them.
        """
        # Translations run without gradients, which the search needs; weights get none.
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
            wanted = x.clone()
            starts = torch.rand(self.starts, self.latent_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
            # Searched for through a tanh, so that z remains where the generators were trained.
            u = torch.atanh(0.999 * starts).to(x)
            if len(u) > 1:
                u = self._nearest(self._searched(u, wanted, max(1, self.steps // 5)), wanted)
            return self._searched(u, wanted, self.steps).tanh()

    def _errors(self, u: Tensor, wanted: Tensor) -> Tensor:
        """Return the mean squared error (N,) of the pictures of tanh(u), (N, latent_size)."""
        return (_picture(self.source(self.trunk(u.tanh()[:, :, None, None]))) - wanted).square().mean((1, 2, 3))

    def _searched(self, u: Tensor, wanted: Tensor, steps: int) -> Tensor:
        """Return `u` after at most this many steps of L-BFGS."""
        u, cancelled = u.clone().requires_grad_(True), CANCELLED.get()
        search = torch.optim.LBFGS(
            [u], max_iter=steps, max_eval=2 * steps, history_size=20, line_search_fn="strong_wolfe",
            tolerance_change=_SETTLED,
        )  # fmt: skip

        def descend() -> Tensor:
            if cancelled is not None and cancelled():
                raise Cancelled("the translation was cancelled")
            total = self._errors(u, wanted).sum()
            (u.grad,) = torch.autograd.grad(total, u)
            return total

        search.step(descend)
        return u.detach()

    @torch.no_grad()
    def _nearest(self, u: Tensor, wanted: Tensor) -> Tensor:
        best = int(self._errors(u, wanted).nan_to_num(nan=torch.inf).argmin())
        return u[best : best + 1]


class CoupledDiscriminator(nn.Module):
    """Both discriminators: the first layer is each domain's own, all others are shared.

    Convolutions of stride 2 with twice the channels each, down to 4×4, and a linear layer to one logit; norm after all
    but the first, LeakyReLU.

    Args:
        size: height and width of the pictures that it is trained on: 4 × 2^n, at least 8; others are scaled.
        ndf: channels of the first layer; each one after it has twice as many, up to 32 × ndf.
        slope: LeakyReLU's slope.
    """

    def __init__(self, size: int, ndf: int = 32, *, slope: float = 0.2) -> None:
        super().__init__()
        self.size = size
        widths = [ndf * min(2**level, _MOST) for level in range(int(math.log2(size // 4)))]
        self.first_a, self.first_b = (
            nn.Sequential(nn.Conv2d(3, ndf, 5, stride=2, padding=2), nn.LeakyReLU(slope)) for _ in range(2)
        )
        self.shared = nn.Sequential(
            *(
                _stage(conv=nn.Conv2d(one, other, 5 if level < 2 else 3, stride=2, padding=2 if level < 2 else 1),
                       norm=PictureNorm(other), act=nn.LeakyReLU(slope))
                for level, (one, other) in enumerate(zip(widths, widths[1:], strict=False))
            ),
            nn.Conv2d(widths[-1], 1, 4),
        )  # fmt: skip

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Judge pictures of domain a and of domain b, (N, 3, size, size) each; raw logits (N, 1, 1, 1) of each."""
        features = torch.cat([self.first_a(a), self.first_b(b)])
        on_a, on_b = self.shared(features).split([len(a), len(b)])
        return on_a, on_b

    def judge(self, pictures: Tensor, domain: str) -> Tensor:
        """Return the raw logits (N, 1, 1, 1) of one domain's pictures of any size."""
        first = self.first_a if domain == "a" else self.first_b
        return self.shared(first(_resized(pictures, self.size, self.size)))


def _doubling(inputs: int, outputs: int, upsample: str) -> nn.Sequential:
    return _stage(**_upsampling(inputs, outputs, 4, upsample), norm=PictureNorm(outputs), act=nn.PReLU(outputs))


def _picture(y: Tensor) -> Tensor:
    """Return the last layer's output as a picture in [-1, 1]."""
    return torch.tanh(_full(y))


def _full(x: Tensor) -> Tensor:
    """Return mixed precision's short values in fp32, others as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _resized(x: Tensor, height: int, width: int) -> Tensor:
    """Return (N, 3, H, W) at this size; unchanged if it has it."""
    if x.shape[2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bilinear", antialias=True)
