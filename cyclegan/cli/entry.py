"""The end of every command: one sentence for an error that a person can fix, an exit status for the shell."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cyclegan.errors import UserError


def run_command(main: Callable[[], int | None]) -> int:
    """Run `main` and return its exit status; a UserError becomes one sentence on stderr and a status of 1.

    Anything else is a bug and leaves its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # A terminal may lack letters of a file's name.
            stream.reconfigure(errors="backslashreplace")
    try:
        return main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
