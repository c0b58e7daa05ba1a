"""The recommended epoch: the best one, its equals, and baselines that it doesn't beat."""

from pathlib import Path

import pytest

from cyclegan.evaluation.scores.recommend import recommendation
from cyclegan.evaluation.scores.report import Report


def report(score, key, epochs, baselines):
    def of(values):
        return {score: {key: dict(zip(("value", "low", "high"), values, strict=False))}}

    way = {"measured_on": {}, "ceilings": {},
           "scores": {f"epoch-{n:04d}": {"epoch": n, **of(values)} for n, values in epochs.items()},
           "baselines": {name: of([value]) for name, value in baselines.items()}}  # fmt: skip
    return Report(Path("x.json"), {"version": 1, "name": "x", "run": "mine", "names": {"a": "A", "b": "B"}, "ab": way})


@pytest.mark.parametrize("score, key, epochs, baselines, said", [
    ("kid", "kid", {80: [60, 50, 70], 110: [43, 38, 48], 120: [41, 36, 46], 140: [45, 40, 50]}, {"untranslated": 90},
     ["epoch 120 has the lowest KID × 1000 (41.0)", "within its interval, so hardly worse: epochs 110, 140"]),
    ("kid", "kid", {1: [60, 50, 70], 2: [20, 15, 25]}, {"untranslated": 10, "one_colour": 500},
     ["epoch 2 has the lowest KID × 1000 (20.0)",
      "by KID × 1000, no epoch beats these answers, which need no network: the input, untranslated"]),
    ("labels", "labels_iou", {1: [0.2, 0.1, 0.3], 2: [0.25, 0.22, 0.28], 3: [0.4, 0.39, 0.41]},
     {"blind": 0.5, "one_colour": 0.45, "untranslated": 0.1},
     ["epoch 3 has the highest class IoU (0.400)",
      "by class IoU, no epoch beats these answers, which need no network: blind: the usual at each place; one colour"]),
    ("pairs", "pairs_l1", {7: [12]}, {"untranslated": 30}, []),
    ("kid", "kid", {7: [12]}, {"untranslated": 10},
     ["by KID × 1000, no epoch beats these answers, which need no network: the input, untranslated"]),
    ("collapse", "follows_input", {7: [12]}, {"untranslated": 10}, []),
])  # fmt: skip
def test_recommendation(score, key, epochs, baselines, said):
    assert [str(each) for each in recommendation(report(score, key, epochs, baselines), "ab")] == said
