"""The curves of a training, an SVG for each kind of figure with the chosen epochs marked, and a table of them."""

from __future__ import annotations

import functools
import html
import io
import math
import re
import threading
from collections.abc import Mapping, Sequence

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.ui import common, words

PANELS = ("cycle", "gan", "identity", "disc", "reconstruction_l1", "truth_l1", "lpips", "kid", "fid")
"""What is drawn, if it was recorded: the figures' names without the direction or domain that they end in."""
COLOURS = ("#0072b2", "#d55e00")
"""Matplotlib's stand-ins for the two lines, and for what else is drawn: the page's style sheet has its own."""
INK, MARK = "#123456", "#654321"
STYLES = {COLOURS[0]: "var(--curve-a)", COLOURS[1]: "var(--curve-b)", INK: "currentColor", MARK: "var(--curve-mark)"}
MAX_POINTS = 400
"""More epochs than this are thinned out: a panel is some 300 pixels wide."""

Line = tuple[str, tuple[tuple[int, float], ...]]
"""What it is called, and its (epoch, value)."""

_drawing = threading.Lock()

words.add({
    "curves.title": ("Training curves", "학습 곡선"),
    "curves.of": ("Training curves of {run}", "{run} 학습 곡선"),
    "curves.cycle": ("Cycle (L1)", "순환 (L1)"),
    "curves.gan": ("Adversarial, generators", "적대적 손실, 생성자"),
    "curves.identity": ("Identity (L1)", "항등 (L1)"),
    "curves.disc": ("Discriminators", "판별자"),
    "curves.reconstruction_l1": ("Test pictures: brought back (L1)", "시험 사진: 되돌림 (L1)"),
    "curves.truth_l1": ("Test pictures: against the truth (L1)", "시험 사진: 정답과의 차이 (L1)"),
    "curves.lpips": ("Test pictures: LPIPS", "시험 사진: LPIPS"),
    "curves.kid": ("Test pictures: KID", "시험 사진: KID"),
    "curves.fid": ("Test pictures: FID", "시험 사진: FID"),
    "curves.epoch": ("epoch", "에폭"),
    "curves.at": ("epoch {epoch}: {value}", "에폭 {epoch}: {value}"),
    "curves.from_to": ("from {first} (epoch {begin}) to {last} (epoch {end})",
                       "{first}(에폭 {begin})에서 {last}(에폭 {end})까지"),
    "curves.figures": ("All figures", "모든 수치"),
    "curves.none": (
        "No losses are recorded with these checkpoints.", "이 체크포인트에는 기록된 손실이 없습니다."
    ),
})  # fmt: skip


