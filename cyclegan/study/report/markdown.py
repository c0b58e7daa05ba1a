"""A report in words: sentences that a paper could quote, and tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cyclegan.errors import number_of, rounded
from cyclegan.study import statistics
from cyclegan.study.report import asked, display, left_out, method, opinions, thresholds
from cyclegan.study.report.names import Names, bracketed, interval_of, state_of

_interval = partial(bracketed, form=".1%")
_MARKS = re.compile(r"[\\`*_\[\]|#!~$]")
"""Characters that Markdown takes for more than text, except < > &, which become entities."""
_SCENE = re.compile(r"[ab]:\d+:")


def to_markdown(report: Mapping[str, Any], pictures: Mapping[str, str] | None = None) -> str:
    """Return the report as Markdown: a sentence for each result that a paper could quote, then tables.

    Args:
        pictures: links to the report's plots, by name; "stimuli" is the sheet of pictures.
    """
    pictures = pictures or {}
    task = report["protocol"]["task"]
    parts = [f"# {escape(report['study']['title'] or report['study']['name'])}"]
    if report["simulated"]:
        parts.append("> **These votes are simulated.** Nobody has judged these pictures; the figures below say "
                     "nothing about them.")
    if report["training_pictures"]:
        parts.append("> **These are training pictures.** The networks have seen them, so the figures below say nothing "
                     "about new ones.")
    elif report["trained_on"]:
        count, of = report["trained_on"].values()
        parts.append(f"> **Test pictures that the networks have seen in training: {count} of {of}.** So the figures "
                     "below are higher than those of new pictures would be.")
    if report["trials"]:
        parts.append(_opening(report))
    parts += ["## Method", *method.words(report, _names(report), escape), *asked.words(report, _table, escape)]
    parts += left_out.words(report, _names(report), _table, _percent, _interval, escape)
    if not report["trials"]:
        plan, closed = report["plan"], state_of(report) == "closed"
        parts.append(
            f"Results are closed until {number_of(plan['participants'], 'participant')} per {_names(report).kind} "
            f"count; now it is {plan['least']} at least." if closed else "No trial counts yet, so there is no figure."
        )
    else:
        parts.append("## Results")
        words = {"realness": _realness_words, "pick": _pick_words, "tag": _tag_words, "rate": _rate_words}
        parts += (_threshold_words if report["thresholds"] else words[task])(report, pictures)
        parts += ["## Quality of the answers", *_quality_words(report, pictures)]
        parts += _stimuli_words(report, pictures)
    parts += ["## Notes", "\n".join(f"- {note}" for note in report["notes"]), "## Protocol", _protocol_table(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _opening(report: Mapping[str, Any]) -> str:
    """Return the result in plain words: who judged how much, and the outcome of each epoch, at most the extremes."""
    people, task, names = report["participants"]["counted"], report["protocol"]["task"], _names(report)
    pairs = task == "pick" or (task == "realness" and report["protocol"]["presentation"] != "single")
    who = number_of(people, "simulated participant" if report["simulated"] else "participant")
    what = ("pair of pictures", "pairs of pictures") if pairs else ("picture", "")
    text = f"{who} judged {number_of(report['trials'], *what)}"
    if task == "pick":
        best = max(report["pick"]["strengths"], key=lambda each: each["strength"])
        text += f" and preferred {names.full(best['epoch'])} most."
    elif report["thresholds"]:
        text += thresholds.opening(report, names)
    elif task == "rate":
        text += opinions.opening(report, names)
    else:
        rows = report["epochs"] if task == "realness" else [r for r in report["tag"]["rates"] if r["tag"] == "any"]
        key, verb = ("fooling_rate", "taken for real") if task == "realness" else ("rate", "marked as wrong somewhere")
        rows = sorted((row for row in rows if row[key] is not None), key=lambda row: row[key], reverse=True)
        shown = rows if len(rows) <= 3 else [rows[0], rows[-1]]
        for row in shown:
            which = f" of {names.full(row['epoch'])}" if len(report["epochs"]) > 1 else ""
            text += f"{'; ' if row is shown[0] else ', '}fakes{which} were {verb} in {_percent(row[key])} of trials "
            text += f"({_with_interval(report, row, ' over participants')})"
        text += "."
    if task == "realness" and pairs and not report["thresholds"]:
        text += " 50% would mean that nobody could tell them from real ones."
    if state_of(report) != "reached":
        plan = report["plan"]
        text += (f" This is provisional: the study is planned for {number_of(plan['participants'], 'participant')} per "
                 f"{names.kind}, and the one with the fewest has {plan['least']}.")
    elif people < statistics.MIN_PARTICIPANTS:
        text += " With so few participants, this is provisional."
    return text


def _with_interval(report: Mapping[str, Any], epoch: Mapping[str, Any], of: str = "") -> str:
    """Return the words for the interval that the report's plan allows so far.

    Args:
        of: what the ordinary interval is over, such as " over participants".
    """
    if state_of(report) != "always_valid":
        return f"95% interval{of} {_interval(epoch['interval'])}"
    found = interval_of(report, epoch)
    return f"always-valid 95% interval {_interval(found)}" if found else "no interval yet"


def _realness_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    parts, single, names = [], report["protocol"]["presentation"] == "single", _names(report)
    seen = [e for e in report["epochs"] if e["fooling_rate"] is not None]
    sentences = []
    for e in seen:
        sentence = (f"Fakes of {names.full(e['epoch'])} were taken for real in {_percent(e['fooling_rate'])} of trials "
                    f"({_with_interval(report, e, ' over participants')}")
        if e["interval_crossed"] and state_of(report) == "reached":
            sentence += f"; over participants and pictures {_interval(e['interval_crossed'])}"
        sentences.append(f"{sentence}; N = {number_of(e['participants'], 'participant')}, "
                         f"{number_of(e['trials'], 'trial')}).")
    parts.append(" ".join(sentences))
    missing = [names.short(e["epoch"]) for e in report["epochs"] if e["fooling_rate"] is None]
    if missing:
        parts.append(f"No trial counts yet for {names.kind} {', '.join(missing)}.")
    parts += _picture(pictures, "fooling-rate", f"Fooling rate over {names.kind}s")
    early = state_of(report) == "always_valid"
    # What holds only for a number of participants that was fixed before isn't shown to those who may still stop.
    heads = ["95%, always valid"] if early else ["95%, participants", "95%, crossed", "papers' ± sd", "Wilson (naive)"]
    parts.append(_table(
        [names.kind, "fooling rate", *heads, "participants", "trials", "commit"],
        [[names.short(e["epoch"]), _percent(e["fooling_rate"]),
          *([_interval(e["interval_always_valid"])] if early else
            [_interval(e["interval"]), _interval(e["interval_crossed"]),
             f"{_percent(e['paper']['rate'])} ± {_percent(e['paper']['sd'])}", _interval(e["wilson"])]),
          e["participants"], e["trials"], f"{'files ' if e['foreign'] else ''}`{e['commit_sha'][:8]}`"] for e in seen],
    ))  # fmt: skip
    if single:
        parts.append(
            "Total error (HYPE∞): fakes taken for real and real pictures taken for fake, each half of it. It is 50% "
            "if people can't distinguish them. The fooling rate alone doesn't show that: it also rises if people often "
            "answer “real”."
        )
        parts.append(_table(
            [names.kind, "total error", "95%, participants", "fakes for real", "reals for fake"],
            [[names.short(e["epoch"]), _percent(t["error"]), _interval(t["interval"]),
              _percent(t["fakes_for_real"]["rate"]), _percent(t["reals_for_fake"]["rate"])]
             for e in seen for t in [e["total_error"]]],
        ))  # fmt: skip
        parts += _detection_words(seen, names)
    parts += _mixed_words(seen, names)
    parts += _between_words(report)
    return [*parts, *_needed_words(report)]


def _detection_words(seen: Sequence[Mapping[str, Any]], names: Names) -> list[str]:
    found = [(names.short(e["epoch"]), e["detection"]) for e in seen if e["detection"]]
    if not found:
        return []
    return [
        "Signal detection, means over participants: d′ is the distance between fakes and real pictures in standard "
        "deviations, 0 if people can't distinguish them; the criterion is above 0 if they rather answer “real”. Shares "
        "are corrected log-linearly (Hautus 1995).",
        _table([names.kind, "d′", "95%, participants", "criterion", "95%, participants", "participants"],
               [[name, rounded(d["d_prime"], "+.2f"), _numbers(d["d_prime_interval"]), rounded(d["criterion"], "+.2f"),
                 _numbers(d["criterion_interval"]), d["participants"]] for name, d in found]),
    ]  # fmt: skip


def _mixed_words(seen: Sequence[Mapping[str, Any]], names: Names) -> list[str]:
    found = [(names.short(e["epoch"]), e["mixed_model"]) for e in seen if e["mixed_model"]]
    if not found:
        return []
    rows = [
        [name, "–", "–", f"no fit: {m['failed']}"] if m["failed"] else
        [name, _percent(m["rate"]), _interval(m["interval"]), ", ".join(rounded(sd, ".2f") for sd in m["sd"])]
        for name, m in found
    ]  # fmt: skip
    edge = ""
    if any(sd < 0.005 for _, m in found if not m["failed"] for sd in m["sd"]):
        edge = " A deviation of 0.00 is at the edge of the fit: the votes can't tell it from none."
    return [
        "A second opinion: a logistic mixed model with crossed participants and pictures (maximum likelihood by "
        "Laplace's approximation). Its rate is for all possible participants and pictures: compare it with the crossed "
        f"interval.{edge}",
        _table([names.kind, "rate", "95%, mixed model", "sd of participants, fakes, reals (logit)"], rows),
    ]


def _needed_words(report: Mapping[str, Any]) -> list[str]:
    """Return how many participants and pictures the report's precision takes."""
    names, (low, high) = _names(report), statistics.PLANNING_RATES
    text = (
        f"Participants per {names.kind} for a 95% interval of ± 5 or ± 3 points, so that at least "
        f"{statistics.ASSURANCE:.0%} of such studies reach it. They allow for what few participants can't show: "
        f"for a larger correlation than was seen and, with fewer than {statistics.MIN_PARTICIPANTS}, for a rate nearer "
        f"to 50%; a rate below {low:.0%} or above {high:.0%} counts as {low:.0%} or {high:.0%}. They are "
        "cautious: nine in ten such studies and more reach it with them. “Other pictures” is for the crossed interval: "
        "only more pictures make it narrower than “at best”. With the pictures needed for it, half of "
        "the variance is left to participants; fewer pictures take more participants, up to none that is enough."
    )
    rows = [(names.short(e["epoch"]), e["participants_needed"]) for e in report["epochs"] if e["trials"]]
    for_these = [
        [name, f"{rounded(n['correlation'], '.3f')}{' (assumed)' if n['assumed'] else ''}",
         *(_count(n[f"{what}for_{points}_points"]) for points in (5, 3) for what in ("", "still_"))]
        for name, n in rows
    ]  # fmt: skip
    for_others = [
        [name, n["pictures"], f"± {100 * n['crossed_least']:.1f}",
         *(_count(n[f"{what}_for_{points}_points"]) for points in (5, 3) for what in ("crossed", "pictures"))]
        for name, n in rows
    ]  # fmt: skip
    return [
        text,
        _table([names.kind, "intra-participant correlation", "for ± 5", "still missing", "for ± 3", "still missing"],
               for_these),
        _table([f"{names.kind}, other pictures", "pictures", "at best", "participants for ± 5", "pictures needed",
                "participants for ± 3", "pictures needed"], for_others),
    ]  # fmt: skip


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)


