"""From the opened page to pictures, as a visitor waits for them in Chromium.

    python -m benchmarks.first_picture

The app serves the embedded run, for others. In each round a new browser, with nothing kept, opens the page:

    example   until it shows a translated picture
    own       from an upload of 256² to its result in both readings, with both reconstructions
    large     the same for a photo of 12 megapixels, which the networks see at the page's own working size

The four passes are what `own` can't do without: the same ones in this process, by the same networks as the app's.
The upload changes in every round, so that no result is kept. `own` is measured for networks of the paper's size, too
(untrained ResNet-9), because what the page adds is the same for all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.app_load import serving, write_run
from benchmarks.machine import ROOT, describe
from cyclegan.cli.progress import progress_bar

TAKES = "about 4 minutes on two cores; needs Chromium and Playwright"
REPORT = Path(__file__).parent / "reports" / "first_picture.json"
RUN = ROOT / "demo" / "streets"
SIDE, LARGE = 256, (4000, 3000)
LOADED = (
    "([w, h, least]) => { const all = [...document.querySelectorAll('.large .pictures img')];"
    " return all.length >= least && all.every(e => e.complete && e.naturalWidth)"
    " && (!w || all.some(e => e.naturalWidth == w && e.naturalHeight == h)) }"
)


def photo(size: tuple[int, int], number: int) -> Image.Image:
    """A picture like a photo, another one for each number: smooth shapes and some noise."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noise = rng.integers(0, 12, (size[1], size[0], 1), dtype=np.uint8)
    return Image.fromarray(np.minimum(np.asarray(coarse), 243) + noise)


def visit(browser, url: str, folder: Path, number: int, *, trained: bool) -> dict[str, float]:
    """The seconds of one visit. An untrained run has no example."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(300_000)
    found = {}
    started = time.perf_counter()
    page.goto(url, wait_until="commit")
    uploads = [("own", (SIDE, SIDE), "png")]
    if trained:
        page.wait_for_function(LOADED, arg=[0, 0, 2])
        found["example"] = time.perf_counter() - started
        page.locator(".note").get_by_text("Epoch ").first.wait_for()  # The networks are loaded, as on any later visit.
        uploads.append(("large", LARGE, "jpg"))
    for name, size, ending in uploads:
        path = folder / f"{name}-{number}.{ending}"
        photo(size, number).save(path, quality=92)
        if trained:
            page.get_by_label("Remove Image").click()
        page.locator(".note").get_by_text("Choose a picture").first.wait_for()
        started = time.perf_counter()
        page.locator(".given input[type=file]").set_input_files(path)
        page.wait_for_function(LOADED, arg=[*size, 4])
        found[name] = time.perf_counter() - started
    page.context.close()
    return found


def passes(run: Path, number: int) -> float:
    """The seconds of the four passes alone."""
    import torch

    from cyclegan.checkpoints.sources import LocalSource
    from cyclegan.translation.translator import Translator

    source = LocalSource(run)
    translator = Translator(source.load(source.list()[-1].epoch))
    given = torch.rand(1, 3, SIDE, SIDE).mul(2).sub(1)
    times = []
    with torch.inference_mode():
        for _ in range(number + 1):
            started = time.perf_counter()
            for first, second in (("ab", "ba"), ("ba", "ab")):
                translator.generators[second](translator.generators[first](given))
            times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=REPORT)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    shell = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
    if shell is None:
        raise SystemExit("Chromium isn't installed: install it, for example by apt-get install chromium")
    content = {"command": f"python -m benchmarks.first_picture --rounds {args.rounds}", "machine": describe()}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        networks = {"the embedded networks": RUN, "the paper's networks": write_run(Path(name), ngf=64)}
        for title, run in networks.items():
            rounds = []
            with serving(run) as (url, _):
                for number in progress_bar(iterable=range(args.rounds + 1), unit="visit"):
                    browser = playwright.chromium.launch(executable_path=shell, args=["--headless", "--no-sandbox"])
                    rounds.append(visit(browser, url, Path(name), number, trained=run == RUN))
                    browser.close()
            network, (first, *later) = passes(run, args.rounds), rounds
            medians = {name: statistics.median(each[name] for each in later) for name in first}
            content[title] = {
                "first visit, s": {name: round(value, 2) for name, value in first.items()},
                "later visits, median s": {name: round(value, 2) for name, value in medians.items()},
                "later visits, slowest s": {name: round(max(each[name] for each in later), 2) for name in first},
                "the four passes alone, s": round(network, 3),
                "own / the four passes": round(medians["own"] / network, 2),
            }
    args.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
