"""The end of a session: its code, the link back, and the score."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cyclegan.study import store as db
from cyclegan.study import votes
from cyclegan.study.format import Study

CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without those that look alike."""
COLUMNS = ("chosen_side", "verdict", "rating", "response_ms", "server_ms", "resumed", "focus_lost",
           "exposure_planned_ms")


def code_of(connection: Connection, study: Study, session: Any, *, disqualified: bool, random: Any) -> str:
    """Return the code of a session that ends now.

    Those who don't qualify get the owner's code for them, or an individual one, because the common one proves
    completion. Those whom a rule over their own votes leaves out get the owner's code for them, if there is one.
    """
    code = study.code_screened_out if disqualified else study.completion_code
    if study.code_left_out and not disqualified and _left_out(connection, study, session):
        code = study.code_left_out
    return code or "".join(random.choice(CODE_LETTERS) for _ in range(8))


def _left_out(connection: Connection, study: Study, session: Any) -> bool:
    from cyclegan.study.rules import fails_vigilance, first_broken

    query = sa.select(*(db.votes.c[name] for name in COLUMNS), db.votes.c.kind, db.votes.c.trial_index)
    query = query.where(db.votes.c.session_id == session.session_id, db.votes.c.phase == "test")
    rows = connection.execute(query).all()
    if first_broken(study.protocol, {name: [getattr(row, name) for row in rows] for name in COLUMNS}):
        return True
    trials = study.trials(session.arm, session.slot)
    watchful = [votes.is_watchful(trials[row.trial_index], study.protocol, row.chosen_side, row.verdict, row.rating)
                for row in rows if row.kind == "vigilance"]
    return bool(watchful) and fails_vigilance(study.protocol, sum(watchful) / len(watchful))


def link_of(study: Study, code: str | None, participant: str) -> str | None:
    """Return the link on the last page, with code and participant filled in; None without a code or a link."""
    if not code or not study.completion_url:
        return None
    url = study.completion_url.replace("{code}", quote(code, safe=""))
    return url.replace("{participant}", quote(participant, safe=""))


def shows_score(study: Study) -> bool:
    """Return whether participants see how often they were right.

    Whoever can take part again and again under new names could learn the truth from their scores.
    """
    chosen = study.protocol.show_score
    return chosen == "yes" or (chosen == "auto" and study.protocol.login != "none")
