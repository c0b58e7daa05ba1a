"""A study's figures to where the weights are: the model card, its model-index, and `studies/NAME.json` beside them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.format import epoch_name, make_info, read_info
from cyclegan.errors import CheckpointError
from hub.card import make_card
from hub.client import Refs, Repository, as_the_branch_moves
from hub.errors import CardError, HubError
from hub.layout import (
    INDEX,
    read_index,
    read_study,
    same_study,
    studies_at,
    studies_in,
    study_bytes,
    study_entry,
    study_file,
    tagged_epochs,
)
from hub.source import parse_spec

_SHA = re.compile(r"[0-9a-f]{40}")


def publish_study(
    report: Mapping[str, Any],
    *,
    runs: Sequence[str | Path] = (),
    say: Callable[[str], None] = print,
    endpoint: str | None = None,
    token: str | None = None,
) -> list[str]:
    """Put each epoch's figure onto its run's model card; where it stands now, an address or a file each.

    Every run gets the epochs that are its own. One that is on the Hub gets one commit; none if the report says nothing
    new. A newer report replaces what the study said before, and nothing of other studies. For a run in a folder
    RUN/studies/NAME.json is written, which `python -m hub push` and a training with --push_to_hub bring along.

    Args:
        report: as `cyclegan.study.report` makes it.
        runs: folders of those of its runs that are not on the Hub; of the same names as when the study was built.
        say: is given a sentence on each run, and on what a person should know.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved.

    Raises:
        HubError: the report is of simulated participants, or has no fooling rate; a run is nowhere to be found; the
            Hub can't be reached or refuses. Nothing was published of a report that is refused.
        CheckpointError: a folder holds no such run, or a repository no readable checkpoint.
    """
    judged = _judged(report)
    folders = {name: Path(run) for run in runs for name in (str(run), Path(run).resolve().name)}
    targets: dict[Path | str, list[Mapping[str, Any]]] = {}
    for epoch in judged:
        source = str(epoch.get("source") or "")
        targets.setdefault(folders.get(source) or _repo_id(source), []).append(epoch)
    updated = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return [
        _write(report, epochs, target, updated, say)
        if isinstance(target, Path)
        else _publish(report, epochs, Repository(target, endpoint=endpoint, token=token), updated, say)
        for target, epochs in targets.items()
    ]


def _judged(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The epochs that have a figure. Raises HubError if there is nothing that may be published."""
    name = report["study"]["name"]
    if report.get("simulated"):
        raise HubError(
            "{name} was answered by simulated participants, whose figures are nobody's judgement; publish it once "
            "people have taken part",
            name=name,
        )
    task = report["protocol"].get("task", "realness")
    if task != "realness":
        raise HubError(
            "{name} asks people to {task}, which gives no fooling rate for a card; publish a study of real or fake",
            name=name, task=task,
        )  # fmt: skip
    judged = [epoch for epoch in report["epochs"] if epoch.get("fooling_rate") is not None and epoch.get("trials")]
    if not judged:
        raise HubError("nobody has judged {name} yet; publish it once people have taken part", name=name)
    return judged


def _repo_id(source: str) -> str:
    """The repository that a source names; raises HubError if it is a folder's name."""
    try:
        return parse_spec(source).repo_id
    except CheckpointError:
        raise HubError(
            "{source} is a folder's name: name its run's folder, or build the study from USER/NAME; nothing was "
            "published",
            source=source or 'the run',
        ) from None


# --- onto the Hub -------------------------------------------------------------------------------------------


