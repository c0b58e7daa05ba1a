"""The segmenters of an adaptation: each learns from other pictures, for as many steps; all read the same test pictures.

::

    DIR/segmenters/
      blind.npz                  confusion matrices of the answer that looks at no picture
    DIR/segmenters/SLUG-SEED/
      network/                   the segmenter, as `segmenter train` writes one
      result.npz                 confusion matrices: of each test picture of the target, and of translated source ones
      result.json                what it depends on; written last
      tests.png, read.png …      strips for the report
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.data.labels import Classes
from cyclegan.errors import DataError
from cyclegan.evaluation.scores.confusion import confusion
from cyclegan.evaluation.scores.evaluate import translate_all
from cyclegan.evaluation.scores.prior import prior_of, square_labels
from cyclegan.evaluation.scores.sets import evenly
from cyclegan.evaluation.segmenter import Segmenter, load_segmenter, save_segmenter, square_config
from cyclegan.evaluation.segmenter_training import Labelled, read_labelled, train_segmenter
from cyclegan.experiments.adaptation.pair import Pair, chosen
from cyclegan.experiments.plan import Training, segmenter_folder
from cyclegan.experiments.scoring import SHOWN, save_strip
from cyclegan.files import read_json, whole_file, write_json
from cyclegan.images import prepare_for_evaluation, resize
from cyclegan.translation.translator import Translator, default_device

FOLDER, RESULT, DONE, BLIND = "segmenters", "result.npz", "result.json", "blind.npz"
SOURCE_ONLY, COLOUR, ORACLE = "Source only", "Colour matched", "Oracle"
PLAIN = (SOURCE_ONLY, COLOUR, ORACLE)
"""Rows that need no translation. "Oracle" learns from the target's own labels."""


def slug(name: str) -> str:
    """Return a plain row's name for folders."""
    return name.casefold().replace(" ", "-")


@dataclass(frozen=True)
class Reading:
    """A segmenter's answers on test pictures.

    Attributes:
        target: confusion matrices, int64 (pictures, classes, classes), of the target's test pictures.
        kept: those of the oracle on the row's version of the source's test pictures; None without such pictures.
    """

    target: np.ndarray
    kept: np.ndarray | None


