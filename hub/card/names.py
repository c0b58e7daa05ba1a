"""Names on a card: of domains, figures, data set and model; none is escaped for Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cyclegan.config import DataConfig
from cyclegan.evaluation.figures import FIGURES, Figure
from hub.readme import one_line

LISTED = tuple(figure for figure in FIGURES if figure.in_lists)
"""The columns of the table of epochs."""
METRICS = tuple(figure for figure in LISTED if figure.group == "metrics")
"""The figures in the model-index."""
_HUB_ID = re.compile(r"([a-zA-Z0-9][\w.-]*/[\w.-]+)(?::([\w.-]+))?", re.ASCII)


def figure_values(figure: Figure, entry: Mapping[str, Any], directions: Sequence[str]) -> list[float | None]:
    """Return an epoch's value for each direction; None where there is no finite one."""
    return [figure.value(entry.get(figure.group) or {}, direction) for direction in directions]


def figure_title(figure: Figure) -> str:
    """Return the heading of a figure's column."""
    return f"{figure.label} loss" if figure.group == "losses" else str(figure.label)


def hub_dataset(name: str) -> tuple[str | None, str | None]:
    """Return the id and configuration of a data set on the Hub; None, None if it is something else."""
    match = _HUB_ID.fullmatch(name)
    return (match[1], match[2]) if match else (None, None)


def model_name(repo_id: str) -> str:
    """Return the model's name in the model-index."""
    return repo_id.rpartition("/")[2]


def domains(data: DataConfig) -> tuple[str, str]:
    """Return the names of both domains."""
    return one_line(data.domain_a, "A"), one_line(data.domain_b, "B")


def ways(data: DataConfig) -> dict[str, str]:
    """Return `day → night` by direction."""
    a, b = domains(data)
    return {"ab": f"{a} → {b}", "ba": f"{b} → {a}"}


class Start(NamedTuple):
    """The checkpoint that a run started from."""

    name: str
    epoch: int
    repo_id: str | None
    """Its repository; None for a run that isn't known to be on the Hub."""


def start_of(started_from: Any) -> Start | None:
    """Return the start that a checkpoint.json records; None for random weights, or an entry that can't be read."""
    if not isinstance(started_from, Mapping) or type(started_from.get("epoch")) is not int:
        return None
    name = one_line(str(started_from.get("source") or ""), "unknown")
    repo_id = name.partition("@")[0] if started_from.get("on_hub") is True else ""
    return Start(name, started_from["epoch"], repo_id if _HUB_ID.fullmatch(repo_id) else None)


def known_repo(name: Any) -> str | None:
    """Return USER/NAME of the Hub; None for anything else."""
    return name if isinstance(name, str) and "/" in name and hub_dataset(name) == (name, None) else None


def study_way(study: Mapping[str, Any]) -> str:
    """Return a study's `day → night`."""
    domains, direction = study.get("domains"), study.get("direction")
    names = [one_line(str(name), "?") for name in domains] if isinstance(domains, list) and len(domains) == 2 else "AB"
    return " → ".join(reversed(names) if direction == "ba" else names)
