"""Votes on their way to a data set: the real client against a Hub on this machine, through what breaks on the way."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
import yaml

from hub import HubError
from hub.studies import shards as local
from hub.studies import vote_shipper as votes
from hub.studies.vote_shipper import VoteShipper, with_columns

ROOT = Path(__file__).parents[3]
NAME = "alice/votes"
SHORTEST_S = votes.MIN_EVERY_S
COLUMNS = {
    "session": "string", "trial_index": "int64", "phase": "string", "left": "string", "right": "string",
    "checkpoint_sha": "string", "direction": "string", "real_side": "string", "chosen_side": "string",
    "exposure_ms_planned": "float64", "exposure_ms_measured": "float64", "response_ms": "float64",
    "server_time": "timestamp[us, tz=UTC]",
}  # fmt: skip


def vote(index, **changes):
    """A row as the study makes them."""
    row = {
        "session": "5e55101", "trial_index": index, "phase": "test", "left": f"real-{index:03d}",
        "right": f"fake-{index:03d}", "checkpoint_sha": "ab" * 20, "direction": "ab", "real_side": "left",
        "chosen_side": "right", "exposure_ms_planned": 1000, "exposure_ms_measured": 1004.2, "response_ms": 812.5,
        "server_time": "2026-07-05T14:03:00.123456+00:00",
    }  # fmt: skip
    return {**row, **changes}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(votes, "MIN_EVERY_S", 0)
    monkeypatch.setattr(votes, "FIRST_WAIT_S", 0.05)


@pytest.fixture
def make_shipper(loopback, online, tmp_path):
    """Shippers, each with a disk of its own unless told otherwise; closed after the test."""
    made = []

    def make(folder=None, *, every_s=0.05, **settings):
        folder = folder or tmp_path / f"disk-{len(made)}"
        shipper = VoteShipper(NAME, folder, every_s=every_s, endpoint=loopback.url, **settings)
        made.append(shipper)
        return shipper

    yield make
    loopback.faults.clear()
    for shipper in made:
        shipper.close(5)


@pytest.fixture
def repo(loopback, make_shipper):
    """The votes' repository, with its card and nothing else."""
    make_shipper().start()
    return loopback.repos[f"datasets/{NAME}"]


def shards(repo, commit=None):
    files = (commit or repo.head)["files"]
    return {name: content for name, content in files.items() if name.startswith("data/")}


def indices(repo):
    """`trial_index` of every row on the Hub, in order."""
    lines = [line for content in shards(repo).values() for line in content.splitlines()]
    return sorted(json.loads(line)["trial_index"] for line in lines)


def assert_only_grew(repo):
    """No commit took anything away, and each held whole lines."""
    for before, after in zip(repo.commits, repo.commits[1:], strict=False):
        for name, content in shards(repo, before).items():
            assert shards(repo, after)[name].startswith(content)
        assert all(content.endswith(b"}\n") for content in shards(repo, after).values())


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


# --- the way there and back ---------------------------------------------------------------------------------


def test_a_restarted_space_has_every_vote_that_was_pushed(loopback, make_shipper):
    first = make_shipper()
    first.start()
    for index in range(3):
        first.append(vote(index))
    assert first.close() and first.unpushed == 0 and first.status == ""

    second = make_shipper()  # Of the disk, nothing is left.
    second.start()
    assert list(second.restore()) == [vote(index) for index in range(3)]
    second.append(vote(3))
    assert second.close()
    repo = loopback.repos[f"datasets/{NAME}"]
    assert repo.private and indices(repo) == [0, 1, 2, 3] and len(shards(repo)) == 2
    assert [commit["title"] for commit in repo.commits[1:]] == ["Add the card", "Add 3 votes", "Add 1 vote"]
    assert_only_grew(repo)


