"""Time of one translation on the CPU: the network run plainly, in other ways, and as `cyclegan.networks.fast` runs it.

    python -m benchmarks.translate_speed
    python -m benchmarks.translate_speed --small

--small measures ResNet-6 with 12 to 32 channels, as in demo/, at 128² to 512², against channels-last and ONNX Runtime.
Plainly means eager, fp32, contiguous and in `inference_mode`. All ways alternate in every round, in an order that
changes from round to round; ratios are taken within a round, since a shared machine is faster in one minute than in the
next, and what counts is their median. Each call comes after a pause, because ONNX Runtime's threads stay awake for a
while after theirs, and after one that isn't timed. A round during which other programs took more than a tenth of the
cores' time is measured again, at most `--patience` times. Ways whose package isn't installed are left out.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import os
import random
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from benchmarks.machine import describe
from cyclegan.cli.progress import progress_bar
from cyclegan.config import ModelConfig
from cyclegan.errors import number_of
from cyclegan.networks import build_generator
from cyclegan.networks.fast import fast_generator

TAKES = "4 to 10 minutes on two cores, with --small also"
REPORT = Path(__file__).parent / "reports" / "translate_speed.json"
# Side, pictures at once, threads (0 = as many as cores), and which ways are measured.
CASES = [(256, 1, 0, "all"), (256, 1, 1, "all"), (512, 1, 0, "few"), (256, 4, 0, "few")]
SMALL_REPORT = REPORT.with_name("translate_speed-small.json")
SMALL = [(ngf, side, threads) for threads in (0, 1) for ngf in (12, 16, 24, 32) for side in (128, 256, 512)]
PAUSE_S = 0.05
FOREIGN = 0.1
"""Part of the cores' time that other programs may take during a round."""


def ways(network: nn.Module, x: Tensor, wanted: str) -> dict[str, Callable[[], Tensor]]:
    """Name → a call that translates `x` (N, 3, H, W) in that way; wanted: "few", "with ONNX" besides, or "all"."""
    laid = x.contiguous(memory_format=torch.channels_last)
    channels_last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    fast = fast_generator(network, "cpu")
    found: dict[str, Callable[[], Tensor]] = {
        "plain": lambda: network(x),
        "channels_last": lambda: channels_last(laid),
        "runtime": lambda: fast(laid),
    }
    if wanted != "few":
        found |= onnx_runtime(network, x)
    if wanted == "all":
        found |= traced(network, channels_last, x, laid) | openvino(network, x)
    return found


def traced(network: nn.Module, channels_last: nn.Module, x: Tensor, laid: Tensor) -> dict[str, Callable[[], Tensor]]:
    """torch.jit, traced and frozen, in both layouts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That it is deprecated; and of a comparison of sides, which are fixed here.
        one, two = (
            torch.jit.freeze(torch.jit.trace(module, example))
            for module, example in ((network, x), (channels_last, laid))
        )
    return {"traced": lambda: one(x), "traced_channels_last": lambda: two(laid)}


def onnx_runtime(network: nn.Module, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """ONNX Runtime, of the file that `python -m cyclegan export` writes."""
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")):
        return {}
    import onnxruntime

    from cyclegan.checkpoints.export_onnx import INPUT, _model

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        _model(network, network.in_channels).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return {"onnx_runtime": lambda: torch.from_numpy(session.run(None, {INPUT: x.numpy()})[0])}


def openvino(network: nn.Module, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """OpenVINO, converted from torch; with bf16, which it would choose by itself where a processor has it, too.

    Its package for usage statistics, openvino-telemetry, is not needed: installed with `--no-deps`, it isn't there.
    """
    if importlib.util.find_spec("openvino") is None:
        return {}
    import openvino

    from cyclegan.checkpoints.export_onnx import _with_instance_norm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(_with_instance_norm(network), example_input=x)
    model.reshape(list(x.shape))
    found: dict[str, Callable[[], Tensor]] = {}
    for precision in ("f32", "bf16"):
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

        def call(request: Any = request) -> Tensor:
            return torch.from_numpy(request.infer({0: x.numpy()}, share_inputs=True)[0])

        found[f"openvino_{precision}"] = call
    return found


def _busy() -> float:
    """Seconds that all cores together have worked."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def _own() -> float:
    times = os.times()
    return times.user + times.system


def one_round(calls: dict[str, Callable[[], Tensor]], order: list[str]) -> tuple[dict[str, float], float]:
    """Seconds of each way, and the part of the cores' time that other programs took meanwhile."""
    seconds = {}
    busy, own, began = _busy(), _own(), time.perf_counter()
    for name in order:
        time.sleep(PAUSE_S)
        calls[name]()
        start = time.perf_counter()
        calls[name]()
        seconds[name] = time.perf_counter() - start
    taken = time.perf_counter() - began
    return seconds, max(0.0, (_busy() - busy) - (_own() - own)) / taken / (psutil.cpu_count() or 1)


