"""The adaptive staircase: the server decides each exposure from the answers before it."""

import numpy as np
import pytest

from cyclegan.study import statistics
from cyclegan.study.protocol import protocol
from cyclegan.study.report import make_report, to_markdown
from cyclegan.study.report.plots import caption, plots
from cyclegan.study.staircase import about_reach, next_exposure
from cyclegan.study.statistics import rates
from tests.study.made_up import made_study, sessions_of, staircase_votes

RULES = protocol("hype_time")
SHORT = {"preset": "hype_time", "qualification": 0.0, "test_trials": 10, "scenes": 30}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rates, "RESAMPLES", 1000)


def test_three_right_in_a_row_shorten_and_each_wrong_one_lengthens():
    for answers, exposure in (
        ([], 500), ([1, 1], 500), ([1, 1, 1], 470), ([1, 1, 1, 1, 1], 470), ([1, 1, 1] * 2, 440), ([0], 510),
        ([1, 1, 0, 1, 1], 510), ([0, 0, 1, 1, 1], 490), ([1, 1, 1] * 40, 100), ([0] * 60, 1000),
        ([0] * 60 + [1, 1, 1], 970),
    ):  # fmt: skip
        assert next_exposure(RULES, map(bool, answers)) == exposure, answers
    weighted = protocol("hype_time", staircase_right=1, step_down_ms=10, step_up_ms=30)  # To 75% (Kaernbach 1991).
    assert next_exposure(weighted, [True, True, False]) == 510


def test_the_server_decides_each_exposure_and_a_reload_changes_none(make_play, participant, make_store):
    play = make_play(**SHORT)
    alice = participant(play)
    assert alice.state.trial["exposure_ms"] == 500
    alice.vote(verdict="real")
    alice.vote(verdict="real")
    trials, answers = play.study.trials(0, 0), []
    plan = [True, True, True, False, True, True, True, False, False, True]
    for number, right in enumerate(plan):
        expected = next_exposure(RULES, answers)
        assert alice.state.trial["exposure_ms"] == expected
        if number == 4:  # Reloaded before and after its pictures are shown; another server answers the second time.
            assert play.state(alice.secret).trial["exposure_ms"] == expected
            alice.state = play.state(alice.secret)
            alice.look()
            other = type(play)(play.study, make_store(), clock=play.clock)
            alice.state = other.state(alice.secret)
            assert alice.state.trial["seen"] and alice.state.trial["exposure_ms"] == expected
        kind = trials[2 + number].left.kind
        told = kind if right else {"real": "fake", "fake": "real"}[kind]
        ack = alice.vote(verdict=told, exposure_left_ms=float(expected))
        assert ack.feedback is None
        answers.append(right)
    votes = play.store.votes(play.study)
    assert votes["exposure_planned_ms"].tolist() == [500, 500, *(next_exposure(RULES, plan[:n]) for n in range(10))]
    assert alice.state.phase == "done"


def test_the_report_gives_thresholds_and_no_fooling_rate():
    study = made_study(preset="hype_time", epochs=(20, 60), scenes=60, test_trials=60, practice_trials=4)
    votes = staircase_votes(study, 12, {20: 0.1, 60: 0.35}, np.random.default_rng(3))
    report = make_report(study, votes, sessions_of(votes))
    first, last = report["thresholds"]["epochs"]
    (ahead,) = report["thresholds"]["differences"]
    assert (ahead["a"], ahead["b"]) == (60, 20) and ahead["p"] < 0.01 and ahead["participants"] == 24
    assert ahead["difference"] == pytest.approx(last["mean_ms"] - first["mean_ms"])
    assert ahead["interval"][0] < ahead["difference"] < ahead["interval"][1]
    own = votes[(votes["phase"] == "test") & (votes["arm"] == 0)].groupby("session_id")["exposure_planned_ms"]
    assert first["mean_ms"] == pytest.approx(own.apply(lambda ms: ms.iloc[30:].mean()).mean())
    assert 100 <= first["mean_ms"] < last["mean_ms"] <= 1000, "fakes that are harder to tell need longer"
    low, high = first["interval"]
    assert low < first["mean_ms"] < high and len(first["each_ms"]) == first["participants"] == 12
    assert first["trials"] == 12 * 60 and 0.5 < first["accuracy"] < 1
    assert all(e["fooling_rate"] is None and not e["participants_needed"] for e in report["epochs"])
    assert not report["contrasts"] and report["trend"] is None and report["exposure"]["marked"] == 0
    text = to_markdown(report)
    for said in ("The mean threshold for epoch 20 is ", "modal exposure (HYPE)", "| 60 − 20 | +",
                 "adapted to the participant's answers",
                 ". Mean thresholds of exposure: epoch 20, ", "Therefore there is no fooling rate"):
        assert said in text, said
    assert "None" not in text.replace("| None |", "") and "100 to 1000" in caption(report)
    assert set(plots(report)) == {"thresholds", "response-times"}
    votes.loc[votes["session_id"] == votes["session_id"][0], "server_ms"] = 650.0  # Below each trial's own plan.
    left_out = make_report(study, votes, sessions_of(votes))["participants"]["left_out"]
    assert left_out == [{"reason": "impossible times", "count": 1}]


