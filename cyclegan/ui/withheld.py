"""Pictures of runs that visitors don't see while a study of the same pictures is served here.

Whoever has seen a test picture or its translation with a label can recognise it in a study. On the owner's own computer
nothing is withheld. Elsewhere the samples of epochs are for the owner, and the examples for nobody, as long as the app
serves the study.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.ui import runs, words
from cyclegan.ui.owner import proof_of
from cyclegan.ui.workbench import Workbench


def studies_with(bench: Workbench, info: CheckpointInfo | None) -> list[str]:
    """Return the studies served to others that may show an epoch's test pictures; all without an epoch or its data set.

    Args:
        info: the epoch; None for a run without one.
    """
    if bench.studies is None or bench.studies.own:
        return []
    if info is None or info.config is None:
        return bench.studies.names()
    return bench.studies.showing(info.config.data.dataset, info.measured_on)


def from_visitor(bench: Workbench, info: CheckpointInfo | None, request: Any) -> list[str]:
    """Return the studies because of which this visitor may not see an epoch's samples; none for the owner."""
    found = studies_with(bench, info)
    return [] if found and bench.studies.may_see(proof_of(request)) else found


def sentence(studies: list[str], say: words.Speaker, *, owner: bool = False) -> str:
    """Return what a visitor reads in place of samples, or their owner next to them."""
    named = ", ".join(studies)
    if owner:
        return say(
            "Only you see these samples while this app serves a study of the same pictures: {studies}.", studies=named
        )
    return say(
        "The samples aren't shown while this app serves a study of the same pictures: {studies}.", studies=named
    )


def examples(bench: Workbench, run: str | None) -> list[Path]:
    """Return the examples of a run that its pages may show."""
    source = bench.run(run)
    found = runs.examples_of(source)
    for_others = found and bench.studies is not None and not bench.studies.own
    return [] if for_others and studies_with(bench, next(iter(source.list()), None)) else found
