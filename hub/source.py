"""Checkpoints of a Hub repository, behind the same protocol as those of a folder.

Everything is keyed by the commit's SHA: tags and branches are resolved to one. While the Hub can't be reached, the
epochs in huggingface_hub's cache are offered.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from cyclegan.checkpoints.format import (
    EPOCH_NAME,
    SAMPLES,
    Checkpoint,
    CheckpointConfig,
    CheckpointInfo,
    epoch_name,
    make_info,
    read_info,
)
from cyclegan.checkpoints.sources import Watch
from cyclegan.config import Direction
from cyclegan.errors import CheckpointError, Message, UserError, message
from hub.client import BRANCH, Refs, Repository, patiently
from hub.downloads import MAX_PICKLE_BYTES, Downloads, named
from hub.errors import HubError
from hub.layout import INDEX, MAX_SAMPLES_BYTES, PublishedEpoch, published_epochs, read_index

if TYPE_CHECKING:
    from torch import Tensor

FRESH_S = 30.0
"""Seconds for which a list counts as new; `refresh` asks again sooner."""
WATCHED_S = 60.0
"""Seconds between questions to the Hub about an open page's run."""
TIMEOUT_S = 15.0
MAX_EXAMPLES = 24
MAX_EXAMPLE_BYTES = 10_000_000
_SHA = re.compile(r"[0-9a-f]{40}")
_EXAMPLE = re.compile(r"examples/[\w-]{1,100}\.(png|tif)", re.ASCII)
_PICKLE = re.compile(r".*\.(pth|pt|bin|ckpt|pkl)")

log = logging.getLogger(__name__)
T = TypeVar("T")


class Spec(NamedTuple):
    """The parts of `USER/NAME@REVISION`."""

    repo_id: str
    revision: str | None
    """A tag, branch or commit; None for all epochs."""


class Examples(NamedTuple):
    """The available example pictures of a commit."""

    sha: str
    paths: list[Path]
    again_at: float
    """The monotonic time to ask for the others; infinite if these are all."""


