"""Makes the old data here, with the code of one commit: 7195efb. They are not made again for a newer one.

Later code has to open what was written by then: a run that was stopped, votes, a repository of the Hub. To see how
they were made, or to make such data with another commit, in a checkout of it that has tests/old_data:

    OMP_NUM_THREADS=1 python -m tests.old_data.make

What is written, all of it by the programs as a person starts them:

    pictures/              the tiny data set: 6 pictures by day, 6 by night, one of each to test on
    trained/stopped.zip    OUTPUT_DIR of a training, stopped by Ctrl-C amid its third and last epoch; and the repository
                           of the Hub, where it had published two epochs and, at its end, its state
    trained/whole.zip      the last epoch of the same training without a stop
    trained/facts.json     at which step it was stopped; what it was computed on
    trained/listed.txt     `python -m hub list` of the repository
    night-streets/         a study of demo/'s run, built before studies had a secret
    votes/votes.zip        the database of votes on it: simulated ones, people's, one left out,
                           one unfinished; and the table of people's votes that the report made of it
    votes/report*.json     the reports on people and on the simulated ones
    votes/went-on.json     the unfinished session's secret; what people were shown who went on with a copy of the
                           database, and the report then
    towns/                 an epoch of the run of that name that demo/ had
    translated/            small pictures by way of the run's first epoch and of towns/: what the generators gave then

Left out: the pictures of curves, which are large and which nothing reads. The votes' secrets are nobody's: the
database serves these tests only.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from PIL import Image

from tests import scripts
from tests.hub.loopback import TOKEN, LoopbackHub
from tests.old_data.shared import (
    EPOCHS,
    FLAGS,
    HERE,
    HUB_FLAGS,
    NAME,
    PICTURES,
    ROOT,
    STEPS,
    WEIGHTS,
    Participant,
    copy_study,
    free_port,
    machine,
    pack,
    play_on,
    served_address,
)

LEFT_OUT = ("curves.png", ".lock")


def run(*words: object, env: dict[str, str] | None = None) -> str:
    """Run one of the programs, and return what it printed."""
    process = scripts.start(*words, env={**os.environ, "HF_HUB_OFFLINE": "1", **(env or {})})
    out, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"{words}: {err[-2000:]}")
    return out


def write(path: Path, text: str) -> None:
    """Write a text, and make its folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def make_pictures(folder: Path) -> None:
    """Write the data set: the built-in streets, small."""
    run("-m", "cyclegan", "streets", "--spec", f"streets:count={STEPS},test_count=1,size=80,seed=3",
        "--output", folder / "streets")  # fmt: skip
    for name in ("trainA", "trainB", "testA", "testB"):
        (PICTURES / name).mkdir(parents=True)
        for number, path in enumerate(sorted((folder / "streets" / name).glob("*.png")), 1):
            with Image.open(path) as picture:
                small = picture.convert("RGB").resize((20, 20), Image.Resampling.LANCZOS)
            small.save(PICTURES / name / f"{number}.png", optimize=True)


def make_run(folder: Path) -> None:
    """Train to the end; train again, publish, and stop amid the third and last epoch."""
    whole, stopped = Path("runs/old-data-whole"), Path("runs/old-data")  # No folder of this machine in run.json.
    for path in (whole, stopped):
        shutil.rmtree(ROOT / path, ignore_errors=True)
    run("train_accelerate.py", *FLAGS, "--output_dir", whole)
    made = HERE / "trained"
    made.mkdir()
    with zipfile.ZipFile(made / "whole.zip", "w", zipfile.ZIP_LZMA) as packed:
        for name in WEIGHTS:
            packed.write(ROOT / whole / f"epoch-{EPOCHS:04d}" / name, name)

    hub = LoopbackHub()
    env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / "hf_home"), "HF_HUB_OFFLINE": "0",
           "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
    process = scripts.start("train_accelerate.py", *FLAGS, *HUB_FLAGS, "--output_dir", stopped,
                            env={**os.environ, **env})  # fmt: skip
    log, steps = ROOT / stopped / "metrics.jsonl", 0
    while steps < 2 * STEPS + 2 and process.poll() is None:
        lines = log.read_text().splitlines() if log.is_file() else []
        steps = json.loads(lines[-1])["step"] if lines else 0
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    states = [path.name for path in (ROOT / stopped / "training_state").iterdir()]
    step = int(states[0][5:])
    if process.returncode or not 2 * STEPS < step < 3 * STEPS:
        raise SystemExit(f"stopped at {states}, not amid the third epoch; try again: {err[-1000:]}")
    pack(made / "stopped.zip", ROOT / stopped, hub.repos[NAME], lambda path: path in LEFT_OUT)
    write(made / "facts.json", json.dumps({"step": step, "machine": machine()}, indent=1) + "\n")
    write(made / "listed.txt", run("-m", "hub", "list", NAME, env=env).replace(hub.url, "HUB"))
    translate(ROOT / stopped, 1, PICTURES / "testA" / "1.png", "run-1-ab.png")
    for path in (whole, stopped):
        shutil.rmtree(ROOT / path)


