"""The examples of the card's front matter: a test picture and its translation, which the Hub shows as a gallery."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.errors import ImageError
from cyclegan.evaluation.grids import cut_grid
from hub.card.names import ways
from hub.layout import WIDGET

PER_DIRECTION = 2
"""Rows of a sample grid that become examples."""


def widget_pictures(samples: Path, directions: Sequence[str]) -> dict[str, bytes]:
    """Return the pictures of an epoch's examples by their paths in a repository, cut out of its sample grids.

    Empty for grids that can't be cut, because their pictures differ in width.

    Args:
        samples: the folder of ab.png and ba.png.
        directions: those of the checkpoint.
    """
    found = {}
    for direction in directions:
        rows: list[Any] = []
        with contextlib.suppress(ImageError):  # A grid that can't be read keeps no weights from the Hub.
            rows = cut_grid(samples / f"{direction}.png")
        for number, (real, fake, *_) in enumerate(rows[:PER_DIRECTION], 1):
            found[_real(direction, number)] = _png(real)
            found[_fake(direction, number)] = _png(fake)
    return found


def widget_examples(repo_id: str, info: CheckpointInfo, files: Collection[str]) -> list[dict[str, Any]]:
    """Return the front matter's `widget` for the pictures among these files.

    Outputs are paths in the repository. Inputs are addresses, because the Hub's documentation knows no others: on the
    main branch, because an epoch's tag is on its own commit, and `python -m hub card` adds pictures after it.
    """
    found = []
    for direction, way in ways(info.config.data).items():
        if direction not in info.directions:
            continue
        numbers = [n for n in range(1, PER_DIRECTION + 1) if {_real(direction, n), _fake(direction, n)} <= {*files}]
        found += [
            {
                "text": way,
                "src": f"{address_of(repo_id)}{_real(direction, number)}",
                "output": {"url": _fake(direction, number)},
            }
            for number in numbers
        ]
        if not numbers and (grid := f"samples/{direction}.png") in files:
            found.append({"text": way, "output": {"url": grid}})
    return found


def address_of(repo_id: str) -> str:
    """Return how addresses of a repository's files begin."""
    return f"https://huggingface.co/{repo_id}/resolve/main/"


def is_own_example(example: Any) -> bool:
    """Return True for an entry of `widget_examples`, of this epoch or another."""
    output = example.get("output") if isinstance(example, dict) else None
    url = output.get("url") if isinstance(output, dict) else None
    return isinstance(url, str) and url.startswith((WIDGET, "samples/"))


def _real(direction: str, number: int) -> str:
    return f"{WIDGET}{direction}_{number}_real.png"


def _fake(direction: str, number: int) -> str:
    return f"{WIDGET}{direction}_{number}_fake.png"


def _png(picture: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
