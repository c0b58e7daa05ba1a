"""The thread that runs the networks for everybody, with translators that only write down what they are asked for."""

import threading
from concurrent.futures import CancelledError
from types import SimpleNamespace

import pytest
from PIL import Image

from cyclegan.ui.engine import LATER, NOW, Engine


class Recorder:
    """A translator that notes its calls; the first one waits until it is let go."""

    def __init__(self, room=4, fails_on=()):
        self.calls, self.room, self.fails_on = [], room, fails_on
        self.entered, self.go_on = threading.Event(), threading.Event()

    def batch_size(self, worked):
        return self.room

    def translate_many(self, images, direction, *, reconstruct=False, size=None, progress=None, cancelled=None):
        self.calls.append((direction, [image.getpixel((0, 0))[0] for image in images], size))
        self.entered.set()
        progress(0.25)
        while not self.go_on.wait(0.01):
            if cancelled():
                raise CancelledError
        if any(call in self.fails_on for call in self.calls[-1][1]):
            raise ValueError("one is bad")
        return [SimpleNamespace(fake=image, direction=direction) for image in images]


def picture(number, size=(8, 6)):
    return Image.new("RGB", size, (number, 0, 0))


@pytest.fixture
def busy():
    """An engine whose thread is held by a first job, and that job."""
    engine, holder = Engine(workers=1), Recorder()
    first = engine.submit(holder, [picture(0)], "ab")
    assert holder.entered.wait(300)
    yield engine, holder
    holder.go_on.set()
    first.result(300)


def test_waiting_pictures_of_one_kind_go_together_within_the_room(busy):
    engine, holder = busy
    shared = Recorder(room=3)
    shared.go_on.set()
    same = [engine.submit(shared, [picture(n)], "ab") for n in range(1, 5)]
    other = [engine.submit(shared, [picture(5)], "ba"), engine.submit(shared, [picture(6, (6, 8))], "ab")]
    scaled = engine.submit(shared, [picture(7, (16, 12))], "ab", size=6)
    holder.go_on.set()
    for number, done in enumerate([*same, *other, scaled], 1):
        assert done.result(300)[0].fake.getpixel((0, 0))[0] == number
    assert [sorted(numbers) for _, numbers, _ in shared.calls] == [[1, 2, 3], [4, 7], [5], [6]]


def test_a_video_waits_for_everybody(busy):
    engine, holder = busy
    shared = Recorder(room=1)
    shared.go_on.set()
    behind = engine.behind(shared)
    frames = threading.Thread(target=lambda: [behind.translate_batch([picture(n)], "ab") for n in (100, 101)])
    frames.start()
    while not engine._jobs:
        pass
    people = [engine.submit(shared, [picture(n)], "ab", urgency=NOW) for n in (1, 2)]
    holder.go_on.set()
    for done in people:
        done.result(300)
    frames.join(300)
    assert [numbers for _, numbers, _ in shared.calls] == [[1], [2], [100], [101]]
    assert LATER > NOW


def test_one_bad_picture_spoils_nobody_elses(busy):
    engine, holder = busy
    shared = Recorder(fails_on=(2,))
    shared.go_on.set()
    good, bad = engine.submit(shared, [picture(1)], "ab"), engine.submit(shared, [picture(2)], "ab")
    holder.go_on.set()
    assert good.result(300)[0].fake.getpixel((0, 0))[0] == 1
    with pytest.raises(ValueError, match="one is bad"):
        bad.result(300)


def test_who_left_is_not_computed(busy):
    engine, holder = busy
    shared = Recorder()
    shared.go_on.set()
    gone = engine.submit(shared, [picture(1)], "ab")
    assert gone.cancel()
    stays = engine.submit(shared, [picture(2)], "ab")
    holder.go_on.set()
    stays.result(300)
    assert [numbers for _, numbers, _ in shared.calls] == [[2]]
    with pytest.raises(CancelledError):
        gone.result()


def test_progress_is_told_and_a_running_job_is_ended_when_all_have_left():
    engine, held = Engine(workers=1), Recorder()
    done = engine.submit(held, [picture(1)], "ab")
    parts = done.follow()
    assert held.entered.wait(300)
    assert next(parts) == 0.25
    done.cancel()  # As by a visitor who has seen enough.
    assert list(parts) in ([], [0.25])
    with pytest.raises(CancelledError):
        done.result()
    after = Recorder()
    after.go_on.set()
    assert engine.submit(after, [picture(2)], "ab").result(300)


def test_batches_at_once_share_the_cores_and_one_alone_takes_them_all():
    import torch

    threads = {}

    class Counting(Recorder):
        device = torch.device("cpu")

        def translate_many(self, images, direction, **options):
            threads[images[0].getpixel((0, 0))[0]] = torch.get_num_threads()
            return super().translate_many(images, direction, **options)

    engine, (first, second) = Engine(workers=2), (Counting(), Counting())
    alone = engine.submit(first, [picture(1)], "ab")
    assert first.entered.wait(300)
    beside = engine.submit(second, [picture(2)], "ab")
    assert second.entered.wait(300)  # It did not wait for the first one.
    for held, done in ((first, alone), (second, beside)):
        held.go_on.set()
        done.result(300)
    cores = torch.get_num_threads()
    assert threads == {1: cores, 2: max(1, cores // 2)}
