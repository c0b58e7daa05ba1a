"""A picture read as a domain: translated, brought back, compared with itself. Kept as files that browsers fetch."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradio.utils import get_upload_folder
from PIL import Image

from cyclegan.ui.engine import Engine

if TYPE_CHECKING:
    from cyclegan.evaluation.reconstruction import Similarity
    from cyclegan.translation.translator import TranslationResult, Translator

MAX_NAME_BYTES = 80
MAX_KEPT_BYTES = 512 * 2**20
SERVED: set[str] = set()
"""Paths of all files made here, for gradio's sweep (`Blocks.temp_file_sets`): it knows only those that a component
hands out as its value, and not those of a component that an event has changed."""


class Picture:
    """A picture that was given, and what tells it from others.

    Args:
        image: RGB.
    """

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()


@dataclass(frozen=True)
class Wanted:
    """A reading to be made."""

    run: str
    epoch: int
    commit_sha: str
    """What the epoch was pinned to when it was chosen."""
    direction: str
    size: int | None
    """The shorter side to work at; None: the picture's own."""
    reconstruct: bool = True


@dataclass(frozen=True)
class Reading:
    """What a checkpoint makes of a picture: paths of PNG files in gradio's folder, all of the picture's size."""

    commit_sha: str
    fake: str
    rec: str | None
    """The way back; None where the checkpoint has one direction only, or it wasn't asked for."""
    lost: str | None
    """The map of |rec − picture|."""
    similarity: Similarity | None

    @property
    def paths(self) -> list[str]:
        """Its files."""
        return [path for path in (self.fake, self.rec, self.lost) if path is not None]


class Readings:
    """The readings that were made lately, by (picture, commit SHA, direction, size).

    Args:
        max_bytes: bound of their files together; a file that gradio has removed meanwhile is made again.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[tuple[Any, ...], tuple[Reading | str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, picture: Picture, wanted: Wanted) -> Reading | None:
        """The reading, if it is here."""
        return self._get(_key(picture, wanted.commit_sha, wanted), lambda reading: reading.paths)

    def put(self, picture: Picture, wanted: Wanted, reading: Reading) -> None:
        """Keep a reading."""
        self._put(_key(picture, reading.commit_sha, wanted), reading, reading.paths)

    def input(self, picture: Picture) -> str:
        """The picture itself as a file."""
        path = self._get(("input", picture.digest), lambda path: [path])
        if path is None:
            path = served("input.png", lambda path: picture.image.save(path, compress_level=1))
            self._put(("input", picture.digest), path, [path])
        return path

    def _get(self, key: tuple[Any, ...], paths: Callable[[Any], list[str]]) -> Any:
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            try:
                for path in paths(found[0]):
                    os.utime(path)  # Gradio removes what nobody has used for an hour.
            except OSError:
                del self._kept[key]
                return None
            self._kept.move_to_end(key)
            return found[0]

    def _put(self, key: tuple[Any, ...], value: Any, paths: list[str]) -> None:
        size = sum(os.path.getsize(path) for path in paths)
        with self._lock:
            self._kept[key] = value, size
            while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > self.max_bytes:
                self._kept.popitem(last=False)  # Someone may look at its files still; gradio removes them.


def _key(picture: Picture, commit_sha: str, wanted: Wanted) -> tuple[Any, ...]:
    return picture.digest, commit_sha, wanted.direction, wanted.size, wanted.reconstruct


def compute(
    engine: Engine | None, translator_of: Callable[[Wanted], Translator], picture: Image.Image,
    wanted: Sequence[Wanted],
) -> Iterator[Reading | float]:
    """Make readings, each as soon as it is there; until then, now and then, what part of it is done.

    Args:
        engine: what runs the networks; None: this thread.
        translator_of: the loaded checkpoint of a wanted reading.
    """
    waiting = []
    try:
        for each in wanted:
            translator = translator_of(each)
            options = {"reconstruct": each.reconstruct, "size": each.size}
            if engine is None:
                yield _reading(picture, translator, translator.translate(picture, each.direction, **options))
            else:
                waiting.append((translator, engine.submit(translator, [picture], each.direction, **options)))
        for translator, done in waiting:
            yield from done.follow()
            yield _reading(picture, translator, done.result()[0])
    finally:  # The visitor may be gone.
        for _, done in waiting:
            done.cancel()


def _reading(picture: Image.Image, translator: Translator, result: TranslationResult) -> Reading:
    from cyclegan.evaluation.reconstruction import HEAT_FULL, heat_map, similarity
    from cyclegan.translation.translator import save_png

    info = translator.checkpoint.info
    names = {"a": translator.checkpoint.config.data.domain_a, "b": translator.checkpoint.config.data.domain_b}
    here, there = (names[domain] for domain in result.direction)

    def saved(image: Image.Image, stem: str) -> str:
        return served(
            f"{file_name(stem)}.png",
            lambda path: save_png(
                image, path, checkpoint=translator.checkpoint, direction=result.direction, compress_level=1
            ),
        )

    fake = saved(result.fake, f"{info.tag} as {there}")
    if result.rec is None:
        return Reading(info.commit_sha, fake, None, None, None)
    heat = heat_map(result.rec, picture)
    # One scale for all pictures: the name says it, in a file that leaves the page too.
    lost = served(f"error_0_to_{HEAT_FULL}_grey_levels.png", lambda path: heat.save(path, compress_level=1))
    return Reading(
        info.commit_sha, fake, saved(result.rec, f"{info.tag} back to {here}"), lost, similarity(result.rec, picture)
    )


def file_name(stem: str) -> str:
    """`stem` as part of a file's name, at most MAX_NAME_BYTES long: domains and uploads may have names of any kind."""
    name = "".join(c if c.isalnum() or c == "-" else "_" for c in stem)
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")


def served(name: str, write: Callable[[Path], Any], folder: str = "") -> str:
    """A new file in gradio's folder: it is served from there under its name, and removed when old.

    Args:
        name: its last part.
        write: called with its path.
        folder: how its folder's name begins.
    """
    path = Path(get_upload_folder()) / f"{folder}{uuid.uuid4().hex}" / name
    path.parent.mkdir(parents=True)
    write(path)
    SERVED.add(str(path))
    return str(path)


def linked(given: Path) -> str:
    """A file of gradio's folder under another path there, without a second copy of its content."""

    def link(path: Path) -> None:
        try:
            os.link(given, path)
        except OSError:  # Not on every file system.
            shutil.copyfile(given, path)

    return served(given.name, link)
