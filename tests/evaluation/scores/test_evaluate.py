"""`evaluate`: what it writes, what it doesn't measure twice, and what it refuses."""

import json
import shutil

import pytest
from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DataConfig
from cyclegan.data.streets import PALETTE
from cyclegan.errors import UserError
from cyclegan.evaluation.scores import evaluate as module
from cyclegan.evaluation.scores.evaluate import evaluate
from cyclegan.evaluation.scores.report import read_report
from cyclegan.evaluation.scores.tables import csv_text, markdown, text
from cyclegan.evaluation.segmenter import load_segmenter
from tests.ui.conftest import write_epoch

DATA = "streets:count=8,test_count=6,size=32"


@pytest.fixture
def run(tmp_path):
    for epoch in (1, 2):
        write_epoch(tmp_path / "mine", epoch)
    return tmp_path / "mine"


@pytest.fixture
def translations(monkeypatch):
    """Count the pictures that are translated."""
    made = []
    plain = module.translate_all

    def counted(translator, pictures, direction):
        made.append((translator.checkpoint.info.epoch, direction, len(pictures)))
        return plain(translator, pictures, direction)

    monkeypatch.setattr(module, "translate_all", counted)
    return made


def test_the_file_holds_scores_baselines_and_ceilings(run):
    seen = []
    report = evaluate(LocalSource(run), DATA, epochs="all", scores=("kid", "pairs", "reconstruction", "collapse"),
                      progress=lambda *at: seen.append(at))  # fmt: skip
    content = json.loads((run / "scores" / "test.json").read_text())
    assert content == report.content and content["names"] == {"a": "day", "b": "night"}
    for way in ("ab", "ba"):
        facts = content[way]["measured_on"]
        assert (facts["pictures"], facts["references"], facts["split"]) == (6, 6, "test")
        assert list(content[way]["scores"]) == ["epoch-0001", "epoch-0002"]
        assert list(content[way]["baselines"]) == ["untranslated", "one_colour", "blind", "another"]
        assert list(content[way]["ceilings"]) == ["real", "truth"]
        scores = content[way]["scores"]["epoch-0002"]
        assert scores["kid"]["kid"].keys() == {"value", "low", "high"}
        assert scores["reconstruction"]["rec_l1"]["value"] > 0 and scores["pairs"]["pairs_l1"]["value"] > 0
        assert "reconstruction" not in content[way]["baselines"]["untranslated"]
        assert content[way]["baselines"]["untranslated"]["collapse"]["follows_input"]["value"] == pytest.approx(1)
    assert seen[:2] == [("ab untranslated", 0, 6), ("ab untranslated", 6, 6)]


def test_what_is_there_is_not_measured_again(run, translations):
    evaluate(LocalSource(run), DATA, epochs=[1], scores=["kid"], directions=["ab"])
    assert translations == [(1, "ab", 6)]
    evaluate(LocalSource(run), DATA, epochs="all", scores=["kid"], directions=["ab"])
    assert translations[1:] == [(2, "ab", 6)]
    evaluate(LocalSource(run), DATA, epochs="all", scores=["kid", "pairs"], directions=["ab"])
    assert translations[2:] == [(1, "ab", 6), (2, "ab", 6)]  # The new score alone.
    shutil.rmtree(run / "epoch-0002")
    write_epoch(run, 2, domains=("day", "dusk"))  # Other files under the same number.
    evaluate(LocalSource(run), DATA, epochs="all", scores=["kid"], directions=["ab"])
    assert translations[4:] == [(2, "ab", 6)]


def test_references_are_measured_once_for_all_runs(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "second")
    evaluator = module.Evaluator(DataConfig(DATA, crop_size=32, load_size=32), scores=["kid"])
    first, seen = evaluator.score(LocalSource(run), directions=["ab"]), []
    second = evaluator.score(LocalSource(tmp_path / "second"), directions=["ab"], progress=lambda *at: seen.append(at))
    assert {what for what, _, _ in seen} == {"ab epoch-0002"}
    for section in ("baselines", "ceilings"):
        assert second.content["ab"][section] == first.content["ab"][section] != {}


