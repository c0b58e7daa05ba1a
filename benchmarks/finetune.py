"""Steps that a run from existing weights needs for the cycle loss at which a fresh run ends.

    python -m benchmarks.finetune

The fresh run trains `--steps` steps; its result is the mean cycle loss (A and B) of its last `WINDOW` steps. The other
run starts from `--init_from` and sees the same pictures in the same order; counted are its steps up to the end of the
first window whose mean is as low. Both have the start's architecture; its discriminators begin with random weights
where it has none.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from benchmarks.machine import describe
from cyclegan.cli.progress import progress_bar
from cyclegan.config import DataConfig, OptimConfig, RunConfig, TrainConfig
from cyclegan.data import open_data
from cyclegan.images import normalise
from cyclegan.training.initial import StartWeights
from cyclegan.training.trainer import Trainer
from hub import open_source

TAKES = "about 10 minutes on two cores"
REPORT = Path(__file__).parent / "reports" / "finetune.json"
WINDOW = 25
"""Steps whose mean counts."""


def cycle_losses(config: TrainConfig, start: StartWeights | None, steps: int, target: float = 0.0) -> list[float]:
    """Return the mean of both cycle losses of each step, up to the window in which it is as low as `target`."""
    data = open_data(config.data, seed=config.run.seed, progress=False)
    trainer = Trainer(config, data, Accelerator(cpu=True, mixed_precision="no"))
    if start is not None:
        start.load(trainer)
    found: list[float] = []
    with progress_bar(total=steps, desc=f"seed {config.run.seed}, {'tuned' if start else 'fresh'}", unit="step") as bar:
        while len(found) < steps:
            for batch in data.batches(trainer.epoch + 1, batch_size=1):
                losses = trainer.step({name: normalise(value) for name, value in batch.items()})
                found.append(float(losses["cycle_a"] + losses["cycle_b"]) / 2)
                bar.update()
                reached = len(found) >= WINDOW and statistics.fmean(found[-WINDOW:]) <= target
                if reached or len(found) == steps:
                    return found
            trainer.epoch += 1
    return found


def compare(seed: int, start: StartWeights, args: argparse.Namespace) -> dict[str, Any]:
    """Return the fresh run's result, and the steps after which the other one has it (None: not within as many)."""
    config = TrainConfig(
        data=DataConfig(dataset=args.dataset, load_size=args.size * 9 // 8, crop_size=args.size, num_workers=0),
        model=start.model,
        optim=OptimConfig(epochs=10_000, decay_epochs=0),
        run=RunConfig(output_dir="none", seed=seed, mixed_precision="no"),
    )
    began = time.monotonic()
    target = statistics.fmean(cycle_losses(config, None, args.steps)[-WINDOW:])
    tuned = cycle_losses(config, start, args.steps, target)
    reached = statistics.fmean(tuned[-WINDOW:]) <= target
    row = {
        "seed": seed, "fresh_cycle_loss": round(target, 4), "first_window": round(statistics.fmean(tuned[:WINDOW]), 4),
        "steps": len(tuned) if reached else None,
        "share": round(len(tuned) / args.steps, 3) if reached else None,
    }  # fmt: skip
    print(f"{row}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return row


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--init_from", default="demo/streets", help="run to start from")
    parser.add_argument("--dataset", default="streets:count=60,test_count=2,size=72", help="pictures")
    parser.add_argument("--size", type=int, default=64, help="side of the training pictures")
    parser.add_argument("--steps", type=int, default=240, help="steps of the fresh run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds")
    parser.add_argument("--output", type=Path, default=REPORT, help="report to write")
    args = parser.parse_args()
    start = StartWeights(args.init_from, open_source)
    report: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.finetune", *sys.argv[1:]]),
        "machine": describe(), "init_from": args.init_from, "epoch": start.info.epoch, "dataset": args.dataset,
        "size": args.size, "fresh_steps": args.steps, "window": WINDOW, "seeds": [],
    }  # fmt: skip
    for seed in args.seeds:
        report["seeds"].append(compare(seed, start, args))
        shares = [row["share"] for row in report["seeds"]]
        report["share"] = {"least": min(shares), "most": max(shares)} if None not in shares else None
        report["within_a_third"] = all(share is not None and share <= 1 / 3 for share in shares)
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
