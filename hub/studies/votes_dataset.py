"""The private data set of a Space: copies of the votes, and the studies, which reveal which pictures are real.

    studies/NAME-0123456789ab.zip    a study with its secret, that the Space fetches as it starts, by its name and id
    data/2026-07-05/8c5d….jsonl      rows of the database (`cyclegan.study.store`), by `hub.studies.vote_shipper`

The database is the authority: a row is durable there before it is sent, and unsent rows are found by comparing keys. So
the shipper's files on the disk are deleted at the end. A decision to forget a session is a row, too, and is kept:
because of it, every process that reads the data set erases its rows of that session.
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

from cyclegan.errors import StudyError, message
from cyclegan.study.format import SECRET, Study, read_study, write_study
from cyclegan.study.store import Store
from hub.client import Repository, as_the_branch_moves, patiently
from hub.errors import HubError
from hub.studies.vote_shipper import VoteShipper

POLL_S, LONGEST_WAIT_S = 5.0, 300.0
OVERLAP = timedelta(seconds=60)
"""A row's time is taken a little before other processes can see the row."""
WHOLE_EVERY = 60
"""Each time after so many rounds, and at the end, all rows are compared, because clocks may be set back."""
JSON_COLUMNS = ("screen", "marks")
"""Stored as text in the data set, because its columns have one type each."""
_TEXT, _WHOLE, _NUMBER, _YES, _WHEN = "string", "int64", "float64", "bool", "timestamp[us, tz=UTC]"
COLUMNS = {
    "record": _TEXT, "key": _TEXT, "at": _WHEN, "study_id": _TEXT, "session_id": _TEXT,
    # session
    "participant": _TEXT, "origin": _TEXT, "arm": _WHOLE, "slot": _WHOLE, "language": _TEXT, "screen": _TEXT,
    "started_at": _WHEN,
    # vote
    "trial_index": _WHOLE, "phase": _TEXT, "kind": _TEXT, "left_stimulus": _TEXT, "right_stimulus": _TEXT,
    "epoch_left": _WHOLE, "epoch_right": _WHOLE, "commit_sha": _TEXT, "direction": _TEXT, "real_side": _TEXT,
    "chosen_side": _TEXT, "verdict": _TEXT, "marks": _TEXT, "rating": _WHOLE, "exposure_planned_ms": _WHOLE,
    "exposure_left_ms": _NUMBER, "exposure_right_ms": _NUMBER, "exposure_left_clock_ms": _NUMBER,
    "exposure_right_clock_ms": _NUMBER, "frames": _WHOLE, "longest_frame_ms": _NUMBER,
    "focus_lost": _YES, "resumed": _YES, "response_ms": _NUMBER, "server_ms": _NUMBER, "picture_css_px": _NUMBER,
    "picture_device_px": _NUMBER, "window_width": _NUMBER, "window_height": _NUMBER, "stacked": _YES,
    "server_time": _WHEN,
    # agreement, reply
    "text_sha256": _TEXT, "version": _TEXT, "agreed_at": _WHEN, "question": _TEXT, "value": _TEXT,
    "answered_at": _WHEN,
    # completion
    "code": _TEXT, "completed_at": _WHEN, "disqualified": _YES,
    # decision
    "id": _TEXT, "action": _TEXT, "reason": _TEXT, "made_at": _WHEN,
}  # fmt: skip
"""The type of every column, for `datasets`; a row's `record` determines which of them it has."""
ABOUT = """The database of a study, row by row. `record` is the kind of a row: a session, an \
agreement to the consent, a reply to a question, a vote, a completion (the session came to
its end), or a decision of the owner about a participant; columns of other kinds are null. `key` identifies a row: two \
with one key are the same."""

log = logging.getLogger(__name__)


