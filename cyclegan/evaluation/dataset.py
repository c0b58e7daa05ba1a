"""The data set that a run was trained on, whose path a published checkpoint doesn't have."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cyclegan.config import DataConfig
from cyclegan.data import find_data
from cyclegan.data.domains import is_drawn
from cyclegan.errors import DataError
from cyclegan.files import read_json


def dataset_of(folder: Path | None, name: str) -> tuple[str, bool]:
    """Return the data set that a run was trained on, as `--dataset` takes it, and whether it was found.

    A checkpoint may be published, so it has no more than the name of a folder; the run's own run.json has the path as
    it was typed. If that leads nowhere, because it was relative or has moved, its last parts are looked for in the
    current folder and in each folder above the run, so that a whole project may move.

    Args:
        folder: of the run, or of one of its epochs; None for one that isn't here.
        name: `dataset` of the checkpoint's settings, which isn't empty. The Hub isn't asked about USER/NAME.
    """
    if "/" in name or is_drawn(name):
        return name, True
    run = Path(folder or "").resolve()
    typed = Path(_typed_dataset(run) or _typed_dataset(run.parent) or name).expanduser()
    parts = [part for part in typed.parts if part not in ("..", typed.anchor)]
    tails = [Path(*parts[start:]) for start in range(len(parts))]
    for place in (typed, *(base / tail for tail in tails for base in (Path.cwd(), *run.parents))):
        with contextlib.suppress(DataError):
            if os.path.exists(place):  # Else its name may be taken for one on the Hub.
                find_data(DataConfig(dataset=str(place)))
                return str(place.resolve()), True
    return str(typed), False


def _typed_dataset(folder: Path) -> str | None:
    """Return --dataset from a folder's run.json, None without one that can be read."""
    try:
        typed = read_json(folder / "run.json", error=DataError)["config"]["data"]["dataset"]
    except (DataError, KeyError, TypeError):
        return None
    return typed if isinstance(typed, str) else None
