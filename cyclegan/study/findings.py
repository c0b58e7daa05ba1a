"""The result of the blinding self-test: one finding for each channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cyclegan.errors import Message, english, message, number_of
from cyclegan.study.format import Stimulus


@dataclass(frozen=True)
class Finding:
    """The result for one channel."""

    channel: str
    passed: bool
    detail: Message
    """A sentence: what was found, and the remedy if one is needed."""
    p: float | None = None
    """p of the test, corrected for the number of tests; None where equality was required."""


@dataclass(frozen=True)
class BlindingReport:
    """The self-test's result."""

    study: str
    findings: tuple[Finding, ...]
    notes: tuple[Message, ...] = ()
    """Facts that don't fail the study, but should be known."""
    resolution: Mapping[str, Any] | None = None
    """The differences that the study can resolve; see `statistics.resolution`."""

    @property
    def passed(self) -> bool:
        """True if every channel is blind."""
        return all(finding.passed for finding in self.findings)

    @property
    def by_chance(self) -> bool:
        """True if it fails, but only in tests that a blind study fails once in a thousand times."""
        return not self.passed and all(finding.passed or finding.p is not None for finding in self.findings)

    @property
    def problems(self) -> list[Message]:
        """A sentence for each channel that isn't blind."""
        return [finding.detail for finding in self.findings if not finding.passed]

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs, with its sentences in English."""
        findings = [{**vars(finding), "detail": str(finding.detail)} for finding in self.findings]
        return {
            "passed": self.passed, "study": self.study, "findings": findings,
            "notes": [str(note) for note in self.notes], "resolution": self.resolution,
        }  # fmt: skip

    def summary(self) -> str:
        """Return the report in one line: how many channels are blind, and which aren't."""
        failed = [finding.channel for finding in self.findings if not finding.passed]
        tried = number_of(len(self.findings), "channel")
        if failed:
            tell = english("tells", "tell", len(failed))
            return f"not blind: {len(failed)} of {tried} {tell} real from fake ({', '.join(failed)})"
        return f"blind: nothing but the pictures gives away which are real ({tried} tried)"

    def text(self) -> str:
        """Return the report for people: a line for each channel, then the notes."""
        width = max(len(finding.channel) for finding in self.findings)
        lines = [
            f"{'ok    ' if finding.passed else 'FAILED'}  {finding.channel:{width}}  {finding.detail}"
            for finding in self.findings
        ]
        lines += [f"note: {note}" for note in self.notes]
        if found := self.resolution:
            lines.append(
                f"resolves: ± {found['half_width']:.1%} with {number_of(found['participants'], 'participant')} per "
                f"{found['kind']}, {number_of(found['trials'], 'trial')} each that count (at a fooling rate of 27% and "
                f"a correlation within participants of {found['icc']}); ± 5 points with {found['for_5_points']}, ± 3 "
                f"with {found['for_3_points']}; {tells(found)}; in 80% of such studies, for these pictures"
            )
            if found["pictures"]:
                pictures = "more" if found["pictures_for_5_points"] is None else found["pictures_for_5_points"]
                lines.append(
                    f"          for other pictures, too: ± {found['crossed_half_width']:.1%} with "
                    f"the study's {number_of(found['pictures'], 'picture')}, practice aside, at best "
                    f"± {found['crossed_least']:.1%}; ± 5 points with {pictures}, and about "
                    f"{number_of(2 * (found['for_5_points'] or 0), 'participant')}; {tells(found, crossed=True)}"
                )
        return "\n".join(lines)


def tells(found: Mapping[str, Any], *, crossed: bool = False) -> str:
    """Return how many participants, of two epochs with rates of 20% and 27%, find a difference.

    Args:
        found: a resolution, with its `kind`.
        crossed: for other pictures, too, as the report's tests do; else for these pictures.
    """
    each, several = found["kind"], found["comparisons"] > 1
    among = f" (the strictest of {found['comparisons']} comparisons by Holm)" if several else ""
    if not crossed:
        return f"{found['to_tell']} per {each} can tell 20% from 27%{among}"
    if found["to_tell_crossed"]:
        return f"{found['to_tell_crossed']} per {each} can tell 20% from 27%, as the report's tests do{among}"
    enough = found["pictures_to_tell"]
    more = f", but about {2 * found['to_tell']} with {number_of(enough, 'picture')} can" if enough else ""
    return f"no number of participants can tell 20% from 27% by the report's tests{among}{more}"


def label(stimulus: Stimulus, methods: Mapping[int, str] = MappingProxyType({})) -> str:
    """Return the truth that must not be revealed about a stimulus, with its method's name if it is among `methods`."""
    if stimulus.epoch is None:
        return stimulus.kind
    return f"{stimulus.kind} of {methods.get(stimulus.epoch) or f'epoch {stimulus.epoch}'}"


def check_same(values: Mapping[str, Mapping[str, Any]], channel: str) -> tuple[Finding | None, Mapping[str, Any]]:
    """Return the failure if an attribute isn't the same for all stimuli, and the first stimulus's attributes."""
    names = list(dict.fromkeys(name for value in values.values() for name in value))
    for name in names:
        found = Counter(str(value.get(name)) for value in values.values()).most_common()
        if len(found) > 1:
            detail = message(
                "{channel}: stimuli differ in {name}, {most} or {least}; build the study again with `study build`",
                channel=channel, name=name, most=found[0][0][:60], least=found[-1][0][:60],
            )
            return Finding(channel, False, detail), {}
    first = next(iter(values.values()))
    return None, {name: first[name] for name in names}


def listed(attributes: Mapping[str, Any]) -> str:
    """Return attributes in one line: "width 256, height 256"."""
    return ", ".join(f"{name} {value}" for name, value in attributes.items())
