"""How time and memory grow: with pictures, pixels, frames, visitors, participants and epochs.

    python -m benchmarks.scale [PART …] [--tiny]

Each part measures one thing at rising sizes, most of them in a process of its own, and is saved as soon as it is there.
Without PART, the parts that the report lacks are measured; a PART that is named is measured anew.

    training       a folder of tiny pictures, and train_accelerate.py with small networks
    pictures       one picture at its own size through the networks of demo/streets
    frames         a video through `python -m cyclegan translate`
    visitors       people who upload a picture to the app and wait, all at once
    participants   a study's report from made-up votes
    epochs         the list of a run's epochs: of a folder, on the app's page, and of a Hub on this machine
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from PIL import Image

from benchmarks.app_load import Visitor, encoded, serving, write_run
from benchmarks.machine import ROOT, describe
from benchmarks.scale_report import curves_of, draw, markdown
from benchmarks.scale_work import RUN
from cyclegan.cli.progress import progress_bar
from cyclegan.files import write_bytes

TAKES = "about 13 minutes on two cores"
REPORT = Path(__file__).parent / "reports" / "scale"
SIDE = 32
"""Of training's pictures."""
STEPS, FIRST = 60, 10
"""A training's steps, and those before its steps are timed."""
LOOK_S = 0.03
"""Between looks at the memory; a look takes a few milliseconds itself."""
FRAME, ASKED = 64, 64
"""Sides of a video's frames and of a visitor's picture."""
LOSSES = ("gan_ab", "gan_ba", "cycle_a", "cycle_b", "identity_a", "identity_b", "disc_a", "disc_b")
METRICS = ("diversity_ab", "diversity_ba", "reconstruction_l1_a", "reconstruction_l1_b")
Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Attributes:
        measure: yields a row for each size, with its figures by key; is given the sizes and an empty folder.
        against: the sizes' meaning.
        sizes: rising; --tiny takes the first one only.
        labels: key of each figure → its name and unit.
        notes: what was measured.
    """

    measure: Callable[[Sequence[float], Path], Iterator[Row]]
    against: str
    sizes: tuple[float, ...]
    labels: dict[str, str]
    notes: tuple[str, ...]


# --- processes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Watched:
    """What a process took, with its children."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    output: str


class Seen(NamedTuple):
    """A process at a moment."""

    at: float
    cpu_s: float
    mib: float


def tree(process: psutil.Process) -> tuple[float, float]:
    """Return the processor's seconds and the resident MiB of a process and its children, 0 once it has ended."""
    seconds = size = 0.0
    with contextlib.suppress(psutil.Error):
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                used = each.cpu_times()
                seconds, size = seconds + used.user + used.system, size + each.memory_info().rss / 2**20
    return seconds, size


def watched(
    words: Sequence[str], *, env: dict[str, str] | None = None, look: Callable[[float, float], None] = lambda *_: None
) -> Watched:
    """Run a command, and exit with its last line if it fails.

    Args:
        env: what is added to the environment.
        look: called all the time, with the processor's seconds so far and the resident MiB.
    """
    peak, began = 0.0, time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        # Votes go into files next to the studies, whatever this shell's database is.
        environment = {**os.environ, "DATABASE_URL": "", **(env or {})}
        process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment, stdout=output, stderr=errors)
        seen = psutil.Process(process.pid)
        try:
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                seconds, size = tree(seen)
                peak = max(peak, size)
                look(seconds, size)
                time.sleep(LOOK_S)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall_s, (_, status, usage) = time.perf_counter() - began, ended
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (output, errors):
            file.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(words)}: {(errors.read().strip().splitlines() or ['failed'])[-1]}")
        # Not its ru_maxrss, which begins with the size of the process that started it.
        return Watched(wall_s, usage.ru_utime + usage.ru_stime, peak, output.read())


def work(name: str, *values: Any, env: dict[str, str] | None = None) -> Row:
    """Run a function of `benchmarks.scale_work` in a process of its own; return what it prints, and its peak."""
    code = f"import sys; from benchmarks.scale_work import {name}; {name}(*sys.argv[1:])"
    done = watched(["-c", code, *map(str, values)], env=env)
    return {**json.loads(done.output.splitlines()[-1]), "peak_mib": done.peak_mib, "wall_s": done.wall_s}


# --- the parts ----------------------------------------------------------------------------------------------


