"""The real training script with --push_to_hub, against the Hub on this machine, through what breaks on the way."""

import json
import shutil
import time

import pytest

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import english

SCRIPT = "train_accelerate.py"
NAME = "alice/day-night"


@pytest.fixture
def flags(tmp_path, tiny_flags):
    return (*tiny_flags, "--epochs", "3", "--decay_epochs", "0", "--output_dir", tmp_path / "run",
            "--push_to_hub", "--hub_model_id", NAME)  # fmt: skip


def assert_each_epoch_once(repo, epochs=(1, 2, 3)):
    commits = repo.epoch_commits()
    assert [commit["title"] for commit in commits] == [f"Epoch {epoch}" for epoch in epochs]
    assert repo.tags == {f"epoch-{epoch:04d}": commit["id"] for epoch, commit in zip(epochs, commits, strict=True)}
    for epoch, commit in zip(epochs, commits, strict=True):
        assert json.loads(commit["files"]["checkpoint.json"])["epoch"] == epoch
    assert [entry["epoch"] for entry in json.loads(repo.head["files"]["epochs.json"])["epochs"]] == [*epochs]


def state_names(repo):
    return {name.split("/")[1] for name in repo.resolve("training-state")["files"] if name.endswith("/state.pt")}


FAULTS = {
    "429": {"match": "POST .*/commit/", "status": 429, "headers": {"Retry-After": "1"}},
    "500": {"match": "POST .*/commit/", "status": 500},
    "503": {"match": "POST .*/commit/", "status": 503},
    "timeout": {"match": "POST .*/commit/", "status": None, "delay_s": 3},
    "reset": {"match": "POST .*/commit/", "reset": True},
    "lost reply": {"match": "POST .*/commit/", "after": True},
    "tag": {"match": "POST .*/tag/", "status": 500},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_three_epochs_through_a_fault(flags, run_script, loopback, hub_env, fault):
    loopback.fail(**fault)
    done = run_script(SCRIPT, *flags, env={**hub_env, "HF_HUB_DOWNLOAD_TIMEOUT": "1"})
    assert "next try in" in done.stderr and "not on the Hub" not in done.stderr
    assert_each_epoch_once(loopback.repos[NAME])


WITH_PIXELS = """
import sys, train_accelerate
from cyclegan.evaluation.scores import describe
from tests.evaluation.scores.conftest import Pixels

describe.build_score_features = lambda name, weights=None: Pixels()
sys.exit(train_accelerate.main())
"""


def test_an_epochs_scores_are_in_its_commit(flags, run_script, loopback, hub_env, tmp_path):
    """Every second one: the last epoch has those of the one before, and a failing upload changes nothing.

    A commit has the scores there are when it is made: what the first has depends on when its second try comes.
    """
    loopback.fail(match="POST .*/commit/", status=500)
    env = {**hub_env, "XDG_CACHE_HOME": str(tmp_path)}
    run_script("-c", WITH_PIXELS, *flags, "--evaluate_every", "2", "--scores", "collapse", env=env)
    repo = loopback.repos[NAME]
    assert_each_epoch_once(repo)
    for commit in repo.epoch_commits()[1:]:
        assert list(json.loads(commit["files"]["scores/training.json"])["ab"]["scores"]) == ["epoch-0002"]
        assert "## Scores" in commit["files"]["README.md"].decode()


IN_A_HURRY = "import sys, hub.client, train_accelerate; hub.client.WAIT_S = 0.01; sys.exit(train_accelerate.main())"


def test_a_hiccup_at_the_start_is_waited_for(flags, run_script, loopback, hub_env):
    loopback.fail("GET /api/whoami", 503)
    loopback.fail("GET .*/refs", 500)
    run_script("-c", IN_A_HURRY, *flags, env=hub_env)
    assert [fault.times for fault in loopback.faults] == [0, 0]
    assert_each_epoch_once(loopback.repos[NAME])


def test_three_epochs_while_someone_edits_the_card(flags, run_script, loopback, hub_env):
    def edit():
        repo = loopback.repos[NAME]
        card = repo.head["files"].get("README.md", b"") + b"\nMine.\n"
        repo.commit("Edit the card", {**repo.head["files"], "README.md": card})

    loopback.fail("POST .*/commit/", None, times=2, action=edit)
    done = run_script(SCRIPT, *flags, "--hub_private", "--hub_license", "mit", env=hub_env)
    repo = loopback.repos[NAME]
    assert repo.private and "warning" not in done.stderr
    assert_each_epoch_once(repo)
    card = repo.head["files"]["README.md"].decode()
    assert card.count("Mine.") == 2 and "license: mit" in card


def test_training_goes_on_without_the_hub_and_a_command_makes_up_for_it(flags, run_script, loopback, hub_env):
    loopback.fail("POST .*/commit/", status=403, times=100)
    done = run_script(SCRIPT, *flags, env=hub_env, ok=False)
    run = flags[flags.index("--output_dir") + 1]
    command = f"python -m hub push {run} {NAME}"
    assert done.returncode == 1  # What runs after it, such as switching the machine off, must know.
    assert f"warning: not on the Hub: epoch-0001, epoch-0002, epoch-0003; publish later with: {command}" in done.stderr
    assert "done, with 3 of 3 epochs" in done.stderr and len(LocalSource(run).list()) == 3
    loopback.faults.clear()
    run_script(*command.split()[1:], env=hub_env)
    assert_each_epoch_once(loopback.repos[NAME])


def test_a_fresh_machine_goes_on_from_the_hub(flags, run_script, start_script, loopback, hub_env, tmp_path):
    """Killed while it publishes, and the disk is gone."""
    run = tmp_path / "run"
    flags = (*flags, "--resume", "auto", "--hub_training_state", "every:1")
    whole = run_script(SCRIPT, *flags[:-4], env={**hub_env})  # Without an accident, to compare with.
    assert whole.returncode == 0
    expected = (run / "epoch-0003" / "gen_ab.safetensors").read_bytes()
    shutil.rmtree(run)
    loopback.repos.clear()

    # Killed as its first state arrives at the Hub, whichever epoch's that is by then.
    first = start_script(SCRIPT, *flags, env=hub_env)
    loopback.fail("POST .*/commit/training-state", action=first.kill, after=True)
    first.communicate(timeout=300)
    assert first.returncode == -9
    repo = loopback.repos[NAME]
    deadline = time.monotonic() + 20
    while not (states := state_names(repo)) and time.monotonic() < deadline:
        time.sleep(0.01)  # The Hub takes its time; nobody waits for its answer.
    (state,) = states
    published = sorted(repo.tags)
    epoch = int(state[5:]) // 4
    shutil.rmtree(run)
    loopback.faults.clear()
    done = run_script(SCRIPT, *flags, env=hub_env)
    assert f"fetched the training state {state}" in done.stderr
    assert f"resumed from {state} ({epoch} {english('epoch', 'epochs', epoch)} done, step {4 * epoch})" in done.stderr
    assert_each_epoch_once(repo)
    assert published == sorted(repo.tags)[: len(published)]
    assert sorted(path.name for path in run.glob("epoch-*")) == [f"epoch-{e:04d}" for e in range(epoch + 1, 4)]
    if epoch < 3:  # Else nothing was left to train.
        assert (run / "epoch-0003" / "gen_ab.safetensors").read_bytes() == expected
    assert len({json.loads(c["files"]["checkpoint.json"])["run_id"] for c in repo.epoch_commits()}) == 1


def test_a_fresh_machine_without_a_published_state_is_told(flags, run_script, loopback, hub_env, tmp_path):
    run_script(SCRIPT, *flags, env=hub_env)
    shutil.rmtree(tmp_path / "run")
    done = run_script(SCRIPT, *flags, "--resume", "auto", env=hub_env, ok=False)
    assert done.returncode == 1 and "or continue that run where its folder is" in done.stderr
    assert_each_epoch_once(loopback.repos[NAME])


@pytest.mark.parametrize(
    "env, name, sentence",
    [
        ({"HF_TOKEN": "hf_no"}, NAME, "the Hub does not accept the Hugging Face token; make one"),
        ({}, "bob/model", "the token may not write to bob/model; use a token that may, or another USER/NAME"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, NAME, "the Hub (http://127.0.0.1:9) can't be reached;"),
        ({"HF_HUB_OFFLINE": "1"}, NAME, "HF_HUB_OFFLINE is set"),
        ({}, "model", "'model' can't be a repository's name; use USER/NAME"),
    ],
    ids=["token", "permission", "network", "offline", "name"],
)
def test_what_can_not_work_is_said_before_anything_is_trained(
    flags, run_script, loopback, hub_env, tmp_path, env, name, sentence
):
    done = run_script(SCRIPT, *flags[:-1], name, env={**hub_env, **env}, ok=False)
    assert done.returncode == 1 and f"error: {sentence}" in done.stderr
    assert not (tmp_path / "run").exists() and not loopback.repos
