"""Training quality at speed: the recipe as usually run against this trainer as it comes, on the same pictures.

    python -m benchmarks.train_quality --dataset data/maps --images 3600
    python -m benchmarks.train_quality --dataset data/maps --images 48 --epochs 4 --evaluations 2 --pairs 4 --output q
    python -m benchmarks.train_quality --render

"plain" is `benchmarks.plain_recipe`. "default" is `Trainer.step` with what `cyclegan.training.resolve.resolve_auto`
chooses for the device. For each seed both start from equal weights, see the same crops in the same order and number,
and follow the same learning rate: constant, then falling linearly over the second half of the epochs. The data set
holds side-by-side pairs; training sees them unpaired, and held-back ones serve as ground truth. Both ways' generators
are evaluated in fp32 by the same network and function. Each way and seed trains in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import re
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from benchmarks.labels import agreement, commonest_share, main_colours
from benchmarks.machine import describe
from benchmarks.plain_recipe import PlainCycleGAN, plain_generator
from benchmarks.train_throughput import blocks, load_size
from cyclegan.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from cyclegan.data import find_data, open_data
from cyclegan.errors import DataError, ImageError, number_of
from cyclegan.evaluation.reconstruction import similarity
from cyclegan.images import normalise, prepare_for_evaluation, to_image, to_tensor
from cyclegan.training.resolve import resolve_auto
from cyclegan.training.schedule import lr_factor
from cyclegan.training.trainer import Trainer

TAKES = "about 40 minutes on two cores; needs a folder of side-by-side pairs"
WRITES = "benchmarks/reports/train_quality.md"
REPORT = Path(__file__).parent / "reports" / "train_quality"
WAYS = {"plain": "#0072b2", "default": "#d55e00"}
"""Way → colour of its lines."""
WINDOW = 50
"""Steps whose mean is one point of a loss curve."""

LOSSES = {
    "cycle_a": ("cycle A → B → A (L1)", ("cycle_a",)),
    "cycle_b": ("cycle B → A → B (L1)", ("cycle_b",)),
    "cycle_a_varied": ("cycle A → B → A, without one-colour pictures", ("cycle_a",)),
    "cycle_b_varied": ("cycle B → A → B, without one-colour pictures", ("cycle_b",)),
    "gan": ("adversarial, generators", ("gan_ab", "gan_ba")),
    "disc": ("discriminators", ("disc_a", "disc_b")),
}
"""Curve → its title, and the terms that it is the mean of. "varied" leaves out steps whose picture of that domain has a
single colour: instance norm erases it, and what comes back is decided by rounding."""
FIGURES = {
    "psnr_a": ("PSNR of A → B → A, dB", 1),
    "psnr_b": ("PSNR of B → A → B, dB", 1),
    "truth_l1_ab": ("A → B: mean difference from truth, grey levels", -1),
    "truth_l1_ba": ("B → A: mean difference from truth, grey levels", -1),
    "label_agreement_ab": ("A → B: pixels with the truth's label", 1),
}
"""Figure of held-back pairs → its title, and whether more (1) or less (-1) is better."""

Pair = tuple[Image.Image, Image.Image]


# --- one way and seed, in a process of its own ---------------------------------------------------------------


def train_config(args: argparse.Namespace, seed: int) -> TrainConfig:
    """What this trainer trains with, settled for the device. An epoch is as long as the pictures that it takes."""
    config = TrainConfig(
        data=DataConfig(dataset=str(args.dataset), load_size=load_size(args.size), crop_size=args.size,
                        max_images=args.images // args.epochs, num_workers=0),
        model=ModelConfig(generator=args.generator, ngf=args.ngf, ndf=args.ndf),
        optim=OptimConfig(epochs=args.epochs - args.epochs // 2, decay_epochs=args.epochs // 2),
        run=RunConfig(output_dir="none", seed=seed),
    )  # fmt: skip
    return resolve_auto(config, torch.device(args.device))


class Way:
    """One way's networks, ready to step.

    Args:
        name: "plain" or "default".
        config: settled; both ways' initial weights come from its seed.
        device: "cpu" or "cuda".

    Attributes:
        step: real_a, real_b, each float32 (N, 3, H, W) in [-1, 1] → losses by name, 0-dim and detached.
        set_lr: sets the learning rate of both players.
        generators: gen_ab and gen_ba, to read weights from.
        trainer: this trainer, which has taken no step where the way is plain.
    """

    def __init__(self, name: str, config: TrainConfig, device: str) -> None:
        accelerator = Accelerator(cpu=device == "cpu", mixed_precision=config.run.mixed_precision)
        self.trainer = trainer = Trainer(config, None, accelerator)  # type: ignore[arg-type]
        self.step: Callable[[Tensor, Tensor], dict[str, Tensor]]
        self.set_lr: Callable[[float], None]
        if name == "default":
            self.generators: dict[str, nn.Module] = trainer.published_generators()
            self.step = lambda real_a, real_b: trainer.step({"real_a": real_a, "real_b": real_b})
            self.set_lr = self._set_lr
            return
        # As usually run where sizes are fixed: cuDNN tries its algorithms first.
        torch.backends.cudnn.benchmark = device == "cuda"
        model = config.model
        plain = PlainCycleGAN(model.ngf, model.ndf, blocks(model.generator), device, config.run.seed)
        for network, given in trainer.networks.items():
            plain.load(network, given.parameters())
        self.generators = {"gen_ab": plain.gen_ab, "gen_ba": plain.gen_ba}
        self.step, self.set_lr = plain.step, plain.set_lr

    def _set_lr(self, lr: float) -> None:
        for optimiser in self.trainer.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = lr


def train(name: str, seed: int, pairs: list[Pair], colours: np.ndarray, args: argparse.Namespace) -> dict[str, Any]:
    """Train one way from one seed.

    Returns:
        The losses' curves, and the figures at the start and at `args.evaluations` epochs' ends.
    """
    if args.threads:
        torch.set_num_threads(args.threads)
    config = train_config(args, seed)
    data = open_data(config.data, seed=seed, paired=False, progress=False)
    way = Way(name, config, args.device)
    judge = {direction: plain_generator(args.ngf, blocks(args.generator)) for direction in ("ab", "ba")}
    every = [round(args.epochs * k / args.evaluations) for k in range(1, args.evaluations + 1)]
    run: dict[str, Any] = {"way": name, "seed": seed, "loss_images": [], "losses": {curve: [] for curve in LOSSES},
                           "one_colour_steps": {"a": 0, "b": 0}, "evaluations": []}  # fmt: skip
    window: list[Tensor] = []
    flat: list[dict[str, bool]] = []
    terms: list[str] = []
    images, began = 0, time.monotonic()

    def close_window() -> None:
        values = {term: column.tolist() for term, column in zip(terms, torch.stack(window).T, strict=True)}
        run["loss_images"].append(images)
        for curve, (_, names) in LOSSES.items():
            side = curve[len("cycle_")] if curve.endswith("_varied") else ""
            kept = [value for name in names for value, is_flat in zip(values[name], flat, strict=True)
                    if not (side and is_flat[side]) and not math.isnan(value)]  # fmt: skip
            run["losses"][curve].append(rounded(statistics.fmean(kept)) if kept else math.nan)
        flat.clear()
        window.clear()

    def look() -> None:
        for direction, network in judge.items():
            copy_weights(way.generators[f"gen_{direction}"], network)
        figures = evaluate(judge["ab"], judge["ba"], pairs, colours)
        run["evaluations"].append({"images": images, **figures})
        print(f"{name}, seed {seed}: {images} images, {time.monotonic() - began:.0f} s, "
              + ", ".join(f"{figure} {value:.4g}" for figure, value in figures.items()), flush=True)  # fmt: skip

    look()
    for epoch in range(1, args.epochs + 1):
        way.set_lr(config.optim.lr * lr_factor(epoch, config.optim))
        for batch in data.batches(epoch, batch_size=1):
            losses = way.step(*(normalise(batch[side].to(args.device)) for side in ("real_a", "real_b")))
            images += 1
            flat.append(
                {side: bool((batch[f"real_{side}"] == batch[f"real_{side}"][:, :1, :1]).all()) for side in "ab"}
            )
            for side, is_flat in flat[-1].items():
                run["one_colour_steps"][side] += is_flat
            terms = list(losses)
            window.append(torch.stack(list(losses.values())))
            if len(window) == WINDOW:
                close_window()
        if epoch in every:
            look()
    if window:
        close_window()
    for side, count in run["one_colour_steps"].items():
        if not count:
            del run["losses"][f"cycle_{side}_varied"]
    run["skipped_steps"], run["seconds"] = way.trainer.skipped_steps, round(time.monotonic() - began, 1)
    return run


@torch.no_grad()
def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Every weight of a network, in order, as fp32 on the CPU."""
    for to, given in zip(target.parameters(), source.parameters(), strict=True):
        if to.shape != given.shape:
            raise ValueError(f"a weight of {tuple(given.shape)} has no place in one of {tuple(to.shape)}")
        to.copy_(given.detach().float().cpu())