def test_a_shard_grows(repo, make_shipper):
    shipper = make_shipper()
    for index in range(3):
        shipper.append(vote(index))
        shipper.push()
    ((name, content),) = shards(repo).items()
    assert len(content.splitlines()) == 3 and (shipper.folder / name).read_bytes() == content
    assert len(repo.commits) == 2 + 3
    assert_only_grew(repo)


def test_a_new_day_is_a_new_shard_and_so_is_a_full_one(repo, make_shipper, monkeypatch):
    shipper = make_shipper()
    for index, day in enumerate((5, 5, 6)):
        monkeypatch.setattr(local, "_now", lambda day=day: datetime(2026, 7, day, 12, tzinfo=timezone.utc))
        shipper.append(vote(index))
    monkeypatch.setattr(local, "MAX_SHARD_BYTES", 100)
    shipper.append(vote(3))
    shipper.push()
    assert sorted(name[:16] for name in shards(repo)) == ["data/2026-07-05/", "data/2026-07-06/", "data/2026-07-06/"]
    assert indices(repo) == [0, 1, 2, 3] and repo.head["title"] == "Add 4 votes"


def test_one_commit_in_a_while_and_none_for_nothing(loopback, repo, make_shipper):
    shipper = make_shipper(every_s=0.3)
    shipper.start()
    before, started = len(repo.commits), time.monotonic()
    for index in range(20):
        shipper.append(vote(index))
        time.sleep(0.02)
    wait_for(lambda: shipper.unpushed == 0)
    assert 1 <= len(repo.commits) - before <= (time.monotonic() - started) / 0.3 + 1
    loopback.requests.clear()
    time.sleep(0.5)
    shipper.push()
    assert loopback.requests == [] and indices(repo) == list(range(20))


def test_more_commits_than_the_hub_takes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(votes, "MIN_EVERY_S", SHORTEST_S)
    with pytest.raises(ValueError, match="every_s is 29, but the Hub accepts 128 commits an hour; use 30 or more"):
        VoteShipper(NAME, tmp_path, every_s=29)


def test_votes_are_taken_while_others_are_pushed(repo, make_shipper):
    shipper = make_shipper(every_s=0.01)
    shipper.start()

    def take(first):
        for index in range(first, first + 25):
            shipper.append(vote(index))

    takers = [threading.Thread(target=take, args=(first,)) for first in (0, 25, 50, 75)]
    for taker in takers:
        taker.start()
    while any(taker.is_alive() for taker in takers):
        shipper.push()
    assert shipper.close()
    assert indices(repo) == list(range(100)) and len(shards(repo)) == 1 and len(repo.commits) > 3
    assert_only_grew(repo)


