"""Tables of votes, sessions and incidents, for reports."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cyclegan.study.format import Study
from cyclegan.study.store.database import Database
from cyclegan.study.store.tables import (
    UtcTime,
    agreements,
    completions,
    decisions,
    incidents,
    places,
    replies,
    sessions,
    studies,
    votes,
)

if TYPE_CHECKING:
    import pandas as pd

_DTYPES: dict[type, Any] = {
    sa.String: "str", sa.Text: "str", sa.Integer: "Int64", sa.Double: "Float64", sa.Boolean: "boolean",
    sa.JSON: "object", UtcTime: "datetime64[us, UTC]",
}  # fmt: skip


class Queries(Database):
    """Tables for reports; no query creates a database."""

    def votes(self, study: Study) -> pd.DataFrame:
        """Return all votes on a study, one row each, in the order of sessions and trials.

        Columns: those of the table `votes` without tokens, and the session's participant, origin, arm, slot, language,
        started_at, completed, disqualified, excluded, exclusion_reason. Times are in UTC, durations in milliseconds.
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
        """Return all sessions of a study, one row each, in the order in which they began.

        Columns: session_id, participant, origin, arm, slot, language, screen, started_at, completed_at, code, votes
        (their number), completed, disqualified, address_code (None unless the protocol keeps it), excluded,
        exclusion_reason; consent_version, consent_sha256 and agreed_at, of the consent in the owner's words; answers:
        {id of a question: the answer, None if it was left out}. Its `attrs` have the number of participants who were
        erased, `forgotten`.
        """
        names = ("session_id", "participant", "origin", "arm", "slot", "language", "screen", "started_at")
        count = sa.select(sa.func.count()).where(votes.c.session_id == sessions.c.session_id).scalar_subquery()
        query = (
            sa.select(
                *(sessions.c[name] for name in names), completions.c.completed_at, completions.c.code,
                count.label("votes"), completions.c.disqualified, places.c.address_code,
                agreements.c.version.label("consent_version"), agreements.c.text_sha256.label("consent_sha256"),
                agreements.c.agreed_at,
            )
            .join_from(sessions, completions, isouter=True)
            .join(places, places.c.session_id == sessions.c.session_id, isouter=True)
            .join(agreements, agreements.c.session_id == sessions.c.session_id, isouter=True)
            .where(sessions.c.study_id == study.study_id)
            .order_by(sessions.c.started_at, sessions.c.session_id)
        )  # fmt: skip
        frame = self._frame(study, query)
        answers = self._answers(study) if study.questions else {}
        frame["answers"] = [answers.get(session_id, {}) for session_id in frame["session_id"]]
        frame.attrs["forgotten"] = len(self.forgotten(study))
        return frame

    def _answers(self, study: Study) -> dict[str, dict[str, str | None]]:
        if self._missing:
            return {}
        query = sa.select(replies.c.session_id, replies.c.question, replies.c.value)
        found: dict[str, dict[str, str | None]] = {}
        for session_id, question, value in self.read(
            lambda connection: connection.execute(query.where(replies.c.study_id == study.study_id)).all()
        ):
            found.setdefault(session_id, {})[question] = value
        return found

    def incidents(self, study: Study) -> pd.DataFrame:
        """Return the requests that a study refused, oldest first: session_id, kind, detail, happened_at."""
        names = ("session_id", "kind", "detail", "happened_at")
        query = sa.select(*(incidents.c[name] for name in names)).where(incidents.c.study_id == study.study_id)
        return self._frame(study, query.order_by(incidents.c.happened_at), of_sessions=False)

    def forgotten(self, study: Study) -> list[datetime]:
        """Return when participants of a study were erased for good, oldest first."""
        if self._missing:
            return []
        query = sa.select(decisions.c.made_at).where(
            decisions.c.study_id == study.study_id, decisions.c.action == "forget"
        )
        return self.read(lambda connection: list(connection.scalars(query.order_by(decisions.c.made_at))))

    def _frame(self, study: Study, query: sa.Select[Any], *, of_sessions: bool = True) -> pd.DataFrame:
        """Return a query's rows as a table, whose columns have their types even without a row."""
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
        """Return the number of sessions of other studies of this name, e.g. from before study.json was changed."""
        if self._missing:
            return 0
        joined = sessions.join(studies, studies.c.study_id == sessions.c.study_id)
        query = sa.select(sa.func.count()).select_from(joined)
        query = query.where(studies.c.name == study.name, sessions.c.study_id != study.study_id)
        return self.read(lambda connection: connection.scalar(query))

    def excluded(self, connection: Connection, study: Study) -> dict[str, str]:
        """Return the participants that a study's reports leave out, each with the reason."""
        query = sa.select(decisions.c.participant, decisions.c.action, decisions.c.reason).where(
            decisions.c.study_id == study.study_id, decisions.c.participant.is_not(None)
        )
        last = {row.participant: row for row in connection.execute(query.order_by(decisions.c.made_at))}
        return {participant: row.reason for participant, row in last.items() if row.action == "exclude"}
