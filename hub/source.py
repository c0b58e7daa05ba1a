"""Checkpoints of a Hub repository, behind the same protocol as those of a folder.

Everything is keyed by the commit's SHA: tags and branches are resolved to one, and what was downloaded of a SHA is
never asked for again. Files lie in the cache that huggingface_hub keeps, and what is found there is what is offered
while the Hub can't be reached.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id

from cyclegan.checkpoint import (
    GENERATOR_OF,
    Checkpoint,
    CheckpointConfig,
    CheckpointError,
    CheckpointInfo,
    load_checkpoint,
    make_info,
    read_info,
    read_json,
    weights_bytes,
)
from cyclegan.config import Direction
from hub import HubError
from hub.client import MAX_JSON_BYTES, Refs, Repository, patiently
from hub.layout import INDEX, published_epochs, read_index

FRESH_S = 30.0
"""How long a list counts as new; `refresh` asks again before that."""
TIMEOUT_S = 15.0
MAX_EXAMPLES = 24
MAX_EXAMPLE_BYTES = 10_000_000
MAX_PICKLE_BYTES = 4_000_000_000
_SHA = re.compile(r"[0-9a-f]{40}")
_PICKLE = re.compile(r".*\.(pth|pt|bin|ckpt|pkl)")

log = logging.getLogger(__name__)
T = TypeVar("T")


class Spec(NamedTuple):
    """`USER/NAME@REVISION`, taken apart."""

    repo_id: str
    revision: str | None
    """A tag, branch or commit; None for all epochs."""


def parse_spec(text: str) -> Spec:
    """Take `USER/NAME`, `USER/NAME@epoch-0012` or `USER/NAME@COMMIT` apart.

    Raises:
        CheckpointError: it is none of these.
    """
    repo_id, at, revision = text.partition("@")
    with contextlib.suppress(HFValidationError):
        validate_repo_id(repo_id)
        if repo_id.count("/") == 1 and bool(at) == bool(revision):
            return Spec(repo_id, revision or None)
    raise CheckpointError(f"{text!r} names nothing on the Hub: use USER/NAME, or USER/NAME@epoch-0012 for one epoch")


class HubSource:
    """The epochs of a Hub repository, or the one of a revision.

    Args:
        spec: USER/NAME, USER/NAME@epoch-0012, USER/NAME@COMMIT.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved; public repositories need none.

    Raises:
        CheckpointError: `spec` is none of these.
    """

    def __init__(self, spec: str, *, endpoint: str | None = None, token: str | None = None) -> None:
        self.name = spec
        self.spec = parse_spec(spec)
        self.repository = Repository(self.spec.repo_id, endpoint=endpoint, token=token, timeout_s=TIMEOUT_S)
        self.problems: list[str] = []
        """What `list` could not tell, one sentence each."""
        self._lock = threading.RLock()
        self._infos: list[CheckpointInfo] = []
        self._listed_at = -FRESH_S
        self._examples: dict[str, list[Path]] = {}
        self.down = False

    # --- the protocol ---------------------------------------------------------------------------------------

    def list(self) -> list[CheckpointInfo]:
        """The epochs, newest first, without their weights; while the Hub can't be reached, those that are cached.

        Raises:
            CheckpointError: there is no such repository or revision, it holds no checkpoint, or the Hub can't be
                reached and nothing is cached.
        """
        if time.monotonic() - self._listed_at < FRESH_S:
            return self._infos
        if not self._lock.acquire(blocking=not self._infos):
            return self._infos  # Someone is asking already: one visitor waits for a slow Hub, not all of them.
        try:
            if time.monotonic() - self._listed_at < FRESH_S:
                return self._infos  # Asked while this one waited.
            problems: list[str] = []
            try:
                infos = patiently(lambda: self._ask(problems))
                self.down = False
            except HubError as error:
                if not (infos := self._cached()):
                    raise CheckpointError(str(error)) from error
                self.down = True
                kept = "one epoch that is" if len(infos) == 1 else f"{len(infos)} epochs that are"
                problems.append(f"of {self.spec.repo_id}, only the {kept} kept here can be used: {error.reason}")
            self._infos, self.problems, self._listed_at = infos, problems, time.monotonic()
            return infos
        finally:
            self._lock.release()

    def refresh(self) -> None:
        """Ask the Hub again at the next `list`."""
        self._listed_at = -FRESH_S

    def load(self, epoch: int | None = None, directions: tuple[Direction, ...] | None = None) -> Checkpoint:
        """The checkpoint of `epoch`, None for the newest; its generators are downloaded unless they are cached.

        Raises:
            CheckpointError: it isn't there, can't be downloaded, is damaged, too large or of a newer format.
        """
        infos = self.list()
        info = next((info for info in infos if epoch in (None, info.epoch)), None)
        if info is None:
            have = ", ".join(str(info.epoch) for info in infos)
            if self.down:
                raise CheckpointError(f"epoch {epoch} of {self.name} can't be had; {self.problems[-1]} ({have})")
            raise CheckpointError(f"{self.name} has no epoch {epoch}; it has {have}")
        wanted = directions or info.directions
        try:
            folder, was_cached = self._download(info.commit_sha, info.tag, wanted)
            try:
                checkpoint = load_checkpoint(folder, wanted)
            except CheckpointError:
                if self.down or not was_cached:
                    raise
                # It may be damaged here only.
                folder, _ = self._download(info.commit_sha, info.tag, wanted, again=True)
                checkpoint = load_checkpoint(folder, wanted)
        except CheckpointError as error:
            raise CheckpointError(str(error).replace(info.commit_sha, f"{self.spec.repo_id}@{info.tag}")) from error
        except HubError as error:
            raise CheckpointError(f"{self.spec.repo_id}@{info.tag} could not be loaded: {error}") from error
        return dataclasses.replace(
            checkpoint, info=dataclasses.replace(checkpoint.info, commit_sha=info.commit_sha)
        )

    def examples(self) -> list[Path]:
        """Pictures to try it on, of the newest epoch's commit; none if they can't be had."""
        with self._lock:
            infos = self._infos or self.list()
            sha = infos[0].commit_sha
            if sha not in self._examples:
                self._examples = {sha: self._find_examples(sha)}
            return self._examples[sha]

    def _find_examples(self, sha: str) -> list[Path]:
        found = sorted((_snapshot(self.spec.repo_id, sha) / "examples").glob("*.png"))
        if found or self.down:
            return found
        try:
            names = [name for name in self.repository.files(sha) if re.fullmatch(r"examples/[\w-]+\.png", name)]
            sizes = self.repository.sizes(sha, names[:MAX_EXAMPLES]) if names else {}
            small = [name for name, size in sizes.items() if size <= MAX_EXAMPLE_BYTES]
            return sorted(_at_once(lambda name: self.repository.download(sha, name), small))
        except HubError as error:
            log.warning("no examples of %s: %s", self.name, error)
            return []

    # --- what there is --------------------------------------------------------------------------------------

    def _ask(self, problems: list[str]) -> list[CheckpointInfo]:
        """What the Hub says that there is."""
        problems.clear()
        if self.spec.revision is not None:
            return [self._info(self._resolve(self.spec.revision), self.spec.revision)]
        refs = self.repository.refs()
        published = published_epochs(self.repository, refs)
        if not published:
            return [self._root(refs)]
        index, config = self._index(refs)
        infos = {}
        rest = []
        for one in published:
            entry = index.get(one.epoch)
            if entry and config:
                figures = {key: entry[key] for key in ("epoch", "created", "global_step", "losses", "metrics")}
                infos[one.epoch] = CheckpointInfo(
                    **figures, commit_sha=one.commit_sha, config=config, directions=tuple(entry["directions"])
                )
            else:
                rest.append(one)

        def read(one: Any) -> CheckpointInfo | CheckpointError:
            try:
                info = self._info(one.commit_sha, one.tag)
                return info if info.epoch == one.epoch else CheckpointError(f"{one.tag} holds epoch {info.epoch}")
            except CheckpointError as error:
                return error

        for one, info in zip(rest, _at_once(read, rest), strict=True):
            if isinstance(info, CheckpointError):
                problems.append(str(info))
            else:
                infos[one.epoch] = info
        if not infos:
            raise CheckpointError(problems[0])
        return [infos[epoch] for epoch in sorted(infos, reverse=True)]

    def _index(self, refs: Refs) -> tuple[dict[int, dict[str, Any]], CheckpointConfig | None]:
        """epochs.json and config.json at the head: a run's epochs share their settings, so one reading tells all."""
        try:
            folder = self._jsons(refs.head, [INDEX, "config.json"])
            index = read_index(read_json(folder / INDEX) if (folder / INDEX).is_file() else None)
            return index, CheckpointConfig.from_json(read_json(folder / "config.json"), self.spec.repo_id)
        except CheckpointError:
            return {}, None  # Each epoch is asked then, and says what is wrong with it.

    def _root(self, refs: Refs) -> CheckpointInfo:
        """The checkpoint at the head of a repository that was not published epoch by epoch."""
        files = self.repository.files(refs.head) if refs.head else []
        if "checkpoint.json" in files and "config.json" in files:
            return self._info(refs.head, "main")
        pickles = sorted(name for name in files if _PICKLE.fullmatch(name))
        if pickles:
            raise CheckpointError(
                f"{self.spec.repo_id} holds pickles such as {pickles[0]}, which are never loaded; if they are of the "
                "reference implementation: python -m cyclegan import --from "
                f"hub:{self.spec.repo_id}:{pickles[0]} --output runs/imported"
            )
        raise CheckpointError(
            f"{self.spec.repo_id} holds no checkpoint of this program: no tag such as epoch-0001, no checkpoint.json"
        )

    def _resolve(self, revision: str) -> str:
        """The commit of a tag, branch or commit."""
        if _SHA.fullmatch(revision):
            return revision
        refs = self.repository.refs()
        sha = refs.tags.get(revision) or refs.branches.get(revision)
        if sha is None:
            tags = ", ".join(sorted(refs.tags, reverse=True)[:3])
            raise CheckpointError(
                f"{self.spec.repo_id} has no revision {revision!r}"
                + (f"; it has {tags}" if tags else "; name a commit by all its 40 digits")
            )
        return sha

    def _info(self, sha: str, revision: str) -> CheckpointInfo:
        """What the checkpoint of a commit says of itself."""
        where = f"{self.spec.repo_id}@{revision}"
        both = ["config.json", "checkpoint.json"]
        folder = self._jsons(sha, both)
        for name in both:
            if not (folder / name).is_file():
                raise CheckpointError(f"{where} has no {name}; it is not a whole checkpoint")
        record = read_json(folder / "checkpoint.json")
        files = _weight_names(record) or set(self.repository.files(sha))
        try:
            return make_info(read_json(folder / "config.json"), record, files=files, where=where, commit_sha=sha)
        except CheckpointError as error:
            raise CheckpointError(str(error).replace(sha, where)) from error

    def _cached(self) -> list[CheckpointInfo]:
        """The epochs that are in the cache with a generator, newest first."""
        snapshots = _snapshot(self.spec.repo_id, "")
        found: dict[int, CheckpointInfo] = {}
        for folder in snapshots.iterdir() if snapshots.is_dir() else ():
            with contextlib.suppress(CheckpointError, OSError):
                info = dataclasses.replace(read_info(folder), commit_sha=folder.name)
                other = found.get(info.epoch)
                if self._is_meant(info) and (other is None or info.created > other.created):
                    found[info.epoch] = info
        return [found[epoch] for epoch in sorted(found, reverse=True)]

    def _is_meant(self, info: CheckpointInfo) -> bool:
        revision = self.spec.revision
        return revision in (None, info.tag, info.commit_sha)

    # --- downloading ----------------------------------------------------------------------------------------

    def _jsons(self, sha: str, names: Sequence[str]) -> Path:
        """Have JSON files of a commit in the cache, those that there are; the folder that they are in."""
        folder = _snapshot(self.spec.repo_id, sha)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            for name, size in self.repository.sizes(sha, missing).items():
                if size > MAX_JSON_BYTES:
                    raise CheckpointError(f"{self.spec.repo_id}: {name} is too large to be a checkpoint's")
                self.repository.download(sha, name)
        return folder

    def _download(self, sha: str, tag: str, directions: Sequence[str], *, again: bool = False) -> tuple[Path, bool]:
        """Have an epoch's generators in the cache; the folder that they are in, and whether all were there."""
        where = f"{self.spec.repo_id}@{tag}"
        names = [f"{GENERATOR_OF[direction]}.safetensors" for direction in directions]
        folder = _snapshot(self.spec.repo_id, sha)
        if not again and all((folder / name).is_file() for name in ("config.json", "checkpoint.json", *names)):
            return folder, True
        self._jsons(sha, ["config.json", "checkpoint.json"])
        config = CheckpointConfig.from_json(read_json(folder / "config.json"), where)
        most = weights_bytes(config)
        sizes = patiently(lambda: self.repository.sizes(sha, names))
        for name in names:
            if name not in sizes:
                raise CheckpointError(f"{where} has no {name}; choose another epoch")
            if sizes[name] > most:
                raise CheckpointError(
                    f"{where}: {name} has {sizes[name] / 1e6:.0f} MB where its config.json describes "
                    f"{most / 1e6:.0f} MB at most; it was not downloaded"
                )
        for name in names:
            patiently(lambda name=name: self.repository.download(sha, name, again=again))
        return folder, False


