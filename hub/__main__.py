"""`python -m hub`: list, push, scores, card, tag, endpoint, check, space, job."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.checkpoints.training_state import list_training_states
from cyclegan.cli.config_file import config_text
from cyclegan.cli.entry import run_command
from cyclegan.cli.flags import (
    add_config_flags,
    add_file_flags,
    command_adder,
    duration,
    file_path,
    fill_from_file,
    make_parser,
    positive,
)
from cyclegan.errors import CheckpointError, ConfigError, message, number_of
from cyclegan.evaluation.figures import FIGURES
from hub import HubError, open_source

PATIENCE_S = 120.0
"""The longest that `push` waits for a Hub that can't be reached: a person is watching, and can run it again."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = make_parser("python -m hub", "Checkpoints on the Hugging Face Hub.")
    add = command_adder(parser)

    sub = add("list", list_epochs, "show the epochs of a run or of a repository, newest first")
    sub.add_argument("source", metavar="SOURCE", help="folder of a run, or USER/NAME on the Hub")

    sub = add("push", push, "publish each epoch of a run that is not on the Hub yet: one commit and one tag each")
    sub.add_argument("folder", type=file_path, metavar="RUN", help="folder of a run, with epoch-0001 and later ones")
    sub.add_argument("repo_id", metavar="USER/NAME", help="model repository; created if it is missing")
    sub.add_argument("--private", action="store_true", help="create the repository as private")
    sub.add_argument("--license", metavar="ID", help="licence of the weights as the Hub spells it, e.g. mit")
    sub.add_argument("--training_state", action="store_true",
                     help="also publish the newest training state, so that another machine can resume")

    sub = add("scores", scores, "publish what `python -m cyclegan evaluate` measured: files, and a table on the card")
    sub.add_argument("source", metavar="SOURCE", help="folder of a run, or USER/NAME, as it was given to evaluate")
    sub.add_argument("repo_id", metavar="USER/NAME", nargs="?",
                     help="repository that holds the run (default: SOURCE, or where the run's training published)")

    sub = add("card", card, "write a repository's card again: as this version of the program does, with examples")
    sub.add_argument("repo_id", metavar="USER/NAME", help="model repository")

    sub.add_argument("--license", metavar="ID", help="licence of the weights as the Hub spells it, e.g. mit")

    sub = add("tag", tag, "repair a repository: set the missing tags of epochs' commits")
    sub.add_argument("repo_id", metavar="USER/NAME", help="model repository")

    sub = add("endpoint", endpoint, "add what an Inference Endpoint needs to translate with a published run")
    sub.add_argument("repo_id", metavar="USER/NAME", help="model repository")

    sub = add("check", check, "list what a repository or a Space has and lacks, with the commands that add it; the "
              "exit status is 1 if it lacks something")  # fmt: skip
    sub.add_argument("source", metavar="SOURCE",
                     help="USER/NAME of a repository or a Space, or the folder of a run that its training published")

    sub = add("space", space, "make or update a Space that runs the app with these checkpoints")
    sub.add_argument("repo_id", metavar="USER/NAME", help="the Space; created if it is missing")
    sub.add_argument("--checkpoints", nargs="+", required=True, metavar="SOURCE",
                     help="USER/NAME on the Hub, or folders of runs, which are copied into the Space")
    sub.add_argument("--study", nargs="+", default=[], type=file_path, metavar="STUDY",
                     help="folders of studies that people take part in there")
    sub.add_argument("--votes", metavar="USER/NAME",
                     help="private data set for the studies and their votes; created if it is missing")
    sub.add_argument("--private", action="store_true", help="create the Space as private")

    sub = add("job", job, "train on a machine of Hugging Face Jobs, which costs money, and publish every epoch")
    sub.add_argument("repo_id", metavar="USER/NAME", help="model repository of the run; created if it is missing")
    sub.add_argument("--flavor", required=True, help="the machine, as Hugging Face calls it, e.g. l4x1")
    sub.add_argument("--timeout", type=duration, metavar="TIME",
                     help="end the job after this time, e.g. 6h or 90m; the same command continues the run (default: "
                     "from the computed hours, where there are any)")
    sub.add_argument("--pictures", type=positive, metavar="N",
                     help="training pictures of the larger domain, for the hours (default: from the data set's card)")
    sub.add_argument("--namespace", metavar="NAME", help="organisation that pays (default: the token's user)")
    sub.add_argument("--yes", action="store_true", help="start without a question")
    sub.add_argument("--dry_run", action="store_true", help="print what would be started and what it costs, and exit")
    add_file_flags(sub)
    add_config_flags(sub)
    return parser


