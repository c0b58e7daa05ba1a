"""The curves of a training: an SVG for each kind of figure with the chosen epochs marked, and a table."""

from __future__ import annotations

import bisect
import functools
import html
import io
import math
import re
import string
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.errors import Message, message, rounded
from cyclegan.evaluation.figures import FIGURES, figure_of, fit_axes
from cyclegan.ui import runs, words

PANELS: dict[str, Message] = {
    **{figure.key: figure.title for figure in FIGURES if figure.in_curves},
    "lpips": message("Test pictures: LPIPS"), "kid": message("Test pictures: KID"),
    "fid": message("Test pictures: FID"),
}  # fmt: skip
"""The panels by the key of a figure, in order; those of other programs after the table's own."""
_LOSSES = frozenset(figure.key for figure in FIGURES if figure.group == "losses")
COLOURS = ("#0072b2", "#d55e00")
"""Placeholders for the two lines' colours, and for text and marks: the page's style sheet sets the real ones."""
INK, MARK = "#123456", "#654321"
STYLES = {COLOURS[0]: "var(--curve-a)", COLOURS[1]: "var(--curve-b)", INK: "currentColor", MARK: "var(--curve-mark)"}
MAX_POINTS = 400
"""More points than this are thinned out, because a panel is about 300 pixels wide."""

Line = tuple[str, tuple[tuple[int, float], ...]]
"""Its name, and its points (epoch or step, value)."""


@dataclass(frozen=True)
class Reference:
    """A value to compare a curve with, such as a baseline's; `shown` is the value as text."""

    name: str
    value: float
    shown: str


drawing = threading.Lock()
"""Matplotlib isn't safe for several threads."""


def curves(infos: Sequence[CheckpointInfo], marked: Sequence[int], say: words.Speaker, run: str = "") -> str:
    """Return the HTML of a run's losses and metrics against the epoch.

    Args:
        infos: the run's epochs, in any order.
        marked: the epochs to mark; those that don't exist are left out.
        say: the visitor's language.
        run: its name, for the heading; without one the heading names none.

    Returns:
        A <section>: a <figure> with an inline SVG for each of `PANELS` that was recorded, and a table of all figures.
        Colours and text are the page's own, by the rules for `.curves` in compare.css.
    """
    infos = sorted(infos, key=lambda info: info.epoch)
    chosen = tuple(sorted({info.epoch for info in infos} & set(marked)))
    figures = {info.epoch: _figures(info) for info in infos}
    kinds: dict[str, dict[str, Line]] = {}
    for name in dict.fromkeys(name for each in figures.values() for name in each):
        kind, end = _kind_and_end(name)
        points = tuple((epoch, each[name]) for epoch, each in figures.items() if name in each)
        kinds.setdefault(kind, {})[end] = (_line_name(infos[-1], end), points)
    heading = say.html("Training curves of {run}", run=run) if run else say.html("Training curves")
    breaks = tuple(runs.measured_anew(infos))
    panels = [
        _panel(say.text_of(title), kinds[kind], chosen, say, breaks=() if kind in _LOSSES else breaks)
        for kind, title in PANELS.items() if kind in kinds
    ]
    if not panels:
        none = say.html("No losses are recorded with these checkpoints.")
        return f'<section class="curves"><h2>{heading}</h2><p>{none}</p></section>'
    summary = say.html("All figures")
    about = _about(infos[-1], breaks, say)
    return (
        f'<section class="curves"><h2>{heading}</h2>{about}<div class="panels">{"".join(panels)}</div>'
        f"<details><summary>{summary}</summary>{_table(figures, chosen, summary, say)}</details></section>"
    )


def _about(newest: CheckpointInfo, breaks: Sequence[int], say: words.Speaker) -> str:
    """Return the HTML about the pictures that the figures are of, where a visitor would expect others."""
    said = [runs.of_training_pictures(newest, say)]
    if breaks:
        said.append(say(
            "From epoch {epoch} on, samples and figures are of other pictures, so they can't be compared with those of "
            "earlier epochs.",
            epoch=breaks[-1],
        ))  # fmt: skip
    return "".join(f'<p class="notice">{html.escape(sentence)}</p>' for sentence in said if sentence)


