"""Mean error of MR → CT in Hounsfield units: by the pictures' own values, and by the same training through 8 bits.

    python -m benchmarks.phantoms

Slices of `phantoms` are trained on three times, with the same settings and seed:

    own values   16-bit TIFFs, each domain in its own range (`--range_a`, `--range_b`: found)
    8 bits       the same values as 8-bit tools take a 16-bit picture: divided by 257 (CT with 1024 added, as stored)
    window       8 bits of a range that is chosen by hand: MR 0 to 4095, CT -1000 to 2000

All translations are brought back to Hounsfield units, and compared with the slices' exact values. Below stand the
answers that need no network, and two kinds of ceiling: the errors that true pictures have after such 8 bits, and what
the same network learns in as many steps from pairs, where each MR slice comes with its own CT. Unpaired, it sees none.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import describe
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.cli.progress import progress_bar
from cyclegan.data.phantoms import PhantomsSpec
from cyclegan.evaluation.scores.distances import mean_interval
from cyclegan.networks import generator_of
from cyclegan.rasters.raster import Raster
from cyclegan.translation.translator import Translator

TAKES = "about 40 minutes on two cores"
REPORT = Path(__file__).parent / "reports" / "phantoms.json"
SETTINGS = (
    "--domain_a MR --domain_b CT --generator resnet_6 --ngf 16 --ndf 24 --upsample resize --load_size 72 "
    "--crop_size 64 --lambda_identity 0 --ema 0.995 --samples_every 0 --seed 0"
)
LEVEL, OFFSET = 257, 1024
"""Units of a level when 16 bits become 8, and what files of CT add so that no value is negative."""
WINDOWS = {"a": (0.0, 4095.0), "b": (-1000.0, 2000.0)}
Coded = Callable[[np.ndarray, str], np.ndarray]


def divided(values: np.ndarray, domain: str) -> np.ndarray:
    """Return values as 8 bits, as tools do that divide 16 bits."""
    return np.clip(np.rint((values + OFFSET * (domain == "b")) / LEVEL), 0, 255).astype(np.uint8)


def undivided(levels: np.ndarray, domain: str) -> np.ndarray:
    """Return the values that `divided`'s levels stand for."""
    return levels.astype(np.float32) * LEVEL - OFFSET * (domain == "b")


def windowed(values: np.ndarray, domain: str) -> np.ndarray:
    """Return values as 8 bits of a window."""
    low, high = WINDOWS[domain]
    return np.clip(np.rint((values - low) * 255 / (high - low)), 0, 255).astype(np.uint8)


def unwindowed(levels: np.ndarray, domain: str) -> np.ndarray:
    """Return the values that `windowed`'s levels stand for."""
    low, high = WINDOWS[domain]
    return levels.astype(np.float32) * ((high - low) / 255) + low


CODES: dict[str, tuple[Coded, Coded] | None] = {
    "own values": None, "8 bits": (divided, undivided), "window": (windowed, unwindowed)
}  # fmt: skip


def write_8_bit(spec: PhantomsSpec, folder: Path, code: Coded) -> None:
    """Write the training slices as 8-bit PNGs."""
    for domain in "ab":
        part = folder / f"train{domain.upper()}"
        part.mkdir(parents=True)
        for index in range(spec.count):
            levels = code(spec.image("train", domain, index).values[..., 0], domain)
            Image.fromarray(levels).convert("RGB").save(part / f"{index:04}.png")


def errors(spec: PhantomsSpec, answer: Callable[[int], np.ndarray]) -> dict[str, float]:
    """Return the mean |answer − truth| over the test slices in Hounsfield units, with its 95% interval."""
    found = [
        float(np.abs(answer(index) - spec.truth("test", "a", index).values[..., 0]).mean())
        for index in range(spec.test_count)
    ]
    low, high = mean_interval(np.array(found), bounds=(0.0, np.inf)) or (None, None)
    return {"value": round(float(np.mean(found)), 1), "low": round(low, 1), "high": round(high, 1)}


def translated(run: Path, spec: PhantomsSpec, name: str) -> Callable[[int], np.ndarray]:
    """Return a function that translates a test slice by a run's newest epoch, in Hounsfield units."""
    source = LocalSource(run)
    translator, code = Translator(source.load(source.list()[0].epoch)), CODES[name]

    def answer(index: int) -> np.ndarray:
        raster = spec.image("test", "a", index)
        if code is None:
            fake = translator.translate(raster, "ab").fake
            assert isinstance(fake, Raster)
            return fake.values[..., 0]
        levels = code[0](raster.values[..., 0], "a")
        fake = translator.translate(Image.fromarray(levels).convert("RGB"), "ab").fake
        return code[1](np.asarray(fake, np.float32).mean(axis=2), "b")

    return answer


