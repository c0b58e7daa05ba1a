"""The study over HTTP: the real rules of play on a real SQLite file, asked as a browser asks."""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from cyclegan.errors import StudyError
from cyclegan.study import limits, page, requests, server
from cyclegan.study import store as db
from cyclegan.study.limits import CHECKS_PER_ADDRESS, PER_ADDRESS, Buckets
from cyclegan.study.protocol import TAGS
from cyclegan.study.refusals import REFUSED
from cyclegan.study.requests import STATUS
from cyclegan.study.store import Store, StoreBusy
from tests.study.asked import CONSENT, KOREAN_SHA256, QUESTIONS

SCREEN = {"width": 390, "height": 844, "dpr": 3, "refresh_hz": 60}
ANSWER = {
    "exposure_left_ms": 1000.1, "exposure_right_ms": 1000.1, "frames": 60, "longest_frame_ms": 17.1,
    "focus_lost": False, "response_ms": 612.3,
}  # fmt: skip
TOKEN = re.compile(r"\b[0-9a-f]{43,64}\b")


@pytest.fixture
def database(tmp_path):
    """SQLite only: what PostgreSQL does differently is tested beneath."""
    return f"sqlite:///{tmp_path / 'votes.sqlite3'}"


@pytest.fixture
def client_of(store):
    """A client of an app with these studies, mounted as in the workbench."""

    def make(*studies, **options):
        app = server.make_app(studies, store_of=lambda study: store, **options)
        return TestClient(Starlette(routes=[Mount("/study", app)]), base_url="http://testserver/study/")

    return make


class Browser:
    """A participant's browser; `seen` is every answer that it got."""

    def __init__(self, client, study, participant="ada", **options):
        self.client, self.name, self.seen = client, study.name, []
        begun = self.post("session", {"participant": participant, "language": "en", "screen": SCREEN, **options})
        self.secret, self.state = begun.json()["secret"], begun.json()["state"]

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.secret}"} if hasattr(self, "secret") else {}

    def get(self, path):
        self.seen.append(self.client.get(f"{self.name}/{path}", headers=self.headers))
        return self.seen[-1]

    def post(self, path, body):
        self.seen.append(self.client.post(f"{self.name}/{path}", json=body, headers=self.headers))
        return self.seen[-1]

    @property
    def token(self):
        return self.state["trial"]["token"]

    def look(self):
        for side in ("left", "right"):
            assert self.get(f"stimulus/{self.state['trial'][side]}").status_code == 200
        assert self.post("reveal", {"token": self.token}).json() == {"ok": True}

    def vote(self, **answer):
        """Look and vote; the acknowledgement."""
        self.look()
        got = self.post("vote", {"token": self.token, "chosen_side": "left", **ANSWER, **answer})
        assert got.status_code == 200, got.text
        self.state = got.json()["next"]
        return got.json()


def refusal(response):
    """Status and code; with a sentence for people, and without a traceback."""
    body = response.json()
    assert body.keys() == {"error", "message"} and body["message"].endswith("."), body
    assert "Traceback" not in response.text and response.headers["cache-control"] == "no-store"
    return response.status_code, body["error"]


