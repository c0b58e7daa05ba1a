"""A tiny labelled data set: coloured blocks at random places, so that no position answers without looking."""

import numpy as np
from PIL import Image

from cyclegan.data.labels import Classes, write_classes

CLASSES = Classes(("ground", "red", "blue", "unknown"), ((90, 90, 90), (200, 40, 40), (40, 40, 200), (0, 0, 0)), (3,))
VOID_INDEX = 3


def draw_blocks(seed, side=32):
    """Return a picture, and its index map as a file holds it: positions in CLASSES.names."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.uint8)
    for index in (1, 2):
        top, left = rng.integers(0, side * 5 // 8, 2)
        labels[top : top + side // 2, left : left + side // 2] = index
    picture = np.array(CLASSES.colors)[labels] + rng.normal(0, 12, (side, side, 3))
    labels[:2, :2] = VOID_INDEX
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8)), labels


def write_blocks(root, train=16, test=4, side=32):
    """Write trainA, trainB, testA and testB with labels and classes.json; return the folder."""
    for number, (split, count) in enumerate((("trainA", train), ("trainB", train), ("testA", test), ("testB", test))):
        for folder in (root / split, root / "labels" / split):
            folder.mkdir(parents=True)
        for index in range(count):
            picture, labels = draw_blocks(1000 * number + index, side)
            picture.save(root / split / f"{index}.png")
            Image.fromarray(labels).save(root / "labels" / split / f"{index}.png")
    write_classes(root, CLASSES)
    return root
