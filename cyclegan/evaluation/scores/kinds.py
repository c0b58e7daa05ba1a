"""The scores that need no labels: distances to real pictures and to the truth, the way back, and collapse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from PIL import Image

from cyclegan.errors import Message, message
from cyclegan.evaluation.reconstruction import similarity
from cyclegan.evaluation.scores import distances
from cyclegan.evaluation.scores.answers import Answer, Batch
from cyclegan.evaluation.scores.describe import Description
from cyclegan.evaluation.scores.sets import TestSet
from cyclegan.images import mean_difference

Rows = Mapping[str, np.ndarray]
MOST_PSNR = 99.0
"""dB, in place of an infinite value for equal pictures, whose mean with others would be infinite."""
COLOURS = 6
"""Main colours of a target, for `pairs_colours_iou`."""
BINS, PER_BIN = 10, 5
"""Clusters of real pictures for NDB, and pictures that each has on average. With fewer real pictures or translations
there is no NDB, because the test finds few differences: two equal translations would be off in one bin of ten."""


@dataclass(frozen=True)
class Value:
    """A figure: its value, and a 95% interval where one is known."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Result:
    """The result of a score for an answer.

    Attributes:
        values: figures by key, see `table.SCORE_FIGURES`.
        details: more, for a closer look, ready for JSON.
    """

    values: Mapping[str, Value]
    details: Mapping[str, Any] = field(default_factory=dict)


class Score(Protocol):
    """A kind of measurement: facts of each picture first, which processes can share, then figures of all of them."""

    name: str
    maps: bool
    """True if it compares pictures by feature maps, which then come with the pooled features."""
    features: bool
    """True if it needs a network of features."""

    def lacks(self, test: TestSet) -> Message | None:
        """Return why it can't be measured on this test set, None if it can."""
        ...

    def judges(self, answer: Answer) -> bool:
        """Return True if it can measure this answer."""
        ...

    def measure(self, batch: Batch) -> Rows:
        """Return facts about each picture of a batch: arrays whose first axis is the picture."""
        ...

    def figures(self, rows: Rows, test: TestSet) -> Result:
        """Return the figures of all pictures' facts."""
        ...


def means_of(rows: Rows, keys: Mapping[str, str]) -> dict[str, Value]:
    """Return the mean of each row with its interval, by figure.

    Args:
        keys: figure by name of the rows.
    """
    return {
        key: Value(float(rows[name].mean()), *(distances.mean_interval(rows[name], bounds=bounds_of(name)) or ()))
        for name, key in keys.items() if name in rows
    }  # fmt: skip


def bounds_of(name: str) -> tuple[float, float]:
    """Return the least and the largest value that a fact about a picture can have, by its name in the rows."""
    return {"ssim": (-1.0, 1.0), "within_5": (0.0, 1.0), "within_10": (0.0, 1.0)}.get(name, (0.0, np.inf))


class Kid:
    """KID: see `distances.kid`."""

    name, maps, features = "kid", False, True

    def lacks(self, test: TestSet) -> Message | None:
        """Return None: two pictures on each side are enough."""
        return None

    def judges(self, answer: Answer) -> bool:
        """Return True."""
        return True

    def measure(self, batch: Batch) -> Rows:
        """Return the pooled features."""
        return {"pooled": batch.described.pooled}

    def figures(self, rows: Rows, test: TestSet) -> Result:
        """Return `kid`, times 1000."""
        ours, theirs = rows["pooled"], test.reference_features
        ends = distances.kid_interval(ours, theirs) or ()
        return Result({"kid": Value(*(1000 * value for value in (distances.kid(ours, theirs), *ends)))})


class Fid(Kid):
    """The Fréchet distance: see `distances.frechet`."""

    name = "fid"

    def figures(self, rows: Rows, test: TestSet) -> Result:
        """Return `fid`."""
        ours, theirs = rows["pooled"], test.reference_features
        return Result({"fid": Value(distances.frechet(ours, theirs), *distances.frechet_interval(ours, theirs))})


def span(test: TestSet, end: int) -> float:
    """Return the range of a domain's values: of a direction's source (0) or target (1)."""
    values = test.values[test.direction[end]]
    return values.high - values.low


def in_units(values: Mapping[str, Value], kind: str, test: TestSet, end: int) -> dict[str, Value]:
    """Return a mean difference in the domain's own units, next to that in grey levels; {} for 8-bit RGB."""
    if test.values[test.direction[end]].plain or f"{kind}_l1" not in values:
        return {}
    given = values[f"{kind}_l1"]
    scaled = {name: None if each is None else each * span(test, end) / 255 for name, each in vars(given).items()}
    return {f"{kind}_units": Value(**scaled)}


