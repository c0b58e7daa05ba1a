"""Checks, speed, memory and a training on a GPU, in nine minutes.

    python -m benchmarks.gpu --dataset data/maps --output runs/gpu
    python -m benchmarks.gpu --dataset data/maps --output runs/gpu -- --domain_a 'aerial photo' --domain_b map
    python -m benchmarks.gpu --dataset data/maps --output /tmp/trial --device cpu --tiny

1. Checks, all at once, as none of them takes the time: whether the levers leave the losses as they are, whether a step
   waits for the device, whether steps in bf16 and fp16 stay finite, and how much memory large pictures take.
2. `benchmarks.train_throughput`, for a fifth of the time.
3. A training with the fast defaults, for as many epochs as fit, published as it goes to a Hub on this machine; what
   stands after -- is added to its flags.
4. What that training came to on side-by-side pairs that it never saw, as `benchmarks.train_report` has it.

Each part has its own time, and what fails is told and doesn't keep the next part from running. A part's files are
written when it ends, those of the first two also after each result, and are whole at any moment: a call that is cut
loses no more than the part that was running. OUTPUT holds README.md with the results, summary.json, checks.json,
train_throughput.json and .md, training.json, run/ and report/.

    python -m benchmarks.gpu --experiment baselines --scale paper --dataset data/maps --output runs/baselines

does nothing of this. It runs `python -m cyclegan experiment` for nine minutes; what stands after -- is added to its
flags. The same command continues where the last one ended, also on another machine that has OUTPUT, until its report
is complete.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import multiprocessing.connection
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import train_report
from benchmarks.machine import ROOT, commit, describe
from benchmarks.train_throughput import (
    OFF,
    Failure,
    accelerator_of,
    epoch_rates,
    is_out_of_memory,
    kill_all,
    load_size,
    loopback_hub,
    peak_bytes,
    reason_of,
    synchronise,
    watch_training,
)
from cyclegan.config import CycleGANConfig, DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from cyclegan.data import find_data
from cyclegan.errors import number_of
from cyclegan.experiments.spec import SCALES
from cyclegan.files import write_bytes, write_json
from cyclegan.training.resolve import resolve_auto
from cyclegan.training.trainer import Trainer

TAKES = "9 minutes of a GPU, or 3 on two cores with --device cpu --tiny; needs a folder of side-by-side pairs"
WRITES = "OUTPUT/README.md"
PARTS = ("checks", "throughput", "training", "report")
SHARES = {"checks": 0.2, "throughput": 0.2, "report": 0.09}
"""Of the whole time; the training has what is left."""
LIMITS_GIB = {"512, as it comes": 24, "1024, gradient_checkpointing": 40}
"""Memory that a card must have at most, for these pictures at batch 1."""
ALL: dict[str, Any] = {**OFF, "mixed_precision": "auto", "batch_passes": True, "fused_adam": True,
                       "channels_last": True, "compile": True, "cuda_graphs": True}  # fmt: skip


# --- checks, each in a process of its own -------------------------------------------------------------------


def trainer_of(
    settings: dict[str, Any], size: int, args: argparse.Namespace, generator: str = "resnet_9"
) -> Trainer:
    """A trainer at batch 1, with a pool that is soon full."""
    device = torch.device(args.device)
    torch.backends.cudnn.benchmark = True  # As in train_accelerate.py; what it tries takes memory too.
    model = ModelConfig(generator="resnet_6", ngf=4, ndf=4) if args.tiny else ModelConfig(generator=generator)
    config = TrainConfig(
        data=DataConfig(dataset="none", load_size=size, crop_size=size), model=model, loss=CycleGANConfig(pool_size=4),
        optim=OptimConfig(batch_size=1), run=RunConfig(output_dir="none", **settings),
    )  # fmt: skip
    config = resolve_auto(config, device)
    return Trainer(config, None, accelerator_of(config, device))  # type: ignore[arg-type]


def batches(count: int, size: int, trainer: Trainer) -> list[dict[str, Tensor]]:
    """Synthetic pictures, the same in every call."""
    draws = torch.Generator().manual_seed(1)
    layout = torch.channels_last if trainer.config.run.channels_last else torch.contiguous_format
    return [
        {
            name: (torch.rand(1, 3, size, size, generator=draws) * 2 - 1).to(
                trainer.accelerator.device, memory_format=layout
            )
            for name in ("real_a", "real_b")
        }
        for _ in range(count)
    ]


def losses_of(settings: dict[str, Any], steps: int, size: int, args: argparse.Namespace, change: float = 0.0) -> Tensor:
    """(steps, 8): the losses of a training's first steps, in fp32 without TF32.

    Args:
        change: the starting weights are each changed by a random part of about this much.
    """
    torch.backends.cudnn.allow_tf32 = False
    trainer = trainer_of(settings, size, args, "resnet_6")
    if change:
        draws = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for network in trainer.networks.values():
                for parameter in network.parameters():
                    parameter.mul_(1 + change * torch.randn(parameter.shape, generator=draws).to(parameter.device))
    rows = []
    for batch in batches(steps, size, trainer):
        losses = trainer.step(batch)
        rows.append(torch.stack([losses[name].float() for name in sorted(losses)]))
    return torch.stack(rows).cpu()


def check_same_losses(args: argparse.Namespace, tell: Callable[[str, dict[str, Any]], None]) -> None:
    """Every lever but bf16 leaves the losses as they are, up to rounding: in the first step by a part in ten thousand.

    From there on Adam turns rounding into steps of nearly the full learning rate. How far that leads shows the same
    eager training from weights that differ by a part in a million; that far, or a hundredth, is allowed.
    """
    steps, size = (6, 32) if args.tiny else (20, 128)  # 128² and resnet_6, as compiling takes most of the time.
    eager = losses_of(OFF, steps, size, args)

    def difference(losses: Tensor) -> Tensor:
        return ((losses - eager).abs() / eager.abs().clamp_min(1e-6)).amax(1)

    natural = difference(losses_of(OFF, steps, size, args, change=1e-6))
    allowed = natural.cummax(0).values.clamp_min(0.01)
    allowed[0] = 1e-4
    tell("a change of 1e-6", {"largest_difference": float(natural.max()), "ok": None})
    cases = {"batch_passes, fused_adam": {"batch_passes": True, "fused_adam": True},
             "channels_last": {"channels_last": True}}  # fmt: skip
    if args.device == "cuda":
        cases |= {"all but bf16": {**ALL, "mixed_precision": "no"}, "compile": {"compile": True},
                  "compile, cuda_graphs": {"compile": True, "cuda_graphs": True}}  # fmt: skip
    for name, settings in cases.items():
        found = difference(losses_of({**OFF, **settings}, steps, size, args))
        tell(name, {"largest_difference": float(found.max()), "first_step": float(found[0]),
                    "allowed": float(allowed.max()), "ok": bool((found <= allowed).all())})  # fmt: skip


def check_waiting(args: argparse.Namespace, tell: Callable[[str, dict[str, Any]], None]) -> None:
    """After warm-up, nothing in a step waits for the GPU: torch raises an error at whatever would."""
    if args.device == "cpu":
        return tell("steps", {"ok": None, "note": "needs a GPU"})
    cases: dict[str, dict[str, Any]] = {"as it comes": {}, "fp32": {"mixed_precision": "no"}, "all": ALL}
    for name, settings in cases.items():
        trainer = trainer_of(settings, 256, args)
        pictures = batches(20, 256, trainer)
        for batch in pictures[:12]:
            trainer.step(batch)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for batch in pictures[12:]:
                trainer.step(batch)
            tell(name, {"ok": True})
        except RuntimeError as error:
            tell(name, {"ok": False, "note": reason_of(error)})
        finally:
            torch.cuda.set_sync_debug_mode("default")


def check_finite(args: argparse.Namespace, tell: Callable[[str, dict[str, Any]], None]) -> None:
    """The losses of the last 5 of 25 steps are finite; fp16's scale finds its place in the first ones."""
    size = 32 if args.tiny else 256
    for precision in ("bf16", "fp16") if args.device == "cuda" else ("bf16",):
        trainer = trainer_of({"mixed_precision": precision}, size, args)
        rows = [torch.stack(list(trainer.step(batch).values())) for batch in batches(25, size, trainer)]
        tell(precision, {"ok": bool(torch.isfinite(torch.stack(rows[-5:])).all())})


