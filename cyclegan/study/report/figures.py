"""A study's figures with their intervals, as plain JSON values.

`notes.COUNTING_RULE` says which trials count.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan import __version__
from cyclegan.study import statistics
from cyclegan.study.format import Study
from cyclegan.study.report import asked, display, left_out, opinions, planned, thresholds
from cyclegan.study.report.judging import before_votes, judge, known, session_status
from cyclegan.study.report.notes import notes_of
from cyclegan.study.rules import vigilance_needed

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 1
GOOD = 4
"""A rating of good; 5 is excellent."""


def make_report(
    study: Study, votes: pd.DataFrame, sessions: pd.DataFrame, *, mixed: bool = False, interim: bool = False
) -> dict[str, Any]:
    """Return all figures of a study as plain JSON values; rates and intervals from 0 to 1, times in ms.

    Args:
        votes, sessions: as returned by `Store.votes` and `Store.sessions`. Simulated sessions count only if there are
            no others, and the report says so.
        mixed: also fit a mixed model to each epoch, which takes seconds.
        interim: the plan holds for simulated participants, too, to rehearse the report before it is reached. Otherwise
            it doesn't, because nobody would stop for them and a few show what the whole report looks like.
    """
    judged = judge(study, votes)
    people = bool(len(sessions)) and bool((sessions["origin"] == "people").any())
    people = people or bool((judged["origin"] == "people").any())
    origin = "people" if people else "simulated"
    simulated = not people and bool(len(sessions) or len(judged))
    frame = judged[judged["origin"] == origin]
    counted = frame[frame["counted"]]
    plan = None if simulated and not interim else planned.plan_of(study, counted)
    state = plan["state"] if plan else "reached"
    participants = _participants(study, frame, sessions, origin)
    if state == "closed":  # Not a figure of theirs, only how many they are.
        frame, counted = frame.iloc[:0], counted.iloc[:0]
    of_counted = frame[frame["session_id"].isin(counted["session_id"]) & (frame["phase"] == "test")]
    task, rated = study.protocol.task, study.protocol.gives_rate
    report = {
        "format_version": FORMAT_VERSION,
        "study": {
            "study_id": study.study_id, "name": study.name, "title": study.title, "direction": study.direction,
            "domains": study.domains, "dataset": study.dataset, "seed": study.seed, "size": study.size,
            "protocol": study.protocol.label, "secret_sha256": study.secret_sha256 or None,
            "pictures": study.picture_counts,
        },
        "program": f"cyclegan-workbench {__version__}",
        "protocol": study.protocol.to_json(),
        "simulated": simulated,
        "training_pictures": study.split == "train",
        "trained_on": dict(zip(("count", "of"), study.trained_on, strict=True)) if study.trained_on else None,
        "participants": participants,
        "consent": asked.consent_of(study),
        "questions": [] if state == "closed" else asked.answers_of(study, sessions, set(counted["session_id"])),
        "plan": plan,
        "trials": len(counted),
        "epochs": [_epoch(study, counted, epoch, state, mixed) for epoch in study.epochs],
        "trend": _trend(study, counted) if rated and state == "reached" else None,
        "contrasts": contrasts_of(study, counted, state) if rated else [],
        "response": _response(study, counted),
        "side_bias": _side_bias(study, counted, of_counted),
        "vigilance": _vigilance(study, frame),
        "repeats": _repeats(of_counted),
        "agreement": _agreement(study, counted),
        "exposure": display.exposure(study, counted, int(of_counted["impossible"].sum())),
        "size": display.size(study, counted),
        "stimuli": _stimuli(study, counted),
        "pick": _pick(study, counted) if task == "pick" else None,
        "tag": _tag(counted) if task == "tag" else None,
        "thresholds": thresholds.thresholds(study, counted) if study.protocol.staircase_right else None,
        "mos": opinions.opinions(study, counted) if task == "rate" else None,
    }  # fmt: skip
    report["rules"] = left_out.left_out_by_rule(study, report["participants"]["left_out"])
    # While results are closed, the frame has no row.
    report["left_out_by_epoch"] = [] if state == "closed" else left_out.by_epoch(study, frame, sessions, origin)
    report["votes"] = display.when(counted)
    report["alike"] = left_out.alike(frame, sessions, origin)
    for each in report["epochs"]:
        shown = rated and state == "reached"
        each["with_left_out"] = left_out.rate_with_them(frame, each["epoch"]) if shown else None
    report["notes"] = notes_of(study, report)
    return _plain(report)


def _participants(study: Study, frame: pd.DataFrame, sessions: pd.DataFrame, origin: str) -> dict[str, Any]:
    """Return how many started, completed and count, and why the others don't."""
    status = session_status(frame)
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
            if row.session_id not in status:  # Left before the first vote.
                reason = before_votes(row)
                left_out[reason] = left_out.get(reason, 0) + 1

    def complete(session: str, row: Any) -> bool:
        """Complete by its mark, or because it has all test trials; the same rule as for what counts."""
        marked = bool(known(getattr(row, "completed", False)))
        every = in_test.get(session, 0) >= study.protocol.test_trials
        return (marked or every) and not known(getattr(row, "disqualified", False))

    for reason in status.values():
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
    counted = sum(not reason for reason in status.values())
    return {
        "started": started,
        "completed": sum(complete(session, row) for session, row in ended.items()),
        "counted": counted,
        "forgotten": sessions.attrs.get("forgotten", 0),
        "left_out": [{"reason": reason, "count": left_out[reason]} for reason in sorted(left_out)],
    }


