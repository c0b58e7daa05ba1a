"""One repository of the Hub, through huggingface_hub's client: no output, a time limit, every failure a HubError."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelCard,
    constants,
    get_session,
    get_token,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
    logging,
    validate_repo_id,
)

from cyclegan.errors import Message, message
from cyclegan.files import MAX_JSON_BYTES, is_full
from hub.errors import CardError, HubError

BRANCH = "main"
TIMEOUT_S = float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT") or 60)
"""Seconds without a byte, on reading and writing alike; the client's own default is to wait for ever."""
MAX_RETRY_AFTER_S = 3600.0
MOVED_TRIES = 5
"""Attempts to commit to a branch that others keep moving."""
FEW_TRIES, WAIT_S, LONGEST_WAIT_S = 3, 1.0, 10.0
MAX_DETAIL = 300
"""Characters of another program's text that an error repeats."""
MAKE_TOKEN = message(
    "make one that can write at {address}, then run `hf auth login` or set HF_TOKEN",
    address="https://huggingface.co/settings/tokens",
)
TRY_LATER = message("try again later")

if "HF_HUB_VERBOSITY" not in os.environ:
    logging.set_verbosity_error()  # This package reports retries itself.

T = TypeVar("T")


@dataclass(frozen=True)
class Commit:
    """A commit, as the Hub lists it."""

    sha: str
    title: str
    created: str
    """ISO 8601, UTC."""


@dataclass(frozen=True)
class Refs:
    """Branches and tags of a repository, each with the SHA of its commit."""

    branches: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def head(self) -> str | None:
        """The newest commit of the main branch; None for an empty repository."""
        return self.branches.get(BRANCH)


