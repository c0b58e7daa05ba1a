"""The studies' page in the running app: its function, the participants' page beside it, and what builds a study."""

import httpx
import pytest
from gradio_client.exceptions import AppError

from cyclegan.study.plan import PlanError
from cyclegan.study.report import make_report
from cyclegan.study.shelf import KEY_VARIABLE, Studies
from cyclegan.ui.studies import _drawn, _offered, _percent, _run, _spread
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
        with pytest.raises(PlanError, match="there is no study 'None' here"):
            studies.study(None)
        study = studies.add(small_study().folder)
        assert studies.study(None) is study
        opened = []
        studies.opened = lambda study, store: opened.append(study.name)
        assert studies.store(study) is studies.store(study)
        assert opened == ["tiny"]
        assert studies.report(study)["participants"]["started"] == 0
        studies.close()


def test_the_reports_pictures_are_on_the_page():
    study = made_study()
    votes = made_votes(study, participants=6)
    shown = _drawn(study, make_report(study, votes, sessions_of(votes)))
    assert shown.count("<img") == shown.count("data:image/svg+xml;base64,") == 2  # No folder, so no contact sheet.
    nobody = _drawn(study, make_report(study, votes[:0], sessions_of(votes)[:0]))
    assert "<script" not in nobody


def test_a_command_that_fails_ends_in_its_sentence(tmp_path):
    with pytest.raises(PlanError, match="holds no study: name a folder"):
        list(_run(["-m", "cyclegan", "study", "check", str(tmp_path)]))


def test_small_things():
    assert _spread([5, 1, 9, 3]) == [1, 5, 9] and _spread([4]) == [4]
    assert _percent(None) == "–" and _percent(0.268) == "26.8%"
    assert _offered("streets:count=500,test_count=12,size=144") == "streets:count=1,test_count=60,size=144"
    assert _offered("data/maps") == "data/maps"
