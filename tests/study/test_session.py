"""The rules of play, on SQLite and on a real PostgreSQL: who may see what, once, and which votes count."""

import dataclasses
import json
import math
import pickle
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
import sqlalchemy as sa

from cyclegan.study import admission
from cyclegan.study import session as rules
from cyclegan.study import store as db
from cyclegan.study.refusals import SessionError
from cyclegan.study.store import tables

SCREEN = {"width": 1280, "height": 800, "dpr": 1, "refresh_hz": 60}
KEY = "k" * 32


def refused(call, *arguments, **options):
    """The code with which a call is refused."""
    with pytest.raises(SessionError) as caught:
        call(*arguments, **options)
    assert 10 < len(str(caught.value)) < 200
    return caught.value.code


def begin(play, name="alice", **options):
    return play.begin(name, **{"language": "en", "screen": SCREEN, "address": None, **options})


def at_once(*calls):
    """What calls return, or the error they raise, when threads make them at the same instant."""
    barrier = threading.Barrier(len(calls))

    def run(call):
        barrier.wait()
        try:
            return call()
        except SessionError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def incidents(play):
    return play.store.incidents(play.study)["kind"].tolist()


# --- the way through ----------------------------------------------------------------------------------------


ON_SCREEN = {
    "exposure_left_clock_ms": 998.5, "exposure_right_clock_ms": 1001.25, "picture_css_px": 282.9,
    "picture_device_px": 848.7, "window_width": 390, "window_height": 844, "stacked": True,
}  # fmt: skip


def test_a_whole_session(make_play, participant, clock):
    play = make_play(completion_url="https://example.org/done?cc={code}&p={participant}", show_score="yes")
    alice = participant(play, "Ålice & co")
    seen = []
    while alice.state.trial is not None:
        state = alice.state
        trial = play.study.trials(0, 0)[len(seen)]
        clock.pass_(0.5)
        alice.look()
        clock.pass_(0.64)
        ack = play.vote(alice.secret, alice.token, alice.answer(chosen_side=trial.real_side, **ON_SCREEN))
        assert ack.recorded and not ack.duplicate
        assert ack.feedback == ({"correct": True, "real_side": trial.real_side} if len(seen) < 2 else None)
        alice.state = ack.next
        seen.append((state.phase, state.number, state.of))
    assert seen == [("practice", n, 2) for n in (1, 2)] + [("test", n, 6) for n in range(1, 7)]
    done = alice.state
    assert (done.phase, done.trial, done.score) == ("done", None, {"correct": 6, "of": 6})
    assert len(done.code) == 8 and done.url == f"https://example.org/done?cc={done.code}&p=%C3%85lice%20%26%20co"
    assert play.state(alice.secret) == done

    votes = play.store.votes(play.study)
    trials = play.study.trials(0, 0)
    assert votes["trial_index"].tolist() == list(range(8)) and votes["completed"].all()
    for column, of_trial in {
        "phase": lambda t: t.phase, "kind": lambda t: t.kind, "left_stimulus": lambda t: t.left.sha256,
        "right_stimulus": lambda t: t.right.sha256, "real_side": lambda t: t.real_side,
        "chosen_side": lambda t: t.real_side, "commit_sha": lambda t: play.study.commit_sha(t.epoch),
    }.items():  # fmt: skip
        assert votes[column].tolist() == [of_trial(t) for t in trials]
    for side in ("left", "right"):
        epochs = [None if vote is pd.NA else vote for vote in votes[f"epoch_{side}"]]
        assert epochs == [getattr(t, side).epoch for t in trials]
    assert votes["server_ms"].tolist() == pytest.approx([2250 + 640] * 8, abs=0.01)
    assert set(votes["exposure_planned_ms"]) == {1000} and set(votes["exposure_left_ms"]) == {1000.5}
    assert not votes["resumed"].any() and set(votes["response_ms"]) == {640}
    assert all(votes[name].tolist() == [value] * 8 for name, value in ON_SCREEN.items())