def check_memory(args: argparse.Namespace, tell: Callable[[str, dict[str, Any]], None]) -> None:
    """Peak memory of steps on large pictures, as it comes and with gradient checkpointing."""
    small, large = (32, 64) if args.tiny else (512, 1024)
    cases = [(small, {}), (large, {"gradient_checkpointing": True}), (small, {"gradient_checkpointing": True}),
             (large, {})]  # fmt: skip
    for size, settings in cases:
        if args.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        name = f"{size}, {', '.join(settings) or 'as it comes'}"
        try:
            trainer = trainer_of(settings, size, args)
            for batch in batches(3, size, trainer):
                trainer.step(batch)
            synchronise(args.device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            tell(name, {"ok": False, "note": "out of memory"})
            continue
        figures: dict[str, Any] = {"gib": round(peak_bytes(args.device) / 2**30, 3), "ok": None}
        if args.device == "cuda":
            figures["reserved_gib"] = round(torch.cuda.max_memory_reserved() / 2**30, 3)
            if limit := LIMITS_GIB.get(name):
                figures |= {"limit_gib": limit, "ok": figures["reserved_gib"] <= limit}
        tell(name, figures)
        del trainer, batch


CHECKS = {"same_losses": check_same_losses, "no_waiting": check_waiting, "finite": check_finite,
          "memory": check_memory}  # fmt: skip


def serve_check(connection: Any, name: str, args: argparse.Namespace) -> None:
    """The process of one check: sends what it finds, as it finds it."""
    try:
        CHECKS[name](args, lambda what, found: connection.send((what, found)))
    except Exception as error:  # Whatever it is, it is the check's result.
        connection.send(("error", {"ok": False, "note": reason_of(error)}))


def run_checks(args: argparse.Namespace, limit_s: float) -> dict[str, Any]:
    """All checks at once; check → what was looked at → what was found, with `ok` None where there is no yes or no."""
    context = multiprocessing.get_context("spawn")  # A GPU's state does not survive a fork.
    deadline, running, results = time.monotonic() + limit_s, {}, {name: {} for name in CHECKS}
    for name in CHECKS:
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=serve_check, args=(theirs, name, args), daemon=True)
        process.start()
        theirs.close()
        running[mine] = (name, process)
    while running and (left := deadline - time.monotonic()) > 0:
        for connection in multiprocessing.connection.wait(list(running), left):
            name, process = running[connection]
            try:
                what, found = connection.recv()
            except (EOFError, OSError):  # It has ended.
                process.join()
                if process.exitcode:
                    results[name]["error"] = {"ok": False, "note": f"ended with status {process.exitcode}"}
                del running[connection]
                continue
            results[name][what] = found
            print(f"{name}: {what}: {found}", flush=True)
            write_json(args.output / "checks.json", results)
    for name, process in running.values():
        kill_all(process.pid)
        process.join()
        results[name]["error"] = {"ok": False, "note": f"was not done after {limit_s:.0f} s"}
    write_json(args.output / "checks.json", results)
    return results


