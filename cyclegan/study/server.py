"""A study over HTTP: the page that plays it, and what that page asks for. The server holds the truth.

Relative to where it is mounted:

    GET  /NAME                  the page; participants come by ?participant=…, PROLIFIC_PID or workerId
    GET  /NAME/about            what the page has to know before anyone takes part
    POST /NAME/check            {participant, key} → {ok}: nobody has taken part by this name; nothing is stored
    POST /NAME/session          {participant, language, screen, key} → {secret, state}
    GET  /NAME/session          Authorization: Bearer SECRET → state
    GET  /NAME/stimulus/TOKEN   a picture, once
    POST /NAME/reveal           {token} → {ok}: the pictures are about to be shown
    POST /NAME/vote             {token, the answer, what was measured} → acknowledgement with the next state

What is refused is JSON, {error: code, message: sentence}; 429 and 503 say by Retry-After when to come again.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import logging
import math
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import uvicorn
from anyio import CapacityLimiter, fail_after, to_thread
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyclegan.errors import StudyError, UserError
from cyclegan.study import page
from cyclegan.study.plan import TAGS, Study
from cyclegan.study.session import ADDRESS_WINDOW, SESSIONS_PER_ADDRESS, Play, SessionError
from cyclegan.study.store import Store, database_url

MAX_BODY_BYTES = 16_000
BODY_S = 30.0
"""Seconds for a body to arrive in."""
THREADS = 40
"""Calls of the database at once; the others wait."""
PER_ADDRESS = (600.0, 4000.0)
"""Requests per second and at once. Generous: a class of 200 sits behind one address."""
PER_SESSION = (30.0, 60.0)
CHECKS_PER_ADDRESS = (SESSIONS_PER_ADDRESS / ADDRESS_WINDOW.total_seconds(), float(SESSIONS_PER_ADDRESS))
"""As many as sessions: asking who took part is no cheaper than taking part."""
MAX_KNOWN = 20_000
"""Addresses, and sessions, that are remembered: the latest."""
STATUS = {
    "no_session": 401, "no_login": 403, "login_needed": 401, "not_found": 404, "taken": 409, "stale_token": 409,
    "out_of_order": 409, "not_revealed": 409, "gone": 410, "late": 410, "closed": 410, "too_many": 429,
    "slow_down": 429, "busy": 503,
}  # fmt: skip
"""HTTP status by the code of a refusal; 400 for the others."""
HEADERS = {
    # Spaces are shown within huggingface.co, so that may frame the page; nobody else may.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self' https://huggingface.co https://*.hf.space",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

KEPT_NOWHERE = {"cache-control": "no-store, no-transform"}
"""Nor made smaller by a proxy: pictures are equal in length."""

log = logging.getLogger(__name__)
Found = TypeVar("Found")


class Login(Protocol):
    """Who visits, where a study asks for accounts of Hugging Face."""

    def attach(self, app: Starlette) -> None:
        """Add what logging in needs to the application."""

    def user(self, request: Request) -> str | None:
        """The visitor's user name; None before they have logged in."""

    def url(self, request: Request, back: str) -> str:
        """Where to log in; it leads back to the path `back`."""


class _Refused(UserError):
    """An answer with an error."""

    def __init__(
        self, code: str, template: str, /, *, status: int | None = None, retry_after_s: float | None = None,
        **values: Any,
    ) -> None:
        super().__init__(template, **values)
        self.code, self.status = code, status or STATUS.get(code, 400)
        self.retry_after_s = retry_after_s or (1 if self.status in (429, 503) else None)

    def response(self) -> Response:
        headers = {"cache-control": "no-store"}
        if self.retry_after_s:
            headers["retry-after"] = str(math.ceil(self.retry_after_s))
        return JSONResponse({"error": self.code, "message": str(self)}, self.status, headers)


