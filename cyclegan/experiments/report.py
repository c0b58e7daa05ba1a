"""The report of an experiment: report.json with every figure, README.md and pictures for people.

Everything is read from the experiment's folder, so the report can be written at any time, also while rows are trained.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import psutil

import cyclegan
from cyclegan import __version__
from cyclegan.checkpoints.format import epoch_name
from cyclegan.checkpoints.progress import MetricsLog
from cyclegan.config import DIRECTIONS, Direction, direction_name
from cyclegan.errors import number_of, rounded
from cyclegan.evaluation.scores.exchange import checked, known
from cyclegan.evaluation.scores.recommend import FEWEST, fewest_pictures
from cyclegan.evaluation.scores.report import SECTIONS, ScoresError, read_report
from cyclegan.evaluation.scores.table import BY_KEY, cell
from cyclegan.evaluation.scores.tables import explained
from cyclegan.experiments.baselines import REFERENCES, figures_of, head_of, values_of, verdicts
from cyclegan.experiments.paper import REAL_PHOTOS, TO_PHOTO
from cyclegan.experiments.plan import SCORES_NAME, Plan, Training, failure
from cyclegan.experiments.spec import SCALES, shown_command
from cyclegan.experiments.study import cell as taken_for_real
from cyclegan.experiments.study import lines as of_people
from cyclegan.experiments.study import people_by_way
from cyclegan.files import from_here, write_bytes, write_json

COLUMNS = (
    "seg_pixel", "seg_class", "seg_iou", "labels_pixel", "labels_class", "labels_iou", "kid", "pairs_l1",
    "content_kept", "rec_l1", "rec_noise_l1", "spread_of_targets", "follows_input",
)  # fmt: skip
"""Figures in the tables; report.json has all."""
ACCURACIES = {"seg": ("seg_pixel", "seg_class", "seg_iou"), "labels": ("labels_pixel", "labels_class", "labels_iou")}
COLLAPSED, IGNORES = 0.3, 0.15
"""Translations have collapsed below the first share of the real pictures' spread, and ignore their input below the
second correlation."""


# --- figures -------------------------------------------------------------------------------------------------


def gather(plan: Plan) -> dict[str, Any]:
    """Return the content of report.json: what was trained, and all figures by row, seed and direction."""
    rows = {row.name: {"name": row.name, "settings": dict(row.settings), "directions": row.directions,
                       "paper": {key: list(value) for key, value in row.paper.items()}, "runs": []}
            for row in plan.experiment.rows}  # fmt: skip
    references: dict[str, dict[str, Any]] = {}
    measured: dict[str, Any] = {}
    unlike: dict[str, dict[str, str]] = {}
    for training in plan.trainings():
        run, report = run_facts(training), None
        if run["epoch"] is not None and (training.folder / "scores" / f"{SCORES_NAME}.json").exists():
            try:
                report = checked(read_report(training.folder / "scores", SCORES_NAME, training.folder.name))
            except ScoresError as error:
                run["failed"] = f"{error}, and start the experiment again"
        for way in training.directions if report is not None else ():
            if way not in report.content:
                continue
            facts = report.content[way]["measured_on"]
            judge = facts["segmenter"] and {**facts["segmenter"], "dataset": _named(str(facts["segmenter"]["dataset"]))}
            facts = {**facts, "dataset": _named(facts["dataset"]), "segmenter": judge}
            if different := _different(measured.setdefault(way, facts), facts):
                unlike.setdefault(way, {})[training.row.name] = different
            run["figures"][way] = _flat(report.section(way, "scores").get(epoch_name(run["epoch"]), {}))
            for section in SECTIONS[1:]:
                for name, scores in report.section(way, section).items():
                    references.setdefault(way, {}).setdefault(section, {}).setdefault(name, _flat(scores))
        rows[training.row.name]["runs"].append(run)
    people, problem = people_by_way(plan)
    return {
        "version": 1, "name": plan.experiment.name, "title": plan.experiment.title,
        "dataset": _named(plan.dataset), "folder": str(from_here(plan.output)), "pictures": _pictures(plan),
        "scale": plan.scale, "seeds": plan.seeds, "names": dict(plan.names),
        "paper_ways": {way: plan.paper_way(way) for way in DIRECTIONS}, "measured_on": measured,
        "unlike": unlike,
        "references": references, "rows": list(rows.values()), "people": people, "people_problem": problem,
        "machine": machine(),
    }  # fmt: skip


def _pictures(plan: Plan) -> int:
    """Return the training pictures of the larger domain, as far as a row uses them."""
    return max(min(plan.pictures, each.config.data.max_images or plan.pictures) for each in plan.trainings())


def _different(first: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return in what a run's measurement differs from the first one's, "" if their figures compare."""
    kinds = {
        "pictures": ("fingerprint", "truths"), "labels": ("labels",),
        "segmenter": ("segmenter", "segmenter_weights"), "features": ("features", "features_weights"),
    }  # fmt: skip
    both = known(first).keys() & known(facts).keys()
    return ", ".join(said for said, keys in kinds.items() if any(first[k] != facts[k] for k in both.intersection(keys)))


