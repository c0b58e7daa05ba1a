"""Sessions that the protocol's rules leave out, the figure with them, and sessions that look like one person."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.study import rules, statistics
from cyclegan.study.format import Study
from cyclegan.study.report.judging import BY_RULE, DISQUALIFIED, FAILED_VIGILANCE, before_votes, session_status
from cyclegan.study.report.names import state_of

if TYPE_CHECKING:
    import pandas as pd

LEAST_ANSWERS = 10
"""Fewer answers show no rhythm."""
SAME_PACE = (0.1, 0.25)
"""Logarithms of response times are alike if their medians, and their standard deviations as a ratio's logarithm, differ
by less."""


def left_out_by_rule(study: Study, left_out: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the protocol's rules in words, each with the number of sessions that it leaves out.

    Args:
        left_out: reasons, each with the number of its sessions.
    """
    p, counts = study.protocol, {each["reason"]: each["count"] for each in left_out}
    least = f"{rules.shortest_ms(p):.0f} ms"
    if p.staircase_right:
        least = f"{p.blank_ms} ms and each trial's own exposure"
    sides = (
        f"{p.one_sided:.0%} of the answers or more {'alike' if p.presentation == 'single' else 'on one side'}, in a "
        f"session long enough that this happens to fewer than {rules.CHANCE:.1%} of people who look"
    )
    if p.task == "rate":
        sides = f"one rating in {p.one_sided:.0%} of the test trials or more, of {rules.LEAST_RATINGS} at least"
    words = {
        "impossible": f"more than {p.impossible_most:.0%} of the test trials answered before their pictures could "
        f"have been shown, which takes {least} (less {rules.TOLERANCE_MS} ms for the clocks)",
        "fast": f"most test trials answered sooner than {p.fast_ms} ms after the question",
        "one_sided": sides,
        "away": f"page left or reloaded in more than {p.away_most:.0%} of the test trials",
        "guessing": "answers as coins give them, which somebody like the others gives with a probability below "
        f"{p.guessing_p:g}",
    }  # fmt: skip
    found = [{"rule": words[rule], "sessions": counts.get(rules.REASONS[rule], 0)} for rule in rules.active(p)]
    if p.vigilance_pass:
        said = f"vigilance trials right: fewer than {rules.vigilance_needed(p)} of {p.counts['vigilance']}"
        found.insert(0, {"rule": said, "sessions": counts.get(FAILED_VIGILANCE, 0)})
    return found


def by_epoch(study: Study, frame: pd.DataFrame, sessions: pd.DataFrame, origin: str) -> list[dict[str, Any]]:
    """Return how many sessions of each epoch started and count, and why the others don't; nothing where sessions judge
    several.

    Args:
        frame: judged votes.
        sessions: as returned by `Store.sessions`.
        origin: people, or simulated.
    """
    if len(study.arms) < 2:
        return []
    voted = frame.drop_duplicates("session_id")
    statuses = [(int(row.arm), row.session_status) for row in voted.itertuples(index=False)]
    if len(sessions):  # Those who left before the first vote.
        known, others = set(voted["session_id"]), sessions[sessions["origin"] == origin]
        statuses += [(getattr(row, "arm", None), before_votes(row)) for row in others.itertuples(index=False)
                     if row.session_id not in known]  # fmt: skip
    found = []
    for arm, (epoch,) in enumerate(study.arms):
        counts = Counter(status for each, status in statuses if each == arm)
        counted = counts.pop("", 0)
        found.append({"epoch": epoch, "sessions": counted + counts.total(), "reasons": dict(sorted(counts.items())),
                      "counted": counted})  # fmt: skip
    return found


def rate_with_them(frame: pd.DataFrame, epoch: int) -> statistics.Rate | None:
    """Return an epoch's fooling rate with the sessions and votes that rules leave out; None if they leave out none."""
    rows = frame[(frame["phase"] == "test") & (frame["kind"] == "comparison") & (frame["epoch"] == epoch)
                 & frame["fooled"].notna() & frame["session_status"].isin(["", *BY_RULE])]
    return None if rows["counted"].all() else statistics.clustered_rate(rows["fooled"], rows["participant"])


# --- one person -----------------------------------------------------------------------------------------------


