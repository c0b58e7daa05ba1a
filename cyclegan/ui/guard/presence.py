"""Pages that say that they are open, in place of a stream each.

Gradio learns from a stream that stays open that a page does, too. Browsers hold at most six connections to one address,
so that a sixth page would never load. presence.js says every few seconds that its page is open, and here a stream of
gradio's is held for it, until the page says that it is gone or is silent.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyclegan.ui.guard.visitors import MAX_NAME, STREAM, address_of

SILENT_S = 120.0
"""Longest silence of an open page. Browsers let hidden ones speak once a minute."""
LOOK_S = 5.0
MOST_OF_ADDRESS, MOST = 200, 2000
"""Pages that are held, of one address and in all. Others work, but count as left once nothing runs for them."""
NAME = re.compile(rf"[0-9A-Za-z_-]{{1,{MAX_NAME}}}")
"""Sessions that pages can have; gradio asks its own server by them."""
SCRIPT = Path(__file__).with_name("presence.js")


@dataclass
class _Page:
    """An open page."""

    address: str
    heard: float
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class Presence:
    """Middleware that gives pages the script, and holds their streams."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self.clock = app, clock
        self.pages: dict[str, _Page] = {}
        self.of_address: Counter[str] = Counter()
        self.streams: set[asyncio.Task[None]] = set()
        self.script = f"<script>{SCRIPT.read_text(encoding='utf-8')}</script></head>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and "gradio_api" not in scope["path"]:
            await self.app(scope, receive, _WithScript(send, self.script))
            return
        found = STREAM.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        said = parse_qs(scope["query_string"].decode("latin-1")).get("page", [""])[0] if found else ""
        if not said or found[1] != "heartbeat/":
            await self.app(scope, receive, send)
            return
        if NAME.fullmatch(found[2]):
            self._hear(found[2], said, scope)
        await Response(status_code=204)(scope, receive, send)

    def _hear(self, name: str, said: str, scope: Scope) -> None:
        page = self.pages.get(name)
        if said == "gone":
            if page is not None:
                page.gone.set()
        elif page is not None and not page.gone.is_set():
            page.heard = self.clock()
        else:
            address = address_of(Request(scope))
            if len(self.pages) < MOST and self.of_address[address] < MOST_OF_ADDRESS:
                self.pages[name] = page = _Page(address, self.clock())
                self.of_address[address] += 1
                stream = asyncio.create_task(self._hold(name, page, scope))
                self.streams.add(stream)
                stream.add_done_callback(self.streams.discard)

    async def _hold(self, name: str, page: _Page, scope: Scope) -> None:
        """Be the page's stream, as gradio sees it."""

        async def receive() -> Message:
            while not page.gone.is_set() and self.clock() - page.heard < SILENT_S:
                try:
                    await asyncio.wait_for(page.gone.wait(), LOOK_S)
                except asyncio.TimeoutError:  # The built-in one from Python 3.11 on.
                    continue
            page.gone.set()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            """Nobody reads it."""

        # By this version of the protocol, an answer looks for the end of its connection itself.
        as_stream = {"method": "GET", "asgi": {**scope["asgi"], "spec_version": "2.3"}}
        try:
            await self.app({**scope, **as_stream}, receive, send)
        finally:
            page.gone.set()
            if self.pages.get(name) is page:
                del self.pages[name]
            self.of_address[page.address] -= 1
            self.of_address += Counter()  # Without those at zero.


class _WithScript:
    """Sends a page with the script in its head; any other answer as it is."""

    def __init__(self, send: Send, script: bytes) -> None:
        self.send, self.script = send, script
        self.start: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers:
                self.start = message
                return
        if self.start is None:
            await self.send(message)
            return
        self.body += message.get("body", b"")
        if not message.get("more_body"):
            if b"window.gradio_config" in self.body:
                self.body = self.body.replace(b"</head>", self.script, 1)
            MutableHeaders(scope=self.start)["content-length"] = str(len(self.body))
            await self.send(self.start)
            await self.send({"type": "http.response.body", "body": self.body})