def run_facts(training: Training) -> dict[str, Any]:
    """Return what became of a training, for report.json; its figures are still empty."""
    return {
        "seed": training.seed, "directions": training.directions, "folder": training.folder.name,
        "epoch": training.epoch, "epochs": training.config.optim.total_epochs, "seconds": _seconds(training.folder),
        "failed": failure(training.folder), "command": shown_command(_portable(training)), "figures": {},
    }  # fmt: skip


def _portable(training: Training) -> dict[str, Any]:
    """Return a run's settings with folders as seen from the one in which the experiment was started, for readers."""
    output, found = training.folder.parents[1], dict(training.settings)
    for name in ("dataset", "semantic_segmenter", "output_dir"):
        path = Path(str(found.get(name, "")))
        if path.is_relative_to(output) and name in found:
            found[name] = str(from_here(output) / path.relative_to(output))
        elif path.is_absolute():
            found[name] = str(from_here(path))
    return found


def _named(dataset: str) -> str:
    """Return a data set as a report names it: without the folders of this machine above its own."""
    return Path(dataset).name if Path(dataset).is_absolute() else dataset


def _seconds(folder: Path) -> float:
    """Return the time that the completed epochs took."""
    return round(sum(row.get("seconds") or 0.0 for row in MetricsLog(folder).read() if row["event"] == "epoch"), 1)