def list_epochs(args: argparse.Namespace) -> None:
    """Print a table of the epochs."""
    source = open_source(args.source)
    infos = source.list()
    if isinstance(source, LocalSource):
        _print_table(infos)
    elif source.down or source.spec.revision is not None:
        _print_table(infos, with_commits=True)
    else:
        from hub.layout import epoch_commits, tagged_epochs

        refs = source.repository.refs()
        tags = set(tagged_epochs(refs).values())
        untagged = {info.epoch for info in infos if info.commit_sha not in tags}
        _print_table(infos, with_commits=True, untagged=untagged)
        counts = {"epoch": len(infos), "tag": len(tags), "epoch commit": len(epoch_commits(source.repository, refs))}
        said = ", ".join(number_of(count, what) for what, count in counts.items())
        print(f"{said} at {source.repository.url}")
        if untagged:
            print(f"set the missing tags with: python -m hub tag {source.repository.repo_id}")
    for sentence in source.problems:
        print(f"warning: {sentence}", file=sys.stderr)


def _print_table(
    infos: Sequence[CheckpointInfo], *, with_commits: bool = False, untagged: Collection[int] = ()
) -> None:
    """Print epoch, date, step and the recorded figures, each the mean over the directions.

    For epochs of the Hub, add the commit in full, because `USER/NAME@COMMIT` needs it so.
    """
    columns: dict[str, list[str]] = {}
    for figure in FIGURES:
        means = [figure.mean(getattr(info, figure.group)) for info in infos] if figure.in_lists else []
        if any(value is not None for value in means):
            # By its short recorded name, because labels would make the lines longer than a screen.
            columns[figure.key] = ["-" if value is None else figure.show(value) for value in means]
    table = [["epoch", "date (UTC)", "step", *columns, *(["commit"] if with_commits else [])]]
    for index, info in enumerate(infos):
        row = [info.tag, info.created[:16].replace("T", " "), str(info.global_step)]
        row += [cells[index] for cells in columns.values()]
        if with_commits:
            row.append(info.commit_sha + ("  no tag" if info.epoch in untagged else ""))
        table.append(row)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def push(args: argparse.Namespace) -> None:
    """Publish what is missing, and print a line for each epoch."""
    from hub.outbox import Outbox, names
    from hub.publish import Publisher
    from hub.state import push_state, stage_state

    source = LocalSource(args.folder)  # Its error explains what a run's folder is.
    if (args.folder / "checkpoint.json").is_file():
        raise CheckpointError(
            "{folder} is one epoch; name its run's folder, {parent}",
            folder=args.folder, parent=args.folder.resolve().parent,
        )
    states = list_training_states(args.folder)
    if args.training_state and not states:
        raise CheckpointError(
            "{folder} holds no training state to publish: leave out --training_state", folder=args.folder
        )
    publisher = Publisher(args.folder, args.repo_id, private=args.private, license=args.license)
    publisher.check_repository()
    for sentence in publisher.check_run():
        _say(sentence)
    todo = publisher.unpublished()
    if not todo and args.license and publisher.update_card():
        _say(f"the licence is on the card now: {publisher.repository.url}")
    elif not todo and publisher.has_new_studies() and publisher.update_card():
        _say(f"the studies' figures are on the card now: {publisher.repository.url}")
    elif not todo and publisher.has_new_scores() and publisher.update_card():
        _say(f"the scores are on the card now: {publisher.repository.url}")
    elif not todo and not args.training_state:
        _say(f"nothing to do: all epochs of {args.folder} are at {publisher.repository.url}")
    # Not in the run's folder, because a training that starts meanwhile removes leftovers there.
    temporary = tempfile.TemporaryDirectory(prefix="cyclegan-")
    staged = None
    if args.training_state:
        try:
            staged = stage_state(args.folder, states[0].global_step, Path(temporary.name) / "state")
        except OSError as error:
            raise CheckpointError(
                "the training state could not be copied for the upload ({reason}): run push again",
                reason=error,
            ) from error
    outbox = Outbox(publisher, _say, push_state=lambda folder: push_state(publisher.repository, folder))
    newest = max((int(folder.name[6:]) for folder in source.folder.glob("epoch-*") if folder.name[6:].isdecimal()),
                 default=0)
    outbox.add(newest, staged)
    outbox.start()
    left = outbox.finish(PATIENCE_S)
    temporary.cleanup()
    if left:
        raise HubError(
            "not on the Hub: {names}", names=names(left),
            remedy=message("see above, then push again: it continues where it stopped"),
        )


