"""`python -m cyclegan experiment adaptation`: does translation help a segmenter?"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclegan.cli.flags import device
from cyclegan.cli.progress import progress_bar
from cyclegan.errors import number_of

if TYPE_CHECKING:
    from cyclegan.experiments.adaptation.readers import Readers
    from cyclegan.experiments.plan import Plan
    from cyclegan.experiments.spec import Experiment

STEPS = {"tiny": 240, "small": 900, "paper": 3000}
"""Batches of 8 that each segmenter sees, by scale."""


def prepare(experiment: Experiment, seeds: Sequence[int], args: argparse.Namespace) -> tuple[Plan, Readers]:
    """Return the plan on the pair's data set, which is written, after the segmenters that need no translation.

    Raises:
        UserError: the domains can't be used together.
        TimeoutError: after `--minutes`. What is trained by then is kept.
    """
    from cyclegan.experiments.adaptation.pair import chosen, open_pair, write_data
    from cyclegan.experiments.adaptation.readers import ORACLE, PLAIN, Readers
    from cyclegan.experiments.plan import make_plan, record

    settings = experiment.settings(experiment.rows[0], args.scale)
    size, limit = settings["load_size"], settings.get("max_images")
    pair = open_pair(args.source or f"{experiment.dataset(args.scale)}@a", args.target, args.classes)
    for role, names in pair.left_out.items():
        if names:
            print(f"note: classes of the {role} without a counterpart aren't scored: {', '.join(names)}",
                  file=sys.stderr)  # fmt: skip
    counts = [len(chosen(len(half.train), limit)) for half in (pair.source, pair.target)]
    with progress_bar(total=sum(counts), desc="Copying", unit="picture", delay=0.5) as bar:
        data = write_data(pair, args.output, size=size, limit=limit, progress=bar.update)
    named = {"domain_a": pair.source.name, "domain_b": pair.target.name}
    plan = make_plan(
        dataclasses.replace(experiment, shared={**experiment.shared, **named}), str(data), args.scale, seeds,
        args.output,
    )  # fmt: skip
    record(plan)
    readers = Readers(pair, args.output, side=settings["crop_size"], steps=STEPS[args.scale], limit=limit,
                      device=device(args.device))  # fmt: skip
    readers.blind()
    jobs = [(name, seed) for seed in plan.seeds for name in sorted(PLAIN, key=ORACLE.__ne__)]  # It judges the others.
    end = math.inf if args.minutes is None else time.monotonic() + 60 * args.minutes
    look = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    with progress_bar(total=len(jobs), bar_format=look, desc="Segmenters") as bar:

        def show(done: float) -> None:
            bar.update(done - bar.n)
            if time.monotonic() > end:
                raise TimeoutError

        for number, (name, seed) in enumerate(jobs):
            bar.set_postfix_str(f"{name}, seed {seed}", refresh=False)
            readers.plain(name, seed, lambda share, start=number: show(start + share))
            show(number + 1)
    print(f"{number_of(len(jobs), 'segmenter')} of {pair.source.name} and {pair.target.name} trained", flush=True)
    return plan, readers


def render(plan: Plan, args: argparse.Namespace, command: str) -> int:
    """Write the report anew from what is in the folder."""
    from cyclegan.experiments.adaptation.report import write_report
    from cyclegan.experiments.run import locked

    with locked(args.output):
        write_report(plan, command, None)
    print(f"written: {args.output / 'README.md'}")
    return 0
