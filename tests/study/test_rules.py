"""The rules that leave out sessions: what breaks them, what doesn't, and how reports say so."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cyclegan.study.protocol import FORMERLY, PROTOCOLS, Protocol, protocol
from cyclegan.study.report import judge, make_report, to_markdown
from cyclegan.study.report.left_out import alike
from cyclegan.study.rules import (
    FIELDS,
    REASONS,
    active,
    broken_rules,
    fails_vigilance,
    guessing,
    impossible,
    shortest_ms,
    vigilance_needed,
)
from cyclegan.study.statistics import rates
from tests.study.made_up import made_study, made_votes, sessions_of

RNG_SEED = 5
PAIRS = protocol("cyclegan2017")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rates, "RESAMPLES", 1000)


def honest(rules, sessions, rng):
    """What honest people do: a side bias and a pace of their own, and an accident now and then."""
    n = rules.test_trials
    left = rng.random((sessions, n)) < 1 / (1 + np.exp(-rng.normal(0, 0.5, (sessions, 1))))
    response = np.exp(rng.normal(6.5, 0.4, (sessions, 1)) + rng.normal(0, 0.5, (sessions, n)))
    server = shortest_ms(rules) + response + rng.exponential(60, (sessions, n)) - rng.uniform(0, 9, (sessions, n))
    return {
        "first": left, "second": ~left, "response_ms": response, "server_ms": server,
        "resumed": rng.random((sessions, n)) < 0.01, "focus_lost": rng.random((sessions, n)) < 0.03,
    }  # fmt: skip


@pytest.mark.parametrize("rules", [*PROTOCOLS.values(), protocol("cyclegan2017", practice_trials=5, test_trials=20)],
                         ids=lambda rules: rules.label)
def test_every_preset_has_rules_that_leave_out_hardly_anybody_honest(rules):
    assert all(getattr(rules, name) != FORMERLY[name] for name in FIELDS.values())
    without = {"realness": (), "tag": ("one_sided", "guessing")}.get(rules.task, ("guessing",))  # They can't apply.
    assert active(rules) == tuple(rule for rule in FIELDS if rule not in without)
    votes = honest(rules, 4000, np.random.default_rng(RNG_SEED))
    if rules.task == "tag":
        votes |= {"first": votes["first"] & False, "second": votes["first"] & False}
    if rules.task == "rate":  # Fakes that are all bad, and a third of the pictures real.
        rng = np.random.default_rng(RNG_SEED)
        real = np.arange(rules.test_trials) % 3 == 0
        ratings = np.where(real, rng.integers(3, 6, votes["first"].shape), 1 + (rng.random(votes["first"].shape) < 0.1))
        votes = {**votes, "first": ~votes["first"] & False, "second": votes["first"] & False, "rating": ratings}
    for rule, broken in broken_rules(rules, **votes).items():
        assert broken.mean() < 0.01, (rule, broken.mean())


def test_what_breaks_each_rule():
    def broken(rules=PAIRS, **changes):
        n = rules.test_trials
        votes = {
            "first": np.arange(n) % 2 == 0, "second": np.arange(n) % 2 == 1, "response_ms": np.full(n, 700.0),
            "server_ms": np.full(n, shortest_ms(rules) + 760.0), "resumed": np.zeros(n, bool),
            "focus_lost": np.zeros(n, bool),
        }  # fmt: skip
        found = broken_rules(rules, **{**votes, **changes})
        return [rule for rule, it_is in found.items() if it_is]

    first = np.arange(40)
    assert broken() == []
    assert broken(server_ms=np.where(first < 4, 300.0, 2400.0)) == []  # A tenth.
    assert broken(server_ms=np.where(first < 5, 300.0, 2400.0)) == ["impossible"]
    assert broken(server_ms=np.full(40, np.nan)) == [], "another tool's votes have no server"
    assert broken(response_ms=np.full(40, 60.0)) == ["fast"]
    assert broken(server_ms=np.full(40, 1610.0)) == ["fast"], "the server saw no 700 ms after the pictures"
    assert broken(response_ms=np.where(first < 20, 60.0, 700.0)) == []
    assert broken(first=first < 36, second=first >= 36) == broken(first=first >= 36, second=first < 36) == ["one_sided"]
    assert broken(first=first < 35, second=first >= 35) == []
    assert broken(focus_lost=first < 12) == [] and broken(focus_lost=first < 13) == ["away"]
    # Whoever reloads each trial after it was revealed sees no picture, and claims no time.
    reloaded = {"resumed": np.ones(40, bool), "response_ms": np.full(40, np.nan), "server_ms": np.full(40, 30.0)}
    assert broken(**reloaded) == ["away"]
    short = dataclasses.replace(PAIRS, practice_trials=2, test_trials=6)
    assert broken(short, first=np.ones(6, bool), second=np.zeros(6, bool)) == [], "six alike are chance"
    rating, none = protocol("mos"), np.zeros(40, bool)
    same = {"first": none, "second": none, "server_ms": np.full(40, 2000.0)}
    assert broken(rating, **same, rating=np.where(first < 38, 3, 4)) == ["one_sided"]
    assert broken(rating, **same, rating=np.where(first < 37, 3, 4)) == []
    assert broken(rating, **same, rating=np.where(first < 9, 3.0, np.nan)) == [], "nine alike may be the pictures"
    old = Protocol.from_json({"name": "old"})
    assert active(old) == () and broken(old, server_ms=np.full(40, 1.0), first=first < 40, second=first > 40) == []


def test_impossible_times_follow_from_the_plan():
    assert shortest_ms(PAIRS) == 1600
    assert shortest_ms(protocol("cyclegan2017", presentation="sequence")) == 3200
    assert shortest_ms(PROTOCOLS["hype_infinity"]) == 600
    assert impossible(PAIRS, [410, 1499, 1501, 1610, np.nan]).tolist() == [True, True, False, False, False]
    assert not impossible(PAIRS, 20.0, resumed=True)


@pytest.mark.parametrize(("rate", "least", "most"), [(0.05, 0.9, 1), (0.27, 0.1, 0.5), (0.5, 0, 0)])
def test_guessers_are_left_out_where_others_see_the_difference(rate, least, most):
    rng = np.random.default_rng(RNG_SEED)
    wrong, caught = [], []
    for _ in range(60):
        fooled = rng.beta(rate * 19, (1 - rate) * 19, 25)
        fooled[:2] = 0.5
        out = guessing(PAIRS, 40 - rng.binomial(40, fooled), np.full(25, 40))
        caught.append(out[:2].mean())
        wrong.append(out[2:].mean())
    assert np.mean(wrong) < 0.02
    assert least <= np.mean(caught) <= most
    assert not guessing(PAIRS, [20, 40, 40, 40], [40] * 4).any(), "too few others"
    assert not guessing(dataclasses.replace(PAIRS, guessing_p=0.0), [20] + [40] * 9, [40] * 10).any()
    assert guessing(PAIRS, [20] + [39] * 9, [40] * 10).tolist() == [True] + [False] * 9


def changed(votes, participant, **columns):
    """The votes, with other values in one participant's columns."""
    rows = votes["participant"] == participant
    votes = votes.copy()
    for name, value in columns.items():
        votes[name] = votes[name].mask(rows, value)
    return votes


