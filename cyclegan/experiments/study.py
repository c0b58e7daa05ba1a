"""A study over an experiment's rows, the paper's Table 1: people judge each row's translations of the same pictures.

The studies of an experiment are listed in DIR/studies.json, relative to DIR, for the report.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.format import epoch_name
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DIRECTIONS, Direction, direction_name
from cyclegan.errors import ConfigError, Message, StudyError, UserError, message, number_of
from cyclegan.evaluation.scores.exchange import checked
from cyclegan.evaluation.scores.people import LEAST, People, judgement, percent
from cyclegan.evaluation.scores.report import ScoresError, read_report
from cyclegan.evaluation.scores.table import BY_KEY
from cyclegan.experiments.paper import TABLE_1, TO_PHOTO
from cyclegan.experiments.plan import SCORES_NAME, Plan, Training
from cyclegan.files import read_json, write_json
from cyclegan.study.format import Study, check_name, read_study
from cyclegan.study.judged import people_in
from cyclegan.study.make import make_study, prepared

LIST = "studies.json"


def first_runs(plan: Plan, way: Direction) -> Iterator[Training]:
    """Yield each row's training of a direction with the first seed."""
    return (each for each in plan.trainings() if each.seed == plan.seeds[0] and way in each.directions)


def check_study(plan: Plan, output: Path, way: Direction) -> None:
    """Raise UserError if no study of an experiment can be written there, before anything is trained."""
    check_name(output.resolve().name)
    if os.path.lexists(output):
        read_study(output)  # It is kept.
    runs = list(first_runs(plan, way))
    if not runs:
        raise ConfigError(
            "no row translates {direction}: choose the other --study_direction",
            direction=direction_name(way, **plan.names),
        )  # fmt: skip
    for run in runs:
        if prepared(run.config.data) != prepared(runs[0].config.data):
            raise ConfigError(
                "one study can't compare {row!r} with {other!r}, whose pictures are prepared differently: leave out "
                "--study", row=runs[0].row.name, other=run.row.name,
            )  # fmt: skip


def build_study(
    plan: Plan, output: Path, way: Direction, *, note: Callable[[Message], object], **options: Any
) -> Study:
    """Build a study in which each row is a method, by its first seed's newest epoch; one that is there is kept.

    Args:
        plan: the experiment.
        output: the study's folder.
        way: the direction; rows that don't have it, or aren't trained yet, are left out with a note.
        note: called with a sentence about what is left out.
        options: as for `cyclegan.study.make.make_study`.

    Raises:
        UserError: no row is trained, or the study can't be built.
    """
    if os.path.lexists(output):
        study = read_study(output)
    else:
        runs = {run.row.name: run for run in first_runs(plan, way)}
        for row in plan.experiment.rows:
            reason = None
            if row.name not in runs:
                reason = message("it doesn't translate {direction}", direction=direction_name(way, **plan.names))
            elif not runs[row.name].finished:
                reason = message("it isn't trained yet")
                del runs[row.name]
            if reason:
                note(message("{row} isn't in the study: {reason}", row=row.name, reason=reason))
        if not runs:
            raise StudyError("no row is trained, so there is nothing to build a study of")
        sources = {name: LocalSource(run.folder) for name, run in runs.items()}
        domains = (plan.names["a"], plan.names["b"])
        study = make_study(sources, plan.dataset, direction=way, output=output, domains=domains, note=note, **options)
    listed = _listed(plan)
    path = Path(os.path.relpath(output, plan.output)).as_posix()
    write_json(plan.output / LIST, {"studies": [*(each for each in listed if each != path), path]})
    return study


def _listed(plan: Plan) -> list[str]:
    path = plan.output / LIST
    return [str(each) for each in read_json(path, error=ConfigError).get("studies", [])] if path.is_file() else []


def _found(plan: Plan) -> dict[str, str]:
    """Return the folders of the listed studies that are there, relative to the experiment's, by the studies' names."""
    found: dict[str, str] = {}
    for path in _listed(plan):
        for place in (path, f"../{Path(path).name}"):  # Both may have moved together.
            if (plan.output / place / "study.json").is_file():
                found.setdefault(read_study(plan.output / place).name, place)
    return found


