"""Scores against people: the correlation and its sign, the words, and the tables, with simulated answers."""

import csv
import io
import json

import numpy as np
import pytest
from scipy import stats

from cyclegan.evaluation.scores import tables
from cyclegan.evaluation.scores.people import Judgement, People, judgement, kendall
from cyclegan.locale import in_language
from cyclegan.study.statistics import contrasts
from tests.evaluation.scores.test_recommend import interval, report

RISING = {1: 0.05, 2: 0.15, 4: 0.3, 8: 0.5, 16: 0.7}


def asked(rates, *, participants=40, trials=40, study="night", direction="ab", simulated=False, seed=0):
    """The answers of participants who each judged all epochs, on 20 pictures."""
    rng = np.random.default_rng(seed)
    size = participants * trials
    numbers = np.tile(list(rates), -(-size // len(rates)))[:size]
    fooled = (rng.random(size) < np.array([rates[n] for n in numbers])).astype(float)
    shares = {n: float(fooled[numbers == n].mean()) for n in rates}
    people, pictures = np.repeat(np.arange(participants), trials).astype(str), rng.integers(0, 20, size).astype(str)
    found = contrasts(fooled, people, numbers, [pictures], paired=True, seed=0)
    clear = [each for each in found if (each.p_holm or 1) < 0.05]
    return People(
        study, direction, simulated, {n: f"sha-{n}" for n in rates},
        {n: {"value": share, "low": max(0, share - 0.06), "high": share + 0.06} for n, share in shares.items()},
        numbers, fooled, people, pictures, preferred=lambda: frozenset(
            (each.epoch_a, each.epoch_b) if each.difference > 0 else (each.epoch_b, each.epoch_a) for each in clear
        ),
    )  # fmt: skip


def scored(values, key="kid", score="kid"):
    """Answers with a figure by epoch: a value, or a value with its interval."""
    found = {epoch: value if isinstance(value, dict) else interval(value) for epoch, value in values.items()}
    return [{"epoch": epoch, "commit_sha": f"sha-{epoch}", score: {key: value}} for epoch, value in found.items()]


def agreement(people, values, key="kid", score="kid"):
    found = judgement([people], "ab", scored(values, key, score))
    return found.agreements[key]


# --- the correlation ----------------------------------------------------------------------------------------


def test_the_correlation_is_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (200, 7)).astype(float), rng.normal(size=(200, 7))
    y[::2] = np.round(y[::2])  # Ties in both.
    expected = [stats.kendalltau(a, b).statistic for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(kendall(x, y), expected)
    assert np.isnan(kendall(np.ones(4), np.arange(4.0)))


@pytest.mark.parametrize(("key", "score", "sign"), [("kid", "kid", -1), ("seg_iou", "segmentation", 1)])
def test_a_score_that_counts_either_way_agrees_with_people_where_its_better_epochs_fool_more(key, score, sign):
    better = {epoch: interval(sign * 100 * rate, 1) for epoch, rate in RISING.items()}
    found = agreement(asked(RISING), better, key, score)
    assert found.tau == 1 and found.interval[0] > 0.5 and found.interval[1] == 1 and found.count == 5
    assert str(found.sentence()) == f"People agree with this score (Kendall's τ {found.shown}; epochs: 5)."
    worse = {epoch: interval(-sign * 100 * rate, 1) for epoch, rate in RISING.items()}
    found = agreement(asked(RISING), worse, key, score)
    assert found.tau == -1 and found.interval[1] < -0.5
    assert str(found.sentence()).startswith("People contradict this score: they are fooled less often by what it ")


def test_people_to_whom_all_are_alike_leave_it_open():
    alike = {epoch: 0.3 for epoch in RISING}
    found = agreement(asked(alike), {epoch: interval(100 * rate) for epoch, rate in RISING.items()})
    low, high = found.interval
    assert low < 0 < high and low <= found.tau <= high
    assert "It is open whether people agree with this score (Kendall's τ " in str(found.sentence())


def test_a_score_or_people_to_whom_all_are_alike_have_no_correlation():
    found = agreement(asked(RISING), {epoch: 7.0 for epoch in RISING})
    assert found.tau is None and found.interval is None and found.shown == "–"
    assert "All epochs (n = 5) are alike to this score or to people" in str(found.sentence())


def test_with_fewer_than_four_epochs_there_is_no_figure_but_a_sentence():
    found = judgement([asked(RISING)], "ab", scored({1: 90.0, 4: 60.0, 16: 20.0}))
    assert found.agreements["kid"].tau is None and found.agreements["kid"].sentence() is None
    assert str(list(found.sentences())[-1]) == (
        "3 epochs have both scores and people's answers, too few to say how far they agree: at least 4 are needed."
    )
    assert "tau" not in str(list(judgement([asked(RISING)], "ab", scored(RISING)).sentences())[-1])


def test_one_participant_gives_no_interval():
    found = agreement(asked(RISING, participants=1, trials=400), {epoch: -rate for epoch, rate in RISING.items()})
    assert found.tau == 1 and found.interval is None and "It is open" in str(found.sentence())


def test_the_intervals_hold_the_truth():
    """Resampled people and pictures: of 60 studies in which all epochs are alike, few claim an agreement."""
    alike, claims = {epoch: 0.3 for epoch in RISING}, 0
    for seed in range(60):
        found = agreement(asked(alike, participants=10, seed=seed), {epoch: -rate for epoch, rate in RISING.items()})
        claims += found.interval[0] > 0 or found.interval[1] < 0
    assert claims <= 6


# --- which study --------------------------------------------------------------------------------------------


def test_the_study_that_judged_most_of_these_weights_in_this_direction():
    one, more = asked({1: 0.1, 2: 0.2}, study="small"), asked(RISING, study="large")
    other_way = asked(RISING, study="other way", direction="ba")
    answers = scored(RISING)
    assert judgement([one, more, other_way], "ab", answers).people.study == "large"
    assert judgement([other_way], "ab", answers) is None
    answers[4]["commit_sha"] = "trained anew"
    found = judgement([more], "ab", answers)
    assert list(found.answers) == [1, 2, 4, 8] and list(found.people.rates) == [1, 2, 4, 8]
    assert set(found.people.checkpoints.tolist()) == {1, 2, 4, 8}
    assert judgement([more], "ab", scored({32: 1.0})) is None


def test_runs_of_equal_weights_are_matched_in_order():
    people = asked({1: 0.1, 2: 0.7})
    people = People(people.study, "ab", False, {1: "same", 2: "same"}, people.rates, people.checkpoints, people.fooled,
                    people.participants, people.pictures)  # fmt: skip
    answers = [{"epoch": 8, "commit_sha": "same", "row": row} for row in ("first", "second")]
    found = judgement([people], "ab", answers)
    assert [answer["row"] for answer in found.answers.values()] == ["first", "second"]


# --- in words -----------------------------------------------------------------------------------------------


def said(rates, **options):
    return [str(each) for each in judgement([asked(rates, **options)], "ab", scored(rates)).sentences()]


def test_whom_people_prefer():
    clear = said({40: 0.1, 80: 0.2, 110: 0.5, 120: 0.52})
    assert clear[0].startswith("People (n = 40, study night) prefer epoch ")
    assert clear[0].endswith("taken for real) over 40, 80.") and clear[1].endswith("their answers don't decide.")
    assert said({40: 0.1, 80: 0.1, 110: 0.1, 120: 0.9})[0].endswith("over 40, 80, 110.")
    (open_,) = said({1: 0.3, 2: 0.3, 4: 0.3, 8: 0.3}, participants=8)
    assert "for real most often" in open_ and "but not clearly more often than" in open_
    only, few = said({7: 0.5})
    assert only.startswith("People (n = 40, study night) took ") and only.endswith("of epoch 7 for real.")
    assert few.startswith("1 epoch has both scores and people's answers")
    first, second, *_ = said(RISING, simulated=True)
    assert first == "These votes are simulated: nobody has judged the pictures."
    assert second.startswith("In simulated votes: People (n = 40, study night) prefer epoch ")
    found = agreement(asked(RISING, simulated=True), {epoch: -rate for epoch, rate in RISING.items()})
    assert str(found.sentence()).startswith("In simulated votes: People agree with this score")


def test_in_korean():
    for rates in (RISING, {7: 0.5}, dict.fromkeys(RISING, 0.3)):
        found = judgement([asked(rates, simulated=True)], "ab", scored(rates))
        for sentence in [*found.sentences(), *(each.sentence() for each in found.agreements.values())]:
            assert sentence is None or in_language(sentence, "ko") != str(sentence)


# --- in tables ----------------------------------------------------------------------------------------------


@pytest.fixture
def scores():
    found = report({epoch: {"kid": interval(100 - 100 * rate, 1)} for epoch, rate in RISING.items()})
    facts = {"pictures": 9, "dataset": "d", "split": "test", "crop_size": 32, "references": 9}
    found.content["ab"]["measured_on"] = facts
    for epoch, answer in zip(RISING, found.content["ab"]["scores"].values(), strict=True):
        answer["commit_sha"] = f"sha-{epoch}"
    return found


def test_the_tables_have_rates_and_correlations(scores):
    people = asked(RISING)
    rate = people.rates[16]["value"]
    markdown = tables.markdown(scores, [people])
    assert f"| **epoch 16** | {rate:.1%} [" in markdown and "| **KID × 1000\u00a0↓** | 1.00 [0." in markdown
    assert "(study night, 40 participants)" in markdown and "prefer epoch 16" in markdown
    text = tables.text(scores, [people])
    assert "\nepoch 16 " in text and "Kendall's τ" in text and "1.00 [0." in text
    rows = list(csv.DictReader(io.StringIO(tables.csv_text(scores, [people]))))
    (of_16,) = [row for row in rows if row["section"] == "people" and row["epoch"] == "16"]
    assert float(of_16["value"]) == rate and (of_16["answer"], of_16["figure"]) == ("night", "taken_for_real")
    (tau,) = [row for row in rows if row["section"] == "agreement"]
    assert (tau["score"], tau["figure"], tau["value"], tau["high"]) == ("kid", "kid", "1.0", "1.0")
    content = json.loads(json.dumps(tables.json_content(scores, [people])))
    tau = content["ab"]["people"]["agreement"]["kid"]
    assert (tau["tau"], tau["interval"][1], tau["count"]) == (1.0, 1.0, 5)
    assert content["ab"]["people"]["epochs"][-1]["taken_for_real"]["value"] == rate
    assert "people" not in scores.content["ab"]  # The file of scores keeps to scores.


def test_without_a_study_the_tables_are_as_before(scores):
    for table in (tables.markdown, tables.text, tables.csv_text):
        assert table(scores) == table(scores, [asked(RISING, direction="ba")]) and "people" not in table(scores)
    content = tables.json_content(scores)
    assert content["ab"].pop("sentences") and content == scores.content


def test_a_judgement_knows_only_its_epochs(scores):
    found = tables.judgement_of(scores, "ab", [asked(RISING)])
    assert isinstance(found, Judgement) and found.people.count == 40
