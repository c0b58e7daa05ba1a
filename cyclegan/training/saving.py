"""Training states within an epoch: `--save_state_every`."""

from __future__ import annotations

import time
from collections.abc import Callable

from cyclegan.training.background import TrainerSnapshot
from cyclegan.training.trainer import Trainer

ASK_EVERY = 20
"""Steps between questions to the other processes whether the minutes are over, because each waits for the device."""


class StateSaver:
    """Saves the training state every N steps or minutes, wherever an epoch's end doesn't save it anyway.

    Args:
        every: `--save_state_every`: 2000steps, 15min or none.
        trainer: the running training.
        save: called with the trainer's snapshot, on every process after the same step.
    """

    def __init__(self, every: str, trainer: Trainer, save: Callable[[TrainerSnapshot], None]) -> None:
        self._trainer, self._save = trainer, save
        self._steps = int(every.removesuffix("steps")) if every.endswith("steps") else None
        self._seconds = 60.0 * int(every.removesuffix("min")) if every.endswith("min") else None
        self._step, self._time = trainer.global_step, time.monotonic()

    def on_step(self) -> None:
        """Save the state if it is time; called after each step."""
        trainer = self._trainer
        if trainer.step_in_epoch % trainer.config.optim.gradient_accumulation_steps:
            return  # Gradients that are being added up aren't part of a state.
        if not self._due():
            return
        self._step, self._time = trainer.global_step, time.monotonic()
        if trainer.step_in_epoch < trainer.steps_per_epoch:
            self._save(TrainerSnapshot.of(trainer))

    def _due(self) -> bool:
        if self._steps is not None:
            return self._trainer.global_step - self._step >= self._steps
        if self._seconds is None:
            return False
        over = time.monotonic() - self._time >= self._seconds
        if self._trainer.accelerator.num_processes == 1:
            return over
        return self._trainer.global_step % ASK_EVERY == 0 and self._trainer.any_process(over)
