"""Sessions and votes in a database: SQLite beside the study, or PostgreSQL where several replicas serve one study.

Append-only: a correction is a further row (`decisions`). Only the hashes of addresses expire, and `Store.forget`
erases a person. A vote is acknowledged once its transaction is on the disk. What is not worth a wait for the disk
(which tokens were issued, which pictures fetched) is written without one, and is there by the next vote at the latest.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from cyclegan.errors import StudyError
from cyclegan.study.format import Study
from cyclegan.study.sequences import PHASES

if TYPE_CHECKING:
    import pandas as pd

BUSY_S = 2.0
"""How long a call waits for a lock that another process holds."""
TURN_S = 5.0
"""How long it waits for its turn among the threads of this one."""
ATTEMPTS = 8
"""How often a transaction is tried that another one got in the way of."""
ORIGINS = ("people", "simulated")
FILE_NAME = "votes.sqlite3"

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class StoreBusy(StudyError):
    """The database is locked, full or out of reach. Nothing was recorded; trying again later is safe."""


# --- tables -------------------------------------------------------------------------------------------------


class _Time(sa.TypeDecorator):
    """A moment in UTC, to the microsecond. SQLite has no time zones, so there it is kept without."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(timezone.utc)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


_TABLES = sa.MetaData()
_JSON = sa.JSON(none_as_null=True)
_HASH, _ID = sa.String(64), sa.String(32)


def _session_key(**options: Any) -> sa.Column[str]:
    return sa.Column("session_id", _ID, sa.ForeignKey("sessions.session_id"), nullable=False, **options)


