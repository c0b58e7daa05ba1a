"""The notes in a report: what a reader must know to interpret the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cyclegan.errors import number_of
from cyclegan.study import statistics
from cyclegan.study.format import NO_SECRET, Study
from cyclegan.study.report import opinions, planned, thresholds
from cyclegan.study.report.names import Names, other_scenes, state_of

COUNTING_RULE = (
    "A rate counts the test trials that compare, of complete sessions that were not excluded, not disqualified, and "
    "that no rule of the protocol leaves out. Practice, vigilance trials, controls, repeated pairs and votes at "
    "impossible times never count."
)


def notes_of(study: Study, report: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know to interpret the figures."""
    found = []
    if report["simulated"]:
        found.append("All votes are simulated. Nobody has judged these pictures; the figures say nothing about them.")
        if not report["plan"] and study.protocol.results != "open":
            found.append("The study has a plan, which simulated participants needn't reach: `study report --interim` "
                         "shows the report that people's votes would give by now.")
    if report["training_pictures"]:
        found.append("The networks have seen these pictures in training, so the figures say nothing about new ones.")
    elif report["trained_on"]:
        found.append("Test pictures that the networks have seen in training: {count} of {of}. The figures are higher "
                     "than those of new pictures would be.".format(**report["trained_on"]))
    if not study.secret_sha256:
        found.append(str(NO_SECRET))
    if foreign := [f"{c.label} from {c.source}" for c in study.checkpoints if c.foreign]:
        found.append(f"Pictures that other programs made, from a folder each: {', '.join(foreign)}.")
    found += other_scenes(study)
    found.append(COUNTING_RULE)
    people = report["participants"]["counted"]
    if study.protocol.staircase_right:
        found.append(thresholds.NOTE)
    if study.protocol.gives_rate and state_of(report) == "reached":
        found.append(
            "The interval over participants holds for these pictures and other people; the crossed one for other "
            "people and other pictures of the same kind, as do trend and contrasts. Both use cluster-robust variances "
            "with t's quantiles, on the logit scale. ± sd is the papers' figure, the bootstrap's standard deviation, "
            "not an interval. Wilson's interval treats trials as independent: it is too narrow where participants "
            "differ, and wider than the one over participants where they are alike, because all of them see the same "
            "mixture of easier and harder pictures."
        )
    plan, names = report["plan"], Names(report)
    if report["contrasts"] and state_of(report) == "reached":
        found.append(planned.CONTRAST_NOTE)
    if study.protocol.task == "rate":
        found.append(opinions.NOTE)
    if plan and plan["state"] == "reached":
        found.append(
            f"Planned: {number_of(plan['participants'], 'participant')} per {names.kind}; the one with the fewest has "
            f"{plan['least']}. All who count are in the figures, also those beyond the plan: intervals and tests "
            "presuppose that nobody went on because of the results."
        )
    if plan and plan["state"] != "reached":
        found.append(
            f"The study is planned for {number_of(plan['participants'], 'participant')} per {names.kind}, and the one "
            f"with the fewest has {plan['least']} so far. " + (
                "Until then, its results are closed, so that nobody stops it at a lucky moment."
                if plan["state"] == "closed" else
                "Until then, only the always-valid intervals may decide whether to stop: they hold however often "
                "somebody looks. What holds for a number of participants that was fixed before (other intervals, "
                "tests, the trend, the mixed model, d′) comes at the end."
            )
        )
    assumed = [names.short(e["epoch"]) for e in report["epochs"] if e["interval_assumed"]]
    if assumed:
        found.append(
            f"Answers for {names.kind} {', '.join(assumed)} are all alike or from one participant, and don't show how "
            f"people differ: the interval assumes an intra-participant correlation of {statistics.ASSUMED_CORRELATION}."
        )
    if 0 < people < statistics.MIN_PARTICIPANTS:
        found.append(f"With {number_of(people, 'participant')}, every figure is provisional.")
    if study.protocol.task == "pick":
        found.append(
            "Strengths are Bradley-Terry's, with a tie as half a win for each, and a tenth of a win added for each "
            f"of any two {names.kind}s; intervals come from a bootstrap over participants."
        )
        if not report["pick"]["connected"]:
            found.append(f"Comparisons don't link all {names.kind}s: strengths of unlinked ones can't be compared.")
        elif report["pick"]["separated"]:
            one = "A method" if names.labels else "An epoch"
            found.append(f"{one} has won or lost all its comparisons: its distance from the others is unknown.")
    return found
