"""Scores against people on the page Scores, without a browser."""

import re
from types import SimpleNamespace

import pytest

from cyclegan.errors import StudyError
from cyclegan.study.judged import people_of
from cyclegan.ui import score_scatter
from cyclegan.ui.pages.scores import Events
from tests.study.made_up import made_study, made_votes
from tests.ui.pages.test_scores_page import SAY, bench, collected, rows, run, write_scores  # noqa: F401

EPOCHS = (1, 2, 4, 8)


class Shelf:
    """Studies of made-up answers; the owner's key is `mine`."""

    def __init__(self, *studies, rates=None):
        self.by_name = {study.name: study for study in studies}
        self.rates = rates or {1: 0.05, 2: 0.2, 4: 0.5, 8: 0.9}

    def names(self):
        return list(self.by_name)

    def may_see(self, key):
        return key == "mine"

    def people(self, study):
        return people_of(study, made_votes(study, 6, {n: self.rates[n] for n in study.epochs}))


def shas(folder, epochs=EPOCHS):
    """Scores of epochs that a made-up study knows."""
    path = write_scores(folder, epochs=epochs)
    text = path.read_text()
    for epoch in epochs:
        text = text.replace('"commit_sha": "0"', f'"commit_sha": "{epoch:040x}"', 1)
    path.write_text(text)


def shown(shelf, *folders, key="mine"):
    (one, *_), _ = collected(*folders)
    said = score_scatter.said_about(one, shelf, key)
    return score_scatter.scatter(one, said, SAY), said.by_run(one), said.problems


def test_a_panel_for_each_main_score_with_its_correlation(run):  # noqa: F811
    shas(run)
    html, by_run, _ = shown(Shelf(made_study(epochs=EPOCHS)), run)
    panels = re.findall("<figure>.*?</figure>", html, re.DOTALL)
    titles = [re.search("<b>(.*?)</b>", panel).group(1) for panel in panels]
    assert titles == ["KID × 1000 (lite0)", "class IoU (segmentation)"]
    assert all("τ 1.00 [" in panel and ">8</text>" in panel for panel in panels), "both call later epochs better"
    assert "epoch 1: 100.0, " in panels[0] and "Study made-up, n = 24." in html
    assert [row[:2] for row in rows(html)] == [["", "Kendall&#x27;s τ"], ["KID × 1000 (lite0)", "1.00"],
                                               ["class IoU (segmentation)", "1.00"], ["kept", "–"]]  # fmt: skip
    assert "prefer epoch 8" in " ".join(map(str, by_run["mine"].sentences()))


def test_methods_of_several_runs_have_letters(run, tmp_path):  # noqa: F811
    folders = [run, *(tmp_path / name for name in ("two", "three", "<b>"))]
    for number, folder in enumerate(folders, 1):
        shas(folder, (number,))
    shelf = Shelf(made_study(epochs=(1, 2, 3, 4), labels="wxyz"), rates={1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4})
    html, by_run, _ = shown(shelf, *folders)
    assert "<span>a: mine · epoch 1</span>" in html and "d: &lt;b&gt; · epoch 4" in html and ">d</text>" in html
    assert list(by_run) == ["mine", "two", "three", "<b>"] and "<b>:" not in html


def test_too_few_epochs_give_a_sentence(run):  # noqa: F811
    shas(run, (1, 2, 4))
    html, _, _ = shown(Shelf(made_study(epochs=EPOCHS)), run)
    assert "3 epochs have both scores and people&#x27;s answers, too few" in html and "<figure>" not in html


def test_only_owners_see_what_people_say_and_only_of_these_weights(run):  # noqa: F811
    write_scores(run, epochs=EPOCHS)
    assert shown(Shelf(made_study(epochs=EPOCHS)), run)[:2] == ("", {}), "other weights"
    shas(run)
    shelf = Shelf(made_study(epochs=EPOCHS))
    assert shown(shelf, run, key=None)[:2] == ("", {}) and shown(None, run)[:2] == ("", {})
    events = Events(SimpleNamespace(**{**vars(bench(run)), "studies": shelf}))
    for key, there in (("mine", True), ("", False)):
        _, _, _, _, advice, *_, people = events.open_page(
            SimpleNamespace(headers={"cookie": f"study_owner={key}"}, query_params={})
        )
        assert ("prefer epoch 8" in advice) == there == ("τ" in people)
        assert ("People agree with this score" in advice) == there


def test_a_study_whose_answers_cannot_be_read_is_named(run, monkeypatch):  # noqa: F811
    shas(run)
    shelf = Shelf(made_study(epochs=EPOCHS))

    def fail(study):
        raise StudyError("the database is away")

    monkeypatch.setattr(shelf, "people", fail)
    html, _, (problem,) = shown(shelf, run)
    assert html == "" and str(problem) == "the answers of made-up can't be shown: the database is away"


@pytest.mark.parametrize("origin, there", [("people", False), ("simulated", True)])
def test_simulated_votes_say_so(run, monkeypatch, origin, there):  # noqa: F811
    shas(run)
    shelf = Shelf(made_study(epochs=EPOCHS))
    votes = made_votes(shelf.by_name["made-up"], 3, shelf.rates, origin=origin)
    monkeypatch.setattr(shelf, "people", lambda study: people_of(study, votes))
    assert ("These votes are simulated" in shown(shelf, run)[0]) == there
