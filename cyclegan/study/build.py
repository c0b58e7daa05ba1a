"""Open networks and pictures → a frozen study: pictures chosen, fakes rendered, files made alike, and checked.

A fake and a real picture have the same history, so that nothing but what they show tells them apart. Each picture of
the data set, input or real, is brought to the size that the networks work at, in the same way as their test pictures;
the fake is a network's output for such an input, and the real picture is another network's input. If stimuli have
another size, both are resized by one bicubic step. Then both go through one encoder that doesn't compress, so that all
files have one length and one structure.

No torch here: networks come as functions.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import os
import re
import secrets
import shutil
import struct
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from cyclegan.config import DataConfig, Direction
from cyclegan.errors import ImageError, Message, StudyError
from cyclegan.files import flush
from cyclegan.images import evaluation_size, prepare_for_evaluation, resize
from cyclegan.rasters.raster import Raster
from cyclegan.study.choice import Choice, Pictures, choose, draw
from cyclegan.study.consent import Consent
from cyclegan.study.format import MARK_CHUNK, PlannedCheckpoint, Stimulus, Study, check_name, commitment, write_study
from cyclegan.study.originals import Originals, pixels_of
from cyclegan.study.protocol import Protocol
from cyclegan.study.questions import Question

if TYPE_CHECKING:
    from cyclegan.study.findings import BlindingReport

TITLES = {"realness": "Real or fake?", "pick": "Which picture is better?", "tag": "What is wrong here?",
          "rate": "How good are these pictures?"}
"""Shown to participants where the owner names no title, by task."""
BATCH = 8
"""Pictures in one call of a network."""
STORED = 65535
"""Most bytes in a block of deflate that is stored without compression (RFC 1951, 3.2.4)."""
DRAWS = 3
"""Secrets that are tried if the self-test fails by chance alone, as it does with one study of a thousand."""
BROKEN_GRID = 4
"""A broken picture is a real one whose 4 × 4 blocks are shuffled, every second one as a negative."""
MIN_SIDE, MAX_SIDE = 32, 2048

BICUBIC = Image.Resampling.BICUBIC
Picture = Image.Image | Raster
TranslateBatch = Callable[[list[Picture]], list[Picture]]
Foreign = tuple[PlannedCheckpoint, Callable[[int], Image.Image]]


@dataclass(frozen=True)
class Preparation:
    """The preparation of a test picture for the checkpoints' networks."""

    config: DataConfig
    multiple: int = 4
    """Sides of pictures must be multiples of this."""
    frame: tuple[int, int] | None = None
    """Width and height to which all pictures are resized instead, where no network has its own."""


def build(
    *, checkpoints: Sequence[tuple[PlannedCheckpoint, Callable[[], TranslateBatch]]], inputs: Pictures, reals: Pictures,
    preparation: Preparation, protocol: Protocol, direction: Direction, domains: tuple[str, str], dataset: str,
    output: Path, seed: int = 0, secret: str = "", size: tuple[int, int] | None = None, limit: int | None = None,
    title: str = "", contact: str = "", completion_code: str = "", completion_url: str = "",
    end_codes: Mapping[str, str] = MappingProxyType({}), consent: Consent | None = None,
    questions: Sequence[Question] = (), shorten: bool = False, foreign: Sequence[Foreign] = (),
    split: str = "test", trained_on: tuple[int, ...] = (), unmatched: int = 0,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[Message], object] = lambda said: None,
) -> tuple[Study, BlindingReport]:  # fmt: skip
    """Build, check and freeze a study, whole or not at all.

    The same arguments give the same bytes if `secret` is among them.

    Args:
        checkpoints: each with a function that opens it and returns a function that translates a list of RGB
            pictures of one size into fakes of that size. One is open at a time.
        inputs: pictures to translate, of the source domain; none that the networks were trained on.
        reals: real pictures of the target domain. If the pairing is `same`, the truth of the inputs is used instead.
        preparation: preparation of a picture for the networks.
        foreign: conditions that other programs made, each with a function that returns its picture for an input. It is
            brought to the networks' size as a real picture would be, unless it has that size.
        trained_on, unmatched: see `Study`.
        note: called with a sentence about fakes that are inputs.
        output, seed, secret, size, limit, shorten, split, progress, the others: see `cyclegan.study.make.make_study`.

    Returns:
        The study, and the result of the blinding self-test.

    Raises:
        TooFewPictures: as its name says.
        StudyError: the arguments make no study, another program's pictures are the real ones, or the study fails the
            self-test.
        ImageError: a picture can't be read.
    """
    from cyclegan.study.blinding import check

    output = Path(output)
    if os.path.lexists(output):
        raise StudyError("{folder} exists already: a study is frozen, so choose another name", folder=output)
    if size is not None:
        _check_size(size)
    tried = [secret] if secret else [secrets.token_hex(32) for _ in range(DRAWS)]
    planned = sorted(checkpoints, key=lambda pair: pair[0].epoch)
    study = Study(
        name=output.name, title=title or TITLES[protocol.task], protocol=protocol, direction=direction, domains=domains,
        dataset=dataset, checkpoints=tuple(checkpoint for checkpoint, _ in (*planned, *foreign)), seed=seed,
        size=size or (0, 0),
        stimuli=(), contact=contact, completion_code=completion_code, completion_url=completion_url, **end_codes,
        consent=consent, questions=tuple(questions),
        secret_sha256=commitment(tried[0]), secret=tried[0],
        split="" if split == "test" else split, trained_on=trained_on, unmatched=unmatched,
    )  # fmt: skip
    study, choice = choose(study, inputs, reals, limit, shorten)
    frame = _frame(inputs, choice.inputs, preparation)
    study = dataclasses.replace(study, size=size or frame)
    _check_size(study.size)
    with _workplace(output) as place:
        rendering = _Rendering(place, study, preparation, frame, choice, progress)
        rendering.render(inputs, reals, planned)
        rendering.take(inputs, foreign)
        for said in rendering.originals.notes(len(choice.inputs)):
            note(said)
        for key in tried:
            shutil.rmtree(place / output.name, ignore_errors=True)
            study, contents = rendering.marked(study, key)
            study.check_enough()
            study = write_study(study, contents, place / output.name)
            report = check(study)
            if not report.by_chance:
                break
        if not report.passed:
            raise StudyError("the study would not be blind, so it was not kept: {problem}", problem=report.problems[0])
        (place / output.name).rename(output)  # Fails if another build was faster.
        flush(output.parent)
    return dataclasses.replace(study, folder=output, secret=""), report


