"""Train on two sets of pictures; one checkpoint per epoch. `python train_accelerate.py --help`.

One process: python train_accelerate.py …    Several: accelerate launch train_accelerate.py …
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import os
import shlex
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

# Set before torch is imported, or it prints build warnings.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports must not print a traceback.

from cyclegan.cli.reference_flags import explain_training, refuse  # noqa: E402

if __name__ == "__main__":
    refuse(explain_training(sys.argv[1:]))  # Before torch is loaded, which takes seconds.

from tqdm import tqdm  # noqa: E402

from cyclegan.cli.config_file import settings_of_run  # noqa: E402
from cyclegan.cli.entry import run_command  # noqa: E402
from cyclegan.cli.flags import parse_train_config  # noqa: E402
from cyclegan.cli.signals import end_on_signals, requeue_status, stop_on_signals  # noqa: E402
from cyclegan.config import TrainConfig  # noqa: E402
from cyclegan.data import find_data, make_data, name_domains  # noqa: E402
from cyclegan.data.order import steps_in  # noqa: E402
from cyclegan.data.values import with_values  # noqa: E402
from cyclegan.errors import Message, message  # noqa: E402
from cyclegan.methods import METHODS  # noqa: E402
from cyclegan.training.background import BackgroundWriter, TrainerSnapshot  # noqa: E402
from cyclegan.training.initial import StartWeights, has_begun  # noqa: E402
from cyclegan.training.launch import explained_failures, make_accelerator, resume_command  # noqa: E402
from cyclegan.training.monitor import EpochResult, Monitor  # noqa: E402
from cyclegan.training.publishing import Publishing  # noqa: E402
from cyclegan.training.run import Run, check_resume  # noqa: E402
from cyclegan.training.saving import StateSaver  # noqa: E402
from cyclegan.training.semantic import open_segmenter  # noqa: E402
from cyclegan.training.trainer import Trainer  # noqa: E402


def train(config: TrainConfig) -> int:
    """Run the whole training and return the exit status."""
    check_resume(config.run.resume)
    config = replace(config, data=name_domains(config.data))
    accelerator, config = make_accelerator(config)
    paired = METHODS[config.run.method].paired
    config, splits = with_values(config, find_data(config.data, paired=paired))
    batch = (config.optim.batch_size, accelerator.num_processes, config.optim.gradient_accumulation_steps)
    steps_in(splits.epoch_length(config.data.max_images), *batch)  # Raises before anything is written or decoded.
    config, segmenter = open_segmenter(config, splits)
    hub = open_hub(config) if accelerator.is_main_process else Publishing()
    start = partial(open_start, config.run.init_from) if config.run.init_from else None
    with Run(config, accelerator, restore=hub.restore, start=start, splits=splits, segmenter=segmenter) as run:
        hub.check_run()
        data = make_data(
            splits,
            config.data,
            seed=config.run.seed,
            multiple=config.model.size_multiple,
            paired=paired,
            progress=accelerator.is_main_process,
            local_processes=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
            frames_within=config.loss.next_frames,
        )
        data.check_batch(*batch)  # Raises if too few pictures are left without the bad ones, or sizes differ.
        trainer = Trainer(config, data, accelerator, segmenter)
        run.resume(trainer)
        run.compare_pictures(data)
        monitor = Monitor(config, trainer, accelerator)
        samples = monitor.begin(run)
        stop_on_signals(monitor.request_stop, monitor.request_requeue)
        published, stopped, epochs = True, False, config.optim.total_epochs
        try:
            hub.start(trainer.epoch)
            with run.peers, BackgroundWriter(trainer) as writer:
                saver = StateSaver(config.run.save_state_every, trainer, lambda now: writer.submit(partial(
                    run.save_state, now)))  # fmt: skip

                def on_step(losses: dict[str, Any]) -> None:
                    monitor.on_step(losses)
                    saver.on_step()

                while trainer.epoch < epochs and not stopped and not trainer.limit_reached:
                    started = time.monotonic()
                    monitor.start_epoch()
                    completed = trainer.train_epoch(on_step)
                    monitor.close_bar()
                    seconds = time.monotonic() - started
                    writer.wait()  # If the epoch before could not be written, this one must not be recorded.
                    ended = completed or trainer.limit_reached  # With a checkpoint.
                    result = monitor.finish_epoch(samples, seconds) if ended and run.is_main else None
                    if completed:
                        monitor.adapt_schedule(result)
                    stopped = trainer.stopping or not ended
                    ending = stopped or trainer.epoch == epochs or trainer.limit_reached
                    snapshot = TrainerSnapshot.of(trainer)
                    writer.submit(partial(write_and_publish, snapshot, result, run, monitor, hub, ending=ending))
            monitor.say(stopped_note(trainer) if stopped else done_note(config, trainer, str(run.folder)))
        finally:
            published = hub.finish(stopped=trainer.stop_requested)
            monitor.close()
            data.close()
    return requeue_status() if stopped and trainer.requeueing else int(not published)


def write_and_publish(
    snapshot: TrainerSnapshot, result: EpochResult | None, run: Run, monitor: Monitor, hub: Publishing, *, ending: bool
) -> None:
    """Write and publish a snapshot, with the epoch if one was completed. Runs while the next epoch trains."""
    if result:
        run.save_epoch(snapshot, losses=result.losses, metrics=result.metrics, samples=result.grids)
    run.save_state(snapshot)  # After the checkpoint, so that a run never continues from an epoch that it doesn't hold.
    if result:
        monitor.announce(result, snapshot.begun_epoch, snapshot.global_step)
    hub.add(snapshot.begun_epoch if result else snapshot.epoch, snapshot.global_step, ending=ending)


def open_hub(config: TrainConfig) -> Publishing:
    """Return the hooks for the Hub, tried before any training; hooks that do nothing without `--push_to_hub`."""
    if not config.run.push_to_hub:
        return Publishing()
    from hub.training import TrainingHub  # Imported here, because most runs don't publish.

    return TrainingHub(config.run, say=lambda text: tqdm.write(str(text), file=sys.stderr))


@functools.cache
def open_start(text: str) -> StartWeights:
    """Return the weights that `--init_from` names."""
    from hub import open_source  # Imported here, because most runs start from random weights.

    return StartWeights(text, open_source)


def start_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that count where no flag gives them: the run's so far, or the networks' of its start."""
    run, resume = (Path(getattr(args, "output_dir", "")), getattr(args, "resume", "none"))
    known = settings_of_run(run) if resume != "none" and has_begun(run) else {}
    start = getattr(args, "init_from", None)
    return known or (dataclasses.asdict(open_start(start).model) if start else {})


