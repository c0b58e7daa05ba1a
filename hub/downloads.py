"""The files of one commit of a model repository, in the cache that huggingface_hub keeps.

Whatever is cached of a commit's SHA is never asked for again, unless it is damaged.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import scan_cache_dir
from huggingface_hub.errors import CacheNotFound
from huggingface_hub.file_download import repo_folder_name

from cyclegan.checkpoints.format import (
    GENERATOR_OF,
    Checkpoint,
    CheckpointConfig,
    discriminator_files,
    load_checkpoint,
    load_discriminators,
    weights_bytes,
)
from cyclegan.config import Direction
from cyclegan.errors import CheckpointError, Message, UserError
from cyclegan.evaluation.scores.report import ScoresError
from cyclegan.files import MAX_JSON_BYTES, read_json
from hub.client import Repository, patiently
from hub.layout import MAX_SCORES, MAX_SCORES_BYTES, SCORES, SCORES_FILE

if TYPE_CHECKING:
    from torch import Tensor

MAX_PICKLE_BYTES = 4_000_000_000
"""Size of the largest file of weights that is downloaded."""
MAX_ANONYMOUS_BYTES = 10_000_000_000
"""Bound of the cache of what is fetched without a token, for visitors of an app."""
JSONS = ("config.json", "checkpoint.json")


class Downloads:
    """Downloads of checkpoints into the cache, with limits on their size.

    Args:
        repository: a model repository.
        most_bytes: bound of an epoch's weights; None: as many as its networks have.
    """

    def __init__(self, repository: Repository, most_bytes: int | None = None) -> None:
        self.repository, self.most_bytes = repository, most_bytes
        self._damaged: set[tuple[str, str]] = set()
        """Commit and name of each file that was damaged right after its download: another download won't help."""

    def folder(self, sha: str) -> Path:
        """Return the folder in which huggingface_hub keeps a commit's files; for "", the parent of all commits."""
        name = repo_folder_name(repo_id=self.repository.repo_id, repo_type="model")
        return self.repository.cache / name / "snapshots" / sha

    def jsons(self, sha: str, names: Sequence[str], where: str) -> dict[str, dict[str, Any]]:
        """Return JSON objects of a commit by name; download those that aren't cached whole, omit missing ones.

        Args:
            where: the commit as people know it, for errors.

        Raises:
            CheckpointError: one is damaged or too large.
            HubError: no answer.
        """
        folder = self.folder(sha)
        found = {}
        with named(sha, where):
            for name in names:
                if (folder / name).is_file():
                    try:
                        found[name] = read_json(folder / name, error=CheckpointError)
                    except CheckpointError:
                        if (sha, name) in self._damaged:
                            raise
            missing = [name for name in names if name not in found]
            for name, size in self.repository.sizes(sha, missing).items() if missing else ():
                if size > MAX_JSON_BYTES:
                    raise CheckpointError("{where}: {name} is too large to be a checkpoint's", where=where, name=name)
                self.repository.download(sha, name, again=(folder / name).is_file())
                try:
                    found[name] = read_json(folder / name, error=CheckpointError)
                except CheckpointError:
                    self._damaged.add((sha, name))
                    raise
        return found

    def scores(self, sha: str, where: str, *, down: bool) -> tuple[list[Path], list[UserError]]:
        """Return a commit's files of scores, and the reason for each that isn't downloaded, because it is too large.

        Args:
            where: the repository, for errors.
            down: the Hub can't be reached: only cached ones.

        Raises:
            HubError: no answer.
        """
        folder, left_out = self.folder(sha), []
        if down:
            found = [f"{SCORES}{path.name}" for path in (folder / SCORES).glob("*.json")]
        else:
            found = patiently(lambda: self.repository.files(sha))
        names = sorted(name for name in found if SCORES_FILE.fullmatch(name))[:MAX_SCORES]
        missing = [name for name in names if not (folder / name).is_file()]
        sizes = patiently(lambda: self.repository.sizes(sha, missing)) if missing and not down else {}
        for name, size in sizes.items():
            if size > MAX_SCORES_BYTES:
                left_out.append(ScoresError(
                    "{where}: {name} has {size:.1f} MB, too much for scores; it was not downloaded",
                    where=where, name=name, size=size / 1e6,
                ))  # fmt: skip
            else:
                patiently(lambda name=name: self.repository.download(sha, name))
        return [path for name in names if (path := folder / name).is_file()], left_out

    def both_jsons(self, sha: str, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return config.json and checkpoint.json of a commit; raise as `jsons`, and if one is missing."""
        values = self.jsons(sha, JSONS, where)
        for name in JSONS:
            if name not in values:
                raise CheckpointError("{where} has no {file}; it is not a whole checkpoint", where=where, file=name)
        return values["config.json"], values["checkpoint.json"]

    def load(self, sha: str, where: str, directions: tuple[Direction, ...], *, down: bool) -> Checkpoint:
        """Return a commit's checkpoint; files that are damaged in the cache are downloaded again, once.

        Args:
            where: the commit as people know it, for errors.
            down: the Hub can't be reached.

        Raises:
            CheckpointError: it is missing, damaged, too large or of a newer format.
            HubError: no answer.
        """
        names = {*JSONS, *(f"{GENERATOR_OF[direction]}.safetensors" for direction in directions)}
        again: set[str] = set()
        while True:
            folder, fresh = self._download(sha, where, directions, again)
            try:
                return load_checkpoint(folder, directions, commit_sha=sha)
            except CheckpointError as error:
                bad = {name for name in names if name in str(error)} or names
                self._damaged |= {(sha, name) for name in bad & fresh}
                again = {name for name in bad if (sha, name) not in self._damaged}
                if down or not again:
                    raise

    def discriminators(
        self, sha: str, where: str, wanted: Collection[str] | None = None
    ) -> dict[str, dict[str, Tensor]]:
        """Return the weights of a commit's discriminators by name; {} where its checkpoint.json records none.

        Args:
            where: the commit as people know it, for errors.
            wanted: names of the networks; None for all.

        Raises:
            CheckpointError: one is missing, damaged or too large.
            HubError: no answer.
        """
        folder, names = self.folder(sha), discriminator_files(self.both_jsons(sha, where)[1], wanted)
        missing = [name for name in names if not (folder / name).is_file()]
        sizes = patiently(lambda: self.repository.sizes(sha, missing)) if missing else {}
        for name in missing:
            self._check_size(where, name, sizes)
            patiently(lambda name=name: self.repository.download(sha, name))
        return load_discriminators(folder, {Path(name).stem for name in names})

    def _check_size(self, where: str, name: str, sizes: Mapping[str, int]) -> None:
        """Raise CheckpointError for a file that is missing, or larger than any network."""
        if name not in sizes:
            raise CheckpointError("{where} has no {name}; choose another epoch", where=where, name=name)
        if sizes[name] > MAX_PICKLE_BYTES:
            raise CheckpointError(
                "{where}: {name} has {size:.1f} GB, too much for a generator",
                where=where, name=name, size=sizes[name] / 1e9,
            )

    def _download(
        self, sha: str, where: str, directions: Sequence[str], again: Collection[str]
    ) -> tuple[Path, set[str]]:
        """Download an epoch's generators into the cache; return their folder and the names of files new there.

        Args:
            again: files to download even if they are cached.
        """
        folder = self.folder(sha)
        weights = [f"{GENERATOR_OF[direction]}.safetensors" for direction in directions]
        fresh = {name for name in (*JSONS, *weights) if name in again or not (folder / name).is_file()}
        if not fresh:
            return folder, fresh
        most = weights_bytes(CheckpointConfig.from_json(self.both_jsons(sha, where)[0], where))
        wanted = [name for name in weights if name in fresh]
        sizes = patiently(lambda: self.repository.sizes(sha, wanted)) if wanted else {}
        for name in wanted:
            self._check_size(where, name, sizes)
            if sizes[name] > most:
                raise CheckpointError(
                    "{where}: {name} has {size:.0f} MB where its config.json describes {most:.0f} MB at most; it "
                    "was not downloaded",
                    where=where, name=name, size=sizes[name] / 1e6, most=most / 1e6,
                )
        total = sum(sizes.values())
        if self.most_bytes is not None and total > self.most_bytes:
            raise CheckpointError(
                "{where} has {size:.0f} MB of weights, and this app opens up to {most:.0f} MB of a repository that a "
                "visitor names: open it on your own computer",
                where=where, size=total / 1e6, most=self.most_bytes / 1e6,
            )  # fmt: skip
        for name in wanted:
            patiently(lambda name=name: self.repository.download(sha, name, again=name in again))
        if wanted and self.repository.is_anonymous:
            trim(self.repository.cache, MAX_ANONYMOUS_BYTES, keep=self.repository.repo_id)
        return folder, fresh


def trim(cache: Path, most_bytes: int, *, keep: str) -> list[str]:
    """Remove the repositories that were used longest ago from a cache, until it is within a bound; return their ids.

    Args:
        keep: a repository that stays.
    """
    try:
        known = scan_cache_dir(cache)
    except (CacheNotFound, OSError, ValueError):  # Another process may be removing some, too.
        return []
    total, removed = known.size_on_disk, []
    for repo in sorted(known.repos, key=lambda repo: repo.last_accessed):
        if total <= most_bytes:
            break
        if repo.repo_id != keep:
            known.delete_revisions(*(revision.commit_hash for revision in repo.revisions)).execute()
            total -= repo.size_on_disk
            removed.append(repo.repo_id)
    return removed


@contextlib.contextmanager
def named(sha: str, where: str) -> Iterator[None]:
    """In errors, replace the SHA, which names the folder in the cache, by the name that people know."""
    try:
        yield
    except CheckpointError as error:
        if where in str(error):
            raise
        raise CheckpointError(_renamed(error.message, sha, where)) from error


def _renamed(said: Message, sha: str, where: str) -> Message:
    def renamed(value: Any) -> Any:
        if isinstance(value, UserError):
            value = value.message
        if isinstance(value, Message):
            return _renamed(value, sha, where)
        return str(value).replace(sha, where) if isinstance(value, (str, Path)) else value

    return dataclasses.replace(said, values={name: renamed(value) for name, value in said.values.items()})
