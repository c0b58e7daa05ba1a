"""The data set of the report `adaptation-day-dusk`: CamVid's frames by day (A) and at dusk (B), with their labels.

    python -m benchmarks.day_dusk data/camvid data/day-dusk
    python -m cyclegan experiment adaptation --source data/day-dusk@a --target data/day-dusk@b --seeds 3 \\
        --output runs/day-dusk

Reads CamVid as pix2pix-like pairs, photo | labels, with class index maps in labels/. Sequence 0001TP is dusk: one
drive, parted by its two splits. The day's training frames are two drives, its test frames another one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image

from benchmarks.game_real import DUSK
from cyclegan.cli.progress import progress_bar

TAKES = "about a minute on one core; needs CamVid as side-by-side pairs with labels"
WRITES = "a data set"
CLASSES = {
    "Sky": (128, 128, 128), "Building": (128, 0, 0), "Pole": (192, 192, 128), "Road": (128, 64, 128),
    "Pavement": (60, 40, 222), "Tree": (128, 128, 0), "SignSymbol": (192, 128, 128), "Fence": (64, 64, 128),
    "Car": (64, 0, 128), "Pedestrian": (64, 64, 0), "Bicyclist": (0, 128, 192),
}  # fmt: skip
VOID = 11


def main() -> None:
    """Write the data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path, help="folder with train/, test/ and labels/")
    parser.add_argument("output", type=Path, help="folder to write")
    args = parser.parse_args()
    for split in ("train", "test"):
        for domain in "AB":
            for place in (f"{split}{domain}", f"labels/{split}{domain}"):
                (args.output / place).mkdir(parents=True)
        for path in progress_bar(iterable=sorted((args.camvid / split).iterdir()), desc=split, unit="frame"):
            part = f"{split}{'B' if path.name.startswith(DUSK) else 'A'}"
            with Image.open(path) as pair, Image.open(args.camvid / "labels" / split / f"{path.stem}.png") as indices:
                pair.crop((0, 0, pair.height, pair.height)).save(args.output / part / f"{path.stem}.png")
                maps = indices.point([255 if index >= VOID else index for index in range(256)])
                maps.save(args.output / "labels" / part / f"{path.stem}.png")
    classes = [{"name": name, "color": list(color)} for name, color in CLASSES.items()]
    (args.output / "classes.json").write_text(json.dumps({"classes": classes}))


if __name__ == "__main__":
    main()
