"""Logging in with an account of Hugging Face: a study's app under its mount, against a provider on this machine."""

import asyncio
import base64
import contextlib
import json
import secrets
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from joserfc import jwk, jwt
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from cyclegan.study import server
from cyclegan.study.store import Store
from hub import HubError
from hub.login import COOKIE, HubLogin
from tests.study.conftest import small_study  # noqa: F401 (a fixture)


class Provider:
    """The part of huggingface.co that a login needs; everyone is alice, and says yes unless `refuses`."""

    def __init__(self):
        self.key = jwk.generate_key("RSA", 2048, parameters={"kid": "1"}, private=True)
        self.codes, self.refuses, self.down = {}, False, False
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                provider.answer(self, {})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider.answer(self, {name: values[0] for name, values in parse_qs(body).items()})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, handler, form):
        path = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(path.query).items()}
        status, content, headers = 200, {}, {}
        if self.down:
            status = 500
        elif path.path == "/.well-known/openid-configuration":
            content = {
                "issuer": self.url, "authorization_endpoint": f"{self.url}/oauth/authorize",
                "token_endpoint": f"{self.url}/oauth/token", "jwks_uri": f"{self.url}/jwks",
                "id_token_signing_alg_values_supported": ["RS256"],
            }  # fmt: skip
        elif path.path == "/jwks":
            content = {"keys": [self.key.as_dict(private=False)]}
        elif path.path == "/oauth/authorize":
            code = secrets.token_hex(8)
            self.codes[code] = query
            said = "error=access_denied" if self.refuses else f"code={code}"
            status = 302
            headers["Location"] = f"{query['redirect_uri']}?{said}&state={query['state']}"
        elif path.path == "/oauth/token":
            asked = self.codes.pop(form["code"])
            assert form["redirect_uri"] == asked["redirect_uri"] and asked["scope"] == "openid profile"
            claims = {"iss": self.url, "sub": "1", "aud": "client", "iat": 1_700_000_000, "exp": 4_000_000_000,
                      "nonce": asked["nonce"], "preferred_username": "alice", "email": "alice@example.org"}  # fmt: skip
            token = jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.key)
            content = {"access_token": "secretAccessToken", "token_type": "bearer", "id_token": token,
                       "expires_in": 3600}  # fmt: skip
        body = json.dumps(content).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def provider():
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


def environ(provider, **changes):
    return {"OAUTH_CLIENT_ID": "client", "OAUTH_CLIENT_SECRET": "very secret", "OPENID_PROVIDER_URL": provider.url,
            **changes}  # fmt: skip


def make_app(login):
    """As a study's app, whose pages tell who visits."""

    async def page(request):
        return JSONResponse({"user": login.user(request), "url": login.url(request, request.url.path)})

    app = Starlette(routes=[Route("/{name}", page)])
    app.router.redirect_slashes = False
    login.attach(app)
    return app


@pytest.fixture
def browser(provider):
    """A browser at the study, mounted as the app has it."""
    with TestClient(FastAPI(routes=[Mount("/study", make_app(HubLogin(environ(provider))))])) as client:
        client.follow_redirects = False
        yield client


def through_provider(client, answer):
    """Follow a redirection to the provider, and what that redirects to; the address in the study."""
    return httpx.get(answer.headers["location"]).headers["location"].removeprefix("http://testserver")


def log_in(client, address):
    return client.get(through_provider(client, client.get(address)))


def test_who_logs_in_is_known_and_nothing_else_of_them(browser, provider):
    about = browser.get("/study/faces").json()
    assert about == {"user": None, "url": "/study/oauth/huggingface/login?back=%2Fstudy%2Ffaces"}
    asked = browser.get(about["url"])
    query = parse_qs(urlsplit(asked.headers["location"]).query)
    assert query["redirect_uri"] == ["http://testserver/study/oauth/huggingface/callback"]
    back = browser.get(through_provider(browser, asked))
    assert back.status_code == 303 and back.headers["location"] == "/study/faces"
    assert browser.get("/study/faces").json()["user"] == "alice"
    kept = base64.b64decode(browser.cookies[COOKIE].split(".")[0])
    assert json.loads(kept) == {"user": "alice"}
    left = browser.get("/study/oauth/huggingface/logout?back=/study/faces")
    assert left.headers["location"] == "/study/faces" and browser.get("/study/faces").json()["user"] is None


def test_a_cookie_of_ones_own_making_is_nobody(browser):
    log_in(browser, "/study/oauth/huggingface/login")
    cookie = browser.cookies[COOKIE]
    browser.cookies.clear()
    browser.cookies.set(COOKIE, "eyJ1c2VyIjogImJvYiJ9" + cookie[cookie.index("."):])
    assert browser.get("/study/faces").json()["user"] is None


@pytest.mark.parametrize(
    "back", ["https://example.org", "//example.org", "/\\example.org", "javascript:x", "", "/study\n/x", "study/faces"]
)
def test_a_login_never_leads_to_another_site(browser, back):
    answer = browser.get("/study/oauth/huggingface/login", params={"back": back})
    assert browser.get(through_provider(browser, answer)).headers["location"] == "/study/"
    answer = browser.get("/study/oauth/huggingface/logout", params={"back": back})
    assert answer.headers["location"] == "/study/"


