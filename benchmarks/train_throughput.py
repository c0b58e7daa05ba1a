"""Training speed: the recipe as usually run against this trainer's step, as it comes and with each lever alone.

    python -m benchmarks.train_throughput
    python -m benchmarks.train_throughput --sizes 64 --batches 1 --steps 3 --ngf 8 --ndf 8 --ways plain,default

"plain" is `benchmarks.plain_recipe`. "reference" is this trainer with every lever off; each way named after a lever is
that with one lever on, "default" is what a person gets who chooses no flags, "fp32" what they get on a processor
without bf16, and "all" has every lever on that the
device supports. Each way lives in a process of its own and steps on synthetic pictures that lie on the device. A step
is timed from before it is asked for until the device has finished. What counts is the median.

On a GPU the ways follow one another. On a CPU all ways of a case alternate in every round, in random order, and ratios
are taken within a round: a shared machine is faster in one minute than in the next.

Where the processor only emulates bf16, `bf16` isn't among the ways unless --ways names it, and the large matrix product
that steps are compared with is taken in fp32 alone: emulated, it takes minutes and says nothing.

`--epoch` also trains for whole epochs with `train_accelerate.py` (decoding, saving, publishing to a Hub on this
machine) and compares its rate from the end of one epoch to the end of the next with that of the bare step.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import multiprocessing
import os
import random
import re
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.machine import ROOT, describe
from benchmarks.plain_recipe import PlainCycleGAN
from cyclegan.cli.progress import progress_bar
from cyclegan.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from cyclegan.errors import number_of
from cyclegan.files import write_bytes
from cyclegan.training.resolve import computes_bf16, resolve_auto
from cyclegan.training.trainer import Trainer

TAKES = "days on two cores, or an hour and more with --sizes 256 --batches 1; not timed on a GPU yet"
WRITES = "benchmarks/reports/train_throughput-DEVICE.md"
REPORTS = Path(__file__).parent / "reports"
ENOUGH = 30
"""Timed steps from which on a figure is a result."""

OFF: dict[str, Any] = {
    "mixed_precision": "no", "batch_passes": False, "fused_adam": False, "winograd": False, "channels_last": False,
    "compile": False, "cuda_graphs": False, "gradient_checkpointing": False,
}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "fp32": {"mixed_precision": "no"},
    "all": {**OFF, "mixed_precision": "auto", "batch_passes": True, "fused_adam": True, "channels_last": True,
            "compile": True, "cuda_graphs": True},
    "reference": OFF,
    "batch_passes": {**OFF, "batch_passes": True},
    "fused_adam": {**OFF, "fused_adam": True},
    "winograd": {**OFF, "winograd": True},
    "bf16": {**OFF, "mixed_precision": "bf16"},
    "channels_last": {**OFF, "channels_last": True},
    "compile": {**OFF, "compile": True},
    "cuda_graphs": {**OFF, "compile": True, "cuda_graphs": True},
    "checkpointing": {"gradient_checkpointing": True},
}  # fmt: skip
"""Way → the settings of its RunConfig; the plain recipe has none."""
MAIN = ("plain", "default")
"""The ways that are measured at every size and batch before the others are."""


def ways_of(kind: str, *, compiled: bool = True, bf16: bool = True) -> list[str]:
    """The ways that a kind of device has; CUDA graphs are CUDA's.

    Args:
        compiled: also those that must compile.
        bf16: also the one that asks for bf16.
    """
    return [
        name for name in ("plain", *WAYS)
        if (kind == "cuda" or name != "cuda_graphs") and (compiled or not WAYS.get(name, {}).get("compile"))
        and (bf16 or name != "bf16")
    ]  # fmt: skip


def train_config(way: str, size: int, batch: int, args: argparse.Namespace) -> TrainConfig:
    """What `way` trains with."""
    settings = dict(WAYS[way])
    if args.device == "cpu" and "cuda_graphs" in settings:
        settings["cuda_graphs"] = False
    return TrainConfig(
        data=DataConfig(dataset="none", load_size=size, crop_size=size),
        model=ModelConfig(generator=args.generator, ngf=args.ngf, ndf=args.ndf),
        optim=OptimConfig(batch_size=batch),
        run=RunConfig(output_dir="none", **settings),
    )


# --- one way, in a process of its own -----------------------------------------------------------------------


class Way:
    """One way's networks at one size and batch, ready to step.

    Args:
        name: "plain" or one of WAYS.
        size: side of the pictures.
        batch: pairs per step.
        args: the command's.

    Attributes:
        settings: what of RunConfig is used; empty for the plain recipe.
    """

    def __init__(self, name: str, size: int, batch: int, args: argparse.Namespace) -> None:
        device = torch.device(args.device)
        # As the recipe is usually run, and as train_accelerate.py does where all pictures have one size.
        torch.backends.cudnn.benchmark = True
        torch.manual_seed(0)
        pictures = [torch.rand(batch, 3, size, size, device=device) * 2 - 1 for _ in range(4)]
        self.settings: dict[str, Any] = {}
        self.step: Callable[[int], dict[str, Tensor]]
        if name == "plain":
            plain = PlainCycleGAN(args.ngf, args.ndf, blocks(args.generator), device)
            self.step = lambda i: plain.step(pictures[i % 4], pictures[(i + 1) % 4])
            return
        config = resolve_auto(train_config(name, size, batch, args), device)
        self.settings = {key: getattr(config.run, key) for key in OFF}
        trainer = Trainer(config, None, accelerator_of(config, device))  # type: ignore[arg-type]
        if config.run.channels_last:  # As the trainer lays out what comes from the data.
            pictures = [picture.contiguous(memory_format=torch.channels_last) for picture in pictures]
        self.step = lambda i: trainer.step({"real_a": pictures[i % 4], "real_b": pictures[(i + 1) % 4]})


def blocks(generator: str) -> int:
    """Residual blocks of "resnet_9" and its like."""
    return int(generator.removeprefix("resnet_"))


def accelerator_of(config: TrainConfig, device: torch.device) -> Accelerator:
    """An accelerator with a settled config's precision. A process can have one precision at a time."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # Of the case before.
    return Accelerator(cpu=device.type == "cpu", mixed_precision=config.run.mixed_precision)


