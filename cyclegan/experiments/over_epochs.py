"""The rows of an experiment over their epochs: when each is best, when its variety falls, and its tones."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan.config import DIRECTIONS, direction_name
from cyclegan.errors import number_of, rounded
from cyclegan.evaluation.scores.exchange import checked
from cyclegan.evaluation.scores.recommend import FEWEST, fewest_pictures
from cyclegan.evaluation.scores.report import Report, ScoresError, read_report
from cyclegan.evaluation.scores.table import BY_KEY
from cyclegan.experiments.pictures import label_panel, row_looks, save_panels
from cyclegan.experiments.plan import SCORES_NAME, Plan, Training
from cyclegan.images import open_image

CURVES = ("kid", "spread_of_targets", "follows_input", "content_kept")
"""Figures over whole test sets that are drawn for every epoch."""
FALLEN = 0.8
"""Variety falls where the spread comes below this share of its largest value, to remain there."""
DARK = 10
"""Percent of a picture's pixels that count as its dark part, such as a car's cabin."""

_ABOUT = (
    f"Over the whole test set. Variety falls at the epoch from which on the spread of a row's translations is below "
    f"{FALLEN:.0%} of its own largest, to the end. It is how a collapse begins, and may stay far from one: above, a "
    "row counts as collapsed by the spread of real pictures."
)

Curve = Mapping[int, float]
"""A figure by epoch."""


def _scores(training: Training, way: str) -> Report | None:
    """Return a run's scores, None where there are none in this direction, or they can't be read."""
    folder = training.folder / "scores"
    if way not in training.directions or not (folder / f"{SCORES_NAME}.json").exists():
        return None
    try:
        report = checked(read_report(folder, SCORES_NAME, training.folder.name))
    except ScoresError:  # `report.gather` says so.
        return None
    return report if way in report.content else None


def curves_of(training: Training, way: str) -> dict[str, Curve]:
    """Return a run's figures in `CURVES` by epoch, without those that weren't measured."""
    if (report := _scores(training, way)) is None:
        return {}
    found: dict[str, dict[int, float]] = {}
    for answer, scores in report.section(way, "scores").items():
        for key in CURVES:
            if value := report.value(way, "scores", answer, BY_KEY[key].score, key):
                found.setdefault(key, {})[int(scores["epoch"])] = value["value"]
    return {key: dict(sorted(curve.items())) for key, curve in found.items()}


def untranslated(plan: Plan, way: str) -> dict[str, float]:
    """Return the figures in `CURVES` of the inputs as they are, as the first scored run has them."""
    for training in plan.trainings():
        if (report := _scores(training, way)) is not None:
            found = {key: report.value(way, "baselines", "untranslated", BY_KEY[key].score, key) for key in CURVES}
            return {key: value["value"] for key, value in found.items() if value}
    return {}


def _pictures(plan: Plan, way: str) -> int:
    """Return the number of test pictures that the figures rest on, of the scored run with the fewest."""
    reports = (_scores(training, way) for training in plan.trainings())
    return min((fewest_pictures(report.content[way]["measured_on"]) for report in reports if report), default=FEWEST)


def variety_falls(curve: Curve) -> int | None:
    """Return the epoch from which on the spread is below `FALLEN` of its largest value; None if it isn't at the end."""
    epochs, most = list(curve), max(curve.values())
    begins = None
    for epoch in reversed(epochs):
        if curve[epoch] >= FALLEN * most:
            break
        begins = epoch
    return begins


def facts(plan: Plan, way: str) -> dict[str, Any]:
    """Return by row what its runs did over the epochs, one value per seed; rows of a single epoch are left out."""
    found: dict[str, dict[str, list[Any]]] = {}
    for training in plan.trainings():
        curves = curves_of(training, way)
        if not any(len(curve) > 1 for curve in curves.values()):
            continue
        row = found.setdefault(training.row.name, {"epochs": [], "best": [], "best_kid": [], "last_kid": [],
                                                   "collapse": [], "kept": []})  # fmt: skip
        row["epochs"].append(max(max(curve) for curve in curves.values()))
        if kid := curves.get("kid"):
            best = min(kid, key=lambda epoch: kid[epoch])
            row["best"].append(best)
            row["best_kid"].append(kid[best])
            row["last_kid"].append(kid[max(kid)])
        if spread := curves.get("spread_of_targets"):
            row["collapse"].append(variety_falls(spread))
        if kept := curves.get("content_kept"):
            row["kept"].append(kept[max(kept)])
    return found


