"""One repository of the Hub, through huggingface_hub's client: in silence, not for ever, every failure a HubError."""

from __future__ import annotations

import contextlib
import errno
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

from hub.errors import CardError, HubError

BRANCH = "main"
# Of silence, on reading and writing alike. The client's own default is to wait for ever.
TIMEOUT_S = float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT") or 60)
MAX_JSON_BYTES = 10_000_000
MAX_RETRY_AFTER_S = 3600.0
MOVED_TRIES = 5
"""How often a commit is made anew for a branch that others keep moving."""
FEW_TRIES, WAIT_S, LONGEST_WAIT_S = 3, 1.0, 10.0
TOKENS_URL = "https://huggingface.co/settings/tokens"
NO_TOKEN = f"make one that can write at {TOKENS_URL}, then run `hf auth login` or set HF_TOKEN"

if "HF_HUB_VERBOSITY" not in os.environ:
    logging.set_verbosity_error()  # What matters of a retry is said by this package, in its own words.

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
        """The newest commit of the main branch; None if the repository is empty."""
        return self.branches.get(BRANCH)


class Repository:
    """A model, data set or Space repository.

    Args:
        repo_id: USER/NAME, or ORGANIZATION/NAME.
        repo_type: model, dataset or space.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved; False: none is sent.
        timeout_s: how long the Hub may be silent.

    Every method raises HubError where the Hub can't be reached or refuses.

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
                "{repo_id!r} can't be a repository's name; use USER/NAME, of letters, digits, '-', '_' and '.'",
                repo_id=self.repo_id,
            )

    @property
    def url(self) -> str:
        """Where people see it."""
        prefix = {"model": "", "dataset": "datasets/", "space": "spaces/"}[self.repo_type]
        return f"{self._api.endpoint}/{prefix}{self.repo_id}"

    @property
    def cache(self) -> Path:
        """Where `download` keeps files; apart for who sends no token, and may not see what was fetched with one."""
        return Path(constants.HF_HUB_CACHE) / ("" if self._api.token is not False else "without-token")

    # --- may it be written to -------------------------------------------------------------------------------

    def make(self, *, private: bool = False, space_sdk: str | None = None) -> None:
        """Make sure that it is there and may be written to by this token; make it if there is none.

        Args:
            private: make it private if it has to be made; refuse one that is public.
            space_sdk: what a Space runs on.
        """
        with self.calls() as api:
            if api.whoami().get("auth", {}).get("accessToken", {}).get("role") == "read":
                raise HubError("the Hugging Face token can only read; {NO_TOKEN}", NO_TOKEN=NO_TOKEN)
            # Not `private=False`: an organisation may have made private its own default.
            options = {"private": private or None, "exist_ok": True, "space_sdk": space_sdk}
            api.create_repo(self.repo_id, repo_type=self.repo_type, **options)
            # An existing repository passes create_repo even where the token may only read it. Old clients can't
            # ask for more than that; with them it shows at the first commit.
            writing = {"write": True} if "write" in inspect.signature(api.auth_check).parameters else {}
            api.auth_check(self.repo_id, repo_type=self.repo_type, **writing)
        if private and not self.is_private():
            raise HubError(
                "{repo_id} exists and is public; make it private in its settings, or ask for no private one",
                repo_id=self.repo_id,
            )

    def is_private(self) -> bool:
        """Whether only those may see it who were given leave to."""
        with self.calls() as api:
            return bool(api.repo_info(self.repo_id, repo_type=self.repo_type).private)

    def check_license(self, license: str) -> None:
        """Make sure that the Hub knows a licence; raises HubError if it doesn't."""
        with self.calls():
            try:
                ModelCard(f"---\nlicense: {json.dumps(license)}\n---\n").validate(repo_type=self.repo_type)
            except ValueError as error:
                raise HubError(
                    "the Hub knows no licence {license!r}; name one as it does: mit, apache-2.0, cc-by-4.0, other …",
                    license=license,
                ) from error

    # --- reading --------------------------------------------------------------------------------------------

    def refs(self) -> Refs:
        """Its branches and tags."""
        with self.calls() as api:
            refs = api.list_repo_refs(self.repo_id, repo_type=self.repo_type)
        return Refs(
            {branch.name: branch.target_commit for branch in refs.branches},
            {tag.name: tag.target_commit for tag in refs.tags},
        )

    def commits(self, revision: str) -> list[Commit]:
        """The commits up to a revision, newest first."""
        with self.calls() as api:
            found = api.list_repo_commits(self.repo_id, repo_type=self.repo_type, revision=revision)
        return [Commit(c.commit_id, c.title, c.created_at.isoformat(timespec="seconds")) for c in found]

    def files(self, revision: str) -> list[str]:
        """Paths of all files at a revision."""
        with self.calls() as api:
            return api.list_repo_files(self.repo_id, repo_type=self.repo_type, revision=revision)

    def sizes(self, revision: str, paths: Sequence[str]) -> dict[str, int]:
        """Bytes of those of the files that are there, without downloading them."""
        with self.calls() as api:
            found = api.get_paths_info(self.repo_id, list(paths), repo_type=self.repo_type, revision=revision)
        return {file.path: file.size for file in found if hasattr(file, "size")}

    def text(self, revision: str, name: str) -> str | None:
        """A small text file, past the cache; None if there is no such file."""
        if (size := self.sizes(revision, [name]).get(name)) is None:
            return None
        if size > MAX_JSON_BYTES:
            raise HubError(
                "{repo_id}/{name} has {size} bytes, too many for what it should be",
                repo_id=self.repo_id, name=name, size=size,
            )
        with tempfile.TemporaryDirectory() as folder, self.calls() as api:
            try:
                path = api.hf_hub_download(
                    self.repo_id, name, repo_type=self.repo_type, revision=revision, local_dir=folder
                )
            except LocalEntryNotFoundError:
                raise  # An EntryNotFoundError too, but it says that the Hub did not answer.
            except EntryNotFoundError:
                return None
            # Line ends stay as they are, and so do bytes that are no UTF-8, where the text is written again.
            return Path(path).read_bytes().decode("utf-8", "surrogateescape")

    def json(self, revision: str, name: str) -> dict[str, Any] | None:
        """A JSON object, past the cache; None if there is no such file, empty if it is something else."""
        text = self.text(revision, name)
        if text is None:
            return None
        with contextlib.suppress(ValueError, RecursionError):
            values = json.loads(text)
            return values if isinstance(values, dict) else {}
        return {}

    def download(self, revision: str, name: str, *, again: bool = False, local_only: bool = False) -> Path:
        """A file's path in the cache that huggingface_hub keeps; asks nothing for a cached file of a full SHA.

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
        """A file's path below `folder`, past the cache: for what is large and wanted once."""
        with self.calls() as api:
            path = api.hf_hub_download(
                self.repo_id, name, repo_type=self.repo_type, revision=revision, local_dir=folder
            )
        return Path(path)

    # --- writing --------------------------------------------------------------------------------------------

    def commit(
        self,
        files: Mapping[str, Path | bytes],
        message: str,
        *,
        parent: str | None,
        branch: str = BRANCH,
        delete: Sequence[str] = (),
    ) -> str:
        """One commit, refused by the Hub if the branch's head is no longer `parent`; its SHA.

        Args:
            files: by path in the repository, a file or its content.
            parent: SHA of the head that the commit is made for.
            delete: paths to remove; one that ends in / is a folder.
        """
        operations: list[Any] = [
            CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
            for name, content in files.items()
        ]
        operations += [CommitOperationDelete(path_in_repo=name) for name in delete]
        with self.calls() as api, _front_matter_errors():
            done = api.create_commit(
                self.repo_id, operations, commit_message=message, parent_commit=parent, repo_type=self.repo_type,
                revision=branch,
            )
        return done.oid

    def squash(self, message: str) -> None:
        """Make the main branch one commit, of what is there now. What was there before is gone for good."""
        with self.calls() as api:
            api.super_squash_history(
                self.repo_id, branch=BRANCH, commit_message=message, repo_type=self.repo_type
            )

    def tag(self, name: str, sha: str) -> None:
        """Tag a commit; a tag of that name that is there already stays."""
        with self.calls() as api:
            api.create_tag(self.repo_id, tag=name, revision=sha, repo_type=self.repo_type, exist_ok=True)

    def make_branch(self, name: str, start: str) -> None:
        """Make a branch that begins at a revision; one that is there already stays."""
        with self.calls() as api:
            api.create_branch(self.repo_id, branch=name, revision=start, repo_type=self.repo_type, exist_ok=True)

    # --- the client -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def calls(self) -> Iterator[HfApi]:
        """The Hub's client for a few calls."""
        get_session().timeout = self.timeout_s or TIMEOUT_S
        show_bars = not are_progress_bars_disabled()
        if show_bars:
            disable_progress_bars()
        try:
            yield self._api
        except CardError as error:
            raise CardError(self._masked(str(error))) from error
        except HubError:
            raise
        except Exception as error:
            # Whatever the client, its HTTP library or its uploader raise, a training goes on.
            raise self._explained(error) from error
        finally:
            if show_bars:
                enable_progress_bars()

    def _explained(self, error: BaseException) -> HubError:
        """One sentence with the remedy."""
        chain = list(_chain(error))
        response = next((e.response for e in chain if getattr(e, "response", None) is not None), None)
        about: dict[str, Any] = {}
        if response is not None:
            text = self._explain_status(response.status_code, chain)
            about = {
                "status": response.status_code,
                "temporary": response.status_code in (408, 409, 412, 429) or response.status_code >= 500,
                "retry_after_s": _retry_after(response.headers),
            }
        elif any(isinstance(e, LocalTokenNotFoundError) for e in chain):
            text = f"there is no Hugging Face token; {NO_TOKEN}"
        elif any(isinstance(e, OfflineModeIsEnabled) for e in chain):
            text = "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it"
        elif any(isinstance(e, (ConnectionError, TimeoutError, LocalEntryNotFoundError)) for e in chain) or any(
            # Of httpx or httpx2, whichever the client stands on.
            type(e).__module__.startswith("httpx")
            for e in chain
        ):
            text = f"the Hub ({self._api.endpoint}) can't be reached; check the network, then try again"
            about = {"temporary": True}
        elif any(isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT) for e in chain):
            text = "the disk is full; free some space"
        elif any(isinstance(e, (StopIteration, json.JSONDecodeError)) for e in chain):
            text = f"{self._api.endpoint} did not answer as the Hub does; check HF_ENDPOINT and any proxy"
            about = {"temporary": True}
        else:
            detail = self._masked(" ".join(str(error).split()))[:300]
            text = f"the Hub's client failed ({type(error).__name__}: {detail}); try again, or update huggingface_hub"
            about = {"temporary": True}
        return HubError(self._masked(text), **about)

    def _masked(self, text: str) -> str:
        """`text` without the token, which a server may quote in its answer."""
        token = self._api.token or get_token()
        return text.replace(token, "***") if token else text

    @property
    def _sends_token(self) -> bool:
        return self._api.token is not False and bool(self._api.token or get_token())

    def _explain_status(self, status: int, chain: list[BaseException]) -> str:
        if any(isinstance(e, RevisionNotFoundError) for e in chain):
            return f"{self.repo_id} has no such revision; name a tag such as epoch-0012, a branch, or a commit"
        # The one of the cache is raised where a file is not here and the Hub is out of order.
        if any(isinstance(e, EntryNotFoundError) and not isinstance(e, LocalEntryNotFoundError) for e in chain):
            return f"{self.repo_id} has no such file; look at {self.url}"
        if status == 401 and self._sends_token:
            return f"the Hub does not accept the Hugging Face token; {NO_TOKEN}"
        if self._api.token is False and status in (401, 403, 404):
            return f"{self.repo_id} is not on the Hub, or private; check the name"
        if status == 403:
            return f"the token may not write to {self.repo_id}; use a token that may, or another USER/NAME"
        if status in (401, 404):
            return f"{self.repo_id} is not on the Hub, or hidden from the token; check the name and the token"
        if status in (409, 412):
            return f"{self.repo_id} was changed by someone else just now; try again"
        if status == 429:
            return "the Hub takes no more for now (it limits requests, and commits to 128 an hour); try again later"
        if status >= 500:
            return f"the Hub is out of order ({status}); try again later"
        said = next((e.server_message for e in chain if getattr(e, "server_message", None)), None)
        said = self._masked(" ".join((said or "without a reason").split()))[:300]
        return f"the Hub refused ({status}: {said}); mend that first"