def synchronise(kind: str) -> None:
    """Wait until the device has finished."""
    if kind == "cuda":
        torch.cuda.synchronize()


def peak_bytes(kind: str) -> int:
    """Most memory so far: allocated on the GPU since it was reset, or this process's on a CPU."""
    if kind == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reason_of(error: BaseException) -> str:
    """One line that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:200]


def is_out_of_memory(error: BaseException) -> bool:
    """On GPUs it has a type, on CPUs a message."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def next_message(connection: Any) -> Any:
    """What is asked for next; None once nobody is left to ask."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        return None


def serve(connection: Any, name: str, args: argparse.Namespace) -> None:
    """The process of one way: does what the connection asks for, and answers with a result or with what failed.

    "prepare" (size, batch) builds and warms up; "steps" (n) times steps; "burst" (n) times them without waiting in
    between; "drop" forgets the networks; None ends the process.
    """
    kind, way, count = args.device, None, 0
    clock = time.process_time if args.clock == "processor" else time.perf_counter
    if kind == "cuda":
        torch.cuda.init()
    if args.threads:
        torch.set_num_threads(args.threads)
    while (message := next_message(connection)) is not None:
        verb, *values = message
        try:
            if verb == "prepare":
                began, base = time.perf_counter(), psutil.Process().memory_info().rss
                if kind == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                    base = torch.cuda.memory_allocated()  # Of a case before, should anything be left of it.
                way = Way(name, *values, args)
                for count in range(args.warmup):
                    losses = way.step(count)
                synchronise(kind)
                if bad := [term for term, loss in losses.items() if not torch.isfinite(loss)]:
                    raise ValueError(f"not finite after {args.warmup} steps: {', '.join(bad)}")
                answer = {"settings": way.settings, "prepare_s": time.perf_counter() - began}
            elif verb == "steps":
                answer = []
                for _ in range(values[0]):
                    count += 1
                    began = clock()
                    way.step(count)
                    synchronise(kind)
                    answer.append(clock() - began)
            elif verb == "burst":
                began = time.perf_counter()
                for _ in range(values[0]):
                    count += 1
                    way.step(count)
                synchronise(kind)
                answer = time.perf_counter() - began
            elif verb == "memory":
                answer = (peak_bytes(kind) - base) / 2**30
            else:
                way = losses = None
                torch.compiler.reset()
                gc.collect()
                if kind == "cuda":
                    torch.cuda.empty_cache()
                answer = None
            connection.send(("done", answer))
        except Exception as error:  # Whatever it is, it is this case's result.
            kind_of_failure = "out of memory" if is_out_of_memory(error) else "failed"
            connection.send((kind_of_failure, reason_of(error)))


class Failure(Exception):
    """A case could not be measured: `status` is "out of memory", "failed" or "skipped"."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Worker:
    """The process of one way, from outside."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        # A GPU's state does not survive a fork. On a CPU, forks of one process that has torch loaded start at once.
        context = multiprocessing.get_context("spawn" if args.device == "cuda" else "forkserver")
        if args.device == "cpu":
            context.set_forkserver_preload(["benchmarks.plain_recipe", "cyclegan.training.trainer", "torch._dynamo"])
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, name, args), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, *message: Any, limit_s: float = math.inf) -> Any:
        """Its answer.

        Raises:
            Failure: it could not do it, has ended, or took longer than `limit_s`, which ends it.
        """
        try:
            self.connection.send(message)
            if limit_s < math.inf and not self.connection.poll(max(1.0, limit_s)):
                self.process.kill()
                raise Failure("skipped", f"the time was up while {message[0]} was under way")
            status, answer = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join(10)
            raise Failure("failed", f"the process ended with status {self.process.exitcode}") from error
        if status != "done":
            raise Failure(status, answer)
        return answer

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.process.is_alive()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.process.join(20)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


# --- cases --------------------------------------------------------------------------------------------------


class Budget:
    """Seconds that a run may take; 0 for as long as it needs."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.began = seconds, time.monotonic()

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.seconds - (time.monotonic() - self.began) if self.seconds else math.inf


