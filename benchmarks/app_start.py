"""Seconds from `python app.py` until its page answers, with the embedded run.

    python -m benchmarks.app_start
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from benchmarks.machine import ROOT, describe
from cyclegan.cli.progress import progress_bar

TAKES = "about a minute on two cores"
REPORT = Path(__file__).parent / "reports" / "app_start.json"


def start_once() -> float:
    """Start the app on a free port, wait for its page, end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.perf_counter()
    token = secrets.token_urlsafe()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": {**os.environ, "CYCLEGAN_TOKEN": token}}
    process = subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT, **quiet)
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Authorization": f"Bearer {token}"})
    try:
        while process.poll() is None:
            try:
                with urllib.request.urlopen(asked, timeout=5):
                    return time.perf_counter() - started
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the app ended by itself; start it by hand to see why")
    finally:
        process.terminate()
        process.wait()


IMPORTS = """
import time
began = time.perf_counter()
import cyclegan.ui  # Imports gradio, without its stub files.
gradio_s = time.perf_counter() - began
import app
from cyclegan.ui.pages import checkpoints, compare, files, translate
print(gradio_s, time.perf_counter() - began)
"""


def imports_once() -> list[float]:
    """Seconds for gradio alone, and for all that is imported before the page is served."""
    done = subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=True)
    return [float(part) for part in done.stdout.split()]


def main() -> None:
    """Measure and write the report. The first start, which reads everything from disk, is told apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="starts after the first one")
    args = parser.parse_args()
    starts = progress_bar(iterable=range(args.repeats + 1), desc="starts", unit="start")
    first, *later = [round(start_once(), 2) for _ in starts]
    imported = [imports_once() for _ in progress_bar(iterable=range(args.repeats), desc="imports", unit="start")]
    report = {
        "command": f"python -m benchmarks.app_start --repeats {args.repeats}",
        "machine": describe(),
        "first_s": first,
        "later_s": later,
        "later_median_s": round(statistics.median(later), 2),
        "of_which_imports_s": round(statistics.median(imports[1] for imports in imported), 2),
        "of_which_gradio_s": round(statistics.median(imports[0] for imports in imported), 2),
    }
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(report)


if __name__ == "__main__":
    main()