def training(sizes: Sequence[float], folder: Path) -> Iterator[Row]:
    """Train with ever more pictures, half of them in each domain; the folder of pictures grows between trainings."""
    rng, made = np.random.default_rng(0), 0
    for domain in "AB":
        (folder / "data" / f"train{domain}").mkdir(parents=True)
    for size in map(int, sizes):
        for number in range(made, size // 2):
            for domain in "AB":
                values = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
                Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(
                    folder / "data" / f"train{domain}" / f"{number:06}.jpg"
                )
        made, run, seen = size // 2, folder / f"run-{size}", {}
        metrics = run / "metrics.jsonl"

        def look(seconds: float, mib: float, metrics: Path = metrics, seen: dict[int, Seen] = seen) -> None:
            count = len(metrics.read_bytes().splitlines()) if metrics.is_file() else 0  # A first row, then the steps'.
            seen.setdefault(count, Seen(time.perf_counter(), seconds, mib))

        began = time.perf_counter()
        done = watched([
            "train_accelerate.py", "--dataset", str(folder / "data"), "--output_dir", str(run),
            "--load_size", str(SIDE), "--crop_size", str(SIDE), "--generator", "resnet_6", "--ngf", "4", "--ndf", "4",
            "--samples_every", "0", "--max_steps", str(STEPS), "--log_every", str(FIRST),
        ], look=look)  # fmt: skip
        start, first, last = seen[1], seen[2], seen[STEPS // FIRST + 1]
        yield {
            "n": size, "start_s": start.cpu_s, "step_s": (last.cpu_s - first.cpu_s) / (STEPS - FIRST),
            "resident_mib": last.mib, "peak_mib": done.peak_mib, "start_wall_s": start.at - began,
            "step_wall_s": (last.at - first.at) / (STEPS - FIRST), "wall_s": done.wall_s,
        }  # fmt: skip


def pictures(sizes: Sequence[float], folder: Path) -> Iterator[Row]:
    """Translate pictures of so many megapixels, of 2^20 pixels each."""
    for size in sizes:
        yield {"n": size, **work("picture", size)}


def frames(sizes: Sequence[float], folder: Path) -> Iterator[Row]:
    """Translate videos of so many frames."""
    from cyclegan.translation.video_io import VideoWriter

    rng = np.random.default_rng(0)
    for size in map(int, sizes):
        film = folder / f"{size}.mp4"
        with VideoWriter(film, (FRAME, FRAME), rate=Fraction(12)) as writer:
            for number in range(size):
                values = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                image = Image.fromarray(values).resize((FRAME, FRAME), Image.Resampling.BICUBIC)
                writer.write(image, Fraction(number, 12), Fraction(1, 12))
        done = watched(["-m", "cyclegan", "translate", "--checkpoints", str(RUN), "--direction", "ab", "--input",
                        str(film), "--output", str(folder / f"{size}-night.mp4")])  # fmt: skip
        yield {"n": size, "call_s": done.cpu_s, "peak_mib": done.peak_mib, "wall_s": done.wall_s}


def visitors(sizes: Sequence[float], folder: Path) -> Iterator[Row]:
    """Let so many visitors, each from an address of their own, upload pictures and wait, one after the other."""
    rng = np.random.default_rng(0)

    def picture() -> bytes:
        values = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return encoded(Image.fromarray(values).resize((ASKED, ASKED), Image.Resampling.BICUBIC))

    def ask(everyone: list[Visitor], server: psutil.Process) -> Row:
        times = max(5, math.ceil(40 / len(everyone)))
        given = [[picture() for _ in range(times)] for _ in everyone]
        waits, peak, done = [], [0.0], threading.Event()

        def visit(visitor: Visitor, given: list[bytes]) -> None:
            for each in given:
                began = time.perf_counter()
                visitor.ask(each, size="original")
                waits.append(time.perf_counter() - began)

        def watch() -> None:
            while not done.wait(LOOK_S):
                peak[0] = max(peak[0], tree(server)[1])

        before = tree(server)[0]
        watcher = threading.Thread(target=watch)
        threads = [threading.Thread(target=visit, args=each) for each in zip(everyone, given, strict=True)]
        for thread in (watcher, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        watcher.join()
        if len(waits) < len(everyone) * times:
            raise SystemExit(f"{len(everyone) * times - len(waits)} of {len(everyone) * times} visits failed")
        return {
            "n": len(everyone), "median_s": statistics.median(waits), "p95_s": float(np.quantile(waits, 0.95)),
            "answer_s": (tree(server)[0] - before) / len(waits), "peak_mib": peak[0], "answers": len(waits),
        }  # fmt: skip

    def turn(sizes: Sequence[float]) -> Iterator[Row]:
        with serving(RUN) as (url, server):
            everyone = [Visitor(url, RUN.name, f"203.0.113.{number + 1}") for number in range(int(max(sizes)))]
            for _ in range(3):  # Loads torch and the networks, and what the first few results need.
                everyone[0].ask(picture(), size="original")
            yield from (ask(everyone[: int(size)], server) for size in sizes)

    # From both ends, because machines slow down under load. The memory is of the turn in which it only grows.
    falling = {row["n"]: row for row in turn(sizes[::-1])}
    for row in turn(sizes):
        smaller = {name: min(row[name], falling[row["n"]][name]) for name in ("median_s", "p95_s", "answer_s")}
        yield {**row, **smaller}


def participants(sizes: Sequence[float], folder: Path) -> Iterator[Row]:
    """Report on so many participants."""
    for size in map(int, sizes):
        work("votes", size, folder / f"study-{size}")
        yield {"n": size, **work("report", folder / f"study-{size}")}


def epochs(sizes: Sequence[float], folder: Path) -> Iterator[Row]:
    """List so many epochs: of a folder, on the app's page, of a repository with a commit and a tag for each."""
    from cyclegan.checkpoints.sources import LocalSource
    from hub.layout import commit_title, index_content, index_entry
    from tests.hub.loopback import TOKEN, LoopbackHub, Repo

    record = {"losses": dict.fromkeys(LOSSES, 0.5), "metrics": dict.fromkeys(METRICS, 0.5)}
    hub = LoopbackHub()
    try:
        for size in map(int, sizes):
            run = write_run(folder / str(size), size, ngf=4, record=record)
            repository = hub.repos[f"alice/epochs-{size}"] = Repo()
            entries = {info.epoch: index_entry(info) for info in LocalSource(run).list()}
            index = json.dumps(index_content(entries)).encode()
            for epoch in sorted(entries):
                files = {path.name: path.read_bytes() for path in (run / f"epoch-{epoch:04d}").glob("*.json")}
                name = f"epoch-{epoch:04d}"
                repository.tags[name] = repository.commit(commit_title(epoch), {**files, "epochs.json": index})
            hub.requests.clear()
            env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / f"cache-{size}"),
                   "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
            there = work("hub_epochs", f"alice/epochs-{size}", env=env)
            found = work("epochs", run)
            assert found["epochs"] == there["epochs"] == size
            yield {"n": size, **found, "hub_s": there["hub_s"], "hub_requests": len(hub.requests),
                   "hub_peak_mib": there["peak_mib"]}  # fmt: skip
    finally:
        hub.close()


MEMORY = "peak memory, MiB"
WAITS = ("median_s", "p95_s")
"""Figures of a server that runs already."""
PARTS = {
    "training": Part(
        training, "pictures", (100, 1000, 3162, 10_000, 31_622, 100_000),
        {"start_s": "until the first step, s", "step_s": "a step, s", "resident_mib": "resident memory, MiB"},
        (f"JPEGs of {SIDE}², half of them in each domain; ResNet-6 with 4 channels, {STEPS} steps.",
         "At the start, each picture is decoded to check it, and kept for the epochs to come: width × height × 3 bytes "
         f"at the size that training resizes it to, {SIDE * SIDE * 3} here, up to `--cache_mb` (2048 MiB: 10,900 "
         "pictures of 256²). What lies beyond is decoded again each time.",
         "The memory is that of the last step. The peak (`peak_mib` in scale.json) is a moment's at the end, which "
         "hides what up to 30,000 such pictures take."),
    ),
    "pictures": Part(
        pictures, "megapixels", (1 / 16, 1 / 4, 1, 4, 16),
        {"translate_s": "time, s", "peak_mib": MEMORY},
        ("The networks of demo/streets (ResNet-6, 24 channels), one direction, at the picture's own size. Larger "
         "pictures go through the networks in pieces.",),
    ),
    "frames": Part(
        frames, "frames", (10, 32, 100, 316, 1000), {"call_s": "the whole call, s", "peak_mib": MEMORY},
        (f"Frames of {FRAME}², by the networks of demo/streets; the whole call, with imports and both codecs.",),
    ),
    "visitors": Part(
        visitors, "visitors", (1, 2, 5, 10, 20, 40),
        {"median_s": "median wait, s", "p95_s": "95% wait at most, s", "answer_s": "processor per answer, s",
         "peak_mib": MEMORY},
        (f"All upload a picture of {ASKED}² at once, wait for both readings with the ways back, and do so again: at "
         "least five times each, and 40 answers in all. The waits are the clock's, so other work on the machine "
         "lengthens them; the processor's time per answer shows whether more visitors make more work. Of these, the "
         "smaller ones of two turns through all sizes are shown, from both ends; the memory is of the second turn, in "
         "an app of its own that has served fewer visitors only.",),
    ),
    "participants": Part(
        participants, "participants", (1, 4, 10, 40, 100, 200, 400),
        {"read_s": "reading the votes, s", "report_s": "the report, s", "peak_mib": MEMORY},
        ("Made-up votes, 50 of each participant, on two epochs, in SQLite; the report in Markdown with plots and "
         "pictures.",),
    ),
    "epochs": Part(
        epochs, "epochs", (1, 10, 32, 100, 200, 500, 1000, 2000),
        {"list_s": "list of a folder, s", "page_s": "opening the page, s", "hub_s": "list of the Hub, s",
         "hub_requests": "requests to the Hub", "peak_mib": "peak memory of the page, MiB"},
        ("The folder's epochs share their weights by hard links; the page shows 12 cards and the curves. The "
         "repository on a Hub on this machine has a commit and a tag for each epoch, and nothing of it is cached.",),
    ),
}  # fmt: skip


# --- the report ---------------------------------------------------------------------------------------------


def save(report: dict[str, Any], output: Path) -> None:
    """Write scale.json, README.md and the picture."""
    report["parts"] = {name: report["parts"][name] for name in PARTS if name in report["parts"]}
    curves = [curve for name, part in report["parts"].items()
              for curve in curves_of(name, part, PARTS[name].labels, WAITS)]  # fmt: skip
    for name, part in report["parts"].items():
        part["exponents"] = {curve.key: round(curve.exponent, 3) for curve in curves if curve.part == name}
    output.mkdir(parents=True, exist_ok=True)
    write_bytes(output / "scale.json", (json.dumps(report, indent=1) + "\n").encode())
    notes = {name: part.notes for name, part in PARTS.items()}
    write_bytes(output / "README.md", markdown(report, curves, notes).encode())
    draw(curves, output / "scale.png")


def read(output: Path, tiny: bool) -> dict[str, Any]:
    """Return scale.json, without parts if there is none, or if one was measured in other sizes."""
    path = output / "scale.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if found.get("tiny") is tiny:
        return found
    return {"command": "python -m benchmarks.scale" + " --tiny" * tiny, "tiny": tiny, "parts": {}}


def main() -> None:
    """Measure the parts, and write the report after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--tiny", action="store_true", help="the smallest size of each alone, to try the benchmark")
    parser.add_argument("--output", type=Path, default=None, metavar="FOLDER",
                        help="of the report (default: benchmarks/reports/scale; with --tiny, scratch/scale-tiny)")
    args = parser.parse_args()
    if unknown := [name for name in args.parts if name not in PARTS]:
        parser.error(f"no part is called {unknown[0]}: choose from {', '.join(PARTS)}")
    output = args.output or (Path("scratch") / "scale-tiny" if args.tiny else REPORT)
    report = read(output, args.tiny)
    wanted = args.parts or [name for name in PARTS if name not in report["parts"]]
    if not wanted:
        raise SystemExit(f"{output} has every part: name those to measure again, of {', '.join(PARTS)}")
    print(f"measuring {', '.join(wanted)}: about {'a minute' if args.tiny else '13 minutes for all'}", flush=True)
    for name in wanted:
        part, began, rows = PARTS[name], time.perf_counter(), []
        sizes = part.sizes[:1] if args.tiny else part.sizes
        with tempfile.TemporaryDirectory() as folder, progress_bar(desc=name, total=len(sizes), unit="size") as bar:
            for row in part.measure(sizes, Path(folder)):
                rows.append({key: float(f"{value:.4g}") for key, value in row.items()})
                bar.set_postfix_str(f"{row['n']:g} {part.against}")
                bar.update()
        report["parts"][name] = {"against": part.against, "machine": describe(), "rows": rows,
                                 "seconds": round(time.perf_counter() - began, 1)}  # fmt: skip
        save(report, output)
        exponents = report["parts"][name]["exponents"]
        print(f"{name}: {', '.join(f'{key} {value:.2f}' for key, value in exponents.items())}", flush=True)
    print(f"written: {output / 'README.md'}", flush=True)


if __name__ == "__main__":
    main()