def quartiles(values: list[float]) -> dict[str, float]:
    """Median, quartiles and extremes, to four digits."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    found = {"median": middle, "q1": low, "q3": high, "min": min(values), "max": max(values)}
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def measured(case: dict[str, Any], seconds: list[float], memory: float) -> None:
    """Fill in a case's figures."""
    case["status"] = "measured"
    case["steps"] = len(seconds)
    case["ms"] = quartiles([1e3 * s for s in seconds])
    case["pairs_per_second"] = float(f"{case['batch'] / statistics.median(seconds):.4g}")
    case["peak_memory_gib"] = round(memory, 3)
    case["seconds"] = seconds


def order_of(names: list[str], sizes: list[int], batches: list[int]) -> list[tuple[int, int, str]]:
    """(size, batch, way) of every case, what a reader wants to know first in front, in case the time is short."""

    def rank(case: tuple[int, int, str]) -> int:
        size, batch, name = case
        first, main, compiled = (size, batch) == (sizes[0], batches[0]), name in MAIN, WAYS.get(name, {}).get("compile")
        reasons = (first and main, first and not compiled, size == sizes[0] and main, first, main, not compiled, True)
        return reasons.index(True)

    return sorted(((size, batch, name) for size in sizes for batch in batches for name in names), key=rank)


def run_on_gpu(names: list[str], args: argparse.Namespace, budget: Budget) -> Iterator[dict[str, Any]]:
    """Measure one case after the other; each way's process lives as long as it works."""
    workers = {name: Worker(name, args) for name in names}
    longest: dict[str, float] = {}
    too_much: dict[tuple[str, int], int] = {}
    try:
        for worker in workers.values():
            worker.ask("drop")  # Wait until all have loaded what they need, so that none is disturbed.
        for size, batch, name in order_of(names, args.sizes, args.batches):
            case: dict[str, Any] = {"way": name, "size": size, "batch": batch}
            if budget.left < longest.get(name, 0.0) + 5:
                yield case | {"status": "skipped", "reason": "the time was up"}
                continue
            if batch >= too_much.get((name, size), batch + 1):
                yield case | {"status": "out of memory", "reason": "as the smaller batch was"}
                continue
            began = time.monotonic()
            if not workers[name].alive:
                workers[name] = Worker(name, args)
            try:
                case |= workers[name].ask("prepare", size, batch, limit_s=budget.left)
                measured(case, workers[name].ask("steps", args.steps), workers[name].ask("memory"))
            except Failure as failure:
                case |= {"status": failure.status, "reason": failure.reason}
                if failure.status == "out of memory":
                    too_much[name, size] = batch
            with contextlib.suppress(Failure):
                workers[name].ask("drop")
            longest[name] = max(longest.get(name, 0.0), time.monotonic() - began)
            yield case
    finally:
        for worker in workers.values():
            worker.close()


def run_on_cpu(names: list[str], args: argparse.Namespace, budget: Budget) -> Iterator[dict[str, Any]]:
    """All ways of a case alternate; each has a fresh process, so that its peak memory is its own."""
    for size in args.sizes:
        for batch in args.batches:
            steps = len(names) * (args.warmup + args.steps)
            with progress_bar(total=steps, desc=f"{size}² × {batch}", unit="step") as bar:
                cases = measure_on_cpu(names, size, batch, args, budget, bar)
            yield from cases


