"""A study over HTTP: the participants' page and its requests. The server holds the truth.

Relative to where it is mounted:

    GET  /NAME                  the page; participants come by ?participant=…, PROLIFIC_PID, workerId or invitation
    GET  /NAME/about            protocol, texts and login, before anyone takes part
    POST /NAME/check            {participant, key} → {ok}: this participant can begin or continue; nothing is stored.
                                Where anyone can give any name, it doesn't report whether the name has taken part
    POST /NAME/decline          {participant} → {code, url} for those who don't consent; nothing is stored
    POST /NAME/session          {participant, language, screen, key, consent} → {secret, state}
    GET  /NAME/session          Authorization: Bearer SECRET → state
    POST /NAME/replies          {when, answers by question} → state
    GET  /NAME/stimulus/TOKEN   a picture, once
    POST /NAME/reveal           {token} → {ok}: the pictures are about to be shown
    POST /NAME/vote             {token, the answer, what was measured} → acknowledgement with the next state

A refusal is JSON, {error: code, message: sentence}; 429 and 503 have a Retry-After.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import uvicorn
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from cyclegan.errors import StudyError, message
from cyclegan.study import page
from cyclegan.study.endings import link_of
from cyclegan.study.format import Study
from cyclegan.study.invitations import participant_of
from cyclegan.study.limits import CHECKS_PER_ADDRESS, PER_ADDRESS, PER_SESSION, Buckets
from cyclegan.study.protocol import TAGS
from cyclegan.study.refusals import REFUSED, SessionError
from cyclegan.study.requests import MAX_REPLIES_BYTES, Refused, read_body, read_token
from cyclegan.study.session import StudySessions
from cyclegan.study.store import Store, database_url

THREADS = 40
"""Simultaneous calls of the database; the others wait."""
HEADERS = {
    # Only huggingface.co may frame the page, because it shows Spaces in a frame.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self' https://huggingface.co https://*.hf.space",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

KEPT_NOWHERE = {"cache-control": "no-store, no-transform"}
"""Headers that also keep a proxy from compressing: pictures are equal in length."""

log = logging.getLogger(__name__)
Found = TypeVar("Found")


class Login(Protocol):
    """The login of visitors, where a study requires accounts of Hugging Face."""

    def attach(self, app: Starlette) -> None:
        """Add the routes and middleware of the login to the application."""

    def user(self, request: Request) -> str | None:
        """Return the visitor's user name; None before they have logged in."""

    def url(self, request: Request, back: str) -> str:
        """Return the address to log in at; it leads back to the path `back`."""