def test_nothing_tells_real_from_fake_before_feedback(make_play, participant):
    play = make_play(vigilance_share=0.2, repeat_share=0.2)
    alice, said = participant(play), []
    while alice.state.trial is not None:
        said.append(alice.state.to_json())
        ack = alice.vote()
        said.append(dataclasses.replace(ack, next=None).to_json() if ack.feedback is None else {})
    for message in said:
        text = json.dumps(message)
        assert not any(word in text for word in ("real", "fake", "epoch", "kind", "vigilance", "repeat", "comparison"))
        assert not any(s.sha256[:16] in text for s in play.study.stimuli)
    fields = {"phase", "number", "of", "trial", "score", "code", "url"}
    assert set(said[0]) == fields and set(said[0]["trial"]) == {"token", "left", "right", "seen"}


def test_the_pictures_are_those_of_the_trial(make_play, participant):
    play = make_play()
    alice, trials = participant(play), play.study.trials(0, 0)
    for trial in trials:
        for side in ("left", "right"):
            path = play.study.stimulus_path(getattr(trial, side).sha256)
            assert play.stimulus(alice.state.trial[side]) == path.read_bytes()
            assert refused(play.stimulus, alice.state.trial[side]) == "gone"
        play.reveal(alice.secret, alice.token)
        alice.state = play.vote(alice.secret, alice.token, alice.answer()).next
    assert refused(play.stimulus, "nothing") == refused(play.stimulus, None) == "not_found"


def test_the_question_decides_what_is_right(make_play, participant):
    play = make_play(preset="pix2pix2017")
    fooled = participant(play, "fooled")
    ack = fooled.vote(chosen_side=play.study.trials(0, 0)[0].real_side)  # Took the real one for the fake.
    assert ack.feedback["correct"] is False


def test_one_picture_at_a_time(make_play, participant):
    play = make_play(preset="hype_infinity", qualification=0.0, show_score="yes")
    alice = participant(play)
    assert alice.state.trial["right"] is None
    truth = ["real" if t.left.kind == "real" else "fake" for t in play.study.trials(0, 0)]
    assert alice.vote(verdict=truth[0]).feedback == {"correct": True, "truth": truth[0]}
    assert alice.vote(verdict="fake" if truth[1] == "real" else "real").feedback["correct"] is False
    alice.finish(lambda state: {"verdict": "real"})
    assert alice.state.score == {"correct": truth[2:].count("real"), "of": 6}
    votes = play.store.votes(play.study)
    assert votes["exposure_left_ms"].isna().all() and votes["chosen_side"].isna().all()  # Unlimited exposure.
    assert votes["real_side"].isna().all() and votes["right_stimulus"].isna().all()


def test_picking_and_tagging_have_no_right_answer(make_play, participant, small_study):
    pick = make_play(preset="pick", name="pick")
    alice = participant(pick).finish(lambda state: {"chosen_side": "tie"})
    assert (alice.state.phase, alice.state.score) == ("done", None)
    vote = pick.store.votes(pick.study).iloc[0]
    assert vote["chosen_side"] == "tie" and {vote["epoch_left"], vote["epoch_right"]} == {1, 2}
    shas = [pick.study.commit_sha(int(vote[f"epoch_{side}"])) for side in ("left", "right")]
    assert vote["commit_sha"].split() == shas

    tag = make_play(preset="tag", name="tag")
    marks = [{"tag": "blur", "box": [0, 0.25, 1, 0.75]}, {"tag": "other", "box": None}]
    alice = participant(tag).finish(lambda state: {"marks": marks})
    assert (alice.state.phase, alice.state.score) == ("done", None)
    assert all(kept == marks for kept in tag.store.votes(tag.study)["marks"])


@pytest.mark.parametrize("disqualified", [False, True])
def test_a_preview_ends_without_what_proves_that_somebody_took_part(
    small_study, store, clock, participant, disqualified
):
    fields = {"preset": "hype_infinity", "practice_trials": 3, "qualification": 1.0} if disqualified else {}
    study = small_study(completion_code="PAID", completion_url="https://example.org/?cc={code}", **fields)
    ada = participant(rules.StudySessions(study, store, preview=True, clock=clock)).finish()
    assert ada.state.phase == ("disqualified" if disqualified else "done")
    assert ada.state.code is None and ada.state.url is None
    assert ada.play.state(ada.secret).code is None


def test_the_same_code_for_everyone_if_the_study_has_one(make_play, participant):
    play = make_play(completion_code="C1F00D", completion_url="https://example.org/{participant}")
    alice = participant(play, None).finish()
    # A name that the server made up is nobody's business.
    assert alice.state.code == "C1F00D" and alice.state.url == "https://example.org/"
    assert play.store.sessions(play.study)["participant"][0].startswith("anonymous-")


