"""The rules by which sessions are left out: fixed in the protocol before the first vote, applied by reports.

Pure functions over numbers, so that reports and simulations apply the same rules. Arrays end with one axis of test
trials; the axes before it, if any, are sessions.

    fails_vigilance  sessions that get too few vigilance trials right
    impossible    trials that took less time on the server than showing their pictures takes
    broken_rules  which of the rules over a session's own votes it breaks
    first_broken  the same of one session, from the columns of its votes
    guessing      sessions that answer as coins do, where the others don't

Studies from before there were rules have none: see `cyclegan.study.protocol.FORMERLY`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cyclegan.study.protocol import FORMERLY, RATINGS, Protocol

REASONS = {
    "impossible": "impossible times",
    "fast": "answered too fast",
    "one_sided": "nearly always the same answer",
    "away": "left the page too often",
    "guessing": "guessed where others didn't",
}
"""The reasons in reports, by rule, in the order in which one is named."""
FIELDS = {"impossible": "impossible_most", "fast": "fast_ms", "one_sided": "one_sided", "away": "away_most",
          "guessing": "guessing_p"}
"""The protocol's field of each rule."""
TOLERANCE_MS = 100
"""A trial may take this much less than planned: pictures leave on the nearest frame, and clocks differ a little."""
SIDES, CHANCE = 0.06, 0.005
"""A one-sided session has to be less likely than CHANCE, so that a short one isn't left out by luck, among people whose
preference for a side has a standard deviation of 0.12: the correlation of their sides is SIDES."""
ALIKE = 0.05
"""A session answers as coins do, unless coins are right as often with less than this probability."""
CORRELATION = 0.06
"""Correlation of a participant's answers that `guessing` allows for: somewhat more than reports assume."""
LEAST_RATINGS = 10
"""Fewer ratings may be alike because the pictures are."""
LEAST_SESSIONS = 5
"""Fewer other sessions don't show how people answer."""


def active(protocol: Protocol) -> tuple[str, ...]:
    """Return the rules that a protocol has and that can apply to its task, in the order of REASONS."""
    # Only real or fake can be guessed, and marks have no sides.
    never = {"realness": (), "tag": ("one_sided", "guessing")}.get(protocol.task, ("guessing",))
    return tuple(r for r, name in FIELDS.items() if r not in never and getattr(protocol, name) != FORMERLY[name])


def vigilance_needed(protocol: Protocol) -> int:
    """Return how many vigilance trials a session must get right to count; 0 for none."""
    return math.ceil(protocol.vigilance_pass * protocol.counts["vigilance"] - 1e-9)


def fails_vigilance(protocol: Protocol, right: float) -> bool:
    """Return whether a session gets too few vigilance trials right.

    Args:
        right: the part that it gets right; NaN without any.
    """
    return right < protocol.vigilance_pass - 1e-9


def shortest_ms(protocol: Protocol, exposure_ms: Any = None) -> Any:
    """Return the least time on the server, in ms, from a trial's reveal to its vote: the blanks and exposures.

    Args:
        protocol: the study's.
        exposure_ms: as planned for each trial, where a staircase adapts it.
    """
    exposure = protocol.exposure_ms if exposure_ms is None else np.asarray(exposure_ms, float)
    shown = 2 if protocol.presentation == "sequence" else 1
    return shown * (protocol.blank_ms + exposure)


def impossible(protocol: Protocol, server_ms: Any, resumed: Any = False, exposure_ms: Any = None) -> np.ndarray:
    """Return which trials are impossible, because the server saw less time than their pictures need.

    Args:
        server_ms: the server's time from reveal to vote; NaN where unknown, as in other tools' votes.
        resumed: the page was reloaded after the reveal, so the pictures need not have been shown to the end.
        exposure_ms: see `shortest_ms`.
    """
    shortest = shortest_ms(protocol, exposure_ms)
    return (np.asarray(server_ms, float) < shortest - TOLERANCE_MS) & ~np.asarray(resumed, bool)