def test_who_says_no_comes_back_unknown(browser, provider):
    provider.refuses = True
    back = log_in(browser, "/study/oauth/huggingface/login?back=/study/faces")
    assert back.headers["location"] == "/study/faces" and browser.get("/study/faces").json()["user"] is None


def test_an_answer_to_another_browser_logs_nobody_in(browser):
    address = through_provider(browser, browser.get("/study/oauth/huggingface/login?back=/study/faces"))
    browser.cookies.clear()
    answer = browser.get(address)
    assert answer.status_code == 400 and "Open the study's link in a tab of its own" in answer.text
    korean = browser.get(address, headers={"accept-language": "ko-KR,ko;q=0.9,en;q=0.8"})
    assert korean.status_code == 400 and korean.text.startswith("로그인하지 못했습니다")
    browser.get("/study/oauth/huggingface/login?back=/study/other")
    assert browser.get(address).headers["location"] == "/study/other"
    assert browser.get("/study/faces").json()["user"] is None


def test_a_provider_that_is_down_is_told_in_a_sentence(browser, provider):
    address = through_provider(browser, browser.get("/study/oauth/huggingface/login?back=/study/faces"))
    provider.down = True
    assert (answer := browser.get(address)).status_code == 503 and "Try again" in answer.text
    provider.down = False


def test_a_provider_that_can_not_be_reached_is_told_in_a_sentence():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        settings = {"OAUTH_CLIENT_ID": "client", "OAUTH_CLIENT_SECRET": "s",
                    "OPENID_PROVIDER_URL": f"http://127.0.0.1:{unused.getsockname()[1]}"}  # fmt: skip
        with TestClient(make_app(HubLogin(settings))) as client:
            answer = client.get("/oauth/huggingface/login")
    assert answer.status_code == 503 and "Hugging Face does not answer" in answer.text


def test_on_a_space_it_is_https_and_the_cookie_says_so(provider):
    login = HubLogin(environ(provider, SPACE_HOST="alice-faces.hf.space"))
    with TestClient(FastAPI(routes=[Mount("/study", make_app(login))]), follow_redirects=False) as client:
        answer = client.get("/study/oauth/huggingface/login", headers={"host": "10.0.0.1:7860"})
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["redirect_uri"] == ["https://alice-faces.hf.space/study/oauth/huggingface/callback"]
    cookie = answer.headers["set-cookie"]
    assert "secure" in cookie and "samesite=none" in cookie and "httponly" in cookie


def test_a_study_takes_the_account_for_the_participant(provider, small_study, tmp_path):  # noqa: F811
    study = small_study(login="huggingface")
    login = HubLogin(environ(provider))
    with Store(f"sqlite:///{tmp_path / 'votes.sqlite3'}") as store:
        app = server.make_app([study], store_of=lambda _: store, login=login)
        with TestClient(FastAPI(routes=[Mount("/study", app)]), follow_redirects=False) as client:
            begin = {"language": "en", "screen": {"width": 390, "height": 844, "dpr": 3}}
            refused = client.post("/study/tiny/session", json=begin)
            assert refused.status_code == 401 and refused.json()["error"] == "login_needed"
            about = client.get("/study/tiny/about").json()["login"]
            assert about["user"] is None
            assert log_in(client, about["url"]).headers["location"] == "/study/tiny"
            assert client.get("/study/tiny/about").json()["login"]["user"] == "alice"
            assert client.post("/study/tiny/session", json=begin).status_code == 200
        assert store.sessions(study)["participant"].tolist() == ["hf:alice"]


def test_it_works_within_gradios_app(provider):
    """As app.py mounts it."""
    import gradio as gr

    login = HubLogin(environ(provider))

    async def built():  # gradio would make an event loop of its own, and leave it open
        with gr.Blocks() as demo:
            gr.Markdown("the workbench")
        return gr.routes.App.create_app(demo, app_kwargs={"routes": [Mount("/study", make_app(login))]})

    with contextlib.closing(TestClient(asyncio.run(built()), follow_redirects=False)) as client:
        back = log_in(client, client.get("/study/faces").json()["url"])
        assert client.get(back.headers["location"]).json()["user"] == "alice"
        assert client.get("/config").status_code == 200


@pytest.mark.parametrize("missing", ["OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OPENID_PROVIDER_URL"])
def test_elsewhere_it_is_refused(missing, monkeypatch):
    settings = {"OAUTH_CLIENT_ID": "x", "OAUTH_CLIENT_SECRET": "x", "OPENID_PROVIDER_URL": "x", missing: ""}
    with pytest.raises(HubError, match=f"{missing} is not set, so nobody can log in with Hugging Face; run the study"):
        HubLogin(settings)
    monkeypatch.delenv(missing, raising=False)
    with pytest.raises(HubError):
        HubLogin()
