"""The studies' page in the running app: its function, the participants' page beside it, and what builds a study."""

import contextlib
import dataclasses
import re
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client.exceptions import AppError
from starlette.applications import Starlette
from starlette.testclient import TestClient

from cyclegan.checkpoints.sources import LocalSource, Watch
from cyclegan.errors import StudyError, message
from cyclegan.study import make
from cyclegan.study.choice import TooFewPictures
from cyclegan.study.judged import people_of
from cyclegan.study.protocol import protocol
from cyclegan.study.report import make_report, to_markdown
from cyclegan.study.shelf import KEY_VARIABLE, PREVIEW, Studies
from cyclegan.ui import words
from cyclegan.ui.pages.study_form import _command, _of_run, _percentages, _Reactions
from cyclegan.ui.studies import card, drawn_report, offered_dataset, percent, results, spread
from cyclegan.ui.workbench import Workbench
from tests.study.made_up import made_study, made_votes, sessions_of, staircase_votes

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
    # One that is still copied here is taken once it is whole.
    small_study("copied")
    folder = tmp_path / "studies" / "copied"
    text = (folder / "study.json").read_text()
    (folder / "study.json").write_text(text[:100])
    assert "copied" not in studies.names() and caplog.records == []
    (folder / "study.json").write_text(text)
    assert "copied" in studies.names()
    monkeypatch.setattr("cyclegan.study.shelf.COPIED_S", -1)
    studies.names()
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
        assert re.findall('href="([^"]*)"', shown) == [f"study/{PREVIEW}/{one.name}", f"study/{one.name}"]
        assert f"study serve {one.folder} --host 0.0.0.0" in shown and f"--study {one.folder}" in shown
        assert shown.index("only-here") < shown.index("data-path")


def test_methods_have_their_names_for_the_owner_alone():
    study = made_study(epochs=(1, 2), labels=("CycleGAN", "<b>pix2pix"))
    say = words.speaker()
    assert "maps → photos: CycleGAN, &lt;b&gt;pix2pix." in card(study, say, owner=True)
    # Without a secret its answers can be computed, which its owner has to know.
    assert "drawn from a secret" in card(study, say, owner=True) and "secret" not in card(study, say)
    kept = dataclasses.replace(study, secret_sha256="a" * 64)
    assert "secret" not in card(kept, say, owner=True)
    assert "pix2pix" not in card(study, say)
    votes = made_votes(study, participants=6)
    shown = results(make_report(study, votes, sessions_of(votes)), say)
    assert '<th scope="col">Method</th>' in shown and '<th scope="row">&lt;b&gt;pix2pix</th>' in shown


def test_before_the_planned_participants_the_page_says_what_holds():
    for rule, says in (("closed", "closed until enough people"), ("always_valid", "Not as many people as planned")):
        study = made_study(results=rule, planned_participants=8)
        votes = made_votes(study, participants=6)
        report = make_report(study, votes, sessions_of(votes))
        shown = results(report, words.speaker())
        assert says in shown and "the one with the fewest has 6 of 8" in shown
        people = people_of(study, votes)
        if rule == "closed":  # No table of nothing, on the page nor in the report.
            assert "<table" not in shown and "sessions by" not in to_markdown(report) and people is None
        else:
            few = results({**report, "epochs": [{**e, "interval_always_valid": None} for e in report["epochs"]]},
                          words.speaker())  # fmt: skip
            assert "<td>–</td>" in few  # The interval for a fixed number isn't shown in its place.
            assert "The line marks" not in few, "none is drawn"
            low, high = report["epochs"][0]["interval_always_valid"]
            assert f"{100 * low:.1f}% – {100 * high:.1f}%" in shown
            # Next to scores stands the same interval.
            rate = people.rates[report["epochs"][0]["epoch"]]
            assert people.provisional and (rate["low"], rate["high"]) == pytest.approx((low, high))
        votes = made_votes(study, participants=8)
        assert says not in results(make_report(study, votes, sessions_of(votes)), words.speaker())


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


def test_the_data_set_that_a_run_was_trained_on(make_checkpoint, tmp_path):
    make_checkpoint(tmp_path / "myrun", 1)
    source, say = LocalSource(tmp_path / "myrun"), words.speaker()
    drawn = offered_dataset(source, "streets:count=500,test_count=12,size=144", say)
    assert drawn == ("streets:count=1,test_count=60,size=144", "")
    assert offered_dataset(source, "USER/maps", say) == ("USER/maps", "")
    assert offered_dataset(source, "unknown", say) == ("", "")  # Imported weights.
    text, problem = offered_dataset(source, "maps", say)
    assert text == "maps" and problem.startswith("maps, on which this run was trained, can&#x27;t be found here")


