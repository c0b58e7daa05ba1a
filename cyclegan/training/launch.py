"""The start of a training in this process: devices and processes, the command that resumes it, torch's failures."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.utils import parse_flag_from_env

from cyclegan.config import TrainConfig
from cyclegan.errors import ConfigError, Message, TrainingError
from cyclegan.training.resolve import resolve_auto
from cyclegan.training.trackers import check_tracker


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
    config = resolve_auto(config, PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).device)
    run = config.run
    if run.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError("--mixed_precision fp16 needs a GPU; use bf16 or no")
    if run.cuda_graphs and (not torch.cuda.is_available() or int(os.environ.get("WORLD_SIZE", "1")) > 1):
        raise ConfigError("--cuda_graphs needs a GPU, and one process: leave it out")
    # With pictures of one size, the search for the fastest kernels pays off; the reference does it, too.
    torch.backends.cudnn.benchmark = not config.data.keeps_shape
    accelerator = Accelerator(
        mixed_precision=run.mixed_precision,
        gradient_accumulation_steps=config.optim.gradient_accumulation_steps,
        log_with=None if run.report_to == "none" else run.report_to,
        project_dir=run.output_dir,
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
    return accelerator, config


def resume_command() -> str:
    """Return the command line that continues this run, ready to paste."""
    words, skip = [], False
    for word in sys.argv[1:]:
        if skip or word.split("=")[0] == "--resume":
            skip = not skip and "=" not in word
            continue
        words.append(word)
    processes = os.environ.get("WORLD_SIZE", "1")
    launcher = ["python"] if processes == "1" else ["torchrun", f"--nproc_per_node={processes}"]
    return shlex.join([*launcher, Path(sys.argv[0]).name, *words, "--resume", "auto"])


@contextlib.contextmanager
def explained_failures(config: TrainConfig) -> Iterator[None]:
    """Turn torch's errors that a person can fix into TrainingError; any other passes.

    Raises:
        TrainingError: out of memory, another process ended, or --compile found no compiler.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; on CPUs it is a plain one.
        if any(word in str(error) for word in ("Connection closed by peer", "Connection reset", "NCCL")):
            raise TrainingError(
                "another process of this run ended; continue with: {command}", command=Message(resume_command())
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
