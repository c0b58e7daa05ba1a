"""Which epoch: the words rest on the figures of a file of scores."""

import csv
import io
from pathlib import Path

import pytest

from cyclegan.evaluation.scores.recommend import disagreement, recommend, spans, verdicts
from cyclegan.evaluation.scores.report import Report
from cyclegan.evaluation.scores.tables import csv_text, json_content, markdown, text


def interval(value, half=None):
    return {"value": value} if half is None else {"value": value, "low": value - half, "high": value + half}


def report(epochs, ceilings=None, **baselines):
    """A file in which epochs, ceilings and baselines have {figure: value}."""
    scores = {"kid": "kid", "pairs_l1": "pairs", "seg_iou": "segmentation"}

    def filed(figures):
        found = {}
        for key, value in figures.items():
            found.setdefault(scores[key], {})[key] = value
        return found

    return Report(Path("test.json"), {
        "version": 1, "name": "test", "run": "mine", "names": {"a": "day", "b": "night"},
        "ab": {
            "measured_on": {"dataset": "streets", "split": "test", "pictures": 60, "references": 60, "crop_size": 64},
            "ceilings": {name: filed(each) for name, each in (ceilings or {}).items()},
            "scores": {f"epoch-{n:04}": {"commit_sha": "", "epoch": n, **filed(each)} for n, each in epochs.items()},
            "baselines": {name: filed(each) for name, each in baselines.items()},
        },
    })  # fmt: skip


def said(found):
    return [[str(sentence) for sentence in one.sentences()] for one in found]


def test_the_best_epoch_with_those_within_its_interval():
    kid = {80: interval(90, 5), 110: interval(44, 4), 120: interval(41, 4), 130: interval(44, 1), 140: interval(46, 9)}
    found = recommend(report({epoch: {"kid": value} for epoch, value in kid.items()}), "ab")
    assert [(one.epoch, one.near, one.unbeaten) for one in found] == [(120, (110, 130, 140), {})]
    assert said(found) == [[
        "KID × 1000 is best at epoch 120 (41.0 [37.0, 45.0]).",
        "Epochs 110–140 are within its interval: these pictures can't tell them apart.",
    ]]  # fmt: skip


def test_a_warning_about_the_baseline_that_no_epoch_beats():
    found = recommend(
        report(
            {1: {"kid": interval(300, 5)}, 2: {"kid": interval(200, 5)}}, untranslated={"kid": interval(139, 32)},
            one_colour={"kid": interval(565, 3)},
        ), "ab",
    )  # fmt: skip
    assert list(found[0].unbeaten) == ["untranslated"]
    assert said(found)[0][1:] == [
        "No other epoch is within its interval.",
        "But no epoch clearly beats this answer, which needs no training: the input, untranslated (139.0 "
        "[107.0, 171.0]). Don't choose by this score alone.",
    ]


def test_a_baseline_that_cannot_be_told_from_the_best_epoch_is_not_beaten():
    copies = {"near": interval(41, 3), "wide": interval(60, 30), "far": interval(60, 3)}
    found = recommend(report({1: {"kid": interval(38, 4)}}, **{n: {"kid": each} for n, each in copies.items()}), "ab")
    assert list(found[0].unbeaten) == ["near", "wide"]


def test_baselines_that_no_epoch_beats_are_in_one_warning():
    found = recommend(
        report(
            {1: {"kid": interval(300, 5)}}, untranslated={"kid": interval(139, 1)}, one_colour={"kid": interval(65, 3)}
        ), "ab",
    )  # fmt: skip
    assert said(found)[0][-1] == (
        "But no epoch clearly beats these answers, which need no training: the input, untranslated (139.0 "
        "[138.0, 140.0]); one colour (65.0 [62.0, 68.0]). Don't choose by this score alone."
    )


def test_higher_is_better_where_the_table_says_so():
    found = recommend(
        report({1: {"seg_iou": interval(0.5, 0.01)}, 2: {"seg_iou": interval(0.6, 0.01)}},
               blind={"seg_iou": interval(0.55)}, untranslated={"seg_iou": interval(0.6)}), "ab",
    )  # fmt: skip
    assert found[0].epoch == 2 and list(found[0].unbeaten) == ["untranslated"]
    assert said(found)[0][0] == "class IoU (segmentation) is best at epoch 2 (0.600 [0.590, 0.610])."


def test_scores_that_recommend_epochs_which_they_can_tell_apart():
    def of(kid_of_2):
        return recommend(report({
            1: {"kid": interval(10, 1), "pairs_l1": interval(30, 1)},
            2: {"kid": interval(*kid_of_2), "pairs_l1": interval(20, 1)},
        }), "ab")  # fmt: skip

    assert str(disagreement(of((50, 1)))) == "These scores disagree: look at the pictures of epochs 1, 2."
    assert disagreement(of((10.5, 1))) is None
    assert disagreement(of((5, 1))) is None


