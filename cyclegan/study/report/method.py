"""The method in a report: what participants did with which pictures, and who they were."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from cyclegan.errors import english, number_of
from cyclegan.study.protocol import PROTOCOLS, Protocol, trial_counts
from cyclegan.study.report.names import Names, state_of

Escape = Callable[[str], str]

_KINDS = {
    "comparison": ("comparison",), "vigilance": ("vigilance trial with a plainly broken picture",
                                                 "vigilance trials with a plainly broken picture"),
    "real_real": ("pair of two real pictures", "pairs of two real pictures"), "repeat": ("repeated pair",),
}  # fmt: skip
"""Kinds of test trials, one and several."""
_LOGINS = {
    "none": "Anyone with the link could take part.", "huggingface": "They took part by an account of Hugging Face.",
    "invitation": "They were invited by single-use links.",
}


def words(report: Mapping[str, Any], names: Names, escape: Escape) -> list[str]:
    """Return the method and the participants, a paragraph each.

    Args:
        report: as `make_report` returns it.
        names: its names, as Markdown reads them.
        escape: makes text that Markdown doesn't read.
    """
    return [_method(report, names, escape), _who(report, escape)]


def _method(report: Mapping[str, Any], names: Names, escape: Escape) -> str:
    protocol, study = report["protocol"], report["study"]
    single, several = protocol["presentation"] == "single", len(report["epochs"]) > 1
    shown = {"together": "side by side", "sequence": "one after the other", "single": "one at a time"}
    ask = {
        "realness": "said whether each picture was real or fake" if single
        else f"chose the {protocol['question']} one of two pictures, a real picture and a fake",
        "pick": "chose the more realistic of two fakes of the same input, ties allowed",
        "tag": "marked what was wrong with a fake",
        "rate": "rated fakes, and real pictures among them, from 1 (bad) to 5 (excellent)",
    }[protocol["task"]]  # fmt: skip
    exposure = f"each for {protocol['exposure_ms']} ms" if protocol["exposure_ms"] else "for as long as they liked"
    if protocol["exposure_ms"] and protocol.get("mask"):
        exposure += ", then covered by a pattern"
    if protocol.get("staircase_right"):
        low, high = protocol["least_exposure_ms"], protocol["most_exposure_ms"]
        exposure = f"each for {low} to {high} ms, adapted to the participant's answers"
    source, target = (study["domains"] if study["direction"] == "ab" else study["domains"][::-1])
    sessions = f"several {names.kind}s" if several and _is_mixed(protocol) else f"one {names.kind}"
    trials = number_of(protocol["test_trials"], "test trial")
    if practice := protocol["practice_trials"]:
        told = " with feedback" if protocol["task"] == "realness" else ""
        trials = f"{number_of(practice, 'practice trial')}{told}, then {trials}"
    if protocol["task"] == "realness":
        trials += " without feedback"
    counts = {kind: count for kind, count in Protocol.from_json(protocol).counts.items() if count}
    if len(counts) > 1:
        kinds = _KINDS | ({"comparison": ("rating",)} if protocol["task"] == "rate" else {})
        trials += f" ({', '.join(number_of(count, *kinds[kind]) for kind, count in counts.items())})"
    return (
        f"Participants {ask} ({escape(source)} → {escape(target)}, data set {escape(study['dataset'])}, "
        f"{study['size'][0]} × {study['size'][1]} pixels), shown {shown[protocol['presentation']]}, {exposure}. "
        f"A session had {trials}, and judged {sessions}. {_material(report, names, escape)}"
        f"Protocol: {escape(study['protocol'])}{_shortened(protocol)}{_changed(report, escape)}; "
        f"study {study['study_id'][:8]}; {report['program']}."
    )


def _is_mixed(protocol: Mapping[str, Any]) -> bool:
    """Return True if a session may judge several epochs."""
    return protocol["epochs_per_session"] == "mixed" or protocol["task"] == "pick"


def _material(report: Mapping[str, Any], names: Names, escape: Escape) -> str:
    """Return what was judged: the pictures, and what each method is."""
    pictures = report["study"]["pictures"]
    reals = f", and {number_of(pictures['reals'], 'real picture')}" if pictures["reals"] else ""
    inputs = number_of(pictures["inputs"], "input")
    text = f"The pictures, of which practice and test share none: fakes of {inputs} by each {names.kind}{reals}. "
    split = "training" if report["training_pictures"] else "test"
    text += f"All are of the {split} split, brought to this size in the same way and stored in the same form. "
    if pictures["unmatched"]:
        text += ("Inputs of the data set that weren't used, because another program's folder has no picture for them: "
                 f"{pictures['unmatched']}. ")
    protocol = report["protocol"]
    if protocol["task"] == "realness" and protocol["presentation"] != "single":
        scene = "the scene of the fake" if protocol["pairing"] == "same" else "another scene than the fake"
        text += f"The real picture next to a fake shows {scene}. "
    if len(report["epochs"]) > 1 and not _is_mixed(protocol):
        text += f"Participants got the {names.kind}s in turn, in the order in which they began. "
    text += ("The server drew pictures and sides, evenly over the sessions; no session shows a scene twice, except in "
             "pairs of one scene and in repeats. ")
    if names.labels:
        runs = [f"{names.short(e['epoch'])}: {_made_by(e, escape)}" for e in report["epochs"]]
        text += f"The methods: {'; '.join(runs)}. "
    return text


def _made_by(epoch: Mapping[str, Any], escape: Escape) -> str:
    """Return what made an epoch's fakes: a run's epoch, or another program."""
    if epoch["foreign"]:
        return f"files of another program, {escape(epoch['source'])}"
    return f"{escape(epoch['source'])}, epoch {epoch['of_epoch']}"


def _changed(report: Mapping[str, Any], escape: Escape) -> str:
    """Return what a changed preset was before; nothing for any other protocol."""
    protocol = report["protocol"]
    preset = PROTOCOLS.get(str(protocol.get("name")))
    if preset is None or not report["study"]["protocol"].endswith(", changed"):
        return ""
    now, own = Protocol.from_json(protocol), preset
    parts = [f"`{field.name}` {escape(str(getattr(own, field.name)))} → {escape(str(getattr(now, field.name)))}"
             for field in dataclasses.fields(Protocol) if field.name in protocol
             and getattr(own, field.name) != getattr(now, field.name)]  # fmt: skip
    return f" ({', '.join(parts)})"


def _shortened(protocol: Mapping[str, Any]) -> str:
    """Return what a shortened protocol was before; nothing for any other."""
    preset = PROTOCOLS.get(str(protocol.get("name")).removesuffix(", shortened"))
    if preset is None or protocol["name"] == preset.name:
        return ""
    trials = trial_counts(preset.practice_trials, preset.test_trials)
    return f" from {trials['practice']} and {trials['test']}, for which the data set has too few pictures"


def _who(report: Mapping[str, Any], escape: Escape) -> str:
    people, trials = report["participants"], f", with {number_of(report['trials'], 'test trial')} that count"
    text = (f"{number_of(people['started'], 'participant')} started, and {people['counted']} "
            f"{english('counts', 'count', people['counted'])}"
            f"{'' if state_of(report) == 'closed' else trials}. {_LOGINS[report['protocol']['login']]}")
    if people["left_out"]:
        left_out = "; ".join(f"{escape(entry['reason'])}: {entry['count']}" for entry in people["left_out"])
        text += f" Left out: {left_out}."
    if people["forgotten"]:
        erased = number_of(people["forgotten"], "participant")
        text += f" Not among them: {erased}, whose answers were erased at their request."
    votes = report["votes"]
    if votes["first"]:
        days = votes["first"] if votes["first"] == votes["last"] else f"{votes['first']} to {votes['last']}"
        languages = ", ".join(f"{escape(name)}: {count}" for name, count in votes["languages"].items())
        text += f" Votes that count are from {days} (UTC); languages of participants: {languages or 'unknown'}."
    return text
