"""What a step of CUT and FastCUT costs next to one of CycleGAN: peak memory and time.

    python -m benchmarks.cut_cost
    python -m benchmarks.cut_cost --sizes 64 --rounds 3 --ngf 8 --ndf 8

Each method trains as it comes, with no flags but its preset, on random pictures, in a process of its own. In every
round each takes one step, in random order, and times are compared within a round, because a shared machine is faster in
one minute than in the next. On a CPU the time is the processor's, which leaves out what others did meanwhile. Memory is
what the process held at its peak above what it held before its networks were made: weights, moments, gradients and what
the backward pass needs. On a GPU it is what torch had allocated.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import random
import shlex
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator

from benchmarks.machine import describe
from benchmarks.train_throughput import peak_bytes
from cyclegan.cli.flags import parse_train_config
from cyclegan.cli.progress import progress_bar
from cyclegan.training.trainer import Trainer

TAKES = "about 20 minutes on two cores"
REPORT = Path(__file__).parent / "reports" / "cut_cost.json"
WAYS = {"cyclegan": ["--method", "cyclegan"], "cut": ["--method", "cut"], "fastcut": ["--method", "cut", "--fastcut"]}
"""Way → its flags. The first is what the others are compared with."""
TARGETS = {"memory": 0.6, "speed": 1.6}
"""Of CUT: at most this share of CycleGAN's memory, at least this many times as fast."""


class RandomPictures:
    """The data that a method may want to see before its first step."""

    def __init__(self, size: int) -> None:
        self.size = size

    def batches(self, epoch: int, **_: Any):
        """One batch of uint8 pictures, as the loader gives them."""
        yield {name: torch.randint(0, 256, (1, self.size, self.size, 3), dtype=torch.uint8)
               for name in ("real_a", "real_b")}  # fmt: skip


def serve(connection: Connection, flags: list[str], size: int, args: argparse.Namespace) -> None:
    """Take a step whenever the parent asks, and answer (seconds, peak bytes); runs in a process of its own."""
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    config = parse_train_config([
        *flags, "--dataset", "none", "--output_dir", "none", "--generator", args.generator, "--ngf", str(args.ngf),
        "--ndf", str(args.ndf), "--load_size", str(size), "--crop_size", str(size),
    ])  # fmt: skip
    torch.nn.Conv2d(3, 3, 3, device=device)(torch.zeros(1, 3, 8, 8, device=device)).sum().backward()
    gc.collect()
    before = psutil.Process().memory_info().rss
    accelerator = Accelerator(cpu=device.type == "cpu")
    trainer = Trainer(config, RandomPictures(size), accelerator)  # type: ignore[arg-type]
    torch.manual_seed(0)
    pictures = {name: torch.rand(1, 3, size, size, device=device) * 2 - 1 for name in ("real_a", "real_b")}
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    while connection.recv():
        start = clock()
        losses = trainer.step(pictures)
        assert all(value.isfinite() for value in losses.values())  # Waits for the device, too.
        seconds = clock() - start
        peak = peak_bytes(device.type) - (0 if device.type == "cuda" else before)
        connection.send((seconds, peak))


def measure(size: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return one size's medians, ratios by round, and peaks."""
    context = multiprocessing.get_context("spawn")
    ways: dict[str, tuple[Any, Connection]] = {}
    for name, flags in WAYS.items():
        mine, its = context.Pipe()
        process = context.Process(target=serve, args=(its, flags, size, args), daemon=True)
        process.start()
        its.close()
        ways[name] = (process, mine)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    peaks: dict[str, int] = {}
    order = random.Random(0)
    rounds = args.warmup + args.rounds
    with progress_bar(total=rounds * len(WAYS), desc=f"{size}²", unit="step") as bar:
        for number in range(rounds):
            for name in order.sample(list(WAYS), len(WAYS)):
                ways[name][1].send(True)
                taken, peaks[name] = ways[name][1].recv()
                if number >= args.warmup:
                    seconds[name].append(taken)
                bar.update()
            bar.write(f"{size}², round {number + 1}: { {name: s[-1:] for name, s in seconds.items()} }")
    for process, connection in ways.values():
        connection.send(False)
        process.join()
    base = next(iter(WAYS))
    faster = {name: [b / s for b, s in zip(seconds[base], seconds[name], strict=True)] for name in WAYS if name != base}
    return {
        "size": size,
        "rounds": args.rounds,
        "seconds": {name: round(statistics.median(s), 3) for name, s in seconds.items()},
        "peak_mib": {name: round(peak / 2**20) for name, peak in peaks.items()},
        "memory_share": {name: round(peaks[name] / peaks[base], 3) for name in faster},
        "times_as_fast": {
            name: {"median": round(statistics.median(r), 2), "least": round(min(r), 2), "most": round(max(r), 2)}
            for name, r in faster.items()
        },
        "met": {
            "memory": peaks["cut"] / peaks[base] <= TARGETS["memory"],
            "speed": statistics.median(faster["cut"]) >= TARGETS["speed"],
        },
    }  # fmt: skip


def main() -> None:
    """Measure every size and write the report after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--rounds", type=int, default=5, help="steps of each method that count")
    parser.add_argument("--warmup", type=int, default=1, help="steps of each method before those")
    parser.add_argument("--generator", default="resnet_9")
    parser.add_argument("--ngf", type=int, default=64)
    parser.add_argument("--ndf", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=REPORT)
    args = parser.parse_args()
    report: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.cut_cost", *sys.argv[1:]]), "machine": describe(),
        **{name: getattr(args, name) for name in ("device", "threads", "generator", "ngf", "ndf")},
        "targets": TARGETS, "cases": [],
    }  # fmt: skip
    for size in args.sizes:
        report["cases"].append(measure(size, args))
        args.output.write_text(json.dumps(report, indent=2) + "\n")
        print(json.dumps(report["cases"][-1], indent=2), flush=True)


if __name__ == "__main__":
    main()
