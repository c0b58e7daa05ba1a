"""`python -m cyclegan experiment`: trains and scores rows of settings, and writes their table."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError
from pathlib import Path
from typing import Any

from cyclegan.cli.flags import device, file_path, positive
from cyclegan.cli.progress import progress_bar, shown_on
from cyclegan.cli.signals import end_in_order
from cyclegan.commands import adaptation
from cyclegan.commands.options import add_scores_flag
from cyclegan.config import DIRECTIONS
from cyclegan.errors import ConfigError, number_of
from cyclegan.experiments.spec import EXPERIMENTS, SCALES, find_experiment
from cyclegan.files import from_here
from cyclegan.study.protocol import DEFAULT, PROTOCOLS


def add_experiment_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command `experiment`."""
    sub = add("experiment", experiment, "train and score rows of settings from several seeds, and write their table")
    sub.add_argument("name", nargs="?", metavar="NAME|FILE.yaml",
                     help="; ".join(f"{name}: {given.title}" for name, given in EXPERIMENTS.items())
                     + "; or a file of your own, see docs/experiments.md")
    sub.add_argument("--output", required=True, type=file_path, metavar="DIR",
                     help="folder of the runs and the report; the same command continues there")
    sub.add_argument("--dataset", default=None, metavar="DATA",
                     help="as for training (default at the scales tiny and small: streets, as labels and day where the "
                     "experiment is about labels)")
    sub.add_argument("--scale", choices=tuple(SCALES), default="tiny",
                     help="; ".join(f"{name}: {scale.about}" for name, scale in SCALES.items()))
    sub.add_argument("--seeds", type=positive, default=None, metavar="N",
                     help="runs per row, with the seeds 0 to N - 1 (default: "
                     + ", ".join(f"{name} {scale.seeds}" for name, scale in SCALES.items()) + ")")
    sub.add_argument("--jobs", type=positive, default=1, metavar="N", help="trainings at a time")
    sub.add_argument("--minutes", type=positive, default=None, metavar="N",
                     help="stop after so many minutes, a whole number, as Ctrl-C does; the same command continues")
    sub.add_argument("--source", default=None, metavar="DATA[@a|b]",
                     help="for adaptation: labelled pictures to learn from, a data set and one of its domains "
                     "(default: streets@a, day)")
    sub.add_argument("--target", default=None, metavar="DATA[@a|b]",
                     help="for adaptation: labelled pictures to read (default: the source's other domain)")
    sub.add_argument("--classes", type=file_path, default=None, metavar="FILE.yaml",
                     help="for adaptation: which classes of the two belong together, unless they have the same names, "
                     "see docs/experiments.md")
    add_scores_flag(sub)
    sub.add_argument("--segmenter", type=file_path, default=None, metavar="DIR",
                     help="segmenter of the photos, see python -m cyclegan segmenter (default: the one that comes with "
                     "the package, for streets)")
    sub.add_argument("--video", type=file_path, default=None, metavar="FILE",
                     help="a recording of domain A, whose first 10 seconds are shown under all rows, as videos at 208 "
                     "and 384 pixels (default: no video; for gta, one of test pictures)")
    sub.add_argument("--device", default=None, help="where to score: cpu, cuda, cuda:1, mps; chosen if not given")
    sub.add_argument("--study", type=file_path, default=None, metavar="DIR",
                     help="then build a study there: people judge the translations of each row's first seed, as in the "
                     "paper's Table 1; --render shows their answers in the report. With --render, of what is trained")
    sub.add_argument("--study_direction", choices=DIRECTIONS, default="ab",
                     help="direction of the study; rows that don't have it are left out")
    sub.add_argument("--study_protocol", choices=tuple(PROTOCOLS), default=None,
                     help=f"protocol of the study (default: {DEFAULT}, with fewer trials if pictures are too few)")
    sub.add_argument("--render", action="store_true", help="only write the report anew, from what is in DIR")


def experiment(args: argparse.Namespace) -> int:
    """Train, score and report."""
    from cyclegan.experiments.plan import make_plan, read_plan
    from cyclegan.experiments.report import write_report
    from cyclegan.experiments.run import locked
    from cyclegan.experiments.study import check_study

    if args.render:
        plan = read_plan(args.output)
        if plan.experiment.adapts:
            return adaptation.render(plan, args, _command(args, plan.experiment.name))
        if args.study is not None:
            check_study(plan, args.study, args.study_direction)
        with locked(args.output):
            if args.video is not None:
                _write_videos(plan, args)
            _build_study(plan, args)
            write_report(plan, _command(args, plan.experiment.name), None)
        print(f"written: {args.output / 'README.md'}")
        return 0
    if args.name is None:
        raise ConfigError("which experiment? {known}, or a .yaml file", known=", ".join(EXPERIMENTS))
    found = find_experiment(args.name)
    _check_flags(args, found.adapts)
    if args.video is not None:
        from cyclegan.translation.video_io import Video

        _ = Video(args.video).info  # Before hours of training, if it can't be read.
    seeds = range(args.seeds or SCALES[args.scale].seeds)
    if found.adapts:
        from cyclegan.experiments.adaptation.report import write_report as write_adaptation

        end_in_order()
        began = time.monotonic()
        with locked(args.output):
            try:
                plan, readers = adaptation.prepare(found, seeds, args)
            except (KeyboardInterrupt, TimeoutError):
                return _stopped()
            return _run(plan, args, readers, lambda minutes: write_adaptation(plan, _command(args), minutes), began)
    plan = make_plan(found, args.dataset, args.scale, seeds, args.output)
    if args.study is not None:
        check_study(plan, args.study, args.study_direction)
    end_in_order()
    with locked(args.output):
        return _run(plan, args, None, lambda minutes: write_report(plan, _command(args), minutes), time.monotonic())