def parse_spec(text: str) -> Spec:
    """Return the parts of `USER/NAME`, `USER/NAME@epoch-0012` or `USER/NAME@COMMIT`.

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
        token: None for HF_TOKEN or the one that `hf auth login` saved; False sends no token, which is enough
            for public repositories.
        no_folder: the reason why `spec` isn't a run's folder, if it could have been one; part of the error if the
            Hub fails, too.
        awaited: a repository that a run has only made, without an epoch, has an empty list instead of an error.
        most_bytes: bound of an epoch's weights, for a repository that a stranger names.

    Raises:
        CheckpointError: `spec` is none of these.
    """

    def __init__(
        self, spec: str, *, endpoint: str | None = None, token: str | bool | None = None,
        no_folder: UserError | None = None, awaited: bool = False, most_bytes: int | None = None,
    ) -> None:
        self.name, self._no_folder, self._awaited = spec, no_folder, awaited
        self._options = {"endpoint": endpoint, "token": token, "no_folder": no_folder, "awaited": awaited,
                         "most_bytes": most_bytes}  # fmt: skip
        self.spec = parse_spec(spec)
        self.repository = Repository(self.spec.repo_id, endpoint=endpoint, token=token, timeout_s=TIMEOUT_S)
        self._downloads = Downloads(self.repository, most_bytes)
        self._is_anonymous = token is False
        self.problems: list[Message | UserError] = []
        """The parts that the last `list` had to leave out or couldn't ask for."""
        self._lock = threading.RLock()
        self._infos: list[CheckpointInfo] = []
        self._listed_at = -FRESH_S
        self._failed: Message | None = None
        """The reason why the last list failed; all callers get it at once instead of waiting in turn."""
        self._examples_lock = threading.Lock()
        self._examples = Examples("", [], 0.0)
        self._head: str | None = None
        """The commit whose scores count: the newest, or the one that was named."""
        self._scores: tuple[tuple[str, bool], Sequence[Path], Sequence[UserError]] | None = None
        """A commit, whether the Hub was down, the commit's scores, and what was left out."""
        self._without: set[tuple[str, str]] = set()
        """Commit and name of each missing grid of test pictures."""
        self.has_begun = True
        self.down = False
        """The Hub couldn't be reached by the last `list`."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments alone, because another process can't use the locks and connections."""
        return functools.partial(HubSource, self.name, **self._options), ()

    # --- the protocol ---------------------------------------------------------------------------------------

    def watch(self) -> Watch:
        """Return the newest commit and the number of epochs; asks the Hub about once a minute. Raises CheckpointError.
        """
        is_known = self._listed_at > 0 and time.monotonic() - self._listed_at < WATCHED_S
        infos = self._known() if is_known else self.list()
        return Watch(f"{infos[0].commit_sha}.{len(infos)}" if infos else "")

    def progress(self) -> None:
        """Return None: the Hub doesn't know how far the next epoch is."""

    @property
    def url(self) -> str:
        """The address of its page."""
        revision = self.spec.revision
        return self.repository.url + (f"/tree/{quote(revision)}" if revision else "")

    def list(self) -> list[CheckpointInfo]:
        """Return the epochs without their weights, newest first; while the Hub can't be reached, the cached ones.

        Raises:
            CheckpointError: there is no such repository or revision, it holds no checkpoint, or the Hub can't be
                reached and nothing is cached.
        """
        if time.monotonic() - self._listed_at < FRESH_S:
            return self._known()
        if not self._lock.acquire(blocking=not self._infos and self._failed is None):
            return self._known()  # Another thread is asking: one visitor waits for a slow Hub, not all of them.
        try:
            if time.monotonic() - self._listed_at < FRESH_S:
                return self._known()  # Asked while this one waited.
            return self._look()
        finally:
            self._lock.release()

    def _look(self) -> list[CheckpointInfo]:
        """Ask the Hub for the list, and remember it or the failure."""
        problems: list[Message | UserError] = []
        try:
            try:
                infos = patiently(lambda: self._ask(problems))
                self.down = False
            except HubError as error:
                # Cached epochs may have become private meanwhile, so strangers don't get them.
                if self._is_anonymous or not (infos := self._cached()):
                    raise self._unavailable(error) from error
                self.down, self._head = True, infos[0].commit_sha
                problems.append(self._only_cached(len(infos), error.reason))
            self._infos, self.problems, self._failed, self._listed_at = infos, problems, None, time.monotonic()
            return infos
        except CheckpointError as error:
            self._failed, self._listed_at = error.message, time.monotonic()
            raise

    def _unavailable(self, error: HubError) -> CheckpointError:
        if self._no_folder is None:
            return CheckpointError(error.message)
        return CheckpointError("{no_folder}; {no_repository}", no_folder=self._no_folder, no_repository=error)

    def _only_cached(self, count: int, reason: Message) -> Message:
        return message(
            "only the one epoch of {repo_id} that is kept here can be used: {reason}",
            "only the {n} epochs of {repo_id} that are kept here can be used: {reason}",
            count, repo_id=self.spec.repo_id, reason=reason,
        )

    def _known(self) -> list[CheckpointInfo]:
        """Return the last list; raise CheckpointError if asking for it failed."""
        if (failed := self._failed) is not None:
            raise CheckpointError(failed)
        return self._infos

    def refresh(self) -> None:
        """Make the next `list` ask the Hub again, and the next `examples` ask for missing ones."""
        self._listed_at = -FRESH_S
        if self._examples.again_at < math.inf:
            self._examples = self._examples._replace(again_at=0.0)

    def load(self, epoch: int | None = None, directions: tuple[Direction, ...] | None = None) -> Checkpoint:
        """Return the checkpoint of `epoch`, None for the newest; its generators are downloaded unless cached.

        Raises:
            CheckpointError: it is missing, can't be downloaded, is damaged, too large or of a newer format.
        """
        info = self._chosen(epoch)
        wanted = directions or info.directions
        where = f"{self.spec.repo_id}@{info.tag}"
        try:
            with named(info.commit_sha, where):
                checkpoint = self._downloads.load(info.commit_sha, where, wanted, down=self.down)
        except HubError as error:
            raise CheckpointError("{where} could not be loaded: {reason}", where=where, reason=error) from error
        if checkpoint.info.epoch != info.epoch:  # The list trusts epochs.json.
            raise _another_epoch(info.tag, checkpoint.info)
        return checkpoint

    def discriminators(self, epoch: int, names: Collection[str] | None = None) -> dict[str, dict[str, Tensor]]:
        """Return the weights of the epoch's discriminators by name, downloaded unless cached; {} where it has none.

        Args:
            names: the networks that are wanted; None for all.

        Raises:
            CheckpointError: one can't be downloaded, is damaged or too large.
        """
        sha = self._chosen(epoch).commit_sha
        where = f"{self.spec.repo_id}@{epoch_name(epoch)}"
        try:
            with named(sha, where):
                return self._downloads.discriminators(sha, where, names)
        except HubError as error:
            raise CheckpointError("{where} could not be loaded: {reason}", where=where, reason=error) from error

    def samples(self, epoch: int) -> list[Path]:
        """Return the epoch's grids of test pictures; only cached ones while the Hub is down.

        Raises:
            CheckpointError: there is no such epoch, they can't be downloaded, or they are too large.
        """
        sha = self._chosen(epoch).commit_sha
        where, folder = f"{self.spec.repo_id}@{epoch_name(epoch)}", self._downloads.folder(sha)
        missing = [name for name in SAMPLES.values() if not (folder / name).is_file()]
        missing = [name for name in missing if (sha, name) not in self._without]
        if missing and not self.down:
            try:
                sizes = patiently(lambda: self.repository.sizes(sha, missing))
                self._without |= {(sha, name) for name in missing if name not in sizes}
                if (size := sum(sizes.values())) > MAX_SAMPLES_BYTES:
                    raise CheckpointError(
                        "{where}: its samples have {size:.0f} MB, too much to show", where=where, size=size / 1e6
                    )
                for name in sizes:
                    patiently(lambda name=name: self.repository.download(sha, name))
            except HubError as error:
                raise CheckpointError(
                    "the samples of {where} could not be loaded: {reason}", where=where, reason=error
                ) from error
        return [path for name in SAMPLES.values() if (path := folder / name).is_file()]

    def scores(self) -> tuple[Sequence[Path], Sequence[UserError]]:
        """Return the files of scores of the newest commit, downloaded unless cached, and what is left out.

        Raises:
            CheckpointError: as `list`, or they can't be downloaded.
        """
        self.list()
        if self._head is None:
            return (), ()
        asked = self._head, self.down
        if self._scores is None or self._scores[0] != asked:
            try:
                paths, left_out = self._downloads.scores(self._head, self.spec.repo_id, down=self.down)
            except HubError as error:
                raise CheckpointError(
                    "the scores of {name} could not be loaded: {reason}", name=self.name, reason=error
                ) from error
            self._scores = asked, paths, left_out
        return self._scores[1:]

    def examples(self) -> list[Path]:
        """Return example inputs from the newest epoch's commit; [] if they are unavailable."""
        try:
            infos = self._infos or self.list()
        except CheckpointError as error:
            log.warning("no examples of %s: %s", self.name, error)
            return []
        if not infos:
            return []
        sha, known = infos[0].commit_sha, self._examples
        if known.sha == sha and time.monotonic() < known.again_at:
            return known.paths
        if not self._examples_lock.acquire(blocking=False):
            return known.paths  # Another thread is downloading them: don't make all visitors wait.
        try:
            paths, all_there = self._find_examples(sha)
            self._examples = Examples(sha, paths, math.inf if all_there else time.monotonic() + FRESH_S)
            return paths
        finally:
            self._examples_lock.release()

    def _find_examples(self, sha: str) -> tuple[list[Path], bool]:
        """Return the examples that are cached or can be downloaded, and True if these are all."""
        folder = self._downloads.folder(sha)
        cached = [path for path in (folder / "examples").glob("*.*") if _EXAMPLE.fullmatch(f"examples/{path.name}")]
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

    # --- listing --------------------------------------------------------------------------------------------

    def _ask(self, problems: list[Message | UserError]) -> list[CheckpointInfo]:
        """Return the epochs by the Hub's answers; add to `problems` what can't be read."""
        problems.clear()
        if self.spec.revision is not None:
            self._head = self._resolve(self.spec.revision)
            return [self._info(self._head, self.spec.revision)]
        refs = self.repository.refs()
        self._head = refs.head
        published = published_epochs(self.repository, refs)
        if not published:
            root = self._root(refs)
            return [] if root is None else [root]
        index, config = self._index(refs)
        infos = {}
        rest = []
        commits = Counter(one.commit_sha for one in published)
        for one in published:
            entry = index.get(one.epoch)
            # One commit holds one epoch: of several tags on it, only its own checkpoint.json knows the true one.
            if entry and config and commits[one.commit_sha] == 1:
                figures = {key: entry[key] for key in ("epoch", "created", "global_step", "losses", "metrics")}
                infos[one.epoch] = CheckpointInfo(
                    **figures, commit_sha=one.commit_sha, config=config, directions=tuple(entry["directions"])
                )
            else:
                rest.append(one)
        for one, info in zip(rest, _at_once(self._info_or_error, rest), strict=True):
            if isinstance(info, CheckpointError):
                problems.append(info)
            else:
                infos[one.epoch] = info
        if not infos:
            raise CheckpointError(problems[0].message)
        return [infos[epoch] for epoch in sorted(infos, reverse=True)]

    def _info_or_error(self, one: PublishedEpoch) -> CheckpointInfo | CheckpointError:
        try:
            return self._info(one.commit_sha, one.tag)
        except CheckpointError as error:
            return error

    def _index(self, refs: Refs) -> tuple[dict[int, dict[str, Any]], CheckpointConfig | None]:
        """Return epochs.json and config.json of the head; a run's epochs share their settings."""
        if refs.head is None:
            return {}, None
        with contextlib.suppress(CheckpointError):
            values = self._downloads.jsons(refs.head, [INDEX, "config.json"], f"{self.spec.repo_id}@main")
            if "config.json" in values:
                config = CheckpointConfig.from_json(values["config.json"], self.spec.repo_id)
                return read_index(values.get(INDEX)), config
        return {}, None  # Then each epoch's own files are read, and its error names what is wrong.

    def _root(self, refs: Refs) -> CheckpointInfo | None:
        """Return the checkpoint at the head of a repository that was not published epoch by epoch.

        None: it is awaited, and the repository is as it was made.
        """
        files = self.repository.files(refs.head) if refs.head else []
        if "checkpoint.json" in files and "config.json" in files:
            return self._info(refs.head, "main")
        pickles = sorted(name for name in files if _PICKLE.fullmatch(name))
        if pickles:
            raise CheckpointError(
                "{repo_id} holds pickles such as {file}, which are never loaded; if they are from the reference "
                "implementation: python -m cyclegan import --from hub:{repo_id}:{file} --output runs/imported",
                repo_id=self.spec.repo_id, file=pickles[0],
            )
        if self._awaited and set(files) <= {".gitattributes", "README.md"}:
            return None
        raise CheckpointError(
            "{repo_id} holds no checkpoint of this program: no tag such as epoch-0001, no checkpoint.json",
            repo_id=self.spec.repo_id,
        )

    def _resolve(self, revision: str) -> str:
        """Return the SHA of a tag, branch or commit."""
        if _SHA.fullmatch(revision):
            if self._is_anonymous:
                self.repository.sizes(revision, ["config.json"])  # Raises if it has become private.
            return revision
        refs = self.repository.refs()
        sha = refs.tags.get(revision) or refs.branches.get(revision)
        if sha is None:
            tags = ", ".join(sorted(refs.tags, reverse=True)[:3])
            names = {"repo_id": self.spec.repo_id, "revision": revision}
            if tags:
                raise CheckpointError("{repo_id} has no revision {revision!r}; it has {tags}", tags=tags, **names)
            raise CheckpointError("{repo_id} has no revision {revision!r}; name a commit by all its 40 digits", **names)
        return sha

    def _chosen(self, epoch: int | None) -> CheckpointInfo:
        """Return the info of `epoch`, None for the newest."""
        infos = self.list()
        info = next((info for info in infos if epoch in (None, info.epoch)), None)
        if info is None and not infos:
            raise CheckpointError("{name} has no epoch yet", name=self.name)
        if info is None:
            have = ", ".join(str(info.epoch) for info in infos)
            if self.down:
                raise CheckpointError(
                    "epoch {epoch} of {name} is unavailable; {reason} ({have})",
                    epoch=epoch, name=self.name, reason=self.problems[-1], have=have,
                )
            raise CheckpointError("{name} has no epoch {epoch}; it has {have}", name=self.name, epoch=epoch, have=have)
        return info

    def _info(self, sha: str, revision: str) -> CheckpointInfo:
        """Return what the checkpoint of a commit records about itself."""
        where = f"{self.spec.repo_id}@{revision}"
        config, record = self._downloads.both_jsons(sha, where)
        files = _weight_names(record) or set(self.repository.files(sha))
        info = make_info(config, record, files=files, where=where, commit_sha=sha)
        if EPOCH_NAME.fullmatch(revision) and revision != info.tag:
            raise _another_epoch(revision, info)
        return info

    def _cached(self) -> list[CheckpointInfo]:
        """Return the epochs in the cache that have a generator, newest first."""
        snapshots = self._downloads.folder("")
        found: dict[int, CheckpointInfo] = {}
        for folder in snapshots.iterdir() if snapshots.is_dir() else ():
            with contextlib.suppress(CheckpointError, OSError):
                info = read_info(folder, commit_sha=folder.name)
                other = found.get(info.epoch)
                if self._is_meant(info) and (other is None or info.created > other.created):
                    found[info.epoch] = info
        return [found[epoch] for epoch in sorted(found, reverse=True)]

    def _is_meant(self, info: CheckpointInfo) -> bool:
        revision = self.spec.revision
        return revision in (None, info.tag, info.commit_sha)


