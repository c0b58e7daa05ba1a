"""The outcome of a simulation, in words: what was simulated, and whom the report leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cyclegan.errors import number_of
from cyclegan.study.format import Study

if TYPE_CHECKING:
    import pandas as pd

LOOK = "look"
"""The kind of participants who look at every picture and answer, in the table of kinds."""
MEASURES = {
    "realness": ("taken for real", ".1%"), "rate": ("mean rating", ".2f"), "pick": ("preferred", ".1%"),
    "tag": ("marks per picture", ".2f"),
}  # fmt: skip
"""The mean of the simulated answers to an epoch's fakes, by task: its name and its format."""


@dataclass(frozen=True)
class SimulationResult:
    """The result of a simulation."""

    participants: int
    votes: int
    comparisons: int
    """Test trials of a fake that was seen for the first time, by those who look at every picture."""
    fooled: int
    seconds: float
    means: Mapping[int, float] = field(default_factory=dict)
    """Mean of these participants' answers by epoch, as in MEASURES."""
    trials: int = 0
    """Trials that the report counts."""
    kinds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """For each kind of participants, how many there are by the reason why they don't count; "" for those who do."""

    @property
    def fooling_rate(self) -> float | None:
        """The true rate of the simulated answers; None in tasks without truth."""
        return self.fooled / self.comparisons if self.comparisons else None


def judged(
    study: Study, votes: pd.DataFrame, sessions: pd.DataFrame, behaviours: Mapping[str, str]
) -> tuple[int, dict[str, dict[str, int]]]:
    """Return the trials that the report counts, and `SimulationResult.kinds`.

    Args:
        votes, sessions: as returned by `Store.votes` and `Store.sessions`.
        behaviours: the kind of each participant by name; "" for those who look.
    """
    from cyclegan.study.report.judging import judge, session_status

    frame = judge(study, votes)
    status = session_status(frame)
    kinds: dict[str, Counter[str]] = {}
    for row in sessions.itertuples(index=False):
        kind = behaviours[row.participant.removeprefix("hf:")] or LOOK
        kinds.setdefault(kind, Counter())[status.get(row.session_id, "session not complete")] += 1
    order = sorted(kinds, key=lambda kind: (kind != LOOK, kind))
    return int(frame["counted"].sum()), {kind: dict(kinds[kind]) for kind in order}


def words(study: Study, done: SimulationResult) -> list[str]:
    """Return lines about what was simulated, and, with bad participants, the table of who doesn't count."""
    lines = []
    if done.means:
        what, form = MEASURES[study.protocol.task]
        means = (f"{study.labels.get(e) or f'epoch {e}'} {mean:{form}}" for e, mean in sorted(done.means.items()))
        all_of_them = "simulated, before the report leaves anyone out"
        lines.append(f"{all_of_them}: fakes {what}: {', '.join(means)}" if study.protocol.task in ("realness", "pick")
                     else f"{all_of_them}: {what} of fakes: {', '.join(means)}")  # fmt: skip
    if set(done.kinds) <= {LOOK}:
        return lines
    rows = [("kind", "created", "count", "left out")]
    for kind, found in done.kinds.items():
        reasons = "; ".join(f"{reason}: {n}" for reason, n in sorted(found.items()) if reason)
        rows.append((kind, str(sum(found.values())), str(found.get("", 0)), reasons or "none"))
    lines += [f"{row[0]:<10}  {row[1]:>7}  {row[2]:>5}  {row[3]}" for row in rows]
    lines.append(_lost(done.kinds))
    return lines


def _lost(kinds: Mapping[str, Mapping[str, int]]) -> str:
    def count(found: Mapping[str, Any]) -> tuple[int, int]:
        return sum(found.values()), found.get("", 0)

    honest, kept = count(kinds.get(LOOK, {}))
    bad, unseen = map(sum, zip(*(count(found) for kind, found in kinds.items() if kind != LOOK), strict=True))
    return (f"lost of those who look: {honest - kept} of {honest}; not left out: {unseen} of "
            f"{number_of(bad, 'bad participant')}")  # fmt: skip
