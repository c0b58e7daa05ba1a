"""What two processes send each other in one training step, and when; one of them.

Started by tests/training/test_processes.py.

Prints, as JSON: how many gradients each exchange carried and when it began, and when the generators' backward pass
ended, in microseconds of one clock.
"""

import json

import torch
from torch.profiler import ProfilerActivity, profile

from cyclegan.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from cyclegan.training.launch import make_accelerator
from cyclegan.training.trainer import Trainer

accelerator, config = make_accelerator(TrainConfig(
    data=DataConfig(dataset="none"),
    # Large enough for more than one bucket per generator: the first one holds a MiB.
    model=ModelConfig(generator="resnet_6", ngf=16, ndf=16),
    run=RunConfig(output_dir="none"),
))  # fmt: skip
trainer = Trainer(config, None, accelerator)
pictures = {name: torch.rand(1, 3, 32, 32) * 2 - 1 for name in ("real_a", "real_b")}
for _ in range(2):  # Buckets are laid out anew after the first.
    trainer.step(pictures)
with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
    trainer.step(pictures)
events = sorted(profiled.events(), key=lambda event: event.time_range.start)
reduced = [event for event in events if event.name == "gloo:all_reduce"]
steps = [event.time_range.start for event in events if event.name.startswith("Optimizer.step")]
backward = [e.time_range.end for e in events if e.name == "aten::convolution_backward" and e.time_range.end < steps[0]]
print(json.dumps({
    "sent": [event.input_shapes[0][0] for event in reduced],
    "began": [event.time_range.start for event in reduced],
    "backward_ended": max(backward),
    "gradients": {name: sum(p.numel() for p in n.parameters()) for name, n in trainer.networks.items()},
}))  # fmt: skip
