"""A study's report: what was asked, who counted, and the figures with their intervals; as JSON, Markdown and tables.

What counts: the test trials that compare, of every session that is complete, not excluded, not disqualified, and that
passed the protocol's vigilance rule. Practice, vigilance trials, controls and repeats never count towards a rate.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from cyclegan.errors import StudyError
from cyclegan.files import write_bytes
from cyclegan.study import statistics
from cyclegan.study.format import Study

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 1
FORMATS = ("md", "json", "csv", "parquet")
COLUMNS = (
    "study_id", "session_id", "participant", "origin", "arm", "slot", "language", "started_at", "completed",
    "disqualified", "excluded", "exclusion_reason", "trial_index", "phase", "kind", "left_stimulus", "right_stimulus",
    "epoch_left", "epoch_right", "commit_sha", "direction", "real_side", "chosen_side", "verdict", "marks",
    "exposure_planned_ms", "exposure_left_ms", "exposure_right_ms", "frames", "longest_frame_ms", "focus_lost",
    "resumed", "response_ms", "server_ms", "server_time",
)  # fmt: skip
"""Of a vote, for tables; its token's hash is nobody's business."""
DERIVED = ("epoch", "fooled", "correct", "exposure_marked", "counted", "why_not")
TEXT = ("study_id", "session_id", "participant", "origin", "language", "exclusion_reason", "phase", "kind",
        "left_stimulus", "right_stimulus", "commit_sha", "direction", "real_side", "chosen_side", "verdict", "marks",
        "why_not")
FLAGS = ("completed", "disqualified", "excluded", "focus_lost", "resumed")
COUNTING_RULE = (
    "A rate counts the test trials that compare, of complete sessions that were not excluded, not disqualified, and "
    "that passed the vigilance rule if the protocol has one. Practice, vigilance trials, controls and repeated pairs "
    "never count."
)


_MARKS = re.compile(r"[\\`*_\[\]|#!~$]")
"""What Markdown takes for more than text; < > & aside, which are written as entities."""
_SCENE = re.compile(r"[ab]:\d+:")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


# --- votes, judged ------------------------------------------------------------------------------------------


def judge(study: Study, votes: pd.DataFrame) -> pd.DataFrame:
    """The votes with what follows from them.

    Added columns: `taken` (the side taken for real, or preferred; tie), `truth` (the kind of the picture at that side,
    or of the only one), `epoch` (of the fake that is judged), `stimulus` (that fake), `partner` (the real picture
    beside it), `fooled` (a fake was taken for real; empty where the trial has none to judge), `correct`,
    `exposure_error_ms` (the larger of a trial's; infinite if not measured), `exposure_marked`, `session_status` (why
    its session doesn't count, or ""), `counted`, `why_not`.
    """
    import pandas as pd

    frame = votes.reindex(columns=list(dict.fromkeys([*votes.columns, *COLUMNS]))).reset_index(drop=True)
    for column in FLAGS:
        frame[column] = np.array([bool(_known(value)) for value in frame[column]], bool)
    for column in ("epoch_left", "epoch_right", "exposure_planned_ms", "exposure_left_ms", "exposure_right_ms",
                   "response_ms", "trial_index", "longest_frame_ms"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype(float)
    frame["participant"] = frame["participant"].where(frame["participant"].notna(), frame["session_id"])
    kinds = {sha256: stimulus.kind for sha256, stimulus in study.by_hash.items()}
    opposite = {"left": "right", "right": "left"}
    asked_for_real = study.protocol.question == "real" or study.protocol.task == "pick"
    rows = []
    for row in frame.itertuples(index=False):
        left, right = _known(row.left_stimulus), _known(row.right_stimulus)
        chosen, verdict = _known(row.chosen_side), _known(row.verdict)
        taken = chosen if asked_for_real else opposite.get(chosen or "", chosen)
        fooled = correct = float("nan")
        stimulus = partner = None
        epochs = {e for e in (row.epoch_left, row.epoch_right) if e == e}
        kind_left = kinds.get(left or "") or ("fake" if row.epoch_left == row.epoch_left else "real")
        if right is None:
            truth = kind_left
            stimulus = left if truth != "real" else None
            if verdict is not None:
                correct = float((verdict == "real") == (truth == "real"))
                fooled = float(verdict == "real") if truth == "fake" else fooled
        else:
            kind_right = kinds.get(right) or ("fake" if row.epoch_right == row.epoch_right else "real")
            truth = {"left": kind_left, "right": kind_right}.get(taken or "")
            sides = {"left": (left, right), "right": (right, left)}
            if row.real_side in sides:
                partner, stimulus = sides[row.real_side]
            if row.kind == "vigilance" and chosen is not None:  # A tie is no right answer here.
                correct = float(truth not in (None, "broken"))
            elif truth is not None and row.real_side in sides:
                correct = float(taken == row.real_side)
                fooled = 1 - correct
        if row.kind != "comparison" or study.protocol.task != "realness":
            fooled = float("nan")
        epoch = epochs.pop() if len(epochs) == 1 else float("nan")
        rows.append((taken, truth, epoch, stimulus, partner, fooled, correct, _exposure_error(row)))
    numbers = ["epoch", "fooled", "correct", "exposure_error_ms"]
    derived = pd.DataFrame(rows, columns=["taken", "truth", "epoch", "stimulus", "partner", *numbers[1:]],
                           index=frame.index)
    derived[numbers] = derived[numbers].astype(float)
    derived["exposure_marked"] = derived["exposure_error_ms"] > statistics.TOLERANCE_MS
    frame = pd.concat([frame.drop(columns=[c for c in derived if c in frame]), derived], axis=1)
    status = _session_status(study, frame)
    frame["session_status"] = frame["session_id"].map(status).astype(object)
    reasons = [_why_not(*row) for row in zip(frame["session_status"], frame["phase"], frame["kind"], strict=True)]
    frame["why_not"] = reasons
    frame["counted"] = np.array([not reason for reason in reasons], bool)  # Also without a row.
    return frame


def _session_status(study: Study, frame: pd.DataFrame) -> dict[str, str]:
    """Why a session doesn't count, or "" if it does, by session id.

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
            reason = _excluded(row)
        elif row.disqualified:
            reason = "disqualified in practice"
        elif not row.completed and in_test[row.session_id] < study.protocol.test_trials:
            reason = "session not complete"
        elif vigilance[row.session_id] < study.protocol.vigilance_pass - 1e-9:
            reason = "failed vigilance"
        found[row.session_id] = reason
    return found


def _excluded(row: Any) -> str:
    return f"excluded: {_known(getattr(row, 'exclusion_reason', None)) or 'no reason given'}"


def _why_not(status: str, phase: str, kind: str) -> str:
    if phase != "test":
        return status or "practice"
    controls = {"comparison": "", "vigilance": "vigilance trial", "real_real": "control", "repeat": "repeated pair"}
    return status or controls.get(kind, kind)


def _exposure_error(row: Any) -> float:
    """The larger difference from the planned exposure, in ms; infinite if one wasn't measured, NaN if none planned."""
    planned = row.exposure_planned_ms
    if planned != planned or not planned:
        return float("nan")
    measured = [row.exposure_left_ms]
    if _known(row.right_stimulus) is not None:
        measured.append(row.exposure_right_ms)
    return max(abs(value - planned) if value == value else math.inf for value in measured)


def _known(value: Any) -> Any:
    """The value, or None for any of a table's ways to have none."""
    return None if value is None or str(value) in ("nan", "None", "<NA>", "") else value


def to_table(votes: pd.DataFrame, study: Study) -> pd.DataFrame:
    """A tidy row per vote, practice and left-out ones too, with `fooled`, `correct`, `counted`, `why_not`."""
    frame = judge(study, votes)
    frame["study_id"] = study.study_id
    frame["marks"] = [value if _known_text(value) else json.dumps(value) if isinstance(value, list) else None
                      for value in frame["marks"]]
    for column in ("fooled", "correct"):
        frame[column] = frame[column].astype("boolean")
    for column in ("epoch", "epoch_left", "epoch_right", "trial_index"):
        frame[column] = frame[column].astype("Int64")
    for column in TEXT:
        frame[column] = frame[column].astype("string")
    order = ["participant", "session_id", "trial_index"]
    return frame[[*COLUMNS, *DERIVED]].sort_values(order, kind="stable").reset_index(drop=True)


def _known_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


# --- the report ---------------------------------------------------------------------------------------------


def make_report(study: Study, votes: pd.DataFrame, sessions: pd.DataFrame) -> dict[str, Any]:
    """Everything that a study says, as plain JSON values; rates and intervals from 0 to 1, times in ms.

    Args:
        votes, sessions: as `Store.votes` and `Store.sessions` give them. People's sessions count; simulated ones only
            where there are no others, and then the report says so.
    """
    judged = judge(study, votes)
    people = bool(len(sessions)) and bool((sessions["origin"] == "people").any())
    people = people or bool((judged["origin"] == "people").any())
    origin = "people" if people else "simulated"
    simulated = not people and bool(len(sessions) or len(judged))
    frame = judged[judged["origin"] == origin]
    counted = frame[frame["counted"]]
    of_counted = frame[frame["session_id"].isin(counted["session_id"]) & (frame["phase"] == "test")]
    task = study.protocol.task
    report = {
        "format_version": FORMAT_VERSION,
        "study": {
            "study_id": study.study_id, "name": study.name, "title": study.title, "direction": study.direction,
            "domains": study.domains, "dataset": study.dataset, "seed": study.seed, "size": study.size,
        },
        "protocol": study.protocol.to_json(),
        "simulated": simulated,
        "participants": _participants(study, frame, sessions, origin),
        "trials": len(counted),
        "epochs": [_epoch(study, counted, epoch) for epoch in study.epochs],
        "trend": _trend(study, counted) if task == "realness" else None,
        "contrasts": _contrasts(study, counted) if task == "realness" else [],
        "response": _response(study, counted),
        "side_bias": _side_bias(study, counted, of_counted),
        "vigilance": _vigilance(study, frame),
        "repeats": _repeats(of_counted),
        "agreement": _agreement(study, counted),
        "exposure": _exposure(study, counted),
        "stimuli": _stimuli(study, counted),
        "pick": _pick(study, counted) if task == "pick" else None,
        "tag": _tag(counted) if task == "tag" else None,
    }  # fmt: skip
    report["notes"] = _notes(study, report)
    return _plain(report)


def _status(frame: pd.DataFrame) -> dict[str, str]:
    """Why a session doesn't count, or "", by session id."""
    sessions = frame.drop_duplicates("session_id")
    return dict(zip(sessions["session_id"], sessions["session_status"], strict=True))


def _participants(study: Study, frame: pd.DataFrame, sessions: pd.DataFrame, origin: str) -> dict[str, Any]:
    """How many started, finished, counted; and why the others don't."""
    status = _status(frame)
    started = len(status)
    in_test = (frame["phase"] == "test").groupby(frame["session_id"]).sum()
    rows = frame.drop_duplicates("session_id").itertuples(index=False)
    ended = {row.session_id: row for row in rows}
    left_out: dict[str, int] = {}
    if len(sessions):
        own = sessions[sessions["origin"] == origin]
        started = max(started, len(own))
        for row in own.itertuples(index=False):
            ended[row.session_id] = row
            if row.session_id not in status:  # Who left before the first vote.
                reason = "session not complete"
                if _known(getattr(row, "excluded", False)):
                    reason = _excluded(row)
                left_out[reason] = left_out.get(reason, 0) + 1

    def whole(session: str, row: Any) -> bool:
        """To the end, as for what counts: by its mark, or because all test trials are there."""
        marked = bool(_known(getattr(row, "completed", False)))
        every = in_test.get(session, 0) >= study.protocol.test_trials
        return (marked or every) and not _known(getattr(row, "disqualified", False))

    for reason in status.values():
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
    counted = sum(not reason for reason in status.values())
    return {
        "started": started,
        "completed": sum(whole(session, row) for session, row in ended.items()),
        "counted": counted,
        "left_out": [{"reason": reason, "count": left_out[reason]} for reason in sorted(left_out)],
    }


def _epoch(study: Study, counted: pd.DataFrame, epoch: int) -> dict[str, Any]:
    """The figures of one epoch."""
    checkpoint = next(c for c in study.checkpoints if c.epoch == epoch)
    rows = counted[counted["fooled"].notna() & (counted["epoch"] == epoch)]
    y, who = rows["fooled"], rows["participant"]
    rate = statistics.clustered_rate(y, who)
    realness = study.protocol.task == "realness"
    people, trials = rate.participants, rate.trials
    if not realness:  # What there is of an epoch in picking and tagging.
        rows = counted[(counted["epoch_left"] == epoch) | (counted["epoch_right"] == epoch)]
        people, trials = rows["participant"].nunique(), len(rows)
    result: dict[str, Any] = {
        "epoch": epoch,
        "commit_sha": checkpoint.commit_sha,
        "source": checkpoint.source,
        "fooling_rate": rate.rate,
        "interval": rate.interval,
        "interval_assumed": rate.assumed,
        "interval_crossed": None,
        "paper": statistics.paper_figure(y, who, study.seed),
        "wilson": statistics.wilson_interval(float(y.sum()), len(y)) if len(y) else None,
        "participants": people,
        "trials": trials,
        "participants_needed": None,
        "without_marked": None,
        "total_error": None,
    }
    if not realness:
        return result
    if len(rows):
        pictures = [rows["stimulus"]] + ([rows["partner"]] if rows["partner"].notna().all() else [])
        result["interval_crossed"] = statistics.crossed_interval(y, who, pictures)
        if rows["exposure_marked"].any():
            kept = rows[~rows["exposure_marked"]]
            result["without_marked"] = statistics.clustered_rate(kept["fooled"], kept["participant"])
    result["participants_needed"] = _needed(study, rate, y, who)
    if study.protocol.presentation == "single":
        result["total_error"] = _total_error(study, counted, epoch)
    return result


def _needed(study: Study, rate: statistics.Rate, values: Any, participants: Any) -> dict[str, Any]:
    """Participants for ± 5 and ± 3 points, from what was seen so far."""
    icc = statistics.correlation(values, participants)
    assumed = icc is None or rate.participants < statistics.MIN_PARTICIPANTS
    icc = statistics.ASSUMED_CORRELATION if icc is None or assumed else max(0.0, icc)
    expected = 0.27 if rate.rate is None else statistics.planning_rate(rate.rate)
    trials = statistics.trials_per_epoch(study.protocol, len(study.epochs))
    needed: dict[str, Any] = {"rate": expected, "correlation": icc, "assumed": assumed, "trials_each": trials}
    for points in (5, 3):
        total = statistics.participants_for(points / 100, expected, icc, trials)
        needed[f"for_{points}_points"] = total
        needed[f"still_for_{points}_points"] = max(0, total - rate.participants)
    return needed


def _total_error(study: Study, counted: pd.DataFrame, epoch: int) -> dict[str, Any]:
    """HYPE's figure: fakes taken for real and reals taken for fake, each half of it."""
    fakes = counted[(counted["truth"] == "fake") & (counted["epoch"] == epoch) & counted["correct"].notna()]
    reals = counted[(counted["truth"] == "real") & counted["session_id"].isin(fakes["session_id"])
                    & counted["correct"].notna()]
    wrong = [1 - fakes["correct"].to_numpy(), 1 - reals["correct"].to_numpy()]
    who = [fakes["participant"].to_numpy(object), reals["participant"].to_numpy(object)]
    both = None
    if len(fakes) and len(reals):
        weights = np.concatenate([np.full(len(part), 0.5 / len(part)) for part in wrong])
        both = statistics.clustered_rate(np.concatenate(wrong), np.concatenate(who), weights)
    return {
        "error": both.rate if both else None,
        "interval": both.interval if both else None,
        "fakes_for_real": statistics.clustered_rate(wrong[0], who[0]),
        "reals_for_fake": statistics.clustered_rate(wrong[1], who[1]),
    }


def _paired(study: Study) -> bool:
    """Whether a participant judges several epochs."""
    return len(study.arms) == 1 and len(study.epochs) > 1


def _trend(study: Study, counted: pd.DataFrame) -> Any:
    rows = counted[counted["fooled"].notna()]
    return statistics.trend(rows["fooled"], rows["participant"], rows["epoch"], paired=_paired(study), seed=study.seed)


def _contrasts(study: Study, counted: pd.DataFrame) -> list[dict[str, Any]]:
    rows = counted[counted["fooled"].notna()]
    if not len(rows):
        return []
    found = statistics.contrasts(rows["fooled"], rows["participant"], rows["epoch"], paired=_paired(study),
                                 seed=study.seed)
    rates = rows.groupby("epoch")["fooled"].mean()
    trials = statistics.trials_per_epoch(study.protocol, len(study.epochs))
    icc = _mean_correlation(rows)
    return [
        {
            **dataclasses.asdict(contrast),
            "participants_needed": statistics.participants_to_tell(
                float(rates[contrast.epoch_a]), float(rates[contrast.epoch_b]), icc, trials
            ),
        }
        for contrast in found
    ]


def _mean_correlation(rows: pd.DataFrame) -> float:
    """The intra-participant correlation, averaged over epochs; assumed where it can't be estimated."""
    found = []
    for _, of_epoch in rows.groupby("epoch"):
        icc = statistics.correlation(of_epoch["fooled"], of_epoch["participant"])
        if icc is not None and of_epoch["participant"].nunique() >= statistics.MIN_PARTICIPANTS:
            found.append(max(0.0, icc))
    return sum(found) / len(found) if found else statistics.ASSUMED_CORRELATION


def _response(study: Study, counted: pd.DataFrame) -> dict[str, Any]:
    times = statistics.response_times
    answered = study.protocol.task == "realness"
    in_epoch = {
        epoch: counted[(counted["epoch_left"] == epoch) | (counted["epoch_right"] == epoch)] for epoch in study.epochs
    }
    return {
        **dataclasses.asdict(times(counted["response_ms"])),
        "participants": counted["participant"].nunique(),
        "epochs": [
            {"epoch": epoch, **dataclasses.asdict(times(rows["response_ms"]))} for epoch, rows in in_epoch.items()
        ],
        "correct": times(counted.loc[counted["correct"] == 1, "response_ms"]) if answered else None,
        "wrong": times(counted.loc[counted["correct"] == 0, "response_ms"]) if answered else None,
    }


def _side_bias(study: Study, counted: pd.DataFrame, of_counted: pd.DataFrame) -> dict[str, Any] | None:
    """Whether answers lean to a side (or, of single pictures, to "real"), which the truth does not."""
    if study.protocol.task == "tag":
        return None
    if study.protocol.presentation == "single":
        rows = counted[counted["verdict"].notna()]
        share = statistics.clustered_rate(rows["verdict"] == "real", rows["participant"])
        return {"what": "answered real", **_rate(share), "real_real": None}

    def left(rows: pd.DataFrame) -> dict[str, Any]:
        rows = rows[rows["chosen_side"].isin(["left", "right"])]
        return _rate(statistics.clustered_rate(rows["chosen_side"] == "left", rows["participant"]))

    controls = of_counted[of_counted["kind"] == "real_real"]
    return {"what": "chose left", **left(counted), "real_real": left(controls) if len(controls) else None}


def _rate(rate: statistics.Rate) -> dict[str, Any]:
    return dataclasses.asdict(rate)


def _vigilance(study: Study, frame: pd.DataFrame) -> dict[str, Any] | None:
    """How vigilance trials were answered in complete sessions that are not excluded, those who failed among them."""
    per_session = study.protocol.counts["vigilance"]
    if not per_session:
        return None
    rows = frame[frame["session_status"].isin(["", "failed vigilance"]) & (frame["phase"] == "test")
                 & (frame["kind"] == "vigilance") & frame["correct"].notna()]
    return {
        **_rate(statistics.clustered_rate(rows["correct"], rows["participant"])),
        "trials_per_session": per_session,
        "needed": math.ceil(study.protocol.vigilance_pass * per_session - 1e-9),
        "failed": sum(reason == "failed vigilance" for reason in _status(frame).values()),
    }


def _repeats(of_counted: pd.DataFrame) -> dict[str, Any] | None:
    """How often a pair that was shown again got the same answer."""
    repeated = of_counted[of_counted["kind"] == "repeat"]
    if not len(repeated):
        return None

    def pair(row: Any) -> tuple[Any, frozenset[Any]]:
        return row.session_id, frozenset((row.left_stimulus, _known(row.right_stimulus)))

    def answer(row: Any) -> Any:
        sides = {"left": row.left_stimulus, "right": row.right_stimulus}
        return sides.get(_known(row.chosen_side) or "", _known(row.verdict) or _known(row.chosen_side))

    comparisons = of_counted[of_counted["kind"] == "comparison"]
    first = {pair(row): answer(row) for row in comparisons.itertuples(index=False)}
    same, who = [], []
    for row in repeated.itertuples(index=False):
        if pair(row) in first:
            same.append(float(first[pair(row)] == answer(row)))
            who.append(row.participant)
    return {"what": "same answer", **_rate(statistics.clustered_rate(same, who))}


def _agreement(study: Study, counted: pd.DataFrame) -> dict[str, Any]:
    """Krippendorff's alpha of the answers to the same picture, or the same pair."""
    rows, values, units = _outcome(study, counted)
    if study.protocol.task == "pick":
        units = [" ".join(sorted((str(row.left_stimulus), str(row.right_stimulus)))) for row in rows.itertuples()]
        first = [unit.split()[0] == row.left_stimulus for unit, row in zip(units, rows.itertuples(), strict=True)]
        values = [v if is_left else 1 - v for v, is_left in zip(values, first, strict=True)]
    return {
        "alpha": statistics.agreement(values, rows["participant"], units),
        "stimuli": len(set(units)),
        "participants": rows["participant"].nunique(),
        "trials": len(rows),
    }


def _outcome(study: Study, counted: pd.DataFrame) -> tuple[pd.DataFrame, Sequence[float], Sequence[Any]]:
    """What a task asks of a picture: fooled; preferred (of the left one); marked. Rows, values and pictures."""
    if study.protocol.task == "pick":
        rows = counted[counted["taken"].notna()]
        return rows, [{"left": 1.0, "right": 0.0}.get(side, 0.5) for side in rows["taken"]], list(rows["left_stimulus"])
    if study.protocol.task == "tag":
        values = [float(bool(statistics.marks_of(value))) for value in counted["marks"]]
        return counted, values, list(counted["left_stimulus"])
    rows = counted[counted["fooled"].notna()]
    return rows, list(rows["fooled"]), list(rows["stimulus"])


def _exposure(study: Study, counted: pd.DataFrame) -> dict[str, Any]:
    """How long pictures were really shown; what else happened while they were."""
    result: dict[str, Any] = {
        "planned_ms": study.protocol.exposure_ms,
        "tolerance_ms": statistics.TOLERANCE_MS,
        "trials": len(counted),
        "participants": counted["participant"].nunique(),
        "marked": int(counted["exposure_marked"].sum()),
        "marked_share": float(counted["exposure_marked"].mean()) if len(counted) else None,
        "unmeasured": int(np.isinf(counted["exposure_error_ms"]).sum()),
        "error_ms": None,
        "focus_lost": int(counted["focus_lost"].sum()),
        "resumed": int(counted["resumed"].sum()),
    }
    if not study.protocol.exposure_ms:
        return result
    sides = [counted[column].to_numpy(float) for column in ("exposure_left_ms", "exposure_right_ms")]
    both = np.concatenate(sides) - np.tile(counted["exposure_planned_ms"].to_numpy(float), 2)
    both = both[~np.isnan(both)]
    if len(both):
        low, median, high = (float(v) for v in np.percentile(both, [5, 50, 95]))
        result["error_ms"] = {"median": median, "p5": low, "p95": high, "pictures": len(both)}
    return result


def _stimuli(study: Study, counted: pd.DataFrame) -> dict[str, Any]:
    """The pictures that fooled (were preferred, were marked) most and least."""
    rows, values, units = _outcome(study, counted)
    values, units = list(values), list(units)
    if study.protocol.task == "pick":
        values, units = values + [1 - v for v in values], units + list(rows["right_stimulus"])

    def entry(extreme: statistics.Extreme) -> dict[str, Any]:
        stimulus = study.by_hash.get(extreme.stimulus)
        return {"sha256": extreme.stimulus, "scene": stimulus.scene if stimulus else None,
                "epoch": stimulus.epoch if stimulus else None, "rate": extreme.rate, "trials": extreme.trials}

    most, least = statistics.extremes(values, units)
    what = {"realness": "taken for real", "pick": "preferred", "tag": "marked"}[study.protocol.task]
    return {"what": what, "most": [entry(e) for e in most], "least": [entry(e) for e in least]}


def _pick(study: Study, counted: pd.DataFrame) -> dict[str, Any]:
    rows, values, _ = _outcome(study, counted)
    found = statistics.preferences(rows["epoch_left"], rows["epoch_right"], values, rows["participant"], study.epochs,
                                   study.seed)
    ties = sum(value == 0.5 for value in values)
    return {**dataclasses.asdict(found), "ties": ties, "tie_share": ties / len(values) if len(values) else None}


def _tag(counted: pd.DataFrame) -> dict[str, Any]:
    counted = counted[counted["epoch"].notna()]
    found = statistics.tag_rates(list(counted["marks"]), counted["participant"], counted["epoch"].astype(int))
    return {
        "trials": len(counted),
        "participants": counted["participant"].nunique(),
        "rates": [{"epoch": row.epoch, "tag": row.tag, **_rate(row.rate), "boxes": row.boxes, "heat": row.heat}
                  for row in found],
    }


def _notes(study: Study, report: Mapping[str, Any]) -> list[str]:
    """What a reader must know besides the figures."""
    notes = []
    if report["simulated"]:
        notes.append("All votes are simulated: nobody has judged these pictures, and no figure says anything of them.")
    notes.append(COUNTING_RULE)
    people = report["participants"]["counted"]
    if study.protocol.task == "realness":
        notes.append(
            "The interval over participants holds for these pictures and other people; the crossed one for other "
            "people and other pictures of the kind. Both rest on cluster-robust variances with t's quantiles, on the "
            "logit scale. ± sd is the papers' figure, the bootstrap's standard deviation, and no interval. Wilson's "
            "takes trials for independent, and is too narrow."
        )
    assumed = [str(e["epoch"]) for e in report["epochs"] if e["interval_assumed"]]
    if assumed:
        notes.append(
            f"Answers for epoch {', '.join(assumed)} are all alike or from one participant, who can't show how people "
            f"differ: the interval assumes an intra-participant correlation of {statistics.ASSUMED_CORRELATION}."
        )
    if 0 < people < statistics.MIN_PARTICIPANTS:
        notes.append(f"With {people} participant{'s' * (people != 1)}, every figure is provisional.")
    if study.protocol.task == "pick":
        notes.append(
            "Strengths are Bradley and Terry's, with a tie as half a win for each, and a tenth of a win added for "
            "either of any two epochs; intervals rest on a bootstrap over participants."
        )
        if not report["pick"]["connected"]:
            notes.append("Comparisons don't link all epochs: strengths of unlinked ones can't be compared.")
        elif report["pick"]["separated"]:
            notes.append("An epoch has won or lost all its comparisons: how far it is from the others can't be told.")
    return notes


def _plain(value: Any) -> Any:
    """As JSON has it: no NaN, no NumPy, no tuples."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# --- in words -----------------------------------------------------------------------------------------------


def to_markdown(report: Mapping[str, Any], pictures: Mapping[str, str] | None = None) -> str:
    """The report as one could paste it into a paper: a sentence for each result, then tables.

    Args:
        pictures: links to its plots, by name; "stimuli" is the sheet of pictures.
    """
    pictures = pictures or {}
    task = report["protocol"]["task"]
    parts = [f"# {_text(report['study']['title'] or report['study']['name'])}"]
    if report["simulated"]:
        parts.append("> **These votes are simulated.** Nobody has judged these pictures; no figure below says anything "
                     "of them.")
    parts += ["## Method", _method(report), _who(report)]
    if not report["trials"]:
        parts.append("No trial counts yet, so there is no figure.")
    else:
        parts.append("## Results")
        parts += {"realness": _realness_words, "pick": _pick_words, "tag": _tag_words}[task](report, pictures)
        parts += ["## Quality of the answers", *_quality_words(report, pictures)]
        parts += _stimuli_words(report, pictures)
    parts += ["## Notes", "\n".join(f"- {note}" for note in report["notes"]), "## Protocol", _protocol_table(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _method(report: Mapping[str, Any]) -> str:
    protocol, study = report["protocol"], report["study"]
    single = protocol["presentation"] == "single"
    shown = {"together": "side by side", "sequence": "one after the other", "single": "one at a time"}
    ask = {
        "realness": "said whether each picture was real or fake" if single
        else f"chose the {protocol['question']} one of two pictures, a real picture and a fake",
        "pick": "chose the more realistic of two fakes of the same input, ties allowed",
        "tag": "marked what was wrong with a fake",
    }[protocol["task"]]  # fmt: skip
    exposure = f"each for {protocol['exposure_ms']} ms" if protocol["exposure_ms"] else "for as long as they liked"
    source, target = (study["domains"] if study["direction"] == "ab" else study["domains"][::-1])
    mixed = protocol["epochs_per_session"] == "mixed" or protocol["task"] == "pick"
    sessions = "several epochs" if mixed and len(report["epochs"]) > 1 else "one epoch"
    practice = (
        f"{protocol['practice_trials']} practice trials with feedback, then " if protocol["practice_trials"] else ""
    )
    return (
        f"Participants {ask} ({_text(source)} → {_text(target)}, data set {_text(study['dataset'])}, "
        f"{study['size'][0]} × {study['size'][1]} pixels), shown {shown[protocol['presentation']]}, {exposure}. "
        f"A session had {practice}{protocol['test_trials']} test trials without feedback, and judged {sessions}. "
        f"Protocol: {_text(protocol['name'])}; study {study['study_id'][:8]}."
    )


def _who(report: Mapping[str, Any]) -> str:
    people = report["participants"]
    text = (f"{_count(people['started'], 'participant')} started, and {people['counted']} count, with "
            f"{_count(report['trials'], 'test trial')}.")
    if people["left_out"]:
        left_out = "; ".join(f"{_text(entry['reason'])}: {entry['count']}" for entry in people["left_out"])
        text += f" Left out: {left_out}."
    return text


def _realness_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    parts, single = [], report["protocol"]["presentation"] == "single"
    seen = [e for e in report["epochs"] if e["fooling_rate"] is not None]
    sentences = []
    for e in seen:
        sentence = (f"Fakes of epoch {e['epoch']} were taken for real in {_percent(e['fooling_rate'])} of trials "
                    f"(95% interval over participants {_interval(e['interval'])}")
        if e["interval_crossed"]:
            sentence += f"; over participants and pictures {_interval(e['interval_crossed'])}"
        sentences.append(f"{sentence}; N = {_count(e['participants'], 'participant')}, "
                         f"{_count(e['trials'], 'trial')}).")
    parts.append(" ".join(sentences))
    missing = [str(e["epoch"]) for e in report["epochs"] if e["fooling_rate"] is None]
    if missing:
        parts.append(f"No trial counts yet for epoch {', '.join(missing)}.")
    parts += _picture(pictures, "fooling-rate", "Fooling rate over epochs")
    parts.append(_table(
        ["epoch", "fooling rate", "95%, participants", "95%, crossed", "papers' ± sd", "Wilson (naive)", "participants",
         "trials", "commit"],
        [[e["epoch"], _percent(e["fooling_rate"]), _interval(e["interval"]), _interval(e["interval_crossed"]),
          f"{_percent(e['paper']['rate'])} ± {_percent(e['paper']['sd'])}", _interval(e["wilson"]), e["participants"],
          e["trials"], f"`{e['commit_sha'][:8]}`"] for e in seen],
    ))  # fmt: skip
    if single:
        parts.append(
            "Total error (HYPE∞): fakes taken for real and real pictures taken for fake, each half of it. It is 50% "
            "where people can't tell them apart. The fooling rate alone doesn't say so: it also rises with how readily "
            "people answer “real”."
        )
        parts.append(_table(
            ["epoch", "total error", "95%, participants", "fakes for real", "reals for fake"],
            [[e["epoch"], _percent(t["error"]), _interval(t["interval"]), _percent(t["fakes_for_real"]["rate"]),
              _percent(t["reals_for_fake"]["rate"])] for e in seen for t in [e["total_error"]]],
        ))  # fmt: skip
    parts += _between_words(report)
    low, high = statistics.PLANNING_RATES
    parts.append(
        "Participants per epoch to know a rate within ± 5 or ± 3 points (95%), at the rate and correlation seen so far "
        f"(a rate below {low:.0%} or above {high:.0%} counts as {low:.0%} or {high:.0%}: few trials can't show how "
        "rare the rarer answer is):"
    )
    parts.append(_table(
        ["epoch", "intra-participant correlation", "for ± 5", "still missing", "for ± 3", "still missing"],
        [[e["epoch"], f"{n['correlation']:.3f}{' (assumed)' if n['assumed'] else ''}", n["for_5_points"],
          n["still_for_5_points"], n["for_3_points"], n["still_for_3_points"]]
         for e in report["epochs"] for n in [e["participants_needed"]]],
    ))  # fmt: skip
    return parts


def _between_words(report: Mapping[str, Any]) -> list[str]:
    parts, trend = [], report["trend"]
    if trend:
        p = _p(trend["p"]) if trend["p"] < 0.001 else f"= {_p(trend['p'])}"
        way = "rose" if trend["points_per_step"] > 0 else "fell"
        steps = f" (95% interval {_points(trend['interval'])})" if trend["interval"] else ""
        parts.append(
            f"From one epoch to the next, the rate {way} by {100 * abs(trend['points_per_step']):.1f} points on average"
            f"{steps}; permutation test of the trend: p {p}, N = {trend['participants']}."
        )
    if contrasts := report["contrasts"]:
        paired = contrasts[0]["paired"]
        who = "who judged both epochs, each compared with themselves" if paired else "of each epoch, other people each"
        holm = f" Holm's p is corrected for all {len(contrasts)} contrasts." if len(contrasts) > 1 else ""
        parts.append(
            f"Two epochs compared: N are the participants {who}; interval and p are over these. The 95% interval is "
            f"not corrected for the number of contrasts. p is a permutation test's.{holm}"
        )
        needed = "participants, at most," if paired else "participants per epoch"
        parts.append(_table(
            ["epochs", "difference (points)", "N", "95%, participants, uncorrected", "p", "p, Holm", "P(A > B)",
             f"{needed} for 80% power at the observed difference"],
            [[f"{c['epoch_a']} − {c['epoch_b']}", f"{100 * c['difference']:+.1f}", _contrast_n(c),
              _points(c["interval"]), _p(c["p"]), _p(c["p_holm"]), _percent(c["a_beats_b"]),
              c["participants_needed"] or "–"] for c in contrasts],
        ))  # fmt: skip
    return parts


def _contrast_n(contrast: Mapping[str, Any]) -> str:
    """Participants of a contrast: of both epochs at once, or of either."""
    if contrast["paired"]:
        return str(contrast["participants_a"])
    return f"{contrast['participants_a']} + {contrast['participants_b']}"


def _pick_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    pick = report["pick"]
    best = max(pick["strengths"], key=lambda s: s["strength"])
    parts = [
        f"Epoch {best['epoch']} was preferred most (Bradley-Terry strength {best['strength']:+.2f}, 95% interval "
        f"{_numbers(best['interval'])}); {_percent(pick['tie_share'])} of {_count(pick['trials'], 'trial')} were ties "
        f"(N = {_count(pick['participants'], 'participant')})."
    ]
    parts += _picture(pictures, "preferences", "Bradley-Terry strengths")
    parts.append(_table(["epoch", "strength (logit)", "95%, participants"],
                        [[s["epoch"], f"{s['strength']:+.2f}", _numbers(s["interval"])] for s in pick["strengths"]]))
    parts.append(_table(
        ["A – B", "A preferred", "ties", "B preferred", "P(A beats B)", "95%, participants"],
        [[f"{d['epoch_a']} – {d['epoch_b']}", d["wins"], d["ties"], d["losses"], _percent(d["a_beats_b"]),
          _interval(d["interval"])] for d in pick["duels"]],
    ))  # fmt: skip
    return parts


def _tag_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    rates = report["tag"]["rates"]
    parts = [" ".join(
        f"Of fakes of epoch {row['epoch']}, {_percent(row['rate'])} were marked (95% interval over participants "
        f"{_interval(row['interval'])}; N = {_count(row['participants'], 'participant')}, "
        f"{_count(row['trials'], 'trial')})." for row in rates if row["tag"] == "any"
    )]  # fmt: skip
    parts += _picture(pictures, "tags", "What was wrong, per epoch")
    parts.append(_table(["epoch", "tag", "fakes marked", "95%, participants", "boxes"],
                        [[row["epoch"], row["tag"], _percent(row["rate"]), _interval(row["interval"]), row["boxes"]]
                         for row in rates if row["tag"] != "any"]))
    return parts


def _quality_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    sentences, response = [], report["response"]
    if response["trials"]:
        first, third = response["quartiles_ms"]
        sentence = f"The median response took {response['median_ms']:.0f} ms (quartiles {first:.0f} and {third:.0f}"
        if response["correct"] and response["correct"]["trials"] and response["wrong"]["trials"]:
            sentence += (f"; correct {response['correct']['median_ms']:.0f}, wrong "
                         f"{response['wrong']['median_ms']:.0f}")
        sentences.append(sentence + ").")
    bias = report["side_bias"]
    if bias and bias["rate"] is not None:
        sentences.append(f"Participants {bias['what']} in {_percent(bias['rate'])} of trials "
                         f"{_interval(bias['interval'])}.")
        if real := bias["real_real"]:
            sentences.append(f"Of two real pictures, the left one was chosen in {_percent(real['rate'])} of "
                             f"{_count(real['trials'], 'trial')} {_interval(real['interval'])}.")
    vigilance = report["vigilance"]
    if vigilance and vigilance["rate"] is not None:
        rule = (f"a session needs {vigilance['needed']} of {vigilance['trials_per_session']} to count, and "
                f"{vigilance['failed']} failed" if vigilance["needed"] else "no session is left out for it")
        sentences.append(f"Vigilance trials were answered rightly in {_percent(vigilance['rate'])} of "
                         f"{vigilance['trials']}; {rule}.")
    repeats = report["repeats"]
    if repeats and repeats["rate"] is not None:
        sentences.append(f"A pair that was shown again got the same answer in {_percent(repeats['rate'])} of "
                         f"{_count(repeats['trials'], 'trial')} {_interval(repeats['interval'])}.")
    agreement = report["agreement"]
    if agreement["alpha"] is not None:
        sentences.append(f"Krippendorff's α (nominal) over {_count(agreement['stimuli'], 'stimulus', 'stimuli')} is "
                         f"{agreement['alpha']:.2f}.")
    parts = [" ".join(sentences), _exposure_words(report)]
    marked = [e for e in report["epochs"] if e["without_marked"] and e["without_marked"]["rate"] is not None]
    if marked:
        parts.append(_table(
            ["epoch", "fooling rate", "without marked trials", "95%, participants", "trials"],
            [[e["epoch"], _percent(e["fooling_rate"]), _percent(e["without_marked"]["rate"]),
              _interval(e["without_marked"]["interval"]), e["without_marked"]["trials"]] for e in marked],
        ))  # fmt: skip
    return parts + _picture(pictures, "response-times", "Response times")


def _exposure_words(report: Mapping[str, Any]) -> str:
    exposure, sentences = report["exposure"], []
    if exposure["planned_ms"] and exposure["error_ms"]:
        error = exposure["error_ms"]
        sentences.append(
            f"Measured exposure differed from the planned {exposure['planned_ms']} ms by {error['median']:+.0f} ms in "
            f"the median (5th to 95th percentile {error['p5']:+.0f} to {error['p95']:+.0f}); {exposure['marked']} of "
            f"{_count(exposure['trials'], 'trial')} ({_percent(exposure['marked_share'])}) lay outside ± "
            f"{exposure['tolerance_ms']} ms or were not measured: they count, and are marked."
        )
    elif exposure["planned_ms"]:
        sentences.append("No exposure was measured: all trials count, and are marked.")
    sentences.append(f"The window lost the focus in {_count(exposure['focus_lost'], 'trial')}; "
                     f"{_count(exposure['resumed'], 'trial')} had been seen before a reload.")
    return " ".join(sentences)


def _stimuli_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    stimuli = report["stimuli"]
    if not stimuli["most"]:
        return []
    parts = [f"## Pictures most and least often {stimuli['what']}"]
    parts += _picture(pictures, "stimuli", f"Pictures most and least often {stimuli['what']}")
    rows = [[which, _text(s["scene"] or s["sha256"][:8]), s["epoch"] if s["epoch"] is not None else "–",
             _percent(s["rate"]), s["trials"]] for which in ("most", "least") for s in stimuli[which]]
    scenes = [s["scene"] or "" for which in ("most", "least") for s in stimuli[which]]
    if any(_SCENE.match(scene) for scene in scenes):
        a, b = (_text(domain) for domain in report["study"]["domains"])
        parts.append(f"Pictures are named domain:number:name, as the data set has their input: a is {a}, b is {b}; the "
                     "number counts within the domain, from 0.")
    return [*parts, _table(["", "picture", "epoch", stimuli["what"], "trials"], rows)]


def _protocol_table(report: Mapping[str, Any]) -> str:
    return _table(["field", "value"], [[f"`{key}`", _text(str(value))] for key, value in report["protocol"].items()])


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _picture(pictures: Mapping[str, str], name: str, alt: str) -> list[str]:
    return [f"![{alt}]({pictures[name]})"] if name in pictures else []


def _count(number: int, word: str, plural: str | None = None) -> str:
    return f"{number} {word if number == 1 else plural or word + 's'}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"


def _interval(value: Sequence[float] | None) -> str:
    return "–" if value is None else f"[{100 * value[0]:.1f}%, {100 * value[1]:.1f}%]"


def _points(value: Sequence[float] | None) -> str:
    return "–" if value is None else f"[{100 * value[0]:+.1f}, {100 * value[1]:+.1f}]"


def _numbers(value: Sequence[float] | None) -> str:
    return "–" if value is None else f"[{value[0]:+.2f}, {value[1]:+.2f}]"


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _text(value: str) -> str:
    """Free text within Markdown: one line that reads as it was written, without links, pictures, tags, cell borders."""
    text = _MARKS.sub(r"\\\g<0>", " ".join(str(value).split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# --- as files -----------------------------------------------------------------------------------------------


def write_report(
    study: Study, votes: pd.DataFrame, sessions: pd.DataFrame, format: str, output: str | Path
) -> list[Path]:
    """Write a report; returns the files, the report itself first.

    Args:
        format: md (with plots as NAME-*.svg and *.png beside it, and the pictures that fooled most and least), json,
            csv or parquet (a row per vote).

    Raises:
        StudyError: there is no such format, or a file can't be written.
    """
    if format not in FORMATS:
        raise StudyError(
            "there is no report format {format!r}: choose {names}",
            format=format, names=', '.join(FORMATS),
        )
    if not str(output):
        raise StudyError("the report's file has no name: name one")
    output = Path(output)
    _target(output)  # A name that won't do is told before the figures are computed.
    contents: dict[Path, bytes] = {}
    if format in ("csv", "parquet"):
        table = to_table(votes, study)
        if format == "csv":
            contents[output] = csv_of(table)
        else:
            contents[output] = _parquet(table)
    else:
        report = make_report(study, votes, sessions)
        if format == "json":
            text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            contents[output] = text.encode()
        else:
            contents = _illustrated(study, report, output)
    targets = {path: _target(path) for path in contents}
    for path, content in reversed(contents.items()):  # Pictures before the text that links to them.
        try:
            write_bytes(targets[path], content)
        except OSError as error:
            raise _unwritable(path, error) from error
    return list(contents)


def csv_of(frame: pd.DataFrame) -> bytes:
    """A table as CSV, UTF-8, for spreadsheets too.

    Text that a spreadsheet would take for a formula, as it begins with = + - @, a tab or a carriage return, gets an
    apostrophe before it (OWASP, CSV Injection). Numbers stay as they are. A carriage return within a text becomes a
    line feed, since only that one is quoted, and the other would begin a row.
    """
    from pandas.api.types import is_object_dtype, is_string_dtype

    def harmless(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        safe = f"'{value}" if value.startswith(_FORMULA) else value
        return safe.replace("\r\n", "\n").replace("\r", "\n")

    text = [name for name in frame if is_object_dtype(frame[name]) or is_string_dtype(frame[name])]
    safe = frame.assign(**{name: [harmless(value) for value in frame[name]] for name in text})
    return safe.rename(columns=harmless).to_csv(index=False, lineterminator="\n").encode()


def _illustrated(study: Study, report: Mapping[str, Any], output: Path) -> dict[Path, bytes]:
    """Markdown, its plots, and the sheet of pictures."""
    from cyclegan.study.plots import plots

    links, files = {}, {}
    for name, (svg, png) in plots(report).items():
        for suffix, content in (("svg", svg), ("png", png)):
            files[output.with_name(f"{output.stem}-{name}.{suffix}")] = content
        links[name] = f"{output.stem}-{name}.svg"
    sheet = contact_sheet(study, report)
    if sheet:
        files[output.with_name(f"{output.stem}-stimuli.png")] = sheet
        links["stimuli"] = f"{output.stem}-stimuli.png"
    links = {name: quote(os.fsencode(link)) for name, link in links.items()}
    return {output: to_markdown(report, links).encode(), **files}


def contact_sheet(study: Study, report: Mapping[str, Any], side: int = 160) -> bytes | None:
    """The pictures that fooled most and least, with epoch, share and trials, as PNG; None if there are none.

    Raises:
        StudyError: the study's folder lacks a picture or holds a broken one.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = [(which, report["stimuli"][which]) for which in ("most", "least") if report["stimuli"][which]]
    rows = [(which, [s for s in stimuli if s["sha256"] in study.by_hash]) for which, stimuli in rows]
    if not any(stimuli for _, stimuli in rows) or study.folder is None:
        return None
    gap, head, foot = 8, 24, 34
    font, small = ImageFont.load_default(size=15), ImageFont.load_default(size=12)
    width = gap + max(3, max(len(stimuli) for _, stimuli in rows)) * (side + gap)
    sheet = Image.new("RGB", (width, gap + len(rows) * (head + side + foot)), "white")
    draw = ImageDraw.Draw(sheet)
    for n, (which, stimuli) in enumerate(rows):
        top = gap + n * (head + side + foot)
        draw.text((gap, top), f"{which.capitalize()} often {report['stimuli']['what']}", "black", font)
        for m, stimulus in enumerate(stimuli):
            left = gap + m * (side + gap)
            path = study.stimulus_path(stimulus["sha256"])
            try:
                with Image.open(path) as picture:
                    picture = picture.convert("RGB")
            except OSError as error:
                raise StudyError("{path} is missing or damaged: get the study again", path=path) from error
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
            if max(picture.size) < side:  # Small ones are shown as large as the others.
                scale = side / max(picture.size)
                size = (round(picture.width * scale), round(picture.height * scale))
                picture = picture.resize(size, Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + (side - picture.width) // 2, top + head))
            epoch = f"epoch {stimulus['epoch']}, " if stimulus["epoch"] is not None else ""
            label = f"{epoch}{100 * stimulus['rate']:.0f}% of {stimulus['trials']}"
            draw.text((left, top + head + side + 3), label, "#333333", small)
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()


def _parquet(table: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    table.to_parquet(out, index=False)
    return out.getvalue()


def _target(path: Path) -> Path:
    """The file that a path means, where links lead; raises StudyError for what is there and no file."""
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    except OSError as error:
        raise _unwritable(path, error) from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or the like"
        raise StudyError("{path} is {what}, which a report can't replace: name a file", path=path, what=what)
    return target


def _unwritable(path: Path, error: OSError) -> StudyError:
    return StudyError(
        "{path} can't be written ({reason}): free space or name another file",
        path=path, reason=error.strerror or error,
    )
