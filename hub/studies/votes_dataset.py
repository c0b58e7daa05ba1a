"""Studies on a Space: their votes to a private data set and back; and they themselves, since they tell real from fake.

    studies/NAME-0123456789ab.zip    a study that the Space fetches as it starts, by its name and id
    data/2026-07-05/8c5d….jsonl      rows of the database (`cyclegan.study.store`), by `hub.studies.vote_shipper`

The database is what counts: a row is there for good before it is sent, and what was not sent is found by comparing
keys. So what lies on the disk for sending is thrown away at the end. A decision that a session is forgotten is a row
too, and stays: by it, every process that reads the data set erases what it has of that session.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cyclegan.errors import StudyError
from cyclegan.study.format import Study, read_study, write_study
from cyclegan.study.store import Store
from hub.client import Repository, as_the_branch_moves, patiently
from hub.errors import HubError
from hub.studies.vote_shipper import VoteShipper

POLL_S, LONGEST_WAIT_S = 5.0, 300.0
OVERLAP = timedelta(seconds=60)
"""A row's time is taken a little before it is there for others to see."""
WHOLE_EVERY = 60
"""So many rounds, and at the end, all rows are looked at: clocks are set back."""
JSON_COLUMNS = ("screen", "marks")
"""Kept as text in the data set, whose columns have one type each."""
_TEXT, _WHOLE, _NUMBER, _YES, _WHEN = "string", "int64", "float64", "bool", "timestamp[us, tz=UTC]"
COLUMNS = {
    "record": _TEXT, "key": _TEXT, "at": _WHEN, "study_id": _TEXT, "session_id": _TEXT,
    # session
    "participant": _TEXT, "origin": _TEXT, "arm": _WHOLE, "slot": _WHOLE, "language": _TEXT, "screen": _TEXT,
    "started_at": _WHEN,
    # vote
    "trial_index": _WHOLE, "phase": _TEXT, "kind": _TEXT, "left_stimulus": _TEXT, "right_stimulus": _TEXT,
    "epoch_left": _WHOLE, "epoch_right": _WHOLE, "commit_sha": _TEXT, "direction": _TEXT, "real_side": _TEXT,
    "chosen_side": _TEXT, "verdict": _TEXT, "marks": _TEXT, "exposure_planned_ms": _WHOLE,
    "exposure_left_ms": _NUMBER, "exposure_right_ms": _NUMBER, "frames": _WHOLE, "longest_frame_ms": _NUMBER,
    "focus_lost": _YES, "resumed": _YES, "response_ms": _NUMBER, "server_ms": _NUMBER, "server_time": _WHEN,
    # completion
    "code": _TEXT, "completed_at": _WHEN, "disqualified": _YES,
    # decision
    "id": _TEXT, "action": _TEXT, "reason": _TEXT, "made_at": _WHEN,
}  # fmt: skip
"""Type of every column, for `datasets`; which of them a row has, its `record` tells."""
ABOUT = """The database of a study, row by row. `record` says what a row is: a session, a vote, a completion (the \
session came to
its end), or a decision of the owner on a participant; what does not belong to it is null. `key` tells rows apart:
should there be two of one key, they are the same."""

log = logging.getLogger(__name__)


