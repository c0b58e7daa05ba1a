"""Progress bars of slow commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm


class Bar(tqdm):
    """A bar that ends its line when it is closed, so that an error doesn't continue it.

    tqdm leaves the line open if the bar was drawn before its `delay`, as a reset or a written line makes it.
    """

    drawn = False

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Draw the bar."""
        self.drawn = True
        return super().display(msg, pos)

    @classmethod
    def write(cls, s: str, file: TextIO | None = None, end: str = "\n", nolock: bool = False) -> None:
        """Write a line above the bar; in a log file, too, it appears at once."""
        super().write(s, file, end, nolock)
        (file or sys.stdout).flush()

    def close(self) -> None:
        """End the bar, with its line if there is one."""
        if self.drawn:
            self.delay = 0
        super().close()


def progress_bar(**options: Any) -> tqdm:
    """Return a bar on standard error; in a log file, it writes a line every ten seconds.

    Args:
        options: of tqdm.
    """
    return Bar(mininterval=0.1 if sys.stderr.isatty() else 10.0, **options)


def shown_on(bar: tqdm) -> Callable[[int, int | None], None]:
    """Return `show(done, total)`, which brings a bar to a count; the total is None where it isn't known."""
    def show(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show