def broken_rules(
    protocol: Protocol, *, first: Any, second: Any, response_ms: Any, server_ms: Any, resumed: Any, focus_lost: Any,
    rating: Any = None, exposure_ms: Any = None,
) -> dict[str, np.ndarray]:
    """Return, for each rule over a session's own votes, which sessions break it.

    All arguments have the shape (…, test trials); the results have the shape (…).

    Args:
        first, second: the answer is left (of single pictures: real), or right (fake). A tie or marks are neither.
        response_ms: the browser's time from the question to the answer; NaN where unknown.
        server_ms, resumed: see `impossible`.
        focus_lost: the page lost the focus while its pictures were shown.
        rating: of the task `rate`, 1 to 5; NaN where unknown.
        exposure_ms: see `shortest_ms`.
    """
    server_ms, resumed = np.asarray(server_ms, float), np.asarray(resumed, bool)
    # A browser can claim any time, but no longer one than the server saw.
    answered = np.fmin(np.asarray(response_ms, float), np.maximum(server_ms - shortest_ms(protocol, exposure_ms), 0))
    answered = np.where(resumed, np.nan, answered)
    known = np.isfinite(answered).sum(-1)
    fast = (answered < protocol.fast_ms).sum(-1) > known / 2
    if protocol.task == "rate":
        one_sided = _one_rating(protocol, np.asarray(rating, float))
    else:
        one_sided = _one_sided(protocol, np.asarray(first, bool).sum(-1), np.asarray(second, bool).sum(-1))
    away = (resumed | np.asarray(focus_lost, bool)).mean(-1)
    return {
        "impossible": impossible(protocol, server_ms, resumed, exposure_ms).mean(-1) > protocol.impossible_most + 1e-9,
        "fast": fast & bool(protocol.fast_ms),
        "one_sided": one_sided,
        "away": away > protocol.away_most + 1e-9,
    }


def first_broken(protocol: Protocol, votes: Mapping[str, Any]) -> str:
    """Return the first rule that one session breaks, of those over its own votes; "" for none.

    Args:
        votes: the columns chosen_side, verdict, rating, response_ms, server_ms, resumed, focus_lost and
            exposure_planned_ms of its test trials.
    """
    answers = [side or verdict for side, verdict in zip(votes["chosen_side"], votes["verdict"], strict=True)]
    ratings = [np.nan if value is None else float(value) for value in votes["rating"]]
    if not answers:
        return ""
    found = broken_rules(
        protocol, first=np.isin(answers, ("left", "real")), second=np.isin(answers, ("right", "fake")),
        rating=ratings, exposure_ms=votes["exposure_planned_ms"],
        **{name: votes[name] for name in ("response_ms", "server_ms", "resumed", "focus_lost")},
    )  # fmt: skip
    return next((rule for rule in REASONS if rule in found and found[rule]), "")


def _one_sided(protocol: Protocol, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    from scipy import stats

    most, total = np.maximum(first, second), first + second
    half = (1 - SIDES) / SIDES / 2
    likely = 2 * stats.betabinom.sf(most - 1, total, half, half)
    return (most >= protocol.one_sided * total - 1e-9) & (likely < CHANCE) & bool(protocol.one_sided)


def _one_rating(protocol: Protocol, rating: np.ndarray) -> np.ndarray:
    """Return which sessions give one rating nearly always, in LEAST_RATINGS trials or more."""
    most = np.max([(rating == value).sum(-1) for value in range(1, len(RATINGS) + 1)], axis=0)
    total = np.isfinite(rating).sum(-1)
    return (most >= protocol.one_sided * total - 1e-9) & (total >= LEAST_RATINGS) & bool(protocol.one_sided)


def guessing(protocol: Protocol, correct: Any, answered: Any) -> np.ndarray:
    """Return which sessions of one arm answer as coins do, where the others don't.

    A session is left out if coins are right as often as it is, or more often, with a probability of ALIKE at least,
    and somebody like the others is right as rarely with less than `guessing_p`. The others are the sessions that don't
    answer as coins do, described by a beta-binomial distribution with their mean and CORRELATION. Unless they are two
    thirds, and LEAST_SESSIONS, nobody is left out: where people can't distinguish the pictures, all answer as coins.

    Args:
        correct, answered: per session, the number of right answers and of answers that can be right, in the test.
            Leave out sessions that another rule leaves out.
    """
    from scipy import stats

    correct, answered = np.asarray(correct, float), np.asarray(answered, float)
    as_coins = stats.binom.sf(correct - 1, answered, 0.5) >= ALIKE
    others = int((~as_coins).sum())
    if not protocol.guessing_p or others < max(LEAST_SESSIONS, 2 * len(correct) / 3):
        return np.zeros(len(correct), bool)
    mean = float(np.clip(correct[~as_coins].sum() / answered[~as_coins].sum(), 0.01, 0.99))
    spread = (1 - CORRELATION) / CORRELATION
    as_others = stats.betabinom.cdf(correct, answered, mean * spread, (1 - mean) * spread)
    return as_coins & (as_others < protocol.guessing_p) & (answered > 0)
