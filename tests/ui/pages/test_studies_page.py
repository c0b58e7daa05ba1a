"""The studies' page in the running app: its function, the participants' page beside it, and what builds a study."""

import contextlib
import re
import tempfile
from pathlib import Path

import httpx
import pytest
from gradio_client.exceptions import AppError
from starlette.applications import Starlette
from starlette.testclient import TestClient

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import StudyError
from cyclegan.study.report import make_report
from cyclegan.study.shelf import KEY_VARIABLE, PREVIEW, Studies
from cyclegan.ui import words
from cyclegan.ui.pages.studies import _command, _percentages
from cyclegan.ui.studies import card, drawn_report, offered_dataset, percent, spread
from tests.study.made_up import made_study, made_votes, sessions_of

pytestmark = pytest.mark.xdist_group("app")


def test_the_participants_page_is_served_beside_the_workbench(app):
    with httpx.Client(base_url=f"{app.url}study/") as http:
        page = http.get("tiny")
        assert page.status_code == 200 and "gradio" not in page.text.lower()
        assert http.get("tiny/about").json()["test_trials"] == 6
        screen = {"width": 390, "height": 844, "dpr": 3, "refresh_hz": 60}
        begun = http.post("tiny/session", json={"participant": "ann", "language": "en", "screen": screen}).json()
        trial = begun["state"]["trial"]
        first = http.get(f"tiny/stimulus/{trial['left']}")
        assert first.headers["content-type"] == "image/png" and "no-store" in first.headers["cache-control"]
        assert http.get(f"tiny/stimulus/{trial['left']}").status_code == 410


def test_the_report_through_the_api(app, client):
    report = client.predict(api_name="/study_report")
    assert report["study"]["name"] == "tiny"
    assert [each["epoch"] for each in report["epochs"]] == [1, 2]
    with pytest.raises(AppError, match="there is no study 'nope' here; there is tiny"):
        client.predict(study="nope", api_name="/study_report")


def test_results_on_a_server_for_others_need_the_key(small_study, monkeypatch):
    studies = Studies([small_study().folder], own=False)
    assert not studies.may_see(None) and not studies.may_see("")
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    assert studies.may_see("secret") and not studies.may_see("Secret") and not studies.may_see("")
    assert Studies([small_study("other").folder], own=True).may_see(None)


def test_studies_that_are_added_are_played(small_study):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        studies = Studies([])
        with pytest.raises(StudyError, match="there is no study 'None' here"):
            studies.study(None)
        study = studies.add(small_study().folder)
        assert studies.study(None) is study
        opened = []
        studies.opened = lambda study, store: opened.append(study.name)
        assert studies.store(study) is studies.store(study)
        assert opened == ["tiny"]
        assert studies.report(study)["participants"]["started"] == 0
        studies.close()


