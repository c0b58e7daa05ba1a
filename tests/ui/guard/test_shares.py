"""A visitor's share of the queue, and the end of what nobody listens to."""

import asyncio
import threading
import time
import uuid
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from cyclegan.ui.guard import forget_sessions, shares
from cyclegan.ui.guard.disk import GRACE_S
from cyclegan.ui.guard.shares import SHARES, Share, Shares
from cyclegan.ui.guard.visitors import Attendance, address_of


def request(address="10.0.0.1", **headers):
    return SimpleNamespace(client=SimpleNamespace(host=address), headers=headers)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Queue:
    """As much of gradio's queue as is looked at; its events only wait. Through the running app: test_attacks.py."""

    def __init__(self):
        self.event_queue_per_concurrency_id, self.active_jobs = {}, [None]

    async def push(self, *, body, request, username):
        kind = ("jobs", "others")[body.fn_index]
        event = SimpleNamespace(_id=uuid.uuid4().hex, request=request, concurrency_id=kind, alive=True,
                                enqueue_time=time.monotonic())  # fmt: skip
        event.session_hash = body.session_hash or event._id
        self.event_queue_per_concurrency_id.setdefault(kind, SimpleNamespace(queue=[])).queue.append(event)
        return True, event._id, "success"

    async def clean_events(self, *, event_id):
        for waiting in self.event_queue_per_concurrency_id.values():
            waiting.queue = [event for event in waiting.queue if event._id != event_id]

    def send_message(self, event, message):
        pass


@pytest.fixture
def demo(monkeypatch):
    """An app with a function of each kind."""
    monkeypatch.setitem(SHARES, "jobs", Share(1, 3, 5))
    monkeypatch.setattr(shares, "OTHERS", Share(4, 6, 8))
    fns = {number: SimpleNamespace(concurrency_id=kind) for number, kind in enumerate(("jobs", "others"))}
    return SimpleNamespace(fns=fns, _queue=Queue())


@pytest.fixture
def shared(demo):
    clock = Clock()
    made = Shares(demo, Attendance(clock), own=False, seen=lambda session, data: made.told.append((session, data)))
    made.told, made.clock = [], clock
    return made


def push(demo, kind="jobs", session=None, who=None):
    body = SimpleNamespace(session_hash=session, data=["x"], fn_index=("jobs", "others").index(kind))
    taken, said, _ = asyncio.run(demo._queue.push(body=body, request=who or request(), username=None))
    return taken, said


def test_one_session_has_one_job_at_a_time(shared, demo):
    assert push(demo, session="ann")[0]
    taken, said = push(demo, session="ann")
    assert not taken and said.startswith("1 request of yours, or of others in your network, is still at work here")
    assert push(demo, session="bob")[0]


def test_one_address_has_a_share_and_leaves_room_for_others(shared, demo):
    taken = [push(demo)[0] for _ in range(66)]  # Without a session each is one of its own.
    assert sum(taken) == 3
    assert push(demo, who=request("10.0.0.2"))[0]
    assert push(demo, "others", session="ann")[0]  # Other kinds aren't held up.
    assert push(demo, who=request("10.0.0.3"))[0]
    taken, said = push(demo, who=request("10.0.0.4"))
    assert not taken and said == "Too many visitors are waiting here: try again in a minute."
    assert "작업" in push(demo, who=request(**{"accept-language": "ko"}))[1]


def test_quick_events_have_a_larger_share(shared, demo):
    assert [push(demo, "others", session="ann")[0] for _ in range(5)] == [True] * 4 + [False]
    assert [push(demo, "others")[0] for _ in range(4)] == [True, True, False, False]


def test_a_session_has_a_name_of_usual_length(shared, demo):
    assert push(demo, session="x" * 101) == (False, "the session's name is too long")


def test_those_who_come_by_tools_share_an_address_not_a_session(shared, demo):
    tool = request(**{"x-gradio-user": "mcp"})
    assert [push(demo, session="tools", who=tool)[0] for _ in range(4)] == [True] * 3 + [False]


def test_the_owner_has_no_share(demo):
    Shares(demo, Attendance(), own=True, seen=lambda *_: None)
    assert all(push(demo, session="me")[0] for _ in range(30))


def test_an_address_is_the_proxy_s_word_in_a_space_only(monkeypatch):
    forged = request("10.0.0.1", **{"x-forwarded-for": "1.2.3.4, 5.6.7.8"})
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert address_of(forged) == "10.0.0.1"
    monkeypatch.setenv("SPACE_ID", "a/b")
    assert address_of(forged) == "5.6.7.8" and address_of(request("10.0.0.1")) == "10.0.0.1"


def drop(shared):
    """As the app's guard does, with the queue's loop here."""

    async def run():
        shared._loop = asyncio.get_running_loop()
        shared.drop_unheard()
        await asyncio.sleep(0.05)

    asyncio.run(run())
    return len(list(shared.events()))


def test_what_nobody_listens_to_ends(shared, demo):
    for session in ("ann", "bob", None):
        assert push(demo, session=session)[0]
    begun = [event for event in shared.events() if event.session_hash not in ("ann", "bob")]
    for event in shared.events():
        event.enqueue_time = shared.clock.now
    shared.clock.now += shares.PATIENCE_S - 1
    assert drop(shared) == 3
    with shared.attendance.listening("ann"), shared.attendance.listening(begun[0]._id):
        shared.clock.now += 2
        assert drop(shared) == 2  # Bob's.
        shared.clock.now += 1000
        assert drop(shared) == 2
    shared.clock.now += shares.PATIENCE_S - 1
    assert drop(shared) == 2
    shared.clock.now += 1
    assert drop(shared) == 0


def test_what_gradio_keeps_of_sessions_that_are_gone_is_dropped(shared):
    now, long_ago = datetime.now(), datetime.now() - timedelta(seconds=GRACE_S + 1)
    used = {"here": long_ago, "gone": long_ago, "just left": now}
    holder = SimpleNamespace(lock=threading.Lock(), time_last_used=dict(used), session_data=dict.fromkeys(used))
    with shared.attendance.listening("here"):
        forget_sessions(SimpleNamespace(app=SimpleNamespace(state_holder=holder)), shared.attendance)
    assert set(holder.session_data) == set(holder.time_last_used) == {"here", "just left"}


def test_the_first_look_may_come_before_the_launch_has_ended(shared):
    forget_sessions(SimpleNamespace(app=None), shared.attendance)  # Nothing is kept yet.


def test_what_a_session_sends_is_noted(shared, demo):
    push(demo, session="ann")
    assert shared.told == [("ann", ["x"])]
