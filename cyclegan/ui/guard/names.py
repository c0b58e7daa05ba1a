"""Host and Origin: which names a private app answers to, and whose pages may send it anything.

A web page can make its own name point to this computer (DNS rebinding), and any page can post a form to any address.
Host gives the first away, Origin the second.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from cyclegan.cli.access import Access
from cyclegan.cli.ports import is_loopback
from cyclegan.errors import shown


class Names:
    """Middleware that refuses requests under a foreign name, or from a foreign page."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access
        self.hosts = {host.lower() for host in access.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and (problem := self.problem(scope)):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await PlainTextResponse(f"{problem}\n", 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def problem(self, scope: Scope) -> str:
        """Return why a request is refused, empty if it isn't.

        Browsers name the page's Origin wherever it posts, and wherever it reads from another one. Programs name none.
        """
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.access.local and not self._known(_name(host)):
            return (
                f"This app serves this computer only, not {_shown(host)}. If that is its own address behind a reverse "
                "proxy, start it with --hosts and the proxy's name."
            )
        origin = headers.get("origin")
        if self.access.closed and origin is not None and not self._same(origin, host):
            return (
                f"A page of {_shown(origin)} can't use this app. If that is its own address behind a reverse proxy, "
                "start it with --hosts and the proxy's name."
            )
        return ""

    def _known(self, name: str) -> bool:
        return is_loopback(name) or name in self.hosts

    def _same(self, origin: str, host: str) -> bool:
        try:
            given = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return given == host.lower() or _name(given) in self.hosts


def _name(host: str) -> str:
    """Return the name in a Host header, without its port; empty if it isn't one."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _shown(text: str) -> str:
    return shown(text) or "a page without a name"