@pytest.mark.parametrize(
    "row",
    [
        ["a list"], "text", None, {1: "number as a name"}, {"x": float("nan")}, {"x": [float("inf")]}, {"x": {1, 2}},
        {"x": Path("x")}, {"x": b"bytes"}, {"x": "\ud800"},
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(tmp_path, row):
    shipper = VoteShipper(NAME, tmp_path)
    with pytest.raises(ValueError, match="a row has to be a JSON object"):
        shipper.append(row)
    assert shipper.unpushed == 0 and list(tmp_path.rglob("*")) == []


def test_lines_and_letters_of_all_kinds_come_back(repo, make_shipper):
    rows = [vote(0, note="två\nlines\u2028and “more”"), vote(1, nested={"a": [1, None, True]}), {}]
    shipper = make_shipper()
    for row in rows:
        shipper.append(row)
    shipper.push()
    assert list(make_shipper().restore()) == rows


# --- what breaks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault, reason",
    [
        ({"status": 429, "headers": {"Retry-After": "1"}}, "accepts no more for now"),
        ({"status": 500, "times": 3}, "out of order (500)"),
        ({"times": 2}, "can't be reached"),
        ({"reset": True}, "can't be reached"),
        ({"after": True}, "can't be reached"),
        ({"after": True, "status": 504}, "out of order (504)"),
        ({"after": True, "reset": True}, "can't be reached"),
        ({"status": 403}, "may not write"),
        ({"match": "/refs", "status": 500}, "out of order (500)"),
        ({"match": "paths-info", "reset": True}, "can't be reached"),
    ],
)
def test_each_vote_arrives_once_and_the_owner_is_told_meanwhile(loopback, repo, make_shipper, fault, reason, caplog):
    shipper = make_shipper(every_s=0.1)
    shipper.start()
    shipper.append(vote(0))
    wait_for(lambda: shipper.unpushed == 0)
    loopback.fail(**{"match": "POST .*/commit/", **fault})
    for index in (1, 2):
        shipper.append(vote(index))
    wait_for(lambda: reason in shipper.status)
    failed, said = time.monotonic(), shipper.status
    assert said.startswith(("1 vote is not on the Hub yet, the oldest since 2", "2 votes are not on the Hub yet"))
    assert "(next try in " in said and said.count("\n") == 0
    shipper.append(vote(3))
    wait_for(lambda: shipper.unpushed == 0)
    if fault.get("status") == 429:
        assert time.monotonic() - failed > 0.9
    assert shipper.status == "" and indices(repo) == [0, 1, 2, 3]
    assert_only_grew(repo)
    assert sum("votes are not pushed" in record.message for record in caplog.records) == 1


def test_a_reply_that_is_lost_costs_no_second_commit(loopback, repo, make_shipper):
    shipper = make_shipper()
    shipper.append(vote(0))
    loopback.fail("POST .*/commit/", after=True)
    with pytest.raises(HubError, match="can't be reached"):
        shipper.push()
    assert shipper.unpushed == 1 and "1 vote is not on the Hub yet" in shipper.status
    commits = len(repo.commits)
    shipper.push()
    assert shipper.unpushed == 0 and shipper.status == "" and len(repo.commits) == commits and indices(repo) == [0]


def test_a_commit_that_arrives_after_the_client_gave_up(loopback, repo, make_shipper, monkeypatch):
    monkeypatch.setattr("hub.client.TIMEOUT_S", 0.2)
    shipper = make_shipper()
    shipper.start()
    late = threading.Event()
    loopback.fail("POST .*/commit/", None, delay_s=0.6, action=late.set)
    shipper.append(vote(0))
    wait_for(lambda: "can't be reached" in shipper.status)
    shipper.append(vote(1))
    wait_for(late.is_set)
    assert shipper.close() and indices(repo) == [0, 1]
    time.sleep(0.1)  # By now the late one was answered.
    assert indices(repo) == [0, 1]
    assert_only_grew(repo)


def test_a_branch_that_others_move_is_looked_at_again_at_once(loopback, repo, make_shipper):
    def someone_commits():
        repo.commit("Notes", {**repo.head["files"], "notes.md": b"mine"})

    shipper = make_shipper()
    shipper.append(vote(0))
    loopback.fail("POST .*/commit/", None, action=someone_commits, times=2)
    shipper.push()
    assert shipper.status == "" and indices(repo) == [0] and repo.head["files"]["notes.md"] == b"mine"
    loopback.fail("POST .*/commit/", None, action=someone_commits, times=5)
    shipper.append(vote(1))
    with pytest.raises(HubError, match="changed by someone else just now"):
        shipper.push()
    shipper.push()
    assert indices(repo) == [0, 1]


def test_the_waits_get_longer_and_have_an_end(make_shipper, monkeypatch):
    shipper, waits = make_shipper(), []
    monkeypatch.setattr(votes, "LONGEST_WAIT_S", 1.0)
    for _ in range(2000):
        shipper._after(HubError("no", temporary=True))
        waits.append(shipper._retry_at - time.monotonic())
    assert waits[:6] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0], abs=0.04) and max(waits) <= 1.0
    shipper._after(HubError("slower", temporary=True, retry_after_s=600))
    assert shipper._retry_at - time.monotonic() > 599


