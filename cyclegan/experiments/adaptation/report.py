"""The report of an adaptation: how much of the gap between the source's and the target's segmenter is closed.

Everything is read from the experiment's folder.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cyclegan.errors import number_of
from cyclegan.evaluation.scores.confusion import accuracies
from cyclegan.evaluation.scores.distances import interval, resampled
from cyclegan.experiments.adaptation.pair import FILE as PAIR_FILE
from cyclegan.experiments.adaptation.pair import FOLDER as DATA
from cyclegan.experiments.adaptation.readers import (
    COLOUR,
    DONE,
    FOLDER,
    ORACLE,
    PLAIN,
    SOURCE_ONLY,
    Reading,
    read_blind,
    read_reading,
    slug,
)  # fmt: skip
from cyclegan.experiments.paper import ADAPTATION
from cyclegan.experiments.pictures import grid
from cyclegan.experiments.plan import Plan
from cyclegan.experiments.report import commands, machine, machine_line, run_facts, unfinished
from cyclegan.experiments.spec import SCALES
from cyclegan.files import from_here, read_json, whole_file, write_bytes, write_json
from cyclegan.images import open_image

FIGURES = {"pixel": "pixel accuracy", "classes": "class accuracy", "iou": "class IoU"}
"""The keys of `figures_of`, with their words."""
ENOUGH = 0.02
"""A gap in a figure that is narrower than this isn't shared out."""
Readings = Mapping[str, Mapping[int, Reading]]
"""The answers of segmenters, by row and seed."""


