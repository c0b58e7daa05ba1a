"""One of two processes that train two steps with `--gradient_compression`; the first one saves losses and weights.

`python -m tests.compressed KIND FILE`, with RANK and so on in the environment; tests/training/test_nodes.py starts it.
"""

import sys

import torch

from cyclegan.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from cyclegan.training.launch import make_accelerator
from cyclegan.training.trainer import Trainer

kind, path = sys.argv[1:]
accelerator, config = make_accelerator(TrainConfig(
    data=DataConfig(dataset="none"),
    model=ModelConfig(generator="resnet_6", ngf=4, ndf=4),
    run=RunConfig(output_dir="none", gradient_compression=kind, mixed_precision="no"),
))  # fmt: skip
trainer = Trainer(config, None, accelerator)
random = torch.Generator().manual_seed(accelerator.process_index)
for _ in range(2):
    pictures = {name: torch.rand(1, 3, 32, 32, generator=random) * 2 - 1 for name in ("real_a", "real_b")}
    losses = trainer.step(pictures)
weights = {name: torch.cat([p.detach().flatten() for p in n.parameters()]) for name, n in trainer.networks.items()}
for value in weights.values():
    both = accelerator.gather(value[None])
    assert torch.equal(both[0], both[1])
if accelerator.is_main_process:
    torch.save({"losses": losses, "weights": weights}, path)
