"""Progress bars of slow commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm


def progress_bar(**options: Any) -> tqdm:
    """Return a bar on standard error; in a log file, it writes a line every ten seconds.

    Args:
        options: of tqdm.
    """
    return tqdm(mininterval=0.1 if sys.stderr.isatty() else 10.0, **options)


def shown_on(bar: tqdm) -> Callable[[int, int | None], None]:
    """Return `show(done, total)`, which brings a bar to a count; the total is None where it isn't known."""
    def show(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show