# --- throughput, training, report ---------------------------------------------------------------------------


def run_throughput(args: argparse.Namespace, limit_s: float) -> dict[str, Any]:
    """`benchmarks.train_throughput`, with its output beside this one's; its report.

    Raises:
        Failure: it did not end well, or left nothing.
    """
    flags = ["--device", args.device, "--output", str(args.output / "train_throughput")]
    flags += ["--budget_s", f"{0.9 * limit_s:.0f}"]
    if args.tiny:
        flags += ["--sizes", "32", "--batches", "1", "--steps", "3", "--generator", "resnet_6", "--ngf", "4",
                  "--ndf", "4", "--ways", "plain,default"]  # fmt: skip
    else:
        flags += ["--sizes", "256,512,128", "--batches", "1,8,4,2,16"]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.train_throughput", *flags], cwd=ROOT)
    try:
        done = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        done = 0  # What it had measured by then is there.
    finally:
        if process.poll() is None:
            kill_all(process.pid)
            process.wait()
    path = args.output / "train_throughput.json"
    if done or not path.is_file():
        raise Failure("failed", f"train_throughput ended with status {done}; its last lines are above")
    return json.loads(path.read_text())


def bare_rate(throughput: dict[str, Any] | None, size: int, batch: int) -> float | None:
    """Pairs per second of the default way's step, if it was measured."""
    cases = throughput["cases"] if throughput else []
    return next((case["pairs_per_second"] for case in cases if case["status"] == "measured"
                 and (case["way"], case["size"], case["batch"]) == ("default", size, batch)), None)  # fmt: skip


