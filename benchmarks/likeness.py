"""Share of the app's guesses at a picture's domain that are right.

    python -m benchmarks.likeness DATASET … [--run RUN DATASET …]

For a data set: 4 test pictures per domain, as many as a run has for examples, against which the others are guessed;
mean and worst of 40 draws. For a run: its own examples against the test pictures of a data set, and the second opinion,
the way back that loses clearly less, which the app asks where the examples decide nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import commit
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.cli.progress import progress_bar
from cyclegan.config import DataConfig
from cyclegan.data import find_data
from cyclegan.evaluation.likeness import SURE, features, nearer_domain
from cyclegan.images import mean_difference
from cyclegan.translation.translator import Translator
from cyclegan.ui.inputs import training_side
from cyclegan.ui.runs import examples_of
from cyclegan.ui.translating import CLEARLY_LESS

TAKES = "about a minute on two cores for each data set, and a few more for each run"
REPORT = Path(__file__).parent / "reports" / "likeness.json"
EXAMPLES, DRAWS, MOST, MOST_TRANSLATED = 4, 40, 200, 16
"""Examples per domain, draws of them, and the most test pictures per domain that are guessed, or translated."""


def test_pictures(dataset: str) -> dict[str, list[Image.Image]]:
    """Return the first test pictures of both domains, by `a` and `b`."""
    splits = find_data(DataConfig(dataset=dataset))
    test = {"a": splits.test_a, "b": splits.test_b}
    return {
        one: [test[one].load(index) for index in progress_bar(
            iterable=range(min(MOST, len(test[one]))), desc=f"{Path(dataset).name}, {one}", unit="picture")]
        for one in "ab"
    }  # fmt: skip


def rates(guesses: list[tuple[str, str | None]]) -> dict[str, float]:
    """Return the share of guesses among (domain, guess), and the share of these that are right."""
    made = [domain == guess for domain, guess in guesses if guess is not None]
    return {"guessed": round(len(made) / len(guesses), 4), "right": round(float(np.mean(made)), 4) if made else 0.0}


def guess_data(pictures: dict[str, list[Image.Image]]) -> dict[str, Any]:
    """Return how the test pictures of a data set are guessed by some of them."""
    known = {one: np.stack([features(picture) for picture in pictures[one]]) for one in "ab"}
    rng, draws = np.random.default_rng(0), []
    for _ in range(DRAWS):
        orders = {one: rng.permutation(len(known[one])) for one in "ab"}
        examples = {one: known[one][orders[one][:EXAMPLES]] for one in "ab"}
        draws.append(rates([
            (one, nearer_domain(known[one][index], **examples)) for one in "ab" for index in orders[one][EXAMPLES:]
        ]))  # fmt: skip
    return {
        "pictures": {one: len(known[one]) for one in "ab"},
        **{name: round(float(np.mean([draw[name] for draw in draws])), 4) for name in ("guessed", "right")},
        "right_in_the_worst_draw": min(draw["right"] for draw in draws),
    }


def guess_run(run: str, pictures: dict[str, list[Image.Image]]) -> dict[str, Any]:
    """Return how a run's examples guess pictures, and how the ways back of its first and last epoch do."""
    source = LocalSource(run)
    examples = {
        one: [features(Image.open(path).convert("RGB")) for path in examples_of(source) if path.name.startswith(one)]
        for one in "ab"
    }
    by_examples = [(one, nearer_domain(features(each), **examples)) for one in "ab" for each in pictures[one]]
    found = {"pictures": {one: len(pictures[one]) for one in "ab"}, **rates(by_examples), "by_the_way_back": {}}
    infos = source.list()
    for info in (infos[-1], infos[0]):
        translator, guesses = Translator(source.load(info.epoch), "cpu"), []
        for one in "ab":
            some = pictures[one][:MOST_TRANSLATED]
            for each in progress_bar(iterable=some, desc=f"{info.tag}, {one}", unit="picture"):
                size = training_side(each.size, info.config.data)
                lost = {}
                for way in ("ab", "ba"):
                    back = translator.translate(each, way, reconstruct=True, size=size).rec
                    lost[way[0]] = mean_difference(back, each)
                low, high = sorted(lost, key=lost.get)
                guesses.append((one, low if lost[low] < CLEARLY_LESS * lost[high] else None))
        found["by_the_way_back"][info.tag] = rates(guesses)
    return found


def main() -> None:
    """Measure what the command line names, print it, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help="as --dataset of the trainer")
    parser.add_argument("--run", nargs=2, action="append", default=[], metavar=("RUN", "DATASET"))
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args()
    report: dict[str, Any] = {"commit": commit(), "sure": SURE, "clearly_less": CLEARLY_LESS}
    report |= {"datasets": {}, "runs": {}}
    for dataset in args.datasets:
        report["datasets"][Path(dataset).name] = found = guess_data(test_pictures(dataset))
        print(Path(dataset).name, json.dumps(found), flush=True)
    for run, dataset in args.run:
        name = f"{Path(run).name} on {Path(dataset).name}"
        report["runs"][name] = found = guess_run(run, test_pictures(dataset))
        print(name, json.dumps(found), flush=True)
    args.report.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
