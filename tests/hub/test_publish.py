"""Publishing epochs: the real client against a Hub on this machine, through what breaks on the way."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cyclegan.checkpoint import load_checkpoint, read_info
from hub import HubError
from hub.publish import BEGIN, END, Publisher

# The client's own upload of large files uses a deprecated argument of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

ROOT = Path(__file__).parent.parent.parent
NAME = "alice/day-night"
FILES = {
    ".gitattributes", "README.md", "checkpoint.json", "config.json", "curves.png", "gen_ab.safetensors",
    "gen_ba.safetensors", "metrics.jsonl", "samples/ab.png", "samples/ba.png",
}  # fmt: skip


@pytest.fixture
def publisher(loopback, online):
    made = Publisher(NAME, endpoint=loopback.url)
    made.check()
    return made


def assert_whole(repo, run, epochs):
    """Each epoch exactly once, in order, one commit on top of the other, with its tag and its very files."""
    commits = repo.epoch_commits()
    assert [commit["title"] for commit in commits] == [f"Epoch {epoch}" for epoch in epochs]
    assert repo.tags == {f"epoch-{epoch:04d}": commit["id"] for epoch, commit in zip(epochs, commits, strict=True)}
    for epoch, commit in zip(epochs, commits, strict=True):
        assert set(commit["files"]) == FILES
        folder = run / f"epoch-{epoch:04d}"
        for path in folder.rglob("*.*"):
            assert commit["files"][path.relative_to(folder).as_posix()] == path.read_bytes()
    for before, after in zip(repo.commits, repo.commits[1:], strict=False):
        assert after["parent"] == before["id"]


def test_three_epochs_are_three_commits_and_three_tags(loopback, publisher, make_run, tmp_path):
    run = make_run(1)
    for epoch in (1, 2, 3):  # As the training loop does.
        make_run(epoch)
        said = publisher.publish_pending(run)
        assert said == [f"epoch {epoch} is on the Hub: {loopback.url}/{NAME}/tree/epoch-{epoch:04d}"]
    assert publisher.missing(run) == ""
    assert_whole(loopback.repos[NAME], run, [1, 2, 3])
    assert len(loopback.repos[NAME].head["files"]["metrics.jsonl"].splitlines()) == 3

    from huggingface_hub import snapshot_download

    revision = {"revision": "epoch-0002", "endpoint": loopback.url, "cache_dir": tmp_path / "cache"}
    folder = Path(snapshot_download(NAME, **revision))
    assert read_info(folder).epoch == 2
    assert set(load_checkpoint(folder).generators) == {"ab", "ba"}


def test_publishing_again_changes_nothing(loopback, publisher, make_run):
    run = make_run(2)
    publisher.publish_pending(run)
    shas = dict(publisher.published[run])
    again = Publisher(NAME, endpoint=loopback.url)
    again.check(run)
    loopback.requests.clear()
    assert again.publish_pending(run) == []
    assert [again.publish(run, epoch) for epoch in (1, 2)] == [shas[1], shas[2]]
    assert loopback.count("POST") == 0
    assert_whole(loopback.repos[NAME], run, [1, 2])


@pytest.mark.parametrize(
    "fault",
    [
        {"match": "POST .*/tag/", "status": 500},
        {"match": "POST .*/tag/", "after": True},
        {"match": "POST .*/commit/", "after": True},
        {"match": "POST .*/commit/"},
    ],
)
def test_a_break_between_commit_and_tag_doubles_nothing(loopback, publisher, make_run, fault):
    run = make_run(2)
    loopback.fail(**fault)
    with pytest.raises(HubError, match="try again"):
        publisher.publish(run, 1)
    other = Publisher(NAME, endpoint=loopback.url)  # As after a crash.
    other.check(run)
    assert len(other.publish_pending(run)) in (1, 2) and other.missing(run) == ""
    assert_whole(loopback.repos[NAME], run, [1, 2])


def test_an_old_commit_without_its_tag_is_found_below_later_ones(loopback, publisher, make_run):
    run = make_run(3)
    publisher.publish_pending(run)
    repo = loopback.repos[NAME]
    repo.commit("Update README.md", dict(repo.head["files"]))
    lost = repo.tags.pop("epoch-0002")
    other = Publisher(NAME, endpoint=loopback.url)
    other.check(run)
    assert other.publish(run, 2) == lost == repo.tags["epoch-0002"]
    assert len(repo.epoch_commits()) == 3


def test_without_network_training_goes_on_and_the_next_epoch_catches_up(loopback, publisher, make_run):
    run = make_run(2)
    loopback.fail("", times=1000)
    (said,) = publisher.publish_pending(run)
    assert said == (
        f"warning: epoch-0001, epoch-0002 not published yet: the Hub ({loopback.url}) can't be reached; "
        "check the network, then try again"
    )
    assert publisher.missing(run) == (
        f"warning: not on the Hub: epoch-0001, epoch-0002; publish later with: python -m hub push {run} {NAME}"
    )
    loopback.faults.clear()
    make_run(3)
    assert len(publisher.publish_pending(run)) == 3
    assert_whole(loopback.repos[NAME], run, [1, 2, 3])


def test_a_branch_that_moved_meanwhile_is_not_overwritten(loopback, publisher, make_run, monkeypatch):
    run = make_run(1)
    repo = loopback.repos[NAME]
    made_card = Publisher._card

    def card_while_someone_commits(*args):
        repo.commit("Add notes", {**repo.head["files"], "notes.md": b"mine"})
        return made_card(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "_card", card_while_someone_commits)
        with pytest.raises(HubError, match="changed by someone else just now; try again"):
            publisher.publish(run, 1)
    publisher.publish(run, 1)
    assert repo.head["files"]["notes.md"] == b"mine" and len(repo.epoch_commits()) == 1


def test_the_card_tells_what_it_is_and_keeps_what_people_wrote(loopback, publisher, make_run):
    run = make_run(1)
    publisher.publish_pending(run)
    repo = loopback.repos[NAME]
    card = repo.head["files"]["README.md"].decode()
    assert card.startswith("---\npipeline_tag: image-to-image\ntags:\n- cyclegan\n- gan\n")
    assert "# day ↔ night" in card and "![A → B](samples/ab.png)" in card and f'"{NAME}", revision="epoch-0001"' in card

    edited = card.replace("tags:", "license: mit\ntags:").replace(BEGIN, f"Above.\n{BEGIN}") + "\nBelow.\n"
    repo.commit("Edit", {**repo.head["files"], "README.md": edited.encode()})
    make_run(2)
    publisher.publish_pending(run)
    card = repo.head["files"]["README.md"].decode()
    assert card == edited.replace("epoch 1;", "epoch 2;").replace('revision="epoch-0001"', 'revision="epoch-0002"')
    assert card.count(BEGIN) == card.count(END) == 1

    repo.commit("Mine alone", {**repo.head["files"], "README.md": b"---\nlicense: mit\n---\nMine.\n"})
    make_run(3)
    publisher.publish_pending(run)
    assert repo.head["title"] == "Epoch 3" and repo.head["files"]["README.md"].endswith(b"Mine.\n")


def test_another_run_is_not_mixed_in(loopback, publisher, make_run):
    publisher.publish_pending(make_run(1))
    other = make_run(2, name="other", run_id="2" * 32)
    with pytest.raises(HubError, match="alice/day-night holds the epochs of another run; choose another USER/NAME"):
        Publisher(NAME, endpoint=loopback.url).check(other)
    assert "another run" in publisher.publish_pending(other)[0]
    assert len(loopback.repos[NAME].epoch_commits()) == 1


def test_imported_weights_have_no_run_and_are_told_apart_by_their_sums(loopback, publisher, make_run, make_checkpoint):
    run = make_run(1, run_id=None)
    sha = publisher.publish(run, 1)
    assert Publisher(NAME, endpoint=loopback.url).publish(run, 1) == sha
    make_checkpoint(run, 1, seed=5)
    with pytest.raises(HubError, match="holds another epoch 1 already"):
        Publisher(NAME, endpoint=loopback.url).publish(run, 1)


def test_a_damaged_epoch_does_not_bar_the_way(loopback, publisher, make_run):
    run = make_run(3)
    (run / "epoch-0002" / "config.json").write_text("{")
    said = publisher.publish_pending(run)
    assert ["warning: not published: epoch-0002/config.json" in sentence for sentence in said] == [False, True, False]
    assert list(loopback.repos[NAME].tags) == ["epoch-0001", "epoch-0003"]
    assert "not on the Hub: epoch-0002;" in publisher.missing(run)


# --- at the start -------------------------------------------------------------------------------------------


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def refusal(name=NAME, **settings):
    with pytest.raises(HubError) as caught:
        Publisher(name, **settings).check()
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


def test_a_repository_that_may_only_be_read_is_refused(loopback, publisher):
    loopback.readonly.add(NAME)
    assert f"may not write to {NAME}" in refusal(endpoint=loopback.url)


def test_private_means_private(loopback, publisher):
    assert "is public" in refusal(private=True, endpoint=loopback.url)
    Publisher("alice/secret", private=True, endpoint=loopback.url).check()
    assert loopback.repos["alice/secret"].private and not loopback.repos[NAME].private


def test_a_silent_hub_does_not_stop_training_for_ever(online, monkeypatch):
    monkeypatch.setattr("hub.publish.TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "can't be reached" in refusal(endpoint=f"http://127.0.0.1:{server.getsockname()[1]}")


def test_the_token_is_never_repeated(loopback, publisher, make_run, hub_env):
    run = make_run(1)
    loopback.fail("POST .*/commit/", 400, message=f"you sent Bearer {hub_env['HF_TOKEN']}")
    (said,) = publisher.publish_pending(run)
    assert "the Hub refused (400: you sent Bearer ***)" in said


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


def test_nothing_but_the_checkpoint_is_published(loopback, publisher, make_run):
    run = make_run(1)
    (run / "epoch-0001" / "notes.txt").write_text("mine")
    publisher.publish_pending(run)
    assert set(loopback.repos[NAME].head["files"]) == FILES
    assert json.loads(loopback.repos[NAME].head["files"]["checkpoint.json"])["epoch"] == 1
