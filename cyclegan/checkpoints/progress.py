"""The files of a run that show how far its training is: progress.json, metrics.jsonl, and the newest samples.

The trainer writes them, and the app reads them while no epoch is complete yet. None of them is published.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from cyclegan.checkpoints.format import SAMPLES
from cyclegan.errors import UserError
from cyclegan.files import read_json, whole_file

PROGRESS = "progress.json"
BEAT_S = 3.0
"""Seconds between two writes of progress.json."""
STALE_S = 30.0
"""A training that hasn't written for so long was killed, or its computer sleeps."""
State = Literal["preparing", "training", "stopped", "done"]
STATES: tuple[State, ...] = ("preparing", "training", "stopped", "done")


@dataclass(frozen=True)
class Progress:
    """The progress of a run, as its trainer last wrote it."""

    state: State
    """preparing: the pictures and the networks are loaded. stopped: by a signal or an error."""
    epoch: int = 0
    """The one that is trained, from 1; 0 while preparing."""
    epochs: int = 0
    """The number that the run will have."""
    step: int = 0
    """Completed steps of this epoch."""
    steps: int = 0
    """Steps in an epoch."""
    run_step: int = 0
    """Completed steps of the run."""
    seconds_left: float | None = None
    """The rest of this epoch; None before its pace is known."""
    run_seconds_left: float | None = None
    losses: dict[str, float] = field(default_factory=dict)
    """The last that the trainer read from the device."""
    domains: dict[str, str] = field(default_factory=dict)
    """Names by `a`, `b`."""
    samples_step: int | None = None
    """The step of the run whose samples are in RUN/samples; None: no step of this process."""
    written: float = 0.0
    """The time of the file, in seconds since 1970."""
    process: str = ""
    """The trainer's process, see `this_process`."""

    @property
    def part(self) -> float:
        """The completed share of the epoch, 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0

    @property
    def has_samples(self) -> bool:
        """True if the samples in RUN/samples are of the epoch that is trained, so newer than any checkpoint's."""
        return self.samples_step is not None and self.samples_step > self.run_step - self.step

    @property
    def alive(self) -> bool:
        """True while a process trains."""
        lately = self.state in ("preparing", "training") and abs(time.time() - self.written) < STALE_S
        return lately and not _ended(self.process)


def this_process() -> str:
    """Return what tells this process from all others: its computer, its number there and its start."""
    return f"{_computer()} {os.getpid()} {psutil.Process().create_time():.1f}"


def _computer() -> str:
    name = platform.node().replace(" ", "_")
    with contextlib.suppress(OSError):  # Containers of one name have their own numbers; not on Windows and macOS.
        name += os.readlink("/proc/self/ns/pid")
    return name


def _ended(process: str) -> bool:
    """Return whether a process of this computer has ended; False where that can't be known."""
    words = process.split(" ")
    if len(words) != 3 or not re.fullmatch(r"\d{1,9}", words[1]) or words[0] != _computer():
        return False
    try:
        found = psutil.Process(int(words[1]))
        return found.status() == psutil.STATUS_ZOMBIE or f"{found.create_time():.1f}" != words[2]
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def is_written(run: Path, *, within_s: float = 5 * BEAT_S) -> bool:
    """Return True if another process still writes RUN/progress.json; compares no clocks of two computers.

    Returns at once if the file says that its training has ended, or its process has; looks for `within_s` otherwise.
    """
    first, until = read_progress(run), time.monotonic() + within_s
    if first is None or first.state not in ("preparing", "training") or _ended(first.process):
        return False
    while time.monotonic() < until:
        time.sleep(BEAT_S / 3)
        now = read_progress(run)
        if now is not None and now.written != first.written:
            return now.state in ("preparing", "training")
    return False


def write_progress(run: Path, progress: Progress) -> None:
    """Write RUN/progress.json whole, without waiting for the disk. Raises OSError."""
    values = asdict(progress) | {"written": time.time(), "process": this_process()}
    values["losses"] = {name: value for name, value in progress.losses.items() if math.isfinite(value)}
    with whole_file(run / PROGRESS, durable=False) as part:
        part.write_text(json.dumps(values, ensure_ascii=False) + "\n", encoding="utf-8")


def read_progress(run: Path) -> Progress | None:
    """Return the progress that is recorded in a run's folder; None if there is none that can be read."""
    try:
        values = read_json(run / PROGRESS)
    except UserError:
        return None
    if values.get("state") not in STATES or not _number(values.get("written")):
        return None
    counts = {name: _count(values.get(name)) for name in ("epoch", "epochs", "step", "steps", "run_step")}
    names = "seconds_left", "run_seconds_left"
    times = {name: value if _number(value := values.get(name)) else None for name in names}
    losses, domains = (found if isinstance(found := values.get(name), dict) else {} for name in ("losses", "domains"))
    return Progress(
        values["state"], **counts, **times,
        losses={name: value for name, value in losses.items() if _number(value)},
        domains={name: str(domains.get(name, name)) for name in ("a", "b")},
        samples_step=_count(values.get("samples_step")) or None, written=values["written"],
        process=str(values.get("process", ""))[:1000],
    )  # fmt: skip


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _count(value: Any) -> int:
    return max(0, value) if type(value) is int else 0


def newest_samples(run: Path) -> list[Path]:
    """Return the grids of test pictures that `--samples_every` writes, ab.png and ba.png; either may be missing."""
    return [path for name in SAMPLES.values() if (path := run / name).is_file()]


class MetricsLog:
    """Appends JSON lines to RUN/metrics.jsonl.

    A line has `event` ("start", "step", "epoch" or "scores"), `epoch`, `step`, `losses`; for starts also `device`,
    `processes`, `mixed_precision`; for epochs `metrics`, `lr`, `images_per_second`, `seconds`, `skipped_steps`; for
    scores `metrics` and `untranslated`, the same figures of the input.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / "metrics.jsonl"

    def append(self, values: Mapping[str, Any]) -> None:
        """Add a line and hand it to the operating system at once."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def size(self) -> int:
        """Return the bytes of the file, 0 if there is none: it grows with each line."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def read(self) -> list[dict[str, Any]]:
        """Return all lines that this class wrote; a crash may have cut the last one."""
        rows = []
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if (
                    isinstance(row, dict)
                    and row.get("event") in ("start", "step", "epoch", "scores")
                    and all(type(row.get(key)) is int for key in ("epoch", "step"))
                    and isinstance(row.get("losses"), dict)
                ):
                    rows.append(row)
        return rows

    def rewind(self, global_step: int, epochs: int | None = None) -> None:
        """Drop lines of steps that will be run again after resuming from `global_step`. Raises OSError.

        Args:
            epochs: completed ones; the line of an epoch that was cut short is dropped, too.
        """
        kept = [row for row in self.read() if row["step"] <= global_step]
        if epochs is not None:
            kept = [row for row in kept if row["event"] not in ("epoch", "scores") or row["epoch"] <= epochs]
        with whole_file(self.path) as part:
            part.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
