"""One participant's way through a study: whose turn it is to see what, and what the server may say about it.

A session goes trial by trial. For the current one the server issues a token, and one more for each picture; the
pictures are fetched, the trial is revealed (what was shown once is never shown again), then voted on. Tokens are good
once, and only those issued last. All of it is in the database: a server can be killed at any moment, or be one of
several.

Nothing that leaves here tells real from fake, but for the feedback of practice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import logging
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cyclegan.errors import StudyError
from cyclegan.study import store as db
from cyclegan.study.format import Study
from cyclegan.study.protocol import TAGS
from cyclegan.study.sequences import Trial
from cyclegan.study.store import Store, StoreBusy, participant_name

MAX_ISSUES = 300
"""How often a trial's tokens are issued: after that many reloads something else is wrong."""
COUNTS_FOR = timedelta(hours=2)
"""How long a session that was begun keeps its place in its arm if it isn't completed."""
ADDRESS_KEPT = timedelta(hours=24)
SESSIONS_PER_ADDRESS, ADDRESS_WINDOW = 400, timedelta(minutes=10)
"""A class of 200 behind one address passes, twice."""
MAX_INCIDENTS = 200
"""Kept per session; of those that belong to none, per study and day."""
MAX_MARKS = 50
MAX_FRAMES = 10_000_000
CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without those that are taken for one another."""
ANONYMOUS = "anonymous-"
"""How the names begin that the server gives."""

Result = TypeVar("Result")
log = logging.getLogger(__name__)

REFUSED = {
    "taken": "You have taken part in this study already.",
    "no_session": "This session is not known here: open the study's link again.",
    "gone": "This picture's address was good once, and has been used or replaced.",
    "not_found": "There is nothing at this address.",
    "stale_token": "This study is open in another tab, or was reloaded: go on there, or reload this page.",
    "out_of_order": "This trial has been answered or shown already: reload the page to go on.",
    "not_revealed": "This trial has not been shown yet: reload the page to go on.",
    "late": "The time for this session has run out; what you answered in time is kept.",
    "bad_answer": "The answer could not be read: reload the page to go on.",
    "bad_participant": "The participant's name has to have 1 to 128 printable characters: check the link.",
    "closed": "This session is over.",
    "too_many": "Too many attempts: wait a few minutes, then reload the page.",
    "busy": "Please wait: nothing was recorded; the page tries again.",
}
"""What people are told, by code."""


# --- what is asked of the database all the time, put together once ------------------------------------------

_c, _newer = db.issues.c, db.issues.alias().c
_of_reveal = (db.reveals.c.session_id == _c.session_id) & (db.reveals.c.trial_index == _c.trial_index)
_of_mine = (db.sessions.c.study_id == sa.bindparam("study")) & (db.sessions.c.origin == sa.bindparam("origin"))
_SESSION = (
    sa.select(
        *(db.sessions.c[name] for name in ("session_id", "participant", "arm", "slot", "started_at")),
        db.completions.c.code, db.completions.c.disqualified,
        sa.select(sa.func.max(db.votes.c.trial_index)).where(db.votes.c.session_id == db.sessions.c.session_id)
        .scalar_subquery().label("last"),
    )
    .join_from(db.sessions, db.completions, isouter=True)
    .where(db.sessions.c.secret_hash == sa.bindparam("secret"), _of_mine)
)  # fmt: skip
_NEWEST_ISSUE = (
    sa.select(db.issues, db.reveals.c.token_hash.label("revealed_by"), db.reveals.c.revealed_at)
    .join_from(db.issues, db.reveals, _of_reveal, isouter=True)
    .where(_c.session_id == sa.bindparam("session"), _c.trial_index == sa.bindparam("index"))
    .order_by(_c.number.desc())
    .limit(1)
)
_ISSUE_OF_STIMULUS = (
    sa.select(
        _c.trial_index, _c.left_hash, db.sessions.c.arm, db.sessions.c.slot, db.sessions.c.started_at,
        sa.exists().where(
            _newer.session_id == _c.session_id, _newer.trial_index == _c.trial_index, _newer.number > _c.number
        ).label("replaced"),
    )
    .join_from(db.issues, db.sessions)
    .where(sa.or_(_c.left_hash == sa.bindparam("token"), _c.right_hash == sa.bindparam("token")), _of_mine)
)  # fmt: skip
_FETCHED = sa.select(sa.func.count()).where(
    sa.or_(db.fetches.c.token_hash == sa.bindparam("left"), db.fetches.c.token_hash == sa.bindparam("right"))
)
_JUDGEMENTS = sa.select(db.votes.c.trial_index, db.votes.c.chosen_side, db.votes.c.verdict).where(
    db.votes.c.session_id == sa.bindparam("session"), db.votes.c.phase == sa.bindparam("phase")
)
_INSERT_ISSUE, _INSERT_REVEAL, _INSERT_VOTE = db.issues.insert(), db.reveals.insert(), db.votes.insert()


class SessionError(StudyError):
    """A request that was refused and has changed nothing. `code` is for programs, the message for people."""

    def __init__(self, code: str, template: str = "", /, **values: Any) -> None:
        super().__init__(template or REFUSED[code], **values)
        self.code = code


class Random(Protocol):
    """Where secrets come from: the module `secrets`, or something a test can foresee."""

    def token_hex(self, nbytes: int, /) -> str:
        """Random bytes as hex digits."""

    def choice(self, sequence: Any, /) -> Any:
        """One of these."""


@dataclass(frozen=True)
class State:
    """Where a session stands, as far as a browser may know."""

    phase: str
    """practice, test, done, disqualified, expired."""
    number: int
    """Of the current trial within its phase, from 1; at the end the number of trials."""
    of: int
    """Trials in the phase."""
    trial: dict[str, Any] | None = None
    """{token, left, right, seen}: tokens of the trial and of its pictures. seen: they were shown before a reload and
    are not shown again, so left and right are None. Right is None where one picture is shown. None at the end."""
    score: dict[str, int] | None = None
    """{correct, of} over the test, at the end; None where there is no right answer."""
    code: str | None = None
    """For the participant to hand in, at the end."""
    url: str | None = None
    """Where the last page links to."""

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Ack:
    """A vote is recorded, for good."""

    recorded: bool
    duplicate: bool
    """It had been recorded before; nothing was changed."""
    feedback: dict[str, Any] | None
    """In practice {correct, real_side}, of one picture {correct, truth}. None in the test, or where none is right."""
    next: State

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class _Answer:
    """A vote as a browser sent it, checked; times in milliseconds."""

    chosen_side: str | None
    verdict: str | None
    marks: list[dict[str, Any]] | None
    exposure_left_ms: float | None
    exposure_right_ms: float | None
    frames: int | None
    longest_frame_ms: float | None
    focus_lost: bool
    response_ms: float | None

    @property
    def judgement(self) -> tuple[Any, ...]:
        """What tells this vote from another one of the same trial."""
        return self.chosen_side, self.verdict, self.marks


@dataclass(frozen=True)
class _Standing:
    """A session's rows, read in one transaction."""

    session: Any
    index: int
    """Of the current trial; `trials_per_session` if all have been voted on."""
    completion: Any
    issue: Any
    """The newest of the current trial, or None."""
    reveal: Any
    """Of the current trial, or None."""


