"""The experiment that asks whether translation helps a segmenter: its domains, its segmenters and its figures."""

import json
from pathlib import Path

import numpy as np
import pytest

from cyclegan.__main__ import main
from cyclegan.commands import adaptation as command
from cyclegan.config import DataConfig
from cyclegan.data import find_data
from cyclegan.data.labels import VOID
from cyclegan.data.streets import StreetsSpec, write_streets
from cyclegan.errors import UserError
from cyclegan.evaluation.scores.confusion import accuracies
from cyclegan.experiments.adaptation import readers as readers_module
from cyclegan.experiments.adaptation import report
from cyclegan.experiments.adaptation.pair import open_pair, write_data
from cyclegan.experiments.adaptation.readers import COLOUR, ORACLE, PLAIN, SOURCE_ONLY, Readers, Reading

STREETS = "streets:count=4,test_count=3,size=36"
MAP = """
sky: {source: sky, target: sky}
ground: {source: [road, lane_marking, pavement], target: [road, lane_marking]}
"""

# --- the domains ----------------------------------------------------------------------------------------------


def test_streets_are_day_and_night_with_the_same_classes():
    pair = open_pair(f"{STREETS}@a", None, None)
    assert (pair.source.name, pair.target.name, pair.target.side) == ("day", "night", "b")
    assert pair.classes.names == pair.source.classes.scored and pair.left_out == {"source": (), "target": ()}


