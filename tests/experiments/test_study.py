"""A study over an experiment's rows, and people's answers in the report."""

import json
import shutil

import pytest

from cyclegan.__main__ import main
from cyclegan.errors import UserError
from cyclegan.experiments.plan import make_plan, record
from cyclegan.experiments.report import write_report
from cyclegan.experiments.spec import Experiment, Row
from cyclegan.experiments.study import build_study, check_study
from cyclegan.study import store
from cyclegan.study.format import read_study
from cyclegan.study.protocol import protocol
from tests.study.made_up import made_votes, sessions_of

STREETS = "streets:a=labels,b=day,count=4,test_count=12,size=36"
LENGTH = {"epochs": 1, "decay_epochs": 0}
NAMES = ("CoGAN", "SimGAN", "Feature loss + GAN", "CycleGAN")
RULES = protocol("cyclegan2017", practice_trials=2, test_trials=4)


@pytest.fixture
def make_experiment(tmp_path, make_checkpoint):
    """Return the plan of rows that are trained, `one way` of B → A alone and `late` not yet, with a KID for each."""

    def make(names=NAMES):
        rows = [Row(name, LENGTH) for name in names]
        rows += [Row("one way", LENGTH, ("ba",)), Row("late", LENGTH)]
        plan = make_plan(Experiment("mine", "Mine", tuple(rows)), STREETS, "tiny", [3, 4], tmp_path / "out")
        plan.output.mkdir()
        record(plan)
        for number, training in enumerate(plan.trainings()):
            if training.seed == 3 and training.row.name != "late":
                make_checkpoint(training.folder, 1, seed=number, directions=training.directions)
                kid = {"kid": {"kid": {"value": 100.0 - number, "low": 99.9 - number, "high": 100.1 - number}}}
                way = {"measured_on": {"dataset": "d", "pictures": 2, "references": 2, "crop_size": 32,
                                       "split": "test", "features": "lite0",
                                       "segmenter": None}, "baselines": {"untranslated": kid}, "ceilings": {},
                       "scores": {"epoch-0001": {"commit_sha": "", "epoch": 1, **kid}}}  # fmt: skip
                (training.folder / "scores").mkdir()
                content = {"version": 1, "name": "experiment", "run": "r", "names": plan.names, "ab": way}
                (training.folder / "scores" / "experiment.json").write_text(json.dumps(content))
        return plan

    return make


@pytest.fixture
def vote(monkeypatch):
    """Let people answer in a study, by the rates of its methods."""

    def make(study, rates, **options):
        votes = made_votes(study, 10, {n: rates[label] for n, label in study.labels.items()}, **options)
        monkeypatch.setattr(store, "answers", lambda study, store: (votes, sessions_of(votes)))

    return make


def reported(plan):
    write_report(plan, "", None)
    return (plan.output / "README.md").read_text(), json.loads((plan.output / "report.json").read_text())


def test_rows_are_methods_of_a_study_whose_answers_the_report_shows(make_experiment, vote, tmp_path):
    plan, notes = make_experiment(), []
    folder = tmp_path / "studies" / "table-1"
    study = build_study(plan, folder, "ab", protocol=RULES, note=lambda said: notes.append(str(said)))
    assert list(study.labels.values()) == list(NAMES) and study.arrow == "labels → day"
    assert [c.source for c in study.checkpoints] == ["cogan-3", "simgan-3", "feature-loss-gan-3", "cyclegan-3"]
    assert "are these its pictures?" in notes.pop()  # The runs say that they translate between day and night.
    assert notes == ["one way isn't in the study: it doesn't translate labels → day",
                     "late isn't in the study: it isn't trained yet"]  # fmt: skip
    text, report = reported(plan)
    assert report["people"] == {} and "Taken for real" not in text

    vote(study, {"CoGAN": 0.02, "SimGAN": 0.2, "Feature loss + GAN": 0.5, "CycleGAN": 0.8})
    text, report = reported(plan)
    people = report["people"]["ab"]
    rate = people["rows"]["CycleGAN"]
    assert "| | taken for real ↑ | KID × 1000 ↓ |" in text
    assert f"| **CycleGAN** | {rate['value']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}] | 9" in text
    assert "| **late** |  |" in text and "| *baseline: the input, untranslated* |  | 100.0 |" in text
    assert "study [table-1](../studies/table-1), 40 participants, each row's first seed" in text
    assert "collapsed" not in text  # Nobody has looked.
    assert "map → photo" in text and "CycleGAN 26.8 ± 2.8%" in text
    assert people["agreement"]["kid"]["tau"] == 1 and "Kendall's τ; 1: the same" in text
    assert "KID × 1000 1.00 [" in text and str(tmp_path) not in text

    vote(study, dict.fromkeys(NAMES, 0.3), origin="simulated")
    assert "**These votes are simulated.**" in reported(plan)[0]

    again = build_study(plan, folder, "ab", note=notes.append)  # It is kept, and listed once.
    assert again.study_id == study.study_id
    assert json.loads((plan.output / "studies.json").read_text()) == {"studies": ["../studies/table-1"]}
    shutil.move(folder, tmp_path / "table-1")  # Next to the experiment.
    assert "[table-1](../table-1)" in reported(plan)[0]


