"""SIGINT and SIGTERM: stop after the current work, or clean up and exit."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

TOGETHER_S = 1.0
"""Signals this close together count as one, because launchers forward Ctrl-C and add a signal of their own."""


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at the first SIGINT or SIGTERM; a later one ends this process at once."""
    asked: list[float] = []

    def request(number: int, _frame: object) -> None:
        if not asked:
            asked.append(time.monotonic())
            stop()
        elif time.monotonic() - asked[0] >= TOGETHER_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request)


def end_in_order() -> None:
    """Make SIGTERM end this process as Ctrl-C does, so that it still sends what is queued; a second does nothing."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
