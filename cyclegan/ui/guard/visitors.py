"""Who a request comes from, and whether anybody still listens.

Every stream of gradio's that a visitor keeps open is seen here: a page's heartbeat, and the answers of a session or of
one event.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_NAME = 100
"""Most characters in the name of a session or an event; gradio's own have up to 32."""
STREAM = re.compile(r"/gradio_api/(heartbeat/|call/(?:v2/)?[^/]+/)([^/]+)/?$")


def address_of(request: Any) -> str:
    """Return where a request comes from; in a Space, where its proxy says."""
    hops = request.headers.get("x-forwarded-for", "") if os.environ.get("SPACE_ID") else ""
    return hops.rpartition(",")[2].strip() or (request.client.host if request.client else "")


class Attendance:
    """The sessions and events that somebody listens to, and since when nobody does."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._here: Counter[str] = Counter()
        self._pages: set[str] = set()
        self._left: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def listening(self, who: str, *, page: bool = False) -> Iterator[None]:
        """Count a listener to a session or an event; a page listens as long as it is open."""
        with self._lock:
            if page:
                self._pages.add(who)
            self._here[who] += 1
            self._left.pop(who, None)
        try:
            yield
        finally:
            with self._lock:
                self._here[who] -= 1
                if not self._here[who]:
                    del self._here[who]
                    self._left[who] = self.clock()

    def absent_s(self, names: tuple[str, ...], since: float) -> float:
        """Return for how many seconds nobody has listened to any of these, at most since a moment of the clock."""
        with self._lock:
            if any(name in self._here for name in names):
                return 0.0
            return self.clock() - max([since, *(self._left[name] for name in names if name in self._left)])

    def listens(self, who: str) -> bool:
        """Return whether somebody listens now."""
        with self._lock:
            return who in self._here

    def knows(self, who: str) -> bool:
        """Return whether somebody listens, or has listened and isn't `gone`."""
        with self._lock:
            return who in self._here or who in self._left

    def gone(self, page_s: float, program_s: float) -> list[str]:
        """Return, once, the pages and the programs' sessions and events that nobody has listened to for so long."""
        with self._lock:
            gone = [who for who, left in self._left.items()
                    if self.clock() - left >= (page_s if who in self._pages else program_s)]  # fmt: skip
            for who in gone:
                del self._left[who]
                self._pages.discard(who)
        return gone


class Listeners:
    """Middleware that notes who listens."""

    def __init__(self, app: ASGIApp, attendance: Attendance) -> None:
        self.app, self.attendance = app, attendance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who, page = "", False
        if scope["type"] == "http" and scope["method"] == "GET":
            if found := STREAM.search(scope["path"]):
                who, page = found[2], found[1] == "heartbeat/"
            elif scope["path"].endswith("/gradio_api/queue/data"):
                who = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        if len(who) > MAX_NAME:
            await PlainTextResponse("There is no such session.\n", 404)(scope, receive, send)
            return
        with self.attendance.listening(who, page=page) if who else contextlib.nullcontext():
            try:
                await self.app(scope, receive, send)
            except RuntimeError as error:
                # A session that ends amid a stream is an HTTP error to gradio, after the answer has begun.
                if not who or "response already started" not in str(error):
                    raise
