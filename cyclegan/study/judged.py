"""A study's answers for the scores of the checkpoints that it judged."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cyclegan.evaluation.scores.people import People
from cyclegan.study import statistics
from cyclegan.study.format import Study, find_studies
from cyclegan.study.report import contrasts_of, judge, plan_of

if TYPE_CHECKING:
    import pandas as pd


def people_of(study: Study, votes: pd.DataFrame) -> People | None:
    """Return the answers that count in a study of real or fake; None without any, or while its results are closed.

    Args:
        votes: as `cyclegan.study.store.answers` returns them.
    """
    if not study.protocol.gives_rate or not len(votes):
        return None
    frame = judge(study, votes)
    rows = frame[frame["counted"] & frame["fooled"].notna() & frame["epoch"].notna()]
    simulated = not (frame["origin"] == "people").any()
    plan = None if simulated else plan_of(study, frame[frame["counted"]])
    if not len(rows) or (plan and plan["state"] == "closed"):
        return None
    rates = {}
    early = plan is not None and plan["state"] == "always_valid"  # Then the report has no other interval.
    for number in study.epochs:
        of = rows[rows["epoch"] == number]
        rate = statistics.clustered_rate(of["fooled"], of["participant"])
        interval = statistics.always_valid(of["fooled"], of["participant"]) if early else rate.interval
        if rate.rate is not None and interval is not None:
            rates[number] = {"value": rate.rate, "low": interval[0], "high": interval[1]}
    if not rates:
        return None
    scenes = [study.shown_scene(str(sha)) for sha in rows["stimulus"]]
    return People(
        study.name, study.direction, simulated, {c.epoch: c.commit_sha for c in study.checkpoints}, rates,
        rows["epoch"].to_numpy(int), rows["fooled"].to_numpy(float), rows["participant"].to_numpy(str),
        np.array(scenes), study.seed, early, functools.cache(functools.partial(_preferred, study, rows, early)),
    )  # fmt: skip


def _preferred(study: Study, rows: pd.DataFrame, early: bool) -> set[tuple[int, int]]:
    """Return the pairs of epochs that the report tells apart, the one that was taken for real more often first."""
    preferred = set()
    for each in contrasts_of(study, rows, "always_valid" if early else "reached"):
        pair, (low, high) = (each["epoch_a"], each["epoch_b"]), each["interval"] or (0, 0)
        if low > 0 or high < 0 if early else each["p_holm"] is not None and each["p_holm"] < 1 - statistics.LEVEL:
            preferred.add(pair if each["difference"] > 0 else pair[::-1])
    return preferred


def people_in(folders: Iterable[str | Path]) -> list[People]:
    """Return the answers in studies' own databases, of the studies that have some.

    Args:
        folders: studies, or folders that hold some.

    Raises:
        StudyError: a folder holds none, or a study or a database can't be read.
    """
    from cyclegan.study.store import Store, answers, database_url

    found = []
    for study in find_studies(folders):
        with Store(database_url(study.folder)) as store:
            found.append(people_of(study, answers(study, store)[0]))
    return [people for people in found if people is not None]
