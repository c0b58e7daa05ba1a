"""Synthetic participants who take part through the real server, to test everything before anyone is recruited.

Each one has an individual rate of being fooled, drawn from a beta distribution, so that their answers correlate as
people's do (beta-binomial; Griffiths 1973). They know what is real as nobody else can: by the SHA-256 of the served
picture, looked up in the study's folder. Their actions follow from the seed alone, however fast the server is, and
however often they were stopped and continued. Some can be bad participants, to see what the rules leave out.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import multiprocessing
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from cyclegan.errors import StudyError
from cyclegan.study.format import Stimulus, Study, read_study
from cyclegan.study.sequences import Trial
from cyclegan.study.server import make_app
from cyclegan.study.simulated import SimulationResult, judged
from cyclegan.study.store import Store, database_url
from cyclegan.study.synthetic import Answers
from cyclegan.study.worker import end_with_parent

FOOLING = 0.27
"""Rate at which fakes are taken for real, if no other is asked for."""
AT_ONCE = 24
"""Participants who play at the same time."""
TRIES = 30
LOST_S = 0.2
"""Wait after the first lost request; twice as long after each one, up to 16 times."""
BEHAVIOURS = ("spammers", "bots", "drop_outs", "side_bias")
"""Kinds of bad participants: always the same answer; at random, faster than pictures are shown; leave within the test;
sometimes the same side without looking."""


class NamedLogin:
    """A stand-in for accounts of Hugging Face: the header X-Participant names the user."""

    def attach(self, app: Starlette) -> None:
        """Do nothing."""

    def user(self, request: Request) -> str | None:
        """Return the name in the header."""
        return request.headers.get("x-participant")

    def url(self, request: Request, back: str) -> str:
        """Return the same address, because no login is needed."""
        return back


def simulate(
    study: Study, *, participants: int, fooling: float | Mapping[int | None, float] | None = None,
    icc: float = 0.05,
    stimulus_sd: float = 1.0, seed: int = 0, replace: bool = False, resume: bool = False,
    behaviours: Mapping[str, float] = MappingProxyType({}), store_url: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> SimulationResult:
    """Serve the study at a free port of this computer, and let marked synthetic participants take part.

    In picking, later epochs are preferred; in tagging, later ones are marked less. In rating, real pictures are rated
    highest, and later epochs higher, unless there is `fooling`.

    Args:
        participants: how many, over all arms.
        fooling: how often fakes are taken for real, 0 to 1; or rates by epoch, where None is for all others. None: 0.27
            in judging real or fake. In rating, the mean rises with it, from 1 (bad) at 0 to that of real pictures at
            0.5.
        icc: intra-participant correlation, 0 to 1, of the beta-binomial that answers follow.
        stimulus_sd: standard deviation of the stimuli's own difficulty, on the logit scale; 0 for pictures that don't
            differ, which no real ones are.
        seed: seed of all their actions; the same gives the same votes.
        replace: erase the simulated participants of an earlier run first.
        resume: continue a run with the same arguments that was stopped; its votes count in the result, too.
        behaviours: shares of participants, 0 to 1, by BEHAVIOURS; the others look and answer.
        store_url: database; None: the one for this study's simulated participants, apart from people's votes.
        progress: called with 1 for each participant who has finished.

    Raises:
        StudyError: a simulation was run before, and `replace` and `resume` are False; a number is out of range; the
            database can't be used; the server can't be reached for a minute or more; `fooling` is given for picking or
            tagging.
    """
    if study.folder is None:
        raise StudyError("{study} has no folder: write it first", study=study.name)
    if participants < 1:
        raise StudyError("participants have to be 1 or more")
    rates = _rates(study, fooling)
    if not 0 <= icc <= 1:
        raise StudyError("icc {icc} is out of range: 0 to 1", icc=icc)
    wrong = [name for name, share in behaviours.items() if name not in BEHAVIOURS or not 0 <= share <= 1]
    if wrong or sum(behaviours.values()) > 1 + 1e-9:
        raise StudyError("the shares of bad participants must be from 0 to 1, and together at most 1")
    study.check_enough()
    url = store_url or database_url(study.folder, simulated=True)
    started = time.monotonic()
    with Store(url) as store:
        if replace:
            store.erase_simulated(study)
        if not resume and (store.sessions(study)["origin"] == "simulated").any():
            raise StudyError(
                "{study} has simulated participants already: read their report, replace them with --replace, or "
                "continue a run that was stopped with --resume",
                study=study.name,
            )
    with _served(study, url) as address, Store(url) as store:
        crowd = _Crowd(study, rates, icc, stimulus_sd, seed, address, progress, behaviours)
        asyncio.run(crowd.play(participants, lambda: store.sessions(study)))
        votes, sessions = (rows[rows["origin"] == "simulated"] for rows in (store.votes(study), store.sessions(study)))
        trials, kinds = judged(study, votes, sessions, crowd.kinds)
    means = {epoch: total / count for epoch, (total, count) in crowd.given.items()}
    return SimulationResult(
        participants, crowd.votes, crowd.comparisons, crowd.fooled, time.monotonic() - started, means, trials, kinds
    )


def _rates(study: Study, fooling: float | Mapping[int | None, float] | None) -> dict[int, float]:
    """Return the rates by epoch; none where answers follow from the epochs' order."""
    if study.protocol.task in ("pick", "tag") and fooling is not None:
        raise StudyError(
            "{study} doesn't ask what is real, so leave out --fooling: its simulated participants like later epochs or "
            "methods better",
            study=study.name,
        )
    if fooling is None:
        if study.protocol.task != "realness":
            return {}
        fooling = FOOLING
    given = fooling if isinstance(fooling, Mapping) else {None: fooling}
    if unknown := [epoch for epoch in given if epoch is not None and epoch not in study.epochs]:
        have = ", ".join(map(str, study.epochs))
        raise StudyError(
            "{study} does not judge epoch {epoch}: it has {have}", study=study.name, epoch=unknown[0], have=have
        )
    rates = {epoch: given.get(epoch, given.get(None)) for epoch in study.epochs}
    for epoch, rate in rates.items():
        if rate is None:
            raise StudyError(
                "fooling has no rate for epoch {epoch}: give a rate for each, as in {epoch}=0.27", epoch=epoch
            )
        if not 0 <= rate <= 1:
            raise StudyError("fooling {rate} is out of range: 0 to 1", rate=rate)
    return rates


