"""The end of every command: one sentence for an error that a person can fix, an exit status for the shell."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable

from cyclegan.errors import UserError

OTHERS_WAIT_S = 5.0
"""Seconds before a process other than the first reports its error."""


def run_command(main: Callable[[], int | None]) -> int:
    """Run `main` and return its exit status; a UserError becomes one sentence on stderr and status 1.

    Any other exception is a bug and leaves its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Show names that the terminal can't encode.
            stream.reconfigure(errors="backslashreplace")
    try:
        status = main() or 0
        if sys.stdout is not None:  # None where a daemon has closed it.
            sys.stdout.flush()  # A reader that has left shows here, and not while Python exits.
        return status
    except BrokenPipeError:
        if not _reader_has_left():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # As a shell reports SIGPIPE: `… | head` has read enough.
    except UserError as error:
        print(f"error{_in_process()}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _in_process() -> str:
    """Return which of torchrun's processes this is, for all but the first; they give that one the time to speak.

    Most errors happen in all of them at once. When the first one has ended, torchrun ends the others within the time.
    """
    rank = os.environ.get("RANK", "0")
    if rank == "0":
        return ""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(OTHERS_WAIT_S)
    return f" in process {rank}"


def _reader_has_left() -> bool:
    """Return True if stdout is the pipe that broke; another one, such as a worker's, is a bug."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # No poll on Windows; no descriptor where stdout is replaced.
        return os.name == "nt"
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
