"""The adaptive staircase of exposure times, as in HYPE_time (Zhou et al., 2019).

The server computes each exposure from the votes in the database, so a page can neither choose it nor lose it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from sqlalchemy.engine import Connection

from cyclegan.errors import Message, message
from cyclegan.study import statements, votes
from cyclegan.study.format import Study
from cyclegan.study.protocol import Protocol


def next_exposure(protocol: Protocol, answers: Iterable[bool]) -> int:
    """Return the exposure in ms after these answers, right or wrong, to the test's trials so far.

    It shortens by step_down_ms after `staircase_right` right answers in a row, and lengthens by step_up_ms after each
    wrong one.
    """
    exposure, row = protocol.exposure_ms, 0
    for right in answers:
        row = row + 1 if right else 0
        if not right:
            exposure += protocol.step_up_ms
        elif row == protocol.staircase_right:
            exposure, row = exposure - protocol.step_down_ms, 0
        exposure = min(max(exposure, protocol.least_exposure_ms), protocol.most_exposure_ms)
    return exposure


def about_reach(protocol: Protocol) -> Message | None:
    """Return a sentence if a protocol has too few trials for a staircase to reach each threshold; None otherwise.

    Thresholds are taken from the second half of the trials, so the first half has to get there.
    """
    if not protocol.staircase_right:
        return None
    half = protocol.test_trials / 2
    # Somebody who only guesses: of the rows of answers, each ends with a wrong one or with enough right ones.
    complete = 0.5**protocol.staircase_right
    rise = ((1 - complete) * protocol.step_up_ms - complete * protocol.step_down_ms) / (2 * (1 - complete))
    fall = protocol.step_down_ms / protocol.staircase_right
    up, down = protocol.most_exposure_ms - protocol.exposure_ms, protocol.exposure_ms - protocol.least_exposure_ms
    if rise <= 0 or (rise * half >= up and fall * half >= down):
        return None
    return message(
        "with test_trials {trials}, half a session takes a staircase from {start} ms to {shortest} ms at the "
        "shortest and to about {longest} ms at the longest. Thresholds beyond that, and somewhat before it, come out "
        "too near to {start} ms. To reach {least} and {most} ms, take --test_trials {needed}, or larger steps",
        trials=protocol.test_trials, start=protocol.exposure_ms,
        shortest=max(protocol.least_exposure_ms, round(protocol.exposure_ms - fall * half)),
        longest=min(protocol.most_exposure_ms, round(protocol.exposure_ms + rise * half)),
        least=protocol.least_exposure_ms, most=protocol.most_exposure_ms,
        needed=math.ceil(2 * max(up / rise, down / fall)),
    )  # fmt: skip


def exposure_of(connection: Connection, study: Study, session: Any, index: int) -> int:
    """Return the planned exposure in ms of a session's trial, which all trials before it have decided.

    Args:
        connection: of the study's database.
        study: the study.
        session: its row, with session_id, arm and slot.
        index: of the trial, over practice and test.
    """
    protocol, trials = study.protocol, study.trials(session.arm, session.slot)
    if not protocol.staircase_right or trials[index].phase == "practice":
        return protocol.exposure_ms
    found = connection.execute(statements.JUDGEMENTS, {"session": session.session_id, "phase": "test"})
    given = {number: judgement for number, *judgement in found if number < index}
    answers = [bool(votes.is_correct(trials[number], protocol, *given[number])) for number in sorted(given)]
    return next_exposure(protocol, answers)


def adapted(connection: Connection, study: Study, session: Any, index: int) -> dict[str, int]:
    """Return {exposure_ms} for the browser, see `exposure_of`; {} if the study has no staircase."""
    if not study.protocol.staircase_right:
        return {}
    return {"exposure_ms": exposure_of(connection, study, session, index)}
