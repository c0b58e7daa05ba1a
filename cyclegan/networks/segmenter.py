"""Networks that give each pixel of a picture its class: judges of translated pictures, trained by this project itself.

torchvision and timm are imported where they are used, because the default network needs neither.
"""

from __future__ import annotations

import importlib.util
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.errors import ConfigError
from cyclegan.networks.features import PACKAGES, lite0_network

SEGMENTERS = ("unet", "lraspp", "lite0")
"""The networks of `build_segmenter`."""
UNET_CHANNELS = (24, 48, 96, 144)
"""Channels of the U-Net at strides 2, 4, 8 and 16."""
LITE0_CHANNELS = (16, 24, 40, 112, 320)
"""Channels of EfficientNet-Lite0 at strides 2, 4, 8, 16 and 32."""
DECODER_CHANNELS = 64
"""Channels of the decoder on EfficientNet-Lite0."""


def build_segmenter(name: str, classes: int, *, pretrained: bool = False) -> nn.Module:
    """Return a network in training mode: pictures (N, 3, H, W) in [-1, 1] → logits (N, classes, H, W).

    Args:
        name: "unet", a U-Net of 0.76 M parameters; "lraspp", torchvision's `lraspp_mobilenet_v3_large`, 3.2 M; "lite0",
            EfficientNet-Lite0 with a small decoder, 3.1 M.
        classes: the number of classes.
        pretrained: start the encoder of lite0 from its weights of ImageNet, which come in a package; the others have
            none, and nothing is downloaded.

    Raises:
        ConfigError: unknown network; its package is missing.
    """
    if name == "unet":
        return UNet(classes)
    if name == "lraspp":
        return Lraspp(classes)
    if name == "lite0":
        return Lite0Segmenter(classes, pretrained=pretrained)
    raise ConfigError("{name} isn't a segmenter: {known}", name=name, known=", ".join(SEGMENTERS))


class Reader(nn.Module):
    """A frozen segmenter as a part of a loss, always in evaluation mode. Gradients flow through it to the pictures.

    Args:
        network: see `build_segmenter`.
        side: width and height in pixels at which it looks at pictures.
    """

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Reader:
        """Return itself in evaluation mode, whatever `mode` is."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits (N, classes, side, side) for pictures (N, 3, H, W) in [-1, 1] of any size."""
        size = (self.side, self.side)
        if pictures.shape[2:] != size:
            # With antialiasing, as the pictures were resized that it was trained on.
            pictures = F.interpolate(pictures, size, mode="bilinear", antialias=True)
        return self.network(pictures)


class UNet(nn.Module):
    """A U-Net with batch norm, whose finest maps have stride 2. See `build_segmenter`."""

    def __init__(self, classes: int, channels: tuple[int, ...] = UNET_CHANNELS) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Sequential(*_conv(before, after, stride=2), *_conv(after, after))
            for before, after in pairwise((3, *channels))
        )
        self.up = nn.ModuleList(
            nn.Sequential(*_conv(fine + coarse, fine)) for fine, coarse in reversed(list(pairwise(channels)))
        )
        self.head = nn.Conv2d(channels[0], classes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits; see `build_segmenter`."""
        maps = [pictures]
        for stage in self.down:
            maps.append(stage(maps[-1]))
        x = maps.pop()
        for stage in self.up:
            finer = maps.pop()
            x = stage(torch.cat((finer, _enlarged(x, finer)), dim=1))
        return _enlarged(self.head(x), pictures)


class Lraspp(nn.Module):
    """torchvision's LR-ASPP on MobileNetV3-Large, from scratch. See `build_segmenter`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        if importlib.util.find_spec("torchvision") is None:
            raise ConfigError("--network lraspp needs a package: pip install torchvision")
        from torchvision.models.segmentation import lraspp_mobilenet_v3_large

        # Without both arguments, torchvision would download weights.
        self.network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits; see `build_segmenter`."""
        return self.network(pictures)["out"]


class Lite0Segmenter(nn.Module):
    """EfficientNet-Lite0 and a top-down decoder, whose finest maps have stride 2. See `build_segmenter`."""

    def __init__(self, classes: int, *, pretrained: bool) -> None:
        super().__init__()
        needed = PACKAGES if pretrained else {"timm": "timm"}
        if any(importlib.util.find_spec(module) is None for module in needed.values()):
            raise ConfigError("--network lite0 needs {names}: pip install {names}", names=" ".join(needed))
        network = lite0_network(pretrained=pretrained)
        self.stem = nn.Sequential(network.conv_stem, network.bn1)
        self.blocks = network.blocks
        self.side = nn.ModuleList(nn.Conv2d(each, DECODER_CHANNELS, 1) for each in LITE0_CHANNELS)
        self.merge = nn.ModuleList(
            nn.Sequential(*_conv(DECODER_CHANNELS, DECODER_CHANNELS)) for _ in LITE0_CHANNELS[1:]
        )
        self.head = nn.Conv2d(DECODER_CHANNELS, classes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits; see `build_segmenter`."""
        x, found = self.stem((127.5 * pictures + 0.5) / 128), {}  # (grey level - 127) / 128, as it was trained.
        for block in self.blocks:
            x = block(x)
            found[x.shape[1]] = x
        maps = [project(found[each]) for project, each in zip(self.side, LITE0_CHANNELS, strict=True)]
        x = maps.pop()
        for merge in self.merge:
            finer = maps.pop()
            x = merge(finer + _enlarged(x, finer))
        return _enlarged(self.head(x), pictures)


def _conv(before: int, after: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Return maps at the height and width of others."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
