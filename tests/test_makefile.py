"""`make` installs what was asked for, once, in an order that keeps torch and torchvision of one build."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STUB = '#!/bin/sh\necho "$(basename "$0") $*" >> "{log}"\n'
REQUIRED = " ".join(line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("torch"))
TORCH = f"uv pip install --python {{bin}}/python --torch-backend {{build}} {REQUIRED} "
PIP = "python -m pip install --disable-pip-version-check "


@pytest.fixture
def make(tmp_path):
    """Return a function that runs make in an environment of programs that only note their arguments."""
    venv, log = tmp_path / "venv", tmp_path / "log"
    (venv / "bin").mkdir(parents=True)
    for name in ("python", "uv", "ruff"):
        (venv / "bin" / name).write_text(STUB.format(log=log), encoding="utf-8")
        (venv / "bin" / name).chmod(0o755)
    # `make test TORCH=cpu` hands its variables on to what it runs, which is this test.
    outer = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "TORCH", "PORT", "VENV", "PYTHON", "LOCK", "UPGRADE"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}

    def run(*words):
        log.write_text("")
        command = ["make", f"VENV={venv}", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        return done, log.read_text().splitlines()

    run.bin = venv / "bin"
    return run


def test_a_start_installs_once_and_takes_the_port(make):
    done, said = make("demo", "PORT=8000")
    assert done.returncode == 0, done.stderr
    assert said == [f"{PIP}-r requirements.txt", "python app.py --port 8000"]
    assert make("demo")[1] == ["python app.py --port 7860"]
    assert make("install")[1] == []


def test_without_a_gpu_torch_and_torchvision_come_first_and_from_one_place(make):
    done, said = make("demo", "TORCH=cpu")
    assert done.returncode == 0, done.stderr
    assert said[0] == f"{PIP}uv" and said[2:] == [f"{PIP}-r requirements.txt", "python app.py --port 7860"]
    assert said[1].startswith(TORCH.format(bin=make.bin, build="cpu"))
    assert "--reinstall-package torch --reinstall-package torchvision" in said[1]
    again, said = make("test", "TORCH=cpu")
    assert again.returncode == 0, again.stderr
    assert said[:2] == [f"{PIP}-r requirements-dev.txt", "ruff check ."] and said[2].startswith("python -m pytest")
    for words in (["demo", "TORCH=cpu"], ["demo"]):
        assert make(*words)[1] == ["python app.py --port 7860"]


def test_a_lock_holds_for_everything_that_is_installed(make):
    lock = "constraints/ci.txt"
    said = make("test", "TORCH=cpu", f"LOCK={lock}")[1]
    assert said[1].startswith(TORCH.format(bin=make.bin, build="cpu") + f"-c {lock} ")
    assert said[2:4] == [f"{PIP}-r requirements.txt -c {lock}", f"{PIP}-r requirements-dev.txt -c {lock}"]


def test_audit_and_lock(make):
    assert make("audit")[1][-1] == "python .ci/audit.py constraints/ci.txt constraints/lowest.txt"
    assert make("lock")[1] == [f"{PIP}uv", "python .ci/lock.py --upgrade"]
    assert make("lock", "UPGRADE=")[1][1] == "python .ci/lock.py"


def test_another_build_replaces_the_one_before(make):
    make("install")
    for build in ("cpu", "auto", "cpu"):
        said = make("install", f"TORCH={build}")[1]
        assert said[1].startswith(TORCH.format(bin=make.bin, build=build)) and len(said) == 3


@pytest.mark.parametrize("value", ["gpu", "cpu auto", "CPU"], ids=["other", "two", "capitals"])
def test_an_unknown_build_is_a_sentence_and_installs_nothing(make, value):
    done, said = make("demo", f"TORCH={value}")
    assert done.returncode != 0 and not said
    assert f"TORCH={value} must be cpu (no GPU) or auto" in done.stderr and done.stderr.count("\n") == 1


def test_an_environment_that_could_not_be_made_is_tried_again(make, tmp_path):
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] || {{ touch {make.bin}/python; exit 1; }}\n', encoding="utf-8")
    python.chmod(0o755)
    (make.bin / "python").unlink()
    for _ in range(2):  # As without Debian's python3-venv, where the folder is left half made.
        done, said = make("demo", f"PYTHON={python}")
        assert done.returncode != 0 and not said and "-m venv" in done.stdout
