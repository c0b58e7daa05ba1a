"""Files set aside for an upload, so that what is being written meanwhile doesn't change it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def set_aside(paths: Iterable[Path], base: Path, staged: Path) -> None:
    """Put files into `staged` under their paths relative to `base`: as links, or as copies where the disk has none.

    For files that are replaced whole and never written to: a link keeps the old content then.

    Raises:
        OSError: one has vanished, or the disk is full.
    """
    for path in paths:
        target = staged / path.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)