@torch.no_grad()
def evaluate(gen_ab: nn.Module, gen_ba: nn.Module, pairs: list[Pair], colours: np.ndarray) -> dict[str, float]:
    """FIGURES of generators in fp32 on the CPU, means over pairs of pictures (a, b)."""
    rows = []
    for a, b in pairs:
        real_a, real_b = to_tensor(a)[None], to_tensor(b)[None]
        fake_b, fake_a = gen_ab(real_a), gen_ba(real_b)
        shown_b = to_image(fake_b)
        rows.append(
            {
                "psnr_a": similarity(a, to_image(gen_ba(fake_b))).psnr,
                "psnr_b": similarity(b, to_image(gen_ab(fake_a))).psnr,
                "truth_l1_ab": similarity(b, shown_b).l1,
                "truth_l1_ba": similarity(a, to_image(fake_a)).l1,
                "label_agreement_ab": agreement(shown_b, b, colours),
            }
        )
    return {name: rounded(statistics.fmean(row[name] for row in rows)) for name in FIGURES}


# --- pairs ----------------------------------------------------------------------------------------


def held_back(args: argparse.Namespace) -> tuple[list[Pair], list[Image.Image]]:
    """Test pairs (a, b), evenly spread, and the training pictures of b; all as an evaluation prepares them.

    Raises:
        DataError, ImageError: no such data, or a picture can't be read.
    """
    config = train_config(args, 0).data
    splits = find_data(config)
    domain, train_b, used = splits.test_a, splits.train_b, config.max_images or 0
    if domain is None or domain.truth(0) is None:
        raise DataError(f"--dataset {args.dataset.name} has no held-back pairs: give one with val/ or test/ of "
                        "side-by-side pairs")  # fmt: skip
    if used > len(train_b):
        raise DataError(f"{args.images} images in {args.epochs} epochs are {used} per epoch, but there are "
                        f"{len(train_b)}: raise --epochs or lower --images")  # fmt: skip
    chosen = np.linspace(0, len(domain) - 1, min(args.pairs, len(domain))).round().astype(int).tolist()
    pairs = [(prepare_for_evaluation(domain.load(i), config), prepare_for_evaluation(domain.truth(i), config))
             for i in chosen]  # fmt: skip
    return pairs, [prepare_for_evaluation(train_b.load(i), config) for i in range(used)]


