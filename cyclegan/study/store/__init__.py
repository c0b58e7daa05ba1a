"""Sessions and votes in a database: SQLite next to the study, or PostgreSQL where several replicas serve one study.

    tables.py      the schema
    database.py    engines, transactions, group commit, errors
    queries.py     tables for reports
    exclusions.py  exclude, include, forget
    copies.py      rows for copies elsewhere, and back
"""

from cyclegan.study.store.copies import Copies
from cyclegan.study.store.database import FILE_NAME, StoreBusy, database_url
from cyclegan.study.store.exclusions import Exclusions
from cyclegan.study.store.queries import Queries
from cyclegan.study.store.tables import (
    ORIGINS,
    addresses,
    completions,
    decisions,
    fetches,
    incidents,
    issues,
    migrations,
    participant_name,
    reveals,
    sessions,
    settings,
    studies,
    votes,
)

__all__ = [
    "FILE_NAME", "ORIGINS", "Store", "StoreBusy", "addresses", "completions", "database_url", "decisions", "fetches",
    "incidents", "issues", "migrations", "participant_name", "reveals", "sessions", "settings", "studies", "votes",
]  # fmt: skip


class Store(Queries, Exclusions, Copies):
    """A database of sessions and votes; see `Database` for its address and its transactions."""