def people_by_way(plan: Plan) -> tuple[dict[str, Any], str | None]:
    """Return what people say about the rows, by direction from the study that judged most of them, for report.json.

    With it comes the sentence about a study that can't be read, so that a training experiment goes on.
    """
    try:
        folders = _found(plan)
        studies = people_in(plan.output / folder for folder in folders.values())
    except UserError as error:
        return {}, str(error)
    found = {}
    for way in DIRECTIONS if studies else ():
        if content := _of_way(plan, way, studies):
            found[way] = {**content, "folder": folders[content["study"]]}
    return found, None


def _of_way(plan: Plan, way: Direction, studies: list[People]) -> dict[str, Any] | None:
    answers = []
    for run in first_runs(plan, way):
        if run.epoch is None:
            continue
        scores: Mapping[str, Any] = {}
        with suppress(ScoresError):  # The report says of which run they can't be read.
            report = checked(read_report(run.folder / "scores", SCORES_NAME, run.folder.name))
            scores = report.section(way, "scores").get(epoch_name(run.epoch), {}) if way in report.content else {}
        sha = LocalSource(run.folder).list()[0].commit_sha
        answers.append({**scores, "row": run.row.name, "epoch": run.epoch, "commit_sha": sha})
    said = judgement(studies, way, answers)
    if said is None:
        return None
    rows = {answer["row"]: said.people.rates[number] for number, answer in said.answers.items()}
    return {
        "study": said.people.study, "simulated": said.people.simulated, "participants": said.people.count,
        "rows": rows, "left_out": [answer["row"] for answer in answers if answer["row"] not in rows],
        "agreement": {key: {"tau": each.tau, "interval": each.interval, "shown": each.shown}
                      for key, each in said.agreements.items()},
    }  # fmt: skip


# --- in words -----------------------------------------------------------------------------------------------


def cell(people: Mapping[str, Any], row: str) -> str:
    """Return "26.8% [21.0%, 33.5%]"; "" for a row that wasn't judged."""
    return percent(people["rows"][row]) if row in people["rows"] else ""


def lines(people: Mapping[str, Any], paper_way: str | None, columns: list[str]) -> list[str]:
    """Return the report's sentences about a study.

    Args:
        people: a direction's, of `people_by_way`.
        paper_way: the paper's name of the direction in its Tables 2 to 5.
        columns: the keys of the figures in the table.
    """
    found = []
    if people["simulated"]:
        found += ["> **These votes are simulated.** Nobody has judged these pictures.", ""]
    found += [
        f"**Taken for real** (as in the paper's Table 1): study [{people['study']}]({people['folder']}), "
        f"{number_of(people['participants'], 'participant')}, each row's first seed. The share of trials in which a "
        "translation was taken for real, with the 95% interval over participants; 50% would be guessing."
    ]
    if people["left_out"]:
        found[-1] += f" Not judged in this study, or trained anew since: {', '.join(people['left_out'])}."
    way = {TO_PHOTO: "map → photo"}.get(paper_way or "", "photo → map")
    if paper_way and (known := [row for row in people["rows"] if row in TABLE_1]):
        theirs = ", ".join(f"{row} {TABLE_1[row][way]}%" for row in known)
        found[-1] += f" The paper's, of maps and aerial photos ({way}), ± standard deviation: {theirs}."
    found.append("")
    count = len(people["rows"])
    if count < LEAST:
        return [*found, f"Too few rows were judged to say how far scores and people agree: {count} of {LEAST}.", ""]
    taus = people["agreement"]
    if shown := [f"{BY_KEY[key].label} {taus[key]['shown']}" for key in columns if key in taus]:
        found += [f"Whether scores and people put the rows in the same order (Kendall's τ; 1: the same, −1: the other "
                  f"way round): {'; '.join(shown)}.", ""]  # fmt: skip
    return found
