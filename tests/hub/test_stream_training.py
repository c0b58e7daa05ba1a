"""Training from a data set of the Hub that is never downloaded whole, against the loopback Hub."""

import json

import pytest

from tests.conftest import TINY
from tests.data.streams.conftest import parquet, table
from tests.hub.loopback import Repo
from tests.training.test_train import SCRIPT, assert_same_generators

pytest.importorskip("datasets")
FLAGS = ("--dataset", "alice/pictures", "--stream", "--epoch_pictures", "4", "--shuffle_buffer", "3", *TINY,
         "--decay_epochs", "0")  # fmt: skip


@pytest.fixture
def repo(loopback):
    """A data set in two files of six rows, of which a block of four ends within the first."""
    found = loopback.repos["datasets/alice/pictures"] = Repo()
    files = {
        f"data/train-{number:05d}-of-00002.parquet": parquet(table({
            side: range(start + 6 * number, start + 6 + 6 * number) for side, start in (("imageA", 1), ("imageB", 101))
        }))
        for number in (0, 1)
    }  # fmt: skip
    found.commit("pictures", {"README.md": b"", **files})
    return found


def test_a_run_is_continued_exactly_without_a_copy_of_its_pictures(tmp_path, repo, hub_env, loopback, run_script):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = run_script(SCRIPT, *FLAGS, "--epochs", 4, "--output_dir", whole, env=hub_env)
    assert "alice/pictures (train, imageA): streamed" in done.stderr
    run_script(SCRIPT, *FLAGS, "--epochs", 4, "--max_steps", 6, "--output_dir", parts, env=hub_env)
    done = run_script(SCRIPT, *FLAGS, "--epochs", 4, "--output_dir", parts, "--resume", "auto", env=hub_env)
    assert "resumed from step-000000006" in done.stderr and "begins anew" not in done.stderr
    assert_same_generators(whole, parts, 4)
    assert not [path for path in (tmp_path / "hf_home").rglob("*") if path.suffix in (".arrow", ".parquet")]
    assert loopback.count(r"GET .*parquet")
    assert json.loads((whole / "run.json").read_text())["config"]["data"]["epoch_pictures"] == 4

    repo.commit("more", dict(repo.head["files"]))
    done = run_script(SCRIPT, *FLAGS, "--epochs", 5, "--output_dir", parts, "--resume", "auto", env=hub_env)
    assert "begins anew" in done.stderr and (parts / "epoch-0005").is_dir()


def test_a_hub_that_goes_away_and_a_data_set_that_isnt_there_are_sentences(
    tmp_path, repo, hub_env, loopback, run_script, start_script
):
    flags = [flag if flag != "alice/pictures" else "alice/nothing" for flag in FLAGS]
    done = run_script(SCRIPT, *flags, "--output_dir", tmp_path / "no", env=hub_env, ok=False)
    assert done.returncode == 1 and "has no data set of that name" in done.stderr
    loopback.fail(r"GET .*train-\d+-of-00002.parquet", status=404, times=10_000)
    done = run_script(SCRIPT, *FLAGS, "--output_dir", tmp_path / "gone", env=hub_env, ok=False)
    assert done.returncode == 1 and "error: " in done.stderr.splitlines()[-1]
