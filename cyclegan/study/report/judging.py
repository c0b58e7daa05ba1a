"""Votes, judged: what each answer means, and whether it counts."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.study import rules, statistics
from cyclegan.study.format import Study
from cyclegan.study.votes import WATCHFUL

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "study_id", "session_id", "participant", "origin", "arm", "slot", "language", "started_at", "completed",
    "disqualified", "excluded", "exclusion_reason", "trial_index", "phase", "kind", "left_stimulus", "right_stimulus",
    "epoch_left", "epoch_right", "commit_sha", "direction", "real_side", "chosen_side", "verdict", "marks",
    "rating", "exposure_planned_ms", "exposure_left_ms", "exposure_right_ms", "exposure_left_clock_ms",
    "exposure_right_clock_ms", "frames", "longest_frame_ms", "focus_lost",
    "resumed", "response_ms", "server_ms", "picture_css_px", "picture_device_px", "window_width",
    "window_height", "stacked", "server_time",
)  # fmt: skip
"""Columns of a vote in tables, without its token's hash, which is secret."""
DERIVED = ("epoch", "fooled", "correct", "exposure_marked", "impossible", "counted", "why_not")
TEXT = ("study_id", "session_id", "participant", "origin", "language", "exclusion_reason", "phase", "kind",
        "left_stimulus", "right_stimulus", "commit_sha", "direction", "real_side", "chosen_side", "verdict", "marks",
        "why_not")
FLAGS = ("completed", "disqualified", "excluded", "focus_lost", "resumed")
NUMBERS = ("epoch_left", "epoch_right", "rating", "exposure_planned_ms", "exposure_left_ms", "exposure_right_ms",
           "exposure_left_clock_ms", "exposure_right_clock_ms", "response_ms", "server_ms", "trial_index",
           "longest_frame_ms", "picture_css_px", "picture_device_px", "window_width", "window_height")
FAILED_VIGILANCE = "failed vigilance"
DISQUALIFIED = "disqualified in practice"
BY_RULE = (FAILED_VIGILANCE, *rules.REASONS.values())
"""Statuses of sessions that a rule of the protocol leaves out."""
OPPOSITE = {"left": "right", "right": "left"}


def judge(study: Study, votes: pd.DataFrame) -> pd.DataFrame:
    """Return the votes with derived columns.

    `taken`: the side taken for real, or preferred; tie. `truth`: the kind of the picture on that side, or of the only
    picture. `epoch`: of the fake that is judged. `stimulus`: that fake. `partner`: the real picture next to it.
    `fooled`: a fake was taken for real; empty where the trial judges no fake. `correct`. `exposure_error_ms`: the
    larger of a trial's; infinite if not measured. `exposure_marked`. `impossible`: the server saw less time than the
    pictures need, where the protocol has a rule for it. `session_status`: why the session doesn't count, or "".
    `counted`. `why_not`.
    """
    import pandas as pd

    frame = votes.reindex(columns=list(dict.fromkeys([*votes.columns, *COLUMNS]))).reset_index(drop=True)
    for column in FLAGS:
        frame[column] = np.array([bool(known(value)) for value in frame[column]], bool)
    for column in NUMBERS:
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype(float)
    frame["participant"] = frame["participant"].where(frame["participant"].notna(), frame["session_id"])
    kinds = {sha256: stimulus.kind for sha256, stimulus in study.by_hash.items()}
    derived = pd.DataFrame(
        [_derived(study, kinds, row) for row in frame.itertuples(index=False)], index=frame.index,
        columns=["taken", "truth", "epoch", "stimulus", "partner", "fooled", "correct", "exposure_error_ms"],
    )  # fmt: skip
    numbers = ["epoch", "fooled", "correct", "exposure_error_ms"]
    derived[numbers] = derived[numbers].astype(float)
    derived["exposure_marked"] = derived["exposure_error_ms"] > statistics.TOLERANCE_MS
    frame = pd.concat([frame.drop(columns=[c for c in derived if c in frame]), derived], axis=1)
    frame["impossible"] = np.zeros(len(frame), bool)
    if "impossible" in rules.active(study.protocol):
        planned = frame["exposure_planned_ms"] if study.protocol.staircase_right else None
        frame["impossible"] = rules.impossible(study.protocol, frame["server_ms"], frame["resumed"], planned)
    frame["session_status"] = frame["session_id"].map(_judged_sessions(study, frame)).astype(object)
    columns = (frame[name] for name in ("session_status", "phase", "kind", "impossible"))
    reasons = [_why_not(*row) for row in zip(*columns, strict=True)]
    frame["why_not"] = reasons
    frame["counted"] = np.array([not reason for reason in reasons], bool)  # Also without a row.
    return frame


