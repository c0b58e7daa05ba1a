"""Publishing epochs: the real client against a Hub on this machine, through what breaks on the way."""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cyclegan.checkpoints.format import load_checkpoint, read_info
from cyclegan.errors import CheckpointError
from hub import HubError
from hub.client import Repository
from hub.layout import STATE_BRANCH
from hub.outbox import CommitBudget, Outbox
from hub.publish import Publisher, repair_tags
from hub.readme import BEGIN, END
from hub.state import fetch_state, push_state, stage_state

# The client's own upload of large files uses a deprecated argument of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

ROOT = Path(__file__).parent.parent.parent
NAME = "alice/day-night"
FILES = {
    ".gitattributes", "README.md", "checkpoint.json", "config.json", "curves.png", "epochs.json",
    "examples/a_1.png", "examples/b_1.png", "gen_ab.safetensors", "gen_ba.safetensors", "metrics.jsonl",
    "samples/ab.png", "samples/ba.png",
}  # fmt: skip


@pytest.fixture
def publisher(loopback, online, monkeypatch):
    """Makes the publisher of a run, as a training does in its first seconds."""
    monkeypatch.setattr("hub.outbox.FIRST_WAIT_S", 0.02)

    def make(run, name=NAME):
        made = Publisher(run, name, endpoint=loopback.url)
        made.check_repository()
        made.check_run()
        return made

    return make


@pytest.fixture
def push(loopback, publisher):
    """Publish a run's epochs, as a training does; what was said, and what is left."""

    def run_outbox(run, budget=None, state=None, fault=None, patience_s=30, until=None):
        said, made = [], publisher(run)
        repository = made.repository
        if fault:
            loopback.fail(**fault)
        box = Outbox(made, said.append, budget=budget, push_state=lambda staged: push_state(repository, staged))
        box.add(max(made.unpublished(), default=0), state)
        box.start()
        if until:
            wait_until(until)
        left = box.finish(patience_s)
        box._thread.join()  # What it had begun meets nothing that the test does next.
        return said, left

    return run_outbox


def on_hub(loopback, *epochs):
    return [f"epoch {epoch} is on the Hub: {loopback.url}/{NAME}/tree/epoch-{epoch:04d}" for epoch in epochs]


def assert_whole(repo, run, epochs, *, order=None):
    """Each epoch exactly once, one commit on top of the other, with its tag and its very files; the newest at the root.

    order: the epochs in the order of their commits; ascending if not given.
    """
    commits = repo.epoch_commits()
    order = order or epochs
    assert [commit["title"] for commit in commits] == [f"Epoch {epoch}" for epoch in order]
    assert repo.tags == {f"epoch-{epoch:04d}": commit["id"] for epoch, commit in zip(order, commits, strict=True)}
    for epoch, commit in zip(order, commits, strict=True):
        assert set(commit["files"]) >= FILES
        folder = run / f"epoch-{epoch:04d}"
        for path in folder.rglob("*.*"):
            assert commit["files"][path.relative_to(folder).as_posix()] == path.read_bytes()
    for before, after in zip(repo.commits, repo.commits[1:], strict=False):
        assert after["parent"] == before["id"]
    assert json.loads(repo.head["files"]["checkpoint.json"])["epoch"] == max(epochs)
    assert [entry["epoch"] for entry in json.loads(repo.head["files"]["epochs.json"])["epochs"]] == sorted(epochs)


def test_three_epochs_are_three_commits_and_three_tags(loopback, push, make_run, tmp_path):
    for epoch in (1, 2, 3):
        run = make_run(epoch)
        assert push(run) == (on_hub(loopback, epoch), [])
    repo = loopback.repos[NAME]
    assert_whole(repo, run, [1, 2, 3])
    assert set(repo.head["files"]) == FILES
    assert len(repo.head["files"]["metrics.jsonl"].splitlines()) == 3

    from huggingface_hub import snapshot_download

    revision = {"revision": "epoch-0002", "endpoint": loopback.url, "cache_dir": tmp_path / "cache"}
    folder = Path(snapshot_download(NAME, **revision))
    assert read_info(folder).epoch == 2
    assert set(load_checkpoint(folder).generators) == {"ab", "ba"}


