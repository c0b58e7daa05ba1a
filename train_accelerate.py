"""Train on two sets of unpaired pictures; one checkpoint per epoch. `python train_accelerate.py --help`.

One process: python train_accelerate.py …    Several: accelerate launch train_accelerate.py …
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import time
from functools import partial
from pathlib import Path

# Before torch: a visitor's screen is no place for its build notes.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Nor for a traceback, where Ctrl-C meets imports.

import torch  # noqa: E402
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState  # noqa: E402
from accelerate.utils import parse_flag_from_env  # noqa: E402
from tqdm import tqdm  # noqa: E402

from cyclegan.cli.entry import run_command  # noqa: E402
from cyclegan.cli.flags import parse_train_config  # noqa: E402
from cyclegan.cli.signals import stop_on_signals  # noqa: E402
from cyclegan.config import TrainConfig  # noqa: E402
from cyclegan.data import open_data  # noqa: E402
from cyclegan.errors import ConfigError  # noqa: E402
from cyclegan.methods import METHODS  # noqa: E402
from cyclegan.training.monitor import Epoch, Monitor, check_tracker  # noqa: E402
from cyclegan.training.resolve import settle  # noqa: E402
from cyclegan.training.run import Moment, Run, Writer  # noqa: E402
from cyclegan.training.trainer import Trainer  # noqa: E402

DIVERSITY_SAMPLES = 8  # Pictures that collapse is watched on, even where the grid shows fewer.


def make_accelerator(config: TrainConfig) -> tuple[Accelerator, TrainConfig]:
    """The devices and processes that `accelerate` or `torchrun` started, or this one alone; nothing left on auto."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available():
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")  # Else each process would take itself for the only one.
    config = settle(config, PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).device)
    run = config.run
    if run.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError("--mixed_precision fp16 needs a GPU; use bf16 or no")
    if run.cuda_graphs and (not torch.cuda.is_available() or int(os.environ.get("WORLD_SIZE", "1")) > 1):
        raise ConfigError("--cuda_graphs needs a GPU, and one process: leave it out")
    # Pictures of one size: worth the time that finding the fastest kernels takes, as the reference does.
    torch.backends.cudnn.benchmark = not config.data.keeps_shape
    accelerator = Accelerator(
        mixed_precision=run.mixed_precision,
        gradient_accumulation_steps=config.optim.gradient_accumulation_steps,
        log_with=None if run.report_to == "none" else run.report_to,
        project_dir=run.output_dir,
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
    return accelerator, config


def write(moment: Moment, epoch: Epoch | None, run: Run, monitor: Monitor, hub, *, ending: bool) -> None:
    """Write a moment, with the epoch if one was completed, and tell the Hub; while the next epoch is trained."""
    if epoch:
        run.save_epoch(moment, losses=epoch.losses, metrics=epoch.metrics, samples=epoch.grids)
    run.save_state(moment)  # After the checkpoint: a run never goes on from an epoch that it does not hold.
    if epoch:
        monitor.draw_curves()
        for sentence in epoch.said:
            monitor.say(sentence)
    if hub:
        hub.add(moment.epoch, moment.global_step, ending=ending)


def open_hub(config: TrainConfig, accelerator: Accelerator):
    """Where epochs are published, found to work before any training; None if nowhere, or not by this process."""
    if not (config.run.push_to_hub and accelerator.is_main_process):
        return None
    from hub.training import TrainingHub  # Runs that don't publish don't pay for the import.

    return TrainingHub(config.run, say=lambda text: tqdm.write(text, file=sys.stderr))


def train(config: TrainConfig) -> int:
    """Run the whole training; the exit status."""
    check_tracker(config.run.report_to)
    accelerator, config = make_accelerator(config)
    hub = open_hub(config, accelerator)
    with Run(config, accelerator, restore=hub and hub.restore) as run:
        if hub:
            hub.check_run()
        data = open_data(
            config.data,
            seed=config.run.seed,
            multiple=config.model.size_multiple,
            paired=METHODS[config.run.method].paired,
            progress=accelerator.is_main_process,
            local_processes=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        )
        trainer = Trainer(config, data, accelerator)
        run.resume(trainer)
        monitor = Monitor(config, trainer, accelerator)
        if data.test_is_train:
            run.notes.append("the data set has no test pictures, so samples and figures are of training pictures")
        if config.run.compile:
            run.notes.append("compiling: the first step takes minutes, and seconds once torch has it in its cache")
        for note in run.notes:
            monitor.say(note)
        samples = data.samples(max(config.run.sample_count, DIVERSITY_SAMPLES)) if run.is_main else {}
        if run.is_main:
            run.save_examples(samples)

        def stop() -> None:
            trainer.stop_requested = True
            monitor.say("stopping after this step, then saving; once more to stop at once")

        stop_on_signals(stop)
        published, stopped, epochs = True, False, config.optim.total_epochs
        try:
            if hub:
                hub.start(trainer.epoch)
            with Writer(trainer) as writer:
                while trainer.epoch < epochs and not stopped:
                    started = time.monotonic()
                    monitor.start_epoch()
                    completed = trainer.train_epoch(monitor.on_step)
                    monitor.close_bar()
                    seconds = time.monotonic() - started
                    writer.wait()  # For the epoch before: nothing is written after what could not be.
                    epoch = monitor.finish_epoch(samples, seconds) if completed and run.is_main else None
                    stopped = trainer.stop_requested or not completed
                    ending = stopped or trainer.epoch == epochs
                    writer.hand_over(partial(write, Moment.of(trainer), epoch, run, monitor, hub, ending=ending))
            if stopped:
                monitor.say(f"stopped after step {trainer.global_step}; continue with: {resume_command()}")
            else:
                where = config.run.hub_model_id if config.run.push_to_hub else str(run.folder)
                see = shlex.join(["python", "app.py", "--checkpoints", where])
                monitor.say(f"done, with {trainer.epoch} of {epochs} epochs; see them with: {see}")
        finally:
            if hub:
                for number in (signal.SIGINT, signal.SIGTERM):  # Now either ends the waiting for the Hub.
                    signal.signal(number, signal.default_int_handler)
                published = hub.finish(stopped=trainer.stop_requested)
            monitor.close()
            data.close()
    return 0 if published else 1


def resume_command() -> str:
    """The command line that continues this run, ready to paste."""
    words, skip = [], False
    for word in sys.argv[1:]:
        if skip or word.split("=")[0] == "--resume":
            skip = not skip and "=" not in word
            continue
        words.append(word)
    processes = os.environ.get("WORLD_SIZE", "1")
    launcher = ["python"] if processes == "1" else ["torchrun", f"--nproc_per_node={processes}"]
    return shlex.join([*launcher, Path(sys.argv[0]).name, *words, "--resume", "auto"])


def main() -> int:
    """Parse, train, and turn what can be foreseen into a sentence."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.basicConfig(format="%(levelname)s: %(message)s".lower(), level=logging.WARNING)
    config = parse_train_config()
    try:
        return run_command(lambda: train(config))
    except RuntimeError as error:  # torch.OutOfMemoryError is one; on CPUs it is a plain one.
        if any(word in str(error) for word in ("Connection closed by peer", "Connection reset", "NCCL")):
            print(f"error: another process of this run ended; continue with: {resume_command()}", file=sys.stderr)
            return 1
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = " ".join(str(error).split())[:200]
            print(f"error: --compile failed, which needs a C++ compiler: leave it out ({reason})", file=sys.stderr)
            return 1
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        data, optim = config.data, config.optim
        print(
            f"error: out of memory with --crop_size {data.crop_size} --batch_size {optim.batch_size}. Try "
            "--batch_size 1, --gradient_checkpointing, a smaller --crop_size, "
            f"or --ngf {max(1, config.model.ngf // 2)}",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
