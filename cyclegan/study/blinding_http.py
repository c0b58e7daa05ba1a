"""The part of the self-test that plays a study through the server and looks at every answer."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan.errors import StudyError, message
from cyclegan.study.findings import Finding, check_same, label
from cyclegan.study.format import Stimulus, Study
from cyclegan.study.independence import Samples

SERVED, TRIALS_SERVED = 4, 25
"""Sessions that are begun against the server, and trials of each: as many as it allows at any speed."""


def check_answers(samples: Samples, study: Study) -> list[Finding]:
    """Play some sessions by HTTP: add tokens to the samples, and check that headers and lengths are the same."""
    from cyclegan.study.server import make_app
    from cyclegan.study.simulate import NamedLogin
    from cyclegan.study.store import Store

    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder) / 'votes.sqlite3'}")
        try:
            app = make_app([study], store_of=lambda _: store, login=NamedLogin(), origin="simulated")
            answers, texts = asyncio.run(_play(app, study))
        finally:
            store.close()
    for token, (sha256, _) in answers.items():
        truth = label(study.by_hash[sha256])
        samples.add("token", token, truth)
        samples.add("last sign of the token", ord(token[-1]), truth)
    shapes = {token: {**headers, "length of an address": len(token)} for token, (_, headers) in answers.items()}
    differing, same = check_same(shapes, "headers")
    detail = message(
        "the same for {n} served picture: {names}", "the same for {n} served pictures: {names}", len(answers),
        names=", ".join(sorted(same)),
    )  # fmt: skip
    transport = message("no picture is compressed on its way, which would give each a length of its own")
    sent = [headers for _, headers in answers.values()]
    whole = all("no-transform" in h.get("cache-control", "") and "content-encoding" not in h for h in sent)
    if not whole:
        transport = message("transport: the server compresses pictures, or lets proxies do so; please report this bug")
    secrets = {study.draw_key, *study.by_hash, *(checkpoint.commit_sha for checkpoint in study.checkpoints)}
    leaked = next((secret for secret in secrets - {""} for text in texts if secret in text), None)
    text = message(
        "{n} answer holds no stimulus's hash and no commit", "{n} answers hold no stimulus's hash and no commit",
        len(texts),
    )  # fmt: skip
    if leaked:
        text = message("answers: the server names {secret}…, which only its files should; please report this bug",
                       secret=leaked[:16])  # fmt: skip
    return [
        differing or Finding("headers", True, detail), Finding("transport", whole, transport),
        Finding("answers", leaked is None, text),
    ]  # fmt: skip


async def _play(app: Any, study: Study) -> tuple[dict[str, tuple[str, dict[str, Any]]], list[str]]:
    """Return by token the hash of the sent picture and its headers; and the text of all other answers."""
    import httpx

    answers: dict[str, tuple[str, dict[str, Any]]] = {}
    texts: list[str] = []
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://check/{study.name}") as client:

        async def ask(method: str, path: str, **kwargs: Any) -> dict[str, Any]:
            answer = await client.request(method, f"http://check/{study.name}/{path}", **kwargs)
            if answer.status_code != 200:
                raise StudyError("the server refuses to play {study}: {text}", study=study.name, text=answer.text[:200])
            texts.append(answer.text)
            return answer.json()

        await ask("GET", "about")
        for number in range(SERVED):
            screen = {"width": 1280, "height": 800, "dpr": 1, "refresh_hz": 60}
            body = {"participant": f"self-test-{number}", "language": "en", "screen": screen}
            if study.consent:
                body["consent"] = study.consent.sha256
            begun = await ask("POST", "session", json=body, headers={"X-Participant": body["participant"]})
            state, headers = begun["state"], {"Authorization": f"Bearer {begun['secret']}"}
            if state["phase"] == "before":
                random = np.random.default_rng(number)
                replies = {question.id: question.made_up(random) for question in study.asked("before")}
                state = await ask("POST", "replies", json={"when": "before", "answers": replies}, headers=headers)
            for _ in range(TRIALS_SERVED):
                trial, shown = state["trial"], {}
                if trial is None:
                    break
                for side in ("left", "right"):
                    if trial.get(side):
                        token = trial[side]
                        answer = await client.get(f"http://check/{study.name}/stimulus/{token}", headers=headers)
                        sent = {k: v for k, v in answer.headers.items() if k != "date"}
                        sent["length"], sent["status"] = len(answer.content), answer.status_code
                        shown[side] = study.by_hash[hashlib.sha256(answer.content).hexdigest()]
                        answers[token] = shown[side].sha256, sent
                await ask("POST", "reveal", json={"token": trial["token"]}, headers=headers)
                vote = {"token": trial["token"], **right_answer(study, shown), **measured(study)}
                state = (await ask("POST", "vote", json=vote, headers=headers))["next"]
    return answers, texts


def right_answer(study: Study, shown: Mapping[str, Stimulus]) -> dict[str, Any]:
    """Return the answer of a participant who knows the truth; the left picture where no answer is right."""
    protocol = study.protocol
    if protocol.task == "tag":
        return {"marks": []}
    if protocol.task == "rate":
        return {"rating": 3}
    if "right" not in shown:
        return {"verdict": "real" if shown["left"].kind == "real" else "fake"}
    if protocol.task == "pick":
        return {"chosen_side": "right" if shown["left"].kind == "broken" else "left"}
    wanted = shown["left"].kind == "real" if protocol.question == "real" else shown["left"].kind != "real"
    return {"chosen_side": "left" if wanted else "right"}


def measured(study: Study, response_ms: float = 800.0) -> dict[str, Any]:
    """Return a page's measurements for an answer, on a display of 60 Hz without any problem."""
    exposure = study.protocol.exposure_ms or None
    return {
        "exposure_left_ms": exposure,
        "exposure_right_ms": exposure if study.protocol.presentation != "single" else None,
        "frames": round((exposure or 1000) * 0.06), "longest_frame_ms": 16.7, "focus_lost": False,
        "response_ms": response_ms,
    }  # fmt: skip