def _flat(scores: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return figures by key from figures by score."""
    return {
        key: value for figures in scores.values() if isinstance(figures, Mapping)
        for key, value in figures.items() if key in BY_KEY
    }  # fmt: skip


def machine() -> dict[str, Any]:
    """Return what figures of time depend on; no name or address of the machine."""
    import torch

    return {
        "cores": psutil.cpu_count(), "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None, "system": platform.system(),
        "python": platform.python_version(), "torch": torch.__version__, "cyclegan": __version__,
        "commit": _commit(),
    }  # fmt: skip


def machine_line(found: Mapping[str, Any]) -> str:
    """Return the facts of `machine` as a line."""
    return (
        f"{found['gpu'] or number_of(found['cores'], 'core')}, {found['memory_gib']:g} GiB, torch {found['torch']}, "
        f"cyclegan {found['cyclegan']}" + (f", commit {found['commit']}." if found["commit"] else ".")
    )


def _commit() -> str | None:
    """Return the checked-out commit; None for an installed package."""
    root = Path(cyclegan.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        words = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


# --- the paper's order ---------------------------------------------------------------------------------------


def order(report: Mapping[str, Any], way: str) -> list[dict[str, Any]]:
    """Return each pair of rows whose order the paper has, by each accuracy, with ours.

    `agrees` is True or False where all seeds agree, with a single seed where the intervals are apart; None where the
    order isn't clear.
    """
    paper_way, keys = report["paper_ways"].get(way), _accuracies(report, way)
    found = []
    for one, other in combinations(report["rows"], 2):
        for place, key in enumerate(keys):
            theirs = [row["paper"].get(paper_way) for row in (one, other)]
            if None in theirs or theirs[0][place] == theirs[1][place]:
                continue
            first, second = (one, other) if theirs[0][place] > theirs[1][place] else (other, one)
            ours = [values_of(row, way, key) for row in (first, second)]
            seeds = sorted(ours[0].keys() & ours[1].keys())
            if not seeds:
                continue
            found.append({
                "figure": key, "better": first["name"], "worse": second["name"],
                "paper": [row["paper"][paper_way][place] for row in (first, second)],
                "ours": [statistics.fmean(values.values()) for values in ours],
                "agrees": _agrees(ours, seeds, [_ends(row, way, key, seeds[0]) for row in (first, second)]),
            })  # fmt: skip
    return found


def _agrees(ours: list[dict[int, float]], seeds: list[int], ends: list[tuple[float, float]]) -> bool | None:
    if len(seeds) > 1:
        gaps = [ours[0][seed] - ours[1][seed] for seed in seeds]
        return min(gaps) > 0 if min(gaps) > 0 or max(gaps) < 0 else None
    if ends[0][0] > ends[1][1] or ends[1][0] > ends[0][1]:
        return ends[0][0] > ends[1][1]
    return None


def _ends(row: Mapping[str, Any], way: str, key: str, seed: int) -> tuple[float, float]:
    figure = next(r["figures"][way][key] for r in row["runs"] if r["seed"] == seed and key in r["figures"].get(way, {}))
    return figure.get("low", figure["value"]), figure.get("high", figure["value"])


def _accuracies(report: Mapping[str, Any], way: str) -> tuple[str, ...]:
    """Return the keys of the paper's three figures, () where they weren't measured."""
    for keys in ACCURACIES.values():
        if any(values_of(row, way, keys[0]) for row in report["rows"]):
            return keys
    return ()


def order_lines(report: Mapping[str, Any], way: str) -> list[str]:
    """Return the comparison with the paper's order in words."""
    pairs = order(report, way)
    if not pairs:
        return []
    lines = ["The rows' order against the paper's, pair by pair:", ""]
    for key in _accuracies(report, way):
        mine = [pair for pair in pairs if pair["figure"] == key]
        same, other, open_ = ([p for p in mine if p["agrees"] is state] for state in (True, False, None))
        lines.append(f"- **{BY_KEY[key].label}**: of {number_of(len(mine), 'pair')}, {len(same)} as in the paper, "
                     f"{len(other)} the other way round, {len(open_)} not clear.")  # fmt: skip
        for pair in other:
            lines.append(f"  - {pair['worse']} is above {pair['better']} here ({pair['ours'][1]:.2f} against "
                         f"{pair['ours'][0]:.2f}), below it in the paper ({pair['paper'][1]:.2f} against "
                         f"{pair['paper'][0]:.2f}).")  # fmt: skip
    rule = "all seeds agree" if len(report["seeds"]) > 1 else "the intervals of the two figures don't overlap"
    return [*lines, "", f"An order is clear where {rule}."]


# --- words ---------------------------------------------------------------------------------------------------


def markdown(report: Mapping[str, Any], pictures: Mapping[str, str], epochs: Sequence[str] = ()) -> str:
    """Return README.md.

    Args:
        pictures: files of the grids by direction, that of the `curves`, and that of the scores over the `epochs`.
        epochs: the section over the epochs.
    """
    ways = [way for way in DIRECTIONS if any(way in row["directions"] for row in report["rows"])]
    parts = [f"# {report['title']}", "", *_head(report), ""]
    for way in ways:
        parts += _way(report, way, pictures.get(way))
    if "curves" in pictures:
        parts += ["## Epoch by epoch", "", "On the trainer's few test pictures, with the first seed. Diversity is the "
                  "spread of translations over that of their inputs; the tables' spread is over real pictures':", "",
                  f"![Curves of the rows over the epochs]({pictures['curves']})", ""]  # fmt: skip
    parts += epochs
    if "epochs" in pictures:
        parts += [f"![Scores of the rows over the epochs]({pictures['epochs']})", ""]
    parts += [f"[The same frames under all rows, as a video of {Path(name).stem.rpartition('-')[2]} pixels]({name})\n"
              for name in report.get("videos", ())]  # fmt: skip
    parts += unfinished(report["rows"])
    shown = {key: BY_KEY[key] for key in COLUMNS if any(key in _columns(report, way) for way in ways)}
    parts += ["## Figures", "", *map(explained, shown.values()), ""]  # Once for both directions.
    return "\n".join([*parts, *commands(report["rows"], report["seeds"][0], report["folder"])])


def commands(rows: Sequence[Mapping[str, Any]], seed: int, folder: str) -> list[str]:
    """Return the section with the command of each row's training from this seed.

    Args:
        folder: the experiment's, as the commands name it.
    """
    where = "the folder in which the experiment was started" if Path(folder).name != folder else (
        f"the folder that holds `{folder}`"
    )  # fmt: skip
    lines = ["## Commands", "", f"Each row's training, with its first seed, from {where}:", "", "```bash"]
    for row in rows:
        lines += [f"# {row['name']}", *(run["command"] for run in row["runs"] if run["seed"] == seed)]
    return [*lines, "```", ""]


def _head(report: Mapping[str, Any]) -> Iterator[str]:
    runs = [run for row in report["rows"] for run in row["runs"]]
    done = [run for run in runs if run["figures"]]
    yield f"    {report['command']}" if report.get("command") else f"    {report['name']}"
    yield ""
    yield (
        f"Data set `{report['dataset']}`, up to {number_of(report['pictures'], 'training picture')} per domain; scale "
        f"{report['scale']} ({SCALES[report['scale']].about}); {number_of(len(report['seeds']), 'seed')}: "
        f"{number_of(len(done), 'run')} of {len(runs)} trained and scored. "
        f"The trainings took {sum(run['seconds'] for run in runs) / 60:.1f} min in all"
        + (f", the last start {report['minutes']:.1f} min by the clock" if report.get("minutes") else "")
        + f". {machine_line(report['machine'])}"
    )
    facts = next(iter(report["measured_on"].values()), None)
    if facts:
        judge = next((each["segmenter"] for each in report["measured_on"].values() if each.get("segmenter")), None)
        yield ""
        yield (
            f"Scored on {scored_on(report)} ({facts['split']}). "
            + (f"Features: {facts['features']}. " if facts["features"] else "")
            + (f"Segmenter: {judge['network']}, trained on `{judge['dataset']}` at {judge['side']}². " if judge else "")
            + ("A single seed: how much the figures differ between seeds isn't known. Intervals are 95% over pictures."
               if len(report["seeds"]) == 1 else "Figures are means over the seeds ± their standard deviation.")
        )  # fmt: skip
    if report["people_problem"]:
        yield ""
        yield f"What people say is missing here: {report['people_problem']}"
    if any(row["paper"] for row in report["rows"]) and any(report["paper_ways"].values()):
        yield ""
        yield (
            "The papers' figures are of Cityscapes, with 19 classes, another segmenter and full trainings: compare the "
            "order of rows, not the values."
        )


def scored_on(report: Mapping[str, Any]) -> str:
    """Return the number of pictures, of each direction where these differ."""
    counts = {way: facts["pictures"] for way, facts in report["measured_on"].items()}
    if len(set(counts.values())) == 1:
        return f"{number_of(next(iter(counts.values())), 'picture')} per direction"
    return " and ".join(
        f"{number_of(count, 'picture')} for {direction_name(way, **report['names'])}" for way, count in counts.items()
    )


def _way(report: Mapping[str, Any], way: Direction, picture: str | None) -> list[str]:
    title = direction_name(way, **report["names"])
    lines = [f"## {title}", ""]
    keys, people = _columns(report, way), report["people"].get(way)
    if not keys and not people:
        return [*lines, "Nothing is scored yet.", ""]
    lines += [*_table(report, way, keys), ""]
    if unlike := report["unlike"].get(way):
        each = "; ".join(f"{row} (other {different})" for row, different in unlike.items())
        lines += [f"**Not measured alike**: these rows compare neither with the others nor with the baselines: {each}.",
                  ""]  # fmt: skip
    lines += [*order_lines(report, way), ""] if order(report, way) else []
    lines += [*said, ""] if (said := verdicts(report, way)) else []
    if people:
        lines += of_people(people, report["paper_ways"].get(way), keys)
    lines += _collapsed(report, way)
    if picture:
        rows = [row["name"] for row in report["rows"] if any(way in run["figures"] for run in row["runs"])]
        lines += [f"![{title}: test pictures, then {', '.join(rows)}]({picture})", ""]
    return lines


def _columns(report: Mapping[str, Any], way: str) -> list[str]:
    return [key for key in COLUMNS if any(values_of(row, way, key) for row in report["rows"])]


def _table(report: Mapping[str, Any], way: str, keys: Sequence[str]) -> list[str]:
    paper_way, accuracies = report["paper_ways"].get(way), _accuracies(report, way)
    has_paper = bool(accuracies) and any(paper_way in row["paper"] for row in report["rows"])
    people, alone = report["people"].get(way), len(report["seeds"]) == 1
    heads = [head_of(key) for key in keys]
    at = len(accuracies) if has_paper else 0
    first = ["taken for real ↑"] if people else []
    lines = ["| | " + " | ".join([*first, *heads[:at], *(["the paper"] if at else []), *heads[at:]]) + " |",
             "|---|" + "--:|" * (len(first) + len(keys) + bool(at))]  # fmt: skip

    def line(name: str, cells: Sequence[str], paper: Sequence[float] | None, row: str = "") -> str:
        theirs = [" / ".join(f"{value:.2f}" for value in paper) if paper else ""] if at else []
        taken = [taken_for_real(people, row)] if people else []
        return "| " + name.replace("|", r"\|") + " | " + " | ".join([*taken, *cells[:at], *theirs, *cells[at:]]) + " |"

    for row in report["rows"]:
        if way in row["directions"]:
            cells = [_cell(list(figures_of(row, way, key).values()), key, alone) for key in keys]
            lines.append(line(f"**{row['name']}**", cells, row["paper"].get(paper_way), row["name"]))
    for section, answers in report["references"].get(way, {}).items():
        for name, figures in answers.items():
            cells = [_cell([figures[key]] if key in figures else [], key, alone) for key in keys]
            paper = REAL_PHOTOS if (name, paper_way) == ("real", TO_PHOTO) else None
            lines.append(line(f"*{section[:-1]}: {REFERENCES.get(name, name)}*", cells, paper))
    return lines


def _cell(figures: Sequence[Mapping[str, float]], key: str, alone: bool) -> str:
    """Return a cell: with a single seed (`alone`) the value with its interval, else the mean ± sd over the seeds."""
    if not figures:
        return ""
    if alone:
        return cell(BY_KEY[key], figures[0])
    form, values = BY_KEY[key].format, [figure["value"] for figure in figures]
    spread = f" ± {format(statistics.stdev(values), form)}" if len(values) > 1 else ""
    return rounded(statistics.fmean(values), form) + spread


def _collapsed(report: Mapping[str, Any], way: str) -> list[str]:
    """Return a sentence about rows whose pictures are all alike, or don't depend on their inputs."""
    if fewest_pictures(report["measured_on"].get(way, {})) < FEWEST:
        return []
    found = []
    for row in report["rows"]:
        spread, follows = (list(values_of(row, way, key).values()) for key in ("spread_of_targets", "follows_input"))
        if spread and statistics.fmean(spread) < COLLAPSED:
            found.append(f"{row['name']} (spread {statistics.fmean(spread):.3f} of the real pictures')")
        elif follows and statistics.fmean(follows) < IGNORES:
            found.append(f"{row['name']} (follows its input by {statistics.fmean(follows):.2f})")
    said = {"spread_of_targets": f"spread at least {COLLAPSED} as far as real pictures",
            "follows_input": f"follow their inputs by at least {IGNORES}"}  # fmt: skip
    measured = [words for key, words in said.items() if any(values_of(row, way, key) for row in report["rows"])]
    if not measured:
        return []
    if not found:
        return [f"No row has collapsed: all {', and '.join(measured)}.", ""]
    return [f"Collapsed, or hardly following the input: {'; '.join(found)}.", ""]


def unfinished(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the section with the runs that have no figures, and why."""
    lines = [
        f"- **{row['name']}**, {' and '.join(run['directions'])}, seed {run['seed']}: "
        + (run["failed"] or f"not done yet ({run['epoch'] or 0} of {number_of(run['epochs'], 'epoch')})")
        for row in rows for run in row["runs"] if run["failed"] or not run["figures"]
    ]  # fmt: skip
    return ["## Not in the tables", "", *lines, ""] if lines else []


def write_report(plan: Plan, command: str, minutes: float | None) -> dict[str, Any]:
    """Write the report into the experiment's folder, and return report.json's content."""
    from cyclegan.experiments import over_epochs
    from cyclegan.experiments.pictures import write_curves, write_grids

    videos = sorted(path.name for path in plan.output.glob("video-*.mp4"))
    report = {**gather(plan), "command": command, "minutes": minutes, "videos": videos}
    pictures = write_grids(plan, report)
    if (curves := write_curves(plan, report)) is not None:
        pictures["curves"] = curves
    if (plot := over_epochs.write_plot(plan)) is not None:
        pictures["epochs"] = plot
    write_json(plan.output / "report.json", report)
    write_bytes(plan.output / "README.md", markdown(report, pictures, over_epochs.lines(plan)).encode())
    return report
