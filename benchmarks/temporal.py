"""Flicker and KID of runs with and without --lambda_temporal, on recordings that are drawn here.

    python -m benchmarks.temporal
    python -m benchmarks.temporal --weights 0 10 40 --seeds 0 1 2 --epochs 20

A recording pans over wide scenes of streets, by day for A and by night for B, and stands still half of the time. Each
frame has a camera's noise, and a dashboard that never moves. For each weight and seed the trainer runs as a program on
the same frames; one that was ended early continues. Measured are the last epochs of each run:

- flicker: the mean change of the translations between consecutive frames where the input is still, in grey levels, as
  `translate` prints it, over held-back scenes.
- contrast: the mean standard deviation of the translations' pixels, because flat pictures would flicker less, too.
- KID × 1000 on held-back scenes, one frame of each, with its 95% interval over the pictures; runs differ by more.

The share is the flicker with the term divided by that without, its interval by resampling scenes and seeds together.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import ROOT, describe
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.data.streets import StreetsSpec
from cyclegan.evaluation.scores.distances import RESAMPLES, interval
from cyclegan.evaluation.scores.evaluate import Evaluator, data_config
from cyclegan.translation.smoothing import Smoother
from cyclegan.translation.translator import Translator

TAKES = "about 40 minutes on two cores"
REPORT = Path(__file__).parent / "reports" / "temporal.json"
STEP_MS, BETWEEN_MS = 100, 10_000
"""Milliseconds between frames, as of every sixth frame at 60 a second, and between the scenes of a recording."""
FRAMES = 12
"""Frames of a scene."""
NOISE = 1.5
"""Standard deviation of the camera's noise, in grey levels: that of a good camera by day."""
DASHBOARD = 0.15
"""Share of the height that the dashboard covers."""
TARGET = 0.7
"""The share of flicker that the term must come down to."""


