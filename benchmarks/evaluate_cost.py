"""The time of an evaluation against what it can't do without: translating the pictures, and their features.

    python -m benchmarks.evaluate_cost
    python -m benchmarks.evaluate_cost --pictures 40 --epochs 4 --output none

One process evaluates epochs of untrained networks on `streets` by kid, pairs and collapse, with all baselines and
ceilings. The yardstick, in the same process, translates the same pictures by the same networks once per epoch and
describes the translations once. Both are CPU time, one thread each, first one then the other by turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.machine import describe
from cyclegan.checkpoints.format import GENERATOR_OF, CheckpointConfig, save_checkpoint
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.cli.progress import progress_bar
from cyclegan.config import DataConfig, ModelConfig
from cyclegan.data import find_data
from cyclegan.evaluation.scores.describe import BATCH, Describer
from cyclegan.evaluation.scores.evaluate import evaluate, translate_all
from cyclegan.evaluation.scores.sets import TestSet
from cyclegan.networks import build_generator
from cyclegan.translation.translator import Translator

TAKES = "about 40 minutes, on one core"
REPORT = Path(__file__).parent / "reports" / "evaluate_cost.json"


def write_run(folder: Path, epochs: int, size: int) -> None:
    """Write epochs of untrained generators, A → B, of the default architecture at this size."""
    model = ModelConfig(generator="resnet_6" if size <= 128 else "resnet_9")
    config = CheckpointConfig(model=model, data=DataConfig(crop_size=size, load_size=size, preprocess="resize"))
    for epoch in range(1, epochs + 1):
        torch.manual_seed(epoch)
        weights = {GENERATOR_OF["ab"]: build_generator(model).state_dict()}
        save_checkpoint(folder, epoch=epoch, weights=weights, config=config, record={"global_step": epoch})


def yardstick(source: LocalSource, test: TestSet, epochs: int, bar: tqdm) -> float:
    """Return the CPU seconds of translating and describing the test pictures once per epoch."""
    describer, began = Describer("lite0"), time.process_time()
    for epoch in range(1, epochs + 1):
        translator = Translator(source.load(epoch), "cpu")
        for start in range(0, len(test.inputs), BATCH):
            inputs = [test.inputs[i] for i in range(start, min(start + BATCH, len(test.inputs)))]
            describer.describe(translate_all(translator, inputs, "ab"))
            bar.update(len(inputs))
    return time.process_time() - began


def main() -> int:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200, help="test pictures")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--output", default=str(REPORT), help="the report's file, or none")
    args = parser.parse_args()
    torch.set_num_threads(1)
    dataset = f"streets:count={args.pictures},test_count={args.pictures},size={args.size}"
    bar = progress_bar(total=args.pictures * args.epochs, unit="picture")
    with tempfile.TemporaryDirectory() as folder, bar:
        run = Path(folder) / "run"
        write_run(run, args.epochs, args.size)
        source, config = LocalSource(run), DataConfig(dataset, crop_size=args.size, load_size=args.size)
        test = TestSet(find_data(config), config, "ab")
        _ = [test.inputs[i] for i in range(len(test.inputs))]  # Drawn before, because both need them.
        plain = yardstick(source, test, args.epochs, bar)

        def show(_: str, done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        bar.reset()
        began = time.process_time()
        evaluate(source, dataset, epochs="all", scores=("kid", "pairs", "collapse"), device="cpu", progress=show)
        whole = time.process_time() - began
    report = {
        "command": f"python -m benchmarks.evaluate_cost --pictures {args.pictures} --epochs {args.epochs} "
        f"--size {args.size}",
        "machine": describe(), "pictures": args.pictures, "epochs": args.epochs, "size": args.size,
        "translate_and_describe_cpu_s": round(plain, 1), "evaluate_cpu_s": round(whole, 1),
        "ratio": round(whole / plain, 3),
    }  # fmt: skip
    print(json.dumps(report, indent=2))
    if args.output != "none":
        Path(args.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
