"""Publishing a run's epochs to a Hub model repository: one commit each, with one tag on it. See `hub.layout`."""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.format import EPOCH_NAME, CheckpointInfo, epoch_name, read_info
from cyclegan.errors import CheckpointError, message
from cyclegan.files import read_json, sha256
from hub.card import make_card
from hub.card.widget import widget_pictures
from hub.client import Refs, Repository, as_the_branch_moves
from hub.errors import CardError, HubError, OtherRunError
from hub.layout import (
    CHECKPOINT_FILES,
    INDEX,
    RUN_FILES,
    commit_title,
    index_content,
    index_entry,
    joined_scores,
    new_scores,
    newest_studies,
    read_index,
    same_study,
    scores_at,
    scores_in,
    studies_at,
    studies_in,
    study_bytes,
    study_file,
    tagged_epochs,
    untagged_epochs,
)
from hub.staging import set_aside

log = logging.getLogger(__name__)


class Publisher:
    """Publishes the epochs of one run to one model repository.

    Args:
        run: the run's folder.
        repo_id: USER/NAME, or ORGANIZATION/NAME.
        private: create the repository as private; refuse an existing public one.
        license: the weights' licence for the card, as the Hub spells it; None keeps that of the card.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved.

    Raises:
        HubError: `repo_id` can't be a repository's name.
    """

    def __init__(
        self,
        run: str | Path,
        repo_id: str,
        *,
        private: bool = False,
        license: str | None = None,
        endpoint: str | None = None,
        token: str | None = None,
    ) -> None:
        self.run, self.private, self.license = Path(run), private, license
        self.repository = Repository(repo_id, endpoint=endpoint, token=token)
        self.published: dict[int, str] = {}
        """Commit SHA by epoch, as last listed by the Hub."""
        self._own_head: str | None = None
        self._root_epoch: int | None = None

    def check_repository(self) -> None:
        """Create the repository if it is missing; make sure that it may be written to.

        Raises:
            HubError: no network, a bad token, no permission, or it is public despite `private`.
        """
        self.repository.make(private=self.private)
        if self.license is not None:
            self.repository.check_license(self.license)

    def check_run(self) -> list[str]:
        """Make sure that the repository holds no other run, and set missing tags; return a sentence for each.

        Raises:
            HubError: it holds another run's epochs, or the Hub does not answer.
        """
        said = repair_tags(self.repository, self._look())
        if said:
            self._look()
        return said

    def publish(self, epoch: int) -> str:
        """Publish RUN/epoch-NNNN as one commit and its tag; return the commit's SHA.

        Does nothing for an epoch that has its tag, and sets only the tag for one whose commit lacks it, for example
        after a crash or a lost reply between the two. If the branch has moved meanwhile, its files and card are read
        again.

        Raises:
            HubError: the Hub can't be reached or refuses; calling again later is safe.
            CheckpointError: the epoch's folder is missing or damaged.
        """
        folder = self.run / epoch_name(epoch)
        info, record = read_info(folder), _record(folder)
        sha = as_the_branch_moves(lambda: self._publish(folder, info, record))
        self.published[epoch] = sha
        return sha

    def _publish(self, folder: Path, info: CheckpointInfo, record: Mapping[str, Any]) -> str:
        refs = self._look()
        if (sha := tagged_epochs(refs).get(info.epoch)) is not None:
            if not record.get("run_id") and not _same(record, self.repository.json(sha, "checkpoint.json")):
                raise HubError(
                    "{repo_id} holds another epoch {epoch} already", repo_id=self.repository.repo_id, epoch=info.epoch,
                    remedy=message("choose another USER/NAME"),
                )
            return sha
        sha = self._untagged(refs, record) or self._commit(folder, info, refs.head, commit_title(info.epoch))
        self.repository.tag(info.tag, sha)
        return sha

    def unpublished(self) -> list[int]:
        """Return the run's epochs that the Hub didn't list when it was last asked, oldest first."""
        return [epoch for epoch in _epochs(self.run) if epoch not in self.published]

    def holds_another(self, epoch: int) -> bool:
        """Return True if the Hub's epoch of this number is from before a restart from an older state.

        Raises:
            HubError, CheckpointError: as `publish`.
        """
        folder = self.run / epoch_name(epoch)
        if not folder.is_dir():
            return False
        ours = _record(folder).get("sha256")
        theirs = self.repository.json(self.published[epoch], "checkpoint.json")
        return bool(theirs) and theirs.get("sha256") != ours

    def epoch_behind_root(self) -> int | None:
        """Return the newest epoch if an older one was published after it and is at the root now; otherwise None."""
        newest = max(self.published, default=0)
        behind = self._root_epoch is not None and self._root_epoch < newest
        return newest if behind and (self.run / epoch_name(newest)).is_dir() else None

    def bring_to_root(self, epoch: int) -> None:
        """Commit a published epoch's files again, so that the root shows them; its tag is not moved.

        Raises:
            HubError, CheckpointError: as `publish`.
        """
        folder = self.run / epoch_name(epoch)
        info = read_info(folder)
        as_the_branch_moves(lambda: self._commit(folder, info, self._look().head, f"Back to the root: epoch {epoch}"))

    def has_new_studies(self) -> bool:
        """Return True if the run's folder has newer figures of a study than the repository.

        Raises:
            HubError: no answer.
        """
        if not (here := studies_in(self.run)):
            return False
        there = studies_at(self.repository, self._look().head)
        return any(not same_study(study, there.get(name)) for name, study in newest_studies(there, here).items())

    def has_new_scores(self) -> bool:
        """Return True if the run's folder has scores that the repository lacks.

        Raises:
            HubError: no answer.
        """
        if not (here := scores_in(self.run / "scores")):
            return False
        there = scores_at(self.repository, self._look().head)
        return bool(new_scores(joined_scores(here, there), there))

    def update_card(self) -> bool:
        """Write the card at the root again; return True if that changed it.

        Raises:
            HubError, CheckpointError: as `publish`.
        """

        def update() -> bool:
            head = self._look().head
            folder = self.run / epoch_name(self._root_epoch or 0)
            if not folder.is_dir():
                raise HubError(
                    "epoch {epoch}, to which the card belongs, is not in {run}", epoch=self._root_epoch, run=self.run,
                    remedy=message("copy it there"),
                )
            return self._commit(folder, read_info(folder), head, "Update the card") != head

        return as_the_branch_moves(update)

    # --- reading --------------------------------------------------------------------------------------------

    def _look(self) -> Refs:
        """Return branches and tags; raise HubError if the repository holds another run."""
        refs = self.repository.refs()
        head, run_id = refs.head, _run_id(self.run)
        if head is not None and head != self._own_head:
            there = self.repository.json(head, "checkpoint.json")
            if there is not None and there.get("run_id") != run_id:
                raise OtherRunError(
                    "{repo_id} holds the epochs of another run", repo_id=self.repository.repo_id,
                    remedy=message("choose another USER/NAME"),
                )
            self._own_head, self._root_epoch = head, (there or {}).get("epoch")
        if run_id:  # Imported weights have none, and a tag alone doesn't identify their epoch.
            self.published = tagged_epochs(refs)
        return refs

    def _untagged(self, refs: Refs, record: Mapping[str, Any]) -> str | None:
        """Return the commit that holds the epoch of this checkpoint.json without its tag; None if there is none."""
        sha = untagged_epochs(self.repository, refs, wanted=record["epoch"]).get(record["epoch"])
        return sha if sha and _same(record, self.repository.json(sha, "checkpoint.json")) else None

    # --- writing --------------------------------------------------------------------------------------------

    def _commit(self, folder: Path, info: CheckpointInfo, head: str | None, title: str) -> str:
        """Commit the epoch's files on top of `head`; refused by the Hub if `head` has moved meanwhile."""
        staged = self.run / f".hub-epoch.{uuid.uuid4().hex[:8]}.part"
        try:
            _stage(folder, staged)
            return self._commit_staged(staged, info, head, title)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _commit_staged(self, folder: Path, info: CheckpointInfo, head: str | None, title: str) -> str:
        files: dict[str, Path | bytes] = {}
        for pattern in CHECKPOINT_FILES:
            files |= {path.relative_to(folder).as_posix(): path for path in sorted(folder.glob(pattern))}
        files |= widget_pictures(folder / "samples", info.directions)
        for pattern in RUN_FILES:  # As bytes, because they may grow while they are uploaded.
            found = sorted(self.run.glob(pattern))
            files |= {path.relative_to(self.run).as_posix(): path.read_bytes() for path in found}
        entries = read_index(None if head is None else self.repository.json(head, INDEX))
        entries[info.epoch] = index_entry(info)
        files[INDEX] = json.dumps(index_content(entries), indent=1).encode()
        there = studies_at(self.repository, head)
        studies = newest_studies(there, studies_in(self.run))
        files |= {study_file(name): study_bytes(study) for name, study in studies.items() if study != there.get(name)}
        scored = scores_at(self.repository, head)
        scores = joined_scores(scores_in(self.run / "scores"), scored)
        files |= new_scores(scores, scored)
        record = _record(folder)
        try:
            files["README.md"] = make_card(
                self.repository.repo_id,
                info,
                list(entries.values()),
                files=files.keys(),
                pictures=record.get("pictures"),
                started_from=record.get("started_from"),
                imported_from=record.get("imported_from"),
                license=self.license,
                existing=None if head is None else self.repository.text(head, "README.md"),
                studies=list(studies.values()),
                scores=list(scores.values()),
            ).encode("utf-8", "surrogateescape")
        except HubError:
            raise
        except Exception:  # A card that can't be updated must not keep the weights from the Hub.
            log.exception("the card of %s was not updated", self.repository.repo_id)
        try:
            sha = self.repository.commit(files, title, parent=head)
        except CardError:
            # A person broke the front matter: it is kept as it is, and must not keep the weights from the Hub.
            files.pop("README.md")
            sha = self.repository.commit(files, title, parent=head)
        self._own_head, self._root_epoch = sha, info.epoch
        return sha


