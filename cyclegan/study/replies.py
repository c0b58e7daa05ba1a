"""The consent that a session agrees to, and its answers to the owner's questions: what is due, and recording it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cyclegan.study import store as db
from cyclegan.study.format import Study
from cyclegan.study.refusals import SessionError
from cyclegan.study.store import Store


def record_agreement(connection: Connection, study: Study, session_id: str, agreed: object, now: datetime) -> None:
    """Record that a new session agrees to the study's consent, if it has one of its own.

    Args:
        agreed: SHA-256 of the text that was agreed to, in one of its languages.

    Raises:
        SessionError: no_consent, it isn't this study's text.
    """
    if study.consent is None:
        return
    if not isinstance(agreed, str) or agreed not in study.consent.hashes.values():
        raise SessionError("no_consent")
    row = {"session_id": session_id, "study_id": study.study_id, "text_sha256": agreed}
    connection.execute(db.agreements.insert(), {**row, "version": study.consent.version, "agreed_at": now})


def is_due(connection: Connection, study: Study, session_id: str, when: str) -> bool:
    """Return True if a session hasn't answered the questions of before or after yet; those left out are answered."""
    if not (asked := study.asked(when)):
        return False
    c = db.replies.c
    known = sa.select(c.question).where(c.session_id == session_id, c.question == asked[0].id)
    return connection.scalar(known) is None


def record(
    connection: Connection, store: Store, study: Study, session_id: str, when: str, values: object, now: datetime
) -> None:
    """Record a session's answers, all of before or after at once. The first ones count: a repetition changes nothing.

    Args:
        values: by the questions' ids; see `Question.checked`.

    Raises:
        SessionError: bad_answer, one of them isn't an answer.
    """
    if not isinstance(values, Mapping):
        raise SessionError("bad_answer", detail="answers to questions")
    try:
        rows: list[dict[str, Any]] = [
            {"session_id": session_id, "question": question.id, "study_id": study.study_id,
             "value": question.checked(values.get(question.id)), "answered_at": now}
            for question in study.asked(when)
        ]  # fmt: skip
    except ValueError as error:
        raise SessionError("bad_answer", detail=str(error)[:200]) from error
    if is_due(connection, study, session_id, when):
        for row in rows:
            store.add(connection, db.replies, row)