def schedule(rate: float | None, pairs: int, seconds: float) -> tuple[int, int]:
    """(epochs, decay epochs) that fit: half at the full learning rate, half decaying; the paper's if nobody knows."""
    if rate is None:
        return 100, 100
    # A part for starting, and a part for what an epoch is besides its steps.
    fitting = max(2, int(0.85 * max(0.0, seconds - 30) * rate / pairs))
    return fitting - fitting // 2, fitting // 2


def run_training(args: argparse.Namespace, throughput: dict[str, Any] | None, limit_s: float) -> dict[str, Any]:
    """A training with the fast defaults for as long as there is time, published to a Hub on this machine.

    Raises:
        Failure: it did not end well.
    """
    size, batch = 32 if args.tiny else 256, args.batch_size
    splits = find_data(DataConfig(dataset=str(args.dataset)))
    pairs = 8 if args.tiny else max(len(splits.train_a), len(splits.train_b))
    bare = bare_rate(throughput, size, batch)
    epochs, decay = (1, 1) if args.tiny else schedule(bare, pairs, limit_s)
    run = args.output / "run"
    words = [
        "train_accelerate.py", "--dataset", str(args.dataset), "--load_size", str(load_size(size)), "--crop_size",
        str(size), "--batch_size", str(batch), "--epochs", str(epochs), "--decay_epochs", str(decay),
    ]  # fmt: skip
    if args.tiny:
        words += ["--generator", "resnet_6", "--ngf", "4", "--ndf", "4", "--max_images", str(pairs)]
    words += [*args.train_flags, "--output_dir", str(run)]
    result: dict[str, Any] = {"batch": batch, "planned_epochs": epochs + decay}
    print(f"training for at most {limit_s:.0f} s; {epochs + decay} epochs are planned", flush=True)
    cpu = {"ACCELERATE_USE_CPU": "true"} if args.device == "cpu" else {}
    began = time.monotonic()
    with ExitStack() as stack:
        attempts: list[tuple[dict[str, str], list[str]]] = [({}, [])]
        try:
            attempts.insert(0, stack.enter_context(loopback_hub(args.output)))
        except Exception as error:  # A training that is not published is worth more than none.
            result["not_published"] = reason_of(error)
        for env, push in attempts:
            left = limit_s - (time.monotonic() - began)
            shown = [args.typed.get(word, word) for word in words]
            result["command"] = shlex.join(["python", *shown, *push])
            try:
                seen = watch_training(
                    [sys.executable, *words, *push], {**env, **cpu}, run / "metrics.jsonl", left,
                    stop_after_s=max(1.0, left - 25),
                )  # fmt: skip
                break
            except Failure as failure:
                if not push:
                    raise
                result["not_published"] = failure.reason
                shutil.rmtree(run, ignore_errors=True)
    shutil.rmtree(args.output / "hf_home", ignore_errors=True)
    ends = seen.ends
    result |= {"epochs": len(ends), "seconds": round(time.monotonic() - began, 1), "complaint": seen.complaint}
    if len(ends) > 1:
        result |= epoch_rates(ends, batch, bare) if bare else {}
        result["after_the_last_epoch_s"] = round(seen.ended - ends[-1][0], 2)
        result["median_share_of_bare"] = statistics.median(result["share_of_bare"]) if bare else None
    write_json(args.output / "training.json", result)
    return result