def test_publishing_again_changes_nothing(loopback, push, publisher, make_run):
    run = make_run(2)
    push(run)
    again = publisher(run)
    loopback.requests.clear()
    shas = [again.publish(epoch) for epoch in (1, 2)]
    assert shas == [commit["id"] for commit in loopback.repos[NAME].epoch_commits()]
    assert loopback.count("POST .*/(commit|tag|preupload)/") == 0
    assert_whole(loopback.repos[NAME], run, [1, 2])


EVERY_FAULT = {
    "429": {"match": "POST .*/commit/", "status": 429, "headers": {"Retry-After": "0"}},
    "500 thrice": {"match": "POST .*/commit/", "status": 500, "times": 3},
    "503 on looking": {"match": "GET .*/refs", "status": 503},
    "reset": {"match": "POST .*/commit/", "reset": True},
    "closed": {"match": "POST .*/preupload/"},
    "silence, and late effect": {"match": "POST .*/commit/", "status": None, "action": "be late"},
    "lost reply": {"match": "POST .*/commit/", "after": True},
    "lost reply, by reset": {"match": "POST .*/commit/", "after": True, "reset": True},
    "moved": {"match": "POST .*/commit/", "status": 412},
    "tag": {"match": "POST .*/tag/", "status": 500},
    "tag's lost reply": {"match": "POST .*/tag/", "after": True},
    "truncated reading": {"match": "GET .*/resolve/.*epochs.json", "truncate": True},
}


@pytest.mark.parametrize("fault", EVERY_FAULT.values(), ids=EVERY_FAULT.keys())
def test_nothing_is_lost_and_nothing_is_doubled(loopback, push, make_run, fault, monkeypatch):
    monkeypatch.setattr("hub.client.TIMEOUT_S", 0.5)
    push(make_run(1))
    run, late = make_run(3), []

    def be_late():
        late.append(threading.current_thread())
        wait_until(lambda: "epoch-0003" in loopback.repos[NAME].tags)

    said, left = push(run, fault={**fault, "action": be_late} if "action" in fault else fault)
    assert left == []
    assert said[-2:] == on_hub(loopback, 2, 3)
    assert loopback.faults[0].times == 0
    if "action" in fault:
        assert loopback.count("POST .*/commit/") >= 4
        late[0].join()  # It has been refused by then.
    assert_whole(loopback.repos[NAME], run, [1, 2, 3])


def test_what_will_not_get_better_is_said_once_and_not_repeated(loopback, push, make_run):
    run = make_run(2)
    said, left = push(run, fault={"match": "POST .*/commit/", "status": 403, "times": 100})
    assert left == ["epoch-0001", "epoch-0002"] and loopback.count("POST .*/commit/") == 1
    (sentence,) = said
    assert sentence.startswith("warning: epoch-0001, epoch-0002 not published: the token may not write to alice/day")


def test_the_hub_is_waited_for_as_long_as_it_asks(loopback, push, make_run):
    run = make_run(1)
    began = time.monotonic()
    said, left = push(run, fault={"match": "POST .*/commit/", "status": 429, "headers": {"Retry-After": "1"}})
    assert time.monotonic() - began >= 1 and left == []
    assert said[0].startswith("warning: epoch-0001 not published yet: the Hub accepts no more for now")
    assert said[0].endswith("; next try in 1 s")


def test_an_old_commit_without_its_tag_is_found_below_later_ones(loopback, push, publisher, make_run):
    run = make_run(3)
    push(run)
    repo = loopback.repos[NAME]
    repo.commit("Update README.md", dict(repo.head["files"]))
    lost = repo.tags.pop("epoch-0002")
    assert repair_tags(Repository(NAME, endpoint=loopback.url)) == [
        f"epoch-0002 had no tag: set on commit {lost[:10]}"
    ]
    assert repo.tags["epoch-0002"] == lost
    del repo.tags["epoch-0002"]
    assert publisher(run).publish(2) == lost == repo.tags["epoch-0002"]  # A resumed training repairs it too.
    assert len(repo.epoch_commits()) == 3


