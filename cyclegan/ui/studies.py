"""Studies on their page: what a study asks, the addresses to send, its results, and the report's files."""

from __future__ import annotations

import base64
import html
import math
import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.errors import message
from cyclegan.study.format import NO_SECRET, SEEN, Study, seen_some
from cyclegan.study.protocol import trial_counts
from cyclegan.study.shelf import PREVIEW, Studies
from cyclegan.ui import words
from cyclegan.ui.feedback import notices
from cyclegan.ui.results import served

FORMATS = ("md", "json", "csv", "parquet")
COPY = Path(__file__).with_name("copy.js")
"""The script behind the buttons of `to_copy`."""

WHY = {
    each.template: each
    for each in (
        message("disqualified in practice"), message("failed vigilance"), message("impossible times"),
        message("answered too fast"), message("nearly always the same answer"), message("left the page too often"),
        message("guessed where others didn't"), message("session not complete"),
    )
}  # fmt: skip
"""The report's reasons for leaving sessions out, for the languages of the pages."""


def card(study: Study, say: words.Speaker, *, owner: bool = False, own: bool = False) -> str:
    """Return the HTML of a study: its question, how it is played, and the links to it.

    Args:
        study: the study.
        say: the visitor's language.
        owner: whether the visitor may see more than participants.
        own: whether studies can be tried here without leaving a trace.
    """
    how = f'<p class="how">{html.escape(_how(study, say))}.</p>'
    if owner:  # Participants come to a public page too, and must not learn which epochs are judged.
        arrow = " → ".join(study.domains["ab".index(domain)] for domain in study.direction)
        sources = ", ".join(dict.fromkeys(checkpoint.source for checkpoint in study.checkpoints))
        epochs = ", ".join(map(str, study.epochs))
        text = say.html(
            "{arrow}, epoch {epochs} of {source}.", "{arrow}, epochs {epochs} of {source}.", len(study.epochs),
            arrow=arrow, epochs=epochs, source=sources,
        )  # fmt: skip
        if study.labels:
            text = say.html("{arrow}: {methods}.", arrow=arrow, methods=", ".join(study.labels.values()))
        marks = [*filter(None, [study.seen]), *([] if study.secret_sha256 else [NO_SECRET])]
        how = f'<p class="how">{text}</p>{how}{notices(marks, say)}'
    address = f"study/{quote(study.name)}"
    ways = [(address, say.html("Take part"))]
    if own:
        tried = f"study/{PREVIEW}/{quote(study.name)}"
        ways = [(tried, say.html("Try it: nothing is recorded")), (address, say.html("Take part: it is recorded"))]
    if study.protocol.login == "invitation":
        ways = ways[:-1]  # Nobody gets in without a link of their own.
    links = "".join(f'<a href="{to}" target="_blank" rel="noopener">{text}</a>' for to, text in ways)
    return (
        f"<h2>{html.escape(study.title or study.name)}</h2><p>{html.escape(_question(study, say))}</p>{how}"
        f'<p class="ways">{links}</p>{_addresses(study, address, say, own=own) if owner else ""}'
    )


def _question(study: Study, say: words.Speaker) -> str:
    match study.protocol:
        case p if p.task == "rate":
            return say("How good is this picture?")
        case p if p.task == "pick":
            return say("Which of two translations looks more real?")
        case p if p.task == "tag":
            return say("What is wrong with this translation?")
        case p if p.presentation == "single":
            return say("Is this picture real?")
        case p if p.question == "real":
            return say("Which picture is real?")
    return say("Which picture is fake?")


def _how(study: Study, say: words.Speaker) -> str:
    """Return the number of trials, the exposure, and the protocol."""
    protocol, test = study.protocol, study.protocol.test_trials
    if practice := protocol.practice_trials:
        trials = [say.text_of(count) for count in trial_counts(practice, test).values()]
    else:
        trials = [say("{n} trial", "{n} trials", test)]
    limit = say("{ms} ms per picture", ms=protocol.exposure_ms) if protocol.exposure_ms else say("without time limit")
    if protocol.staircase_right:
        least, most = protocol.least_exposure_ms, protocol.most_exposure_ms
        limit = say("{least} to {most} ms per picture", least=least, most=most)
    name, _, how = protocol.label.partition(", ")
    named = say("protocol {name}", name=name)
    if how:
        named = say("protocol {name}, changed ({rules})", name=name, rules=", ".join(protocol.changed))
    if how == "shortened":
        named = say("protocol {name}, shortened", name=name)
    return ", ".join([*trials, limit, named])


