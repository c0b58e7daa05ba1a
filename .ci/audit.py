"""Look for known holes in pinned versions, with pip-audit; one fails. Without the data base, one line says so.

usage: audit.py FILE...
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

IGNORED: dict[str, str] = {
    "CVE-2026-24747": "torch before 2.10, torch.load: only training states are read by it (SECURITY.md)",
    "CVE-2025-3000": "torch before 2.13, torch.jit.script: never called",
}
"""Holes that don't fail, by id, each with the reason why it can't be used here. A fixed version is better. Spaces and
clusters bring torch 2.8 to 2.11, so its bound can't be above those."""
UNREACHABLE = re.compile(r"(Connection|Proxy|SSL|HTTP|Service)Error|Time(d )?out|Max retries exceeded")
LIMIT_S = 600


class Unreachable(Exception):
    """The data base of known holes doesn't answer."""


def audited(file: str) -> list[dict[str, Any]]:
    """Return what pip-audit found out about each package in a file.

    Raises:
        Unreachable: the data base doesn't answer.
    """
    ignored = [word for hole in IGNORED for word in ("--ignore-vuln", hole)]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        # Pinned versions, so nothing is resolved or installed. OSV has PyPI's advisories and GitHub's.
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--vulnerability-service", "osv"]
        command += ["--progress-spinner", "off", "--format", "json", "--output", str(report), "-r", file, *ignored]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise Unreachable from error
        found = json.loads(report.read_text(encoding="utf-8"))["dependencies"] if report.exists() else None
    if found is None:
        if UNREACHABLE.search(done.stderr):
            raise Unreachable
        sys.exit(f"{done.stderr}\npip-audit could not read {file}")
    if found and all("skip_reason" in one for one in found):
        raise Unreachable  # A mirror answers for it, and knows no package.
    return found


def main(files: list[str]) -> int:
    holes = 0
    for number, file in enumerate(files):
        try:
            found = audited(file)
        except Unreachable:
            print(f"{', '.join(files[number:])}: not audited, because the data base of known holes can't be reached")
            break
        for one in found:
            for hole in one.get("vulns", ()):
                fixed = ", ".join(hole["fix_versions"]) or "none yet"
                print(f"{file}: {one['name']} {one['version']} has {hole['id']}; fixed versions: {fixed}")
                holes += 1
        if skipped := [one["name"] for one in found if "skip_reason" in one]:
            print(f"{file}: not audited: {', '.join(skipped)}")
        print(f"{file}: {len(found) - len(skipped)} versions audited")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