def test_without_network_nothing_is_lost_and_one_line_is_said(loopback, push, make_run):
    push(make_run(1))
    run = make_run(2)
    fault = {"match": "POST .*/commit/", "times": 1000}
    said, left = push(run, fault=fault, patience_s=0, until=lambda: loopback.count("POST .*/commit/") >= 5)
    assert left == ["epoch-0002"]
    assert [re.sub(r"127.0.0.1:\d+", "HUB", sentence) for sentence in said] == [
        "warning: epoch-0002 not published yet: the Hub (http://HUB) can't be reached; next try in 0 s"
    ]
    loopback.faults.clear()
    make_run(3)
    assert push(run) == (on_hub(loopback, 2, 3), [])


@pytest.mark.parametrize("temporary", [True, False])
def test_an_error_that_arrives_after_the_end_opens_nothing_again(publisher, make_run, monkeypatch, temporary):
    """The upload that `finish` stopped waiting for fails at last: the thread must end, not try again for ever."""
    made, begun, ended = publisher(make_run(1)), threading.Event(), threading.Event()
    tries = []

    def publish(epoch):
        tries.append(epoch)
        begun.set()
        assert ended.wait(300)
        raise HubError("the line is down", temporary=temporary)

    monkeypatch.setattr(made, "publish", publish)
    box = Outbox(made, lambda sentence: None)
    box.add(1)
    box.start()
    assert begun.wait(300)
    assert box.finish(patience_s=0) == ["epoch-0001"]
    ended.set()
    box._thread.join(300)
    assert not box._thread.is_alive() and tries == [1]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_hub_takes_no_more_than_its_hourly_share():
    """By a clock of the test's own: an hour of epochs every second, as fast as the budget lets them."""
    clock = Clock()
    budget, made = CommitBudget(clock), []
    for second in range(3 * 3600):
        clock.now = float(second)
        if budget.wait_s() == 0:
            budget.spend()
            made.append(second)
    worst = max(sum(start <= at < start + 3600 for at in made) for start in made)
    assert worst <= 120 and len(made) >= 3 * 60
    assert made[:60] == list(range(60))  # Most runs never wait.
    assert made[60] - made[59] == 60
    budget = CommitBudget(clock)
    for _ in range(119):
        budget.spend()
    assert budget.wait_s() == 60 and budget.wait_s(spread=False) == 0
    budget.spend()
    assert budget.wait_s(spread=False) == 3600


def test_fast_epochs_go_newest_first_and_the_rest_at_the_end(loopback, publisher, make_run, monkeypatch):
    run = make_run(5)
    made, said, clock = publisher(run), [], Clock()
    budget = CommitBudget(clock)
    monkeypatch.setattr("hub.outbox.FREE_COMMITS", 1)
    budget.spend()  # So that it is tight from the beginning.
    box = Outbox(made, said.append, budget=budget).start()
    box.add(2)
    wait_until(lambda: said)
    assert "the newest is published every minute, and those between at the end" in said[0]
    clock.now = 31.0
    box.add(4)
    wait_until(lambda: box.left() == ["epoch-0001", "epoch-0002", "epoch-0003"])  # And 5 is not complete yet.
    assert box.finish(patience_s=30) == []
    assert_whole(loopback.repos[NAME], run, [1, 2, 3, 4], order=[4, 1, 2, 3])
    assert loopback.repos[NAME].head["title"] == "Back to the root: epoch 4"


def wait_until(happened, seconds=20):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_what_another_process_published_is_not_published_again(loopback, publisher, make_run):
    """Two at once: each commit is made for a head, and one of them comes too late for it."""
    run = make_run(4)
    boxes = [Outbox(publisher(run), lambda _: None).start() for _ in range(3)]
    for box in boxes:
        box.add(4)
    assert [box.finish(patience_s=60) for box in boxes] == [[], [], []]
    assert_whole(loopback.repos[NAME], run, [1, 2, 3, 4])


def test_a_branch_that_moved_meanwhile_is_not_overwritten(loopback, push, make_run):
    run = make_run(1)
    push(run)
    repo = loopback.repos[NAME]
    edited = repo.head["files"]["README.md"] + b"\nMine.\n"

    def someone_edits():
        repo.commit("Edit the card", {**repo.head["files"], "README.md": edited, "notes.md": b"mine"})

    loopback.fail("POST .*/commit/", None, action=someone_edits)
    make_run(2)
    assert push(run)[1] == []
    assert repo.head["title"] == "Epoch 2" and repo.head["files"]["notes.md"] == b"mine"
    assert repo.head["files"]["README.md"].endswith(b"\nMine.\n")
    assert_whole(repo, run, [1, 2])