@contextlib.contextmanager
def _served(study: Study, url: str) -> Iterator[str]:
    """Serve the study from a process of its own, as for people; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_serve, args=(study.folder, url, listening), daemon=True)
        process.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/study/{study.name}"
        finally:
            process.terminate()
            process.join(timeout=30)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()


def _serve(folder: Path, url: str, listening: socket.socket) -> None:
    """Run the server's process. It trusts proxies, so that each participant has an individual address."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    study = read_study(folder)
    with Store(url) as store:
        app = make_app(
            [study], store_of=lambda _: store, login=NamedLogin(), origin="simulated", trust_proxy=True
        )
        config = uvicorn.Config(
            Starlette(routes=[Mount("/study", app)]), access_log=False, log_config=None, log_level="warning",
            server_header=False, proxy_headers=False, lifespan="off", timeout_graceful_shutdown=5,
        )  # fmt: skip
        # uvicorn shuts down properly at a signal, and then raises it again.
        with contextlib.suppress(KeyboardInterrupt):
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            uvicorn.Server(config).run(sockets=[listening])


# --- the participants ---------------------------------------------------------------------------------------


class _Crowd:
    """All participants, with their shared settings and counts."""

    def __init__(
        self, study: Study, rates: Mapping[int, float], icc: float, stimulus_sd: float, seed: int, address: str,
        progress: Callable[[int], object] | None, behaviours: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.study, self.rates, self.icc, self.stimulus_sd, self.seed = study, rates, icc, stimulus_sd, seed
        self.address, self.progress, self.behaviours = address, progress, behaviours
        self.votes = self.comparisons = self.fooled = 0
        self.given: dict[int, tuple[float, int]] = {}
        """Sum and number of the answers to each epoch's fakes by those who look, in the test."""
        self.kinds: dict[str, str] = {}
        ranks = np.linspace(0, 1, max(2, len(study.epochs)))
        self.rank = dict(zip(study.epochs, ranks.tolist(), strict=False))

    def random(self, *what: object) -> np.random.Generator:
        """Return a generator that depends on nothing but the seed and `what`."""
        digest = hashlib.sha256("|".join(map(str, (self.seed, *what))).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))

    async def play(self, count: int, begun: Callable[[], Any]) -> None:
        """Begin one after the other, so that the same ones get the same arms; then play in parallel.

        Args:
            begun: returns the sessions, as `Store.sessions`.
        """
        async with contextlib.AsyncExitStack() as stack:
            # A client each, because one for all would search all its connections at each request.
            free: asyncio.Queue[httpx.AsyncClient] = asyncio.Queue()
            unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # Otherwise each reads all certificates, for plain HTTP.
            for _ in range(min(AT_ONCE, count)):
                free.put_nowait(await stack.enter_async_context(httpx.AsyncClient(timeout=60, verify=unused)))
            everyone = [_Participant(self, number) for number in range(count)]
            self.kinds = {participant.name: participant.behaviour for participant in everyone}
            first = await free.get()
            for participant in everyone:
                await participant.begin(first)
            free.put_nowait(first)
            if late := [participant for participant in everyone if participant.has_played]:
                rows = begun().itertuples(index=False)
                places = {row.participant.removeprefix("hf:"): (row.arm, row.slot) for row in rows}
                for participant in late:
                    participant.catch_up(self.study.trials(*places[participant.name]))

            async def one(participant: _Participant) -> None:
                client = await free.get()
                try:
                    await participant.finish(client)
                finally:
                    free.put_nowait(client)
                if self.progress is not None:
                    self.progress(1)

            tasks = [asyncio.ensure_future(one(participant)) for participant in everyone]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


