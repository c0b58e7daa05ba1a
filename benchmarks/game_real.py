"""The data set of the report `gta-camvid`: drawn streets by day (A) and CamVid's frames by day (B), with labels.

    python -m benchmarks.game_real data/camvid data/game-real data/judge

Reads CamVid as pix2pix-like pairs, photo | labels, with class index maps in labels/. Its classes are mapped to those of
`streets`; signs, fences, bicyclists and unlabelled pixels have no counterpart, and no score counts them. The frames of
sequence 0001TP are dusk, and are left out. data/judge holds all frames of the day, for the segmenter that judges:

    python -m cyclegan segmenter train --dataset data/judge --domain b --epochs 30 --size 64 --output runs/judge64
    python -m cyclegan experiment benchmarks/gta_camvid.yaml --dataset data/game-real --segmenter runs/judge64 \\
        --output runs/gta --seeds 1
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from cyclegan.cli.progress import progress_bar
from cyclegan.data.streets import StreetsSpec, write_streets

TAKES = "about a minute on one core; needs CamVid as side-by-side pairs with labels"
WRITES = "two data sets"
CLASSES = ("sky", "building", "lamp", "road", "pavement", "tree", None, None, "car", "pedestrian", None, None)
"""Names in `streets` of CamVid's classes, in CamVid's order."""
TEST_FRAMES = 60
DUSK, VOID = "0001TP", 255


def main() -> None:
    """Write both data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path, help="folder with train/, test/ and labels/")
    parser.add_argument("output", type=Path, help="folder to write: the experiment's")
    parser.add_argument("judge", type=Path, help="folder to write: the segmenter's")
    parser.add_argument("--count", type=int, default=100, help="drawn scenes to train on")
    parser.add_argument("--frames", type=int, default=120, help="real frames to train on, about, evenly spread")
    parser.add_argument("--size", type=int, default=128, help="pixels of a side, of all pictures")
    args = parser.parse_args()
    print(f"drawing {args.count} scenes …", flush=True)
    drawn = args.output.with_name(args.output.name + "-drawn")
    write_streets(StreetsSpec.parse(f"streets:count={args.count},test_count=40,size={args.size}"), drawn)
    classes = json.loads((drawn / "streets.json").read_text())["classes"]
    for split in ("train", "test"):
        frames = [path for path in sorted((args.camvid / split).iterdir()) if not path.name.startswith(DUSK)]
        some = frames[:: max(1, len(frames) // (args.frames if split == "train" else TEST_FRAMES))]
        for folder, chosen, most in ((args.output, some, None), (args.judge, frames, 40)):
            copy_domain(drawn, folder, f"{split}A", most)
            names = [each["name"] for each in classes]
            write_frames(chosen, args.camvid / "labels" / split, folder, f"{split}B", names, args.size)
            (folder / "classes.json").write_text(json.dumps({"classes": classes}))
    shutil.rmtree(drawn)


def copy_domain(drawn: Path, folder: Path, part: str, most: int | None) -> None:
    """Copy drawn scenes and their label maps, at most so many."""
    for place in (Path(part), Path("labels") / part):
        (folder / place).mkdir(parents=True)
        for path in sorted((drawn / place).iterdir())[:most]:
            shutil.copy(path, folder / place / path.name)


def write_frames(frames: list[Path], labels: Path, folder: Path, part: str, names: list[str], size: int) -> None:
    """Write frames and their label maps at size²."""
    table = np.full(256, VOID, np.uint8)
    for index, name in enumerate(CLASSES):
        table[index] = names.index(name) if name else VOID
    for place in (Path(part), Path("labels") / part):
        (folder / place).mkdir(parents=True)
    for path in progress_bar(iterable=frames, desc=f"{folder.name}/{part}", unit="frame"):
        with Image.open(path) as pair, Image.open(labels / f"{path.stem}.png") as indices:
            photo = pair.crop((0, 0, pair.height, pair.height)).resize((size, size), Image.Resampling.LANCZOS)
            maps = table[np.asarray(indices.resize((size, size), Image.Resampling.NEAREST))]
        photo.save(folder / part / f"{path.stem}.png")
        Image.fromarray(maps).save(folder / "labels" / part / f"{path.stem}.png")


if __name__ == "__main__":
    main()