class Shipment:
    """Brings what a study's database holds to a data set, and back into one that has lost it, in a thread.

    Only one process should do so for a database: another one would send the same rows again.

    Args:
        repo_id: private data set, USER/NAME; made if there is none.
        every_s: seconds between two commits; see `VoteShipper`.
        poll_s: seconds between two looks at the database.
        endpoint: address of the Hub; None for HF_ENDPOINT or huggingface.co.
        token: None for HF_TOKEN or the one that `hf auth login` saved.

    Raises:
        HubError: `repo_id` can't be a repository's name.
    """

    def __init__(
        self,
        repo_id: str,
        *,
        every_s: float = 40.0,
        poll_s: float = POLL_S,
        endpoint: str | None = None,
        token: str | None = None,
    ) -> None:
        self._stores: list[tuple[Study, Store]] = []
        self._folder = tempfile.TemporaryDirectory(prefix="cyclegan-votes-")
        self._shipper = VoteShipper(
            repo_id, self._folder.name, every_s=every_s, columns=COLUMNS, about=ABOUT, endpoint=endpoint, token=token
        )
        self._poll_s = poll_s
        self._round, self._stop = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._restored = False
        self._known: set[str] = set()
        """Keys of the rows that are on the Hub or on their way."""
        self._forgotten: dict[str, str] = {}
        """Sessions that nothing may be left of, and when that was decided."""
        self._erasing = False
        self._latest: dict[str, str] = {}
        self._rounds = 0
        self._trouble = ""

    def __enter__(self) -> Shipment:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """See that the data set is there and may be written to, and look after the studies in a thread from now on.

        A Hub that is out of reach does not stop a study: that is logged, told by `status`, and tried again.

        Raises:
            HubError: what waiting does not mend: a bad token, no permission, or the data set is public.
        """
        self._shipper.start()
        self._thread = threading.Thread(target=self._work, name="shipment", daemon=True)
        self._thread.start()

    def add(self, study: Study, store: Store) -> None:
        """Take back in what the data set has of a study, send what it has not, and look after it from now on.

        Where that fails now it is tried again, and `status` tells it: the study can be played meanwhile.
        """
        with self._round:
            self._stores.append((study, store))
            self._restored = False
        self._try()

    def ship(self) -> None:
        """One round, at once: take back in what the data set has if that is not known, then send what is new.

        What is sent reaches the Hub by the next commit. But where someone was forgotten, their rows are gone from the
        data set and its history when this returns.

        Raises:
            HubError: the Hub can't be reached or refuses; calling again later is safe.
            StudyError: the database can't be read or written now.
        """
        with self._round:
            if self._shipper.moved:
                self._restored = False  # Somebody may have been forgotten there.
            if not self._restored:
                self._restore()
            self._rounds += 1
            for study, store in self._stores:
                self._send(study, store)
            if self._erasing:
                self._erase()

    def close(self, patience_s: float = 30.0) -> bool:
        """Send what is left, waiting `patience_s` at most, and end the threads; whether everything is on the Hub."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(patience_s)
        done = self._try()
        done = self._shipper.close(patience_s) and done
        self._folder.cleanup()
        return done

    @property
    def status(self) -> str:
        """One sentence on what is not on the Hub and why; empty if there is nothing to worry about."""
        return self._shipper.status or self._trouble

    # --- the thread -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        failures = 0
        while not self._stop.wait(min(LONGEST_WAIT_S, self._poll_s * 2 ** min(failures, 20))):
            failures = 0 if self._try() else failures + 1

    def _try(self) -> bool:
        """A round; what fails is told by `status`, and logged once."""
        try:
            self.ship()
        except Exception as error:
            said = f"{self._shipper.repository.repo_id} does not have all votes: {error}"
            if said != self._trouble:
                expected = isinstance(error, (HubError, StudyError))
                log.warning("%s", said, exc_info=None if expected else error)
            self._trouble = said
            return False
        self._trouble = ""
        return True

    # --- there and back -------------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Take in what the data set has. It may have been changed by others: rows of a forgotten session go again."""
        self._shipper.push()  # Makes the repository, if the Hub was out of reach before.
        rows = [_decoded(row) for row in self._shipper.restore()]
        for study, store in self._stores:
            store.restore(study, [row for row in rows if row.get("study_id") == study.study_id])
        self._known = {str(row.get("key")) for row in rows}
        self._latest.clear()
        self._forgotten |= _forgotten(rows)
        self._erasing |= any(map(_going(rows, self._forgotten), rows))
        self._restored = True

    def _send(self, study: Study, store: Store) -> None:
        """Give the shipper each row that the data set does not have."""
        whole = self._stop.is_set() or self._rounds % WHOLE_EVERY == 0
        after = None if whole else self._latest.get(study.study_id)
        rows = store.rows(study, after and (datetime.fromisoformat(after) - OVERLAP).isoformat())
        for row in rows:
            if row["key"] in self._known:
                continue
            self._shipper.append(_encoded(row, study))
            self._known.add(row["key"])
            if found := _forgotten([row]):
                self._forgotten |= found
                self._erasing = True
        if rows:
            self._latest[study.study_id] = max(rows[-1]["at"], after or "")

    def _erase(self) -> None:
        """Take all rows of forgotten sessions off the Hub."""
        self._shipper.push()  # So that what is being sent of them is there to be found.
        rows = list(self._shipper.restore())
        going = _going(rows, self._forgotten)
        if count := self._shipper.erase(going):
            log.info("%d rows were taken off %s for good", count, self._shipper.repository.repo_id)
        self._erasing = False


