"""The layout of a repository of epochs, known to this module alone.

On the main branch each epoch is one commit titled `Epoch 12`, with the tag `epoch-0012` on it. The root mirrors the
epoch's folder, so that `USER/NAME@epoch-0012` is what RUN/epoch-0012 was:

    gen_ab.safetensors  gen_ba.safetensors  config.json  checkpoint.json  samples/
    disc_a.safetensors  disc_b.safetensors  with --save_discriminators
    widget/                                 pictures of the card's examples, cut out of samples/
    metrics.jsonl  curves.png  examples/    the run's, at the time of the commit
    epochs.json                             date, losses and metrics of every epoch up to this commit
    studies/NAME.json                       people's judgements: fooling rates, intervals, protocol; see `study_entry`
    scores/NAME.json                        scores on whole test sets, as RUN/scores/NAME.json has them
    README.md                               the card; people's text outside its generated block is kept
    handler.py  requirements.txt  code.zip  for Inference Endpoints, after `python -m hub endpoint`

Only the repository records what is published: by its tags, and by the commits whose tag is missing because something
failed between the two calls. So no second record can contradict it.

On the branch `training-state`, which the app never reads: the newest state of the training, and what else a fresh
machine needs to resume it.

    training_state/step-000002740/  run.json  metrics.jsonl  examples/

On the branch `code`, which the app never reads either: what the newest job of `python -m hub job` runs.

    code.zip  settings.yaml
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.format import DISCRIMINATORS, CheckpointInfo, epoch_name, read_figures
from cyclegan.config import DIRECTIONS
from cyclegan.errors import UserError
from cyclegan.evaluation.scores.exchange import checked, joined, read_checked, without_paths
from cyclegan.evaluation.scores.report import Report, ScoresError, report_of
from hub.client import Refs, Repository

CHECKPOINT_FILES = ("gen_*.safetensors", DISCRIMINATORS, "config.json", "checkpoint.json", "samples/*.png")
RUN_FILES = ("metrics.jsonl", "curves.png", "examples/*.png", "examples/*.tif")
WIDGET = "widget/"
INDEX = "epochs.json"
INDEX_VERSION = 1
STUDIES = "studies/"
STUDY_VERSION = 1
MAX_STUDIES = 20
"""The most studies of a repository that are read for a card, because each costs two requests."""
SCORES = "scores/"
SCORES_FILE = re.compile(rf"{SCORES}[A-Za-z0-9][A-Za-z0-9._-]{{0,63}}\.json")
MAX_SCORES = 10
"""The most files of scores that a repository has, and that are read of one."""
MAX_SCORES_BYTES = 5_000_000
"""Size of the largest file of scores that is published or downloaded; 200 epochs by all scores fit."""
MAX_SAMPLES_BYTES = 20_000_000
"""Size of the largest sample grid that is downloaded."""
STATE_BRANCH = "training-state"
CODE_BRANCH = "code"
MAX_CANDIDATES = 50
"""The most commits without a tag that are read, because each costs two requests and anyone can write such titles."""
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class PublishedEpoch:
    """An epoch that a repository holds."""

    epoch: int
    commit_sha: str
    tagged: bool

    @property
    def tag(self) -> str:
        """Its tag `epoch-0012`, set or still missing."""
        return epoch_name(self.epoch)


def commit_title(epoch: int) -> str:
    """Return the title of an epoch's commit: `Epoch 12`."""
    return f"Epoch {epoch}"


def tagged_epochs(refs: Refs) -> dict[int, str]:
    """Return the SHA that each epoch's tag is on, by epoch."""
    return {epoch: sha for name, sha in refs.tags.items() if (epoch := _number_in(name, "epoch-", epoch_name))}


def _number_in(text: str, prefix: str, written: Callable[[int], str]) -> int | None:
    """Return the epoch that `written` turns into `text`; None for a text that only looks like it: epoch-00001."""
    digits = text.removeprefix(prefix)
    epoch = int(digits) if _NUMBER.fullmatch(digits) else 0
    return epoch if epoch and written(epoch) == text else None


def epoch_commits(repository: Repository, refs: Refs) -> list[tuple[int, str]]:
    """Return the epoch and SHA of each commit of the main branch that has an epoch's title, newest first.

    Raises:
        HubError: no answer.
    """
    commits = repository.commits(refs.head) if refs.head else []
    return [(epoch, one.sha) for one in commits if (epoch := _number_in(one.title, "Epoch ", commit_title))]


def untagged_epochs(repository: Repository, refs: Refs, wanted: int | None = None) -> dict[int, str]:
    """Return the SHA of each epoch's commit whose tag is missing, by epoch; the newest if there are several.

    A commit counts by its title and by its own checkpoint.json, because other programs write such titles, too.

    Args:
        wanted: search for this epoch only.

    Raises:
        HubError: no answer.
    """
    tags, found = tagged_epochs(refs), {}
    candidates = [
        (epoch, sha)
        for epoch, sha in epoch_commits(repository, refs)
        if epoch not in tags and wanted in (None, epoch)
    ]
    for epoch, sha in candidates[:MAX_CANDIDATES]:
        if epoch in found:
            continue
        record = repository.json(sha, "checkpoint.json")
        if record and record.get("epoch") == epoch:
            found[epoch] = sha
    return found


