"""The endless order of a stream's pictures: a pure function of seed, domain and process, entered at any place.

`datasets` fills its shuffle buffer anew when a training resumes, so the order becomes another one. Here pictures are
shuffled within blocks of successive ones instead. A block can be read again from where it begins, so a place needs only
that and the number of pictures taken from the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cyclegan.data.streams.sources import Picture, Source
from cyclegan.errors import DataError

__all__ = ["Order", "Place"]

_SHARDS, _BLOCK = 4, 5  # Separate the uses of a seed, from those in cyclegan.data.order, too.


class Place(NamedTuple):
    """A place in the order: where its block begins, and how many pictures of the block lie behind."""

    passes: int = 0
    """Passes over the whole source that are behind."""
    block: int = 0
    """The block's number in the pass."""
    shard: int = 0
    """The position of its first shard in the pass's order."""
    start: Any = None
    """As `Source.read` takes it."""
    taken: int = 0


class Order:
    """One process's order of a source, without end: when a pass ends, the next one has other orders of everything.

    Args:
        source: the pictures.
        seed: whatever else than the place should change the order, such as the run's seed and the domain.
        buffer: pictures of a block. While one is used, the next one is read, so about as many are held in all.
        part: (r, n) for process r of n. If n divides the shards, each process has shards of its own; otherwise, each
            takes every n-th picture.
        name: of the domain, for messages.
    """

    def __init__(
        self, source: Source, *, seed: tuple[int, ...], buffer: int, part: tuple[int, int], name: str
    ) -> None:
        self.source, self.seed, self.buffer, self.part, self.name = source, seed, buffer, part, name

    def pictures(self, place: Place) -> Iterator[tuple[Picture, Place]]:
        """Yield the pictures from a place on, each with the place after it. Raises DataError."""
        reading = self._read(place.passes, place.shard, place.start)
        block, taken = _Block(reading, self.buffer, place), place.taken
        while True:
            while block.end is None:
                block.read_one()
            following = _Block(reading, self.buffer, block.end)
            begin, held = block.begin, block.pictures
            rng = np.random.default_rng((_BLOCK, *self.seed, self.part[0], begin.passes, begin.block))
            for index, number in enumerate(rng.permutation(len(held)).tolist()):
                if index < taken:
                    continue
                yield held[number], begin._replace(taken=index + 1)
                held[number] = None  # Its memory is for the next one.
                following.read_one()
            block, taken = following, 0

    def _read(self, passes: int, shard: int, start: Any) -> Iterator[tuple[Picture | None, Place]]:
        """Yield pictures in the order of the source, each with the place after it; None at the end of a pass."""
        rank, count = self.part
        while True:
            order = np.random.default_rng((_SHARDS, *self.seed, passes)).permutation(self.source.shards).tolist()
            own = self.source.shards % count == 0
            mine, part = (order[rank::count], (0, 1)) if own else (order, self.part)
            found = shard > 0 or start is not None
            for position in range(shard, len(mine)):
                for picture, after in self.source.read(mine[position], start, part):
                    found = True
                    yield picture, Place(passes, 0, position, after)
                start = None
            if not found:  # Otherwise it would be looked for without end.
                raise DataError(
                    "{name} has no pictures for process {number} of {count}: add some, or use fewer processes",
                    name=self.name, number=rank + 1, count=count,
                ) if count > 1 else DataError("{name} has no pictures", name=self.name)  # fmt: skip
            passes, shard = passes + 1, 0
            yield None, Place(passes)


class _Block:
    """Successive pictures of one pass that are shuffled together."""

    def __init__(self, reading: Iterator[tuple[Picture | None, Place]], size: int, begin: Place) -> None:
        self._reading, self._size = reading, size
        self.begin = begin._replace(taken=0)
        self.pictures: list[Picture | None] = []
        self.end: Place | None = None
        """Where the next block begins, once this one is complete."""

    def read_one(self) -> None:
        """Read the next picture, unless the block is complete."""
        if self.end is not None:
            return
        picture, after = next(self._reading)
        if picture is None:
            self.end = after
            return
        self.pictures.append(picture)
        if len(self.pictures) == self._size:
            self.end = after._replace(block=self.begin.block + 1)