# --- preparation --------------------------------------------------------------------------------------------


def _check_size(size: tuple[int, int]) -> None:
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise StudyError(
            "stimuli of {width}×{height} pixels: choose sides from {least} to {most}",
            width=size[0], height=size[1], least=MIN_SIDE, most=MAX_SIDE,
        )


def _frame(inputs: Pictures, chosen: Sequence[int], preparation: Preparation) -> tuple[int, int]:
    """Return the networks' width and height: those of most inputs, if the preparation keeps their shape."""
    if preparation.frame is not None:
        return preparation.frame
    config, multiple = preparation.config, preparation.multiple
    first = evaluation_size((1000, 500), config, multiple=multiple)
    if first == evaluation_size((500, 1000), config, multiple=multiple):
        return first
    sizes = Counter(evaluation_size(inputs.probe(n), config, multiple=multiple) for n in chosen)
    return min(sizes, key=lambda size: (-sizes[size], size))


def bring(image: Picture, frame: tuple[int, int], preparation: Preparation) -> Picture:
    """Return a picture of the data set as the networks' input, at the size of `frame`.

    A picture of another shape than most is cropped in the middle, because all stimuli have one size.
    """
    if preparation.frame is not None:
        return resize(image, frame)
    if evaluation_size(image.size, preparation.config, multiple=preparation.multiple) != frame:
        return _fitted(image, frame) if isinstance(image, Raster) else ImageOps.fit(image, frame, BICUBIC)
    return prepare_for_evaluation(image, preparation.config, multiple=preparation.multiple)


def _fitted(raster: Raster, frame: tuple[int, int]) -> Raster:
    """Return the middle of a raster in the shape of `frame`, at its size, as `ImageOps.fit` does."""
    scale = min(raster.width / frame[0], raster.height / frame[1])
    width, height = max(1, round(frame[0] * scale)), max(1, round(frame[1] * scale))
    left, top = (raster.width - width) // 2, (raster.height - height) // 2
    return raster.crop((left, top, left + width, top + height)).resize(frame)