def test_one_epoch_and_none():
    assert said(recommend(report({7: {"kid": interval(10, 1)}}), "ab")) == [
        ["KID × 1000: only epoch 7 has been measured (10.0 [9.0, 11.0])."]
    ]
    assert recommend(report({}, untranslated={"kid": interval(1)}), "ab") == []
    assert said(recommend(report({1: {"kid": interval(10)}, 2: {"kid": interval(9)}}), "ab")) == [
        ["KID × 1000 is best at epoch 2 (9.0)."]
    ]


@pytest.mark.parametrize("epochs, between, shown", [
    ([8, 110, 120, 130, 140], (), "8, 110–140"), ([1, 2, 4], (), "1, 2, 4"), ([4, 5, 6, 9], (), "4–6, 9"),
    ([110, 130, 140], (120,), "110–140"), ([1, 3], (2,), "1, 3"), ([5], (), "5"),
])  # fmt: skip
def test_epochs_at_equal_steps_are_a_range(epochs, between, shown):
    assert spans(epochs, between) == shown


def test_few_pictures_recommend_nothing():
    few = report({1: {"kid": interval(10, 1)}, 2: {"kid": interval(5, 1)}})
    few.content["ab"]["measured_on"] = {"pictures": 3, "references": 30}
    assert said(recommend(few, "ab")) == [
        ["KID × 1000: 3 pictures are too few to tell epochs apart. Measure on 50 or more."]
    ]


def judged(real, blind):
    """A file with two epochs of class IoU and KID that disagree."""
    return report(
        {1: {"seg_iou": interval(0.3, 0.01), "kid": interval(20, 1)},
         2: {"seg_iou": interval(0.2, 0.01), "kid": interval(10, 1)}},
        ceilings={"real": {"seg_iou": real}}, blind={"seg_iou": blind},
    )  # fmt: skip


@pytest.mark.parametrize("real, pictures", [(interval(0.11, 0.01), 60), (interval(0.22, 0.03), 60),
                                            (interval(0.11, 0.01), 3)])  # fmt: skip
def test_a_segmenter_that_reads_real_pictures_no_better_than_a_blind_answer_recommends_no_epoch(real, pictures):
    scores = judged(real, interval(0.21, 0.02))
    scores.content["ab"]["measured_on"]["pictures"] = pictures
    kid, segmenter = verdicts(scores, "ab")  # And the two don't disagree.
    assert [str(sentence).partition(" Don't go by")[0] for sentence in segmenter] == [
        f"class IoU (segmentation): this segmenter can't judge: real pictures get {real['value']:.3f} "
        f"[{real['low']:.3f}, {real['high']:.3f}], the blind answer 0.210 [0.190, 0.230]."
    ]
    assert "can't judge" not in str(kid[0])


def test_a_segmenter_that_can_judge_recommends_one():
    scores = judged(interval(0.7, 0.1), interval(0.21, 0.02))
    assert [str(said[0]).partition(" (0")[0] for said in verdicts(scores, "ab")] == [
        "KID × 1000 is best at epoch 2 (10.0 [9.0, 11.0]).", "class IoU (segmentation) is best at epoch 1",
        "These scores disagree: look at the pictures of epochs 1, 2.",
    ]  # fmt: skip


def test_tables_have_the_sentences_the_kinds_of_rows_and_the_meanings():
    scores = judged(interval(0.7, 0.1), interval(0.21, 0.02))
    found = markdown(scores)
    assert "| *baseline: blind: the usual at each place* | 0.210 [" in found and "| *ceiling: real pictures* |" in found
    assert "- KID × 1000 is best at epoch 2 (10.0 [9.0, 11.0]). No other epoch is within its interval.\n" in found
    assert "- These scores disagree: look at the pictures of epochs 1, 2." in found
    assert "- **class IoU (segmentation)**\u00a0↑: overlap of found and true pixels of each class" in found
    assert "truth L1" not in found  # It isn't shown.
    assert "  ceiling: real pictures " in text(scores) and "\nepoch 1 " in text(scores)
    assert json_content(scores)["ab"]["sentences"][2].startswith("These scores disagree")
    rows = list(csv.DictReader(io.StringIO(csv_text(scores))))
    assert {(row["answer"], row["kind"]) for row in rows} == {
        ("blind", "baseline"), ("epoch-0001", "epoch"), ("epoch-0002", "epoch"), ("real", "ceiling"),
    }  # fmt: skip