def test_a_push_that_hangs_is_told_too(make_shipper):
    shipper = make_shipper(every_s=0)
    assert shipper.status == ""
    shipper.append(vote(0))
    time.sleep(0.01)
    assert shipper.status.endswith("UTC, and no push has finished since")


def test_close_says_what_is_left_and_the_next_process_pushes_it(loopback, repo, make_shipper):
    shipper = make_shipper()
    shipper.start()
    loopback.fail("", times=1000)
    shipper.append(vote(0))
    wait_for(lambda: shipper.status)
    started = time.monotonic()
    assert not shipper.close(0.3) and time.monotonic() - started < 2
    assert shipper.unpushed == 1 and "1 vote is not on the Hub yet" in shipper.status
    loopback.faults.clear()
    following = make_shipper(shipper.folder)
    assert following.unpushed == 1
    following.start()
    assert following.unpushed == 0 and indices(repo) == [0]


def test_close_does_not_wait_for_what_waiting_does_not_mend(loopback, repo, make_shipper):
    shipper = make_shipper()
    shipper.append(vote(0))
    loopback.readonly.add(f"datasets/{NAME}")
    started = time.monotonic()
    assert not shipper.close(20) and time.monotonic() - started < 5
    assert f"may not write to {NAME}" in shipper.status
    loopback.readonly.clear()
    assert shipper.close(20)


