"""The words for what a report compares: the epochs of a run, or methods, where a study is of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cyclegan.errors import rounded
from cyclegan.study.format import Study


def state_of(report: Mapping[str, Any]) -> str:
    """Return the state of the report's plan: closed, always_valid or reached; reached without a plan."""
    return report["plan"]["state"] if report["plan"] else "reached"


def interval_of(report: Mapping[str, Any], epoch: Mapping[str, Any]) -> Sequence[float] | None:
    """Return the interval that an epoch's fooling rate is reported with.

    Before the plan is reached, it is the always-valid one, because the others hold for a number of participants that
    was fixed before.
    """
    return epoch["interval_always_valid" if state_of(report) == "always_valid" else "interval"]


def bracketed(interval: Sequence[float] | None, form: str) -> str:
    """Return "[1.92, 2.55]", each end in a format such as ".2f"; "–" for None."""
    return "–" if interval is None else f"[{rounded(interval[0], form)}, {rounded(interval[1], form)}]"


class Names:
    """A report's names for the checkpoints under judgement.

    Args:
        report: as `make_report` returns it.
    """

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.labels = {e["epoch"]: e["label"] for e in report["epochs"] if e.get("label")}

    @property
    def kind(self) -> str:
        """Return "epoch" or "method"."""
        return "method" if self.labels else "epoch"

    def full(self, epoch: int) -> str:
        """Return "epoch 20", or a method's name."""
        return self.labels.get(epoch) or f"epoch {epoch}"

    def first(self, epoch: int) -> str:
        """Return "Epoch 20", as a sentence begins, or a method's name."""
        return self.labels.get(epoch) or f"Epoch {epoch}"

    def short(self, epoch: int) -> str:
        """Return "20", or a method's name."""
        return self.labels.get(epoch) or str(epoch)


def other_scenes(study: Study) -> list[str]:
    """Return a sentence for each condition whose pictures show nobody knows which scenes."""
    return [
        f"{c.label}: Its files have other names than the pictures that the others translated, so nobody knows which "
        "scenes they show. Among these may be those of the real pictures next to them, and comparisons with the others "
        "can't make up for scenes that are easier or harder." for c in study.checkpoints if not c.matched
    ]  # fmt: skip
