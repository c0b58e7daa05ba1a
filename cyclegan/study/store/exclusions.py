"""Decisions about participants: exclude, include, forget; and the end of simulated ones."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cyclegan.errors import StudyError
from cyclegan.study.format import Study
from cyclegan.study.store.database import Database, Result, utc_now
from cyclegan.study.store.tables import TABLES, decisions, fetches, issues, participant_name, sessions
from cyclegan.study.texts import is_blank, wrong_character


class Exclusions(Database):
    """Decisions of a study's owner about participants; every decision is kept."""

    def exclude(self, study: Study, participant: str, reason: str) -> None:
        """Leave a participant's votes out of reports, for a reason that reports print. The votes are kept.

        Raises:
            StudyError: the study has no such participant, or the reason is empty or too long.
        """
        reason = " ".join(reason.split())
        if is_blank(reason) or len(reason) > 1000 or wrong_character(reason):
            raise StudyError("give a reason of 1 to 1000 printable characters, which reports print")
        self._decide(study, participant, "exclude", reason)

    def include(self, study: Study, participant: str) -> None:
        """Undo an exclusion; both decisions stay on record. Raises StudyError if the study has no such participant."""
        self._decide(study, participant, "include", "")

    def forget(self, study: Study, participant: str) -> int:
        """Erase a participant: session, consent, answers, votes, tokens, address, completion, incidents, and decisions
        that name them.

        The record keeps only that somebody was forgotten, and their session's number, which identifies nobody. By that
        number, `restore` skips and erases what copies hold. Whoever made copies elsewhere (a Hub data set, reports) has
        to clear them.

        Returns:
            The number of votes that were erased.

        Raises:
            StudyError: the study has no such participant.
        """

        def work(connection: Connection) -> int:
            session_id, _ = _session_of(connection, study, participant)
            count = erase(connection, session_id)
            _record(connection, study, None, "forget", "", session_id)
            return count

        count = self._existing(work, study, participant)
        self._truncate_log()
        return count

    def erase_simulated(self, study: Study) -> int:
        """Erase the simulated participants of a study, never people; return their number."""
        mine = sa.select(sessions.c.session_id)
        mine = mine.where(sessions.c.study_id == study.study_id, sessions.c.origin == "simulated")

        def work(connection: Connection) -> int:
            found = connection.scalars(mine).all()
            for session_id in found:
                erase(connection, session_id)
            return len(found)

        return 0 if self._missing else self.write(work)

    def _decide(self, study: Study, participant: str, action: str, reason: str) -> None:
        def work(connection: Connection) -> None:
            _, name = _session_of(connection, study, participant)
            _record(connection, study, name, action, reason, None)

        self._existing(work, study, participant)

    def _existing(self, work: Callable[[Connection], Result], study: Study, participant: str) -> Result:
        """Write, unless there is no database yet: a decision doesn't create one."""
        if self._missing:
            raise _unknown(study, participant)
        return self.write(work)

    def _truncate_log(self) -> None:
        """Remove erased data from SQLite's log, too; if somebody is reading now, the next checkpoint does it."""
        if self.sqlite:
            with contextlib.suppress(StudyError), self._errors(), self._engines["bare"].connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()


def _unknown(study: Study, participant: str) -> StudyError:
    return StudyError(
        "{study} has no participant {participant!r}: compare with its sessions",
        study=study.name, participant=str(participant)[:128],
    )


def erase(connection: Connection, session_id: str) -> int:
    """Erase a session and everything that belongs to it or names its participant; return the number of its votes."""
    who = sa.select(sessions.c.study_id, sessions.c.participant).where(sessions.c.session_id == session_id)
    connection.execute(decisions.delete().where(sa.tuple_(decisions.c.study_id, decisions.c.participant).in_(who)))
    mine = sa.select(issues.c.left_hash).where(issues.c.session_id == session_id)
    mine = mine.union_all(sa.select(issues.c.right_hash).where(issues.c.session_id == session_id))
    connection.execute(fetches.delete().where(fetches.c.token_hash.in_(mine)))
    counts = {}
    for table in reversed(TABLES.sorted_tables):  # Those that refer to others first.
        if "session_id" in table.c and table is not decisions:
            counts[table.name] = connection.execute(table.delete().where(table.c.session_id == session_id)).rowcount
    return counts["votes"]


def _session_of(connection: Connection, study: Study, participant: str) -> tuple[str, str]:
    """Return a participant's session, locked until the transaction ends, and the name in its stored spelling.

    Args:
        participant: the name, or the session's number as reports print it, its first 8 digits or more.
    """
    name = participant_name(participant)
    numbered = sessions.c.session_id.startswith(name) if re.fullmatch("[0-9a-f]{8,32}", name or "") else sa.false()
    for same in (sessions.c.participant == name, numbered):
        query = sa.select(sessions.c.session_id, sessions.c.participant)
        query = query.where(sessions.c.study_id == study.study_id, same)
        if name and len(found := connection.execute(query.with_for_update(key_share=True)).all()) == 1:
            return found[0].session_id, found[0].participant
    raise _unknown(study, participant)


def _record(
    connection: Connection, study: Study, participant: str | None, action: str, reason: str, session_id: str | None
) -> None:
    last = connection.scalar(
        sa.select(sa.func.max(decisions.c.made_at)).where(decisions.c.study_id == study.study_id)
    )
    # The newest decision counts, also after a clock was set back.
    made_at = utc_now() if last is None else max(utc_now(), last + timedelta(microseconds=1))
    row = {"id": uuid.uuid4().hex, "study_id": study.study_id, "participant": participant, "action": action}
    row |= {"reason": reason, "session_id": session_id, "made_at": made_at}
    connection.execute(decisions.insert(), row)
