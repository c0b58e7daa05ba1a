"""The settings of a run that another start has changed, and a data set that is another one altogether."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cyclegan.data.domains import DrawnDomain, Splits, is_drawn
from cyclegan.data.fingerprints import PICTURES, replaced_domain
from cyclegan.errors import CheckpointError, Message, message
from cyclegan.files import read_json

NETWORKS_OWN = ("method", "channels_a", "channels_b", "range_a", "range_b", "neighbours")
"""Settings besides the architecture that networks have learned to rely on."""


class Change(NamedTuple):
    """A setting that differs, with its values as a command line has them."""

    name: str
    then: Any
    now: Any


def changed_settings(folder: Path, before: Any, values: Mapping[str, Any], *, begun: bool) -> list[Change]:
    """Return the settings that differ from those of the start before.

    Args:
        folder: the run's.
        before: the `config` in its run.json, if it could be read.
        values: the same of this start.
        begun: the run has networks already.

    Raises:
        CheckpointError: a run that has begun had other networks.
    """
    changes = []
    groups = before if isinstance(before, dict) else {}
    for group, new in values.items():
        old = groups.get(group) if isinstance(groups.get(group), dict) else {}
        for name in sorted(new.keys() & old.keys() - {"output_dir", "resume"}):
            # A state that came from the Hub knows the data set's name, not its folder here.
            if old[name] == new[name] or name == "dataset" and old[name] == Path(str(new[name])).resolve().name:
                continue
            if begun and (group == "model" or name in NETWORKS_OWN):
                raise CheckpointError(
                    "{folder} was trained with --{name} {old}, not {new}; its networks can't be continued with "
                    "other ones: leave --{name} out, or choose another --output_dir",
                    folder=folder, name=name, old=old[name], new=new[name],
                )
            changes.append(Change(name, *map(_shown, (old[name], new[name]))))
    return changes


def _shown(value: Any) -> Any:
    """Return a setting's value as a sentence has it."""
    return "not set" if value is None else ("off", "on")[value] if isinstance(value, bool) else value


def other_pictures(folder: Path, changes: Sequence[Change], dataset: str, splits: Splits) -> Message | None:
    """Return how a data set differs from the one of the run, if it is another one altogether.

    The recorded pictures decide, wherever they are now. Where none are known, it is another data set if `--dataset`
    and the name of a domain have changed, or one of the two is drawn by code.

    Args:
        folder: the run's, which has begun.
        changes: see `changed_settings`.
        dataset: `--dataset`, which `splits` are of.
    """
    settings = {change.name: change for change in changes if change.name in ("dataset", "domain_a", "domain_b")}
    moved = settings.get("dataset")
    drawn = isinstance(splits.train_a, DrawnDomain)
    if moved is None or is_drawn(str(moved.then)) == drawn:
        replaced = None
        with contextlib.suppress(CheckpointError):  # Missing, as in old runs and those of the Hub, or damaged.
            recorded = read_json(folder / PICTURES, error=CheckpointError)
            replaced = replaced_domain(recorded, splits)
        if replaced and replaced[0]:
            turned = dataclasses.replace(splits, train_a=splits.train_b, train_b=splits.train_a)
            if replaced_domain(recorded, turned) == ("", 0, 0):
                return message("{dataset} has its domains the other way round: A's pictures are B, and B's are A",
                               dataset=dataset)  # fmt: skip
            side, left, total = replaced
            if not left:
                return message("none of domain {side}'s is in {dataset}", side=side, dataset=dataset)
            return message("only {left} of domain {side}'s {total} are in {dataset}", left=left, side=side,
                           total=total, dataset=dataset)  # fmt: skip
        if replaced or moved is None or len(settings) < 2:
            return None
    return message("{differences}", differences="; ".join(
        f"--{name} was {change.then}, now {change.now}" for name, change in settings.items()
    ))  # fmt: skip
