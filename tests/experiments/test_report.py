"""The report from made-up figures: baselines in every table, the paper's order, failures, grids."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclegan.checkpoints.progress import MetricsLog
from cyclegan.experiments.baselines import verdicts
from cyclegan.experiments.plan import make_plan, record
from cyclegan.experiments.report import gather, markdown, order, scored_on, write_report
from cyclegan.experiments.scoring import save_strip
from cyclegan.experiments.spec import EXPERIMENTS, Experiment, Row

STREETS = "streets:a=labels,b=day,count=4,test_count=2,size=36"
ROWS = (
    Row("good", {"epochs": 1, "decay_epochs": 1}, paper={"labels → photo": (0.5, 0.2, 0.1)}),
    Row("bad", {"epochs": 1, "decay_epochs": 1, "pool_size": 0}, paper={"labels → photo": (0.4, 0.2, 0.2)}),
)


def made_up(kid, *, baseline, iou=(0.5, 0.4), blind=0.2, real=0.9, pictures=30):
    """A gathered report of two rows: KID by row and seed, class IoU by row, those of baseline and segmenter."""
    def run(seed, value, width, overlap):
        return {"seed": seed, "figures": {"ab": {"kid": figure(value, width), "seg_iou": figure(overlap)}}}

    return {
        "seeds": list(range(len(kid[0]))), "measured_on": {"ab": {"pictures": pictures, "references": 40}},
        "rows": [{"name": name, "runs": [run(seed, value, 2, one) for seed, value in enumerate(values)]}
                 for name, values, one in zip(("good", "bad"), kid, iou, strict=True)],
        "references": {"ab": {
            "baselines": {"untranslated": {"kid": figure(baseline, 2)}, "blind": {"seg_iou": figure(blind)}},
            "ceilings": {"real": {"seg_iou": figure(real)}},
        }},
    }  # fmt: skip


def test_rows_are_held_against_the_baselines():
    lines = verdicts(made_up([[20], [90]], baseline=50), "ab")
    assert lines[0] == "Against answers that need no training (clearly: outside each other's intervals):"
    assert lines[2] == "- **KID × 1000 ↓**: clearly better than every baseline: good. No other row does."
    assert lines[3] == "- **class IoU ↑**: clearly better than every baseline: good, bad."
    for value, than in ((51, "isn't clearly better or worse than"), (90, "is clearly worse than")):
        assert verdicts(made_up([[value], [95]], baseline=52 if value == 51 else 50), "ab")[2].startswith(
            f"- **KID × 1000 ↓**: no row is clearly better than every baseline. The best, good ({value}.0), {than}: "
            "the input, untranslated (5"
        )


def test_with_several_seeds_each_must_beat_the_baseline():
    lines = verdicts(made_up([[20, 49], [20, 51]], baseline=50), "ab")
    assert "(clearly: with every seed)" in lines[0] and "every baseline: good. No" in lines[2]


def test_a_segmenter_that_cannot_judge_decides_nothing():
    lines = verdicts(made_up([[20], [90]], baseline=50, blind=0.3, real=0.2), "ab")
    assert "**class IoU ↑**: this segmenter can't judge: real pictures get 0.200 [" in lines[3]
    few = verdicts(made_up([[20], [90]], baseline=50, pictures=3), "ab")
    assert few == ["3 test pictures can't tell rows from baselines. Measure on 50 or more."]


def figure(value, width=0.01):
    return {"value": value, "low": value - width, "high": value + width}


def write_scores(plan, make_checkpoint, accuracies, pictures=2):
    """Write a scored run for each training; accuracies by folder."""
    for training in plan.trainings():
        if (values := accuracies.get(training.folder.name)) is None:
            continue
        make_checkpoint(training.folder, 2)
        for epoch in (1, 2):
            MetricsLog(training.folder).append({
                "event": "epoch", "epoch": epoch, "step": 4 * epoch, "losses": {}, "seconds": 15.0,
                "metrics": {"truth_l1_ab": 30.0 - epoch, "diversity_ab": 0.5, "reconstruction_l1_ba": 10.0},
            })
        way = {
            "measured_on": {"dataset": "/data/mine", "pictures": pictures, "references": pictures, "crop_size": 32,
                            "split": "test", "features": "lite0",
                            "segmenter": {"network": "unet", "dataset": "/data/mine", "side": 64}},
            "scores": {"epoch-0002": {"commit_sha": "0" * 40, "epoch": 2, "segmentation": {
                "seg_pixel": figure(values[0]), "seg_class": figure(0.2), "seg_iou": figure(values[1])},
                "collapse": {"spread_of_targets": {"value": values[2]}, "follows_input": {"value": 0.9}}}},
            "baselines": {"blind": {"segmentation": {"seg_pixel": figure(0.6), "seg_iou": figure(0.05)}}},
            "ceilings": {"real": {"segmentation": {"seg_pixel": figure(0.9)}}},
        }  # fmt: skip
        (training.folder / "scores").mkdir()
        content = {"version": 1, "name": "experiment", "run": "r", "names": {"a": "labels", "b": "day"}, "ab": way}
        (training.folder / "scores" / "experiment.json").write_text(json.dumps(content))
        for kind, level in (("inputs", 0), ("shown", 100), ("truth", 200)):
            save_strip([Image.fromarray(np.full((32, 32, 3), level + k, np.uint8)) for k in range(3)],
                       training.folder / f"{kind}-ab.png")  # fmt: skip


@pytest.fixture
def make_report(tmp_path, make_checkpoint):
    """Return the plan of an experiment whose figures are made up."""

    def make(accuracies, seeds=1, **facts):
        plan = make_plan(Experiment("mine", "Mine", ROWS, streets="a=labels,b=day"), STREETS, "tiny", range(seeds),
                         tmp_path / "out")  # fmt: skip
        plan.output.mkdir()
        record(plan)
        write_scores(plan, make_checkpoint, accuracies, **facts)
        return plan

    return make


def test_tables_have_rows_paper_baselines_and_ceilings(make_report):
    plan = make_report({"good-0": (0.50, 0.30, 0.8), "good-1": (0.60, 0.32, 0.8), "bad-0": (0.40, 0.10, 0.1)}, seeds=2,
                       pictures=40)  # fmt: skip
    (plan.output / "runs" / "bad-1").mkdir()
    (plan.output / "runs" / "bad-1" / "failed.txt").write_text("error: the losses are not finite\n")
    content = write_report(plan, "python -m cyclegan experiment", 2.0)
    text = (plan.output / "README.md").read_text()
    assert "| **good** | 0.550 ± 0.071 | 0.200 ± 0.000 | 0.310 ± 0.014 | 0.50 / 0.20 / 0.10 |" in text
    assert "| *baseline: blind: the usual colour or class of each place* | 0.600 |" in text
    assert "| *ceiling: real pictures* | 0.900 |  |  | 0.80 / 0.26 / 0.21 |" in text
    assert "- **bad**, ab and ba, seed 1: error: the losses are not finite" in text
    assert "Collapsed, or hardly following the input: bad (spread 0.100 of the real pictures')." in text
    assert "python train_accelerate.py --dataset" in text and "--output_dir out/runs/good-0" in text
    assert str(plan.output) not in text  # A report may be committed.
    assert "Scored on 40 pictures per direction (test)." in text
    assert "Segmenter: unet, trained on `mine` at 64²." in text
    assert "/data/" not in (plan.output / "report.json").read_text()
    assert content["rows"][0]["runs"][0]["seconds"] == 30.0
    assert "![Curves of the rows over the epochs](curves.png)" in text and (plan.output / "curves.png").is_file()
    assert json.loads((plan.output / "report.json").read_text())["rows"][1]["runs"][1]["failed"]


def test_directions_of_different_test_sets_have_their_own_counts():
    facts = {"ab": {"pictures": 2}, "ba": {"pictures": 6}}
    said = scored_on({"measured_on": facts, "names": {"a": "game", "b": "real"}})
    assert said == "2 pictures for game → real and 6 pictures for real → game"


def test_the_order_is_compared_pair_by_pair_and_left_open_where_it_is_not_clear(make_report):
    plan = make_report({"good-0": (0.50, 0.30, 0.8), "bad-0": (0.49, 0.10, 0.8)})
    found = {pair["figure"]: pair for pair in order(gather(plan), "ab")}
    assert set(found) == {"seg_pixel", "seg_iou"}  # The paper's class accuracies are equal.
    assert found["seg_pixel"]["agrees"] is None  # The intervals overlap.
    assert found["seg_iou"]["agrees"] is False
    text = markdown(gather(plan), {})
    assert "| **good** | 0.500 [0.490, 0.510] |" in text  # With one seed, the intervals over pictures.
    assert "2 test pictures can't tell rows from baselines." in text
    assert "`streets:a=labels" in text and "up to 4 training pictures per domain; scale tiny (32² pixels, 8 ep" in text
    assert "**class IoU**: of 1 pair, 0 as in the paper, 1 the other way round, 0 not clear." in text
    assert "good is above bad here (0.30 against 0.10), below it in the paper (0.10 against 0.20)." in text


def test_with_several_seeds_all_must_agree(make_report):
    plan = make_report({"good-0": (0.50, 0.30, 0.8), "bad-0": (0.49, 0.1, 0.8),
                        "good-1": (0.50, 0.30, 0.8), "bad-1": (0.49, 0.4, 0.8)}, seeds=2)  # fmt: skip
    found = {pair["figure"]: pair["agrees"] for pair in order(gather(plan), "ab")}
    assert found == {"seg_pixel": True, "seg_iou": None}


@pytest.mark.parametrize("output, shown, where", [
    ("runs/pool", "runs/pool", "the folder in which the experiment was started"),
    ("pool", "pool", "the folder that holds `pool`"), ("{inside}/deep/pool", "deep/pool", "the folder in which"),
    ("{outside}/pool", "pool", "the folder that holds `pool`"),
])  # fmt: skip
def test_commands_work_from_the_folder_in_which_the_experiment_was_started(tmp_path, monkeypatch, output, shown, where):
    inside, outside = tmp_path / "here", tmp_path / "elsewhere"
    inside.mkdir()
    monkeypatch.chdir(inside)
    folder = Path(output.format(inside=inside, outside=outside))
    plan = make_plan(Experiment("mine", "Mine", ROWS), STREETS, "tiny", [0], folder)
    text = markdown(gather(plan), {})
    assert f"--output_dir {shown}/runs/good-0" in text and f"with its first seed, from {where}" in text
    assert str(tmp_path) not in text


def test_grids_have_inputs_rows_and_truth(make_report):
    plan = make_report({"good-0": (0.5, 0.3, 0.8), "bad-0": (0.4, 0.1, 0.8)})
    write_report(plan, "", None)
    grid = np.asarray(Image.open(plan.output / "pictures-ab.png"))
    levels = [int(grid[top + 48, 190 + 48, 0]) for top in range(0, grid.shape[0], 100)]
    assert levels == [0, 100, 100, 200]
    assert [int(grid[48, 190 + 100 * column + 48, 0]) for column in range(3)] == [0, 1, 2]


def test_a_damaged_strip_leaves_the_others(make_report):
    plan = make_report({"good-0": (0.5, 0.3, 0.8), "bad-0": (0.4, 0.1, 0.8)})
    (plan.output / "runs" / "bad-0" / "shown-ab.png").write_text("x")
    write_report(plan, "", None)
    grid = np.asarray(Image.open(plan.output / "pictures-ab.png"))
    assert len(grid) == 3 * 100  # Input, good, truth.


def test_a_report_before_any_run_says_so(tmp_path):
    plan = make_plan(EXPERIMENTS["pool"], None, "tiny", [0], tmp_path / "out")
    text = markdown(gather(plan), {})
    assert "Nothing is scored yet." in text and "**no pool**, ab and ba, seed 0: not done yet (0 of 8 epochs)" in text


def test_equal_figures_are_no_order(make_report):
    plan = make_report({f"{row}-{seed}": (0.5, 0.3, 0.8) for row in ("good", "bad") for seed in (0, 1)}, seeds=2)
    assert [pair["agrees"] for pair in order(gather(plan), "ab")] == [None, None]


def change_scores(plan, folder, change):
    path = plan.output / "runs" / folder / "scores" / "experiment.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_rows_that_were_not_measured_alike_are_named(make_report):
    """A data set or a segmenter that changed in between, or pictures of another size."""
    plan = make_report({"good-0": (0.5, 0.3, 0.8), "bad-0": (0.4, 0.1, 0.8)})
    assert "Not measured alike" not in markdown(gather(plan), {})
    change_scores(plan, "good-0", lambda c: c["ab"]["measured_on"].update(fingerprint="a", segmenter_weights="b"))
    change_scores(plan, "bad-0", lambda c: c["ab"]["measured_on"].update(fingerprint="c", segmenter_weights="d"))
    assert "**Not measured alike**: these rows compare neither" in (text := markdown(gather(plan), {}))
    assert "with the baselines: bad (other pictures, segmenter)." in text


def test_a_damaged_file_of_scores_leaves_the_other_rows(make_report):
    plan = make_report({"good-0": (0.5, 0.3, 0.8), "bad-0": (0.4, 0.1, 0.8)})
    change_scores(plan, "bad-0", lambda c: c.pop("ab"))
    change_scores(plan, "bad-0", lambda c: c.update(ab=5))
    text = markdown(gather(plan), {})
    assert "| **good** | 0.500 [" in text
    assert "- **bad**, ab and ba, seed 0: scores/experiment.json isn't a file of scores" in text


def test_the_segmenter_is_named_whichever_direction_it_judges(make_report):
    plan = make_report({"good-0": (0.5, 0.3, 0.8)})

    def to_labels_first(content):
        judged = content["ab"]
        content["ba"] = judged
        content["ab"] = {**judged, "measured_on": {**judged["measured_on"], "segmenter": None}}

    change_scores(plan, "good-0", to_labels_first)
    assert "Segmenter: unet, trained on `mine` at 64²." in markdown(gather(plan), {})


def test_a_name_with_a_bar_remains_one_cell(make_report):
    report = gather(make_report({"good-0": (0.5, 0.3, 0.8)}))
    report["rows"][0]["name"] = "no | pool"
    assert r"| **no \| pool** | 0.500 [" in markdown(report, {})
