"""Who comes in: by the owner's token, by a name and a password, by neither."""

import argparse
import base64

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from cyclegan.cli.access import Access, access_of, add_flags
from cyclegan.errors import ConfigError
from cyclegan.ui.guard import gate, guards
from cyclegan.ui.guard.disk import Disk
from cyclegan.ui.guard.visitors import Attendance

TOKEN = "a-token-of-24-characters"
HERE = "http://127.0.0.1:7860"
PATHS = ("/", "/compare", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/mcp/",
         "/gradio_api/heartbeat/me", "/gradio_api/file=/tmp/x.png", "/config", "/owner")  # fmt: skip


def client(access, address=HERE, **options):
    async def page(request):
        return PlainTextResponse(f"inside {request.url.path}?{request.url.query}")

    app = Starlette(
        routes=[Route("/{path:path}", page, methods=["GET", "POST", "HEAD"])],
        middleware=guards(access, Attendance(), Disk()),
    )
    return TestClient(app, base_url=address, follow_redirects=False, **options)


@pytest.fixture
def private():
    return client(Access(private=True, local=True, token=TOKEN))


@pytest.fixture
def login():
    return client(Access(private=False, logins={"ann": "correct horse", "김": "암호가 길다"}, token=TOKEN))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_without_a_proof_nothing_is_reached(private, login, path, method):
    for who in (private, login):
        answer = who.request(method, path)
        assert answer.status_code == 401 and "inside" not in answer.text


def test_a_public_app_lets_everybody_in():
    assert client(Access(private=False, token=TOKEN)).get("/compare").text.startswith("inside")


def test_participants_of_studies_need_no_token(private, login):
    for who in (private, login):
        assert who.get("/study/tiny").text.startswith("inside")
        assert who.get("/studyx").status_code == who.get("/studies").status_code == 401


def test_the_printed_address_gives_a_cookie_and_a_clean_address(private):
    answer = private.get(f"/compare?run=mine&token={TOKEN}&epoch=epoch-0002")
    assert answer.status_code == 303 and answer.headers["location"] == "./compare?run=mine&epoch=epoch-0002"
    away = private.get(f"/x/https:evil.example?token={TOKEN}")
    assert away.headers["location"] == "./https:evil.example"
    assert TOKEN not in answer.headers["set-cookie"] and "HttpOnly" in answer.headers["set-cookie"]
    assert private.get("/compare?run=mine").text == "inside /compare?run=mine"
    private.cookies.clear()
    assert private.get("/").status_code == 401


def test_a_forged_cookie_is_none(private, login):
    good = private.get(f"/?token={TOKEN}").cookies["workbench_7860"]
    for who in (private, login):
        for bad in ("", ".", "x", good[:-1], good.replace(".", "00."), "616e6e." + good[1:], "zz." + good[1:]):
            who.cookies.clear()
            assert who.get("/", headers={"cookie": f"workbench_7860={bad}"}).status_code == 401


def test_two_apps_of_one_computer_have_cookies_of_their_own(private):
    private.get(f"/?token={TOKEN}")
    assert set(private.cookies) == {"workbench_7860"}
    other = client(Access(private=True, local=True, token=TOKEN), "http://127.0.0.1:7861")
    other.get(f"/?token={TOKEN}")
    assert set(other.cookies) == {"workbench_7861"}


@pytest.mark.parametrize("given", ["", "wrong", TOKEN[:-1], TOKEN + "x", "\udcff", "é"])
def test_a_wrong_token_is_refused(private, given):
    text = given.encode("utf-8", "surrogateescape")
    assert private.get("/", headers={"authorization": b"Bearer " + text}).status_code == 401
    assert private.get("/", params={"token": text}).status_code == 401
    assert private.post("/enter", data={"token": text}).status_code == 403


def test_programs_send_the_token_as_a_header(private, login):
    for who in (private, login):
        assert who.get("/config", headers={"authorization": f"Bearer {TOKEN}"}).text.startswith("inside")
    assert "Authorization: Bearer TOKEN" in private.get("/config").json()["detail"]


def test_the_form_takes_the_token(private):
    page = private.get("/", headers={"accept": "text/html", "accept-language": "en"})
    assert page.status_code == 401 and 'action="enter"' in page.text and "address that its terminal shows" in page.text
    korean = private.get("/", headers={"accept": "text/html", "accept-language": "ko"})
    assert 'lang="ko"' in korean.text and "terminal" not in korean.text
    wrong = private.post("/enter", data={"token": "no"}, headers={"accept": "text/html"})
    assert wrong.status_code == 403 and "look at it again" in wrong.text
    right = private.post("/enter", data={"token": f" {TOKEN} "})
    assert right.status_code == 303 and private.get("/").text.startswith("inside")