def _stage(folder: Path, staged: Path) -> None:
    """Link an epoch's files into a folder of their own, because a resumed training may replace them.

    Raises:
        HubError: they are being written right now.
        CheckpointError: the weights are not the recorded ones.
    """
    try:
        set_aside((path for pattern in CHECKPOINT_FILES for path in folder.glob(pattern)), folder, staged)
        recorded = _record(staged).get("sha256")
        for name, digest in recorded.items() if isinstance(recorded, dict) else ():
            if sha256(staged / name) != digest:
                raise CheckpointError(
                    "{file} is damaged: its checksum is not the recorded one", file=f"{folder.name}/{name}"
                )
    except FileNotFoundError as error:
        raise HubError(
            "{folder} was replaced meanwhile", folder=folder.name, temporary=True, remedy=message("try again")
        ) from error
    except OSError as error:
        raise HubError(
            "{folder} can't be read ({reason})", folder=folder.name, reason=error,
            remedy=message("fix that first"),
        ) from error


def repair_tags(repository: Repository, refs: Refs | None = None) -> list[str]:
    """Tag each epoch's commit whose tag is missing; return a sentence for each.

    Raises:
        HubError: the Hub can't be reached or refuses.
    """
    refs = repository.refs() if refs is None else refs
    said = []
    for epoch, sha in sorted(untagged_epochs(repository, refs).items()):
        repository.tag(epoch_name(epoch), sha)
        said.append(f"{epoch_name(epoch)} had no tag: set on commit {sha[:10]}")
    return said


def _record(folder: Path) -> dict[str, Any]:
    return read_json(folder / "checkpoint.json", error=CheckpointError)


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any] | None) -> bool:
    """Return True if two checkpoint.json are of one epoch of one run; imported weights have only their checksums."""
    keys = ("epoch", "run_id") if ours.get("run_id") else ("epoch", "sha256")
    return theirs is not None and all(ours.get(key) == theirs.get(key) for key in keys)


def _epochs(run: Path) -> list[int]:
    """Return the epochs in a run's folder, oldest first."""
    names = [path.name for path in run.glob("epoch-*") if path.is_dir()]
    return sorted(int(match[1]) for name in names if (match := EPOCH_NAME.fullmatch(name)))


def _run_id(run: Path) -> str | None:
    """Return the run's id; None for imported weights, which have none."""
    epochs = _epochs(run)
    paths = [run / "run.json", *(run / epoch_name(epoch) / "checkpoint.json" for epoch in epochs[-1:])]
    for path in paths:
        if path.is_file():
            return read_json(path, error=CheckpointError).get("run_id")
    return None