def to_beat(pairs: list[Pair], colours: np.ndarray) -> dict[str, float]:
    """What needs no network: handing the input back, answering with the mean colour or with the commonest label."""
    a, b = (np.stack([np.asarray(pair[side], dtype=np.float64) for pair in pairs]) for side in (0, 1))
    values = {
        "copy": np.abs(a - b).mean(),
        "mean_colour_ab": np.abs(b - b.mean((0, 1, 2))).mean(),
        "mean_colour_ba": np.abs(a - a.mean((0, 1, 2))).mean(),
        "commonest_label_ab": commonest_share([b for _, b in pairs], colours),
    }
    return {name: rounded(float(value)) for name, value in values.items()}


# --- all of them ---------------------------------------------------------------------------------------------


def rounded(value: float) -> float:
    """Five digits."""
    return float(f"{value:.5g}")


def serve(connection: Any, *job: Any) -> None:
    """The process of one way and seed: sends what `train` returns, or one line on why it could not."""
    try:
        connection.send(train(*job))
    except Exception as error:  # Whatever it is, it is this run's result.
        connection.send(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def run_apart(*job: Any) -> dict[str, Any] | str:
    """`train` in a process of its own, so that a crash loses one run only; a sentence if it failed."""
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, *job), daemon=True)
    process.start()
    theirs.close()
    result: dict[str, Any] | str = ""
    with contextlib.suppress(EOFError):
        result = connection.recv()
    process.join()
    return result or f"the process ended with status {process.exitcode}"


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Train every way from every seed.

    Raises:
        DataError, ImageError: as `held_back`.
    """
    pairs, maps = held_back(args)
    colours = main_colours(maps)
    config = train_config(args, 0)
    jobs = [(name, seed, pairs, colours, args) for seed in args.seeds for name in WAYS]
    began = time.monotonic()

    def without_folders(word: str) -> str:
        """The folders that the data set and the report lie in are this machine's."""
        return word.replace(str(args.dataset), args.dataset.name).replace(str(args.output), args.output.name)

    with ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(lambda job: run_apart(*job), jobs))
    failed = [{"way": job[0], "seed": job[1], "reason": result}
              for job, result in zip(jobs, results, strict=True) if isinstance(result, str)]  # fmt: skip
    for failure in failed:
        print(f"{failure['way']}, seed {failure['seed']} failed: {failure['reason']}", flush=True)
    return {
        "command": shlex.join(["python", "-m", "benchmarks.train_quality", *map(without_folders, sys.argv[1:])]),
        "machine": describe(), "device": args.device, "threads": args.threads or torch.get_num_threads(),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "dataset": args.dataset.name,
        **{key: getattr(args, key) for key in ("size", "generator", "ngf", "ndf", "images", "epochs", "seeds")},
        "optim": config.optim.to_json(), "chosen": config.run.to_json() | {"order": config.data.order},
        "training_pictures": config.data.max_images, "pairs": len(pairs),
        "colours": np.rint(colours).astype(int).tolist(), "to_beat": to_beat(pairs, colours),
        "runs": [result for result in results if not isinstance(result, str)], "failed": failed,
    }  # fmt: skip