def test_consent_and_questions_over_http(small_study, client_of, store):
    link = "https://panel.example/?cc={code}&who={participant}"
    asks = {"consent": CONSENT, "questions": QUESTIONS, "code_declined": "NO"}
    study = small_study(asks=asks, completion_url=link)
    client = client_of(study)
    about = client.get("tiny/about").json()
    assert {language: each["sha256"] for language, each in about["consent"]["texts"].items()} == {
        "": CONSENT.sha256, "ko": KOREAN_SHA256
    }  # fmt: skip
    assert [question["id"] for question in about["questions"]] == ["age", "edits", "hours", "screen", "how"]
    assert about["code_declined"] is True  # The code itself is for those who decline.
    declined = client.post("tiny/decline", json={"participant": "ada b"})
    assert declined.json() == {"code": "NO", "url": "https://panel.example/?cc=NO&who=ada%20b"}
    body = {"participant": "ada", "language": "en", "screen": SCREEN}
    assert refusal(client.post("tiny/session", json=body)) == (403, "no_consent")
    assert store.sessions(study).empty
    ada = Browser(client, study, consent=CONSENT.sha256)
    assert ada.state["phase"] == "before" and ada.state["trial"] is None
    assert refusal(client.post("tiny/replies", json={"when": "before", "answers": {}})) == (401, "no_session")
    assert refusal(ada.post("replies", {"when": "before", "answers": {"age": 7}})) == (400, "bad_answer")
    assert refusal(ada.post("replies", {"when": "now", "answers": {}})) == (409, "out_of_order")
    long = {"age": 20, "edits": 1, "hours": 1.5}
    ada.state = ada.post("replies", {"when": "before", "answers": long}).json()
    while ada.state["trial"]:
        ada.vote()
    assert (ada.state["phase"], ada.state["code"], ada.state["url"]) == ("after", None, None)
    ended = ada.post("replies", {"when": "after", "answers": {"how": "가" * 1000}}).json()
    assert ended["phase"] == "done" and ended["code"] in ended["url"]
    preview = client_of(study, preview=True).post("tiny/decline", json={})
    assert preview.json() == {"code": None, "url": None}



def rows(store, table):
    return store.read(lambda connection: connection.execute(sa.select(table)).all())


def test_a_session_from_the_page_to_the_code(client_of, small_study, store):
    study = small_study(completion_url="https://x.example/done?cc={code}&p={participant}", contact="ada@example.org")
    client = client_of(study)
    page = client.get(f"{study.name}?participant=ada")
    assert page.status_code == 200 and "A tiny study" in page.text
    for address in re.findall(r'(?:src|href)="(static/[^"]+)"', page.text):
        file = client.get(address)
        assert file.status_code == 200 and "immutable" in file.headers["cache-control"]
        other = client.get(re.sub("static/[0-9a-f]+/", "static/other/", address))  # As of a version that was replaced.
        assert other.content == file.content and "immutable" not in other.headers["cache-control"]
        plain = client.get(address, headers={"accept-encoding": "identity"})
        assert plain.content == file.content and "content-encoding" in file.headers
        assert "content-encoding" not in plain.headers
    about = client.get(f"{study.name}/about").json()
    assert about["practice_trials"] == 2 and about["contact"] == "ada@example.org"

    ada = Browser(client, study)
    assert (ada.state["phase"], ada.state["number"], ada.state["of"]) == ("practice", 1, 2)
    feedback = ada.vote()["feedback"]
    assert feedback["correct"] == (feedback["real_side"] == "left")
    while ada.state["trial"]:
        ack = ada.vote()
        if ada.state["phase"] == "test" and ada.state["number"] > 1:
            assert ack["feedback"] is None
    assert ada.state["phase"] == "done" and ada.state["score"] is None
    assert ada.state["url"] == f"https://x.example/done?cc={ada.state['code']}&p=ada"
    votes = store.votes(study)
    assert len(votes) == 8 and set(votes.participant) == {"ada"} and votes.completed.all()
    assert ada.get("session").json() == ada.state


# --- blinding -----------------------------------------------------------------------------------------------