def translate(source: Path, epoch: int, picture: Path, name: str) -> None:
    """Keep how an epoch translates a picture."""
    (HERE / "translated").mkdir(exist_ok=True)
    run("-m", "cyclegan", "translate", "--checkpoints", source, "--epoch", epoch, "--direction", "ab",
        "--input", picture, "--output", HERE / "translated" / name)  # fmt: skip


def make_towns() -> None:
    """Keep an epoch of an embedded run, and how it translates a small picture."""
    run, given = ROOT / "demo" / "towns", HERE / "translated" / "towns-input.png"
    shutil.copytree(run / "epoch-0004", HERE / "towns" / "epoch-0004", ignore=shutil.ignore_patterns("samples"))
    with Image.open(run / "examples" / "a_1.png") as picture:
        picture.convert("RGB").resize((32, 32)).save(given, optimize=True)
    translate(HERE / "towns", 4, given, "towns-4-ab.png")


def serving(study: Path) -> tuple[object, str]:
    """Start a study's server; the process, and the study's address."""
    words = ("-m", "cyclegan", "study", "serve", study, "--port", free_port())
    process = scripts.start(*words, env=dict(os.environ), plain=True)
    return process, served_address(process.stdout.readline())


def stop(process) -> None:
    """End a server as Ctrl-C does, so that the database is one file again."""
    process.send_signal(signal.SIGINT)
    process.communicate()


def report(study: Path, *flags: str) -> str:
    """The report on a study."""
    return run("-m", "cyclegan", "study", "report", study, *flags)


def make_votes(folder: Path) -> None:
    """Let simulated ones and people take part, then go on with a copy."""
    study = copy_study(folder)
    run("-m", "cyclegan", "study", "simulate", study, "--participants", 3, "--fooling", "2=0.1,4=0.3,16=0.5",
        "--seed", 5)  # fmt: skip
    process, address = serving(study)
    for name in ("ada", "ben", "cho", "dan"):
        with Participant(address) as person:
            person.begin(name)
            assert person.vote().state["phase"] == "done"
    with Participant(address) as eve:
        eve.begin("eve")
        eve.vote(7)
        secret = eve.secret
    stop(process)
    run("-m", "cyclegan", "study", "exclude", study, "dan", "--reason", "tried it out")
    made = HERE / "votes"
    made.mkdir(exist_ok=True)
    write(made / "report.json", report(study, "--format", "json"))
    write(made / "report-simulated.json", report(study, "--format", "json", "--simulated"))
    rows = report(study, "--format", "csv")
    database = study / "votes.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert not database.with_name("votes.sqlite3-wal").exists()
    with zipfile.ZipFile(made / "votes.zip", "w", zipfile.ZIP_LZMA) as packed:
        packed.write(database, database.name)
        packed.writestr("votes.csv", rows)

    process, address = serving(study)
    told = {"secret": secret, "shown": play_on(address, secret)}
    stop(process)
    write(made / "went-on.json", json.dumps({**told, "report": json.loads(report(study, "--format", "json"))}, indent=1)
          + "\n")  # fmt: skip


def main() -> None:
    """Make all of it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in ("pictures", "trained", "votes", "towns", "translated"):
        shutil.rmtree(HERE / name, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(Path(folder))
        make_run(Path(folder))
        make_towns()
        make_votes(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
