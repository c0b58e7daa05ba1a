"""SIGINT, SIGTERM and SIGUSR1: stop after the current work, or clean up and exit."""

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

REQUEUE_STATUS = 75
"""Exit status of a training that SIGUSR1 interrupted: EX_TEMPFAIL of sysexits.h, "try again later"."""


def stop_on_signals(stop: Callable[[], None], requeue: Callable[[], None]) -> None:
    """Call `stop` at the first SIGINT or SIGTERM; a later one ends this process at once.

    Args:
        stop: called once.
        requeue: called at the first SIGUSR1, which schedulers send before they take the machine away. Later ones are
            ignored, because launchers and schedulers may send several, and SIGTERM after it.
    """
    asked: list[float] = []

    def request(number: int, _frame: object) -> None:
        if not asked:
            asked.append(time.monotonic())
            stop()
        elif time.monotonic() - asked[0] >= TOGETHER_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def request_once(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # Also while Python exits, when a handler of its own no longer counts.
        requeue()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request)
    if hasattr(signal, "SIGUSR1"):  # Windows has none.
        signal.signal(signal.SIGUSR1, request_once)
    end_with_launcher()


def end_on_signals() -> None:
    """Make SIGINT and SIGUSR1 end this process, for the time before there is anything to save.

    One of several processes is ended by SIGUSR1 itself: while they find each other, no handler would be called.
    """

    def end(*_: object) -> None:
        raise SystemExit(REQUEUE_STATUS)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGUSR1"):
        alone = int(os.environ.get("WORLD_SIZE", "1")) < 2
        signal.signal(signal.SIGUSR1, end if alone else signal.SIG_DFL)


def requeue_status() -> int:
    """Return the exit status of a process that SIGUSR1 interrupted.

    It is 0 below torchrun's agent, which would take any other one for a failure, and start the processes again.
    """
    return 0 if "TORCHELASTIC_RUN_ID" in os.environ else REQUEUE_STATUS


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
