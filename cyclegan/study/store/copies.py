"""Rows of a database for copies elsewhere, and restoring them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cyclegan.study.format import Study
from cyclegan.study.sequences import PHASES
from cyclegan.study.store.database import Database
from cyclegan.study.store.exclusions import erase
from cyclegan.study.store.tables import (
    ORIGINS,
    UtcTime,
    agreements,
    completions,
    decisions,
    participant_name,
    replies,
    sessions,
    votes,
)

COPIED = {
    "session": (sessions, "started_at"),
    "agreement": (agreements, "agreed_at"),
    "reply": (replies, "answered_at"),
    "vote": (votes, "server_time"),
    "completion": (completions, "completed_at"),
    "decision": (decisions, "made_at"),
}
"""Kinds of rows that are copied: table, and column with the row's time."""
SECRET = ("secret_hash", "token_hash")
_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)

log = logging.getLogger(__name__)


class Copies(Database):
    """Rows for copies elsewhere, such as a data set on the Hub, and restoring them."""

    def rows(self, study: Study, after: str | None = None) -> list[dict[str, Any]]:
        """Return the rows worth copying, as plain JSON objects, oldest first; no secrets, tokens or addresses.

        Each has `record` (session, agreement, reply, vote, completion, decision), a unique and permanent `key`, its
        time `at` (ISO 8601, UTC), study_id, and the columns of its table. Rows never change, so a copy that has the key
        has the row. Only `forget` removes rows, and leaves a decision with their session.

        Args:
            after: an earlier row's `at`; only rows from that time on are returned. Rows can appear a few seconds late,
                because another replica's clock is behind: ask with some overlap, and skip known keys.
        """
        if self._missing:
            return []
        moment, this = None if after is None else _moment(after), {"study_id": study.study_id}

        def work(connection: Connection) -> list[dict[str, Any]]:
            found = []
            for record, (table, time_column) in COPIED.items():
                columns = [column for column in table.c if column.name not in SECRET]
                query = sa.select(*columns)
                if table is completions:
                    query = query.join_from(completions, sessions).where(sessions.c.study_id == study.study_id)
                else:
                    query = query.where(table.c.study_id == study.study_id)
                if moment is not None:
                    query = query.where(table.c[time_column] >= moment)
                for row in connection.execute(query).mappings():
                    values = {name: iso(v) if isinstance(v, datetime) else v for name, v in row.items()}
                    key = ":".join([record, *(str(row[column.name]) for column in table.primary_key)])
                    found.append({"record": record, "key": key, "at": values[time_column], **this, **values})
            return sorted(found, key=lambda row: (row["at"], list(COPIED).index(row["record"]), row["key"]))

        return self.read(work)

    def restore(self, study: Study, rows: Iterable[Mapping[str, Any]]) -> int:
        """Restore rows of `rows`; rows that exist, that belong to another study or that are unreadable change nothing.

        A restored session counts as having taken part, and can't be continued. If a participant has begun another one
        here meanwhile, the restored one is skipped, and logged. Forgotten sessions aren't restored, and are erased if
        they are here.

        Returns:
            The number of new rows.
        """
        checked: dict[str, list[dict[str, Any]]] = {record: [] for record in COPIED}
        for row in rows:
            try:
                if row.get("record") not in COPIED or row.get("study_id", study.study_id) != study.study_id:
                    continue
                checked[row["record"]].append(_values(study, COPIED[row["record"]][0], row))
            except (ValueError, TypeError, AttributeError) as error:
                log.warning("a row was not restored: %s", error)
        if not any(checked.values()):
            return 0

        def work(connection: Connection) -> int:
            self.lock_study(connection, study)
            new = 0
            for row in checked["decision"]:
                if row["action"] == "forget":
                    new += self.add(connection, decisions, row)
            query = sa.select(decisions.c.session_id, decisions.c.made_at).where(decisions.c.action == "forget")
            forgotten = {session_id: made_at for session_id, made_at in connection.execute(query)}
            for session_id in forgotten:
                erase(connection, session_id)
            until: dict[str, datetime] = {}
            for row in checked["session"]:
                if row["session_id"] in forgotten:
                    until[row["participant"]] = forgotten[row["session_id"]]
                else:
                    new += self._restore_session(connection, row)
            here = sa.select(sessions.c.session_id, sessions.c.participant).where(sessions.c.study_id == study.study_id)
            participants = {session_id: name for session_id, name in connection.execute(here)}
            for record in ("agreement", "reply", "vote", "completion"):
                for row in checked[record]:
                    if row["session_id"] in participants:
                        new += self.add(connection, COPIED[record][0], row)
            names = set(participants.values())
            for row in checked["decision"]:  # Except those that name a forgotten participant.
                if row["participant"] in names and row["made_at"] > until.get(row["participant"], _LONG_AGO):
                    new += self.add(connection, decisions, row)
            return new

        return self.write(work)

    def _restore_session(self, connection: Connection, row: dict[str, Any]) -> bool:
        """Add a session, without its slot if another session has it; return False if the session was skipped."""
        known = (sessions.c.session_id == row["session_id"]) | (sessions.c.participant == row["participant"])
        found = connection.execute(
            sa.select(sessions.c.session_id).where(sessions.c.study_id == row["study_id"], known)
        ).scalars()
        if here := set(found):
            if row["session_id"] not in here:
                log.warning("session %s was not restored: its participant has another one here", row["session_id"])
            return False
        return self.add(connection, sessions, row) or self.add(connection, sessions, {**row, "slot": None})


def iso(moment: datetime) -> str:
    """Return a time as ISO 8601, in UTC, with microseconds."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _moment(text: object) -> datetime:
    """Return the time that `iso` wrote. Raises ValueError."""
    moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{str(text)[:40]!r} isn't a time with a zone")
    return moment


def _values(study: Study, table: sa.Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copied row's columns after checks, because it may come from anywhere. Raises ValueError."""
    known = [(row.get("study_id", study.study_id), (study.study_id,))]
    if table is sessions:
        known += [(row.get("origin"), ORIGINS), (row.get("arm"), range(len(study.arms)))]
        known += [(row.get("participant"), (participant_name(row.get("participant")) or "",))]
    if table is votes:
        known += [(row.get("left_stimulus"), study.by_hash), (row.get("right_stimulus"), (*study.by_hash, None))]
        known += [(row.get("trial_index"), range(study.trials_per_session)), (row.get("phase"), PHASES)]
    if table is replies:
        known += [(row.get("question"), [question.id for question in study.questions])]
    if table is decisions:
        known += [(row.get("action"), ("exclude", "include", "forget"))]
    for value, allowed in known:
        if value not in allowed:
            raise ValueError(f"{table.name} with {str(value)[:40]!r}, which the study doesn't have")
    kinds = {sa.String: str, sa.Text: str, sa.Integer: int, sa.Double: (int, float), sa.Boolean: bool}
    values: dict[str, Any] = {}
    for column in table.c:
        if column.name in SECRET:
            continue
        value = row.get(column.name)
        kind = kinds.get(type(column.type))
        if value is None:
            if not column.nullable:
                raise ValueError(f"{table.name} without {column.name}")
        elif isinstance(column.type, UtcTime):
            value = _moment(value)
        elif kind is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise ValueError(f"{table.name} with {column.name} {str(value)[:40]!r}")
        elif isinstance(value, str) and (len(value) > (column.type.length or 2000) or "\0" in value):
            raise ValueError(f"{table.name} with {column.name} too long")
        elif isinstance(value, (int, float)) and not abs(value) < 2**31:
            raise ValueError(f"{table.name} with {column.name} {value}")
        values[column.name] = value
    return values
