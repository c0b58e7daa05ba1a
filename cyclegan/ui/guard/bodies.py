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

from cyclegan.ui.guard.disk import Disk
from cyclegan.ui.guard.visitors import address_of

MB = 10**6
MAX_MESSAGE_BYTES = 12 * MB
"""Bound of a message. A picture may lie within it (`data:`); a larger one comes by upload, which the server needn't
hold in memory."""
MAX_UPLOAD_BYTES, MAX_OWN_UPLOAD_BYTES = 250 * MB, 20_000 * MB
"""Bounds of all files of one upload: a visitor's, and the owner's, who may send long videos but shouldn't fill a disk
by a slip."""


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
        most, count = self.most_uploaded if is_upload else MAX_MESSAGE_BYTES, 0
        said = Headers(scope=scope).get("content-length", "0")
        if said.isascii() and said.isdecimal() and int(said[:20]) > most:
            await _refusal(most, is_upload)(scope, receive, send)
            return

        address = address_of(Request(scope))
        if is_upload and not await asyncio.to_thread(self.disk.has_room, address, int(said) if said.isdecimal() else 0):
            await _full(scope, receive, send)
            return
        answered = bytearray()

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > most:
                raise TooLarge("more bytes than this request may bring")
            return message

        async def answer(message: Message) -> None:
            if count <= most:  # Else it is a failed parser's answer, which doesn't know why.
                if is_upload and len(answered) < MB:
                    answered.extend(message.get("body", b""))
                await send(message)

        with contextlib.suppress(TooLarge):
            await self.app(scope, counted, answer)
        if count > most:
            await _refusal(most, is_upload)(scope, receive, send)
        elif is_upload:
            with contextlib.suppress(ValueError):
                paths = json.loads(answered)
                self.disk.arrived(address, [path for path in paths if isinstance(path, str)])


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    what = "there is no room for these files now: close pages that you no longer need, or try again in a few minutes"
    await JSONResponse({"detail": what}, 507, {"connection": "close"})(scope, receive, send)


def _refusal(most: int, is_upload: bool) -> JSONResponse:
    what = (
        f"these files have more than {most // MB} MB together: send fewer at a time" if is_upload else
        f"this message has more than {most // MB} MB: send pictures as files, by /gradio_api/upload"
    )  # fmt: skip
    return JSONResponse({"detail": what}, 413, {"connection": "close"})
