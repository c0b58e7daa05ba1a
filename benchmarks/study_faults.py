"""Kill a study's server repeatedly while people vote.

    python -m benchmarks.study_faults

Every acknowledged vote must be in the database exactly once, with the right answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from benchmarks.machine import describe
from benchmarks.study_server import Participant, Server, make_study
from cyclegan.cli.progress import progress_bar

TAKES = "about 3 minutes on two cores"
REPORT = Path(__file__).parent / "reports" / "study_faults.json"


async def play(server: Server, count: int, kills: int, seed: int) -> tuple[list[Participant], int]:
    """Play all sessions to the end while the server is killed `kills` times, evenly over the votes."""
    rng = random.Random(seed)
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=2 * count), timeout=20) as client:
        people = [Participant(client, server.address, n, patience_s=120) for n in range(count)]
        for person in people:
            await person.begin()
        total = sum(50 for _ in people)
        bar = progress_bar(total=total, unit="vote")
        marks = [int(total * (n + rng.random()) / (kills + 1)) for n in range(kills)]
        done = 0

        async def one(person: Participant) -> None:
            while not person.done:
                await person.trial()
                bar.update(sum(len(each.acknowledged) for each in people) - bar.n)

        async def kill() -> None:
            nonlocal done
            for mark in marks:
                while sum(len(person.acknowledged) for person in people) < mark:
                    await asyncio.sleep(0.002)
                await asyncio.sleep(rng.random() * 0.05)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                done += 1

        with bar:
            await asyncio.gather(kill(), *(one(person) for person in people))
    return people, done


def compare(study: Any, people: list[Participant]) -> dict[str, int]:
    """Compare acknowledged votes with the database."""
    from cyclegan.study.store import Store, database_url

    with Store(database_url(study.folder)) as store:
        votes = store.votes(study)
    practice = study.protocol.practice_trials
    kept = Counter((row.participant, row.trial_index) for row in votes.itertuples())
    answers = {(row.participant, row.trial_index): row.chosen_side for row in votes.itertuples()}
    acknowledged = {
        (f"p{person.number}", number - 1 + (practice if phase == "test" else 0)): side
        for person in people for (phase, number), side in person.acknowledged.items()
    }  # fmt: skip
    return {
        "acknowledged": len(acknowledged),
        "in_the_database": len(votes),
        "acknowledged_but_missing": sum(key not in kept for key in acknowledged),
        "there_twice": sum(count > 1 for count in kept.values()),
        "with_another_answer": sum(answers.get(key, side) != side for key, side in acknowledged.items()),
        "recorded_but_not_acknowledged": sum(key not in acknowledged for key in kept),
    }


def main() -> None:
    """Measure and write the report; exit 1 if a vote was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", type=int, default=40, help="of 50 trials each")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args()
    print("writing a study …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder) / "faults")
        server = Server(study.folder)
        with server.running():
            people, kills = asyncio.run(play(server, args.participants, args.kills, args.seed))
        result = {"kills": kills, "sessions_done": sum(person.done for person in people), **compare(study, people)}
        errors = Counter(error for person in people for error in person.errors)
    report = {"command": f"python -m benchmarks.study_faults {' '.join(sys.argv[1:])}".strip(), "machine": describe(),
              **result, "refused_after_retry": dict(errors)}  # fmt: skip
    print(json.dumps(report, indent=2))
    args.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    lost = ("acknowledged_but_missing", "there_twice", "with_another_answer")
    sys.exit(any(result[key] for key in lost) or result["sessions_done"] < args.participants)


if __name__ == "__main__":
    main()