def test_a_threshold_is_the_mean_of_the_second_half():
    who, ms = np.repeat(["a", "b"], 4), [500, 300, 200, 120, 500, 500, 1000, 1000]
    found = statistics.thresholds(ms, [1, 1, 1, 0, 0, 0, 1, 0], who, bounds=(100, 1000), target=0.5, seed=1)
    assert found.each_ms == (160, 1000) and found.mean_ms == 580 and found.accuracy == 0.5
    assert (found.at_least, found.at_most, found.modal_ms) == (0, 1, 310)
    empty = statistics.thresholds([], [], [], bounds=(100, 1000), target=0.5, seed=1)
    assert empty.mean_ms is None and empty.settled is None


def played(threshold_ms, participants, trials=150, seed=5):
    """(exposures, right, participants) by the preset, where 63% are right at a threshold; None: all only guess."""
    rng, rows = np.random.default_rng(seed), []
    for person in range(participants):
        answers = []
        for _ in range(trials):
            ms = next_exposure(RULES, answers)
            steep = 4 * np.log(ms / (threshold_ms or 1)) + np.log(0.26 / 0.74)
            answers.append(bool(rng.random() < (0.5 + 0.5 / (1 + np.exp(-steep)) if threshold_ms else 0.5)))
            rows.append((ms, answers[-1], person))
    return zip(*rows, strict=True)


def test_staircases_that_have_not_settled_are_seen():
    """The attack: hard fakes came out at 720 ms instead of 900, and guessers at 820 ms, as if measured."""
    target = RULES.staircase_target
    assert target == pytest.approx(0.63, abs=0.001)
    for true, settled in ((300, "yes"), (500, "yes"), (900, "short"), (None, "short")):
        found = statistics.thresholds(*played(true, 20), bounds=(100, 1000), target=target, seed=1)
        assert found.settled == settled, (true, found)
        assert settled == "yes" or found.accuracy_interval[1] < target
    assert 4 <= found.unsettled <= 14 and found.at_most >= 1  # The guessers' own answers: at 1%, of one person alone.
    found = statistics.thresholds([150] * 400, np.arange(400) % 10 < 9, np.arange(400) // 100, bounds=(100, 1000),
                                  target=target, seed=1)
    assert found.settled == "long" and found.unsettled == 4


def test_a_report_says_how_far_a_threshold_can_be_trusted():
    study = made_study(preset="hype_time", epochs=(20,), scenes=60, test_trials=30, practice_trials=4)
    votes = staircase_votes(study, 12, {20: 0.5}, np.random.default_rng(3))  # All only guess.
    report = make_report(study, votes, sessions_of(votes))
    (found,) = report["thresholds"]["epochs"]
    assert found["settled"] == "short" and report["thresholds"]["target"] == pytest.approx(0.63, abs=0.001)
    text = to_markdown(report)
    for said in (f"| 20 | ≥ {found['mean_ms']:.0f} ms |", "**Epoch 20: the staircases had not settled.** Too few",
                 f"read it as at least {found['mean_ms']:.0f} ms", "Mean thresholds of exposure: epoch 20, ≥ "):
        assert said in text, said


def test_too_few_trials_to_reach_a_threshold_are_noted():
    said = str(about_reach(protocol("hype_time", test_trials=12)))
    assert said.startswith("with test_trials 12, half a session takes a staircase from 500 ms to 440 ms at")
    assert "To reach 100 and 1000 ms, take --test_trials 350" in str(about_reach(RULES))
    assert about_reach(protocol("hype_time", test_trials=350)) is None and about_reach(protocol("cyclegan2017")) is None


def test_the_interval_of_a_mean_covers_what_it_claims():
    rng, hits = np.random.default_rng(8), 0
    for number in range(400):
        low, high = statistics.mean_interval(rng.gamma(9, 40, 12), number)
        hits += low <= 360 <= high
    assert 0.92 <= hits / 400 <= 0.98  # The usual percentiles cover 92%.
