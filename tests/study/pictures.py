"""Data sets and networks for tests of building: random pictures, and functions in place of networks."""

import numpy as np
from PIL import Image, ImageFilter


class Noise:
    """A domain of smooth random pictures; `truths` is the domain of the same scenes."""

    def __init__(self, count, seed, *, sizes=((48, 40),), truths=None):
        self.count, self.seed, self.sizes, self.truths = count, seed, sizes, truths
        self.loaded = []

    def __len__(self):
        return self.count

    def label(self, index):
        return f"{index:04d}.png"

    def probe(self, index):
        return self.sizes[index % len(self.sizes)]

    def load(self, index):
        self.loaded.append(index)
        width, height = self.probe(index)
        pixels = np.random.default_rng([self.seed, index]).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1))

    def truth(self, index):
        return None if self.truths is None else self.truths.load(index)


class Shown:
    """How pictures are prepared, as DataConfig says it."""

    def __init__(self, preprocess="resize", crop_size=32):
        self.preprocess, self.crop_size, self.load_size, self.flip = preprocess, crop_size, crop_size + 4, True


def blur(radius):
    """Opens a network that blurs."""
    return lambda: lambda images: [image.filter(ImageFilter.GaussianBlur(radius)) for image in images]