def learned_from_pairs(spec: PhantomsSpec, run: Path, epochs: int, decay_epochs: int) -> Callable[[int], np.ndarray]:
    """Train a run's network G on own values with the slices' truths by the mean |error|; return its answers."""
    source = LocalSource(run)
    config = source.load(source.list()[0].epoch).config
    mr, ct = config.data.values("a"), config.data.values("b")
    slices = [spec.slice("train", "a", index) for index in range(spec.count)]
    inputs = torch.stack([mr.to_tensor(spec.show(drawn, "a")) for drawn in slices])
    truths = torch.stack([ct.to_tensor(spec.show(drawn, "b")) for drawn in slices])
    torch.manual_seed(0)
    network, size = generator_of(config, "ab"), config.data.crop_size
    optimizer = torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999))
    room = inputs.shape[-1] - size + 1
    for epoch in progress_bar(iterable=range(epochs + decay_epochs), desc="from pairs", unit="epoch"):
        for group in optimizer.param_groups:
            group["lr"] = 2e-4 * min(1.0, (epochs + decay_epochs - epoch) / (decay_epochs + 1))
        for index in torch.randperm(spec.count).tolist():
            top, left = torch.randint(room, (2,)).tolist()
            pair = torch.stack([inputs[index], truths[index]])[..., top : top + size, left : left + size]
            pair = pair.flip(-1) if torch.rand(()) < 0.5 else pair
            optimizer.zero_grad()
            (network(pair[:1]) - pair[1:]).abs().mean().backward()
            optimizer.step()
    network.eval()

    def answer(index: int) -> np.ndarray:
        with torch.no_grad():
            found = network(mr.to_tensor(spec.image("test", "a", index))[None])[0, 0].numpy()
        return (found + 1) / 2 * (ct.high - ct.low) + ct.low

    return answer


def main() -> None:
    """Train, measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/phantoms"), help="of the runs, which it continues")
    parser.add_argument("--dataset", default="phantoms:count=250,test_count=60,size=72")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--decay_epochs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=REPORT)
    args = parser.parse_args()
    spec, rows = PhantomsSpec.parse(args.dataset), {}
    commands = []
    for name, code in CODES.items():
        run, dataset = args.folder / name.replace(" ", "-"), args.dataset
        if code is not None:
            folder = args.folder / f"{run.name}-data"
            if not (folder / "done").exists():
                shutil.rmtree(folder, ignore_errors=True)
                write_8_bit(spec, folder, code[0])
                (folder / "done").touch()
            dataset = str(folder)
        channels = [] if code is None else ["--channels_a", "3", "--channels_b", "3"]
        command = ["train_accelerate.py", "--dataset", dataset, "--output_dir", str(run), *shlex.split(SETTINGS),
                   "--epochs", str(args.epochs), "--decay_epochs", str(args.decay_epochs), *channels]  # fmt: skip
        commands.append(shlex.join(["python", *command]))
        subprocess.run([sys.executable, *command, "--resume", "auto"], check=True)
        rows[name] = errors(spec, translated(run, spec, name))
        print(name, rows[name], flush=True)
    paired = learned_from_pairs(spec, args.folder / "own-values", args.epochs, args.decay_epochs)
    rows["own values, from pairs"] = errors(spec, paired)
    print("from pairs", rows["own values, from pairs"], flush=True)
    some = np.stack([spec.image("train", "b", index).values[..., 0] for index in range(min(100, spec.count))])
    median, places = np.median(some), np.median(some, axis=0)
    rows["one value"] = errors(spec, lambda index: np.full(places.shape, median))
    rows["the usual value of each place"] = errors(spec, lambda index: places)
    for name, code in CODES.items():
        if code is not None:
            there, back = code
            rows[f"true CT after {name}"] = errors(spec, lambda index, there=there, back=back: back(
                there(spec.truth("test", "a", index).values[..., 0], "b"), "b"))  # fmt: skip
    content = {
        "command": f"python -m benchmarks.phantoms --dataset {args.dataset} --epochs {args.epochs} --decay_epochs "
                   f"{args.decay_epochs}",
        "trainings": commands, "machine": describe(), "unit": "HU, mean absolute error over test slices", "rows": rows,
        "own values better than 8 bits by": round(rows["8 bits"]["value"] / rows["own values"]["value"], 2),
        "own values better than the window by": round(rows["window"]["value"] / rows["own values"]["value"], 2),
    }  # fmt: skip
    args.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
