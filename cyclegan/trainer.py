"""One step, one epoch, and the whole state in and out. Knows no Hub and writes no file format."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cyclegan.config import OptimConfig, TrainConfig
from cyclegan.data import Data
from cyclegan.methods import build_method

BAD_STEPS_IN_A_ROW = 10
NOT_FINITE_ADVICE = (
    "resume from the last epoch with a lower --lr, with --mixed_precision no or bf16 instead of fp16, "
    "and look for pictures of a single colour"
)


class TrainingError(RuntimeError):
    """Training can't go on; the message says why and what to try."""


def lr_factor(epoch: int, optim: OptimConfig) -> float:
    """Share of the learning rate in `epoch` (from 1): 1 while flat, then linear to just above 0.

    As the reference counts: 1 − max(0, epoch − n_flat) / (n_decay + 1), so no epoch runs at 0.
    """
    return 1.0 - max(0, epoch - optim.epochs) / (optim.decay_epochs + 1)


@dataclass
class Sums:
    """Losses summed on the device, so that reading them is the caller's choice of moment."""

    totals: dict[str, Tensor]
    counts: dict[str, int]

    def add(self, terms: list[tuple[str, Tensor]]) -> None:
        """Add one step's terms."""
        for name, value in terms:
            self.totals[name] = self.totals[name] + value.double() if name in self.totals else value.double()
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Mean of each term since the last `clear`; waits for the device."""
        return {name: float(total) / self.counts[name] for name, total in self.totals.items()}

    def clear(self) -> None:
        """Start again."""
        self.totals, self.counts = {}, {}


class Trainer:
    """Trains a method's networks on pairs of batches.

    Args:
        config: the run; `config.run.seed` fixes the initial weights (from torch's global random state).
        data: what `cyclegan.data.open_data` returned.
        accelerator: device, precision and processes. Its gradient_accumulation_steps must be the config's.
    """

    def __init__(self, config: TrainConfig, data: Data, accelerator: Accelerator) -> None:
        self.config, self.data, self.accelerator = config, data, accelerator
        torch.manual_seed(config.run.seed)
        self.method = build_method(config, process_index=accelerator.process_index)
        # Weights are equal everywhere; dropout and the like then differ between processes.
        torch.manual_seed(config.run.seed + 1_000_003 * (accelerator.process_index + 1))
        self.global_step = 0
        self.epoch = 0
        """Completed epochs."""
        self.step_in_epoch = 0
        self.skipped_steps = 0
        self._bad_in_a_row = 0
        self.epoch_sums = Sums({}, {})
        self.stop_requested = False
        """Set it, from a signal handler say, to stop after the current step."""

        groups = (self.method.generators, self.method.discriminators)
        if config.run.channels_last:
            for network in self._networks().values():
                network.to(memory_format=torch.channels_last)
        if config.run.compile:
            for network in self._networks().values():
                network.compile()  # In place: names of weights stay as they are.
        self.ema: dict[str, AveragedModel] = {}
        if config.optim.ema:
            average = get_ema_multi_avg_fn(config.optim.ema)
            self.ema = {
                name: AveragedModel(copy.deepcopy(network), device=accelerator.device, multi_avg_fn=average)
                for name, network in self.method.generators.items()
            }
        for networks in groups:
            for name in networks:
                networks[name] = accelerator.prepare(networks[name])
        optim = config.optim
        # One optimiser for all generators and one for all discriminators, as in the reference.
        self.optim_gen, self.optim_disc = (
            accelerator.prepare(
                torch.optim.Adam(
                    [p for network in networks.values() for p in network.parameters()],
                    lr=optim.lr,
                    betas=(optim.beta1, optim.beta2),
                )
            )
            for networks in groups
        )

    def _networks(self) -> dict[str, nn.Module]:
        return {**self.method.generators, **self.method.discriminators}

    def _bare(self, network: nn.Module) -> nn.Module:
        return self.accelerator.unwrap_model(network)

    # --- one step -------------------------------------------------------------------------------------------

    def step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """One step: generators with the discriminators frozen, then discriminators. Returns detached losses by name.

        Args:
            batch: `real_a`, `real_b`, each (N, 3, H, W) in [-1, 1].

        Raises:
            TrainingError: losses were not finite ten steps in a row.
        """
        method, accelerator = self.method, self.accelerator
        with accelerator.accumulate(*self._networks().values()):
            self._freeze_discriminators(True)
            loss, terms, fakes = method.generator_loss(batch)
            accelerator.backward(loss)
            if not self._finite(loss, method.generators):
                return self._skip()
            self.optim_gen.step()
            self.optim_gen.zero_grad()
            losses = terms.items()

            self._freeze_discriminators(False)
            judged = method.discriminator_loss(batch, fakes)
            if judged is not None:
                loss, terms = judged
                accelerator.backward(loss)
                if not self._finite(loss, method.discriminators):
                    return self._skip()
                self.optim_disc.step()
                self.optim_disc.zero_grad()
                losses += terms.items()
            if accelerator.sync_gradients:
                for name, average in self.ema.items():
                    average.update_parameters(self._bare(method.generators[name]))
        self._bad_in_a_row = 0
        return dict(losses)

    def _freeze_discriminators(self, frozen: bool) -> None:
        for network in self.method.discriminators.values():
            network.requires_grad_(not frozen)

    def _finite(self, loss: Tensor, networks: dict[str, nn.Module]) -> bool:
        """Whether loss and gradients are finite, on every process, since all must skip the same steps."""
        checked = loss.detach().float().reshape(1)
        # Under fp16 overflowing gradients are the scaler's daily work; it skips and rescales by itself.
        if self.accelerator.scaler is None:
            gradients = [p.grad for network in networks.values() for p in network.parameters() if p.grad is not None]
            if gradients:
                checked = torch.cat([checked, torch.nn.utils.get_total_norm(gradients).float().reshape(1)])
        return not self.any_process((~torch.isfinite(checked)).any())

    def any_process(self, flag: Tensor | bool) -> bool:
        """Whether `flag` holds on any process: what one must do, all must do. Called on every process."""
        if self.accelerator.num_processes == 1:
            return bool(flag)
        shared = torch.as_tensor(flag, device=self.accelerator.device).float()
        return self.accelerator.reduce(shared, reduction="sum").item() > 0

    def _skip(self) -> dict[str, Tensor]:
        for optimiser in (self.optim_gen, self.optim_disc):
            optimiser.optimizer.zero_grad()  # The bare one: accelerate's keeps gradients amid an accumulation.
        self._freeze_discriminators(False)
        self.skipped_steps += 1
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= BAD_STEPS_IN_A_ROW:
            raise TrainingError(
                f"the losses were not finite in {BAD_STEPS_IN_A_ROW} steps in a row (step {self.global_step + 1}); "
                f"{NOT_FINITE_ADVICE}"
            )
        return {}

    # --- one epoch ------------------------------------------------------------------------------------------

    @property
    def steps_per_epoch(self) -> int:
        """Steps of each process in an epoch, a multiple of gradient_accumulation_steps."""
        optim = self.config.optim
        together = optim.gradient_accumulation_steps
        batch = optim.batch_size * self.accelerator.num_processes * together
        return self.data.steps_per_epoch(batch) * together

    def train_epoch(self, on_step: Callable[[dict[str, Tensor]], None] = lambda losses: None) -> bool:
        """Train the next epoch, or the rest of it after a mid-epoch resume.

        Args:
            on_step: called after each step with its losses.

        Returns:
            Whether the epoch was completed; False when `stop_requested` ended it after some step.
        """
        if self.step_in_epoch == 0:
            self.epoch_sums.clear()
        for optimiser in (self.optim_gen, self.optim_disc):
            for group in optimiser.param_groups:
                # Both from the flags, also after resuming with other ones.
                group["lr"] = self.config.optim.lr * lr_factor(self.epoch + 1, self.config.optim)
                group["betas"] = (self.config.optim.beta1, self.config.optim.beta2)
        for network in self._networks().values():
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
            self.epoch_sums.add(list(losses.items()))
            on_step(losses)
            if self._should_stop() and self.step_in_epoch < steps:
                return False
        if not self.epoch_sums.counts:
            raise TrainingError(f"no step of epoch {self.epoch + 1} had finite losses; {NOT_FINITE_ADVICE}")
        self.epoch += 1
        self.step_in_epoch = 0
        return True

    def _to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        layout = torch.channels_last if self.config.run.channels_last else torch.contiguous_format
        return {
            name: value.to(self.accelerator.device, non_blocking=True, memory_format=layout)
            for name, value in batch.items()
        }

    def _should_stop(self) -> bool:
        """Whether any process was asked to stop; all must leave after the same step, and not amid an accumulation."""
        if self.step_in_epoch % self.config.optim.gradient_accumulation_steps:
            return False
        return self.any_process(self.stop_requested)

    # --- what is published ----------------------------------------------------------------------------------

    def published_generators(self) -> dict[str, nn.Module]:
        """The generators that a checkpoint holds, by name: the averaged ones with `--ema`."""
        if self.ema:
            return {name: average.module for name, average in self.ema.items()}
        return {name: self._bare(network) for name, network in self.method.generators.items()}

    def discriminators(self) -> dict[str, nn.Module]:
        """The discriminators without wrappers, by name."""
        return {name: self._bare(network) for name, network in self.method.discriminators.items()}

    # --- the whole state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that continuing bit for bit needs: `shared` is equal on every process, `process` is this one's own."""
        scaler = self.accelerator.scaler
        return {
            "shared": {
                "epoch": self.epoch,
                "step_in_epoch": self.step_in_epoch,
                "global_step": self.global_step,
                "skipped_steps": self.skipped_steps,
                "num_processes": self.accelerator.num_processes,
                "networks": {name: self._bare(network).state_dict() for name, network in self._networks().items()},
                "optimisers": [self.optim_gen.state_dict(), self.optim_disc.state_dict()],
                "ema": {name: average.state_dict() for name, average in self.ema.items()},
                "scaler": scaler.state_dict() if scaler is not None else None,
            },
            "process": {
                "pools": {name: pool.state_dict() for name, pool in self.method.pools.items()},
                "random": _random_state(),
                "sums": [self.epoch_sums.totals, self.epoch_sums.counts],
                "bad_in_a_row": self._bad_in_a_row,
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`'s result. A process that has no part in it starts with empty pools."""
        shared, process = state["shared"], state["process"]
        self.epoch, self.step_in_epoch = shared["epoch"], shared["step_in_epoch"]
        self.global_step, self.skipped_steps = shared["global_step"], shared["skipped_steps"]
        for name, network in self._networks().items():
            self._bare(network).load_state_dict(shared["networks"][name])
        for optimiser, saved in zip((self.optim_gen, self.optim_disc), shared["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        for name, average in self.ema.items():
            if name in shared["ema"]:
                average.load_state_dict(shared["ema"][name])
            else:  # The average was switched on only now.
                average.module.load_state_dict(shared["networks"][name])
        if shared["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(shared["scaler"])
        if process:
            for name, pool in self.method.pools.items():
                pool.load_state_dict(process["pools"][name], self.accelerator.device)
            totals, counts = process["sums"]
            self.epoch_sums = Sums({name: t.to(self.accelerator.device) for name, t in totals.items()}, counts)
            self._bad_in_a_row = process["bad_in_a_row"]
            _set_random_state(process["random"])


def _random_state() -> dict[str, Any]:
    """Every random state that anything in a step may draw from, as tensors and plain values."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [
            str(kind),
            torch.from_numpy(keys.astype(np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ],
        "python": random.getstate(),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])
