"""Results in the format of AMT_Real_vs_Fake (Isola, Zhang, Zhu), whose script made the papers' tables.

A CSV with a row per session. Its columns, numbered from 0 with practice first, are `Input.gt_side0` (the side of the
real picture), `Input.images_left0`, `Input.images_right0` (paths, whose folder names the method) and
`Answer.selection0` (the side taken for the fake).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.errors import StudyError, number_of
from cyclegan.study import statistics
from cyclegan.study.format import Study
from cyclegan.study.report import judge

if TYPE_CHECKING:
    import pandas as pd

REAL = "GT"
"""The folder of real pictures. Their script takes the method with the most trials for the real one, and among equals
the first by name; so the name must sort before `epoch-0020`, which lower-case "gt" doesn't."""
SIDES = ("left", "right")
COLUMNS = ("Input.gt_side", "Input.images_left", "Input.images_right", "Answer.selection")
VIGILANCE = "vigilance"
"""Their folder of broken pictures, for vigilance trials."""
MAX_BYTES = 2**28


def export_amt(study: Study, votes: pd.DataFrame) -> tuple[str, str]:
    """Return the sessions that count, as results CSV.

    Practice and the trials that compare are exported, in the session's order. Vigilance trials, controls and repeated
    pairs are left out, because the format can't mark them.

    Returns:
        The CSV, and a sentence about its content, to print.

    Raises:
        StudyError: the study judges single pictures or preferences, or no session counts yet.
    """
    if study.protocol.task != "realness" or study.protocol.presentation == "single":
        raise StudyError(
            "{study} doesn't compare a real picture with a fake, the only kind of trial in AMT's format",
            study=study.name,
        )
    frame = judge(study, votes)
    sessions = frame.loc[frame["counted"], "session_id"].unique()
    rows = frame[frame["session_id"].isin(sessions) & (frame["kind"] == "comparison")]
    rows = rows.sort_values(["slot", "arm", "session_id", "trial_index"], kind="stable")
    practice, test = study.protocol.practice_trials, study.protocol.counts["comparison"]
    lines = []
    for number, (_, trials) in enumerate(rows.groupby("session_id", sort=False), 1):
        if len(trials) != practice + test:
            continue  # Restored in part only: a gap would shift every later column.
        lines.append({"WorkerId": f"participant-{number:04d}", **_line(study, trials)})
    if not lines:
        raise StudyError("{study} has no complete session that counts yet: export it later", study=study.name)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    left_out = frame["session_id"].nunique() - len(lines)
    summary = (
        f"{number_of(len(lines), 'session')} of {number_of(practice, 'practice trial')} and "
        f"{number_of(test, 'test trial')}{f', {left_out} left out' if left_out else ''}; vigilance trials, controls "
        f"and repeats are not exported. Score it with --N_practice {practice} --N_imgs {practice + test}"
    )
    return out.getvalue(), summary


def _line(study: Study, trials: pd.DataFrame) -> dict[str, str]:
    """Return one session's columns."""
    columns: dict[str, dict[str, str]] = {name: {} for name in COLUMNS}
    for n, trial in enumerate(trials.itertuples(index=False)):
        other = SIDES[trial.real_side == "left"]
        taken_for_fake = SIDES[trial.taken == "left"]
        path = {trial.real_side: _path(study, trial.partner, None), other: _path(study, trial.stimulus, trial.epoch)}
        values = (trial.real_side, path["left"], path["right"], taken_for_fake)
        for name, value in zip(COLUMNS, values, strict=True):
            columns[name][f"{name}{n}"] = value
    return {key: value for name in COLUMNS for key, value in columns[name].items()}


def _path(study: Study, sha256: str, epoch: float | None) -> str:
    """Return METHOD/picture; their paths have one folder, so slashes in a scene's name become underscores."""
    stimulus = study.by_hash.get(sha256)
    scene = re.sub(r"[^A-Za-z0-9._-]", "_", stimulus.scene) if stimulus else sha256[:16]
    folder = REAL if epoch is None else f"epoch-{int(epoch):04d}"
    if epoch is not None and (label := study.labels.get(int(epoch))):
        folder = f"method-{int(epoch):02d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', label)}"
    return f"{folder}/{scene}.png"