class Repository:
    """A model, data set or Space repository.

    Args:
        repo_id: USER/NAME, or ORGANIZATION/NAME.
        repo_type: model, dataset or space.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved; False: none is sent.
        timeout_s: seconds that the Hub may be silent; None for TIMEOUT_S.

    Every method raises HubError if the Hub can't be reached or refuses.

    Raises:
        HubError: `repo_id` can't be a repository's name.
    """

    def __init__(
        self,
        repo_id: str,
        *,
        repo_type: str = "model",
        endpoint: str | None = None,
        token: str | bool | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.repo_id, self.repo_type, self.timeout_s = repo_id, repo_type, timeout_s
        self._api = HfApi(endpoint=endpoint, token=token)
        try:
            validate_repo_id(repo_id)
        except HFValidationError:
            repo_id = ""
        if repo_id.count("/") != 1:
            raise HubError(
                "{repo_id!r} can't be a repository's name", repo_id=self.repo_id,
                remedy=message("use USER/NAME, of letters, digits, '-', '_' and '.'"),
            )

    @property
    def url(self) -> str:
        """The address of its page."""
        prefix = {"model": "", "dataset": "datasets/", "space": "spaces/"}[self.repo_type]
        return f"{self._api.endpoint}/{prefix}{self.repo_id}"

    @property
    def cache(self) -> Path:
        """The folder in which `download` keeps files.

        Without a token it is another one, because what was fetched with a token may be private.
        """
        return Path(constants.HF_HUB_CACHE) / ("without-token" if self.is_anonymous else "")

    @property
    def is_anonymous(self) -> bool:
        """True where no token is sent."""
        return self._api.token is False

    # --- creation and permission ----------------------------------------------------------------------------

    def writer(self) -> str:
        """Return the name of the token's user; raise HubError if the token can only read."""
        with self.calls() as api:
            user = api.whoami()
        if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise HubError("the Hugging Face token can only read", remedy=MAKE_TOKEN)
        return user["name"]

    def make(self, *, private: bool = False, space_sdk: str | None = None) -> None:
        """Create it if it is missing; make sure that this token may write to it.

        Args:
            private: create it as private; refuse an existing public one.
            space_sdk: the software that a Space runs on.
        """
        self.writer()
        with self.calls() as api:
            # Not `private=False`, because an organisation's default may be private.
            options = {"private": private or None, "exist_ok": True, "space_sdk": space_sdk}
            api.create_repo(self.repo_id, repo_type=self.repo_type, **options)
            # create_repo accepts an existing repository even if the token may only read it. Old clients can't
            # check for write access; with them, the first commit fails instead.
            writing = {"write": True} if "write" in inspect.signature(api.auth_check).parameters else {}
            api.auth_check(self.repo_id, repo_type=self.repo_type, **writing)
        if private and not self.is_private():
            raise HubError(
                "{repo_id} exists and is public", repo_id=self.repo_id,
                remedy=message("make it private in its settings, or don't ask for a private one"),
            )

    def is_private(self) -> bool:
        """Return True if only people with permission see it."""
        with self.calls() as api:
            return bool(api.repo_info(self.repo_id, repo_type=self.repo_type).private)

    def is_open(self) -> bool:
        """Return True if everyone can download its files, without a token."""
        with self.calls() as api:
            info = api.repo_info(self.repo_id, repo_type=self.repo_type)
        return not info.private and not getattr(info, "gated", False)

    def check_license(self, license: str) -> None:
        """Raise HubError if the Hub doesn't know a licence."""
        with self.calls():
            try:
                ModelCard(f"---\nlicense: {json.dumps(license)}\n---\n").validate(repo_type=self.repo_type)
            except ValueError as error:
                raise HubError(
                    "the Hub doesn't know a licence {license!r}", license=license,
                    remedy=message("use one of its names: mit, apache-2.0, cc-by-4.0, other …"),
                ) from error

    # --- reading --------------------------------------------------------------------------------------------

    def refs(self) -> Refs:
        """Return its branches and tags."""
        with self.calls() as api:
            refs = api.list_repo_refs(self.repo_id, repo_type=self.repo_type)
        return Refs(
            {branch.name: branch.target_commit for branch in refs.branches},
            {tag.name: tag.target_commit for tag in refs.tags},
        )

    def commits(self, revision: str) -> list[Commit]:
        """Return the commits up to a revision, newest first."""
        with self.calls() as api:
            found = api.list_repo_commits(self.repo_id, repo_type=self.repo_type, revision=revision)
        return [Commit(c.commit_id, c.title, c.created_at.isoformat(timespec="seconds")) for c in found]

    def files(self, revision: str) -> list[str]:
        """Return the paths of all files at a revision."""
        with self.calls() as api:
            return api.list_repo_files(self.repo_id, repo_type=self.repo_type, revision=revision)

    def sizes(self, revision: str, paths: Sequence[str]) -> dict[str, int]:
        """Return the size in bytes of each of these files that exists, without downloading it."""
        with self.calls() as api:
            found = api.get_paths_info(self.repo_id, list(paths), repo_type=self.repo_type, revision=revision)
        return {file.path: file.size for file in found if hasattr(file, "size")}

    def text(self, revision: str, name: str) -> str | None:
        """Return a small text file, bypassing the cache; None if there is no such file."""
        if (size := self.sizes(revision, [name]).get(name)) is None:
            return None
        if size > MAX_JSON_BYTES:
            raise HubError(
                "{file} has {size} bytes, too many for what it should be", file=f"{self.repo_id}/{name}", size=size
            )
        with tempfile.TemporaryDirectory() as folder:
            # Line ends and bytes that aren't UTF-8 survive when the text is written again.
            return self.fetch(revision, name, Path(folder)).read_bytes().decode("utf-8", "surrogateescape")

    def json(self, revision: str, name: str) -> dict[str, Any] | None:
        """Return a JSON object, bypassing the cache; None if there is no such file, {} if it is something else."""
        text = self.text(revision, name)
        if text is None:
            return None
        with contextlib.suppress(ValueError, RecursionError):
            values = json.loads(text)
            return values if isinstance(values, dict) else {}
        return {}

    def download(self, revision: str, name: str, *, again: bool = False, local_only: bool = False) -> Path:
        """Return a file's path in huggingface_hub's cache. A cached file of a full SHA needs no request.

        Args:
            again: download it even if it is cached.
            local_only: don't ask the Hub.
        """
        with self.calls() as api:
            path = api.hf_hub_download(
                self.repo_id, name, repo_type=self.repo_type, revision=revision, force_download=again,
                local_files_only=local_only, cache_dir=self.cache,
            )
        return Path(path)

    def fetch(self, revision: str, name: str, folder: Path) -> Path:
        """Download a file below `folder`, bypassing the cache, and return its path."""
        with self.calls() as api:
            path = api.hf_hub_download(
                self.repo_id, name, repo_type=self.repo_type, revision=revision, local_dir=folder
            )
        return Path(path)

    # --- writing --------------------------------------------------------------------------------------------

    def commit(
        self,
        files: Mapping[str, Path | bytes],
        title: str,
        *,
        parent: str | None,
        branch: str = BRANCH,
        delete: Sequence[str] = (),
    ) -> str:
        """Make one commit and return its SHA; the Hub refuses it if the branch's head is no longer `parent`.

        Args:
            files: a file or its content by path in the repository.
            parent: SHA of the head that the commit is made for; None for an empty repository.
            delete: paths to remove; one that ends in / is a folder.
        """
        operations: list[Any] = [
            CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
            for name, content in files.items()
        ]
        operations += [CommitOperationDelete(path_in_repo=name) for name in delete]
        with self.calls() as api, self._front_matter_errors():
            done = api.create_commit(
                self.repo_id, operations, commit_message=title, parent_commit=parent, repo_type=self.repo_type,
                revision=branch,
            )
        return done.oid

    def squash(self, title: str) -> None:
        """Replace the main branch by one commit with its present files. Its history is lost for good."""
        with self.calls() as api:
            api.super_squash_history(self.repo_id, branch=BRANCH, commit_message=title, repo_type=self.repo_type)

    def tag(self, name: str, sha: str) -> None:
        """Tag a commit; an existing tag of that name is kept."""
        with self.calls() as api:
            api.create_tag(self.repo_id, tag=name, revision=sha, repo_type=self.repo_type, exist_ok=True)

    def make_branch(self, name: str, start: str) -> None:
        """Make a branch that begins at a revision; an existing one is kept."""
        with self.calls() as api:
            api.create_branch(self.repo_id, branch=name, revision=start, repo_type=self.repo_type, exist_ok=True)

    # --- the client -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def calls(self) -> Iterator[HfApi]:
        """Yield the Hub's client for a few calls, and turn whatever it raises into a HubError."""
        get_session().timeout = self.timeout_s or TIMEOUT_S
        show_bars = not are_progress_bars_disabled()
        if show_bars:
            disable_progress_bars()
        try:
            yield self._api
        except HubError:
            raise
        except Exception as error:
            # The client, its HTTP library and its uploader raise many kinds, and none may end a training.
            raise self._explained(error) from error
        finally:
            if show_bars:
                enable_progress_bars()

    @contextlib.contextmanager
    def _front_matter_errors(self) -> Iterator[None]:
        """Raise CardError for the plain ValueError of a client that had the Hub check README.md's front matter."""
        try:
            yield
        except ValueError as error:
            if "metadata in README" not in str(error) and not isinstance(error, UnicodeError):
                raise
            raise CardError(
                "the Hub refuses the front matter of README.md ({reason})", reason=self._masked(error),
                remedy=message("fix it there"),
            ) from error

    def _masked(self, text: object) -> str:
        """Return another program's text in one short line, without the token, which a server may repeat."""
        line, token = " ".join(str(text).split()), self._api.token or get_token()
        return (line.replace(token, "***") if token else line)[:MAX_DETAIL]

    def _explained(self, error: BaseException) -> HubError:
        """Return what went wrong, with its remedy."""
        chain = list(_chain(error))
        response = next((e.response for e in chain if getattr(e, "response", None) is not None), None)
        if response is not None:
            status = response.status_code
            problem, remedy = self._explained_status(status, chain)
            return HubError(
                problem, remedy=remedy, status=status, retry_after_s=_retry_after(response.headers),
                temporary=status in (408, 409, 412, 429) or status >= 500,
            )
        if any(isinstance(e, LocalTokenNotFoundError) for e in chain):
            return HubError("there is no Hugging Face token", remedy=MAKE_TOKEN)
        if any(isinstance(e, OfflineModeIsEnabled) for e in chain):
            return HubError("HF_HUB_OFFLINE is set, so the Hub is not asked", remedy=message("unset it"))
        # Depending on its version, the client uses httpx or httpx2.
        unreachable = (ConnectionError, TimeoutError, LocalEntryNotFoundError)
        if any(isinstance(e, unreachable) or type(e).__module__.startswith("httpx") for e in chain):
            return HubError(
                "the Hub ({address}) can't be reached", address=self._masked(self._api.endpoint), temporary=True,
                remedy=message("check the network, then try again"),
            )
        if any(is_full(e) for e in chain):
            return HubError("the disk is full", remedy=message("free some space"))
        if any(isinstance(e, (StopIteration, json.JSONDecodeError)) for e in chain):
            return HubError(
                "{address} did not answer as the Hub does", address=self._masked(self._api.endpoint), temporary=True,
                remedy=message("check HF_ENDPOINT and any proxy"),
            )
        return HubError(
            "the Hub's client failed ({kind}: {reason})", kind=type(error).__name__, reason=self._masked(error),
            temporary=True, remedy=message("try again, or update huggingface_hub"),
        )

    @property
    def _sends_token(self) -> bool:
        return self._api.token is not False and bool(self._api.token or get_token())

    def _explained_status(self, status: int, chain: list[BaseException]) -> tuple[Message, Message]:
        """Return the problem and the remedy for an answer of the Hub that is an HTTP error."""
        repo_id = self.repo_id
        if any(isinstance(e, RevisionNotFoundError) for e in chain):
            problem = message("{repo_id} has no such revision", repo_id=repo_id)
            return problem, message("name a tag such as epoch-0012, a branch, or a commit")
        # The kind for the cache means that a file isn't cached and the Hub is out of order.
        if any(isinstance(e, EntryNotFoundError) and not isinstance(e, LocalEntryNotFoundError) for e in chain):
            problem = message("{repo_id} has no such file", repo_id=repo_id)
            return problem, message("look at {address}", address=self._masked(self.url))
        if status == 401 and self._sends_token:
            return message("the Hub does not accept the Hugging Face token"), MAKE_TOKEN
        if self._api.token is False and status in (401, 403, 404):
            return message("{repo_id} is not on the Hub, or private", repo_id=repo_id), message("check the name")
        if status == 403:
            problem = message("the token may not write to {repo_id}", repo_id=repo_id)
            return problem, message("use a token that may, or another USER/NAME")
        if status in (401, 404):
            problem = message("{repo_id} is not on the Hub, or hidden from the token", repo_id=repo_id)
            return problem, message("check the name and the token")
        if status in (409, 412):
            return message("{repo_id} was changed by someone else just now", repo_id=repo_id), message("try again")
        if status == 429:
            limits = message("the Hub accepts no more for now (it limits requests, and commits to 128 an hour)")
            return limits, TRY_LATER
        if status >= 500:
            return message("the Hub is out of order ({status})", status=status), TRY_LATER
        said = next((e.server_message for e in chain if getattr(e, "server_message", None)), None)
        reason = self._masked(said) if said else message("without a reason")
        return message("the Hub refused ({status}: {reason})", status=status, reason=reason), message("fix that first")


def as_the_branch_moves(call: Callable[[], T]) -> T:
    """Return `call`'s result; repeat the call at once if someone else's commit came first.

    Raises:
        HubError: it failed for another reason, or others keep moving the branch.
    """
    for left in reversed(range(MOVED_TRIES)):
        try:
            return call()
        except HubError as error:
            if error.status not in (409, 412) or not left:
                raise
    raise AssertionError("unreachable")


def patiently(call: Callable[[], T]) -> T:
    """Return `call`'s result; repeat the call a few times if the Hub has a hiccup, for a person who is waiting.

    Raises:
        HubError: it failed each time, or for a reason that some seconds won't change.
    """
    for number in range(1, FEW_TRIES + 1):
        try:
            return call()
        except HubError as error:
            wait = max(WAIT_S * number, error.retry_after_s or 0)
            # Without a status there was no answer, perhaps no network: the cache is the better answer.
            if not error.temporary or error.status is None or number == FEW_TRIES or wait > LONGEST_WAIT_S:
                raise
            time.sleep(wait)
    raise AssertionError("unreachable")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait from a Retry-After header (the Hub sends no dates) or a RateLimit header."""
    if (value := headers.get("retry-after") or "").isdecimal():
        return min(float(value), MAX_RETRY_AFTER_S)
    match = re.search(r"\bt=(\d+)", headers.get("ratelimit") or "")
    return min(float(match[1]), MAX_RETRY_AFTER_S) if match else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, because the uploader wraps what the HTTP library raised."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
