"""Login on a Space with an account of Hugging Face, for studies whose protocol asks for it.

    GET /oauth/huggingface/login?back=/study/faces    redirects to huggingface.co, which asks for the visitor's consent
    GET /oauth/huggingface/callback                   receives the answer, and redirects to `back`
    GET /oauth/huggingface/logout?back=…

A Space with `hf_oauth: true` in its README gets an OAuth client of its own, in environment variables. Only the user
name is kept, in a signed cookie of the visitor's browser. Not by huggingface_hub's `attach_huggingface_oauth`, because
that is for FastAPI at the root, keeps the visitor's access token in the cookie, and redirects to any address in a link.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from urllib.parse import urlencode

from authlib.integrations.starlette_client import OAuth, OAuthError
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from cyclegan.errors import Message, message
from cyclegan.locale import LANGUAGES, in_language
from hub.errors import HubError

VARIABLES = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OPENID_PROVIDER_URL")
PREFIX = "/oauth/huggingface"
COOKIE = "study_login"
KEPT_S = 24 * 3600
"""Seconds until a login expires."""
NO_COOKIE = message(
    "You could not be logged in: your browser did not return its cookie, perhaps because the page is shown within "
    "another one. Open the study's link in a tab of its own, and try again."
)
NO_ANSWER = message("You could not be logged in: Hugging Face does not answer. Try again in a minute.")

log = logging.getLogger(__name__)


class HubLogin:
    """The login of a Space, for `cyclegan.study.server.make_app`.

    Args:
        environ: variables with the Space's OAuth client; None for the environment.

    Raises:
        HubError: a variable is missing.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        if missing := [name for name in VARIABLES if not environ.get(name)]:
            raise HubError(
                "{variable} is not set, so nobody can log in with Hugging Face", variable=missing[0],
                remedy=message(
                    "run the study on a Space whose README says hf_oauth: true, as `python -m hub space --study` "
                    "makes it"
                ),
            )
        self._host = environ.get("SPACE_HOST", "")
        self._key = hashlib.sha256(f"{environ['OAUTH_CLIENT_SECRET']}-study".encode()).hexdigest()
        self._client = OAuth().register(
            "huggingface",
            client_id=environ["OAUTH_CLIENT_ID"],
            client_secret=environ["OAUTH_CLIENT_SECRET"],
            client_kwargs={"scope": "openid profile"},
            server_metadata_url=f"{environ['OPENID_PROVIDER_URL'].rstrip('/')}/.well-known/openid-configuration",
        )

    def attach(self, app: Starlette) -> None:
        """Add the login's pages, and the cookie, to an application; it may be mounted anywhere."""
        # Spaces are also shown within huggingface.co, where browsers send only cookies with this option.
        options = {"same_site": "none", "https_only": True} if self._host else {"same_site": "lax"}
        app.add_middleware(
            SessionMiddleware, secret_key=self._key, session_cookie=COOKIE, max_age=KEPT_S, **options
        )
        for name, page in (("login", self._login), ("callback", self._callback), ("logout", self._logout)):
            app.add_route(f"{PREFIX}/{name}", page, methods=["GET"], name=f"study_{name}")

    def user(self, request: Request) -> str | None:
        """Return the visitor's user name; None before they have logged in."""
        user = request.session.get("user")
        return user if isinstance(user, str) else None

    def url(self, request: Request, back: str) -> str:
        """Return the address of the login, which leads back to the path `back`."""
        return f"{_root(request)}{PREFIX}/login?{urlencode({'back': back})}"

    # --- its pages ------------------------------------------------------------------------------------------

    async def _login(self, request: Request) -> Response:
        request.session.clear()  # An earlier try may have failed.
        request.session["back"] = _back(request)
        base = f"https://{self._host}" if self._host else f"{request.url.scheme}://{request.url.netloc}"
        try:
            return await self._client.authorize_redirect(request, f"{base}{_root(request)}{PREFIX}/callback")
        except Exception as error:  # The HTTP library behind it may be any.
            log.warning("Hugging Face's login can't be reached: %s", error)
            return _refusal(request, NO_ANSWER, 503)

    async def _callback(self, request: Request) -> Response:
        back = request.session.get("back")
        if not isinstance(back, str):
            return _refusal(request, NO_COOKIE, 400)
        try:
            token = await self._client.authorize_access_token(request)
            user = (token.get("userinfo") or {}).get("preferred_username")
        except OAuthError as error:  # The visitor refused, or it doesn't answer this browser's request.
            log.info("a login was not completed: %s", error)
            user = None
        except Exception as error:
            log.warning("Hugging Face's login failed (%s: %s)", type(error).__name__, error)
            return _refusal(request, NO_ANSWER, 503)
        request.session.clear()  # Keep nothing but the name.
        if isinstance(user, str) and user:
            request.session["user"] = user
        return RedirectResponse(back, 303, {"cache-control": "no-store"})

    async def _logout(self, request: Request) -> Response:
        request.session.clear()
        return RedirectResponse(_back(request), 303, {"cache-control": "no-store"})


def _refusal(request: Request, said: Message, status: int) -> Response:
    """Return a page with one sentence in the browser's first language, or English."""
    wanted = request.headers.get("accept-language", "").lower()
    language = next((one for one in LANGUAGES if wanted.startswith(one)), LANGUAGES[0])
    again = {"retry-after": "60"} if status == 503 else {}
    return PlainTextResponse(in_language(said, language), status, {"cache-control": "no-store", **again})


def _root(request: Request) -> str:
    """Return the path at which the application is mounted."""
    return request.scope.get("root_path", "").rstrip("/")


def _back(request: Request) -> str:
    """Return the path to go back to; never another site's."""
    back = request.query_params.get("back", "")
    good = back.startswith("/") and not back.startswith("//") and "\\" not in back and back.isprintable()
    return back if good else f"{_root(request)}/"
