"""Progress bars of commands."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(**options: Any) -> tqdm:
    """Return a bar on standard error; in a log file it adds a line every 10 seconds.

    Args:
        options: tqdm's.
    """
    return tqdm(mininterval=0.1 if sys.stderr.isatty() else 10.0, **options)