def _addresses(study: Study, address: str, say: words.Speaker, *, own: bool) -> str:
    """Return the HTML of the addresses to send; studies.js puts the page's own address before them.

    Args:
        study: the study.
        address: its own, relative to the page's.
        say: the visitor's language.
        own: whether the visitor owns this computer; an address that only it can open is then said to be one.
    """
    if study.protocol.login == "invitation":
        how = say.html("Each link lets one person take part, once. This command makes as many as you need:")
        # Some don't come, or don't count.
        people = str(math.ceil(1.2 * (study.protocol.planned_participants or 25) * len(study.arms)))
        invite = ["python", "-m", "cyclegan", "study", "invite", str(study.folder), people, "--address", "URL"]
        command = to_copy("", shlex.join([*invite, "--output", f"reports/{study.name}-links.csv"]), say)
        return f'<h3>{say.html("Send it to people")}</h3><p class="how">{how}</p><ul class="to-copy">{command}</ul>'
    if study.protocol.login == "huggingface":
        ends = {say("Anyone with a Hugging Face account"): ""}
    else:
        ends = {
            say("To one person: replace ID with an id for that person"): "?participant=ID",
            say("Prolific, which fills in its ids"): "?PROLIFIC_PID={{%PROLIFIC_PID%}}",
            say("MTurk, or anyone"): "",  # MTurk adds parameters of its own.
        }
    how = say.html(
        "These addresses open only the study, without the workbench around it. Where an address has no participant id, "
        "the browser keeps a random one."
    )
    sent = "".join(to_copy(who, address + end, say, path=True) for who, end in ends.items())
    only_here = _only_here(study, say) if own else ""
    return f'<h3>{say.html("Send it to people")}</h3>{only_here}<p class="how">{how}</p><ul class="to-copy">{sent}</ul>'


def _only_here(study: Study, say: words.Speaker) -> str:
    """Return the HTML of what to do about addresses that only this computer can open; studies.js shows it then."""
    said = say.html(
        "Only this computer can open the addresses below. To let others take part, run one of these commands, and send "
        "the addresses that the study has there:"
    )
    folder, trained = str(study.folder), next((c.source for c in study.checkpoints[::-1] if not c.foreign), "")
    serve = ["python", "-m", "cyclegan", "study", "serve", folder, "--host", "0.0.0.0"]
    space = ["python", "-m", "hub", "space", "USER/NAME", "--checkpoints", trained if "/" in trained else "USER/RUN"]
    ways = {
        say("For your network, from this computer"): serve,
        say("For everyone, as a Space on the Hub"): [*space, "--study", folder, "--votes", "USER/VOTES"],
    }
    rows = "".join(to_copy(what, shlex.join(command), say) for what, command in ways.items())
    return f'<div class="only-here" hidden><p>{said}</p><ul class="to-copy">{rows}</ul></div>'


def to_copy(what: str, text: str, say: words.Speaker, *, path: bool = False) -> str:
    """Return the HTML of a text with a button that copies it, an item of a list `.to-copy`, for COPY's script.

    Args:
        what: a line above it; may be empty.
        text: what is copied.
        say: the visitor's language.
        path: the text is an address relative to the page's; studies.js completes it.
    """
    data = f' data-path="{html.escape(text)}"' if path else ""
    above = f"<span>{html.escape(what)}</span>" if what else ""
    return (
        f"<li>{above}<code{data}>{html.escape(text)}</code>"
        f'<button type="button">{say.html("Copy")}</button></li>'
    )