class Play:
    """A study, played. Safe to use from any number of threads and processes.

    Args:
        origin: 'people', or 'simulated' for synthetic participants; each sees only sessions of its own.
        clock: seconds since 1970.
        random: where secrets come from.
    """

    def __init__(
        self,
        study: Study,
        store: Store,
        *,
        origin: str = "people",
        clock: Callable[[], float] = time.time,
        random: Random = secrets,  # type: ignore[assignment]
    ) -> None:
        if origin not in db.ORIGINS:
            raise ValueError(f"origin is {origin!r}: choose people or simulated")
        self.study, self.store, self.origin, self.clock, self.random = study, store, origin, clock, random
        self._mine = {"study": study.study_id, "origin": origin}

    # --- what the server calls ------------------------------------------------------------------------------

    def begin(
        self,
        participant: str | None,
        *,
        language: str,
        screen: Mapping[str, Any],
        address: str | None,
        key: str | None = None,
    ) -> tuple[str, State]:
        """Begin a session.

        Args:
            participant: who, as the link or the login says; None: the server makes up a name.
            language: of the page, such as en.
            screen: width, height, dpr, refresh_hz; whatever else is dropped.
            address: the participant's network address; kept as a salted hash for a day.
            key: 16 to 128 random letters that the browser made and keeps: beginning again with the same key leads back
                into the same session, so that a lost reply locks nobody out.

        Returns:
            The session's secret, which only its browser may know, and where it stands.

        Raises:
            SessionError: taken, bad_participant, too_many, bad_answer (the key), busy.
        """
        name, secret = self._who(participant, key)
        with _busy():
            salt = self.store.setting("address_salt")
        hashed = None if address is None else _mac(salt, "address", str(address))
        now = self._now()
        row = {
            "study_id": self.study.study_id, "participant": name, "origin": self.origin, "secret_hash": _hash(secret),
            "language": _language(language), "screen": _screen(screen), "started_at": now,
        }  # fmt: skip

        def work(connection: Connection) -> State:
            self.store.lock_study(connection, self.study)
            if self._begun(connection, name, secret):
                return self._state(connection, self._standing(connection, secret, lock=True), secret, now)
            session_id = self.random.token_hex(16)
            connection.execute(db.addresses.delete().where(db.addresses.c.expires_at <= now))
            if hashed is not None:
                self._admit(connection, hashed, session_id, now)
            arm, slot = self._place(connection, now)
            connection.execute(db.sessions.insert(), {**row, "session_id": session_id, "arm": arm, "slot": slot})
            return self._state(connection, self._standing(connection, secret), secret, now)

        try:
            return secret, self._write(work)
        except SessionError as error:
            if error.code == "too_many":
                self._incident(None, "too_many", "sessions of one address")
            raise

    def check(self, participant: str | None, *, key: str | None = None) -> None:
        """Refuse whom `begin` would refuse for who they are, before they are asked for anything. Stores nothing.

        Raises:
            SessionError: taken, bad_participant, bad_answer (the key), busy.
        """
        name, secret = self._who(participant, key)
        with _busy():
            self.store.read(lambda connection: self._begun(connection, name, secret))

    def state(self, secret: str) -> State:
        """Where a session stands, with new tokens for the current trial; all its older ones become useless.

        Raises:
            SessionError: no_session, too_many (after MAX_ISSUES), busy.
        """

        def work(connection: Connection) -> State:
            standing = self._standing(connection, secret, lock=True)
            return self._state(connection, standing, secret, self._now())

        return self._write(work, durable=False)

    def stimulus(self, token: str) -> bytes:
        """A picture, once.

        Raises:
            SessionError: gone, not_found, busy.
        """
        hashed, now = _hash(token), self._now()

        def work(connection: Connection) -> str:
            row = connection.execute(_ISSUE_OF_STIMULUS, {"token": hashed, **self._mine}).one_or_none()
            if row is None:
                raise SessionError("not_found")
            # What was shown has been fetched with the same tokens, or else they were replaced.
            if row.replaced or self._expired(row.started_at, now):
                raise SessionError("gone")
            if not self.store.add(connection, db.fetches, {"token_hash": hashed, "fetched_at": now}):
                raise SessionError("gone")
            trial = self.study.trials(row.arm, row.slot)[row.trial_index]
            return (trial.left if row.left_hash == hashed else trial.right).sha256

        sha256 = self._write(work, durable=False)
        try:
            return self.study.stimulus(sha256)
        except StudyError as error:
            log.error("%s", error)
            raise SessionError("busy", "A picture of this study is missing: tell its owner.") from error

    def reveal(self, secret: str, token: str) -> None:
        """The pictures are about to be shown, and never will be again. Durable; again with the same token is fine.

        Raises:
            SessionError: no_session, not_found, stale_token, out_of_order (not fetched, or shown already), late,
                closed, busy.
        """

        def work(connection: Connection) -> None:
            now = self._now()
            standing = self._standing(connection, secret, lock=True)
            issue = self._issue_of(connection, standing, token)
            if standing.reveal is not None and standing.reveal.token_hash == issue.token_hash:
                return
            self._open(standing, now)
            self._newest(standing, issue)
            if standing.reveal is not None or issue.left_hash is None:
                raise SessionError("out_of_order")
            wanted = [hashed for hashed in (issue.left_hash, issue.right_hash) if hashed is not None]
            if connection.scalar(_FETCHED, {"left": issue.left_hash, "right": issue.right_hash}) < len(wanted):
                raise SessionError("out_of_order", "The pictures have not been fetched yet: reload the page to go on.")
            row = {
                "session_id": standing.session.session_id, "trial_index": standing.index,
                "token_hash": issue.token_hash, "revealed_at": now,
            }  # fmt: skip
            connection.execute(_INSERT_REVEAL, row)

        self._logged(work, secret)

    def vote(self, secret: str, token: str, answer: Mapping[str, Any]) -> Ack:
        """Record a vote, for good. The same judgement with the same token again is acknowledged and changes nothing.

        Args:
            answer: chosen_side ('left', 'right'; in picking also 'tie'), of one picture verdict ('real', 'fake'), of a
                tagged one marks [{tag, box: [x, y, w, h] as parts of the picture, or null}]; exposure_left_ms and
                exposure_right_ms as measured (not where exposure is unlimited), frames, longest_frame_ms, focus_lost,
                response_ms. What else is in it is ignored.

        Raises:
            SessionError: no_session, not_found, stale_token, out_of_order, not_revealed, late, closed, bad_answer,
                busy. All but the last are logged.
        """

        def work(connection: Connection) -> Ack:
            now = self._now()
            standing = self._standing(connection, secret, lock=True)
            issue = self._issue_of(connection, standing, token)
            if issue.trial_index < standing.index:
                return self._again(connection, standing, secret, issue, answer, now)
            self._open(standing, now)
            self._newest(standing, issue)
            if standing.reveal is None:
                raise SessionError("not_revealed")
            trial = self.study.trials(standing.session.arm, standing.session.slot)[standing.index]
            resumed = standing.reveal.token_hash != issue.token_hash
            given = self._check(answer, trial, resumed)
            waited = (now - standing.reveal.revealed_at).total_seconds() * 1000
            row = self._row(trial) | {
                "session_id": standing.session.session_id, **dataclasses.asdict(given), "resumed": resumed,
                "server_ms": max(0.0, waited), "token_hash": issue.token_hash, "server_time": now,
            }  # fmt: skip
            connection.execute(_INSERT_VOTE, row)
            after = dataclasses.replace(standing, index=standing.index + 1, issue=None, reveal=None)
            after = dataclasses.replace(after, completion=self._complete(connection, after, now))
            return Ack(True, False, self._feedback(trial, given), self._state(connection, after, secret, now))

        return self._logged(work, secret)

    # --- who, and places ------------------------------------------------------------------------------------

    def _who(self, participant: str | None, key: str | None) -> tuple[str, str]:
        """The name of whoever begins a session with this key, and the session's secret."""
        if key is not None and not (isinstance(key, str) and re.fullmatch(r"[A-Za-z0-9_-]{16,128}", key)):
            raise SessionError("bad_answer")
        with _busy():
            token_key = self.store.setting("token_key")
        key = key or self.random.token_hex(32)
        if participant is None:
            name = ANONYMOUS + _mac(token_key, "participant", self.study.study_id, key)[:32]
        else:
            name = participant_name(participant)
            if name is None:
                raise SessionError("bad_participant")
        return name, _mac(token_key, "secret", self.study.study_id, name, key)

    def _begun(self, connection: Connection, name: str, secret: str) -> bool:
        """Whether there is such a session. Raises SessionError: taken, if the name's session has another secret."""
        same = (db.sessions.c.study_id == self.study.study_id) & (db.sessions.c.participant == name)
        found = connection.execute(sa.select(db.sessions).where(same)).one_or_none()
        if found is None:
            return False
        if not hmac.compare_digest(found.secret_hash or "", _hash(secret)) or found.origin != self.origin:
            raise SessionError("taken")
        return True

    def _admit(self, connection: Connection, hashed: str, session_id: str, now: datetime) -> None:
        """Note the address of a new session; refuse one too many."""
        recent = connection.scalar(
            sa.select(sa.func.count()).where(
                db.addresses.c.hash == hashed,
                db.addresses.c.study_id == self.study.study_id,
                db.addresses.c.expires_at > now + ADDRESS_KEPT - ADDRESS_WINDOW,
            )
        )
        if recent >= SESSIONS_PER_ADDRESS:
            raise SessionError("too_many")
        row = {"session_id": session_id, "hash": hashed, "study_id": self.study.study_id}
        connection.execute(db.addresses.insert(), {**row, "expires_at": now + ADDRESS_KEPT})

    def _place(self, connection: Connection, now: datetime) -> tuple[int, int]:
        """The arm with the fewest sessions that count, and the next slot in it."""
        c, ended = db.sessions.c, db.completions.c.disqualified
        mine = (c.study_id == self.study.study_id) & (c.origin == self.origin)
        under_way = ended.is_(None) & (c.started_at > now - COUNTS_FOR)
        counts = sa.func.sum(sa.case((under_way | ended.is_(False), 1), else_=0))
        query = sa.select(c.arm, counts, sa.func.count(), sa.func.max(c.slot)).group_by(c.arm)
        joined = db.sessions.outerjoin(db.completions, db.completions.c.session_id == c.session_id)
        found = {row[0]: list(row[1:]) for row in connection.execute(query.select_from(joined).where(mine))}
        if excluded := self.store.excluded(connection, self.study):
            left_out = query.select_from(joined).where(mine & c.participant.in_(list(excluded)))
            for arm, count, *_ in connection.execute(left_out):
                found[arm][0] -= count
        none = (0, 0, None)
        arm = min(range(len(self.study.arms)), key=lambda n: (*map(int, found.get(n, none)[:2]), n))
        last = found.get(arm, none)[2]
        return arm, 0 if last is None else last + 1

    # --- where a session stands -----------------------------------------------------------------------------

    def _standing(self, connection: Connection, secret: str, *, lock: bool = False) -> _Standing:
        hashed = _hash(secret)
        if lock:
            self.store.lock_session(connection, hashed)
        session = connection.execute(_SESSION, {"secret": hashed, **self._mine}).one_or_none()
        if session is None:
            raise SessionError("no_session")
        index = 0 if session.last is None else session.last + 1
        if session.code is not None:
            return _Standing(session, index, (session.code, session.disqualified), None, None)
        issue = connection.execute(_NEWEST_ISSUE, {"session": session.session_id, "index": index}).one_or_none()
        reveal = None
        if issue is not None and issue.revealed_by is not None:
            reveal = _Reveal(issue.revealed_by, issue.revealed_at)
        return _Standing(session, index, None, issue, reveal)

    def _state(
        self, connection: Connection, standing: _Standing, secret: str, now: datetime, *, issue: bool = True
    ) -> State:
        """What the browser is told; with new tokens unless `issue` is false, which repeats those of the newest."""
        practice, session = self.study.protocol.practice_trials, standing.session
        in_practice = standing.index < practice
        of = practice if in_practice else self.study.protocol.test_trials
        number = standing.index + 1 - (0 if in_practice else practice)
        if standing.completion is not None:
            code, disqualified = standing.completion
            if disqualified:
                return State("disqualified", practice, practice, code=code)
            score = self._score(connection, session)
            return State("done", of, of, score=score, code=code, url=self._url(code, session.participant))
        if self._expired(session.started_at, now):
            return State("expired", number, of)
        trial = self.study.trials(session.arm, session.slot)[standing.index]
        seen, newest = standing.reveal is not None, standing.issue
        count = 0 if newest is None else newest.number
        if issue or newest is None:
            if count >= MAX_ISSUES:
                raise SessionError("too_many")
            count += 1
        token, left, right = (self._token(secret, standing.index, count, what) for what in ("trial", "left", "right"))
        if seen:
            left = right = None
        elif trial.right is None:
            right = None
        if issue or newest is None:
            row = {
                "token_hash": _hash(token), "session_id": session.session_id, "trial_index": standing.index,
                "number": count, "left_hash": left and _hash(left), "right_hash": right and _hash(right),
                "issued_at": now,
            }  # fmt: skip
            connection.execute(_INSERT_ISSUE, row)
        shown = {"token": token, "left": left, "right": right, "seen": seen}
        return State("practice" if in_practice else "test", number, of, shown)

    def _token(self, secret: str, index: int, number: int, what: str) -> str:
        """Tokens follow from the session's secret and the database's: a reply can be repeated, and neither the browser
        nor a copy of the database alone can tell one that was not issued."""
        return _mac(self.store.setting("token_key"), "token", secret, str(index), str(number), what)[:43]

    def _issue_of(self, connection: Connection, standing: _Standing, token: str) -> Any:
        """The issue of a trial's token, whichever trial of this session it was."""
        hashed = _hash(token)
        if standing.issue is not None and standing.issue.token_hash == hashed:
            return standing.issue
        issue = connection.execute(sa.select(db.issues).where(db.issues.c.token_hash == hashed)).one_or_none()
        if issue is None or issue.session_id != standing.session.session_id:
            raise _refused("not_found", "forged" if issue is None else "cross_session")
        return issue

    def _open(self, standing: _Standing, now: datetime) -> None:
        if standing.completion is not None:
            raise SessionError("closed")
        if self._expired(standing.session.started_at, now):
            raise SessionError("late")

    @staticmethod
    def _newest(standing: _Standing, issue: Any) -> None:
        if issue.trial_index < standing.index:
            raise SessionError("out_of_order")
        if standing.issue is None or standing.issue.token_hash != issue.token_hash:
            raise SessionError("stale_token")

    def _expired(self, started_at: datetime, now: datetime) -> bool:
        return now - started_at > timedelta(hours=self.study.protocol.session_hours)

    # --- votes ----------------------------------------------------------------------------------------------

    def _again(
        self, connection: Connection, standing: _Standing, secret: str, issue: Any, answer: Mapping[str, Any],
        now: datetime,
    ) -> Ack:  # fmt: skip
        """A vote on a trial that has one. The tokens that its first acknowledgement handed out stay good."""
        here = (db.votes.c.session_id == issue.session_id) & (db.votes.c.trial_index == issue.trial_index)
        kept = connection.execute(sa.select(db.votes).where(here)).one()
        trial = self.study.trials(standing.session.arm, standing.session.slot)[issue.trial_index]
        given = self._check(answer, trial, True)
        if kept.token_hash != issue.token_hash:
            raise _refused("out_of_order", "an older token of a trial that has a vote")
        if (kept.chosen_side, kept.verdict, kept.marks) != given.judgement:
            raise _refused("out_of_order", "replayed with another answer")
        state = self._state(connection, standing, secret, now, issue=False)
        return Ack(True, True, self._feedback(trial, given), state)

    def _row(self, trial: Trial) -> dict[str, Any]:
        """A vote's columns that are planned."""
        right = trial.right
        made_by = [sha for s in trial.stimuli if (sha := self.study.commit_sha(s.epoch)) is not None]
        return {
            "trial_index": trial.index, "study_id": self.study.study_id, "phase": trial.phase, "kind": trial.kind,
            "left_stimulus": trial.left.sha256, "right_stimulus": right and right.sha256,
            "epoch_left": trial.left.epoch, "epoch_right": right and right.epoch,
            "commit_sha": " ".join(made_by) or None, "direction": self.study.direction, "real_side": trial.real_side,
            "exposure_planned_ms": self.study.protocol.exposure_ms,
        }  # fmt: skip

    def _correct(self, trial: Trial, chosen_side: str | None, verdict: str | None) -> bool | None:
        """Whether the answer is right; None where none is."""
        if self.study.protocol.task != "realness":
            return None
        if trial.right is None:
            return verdict == _truth(trial)
        if trial.real_side not in ("left", "right"):
            return None
        return (chosen_side == trial.real_side) == (self.study.protocol.question == "real")

    def _feedback(self, trial: Trial, given: _Answer) -> dict[str, Any] | None:
        correct = self._correct(trial, given.chosen_side, given.verdict)
        if trial.phase != "practice" or correct is None:
            return None
        truth = {"truth": _truth(trial)} if trial.right is None else {"real_side": trial.real_side}
        return {"correct": correct, **truth}

    def _marked(self, connection: Connection, session: Any, phase: str) -> list[bool]:
        """Right or wrong, for each vote of a phase that can be either."""
        trials = self.study.trials(session.arm, session.slot)
        rows = connection.execute(_JUDGEMENTS, {"session": session.session_id, "phase": phase})
        marked = [self._correct(trials[index], side, verdict) for index, side, verdict in rows]
        return [correct for correct in marked if correct is not None]

    def _score(self, connection: Connection, session: Any) -> dict[str, int] | None:
        if self.study.protocol.task != "realness":
            return None
        marked = self._marked(connection, session, "test")
        return {"correct": sum(marked), "of": len(marked)}

    def _complete(self, connection: Connection, standing: _Standing, now: datetime) -> tuple[str, bool] | None:
        """End the session if its last trial was voted on, or practice did not qualify for the test."""
        protocol, disqualified = self.study.protocol, False
        if protocol.qualification and standing.index == protocol.practice_trials:
            marked = self._marked(connection, standing.session, "practice")
            disqualified = sum(marked) < protocol.qualification * len(marked) - 1e-9  # 0.65 of 20 is 13.
        if not disqualified and standing.index < self.study.trials_per_session:
            return None
        # A code of its own for those who are turned away: the common one says that somebody has completed.
        code = "" if disqualified else self.study.completion_code
        code = code or "".join(self.random.choice(CODE_LETTERS) for _ in range(8))
        row = {"session_id": standing.session.session_id, "code": code, "completed_at": now}
        connection.execute(db.completions.insert(), {**row, "disqualified": disqualified})
        return code, disqualified

    def _url(self, code: str, participant: str) -> str | None:
        if not self.study.completion_url:
            return None
        name = "" if participant.startswith(ANONYMOUS) else participant
        url = self.study.completion_url.replace("{code}", quote(code, safe=""))
        return url.replace("{participant}", quote(name, safe=""))

    def _check(self, answer: Mapping[str, Any], trial: Trial, resumed: bool) -> _Answer:
        """An answer with nothing in it but what fits the trial. After a reload nobody knows the times any more."""
        if not isinstance(answer, Mapping):
            raise SessionError("bad_answer")
        protocol = self.study.protocol
        chosen_side = verdict = marks = None
        if protocol.task == "tag":
            marks = _marks(answer.get("marks"))
        elif trial.right is None:
            verdict = _one_of(answer.get("verdict"), ("real", "fake"))
        else:
            sides = ("left", "right", "tie") if protocol.task == "pick" else ("left", "right")
            chosen_side = _one_of(answer.get("chosen_side"), sides)
        longest = protocol.session_hours * 3_600_000

        def milliseconds(name: str, required: bool) -> float | None:
            value = answer.get(name)
            if value is None and not required:
                return None
            return _number(value, longest)

        timed = protocol.exposure_ms > 0
        left = milliseconds("exposure_left_ms", timed and not resumed)
        right = milliseconds("exposure_right_ms", timed and not resumed and trial.right is not None)
        frames, focus_lost = answer.get("frames"), answer.get("focus_lost")
        if frames is not None and (type(frames) is not int or not 0 <= frames <= MAX_FRAMES):
            raise SessionError("bad_answer")
        if type(focus_lost) is not bool:
            raise SessionError("bad_answer")
        return _Answer(
            chosen_side, verdict, marks, left if timed else None, right if timed and trial.right is not None else None,
            frames, milliseconds("longest_frame_ms", False), focus_lost, milliseconds("response_ms", not resumed),
        )  # fmt: skip

    # --- transactions ---------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), timezone.utc)

    def _write(self, work: Callable[[Connection], Result], *, durable: bool = True) -> Result:
        with _busy():
            self.store.setting("token_key")  # Fetched before the transaction that will need it.
            return self.store.write(work, durable=durable)

    def _logged(self, work: Callable[[Connection], Result], secret: str) -> Result:
        """Write, and note what was refused."""
        try:
            return self._write(work)
        except SessionError as error:
            if error.code != "busy":
                self._incident(secret, error.code, getattr(error, "detail", ""))
            raise

    def _incident(self, secret: str | None, kind: str, detail: str) -> None:
        """Keep a record; up to a number, so that nobody fills the disk with it."""
        now = self._now()

        def work(connection: Connection) -> None:
            c, session_id = db.incidents.c, None
            if secret is not None:
                session_id = connection.scalar(
                    sa.select(db.sessions.c.session_id).where(db.sessions.c.secret_hash == _hash(secret))
                )
            alike = sa.select(sa.func.count()).where(c.study_id == self.study.study_id, c.session_id == session_id)
            if session_id is None:
                alike = alike.where(c.happened_at > now - timedelta(days=1))
            if connection.scalar(alike) < MAX_INCIDENTS:
                row = {"id": uuid.uuid4().hex, "study_id": self.study.study_id, "session_id": session_id}
                connection.execute(db.incidents.insert(), {**row, "kind": kind, "detail": detail, "happened_at": now})

        with contextlib.suppress(SessionError):  # A database that is busy now has more important things to do.
            self._write(work, durable=False)