def scores(args: argparse.Namespace) -> None:
    """Publish files of scores."""
    from cyclegan.evaluation.scores.report import scores_folder
    from hub.client import Repository
    from hub.renew import publish_scores
    from hub.source import HubSource
    from hub.training import run_settings

    source = open_source(args.source)
    if isinstance(source, HubSource):
        repo_id, run_id = args.repo_id or source.spec.repo_id, None
    else:
        run_id, trained_to = run_settings(scores_folder(source).parent)
        repo_id = args.repo_id or trained_to
    if repo_id is None:
        raise HubError(
            "{source} wasn't published by its training", source=args.source,
            remedy=message("name its repository: python -m hub scores {source} USER/NAME", source=args.source),
        )
    pinned = isinstance(source, HubSource)
    publish_scores(scores_folder(source), Repository(repo_id), run_id=run_id, pinned=pinned, say=_say)


def card(args: argparse.Namespace) -> None:
    """Write the card again."""
    from hub.client import Repository
    from hub.renew import renew_card

    renew_card(Repository(args.repo_id), license=args.license, say=_say)


def tag(args: argparse.Namespace) -> None:
    """Set the missing tags."""
    from hub.client import Repository
    from hub.publish import repair_tags

    repository = Repository(args.repo_id)
    said = repair_tags(repository)
    for sentence in said:
        print(sentence)
    if not said:
        print(f"nothing to do: every epoch's commit at {repository.url} has its tag")


def endpoint(args: argparse.Namespace) -> None:
    """Publish the handler for Inference Endpoints."""
    from hub.client import Repository
    from hub.endpoint import publish_endpoint

    publish_endpoint(Repository(args.repo_id), say=_say)


def check(args: argparse.Namespace) -> int:
    """Print a line for each item; return 1 if something is lacking."""
    from hub.check import check as items_of

    url, items = items_of(args.source)
    print(url)
    for item in items:
        print(f"  {item}")
    return int(any(not item.has and not item.optional for item in items))


def space(args: argparse.Namespace) -> None:
    """Make or update a Space."""
    from hub.space import publish_space

    options = {"studies": args.study, "votes": args.votes, "private": args.private}
    print(publish_space(args.repo_id, args.checkpoints, **options, say=_say))


def job(args: argparse.Namespace) -> None:
    """Print what a job does and costs, ask, and start it."""
    from hub.job import plan_job, start_job, training

    for note in fill_from_file(args):
        _say(f"{note}")
    if args.print_config:
        print(config_text(training(args)), end="")
        return
    plan = plan_job(args)
    for line in plan.lines:
        _say(line)
    if args.dry_run:
        return
    if not args.yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody can be asked here: add --yes to start the job, or --dry_run to see this only")
        answer = ""
        with contextlib.suppress(EOFError):  # Ctrl-D.
            answer = input("start it? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was started")
            return
    for line in start_job(plan):
        _say(line)


def _say(sentence: str) -> None:
    print(sentence, flush=True, file=sys.stderr if sentence.startswith("warning") else sys.stdout)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit status."""
    args = build_parser().parse_args(argv)
    return run_command(lambda: args.run(args))


if __name__ == "__main__":
    sys.exit(main())