def percent(share: float | None) -> str:
    """Return `26.8%`; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f}%"


def results(report: Mapping[str, Any], say: words.Speaker) -> str:
    """Return the HTML of the counts, and a row for each epoch with its rate drawn next to it."""
    from cyclegan.study.report.names import interval_of

    people = report["participants"]
    title = f"<h2>{say.html('Results')}</h2>"
    if not people["started"]:
        return f"{title}<p>{say.html('Nobody has taken part yet.')}</p>"
    counts = say.html(
        "Took part: {started}, to the end: {completed}, counted: {counted}.",
        started=people["started"], completed=people["completed"], counted=people["counted"],
    )  # fmt: skip
    if people["left_out"]:
        named = {each["reason"]: each["count"] for each in people["left_out"]}
        reasons = "; ".join(f"{say.text_of(WHY.get(reason, reason))}: {count}" for reason, count in named.items())
        counts += " " + say.html("Left out: {reasons}.", reasons=reasons)
    simulated = say.html("These are simulated participants, not people.") if report["simulated"] else ""
    notice = f'<p class="notice">{simulated}</p>' if simulated else ""
    if report["training_pictures"]:
        notice += notices([SEEN], say)
    elif report["trained_on"]:
        notice += notices([seen_some(**report["trained_on"])], say)
    notice += _early(report, say)
    closed = bool(report["plan"]) and report["plan"]["state"] == "closed"
    shown = report["epochs"] if report["protocol"]["task"] == "realness" and not closed else []
    rows = [_result(each, interval_of(report, each)) for each in shown]
    first = say("Method") if any(each.get("label") for each in report["epochs"]) else say("Epoch")
    heads = (first, say("Taken for real"), say("95% interval"), "", say("Participants"), say("Trials"))
    head = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in heads)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    if any('class="range"' in row for row in rows):
        scale = say.html("The line marks 50%, the rate of guessing: nobody could tell real from fake.")
        table += f'<p class="how of-range">{scale}</p>'
    if report["mos"]:
        rows, table = [report["mos"]], _opinions(report, first, say)
    if report["thresholds"]:
        rows, table = [report["thresholds"]], _thresholds(report, first, say)
    return f"{title}{notice}<p>{counts}</p>{table if rows else ''}"


def _opinions(report: Mapping[str, Any], first: str, say: words.Speaker) -> str:
    """Return the HTML of the mean opinion scores; `first` heads the epochs' or methods' column."""
    labels = {each["epoch"]: each.get("label") or str(each["epoch"]) for each in report["epochs"]}
    heads = (first, say("Mean rating, 1 to 5"), say("95% interval"), say("Participants"), say("Ratings"))
    rows = "".join(
        f'<tr><th scope="row">{html.escape(labels.get(each["epoch"]) or say("Real pictures"))}</th>'
        f'<td><strong>{each["mean"]:.2f}</strong></td>'
        f'<td>{each["interval"][0]:.2f} – {each["interval"][1]:.2f}</td>'
        f'<td>{each["participants"]}</td><td>{each["trials"]}</td></tr>'
        for each in report["mos"]["conditions"] if each["mean"] is not None
    )  # fmt: skip
    head = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""


def _thresholds(report: Mapping[str, Any], first: str, say: words.Speaker) -> str:
    """Return the HTML of the thresholds of exposure; `first` heads the epochs' or methods' column."""
    from cyclegan.study.report.names import Names
    from cyclegan.study.report.thresholds import BOUNDS

    names, found = Names(report), report["thresholds"]
    seen = [each for each in found["epochs"] if each["mean_ms"] is not None]
    heads = (first, say("Mean threshold"), say("95% interval"), say("Right answers"), say("Participants"),
             say("Trials"))  # fmt: skip
    rows = "".join(
        f'<tr><th scope="row">{html.escape(names.short(each["epoch"]))}</th>'
        f'<td><strong>{BOUNDS[each["settled"]]}{each["mean_ms"]:.0f} ms</strong></td>'
        f'<td>{" – ".join(f"{bound:.0f}" for bound in each["interval"] or ()) or "–"}</td>'
        f'<td>{percent(each["accuracy"])}</td><td>{each["participants"]}</td><td>{each["trials"]}</td></tr>'
        for each in seen
    )  # fmt: skip
    head = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in heads)
    how = [say.html(
        "The threshold is the exposure at which participants are right in {target} of trials: the longer, the harder "
        "the fakes are to tell from real pictures.", target=f"{found['target']:.0%}",
    )]  # fmt: skip
    if any(each["settled"] != "yes" for each in seen):
        how.append(say.html("After ≥ or ≤ it is a bound: the staircases had not settled, so right answers are too few "
                            "or too many."))  # fmt: skip
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'{table}<p class="how">{" ".join(how)}</p>' if rows else ""


def _early(report: Mapping[str, Any], say: words.Speaker) -> str:
    """Return the HTML of what holds before the planned participants are there; nothing afterwards or without a plan."""
    plan = report["plan"]
    if not plan or plan["state"] == "reached":
        return ""
    if plan["state"] == "closed":
        said = say.html(
            "The results are closed until enough people have judged each epoch or method: the one with the fewest has "
            "{least} of {planned}.",
            least=plan["least"], planned=plan["participants"],
        )  # fmt: skip
    else:
        said = say.html(
            "Not as many people as planned have judged each epoch or method yet: the one with the fewest has {least} "
            "of {planned}. Until then, intervals are wider, so that they hold however often somebody looks, and there "
            "is none after very few trials.",
            least=plan["least"], planned=plan["participants"],
        )  # fmt: skip
    return f'<p class="notice">{said}</p>'


def _result(epoch: Mapping[str, Any], interval: Sequence[float] | None) -> str:
    low, high = interval or (None, None)
    rate = epoch["fooling_rate"]
    between = "–" if low is None else f"{percent(low)} – {percent(high)}"
    drawn = "" if low is None or rate is None else (
        f'<span class="range" style="--low:{low:.4f};--high:{high:.4f};--rate:{rate:.4f}"><i></i><b></b></span>'
    )  # fmt: skip
    name = html.escape(epoch.get("label") or str(epoch["epoch"]))
    return (
        f'<tr><th scope="row">{name}</th><td><strong>{percent(rate)}</strong></td><td>{between}</td>'
        f'<td class="drawn" aria-hidden="true">{drawn}</td><td>{epoch["participants"]}</td>'
        f'<td>{epoch["trials"]}</td></tr>'
    )


def drawn_report(study: Study, report: Mapping[str, Any]) -> str:
    """Return the HTML of the report's plots, and of the pictures that were taken for real most and least often."""
    from cyclegan.study.report import contact_sheet
    from cyclegan.study.report.plots import plots

    images = [(name.replace("-", " "), "svg+xml", svg) for name, (svg, _) in plots(report).items()]
    if sheet := contact_sheet(study, report):
        images.append(("pictures most and least often taken for real", "png", sheet))
    return "".join(
        f'<img alt="{html.escape(name)}" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'
        for name, kind, content in images
    )


