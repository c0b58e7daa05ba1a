"""Several nodes, played by several launchers on this machine: interruptions, dead and frozen processes, folders."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from cyclegan.checkpoints.training_state import list_training_states
from tests.conftest import TINY
from tests.training.test_train import SCRIPT, assert_same_generators, wait_for_step
from tests.ui.conftest import free_port

ROOT = Path(__file__).parents[2]
FLAGS = ("--dataset", "streets:count=32,size=36", *TINY, "--decay_epochs", 0, "--num_workers", 0,
         "--mixed_precision", "no")  # fmt: skip
LONG = (*FLAGS, "--epochs", 4000)
SHARED_CPU = {"ACCELERATE_USE_CPU": "true"}


def alone(count, **env):
    """The environments of processes that no launcher started."""
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), **SHARED_CPU}
    return [{**shared, **env, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def agent(start_script, *flags, nodes, each, port):
    launcher = ("-m", "torch.distributed.run", f"--nnodes={nodes}", f"--nproc_per_node={each}", "--max_restarts=2",
                "--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{port}")  # fmt: skip
    env = {**SHARED_CPU, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # As docs/cluster.md advises.
    return start_script(*launcher, SCRIPT, *flags, env=env, plain=True)


def ended(processes):
    texts = [process.communicate(timeout=400)[1] for process in processes]
    return [process.returncode for process in processes], texts


@pytest.mark.parametrize(("number", "rank"), [(signal.SIGKILL, 1), (signal.SIGSTOP, 1), (signal.SIGSTOP, 0)])
def test_a_dead_or_frozen_process_ends_the_other_with_the_command_that_resumes(tmp_path, start_script, number, rank):
    run = tmp_path / "run"
    both = [start_script(SCRIPT, *LONG, "--output_dir", run, env=env) for env in alone(2, LOCAL_WORLD_SIZE="1")]
    wait_for_step(run, 1, both[0])
    both[rank].send_signal(number)
    since = time.monotonic()
    _, text = both[1 - rank].communicate(timeout=150)
    assert time.monotonic() - since < 100  # A minute, on a busy machine.
    assert both[1 - rank].returncode == 1 and "Traceback" not in text
    last = text.strip().splitlines()[-1]
    assert "another process of this run ended or can't be reached" in last or f"process {rank} on " in last
    assert "torchrun --nnodes=2 --nproc_per_node=1 --rdzv_backend=c10d" in last and "--resume auto" in last


def test_two_agents_of_two_with_a_process_killed_end_as_one_agent_of_four(tmp_path, start_script):
    two, one = tmp_path / "two", tmp_path / "one"
    flags = (*FLAGS, "--epochs", 3, "--save_state_every", "3steps", "--resume", "auto", "--output_dir")
    port = free_port()
    both = [agent(start_script, *flags, two, nodes=2, each=2, port=port) for _ in range(2)]
    wait_for_step(two, 4, both[0])
    psutil.Process(both[1].pid).children()[-1].kill()
    status, texts = ended(both)
    assert status == [0, 0], texts[0][-3000:]
    (step,) = re.findall(r"resumed from step-\d+ \(.*step (\d+)\)", "".join(texts))
    assert 3 <= int(step) < 24
    # The first step after a start adds up more than two processes' gradients in another order, because torch lays out
    # its buckets anew; Adam makes much of such rounding. So the one is stopped there, too.
    for more in (("--max_steps", step), ()):
        status, texts = ended([agent(start_script, *flags, one, *more, nodes=1, each=4, port=free_port())])
        assert status == [0], texts[0][-3000:]
    assert_same_generators(one, two, 3)


def test_with_two_processes_a_killed_one_changes_no_bit(tmp_path, start_script):
    two, one = tmp_path / "two", tmp_path / "one"
    flags = (*FLAGS, "--epochs", 2, "--save_state_every", "3steps", "--resume", "auto", "--output_dir")
    port = free_port()
    both = [agent(start_script, *flags, two, nodes=2, each=1, port=port) for _ in range(2)]
    wait_for_step(two, 4, both[0])
    psutil.Process(both[0].pid).children()[0].kill()
    status, texts = ended(both)
    assert status == [0, 0] and "resumed from step-" in "".join(texts), texts[0][-3000:]
    assert ended([agent(start_script, *flags, one, nodes=1, each=2, port=free_port())])[0] == [0]
    assert_same_generators(one, two, 2)


def test_sigusr1_at_one_process_saves_and_ends_all_with_its_status(tmp_path, start_script):
    run = tmp_path / "run"
    both = [start_script(SCRIPT, *LONG, "--output_dir", run, env=env) for env in alone(2)]
    wait_for_step(run, 1, both[0])
    for _ in range(2):
        both[1].send_signal(signal.SIGUSR1)
    status, texts = ended(both)
    assert status == [75, 75] and "stopped after step" in texts[0], texts
    (state,) = list_training_states(run)
    assert {path.name for path in state.path.iterdir()} == {"state.pt", "process-0.pt", "process-1.pt"}


def test_below_torchrun_sigusr1_ends_with_0(tmp_path, start_script):
    """Any other status would make torchrun start the processes again."""
    run = tmp_path / "run"
    launcher = agent(start_script, *LONG, "--output_dir", run, nodes=1, each=2, port=free_port())
    wait_for_step(run, 1, launcher)
    psutil.Process(launcher.pid).children()[1].send_signal(signal.SIGUSR1)
    status, texts = ended([launcher])
    assert status == [0] and "stopped after step" in texts[0], texts[0][-3000:]


ELSEWHERE = """
import os, runpy, sys
from cyclegan.training import peers
peers.SEEN_WITHIN_S = 0.0
os.chdir(sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_folder_of_one_node_alone_is_named_with_the_process(tmp_path, start_script):
    both = []
    for rank, env in enumerate(alone(2)):
        (tmp_path / str(rank)).mkdir()
        words = (tmp_path / str(rank), ROOT / SCRIPT, *LONG, "--output_dir", "run")
        both.append(start_script("-c", ELSEWHERE, *words, env=env))
    status, texts = ended(both)
    assert status == [1, 1]
    for text in texts:
        assert re.search(r"process 1 on \S+ doesn't see --output_dir run as process 0 does: use a folder that all "
                         "nodes share$", text.strip().splitlines()[-1])  # fmt: skip
    assert not (tmp_path / "1" / "run").exists()


WITHOUT_LOCKS = """
import errno, fcntl, runpy, sys
name, *sys.argv = sys.argv[1:]
def flock(*_):
    raise OSError(getattr(errno, name), "no locks")
fcntl.flock = flock
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_without_locks_a_training_starts_and_a_second_one_is_refused(tmp_path, start_script, run_script, error):
    words = ("-c", WITHOUT_LOCKS, error, ROOT / SCRIPT, *LONG, "--output_dir", tmp_path / "run")
    first = start_script(*words)
    wait_for_step(tmp_path / "run", 1, first)
    second = run_script(*words, "--resume", "auto", ok=False)
    assert second.returncode == 1 and "another process is training into" in second.stderr
    first.send_signal(signal.SIGTERM)
    _, text = first.communicate(timeout=300)
    assert first.returncode == 0 and "has no file locks: don't start two trainings" in text


def test_compressed_gradients_change_every_network_a_little(tmp_path, start_script):
    found = {}
    for kind in ("none", "bf16", "fp16"):
        words = ("-m", "tests.compressed", kind, tmp_path / kind)
        status, texts = ended([start_script(*words, env=env) for env in alone(2)])
        assert status == [0, 0], texts
        found[kind] = torch.load(tmp_path / kind, weights_only=True)
    plain = found.pop("none")
    for kind, each in found.items():
        for name, weights in each["weights"].items():
            difference = (weights - plain["weights"][name]).abs()
            assert 0 < difference.mean() < 2e-4, f"{kind} {name}"  # Half of what two steps of Adam may move.
        for name, loss in each["losses"].items():
            assert float(loss) == pytest.approx(float(plain["losses"][name]), abs=0.02), f"{kind} {name}"


def test_compression_needs_several_processes(tmp_path, run_script):
    done = run_script(SCRIPT, *LONG, "--output_dir", tmp_path / "run", "--gradient_compression", "bf16", ok=False)
    assert done.returncode == 1 and "--gradient_compression bf16 needs a second process" in done.stderr


SRUN = """#!/bin/bash
# SLURM on one machine that plays two nodes: signals reach the tasks alone, not what they started.
pids=()
for node in 0 1; do SLURM_NODEID=$node "${@:3}" & pids+=($!); done
trap 'kill -USR1 "${pids[@]}"' USR1
for pid in "${pids[@]}"; do
    while wait "$pid"; kill -0 "$pid" 2> /dev/null; do :; done
    wait "$pid" || failed=yes
done
[ -z "$failed" ]
"""
TORCHRUN = """#!/bin/bash
exec {python} -m torch.distributed.run "$@"
"""
SCONTROL = """#!/bin/bash
case "$1" in
    show) echo 127.0.0.1; echo 127.0.0.2;;
    requeue) touch "$REQUEUED/$2";;
