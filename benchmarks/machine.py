"""What a report says of the machine and the code that it was measured with."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch

ROOT = Path(__file__).resolve().parent.parent


def describe() -> dict[str, Any]:
    """Processor, memory, accelerator, versions and commit; no name or address of the machine."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": gpu,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit(),
    }


def conclude(path: Path, command: str, started: float, goal: dict[str, Any], fault: str, **found: Any) -> None:
    """Write a report as JSON, and exit with the fault where its goal isn't reached.

    Args:
        started: `time.perf_counter()` at the start.
        goal: what was to be reached, and under "reached" whether it was.
        found: the report's figures.
    """
    report = {"command": command, "machine": describe(), "seconds": round(time.perf_counter() - started, 1),
              "goal": goal, **found}  # fmt: skip
    path.write_text(json.dumps(report, indent=2) + "\n")
    if not goal["reached"]:
        sys.exit(fault)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """The checked-out commit, with "+changes" where the tree differs from it; "unknown" in a copy without history."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
