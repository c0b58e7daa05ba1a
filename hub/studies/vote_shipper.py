"""Copies of a study's votes in a Hub data set, from a machine whose disk may be gone tomorrow.

    README.md                        the card, by which `datasets.load_dataset` finds the rows
    data/2026-07-05/8c5d….jsonl      a shard: JSON objects, one per line, that one process took on one day (UTC)

A shard only ever grows, and no two processes write to the same one, because its name is a new UUID. So a process that
starts on an empty disk can't overwrite earlier rows, and after a lost reply a comparison of sizes shows what has
arrived. huggingface_hub's CommitScheduler is not used because it hides failures.

The meaning of a row is up to the caller. When a participant withdraws, `VoteShipper.erase` removes rows from the Hub
and from its history. It never shortens a shard: the remaining rows get a new shard, and the old one is deleted. A
process whose shard is gone from the Hub abandons it, and continues in a new one with the rows that had not arrived.
Rows that an earlier process left in the same folder must be removed by hand: this one can't know that they were on the
Hub before, so it pushes them again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from cyclegan.errors import english, message
from hub.client import Repository, as_the_branch_moves
from hub.errors import HubError
from hub.readme import edited_front_matter, front_matter
from hub.studies.shards import Row, Shards, read_row, row_line

MIN_EVERY_S = 30.0
"""The Hub accepts 128 commits an hour per repository."""
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
CARD = "README.md"
ERASING = ".erasing"
"""A file in the repository from the removal of rows until that of its history, whatever fails in between."""

log = logging.getLogger(__name__)


class VoteShipper:
    """Keeps rows on the local disk and pushes them to a data set repository, in a thread of its own.

    A process that is forked from this one starts a shard and a thread of its own. Longer than other classes because
    one condition guards a state that appending, pushing, erasing and a fork all change.

    Args:
        repo_id: USER/NAME, or ORGANIZATION/NAME.
        folder: of the shards, in the same subfolders as in the repository; made if it is missing. Rows that an
            earlier process left there are pushed, too, unless the Hub has them.
        private: create the repository as private; refuse an existing public one.
        every_s: seconds between two pushes; all rows of that time share a commit.
        columns: `datasets` type by column for a new card, such as {"server_time": "timestamp[us, tz=UTC]"}; all of
            the rows' columns or none. Without it `datasets` takes the types from the first shard, and can't load one
            that has a number where that has only nulls, 812.5 where it has 812, or a time to the microsecond.
        about: a new card's text about the rows.
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
        about: str = "The votes of a study: one row per vote.",
        endpoint: str | None = None,
        token: str | None = None,
    ) -> None:
        if every_s < MIN_EVERY_S:
            raise ValueError(
                f"every_s is {every_s:g}, but the Hub accepts 128 commits an hour; use {MIN_EVERY_S:g} or more"
            )
        self.repository = Repository(repo_id, repo_type="dataset", endpoint=endpoint, token=token)
        self.folder, self.private, self.every_s, self.columns = Path(folder), private, every_s, columns
        self.about = about
        self._ready = self._started = self._closing = self._stopped = False
        self._shards = Shards(self.folder)
        self._begin()
        self._waiting = self._shards.rows()
        if hasattr(os, "register_at_fork"):
            forked = weakref.WeakMethod(self._forked)
            os.register_at_fork(after_in_child=lambda: (call := forked()) and call())

    def _begin(self) -> None:
        """Set the state of a process that has not taken a row yet."""
        self._changed, self._pushing = threading.Condition(), threading.Lock()
        self._waiting: list[Row] = []
        self._sent: dict[str, int] = {}
        """The bytes of each shard that the Hub is known to have had."""
        self._head: str | None = None
        self._moved = False
        self._thread: threading.Thread | None = None
        self._trouble: HubError | None = None
        self._failures = 0
        self._retry_at = self._next_commit = 0.0

    def _forked(self) -> None:
        """Start again in a forked child: it has no thread, locks may be held for ever, the shard is the parent's."""
        self._begin()
        self._shards.close()  # The child's copy of the open file.

    # --- what the study calls -------------------------------------------------------------------------------

    def start(self) -> None:
        """Make sure that the repository and its card exist, push what is left over, then push in a thread.

        A Hub that is unavailable doesn't stop a study: that is logged, shown by `status`, and tried again in the
        thread until it works. This takes a minute at worst, if the Hub is silent.

        Raises:
            HubError: waiting won't help: a bad token, no permission, or it is public despite `private`.
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
        """Return every row on the Hub, of all processes, by day and shard; all are downloaded before the first.

        Call `start` first: it makes the repository, and pushes what an earlier process left on a disk that survived.
        Lines that are not JSON objects are skipped and logged.

        Raises:
            HubError: the Hub can't be reached or refuses.
        """
        return self._rows(self._contents(self.repository.refs().head))

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a row to the local disk durably, and queue it for the next push; safe to call from any thread.

        Raises:
            ValueError: it isn't a JSON object, or has a number in it that JSON can't write.
            OSError: the disk is full; nothing of the row is kept.
        """
        line = row_line(row)
        with self._changed:
            self._waiting.append(self._shards.append(line, time.time()))
            if self._started and not self._closing:
                self._run_thread()
            self._changed.notify_all()

    def push(self) -> None:
        """Push all waiting rows at once, as one commit; without rows there is none.

        Raises:
            HubError: the Hub can't be reached or refuses; calling again later is safe, and the thread does.
        """
        with self._pushing:
            try:
                self._push()
            except Exception as caught:
                error = caught
                if not isinstance(caught, HubError):  # A shard that can't be read, or a bug of this program.
                    error = HubError(
                        "pushing failed ({kind}: {reason})", kind=type(caught).__name__, reason=caught, temporary=True,
                        remedy=message("see the log"),
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
        """Remove rows of all processes from the Hub, with its whole history; return their number.

        Copies that were downloaded before are not affected. Waiting rows of this process are pushed first.

        Args:
            gone: returns True for a row to remove.

        Raises:
            HubError: the Hub can't be reached or refuses. Call it again then: it completes what is left.
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
        """True if somebody else has committed since this was last read; noticed at each push."""
        with self._changed:
            moved, self._moved = self._moved, False
            return moved

    @property
    def unpushed(self) -> int:
        """The number of rows not known to be on the Hub; an earlier process's count until a push has compared them."""
        with self._changed:
            return len(self._waiting)

    @property
    def status(self) -> str:
        """One sentence about rows that are not on the Hub, since when and why; empty if all is well."""
        with self._changed:
            count, trouble = len(self._waiting), self._trouble
            since = min((row.since for row in self._waiting), default=0.0)
            late = count > 0 and time.time() - since > 3 * self.every_s
            if not trouble and not late:
                return ""
            said = f"{self.repository.repo_id} is not ready for votes yet"
            if count:
                when = datetime.fromtimestamp(since, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
                votes = english("1 vote is", f"{count:,} votes are", count)
                said = f"{votes} not on the Hub yet, the oldest since {when}"
            said += f": {trouble}" if trouble else ", and no push has finished since"
            if trouble and self._thread is not None and self._thread.is_alive():
                said += f" (next try in {max(0.0, self._retry_at - time.monotonic()):.0f} s)"
            return said

    def close(self, patience_s: float = 30.0) -> bool:
        """Push what is left, waiting `patience_s` at most, and end the thread; return True if all is on the Hub.

        The other rows are kept in the folder for the next process, and so are rows that are appended later.
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
            self._shards.close()
            return not self._waiting

    # --- the thread -----------------------------------------------------------------------------------------

    def _run_thread(self) -> None:
        """Start the thread unless it runs; called with the lock held."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="votes", daemon=True)
            with contextlib.suppress(RuntimeError):  # Python is shutting down; the rows are safe on the disk.
                self._thread.start()

    def _work(self) -> None:
        while self._wait():
            with contextlib.suppress(HubError):  # `push` has logged it, and `status` shows it.
                self.push()

    def _wait(self) -> bool:
        """Wait until a push is due; return False at the end."""
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
        """Record what failed, and plan the next attempt."""
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
        """Make one commit with every shard that is longer here than on the Hub, and with the card if it is missing."""
        with self._changed:
            waiting = list(self._waiting)
        if self._ready and not waiting:
            return
        ends = {row.shard: row.end for row in waiting}  # They are in order, so each shard's last row wins.
        head = self.repository.refs().head
        on_hub = self.repository.sizes(head, [CARD, ERASING, *ends]) if head else {}
        if ERASING in on_hub:
            self._end_erasing()
            head = self.repository.refs().head
        with self._changed:
            self._moved |= self._head not in (None, head)
        if cut := [shard for shard in ends if on_hub.get(shard, 0) < self._sent.get(shard, 0)]:
            self._abandon(cut)
            return self._commit()
        new = [row for row in waiting if row.end > on_hub.get(row.shard, 0)]
        # Only up to the end of a row that is flushed to disk, because the file may grow meanwhile.
        files = {shard: self._shards.read(shard)[: ends[shard]] for shard in {row.shard for row in new}}
        for shard, content in files.items():
            if len(content) < ends[shard]:
                raise OSError(f"{self.folder / shard} has become shorter")
        title = f"Add {len(new)} vote{'s' if len(new) > 1 else ''}"
        if not self._ready and (card := self._card_for(head if CARD in on_hub else None)):
            files[CARD] = card
            title = title if new else "Add columns to the card" if CARD in on_hub else "Add the card"
        if files:
            head = self.repository.commit(files, title, parent=head)
        on_hub |= {shard: len(content) for shard, content in files.items()}
        with self._changed:
            self._ready, self._head = True, head
            self._sent |= {shard: on_hub[shard] for shard in ends if shard in on_hub}
            self._waiting = [row for row in self._waiting if row.end > on_hub.get(row.shard, 0)]
            self._next_commit = time.monotonic() + self.every_s

    def _erase(self, gone: Callable[[Mapping[str, Any]], bool]) -> int:
        """Make one commit without the rows that are to go; return their number."""
        head = self.repository.refs().head
        files: dict[str, Path | bytes] = {}
        shards, count = [], 0
        for name, content in self._contents(head).items():
            lines = content.splitlines(keepends=True)
            kept = [line for line in lines if (row := read_row(line)) is None or not gone(row)]
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
            self._abandon([shard for shard in shards if shard in self._sent])
        return count

    def _end_erasing(self) -> None:
        """Delete the history, which still has the removed rows."""
        self.repository.squash("Votes")
        head = self.repository.commit({}, "History removed", parent=self.repository.refs().head, delete=[ERASING])
        with self._changed:
            self._head = head

    def _abandon(self, shards: Iterable[str]) -> None:
        """Remove shards from the disk; move their rows that the Hub has not had to a new one."""
        with self._changed:
            for shard in shards:
                content, start = self._shards.read(shard), self._sent[shard]
                old = [row for row in self._waiting if row.shard == shard and row.end > start]
                if shard == self._shards.current:
                    self._shards.close()
                for row in old:
                    self._waiting.append(self._shards.append(content[start : row.end], row.since))
                    start = row.end
                self._waiting = [row for row in self._waiting if row.shard != shard]
                del self._sent[shard]
                self._shards.remove(shard)

    def _contents(self, head: str | None) -> dict[str, bytes]:
        """Return the contents of a commit's shards by name."""
        names = self.repository.files(head) if head else []
        with tempfile.TemporaryDirectory() as folder:
            return {
                name: self.repository.fetch(head, name, Path(folder)).read_bytes()
                for name in sorted(names)
                if name.startswith("data/") and name.endswith(".jsonl")
            }

    def _card_for(self, head: str | None) -> bytes | None:
        """Return the card to write: a new one, or that of a commit with the columns that it lacks; None for none."""
        if head is None:
            return self._card()
        if not self.columns:
            return None
        return with_columns(self.repository.text(head, CARD) or "", self.columns)

    def _card(self) -> bytes:
        """Return the card for a repository that has none."""
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
yours to edit: the study only adds a column to the list at its top if a newer version of the program has one.
""".encode()

    def _rows(self, contents: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
        for name, content in contents.items():
            damaged = 0
            for line in filter(bytes.strip, content.split(b"\n")):
                if (row := read_row(line)) is not None:
                    yield row
                else:
                    damaged += 1
            if damaged:
                log.warning("skipped %d damaged lines of %s/%s", damaged, self.repository.repo_id, name)


def with_columns(card: str, columns: Mapping[str, str]) -> bytes | None:
    """Return a card whose list of columns, written by an older program, lacks some of these, with all of them.

    Without them, `datasets` refuses rows that have them. None if nothing is to be added: the list has them, or isn't
    ours.
    """
    if not (found := re.match(r"---[ \t]*\r?\n(.*?^)---[ \t]*(?:\r?\n|\Z)", card, re.DOTALL | re.MULTILINE)):
        return None
    values = front_matter(found[1])
    try:
        (config,) = values["dataset_info"]
        listed = {each["name"]: each["dtype"] for each in config["features"]}
    except (TypeError, KeyError, ValueError):
        return None
    if columns.keys() <= listed.keys() or columns.keys().isdisjoint(listed):
        return None
    config["features"] = [{"name": name, "dtype": dtype} for name, dtype in {**columns, **listed}.items()]
    newline = "\r\n" if "\r\n" in found[0] else "\n"
    text = card[: found.start(1)] + edited_front_matter(found[1], values, newline) + card[found.end(1) :]
    return text.encode("utf-8", "surrogateescape")
