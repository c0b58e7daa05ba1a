"""The command evaluate: its table, its files, and the sentences for what can't be done."""

import dataclasses
import json
import re

import pytest

from cyclegan.__main__ import main
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.evaluation.scores import describe, recommend
from cyclegan.study import store
from tests.evaluation.scores.conftest import Pixels
from tests.study.made_up import made_study, made_votes, sessions_of
from tests.ui.conftest import write_epoch

DATA = "streets:count=6,test_count=5,size=32"


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(describe, "build_score_features", lambda name, weights=None: Pixels())
    monkeypatch.setattr(describe, "cache_folder", lambda: tmp_path / "features")


@pytest.fixture
def run(tmp_path):
    write_epoch(tmp_path / "mine", 1)
    return tmp_path / "mine"


def test_a_table_is_printed_and_written(run, tmp_path, capsys):
    words = ["evaluate", str(run), "--dataset", DATA, "--scores", "kid,pairs", "--direction", "ab"]
    assert main([*words, "--output", str(tmp_path / "deep" / "t.md")]) == 0
    out = capsys.readouterr().out
    assert "day → night" in out and "\nepoch 1 " in out and "the input, untranslated" in out
    assert f"written to {run / 'scores' / 'test.json'}" in out
    assert (tmp_path / "deep" / "t.md").read_text().startswith("# Scores of mine: test")
    for file in ("t.csv", "t.json"):
        assert main([*words, "--output", str(tmp_path / file)]) == 0
    assert (tmp_path / "t.csv").read_text().startswith("direction,section,answer")
    written = json.loads((tmp_path / "t.json").read_text())
    assert all("too few to tell epochs apart" in said for said in written["ab"].pop("sentences"))
    assert written == json.loads((run / "scores" / "test.json").read_text())


def test_people_are_compared_with_the_scores(run, tmp_path, capsys, monkeypatch):
    for epoch in (2, 3, 4):
        write_epoch(run, epoch)
    shas = {info.epoch: info.commit_sha for info in LocalSource(run).list()}
    study = made_study(tmp_path / "studies" / "made-up", epochs=(1, 2, 3, 4))
    study = dataclasses.replace(study, checkpoints=tuple(
        dataclasses.replace(c, commit_sha=shas[c.epoch]) for c in study.checkpoints
    ))  # fmt: skip
    (study.folder / "study.json").write_text(json.dumps(study.to_json()))
    votes = made_votes(study, 6, {1: 0.05, 2: 0.2, 3: 0.5, 4: 0.9})
    monkeypatch.setattr(store, "answers", lambda study, store: (votes, sessions_of(votes)))
    words = ["evaluate", str(run), "--dataset", DATA, "--scores", "kid", "--direction", "ab", "--epochs", "all"]
    monkeypatch.setattr(recommend, "FEWEST", 5)
    monkeypatch.chdir(tmp_path)  # Its studies/ is looked into.
    assert main([*words, "--output", "t.json"]) == 0
    out = capsys.readouterr().out
    assert "study made-up, 24 participants" in out and "People (n = 24, study made-up) prefer epoch 4" in out
    assert re.search(r"day → night: KID × 1000 is best .*Kendall's τ", out)
    people = json.loads((tmp_path / "t.json").read_text())["ab"]["people"]
    assert [each["epoch"] for each in people["epochs"]] == [1, 2, 3, 4] and people["agreement"]["kid"]["count"] == 4
    assert main([*words, "--studies", str(tmp_path / "elsewhere")]) == 1
    assert "holds no study" in capsys.readouterr().err
    (study.folder / "study.json").write_text("{}")
    assert main(words) == 0  # Nobody asked for that one.
    assert "no answers of people are shown" in capsys.readouterr().err


@pytest.mark.parametrize("words, said", [
    (["--scores", "fvd"], "'fvd' isn't a score: choose from kid, fid"),
    (["--output", "t.xlsx"], "ends in .md, .csv, .json"),
    (["--epochs", "0"], "--epochs"),
    (["--epochs", "9"], "mine has no epoch 9; it has 1"),
    (["--scores", "labels"], "isn't label maps"),
    (["--dataset", "no/where"], "no/where"),
    (["--name", "a/b"], "isn't a name for a file of scores"),
])  # fmt: skip
def test_refusals(run, words, said, capsys):
    try:
        status = main(["evaluate", str(run), "--dataset", DATA, "--direction", "ab", *words])
    except SystemExit as stop:
        status = stop.code
    err = capsys.readouterr().err
    assert status and said in " ".join(err.split()) and "Traceback" not in err


def test_a_folder_that_cannot_be_written(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = ["evaluate", str(run), "--dataset", DATA, "--direction", "ab", "--scores", "kid"]
    assert main([*words, "--output_dir", str(tmp_path / "file" / "x")]) == 1
    assert "can't be written" in capsys.readouterr().err


def test_a_published_run_is_told_how_to_publish_its_scores(run, capsys):
    words = ["evaluate", str(run), "--dataset", DATA, "--direction", "ab", "--scores", "kid"]
    assert main(words) == 0 and "publish with" not in capsys.readouterr().out
    (run / "run.json").write_text(json.dumps({"run_id": "1", "config": {"run": {"hub_model_id": "alice/day"}}}))
    assert main(words) == 0
    assert f"publish with: python -m hub scores {run}\n" in capsys.readouterr().out
    assert main([*words, "--output_dir", str(run / "elsewhere")]) == 0 and "publish with" not in capsys.readouterr().out