# --- comparison ----------------------------------------------------------------------------------------------


def compare(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Each figure at the end, and each loss over the last quarter, way against way.

    "spread" is the standard deviation over seeds, pooled over both ways; a difference is within it if it isn't larger.
    "points_within" counts the points of the whole curve at which the ways' means differ by no more than that.
    Seeds that only one way has finished are left out.
    """
    runs = {(run["way"], run["seed"]): run for run in report["runs"]}
    seeds = [seed for seed in report["seeds"] if all((way, seed) in runs for way in WAYS)]
    if len(seeds) < 2:
        raise ValueError("fewer than two seeds were finished by both ways: there is no spread to compare with")
    found = []
    for name in (*FIGURES, *curves_of(report)):
        curves = {way: np.array([values_of(runs[way, seed], name)[1] for seed in seeds]) for way in WAYS}
        if name in LOSSES:
            at = np.array(values_of(runs["plain", seeds[0]], name)[0])
            ends = {way: curve[:, at > 0.75 * report["images"]].mean(1) for way, curve in curves.items()}
        else:
            ends = {way: curve[:, -1] for way, curve in curves.items()}
            curves = {way: curve[:, 1:] for way, curve in curves.items()}  # Both start alike.
        sd = {way: float(values.std(ddof=1)) for way, values in ends.items()}
        spread = float(np.sqrt(np.mean(np.square(list(sd.values())))))
        pairwise = ends["default"] - ends["plain"]
        spreads = np.sqrt(np.mean([curve.var(0, ddof=1) for curve in curves.values()], axis=0))
        apart = np.abs(curves["default"].mean(0) - curves["plain"].mean(0))
        found.append(
            {
                "figure": name,
                "mean": {way: rounded(float(values.mean())) for way, values in ends.items()},
                "sd": {way: rounded(value) for way, value in sd.items()},
                "difference": rounded(float(pairwise.mean())),
                "spread": rounded(spread),
                "within": bool(abs(pairwise.mean()) <= spread),
                "paired_differences": {str(seed): rounded(float(d)) for seed, d in zip(seeds, pairwise, strict=True)},
                "paired_interval_95": interval(pairwise),
                "points": int(apart.size),
                "points_within": int((apart <= spreads).sum()),
            }
        )
    return found


def start_difference(report: dict[str, Any]) -> float:
    """How far the ways' figures are apart before the first step, as a share, at most over figures and seeds."""
    starts = {(run["way"], run["seed"]): run["evaluations"][0] for run in report["runs"]}
    shares = [abs(starts["default", seed][name] - start[name]) / abs(start[name])
              for (way, seed), start in starts.items() if way == "plain" and ("default", seed) in starts
              for name in FIGURES if start[name]]  # fmt: skip
    return max(shares)


def curves_of(report: dict[str, Any]) -> list[str]:
    """The losses that every run has."""
    return [name for name in LOSSES if all(name in run["losses"] for run in report["runs"])]


def interval(differences: np.ndarray) -> list[float]:
    """95% interval of the mean of normal values (Student's t): [low, high]."""
    from scipy.stats import t

    n = len(differences)
    half = float(t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n))
    return [rounded(float(differences.mean()) - half), rounded(float(differences.mean()) + half)]


