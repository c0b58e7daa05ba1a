"""Random changes of a training picture besides crop and mirror: for sets of a few hundred pictures and fewer."""

from __future__ import annotations

import math

import numpy as np

from cyclegan.config import DataConfig

__all__ = ["vary"]


def vary(array: np.ndarray, config: DataConfig, rng: np.random.Generator, *, colour: bool) -> np.ndarray:
    """Return a picture turned, enlarged or reduced, shifted and with other colours, each by a random amount.

    What comes in at the borders is the picture, mirrored there.

    Args:
        array: uint8 (H, W, 3), or float32 (H, W, C); unchanged.
        config: `rotate`, `zoom`, `shift` and `colour` are the largest amounts; 0 leaves a change out.
        rng: the only source of chance; eight numbers are always drawn, so later draws don't depend on the settings.
        colour: False leaves colours as they are, e.g. of a pair, where one side's colours may mean something.

    Returns:
        An array of the same kind; the array itself if nothing changes.
    """
    turn, zoom, across, down, *tones = rng.uniform(-1, 1, 8)
    moved = config.rotate or config.zoom or config.shift
    colour = colour and config.colour > 0
    if not moved and not colour:
        return array
    import torch
    from torchvision.transforms.v2 import functional as F

    if moved:
        height, width = array.shape[:2]
        array = _moved(
            array, angle=float(turn * config.rotate), scale=float((1 + config.zoom) ** zoom),
            shift=(float(across * config.shift * width), float(down * config.shift * height)),
        )  # fmt: skip
    if not colour:
        return array
    picture = torch.from_numpy(array.copy()).permute(2, 0, 1)
    brightness, contrast, saturation, hue = (float(tone * config.colour) for tone in tones)
    picture = F.adjust_brightness(picture, 1 + brightness)
    picture = F.adjust_contrast(picture, 1 + contrast)
    picture = F.adjust_saturation(picture, 1 + saturation)
    picture = F.adjust_hue(picture, hue / 4)  # A quarter, because a hue is felt more than the others.
    return picture.permute(1, 2, 0).numpy()


def _moved(array: np.ndarray, *, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """Return a picture (H, W, C) turned by `angle` degrees, enlarged by `scale` and shifted by pixels."""
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    height, width = array.shape[:2]
    # The part of the plane that the frame sees reaches this far from its centre, in whatever direction.
    reach = (math.hypot(width, height) / 2 + math.hypot(*shift)) / scale + 1
    across, down = (math.ceil(max(0.0, reach - side / 2)) for side in (width, height))
    # By NumPy, because torch's reflection reaches no further than the picture itself.
    wide = np.pad(array, ((down, down), (across, across), (0, 0)), mode="reflect")
    wide = F.affine(
        torch.from_numpy(wide).permute(2, 0, 1), angle, list(shift), scale, [0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )  # fmt: skip
    return F.center_crop(wide, [height, width]).permute(1, 2, 0).numpy()
