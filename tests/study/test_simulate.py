"""Synthetic participants, through the real server: the rate that goes in comes out."""

import contextlib
import hashlib

import httpx
import numpy as np
import pytest

from cyclegan.errors import StudyError
from cyclegan.study import simulate as module
from cyclegan.study.amt import export_amt
from cyclegan.study.format import Stimulus
from cyclegan.study.protocol import protocol
from cyclegan.study.refusals import SessionError
from cyclegan.study.report import make_report
from cyclegan.study.session import StudySessions
from cyclegan.study.simulate import _Crowd, _Participant, simulate
from cyclegan.study.simulated import words
from cyclegan.study.staircase import next_exposure
from cyclegan.study.store import FILE_NAME, Store, answers, database_url
from tests.study.asked import CONSENT, QUESTIONS

ALL = "simulated, before the report leaves anyone out"


@pytest.fixture
def in_process(monkeypatch):
    """The same application, without a process and sockets: for what one real server has shown already."""

    def over(study, url):
        @contextlib.contextmanager
        def served():
            with Store(url) as store:
                app = module.make_app([study], store_of=lambda _: store, origin="simulated", trust_proxy=True)
                client = httpx.AsyncClient
                monkeypatch.setattr(
                    module.httpx, "AsyncClient", lambda **_: client(transport=httpx.ASGITransport(app=app))
                )
                yield f"http://here/{study.name}"
                monkeypatch.setattr(module.httpx, "AsyncClient", client)

        return served()

    monkeypatch.setattr(module, "_served", lambda study, url: over(study, url))


def votes_and_sessions(study):
    with Store(database_url(study.folder, simulated=True)) as store:
        return store.votes(study), store.sessions(study)


def reported(study):
    return make_report(study, *votes_and_sessions(study))


COLUMNS = ["participant", "trial_index", "left_stimulus", "right_stimulus", "chosen_side", "verdict", "response_ms",
           "exposure_left_ms", "focus_lost"]  # fmt: skip


def test_the_whole_way_through_a_server_of_its_own(small_study):
    study = small_study(test_trials=8, login="huggingface")
    seen = []
    done = simulate(study, participants=4, fooling={1: 0.0, 2: 1.0}, icc=0.1, seed=3, progress=seen.append)
    assert (done.participants, done.votes, done.comparisons, sum(seen)) == (4, 4 * 10, 4 * 8, 4)
    votes, sessions = votes_and_sessions(study)
    assert set(sessions["origin"]) == {"simulated"} and sessions["completed"].all()
    assert list(sessions["participant"]) == [f"hf:simulated-000{n}" for n in (1, 2, 3, 4)]
    report = make_report(study, votes, sessions)
    assert report["simulated"] is True
    assert [e["fooling_rate"] for e in report["epochs"]] == [0.0, 1.0] and done.fooling_rate == 0.5
    with pytest.raises(StudyError, match="simulated participants already.*--replace"):
        simulate(study, participants=1)


def test_the_rate_and_the_correlation_that_go_in_come_out(small_study, in_process):
    study = small_study(epochs=(1,), practice_trials=0, test_trials=20, paired=False)
    done = simulate(study, participants=25, fooling=0.27, icc=0.15, seed=1)
    epoch = reported(study)["epochs"][0]
    assert epoch["fooling_rate"] == pytest.approx(done.fooling_rate) == pytest.approx(0.27, abs=0.08)
    assert epoch["participants"] == 25 and epoch["trials"] == 500
    assert 0.02 < epoch["participants_needed"]["correlation"] < 0.35


def test_the_same_seed_gives_the_same_votes(small_study, in_process, tmp_path):
    found = []
    for number, seed in enumerate((5, 5, 6)):
        study = small_study(folder=tmp_path / str(number), test_trials=10, repeat_share=0.1, real_real_share=0.1,
                            vigilance_share=0.1)  # fmt: skip
        simulate(study, participants=6, seed=seed, stimulus_sd=1.0)
        votes = votes_and_sessions(study)[0].sort_values(["participant", "trial_index"])
        found.append(votes[COLUMNS].reset_index(drop=True))
    assert found[0].equals(found[1]) and not found[0].equals(found[2])