def chance_outside(seeds: int) -> float:
    """How often equal ways' means differ by more than the pooled spread: independent normal values, `seeds` each."""
    from scipy.stats import t

    return float(2 * t.sf(np.sqrt(seeds / 2), 2 * (seeds - 1)))


def values_of(run: dict[str, Any], name: str) -> tuple[list[int], list[float]]:
    """A curve of one run: images seen, values."""
    if name in LOSSES:
        return run["loss_images"], run["losses"][name]
    return [row["images"] for row in run["evaluations"]], [row[name] for row in run["evaluations"]]


# --- the report ----------------------------------------------------------------------------------------------


def title_of(name: str) -> str:
    """What a figure or a loss is called."""
    return (FIGURES.get(name) or LOSSES[name])[0]


def verdict(report: dict[str, Any]) -> list[str]:
    """What the numbers say, one sentence each."""
    rows = report["comparison"]
    seeds = len(rows[0]["paired_differences"])
    inside = [row for row in rows if row["within"]]
    chance = chance_outside(seeds)
    said = [f"**Of {len(rows)} figures, {len(inside)} lie within the spread of {seeds} seeds, and "
            f"{len(rows) - len(inside)} outside it.**"]  # fmt: skip
    for row in rows:
        if row["within"]:
            continue
        better = FIGURES.get(row["figure"], ("", 0))[1] * row["difference"]
        which = "" if not better else ", in the default's favour" if better > 0 else ", in the plain recipe's favour"
        said.append(f"Outside it: {title_of(row['figure'])}, by {row['difference']:+.3g} against a spread of "
                    f"{row['spread']:.3g}{which}.")  # fmt: skip
    said.append(
        f"Were the ways equal, chance alone would put {chance:.0%} of figures outside ({chance * len(rows):.1f} of "
        f"{len(rows)}; normal values, {seeds} seeds; the figures are not independent of one another)."
    )
    apart = [f"{title_of(row['figure'])} ({row['paired_interval_95'][0]:+.2g} to {row['paired_interval_95'][1]:+.2g})"
             for row in rows if row["paired_interval_95"][0] > 0 or row["paired_interval_95"][1] < 0]  # fmt: skip
    said.append("Seed by seed, the 95% interval of the mean paired difference leaves out 0 for "
                + ("; ".join(apart) if apart else "no figure")
                + f"; of equal ways it would for {0.05 * len(rows):.2g} of {len(rows)}.")  # fmt: skip
    points, within = (sum(row[key] for row in rows) for key in ("points", "points_within"))
    said.append(f"Along the whole curves, {within} of {points} points ({within / points:.0%}) are within the spread at "
                f"that point; of equal ways {1 - chance:.0%} would be.")  # fmt: skip
    return said


