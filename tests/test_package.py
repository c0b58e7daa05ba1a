"""The package: what `pip install .` installs, and that pyproject.toml and the requirements files agree."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings it.
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def lines_of(name):
    """Return the requirements in a file, without comments and `-r`."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return {line for line in text.splitlines() if line and not line.startswith(("#", "-"))}


def required(*extras):
    """Return the requirements of the package with `extras`, without the package itself."""
    listed = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return {line for line in listed if Requirement(line).name != PROJECT["name"]}


def test_requirements_txt_is_the_package_with_train_app_and_study():
    assert lines_of("requirements.txt") == required("train", "app", "study")


def test_requirements_dev_txt_is_the_rest():
    extras = required("export", "features", "volumes", "ray", "dev")
    assert lines_of("requirements-dev.txt") == extras - {*PROJECT["dependencies"]}
    assert {*EXTRAS} == {"train", "app", "study", "export", "features", "volumes", "ray", "dev"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy, because the build leaves files beside the sources."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("cyclegan", "hub"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "train_accelerate.py"):
        shutil.copy(ROOT / name, copy)
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(out)]
    command = [sys.executable, "-m", "pip", "wheel", ".", *options]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_module_and_file_of_the_library_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
        commands = next(archive.read(n).decode() for n in archive.namelist() if n.endswith("/entry_points.txt"))
    ours = {
        path.relative_to(ROOT).as_posix()
        for part in ("cyclegan", "hub")
        for path in (ROOT / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == ours | {"train_accelerate.py"}
    from cyclegan import __version__

    assert f"\nVersion: {__version__}\n" in metadata
    assert "cyclegan = cyclegan.__main__:main" in commands and "cyclegan-train = train_accelerate:main" in commands


@pytest.fixture
def installed(wheel, tmp_path):
    """Run Python far from the sources, with the wheel unpacked and without what only the extras install."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "sitecustomize.py").write_text(BLOCK, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def call(*arguments):
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)

    call.site, call.work = site, work
    return call


# Those that the dependencies themselves may bring (filelock, httpx, anyio) are left alone.
BLOCK = """
import sys
class Blocked:
    NAMES = set("accelerate authlib babel choix datasets gradio imagehash itsdangerous krippendorff matplotlib onnx "
                "onnxruntime pandas psycopg pyarrow scipy skimage sqlalchemy starlette statsmodels torchvision "
                "uvicorn".split())
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.NAMES:
            raise ModuleNotFoundError(f"{name} is of an extra", name=name)
sys.meta_path.insert(0, Blocked())
"""


def test_the_installed_command_translates_without_any_extra(installed):
    Image.new("RGB", (64, 48), (90, 120, 60)).save(installed.work / "in.png")
    done = installed(
        "-m", "cyclegan", "translate", "--checkpoints", ROOT / "demo" / "streets", "--direction", "ab",
        "--input", "in.png", "--output", "out.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Image.open(installed.work / "out.png") as picture:
        assert picture.size == (64, 48)
    where = installed("-c", "import cyclegan, hub; print(cyclegan.__file__)")
    assert str(installed.site) in where.stdout, where.stderr
