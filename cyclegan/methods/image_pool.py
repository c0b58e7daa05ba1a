"""The history of fakes that discriminators are trained on (paper section 4; Shrivastava et al. 2017)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Up to `size` past fakes that are shown again, so that D does not follow only the newest G.

    While it fills, every picture is stored and returned. Once full, each picture is, with probability one
    half, stored in place of a random old one, which is returned instead; otherwise it is returned itself.
    """

    def __init__(self, size: int, *, seed: int = 0) -> None:
        self.size = size
        self.images: list[Tensor] = []
        # A generator of its own: the pool's draws must not depend on how often others draw.
        self.generator = torch.Generator().manual_seed(seed)

    def query(self, images: Tensor, *, keep: Tensor | None = None) -> Tensor:
        """Return a mixture of new and old fakes. Chance is drawn on the CPU, so that nothing waits for the device.

        Args:
            images: (N, C, H, W) in [-1, 1]; detached here.
            keep: bool, 0-dim, on the images' device: True if they may be kept. Where it is False, old pictures are
                unchanged, and an empty place gets a copy of the last one, or grey.

        Returns:
            (N, C, H, W), detached. Pictures of other sizes are never mixed into the batch.
        """
        images = images.detach()
        return images if self.size == 0 else torch.stack([self._swap(image, keep) for image in images])

    def _swap(self, image: Tensor, keep: Tensor | None) -> Tensor:
        if len(self.images) < self.size:
            last = self.images[-1] if self.images else None
            other = last if last is not None and last.shape == image.shape else torch.zeros_like(image)
            self.images.append(image.clone() if keep is None else torch.where(keep, image, other))
            return image
        swap = torch.rand((), generator=self.generator).item() < 0.5
        index = int(torch.randint(self.size, (), generator=self.generator))
        old = self.images[index]
        # Whole-picture training may bring pictures of several sizes; a batch can hold only one.
        if not swap or old.shape != image.shape:
            return image
        self.images[index] = image.clone() if keep is None else torch.where(keep, image, old)
        return old

    def state_dict(self) -> dict[str, Any]:
        """Return what continuing needs: the pictures, and the state of the draws."""
        return {"images": list(self.images), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Continue from `state_dict()`'s result, with the pictures on `device`."""
        self.images = [image.to(device) for image in state["images"]][: self.size]
        self.generator.set_state(state["generator"])
