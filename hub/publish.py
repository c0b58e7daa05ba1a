"""A run's epochs to a Hub model repository: each one commit, and one tag on that commit.

The repository's root mirrors an epoch's folder, so that `USER/NAME@epoch-0012` is what RUN/epoch-0012 was:

    gen_ab.safetensors  gen_ba.safetensors  config.json  checkpoint.json  samples/
    metrics.jsonl  curves.png               the run's, as they were when the commit was made
    README.md                               the card; what people write outside its generated block is kept

What is published is told by the repository alone: the tags, and the commits whose tag is missing because
something broke between the two calls. Nothing is noted on disk that could differ from it.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, get_session, get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
    validate_repo_id,
)

from cyclegan.checkpoint import (
    EPOCH_NAME,
    CheckpointError,
    CheckpointInfo,
    direction_name,
    epoch_name,
    read_info,
    read_json,
)
from hub import HubError

__all__ = ["HubError", "Publisher"]

BRANCH = "main"
CHECKPOINT_FILES = ("gen_*.safetensors", "config.json", "checkpoint.json", "samples/*.png")
RUN_FILES = ("metrics.jsonl", "curves.png")
TIMEOUT_S = 60.0  # Of silence. The client's own default is to wait for ever, and training would wait with it.
BEGIN = "<!-- cyclegan: generated from here; text above and below is yours and is kept -->"
END = "<!-- cyclegan: generated to here -->"
FRONT_MATTER = """---
pipeline_tag: image-to-image
tags:
- cyclegan
- gan
- unpaired-image-to-image-translation
---
"""


class Publisher:
    """Publishes runs' epochs to one model repository.

    Args:
        repo_id: USER/NAME, or ORGANIZATION/NAME.
        private: make the repository private if it has to be made; refuse one that is public.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved.

    Raises:
        HubError: `repo_id` can't be a repository's name.
    """

    def __init__(
        self, repo_id: str, *, private: bool = False, endpoint: str | None = None, token: str | None = None
    ) -> None:
        self.repo_id, self.private = repo_id, private
        self.published: dict[Path, dict[int, str]] = {}
        """By run, commit SHA by epoch, as last seen on the Hub."""
        self._api = HfApi(endpoint=endpoint, token=token)
        self._own_head: tuple[Path, str] | None = None
        try:
            validate_repo_id(repo_id)
        except HFValidationError:
            repo_id = ""
        if repo_id.count("/") != 1:
            raise HubError(
                f"{self.repo_id!r} can't be a repository's name; use USER/NAME, of letters, digits, '-', '_' and '.'"
            )

    @property
    def url(self) -> str:
        """Where people see the repository."""
        return f"{self._api.endpoint}/{self.repo_id}"

    # --- what a run calls -----------------------------------------------------------------------------------

    def check(self, run: Path | None = None) -> None:
        """Make sure, before any training, that `run` can be published: token, permission, repository, network.

        Makes the repository if there is none.

        Raises:
            HubError: it can't; also where the repository holds another run's epochs, or is public against --private.
        """
        with self._client() as api:
            role = api.whoami().get("auth", {}).get("accessToken", {}).get("role")
            if role == "read":
                raise HubError(
                    "the Hugging Face token can only read; make one that can write at "
                    "https://huggingface.co/settings/tokens, then run `hf auth login` or set HF_TOKEN"
                )
            # Not `private=False`: an organisation may have made private its own default.
            api.create_repo(self.repo_id, private=self.private or None, exist_ok=True)
            # An existing repository passes create_repo even where the token may only read it. Old clients can't
            # ask for more than that; with them it shows at the first epoch.
            writing = {"write": True} if "write" in inspect.signature(api.auth_check).parameters else {}
            api.auth_check(self.repo_id, **writing)
            if self.private and not api.model_info(self.repo_id, timeout=TIMEOUT_S).private:
                raise HubError(
                    f"{self.repo_id} exists and is public; make it private in its settings, or leave out --private"
                )
        if run is not None:
            self._look(run)

    def publish(self, run: Path, epoch: int) -> str:
        """Publish RUN/epoch-NNNN as one commit and its tag; the commit's SHA.

        Does only what is still to be done: nothing for an epoch that has its tag, only the tag for one whose
        commit is there without it, as after a crash or a lost reply between the two.

        Raises:
            HubError: the Hub can't be reached or refuses; calling again later is safe.
            CheckpointError: the epoch's folder is missing or damaged.
        """
        run = Path(run)
        folder = run / epoch_name(epoch)
        info, record = read_info(folder), read_json(folder / "checkpoint.json")
        if info.epoch != epoch:
            raise CheckpointError(f"{folder.name} says that it is epoch {info.epoch}; give the folder its name back")
        head, tags = self._look(run)
        sha = tags.get(epoch)
        if sha is None:
            sha = self._untagged_commit(head, record) or self._commit(run, folder, info, head)
            with self._client() as api:
                api.create_tag(self.repo_id, tag=info.tag, revision=sha)
        elif not record.get("run_id") and not _same(record, self._json(sha, "checkpoint.json")):
            raise HubError(f"{self.repo_id} holds another epoch {epoch} already; choose another USER/NAME")
        self.published.setdefault(run, {})[epoch] = sha
        return sha

    def push(self, run: Path) -> Iterator[str]:
        """Publish every epoch of `run` that isn't on the Hub, oldest first; a sentence after each.

        A damaged epoch is said and left out, for it would bar the way to all later ones.

        Raises:
            HubError: the Hub can't be reached or refuses; what came before is published.
        """
        for epoch in self.unpublished(run):
            try:
                self.publish(run, epoch)
            except CheckpointError as error:
                yield f"warning: not published: {error}"
            else:
                yield f"epoch {epoch} is on the Hub: {self.url}/tree/{epoch_name(epoch)}"

    def publish_pending(self, run: Path) -> list[str]:
        """`push` for the training loop: call it after each epoch, and say the sentences that it returns.

        Stops at the first failure, which becomes a sentence too: the next call tries again from there.
        """
        said: list[str] = []
        try:
            for sentence in self.push(run):
                said.append(sentence)
        except HubError as error:
            said.append(f"warning: {_names(self.unpublished(run))} not published yet: {error}")
        return said

    def missing(self, run: Path) -> str:
        """What of `run` is not on the Hub, and the command that publishes it later; empty if all is."""
        if not (epochs := self.unpublished(run)):
            return ""
        command = ["python", "-m", "hub", "push", str(run), self.repo_id, *(["--private"] if self.private else [])]
        return f"warning: not on the Hub: {_names(epochs)}; publish later with: {shlex.join(command)}"

    def unpublished(self, run: Path) -> list[int]:
        """Epochs of `run` that were not on the Hub when it was last asked, oldest first."""
        known = self.published.get(Path(run), {})
        return [epoch for epoch in _epochs(run) if epoch not in known]

    # --- what is there --------------------------------------------------------------------------------------

    def _look(self, run: Path) -> tuple[str | None, dict[int, str]]:
        """The branch's head, and the commit of each epoch's tag.

        Raises:
            HubError: no answer, or the repository holds another run.
        """
        run = Path(run)
        with self._client() as api:
            refs = api.list_repo_refs(self.repo_id)
        head = next((branch.target_commit for branch in refs.branches if branch.name == BRANCH), None)
        tags = {int(match[1]): tag.target_commit for tag in refs.tags if (match := EPOCH_NAME.fullmatch(tag.name))}
        run_id = _run_id(run)
        if head is not None and (run, head) != self._own_head:
            there = self._json(head, "checkpoint.json")
            if there is not None and there.get("run_id") != run_id:
                raise HubError(f"{self.repo_id} holds the epochs of another run; choose another USER/NAME")
            self._own_head = run, head
        if run_id:  # Without one, as imported weights are, a tag alone does not tell whose epoch it is.
            self.published[run] = tags.copy()
        return head, tags

    def _untagged_commit(self, head: str | None, record: Mapping[str, Any]) -> str | None:
        """The commit that already holds the epoch of this checkpoint.json, if there is one."""
        if head is None:
            return None
        with self._client() as api:
            commits = api.list_repo_commits(self.repo_id, revision=head)
        for commit in commits:
            if commit.title == _message(record["epoch"]) and _same(
                record, self._json(commit.commit_id, "checkpoint.json")
            ):
                return commit.commit_id
        return None

    def _json(self, revision: str, name: str) -> dict[str, Any] | None:
        """A JSON object of the repository; None if there is no such file, empty if it is something else."""
        text = self._text(revision, name)
        if text is None:
            return None
        with contextlib.suppress(ValueError, RecursionError):
            values = json.loads(text)
            return values if isinstance(values, dict) else {}
        return {}

    def _text(self, revision: str, name: str) -> str | None:
        """A small text file of the repository; None if there is no such file."""
        with tempfile.TemporaryDirectory() as folder, self._client() as api:
            try:
                path = api.hf_hub_download(self.repo_id, name, revision=revision, local_dir=folder)
            except LocalEntryNotFoundError:
                raise  # An EntryNotFoundError too, but it says that the Hub did not answer.
            except EntryNotFoundError:
                return None
            return Path(path).read_text(encoding="utf-8", errors="replace")

    # --- writing --------------------------------------------------------------------------------------------

    def _commit(self, run: Path, folder: Path, info: CheckpointInfo, head: str | None) -> str:
        """Commit the epoch's files on top of `head`; refused by the Hub if `head` has moved meanwhile."""
        files: dict[str, str | bytes] = {}
        for pattern in CHECKPOINT_FILES:
            files |= {path.relative_to(folder).as_posix(): str(path) for path in sorted(folder.glob(pattern))}
        # As bytes: they may grow while they are uploaded.
        files |= {name: (run / name).read_bytes() for name in RUN_FILES if (run / name).is_file()}
        card = self._card(info, sorted(files), None if head is None else self._text(head, "README.md"))
        if card is not None:
            files["README.md"] = card.encode()
        with self._client() as api:
            commit = api.create_commit(
                self.repo_id,
                [CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in files.items()],
                commit_message=_message(info.epoch),
                parent_commit=head,
            )
        self._own_head = run, commit.oid
        return commit.oid

    def _card(self, info: CheckpointInfo, names: list[str], existing: str | None) -> str | None:
        """The card with a new generated block; None to leave alone one that a person wrote without such a block."""
        data = info.config.data
        a, b = (" ".join(name.split()) for name in (data.domain_a, data.domain_b))
        lines = [
            BEGIN,
            "",
            f"# {a} ↔ {b}",
            "",
            f"A CycleGAN that turns {a} (A) into {b} (B) and back, learnt from pictures that are not paired. "
            f"This is epoch {info.epoch}; every epoch has its tag, `epoch-0001` and on.",
            "",
        ]
        for direction in info.directions:
            if f"samples/{direction}.png" in names:
                lines += [f"![{direction_name(direction)}](samples/{direction}.png)", ""]
        if "curves.png" in names:
            lines += ["![losses](curves.png)", ""]
        lines += [
            "With the program that trained it:",
            "",
            "```python",
            "from pathlib import Path",
            "from huggingface_hub import snapshot_download",
            "from cyclegan.checkpoint import load_checkpoint",
            "",
            f'checkpoint = load_checkpoint(Path(snapshot_download("{self.repo_id}", revision="{info.tag}")))',
            f'generator = checkpoint.generators["{info.directions[0]}"]  # pictures as tensors in [-1, 1]',
            "```",
            "",
            END,
        ]
        block = "\n".join(lines)
        if existing is None:
            return f"{FRONT_MATTER}\n{block}\n"
        before, begin, rest = existing.partition(BEGIN)
        _, end, after = rest.partition(END)
        return f"{before}{block}{after}" if begin and end else None

    # --- the client -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _client(self) -> Iterator[HfApi]:
        """The Hub's client for a few calls: in silence, not for ever, and every failure a HubError."""
        get_session().timeout = TIMEOUT_S
        show_bars = not are_progress_bars_disabled()
        if show_bars:
            disable_progress_bars()
        try:
            yield self._api
        except HubError:
            raise
        except Exception as error:
            # Whatever the client, its HTTP library or its uploader raise, a training goes on.
            raise HubError(self._explain(error)) from error
        finally:
            if show_bars:
                enable_progress_bars()

    def _explain(self, error: BaseException) -> str:
        """One sentence with the remedy; never with the token, which a server may quote in its answer."""
        chain = list(_chain(error))
        response = next((e.response for e in chain if getattr(e, "response", None) is not None), None)
        if response is not None:
            text = self._explain_status(response.status_code, chain)
        elif any(isinstance(e, LocalTokenNotFoundError) for e in chain):
            text = (
                "there is no Hugging Face token; make one that can write at "
                "https://huggingface.co/settings/tokens, then run `hf auth login` or set HF_TOKEN"
            )
        elif any(isinstance(e, OfflineModeIsEnabled) for e in chain):
            text = "HF_HUB_OFFLINE is set, so nothing can be published; unset it"
        elif any(isinstance(e, (ConnectionError, TimeoutError, LocalEntryNotFoundError)) for e in chain) or any(
            # Of httpx or httpx2, whichever the client stands on.
            type(e).__module__.startswith("httpx")
            for e in chain
        ):
            text = f"the Hub ({self._api.endpoint}) can't be reached; check the network, then try again"
        else:
            cause = chain[-1]
            detail = " ".join(str(cause).split())[:300]
            text = f"the Hub's client failed ({type(cause).__name__}: {detail}); try again, or update huggingface_hub"
        token = self._api.token or get_token()
        return text.replace(token, "***") if token else text

    def _explain_status(self, status: int, chain: list[BaseException]) -> str:
        if status == 401:
            return (
                "the Hub does not accept the Hugging Face token; make one that can write at "
                "https://huggingface.co/settings/tokens, then run `hf auth login` or set HF_TOKEN"
            )
        if status == 403:
            return f"the token may not write to {self.repo_id}; use a token that may, or another USER/NAME"
        if status == 404:
            return f"{self.repo_id} is not on the Hub, or hidden from the token; check the name and the token"
        if status in (409, 412):
            return f"{self.repo_id} was changed by someone else just now; try again"
        if status == 429:
            return "the Hub takes no more for now (it limits requests, and commits to 128 an hour); try again later"
        if status >= 500:
            return f"the Hub is out of order ({status}); try again later"
        said = next((e.server_message for e in chain if getattr(e, "server_message", None)), None)
        return f"the Hub refused ({status}: {' '.join((said or 'without a reason').split())[:300]}); mend that first"


