"""The benchmark of scale as people start it, at its smallest."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.scale import PARTS

ROOT = Path(__file__).parents[2]


def run(*words):
    return subprocess.run([sys.executable, "-m", "benchmarks.scale", "--tiny", *words], cwd=ROOT, capture_output=True,
                          text=True)  # fmt: skip


def test_every_part_is_measured_and_kept_until_it_is_named(tmp_path):
    output = ("--output", str(tmp_path / "scale"))
    first = run("participants", *output)
    assert first.returncode == 0, first.stderr
    alone = json.loads((tmp_path / "scale" / "scale.json").read_text())["parts"]
    assert list(alone) == ["participants"]  # A call that is cut after a part has that part.
    others = run(*output)
    assert others.returncode == 0, others.stderr
    assert others.stdout.startswith("measuring training, pictures, frames, visitors, epochs: ")
    report = json.loads((tmp_path / "scale" / "scale.json").read_text())
    assert report["parts"]["participants"]["rows"] == alone["participants"]["rows"]
    text = (tmp_path / "scale" / "README.md").read_text()
    for name, part in PARTS.items():
        (row,) = report["parts"][name]["rows"]
        assert row["n"] == part.sizes[0] and all(row[key] > 0 for key in part.labels)
        assert text.count(f"| {name} | ") == len(part.labels) and f"- **{name}** (" in text
    assert (tmp_path / "scale" / "scale.png").read_bytes().startswith(b"\x89PNG")
    again = run(*output)
    assert again.returncode == 1 and "has every part: name those to measure again" in again.stderr
