"""The owner's key: typed once, kept as a cookie that no script reads, and never left in an address."""

from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from cyclegan.study.shelf import KEY_VARIABLE, Studies
from cyclegan.ui import owner, words
from cyclegan.ui.pages.studies import Events
from cyclegan.ui.studies import card

KEY = "open sesame & more"
PAGE = {"accept": "text/html,*/*"}


@pytest.fixture
def studies(small_study, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return Studies([small_study().folder], own=False)


@pytest.fixture
def http(studies):
    """A browser at pages that show whether their visitor is the owner, and their address."""

    async def page(request):
        return PlainTextResponse(f"{studies.may_see(owner.proof_of(request))} {request.url.path}?{request.url.query}")

    options = owner.served(studies)
    pages = [Route(path, page) for path in ("/", "/studies", "/scores")]
    return TestClient(Starlette(routes=[*pages, *options["routes"]], middleware=options["middleware"]))


def test_the_form_sets_a_cookie_and_the_address_stays_clean(http):
    assert http.get("/studies").text == "False /studies?"
    answer = http.post("/owner", data={"key": KEY}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "studies")
    cookie = answer.headers["set-cookie"]
    assert "httponly" in cookie.lower() and "samesite=strict" in cookie.lower() and "sesame" not in cookie
    assert http.get("/studies").text == "True /studies?"
    assert "secure" not in cookie.lower()
    answer = http.post("/owner", data={"key": KEY}, follow_redirects=False, headers={"x-forwarded-proto": "https"})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_an_old_link_is_exchanged_for_a_cookie(http):
    answer = http.get("/scores", params={"run": "a b", "key": KEY}, headers=PAGE, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "scores?run=a+b")
    assert http.get("/", params={"key": KEY}, headers=PAGE).text == "True /?"


def test_a_wrong_key_opens_nothing_and_can_not_be_tried_without_end(http, monkeypatch):
    answer = http.get("/studies", params={"key": "sesame"}, headers=PAGE)
    assert answer.text == "False /studies?wrong_key="
    assert "set-cookie" not in http.post("/owner", data={"key": ""}, follow_redirects=False).headers
    assert http.post("/owner", content=b"key=" + b"x" * 5000).status_code == 413
    for _ in range(20):
        http.post("/owner", data={"key": "guess"}, follow_redirects=False)
    assert "set-cookie" not in http.post("/owner", data={"key": KEY}, follow_redirects=False).headers
    for cookie in ("", "study_owner=", f"study_owner={'0' * 64}", "\0;=", "study_owner=\xe9".encode("latin-1")):
        assert http.get("/studies", headers={"cookie": cookie}).text == "False /studies?"
    monkeypatch.delenv(KEY_VARIABLE)
    assert http.get("/studies", headers={"cookie": "study_owner="}).text == "False /studies?"


def test_a_participants_link_keeps_its_parameters(http):
    answer = http.get("/study/tiny", params={"participant": "ada", "key": "x"}, headers=PAGE, follow_redirects=False)
    assert answer.status_code == 200 and "A tiny study" in answer.text


def test_the_page_has_the_form_for_visitors_only(studies, monkeypatch):
    events = Events(studies, SimpleNamespace())
    visitor = SimpleNamespace(headers={}, query_params={"wrong_key": ""})
    shown, note, *_ = events.card_of(None, visitor)
    assert 'action="owner"' in note and 'type="password"' in note and "isn&#x27;t the key" in note
    assert "Send it to people" not in shown
    known = SimpleNamespace(headers={"cookie": f"{owner.COOKIE}={studies.proof()}"}, query_params={})
    shown, note, *_ = events.card_of(None, known)
    assert "<form" not in note and "Send it to people" in shown
    monkeypatch.delenv(KEY_VARIABLE)
    assert events.card_of(None, visitor)[1] == "", "without a key, nobody is the owner"


def test_a_study_by_invitation_has_a_command_instead_of_addresses(small_study):
    study = small_study("asked", login="invitation")
    html = card(study, words.speaker(), owner=True)
    assert f"study invite {study.folder} 60 --address URL --output reports/asked-links.csv" in html
    assert "Take part" not in html, "nobody gets in without a link of their own"
    assert "PROLIFIC_PID" not in html and "?participant" not in html