class Shipment:
    """Copies of studies' databases in a data set, and their way back into an empty database, in a thread.

    Only one process should do this for a database: a second one would send the same rows again.

    Args:
        repo_id: private data set, USER/NAME; created if it is missing.
        every_s: seconds between two commits; see `VoteShipper`.
        poll_s: seconds between two reads of the database.
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
        """Keys of the rows that are on the Hub or queued."""
        self._forgotten: dict[str, str] = {}
        """Sessions of which all rows must go, with the time of that decision."""
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
        """Make sure that the data set may be written to, and start the thread that copies the studies.

        A Hub that can't be reached doesn't stop a study: that is logged, shown by `status`, and tried again.

        Raises:
            HubError: waiting won't help: a bad token, no permission, or the data set is public.
        """
        self._shipper.start()
        self._thread = threading.Thread(target=self._work, name="shipment", daemon=True)
        self._thread.start()

    def add(self, study: Study, store: Store) -> None:
        """Restore a study's rows from the data set, send it the others, and keep both equal from now on.

        A failure is shown by `status` and tried again; the study can be played meanwhile.
        """
        with self._round:
            self._stores.append((study, store))
            self._restored = False
        self._try()

    def ship(self) -> None:
        """Do one round at once: restore the data set's rows if they are unknown, then queue the new ones.

        Queued rows reach the Hub with the next commit. But rows of a forgotten session are gone from the data set and
        its history when this returns.

        Raises:
            HubError: the Hub can't be reached or refuses; calling again later is safe.
            StudyError: the database can't be read or written now.
        """
        with self._round:
            if self._shipper.moved:
                self._restored = False  # Another process may have recorded that a session is forgotten.
            if not self._restored:
                self._restore()
            self._rounds += 1
            for study, store in self._stores:
                self._send(study, store)
            if self._erasing:
                self._erase()

    def close(self, patience_s: float = 30.0) -> bool:
        """Send what is left, waiting `patience_s` at most, and end the threads; return True if all is on the Hub."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(patience_s)
        done = self._try()
        done = self._shipper.close(patience_s) and done
        self._folder.cleanup()
        return done

    @property
    def status(self) -> str:
        """One sentence about rows that are not on the Hub and why; empty if all is well."""
        return self._shipper.status or self._trouble

    # --- the thread -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        failures = 0
        while not self._stop.wait(min(LONGEST_WAIT_S, self._poll_s * 2 ** min(failures, 20))):
            failures = 0 if self._try() else failures + 1

    def _try(self) -> bool:
        """Do a round; return False after a failure, which `status` shows and which is logged once."""
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
        """Restore the data set's rows, which others may have changed, and erase those of forgotten sessions."""
        self._shipper.push()  # Creates the repository, if the Hub couldn't be reached before.
        rows = [_decoded(row) for row in self._shipper.restore()]
        for study, store in self._stores:
            store.restore(study, [row for row in rows if row.get("study_id") == study.study_id])
        self._known = {str(row.get("key")) for row in rows}
        self._latest.clear()
        self._forgotten |= _forgotten(rows)
        self._erasing |= any(map(_going(rows, self._forgotten), rows))
        self._restored = True

    def _send(self, study: Study, store: Store) -> None:
        """Give the shipper each row that the data set doesn't have."""
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
        """Erase all rows of forgotten sessions on the Hub."""
        self._shipper.push()  # Queued rows of these sessions must be there to be erased.
        rows = list(self._shipper.restore())
        going = _going(rows, self._forgotten)
        if count := self._shipper.erase(going):
            log.info("%d rows were erased from %s", count, self._shipper.repository.repo_id)
        self._erasing = False


def _forgotten(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the sessions that these rows say to forget, each with the time of that decision."""
    decisions = [row for row in rows if row.get("record") == "decision" and row.get("action") == "forget"]
    return {str(row["session_id"]): str(row.get("made_at")) for row in decisions if row.get("session_id")}


def _going(
    rows: Sequence[Mapping[str, Any]], forgotten: Mapping[str, str]
) -> Callable[[Mapping[str, Any]], bool]:
    """Return the test for a row of a forgotten session, or an earlier decision about its participant."""

    def text(row: Mapping[str, Any], name: str) -> str:
        return str(row.get(name))  # The value may be anything if somebody has edited the data set.

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
    """Return a row of the database as a row of the data set."""
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
    """Return a study's path in the data set."""
    return f"studies/{name}-{study_id[:12]}.zip"


def put_study(repository: Repository, study: Study) -> bool:
    """Put a study into a data set; return False if it was there before.

    Args:
        repository: an existing private data set.

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
    """Return a study's folder as one file, because a Space fetches it at every start; always the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        for name, path in _paths(study):
            bundle.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), path.read_bytes())
    return buffer.getvalue()


def _paths(study: Study) -> Iterator[tuple[str, Path]]:
    yield "study.json", study.folder / "study.json"
    if study.secret_sha256:
        yield SECRET, study.folder / SECRET
    for sha256 in sorted(study.by_hash):
        yield f"stimuli/{sha256}.png", study.stimulus_path(sha256)


def fetch_study(
    repo_id: str, study_id: str, folder: str | Path, *, endpoint: str | None = None, token: str | None = None
) -> Study:
    """Fetch a study of a data set into a folder with the study's name, unless it is there already.

    Raises:
        HubError: the Hub can't be reached or refuses, has no such study, or a damaged one; the folder holds another
            study.
    """
    folder = Path(folder)
    if folder.exists():
        with contextlib.suppress(StudyError):
            study = read_study(folder)
            if study.study_id == study_id:
                return study
        raise HubError(
            "{folder} holds another study", folder=folder, remedy=message("remove it, or give the new one another name")
        )
    repository = Repository(repo_id, repo_type="dataset", endpoint=endpoint, token=token)
    name = study_bundle(folder.name, study_id)
    with tempfile.TemporaryDirectory(prefix="cyclegan-study-") as temporary:
        head = patiently(lambda: repository.refs().head)
        path = patiently(lambda: repository.fetch(head or "main", name, Path(temporary)))
        try:
            with zipfile.ZipFile(path) as bundle:
                (Path(temporary) / "study.json").write_bytes(bundle.read("study.json"))
                study = read_study(temporary)
                if study.secret_sha256:
                    (Path(temporary) / SECRET).write_bytes(bundle.read(SECRET))
                contents = {sha256: bundle.read(f"stimuli/{sha256}.png") for sha256 in study.by_hash}
            if study.study_id != study_id or any(hashlib.sha256(c).hexdigest() != s for s, c in contents.items()):
                raise StudyError("its content doesn't match its name")
            folder.parent.mkdir(parents=True, exist_ok=True)
            return write_study(study, contents, folder)
        except (StudyError, zipfile.BadZipFile, KeyError, OSError, NotImplementedError) as error:
            raise HubError(
                "{file} can't be used ({reason})", file=f"{repo_id}/{name}", reason=error,
                remedy=message("put it there again with `hub space`"),
            ) from error