def run_experiment(args: argparse.Namespace) -> int:
    """Run a piece of an experiment; its exit status is `experiment`'s, 130 where more pieces are needed."""
    words = ["-m", "cyclegan", "experiment", args.experiment, "--scale", args.scale, "--output", str(args.output)]
    words += ["--minutes", str(max(1, int(args.seconds / 60)))]
    if args.dataset:
        words += ["--dataset", str(args.dataset)]
    if args.device == "cpu":
        words += ["--device", "cpu"]
    cpu = {"ACCELERATE_USE_CPU": "true"} if args.device == "cpu" else {}
    return subprocess.run([sys.executable, *words, *args.train_flags], env={**os.environ, **cpu}).returncode


# --- all of it ----------------------------------------------------------------------------------------------


def markdown(summary: dict[str, Any], checks: dict[str, Any], output: Path) -> str:
    """OUTPUT/README.md, with links to the parts' own reports, as far as they are written."""
    about = summary["machine"]
    lines = ["# On a GPU" if about["gpu"] else "# A trial without a GPU", "", f"    {summary['command']}", "",
             f"{about['gpu'] or 'no GPU'}, {about['processor']}, {number_of(about['cores'], 'core')}; "
             f"torch {about['torch']}, commit {about['commit']}.",
             "", "| part | seconds | came to |", "|---|--:|---|"]  # fmt: skip
    lines += [f"| {name} | {part['seconds']:.0f} | {part['came_to']} |" for name, part in summary["parts"].items()]
    if checks:
        lines += ["", "## Checks", "", "| check | of | ok | found |", "|---|---|---|---|"]
    for check, found in checks.items():
        for what, figures in found.items():
            ok = {True: "yes", False: "**no**", None: ""}[figures.get("ok")]
            rest = ", ".join(
                f"{key.replace('_', ' ')} {value:.3g}" if isinstance(value, float) else
                f"{key.replace('_', ' ')} {value}" for key, value in figures.items() if key != "ok"
            )  # fmt: skip
            lines.append(f"| {check.replace('_', ' ')} | {what} | {ok} | {rest} |")
    lines += ["", "Differences are relative, the largest of any loss in any step. Allowed are 0.0001 in the first "
              "step, and then what a change of the starting weights by a millionth comes to by that step, or 0.01. "
              "Memory: peak of what torch allocated, and reserved, which a card must have.", ""]  # fmt: skip
    reports = {"Throughput": "train_throughput.md", "What the training came to": "report/README.md"}
    lines += [f"- [{title}]({path})" for title, path in reports.items() if (output / path).is_file()]
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", type=Path, help="folder with train and val of side-by-side pairs")
    parser.add_argument("--output", type=Path, required=True, help="folder to write, new or empty")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="where to run")
    parser.add_argument("--seconds", type=float, help="for all of it (default: 525; with --tiny 160)")
    parser.add_argument("--batch_size", type=int, default=1, help="of the training")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts to run (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="networks and pictures so small that any computer can")
    parser.add_argument("--experiment", metavar="NAME", help="run a piece of this experiment instead")
    parser.add_argument("--scale", choices=tuple(SCALES), default="paper", help="of the experiment")
    own, train_flags = sys.argv[1:], []
    if "--" in own:
        own, train_flags = own[: own.index("--")], own[own.index("--") + 1 :]
    args = parser.parse_args(own)
    args.train_flags, args.parts = train_flags, args.parts.split(",")
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"--parts has no {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    args.seconds = args.seconds or (160.0 if args.tiny else 525.0)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --device cpu --tiny tries the whole script on a CPU")
    if args.experiment:
        return args
    if args.dataset is None:
        parser.error("--dataset is missing: the folder of side-by-side pairs")
    args.typed = {str(path.expanduser().absolute()): str(path) for path in (args.dataset, args.output)}
    args.typed[str(args.output.expanduser().absolute() / "run")] = str(args.output / "run")
    args.dataset, args.output = args.dataset.expanduser().absolute(), args.output.expanduser().absolute()
    if not (args.dataset / "train").is_dir():
        parser.error(f"--dataset {args.dataset} has no folder train: side-by-side pairs are needed")
    if args.output.exists() and any(args.output.iterdir()):
        parser.error(f"--output {args.output} is not empty: name a new folder")
    return args