def alike(frame: pd.DataFrame, sessions: pd.DataFrame, origin: str = "people") -> list[dict[str, Any]]:
    """Return groups of sessions that look like one person: one address code, and one screen or one rhythm.

    They share a network, so they can be a family or a class as well: nobody is left out for it.

    Args:
        frame: judged votes.
        sessions: as returned by `Store.sessions`.
        origin: people, or simulated.

    Returns:
        For each group its session ids, what all its members share: address, and screen, rhythm; and those that count.
    """
    if "address_code" not in sessions or not sessions["address_code"].notna().any():
        return []
    paces, status = dict(_paces(frame)), session_status(frame)
    known = sessions[sessions["address_code"].notna() & (sessions["origin"] == origin)]
    groups: list[dict[str, Any]] = []
    for _, rows in known.groupby("address_code"):
        screens = {row.session_id: _screen(row.screen) for row in rows.itertuples(index=False)}
        linked: dict[str, set[str]] = {session: {session} for session in screens}
        for a, b in combinations(screens, 2):
            if (screens[a] and screens[a] == screens[b]) or _same_pace(paces.get(a), paces.get(b)):
                together = linked[a] | linked[b]
                linked.update(dict.fromkeys(together, together))
        for members in {id(group): sorted(group) for group in linked.values() if len(group) > 1}.values():
            shared = ["address"]
            first = screens[members[0]]
            shared += ["screen"] * (first is not None and all(screens[session] == first for session in members))
            pairs = combinations(members, 2)
            shared += ["rhythm"] * all(_same_pace(paces.get(a), paces.get(b)) for a, b in pairs)
            counted = [session for session in members if status.get(session) == ""]
            groups.append({"sessions": members, "shared": shared, "counted": counted})
    return groups


def _screen(screen: Any) -> tuple[Any, ...] | None:
    if not isinstance(screen, Mapping) or "width" not in screen:
        return None
    return tuple(screen.get(name) for name in ("width", "height", "dpr"))


def _paces(frame: pd.DataFrame) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield the median and standard deviation of each session's logarithms of response times."""
    for session, times in frame["response_ms"].groupby(frame["session_id"]):
        logs = np.log(np.maximum(1, times.dropna().to_numpy(float)))
        if len(logs) >= LEAST_ANSWERS:
            yield session, (float(np.median(logs)), float(np.std(logs)))


def _same_pace(a: tuple[float, float] | None, b: tuple[float, float] | None) -> bool:
    if a is None or b is None:
        return False
    spread = abs(math.log((a[1] + 0.01) / (b[1] + 0.01)))
    return abs(a[0] - b[0]) < SAME_PACE[0] and spread < SAME_PACE[1]


# --- in words ---------------------------------------------------------------------------------------------------


def words(
    report: Mapping[str, Any], names: Any, table: Any, percent: Any, interval: Any, escape: Callable[[str], str]
) -> list[str]:
    """Return the Markdown about these rules and sessions; nothing for a protocol without rules.

    Args:
        names, table, percent, interval, escape: as `cyclegan.study.report.markdown` writes them.
    """
    parts = []
    if report["rules"]:
        parts.append("Rules that leave out sessions, fixed in the protocol before the first vote:")
        rows = [[each["rule"], each["sessions"]] for each in report["rules"]]
        parts.append(table(["rule", "sessions left out"], rows))
        if any(each["sessions"] for each in report["rules"]):
            parts.append("A session that breaks several rules is counted at one of them.")
    parts += _by_epoch_words(report, names, table, escape)
    if state_of(report) == "always_valid" and any(each["sessions"] for each in report["rules"]):
        parts.append("The figure with these sessions is given once the planned participants are reached.")
    both = [e for e in report["epochs"] if e["with_left_out"] and e["with_left_out"]["rate"] is not None]
    if both:
        parts.append("The figure without and with those sessions, and without and with votes at impossible times:")
        parts.append(table(
            [names.kind, "fooling rate", "with them", "95%, participants", "participants", "trials"],
            [[names.short(e["epoch"]), percent(e["fooling_rate"]), percent(e["with_left_out"]["rate"]),
              interval(e["with_left_out"]["interval"]), e["with_left_out"]["participants"],
              e["with_left_out"]["trials"]] for e in both],
        ))  # fmt: skip
    if report["alike"]:
        groups = "; ".join(
            ", ".join(s[:8] + ("" if s in each["counted"] else " (doesn't count)") for s in each["sessions"])
            + f": {_shared(each['shared'])}" for each in report["alike"]
        )
        parts.append(
            f"Sessions that look like one person's, or like those of a family or class: {groups}. Nobody is left out "
            "for it; `study exclude` takes such a number in place of the participant's name, and leaves a session out."
        )
    return parts


def _shared(what: Sequence[str]) -> str:
    """Return what sessions have in common."""
    if what == ["address"]:
        return "same address, and each the same screen or rhythm as another one"
    return f"same {' and '.join(what)}"


def _by_epoch_words(report: Mapping[str, Any], names: Any, table: Any, escape: Callable[[str], str]) -> list[str]:
    """Return the sessions of each epoch, and why some don't count; nothing if all do."""
    rows = report["left_out_by_epoch"]
    reasons = sorted({reason for row in rows for reason in row["reasons"]})
    if not reasons:
        return []
    parts = [table([f"sessions by {names.kind}", "started", *map(escape, reasons), "count"],
                   [[names.short(row["epoch"]), row["sessions"],
                     *(row["reasons"].get(reason, 0) for reason in reasons), row["counted"]]
                    for row in rows])]  # fmt: skip
    if DISQUALIFIED in reasons:
        parts.append(
            f"Practice shows the fakes of the {names.kind} that is judged, so better fakes disqualify more people, and "
            f"those who remain see better: compare {names.kind}s with caution where these numbers differ."
        )
    return parts
