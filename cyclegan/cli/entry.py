"""The end of every command: one sentence for an error that a person can fix, an exit status for the shell."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

from cyclegan.errors import UserError


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
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _reader_has_left() -> bool:
    """Return True if stdout is the pipe that broke; another one, such as a worker's, is a bug."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # No poll on Windows; no descriptor where stdout is replaced.
        return os.name == "nt"
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
