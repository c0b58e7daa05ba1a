"""Pictures as features, by a network trained on ImageNet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from cyclegan.files import sha256, user_cache, whole_file
from cyclegan.images import to_tensor
from cyclegan.networks.features import build_score_features

BATCH = 16


@dataclass(frozen=True)
class Description:
    """Features of N pictures."""

    pooled: np.ndarray
    """(N, d) float32: one vector a picture."""
    maps: list[Tensor] | None
    """(N, C, H, W) for a few stages, each position of length 1, float16; None where the network isn't asked for it."""


class Describer:
    """A network that describes pictures.

    Args:
        name: see `build_score_features`.
        weights: a file of its weights, for those that don't come in a package.
        device: where to compute.

    Raises:
        ConfigError: the file can't be read; without one, the network's first use raises it for what is missing.
    """

    def __init__(self, name: str, *, weights: str | Path | None = None, device: str | torch.device = "cpu") -> None:
        self.name, self.device, self._file = name, torch.device(device), weights
        if weights:
            self.load()  # Before its digest is taken, because a missing file gets a sentence there.
        self.weights = sha256(Path(weights).expanduser())[:8] if weights else ""
        """The beginning of the digest of a file of weights; "" for the network's usual ones."""

    @cached_property
    def network(self) -> nn.Module:
        """The network, loaded when it is first needed. Raises ConfigError; see `build_score_features`."""
        found = build_score_features(self.name, weights=self._file)
        return found.to(self.device, memory_format=torch.channels_last)

    def load(self) -> None:
        """Load the network now, so that nothing else is done in vain where it can't be had. Raises ConfigError."""
        _ = self.network

    @property
    def has_maps(self) -> bool:
        """True if `describe` can return maps."""
        return hasattr(self.network, "described")

    @torch.inference_mode()
    def describe(self, pictures: Sequence[Image.Image], *, maps: bool = False) -> Description:
        """Return the pictures' features, from one pass.

        Args:
            pictures: RGB, of any sizes.
            maps: also the maps that `distances` compares; only if `has_maps`.
        """
        tensors = [to_tensor(picture)[None].to(self.device) for picture in pictures]
        side = self.network.side
        if side is None:  # It resizes by itself.
            return Description(torch.cat([self.network.pooled(t) for t in tensors]).float().cpu().numpy(), None)
        batch = torch.cat([F.interpolate(t, (side, side), mode="bilinear", antialias=True) for t in tensors])
        batch = batch.to(memory_format=torch.channels_last)
        if not maps:
            return Description(self.network.pooled(batch).float().cpu().numpy(), None)
        pooled, stages = self.network.described(batch)
        unit = [F.normalize(stage, dim=1).half().cpu() for stage in stages]
        return Description(pooled.float().cpu().numpy(), unit)

    def pooled(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return (N, d) features of pictures, from the cache on disk where the same ones were described before."""
        digest = hashlib.sha256()
        for picture in pictures:
            digest.update(str(picture.size).encode() + picture.tobytes())
        file = cache_folder() / f"{self.network.name}{self.weights}-{digest.hexdigest()[:32]}.npy"
        try:
            return np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # Not there, not whole, or empty after a power cut.
            pass
        batches = [pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH)]
        found = np.concatenate([self.describe(batch).pooled for batch in batches])
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(file, durable=False) as part, open(part, "wb") as stream:
                np.save(stream, found)
        except OSError:  # A cache that can't be written only costs time.
            pass
        return found


def distances(ours: Description, theirs: Description) -> np.ndarray:
    """Return the distance (N,) of each two pictures: mean squared difference of unit features, mean over the stages.

    As LPIPS without its learned weights (Zhang et al. 2018, equation 1); 0 for equal pictures, at most 4.
    """
    assert ours.maps is not None and theirs.maps is not None
    each = [
        (x.float() - y.float()).square().sum(1).mean((1, 2)) for x, y in zip(ours.maps, theirs.maps, strict=True)
    ]
    return torch.stack(each).mean(0).numpy()


def cache_folder() -> Path:
    """Return the folder of features that were computed before, in the user's cache."""
    return user_cache() / "features"
