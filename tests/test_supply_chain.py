"""What the program is made of: lower bounds that hold, versions that CI ran with, and no code that comes with data."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCKS = ("constraints/ci.txt", "constraints/lowest.txt")
PYTHONS = ("3.10.0", "3.11.0", "3.12.0", "3.13.0")
CODE = {"", ".cfg", ".html", ".ipynb", ".js", ".json", ".jsonl", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
HOLES = {
    # The newest versions with a hole that the project's own use, or an audit, would meet.
    "authlib": "1.6.11",  # CVE-2026-44681
    "datasets": "5.0.0",  # PYSEC-2026-3716; and before 4.0, code that comes with a data set can run.
    "filelock": "3.20.2",  # CVE-2026-22701
    "onnx": "1.20.1",  # CVE-2026-27489
    "pillow": "12.2.0",  # CVE-2026-59197
    "pyarrow": "23.0.0",  # CVE-2026-25087
    "pytest": "9.0.2",  # CVE-2025-71176
    "setuptools": "82.0.1",  # CVE-2026-59890
    "starlette": "1.3.0",  # CVE-2026-54283
    "tqdm": "4.66.2",  # CVE-2024-34062
}


def requirements_in(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


DIRECT = {one.name: one for name in ("requirements.txt", "requirements-dev.txt") for one in requirements_in(name)}


def floor(requirement):
    return Version(next(one.version for one in requirement.specifier if one.operator == ">="))


def pinned(lock, python):
    """Return the locked version of each package for a Python on Linux."""
    system = {"python_full_version": python, "python_version": python[:4], "sys_platform": "linux",
              "platform_machine": "x86_64", "implementation_name": "cpython"}  # fmt: skip
    found = {}
    for one in requirements_in(lock):
        if one.marker is None or one.marker.evaluate(system):
            (pin,) = one.specifier
            assert pin.operator == "==" and one.name not in found, one
            found[one.name] = pin.version
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_what_ci_runs_with_is_pinned_and_allowed(python):
    versions = pinned("constraints/ci.txt", python)
    wrong = [str(one) for one in DIRECT.values() if not one.specifier.contains(versions.get(one.name, "0"))]
    assert not wrong, f"run make lock: {wrong}"


def test_lower_bounds_can_be_installed_together():
    """A bound below what another package needs, such as gradio's own of starlette, never holds: uv found these to."""
    versions = pinned("constraints/lowest.txt", PYTHONS[0])
    wrong = {name: versions.get(name) for name, one in DIRECT.items() if floor(one) != Version(versions.get(name, "0"))}
    assert not wrong, f"run make lock: {wrong}"


def test_lower_bounds_are_above_the_known_holes():
    assert [name for name, hole in HOLES.items() if DIRECT[name].specifier.contains(hole)] == []


def test_what_builds_the_package_has_the_bound_too():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires = ["{DIRECT["setuptools"]}"]' in project


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_heads_and_pins_and_no_address_and_fits_every_build_of_torch(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "Made by `make lock`" in text and not re.search(r"://|--|@ ", text)
    names = {one.name for one in requirements_in(lock)}
    assert not [name for name in names if name.startswith(("nvidia", "cuda", "triton"))]
    assert names == {canonicalize_name(name) for name in names}
    (torch,) = [one for one in requirements_in(lock) if one.name == "torch"]
    (pin,) = torch.specifier
    assert torch.specifier.contains(f"{pin.version}+cpu") and torch.specifier.contains(f"{pin.version}+cu130")


def test_no_code_of_a_data_set_or_model_is_ever_trusted():
    skipped = {".git", ".venv", "runs", "data", "scratch", "studies", "reports"}
    files = [
        Path(folder) / name
        for folder, folders, names in os.walk(ROOT)
        for name in names
        if not folders.sort() and Path(name).suffix in CODE
        if not skipped & set(Path(folder).relative_to(ROOT).parts[:1])
    ]
    assert len(files) > 300
    word = re.compile(r"trust_?remote_?code", re.IGNORECASE)
    here = Path(__file__)
    found = [path for path in files if path != here and word.search(path.read_text(encoding="utf-8", errors="replace"))]
    assert not found


# --- make audit ---------------------------------------------------------------------------------------------


@pytest.fixture
def audit(tmp_path):
    """Return a function that runs the audit with a pip-audit that writes `report` and ends with `stderr` and `code`."""
    (tmp_path / "pip_audit").mkdir()
    (tmp_path / "pip_audit" / "__init__.py").touch()  # Or the installed one would come first.
    (tmp_path / "lock.txt").write_text("starlette==0.40.0\n")

    def run(report=None, stderr="", code=0, more=()):
        written = f"open(sys.argv[sys.argv.index('--output') + 1], 'w').write({json.dumps(report)!r})" if report else ""
        (tmp_path / "pip_audit" / "__main__.py").write_text(
            f"import sys\nassert '--no-deps' in sys.argv and sys.argv[sys.argv.index('-r') + 1] == 'lock.txt'\n"
            f"{written}\nprint({stderr!r}, file=sys.stderr)\nsys.exit({code})\n"
        )
        command = [sys.executable, str(ROOT / ".ci" / "audit.py"), "lock.txt", *more]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    return run


def package(name="starlette", *holes):
    vulns = [{"id": hole, "fix_versions": ["0.49.1"], "aliases": [], "description": ""} for hole in holes]
    return {"name": name, "version": "0.40.0", "vulns": vulns}


def test_an_audit_without_holes_passes_and_says_how_many_were_looked_up(audit):
    done = audit({"dependencies": [package(), package("anyio"), {"name": "own", "skip_reason": "not known"}]})
    assert (done.returncode, done.stdout) == (0, "lock.txt: not audited: own\nlock.txt: 2 versions audited\n")


def test_a_hole_fails_the_audit_and_is_named_with_its_remedy(audit):
    done = audit({"dependencies": [package("starlette", "PYSEC-1", "PYSEC-2"), package("anyio")]}, code=1)
    assert done.returncode == 1
    assert done.stdout.startswith("lock.txt: starlette 0.40.0 has PYSEC-1; fixed versions: 0.49.1\n")
    assert "PYSEC-2" in done.stdout and "anyio" not in done.stdout


@pytest.mark.parametrize(("report", "stderr", "code"), [
    (None, "Traceback …\nrequests.exceptions.ConnectionError: HTTPSConnectionPool(…): Max retries exceeded", 1),
    (None, "requests.exceptions.ReadTimeout: Read timed out.", 1),
    (None, "requests.exceptions.ProxyError: …", 1),
    (None, "requests.exceptions.HTTPError: 503 Server Error", 1),
    ({"dependencies": [{"name": "starlette", "skip_reason": "not found"}]}, "", 0),
])  # fmt: skip
def test_without_the_data_base_an_audit_says_so_in_one_line_and_does_not_fail(audit, report, stderr, code):
    done = audit(report, stderr, code, more=["other.txt"])
    said = "lock.txt, other.txt: not audited, because the data base of known holes can't be reached\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_a_lock_that_can_not_be_read_fails_the_audit(audit):
    done = audit(stderr="ERROR:pip_audit._cli:requirement starlette is not pinned", code=1)
    assert done.returncode == 1 and "is not pinned" in done.stderr and "could not read lock.txt" in done.stderr


def test_ci_installs_and_audits_the_lock():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"^make .*\btest test-slow audit\b.* LOCK=constraints/ci.txt$", script, re.MULTILINE)
