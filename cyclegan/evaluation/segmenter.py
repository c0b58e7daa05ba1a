"""A trained segmenter: it gives each pixel of a picture its class, and so judges translated pictures (FCN score)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from cyclegan.config import DataConfig
from cyclegan.data.domains import Domain
from cyclegan.data.labels import Classes, entries_of
from cyclegan.errors import CheckpointError, DataError, message
from cyclegan.evaluation.scores.confusion import Accuracies, accuracies, confusion
from cyclegan.evaluation.scores.prior import Prior, square_labels
from cyclegan.files import fingerprint, read_json, whole_folder, write_json
from cyclegan.images import prepare_for_evaluation, resize, to_tensor
from cyclegan.networks.segmenter import Reader, build_segmenter

FORMAT = 1
"""The version of the files that `save_segmenter` writes."""
MOST_SIDE = 2048
"""The largest width and height at which a network looks at pictures: a batch of larger ones fills the memory."""
BATCH = 16
"""Pictures that the network sees at once."""
EMBEDDED = Path(__file__).with_name("segmenters")
"""The folder of the segmenters that come with the package, each of other classes."""
_WEIGHTS, _ABOUT = "segmenter.safetensors", "segmenter.json"


@dataclass(frozen=True)
class Segmenter:
    """A network with its classes. `load_segmenter` and `train_segmenter` return one.

    Attributes:
        classes: the classes, numbered as in a data set's label maps.
        side: width and height in pixels at which the network was trained and looks at every picture.
        network: in evaluation mode, on the device that it works on.
        about: how it was trained and how well it does, as segmenter.json has it.
    """

    classes: Classes
    side: int
    network: nn.Module
    about: Mapping[str, Any]

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the weights."""
        return fingerprint(_bytes(self.network))

    def reader(self) -> Reader:
        """Return the network, frozen, as a part of a loss."""
        return Reader(self.network, self.side)

    @torch.inference_mode()
    def predict(self, pictures: Sequence[Image.Image]) -> list[np.ndarray]:
        """Return the class of each pixel: for each picture uint8 (H, W) of its size, 0 to `classes.count` - 1.

        Args:
            pictures: RGB of any size. They are brought to `side`² first, the answers back by nearest neighbour.
        """
        device, found = next(self.network.parameters()).device, []
        for start in range(0, len(pictures), BATCH):
            some = pictures[start : start + BATCH]
            batch = torch.stack([to_tensor(resize(picture, (self.side, self.side))) for picture in some])
            answers = self.network(batch.to(device)).argmax(1).to(torch.uint8).cpu().numpy()
            for picture, answer in zip(some, answers, strict=True):
                found.append(np.asarray(resize(Image.fromarray(answer), picture.size, Image.Resampling.NEAREST)))
        return found


@dataclass(frozen=True)
class Check:
    """The figures of a segmenter on real pictures, next to answers that need no picture.

    Attributes:
        part: which pictures were segmented.
        pictures: their number.
        network: the segmenter's figures: no translated picture can be expected to do better.
        prior: those of the commonest class of each position in the training labels.
        commonest: those of the commonest class of the training labels, everywhere.
        commonest_class: its number.
    """

    part: str
    pictures: int
    network: Accuracies
    prior: Accuracies
    commonest: Accuracies
    commonest_class: int

    def summary(self, classes: Classes) -> dict[str, Any]:
        """Return the figures for JSON, rounded to four digits."""
        answers = {"network": self.network, "prior": self.prior, "commonest": self.commonest}
        return {
            "on": self.part, "pictures": self.pictures, "commonest_class": classes.scored[self.commonest_class],
            **{name: _summary(each, classes) for name, each in answers.items()},
        }  # fmt: skip


def _summary(figures: Accuracies, classes: Classes) -> dict[str, Any]:
    by_class = dict(zip(classes.scored, figures.iou_by_class, strict=True))
    return {
        "pixel": round(figures.pixel, 4), "classes": round(figures.classes, 4), "iou": round(figures.iou, 4),
        "iou_by_class": {name: round(value, 4) for name, value in by_class.items()},
    }  # fmt: skip


def square_config(side: int, **settings: Any) -> DataConfig:
    """Return the preparation of whole pictures at `side`², whatever their shape.

    Args:
        settings: further fields of DataConfig.
    """
    return DataConfig(preprocess="resize", crop_size=side, load_size=side, **settings)


def check_segmenter(
    segmenter: Segmenter, domain: Domain, prior: Prior, progress: Callable[[int], object] | None = None
) -> Check:
    """Segment real pictures at the segmenter's size and compare with their labels.

    Args:
        domain: test pictures with labels of the segmenter's classes.
        prior: of the training labels, at the segmenter's size.
        progress: called with the number of pictures after each batch.

    Raises:
        DataError: a picture has no label map.
        ImageError: a picture can't be read.
    """
    config, count = square_config(segmenter.side), segmenter.classes.count
    matrices = np.zeros((3, count, count), np.int64)
    for start in range(0, len(domain), BATCH):
        indices = range(start, min(start + BATCH, len(domain)))
        answers = segmenter.predict([prepare_for_evaluation(domain.load(index), config) for index in indices])
        for index, answer in zip(indices, answers, strict=True):
            truth = square_labels(domain, index, config)
            for matrix, each in zip(matrices, (answer, prior.map, np.full_like(truth, prior.commonest)), strict=True):
                matrix += confusion(truth, each, count)
        if progress:
            progress(len(indices))
    return Check(domain.part, len(domain), *map(accuracies, matrices), prior.commonest)


