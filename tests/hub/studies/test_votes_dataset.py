"""A study's database to a Hub data set and back, people who are forgotten, and studies that a Space fetches."""

import json
import logging
import os
import time
import zipfile
from pathlib import Path

import pytest

from cyclegan.study.format import read_study
from cyclegan.study.refusals import SessionError
from cyclegan.study.session import StudySessions
from cyclegan.study.store import Store, StoreBusy, copies
from hub import HubError
from hub.client import Repository
from hub.studies import vote_shipper as votes
from hub.studies import votes_dataset
from hub.studies.vote_shipper import ERASING, VoteShipper
from hub.studies.votes_dataset import COLUMNS, Shipment, fetch_study, put_study, study_bundle
from tests.hub.loopback import Repo
from tests.study.conftest import Participant, small_study  # noqa: F401 (a fixture)

# The client's own upload of large files uses a deprecated argument of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "alice/votes"
SECRET = "5" * 64


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(votes, "MIN_EVERY_S", 0)
    monkeypatch.setattr(votes, "FIRST_WAIT_S", 0.05)


@pytest.fixture
def study(small_study):  # noqa: F811
    return small_study(practice_trials=1, test_trials=2, secret=SECRET)


@pytest.fixture
def make_machine(loopback, online, study, tmp_path):
    """A machine that serves the study: an empty database, and a shipment that the test calls itself."""
    made = []

    def make(*, started=True, **settings):
        store = Store(f"sqlite:///{tmp_path / f'machine-{len(made)}.sqlite3'}")
        shipment = Shipment(NAME, **{"every_s": 0.05, "poll_s": 3600, "endpoint": loopback.url, **settings})
        made.append((store, shipment))
        if started:
            shipment.start()
            shipment.add(study, store)
        return StudySessions(study, store), shipment

    yield make
    loopback.faults.clear()
    for store, shipment in made:
        shipment.close(5)
        store.close()


@pytest.fixture
def repo(loopback, make_machine):
    """The data set, with its card and nothing else."""
    assert make_machine()[1].close()
    return loopback.repos[f"datasets/{NAME}"]


def rows_of(repo):
    files = repo.head["files"]
    lines = [line for name in sorted(files) if name.startswith("data/") for line in files[name].splitlines()]
    return [json.loads(line) for line in lines]


def keys(rows):
    return sorted(row["key"] for row in rows)


def everything(repo):
    """All bytes that the repository has, of every commit."""
    return b"".join(content for commit in repo.everything.values() for content in commit["files"].values())


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


# --- there and back -----------------------------------------------------------------------------------------


def test_a_space_that_lost_its_disk_has_everything_again(loopback, repo, make_machine, study):
    play, shipment = make_machine()
    Participant(play, "anna").finish()
    Participant(play, "ben").vote()
    play.store.exclude(study, "ben", "told us that he guessed")
    assert shipment.close() and shipment.status == ""
    rows = rows_of(repo)
    assert repo.private and keys(rows) == keys(play.store.rows(study))
    assert {row["record"] for row in rows} == {"session", "vote", "completion", "decision"}
    assert all(row["study_id"] == study.study_id for row in rows)

    again, shipment = make_machine()
    kept, before = again.store.votes(study), play.store.votes(study)
    assert again.store.rows(study) == play.store.rows(study) and len(kept) == 4
    assert kept["excluded"].tolist() == before["excluded"].tolist() and kept["exclusion_reason"].notna().any()
    with pytest.raises(SessionError) as caught:
        Participant(again, "anna")
    assert caught.value.code == "taken"
    Participant(again, "cleo").vote()
    assert shipment.close() and len(rows_of(repo)) == len(rows) + 2
    assert keys(rows_of(repo)) == sorted(set(keys(rows_of(repo))))


def test_nothing_leaves_that_is_no_business_of_the_data_set(repo, make_machine):
    play, shipment = make_machine()
    anna = Participant(play, "anna", address="203.0.113.7")
    anna.finish()
    assert shipment.close()
    sent = everything(repo)
    assert b"anna" in sent
    for secret in (b"203.0.113.7", anna.secret.encode(), b"secret", b"token", b"address"):
        assert secret not in sent


def test_the_thread_sends_what_comes_and_makes_no_commit_for_nothing(loopback, repo, make_machine, study):
    play, shipment = make_machine(poll_s=0.02)
    anna = Participant(play, "anna")
    while anna.state.trial is not None:
        anna.vote()
        wait_for(lambda: keys(rows_of(repo)) == keys(play.store.rows(study)))
    commits = len(repo.commits)
    assert commits - 2 >= 3
    loopback.requests.clear()
    time.sleep(0.2)
    assert len(repo.commits) == commits and not loopback.count("commit")


