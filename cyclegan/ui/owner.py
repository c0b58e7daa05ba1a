"""The owner's key on a server for others: typed into a form once, then a cookie, and never part of an address.

    POST /owner                     the form {key} → the cookie, and back to the studies
    GET  /ANY_PAGE?key=KEY          a link of an older version → the cookie, and the same page at a clean address

The cookie holds a proof of the key, not the key, and no script can read it.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cyclegan.study.limits import Buckets
from cyclegan.study.shelf import Studies
from cyclegan.ui import words
from cyclegan.ui.guard.gate import TRIES, form_of, keep
from cyclegan.ui.guard.visitors import address_of

COOKIE = "study_owner"
WRONG = "wrong_key"
"""Parameter of the address after a wrong key."""


def proof_of(request: Any) -> str | None:
    """Return what a visitor's browser kept of the key, for `Studies.may_see`; None without it."""
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def form(request: Any, say: words.Speaker) -> str:
    """Return the HTML of the form that takes the key."""
    wrong = say.html("This isn't the key of this server, or it was tried too often.")
    wrong = f'<p class="problem">{wrong}</p>' if WRONG in dict(request.query_params) else ""
    return (
        f'{wrong}<form class="owner-key" method="post" action="owner">'
        f'<label>{say.html("For the owner: the key that shows the results")} '
        f'<input type="password" name="key" required autocomplete="current-password"></label>'
        f'<button>{say.html("Show the results")}</button></form>'
    )


class _Keys:
    """The exchange of keys for cookies."""

    def __init__(self, studies: Studies) -> None:
        self.studies, self.tries = studies, Buckets(*TRIES)

    def answer(self, request: Request, key: str, to: str, query: list[tuple[str, str]]) -> Response:
        """Return a redirect to a page, with the cookie if the key is right."""
        wait = self.tries.take(address_of(request).encode())
        right = not wait and self.studies.is_key(key)
        query = query if right or self.studies.own else [*query, (WRONG, "")]
        response = RedirectResponse(f"{to}?{urlencode(query)}" if query else to, 303, {"cache-control": "no-store"})
        if right:
            keep(response, request, COOKIE, self.studies.proof(), "strict")
        return response

    async def typed(self, request: Request) -> Response:
        """Take the key from the form."""
        given = await form_of(request)
        if given is None:
            return Response(status_code=413)
        return self.answer(request, given.get("key", ""), "studies", [])


class _CleanAddresses:
    """Middleware that takes the key out of a page's address."""

    def __init__(self, app: ASGIApp, keys: _Keys) -> None:
        self.app, self.keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and b"key=" in scope["query_string"]:
            request = Request(scope)
            query = parse_qsl(request.url.query, keep_blank_values=True)
            key = dict(query).get("key")
            pages = "/study/" not in request.url.path  # Participants' links may have any parameters.
            if key is not None and pages and "text/html" in request.headers.get("accept", ""):
                page = request.url.path.rpartition("/")[2]
                rest = [(name, value) for name, value in query if name != "key"]
                await self.keys.answer(request, key, page or "./", rest)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def served(studies: Studies) -> dict[str, Any]:
    """Return the routes of the studies and of the form, and the middleware, as `theme.launch_options` takes them."""
    keys = _Keys(studies)
    return {
        "routes": [studies.route(), Route("/owner", keys.typed, methods=["POST"])],
        "middleware": [Middleware(_CleanAddresses, keys=keys)],
    }
