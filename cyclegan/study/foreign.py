"""Pictures that other programs made, as conditions of a study: found in folders, and matched to the inputs by name."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cyclegan.config import Direction
from cyclegan.errors import ImageError, Message, StudyError, message
from cyclegan.files import fingerprint, name_alone
from cyclegan.images import IMAGE_SUFFIXES, list_images, open_image, probe_image
from cyclegan.study.choice import Pictures, draw
from cyclegan.study.format import PlannedCheckpoint, Study

HEAD = 16
"""Bytes that reveal how a picture was compressed."""


@dataclass(frozen=True)
class ForeignPictures:
    """The pictures of one condition, by the number of the input that each stands for."""

    name: str
    """The condition's name in reports."""
    folder: Path
    paths: Mapping[int, Path]
    matched: bool
    """Each is named after its input. Otherwise an input only lends its place, and shows something else."""
    whole: int = 0
    """The number of files in the folder if all of them belong to inputs, else 0."""

    def load(self, number: int) -> Image.Image:
        """Return the picture for an input. Raises StudyError."""
        with _explained(self.name):
            return open_image(self.paths[number])

    def planned(self, number: int) -> PlannedCheckpoint:
        """Return the condition as the study records it, pinned by a hash of its files. Raises StudyError."""
        digest = hashlib.sha256()
        for path in sorted(self.paths.values()):
            try:
                digest.update(f"{path.name} {fingerprint(path)}\n".encode(errors="replace"))
            except OSError as error:
                raise StudyError("{path} can't be read ({reason})", path=path, reason=error) from error
        return PlannedCheckpoint(number, digest.hexdigest()[:40], name_alone(str(self.folder)), self.name, foreign=True,
                                 matched=self.matched)  # fmt: skip


def find_foreign(
    fakes: Mapping[str, str | Path], inputs: Pictures, direction: Direction, *, needs_match: bool, seed: int,
    note: Callable[[Message], object],
) -> tuple[list[ForeignPictures], list[int]]:
    """Return the conditions, and the numbers of the inputs for which each of them has a picture.

    A picture belongs to the input of its name, without its suffix, or else without an ending that programs give to
    results, such as `_fake_B`. Where a folder has pictures with such an ending, those without are copies of the inputs.
    Where no picture of a folder belongs to an input, its pictures are dealt out to the inputs by the seed, unless the
    study compares pictures of the same input.

    Args:
        fakes: folders by the names of their conditions.
        direction: ab: pictures that end in `_fake_A` aren't results.
        needs_match: the study shows pictures of the same input, or next to the real picture of its scene.
        note: called with a sentence about what doesn't match.

    Raises:
        StudyError: a folder can't be listed, has no pictures, two of one input, or none that match where they have to;
            or no input has one in each folder.
    """
    names, found, loose = _numbers(inputs), [], []
    listed = {}
    for name, path in fakes.items():
        with _explained(name):
            folder = Path(path)
            paths = listed[name] = list_images(folder)
        if not paths:
            raise StudyError("{folder} holds no pictures: name the folder that holds those of {name}", folder=folder,
                             name=name)  # fmt: skip
        matched = _match(name, paths, names, direction, note)
        if matched:
            found.append(ForeignPictures(name, folder, matched, True, len(paths) * (len(matched) == len(paths))))
        elif needs_match:
            raise StudyError(
                "none of the pictures in {folder} has the name of a picture that is translated, such as {example}: "
                "name them after these, or build a study that doesn't need it, with --pairing different",
                folder=folder, example=inputs.label(0),
            )  # fmt: skip
        else:
            loose.append(name)
    usable = [n for n in range(len(inputs)) if all(n in each.paths for each in found)]
    if not usable:
        raise StudyError(
            "no picture that is translated has one of its name in each of these folders: {folders}",
            folders=", ".join(str(folder) for folder in fakes.values()),
        )
    most = min([len(usable), *(len(listed[name]) for name in loose)])
    if most < len(usable):
        usable = sorted(sorted(usable, key=lambda n: draw(seed, "foreign", n))[:most])
    for name in loose:
        order = sorted(listed[name], key=lambda path: draw(seed, "foreign", name, path.name))
        found.append(ForeignPictures(name, Path(fakes[name]), dict(zip(usable, order, strict=False)), False))
    for text in _about_names(found, {name: len(paths) for name, paths in listed.items()}, len(usable), inputs):
        note(text)
    kept = [dataclasses.replace(each, paths={n: each.paths[n] for n in usable}) for each in found]
    return sorted(kept, key=lambda each: list(fakes).index(each.name)), usable