def report_files(studies: Studies, study: Study) -> list[str]:
    """Write the report in every format, with its figures, as files for the browser; return their paths."""
    from cyclegan.study.report import write_report
    from cyclegan.study.store import answers

    votes, sessions = answers(study, studies.store(study))
    made: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in FORMATS:
            write_report(study, votes, sessions, kind, Path(folder) / f"{study.name}.{kind}")
        for path in sorted(Path(folder).iterdir()):
            content = path.read_bytes()
            made.append(served(path.name, lambda to, content=content: to.write_bytes(content)))
    return made


def spread(epochs: Sequence[int]) -> list[int]:
    """Return up to three epochs of a run: the first, the middle one, the last."""
    ordered = sorted(epochs)
    return sorted({*ordered[:1], *ordered[-1:], *ordered[len(ordered) // 2 : len(ordered) // 2 + 1]})


def offered_dataset(source: CheckpointSource, dataset: str, say: words.Speaker) -> tuple[str, str]:
    """Return the data set that a run was trained on, and a sentence if it isn't here.

    Of the drawn scenes, these are enough test pictures for any protocol.

    Args:
        source: the run's checkpoints.
        dataset: its name in their settings.
        say: the visitor's language.
    """
    from cyclegan.evaluation.dataset import dataset_of

    if dataset.startswith("streets"):
        size = re.search(r"size=\d+", dataset)
        return ",".join(filter(None, ["streets:count=1", "test_count=60", size and size[0]])), ""
    if dataset in ("", "unknown"):  # Imported weights.
        return "", ""
    found, here = dataset_of(getattr(source, "folder", None), dataset)
    if here:
        return found, ""
    return found, say.html(
        "{dataset}, on which this run was trained, can't be found here: enter the path of its folder.", dataset=found
    )
