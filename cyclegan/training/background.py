"""Writing in the background: a copy of the trainer's state, and the thread that writes while training continues."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from cyclegan.data.streams import Streamed
from cyclegan.training.trainer import Trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainerSnapshot:
    """A copy of the trainer's state that is safe to write while training continues.

    It takes the host's memory while it is written: all networks, two moments of Adam for each of their weights, the
    pools, and another copy of the generators; for CycleGAN with ResNet-9 at 256² about half a GiB.
    """

    state: dict[str, Any]
    """The result of `Trainer.state_dict`, tensors on the CPU."""
    weights: dict[str, dict[str, torch.Tensor]]
    """State dicts of the generators that a checkpoint holds, by name."""
    pictures: dict[str, int]
    """Number of pictures in each split whose pictures are counted."""

    @classmethod
    def of(cls, trainer: Trainer) -> TrainerSnapshot:
        """Return the state of this moment; waits for the device."""
        weights = {name: network.state_dict() for name, network in trainer.published_generators().items()}
        domains = {name: getattr(trainer.data, name) for name in ("train_a", "train_b", "test_a", "test_b")}
        pictures = {name: len(domain) for name, domain in domains.items() if not isinstance(domain, Streamed)}
        return cls(_copied(trainer.state_dict()), _copied(weights), pictures)

    @property
    def epoch(self) -> int:
        """Completed epochs."""
        return self.state["shared"]["epoch"]

    @property
    def step_in_epoch(self) -> int:
        """Steps of the epoch after those."""
        return self.state["shared"]["step_in_epoch"]

    @property
    def begun_epoch(self) -> int:
        """The number of the checkpoint that these weights make: of the last epoch, whole or cut short."""
        return self.epoch + bool(self.step_in_epoch)

    @property
    def global_step(self) -> int:
        """Steps in all."""
        return self.state["shared"]["global_step"]

    @property
    def skipped_steps(self) -> int:
        """Steps in all that changed nothing, because their losses were not finite."""
        return self.state["shared"]["skipped_steps"]


def _copied(value: Any) -> Any:
    """The same tree of dicts, lists and tuples with copies of its tensors, on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item) for item in value)
    return value


class BackgroundWriter:
    """A thread that writes an epoch's files while the next epoch is trained, one piece of work at a time.

    Use it as a context: at its end all queued work is done, or the first failure is raised (or logged, if the context
    ends with an error of its own). With several processes each piece is done at once instead, because they wait for
    each other in it; in a thread that could mix with the training's own exchanges.

    Args:
        trainer: asked to stop as soon as a piece of work fails.
    """

    def __init__(self, trainer: Trainer) -> None:
        alone = trainer.accelerator.num_processes == 1
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer") if alone else None
        self._trainer = trainer
        self._last: Future[None] | None = None

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.wait()
        except Exception as failure:
            if error is None:
                raise
            log.error("%s", failure)  # The training's own error is raised; neither hides the other.
        finally:
            if self._pool is not None:
                self._pool.shutdown()

    def wait(self) -> None:
        """Wait for queued writes; raise the first error once."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def submit(self, work: Callable[[], None]) -> None:
        """Queue a piece of work after the one before it, whose error is raised here."""
        self.wait()
        if self._pool is None:
            work()
        else:
            self._last = self._pool.submit(self._do, work)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            self._trainer.stop_requested = True
            raise
