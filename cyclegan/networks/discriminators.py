"""Discriminators: picture (N, C, H, W) in [-1, 1] → map of raw logits (N, 1, h, w), high where it looks real.

`cyclegan.methods.losses` turns logits into a loss, by the GAN mode.
"""

from __future__ import annotations

from torch import Tensor, nn

from cyclegan.networks.norm import instance_norm


class _Discriminator(nn.Module):
    """The base of both discriminators: a sequence of layers and a least size.

    Attributes:
        min_size: height and width must be at least this many pixels.
        receptive_field: side in pixels of the square that one logit sees.
    """

    min_size: int
    receptive_field: int
    layers: nn.Sequential

    def forward(self, x: Tensor) -> Tensor:
        """Judge pictures.

        Args:
            x: (N, in_channels, H, W) in [-1, 1].

        Returns:
            (N, 1, h, w), raw logits.

        Raises:
            ValueError: H or W is below `min_size`.
        """
        if min(x.shape[-2:]) < self.min_size:
            raise ValueError(
                f"{type(self).__name__} can't take {x.shape[-1]}×{x.shape[-2]} pixels: width and height must "
                f"be at least {self.min_size}"
            )
        return self.layers(x)


class PatchDiscriminator(_Discriminator):
    """Judges overlapping patches (paper section 4 and appendix: C64-C128-C256-C512, no norm on C64).

    `n_layers` 4×4 convolutions of stride 2, one of stride 1, and one of stride 1 down to a single channel.
    One logit sees a square of `receptive_field` pixels: 16, 34, 70, 142, 286, 574 at 1 to 6 layers. (Through the
    means and variances of instance norm, the whole picture has a faint influence.) A 256² picture becomes 30×30
    logits at 3 layers.

    Args:
        ndf: channels of the first layer; they double per layer, up to 8 × ndf.
        n_layers: convolutions of stride 2; 3 in the paper.
        slope: LeakyReLU's slope; 0.2 in the paper, 0 = ReLU.
        in_channels: of a picture; 6 for one that is judged next to its input.
        norm_affine: scale and shift after each norm, as in pix2pix.
    """

    def __init__(
        self, ndf: int = 64, n_layers: int = 3, *, slope: float = 0.2, in_channels: int = 3, norm_affine: bool = False
    ) -> None:
        super().__init__()
        if n_layers < 1:
            raise ValueError(f"n_layers must be 1 or more, not {n_layers}")
        # The two convolutions of stride 1 each take a pixel off, and one must be left.
        self.min_size = 3 * 2**n_layers
        widths = [ndf * min(2**level, 8) for level in range(n_layers + 1)]
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, ndf, 4, stride=2, padding=1),
            nn.LeakyReLU(slope, inplace=True),
        ]
        for level in range(1, n_layers + 1):
            layers += [
                nn.Conv2d(widths[level - 1], widths[level], 4, stride=2 if level < n_layers else 1, padding=1),
                instance_norm(widths[level], affine=norm_affine),
                nn.LeakyReLU(slope, inplace=True),
            ]
        layers.append(nn.Conv2d(widths[-1], 1, 4, stride=1, padding=1))
        self.layers = nn.Sequential(*layers)
        self.receptive_field = _receptive_field(self.layers)


class PixelDiscriminator(_Discriminator):
    """Judges each pixel by its colour: 1×1 convolutions only (Isola et al., 2017, section 4.4: PixelGAN).

    Output (N, 1, H, W). Its instance norm still compares a pixel with the mean and variance of its picture.

    Args:
        ndf: channels of the first layer; the second has twice as many.
        slope: LeakyReLU's slope; 0 = ReLU.
        in_channels, norm_affine: see `PatchDiscriminator`.
    """

    # Instance norm needs more than one value per channel.
    min_size = 2

    def __init__(
        self, ndf: int = 64, *, slope: float = 0.2, in_channels: int = 3, norm_affine: bool = False
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, ndf, 1),
            nn.LeakyReLU(slope, inplace=True),
            nn.Conv2d(ndf, 2 * ndf, 1),
            instance_norm(2 * ndf, affine=norm_affine),
            nn.LeakyReLU(slope, inplace=True),
            nn.Conv2d(2 * ndf, 1, 1),
        )
        self.receptive_field = _receptive_field(self.layers)


def _receptive_field(layers: nn.Sequential) -> int:
    """Return the side in pixels of the square that one output sees, counted from the output back."""
    field = 1
    for layer in reversed(layers):
        if isinstance(layer, nn.Conv2d):
            field = (field - 1) * layer.stride[0] + layer.kernel_size[0]
    return field