def markdown(report: dict[str, Any], name: str) -> str:
    """The report for people."""
    machine, chosen, base = report["machine"], report["chosen"], report["to_beat"]
    optim = report["optim"]
    on = [f"mixed_precision {chosen['mixed_precision']}", f"order {chosen['order']}"]
    on += [key for key in ("batch_passes", "fused_adam", "winograd", "channels_last", "compile", "cuda_graphs",
                           "gradient_checkpointing") if chosen.get(key)]  # fmt: skip
    skipped = sum(run["skipped_steps"] for run in report["runs"])
    where = f"GPU {machine['gpu']}" if report["device"] == "cuda" else f"CPU, {report['threads']} thread(s) per run"
    lines = [
        "# Training quality at speed: the plain recipe and the trainer's defaults",
        "",
        f"    {report['command']}",
        "",
        f"{machine['processor']}, {number_of(machine['cores'], 'core')}, {machine['memory_gib']} GiB; {where}; "
        f"torch {machine['torch']}; commit {machine['commit']}; {report['minutes']:g} minutes.",
        "",
        *[line for sentence in verdict(report) for line in (sentence, "")],
        f"![losses and figures of both ways]({name}.png)",
        "",
        "## What was trained",
        "",
        f"Data set {report['dataset']}: {report['training_pictures']} pairs' halves, unpaired, at "
        f"{report['size']}×{report['size']}; {report['generator']}, ngf {report['ngf']}, ndf {report['ndf']}, batch 1; "
        f"{report['images']} steps in {report['epochs']} epochs, the learning rate constant for {optim['epochs']} and "
        f"falling over {optim['decay_epochs']}. Seeds: {', '.join(map(str, report['seeds']))}.",
        "",
        "- plain: `benchmarks/plain_recipe.py`, eager fp32, six generator passes one by one, torch's own Adam.",
        "- default: `Trainer.step` with what `cyclegan.training.resolve.resolve_auto` chose on this device: "
        f"{', '.join(on)}.",
        "",
        "For each seed both ways start from equal weights (their figures then differ by "
        f"{start_difference(report):.2g} of their value at most) and see the same crops in the same order, the "
        "default's. "
        "They differ in arithmetic, in how instance norm is spelled (group norm in the default) and in which old fakes "
        "their pools draw. Held-back pictures go through the plain recipe's layers with either way's weights. "
        f"Steps left out because something was not finite: {skipped}.",
        "",
        *one_colour_note(report),
        *[f"Failed and left out: {f['way']}, seed {f['seed']} ({f['reason']}).\n" for f in report["failed"]],
        "## Figures",
        "",
        f"On {report['pairs']} held-back pairs at the end of training; losses over its last quarter. "
        "Mean ± standard deviation over the seeds. The spread is the two standard deviations pooled (root mean "
        "square). Differences are default − plain, and paired by seed.",
        "",
        "| figure | plain | default | difference | spread | within | paired differences | 95% interval of their mean "
        "| points within |",
        "|---|--:|--:|--:|--:|---|---|---|--:|",
    ]
    for row in report["comparison"]:
        ways = " | ".join(f"{row['mean'][way]:.4g} ± {row['sd'][way]:.2g}" for way in WAYS)
        pairwise = ", ".join(f"{value:+.2g}" for value in row["paired_differences"].values())
        low, high = row["paired_interval_95"]
        lines.append(
            f"| {title_of(row['figure'])} | {ways} | {row['difference']:+.3g} | {row['spread']:.2g} | "
            f"{'yes' if row['within'] else '**no**'} | {pairwise} | {low:+.2g} to {high:+.2g} | "
            f"{row['points_within']} of {row['points']} |"
        )
    colours = ", ".join("#" + "".join(f"{level:02x}" for level in colour) for colour in report["colours"])
    lines += [
        "",
        f"Labels: each pixel of B has that of the nearest of {len(report['colours'])} main colours ({colours}), found "
        "by k-means among the training pictures of B.",
        "",
        f"What needs no network: handing the input back differs from the truth by {base['copy']:.1f} grey levels, the "
        f"mean colour by {base['mean_colour_ab']:.1f} (A → B) and {base['mean_colour_ba']:.1f} (B → A), and the "
        f"commonest label agrees with {base['commonest_label_ab']:.1%} of pixels. "
        "The training is short and small: it compares two ways, and does not show how well either can become.",
    ]
    return "\n".join(lines) + "\n"


def one_colour_note(report: dict[str, Any]) -> list[str]:
    """How many steps had a picture without content, and why that is of interest; nothing where none had."""
    counts = {side: sum(run.get("one_colour_steps", {}).get(side, 0) for run in report["runs"]) for side in "ab"}
    if not any(counts.values()):
        return []
    steps = report["images"] * len(report["runs"])
    return [
        f"Of {steps} steps, {counts['a']} had a picture of A of a single colour, and {counts['b']} one of B. Instance "
        "norm erases such a picture, and how its zero variance is rounded decides what comes back: here the ways "
        "differ whatever the weights. The cycle losses are therefore also given without those steps.",
        "",
    ]


