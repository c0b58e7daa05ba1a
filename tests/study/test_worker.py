"""A function in a process of its own: its progress, its errors, its end."""

import atexit
import contextlib
import os
import signal
import time

import pytest

from cyclegan.errors import ConfigError, StudyError, message
from cyclegan.locale import in_language
from cyclegan.study import worker
from cyclegan.study.worker import in_process

# What the processes run: they find it by its name in this module.


def count(until, progress, note):
    for number in range(until):
        progress(number + 1, until)
    note(message("{n} picture", "{n} pictures", until))


def fail(kind, template, values, progress, note):
    progress(1, 2)
    raise kind(template, **values)


def divide(progress, note):
    return 1 / 0


def end_slowly(folder, progress, note):
    atexit.register(time.sleep, 0.5)
    atexit.register((folder / "ending").touch)  # The last one is called first.


def be_killed(progress, note):
    progress(1, 2)
    os.kill(os.getpid(), signal.SIGKILL)


def leave(progress, note):
    os._exit(3)


def wait(folder, progress, note):
    unfinished = folder / str(os.getpid())
    unfinished.touch()
    try:
        progress(1, 2)
        time.sleep(60)
    finally:
        unfinished.unlink()


def refuse_to_end(folder, progress, note):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / str(os.getpid())).touch()
    progress(1, 2)
    time.sleep(60)


def is_alive(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_progress_arrives_in_order():
    steps = [step for step in in_process(count, 3) if step is not None]
    assert list(dict.fromkeys(steps)) == [(1, 3), (2, 3), (3, 3)]


def test_notes_arrive_whole():
    notes = []
    list(in_process(count, 2, note=notes.append))
    assert [in_language(each, "en") for each in notes] == ["2 pictures"]


def test_an_error_arrives_whole_and_can_be_translated():
    needed = message("{n} broken picture", "{n} broken pictures", 4)
    template = "a session needs {needed} and the study has {have}: take a larger data set, or lower practice_trials "
    template += "and test_trials"
    with pytest.raises(StudyError) as caught:
        list(in_process(fail, StudyError, template, {"needed": needed, "have": 3}))
    error = caught.value
    assert error.message.template == template and error.message.values == {"needed": needed, "have": 3}
    assert str(error).startswith("a session needs 4 broken pictures and the study has 3")
    assert in_language(error, "ko").startswith("한 사람에게 망가뜨린 사진 4장 필요한데 3장밖에 없습니다")
    with pytest.raises(ConfigError, match="^no$"):
        list(in_process(fail, ConfigError, "no", {}))


def test_a_process_that_is_done_ends_quietly(tmp_path, monkeypatch, capfd):
    def end_in_its_end(process, end=worker._end):
        deadline = time.monotonic() + 60
        while not (tmp_path / "ending").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        end(process)

    monkeypatch.setattr(worker, "_end", end_in_its_end)
    assert not [step for step in in_process(end_slowly, tmp_path) if step is not None]
    assert (tmp_path / "ending").exists()
    assert capfd.readouterr().err == ""


def test_a_bug_is_none_of_the_users_errors():
    with pytest.raises(RuntimeError, match="(?s)in divide.*ZeroDivisionError"):
        list(in_process(divide))


@pytest.mark.parametrize(("function", "status"), [(be_killed, "-9"), (leave, "3")])
def test_a_process_that_was_ended_is_reported_with_its_status(function, status):
    with pytest.raises(StudyError, match=rf"was ended \(status {status}\), perhaps for lack of memory") as caught:
        list(in_process(function))
    assert "메모리" in in_language(caught.value, "ko")


@pytest.mark.parametrize("function", [wait, refuse_to_end])
def test_closing_ends_the_process(tmp_path, monkeypatch, function):
    monkeypatch.setattr(worker, "GRACE_S", 10.0 if function is wait else 0.3)
    steps = in_process(function, tmp_path)
    assert next(step for step in steps if step is not None) == (1, 2)
    pid = int(next(tmp_path.iterdir()).name)
    assert is_alive(pid)
    steps.close()
    assert not is_alive(pid)
    assert function is refuse_to_end or not list(tmp_path.iterdir())


def test_a_caller_can_cancel_while_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "HEARTBEAT_S", 0.05)
    with contextlib.closing(in_process(wait, tmp_path)) as steps:
        seen = next(step for step in steps if step is not None)
        assert next(steps) == next(steps) == seen == (1, 2)