@pytest.mark.parametrize(("right", "phase"), [(2, "test"), (1, "disqualified")])
def test_qualification_ends_a_session_after_practice(make_play, participant, right, phase):
    play = make_play(preset="hype_infinity", practice_trials=3, completion_code="PAID", qualification=2 / 3)
    truth = ["real" if t.left.kind == "real" else "fake" for t in play.study.trials(0, 0)]
    alice = participant(play)
    for n in range(3):
        wrong = "fake" if truth[n] == "real" else "real"
        alice.vote(verdict=truth[n] if n < right else wrong)
    assert alice.state.phase == phase
    kept = play.store.sessions(play.study).iloc[0]
    assert kept["disqualified"] == (phase == "disqualified") and not kept["completed"]
    if phase == "disqualified":
        assert alice.state.trial is None and alice.state.code not in (None, "PAID") and alice.state.url is None
        assert play.state(alice.secret) == alice.state and refused(begin, play) == "taken"


# --- who takes part -----------------------------------------------------------------------------------------


def test_one_session_per_participant_and_study(make_play, small_study, store, clock):
    play, other = make_play(name="one"), make_play(name="two", seed=2)
    begin(play)
    assert refused(begin, play) == refused(begin, play, " alice ") == "taken"
    begin(other)
    simulated = rules.StudySessions(play.study, store, origin="simulated", clock=clock)
    assert refused(begin, simulated) == "taken"
    begin(play, None), begin(play, None)
    assert len(store.sessions(play.study)) == 3


def test_who_has_taken_part_is_told_before_anything_is_stored(make_play, store, clock):
    play = make_play(login="huggingface")
    play.check("alice")
    play.check(None)
    assert store.sessions(play.study).empty
    begin(play, key="k" * 32)
    assert refused(play.check, "alice") == refused(play.check, " alice ", key="j" * 32) == "taken"
    play.check("alice", key="k" * 32)  # Whoever began it, and lost the answer.
    play.check("bob")
    simulated = rules.StudySessions(play.study, store, origin="simulated", clock=clock)
    assert refused(simulated.check, "alice", key="k" * 32) == "taken"
    assert refused(play.check, "a\nb") == "bad_participant" and refused(play.check, "bob", key="short") == "bad_answer"
    assert len(store.sessions(play.study)) == 1


def test_one_session_also_when_they_begin_at_the_same_instant(make_play, make_store, clock):
    study = make_play().study
    plays = [rules.StudySessions(study, make_store(), clock=clock) for _ in range(2)]
    results = at_once(*(lambda n=n: begin(plays[n % 2]) for n in range(6)))
    assert sorted(getattr(r, "code", "begun") for r in results) == ["begun"] + ["taken"] * 5


def test_arms_and_slots_are_filled_evenly_also_at_the_same_instant(make_play, make_store, clock):
    study = make_play().study
    plays = [rules.StudySessions(study, make_store(), clock=clock) for _ in range(2)]
    results = at_once(*(lambda n=n: begin(plays[n % 2], f"p{n}") for n in range(12)))
    assert not [r for r in results if isinstance(r, Exception)]
    places = plays[0].store.sessions(plays[0].study)[["arm", "slot"]]
    assert sorted(map(tuple, places.to_numpy())) == [(arm, slot) for arm in (0, 1) for slot in range(6)]


def test_a_session_that_does_not_count_leaves_its_place_to_another(make_play, participant, clock):
    play = make_play()

    def arms(count):
        names = [f"{len(play.store.sessions(play.study))}-{n}" for n in range(count)]
        for name in names:
            begin(play, name)
        kept = play.store.sessions(play.study)
        return Counter(kept["arm"][kept["participant"].isin(names)])

    participant(play, "counts").finish()
    begin(play, "gives up")
    assert arms(2) == {0: 1, 1: 1}
    clock.pass_(hours=2.01)  # Only the completed one in arm 0 is left.
    assert arms(1) == {1: 1}
    play.store.exclude(play.study, "counts", "looked at the wrong screen")
    assert arms(2) == {0: 2}


@pytest.mark.parametrize("name", ["", "   ", "x" * 129, "a\nb", "a\0b", "\ud800", 5, ["a"], "x" * 10**6])
def test_bad_participants(make_play, name):
    assert refused(begin, make_play(), name) == "bad_participant"


