"""One measurement each of `benchmarks.scale`, for a process of its own, because a process's peak of memory never falls.

Each function prints a line of JSON. Its seconds are the processor's, of all threads, and of the work alone: what is
imported or loaded once, and what only prepares the work, doesn't count.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "demo" / "streets"
WHOLE = ("epoch_left", "epoch_right", "frames", "exposure_planned_ms", "trial_index", "rating")
"""Columns of votes that hold whole numbers; a table with gaps makes floats of them."""


def _seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def picture(megapixels: str) -> None:
    """Translate one picture at its own size, after a small one."""
    from PIL import Image

    from cyclegan.checkpoints.sources import LocalSource
    from cyclegan.translation.translator import Translator

    source = LocalSource(RUN)
    translator = Translator(source.load())
    example = Image.open(next(path for path in source.examples() if path.name.startswith("a_"))).convert("RGB")
    side = round((float(megapixels) * 2**20) ** 0.5)
    large = example.resize((side, side), Image.Resampling.BICUBIC)
    translator.translate(example.resize((64, 64)), "ab")
    print(json.dumps({"translate_s": _seconds(lambda: translator.translate(large, "ab"))}))


def votes(participants: str, folder: str) -> None:
    """Write a study of two epochs with made-up votes of so many participants into a new folder. Nothing is measured."""
    from cyclegan.study.store import Store, database_url
    from tests.study.made_up import made_study, made_votes

    study, count = made_study(Path(folder), epochs=(10, 20)), int(participants)
    made = made_votes(study, -(-count // len(study.arms)))
    made = made[made["session_id"].isin(made["session_id"].unique()[:count])]
    rows: list[dict[str, Any]] = []
    for vote in made.astype(object).where(made.notna(), None).to_dict("records"):
        vote |= {name: int(vote[name]) for name in WHOLE if vote[name] is not None}
        rows.append({"record": "vote", "study_id": study.study_id, **vote})
    for session in made.drop_duplicates("session_id").to_dict("records"):
        ended = {"session_id": session["session_id"], "code": "x", "completed_at": session["server_time"],
                 "disqualified": False}  # fmt: skip
        rows += [{"record": "session", "study_id": study.study_id, "screen": {}, **session},
                 {"record": "completion", **ended}]  # fmt: skip
    with Store(database_url(study.folder)) as store:
        assert store.restore(study, rows) == len(rows)
    print(json.dumps({"votes": len(made)}))


def report(folder: str) -> None:
    """Read a study's votes, and write its report with plots and pictures."""
    import matplotlib.figure  # noqa: F401  # Imported by the first plot.

    from cyclegan.study.format import read_study
    from cyclegan.study.report import write_report
    from cyclegan.study.store import Store, answers, database_url

    study, found = read_study(folder), []
    with Store(database_url(study.folder)) as store, tempfile.TemporaryDirectory() as output:
        store.sessions(study)  # Imports pandas.
        read_s = _seconds(lambda: found.extend(answers(study, store)))
        report_s = _seconds(lambda: write_report(study, *found, "md", Path(output) / "report.md"))
    print(json.dumps({"read_s": read_s, "report_s": report_s, "votes": len(found[0])}))


def epochs(run: str) -> None:
    """List a run's epochs, and do what the page of checkpoints does when it opens the run."""
    from cyclegan.checkpoints.sources import LocalSource
    from cyclegan.ui.pages.checkpoints import Events
    from cyclegan.ui.workbench import Workbench

    small, source = LocalSource(RUN), LocalSource(run)
    events = Events(Workbench([small, source]))

    def page(name: str) -> None:
        shown = events.open_run(name, None)
        events.draw(name, shown[1], None)

    page(small.name)  # Imports what draws the curves.
    found, list_s, page_s = source.list(), _seconds(source.list), _seconds(lambda: page(source.name))
    print(json.dumps({"epochs": len(found), "list_s": list_s, "page_s": page_s}))


def hub_epochs(repository: str) -> None:
    """List the epochs of a repository of the Hub that HF_ENDPOINT names, of which nothing is cached."""
    from hub.source import HubSource

    source, infos = HubSource(repository), []
    hub_s = _seconds(lambda: infos.extend(source.list()))
    print(json.dumps({"epochs": len(infos), "hub_s": hub_s}))
