"""How the benchmark of scale judges a curve, and that its report for people says what was measured."""

import json
from pathlib import Path

import pytest

from benchmarks.scale import PARTS, REPORT, WAITS
from benchmarks.scale_report import Curve, curves_of, markdown, summary

SIZES = (1, 10, 32, 100, 320, 1000)


def curve(value):
    return Curve("part", "key", "a figure, s", "things", tuple((n, value(n)) for n in SIZES))


@pytest.mark.parametrize(("value", "exponent", "verdict"), [
    (lambda n: 0.01 * n, 1.0, "linear or better"),
    (lambda n: 20 + 0.1 * n, 1.0, "linear or better"),  # Without the start, or it would be 0.8.
    (lambda n: 3 + 0.1 * n**0.5, 0.5, "linear or better"),
    (lambda n: 20 + 1e-3 * n**1.5, 1.5, "worse than linear"),
    (lambda n: 1 + 1e-4 * n**2, 2.0, "worse than linear"),
    (lambda n: 5 + 1e-6 * n**2, 0.05, "flat"),  # Too little to say how it grows.
    (lambda n: 7.0, 0.0, "flat"),
])  # fmt: skip
def test_a_curve_is_judged_by_what_grows_in_its_upper_half(value, exponent, verdict):
    assert curve(value).exponent == pytest.approx(exponent, abs=0.06)
    assert curve(value).verdict == verdict


def test_where_nothing_starts_the_first_value_is_not_subtracted():
    points = ((1, 0.2), (10, 2.0), (40, 8.0))
    assert Curve("part", "key", "", "", points, has_start=False).exponent == pytest.approx(1.0)
    assert 1.04 < Curve("part", "key", "", "", points).exponent < 1.1


def test_a_few_points_are_judged_too():
    assert Curve("part", "key", "", "", ((1, 2.0),)).exponent == 0.0
    assert Curve("part", "key", "", "", ((1, 2.0), (2, 8.0))).exponent == pytest.approx(2.0)


def test_the_committed_report_has_every_part_and_the_docs_quote_it():
    report = json.loads((REPORT / "scale.json").read_text(encoding="utf-8"))
    assert list(report["parts"]) == list(PARTS) and not report["tiny"]
    curves = []
    for name, part in report["parts"].items():
        assert [row["n"] for row in part["rows"]] == [pytest.approx(size, rel=1e-3) for size in PARTS[name].sizes]
        curves += curves_of(name, part, PARTS[name].labels, WAITS)
    notes = {name: part.notes for name, part in PARTS.items()}
    assert (REPORT / "README.md").read_text(encoding="utf-8") == markdown(report, curves, notes)
    page = (Path(__file__).parents[2] / "docs" / "speed.md").read_text(encoding="utf-8")
    assert [row for row in summary(curves) if row not in page] == []
    assert (REPORT / "scale.png").stat().st_size > 10_000
