"""The tables of a model card: the epochs, and the studies in which people judged them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cyclegan.checkpoints.format import CheckpointInfo, epoch_name
from cyclegan.errors import number_of
from cyclegan.evaluation.figures import Figure
from cyclegan.study.format import NO_SECRET
from hub.card.names import LISTED, figure_title, figure_values, study_way, ways
from hub.layout import index_entry, study_file
from hub.readme import escaped, one_line

EPOCHS_SHOWN = 20
"""Rows of the table before the rest is folded away."""


def epochs_section(
    repo_id: str, info: CheckpointInfo, epochs: Sequence[Mapping[str, Any]], files: Collection[str]
) -> str:
    """Return the table of epochs, newest first, with its figures explained."""
    by_epoch = {entry["epoch"]: entry for entry in [*epochs, index_entry(info)]}
    entries = [by_epoch[epoch] for epoch in sorted(by_epoch, reverse=True)]
    figures = [
        figure
        for figure in LISTED
        if any(value is not None for entry in entries for value in figure_values(figure, entry, info.directions))
    ]
    with_steps = any(entry.get("global_step") for entry in entries)
    titles = ["epoch", "date", *(["step"] if with_steps else []), *map(figure_title, figures)]
    head = f"| {' | '.join(titles)} |\n|{'---|' * 2}{'---:|' * (len(titles) - 2)}"

    def row(entry: Mapping[str, Any]) -> str:
        tag, date = epoch_name(entry["epoch"]), re.match(r"\d{4}-\d\d-\d\d", str(entry.get("created")))
        cells = [f"[{tag}](https://huggingface.co/{repo_id}/tree/{tag})", date[0] if date else "–"]
        cells += [str(entry.get("global_step") or "–")] if with_steps else []
        for figure in figures:
            values = figure_values(figure, entry, info.directions)
            shown = [_number(figure, value) for value in values]
            cells.append(" / ".join(shown) if any(value is not None for value in values) else "–")
        return f"| {' | '.join(cells)} |"

    def table(some: Sequence[Mapping[str, Any]]) -> str:
        return "\n".join([head, *map(row, some)])

    parts = ["## Epochs", table(entries[:EPOCHS_SHOWN])]
    if rest := entries[EPOCHS_SHOWN:]:
        summary = number_of(len(rest), "older epoch")
        parts.append(f"<details>\n<summary>{summary}</summary>\n\n{table(rest)}\n\n</details>")
    if figures:
        parts.append("\n".join(f"- *{figure_title(figure)}*: {figure.meaning}" for figure in figures))
        if len(info.directions) == 2:
            there, back = (escaped(way) for way in ways(info.config.data).values())
            parts.append(f"Of two figures, the first is for {there}, the second for {back}.")
    if "curves.png" in files:
        parts.append("![Losses over the epochs](curves.png)")
    return "\n\n".join(parts)


def _number(figure: Figure, value: float | None) -> str:
    if value is None:
        return "–"
    return figure.show(value) if abs(value) < 1e6 else f"{value:.2e}"


def judged_section(repo_id: str, studies: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of figures for each study, with its protocol; empty without studies."""
    if not studies:
        return ""
    single = [study["protocol"].get("presentation") == "single" for study in studies]
    of_pairs = "" if all(single) else "; at 50%, people can't tell them apart"
    parts = [
        "## Judged by people",
        "The *fooling rate* is the share of trials in which a translation was taken for a real picture"
        f"{of_pairs}{' where two pictures are compared' if of_pairs and any(single) else ''}. Both 95% intervals "
        "are for other people: the first for these pictures, the second for other pictures of the same kind, too.",
    ]
    if any(single):
        parts.append(
            "Where pictures were judged one by one, real ones were judged, too. There, the *total error* is 50% if "
            "people can't tell them apart; it weighs translations taken for real and real pictures taken for fake "
            "equally."
        )
    for study, one_by_one in zip(studies, single, strict=True):
        about, protocol = study["study"], study["protocol"]
        title = escaped(one_line(str(about.get("title") or ""), about["name"]))
        where = f"https://huggingface.co/{repo_id}/blob/main/{study_file(about['name'])}"
        total = one_by_one and any(_total_error(row) for row in study["epochs"])
        crossed = any(_bounds(row.get("interval_crossed")) != "–" for row in study["epochs"])
        rows = "\n".join(_judged_row(repo_id, row, crossed=crossed, total=total) for row in study["epochs"])
        heads = ["epoch", "fooling rate", "95%, these pictures", *(["95%, other pictures"] if crossed else []),
                 *(["total error"] if total else []), "participants", "trials"]
        parts += [
            f"**{title}**, {escaped(study_way(about))}: {_protocol_words(protocol)} ([all figures]({where})).",
            f"| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}\n{rows}",
            *_early_words(study.get("plan")),
            *([str(NO_SECRET)] if about.get("without_secret") is True else []),
        ]
    if any(row.get("interval_assumed") is True for study in studies for row in study["epochs"]):
        parts.append("\\* These answers can't show how people differ: that is assumed.")
    return "\n\n".join(parts)


