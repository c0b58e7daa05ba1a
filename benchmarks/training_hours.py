"""Hours that a training takes by card and size: from measured reports where there are any, else computed.

    python -m benchmarks.training_hours
    python -m benchmarks.training_hours --pictures 400 --epochs 100 --sizes 256 --card "RTX 5090:209.5:1792"

Computed: torch counts the operations of the plain recipe's step and the bytes that they read and write, without
computing anything. Each card's published peak and bandwidth turn these into seconds, once with favourable and once
with unfavourable assumptions (`FAST`, `SLOW`). No GPU has been measured against this yet. Measured: the default way at
batch 1 of every report of `benchmarks.train_throughput` that isn't a trial.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_recipe import PlainCycleGAN
from benchmarks.train_throughput import REPORTS, blocks, numbers
from cyclegan.cli.progress import progress_bar
from hub.hours import A10G, A100, FAST, H100, L4, SLOW, T4, Card, Work, seconds

TAKES = "about 10 seconds on two cores"
WRITES = "--output, if it is given"
CARDS = (T4, L4, A10G, Card("RTX 3090", 71, 936), Card("RTX 4090", 165, 1008), A100, H100)


class _Traffic(TorchDispatchMode):
    """Counts operations, and the bytes of the tensors that they read and write."""

    FREE = ("detach", "empty", "empty_like", "empty_strided", "zeros_like", "_unsafe_view")
    """They move nothing, or (Adam's first averages) only in the first step."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view and func.overloadpacket.__name__ not in self.FREE:
            tensors = {id(t): t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)}
            self.operations += 1
            self.bytes += sum(t.numel() * t.element_size() for t in tensors.values())
        return out


def work_of(size: int, args: argparse.Namespace) -> Work:
    """Return what the plain recipe's step on one pair of size² does; `args` has generator, ngf and ndf."""
    plain = PlainCycleGAN(args.ngf, args.ndf, blocks(args.generator), "meta")
    picture = torch.empty(1, 3, size, size, device="meta")
    with FlopCounterMode(display=False) as counter, _Traffic() as traffic:
        plain.step(picture, picture)
    return Work(counter.get_total_flops(), traffic.bytes, traffic.operations)