def _match(
    name: str, paths: Sequence[Path], names: Mapping[str, int], direction: Direction,
    note: Callable[[Message], object],
) -> dict[int, Path]:  # fmt: skip
    """Return a condition's pictures by the number of their input. Raises StudyError: an input has two."""
    plain: dict[int, Path] = {}
    results: dict[int, Path] = {}
    for path in paths:
        # The whole name first: an input may itself be called `street_output.png`.
        whole = _without_suffix(path.name)
        for stem, found in ((whole, plain), (_result_of(whole, direction), results)):
            if (number := names.get(_spelt(stem), names.get(_spelt(stem).casefold()))) is None:
                continue
            if number in found:
                raise StudyError(
                    "{name}: {one} and {other} have the name of the same picture that is translated: keep the one that "
                    "{name} made of it",
                    name=name, one=found[number].name, other=path.name,
                )  # fmt: skip
            found[number] = path
            break
    if plain and results:
        note(message(
            "{name}: files that end as {result} does are taken for its results; files without that ending, such as "
            "{plain}, for copies of the pictures that are translated",
            name=name, result=next(iter(results.values())).name, plain=next(iter(plain.values())).name,
        ))  # fmt: skip
    return results or plain


def _numbers(inputs: Pictures) -> dict[str, int]:
    """Return the inputs' numbers by name without suffix, and by that in small letters, of names that are there once."""
    stems = [_spelt(_without_suffix(inputs.label(n))) for n in range(len(inputs))]
    once = {}
    for spellings in ([stem.casefold() for stem in stems], stems):
        counts = Counter(spellings)
        once |= {stem: n for n, stem in enumerate(spellings) if counts[stem] == 1}
    return once


def _spelt(name: str) -> str:
    """Return a name with composed letters: some file systems take é apart."""
    return unicodedata.normalize("NFC", name)


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in IMAGE_SUFFIXES else name


def _result_of(name: str, direction: Direction) -> str:
    """Return the input's name in that of a result, such as `NAME_fake_B`."""
    return re.sub(rf"(?i)[_-](fake([_-]?{direction[1]})?|outputs?|synthesized_image)$", "", name)


def _about_names(
    found: Iterable[ForeignPictures], counts: Mapping[str, int], used: int, inputs: Pictures
) -> list[Message]:
    """Return sentences about pictures that match no input, and inputs without a picture."""
    texts = []
    for each in found:
        count = counts[each.name]
        if not each.matched:
            texts.append(message(
                "{name}: no file has the name of a picture that is translated, such as {example}, so its pictures are "
                "taken to show other scenes",
                name=each.name, example=inputs.label(0),
            ))  # fmt: skip
        elif len(each.paths) < count:
            texts.append(message(
                "{name}: files with the name of a picture that is translated: {matched} of {count}; the others aren't "
                "used",
                name=each.name, matched=len(each.paths), count=count,
            ))  # fmt: skip
    if used < len(inputs):
        texts.append(message(
            "pictures to translate for which each condition has one: {used} of {all}; the others aren't used",
            used=used, all=len(inputs),
        ))  # fmt: skip
    return texts


def frame_of(foreign: Sequence[ForeignPictures]) -> tuple[int, int]:
    """Return the width and height of most pictures. Raises StudyError."""
    sizes = Counter(size for each in foreign for size in _sizes(each))
    return min(sizes, key=lambda size: (-sizes[size], size))


def about_quality(foreign: Sequence[ForeignPictures], study: Study) -> list[Message]:
    """Return sentences about what may give a condition's pictures away: enlarged ones, and traces of compression."""
    texts, jpegs = [], {}
    for each in foreign:
        smaller = sum(width < study.size[0] or height < study.size[1] for width, height in _sizes(each))
        jpegs[each.name] = sum(_lost_something(path) for path in each.paths.values())
        if smaller:
            texts.append(message(
                "{name}: {n} of its pictures is smaller than the study's {width}×{height} pixels. It was enlarged, and "
                "being blurred may give it away: get a larger one, or choose a smaller --size",
                "{name}: {n} of its pictures are smaller than the study's {width}×{height} pixels. They were enlarged, "
                "and being blurred may give them away: get larger ones, or choose a smaller --size", smaller,
                name=each.name, width=study.size[0], height=study.size[1],
            ))  # fmt: skip
    others = any(not c.foreign for c in study.checkpoints) or any(jpegs[f.name] < len(f.paths) for f in foreign)
    for each in foreign:
        if jpegs[each.name] and others:
            texts.append(message(
                "{name}: {n} of its pictures is a JPEG or WebP file, and other fakes aren't, so traces of "
                "compression may give it away: get PNG files",
                "{name}: {n} of its pictures are JPEG or WebP files, and other fakes aren't, so traces of "
                "compression may give them away: get PNG files", jpegs[each.name],
                name=each.name,
            ))  # fmt: skip
    return texts


def _sizes(foreign: ForeignPictures) -> list[tuple[int, int]]:
    with _explained(foreign.name):
        return [probe_image(path) for path in foreign.paths.values()]


def _lost_something(path: Path) -> bool:
    """Return True for a JPEG file, and for a WebP file that isn't lossless."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    return head.startswith(b"\xff\xd8") or (head[8:12] == b"WEBP" and head[12:16] != b"VP8L")


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn a problem with a condition's pictures into a StudyError that names the condition."""
    try:
        yield
    except ImageError as error:
        raise StudyError("{name}: {reason}", name=name, reason=error) from error
