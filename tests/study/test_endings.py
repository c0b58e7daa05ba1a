"""Invitations, the codes of every end, the score, and the bot that used to count."""

import dataclasses
import re

import pytest

from cyclegan.study.format import read_study, write_study
from cyclegan.study.invitations import PREFIX, invitations, participant_of
from cyclegan.study.report import judge, make_report
from tests.study.test_server import SCREEN, Browser, client_of, database, refusal  # noqa: F401  # fixtures

ENDS = {"code_screened_out": "OUT", "code_timed_out": "LATE", "code_left_out": "LEFT"}


def built(small_study, **options):
    """A study with a code for each end, which `write_small_study` doesn't take."""
    link = "https://pay.example/?cc={code}&p={participant}"
    return dataclasses.replace(small_study(completion_code="PAID", completion_url=link, **options), **ENDS)


# --- invitations ----------------------------------------------------------------------------------------------


def test_an_invitation_lets_one_person_in_once(client_of, small_study, store):  # noqa: F811
    study, other = small_study(login="invitation"), small_study("other", login="invitation")
    one, two = invitations(study, store, 2)
    assert participant_of(study, store, one) == PREFIX + one[:12] != participant_of(study, store, two)
    (foreign,) = invitations(other, store, 1)
    client = client_of(study, other)
    assert client.get(f"{study.name}/about").json()["invitation"] is True
    for false in (None, "", "ada", PREFIX + one[:12], one[:-1], one[:-1] + "é", f"{two[:12]}.{one[13:]}", foreign, 7):
        for path in ("check", "session"):
            body = {"participant": false, "language": "en", "screen": SCREEN}
            assert refusal(client.post(f"{study.name}/{path}", json=body)) == (403, "not_invited")
    assert not len(store.sessions(study))
    ada = Browser(client, study, one, key="a" * 32)
    assert store.sessions(study)["participant"].tolist() == [PREFIX + one[:12]]
    first, ada = ada, Browser(client, study, one, key="a" * 32)
    assert ada.secret == first.secret, "the same browser continues"
    again = {"participant": one, "language": "en", "screen": SCREEN, "key": "b" * 32}
    for path in ("check", "session"):
        assert refusal(client.post(f"{study.name}/{path}", json=again)) == (409, "taken")
    while ada.state["trial"]:
        ada.vote()
    assert ada.state["score"]["of"] == 6, "nobody can come back under another name, so the score reveals little"
    preview = client_of(study, preview=True)
    assert preview.get(f"{study.name}/about").json()["invitation"] is False
    assert Browser(preview, study, None).state["trial"]


# --- ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "options", "score"),
    [("auto", {}, False), ("auto", {"login": "huggingface"}, True), ("yes", {}, True),
     ("no", {"login": "invitation"}, False)],
)  # fmt: skip
def test_the_score_is_shown_as_the_owner_wants_it(make_play, participant, shown, options, score):
    play = make_play(show_score=shown, **options)
    assert (participant(play).finish().state.score is not None) is score
    play.preview = True
    assert (participant(play, "bob").finish().state.score is not None) is score, "a preview shows what others will see"


def test_each_end_has_its_code(make_play, small_study, participant, clock):
    play = make_play(built(small_study))
    paid = "https://pay.example/?cc={}&p={}"
    ends = {"alice": participant(play).finish().state}
    late = participant(play, "late")
    clock.pass_(hours=25)
    ends["late"] = play.state(late.secret)
    away = participant(play, "away").finish(lambda state: {"focus_lost": state.phase == "test"})
    ends["away"] = away.state
    assert [(end.phase, end.code, end.url) for end in ends.values()] == [
        ("done", "PAID", paid.format("PAID", "alice")), ("expired", "LATE", paid.format("LATE", "late")),
        ("done", "LEFT", paid.format("LEFT", "away")),
    ]  # fmt: skip
    assert play.state(away.secret) == away.state
    status = judge(play.study, play.store.votes(play.study)).set_index("participant")["session_status"]
    assert status["away"].unique().tolist() == ["left the page too often"] and not status["alice"].any()