def main() -> int:
    """Run every part; the exit status is 0 if all of them ran and every check came out well."""
    args, began = parse(), time.monotonic()
    if args.experiment:
        return run_experiment(args)
    args.output.mkdir(parents=True, exist_ok=True)
    summary: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]]), "machine": describe(), "parts": {},
    }  # fmt: skip
    checks: dict[str, Any] = {}
    throughput: dict[str, Any] | None = None
    training: dict[str, Any] = {}

    def left() -> float:
        return args.seconds - (time.monotonic() - began)

    def save() -> None:
        write_json(args.output / "summary.json", summary)
        write_bytes(args.output / "README.md", markdown(summary, checks, args.output).encode())

    def attempt(name: str, part: Callable[[], str]) -> None:
        started = time.monotonic()
        if name not in args.parts:
            return
        print(f"--- {name} ({left():.0f} s are left)", flush=True)
        try:
            came_to = part()
        except Exception as error:  # The next part runs all the same.
            came_to = f"failed: {error if isinstance(error, Failure) else reason_of(error)}"
        summary["parts"][name] = {"seconds": round(time.monotonic() - started, 1), "came_to": came_to}
        print(f"--- {name}: {came_to}", flush=True)
        save()

    def check() -> str:
        checks.update(run_checks(args, SHARES["checks"] * args.seconds))
        bad = [f"{name} ({what})" for name, found in checks.items() for what, f in found.items() if f["ok"] is False]
        return f"not so: {', '.join(bad)}" if bad else "all well"

    def measure() -> str:
        nonlocal throughput
        throughput = run_throughput(args, SHARES["throughput"] * args.seconds)
        done = sum(case["status"] == "measured" for case in throughput["cases"])
        return f"{done} of {len(throughput['cases'])} cases measured"

    def train() -> str:
        training.update(run_training(args, throughput, left() - SHARES["report"] * args.seconds))
        share = training.get("median_share_of_bare")
        told = f"{number_of(training['epochs'], 'epoch')} ({training['planned_epochs']} were planned)"
        told += f", at {share:.2f} of the bare step's rate" if share else ""
        return told + (f"; {training['complaint']}" if training["complaint"] else "")

    def tell() -> str:
        held_back = next((args.dataset / n for n in ("val", "test") if (args.dataset / n).is_dir()), None)
        if held_back is None:
            raise Failure("failed", f"{args.dataset} has no val or test of side-by-side pairs")
        command = training.get("command", "not recorded")
        train_report.write_report(
            args.output / "run", held_back, args.output / "report", command=command, trained_at=commit(),
            count=4 if args.tiny else 60, device=args.device, seconds=left(),
        )  # fmt: skip
        return "report/README.md"

    save()
    for name, part in zip(PARTS, (check, measure, train, tell), strict=True):
        attempt(name, part)
    print(f"written: {args.output}/README.md", flush=True)
    return int(any(p["came_to"].startswith(("failed", "not so")) for p in summary["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
