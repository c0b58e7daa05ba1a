"""The guards before the pages, in the order in which a request meets them.

    tools    on whose behalf the app's own MCP server asks
    names    a page under another name can't drive an app that serves this computer only
    headers  what a browser may do with an answer
    gate     the owner's token, or a visitor's name and password
    presence which pages are open
    listen   who still listens to an answer
    bodies   bounds for what a request may bring
    answers  sentences where gradio has none

Behind them, gradio's queue gives each visitor a share, and files go when their visitors do.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import Any

import gradio as gr
from gradio.route_utils import GradioMultiPartParser
from starlette.formparsers import MultiPartException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from cyclegan.cli.access import Access
from cyclegan.ui.decoding import give_back
from cyclegan.ui.guard import answers, tools
from cyclegan.ui.guard.bodies import Bodies
from cyclegan.ui.guard.disk import GRACE_S, PROGRAM_S, Disk
from cyclegan.ui.guard.gate import Gate
from cyclegan.ui.guard.headers import SafeHeaders
from cyclegan.ui.guard.names import Names
from cyclegan.ui.guard.presence import Presence
from cyclegan.ui.guard.shares import Shares
from cyclegan.ui.guard.visitors import Attendance, Listeners
from cyclegan.ui.results import PINNED

LOOK_S, SWEEP_EVERY = 1.0, 5
MAX_FIELD_BYTES = 100_000
log = logging.getLogger(__name__)


def announce(access: Access, local: str, shared: str | None) -> None:
    """Print where the app is, with the owner's token where it is needed.

    Args:
        local: its address on this computer.
        shared: the public link, if there is one.
    """
    token = f"?token={access.token}" if access.private else ""
    for what, address in (("The app", local), ("Its public link", shared)):
        if address:
            print(f"{what}: {address.rstrip('/')}/{token}", flush=True)
    if token:
        print("Whoever has this address can do with the app what you can. Keep it to yourself.", flush=True)


def behind(
    access: Access, demo: gr.Blocks, *, routes: Sequence[BaseRoute], middleware: Sequence[Middleware]
) -> dict[str, Any]:
    """Put an app behind the guards, and return what it serves next to gradio's pages, for `theme.launch_options`."""
    attendance, disk = Attendance(), Disk(lambda: _everybodys(demo), bounded=not access.private)
    shares = Shares(demo, attendance, own=access.private, seen=disk.used)
    threading.Thread(target=_look_after, args=(attendance, disk, shares), name="guard", daemon=True).start()
    answers.prepare()
    _bound_fields()
    if not access.hosts:  # Uvicorn would believe X-Forwarded-For of anybody on this computer.
        os.environ.setdefault("FORWARDED_ALLOW_IPS", "")
    if find_spec("mcp"):  # Of gradio's extra `mcp`.
        tools.prepare(access)
    return {"routes": routes, "middleware": [*guards(access, attendance, disk), *middleware]}


def guards(access: Access, attendance: Attendance, disk: Disk) -> list[Middleware]:
    """Return the guards, the outermost first."""
    return [
        Middleware(tools.Callers), Middleware(Names, access=access), Middleware(SafeHeaders, access=access),
        Middleware(Gate, access=access), Middleware(Presence), Middleware(Listeners, attendance=attendance),
        Middleware(Bodies, own=access.private, disk=disk), Middleware(answers.Sentences),
    ]  # fmt: skip


def _look_after(attendance: Attendance, disk: Disk, shares: Shares) -> None:
    """End what nobody listens to, and remove what nobody uses, as long as the app runs."""
    for turn in itertools.count():
        time.sleep(LOOK_S)
        try:
            shares.drop_unheard()
            if turn % SWEEP_EVERY == 0:
                disk.left(attendance.gone(GRACE_S if disk.bounded else PROGRAM_S, PROGRAM_S))
                disk.left(disk.unheard(attendance.knows) if disk.bounded else ())
                disk.sweep()
                forget_sessions(shares.demo, attendance)
        except Exception:
            log.exception("looking after the visitors failed")  # The next turn may do better.


def forget_sessions(demo: gr.Blocks, attendance: Attendance) -> None:
    """Drop what gradio keeps of sessions that are gone; it keeps the last thousands for ever."""
    if demo.app is None:  # It is made by the launch, which may still go on.
        return
    holder, now, dropped = demo.app.state_holder, datetime.now(), False
    for session, used in list(holder.time_last_used.items()):
        if (now - used).total_seconds() >= GRACE_S and not attendance.listens(session):
            with holder.lock:
                holder.session_data.pop(session, None)
                holder.time_last_used.pop(session, None)
            dropped = True
    if dropped:
        give_back()


def _everybodys(demo: gr.Blocks) -> set[str]:
    """Return the files that pages were built with, and the first example's result."""
    return PINNED.union(*(getattr(block, "keep_in_cache", ()) for block in demo.blocks.values()))


def _bound_fields() -> None:
    """Bound what gradio's parser of uploads keeps in memory: the fields of a form that aren't files."""
    take = GradioMultiPartParser.on_part_data

    def bounded(self: Any, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            self.in_memory = getattr(self, "in_memory", 0) + end - start
            if self.in_memory > MAX_FIELD_BYTES:
                raise MultiPartException("The fields that aren't files exceed the maximum allowed size")
        take(self, data, start, end)

    GradioMultiPartParser.on_part_data = bounded