def _derived(study: Study, kinds: dict[str, str], row: Any) -> tuple[Any, ...]:
    """Return one vote's taken, truth, epoch, stimulus, partner, fooled, correct and exposure_error_ms."""
    left, right = known(row.left_stimulus), known(row.right_stimulus)
    chosen, verdict = known(row.chosen_side), known(row.verdict)
    asked_for_real = study.protocol.question == "real" or study.protocol.task == "pick"
    taken = chosen if asked_for_real else OPPOSITE.get(chosen or "", chosen)
    fooled = correct = float("nan")
    stimulus = partner = None
    epochs = {e for e in (row.epoch_left, row.epoch_right) if e == e}
    kind_left = kinds.get(left or "") or ("fake" if row.epoch_left == row.epoch_left else "real")
    if right is None:
        truth = kind_left
        stimulus = left if truth != "real" else None
        if row.rating == row.rating and row.kind == "vigilance":
            correct = float(row.rating <= WATCHFUL)
        if verdict is not None:
            correct = float((verdict == "real") == (truth == "real"))
            fooled = float(verdict == "real") if truth == "fake" else fooled
    else:
        kind_right = kinds.get(right) or ("fake" if row.epoch_right == row.epoch_right else "real")
        truth = {"left": kind_left, "right": kind_right}.get(taken or "")
        sides = {"left": (left, right), "right": (right, left)}
        if row.real_side in sides:
            partner, stimulus = sides[row.real_side]
        if row.kind == "vigilance" and chosen is not None:  # A tie isn't a correct answer here.
            correct = float(truth not in (None, "broken"))
        elif truth is not None and row.real_side in sides:
            correct = float(taken == row.real_side)
            fooled = 1 - correct
    if row.kind != "comparison" or not study.protocol.gives_rate:
        fooled = float("nan")
    epoch = epochs.pop() if len(epochs) == 1 else float("nan")
    return taken, truth, epoch, stimulus, partner, fooled, correct, _exposure_error(row)


def _judged_sessions(study: Study, frame: pd.DataFrame) -> dict[str, str]:
    """Return why a session doesn't count, or "" if it does, by session id.

    Args:
        frame: votes with `correct`.
    """
    test = frame["phase"] == "test"
    watched = frame["correct"].where(test & (frame["kind"] == "vigilance"))
    sessions = frame[["session_id", "origin", *FLAGS[:3], "exclusion_reason"]].drop_duplicates("session_id")
    in_test = test.groupby(frame["session_id"]).sum()
    vigilance = watched.groupby(frame["session_id"]).mean()
    people = bool((frame["origin"] == "people").any())
    found = {}
    for row in sessions.itertuples(index=False):
        reason = ""
        if people and row.origin == "simulated":
            reason = "simulated"
        elif row.excluded:
            reason = excluded_because(row)
        elif row.disqualified:
            reason = DISQUALIFIED
        elif not row.completed and in_test[row.session_id] < study.protocol.test_trials:
            reason = "session not complete"
        elif rules.fails_vigilance(study.protocol, vigilance[row.session_id]):
            reason = FAILED_VIGILANCE
        found[row.session_id] = reason
    return found | _left_out_by_rule(study, frame[test], [session for session, reason in found.items() if not reason])


