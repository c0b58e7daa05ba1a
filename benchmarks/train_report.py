"""What a training on side-by-side pairs came to, on pairs that it never saw: figures per epoch, curves, a grid.

    python -m benchmarks.train_report --run runs/photos-maps --pairs data/maps/val \
        --output benchmarks/reports/photos-maps --command "python train_accelerate.py …" --trained_at COMMIT

The training saw the pictures unpaired; the pairs serve as ground truth here.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.labels import COLOURS, agreement, commonest_share, main_colours
from benchmarks.machine import describe
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.cli.progress import progress_bar
from cyclegan.errors import number_of
from cyclegan.images import list_images, mean_difference, open_image
from cyclegan.translation.translator import Translator

TAKES = "a few minutes on two cores for each epoch of a run; needs a folder of held-back side-by-side pairs"
WRITES = "OUTPUT/README.md"


def halves(path: Path) -> dict[str, Image.Image]:
    """Left half = a, right half = b."""
    image = open_image(path)
    middle = image.width // 2
    return {"a": image.crop((0, 0, middle, image.height)), "b": image.crop((middle, 0, 2 * middle, image.height))}


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB."""
    error = np.square(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)).mean()
    return 10 * math.log10(255**2 / max(error, 1e-10))


def evaluate(
    translator: Translator, pairs: list[dict[str, Image.Image]], colours: np.ndarray
) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over the pairs, per direction.

    Args:
        colours: of labels, float64 (k, 3), 0 to 255.
    """
    figures = {}
    for direction in ("ab", "ba"):
        source, target = direction
        rows = []
        for pair in progress_bar(iterable=pairs, desc=direction, unit="pair", leave=False):
            result = translator.translate(pair[source], direction, reconstruct=True)
            row = {
                "truth_l1": mean_difference(result.fake, pair[target]),
                "reconstruction_l1": result.reconstruction_l1,
                "reconstruction_psnr": psnr(result.rec, pair[source]),
            }
            if direction == "ab":
                row["label_agreement"] = agreement(result.fake, pair[target], colours)
            rows.append(row)
        for name in rows[0]:
            values = [row[name] for row in rows]
            figures[f"{name}_{direction}"] = {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}
    return figures


def baselines(pairs: list[dict[str, Image.Image]], colours: np.ndarray) -> dict[str, float]:
    """truth_l1 of doing nothing, and of answering with the target domain's mean colour: what any figure must beat.

    Of labels likewise: the agreement of the commonest one everywhere.
    """
    found = {"commonest_label_ab": commonest_share([pair["b"] for pair in pairs], colours)}
    for source, target in ("ab", "ba"):
        mean = np.mean([np.asarray(pair[target], dtype=np.float64).mean(axis=(0, 1)) for pair in pairs], axis=0)
        flat = Image.fromarray(np.broadcast_to(mean.round().astype(np.uint8), np.asarray(pairs[0]["a"]).shape).copy())
        found[f"copy_{source}{target}"] = float(np.mean([mean_difference(p[source], p[target]) for p in pairs]))
        found[f"mean_colour_{source}{target}"] = float(np.mean([mean_difference(flat, p[target]) for p in pairs]))
    return found


def grid(translator: Translator, pairs: list[dict[str, Image.Image]], names: dict[str, str], side: int) -> Image.Image:
    """Both directions side by side: real, fake, truth, rec."""
    columns = [(d, stage) for d in ("ab", "ba") for stage in ("real", "fake", "truth", "rec")]
    head, gap = 24, 4
    width = len(columns) * (side + gap) + gap
    sheet = Image.new("RGB", (width, head + len(pairs) * (side + gap)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for c, (direction, stage) in enumerate(columns):
        domain = {"real": direction[0], "rec": direction[0], "fake": direction[1], "truth": direction[1]}[stage]
        draw.text((gap + c * (side + gap), 4), f"{stage}: {names[domain]}", fill="#222222", font=font)
    for r, pair in enumerate(pairs):
        for half, direction in enumerate(("ab", "ba")):
            result = translator.translate(pair[direction[0]], direction, reconstruct=True)
            shown = (pair[direction[0]], result.fake, pair[direction[1]], result.rec)
            for c, image in enumerate(shown):
                spot = (gap + (4 * half + c) * (side + gap), head + r * (side + gap))
                sheet.paste(image.resize((side, side), Image.Resampling.BICUBIC), spot)
    return sheet


def spread_out(values: list[int]) -> list[int]:
    """The same values, ordered so that each beginning of the list covers their range: the last, the first, halves."""
    order, parts = [values[-1]], 1
    while len(order) < len(values):
        order += [values[round(i * (len(values) - 1) / parts)] for i in range(parts + 1)]
        order, parts = list(dict.fromkeys(order)), parts * 2
    return order


def write_report(
    run: Path, held_back: Path, output: Path, *, command: str, trained_at: str, note: str = "", count: int = 60,
    device: str = "cpu", seconds: float = math.inf,
) -> None:  # fmt: skip
    """Measure a run's epochs and write the report.

    Args:
        run: the run's folder.
        held_back: folder of side-by-side pairs that the training never saw; `count` of them, evenly spread, are used.
        output: folder of the report.
        command: what trained the run, at commit `trained_at`.
        device: where to translate.
        seconds: about as long as this may take; epochs that there is no time for are left out, evenly.
    """
    began, paths = time.monotonic(), list_images(held_back)
    picked = [paths[i] for i in np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)]
    pairs = [halves(path) for path in picked]
    colours = main_colours([pair["b"] for pair in pairs])
    source = LocalSource(run)
    infos = {info.epoch: info for info in source.list()}
    epochs: dict[int, dict] = {}
    longest = 0.0
    for epoch in spread_out(sorted(infos)):
        started = time.monotonic()
        if epochs and seconds - (started - began) < 2.5 * longest + 5:
            break
        epochs[epoch] = evaluate(Translator(source.load(epoch), device), pairs, colours)
        longest = max(longest, time.monotonic() - started)
        print(f"epoch {epoch}: truth_l1_ab {epochs[epoch]['truth_l1_ab']['mean']:.2f}", flush=True)
    last = infos[max(infos)]
    names = {"a": last.config.data.domain_a, "b": last.config.data.domain_b}
    output.mkdir(parents=True, exist_ok=True)
    shown = [halves(path) for path in paths[:: max(1, len(paths) // 6)][:6]]
    grid(Translator(source.load(last.epoch), device), shown, names, 176).save(output / "held_back.jpg", quality=88)
    shutil.copy(run / "curves.png", output / "curves.png")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    if len(epochs) < len(infos):
        note = f"{note} {len(epochs)} of {len(infos)} epochs were measured.".strip()
    report = {
        "command": command,
        "trained_at": trained_at,
        "measured_on": describe(),
        "training_seconds": sum(row["seconds"] for row in rows if row["event"] == "epoch"),
        "steps": last.global_step,
        "batch": last.config.train["optim"]["batch_size"],
        "pairs": len(pairs),
        "baselines": baselines(pairs, colours),
        "epochs": dict(sorted(epochs.items())),
        "note": note,
    }
    (output / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (output / "README.md").write_text(markdown(report, names))


def main() -> None:
    """Read the flags and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, type=Path, help="the run's folder")
    parser.add_argument("--pairs", required=True, type=Path, help="folder of held-back side-by-side pairs")
    parser.add_argument("--output", required=True, type=Path, help="folder of the report")
    parser.add_argument("--command", required=True, help="the command that trained the run")
    parser.add_argument("--trained_at", required=True, help="the commit that it was trained with")
    parser.add_argument("--count", type=int, default=60, help="how many pairs, evenly spread")
    parser.add_argument("--note", default="", help="what else a reader must know")
    parser.add_argument("--device", default="cpu", help="where to translate, e.g. cuda")
    args = parser.parse_args()
    write_report(
        args.run, args.pairs, args.output, command=args.command, trained_at=args.trained_at, note=args.note,
        count=args.count, device=args.device,
    )  # fmt: skip


