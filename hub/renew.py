"""Whatever is added to a repository after its epochs: judgements, scores on whole test sets, the card's examples."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.format import CheckpointInfo, make_info
from cyclegan.config import DIRECTIONS
from cyclegan.errors import CheckpointError, message
from cyclegan.evaluation.scores.report import Report
from hub.card import make_card
from hub.card.widget import widget_pictures
from hub.client import Refs, Repository, as_the_branch_moves
from hub.errors import CardError, HubError, OtherRunError
from hub.layout import (
    INDEX,
    MAX_SAMPLES_BYTES,
    joined_scores,
    new_scores,
    read_index,
    scores_at,
    scores_in,
    studies_at,
    tagged_epochs,
)


def published_root(repository: Repository, refs: Refs) -> tuple[CheckpointInfo, dict[str, Any], list[str]]:
    """Return the epoch at a repository's root, its checkpoint.json, and the paths of all files there.

    Raises:
        CheckpointError: its root holds no readable checkpoint.
        HubError: no answer.
    """
    head = refs.head
    names = repository.files(head) if head else []
    config, record = (repository.json(head, one) for one in ("config.json", "checkpoint.json")) if head else ({}, {})
    if head is None or not config or not record:
        raise CheckpointError(
            "{repo_id} holds no readable checkpoint at its root: publish the run again",
            repo_id=repository.repo_id,
        )
    sha = tagged_epochs(refs).get(record.get("epoch", 0))
    return make_info(config, record, files=set(names), where=repository.repo_id, commit_sha=sha), record, names


def commit_with_card(
    repository: Repository, refs: Refs, files: Mapping[str, Path | bytes], title: str, say: Callable[[str], None], *,
    studies: Mapping[str, Mapping[str, Any]], scores: Mapping[str, Report], license: str | None = None,
) -> bool:
    """Make one commit with files and the card that shows them; return False if nothing has changed.

    Args:
        repository: holds a run.
        refs: its present branches and tags.
        files: by path in the repository.
        title: the commit's.
        say: gets a warning if the card can't be changed.
        studies, scores: all that the card shows.
        license: of the weights, as the Hub spells it; None keeps that of the card.

    Raises:
        CheckpointError: its root holds no readable checkpoint.
        HubError: the Hub can't be reached or refuses.
    """
    head, everything = refs.head, dict(files)
    info, record, names = published_root(repository, refs)
    everything["README.md"] = make_card(
        repository.repo_id,
        info,
        list(read_index(repository.json(head, INDEX)).values()),
        files={*names, *everything},
        pictures=record.get("pictures"),
        started_from=record.get("started_from"),
        imported_from=record.get("imported_from"),
        license=license,
        existing=repository.text(head, "README.md"),
        studies=list(studies.values()),
        scores=list(scores.values()),
    ).encode("utf-8", "surrogateescape")
    try:
        return repository.commit(everything, title, parent=head) != head
    except CardError as error:
        everything.pop("README.md")  # A person broke the front matter: it is kept as it is.
        say(f"warning: {error}; then publish again")
        return repository.commit(everything, title, parent=head) != head


def publish_scores(
    folder: Path, repository: Repository, *, run_id: str | None = None, pinned: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Put the files of scores in a folder onto the Hub, joined with those that are there, and onto the card.

    Args:
        folder: RUN/scores, or another with files of the same run.
        repository: holds the run.
        run_id: of the run that was scored, which the repository must hold; None for a run without one.
        pinned: the scores are of this repository's own commits, as `evaluate USER/NAME` writes them.
        say: gets a sentence, and warnings.

    Raises:
        HubError: there are no scores, the repository holds another run, or the Hub can't be reached or refuses.
        CheckpointError: its root holds no readable checkpoint.
    """
    found = scores_in(folder)
    for path in sorted(folder.glob("*.json")):
        if path.stem not in found:
            say(f"warning: {path} is left out: it isn't a file of scores that can be published")
    if not found:
        raise HubError(
            "{folder} holds no scores", folder=folder,
            remedy=message("measure them first, with `python -m cyclegan evaluate`"),
        )

    def commit() -> bool:
        refs = repository.refs()
        record = repository.json(refs.head, "checkpoint.json") if refs.head else None
        if run_id and record and record.get("run_id") != run_id:
            raise OtherRunError(
                "{repo_id} holds the epochs of another run", repo_id=repository.repo_id,
                remedy=message("choose another USER/NAME"),
            )
        there = scores_at(repository, refs.head)
        here = {name: _of_commits(report, there.get(name), refs) for name, report in found.items()} if pinned else found
        scores = joined_scores(here, there)
        return commit_with_card(
            repository, refs, new_scores(scores, there), "Scores", say, studies=studies_at(repository, refs.head),
            scores=scores,
        )  # fmt: skip

    if as_the_branch_moves(commit):
        say(f"the scores are on the card: {repository.url}")
    else:
        say(f"nothing to do: {repository.url} has these scores")


def renew_card(
    repository: Repository, *, license: str | None = None, say: Callable[[str], None] = print
) -> None:
    """Write the card of a published run again, with examples cut out of the samples that are there.

    Args:
        repository: holds a run.
        license: of the weights, as the Hub spells it; None keeps that of the card.
        say: gets a sentence, and warnings.

    Raises:
        CheckpointError: its root holds no readable checkpoint.
        HubError: the Hub can't be reached or refuses, or doesn't know the licence.
    """
    if license is not None:
        repository.check_license(license)

    def commit() -> bool:
        refs = repository.refs()
        head = refs.head
        with tempfile.TemporaryDirectory() as folder:
            grids = [f"samples/{direction}.png" for direction in DIRECTIONS]
            for name, size in (repository.sizes(head, grids) if head else {}).items():
                if size <= MAX_SAMPLES_BYTES:
                    repository.fetch(head, name, Path(folder))
            pictures = widget_pictures(Path(folder) / "samples", DIRECTIONS)
        return commit_with_card(
            repository, refs, pictures, "Update the card", say, studies=studies_at(repository, head),
            scores=scores_at(repository, head), license=license,
        )  # fmt: skip

    renewed = as_the_branch_moves(commit)
    news = "the card is new" if renewed else "nothing to do: the card is up to date"
    say(f"{news}: {repository.url}")


def _of_commits(report: Report, there: Report | None, refs: Refs) -> Report:
    """Return the scores of commits that are still the epochs' own, under the digests that the published file has.

    A folder names the weights of its epochs by another digest than the Hub.
    """
    content, tags = dict(report.content), tagged_epochs(refs)
    for way in report.directions:
        published = there.content.get(way, {}).get("scores", {}) if there else {}
        kept = {
            name: {**one, "commit_sha": published.get(name, one)["commit_sha"]}
            for name, one in report.section(way, "scores").items() if tags.get(one["epoch"]) == one["commit_sha"]
        }  # fmt: skip
        content[way] = {**content[way], "scores": kept}
    return Report(report.path, content)
