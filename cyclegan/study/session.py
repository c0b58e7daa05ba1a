"""The sessions of a study: which trial a participant sees next, and what the server may reveal about it.

A session proceeds trial by trial. For the current one the server issues a token, and one more for each picture; the
pictures are fetched, the trial is revealed (pictures are never shown twice), then voted on. Each token works once,
and a new one invalidates the older ones. Everything is in the database, so a server can be killed at any moment, and
several servers can share it.

No response reveals which picture is real, except the feedback of practice.
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
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cyclegan.errors import StudyError, message
from cyclegan.study import admission, endings, replies, staircase, statements, votes
from cyclegan.study import store as db
from cyclegan.study.format import Study
from cyclegan.study.refusals import SessionError
from cyclegan.study.state import Ack, Random, Reveal, Standing, State
from cyclegan.study.store import Store, StoreBusy, participant_name

MAX_ISSUES = 300
"""Limit of a trial's issued tokens: after that many reloads something else is wrong."""
NOT_FETCHED = message("The pictures have not been fetched yet: reload the page to continue.")
NOT_DUE = message("These questions have been answered, or are not due yet: reload the page to continue.")
MISSING = message("A picture of this study is missing: please inform its owner.")
ANONYMOUS = "anonymous-"
"""Beginning of the names that the server gives."""

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class StudySessions:
    """The sessions of one study. Safe to use from any number of threads and processes.

    Longer than other classes because every request is one transaction over the same rows, which `_standing` reads.

    Args:
        origin: 'people', or 'simulated' for synthetic participants; each sees only its own sessions.
        preview: sessions end without a code and a link, which would prove that somebody has taken part.
        clock: seconds since 1970.
        random: source of secrets.
    """

    def __init__(
        self,
        study: Study,
        store: Store,
        *,
        origin: str = "people",
        preview: bool = False,
        clock: Callable[[], float] = time.time,
        random: Random = secrets,  # type: ignore[assignment]
    ) -> None:
        if origin not in db.ORIGINS:
            raise ValueError(f"origin is {origin!r}: choose people or simulated")
        self.study, self.store, self.origin, self.clock, self.random = study, store, origin, clock, random
        self.preview = preview
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
        consent: str | None = None,
    ) -> tuple[str, State]:
        """Begin a session.

        Args:
            participant: name from the link or the login; None: the server invents one.
            language: language of the page, such as en.
            screen: width, height, dpr, refresh_hz; anything else is dropped.
            address: the participant's network address; kept as a salted hash for a day, and for as long as the
                session as a code of 4 hex digits, if the protocol keeps it.
            key: 16 to 128 random letters that the browser made and keeps: beginning again with the same key returns
                the same session, so that a lost reply locks nobody out.
            consent: SHA-256 of the owner's words that the participant has agreed to, if the study has any.

        Returns:
            The session's secret, which only its browser may know, and its state.

        Raises:
            SessionError: taken, bad_participant, too_many, bad_answer (the key), no_consent, busy.
        """
        name, secret = self._who(participant, key)
        with _busy():
            salt = self.store.setting("address_salt")
        hashed = None if address is None else _mac(salt, "address", str(address))
        code = None if address is None else _mac(salt, "place", self.study.study_id, str(address))[:4]
        now = self._now()
        row = {
            "study_id": self.study.study_id, "participant": name, "origin": self.origin, "secret_hash": _hash(secret),
            "language": admission.checked_language(language), "screen": admission.checked_screen(screen),
            "started_at": now,
        }  # fmt: skip

        def work(connection: Connection) -> State:
            self.store.lock_study(connection, self.study)
            if self._begun(connection, name, secret):
                return self._state(connection, self._standing(connection, secret, lock=True), secret, now)
            session_id = self.random.token_hex(16)
            connection.execute(db.addresses.delete().where(db.addresses.c.expires_at <= now))
            if hashed is not None:
                admission.admit_address(connection, self.study, hashed, session_id, now)
            arm, slot = admission.choose_place(connection, self.store, self.study, self.origin, now)
            connection.execute(db.sessions.insert(), {**row, "session_id": session_id, "arm": arm, "slot": slot})
            replies.record_agreement(connection, self.study, session_id, consent, now)
            if code is not None and self.study.protocol.address_code:
                connection.execute(db.places.insert(), {"session_id": session_id, "address_code": code})
            return self._state(connection, self._standing(connection, secret), secret, now)

        try:
            return secret, self._write(work)
        except SessionError as error:
            if error.code == "too_many":
                self._incident(None, "too_many", "sessions of one address")
            raise

    def check(self, participant: str | None, *, key: str | None = None) -> None:
        """Raise what `begin` would raise about the name or key, before anyone is asked for anything. Stores nothing.

        Where anyone can give any name, it doesn't raise taken, because it would report who has taken part.

        Raises:
            SessionError: taken, bad_participant, bad_answer (the key), busy.
        """
        name, secret = self._who(participant, key)
        if self.study.protocol.login == "none":
            return
        with _busy():
            self.store.read(lambda connection: self._begun(connection, name, secret))

    def state(self, secret: str) -> State:
        """Return the state of a session, with new tokens for the current trial; all its older ones become invalid.

        Raises:
            SessionError: no_session, too_many (after MAX_ISSUES), busy.
        """

        def work(connection: Connection) -> State:
            standing = self._standing(connection, secret, lock=True)
            return self._state(connection, standing, secret, self._now())

        return self._write(work, durable=False)

    def stimulus(self, token: str) -> bytes:
        """Return a picture, once.

        Raises:
            SessionError: gone, not_found, busy.
        """
        hashed, now = _hash(token), self._now()

        def work(connection: Connection) -> str:
            row = connection.execute(statements.ISSUE_OF_STIMULUS, {"token": hashed, **self._mine}).one_or_none()
            if row is None:
                raise SessionError("not_found")
            # A picture that was shown has been fetched with the same tokens, or they were replaced.
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
            raise SessionError("busy", MISSING) from error

    def reveal(self, secret: str, token: str) -> None:
        """Record that the pictures are about to be shown, once and for all. Repeating it with the same token is fine.

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
            self._check_open(standing, now)
            self._check_newest(standing, issue)
            if standing.reveal is not None or issue.left_hash is None:
                raise SessionError("out_of_order")
            hashes = {"left": issue.left_hash, "right": issue.right_hash}
            if connection.scalar(statements.FETCHED, hashes) < 2 - (issue.right_hash is None):
                raise SessionError("out_of_order", NOT_FETCHED)
            row = {
                "session_id": standing.session.session_id, "trial_index": standing.index,
                "token_hash": issue.token_hash, "revealed_at": now,
            }  # fmt: skip
            connection.execute(statements.INSERT_REVEAL, row)

        self._logged(work, secret)

    def vote(self, secret: str, token: str, answer: Mapping[str, Any]) -> Ack:
        """Record a vote permanently. The same judgement with the same token again is acknowledged and changes nothing.

        Args:
            answer: chosen_side ('left', 'right'; in picking also 'tie'), of one picture verdict ('real', 'fake'), of a
                tagged one marks [{tag, box: [x, y, w, h] as parts of the picture, or null}], of a rated one rating (1
                to 5); the measurements of `votes.Answer`. Anything else is ignored.

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
            self._check_open(standing, now)
            self._check_newest(standing, issue)
            if standing.reveal is None:
                raise SessionError("not_revealed")
            trial = self.study.trials(standing.session.arm, standing.session.slot)[standing.index]
            resumed = standing.reveal.token_hash != issue.token_hash
            given = votes.check_vote(answer, trial, self.study.protocol, resumed=resumed)
            waited = (now - standing.reveal.revealed_at).total_seconds() * 1000
            if self.origin == "simulated" and isinstance(answer.get("server_ms"), (int, float)):
                waited = float(answer["server_ms"])  # Simulated people don't wait for real.
            exposure = staircase.exposure_of(connection, self.study, standing.session, standing.index)
            row = votes.planned_columns(trial, self.study, exposure) | {
                "session_id": standing.session.session_id, **dataclasses.asdict(given), "resumed": resumed,
                "server_ms": max(0.0, waited), "token_hash": issue.token_hash, "server_time": now,
            }  # fmt: skip
            connection.execute(statements.INSERT_VOTE, row)
            after = dataclasses.replace(standing, index=standing.index + 1, issue=None, reveal=None)
            after = dataclasses.replace(after, completion=self._complete(connection, after, now))
            state = self._state(connection, after, secret, now)
            return Ack(True, False, votes.feedback(trial, self.study.protocol, given), state)

        return self._logged(work, secret)

    def reply(self, secret: str, when: str, answers: Mapping[str, Any]) -> State:
        """Record the answers to the owner's questions, before the first trial or after the last; return the new state.

        Raises:
            SessionError: no_session, bad_answer, out_of_order (this isn't the time for them), late, busy.
        """

        def work(connection: Connection) -> State:
            now = self._now()
            standing = self._standing(connection, secret, lock=True)
            ended = standing.completion is not None
            if when == "before" and not ended:
                self._check_open(standing, now)
            elif when != "after" or not ended or standing.completion[1]:
                raise SessionError("out_of_order", NOT_DUE, detail="answers to questions")
            replies.record(connection, self.store, self.study, standing.session.session_id, when, answers, now)
            return self._state(connection, standing, secret, now)

        return self._logged(work, secret)

    # --- who, and places ------------------------------------------------------------------------------------

    def _who(self, participant: str | None, key: str | None) -> tuple[str, str]:
        """Return the participant's name and the session's secret, both of which follow from the key."""
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
        """Return whether the session exists. Raises SessionError: taken, if the name's session has another secret."""
        same = (db.sessions.c.study_id == self.study.study_id) & (db.sessions.c.participant == name)
        found = connection.execute(sa.select(db.sessions).where(same)).one_or_none()
        if found is None:
            return False
        if not hmac.compare_digest(found.secret_hash or "", _hash(secret)) or found.origin != self.origin:
            raise SessionError("taken")
        return True

    # --- the state of a session -----------------------------------------------------------------------------

    def _standing(self, connection: Connection, secret: str, *, lock: bool = False) -> Standing:
        hashed = _hash(secret)
        if lock:
            self.store.lock_session(connection, hashed)
        session = connection.execute(statements.SESSION, {"secret": hashed, **self._mine}).one_or_none()
        if session is None:
            raise SessionError("no_session")
        index = 0 if session.last is None else session.last + 1
        if session.code is not None:
            return Standing(session, index, (session.code, session.disqualified), None, None)
        current = {"session": session.session_id, "index": index}
        issue = connection.execute(statements.NEWEST_ISSUE, current).one_or_none()
        reveal = None
        if issue is not None and issue.revealed_by is not None:
            reveal = Reveal(issue.revealed_by, issue.revealed_at)
        return Standing(session, index, None, issue, reveal)

    def _state(
        self, connection: Connection, standing: Standing, secret: str, now: datetime, *, issue: bool = True
    ) -> State:
        """Return the state for the browser; with new tokens, or with the newest ones again if `issue` is false."""
        practice, session = self.study.protocol.practice_trials, standing.session
        in_practice = standing.index < practice
        of = practice if in_practice else self.study.protocol.test_trials
        number = standing.index + 1 - (0 if in_practice else practice)
        if standing.completion is not None:
            code, disqualified = standing.completion
            if self.preview:
                code = None
            if disqualified:
                url = self._url(session, code) if self.study.code_screened_out else None
                return State("disqualified", practice, practice, code=code, url=url)
            if replies.is_due(connection, self.study, session.session_id, "after"):
                return State("after", of, of)
            score = self._score(connection, session)
            return State("done", of, of, score=score, code=code, url=self._url(session, code))
        if self._expired(session.started_at, now):
            code = None if self.preview else self.study.code_timed_out or None
            return State("expired", number, of, code=code, url=self._url(session, code))
        if standing.index == 0 and replies.is_due(connection, self.study, session.session_id, "before"):
            return State("before", 0, of)
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
            connection.execute(statements.INSERT_ISSUE, row)
        adapted = staircase.adapted(connection, self.study, session, standing.index)
        shown = {"token": token, "left": left, "right": right, "seen": seen, **adapted}
        return State("practice" if in_practice else "test", number, of, shown)

    def _token(self, secret: str, index: int, number: int, what: str) -> str:
        """Derive a token from the session's secret and the database's: a reply can be repeated, and neither the
        browser nor a copy of the database alone can forge one."""
        return _mac(self.store.setting("token_key"), "token", secret, str(index), str(number), what)[:43]

    def _issue_of(self, connection: Connection, standing: Standing, token: str) -> Any:
        """Return the issue of a token, of whichever trial of this session."""
        hashed = _hash(token)
        if standing.issue is not None and standing.issue.token_hash == hashed:
            return standing.issue
        issue = connection.execute(sa.select(db.issues).where(db.issues.c.token_hash == hashed)).one_or_none()
        if issue is None or issue.session_id != standing.session.session_id:
            raise SessionError("not_found", detail="forged" if issue is None else "cross_session")
        return issue

    def _check_open(self, standing: Standing, now: datetime) -> None:
        if standing.completion is not None:
            raise SessionError("closed")
        if self._expired(standing.session.started_at, now):
            raise SessionError("late")

    @staticmethod
    def _check_newest(standing: Standing, issue: Any) -> None:
        if issue.trial_index < standing.index:
            raise SessionError("out_of_order")
        if standing.issue is None or standing.issue.token_hash != issue.token_hash:
            raise SessionError("stale_token")

    def _expired(self, started_at: datetime, now: datetime) -> bool:
        return now - started_at > timedelta(hours=self.study.protocol.session_hours)

    # --- votes and the end -------------------------------------------------------------------------------------

    def _again(
        self, connection: Connection, standing: Standing, secret: str, issue: Any, answer: Mapping[str, Any],
        now: datetime,
    ) -> Ack:  # fmt: skip
        """Acknowledge a vote on a trial that has one. The tokens of the first acknowledgement remain valid."""
        here = (db.votes.c.session_id == issue.session_id) & (db.votes.c.trial_index == issue.trial_index)
        kept = connection.execute(sa.select(db.votes).where(here)).one()
        trial = self.study.trials(standing.session.arm, standing.session.slot)[issue.trial_index]
        given = votes.check_vote(answer, trial, self.study.protocol, resumed=True)
        if kept.token_hash != issue.token_hash:
            raise SessionError("out_of_order", detail="an older token of a trial that has a vote")
        if (kept.chosen_side, kept.verdict, kept.marks, kept.rating) != given.judgement:
            raise SessionError("out_of_order", detail="replayed with another answer")
        state = self._state(connection, standing, secret, now, issue=False)
        return Ack(True, True, votes.feedback(trial, self.study.protocol, given), state)

    def _marked(self, connection: Connection, session: Any, phase: str) -> list[bool]:
        """Return right or wrong for each vote of a phase that can be either."""
        trials = self.study.trials(session.arm, session.slot)
        rows = connection.execute(statements.JUDGEMENTS, {"session": session.session_id, "phase": phase})
        marked = [votes.is_correct(trials[index], self.study.protocol, *judgement) for index, *judgement in rows]
        return [correct for correct in marked if correct is not None]

    def _score(self, connection: Connection, session: Any) -> dict[str, int] | None:
        if self.study.protocol.task != "realness" or not endings.shows_score(self.study):
            return None
        marked = self._marked(connection, session, "test")
        return {"correct": sum(marked), "of": len(marked)}

    def _complete(self, connection: Connection, standing: Standing, now: datetime) -> tuple[str, bool] | None:
        """End the session after its last vote, or after practice that didn't qualify; return (code, disqualified)."""
        protocol, disqualified = self.study.protocol, False
        if protocol.qualification and standing.index == protocol.practice_trials:
            marked = self._marked(connection, standing.session, "practice")
            disqualified = sum(marked) < protocol.qualification * len(marked) - 1e-9  # 0.65 of 20 is 13.
        if not disqualified and standing.index < self.study.trials_per_session:
            return None
        session = standing.session
        code = endings.code_of(connection, self.study, session, disqualified=disqualified, random=self.random)
        row = {"session_id": standing.session.session_id, "code": code, "completed_at": now}
        connection.execute(db.completions.insert(), {**row, "disqualified": disqualified})
        return code, disqualified

    def _url(self, session: Any, code: str | None) -> str | None:
        name = session.participant
        return endings.link_of(self.study, code, "" if name.startswith(ANONYMOUS) else name)

    # --- transactions ---------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), timezone.utc)

    def _write(self, work: Callable[[Connection], Result], *, durable: bool = True) -> Result:
        with _busy():
            self.store.setting("token_key")  # Fetched before the transaction that needs it.
            return self.store.write(work, durable=durable)

    def _logged(self, work: Callable[[Connection], Result], secret: str) -> Result:
        """Write, and record refusals as incidents."""
        try:
            return self._write(work)
        except SessionError as error:
            if error.code != "busy":
                self._incident(secret, error.code, error.detail)
            raise

    def _incident(self, secret: str | None, kind: str, detail: str) -> None:
        """Record an incident, unless the database has more important work."""
        hashed, now = None if secret is None else _hash(secret), self._now()

        def work(connection: Connection) -> None:
            admission.record_incident(connection, self.study, hashed, kind, detail, now)

        with contextlib.suppress(SessionError):
            self._write(work, durable=False)


@contextlib.contextmanager
def _busy() -> Iterator[None]:
    try:
        yield
    except StoreBusy as error:
        raise SessionError("busy") from error


def _hash(secret: str) -> str:
    """Return the hash that the database keeps of a secret, which is long and random, so it needs no salt."""
    if not isinstance(secret, str) or len(secret) > 200:
        return ""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _mac(key: str, *what: str) -> str:
    text = "\n".join(what).encode("utf-8", "surrogatepass")
    return hmac.new(bytes.fromhex(key), text, hashlib.sha256).hexdigest()
