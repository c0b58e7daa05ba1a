"""A report's plots for publication: SVG with text as text, and PNG at 300 dpi; the sheet of pictures.

Colours are Okabe and Ito's, which colour-blind people can distinguish; marks and lines differ too, for greyscale.
"""

from __future__ import annotations

import io
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cyclegan.errors import StudyError, number_of
from cyclegan.study.format import Study
from cyclegan.study.protocol import TAGS
from cyclegan.study.report.names import Names, interval_of, state_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"
DPI = 300
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "study", "font.size": 8, "axes.titlesize": 9, "axes.labelsize": 8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5, "legend.fontsize": 7.5, "legend.frameon": False,
    "font.family": ["DejaVu Sans", "sans-serif"],
}  # fmt: skip
Report = Mapping[str, Any]
_STYLED = threading.Lock()
"""Matplotlib's settings are global to the process, and reports are drawn in several threads."""


def plots(report: Report) -> dict[str, tuple[bytes, bytes]]:
    """Return a report's plots: name → SVG and PNG. The same report gives the same bytes."""
    import matplotlib

    wanted: dict[str, tuple[bool, Callable[[Report], Figure]]] = {
        "fooling-rate": (any(e["fooling_rate"] is not None for e in report["epochs"]), fooling_rate),
        "preferences": (bool(report["pick"] and report["pick"]["trials"]), preferences),
        "thresholds": (bool(report["thresholds"]) and bool(report["trials"]), thresholds),
        "opinions": (bool(report["mos"] and report["mos"]["trials"]), opinions),
        "tags": (bool(report["tag"] and report["tag"]["trials"]), tags),
        "response-times": (bool(report["response"]["trials"]), response_times),
    }
    made = {}
    with _STYLED, matplotlib.rc_context(STYLE):
        for name, (there, draw) in wanted.items():
            if there:
                figure, svg, png = draw(report), io.BytesIO(), io.BytesIO()
                figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
                figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
                made[name] = svg.getvalue(), png.getvalue()
    return made


