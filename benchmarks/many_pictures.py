"""Rate of `translate` over many pictures against the bare network's, and whether memory stays flat.

    python -m benchmarks.many_pictures
    python -m benchmarks.many_pictures calls

rate: JPEGs of 256² are translated with the embedded network in turn with the bare network, which gets the same number
of tensors in batches of the same size: nothing is read, converted or written. Blocks alternate, so that other work on
the machine slows both.
calls: two shards at once, and Ray Data, translate what one call has translated, from start to end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.machine import describe
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.cli.progress import progress_bar
from cyclegan.data.streets import StreetsSpec
from cyclegan.translation.files import Item
from cyclegan.translation.manifest import Manifest
from cyclegan.translation.pictures import translate_pictures
from cyclegan.translation.saving import Encoding
from cyclegan.translation.translator import Translator

TAKES = "about 45 minutes on two cores; calls needs the package ray"
REPORT = Path(__file__).parent / "reports" / "many_pictures.json"
RUN = Path(__file__).parent.parent / "demo" / "streets"
SIDE, SCENES = 256, 40


def write_pictures(folder: Path, count: int) -> list[Item]:
    """Write `count` JPEGs of SCENES scenes."""
    folder.mkdir()
    spec, items = StreetsSpec(count=SCENES, test_count=1, width=SIDE, height=SIDE), []
    for index in range(count):
        path = folder / f"{index:06}.jpg"
        if index < SCENES:
            spec.image("train", "a", index).save(path, quality=92)
        else:
            shutil.copy(folder / f"{index % SCENES:06}.jpg", path)
        items.append(Item(path, None, path.name, f"{path.stem}.png"))
    return items


def bare(translator: Translator, inputs: torch.Tensor, count: int) -> float:
    """Return the network's pictures per second."""
    network, size = translator.generators["ab"], translator.batch_size((SIDE, SIDE))
    started = time.perf_counter()
    with torch.inference_mode():
        for start in range(0, count, size):
            network(inputs[: min(size, count - start)])
    return count / (time.perf_counter() - started)


def translated(
    translator: Translator, items: list[Item], folder: Path, encoding: Encoding, manifest: Manifest
) -> float:
    """Return `translate`'s pictures per second."""
    started = time.perf_counter()
    done = translate_pictures(translator, items, folder, "ab", encoding=encoding, manifest=manifest)
    seconds = time.perf_counter() - started
    assert not done.failed, done.failed[0]
    return len(items) / seconds


def called(folder: Path, pictures: Path, *calls: str) -> float:
    """Return the pictures per second of calls of `translate` at once, each with these flags, from start to end."""
    output = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "cyclegan", "translate", "--checkpoints", str(RUN), "--direction", "ab", "--input",
               str(pictures), "--output", str(output)]  # fmt: skip
    started = time.perf_counter()
    running = [subprocess.Popen([*command, *flags.split()]) for flags in calls]
    assert not any(call.wait() for call in running)
    count = len(list(pictures.iterdir()))
    assert len(list(output.glob("*.png"))) == count
    return count / (time.perf_counter() - started)


def measured_rate(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the rate against the bare network's, block by block, and the memory."""
    ratios, rates, memory = [], [], []
    items = write_pictures(folder / "pictures", args.pictures)
    source = LocalSource(RUN)
    translator = Translator(source.load(source.list()[0].epoch))
    inputs = torch.rand(8, 3, SIDE, SIDE).mul(2).sub(1).contiguous(memory_format=torch.channels_last)
    inputs = inputs.to(translator.device)
    bare(translator, inputs, 16)
    process, encoding = psutil.Process(), Encoding(args.format)
    (folder / "out").mkdir()
    with Manifest(folder / "out", {"checkpoint": "bench"}) as manifest:
        for start in progress_bar(iterable=range(0, len(items), args.block), unit="block"):
            block = items[start : start + args.block]
            plain = bare(translator, inputs, len(block))
            rate = translated(translator, block, folder / "out", encoding, manifest)
            ratios.append(rate / plain)
            rates.append(rate)
            memory.append(process.memory_info().rss)
    quartiles = [round(q, 3) for q in statistics.quantiles(ratios, n=4)] if len(ratios) > 1 else ratios * 3
    return {
        "command": f"python -m benchmarks.many_pictures rate --pictures {args.pictures} --block {args.block} --format "
                   f"{args.format}",
        "machine": describe(), "pictures": args.pictures, "side": SIDE, "network": "demo/streets",
        "pictures per second": round(statistics.median(rates), 2),
        "of the bare network's rate": quartiles[1], "quartiles over blocks": [quartiles[0], quartiles[2]],
        "memory in MiB after the first, the middle and the last block": [
            round(memory[at] / 2**20) for at in (0, len(memory) // 2, -1)
        ],
    }  # fmt: skip


def measured_calls(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the rates of two shards at once and of Ray against one call's, from start to end."""
    kinds = {"one call": ("",), "two shards at once": ("--shard 1/2", "--shard 2/2"), "Ray": ("--engine ray",)}
    found = {name: [] for name in kinds}
    write_pictures(folder / "chosen", args.called_pictures)
    for turn in range(args.rounds):
        # In turn from both ends, because other work on the machine comes and goes.
        for name in progress_bar(iterable=list(kinds)[:: 1 if turn % 2 == 0 else -1], unit="way"):
            found[name].append(called(folder, folder / "chosen", *kinds[name]))
    return {
        "command": f"python -m benchmarks.many_pictures calls --called_pictures {args.called_pictures} --rounds "
                   f"{args.rounds}",
        "machine": describe(), "pictures": args.called_pictures,
        "one call, pictures per second": [round(rate, 2) for rate in found["one call"]],
        "of one call's rate": {
            name: [round(rate / one, 3) for rate, one in zip(rates, found["one call"], strict=True)]
            for name, rates in found.items() if name != "one call"
        },
    }  # fmt: skip


PARTS = {"rate": measured_rate, "calls": measured_calls}


def main() -> None:
    """Measure and write the report; parts that aren't measured again are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{' or '.join(PARTS)}; both by default")
    parser.add_argument("--pictures", type=int, default=5000, help="of rate")
    parser.add_argument("--block", type=int, default=100, help="of rate")
    parser.add_argument("--format", choices=("png", "webp", "jpeg"), default="png", help="of rate")
    parser.add_argument("--called_pictures", type=int, default=1000, help="of calls")
    parser.add_argument("--rounds", type=int, default=2, help="of calls")
    parser.add_argument("--output", type=Path, default=REPORT)
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"there is no part {unknown.pop()}: choose from {', '.join(PARTS)}")
    before = json.loads(args.output.read_text("utf-8")) if args.output.is_file() else {}
    content = {part: before[part] for part in PARTS if part in before}
    for part in args.parts or PARTS:
        with tempfile.TemporaryDirectory() as name:
            content[part] = PARTS[part](args, Path(name))
        args.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