class Pairs:
    """The distance to the true pictures.

    `pairs_rmse` and `pairs_within_*` as GcGAN's public script computes them on maps: the squared differences are summed
    over the channels, and a pixel is within δ if its largest channel difference is less than δ.
    """

    name, maps, features = "pairs", True, True

    def __init__(self) -> None:
        self._truths: dict[int, Any] = {}
        self._colours: np.ndarray | None = None
        self._classes_of_truths: dict[int, np.ndarray] = {}

    def lacks(self, test: TestSet) -> Message | None:
        """Return a reason where the truth isn't known."""
        if test.has_truth:
            return None
        return message("the true pictures aren't known: they are in data sets of pairs, and in streets")

    def judges(self, answer: Answer) -> bool:
        """Return True for answers to inputs."""
        return answer.answers_inputs

    def measure(self, batch: Batch) -> Rows:
        """Return the distances of each picture, and its overlap with the truth's main colours."""
        triples = zip(batch.indices, batch.fakes, batch.truths, strict=True)
        rows = [self._of_one(index, fake, truth, batch.test) for index, fake, truth in triples]
        for row, index, made in zip(rows, batch.indices, batch.made, strict=False):  # Not rounded to 256 levels.
            truth, own = batch.test.true_values(index), batch.test.values[batch.test.direction[1]].own
            row["l1"] = mean_difference(made.values[..., own], truth.values[..., own]) * 255 / span(batch.test, 1)
        found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        if batch.described.maps is not None:
            found["features"] = distances_to(
                batch.described, batch.indices, batch.truths, batch.test, self._truths
            )
        return found

    def figures(self, rows: Rows, test: TestSet) -> Result:
        """Return the means over pictures, and the mean overlap of the colours."""
        names = ("l1", "psnr", "ssim", "features", "rmse", "within_5", "within_10")
        values = means_of(rows, {name: f"pairs_{name}" for name in names})
        values |= in_units(values, "pairs", test, 1)
        samples, found = overlap(distances.resampled(rows["colours"])), float(overlap(rows["colours"].sum(0)[None])[0])
        ends = distances.interval(found, samples, len(rows["colours"]), (0.0, 1.0)) or ()
        values["pairs_colours_iou"] = Value(found, *ends)
        colours = [[round(float(c)) for c in colour] for colour in self._main_colours(test)]
        return Result(values, {"colours": colours})

    def _of_one(self, index: int, fake: Image.Image, truth: Image.Image, test: TestSet) -> dict[str, Any]:
        row = similar(fake, truth)
        difference = np.abs(np.asarray(fake, np.int16) - np.asarray(truth, np.int16))
        largest = difference.max(axis=2)
        row |= {"rmse": float(np.sqrt((difference.astype(np.float64) ** 2).sum(2).mean()))}
        row |= {f"within_{most}": float((largest < most).mean()) for most in (5, 10)}
        colours = self._main_colours(test)
        if index not in self._classes_of_truths:
            self._classes_of_truths[index] = nearest(np.asarray(truth), colours).astype(np.uint8)
        ours, theirs = nearest(np.asarray(fake), colours), self._classes_of_truths[index].astype(int)
        row["colours"] = np.bincount(theirs * COLOURS + ours, minlength=COLOURS**2).reshape(COLOURS, COLOURS)
        return row

    def _main_colours(self, test: TestSet) -> np.ndarray:
        """Return the colours (k, 3) that k-means finds in the target's training pictures."""
        if self._colours is None:
            from scipy.cluster.vq import kmeans2

            some = np.stack([small_pixels(test.trained[i]) for i in range(min(len(test.trained), 100))])
            self._colours = kmeans2(some.reshape(-1, 3), COLOURS, minit="++", seed=0)[0]
        return self._colours


class Reconstruction:
    """F(G(x)) against x, also after the translation was changed by as little as people don't see.

    A translation that hides its input in fine noise (Chu et al. 2017) is brought back well, and badly after a change
    of one grey level.
    """

    name, maps, features = "reconstruction", True, True

    def __init__(self) -> None:
        self._inputs: dict[int, Any] = {}

    def lacks(self, test: TestSet) -> Message | None:
        """Return None: it depends on the checkpoint alone."""
        return None

    def judges(self, answer: Answer) -> bool:
        """Return True for checkpoints of both directions."""
        return answer.has_way_back

    def measure(self, batch: Batch) -> Rows:
        """Return the distances of each picture brought back."""
        assert batch.test.describer is not None
        inputs, recs = batch.inputs, batch.back(batch.fakes)
        rows = [similar(rec, real) for rec, real in zip(recs, inputs, strict=True)]
        found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        if batch.test.describer.has_maps:
            described = batch.test.describer.describe(recs, maps=True)
            found["features"] = distances_to(described, batch.indices, inputs, batch.test, self._inputs)
        for name, changed in (("noise_l1", batch.noisy()), ("jpeg_l1", batch.as_jpeg())):
            back = batch.back(changed)
            found[name] = np.array([mean_difference(rec, real) for rec, real in zip(back, inputs, strict=True)])
        return found

    def figures(self, rows: Rows, test: TestSet) -> Result:
        """Return the means over pictures."""
        names = ("l1", "psnr", "ssim", "features", "noise_l1", "jpeg_l1")
        values = means_of(rows, {name: f"rec_{name}" for name in names})
        return Result({**values, **in_units(values, "rec", test, 0)})


