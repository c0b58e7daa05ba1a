"""The schema: what a study's database holds.

Append-only: a correction is a further row in `decisions`. Only the hashes of addresses expire, and `Store.forget`
erases a person.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

ORIGINS = ("people", "simulated")


class UtcTime(sa.TypeDecorator):
    """A time in UTC, to the microsecond; stored without its zone in SQLite, which has none."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the moment as the database keeps it."""
        if value is None:
            return None
        value = value.astimezone(timezone.utc)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the moment as Python sees it, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


TABLES = sa.MetaData()
_JSON = sa.JSON(none_as_null=True)
_HASH, _ID = sa.String(64), sa.String(32)


def _session_key(**options: Any) -> sa.Column[str]:
    return sa.Column("session_id", _ID, sa.ForeignKey("sessions.session_id"), nullable=False, **options)


migrations = sa.Table(
    "migrations", TABLES,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("applied_at", UtcTime, nullable=False),
)  # fmt: skip
settings = sa.Table(
    "settings", TABLES,
    sa.Column("key", sa.String(100), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)  # fmt: skip
studies = sa.Table(
    "studies", TABLES,
    sa.Column("study_id", _ID, primary_key=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("content", _JSON, nullable=False),  # As in study.json.
)  # fmt: skip
sessions = sa.Table(
    "sessions", TABLES,
    sa.Column("session_id", _ID, primary_key=True),
    sa.Column("study_id", _ID, sa.ForeignKey("studies.study_id"), nullable=False),
    sa.Column("participant", sa.String(128), nullable=False),
    sa.Column("origin", sa.String(16), nullable=False),
    sa.Column("arm", sa.Integer, nullable=False),
    sa.Column("slot", sa.Integer),  # NULL: restored after another session took its slot.
    sa.Column("secret_hash", _HASH, unique=True),  # NULL: restored; it can't be continued.
    sa.Column("language", sa.String(35), nullable=False),
    sa.Column("screen", _JSON, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.UniqueConstraint("study_id", "participant"),
    sa.UniqueConstraint("study_id", "origin", "arm", "slot"),
)  # fmt: skip
issues = sa.Table(
    "issues", TABLES,
    sa.Column("token_hash", _HASH, primary_key=True),
    _session_key(),
    sa.Column("trial_index", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # From 1; only a trial's newest is valid.
    sa.Column("left_hash", _HASH, index=True),  # Hash of a stimulus's token; NULL: it has been shown.
    sa.Column("right_hash", _HASH, index=True),
    sa.Column("issued_at", UtcTime, nullable=False),
    sa.UniqueConstraint("session_id", "trial_index", "number"),
)  # fmt: skip
fetches = sa.Table(
    "fetches", TABLES,
    sa.Column("token_hash", _HASH, primary_key=True),
    sa.Column("fetched_at", UtcTime, nullable=False),
)  # fmt: skip
reveals = sa.Table(
    "reveals", TABLES,
    _session_key(primary_key=True),
    sa.Column("trial_index", sa.Integer, primary_key=True),
    sa.Column("token_hash", _HASH, nullable=False),
    sa.Column("revealed_at", UtcTime, nullable=False),
)  # fmt: skip
votes = sa.Table(
    "votes", TABLES,
    _session_key(primary_key=True),
    sa.Column("trial_index", sa.Integer, primary_key=True),
    sa.Column("study_id", _ID, nullable=False, index=True),
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("left_stimulus", _HASH, nullable=False),  # SHA-256.
    sa.Column("right_stimulus", _HASH),
    sa.Column("epoch_left", sa.Integer),
    sa.Column("epoch_right", sa.Integer),
    sa.Column("commit_sha", sa.Text),  # Of the fake's checkpoint; two: left and right, separated by a space.
    sa.Column("direction", sa.String(2), nullable=False),
    sa.Column("real_side", sa.String(8)),
    sa.Column("chosen_side", sa.String(8)),  # The side that was clicked; the protocol's question gives it a meaning.
    sa.Column("verdict", sa.String(8)),
    sa.Column("marks", _JSON),
    sa.Column("rating", sa.Integer),  # 1 to 5.
    sa.Column("exposure_planned_ms", sa.Integer, nullable=False),  # 0: shown until the answer.
    sa.Column("exposure_left_ms", sa.Double),
    sa.Column("exposure_right_ms", sa.Double),
    sa.Column("exposure_left_clock_ms", sa.Double),  # By the clock at draw and clear, not by the frames' times.
    sa.Column("exposure_right_clock_ms", sa.Double),
    sa.Column("frames", sa.Integer),
    sa.Column("longest_frame_ms", sa.Double),
    sa.Column("focus_lost", sa.Boolean, nullable=False),
    sa.Column("resumed", sa.Boolean, nullable=False),
    sa.Column("response_ms", sa.Double),
    sa.Column("server_ms", sa.Double),
    sa.Column("picture_css_px", sa.Double),  # Width of each picture on the screen, in CSS pixels.
    sa.Column("picture_device_px", sa.Double),
    sa.Column("window_width", sa.Double),  # CSS pixels.
    sa.Column("window_height", sa.Double),
    sa.Column("stacked", sa.Boolean),  # The left picture stood above the right one, as on an upright phone.
    sa.Column("token_hash", _HASH),  # NULL: restored.
    sa.Column("server_time", UtcTime, nullable=False),
)  # fmt: skip
completions = sa.Table(
    "completions", TABLES,
    _session_key(primary_key=True),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("completed_at", UtcTime, nullable=False),
    sa.Column("disqualified", sa.Boolean, nullable=False),
)  # fmt: skip
decisions = sa.Table(
    "decisions", TABLES,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("study_id", _ID, nullable=False, index=True),
    sa.Column("participant", sa.String(128)),  # NULL: the participant was forgotten.
    sa.Column("session_id", _ID),  # Only after `forget`, so that no copy of its votes is restored; identifies nobody.
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(1000), nullable=False),
    sa.Column("made_at", UtcTime, nullable=False),
)  # fmt: skip
incidents = sa.Table(
    "incidents", TABLES,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("study_id", _ID, nullable=False, index=True),
    sa.Column("session_id", _ID, index=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("detail", sa.String(500), nullable=False),
    sa.Column("happened_at", UtcTime, nullable=False),
)  # fmt: skip
addresses = sa.Table(
    "addresses", TABLES,
    sa.Column("session_id", _ID, primary_key=True),
    sa.Column("hash", _HASH, nullable=False),
    sa.Column("study_id", _ID, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False, index=True),
    sa.Index("addresses_by_hash", "hash", "study_id"),
)  # fmt: skip

places = sa.Table(
    "places", TABLES,
    sa.Column("session_id", _ID, primary_key=True),
    sa.Column("address_code", sa.String(8), nullable=False),  # Too short to tell addresses apart for certain.
)  # fmt: skip

agreements = sa.Table(
    "agreements", TABLES,
    _session_key(primary_key=True),
    sa.Column("study_id", _ID, nullable=False, index=True),
    sa.Column("text_sha256", _HASH, nullable=False),
    sa.Column("version", sa.String(100), nullable=False),
    sa.Column("agreed_at", UtcTime, nullable=False),
)  # fmt: skip
replies = sa.Table(
    "replies", TABLES,
    _session_key(primary_key=True),
    sa.Column("question", sa.String(32), primary_key=True),
    sa.Column("study_id", _ID, nullable=False, index=True),
    sa.Column("value", sa.String(1000)),  # As `Question.checked` returns it; NULL: left out.
    sa.Column("answered_at", UtcTime, nullable=False),
)  # fmt: skip


def _add_columns_of_votes(connection: Connection) -> None:
    """Add the columns that an older table of votes lacks; all of them may be empty."""
    there = {column["name"] for column in sa.inspect(connection).get_columns("votes")}
    for column in votes.c:
        if column.name not in there:
            kind = column.type.compile(dialect=connection.dialect)
            connection.execute(sa.DDL(f"ALTER TABLE votes ADD COLUMN {column.name} {kind}"))


MIGRATIONS: list[tuple[str, Callable[[Connection], object]]] = [
    ("2026-11-21-start", TABLES.create_all),
    ("2026-11-29-places", lambda connection: places.create(connection, checkfirst=True)),
    ("2026-11-29-replies", lambda connection: TABLES.create_all(connection, [agreements, replies])),
    ("2026-11-29-sizes-and-ratings", _add_columns_of_votes),
]
"""Named changes, in order, that lead to the tables above: a new database gets the tables, an older one the rest."""


def participant_name(name: object) -> str | None:
    """Return a participant's name in the one spelling that is kept, or None if it isn't a valid name.

    A valid name has 1 to 128 printable characters.
    """
    if not isinstance(name, str) or len(name) > 1000:
        return None
    name = unicodedata.normalize("NFC", name).strip()
    return name if 1 <= len(name) <= 128 and name.isprintable() else None