def _between_words(report: Mapping[str, Any]) -> list[str]:
    parts, trend, names = [], report["trend"], _names(report)
    if trend:
        p = _p(trend["p"]) if trend["p"] < 0.001 else f"= {_p(trend['p'])}"
        step = rounded(100 * trend["points_per_step"], "+.1f")
        way = "rose" if step.startswith("+") else "fell" if step.startswith("-") else "changed"
        steps = f" (95% interval {_points(trend['interval'])})" if trend["interval"] else ""
        order = " → ".join(str(epoch["epoch"]) for epoch in report["epochs"] if epoch["trials"])
        parts.append(
            f"From one of these epochs to the next ({order}), the rate {way} by "
            f"{100 * abs(trend['points_per_step']):.1f} points on average{steps}; permutation test of the trend, over "
            f"participants and pictures: p {p}, N = {trend['participants']}."
        )
    if contrasts := report["contrasts"]:
        paired = contrasts[0]["paired"]
        who = f"of each {names.kind}, different people"
        if paired:
            who = f"who judged both {names.kind}s, each compared with themselves"
        early = state_of(report) == "always_valid"
        holm = f" Holm's p is corrected for all {len(contrasts)} contrasts." if len(contrasts) > 1 else ""
        who = f"Two {names.kind}s compared: N counts the participants {who}; "
        parts.append(
            f"{who}the 95% interval is always valid, for these pictures." if early else
            f"{who}interval and p are based on them, and hold for other people and other pictures. The 95% interval "
            f"isn't corrected for the number of contrasts. p is a studentised permutation test's.{holm}"
        )
        needed = "participants, at most," if paired else f"participants per {names.kind}"
        parts.append(_table(
            [f"{names.kind}s", "difference (points)", "N", *(
                ["95%, always valid"] if early else
                ["95%, crossed, uncorrected", "p", "p, Holm", "P(A > B)",
                 f"{needed} for 80% power at the observed difference"])],
            [[f"{names.short(c['epoch_a'])} − {names.short(c['epoch_b'])}", rounded(100 * c["difference"], "+.1f"),
              _contrast_n(c), _points(c["interval"]), *(
                  [] if early else [_p(c["p"]), _p(c["p_holm"]), _percent(c["a_beats_b"]),
                                    c["participants_needed"] or "–"])] for c in contrasts],
        ))  # fmt: skip
    return parts


