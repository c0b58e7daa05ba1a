"""Calls that translate at the same time share the processors."""

import contextlib
import multiprocessing

import pytest
import torch

from cyclegan.translation import cores
from cyclegan.translation.cores import SharedCores

CPU = torch.device("cpu")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Make a call on a machine of 8 processors."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores, "LOOK_S", 0.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: back.append(number))
    back.clear()
    return lambda: SharedCores(tmp_path / "calls")


back = []


def test_calls_take_even_shares_while_they_run(call):
    first, second, third = call(), call(), call()
    with first.taken(CPU):
        shares = [first.share()]
        with second.taken(CPU), contextlib.ExitStack() as later:
            shares += [first.share(), second.share()]
            later.enter_context(third.taken(CPU))
            shares.append(first.share())
        shares.append(first.share())
    assert shares == [8, 4, 4, 2, 8]
    assert back == [8, 8, 8]  # Each sets it back at its end.


def test_a_call_that_was_killed_is_not_counted(call):
    context = multiprocessing.get_context("fork")
    here, ready = call(), context.Event()
    other = context.Process(target=_take, args=(call(), ready))
    other.start()
    assert ready.wait(60)
    with here.taken(CPU):
        assert here.share() == 4
        other.kill()
        other.join()
        assert here.share() == 8


def _take(shared, ready):
    with shared.taken(CPU):
        ready.set()
        multiprocessing.Event().wait()


def test_other_devices_chosen_threads_and_no_place_to_meet(call, tmp_path, monkeypatch):
    with call().taken(CPU):
        shared = call()
        with shared.taken(torch.device("cuda")):
            assert shared.share() == 8
        monkeypatch.setenv("OMP_NUM_THREADS", "8")
        with shared.taken(CPU):
            assert shared.share() == 8
        monkeypatch.delenv("OMP_NUM_THREADS")
        (tmp_path / "file").touch()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        for name in ("file", "link"):
            alone = SharedCores(tmp_path / name)
            with alone.taken(CPU):
                assert alone.share() == 8
        assert list((tmp_path / "elsewhere").iterdir()) == []