def break_picture(image: Image.Image, *what: object) -> Image.Image:
    """Return a picture that nobody takes for real: its blocks shuffled as `what` draws, every second one negative.

    Shuffling alone isn't enough: a night would still look like a night, and an aerial photo like an aerial photo.
    """
    pixels = np.asarray(image)
    height, width = (side // BROKEN_GRID for side in pixels.shape[:2])
    array = 255 - pixels  # Including rows and columns that are left over.
    places = [(row, column) for row in range(BROKEN_GRID) for column in range(BROKEN_GRID)]
    order = sorted(places, key=lambda place: draw(*what, place))
    for (row, column), (to_row, to_column) in zip(places, order, strict=True):
        block = pixels[row * height : (row + 1) * height, column * width : (column + 1) * width]
        block = 255 - block if (to_row + to_column) % 2 else block
        array[to_row * height : (to_row + 1) * height, to_column * width : (to_column + 1) * width] = block
    return Image.fromarray(array)


# --- rendering ----------------------------------------------------------------------------------------------


class _Rendering:
    """The rendering of all stimuli into files of a folder."""

    def __init__(
        self, place: Path, study: Study, preparation: Preparation, frame: tuple[int, int], choice: Choice,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.place, self.study, self.preparation, self.frame = place, study, preparation, frame
        self.choice, self.progress = choice, progress
        self.drawn: list[tuple[dict[str, Any], Path, int]] = []
        """For each picture its kind and place, its file without a mark, and the number of equal ones before it."""
        self.originals = Originals()
        self.copies: Counter[bytes] = Counter()
        """Number of times that each picture has come: a collapsed network makes one fake of many inputs."""
        self.done = 0
        fakes = len(choice.inputs) * len(study.checkpoints)
        self.total = len(choice.inputs) + fakes + len({*choice.reals, *choice.broken})

    def render(
        self, inputs: Pictures, reals: Pictures,
        checkpoints: Sequence[tuple[PlannedCheckpoint, Callable[[], TranslateBatch]]],
    ) -> None:  # fmt: skip
        """Render all stimuli: real pictures first, so that a damaged one is found before hours of networks."""
        choice, source, target = self.choice, *self.study.direction
        scenes = self._prepare(inputs)
        if not choice.truths:
            for number in sorted({*choice.reals, *choice.broken}):
                image = self._shown(self._bring(reals.load(number), reals.label(number)), target)
                self.originals.reals.add(pixels_of(image))
                scene = scenes.get(pixels_of(image), f"{target}:{number}:{reals.label(number)}")
                self._add_real(number, scene, image)
        for checkpoint, opened in checkpoints:
            translate = opened()
            for start in range(0, len(choice.inputs), BATCH):
                numbers = choice.inputs[start : start + BATCH]
                arrays = [np.load(self.place / f"input-{n}.npy") for n in numbers]
                pictures = [Image.fromarray(each) if each.dtype == np.uint8 else Raster(each) for each in arrays]
                fakes = [self._shown(fake, target) for fake in translate(pictures)]
                for number, fake in zip(numbers, fakes, strict=True):
                    if fake.size != self.frame:
                        raise StudyError(
                            "epoch {epoch} of {source} gives {width}×{height} pixels instead of {frame}",
                            epoch=checkpoint.true_epoch, source=checkpoint.source, width=fake.width,
                            height=fake.height, frame=self.frame,
                        )  # fmt: skip
                    self.originals.meet(checkpoint, fake, inputs.label(number))
                    scene = f"{source}:{number}:{inputs.label(number)}"
                    self._add(fake, kind="fake", scene=scene, epoch=checkpoint.epoch)
                self._advance(len(numbers))

    def take(self, inputs: Pictures, foreign: Sequence[Foreign]) -> None:
        """Take the pictures that other programs made, each in the place of its input."""
        for condition, load in foreign:
            for number in self.choice.inputs:
                fake, label = load(number), inputs.label(number)
                if fake.size != self.frame:
                    fake = self._bring(fake, f"{condition.label}, {label}")
                self.originals.meet(condition, fake, label)
                self._add(fake, kind="fake", scene=f"{self.study.direction[0]}:{number}:{label}", epoch=condition.epoch)
                self._advance(1)

    def _prepare(self, inputs: Pictures) -> dict[str, str]:
        """Save the networks' inputs; return the scene of each known truth by its pixels."""
        scenes = {}
        for number in self.choice.inputs:
            label = inputs.label(number)
            scene = f"{self.study.direction[0]}:{number}:{label}"
            picture = self._bring(inputs.load(number), label)
            self.originals.inputs.add(pixels_of(self._shown(picture, self.study.direction[0])))
            np.save(self.place / f"input-{number}.npy", np.asarray(picture))
            if self.study.protocol.shows_reals and (truth := inputs.truth(number)) is not None:
                image = self._shown(self._bring(truth, label), self.study.direction[1])
                scenes[pixels_of(image)] = scene
                if self.choice.truths:
                    self._add_real(number, scene, image)
            elif self.choice.truths:
                raise StudyError(
                    "the data set has no real picture of the scene of {label}: choose --pairing different", label=label
                )
            self._advance(1)
        return scenes

    def _shown(self, picture: Picture, domain: str) -> Image.Image:
        """Return a domain's picture as participants see it: 8-bit RGB, of other values the domain's whole range."""
        if isinstance(picture, Raster):
            return self.preparation.config.values(domain).shown(picture)
        return picture

    def _bring(self, image: Picture, label: str) -> Picture:
        try:
            return bring(image, self.frame, self.preparation)
        except ImageError as error:
            raise StudyError("{label}: {reason}", label=label, reason=error) from error

    def _add_real(self, number: int, scene: str, image: Image.Image) -> None:
        if number in self.choice.reals:
            self._add(image, kind="real", scene=scene)
        if number in self.choice.broken:
            self._add(break_picture(image, self.study.seed, "broken", number), kind="broken", scene=f"broken {scene}")
        self._advance(1)

    def _add(self, image: Image.Image, **what: Any) -> None:
        if image.size != self.study.size:
            image = image.resize(self.study.size, Image.Resampling.BICUBIC)
        content = encode_png(image)
        digest = hashlib.sha256(content).digest()
        path = self.place / f"{len(self.drawn)}.png"
        path.write_bytes(content)
        self.drawn.append((what, path, self.copies[digest]))
        self.copies[digest] += 1

    def marked(self, study: Study, secret: str) -> tuple[Study, Mapping[str, bytes]]:
        """Return the study with a secret and its stimuli, and their files."""
        key, paths, stimuli = bytes.fromhex(secret), {}, []
        for what, path, copy in self.drawn:
            content = mark_png(path.read_bytes(), key, copy)
            stimulus = Stimulus(hashlib.sha256(content).hexdigest(), **what)
            paths[stimulus.sha256] = path, copy
            stimuli.append(stimulus)
        study = dataclasses.replace(
            study, secret=secret, secret_sha256=commitment(secret), folder=None,
            stimuli=tuple(sorted(stimuli, key=lambda stimulus: stimulus.sha256)),
            bytes_per_stimulus=len(content),  # The same for all.
        )  # fmt: skip
        return study, _Contents(paths, key)

    def _advance(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)


# --- files that are alike -----------------------------------------------------------------------------------


def encode_png(image: Image.Image) -> bytes:
    """Return an RGB picture as PNG: 8 bits, no filters, one IDAT chunk that is stored without compression, no metadata.

    A compressed picture's length is its entropy, and real pictures often have less of it, or more. Padding can't hide
    that: anyone can see where it begins. Uncompressed, all pictures of one size have one length and one layout.
    """
    pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": stored(rows.tobytes()), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks.items())


def stored(data: bytes) -> bytes:
    """Return data as a zlib stream of full stored blocks and a last one (RFC 1950, 1951); zlib's own would vary."""
    parts = [data[start : start + STORED] for start in range(0, len(data), STORED)]
    blocks = [
        struct.pack("<BHH", n == len(parts), len(part), len(part) ^ 0xFFFF) + part for n, part in enumerate(parts, 1)
    ]
    return b"\x78\x01" + b"".join(blocks) + struct.pack(">I", zlib.adler32(data))


def mark_png(content: bytes, key: bytes, copy: int = 0) -> bytes:
    """Return the PNG with a chunk of 32 bytes that only the study's secret can compute.

    `copy` distinguishes files of equal pictures. Without the key, one could compute which files are a second copy, and
    only a network makes copies. Names, which are the files' hashes, can't be computed from the data set either.
    """
    mark = hmac.digest(key, content + copy.to_bytes(4, "big"), "sha256")
    return content[:-12] + _chunk(MARK_CHUNK, mark) + content[-12:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


class _Contents(Mapping[str, bytes]):
    """The finished files by SHA-256, read and marked on demand; in the order of their names."""

    def __init__(self, paths: Mapping[str, tuple[Path, int]], key: bytes) -> None:
        self.paths, self.key = dict(sorted(paths.items())), key

    def __getitem__(self, sha256: str) -> bytes:
        path, copy = self.paths[sha256]
        return mark_png(path.read_bytes(), self.key, copy)

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


# --- the folder ---------------------------------------------------------------------------------------------


LEFT_FOR_S = 24 * 3600
"""A build removes the leftovers of killed builds of this age."""


@contextlib.contextmanager
def _workplace(output: Path) -> Iterator[Path]:
    """Yield a hidden folder next to `output`, removed at the end; remove leftovers of killed builds of that name."""
    check_name(output.name)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        ours = re.compile(rf"\.{re.escape(output.name)}\.\w{{8}}\.part")  # As mkdtemp makes it.
        for leftover in output.parent.iterdir():
            # A younger one may belong to a running process.
            if ours.fullmatch(leftover.name) and time.time() - leftover.stat().st_mtime > LEFT_FOR_S:
                shutil.rmtree(leftover, ignore_errors=True)
        place = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".part", dir=output.parent))
    except OSError as error:
        raise _unwritable(output, error) from error
    try:
        yield place
    except OSError as error:
        raise _unwritable(output, error) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _unwritable(output: Path, error: OSError) -> StudyError:
    return StudyError(
        "{folder} can't be written ({reason}): free space or name another",
        folder=output, reason=error,
    )