def fooling_rate(report: Report) -> Figure:
    """Plot the fooling rate over epochs, with both intervals and the line of 50%.

    For single pictures, the total error too: since real ones are also judged, that error, not the fooling rate, is 50%
    where people can't distinguish them.
    """
    epochs = [e for e in report["epochs"] if e["fooling_rate"] is not None]
    figure, axes = _figure(report, max(3.4, 1.4 + 0.55 * len(epochs)), 2.9)
    places = range(len(epochs))
    rates = [100 * e["fooling_rate"] for e in epochs]
    early = state_of(report) == "always_valid"  # Then there is one valid interval, and none of the total error.
    intervals = [interval_of(report, e) for e in epochs]
    crossed = [(n, e["interval_crossed"]) for n, e in enumerate(epochs) if e["interval_crossed"] and not early]
    for n, (low, high) in crossed:
        axes.plot([n, n], [100 * low, 100 * high], color=BLUE, alpha=0.28, linewidth=7, solid_capstyle="butt", zorder=1)
    _error_bars(axes, places, rates, intervals, BLUE, "o", scale=100)
    if not Names(report).labels:  # Methods have no order.
        axes.plot(places, rates, color=BLUE, linewidth=0.9, alpha=0.6, zorder=2)
    axes.axhline(50, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    single = report["protocol"]["presentation"] == "single"
    errors = [(n, e["total_error"]) for n, e in enumerate(epochs) if e["total_error"]]
    errors = [(n + 0.18, error | {"interval": None} if early else error)
              for n, error in errors if error["error"] is not None]
    if errors:
        places_of_errors, values = [n for n, _ in errors], [100 * error["error"] for _, error in errors]
        _error_bars(axes, places_of_errors, values, [error["interval"] for _, error in errors], ORANGE, "s", scale=100)
        if not Names(report).labels:
            axes.plot(places_of_errors, values, color=ORANGE, linewidth=0.9, alpha=0.6, linestyle=(0, (1, 1)), zorder=2)
    top = max([50, *rates, *(100 * i[1] for _, i in crossed), *(100 * i[1] for i in intervals if i),
               *(100 * error["interval"][1] for _, error in errors if error["interval"])])
    axes.set_ylim(0, min(100, top * 1.08 + 2))
    _epoch_axis(axes, report, [e["epoch"] for e in epochs], [f"N = {e['participants']}" for e in epochs])
    axes.set_ylabel("fooling rate, total error (%)" if errors else "fooling rate (%)")
    of = "fooling rate, " if errors else ""
    names = [_handle(BLUE, "o", f"{of}95%, {'always valid' if early else 'over participants'}")]
    if crossed:
        names.append(_band(BLUE, f"{of}95%, over participants and pictures"))
    if errors:
        names.append(_handle(ORANGE, "s", "total error" if early else "total error, 95%, over participants"))
    _legend(figure, axes, [*names, _dashes("50%" if single else "50%: can't be told from real")])
    return figure


def response_times(report: Report) -> Figure:
    """Plot response times per epoch: median, quartiles, and the middle 90% of the trials."""
    names = Names(report)
    rows = [(_wrapped(f"{'' if names.labels else 'epoch '}{names.short(e['epoch'])}"), e)
            for e in report["response"]["epochs"] if e["trials"]]  # fmt: skip
    rows = rows or [("all\ntrials", report["response"])]
    answers = [(name, report["response"][name]) for name in ("correct", "wrong")]
    by_epoch = len(rows)
    rows += [(f"answer\n{name}", answer) for name, answer in answers if answer and answer["trials"]]
    figure, axes = _figure(report, max(3.4, 1.4 + 0.55 * len(rows)), 2.7)
    boxes = [
        {"med": row["median_ms"] / 1000, "q1": row["quartiles_ms"][0] / 1000, "q3": row["quartiles_ms"][1] / 1000,
         "whislo": row["range_ms"][0] / 1000, "whishi": row["range_ms"][1] / 1000, "label": name}
        for name, row in rows
    ]  # fmt: skip
    line = {"color": "#222222", "linewidth": 0.9}
    axes.bxp(boxes, showfliers=False, widths=0.5, patch_artist=True, medianprops={"color": ORANGE, "linewidth": 1.8},
             boxprops={"facecolor": "#DCE9F2", "edgecolor": "#222222", "linewidth": 0.9}, whiskerprops=line,
             capprops=line)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("response time (s)")
    if len(rows) > by_epoch:  # The same trials, split differently.
        axes.axvline(by_epoch + 0.5, color="#CCCCCC", linewidth=0.8)
    axes.set_title("Median, quartiles, 5th to 95th percentile", loc="left", fontsize=8)
    return figure


def preferences(report: Report) -> Figure:
    """Plot the Bradley-Terry strengths of the epochs."""
    strengths = report["pick"]["strengths"]
    figure, axes = _figure(report, max(3.4, 1.4 + 0.55 * len(strengths)), 2.7)
    _error_bars(axes, range(len(strengths)), [s["strength"] for s in strengths],
                [s["interval"] for s in strengths], BLUE, "o")
    axes.axhline(0, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    _epoch_axis(axes, report, [s["epoch"] for s in strengths])
    axes.set_ylabel("Bradley-Terry strength (logit)")
    _legend(figure, axes, [_handle(BLUE, "o", "95%, over participants")])
    return figure


def thresholds(report: Report) -> Figure:
    """Plot the mean thresholds of exposure with their intervals, and each participant's as a grey dot."""
    seen = [each for each in report["thresholds"]["epochs"] if each["mean_ms"] is not None]
    figure, axes = _figure(report, max(3.4, 1.4 + 0.55 * len(seen)), 2.9)
    for n, each in enumerate(seen):
        places = [n - 0.22] * len(each["each_ms"])
        axes.plot(places, each["each_ms"], ".", color=GREY, alpha=0.5, markersize=4, markeredgewidth=0, zorder=1)
    _error_bars(axes, range(len(seen)), [each["mean_ms"] for each in seen], [each["interval"] for each in seen], BLUE,
                "o")
    bounds = report["protocol"]["least_exposure_ms"], report["protocol"]["most_exposure_ms"]
    for bound in bounds:
        axes.axhline(bound, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    _epoch_axis(axes, report, [each["epoch"] for each in seen], [f"N = {each['participants']}" for each in seen])
    axes.set_ylim(0, bounds[1] * 1.05)
    axes.set_ylabel("threshold of exposure (ms)")
    _legend(figure, axes, [_handle(BLUE, "o", "mean, 95% over participants"), _dashes("shortest and longest exposure")])
    return figure


def opinions(report: Report) -> Figure:
    """Plot the mean opinion scores of epochs, with both intervals, and that of real pictures as a line with a band."""
    seen = [each for each in report["mos"]["conditions"] if each["mean"] is not None]
    fakes = [each for each in seen if each["epoch"] is not None]
    figure, axes = _figure(report, max(3.4, 1.4 + 0.55 * len(fakes)), 2.9)
    handles = [_handle(BLUE, "o", "95%, over participants")]
    for n, each in enumerate(fakes):
        if each["interval_crossed"]:
            axes.plot([n, n], each["interval_crossed"], color=BLUE, alpha=0.28, linewidth=7, solid_capstyle="butt",
                      zorder=1)
    if any(each["interval_crossed"] for each in fakes):
        handles.append(_band(BLUE, "95%, over participants and pictures"))
    _error_bars(axes, range(len(fakes)), [each["mean"] for each in fakes], [each["interval"] for each in fakes], BLUE,
                "o")
    if not Names(report).labels:  # Methods have no order.
        axes.plot(range(len(fakes)), [each["mean"] for each in fakes], color=BLUE, linewidth=0.9, alpha=0.6, zorder=2)
    for real in (each for each in seen if each["epoch"] is None):
        axes.axhline(real["mean"], color=GREEN, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        axes.axhspan(*real["interval"], color=GREEN, alpha=0.14, linewidth=0, zorder=0)
        handles.append(_band(GREEN, "real pictures, 95%, over participants"))
    _epoch_axis(axes, report, [each["epoch"] for each in fakes], [f"N = {each['participants']}" for each in fakes])
    axes.set_ylim(1, 5)
    axes.set_yticks(range(1, 6), [f"{n} {word}" for n, word in enumerate(report["mos"]["scale"], 1)])
    axes.set_ylabel("mean opinion score")
    _legend(figure, axes, handles)
    return figure


def tags(report: Report) -> Figure:
    """Plot the share of fakes that were marked, per tag and epoch, with intervals."""
    rows = [row for row in report["tag"]["rates"] if row["tag"] != "any"]
    epochs = sorted({row["epoch"] for row in rows})
    figure, axes = _figure(report, 4.6, 1.3 + 0.16 * len(TAGS) * max(2, len(epochs)))
    step = 0.72 / max(1, len(epochs))
    handles = []
    for n, epoch in enumerate(epochs):
        colour, marker = _series(n, len(epochs))
        of_epoch = {row["tag"]: row for row in rows if row["epoch"] == epoch}
        places = [place + (n - (len(epochs) - 1) / 2) * step for place in range(len(TAGS))]
        values = [100 * of_epoch[tag]["rate"] for tag in TAGS]
        _error_bars(axes, places, values, [of_epoch[tag]["interval"] for tag in TAGS], colour, marker, scale=100,
                    across=True)
        handles.append(_handle(colour, marker, Names(report).full(epoch)))
    axes.set_yticks(range(len(TAGS)), TAGS)
    for place in range(len(TAGS) - 1):
        axes.axhline(place + 0.5, color="#E4E4E4", linewidth=0.7, zorder=0)
    axes.set_ylim(len(TAGS) - 0.5, -0.5)
    axes.set_xlim(left=-0.015 * axes.get_xlim()[1])  # So that a mark at 0 isn't cut off.
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("fakes marked (%)")
    _legend(figure, axes, handles)
    return figure


def contact_sheet(study: Study, report: Mapping[str, Any], side: int = 160) -> bytes | None:
    """Return the pictures that fooled most and least, with epoch, share and trials, as PNG; None if there are none.

    Raises:
        StudyError: a picture in the study's folder is missing or damaged.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = [(which, report["stimuli"][which]) for which in ("most", "least") if report["stimuli"][which]]
    rows = [(which, [s for s in stimuli if s["sha256"] in study.by_hash]) for which, stimuli in rows]
    if not any(stimuli for _, stimuli in rows) or study.folder is None:
        return None
    gap, head, foot = 8, 24, 34
    font, small = ImageFont.load_default(size=15), ImageFont.load_default(size=12)
    width = gap + max(3, max(len(stimuli) for _, stimuli in rows)) * (side + gap)
    sheet = Image.new("RGB", (width, gap + len(rows) * (head + side + foot)), "white")
    draw = ImageDraw.Draw(sheet)
    for n, (which, stimuli) in enumerate(rows):
        top = gap + n * (head + side + foot)
        mark = "SIMULATED VOTES. " if report["simulated"] else ""
        draw.text((gap, top), f"{mark}{which.capitalize()} often {report['stimuli']['what']}", "black", font)
        for m, stimulus in enumerate(stimuli):
            left = gap + m * (side + gap)
            path = study.stimulus_path(stimulus["sha256"])
            try:
                with Image.open(path) as picture:
                    picture = picture.convert("RGB")
            except OSError as error:
                raise StudyError("{path} is missing or damaged: copy the study again", path=path) from error
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
            if max(picture.size) < side:  # Small ones are enlarged to the same size.
                scale = side / max(picture.size)
                size = (round(picture.width * scale), round(picture.height * scale))
                picture = picture.resize(size, Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + (side - picture.width) // 2, top + head))
            label = f"{100 * stimulus['rate']:.0f}% of {stimulus['trials']}"
            if stimulus["epoch"] is not None:
                name, named = Names(report).full(stimulus["epoch"]), bool(Names(report).labels)
                label = f"{name[:24]}\n{label}" if named else f"{name}, {label}"
            draw.text((left, top + head + side + 3), label, "#333333", small)
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()


# --- parts --------------------------------------------------------------------------------------------------


def _figure(report: Report, width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of this size in inches, captioned with study, protocol and number of participants."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    text = ("SIMULATED VOTES. " if report["simulated"] else "") + caption(report)
    if report["training_pictures"]:
        text = f"TRAINING PICTURES. {text}"
    elif report["trained_on"]:
        text = "SOME TRAINING PICTURES ({count} OF {of}). ".format(**report["trained_on"]) + text
    lines = textwrap.wrap(text, int(width * 19))
    figure = Figure(figsize=(width, height + 0.14 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.supxlabel("\n".join(lines), fontsize=6.5, color="#444444", x=0.02, ha="left")
    return figure, figure.add_subplot()


def caption(report: Report) -> str:
    """Return a caption with study, protocol and N; without the title, whose letters the font may lack."""
    protocol, people = report["protocol"], report["participants"]["counted"]
    shown = f"{protocol['exposure_ms']}\xa0ms" if protocol["exposure_ms"] else "unlimited time"
    if protocol.get("staircase_right"):
        shown = f"{protocol['least_exposure_ms']} to {protocol['most_exposure_ms']}\xa0ms"
    plan, early = report["plan"], ""
    if state_of(report) != "reached":
        early = (f" Provisional: at least {plan['least']} of {plan['participants']} per {Names(report).kind} have "
                 "judged.")
    return (
        f"Study {report['study']['name']}. Protocol {report['study']['protocol']}: "
        f"{protocol['practice_trials']} + {number_of(protocol['test_trials'], 'trial')}, {shown}; "
        f"N\xa0=\xa0{number_of(people, 'participant')}, {number_of(report['trials'], 'trial')}.{early}"
    )


def _error_bars(
    axes: Axes, places: Sequence[float] | range, values: Sequence[float], intervals: Sequence[Sequence[float] | None],
    colour: str, marker: str, *, scale: float = 1, across: bool = False,
) -> None:
    for place, value, interval in zip(places, values, intervals, strict=True):
        low, high = interval or (value / scale, value / scale)
        error = [[max(0, value - scale * low)], [max(0, scale * high - value)]]
        x, y = (value, place) if across else (place, value)
        axes.errorbar([x], [y], **{"xerr" if across else "yerr": error}, fmt=marker, color=colour, markersize=4.5,
                      capsize=2.2, elinewidth=1.2, capthick=1.2, markeredgecolor="white", markeredgewidth=0.6, zorder=3)


def _epoch_axis(axes: Axes, report: Report, epochs: Sequence[int], below: Sequence[str] = ()) -> None:
    names = Names(report)
    shown = [_wrapped(names.short(epoch)) for epoch in epochs]
    if below:
        shown = [f"{name}\n{text}" for name, text in zip(shown, below, strict=True)]
    axes.set_xticks(range(len(epochs)), shown)
    axes.set_xlim(-0.6, len(epochs) - 0.4)
    if not names.labels:
        axes.set_xlabel("epoch")


def _wrapped(name: str) -> str:
    """Return a name in lines of a column's width."""
    return "\n".join(textwrap.wrap(name, 11))


def _series(n: int, count: int) -> tuple[str, str]:
    """Return colour and mark of the n-th of several series; more than three get a colour scale."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    marker = "osD^vP*X"[n % 8]
    if count <= 3:
        return (BLUE, ORANGE, GREEN)[n], marker
    return to_hex(colormaps["viridis"](0.8 * n / (count - 1))), marker


def _handle(colour: str, marker: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle="-", linewidth=1.2, markersize=4.5,
                  markeredgecolor="white", label=label)


def _band(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, alpha=0.28, linewidth=0, label=label)


def _dashes(label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), label=label)


def _legend(figure: Figure, axes: Axes, handles: Sequence[Any]) -> None:
    """Draw the legend above the axes, where it covers nothing."""
    long = max(len(handle.get_label()) for handle in handles) > 12
    columns = 1 if long and figure.get_figwidth() < 5.2 else min(4, len(handles))
    rows_first = [handle for column in range(columns) for handle in handles[column::columns]]
    axes.legend(handles=rows_first, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2,
                handlelength=1.6, columnspacing=1.2)