def test_what_a_crash_left_unsent_is_sent_by_the_next_process(repo, make_machine, study):
    play, _ = make_machine()
    Participant(play, "anna").vote()  # The process dies before the next round; its database stays.
    assert rows_of(repo) == []
    shipment = make_machine(started=False)[1]
    shipment.start()
    shipment.add(study, play.store)
    assert shipment.close() and keys(rows_of(repo)) == keys(play.store.rows(study))


def test_a_clock_that_is_set_back_keeps_nothing_here(repo, make_machine, study):
    play, shipment = make_machine()
    Participant(play, "anna").vote()
    shipment.ship()
    past = StudySessions(study, play.store, clock=lambda: time.time() - 3600)
    Participant(past, "ben").vote()
    shipment.ship()
    assert shipment.close() and keys(rows_of(repo)) == keys(play.store.rows(study))


def test_a_hub_that_is_down_stops_nobody(loopback, repo, make_machine, study, caplog):
    first, shipment = make_machine()
    Participant(first, "anna").vote()
    assert shipment.close()
    loopback.fail("/api/|/resolve/", 503, times=1000)
    play, shipment = make_machine(poll_s=0.02)
    Participant(play, "ben").vote()
    wait_for(lambda: "out of order (503)" in shipment.status)
    assert "\n" not in shipment.status and "Traceback" not in caplog.text
    loopback.faults.clear()
    wait_for(lambda: len(rows_of(repo)) == 4 and shipment.status == "")
    assert set(play.store.votes(study)["participant"]) == {"anna", "ben"}


def test_a_database_that_is_busy_is_asked_again(repo, make_machine, study, monkeypatch, caplog):
    play, shipment = make_machine()
    Participant(play, "anna").vote()
    real = play.store.rows

    def busy(*_):
        raise StoreBusy("the database is locked: try again")

    monkeypatch.setattr(play.store, "rows", busy)
    assert not shipment._try() and not shipment._try()
    assert shipment.status == f"{NAME} does not have all votes: the database is locked: try again"
    assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == [shipment.status]
    monkeypatch.setattr(play.store, "rows", real)
    assert shipment._try() and shipment.status == "" and shipment.close() and len(rows_of(repo)) == 2


@pytest.mark.parametrize("why", ["public", "readonly", "token"])
def test_what_waiting_does_not_mend_is_said_at_the_start(loopback, repo, make_machine, monkeypatch, why):
    if why == "public":
        repo.private = False
    elif why == "readonly":
        loopback.readonly.add(f"datasets/{NAME}")
    else:
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    _, shipment = make_machine(started=False)
    with pytest.raises(HubError, match="is public; make it private|may not write|does not accept"):
        shipment.start()


def test_rows_of_other_studies_and_damaged_ones_do_no_harm(loopback, repo, make_machine, study, small_study):  # noqa: F811
    play, shipment = make_machine()
    Participant(play, "anna").vote()
    assert shipment.close()
    lines = [json.dumps({**row, "study_id": "0" * 32, "key": f"x{row['key']}"}) for row in rows_of(repo)]
    odd = ['{"record": "vote"}', "[]", "{", json.dumps({"record": "session", "study_id": study.study_id, "arm": "x"}),
           '{"record": "decision", "action": "forget", "session_id": 3, "study_id": []}']  # fmt: skip
    files = {**repo.head["files"], "data/2026-01-01/x.jsonl": "\n".join([*lines, *odd]).encode()}
    repo.commit("Theirs", files)
    again, shipment = make_machine()
    assert again.store.rows(study) == play.store.rows(study) and shipment.status == ""


def test_two_studies_share_a_data_set(repo, make_machine, study, small_study):  # noqa: F811
    play, shipment = make_machine()
    other = small_study("other", seed=2, practice_trials=1, test_trials=2)
    shipment.add(other, play.store)
    Participant(play, "anna").vote()
    Participant(StudySessions(other, play.store), "anna").vote()
    assert shipment.close() and len(rows_of(repo)) == 4
    again, shipment = make_machine()
    shipment.add(other, again.store)
    for one in (study, other):
        assert again.store.rows(one) == play.store.rows(one) and len(again.store.rows(one)) == 2


def test_every_column_of_the_database_has_a_type():
    columns = [column.name for table, _ in copies.COPIED.values() for column in table.c]
    names = set(columns) - set(copies.SECRET)
    assert COLUMNS.keys() == names | {"record", "key", "at"}
    assert {dtype for dtype in COLUMNS.values()} == {"string", "int64", "float64", "bool", "timestamp[us, tz=UTC]"}


