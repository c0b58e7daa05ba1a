"""Generators: picture (N, in_channels, H, W) in [-1, 1] → picture (N, out_channels, H, W) in [-1, 1].

All of them normalise each picture by itself (instance norm, paper section 4), so a picture's result does
not depend on the rest of the batch. Every convolution has a bias, as in the authors' networks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cyclegan.networks.dropout import dropout_layer
from cyclegan.networks.norm import instance_norm

CHANNELS = 3


class Generator(nn.Module):
    """The base of all generators.

    Attributes:
        in_channels, out_channels: of the pictures that they take and give.
        size_multiple: height and width must be multiples of this many pixels.
        min_size: height and width must be at least this many pixels; itself such a multiple.
        whole_only: True if a result depends on the whole picture, so that it can't be computed in pieces.
    """

    size_multiple: int
    min_size: int
    whole_only = False
    checkpointing = False
    """True to compute the layers again in the backward pass of a training instead of keeping their outputs."""

    def __init__(self, in_channels: int = CHANNELS, out_channels: int = CHANNELS) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels

    def check_size(self, x: Tensor) -> None:
        """Raise ValueError unless `x` is (N, in_channels, H, W) with sides that this network can take."""
        # An exporter may ask with symbolic sides, which a comparison would freeze into the exported graph.
        if torch.jit.is_tracing() or torch.compiler.is_exporting():
            return
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"{type(self).__name__} takes (N, {self.in_channels}, H, W), not {tuple(x.shape)}")
        height, width = x.shape[2:]
        if height % self.size_multiple or width % self.size_multiple or min(height, width) < self.min_size:
            raise ValueError(
                f"{type(self).__name__} can't take {width}×{height} pixels: width and height must be "
                f"multiples of {self.size_multiple}, and at least {self.min_size}"
            )

    def body(self, x: Tensor) -> Tensor:
        """Apply the architecture: (N, in_channels, H, W) → (N, out_channels, H, W), before the tanh."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return what the encoder makes of pictures, from shallow to deep, for losses that compare features.

        Returns:
            The pictures themselves, then features (N, channels, h, w). `decode` goes on from them.
        """
        raise NotImplementedError

    def decode(self, features: list[Tensor]) -> Tensor:
        """Apply the rest of the architecture to all of `encode`'s features: `body(x)` is `decode(encode(x))`."""
        raise NotImplementedError

    def forward(self, x: Tensor, *, features: Literal["none", "also", "only"] = "none") -> Any:
        """Translate pictures.

        Args:
            x: (N, in_channels, H, W) in [-1, 1].
            features: "also" to return the encoder's features from the same pass, "only" to stop after the last one.
                They come through this method, because a DDP wrapper must see every pass.

        Returns:
            (N, out_channels, H, W) in [-1, 1]; with "also" this and `encode`'s list, with "only" the list.

        Raises:
            ValueError: H or W isn't a multiple of `size_multiple`, or is below `min_size`.
        """
        self.check_size(x)
        if features == "only":
            return self._run(self.encode, x)
        y, found = self._run(self._both, x) if features == "also" else (self._run(self.body, x), [])
        # In mixed precision the last convolution gives 8 bits: enough before the tanh, too few after it.
        y = torch.tanh(y.float() if y.dtype in (torch.bfloat16, torch.float16) else y)
        return (y, found) if features == "also" else y

    def _both(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        found = self.encode(x)
        return self.decode(found), found

    def _run(self, layers: Callable[[Tensor], Any], x: Tensor) -> Any:
        if not (self.checkpointing and torch.is_grad_enabled()):
            return layers(x)
        # Only dropout is random, and keeping the random state makes the host wait for a GPU.
        chance = any(isinstance(module, nn.Dropout) for module in self.modules())
        return checkpoint(layers, x, use_reentrant=False, preserve_rng_state=chance)


def _stage(**layers: nn.Module | None) -> nn.Sequential:
    """Return a sequence whose state-dict keys name each layer; None leaves a layer out."""
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


def _upsampling(inputs: int, outputs: int, kernel: int, upsample: str) -> OrderedDict[str, nn.Module]:
    """Return layers that double height and width: (N, inputs, H, W) → (N, outputs, 2H, 2W).

    `transpose` is the published transposed convolution, whose uneven overlap can leave a checkerboard;
    `resize` doubles first and then convolves (Odena et al., Deconvolution and Checkerboard Artifacts, 2016);
    `resize_zeros` pads with zeros there instead of by reflection, as HugGAN's and PyTorch-GAN's networks do.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if upsample == "transpose":
        # An odd kernel needs one more row and column at the end to reach exactly twice the size.
        layers["conv"] = nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=1, output_padding=kernel % 2)
    elif upsample in ("resize", "resize_zeros"):
        layers["resize"] = nn.Upsample(scale_factor=2, mode="nearest")
        # The 4×4 architectures double a single pixel first: padded by reflection it would be flat, and the next norm
        # would erase it. Zeros, which the transposed convolution has at its borders too, keep it.
        padding_mode = "zeros" if kernel == 4 or upsample == "resize_zeros" else "reflect"
        layers["conv"] = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=padding_mode)
    else:
        raise ValueError(f"upsample must be transpose, resize or resize_zeros, not {upsample!r}")
    return layers


class ResidualBlock(nn.Module):
    """x + conv-norm-ReLU-(dropout-)conv-norm of x, both convolutions 3×3 with reflection padding.

    No ReLU after the sum (paper, appendix, which follows Gross and Wilber, 2016).
    """

    def __init__(
        self, channels: int, *, dropout: bool, norm_affine: bool, test_dropout: bool = False, number: int = 0
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norm1 = instance_norm(channels, affine=norm_affine)
        self.act = nn.ReLU(inplace=True)
        self.dropout = dropout_layer(channels, number, at_test=test_dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norm2 = instance_norm(channels, affine=norm_affine)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block: (N, channels, H, W) → the same shape."""
        y = self.dropout(self.act(self.norm1(self.conv1(x))))
        return x + self.norm2(self.conv2(y))


_ENCODING = 5
"""Residual blocks that belong to the encoder (Park et al., 2020, section 3 and appendix C.1)."""


class ResnetGenerator(Generator):
    """The paper's generator (section 4 and appendix): c7s1-64, d128, d256, R256 × n, u128, u64, c7s1-3.

    Args:
        ngf: channels of the first layer; 64 in the paper.
        blocks: residual blocks; 9 for 256² and above, 6 for 128² in the paper.
        upsample: `transpose` (published), `resize` (no checkerboard) or `resize_zeros`.
        dropout: drop half of the activations inside each residual block, while training.
        norm_affine: scale and shift after each norm, as pix2pix and old imported weights have.
        test_dropout: with `dropout`, drop while translating, too; see `FixedDropout`.
        in_channels, out_channels: of the pictures.
    """

    size_multiple = 4
    # The residual blocks' reflection padding needs two pixels at a quarter of the size.
    min_size = 8

    def __init__(
        self, ngf: int = 64, blocks: int = 9, *, upsample: str = "transpose", dropout: bool = False,
        norm_affine: bool = False, test_dropout: bool = False, in_channels: int = CHANNELS,
        out_channels: int = CHANNELS,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels)
        self.stem = _stage(
            conv=nn.Conv2d(in_channels, ngf, 7, padding=3, padding_mode="reflect"),
            norm=instance_norm(ngf, affine=norm_affine),
            act=nn.ReLU(inplace=True),
        )
        self.down = nn.Sequential(
            *(
                _stage(
                    conv=nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                    norm=instance_norm(2 * width, affine=norm_affine),
                    act=nn.ReLU(inplace=True),
                )
                for width in (ngf, 2 * ngf)
            )
        )
        self.blocks = nn.Sequential(
                *(
                ResidualBlock(
                    4 * ngf, dropout=dropout, norm_affine=norm_affine, test_dropout=test_dropout, number=number
                )
                for number in range(blocks)
            )
        )
        self.up = nn.Sequential(
            *(
                _stage(
                    **_upsampling(width, width // 2, 3, upsample),
                    norm=instance_norm(width // 2, affine=norm_affine),
                    act=nn.ReLU(inplace=True),
                )
                for width in (4 * ngf, 2 * ngf)
            )
        )
        self.head = nn.Conv2d(ngf, out_channels, 7, padding=3, padding_mode="reflect")

    def body(self, x: Tensor) -> Tensor:
        """Apply the layers: (N, in_channels, H, W) → (N, out_channels, H, W), before the tanh."""
        return self.head(self.up(self.blocks(self.down(self.stem(x)))))

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the pictures, both stride-2 convolutions before their norms, and the first and fifth block."""
        found, x = [x], self.stem(x)
        for stage in self.down:
            x = stage.conv(x)
            found.append(x)
            x = stage.act(stage.norm(x))
        for number, block in enumerate(self.blocks[:_ENCODING]):
            x = block(x)
            if number in (0, _ENCODING - 1):
                found.append(x)
        return found

    def decode(self, features: list[Tensor]) -> Tensor:
        """Apply the blocks after the fifth and the upsamplings."""
        return self.head(self.up(self.blocks[_ENCODING:](features[-1])))


class UnetGenerator(Generator):
    """Encoder and decoder with a skip connection at every size (Isola et al., 2017, section 3.2, appendix).

    `n_down` stride-2 4×4 convolutions bring the picture down by 2^n_down, and as many upsamplings bring it
    back; each but the innermost also sees the encoder's output of its size. No norm after the outermost
    convolution, nor after the innermost one, where a picture of 2^n_down pixels is down to one value per
    channel, which a norm would erase. `up.0` is the innermost decoder stage.

    Args:
        n_down: halvings; 8 for 256², 7 for 128².
        ngf: channels of the first layer; the innermost have 8 × ngf.
        upsample: `transpose` (published), `resize` (no checkerboard) or `resize_zeros`.
        dropout: drop half of the outputs of the decoder's inner 8 × ngf stages, while training.
        slope: LeakyReLU's slope in the encoder; 0 = ReLU.
        norm_affine: scale and shift after each norm, as pix2pix and old imported weights have.
        test_dropout: with `dropout`, drop while translating, too; see `FixedDropout`.
        in_channels, out_channels: of the pictures.
    """

    def __init__(
        self, n_down: int = 8, ngf: int = 64, *, upsample: str = "transpose", dropout: bool = False, slope: float = 0.2,
        norm_affine: bool = False, test_dropout: bool = False, in_channels: int = CHANNELS,
        out_channels: int = CHANNELS,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels)
        if n_down < 5:
            raise ValueError(f"n_down must be 5 or more, not {n_down}")
        self.size_multiple = self.min_size = 2**n_down
        widths = [ngf * min(2**level, 8) for level in range(n_down)]

        last = n_down - 1
        self.down = nn.ModuleList(
            _stage(
                conv=nn.Conv2d(widths[level - 1] if level else in_channels, widths[level], 4, stride=2, padding=1),
                norm=instance_norm(widths[level], affine=norm_affine) if 0 < level < last else None,
                # May work in place: the skip connection carries its output, and the decoder's ReLU, which comes next,
                # gives the same for its input and its output.
                act=nn.LeakyReLU(slope, inplace=True) if level < last else None,
            )
            for level in range(n_down)
        )
        self.up = nn.ModuleList(
            _stage(
                act=nn.ReLU(inplace=True),
                **_upsampling(
                    widths[level] * (1 if level == last else 2), widths[level - 1] if level else out_channels, 4,
                    upsample,
                ),
                norm=instance_norm(widths[level - 1], affine=norm_affine) if level else None,
                dropout=dropout_layer(widths[level - 1], level, at_test=test_dropout)
                if dropout and 4 <= level < last
                else None,
            )
            for level in reversed(range(n_down))
        )

    def body(self, x: Tensor) -> Tensor:
        """Apply the layers: (N, in_channels, H, W) → (N, out_channels, H, W), before the tanh."""
        skips: list[Tensor] = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        del x
        return self._decoded(skips)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the pictures and the outputs of the first four stages."""
        found = [x]
        for stage in self.down[:4]:
            found.append(stage(found[-1]))
        return found

    def decode(self, features: list[Tensor]) -> Tensor:
        """Apply the encoder's other stages and the decoder, which sees all features but the pictures again."""
        skips = features[1:]
        for stage in self.down[4:]:
            skips.append(stage(skips[-1]))
        return self._decoded(skips)

    def _decoded(self, skips: list[Tensor]) -> Tensor:
        """Apply the decoder to the outputs of all stages, which it takes from the list, so that each is freed early."""
        x = skips.pop()
        for stage in self.up:
            x = stage(x)
            if skips:
                x = torch.cat([skips.pop(), x], dim=1)
        return x


class EncoderDecoder(Generator):
    """DiscoGAN's generator (Kim et al., 2017, section 3): everything passes the bottleneck, no skips.

    Four stride-2 4×4 convolutions ngf, 2, 4 and 8 × ngf, LeakyReLU, and the mirrored upsamplings with ReLU.
    It differs from the published one in its norm: instance norm here as everywhere else in this package,
    because batch norm would make a picture's result depend on the rest of the batch. And it ends in tanh,
    for pictures in [-1, 1], where the published one ends in a sigmoid.

    Args:
        ngf: channels of the first layer; 64 as published.
        upsample: `transpose` (published), `resize` (no checkerboard) or `resize_zeros`.
        dropout: drop half of the first decoder stage's outputs, while training; not in the published one.
        slope: LeakyReLU's slope in the encoder; 0 = ReLU.
        norm_affine: scale and shift after each norm.
        test_dropout: with `dropout`, drop while translating, too; see `FixedDropout`.
        in_channels, out_channels: of the pictures.
    """

    size_multiple = 16
    # Instance norm needs more than one value per channel, so two pixels a side at a sixteenth of the size.
    min_size = 32

    def __init__(
        self, ngf: int = 64, *, upsample: str = "transpose", dropout: bool = False, slope: float = 0.2,
        norm_affine: bool = False, test_dropout: bool = False, in_channels: int = CHANNELS,
        out_channels: int = CHANNELS,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels)
        widths = [ngf, 2 * ngf, 4 * ngf, 8 * ngf]
        self.down = nn.Sequential(
            *(
                _stage(
                    conv=nn.Conv2d(widths[level - 1] if level else in_channels, widths[level], 4, stride=2, padding=1),
                    norm=instance_norm(widths[level], affine=norm_affine) if level else None,
                    act=nn.LeakyReLU(slope, inplace=True),
                )
                for level in range(4)
            )
        )
        self.up = nn.Sequential(
            *(
                _stage(
                    **_upsampling(widths[level], widths[level - 1], 4, upsample),
                    norm=instance_norm(widths[level - 1], affine=norm_affine),
                    act=nn.ReLU(inplace=True),
                    dropout=dropout_layer(widths[2], level, at_test=test_dropout) if dropout and level == 3 else None,
                )
                for level in (3, 2, 1)
            )
        )
        self.head = _stage(**_upsampling(ngf, out_channels, 4, upsample))

    def body(self, x: Tensor) -> Tensor:
        """Apply the layers: (N, in_channels, H, W) → (N, out_channels, H, W), before the tanh."""
        return self.head(self.up(self.down(x)))

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the pictures and the outputs of the four stages."""
        found = [x]
        for stage in self.down:
            found.append(stage(found[-1]))
        return found

    def decode(self, features: list[Tensor]) -> Tensor:
        """Apply the decoder."""
        return self.head(self.up(features[-1]))