def stopped_note(trainer: Trainer) -> Message:
    """Return the last line of a training that a signal stopped."""
    return message("stopped after step {step}; continue with: {command}", step=trainer.global_step,
                   command=Message(resume_command()))  # fmt: skip


def done_note(config: TrainConfig, trainer: Trainer, folder: str) -> Message:
    """Return the last line of a training that is done."""
    epoch, epochs = trainer.epoch, config.optim.total_epochs
    where = config.run.hub_model_id if config.run.push_to_hub else folder
    command = shlex.join(["python", "app.py", "--checkpoints", where])
    if trainer.limit_reached and epoch < epochs:
        return message(
            "done at step {step}, because of --max_steps {most}; see it with: {command}",
            step=trainer.global_step, most=config.optim.max_steps, command=command,
        )  # fmt: skip
    if epoch > epochs:
        return message(
            "nothing to train: this run has {epoch} epochs already, and --epochs and --decay_epochs add up to "
            "{epochs}; see them with: {command}",
            epoch=epoch, epochs=epochs, command=command,
        )  # fmt: skip
    return message(
        "done, with {epoch} of {n} epoch; see it with: {command}",
        "done, with {epoch} of {n} epochs; see them with: {command}", epochs, epoch=epoch, command=command,
    )  # fmt: skip


def main() -> int:
    """Parse the flags, train, and return the exit status."""
    end_on_signals()
    logging.basicConfig(format="%(levelname)s: %(message)s".lower(), level=logging.WARNING)

    def run() -> int:
        config = parse_train_config(follow=start_settings)
        with explained_failures(config):
            return train(config)

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
