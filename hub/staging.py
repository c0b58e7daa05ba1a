"""Files set aside for an upload, so that later writes don't change it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def set_aside(paths: Iterable[Path], base: Path, staged: Path) -> None:
    """Put files into `staged` under their paths relative to `base`, as links, or as copies if the disk has no links.

    Only for files that are always replaced whole, because then a link keeps the old content.

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
