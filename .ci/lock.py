"""Write constraints/*.txt with uv: the versions that CI installs, and the lower bounds as one set of versions.

usage: make lock            the newest versions that fit
       make lock UPGRADE=   the versions that are locked already, where they still fit
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
OLDEST_PYTHON = "3.10"
BUILD_OF_TORCH = re.compile(r"(cuda|nvidia|triton)\b")
CI = f"""\
# The versions that CI installs (.ci/run) and audits (make audit), for Python {OLDEST_PYTHON} and newer on any system.
# Made by `make lock`: uv resolves requirements-dev.txt.
# CUDA's libraries and Triton are left out, because they belong to one build of torch, which pins them itself. The CPU
# build has the same version and needs none of them: `make test TORCH=cpu LOCK=constraints/ci.txt` installs it.
"""
LOWEST = f"""\
# The lower bounds of requirements.txt and requirements-dev.txt as one set of versions, for Python {OLDEST_PYTHON}.
# They can be installed together, and `make audit` looks for known holes in them.
# Made by `make lock`, which fails where they conflict. The packages that they need are the newest that fit.
"""


def compiled(source: Path, *options: str, known: str = "") -> list[str]:
    """Return the pinned requirements that uv finds for those in `source`, near the `known` ones."""
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "pinned.txt"
        output.write_text(known, encoding="utf-8")
        command = [uv, "pip", "compile", source, "--output-file", output, "--python-version", OLDEST_PYTHON]
        subprocess.run([*command, "--no-annotate", "--no-header", "--quiet", *options], check=True, stdout=sys.stderr)
        lines = output.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not BUILD_OF_TORCH.match(line)]


def floors() -> list[str]:
    """Return each requirement of the project, pinned to its lower bound."""
    lines = [line for name in REQUIREMENTS for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    return [re.sub(r">=([^,]+).*", r"==\1", line) for line in lines if line and line[0] not in "#-"]


def main(options: list[str]) -> int:
    ci, lowest = ROOT / "constraints" / "ci.txt", ROOT / "constraints" / "lowest.txt"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "floors.in"
        source.write_text("\n".join(floors()), encoding="utf-8")
        try:
            newest = compiled(ROOT / REQUIREMENTS[-1], "--universal", *options, known=ci.read_text(encoding="utf-8"))
            least = compiled(source, *options, known=lowest.read_text(encoding="utf-8"))
        except subprocess.CalledProcessError as error:  # uv has said why.
            return error.returncode
    for path, head, lines in ((ci, CI, newest), (lowest, LOWEST, least)):
        path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