def _check_flags(args: argparse.Namespace, adapts: bool) -> None:
    """Refuse flags that this experiment would ignore. Raises ConfigError."""
    for name in ("dataset", "study", "scores", "segmenter") if adapts else ("source", "target", "classes"):
        if getattr(args, name) is not None:
            instead = "--source and --target say what it is about" if adapts else "only adaptation has it"
            raise ConfigError("--{name} isn't for this experiment: {instead}", name=name, instead=instead)


def _run(
    plan: Any, args: argparse.Namespace, scorer: Any, write: Callable[[float], dict[str, Any]], began: float
) -> int:
    """Train and score; `began` is the command's start, by `time.monotonic`."""
    from cyclegan.experiments.run import Runner
    from cyclegan.experiments.scoring import Scorer

    trainings = plan.trainings()
    sizes = {training.folder: plan.pictures_of(training) for training in trainings}
    print(f"{plan.experiment.title}: {number_of(len(plan.experiment.rows), 'row')}, "
          f"{number_of(len(trainings), 'training')} of {number_of(sum(sizes.values()), 'picture')} per domain in all, "
          f"{args.jobs} at a time, on {plan.dataset}", flush=True)  # fmt: skip
    shown: dict[Path, float] = {}
    look = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    with progress_bar(total=sum(sizes.values()), bar_format=look, desc="Training") as bar:

        def show(training: Any, share: float) -> None:
            is_first = training.folder not in shown
            more = share * sizes[training.folder] - shown.get(training.folder, 0.0)
            if (more := min(more, bar.total - bar.n)) > 0:  # Shares of many trainings add up to a little more.
                shown[training.folder] = share * sizes[training.folder]
                if is_first:  # Trained by an earlier start, which tells nothing about this one's pace.
                    bar.initial += more
                bar.set_postfix_str(training.name, refresh=False)
                bar.update(more)

        def say(line: str) -> None:
            bar.write(line, file=sys.stdout)

        def report() -> dict[str, Any]:
            return write((time.monotonic() - began) / 60)

        scorer = scorer or Scorer(segmenter=args.segmenter, scores=args.scores, device=device(args.device),
                                  note=lambda sentence: say(f"note: {sentence}"),
                                  every_epoch=plan.experiment.every_epoch)  # fmt: skip
        left = None if args.minutes is None else max(0.0, args.minutes - (time.monotonic() - began) / 60)
        runner = Runner(plan, scorer, jobs=args.jobs, show=show, say=say, ended=report, minutes=left)
        try:
            runner.run()
        except (KeyboardInterrupt, TimeoutError):
            bar.close()
            return _stopped()
    content = report()
    rows = content["trainings"] if plan.experiment.adapts else content["rows"]
    failed = [run for row in rows for run in row["runs"] if run["failed"]]
    minutes = (time.monotonic() - began) / 60
    print(f"{number_of(len(trainings) - len(failed), 'training')} done, {len(failed)} failed, in {minutes:.1f} min: "
          f"{args.output / 'README.md'}")  # fmt: skip
    if args.video is not None or plan.experiment.every_epoch:
        try:
            _write_videos(plan, args)
        except KeyboardInterrupt:
            report()  # With those that are whole.
            return _stopped()
        report()
    if args.study is not None:
        _build_study(plan, args)
        report()
    return 1 if failed else 0


def _write_videos(plan: Any, args: argparse.Namespace) -> None:
    """Write the same frames under all rows."""
    from cyclegan.experiments.video import write_videos

    with progress_bar(desc="Videos", unit="frame", delay=0.5) as bar:
        written = write_videos(plan, args.video, device=device(args.device), progress=shown_on(bar))
    print(f"written: {', '.join(path.name for path in written)}")


def _stopped() -> int:
    again = shlex.join(["python", "-m", "cyclegan", *sys.argv[1:]])
    print(f"stopped; what is trained is kept, and the same command continues: {again}", file=sys.stderr)
    return 130


def _build_study(plan: Any, args: argparse.Namespace) -> None:
    """Build the study over the rows, if one was asked for."""
    if args.study is None:
        return
    from cyclegan.experiments.study import build_study

    with progress_bar(desc="Rendering", unit="picture", delay=0.5) as bar:
        study = build_study(
            plan, args.study, args.study_direction, protocol=args.study_protocol, device=device(args.device),
            progress=shown_on(bar), note=lambda sentence: bar.write(f"note: {sentence}", file=sys.stderr),
        )  # fmt: skip
    print(f"study {study.name}: {study.arrow}, {', '.join(study.labels.values())}; next: python -m cyclegan study "
          f"serve {args.study}, and later this command with --render")  # fmt: skip


def _command(args: argparse.Namespace, experiment: str = "") -> str:
    """Return the command for the report, without this machine's folders above those that it names.

    Args:
        experiment: its name, for a command without one.
    """
    words = [_word(word) for word in sys.argv[1:] if word != "--render"]
    if args.name is None and experiment in EXPERIMENTS:  # --render knows it by its folder.
        words.insert(1, experiment)
    return shlex.join(["python", "-m", "cyclegan", *words])


def _word(word: str) -> str:
    flag, sign, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return flag + sign + (str(from_here(Path(value))) if Path(value).is_absolute() else value)