class Unreliable(httpx.ASGITransport):
    """Loses some requests, and some answers on their way; or breaks down for good."""

    def __init__(self, app, lost=0.0, breaks_at=None):
        super().__init__(app)
        self.random, self.lost, self.breaks_at, self.count = np.random.default_rng(1), lost, breaks_at, 0

    async def handle_async_request(self, request):
        self.count += 1
        if self.breaks_at is not None and self.count >= self.breaks_at:
            raise httpx.ConnectError("gone")
        before, after = self.random.random(2) < self.lost
        if before:
            raise httpx.ReadError("lost")
        answer = await super().handle_async_request(request)
        if after:
            await answer.aclose()
            raise httpx.RemoteProtocolError("lost")
        return answer


@pytest.fixture
def over(monkeypatch):
    """Serve simulated participants through an `Unreliable` transport."""
    client = httpx.AsyncClient
    monkeypatch.setattr(module, "LOST_S", 0.0)

    def begin(**unreliable):
        @contextlib.contextmanager
        def served(study, url):
            with Store(url) as store:
                app = module.make_app([study], store_of=lambda _: store, origin="simulated", trust_proxy=True)
                transport = Unreliable(app, **unreliable)
                monkeypatch.setattr(module.httpx, "AsyncClient", lambda **_: client(transport=transport))
                yield f"http://here/{study.name}"

        monkeypatch.setattr(module, "_served", served)

    return begin


def test_lost_requests_and_a_stop_change_no_vote(small_study, over, tmp_path):
    found, replies = [], []
    options = {"participants": 5, "seed": 5, "stimulus_sd": 1.0}

    def study(name):
        return small_study(folder=tmp_path / name, test_trials=10, repeat_share=0.2, real_real_share=0.1,
                           vigilance_share=0.1, asks={"consent": CONSENT, "questions": QUESTIONS})  # fmt: skip

    def collect(of, done):
        votes, sessions = votes_and_sessions(of)
        replies.append(sessions.set_index("participant")["answers"].to_dict())
        votes = votes.sort_values(["participant", "trial_index"])
        found.append((votes[COLUMNS[:6]].reset_index(drop=True), done.votes, done.comparisons, done.fooled))

    quiet = study("quiet")
    over()
    collect(quiet, simulate(quiet, **options))
    lossy = study("lossy")
    over(lost=0.1)
    collect(lossy, simulate(lossy, **options))
    stopped = study("stopped")
    over(breaks_at=60)
    with pytest.raises(StudyError, match="the server can't be reached .*continue with --resume"):
        simulate(stopped, **options)
    with pytest.raises(StudyError, match="simulated participants already.*--resume"):
        simulate(stopped, **options)
    over()
    collect(stopped, simulate(stopped, resume=True, **options))
    for votes, *counts in found[1:]:
        assert votes.equals(found[0][0]) and counts == list(found[0][1:])
    assert replies[0] == replies[1] == replies[2] and all(len(each) == len(QUESTIONS) for each in replies[0].values())


def test_bad_participants_are_those_that_the_rules_leave_out(small_study, in_process):
    study = small_study(epochs=(1,), practice_trials=0, test_trials=40, scenes=60, paired=False)
    shares = {"spammers": 0.2, "bots": 0.2, "drop_outs": 0.2}
    done = simulate(study, participants=30, fooling=0.2, icc=0.05, behaviours=shares, seed=2)
    votes, sessions = votes_and_sessions(study)
    crowd = _Crowd(study, {1: 0.2}, 0.05, 0.0, 2, "", None, shares)
    kinds = [_Participant(crowd, number).behaviour for number in range(30)]
    assert {kind: kinds.count(kind) > 1 for kind in set(kinds)} == dict.fromkeys(["", *shares], True)
    report = make_report(study, votes, sessions)
    left_out = {each["reason"]: each["count"] for each in report["participants"]["left_out"]}
    assert left_out["impossible times"] == kinds.count("bots")
    assert left_out["nearly always the same answer"] == kinds.count("spammers")
    assert left_out["session not complete"] >= kinds.count("drop_outs") - 1  # One may leave after the last trial.
    assert report["epochs"][0]["fooling_rate"] == pytest.approx(done.fooling_rate, abs=0.05)
    assert done.trials == report["trials"] and sum(done.kinds["look"].values()) == kinds.count("")
    said = "\n".join(words(study, done))
    assert f"bots        {kinds.count('bots'):7}      0  impossible times: {kinds.count('bots')}" in said
    lost = kinds.count("") - done.kinds["look"][""]
    assert f"lost of those who look: {lost} of {kinds.count('')}; not left out: " in said
    with pytest.raises(StudyError, match="together at most 1"):
        simulate(study, participants=1, replace=True, behaviours={"bots": 0.6, "spammers": 0.6})


