"""A study's figures next to the weights: on the model card, in its model-index, and in `studies/NAME.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.format import epoch_name, read_info
from cyclegan.errors import CheckpointError, message
from cyclegan.files import write_bytes
from hub.client import Refs, Repository, as_the_branch_moves
from hub.errors import HubError
from hub.layout import (
    read_study,
    same_study,
    scores_at,
    studies_at,
    studies_in,
    study_bytes,
    study_entry,
    study_file,
    tagged_epochs,
)
from hub.renew import commit_with_card
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
    """Put each epoch's figure onto its run's model card; return the address or file of each run.

    Every run gets its own epochs. A run on the Hub gets one commit, or none if the report has nothing new. A newer
    report replaces the study's older figures, and nothing of other studies. A run in a folder gets
    RUN/studies/NAME.json, which `python -m hub push` and a training with --push_to_hub publish, too.

    Args:
        report: as `cyclegan.study.report` makes it.
        runs: folders of the report's runs that are not on the Hub, with the names that they had when the study was
            built.
        say: gets a sentence about each run, and warnings.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved.

    Raises:
        HubError: the report is of simulated participants, or has no fooling rate; a run can't be found; the Hub can't
            be reached or refuses. Nothing of a refused report was published.
        CheckpointError: a folder holds no such run, or a repository no readable checkpoint.
    """
    judged = _judged(report)
    if foreign := [str(epoch.get("label")) for epoch in report["epochs"] if epoch.get("foreign")]:
        say(f"made by other programs, so on no card: {', '.join(foreign)}")
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
    """Return the epochs that have a figure; raise HubError if nothing may be published."""
    name = report["study"]["name"]
    if report.get("simulated"):
        raise HubError(
            "{name} was answered by simulated participants, whose figures are nobody's judgement", name=name,
            remedy=message("publish it after people have taken part"),
        )
    task = report["protocol"].get("task", "realness")
    if task != "realness":
        raise HubError(
            "{name} is a study of the task {task}, which gives no fooling rate for a card", name=name, task=task,
            remedy=message("publish a study of real or fake"),
        )
    if report.get("thresholds"):
        raise HubError(
            "{name} adapted the exposure to each participant, which gives a threshold and no fooling rate for a card",
            name=name, remedy=message("publish a study without a staircase"),
        )
    plan = report.get("plan")
    state = plan["state"] if plan else "reached"
    judged = [
        # A study of several runs numbers its methods. Before the planned participants, only one interval is valid.
        {**epoch, "epoch": epoch.get("of_epoch") or epoch["epoch"],
         **({"interval": epoch["interval_always_valid"], "interval_crossed": None} if state == "always_valid" else {})}
        for epoch in report["epochs"] if epoch.get("fooling_rate") is not None and epoch.get("trials")
    ]  # fmt: skip
    if state == "closed":
        raise HubError(
            "the results of {name} are closed until as many as planned have judged each epoch or method: {least} of "
            "{planned}",
            name=name, planned=plan["participants"], least=plan["least"],
            remedy=message("publish it when they have taken part"),
        )
    if not judged:
        raise HubError(
            "nobody has judged {name} yet", name=name, remedy=message("publish it after people have taken part")
        )
    ours = [epoch for epoch in judged if not epoch.get("foreign")]
    if not ours:
        raise HubError(
            "all pictures that people have judged in {name} were made by other programs, which have no card", name=name,
            remedy=message("publish a study of runs"),
        )
    return ours


def _repo_id(source: str) -> str:
    """Return the repository that a source names; raise HubError if it is a folder's name."""
    try:
        return parse_spec(source).repo_id
    except CheckpointError:
        raise HubError(
            "{source!r} is a folder's name, so nothing was published", source=source,
            remedy=message("name its run's folder, or build the study from USER/NAME"),
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
            "{repo_id} is empty", repo_id=repository.repo_id,
            remedy=message("publish the run first, with `python -m hub push`"),
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
    """Make one commit with the study's figures and the card that shows them; return False if nothing has changed."""
    refs: Refs = repository.refs()
    head, name = refs.head, entry["study"]["name"]
    studies = studies_at(repository, head)
    if same_study(entry, studies.get(name)):
        entry = studies[name]  # With its old time.
    studies = dict(sorted({**studies, name: entry}.items()))
    files: dict[str, Path | bytes] = {study_file(name): study_bytes(entry)}
    return commit_with_card(
        repository, refs, files, f"Study {name}", say, studies=studies, scores=scores_at(repository, head)
    )


# --- into a run's folder ------------------------------------------------------------------------------------


def _write(
    report: Mapping[str, Any],
    epochs: Sequence[Mapping[str, Any]],
    run: Path,
    updated: str,
    say: Callable[[str], None],
) -> str:
    """Write RUN/studies/NAME.json and return its path."""
    revisions = {}
    for epoch in epochs:
        tag = epoch_name(epoch["epoch"])
        if not (run / tag).is_dir():
            raise CheckpointError(
                "{run} has no {tag}, which people judged: name the run that the study was built from",
                run=run, tag=tag,
            )
        found = read_info(run / tag).commit_sha
        if found != epoch.get("commit_sha"):
            say(f"warning: {run / tag} is not what people judged: it was trained again since ({found[:10]})")
        revisions[epoch["epoch"]] = tag
    entry = _checked(study_entry(report, epochs, revisions, updated))
    path = run / study_file(entry["study"]["name"])
    if same_study(entry, studies_in(run).get(entry["study"]["name"])):
        say(f"nothing to do: {path} has these figures")
        return str(path)
    try:
        write_bytes(path, study_bytes(entry))
    except OSError as error:
        raise HubError(
            "{path} can't be written ({reason})", path=path, reason=error,
            remedy=message("fix that first"),
        ) from error
    say(f"the figures are in {path}; `python -m hub push {run} USER/NAME` puts them onto the card")
    return str(path)


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry as it will be read again, so that the card and the published file agree."""
    try:
        checked = read_study(json.loads(study_bytes(entry)))  # JSON turns tuples into lists.
    except ValueError:
        checked = None
    if checked is None or len(checked["epochs"]) != len(entry["epochs"]):
        raise HubError(
            "the report of {name} is damaged", name=entry["study"].get("name"),
            remedy=message("write it again with `study report`"),
        )
    return checked