def test_the_device_is_chosen_as_for_translations(monkeypatch):
    monkeypatch.setattr(module, "default_device", lambda: "meta")
    config = DataConfig(DATA, crop_size=32, load_size=32)
    assert module.Evaluator(config, scores=["kid"]).describer.device.type == "meta"
    assert module.Evaluator(config, scores=["kid"], device="cpu").describer.device.type == "cpu"


def test_a_named_score_must_be_measurable_in_some_direction(run):
    of_labels = DATA + ",a=labels,b=day"
    report = evaluate(LocalSource(run), of_labels, scores=["labels"])
    assert [way for way in ("ab", "ba") if report.section(way, "baselines")] == ["ba"]
    with pytest.raises(UserError, match="ab, labels: the target isn't label maps"):
        evaluate(LocalSource(run), of_labels, scores=["kid", "labels"], directions=["ab"])


def test_a_segmenter_that_is_missing_is_told(run, tmp_path):
    with pytest.raises(UserError, match="holds no segmenter"):
        evaluate(LocalSource(run), DATA + ",a=labels,b=day", segmenter=tmp_path / "none", name="other")


def test_a_run_that_was_stopped_keeps_what_was_measured(run, monkeypatch):
    plain = module.translate_all

    def stopped(translator, pictures, direction):
        if translator.checkpoint.info.epoch == 2:
            raise KeyboardInterrupt
        return plain(translator, pictures, direction)

    monkeypatch.setattr(module, "translate_all", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate(LocalSource(run), DATA, epochs="all", scores=["kid"], directions=["ab"])
    report = read_report(run / "scores", "test", "mine")
    assert report.value("ab", "scores", "epoch-0001", "kid", "kid") and report.value(
        "ab", "baselines", "one_colour", "kid", "kid"
    )


@pytest.mark.parametrize("options, said", [
    ({"dataset": "streets:count=8,test_count=7,size=32"}, "test.json was measured with another dataset"),
    ({"pictures": 3}, "another pictures"),
    ({"features": "dinov2"}, "another features"),
])  # fmt: skip
def test_figures_of_other_pictures_are_never_mixed(run, options, said, monkeypatch):
    monkeypatch.setattr(module, "Describer", lambda name, **kw: _named(name))
    evaluate(LocalSource(run), DATA, scores=["kid"], directions=["ab"])
    with pytest.raises(UserError, match=said):
        evaluate(LocalSource(run), **{"dataset": DATA, "scores": ["kid"], "directions": ["ab"], **options})
    evaluate(LocalSource(run), **{"dataset": DATA, "scores": ["kid"], "directions": ["ab"], "name": "b", **options})


def _named(name):
    from cyclegan.evaluation.scores.describe import Describer

    found = Describer("pixels")
    found.name = name
    return found


@pytest.mark.parametrize("options, said", [
    ({"scores": ["fvd"]}, "'fvd' isn't a score: choose from kid, fid"),
    ({"epochs": [7]}, "mine has no epoch 7; it has 1, 2"),
    ({"name": "../x"}, "isn't a name for a file of scores"),
    ({"scores": ["labels"]}, "the target isn't label maps"),
    ({"dataset": "streets:count=8,test_count=1,size=32"}, "fewer than two pictures"),
    ({"dataset": "no/where"}, "no/where"),
])  # fmt: skip
def test_what_cannot_be_measured_is_told(run, options, said):
    with pytest.raises(UserError, match=said):
        evaluate(LocalSource(run), **{"dataset": DATA, "directions": ["ab"], **options})


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 9}', '{"version": 1}'])
def test_a_broken_file_of_scores_is_told(run, content):
    (run / "scores").mkdir()
    (run / "scores" / "test.json").write_text(content)
    with pytest.raises(UserError, match="test.json"):
        evaluate(LocalSource(run), DATA, scores=["kid"])


def test_what_the_data_lack_is_noted_once_for_both_directions(run):
    notes = []
    report = evaluate(LocalSource(run), DATA, note=lambda each: notes.append(str(each)))
    assert notes == ["labels: the target isn't label maps of known classes"]
    assert "kid" in report.section("ab", "scores")["epoch-0002"]


