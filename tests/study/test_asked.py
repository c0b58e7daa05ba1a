"""Consent and answers in reports and exports."""

import dataclasses
import json

import pandas as pd
import pytest

from cyclegan.__main__ import main
from cyclegan.study.report import make_report, to_markdown, to_session_table
from cyclegan.study.session import StudySessions
from cyclegan.study.store import Store
from tests.study.asked import CONSENT, KOREAN_SHA256, QUESTIONS


@pytest.fixture
def played(small_study, participant):
    """A study that three have taken part in, of whom one has stopped at the questions."""
    study = small_study(asks={"consent": CONSENT, "questions": QUESTIONS}, results="open")
    with Store(f"sqlite:///{study.folder / 'votes.sqlite3'}") as store:
        play = StudySessions(study, store)
        for name, before in (
            ("ada", {"age": 20, "edits": 0, "hours": 3}), ("bob", {"age": 31.5, "edits": 2}), ("cleo", None)
        ):  # fmt: skip
            one = participant(play, name, consent=CONSENT.sha256)
            if before is not None:
                one.state = play.reply(one.secret, "before", before)
                one.finish(lambda state: {"chosen_side": ("left", "right")[state.number % 2]})
                play.reply(one.secret, "after", {"how": "By | the sky" if name == "ada" else None})
        yield study, store


def test_the_report_counts_answers_and_repeats_no_text(played):
    study, store = played
    report = make_report(study, store.votes(study), store.sessions(study))
    assert report["participants"]["counted"] == 2
    assert report["consent"] == {"version": "1.2", "ethics": "EK-2026-07", "sha256": CONSENT.sha256,
                                 "translations": {"ko": KOREAN_SHA256}}  # fmt: skip
    age, edits, hours, screen, how = report["questions"]
    assert (age["answers"], age["median"], age["range"]) == (2, 25.75, [20, 31.5])
    assert [each["count"] for each in edits["options"]] == [1, 0, 1] and screen["left_out"] == 2
    assert (hours["answers"], hours["left_out"], hours["median"]) == (1, 1, 3)
    assert how == {"id": "how", "when": "after", "kind": "text", "text": "How did you decide?", "answers": 1,
                   "left_out": 1, "not_reached": 0}  # fmt: skip
    text = to_markdown(report)
    assert "version 1.2 of the study's consent, under ethics approval EK-2026-07" in text
    assert "| How old are you? | before | median 25.75 (quartiles 22.875 and 28.625; 20 to 31.5) | 2 | 0 | 0 |" in text
    assert "| Never: 1; Sometimes: 0; Often: 1 |" in text and "1 text, in the export only" in text
    assert "By | the sky" not in text + json.dumps(report)


def test_who_never_reached_a_question_did_not_leave_it_out(small_study, participant, make_store):
    """Four who finish the pictures count, though they close the page at the last questions, required or not."""
    study = small_study(asks={"questions": (QUESTIONS[3], dataclasses.replace(QUESTIONS[4], required=True))},
                        results="open")  # fmt: skip
    store = make_store(f"sqlite:///{study.folder / 'votes.sqlite3'}")
    play = StudySessions(study, store)
    for name in ("ada", "bob", "cleo", "dan", "eve"):
        one = participant(play, name)
        one.state = play.reply(one.secret, "before", {"screen": None if name == "bob" else 1})
        one.finish(lambda state: {"chosen_side": ("left", "right")[state.number % 2]})
    play.reply(one.secret, "after", {"how": "By the sky"})
    report = make_report(study, store.votes(study), store.sessions(study))
    figures = [(each["answers"], each["left_out"], each["not_reached"]) for each in report["questions"]]
    assert report["participants"]["counted"] == 5 and figures == [(4, 1, 0), (1, 0, 4)]
    assert "1 text, in the export only | 1 | 0 | 4 |" in to_markdown(report)


def test_an_exclusion_before_any_vote_has_its_reason_in_the_table(small_study, participant, make_store):
    study = small_study()
    store = make_store(f"sqlite:///{study.folder / 'votes.sqlite3'}")
    for name in ("ada", "bob"):
        participant(StudySessions(study, store), name)
    store.exclude(study, "ada", "a colleague")
    votes, sessions = store.votes(study), store.sessions(study)
    reasons = to_session_table(study, votes, sessions)["why_not"].tolist()
    assert reasons == ["excluded: a colleague", "session not complete"]
    left_out = make_report(study, votes, sessions)["participants"]["left_out"]
    assert {each["reason"] for each in left_out} == set(reasons)


def test_results_that_are_closed_count_no_answers(small_study, participant, make_store):
    study = small_study(asks={"questions": QUESTIONS[:1]}, results="closed", planned_participants=5)
    store = make_store(f"sqlite:///{study.folder / 'votes.sqlite3'}")
    play = StudySessions(study, store)
    one = participant(play)
    one.state = play.reply(one.secret, "before", {"age": 20})
    one.finish()
    report = make_report(study, store.votes(study), store.sessions(study))
    assert report["participants"]["counted"] == 1 and report["questions"] == []  # Rather than a false zero.


def test_the_table_of_sessions(played, tmp_path, capsys):
    study, store = played
    table = to_session_table(study, store.votes(study), store.sessions(study))
    ada, bob, cleo = table.to_dict("records")
    assert (ada["participant"], ada["answer_age"], ada["answer_edits"], ada["answer_how"]) == (
        "ada", 20, "Never", "By | the sky"
    )  # fmt: skip
    assert ada["counted"] and ada["code"] and ada["screen_width"] == 390 and ada["consent_sha256"] == CONSENT.sha256
    assert pd.isna(bob["answer_how"]) and pd.isna(cleo["answer_age"]) and cleo["why_not"] == "session not complete"
    store.exclude(study, "cleo", "a test of ours")  # Before the first vote.
    why = to_session_table(study, store.votes(study), store.sessions(study))["why_not"].tolist()
    assert why[2] == "excluded: a test of ours" and pd.isna(why[0])
    written = tmp_path / "sessions.csv"
    assert main(["study", "export", str(study.folder), "--table", "sessions", "--output", str(written)]) == 0
    assert "3 sessions of tiny" in capsys.readouterr().out
    assert pd.read_csv(written)["answer_age"].tolist()[:2] == [20, 31.5]
