"""Every benchmark says what it shows, takes and writes, at once: before torch is loaded, and in the list."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import catalogue

ROOT = Path(__file__).parents[2]
RUNNABLE = catalogue.runnable()
NO_BENCHMARKS = {"catalogue", "labels", "machine", "plain_recipe", "scale_report", "scale_work", "study_server"}
"""Files that only help others."""


def run(*words, path=ROOT):
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_every_file_is_a_benchmark_or_helps_one():
    files = {path.stem for path in catalogue.FOLDER.glob("[!_]*.py")}
    assert set(RUNNABLE) == files - NO_BENCHMARKS and len(RUNNABLE) >= 29


@pytest.mark.parametrize("name", RUNNABLE, ids="{}.py".format)  # The id "gpu" would be the mark.
def test_each_says_what_it_shows_takes_and_writes(name):
    found = catalogue.describe(name)
    assert 20 < len(found.shows) < 125 and "python -m" not in found.shows
    assert re.search(r"\d|minute|hour|day", found.takes) and re.search(r"core|GPU", found.takes) and found.writes
    if found.writes.startswith("benchmarks/") and "DEVICE" not in found.writes:
        assert (ROOT / found.writes).parent.is_dir()


def test_the_list_has_all_and_loads_nothing_slow():
    code = (
        "import runpy, sys; sys.argv = ['benchmarks']; runpy.run_module('benchmarks', run_name='__main__'); "
        "print(sorted({'torch', 'numpy', 'cyclegan', 'hub'} & {*sys.modules}))"
    )
    done = run("-c", code)
    lines = done.stdout.splitlines()
    assert [line.rpartition(".")[2] for line in lines if line.startswith("python -m")] == RUNNABLE, done.stderr
    assert lines[-1] == "[]" and "Takes about 10 minutes on two cores." in done.stdout
    assert run("-m", "benchmarks", "tiling").stdout.count("python -m") == 1
    assert "no benchmark is called tilling: choose from app_load" in run("-m", "benchmarks", "tilling").stderr
    assert "python -m benchmarks.NAME runs a benchmark" in run("-m", "benchmarks", "tiling", "--x").stderr


@pytest.mark.parametrize("name", ["train_throughput", "gpu", "study_coverage"], ids="{}.py".format)
def test_a_benchmark_says_so_before_it_loads_anything_slow(name, tmp_path):
    for slow in ("torch", "numpy"):
        (tmp_path / f"{slow}.py").write_text(f"raise SystemExit('{slow} is loaded')")
    said = run("-m", f"benchmarks.{name}", path=tmp_path).stderr.splitlines()
    found = catalogue.describe(name)
    assert said[0] == f"{name}: {found.shows} With its default flags it takes {found.takes}."
    assert said[1:] in (["torch is loaded"], ["numpy is loaded"])
    assert "default flags" not in run("-m", f"benchmarks.{name}", "--help", path=tmp_path).stderr