def _forgotten(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Which sessions are to be forgotten, by these rows, and since when."""
    decisions = [row for row in rows if row.get("record") == "decision" and row.get("action") == "forget"]
    return {str(row["session_id"]): str(row.get("made_at")) for row in decisions if row.get("session_id")}


def _going(
    rows: Sequence[Mapping[str, Any]], forgotten: Mapping[str, str]
) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a row is of a forgotten session, or an earlier decision on its participant."""

    def text(row: Mapping[str, Any], name: str) -> str:
        return str(row.get(name))  # Anything may stand there, if somebody has edited the data set.

    people = {
        (text(row, "study_id"), text(row, "participant")): forgotten[text(row, "session_id")]
        for row in rows
        if row.get("record") == "session" and text(row, "session_id") in forgotten
    }

    def going(row: Mapping[str, Any]) -> bool:
        if row.get("record") != "decision":
            return text(row, "session_id") in forgotten
        since = people.get((text(row, "study_id"), text(row, "participant")))
        return row.get("action") != "forget" and since is not None and text(row, "made_at") < since

    return going


def _encoded(row: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """A row of the database as a row of the data set."""
    values = {name: value for name, value in {**row, "study_id": study.study_id}.items() if value is not None}
    if unknown := values.keys() - COLUMNS.keys():
        raise ValueError(f"the data set has no column for {', '.join(sorted(unknown))}")
    return values | {name: json.dumps(values[name], ensure_ascii=False) for name in JSON_COLUMNS if name in values}


def _decoded(row: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(row)
    for name in JSON_COLUMNS:
        if isinstance(values.get(name), str):
            with contextlib.suppress(ValueError, RecursionError):
                values[name] = json.loads(values[name])
    return values


# --- the studies --------------------------------------------------------------------------------------------


def study_bundle(name: str, study_id: str) -> str:
    """Where a study lies in the data set."""
    return f"studies/{name}-{study_id[:12]}.zip"


def put_study(repository: Repository, study: Study) -> bool:
    """Put a study into a data set, unless it is there; whether it was put.

    Args:
        repository: of a private data set, which is there.

    Raises:
        HubError: the Hub can't be reached or refuses.
    """
    name = study_bundle(study.name, study.study_id)

    def put() -> bool:
        head = repository.refs().head
        if head and name in repository.sizes(head, [name]):
            return False
        repository.commit({name: _bundled(study)}, f"Study {study.name}", parent=head)
        return True

    return as_the_branch_moves(put)


def _bundled(study: Study) -> bytes:
    """A study's folder as one file: the same bytes each time. One, since a Space fetches it at every start."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        for name, path in _paths(study):
            bundle.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), path.read_bytes())
    return buffer.getvalue()


def _paths(study: Study) -> Iterator[tuple[str, Path]]:
    yield "study.json", study.folder / "study.json"
    for sha256 in sorted(study.by_hash):
        yield f"stimuli/{sha256}.png", study.stimulus_path(sha256)


def fetch_study(
    repo_id: str, study_id: str, folder: str | Path, *, endpoint: str | None = None, token: str | None = None
) -> Study:
    """A study of a data set, in a folder whose name is the study's; one that is there already stays.

    Raises:
        HubError: the Hub can't be reached or refuses, has no such study, or what it has is damaged; the folder holds
            another study.
    """
    folder = Path(folder)
    if folder.exists():
        with contextlib.suppress(StudyError):
            study = read_study(folder)
            if study.study_id == study_id:
                return study
        raise HubError("{folder} holds another study; remove it, or give the new one another name", folder=folder)
    repository = Repository(repo_id, repo_type="dataset", endpoint=endpoint, token=token)
    name = study_bundle(folder.name, study_id)
    with tempfile.TemporaryDirectory(prefix="cyclegan-study-") as temporary:
        head = patiently(lambda: repository.refs().head)
        path = patiently(lambda: repository.fetch(head or "main", name, Path(temporary)))
        try:
            with zipfile.ZipFile(path) as bundle:
                (Path(temporary) / "study.json").write_bytes(bundle.read("study.json"))
                study = read_study(temporary)
                contents = {sha256: bundle.read(f"stimuli/{sha256}.png") for sha256 in study.by_hash}
            if study.study_id != study_id or any(hashlib.sha256(c).hexdigest() != s for s, c in contents.items()):
                raise StudyError("its content is not what its name says")
            folder.parent.mkdir(parents=True, exist_ok=True)
            return write_study(study, contents, folder)
        except (StudyError, zipfile.BadZipFile, KeyError, OSError, NotImplementedError) as error:
            raise HubError(
                "{repo_id}/{name} can't be used ({reason}); put it there again with `hub space`",
                repo_id=repo_id, name=name, reason=error,
            ) from error