def test_a_judge_that_the_training_read_with_is_noted(run):
    weights = load_segmenter(None, PALETTE).fingerprint
    for epoch, known in ((1, "1234"), (2, weights)):
        path = run / f"epoch-{epoch:04d}" / "checkpoint.json"
        record = json.loads(path.read_text()) | {"semantic_segmenter": {"name": "", "weights": known}}
        path.write_text(json.dumps(record))
    for epochs, count in ((1, 0), (2, 1)):
        notes = []
        evaluate(LocalSource(run), DATA, epochs=[epochs], scores=["segmentation", "kid"],
                 note=lambda each, notes=notes: notes.append(str(each)))  # fmt: skip
        assert len(notes) == count
    assert notes[0].startswith("warning: segmentation: the segmenter that judges is the one that --lambda_semantic")


def test_without_test_pictures_the_training_pictures_are_scored(run):
    notes = []
    report = evaluate(LocalSource(run), "streets:count=8,test_count=0,size=32", scores=["kid"], note=notes.append)
    assert report.content["ab"]["measured_on"]["split"] == "train"
    (note,) = map(str, notes)
    assert "has no test pictures, so training pictures are scored" in note


@pytest.fixture
def folders(tmp_path):
    """A data set in folders, with a picture that can't be read."""
    for split in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / "data" / "pictures" / split).mkdir(parents=True)
        for index in range(3):
            shade = Image.new("RGB", (32, 32), (80 * index, 40, 90))
            shade.save(tmp_path / "data" / "pictures" / split / f"{index}.png")
    (tmp_path / "data" / "pictures" / "testA" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "data" / "pictures"


def test_the_data_set_that_the_run_was_trained_on_is_found(folders, tmp_path):
    write_epoch(tmp_path / "mine", 1, dataset="pictures", skip_bad_images=True)
    typed, notes = {"config": {"data": {"dataset": str(folders)}}}, []
    with pytest.raises(UserError, match="pictures, the data set that mine was trained on, isn't there: .*--dataset"):
        evaluate(LocalSource(tmp_path / "mine"), scores=["kid"])
    (tmp_path / "mine" / "run.json").write_text(json.dumps(typed))
    report = evaluate(LocalSource(tmp_path / "mine"), scores=["kid"], note=notes.append)
    assert report.content["ab"]["measured_on"]["dataset"] == "pictures"  # And not where it is.
    assert report.content["ab"]["measured_on"]["pictures"] == 3
    assert list(map(str, notes)) == ["left out: 1 picture that can't be read, such as broken.png"]
    with pytest.raises(UserError, match="broken.png"):
        evaluate(LocalSource(tmp_path / "mine"), scores=["kid"], skip_bad_images=False, name="other")


def test_training_pictures_that_no_score_uses_are_not_looked_at(folders, monkeypatch):
    monkeypatch.setattr(module, "MOST_TRAINED", 2)
    kept, left_out = module.without_bad(module.find_data(DataConfig(str(folders))))
    assert (len(kept.train_a), len(kept.train_b), len(kept.test_a), len(kept.test_b)) == (2, 2, 3, 3)
    assert left_out == ["broken.png"]


def test_imported_weights_do_not_know_their_data_set(tmp_path):
    write_epoch(tmp_path / "mine", 1, dataset="unknown")
    with pytest.raises(UserError, match="mine doesn't say which data set it was trained on: name one with --dataset"):
        evaluate(LocalSource(tmp_path / "mine"), scores=["kid"])


def test_tables(run):
    report = evaluate(LocalSource(run), DATA, scores=("kid", "pairs"), directions=["ab"])
    for table in (text(report), markdown(report)):
        assert "day → night" in table and "6 pictures of streets" in table and "(lite0)" in table
        for row in ("the input, untranslated", "one colour", "blind", "another real picture", "epoch 2",
                    "real pictures", "the true pictures"):  # fmt: skip
            assert row in table
    lines = csv_text(report).splitlines()
    assert lines[0] == "direction,section,answer,epoch,score,figure,value,low,high"
    assert any(line.startswith("ab,scores,epoch-0002,2,pairs,pairs_l1,") for line in lines)