class Readers:
    """Trains and tests the segmenters of a pair; pictures are read once.

    Args:
        pair: the domains.
        output: the experiment's folder.
        side: width and height of all pictures.
        steps: of each training.
        limit: the most training pictures of a domain.
        network: a name in `networks.segmenter.SEGMENTERS`.
        device: where to compute; None chooses.
    """

    def __init__(
        self, pair: Pair, output: Path, *, side: int, steps: int, limit: int | None, network: str = "unet",
        device: str | None = None,
    ) -> None:
        self.pair, self.folder, self.steps, self.network = pair, output / FOLDER, steps, network
        self.limit, self.config = limit, square_config(side)
        self.device = device or default_device()

    def place(self, name: str, seed: int) -> Path:
        """Return the folder of a row's segmenter."""
        return self.folder / f"{name}-{seed}"

    def plain(self, name: str, seed: int, progress: Callable[[float], object] | None = None) -> None:
        """Train and test a row of `PLAIN`, unless it is done."""
        known = self._known(None)
        if _is_done(self.place(slug(name), seed), known):
            return
        pictures = {SOURCE_ONLY: lambda: self._source, COLOUR: lambda: self.matched(self._source),
                    ORACLE: lambda: self._target}[name]()  # fmt: skip
        test = None
        if self._tests("source"):
            fakes = self._tests("source")[0]
            test = [Image.fromarray(each) for each in self._matched(_arrays(fakes))] if name == COLOUR else fakes
        self._read(slug(name), seed, pictures, test, known, progress)

    def score(self, training: Training, progress: Callable[[str, int, int], object]) -> None:
        """Train a segmenter on a run's translations of the source, and test it, unless that is done.

        Raises:
            UserError: the run can't be loaded, or it has no such direction.
        """
        source = LocalSource(training.folder)
        info = source.list()[0]
        known = self._known(info.commit_sha)
        if _is_done(self.place(training.row.slug, training.seed), known):
            return
        translator = Translator(source.load(info.epoch, ("ab",)), self.device)

        def translated(pictures: list[Image.Image]) -> list[Image.Image]:
            found = []
            for start in range(0, len(pictures), 64):  # So that a stop needn't wait for all.
                found += translate_all(translator, pictures[start : start + 64], "ab")
                progress("translating", start, len(pictures))
            return found

        originals = [Image.fromarray(each) for each in self._source.pictures]
        pictures = Labelled(_arrays(translated(originals)), self._source.labels)
        tests = self._tests("source")
        fakes = translated(tests[0]) if tests else None
        self._read(training.row.slug, training.seed, pictures, fakes, known,
                   lambda share: progress("training", round(100 * share), 100))  # fmt: skip

    def blind(self) -> None:
        """Write blind.npz: the source's commonest class of each position, as the answer to every test picture."""
        prior, (_, labels) = prior_of(self._source.labels, self.pair.classes.count), self._tests("target")
        matrices = [confusion(truth, prior.map, self.pair.classes.count) for truth in labels]
        with _written(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            _save(self.folder / BLIND, target=np.stack(matrices))

    # --- training and testing ---------------------------------------------------------------------------------

    def _known(self, commit_sha: str | None) -> dict[str, Any]:
        return {"commit_sha": commit_sha, "steps": self.steps, "side": self.config.crop_size, "network": self.network}

    def _read(
        self, name: str, seed: int, pictures: Labelled, source_tests: list[Image.Image] | None,
        known: dict[str, Any], progress: Callable[[float], object] | None,
    ) -> None:
        segmenter = train_segmenter(
            pictures, self.pair.classes, network=self.network, seed=seed, steps=self.steps, device=self.device,
            progress=(lambda share, _: progress(share)) if progress else None,
        )  # fmt: skip
        folder = self.place(name, seed)
        save_segmenter(segmenter, segmenter_folder(self.folder.parent, name, seed))
        tests, labels = self._tests("target")
        found = {"target": self._matrices(segmenter, tests, labels)}
        if source_tests is not None:
            judge = segmenter if name == slug(ORACLE) else self._oracle(seed)
            found["kept"] = self._matrices(judge, source_tests, self._tests("source")[1])
        with _written(folder):
            _save(folder / RESULT, **found)
            self._strips(segmenter, tests, labels, pictures, folder)
            write_json(folder / DONE, known)

    def _oracle(self, seed: int) -> Segmenter:
        folder = segmenter_folder(self.folder.parent, slug(ORACLE), seed)
        return load_segmenter(folder, self.pair.classes, device=self.device)

    def _matrices(self, segmenter: Segmenter, pictures: list[Image.Image], labels: Sequence[np.ndarray]) -> np.ndarray:
        count = self.pair.classes.count
        answers = segmenter.predict(pictures)
        return np.stack([confusion(truth, each, count) for truth, each in zip(labels, answers, strict=True)])

    def _strips(
        self, segmenter: Segmenter, tests: list[Image.Image], labels: Sequence[np.ndarray], pictures: Labelled,
        folder: Path,
    ) -> None:
        """Write some test pictures, their labels and the segmenter's reading, and what it learned from."""
        some = evenly(min(SHOWN, len(tests)), len(tests))
        learned = evenly(min(SHOWN, len(pictures.pictures)), len(pictures.pictures))
        palette: Classes = self.pair.classes
        strips = {
            "tests": [tests[k] for k in some], "labels": [palette.picture(labels[k]) for k in some],
            "read": [palette.picture(each) for each in segmenter.predict([tests[k] for k in some])],
            "learned": [Image.fromarray(pictures.pictures[k]) for k in learned],
        }  # fmt: skip
        for kind, each in strips.items():
            save_strip(each, folder / f"{kind}.png")

    # --- pictures ---------------------------------------------------------------------------------------------

    @functools.cached_property
    def _source(self) -> Labelled:
        return self._training("source")

    @functools.cached_property
    def _target(self) -> Labelled:
        return self._training("target")

    def _training(self, role: str) -> Labelled:
        from cyclegan.data.domains import Subset

        domain = self.pair.domain(role, "train")
        return read_labelled(Subset(domain, chosen(len(domain), self.limit)), self.config)

    @functools.lru_cache(maxsize=2)  # noqa: B019  # One for each role.
    def _tests(self, role: str) -> tuple[list[Image.Image], list[np.ndarray]] | None:
        """Return a domain's test pictures and labels; None if it has none."""
        if self.pair.half(role).test is None:
            return None
        domain, side = self.pair.domain(role, "test"), self.config.crop_size
        pictures = [resize(prepare_for_evaluation(domain.load(k), self.config), (side, side))
                    for k in range(len(domain))]  # fmt: skip
        return pictures, [square_labels(domain, k, self.config) for k in range(len(domain))]

    def matched(self, labelled: Labelled) -> Labelled:
        """Return pictures with the mean and the deviation of the target's training pictures in each channel."""
        return Labelled(self._matched(labelled.pictures), labelled.labels)

    def _matched(self, pictures: np.ndarray) -> np.ndarray:
        (mean, deviation), (wanted, spread) = (_statistics(each.pictures) for each in (self._source, self._target))
        found = (pictures - mean) * (spread / np.maximum(deviation, 1e-6)) + wanted
        return found.round().clip(0, 255).astype(np.uint8)


def _statistics(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each channel's mean and standard deviation over all pixels: float64 (3,)."""
    flat = pictures.reshape(-1, pictures.shape[-1])
    return flat.mean(0), flat.std(0)


def _arrays(pictures: Sequence[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(each) for each in pictures])


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Explain a failing write."""
    try:
        yield
    except OSError as error:
        raise DataError(
            "{folder} can't be written ({reason}): free space, and give the same command again", folder=folder,
            reason=error,
        ) from error


def _save(path: Path, **arrays: np.ndarray) -> None:
    with whole_file(path) as part, open(part, "wb") as stream:
        np.savez_compressed(stream, **arrays)


def _is_done(folder: Path, known: dict[str, Any]) -> bool:
    return (folder / DONE).exists() and read_json(folder / DONE) == known


def read_reading(folder: Path) -> Reading | None:
    """Return what a finished segmenter reads; None before it is done."""
    if not (folder / DONE).exists():
        return None
    with np.load(folder / RESULT) as found:
        return Reading(found["target"], found.get("kept"))


def read_blind(output: Path) -> np.ndarray | None:
    """Return the confusion matrices of the blind answer in an experiment's folder, if they are there."""
    path = output / FOLDER / BLIND
    if not path.exists():
        return None
    with np.load(path) as found:
        return found["target"]
