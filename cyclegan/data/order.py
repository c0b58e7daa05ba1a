"""The order of pictures in an epoch: pure functions of (seed, epoch), independent of workers and processes.

The reference draws B at random for every A, with replacement, so that an epoch misses a third of B; that is
`random_order`. By default the shorter domain repeats in fresh permutations: each of its pictures is seen equally
often (give or take one), in an order that is independent of A's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cyclegan.errors import DataError, Message, message

__all__ = ["Step", "domain_order", "random_order", "sample_rng", "step_plans", "steps_in"]

_ORDER, _CHANCE, _RANDOM = 1, 2, 3  # separate the uses of a seed


class Step(NamedTuple):
    """One step of one process: the numbers of its pictures of a and b, and their positions in the epoch."""

    epoch: int
    positions: tuple[int, ...]
    indices_a: tuple[int, ...]
    indices_b: tuple[int, ...]


def domain_order(seed: int, epoch: int, domain: int, length: int, epoch_length: int) -> np.ndarray:
    """Return int64 (epoch_length,): the picture at each position of an epoch, as repeated fresh permutations.

    Args:
        domain: 0 for a, 1 for b; the two orders are independent of each other.
        length: pictures in the domain, at least 1.
        epoch_length: positions in the epoch, at least 1.
    """
    rng = np.random.default_rng((_ORDER, seed, epoch, domain))
    rounds = -(-epoch_length // length)
    return np.concatenate([rng.permutation(length) for _ in range(rounds)])[:epoch_length]


def random_order(seed: int, epoch: int, lengths: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return two int64 (max(lengths),): the pictures of a and of b at each position of an epoch, as in the reference.

    A's is a permutation of the positions, each taken modulo A's length, so that all its pictures are seen equally often
    (give or take one). B's are drawn with replacement, independently of A's.

    Args:
        lengths: pictures in a and in b, at least 1 each.
    """
    rng_a, rng_b = (np.random.default_rng((_RANDOM, seed, epoch, domain)) for domain in (0, 1))
    epoch_length = max(lengths)
    return rng_a.permutation(epoch_length) % lengths[0], rng_b.integers(lengths[1], size=epoch_length)


def sample_rng(seed: int, epoch: int, position: int, domain: int) -> np.random.Generator:
    """Return the chance (crop, mirror) of the picture at one position: the same after a restart, in any process."""
    return np.random.default_rng((_CHANCE, seed, epoch, position, domain))


def steps_in(epoch_length: int, batch_size: int, num_processes: int = 1, accumulation: int = 1) -> int:
    """Return the steps of each process in an epoch; the rest is dropped, different pictures in each epoch.

    Args:
        epoch_length: positions in the epoch.
        batch_size: samples per step and process.
        accumulation: steps per update of the weights; an epoch has whole updates only.

    Raises:
        DataError: the epoch is too short for one update; the message names what multiplies.
    """
    together = batch_size * num_processes * accumulation
    if together > epoch_length:
        factors: list[str | Message] = [f"--batch_size {batch_size}"]
        factors += [f"--gradient_accumulation_steps {accumulation}"] if accumulation > 1 else []
        factors += [message("{n} process", "{n} processes", num_processes)] if num_processes > 1 else []
        product = factors[0]
        for factor in factors[1:]:
            product = message("{first} × {second}", first=product, second=factor)
        if len(factors) > 1:
            product = message("{product} = {together}", product=product, together=together)
        raise DataError(
            "an update takes more pictures ({product}) than the one of an epoch: lower that, or add pictures",
            "an update takes more pictures ({product}) than the {n} of an epoch: lower that, or add pictures",
            epoch_length, product=product,
        )  # fmt: skip
    return epoch_length // together * accumulation


def step_plans(
    seed: int, epoch: int, lengths: tuple[int, int], *, paired: bool, batch_size: int,
    process_index: int = 0, num_processes: int = 1, start_step: int = 0, random: bool = False,
) -> Iterator[Step]:
    """Yield the steps of one process, from `start_step` on.

    Step k uses positions [k × W × B, (k + 1) × W × B) of the epoch, for W processes with batches of B, and rank r
    takes the r-th B of them: two processes together see what one sees with twice the batch.

    Args:
        lengths: pictures in a and in b.
        paired: b follows a's order.
        random: `random_order` instead of permutations; without effect on paired data.
    """
    epoch_length = max(lengths)
    if random and not paired:
        order_a, order_b = random_order(seed, epoch, lengths)
    else:
        order_a = domain_order(seed, epoch, 0, lengths[0], epoch_length)
        order_b = order_a if paired else domain_order(seed, epoch, 1, lengths[1], epoch_length)
    for step in range(start_step, steps_in(epoch_length, batch_size, num_processes)):
        first = (step * num_processes + process_index) * batch_size
        at = slice(first, first + batch_size)
        positions = tuple(range(first, first + batch_size))
        yield Step(epoch, positions, tuple(order_a[at].tolist()), tuple(order_b[at].tolist()))