def _epoch(study: Study, counted: pd.DataFrame, epoch: int, state: str, mixed: bool) -> dict[str, Any]:
    """Return the figures of one epoch.

    Args:
        state: of the plan; reached without one.
    """
    checkpoint = next(c for c in study.checkpoints if c.epoch == epoch)
    rows = counted[counted["fooled"].notna() & (counted["epoch"] == epoch)]
    y, who = rows["fooled"], rows["participant"]
    rate = statistics.clustered_rate(y, who)
    realness = study.protocol.gives_rate
    people, trials = rate.participants, rate.trials
    if not realness:  # Picking and tagging have no fooling rate, but they have trials of an epoch.
        rows = counted[(counted["epoch_left"] == epoch) | (counted["epoch_right"] == epoch)]
        people, trials = rows["participant"].nunique(), len(rows)
    result: dict[str, Any] = {
        "epoch": epoch,
        "label": checkpoint.label or None,
        "of_epoch": None if checkpoint.foreign else checkpoint.true_epoch,
        "foreign": checkpoint.foreign,
        "commit_sha": checkpoint.commit_sha,
        "source": checkpoint.source,
        "fooling_rate": rate.rate,
        "interval": rate.interval,
        "interval_assumed": rate.assumed,
        "interval_crossed": None,
        "interval_always_valid": statistics.always_valid(y, who) if state == "always_valid" else None,
        "paper": statistics.paper_figure(y, who, study.seed),
        "wilson": statistics.wilson_interval(float(y.sum()), len(y)) if len(y) else None,
        "participants": people,
        "trials": trials,
        "participants_needed": None,
        "without_marked": None,
        "total_error": None,
        "detection": None,
        "mixed_model": None,
    }
    if not realness:
        return result
    if len(rows):
        pictures = [rows["stimulus"]] + ([rows["partner"]] if rows["partner"].notna().all() else [])
        result["interval_crossed"] = statistics.crossed_interval(y, who, pictures)
        if rows["exposure_marked"].any():
            kept = rows[~rows["exposure_marked"]]
            result["without_marked"] = statistics.clustered_rate(kept["fooled"], kept["participant"])
    result["participants_needed"] = planned.needed_for(study, rate, rows)
    if study.protocol.presentation == "single":
        result["total_error"] = _total_error(study, counted, epoch)
        result["detection"] = _detection(counted, epoch)
    if mixed and len(rows) and state != "always_valid":
        result["mixed_model"] = statistics.mixed_model(y, who, [rows[column] for column in planned.roles(study)])
    return _valid_so_far(result) if state == "always_valid" else result


def _valid_so_far(epoch: dict[str, Any]) -> dict[str, Any]:
    """Return an epoch's figures without what holds only for a number of participants that was fixed before.

    Nobody may stop a study by it, so no form of the report has it.
    """
    kept = epoch | {"interval": None, "interval_assumed": False, "interval_crossed": None, "paper": None,
                    "wilson": None, "detection": None}  # fmt: skip
    if epoch["without_marked"] is not None:
        kept["without_marked"] = dataclasses.replace(epoch["without_marked"], interval=None)
    if epoch["total_error"] is not None:
        parts = {name: dataclasses.replace(epoch["total_error"][name], interval=None)
                 for name in ("fakes_for_real", "reals_for_fake")}  # fmt: skip
        kept["total_error"] = epoch["total_error"] | {"interval": None} | parts
    return kept