def measure(
    side: int, batch: int, threads: int, wanted: str, rounds: int, patience: int, config: ModelConfig
) -> dict[str, Any]:
    """One case of the report."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = build_generator(config).eval().requires_grad_(False)
    x = torch.rand(batch, 3, side, side) * 2 - 1
    shuffled = random.Random(0)
    kept: list[tuple[dict[str, float], float]] = []
    disturbed = 0
    case = f"{config.generator} × {config.ngf}, {side}² × {batch}, {number_of(threads, 'thread')}"
    print(f"{case}: getting ready …", flush=True)
    calls = ways(network, x, wanted)
    with torch.inference_mode(), progress_bar(total=rounds, desc=case, unit="round") as bar:
        expected = calls["plain"]()
        difference = {name: float((call() - expected).abs().max()) * 127.5 for name, call in calls.items()}
        while len(kept) < rounds:
            seconds, foreign = one_round(calls, shuffled.sample(list(calls), len(calls)))
            if foreign > FOREIGN and disturbed < patience:
                disturbed += 1
                bar.set_postfix_str(f"{disturbed} repeated")
                continue
            kept.append((seconds, foreign))
            bar.update()
    rows = {}
    for name in calls:
        times = [seconds[name] for seconds, _ in kept]
        ratios = [seconds[name] / seconds["plain"] for seconds, _ in kept]
        rows[name] = {
            "median_ms": round(statistics.median(times) * 1e3, 1),
            "min_ms": round(min(times) * 1e3, 1),
            "max_ms": round(max(times) * 1e3, 1),
            "median_ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "ratio_of_minima": round(min(times) / min(seconds["plain"] for seconds, _ in kept), 3),
            "max_grey_levels": float(f"{difference[name]:.2g}"),
        }
        print(f"{case}, {name}: {rows[name]['median_ms']} ms, "
              f"{rows[name]['median_ratio']} (minima {rows[name]['ratio_of_minima']}), "
              f"{rows[name]['max_grey_levels']} grey levels", flush=True)  # fmt: skip
    return {
        "generator": config.generator,
        "upsample": config.upsample,
        "ngf": config.ngf,
        "side": side,
        "batch": batch,
        "threads": threads,
        "rounds": rounds,
        "disturbed_rounds_repeated": disturbed,
        "foreign_share_of_cores": [round(foreign, 2) for _, foreign in kept],
        "ways": rows,
    }


def of_the_best(found: dict[str, Any]) -> float:
    """What is here, as a part of the time of the fastest other way, by the medians over rounds."""
    others = [way["median_ms"] for name, way in found.items() if name != "runtime"]
    return round(found["runtime"]["median_ms"] / min(others), 3)


def main() -> None:
    """Measure every case and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds of each case")
    parser.add_argument("--patience", type=int, default=20, help="rounds of a case to repeat for other programs' load")
    parser.add_argument("--generator", default="resnet_9", help="architecture")
    parser.add_argument("--ngf", type=int, default=64, help="channels of the first layer")
    parser.add_argument("--small", action="store_true", help="small networks, in place of --generator and --ngf")
    parser.add_argument("--output", type=Path, help=f"file to write; default: {REPORT.name}, or {SMALL_REPORT.name}")
    args = parser.parse_args()

    cores = torch.get_num_threads()
    command = f"python -m benchmarks.translate_speed --rounds {args.rounds} --patience {args.patience}"
    if args.small:
        command += " --small"
        wanted = [
            (side, 1, threads or cores, "with ONNX", ModelConfig(generator="resnet_6", ngf=ngf, upsample="resize"))
            for ngf, side, threads in SMALL
        ]
    else:
        command += f" --generator {args.generator} --ngf {args.ngf}"
        config = ModelConfig(generator=args.generator, ngf=args.ngf)
        wanted = [(side, batch, threads or cores, what, config) for side, batch, threads, what in CASES]
    cases = [measure(*case[:4], args.rounds, args.patience, case[4]) for case in wanted]
    report: dict[str, Any] = {"command": command, "machine": describe()}
    if args.small and all("onnx_runtime" in case["ways"] for case in cases):
        report["of the fastest other way's time"] = {
            f"ngf {case['ngf']}, {case['side']}², {number_of(case['threads'], 'thread')}": of_the_best(case["ways"])
            for case in cases
        }
    output = args.output or (SMALL_REPORT if args.small else REPORT)
    output.write_text(json.dumps(report | {"cases": cases}, indent=2) + "\n")


if __name__ == "__main__":
    main()
