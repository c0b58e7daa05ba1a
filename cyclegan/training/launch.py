"""The start of a training in this process: devices and processes, the command that resumes it, torch's failures."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.utils import DDPCommunicationHookType, parse_flag_from_env
from torch.distributed import DistError

from cyclegan.config import TrainConfig
from cyclegan.errors import ConfigError, Message, TrainingError
from cyclegan.training.resolve import resolve_auto
from cyclegan.training.trackers import check_tracker

MEET_WITHIN = timedelta(minutes=5)
"""Processes wait so long for each other at the start, because importing torch from a shared disk may take minutes."""
LONGEST_WAIT = timedelta(hours=12)
"""Then they may wait so long, e.g. for the scores of `--evaluate_every`, which one process computes. A process that is
dead or frozen is noticed within a minute all the same (`cyclegan.training.peers`)."""
LOST = ("Connection closed by peer", "Connection reset", "Broken pipe", "Socket closed", "Timed out waiting",
        "connectFullMesh failed", "NCCL")  # fmt: skip
"""Parts of what gloo and NCCL report when another process has ended or can't be reached."""


def make_accelerator(config: TrainConfig) -> tuple[Accelerator, TrainConfig]:
    """Return the devices and processes that `accelerate` or `torchrun` started, or this process alone.

    Returns:
        The accelerator, and the config with every "auto" resolved for its device.

    Raises:
        ConfigError: a flag needs a GPU, one process, or a tracker that isn't installed.
    """
    check_tracker(config.run.report_to)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available():
        # Without this, each CPU process believes that it runs alone.
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU")
    config = resolve_auto(config, PartialState(cpu=cpu, timeout=MEET_WITHIN).device)
    run = config.run
    if run.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError("--mixed_precision fp16 needs a GPU; use bf16 or no")
    if run.cuda_graphs and (not torch.cuda.is_available() or int(os.environ.get("WORLD_SIZE", "1")) > 1):
        raise ConfigError("--cuda_graphs needs a GPU, and one process: leave it out")
    if run.gradient_compression != "none" and int(os.environ.get("WORLD_SIZE", "1")) < 2:
        raise ConfigError(
            "--gradient_compression {name} needs a second process to exchange gradients with: leave it out",
            name=run.gradient_compression,
        )
    # With pictures of one size, the search for the fastest kernels pays off; the reference does it, too.
    torch.backends.cudnn.benchmark = not config.data.keeps_shape
    hook = DDPCommunicationHookType(run.gradient_compression.replace("none", "no"))
    accelerator = Accelerator(
        mixed_precision=run.mixed_precision,
        gradient_accumulation_steps=config.optim.gradient_accumulation_steps,
        log_with=None if run.report_to == "none" else run.report_to,
        project_dir=run.output_dir,
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True, comm_hook=hook)],
    )
    if accelerator.num_processes > 1:
        _set_timeout(LONGEST_WAIT)
    return accelerator, config


def _set_timeout(longest: timedelta) -> None:
    if hasattr(torch.distributed, "set_timeout"):
        torch.distributed.set_timeout(longest)
    else:  # Before torch 2.14.
        torch.distributed.distributed_c10d._set_pg_timeout(longest)


def resume_command() -> str:
    """Return the command line that continues this run, ready to paste."""
    words, skip = [], False
    for word in sys.argv[1:]:
        if skip or word.split("=")[0] == "--resume":
            skip = not skip and "=" not in word
            continue
        words.append(word)
    return shlex.join([*_launcher(), Path(sys.argv[0]).name, *words, "--resume", "auto"])


def _launcher() -> list[str]:
    """Return the words that start this run's processes; those of several nodes are typed on each of them."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    each = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    if processes == 1:
        return ["python"]
    if each >= processes:
        return ["torchrun", f"--nproc_per_node={processes}"]
    nodes = [f"--nnodes={-(-processes // each)}", f"--nproc_per_node={each}"]
    restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")
    nodes += [f"--max_restarts={restarts}"] if restarts != "0" else []
    # The processes aren't given the address at which the agents met.
    return ["torchrun", *nodes, "--rdzv_backend=c10d", "--rdzv_endpoint=HOST:PORT"]


@contextlib.contextmanager
def explained_failures(config: TrainConfig) -> Iterator[None]:
    """Turn torch's errors that a person can fix into TrainingError; any other passes.

    Raises:
        TrainingError: out of memory, another process ended, or --compile found no compiler.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; on CPUs it is a plain one.
        if isinstance(error, DistError) or any(word in str(error) for word in LOST):
            raise TrainingError(
                "another process of this run ended or can't be reached; continue with: {command}",
                command=Message(resume_command())
            ) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise TrainingError(
                "--compile failed, which needs a C++ compiler: leave it out ({reason})",
                reason=" ".join(str(error).split())[:200],
            ) from error
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise TrainingError(
            "out of memory with --crop_size {crop_size} --batch_size {batch_size}. Try --batch_size 1, "
            "--gradient_checkpointing, a smaller --crop_size, or --ngf {ngf}",
            crop_size=config.data.crop_size, batch_size=config.optim.batch_size, ngf=max(1, config.model.ngf // 2),
        ) from error