def test_whatever_the_browser_says_of_itself_is_only_kept_if_it_makes_sense(make_play):
    play = make_play()
    begin(play, "a", language="<script>", screen={"width": math.nan, "height": 800, "agent": "x" * 10**6})
    begin(play, "b", language="ko-KR", screen="no")
    kept = play.store.sessions(play.study).sort_values("participant")
    assert kept["language"].tolist() == ["", "ko-KR"] and kept["screen"].tolist() == [{"height": 800}, {}]


def test_a_lost_reply_locks_nobody_out(make_play):
    play = make_play()
    secret, first = begin(play, key=KEY)
    again, state = begin(play, key=KEY)
    assert again == secret and state.trial["token"] != first.trial["token"]
    assert play.state(secret).phase == "practice" and len(play.store.sessions(play.study)) == 1
    assert refused(begin, play, key="j" * 32) == "taken" and refused(begin, play, "bob", key="short") == "bad_answer"
    assert begin(play, None, key=KEY)[0] == begin(play, None, key=KEY)[0] != secret


def test_a_class_behind_one_address_passes_and_a_flood_does_not(make_play, clock, monkeypatch):
    assert admission.SESSIONS_PER_ADDRESS >= 200
    monkeypatch.setattr(admission, "SESSIONS_PER_ADDRESS", 3)
    play = make_play()
    for n in range(3):
        begin(play, f"p{n}", address="192.0.2.7")
    assert refused(begin, play, "late", address="192.0.2.7") == "too_many" and incidents(play) == ["too_many"]
    begin(play, "elsewhere", address="192.0.2.8")
    clock.pass_(601)
    begin(play, "late", address="192.0.2.7")


def test_addresses_are_salted_hashes_that_expire(make_play, store, clock):
    play = make_play()
    begin(play, "a", address="192.0.2.7")

    def kept():
        return store.read(lambda c: c.scalars(sa.select(db.addresses.c.hash)).all())

    (hashed,) = kept()
    assert len(bytes.fromhex(hashed)) == 32
    clock.pass_(hours=23.9)
    begin(play, "b", address="192.0.2.8")
    assert hashed in kept() and len(kept()) == 2
    clock.pass_(hours=0.2)
    begin(play, "c", address=None)
    assert hashed not in kept() and len(kept()) == 1


# --- resuming -----------------------------------------------------------------------------------------------


def test_new_tokens_make_older_ones_useless(make_play, participant):
    play = make_play()
    alice = participant(play)
    old = alice.state
    alice.state = play.state(alice.secret)
    assert refused(play.stimulus, old.trial["left"]) == "gone"
    assert refused(play.reveal, alice.secret, old.trial["token"]) == "stale_token"
    alice.look()
    assert refused(play.vote, alice.secret, old.trial["token"], alice.answer()) == "stale_token"
    ack = play.vote(alice.secret, alice.token, alice.answer())
    assert ack.next.number == 2 and incidents(play) == ["stale_token"] * 2


def test_a_trial_that_was_shown_is_never_shown_again(make_play, participant):
    play = make_play()
    alice = participant(play)
    alice.look()
    alice.state = play.state(alice.secret)  # A reload.
    assert alice.state.trial["seen"] and alice.state.trial["left"] is alice.state.trial["right"] is None
    assert refused(play.reveal, alice.secret, alice.token) == "out_of_order"
    blank = {"exposure_left_ms": None, "exposure_right_ms": None, "response_ms": None}
    ack = play.vote(alice.secret, alice.token, alice.answer(**blank))
    assert ack.next.number == 2 and not ack.next.trial["seen"]
    alice.state = ack.next
    alice.vote()
    votes = play.store.votes(play.study)
    assert votes["resumed"].tolist() == [True, False] and votes["response_ms"].isna().tolist() == [True, False]


def test_a_session_goes_on_in_another_server(make_play, make_store, participant, clock):
    play = make_play()
    alice = participant(play)
    for _ in range(3):
        alice.vote()
    play.store.close()
    alice.play = rules.StudySessions(play.study, make_store(), clock=clock)
    alice.state = alice.play.state(alice.secret)
    assert (alice.state.phase, alice.state.number) == ("test", 2)
    assert alice.finish().state.phase == "done"


