"""One of two processes that train a few steps by every method, and say whether their weights are equal.

`python -m tests.together`, with RANK and so on in the environment; tests/training/test_processes.py starts both.
"""

import json

import torch
from accelerate import Accelerator

from cyclegan.cli.flags import parse_train_config
from cyclegan.data import find_data, open_data
from cyclegan.methods import METHODS
from cyclegan.training.semantic import open_segmenter
from cyclegan.training.trainer import Trainer

FLAGS = ("--dataset", "streets:count=4,size=36", "--load_size", "36", "--crop_size", "32", "--ngf", "4", "--ndf", "4",
         "--output_dir", "none", "--num_workers", "0", "--ema", "0.9", "--augment", "small")  # fmt: skip
SMALL = ("--generator", "resnet_6", "--batch_size", "1")
OWN = {"pix2pix": ("--like_cyclegan", *SMALL), "cogan": ("--batch_size", "2"),
       "cyclegan": ("--lambda_semantic", "1", *SMALL), "cut": ("--lambda_semantic", "1", *SMALL)}  # fmt: skip
"""Flags of methods that have more than `SMALL`, or other ones."""


def train(method: str, accelerator: Accelerator) -> dict[str, bool]:
    """Train an epoch of two steps, and return whether weights moved, and are equal in both processes."""
    config = parse_train_config(["--method", method, *FLAGS, *OWN.get(method, SMALL)])
    data = open_data(
        config.data, seed=0, multiple=config.model.size_multiple, paired=METHODS[method].paired, progress=False
    )
    config, segmenter = open_segmenter(config, find_data(config.data))
    trainer = Trainer(config, data, accelerator, segmenter)
    before = weights(trainer)
    trainer.train_epoch()
    after = weights(trainer)
    both = accelerator.gather(after[None])
    return {"moved": not torch.equal(before, after), "equal": torch.equal(both[0], both[1])}


def weights(trainer: Trainer) -> torch.Tensor:
    """Return all weights and averages in one vector."""
    networks = [*trainer.networks.values(), *trainer.published_generators().values()]
    return torch.cat([p.detach().flatten() for network in networks for p in network.parameters()]).clone()


if __name__ == "__main__":
    accelerator = Accelerator(cpu=True)
    print(json.dumps({method: train(method, accelerator) for method in METHODS}), flush=True)
    accelerator.end_training()
