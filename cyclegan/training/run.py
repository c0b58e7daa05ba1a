"""The folder of a run while it is trained: made, locked, resumed and written to."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from cyclegan.checkpoints.format import EPOCH_NAME, CheckpointConfig, explained_writes, save_checkpoint
from cyclegan.checkpoints.progress import read_progress
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.checkpoints.training_state import (
    list_training_states,
    load_training_state,
    prune_training_states,
    save_training_state,
    state_folder,
)
from cyclegan.config import Direction, TrainConfig
from cyclegan.data import Data
from cyclegan.data.domains import Splits
from cyclegan.data.fingerprints import (
    EARLIER,
    PICTURES,
    fingerprints,
    picture_changes,
    picture_notes,
    trained_pictures,
)  # fmt: skip
from cyclegan.errors import CheckpointError, Message, UserError, message
from cyclegan.evaluation.samples import DIVERSITY_SAMPLES
from cyclegan.files import nearest_folder, read_json, remove_leftovers, remove_whole, whole_folder, write_json
from cyclegan.images import to_image
from cyclegan.rasters import files
from cyclegan.rasters.raster import Origin, to_raster
from cyclegan.training.background import TrainerSnapshot
from cyclegan.training.changes import Change, changed_settings, other_pictures
from cyclegan.training.holding import hold
from cyclegan.training.initial import StartWeights
from cyclegan.training.launch import resume_command
from cyclegan.training.peers import Peers, check_shared, from_main
from cyclegan.training.progress import ProgressWriter
from cyclegan.training.semantic import SemanticSegmenter
from cyclegan.training.trainer import Trainer

EXAMPLES = 4
"""Test pictures per domain that a run offers to the app."""


def check_resume(resume: str) -> None:
    """Raise CheckpointError unless `--resume` is auto, none or a training state, before anything takes time."""
    folder = Path(resume)
    if resume in ("auto", "none") or (folder / "state.pt").is_file():
        return
    if states := list_training_states(folder):
        raise CheckpointError(
            "--resume {resume} is a run's folder: name its training state, {state}, or use --resume auto with "
            "--output_dir {resume}",
            resume=resume, state=states[0].path,
        )  # fmt: skip
    problem = message(
        "--resume {resume} is neither auto, which continues from the newest training state in --output_dir, nor a "
        "training state: a folder that holds state.pt",
        resume=resume,
    )
    if not os.path.isdir(folder) and (near := nearest_folder(folder)):
        problem = message("{problem} (did you mean {near}?)", problem=problem, near=near)
    raise CheckpointError(problem)


class Run:
    """The OUTPUT_DIR of a training run. Every process makes one; only the main process writes more than its state.

    Args:
        restore: for `--resume auto` into a folder without a run: fetches the run from elsewhere, if there is one, and
            returns a note about it, or nothing.
        start: returns the weights that a new run starts from; None for random ones.
        splits: the data set, to refuse another one than the run's; None compares nothing.
        segmenter: that of `--lambda_semantic`, to be recorded, and compared with the one of the start before.

    Raises:
        CheckpointError: the folder can't be written, is in use, holds another run or one of other pictures, or can't
            be resumed.
    """

    def __init__(
        self, config: TrainConfig, accelerator: Any, *, restore: Callable[[], Any] | None = None,
        start: Callable[[], StartWeights] | None = None, splits: Splits | None = None,
        segmenter: SemanticSegmenter | None = None,
    ) -> None:
        self.config, self.accelerator, self._restore, self._splits = config, accelerator, restore, splits
        self._segmenter = {"semantic_segmenter": segmenter.record} if segmenter else {}
        # A state that is named has its own weights.
        self._start = start if config.run.resume in ("auto", "none") else None
        self.folder = Path(config.run.output_dir)
        self.is_main = accelerator.is_main_process
        self._lock: FileLock | None = None
        self.run_id: str | None = None
        """On the main process."""
        self.peers: Peers | None = None
        """Ends this process if another one is dead or frozen."""
        self.progress: ProgressWriter | None = None
        """Shows the app how far the training is; on the main process."""
        self._restored = False
        self._forgotten = False
        """An earlier start had begun to train here, and left nothing that is kept."""
        self._measured_on: dict[str, str] = {}
        self.idle = False
        """True if there is nothing left to train."""
        self.notes: list[Message | UserError | str] = []
        """Sentences for the log, about what was resumed and what changed."""

    def __enter__(self) -> Run:
        self.peers = Peers(self.accelerator, resume_command())
        try:
            if self.is_main:
                self._open()
            self.accelerator.wait_for_everyone()
            check_shared(self.folder, self.run_id, self.accelerator)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self) -> None:
        """Make the folder and hold it, see what is in it, and describe this start; on the main process."""
        self._lock, notes = hold(self.folder)
        remove_leftovers(self.folder)
        for inner in ("training_state", "samples"):
            remove_leftovers(self.folder / inner)
        self._forget_untrained()
        self._fetch()
        self._refuse_to_overwrite()
        self.run_id = self._describe()
        self.progress = ProgressWriter(self.folder)
        self.notes += notes

    def __exit__(self, *_: object) -> None:
        if self.peers is not None:
            self.peers.close()
            self.peers = None
        if self.progress is not None:
            self.progress.close()
            self.progress = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _forget_untrained(self) -> None:
        """Remove what a start that never completed an epoch or saved a step left, because it must bind nobody.

        Its state is that of the beginning, which a new start makes again. run.json remains, for the note about what
        differs. A kill on the way leaves the folder untrained.
        """
        (*others, first) = list_training_states(self.folder) or [None]
        if first is None or others or first.global_step or any(self.folder.glob("epoch-*")):
            return
        if self.config.run.resume not in ("auto", "none") and Path(self.config.run.resume).resolve() == (
            first.path.resolve()
        ):
            return  # Asked for by its name.
        self._forgotten = True
        try:
            for name in ("examples", "metrics.jsonl", PICTURES):
                remove_whole(self.folder / name)
            remove_whole(first.path)
        except OSError as error:
            raise CheckpointError(
                "{folder} can't be replaced ({reason}); choose another --output_dir", folder=first.path, reason=error
            ) from error

    def _fetch(self) -> None:
        empty = not list_training_states(self.folder) and not any(self.folder.glob("epoch-*"))
        if empty and self._restore and self.config.run.resume == "auto" and (note := self._restore()):
            self.notes.append(note)
            self._restored = True
            self._forget_untrained()

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
        """Compare the settings with run.json's, write run.json, and return the run's id."""
        path, values = self.folder / "run.json", self.config.to_json()
        before: dict[str, Any] = {}
        if path.exists():
            try:
                before = read_json(path, error=CheckpointError)
            except CheckpointError as error:
                self.notes.append(message(
                    "{reason}; a new one is written, and the settings can't be compared", reason=error
                ))  # fmt: skip
        begun = bool(list_training_states(self.folder))
        untrained = not begun and not any(self.folder.glob("epoch-*"))
        changes = changed_settings(self.folder, before.get("config"), values, begun=begun)
        if begun:
            self._check_pictures(changes)
            self.notes += [
                message("--{name} was {then} at the last start, now {now}", name=name, then=then, now=now)
                for name, then, now in changes
            ]
            self._compare_segmenters(before)
        elif self._forgotten and changes:  # Nobody takes a start that ended before it trained for a run.
            self.notes.append(message(
                "the last start in {folder} ended before any of its training was saved, so this one starts afresh: "
                "{differences}",
                folder=self.folder,
                differences="; ".join(f"--{name} was {then}, now {now}" for name, then, now in changes),
            ))  # fmt: skip
        # A fresh start is another run, or its epochs would pass for those that the Hub may have of the one before.
        known = before.get("run_id") if self._restored or not untrained else None
        run_id = str(known or uuid.uuid4().hex)
        started = before.get("started_from") if begun else self._start and self._start().record()
        self._started_from = started if isinstance(started, dict) else None
        if begun and self._is_done():
            # Nothing will be trained, so what it was trained with stays recorded.
            self.idle, self.notes = True, []
            return run_id
        with explained_writes(path):
            write_json(path, {"run_id": run_id, "config": values} | self._segmenter
                       | ({"started_from": self._started_from} if self._started_from else {}))  # fmt: skip
        return run_id

    def _is_done(self) -> bool:
        """Return whether the run has all the epochs that this start asks for."""
        progress = read_progress(self.folder)
        epochs = [int(name[1]) for path in self.folder.glob("epoch-*") if (name := EPOCH_NAME.fullmatch(path.name))]
        return progress is not None and progress.state == "done" and max(epochs, default=0) >= (
            self.config.optim.total_epochs
        )

    def _compare_segmenters(self, before: Mapping[str, Any]) -> None:
        """Note that the segmenter of the semantic term has other weights than at the start before."""
        then, now = (each.get("semantic_segmenter") for each in (before, self._segmenter))
        if isinstance(then, dict) and now and then.get("weights") != now["weights"]:
            self.notes.append(message(
                "warning: the segmenter of --lambda_semantic has other weights ({now}) than at the run's last start "
                "({then}), so its term differs from here on; --semantic_segmenter can name the former one's folder",
                now=now["weights"], then=then.get("weights"),
            ))  # fmt: skip

    def _check_pictures(self, changes: Sequence[Change]) -> None:
        """Raise CheckpointError if the run was trained on other pictures, which a named state continues with a note."""
        if self._splits is None:
            return
        found = other_pictures(self.folder, changes, self.config.data.dataset, self._splits)
        if found is None:
            return
        if self.config.run.resume != "auto":
            self.notes.append(message(
                "warning: this run was trained on other pictures ({found}); it continues with these", found=found
            ))  # fmt: skip
            return
        raise CheckpointError(
            "{folder} was trained on other pictures ({found}): choose another --output_dir; or, to continue it with "
            "these all the same, name its state: --resume {state}",
            folder=self.folder, found=found, state=list_training_states(self.folder)[0].path,
        )  # fmt: skip

    def compare_pictures(self, data: Data) -> None:
        """Note what changed in the data since the last start, and pictures in two places; record what is there now."""
        if not self.is_main or self.idle:
            return
        self._measured_on = data.measured_on(max(self.config.run.sample_count, DIVERSITY_SAMPLES))
        if now := fingerprints(data):
            self._compare_all(data, now)
        self._compare_measured()

    def _compare_all(self, data: Data, now: Mapping[str, Sequence[str]]) -> None:
        """Note what changed since the last start, by pictures.json, and pictures in two places; write it anew."""
        path, trained = self.folder / PICTURES, trained_pictures(self.folder)
        with contextlib.suppress(CheckpointError):  # Missing at the first start; damaged, there is nothing to compare.
            if changes := picture_changes(read_json(path, error=CheckpointError), now):
                self.notes.append(message(
                    "the pictures have changed since the last start ({changes}); training continues with those that "
                    "are there now",
                    changes=changes,
                ))  # fmt: skip
        self.notes += picture_notes(data, now, trained)
        earlier = sorted(trained.difference(now.get("train_a", ()), now.get("train_b", ())))
        with explained_writes(path):
            write_json(path, {**now, **({EARLIER: earlier} if earlier else {})})

    def _compare_measured(self) -> None:
        """Note that the pictures of samples and figures are others than those of the newest epoch."""
        before = ""
        with contextlib.suppress(CheckpointError):  # Raised if the folder holds no checkpoint.
            before = LocalSource(self.folder).list()[0].measured_pictures
        if before and before != self._measured_on["pictures"]:
            self.notes.append(message(
                "samples and figures are of other pictures from now on, so the figures of earlier epochs can't be "
                "compared with those of later ones"
            ))  # fmt: skip

    # --- resuming -------------------------------------------------------------------------------------------

    def resume(self, trainer: Trainer) -> None:
        """Load the training state that `--resume` asks for into `trainer`, or save the very first one.

        Raises:
            CheckpointError: the named state is missing or damaged, or none can be read.
        """
        resume, index = self.config.run.resume, self.accelerator.process_index
        if resume not in ("auto", "none"):
            check_resume(resume)
            folder = Path(resume)
            states = list_training_states(self.folder)
            if states and folder.resolve() != states[0].path.resolve():
                raise CheckpointError(
                    "{run} has trained beyond {state} already; continue from there in another --output_dir, "
                    "so that nothing is overwritten",
                    run=self.folder, state=folder.name,
                )
            candidates = [folder]
        else:
            found = [state.path for state in list_training_states(self.folder)] if resume == "auto" else []
            candidates = from_main(self.accelerator, found)  # Other computers may have an old listing.
        error: CheckpointError | None = None
        for folder in candidates:
            state = None
            try:
                state = load_training_state(folder, process_index=index)
            except CheckpointError as damage:
                error = damage
            if trainer.any_process(state is None):  # All must continue from the same state.
                error = error or CheckpointError("another process can't read its part of {folder}", folder=folder)
                self.notes.append(message("{reason}; trying the one before it", reason=error))
                continue
            self._load(trainer, state, folder)
            return
        if error is not None:
            raise CheckpointError(
                "{reason}, and there is no other; choose another --output_dir", reason=error
            ) from error
        if self._start:
            self.notes += self._start().load(trainer)
        # A state from the beginning, so that a crash in the first epoch resumes too, and a disk that is too small
        # for an epoch's files shows now.
        self.save_state(TrainerSnapshot.of(trainer))

    def _load(self, trainer: Trainer, state: dict[str, Any], folder: Path) -> None:
        """Continue from a state that was read."""
        shared, processes = state["shared"], state["shared"]["num_processes"]
        if processes != self.accelerator.num_processes:
            if shared["step_in_epoch"]:
                raise CheckpointError(
                    "{folder} was saved within an epoch by {n} process; resume it with as many",
                    "{folder} was saved within an epoch by {n} processes; resume it with as many",
                    processes, folder=folder,
                )
            self.notes.append(message(
                "the run had {n} process; results will differ from its",
                "the run had {n} processes; results will differ from theirs", processes,
            ))  # fmt: skip
        if shared["step_in_epoch"] >= trainer.steps_per_epoch:
            raise CheckpointError(
                "{folder} was saved after step {step} of an epoch, which now has {steps}; resume it with the pictures "
                "(--max_images, too) and the --batch_size that it had",
                folder=folder, step=shared["step_in_epoch"], steps=trainer.steps_per_epoch,
            )
        try:
            self.notes += trainer.load_state_dict(state)
        except (RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError(
                "{folder} holds other networks than these flags describe; resume it with the --generator, --ngf, "
                "--discriminator, --ndf and so on that it was trained with",
                folder=folder,
            ) from error
        self.notes.append(message(
            "resumed from {state} ({n} epoch done, step {step})", "resumed from {state} ({n} epochs done, step {step})",
            trainer.epoch, state=folder.name, step=trainer.global_step,
        ))  # fmt: skip
        # With more epochs than were planned, the learning rate falls anew, from higher up than where it had ended.
        was = next(iter(trainer.optimisers.values())).param_groups[0]["lr"]
        lr = trainer.schedule.lr(trainer.epoch + 1)
        if lr > was * 1.001 and trainer.epoch < self.config.optim.total_epochs:
            self.notes.append(message(
                "the learning rate rises from {was:.2g} to {lr:.2g}: --epochs, --decay_epochs and --lr plan it anew",
                was=was, lr=lr,
            ))  # fmt: skip
        if folder.resolve() != state_folder(self.folder, trainer.global_step).resolve():
            self.save_state(TrainerSnapshot.of(trainer))  # Another run's, of which this one must not depend.

    # --- writing --------------------------------------------------------------------------------------------

    def save_state(self, snapshot: TrainerSnapshot) -> Path:
        """Save the training state, then drop the oldest beyond `--keep_training_state`. Called on every process."""
        target = state_folder(self.folder, snapshot.global_step)
        index = self.accelerator.process_index
        with explained_writes(target):
            if self.accelerator.num_processes == 1:
                with whole_folder(target) as folder:
                    save_training_state(folder, snapshot.state, process_index=0)
            else:
                shared = target.with_name(f".{target.name}.part")
                shared.mkdir(parents=True, exist_ok=True)
                save_training_state(shared, snapshot.state, process_index=index)
                self.accelerator.wait_for_everyone()
                if self.is_main:
                    parts = [f"process-{number}.pt" for number in range(self.accelerator.num_processes)]
                    with whole_folder(target) as folder:
                        for name in ("state.pt", *parts):  # A listing may lack what other computers wrote just now.
                            os.rename(shared / name, folder / name)
                    shared.rmdir()
        if self.is_main:
            prune_training_states(self.folder, self.config.run.keep_training_state)
        self.accelerator.wait_for_everyone()
        return target

    def save_examples(self, samples: dict[str, Any], directions: Iterable[Direction]) -> None:
        """Put the first fixed test pictures into RUN/examples, which the app offers: a_1.png …, b_1.png …

        Args:
            samples: `Data.samples()`'s result.
            directions: those that the checkpoints translate; only their inputs are offered.
        """
        folder = self.folder / "examples"
        if folder.exists():
            return
        with explained_writes(folder), whole_folder(folder) as part:
            for domain in (direction[0] for direction in directions):
                values = self.config.data.values(domain)
                for number, picture in enumerate(samples[f"real_{domain}"][:EXAMPLES], 1):
                    path = part / f"{domain}_{number}"
                    if values.plain:
                        to_image(picture).save(f"{path}.png")
                    else:
                        raster = to_raster(picture, values, files.held(Origin(dtype="uint16"), values.low, values.high))
                        files.write(path.with_suffix(".tif"), raster)

    def save_epoch(
        self, snapshot: TrainerSnapshot, *, losses: dict[str, float], metrics: dict[str, float], samples: dict[str, Any]
    ) -> Path:
        """Write the checkpoint of the epoch that ended with the snapshot, whole or cut short by `--max_steps`.

        Called on the main process. A run that is continued replaces the checkpoint of an epoch that was cut short.
        """
        started_from = self._started_from
        previous = started_from.get("commit_sha") if started_from else None
        if snapshot.begun_epoch > 1:
            with contextlib.suppress(CheckpointError):  # Raised if the folder holds no checkpoint.
                earlier = (info for info in LocalSource(self.folder).list() if info.epoch < snapshot.begun_epoch)
                previous = next((info.commit_sha for info in earlier), previous)
        record = {
            "global_step": snapshot.global_step,
            "images_seen": snapshot.global_step * self.config.optim.batch_size * self.accelerator.num_processes,
            "pictures": snapshot.pictures,
            "losses": losses,
            "metrics": metrics,
            "skipped_steps": snapshot.skipped_steps,
            "seeds": {"run": self.config.run.seed},
            "weights": "ema" if snapshot.state["shared"]["ema"] else "raw",
            "run_id": self.run_id,
            "parent": previous,
        }
        if snapshot.step_in_epoch:
            record["ended_early"] = snapshot.step_in_epoch
        if self._measured_on:
            record["measured_on"] = self._measured_on
        if started_from:
            record["started_from"] = started_from
        record |= self._segmenter
        weights, networks = snapshot.weights, snapshot.state["shared"]["networks"]
        if self.config.run.save_discriminators:
            weights = weights | {name: state for name, state in networks.items() if name.startswith("disc")}
        return save_checkpoint(
            self.folder, epoch=snapshot.begun_epoch, weights=weights, config=CheckpointConfig.of(self.config),
            record=record, samples=samples, half=self.config.run.save_precision == "fp16",
        )  # fmt: skip