def as_the_branch_moves(call: Callable[[], T]) -> T:
    """`call`'s result, called again at once where someone else's commit came first.

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
    """`call`'s result, tried a few times where the Hub has a hiccup; for someone who is waiting.

    Raises:
        HubError: it failed each time, or for a reason that waiting some seconds does not mend.
    """
    for number in range(1, FEW_TRIES + 1):
        try:
            return call()
        except HubError as error:
            wait = max(WAIT_S * number, error.retry_after_s or 0)
            # No answer at all, as without a network: the cache is the better answer.
            if not error.temporary or error.status is None or number == FEW_TRIES or wait > LONGEST_WAIT_S:
                raise
            time.sleep(wait)
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _front_matter_errors() -> Iterator[None]:
    """The client has the Hub judge README.md's front matter before it commits, and raises a plain ValueError."""
    try:
        yield
    except ValueError as error:
        if "metadata in README" not in str(error) and not isinstance(error, UnicodeError):
            raise
        said = " ".join(str(error).split())[:300]
        raise CardError("the Hub refuses the front matter of README.md ({said}); mend it there", said=said) from error


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, by a Retry-After header (the Hub sends no dates) or a RateLimit header."""
    if (value := headers.get("retry-after") or "").isdecimal():
        return min(float(value), MAX_RETRY_AFTER_S)
    match = re.search(r"\bt=(\d+)", headers.get("ratelimit") or "")
    return min(float(match[1]), MAX_RETRY_AFTER_S) if match else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it came from; the uploader wraps what the HTTP library raised."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