class _Headers:
    """Middleware that puts HEADERS on every answer, including errors."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(event: Event) -> None:
            if event["type"] == "http.response.start":
                MutableHeaders(scope=event).update(HEADERS)
            await send(event)

        await self.app(scope, receive, send_with_headers)


class _Server:
    """The routes, with the sessions, limits and login that they share."""

    def __init__(
        self, studies: Sequence[Study], *, store_of: Callable[[Study], Store], login: Login | None, origin: str,
        trust_proxy: bool, preview: bool,
    ) -> None:
        self.plays = {
            study.name: StudySessions(study, store_of(study), origin=origin, preview=preview) for study in studies
        }
        self.studies = {study.name: study for study in studies}
        self.login, self.trust_proxy, self.preview = login, trust_proxy, preview
        self.limiter = CapacityLimiter(THREADS)
        self.salt = secrets.token_bytes(16)
        self.addresses, self.sessions = Buckets(*PER_ADDRESS), Buckets(*PER_SESSION)
        self.checks = Buckets(*CHECKS_PER_ADDRESS)

    @property
    def routes(self) -> list[Route]:
        """The routes in the order of this module's list."""

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
            route("/{name}/decline", post=self.decline),
            route("/{name}/replies", post=self.reply),
            route("/{name}/session", self.session, self.begin),
            route("/{name}/stimulus/{token}", self.stimulus),
            route("/{name}/reveal", post=self.reveal),
            route("/{name}/vote", post=self.vote),
        ]

    def _answering(self, get: Callable | None, post: Callable | None) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that answers every error with a sentence."""

        async def endpoint(request: Request) -> Response:
            try:
                wait = self.addresses.take(self._hash(self._address(request)))
                if wait:
                    said = message("Too many requests came from your address: wait a moment.")
                    raise Refused("slow_down", said, retry_after_s=wait)
                handler = {"GET": get, "POST": post}.get(request.method)
                if handler is None:  # HEAD, which must not use up a token.
                    raise _no_method(request)
                return await handler(request)
            except Refused as error:
                return error.response()
            except SessionError as error:
                return Refused(error.code, error.message).response()
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception:
                # Without the address, which may hold a participant's id or a token.
                log.exception("a request of %s failed", request.path_params.get("name", "the page"))
                said = message("The server failed, and has logged the error: try again.")
                return Refused("failed", said, status=500).response()

        return endpoint

    # --- pages ----------------------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """Return the page, the same for everyone: it reads the participant from its address itself."""
        name = request.path_params["name"]
        study = self.studies.get(name)
        if study is None:
            said = message("There is no study called {name}: ask for the link again.", name=name[:64])
            return PlainTextResponse(str(said), 404)
        return page.page(study.title)

    async def first(self, request: Request) -> Response:
        """Redirect to the study, if there is only one."""
        if len(self.studies) != 1:
            return PlainTextResponse(str(message("The study's name is missing: ask for the link again.")), 404)
        return RedirectResponse(f"{request.scope.get('root_path', '').rstrip('/')}/{next(iter(self.studies))}", 307)

    async def without_slash(self, request: Request) -> Response:
        """Redirect to the address without a slash at its end, because the page's links are relative to that."""
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"../{request.path_params['name']}{query}", 308)

    async def about(self, request: Request) -> Response:
        """Return what the page needs; nothing about epochs, checkpoints or stimuli."""
        study = self._play(request).study
        p = study.protocol
        names = ("task", "question", "presentation", "practice_trials", "test_trials", "exposure_ms", "blank_ms",
                 "mask", "feedback_ms", "session_hours", "least_px", "device_scale",
                 "staircase_right")
        login = None
        if p.login == "huggingface" and not self.preview:
            user = self.login.user(request) if self.login else None
            back = request.url.path.removesuffix("/about")
            login = {"user": user, "url": self.login.url(request, back) if self.login else None}
        content = {
            "name": study.name, "title": study.title, "contact": study.contact, "size": list(study.size),
            "tags": list(TAGS) if p.task == "tag" else [], "login": login,
            "preview": self.preview, "invitation": p.login == "invitation" and not self.preview,
            "address_code": p.address_code, "consent": study.consent.shown if study.consent else None,
            "questions": [question.to_json() for question in study.questions],
            "code_declined": bool(study.code_declined),
            **{name: getattr(p, name) for name in names},
        }  # fmt: skip
        return JSONResponse(content, headers={"cache-control": "no-store"})

    # --- playing --------------------------------------------------------------------------------------------

    async def check(self, request: Request) -> Response:
        """Refuse those who have taken part already, before they read and agree to anything."""
        if wait := self.checks.take(self._hash(self._address(request))):
            said = message("Too many people came from your address: wait a moment.")
            raise Refused("slow_down", said, retry_after_s=wait)
        play, body = self._play(request), await read_body(request)
        await self._call(play.check, await self._participant(request, play, body), key=body.get("key"))
        return _json({"ok": True})

    async def decline(self, request: Request) -> Response:
        """Return the code and the link of those who don't take part."""
        play, body = self._play(request), await read_body(request)
        code = None if self.preview else play.study.code_declined or None
        name = await self._participant(request, play, body) if code else None
        return _json({"code": code, "url": link_of(play.study, code, name or "")})

    async def begin(self, request: Request) -> Response:
        """Open a session; the same one again for the `key` that it was begun with, so that a lost answer locks nobody
        out."""
        play, body = self._play(request), await read_body(request)
        secret, state = await self._call(
            play.begin, await self._participant(request, play, body), language=body.get("language"),
            screen=body.get("screen"), address=self._address(request), key=body.get("key"),
            consent=body.get("consent"),
        )  # fmt: skip
        return _json({"secret": secret, "state": state.to_json()})

    async def session(self, request: Request) -> Response:
        """Return the session's state; all its earlier tokens become invalid."""
        state = await self._call(self._play(request).state, self._secret(request))
        return _json(state.to_json())

    async def reply(self, request: Request) -> Response:
        """Record the answers to the questions before or after the pictures."""
        play, secret = self._play(request), self._secret(request)
        body = await read_body(request, MAX_REPLIES_BYTES)
        state = await self._call(play.reply, secret, body.get("when"), body.get("answers"))
        return _json(state.to_json())

    async def stimulus(self, request: Request) -> Response:
        """Return a picture. Every answer has the same headers and the same length."""
        content = await self._call(self._play(request).stimulus, request.path_params["token"])
        return Response(content, media_type="image/png", headers=KEPT_NOWHERE)

    async def reveal(self, request: Request) -> Response:
        """Record the pictures as shown, before they are: they are never shown again."""
        play, secret, body = self._play(request), self._secret(request), await read_body(request)
        await self._call(play.reveal, secret, read_token(body))
        return _json({"ok": True})

    async def vote(self, request: Request) -> Response:
        """Record an answer; it is acknowledged once it is on the disk."""
        play, secret, body = self._play(request), self._secret(request), await read_body(request)
        token = read_token(body)
        answer = {key: value for key, value in body.items() if key != "token"}
        ack = await self._call(play.vote, secret, token, answer)
        return _json(ack.to_json())

    # --- what they share ------------------------------------------------------------------------------------

    async def _call(self, function: Callable[..., Found], *args: Any, **kwargs: Any) -> Found:
        """Call the database without blocking other requests."""
        return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=self.limiter)

    def _play(self, request: Request) -> StudySessions:
        play = self.plays.get(request.path_params["name"])
        if play is None:
            raise Refused("not_found", message("There is no study of this name: ask for the link again."))
        return play

    def _secret(self, request: Request) -> str:
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not 0 < len(secret) <= 200:
            raise Refused("no_session", message("This request names no session: open the study's link again."))
        wait = self.sessions.take(self._hash(secret))
        if wait:
            said = message("Too many requests of one session: wait a moment.")
            raise Refused("slow_down", said, retry_after_s=wait)
        return secret

    async def _participant(self, request: Request, play: StudySessions, body: Mapping[str, Any]) -> str | None:
        """Return the participant's name from the link or the login; None for a visitor without a name."""
        login, given = play.study.protocol.login, body.get("participant")
        if self.preview:
            return None  # A new one every time, so that its owner can try a study as often as they like.
        if login == "huggingface":
            return self._user(request)
        if login == "none" or play.origin == "simulated":
            return given
        name = await self._call(participant_of, play.study, play.store, given)
        if name is None:
            raise Refused("not_invited", message("This study is by invitation: open the link that was sent to you."))
        return name

    def _user(self, request: Request) -> str:
        if self.login is None:
            raise Refused("no_login", message(
                "This study requires a Hugging Face account, and this server can't log in: open it on its Space."
            ))  # fmt: skip
        user = self.login.user(request)
        if user is None:
            raise Refused("login_needed", message("Log in with your Hugging Face account first."))
        return f"hf:{user}"

    def _address(self, request: Request) -> str | None:
        """Return the participant's address; behind a trusted proxy, the one that the proxy has seen."""
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
    """Return the studies as a web application, to be mounted at /study.

    Args:
        studies: with different names.
        store_of: returns the database of a study; called once for each, and the caller closes it.
        login: identifies visitors, for studies that require accounts of Hugging Face.
        origin: people or simulated; sessions are marked with it.
        trust_proxy: read addresses from the last hop of X-Forwarded-For; only behind a proxy that writes it.
        preview: for owners who try their studies: the page announces that nothing is recorded, each visit begins a
            new session, and none ends with a code. `store_of` has to return a database that no report reads.
    """
    server = _Server(
        studies, store_of=store_of, login=login, origin=origin, trust_proxy=trust_proxy, preview=preview
    )  # fmt: skip

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            return _no_method(request).response()
        return Refused("not_found", REFUSED["not_found"], status=error.status_code).response()

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

    There is no log of requests, because their addresses hold participants' ids and tokens. Requests in progress at the
    end are still answered, for 10 s.

    Args:
        studies: with different names.
        host: address to serve at; the default is reachable from this computer only.
        port: 0 for any free one.
        origin: people or simulated.
        trust_proxy: see make_app.
        login: see make_app.

    Raises:
        StudyError: the address can't be used, or a database can't be opened.
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
                raise StudyError("{study} has no folder: write it first", study=study.name)
            url = database_url(study.folder)
            if url not in stores:
                stores[url] = Store(url)
                stack.callback(stores[url].close)
            return stores[url]

        app = make_app(studies, store_of=store_of, login=login, origin=origin, trust_proxy=trust_proxy)
        config = uvicorn.Config(
            Starlette(routes=[Route("/", _to_studies), Mount("/study", app)]), access_log=False, log_config=None,
            log_level="warning", server_header=False, proxy_headers=False, lifespan="off", timeout_graceful_shutdown=10,
            timeout_keep_alive=60,  # Longer than a participant takes to answer.
        )  # fmt: skip
        shown = f"[{host}]" if ":" in host else host
        for study in studies:
            print(f"{study.title}: http://{shown}:{listening.getsockname()[1]}/study/{study.name}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn shuts down properly, and then raises it again.
            uvicorn.Server(config).run(sockets=[listening])


# --- small things -------------------------------------------------------------------------------------------


async def _to_studies(request: Request) -> Response:
    return RedirectResponse("study/", 307)


def _json(content: Mapping[str, Any]) -> Response:
    return JSONResponse(content, headers=KEPT_NOWHERE)


def _no_method(request: Request) -> Refused:
    return Refused("method", message("{method} does nothing here.", method=request.method), status=405)
