"""The studies that an app serves next to its own pages. Databases are opened on first use."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import hmac
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.routing import Mount

from cyclegan.errors import StudyError, UserError
from cyclegan.study.format import Study, find_studies, read_study

if TYPE_CHECKING:
    from cyclegan.evaluation.scores.people import People
    from cyclegan.study.store import Store

KEY_VARIABLE = "STUDY_KEY"
"""Environment variable: on a server for others, only those who know its value see results."""
PREVIEW = "_preview"
"""Studies are previewed at study/_preview/NAME; no study can have this name."""
log = logging.getLogger(__name__)
LOOK_S = 2.0
"""Time between looks for new studies."""
COPIED_S = 60.0
"""A study.json that can't be read is looked at again while it was changed within so long: it may still be copied."""
KEPT_S = 5.0
"""Time for which a report is reused."""


class Studies:
    """The studies that are served here, and the databases that keep their votes.

    It is an ASGI application itself: the participants' page, without gradio. Its imports are loaded by the first
    request, or earlier by `warm`. If `own`, each study can also be previewed, at PREVIEW/NAME: the answers go to a
    database that `close` removes and nothing else reads. Elsewhere, a preview would let participants practise.

    Args:
        folders: of studies, or of folders that hold some.
        later: folders that may hold studies later; those that are there already are left out.
        own: whether the visitor owns this computer, and so sees results and builds studies.
        login: returns the login for `cyclegan.study.server.make_app`; called if a study requires accounts.

    Attributes:
        by_name: the studies.
        opened: called with each study and its database before its first use, to exchange votes with another place.

    Raises:
        StudyError: a folder holds none, a study is damaged or has lost its secret, two have one name.
    """

    def __init__(
        self, folders: Sequence[str | Path] = (), *, later: Sequence[str | Path] = (), own: bool = False,
        login: Callable[[], Any] | None = None,
    ) -> None:
        self.own = own
        self.opened: Callable[[Study, Store], None] | None = None
        self._folders = [Path(folder) for folder in (*folders, *later)]
        self.by_name: dict[str, Study] = {study.name: study for study in find_studies(folders)}
        for study in self.by_name.values():
            _ = study.draw_key  # Its secret must be there before anyone takes part.
        self._seen, self._looked, self._looking = self._present(), time.monotonic(), threading.Lock()
        accounts = any(study.protocol.login == "huggingface" for study in self.by_name.values())
        self._login = login() if accounts and login is not None else None
        self._stores: dict[str, Store] = {}
        self._ready: set[str] = set()
        self._app: Any = None
        self._tried: tempfile.TemporaryDirectory[str] | None = None
        self._reports: dict[str, tuple[float, dict[str, Any]]] = {}
        self._people: dict[str, tuple[float, People | None]] = {}
        self._lock = threading.RLock()

    def _present(self) -> set[Path]:
        found = (path for folder in self._folders for path in (folder / "study.json", *folder.glob("*/study.json")))
        return {path for path in found if os.path.isfile(path)}

    def names(self) -> list[str]:
        """Return the names of the studies, with those that have come since the last look, some seconds ago."""
        if time.monotonic() - self._looked > LOOK_S and self._looking.acquire(blocking=False):
            try:
                for path in sorted(self._present() - self._seen):
                    self._take(path)
                self._looked = time.monotonic()
            finally:
                self._looking.release()
        return list(self.by_name)

    def _take(self, path: Path) -> None:
        """Serve another study, unless it can't be served here."""
        changed = time.time()
        try:
            changed = path.stat().st_mtime
            study = read_study(path.parent)
            _ = study.draw_key
        except (OSError, StudyError) as error:
            if time.time() - changed < COPIED_S:
                return  # It may still be copied here; the next look tries again.
            self._seen.add(path)
            log.warning("%s", error)
            return
        self._seen.add(path)
        if study.name in self.by_name:
            log.warning("two studies are called %s: build one of them under another name", study.name)
        elif study.protocol.login == "huggingface" and self._login is None:
            log.warning("%s asks for a login: start the app again to serve it", study.name)
        else:
            self.add(path.parent)

    def route(self) -> Mount:
        """Return the route at which the app serves it, for `ui.launch_options`."""
        return Mount("/study", app=self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a participant's browser."""
        if time.monotonic() - self._looked > LOOK_S:
            await asyncio.to_thread(self.names)
        app = self._app or await asyncio.to_thread(self._load)
        await app(scope, receive, send)

    def _load(self) -> Any:
        from cyclegan.study.server import make_app

        with self._lock:
            if self._app is None:
                studies = list(self.by_name.values())
                # A Space is behind the Hub's proxy; elsewhere, any visitor could write that header.
                app = make_app(
                    studies, store_of=self.store, login=self._login, trust_proxy=bool(os.environ.get("SPACE_ID"))
                )
                if self.own:
                    try:
                        tried = make_app(studies, store_of=self._store_of_previews, preview=True)
                        app = Starlette(routes=[Mount(f"/{PREVIEW}", tried), Mount("/", app)])
                    except (OSError, StudyError) as error:
                        log.warning("studies can't be previewed: %s", error)
                self._app = app
            return self._app

    def _store_of_previews(self, study: Study) -> Store:
        from cyclegan.study.store import Store

        if self._tried is None:
            self._tried = tempfile.TemporaryDirectory(prefix="study-preview-", ignore_cleanup_errors=True)
        url = f"sqlite:///{self._tried.name}/votes.sqlite3"
        if url not in self._stores:
            self._stores[url] = Store(url)
        return self._stores[url]

    def close(self) -> None:
        """Close the databases."""
        with self._lock:
            for store in self._stores.values():
                store.close()
            self._stores.clear()
            self._ready.clear()
            self._app = None
            if self._tried is not None:
                self._tried.cleanup()
                self._tried = None

    def warm(self) -> None:
        """Load what participants and reports need, in the background."""
        if self.by_name:
            threading.Thread(target=self._warm, name="studies", daemon=True).start()

    def _warm(self) -> None:
        with contextlib.suppress(UserError):  # The page of the study reports it.
            self._load()
            for study in list(self.by_name.values()):
                self.store(study)

    def store(self, study: Study) -> Store:
        """Return the database of a study's votes. Raises StudyError if it can't be opened."""
        from cyclegan.study.store import Store, database_url

        with self._lock:
            url = database_url(study.folder)
            if url not in self._stores:
                self._stores[url] = Store(url)
            if study.study_id not in self._ready:
                if count := self._stores[url].others(study):
                    log.warning("%d sessions belong to another %s: its study.json was changed", count, study.name)
                if self.opened is not None:
                    self.opened(study, self._stores[url])
                self._ready.add(study.study_id)
            return self._stores[url]

    def study(self, name: str | None) -> Study:
        """Return the study of this name, None for the first. Raises StudyError."""
        if name is None and self.by_name:
            return next(iter(self.by_name.values()))
        if not isinstance(name, str) or name not in self.by_name:
            if not self.by_name:
                raise StudyError("there is no study {name!r} here", name=str(name)[:80])
            have = ", ".join(self.by_name)
            raise StudyError("there is no study {name!r} here; there is {have}", name=str(name)[:80], have=have)
        return self.by_name[name]

    def showing(self, dataset: str, split: str = "") -> list[str]:
        """Return the names of the studies that show a data set's pictures.

        Args:
            dataset: as in training.
            split: test or train; empty if unknown.
        """
        wanted = _pictures_of(dataset)
        self.names()
        return [
            name for name, study in self.by_name.items()
            if _pictures_of(study.dataset) == wanted and split in ("", study.split or "test")
        ]

    def add(self, folder: Path) -> Study:
        """Serve a study that has just been built. Raises StudyError."""
        study = read_study(folder)
        with self._lock:
            self._seen.add(folder / "study.json")
            self.by_name[study.name] = study
            self._app = None  # The next request makes a new one; all state is in the database.
        return study

    def may_see(self, key: str | None) -> bool:
        """Return whether a visitor with this key, or its proof, may see results."""
        return self.own or self.is_key(key) or same_secret(key, self.proof())

    def is_key(self, key: str | None) -> bool:
        """Return whether this is the owner's key; False if there is none."""
        return same_secret(key, os.environ.get(KEY_VARIABLE, ""))

    def proof(self) -> str:
        """Return what proves knowledge of the owner's key, and doesn't reveal it; empty if there is none."""
        wanted = os.environ.get(KEY_VARIABLE, "")
        # Slow to compute, because a key may be a word that somebody with the cookie could find by trying.
        return _proof(wanted) if wanted else ""

    def report(self, study: Study) -> dict[str, Any]:
        """Return the results so far: see `cyclegan.study.report.make_report`.

        Raises:
            StudyError: the database can't be read.
        """
        from cyclegan.study.report import make_report

        return self._kept(self._reports, study, lambda votes, sessions: make_report(study, votes, sessions))

    def people(self, study: Study) -> People | None:
        """Return the answers so far, to compare them with scores; None without any.

        Raises:
            StudyError: the database can't be read.
        """
        from cyclegan.study.judged import people_of

        return self._kept(self._people, study, lambda votes, _: people_of(study, votes))

    def _kept(self, results: dict[str, tuple[float, Any]], study: Study, make: Callable[[Any, Any], Any]) -> Any:
        """Return what `make` makes of a study's votes and sessions, from `results` if it was made a moment ago."""
        from cyclegan.study.store import answers

        store = self.store(study)
        if (kept := results.get(study.name)) and time.monotonic() - kept[0] < KEPT_S:
            return kept[1]
        made = make(*answers(study, store))
        results[study.name] = time.monotonic(), made
        return made


def _pictures_of(dataset: str) -> str:
    """Return what data sets with the same pictures share: a folder's name, or streets without their numbers."""
    if re.fullmatch(r"streets(:.*)?", dataset):
        return re.sub(r"(test_)?count=\d+,?", "", dataset).rstrip(",:")
    return re.split(r"[/\\]", dataset.rstrip("/\\"))[-1]


@functools.cache
def _proof(key: str) -> str:
    return hashlib.scrypt(key.encode(), salt=b"study owner", n=2**14, r=8, p=1, dklen=32).hex()


def same_secret(given: object, wanted: str) -> bool:
    """Return whether somebody knows a secret, in a time that doesn't tell how much of it; "" is known to nobody."""
    known = isinstance(given, str) and hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
    return bool(wanted) and known
