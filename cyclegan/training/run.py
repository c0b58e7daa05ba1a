"""A run's folder while it is being trained: made, locked, resumed, and written to beside the training."""

from __future__ import annotations

import logging
import os
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from cyclegan.checkpoints.format import (
    CheckpointConfig,
    explained_writes,
    save_checkpoint,
)
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.checkpoints.training_state import (
    list_training_states,
    load_training_state,
    prune_training_states,
    save_training_state,
    state_folder,
)
from cyclegan.config import TrainConfig
from cyclegan.errors import CheckpointError
from cyclegan.files import read_json, remove_leftovers, whole_folder, write_json
from cyclegan.images import to_image
from cyclegan.training.trainer import Trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moment:
    """All of a trainer that is written to disk, as it was at one moment: what is trained later does not change it.

    It lives in the host's memory: four networks, two moments of Adam for each of their weights, the pools, and
    another copy of the generators; for ResNet-9 at 256² about half a GiB, while it is written.
    """

    state: dict[str, Any]
    """What `Trainer.state_dict` gives, tensors on the CPU."""
    weights: dict[str, dict[str, torch.Tensor]]
    """State dicts of the generators that a checkpoint holds, by name."""
    pictures: dict[str, int]
    """How many pictures each split has."""

    @classmethod
    def of(cls, trainer: Trainer) -> Moment:
        """This moment; waits for the device."""
        weights = {name: network.state_dict() for name, network in trainer.published_generators().items()}
        pictures = {name: len(getattr(trainer.data, name)) for name in ("train_a", "train_b", "test_a", "test_b")}
        return cls(_copied(trainer.state_dict()), _copied(weights), pictures)

    @property
    def epoch(self) -> int:
        """Completed epochs."""
        return self.state["shared"]["epoch"]

    @property
    def global_step(self) -> int:
        """Steps in all."""
        return self.state["shared"]["global_step"]

    @property
    def skipped_steps(self) -> int:
        """Steps in all that changed nothing, since their losses were not finite."""
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