def test_the_card_tells_what_it_is_and_keeps_what_people_wrote(loopback, push, make_run):
    run = make_run(1)
    push(run)
    repo = loopback.repos[NAME]
    card = repo.head["files"]["README.md"].decode()
    assert "pipeline_tag: image-to-image" in card and "day ↔ night" in card and "samples/ab.png" in card
    edited = card.replace("tags:", "license: mit\ntags:").replace(BEGIN, f"Above.\n{BEGIN}") + "\nBelow.\n"
    repo.commit("Edit", {**repo.head["files"], "README.md": edited.encode()})
    make_run(2)
    push(run)
    card = repo.head["files"]["README.md"].decode()
    assert f"Above.\n{BEGIN}" in card and card.endswith("\nBelow.\n") and "license: mit" in card
    assert "epoch-0002" in card and card.count(BEGIN) == card.count(END) == 1


def test_front_matter_that_the_hub_refuses_does_not_keep_the_weights_from_it(loopback, push, make_run):
    push(make_run(1))
    repo = loopback.repos[NAME]
    broken = b"---\nlicense: [\n---\nMine.\n"
    repo.commit("Break it", {**repo.head["files"], "README.md": broken})
    run = make_run(2)
    assert push(run)[1] == []
    assert_whole(repo, run, [1, 2])
    assert repo.head["files"]["README.md"] == broken


