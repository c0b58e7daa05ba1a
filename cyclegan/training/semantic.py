"""The frozen segmenter of `--lambda_semantic`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from cyclegan.config import TrainConfig
from cyclegan.data.domains import Splits
from cyclegan.errors import ConfigError
from cyclegan.evaluation.segmenter import load_segmenter


@dataclass(frozen=True)
class SemanticSegmenter:
    """A segmenter that a training reads pictures with.

    Attributes:
        reader: the network, on the CPU; the trainer moves it.
        record: its name and the fingerprint of its weights, for run.json and checkpoint.json.
    """

    reader: nn.Module
    record: dict[str, str]


def open_segmenter(config: TrainConfig, splits: Splits) -> tuple[TrainConfig, SemanticSegmenter | None]:
    """Return the settings with the domains that the semantic term is for, and its segmenter; None without the term.

    Args:
        splits: the data set, of whose classes it must be; without classes, a folder must be given.

    Raises:
        ConfigError: the data set has no classes and no folder is given, or one domain's pictures are label maps.
        CheckpointError: the folder holds no segmenter, a damaged one, or one of other classes.
    """
    loss = config.loss
    if not getattr(loss, "lambda_semantic", 0):
        return config, None
    dataset, given = config.data.dataset, loss.semantic_segmenter
    if splits.label_domain is not None:
        raise ConfigError(
            "--lambda_semantic compares what a segmenter reads in a picture and in its translation, and it can't read "
            "the pictures of domain {side} in {dataset}, which are label maps: leave it out",
            side=splits.label_domain, dataset=dataset,
        )
    if given is None and splits.classes is None:
        raise ConfigError(
            "--lambda_semantic needs a segmenter, and {dataset} has no labels to choose one by: give its folder with "
            "--semantic_segmenter DIR; {command} trains one on pictures of the same kind that have labels",
            dataset=dataset, command="python -m cyclegan segmenter train",
        )
    segmenter = load_segmenter(given, splits.classes)
    record = {"name": Path(given).expanduser().resolve().name if given else "", "weights": segmenter.fingerprint}
    if getattr(loss, "semantic_domain", "") == "auto":
        known = segmenter.about.get("domains")
        loss = dataclasses.replace(loss, semantic_domain=known if known in ("a", "b") else "ab")
        config = dataclasses.replace(config, loss=loss)
    return config, SemanticSegmenter(segmenter.reader(), record)
