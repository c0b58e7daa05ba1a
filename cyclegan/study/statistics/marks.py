"""Marked defects of fakes, of the task tag."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cyclegan.study.protocol import TAGS
from cyclegan.study.statistics.rates import Rate, clustered_rate

HEAT_CELLS = 8
"""Rows and columns of the grid on which boxes are counted."""


@dataclass(frozen=True)
class TagRate:
    """The rate at which an epoch's fakes were marked with a tag."""

    epoch: int
    tag: str
    """One of plan.TAGS, or "any"."""
    rate: Rate
    boxes: int
    heat: list[list[float]] | None
    """The share of boxes that cover each cell of a grid, rows from the top; None without boxes."""


def tag_rates(marks: Sequence[Any], participants: Any, epochs: Any) -> list[TagRate]:
    """Return the share of trials with each tag, per epoch, with intervals over participants.

    Args:
        marks: one per trial: a list of {"tag", "box": [x, y, w, h] in 0 to 1, or None}; None or empty: nothing wrong.
        participants, epochs: (N,).
    """
    who, when = np.asarray(participants, object), np.asarray(epochs)
    lists = [marks_of(value) for value in marks]
    found = []
    for epoch in sorted(set(when.tolist())):
        of_epoch = np.flatnonzero(when == epoch)
        for tag in ("any", *TAGS):
            share = [float(any(tag in ("any", mark["tag"]) for mark in lists[n])) for n in of_epoch]
            boxes = [mark["box"] for n in of_epoch for mark in lists[n] if tag in ("any", mark["tag"]) and mark["box"]]
            found.append(TagRate(int(epoch), tag, clustered_rate(share, who[of_epoch]), len(boxes), heat(boxes)))
    return found


def heat(boxes: Sequence[Sequence[float]]) -> list[list[float]] | None:
    """Return the share of boxes, 0 to 1, over each cell of a grid; a box that covers part of a cell counts in part."""
    if not boxes:
        return None
    edges = np.linspace(0, 1, HEAT_CELLS + 1)
    x, y, w, h = np.asarray(boxes, float).T

    def covered(start: np.ndarray, length: np.ndarray) -> np.ndarray:
        inner = np.minimum((start + length)[:, None], edges[1:]) - np.maximum(start[:, None], edges[:-1])
        return np.clip(inner * HEAT_CELLS, 0, 1)

    grid = np.einsum("ny,nx->yx", covered(y, h), covered(x, w)) / len(boxes)
    return [[round(float(cell), 4) for cell in row] for row in grid]


def marks_of(value: Any) -> list[Mapping[str, Any]]:
    """Return the marks of one trial, given as a list or as JSON text."""
    if isinstance(value, str):
        value = json.loads(value)
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else []