def _detection(counted: pd.DataFrame, epoch: int) -> statistics.Detection | None:
    """Return signal detection of an epoch's fakes among the real pictures of the same sessions."""
    fakes = (counted["truth"] == "fake") & (counted["epoch"] == epoch)
    reals = (counted["truth"] == "real") & counted["session_id"].isin(counted.loc[fakes, "session_id"])
    rows = counted[(fakes | reals) & counted["correct"].notna()]
    is_fake = (rows["truth"] == "fake").to_numpy()
    return statistics.detection((rows["correct"] == 1).to_numpy() == is_fake, is_fake, rows["participant"])


def _total_error(study: Study, counted: pd.DataFrame, epoch: int) -> dict[str, Any]:
    """Return HYPE's figure: fakes taken for real and reals taken for fake, weighted equally."""
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
    """Return True if a participant judges several epochs."""
    return len(study.arms) == 1 and len(study.epochs) > 1


def _trend(study: Study, counted: pd.DataFrame) -> Any:
    if study.labels:  # Methods have no order.
        return None
    rows = counted[counted["fooled"].notna()]
    return statistics.trend(rows["fooled"], rows["participant"], rows["epoch"], _pictures(study, rows),
                            paired=_paired(study), seed=study.seed)


def _pictures(study: Study, rows: pd.DataFrame) -> list[Any]:
    """Return what the fakes show, which epochs share, and the real pictures next to them, if there are any."""
    scenes = [study.shown_scene(sha) for sha in rows["stimulus"]]
    return [scenes, *([rows["partner"]] if rows["partner"].notna().all() else [])]


def contrasts_of(study: Study, counted: pd.DataFrame, state: str) -> list[dict[str, Any]]:
    """Return the contrasts of epochs; before the planned participants are there, without tests.

    Their intervals then come from the two epochs' always-valid ones, each at half of the error.
    """
    rows = counted[counted["fooled"].notna()]
    if not len(rows):
        return []
    found = statistics.contrasts(rows["fooled"], rows["participant"], rows["epoch"], _pictures(study, rows),
                                 paired=_paired(study), seed=study.seed)
    rates = rows.groupby("epoch")["fooled"].mean()
    trials = statistics.trials_per_epoch(study.protocol, len(study.epochs))
    icc, pictures = planned.mean_correlations(study, rows)
    if state == "always_valid":
        level = (1 + statistics.LEVEL) / 2
        bounds = {epoch: statistics.always_valid(of["fooled"], of["participant"], level)
                  for epoch, of in rows.groupby("epoch")}
        found = [dataclasses.replace(each, p=None, p_holm=None, a_beats_b=None, interval=_apart(bounds, each))
                 for each in found]  # fmt: skip
    return [
        {
            **dataclasses.asdict(contrast),
            "participants_needed": statistics.participants_to_tell(
                float(rates[contrast.epoch_a]), float(rates[contrast.epoch_b]), icc, trials, pictures=pictures
            ),
        }
        for contrast in found
    ]


def _apart(bounds: Mapping[float, Any], contrast: statistics.Contrast) -> tuple[float, float] | None:
    """Return the bounds of a difference from those of two rates."""
    a, b = bounds[contrast.epoch_a], bounds[contrast.epoch_b]
    return (a[0] - b[1], a[1] - b[0]) if a and b else None


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
    """Return how often answers chose left (or, for single pictures, "real"); the truth is balanced."""
    if study.protocol.task in ("tag", "rate"):
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
    """Return the vigilance rate of complete sessions that aren't excluded, including those that failed it."""
    per_session = study.protocol.counts["vigilance"]
    if not per_session:
        return None
    rows = frame[frame["session_status"].isin(["", "failed vigilance"]) & (frame["phase"] == "test")
                 & (frame["kind"] == "vigilance") & frame["correct"].notna()]
    return {
        **_rate(statistics.clustered_rate(rows["correct"], rows["participant"])),
        "trials_per_session": per_session,
        "needed": vigilance_needed(study.protocol),
        "failed": sum(reason == "failed vigilance" for reason in session_status(frame).values()),
    }


