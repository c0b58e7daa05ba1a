"""Rows over their epochs: the best one, the beginning of a collapse, tones; and the same frames under all rows."""

import json

import numpy as np
import pytest
from PIL import Image

from cyclegan.errors import UserError
from cyclegan.experiments import over_epochs
from cyclegan.experiments.plan import make_plan, record
from cyclegan.experiments.report import write_report
from cyclegan.experiments.scoring import save_strip
from cyclegan.experiments.spec import EXPERIMENTS, Experiment, Row
from cyclegan.experiments.video import write_videos
from cyclegan.translation.video_io import Video, VideoWriter

LENGTH = {"epochs": 4, "decay_epochs": 0}
STREETS = "streets:count=4,test_count=3,size=36"


@pytest.mark.parametrize(("spread", "begins"), [
    ((0.5, 0.9, 1.0, 0.95), None), ((1.0, 0.9, 0.7, 0.6), 3), ((1.0, 0.3, 0.9, 0.2), 4), ((1.0, 0.5, 0.5, 0.5), 2),
    ((0.1, 0.1, 0.1, 0.1), None),
])  # fmt: skip
def test_a_variety_falls_where_the_spread_falls_for_good(spread, begins):
    assert over_epochs.variety_falls(dict(enumerate(spread, 1))) == begins


@pytest.fixture
def plan(tmp_path, make_checkpoint):
    """Two rows of four epochs from two seeds, of which one collapses."""
    rows = (Row("steady", LENGTH), Row("falls", {**LENGTH, "leaky_slope": 0.0}), Row("late", {**LENGTH, "ngf": 4}))
    plan = make_plan(Experiment("mine", "Mine", rows, every_epoch=True), STREETS, "tiny", [0, 1], tmp_path / "out")
    plan.output.mkdir()
    record(plan)
    for training in plan.trainings():
        if training.row.name == "late":
            continue
        make_checkpoint(training.folder, 4, seed=training.seed)
        scores = {}
        for epoch in range(1, 5):
            falls = training.row.name == "falls" and epoch > 2
            scores[f"epoch-{epoch:04}"] = {
                "commit_sha": "0" * 40, "epoch": epoch,
                "kid": {"kid": {"value": 100.0 - epoch if not falls else 150.0}},
                "collapse": {"spread_of_targets": {"value": 0.2 if falls else 0.9}},
            }  # fmt: skip
        way = {"measured_on": {"dataset": "d", "pictures": 50, "split": "test", "features": "lite0", "references": 50,
                               "crop_size": 32, "segmenter": None}, "scores": scores, "ceilings": {},
               "baselines": {"untranslated": {"kid": {"kid": {"value": 77.0}}}}}  # fmt: skip
        (training.folder / "scores").mkdir()
        content = {"version": 1, "name": "experiment", "run": "r", "names": {"a": "day", "b": "night"}, "ab": way}
        (training.folder / "scores" / "experiment.json").write_text(json.dumps(content))
        levels = {"inputs": 200, "shown": 40 if training.row.name == "steady" else 90, "targets": 60}
        for kind, level in levels.items():
            pictures = [Image.fromarray(np.full((32, 32, 3), level + k, np.uint8)) for k in range(2)]
            save_strip(pictures, training.folder / f"{kind}-ab.png")
    return plan


def test_the_report_says_when_each_row_is_best_and_when_it_collapses(plan):
    write_report(plan, "the command", 1.0)
    text = (plan.output / "README.md").read_text()
    assert "| **steady** | 4 | 4 | 96.0 | 96.0 | never |" in text
    assert "| **falls** | 4 | 2 | 98.0 | 150.0 | 3 |" in text
    assert "| *baseline: the input, untranslated* |  |  | 77.0 | 77.0 |" in text
    assert "resemble each other in falls from epoch 3. Not so in steady." in text
    assert "| **steady** | 40.5 | 40.0 | 0.0 |" in text and "| *real pictures of the target* | 60.5 |" in text
    assert "](epochs.png)" in text and (plan.output / "epochs.png").is_file()


def test_a_handful_of_test_pictures_says_nothing_of_epochs(plan):
    """Nor which rows have collapsed, though one has the spread of a collapse."""
    for training in plan.trainings():
        path = training.folder / "scores" / "experiment.json"
        if path.exists():
            path.write_text(path.read_text().replace('"references": 50', '"references": 2'))
    write_report(plan, "the command", 1.0)
    text = (plan.output / "README.md").read_text()
    assert "2 test pictures can't tell epochs apart. Measure on 50 or more." in text
    assert "Variety falls at" not in text
    assert "resemble each other" not in text and "Collapsed" not in text and "| **falls** | 4 |" not in text


def test_rows_of_one_scored_epoch_have_no_such_section(plan):
    for training in plan.trainings():
        path = training.folder / "scores" / "experiment.json"
        if path.exists():
            content = json.loads(path.read_text())
            content["ab"]["scores"] = {"epoch-0004": content["ab"]["scores"]["epoch-0004"]}
            path.write_text(json.dumps(content))
    assert over_epochs.lines(plan) == [] and over_epochs.write_plot(plan) is None


def test_the_gta_experiment_scores_every_epoch():
    assert EXPERIMENTS["gta"].every_epoch and not EXPERIMENTS["tables"].every_epoch


def test_test_pictures_are_shown_under_all_trained_rows(plan, monkeypatch):
    monkeypatch.setattr("cyclegan.experiments.video.SIZES", (48, 64))
    done = []
    written = write_videos(plan, None, device="cpu", progress=lambda *each: done.append(each))
    assert [path.name for path in written] == ["video-48.mp4", "video-64.mp4"]
    small, large = (Video(path) for path in written)
    assert len(list(small.frames())) == 3 and small.info.rate == 2 and done == [(k, 6) for k in range(1, 7)]
    assert large.info.width > small.info.width > 3 * 48
    write_report(plan, "the command", 1.0)
    assert "(video-48.mp4)" in (plan.output / "README.md").read_text()


def test_of_a_recording_each_fourth_frame_is_shown_at_its_time(plan, tmp_path, monkeypatch):
    monkeypatch.setattr("cyclegan.experiments.video.SIZES", (48,))
    from fractions import Fraction

    with VideoWriter(tmp_path / "drive.mp4", (64, 48), rate=Fraction(60)) as writer:
        for k in range(9):
            frame = Image.new("RGB", (64, 48), (20 * k, 90, 90))
            writer.write(frame, Fraction(k, 60), Fraction(1, 60))
    (path,) = write_videos(plan, tmp_path / "drive.mp4", device="cpu")
    assert [frame.time for frame in Video(path).frames()] == [Fraction(k, 60) for k in (0, 4, 8)]


def test_without_a_trained_row_there_is_nothing_to_show(tmp_path):
    rows = (Row("late", LENGTH),)
    plan = make_plan(Experiment("mine", "Mine", rows), STREETS, "tiny", [0], tmp_path / "out")
    with pytest.raises(UserError, match="no row yet that translates ab"):
        write_videos(plan, None)
