"""`python -m cyclegan evaluate`: scores of epochs over a whole test set, with their baselines and ceilings."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.sources import CheckpointSource, LocalSource
from cyclegan.cli.flags import device, epoch_numbers, file_path, positive
from cyclegan.cli.progress import progress_bar
from cyclegan.commands.options import add_scores_flag, picture_size
from cyclegan.config import DIRECTIONS
from cyclegan.errors import ConfigError, StudyError
from hub import open_source

SUFFIXES = {".md": "markdown", ".csv": "csv_text", ".json": "json"}
STUDIES = Path("studies")
"""Where the app looks for studies, too."""


def add_evaluate_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command `evaluate`."""
    sub = add("evaluate", evaluate_command, "score epochs on a whole test set, next to answers that need no network")
    sub.add_argument("source", metavar="SOURCE",
                     help="folder of a run or of one epoch; or USER/NAME, USER/NAME@epoch-0012 on the Hub")
    sub.add_argument("--epochs", type=epoch_numbers, default="latest", metavar="all|latest|1,4,16", help="which epochs")
    sub.add_argument("--dataset", default=None, metavar="DATA",
                     help="as for training (default: the data set that the run was trained on); its test pictures "
                     "count, prepared as the run's")
    sub.add_argument("--direction", choices=(*DIRECTIONS, "both"), default="both",
                     help="ab: A → B, ba: B → A; both: all that the run has")
    add_scores_flag(sub)
    sub.add_argument("--name", default=None, help="the figures are written to RUN/scores/NAME.json; those that are "
                     "there aren't measured again (default: test, or train for want of test pictures)")
    sub.add_argument("--output_dir", type=file_path, default=None, metavar="DIR",
                     help="folder of NAME.json, in place of RUN/scores")
    sub.add_argument("--output", type=_table, default=None, metavar="FILE",
                     help="also write a table: .md, .csv or .json")
    sub.add_argument("--features", choices=("lite0", "inception", "dinov2"), default="lite0",
                     help="network of features: lite0, EfficientNet-Lite0, whose weights come in a package; inception, "
                     "as published FIDs use it; dinov2")
    sub.add_argument("--features_weights", type=file_path, default=None, metavar="FILE",
                     help="file with the weights of inception or dinov2, in place of a download")
    sub.add_argument("--segmenter", type=file_path, default=None, metavar="DIR",
                     help="segmenter of the target domain, see python -m cyclegan segmenter (default: the one that "
                     "comes with the package, for streets)")
    sub.add_argument("--studies", nargs="+", type=file_path, default=None, metavar="DIR",
                     help="folders of studies: where people judged these epochs, their answers are compared with the "
                     "scores (default: studies/)")
    sub.add_argument("--pictures", type=positive, default=None, metavar="N",
                     help="score at most so many pictures, evenly spread; figures of different numbers don't compare")
    sub.add_argument("--size", type=picture_size, default=None, metavar="N",
                     help="prepare the pictures as a run of --crop_size N has them, so that runs of two sizes compare; "
                     "written to test-N.json (default: the run's own)")
    sub.add_argument("--skip_bad_images", action=argparse.BooleanOptionalAction, default=None,
                     help="leave out pictures that can't be read, instead of stopping (default: as the run's training)")
    sub.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps; chosen if not given")


def _table(text: str) -> Path:
    path = file_path(text)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text!r}: the table's file ends in {', '.join(SUFFIXES)}")
    return path


def evaluate_command(args: argparse.Namespace) -> int:
    """Score epochs, and print the tables."""
    from cyclegan.evaluation.scores.evaluate import evaluate
    from cyclegan.evaluation.scores.processes import Processes
    from cyclegan.evaluation.scores.tables import direction_line, sentences, text

    source, is_main = open_source(args.source), Processes().is_main
    studies = _studies(args.studies) if is_main else []
    bar = progress_bar(unit=" pictures", delay=0.5) if is_main else nullcontext()
    with bar as shown:
        report = evaluate(
            source, args.dataset, epochs=args.epochs, scores=args.scores, name=args.name, output=args.output_dir,
            directions=None if args.direction == "both" else (args.direction,), features=args.features,
            features_weights=args.features_weights, segmenter=args.segmenter, pictures=args.pictures,
            device=device(args.device), progress=_shown_on(shown) if is_main else None,
            note=lambda sentence: shown.write(str(sentence), file=sys.stderr) if is_main else None,
            skip_bad_images=args.skip_bad_images, size=args.size,
        )  # fmt: skip
    if is_main:
        print(text(report, studies))
        for way in report.directions:
            for paragraph in sentences(report, way, studies):
                print(f"{direction_line(report, way)}: {paragraph}")
        print(f"written to {report.path}")
        if args.output_dir is None and (publish := _publishing(source)):
            print(f"publish with: {publish}")
        if args.output is not None:
            _write_table(report, args.output, studies)
    return 0


def _studies(folders: list[Path] | None) -> list[Any]:
    """Return people's answers in these folders of studies, in `STUDIES` for None."""
    if folders is None and not any(STUDIES.glob("*/study.json")):
        return []
    from cyclegan.study.judged import people_in

    try:
        return people_in(folders or [STUDIES])
    except StudyError as error:
        if folders is not None:
            raise
        print(f"warning: {error}; no answers of people are shown", file=sys.stderr)
        return []


def _publishing(source: CheckpointSource) -> str:
    """Return the command that publishes a run's scores; "" for a run that isn't known to be on the Hub."""
    words = ["python", "-m", "hub", "scores"]
    if not isinstance(source, LocalSource):
        return shlex.join([*words, source.name])
    from cyclegan.evaluation.scores.report import scores_folder
    from hub.training import run_settings

    run = scores_folder(source).parent
    repo_id = run_settings(run)[1]
    return shlex.join([*words, str(run)]) if repo_id else ""


def _shown_on(bar: Any) -> Callable[[str, int, int], None]:
    """Return the function that shows what is measured, and how far."""
    def show(what: str, done: int, total: int) -> None:
        if bar.total is None:  # What an earlier start has measured says nothing about the time that is left.
            bar.reset(total)
            bar.initial = bar.n = done
        bar.set_description(what, refresh=False)
        bar.update(done - bar.n)

    return show


def _write_table(report: Any, path: Path, studies: list[Any]) -> None:
    from cyclegan.evaluation.scores import tables
    from cyclegan.files import write_bytes, write_json

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".json":
            write_json(path, tables.json_content(report, studies))
        else:
            write_bytes(path, getattr(tables, SUFFIXES[path.suffix.lower()])(report, studies).encode())
    except OSError as error:
        raise ConfigError(
            "{file} can't be written ({reason}): choose another --output", file=path, reason=error
        ) from error
    print(f"table written to {path}")