def test_nothing_that_the_server_sends_in_a_test_tells_which_is_real(client_of, small_study, store):
    study = small_study(scenes=60, test_trials=20, vigilance_share=0.2, real_real_share=0.1, repeat_share=0.1)
    client, told = client_of(study), {}
    for name in ("ada", "bob"):
        browser = Browser(client, study, name)
        for trial in study.trials(*_place(store, name)):
            if trial.phase == "practice" and trial.index + 1 == study.protocol.practice_trials:
                browser.vote()  # Its acknowledgement holds feedback, and the first test trial: left out.
                continue
            browser.seen.clear()
            browser.vote(chosen_side="left")
            if trial.phase == "test" and trial.index + 1 < study.trials_per_session:
                told.setdefault((trial.kind, trial.real_side), []).append(browser.seen.copy())

    kinds = {kind for kind, _ in told}
    assert kinds == {"comparison", "vigilance", "real_real", "repeat"}
    assert {("comparison", "left"), ("comparison", "right")} <= told.keys()
    secrets = [*study.by_hash, *(c.commit_sha for c in study.checkpoints)]
    words = re.compile(r"real|fake|broken|epoch|kind|vigil|repeat|scene|checkpoint|\.png|left_|right_", re.IGNORECASE)
    shapes = set()
    for trials in told.values():
        for answers in trials:
            shape = []
            for answer in answers:
                headers = "\n".join(f"{key}: {value}" for key, value in answer.headers.items())
                assert not {"etag", "last-modified", "set-cookie", "content-disposition"} & answer.headers.keys()
                assert answer.headers["cache-control"] == "no-store, no-transform"
                if answer.headers["content-type"] == "image/png":
                    body = f"{len(answer.content)} {answer.content[:33].hex()}"  # Signature, size, depth.
                    assert b"tEXt" not in answer.content and b"tIME" not in answer.content
                else:
                    body = TOKEN.sub("TOKEN", re.sub(r'"number":\d+', '"number":N', answer.text))
                    assert not words.search(body) and not any(secret in answer.text for secret in secrets)
                    headers = re.sub(r"content-length: \d+", "", headers)  # One digit more from trial 10 on.
                assert not words.search(headers)
                shape.append((answer.status_code, headers, body))
            shapes.add(tuple(shape))
    assert len(shapes) == 1  # Whatever the trial was, the same bytes but for tokens, the number and pixels.


def _place(store, participant):
    row = next(row for row in rows(store, db.sessions) if row.participant == participant)
    return row.arm, row.slot


def test_the_page_and_what_it_asks_about_hold_nothing_of_the_truth(client_of, small_study):
    study = small_study()
    client = client_of(study)
    about = client.get(f"{study.name}/about")
    content = about.json()
    assert content.pop("question") == "real" and content.pop("task") == "realness"
    text = client.get(study.name).text + json.dumps(content)
    for secret in (*study.by_hash, study.study_id, str(study.checkpoints[0].commit_sha), "epoch", "real", "fake"):
        assert secret not in text, secret


def test_pictures_are_had_once(client_of, small_study):
    study = small_study()
    client = client_of(study)
    ada = Browser(client, study)
    address = f"stimulus/{ada.state['trial']['left']}"
    assert client.head(f"{study.name}/{address}").status_code == 405  # Looking is not having.
    got = ada.get(address)
    assert got.status_code == 200 and len(got.content) == study.bytes_per_stimulus
    assert got.headers["content-type"] == "image/png" and got.headers["content-length"] == str(len(got.content))
    assert refusal(ada.get(address)) == (410, "gone")
    assert refusal(ada.get("stimulus/" + "0" * 43)) == (404, "not_found")
    for file in ("../../study.json", "%2e%2e%2fstudy.json", f"{next(iter(study.by_hash))}.png"):
        assert client.get(f"{study.name}/stimulus/{file}").status_code == 404
    old = ada.state["trial"]["right"]
    ada.state = ada.get("session").json()  # A reload: what was handed out before is of no use.
    assert refusal(ada.get(f"stimulus/{old}")) == (410, "gone")


# --- votes that must not count ------------------------------------------------------------------------------