def tones(folder: Path, way: str) -> dict[str, dict[str, float]]:
    """Return the tones of a run's shown inputs, translations and real pictures of the target, where they are there.

    Of each: `light`, the mean luminance of all pixels, `dark`, that of the darkest tenth, and `colour`, the mean
    distance of a pixel's channels from its luminance; grey levels (0 to 255).
    """
    found = {}
    for kind in ("inputs", "shown", "targets"):
        path = folder / f"{kind}-{way}.png"
        if path.is_file():
            pixels = np.asarray(open_image(path), np.float64).reshape(-1, 3)
            light = pixels @ (0.299, 0.587, 0.114)
            darkest = np.sort(light)[: max(1, len(light) * DARK // 100)]
            found[kind] = {"light": float(light.mean()), "dark": float(darkest.mean()),
                           "colour": float(np.abs(pixels - light[:, None]).mean())}  # fmt: skip
    return found


# --- words and pictures --------------------------------------------------------------------------------------


def lines(plan: Plan) -> list[str]:
    """Return the section over the epochs; [] where no row was scored at more than one."""
    parts: list[str] = []
    about: list[str] = []
    for way in DIRECTIONS:
        rows = facts(plan, way)
        if not rows:
            continue
        parts += [f"### {direction_name(way, **plan.names)}", ""]
        if (count := _pictures(plan, way)) < FEWEST:
            parts += [f"{number_of(count, 'test picture')} can't tell epochs apart. Measure on 50 or more.", ""]
        else:
            parts += [*_table(rows, untranslated(plan, way)), "", *_in_words(rows), ""]
            about = [_ABOUT, ""]
        if toned := _tones(plan, way):
            parts += [*toned, ""]
    if not parts:
        return []
    return ["## When each row is best, and when its variety falls", "", *about, *parts]


def _table(rows: Mapping[str, Any], plain: Mapping[str, float]) -> list[str]:
    has_kept = any(row["kept"] for row in rows.values())
    heads = ["epochs", "best epoch by KID", "KID × 1000 there", "KID × 1000 at the end", "variety falls from",
             "kept at the end"]  # fmt: skip
    heads = heads if has_kept else heads[:-1]
    found = ["| | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(heads)]
    for name, row in rows.items():
        cells = [
            _each(row["epochs"]), _each(row["best"]), _mean(row["best_kid"], "kid"), _mean(row["last_kid"], "kid"),
            _each(["never" if epoch is None else epoch for epoch in row["collapse"]]),
            _mean(row["kept"], "content_kept"),
        ]  # fmt: skip
        found.append(f"| **{name}** | " + " | ".join(cells[: len(heads)]) + " |")
    if plain:
        kid, kept = (_mean([plain[key]] if key in plain else [], key) for key in ("kid", "content_kept"))
        cells = ["", "", kid, kid, "", kept][: len(heads)]
        found.append("| *baseline: the input, untranslated* | " + " | ".join(cells) + " |")
    return found


def _each(values: Sequence[Any]) -> str:
    """Return the values of the seeds, once if they are equal."""
    return ", ".join(map(str, values if len(set(values)) > 1 else values[:1]))


def _mean(values: Sequence[float], key: str) -> str:
    return rounded(statistics.fmean(values), BY_KEY[key].format) if values else ""


def _in_words(rows: Mapping[str, Any]) -> list[str]:
    fallen = [(min(e for e in row["collapse"] if e is not None), name, sum(e is not None for e in row["collapse"]),
               len(row["collapse"])) for name, row in rows.items() if any(row["collapse"])]  # fmt: skip
    if not fallen:
        return ["No row's translations come to resemble each other: the variety of none falls."]
    said = [f"{name} from epoch {epoch}" + ("" if count == of else f" ({count} of {of} seeds)")
            for epoch, name, count, of in sorted(fallen)]  # fmt: skip
    steady = [name for name, row in rows.items() if row["collapse"] and not any(row["collapse"])]
    return ["Translations come to resemble each other in " + "; ".join(said) + "."
            + (f" Not so in {'; '.join(steady)}." if steady else "")]  # fmt: skip


def _tones(plan: Plan, way: str) -> list[str]:
    """Return the tones of the first seed's shown pictures."""
    found = {
        training.row.name: each for training in plan.trainings()
        if training.seed == plan.seeds[0] and way in training.directions
        and "shown" in (each := tones(training.folder, way))
    }  # fmt: skip
    if not found:
        return []
    references = next(iter(found.values()))
    rows = {f"**{name}**": each["shown"] for name, each in found.items()}
    words = {"inputs": "*the inputs*", "targets": "*real pictures of the target*"}
    rows |= {words[kind]: references[kind] for kind in words if kind in references}
    heads = {"light": "mean light", "dark": f"light of the darkest {DARK}%", "colour": "colour"}
    return [
        "Tones of the pictures shown, in grey levels: is the dark part dark, are the colours strong?", "",
        "| | " + " | ".join(heads.values()) + " |", "|---|" + "--:|" * len(heads),
        *(f"| {name} | " + " | ".join(f"{tone[key]:.1f}" for key in heads) + " |" for name, tone in rows.items()),
    ]  # fmt: skip


def write_plot(plan: Plan) -> str | None:
    """Write epochs.png, `CURVES` over the epochs by row, as means over the seeds, and return its name.

    Returns None, and writes nothing, where no row was scored at more than one epoch.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn: dict[tuple[str, str], dict[str, list[Curve]]] = {}
    for training in plan.trainings():
        for way in training.directions:
            for key, curve in curves_of(training, way).items():
                if len(curve) > 1:
                    drawn.setdefault((way, key), {}).setdefault(training.row.name, []).append(curve)
    if not drawn:
        return None
    ways = [way for way in DIRECTIONS if any(place[0] == way for place in drawn)]
    names = list(dict.fromkeys(name for rows in drawn.values() for name in rows))
    look = row_looks(names)
    keys = [key for key in CURVES if any(place[1] == key for place in drawn)]
    figure = Figure(figsize=(3.4 * len(keys) + 3, 3.2 * len(ways)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(ways), len(keys), squeeze=False)
    for way, row in zip(ways, panels, strict=True):
        plain = untranslated(plan, way)
        for key, axes in zip(keys, row, strict=True):
            curves = drawn.get((way, key))
            if curves is None:
                axes.set_visible(False)
                continue
            for name, each in curves.items():
                epochs = sorted(set.intersection(*(set(curve) for curve in each)))
                means = [statistics.fmean(curve[epoch] for curve in each) for epoch in epochs]
                axes.plot(epochs, means, marker=".", label=name, **look[name])
            if key in plain:
                axes.axhline(plain[key], color="gray", linestyle=":", label="the input, untranslated")
            label_panel(axes, f"{BY_KEY[key].label}, {direction_name(way, **plan.names)}")
    save_panels(figure, plan.output / "epochs.png")
    return "epochs.png"