def save_segmenter(segmenter: Segmenter, folder: Path) -> None:
    """Write a segmenter whole, in place of an old one::

        folder/
          segmenter.safetensors    the network's weights, float32
          segmenter.json           format, network, side, classes; how it was trained and its figures

    Raises:
        CheckpointError: it can't be written.
    """
    about = {
        "format": FORMAT, **segmenter.about, "side": segmenter.side, "classes": list(entries_of(segmenter.classes))
    }  # fmt: skip
    try:
        with whole_folder(folder) as part:
            (part / _WEIGHTS).write_bytes(_bytes(segmenter.network))
            write_json(part / _ABOUT, about)
    except OSError as error:
        raise CheckpointError(
            "the segmenter can't be written to {folder} ({reason}): free space or choose another folder",
            folder=folder, reason=error,
        ) from error  # fmt: skip


def _bytes(network: nn.Module) -> bytes:
    return save({key: value.cpu().contiguous() for key, value in network.state_dict().items()})


def load_segmenter(
    folder: str | Path | None, classes: Classes | None, *, device: str | torch.device = "cpu"
) -> Segmenter:
    """Return a segmenter of these classes.

    Args:
        folder: as `save_segmenter` wrote it; None for the one that comes with the package, if there is one of these
            classes.
        classes: of the data set whose pictures it is to judge; None for a data set without, and then the folder's own.
        device: where it works.

    Raises:
        CheckpointError: missing, damaged, of a newer version, or of other classes.
        ConfigError: its network needs a package that is missing.
    """
    train = "python -m cyclegan segmenter train --dataset DATA --domain a|b --output DIR"
    if folder is None:
        assert classes is not None
        inside = [path.parent for path in sorted(EMBEDDED.glob(f"*/{_ABOUT}"))]
        folder = next((path for path in inside if _about(path)[1].scored == classes.scored), None)
        if folder is None:
            raise CheckpointError(
                "no segmenter for the classes {names} comes with this package: train one with {command}",
                names=", ".join(classes.scored), command=train,
            )
    folder = Path(folder).expanduser()
    if not (folder / _ABOUT).exists():
        raise CheckpointError(
            "{folder} holds no segmenter (there is no {file} in it): name another folder, or train one with {command}",
            folder=folder, file=_ABOUT, command=train,
        )
    about, own = _about(folder)
    if classes is not None and own.scored != classes.scored:
        raise CheckpointError(
            "the segmenter in {folder} was trained for other classes ({own}) than those of the data set ({names}): "
            "name another one, or train one with {command}",
            folder=folder, own=", ".join(own.scored), names=", ".join(classes.scored), command=train,
        )  # fmt: skip
    network = build_segmenter(about["network"], own.count)
    try:
        network.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:  # torch's for weights of other shapes.
        raise _damaged(folder, _WEIGHTS) from error
    return Segmenter(classes or own, about["side"], network.to(device).eval(), about)


def _about(folder: Path) -> tuple[dict[str, Any], Classes]:
    """Return the content of a segmenter.json, and the classes in it. Raises CheckpointError."""
    about = read_json(folder / _ABOUT, error=CheckpointError)
    try:
        version, side, name = about["format"], about["side"], about["network"]
        if version > FORMAT:
            raise CheckpointError(
                "the segmenter in {folder} was written by a newer version (format {version}, here {known}): update "
                "this program, or train the segmenter again",
                folder=folder, version=version, known=FORMAT,
            )  # fmt: skip
        entries = about["classes"]
        names, colors = tuple(each["name"] for each in entries), tuple(tuple(each["color"]) for each in entries)
        void = tuple(index for index, each in enumerate(entries) if each.get("void"))
        sound = type(side) is int and 0 < side <= MOST_SIDE and len(names) - len(void) > 1
        sound = sound and all(isinstance(each, str) for each in (name, *names))
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, _ABOUT) from error
    if not sound:
        raise _damaged(folder, _ABOUT)
    return about, Classes(names, colors, void)


def _damaged(folder: Path, file: str) -> CheckpointError:
    return CheckpointError(
        "{folder}/{file} is damaged, or of another segmenter: copy the folder again, or train the segmenter again",
        folder=folder, file=file,
    )


def require_classes(classes: Classes | None, dataset: str) -> Classes:
    """Return the classes of a data set. Raise DataError where there are none, or only one."""
    if classes is None:
        raise DataError(
            "{dataset} has no labels: a segmenter learns from label maps. Save one for each picture as "
            "labels/FOLDER/NAME.png in the data set, with the picture's folder and name, then run {command}",
            dataset=dataset, command=message("python -m cyclegan classes DATA"),
        )  # fmt: skip
    if classes.count < 2:
        raise DataError(
            "{dataset} has only one class that is scored ({name}), so there is nothing to tell apart: add classes to "
            "classes.json", dataset=dataset, name=classes.scored[0],
        )
    return classes