migrations = sa.Table(
    "migrations", _TABLES,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("applied_at", _Time, nullable=False),
)  # fmt: skip
settings = sa.Table(
    "settings", _TABLES,
    sa.Column("key", sa.String(100), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)  # fmt: skip
studies = sa.Table(
    "studies", _TABLES,
    sa.Column("study_id", _ID, primary_key=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("content", _JSON, nullable=False),  # That of study.json.
)  # fmt: skip
sessions = sa.Table(
    "sessions", _TABLES,
    sa.Column("session_id", _ID, primary_key=True),
    sa.Column("study_id", _ID, sa.ForeignKey("studies.study_id"), nullable=False),
    sa.Column("participant", sa.String(128), nullable=False),
    sa.Column("origin", sa.String(16), nullable=False),
    sa.Column("arm", sa.Integer, nullable=False),
    sa.Column("slot", sa.Integer),  # NULL: restored, and another session has its slot by now.
    sa.Column("secret_hash", _HASH, unique=True),  # NULL: restored; nobody can go on with it.
    sa.Column("language", sa.String(35), nullable=False),
    sa.Column("screen", _JSON, nullable=False),
    sa.Column("started_at", _Time, nullable=False),
    sa.UniqueConstraint("study_id", "participant"),
    sa.UniqueConstraint("study_id", "origin", "arm", "slot"),
)  # fmt: skip
issues = sa.Table(
    "issues", _TABLES,
    sa.Column("token_hash", _HASH, primary_key=True),
    _session_key(),
    sa.Column("trial_index", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # From 1; only the trial's newest is good.
    sa.Column("left_hash", _HASH, index=True),  # Of the stimuli's tokens; NULL: they have been shown.
    sa.Column("right_hash", _HASH, index=True),
    sa.Column("issued_at", _Time, nullable=False),
    sa.UniqueConstraint("session_id", "trial_index", "number"),
)  # fmt: skip
fetches = sa.Table(
    "fetches", _TABLES,
    sa.Column("token_hash", _HASH, primary_key=True),
    sa.Column("fetched_at", _Time, nullable=False),
)  # fmt: skip
reveals = sa.Table(
    "reveals", _TABLES,
    _session_key(primary_key=True),
    sa.Column("trial_index", sa.Integer, primary_key=True),
    sa.Column("token_hash", _HASH, nullable=False),
    sa.Column("revealed_at", _Time, nullable=False),
)  # fmt: skip
votes = sa.Table(
    "votes", _TABLES,
    _session_key(primary_key=True),
    sa.Column("trial_index", sa.Integer, primary_key=True),
    sa.Column("study_id", _ID, nullable=False, index=True),
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("left_stimulus", _HASH, nullable=False),  # SHA-256.
    sa.Column("right_stimulus", _HASH),
    sa.Column("epoch_left", sa.Integer),
    sa.Column("epoch_right", sa.Integer),
    sa.Column("commit_sha", sa.Text),  # Of the fakes' checkpoint; of two, left and right with a space between.
    sa.Column("direction", sa.String(2), nullable=False),
    sa.Column("real_side", sa.String(8)),
    sa.Column("chosen_side", sa.String(8)),  # What was clicked; the protocol's question says what that means.
    sa.Column("verdict", sa.String(8)),
    sa.Column("marks", _JSON),
    sa.Column("exposure_planned_ms", sa.Integer, nullable=False),  # 0: until the answer.
    sa.Column("exposure_left_ms", sa.Double),
    sa.Column("exposure_right_ms", sa.Double),
    sa.Column("frames", sa.Integer),
    sa.Column("longest_frame_ms", sa.Double),
    sa.Column("focus_lost", sa.Boolean, nullable=False),
    sa.Column("resumed", sa.Boolean, nullable=False),
    sa.Column("response_ms", sa.Double),
    sa.Column("server_ms", sa.Double),
    sa.Column("token_hash", _HASH),  # NULL: restored.
    sa.Column("server_time", _Time, nullable=False),
)  # fmt: skip
completions = sa.Table(
    "completions", _TABLES,
    _session_key(primary_key=True),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("completed_at", _Time, nullable=False),
    sa.Column("disqualified", sa.Boolean, nullable=False),
)  # fmt: skip
decisions = sa.Table(
    "decisions", _TABLES,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("study_id", _ID, nullable=False, index=True),
    sa.Column("participant", sa.String(128)),  # NULL: forgotten.
    sa.Column("session_id", _ID),  # Of a forgotten one, so that no copy of its votes comes back; it names nobody.
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(1000), nullable=False),
    sa.Column("made_at", _Time, nullable=False),
)  # fmt: skip
incidents = sa.Table(
    "incidents", _TABLES,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("study_id", _ID, nullable=False, index=True),
    sa.Column("session_id", _ID, index=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("detail", sa.String(500), nullable=False),
    sa.Column("happened_at", _Time, nullable=False),
)  # fmt: skip
addresses = sa.Table(
    "addresses", _TABLES,
    sa.Column("session_id", _ID, primary_key=True),
    sa.Column("hash", _HASH, nullable=False),
    sa.Column("study_id", _ID, nullable=False),
    sa.Column("expires_at", _Time, nullable=False, index=True),
    sa.Index("addresses_by_hash", "hash", "study_id"),
)  # fmt: skip

MIGRATIONS: list[tuple[str, Callable[[Connection], object]]] = [("2026-11-21-start", _TABLES.create_all)]
"""What brought databases to the tables above, in order: a new one gets the tables, an older one what it lacks."""
_LOCK_KEY = 0x5EED_57D7
"""PostgreSQL's advisory lock around migrations."""


# --- the store ----------------------------------------------------------------------------------------------


def database_url(study_folder: str | Path) -> str:
    """Where the votes on a study go: DATABASE_URL, or else a SQLite file in the study's folder."""
    url = os.environ.get("DATABASE_URL", "").strip()
    return url or f"sqlite:///{Path(study_folder).absolute() / FILE_NAME}"


class Store:
    """A database of sessions and votes; safe to use from any number of threads. Opened and made on first use.

    Args:
        url: as of `database_url`: sqlite:///PATH, or postgresql://… or postgres://….

    Raises:
        StudyError: no such database can be used here.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise StudyError("this is no database's address: write postgresql://USER:PASSWORD@HOST/NAME") from error
        if self.url.drivername in ("postgres", "postgresql"):
            self.url = self.url.set(drivername="postgresql+psycopg")
        self.sqlite = self.url.get_backend_name() == "sqlite"
        if not self.sqlite and self.url.drivername != "postgresql+psycopg":
            raise StudyError(
                "{drivername} databases can't hold votes: use sqlite or postgresql",
                drivername=self.url.drivername,
            )
        if self.sqlite and (not self.url.database or self.url.database == ":memory:"):
            raise StudyError("votes in memory would be lost: name a file, as in sqlite:///votes.sqlite3")
        try:
            self._engines = self._make_engines()
        except ModuleNotFoundError as error:
            if error.name != "psycopg":
                raise
            raise StudyError("PostgreSQL needs psycopg: pip install 'psycopg[binary]'") from error
        self._preparing, self._queue = threading.Lock(), threading.Lock()
        self._waiting: list[_Job] = []
        self._writing = False
        self._prepared = False
        self._file: tuple[int, int] | None = None
        self._settings: dict[str, str] = {}
        self._inserts: dict[sa.Table, Any] = {}

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. The store can be used again, and opens new ones then."""
        for engine in set(self._engines.values()):
            engine.dispose()

    # --- transactions ---------------------------------------------------------------------------------------

    def write(self, work: Callable[[Connection], Result], *, durable: bool = True) -> Result:
        """Do some work in a transaction, all of it or nothing; again from the start if another one was in the way.

        Args:
            work: may be called several times; what it raises undoes what it did.
            durable: return only once it is on the disk. Otherwise a power cut may take it back, though never a crash
                of this process, and never after a later durable transaction.

        Raises:
            StoreBusy: the database is locked, full or out of reach.
            StudyError: it is damaged, can't be written, or belongs to a newer version of this program.
        """
        self._prepare()
        return self._transaction(work, durable)

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Do some reading, all of one moment. Raises as `write` does."""
        self._prepare()
        with self._told(), self._engines["read"].connect() as connection:
            return work(connection)

    def add(self, connection: Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
        """Insert a row unless one with the same key, or with the same values in a unique constraint, is there."""
        if table not in self._inserts:
            insert = (sqlite if self.sqlite else postgresql).insert(table).on_conflict_do_nothing()
            self._inserts[table] = insert.execution_options(preserve_rowcount=True)
        done = connection.execute(self._inserts[table], dict(row))
        return done.rowcount == 1

    def lock_session(self, connection: Connection, secret_hash: str) -> None:
        """Let no other transaction touch a session until this one ends. In SQLite none is at work anyway."""
        if not self.sqlite:
            # Not FOR UPDATE, which would stand in the way of the foreign keys' own locks.
            row = sa.select(sessions.c.session_id).where(sessions.c.secret_hash == secret_hash)
            connection.execute(row.with_for_update(key_share=True))

    def lock_study(self, connection: Connection, study: Study) -> None:
        """Let nobody else begin a session of a study until this transaction ends."""
        known = sa.select(studies.c.study_id).where(studies.c.study_id == study.study_id)
        known = known.with_for_update(key_share=True)
        if connection.scalar(known) is None:
            row = {"study_id": study.study_id, "name": study.name, "content": study.to_json()}
            self.add(connection, studies, row)
            connection.execute(known)

    def setting(self, key: str) -> str:
        """A secret of this database, 64 hex digits, made when it is first asked for."""
        if key not in self._settings:

            def work(connection: Connection) -> str:
                self.add(connection, settings, {"key": key, "value": secrets.token_hex(32)})
                return connection.scalar(sa.select(settings.c.value).where(settings.c.key == key))

            self._settings[key] = self.write(work)
        return self._settings[key]

    def _transaction(self, work: Callable[[Connection], Result], durable: bool) -> Result:
        once = self._in_turn if self.sqlite else self._on_server
        for attempt in range(ATTEMPTS):
            try:
                return once(work, durable)
            except _Conflict:
                time.sleep(0.002 * 2**attempt * secrets.randbelow(100) / 100)
        raise StoreBusy("too many people are writing at once; nothing was recorded, try again in a moment")

    def _on_server(self, work: Callable[[Connection], Result], durable: bool) -> Result:
        with self._told(), self._engines["durable"].begin() as connection:
            commit = "on" if durable else "off"
            connection.exec_driver_sql(
                f"SELECT set_config('synchronous_commit', '{commit}', true), "
                f"set_config('lock_timeout', '{BUSY_S * 1000:.0f}', true)"
            )
            return work(connection)

    def _in_turn(self, work: Callable[[Connection], Result], durable: bool) -> Result:
        """SQLite takes one writer at a time, and a disk some milliseconds for each transaction.

        Who comes while somebody writes waits; then the first who waits does the work of all, in one transaction.
        """
        job = _Job(work, durable)
        with self._queue:
            self._waiting.append(job)
            job.leads = not self._writing
            self._writing = True
        if not job.leads and not job.woken.wait(TURN_S):
            with self._queue:
                if job in self._waiting and not job.leads:
                    self._waiting.remove(job)
                    raise StoreBusy("the database is busy; nothing was recorded, try again in a moment")
            job.woken.wait()
        if job.leads:
            with self._queue:
                jobs, self._waiting = self._waiting, []
            try:
                self._do(jobs)
            finally:
                with self._queue:
                    self._writing = bool(self._waiting)
                    for following in self._waiting[:1]:
                        following.leads = True
                        following.woken.set()
                for each in jobs:
                    each.woken.set()
        if job.error is not None:
            raise job.error
        return job.result

    def _do(self, jobs: list[_Job]) -> None:
        """Jobs in one transaction; each of them whole or not at all, and none is done before all are on the disk."""
        engine = self._engines["durable" if any(job.durable for job in jobs) else "quick"]
        ends: list[tuple[Any, Exception | None]] = []
        try:
            with self._told(), engine.begin() as connection:
                for job in jobs:
                    try:
                        with self._told(), connection.begin_nested() if len(jobs) > 1 else contextlib.nullcontext():
                            result = job.work(connection)
                        ends.append((result, None))
                    except StudyError:
                        raise  # SQLite may have rolled back the whole transaction, so nothing more may go into it.
                    except Exception as error:
                        if len(jobs) == 1:
                            raise
                        ends.append((None, error))
            self._check_file()
        except Exception as error:
            ends = [(None, error)] * len(jobs)
            if len(jobs) > 1 and not isinstance(error, StoreBusy):
                for job in jobs:  # One of them has spoilt it for all.
                    self._do([job])
                return
        for job, (result, error) in zip(jobs, ends, strict=True):
            job.result, job.error = result, error

    def _check_file(self) -> None:
        """Make sure that what was just written lies in the file of this name, not in one that somebody has removed.

        Open connections would go on writing to that, and nobody could ever read it.
        """
        if not self._prepared or self._identity() == self._file:
            return
        log.error("%s was removed or replaced while it was in use", self.url.database)
        self._prepared = False  # The next one opens what is there now.
        self._settings.clear()
        self.close()
        raise StoreBusy("{database} was removed or replaced; nothing was recorded", database=self.url.database)

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(str(self.url.database))
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What the database says, as an error of ours."""
        try:
            yield
        except sa.exc.IntegrityError as error:
            raise _Conflict() from error
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise self._error(error) from error

    def _error(self, error: sa.exc.SQLAlchemyError) -> Exception:
        said = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
        where = self.url.render_as_string(hide_password=True)
        if getattr(getattr(error, "orig", None), "sqlstate", None) in ("40001", "40P01"):
            return _Conflict()  # Serialization failure, deadlock.
        passing = isinstance(error, sa.exc.TimeoutError) or any(words in said for words in _PASSING)
        if self.sqlite and not passing:
            if "unable to open" in said or "readonly" in said:
                return StudyError(
                    "{where} can't be written ({said}): check the folder and its permissions",
                    where=where, said=said,
                )
            return StudyError("{where} can't be used ({said}): restore it from a copy", where=where, said=said)
        if self.sqlite or isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)):
            log.warning("%s: %s", where, said)
            return StoreBusy(
                "the database is not ready ({said}); nothing was recorded, try again in a moment",
                said=said,
            )
        if getattr(error, "connection_invalidated", False):
            return StoreBusy("the connection to the database was lost ({said}); try again in a moment", said=said)
        return StudyError("{where} can't be used ({said})", where=where, said=said)

    # --- for reports ----------------------------------------------------------------------------------------

    def votes(self, study: Study) -> pd.DataFrame:
        """All votes on a study, a row each, in the order of sessions and trials.

        The columns of the table `votes` without tokens, and of the session: participant, origin, arm, slot, language,
        started_at, completed, disqualified, excluded, exclusion_reason. Times are in UTC, lengths in milliseconds.
        """
        session = ("participant", "origin", "arm", "slot", "language", "started_at")
        of_vote = [column for column in votes.c if column.name not in ("token_hash", "study_id")]
        query = (
            sa.select(*of_vote, *(sessions.c[name] for name in session), completions.c.disqualified)
            .join_from(votes, sessions)
            .join(completions, completions.c.session_id == votes.c.session_id, isouter=True)
            .where(votes.c.study_id == study.study_id)
            .order_by(sessions.c.started_at, votes.c.session_id, votes.c.trial_index)
        )
        return self._frame(study, query)

    def sessions(self, study: Study) -> pd.DataFrame:
        """All sessions of a study, a row each, in the order in which they began.

        Columns: session_id, participant, origin, arm, slot, language, screen, started_at, completed_at, code, votes
        (their number), completed, disqualified, excluded, exclusion_reason.
        """
        names = ("session_id", "participant", "origin", "arm", "slot", "language", "screen", "started_at")
        count = sa.select(sa.func.count()).where(votes.c.session_id == sessions.c.session_id).scalar_subquery()
        query = (
            sa.select(
                *(sessions.c[name] for name in names), completions.c.completed_at, completions.c.code,
                count.label("votes"), completions.c.disqualified,
            )
            .join_from(sessions, completions, isouter=True)
            .where(sessions.c.study_id == study.study_id)
            .order_by(sessions.c.started_at, sessions.c.session_id)
        )  # fmt: skip
        return self._frame(study, query)

    def incidents(self, study: Study) -> pd.DataFrame:
        """What was refused in a study, oldest first: session_id, kind, detail, happened_at."""
        names = ("session_id", "kind", "detail", "happened_at")
        query = sa.select(*(incidents.c[name] for name in names)).where(incidents.c.study_id == study.study_id)
        return self._frame(study, query.order_by(incidents.c.happened_at), of_sessions=False)

    def _frame(self, study: Study, query: sa.Select[Any], *, of_sessions: bool = True) -> pd.DataFrame:
        """A query's rows with their types, which hold without a row, too."""
        import pandas as pd

        rows: list[Any] = []
        excluded: dict[str, str] = {}
        if not self._missing:
            rows, excluded = self.read(lambda c: (c.execute(query).all(), self.excluded(c, study)))
        frame = pd.DataFrame([tuple(row) for row in rows], columns=[column.name for column in query.selected_columns])
        for column in query.selected_columns:
            frame[column.name] = frame[column.name].astype(_DTYPES[type(column.type)])
        if of_sessions:
            ended = frame.pop("disqualified")
            frame["completed"] = (ended == False).fillna(False).astype(bool)  # noqa: E712
            frame["disqualified"] = ended.fillna(False).astype(bool)
            frame["excluded"] = frame["participant"].isin(list(excluded)).astype(bool)
            frame["exclusion_reason"] = frame["participant"].map(excluded).astype("str")
        for name in frame.columns.intersection(["focus_lost", "resumed"]):
            frame[name] = frame[name].astype(bool)
        return frame

    def others(self, study: Study) -> int:
        """How many sessions there are of other studies of this name: of this one before its study.json was changed."""
        if self._missing:
            return 0
        joined = sessions.join(studies, studies.c.study_id == sessions.c.study_id)
        query = sa.select(sa.func.count()).select_from(joined)
        query = query.where(studies.c.name == study.name, sessions.c.study_id != study.study_id)
        return self.read(lambda connection: connection.scalar(query))

    # --- decisions ------------------------------------------------------------------------------------------

    def exclude(self, study: Study, participant: str, reason: str) -> None:
        """Leave a participant's votes out of reports, and say why. They stay where they are.

        Raises:
            StudyError: the study has no such participant, or there is no reason.
        """
        reason = " ".join(reason.split())
        if not 1 <= len(reason) <= 1000 or not reason.isprintable():
            raise StudyError("say in up to 1000 letters why the participant is left out: reports print it")
        self._decide(study, participant, "exclude", reason)

    def include(self, study: Study, participant: str) -> None:
        """Take an exclusion back; both stay on record. Raises StudyError if the study has no such participant."""
        self._decide(study, participant, "include", "")

    def excluded(self, connection: Connection, study: Study) -> dict[str, str]:
        """Who is left out of a study's reports, and why."""
        query = sa.select(decisions.c.participant, decisions.c.action, decisions.c.reason).where(
            decisions.c.study_id == study.study_id, decisions.c.participant.is_not(None)
        )
        last = {row.participant: row for row in connection.execute(query.order_by(decisions.c.made_at))}
        return {participant: row.reason for participant, row in last.items() if row.action == "exclude"}

    def forget(self, study: Study, participant: str) -> int:
        """Erase a participant: session, votes, tokens, address, completion, incidents, and decisions that name them.

        What stays on record is that somebody was forgotten, and the number of their session, which names nobody; by it
        `restore` leaves out, and erases, what copies hold. Copies elsewhere (a Hub data set, reports) are theirs who
        made them to clear.

        Returns:
            How many votes went.

        Raises:
            StudyError: the study has no such participant.
        """

        def work(connection: Connection) -> int:
            session_id, _ = self._session_of(connection, study, participant)
            count = self._erase(connection, session_id)
            self._record(connection, study, None, "forget", "", session_id)
            return count

        count = self._existing(work, study, participant)
        self._truncate_log()
        return count

    def _decide(self, study: Study, participant: str, action: str, reason: str) -> None:
        def work(connection: Connection) -> None:
            _, name = self._session_of(connection, study, participant)
            self._record(connection, study, name, action, reason, None)

        self._existing(work, study, participant)

    def _existing(self, work: Callable[[Connection], Result], study: Study, participant: str) -> Result:
        """Write, unless there is nothing yet: no file is made for that."""
        if self._missing:
            raise _nobody(study, participant)
        return self.write(work)

    @staticmethod
    def _session_of(connection: Connection, study: Study, participant: str) -> tuple[str, str]:
        """A participant's session, kept from others until the transaction ends, and the name as it is kept."""
        name = participant_name(participant)
        same = (sessions.c.study_id == study.study_id) & (sessions.c.participant == name)
        session_id = name and connection.scalar(
            sa.select(sessions.c.session_id).where(same).with_for_update(key_share=True)
        )
        if session_id is None:
            raise _nobody(study, participant)
        return session_id, name

    @staticmethod
    def _record(
        connection: Connection, study: Study, participant: str | None, action: str, reason: str, session_id: str | None
    ) -> None:
        last = connection.scalar(
            sa.select(sa.func.max(decisions.c.made_at)).where(decisions.c.study_id == study.study_id)
        )
        # The last one holds: a clock that was set back must not undo this.
        made_at = _now() if last is None else max(_now(), last + timedelta(microseconds=1))
        row = {"id": uuid.uuid4().hex, "study_id": study.study_id, "participant": participant, "action": action}
        row |= {"reason": reason, "session_id": session_id, "made_at": made_at}
        connection.execute(decisions.insert(), row)

    @staticmethod
    def _erase(connection: Connection, session_id: str) -> int:
        """Remove a session with everything that belongs to it or names its participant; the number of its votes."""
        who = sa.select(sessions.c.study_id, sessions.c.participant).where(sessions.c.session_id == session_id)
        connection.execute(decisions.delete().where(sa.tuple_(decisions.c.study_id, decisions.c.participant).in_(who)))
        mine = sa.select(issues.c.left_hash).where(issues.c.session_id == session_id)
        mine = mine.union_all(sa.select(issues.c.right_hash).where(issues.c.session_id == session_id))
        connection.execute(fetches.delete().where(fetches.c.token_hash.in_(mine)))
        count = connection.execute(votes.delete().where(votes.c.session_id == session_id)).rowcount
        for table in (issues, reveals, completions, incidents, addresses, sessions):
            connection.execute(table.delete().where(table.c.session_id == session_id))
        return count

    def _truncate_log(self) -> None:
        """Take what was erased out of SQLite's log, too; if somebody is reading now, the log's next round does it."""
        if self.sqlite:
            with contextlib.suppress(StudyError), self._told(), self._engines["bare"].connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()

    # --- copies ---------------------------------------------------------------------------------------------

    def rows(self, study: Study, after: str | None = None) -> list[dict[str, Any]]:
        """What is worth a copy elsewhere, as plain JSON objects, oldest first; no secrets, tokens or addresses.

        Each has `record` (session, vote, completion, decision), `key`, which tells it from all others for ever, `at`,
        when it was made (ISO 8601, UTC), study_id, and the columns of its table. Rows never change, so a copy that has
        the key has the row; only `forget` takes some away, and leaves a decision that says which session's.

        Args:
            after: an earlier row's `at`: only rows of that moment or later. Rows can come in a few seconds late, when
                another replica's clock is behind; so ask with some overlap, and skip the keys that are known.
        """
        if self._missing:
            return []
        moment, this = None if after is None else _moment(after), {"study_id": study.study_id}

        def work(connection: Connection) -> list[dict[str, Any]]:
            found = []
            for record, (table, time_column) in _COPIED.items():
                columns = [column for column in table.c if column.name not in _SECRET]
                query = sa.select(*columns)
                if table is completions:
                    query = query.join_from(completions, sessions).where(sessions.c.study_id == study.study_id)
                else:
                    query = query.where(table.c.study_id == study.study_id)
                if moment is not None:
                    query = query.where(table.c[time_column] >= moment)
                for row in connection.execute(query).mappings():
                    values = {name: _iso(v) if isinstance(v, datetime) else v for name, v in row.items()}
                    key = ":".join([record, *(str(row[column.name]) for column in table.primary_key)])
                    found.append({"record": record, "key": key, "at": values[time_column], **this, **values})
            return sorted(found, key=lambda row: (row["at"], list(_COPIED).index(row["record"]), row["key"]))

        return self.read(work)

    def restore(self, study: Study, rows: Iterable[Mapping[str, Any]]) -> int:
        """Take rows of `rows` back in; those that are here already, of another study, or unreadable change nothing.

        A restored session counts as having taken part, and can't be continued. If a participant has begun another one
        here meanwhile, the restored one is left out, and logged. Forgotten sessions stay forgotten, and are erased if
        they are here.

        Returns:
            How many rows were new.
        """
        checked: dict[str, list[dict[str, Any]]] = {record: [] for record in _COPIED}
        for row in rows:
            try:
                if row.get("record") not in _COPIED or row.get("study_id", study.study_id) != study.study_id:
                    continue
                checked[row["record"]].append(_values(study, _COPIED[row["record"]][0], row))
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
                self._erase(connection, session_id)
            until: dict[str, datetime] = {}
            for row in checked["session"]:
                if row["session_id"] in forgotten:
                    until[row["participant"]] = forgotten[row["session_id"]]
                else:
                    new += self._restore_session(connection, row)
            here = sa.select(sessions.c.session_id, sessions.c.participant).where(sessions.c.study_id == study.study_id)
            participants = {session_id: name for session_id, name in connection.execute(here)}
            for record in ("vote", "completion"):
                for row in checked[record]:
                    if row["session_id"] in participants:
                        new += self.add(connection, _COPIED[record][0], row)
            names = set(participants.values())
            for row in checked["decision"]:  # Without those that name somebody who was forgotten.
                if row["participant"] in names and row["made_at"] > until.get(row["participant"], _LONG_AGO):
                    new += self.add(connection, decisions, row)
            return new

        return self.write(work)

    def _restore_session(self, connection: Connection, row: dict[str, Any]) -> bool:
        """Add a session; without its slot if another one has that."""
        known = (sessions.c.session_id == row["session_id"]) | (sessions.c.participant == row["participant"])
        found = connection.execute(
            sa.select(sessions.c.session_id).where(sessions.c.study_id == row["study_id"], known)
        ).scalars()
        if here := set(found):
            if row["session_id"] not in here:
                log.warning("session %s was not restored: its participant has another one here", row["session_id"])
            return False
        return self.add(connection, sessions, row) or self.add(connection, sessions, {**row, "slot": None})

    # --- opening --------------------------------------------------------------------------------------------

    def _make_engines(self) -> dict[str, Engine]:
        if not self.sqlite:
            import psycopg  # noqa: F401  # SQLAlchemy would, without saying so: what a Space needs is read from imports.

            # Without prepared statements it works behind a connection pooler, too.
            engine = sa.create_engine(
                self.url, hide_parameters=True, pool_size=5, max_overflow=15, pool_timeout=10, pool_pre_ping=True,
                connect_args={"prepare_threshold": None, "connect_timeout": 5},
            )  # fmt: skip
            return {"durable": engine, "read": engine.execution_options(isolation_level="REPEATABLE READ")}
        made = {}
        for name, synchronous in (("durable", "FULL"), ("quick", "NORMAL")):
            made[name] = sa.create_engine(
                self.url, hide_parameters=True, poolclass=sa.QueuePool, pool_size=10, max_overflow=-1,
                connect_args={"check_same_thread": False, "timeout": BUSY_S},
            ).execution_options(begin="BEGIN IMMEDIATE")  # fmt: skip
            sa.event.listen(made[name], "connect", lambda c, _, s=synchronous: _on_connect(c, s))
            sa.event.listen(made[name], "begin", _on_begin)
        made["read"] = made["durable"].execution_options(begin="BEGIN")
        made["bare"] = made["durable"].execution_options(begin="")  # For what can't be part of a transaction.
        return made

    def _prepare(self) -> None:
        """Make or migrate the tables, once in this process."""
        if self._prepared:
            return
        with self._preparing:
            if not self._prepared:
                if self.sqlite:
                    self._use_wal()
                self._transaction(self._migrate, True)
                self._file = self._identity() if self.sqlite else None
                self._prepared = True

    def _use_wal(self) -> None:
        """Switch the file to a write-ahead log; SQLite does not wait by itself if another process is doing it."""
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                with self._told(), self._engines["bare"].connect() as connection:
                    mode = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar()
                break
            except StoreBusy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        if mode != "wal":
            raise StudyError(
                "{database} lies where SQLite can't keep a log: use a local disk",
                database=self.url.database,
            )

    def _migrate(self, connection: Connection) -> None:
        if not self.sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
        names = [name for name, _ in MIGRATIONS]
        if sa.inspect(connection).has_table("migrations"):
            applied = set(connection.scalars(sa.select(migrations.c.name)))
            if unknown := applied - set(names):
                raise StudyError(
                    "{url} belongs to a newer version of this program ({unknown}): update the program",
                    url=self.url.render_as_string(hide_password=True), unknown=max(unknown),
                )
            for name, function in MIGRATIONS:
                if name not in applied:
                    function(connection)
        else:
            applied = set()
            _TABLES.create_all(connection)
        for name in names:
            if name not in applied:
                connection.execute(migrations.insert(), {"name": name, "applied_at": _now()})

    @property
    def _missing(self) -> bool:
        """Whether there is nothing to read yet, not even a file."""
        return self.sqlite and not self._prepared and not Path(self.url.database).exists()


_COPIED = {
    "session": (sessions, "started_at"),
    "vote": (votes, "server_time"),
    "completion": (completions, "completed_at"),
    "decision": (decisions, "made_at"),
}
"""Records that are shipped: their table, and the column that says when."""
_SECRET = ("secret_hash", "token_hash")
_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)
_DTYPES: dict[type, Any] = {
    sa.String: "str", sa.Text: "str", sa.Integer: "Int64", sa.Double: "Float64", sa.Boolean: "boolean",
    sa.JSON: "object", _Time: "datetime64[us, UTC]",
}  # fmt: skip