def _left_out_by_rule(study: Study, test: pd.DataFrame, sessions: list[str]) -> dict[str, str]:
    """Return why a rule leaves a session out, by session id, of those that no other reason leaves out.

    Args:
        test: test trials with `correct`.
    """
    protocol, found = study.protocol, {}
    if not rules.active(protocol):
        return found
    test = test[test["session_id"].isin(sessions)].sort_values("session_id", kind="stable")
    of_pair = (test["kind"] == "comparison") & test["correct"].notna()
    votes = test[["session_id", "arm", "response_ms", "server_ms", "resumed", "focus_lost", "rating"]].assign(
        first=test["chosen_side"].eq("left") | test["verdict"].eq("real"),
        second=test["chosen_side"].eq("right") | test["verdict"].eq("fake"),
        answered=of_pair, right=test["correct"].eq(1) & of_pair,
    ).fillna({"first": False, "second": False})  # fmt: skip
    if protocol.staircase_right:
        votes["exposure_ms"] = test["exposure_planned_ms"]
    ends = []
    for n, rows in votes.groupby(votes.groupby("session_id")["arm"].transform("size")):
        columns = {name: rows[name].to_numpy().reshape(-1, n) for name in rows}
        names, arms = (columns.pop(name)[:, 0] for name in ("session_id", "arm"))
        right, answered = (columns.pop(name).sum(1) for name in ("right", "answered"))
        broken = rules.broken_rules(protocol, **columns)
        for rule in reversed(broken):
            found |= dict.fromkeys(names[broken[rule]], rules.REASONS[rule])
        ends += zip(arms, names, right, answered, strict=True)
    kept = [end for end in ends if end[1] not in found]
    for arm in {end[0] for end in kept}:
        _, names, right, answered = zip(*(end for end in kept if end[0] == arm), strict=True)
        found |= dict.fromkeys(np.array(names)[rules.guessing(protocol, right, answered)], rules.REASONS["guessing"])
    return found


def session_status(judged: pd.DataFrame) -> dict[str, str]:
    """Return why a session doesn't count, or "", by session id."""
    sessions = judged.drop_duplicates("session_id")
    return dict(zip(sessions["session_id"], sessions["session_status"], strict=True))


def before_votes(row: Any) -> str:
    """Return why a session that has left before its first vote doesn't count."""
    return excluded_because(row) if known(getattr(row, "excluded", False)) else "session not complete"


def excluded_because(row: Any) -> str:
    """Return the status of an excluded session."""
    return f"excluded: {known(getattr(row, 'exclusion_reason', None)) or 'no reason given'}"


def _why_not(status: str, phase: str, kind: str, impossible: bool) -> str:
    if phase != "test":
        return status or "practice"
    controls = {"comparison": "", "vigilance": "vigilance trial", "real_real": "control", "repeat": "repeated pair"}
    return status or controls.get(kind, kind) or ("impossible time" if impossible else "")


def _exposure_error(row: Any) -> float:
    """Return the largest difference from the planned exposure, in ms, by the frames' times and by the clock.

    Infinite if not measured, NaN if not planned. Older votes have no times by the clock.
    """
    planned = row.exposure_planned_ms
    if planned != planned or not planned:
        return float("nan")
    measured, clocked = [row.exposure_left_ms], [row.exposure_left_clock_ms]
    if known(row.right_stimulus) is not None:
        measured.append(row.exposure_right_ms)
        clocked.append(row.exposure_right_clock_ms)
    measured += [value for value in clocked if value == value]
    return max(abs(value - planned) if value == value else math.inf for value in measured)


def known(value: Any) -> Any:
    """Return the value, or None for any of a table's ways to mark a missing one."""
    return None if value is None or str(value) in ("nan", "None", "<NA>", "") else value


def to_table(votes: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return a tidy row for each vote, whether it counts or not, with `fooled`, `correct`, `counted`, `why_not`."""
    frame = judge(study, votes)
    frame["study_id"] = study.study_id
    frame["marks"] = [value if _is_text(value) else json.dumps(value) if isinstance(value, list) else None
                      for value in frame["marks"]]
    for column in ("fooled", "correct"):
        frame[column] = frame[column].astype("boolean")
    for column in ("epoch", "epoch_left", "epoch_right", "trial_index"):
        frame[column] = frame[column].astype("Int64")
    named: tuple[str, ...] = ()
    if study.labels:  # Of the fake that is judged, and in picking of the two.
        named = ("method", "method_left", "method_right")
        for column, of in zip(named, ("epoch", "epoch_left", "epoch_right"), strict=True):
            frame[column] = frame[of].map(study.labels)
    for column in (*TEXT, *named):
        frame[column] = frame[column].astype("string")
    order = ["participant", "session_id", "trial_index"]
    return frame[[*COLUMNS, *DERIVED, *named]].sort_values(order, kind="stable").reset_index(drop=True)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