def published_epochs(repository: Repository, refs: Refs) -> list[PublishedEpoch]:
    """Return every epoch of a repository, newest first.

    Raises:
        HubError: no answer.
    """
    tags, rest = tagged_epochs(refs), untagged_epochs(repository, refs)
    found = [PublishedEpoch(epoch, sha, epoch in tags) for epoch, sha in {**rest, **tags}.items()]
    return sorted(found, key=lambda published: published.epoch, reverse=True)


# --- epochs.json --------------------------------------------------------------------------------------------


def index_entry(info: CheckpointInfo) -> dict[str, Any]:
    """Return an epoch's entry of epochs.json: all that a list of epochs shows."""
    return {
        "epoch": info.epoch,
        "created": info.created,
        "global_step": info.global_step,
        "losses": dict(info.losses),
        "metrics": dict(info.metrics),
        "directions": list(info.directions),
    }


def index_content(entries: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of epochs.json."""
    return {"format_version": INDEX_VERSION, "epochs": [entries[epoch] for epoch in sorted(entries)]}


def read_index(values: Mapping[str, Any] | None) -> dict[int, dict[str, Any]]:
    """Return the entries by epoch, without damaged ones and newer formats; each checkpoint.json has the same values."""
    if not values or values.get("format_version") != INDEX_VERSION or not isinstance(values.get("epochs"), list):
        return {}
    found = {}
    for entry in values["epochs"]:
        if not isinstance(entry, dict) or any(type(entry.get(key)) is not int for key in ("epoch", "global_step")):
            continue
        ways = entry.get("directions")
        directions = [way for way in DIRECTIONS if isinstance(ways, list) and way in ways]
        if directions:
            found[entry["epoch"]] = {
                "epoch": entry["epoch"],
                "created": str(entry.get("created", "")),
                "global_step": entry["global_step"],
                "losses": read_figures(entry.get("losses")),
                "metrics": read_figures(entry.get("metrics")),
                "directions": directions,
            }
    return found


# --- studies/NAME.json --------------------------------------------------------------------------------------

_STUDY_FILE = re.compile(rf"{STUDIES}[A-Za-z0-9][A-Za-z0-9._-]{{0,63}}\.json")


_ABOUT = ("study_id", "name", "title", "direction", "domains", "dataset")
"""Not the seed, because with it and the stimuli the answers could be found."""


def study_file(name: str) -> str:
    """Return the path of a study's figures: `studies/NAME.json`."""
    return f"{STUDIES}{name}.json"


def _total_error(one: Mapping[str, Any], early: bool) -> dict[str, Any]:
    """Return the total error as an entry, if there is one: it exists where pictures are judged singly.

    Args:
        early: leave out its interval, which holds only once the planned participants are there.
    """
    error = one.get("total_error")
    if not error:
        return {}
    return {"total_error": {"error": error.get("error"), "interval": None if early else error.get("interval")}}


def study_entry(
    report: Mapping[str, Any], epochs: Collection[Mapping[str, Any]], revisions: Mapping[int, str], updated: str
) -> dict[str, Any]:
    """Return the content of studies/NAME.json: the part of a report that concerns one run.

    Args:
        report: as `cyclegan.study.report` makes it.
        epochs: the report's epochs of this run.
        revisions: each epoch's revision in the repository: its tag, or the commit that was judged instead.
        updated: ISO 8601, UTC.
    """
    keys = ("epoch", "commit_sha", "fooling_rate", "interval", "interval_assumed", "interval_crossed", "participants",
            "trials")  # fmt: skip
    people, plan = report.get("participants") or {}, report.get("plan") or {"state": "reached"}
    early = plan["state"] != "reached"
    return {
        "format_version": STUDY_VERSION,
        "updated": updated,
        "study": {
            **{key: report["study"].get(key) for key in _ABOUT},
            **({"without_secret": True} if report["study"].get("secret_sha256", "") is None else {}),
        },
        "protocol": dict(report["protocol"]),
        **({"plan": {key: plan[key] for key in ("participants", "least")}} if early else {}),
        # Numbers only, because reasons for excluding somebody are the owner's words about people.
        "participants": {key: value for key, value in people.items() if type(value) is int},
        "epochs": [
            {**{key: one.get(key) for key in keys}, **_total_error(one, early), "revision": revisions[one["epoch"]]}
            for one in sorted(epochs, key=lambda one: one["epoch"])
        ],
    }


def read_study(values: Any) -> dict[str, Any] | None:
    """Return a checked entry of `study_entry`; None if it is something else, damaged, or of a newer format."""
    if not isinstance(values, dict) or values.get("format_version") != STUDY_VERSION:
        return None
    study, protocol, rows = (values.get(key) for key in ("study", "protocol", "epochs"))
    if not isinstance(study, dict) or not isinstance(protocol, dict) or not isinstance(rows, list):
        return None
    if not isinstance(study.get("name"), str) or not _STUDY_FILE.fullmatch(study_file(study["name"])):
        return None
    epochs = {row["epoch"]: row for row in rows if _is_judged(row)}
    return {**values, "epochs": [epochs[epoch] for epoch in sorted(epochs)]} if epochs else None


def _is_judged(row: Any) -> bool:
    if not isinstance(row, dict) or any(type(row.get(k)) is not int for k in ("epoch", "participants", "trials")):
        return False
    bounds = row.get("interval")
    good = bounds is None or (isinstance(bounds, list) and len(bounds) == 2 and all(map(_is_share, bounds)))
    return good and row["epoch"] > 0 and _is_share(row.get("fooling_rate")) and isinstance(row.get("revision"), str)


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= 1


def same_study(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Return True if two entries are equal except for their time."""
    return {**(one or {}), "updated": ""} == {**(other or {}), "updated": ""}


def studies_at(repository: Repository, head: str | None) -> dict[str, dict[str, Any]]:
    """Return the entries of a commit by the study's name, without those that can't be read.

    Raises:
        HubError: no answer.
    """
    names = sorted(name for name in (repository.files(head) if head else []) if _STUDY_FILE.fullmatch(name))
    found = [(name, read_study(repository.json(head, name))) for name in names[:MAX_STUDIES]]
    entries = [(name, entry, entry["study"]["name"]) for name, entry in found if entry]
    return {own: entry for name, entry, own in entries if study_file(own) == name}


def studies_in(run: Path) -> dict[str, dict[str, Any]]:
    """Return the entries in a run's folder by the study's name, without those that can't be read."""
    found = {}
    for path in sorted(run.glob(f"{STUDIES}*.json")):
        try:
            entry = read_study(json.loads(path.read_bytes()))
        except (OSError, ValueError, RecursionError):
            continue
        if entry and study_file(entry["study"]["name"]) == f"{STUDIES}{path.name}":
            found[entry["study"]["name"]] = entry
    return found


def newest_studies(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the newer entry of each study from two sets; that of `there` if both are as new."""

    def when(entries: Mapping[str, Any], name: str) -> str:
        return str(entries[name].get("updated")) if name in entries else ""

    newest = {name: here[name] if when(here, name) > when(there, name) else there[name] for name in there}
    return dict(sorted({**here, **newest}.items()))


def study_bytes(entry: Mapping[str, Any]) -> bytes:
    """Return the bytes of studies/NAME.json."""
    return json.dumps(dict(entry), indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


# --- scores/NAME.json ---------------------------------------------------------------------------------------


def scores_in(folder: Path) -> dict[str, Report]:
    """Return the files of scores in a folder by name, as they may be published, without those that can't be read."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        if SCORES_FILE.fullmatch(f"{SCORES}{path.name}"):
            with contextlib.suppress(UserError):
                report = read_checked(path)
                found[path.stem] = Report(path, without_paths(report.content))
    return dict(list(found.items())[:MAX_SCORES])


def scores_at(repository: Repository, head: str | None) -> dict[str, Report]:
    """Return a commit's files of scores by name, without those that are too large or can't be read.

    Raises:
        HubError: no answer.
    """
    found: dict[str, Report] = {}
    names = [name for name in (repository.files(head) if head else []) if SCORES_FILE.fullmatch(name)]
    sizes = repository.sizes(head, names[:MAX_SCORES]) if names else {}
    for name, size in sorted(sizes.items()):
        if size <= MAX_SCORES_BYTES:
            path = Path(name)
            with contextlib.suppress(ScoresError):
                found[path.stem] = checked(report_of(path, repository.json(head, name) or {}))
    return found


def joined_scores(here: Mapping[str, Report], there: Mapping[str, Report]) -> dict[str, Report]:
    """Return the files of both, by name: those of one name are joined; without those that got too large."""
    found = dict(there)
    for name, report in here.items():
        content = joined(report.content, there[name].content) if name in there else report.content
        if len(scores_bytes(both := Report(Path(f"{SCORES}{name}.json"), content))) <= MAX_SCORES_BYTES:
            found[name] = both
    return dict(sorted(found.items())[:MAX_SCORES])


def new_scores(found: Mapping[str, Report], there: Mapping[str, Report]) -> dict[str, bytes]:
    """Return the content of the files that differ from those of `there`, by their paths in a repository."""
    return {
        f"{SCORES}{name}.json": scores_bytes(report) for name, report in found.items()
        if name not in there or report.content != there[name].content
    }  # fmt: skip


def scores_bytes(report: Report) -> bytes:
    """Return the bytes of scores/NAME.json."""
    return json.dumps(report.content, indent=1, ensure_ascii=False).encode() + b"\n"
