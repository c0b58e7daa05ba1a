"""Scores during a training: which epochs are scored and kept, and what is refused before it begins."""

import dataclasses
import json

import pytest

from cyclegan.config import DataConfig, RunConfig, TrainConfig
from cyclegan.errors import UserError
from cyclegan.evaluation.scores import describe, evaluate
from cyclegan.evaluation.scores.report import Report
from cyclegan.training.scoring import EpochScores
from tests.evaluation.scores.conftest import Pixels
from tests.ui.conftest import write_epoch

DATA = DataConfig("streets:count=6,test_count=5,size=32", crop_size=32, load_size=36)


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(describe, "build_score_features", lambda name, weights=None: Pixels())
    monkeypatch.setattr(describe, "cache_folder", lambda: tmp_path / "features")


def config(folder, **options):
    return TrainConfig(data=DATA, run=RunConfig(output_dir=str(folder), **{"evaluate_every": 2, **options}))


def test_every_second_epoch_is_scored_with_the_untranslated_input_beside_it(tmp_path):
    scores, said = EpochScores(config(tmp_path), "cpu"), []
    for epoch in (1, 2, 3, 4):
        write_epoch(tmp_path, epoch)
        row = scores.after(epoch, 10 * epoch, said.append)
        assert (row is None) == (epoch in (1, 3))
    assert row["event"] == "scores" and (row["epoch"], row["step"]) == (4, 40)
    assert set(row["metrics"]) == set(row["untranslated"]) == {"kid_ab", "kid_ba"}
    assert str(said[0]).startswith("epoch 2, KID × 1000: A → B ") and "(untranslated " in str(said[0])
    content = json.loads((tmp_path / "scores" / "training.json").read_text())
    assert list(content["ab"]["scores"]) == ["epoch-0002", "epoch-0004"]
    assert content["ab"]["baselines"]["untranslated"]["kid"]["kid"]["value"] == pytest.approx(
        float(str(said[0]).split("untranslated ")[1].split(")")[0]), abs=0.06
    )


@pytest.mark.parametrize("by, values, kept", [
    ("kid", {1: 50, 2: 10, 3: 40, 4: 20, 5: 60}, {2, 4, 5}),
    ("pairs_ssim", {1: 0.9, 2: 0.1, 3: 0.8, 4: 0.2, 5: 0.3}, {1, 3, 5}),
])  # fmt: skip
def test_the_best_and_the_newest_are_kept(tmp_path, monkeypatch, by, values, kept):
    scores, known = EpochScores(config(tmp_path, evaluate_every=1, scores="kid,pairs", keep="best:2", by=by), "cpu"), {}

    def scored(source, epochs, **options):
        tag, figure = f"epoch-{epochs[0]:04d}", scores.figure
        known[tag] = {"epoch": epochs[0], figure.score: {figure.key: {"value": values[epochs[0]]}}}
        way = {"scores": known, "baselines": {}, "ceilings": {}}
        return Report(tmp_path / "x.json", {"name": "training", "names": {"a": "A", "b": "B"}, "ab": way, "ba": way})

    monkeypatch.setattr(scores.evaluator, "score", scored)
    for epoch in values:
        write_epoch(tmp_path, epoch)
        scores.after(epoch, epoch, lambda _: None)
    assert {int(path.name[6:]) for path in tmp_path.glob("epoch-*")} == kept


@pytest.mark.parametrize("options, said", [
    ({"scores": "kid,fvd"}, "'fvd' isn't a score"),
    ({"scores": "labels"}, "isn't label maps"),
    ({"keep": "best:2", "by": "spread_of_targets", "scores": "collapse"}, "--by spread_of_targets isn't"),
    ({"keep": "best:2", "by": "pairs_l1"}, "needs --scores pairs"),
])  # fmt: skip
def test_refused_before_the_training(tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        EpochScores(config(tmp_path, **options), "cpu")


@pytest.mark.parametrize("options, said", [
    ({"keep": "best"}, "best:N"), ({"keep": "best:3", "evaluate_every": 0}, "--evaluate_every"),
    ({"keep": "best:3", "push_to_hub": True, "hub_model_id": "a/b"}, "the Hub keeps every epoch"),
])  # fmt: skip
def test_flags_that_do_not_fit(tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        config(tmp_path, **options).validate()


def test_an_epoch_that_cannot_be_scored_does_not_end_the_training(tmp_path):
    scores, said = EpochScores(config(tmp_path), "cpu"), []
    write_epoch(tmp_path, 2)
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "training.json").write_text("{")
    assert scores.after(2, 2, said.append) is None and "epoch 2 isn't scored" in str(said[0])


def test_scores_of_either_direction_can_be_named_together(tmp_path):
    of_labels = dataclasses.replace(DATA, dataset=DATA.dataset + ",a=labels,b=day")
    settings = config(tmp_path, scores="segmentation,labels")
    EpochScores(dataclasses.replace(settings, data=of_labels), "cpu")


def test_the_data_are_opened_once(tmp_path, monkeypatch):
    opened = []
    plain = evaluate.find_data
    monkeypatch.setattr(evaluate, "find_data", lambda config: opened.append(config) or plain(config))
    scores = EpochScores(config(tmp_path), "cpu")
    for epoch in (2, 4):
        write_epoch(tmp_path, epoch)
        assert scores.after(epoch, epoch, lambda _: None)
    assert len(opened) == 1