def test_a_full_disk_keeps_nothing_of_the_row(repo, make_shipper, monkeypatch):
    shipper = make_shipper()
    shipper.append(vote(0))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("cyclegan.files.os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            shipper.append(vote(1))
    shipper.append(vote(2))
    shipper.push()
    assert indices(repo) == [0, 2] and len(shards(repo)) == 2


def test_a_shard_that_was_taken_away_is_told(repo, make_shipper):
    shipper = make_shipper()
    shipper.append(vote(0))
    next(shipper.folder.rglob("*.jsonl")).unlink()
    with pytest.raises(HubError, match="pushing failed .FileNotFoundError"):
        shipper.push()
    assert "1 vote is not on the Hub yet" in shipper.status and "FileNotFoundError" in shipper.status
    shipper._waiting.clear()


# --- at the start -------------------------------------------------------------------------------------------


def test_a_study_starts_without_the_hub_and_catches_up(loopback, make_shipper):
    loopback.fail("", times=10_000)
    shipper = make_shipper()
    shipper.start()
    assert shipper.status.startswith(f"{NAME} is not ready for votes yet: the Hub ({loopback.url}) can't be reached")
    shipper.append(vote(0))
    assert shipper.status.startswith("1 vote is not on the Hub yet")
    with pytest.raises(HubError, match="can't be reached"):
        shipper.restore()
    loopback.faults.clear()
    wait_for(lambda: shipper.unpushed == 0)
    assert shipper.status == "" and indices(loopback.repos[f"datasets/{NAME}"]) == [0]
    assert list(shipper.restore()) == [vote(0)]


def test_what_waiting_does_not_mend_is_said_at_the_start(loopback, make_shipper, tmp_path):
    loopback.tokens["hf_reader"] = "read"
    for token, sentence in (("hf_wrong", "does not accept the Hugging Face token"), ("hf_reader", "can only read")):
        with pytest.raises(HubError, match=sentence):
            make_shipper(token=token).start()
    with pytest.raises(HubError, match="can't be a repository's name"):
        VoteShipper("votes", tmp_path)
    assert not loopback.repos


def test_votes_do_not_go_to_a_public_repository_by_mistake(loopback, make_shipper):
    make_shipper(private=False).start()
    repo = loopback.repos[f"datasets/{NAME}"]
    assert not repo.private
    shipper = make_shipper()
    shipper.append(vote(0))
    with pytest.raises(HubError, match="is public"):
        shipper.start()
    assert not shipper.close() and "is public" in shipper.status and indices(repo) == []
    open_one = make_shipper(shipper.folder, private=False)
    open_one.start()
    assert indices(repo) == [0]


def test_a_persons_card_is_kept(loopback, repo, make_shipper):
    card = repo.head["files"]["README.md"].decode()
    assert yaml.safe_load(card.split("---")[1]) == {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/**/*.jsonl"}]}]
    }
    repo.commit("Mine", {**repo.head["files"], "README.md": b"Mine."})
    shipper = make_shipper()
    shipper.append(vote(0))
    shipper.start()
    assert repo.head["files"]["README.md"] == b"Mine." and indices(repo) == [0]


def test_an_older_programs_card_gets_the_columns_that_it_lacks(loopback, make_shipper):
    """And nothing else of it changes, because it may be a person's by now."""
    old = {name: COLUMNS[name] for name in list(COLUMNS)[:5]} | {"own": "string"}
    make_shipper(columns=old).start()
    repo = loopback.repos[f"datasets/{NAME}"]
    card = repo.head["files"]["README.md"].decode()
    card = card.replace("---\n", "---\n# Mine\nlicense: mit\n", 1) + "\nMy words, r\u00e9sum\u00e9.\n"
    repo.commit("Mine", {**repo.head["files"], "README.md": card.encode()})
    make_shipper(columns=COLUMNS).start()
    assert repo.commits[-1]["title"] == "Add columns to the card"
    renewed = repo.head["files"]["README.md"].decode()
    assert renewed.split("---\n", 2)[2] == card.split("---\n", 2)[2]
    assert renewed.startswith("---\n# Mine\nlicense: mit\n")
    (config,) = yaml.safe_load(renewed.split("---\n")[1])["dataset_info"]
    assert {each["name"]: each["dtype"] for each in config["features"]} == {**COLUMNS, "own": "string"}
    before = len(repo.commits)
    make_shipper(columns=COLUMNS).start()
    make_shipper(columns=old).start()  # An older process next to a newer one.
    assert len(repo.commits) == before


@pytest.mark.parametrize("card", [
    "Mine.", "---\nlicense: mit\n---\nMine.", "---\ndataset_info: 3\n---\n", "---\n[\n---\n",
    "---\ndataset_info:\n- features:\n  - name: [a]\n    dtype: string\n---\n",
    "---\ndataset_info:\n- features:\n  - name: theirs\n    dtype: string\n---\n",
])  # fmt: skip
def test_a_card_without_our_list_of_columns_is_kept(card):
    assert with_columns(card, COLUMNS) is None


def test_restoring_skips_damage_and_says_so(repo, make_shipper, caplog):
    good = json.dumps(vote(0)).encode() + b"\n"
    repo.commit("By hand", {
        **repo.head["files"],
        "data/2026-07-05/a.jsonl": good + b"\n[1]\n\xff\xfe\n" + good[:50],
        "data/merged.jsonl": json.dumps(vote(1)).encode(),
        "notes.jsonl": good, "data/notes.txt": good,
    })  # fmt: skip
    with caplog.at_level(logging.WARNING, "hub.studies.vote_shipper"):
        assert list(make_shipper().restore()) == [vote(0), vote(1)]
    (record,) = caplog.records
    assert record.message == f"skipped 3 damaged lines of {NAME}/data/2026-07-05/a.jsonl"


def test_restoring_hands_out_all_or_nothing(loopback, repo, make_shipper):
    first, second = make_shipper(), make_shipper()
    for index, shipper in enumerate((first, second)):
        shipper.append(vote(index))
        shipper.push()
    last = max(shards(repo))
    loopback.fail(f"resolve/.*/{last}", 403, times=10)
    with pytest.raises(HubError):
        make_shipper().restore()
    loopback.faults.clear()
    assert sorted(row["trial_index"] for row in make_shipper().restore()) == [0, 1]


# --- other processes ----------------------------------------------------------------------------------------

CRASH = """
import os, signal, sys
from pathlib import Path
from hub.studies import vote_shipper as votes

votes.MIN_EVERY_S = 0
shipper = votes.VoteShipper("alice/votes", sys.argv[1], every_s=1000)
shipper.start()
for index in range(2):
    shipper.append({"trial_index": index})
shipper.push()
shipper.append({"trial_index": 2})
with open(next(Path(sys.argv[1]).rglob("*.jsonl")), "ab") as file:
    file.write(b'{"trial_ind')
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_pushed_by_the_next(loopback, repo, make_shipper, hub_env, tmp_path):
    env = {**os.environ, **hub_env, "PYTHONPATH": str(ROOT)}
    died = subprocess.run([sys.executable, "-c", CRASH, tmp_path / "disk"], env=env, timeout=300)
    assert died.returncode == -signal.SIGKILL and indices(repo) == [0, 1]
    commits = len(repo.commits)
    shipper = make_shipper(tmp_path / "disk")
    shipper.start()
    assert indices(repo) == [0, 1, 2] and len(shards(repo)) == 1 and len(repo.commits) == commits + 1
    shipper.append(vote(3))
    assert shipper.close() and indices(repo) == [0, 1, 2, 3] and len(shards(repo)) == 2
    commits = len(repo.commits)
    make_shipper(tmp_path / "disk").start()  # Nothing is left by now.
    assert len(repo.commits) == commits
    assert_only_grew(repo)


@pytest.mark.parametrize("longer_first", [True, False])
def test_two_processes_may_share_a_folder(loopback, repo, make_shipper, longer_first, tmp_path):
    one = make_shipper(tmp_path)
    for index in range(2):
        one.append(vote(index))
    two = make_shipper(tmp_path)  # Sees two rows of the other's shard, which grows.
    one.append(vote(2))
    two.append(vote(3))
    for shipper in (one, two) if longer_first else (two, one):
        shipper.push()
    assert indices(repo) == [0, 1, 2, 3] and one.unpushed == two.unpushed == 0
    assert_only_grew(repo)


def test_a_longer_shard_is_not_replaced_however_close_the_race(loopback, repo, make_shipper, tmp_path):
    one = make_shipper(tmp_path)
    one.append(vote(0))
    two = make_shipper(tmp_path)
    one.append(vote(1))
    loopback.fail("POST .*/commit/", None, action=one.push)  # After `two` has compared, before it commits.
    two.push()
    assert indices(repo) == [0, 1]
    assert_only_grew(repo)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_a_shard_of_its_own(repo, make_shipper):
    shipper = make_shipper()
    shipper.append(vote(0))
    with shipper._changed:  # As if another thread had been in the middle of something.
        child = os.fork()
        if not child:
            alright = False
            try:
                assert shipper.unpushed == 0
                shipper.append(vote(1))
                alright = shipper.close()
            finally:
                os._exit(0 if alright else 1)
    assert os.waitpid(child, 0)[1] == 0 and indices(repo) == [1]
    shipper.append(vote(2))
    shipper.push()
    assert indices(repo) == [0, 1, 2] and len(shards(repo)) == 2


# --- for those who work with the votes ----------------------------------------------------------------------


def test_the_real_datasets_library_loads_them(loopback, make_shipper, hub_env):
    rows = [
        vote(0, exposure_ms_measured=None, response_ms=None, server_time="2026-07-05T14:03:00+00:00"),
        vote(1, response_ms=812),
        vote(2),
    ]
    for row in rows:  # A shard each: what `datasets` guesses from one of them does not fit the others.
        shipper = make_shipper(columns=COLUMNS)
        shipper.append(row)
        shipper.start()
    code = """
import datasets, json
for row in datasets.load_dataset("alice/votes", split="train"):
    print(json.dumps({**row, "server_time": row["server_time"].isoformat()}))
"""
    env = {**os.environ, **hub_env, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    loaded = map(json.loads, done.stdout.splitlines())
    assert sorted(loaded, key=lambda row: row["trial_index"]) == rows
