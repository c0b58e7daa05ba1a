"""Runs side by side on the same test pictures, such as an embedded run and the one that is to take its place.

    python -m benchmarks.embedded former=demo/streets new=runs/streets

Each run's epochs are scored next to the answers that need no training. The report is one table for each direction, and
says of each figure whether the newest epoch of the last run is better than that of the first one, and than the input
untranslated, by intervals that don't overlap. All runs prepare pictures alike, else their figures don't compare.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.machine import describe
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.cli.progress import progress_bar
from cyclegan.config import Direction
from cyclegan.errors import UserError
from cyclegan.evaluation.scores.evaluate import evaluate
from cyclegan.evaluation.scores.report import Report
from cyclegan.evaluation.scores.table import BY_KEY, LABELS
from cyclegan.evaluation.scores.tables import ARROWS, direction_line, measured_line, rows_of, short_cell

SCORES = "kid,pairs,reconstruction,collapse,segmentation"
FIGURES = ("kid", "pairs_l1", "pairs_ssim", "seg_iou", "rec_l1", "spread_of_targets")
TAKES = "about 8 minutes on two cores for each run to score"
REPORT = Path(__file__).parent / "reports" / "embedded"


def main() -> None:
    """Score the runs and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN", help="the one to beat first, the new one last")
    parser.add_argument("--dataset", default="streets:count=40,test_count=200,size=144", help="its test pictures count")
    parser.add_argument("--scores", default=SCORES, help="the data set must allow all (default: %(default)s)")
    parser.add_argument("--pictures", type=int, help="score at most so many, evenly spread (default: all)")
    parser.add_argument("--scores_dir", type=Path, help="folder that keeps each epoch's figures: a later call goes on")
    parser.add_argument("--output", type=Path, default=REPORT, help="folder of README.md and report.json")
    args = parser.parse_args()
    started, folders = time.perf_counter(), dict(each.split("=", 1) for each in args.runs)
    scores = args.scores.split(",")
    reports = {}
    with contextlib.ExitStack() as ending:
        place = args.scores_dir or Path(ending.enter_context(tempfile.TemporaryDirectory()))
        for name, folder in folders.items():
            with progress_bar(desc=name, unit="picture") as bar:
                try:
                    reports[name] = evaluate(LocalSource(Path(folder)), args.dataset, epochs="all", scores=scores,
                                             name=name, output=place, pictures=args.pictures,
                                             progress=partial(show, bar))  # fmt: skip
                except UserError as error:
                    parser.error(str(error))
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    command = shlex.join(["python", "-m", "benchmarks.embedded", *args.runs, "--dataset", args.dataset])
    command += f" --scores {args.scores}" if args.scores != SCORES else ""
    command += f" --pictures {args.pictures}" if args.pictures else ""
    figures = [key for key in FIGURES if BY_KEY[key].score in scores]
    found = {way: compared(list(reports.values()), way, figures) for way in next(iter(reports.values())).directions}
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "README.md").write_text(markdown(command, reports, found, figures), encoding="utf-8")
    content = {"command": command, "machine": describe(), "seconds": round(time.perf_counter() - started, 1),
               "newest": found, "runs": {name: report.content for name, report in reports.items()}}  # fmt: skip
    (args.output / "report.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def show(bar: tqdm, what: str, done: int, total: int) -> None:
    """Bring a bar to a count."""
    bar.total = total
    bar.update(done - bar.n)


def compared(reports: Sequence[Report], way: Direction, figures: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return for each figure whether the last run's newest epoch is better than the first's, and than the input."""
    former, new = ([answer for section, _, answer in rows_of(report, way) if section == "scores"][-1]
                   for report in (reports[0], reports[-1]))  # fmt: skip
    untranslated = reports[-1].section(way, "baselines").get("untranslated", {})
    return {
        key: {"than the former run": better(key, new, former), "than the input": better(key, new, untranslated)}
        for key in figures if BY_KEY[key].better
    }


def better(key: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return "yes" or "no" where the 95% intervals are apart, "unclear" where they overlap, "–" where one is missing.
    """
    figure = BY_KEY[key]
    a, b = (answer.get(figure.score, {}).get(key) for answer in (one, other))
    if not a or not b or "low" not in a or "low" not in b:
        return "–"
    if a["low"] <= b["high"] and b["low"] <= a["high"]:
        return "unclear"
    return "yes" if (a["value"] < b["value"]) == (figure.better == "lower") else "no"


def markdown(command: str, reports: Mapping[str, Report], found: Mapping[Any, Any], figures: Sequence[str]) -> str:
    """Return the report: a table for each direction, then what is better than what."""
    machine, last = describe(), list(reports.values())[-1]
    about = f"{machine['cores']} cores of {machine['processor']}, torch {machine['torch']}, commit {machine['commit']}."
    parts = ["# Embedded runs, former and new", f"    {command}", about]
    for way in last.directions:
        heads = [f"{BY_KEY[key].label}{ARROWS[BY_KEY[key].better]}" for key in figures]
        rows = []
        for section, answer, scores in rows_of(last, way):
            if section != "scores":
                rows.append((f"*{section[:-1]}: {LABELS[answer]}*", scores))
        epochs = [(f"**{name}, epoch {scores['epoch']}**", scores) for name, report in reports.items()
                  for section, _, scores in rows_of(report, way) if section == "scores"]  # fmt: skip
        middle = sum(section == "baselines" for section, *_ in rows_of(last, way))
        cells = [[label, *(short_cell(BY_KEY[key], scores.get(BY_KEY[key].score, {}).get(key)) for key in figures)]
                 for label, scores in [*rows[:middle], *epochs, *rows[middle:]]]  # fmt: skip
        parts += [f"## {direction_line(last, way)}", f"{measured_line(last, way)}.", table(["", *heads], cells)]
        rows = [[str(BY_KEY[key].label), *each.values()] for key, each in found[way].items()]
        if not rows:
            continue
        parts += ["Whether the newest epoch of the last run is better, where 95% intervals don't overlap:",
                  table(["", "than the newest of the first run", "than the input untranslated"], rows)]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