def draw(report: dict[str, Any], path: Path) -> None:
    """Every curve as a PNG: both ways' means over seeds, with a band of one standard deviation."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [*curves_of(report), *FIGURES]
    rows = -(-len(names) // 3)
    figure = Figure(figsize=(12, 3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    flat = report["images"] * report["optim"]["epochs"] / report["epochs"]
    panels = list(figure.subplots(rows, 3).flat)
    for axes in panels[len(names) :]:
        axes.remove()
    for axes, name in zip(panels, names, strict=False):
        for way, colour in WAYS.items():
            curves = [values_of(run, name) for run in report["runs"] if run["way"] == way]
            images, values = curves[0][0], np.array([curve for _, curve in curves])
            mean, sd = values.mean(0), values.std(0, ddof=1)
            axes.fill_between(images, mean - sd, mean + sd, color=colour, alpha=0.18, linewidth=0)
            marker = None if name in LOSSES else "o"
            axes.plot(images, mean, color=colour, linewidth=1.5, marker=marker, markersize=4, label=way)
        axes.axvline(flat, color="#777777", linestyle=":", linewidth=1)
        axes.set_title(title_of(name), fontsize=10)
        axes.set_xlabel("image pairs seen")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.suptitle(
        f"{report['dataset']} at {report['size']}×{report['size']}: mean ± standard deviation over "
        f"{len(report['seeds'])} seeds (dotted: the learning rate begins to fall)", fontsize=11,
    )  # fmt: skip
    figure.savefig(path, dpi=100)


def write(base: Path, report: dict[str, Any]) -> None:
    """BASE.json, BASE.md and BASE.png; the comparison is made here, from the runs."""
    report["comparison"] = compare(report)
    base.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=2)
    text = re.sub(r"\[\s+([^\[\]{}]+?)\s+\]", lambda found: "[" + " ".join(found[1].split()) + "]", text)
    base.with_name(base.name + ".json").write_text(text + "\n")
    base.with_name(base.name + ".md").write_text(markdown(report, base.name))
    draw(report, base.with_name(base.name + ".png"))


def seeds(text: str) -> list[int]:
    """Type of a flag: different whole numbers from 0 on, with commas in between, at least two."""
    values = [int(part) for part in text.split(",")]
    if min(values) < 0 or len(set(values)) != len(values) or len(values) < 2:
        raise argparse.ArgumentTypeError(f"{text} must be two or more different numbers from 0 on, e.g. 0,1,2")
    return values


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train_quality", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    cuda = torch.cuda.is_available()
    parser.add_argument("--dataset", type=Path, help="folder with train/ and val/ or test/ of side-by-side pairs")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures")
    parser.add_argument("--generator", choices=("resnet_9", "resnet_6"), default="resnet_6", help="architecture")
    parser.add_argument("--ngf", type=int, default=16, help="channels of the generators' first layer")
    parser.add_argument("--ndf", type=int, default=16, help="channels of the discriminators' first layer")
    parser.add_argument("--images", type=int, default=2400, help="image pairs that each run sees, one per step")
    parser.add_argument("--epochs", type=int, default=12, help="epochs in all, each of IMAGES / EPOCHS pictures")
    parser.add_argument("--evaluations", type=int, default=6, help="how often held-back pairs are looked at")
    parser.add_argument("--pairs", type=int, default=60, help="held-back pairs, evenly spread")
    parser.add_argument("--seeds", type=seeds, default=[0, 1, 2], help="seeds, with commas in between")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", type=int, default=0, help="threads of each on the CPU; 0 leaves it to torch")
    parser.add_argument("--output", type=Path, default=REPORT, help="what to write, without .json, .md and .png")
    parser.add_argument("--render", action="store_true", help="only write .md and .png anew, from the .json")
    args = parser.parse_args()
    if args.device == "cuda" and not cuda:
        parser.error("--device cuda: torch sees no CUDA device here; use --device cpu")
    if args.render:
        return args
    if args.dataset is None:
        parser.error("--dataset is missing: a folder with train/ and val/ or test/ of side-by-side pairs")
    if not 1 <= args.evaluations <= args.epochs:
        parser.error("--evaluations must be from 1 to --epochs")
    if args.images < args.epochs or args.images % args.epochs:
        parser.error(f"--images {args.images} must be a multiple of --epochs {args.epochs}")
    if min(args.pairs, args.jobs) < 1 or args.threads < 0:
        parser.error("--pairs and --jobs must be 1 or more, and --threads 0 or more")
    return args


def main() -> None:
    """Measure, or read what was measured, and write the report."""
    args = parse()
    try:
        if args.render:
            report = json.loads(args.output.with_name(args.output.name + ".json").read_text())
        else:
            report = measure(args)
        write(args.output, report)
    except (DataError, ImageError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(*verdict(report), f"written: {args.output}.md", sep="\n", flush=True)


if __name__ == "__main__":
    main()