@pytest.fixture
def form(make_checkpoint, tmp_path, monkeypatch):
    """Fill in and send the form of a run with one epoch; return what was to be built, and all that was shown."""
    make_checkpoint(tmp_path / "myrun", 1)
    bench = Workbench([LocalSource(tmp_path / "myrun")], own=True)
    there = {f"myrun-ab-cyclegan2017{number}": None for number in ("", "-3")}
    studies = SimpleNamespace(by_name=there, add=lambda folder: SimpleNamespace(
        name=folder.name, folder=folder, protocol=asked["protocol"]
    ))  # fmt: skip
    asked, react = {}, _Reactions(bench, studies)

    def begin(
        protocol="", numbers=(10, 40), error=None, name="", fewer=None, built=None, train=False, skip=False, hold=None
    ):
        def made(source, dataset, note, **options):
            asked.update(options, dataset=dataset)
            if built is not None:
                asked["protocol"] = built
            note(message("test pictures that are also training pictures: {count}", count="<1>"))
            yield (1, 2)
            assert hold is None or hold.wait(300)
            if error is not None:
                raise error

        monkeypatch.setattr(make, "make_in_process", made)
        return react.build_study(
            "myrun", [1], "ab", " data/maps ", protocol, name, "", "", *numbers, 0, 0, False, fewer, train, skip, None
        )  # fmt: skip

    def send(*args, **kwargs):
        shown = []
        try:
            for step in begin(*args, **kwargs):
                shown.append(step)
        except gr.Error as raised:
            assert not raised.visible  # The form shows it, and keeps it.
        return asked, shown

    send.react, send.begin = react, begin
    return send


def test_trials_that_nobody_has_chosen_may_be_fewer(form):
    asked, shown = form()
    assert asked["shorten"] and asked["protocol"] == protocol("cyclegan2017") and asked["dataset"] == "data/maps"
    assert asked["output"] == Path("studies/myrun-ab-cyclegan2017")
    assert "--protocol" not in shown[-1][0] and "--test_trials" not in shown[-1][0]  # The same from a shell.
    assert "would need more pictures" not in shown[-1][0] and f"study/{PREVIEW}/" in shown[-1][0]
    asked, shown = form("cyclegan2017")
    assert not asked["shorten"] and asked["protocol"] == protocol("cyclegan2017")
    assert "--protocol=cyclegan2017 --epochs" in shown[-1][0]
    asked, shown = form(numbers=(10, 20))
    assert not asked["shorten"] and asked["protocol"].test_trials == 20 and shown[-1][-3:] == [10, 20, None]
    # The form shows what was built; those numbers aren't anybody's choice for the next study.
    shorter = protocol("cyclegan2017", practice_trials=4, test_trials=12)
    _, shown = form(built=dataclasses.replace(shorter, name="cyclegan2017, shortened"))
    assert shown[-1][-3:] == [4, 12, [4, 12]] and "4 practice trials and 12 test trials" in shown[-1][0]
    asked, _ = form(numbers=(4, 12), fewer=[4, 12])
    assert asked["shorten"] and asked["protocol"] == protocol("cyclegan2017")
    asked, _ = form(numbers=(4, 12))
    assert not asked["shorten"] and asked["protocol"].test_trials == 12