def measured_rates(reports: Iterable[Path], args: argparse.Namespace) -> dict[str, dict[int, float]]:
    """Return device → size → pairs per second of the default way at batch 1; the slowest of several reports'."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted(reports):
        report = json.loads(path.read_text())
        if report["trial"] or any(report[key] != getattr(args, key) for key in ("generator", "ngf", "ndf")):
            continue
        on_cpu = report["kind"] == "cpu"
        device = f"{report['threads']} cores of {report['machine']['processor']}" if on_cpu else report["device"]
        for case in report["cases"]:
            if (case["way"], case["batch"], case["status"]) == ("default", 1, "measured"):
                rates = found.setdefault(device, {})
                rates[case["size"]] = min(rates.get(case["size"], case["pairs_per_second"]), case["pairs_per_second"])
    return found


def show(hours: float) -> str:
    """Hours as people need them: 0.7, 7.2, 72."""
    return f"{hours:.1f}" if hours < 9.95 else f"{hours:.0f}"


def table(report: dict[str, Any]) -> list[str]:
    """Return the table in Markdown, a line each."""
    sizes, pairs = [str(size) for size in report["sizes"]], report["pictures"] * report["epochs"]
    lines = ["| card | | " + " | ".join(f"{size}²" for size in sizes) + " |", "|---|---|" + "--:|" * len(sizes)]
    for device, rates in report["measured"].items():
        cells = [f"{show(pairs / rates[size] / 3600)} h" if size in rates else "not measured" for size in sizes]
        lines.append(f"| {device} | measured | {' | '.join(cells)} |")
    for card, steps in report["computed"].items():
        cells = ["–".join(show(pairs * s / 3600) for s in steps[size]) + " h" for size in sizes]
        lines.append(f"| {card} | computed | {' | '.join(cells)} |")
    return lines


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    fast, slow = report["fast"], report["slow"]
    lines = [
        "# Hours of a training, by card and size",
        "",
        f"    {report['command']}",
        "",
        f"{report['pictures']} pictures in the larger domain, {report['epochs']} epochs, batch 1, "
        f"{report['generator']}, ngf {report['ngf']}, ndf {report['ndf']}, the default flags.",
        "",
        *table(report),
        "",
        "- measured: pairs per second of bare steps, from a report of `benchmarks.train_throughput` next to this one.",
        "- computed: an estimate that no GPU has confirmed yet. The seconds of a step are operations ÷ peak + bytes ÷ "
        "bandwidth, but no less than the processor needs to start the operations; then the rest of an epoch is added.",
        "",
        "| assumed | fewest hours | most hours |",
        "|---|--:|--:|",
        f"| of the peak, by convolutions | {fast['peak']:.0%} | {slow['peak']:.0%} |",
        f"| of the memory's bandwidth | {fast['bandwidth']:.0%} | {slow['bandwidth']:.0%} |",
        f"| to start an operation | {fast['host_us']:g} µs | {slow['host_us']:g} µs |",
        f"| samples, saving and loading, of the steps' time | {fast['rest']:.0%} | {slow['rest']:.0%} |",
        "",
        f"Counted with torch {report['torch']} in one step of `benchmarks/plain_recipe.py` on one pair, in fp32; what "
        "bf16 and the passes together save is left out:",
        "",
        "| size | TFLOP | GB read and written | operations |",
        "|--:|--:|--:|--:|",
    ]
    for size, work in report["work"].items():
        lines.append(f"| {size}² | {work['flop'] / 1e12:.3g} | {work['bytes'] / 1e9:.3g} | {work['operations']} |")
    lines += ["", "The makers' data sheets have:", ""]
    lines += ["| card | TFLOP/s, fp16 and bf16, dense | GB/s |", "|---|--:|--:|"]
    lines += [f"| {card['name']} | {card['tflops']:g} | {card['bandwidth']:g} |" for card in report["cards"]]
    return "\n".join(lines) + "\n"


def card_of(text: str) -> Card:
    """Type of a flag: NAME:TFLOPS:BANDWIDTH."""
    name, *figures = text.split(":")
    try:
        tflops, bandwidth = (float(figure) for figure in figures)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} must be NAME:TFLOPS:GB/s, e.g. RTX 5090:209.5:1792") from None
    return Card(name, tflops, bandwidth)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_hours", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--pictures", type=int, default=1000, help="of the larger domain (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=200, help="all of them (default: %(default)s)")
    parser.add_argument(
        "--sizes", type=numbers, default=[128, 256, 512], help="sides of the training crops (default: 128,256,512)"
    )
    parser.add_argument(
        "--generator", choices=("resnet_9", "resnet_6"), default="resnet_9", help="architecture (default: %(default)s)"
    )
    parser.add_argument(
        "--ngf", type=int, default=64, help="channels of the generators' first layer (default: %(default)s)"
    )
    parser.add_argument(
        "--ndf", type=int, default=64, help="channels of the discriminators' first layer (default: %(default)s)"
    )
    parser.add_argument(
        "--card",
        type=card_of,
        action="append",
        default=[],
        metavar="NAME:TFLOPS:GB/s",
        help="another card: peak in bf16 without sparsity, and the memory's bandwidth; repeat for more",
    )
    parser.add_argument("--output", type=Path, help="what to write, without .json and .md (default: only print)")
    return parser.parse_args(words)


def main() -> None:
    """Compute, print, and write if asked to."""
    args = parse()
    cards = [*CARDS, *args.card]
    work = {size: work_of(size, args) for size in progress_bar(iterable=args.sizes, desc="counting", unit="size")}
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.training_hours", *sys.argv[1:]]),
        **{key: getattr(args, key) for key in ("pictures", "epochs", "sizes", "generator", "ngf", "ndf")},
        "torch": torch.__version__, "fast": asdict(FAST), "slow": asdict(SLOW), "cards": [asdict(c) for c in cards],
        "work": {str(size): asdict(done) for size, done in work.items()},
        "measured": {device: {str(size): rate for size, rate in rates.items()} for device, rates in
                     measured_rates(REPORTS.glob("train_throughput-*.json"), args).items()},
        "computed": {card.name: {str(size): [float(f"{seconds(done, card, a):.4g}") for a in (FAST, SLOW)]
                                 for size, done in work.items()} for card in cards},
    }  # fmt: skip
    if args.output:
        args.output.with_name(args.output.name + ".json").write_text(json.dumps(report, indent=2) + "\n")
        args.output.with_name(args.output.name + ".md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
