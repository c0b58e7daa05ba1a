"""All methods on the same pictures: how far their translations are from the truth, from several seeds.

    python -m benchmarks.methods --runs runs/methods
    python -m benchmarks.methods --runs runs/quick --images 40 --seeds 0,1 --pairs 4 --output quick
    python -m benchmarks.methods --render

Every method trains by `train_accelerate.py` on streets, day → night, with the same networks, for the same number of
pictures; only pix2pix sees that two pictures belong together. Held-back scenes are known in both domains. A run that
was stopped resumes, and one that is complete is only measured.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import ROOT, describe
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DataConfig
from cyclegan.data import find_data
from cyclegan.errors import UserError
from cyclegan.images import mean_difference, prepare_for_evaluation
from cyclegan.translation.translator import Translator

TAKES = "about 8 hours on two cores (83 minutes with --images 1200 --jobs 2)"
REPORT = Path(__file__).parent / "reports" / "methods"
METHODS = {
    "pix2pix": ("--method", "pix2pix", "--like_cyclegan"),
    "cyclegan": ("--method", "cyclegan"),
    "cut": ("--method", "cut"),
    "simgan": ("--method", "simgan"),
    "simgan, features": ("--method", "simgan", "--content_loss", "features"),
    "bigan": ("--method", "bigan"),
    "cogan": ("--method", "cogan", "--batch_size", "8"),
}
"""Name → its flags. CoGAN, which draws pictures from noise, trains in batches, on as many pictures in all."""
CLAIMS = (
    ("pix2pix", "cyclegan"),
    ("cyclegan", "simgan"),
    ("cyclegan", "simgan, features"),
    ("cyclegan", "bigan"),
    ("cyclegan", "cogan"),
)
"""Pairs of which the first is expected to be nearer to the truth."""
SIZE, COUNT, SHOWN = 64, 400, 5


def data_config(pairs: int) -> DataConfig:
    """Return the data: `COUNT` scenes per domain to train on, drawn a little larger than the crop."""
    return DataConfig(f"streets:count={COUNT},test_count={pairs},size=72", load_size=72, crop_size=SIZE)


def command(method: str, seed: int, folder: Path, args: argparse.Namespace) -> list[str]:
    """Return the command that trains a method from a seed, or finishes its training."""
    data, epochs = data_config(args.pairs), max(2, args.images // COUNT)
    shared = {
        "dataset": data.dataset,
        "load_size": data.load_size,
        "crop_size": data.crop_size,
        "max_images": args.images // epochs,
        "ngf": args.ngf,
        "ndf": args.ngf,
        "epochs": epochs - epochs // 2,
        "decay_epochs": epochs // 2,
        "seed": seed,
        "num_workers": 0,
        "samples_every": 0,
        "output_dir": folder,
        "resume": "auto",
    }
    flags = [word for name, value in shared.items() for word in (f"--{name}", str(value))]
    generator = () if method == "cogan" else ("--generator", "resnet_6")
    return [sys.executable, str(ROOT / "train_accelerate.py"), *METHODS[method], *generator, *flags]


def train(method: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train, measure on the held-back scenes, and return a row of the report. A failure is its result."""
    folder = args.runs / f"{method.replace(', ', '-')}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    print(f"{method}, seed {seed}: training; its log is {folder / 'train.log'}", flush=True)
    with open(folder / "train.log", "a", encoding="utf-8") as log:
        done = subprocess.run(
            command(method, seed, folder, args), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    row: dict[str, Any] = {"method": method, "seed": seed, "seconds": round(time.monotonic() - began)}
    if done.returncode:
        return row | {"failed": (folder / "train.log").read_text(encoding="utf-8").strip().splitlines()[-1][:300]}
    source = LocalSource(folder)
    newest = source.list()[0].epoch
    translator = Translator(source.load(newest, ("ab",)), "cpu")
    fakes = [translator.translate(a, "ab").fake for a, _ in scenes(args)]
    differences = [mean_difference(fake, b) for fake, (_, b) in zip(fakes, scenes(args), strict=True)]
    row |= {"epoch": newest, "truth_l1": rounded(statistics.fmean(differences))}
    shown = [fakes[i] for i in chosen(args)]
    strip(shown).save(folder / "shown.png")
    print(f"{method}, seed {seed}: {row['truth_l1']} grey levels from the truth, {row['seconds']} s", flush=True)
    return row


def scenes(args: argparse.Namespace) -> list[tuple[Image.Image, Image.Image]]:
    """Return the held-back scenes as day and night, as an evaluation prepares them."""
    config = data_config(args.pairs)
    domain = find_data(config).test_a
    assert domain is not None
    return [
        (prepare_for_evaluation(domain.load(i), config), prepare_for_evaluation(domain.truth(i), config))
        for i in range(args.pairs)
    ]


def chosen(args: argparse.Namespace) -> list[int]:
    """Return the numbers of the scenes that the grid shows, evenly spread."""
    return np.linspace(0, args.pairs - 1, min(SHOWN, args.pairs)).round().astype(int).tolist()


def strip(pictures: list[Image.Image]) -> Image.Image:
    """Return pictures of one size below each other, with white gaps."""
    return Image.fromarray(
        np.vstack([np.pad(np.asarray(p), ((2, 2), (2, 2), (0, 0)), constant_values=255) for p in pictures])
    )


def baselines(args: argparse.Namespace) -> dict[str, float]:
    """Return what needs no network: the input untranslated, and the training nights' mean colour."""
    config = data_config(args.pairs)
    train_b = find_data(config).train_b
    nights = [np.asarray(prepare_for_evaluation(train_b.load(i), config)) for i in range(0, COUNT, 4)]
    colour = np.mean(nights, axis=(0, 1, 2)).round().astype(np.uint8)
    flat = np.broadcast_to(colour, (SIZE, SIZE, 3))
    place = np.mean(nights, axis=0).round().astype(np.uint8)
    pairs = scenes(args)
    return {
        "the input, untranslated": rounded(statistics.fmean(mean_difference(a, b) for a, b in pairs)),
        "one colour: the mean of the training nights": rounded(
            statistics.fmean(mean_difference(np.ascontiguousarray(flat), b) for _, b in pairs)
        ),
        "one picture: the mean of the training nights": rounded(
            statistics.fmean(mean_difference(place, b) for _, b in pairs)
        ),
    }


def rounded(value: float) -> float:
    """Four digits."""
    return float(f"{value:.4g}")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train every method from every seed, and return the report."""
    jobs = [(method, seed) for seed in args.seeds for method in args.methods]
    began = time.monotonic()
    with ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(lambda job: train(*job, args), jobs))
    shown = [
        word.replace(str(args.runs), args.runs.name).replace(str(args.output), args.output.name)
        for word in sys.argv[1:]
    ]
    return {
        "command": shlex.join(["python", "-m", "benchmarks.methods", *shown]),
        "machine": describe(),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "images": args.images,
        "ngf": args.ngf,
        "pairs": args.pairs,
        "seeds": args.seeds,
        "baselines": baselines(args),
        "runs": rows,
    }


def by_method(report: dict[str, Any]) -> dict[str, dict[int, float]]:
    """Return each method's figure by seed, without failed runs."""
    values: dict[str, dict[int, float]] = {}
    for row in report["runs"]:
        if "failed" not in row:
            values.setdefault(row["method"], {})[row["seed"]] = row["truth_l1"]
    return values


def verdict(report: dict[str, Any]) -> list[str]:
    """Return a sentence for each expected order, with the seeds that agree."""
    values, said = by_method(report), []
    for near, far in CLAIMS:
        seeds = sorted(values.get(near, {}).keys() & values.get(far, {}).keys())
        if not seeds:
            said.append(f"{near} nearer than {far}: not measured.")
            continue
        gains = [values[far][seed] - values[near][seed] for seed in seeds]
        agree = sum(gain > 0 for gain in gains)
        said.append(
            f"{near} nearer than {far}: {'yes' if agree == len(seeds) else 'NO' if not agree else 'not always'}, "
            f"in {agree} of {len(seeds)} seeds, by {statistics.fmean(gains):+.1f} grey levels on average."
        )
    return said


def markdown(report: dict[str, Any]) -> str:
    """Return the report for people."""
    machine, values = report["machine"], by_method(report)
    lines = [
        "# Methods on the same pictures",
        "",
        f"    {report['command']}",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB; torch {machine['torch']}; "
        f"commit {machine['commit']}; {report['minutes']:g} minutes.",
        "",
        f"Streets, day → night, at {SIZE}×{SIZE}: {report['images']} pictures per domain were seen by each run, "
        f"of {COUNT}; ResNet-6, ngf and ndf {report['ngf']}, each method's own objective (`METHODS` in "
        f"benchmarks/methods.py has the flags). Mean difference from the truth on {report['pairs']} held-back "
        "scenes, in grey levels; lower is nearer. The truth itself, which is the ceiling, is at 0.",
        "",
        "| | mean ± standard deviation over seeds | by seed | seconds per run |",
        "|---|--:|---|--:|",
    ]
    for method, by_seed in sorted(values.items(), key=lambda item: statistics.fmean(item[1].values())):
        found = list(by_seed.values())
        spread = f" ± {statistics.stdev(found):.2f}" if len(found) > 1 else ""
        seconds = statistics.fmean(row["seconds"] for row in report["runs"] if row["method"] == method)
        each = ", ".join(f"{value:.1f}" for value in found)
        lines.append(f"| **{method}** | {statistics.fmean(found):.2f}{spread} | {each} | {seconds:.0f} |")
    lines += [f"| {name} | {value:.2f} | | |" for name, value in report["baselines"].items()]
    lines += ["", "What was expected:", "", *(f"- {sentence}" for sentence in verdict(report))]
    lines += [
        f"- Failed: {row['method']}, seed {row['seed']}: {row['failed']}" for row in report["runs"] if "failed" in row
    ]
    lines += [
        "",
        "![Held-back scenes: day, then each method's night, then the truth](methods.png)",
        "",
        f"From left to right: the day, {', '.join(values)}, the true night; seed {report['seeds'][0]}.",
        "",
        "The trainings are short and small. They compare objectives; how good a method can become is another question. "
        "A mean difference rewards blurred pictures, and punishes a convincing picture that puts a lamp elsewhere: "
        "read it next to the pictures, not alone.",
    ]
    return "\n".join(lines) + "\n"


def write(args: argparse.Namespace, report: dict[str, Any]) -> None:
    """Write the report as JSON and Markdown, and the grid if runs were measured."""
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (args.output / "README.md").write_text(markdown(report), encoding="utf-8")
    if args.render:
        return
    pairs = [scenes(args)[i] for i in chosen(args)]
    columns = [np.asarray(strip([a for a, _ in pairs]))]
    for method in by_method(report):
        folder = args.runs / f"{method.replace(', ', '-')}-{report['seeds'][0]}"
        columns.append(np.asarray(Image.open(folder / "shown.png")))
    columns.append(np.asarray(strip([b for _, b in pairs])))
    grid = Image.fromarray(np.hstack(columns))
    grid.resize((2 * grid.width, 2 * grid.height), Image.Resampling.NEAREST).save(
        args.output / "methods.png", optimize=True
    )


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.methods", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, help="folder for the trainings, which resume there")
    parser.add_argument(
        "--methods", type=lambda text: text.split(";"), default=list(METHODS), help="some, with ; between"
    )
    parser.add_argument("--images", type=int, default=4000, help="pictures per domain that each run sees")
    parser.add_argument("--ngf", type=int, default=16, help="channels of the networks' first layer")
    parser.add_argument("--pairs", type=int, default=60, help="held-back scenes")
    parser.add_argument(
        "--seeds",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[0, 1, 2],
        help="seeds, with commas in between",
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--output", type=Path, default=REPORT, help="folder of the report")
    parser.add_argument("--render", action="store_true", help="only write the Markdown anew, from report.json")
    args = parser.parse_args()
    if unknown := [method for method in args.methods if method not in METHODS]:
        parser.error(f"--methods has {unknown[0]!r}, which is not one of: {'; '.join(METHODS)}")
    if args.runs is None and not args.render:
        parser.error("--runs is missing: a folder for the trainings")
    return args


def main() -> None:
    """Measure, or read what was measured, and write the report."""
    args = parse()
    try:
        measured = (
            json.loads((args.output / "report.json").read_text(encoding="utf-8")) if args.render else measure(args)
        )
        write(args, measured)
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    print(*verdict(measured), f"written: {args.output}/README.md", sep="\n", flush=True)


if __name__ == "__main__":
    main()