def test_tokens_are_not_issued_for_ever(make_play, participant, monkeypatch):
    monkeypatch.setattr(rules, "MAX_ISSUES", 3)
    play = make_play()
    alice = participant(play)
    play.state(alice.secret)
    alice.state = play.state(alice.secret)
    assert refused(play.state, alice.secret) == "too_many"
    assert alice.vote().next.number == 2  # The last ones are good.
    play.state(alice.secret)


def test_two_tabs_at_the_same_instant_leave_one_good_token(make_play, make_store, participant, clock):
    play = make_play()
    other = rules.StudySessions(play.study, make_store(), clock=clock)
    alice = participant(play)
    states = at_once(*(lambda p=p: p.state(alice.secret) for p in (play, other) * 3))
    assert len({state.trial["token"] for state in states}) == 6
    good = []
    for state in states:
        try:
            good.append(play.stimulus(state.trial["left"]))
        except SessionError as error:
            assert error.code == "gone"
    assert len(good) == 1


def test_sessions_run_out(make_play, participant, clock):
    play = make_play()
    alice, done = participant(play), participant(play, "done").finish()
    for _ in range(3):
        alice.vote()
    alice.look()
    clock.pass_(hours=24.01)
    assert refused(play.vote, alice.secret, alice.token, alice.answer()) == "late"
    state = play.state(alice.secret)
    assert (state.phase, state.trial, state.number, state.of) == ("expired", None, 2, 6)
    assert play.state(done.secret).phase == "done"
    assert len(play.store.votes(play.study)) == 3 + 8 and incidents(play) == ["late"]


def test_pictures_and_reveals_of_a_session_that_ran_out(make_play, participant, clock):
    play = make_play()
    alice = participant(play)
    clock.pass_(hours=24.01)
    assert refused(play.stimulus, alice.state.trial["left"]) == "gone"
    assert refused(play.reveal, alice.secret, alice.token) == "late"


# --- votes that don't count ---------------------------------------------------------------------------------


def test_a_vote_needs_the_pictures_to_have_been_shown(make_play, participant):
    play = make_play()
    alice = participant(play)
    assert refused(play.reveal, alice.secret, alice.token) == "out_of_order"  # Not fetched.
    play.stimulus(alice.state.trial["left"])
    assert refused(play.reveal, alice.secret, alice.token) == "out_of_order"
    play.stimulus(alice.state.trial["right"])
    assert refused(play.vote, alice.secret, alice.token, alice.answer()) == "not_revealed"
    play.reveal(alice.secret, alice.token)
    play.reveal(alice.secret, alice.token)
    assert play.vote(alice.secret, alice.token, alice.answer()).recorded
    assert incidents(play) == ["out_of_order"] * 2 + ["not_revealed"]


def test_the_same_vote_again_is_acknowledged_and_changes_nothing(make_play, participant):
    play = make_play()
    alice = participant(play)
    alice.look()
    token, answer = alice.token, alice.answer()
    first = play.vote(alice.secret, token, answer)
    again = play.vote(alice.secret, token, {**answer, "response_ms": 900})
    # Its tokens are the same ones: a retry that arrives late must not take the next trial from under the page.
    assert again == dataclasses.replace(first, duplicate=True)
    alice.state = again.next
    alice.vote(), alice.vote()
    assert play.vote(alice.secret, token, answer).next == alice.state
    votes = play.store.votes(play.study)
    assert len(votes) == 3 and votes["response_ms"][0] == 640 and incidents(play) == []
    alice.vote()


def test_the_last_vote_again_ends_as_before(make_play, participant, clock):
    play = make_play()
    alice = participant(play)
    while (alice.state.phase, alice.state.number) != ("test", 6):
        alice.vote()
    alice.look()
    first = play.vote(alice.secret, alice.token, alice.answer())
    clock.pass_(hours=30)
    again = play.vote(alice.secret, alice.token, alice.answer())
    assert first.next.phase == "done" and again == dataclasses.replace(first, duplicate=True)


def test_a_replayed_vote_with_another_answer(make_play, participant):
    play = make_play()
    alice = participant(play)
    token = alice.token
    alice.vote(chosen_side="left")
    assert refused(play.vote, alice.secret, token, alice.answer(chosen_side="right")) == "out_of_order"
    votes = play.store.votes(play.study)
    assert votes["chosen_side"].tolist() == ["left"] and incidents(play) == ["out_of_order"]
    alice.vote()