# --- single files -------------------------------------------------------------------------------------------


def fetch_file(spec: str) -> Path:
    """Download a file of any repository: `USER/NAME:FILE` or `USER/NAME@REVISION:FILE`; its path, under its own name.

    Raises:
        HubError: it isn't there, is larger than any generator, or the Hub can't be reached.
    """
    where, colon, name = spec.partition(":")
    try:
        repo_id, revision = parse_spec(where)
    except CheckpointError as error:
        name = ""
        cause: Exception | None = error
    else:
        cause = None
    if not colon or not name or ".." in name.split("/") or name.startswith("/"):
        raise HubError(f"hub:{spec} names no file: use hub:USER/NAME:FILE, or hub:USER/NAME@REVISION:FILE") from cause
    repository = Repository(repo_id, timeout_s=TIMEOUT_S)
    size = patiently(lambda: repository.sizes(revision or "main", [name])).get(name)
    if size is None:
        raise HubError(f"{repo_id} has no file {name}; look at {repository.url}/tree/{revision or 'main'}")
    if size > MAX_PICKLE_BYTES:
        raise HubError(f"{repo_id}: {name} has {size / 1e9:.1f} GB, too much for a generator")
    return patiently(lambda: repository.download(revision or "main", name))


def _at_once(call: Callable[[Any], T], arguments: Sequence[Any]) -> list[T]:
    """`call` of each, eight at a time, in their order."""
    with ThreadPoolExecutor(8) as pool:
        return [*pool.map(call, arguments)]


def _snapshot(repo_id: str, sha: str) -> Path:
    """Where huggingface_hub keeps a commit's files."""
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type="model") / "snapshots" / sha


def _weight_names(record: dict[str, Any]) -> set[str]:
    recorded = record.get("sha256")
    return {str(name) for name in recorded} if isinstance(recorded, dict) else set()