def test_rows_that_were_trained_anew_and_too_few_rows(make_experiment, make_checkpoint, vote, tmp_path):
    plan = make_experiment()
    study = build_study(plan, tmp_path / "mine", "ab", protocol=RULES, note=lambda said: None)
    vote(study, dict.fromkeys(NAMES, 0.3))
    shutil.rmtree(plan.output / "runs" / "cogan-3" / "epoch-0001")
    make_checkpoint(plan.output / "runs" / "cogan-3", 1, seed=99)
    text, report = reported(plan)
    assert "CoGAN" not in report["people"]["ab"]["rows"]
    assert "Not judged in this study, or trained anew since: CoGAN." in text
    assert "Too few rows were judged to say how far scores and people agree: 3 of 4." in text and "τ" not in text
    (plan.output / "runs" / "simgan-3" / "scores" / "experiment.json").write_text("{")
    text, report = reported(plan)  # Its scores can't be read, but its translations were judged.
    assert "SimGAN" in report["people"]["ab"]["rows"] and "seed 3: scores/experiment.json can't be read" in text


def test_answers_that_cannot_be_read_end_no_experiment(make_experiment, tmp_path):
    plan = make_experiment(NAMES[:1])
    study = build_study(plan, tmp_path / "mine", "ab", protocol=RULES, note=lambda said: None)
    (study.folder / "study.json").write_text("{}")
    assert "What people say is missing here: " in reported(plan)[0]


def test_what_no_study_can_be_made_of_is_said_before_the_training(tmp_path):
    def plan(*rows):
        return make_plan(Experiment("mine", "Mine", rows), STREETS, "tiny", [0], tmp_path / "out")

    one_way = plan(Row("one way", LENGTH, ("ba",)))
    check_study(one_way, tmp_path / "fine", "ba")
    for bad, folder, said in (
        (one_way, "fine", "no row translates labels → day: choose the other --study_direction"),
        (plan(Row("a", LENGTH), Row("b", {**LENGTH, "preprocess": "resize"})), "fine",
         "one study can't compare 'a' with 'b', whose"),
        (one_way, "a b", "can't be a study's name"), (one_way, ".", "holds no study"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            check_study(bad, tmp_path / folder, "ab")
    (tmp_path / "out" / "runs").mkdir(parents=True)
    with pytest.raises(UserError, match="no row is trained"):
        build_study(plan(Row("a", LENGTH)), tmp_path / "fine", "ab", note=lambda said: None)


def test_a_study_of_what_is_trained_by_the_command(make_experiment, tmp_path, capsys):
    make_experiment(NAMES[:2])
    words = ["experiment", "--output", str(tmp_path / "out"), "--render", "--study", str(tmp_path / "table-1")]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "study table-1: labels → day, CoGAN, SimGAN; next: python -m cyclegan study serve" in out
    assert "note: one way isn't in the study" in err and read_study(tmp_path / "table-1").labels[2] == "SimGAN"
    assert main([*words, "--study_direction", "ba"]) == 0  # The one that is there is kept.
    assert main(["experiment", "pool", "--output", str(tmp_path / "new"), "--study", str(tmp_path / "a b")]) == 1
    assert "can't be a study's name" in capsys.readouterr().err and not (tmp_path / "new").exists()
