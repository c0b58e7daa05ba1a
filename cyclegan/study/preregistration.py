"""A study's frozen plan as one Markdown document, to be registered before the first vote.

Its headings follow the questions of AsPredicted and of OSF's template. All but the hypotheses comes from study.json, so
that the document can't promise what the program doesn't do.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from datetime import datetime

from cyclegan import __version__
from cyclegan.errors import number_of
from cyclegan.study import rules
from cyclegan.study.blinding import resolution_of
from cyclegan.study.findings import tells
from cyclegan.study.format import Study
from cyclegan.study.protocol import Protocol
from cyclegan.study.questions import Question
from cyclegan.study.report.left_out import left_out_by_rule
from cyclegan.study.report.markdown import escape
from cyclegan.study.report.names import other_scenes
from cyclegan.study.store import Store

_RATE = (
    "The fooling rate of each {kind}: the part of the test trials that compare a real picture with a fake in which the "
    "fake was taken for real. 50% equals guessing."
)
_MEASURES = {
    "realness": _RATE,
    "pick": "For each pair of {kind}s, which fake of the same input is preferred, with ties; from these, Bradley-Terry "
    "strengths with a tie as half a win for each.",
    "tag": "For each {kind}, the part of its fakes that are marked with each tag, and with any.",
    "rate": "For each {kind}, and for the real pictures that are rated among the fakes, the mean opinion score: the "
    "mean of the ratings from 1 to 5.",
    "staircase": "For each {kind}, the mean over participants of their thresholds: a participant's is the mean "
    "exposure over the second half of the trials. The staircase makes everybody right about equally often, so there is "
    "no fooling rate.",
}
_INTERVALS = {
    "realness": "95% intervals from cluster-robust variances with Student's t on the logit scale: over participants "
    "(for these pictures), and crossed over participants and pictures (for other pictures, too). The bootstrap's "
    "standard deviation and Wilson's interval are given for comparison only.",
    "pick": "95% intervals from a bootstrap over participants.",
    "tag": "95% intervals over participants.",
    "rate": "95% intervals over participants (for these pictures), and crossed over participants and pictures (for "
    "other pictures, too).",
    "staircase": "95% intervals from a bootstrap over participants, for these pictures.",
}
_LIVE = {
    "closed": "Before that, reports and the results page compute no results and show only the number of participants, "
    "and how many each rule leaves out; the votes themselves can be exported by whoever runs the study.",
    "always_valid": "Before that, results are shown with confidence sequences, which hold however often somebody "
    "looks, and without tests: of each rate over participants at 95%, and of each difference from those of its two "
    "rates at 97.5% each, not corrected for their number. A decision to stop early may rest on these alone.",
    "open": "Results can be seen before that, with intervals and tests that assume a number of participants that was "
    "fixed beforehand.",
}
_LOGINS = {
    "none": "Anyone with the link takes part, one session for each participant id or browser, which doesn't rule out "
    "that somebody takes part twice",
    "huggingface": "Accounts of Hugging Face take part, one session each",
    "invitation": "Invited people take part, by single-use links, one session each",
}


@dataclass(frozen=True)
class SoFar:
    """People's votes at the time of a preregistration."""

    votes: int = 0
    participants: int = 0
    first: datetime | None = None
    forgotten: int = 0
    """Participants who were erased, with an unknown number of votes."""
    forgotten_at: datetime | None = None
    """When the first of them was."""


def votes_so_far(study: Study, store: Store) -> SoFar:
    """Return how much people have voted, practice included. Simulated participants are none."""
    votes = store.votes(study)
    votes = votes[votes["origin"] == "people"]
    erased = store.forgotten(study)
    first = None if votes.empty else votes["server_time"].min().to_pydatetime()
    return SoFar(len(votes), votes["participant"].nunique(), first, len(erased), erased[0] if erased else None)