def figures_of(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Return the figures of confusion matrices (n, classes, classes), each (n,), as `confusion.accuracies` has them.

    Means over classes are over those that occur, because others can't be right.
    """
    right = np.diagonal(matrices, axis1=1, axis2=2)
    truth, predicted = matrices.sum(2), matrices.sum(1)
    occurs, tiny = truth > 0, 1e-12
    count = occurs.sum(1) + tiny
    return {
        "pixel": right.sum(1) / (truth.sum(1) + tiny),
        "classes": (right / (truth + tiny)).sum(1, where=occurs) / count,
        "iou": (right / (truth + predicted - right + tiny)).sum(1, where=occurs) / count,
    }


def gather(plan: Plan) -> dict[str, Any]:
    """Return the content of report.json: all figures by row, with those of each seed, and the gap that each closes."""
    about = read_json(plan.output / DATA / PAIR_FILE)
    classes = list(about["classes"])
    names = {SOURCE_ONLY: slug(SOURCE_ONLY), COLOUR: slug(COLOUR)}
    names |= {row.name: row.slug for row in plan.experiment.rows} | {ORACLE: slug(ORACLE)}
    readings = {
        name: {seed: found for seed in plan.seeds if (found := read_reading(plan.output / FOLDER / f"{part}-{seed}"))}
        for name, part in names.items()
    }  # fmt: skip
    rows = {name: _row(of_seeds, classes) for name, of_seeds in readings.items() if of_seeds}
    rows.get(ORACLE, {}).pop("kept", None)  # It learned from no version of the source.
    for name in rows:
        if name not in (SOURCE_ONLY, ORACLE):
            rows[name]["closed"] = _closed(readings, name)
            if name != COLOUR:
                rows[name]["above_colour"] = _above(readings, name, COLOUR)
    if (blind := read_blind(plan.output)) is not None:
        rows["blind"] = {"figures": _figures({0: Reading(blind, None)}), "classes": _by_class([blind], classes)}
    tests = next((len(each.target) for of_seeds in readings.values() for each in of_seeds.values()), 0)
    return {
        "version": 1, "name": plan.experiment.name, "title": plan.experiment.title, "scale": plan.scale,
        "folder": str(from_here(plan.output)),
        "seeds": list(plan.seeds), "pair": about, "tests": tests, "rows": rows,
        "trainings": _trainings(plan, readings), "machine": machine(),
    }  # fmt: skip


def _trainings(plan: Plan, readings: Readings) -> list[dict[str, Any]]:
    """Return the runs of each row that needs some; their figures are only named."""
    found: dict[str, dict[str, Any]] = {row.name: {"name": row.name, "runs": []} for row in plan.experiment.rows}
    for training in plan.trainings():
        done = training.seed in readings[training.row.name]
        figures = {"ab": list(FIGURES)} if done else {}
        found[training.row.name]["runs"].append({**run_facts(training), "figures": figures})
    return list(found.values())


def _row(of_seeds: Mapping[int, Reading], classes: Sequence[str]) -> dict[str, Any]:
    found = {"figures": _figures(of_seeds), "classes": _by_class([r.target for r in of_seeds.values()], classes)}
    if all(each.kept is not None for each in of_seeds.values()):
        kept = {seed: accuracies(each.kept.sum(0)).pixel for seed, each in of_seeds.items()}  # type: ignore[union-attr]
        found["kept"] = {str(seed): round(value, 4) for seed, value in kept.items()}
    return found


def _figures(of_seeds: Mapping[int, Reading]) -> dict[str, dict[str, float]]:
    found = figures_of(np.stack([each.target.sum(0) for each in of_seeds.values()]))
    return {key: {str(seed): round(float(value), 4) for seed, value in zip(of_seeds, found[key], strict=True)}
            for key in FIGURES}  # fmt: skip


def _by_class(matrices: Sequence[np.ndarray], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return each occurring class's share of the test pixels and its IoU, as a mean over the seeds."""
    each = [accuracies(matrix.sum(0)) for matrix in matrices]
    return {
        name: {"share": round(each[0].shares[k], 4), "iou": round(statistics.fmean(a.iou_by_class[k] for a in each), 4)}
        for k, name in enumerate(classes) if each[0].shares[k] > 0
    }  # fmt: skip


def _samples(readings: Readings, names: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Return, for each row and figure, (seeds, 1 + samples): the value with each seed, and bootstrap samples of it.

    The same pictures are drawn for all rows and seeds, because a hard picture is hard for all.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in names:
        of_seeds = [readings[name][seed].target for seed in _common(readings, names)]
        each = [figures_of(np.concatenate([m.sum(0)[None], resampled(m)])) for m in of_seeds]
        found[name] = {key: np.stack([one[key] for one in each]) for key in FIGURES}
    return found


def _common(readings: Readings, names: Sequence[str]) -> list[int]:
    """Return the seeds with which all of these rows are done."""
    return sorted(set.intersection(*(set(readings.get(name, ())) for name in names)))


def _closed(readings: Readings, name: str) -> dict[str, Any]:
    """Return by figure the share of the gap that a row closes, {} where the rows for it, or the gap, are missing."""
    names = (SOURCE_ONLY, name, ORACLE)
    if not (seeds := _common(readings, names)):
        return {}
    pictures = len(readings[name][seeds[0]].target)
    low, ours, high = (_samples(readings, names)[each] for each in names)
    found = {}
    for key in FIGURES:
        gain, gap = ours[key] - low[key], high[key] - low[key]
        clear = _interval(gap.mean(0), gap[:, 0], pictures)
        if clear["value"] >= ENOUGH and clear["low"] > 0:
            share = gain.mean(0) / np.maximum(gap.mean(0), ENOUGH / 4)
            # Of a ratio, the seeds' spread is that of its residuals.
            residuals = share[0] + (gain[:, 0] - share[0] * gap[:, 0]) / gap[:, 0].mean()
            found[key] = _interval(share, residuals, pictures)
    return found


def _above(readings: Readings, name: str, other: str) -> dict[str, Any]:
    """Return by figure how far a row is above another one."""
    if not (seeds := _common(readings, (name, other))):
        return {}
    pictures = len(readings[name][seeds[0]].target)
    ours, theirs = (_samples(readings, (name, other))[each] for each in (name, other))
    apart = {key: ours[key] - theirs[key] for key in FIGURES}
    return {key: _interval(each.mean(0), each[:, 0], pictures) for key, each in apart.items()}


def _interval(samples: np.ndarray, of_seeds: np.ndarray, pictures: int) -> dict[str, float]:
    """Return a value with its 95% interval, over test pictures by the bootstrap and over seeds by Student's t.

    Args:
        samples: (1 + samples,), first the value; the seeds' mean in bootstrap samples of the pictures.
        of_seeds: (seeds,), the value with each seed. A single one has no spread, which then isn't in the interval.
        pictures: the number of test pictures.
    """
    from scipy.special import stdtrit

    value, count = float(samples[0]), len(of_seeds)
    low, high = interval(value, samples[1:], pictures, (-np.inf, np.inf)) or (value, value)
    spread = of_seeds.std(ddof=1) * stdtrit(count - 1, 0.975) / np.sqrt(count) if count > 1 else 0.0
    low, high = value - np.hypot(value - low, spread), value + np.hypot(high - value, spread)
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


# --- words ---------------------------------------------------------------------------------------------------


def markdown(report: Mapping[str, Any]) -> str:
    """Return README.md."""
    pair, rows = report["pair"], report["rows"]
    source, target = (pair["names"][role] for role in ("source", "target"))
    many = len(report["seeds"]) > 1
    parts = [
        f"# {report['title']}: {source} → {target}", "",
        f"    {report['command']}", "",
        f"A segmenter learns from labelled pictures of **{source}** and is tested on "
        f"{number_of(report['tests'], 'picture')} of **{target}** (`{pair['source']}` → `{pair['target']}`). Each "
        "row's learns from the same labels with other pictures, for as many steps; the oracle learns from the target's "
        "own labels. No method saw a test picture.", "",
        f"Scale {report['scale']} ({SCALES[report['scale']].about}), {number_of(len(report['seeds']), 'seed')}; "
        + ("means over the seeds ± their standard deviation. " if many else "how far seeds differ isn't known. ")
        + f"{machine_line(report['machine'])}", "",
        *_table(rows), "", *_sentences(rows), "", *_published(), "",
        "## Class by class", "", "IoU, as a mean over the seeds; share: of the test pictures' pixels.", "",
        *_classes(rows), "",
        "![Target: test pictures, labels, and what each segmenter reads](read.png)", "",
        "![Source: what each segmenter learned from](learned.png)", "",
        *unfinished(report["trainings"]), *commands(report["trainings"], report["seeds"][0], report["folder"]),
    ]  # fmt: skip
    return "\n".join(parts)


def _table(rows: Mapping[str, Any]) -> list[str]:
    heads = [*(f"{name} ↑" for name in FIGURES.values()), "gap closed, pixels", "gap closed, IoU", "labels kept ↑"]
    lines = ["| learned from | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(heads)]
    words = {SOURCE_ONLY: "*baseline: the source as it is*", COLOUR: "*baseline: the source in the target's colours*",
             ORACLE: "*ceiling: the target, with its labels*", "blind": "*baseline: no picture at all*"}  # fmt: skip
    for name in _order(rows):
        row = rows[name]
        cells = [_cell(list(row["figures"][key].values())) for key in FIGURES]
        cells += [_share(row.get("closed", {}).get(key)) for key in ("pixel", "iou")]
        cells.append(_cell(list(row["kept"].values())) if "kept" in row else "")
        lines.append(f"| {words.get(name, f'**{name}**')} | " + " | ".join(cells) + " |")
    return [*lines, "", "Gap closed: (row − source) / (oracle − source), with its 95% interval over test pictures "
            "and, with several, seeds. Labels kept: pixels of the row's version of the source's test pictures in which "
            "the oracle reads the source's label."]  # fmt: skip


def _order(rows: Mapping[str, Any]) -> list[str]:
    return [*(n for n in ("blind", SOURCE_ONLY, COLOUR) if n in rows),
            *(n for n in rows if n not in ("blind", *PLAIN)), *([ORACLE] if ORACLE in rows else [])]  # fmt: skip


def _cell(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def _share(found: Mapping[str, float] | None) -> str:
    return f"{found['value']:.0%} ({found['low']:.0%} to {found['high']:.0%})" if found else ""


def _sentences(rows: Mapping[str, Any]) -> list[str]:
    """Return for each translated row what it comes to, in words."""
    lines = []
    for name in (each for each in rows if each not in ("blind", *PLAIN)):
        closed, above = (rows[name].get(key, {}).get("iou") for key in ("closed", "above_colour"))
        if closed is None:
            lines.append(f"- **{name}**: source and oracle don't differ enough for a gap in class IoU.")
            continue
        verdict = ("closes part of the gap" if closed["low"] > 0 else "widens the gap" if closed["high"] < 0
                   else "isn't clearly better than the source as it is")  # fmt: skip
        line = f"- **{name}** {verdict} in class IoU: {_share(closed)}"
        if above is not None:
            side = "above" if above["low"] > 0 else "below" if above["high"] < 0 else "not clearly apart from"
            line += (f"; it is {side} the source in the target's colours, by {above['value']:+.3f} "
                     f"({above['low']:+.3f} to {above['high']:+.3f})")  # fmt: skip
        lines.append(f"{line}. {_classes_apart(rows, name)}")
    return lines


def _classes_apart(rows: Mapping[str, Any], name: str) -> str:
    """Return the classes that gain and lose most by translation."""
    ours, plain = rows[name]["classes"], rows[SOURCE_ONLY]["classes"]
    gains = {each: ours[each]["iou"] - plain[each]["iou"] for each in ours}
    ordered = sorted(gains, key=lambda each: -gains[each])
    best = [f"{each} ({gains[each]:+.2f})" for each in ordered[:3] if gains[each] > 0]
    worst = [f"{each} ({gains[each]:+.2f})" for each in ordered[::-1][:3] if gains[each] < 0]
    return ("Gains most: " + (", ".join(best) or "no class") + "; loses most: " + (", ".join(worst) or "no class")
            + ".")  # fmt: skip


def _published() -> list[str]:
    low, ours, high = ADAPTATION
    return [
        "Published, of GTA5 → Cityscapes with other networks and 19 classes (CyCADA, Hoffman et al. 2018): pixel "
        f"accuracy {low[0]:.3f} from the game as it is, {ours[0]:.3f} from its translation by CycleGAN, {high[0]:.3f} "
        f"from Cityscapes' labels; class IoU {low[1]:.3f}, {ours[1]:.3f}, {high[1]:.3f}. That closes "
        f"{(ours[0] - low[0]) / (high[0] - low[0]):.0%} and {(ours[1] - low[1]) / (high[1] - low[1]):.0%} of the gap.",
    ]


def _classes(rows: Mapping[str, Any]) -> list[str]:
    names = _order(rows)
    lines = ["| class | share | " + " | ".join(names) + " |", "|---|--:|" + "--:|" * len(names)]
    for each in next(iter(rows.values()), {}).get("classes", {}):
        share = rows[names[0]]["classes"][each]["share"]
        cells = " | ".join(f"{rows[name]['classes'][each]['iou']:.3f}" for name in names)
        lines.append(f"| {each} | {share:.3f} | {cells} |")
    return lines


def write_report(plan: Plan, command: str, minutes: float | None) -> dict[str, Any]:
    """Write the report into the experiment's folder, and return report.json's content."""
    report = {**gather(plan), "command": command, "minutes": minutes}
    _write_grids(plan)
    write_json(plan.output / "report.json", report)
    write_bytes(plan.output / "README.md", (markdown(report) + "\n").encode())
    return report


def _write_grids(plan: Plan) -> None:
    """Write read.png and learned.png, of the first seed."""
    seed = plan.seeds[0]
    places = {name: plan.output / FOLDER / f"{slug(name)}-{seed}" for name in (SOURCE_ONLY, COLOUR)}
    places |= {row.name: plan.output / FOLDER / f"{row.slug}-{seed}" for row in plan.experiment.rows}
    places |= {ORACLE: plan.output / FOLDER / f"{slug(ORACLE)}-{seed}"}
    done = {name: place for name, place in places.items() if (place / DONE).exists()}
    some = next(iter(done.values()), plan.output)
    read = {"target, test": some / "tests.png", "labels": some / "labels.png"} if done else {}
    read |= {name: place / "read.png" for name, place in done.items()}
    learned = {name: place / "learned.png" for name, place in done.items()}
    for file, strips in (("read.png", read), ("learned.png", learned)):
        if strips:
            with whole_file(plan.output / file) as part:
                grid({name: open_image(path) for name, path in strips.items()}).save(part, "PNG", optimize=True)
