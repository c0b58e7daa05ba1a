"""One function in a process of its own: progress by a pipe, errors whole, ended with its caller."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from cyclegan.errors import StudyError, UserError

HEARTBEAT_S = 1.0
"""The caller gets a value at least this often, so that it can cancel."""
GRACE_S = 10.0
"""Time for a cancelled process to remove its unfinished files before it is killed."""


def in_process(
    function: Callable[..., object], *args: Any, note: Callable[[Any], object] = lambda value: None
) -> Iterator[tuple[int, int] | None]:
    """Run `function(*args, progress=…, note=…)` in a new process; closing the iterator ends the process.

    Args:
        function: of a module's top level; it may call `progress(done, total)`, and `note(value)`.
        args: values that can be pickled.
        note: called with each value that the function notes.

    Yields:
        (done, total), None before the first; the last one again every HEARTBEAT_S.

    Raises:
        UserError: the function's own, whole.
        StudyError: the process was killed, perhaps for lack of memory.
        RuntimeError: any other exception, with the traceback from the process.
    """
    context = multiprocessing.get_context("spawn")  # A fork would copy the caller's threads' locks.
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, function, args), daemon=True)
    process.start()
    theirs.close()  # Else its end would never be noticed.
    last: tuple[int, int] | None = None
    try:
        while True:
            if ours.poll(HEARTBEAT_S):
                kind, value = ours.recv()
                if kind == "done":
                    return
                if kind == "failed":
                    raise value if isinstance(value, UserError) else RuntimeError(value)
                if kind == "note":
                    note(value)
                else:
                    last = value
            yield last
    except (EOFError, ConnectionError) as error:
        process.join(GRACE_S)
        raise StudyError(
            "the process that builds the study was ended (status {status}), perhaps for lack of memory: free memory, "
            "then try again",
            status=process.exitcode,
        ) from error
    finally:
        ours.close()
        _end(process)


def _end(process: multiprocessing.process.BaseProcess) -> None:
    process.terminate()
    process.join(GRACE_S)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


def _work(connection: Connection, function: Callable[..., object], args: tuple[Any, ...]) -> None:
    """Run in the new process: call the function, and send (kind, value) for progress and for the end."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A terminal sends Ctrl-C to both; the caller ends this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # An exception removes unfinished files.
    try:
        function(
            *args, progress=lambda done, total: connection.send(("progress", (done, total))),
            note=lambda value: connection.send(("note", value)),
        )  # fmt: skip
        message: tuple[str, object] = ("done", None)
    except UserError as error:
        message = ("failed", error)
    except Exception:
        message = ("failed", traceback.format_exc())
    # The caller ends this process once it knows; an exception while Python itself ends would only be printed.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # The caller is gone.
        connection.send(message)


def end_with_parent() -> None:
    """Wait for the parent's end, then exit: a parent that was killed can't end its processes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
