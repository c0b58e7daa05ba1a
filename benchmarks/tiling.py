"""Peak memory, seconds and difference of translating piece by piece and in one pass.

    python -m benchmarks.tiling

Networks of random weights, pictures that are bright on one side and dark on the other. Each pass runs in a process of
its own, since a process's peak never falls. Peaks are what a pass takes beside the networks, the picture and the
result.

Memory and seconds of the whole pass are taken as `cyclegan.translation.translator` runs it, channels last. In this
layout a CPU's group norm is not exact on large maps, so differences are stated from the whole pass with channels first
(`grey_levels`), and from the one with channels last too (`grey_levels_from_channels_last`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from cyclegan.cli.progress import progress_bar

# Generator, ngf, width, height, bound in MiB; and whether the whole pass is measured too.
CASES = [("resnet_9", 64, 512, 512, 128, True), ("resnet_9", 64, 1024, 1024, 512, True),
         ("resnet_9", 64, 1024, 1024, 192, True), ("resnet_6", 16, 2048, 2048, 384, True),
         ("unet_256", 64, 1024, 1024, 256, True), ("encoder_decoder", 64, 1024, 1024, 256, True),
         ("resnet_6", 16, 4000, 3000, 512, False)]  # fmt: skip
TAKES = "about 10 minutes on two cores"
REPORT = Path(__file__).parent / "reports" / "tiling.json"

CHILD = """
import json, resource, sys, time
import numpy as np, psutil, torch
from cyclegan.config import ModelConfig
from cyclegan.networks import build_generator
from cyclegan.translation.tiling import least_bytes, translate_in_pieces
kind, ngf, width, height, mib, path = sys.argv[1], *map(int, sys.argv[2:6]), sys.argv[6]
torch.manual_seed(0)
generator = build_generator(ModelConfig(generator=kind, ngf=ngf)).eval().to(memory_format=torch.channels_last)

def translate(x):
    if mib <= 0:
        with torch.inference_mode():
            return generator(x)
    return translate_in_pieces(generator, x, max_bytes=mib * 2**20)

small = torch.zeros(1, 3, generator.min_size, generator.min_size)
least = least_bytes(generator, height, width)
translate(small)  # What libraries allocate once.
x = torch.empty(1, 3, height, width).contiguous(memory_format=torch.channels_last)
x.uniform_(-0.4, 0.4)[..., width // 2 :].add_(0.6)
x[..., : width // 2].sub_(0.6)
if mib < 0:
    x, generator = x.contiguous(), generator.to(memory_format=torch.contiguous_format)
result = torch.ones_like(x)
before = psutil.Process().memory_info().rss
del result
start, cpu_start = time.perf_counter(), time.process_time()
result = translate(x)
seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
if path:
    np.save(path, result.numpy())
print(json.dumps({"mib": round(taken / 2**20, 1), "seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2),
                  "least": -(-least // 2**20)}))
"""


def measure(kind: str, ngf: int, width: int, height: int, bound: int, path: Path) -> dict[str, float]:
    """One pass in a process of its own; the result goes to `path`.

    Args:
        bound: in MiB; 0 is the whole pass, -1 the whole pass with channels first.
    """
    command = [sys.executable, "-c", CHILD, kind, *map(str, (ngf, width, height, bound, path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPORT.parents[2])
    return json.loads(done.stdout)


def apart(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Largest and mean absolute difference of two results, in grey levels of 255."""
    difference = np.abs(one - other) * 127.5
    return {"max": float(f"{difference.max():.2g}"), "mean": float(f"{difference.mean(dtype=np.float64):.2g}")}


def main() -> None:
    """Measure every case and write the report."""
    rows, passes = [], sum(3 if compared else 1 for *_, compared in CASES)
    with tempfile.TemporaryDirectory() as folder, progress_bar(total=passes, unit="pass") as bar:
        for kind, ngf, width, height, bound, compared in CASES:
            paths = [Path(folder, name) for name in ("pieces.npy", "whole.npy", "exact.npy")]
            got = measure(kind, ngf, width, height, bound, paths[0])
            bar.update()
            row = {"generator": kind, "ngf": ngf, "width": width, "height": height, "bound_mib": bound,
                   "least_mib": got["least"], "pieces_mib": got["mib"],
                   "pieces_seconds": got["seconds"], "pieces_cpu_seconds": got["cpu_seconds"]}  # fmt: skip
            if compared:
                one = measure(kind, ngf, width, height, 0, paths[1])
                bar.update()
                measure(kind, ngf, width, height, -1, paths[2])
                bar.update()
                pieces, whole, exact = map(np.load, paths)
                row |= {"whole_mib": one["mib"], "whole_seconds": one["seconds"],
                        "whole_cpu_seconds": one["cpu_seconds"],
                        "cpu_seconds_ratio": round(got["cpu_seconds"] / one["cpu_seconds"], 2),
                        "grey_levels": apart(pieces, exact),
                        "grey_levels_from_channels_last": apart(pieces, whole)}  # fmt: skip
            rows.append(row)
            bar.write(str(row))
    report = {"command": "python -m benchmarks.tiling", "machine": describe(), "rows": rows}
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    over = [row for row in rows if row["pieces_mib"] > row["bound_mib"]]
    if over:
        sys.exit(f"{len(over)} of {len(rows)} cases took more than their bound")


if __name__ == "__main__":
    main()
