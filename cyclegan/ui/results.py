"""Results on the pages: a picture translated, brought back and compared with itself, as files that browsers fetch."""

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
from urllib.parse import quote

from gradio.utils import get_upload_folder
from PIL import Image

from cyclegan.ui.engine import Engine

if TYPE_CHECKING:
    from cyclegan.evaluation.reconstruction import Similarity
    from cyclegan.translation.translator import TranslationResult, Translator

MAX_NAME_BYTES = 80
MAX_KEPT_BYTES = 512 * 2**20
SERVED: set[str] = set()
"""Paths of all files made here, for gradio's sweep (`Blocks.temp_file_sets`), because gradio itself knows only those
that a component was built with."""

PINNED: set[str] = set()
"""Those that everybody sees, whoever saw them first: the first example and its result."""


class Picture:
    """A visitor's picture with its digest.

    Args:
        image: RGB.
    """

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()


@dataclass(frozen=True)
class ResultRequest:
    """One translation of a picture that a page asks for."""

    run: str
    epoch: int
    commit_sha: str
    """The commit that the epoch was pinned to when it was chosen."""
    direction: str
    size: int | None
    """The shorter side to work at; None: the picture's own."""
    reconstruct: bool = True


@dataclass(frozen=True)
class Result:
    """A checkpoint's translation of a picture: paths of PNG files in gradio's folder, all of the picture's size."""

    commit_sha: str
    fake: str
    rec: str | None
    """The picture brought back; None where the checkpoint has one direction only, or it wasn't asked for."""
    lost: str | None
    """The map of |rec − picture|."""
    similarity: Similarity | None

    @property
    def paths(self) -> list[str]:
        """The paths of its files."""
        return [path for path in (self.fake, self.rec, self.lost) if path is not None]


class ResultCache:
    """The latest results, by picture, commit SHA, direction and size.

    Args:
        max_bytes: bound of all their files; a result whose file gradio has removed is made again.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[tuple[Any, ...], tuple[Result | str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, picture: Picture, wanted: ResultRequest) -> Result | None:
        """Return the result, None if it isn't kept."""
        return self._get(_key(picture, wanted.commit_sha, wanted), lambda result: result.paths)

    def put(self, picture: Picture, wanted: ResultRequest, result: Result) -> None:
        """Keep a result."""
        self._put(_key(picture, result.commit_sha, wanted), result, result.paths)

    def input(self, picture: Picture) -> str:
        """Return the path of the picture itself as a file."""
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
                self._kept.popitem(last=False)  # Its files stay for those who look at them; gradio removes them.


def _key(picture: Picture, commit_sha: str, wanted: ResultRequest) -> tuple[Any, ...]:
    return picture.digest, commit_sha, wanted.direction, wanted.size, wanted.reconstruct


def compute(
    engine: Engine | None, translator_of: Callable[[ResultRequest], Translator], picture: Image.Image,
    wanted: Sequence[ResultRequest],
) -> Iterator[Result | float]:
    """Yield results in order, each as soon as it is ready; until then the progress of all now and then, 0 to 1.

    Args:
        engine: runs the networks; None: this thread does.
        translator_of: returns a request's loaded checkpoint.
    """
    waiting = []
    try:
        for each in wanted:
            translator = translator_of(each)
            options = {"reconstruct": each.reconstruct, "size": each.size}
            if engine is None:
                yield _saved(picture, translator, translator.translate(picture, each.direction, **options))
            else:
                waiting.append((translator, engine.submit(translator, [picture], each.direction, **options)))
        for translator, done in waiting:
            for _ in done.follow():
                yield sum(1.0 if each.done() else each.part for _, each in waiting) / len(waiting)
            yield _saved(picture, translator, done.result()[0])
    finally:  # The visitor may have left.
        for _, done in waiting:
            done.cancel()


def _saved(picture: Image.Image, translator: Translator, translation: TranslationResult) -> Result:
    from cyclegan.evaluation.reconstruction import HEAT_FULL, heat_map, similarity
    from cyclegan.translation.translator import save_png

    info = translator.checkpoint.info
    names = {"a": translator.checkpoint.config.data.domain_a, "b": translator.checkpoint.config.data.domain_b}
    here, there = (names[domain] for domain in translation.direction)

    def png(image: Image.Image, stem: str) -> str:
        return served(
            f"{file_name(stem)}.png",
            lambda path: save_png(
                image, path, checkpoint=translator.checkpoint, direction=translation.direction, compress_level=1
            ),
        )

    fake = png(translation.fake, f"{info.tag} as {there}")
    if translation.rec is None:
        return Result(info.commit_sha, fake, None, None, None)
    heat = heat_map(translation.rec, picture)
    # One scale for all pictures: the name says it, in a file that leaves the page too.
    lost = served(f"error_0_to_{HEAT_FULL}_grey_levels.png", lambda path: heat.save(path, compress_level=1))
    rec = png(translation.rec, f"{info.tag} back to {here}")
    return Result(info.commit_sha, fake, rec, lost, similarity(translation.rec, picture))


def file_name(stem: str) -> str:
    """Return `stem` as part of a file's name, at most MAX_NAME_BYTES long: domains and uploads may have any name."""
    name = "".join(c if c.isalnum() or c == "-" else "_" for c in stem)
    return name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")


def served(name: str, write: Callable[[Path], Any], folder: str = "") -> str:
    """Write a new file in gradio's folder and return its path; gradio serves it, and removes it when it is old.

    Args:
        name: the file's name.
        write: called with its path.
        folder: prefix of its folder's name.
    """
    path = Path(get_upload_folder()) / f"{folder}{uuid.uuid4().hex}" / name
    path.parent.mkdir(parents=True)
    write(path)
    SERVED.add(str(path))
    return str(path)


def address(path: str) -> str:
    """Return the address of a file of gradio's folder, relative to the page's."""
    return f"gradio_api/file={quote(path)}"


def linked(given: Path) -> str:
    """Return a second path to a file of gradio's folder, without a copy of its content."""

    def link(path: Path) -> None:
        try:
            os.link(given, path)
        except OSError:  # Not on every file system.
            shutil.copyfile(given, path)

    return served(given.name, link)