def test_the_data_set_loads_with_its_types(repo, make_machine, study, tmp_path, monkeypatch):
    import datasets

    play, shipment = make_machine()
    Participant(play, "anna").vote(response_ms=640)
    play.store.exclude(study, "anna", "a reason")
    assert shipment.close()
    for name, content in repo.head["files"].items():
        path = tmp_path / "data_set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    table = datasets.load_dataset(str(tmp_path / "data_set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert table.column_names == list(COLUMNS) and sorted(table["record"]) == ["decision", "session", "vote"]
    (vote,) = [row for row in table if row["record"] == "vote"]
    assert vote["response_ms"] == 640.0 and vote["server_time"].tzinfo is not None and vote["reason"] is None


# --- who is forgotten ---------------------------------------------------------------------------------------


def test_who_is_forgotten_is_gone_from_the_data_set_and_its_history(repo, make_machine, study):
    play, shipment = make_machine()
    for name in ("anna", "ben"):
        Participant(play, name).finish()
        shipment.ship()
        shipment._shipper.push()
    play.store.exclude(study, "anna", "a reason that names anna")
    play.store.exclude(study, "ben", "another")
    shipment.ship()
    assert b"anna" in everything(repo)
    kept = [row for row in play.store.rows(study) if row.get("participant") != "anna"]
    play.store.forget(study, "anna")
    shipment.ship()  # Gone when this returns.
    sent = everything(repo)
    assert b"anna" not in sent and b"ben" in sent and ERASING not in repo.head["files"]
    assert keys(rows_of(repo)) == keys(play.store.rows(study)) and len(kept) > 4
    Participant(play, "cleo").vote()  # And it goes on.
    assert shipment.close() and keys(rows_of(repo)) == keys(play.store.rows(study))
    assert b"anna" not in everything(repo) and "README.md" in repo.head["files"]

    again, _ = make_machine()
    assert again.store.rows(study) == play.store.rows(study)


def test_they_may_take_part_again(repo, make_machine, study):
    play, shipment = make_machine()
    Participant(play, "anna").vote()
    shipment.ship()
    play.store.forget(study, "anna")
    shipment.ship()
    Participant(play, "anna").finish()
    play.store.exclude(study, "anna", "later")
    assert shipment.close() and keys(rows_of(repo)) == keys(play.store.rows(study))
    again, _ = make_machine()
    assert again.store.rows(study) == play.store.rows(study) and again.store.votes(study)["excluded"].all()


def test_forgetting_elsewhere_reaches_the_machine_that_serves(repo, make_machine, study):
    """The owner forgets on another computer, while the Space runs: nothing comes back, and its database follows."""
    space, shipment = make_machine()
    for name in ("anna", "ben"):
        Participant(space, name).vote()
    shipment.ship()
    shipment._shipper.push()

    owner, own = make_machine()
    owner.store.forget(study, "anna")
    own.ship()
    assert own.close() and b"anna" not in everything(repo)

    cleo = Participant(space, "cleo")
    shipment.ship()
    shipment._shipper.push()  # Here it notices that somebody else has committed.
    assert b"anna" not in everything(repo) and b"cleo" in everything(repo)
    shipment.ship()
    assert set(space.store.sessions(study)["participant"]) == {"ben", "cleo"}
    cleo.vote()
    assert shipment.close() and keys(rows_of(repo)) == keys(space.store.rows(study))
    assert b"anna" not in everything(repo)


def test_a_machine_that_was_away_forgets_too(repo, make_machine, study):
    """Its disk survived, with the rows of who was forgotten meanwhile."""
    away, shipment = make_machine()
    Participant(away, "anna").vote()
    assert shipment.close()
    owner, own = make_machine()
    owner.store.forget(study, "anna")
    own.ship()
    assert own.close()
    back = make_machine(started=False)[1]
    back.start()
    back.add(study, away.store)
    assert back.close() and away.store.sessions(study).empty and b"anna" not in everything(repo)


@pytest.mark.parametrize(
    "fault",
    [
        {"match": "POST .*/commit/", "status": 500}, {"match": "super-squash", "status": 500},
        {"match": "super-squash", "after": True}, {"match": "POST .*/commit/", "after": True},
        {"match": "GET .*/resolve/", "status": 500},
    ],
)  # fmt: skip
@pytest.mark.parametrize("same_process", [True, False])
def test_forgetting_that_was_interrupted_is_brought_to_its_end(
    loopback, repo, make_machine, study, fault, same_process
):
    play, shipment = make_machine()
    for name in ("anna", "ben"):
        Participant(play, name).vote()
    shipment.ship()
    shipment._shipper.push()
    play.store.forget(study, "anna")
    loopback.fail(**fault)
    if fault["match"].startswith("POST"):  # Of the two commits that now follow, the second removes the rows.
        loopback.faults[-1].times = 0
        loopback.fail("POST .*/commit/", None, action=lambda: setattr(loopback.faults[0], "times", 1))
    with pytest.raises(HubError):
        shipment.ship()
    if not same_process:
        shipment._stop.set()
        shipment._shipper._stopped = True
        shipment = make_machine(started=False)[1]
        shipment.start()
        shipment.add(study, play.store)
        assert shipment.status == ""
    else:
        shipment.ship()
    assert shipment.close()
    assert b"anna" not in everything(repo) and ERASING not in repo.head["files"]
    assert keys(rows_of(repo)) == keys(play.store.rows(study))


