"""Several processes that share the pictures of a test set, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np


class Processes:
    """This process among those of a `torchrun --nproc_per_node N -m cyclegan evaluate …`; alone without torchrun."""

    def __init__(self) -> None:
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))

    def __enter__(self) -> Processes:
        if self.count > 1:
            import torch.distributed as distributed

            distributed.init_process_group("gloo")
        return self

    def __exit__(self, *error: object) -> None:
        if self.count > 1:
            import torch.distributed as distributed

            distributed.destroy_process_group()

    @property
    def is_main(self) -> bool:
        """True for the process that writes and prints."""
        return self.rank == 0

    def share(self, total: int) -> range:
        """Return the numbers of this process's pictures."""
        return range(self.rank, total, self.count)

    def gather(self, indices: list[int], rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the rows of all processes in the order of the pictures, in every process."""
        parts = [(indices, dict(rows))]
        if self.count > 1:
            import torch.distributed as distributed

            parts = [None] * self.count
            distributed.all_gather_object(parts, (indices, dict(rows)))
        order = np.argsort(np.concatenate([np.array(part[0], int) for part in parts]))
        names = {name for part in parts for name in part[1]}
        return {name: np.concatenate([part[1][name] for part in parts if name in part[1]])[order] for name in names}
