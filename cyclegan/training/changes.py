"""The settings of a run that another start has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cyclegan.errors import CheckpointError


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
            if begun and (group == "model" or name == "method"):
                raise CheckpointError(
                    "{folder} was trained with --{name} {old}, not {new}; its networks can't be continued with "
                    "other ones: choose another --output_dir",
                    folder=folder, name=name, old=old[name], new=new[name],
                )
            changes.append(Change(
                name, *(("off", "on")[v] if isinstance(v, bool) else v for v in (old[name], new[name]))
            ))  # fmt: skip
    return changes