def _contrast_n(contrast: Mapping[str, Any]) -> str:
    """Return a contrast's number of participants: of both epochs at once, or of each."""
    if contrast["paired"]:
        return str(contrast["participants_a"])
    return f"{contrast['participants_a']} + {contrast['participants_b']}"


def _pick_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    pick, names = report["pick"], _names(report)
    best = max(pick["strengths"], key=lambda s: s["strength"])
    parts = [
        f"{names.first(best['epoch'])} was preferred most (Bradley-Terry strength "
        f"{rounded(best['strength'], '+.2f')}, 95% interval {_numbers(best['interval'])}); ties in "
        f"{_percent(pick['tie_share'])} of {number_of(pick['trials'], 'trial')} "
        f"(N = {number_of(pick['participants'], 'participant')})."
    ]
    parts += _picture(pictures, "preferences", "Bradley-Terry strengths")
    parts.append(_table([names.kind, "strength (logit)", "95%, participants"],
                        [[names.short(s["epoch"]), rounded(s["strength"], "+.2f"), _numbers(s["interval"])]
                         for s in pick["strengths"]]))
    parts.append(_table(
        ["A – B", "A preferred", "ties", "B preferred", "P(A beats B)", "95%, participants"],
        [[f"{names.short(d['epoch_a'])} – {names.short(d['epoch_b'])}", d["wins"], d["ties"], d["losses"],
          _percent(d["a_beats_b"]), _interval(d["interval"])] for d in pick["duels"]],
    ))  # fmt: skip
    return parts