def curves(infos: Sequence[CheckpointInfo], marked: Sequence[int], say: words.Speaker, run: str = "") -> str:
    """HTML of a run's losses and metrics against the epoch.

    Args:
        infos: the run's epochs, in any order.
        marked: the epochs to mark; those that aren't there are left out.
        say: from `words.speaker`.
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
        kind, end = _parted(name)
        points = tuple((epoch, each[name]) for epoch, each in figures.items() if name in each)
        kinds.setdefault(kind, {})[end] = (_line_name(infos[-1], end), points)
    heading = html.escape(say("curves.of", run=run) if run else say("curves.title"))
    panels = [_panel(say(f"curves.{kind}"), kinds[kind], chosen, say) for kind in PANELS if kind in kinds]
    if not panels:
        return f'<section class="curves"><h2>{heading}</h2><p>{html.escape(say("curves.none"))}</p></section>'
    return (
        f'<section class="curves"><h2>{heading}</h2><div class="panels">{"".join(panels)}</div>'
        f"<details><summary>{html.escape(say('curves.figures'))}</summary>{_table(figures, chosen, say)}</details>"
        "</section>"
    )


def _figures(info: CheckpointInfo) -> dict[str, float]:
    """What was recorded and can be drawn."""
    recorded: Mapping[str, float] = {**info.losses, **info.metrics}
    return {name: float(value) for name, value in recorded.items() if math.isfinite(value)}


def _parted(name: str) -> tuple[str, str]:
    """`cycle_a` as ("cycle", "a"); what ends in no direction or domain as (name, "")."""
    kind, _, end = name.rpartition("_")
    return (kind, end) if kind and end in ("ab", "ba", "a", "b") else (name, "")


def _line_name(info: CheckpointInfo, end: str) -> str:
    """The direction or domain that a figure is of, by its name."""
    if not end or info.config is None:
        return end
    return common.arrow(info, end) if len(end) == 2 else common.domains(info)[end]


def _panel(title: str, lines: Mapping[str, Line], chosen: tuple[int, ...], say: words.Speaker) -> str:
    lines = {end: lines[end] for end in ("ab", "a", "", "ba", "b") if end in lines}
    names = [(name, COLOURS[0] if end in ("ab", "a", "") else COLOURS[1]) for end, (name, _) in lines.items()]
    legend = "".join(
        f'<span><i style="background:{STYLES[colour]}"></i>{html.escape(name)}</span>' for name, colour in names if name
    )
    alone = [(colour, points) for (_, colour), (_, points) in zip(names, lines.values(), strict=True)]
    label = html.escape(f"{title}. {' '.join(_told(line, chosen, say) for line in lines.values())}")
    svg = _svg(tuple(alone), chosen).replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f"<figure><figcaption><b>{html.escape(title)}</b>{legend}</figcaption>{svg}</figure>"


def _told(line: Line, chosen: tuple[int, ...], say: words.Speaker) -> str:
    """A line in words: where it begins and ends, and its values at the chosen epochs."""
    name, points = line
    (begin, first), (end, last) = points[0], points[-1]
    parts = [say("curves.from_to", first=_short(first), begin=begin, last=_short(last), end=end)]
    parts += [say("curves.at", epoch=epoch, value=_short(value)) for epoch, value in points if epoch in chosen]
    return f"{name}{': ' if name else ''}{'; '.join(parts)}."


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _table(figures: Mapping[int, Mapping[str, float]], chosen: tuple[int, ...], say: words.Speaker) -> str:
    names = list(dict.fromkeys(name for each in figures.values() for name in each))
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
    rows = "".join(
        f'<tr{" class=chosen" if epoch in chosen else ""}><th scope="row">{epoch}</th>'
        + "".join(f"<td>{_short(each[name]) if name in each else '–'}</td>" for name in names)
        + "</tr>"
        for epoch, each in figures.items()
    )
    epoch = html.escape(say("curves.epoch"))
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{html.escape(say("curves.figures"))}">'
        f'<table><thead><tr><th scope="col">{epoch}</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


@functools.lru_cache(256)
def _svg(lines: tuple[tuple[str, tuple[tuple[int, float], ...]], ...], chosen: tuple[int, ...]) -> str:
    """One panel's <svg>: no words in it, so that matplotlib needs no font that has them."""
    with _drawing:  # Matplotlib isn't made for several threads.
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(2.8, 1.6), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        for epoch in chosen:
            axes.axvline(epoch, color=MARK, linewidth=1, linestyle=(0, (3, 2)))
        for colour, points in lines:
            step = math.ceil(len(points) / MAX_POINTS)
            axes.plot(*zip(*points[::-1][::step], strict=True), color=colour, linewidth=1.5,
                      marker="o" if len(points) < 30 else "", markersize=2)  # fmt: skip
            there = [point for point in points if point[0] in chosen]
            if there:
                axes.plot(*zip(*there, strict=True), color=colour, linestyle="", marker="o", markersize=5,
                          clip_on=False)  # fmt: skip
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=(1, 2, 5, 10)))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.tick_params(colors=INK, labelsize=8, length=0)
        axes.grid(color=INK, alpha=0.15, linewidth=0.5)
        for side, spine in axes.spines.items():
            spine.set(visible=side in ("left", "bottom"), edgecolor=INK, alpha=0.4, linewidth=0.6)
        out = io.StringIO()
        with matplotlib.rc_context({"svg.fonttype": "none"}):
            figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg "):]
    # A style within the page would be everybody's.
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'<g id="[\w.]+"', "<g", svg)  # These would be there once for each panel.
    svg = re.sub(r"font-family: [^;]*; ", "", svg)
    for colour, style in STYLES.items():
        svg = svg.replace(colour, style)
    return re.sub(r">\s+<", "><", svg)
