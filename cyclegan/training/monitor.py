"""The progress of a training: bar, one line per epoch, metrics.jsonl, curves, trackers."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from cyclegan.checkpoints.format import explained_writes
from cyclegan.checkpoints.progress import MetricsLog, Progress
from cyclegan.config import Direction, TrainConfig
from cyclegan.errors import Message, UserError, message, number_of, rounded
from cyclegan.evaluation.collapse import warnings as collapse_warnings
from cyclegan.evaluation.figures import figure_of
from cyclegan.evaluation.samples import (
    DIVERSITY_SAMPLES,
    TranslatedSamples,
    sample_grid,
    sample_metrics,
    translate_samples,
)
from cyclegan.training.averages import RunningMeans
from cyclegan.training.curves import draw_curves
from cyclegan.training.progress import ProgressWriter
from cyclegan.training.run import Run
from cyclegan.training.trackers import start_tracker
from cyclegan.training.trainer import Trainer

if TYPE_CHECKING:
    from cyclegan.training.scoring import EpochScores


LOOK_S = 4.0
"""Pause between looks at the losses on the device, for the bar and for the app's pages."""


def _brief(losses: dict[str, float]) -> dict[str, str]:
    """Return one short figure for each kind of loss: the mean over directions, in the order of the losses."""
    values: dict[str, list[float]] = {}
    for name, value in losses.items():
        figure, _ = figure_of(name)
        values.setdefault(figure.short or figure.key if figure else name, []).append(value)
    return {name: rounded(sum(found) / len(found), ".3f") for name, found in values.items()}


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"the CPU with {number_of(threads, 'thread')}" if device.type == "cpu" else str(device)


def _pace_text(rate: float) -> str:
    """Return e.g. "0.15 images/s" or "4,950 images/s", never with an exponent of ten."""
    return f"{rate:,.0f} images/s" if rate >= 1000 else f"{rate:.3g} images/s"


def _clock(seconds: float) -> str:
    return tqdm.format_interval(max(0, int(seconds)))


@dataclass(frozen=True)
class EpochResult:
    """The results of an epoch whose steps are done."""

    losses: dict[str, float]
    """Means over its steps."""
    metrics: dict[str, float]
    """See `sample_metrics`."""
    grids: dict[Direction, Image.Image]
    """Sample grids of the fixed pictures, by direction."""
    lines: list[str | Message]
    """Its summary and warnings, to print when its checkpoint has been written."""


