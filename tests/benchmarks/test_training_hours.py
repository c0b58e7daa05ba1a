"""Hours by card: what a step is counted to do, what the estimate makes of it, and that the docs show the report."""

import json
from pathlib import Path

import pytest

from benchmarks.training_hours import CARDS, FAST, SLOW, Card, Work, markdown, measured_rates, parse, seconds, work_of
from cyclegan.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from hub.hours import OF_THE_HUB, computed_hours, default_work

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "benchmarks" / "reports" / "training_hours.md"


@pytest.mark.slow
def test_a_step_on_four_times_the_area_does_four_times_the_work_of_its_layers():
    args = parse(["--ngf", "4", "--ndf", "4", "--generator", "resnet_6"])
    small, large = (work_of(size, args) for size in (64, 128))
    assert small.operations == large.operations > 1000
    assert large.flop / small.flop == pytest.approx(4, rel=0.05)
    assert 3 < large.bytes / small.bytes < 4  # Adam's share is the same at every size.


def test_the_estimate_adds_arithmetic_and_memory_and_is_no_faster_than_the_processor():
    card, work = Card("a card", 100, 1000), Work(flop=1e12, bytes=1e10, operations=1000)
    assert seconds(work, card, FAST) == pytest.approx((1 / 50 + 1 / 80) * 1.05)
    assert seconds(work, card, SLOW) == pytest.approx((1 / 20 + 1 / 50) * 1.15)
    assert seconds(Work(1, 1, 1000), card, SLOW) == pytest.approx(0.015 * 1.15)
    assert all(seconds(work, each, FAST) < seconds(work, each, SLOW) for each in CARDS)


def test_reports_of_the_same_networks_count_and_trials_do_not(tmp_path):
    args = parse([])
    case = {"way": "default", "size": 256, "batch": 1, "status": "measured", "pairs_per_second": 8.0}
    report = {"trial": False, "kind": "cuda", "device": "H100", "generator": "resnet_9", "ngf": 64, "ndf": 64}
    cases = [case, case | {"batch": 4, "pairs_per_second": 1.0}, case | {"way": "plain", "pairs_per_second": 1.0}]
    for name, changes in {
        "one": {"cases": cases}, "slower": {"cases": [case | {"pairs_per_second": 7.0}]},
        "trial": {"cases": [case], "trial": True, "device": "a trial"},
        "narrow": {"cases": [case], "ngf": 32, "device": "narrow networks"},
    }.items():  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(report | changes))
    assert measured_rates(tmp_path.glob("*.json"), args) == {"H100": {256: 7.0}}


def test_the_report_and_the_page_for_people_who_rent_have_the_same_hours():
    report = json.loads(REPORT.with_suffix(".json").read_text())
    text, page = REPORT.read_text(encoding="utf-8"), (ROOT / "docs" / "rented-gpu.md").read_text(encoding="utf-8")
    assert text == markdown(report)
    rows = [line for line in text.splitlines() if " | measured | " in line or " | computed | " in line]
    assert len(rows) == len(report["computed"]) + len(report["measured"]) > 7
    assert [row for row in rows if row not in page] == []


def test_a_card_of_ones_own_is_named_with_two_figures(capsys):
    assert parse(["--card", "RTX 5090:209.5:1792"]).card == [Card("RTX 5090", 209.5, 1792)]
    with pytest.raises(SystemExit):
        parse(["--card", "RTX 5090"])
    assert "must be NAME:TFLOPS:GB/s" in capsys.readouterr().err


def test_a_jobs_hours_are_those_of_the_report():
    report = json.loads(REPORT.with_suffix(".json").read_text())
    assert {*OF_THE_HUB.values()} <= {*CARDS}
    for size, work in report["work"].items():
        ours = default_work(int(size))
        assert ours.flop == pytest.approx(work["flop"], rel=0.005) and ours.operations == work["operations"]
        assert ours.bytes == pytest.approx(work["bytes"], rel=0.005)
    data, half = DataConfig(dataset="x"), DataConfig(dataset="x", max_images=500)
    hours = [each * 1000 * 200 / 3600 for each in report["computed"]["L4"]["256"]]
    assert computed_hours(TrainConfig(data=data), 1000, 200, "L4") == pytest.approx(hours, rel=0.005)
    assert computed_hours(TrainConfig(data=half), 1000, 400, "L4") == pytest.approx(hours, rel=0.005)


@pytest.mark.parametrize("group", [
    {"data": DataConfig(preprocess="scale_width")}, {"model": ModelConfig(ngf=32)},
    {"optim": OptimConfig(batch_size=2)}, {"run": RunConfig(method="cut")}, {"run": RunConfig(reference=True)},
], ids=str)  # fmt: skip
def test_hours_that_the_count_does_not_cover_are_not_computed(group):
    assert computed_hours(TrainConfig(), 1000, 200, "L4") and computed_hours(TrainConfig(), 1000, 200, "L40S") is None
    assert computed_hours(TrainConfig(**group), 1000, 200, "L4") is None
