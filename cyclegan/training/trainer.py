"""One step, one epoch, and the whole state in and out. Knows no Hub and writes no file format."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn

from cyclegan.config import OptimConfig, TrainConfig
from cyclegan.data import Data
from cyclegan.errors import TrainingError
from cyclegan.images import normalise
from cyclegan.methods import build_method
from cyclegan.training.averages import AveragedWeights, Sums
from cyclegan.training.resolve import settle

BAD_STEPS_IN_A_ROW = 10
LOOK_S = 1.0
"""Seconds between looks at the device, about."""
NOT_FINITE_ADVICE = (
    "resume from the last epoch with a lower --lr, with --mixed_precision no or bf16 instead of fp16, "
    "and look for pictures of a single colour"
)


def lr_factor(epoch: int, optim: OptimConfig) -> float:
    """Share of the learning rate in `epoch` (from 1): 1 while flat, then linear to just above 0.

    As the reference counts: 1 − max(0, epoch − n_flat) / (n_decay + 1), so no epoch runs at 0.
    """
    return 1.0 - max(0, epoch - optim.epochs) / (optim.decay_epochs + 1)


class Trainer:
    """Trains a method's networks on pairs of batches.

    Args:
        config: the run; `config.run.seed` fixes the initial weights (from torch's global random state). What it
            leaves open is settled for the accelerator's device, but for the precision, which is the accelerator's.
        data: what `cyclegan.data.open_data` returned.
        accelerator: device, precision and processes. Its gradient_accumulation_steps must be the config's.
    """

    def __init__(self, config: TrainConfig, data: Data, accelerator: Accelerator) -> None:
        self.config = config = settle(config, accelerator.device)
        self.data, self.accelerator = data, accelerator
        torch.manual_seed(config.run.seed)
        self.method = build_method(config, process_index=accelerator.process_index)
        # Weights are equal everywhere; dropout and the like then differ between processes.
        torch.manual_seed(config.run.seed + 1_000_003 * (accelerator.process_index + 1))
        self.global_step = 0
        self.epoch = 0
        """Completed epochs."""
        self.step_in_epoch = 0
        self.epoch_sums = Sums()
        self.stop_requested = False
        """Set it, from a signal handler say, to stop after the current step."""
        # On the device: whether this step is bad, and how many were skipped, in all, in a row, and at most in a row.
        self._bad = torch.zeros((), dtype=torch.bool, device=accelerator.device)
        self._skipped = torch.zeros(3, dtype=torch.int64, device=accelerator.device)
        self._looked, self._looked_at, self._next_look = time.monotonic(), 0, 0

        groups = (self.method.generators, self.method.discriminators)
        for network in self.method.generators.values():
            network.checkpointing = config.run.gradient_checkpointing
        if config.run.channels_last:
            for network in self._networks().values():
                network.to(memory_format=torch.channels_last)
        averaged = self.method.generators if config.optim.ema else {}
        self.averages = AveragedWeights(averaged, config.optim.ema, accelerator.device)
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
                    fused=config.run.fused_adam or None,
                )
            )
            for networks in groups
        )
        self._compiled: dict[str, Callable] = {}
        if config.run.compile:
            self._compile()

    def _compile(self) -> None:
        """Compile each half of the step as a whole; with several processes each network, as their wrappers need it."""
        # torch.compile has no gradients of gradients, which the gradient penalty needs.
        penalty = self.config.loss.gan_mode == "wgan_gp"
        if self.accelerator.num_processes > 1:
            for network in (self.method.generators if penalty else self._networks()).values():
                self._bare(network).compile()  # In place: names of weights stay as they are.
            return
        mode = "reduce-overhead" if self.config.run.cuda_graphs else None
        for half in ("generator_loss",) if penalty else ("generator_loss", "discriminator_loss"):
            self._compiled[half] = torch.compile(getattr(self.method, half), mode=mode)

    def _networks(self) -> dict[str, nn.Module]:
        return {**self.method.generators, **self.method.discriminators}

    def _bare(self, network: nn.Module) -> nn.Module:
        return self.accelerator.unwrap_model(network)

    # --- one step -------------------------------------------------------------------------------------------

    def step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """One step: generators with the discriminators frozen, then discriminators. Returns detached losses by name.

        With `fused_adam`, nothing in it waits for the device. Gradients that are not finite move nothing: no weights,
        averages or moments of their half, nor of the discriminators after the generators'. Such a step has NaN for
        losses, and the host learns of it when it looks.

        Args:
            batch: `real_a`, `real_b`, each (N, 3, H, W) in [-1, 1], on the device.
        """
        method, accelerator = self.method, self.accelerator
        if self._compiled:
            torch.compiler.cudagraph_mark_step_begin()  # What the last step's recording gave may be overwritten.
        self._bad.zero_()
        with accelerator.accumulate(*self._networks().values()):
            self._freeze_discriminators(True)
            loss, terms, fakes = self._compiled.get("generator_loss", method.generator_loss)(batch)
            self._descend(loss, self.optim_gen, method.generators)
            losses = dict(terms.items())
            if accelerator.sync_gradients:
                self.averages.update(method.generators, ~self._bad)

            self._freeze_discriminators(False)
            shown = {name: method.pools[name].query(fake, keep=~self._bad) for name, fake in fakes.items()}
            judged = self._compiled.get("discriminator_loss", method.discriminator_loss)(batch, shown)
            if judged is not None:
                loss, terms = judged
                self._descend(loss, self.optim_disc, method.discriminators)
                losses |= terms.items()
        self._count_bad()
        values = torch.stack(list(losses.values())).masked_fill(self._bad, torch.nan)
        return dict(zip(losses, values.unbind(), strict=True))

    def _freeze_discriminators(self, frozen: bool) -> None:
        for network in self.method.discriminators.values():
            network.requires_grad_(not frozen)

    def _descend(self, loss: Tensor, optimiser: AcceleratedOptimizer, networks: dict[str, nn.Module]) -> None:
        """Move the weights down the loss's gradients, unless those are not finite."""
        self.accelerator.backward(loss)
        gradients = [p.grad for network in networks.values() for p in network.parameters() if p.grad is not None]
        # Under fp16 overflowing gradients are the scaler's daily work; it skips and rescales by itself.
        if self.accelerator.sync_gradients and self.accelerator.scaler is None:
            # After the processes' exchange these are equal on all of them, so all skip the same steps.
            self._bad |= ~torch.isfinite(torch.nn.utils.get_total_norm(gradients))
            if self.config.run.fused_adam:
                optimiser.optimizer.found_inf = self._bad.float()
            elif bool(self._bad):
                return optimiser.zero_grad()
        else:
            self._bad |= ~torch.isfinite(loss.detach())
        if not self.accelerator.sync_gradients:  # What is added up begins anew, or it would stay NaN.
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
        """Whether `flag` holds on any process: what one must do, all must do. Called on every process."""
        if self.accelerator.num_processes == 1:
            return bool(flag)
        shared = torch.as_tensor(flag, device=self.accelerator.device).float()
        return self.accelerator.reduce(shared, reduction="sum").item() > 0

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
            self.epoch_sums.add(losses)
            on_step(losses)
            if self._should_stop() and self.step_in_epoch < steps:
                return False
        if not self.epoch_sums.means():
            raise TrainingError(
                "no step of epoch {epoch} had finite losses; {NOT_FINITE_ADVICE}",
                epoch=self.epoch + 1, NOT_FINITE_ADVICE=NOT_FINITE_ADVICE,
            )
        self.epoch += 1
        self.step_in_epoch = 0
        return True

    def _to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """uint8 (N, H, W, 3) from the data → float32 (N, 3, H, W) in [-1, 1], made on the device."""
        layout = torch.channels_last if self.config.run.channels_last else torch.contiguous_format
        device = self.accelerator.device
        return {name: normalise(value.to(device, non_blocking=True), layout) for name, value in batch.items()}

    def _should_stop(self) -> bool:
        """Whether any process was asked to stop; all must leave after the same step, and not amid an accumulation.

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
        most = self._skipped[2].float()
        mine = torch.stack([most, most.new_tensor(float(self.stop_requested)), most.new_tensor(elapsed)])
        most_in_a_row, stop, elapsed = self.accelerator.gather(mine[None]).amax(0).tolist()
        if most_in_a_row >= BAD_STEPS_IN_A_ROW:
            raise TrainingError(
                "the losses were not finite in {BAD_STEPS_IN_A_ROW} steps in a row (up to step {global_step}); "
                "{NOT_FINITE_ADVICE}",
                BAD_STEPS_IN_A_ROW=BAD_STEPS_IN_A_ROW, global_step=self.global_step,
                NOT_FINITE_ADVICE=NOT_FINITE_ADVICE,
            )
        # Each interval at most twice as long as the one before: the first steps are the slowest.
        steps = max(1, self.global_step - self._looked_at)
        self._next_look = self.global_step + max(1, min(2 * steps, int(LOOK_S * steps / max(elapsed, 1e-9))))
        self._looked, self._looked_at = time.monotonic(), self.global_step
        return bool(stop)

    @property
    def skipped_steps(self) -> int:
        """Steps so far that changed nothing, since something was not finite; waits for the device."""
        return int(self._skipped[0])

    # --- what is published ----------------------------------------------------------------------------------

    def published_generators(self) -> dict[str, nn.Module]:
        """The generators that a checkpoint holds, by name: the averaged ones with `--ema`."""
        return self.averages.networks or {name: self._bare(network) for name, network in self.method.generators.items()}

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
                "ema": self.averages.state_dict(),
                "scaler": scaler.state_dict() if scaler is not None else None,
            },
            "process": {
                "pools": {name: pool.state_dict() for name, pool in self.method.pools.items()},
                "random": _random_state(),
                "sums": self.epoch_sums.state(),
                "bad_in_a_row": int(self._skipped[1]),
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`'s result. A process that has no part in it starts with empty pools."""
        shared, process = state["shared"], state["process"]
        self.epoch, self.step_in_epoch = shared["epoch"], shared["step_in_epoch"]
        self.global_step = self._looked_at = shared["global_step"]
        self._skipped[0] = shared["skipped_steps"]
        for name, network in self._networks().items():
            self._bare(network).load_state_dict(shared["networks"][name])
        for optimiser, saved in zip((self.optim_gen, self.optim_disc), shared["optimisers"], strict=True):
            self._load_optimiser(optimiser, saved)
        self.averages.load_state_dict(shared["ema"], shared["networks"])
        if shared["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(shared["scaler"])
        if process:
            for name, pool in self.method.pools.items():
                pool.load_state_dict(process["pools"][name], self.accelerator.device)
            totals, counts = process["sums"]
            self.epoch_sums = Sums({name: t.to(self.accelerator.device) for name, t in totals.items()}, counts)
            self._skipped[1] = process["bad_in_a_row"]
            _set_random_state(process["random"])

    @staticmethod
    def _load_optimiser(optimiser: AcceleratedOptimizer, saved: dict[str, Any]) -> None:
        """Load moments and counts; how they are computed and laid out in memory is this run's."""
        ways = [{name: group[name] for name in ("fused", "foreach", "capturable")} for group in optimiser.param_groups]
        groups = [group | way for group, way in zip(saved["param_groups"], ways, strict=True)]
        optimiser.load_state_dict(saved | {"param_groups": groups})
        for parameter, moments in optimiser.state.items():
            for name, value in moments.items():
                if value.shape == parameter.shape:  # Fused Adam takes for granted that strides are the weight's.
                    moments[name] = torch.empty_like(parameter).copy_(value)


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
