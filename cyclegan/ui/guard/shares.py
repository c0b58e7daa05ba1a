"""A visitor's share of the queue, and the end of work that nobody listens to.

Gradio has one queue for all visitors and no bound for one of them: 66 small requests for one video, which never asked
for their answers, kept everybody else out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from cyclegan.ui import words
from cyclegan.ui.guard.visitors import MAX_NAME, Attendance, address_of

PATIENCE_S = 15.0
"""Work that nobody has listened to for so long ends. A program asks for answers right after it has asked for work."""


@dataclass(frozen=True)
class Share:
    """So many events of a kind may wait or run."""

    session: int
    address: int
    """Several people may sit behind one."""
    all: int


SHARES = {"jobs": Share(1, 4, 24), "people": Share(8, 64, 256)}
"""The shares of events that take long, by their `concurrency_id`: videos and many files; pictures."""
OTHERS = Share(48, 400, 1000)
"""The share of the others, which take milliseconds. A class that opens its pages at once sends some hundred."""


class Shares:
    """Watches gradio's queue.

    Args:
        demo: the composed app, before its launch.
        attendance: knows who listens.
        own: the owner has no share, because the whole computer is theirs; work that nobody listens to ends, too.
        seen: called with a session and what it sends or gets.
    """

    def __init__(
        self, demo: gr.Blocks, attendance: Attendance, *, own: bool, seen: Callable[[str, Any], None]
    ) -> None:
        self.demo, self.attendance, self.own, self.seen = demo, attendance, own, seen
        queue = demo._queue
        self._push, self._tell = queue.push, queue.send_message
        self._loop: asyncio.AbstractEventLoop | None = None
        queue.push, queue.send_message = self.push, self.tell  # type: ignore[method-assign]

    async def push(self, *, body: Any, request: Any, username: str | None) -> tuple[bool, Any, str]:
        """Take an event into the queue, or return why not, as gradio's own `push` does."""
        self._loop = asyncio.get_running_loop()
        if len(body.session_hash or "") > MAX_NAME:
            return False, "the session's name is too long", "error"
        if not self.own and (problem := self.problem(body, request)):
            return False, problem, "error"
        taken, event, state = await self._push(body=body, request=request, username=username)
        if taken and body.session_hash:
            self.seen(body.session_hash, body.data)
        return taken, event, state  # type: ignore[return-value]

    def tell(self, event: Any, message: Any) -> None:
        """Send a message to an event's listener."""
        output = getattr(message, "output", None)
        if isinstance(output, dict):
            self.seen(event.session_hash, output.get("data"))
        self._tell(event, message)

    def problem(self, body: Any, request: Any) -> str:
        """Return why a visitor's event has no place, empty if it has one."""
        fn = self.demo.fns.get(body.fn_index)  # Gradio itself refuses an unknown one.
        share, address = SHARES.get(fn.concurrency_id if fn else "", OTHERS), address_of(request)
        alike = [event for event in self.events() if SHARES.get(event.concurrency_id, OTHERS) is share]
        # Gradio's MCP server has one session for all who use it.
        alone = request.headers.get("x-gradio-user") != "mcp"
        of_session = sum(event.session_hash == body.session_hash for event in alike) if alone else 0
        of_address = sum(address_of(event.request) == address for event in alike)
        say = words.speaker(request)
        if of_session >= share.session or of_address >= share.address:
            return say(
                "{n} request of yours, or of others in your network, is still at work here: try again when it is done.",
                "{n} requests of yours, or of others in your network, are still at work here: try again when they are "
                "done.", max(of_session, of_address),
            )  # fmt: skip
        if len(alike) >= share.all:
            return say("Too many visitors are waiting here: try again in a minute.")
        return ""

    def events(self) -> Iterator[Any]:
        """Yield the events that wait or run."""
        queue = self.demo._queue
        for waiting in list(queue.event_queue_per_concurrency_id.values()):
            yield from list(waiting.queue)
        for running in list(queue.active_jobs):
            yield from (event for event in running or () if event.alive)

    def drop_unheard(self) -> None:
        """End events that nobody listens to; gradio ends a running one at its next step."""
        for event in list(self.events()):  # Gradio's clock is the attendance's, too.
            absent_s = self.attendance.absent_s((event.session_hash, event._id), event.enqueue_time)
            if absent_s >= PATIENCE_S and self._loop:
                asyncio.run_coroutine_threadsafe(self.demo._queue.clean_events(event_id=event._id), self._loop)