def _early_words(plan: Any) -> list[str]:
    """Return what the figures are worth before the planned participants are there; nothing for anything else."""
    if not isinstance(plan, dict) or any(type(plan.get(key)) is not int for key in ("participants", "least")):
        return []
    return [f"These figures are provisional: the study is planned for {number_of(plan['participants'], 'participant')} "
            f"per epoch, and the one with the fewest has {plan['least']}. Until then, the interval is always valid: it "
            "holds however often somebody looks."]


def _total_error(row: Mapping[str, Any]) -> str:
    """Return an epoch's total error with its interval; empty if the entry has none, or an invalid one."""
    found = row.get("total_error")
    if not isinstance(found, dict) or not _is_share(found.get("error")):
        return ""
    bounds = _bounds(found.get("interval"))
    return f"{100 * found['error']:.1f}%" + ("" if bounds == "–" else f" ({bounds})")


def _judged_row(repo_id: str, row: Mapping[str, Any], *, crossed: bool, total: bool) -> str:
    tag, revision = epoch_name(row["epoch"]), row["revision"]
    shown = tag if revision == tag else f"{tag} at {escaped(one_line(revision[:10], '?'))}"
    # The link leads to the judged revision, even if the tag is now on another. Only a tag or a SHA may be an address.
    if re.fullmatch(r"[\w-]+", revision, re.ASCII):
        shown = f"[{shown}](https://huggingface.co/{repo_id}/tree/{revision})"
    interval = _bounds(row.get("interval")) + (" \\*" if row.get("interval_assumed") is True else "")
    cells = [shown, f"{100 * row['fooling_rate']:.1f}%", interval]
    cells += [_bounds(row.get("interval_crossed"))] if crossed else []
    cells += [_total_error(row) or "–"] if total else []
    return f"| {' | '.join(cells)} | {row['participants']} | {row['trials']} |"


def _bounds(interval: Any) -> str:
    """Return an interval of shares in percent; a dash for anything else."""
    if not isinstance(interval, list) or len(interval) != 2 or not all(map(_is_share, interval)):
        return "–"
    return " – ".join(f"{100 * bound:.1f}%" for bound in interval)


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


_PRESENTATIONS = {
    "together": "two pictures side by side",
    "sequence": "two pictures in turn",
    "single": "one picture",
}


def _protocol_words(protocol: Mapping[str, Any]) -> str:
    """Return a study's protocol in a line, without settings that are missing or unknown."""

    def number(key: str) -> int | None:
        return protocol[key] if type(protocol.get(key)) is int else None

    words = [f"protocol {escaped(one_line(str(protocol.get('name')), 'custom'))}"]
    presentation = _PRESENTATIONS.get(str(protocol.get("presentation")))
    words += [presentation] if presentation else []
    if (exposure := number("exposure_ms")) is not None:
        words.append(f"shown for {exposure} ms" if exposure else "shown until the answer")
    if protocol.get("presentation") != "single" and protocol.get("question") in ("real", "fake"):
        words.append(f"the {protocol['question']} one asked for")
    practice, test = number("practice_trials"), number("test_trials")
    if practice is not None and test is not None:
        words.append(f"{number_of(practice, 'trial')} with feedback and {test} without")
    return ", ".join(words)