def step_curves(rows: Sequence[Mapping[str, Any]], domains: Mapping[str, str], say: words.Speaker) -> str:
    """Return the HTML of the losses within an epoch, against the step; "" with fewer than two points.

    Args:
        rows: the epoch's steps in metrics.jsonl.
        domains: names by `a`, `b`.
        say: the visitor's language.
    """
    kinds: dict[str, dict[str, Line]] = {}
    for name in dict.fromkeys(name for row in rows for name in row["losses"]):
        kind, end = _kind_and_end(name)
        found = ((row["step"], row["losses"].get(name)) for row in rows)
        points = tuple((step, float(x)) for step, x in found if type(x) in (int, float) and math.isfinite(x))
        if len(points) > 1 and kind in PANELS:
            kinds.setdefault(kind, {})[end] = (" → ".join(domains.get(domain, domain) for domain in end), points)
    found = ((title, kinds[kind]) for kind, title in PANELS.items() if kind in kinds)
    panels = [_panel(say.text_of(title), lines, (), say, by_step=True) for title, lines in found]
    return f'<section class="curves"><div class="panels">{"".join(panels)}</div></section>' if panels else ""


def score_panel(
    title: str, points: tuple[tuple[int, float], ...], bands: tuple[tuple[int, float, float], ...],
    references: Sequence[Reference], chosen: tuple[int, ...], say: words.Speaker,
) -> str:
    """Return the <figure> of a score over the epochs, for a section of `.panels`.

    Args:
        title: its heading.
        points: (epoch, value), in order.
        bands: (epoch, low, high): intervals.
        references: dashed lines with a letter each, which the legend explains. Those far from the curve are only named
            there, after the others, because they would flatten it.
        chosen: epochs to mark.
        say: the visitor's language.
    """
    ends = [value for _, value in points] + [end for _, *both in bands for end in both]
    low, high = min(0.0, *ends), max(0.0, *ends)
    near = [low - (high - low) / 2 <= each.value <= high + (high - low) / 2 for each in references]
    letters, legend, lines = iter(string.ascii_lowercase), "", []
    for each, drawn in sorted(zip(references, near, strict=True), key=lambda pair: not pair[1]):
        if drawn:
            letter = next(letters)
            lines.append((letter, each.value))
        mark = f'<i class="dashed"></i>{letter}' if drawn else "↑" if each.value > high else "↓"
        legend += f"<span>{mark} {html.escape(each.name)}: {each.shown}</span>"
    in_words = "; ".join([_in_words(("", points), chosen, say, by_step=False).rstrip("."),
                          *(f"{each.name}: {each.shown}" for each in references)])  # fmt: skip
    label = html.escape(f"{title}. {in_words}.")
    svg = _svg(((COLOURS[0], points),), chosen, (), bands, tuple(lines))
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f"<figure><figcaption><b>{html.escape(title)}</b>{legend}</figcaption>{svg}</figure>"


def _figures(info: CheckpointInfo) -> dict[str, float]:
    """Return the recorded values that are finite."""
    recorded: Mapping[str, float] = {**info.losses, **info.metrics}
    return {name: float(value) for name, value in recorded.items() if math.isfinite(value)}


def _kind_and_end(name: str) -> tuple[str, str]:
    """Return `cycle_a` as ("cycle", "a"); a name without a direction or domain at its end as (name, "")."""
    figure, end = figure_of(name)
    if figure is not None:
        return figure.key, end
    kind, _, end = name.rpartition("_")
    return (kind, end) if kind in PANELS and end in ("ab", "ba", "a", "b") else (name, "")


def _line_name(info: CheckpointInfo, end: str) -> str:
    """Return the direction or domain of a figure, by its name."""
    if not end or info.config is None:
        return end
    return runs.arrow(info, end) if len(end) == 2 else runs.domains(info)[end]


def _panel(
    title: str, lines: Mapping[str, Line], chosen: tuple[int, ...], say: words.Speaker, *, by_step: bool = False,
    breaks: tuple[int, ...] = (),
) -> str:
    lines = {end: lines[end] for end in ("ab", "a", "", "ba", "b") if end in lines}
    names = [(name, COLOURS[0] if end in ("ab", "a", "") else COLOURS[1]) for end, (name, _) in lines.items()]
    legend = "".join(
        f'<span><i style="background:{STYLES[colour]}"></i>{html.escape(name)}</span>' for name, colour in names if name
    )
    plain = [(colour, points) for (_, colour), (_, points) in zip(names, lines.values(), strict=True)]
    in_words = " ".join(_in_words(line, chosen, say, by_step=by_step) for line in lines.values())
    label = html.escape(f"{title}. {in_words}")
    svg = _svg(tuple(plain), chosen, breaks).replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f"<figure><figcaption><b>{html.escape(title)}</b>{legend}</figcaption>{svg}</figure>"


