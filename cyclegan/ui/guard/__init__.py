"""The guards before the pages, in the order in which a request meets them.

    names    a page under another name can't drive an app that serves this computer only
    headers  what a browser may do with an answer
    gate     the owner's token, or a visitor's name and password
    bodies   bounds for what a request may bring
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from cyclegan.cli.access import Access
from cyclegan.ui.guard.bodies import Bodies
from cyclegan.ui.guard.gate import Gate
from cyclegan.ui.guard.headers import SafeHeaders
from cyclegan.ui.guard.names import Names


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


def behind(access: Access, *, routes: Sequence[BaseRoute], middleware: Sequence[Middleware]) -> dict[str, Any]:
    """Return what the app serves next to gradio's pages, behind the guards, as `theme.launch_options` takes it."""
    guards = [
        Middleware(Names, access=access), Middleware(SafeHeaders, access=access), Middleware(Gate, access=access),
        Middleware(Bodies, own=access.private),
    ]  # fmt: skip
    if access.closed and find_spec("mcp"):
        _let_tools_in(access)
    return {"routes": routes, "middleware": [*guards, *middleware]}


def _let_tools_in(access: Access) -> None:
    """Give gradio's MCP server, which calls this app as a client, the token for the gate."""
    import gradio.mcp

    made = gradio.mcp.Client

    def client(*args: Any, headers: dict[str, str], **options: Any) -> Any:
        return made(*args, headers={**headers, "authorization": f"Bearer {access.token}"}, **options)

    gradio.mcp.Client = client  # type: ignore[misc,assignment]