def test_forged_replayed_early_and_crossed_votes_change_nothing_and_are_logged(client_of, small_study, store):
    study = small_study()
    client = client_of(study)
    ada, bob = Browser(client, study), Browser(client, study, "bob")
    ballot = {"token": ada.token, "chosen_side": "left", **ANSWER}
    assert refusal(ada.post("vote", ballot)) == (409, "not_revealed")
    assert refusal(ada.post("reveal", {"token": ada.token})) == (409, "out_of_order")  # Nothing was fetched.
    ada.look()
    assert refusal(bob.post("vote", ballot)) == (404, "not_found")
    assert refusal(ada.post("vote", {**ballot, "token": "f" * 43})) == (404, "not_found")
    assert refusal(ada.post("vote", {**ballot, "chosen_side": "up"})) == (400, "bad_answer")
    for secret in ("", "Bearer", "Bearer " + "0" * 64, "Basic YTpi"):
        got = client.post(f"{study.name}/vote", json=ballot, headers={"Authorization": secret})
        assert refusal(got) == (401, "no_session")
    assert store.votes(study).empty

    first = ada.post("vote", ballot).json()
    again = ada.post("vote", ballot).json()
    assert again["duplicate"] and {**again, "duplicate": False} == first
    assert refusal(ada.post("vote", {**ballot, "chosen_side": "right"})) == (409, "out_of_order")
    assert list(store.votes(study).chosen_side) == ["left"]
    assert {"not_revealed", "not_found", "bad_answer", "out_of_order"} <= set(store.incidents(study).kind)


def test_another_window_makes_the_first_ones_tokens_stale(client_of, small_study, store):
    study = small_study()
    ada = Browser(client_of(study), study)
    ada.look()
    state = ada.get("session").json()
    assert state["trial"]["seen"] and state["trial"]["left"] is None
    ballot = {"token": ada.token, "chosen_side": "left", **ANSWER}
    assert refusal(ada.post("vote", ballot)) == (409, "stale_token")
    ballot = {"token": state["trial"]["token"], "chosen_side": "left", "focus_lost": False, "response_ms": 900}
    assert ada.post("vote", ballot).json()["recorded"]
    assert list(store.votes(study).resumed) == [True]


def test_one_session_per_participant_and_the_same_one_for_a_lost_answer(client_of, small_study, store):
    study = small_study()
    client = client_of(study)
    first = Browser(client, study, key="a" * 32)
    again = Browser(client, study, key="a" * 32)
    assert again.secret == first.secret and len(store.sessions(study)) == 1
    body = {"participant": "ada", "language": "en", "screen": SCREEN, "key": "b" * 32}
    assert refusal(client.post(f"{study.name}/session", json=body)) == (409, "taken")
    for name in ("ada", "nobody"):  # Anyone may ask about any name, and learns nothing.
        assert client.post(f"{study.name}/check", json={**body, "participant": name}).json() == {"ok": True}
    assert client.post(f"{study.name}/check", json={**body, "key": "a" * 32}).json() == {"ok": True}
    body["participant"] = None
    assert client.post(f"{study.name}/session", json=body).status_code == 200
    for odd in ("", "a\nb", 7, ["ada"]):
        for path in ("session", "check"):
            got = client.post(f"{study.name}/{path}", json={**body, "participant": odd})
            assert refusal(got) == (400, "bad_participant")


def test_asking_who_took_part_is_no_cheaper_than_taking_part(client_of, small_study, monkeypatch):
    study = small_study()
    assert CHECKS_PER_ADDRESS == (400 / 600, 400)
    monkeypatch.setattr(server, "CHECKS_PER_ADDRESS", (0.5, 3.0))
    client = client_of(study)
    got = [client.post(f"{study.name}/check", json={"participant": f"p{n}"}) for n in range(4)]
    assert [g.status_code for g in got] == [200] * 3 + [429] and refusal(got[-1]) == (429, "slow_down")


def test_a_preview_is_marked_and_can_be_begun_again_and_again(client_of, small_study):
    study = small_study(login="huggingface")  # As if nobody had to log in: it is the owner.
    assert client_of(study).get(f"{study.name}/about").json()["preview"] is False
    client = client_of(study, preview=True)
    about = client.get(f"{study.name}/about").json()
    assert about["preview"] is True and about["login"] is None
    secrets = {Browser(client, study, "ada").secret for _ in range(2)}
    assert len(secrets) == 2
    assert client.post(f"{study.name}/check", json={"participant": "ada"}).json() == {"ok": True}


# --- requests that are none ---------------------------------------------------------------------------------