def test_a_name_and_a_password_let_a_visitor_in(login):
    page = login.get("/", headers={"accept": "text/html"})
    assert "Password" in page.text
    assert login.post("/enter", data={"name": "ann", "password": "wrong"}).status_code == 403
    assert login.post("/enter", data={"name": "nobody", "password": ""}).status_code == 403
    assert login.post("/enter", data={"name": "김", "password": "암호가 길다"}).status_code == 303
    assert login.get("/").text.startswith("inside")


def test_who_is_no_longer_in_the_file_no_longer_comes_in(login):
    cookie = login.post("/enter", data={"name": "ann", "password": "correct horse"}).cookies["workbench_7860"]
    for logins in ({"bob": "correct horse"}, {"ann": "another password"}):
        later = client(Access(private=False, logins=logins, token=TOKEN))
        assert later.get("/", headers={"cookie": f"workbench_7860={cookie}"}).status_code == 401


def basic(name, password):
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_a_program_sends_a_name_and_a_password_as_often_as_it_likes(login):
    for _ in range(50):
        assert login.get("/config", headers=basic("ann", "correct horse")).text.startswith("inside")
    for bad in ({"authorization": "Basic %%%"}, {"authorization": "Basic /w=="}, {"authorization": "Basic"}):
        assert login.get("/config", headers=bad).status_code == 401


def test_passwords_cannot_be_tried_without_end(login):
    answers = [login.post("/enter", data={"name": "ann", "password": f"try {i}"}).status_code for i in range(30)]
    assert answers[0] == 403 and answers[-1] == 429
    assert login.post("/enter", data={"name": "ann", "password": "correct horse"}).status_code == 429
    other = client(Access(private=False, logins={"ann": "correct horse"}, token=TOKEN))
    for i in range(30):
        other.get("/", headers=basic("ann", f"try {i}"))
    assert other.get("/", headers=basic("ann", "correct horse")).status_code == 401


def test_a_long_form_is_refused(private):
    assert private.post("/enter", content=b"token=" + b"x" * gate.MAX_BODY_BYTES).status_code == 413


def flags(*argv):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return access_of(parser.parse_args(list(argv)))


def test_who_owns_the_app_by_its_flags(tmp_path, monkeypatch):
    monkeypatch.delenv("CYCLEGAN_TOKEN", raising=False)
    logins = tmp_path / "logins.txt"
    logins.write_text("# people of the lab\n\nann:correct horse\nbob:with:colons\n")
    own, other = flags(), flags("--host", "localhost")
    assert own.private and own.local and own.closed and len(own.token) >= 24 and own.token != other.token
    assert not flags("--host", "0.0.0.0").closed
    assert flags("--host", "0.0.0.0", "--private").private and not flags("--host", "0.0.0.0", "--private").local
    shared = flags("--share", "--private")
    assert shared.private and not shared.local
    behind_proxy = flags("--public", "--hosts", "lab.example.org")
    assert not behind_proxy.closed and behind_proxy.local and behind_proxy.hosts == ("lab.example.org",)
    people = flags("--auth", str(logins))
    assert people.closed and not people.private and people.logins == {"ann": "correct horse", "bob": "with:colons"}
    monkeypatch.setenv("CYCLEGAN_TOKEN", TOKEN)
    assert flags().token == TOKEN and TOKEN not in repr(flags())


def test_flags_that_would_let_anybody_in_are_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="--share lets anyone on the internet in"):
        flags("--share")
    for content, said in (("", "no line NAME:PASSWORD"), ("ann\n", "line 1 of"), ("ann:short\n", "at least 8")):
        (tmp_path / "logins").write_text(content)
        with pytest.raises(ConfigError, match=said):
            flags("--auth", str(tmp_path / "logins"))
    with pytest.raises(ConfigError, match="can't be read"):
        flags("--auth", str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="give one of them"):
        flags("--auth", str(tmp_path / "logins"), "--private")
    for other in ("--private", "--share"):
        with pytest.raises(ConfigError, match="--public lets everybody in"):
            flags("--public", other)
    for bad in ("short", "with a space in it, long", "unicode-ключ-is-not-ok"):
        monkeypatch.setenv("CYCLEGAN_TOKEN", bad)
        with pytest.raises(ConfigError, match="at least 16 letters and digits"):
            flags()
