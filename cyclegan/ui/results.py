"""Results on the pages: a picture translated, brought back and compared with itself, as files that browsers fetch."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import shutil
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from cyclegan.rasters import files
from cyclegan.rasters.raster import FILE_DIGEST, Raster
from cyclegan.ui.decoding import LARGE
from cyclegan.ui.engine import Engine
from cyclegan.values import RGB, Values

if TYPE_CHECKING:
    from cyclegan.evaluation.reconstruction import Similarity
    from cyclegan.translation.translator import TranslationResult, Translator

MAX_NAME_BYTES = 80
MAX_KEPT_BYTES = 512 * 2**20
WRITERS = 2
"""Threads that write a result's pictures."""
SERVED: set[str] = set()
"""Paths of all files made here, for gradio's sweep (`Blocks.temp_file_sets`), because gradio itself knows only those
that a component was built with."""

PINNED: set[str] = set()
"""Those that everybody sees, whoever saw them first: the first example and its result."""


VALUES, ORIGINAL = "values", "original"
"""Folders next to a picture that was made for browsers, with what is behind it: a result's values, a visitor's file."""


class Picture:
    """A visitor's picture with its digest.

    Args:
        image: RGB, or a raster.
        values: of its domain.
    """

    def __init__(self, image: Image.Image | Raster, values: Values = RGB) -> None:
        self.image, self.values = image, values

    @functools.cached_property
    def digest(self) -> str:
        """Equal for pictures that have equal results."""
        if isinstance(self.image, Raster):  # With the tags that results take over: another's are never in one's files.
            origin, array = self.image.origin, self.image.values
            facts, content = (array.shape, self.values, origin, _tags(origin.keep)), array.tobytes()
        else:
            facts, content = self.image.size, self.image.tobytes()
        return hashlib.sha256(repr(facts).encode() + content).hexdigest()

    @property
    def shown(self) -> Image.Image:
        """The picture for a screen, RGB: a raster's whole range."""
        return self.values.shown(self.image) if isinstance(self.image, Raster) else self.image


def _tags(keep: Mapping[str, Any]) -> Any:
    """Return what two pictures with equal tags share, and no others: the file's digest, where it is known.

    A library's own objects can't be compared by their text, so a picture with some has results of its own.
    """
    if FILE_DIGEST in keep:
        return keep[FILE_DIGEST]
    plain = all(isinstance(value, (str, bytes, int, float, tuple, type(None))) for value in keep.values())
    return sorted(keep.items()) if plain else uuid.uuid4().hex


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
    """A checkpoint's translation of a picture: paths of PNG files in gradio's folder, all of the picture's size.

    Those of a domain that isn't 8-bit RGB show its whole range, and have their values behind them (`values_behind`).
    """

    commit_sha: str
    fake: str
    rec: str | None
    """The picture brought back; None where the checkpoint has one direction only, or it wasn't asked for."""
    lost: str | None
    """The map of |rec − picture| at the size at which the networks worked, enlarged."""
    similarity: Similarity | None
    """Similarity of the picture and its way back at that size: another one would count what resizing loses."""
    fake_file: str | None = None
    """The translation as a file of the picture's kind, where its domain isn't 8-bit RGB."""
    rec_file: str | None = None
    """The way back, likewise."""
    kept: tuple[str, ...] = ()
    """Further files that belong to it."""

    @property
    def paths(self) -> list[str]:
        """The paths of its files."""
        shown = self.fake, self.rec, self.lost
        return [path for path in (*shown, *self.files, *self.kept) if path is not None]

    @property
    def files(self) -> list[str]:
        """The paths of its files with values."""
        return [path for path in (self.fake_file, self.rec_file) if path is not None]


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
        path = self._get(("input", picture.digest), and_behind)
        if path is None:
            path = _served_input(picture)
            if isinstance(picture.image, Raster):
                put_values(path, picture.image)
            self._put(("input", picture.digest), path, and_behind(path))
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


def _served_input(picture: Picture) -> str:
    """Write the picture as browsers show it: without loss, unless that takes a second and megabytes."""
    if math.prod(picture.image.size) > LARGE and not isinstance(picture.image, Raster):
        return served("input.jpg", lambda path: picture.image.save(path, quality=95, subsampling=0))
    return served("input.png", lambda path: picture.shown.save(path, compress_level=1))


def _key(picture: Picture, commit_sha: str, wanted: ResultRequest) -> tuple[Any, ...]:
    return picture.digest, commit_sha, wanted.direction, wanted.size, wanted.reconstruct


