"""A message and an upload have bounds, whatever they say about their length."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from cyclegan.ui.guard import bodies


@pytest.fixture
def taken():
    return []


@pytest.fixture
def client(monkeypatch, taken):
    monkeypatch.setattr(bodies, "MAX_MESSAGE_BYTES", 1000)
    monkeypatch.setattr(bodies, "MAX_UPLOAD_BYTES", 5000)

    async def page(request: Request):
        try:
            async for part in request.stream():
                taken.append(len(part))
        except Exception:
            return PlainTextResponse("a parser that failed, and doesn't know why", 400)
        return PlainTextResponse("taken")

    routes = [Route("/{path:path}", page, methods=["POST"])]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(bodies.Bodies, own=False)]))


def pieces(count):
    for _ in range(count // 100):
        yield b"x" * 100


@pytest.mark.parametrize("path, most", [("/gradio_api/call/translate", 1000), ("/gradio_api/upload", 5000),
                                        ("/gradio_api/upload/", 5000), ("/study/tiny/session", 1000)])  # fmt: skip
def test_more_than_the_bound_is_refused(client, taken, path, most):
    assert client.post(path, content=b"x" * most).text == "taken"
    taken.clear()
    answer = client.post(path, content=b"x" * (most + 1))
    assert answer.status_code == 413 and "more than" in answer.json()["detail"] and not taken
    for _ in range(2):  # Without a length, it is counted.
        answer = client.post(path, content=pieces(most + 100))
        assert answer.status_code == 413 and sum(taken) <= most
        taken.clear()


@pytest.mark.parametrize("length", ["-1", "1e9", "²", "9" * 400, "10 10", ""])
def test_whatever_it_says_about_its_length(client, length):
    answer = client.post("/x", content=b"x" * 2000, headers={"content-length": length.encode()})
    assert answer.status_code == 413


def test_the_owner_s_bound_is_larger():
    assert bodies.MAX_OWN_UPLOAD_BYTES > 10 * bodies.MAX_UPLOAD_BYTES
    assert bodies.Bodies(None, own=True).most_uploaded == bodies.MAX_OWN_UPLOAD_BYTES