esac
"""


def test_the_sbatch_file_saves_at_sigusr1_requeues_the_job_and_continues(tmp_path):
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("torchrun", TORCHRUN.format(python=sys.executable))):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    (commands / "activate").write_text(f"PATH={commands}:$PATH\n")
    env = {**os.environ, **SHARED_CPU, "VENV": str(tmp_path), "REQUEUED": str(tmp_path), "PYTHONPATH": str(ROOT),
           "SLURM_JOB_ID": str(free_port()), "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2",
           "SLURM_GPUS_ON_NODE": "1"}  # fmt: skip
    run = tmp_path / "run"

    def start(*flags, **more):
        words = ["bash", "docs/cluster/train.sbatch", *map(str, (*FLAGS, *flags, "--output_dir", run))]
        return subprocess.Popen(words, cwd=ROOT, env={**env, **more}, text=True, stderr=subprocess.PIPE)

    job = start("--epochs", 4000)
    try:
        wait_for_step(run, 1, job)
        job.send_signal(signal.SIGUSR1)
        status, texts = ended([job])
        assert status == [0] and "stopped after step" in texts[0], texts[0][-3000:]
        assert (tmp_path / env["SLURM_JOB_ID"]).exists()
        (state,) = list_training_states(run)
        epochs = state.global_step // 16 + 1
        job = start("--epochs", epochs, SLURM_RESTART_COUNT="1")
        status, texts = ended([job])
        assert status == [0] and f"resumed from {state.path.name}" in texts[0], texts[0][-3000:]
        assert (run / f"epoch-{epochs:04d}").is_dir()
    finally:
        job.kill()
        job.communicate()

