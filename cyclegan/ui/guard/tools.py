"""The app as tools for agents (MCP): gradio's MCP server calls this app as a client, on its callers' behalf."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from json import JSONDecodeError
from typing import Any

import httpx
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from cyclegan.cli.access import Access
from cyclegan.ui.guard.bodies import MAX_MESSAGE_BYTES
from cyclegan.ui.guard.visitors import address_of

CALLER = b"x-mcp-caller"
"""Header that brings the address of a tool's caller through the MCP server, which sends on what its callers sent."""
_KEY = secrets.token_hex(16)


class Callers:
    """Middleware that lets a call of the MCP server come from its caller's address; else all callers share one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(CALLER, b"").decode("latin-1")
            headers = [(name, value) for name, value in scope["headers"] if name != CALLER]
            key, _, address = given.partition(" ")
            if secrets.compare_digest(key.encode(), _KEY.encode()):
                scope = {**scope, "client": (address, 0)}
            elif "/gradio_api/mcp" in scope["path"]:
                headers.append((CALLER, f"{_KEY} {address_of(Request(scope))}".encode("latin-1", "replace")))
            scope = {**scope, "headers": headers}
        await self.app(scope, receive, send)


def prepare(access: Access) -> None:
    """Give gradio's MCP server the token for the gate, the bound of messages, and the words of a refusal."""
    import gradio.mcp

    server = gradio.mcp.GradioMCPServer
    server.StreamableHTTPSessionManager = staticmethod(functools.partial(  # type: ignore[misc,assignment]
        # Its own bound is 4 MiB, less than a photo within a message.
        server.StreamableHTTPSessionManager, max_request_body_size=MAX_MESSAGE_BYTES,
    ))
    for name in ("_execute_tool_without_progress", "_execute_tool_with_progress"):
        setattr(server, name, _with_reason(getattr(server, name)))
    made = gradio.mcp.Client

    def client(*args: Any, headers: dict[str, str], **options: Any) -> Any:
        return made(*args, headers={**headers, "authorization": f"Bearer {access.token}"}, **options)

    gradio.mcp.Client = client  # type: ignore[misc,assignment]


def _with_reason(execute: Callable[..., Any]) -> Callable[..., Any]:
    """Return a tool's execution whose error, where the app refuses a call, is the app's sentence, not its status."""

    async def executed(*args: Any) -> Any:
        try:
            return await execute(*args)
        except httpx.HTTPStatusError as error:
            try:
                raise ValueError(error.response.json()["detail"]) from error
            except (LookupError, TypeError, JSONDecodeError):
                raise error from None

    return executed