def _threshold_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    picture = _picture(pictures, "thresholds", "Thresholds of exposure")
    return thresholds.words(report, _names(report), _table, _percent, _p, picture)


def _rate_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    return opinions.words(report, _names(report), _table, _p, _picture(pictures, "opinions", "Mean opinion scores"))


def _tag_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    rates, names = report["tag"]["rates"], _names(report)
    parts = [" ".join(
        f"Of fakes of {names.full(row['epoch'])}, {_percent(row['rate'])} were marked (95% interval over participants "
        f"{_interval(row['interval'])}; N = {number_of(row['participants'], 'participant')}, "
        f"{number_of(row['trials'], 'trial')})." for row in rates if row["tag"] == "any"
    )]  # fmt: skip
    parts += _picture(pictures, "tags", f"What was wrong, per {names.kind}")
    parts.append(_table([names.kind, "tag", "fakes marked", "95%, participants", "boxes"],
                        [[names.short(row["epoch"]), row["tag"], _percent(row["rate"]), _interval(row["interval"]),
                          row["boxes"]] for row in rates if row["tag"] != "any"]))
    return parts


def _quality_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    sentences, response, names = [], report["response"], _names(report)
    if response["trials"]:
        first, third = response["quartiles_ms"]
        sentence = f"The median response took {response['median_ms']:.0f} ms (quartiles {first:.0f} and {third:.0f}"
        if response["correct"] and response["correct"]["trials"] and response["wrong"]["trials"]:
            sentence += (f"; correct {response['correct']['median_ms']:.0f}, wrong "
                         f"{response['wrong']['median_ms']:.0f}")
        sentences.append(sentence + ").")
    bias = report["side_bias"]
    if bias and bias["rate"] is not None:
        above = "; on an upright phone, left is the upper picture" if "left" in bias["what"] else ""
        interval = "" if state_of(report) == "always_valid" else f" (95% interval {_interval(bias['interval'])})"
        sentences.append(f"Participants {bias['what']} in {_percent(bias['rate'])} of trials{interval}{above}.")
        if real := bias["real_real"]:
            sentences.append(f"Of two real pictures, the left one was chosen in {_percent(real['rate'])} of "
                             f"{number_of(real['trials'], 'trial')} (95% interval {_interval(real['interval'])}).")
    vigilance = report["vigilance"]
    if vigilance and vigilance["rate"] is not None:
        rule = (f"a session needs {vigilance['needed']} of {vigilance['trials_per_session']} to count, and "
                f"{vigilance['failed']} failed" if vigilance["needed"] else "no session is left out for it")
        sentences.append(f"Vigilance trials were answered correctly in {_percent(vigilance['rate'])} of "
                         f"{vigilance['trials']}, those of sessions that failed among them; {rule}.")
    repeats = report["repeats"]
    if repeats and repeats["rate"] is not None:
        sentences.append(f"A pair that was shown again got the same answer in {_percent(repeats['rate'])} of "
                         f"{number_of(repeats['trials'], 'trial')} {_interval(repeats['interval'])}.")
    agreement = report["agreement"]
    if agreement["alpha"] is not None:
        sentences.append(f"Krippendorff's α ({agreement['level']}) over "
                         f"{number_of(agreement['stimuli'], 'stimulus', 'stimuli')} is "
                         f"{rounded(agreement['alpha'], '.2f')}.")
    parts = [" ".join(sentences), display.words(report, _percent)]
    marked = [e for e in report["epochs"] if e["without_marked"] and e["without_marked"]["rate"] is not None]
    if marked:
        parts.append(_table(
            [names.kind, "fooling rate", "without marked trials", "95%, participants", "trials"],
            [[names.short(e["epoch"]), _percent(e["fooling_rate"]), _percent(e["without_marked"]["rate"]),
              _interval(e["without_marked"]["interval"]), e["without_marked"]["trials"]] for e in marked],
        ))  # fmt: skip
    return parts + _picture(pictures, "response-times", "Response times")


