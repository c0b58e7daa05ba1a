"""Pages say that they are open, and hold no connection for it. In a browser: test_translate_browser.py."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Route

from cyclegan.ui.guard import presence
from cyclegan.ui.guard.presence import Presence
from cyclegan.ui.guard.visitors import Attendance, Listeners
from tests.ui.guard.test_shares import Clock

PAGE = "<html><head></head><body>é<script>window.gradio_config = {}</script></body></html>"


class Place:
    """An app with gradio's stream, which notes whose streams have ended."""

    def __init__(self):
        self.ended, self.clock, self.attendance = [], Clock(), Attendance()
        self.app = Starlette(
            routes=[
                Route("/gradio_api/heartbeat/{name}", self.heartbeat),
                Route("/", lambda request: HTMLResponse(PAGE)),
                Route("/other", lambda request: HTMLResponse("<head></head>")),
            ],
            middleware=[Middleware(Presence, clock=self.clock), Middleware(Listeners, attendance=self.attendance)],
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://app")

    async def heartbeat(self, request):
        async def beats():
            try:
                while True:
                    yield "data: ALIVE\n\n"
                    await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                self.ended.append(request.path_params["name"])
                raise

        return StreamingResponse(beats(), media_type="text/event-stream")

    async def say(self, name, what="open"):
        answer = await self.client.post(f"/gradio_api/heartbeat/{name}?page={what}")
        assert answer.status_code == 204

    async def until(self, condition):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def visit(monkeypatch):
    """Run a visit of the app's pages within a minute."""
    monkeypatch.setattr(presence, "LOOK_S", 0.01)

    def run(visiting):
        place = Place()
        asyncio.run(asyncio.wait_for(visiting(place), 60))

    return run


def test_a_page_is_there_until_it_says_that_it_is_gone(visit):
    async def visiting(place):
        await place.say("ann", "gone")  # Nobody knows it.
        await place.say("ann")
        await place.say("ann")
        await place.until(lambda: place.attendance.listens("ann"))
        assert place.ended == []
        await place.say("ann", "gone")
        await place.until(lambda: not place.attendance.listens("ann"))
        assert place.ended == ["ann"]
        assert place.attendance.gone(0.0, 1000.0) == ["ann"]  # It was a page.
        await place.say("ann")  # As after the browser's button Back.
        await place.until(lambda: place.attendance.listens("ann"))

    visit(visiting)


def test_a_silent_page_is_gone_at_last(visit):
    async def visiting(place):
        await place.say("ann")
        await place.say("bob")
        await place.until(lambda: place.attendance.listens("ann") and place.attendance.listens("bob"))
        place.clock.now += presence.SILENT_S - 1
        await place.say("bob")
        place.clock.now += 2
        await place.until(lambda: place.ended)
        assert place.ended == ["ann"] and place.attendance.listens("bob")

    visit(visiting)


def test_streams_are_bounded_and_endless_names_are_not_held(visit, monkeypatch):
    monkeypatch.setattr(presence, "MOST_OF_ADDRESS", 2)

    async def visiting(place):
        for name in ("%00", "a%20b", "ann", "bob", "cid", "n" * 101):
            await place.say(name)
        await place.until(lambda: place.attendance.listens("ann") and place.attendance.listens("bob"))
        assert not place.attendance.listens("cid") and not place.attendance.listens("n" * 101)
        await place.say("ann", "gone")
        await place.until(lambda: place.ended)
        await place.say("cid")  # There is room again.
        await place.until(lambda: place.attendance.listens("cid"))

    visit(visiting)


def test_only_pages_of_gradio_get_the_script(visit):
    async def visiting(place):
        page, other = (await place.client.get("/")), (await place.client.get("/other"))
        assert "window.fetch = function" in page.text and page.text.endswith(PAGE.partition("</head>")[2])
        assert int(page.headers["content-length"]) == len(page.content)
        assert other.text == "<head></head>"
        plain = await place.client.post("/gradio_api/heartbeat/ann")
        assert plain.status_code == 405  # As gradio answers.

    visit(visiting)
