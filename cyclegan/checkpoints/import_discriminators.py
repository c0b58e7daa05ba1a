"""Import of discriminators of the CycleGAN authors' PyTorch code, such as `latest_net_D_A.pth`, for `--init_from`.

Its layers have the numbers of ours, so only the name in front differs. Its letters are those of the generator that a
discriminator trains against: D_A judges pictures of B, which is our `disc_b`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cyclegan.checkpoints.stored import Stored
from cyclegan.checkpoints.weights_file import copied, plain, read_networks
from cyclegan.config import Direction, ModelConfig
from cyclegan.errors import CheckpointError, ConfigError, shown
from cyclegan.networks import build_discriminator

_FILE_NAME = re.compile(r"(?P<epoch>.+)_net_D(?:_(?P<letter>[AB]))?\.(?:pth|pt)")
_LAYER = re.compile(r"(?:model|net)\.(?P<position>\d{1,2})\.(?P<kind>weight|bias)")
Discriminators = dict[str, dict[str, Tensor]]


def is_discriminator(path: Path) -> bool:
    """Return True for a file that the reference's trainer names as a discriminator's: `*_net_D_A.pth`."""
    return _FILE_NAME.fullmatch(Path(path).name) is not None


def import_discriminators(
    paths: Sequence[Path], directions: Sequence[Direction]
) -> tuple[dict[str, Any], Discriminators]:
    """Return the settings of ModelConfig that rebuild discriminators, and their weights by our names.

    Args:
        paths: `*_net_D_A.pth`, which judges B; `*_net_D_B.pth`, which judges A; or `*_net_D.pth`, which judges what the
            only generator makes. Of any number of layers (`--netD basic`, `n_layers`, `pixel`).
        directions: of the generators that they come with.

    Raises:
        CheckpointError: two judge the same domain, they differ, or one can't be read or rebuilt.
    """
    found: Discriminators = {}
    settings: dict[str, Any] = {}
    for path in map(Path, paths):
        letter = _FILE_NAME.fullmatch(path.name)["letter"]  # type: ignore[index]
        if letter is None and len(directions) == 2:
            raise CheckpointError(
                "{name} doesn't say which domain it judges: rename it to *_net_D_A.pth if it judges B, or to "
                "*_net_D_B.pth if it judges A",
                name=shown(path.name),
            )
        domain = directions[0][1] if letter is None else {"A": "b", "B": "a"}[letter]
        if f"disc_{domain}" in found:
            raise CheckpointError("{name} is the second that judges {domain}: name one of each",
                                  name=shown(path.name), domain=domain.upper())  # fmt: skip
        own, weights = read_discriminator(path)
        if settings and own != settings:
            raise CheckpointError(
                "{name} differs from the other discriminator ({own} and {other}): import one of them",
                name=shown(path.name), own=_words(own), other=_words(settings),
            )
        settings, found[f"disc_{domain}"] = own, weights
    return settings, found


def read_discriminator(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the settings and the weights, by our names, of the one discriminator in a file.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, holds more than weights, or no discriminator
            that can be rebuilt here.
    """
    name, networks = shown(path.name), read_networks(path)
    if len(networks) != 1:
        raise CheckpointError("{name} holds {count} networks: save the discriminator by itself",
                              name=name, count=len(networks))  # fmt: skip
    weights = plain(name, next(iter(networks.values())))
    matches = {key: match for key in weights if (match := _LAYER.fullmatch(key))}
    ours = {f"layers.{match['position']}.{match['kind']}": weights[key] for key, match in matches.items()}
    convs = [key for key, value in ours.items() if key.endswith(".weight") and value.ndim == 4]
    if len(ours) < len(weights) or not convs:
        raise CheckpointError("{name} isn't a discriminator of the authors' code", name=name)
    if any(value.ndim == 1 and key.endswith(".weight") for key, value in ours.items()):
        raise CheckpointError(
            "{name} was trained with batch norm: only networks with instance norm (--norm instance in the authors' "
            "code) can be imported",
            name=name,
        )
    first = ours[convs[0]]
    if first.shape[2:] == (1, 1):
        settings: dict[str, Any] = {"discriminator": "pixel", "ndf": first.shape[0]}
    else:
        settings = {"discriminator": "patch", "ndf": first.shape[0], "n_layers_d": len(convs) - 2}
    try:
        with torch.device("meta"):
            built = build_discriminator(ModelConfig(**settings), in_channels=first.shape[1]).state_dict()
    except ConfigError as error:
        raise CheckpointError("{name} can't be rebuilt: {reason}", name=name, reason=error) from error
    if _shapes(built) != _shapes(ours):
        wrong = sorted(dict(_shapes(built).items() ^ _shapes(ours).items()))
        raise CheckpointError(
            "{name} looks like a {kind} discriminator at ndf {ndf}, but {key} differs: it comes from a changed network",
            name=name, kind=settings["discriminator"], ndf=settings["ndf"], key=wrong[0],
        )
    return settings, copied(name, ours)


def _shapes(weights: Mapping[str, Tensor | Stored]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in weights.items()}


def _words(settings: Mapping[str, Any]) -> str:
    return " ".join(f"--{name} {value}" for name, value in settings.items())