def scene_frames(spec: StreetsSpec, split: str, side: str, index: int, count: int) -> list[Image.Image]:
    """Return consecutive frames of one scene, twice as wide as a frame: the camera pans over it, and stands still."""
    wide, size = np.asarray(spec.image(split, side, index), np.float32), spec.height
    rng = np.random.default_rng((spec.seed, "ab".index(side), ("train", "test").index(split), index))
    moves = rng.integers(1, 4) * (rng.permutation(count) % 2 == 0)
    lefts = np.clip(rng.integers(size // 2) + np.cumsum(moves), 0, wide.shape[1] - size)
    top, found = round(size * (1 - DASHBOARD)), []
    for left in lefts:
        frame = wide[:, left : left + size].copy()
        frame[top:] = np.linspace(40, 25, size - top)[:, None, None]
        noisy = frame + rng.normal(0, NOISE, frame.shape)
        found.append(Image.fromarray(np.rint(noisy).clip(0, 255).astype(np.uint8)))
    return found


def spec_of(args: argparse.Namespace) -> StreetsSpec:
    """Return the scenes of the recordings."""
    return StreetsSpec(count=args.scenes, test_count=args.test_scenes, width=2 * args.size, height=args.size)


def write_recordings(folder: Path, args: argparse.Namespace) -> None:
    """Write both recordings as `python -m cyclegan frames` names frames, and one frame of each held-back scene."""
    spec = spec_of(args)
    for split, scenes, count in (("train", args.scenes, FRAMES), ("test", args.test_scenes, 1)):
        for side in "ab":
            place = folder / f"{split}{side.upper()}"
            place.mkdir(parents=True, exist_ok=True)
            for index in range(scenes):
                start = index * (FRAMES * STEP_MS + BETWEEN_MS)
                for number, frame in enumerate(scene_frames(spec, split, side, index, count)):
                    frame.save(place / f"drive_{start + number * STEP_MS:09d}.png")


def train(data: Path, weight: float, seed: int, args: argparse.Namespace) -> Path:
    """Train, or continue, and return the run's folder."""
    folder = args.runs / f"temporal-{weight:g}-{seed}"
    settings: dict[str, Any] = {
        "dataset": data, "output_dir": folder, "resume": "auto", "preprocess": "resize", "crop_size": args.size,
        "generator": "resnet_6", "ngf": args.ngf, "ndf": args.ngf, "epochs": args.epochs - args.epochs // 2,
        "decay_epochs": args.epochs // 2, "lambda_temporal": weight, "seed": seed, "num_workers": 0, "samples_every": 0,
    }  # fmt: skip
    flags = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    folder.mkdir(parents=True, exist_ok=True)
    print(f"weight {weight:g}, seed {seed}: training; its log is {folder / 'train.log'}", file=sys.stderr, flush=True)
    with open(folder / "train.log", "a", encoding="utf-8") as log:
        command = [sys.executable, str(ROOT / "train_accelerate.py"), *flags]
        subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
    return folder


def flicker(translator: Translator | None, direction: str, args: argparse.Namespace) -> np.ndarray:
    """Return (scenes, 2): flicker and contrast of each held-back scene's translation, or without a translator of the
    recording itself."""
    found, spec = [], spec_of(args)
    for index in range(args.flicker_scenes):
        frames, smoother = scene_frames(spec, "test", direction[0], index, FRAMES), Smoother()
        made = translator.translate_batch(frames, direction) if translator else frames
        for frame, result in zip(frames, made, strict=True):
            smoother.smooth(frame, result)
        found.append((smoother.flicker_before or 0.0, np.asarray(made[0], np.float32).std((0, 1)).mean()))
    return np.array(found)


def measure(run: Path, evaluator: Evaluator, args: argparse.Namespace) -> dict[str, Any]:
    """Return the run's figures by direction: flicker by scene and KID, each a mean over the last epochs."""
    source = LocalSource(run)
    epochs = [info.epoch for info in source.list()][: args.last]
    report = evaluator.score(source, epochs, name="temporal")
    found: dict[str, Any] = {}
    for way in ("ab", "ba"):
        each = np.mean([flicker(Translator(source.load(epoch), "cpu"), way, args) for epoch in epochs], axis=0)
        scenes, contrast = each.T
        kids = [report.value(way, "scores", f"epoch-{epoch:04d}", "kid", "kid") for epoch in epochs]
        found[way] = {
            "flicker": round(float(scenes.mean()), 3), "flicker_by_scene": scenes.round(4).tolist(),
            "contrast": round(float(contrast.mean()), 1),
            "kid": {end: round(statistics.fmean(kid[end] for kid in kids), 2) for end in ("value", "low", "high")},
        }  # fmt: skip
    return found


def share(without: np.ndarray, with_term: np.ndarray) -> dict[str, float]:
    """Return the share of flicker that is left, with a 95% interval by resampling seeds and scenes, the same in both.

    Args:
        without, with_term: flicker (seeds, scenes).
    """
    rng, samples = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        seeds, scenes = (rng.integers(count, size=count) for count in without.shape)
        samples.append(with_term[np.ix_(seeds, scenes)].mean() / without[np.ix_(seeds, scenes)].mean())
    value = float(with_term.mean() / without.mean())
    low, high = interval(value, np.array(samples), without.shape[1], (0.0, np.inf)) or (value, value)
    return {"value": round(value, 3), "low": round(low, 3), "high": round(high, 3)}


def summarise(rows: list[dict[str, Any]], weight: float) -> dict[str, Any]:
    """Return by direction the share of flicker that a weight leaves, KIDs with and without, and the verdicts."""
    found: dict[str, Any] = {}
    for way in ("ab", "ba"):
        plain, ours = ([row[way] for row in rows if row["weight"] == each] for each in (0, weight))
        scenes = [np.array([row["flicker_by_scene"] for row in part]) for part in (plain, ours)]
        kids = [{end: round(statistics.fmean(row["kid"][end] for row in part), 2) for end in ("value", "low", "high")}
                for part in (plain, ours)]  # fmt: skip
        left = share(*scenes)
        found[way] = {
            "flicker_without": round(float(scenes[0].mean()), 3), "flicker_with": round(float(scenes[1].mean()), 3),
            "contrast_without": round(statistics.fmean(row["contrast"] for row in plain), 1),
            "contrast_with": round(statistics.fmean(row["contrast"] for row in ours), 1),
            "share": left, "kid_without": kids[0], "kid_with": kids[1], "share_reached": left["value"] <= TARGET,
            "kid_no_worse": kids[1]["low"] <= kids[0]["high"],
        }  # fmt: skip
    return found


def table(summaries: dict[str, Any]) -> str:
    """Return the summaries as lines of text."""
    shown = "{value:g} [{low:g}, {high:g}]"
    lines = [f"{'weight':>6}  {'':5}  {'flicker':>15}  {'share [95%]':>20}  {'contrast':>11}  KID without, with [95%]"]
    for weight, ways in summaries.items():
        for way, each in ways.items():
            left, *kids = (shown.format(**each[key]) for key in ("share", "kid_without", "kid_with"))
            flickers, contrasts = (
                f"{each[f'{name}_without']:g} → {each[f'{name}_with']:g}" for name in ("flicker", "contrast")
            )
            lines.append(
                f"{weight:>6}  {way[0]} → {way[1]}  {flickers:>15}  {left:>20}  {contrasts:>11}  {', '.join(kids)}"
            )
    return "\n".join(lines)


def main() -> int:
    """Draw, train, measure, and write the report after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=float, nargs="+", default=[0, 40], help="0 first, then those to compare")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of the runs")
    parser.add_argument("--scenes", type=int, default=12, help=f"scenes of each recording, {FRAMES} frames of each")
    parser.add_argument("--test_scenes", type=int, default=60, help="held-back scenes for KID, one frame of each")
    parser.add_argument("--flicker_scenes", type=int, default=12, help="held-back scenes for flicker")
    parser.add_argument("--size", type=int, default=64, help="side of the frames")
    parser.add_argument("--ngf", type=int, default=16, help="channels of the networks' first layers")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of each run")
    parser.add_argument("--last", type=int, default=3, help="last epochs whose mean counts")
    parser.add_argument("--runs", type=Path, default=Path("runs/temporal"), help="folder of the runs and recordings")
    parser.add_argument("--output", type=Path, default=REPORT, help="report to write")
    args = parser.parse_args()
    if args.weights[0] != 0:
        parser.error("--weights begins with 0, which the others are compared with")
    print("drawing the recordings …", file=sys.stderr, flush=True)
    data = args.runs / f"drive-{args.scenes}-{args.test_scenes}-{args.size}"
    write_recordings(data, args)
    report: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.temporal", *sys.argv[1:]]), "machine": describe(),
        "settings": {name: value for name, value in vars(args).items() if name not in ("runs", "output")},
        "input_flicker": {way: round(float(flicker(None, way, args)[:, 0].mean()), 3) for way in ("ab", "ba")},
        "runs": [], "summary": {},
    }  # fmt: skip
    evaluator = None
    for seed in args.seeds:
        for weight in args.weights:
            run = train(data, weight, seed, args)
            if evaluator is None:
                source = LocalSource(run)
                evaluator = Evaluator(data_config(str(data), source.list()[0], source), scores=("kid",), device="cpu")
            report["runs"].append({"weight": weight, "seed": seed, **measure(run, evaluator, args)})
            print(f"weight {weight:g}, seed {seed}: measured", file=sys.stderr, flush=True)
        report["summary"] = {f"{weight:g}": summarise(report["runs"], weight) for weight in args.weights[1:]}
        args.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"flicker of the recordings themselves: {report['input_flicker']}")
    print(table(report["summary"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
