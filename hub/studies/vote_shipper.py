"""A study's votes to a Hub data set, from a machine whose disk may be gone tomorrow.

    README.md                        the card; it tells `datasets.load_dataset` where the rows are
    data/2026-07-05/8c5d….jsonl      a shard: JSON objects, one per line, that one process took on one day (UTC)

A shard only ever grows, and no two processes write to the same one: its name is a new UUID. So a process that starts
on an empty disk can't write over what was pushed before, and what a lost reply leaves in doubt is settled by comparing
sizes. That is why this is not huggingface_hub's CommitScheduler, which swallows what fails.

What a row means is the caller's affair. Where a participant withdraws, `VoteShipper.erase` takes rows off the Hub, out
of its history too. It never shortens a shard: what is left of one gets a new name, and the old one is deleted. A
process whose shard is gone from the Hub leaves it, and goes on in a new one with what had not got there. What an
earlier process left in the same folder has to be removed by hand: nobody knows that it was on the Hub once, so it is
pushed again.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import logging
import os
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hub.client import Repository, as_the_branch_moves
from hub.errors import HubError

MIN_EVERY_S = 30.0
"""The Hub takes 128 commits an hour per repository."""
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
MAX_SHARD_BYTES = 1_000_000
"""A larger one is continued in a new file: each push sends a shard whole, and the Hub keeps every version of it."""
CARD = "README.md"
ERASING = ".erasing"
"""In the repository from when rows are removed until its history is gone too, whatever breaks in between."""

log = logging.getLogger(__name__)


class _Row(NamedTuple):
    """A row on the local disk that is not known to be on the Hub."""

    shard: str
    end: int
    """Bytes of the shard up to and with this row."""
    since: float


class VoteShipper:
    """Keeps rows on the local disk and brings them to a data set repository, in a thread of its own.

    A process that is forked from this one begins a shard and a thread of its own.

    Args:
        repo_id: USER/NAME, or ORGANIZATION/NAME.
        folder: where shards lie, in the same subfolders as in the repository; made if there is none. Shards that
            an earlier process left there are pushed too, as far as the Hub does not have them.
        private: make the repository private if it has to be made; refuse one that is public.
        every_s: seconds between two pushes; the rows of the meantime share a commit.
        columns: `datasets` type by column for a new card, such as {"server_time": "timestamp[us, tz=UTC]"}; all of
            the rows' columns or none. Without it `datasets` takes the types from the first shard, and can't load one
            that has a number where that has only nulls, 812.5 where it has 812, or a time to the microsecond.
        about: what a new card says of the rows.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved.

    Raises:
        HubError: `repo_id` can't be a repository's name.
        ValueError: `every_s` is less than MIN_EVERY_S.
        OSError: the folder can't be made or read.
    """

    def __init__(
        self,
        repo_id: str,
        folder: str | Path,
        *,
        private: bool = True,
        every_s: float = 60.0,
        columns: Mapping[str, str] | None = None,
        about: str = "The votes of a study, as they were given: one row per vote.",
        endpoint: str | None = None,
        token: str | None = None,
    ) -> None:
        if every_s < MIN_EVERY_S:
            raise ValueError(
                f"every_s is {every_s:g}, but the Hub takes 128 commits an hour; use {MIN_EVERY_S:g} or more"
            )
        self.repository = Repository(repo_id, repo_type="dataset", endpoint=endpoint, token=token)
        self.folder, self.private, self.every_s, self.columns = Path(folder), private, every_s, columns
        self.about = about
        self._ready = self._started = self._closing = self._stopped = False
        self._begin()
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.glob("data/*/*.jsonl")):
            lines = path.read_bytes().split(b"\n")[:-1]  # A crash may have left half a line at the end.
            ends = itertools.accumulate(len(line) + 1 for line in lines)
            shard, since = path.relative_to(self.folder).as_posix(), path.stat().st_mtime
            self._waiting += [_Row(shard, end, since) for end in ends]
        if hasattr(os, "register_at_fork"):
            forked = weakref.WeakMethod(self._forked)
            os.register_at_fork(after_in_child=lambda: (call := forked()) and call())

    def _begin(self) -> None:
        """The state of a process that has not taken a row yet."""
        self._changed, self._pushing = threading.Condition(), threading.Lock()
        self._waiting: list[_Row] = []
        self._file: Any = None
        self._shard, self._size = "", 0
        self._sent: dict[str, int] = {}
        """By shard, how many bytes the Hub is known to have had of it."""
        self._head: str | None = None
        self._moved = False
        self._thread: threading.Thread | None = None
        self._trouble: HubError | None = None
        self._failures = 0
        self._retry_at = self._next_commit = 0.0

    def _forked(self) -> None:
        """In a forked child: the thread is gone, locks may be held for ever, and the shard is the parent's."""
        file = self._file
        self._begin()
        if file is not None:
            file.close()  # The child's copy of it.

    # --- what the study calls -------------------------------------------------------------------------------

    def start(self) -> None:
        """Make sure that the repository is there with its card, push what is left over, then push in a thread.

        A Hub that is out of reach or out of order does not stop a study: that is logged, told by `status`, and tried
        again in the thread until it works. Finding out takes a minute at worst, if the Hub is silent.

        Raises:
            HubError: what waiting does not mend: a bad token, no permission, or it is public against `private`.
        """
        try:
            self.push()
        except HubError as error:
            if not error.temporary:
                raise
        with self._changed:
            self._started = True
            self._run_thread()

    def restore(self) -> Iterator[dict[str, Any]]:
        """Every row on the Hub, of all processes, by day and shard; read whole before the first is handed out.

        Call `start` first: it makes the repository, and pushes what an earlier process left on a disk that survived.
        Lines that are not JSON objects are skipped and logged.

        Raises:
            HubError: the Hub can't be reached or refuses; no row is handed out then.
        """
        return self._rows(self._contents(self.repository.refs().head))

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a row to the local disk, for good, and have it pushed; safe to call from any thread.

        Raises:
            ValueError: it is not a JSON object, or has a number in it that JSON can't write.
            OSError: the disk is full; nothing of the row is kept.
        """
        line = _line(row)
        with self._changed:
            self._keep(line, time.time())
            if self._started and not self._closing:
                self._run_thread()
            self._changed.notify_all()

    def push(self) -> None:
        """Push what is not pushed, at once, as one commit; no commit if there is nothing.

        Raises:
            HubError: the Hub can't be reached or refuses; calling again later is safe, and the thread does.
        """
        with self._pushing:
            try:
                self._push()
            except Exception as caught:
                error = caught
                if not isinstance(caught, HubError):  # A shard that can't be read, a fault of this program.
                    error = HubError(
                        "pushing failed ({name}: {caught}); see the log",
                        name=type(caught).__name__, caught=caught, temporary=True,
                    )
                    log.exception("votes are not pushed to %s", self.repository.repo_id)
                self._after(error)
                if error is caught:
                    raise
                raise error from caught
            with self._changed:
                if self._trouble:
                    log.info("votes are pushed to %s again", self.repository.repo_id)
                self._trouble, self._failures, self._retry_at = None, 0, 0.0

    def erase(self, gone: Callable[[Mapping[str, Any]], bool]) -> int:
        """Remove rows from the Hub, of all processes, and its history with them; how many.

        Whoever downloaded them meanwhile still has them. Rows of this process that wait are pushed first.

        Args:
            gone: whether a row is to go.

        Raises:
            HubError: the Hub can't be reached or refuses. Call it again then: what is left to do is done.
        """
        with self._pushing:
            self._push()
            count = as_the_branch_moves(lambda: self._erase(gone))
            head = self.repository.refs().head
            if ERASING in self.repository.sizes(head, [ERASING]):
                as_the_branch_moves(self._end_erasing)
            return count

    @property
    def moved(self) -> bool:
        """Whether somebody else has committed since this was asked last; noticed at each push."""
        with self._changed:
            moved, self._moved = self._moved, False
            return moved

    @property
    def unpushed(self) -> int:
        """How many rows are not on the Hub; an earlier process's count until the Hub has said that it has them."""
        with self._changed:
            return len(self._waiting)

    @property
    def status(self) -> str:
        """One sentence on what is not on the Hub, since when and why; empty if there is nothing to worry about."""
        with self._changed:
            count, trouble = len(self._waiting), self._trouble
            since = min((row.since for row in self._waiting), default=0.0)
            late = count > 0 and time.time() - since > 3 * self.every_s
            if not trouble and not late:
                return ""
            said = f"{self.repository.repo_id} is not ready for votes yet"
            if count:
                when = datetime.fromtimestamp(since, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
                votes = "1 vote is" if count == 1 else f"{count} votes are"
                said = f"{votes} not on the Hub yet, the oldest since {when}"
            said += f": {trouble}" if trouble else ", and no push has come to its end since"
            if trouble and self._thread is not None and self._thread.is_alive():
                said += f" (next try in {max(0.0, self._retry_at - time.monotonic()):.0f} s)"
            return said

    def close(self, patience_s: float = 30.0) -> bool:
        """Push what is left, waiting `patience_s` at most, and end the thread; whether everything is on the Hub.

        What is not stays in the folder for the next process. So do rows that are appended after this.
        """
        with self._changed:
            self._closing, self._stopped, self._failures = True, False, 0
            if not (self._trouble and self._trouble.retry_after_s):
                self._retry_at = 0.0
            if self._waiting:
                self._run_thread()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(patience_s)
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self._close_shard()
            return not self._waiting

    # --- the thread -----------------------------------------------------------------------------------------

    def _run_thread(self) -> None:
        """Start the thread unless it runs; called with the lock held."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="votes", daemon=True)
            with contextlib.suppress(RuntimeError):  # Python is ending; the rows are safe on the disk.
                self._thread.start()

    def _work(self) -> None:
        while self._wait():
            with contextlib.suppress(HubError):  # `push` has logged it, and `status` tells it.
                self.push()

    def _wait(self) -> bool:
        """Wait until it is time for a push; false at the end."""
        with self._changed:
            while not self._stopped:
                hopeless = self._failures > 0 and self._trouble is not None and not self._trouble.temporary
                if self._closing and (hopeless or not self._waiting):
                    return False
                when = self._retry_at if self._closing else max(self._retry_at, self._next_commit)
                pause = when - time.monotonic()
                if self._ready and not self._waiting:
                    self._changed.wait()
                elif pause > 0:
                    self._changed.wait(pause)
                else:
                    return True
            return False

    def _after(self, error: HubError) -> None:
        """Note what failed, and when it will be tried again."""
        with self._changed:
            wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._failures, 20))
            self._retry_at = time.monotonic() + max(wait, error.retry_after_s or 0)
            if str(error) != str(self._trouble):  # An outage of an hour is one line, not a hundred.
                log.warning("votes are not pushed to %s: %s", self.repository.repo_id, error)
            self._failures, self._trouble = self._failures + 1, error

    # --- to the Hub and back --------------------------------------------------------------------------------

    def _push(self) -> None:
        if not self._ready:
            self.repository.make(private=self.private)
        as_the_branch_moves(self._commit)

    def _commit(self) -> None:
        """One commit with every shard that is longer here than on the Hub, and with the card if there is none."""
        with self._changed:
            waiting = list(self._waiting)
        if self._ready and not waiting:
            return
        ends = {row.shard: row.end for row in waiting}  # In order, so that each shard's last row stays.
        head = self.repository.refs().head
        on_hub = self.repository.sizes(head, [CARD, ERASING, *ends]) if head else {}
        if ERASING in on_hub:
            self._end_erasing()
            head = self.repository.refs().head
        with self._changed:
            self._moved |= self._head not in (None, head)
        if cut := [shard for shard in ends if on_hub.get(shard, 0) < self._sent.get(shard, 0)]:
            self._leave(cut)
            return self._commit()
        new = [row for row in waiting if row.end > on_hub.get(row.shard, 0)]
        # Up to the end of a row that is on the disk for good, however the file grows meanwhile.
        files = {shard: (self.folder / shard).read_bytes()[: ends[shard]] for shard in {row.shard for row in new}}
        for shard, content in files.items():
            if len(content) < ends[shard]:
                raise OSError(f"{self.folder / shard} has become shorter")
        message = f"Add {len(new)} vote{'s' if len(new) > 1 else ''}" if new else "Add the card"
        if not self._ready and CARD not in on_hub:
            files[CARD] = self._card()
        if files:
            head = self.repository.commit(files, message, parent=head)
        on_hub |= {shard: len(content) for shard, content in files.items()}
        with self._changed:
            self._ready, self._head = True, head
            self._sent |= {shard: on_hub[shard] for shard in ends if shard in on_hub}
            self._waiting = [row for row in self._waiting if row.end > on_hub.get(row.shard, 0)]
            self._next_commit = time.monotonic() + self.every_s

    def _erase(self, gone: Callable[[Mapping[str, Any]], bool]) -> int:
        """One commit without the rows that are to go; how many went."""
        head = self.repository.refs().head
        files: dict[str, Path | bytes] = {}
        shards, count = [], 0
        for name, content in self._contents(head).items():
            lines = content.splitlines(keepends=True)
            kept = [line for line in lines if (row := _row(line)) is None or not gone(row)]
            if len(kept) == len(lines):
                continue
            shards.append(name)
            count += len(lines) - len(kept)
            if kept:
                files[f"{name.rpartition('/')[0]}/{uuid.uuid4()}.jsonl"] = b"".join(kept)
        if count:
            files[ERASING] = b"Rows were removed here, and their history is about to be.\n"
            title = f"Remove {count} row{'s' if count > 1 else ''}"
            head = self.repository.commit(files, title, parent=head, delete=shards)
            with self._changed:
                self._head = head
            self._leave([shard for shard in shards if shard in self._sent])
        return count

    def _end_erasing(self) -> None:
        """Make away with the history that still has the rows that were removed."""
        self.repository.squash("Votes")
        head = self.repository.commit({}, "History removed", parent=self.repository.refs().head, delete=[ERASING])
        with self._changed:
            self._head = head

    def _leave(self, shards: Iterable[str]) -> None:
        """Go on in a new shard, with those rows of these that the Hub has not had; they are not written to again."""
        with self._changed:
            for shard in shards:
                content, sent = (self.folder / shard).read_bytes(), self._sent[shard]
                if shard == self._shard:
                    self._close_shard()
                old = [row for row in self._waiting if row.shard == shard]
                start = sent
                for row in (row for row in old if row.end > sent):
                    self._keep(content[start : row.end], row.since)
                    start = row.end
                self._waiting = [row for row in self._waiting if row.shard != shard]
                del self._sent[shard]
                (self.folder / shard).unlink()

    def _contents(self, head: str | None) -> dict[str, bytes]:
        """The shards of a commit, by name."""
        names = self.repository.files(head) if head else []
        with tempfile.TemporaryDirectory() as folder:
            return {
                name: self.repository.fetch(head, name, Path(folder)).read_bytes()
                for name in sorted(names)
                if name.startswith("data/") and name.endswith(".jsonl")
            }

    def _card(self) -> bytes:
        """The card of a repository that has none."""
        about: dict[str, Any] = {
            "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/**/*.jsonl"}]}]
        }
        if self.columns:
            features = [{"name": name, "dtype": dtype} for name, dtype in self.columns.items()]
            about["dataset_info"] = [{"config_name": "default", "features": features}]
        repo_id = self.repository.repo_id
        return f"""---
{yaml.safe_dump(about, sort_keys=False, allow_unicode=True)}---
# {repo_id.split("/")[1]}

{self.about}

```python
from datasets import load_dataset

votes = load_dataset("{repo_id}", split="train")
```

Each process of the study adds to a file of its own, `data/<day>/<uuid>.jsonl`, which only ever grows. This card is
yours to edit: the study does not write to it again.
""".encode()

    def _rows(self, contents: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
        for name, content in contents.items():
            damaged = 0
            for line in filter(bytes.strip, content.split(b"\n")):
                if (row := _row(line)) is not None:
                    yield row
                else:
                    damaged += 1
            if damaged:
                log.warning("skipped %d damaged lines of %s/%s", damaged, self.repository.repo_id, name)

    # --- the local disk -------------------------------------------------------------------------------------

    def _keep(self, line: bytes, since: float) -> None:
        """Write a line to the shard, for good; called with the lock held."""
        self._open_shard(len(line))
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder / self._shard))
            os.fsync(self._file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            self._close_shard()  # Whatever is at its end now, no row is written behind it.
            raise
        self._size += len(line)
        self._waiting.append(_Row(self._shard, self._size, since))

    def _open_shard(self, length: int) -> None:
        """See that there is a shard of this process and this day, with room; called with the lock held."""
        day = f"data/{_now():%Y-%m-%d}/"
        if self._file is not None and self._shard.startswith(day) and self._size + length <= MAX_SHARD_BYTES:
            return
        self._close_shard()
        shard = f"{day}{uuid.uuid4()}.jsonl"
        path = self.folder / shard
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115
        self._shard, self._size = shard, 0
        for folder in (path.parent, path.parent.parent, self.folder):
            _fsync_folder(folder)

    def _close_shard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()


def _row(line: bytes) -> dict[str, Any] | None:
    """What a line says; None if that is no JSON object."""
    with contextlib.suppress(ValueError, RecursionError):
        row = json.loads(line)
        return row if isinstance(row, dict) else None
    return None


def _line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON."""
    if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
        raise ValueError(f"a row has to be a JSON object, not {str(row)[:100]!r}")
    try:
        return json.dumps(dict(row), allow_nan=False, ensure_ascii=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"a row has to be a JSON object ({error}), not {str(row)[:100]!r}") from error


def _fsync_folder(folder: Path) -> None:
    """Make new names in a folder last; Windows can't, and need not."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _now() -> datetime:
    return datetime.now(timezone.utc)
