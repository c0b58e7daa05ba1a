"""The folder of a run: whom it binds, and what a start that never trained leaves in it."""

import json
import re
from types import SimpleNamespace

import pytest

from cyclegan.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from cyclegan.errors import CheckpointError
from cyclegan.training.changes import changed_settings
from cyclegan.training.run import Run, check_resume

ALONE = SimpleNamespace(
    is_main_process=True, process_index=0, num_processes=1, wait_for_everyone=lambda: None, device="cpu"
)


@pytest.fixture
def start(tmp_path):
    """Open the run as a command does, up to the moment at which the data would be read; return its notes."""

    def start(resume="none", restore=None, **model):
        config = TrainConfig(
            DataConfig(dataset="streets"), ModelConfig(**model),
            run=RunConfig(output_dir=str(tmp_path / "run"), resume=resume),
        )  # fmt: skip
        with Run(config, ALONE, restore=restore) as run:
            return run.run_id, [str(note) for note in run.notes]

    return start


def add_state(run, step):
    folder = run / "training_state" / f"step-{step:09d}"
    folder.mkdir(parents=True)
    for name in ("state.pt", "process-0.pt"):
        (folder / name).write_bytes(b"state")
    return folder


def failed_start(run):
    """Add what a run leaves that ends before its first step does."""
    add_state(run, 0)
    (run / "examples").mkdir()
    (run / "examples" / "a_1.png").write_bytes(b"of other pictures")
    (run / "metrics.jsonl").write_text("{}\n")


def test_a_slip_in_a_states_name_gets_the_state_that_is_there(tmp_path, monkeypatch):
    add_state(tmp_path / "runs" / "mine", 4)
    monkeypatch.chdir(tmp_path)
    state = "runs/mine/training_state/step-000000004"
    for slip, near in ((state.replace("mine", "mime"), f" (did you mean {state}?)"), ("aut", "")):
        with pytest.raises(CheckpointError, match=f"^--resume {slip} is neither auto.* state.pt{re.escape(near)}$"):
            check_resume(slip)
    check_resume(state)


def test_a_setting_that_was_left_out_is_said_to_be_not_set(tmp_path):
    before = {"optim": {"max_steps": None, "lr_disc": 0.1}, "run": {"compile": True}}
    now = {"optim": {"max_steps": 3, "lr_disc": None}, "run": {"compile": False}}
    assert changed_settings(tmp_path, before, now, begun=True) == [
        ("lr_disc", 0.1, "not set"), ("max_steps", "not set", 3), ("compile", "on", "off")
    ]  # fmt: skip


@pytest.mark.parametrize("resume", ["none", "auto"])
def test_a_folder_that_never_trained_binds_nobody(start, tmp_path, resume):
    first, _ = start(ngf=64)
    failed_start(tmp_path / "run")
    second, notes = start(resume, ngf=32)
    (note,) = notes
    assert note == (
        f"the last start in {tmp_path / 'run'} ended before any of its training was saved, so this one starts afresh: "
        "--ngf was 64, now 32"
    )
    left = {path.name for path in (tmp_path / "run").iterdir()} - {".lock"}
    assert left == {"progress.json", "run.json", "training_state"}
    assert not any((tmp_path / "run" / "training_state").iterdir())
    values = json.loads((tmp_path / "run" / "run.json").read_text())
    assert values["config"]["model"]["ngf"] == 32
    assert values["run_id"] == second != first
    assert start(resume, ngf=32)[1] == []  # What differed is said once.


def test_a_start_that_ended_before_it_trained_is_not_mentioned(start, tmp_path):
    """Such as at a damaged picture, whose error has advised the flag that differs now."""
    first, _ = start(ngf=64)
    assert (tmp_path / "run" / "run.json").exists()
    second, notes = start(ngf=32)
    assert second != first and notes == []


@pytest.mark.parametrize("proof", ["state", "epoch"])
def test_a_folder_that_has_trained_binds(start, tmp_path, proof):
    first, _ = start(ngf=64)
    failed_start(tmp_path / "run")
    if proof == "state":
        add_state(tmp_path / "run", 4)
    else:
        (tmp_path / "run" / "epoch-0001").mkdir()
    with pytest.raises(CheckpointError, match="already holds a run"):
        start(ngf=64)
    with pytest.raises(CheckpointError, match="trained with --ngf 64, not 32"):
        start("auto", ngf=32)
    assert start("auto", ngf=64) == (first, [])
    assert (tmp_path / "run" / "training_state" / "step-000000000" / "state.pt").exists()


def test_the_first_state_is_kept_for_those_who_name_it(start, tmp_path):
    start(ngf=64)
    failed_start(tmp_path / "run")
    state = tmp_path / "run" / "training_state" / "step-000000000"
    with pytest.raises(CheckpointError, match="trained with --ngf 64, not 32"):
        start(str(state), ngf=32)
    assert start(str(state), ngf=64)[1] == [] and (state / "state.pt").exists()


def test_a_kill_amid_the_replacement_leaves_a_folder_that_starts(start, tmp_path, monkeypatch):
    start(ngf=64)
    failed_start(tmp_path / "run")
    with monkeypatch.context() as patched:
        # Renamed, but not yet removed: the moment at which kill -9 comes.
        patched.setattr("cyclegan.files.shutil.rmtree", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            start(ngf=32)
    assert "starts afresh" in start(ngf=32)[1][0]
    assert not [path for path in (tmp_path / "run").rglob(".*") if path.suffix in (".old", ".part")]


def test_a_failed_start_does_not_keep_the_hubs_state_away(start, tmp_path):
    """Someone forgot --push_to_hub on the new machine, and the first try ended before its first step did."""
    start(ngf=64)
    failed_start(tmp_path / "run")

    def fetch():
        add_state(tmp_path / "run", 8)
        config = TrainConfig(DataConfig(dataset="streets"), ModelConfig(ngf=32)).to_json()
        (tmp_path / "run" / "run.json").write_text(json.dumps({"run_id": "the Hub's", "config": config}))
        return "fetched"

    def fetch_the_first():
        add_state(tmp_path / "run", 0)
        values = {"run_id": "the Hub's", "config": {"model": {"ngf": 16}}}
        (tmp_path / "run" / "run.json").write_text(json.dumps(values))
        return "fetched"

    run_id, (fetched, note) = start("auto", fetch_the_first, ngf=32)
    assert run_id == "the Hub's" and note.endswith("--ngf was 16, now 32")
    run_id, notes = start("auto", fetch, ngf=32)
    assert run_id == "the Hub's" and notes == ["fetched"]
    assert [path.name for path in (tmp_path / "run" / "training_state").iterdir()] == ["step-000000008"]