def _repeats(of_counted: pd.DataFrame) -> dict[str, Any] | None:
    """Return how often a repeated pair got the same answer."""
    repeated = of_counted[of_counted["kind"] == "repeat"]
    if not len(repeated):
        return None

    def pair(row: Any) -> tuple[Any, frozenset[Any]]:
        return row.session_id, frozenset((row.left_stimulus, known(row.right_stimulus)))

    def answer(row: Any) -> Any:
        sides = {"left": row.left_stimulus, "right": row.right_stimulus}
        given = (known(value) for value in (row.verdict, row.chosen_side, row.rating))
        return sides.get(known(row.chosen_side) or "", next((value for value in given if value is not None), None))

    comparisons = of_counted[of_counted["kind"] == "comparison"]
    first = {pair(row): answer(row) for row in comparisons.itertuples(index=False)}
    same, who = [], []
    for row in repeated.itertuples(index=False):
        if pair(row) in first:
            same.append(float(first[pair(row)] == answer(row)))
            who.append(row.participant)
    return {"what": "same answer", **_rate(statistics.clustered_rate(same, who))}


def _agreement(study: Study, counted: pd.DataFrame) -> dict[str, Any]:
    """Return Krippendorff's alpha of the answers to the same picture, or the same pair."""
    rows, values, units = _outcome(study, counted)
    level = "nominal"
    if study.protocol.task == "rate":
        rows, level = counted[counted["rating"].notna()], "ordinal"
        values, units = rows["rating"], list(rows["left_stimulus"])
    if study.protocol.task == "pick":
        units = [" ".join(sorted((str(row.left_stimulus), str(row.right_stimulus)))) for row in rows.itertuples()]
        first = [unit.split()[0] == row.left_stimulus for unit, row in zip(units, rows.itertuples(), strict=True)]
        values = [v if is_left else 1 - v for v, is_left in zip(values, first, strict=True)]
    return {
        "alpha": statistics.agreement(values, rows["participant"], units, level),
        "level": level,
        "stimuli": len(set(units)),
        "participants": rows["participant"].nunique(),
        "trials": len(rows),
    }


def _outcome(study: Study, counted: pd.DataFrame) -> tuple[pd.DataFrame, Sequence[float], Sequence[Any]]:
    """Return rows, values and pictures of a task's outcome: fooled; preferred (left); marked; rated well."""
    if study.protocol.task == "pick":
        rows = counted[counted["taken"].notna()]
        return rows, [{"left": 1.0, "right": 0.0}.get(side, 0.5) for side in rows["taken"]], list(rows["left_stimulus"])
    if study.protocol.task == "tag":
        values = [float(bool(statistics.marks_of(value))) for value in counted["marks"]]
        return counted, values, list(counted["left_stimulus"])
    if study.protocol.task == "rate":
        rows = counted[counted["rating"].notna() & counted["epoch"].notna()]
        return rows, list((rows["rating"] >= GOOD).astype(float)), list(rows["left_stimulus"])
    rows = counted[counted["stimulus"].notna() & counted["correct"].notna()]
    return rows, list(1 - rows["correct"]), list(rows["stimulus"])


def _stimuli(study: Study, counted: pd.DataFrame) -> dict[str, Any]:
    """Return the pictures that fooled (were preferred, were marked, were rated well) most and least."""
    rows, values, units = _outcome(study, counted)
    values, units = list(values), list(units)
    if study.protocol.task == "pick":
        values, units = values + [1 - v for v in values], units + list(rows["right_stimulus"])

    def entry(extreme: statistics.Extreme) -> dict[str, Any]:
        stimulus = study.by_hash.get(extreme.stimulus)
        return {"sha256": extreme.stimulus, "scene": stimulus.scene if stimulus else None,
                "epoch": stimulus.epoch if stimulus else None, "rate": extreme.rate, "trials": extreme.trials}

    most, least = statistics.extremes(values, units)
    what = {"realness": "taken for real", "pick": "preferred", "tag": "marked",
            "rate": "rated good or excellent"}[study.protocol.task]
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


def _plain(value: Any) -> Any:
    """Return a value as JSON values: no NaN, no NumPy, no tuples."""
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
