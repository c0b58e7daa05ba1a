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
        return f"blind: none of {tried} tells real from fake"

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
                f"with {found['for_3_points']}; {found['to_tell']} per {found['kind']} can tell 20% from 27%; in 80% "
                "of such studies"
            )
            if found["pictures"]:
                pictures = "more" if found["pictures_for_5_points"] is None else found["pictures_for_5_points"]
                lines.append(
                    f"          for other pictures, too: ± {found['crossed_half_width']:.1%} with the "
                    f"{found['pictures']} of this study, at best ± {found['crossed_least']:.1%}; ± 5 points with "
                    f"{pictures}, and about twice as many participants"
                )
        return "\n".join(lines)


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