def test_reports_leave_out_by_rule_and_print_the_rules_and_the_figure_with_them():
    study = made_study(epochs=(20,))
    votes = made_votes(study, 12, {20: 0.1})
    plain = make_report(study, votes, sessions_of(votes))
    assert [each["sessions"] for each in plain["rules"]] == [0] * 5 and plain["epochs"][0]["with_left_out"] is None
    votes = changed(votes, "P000", server_ms=200.0)
    votes = changed(votes, "P001", chosen_side="left")
    votes = changed(votes, "P002", response_ms=20.0)
    votes = changed(votes, "P003", focus_lost=True)
    one = (votes["participant"] == "P004") & (votes["trial_index"] == 30)
    votes.loc[one, "server_ms"] = 90.0
    judged = judge(study, votes)
    status = judged.drop_duplicates("participant").set_index("participant")["session_status"]
    broken = [REASONS[rule] for rule in ("impossible", "one_sided", "fast", "away")]
    assert status.loc["P000":"P004"].tolist() == [*broken, ""]
    assert judged.loc[one, "why_not"].tolist() == ["impossible time"] and judged.loc[one, "impossible"].all()
    report = make_report(study, votes, sessions_of(votes))
    assert [each["sessions"] for each in report["rules"]] == [1, 1, 1, 1, 0]
    assert report["participants"]["counted"] == 8 and report["trials"] == 8 * 40 - 1
    assert [each["reason"] for each in report["participants"]["left_out"]] == sorted(broken)
    with_them = report["epochs"][0]["with_left_out"]
    assert with_them["participants"] == 12 and with_them["trials"] == 480
    text = to_markdown(report)
    assert "before their pictures could have been shown, which takes 1600 ms" in text and "with them" in text
    assert "Answered before the pictures could have been shown, and so not counted: 1 vote." in text
    for name in FIELDS.values():
        assert f"| `{name}` |" in text