def test_studies_that_come_later_are_served(small_study, tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    studies = Studies([], later=[tmp_path / "studies", tmp_path / "nowhere"])
    assert studies.names() == []
    small_study()
    assert studies.names() == []  # It has just looked.
    monkeypatch.setattr("cyclegan.study.shelf.LOOK_S", -1)
    assert studies.names() == ["tiny"]
    (tmp_path / "studies" / "damaged").mkdir()
    (tmp_path / "studies" / "damaged" / "study.json").write_text("{")
    with contextlib.closing(studies), TestClient(Starlette(routes=[studies.route()])) as http:
        assert http.get("/study/tiny/about").status_code == 200
        assert http.get("/study/other/about").status_code == 404
        small_study("other")
        assert http.get("/study/other/about").status_code == 200  # Though nobody has opened the page.
    assert studies.names() == ["tiny", "other"]
    assert [record.message for record in caplog.records if "damaged" in record.message] and len(caplog.records) == 1


def test_owners_try_a_study_on_their_own_computer_and_leave_no_trace(small_study, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    study = small_study()
    begin = {"participant": "me", "language": "en", "screen": {}}
    studies = Studies([study.folder], own=True)
    with contextlib.closing(studies), TestClient(Starlette(routes=[studies.route()])) as http:
        assert http.get("/study/tiny/about").json()["preview"] is False
        assert http.get(f"/study/{PREVIEW}/tiny").status_code == 200
        assert http.get(f"/study/{PREVIEW}/tiny/about").json()["preview"] is True
        for _ in range(2):
            assert http.post(f"/study/{PREVIEW}/tiny/session", json=begin).status_code == 200
        assert studies.report(study)["participants"]["started"] == 0
        assert http.post("/study/tiny/session", json=begin).status_code == 200  # Nobody has taken that place.
        assert len(studies.store(study).sessions(study)) == 1
        left = studies._tried.name
    assert not Path(left).exists()
    studies = Studies([study.folder])
    with contextlib.closing(studies), TestClient(Starlette(routes=[studies.route()])) as http:
        assert http.get(f"/study/{PREVIEW}/tiny/about").status_code == 404


def test_studies_are_played_where_nothing_can_be_tried(small_study, monkeypatch, caplog):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    studies = Studies([small_study().folder], own=True)
    with contextlib.closing(studies), TestClient(Starlette(routes=[studies.route()])) as http:
        assert http.get("/study/tiny/about").status_code == 200
        assert http.get(f"/study/{PREVIEW}/tiny/about").status_code == 404
    assert "can't be previewed" in caplog.text


def test_what_owners_and_others_see_of_a_study(small_study):
    study, accounts = small_study(), small_study("accounts", login="huggingface")
    say = words.speaker()
    assert not {"<code", PREVIEW, "serve", "epochs"} & set(re.findall(r"<code|\w+", card(study, say)))
    for ends, one in ((["?participant=ID", "?PROLIFIC_PID={{%PROLIFIC_PID%}}", ""], study), ([""], accounts)):
        shown = card(one, say, owner=True)
        assert re.findall(r'data-path="([^"]*)"', shown) == [f"study/{one.name}{end}" for end in ends]
        assert PREVIEW not in shown and "study serve" not in shown  # It is served to others already.
        shown = card(one, say, owner=True, own=True)
        assert f'href="study/{PREVIEW}/{one.name}"' in shown and f"study serve {one.folder} --host" in shown


def test_the_reports_pictures_are_on_the_page():
    study = made_study()
    votes = made_votes(study, participants=6)
    shown = drawn_report(study, make_report(study, votes, sessions_of(votes)))
    assert shown.count("<img") == shown.count("data:image/svg+xml;base64,") == 2  # No folder, so no contact sheet.
    nobody = drawn_report(study, make_report(study, votes[:0], sessions_of(votes)[:0]))
    assert "<script" not in nobody


def test_the_same_study_from_a_shell(make_checkpoint, tmp_path):
    make_checkpoint(tmp_path / "myrun", 1)
    options = {"epochs": [1, 2], "direction": "ab", "output": Path("studies/mine"), "title": "Which is real?",
               "contact": "", "practice_trials": None, "test_trials": 6, "mask": False}  # fmt: skip
    command = _command(LocalSource(tmp_path / "myrun"), "data/maps", "pick", options)
    assert command == (
        f"python -m cyclegan study build --checkpoints={tmp_path / 'myrun'} --dataset=data/maps --protocol=pick "
        "--epochs=1,2 --direction=ab --output=studies/mine '--title=Which is real?' --test_trials=6 --no-mask"
    )
    assert "--epochs=latest" in _command(LocalSource(tmp_path / "myrun"), "d", "tag", {**options, "epochs": "latest"})


def test_progress_is_shown_where_it_has_changed():
    assert list(_percentages([None, (0, 3), (1, 3), (1, 3), (3, 3)])) == ["", "0%", "33%", "", "100%"]


def test_small_things():
    assert spread([5, 1, 9, 3]) == [1, 5, 9] and spread([4]) == [4]
    assert percent(None) == "–" and percent(0.268) == "26.8%"
    assert offered_dataset("streets:count=500,test_count=12,size=144") == "streets:count=1,test_count=60,size=144"
    assert offered_dataset("data/maps") == "data/maps"