class Writer:
    """Writes what an epoch leaves while the next one is trained: one piece of work at a time, in a thread.

    Used as a context: at its end everything that was handed over has been done, or its failure is raised (or logged, if
    the context ends with an error of its own). With several processes each piece is done at once, since they wait for
    each other in it, which in a thread beside the training could come between the training's own exchanges.

    Args:
        trainer: asked to stop as soon as a piece has failed.
    """

    def __init__(self, trainer: Trainer) -> None:
        alone = trainer.accelerator.num_processes == 1
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer") if alone else None
        self._trainer = trainer
        self._last: Future[None] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.wait()
        except Exception as failure:
            if error is None:
                raise
            log.error("%s", failure)  # The training's own error goes on; neither hides the other.
        finally:
            if self._pool is not None:
                self._pool.shutdown()

    def wait(self) -> None:
        """Until everything that was handed over is done. Raises what went wrong with it, once."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def hand_over(self, work: Callable[[], None]) -> None:
        """Have it done, after what was handed over before. Raises what went wrong with that."""
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


class Run:
    """OUTPUT_DIR of a training run. Every process makes one; only the main process writes, but for its state.

    Args:
        restore: for `--resume auto` into a folder without a run: puts one there that is kept elsewhere, if there is
            one, and returns what to say of it.

    Raises:
        CheckpointError: the folder can't be written, is in use, holds another run, or can't be resumed.
    """

    def __init__(self, config: TrainConfig, accelerator: Any, *, restore: Callable[[], str] | None = None) -> None:
        self.config, self.accelerator, self._restore = config, accelerator, restore
        self.folder = Path(config.run.output_dir)
        self.is_main = accelerator.is_main_process
        self._lock: FileLock | None = None
        self.notes: list[str] = []
        """Sentences for the log: what was resumed, what changed."""

    def __enter__(self) -> Run:
        if self.is_main:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.folder):
                    pass  # Found out now rather than after the first epoch.
            except OSError as error:
                reason = error.strerror or error
                raise CheckpointError(
                    "--output_dir {folder} can't be written ({reason}); choose another folder or make it writable",
                    folder=self.folder, reason=reason,
                ) from error
            self._take_lock()
            try:
                for folder in (self.folder, self.folder / "training_state"):
                    remove_leftovers(folder)
                self._fetch()
                self._refuse_to_overwrite()
                self.run_id = self._describe()
            except BaseException:
                self.__exit__()
                raise
        self.accelerator.wait_for_everyone()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _take_lock(self) -> None:
        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            self._lock = None
            raise CheckpointError(
                "another process is training into {folder}; wait for it, or choose another --output_dir",
                folder=self.folder,
            ) from error

    def _fetch(self) -> None:
        empty = not list_training_states(self.folder) and not any(self.folder.glob("epoch-*"))
        if empty and self._restore and self.config.run.resume == "auto" and (said := self._restore()):
            self.notes.append(said)

    def _refuse_to_overwrite(self) -> None:
        states = list_training_states(self.folder)
        has_epochs = any(self.folder.glob("epoch-*"))
        if self.config.run.resume == "none" and (states or has_epochs):
            raise CheckpointError(
                "{folder} already holds a run; add --resume auto to continue it, or choose another --output_dir",
                folder=self.folder,
            )
        if self.config.run.resume == "auto" and has_epochs and not states:
            raise CheckpointError(
                "{folder} holds checkpoints but no training state to continue from; choose another --output_dir",
                folder=self.folder,
            )

    def _describe(self) -> str:
        """Write run.json, or compare with it; the run's id."""
        path, values = self.folder / "run.json", self.config.to_json()
        before: dict[str, Any] = {}
        if path.exists():
            try:
                before = read_json(path, error=CheckpointError)
            except CheckpointError as error:
                self.notes.append(f"{error}; a new one is written, and the settings can't be compared")
        # A run that ended before it had anything to continue from binds nobody.
        begun = bool(list_training_states(self.folder))
        groups = before.get("config") if begun and isinstance(before.get("config"), dict) else {}
        for group, new in values.items():
            old = groups.get(group) if isinstance(groups.get(group), dict) else {}
            for name in sorted(new.keys() & old.keys() - {"output_dir", "resume"}):
                # A state that came from the Hub knows the data set's name, not its folder here.
                if old[name] == new[name] or name == "dataset" and old[name] == Path(str(new[name])).resolve().name:
                    continue
                if group == "model" or name == "method":
                    raise CheckpointError(
                        "{folder} was trained with --{name} {old}, not {new}; its networks can't be continued with "
                        "other ones: choose another --output_dir",
                        folder=self.folder, name=name, old=old[name], new=new[name],
                    )
                then, now = (("off", "on")[v] if isinstance(v, bool) else v for v in (old[name], new[name]))
                self.notes.append(f"--{name} was {then} when this run began, now {now}")
        run_id = str(before.get("run_id") or uuid.uuid4().hex)
        with explained_writes(path):
            write_json(path, {"run_id": run_id, "config": values})
        return run_id

    # --- resuming -------------------------------------------------------------------------------------------

    def resume(self, trainer: Trainer) -> None:
        """Load the training state that `--resume` asks for into `trainer`, or save the very first one.

        Raises:
            CheckpointError: the named state is missing or damaged, or none can be read.
        """
        resume, index = self.config.run.resume, self.accelerator.process_index
        if resume not in ("auto", "none"):
            folder = Path(resume)
            if not (folder / "state.pt").is_file():
                raise CheckpointError(
                    "--resume {resume} is not a training state: a folder that holds state.pt",
                    resume=resume,
                )
            states = list_training_states(self.folder)
            if states and folder.resolve() != states[0].path.resolve():
                raise CheckpointError(
                    "{folder} has gone on beyond {folder_2} already; continue from there in another --output_dir, "
                    "so that nothing is overwritten",
                    folder=self.folder, folder_2=folder.name,
                )
            candidates = [folder]
        else:
            candidates = [state.path for state in list_training_states(self.folder)] if resume == "auto" else []
        error: CheckpointError | None = None
        for folder in candidates:
            state = None
            try:
                state = load_training_state(folder, process_index=index)
            except CheckpointError as damage:
                error = damage
            if trainer.any_process(state is None):  # All must continue from the same state.
                error = error or CheckpointError("another process can't read its part of {folder}", folder=folder)
                self.notes.append(f"{error}; trying the one before it")
                continue
            self._load(trainer, state, folder)
            return
        if error is not None:
            raise CheckpointError(
                "{reason}, and there is no other; choose another --output_dir",
                reason=error,
            ) from error
        # A state from the beginning: a crash in the first epoch resumes too, and a disk that is too small
        # for what each epoch will write shows now.
        self.save_state(Moment.of(trainer))

    def _load(self, trainer: Trainer, state: dict[str, Any], folder: Path) -> None:
        """Continue from a state that was read."""
        shared, processes = state["shared"], state["shared"]["num_processes"]
        if processes != self.accelerator.num_processes:
            if shared["step_in_epoch"]:
                raise CheckpointError(
                    "{folder} was saved amid an epoch by {processes} processes; resume it with as many",
                    folder=folder, processes=processes,
                )
            self.notes.append(f"the run had {processes} processes; results will differ from theirs")
        if shared["step_in_epoch"] >= trainer.steps_per_epoch:
            raise CheckpointError(
                "{folder} was saved after step {shared} of an epoch, which now has {steps_per_epoch}; resume it "
                "with the pictures and the --batch_size that it had",
                folder=folder, shared=shared['step_in_epoch'], steps_per_epoch=trainer.steps_per_epoch,
            )
        try:
            trainer.load_state_dict(state)
        except (RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError(
                "{folder} holds other networks than these flags describe; resume it with the --generator, --ngf, "
                "--discriminator, --ndf and so on that it was trained with",
                folder=folder,
            ) from error
        self.notes.append(f"resumed from {folder.name} ({trainer.epoch} epochs done, step {trainer.global_step})")
        if folder.resolve() != state_folder(self.folder, trainer.global_step).resolve():
            self.save_state(Moment.of(trainer))  # Another run's: from here on this one stands by itself.

    # --- writing --------------------------------------------------------------------------------------------

    def save_state(self, moment: Moment) -> Path:
        """Save the training state, then drop the oldest beyond `--keep_training_state`. Called on every process."""
        target = state_folder(self.folder, moment.global_step)
        state, index = moment.state, self.accelerator.process_index
        if self.accelerator.num_processes == 1:
            with explained_writes(target), whole_folder(target) as folder:
                save_training_state(folder, state, process_index=0)
        else:
            shared = target.with_name(f".{target.name}.part")
            with explained_writes(target):
                shared.mkdir(parents=True, exist_ok=True)
                save_training_state(shared, state, process_index=index)
            self.accelerator.wait_for_everyone()
            if self.is_main:
                with explained_writes(target), whole_folder(target) as folder:
                    for path in shared.iterdir():
                        os.rename(path, folder / path.name)
                shared.rmdir()
        if self.is_main:
            prune_training_states(self.folder, self.config.run.keep_training_state)
        self.accelerator.wait_for_everyone()
        return target

    def save_examples(self, samples: dict[str, Any], count: int = 4) -> None:
        """Put the first fixed test pictures into RUN/examples, which the app offers: a_1.png …, b_1.png …"""
        folder = self.folder / "examples"
        if folder.exists():
            return
        with explained_writes(folder), whole_folder(folder) as part:
            for domain in ("a", "b"):
                for number, picture in enumerate(samples[f"real_{domain}"][:count], 1):
                    to_image(picture).save(part / f"{domain}_{number}.png")

    def save_epoch(
        self,
        moment: Moment,
        *,
        losses: dict[str, float],
        metrics: dict[str, float],
        samples: dict[str, Any],
    ) -> Path:
        """Write the checkpoint of the epoch completed at that moment. Called on the main process."""
        previous = None
        if moment.epoch > 1:
            try:
                source = LocalSource(self.folder)
                earlier = [info for info in source.list() if info.epoch < moment.epoch]
                previous = earlier[0].commit_sha if earlier else None
            except CheckpointError:
                previous = None
        record = {
            "global_step": moment.global_step,
            "images_seen": moment.global_step * self.config.optim.batch_size * self.accelerator.num_processes,
            "pictures": moment.pictures,
            "losses": losses,
            "metrics": metrics,
            "skipped_steps": moment.skipped_steps,
            "seeds": {"run": self.config.run.seed},
            "weights": "ema" if moment.state["shared"]["ema"] else "raw",
            "run_id": self.run_id,
            "parent": previous,
        }
        return save_checkpoint(
            self.folder,
            epoch=moment.epoch,
            weights=moment.weights,
            config=CheckpointConfig.of(self.config),
            record=record,
            samples=samples,
            half=self.config.run.save_precision == "fp16",
        )