def preregistration(study: Study, so_far: SoFar, *, hypotheses: str = "", now: datetime) -> str:
    """Return the document in Markdown.

    Args:
        hypotheses: the owner's words; empty: the document says that there are none.
        now: the document's date.
    """
    kind = "method" if study.labels else "epoch"
    parts = [
        f"# Preregistration: {escape(study.title or study.name)}",
        _status(so_far, now),
        "## 1. Data collection", _collected(so_far),
        "## 2. Hypotheses", _own_words(hypotheses) or
        "None were written down, so whatever this study finds is exploratory.",
        "## 3. Conditions", *_conditions(study, kind),
        "## 4. Procedure", *_procedure(study),
        "## 5. Measures", _MEASURES.get(_kind_of(study.protocol), "The figures that the report gives for this task, by "
                                        "{kind}.").format(kind=kind),
        "## 6. Participants, and when data collection stops", *_participants(study, kind),
        "## 7. Who and what doesn't count", *_exclusions(study),
        "## 8. Analyses", *_analyses(study, kind),
        "## 9. Randomisation and blinding", _blinding(study),
        "## 10. The frozen study", *_frozen(study),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _kind_of(protocol: Protocol) -> str:
    return "staircase" if protocol.staircase_right else protocol.task


def _status(so_far: SoFar, now: datetime) -> str:
    written = f"Written {now:%Y-%m-%d %H:%M} UTC by cyclegan-workbench {__version__}"
    if not so_far.votes and so_far.forgotten:
        return (
            f"> **Nothing shows that this is a registration before the data.** {written}, when no vote was stored, but "
            f"{number_of(so_far.forgotten, 'participant')} had been erased by `study forget`, from "
            f"{so_far.forgotten_at:%Y-%m-%d %H:%M} UTC on. How many votes they had given is no longer known. The plan "
            "below was frozen when the study was built."
        )
    if not so_far.votes:
        return f"{written}, before the first vote."
    return (
        f"> **This is not a registration before the data.** {written}, when "
        f"{number_of(so_far.participants, 'participant')} had given {number_of(so_far.votes, 'vote')}; the first one "
        f"came {so_far.first:%Y-%m-%d %H:%M} UTC. The plan below was frozen when the study was built."
    )


def _collected(so_far: SoFar) -> str:
    erased = ""
    if so_far.forgotten:
        erased = f" {number_of(so_far.forgotten, 'participant')} and whatever they had answered were erased."
    if so_far.votes:
        votes, people = number_of(so_far.votes, "vote"), number_of(so_far.participants, "participant")
        return f"Under way: {votes} of {people}.{erased}"
    begun = f" {number_of(so_far.participants, 'participant')} began without answering." if so_far.participants else ""
    return f"{'No vote is stored.' if erased else 'No vote has been given.'}{erased}{begun}"


def _own_words(text: str) -> str:
    """Return the owner's Markdown, with headings below those of the document."""
    from markdown_it import MarkdownIt

    lines = text.strip().splitlines()
    for token in reversed(MarkdownIt("commonmark").parse("\n".join(lines))):
        if token.type != "heading_open" or not token.map:
            continue
        start, end = token.map
        level = min(6, int(token.tag[1]) + 2)
        if token.markup[0] == "#":
            lines[start] = re.sub(r"#+", "#" * level, lines[start], count=1)
        elif token.level == 0:  # Underlined.
            lines[start:end] = [f"{'#' * level} {' '.join(line.strip() for line in lines[start : end - 1])}"]
    return "\n".join(lines)


def _conditions(study: Study, kind: str) -> list[str]:
    mixed = len(study.arms) == 1 and len(study.epochs) > 1
    between = "within participants: each session judges all of them" if mixed else (
        f"between participants: each session judges one {kind}" if len(study.epochs) > 1 else "one, no comparison")
    named = bool(study.labels)
    rows = [["method"] * named + ["source", "epoch", "commit"], ["---"] * (3 + named)]
    rows += [[escape(c.label)] * named + [escape(c.source), "–" if c.foreign else str(c.true_epoch),
                                          f"{'files ' if c.foreign else ''}`{c.commit_sha}`"]
             for c in study.checkpoints]  # fmt: skip
    foreign = ", ".join(escape(c.label) for c in study.checkpoints if c.foreign)
    return [
        f"{number_of(len(study.epochs), kind)} ({between}), {escape(study.arrow)}, data set {escape(study.dataset)}, "
        f"pictures of {study.size[0]} × {study.size[1]} pixels"
        f"{', from the training pictures, which the networks have seen' if study.split else ''}."
        + (" Test pictures that the networks have seen in training: {} of {}.".format(*study.trained_on)
           if study.trained_on else ""),
        "Fakes of {inputs} by each {kind}, and {reals}; practice and test trials share none.{unmatched}".format(
            unmatched=f" Inputs that aren't used, because another program's folder has no picture for them: "
            f"{study.unmatched}." if study.unmatched else "",
            kind=kind, inputs=number_of(study.picture_counts["inputs"], "input"),
            reals=number_of(study.picture_counts["reals"], "real picture"),
        ),
        "\n".join(f"| {' | '.join(row)} |" for row in rows),
        foreign and f"Other programs made the pictures of {foreign}; in the place of a commit stands a hash of their "
        "files.",
        *map(escape, other_scenes(study)),
    ]


def _procedure(study: Study) -> list[str]:
    p = study.protocol
    shown = {"together": "two pictures side by side", "sequence": "two pictures one after the other",
             "single": "one picture at a time"}.get(p.presentation, p.presentation)  # fmt: skip
    exposure = f"for {p.exposure_ms} ms each, then unlimited time to answer" if p.exposure_ms else "until the answer"
    counts = ", ".join(f"{name.replace('_', '-')} {count}" for name, count in p.counts.items() if count)
    told = " with feedback" if p.task == "realness" and p.practice_trials else ""
    practice = ""
    if p.practice_trials:
        practice = f"{number_of(p.practice_trials, 'practice trial')}{told}, which never count, then "
    sentences = [
        f"Protocol {escape(p.label)}: {shown}, {exposure}. "
        f"{practice}{number_of(p.test_trials, 'test trial')}{' without' if told else ''} ({counts}).",
        f"{_LOGINS.get(p.login, p.login)}.",
    ]
    if p.staircase_right:
        sentences.append(
            f"In the test it adapts, from {p.least_exposure_ms} to {p.most_exposure_ms} ms: right answers in a row "
            f"({p.staircase_right}) make it {p.step_down_ms} ms shorter, a wrong one makes it {p.step_up_ms} ms longer."
        )
    if p.counts["vigilance"]:
        sentences.append("In a vigilance trial, the fake is plainly broken: a real picture whose blocks are shuffled.")
    if p.qualification:
        sentences.append(f"Who gets less than {p.qualification:.0%} of practice right doesn't continue to the test.")
    parts = [" ".join(sentences)]
    if consent := study.consent:
        others = f"; in other languages {', '.join(f'`{sha}`' for sha in list(consent.hashes.values())[1:])}"
        named = ", ".join(filter(None, (consent.version and f"version {escape(consent.version)}",
                                        consent.ethics and f"ethics approval {escape(consent.ethics)}")))
        parts.append(f"Participants first agree to a consent ({named + ', ' if named else ''}SHA-256 of its text "
                     f"`{consent.sha256}`{others if consent.translations else ''}).")
    if study.questions:
        parts.append("Questions before and after the pictures:")
        parts.append("\n".join(f"- {q.when}, `{q.id}`: {escape(q.text)} ({_answers(q)})" for q in study.questions))
    return parts


def _answers(question: Question) -> str:
    answered = {"choice": "; ".join(map(escape, question.options)), "number": "a number", "text": "in words"}
    return f"{answered[question.kind]}{'' if question.required else '; can be left out'}"


def _participants(study: Study, kind: str) -> list[str]:
    p = study.protocol
    if not p.planned_participants:
        return ["No number of participants is planned, so data collection has no end that was fixed beforehand."]
    total = p.planned_participants * len(study.arms)
    each = f" for each {kind}, {total} in all" if len(study.arms) > 1 else ""
    parts = [f"{number_of(p.planned_participants, 'participant')} who count{each}. {_LIVE[p.results]}",
             "Those who count beyond it, because others were still taking part, are analysed, too. Nobody goes on "
             "because of the results."]
    if found := resolution_of(study, p.planned_participants):
        parts.append(
            f"At a fooling rate of 27% and a correlation within participants of {found['icc']}, 80% of such studies "
            f"reach, for these pictures, ± {found['half_width']:.1%}, and for other pictures, too, "
            f"± {found['crossed_half_width']:.1%}. For these, {tells(found)}; for others, too, "
            f"{tells(found, crossed=True)}."
        )
    return parts


def _exclusions(study: Study) -> list[str]:
    found = [each["rule"] for each in left_out_by_rule(study, [])]
    p = study.protocol
    listed = [
        "sessions that aren't complete", *["sessions that don't qualify in practice"] * bool(p.qualification), *found,
        "participants whom the study's owner excludes by hand; each with a recorded reason, which the report counts",
    ]  # fmt: skip
    text = ["Left out are:", "\n".join(f"- {each}" for each in listed)]
    if "impossible" in rules.active(p):
        both = " The report gives the figure with and without what these rules leave out." if p.gives_rate else ""
        text.append(f"A single vote at an impossible time doesn't count either.{both}")
    elif not found:
        text.append("No rule about answers leaves out sessions.")
    return text


def _analyses(study: Study, kind: str) -> list[str]:
    p = study.protocol
    parts = [_INTERVALS.get(_kind_of(p), "95% intervals over participants.")]
    if p.gives_rate and len(study.epochs) > 1:
        trend = "" if study.labels else "A trend over epochs, and contrasts"
        parts.append(
            f"{trend or 'Contrasts'} between {kind}s: studentised permutation tests over participants and pictures, "
            "two-sided at 5%; contrasts are corrected by Holm."
        )
    if p.task == "rate":
        parts.append("Differences of mean opinion scores, each fake's from the real pictures', too: studentised "
                     "permutation tests over participants and pictures, two-sided at 5%, corrected by Holm.")
    if p.staircase_right and len(study.epochs) > 1:
        parts.append(f"Differences of thresholds between {kind}s: studentised permutation tests over participants, "
                     "two-sided at 5%, corrected by Holm.")
    if p.presentation == "single" and p.gives_rate:
        parts.append("d′ and criterion per participant (log-linear correction), and the total error of HYPE∞.")
    if p.gives_rate:
        parts.append("A logistic mixed model with crossed participants and pictures is a second opinion, reported next "
                     "to the interval, not instead of it.")
    vigilance = "vigilance, " if p.vigilance_share else ""
    parts.append(f"Also reported, without a hypothesis: response times, preference for a side, {vigilance}measured "
                 "exposure, agreement, and the pictures that fooled most and least.")
    parts.append(f"All of it is computed by `python -m cyclegan study report` of version {__version__}.")
    return parts


def _blinding(study: Study) -> str:
    kinds = "methods" if study.labels else "epochs"
    turns = (
        f"Participants get the {kinds} in turn, in the order in which they begin; this isn't drawn, so whoever invites "
        "people shouldn't choose whom to invite when. " if len(study.arms) > 1 else ""
    )
    drawn = (
        f"Sequences and sides are drawn from a secret, fixed beforehand by its SHA-256 `{study.secret_sha256}` and "
        "published, if at all, after the last session."
        if study.secret_sha256 else
        "Sequences were drawn without a secret, as in studies of older versions: participants could compute them."
    )
    return (
        f"{drawn} Pictures, sides and {kinds} are used evenly over the sessions; a session shows no scene twice, "
        f"except in pairs of one scene and in repeats. {turns}Participants never see which network made a picture."
    )


def _frozen(study: Study) -> list[str]:
    fields = {**dataclasses.asdict(study.protocol), "name": study.protocol.label}
    rows = "\n".join(f"| `{name}` | {escape(str(value))} |" for name, value in fields.items())
    return [
        f"Study `{escape(study.name)}`, id `{study.study_id}`: the first 32 hex digits of the SHA-256 of study.json, "
        f"which names every picture by its SHA-256 ({number_of(len(study.stimuli), 'picture')}). All of it: "
        f"`{study.sha256}`; `sha256sum study.json` gives the same. Every vote is bound to this id.",
        "The protocol:",
        f"| field | value |\n| --- | --- |\n{rows}",
    ]