def _message(epoch: int) -> str:
    return f"Epoch {epoch}"


def _names(epochs: list[int]) -> str:
    """`epoch-0002`, or `epoch-0002 to epoch-0140 (139 epochs)` where a list would fill the screen."""
    if len(epochs) > 5:
        return f"{epoch_name(epochs[0])} to {epoch_name(epochs[-1])} ({len(epochs)} epochs)"
    return ", ".join(map(epoch_name, epochs))


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any] | None) -> bool:
    """Whether two checkpoint.json are of the same epoch of the same run; imported weights have only their sums."""
    keys = ("epoch", "run_id") if ours.get("run_id") else ("epoch", "sha256")
    return theirs is not None and all(ours.get(key) == theirs.get(key) for key in keys)


def _epochs(run: Path) -> list[int]:
    """The epochs in a run's folder, oldest first."""
    names = [path.name for path in Path(run).glob("epoch-*") if path.is_dir()]
    return sorted(int(match[1]) for name in names if (match := EPOCH_NAME.fullmatch(name)))


def _run_id(run: Path) -> str | None:
    """The run's id; None for imported weights, which have none."""
    epochs = _epochs(run)
    paths = [Path(run) / "run.json", *(Path(run) / epoch_name(epoch) / "checkpoint.json" for epoch in epochs[-1:])]
    for path in paths:
        if path.is_file():
            return read_json(path).get("run_id")
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it came from; the uploader wraps what the HTTP library raised."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
