"""Headers that tell browsers what an answer may do: no foreign scripts, no guessing of types, no foreign frames."""

from __future__ import annotations

import os

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyclegan.cli.access import Access

PAGES = {
    "default-src": "'self'",
    # Gradio's pages have scripts within them, and its blocks of HTML are built by `new Function`.
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
"""The content security policy of the pages. All that they load comes from the app itself."""
FILES = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""The policy of files that visitors have sent or made, so that none of them runs as a page of the app."""


class SafeHeaders:
    """Middleware that adds the headers, except where an answer has its own."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        # The Hub shows a Space in a frame of its own page, and others may, too: no visitor of it owns anything.
        framed = "https:" if os.environ.get("SPACE_ID") and not access.closed else "'self'"
        self.policy = "; ".join(f"{name} {value}" for name, value in {**PAGES, "frame-ancestors": framed}.items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_file = "/gradio_api/file" in scope["path"]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", FILES if is_file else self.policy)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("referrer-policy", "same-origin")
            await send(message)

        await self.app(scope, receive, answer)