def measure_on_cpu(
    names: list[str], size: int, batch: int, args: argparse.Namespace, budget: Budget, bar: tqdm
) -> list[dict[str, Any]]:
    """Measure all ways at one size and batch."""
    cases = {name: {"way": name, "size": size, "batch": batch} for name in names}
    workers, shuffled = {}, random.Random(0)
    for name, case in cases.items():
        if budget.left < 0:
            case |= {"status": "skipped", "reason": "the time was up"}
            continue
        workers[name] = Worker(name, args)
        try:
            case |= workers[name].ask("prepare", size, batch, limit_s=budget.left)
        except Failure as failure:
            case |= {"status": failure.status, "reason": failure.reason}
            workers.pop(name).close()
        bar.update(args.warmup)
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    rounds, longest = 0, 0.0
    while workers and rounds < args.steps and (rounds == 0 or budget.left > longest):
        began = time.monotonic()
        for name in shuffled.sample(list(workers), len(workers)):
            try:
                seconds[name] += workers[name].ask("steps", 1)
            except Failure as failure:
                cases[name] |= {"status": failure.status, "reason": failure.reason}
                workers.pop(name).close()
            bar.update()
        rounds, longest = rounds + 1, max(longest, time.monotonic() - began)
    for name, worker in workers.items():
        measured(cases[name], seconds[name], worker.ask("memory"))
        worker.close()
    return list(cases.values())


def compare(cases: list[dict[str, Any]], paired: bool, flop: dict[int, float], rates: dict[str, float]) -> None:
    """Fill in ratios to the plain recipe, and the share of the device's matrix multiplication rate."""
    done = {(c["way"], c["size"], c["batch"]): c for c in cases if c["status"] == "measured"}
    for (_, size, batch), case in done.items():
        plain, single = done.get(("plain", size, batch)), done.get(("plain", size, 1))
        if plain:
            times, base = case["seconds"], plain["seconds"]
            if paired and len(times) == len(base):
                case["times_plain"] = quartiles([b / t for b, t in zip(base, times, strict=True)])
            else:  # Not measured side by side: from the quartiles' far ends.
                ms, plain_ms = case["ms"], plain["ms"]
                ends = {"median": ("median", "median"), "q1": ("q1", "q3"), "q3": ("q3", "q1")}
                case["times_plain"] = {k: float(f"{plain_ms[p] / ms[m]:.4g}") for k, (p, m) in ends.items()}
        if single:
            case["times_plain_batch_1"] = float(f"{case['pairs_per_second'] / single['pairs_per_second']:.4g}")
        achieved = case["pairs_per_second"] * flop[size] / 1e12
        case["tflops"] = float(f"{achieved:.4g}")
        case["utilisation"] = {name: float(f"{achieved / rate:.4g}") for name, rate in rates.items()}


# --- what the device could do -------------------------------------------------------------------------------


def step_flop(size: int, args: argparse.Namespace) -> float:
    """Floating point operations of one plain step on one pair, forward and backward; counted without computing."""
    plain = PlainCycleGAN(args.ngf, args.ndf, blocks(args.generator), "meta")
    picture = torch.empty(1, 3, size, size, device="meta")
    with FlopCounterMode(display=False) as counter:
        plain.step(picture, picture)
    return float(counter.get_total_flops())


def instructions(kind: str) -> str | None:
    """The processor's instruction sets that torch uses, e.g. AVX512; ATEN_CPU_CAPABILITY lowers them."""
    return torch.backends.cpu.get_cpu_capability() if kind == "cpu" else None


def matmul_rates(kind: str, repeats: int = 20) -> dict[str, float]:
    """Precision → TFLOP/s of the fastest large square matrix multiplication: the median of `repeats`.

    bf16 is left out where the device only emulates it. fp32 is left out on a GPU that has bf16, because whether TF32
    counts as fp32 there is a matter of taste.
    """
    native = computes_bf16(torch.device(kind)) and instructions(kind) not in ("DEFAULT", "AVX2")
    dtypes = {"bf16": torch.bfloat16} if native else {}
    if kind != "cuda" or not dtypes:
        dtypes["fp32"] = torch.float32
    rates: dict[str, float] = {}
    for name, dtype in dtypes.items():
        for n in (4096, 8192, 16384) if kind == "cuda" else (2048,):
            a, b = (torch.randn(n, n, device=kind).to(dtype) for _ in range(2))
            seconds = []
            products = {"desc": f"yardstick: {n}² matrices in {name}", "unit": "product"}
            for _ in progress_bar(iterable=range(repeats + 3), **products):
                synchronise(kind)
                began = time.perf_counter()
                a @ b
                synchronise(kind)
                seconds.append(time.perf_counter() - began)
            rate = 2 * n**3 / statistics.median(seconds[3:]) / 1e12
            rates[name] = max(rates.get(name, 0.0), float(f"{rate:.4g}"))
            del a, b
    if kind == "cuda":
        torch.cuda.empty_cache()  # Other processes measure their memory next.
    return rates


