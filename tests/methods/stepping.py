"""Trainers whose steps a test calls itself."""

import copy

import pytest
import torch
from accelerate import Accelerator

from cyclegan.config import METHOD_CONFIGS, DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from cyclegan.training.trainer import Trainer


class FirstBatch:
    """The pictures that `Method.prepare` sees."""

    def __init__(self, size):
        self.size = size

    def batches(self, epoch, **_):
        yield {name: torch.zeros(1, self.size, self.size, 3, dtype=torch.uint8) for name in ("real_a", "real_b")}


def make(method, *, loss=None, model=None, optim=None, precision="no", size=32, segmenter=None, **run):
    run = {"seed": 3, **run}
    config = TrainConfig(
        data=DataConfig(dataset="none"),
        model=ModelConfig(**{"ngf": 4, "ndf": 4, "generator": "resnet_6", **(model or {})}),
        loss=METHOD_CONFIGS[method](**(loss or {})),
        optim=OptimConfig(**(optim or {})),
        run=RunConfig(output_dir="none", method=method, **run),
    )
    return Trainer(config, FirstBatch(size), Accelerator(cpu=True, mixed_precision=precision), segmenter)


def batch(seed=0, count=1, size=32, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(count, 3, size, size, dtype=dtype, generator=generator) * 2 - 1
            for name in ("real_a", "real_b")}  # fmt: skip


def assert_resumes_exactly(*, pictures=batch, **settings):
    """A state in the middle of a run leads another trainer, of another seed, to the same losses and weights."""
    trainer = make(**settings)
    for seed in range(3):
        trainer.step(pictures(seed))
    state = copy.deepcopy(trainer.state_dict())
    expected = [trainer.step(pictures(seed)) for seed in (3, 4)]
    other = make(**settings, seed=99)
    torch.manual_seed(1234)
    other.load_state_dict(state)
    for seed, losses in zip((3, 4), expected, strict=True):
        found = other.step(pictures(seed))
        assert {name: value.item() for name, value in found.items()} == {n: v.item() for n, v in losses.items()}
    for name, network in trainer.networks.items():
        other_weights = other.networks[name].state_dict()
        assert all(torch.equal(value, other_weights[key]) for key, value in network.state_dict().items())


def assert_steps_between_processes(*, pictures=batch, **settings):
    """DDP finds every weight's gradient in each step, and the steps are those of one process without it."""
    trainer, alone = make(**settings), make(**settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        networks = trainer.method.networks
        for name, network in networks.items():
            networks[name] = torch.nn.parallel.DistributedDataParallel(network)
        for seed in range(3):
            torch.manual_seed(seed)
            found = trainer.step(pictures(seed))
            torch.manual_seed(seed)
            for name, value in alone.step(pictures(seed)).items():
                torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
    finally:
        torch.distributed.destroy_process_group()