class _Participant(Answers):
    """One participant with a browser."""

    def __init__(self, crowd: _Crowd, number: int) -> None:
        self.crowd, self.study, self.number = crowd, crowd.study, number
        self.name = f"simulated-{number + 1:04d}"
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.headers = {"X-Forwarded-For": address, "X-Participant": self.name}
        # Their quantile of the distribution is the same at every epoch: some people are easily fooled.
        self.quantile = float(crowd.random("participant", number).random())
        self.behaviour, self.side, self.last = "", 0, math.inf
        if crowd.behaviours:
            random = crowd.random("behaviour", number)
            bounds = np.cumsum([crowd.behaviours.get(name, 0.0) for name in BEHAVIOURS])
            self.behaviour = [*BEHAVIOURS, ""][int(np.searchsorted(bounds, random.random(), side="right"))]
            self.side = int(random.integers(2))
            if self.behaviour == "drop_outs":
                self.last = int(random.integers(1, 1 + self.study.protocol.test_trials))
        random = crowd.random("screen", number)
        self.screen = ((1280, 800, 1), (1920, 1080, 1), (390, 844, 3))[random.integers(3)]
        self.language = ("en", "ko")[random.integers(2)]
        self.right: list[bool] = []
        self.remembered: dict[frozenset[str], str] = {}
        self.state: dict[str, Any] = {}
        self.plan: Sequence[Trial] = ()

    async def begin(self, client: httpx.AsyncClient) -> None:
        """Open the session."""
        screen = dict(zip(("width", "height", "dpr"), self.screen, strict=True)) | {"refresh_hz": 60}
        body = {"participant": self.name, "language": self.language, "screen": screen}
        if self.study.consent:
            body["consent"] = self.study.consent.sha256
        body["key"] = hashlib.sha256(f"{self.crowd.seed}|{self.number}".encode()).hexdigest()  # Of their one session.
        begun = (await self.ask(client, "POST", "session", json=body)).json()
        self.state = begun["state"]
        self.headers["Authorization"] = f"Bearer {begun['secret']}"

    async def finish(self, client: httpx.AsyncClient) -> None:
        """Answer all trials that are left, and the questions before and after them."""
        await self.reply(client, "before")
        while (trial := self.state["trial"]) is not None:
            if self.state["phase"] == "test" and self.state["number"] > self.last:
                return
            if trial["seen"]:
                shown = _shown(self.plan[self.played])
            elif (shown := await self.fetched(client, trial)) is None:
                self.state = (await self.ask(client, "GET", "session")).json()
                continue
            else:
                await self.ask(client, "POST", "reveal", json={"token": trial["token"]})
            random = self.random()
            answer = self.answer(shown, random) | self.measured({} if trial["seen"] else shown, random)
            ack = (await self.ask(client, "POST", "vote", json={"token": trial["token"], **answer})).json()
            self.crowd.votes += 1
            self.state = ack["next"]
        await self.reply(client, "after")

    async def reply(self, client: httpx.AsyncClient, when: str) -> None:
        """Answer the owner's questions, if they are due."""
        if self.state["phase"] == when:
            random = self.crowd.random(when, self.number)
            answers = {question.id: question.made_up(random) for question in self.study.asked(when)}
            body = {"when": when, "answers": answers}
            self.state = (await self.ask(client, "POST", "replies", json=body)).json()

    async def fetched(self, client: httpx.AsyncClient, trial: Mapping[str, Any]) -> dict[str, Stimulus] | None:
        """Return the pictures of a trial by side; None if one was sent before and lost on the way."""
        shown = {}
        for side in ("left", "right"):
            if trial[side] is not None:
                answer = await self.ask(client, "GET", f"stimulus/{trial[side]}", also=(410,))
                if answer.status_code != 200:
                    return None
                shown[side] = self.recognise(answer.content)
        return shown

    @property
    def played(self) -> int:
        """The number of trials that are voted on."""
        practice = self.study.protocol.practice_trials
        number = {"practice": self.state["number"] - 1, "test": practice + self.state["number"] - 1,
                  "after": self.study.trials_per_session,
                  "done": self.study.trials_per_session, "disqualified": practice}  # fmt: skip
        return number.get(self.state["phase"], 0)

    @property
    def has_played(self) -> bool:
        """True if an earlier run of the simulation has come further than the beginning."""
        return self.played > 0 or bool(self.state["trial"] and self.state["trial"]["seen"])

    def catch_up(self, plan: Sequence[Trial]) -> None:
        """Remember and count what was answered before the simulation was stopped: it follows from the seed.

        Args:
            plan: all trials of the session.
        """
        self.plan, now, played = plan, self.state, self.played
        for trial in plan[:played]:
            before = self.study.protocol.practice_trials if trial.phase == "test" else 0
            self.state = {"phase": trial.phase, "number": trial.index + 1 - before}
            self.answer(_shown(trial), self.random())
        self.crowd.votes += played
        self.state = now

    def random(self) -> np.random.Generator:
        """Return the generator of the current trial."""
        return self.crowd.random("trial", self.number, self.state["phase"], self.state["number"])

    async def ask(
        self, client: httpx.AsyncClient, method: str, path: str, *, also: Container[int] = (), **kwargs: Any
    ) -> httpx.Response:
        """Send a request, again if the server is busy or can't be reached; return the answer, if it is 200 or `also`.

        What is sent twice is answered as the first time, except for a picture.
        """
        for number in range(TRIES):
            try:
                answer = await client.request(method, f"{self.crowd.address}/{path}", headers=self.headers, **kwargs)
            except httpx.TransportError as error:
                if number == TRIES - 1:
                    raise StudyError(
                        "the server can't be reached ({reason}): once it can be, continue with --resume",
                        reason=str(error) or type(error).__name__,
                    ) from error
                await asyncio.sleep(LOST_S * 2 ** min(number, 4))
                continue
            if answer.status_code not in (429, 503):
                break
            await asyncio.sleep(float(answer.headers.get("retry-after", 1)))
        if answer.status_code != 200 and answer.status_code not in also:
            raise StudyError(
                "the server refused {name} ({status_code}): {text}",
                name=self.name, status_code=answer.status_code, text=answer.text[:200],
            )
        return answer

    def recognise(self, content: bytes) -> Stimulus:
        """Return the stimulus that was served, by its hash."""
        stimulus = self.study.by_hash.get(hashlib.sha256(content).hexdigest())
        if stimulus is None:
            raise StudyError(
                "the server sent {name} a picture that isn't a stimulus of {study}",
                name=self.name, study=self.study.name,
            )
        return stimulus


def _shown(trial: Trial) -> dict[str, Stimulus]:
    """Return the pictures of a trial by side, as they are fetched."""
    return dict(zip(("left", "right"), trial.stimuli, strict=False))