def test_those_who_miss_the_vigilance_trials_get_the_code_of_those_left_out(make_play, small_study, participant):
    play = make_play(built(small_study, vigilance_share=0.2, vigilance_pass=0.5))
    trials = play.study.trials(0, 0)
    (watched,) = [trial for trial in trials if trial.kind == "vigilance"]

    def choose(state):
        index = state.number - 1 + (2 if state.phase == "test" else 0)
        wrong = {"left": "right", "right": "left"}[watched.real_side]
        return {"chosen_side": wrong if index == watched.index else "left"}

    assert participant(play).finish(choose).state.code == "LEFT"


def test_those_who_do_not_qualify_return_with_a_code_of_their_own(make_play, small_study, participant):
    fields = {"preset": "hype_infinity", "practice_trials": 3, "qualification": 1.0}
    play = make_play(built(small_study, **fields))
    wrong = {"real": "fake", "fake": "real"}
    trials = play.study.trials(0, 0)
    alice = participant(play).finish(lambda state: {"verdict": wrong[trials[state.number - 1].left.kind]})
    assert (alice.state.phase, alice.state.code) == ("disqualified", "OUT")
    assert alice.state.url == "https://pay.example/?cc=OUT&p=alice"
    play = make_play(small_study("plain", completion_url="https://pay.example/?cc={code}", **fields))
    trials = play.study.trials(0, 0)
    alice = participant(play).finish(lambda state: {"verdict": wrong[trials[state.number - 1].left.kind]})
    assert re.fullmatch("[A-Z2-9]{8}", alice.state.code) and alice.state.url is None


def test_a_study_keeps_its_codes_and_one_without_them_its_bytes(small_study, tmp_path):
    plain = small_study(epochs=(1,))
    assert not ENDS.keys() & plain.to_json().keys()
    study = built(small_study, name="coded")
    contents = {s.sha256: study.stimulus(s.sha256) for s in study.stimuli}
    (tmp_path / "again").mkdir()
    written = write_study(study, contents, tmp_path / "again" / "coded")
    assert read_study(written.folder).code_left_out == "LEFT" and written.to_json().items() >= ENDS.items()


# --- bots -----------------------------------------------------------------------------------------------------


def test_a_bot_that_claims_a_second_for_each_picture_is_left_out(client_of, small_study, store):  # noqa: F811
    """It answers at once, left each time, and says that it has shown both pictures for 1000 ms."""
    study = small_study()
    bot = Browser(client_of(study), study, "bot-50ms")
    while bot.state["trial"]:
        bot.vote(exposure_left_ms=1000.0, exposure_right_ms=1000.0, response_ms=3.0)
    judged = judge(study, store.votes(study))
    assert judged["impossible"].all() and not judged["counted"].any()
    assert set(judged["session_status"]) == {"impossible times"}
    report = make_report(study, store.votes(study), store.sessions(study))
    assert report["trials"] == 0 and report["participants"]["left_out"] == [{"reason": "impossible times", "count": 1}]
    assert report["rules"][0]["sessions"] == 1


def test_the_address_is_kept_as_a_short_code_if_the_study_says_so(make_play, participant, store):
    play = make_play()
    for name, address in (("alice", "10.0.0.1"), ("bob", "10.0.0.1"), ("carol", "10.0.0.2")):
        participant(play, name, address=address)
    codes = store.sessions(play.study).set_index("participant")["address_code"][["alice", "bob", "carol"]].tolist()
    assert all(re.fullmatch("[0-9a-f]{4}", code) for code in codes) and codes[0] == codes[1] != codes[2]
    other = make_play(name="other")
    participant(other, "alice", address="10.0.0.1")
    assert store.sessions(other.study)["address_code"][0] != codes[0], "studies can't be linked"
    assert not any("address_code" in row for row in store.rows(play.study))
    store.forget(play.study, "alice")
    assert sorted(store.sessions(play.study)["participant"]) == ["bob", "carol"]
    without = make_play(name="without", address_code=False)
    participant(without, "alice", address="10.0.0.1")
    assert store.sessions(without.study)["address_code"].isna().all()
