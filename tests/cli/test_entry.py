"""The end of every command: a sentence for a user's error, a traceback for a bug, silence for a closed pipe."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cyclegan.cli import entry
from cyclegan.cli.entry import run_command
from cyclegan.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_a_users_error_is_one_sentence(capsys):
    def main():
        raise ConfigError("--lr must be a finite number, not {value}", value="nan")

    assert run_command(main) == 1
    assert capsys.readouterr().err == "error: --lr must be a finite number, not nan\n"


def test_only_the_first_of_several_processes_reports_an_error_of_all(capsys, monkeypatch):
    waited = []
    monkeypatch.setattr(entry.time, "sleep", waited.append)
    monkeypatch.setattr(entry.signal, "signal", lambda *of: waited.append(of))  # So that torchrun's end it at once.

    def main():
        raise ConfigError("--lr must be a finite number, not {value}", value="nan")

    monkeypatch.setenv("RANK", "0")
    assert run_command(main) == 1 and not waited
    assert capsys.readouterr().err == "error: --lr must be a finite number, not nan\n"
    monkeypatch.setenv("RANK", "2")
    assert run_command(main) == 1 and waited == [(signal.SIGTERM, signal.SIG_DFL), entry.OTHERS_WAIT_S]
    assert capsys.readouterr().err == "error in process 2: --lr must be a finite number, not nan\n"


def test_a_bug_looks_like_one():
    def main():
        raise ValueError("a bug of ours")

    with pytest.raises(ValueError, match="a bug of ours"):
        run_command(main)


def test_a_reader_that_has_left_is_no_error():
    """As in `python -m hub list … | head`: nothing on stderr, and the status of SIGPIPE."""
    program = (
        "import sys; from cyclegan.cli.entry import run_command\n"
        "sys.exit(run_command(lambda: [print('a line') for _ in range(100_000)] and None))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "a line\n"
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(300) == 141
    process.stderr.close()


def test_a_closed_stdout_is_no_error():
    program = (
        "import sys; from cyclegan.cli.entry import run_command\n"
        "sys.stdout = None\n"
        "sys.exit(run_command(lambda: 0))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_another_broken_pipe_is_a_bug():
    def main():
        raise BrokenPipeError(32, "of a worker")

    with pytest.raises(BrokenPipeError, match="of a worker"):
        run_command(main)


@pytest.mark.parametrize("module", ["cyclegan", "hub", "train_accelerate", "app"])
def test_names_cannot_write_to_the_terminal(module, tmp_path):
    """By any command: no escape sequence, no line of its own, no screen full of it."""
    name = "\x1b[2J\x1b[31m\nerror: all good \x9b1m"
    words = {
        "cyclegan": [["import", "--from", name, "--output", "x"], ["import", "--fro" + name], [name],
                     ["export", name, "--direction", "ab"], ["export", name, "--direction", name]],
        "hub": [["list", name], ["push", name, "user/name"], [name]],
        "train_accelerate": [["--dataset", name, "--output_dir", "x"], ["--lr", name], ["--x" + name]],
        "app": [["--checkpoints", name], ["--port", name]],
    }[module]  # fmt: skip
    for each in words:
        program = [sys.executable, "-m", module, *each]
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, env=environment())
        assert done.returncode in (1, 2) and "error: " in done.stderr
        assert "Traceback" not in done.stderr and done.stdout == ""
        assert all(line.isprintable() for line in done.stderr.split("\n")), each
        assert "\nerror: all good" not in done.stderr and len(done.stderr) < 3000


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