def test_a_file_says_which_classes_belong_together(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text(MAP)
    pair = open_pair(f"{STREETS}@b", f"{STREETS}@a", path)
    assert pair.classes.names == ("sky", "ground") and "building" in pair.left_out["source"]
    assert "pavement" in pair.left_out["target"] and "pavement" not in pair.left_out["source"]
    mine, theirs = pair.domain("source", "train"), pair.source.train
    before, after = theirs.labels(0), mine.labels(0)
    numbers = {name: k for k, name in enumerate(pair.source.classes.scored)}
    assert set(np.unique(after)) <= {0, 1, VOID}
    assert ((after == 1) == np.isin(before, [numbers[n] for n in ("road", "lane_marking", "pavement")])).all()


@pytest.mark.parametrize(("text", "said"), [
    ("sky: {source: sky, target: sky}", "fewer than two classes"),
    ("sky: {source: sky}\nroad: {source: road, target: road}", "sky needs names from both sides"),
    ("sky: {source: sky, target: skye}\nroad: {source: road, target: road}", "no class 'skye'.*do you mean sky"),
    ("sky: {source: sky, target: sky}\nair: {source: sky, target: road}", "sky of the source belongs to two"),
    ("sky: {source: [], target: sky}\nroad: {source: road, target: road}", "has no name in the source"),
])  # fmt: skip
def test_a_wrong_file_of_classes_is_named(tmp_path, text, said):
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        open_pair(f"{STREETS}@a", None, path)


@pytest.mark.parametrize(("source", "target", "said"), [
    (f"{STREETS}@a", f"{STREETS}@a", "are both"),
    ("streets:a=labels,b=day,count=4,size=36@a", None, "are label maps"),
    ("streets:count=4,test_count=0,size=36@a", None, "no test pictures"),
    ("nowhere@a", None, "no folder"),
])  # fmt: skip
def test_domains_that_cant_be_used_are_named(source, target, said):
    with pytest.raises(UserError, match=said):
        open_pair(source, target, None)


def test_folders_of_other_names_are_domains_too_and_other_class_names_ask_for_a_file(tmp_path):
    write_streets(StreetsSpec.parse(STREETS), tmp_path / "mine@a")
    pair = open_pair(str(tmp_path / "mine@a"), f"{STREETS}@b", None)
    assert pair.source.side == "a" and pair.source.name.startswith("mine@a, ")
    content = json.loads((tmp_path / "mine@a" / "streets.json").read_text())
    for entry in content["classes"]:
        entry["name"] = entry["name"].upper()
    (tmp_path / "mine@a" / "streets.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="fewer than two names in common.*--classes"):
        open_pair(str(tmp_path / "mine@a"), f"{STREETS}@b", None)


def test_the_written_data_set_has_the_common_labels_and_no_test_picture(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text(MAP)
    pair = open_pair(f"{STREETS}@a", None, path)
    folder = write_data(pair, tmp_path, size=24, limit=3)
    splits = find_data(DataConfig(dataset=str(folder)))
    assert splits.test_a is splits.test_b is None and (len(splits.train_a), len(splits.train_b)) == (3, 3)
    assert splits.classes.scored == ("sky", "ground") and splits.train_a.probe(0) == (24, 24)
    large = pair.domain("source", "train").labels(0)
    small = splits.train_a.labels(0)
    assert abs((small == 1).mean() - (large == 1).mean()) < 0.05 and VOID in small
    with pytest.raises(UserError, match="another limit"):
        write_data(pair, tmp_path, size=24, limit=2)
    with pytest.raises(UserError, match="another classes"):
        write_data(open_pair(f"{STREETS}@a", None, None), tmp_path, size=24, limit=3)


# --- the segmenters -------------------------------------------------------------------------------------------


def test_matched_pictures_have_the_targets_mean_and_deviation(tmp_path):
    pair = open_pair(f"{STREETS}@b", f"{STREETS}@a", None)  # Night is darker, so that little is clipped.
    readers = Readers(pair, tmp_path, side=32, steps=1, limit=None, device="cpu")
    found = readers.matched(readers._source).pictures.reshape(-1, 3)
    wanted = readers._target.pictures.reshape(-1, 3)
    before = readers._source.pictures.reshape(-1, 3)
    for value in ("mean", "std"):
        ours, theirs, old = (getattr(each, value)(0) for each in (found, wanted, before))
        assert (abs(ours - theirs) < 0.35 * abs(old - theirs) + 2).all()


@pytest.fixture
def start(tmp_path, fake_trainer, monkeypatch):
    """Start the experiment with an untrained translator; `trained` counts the segmenters' steps."""
    trained = []
    real = readers_module.train_segmenter

    def counted(pictures, *args, **kwargs):
        trained.append((kwargs["steps"], kwargs["seed"], len(pictures.pictures)))
        return real(pictures, *args, **kwargs)

    monkeypatch.setattr(readers_module, "train_segmenter", counted)
    monkeypatch.setitem(command.STEPS, "tiny", 2)
    (tmp_path / "short.yaml").write_text("from: adaptation\nshared: {epochs: 1, decay_epochs: 1}\n")

    def run(*words):
        return main(["experiment", str(tmp_path / "short.yaml"), "--source", f"{STREETS}@a", "--output",
                     str(tmp_path / "out"), "--device", "cpu", *words])  # fmt: skip

    run.trained, run.started, run.out = trained, fake_trainer, tmp_path / "out"
    return run


def test_all_rows_learn_for_as_long_and_a_second_start_repeats_nothing(start, capsys):
    assert start("--seeds", "2") == 0
    assert start.started() == [f"cyclegan{kept}-{seed}" for seed in (0, 1) for kept in ("", "-labels-kept")]
    assert sorted(start.trained) == [(2, 0, 4)] * 5 + [(2, 1, 4)] * 5
    found = json.loads((start.out / "report.json").read_text())
    assert set(found["rows"]) == {*PLAIN, "CycleGAN", "CycleGAN, labels kept", "blind"} and found["tests"] == 3
    assert all(set(row["figures"]["iou"]) == {"0", "1"} for name, row in found["rows"].items() if name != "blind")
    assert "kept" in found["rows"]["CycleGAN"] and "kept" not in found["rows"]["Oracle"]
    text = (start.out / "README.md").read_text()
    assert "day → night" in text and "*ceiling: the target, with its labels*" in text and "--dataset out/data" in text
    assert "--semantic_segmenter out/segmenters/source-only-0/network --semantic_domain a" in text
    assert str(start.out.parent) not in text and (start.out / "read.png").is_file()
    assert start("--seeds", "2") == 0
    assert len(start.trained) == 10 and "was trained before" in capsys.readouterr().out
    assert start("--seeds", "2", "--target", f"{STREETS},seed=3@b") == 1
    assert "another target" in capsys.readouterr().err
    assert main(["experiment", "--render", "--output", str(start.out)]) == 0


def test_a_translator_that_was_trained_anew_gets_a_new_segmenter(start, make_checkpoint):
    assert start() == 0
    make_checkpoint(start.out / "runs" / "cyclegan-0", 2, seed=7)
    assert start() == 0
    assert len(start.trained) == 6


def test_a_full_disk_is_said_and_the_same_command_continues(start, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(readers_module, "save_strip", full)
        assert start() == 1
    assert "can't be written (No space left on device)" in capsys.readouterr().err
    assert start() == 0


@pytest.mark.parametrize("words", [("--dataset", "streets"), ("--study", "s"), ("--scores", "kid")])
def test_flags_of_other_experiments_are_refused(start, capsys, words):
    assert start(*words) == 1
    assert f"{words[0]} isn't for this experiment" in capsys.readouterr().err
    assert not Path(start.out).exists()


def test_other_experiments_have_no_source(tmp_path, capsys):
    assert main(["experiment", "pool", "--source", "streets", "--output", str(tmp_path / "out")]) == 1
    assert "--source isn't for this experiment" in capsys.readouterr().err


# --- the figures ----------------------------------------------------------------------------------------------


def reading(share, *, seed=0, pictures=30, noise=0.0):
    """Two classes, of each of which about `share` of the pixels is right."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(pictures):
        right = np.clip(round(1000 * (share + rng.normal(0, noise))), 0, 1000)
        found.append([[right, 1000 - right], [1000 - right, right]])
    return Reading(np.array(found), None)


def rows(**shares):
    return {name: {seed: reading(share, seed=seed, noise=0.02) for seed in (0, 1, 2)} for name, share in shares.items()}


def test_figures_are_those_of_a_single_matrix():
    matrices = np.random.default_rng(0).integers(0, 50, (5, 4, 4))
    matrices[:, 2] = 0  # A class that never occurs.
    found = report.figures_of(matrices)
    for k, matrix in enumerate(matrices):
        one = accuracies(matrix)
        assert found["pixel"][k] == pytest.approx(one.pixel) and found["iou"][k] == pytest.approx(one.iou_occurring)
        assert found["classes"][k] == pytest.approx(one.classes_occurring)


def test_half_of_the_gap_is_half():
    readings = {SOURCE_ONLY: {0: reading(0.4)}, "x": {0: reading(0.6)}, ORACLE: {0: reading(0.8)}}
    closed = report._closed(readings, "x")
    assert closed["pixel"] == {"value": 0.5, "low": 0.5, "high": 0.5} and 0.3 < closed["iou"]["value"] < 0.5


def test_rows_that_closed_nothing_or_the_wrong_way_are_called_so():
    readings = rows(**{SOURCE_ONLY: 0.5, COLOUR: 0.6, ORACLE: 0.9, "same": 0.5, "worse": 0.4, "better": 0.7})
    found = {name: {"closed": report._closed(readings, name), "above_colour": report._above(readings, name, COLOUR),
                    "classes": {"a": {"iou": 0.1}}} for name in ("same", "worse", "better")}  # fmt: skip
    words = dict(zip(found, report._sentences({**found, SOURCE_ONLY: {"classes": {"a": {"iou": 0.2}}}}), strict=False))
    assert "isn't clearly better" in words["same"] and "widens the gap" in words["worse"]
    assert "closes part of the gap" in words["better"] and "it is above the source in the target's" in words["better"]
    assert "it is below" in words["worse"] and "loses most: a (-0.10)" in words["worse"]


def test_without_a_gap_there_is_no_share_of_it():
    readings = rows(**{SOURCE_ONLY: 0.5, "x": 0.5, ORACLE: 0.505})
    assert report._closed(readings, "x") == {}


def test_seeds_that_differ_widen_the_interval():
    alike = {SOURCE_ONLY: {s: reading(0.4) for s in range(3)}, ORACLE: {s: reading(0.8) for s in range(3)}}
    one = report._closed({**alike, "x": {s: reading(0.6) for s in range(3)}}, "x")["pixel"]
    other = report._closed({**alike, "x": {s: reading(0.5 + s / 10) for s in range(3)}}, "x")["pixel"]
    assert one["high"] - one["low"] < 1e-9 and other["value"] == 0.5
    # Shares of 0.25, 0.5 and 0.75: their standard deviation by t's quantile for three values.
    assert other["high"] - 0.5 == pytest.approx(0.25 * 4.3027 / 3**0.5, abs=1e-3)
