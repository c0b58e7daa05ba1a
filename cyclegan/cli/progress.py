"""Bars of commands that take a while."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(**options: Any) -> tqdm:
    """A bar on standard error; in a log file, which is no screen, a line now and then.

    Args:
        options: of tqdm.
    """
    return tqdm(mininterval=0.1 if sys.stderr.isatty() else 10.0, **options)
