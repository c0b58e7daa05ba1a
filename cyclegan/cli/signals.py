"""SIGINT and SIGTERM: stop after the current work, or end as by Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

TOGETHER_S = 1.0
"""Seconds within which further signals count as the first one, because launchers pass on Ctrl-C with their own."""


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Let the first SIGINT or SIGTERM call `stop`, and a later one end this process at once."""
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
    """Let SIGTERM end this process as Ctrl-C does, so that queued work is still sent; a second one does nothing."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
