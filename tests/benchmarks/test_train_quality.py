"""How two ways are compared over seeds, the labels of maps, and that reports for people say what was measured."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import train_quality
from benchmarks.labels import COLOURS, labels, main_colours
from benchmarks.train_quality import FIGURES, chance_outside, compare, interval, start_difference, verdict

REPORTS = Path(train_quality.__file__).parent / "reports"


def run(way, seed, shift=0.0):
    """Two epochs' figures and four points of each loss; `shift` moves everything but the start."""
    value = {0: 1.0, 1: 2.0, 2: 3.0}[seed]
    ends = [{"images": images, **dict.fromkeys(FIGURES, value + shift * (images > 0))} for images in (0, 50, 100)]
    return {"way": way, "seed": seed, "evaluations": ends, "loss_images": [25, 50, 75, 100],
            "losses": {"gan": [value + shift] * 4, "disc": [value] * 4}}  # fmt: skip


def report(shift, seeds=(0, 1, 2)):
    runs = [run("plain", seed) for seed in seeds] + [run("default", seed, shift) for seed in seeds]
    return {"runs": runs, "seeds": list(seeds), "images": 100}


@pytest.mark.parametrize(("shift", "within"), [(0.0, True), (0.99, True), (1.01, False), (-1.01, False)])
def test_a_difference_is_within_if_it_is_no_larger_than_the_spread_of_seeds(shift, within):
    rows = {row["figure"]: row for row in compare(report(shift))}
    assert set(rows) == {*FIGURES, "gan", "disc"}
    for name in ("psnr_a", "gan"):
        row = rows[name]
        assert row["spread"] == 1.0 and row["difference"] == pytest.approx(shift) and row["within"] is within
        assert row["points_within"] == (row["points"] if within else 0)
    assert rows["psnr_a"]["points"] == 2 and rows["gan"]["points"] == 4  # Both start alike, which is no evidence.
    assert rows["disc"]["within"] and rows["disc"]["difference"] == 0
    assert start_difference(report(shift)) == 0


def test_what_lies_outside_is_said_with_whom_it_favours():
    worse = report(-1.5)
    said = " ".join(verdict(worse | {"comparison": compare(worse)}))
    assert "1 lie within" in said and "PSNR of A → B → A, dB, by -1.5" in said
    assert "in the plain recipe's favour" in said and "in the default's favour" in said  # Of an error, less is better.


def test_seeds_that_one_way_did_not_finish_are_left_out_and_one_seed_is_no_spread():
    unequal = report(0.0)
    unequal["runs"].pop()
    assert all(set(row["paired_differences"]) == {"0", "1"} for row in compare(unequal))
    with pytest.raises(ValueError, match="fewer than two seeds"):
        compare(report(0.0, seeds=(1,)))


def test_chance_and_interval_against_draws():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 40_000, 3))
    spread = np.sqrt((one.var(1, ddof=1) + other.var(1, ddof=1)) / 2)
    assert np.mean(abs(one.mean(1) - other.mean(1)) > spread) == pytest.approx(chance_outside(3), abs=0.01)
    covered = [low <= 0 <= high for low, high in (interval(row) for row in one[:4000])]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_labels_are_the_nearest_of_a_maps_main_colours():
    # Land, roads, parks, water, motorways, railways.
    colours = [[240, 240, 235], [255, 255, 255], [200, 220, 175], [178, 209, 255], [252, 165, 45], [90, 90, 90]]
    shares = [40, 20, 16, 12, 8, 4]
    pixels = np.repeat(colours, shares, axis=0).reshape(10, 10, 3).astype(np.uint8)
    found = main_colours([Image.fromarray(pixels)] * 3)
    assert len(found) == COLOURS and np.allclose(found, colours, atol=0.5)  # The commonest first.
    near = np.clip(pixels.astype(int) + np.random.default_rng(1).integers(-3, 4, pixels.shape), 0, 255)
    assert (labels(Image.fromarray(near.astype(np.uint8)), found) == np.repeat(range(COLOURS), shares)).all()


def test_the_committed_report_says_what_its_figures_say():
    measured = json.loads((REPORTS / "train_quality.json").read_text(encoding="utf-8"))
    shown = (REPORTS / "train_quality.md").read_text(encoding="utf-8")
    assert train_quality.markdown(measured, "train_quality") == shown
    again = json.loads(json.dumps(compare(measured)))
    for row, said in zip(again, measured["comparison"], strict=True):
        assert row["figure"] == said["figure"] and row["within"] == said["within"]
        assert math.isclose(row["difference"], said["difference"], rel_tol=1e-3, abs_tol=1e-9)