def test_malformed_and_oversize_bodies_get_a_sentence(client_of, small_study):
    study = small_study()
    client = client_of(study)
    ada = Browser(client, study)
    headers = {**ada.headers, "Content-Type": "application/json"}
    bodies = (b"", b"{", b"[]", b"1", b"null", b"\xff", b'{"token": 5}', b'{"token": ""}', b'{"token": null}',
              b'{"token": NaN}', b"[" * 15_000, b'{"token": "' + b"x" * 300 + b'"}')  # fmt: skip
    for path in ("vote", "reveal"):
        for body in bodies:
            got = client.post(f"{study.name}/{path}", content=body, headers=headers)
            assert refusal(got) == (400, "bad_answer"), body[:40]
        got = client.post(f"{study.name}/{path}", content=b"x" * 16_001, headers=headers)
        assert refusal(got) == (413, "bad_answer")
        got = client.post(f"{study.name}/{path}", content=iter([b"x" * 9_000] * 3), headers=headers)  # In chunks.
        assert refusal(got) == (413, "bad_answer")
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            got = client.post(f"{study.name}/{path}", content=b"{}", headers={**headers, "Content-Type": kind})
            assert refusal(got) == (415, "bad_answer")
        got = client.post(f"{study.name}/{path}", content=b"{}", headers={**headers, "Sec-Fetch-Site": "cross-site"})
        assert refusal(got) == (403, "cross_site")
    for extra in ({"marks": [[]]}, {"response_ms": -1}, {"response_ms": "x"}, {"focus_lost": 1}, {"frames": 1e400}):
        body = json.dumps({"token": ada.token, "chosen_side": "left", **ANSWER, **extra}).encode()
        status, code = refusal(client.post(f"{study.name}/vote", content=body, headers=headers))
        assert status in (400, 409) and code in ("bad_answer", "not_revealed")


def test_a_body_that_stops_amid_holds_nothing_for_ever(store, small_study, monkeypatch):
    monkeypatch.setattr(requests, "BODY_S", 0.01)
    study, sent = small_study(), []
    path = f"/{study.name}/session"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": [(b"content-type", b"application/json")], "client": ("10.0.0.1", 1)}  # fmt: skip
    parts = iter([{"type": "http.request", "body": b'{"partic', "more_body": True}])

    async def receive():
        for part in parts:
            return part
        await anyio.sleep_forever()

    async def send(message):
        sent.append(message)

    anyio.run(server.make_app([study], store_of=lambda _: store), scope, receive, send)
    assert sent[0]["status"] == 503 and b"did not arrive completely" in sent[1]["body"]  # As the page asks again for.


def test_addresses_that_are_none(client_of, small_study):
    study = small_study()
    client = client_of(study)
    assert refusal(client.get("nothing/about")) == (404, "not_found")
    assert refusal(client.get(f"{study.name}/votes")) == (404, "not_found")
    assert refusal(client.get("static/1/server.py")) == (404, "not_found")
    assert refusal(client.delete(f"{study.name}/session")) == (405, "method")
    page = client.get("<b>")
    assert page.status_code == 404 and page.headers["content-type"].startswith("text/plain")
    moved = client.get(f"{study.name}/?participant=ada", follow_redirects=False)
    assert moved.status_code == 308 and moved.headers["location"] == f"../{study.name}?participant=ada"


def test_every_answer_has_the_headers_that_keep_others_out(client_of, small_study):
    study = small_study()
    client = client_of(study)
    for path in (study.name, f"{study.name}/about", "static/1/main.js", "nothing", f"{study.name}/stimulus/x"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'self' https://huggingface.co" in policy
        assert headers["referrer-policy"] == "no-referrer" and headers["x-content-type-options"] == "nosniff"
    page = client.get(study.name).text
    assert not re.search(r"<script(?! type=\"module\" src=)|<style|\sstyle=|\son\w+=", page)


def test_a_title_is_text_and_no_markup(client_of, small_study):
    study = dataclasses.replace(small_study(), title="<script>alert(1)</script> $x")
    page = client_of(study).get(study.name).text
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)&lt;/script&gt; $x" in page