class Buckets:
    """A token bucket for each of the latest MAX_KNOWN keys.

    Args:
        rate: tokens per second that a bucket regains.
        burst: tokens that it holds.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self._kept: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def take(self, key: bytes) -> float:
        """Take a token; 0, or the seconds after which there will be one."""
        now = self.clock()
        tokens, since = self._kept.pop(key, (self.burst, now))
        tokens = min(self.burst, tokens + (now - since) * self.rate)
        self._kept[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._kept) > MAX_KNOWN:
            self._kept.popitem(last=False)
        return 0.0 if tokens >= 1 else (1 - tokens) / self.rate


class _Headers:
    """Puts HEADERS on every answer, those of errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class _Server:
    """The routes, and what they share."""

    def __init__(
        self, studies: Sequence[Study], *, store_of: Callable[[Study], Store], login: Login | None, origin: str,
        trust_proxy: bool, preview: bool,
    ) -> None:
        self.plays = {study.name: Play(study, store_of(study), origin=origin) for study in studies}
        self.studies = {study.name: study for study in studies}
        self.login, self.trust_proxy, self.preview = login, trust_proxy, preview
        self.limiter = CapacityLimiter(THREADS)
        self.salt = secrets.token_bytes(16)
        self.addresses, self.sessions = Buckets(*PER_ADDRESS), Buckets(*PER_SESSION)
        self.checks = Buckets(*CHECKS_PER_ADDRESS)

    @property
    def routes(self) -> list[Route]:
        """In the order of the list at the top."""

        def route(path: str, get: Callable | None = None, post: Callable | None = None) -> Route:
            methods = [method for method, handler in (("GET", get), ("POST", post)) if handler]
            return Route(path, self._answering(get, post), methods=methods)

        return [
            route("/", self.first),
            # Without a limit: a page that lacks one of its modules doesn't open, and they come from memory.
            Route("/static/{version}/{file}", page.file, methods=["GET"]),
            route("/{name}", self.page),
            route("/{name}/", self.without_slash),
            route("/{name}/about", self.about),
            route("/{name}/check", post=self.check),
            route("/{name}/session", self.session, self.begin),
            route("/{name}/stimulus/{token}", self.stimulus),
            route("/{name}/reveal", post=self.reveal),
            route("/{name}/vote", post=self.vote),
        ]

    def _answering(self, get: Callable | None, post: Callable | None) -> Callable[[Request], Awaitable[Response]]:
        """One endpoint; whatever goes wrong in it is answered with a sentence."""

        async def endpoint(request: Request) -> Response:
            try:
                wait = self.addresses.take(self._hash(self._address(request)))
                if wait:
                    raise _Refused("slow_down", "Too many requests came from your address: wait a moment.",
                                   retry_after_s=wait)
                handler = {"GET": get, "POST": post}.get(request.method)
                if handler is None:  # HEAD, which must not use up a token.
                    raise _Refused("method", "{method} does nothing here.", method=request.method, status=405)
                return await handler(request)
            except _Refused as error:
                return error.response()
            except SessionError as error:
                return _Refused(error.code, str(error)).response()
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception:
                # Not the address: it may hold a participant's id or a token.
                log.exception("a request of %s failed", request.path_params.get("name", "the page"))
                return _Refused("failed", "The server failed at this; it has been written down. Try again.",
                                status=500).response()

        return endpoint

    # --- pages ----------------------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """The page. It is the same for everyone: whoever comes is read from its address, by the page itself."""
        name = request.path_params["name"]
        study = self.studies.get(name)
        if study is None:
            return PlainTextResponse(f"There is no study called {name[:64]}: ask for the link again.", 404)
        return page.page(study.title)

    async def first(self, request: Request) -> Response:
        """Leads to the study, where there is only one."""
        if len(self.studies) != 1:
            return PlainTextResponse("The study's name is missing: ask for the link again.", 404)
        return RedirectResponse(f"{request.scope.get('root_path', '').rstrip('/')}/{next(iter(self.studies))}", 307)

    async def without_slash(self, request: Request) -> Response:
        """The page's links are relative to an address without a slash at its end."""
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"../{request.path_params['name']}{query}", 308)

    async def about(self, request: Request) -> Response:
        """What the page has to know; nothing of epochs, checkpoints or stimuli."""
        study = self._play(request).study
        p = study.protocol
        names = ("task", "question", "presentation", "practice_trials", "test_trials", "exposure_ms", "blank_ms",
                 "mask", "feedback_ms", "session_hours")
        login = None
        if p.login == "huggingface" and not self.preview:
            user = self.login.user(request) if self.login else None
            back = request.url.path.removesuffix("/about")
            login = {"user": user, "url": self.login.url(request, back) if self.login else None}
        content = {
            "name": study.name, "title": study.title, "contact": study.contact, "size": list(study.size),
            "tags": list(TAGS) if p.task == "tag" else [], "login": login,
            "preview": self.preview, **{name: getattr(p, name) for name in names},
        }  # fmt: skip
        return JSONResponse(content, headers={"cache-control": "no-store"})

    # --- playing --------------------------------------------------------------------------------------------

    async def check(self, request: Request) -> Response:
        """Refuse who has taken part already, so that they need not read and agree first to learn it."""
        if wait := self.checks.take(self._hash(self._address(request))):
            raise _Refused("slow_down", "Too many people came from your address: wait a moment.", retry_after_s=wait)
        play, body = self._play(request), await self._body(request)
        await self._call(play.check, self._participant(request, play, body), key=body.get("key"))
        return _json({"ok": True})

    async def begin(self, request: Request) -> Response:
        """Open a session; the same one again for who has the `key` that it was begun with, so that a lost answer locks
        nobody out."""
        play, body = self._play(request), await self._body(request)
        secret, state = await self._call(
            play.begin, self._participant(request, play, body), language=body.get("language"),
            screen=body.get("screen"), address=self._address(request), key=body.get("key"),
        )  # fmt: skip
        return _json({"secret": secret, "state": state.to_json()})

    async def session(self, request: Request) -> Response:
        """Where the session stands; all earlier tokens of it become useless."""
        state = await self._call(self._play(request).state, self._secret(request))
        return _json(state.to_json())

    async def stimulus(self, request: Request) -> Response:
        """A picture. Every answer has the same headers and the same length."""
        content = await self._call(self._play(request).stimulus, request.path_params["token"])
        return Response(content, media_type="image/png", headers=KEPT_NOWHERE)

    async def reveal(self, request: Request) -> Response:
        """Write down, before the pictures are shown, that they have been: they are never shown again."""
        play, secret, body = self._play(request), self._secret(request), await self._body(request)
        await self._call(play.reveal, secret, _token(body))
        return _json({"ok": True})

    async def vote(self, request: Request) -> Response:
        """Take an answer; it is acknowledged once it is on the disk."""
        play, secret, body = self._play(request), self._secret(request), await self._body(request)
        token = _token(body)
        answer = {key: value for key, value in body.items() if key != "token"}
        ack = await self._call(play.vote, secret, token, answer)
        return _json(ack.to_json())

    # --- what they share ------------------------------------------------------------------------------------

    async def _call(self, function: Callable[..., Found], *args: Any, **kwargs: Any) -> Found:
        """Call the database without holding up the others."""
        return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=self.limiter)

    def _play(self, request: Request) -> Play:
        play = self.plays.get(request.path_params["name"])
        if play is None:
            raise _Refused("not_found", "There is no study of this name: ask for the link again.")
        return play

    def _secret(self, request: Request) -> str:
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not 0 < len(secret) <= 200:
            raise _Refused("no_session", "This request names no session: open the study's link again.")
        wait = self.sessions.take(self._hash(secret))
        if wait:
            raise _Refused("slow_down", "Too many requests of one session: wait a moment.", retry_after_s=wait)
        return secret

    def _participant(self, request: Request, play: Play, body: Mapping[str, Any]) -> str | None:
        """Who takes part, as the link or the login says; None for whoever comes without a name."""
        if self.preview:
            return None  # One more every time, so that a study can be tried as often as its owner likes.
        return self._user(request) if play.study.protocol.login == "huggingface" else body.get("participant")

    def _user(self, request: Request) -> str:
        if self.login is None:
            raise _Refused("no_login", "This study asks for a Hugging Face account, and this server can't log in: "
                                       "open it on its Space.")
        user = self.login.user(request)
        if user is None:
            raise _Refused("login_needed", "Log in with your Hugging Face account first.")
        return f"hf:{user}"

    async def _body(self, request: Request) -> dict[str, Any]:
        """The JSON object that was sent.

        Another site's page can make a browser send a form, but not JSON without asking first; and browsers say
        where a request comes from.
        """
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise _Refused("cross_site", "This request comes from another site: open the study's link itself.",
                           status=403)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _Refused("bad_answer", "Send JSON, with Content-Type: application/json.", status=415)
        content = bytearray()
        try:
            with fail_after(BODY_S):
                async for part in request.stream():
                    content += part
                    if len(content) > MAX_BODY_BYTES:
                        raise _Refused(
                            "bad_answer",
                            "Send {MAX_BODY_BYTES:,} bytes at most.",
                            MAX_BODY_BYTES=MAX_BODY_BYTES, status=413,
                        )
        except TimeoutError as error:
            raise _Refused(
                "busy",
                "The request did not arrive whole within {BODY_S:g} s: send it again.",
                BODY_S=BODY_S,
            ) from error
        try:
            body = json.loads(content, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise _Refused("bad_answer", "This is no JSON.") from error
        if not isinstance(body, dict):
            raise _Refused("bad_answer", "Send a JSON object.")
        return body

    def _address(self, request: Request) -> str | None:
        """The participant's address; behind a proxy that is trusted, what that has seen."""
        hops = request.headers.getlist("x-forwarded-for") if self.trust_proxy else []
        if hops:
            with contextlib.suppress(ValueError):
                return str(ipaddress.ip_address(hops[-1].rpartition(",")[2].strip()))
        return request.client.host if request.client else None

    def _hash(self, text: str | None) -> bytes:
        return hashlib.blake2b((text or "").encode(), key=self.salt, digest_size=16).digest()


def make_app(
    studies: Sequence[Study],
    *,
    store_of: Callable[[Study], Store],
    login: Login | None = None,
    origin: str = "people",
    trust_proxy: bool = False,
    preview: bool = False,
) -> Starlette:
    """The studies as a web application, to be mounted at /study.

    Args:
        studies: of different names.
        store_of: the database of a study; it is called once for each, and the caller closes it.
        login: who visits, for studies that ask for accounts of Hugging Face.
        origin: people or simulated: what sessions are marked with.
        trust_proxy: take addresses from the last hop of X-Forwarded-For; only behind a proxy that writes it.
        preview: for owners who try their studies: the page says that nothing is recorded, and each loading begins
            anew. `store_of` has to give a database that no report reads.
    """
    server = _Server(
        studies, store_of=store_of, login=login, origin=origin, trust_proxy=trust_proxy, preview=preview
    )  # fmt: skip

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code, message = ("not_found", "There is nothing at this address.")
        if error.status_code == 405:
            code, message = ("method", f"{request.method} does nothing here.")
        return _Refused(code, message, status=error.status_code).response()

    app = Starlette(routes=server.routes, exception_handlers={HTTPException: refused})
    app.router.redirect_slashes = False
    if login is not None:
        login.attach(app)
    app.add_middleware(_Headers)
    return app


def serve(
    studies: Sequence[Study],
    *,
    host: str = "127.0.0.1",
    port: int = 7861,
    origin: str = "people",
    trust_proxy: bool = False,
    login: Login | None = None,
) -> None:
    """Serve studies from this process until it is interrupted, and print their addresses.

    There is no log of requests: their addresses hold participants' ids and tokens. What is asked when this ends is
    still answered, for 10 s.

    Args:
        studies: of different names.
        host: address to serve at; the default lets nobody in from outside.
        port: 0 for any that is free.
        origin: people or simulated.
        trust_proxy: see make_app.
        login: see make_app.

    Raises:
        StudyError: the address can't be used.
        StudyError: a database can't be opened.
    """
    with contextlib.ExitStack() as stack:
        try:
            listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StudyError(
                "{host}:{port} can't be used ({reason}): choose another with --port",
                host=host, port=port, reason=reason,
            ) from error
        stack.enter_context(listening)
        stores: dict[str, Store] = {}

        def store_of(study: Study) -> Store:
            if study.folder is None:
                raise StudyError("{study} lies in no folder: write it first", study=study.name)
            url = database_url(study.folder)
            if url not in stores:
                stores[url] = Store(url)
                stack.callback(stores[url].close)
            return stores[url]

        app = make_app(studies, store_of=store_of, login=login, origin=origin, trust_proxy=trust_proxy)
        config = uvicorn.Config(
            Starlette(routes=[Route("/", _to_studies), Mount("/study", app)]), access_log=False, log_config=None,
            log_level="warning", server_header=False, proxy_headers=False, lifespan="off", timeout_graceful_shutdown=10,
            timeout_keep_alive=60,  # Longer than an answer takes.
        )  # fmt: skip
        shown = f"[{host}]" if ":" in host else host
        for study in studies:
            print(f"{study.title}: http://{shown}:{listening.getsockname()[1]}/study/{study.name}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn ends in order, and then raises it again.
            uvicorn.Server(config).run(sockets=[listening])


# --- small things -------------------------------------------------------------------------------------------


async def _to_studies(request: Request) -> Response:
    return RedirectResponse("study/", 307)


def _json(content: Mapping[str, Any]) -> Response:
    return JSONResponse(content, headers=KEPT_NOWHERE)


def _token(body: Mapping[str, Any]) -> str:
    token = body.get("token")
    if not isinstance(token, str) or not 0 < len(token) <= 200:
        raise _Refused("bad_answer", "token has to be the trial's token.")
    return token


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