def test_a_licence_that_the_hub_does_not_know_is_said_at_once(loopback, online, make_run, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", loopback.url)
    with pytest.raises(HubError, match="the Hub doesn't know a licence 'mine'; use one of its names: mit"):
        Publisher(make_run(1), NAME, license="mine", endpoint=loopback.url).check_repository()
    Publisher(make_run(1), NAME, license="mit", endpoint=loopback.url).check_repository()


def test_another_run_is_not_mixed_in(loopback, push, publisher, make_run):
    push(make_run(1))
    with pytest.raises(HubError, match="alice/day-night holds the epochs of another run; choose another USER/NAME"):
        publisher(make_run(2, name="other", run_id="2" * 32))
    assert len(loopback.repos[NAME].epoch_commits()) == 1


def test_imported_weights_have_no_run_and_are_told_apart_by_their_sums(loopback, publisher, make_run, make_checkpoint):
    run = make_run(1, run_id=None)
    sha = publisher(run).publish(1)
    assert publisher(run).publish(1) == sha
    make_checkpoint(run, 1, seed=5)
    with pytest.raises(HubError, match="holds another epoch 1 already"):
        publisher(run).publish(1)


def test_a_damaged_epoch_does_not_bar_the_way(loopback, push, make_run):
    run = make_run(3)
    whole = (run / "epoch-0002" / "config.json").read_text()
    (run / "epoch-0002" / "config.json").write_text("{")
    said, left = push(run)
    assert ["warning: not published: epoch-0002/config.json" in sentence for sentence in said] == [False, True, False]
    assert list(loopback.repos[NAME].tags) == ["epoch-0001", "epoch-0003"] and left == ["epoch-0002"]
    (run / "epoch-0002" / "config.json").write_text(whole)  # Mended later: the root still shows the newest.
    assert push(run)[1] == []
    assert_whole(loopback.repos[NAME], run, [1, 2, 3], order=[1, 3, 2])


def test_an_epoch_that_is_written_anew_while_it_is_sent_is_published_whole(loopback, push, make_run, make_checkpoint):
    run = make_run(1)
    first = (run / "epoch-0001" / "gen_ab.safetensors").read_bytes()
    fault = {"match": "POST .*/objects/batch", "status": None, "action": lambda: make_checkpoint(run, 1, seed=9)}
    assert push(run, fault=fault)[1] == []
    assert loopback.repos[NAME].head["files"]["gen_ab.safetensors"] == first
    assert not list(run.glob(".hub-epoch*"))


def test_weights_that_are_not_the_recorded_ones_are_not_published(loopback, push, make_run):
    run = make_run(1)
    with open(run / "epoch-0001" / "gen_ab.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    said, left = push(run)
    assert left == ["epoch-0001"] and "epoch-0001/gen_ab.safetensors is damaged" in said[0]
    assert not loopback.repos[NAME].tags


def test_an_epoch_whose_folder_vanishes_is_missed(loopback, publisher, make_run):
    run = make_run(2)
    box = Outbox(publisher(run), lambda _: None)
    box.add(2)
    shutil.rmtree(run / "epoch-0002")
    assert box.start().finish(patience_s=30) == ["epoch-0002"]
    assert list(loopback.repos[NAME].tags) == ["epoch-0001"]


def test_a_readme_that_is_no_utf8_stays_and_keeps_nothing_from_the_hub(loopback, push, make_run):
    push(make_run(1))
    repo = loopback.repos[NAME]
    mine = "Modell für die Straße\n".encode("latin-1")
    repo.commit("Mine", {**repo.head["files"], "README.md": repo.head["files"]["README.md"] + mine})
    assert push(make_run(2))[1] == []
    assert repo.head["files"]["README.md"].endswith(mine) and "epoch-0002" in repo.tags


def test_an_outage_is_not_called_a_missing_file(loopback, online):
    repository = Repository(NAME, endpoint=loopback.url)
    repository.make()
    loopback.fail("(HEAD|GET) .*/resolve/", 503, times=100)
    with pytest.raises(HubError, match="out of order \\(503\\)|can't be reached"):
        repository.download(repository.refs().head, ".gitattributes")


def test_an_epoch_that_was_trained_again_stays_as_published(loopback, publisher, push, make_run, make_checkpoint):
    run = make_run(2)
    push(run)
    first = loopback.repos[NAME].tags["epoch-0002"]
    folder = make_checkpoint(run, 2, seed=7)
    record = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps({**record, "run_id": "1" * 32}))
    said = []
    box = Outbox(publisher(run), said.append).start()
    box.add(2)
    assert box.finish() == []
    assert said == ["epoch 2 was on the Hub already, trained before the restart; it is kept there"]
    assert loopback.repos[NAME].tags["epoch-0002"] == first


# --- the training state -------------------------------------------------------------------------------------


def add_state(run, step):
    folder = run / "training_state" / f"step-{step:09d}"
    folder.mkdir(parents=True)
    for name in ("state.pt", "process-0.pt"):
        (folder / name).write_bytes(f"{name} after {step}".encode())


def test_the_training_state_travels_on_its_own_branch(loopback, push, make_run, tmp_path):
    run = make_run(1)
    for step in (10, 20):
        add_state(run, step)
        assert push(run, state=stage_state(run, step))[1] == []
    repo = loopback.repos[NAME]
    files = repo.resolve(STATE_BRANCH)["files"]
    assert set(files) == {
        ".gitattributes", "training_state/step-000000020/state.pt", "training_state/step-000000020/process-0.pt",
        "run.json", "metrics.jsonl", "examples/a_1.png", "examples/b_1.png",
    }  # fmt: skip
    assert not any("training_state" in name for commit in repo.commits for name in commit["files"])
    assert not list(run.glob(".hub-state*"))

    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert "step-000000020" in fetch_state(Repository(NAME, endpoint=loopback.url), fresh)
    assert json.loads((fresh / "run.json").read_text()) == json.loads((run / "run.json").read_text())
    for name in files.keys() - {".gitattributes", "run.json"}:
        assert (fresh / name).read_bytes() == files[name] == (run / name).read_bytes()
    assert {path.name for path in fresh.iterdir()} == {"training_state", "run.json", "metrics.jsonl", "examples"}


def test_a_state_that_is_replaced_while_it_is_sent_is_sent_whole(loopback, publisher, make_run):
    run = make_run(1)
    for step in (10, 20):
        add_state(run, step)
    made, said = publisher(run), []
    box = Outbox(made, said.append, push_state=lambda staged: push_state(made.repository, staged))
    second = stage_state(run, 20)
    loopback.fail("POST .*/preupload/training-state", None, action=lambda: box.add(1, second))
    box.add(1, stage_state(run, 10))
    assert box.start().finish(patience_s=30) == []
    assert [sentence.split(" is on")[0] for sentence in said] == [
        "epoch 1", "the training state step-000000010", "the training state step-000000020"
    ]  # fmt: skip
    assert "training_state/step-000000020/state.pt" in loopback.repos[NAME].resolve(STATE_BRANCH)["files"]
    assert not list(run.glob(".hub-state*"))


def test_a_state_is_published_once_through_a_lost_reply(loopback, push, make_run):
    run = make_run(1)
    add_state(run, 10)
    loopback.fail(f"POST .*/commit/{STATE_BRANCH}", after=True)
    assert push(run, state=stage_state(run, 10))[1] == []
    assert loopback.count(f"POST .*/commit/{STATE_BRANCH}") == 1
    assert [c["title"] for c in loopback.repos[NAME].history(STATE_BRANCH)][0] == "Training state step-000000010"


def test_a_state_of_another_run_or_an_older_one_replaces_nothing(loopback, publisher, make_run):
    run, other = make_run(1), make_run(1, name="other", run_id="2" * 32)
    repository = publisher(run).repository
    for folder, steps in ((run, (10, 20)), (other, (30,))):
        for step in steps:
            add_state(folder, step)
    push_state(repository, stage_state(run, 20))
    head = loopback.repos[NAME].branches[STATE_BRANCH]
    assert "has a newer training state of this run, step-000000020" in push_state(repository, stage_state(run, 10))
    with pytest.raises(HubError, match="holds the training state of another run"):
        push_state(repository, stage_state(other, 30))
    assert loopback.repos[NAME].branches[STATE_BRANCH] == head


def test_half_a_state_replaces_nothing(loopback, publisher, make_run):
    run = make_run(1)
    repository = publisher(run).repository
    for step in (10, 20):
        add_state(run, step)
    push_state(repository, stage_state(run, 10))
    head = loopback.repos[NAME].branches[STATE_BRANCH]
    staged = stage_state(run, 20)
    (staged / "training_state" / "step-000000020" / "process-0.pt").unlink()
    with pytest.raises(CheckpointError, match="step-000000020 is not whole"):
        push_state(repository, staged)
    assert loopback.repos[NAME].branches[STATE_BRANCH] == head


def test_a_published_state_names_no_folder_of_the_machine(make_run, tmp_path):
    run = make_run(1)
    config = {"data": {"dataset": str(tmp_path / "secret" / "maps")}, "run": {"output_dir": str(run), "seed": 0}}
    (run / "run.json").write_text(json.dumps({"run_id": "1" * 32, "config": config}))
    add_state(run, 10)
    text = (stage_state(run, 10) / "run.json").read_text()
    assert '"maps"' in text and str(tmp_path) not in text and "secret" not in text


def test_a_strangers_state_can_not_write_elsewhere(loopback, push, make_run, tmp_path):
    run = make_run(1)
    add_state(run, 10)
    push(run, state=stage_state(run, 10))
    repo = loopback.repos[NAME]
    files = dict(repo.resolve(STATE_BRANCH)["files"])
    repo.commit("x", {**files, "app.py": b"evil", "training_state/step-000000010/../../x.pt": b"evil"}, STATE_BRANCH)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    fetch_state(Repository(NAME, endpoint=loopback.url), fresh)
    assert {path.name for path in fresh.iterdir()} == {"training_state", "run.json", "metrics.jsonl", "examples"}


# --- at the start -------------------------------------------------------------------------------------------


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def refusal(name=NAME, **settings):
    private = settings.pop("private", False)
    with pytest.raises(HubError) as caught:
        Repository(name, **settings).make(private=private)
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 250
    return sentence


def test_what_can_not_work_is_said_before_training(loopback, online, monkeypatch):
    loopback.tokens["hf_reader"] = "read"
    assert "does not accept the Hugging Face token" in refusal(endpoint=loopback.url, token="hf_wrong")
    assert "can only read" in refusal(endpoint=loopback.url, token="hf_reader")
    assert "may not write to bob/model" in refusal("bob/model", endpoint=loopback.url)
    assert "can't be reached; check the network" in refusal(endpoint=closed_port())
    loopback.fail("whoami", 503)
    assert "out of order (503); try again later" in refusal(endpoint=loopback.url)
    loopback.fail("whoami", 429)
    assert "try again later" in refusal(endpoint=loopback.url)
    for name in ("model", "a/b/c", "alice/ä", "alice/..", "", "https://huggingface.co/alice/x"):
        assert "can't be a repository's name; use USER/NAME" in refusal(name, endpoint=loopback.url)
    monkeypatch.delenv("HF_TOKEN")
    assert "there is no Hugging Face token" in refusal(endpoint=loopback.url)
    assert not loopback.repos


def test_a_repository_that_may_only_be_read_is_refused(loopback, online):
    Repository(NAME, endpoint=loopback.url).make()
    loopback.readonly.add(NAME)
    assert f"may not write to {NAME}" in refusal(endpoint=loopback.url)


def test_private_means_private(loopback, online):
    Repository(NAME, endpoint=loopback.url).make()
    assert "is public" in refusal(private=True, endpoint=loopback.url)
    Repository("alice/secret", endpoint=loopback.url).make(private=True)
    assert loopback.repos["alice/secret"].private and not loopback.repos[NAME].private


def test_a_silent_hub_does_not_stop_training_for_ever(online, monkeypatch):
    monkeypatch.setattr("hub.client.TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "can't be reached" in refusal(endpoint=f"http://127.0.0.1:{server.getsockname()[1]}")


def test_the_token_is_never_repeated(loopback, push, make_run, hub_env):
    run = make_run(1)
    loopback.fail("POST .*/commit/", 400, message=f"you sent Bearer {hub_env['HF_TOKEN']}")
    (said,), left = push(run)
    assert "the Hub refused (400: you sent Bearer ***)" in said and left == ["epoch-0001"]


# --- from the shell -----------------------------------------------------------------------------------------


def test_push_from_the_shell(loopback, make_run, hub_env, run_script):
    run = make_run(2)
    done = run_script("-m", "hub", "push", run, NAME, "--private", env=hub_env)
    assert done.stdout.splitlines() == [
        f"epoch {epoch} is on the Hub: {loopback.url}/{NAME}/tree/epoch-{epoch:04d}" for epoch in (1, 2)
    ]
    assert done.stderr == "" and loopback.repos[NAME].private
    assert_whole(loopback.repos[NAME], run, [1, 2])
    done = run_script("-m", "hub", "push", run, NAME, env=hub_env)
    assert done.stdout == f"nothing to do: all epochs of {run} are at {loopback.url}/{NAME}\n"
    done = run_script("-m", "hub", "push", run, NAME, "--license", "mit", env=hub_env)
    assert done.stdout == f"the licence is on the card now: {loopback.url}/{NAME}\n"
    assert b"license: mit" in loopback.repos[NAME].head["files"]["README.md"]
    assert_whole(loopback.repos[NAME], run, [1, 2])
    done = run_script("-m", "hub", "push", run / "epoch-0002", NAME, env=hub_env, ok=False)
    assert done.returncode == 1 and f"is one epoch; name its run's folder, {run}" in done.stderr


def test_push_that_fails_says_why(loopback, make_run, hub_env, run_script, tmp_path):
    run = make_run(1)
    for env, sentence in (
        ({**hub_env, "HF_TOKEN": "hf_wrongSecret"}, "error: the Hub does not accept the Hugging Face token"),
        ({**hub_env, "HF_HUB_OFFLINE": "1"}, "error: HF_HUB_OFFLINE is set"),
    ):
        done = run_script("-m", "hub", "push", run, NAME, env=env, ok=False)
        assert done.returncode == 1 and done.stderr.startswith(sentence) and done.stderr.count("\n") == 1
        assert env["HF_TOKEN"] not in done.stdout + done.stderr
    done = run_script("-m", "hub", "push", tmp_path / "none", NAME, env=hub_env, ok=False)
    assert done.returncode == 1 and "is not a folder" in done.stderr


def test_the_error_alone_does_not_import_the_client():
    code = "import sys, hub; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_nothing_but_the_checkpoint_is_published(loopback, push, make_run):
    run = make_run(1)
    (run / "epoch-0001" / "notes.txt").write_text("mine")
    push(run)
    assert set(loopback.repos[NAME].head["files"]) == FILES