# --- when it does not work ----------------------------------------------------------------------------------


def test_a_busy_database_is_told_and_loses_nothing(client_of, small_study, store, monkeypatch):
    study = small_study()
    ada = Browser(client_of(study), study)
    ada.look()

    def busy(*args, **options):
        raise StoreBusy("locked")

    ballot = {"token": ada.token, "chosen_side": "left", **ANSWER}
    with monkeypatch.context() as patched:
        patched.setattr(store, "write", busy)
        got = ada.post("vote", ballot)
        assert refusal(got) == (503, "busy") and got.headers["retry-after"] == "1"
    assert store.votes(study).empty
    assert ada.post("vote", ballot).json()["recorded"]


def test_a_fault_of_the_server_is_a_sentence_and_a_line_in_the_log(client_of, small_study, store, monkeypatch, caplog):
    study = small_study()
    ada = Browser(client_of(study), study)
    monkeypatch.setattr(store, "write", lambda *args, **options: 1 / 0)
    got = ada.get("session")
    assert refusal(got) == (500, "failed") and "division" not in got.text
    assert "ZeroDivisionError" in caplog.text and ada.secret not in caplog.text and "ada" not in caplog.messages[0]


# --- many at once -------------------------------------------------------------------------------------------


def test_buckets_let_a_class_of_200_behind_one_address_pass(clock):
    address = Buckets(*PER_ADDRESS, clock=clock)
    assert not any(address.take(b"class") for _ in range(200 * 12))  # All open the page at the same moment.
    for _ in range(60 * 10):  # A minute of one trial each 2 s: two pictures, reveal, vote.
        assert not any(address.take(b"class") for _ in range(200 * 4 // 20))
        clock.pass_(0.1)
    assert any(address.take(b"attack") for _ in range(10_000))
    assert not address.take(b"class")
    clock.pass_(1)
    assert not address.take(b"attack")


def test_too_many_requests_of_an_address_and_of_a_session(client_of, small_study, monkeypatch):
    study = small_study()
    monkeypatch.setattr(server, "PER_ADDRESS", (0.5, 4.0))
    client = client_of(study)
    got = [client.get(f"{study.name}/about") for _ in range(5)]
    assert [g.status_code for g in got] == [200] * 4 + [429]
    assert refusal(got[-1]) == (429, "slow_down") and got[-1].headers["retry-after"] == "2"

    monkeypatch.setattr(server, "PER_ADDRESS", (600.0, 4000.0))
    monkeypatch.setattr(server, "PER_SESSION", (0.5, 3.0))
    client = client_of(study)
    ada, bob = Browser(client, study), Browser(client, study, "bob")
    assert [ada.get("session").status_code for _ in range(4)] == [200] * 3 + [429]
    assert bob.get("session").status_code == 200


def test_buckets_forget_the_oldest(monkeypatch, clock):
    monkeypatch.setattr(limits, "MAX_KNOWN", 3)
    buckets = Buckets(1, 1, clock=clock)
    assert [bool(buckets.take(key)) for key in (b"a", b"a", b"b", b"c", b"d", b"a")] == [False, True] + [False] * 4


def test_the_address_behind_a_proxy(client_of, small_study, store):
    study = small_study()
    plain, proxied = client_of(study), client_of(study, trust_proxy=True)
    body = {"language": "en", "screen": SCREEN}

    def hashes(client, forwarded):
        before = {row.hash for row in rows(store, db.addresses)}
        client.post(f"{study.name}/session", json=body, headers={"X-Forwarded-For": forwarded})
        return {row.hash for row in rows(store, db.addresses)} - before

    assert len(hashes(plain, "203.0.113.1")) == 1
    assert not hashes(plain, "203.0.113.2")  # Anybody can write that header.
    assert len(hashes(proxied, "198.51.100.7, 203.0.113.1")) == 1
    assert not hashes(proxied, "192.0.2.9, 203.0.113.1")  # The last hop is what the proxy has seen.
    assert len(hashes(proxied, "192.0.2.9, 203.0.113.3")) == 1
    assert not hashes(proxied, "<nothing>")  # As from the proxy itself: the address of the first session.


# --- accounts of Hugging Face -------------------------------------------------------------------------------


class Login:
    def attach(self, app):
        pass

    def user(self, request):
        return request.headers.get("x-user")

    def url(self, request, back):
        return f"/login?to={back}"


def test_studies_for_accounts(client_of, small_study, store):
    study = small_study(login="huggingface")
    body = {"participant": "somebody", "language": "en", "screen": SCREEN}
    client = client_of(study)
    assert client.get(f"{study.name}/about").json()["login"] == {"user": None, "url": None}
    assert refusal(client.post(f"{study.name}/session", json=body)) == (403, "no_login")

    client = client_of(study, login=Login())
    about = client.get(f"{study.name}/about").json()
    assert about["login"] == {"user": None, "url": f"/login?to=/study/{study.name}"}
    assert refusal(client.post(f"{study.name}/session", json=body)) == (401, "login_needed")
    ada = {"x-user": "ada"}
    assert client.get(f"{study.name}/about", headers=ada).json()["login"]["user"] == "ada"
    assert client.post(f"{study.name}/session", json=body, headers=ada).status_code == 200
    assert list(store.sessions(study).participant) == ["hf:ada"]  # And not what the link says.
    assert refusal(client.post(f"{study.name}/session", json=body, headers=ada)) == (409, "taken")
    assert refusal(client.post(f"{study.name}/check", json=body, headers=ada)) == (409, "taken")


# --- the page's words ---------------------------------------------------------------------------------------


def test_the_page_says_everything_that_the_server_can_refuse():
    def keys(file, table):
        script = (page.FOLDER / file).read_text(encoding="utf-8")
        table = re.search(rf"const {table} = \{{\n(.*?)\n\}};", script, re.DOTALL)[1]
        return set(re.findall(r"^ {2}(\w+): \(", table, re.MULTILINE))

    words = keys("refusals.js", "REFUSALS")
    assert {"failed", "preview", "other_study"} < words
    assert keys("tags.js", "TAGS") == set(TAGS)
    # What is refused is said too, or dealt with: asked again, or shown as going on elsewhere.
    dealt_with = {"busy", "slow_down", "stale_token", "out_of_order", "gone", "not_revealed", "bad_answer"}
    assert ({*STATUS, *REFUSED} - dealt_with) <= words


# --- serving ------------------------------------------------------------------------------------------------


def test_serve_prints_addresses_logs_no_requests_and_ends_in_order(small_study):
    study = small_study()
    program = "from cyclegan.study import format, server; "
    program += f"server.serve([format.read_study({str(study.folder)!r})], port=0)"
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        address = re.fullmatch(rf"A tiny study: (http://127\.0\.0\.1:\d+/study/{study.name})\n", line)[1]
        with httpx.Client(trust_env=False) as client:
            got = client.get(f"{address}?participant=secret-ada")
            assert got.status_code == 200 and "server" not in got.headers
            body = {"participant": "secret-ada", "language": "en", "screen": SCREEN}
            assert client.post(f"{address}/session", json=body).status_code == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err) == (0, "", "")
    with Store(f"sqlite:///{study.folder / 'votes.sqlite3'}") as store:
        assert list(store.sessions(study).participant) == ["secret-ada"]


def test_serve_says_that_a_port_is_taken(small_study):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StudyError, match="--port"):
        server.serve([small_study()], port=taken.getsockname()[1])


def test_the_server_alone_leads_to_its_only_study(small_study, tmp_path):
    study = small_study()
    with Store(f"sqlite:///{tmp_path / 'votes.sqlite3'}") as store:
        app = Starlette(routes=[Mount("/study", server.make_app([study], store_of=lambda _: store))])
        with TestClient(app) as client:
            answer = client.get("/study/", follow_redirects=False)
            assert answer.status_code == 307 and answer.headers["location"].endswith("/study/tiny")