@dataclass(frozen=True)
class _Reveal:
    token_hash: str
    revealed_at: datetime


def _refused(code: str, detail: str) -> SessionError:
    """A refusal with a word for the log."""
    error = SessionError(code)
    error.detail = detail  # type: ignore[attr-defined]
    return error


@contextlib.contextmanager
def _busy() -> Iterator[None]:
    try:
        yield
    except StoreBusy as error:
        raise SessionError("busy") from error


def _hash(secret: str) -> str:
    """What the database keeps of a secret. It is long and random, so it needs no salt."""
    if not isinstance(secret, str) or len(secret) > 200:
        return ""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _mac(key: str, *what: str) -> str:
    text = "\n".join(what).encode("utf-8", "surrogatepass")
    return hmac.new(bytes.fromhex(key), text, hashlib.sha256).hexdigest()


def _truth(trial: Trial) -> str:
    """real or fake, of one picture."""
    return "real" if trial.left.kind == "real" else "fake"


def _language(language: object) -> str:
    return language if isinstance(language, str) and re.fullmatch(r"[A-Za-z0-9-]{1,35}", language) else ""


def _screen(screen: object) -> dict[str, float]:
    """What the browser says of its screen: pixels, ratio, Hz."""
    if not isinstance(screen, Mapping):
        return {}
    kept = {}
    for name in ("width", "height", "dpr", "refresh_hz"):
        with contextlib.suppress(SessionError):
            kept[name] = _number(screen.get(name), 100_000)
    return kept


def _one_of(value: object, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise SessionError("bad_answer")
    return value


def _number(value: object, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise SessionError("bad_answer")  # NaN compares as false, too.
    return float(value)


def _marks(marks: object) -> list[dict[str, Any]]:
    """What is wrong with a picture, and where."""
    if not isinstance(marks, list) or len(marks) > MAX_MARKS:
        raise SessionError("bad_answer")
    checked = []
    for mark in marks:
        if not isinstance(mark, Mapping):
            raise SessionError("bad_answer")
        tag, box = _one_of(mark.get("tag"), TAGS), mark.get("box")
        if box is not None:
            if not isinstance(box, list) or len(box) != 4:
                raise SessionError("bad_answer")
            x, y, width, height = box = [_number(value, 1) for value in box]
            # A box up to the edge may come out beyond it by rounding.
            if width <= 0 or height <= 0 or x + width > 1 + 1e-6 or y + height > 1 + 1e-6:
                raise SessionError("bad_answer")
        checked.append({"tag": tag, "box": box})
    return checked