def _publish(
    report: Mapping[str, Any],
    epochs: Sequence[Mapping[str, Any]],
    repository: Repository,
    updated: str,
    say: Callable[[str], None],
) -> str:
    refs = repository.refs()
    if refs.head is None:
        raise HubError(
            "{repo_id} is empty; publish the run first, with `python -m hub push`",
            repo_id=repository.repo_id,
        )
    revisions = {}
    for epoch in epochs:
        tag, judged, tagged = epoch_name(epoch["epoch"]), epoch.get("commit_sha"), tagged_epochs(refs)
        revisions[epoch["epoch"]] = tag
        if tagged.get(epoch["epoch"]) != judged:
            there = tagged.get(epoch["epoch"])
            what = f"is commit {there[:10]}" if there else "has no tag"
            say(f"warning: {tag} of {repository.repo_id} {what}; people judged {str(judged)[:10]}: the card says so")
            revisions[epoch["epoch"]] = str(judged) if _SHA.fullmatch(str(judged)) else tag
    entry = _checked(study_entry(report, epochs, revisions, updated))
    if as_the_branch_moves(lambda: _commit(repository, entry, say)):
        say(f"the figures of {entry['study']['name']} are on the card: {repository.url}")
    else:
        say(f"nothing to do: {repository.url} has these figures")
    return repository.url


def _commit(repository: Repository, entry: Mapping[str, Any], say: Callable[[str], None]) -> bool:
    """One commit with the study's figures and the card that shows them; whether there was anything to commit."""
    refs: Refs = repository.refs()
    head, name = refs.head, entry["study"]["name"]
    studies = studies_at(repository, head)
    if same_study(entry, studies.get(name)):
        entry = studies[name]  # As it was written: its time too.
    studies = dict(sorted({**studies, name: entry}.items()))
    files: dict[str, Path | bytes] = {study_file(name): study_bytes(entry)}
    names = repository.files(head)
    config, record = (repository.json(head, one) for one in ("config.json", "checkpoint.json"))
    if not config or not record:
        raise CheckpointError(
            "{repo_id} holds no readable checkpoint at its root: publish the run anew",
            repo_id=repository.repo_id,
        )
    sha = tagged_epochs(refs).get(record.get("epoch"))
    info = make_info(config, record, files=set(names), where=repository.repo_id, commit_sha=sha)
    files["README.md"] = make_card(
        repository.repo_id,
        info,
        list(read_index(repository.json(head, INDEX)).values()),
        files=names,
        pictures=record.get("pictures"),
        existing=repository.text(head, "README.md"),
        studies=list(studies.values()),
    ).encode("utf-8", "surrogateescape")
    title = f"Study {name}"
    try:
        return repository.commit(files, title, parent=head) != head
    except CardError as error:
        files.pop("README.md")  # Front matter that a person broke stays as it is.
        say(f"warning: {error}; then publish again")
        return repository.commit(files, title, parent=head) != head


# --- beside a run -------------------------------------------------------------------------------------------


def _write(
    report: Mapping[str, Any],
    epochs: Sequence[Mapping[str, Any]],
    run: Path,
    updated: str,
    say: Callable[[str], None],
) -> str:
    """RUN/studies/NAME.json; its path."""
    revisions = {}
    for epoch in epochs:
        tag = epoch_name(epoch["epoch"])
        if not (run / tag).is_dir():
            raise CheckpointError(
                "{run} has no {tag}, which people judged: name the run that the study was made of",
                run=run, tag=tag,
            )
        found = read_info(run / tag).commit_sha
        if found != epoch.get("commit_sha"):
            say(f"warning: {run / tag} is not what people judged: it was trained anew since ({found[:10]})")
        revisions[epoch["epoch"]] = tag
    entry = _checked(study_entry(report, epochs, revisions, updated))
    path = run / study_file(entry["study"]["name"])
    if same_study(entry, studies_in(run).get(entry["study"]["name"])):
        say(f"nothing to do: {path} has these figures")
        return str(path)
    try:
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(study_bytes(entry))
        os.replace(part, path)
    except OSError as error:
        raise HubError(
            "{path} can't be written ({reason}); mend that first",
            path=path, reason=error.strerror or error,
        ) from error
    say(f"the figures are in {path}; `python -m hub push {run} USER/NAME` brings them onto the card")
    return str(path)


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry as it will be read again, so that what is on the card is what was published."""
    try:
        checked = read_study(json.loads(study_bytes(entry)))  # Lists for tuples, as whoever reads it has them.
    except ValueError:
        checked = None
    if checked is None or len(checked["epochs"]) != len(entry["epochs"]):
        raise HubError(
            "the report of {entry} is damaged; make it anew with `study report`",
            entry=entry['study'].get('name'),
        )
    return checked