def _in_words(line: Line, chosen: tuple[int, ...], say: words.Speaker, *, by_step: bool) -> str:
    """Return a line in words: its first and last value, and those at the chosen epochs."""
    name, points = line
    (begin, first), (end, last) = points[0], points[-1]
    ends = {"first": _short(first), "begin": begin, "last": _short(last), "end": end}
    if by_step:
        parts = [say("from {first} (step {begin}) to {last} (step {end})", **ends)]
    else:
        parts = [say("from {first} (epoch {begin}) to {last} (epoch {end})", **ends)]
    parts += [
        say("epoch {epoch}: {value}", epoch=epoch, value=_short(value)) for epoch, value in points if epoch in chosen
    ]
    return f"{name}{': ' if name else ''}{'; '.join(parts)}."


def _short(value: float) -> str:
    return rounded(value, ".3g" if abs(value) < 100 else ".0f")


def _table(
    figures: Mapping[int, Mapping[str, float]], chosen: tuple[int, ...], label: str, say: words.Speaker
) -> str:
    names = list(dict.fromkeys(name for each in figures.values() for name in each))
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
    rows = "".join(
        f'<tr{" class=chosen" if epoch in chosen else ""}><th scope="row">{epoch}</th>'
        + "".join(f"<td>{_short(each[name]) if name in each else '–'}</td>" for name in names)
        + "</tr>"
        for epoch, each in figures.items()
    )
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{label}"><table><thead><tr>'
        f'<th scope="col">{say.html("epoch")}</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _letter(axes: Any, references: Sequence[tuple[str, float]]) -> None:
    """Write each reference's letter to the right of its line, or above the letter before if they would overlap."""
    bottom, top = axes.get_ylim()
    place = -math.inf
    for letter, value in sorted(references, key=lambda pair: pair[1]):
        place = max(value, place + (top - bottom) / 9)
        axes.annotate(letter, (1.02, place), xycoords=("axes fraction", "data"), va="center", color=INK, fontsize=8,
                      annotation_clip=False)  # fmt: skip


@functools.lru_cache(256)
def _svg(
    lines: tuple[tuple[str, tuple[tuple[int, float], ...]], ...], chosen: tuple[int, ...], breaks: tuple[int, ...],
    bands: tuple[tuple[int, float, float], ...] = (), references: tuple[tuple[str, float], ...] = (),
) -> str:
    """Return one panel's <svg> without words, so that matplotlib needs no font for them.

    Lines are broken before each epoch in `breaks`, because others were measured before. `bands` are intervals around
    the first line, `references` dashed lines with a letter each.
    """
    with drawing:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(2.8, 1.6), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        for epoch in chosen:
            axes.axvline(epoch, color=MARK, linewidth=1, linestyle=(0, (3, 2)))
        for colour, points in lines:
            step = math.ceil(len(points) / MAX_POINTS)
            parts = groupby(points[::-1][::step], key=lambda point: bisect.bisect(breaks, point[0]))
            for _, part in parts:
                axes.plot(*zip(*part, strict=True), color=colour, linewidth=1.5,
                          marker="o" if len(points) < 30 else "", markersize=2)  # fmt: skip
            there = [point for point in points if point[0] in chosen]
            if there:
                axes.plot(*zip(*there, strict=True), color=colour, linestyle="", marker="o", markersize=5,
                          clip_on=False)  # fmt: skip
        if bands:
            axes.fill_between(*zip(*bands, strict=True), color=lines[0][0], alpha=0.2, linewidth=0)
        for _, value in references:
            axes.axhline(value, color=INK, alpha=0.7, linewidth=0.8, linestyle=(0, (4, 3)))
        fit_axes(axes)
        _letter(axes, references)
        return svg_of(axes)


def svg_of(axes: Any) -> str:
    """Return the <svg> of a figure with one panel, in the page's colours; call it under `drawing`."""
    import matplotlib
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.grid(color=INK, alpha=0.15, linewidth=0.5)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), edgecolor=INK, alpha=0.4, linewidth=0.6)
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        axes.figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg "):]
    # A style within the page would apply to all of it.
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'<g id="[\w.]+"', "<g", svg)  # Each panel has the same ids, and a page may have an id only once.
    svg = re.sub(r"font-family: [^;]*; ", "", svg)
    for colour, style in STYLES.items():
        svg = svg.replace(colour, style)
    return re.sub(r">\s+<", "><", svg)