# --- single files -------------------------------------------------------------------------------------------


def fetch_file(spec: str) -> Path:
    """Download a file of any repository, `USER/NAME:FILE` or `USER/NAME@REVISION:FILE`; return its path.

    Raises:
        HubError: it is missing, larger than any generator, or the Hub can't be reached.
    """
    where, _, name = spec.partition(":")
    try:
        repo_id, revision = parse_spec(where)
    except CheckpointError as error:
        raise _no_file(spec) from error
    if not name or ".." in name.split("/") or name.startswith("/"):
        raise _no_file(spec)
    revision = revision or BRANCH
    repository = Repository(repo_id, timeout_s=TIMEOUT_S)
    size = patiently(lambda: repository.sizes(revision, [name])).get(name)
    if size is None:
        raise HubError(
            "{repo_id} has no file {name}", repo_id=repo_id, name=name,
            remedy=message("look at {address}", address=f"{repository.url}/tree/{revision}"),
        )
    if size > MAX_PICKLE_BYTES:
        raise HubError(
            "{repo_id}: {name} has {size:.1f} GB, too much for a generator", repo_id=repo_id, name=name, size=size / 1e9
        )
    return patiently(lambda: repository.download(revision, name))


def _no_file(spec: str) -> HubError:
    return HubError(
        "hub:{spec} doesn't name a file: use hub:USER/NAME:FILE, or hub:USER/NAME@REVISION:FILE", spec=spec
    )


def _at_once(call: Callable[[Any], T], arguments: Sequence[Any]) -> list[T]:
    """Return `call`'s result for each argument, in their order; eight calls run at a time."""
    with ThreadPoolExecutor(8) as pool:
        return [*pool.map(call, arguments)]


def _another_epoch(tag: str, info: CheckpointInfo) -> CheckpointError:
    return CheckpointError("{tag} holds epoch {epoch}", tag=tag, epoch=info.epoch)


def _weight_names(record: dict[str, Any]) -> set[str]:
    recorded = record.get("sha256")
    return {str(name) for name in recorded} if isinstance(recorded, dict) else set()