def test_double_submission_at_the_same_instant_gives_one_vote(make_play, make_store, participant, clock):
    play = make_play()
    other = rules.StudySessions(play.study, make_store(), clock=clock)
    alice = participant(play)
    for _ in range(8):
        alice.look()
        acks = at_once(*(lambda p=p: p.vote(alice.secret, alice.token, alice.answer()) for p in (play, other) * 2))
        assert sorted(ack.duplicate for ack in acks) == [False, True, True, True]
        assert all(ack.next == acks[0].next for ack in acks)
        alice.state = acks[0].next
    assert alice.state.phase == "done" and len(play.store.votes(play.study)) == 8 and incidents(play) == []


def test_two_answers_at_the_same_instant_give_one_vote(make_play, participant):
    play = make_play()
    alice = participant(play)
    alice.look()
    results = at_once(
        *(lambda s=s: play.vote(alice.secret, alice.token, alice.answer(chosen_side=s)) for s in ("left", "right"))
    )
    assert sorted(getattr(r, "code", "kept") for r in results) == ["kept", "out_of_order"]
    assert len(play.store.votes(play.study)) == 1


def test_forged_and_cross_session_votes(make_play, participant):
    play = make_play()
    alice, mallory = participant(play), participant(play, "mallory")
    alice.look(), mallory.look()
    answer = alice.answer()
    assert refused(play.vote, "no secret", alice.token, answer) == "no_session"
    assert refused(play.vote, mallory.secret, alice.token, answer) == "not_found"
    assert refused(play.vote, alice.secret, "x" * 43, answer) == "not_found"
    assert refused(play.vote, alice.secret, alice.state.trial["left"], answer) == "not_found"
    assert refused(play.reveal, mallory.secret, alice.token) == "not_found"
    assert refused(play.vote, alice.secret, None, answer) == "not_found"
    assert len(play.store.votes(play.study)) == 0
    logged = play.store.incidents(play.study)
    assert logged["kind"].tolist() == ["no_session"] + ["not_found"] * 5
    assert logged["detail"].tolist()[1:5] == ["cross_session", "forged", "forged", "cross_session"]
    assert logged["session_id"].isna().tolist() == [True] + [False] * 5


def test_a_session_belongs_to_its_study_and_origin(make_play, participant, store, clock):
    play, other = make_play(name="one"), make_play(name="two", seed=2)
    alice = participant(play)
    simulated = rules.StudySessions(play.study, store, origin="simulated", clock=clock)
    for foreign in (other, simulated):
        assert refused(foreign.state, alice.secret) == "no_session"
        assert refused(foreign.stimulus, alice.state.trial["left"]) == "not_found"
    with pytest.raises(ValueError, match="people or simulated"):
        rules.StudySessions(play.study, store, origin="robots")


def test_after_the_end_there_is_nothing_to_vote_on(make_play, participant):
    play = make_play()
    alice = participant(play)
    first = alice.token
    alice.finish()
    assert refused(play.reveal, alice.secret, "x" * 43) == "not_found"
    assert refused(play.reveal, alice.secret, first) == "closed"
    assert refused(play.vote, alice.secret, first, alice.answer(chosen_side="right")) == "out_of_order"


BAD = [
    {"chosen_side": "middle"}, {"chosen_side": "tie"}, {"chosen_side": None}, {"chosen_side": ["left"]},
    {"chosen_side": "left" * 10**6}, {"response_ms": math.nan}, {"response_ms": math.inf}, {"response_ms": -1},
    {"response_ms": 1e12}, {"response_ms": "640"}, {"response_ms": True}, {"response_ms": None},
    {"response_ms": 10**400}, {"exposure_left_ms": None}, {"exposure_right_ms": -0.5}, {"frames": 1.5},
    {"frames": -1}, {"frames": 10**12}, {"frames": True}, {"longest_frame_ms": math.nan}, {"focus_lost": None},
    {"focus_lost": 1}, {"picture_css_px": -1}, {"picture_device_px": "wide"}, {"window_width": 1e9},
    {"window_height": True}, {"stacked": 1}, {"stacked": "yes"}, {"exposure_left_clock_ms": math.inf},
]  # fmt: skip


def test_bad_answers_change_nothing(make_play, participant):
    play = make_play()
    alice = participant(play)
    alice.look()
    for changes in BAD:
        assert refused(play.vote, alice.secret, alice.token, alice.answer(**changes)) == "bad_answer", changes
    for answer in (None, [], "left", {}):
        assert refused(play.vote, alice.secret, alice.token, answer) == "bad_answer"
    assert set(incidents(play)) == {"bad_answer"} and len(play.store.votes(play.study)) == 0
    assert play.vote(alice.secret, alice.token, {**alice.answer(), "token": alice.token, "more": "x"}).recorded