def test_vigilance_is_answered_rightly_and_controls_at_random(small_study, in_process):
    study = small_study(epochs=(1,), scenes=40, test_trials=20, vigilance_share=0.1, real_real_share=0.2,
                        repeat_share=0.15, vigilance_pass=1.0, question="fake")  # fmt: skip
    simulate(study, participants=12, fooling=0.5, icc=0.0)
    votes, sessions = votes_and_sessions(study)
    report = make_report(study, votes, sessions)
    assert report["participants"]["counted"] == 12 and report["vigilance"]["rate"] == 1.0
    both = votes[votes["kind"] == "real_real"]
    assert 0.25 < (both["chosen_side"] == "left").mean() < 0.75
    # At 50% a fresh judgement agrees with the first half of the time; memory makes it three quarters.
    assert 0.55 < report["repeats"]["rate"] < 0.95


def test_ratings_rise_with_the_fooling_rate(small_study, in_process):
    study = small_study(preset="mos", epochs=(1, 2), scenes=40, test_trials=20, results="open")
    done = simulate(study, participants=8, fooling={1: 0.5, 2: 0.1})
    first, second, real = (each["mean"] for each in reported(study)["mos"]["conditions"])
    assert first == pytest.approx(real, abs=0.4) and second < 2.5
    assert done.means == {1: pytest.approx(first, abs=0.01), 2: pytest.approx(second, abs=0.01)}
    assert words(study, done) == [f"{ALL}: mean rating of fakes: epoch 1 {first:.2f}, epoch 2 {second:.2f}"]


@pytest.mark.parametrize("preset", ["hype_infinity", "pick", "tag", "mos", "hype_time"])
def test_every_task_is_played_to_the_end(small_study, in_process, preset):
    study = small_study(preset=preset, epochs=(1, 2, 3), scenes=40, test_trials=20)
    asks_for_real = preset not in ("pick", "tag", "mos")
    done = simulate(study, participants=10, fooling=0.2 if asks_for_real else None)
    report = reported(study)
    assert list(done.means) and set(done.means) == {1, 2, 3} and done.trials == report["trials"]
    (said,) = words(study, done)
    assert said.startswith(f"{ALL}: ") and all(f"epoch {epoch} " in said for epoch in (1, 2, 3))
    if preset in ("pick", "tag"):
        with pytest.raises(StudyError, match="doesn't ask what is real, so leave out --fooling"):
            simulate(study, participants=1, fooling=0.2, replace=True)
    if preset == "hype_infinity":
        counted = report["participants"]["counted"]
        assert done.fooling_rate == pytest.approx(0.2, abs=0.15) and counted >= 3
    elif preset == "hype_time":
        votes = votes_and_sessions(study)[0].query("phase == 'test'")
        for _, rows in votes.groupby("session_id"):
            kinds = [study.by_hash[sha].kind for sha in rows["left_stimulus"]]
            right = [verdict == kind for verdict, kind in zip(rows["verdict"], kinds, strict=True)]
            plan = [next_exposure(study.protocol, right[:n]) for n in range(len(right))]
            assert rows["exposure_planned_ms"].tolist() == plan
            assert abs(rows["exposure_left_ms"] - plan).max() < 200
        assert report["thresholds"]["epochs"][0]["trials"] % 20 == 0
    elif preset == "pick":
        strengths = [epoch["strength"] for epoch in report["pick"]["strengths"]]
        assert strengths[2] > strengths[0] and report["pick"]["ties"] > 0
    elif preset == "mos":
        first, _, last, real = (each["mean"] for each in report["mos"]["conditions"])
        assert first < last < real and done.fooling_rate is None
        assert report["size"]["trials"] == report["mos"]["trials"] == 200 and report["size"]["too_small"] == 0
    else:
        votes = votes_and_sessions(study)[0]
        marks = votes.assign(count=votes["marks"].map(len)).groupby("epoch_left")["count"].mean()
        assert marks[1] > marks[3] and done.fooling_rate is None