def participant_name(name: object) -> str | None:
    """A participant's name in the one spelling that is kept; None if it is no name: 1 to 128 printable characters."""
    if not isinstance(name, str) or len(name) > 1000:
        return None
    name = unicodedata.normalize("NFC", name).strip()
    return name if 1 <= len(name) <= 128 and name.isprintable() else None


def _nobody(study: Study, participant: str) -> StudyError:
    return StudyError(
        "{study} has no participant {participant!r}: compare with its sessions",
        study=study.name, participant=str(participant)[:128],
    )


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _moment(text: object) -> datetime:
    """A time as `_iso` writes it. Raises ValueError."""
    moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{str(text)[:40]!r} is no time with a zone")
    return moment


def _values(study: Study, table: sa.Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """A shipped row's columns, checked: it may come from anywhere. Raises ValueError."""
    known = [(row.get("study_id", study.study_id), (study.study_id,))]
    if table is sessions:
        known += [(row.get("origin"), ORIGINS), (row.get("arm"), range(len(study.arms)))]
        known += [(row.get("participant"), (participant_name(row.get("participant")) or "",))]
    if table is votes:
        known += [(row.get("left_stimulus"), study.by_hash), (row.get("right_stimulus"), (*study.by_hash, None))]
        known += [(row.get("trial_index"), range(study.trials_per_session)), (row.get("phase"), PHASES)]
    if table is decisions:
        known += [(row.get("action"), ("exclude", "include", "forget"))]
    for value, allowed in known:
        if value not in allowed:
            raise ValueError(f"{table.name} with {str(value)[:40]!r}, which the study has not")
    kinds = {sa.String: str, sa.Text: str, sa.Integer: int, sa.Double: (int, float), sa.Boolean: bool}
    values: dict[str, Any] = {}
    for column in table.c:
        if column.name in _SECRET:
            continue
        value = row.get(column.name)
        kind = kinds.get(type(column.type))
        if value is None:
            if not column.nullable:
                raise ValueError(f"{table.name} without {column.name}")
        elif isinstance(column.type, _Time):
            value = _moment(value)
        elif kind is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise ValueError(f"{table.name} with {column.name} {str(value)[:40]!r}")
        elif isinstance(value, str) and (len(value) > (column.type.length or 2000) or "\0" in value):
            raise ValueError(f"{table.name} with an endless {column.name}")
        elif isinstance(value, (int, float)) and not abs(value) < 2**31:
            raise ValueError(f"{table.name} with {column.name} {value}")
        values[column.name] = value
    return values


@dataclass(eq=False)
class _Job:
    """Work that waits for its turn."""

    work: Callable[[Connection], Any]
    durable: bool
    leads: bool = False
    """It does the work of all who wait."""
    woken: threading.Event = field(default_factory=threading.Event)
    """It leads, or is done."""
    result: Any = None
    error: Exception | None = field(default_factory=lambda: StoreBusy("the program is ending; nothing was recorded"))


class _Conflict(Exception):
    """Another transaction was in the way."""


_PASSING = ("is locked", "disk is full", "disk I/O error", "locking protocol", "out of memory")
"""What SQLite says of troubles that go by themselves, or once there is room on the disk."""


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _on_connect(connection: Any, synchronous: str) -> None:
    connection.isolation_level = None  # Python's driver would begin transactions by itself, and later than we do.
    for pragma in (f"synchronous={synchronous}", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    if statement := connection.get_execution_options()["begin"]:
        connection.exec_driver_sql(statement)
