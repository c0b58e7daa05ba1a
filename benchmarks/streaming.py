"""Pictures that a training takes per second from tars, as a share of those from a folder with the same pictures.

    OMP_NUM_THREADS=1 python -m benchmarks.streaming

Both ways train the same networks on the same JPEG pictures, taking turns of `--steps` steps in one process. The
folder's pictures are in memory, decoded, as by default; tars are read and decoded while they are trained on. Each
turn's ratio is that of neighbours in time, and the median of all turns is the result. The processor's time, of all
threads, shows what streaming costs where no core is idle.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image

from benchmarks.machine import conclude
from cyclegan.cli.progress import progress_bar
from cyclegan.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from cyclegan.data import open_data
from cyclegan.images import resize
from cyclegan.training.trainer import Trainer

TAKES = "about 2 minutes on two cores"
REPORT = Path(__file__).parent / "reports" / "streaming.json"
GOAL = 0.95
PER_TAR = 50


def write_pictures(root: Path, count: int, side: int) -> None:
    """Write the same pictures of both domains into ROOT/folder and, `PER_TAR` to a tar, into ROOT/shards."""
    rng = np.random.default_rng(0)
    (root / "shards").mkdir()
    for domain in "AB":
        folder = root / "folder" / f"train{domain}"
        folder.mkdir(parents=True)
        for number in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))  # Smooth, so as large as photos.
            stream = io.BytesIO()
            resize(coarse, (side, side), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
            (folder / f"{number:05d}.jpg").write_bytes(stream.getvalue())
            with tarfile.open(root / "shards" / f"train{domain}-{number // PER_TAR:04d}.tar", "a") as tar:
                member = tarfile.TarInfo(f"{number:05d}.jpg")
                member.size = len(stream.getvalue())
                tar.addfile(member, io.BytesIO(stream.getvalue()))


def open_way(root: Path, way: str, ngf: int, args: argparse.Namespace) -> Callable[[], tuple[float, float]]:
    """Return a function that trains a turn and returns pictures of each domain per second and per processor second."""
    stream: dict[str, Any] = {"stream": True, "epoch_pictures": args.pictures, "shuffle_buffer": args.buffer}
    config = TrainConfig(
        data=DataConfig(dataset=str(root / way), load_size=args.size * 9 // 8, crop_size=args.size,
                        **(stream if way == "shards" else {})),
        model=ModelConfig(generator="resnet_6", ngf=ngf, ndf=ngf),
        optim=OptimConfig(epochs=10_000, decay_epochs=0),
        run=RunConfig(output_dir="none", mixed_precision="no"),
    )  # fmt: skip
    config.validate()
    data = open_data(config.data, seed=0, progress=False)
    trainer = Trainer(config, data, Accelerator(cpu=True, mixed_precision="no"))
    ended = [0]

    def on_step(_: object) -> None:
        ended[0] += 1
        trainer.stop_requested = ended[0] % args.steps == 0

    def turn() -> tuple[float, float]:
        began, busy = time.perf_counter(), time.process_time()
        trainer.stop_requested = False
        while not trainer.stop_requested:
            trainer.train_epoch(on_step)
        return args.steps / (time.perf_counter() - began), args.steps / (time.process_time() - busy)

    return turn


def main() -> None:
    """Measure, write the report, and fail where streaming is slower than the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ngf", type=int, nargs="+", default=[4, 16], help="channels of the networks' first layers")
    parser.add_argument("--size", type=int, default=128, help="side of the training pictures")
    parser.add_argument("--source_size", type=int, default=256, help="side of the pictures in the files")
    parser.add_argument("--pictures", type=int, default=400, help="pictures of each domain, and of an epoch")
    parser.add_argument("--buffer", type=int, default=100, help="--shuffle_buffer")
    parser.add_argument("--steps", type=int, default=4, help="steps of a turn")
    parser.add_argument("--turns", type=int, default=14, help="turns of each way")
    parser.add_argument("--output", type=Path, default=REPORT, help="report to write")
    args = parser.parse_args()
    started, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        print(f"writing {args.pictures} pictures of each domain …", file=sys.stderr, flush=True)
        write_pictures(Path(folder), args.pictures, args.source_size)
        for ngf in args.ngf:
            ways = {way: open_way(Path(folder), way, ngf, args) for way in ("folder", "shards")}
            rates: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            # The first turn warms up.
            for number in progress_bar(iterable=range(args.turns + 1), desc=f"ngf {ngf}", unit="turn"):
                for way in sorted(ways, reverse=number % 2 == 1):
                    rate = ways[way]()
                    if number:
                        rates[way].append(rate)
            pairs = list(zip(rates["folder"], rates["shards"], strict=True))
            ratios, busy = ([shard[k] / file[k] for file, shard in pairs] for k in (0, 1))
            row = {
                "ngf": ngf, "ratio": round(statistics.median(ratios), 3),
                "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
                "processor_time_ratio": round(statistics.median(busy), 3),
                **{f"{way}_images_per_second": round(statistics.median(rate for rate, _ in each), 2)
                   for way, each in rates.items()},
            }  # fmt: skip
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    lowest = min(row["ratio"] for row in rows)
    conclude(
        args.output, " ".join(["python -m benchmarks.streaming", *sys.argv[1:]]), started,
        {"ratio_at_least": GOAL, "reached": lowest >= GOAL}, f"streaming reaches {lowest:.3f} of a folder's images/s",
        size=args.size, source_size=args.source_size, pictures=args.pictures, buffer=args.buffer, steps=args.steps,
        turns=args.turns, threads=torch.get_num_threads(), rows=rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
