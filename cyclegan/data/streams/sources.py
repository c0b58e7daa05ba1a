"""A stream's source, and the domains that are made of it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, NoReturn, Protocol

from PIL import Image

from cyclegan.errors import DataError
from cyclegan.files import fingerprint
from cyclegan.images import open_image, probe_image

__all__ = ["TAKEN", "Picture", "Source", "Streamed", "Taken"]

TAKEN = 50
"""Pictures for samples and figures that are taken from the beginning of a stream."""


class Picture(NamedTuple):
    """A picture that isn't decoded."""

    label: str
    content: bytes | str
    """The file's bytes, or its path."""


class Source(Protocol):
    """The pictures of one domain, in shards that are read one after the other.

    Attributes:
        identity: a short text that changes when other pictures are in it, or another program reads it.
        shards: the number of its files, or other parts that can be read alone.
    """

    identity: str
    shards: int

    def read(self, shard: int, start: Any = None, part: tuple[int, int] = (0, 1)) -> Iterator[tuple[Picture, Any]]:
        """Yield the pictures of a shard, each with the place after it.

        Args:
            start: where an earlier reading of the same shard and part was left; None for the shard's beginning.
            part: (r, n) yields every n-th picture, from the r-th on.

        Raises:
            DataError: the shard can't be read.
        """
        ...


@dataclass(frozen=True)
class Streamed:
    """A domain's training pictures. They have no numbers, so nothing but a training can use them.

    Attributes:
        count: pictures of an epoch.
    """

    name: str
    part: str
    source: Source
    count: int
    fallible: ClassVar[bool] = False  # None is checked before training.

    def __len__(self) -> int:
        return self.count

    def first(self) -> Taken:
        """Return its first pictures, which can be counted: for samples where there are no test pictures, and scores."""
        return Taken(self.name, self.part, self.source)

    def label(self, index: int) -> str:
        return self.part

    where = label

    def probe(self, index: int) -> NoReturn:
        raise DataError(
            "{part} is a stream, so its pictures can only be trained on: give a data set in folders here",
            part=self.part,
        )  # fmt: skip

    load = probe

    def truth(self, index: int) -> None:
        return None

    labels = truth

    def fingerprint(self, index: int) -> str:
        return ""


@dataclass(frozen=True)
class Taken:
    """The first pictures of a source, which are read when they are needed and then kept."""

    name: str
    part: str
    source: Source
    fallible: ClassVar[bool] = True

    @functools.cached_property
    def pictures(self) -> list[Picture]:
        """The pictures, not decoded. Raises DataError."""
        every = (picture for shard in range(self.source.shards) for picture, _ in self.source.read(shard))
        return list(itertools.islice(every, TAKEN))

    def __len__(self) -> int:
        return len(self.pictures)

    def label(self, index: int) -> str:
        return self.pictures[index].label

    where = label

    def probe(self, index: int) -> tuple[int, int]:
        return probe_image(self.pictures[index].content, name=self.label(index))

    def load(self, index: int) -> Image.Image:
        return open_image(self.pictures[index].content, name=self.label(index))

    def truth(self, index: int) -> None:
        return None

    labels = truth

    def fingerprint(self, index: int) -> str:
        return fingerprint(self.pictures[index].content)
