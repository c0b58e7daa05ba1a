"""Files of scores that travel: checked before anything of them is shown, without this machine's paths, and joined."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.format import epoch_name
from cyclegan.config import DIRECTIONS
from cyclegan.evaluation.scores.report import SECTIONS, VERSION, Report, ScoresError, read_report
from cyclegan.evaluation.scores.table import SCORES
from cyclegan.files import name_alone

MAX_ENTRIES = 2000
"""In each part of a file, such as epochs; far more than any page can show."""
MAX_TEXT, MAX_NUMBER = 2000, 1e15


def read_checked(path: Path) -> Report:
    """Return a file of scores by whomever it was written, `checked`. Raises ScoresError."""
    return checked(read_report(path.parent, path.stem, ""))


def checked(report: Report) -> Report:
    """Return a report whose parts are all of the right kind, without figures that aren't finite.

    Raises:
        ScoresError: a part is missing, of another kind, or larger than any evaluation writes.
    """
    try:
        return Report(report.path, _checked(report.content))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        where = f"{report.path.parent.name}/{report.path.name}"
        raise ScoresError("{file} isn't a file of scores of this version: remove it", file=where) from error


def _checked(content: Mapping[str, Any]) -> dict[str, Any]:
    _limit(content)
    names = dict(content.get("names", {}))
    found = {"version": VERSION, "name": content["name"], "run": str(content.get("run", "")), "names": names}
    if "measured" in content:
        found["measured"] = datetime.fromisoformat(content["measured"]).isoformat()
    for way in DIRECTIONS:
        if way in content:
            if not all(isinstance(names[end], str) for end in way):
                raise ValueError("domains without names")
            found[way] = {"measured_on": _facts(content[way]["measured_on"]), **_known(content[way])}
            for section in SECTIONS:
                answers = content[way][section].items()
                found[way][section] = {name: _answer(section, name, scores) for name, scores in answers}
    return found


def _limit(value: Any) -> None:
    """Raise ValueError for a text, a number or a collection that is far too large."""
    if isinstance(value, str):
        large = len(value) > MAX_TEXT
    elif isinstance(value, float):
        large = math.isfinite(value) and abs(value) > MAX_NUMBER
    elif isinstance(value, int):
        large = abs(value) > MAX_NUMBER
    else:
        parts = [*value, *value.values()] if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        large = len(parts) > 2 * MAX_ENTRIES
        for part in () if large else parts:
            _limit(part)
    if large:
        raise ValueError("too large")


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {"dataset": str, "split": str, "pictures": int, "references": int, "crop_size": int}
    network, segmenter = facts.get("features"), facts.get("segmenter")
    if not (all(type(facts[name]) is kind for name, kind in kinds.items()) and isinstance(network, (str, type(None)))
            and isinstance(segmenter, (dict, type(None)))):  # fmt: skip
        raise ValueError("facts of other kinds")
    return dict(facts)


def _known(direction: Mapping[str, Any]) -> dict[str, Any]:
    """Return `trained_on` of a direction, empty without it."""
    if "trained_on" not in direction:
        return {}
    known = {name: direction["trained_on"][name] for name in ("count", "of")}
    if not all(type(number) is int and number > 0 for number in known.values()):
        raise ValueError("pictures that are no numbers")
    return {"trained_on": known}


def _answer(section: str, name: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer's scores, those that this version knows."""
    kept: dict[str, Any] = {}
    if section == "scores":
        epoch = scores["epoch"]
        if type(epoch) is not int or epoch < 1 or name != epoch_name(epoch):
            raise ValueError("no epoch")
        kept = {"commit_sha": str(scores.get("commit_sha", "")), "epoch": epoch}
    return {**kept, **{score: _figures(scores[score]) for score in SCORES if score in scores}}


def _figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, figure in figures.items():
        if key == "details":
            if not all(isinstance(each, dict) for each in figure.get("classes", {}).values()):
                raise ValueError("classes of other kinds")
            kept[key] = figure
            continue
        numbers = [figure[end] for end in ("value", "low", "high") if end in figure]
        if len(numbers) not in (1, 3) or "value" not in figure:
            raise ValueError("a figure without a value, or half an interval")
        if any(type(number) not in (int, float, type(None)) for number in numbers):
            raise ValueError("figures of other kinds")
        if all(number is not None and math.isfinite(number) for number in numbers):  # JSON's null is no number.
            kept[key] = figure
    return kept


# --- on their way -------------------------------------------------------------------------------------------


def without_paths(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's content with folders of this machine by their names alone, because others will read it."""
    found = dict(content)
    for way in DIRECTIONS:
        if way in found:
            facts = dict(found[way]["measured_on"])
            facts["dataset"] = name_alone(facts["dataset"])
            if facts.get("segmenter"):
                about = facts["segmenter"]
                trained_on = about.get("dataset")  # Of a stranger's file it may be anything.
                known = isinstance(trained_on, str)
                facts["segmenter"] = {**about, "dataset": name_alone(trained_on) if known else trained_on}
            found[way] = {**found[way], "measured_on": facts}
    return found


def joined(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of two files of one name: all of `here`, and those of `there` that `here` lacks.

    An epoch that has other weights there stays as it is there, because `there` is what was published. Directions of
    other pictures or settings aren't joined: those of `here` replace them.
    """
    found = {**here, "names": {**there["names"], **here["names"]}}
    for way in DIRECTIONS:
        if way not in there or there["names"] != found["names"]:
            continue
        if way not in here:
            found[way] = there[way]
        elif alike(here[way]["measured_on"], there[way]["measured_on"]):
            facts = {**there[way]["measured_on"], **known(here[way]["measured_on"])}
            found[way] = {"measured_on": facts, **_known(there[way]), **_known(here[way])}
            for section in SECTIONS:
                answers = {name: _both(here[way][section], there[way][section], name)
                           for name in [*there[way][section], *here[way][section]]}  # fmt: skip
                found[way][section] = answers
    return found


def known(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that were needed."""
    return {name: value for name, value in facts.items() if value is not None}


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether figures compare; the data set's name doesn't matter, because the fingerprint is of its pictures.
    """
    one, other = known(one), known(other)
    return all(one[name] == other[name] for name in one.keys() & other.keys() - {"dataset"})


def _both(here: Mapping[str, Any], there: Mapping[str, Any], answer: str) -> dict[str, Any]:
    mine, theirs = here.get(answer, {}), there.get(answer, {})
    if mine and theirs and mine.get("commit_sha") != theirs.get("commit_sha"):
        return dict(theirs)
    return {**theirs, **mine}