def test_reports_count_those_left_out_by_epoch_and_warn_where_practice_qualifies():
    study = made_study(epochs=(20, 60))
    votes = made_votes(study, 4, {20: 0.1, 60: 0.3})  # P000, P002, … judge epoch 20.
    votes["language"] = votes["language"].mask(votes["participant"] == "P004", "ko")
    votes["server_time"] = votes["server_time"].mask(votes["participant"] == "P006", "2026-07-09T01:00:00+00:00")
    plain = make_report(study, votes, sessions_of(votes))
    assert [each["reasons"] for each in plain["left_out_by_epoch"]] == [{}, {}]
    assert plain["votes"] == {"first": "2026-07-05", "last": "2026-07-09", "languages": {"en": 7, "ko": 1}}
    text = to_markdown(plain)
    assert "from 2026-07-05 to 2026-07-09 (UTC); languages of participants: en: 7, ko: 1." in text
    assert "sessions by epoch" not in text
    votes = changed(changed(votes, "P000", server_ms=200.0), "P001", chosen_side="left")
    text = to_markdown(make_report(study, votes, sessions_of(votes)))
    assert "| 20 | 4 | 1 | 0 | 3 |" in text and "| 60 | 4 | 0 | 1 | 3 |" in text and "with caution" not in text
    votes = changed(votes, "P003", disqualified=True, completed=False)
    text = to_markdown(make_report(study, votes, sessions_of(votes)))
    assert "| 60 | 4 | 1 | 0 | 1 | 2 |" in text and "compare epochs with caution where these numbers differ" in text
    sessions = sessions_of(votes)
    left = sessions.iloc[[0]].assign(session_id="f" * 32, participant="P009", arm=1, completed=False)
    (_, late) = make_report(study, votes, pd.concat([sessions, left]))["left_out_by_epoch"]
    assert late["sessions"] == 5 and late["reasons"]["session not complete"] == 1 and late["counted"] == 2


def test_a_study_from_before_the_rules_counts_as_it_did():
    study = made_study(epochs=(20,))
    old = dataclasses.replace(study, protocol=dataclasses.replace(study.protocol, **FORMERLY))
    assert not FORMERLY.keys() & old.protocol.to_json().keys() and old.protocol.label == "cyclegan2017"
    assert Protocol.from_json(old.protocol.to_json()) == old.protocol
    votes = changed(made_votes(old, 6, {20: 0.1}), "P000", server_ms=1.0, chosen_side="left", focus_lost=True)
    report = make_report(old, votes, sessions_of(votes))
    assert report["participants"]["counted"] == 6 and report["rules"] == [] and report["exposure"]["impossible"] == 0
    assert "Rules that leave out" not in to_markdown(report)


def test_vigilance_has_a_pass_mark_in_the_preset_that_has_it():
    rules = protocol("colorization2016")
    assert (rules.counts["vigilance"], rules.vigilance_pass) == (4, 0.75)
    assert protocol("colorization2016", vigilance_share=0.0).vigilance_pass == 0
    assert vigilance_needed(rules) == 3 and vigilance_needed(protocol("cyclegan2017")) == 0
    assert [fails_vigilance(rules, right / 4) for right in range(5)] == [True, True, True, False, False]
    assert not fails_vigilance(rules, float("nan"))  # A session without any.
    study = made_study(preset="colorization2016", epochs=(20,), scenes=110, broken=8)
    votes = made_votes(study, 6, {20: 0.2}, seed=2)
    watched = (votes["participant"] == "P001") & (votes["kind"] == "vigilance")
    votes.loc[watched, "chosen_side"] = votes.loc[watched, "real_side"]  # Took the broken picture for real.
    report = make_report(study, votes, sessions_of(votes))
    assert report["rules"][0] == {"rule": "vigilance trials right: fewer than 3 of 4", "sessions": 1}
    assert report["vigilance"]["failed"] == 1 and report["epochs"][0]["with_left_out"]["participants"] == 6


def test_sessions_that_look_like_one_person_are_listed_and_count():
    study = made_study(epochs=(20,))
    votes = made_votes(study, 6, {20: 0.2})
    same = votes["participant"].isin(["P001", "P002"])
    votes["response_ms"] = votes["response_ms"].mask(same, 500 + 7.0 * votes["trial_index"])
    votes = changed(votes, "P005", response_ms=votes["response_ms"] * 2)
    sessions = sessions_of(votes)
    screens = [{"width": 390 + (n > 4), "height": 844, "dpr": 3} for n in range(6)]
    sessions["screen"] = screens
    sessions["address_code"] = ["aaaa", "bbbb", "bbbb", "cccc", "dddd", "dddd"]
    report = make_report(study, votes, sessions)
    names = sessions["session_id"]
    assert report["alike"] == [{"sessions": [names[1], names[2]], "shared": ["address", "screen", "rhythm"],
                                "counted": [names[1], names[2]]}]  # fmt: skip
    assert report["participants"]["counted"] == 6
    text = to_markdown(report)
    assert f"{names[1][:8]}, {names[2][:8]}: same address and screen and rhythm." in text and "P001" not in text
    votes.loc[votes["participant"] == "P002", "chosen_side"] = "left"
    part = to_markdown(make_report(study, votes, sessions))
    assert f"{names[1][:8]}, {names[2][:8]} (doesn't count): same address" in part
    assert "`study exclude` takes such a number in place of the participant's name" in text
    sessions["screen"] = [{}] * 6
    assert [each["shared"] for each in alike(judge(study, votes), sessions)] == [["address", "rhythm"]]
    sessions["address_code"] = None
    assert alike(judge(study, votes), sessions) == []