class Collapse:
    """The variety of an answer's pictures, and whether they follow their inputs."""

    name, maps, features = "collapse", False, True

    def __init__(self) -> None:
        self._bins: tuple[np.ndarray, np.ndarray] | None = None

    def lacks(self, test: TestSet) -> Message | None:
        """Return None."""
        return None

    def judges(self, answer: Answer) -> bool:
        """Return True."""
        return True

    def measure(self, batch: Batch) -> Rows:
        """Return the pictures at 32×32, and their features; which input each belongs to, -1 for none."""
        inputs = batch.indices if batch.answers_inputs else [-1] * len(batch.indices)
        return {"small": batch.small, "pooled": batch.described.pooled, "input": np.array(inputs)}

    def figures(self, rows: Rows, test: TestSet) -> Result:
        """Return the spreads, the correlation with the inputs, and NDB."""
        ours = distances.pair_distances(rows["small"])
        theirs = distances.pair_distances(test.small_references)
        values = {"spread_of_targets": _ratio(ours.mean(), theirs.mean())}
        if (rows["input"] >= 0).all():
            inputs = distances.pair_distances(test.small_inputs[rows["input"]])
            values["spread_of_inputs"] = _ratio(ours.mean(), inputs.mean())
            if inputs.std() > 1e-9:  # Two pictures have one distance, with which nothing can go.
                values["follows_input"] = float(np.corrcoef(ours, inputs)[0, 1]) if ours.std() > 1e-9 else 0.0
        if min(len(test.references), len(rows["pooled"])) >= BINS * PER_BIN:
            values["ndb"] = self._ndb(rows["pooled"], test)
        return Result({name: Value(value) for name, value in values.items() if value is not None})

    def _ndb(self, pooled: np.ndarray, test: TestSet) -> float:
        """Return the share of bins that differ (Richardson and Weiss 2018, section 3), of k-means on the references."""
        from scipy.cluster.vq import kmeans2, vq

        theirs = test.reference_features
        if self._bins is None:
            centres, found = kmeans2(theirs.astype(np.float64), BINS, minit="++", seed=0)
            self._bins = centres, np.bincount(found, minlength=len(centres))
        centres, real = self._bins
        counts = np.bincount(vq(pooled.astype(np.float64), centres)[0], minlength=len(centres))
        n, m = len(pooled), len(theirs)
        share = (counts + real) / (n + m)
        error = np.sqrt(share * (1 - share) * (1 / n + 1 / m))
        z = np.abs(counts / n - real / m) / np.where(error > 0, error, np.inf)
        return float((z > 1.96).mean())


def similar(one: Image.Image, other: Image.Image) -> dict[str, float]:
    """Return l1, psnr and, where the pictures are large enough, ssim; see `reconstruction.similarity`."""
    found = similarity(one, other)
    row = {"l1": found.l1, "psnr": min(found.psnr, MOST_PSNR)}
    return row if found.ssim is None else row | {"ssim": found.ssim}


def distances_to(
    ours: Description, indices: list[int], pictures: list[Image.Image], test: TestSet, kept: dict[int, Any]
) -> np.ndarray:
    """Return the distances by features to `pictures`, whose own features are kept by index for the next answer."""
    from cyclegan.evaluation.scores.describe import distances as by_features

    assert test.describer is not None
    missing = [k for k, index in enumerate(indices) if index not in kept]
    if missing:
        found = test.describer.describe([pictures[k] for k in missing], maps=True).maps or []
        for place, k in enumerate(missing):
            kept[indices[k]] = [stage[place] for stage in found]
    import torch

    stages = [torch.stack(each) for each in zip(*(kept[index] for index in indices), strict=True)]
    return by_features(ours, Description(ours.pooled, stages))


def small_pixels(picture: Image.Image) -> np.ndarray:
    """Return some of a picture's pixels, float64 (1024, 3), by the nearest one, so that no colours mix."""
    return np.asarray(picture.resize((32, 32), Image.Resampling.NEAREST), np.float64).reshape(-1, 3)


def nearest(array: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return the number of the nearest colour for each pixel, flat."""
    from scipy.cluster.vq import vq

    return vq(array.reshape(-1, 3).astype(np.float64), colours)[0]


def overlap(matrices: np.ndarray) -> np.ndarray:
    """Return the mean over classes that occur of intersection over union, for each matrix (r, c, c), rows = truth."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    union = matrices.sum(1) + matrices.sum(2) - hits
    return np.nanmean(np.where(union > 0, hits / np.maximum(union, 1), np.nan), axis=1)


def _ratio(ours: float, theirs: float) -> float | None:
    return float(ours / theirs) if theirs > 0 else None
