"""Checkpoints of a Hub repository, behind the same protocol as those of a folder.

Everything is keyed by the commit's SHA: tags and branches are resolved to one, and what was downloaded of a SHA is
never asked for again. Files lie in the cache that huggingface_hub keeps, and what is found there is what is offered
while the Hub can't be reached.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from huggingface_hub.errors import HFValidationError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id

from cyclegan.checkpoints.format import (
    GENERATOR_OF,
    SAMPLES,
    Checkpoint,
    CheckpointConfig,
    CheckpointInfo,
    epoch_name,
    load_checkpoint,
    make_info,
    read_info,
    read_json,
    weights_bytes,
)
from cyclegan.config import Direction
from cyclegan.errors import CheckpointError
from hub.client import MAX_JSON_BYTES, Refs, Repository, patiently
from hub.errors import HubError
from hub.layout import INDEX, published_epochs, read_index

FRESH_S = 30.0
"""How long a list counts as new; `refresh` asks again before that."""
TIMEOUT_S = 15.0
MAX_EXAMPLES = 24
MAX_EXAMPLE_BYTES = 10_000_000
MAX_SAMPLES_BYTES = 20_000_000
MAX_PICKLE_BYTES = 4_000_000_000
_SHA = re.compile(r"[0-9a-f]{40}")
_EXAMPLE = re.compile(r"examples/[\w-]{1,100}\.png", re.ASCII)
_JSONS = ("config.json", "checkpoint.json")
_PICKLE = re.compile(r".*\.(pth|pt|bin|ckpt|pkl)")

log = logging.getLogger(__name__)
T = TypeVar("T")


class Spec(NamedTuple):
    """`USER/NAME@REVISION`, taken apart."""

    repo_id: str
    revision: str | None
    """A tag, branch or commit; None for all epochs."""


class Examples(NamedTuple):
    """The pictures of a commit that could be had."""

    sha: str
    paths: list[Path]
    again_at: float
    """When to ask for the others; infinite if these are all."""


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
    raise CheckpointError(
        "{text!r} names nothing on the Hub: use USER/NAME, or USER/NAME@epoch-0012 for one epoch",
        text=text,
    )


class HubSource:
    """The epochs of a Hub repository, or the one of a revision.

    Args:
        spec: USER/NAME, USER/NAME@epoch-0012, USER/NAME@COMMIT.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved; public repositories need none, as False says.
        no_folder: that `spec` is no run's folder either, if it could have been one; said where the Hub fails, too.

    Raises:
        CheckpointError: `spec` is none of these.
    """

    def __init__(
        self, spec: str, *, endpoint: str | None = None, token: str | bool | None = None, no_folder: str | None = None
    ) -> None:
        self.name, self._no_folder = spec, no_folder
        self._options = {"endpoint": endpoint, "token": token, "no_folder": no_folder}
        self.spec = parse_spec(spec)
        self.repository = Repository(self.spec.repo_id, endpoint=endpoint, token=token, timeout_s=TIMEOUT_S)
        self._is_anonymous = token is False
        self.problems: list[str] = []
        """What `list` could not tell, one sentence each."""
        self._lock = threading.RLock()
        self._infos: list[CheckpointInfo] = []
        self._listed_at = -FRESH_S
        self._failed: str | None = None
        """Why the last list failed: everyone is told, and not one after the other made to wait for it."""
        self._examples_lock = threading.Lock()
        self._examples = Examples("", [], 0.0)
        self._without: set[tuple[str, str]] = set()
        """By commit and name, which grids of test pictures there aren't."""
        self._damaged: set[tuple[str, str]] = set()
        """By commit and name, what was damaged right after its download: downloading it again is no use."""
        self.down = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments alone, because another process can't use the locks and connections."""
        return functools.partial(HubSource, self.name, **self._options), ()

    # --- the protocol ---------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where people see it."""
        revision = self.spec.revision
        return self.repository.url + (f"/tree/{quote(revision)}" if revision else "")

    def list(self) -> list[CheckpointInfo]:
        """The epochs, newest first, without their weights; while the Hub can't be reached, those that are cached.

        Raises:
            CheckpointError: there is no such repository or revision, it holds no checkpoint, or the Hub can't be
                reached and nothing is cached.
        """
        if time.monotonic() - self._listed_at < FRESH_S:
            return self._known()
        if not self._lock.acquire(blocking=not self._infos and self._failed is None):
            return self._known()  # Someone is asking already: one visitor waits for a slow Hub, not all of them.
        try:
            if time.monotonic() - self._listed_at < FRESH_S:
                return self._known()  # Asked while this one waited.
            return self._look()
        finally:
            self._lock.release()

    def _look(self) -> list[CheckpointInfo]:
        """What there is now; remembered, as is a failure."""
        problems: list[str] = []
        try:
            try:
                infos = patiently(lambda: self._ask(problems))
                self.down = False
            except HubError as error:
                # What is cached may have become private meanwhile.
                if self._is_anonymous or not (infos := self._cached()):
                    failed = "; ".join(filter(None, (self._no_folder, str(error))))
                    raise CheckpointError(failed) from error
                self.down = True
                kept = "one epoch that is" if len(infos) == 1 else f"{len(infos)} epochs that are"
                problems.append(f"of {self.spec.repo_id}, only the {kept} kept here can be used: {error.reason}")
            self._infos, self.problems, self._failed, self._listed_at = infos, problems, None, time.monotonic()
            return infos
        except CheckpointError as error:
            self._failed, self._listed_at = str(error), time.monotonic()
            raise

    def _known(self) -> list[CheckpointInfo]:
        """What the last look at the Hub has told."""
        if (failed := self._failed) is not None:
            raise CheckpointError(failed)
        return self._infos

    def refresh(self) -> None:
        """Ask the Hub again at the next `list`, and for examples that could not be had."""
        self._listed_at = -FRESH_S
        if self._examples.again_at < math.inf:
            self._examples = self._examples._replace(again_at=0.0)

    def load(self, epoch: int | None = None, directions: tuple[Direction, ...] | None = None) -> Checkpoint:
        """The checkpoint of `epoch`, None for the newest; its generators are downloaded unless they are cached.

        Raises:
            CheckpointError: it isn't there, can't be downloaded, is damaged, too large or of a newer format.
        """
        info = self._chosen(epoch)
        wanted = directions or info.directions
        where = f"{self.spec.repo_id}@{info.tag}"
        try:
            with _named(info.commit_sha, where):
                checkpoint = self._load(info.commit_sha, where, wanted)
        except HubError as error:
            raise CheckpointError("{where} could not be loaded: {reason}", where=where, reason=error) from error
        return dataclasses.replace(
            checkpoint, info=dataclasses.replace(checkpoint.info, commit_sha=info.commit_sha)
        )

    def samples(self, epoch: int) -> list[Path]:
        """The epoch's grids of test pictures; downloaded unless they are cached, which is all while the Hub is down.

        Raises:
            CheckpointError: there is no such epoch, they can't be downloaded, or they are too large.
        """
        sha = self._chosen(epoch).commit_sha
        where, folder = f"{self.spec.repo_id}@{epoch_name(epoch)}", self._snapshot(sha)
        missing = [name for name in SAMPLES.values() if not (folder / name).is_file()]
        missing = [name for name in missing if (sha, name) not in self._without]
        if missing and not self.down:
            try:
                sizes = patiently(lambda: self.repository.sizes(sha, missing))
                self._without |= {(sha, name) for name in missing if name not in sizes}
                if (size := sum(sizes.values())) > MAX_SAMPLES_BYTES:
                    raise CheckpointError(
                        "{where}: its samples have {size:.0f} MB, too much to show",
                        where=where, size=size / 1000000.0,
                    )
                for name in sizes:
                    patiently(lambda name=name: self.repository.download(sha, name))
            except HubError as error:
                raise CheckpointError(
                    "the samples of {where} could not be loaded: {reason}",
                    where=where, reason=error,
                ) from error
        return [path for name in SAMPLES.values() if (path := folder / name).is_file()]

    def examples(self) -> list[Path]:
        """Pictures to try it on, of the newest epoch's commit; none if they can't be had."""
        try:
            sha = (self._infos or self.list())[0].commit_sha
        except CheckpointError as error:
            log.warning("no examples of %s: %s", self.name, error)
            return []
        known = self._examples
        if known.sha == sha and time.monotonic() < known.again_at:
            return known.paths
        if not self._examples_lock.acquire(blocking=False):
            return known.paths  # Someone is downloading them: the others do without, rather than wait.
        try:
            paths, all_there = self._find_examples(sha)
            self._examples = Examples(sha, paths, math.inf if all_there else time.monotonic() + FRESH_S)
            return paths
        finally:
            self._examples_lock.release()

    def _find_examples(self, sha: str) -> tuple[list[Path], bool]:
        """Those that are cached or can be downloaded, and whether these are all."""
        folder = self._snapshot(sha)
        cached = [path for path in (folder / "examples").glob("*.png") if _EXAMPLE.fullmatch(f"examples/{path.name}")]
        found = sorted(path for path in cached if path.is_file())[:MAX_EXAMPLES]
        if self.down:
            return found, False
        try:
            names = [name for name in self.repository.files(sha) if _EXAMPLE.fullmatch(name)][:MAX_EXAMPLES]
            missing = [name for name in names if not (folder / name).is_file()]
            sizes = self.repository.sizes(sha, missing) if missing else {}
        except HubError as error:
            log.warning("examples of %s: %s", self.name, error)
            return found, False

        def fetch(name: str) -> Path | None:
            try:
                return self.repository.download(sha, name)
            except HubError as error:
                log.warning("%s of %s: %s", name, self.name, error)
                return None

        fetched = _at_once(fetch, [name for name, size in sizes.items() if size <= MAX_EXAMPLE_BYTES])
        return sorted([*found, *filter(None, fetched)])[:MAX_EXAMPLES], None not in fetched

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
                return info if info.epoch == one.epoch else CheckpointError(
                    "{tag} holds epoch {epoch}",
                    tag=one.tag, epoch=info.epoch,
                )
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
        if refs.head is None:
            return {}, None
        with contextlib.suppress(CheckpointError):
            values = self._jsons(refs.head, [INDEX, "config.json"], f"{self.spec.repo_id}@main")
            if "config.json" in values:
                config = CheckpointConfig.from_json(values["config.json"], self.spec.repo_id)
                return read_index(values.get(INDEX)), config
        return {}, None  # Each epoch is asked then, and says what is wrong with it.

    def _root(self, refs: Refs) -> CheckpointInfo:
        """The checkpoint at the head of a repository that was not published epoch by epoch."""
        files = self.repository.files(refs.head) if refs.head else []
        if "checkpoint.json" in files and "config.json" in files:
            return self._info(refs.head, "main")
        pickles = sorted(name for name in files if _PICKLE.fullmatch(name))
        if pickles:
            raise CheckpointError(
                "{repo_id} holds pickles such as {pickles}, which are never loaded; if they are of the reference "
                "implementation: python -m cyclegan import --from hub:{repo_id}:{pickles} --output runs/imported",
                repo_id=self.spec.repo_id, pickles=pickles[0],
            )
        raise CheckpointError(
            "{repo_id} holds no checkpoint of this program: no tag such as epoch-0001, no checkpoint.json",
            repo_id=self.spec.repo_id,
        )

    def _resolve(self, revision: str) -> str:
        """The commit of a tag, branch or commit."""
        if _SHA.fullmatch(revision):
            if self._is_anonymous:
                self.repository.sizes(revision, ["config.json"])  # Raises if it has become private.
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

    def _chosen(self, epoch: int | None) -> CheckpointInfo:
        """The info of `epoch`, None for the newest."""
        infos = self.list()
        info = next((info for info in infos if epoch in (None, info.epoch)), None)
        if info is None:
            have = ", ".join(str(info.epoch) for info in infos)
            if self.down:
                raise CheckpointError(
                    "epoch {epoch} of {name} can't be had; {problems} ({have})",
                    epoch=epoch, name=self.name, problems=self.problems[-1], have=have,
                )
            raise CheckpointError("{name} has no epoch {epoch}; it has {have}", name=self.name, epoch=epoch, have=have)
        return info

    def _info(self, sha: str, revision: str) -> CheckpointInfo:
        """What the checkpoint of a commit says of itself."""
        where = f"{self.spec.repo_id}@{revision}"
        config, record = self._both_jsons(sha, where)
        files = _weight_names(record) or set(self.repository.files(sha))
        return make_info(config, record, files=files, where=where, commit_sha=sha)

    def _cached(self) -> list[CheckpointInfo]:
        """The epochs that are in the cache with a generator, newest first."""
        snapshots = self._snapshot("")
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

    def _snapshot(self, sha: str) -> Path:
        """Where huggingface_hub keeps a commit's files."""
        name = repo_folder_name(repo_id=self.spec.repo_id, repo_type="model")
        return self.repository.cache / name / "snapshots" / sha

    # --- downloading ----------------------------------------------------------------------------------------

    def _jsons(self, sha: str, names: Sequence[str], where: str) -> dict[str, dict[str, Any]]:
        """JSON objects of a commit by name, without those that it lacks; downloaded unless they are cached whole.

        Raises:
            CheckpointError: one is damaged or too large.
            HubError: no answer.
        """
        folder = self._snapshot(sha)
        found = {}
        with _named(sha, where):
            for name in names:
                if (folder / name).is_file():
                    try:
                        found[name] = read_json(folder / name)
                    except CheckpointError:
                        if (sha, name) in self._damaged:
                            raise
            missing = [name for name in names if name not in found]
            for name, size in self.repository.sizes(sha, missing).items() if missing else ():
                if size > MAX_JSON_BYTES:
                    raise CheckpointError("{where}: {name} is too large to be a checkpoint's", where=where, name=name)
                self.repository.download(sha, name, again=(folder / name).is_file())
                try:
                    found[name] = read_json(folder / name)
                except CheckpointError:
                    self._damaged.add((sha, name))
                    raise
        return found

    def _both_jsons(self, sha: str, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """config.json and checkpoint.json of a commit."""
        values = self._jsons(sha, _JSONS, where)
        for name in _JSONS:
            if name not in values:
                raise CheckpointError("{where} has no {name}; it is not a whole checkpoint", where=where, name=name)
        return values["config.json"], values["checkpoint.json"]

    def _load(self, sha: str, where: str, directions: tuple[Direction, ...]) -> Checkpoint:
        """A commit's checkpoint; what is damaged in the cache is downloaded again, once."""
        names = {*_JSONS, *(f"{GENERATOR_OF[direction]}.safetensors" for direction in directions)}
        again: set[str] = set()
        while True:
            folder, fresh = self._download(sha, where, directions, again)
            try:
                return load_checkpoint(folder, directions)
            except CheckpointError as error:
                bad = {name for name in names if name in str(error)} or names
                self._damaged |= {(sha, name) for name in bad & fresh}
                again = {name for name in bad if (sha, name) not in self._damaged}
                if self.down or not again:
                    raise

    def _download(
        self, sha: str, where: str, directions: Sequence[str], again: Collection[str]
    ) -> tuple[Path, set[str]]:
        """Have an epoch's generators in the cache; the folder that they are in, and which files are new there.

        Args:
            again: files to download even if they are cached.
        """
        folder = self._snapshot(sha)
        weights = [f"{GENERATOR_OF[direction]}.safetensors" for direction in directions]
        fresh = {name for name in (*_JSONS, *weights) if name in again or not (folder / name).is_file()}
        if not fresh:
            return folder, fresh
        most = weights_bytes(CheckpointConfig.from_json(self._both_jsons(sha, where)[0], where))
        wanted = [name for name in weights if name in fresh]
        sizes = patiently(lambda: self.repository.sizes(sha, wanted)) if wanted else {}
        for name in wanted:
            if name not in sizes:
                raise CheckpointError("{where} has no {name}; choose another epoch", where=where, name=name)
            if sizes[name] > MAX_PICKLE_BYTES:
                raise CheckpointError(
                    "{where}: {name} has {sizes:.1f} GB, too much for a generator",
                    where=where, name=name, sizes=sizes[name] / 1000000000.0,
                )
            if sizes[name] > most:
                raise CheckpointError(
                    "{where}: {name} has {sizes:.0f} MB where its config.json describes {most:.0f} MB at most; it "
                    "was not downloaded",
                    where=where, name=name, sizes=sizes[name] / 1000000.0, most=most / 1000000.0,
                )
        for name in wanted:
            patiently(lambda name=name: self.repository.download(sha, name, again=name in again))
        return folder, fresh


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
        raise HubError(
            "hub:{spec} names no file: use hub:USER/NAME:FILE, or hub:USER/NAME@REVISION:FILE",
            spec=spec,
        ) from cause
    repository = Repository(repo_id, timeout_s=TIMEOUT_S)
    size = patiently(lambda: repository.sizes(revision or "main", [name])).get(name)
    if size is None:
        raise HubError(
            "{repo_id} has no file {name}; look at {url}/tree/{revision}",
            repo_id=repo_id, name=name, url=repository.url, revision=revision or 'main',
        )
    if size > MAX_PICKLE_BYTES:
        raise HubError(
            "{repo_id}: {name} has {size:.1f} GB, too much for a generator",
            repo_id=repo_id, name=name, size=size / 1000000000.0,
        )
    return patiently(lambda: repository.download(revision or "main", name))


@contextlib.contextmanager
def _named(sha: str, where: str) -> Iterator[None]:
    """In errors, what people know a commit by, instead of the folder that it is cached in."""
    try:
        yield
    except CheckpointError as error:
        said = str(error)
        raise CheckpointError(said if where in said else said.replace(sha, where)) from error


def _at_once(call: Callable[[Any], T], arguments: Sequence[Any]) -> list[T]:
    """`call` of each, eight at a time, in their order."""
    with ThreadPoolExecutor(8) as pool:
        return [*pool.map(call, arguments)]


def _weight_names(record: dict[str, Any]) -> set[str]:
    recorded = record.get("sha256")
    return {str(name) for name in recorded} if isinstance(recorded, dict) else set()