def test_a_name_that_is_chosen_is_a_free_one(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("myrun-ab-cyclegan2017", "myrun-ab-cyclegan2017-2", "mine"):
        (tmp_path / "studies" / name).mkdir(parents=True)
    assert form()[0]["output"] == Path("studies/myrun-ab-cyclegan2017-3")


def test_opening_the_page_leaves_alone_what_may_be_filled_in_already(form, make_checkpoint, tmp_path):
    """On a busy machine, what the page's opening brings arrived after its owner had typed a data set, and took it."""
    *kept, _, training = form.react.take_news("myrun", None)
    assert kept == [gr.skip()] * 3 and 'data-run="myrun"' in training
    make_checkpoint(tmp_path / "myrun", 2)
    epochs, *kept, _, _ = form.react.take_news("myrun", None)
    assert epochs.value == [1, 2] and kept == [gr.skip()] * 2
    assert gr.skip() not in form.react.take_run("myrun", None)  # A run that was chosen brings all of its values.


def test_a_build_goes_on_without_a_page_and_is_shown_to_the_next_one(form):
    react, shown = form.react, []
    hold = threading.Event()
    building = form.begin(hold=hold)
    next(building)
    next(building)
    building.close()  # As gradio does when the page is left.
    with pytest.raises(gr.Error, match="another study is being built"):
        list(form.begin())
    hold.set()
    shown += react.follow(None)
    assert "Built in studies/myrun-ab-cyclegan2017" in shown[-1][0] and shown[-1][5] == "myrun-ab-cyclegan2017"
    assert list(react.follow(None)) == [[gr.skip()] * len(shown[-1])], "there is nothing left to follow"


def test_what_a_build_notes_is_shown(form):
    _, shown = form()
    assert '<p class="notice">Test pictures that are also training pictures: &lt;1&gt;.</p>' in shown[-1][0]


def test_training_pictures_and_broken_ones(form):
    asked, shown = form()
    assert asked["split"] == "test" and not asked["skip_bad_images"]
    assert "--split" not in shown[-1][0] and "--skip_bad_images" not in shown[-1][0]
    asked, shown = form(train=True, skip=True)
    assert asked["split"] == "train" and asked["skip_bad_images"]
    assert "--split=train" in shown[-1][0] and "--skip_bad_images" in shown[-1][0]


def test_problems_are_shown_in_the_form_with_what_would_work(form, caplog):
    few = TooFewPictures("<few>, {practice_trials} + {test_trials}", practice_trials=4, test_trials=12)
    _, shown = form(error=few)
    text, go, choice, offer, fitting, *_ = shown[-1]
    assert 'role="alert"' in text and "&lt;few&gt;, 4 + 12" in text and go.interactive
    assert offer.visible and offer.value == "Build with 4 practice trials and 12 test trials" and fitting == [4, 12]
    _, shown = form(error=StudyError("the folder exists"))
    assert "the folder exists" in shown[-1][0] and not shown[-1][3].visible
    assert not caplog.records
    _, shown = form(name="../elsewhere")
    assert "../elsewhere" in shown[-1][0] and "use letters, digits, dot" in shown[-1][0]
    _, shown = form(error=ZeroDivisionError())  # A bug is logged as one.
    assert "it was logged" in shown[-1][0] and "ZeroDivisionError" in caplog.text


def test_a_run_whose_first_epoch_is_training_has_a_form(monkeypatch):
    source = SimpleNamespace(name="young", list=lambda: [], watch=Watch, problems=[])
    epochs, ways, *data = _of_run(Workbench([source], own=True), None, words.speaker())
    assert (epochs["choices"], ways["value"], data) == ([], None, ["", ""])


def test_ratings_are_means_with_the_real_pictures_among_them():
    study = made_study(preset="mos", epochs=(20, 60))
    votes = made_votes(study, 4, {20: 0.3, 60: 0.6})
    report = make_report(study, votes, sessions_of(votes))
    shown = results(report, words.speaker())
    for each in report["mos"]["conditions"]:
        assert f"<strong>{each['mean']:.2f}</strong>" in shown
    assert "Real pictures" in shown and "Mean rating" in shown and "Taken for real" not in shown
    assert "How good is this picture?" in card(study, words.speaker())


def test_thresholds_are_shown_in_place_of_rates():
    study = made_study(preset="hype_time", epochs=(20,), scenes=60, test_trials=30, practice_trials=4, results="open")
    votes = staircase_votes(study, 3, {20: 0.5}, np.random.default_rng(1))
    report = make_report(study, votes, sessions_of(votes))
    (each,) = report["thresholds"]["epochs"]
    for settled, before in (("yes", ""), ("short", "≥ "), ("long", "≤ ")):
        each["settled"] = settled
        shown = results(report, words.speaker())
        assert f"<strong>{before}{each['mean_ms']:.0f} ms</strong>" in shown
        assert "right in 63% of trials" in shown and "Taken for real" not in shown and "50%" not in shown
        assert ("it is a bound" in shown) is bool(before)
    each["interval"] = None
    assert "<td>–</td>" in results(report, words.speaker())
    each["mean_ms"] = None  # As where results are closed.
    assert "<table" not in results(report, words.speaker())