def compute(
    engine: Engine | None, translator_of: Callable[[ResultRequest], Translator], picture: Image.Image | Raster,
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


def _saved(picture: Image.Image | Raster, translator: Translator, translation: TranslationResult) -> Result:
    from cyclegan.evaluation.reconstruction import heat_full, heat_map, similarity
    from cyclegan.images import resize
    from cyclegan.translation.saving import save_image

    info, data = translator.checkpoint.info, translator.checkpoint.config.data
    here, there = ({"a": data.domain_a, "b": data.domain_b}[domain] for domain in translation.direction)
    kept = []

    def saved(image: Image.Image | Raster, stem: str, domain: str) -> tuple[str, str | None]:
        shown = data.values(domain).shown(image) if isinstance(image, Raster) else image
        path = served(
            f"{file_name(stem)}.png",
            lambda path: save_image(
                shown, path, checkpoint=translator.checkpoint, direction=translation.direction
            ),
        )
        if not isinstance(image, Raster):
            return path, None
        kept.append(put_values(path, image))
        return path, served(f"{file_name(stem)}{files.ending(image)}", lambda path: files.write(path, image))

    with ThreadPoolExecutor(WRITERS) as writers:  # Of 12 megapixels, each takes half a second.
        fake = writers.submit(saved, translation.fake, f"{info.tag} as {there}", translation.direction[1])
        if translation.worked is None:
            fake, fake_file = fake.result()
            return Result(info.commit_sha, fake, None, None, None, fake_file, None, tuple(kept))
        rec = writers.submit(saved, translation.rec, f"{info.tag} back to {here}", translation.direction[0])
        values, (given, back) = data.values(translation.direction[0]), translation.worked
        heat, full = resize(heat_map(back, given, values), picture.size), heat_full(values)
        # One scale for all pictures: the name says it, in a file that leaves the page too.
        name = f"error_0_to_{full:g}{'_grey_levels' if values.plain else ''}.png"
        lost = served(name, lambda path: heat.save(path, compress_level=1))
        figures = similarity(back, given, values)
        (fake, fake_file), (rec, rec_file) = fake.result(), rec.result()
    return Result(info.commit_sha, fake, rec, lost, figures, fake_file, rec_file, tuple(kept))


# --- values behind pictures ---------------------------------------------------------------------------------


def put_values(path: str, raster: Raster) -> str:
    """Write the values behind a picture that shows them, and return their path.

    As NumPy's own file, because the raster's kind may round, and takes longer.
    """
    return _put_behind(path, VALUES, "values.npy", lambda target: np.save(target, raster.values))


def values_behind(path: Path) -> Raster | None:
    """Return the values of a result, or of the picture as it was read; None for a picture of 8 bits."""
    file = _behind(path, VALUES)
    return None if file is None else Raster(np.load(file, allow_pickle=False))


def put_original(path: str, original: Path) -> str:
    """Put a file behind the picture that shows it in a browser, and return its new path: a copy of a run's file."""
    of_visitor = original.resolve().is_relative_to(Path(get_upload_folder()).resolve())
    put = _link if of_visitor else shutil.copyfile
    return _put_behind(path, ORIGINAL, original.name, lambda target: put(original, target))


def original_of(path: Path) -> Path:
    """Return the file behind a picture that shows it in a browser, or the picture itself."""
    return _behind(path, ORIGINAL) or path


def files_behind(path: str) -> list[str]:
    """Return the files that are behind a picture: they come and go with it."""
    found = (_behind(Path(path), folder) for folder in (VALUES, ORIGINAL))
    return [str(file) for file in found if file is not None]


def _put_behind(path: str, folder: str, name: str, write: Callable[[Path], Any]) -> str:
    target = Path(path).parent / folder / name
    target.parent.mkdir()
    write(target)
    SERVED.add(str(target))
    return str(target)


def _behind(path: Path, folder: str) -> Path | None:
    with contextlib.suppress(OSError, ValueError):  # There is none, or a request has named what can't be a path.
        return next((path.parent / folder).iterdir(), None)
    return None


def and_behind(path: str) -> list[str]:
    """Return a picture's path, and those of the files behind it."""
    return [path, *files_behind(path)]


# --- served files -------------------------------------------------------------------------------------------


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
    """Return a second path to a file of gradio's folder, without a copy of its content, and of what lies behind it."""
    path = served(given.name, lambda path: _link(given, path))
    if (original := original_of(given)) != given:
        put_original(path, original)
    return path


def _link(given: Path, path: Path) -> None:
    try:
        os.link(given, path)
    except OSError:  # Not on every file system.
        shutil.copyfile(given, path)
