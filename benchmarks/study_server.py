"""Shared by the benchmarks of studies: a study of made-up pictures, its server as people start it, participants."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image, ImageFilter

from benchmarks.machine import ROOT
from cyclegan.study.format import PlannedCheckpoint, Stimulus, Study, commitment, write_study
from cyclegan.study.protocol import protocol

SIDE = 256
BYTES = 130_000
"""Size of each stimulus, about that of a photograph as PNG."""

SECRET = "0123456789abcdef" * 4


def make_study(folder: Path, *, scenes: int = 60, **overrides: Any) -> Study:
    """Write a study of the protocol cyclegan2017 whose pictures are soft noise."""
    rng = np.random.default_rng(0)
    contents: dict[str, bytes] = {}

    def picture() -> str:
        soft = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).filter(
            ImageFilter.GaussianBlur(1.2)
        )
        file = io.BytesIO()
        soft.save(file, "PNG")
        content = file.getvalue().ljust(BYTES, b"\0")
        assert len(content) == BYTES
        sha256 = hashlib.sha256(content).hexdigest()
        contents[sha256] = content
        return sha256

    stimuli = [Stimulus(picture(), "fake", f"a/{n}", 20) for n in range(scenes)]
    stimuli += [Stimulus(picture(), "real", f"b/{n}") for n in range(scenes)]
    study = Study(
        name=folder.name, title="Benchmark", protocol=protocol("cyclegan2017", **overrides), direction="ab",
        domains=("a", "b"), dataset="noise", checkpoints=(PlannedCheckpoint(20, "0" * 40, "none"),), seed=0,
        size=(SIDE, SIDE), stimuli=tuple(stimuli), bytes_per_stimulus=BYTES, secret=SECRET,
        secret_sha256=commitment(SECRET),
    )  # fmt: skip
    return write_study(study, contents, folder)


class Server:
    """`python -m cyclegan study serve`, on the same port after every restart.

    Args:
        study: the study's folder.
        database: the address of a database; None: the study's own file.
    """

    def __init__(self, study: Path, database: str | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.study, self.process = study, None
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "DATABASE_URL": database or ""}
        self.address = f"http://127.0.0.1:{self.port}/study/{study.name}"

    def start(self) -> float:
        """Start the server; return the seconds until it answers."""
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cyclegan", "study", "serve", str(self.study), "--port", str(self.port)],
            cwd=ROOT, stdout=subprocess.DEVNULL, env=self.environment,
        )  # fmt: skip
        while self.process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.address}/about", timeout=5).status_code == 200:
                    return time.perf_counter() - began
            time.sleep(0.02)
        raise SystemExit("the server ended by itself")

    def kill(self) -> None:
        """Kill the server, as a power cut does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """Stop the server in order."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        """Run the server for a `with` block."""
        self.start()
        try:
            yield self
        finally:
            self.kill() if self.process.poll() is None and sys.exc_info()[0] else self.stop()


class Participant:
    """A participant whose browser retries failed requests.

    Args:
        number: identifies the participant.
        patience_s: how long a request is retried; 0: every failure is an error.
    """

    def __init__(self, client: httpx.AsyncClient, address: str, number: int, *, patience_s: float = 0.0) -> None:
        self.client, self.address, self.number, self.patience_s = client, address, number, patience_s
        self.headers: dict[str, str] = {}
        self.state: dict[str, Any] = {}
        self.random = random.Random(number)
        self.acknowledged: dict[tuple[str, int], str] = {}
        """The answer of each acknowledged vote, by phase and number within it."""
        self.vote_s: list[float] = []
        self.errors: list[str] = []

    @property
    def done(self) -> bool:
        """True once nothing is left to judge."""
        return self.state.get("trial") is None

    async def begin(self) -> None:
        """Open the session."""
        screen = {"width": 390, "height": 844, "dpr": 3, "refresh_hz": 60}
        body = {"participant": f"p{self.number}", "language": "en", "screen": screen, "key": f"{self.number:064x}"}
        answer = await self.ask("POST", "session", json=body)
        self.headers["Authorization"] = f"Bearer {answer['secret']}"
        self.state = answer["state"]

    async def trial(self, seconds: float = 0.0) -> None:
        """Do one trial of at least `seconds`, with the vote at its end."""
        began, trial = time.perf_counter(), self.state["trial"]
        if not trial["seen"]:
            shown = [trial[side] for side in ("left", "right")]
            got = await asyncio.gather(*(self.ask("GET", f"stimulus/{token}", raw=True) for token in shown))
            if not all(got):  # An address works once; after a failure, ask for the trial again.
                self.state = await self.ask("GET", "session")
                return
            if await self.ask("POST", "reveal", json={"token": trial["token"]}) is None:
                self.state = await self.ask("GET", "session")
                return
        await asyncio.sleep(max(0.0, seconds - (time.perf_counter() - began)))
        side = self.random.choice(("left", "right"))
        vote = {
            "token": trial["token"], "chosen_side": side, "exposure_left_ms": 1000.0, "exposure_right_ms": 1000.0,
            "frames": 60, "longest_frame_ms": 16.7, "focus_lost": False, "response_ms": 800.0,
        }  # fmt: skip
        sent = time.perf_counter()
        answer = await self.ask("POST", "vote", json=vote)
        self.vote_s.append(time.perf_counter() - sent)
        if answer is None:
            self.state = await self.ask("GET", "session")
            return
        self.acknowledged[self.state["phase"], self.state["number"]] = side
        self.state = answer["next"]

    async def ask(self, method: str, path: str, *, raw: bool = False, **kwargs: Any) -> Any:
        """Send a request, again while the server is away or busy; return None if it is refused for good."""
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                answer = await self.client.request(method, f"{self.address}/{path}", headers=self.headers, **kwargs)
                if answer.status_code == 200:
                    return answer.content if raw else answer.json()
                said = f"{answer.status_code} {answer.text[:80]}"
                again = answer.status_code in (429, 500, 502, 503)
            except httpx.HTTPError as error:
                said, again = type(error).__name__, True
            if not again or time.monotonic() > deadline:
                self.errors.append(f"{method} {path.split('/')[0]}: {said}")
                return None
            await asyncio.sleep(0.1)
