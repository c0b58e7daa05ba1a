"""New sessions: limits per address, the arm and slot, the browser's description of itself; and refused requests."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cyclegan.study import store as db
from cyclegan.study.format import Study
from cyclegan.study.limits import ADDRESS_WINDOW, SESSIONS_PER_ADDRESS
from cyclegan.study.refusals import SessionError
from cyclegan.study.store import Store
from cyclegan.study.votes import check_number

COUNTS_FOR = timedelta(hours=2)
"""An unfinished session keeps its place in its arm for this long after its start."""
ADDRESS_KEPT = timedelta(hours=24)
MAX_INCIDENTS = 200
"""Kept per session; of those that belong to no session, per study and day."""


def admit_address(connection: Connection, study: Study, hashed: str, session_id: str, now: datetime) -> None:
    """Record the address of a new session. Raises SessionError: too_many."""
    recent = connection.scalar(
        sa.select(sa.func.count()).where(
            db.addresses.c.hash == hashed,
            db.addresses.c.study_id == study.study_id,
            db.addresses.c.expires_at > now + ADDRESS_KEPT - ADDRESS_WINDOW,
        )
    )
    if recent >= SESSIONS_PER_ADDRESS:
        raise SessionError("too_many")
    row = {"session_id": session_id, "hash": hashed, "study_id": study.study_id}
    connection.execute(db.addresses.insert(), {**row, "expires_at": now + ADDRESS_KEPT})


def choose_place(connection: Connection, store: Store, study: Study, origin: str, now: datetime) -> tuple[int, int]:
    """Return the arm with the fewest sessions that count, and the next slot in it."""
    c, ended = db.sessions.c, db.completions.c.disqualified
    mine = (c.study_id == study.study_id) & (c.origin == origin)
    under_way = ended.is_(None) & (c.started_at > now - COUNTS_FOR)
    counts = sa.func.sum(sa.case((under_way | ended.is_(False), 1), else_=0))
    query = sa.select(c.arm, counts, sa.func.count(), sa.func.max(c.slot)).group_by(c.arm)
    joined = db.sessions.outerjoin(db.completions, db.completions.c.session_id == c.session_id)
    found = {row[0]: list(row[1:]) for row in connection.execute(query.select_from(joined).where(mine))}
    if excluded := store.excluded(connection, study):
        left_out = query.select_from(joined).where(mine & c.participant.in_(list(excluded)))
        for arm, count, *_ in connection.execute(left_out):
            found[arm][0] -= count
    none = (0, 0, None)
    arm = min(range(len(study.arms)), key=lambda n: (*map(int, found.get(n, none)[:2]), n))
    last = found.get(arm, none)[2]
    return arm, 0 if last is None else last + 1


def record_incident(
    connection: Connection, study: Study, secret_hash: str | None, kind: str, detail: str, now: datetime
) -> None:
    """Record an incident; up to MAX_INCIDENTS, so that nobody can fill the disk."""
    c, session_id = db.incidents.c, None
    if secret_hash is not None:
        session_id = connection.scalar(
            sa.select(db.sessions.c.session_id).where(db.sessions.c.secret_hash == secret_hash)
        )
    alike = sa.select(sa.func.count()).where(c.study_id == study.study_id, c.session_id == session_id)
    if session_id is None:
        alike = alike.where(c.happened_at > now - timedelta(days=1))
    if connection.scalar(alike) < MAX_INCIDENTS:
        row = {"id": uuid.uuid4().hex, "study_id": study.study_id, "session_id": session_id}
        connection.execute(db.incidents.insert(), {**row, "kind": kind, "detail": detail, "happened_at": now})


def checked_language(language: object) -> str:
    """Return the page's language, such as en; empty if it isn't a valid one."""
    return language if isinstance(language, str) and re.fullmatch(r"[A-Za-z0-9-]{1,35}", language) else ""


def checked_screen(screen: object) -> dict[str, float]:
    """Return the valid numbers among width and height in pixels, dpr and refresh_hz."""
    if not isinstance(screen, Mapping):
        return {}
    kept = {}
    for name in ("width", "height", "dpr", "refresh_hz"):
        with contextlib.suppress(SessionError):
            kept[name] = check_number(screen.get(name), 100_000)
    return kept
