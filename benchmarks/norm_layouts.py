"""Instance norm in two spellings and two memory layouts: time of a generator's pass, and error of its gradients.

    python -m benchmarks.norm_layouts

Why `cyclegan.networks.norm` is group norm, and why channels-last is off by default. The four cases alternate in one
run; times are medians, and ratios are what counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from benchmarks.machine import describe
from cyclegan.cli.progress import progress_bar
from cyclegan.config import ModelConfig
from cyclegan.networks import build_generator

TAKES = "about 2 minutes on two cores"
REPORT = Path(__file__).parent / "reports" / "norm_layouts.json"
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def with_instance_norm(network: nn.Module) -> nn.Module:
    """Replace every group norm by torch's InstanceNorm2d."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(parent, name, nn.InstanceNorm2d(child.num_channels))
    return network


def gradient_error(spelling: str, layout: str) -> float:
    """Largest difference of any weight's gradient from the contiguous group norm's, in float64, relative to it."""
    gradients = []
    for spelled, laid in (("group_norm", "contiguous"), (spelling, layout)):
        torch.manual_seed(0)
        network = build_generator(ModelConfig(generator="resnet_6", ngf=8)).double()
        network = with_instance_norm(network) if spelled == "instance_norm" else network
        network.to(memory_format=LAYOUTS[laid])
        x = torch.randn(1, 3, 32, 32, dtype=torch.float64).contiguous(memory_format=LAYOUTS[laid])
        network(x).square().mean().backward()
        gradients.append([p.grad for p in network.parameters() if p.ndim == 4])
    return max(float((x - y).abs().max() / x.abs().max()) for x, y in zip(*gradients, strict=True))


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="timed passes of each case")
    parser.add_argument("--generator", default="resnet_9", help="architecture")
    parser.add_argument("--ngf", type=int, default=64, help="channels of the first layer")
    parser.add_argument("--size", type=int, default=256, help="side of the picture")
    args = parser.parse_args()

    cases = [(spelling, layout) for spelling in ("instance_norm", "group_norm") for layout in LAYOUTS]
    networks = {}
    for spelling, layout in cases:
        network = build_generator(ModelConfig(generator=args.generator, ngf=args.ngf))
        network = with_instance_norm(network) if spelling == "instance_norm" else network
        networks[spelling, layout] = network.to(memory_format=LAYOUTS[layout])
    times: dict = {case: {"train": [], "translate": []} for case in cases}
    # The first round warms up.
    for repeat in progress_bar(iterable=range(args.repeats + 1), unit="round"):
        for case in cases:
            network, layout = networks[case], LAYOUTS[case[1]]
            x = torch.randn(1, 3, args.size, args.size).contiguous(memory_format=layout)
            network.zero_grad()
            started = time.perf_counter()
            network(x).abs().mean().backward()
            trained = time.perf_counter()
            with torch.inference_mode():
                network(x)
            if repeat:
                times[case]["train"].append(trained - started)
                times[case]["translate"].append(time.perf_counter() - trained)
    rows = []
    base = {kind: statistics.median(times["group_norm", "contiguous"][kind]) for kind in ("train", "translate")}
    for case in cases:
        row = {"norm": case[0], "layout": case[1], "gradient_error_batch_1": gradient_error(*case)}
        for kind, unit in base.items():
            seconds = times[case][kind]
            row[f"{kind}_median_s"] = round(statistics.median(seconds), 4)
            row[f"{kind}_range_s"] = [round(min(seconds), 4), round(max(seconds), 4)]
            row[f"{kind}_ratio"] = round(statistics.median(seconds) / unit, 3)
        rows.append(row)
        print(row, flush=True)
    command = f"python -m benchmarks.norm_layouts --repeats {args.repeats} --generator {args.generator} "
    report = {
        "command": command + f"--ngf {args.ngf} --size {args.size}",
        "machine": describe(),
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    REPORT.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
