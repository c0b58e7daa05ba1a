"""The gate: the owner's token, or a visitor's name and password; then a cookie, so that nobody has to give it twice.

    GET  /ANY_PAGE?token=TOKEN              the printed address → the cookie, and the same page at a clean address
    POST /enter                             the form {token} or {name, password} → the cookie, and the first page
    Authorization: Bearer TOKEN             for programs; Basic NAME:PASSWORD where there are logins
    /study/…                                is for participants, who need none of it

Gradio's own `auth` guards its routes one by one; uploads' progress, cancelling, streams and MCP aren't among them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Literal
from urllib.parse import parse_qs, parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cyclegan.cli.access import Access
from cyclegan.study.limits import Buckets
from cyclegan.study.shelf import same_secret
from cyclegan.ui import words
from cyclegan.ui.guard.visitors import address_of

KEPT_S = 30 * 24 * 3600
MAX_BODY_BYTES = 4000
TRIES = (0.2, 20.0)
"""Wrong or right proofs per second and at once, of one address for one name."""
OPEN = ("/study", "/gradio_api/startup-events")
"""Paths for everybody: studies, and what `launch` asks its own server."""
PAGE = """<!DOCTYPE html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>CycleGAN workbench</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 26rem; margin: 15vh auto; padding: 0 1.25rem }}
h1 {{ font-size: 1.25rem }}
label {{ display: block; margin: .75rem 0 }}
input, button {{ font: inherit; padding: .5rem .75rem; border-radius: .4rem; border: 1px solid #64748b }}
input {{ display: block; width: 100%; box-sizing: border-box; margin-top: .25rem }}
button {{ background: #0f766e; border-color: #0f766e; color: #fff; cursor: pointer }}
.problem {{ color: #b91c1c }}
@media (prefers-color-scheme: dark) {{ .problem {{ color: #fca5a5 }} }}
</style></head><body><h1>CycleGAN workbench</h1>{problem}<p>{lead}</p>
<form method="post" action="{action}">{fields}<button>{go}</button></form></body></html>"""


class Gate:
    """Middleware that lets in whoever proves who they are; without a token or logins it lets everybody in."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access, self.tries = app, access, Buckets(*TRIES)
        self._right: set[bytes] = set()
        """Digests of the headers with a name and a password that were right: only new ones count as tries."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not self.access.closed:
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if any(path == known or path.startswith(f"{known}/") for known in OPEN):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await (self.app(scope, receive, send) if self._let_in(Request({**scope, "type": "http"}))
                   else send({"type": "websocket.close", "code": 1008}))  # fmt: skip
            return
        request = Request(scope, receive)
        if path == "/enter" and request.method == "POST":
            await (await self._typed(request))(scope, receive, send)
        elif request.method == "GET" and b"token=" in scope["query_string"] and (found := self._of_address(request)):
            await found(scope, receive, send)
        elif self._let_in(request):
            await self.app(scope, receive, send)
        else:
            await self._refuse(request, 401)(scope, receive, send)

    def _let_in(self, request: Request) -> bool:
        """Return whether a request's header or cookie proves that its sender may come in."""
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return same_secret(given.strip(), self.access.token)
        if kind.lower() == "basic":
            return self._is_basic(request, given)
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(self._cookie(request))
        except CookieError:
            return False
        name, _, proof = cookie.value.rpartition(".") if cookie else ("", "", "")
        # A person who is no longer in the file of logins no longer comes in.
        return bool(proof) and (not name or name in self._names()) and same_secret(proof, self._proof(name))

    def _names(self) -> set[str]:
        return {_encoded(name) for name in self.access.logins}

    def _is_basic(self, request: Request, given: str) -> bool:
        """Return whether a header's name and password are right."""
        digest = hashlib.sha256(given.encode()).digest()
        if digest in self._right:
            return True
        try:
            name, _, password = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        if self.tries.take((address_of(request) + name).encode()) or not self._is_login(name, password):
            return False
        self._right.add(digest)
        return True

    def _is_login(self, name: str, password: str) -> bool:
        return same_secret(password, self.access.logins.get(name, ""))

    def _cookie(self, request: Request) -> str:
        """Return the cookie's name: servers at other ports of this computer have cookies of their own."""
        return f"workbench_{request.url.port or 0}"

    def _proof(self, name: str) -> str:
        """Return what only this server can have made, for the owner ("") or a visitor with a login."""
        key = self.access.token + self.access.logins.get(bytes.fromhex(name).decode() if name else "", "")
        return hmac.new(key.encode(), f"gate:{name}".encode(), hashlib.sha256).hexdigest()

    def _of_address(self, request: Request) -> Response | None:
        """Return the way to the same page without the token that its address has; None for a wrong one."""
        query = parse_qsl(request.url.query, keep_blank_values=True)
        if not same_secret(dict(query).get("token", ""), self.access.token):
            return None
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        page = "./" + request.url.path.rpartition("/")[2]  # With "./", a name can't be another site's address.
        return self._entered(request, f"{page}?{rest}" if rest else page, "")

    async def _typed(self, request: Request) -> Response:
        """Take the token, or a name and a password, from the form."""
        given = await form_of(request)
        if given is None:
            return Response(status_code=413)
        if self.tries.take((address_of(request) + given.get("name", "")).encode()):
            return self._refuse(request, 429)
        if same_secret(given.get("token", "").strip(), self.access.token):
            return self._entered(request, "./", "")
        name = given.get("name", "")
        if self._is_login(name, given.get("password", "")):
            return self._entered(request, "./", _encoded(name))
        return self._refuse(request, 403)

    def _entered(self, request: Request, to: str, name: str) -> Response:
        response = RedirectResponse(to, 303, {"cache-control": "no-store"})
        keep(response, request, self._cookie(request), f"{name}.{self._proof(name)}", "lax")
        return response

    def _refuse(self, request: Request, status: int) -> Response:
        """Return the form to a browser, and a sentence to a program."""
        say = words.speaker(request)  # type: ignore[arg-type]  # It reads the headers, which both kinds have.
        private = not self.access.logins
        if "text/html" not in request.headers.get("accept", ""):
            how = (
                "this app needs its token: send the header Authorization: Bearer TOKEN, with the token of the address "
                "that the app's terminal shows"
                if private else
                "this app needs a name and a password: send them as HTTP Basic authentication"
            )  # fmt: skip
            # Not to a page's script: its browser would ask for them in a window of its own.
            ask = {} if "sec-fetch-mode" in request.headers else {"www-authenticate": "Bearer" if private else "Basic"}
            return JSONResponse({"detail": how}, status, ask)
        lead = (
            say.html("This app belongs to whoever started it. Open the address that its terminal shows, or copy the "
                     "token from there.")
            if private else say.html("Please log in.")
        )  # fmt: skip
        problem = {
            403: say.html("That isn't right; look at it again."),
            429: say.html("That was tried too often: wait a minute."),
        }.get(status, "")
        fields = (
            _field(say.html("Token"), "token", "password", "off") if private else
            _field(say.html("Name"), "name", "text", "username")
            + _field(say.html("Password"), "password", "password", "current-password")
        )  # fmt: skip
        page = PAGE.format(
            language=say.language, problem=f'<p class="problem">{problem}</p>' if problem else "", lead=lead,
            action="enter", fields=fields, go=say.html("Come in"),
        )  # fmt: skip
        return HTMLResponse(page, status, {"cache-control": "no-store"})


async def form_of(request: Request) -> dict[str, str] | None:
    """Return the fields of a short form, None of one that is too long."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MAX_BODY_BYTES:
            return None
    return {name: values[0] for name, values in parse_qs(content.decode("utf-8", "replace")).items()}


def keep(response: Response, request: Request, name: str, value: str, samesite: Literal["lax", "strict"]) -> None:
    """Let a browser keep a cookie that no script can read."""
    response.set_cookie(
        name, value, max_age=KEPT_S, httponly=True, samesite=samesite,
        secure=request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https",
    )  # fmt: skip


def _field(label: str, name: str, kind: str, complete: str) -> str:
    return f'<label>{label}<input type="{kind}" name="{name}" required autocomplete="{complete}"></label>'


def _encoded(name: str) -> str:
    """Return a name as a cookie can hold it."""
    return name.encode().hex()

