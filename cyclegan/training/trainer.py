"""One step, one epoch, saving and restoring the state. Writes no files."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn

from cyclegan.config import TrainConfig
from cyclegan.data import Data
from cyclegan.data.streams import StreamedData
from cyclegan.errors import ConfigError, Message, TrainingError, message
from cyclegan.images import normalise
from cyclegan.methods import Method, OptimiserGroup, build_method
from cyclegan.methods.method import Loss, bare
from cyclegan.training.averages import AveragedWeights, RunningMeans
from cyclegan.training.diff_augment import DiffAugment
from cyclegan.training.resolve import resolve_auto
from cyclegan.training.schedule import Schedule
from cyclegan.training.semantic import SemanticSegmenter

BAD_STEPS_IN_A_ROW = 10
LOOK_S = 1.0
"""Approximate seconds between looks at the device."""
NOT_FINITE_ADVICE = message(
    "resume from the last epoch with a lower --lr, with --mixed_precision no or bf16 instead of fp16, "
    "and look for pictures of a single colour"
)


class Trainer:
    """Trains a method's networks on pairs of batches.

    Args:
        config: the run; `config.run.seed` fixes the initial weights (from torch's global random state). Its open
            settings are resolved for the accelerator's device, except the precision, which is the accelerator's.
        data: from `cyclegan.data.open_data`.
        accelerator: device, precision and processes. Its gradient_accumulation_steps must be the config's.
        segmenter: of `--lambda_semantic`, see `open_segmenter`.

    Raises:
        ConfigError: the method can't accumulate gradients.
    """

    def __init__(
        self, config: TrainConfig, data: Data, accelerator: Accelerator, segmenter: SemanticSegmenter | None = None
    ) -> None:
        self.config = config = resolve_auto(config, accelerator.device)
        self.data, self.accelerator = data, accelerator
        self.global_step = 0
        self.epoch = 0
        """Completed epochs."""
        self.step_in_epoch = 0
        self.epoch_means = RunningMeans()
        self.stop_requested = False
        """Set it, e.g. from a signal handler, to stop after the current step."""
        self.requeue_requested = False
        """Set it as well if the scheduler that interrupts the training will start it again."""
        self._agreed = 0
        """The most that a process had asked for at the last look: 1 to stop, 2 to stop and be requeued."""
        # On the device: is this step bad; and the number of skipped ones: in all, in a row, and the most in a row.
        self._bad = torch.zeros((), dtype=torch.bool, device=accelerator.device)
        self._skipped = torch.zeros(3, dtype=torch.int64, device=accelerator.device)
        self._looked, self._looked_at, self._next_look = time.monotonic(), 0, 0

        torch.manual_seed(config.run.seed)
        self.method = build_method(config, process_index=accelerator.process_index)
        _check_accumulation(config, self.method.groups)
        if segmenter is not None:
            self.method.fixed = {**self.method.fixed, "segmenter": segmenter.reader}
        if type(self.method).prepare is not Method.prepare:
            self.method.prepare(_first_batch(config, data, accelerator))
        # Weights are equal everywhere; dropout and the like then differ between processes.
        torch.manual_seed(config.run.seed + 1_000_003 * (accelerator.process_index + 1))
        networks, published = self.method.networks, self.method.published
        for network in networks.values():
            if hasattr(network, "checkpointing"):
                network.checkpointing = config.run.gradient_checkpointing
            if config.run.channels_last:
                network.to(memory_format=torch.channels_last)
        if config.run.winograd:
            self.method.use_winograd()
        self.diff_augment = DiffAugment(config.data.diff_augments)
        judging = [name for group in self.method.groups if group.discriminators for name in group.networks]
        self.diff_augment.watch(networks[name] for name in judging)
        averaged = {name: networks[name] for name in published} if config.optim.ema else {}
        self.averages = AveragedWeights(averaged, config.optim.ema, accelerator.device)
        self.schedule = Schedule(config.optim)
        for name in networks:
            networks[name] = accelerator.prepare(networks[name])
        for network in self.method.fixed.values():
            network.to(accelerator.device)
        self.optimisers: dict[str, AcceleratedOptimizer] = {
            group.name: accelerator.prepare(_adam(self.method.networks, group, config)) for group in self.method.groups
        }
        """Optimisers by their group's name."""
        self._losses: dict[str, Callable[..., Loss | None]] = {group.name: group.loss for group in self.method.groups}
        if config.run.compile:
            self._losses |= _compile(self.method, config, accelerator)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """All networks without wrappers, by name."""
        return {name: bare(network) for name, network in self.method.networks.items()}

    # --- one step -------------------------------------------------------------------------------------------

    def step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Step the method's groups in their order, and return the detached losses by name.

        With `fused_adam`, nothing in it waits for the device. Gradients that are not finite move nothing: no weights,
        averages or moments of their group, nor of the groups after it. Such a step has NaN for losses, and the host
        sees it at its next look.

        Args:
            batch: `real_a`, `real_b`, each (N, 3, H, W) in [-1, 1], on the device.
        """
        method, accelerator = self.method, self.accelerator
        if self.config.run.compile:
            torch.compiler.cudagraph_mark_step_begin()  # Outputs of the last step's recording may be overwritten.
        self._bad.zero_()
        self.diff_augment.draw(len(next(iter(batch.values()))), accelerator.device)
        losses: dict[str, Tensor] = {}
        fakes: dict[str, Tensor] = {}
        with accelerator.accumulate(*method.networks.values()):
            for group in method.groups:
                learns = group.discriminators or self.epoch >= self.config.optim.freeze_first
                self._set_frozen(group, True)
                for _ in range(group.steps if learns else 1):
                    with torch.set_grad_enabled(learns):
                        found = self._losses[group.name](batch, fakes)
                    if found is None:
                        break
                    loss, terms, made = found
                    if learns:
                        self._descend(loss, group)
                    else:  # Only its fakes are needed.
                        self._bad |= ~torch.isfinite(loss)
                    losses |= {name: term.detach() for name, term in terms.items()}
                self._set_frozen(group, False)
                if found is not None:
                    if accelerator.sync_gradients and learns:
                        moved = {name: method.networks[name] for name in group.networks}
                        self.averages.update(moved, ~self._bad)
                    fakes = fakes | method.remember(made, ~self._bad)
        self._count_bad()
        values = torch.stack(list(losses.values())).masked_fill(self._bad, torch.nan)
        return dict(zip(losses, values.unbind(), strict=True))

    def _set_frozen(self, group: OptimiserGroup, frozen: bool) -> None:
        for name in group.frozen:
            self.method.networks[name].requires_grad_(not frozen)

    def _descend(self, loss: Tensor, group: OptimiserGroup) -> None:
        """Move the group's weights down the loss's gradients, unless those are not finite."""
        optimiser = self.optimisers[group.name]
        self.accelerator.backward(loss)
        parameters = (p for name in group.networks for p in self.method.networks[name].parameters())
        parameters = [p for p in parameters if p.grad is not None]
        gradients, longest = [p.grad for p in parameters], self.config.optim.clip_grad_norm
        # Under fp16 overflowing gradients are expected; the scaler skips the step and rescales by itself.
        if self.accelerator.sync_gradients and self.accelerator.scaler is None:
            # After the processes' exchange these are equal on all of them, so all skip the same steps.
            norm = torch.nn.utils.get_total_norm(gradients)
            self._bad |= ~torch.isfinite(norm)
            if longest:
                torch.nn.utils.clip_grads_with_norm_(parameters, longest, norm)
            if self.config.run.fused_adam:
                optimiser.optimizer.found_inf = self._bad.float()
            elif bool(self._bad):
                return optimiser.zero_grad()
        else:
            self._bad |= ~torch.isfinite(loss.detach())
            if self.accelerator.sync_gradients and longest:
                self.accelerator.unscale_gradients(optimiser)
                torch.nn.utils.clip_grad_norm_(parameters, longest)
        if not self.accelerator.sync_gradients:  # The sum starts again from 0, or it would remain NaN.
            for gradient in gradients:
                gradient.masked_fill_(self._bad, 0.0)
        optimiser.step()
        optimiser.zero_grad()

    def _count_bad(self) -> None:
        skipped, in_a_row, most = self._skipped
        skipped += self._bad
        in_a_row += 1
        in_a_row *= self._bad
        torch.maximum(most, in_a_row, out=most)

    def any_process(self, flag: Tensor | bool) -> bool:
        """Return True if `flag` holds on any process, so that all do the same. Called on every process."""
        if self.accelerator.num_processes == 1:
            return bool(flag)
        shared = torch.as_tensor(flag, device=self.accelerator.device).float()
        return self.accelerator.reduce(shared, reduction="sum").item() > 0

    # --- one epoch ------------------------------------------------------------------------------------------

    @property
    def steps_per_epoch(self) -> int:
        """Steps of each process in an epoch, a multiple of gradient_accumulation_steps."""
        optim = self.config.optim
        return self.data.steps_per_epoch(
            optim.batch_size, self.accelerator.num_processes, optim.gradient_accumulation_steps
        )

    def train_epoch(self, on_step: Callable[[dict[str, Tensor]], None] = lambda losses: None) -> bool:
        """Train the next epoch, or the rest of it after a mid-epoch resume.

        Args:
            on_step: called after each step with its losses.

        Returns:
            True if the epoch was completed; False if `stop_requested` or `--max_steps` ended it after some step.

        Raises:
            TrainingError: no step had finite losses, unless `stop_requested` ended it; or ten steps in a row hadn't.
        """
        if self.step_in_epoch == 0:
            self.epoch_means.clear()
        self.schedule.apply(self.epoch + 1, self.optimisers, self.method.groups)
        for network in self.method.networks.values():
            network.train()
        steps = self.steps_per_epoch
        batches = self.data.batches(
            self.epoch + 1,
            batch_size=self.config.optim.batch_size,
            process_index=self.accelerator.process_index,
            num_processes=self.accelerator.num_processes,
            start_step=self.step_in_epoch,
        )
        while self.step_in_epoch < steps:
            losses = self.step(self._to_device(next(batches)))
            self.global_step += 1
            self.step_in_epoch += 1
            self.epoch_means.add(losses)
            on_step(losses)
            if (self._should_stop() or self.limit_reached) and self.step_in_epoch < steps:
                if self.limit_reached:
                    self._check_losses()  # A checkpoint follows, as after a whole epoch.
                return False
        self._check_losses()
        self.epoch += 1
        self.step_in_epoch = 0
        return True

    def _check_losses(self) -> None:
        """Raise TrainingError if the epoch's steps so far had no finite losses."""
        if not self.epoch_means.means():
            raise TrainingError(
                "no step of epoch {epoch} had finite losses; {advice}", epoch=self.epoch + 1, advice=NOT_FINITE_ADVICE
            )

    def _to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return float32 (N, 3, H, W) in [-1, 1], made on the device from the data's uint8 (N, H, W, 3)."""
        layout = torch.channels_last if self.config.run.channels_last else torch.contiguous_format
        device = self.accelerator.device
        return {name: normalise(value.to(device, non_blocking=True), layout) for name, value in batch.items()}

    def _should_stop(self) -> bool:
        """Return True if any process was asked to stop; all processes stop after the same step, never amid an
        accumulation of gradients.

        On a GPU and with several processes, the host looks about once a second, since each look waits for the device.

        Raises:
            TrainingError: ten steps in a row were skipped.
        """
        if self.step_in_epoch % self.config.optim.gradient_accumulation_steps:
            return False
        alone = self.accelerator.num_processes == 1
        free = alone and self.accelerator.device.type == "cpu"
        if not free and self.global_step < self._next_look and self.step_in_epoch < self.steps_per_epoch:
            return alone and self.stop_requested
        elapsed = time.monotonic() - self._looked
        most, asked = self._skipped[2].float(), float(self.stop_requested) + float(self.requeue_requested)
        mine = torch.stack([most, most.new_tensor(asked), most.new_tensor(elapsed)])
        most_in_a_row, stop, elapsed = self.accelerator.gather(mine[None]).amax(0).tolist()
        self._agreed = int(stop)
        if most_in_a_row >= BAD_STEPS_IN_A_ROW:
            raise TrainingError(
                "the losses were not finite in {count} steps in a row (up to step {step}); {advice}",
                count=BAD_STEPS_IN_A_ROW, step=self.global_step, advice=NOT_FINITE_ADVICE,
            )
        # Each interval at most twice as long as the one before: the first steps are the slowest.
        steps = max(1, self.global_step - self._looked_at)
        self._next_look = self.global_step + max(1, min(2 * steps, int(LOOK_S * steps / max(elapsed, 1e-9))))
        self._looked, self._looked_at = time.monotonic(), self.global_step
        return bool(stop)

    @property
    def stopping(self) -> bool:
        """True if a process was asked to stop; the same on all processes, which look at it after the same step."""
        return self.stop_requested if self.accelerator.num_processes == 1 else self._agreed > 0

    @property
    def requeueing(self) -> bool:
        """True if the training stops because its scheduler asked it to, and will start it again."""
        return self.requeue_requested if self.accelerator.num_processes == 1 else self._agreed > 1

    @property
    def limit_reached(self) -> bool:
        """True once `--max_steps` ends the training, which never happens amid an accumulation of gradients."""
        optim = self.config.optim
        whole = self.step_in_epoch % optim.gradient_accumulation_steps == 0
        return optim.max_steps is not None and self.global_step >= optim.max_steps and whole

    @property
    def skipped_steps(self) -> int:
        """Steps so far that changed nothing, because something was not finite; waits for the device."""
        return int(self._skipped[0])

    def published_generators(self) -> dict[str, nn.Module]:
        """Return the generators that a checkpoint holds, by name: the averaged ones with `--ema`."""
        networks = self.averages.networks or {name: self.networks[name] for name in self.method.published}
        return self.method.to_generators(networks)

    def judges(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Return the method's judges by domain, with every network but the averages in eval mode."""
        for network in self.method.networks.values():
            network.eval()
        return self.method.judges()

    # --- the whole state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that continuing bit for bit needs: `shared` is equal on every process, `process` is this one's."""
        scaler = self.accelerator.scaler
        return {
            "shared": {
                "epoch": self.epoch,
                "step_in_epoch": self.step_in_epoch,
                "global_step": self.global_step,
                "skipped_steps": self.skipped_steps,
                "num_processes": self.accelerator.num_processes,
                "networks": {name: network.state_dict() for name, network in self.networks.items()},
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers.values()],
                "ema": self.averages.state_dict(),
                "scaler": scaler.state_dict() if scaler is not None else None,
                "schedule": self.schedule.state_dict(),
            },
            "process": {
                "pools": self.method.state_dict(),  # The name is older than methods without pools.
                "random": _random_state(),
                "sums": self.epoch_means.state(),
                "bad_in_a_row": int(self._skipped[1]),
                **({"stream": self.data.state_dict()} if isinstance(self.data, StreamedData) else {}),
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[Message]:
        """Continue from `state_dict()`'s result. A process without a part in it keeps the method's own state.

        Returns:
            Notes on a stream's part of it.
        """
        shared, process = state["shared"], state["process"]
        self.epoch, self.step_in_epoch = shared["epoch"], shared["step_in_epoch"]
        self.global_step = self._looked_at = shared["global_step"]
        self._skipped[0] = shared["skipped_steps"]
        for name, network in self.networks.items():
            network.load_state_dict(shared["networks"][name])
        for optimiser, saved in zip(self.optimisers.values(), shared["optimisers"], strict=True):
            _load_optimiser(optimiser, saved)
        self.averages.load_state_dict(shared["ema"], shared["networks"])
        self.schedule.load_state_dict(shared.get("schedule"))  # States of earlier versions have none.
        if shared["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(shared["scaler"])
        if process:
            self.method.load_state_dict(process["pools"], self.accelerator.device)
            totals, counts = process["sums"]
            self.epoch_means = RunningMeans({name: t.to(self.accelerator.device) for name, t in totals.items()}, counts)
            self._skipped[1] = process["bad_in_a_row"]
            _set_random_state(process["random"])
        if not isinstance(self.data, StreamedData):
            return []
        return self.data.load_state_dict(process.get("stream"))  # A run that began with a folder has none.


def _first_batch(config: TrainConfig, data: Data, accelerator: Accelerator) -> dict[str, Tensor]:
    """Return this process's first batch of the training, on the CPU."""
    batches = data.batches(
        1, batch_size=config.optim.batch_size, process_index=accelerator.process_index,
        num_processes=accelerator.num_processes,
    )  # fmt: skip
    return {name: normalise(value) for name, value in next(batches).items()}


def _compile(method: Method, config: TrainConfig, accelerator: Accelerator) -> dict[str, Callable[..., Loss | None]]:
    """Return each group's compiled loss, by its name; with several processes compile each network in place instead,
    because their wrappers need it."""
    groups = [group for group in method.groups if group.compilable]
    if accelerator.num_processes > 1:
        for name in dict.fromkeys(name for group in groups for name in group.networks):
            bare(method.networks[name]).compile()  # In place, so that names of weights don't change.
        return {}
    mode = "reduce-overhead" if config.run.cuda_graphs else None
    return {group.name: torch.compile(group.loss, mode=mode) for group in groups}


def _check_accumulation(config: TrainConfig, groups: Sequence[OptimiserGroup]) -> None:
    if config.optim.gradient_accumulation_steps > 1 and any(group.steps > 1 for group in groups):
        raise ConfigError(
            "--method {method} takes several steps on each batch, so it can't accumulate gradients: leave out "
            "--gradient_accumulation_steps", method=config.run.method,
        )  # fmt: skip


def _adam(networks: Mapping[str, nn.Module], group: OptimiserGroup, config: TrainConfig) -> torch.optim.Adam:
    """Return the optimiser of a group, with weights that its networks share only once."""
    parameters = dict.fromkeys(p for name in group.networks for p in networks[name].parameters())
    optim, fused = config.optim, config.run.fused_adam or None
    lr = optim.lr_disc if group.discriminators and optim.lr_disc else optim.lr
    return torch.optim.Adam(list(parameters), lr=lr, betas=(optim.beta1, optim.beta2), fused=fused)


def _load_optimiser(optimiser: AcceleratedOptimizer, saved: dict[str, Any]) -> None:
    """Load moments and counts; this run's own way of computing and layout in memory remain."""
    ways = [{name: group[name] for name in ("fused", "foreach", "capturable")} for group in optimiser.param_groups]
    groups = [group | way for group, way in zip(saved["param_groups"], ways, strict=True)]
    optimiser.load_state_dict(saved | {"param_groups": groups})
    for parameter, moments in optimiser.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape:  # Fused Adam assumes that strides are the weight's.
                moments[name] = torch.empty_like(parameter).copy_(value)


def _random_state() -> dict[str, Any]:
    """Return every random state that a step may draw from, as tensors and plain values."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [str(kind), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "python": random.getstate(),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])