def test_people_are_never_mixed_with_simulated_ones(small_study, in_process, participant):
    study = small_study()
    with Store(database_url(study.folder)) as store:
        participant(StudySessions(study, store), "simulated-0001").finish()  # A person may have any name.
    before = (study.folder / FILE_NAME).read_bytes()
    reports = []
    for replace, count in ((False, 3), (True, 2)):
        simulate(study, participants=count, replace=replace)
        with Store(database_url(study.folder)) as store:
            people, simulated = answers(study, store), answers(study, store, simulated=True)
            assert len(store.sessions(study)) == 1
        assert list(people[1]["participant"]) == ["simulated-0001"] and set(people[0]["origin"]) == {"people"}
        assert len(simulated[1]) == count and set(simulated[0]["origin"]) == {"simulated"}
        assert make_report(study, *simulated)["simulated"] is True
        reports.append(make_report(study, *people))
    assert reports[0] == reports[1] and reports[0]["participants"]["started"] == 1 and not reports[0]["simulated"]
    assert (study.folder / FILE_NAME).read_bytes() == before


def test_simulated_ones_and_people_of_one_database_are_kept_apart_too(small_study, in_process, participant, database,
                                                                      monkeypatch):  # fmt: skip
    """With DATABASE_URL; and in votes.sqlite3 of earlier versions."""
    monkeypatch.setenv("DATABASE_URL", database)
    study = small_study()
    simulate(study, participants=2)
    with Store(database) as store:
        assert len(answers(study, store)[1]) == 2  # There is nobody else yet.
        participant(StudySessions(study, store), "alice").finish()
        before = make_report(study, *answers(study, store))
        simulate(study, participants=3, replace=True)
        assert make_report(study, *answers(study, store)) == before and before["participants"]["started"] == 1
        content, sentence = export_amt(study, answers(study, store)[0])
        assert len(content.splitlines()) == 2, sentence  # Its head, and alice.
        assert len(answers(study, store, simulated=True)[1]) == 3 and len(store.sessions(study)) == 4


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"participants": 0}, "1 or more"), ({"fooling": 1.5}, "1.5 is out of range: 0 to 1"),
        ({"icc": -0.1}, "icc -0.1 is out of range"),
        ({"fooling": {7: 0.3, None: 0.1}}, "does not judge epoch 7: it has 1, 2"),
        ({"fooling": {1: 0.3}}, "no rate for epoch 2"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_is_written(small_study, options, sentence):
    study = small_study()
    with pytest.raises(StudyError, match=sentence):
        simulate(study, **{"participants": 2, **options})
    assert not list(study.folder.glob("votes*"))


def test_a_server_that_sends_something_else_is_not_believed(small_study, in_process, monkeypatch):
    study = small_study()
    monkeypatch.setattr(StudySessions, "stimulus", lambda self, token: b"x" * study.bytes_per_stimulus)
    with pytest.raises(StudyError, match="isn't a stimulus of"):
        simulate(study, participants=1)


def test_a_busy_server_is_asked_again(small_study, in_process, monkeypatch):
    study, refused = small_study(), []
    vote = StudySessions.vote

    def busy(self, *args):
        if len(refused) < 2:
            refused.append(1)
            raise SessionError("busy")
        return vote(self, *args)

    monkeypatch.setattr(StudySessions, "vote", busy)
    waits = []

    async def wait(seconds):
        waits.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", wait)
    assert simulate(study, participants=1).votes == 8 and waits == [1, 1]


def test_participants_differ_as_the_correlation_says():
    """Beta with mean p and correlation r: variance r p (1 − p); with stimuli of their own, still the same mean."""
    fake = Stimulus("0" * 64, "fake", "s", 1)
    study = type("S", (), {"epochs": (1,), "by_hash": {}, "protocol": protocol("cyclegan2017")})()
    for icc in (0.0, 0.05, 0.3, 1.0):
        crowd = _Crowd(study, {1: 0.27}, icc, 0.0, 0, "", None)
        rates = np.array([_Participant(crowd, n).rate(fake) for n in range(2000)])
        assert rates.mean() == pytest.approx(0.27, abs=0.03)
        assert rates.var() == pytest.approx(icc * 0.27 * 0.73, rel=0.15, abs=1e-9)
    crowd = _Crowd(study, {1: 0.27}, 0.0, 1.0, 0, "", None)
    one = _Participant(crowd, 0)
    fakes = [Stimulus(hashlib.sha256(bytes([n % 256, n // 256])).hexdigest(), "fake", "s", 1) for n in range(1000)]
    rates = np.array([one.rate(each) for each in fakes])
    assert rates.mean() == pytest.approx(0.27, abs=0.03) and rates.std() > 0.1
