"""Bounds for what a request may bring. A body is counted as it arrives, because its sender may lie about its length."""

from __future__ import annotations

import asyncio
import contextlib
import json

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyclegan.ui.guard.disk import MB, Disk
from cyclegan.ui.guard.visitors import address_of

MAX_MESSAGE_BYTES = 12 * MB
"""Bound of a message. A picture may lie within it (`data:`); a larger one comes by upload, which the server needn't
hold in memory."""
MAX_CALL_BYTES = 100_000
"""Bound of a call of a page's own server functions, which ask for a picture by its epoch."""
MAX_UPLOAD_BYTES, MAX_OWN_UPLOAD_BYTES = 250 * MB, 20_000 * MB
"""Bounds of all files of one upload: a visitor's, and the owner's, who may send long videos but shouldn't fill a disk
by a slip."""
FULL = "there is no room for these files now: close pages that you no longer need, or try again in a few minutes"


class TooLarge(MultiPartException):
    """A body has more bytes than its request may bring. Of this kind, because gradio then removes what has arrived."""


class Bodies:
    """Middleware that ends a request whose body is too large.

    Args:
        own: whether whoever comes in owns this computer.
        disk: keeps account of uploads.
    """

    def __init__(self, app: ASGIApp, own: bool, disk: Disk) -> None:
        self.app, self.disk = app, disk
        self.most_uploaded = MAX_OWN_UPLOAD_BYTES if own else MAX_UPLOAD_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/").endswith("/gradio_api/upload")
        is_call = "/gradio_api/component_server" in scope["path"]
        most = self.most_uploaded if is_upload else MAX_CALL_BYTES if is_call else MAX_MESSAGE_BYTES
        count = 0
        said = Headers(scope=scope).get("content-length", "0")
        length = int(said[:20]) if said.isascii() and said.isdecimal() else 0
        if length > most:
            await _refusal(most, is_upload)(scope, receive, send)
            return

        number, answered, whole = None, bytearray(), False
        if is_upload:
            if not length:
                await _answer("an upload needs the header Content-Length", 411)(scope, receive, send)
                return
            number = await asyncio.to_thread(self.disk.begin, address_of(Request(scope)), length)
            if number is None:
                await _answer(FULL, 507)(scope, receive, send)
                return
            most = length

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > most:
                raise TooLarge("more bytes than this request may bring")
            return message

        async def answer(message: Message) -> None:
            nonlocal whole
            if message["type"] == "http.response.start":
                whole = message["status"] == 200
            if count <= most:  # Else it is a failed parser's answer, which doesn't know why.
                if is_upload and len(answered) < MB:
                    answered.extend(message.get("body", b""))
                await send(message)

        try:
            with contextlib.suppress(TooLarge):
                await self.app(scope, counted, answer)
        finally:
            if number is not None:
                self.disk.end(number, _paths(answered) if whole else None)
        if count > most:
            await _refusal(most, is_upload)(scope, receive, send)


def _paths(answered: bytearray) -> list[str]:
    """Return the paths in gradio's answer to an upload."""
    try:
        paths = json.loads(answered)
    except ValueError:
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


def _refusal(most: int, is_upload: bool) -> JSONResponse:
    what = (
        f"these files have more than {most // MB} MB together: send fewer at a time" if is_upload else
        f"this message has more than {most / MB:g} MB: send pictures as files, by /gradio_api/upload"
    )  # fmt: skip
    return _answer(what, 413)


def _answer(what: str, status: int) -> JSONResponse:
    return JSONResponse({"detail": what}, status, {"connection": "close"})
