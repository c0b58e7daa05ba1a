"""Less flicker in translated videos."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from cyclegan.config import MOTION
from cyclegan.errors import ImageError

# The share of the frame before that `strength=1` keeps where nothing moves: an average over about ten frames. Keeping
# all of it would never forget, so daylight could not fade.
MOST_KEPT = 0.9
# Grey levels: a pixel whose input changes by less counts as still when flicker is measured.
STILL = 3


class Smoother:
    """Reduces the flicker of translated frames, and measures it before and after.

    Each pixel is a mixture of its translation and the smoothed frame before; the latter's share is
    `strength` · 0.9 · exp(−(d / 6)²), where d is the largest change of the input near that pixel, in grey levels. So
    still parts settle, moving parts are the network's own, and a cut starts again. Motion is measured in the input, not
    in the output, because flicker itself looks like motion.

    Args:
        strength: 0 (changes nothing) to 1.
    """

    def __init__(self, strength: float = 0.0) -> None:
        if not 0 <= strength <= 1:
            raise ImageError("smoothing must be between 0 and 1, not {strength:g}", strength=strength)
        change = np.arange(256, dtype=np.float32) / MOTION
        self._kept = strength * MOST_KEPT * np.exp(-(change**2))
        self._strength = strength
        self._mixed: np.ndarray | None = None
        self._before: tuple[Image.Image, Image.Image, Image.Image] | None = None  # input, translation, result
        self._counted = 0
        self._changes = [0.0, 0.0]

    @property
    def flicker_before(self) -> float | None:
        """Mean change of the translations where the input was still, in grey levels; None: nothing was still."""
        return self._changes[0] / self._counted if self._counted else None

    @property
    def flicker_after(self) -> float | None:
        """The same of the results of `smooth`."""
        return self._changes[1] / self._counted if self._counted else None

    def smooth(self, shown: Image.Image, translated: Image.Image) -> Image.Image:
        """Return the next frame's result.

        Args:
            shown: RGB, the network's input.
            translated: RGB of the same size, its output.

        Returns:
            RGB of that size; `translated` itself where strength is 0.
        """
        result = translated
        if self._before is None:
            self._mixed = np.asarray(translated, np.float32) if self._strength else None
        else:
            changed = _change(shown, self._before[0])
            if self._strength:
                # Blurred, because a camera's noise would count as motion; widened, because a passing edge also changes
                # the network's result next to it.
                near = changed.filter(ImageFilter.BoxBlur(1)).filter(ImageFilter.MaxFilter(3))
                kept = self._kept[np.asarray(near)][..., None]
                fresh = np.asarray(translated, np.float32)
                # In floats, because small differences would never fade if they were rounded.
                self._mixed = fresh + kept * (self._mixed - fresh)
                result = Image.fromarray(np.rint(self._mixed).astype(np.uint8))
            still = np.asarray(changed) < STILL
            self._counted += int(still.sum())
            pairs = ((translated, self._before[1]), (result, self._before[2]))
            for which, (now, then) in enumerate(pairs):
                self._changes[which] += float(np.asarray(ImageChops.difference(now, then))[still].sum()) / 3
        self._before = shown, translated, result
        return result


def _change(one: Image.Image, other: Image.Image) -> Image.Image:
    """Return the largest absolute difference of the three channels per pixel, as a grey picture."""
    red, green, blue = ImageChops.difference(one, other).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)
