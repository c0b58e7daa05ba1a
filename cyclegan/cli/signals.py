"""SIGINT and SIGTERM: stop after the current work, or clean up and exit."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import NoReturn

TOGETHER_S = 1.0
"""Signals this close together count as one, because launchers forward Ctrl-C and add a signal of their own."""

PR_SET_PDEATHSIG = 1
"""An option of Linux's `prctl`."""


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
    end_with_launcher()


def end_with_launcher() -> None:
    """Make Linux send this process SIGTERM when torchrun or accelerate, which has started it, is killed.

    A killed launcher can't end its workers, and they would hold the GPUs and wait for each other.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or not sys.platform.startswith("linux"):
        return
    launcher = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != launcher:  # It ended just now.
        signal.raise_signal(signal.SIGTERM)


def end_in_order() -> None:
    """Make SIGTERM end this process as Ctrl-C does, so that it still sends what is queued; a second does nothing."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


def leave(status: int) -> NoReturn:
    """End this process at once, after all that has to be closed was closed.

    Python would take its modules down under the threads that still compute for visitors, and torch aborts at that.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