class Monitor:
    """Shows and records a run's progress; does nothing on other processes than the main one."""

    def __init__(self, config: TrainConfig, trainer: Trainer, accelerator: Accelerator) -> None:
        self.config, self.trainer, self.accelerator = config, trainer, accelerator
        self.is_main = accelerator.is_main_process
        self._names = {"a": config.data.domain_a, "b": config.data.domain_b}
        self.log = MetricsLog(Path(config.run.output_dir))
        self.window = RunningMeans()
        self._first, self._excluded = True, 0.0
        self._usual: float | None = None
        """Seconds per step in the last epoch."""
        self.started, self.first_step = time.monotonic(), trainer.global_step
        self._losses: dict[str, float] = {}
        self._rows = 0
        """Lines of losses in this epoch."""
        """The last that were read from the device."""
        self._writer: ProgressWriter | None = None
        self._samples: dict[str, Any] = {}
        self.bar: tqdm | None = None
        self._scores: EpochScores | None = None
        if self.is_main:
            with explained_writes(self.log.path):
                self.log.rewind(trainer.global_step, trainer.epoch)
        start_tracker(config, accelerator)
        self._show_start()

    def _show_start(self) -> None:
        """Print and record device and precision, because a run may continue on another machine."""
        accelerator, trainer = self.accelerator, self.trainer
        device, precision = _device_name(accelerator.device), accelerator.mixed_precision
        processes = accelerator.num_processes
        where = f"{processes} processes on {device}" if processes > 1 else device
        self.say(f"training on {where}, in {'fp32' if precision == 'no' else f'{precision} mixed precision'}")
        self.say(f"method {self.config.run.method}: {self.config.loss.describe()}")
        start = {"event": "start", "epoch": trainer.epoch + 1, "step": trainer.global_step, "losses": {}}
        self._record(start | {"device": device, "processes": processes, "mixed_precision": precision})

    def say(self, text: str | Message | UserError) -> None:
        """Print a line without tearing the bar."""
        if self.is_main:
            tqdm.write(str(text), file=sys.stderr)

    def begin(self, run: Run) -> dict[str, Any]:
        """Print the run's notes, keep its examples, and return the fixed test pictures; {} on other processes."""
        config, data = self.config.run, self.trainer.data
        notes = list(run.notes)
        if data.test_is_train:
            notes.append(data.no_test_note)
        if config.compile:
            notes.append(message("compiling: the first step takes minutes; it takes seconds once torch has cached it"))
        for note in notes:
            self.say(note)
        if not self.is_main:
            return {}
        if config.evaluate_every:
            from cyclegan.training.scoring import EpochScores  # Imported here, because most runs don't need timm.

            self._scores = EpochScores(self.config, self.accelerator.device)
        samples = data.samples(max(config.sample_count, DIVERSITY_SAMPLES))
        run.save_examples(samples, self.trainer.method.directions)
        self._samples, self._writer = samples, run.progress
        if self._writer is not None:
            self._writer.follow(self.progress)
        return samples

    def progress(self) -> Progress:
        """Return how far the training is; waits for nothing, and may be called by another thread."""
        trainer, epochs = self.trainer, self.config.optim.total_epochs
        left = run_left = None
        if trainer.global_step > self.first_step or self._usual is not None:
            _, run_left, left = self._pace(time.monotonic() - self.started)
        return Progress(
            "training" if trainer.epoch < epochs else "done", epoch=trainer.epoch + 1, epochs=epochs,
            step=trainer.step_in_epoch, steps=trainer.steps_per_epoch, run_step=trainer.global_step,
            # Pages draw curves of the recorded lines as soon as there are two.
            seconds_left=left, run_seconds_left=run_left, losses=self._losses if self._rows < 2 else {},
            domains=self._names,
        )  # fmt: skip

    def request_stop(self) -> None:
        """Stop the training after this step; for signal handlers."""
        self.trainer.stop_requested = True
        self.say(message("stopping after this step, then saving; once more to stop at once"))

    def request_requeue(self) -> None:
        """Stop the training after this step, because its scheduler will start it again; for signal handlers."""
        if not self.trainer.requeue_requested:
            self.say(message("stopping after this step, then saving, because of SIGUSR1"))
        self.trainer.stop_requested = self.trainer.requeue_requested = True

    def announce(self, result: EpochResult, epoch: int, step: int) -> None:
        """Draw the curves, print the lines of an epoch that has been written, and score it if it is its turn."""
        self.draw_curves()
        for line in result.lines:
            self.say(line)
        if self._scores is not None and (row := self._scores.after(epoch, step, self.say)) is not None:
            self._record(row)
            self.draw_curves()

    def start_epoch(self) -> None:
        """Open the epoch's bar."""
        trainer = self.trainer
        self.started, self.first_step = time.monotonic(), trainer.global_step
        self._shown, self._losses, self._rows = 0.0, {}, 0
        if self.is_main:
            tty = sys.stderr.isatty()
            self.bar = tqdm(
                total=trainer.steps_per_epoch,
                initial=trainer.step_in_epoch,
                desc=f"epoch {trainer.epoch + 1}/{self.config.optim.total_epochs}",
                unit="step",
                dynamic_ncols=tty,
                ncols=None if tty else 150,
                mininterval=0.5 if tty else 30.0,
                leave=False,
                bar_format="{desc} {percentage:3.0f}%|{bar:12}| {n}/{total} [{elapsed}{postfix}]",
            )

    def on_step(self, losses: dict[str, Tensor]) -> None:
        """Record a step's losses and update the bar. Reads losses from the device only when one is due."""
        self.window.add(losses)
        trainer = self.trainer
        if self._first and trainer.steps_per_epoch > 1:  # It loads and compiles kernels, so it isn't timed.
            self._first, self._excluded = False, time.monotonic() - self.started
            self.started, self.first_step = time.monotonic(), trainer.global_step
        if trainer.global_step % self.config.run.log_every == 0:
            means = self.window.means()
            self.window.clear()
            if means:
                self._losses, self._rows = means, self._rows + 1
                row = {"event": "step", "epoch": trainer.epoch + 1, "step": trainer.global_step, "losses": means}
                self._record(row)
            self.accelerator.log({f"loss/{name}": value for name, value in means.items()}, step=trainer.global_step)
        if self.bar is not None:
            self.bar.update(1)
            now = time.monotonic()
            if now - self._shown >= min(self.bar.mininterval, LOOK_S) and losses:
                self._shown = now
                self._losses = values = {name: float(value) for name, value in losses.items()}
                shown = _brief({name: value for name, value in values.items() if math.isfinite(value)})  # Not skipped.
                text = " ".join(f"{name} {value}" for name, value in shown.items())
                if trainer.global_step > self.first_step:  # Else no step has been timed yet.
                    rate, left, _ = self._pace(now - self.started)
                    text = f"{_pace_text(rate)}, {_clock(left)} left, {text}"
                self.bar.set_postfix_str(text, False)
        every, is_last = self.config.run.samples_every, trainer.step_in_epoch == trainer.steps_per_epoch
        if self._writer is not None and every and trainer.global_step % every == 0 and not is_last:
            self._show_samples(self._writer)

    def _show_samples(self, writer: ProgressWriter) -> None:
        """Translate the first test pictures with the present networks; the training continues bit for bit as without.

        Waits for the device; the grids are drawn and written in the writer's thread.
        """
        trainer, device, count = self.trainer, self.accelerator.device, self.config.run.sample_count
        samples = {name: pictures[:count] for name, pictures in self._samples.items()}
        with torch.random.fork_rng([device] if device.type == "cuda" else []), self.accelerator.autocast():
            translated = translate_samples(samples, trainer.published_generators(), device)
        for network in trainer.method.networks.values():
            network.train()
        writer.show(trainer.global_step, partial(self._grids, translated))

    def _grids(self, translated: Mapping[Direction, TranslatedSamples]) -> dict[Direction, Image.Image]:
        count, values = self.config.run.sample_count, self.config.data.values
        return {way: sample_grid(made, self._names, count=count, values=values) for way, made in translated.items()}

    def _pace(self, seconds: float) -> tuple[float, float, float]:
        """Return the pictures of each domain per second, over all processes, and the seconds left in the run and the
        epoch.

        Args:
            seconds: that the epoch's steps took from `first_step` on.
        """
        trainer, optim = self.trainer, self.config.optim
        done = trainer.global_step - self.first_step
        steps, seconds = max(1, done), max(1e-9, seconds)
        each = seconds / steps
        if self._usual is not None:  # The first steps of an epoch say little, so the last epoch counts as some more.
            more = trainer.steps_per_epoch / 4
            each = ((seconds if done else 0.0) + more * self._usual) / (done + more)
        rate = steps * optim.batch_size * self.accelerator.num_processes / seconds
        to_go = (optim.total_epochs - trainer.epoch) * trainer.steps_per_epoch - trainer.step_in_epoch
        to_go = min(to_go, max(0, (optim.max_steps or math.inf) - trainer.global_step))
        return rate, to_go * each, (trainer.steps_per_epoch - trainer.step_in_epoch) * each

    def _record(self, row: dict[str, Any]) -> None:
        """Add a row to metrics.jsonl; a failure is only a warning, because the training matters more."""
        if self.is_main:
            try:
                self.log.append(row)
            except OSError as error:
                self.say(f"warning: couldn't write metrics.jsonl ({error.strerror or error})")

    def close_bar(self) -> None:
        """Take the bar off the screen."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def finish_epoch(self, samples: dict[str, Any], seconds: float) -> EpochResult:
        """Evaluate the epoch that has just ended, and record it before any step of the next one. On the main process.

        Args:
            samples: `Data.samples()`'s result.
            seconds: that the epoch's steps took.
        """
        trainer, optim = self.trainer, self.config.optim
        losses, skipped_steps = trainer.epoch_means.means(), trainer.skipped_steps
        metrics, grids = self._evaluate(samples)
        # A start may have no step but the first, whose time then counts after all.
        timed = trainer.global_step > self.first_step
        seconds_timed = seconds - self._excluded if timed else seconds
        rate, left, _ = self._pace(seconds_timed)
        self._usual = seconds_timed / max(1, trainer.global_step - self.first_step)
        self._excluded = 0.0
        epoch = trainer.epoch + bool(trainer.step_in_epoch)  # --max_steps may have cut it short.
        lr = trainer.schedule.lr(epoch)
        row = {"event": "epoch", "epoch": epoch, "step": trainer.global_step, "losses": losses}
        row |= {"metrics": metrics, "lr": lr, "images_per_second": rate, "seconds": seconds}
        self._record(row | {"skipped_steps": skipped_steps})
        values = {f"epoch/{name}": value for name, value in {**losses, **metrics}.items()}
        # Trackers refuse a step below an earlier one, so all of this comes before the next epoch's steps.
        self.accelerator.log({**values, "epoch/lr": lr, "epoch/images_per_second": rate}, step=trainer.global_step)
        for tracker in self.accelerator.trackers:
            if hasattr(tracker, "log_images"):
                # Grids differ in size between directions, so each goes alone.
                layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                for name, image in grids.items():
                    pixels = {f"samples/{name}": np.asarray(image)[None]}
                    tracker.log_images(pixels, step=trainer.global_step, **layout)
        text = "  ".join(f"{name} {value}" for name, value in _brief(losses).items())
        skipped = f"  skipped {skipped_steps}" if skipped_steps else ""
        line = (
            f"epoch {epoch}/{optim.total_epochs}  {text}  lr {lr:.2g}  {_pace_text(rate)}  "
            f"{_clock(seconds)}{skipped}  {_clock(left)} left  → epoch-{epoch:04d}"
        )
        found = collapse_warnings(metrics, self._names, self.config.loss, self.config.model.discriminator)
        warnings = [message("warning: {sentence}", sentence=each) for each in found]
        return EpochResult(losses, metrics, grids, lines=[line, *warnings])

    def adapt_schedule(self, result: EpochResult | None) -> None:
        """Let the schedule see a completed epoch's figures, None except on the main process. On every process.

        Epochs of `--freeze_first` don't count, because generators that don't learn can't improve.
        """
        if self.trainer.epoch <= self.config.optim.freeze_first:
            return
        losses, metrics = (result.losses, result.metrics) if result else ({}, {})
        if warning := self.trainer.schedule.observe(losses, metrics, self.accelerator):
            self.say(warning)

    def _evaluate(self, samples: dict[str, Any]) -> tuple[dict[str, float], dict[Direction, Image.Image]]:
        """Return figures and grids of the fixed test pictures."""
        trainer, device = self.trainer, self.accelerator.device
        count = sum(len(samples[f"real_{direction[0]}"]) for direction in trainer.method.directions)
        # Shown only where it takes long, e.g. by inversion on a CPU.
        bar = tqdm(total=count, desc="samples", unit="picture", dynamic_ncols=True, delay=5, leave=False)
        with self.accelerator.autocast(), bar:
            translated = translate_samples(samples, trainer.published_generators(), device, bar.update)
            metrics = sample_metrics(samples, translated, trainer.judges(), device, self.config.data.values)
        return metrics, self._grids(translated)

    def draw_curves(self) -> None:
        """Draw curves.png from metrics.jsonl; safe to call while the next epoch is trained."""
        run = Path(self.config.run.output_dir)
        first, *more = self.trainer.method.directions
        source, target = (self._names[domain] for domain in first)
        try:
            draw_curves(self.log.read(), run / "curves.png", f"{source} {'↔' if more else '→'} {target}", self._names)
        except OSError as error:
            self.say(f"warning: couldn't write curves.png ({error.strerror or error})")

    def close(self) -> None:
        """Finish bar and trackers."""
        self.close_bar()
        if self.config.run.report_to != "none":
            self.accelerator.end_training()
