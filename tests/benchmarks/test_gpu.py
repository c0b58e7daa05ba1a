"""The command for a GPU: what it has found outlives it, and no part takes another one's time."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image

from benchmarks import gpu
from benchmarks.train_throughput import Failure, kill_all

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pairs(tmp_path):
    """A folder of side-by-side pairs, as the data sets of pix2pix are."""
    rng, folder = np.random.default_rng(0), tmp_path / "pairs"
    for part, count in (("train", 8), ("val", 2)):
        (folder / part).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (40, 80, 3), np.uint8)).save(folder / part / f"{index}.png")
    return folder


@pytest.mark.slow
def test_a_run_that_is_cut_has_what_it_had_found(pairs, tmp_path):
    output = tmp_path / "out"
    # Time enough for a busy machine: the parts end as soon as they are done.
    words = ["-m", "benchmarks.gpu", "--dataset", str(pairs), "--output", str(output), "--device", "cpu", "--tiny",
             "--seconds", "2400"]  # fmt: skip
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    with contextlib.ExitStack() as after:
        after.callback(process.wait)
        after.callback(lambda: os.killpg(process.pid, signal.SIGKILL))  # A cut call takes all of its processes along.
        while not (output / "train_throughput.md").is_file():
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
    checks = json.loads((output / "checks.json").read_text())
    assert set(checks) == set(gpu.CHECKS) and set(checks["finite"]) == {"bf16"} and len(checks["memory"]) == 4
    throughput = json.loads((output / "train_throughput.json").read_text())
    assert {case["status"] for case in throughput["cases"]} == {"measured"}
    assert "| 1 | plain |" in (output / "train_throughput.md").read_text()
    summary = json.loads((output / "summary.json").read_text())
    readme = (output / "README.md").read_text()
    assert "checks" in summary["parts"] and "| checks |" in readme and "| finite | bf16 | yes |" in readme
    assert not (output / "training.json").exists()


@pytest.mark.slow
def test_checks_are_written_one_by_one(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(gpu, "write_json", lambda path, values: written.append((path.name, json.dumps(values))))
    monkeypatch.setattr(gpu, "CHECKS", {"no_waiting": gpu.check_waiting})
    found = gpu.run_checks(SimpleNamespace(device="cpu", tiny=True, output=tmp_path), limit_s=300)
    assert found == {"no_waiting": {"steps": {"ok": None, "note": "needs a GPU"}}}
    assert written == [("checks.json", json.dumps(found))] * 2  # After the result, and at the end.


def run_with_parts(monkeypatch, pairs, output, *, checks_s, throughput_s, training_s):
    """Run the command with parts that take so long by a clock of their own; the time that each one was given."""
    now, given = [0.0], {}
    monkeypatch.setattr(gpu, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def part(name, seconds, result):
        def run(*args, **options):
            given[name] = options["seconds"] if name == "report" else args[-1]
            now[0] += seconds
            if isinstance(result, Exception):
                raise result
            return result

        return run

    fine = {"finite": {"bf16": {"ok": True}}}
    trained = {"epochs": 3, "planned_epochs": 4, "complaint": ""}
    monkeypatch.setattr(gpu, "run_checks", part("checks", checks_s, fine))
    monkeypatch.setattr(gpu, "run_throughput", part("throughput", throughput_s, Failure("failed", "no luck")))
    monkeypatch.setattr(gpu, "run_training", part("training", training_s, trained))
    monkeypatch.setattr(gpu.train_report, "write_report", part("report", 1, None))
    monkeypatch.setattr(sys, "argv", ["gpu", "--dataset", str(pairs), "--output", str(output), "--device", "cpu"])
    assert gpu.main() == 1  # A part failed, and the next ones ran all the same.
    return given


def test_no_part_takes_another_ones_time(pairs, tmp_path, monkeypatch):
    given = run_with_parts(monkeypatch, pairs, tmp_path / "a", checks_s=20, throughput_s=105, training_s=340)
    assert given["checks"] == given["throughput"] == pytest.approx(105)  # A fifth of 525 s.
    assert given["training"] == pytest.approx(525 - 125 - 47.25)
    assert given["report"] == pytest.approx(525 - 125 - 340)
    # Where the first parts come to their ends late, the training is shorter, and the report has its time.
    given = run_with_parts(monkeypatch, pairs, tmp_path / "b", checks_s=130, throughput_s=125, training_s=222)
    assert given["training"] == pytest.approx(525 - 255 - 47.25) and given["report"] > 47
    summary = json.loads((tmp_path / "b" / "summary.json").read_text())
    assert [summary["parts"][name]["came_to"] for name in ("checks", "throughput", "report")] == [
        "all well", "failed: no luck", "report/README.md"]  # fmt: skip
    readme = (tmp_path / "b" / "README.md").read_text()
    assert "3 epochs (4 were planned)" in readme and "train_throughput.md" not in readme  # No link to what isn't there.


def test_what_a_killed_part_started_ends_with_it():
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '900']).pid, flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(process.stdout.readline()))
    kill_all(process.pid)
    assert process.wait() == -signal.SIGKILL
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    kill_all(process.pid)  # Nothing is left, which is fine.
    process.stdin.close()
    process.stdout.close()