def _stimuli_words(report: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    stimuli, names = report["stimuli"], _names(report)
    if not stimuli["most"]:
        return []
    parts = [f"## Pictures most and least often {stimuli['what']}"]
    parts += _picture(pictures, "stimuli", f"Pictures most and least often {stimuli['what']}")
    rows = [[which, escape(s["scene"] or s["sha256"][:8]), names.short(s["epoch"]) if s["epoch"] is not None else "–",
             _percent(s["rate"]), s["trials"]] for which in ("most", "least") for s in stimuli[which]]
    scenes = [s["scene"] or "" for which in ("most", "least") for s in stimuli[which]]
    if any(_SCENE.match(scene) for scene in scenes):
        a, b = (escape(domain) for domain in report["study"]["domains"])
        parts.append(f"Pictures are named domain:number:name after their input in the data set: a is {a}, b is {b}; "
                     "the number counts within the domain, from 0.")
    return [*parts, _table(["", "picture", names.kind, stimuli["what"], "trials"], rows)]


def _protocol_table(report: Mapping[str, Any]) -> str:
    fields = report["protocol"] | {"name": report["study"]["protocol"]}
    return _table(["field", "value"], [[f"`{key}`", escape(str(value))] for key, value in fields.items()])


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _names(report: Mapping[str, Any]) -> Names:
    """Return a report's names, as Markdown reads them."""
    names = Names(report)
    names.labels = {epoch: escape(label) for epoch, label in names.labels.items()}
    return names


def _picture(pictures: Mapping[str, str], name: str, alt: str) -> list[str]:
    return [f"![{alt}]({pictures[name]})"] if name in pictures else []


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _points(value: Sequence[float] | None) -> str:
    return "–" if value is None else bracketed([100 * bound for bound in value], "+.1f")


def _numbers(value: Sequence[float] | None) -> str:
    return bracketed(value, "+.2f")


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def escape(value: str) -> str:
    """Return text as one line of Markdown that reads as written: no links, pictures, tags or cell borders."""
    text = _MARKS.sub(r"\\\g<0>", " ".join(str(value).split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
