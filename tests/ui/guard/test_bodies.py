"""A message and an upload have bounds, whatever they say about their length."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from cyclegan.ui.guard import bodies


@pytest.fixture
def taken():
    return []


class Ledger:
    """Instead of the disk's account."""

    def __init__(self):
        self.room, self.uploads = True, []

    def begin(self, address, size):
        self.uploads.append((address, size))
        return len(self.uploads) - 1 if self.room else None

    def end(self, number, paths):
        self.uploads[number] += (paths,)


@pytest.fixture
def disk():
    return Ledger()


@pytest.fixture
def client(monkeypatch, taken, disk):
    monkeypatch.setattr(bodies, "MAX_MESSAGE_BYTES", 1000)
    monkeypatch.setattr(bodies, "MAX_UPLOAD_BYTES", 5000)

    async def page(request: Request):
        try:
            async for part in request.stream():
                taken.append(len(part))
        except Exception:
            return PlainTextResponse("a parser that failed, and doesn't know why", 400)
        return JSONResponse(["/gradio/a.png"]) if "upload" in request.url.path else PlainTextResponse("taken")

    routes = [Route("/{path:path}", page, methods=["POST"])]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(bodies.Bodies, own=False, disk=disk)]))


def pieces(count):
    for _ in range(count // 100):
        yield b"x" * 100


@pytest.mark.parametrize("path, most", [("/gradio_api/call/translate", 1000), ("/gradio_api/upload", 5000),
                                        ("/gradio_api/upload/", 5000), ("/study/tiny/session", 1000)])  # fmt: skip
def test_more_than_the_bound_is_refused(client, taken, path, most):
    assert client.post(path, content=b"x" * most).status_code == 200
    taken.clear()
    answer = client.post(path, content=b"x" * (most + 1))
    assert answer.status_code == 413 and "more than" in answer.json()["detail"] and not taken
    for _ in range(2):  # Without a length, it is counted; an upload needs one.
        answer = client.post(path, content=pieces(most + 100))
        assert answer.status_code == (411 if "upload" in path else 413) and sum(taken) <= most
        taken.clear()


@pytest.mark.parametrize("length", ["-1", "1e9", "²", "9" * 400, "10 10", ""])
def test_whatever_it_says_about_its_length(client, length):
    answer = client.post("/x", content=b"x" * 2000, headers={"content-length": length.encode()})
    assert answer.status_code == 413


def test_the_owner_s_bound_is_larger(disk):
    assert bodies.MAX_OWN_UPLOAD_BYTES > 10 * bodies.MAX_UPLOAD_BYTES
    assert bodies.Bodies(None, own=True, disk=disk).most_uploaded == bodies.MAX_OWN_UPLOAD_BYTES


def test_uploads_are_noted_with_their_address_and_refused_without_room(client, disk, taken):
    client.post("/gradio_api/upload", content=b"xyz")
    client.post("/gradio_api/call/translate", content=b"x")
    assert disk.uploads == [("testclient", 3, ["/gradio/a.png"])]
    disk.room = False
    taken.clear()
    answer = client.post("/gradio_api/upload", content=b"x")
    assert disk.uploads.pop() == ("testclient", 1) and answer.status_code == 507 and not taken
    assert "no room for these files" in answer.json()["detail"]


def test_an_upload_of_more_bytes_than_it_says_is_broken_off(client, disk, taken):
    answer = client.post("/gradio_api/upload", content=pieces(4000), headers={"content-length": "100"})
    assert answer.status_code == 413 and disk.uploads == [("testclient", 100, None)] and sum(taken) <= 100


def test_a_call_of_a_page_s_function_is_small(client):
    assert client.post("/gradio_api/component_server", content=b"x" * (bodies.MAX_CALL_BYTES + 1)).status_code == 413