def test_ratings(make_play, participant):
    play = make_play(preset="mos", epochs=(1, 2), test_trials=6)
    alice = participant(play)
    alice.look()
    for rating in (None, 0, 6, 2.5, "4", True):
        assert refused(play.vote, alice.secret, alice.token, alice.answer(rating=rating)) == "bad_answer", rating
    first = alice.token
    ack = play.vote(alice.secret, first, alice.answer(rating=2))
    alice.state = ack.next
    assert ack.feedback is None and play.vote(alice.secret, first, alice.answer(rating=2)).duplicate
    assert refused(play.vote, alice.secret, first, alice.answer(rating=3)) == "out_of_order"
    alice.finish(lambda state: {"rating": 5})
    assert (alice.state.phase, alice.state.score) == ("done", None)
    votes = play.store.votes(play.study)
    assert votes["rating"].tolist() == [2] + [5] * 7 and votes["verdict"].isna().all()


BAD_MARKS = [
    None, "blur", {"tag": "blur"}, ["blur"], [{"tag": "ugly"}], [{"box": None}], [{"tag": "blur", "box": [0, 0, 1]}],
    [{"tag": "blur", "box": [0, 0, 1.2, 1]}], [{"tag": "blur", "box": [-0.1, 0, 1, 1]}],
    [{"tag": "blur", "box": [0.5, 0, 0.6, 1]}], [{"tag": "blur", "box": [0, 0, 0, 1]}],
    [{"tag": "blur", "box": [0, 0, math.nan, 1]}], [{"tag": "blur", "box": "0011"}], [{"tag": "blur"}] * 51,
]  # fmt: skip


def test_bad_marks_change_nothing(make_play, participant):
    play = make_play(preset="tag")
    alice = participant(play)
    alice.look()
    for marks in BAD_MARKS:
        assert refused(play.vote, alice.secret, alice.token, alice.answer(marks=marks)) == "bad_answer", marks
    assert play.vote(alice.secret, alice.token, alice.answer(marks=[])).recorded  # Nothing is wrong with it.
    assert play.store.votes(play.study)["marks"].tolist() == [[]]


def test_incidents_are_kept_up_to_a_number(make_play, participant, monkeypatch):
    monkeypatch.setattr(rules.admission, "MAX_INCIDENTS", 3)
    play = make_play()
    alice = participant(play)
    for _ in range(5):
        refused(play.vote, alice.secret, "forged", {})
        refused(play.vote, "nobody", "forged", {})
    assert Counter(incidents(play)) == {"not_found": 3, "no_session": 3}


def test_secrets_and_tokens_are_kept_as_hashes(make_play, participant, store):
    play = make_play()
    alice = participant(play)
    alice.look()

    def everything(connection):
        return [tuple(row) for table in tables.TABLES.sorted_tables for row in connection.execute(sa.select(table))]

    text = repr(store.read(everything))
    tokens = [alice.state.trial[name] for name in ("token", "left", "right")]
    assert all(len(secret) >= 43 and secret not in text for secret in (alice.secret, *tokens))


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"another picture")])
def test_a_picture_that_is_lost_or_not_the_frozen_one_is_never_shown(make_play, participant, damage):
    play = make_play()
    alice = participant(play)
    damage(play.study.stimulus_path(play.study.trials(0, 0)[0].left.sha256))
    with pytest.raises(SessionError, match="missing: please inform its owner") as caught:
        play.stimulus(alice.state.trial["left"])
    assert caught.value.code == "busy"  # The folder may come back.


def test_refusals_cross_processes():
    from cyclegan.errors import message
    from cyclegan.study.requests import Refused

    again = pickle.loads(pickle.dumps(SessionError("busy", detail="disk")))
    assert (again.code, again.detail, str(again)) == ("busy", "disk", str(SessionError("busy")))
    again = pickle.loads(pickle.dumps(Refused("slow_down", message("wait {n} s", n=3), retry_after_s=3)))
    assert (again.code, again.status, again.retry_after_s, str(again)) == ("slow_down", 429, 3, "wait 3 s")
    assert len({again.message, message("wait {n} s", n=3)}) == 1
