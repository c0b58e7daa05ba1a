"""Scores of an experiment's runs: not measured twice, and measured anew where what they are of has changed."""

import json

import pytest

from cyclegan.data.streets import StreetsSpec, write_streets
from cyclegan.evaluation.scores.report import OtherFactsError, ScoresError
from cyclegan.experiments import scoring
from cyclegan.experiments.plan import make_plan
from cyclegan.experiments.spec import Experiment, Row

STREETS = "streets:count=4,test_count=2,size=36"


class Evaluator:
    """Writes a file of scores on `facts`, and refuses one that was measured on others."""

    facts_now, scored = "first", []

    def facts(self, way):
        return {"segmenter_weights": self.facts_now}

    def score(self, source, **_):
        path = source.folder / "scores" / "experiment.json"
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            known = path.read_text()
            if not known.startswith("{"):
                raise ScoresError("{file} can't be read", file=path)
            if json.loads(known)["ab"] != self.facts("ab"):
                raise OtherFactsError("{file} was measured with another segmenter", file=path)
        path.write_text(json.dumps({"version": 1, "name": "experiment", "ab": self.facts("ab")}))
        self.scored.append(self.facts_now)

    def test(self, way):
        return None


@pytest.fixture
def scored(tmp_path, make_checkpoint, monkeypatch):
    """Return a function that scores a run, and returns how often it was measured and what was noted."""
    plan = make_plan(Experiment("mine", "Mine", (Row("pool", {"epochs": 1}),)), STREETS, "tiny", [0], tmp_path / "out")
    (training,) = plan.trainings()
    make_checkpoint(training.folder, 1)
    notes = []
    evaluator = Evaluator()
    evaluator.scored = []
    scorer = scoring.Scorer(segmenter=None, scores=None, device="cpu", note=notes.append)
    monkeypatch.setattr(scorer, "_evaluator", lambda config: evaluator)
    monkeypatch.setattr(scoring, "shown_pictures", lambda test: {"inputs": []})
    monkeypatch.setattr(scoring, "checked", lambda report: report)

    def score(facts):
        evaluator.facts_now = facts
        scorer.score(training, lambda *_: None)
        return evaluator.scored, notes

    return training.folder, score


def test_a_folder_is_opened_where_it_is_not_by_the_name_that_checkpoints_have(tmp_path, make_checkpoint):
    write_streets(StreetsSpec.parse(STREETS), tmp_path / "mine")
    row = Row("pool", {"epochs": 1, "decay_epochs": 0})
    plan = make_plan(Experiment("mine", "Mine", (row,)), str(tmp_path / "mine"), "tiny", [0], tmp_path / "out")
    (training,) = plan.trainings()
    make_checkpoint(training.folder, 1)
    scorer = scoring.Scorer(segmenter=None, scores=["collapse"], device="cpu", note=lambda _: None, every_epoch=True)
    scorer.score(training, lambda *_: None)
    scores = json.loads((training.folder / "scores" / "experiment.json").read_text())
    assert list(scores["ab"]["scores"]) == ["epoch-0001"]
    kinds = {path.name for path in training.folder.glob("*-ab.png")}
    assert kinds == {f"{kind}-ab.png" for kind in ("inputs", "shown", "truth", "targets")}


def test_another_segmenter_replaces_the_scores(scored):
    _, score = scored
    score("first")
    assert score("first") == (["first"], [])
    found, notes = score("second")
    assert found == ["first", "second"] and "pool, seed 0 is scored anew: its scores were of other" in notes[0]


@pytest.mark.parametrize("file", ["scored.json", "scores/experiment.json"])
def test_a_damaged_file_is_measured_again(scored, file):
    folder, score = scored
    score("first")
    (folder / file).write_text("x")
    assert score("first")[0] == ["first", "first"]
    assert json.loads((folder / file).read_text())


def test_a_damaged_picture_of_the_report_is_made_again(scored):
    folder, score = scored
    score("first")
    (folder / "shown-ab.png").write_text("x")
    assert score("first")[0] == ["first", "first"]