def import_amt(path: str | Path, practice: int = 10) -> pd.DataFrame:
    """Return the votes in a results CSV, one row each, in those columns of `Store.votes` that the file has.

    In addition, `method` is the folder of the picture that isn't real, and `fooled` is True if it was taken for real.

    Args:
        practice: the number of practice trials at the start of each session.

    Raises:
        StudyError: the file can't be read, has no trials, or has an invalid row.
    """
    import pandas as pd

    path = Path(path)
    lines, trials = _read(path)
    if not 0 <= practice < trials:
        raise StudyError(
            "{path} has {n} trial per session, so practice can't be {practice}: use a smaller number",
            "{path} has {n} trials per session, so practice can't be {practice}: use a smaller number",
            trials, path=path, practice=practice,
        )
    rows = []
    for number, line in enumerate(lines, 1):
        for n in range(trials):
            real_side, left, right, selection = (_cell(line, f"{name}{n}", path, number) for name in COLUMNS)
            if real_side not in SIDES or selection not in SIDES:
                raise StudyError(
                    "{path}, session {number}, trial {trial}: the sides are {real_side!r} and {selection!r}, but must "
                    "be left or right; remove that session",
                    path=path, number=number, trial=n, real_side=real_side[:20], selection=selection[:20],
                )
            method = _folder(right if real_side == "left" else left)
            epochs = [_epoch(_folder(p)) if side != real_side else None for side, p in zip(SIDES, (left, right),
                                                                                           strict=True)]
            rows.append({
                "session_id": f"{number:032x}", "participant": line.get("WorkerId") or f"row-{number}",
                "origin": "people", "trial_index": n, "phase": "practice" if n < practice else "test",
                "kind": VIGILANCE if method.split("/")[-1] == VIGILANCE else "comparison", "left_stimulus": left,
                "right_stimulus": right, "epoch_left": epochs[0], "epoch_right": epochs[1], "real_side": real_side,
                "chosen_side": selection, "method": method, "fooled": selection == real_side,
            })  # fmt: skip
    frame = pd.DataFrame(rows)
    for column in ("epoch_left", "epoch_right"):
        frame[column] = frame[column].astype("Int64")
    return frame


def _read(path: Path) -> tuple[list[Mapping[str, str]], int]:
    """Return the rows, and the number of trials in each."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # Reading a pipe or a device may never end.
            raise StudyError("{path} is not a regular file: name a results CSV", path=path)
        if path.stat().st_size > MAX_BYTES:
            raise StudyError(
                "{path} is larger than {limit} MiB: split it by sessions", path=path, limit=MAX_BYTES >> 20
            )
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            lines = list(reader)
            heads = set(reader.fieldnames or ())
    except OSError as error:
        raise StudyError("{path} can't be read ({reason}): name a results CSV", path=path, reason=error) from error
    except (csv.Error, UnicodeError) as error:
        raise StudyError(
            "{path} isn't a CSV file ({reason}): name Mechanical Turk's results file", path=path, reason=error
        ) from error
    trials = 0
    while all(f"{name}{trials}" in heads for name in COLUMNS):
        trials += 1
    if not trials:
        missing = next(f"{name}0" for name in COLUMNS if f"{name}0" not in heads)
        raise StudyError(
            "{path} has no column {column}: name a results CSV of AMT_Real_vs_Fake, numbered from 0",
            path=path, column=missing,
        )
    if not lines:
        raise StudyError("{path} has no session, only a header", path=path)
    return lines, trials


def _cell(line: Mapping[str, str], name: str, path: Path, number: int) -> str:
    value = line.get(name)
    if not value:
        raise StudyError(
            "{path}, session {number}: {column} is empty; remove that session",
            path=path, number=number, column=name,
        )
    return value.strip()


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _epoch(folder: str) -> int | None:
    found = re.search(r"epoch-0*(\d{1,9})$", folder)
    return int(found.group(1)) if found else None


def figures_amt(votes: pd.DataFrame, seed: int = 0) -> dict[str, Any]:
    """Return figures per method of what `import_amt` read: plain JSON values, rates and intervals from 0 to 1.

    Vigilance trials are left out. `interval` is the reports' interval over participants; `sd` the papers' ±; `beats`
    P(A > B) for each two methods.
    """
    test = votes[(votes["phase"] == "test") & (votes["kind"] == "comparison")]
    methods = sorted(test["method"].unique())
    found: dict[str, Any] = {
        "sessions": int(votes["session_id"].nunique()), "trials": len(test), "methods": [], "beats": [],
    }
    for method in methods:
        rows = test[test["method"] == method]
        rate = statistics.clustered_rate(rows["fooled"], rows["participant"])
        found["methods"].append({
            "method": method, "fooling_rate": float(rate.rate), "interval": [float(v) for v in rate.interval or (0, 1)],
            "sd": float(statistics.paper_figure(rows["fooled"], rows["participant"], seed).sd),
            "participants": int(rate.participants), "trials": int(rate.trials),
        })  # fmt: skip
    if len(methods) > 1:
        codes = {method: n for n, method in enumerate(methods)}
        shared = bool((test.groupby("participant")["method"].nunique() > 1).all())
        contrasts = statistics.contrasts(test["fooled"], test["participant"],
                                         np.array([codes[m] for m in test["method"]]), paired=shared, seed=seed)
        found["beats"] = [
            {"a": methods[c.epoch_a], "b": methods[c.epoch_b], "probability": float(c.a_beats_b)} for c in contrasts
        ]
    return found


def report_amt(figures: Mapping[str, Any]) -> str:
    """Return the result of `figures_amt` in a few lines."""
    if not figures["methods"]:
        return "No test trial compares a real picture with a fake, so there are no figures."
    lines = [f"{number_of(figures['sessions'], 'session')}, {number_of(figures['trials'], 'test trial')}."]
    for each in figures["methods"]:
        low, high = each["interval"]
        lines.append(
            f"{each['method']}: fooling rate {each['fooling_rate']:.1%} ± {each['sd']:.1%} (95% over participants "
            f"{low:.1%} to {high:.1%}), {number_of(each['participants'], 'participant')}, "
            f"{number_of(each['trials'], 'trial')}"
        )
    lines += [f"P({each['a']} > {each['b']}) = {each['probability']:.1%}" for each in figures["beats"]]
    return "\n".join(lines)
