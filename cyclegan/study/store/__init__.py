"""Sessions and votes in a database: SQLite next to the study, or PostgreSQL where several replicas serve one study.

    tables.py      the schema
    database.py    engines, transactions, group commit, errors
    queries.py     tables for reports
    exclusions.py  exclude, include, forget
    copies.py      rows for copies elsewhere, and back
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclegan.study.format import Study
from cyclegan.study.store.copies import Copies
from cyclegan.study.store.database import FILE_NAME, SIMULATED, StoreBusy, database_url
from cyclegan.study.store.exclusions import Exclusions
from cyclegan.study.store.queries import Queries
from cyclegan.study.store.tables import (
    ORIGINS,
    addresses,
    agreements,
    completions,
    decisions,
    fetches,
    incidents,
    issues,
    migrations,
    participant_name,
    places,
    replies,
    reveals,
    sessions,
    settings,
    studies,
    votes,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FILE_NAME", "ORIGINS", "SIMULATED", "Store", "StoreBusy", "addresses", "agreements", "answers", "completions",
    "database_url", "decisions", "fetches", "incidents", "issues", "migrations", "participant_name", "places",
    "replies", "reveals", "sessions", "settings", "studies", "votes",
]  # fmt: skip


class Store(Queries, Exclusions, Copies):
    """A database of sessions and votes; see `Database` for its address and its transactions."""


def answers(study: Study, store: Store, *, simulated: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return votes and sessions for a report: people's; while there are none, or if `simulated`, simulated ones'.

    With DATABASE_URL, and in a file from before simulated participants had their own, those are among people's rows,
    marked by their origin: figures leave them out.

    Args:
        store: the database of people's votes.

    Raises:
        StudyError: a database can't be read.
    """
    found = store.votes(study), store.sessions(study)
    if not simulated and (found[1]["origin"] == "people").any():
        return found
    if study.folder is not None:
        with Store(database_url(study.folder, simulated=True)) as apart:
            if len(theirs := apart.sessions(study)):
                found = apart.votes(study), theirs
    return found[0][found[0]["origin"] == "simulated"], found[1][found[1]["origin"] == "simulated"]
