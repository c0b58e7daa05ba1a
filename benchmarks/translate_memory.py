"""Peak memory of translating a picture, per pixel and first-layer channel.

    python -m benchmarks.translate_memory

`cyclegan.translation.translator` refuses pictures by this figure. Each case runs in a process of its own, since a
process's peak never falls.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import describe

CASES = [("resnet_9", 64, 256), ("resnet_9", 64, 512), ("resnet_6", 16, 1024), ("resnet_6", 16, 2048),
         ("unet_256", 32, 1024), ("encoder_decoder", 32, 1024)]  # fmt: skip
TAKES = "about a minute on two cores"
REPORT = Path(__file__).parent / "reports" / "translate_memory.json"

CHILD = """
import resource, sys, torch
from cyclegan.config import ModelConfig
from cyclegan.networks import build_generator
from cyclegan.networks.fast import fast_generator
kind, ngf, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
generator = build_generator(ModelConfig(generator=kind, ngf=ngf)).to(memory_format=torch.channels_last)
generator = fast_generator(generator, "cpu")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
with torch.inference_mode():
    generator(torch.zeros(1, 3, generator.min_size, generator.min_size))  # What libraries allocate once.
    before = peak()
    generator(torch.zeros(1, 3, side, side).contiguous(memory_format=torch.channels_last))
print(peak() - before)
"""


def main() -> None:
    """Measure every case and write the report."""
    rows = []
    for kind, ngf, side in CASES:
        command = [sys.executable, "-c", CHILD, kind, str(ngf), str(side)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPORT.parents[2])
        taken = int(done.stdout)
        rows.append(
            {"generator": kind, "ngf": ngf, "side": side, "mib": round(taken / 2**20, 1),
             "bytes_per_pixel_and_channel": round(taken / (side * side * ngf), 1)}
        )  # fmt: skip
        print(rows[-1], flush=True)
    report = {"command": "python -m benchmarks.translate_memory", "machine": describe(), "rows": rows}
    REPORT.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