def test_a_shard_that_was_taken_away_is_left_with_what_had_not_got_there(loopback, repo, tmp_path):
    shipper = VoteShipper(NAME, tmp_path / "disk", every_s=0.05, endpoint=loopback.url)
    for n in range(3):
        shipper.append({"n": n})
    shipper.push()
    other = VoteShipper(NAME, tmp_path / "other", every_s=0.05, endpoint=loopback.url)
    assert other.erase(lambda row: row["n"] == 1) == 1 and other.erase(lambda row: row["n"] == 1) == 0
    for n in (3, 4):
        shipper.append({"n": n})
    shipper.push()
    assert sorted(row["n"] for row in rows_of(repo)) == [0, 2, 3, 4] and shipper.moved and not shipper.moved
    shipper.append({"n": 5})
    assert shipper.close() and sorted(row["n"] for row in rows_of(repo)) == [0, 2, 3, 4, 5]
    assert len(list((tmp_path / "disk").rglob("*.jsonl"))) == 1 and b'"n": 1' not in everything(repo)


# --- studies that a Space fetches ---------------------------------------------------------------------------


@pytest.fixture
def data_set(loopback, online):
    loopback.repos[f"datasets/{NAME}"] = Repo(private=True)
    loopback.repos[f"datasets/{NAME}"].commit("initial commit", {})
    return Repository(NAME, repo_type="dataset", endpoint=loopback.url)


def test_a_study_arrives_as_it_was(loopback, data_set, study, tmp_path):
    assert put_study(data_set, study) and not put_study(data_set, study)
    repo = loopback.repos[f"datasets/{NAME}"]
    assert list(repo.head["files"]) == [study_bundle("tiny", study.study_id)] and len(repo.commits) == 2
    fetched = fetch_study(NAME, study.study_id, tmp_path / "space" / "studies" / "tiny", endpoint=loopback.url)
    assert fetched == study == read_study(fetched.folder)
    ours, theirs = (
        {p.relative_to(f).as_posix(): p.read_bytes() for p in f.rglob("*") if p.is_file()}
        for f in (study.folder, fetched.folder)
    )
    assert ours == theirs and ours["secret"] == SECRET.encode() and fetched.draw_key == SECRET
    assert (fetched.folder / "secret").stat().st_mode & 0o777 == 0o600
    assert len({os.stat(p).st_mtime for p in fetched.folder.rglob("*.png")}) == 1
    loopback.requests.clear()
    assert fetch_study(NAME, study.study_id, fetched.folder, endpoint=loopback.url) == study
    assert loopback.requests == []


def test_nothing_but_the_study_goes_along(loopback, data_set, study, tmp_path):
    for name in ("votes.sqlite3", "votes.sqlite3-wal", "notes.txt", "stimuli/more.png"):
        (study.folder / name).write_bytes(b"private")
    put_study(data_set, study)
    (content,) = loopback.repos[f"datasets/{NAME}"].head["files"].values()
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with zipfile.ZipFile(path) as bundle:
        assert set(bundle.namelist()) == {"study.json", "secret", *(f"stimuli/{sha}.png" for sha in study.by_hash)}


@pytest.mark.parametrize("damage", ["cut", "picture", "other", "missing"])
def test_a_study_that_is_damaged_is_not_played(loopback, data_set, study, small_study, tmp_path, damage):  # noqa: F811
    put_study(data_set, study)
    repo, name = loopback.repos[f"datasets/{NAME}"], study_bundle("tiny", study.study_id)
    content = repo.head["files"][name]
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "picture":
        first = study.stimulus_path(min(study.by_hash)).read_bytes()
        content = content.replace(first, first[:-1] + b"\1")
    elif damage == "other":
        content = votes_dataset._bundled(small_study("tiny", seed=2, folder=tmp_path))
    repo.commit("Damage", {} if damage == "missing" else {name: content})
    with pytest.raises(HubError) as caught:
        fetch_study(NAME, study.study_id, tmp_path / "space" / "tiny", endpoint=loopback.url)
    assert "\n" not in str(caught.value) and not (tmp_path / "space" / "tiny").exists()
    assert ("put it there again" in str(caught.value)) == (damage != "missing")


def test_another_study_in_its_place_is_not_overwritten(loopback, data_set, study, small_study, tmp_path):  # noqa: F811
    other = small_study("tiny", seed=2, folder=tmp_path / "space")
    with pytest.raises(HubError, match="holds another study"):
        fetch_study(NAME, study.study_id, other.folder, endpoint=loopback.url)
    assert read_study(Path(other.folder)) == other