# --- whole epochs -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def loopback_hub(folder: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """A Hub on this machine: the environment and the flags of a training that publishes to it."""
    from tests.hub.loopback import TOKEN, LoopbackHub

    hub = LoopbackHub()
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / "hf_home"), "HF_HUB_OFFLINE": "0",
           "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
    try:
        yield env, ["--push_to_hub", "--hub_model_id", "alice/throughput"]
    finally:
        hub.close()


@dataclass(frozen=True)
class Watched:
    """What was seen of a training, in seconds of the monotonic clock."""

    ends: list[tuple[float, int]]
    """When the row of each epoch came into metrics.jsonl, and its global step."""
    ended: float
    """When the program ended."""
    complaint: str
    """What went wrong after all, such as that epochs could not be published; empty if nothing."""


def kill_all(pid: int) -> None:
    """Kill a process and all that it started, which would slow down whatever is measured next."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def watch_training(
    words: list[str], env: dict[str, str], metrics: Path, limit_s: float, *, stop_after_s: float = math.inf
) -> Watched:
    """Run a training to its end, or until it is asked to stop; print a line at each epoch's end.

    Args:
        words: the command.
        env: what is added to the environment.
        metrics: the run's metrics.jsonl.
        limit_s: seconds after which it is killed.
        stop_after_s: seconds after which it is asked to stop, which it does after the step, with its state saved.

    Raises:
        Failure: no epoch was completed.
    """
    began, found, asked = time.monotonic(), [], False
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(words, cwd=ROOT, env={**os.environ, **env}, stdout=errors, stderr=errors)
        try:
            while process.poll() is None and (passed := time.monotonic() - began) < limit_s:
                time.sleep(0.01)
                if passed > stop_after_s and not asked:
                    process.terminate()
                    asked = True
                text = metrics.read_text() if metrics.is_file() else ""
                rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
                steps = [row["step"] for row in rows if row["event"] == "epoch"]
                for step in steps[len(found) :]:
                    found.append((time.monotonic(), step))
                    print(f"epoch {len(found)}: ended after {passed:.0f} s", file=sys.stderr, flush=True)
        finally:
            if running := process.poll() is None:
                kill_all(process.pid)
                process.wait()
        ended = time.monotonic()
        errors.seek(0)
        lines = errors.read().strip().splitlines() or ["nothing was said"]
        said = next((line for line in lines if line.startswith("error:")), lines[-1])
    complaint = f"was not done after {limit_s:.0f} s" if running else ""
    if process.returncode and not (running or asked):  # Asked while it publishes, it stops with what it has not.
        complaint = f"status {process.returncode}: {said[:200]}"
    if not found:
        raise Failure("failed", complaint or "no epoch was completed")
    return Watched(found, ended, complaint)


def whole_epochs(batch: int, args: argparse.Namespace, budget: Budget) -> dict[str, Any]:
    """The rate of whole epochs by the clock, beside the bare step's, both as the trainer comes."""
    size = args.sizes[0]
    case: dict[str, Any] = {"size": size, "batch": batch}
    if budget.left < 10:
        return case | {"status": "skipped", "reason": "the time was up"}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        dataset = args.dataset
        if dataset is None:
            from cyclegan.data.streets import StreetsSpec, write_streets

            dataset, side = folder / "streets", load_size(size)
            write_streets(StreetsSpec(count=args.pictures, test_count=8, width=side, height=side), dataset)
        case["data"] = args.dataset.name if args.dataset else f"{args.pictures} built-in streets per domain, as files"
        worker = Worker("default", args)
        try:
            worker.ask("prepare", size, batch, limit_s=budget.left)
            # As an epoch does, which does not wait for the device after each step.
            bare = [worker.ask("burst", max(3, args.steps // 3)) / max(3, args.steps // 3) for _ in range(3)]
        except Failure as failure:
            return case | {"status": failure.status, "reason": f"the bare step: {failure.reason}"}
        finally:
            worker.close()
        words = [
            sys.executable, "train_accelerate.py", "--dataset", str(dataset), "--load_size", str(load_size(size)),
            "--crop_size", str(size), "--generator", args.generator, "--ngf", str(args.ngf), "--ndf", str(args.ndf),
            "--batch_size", str(batch), "--epochs", str(args.epochs), "--decay_epochs", "0",
        ]  # fmt: skip
        pushed = "to a Hub on this machine"
        try:
            env, push = stack.enter_context(loopback_hub(folder))
        except Exception as error:  # The measure without it is worth more than none.
            env, push, pushed = {}, [], f"no: {reason_of(error)}"
        cpu = {"ACCELERATE_USE_CPU": "true"} if args.device == "cpu" else {}
        case |= {"command": shlex.join(["python", *words[1:3], "FOLDER", *words[4:], *push]), "published": pushed}
        for attempt in (push, []):
            run = folder / ("run" if attempt else "run-unpublished")
            try:
                seen = watch_training([*words, "--output_dir", str(run), *attempt], {**env, **cpu},
                                      run / "metrics.jsonl", min(600.0, budget.left))  # fmt: skip
                break
            except Failure as failure:
                case |= {"status": failure.status, "reason": failure.reason}
                if not push or not attempt:
                    return case
                case["published"] = f"no: {failure.reason}"
    ends = seen.ends
    if len(ends) < 2:
        return case | {"status": "failed", "reason": seen.complaint or "two epochs are needed"}
    case.pop("reason", None)
    if seen.complaint:
        case["published"] += f"; {seen.complaint}"
    return case | {
        "status": "measured",
        "steps_per_epoch": ends[0][1],
        **epoch_rates(ends, batch, batch / statistics.median(bare)),
        "bare_pairs_per_second": [float(f"{batch / seconds:.4g}") for seconds in bare],
        "after_the_last_epoch_s": round(seen.ended - ends[-1][0], 2),
    }


def epoch_rates(ends: list[tuple[float, int]], batch: int, bare: float) -> dict[str, list[float]]:
    """Pairs per second from each epoch's end to the next one's, and their share of the bare step's rate."""
    rates = [batch * (s2 - s1) / (t2 - t1) for (t1, s1), (t2, s2) in zip(ends, ends[1:], strict=False)]
    return {
        "pairs_per_second": [float(f"{rate:.4g}") for rate in rates],
        "share_of_bare": [float(f"{rate / bare:.4g}") for rate in rates],
    }


def load_size(size: int) -> int:
    """286 for 256, and in proportion, as the paper's jitter."""
    return round(size * 286 / 256)


# --- report -------------------------------------------------------------------------------------------------


def spread(figures: dict[str, float], digits: str) -> str:
    """Median with its quartiles; from a thousand on as whole numbers."""
    median, low, high = (f"{v:{digits if v < 1000 else '.0f'}}" for v in (figures[k] for k in ("median", "q1", "q3")))
    return f"{median} ({low}–{high})"


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    about, cases, rates = report["machine"], report["cases"], report["matmul_tflops"]
    lines = ["# How fast a training step is", "", f"    {report['command']}", ""]
    if report["trial"]:
        fewest = min((case["steps"] for case in cases if case["status"] == "measured"), default=report["steps"])
        lines += [f"**A trial**: cases have as few as {fewest} timed steps; with fewer than {ENOUGH} no figure is a "
                  "result.", ""]  # fmt: skip
    lines += [
        f"Measured on {report['device']}, with {number_of(report['threads'], 'thread')} of {about['processor']} "
        f"({number_of(about['cores'], 'core')}, {about['memory_gib']} GiB)"
        + (f", of whose instructions torch used {used}" if (used := report.get("instructions")) else "")
        + f"; torch {about['torch']}, "
        f"commit {about['commit']}. {report['generator']}, ngf {report['ngf']}, ndf {report['ndf']}, identity weight "
        f"0.5. {report['steps']} timed steps per case after {report['warmup']} to warm up.",
        "",
        "- ms/step: median (quartiles), "
        + ("of the process's time on the processor, because others used the machine, too. "
           if report.get("clock") == "processor" else "from the call until the device has finished. ")
        + "pairs/s: pictures of each domain "
        "per second, from the median.",
        "- × plain: times as many pairs/s as the plain recipe at the same size and batch, "
        + ("within a round: median (quartiles)." if report["paired"] else "of medians (of the quartiles' far ends).")
        + " × plain, batch 1: the same against the plain recipe at batch 1.",
        "- memory: "
        + ("peak of what torch had allocated on the GPU." if report["kind"] == "cuda"
           else "by how much the process grew at its peak."),
    ]  # fmt: skip
    if rates:
        lines += [
            "- of matmul: the step's operations (those of the plain step, forward and backward; nothing that is "
            "computed twice counts twice) per second, over "
            + " and ".join(f"{rate:.4g} TFLOP/s" + f" of a large {name} matrix product" for name, rate in rates.items())
            + " on this device in this run. Above 100%: convolutions can be faster than that product, and bf16 than "
            "fp32."
            + ("" if "bf16" in rates else " bf16 is no yardstick here, because this device only emulates it"
               + ("." if "bf16" in report["ways"] else "; so its way is left out, too.")),
        ]  # fmt: skip
    lines.append("")
    for size in report["sizes"]:
        lines += [
            f"## {size}×{size}",
            "",
            f"{report['tflop_per_pair'][str(size)]:.3g} TFLOP per pair and step.",
            "",
            "| batch | way | ms/step | pairs/s | × plain | × plain, batch 1 | memory, GiB |"
            + "".join(f" of {name} matmul |" for name in rates),
            "|--:|---|--:|--:|--:|--:|--:|" + "--:|" * len(rates),
        ]  # fmt: skip
        found = {(case["batch"], case["way"]): case for case in cases if case["size"] == size}
        for batch in report["batches"]:
            for way in report["ways"]:
                if (case := found.get((batch, way))) is not None and case["status"] != "skipped":
                    lines.append(row(case, list(rates)))
        if skipped := [f"{way} × {batch}" for (batch, way), case in found.items() if case["status"] == "skipped"]:
            lines += ["", f"Left out, as the time was up (way × batch): {', '.join(skipped)}."]
        lines.append("")
    lines += ["## The ways", "", "| way | settings |", "|---|---|"]
    lines.append("| plain | `benchmarks/plain_recipe.py`: eager, fp32, contiguous, torch's own TF32 setting |")
    settings = {case["way"]: case["settings"] for case in cases if case.get("settings")}
    for way in report["ways"]:
        if way in settings:
            on = [key if value is True else f"{key} {value}" for key, value in settings[way].items()
                  if value not in (False, "no")]  # fmt: skip
            lines.append(f"| {way} | {', '.join(on) or 'every lever off'} |")
    if report["epochs"]:
        lines += ["", "## Whole epochs", ""]
        lines += [
            "By the clock, from the end of one epoch to the end of the next: decoding, training, sample grids, saving "
            "and publishing, against the bare step in a process of its own, which doesn't wait for the device in "
            "between. Last column: seconds from the last epoch's end to the program's, for what was still under way.",
            "",
            "| size | batch | data | steps/epoch | published | pairs/s | bare step, pairs/s | share | then, s |",
            "|--:|--:|---|--:|---|--:|--:|--:|--:|",
        ]
        for case in report["epochs"]:
            if case["status"] != "measured":
                lines.append(f"| {case['size']} | {case['batch']} | {case.get('data', '')} | | "
                             f"| {case['status']}: {case['reason']} | | |")  # fmt: skip
                continue
            rate, bare, share = (
                ", ".join(f"{value:.3g}" for value in case[key])
                for key in ("pairs_per_second", "bare_pairs_per_second", "share_of_bare")
            )
            cells = [case[key] for key in ("size", "batch", "data", "steps_per_epoch", "published")]
            cells += [rate, bare, share, case["after_the_last_epoch_s"]]
            lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def row(case: dict[str, Any], precisions: list[str]) -> str:
    """One line of a size's table."""
    start = f"| {case['batch']} | {case['way']} | "
    if case["status"] != "measured":
        reason = case["status"] if case["status"] == "out of memory" else f"{case['status']}: {case['reason']}"
        return start + reason.replace("|", "/") + " |" * (5 + len(precisions))
    times = spread(case["times_plain"], ".2f") if "times_plain" in case else ""
    single = f"{case['times_plain_batch_1']:.2f}" if "times_plain_batch_1" in case else ""
    cells = [spread(case["ms"], ".4g"), f"{case['pairs_per_second']:.3g}", times, single,
             f"{case['peak_memory_gib']:.2f}", *(f"{case['utilisation'][name]:.1%}" for name in precisions)]
    return start + " | ".join(cells) + " |"


def write(base: Path, report: dict[str, Any]) -> None:
    """Write BASE.json and BASE.md, each of which is whole at any moment; the single steps' times are left out."""
    cases = [{key: value for key, value in case.items() if key != "seconds"} for case in report["cases"]]
    text = json.dumps(report | {"cases": cases}, indent=2) + "\n"
    write_bytes(base.with_name(base.name + ".json"), text.encode())
    write_bytes(base.with_name(base.name + ".md"), markdown(report).encode())


def numbers(text: str) -> list[int]:
    """Type of a flag: whole numbers above 0, with commas in between."""
    values = [int(part) for part in text.split(",")]
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be numbers from 1 on, e.g. 1,2,4")
    return values


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train_throughput", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu", help="where to measure")
    parser.add_argument("--sizes", type=numbers, default=[256, 128, 512],
                        help="sides of pictures, in this order (default: 256,128,512)")
    parser.add_argument("--batches", type=numbers, default=[1, 2, 4, 8],
                        help="pairs per step, in this order (default: 1,2,4,8)")
    parser.add_argument("--steps", type=int, default=ENOUGH, help="timed steps per case (default: %(default)s)")
    parser.add_argument("--warmup", type=int, help="steps before those (default: 12 on a GPU, 2 on a CPU)")
    parser.add_argument("--ways", help=f"some of {', '.join(('plain', *WAYS))} (default: all that the device has, but "
                        "on a CPU not compile and all, which take minutes to get ready there, and not bf16 where it is "
                        "emulated)")  # fmt: skip
    parser.add_argument("--generator", choices=("resnet_9", "resnet_6"), default="resnet_9",
                        help="architecture (default: %(default)s)")
    parser.add_argument("--ngf", type=int, default=64,
                        help="channels of the generators' first layer (default: %(default)s)")
    parser.add_argument("--ndf", type=int, default=64,
                        help="channels of the discriminators' first layer (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="threads on the CPU; 0 leaves it to torch")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall",
                        help="what times a step; the processor's time is for a CPU with --threads 1 that others use, "
                        "too, and nearly the same in every step (default: %(default)s)")  # fmt: skip
    parser.add_argument("--budget_s", type=float, default=0.0, help="seconds for all; what is left out is listed")
    parser.add_argument("--epoch", type=numbers, nargs="?", const=[1], default=[], metavar="BATCHES",
                        help="also train whole epochs at the first size, at these batch sizes (1 if none is given)")
    parser.add_argument("--epochs", type=int, default=3, help="how many epochs that is; the first one warms up")
    parser.add_argument("--dataset", type=Path, help="folder to train them on (default: built-in streets as files)")
    parser.add_argument("--pictures", type=int, default=200, help="how many streets per domain (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="what to write, without .json and .md "
                        "(default: benchmarks/reports/train_throughput-DEVICE, with -trial for a trial)")  # fmt: skip
    args = parser.parse_args()
    if args.device == "cuda" and not cuda:
        parser.error("--device cuda: torch sees no CUDA device here; use --device cpu")
    if args.warmup is None:
        args.warmup = 12 if args.device == "cuda" else 2
    known = ways_of(args.device)
    args.ways = args.ways.split(",") if args.ways else ways_of(
        args.device, compiled=args.device == "cuda", bf16=computes_bf16(torch.device(args.device))
    )  # fmt: skip
    if unknown := [way for way in args.ways if way not in known]:
        parser.error(f"--ways {','.join(unknown)}: on this device there are {', '.join(known)}")
    if args.steps < 1 or args.warmup < 1:
        parser.error("--steps and --warmup must be 1 or more")
    return args


def device_slug(kind: str) -> str:
    """The GPU's name as a file can have it, or cpu."""
    return "cpu" if kind == "cpu" else re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")


def main() -> None:
    """Measure every case, and write the report after each, so that whatever ends the run leaves what was measured."""
    args, budget = parse(), Budget(0.0)
    budget.seconds = args.budget_s
    trial = args.steps < ENOUGH
    base = args.output or REPORTS / f"train_throughput-{device_slug(args.device)}{'-trial' if trial else ''}"
    if args.threads:
        torch.set_num_threads(args.threads)
    report: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.train_throughput", *sys.argv[1:]]),
        "trial": trial, "machine": describe(), "kind": args.device,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "the CPU",
        "threads": torch.get_num_threads(), "instructions": instructions(args.device), "paired": args.device == "cpu",
        **{key: getattr(args, key) for key in ("sizes", "batches", "steps", "warmup", "ways", "generator", "ngf",
                                               "ndf", "clock", "budget_s")},
        # By the wall's clock it is no yardstick for steps by the processor's.
        "matmul_tflops": {} if args.clock == "processor" else matmul_rates(args.device), "cases": [], "epochs": [],
    }  # fmt: skip
    flop = {size: step_flop(size, args) for size in args.sizes}
    report["tflop_per_pair"] = {str(size): float(f"{value / 1e12:.4g}") for size, value in flop.items()}
    run = run_on_gpu if args.device == "cuda" else run_on_cpu
    for case in run(args.ways, args, budget):
        report["cases"].append(case)
        compare(report["cases"], report["paired"], flop, report["matmul_tflops"])
        report["trial"] |= case["status"] == "measured" and case["steps"] < ENOUGH  # The time may have been up.
        print(f"{case['size']}² × {case['batch']}, {case['way']}: "
              + (f"{case['ms']['median']} ms, {case['peak_memory_gib']} GiB" if case["status"] == "measured"
                 else f"{case['status']} ({case['reason']})"), flush=True)  # fmt: skip
        write(base, report)
    for batch in args.epoch:
        report["epochs"].append(whole_epochs(batch, args, budget))
        print(f"whole epochs: {report['epochs'][-1]}", flush=True)
        write(base, report)
    print(f"written: {base}.md", flush=True)


if __name__ == "__main__":
    main()
