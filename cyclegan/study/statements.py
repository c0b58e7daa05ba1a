"""The database statements that requests need, put together once instead of at every request."""

from __future__ import annotations

import sqlalchemy as sa

from cyclegan.study import store as db

_c, _newer = db.issues.c, db.issues.alias().c
_of_reveal = (db.reveals.c.session_id == _c.session_id) & (db.reveals.c.trial_index == _c.trial_index)
_of_mine = (db.sessions.c.study_id == sa.bindparam("study")) & (db.sessions.c.origin == sa.bindparam("origin"))
SESSION = (
    sa.select(
        *(db.sessions.c[name] for name in ("session_id", "participant", "arm", "slot", "started_at")),
        db.completions.c.code, db.completions.c.disqualified,
        sa.select(sa.func.max(db.votes.c.trial_index)).where(db.votes.c.session_id == db.sessions.c.session_id)
        .scalar_subquery().label("last"),
    )
    .join_from(db.sessions, db.completions, isouter=True)
    .where(db.sessions.c.secret_hash == sa.bindparam("secret"), _of_mine)
)  # fmt: skip
NEWEST_ISSUE = (
    sa.select(db.issues, db.reveals.c.token_hash.label("revealed_by"), db.reveals.c.revealed_at)
    .join_from(db.issues, db.reveals, _of_reveal, isouter=True)
    .where(_c.session_id == sa.bindparam("session"), _c.trial_index == sa.bindparam("index"))
    .order_by(_c.number.desc())
    .limit(1)
)
ISSUE_OF_STIMULUS = (
    sa.select(
        _c.trial_index, _c.left_hash, db.sessions.c.arm, db.sessions.c.slot, db.sessions.c.started_at,
        sa.exists().where(
            _newer.session_id == _c.session_id, _newer.trial_index == _c.trial_index, _newer.number > _c.number
        ).label("replaced"),
    )
    .join_from(db.issues, db.sessions)
    .where(sa.or_(_c.left_hash == sa.bindparam("token"), _c.right_hash == sa.bindparam("token")), _of_mine)
)  # fmt: skip
FETCHED = sa.select(sa.func.count()).where(
    sa.or_(db.fetches.c.token_hash == sa.bindparam("left"), db.fetches.c.token_hash == sa.bindparam("right"))
)
JUDGEMENTS = sa.select(db.votes.c.trial_index, db.votes.c.chosen_side, db.votes.c.verdict).where(
    db.votes.c.session_id == sa.bindparam("session"), db.votes.c.phase == sa.bindparam("phase")
)
INSERT_ISSUE, INSERT_REVEAL, INSERT_VOTE = db.issues.insert(), db.reveals.insert(), db.votes.insert()