def _cell(figure: dict[str, float], form: str) -> str:
    return f"{figure['mean']:{form}} ± {figure['sd']:{form}}"


def markdown(report: dict, names: dict[str, str]) -> str:
    """The report for people."""
    machine, base = report["measured_on"], report["baselines"]
    lines = [
        f"# {names['a']} ↔ {names['b']}: what a training came to",
        "",
        f"    {report['command']}",
        "",
        f"Trained at commit {report['trained_at']} in {report['training_seconds'] / 60:.0f} minutes of training steps "
        f"on {machine['processor']}, {number_of(machine['cores'], 'core')}, {machine['memory_gib']} GiB, "
        f"GPU: {machine['gpu'] or 'none'}; torch {machine['torch']}. "
        f"{report['steps']} steps of {report['batch']} picture{'s' if report['batch'] > 1 else ''} of each domain.",
        "",
        report["note"],
        "",
        f"Measured on {report['pairs']} held-back pairs that the training never saw, at their full size, by "
        "`python -m benchmarks.train_report` (mean ± standard deviation over pairs). truth: mean |fake − truth| in "
        "grey levels of 255, lower is better; labels: share of pixels whose nearest of the true maps' "
        f"{COLOURS} main colours is the truth's; rec: mean |rec − real| in grey levels, and PSNR in dB.",
        "",
        f"To beat: handing the input back has a truth figure of {base['copy_ab']:.1f} (A → B) and "
        f"{base['copy_ba']:.1f} (B → A), and answering with the target domain's mean colour "
        f"{base['mean_colour_ab']:.1f} and {base['mean_colour_ba']:.1f}; the commonest label everywhere agrees with "
        f"{base['commonest_label_ab']:.0%} of pixels.",
        "",
        "| epoch | truth A → B | truth B → A | labels A → B | rec A → B → A | rec B → A → B | PSNR A → B → A "
        "| PSNR B → A → B |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    names_of = ("truth_l1", "label_agreement", "reconstruction_l1", "reconstruction_psnr")
    for epoch, figures in report["epochs"].items():
        found = [(name, figures.get(f"{name}_{d}")) for name in names_of for d in ("ab", "ba")]
        cells = [_cell(figure, ".0%" if name == "label_agreement" else ".1f") for name, figure in found if figure]
        lines.append(" | ".join(["", str(epoch), *cells, ""]).strip())
    lines += ["", "![held-back pictures](held_back.jpg)", "", "![loss curves](curves.png)", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
