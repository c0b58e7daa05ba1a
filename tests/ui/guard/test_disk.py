"""Files of visitors: a share each, a bound for all, and gone when their users are."""

import os
from pathlib import Path

import numpy as np
import pytest

from cyclegan.rasters.raster import Raster
from cyclegan.ui import results
from cyclegan.ui.guard import disk as disks
from cyclegan.ui.guard.disk import Disk
from tests.ui.guard.test_shares import Clock


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    (tmp_path / "gradio").mkdir()
    return tmp_path / "gradio"


@pytest.fixture
def made(folder):
    clock = Clock()
    kept = set()
    disk = Disk(lambda: kept, clock=clock)
    disk.test_clock, disk.test_kept = clock, kept
    return disk


def file(folder, name, size=10, age=0):
    path = folder / name / "image.png"
    path.parent.mkdir()
    path.write_bytes(b"x" * size)
    os.utime(path, (1e9 - age, 1e9 - age))
    return str(path)


def sent(*paths):
    return [None, {"path": paths[0], "meta": {"_type": "gradio.FileData"}}, {"rows": [[{"path": p} for p in paths]]}]


def test_files_go_with_their_last_user(made, folder):
    shared, own = file(folder, "shared"), file(folder, "own")
    made.used("ann", sent(shared, own))
    made.used("bob", sent(shared))
    made.left(["ann", "nobody"])
    assert os.path.exists(shared) and not os.path.exists(own) and not (folder / "own").exists()
    made.left(["bob"])
    assert not os.listdir(folder)


def test_what_is_everybody_s_stays(made, folder):
    first = file(folder, "first")
    made.test_kept.add(first)
    made.used("ann", sent(first))
    made.left(["ann"])
    assert os.path.exists(first)


@pytest.mark.parametrize("data", [None, 7, "x", [[[[]]]], {"path": 3}, {"path": "relative"}, {"path": "/etc/passwd"},
                                  {"path": "\0"}, [{"path": "/"}] * 3])  # fmt: skip
def test_nothing_outside_the_folder_is_touched(made, folder, tmp_path, data):
    outside = tmp_path / "mine.png"
    outside.write_bytes(b"x")
    made.used("ann", data)
    made.used("ann", sent(str(outside), f"{folder}/../mine.png"))
    made.left(["ann"])
    assert outside.exists()


def test_a_message_that_nests_without_end_is_searched_to_a_bound(made, folder):
    nested = {"path": file(folder, "deep")}
    for _ in range(100_000):
        nested = [nested]
    made.used("ann", nested)
    made.used("ann", [{"path": f"/{i}"} for i in range(100_000)])
    assert not made._files
    assert len(list(disks._paths([[{"path": "/a"}] for _ in range(100_000)]))) <= disks.MAX_VALUES


def test_what_is_behind_a_picture_goes_with_it(made, folder):
    shown = file(folder, "shown")
    values, original = results.put_values(shown, Raster(np.zeros((2, 2, 1)))), file(folder, "original")
    kept = results.put_original(shown, Path(original))
    made.used("ann", sent(shown))
    made.used("bob", sent(shown))
    made.left(["ann"])
    assert all(map(os.path.exists, (shown, values, kept)))
    made.left(["bob"])
    assert not os.path.exists(os.path.dirname(shown)) and os.path.exists(original)


def test_an_upload_that_nobody_uses_goes(made, folder):
    used, unused = file(folder, "used"), file(folder, "unused")
    made.end(made.begin("10.0.0.1", 20), [used, unused])
    made.used("ann", sent(used))
    made.test_clock.now += disks.UNUSED_S - 1
    made.sweep()
    assert os.path.exists(unused)
    made.test_clock.now += 2
    made.sweep()
    assert os.path.exists(used) and not os.path.exists(unused)


def room(made, address, size):
    """Whether there is room, without taking it."""
    number = made.begin(address, size)
    if number is not None:
        made._running.pop(number)
    return number is not None


def test_an_address_has_a_share_and_gets_it_back(made, folder, monkeypatch):
    monkeypatch.setattr(disks, "SHARE_BYTES", 1000)
    monkeypatch.setattr(disks, "LEAST_BYTES", 1)
    paths = [file(folder, f"u{i}", 400) for i in range(2)]
    made.end(made.begin("10.0.0.1", 800), paths)
    assert room(made, "10.0.0.1", 200) and not room(made, "10.0.0.1", 201) and room(made, "10.0.0.2", 900)
    made.used("ann", sent(*paths))
    made.left(["ann"])
    assert room(made, "10.0.0.1", 1000)


def test_what_arrives_and_what_was_broken_off_counts(made, monkeypatch):
    monkeypatch.setattr(disks, "SHARE_BYTES", 1000)
    first = made.begin("10.0.0.1", 700)
    assert not room(made, "10.0.0.1", 301) and room(made, "10.0.0.2", 1000)
    made.end(first, None)
    assert not room(made, "10.0.0.1", 301)  # Its half is still on the disk.
    made.test_clock.now += disks.HALF_UPLOAD_S
    made.sweep()
    assert room(made, "10.0.0.1", 1000)


def test_small_files_are_counted_with_what_they_take(made, folder, monkeypatch):
    monkeypatch.setattr(disks, "SHARE_BYTES", 3 * disks.LEAST_BYTES)
    monkeypatch.setattr(disks, "SHARE_FILES", 5)
    made.end(made.begin("10.0.0.1", 3), [file(folder, f"s{i}", 1) for i in range(3)])
    assert not room(made, "10.0.0.1", 1)
    monkeypatch.setattr(disks, "SHARE_BYTES", 10**9)
    assert room(made, "10.0.0.1", 1)
    made.end(made.begin("10.0.0.1", 2), [file(folder, f"t{i}", 1) for i in range(2)])
    assert not room(made, "10.0.0.1", 1)


def test_when_the_disk_is_full_those_who_have_most_lose_first(made, folder, monkeypatch):
    monkeypatch.setattr(disks, "ALL_BYTES", 1000)
    monkeypatch.setattr(disks, "LEAST_BYTES", 1)
    small = file(folder, "small", 100, age=999)
    made.end(made.begin("10.0.0.1", 100), [small])
    paths = [file(folder, f"r{i}", 300, age=100 - i) for i in range(4)]
    for path in paths[:3]:
        made.end(made.begin("10.0.0.2", 300), [path])
    made._uploads[paths[3]] = ("10.0.0.2", made.test_clock.now)
    made.used("ann", sent(small, *paths))
    assert not room(made, "10.0.0.9", 1)
    made.sweep()
    assert [os.path.exists(path) for path in (small, *paths)] == [True, False, False, True, True]
    assert room(made, "10.0.0.9", 300)


def test_what_a_session_names_that_never_listens_goes(made, folder):
    heard, unheard = file(folder, "heard"), file(folder, "unheard")
    made.used("ann", sent(heard))
    made.used("bot", sent(unheard))
    assert made.unheard(lambda session: False) == []
    made.test_clock.now += disks.UNUSED_S
    assert made.unheard(lambda session: session == "ann") == ["bot"]
    made.left(["bot"])
    assert os.path.exists(heard) and not os.path.exists(unheard)
    assert made.unheard(lambda session: session == "ann") == []


def test_the_owner_s_disk_has_no_bound(folder, monkeypatch):
    monkeypatch.setattr(disks, "ALL_BYTES", 10)
    own = Disk(bounded=False)
    path = file(folder, "big", 1000)
    own.used("me", sent(path))
    own.sweep()
    assert own.begin("127.0.0.1", 10**12) is not None and os.path.exists(path)


def test_what_was_removed_elsewhere_is_forgotten(made, folder):
    path = file(folder, "gone")
    made.end(made.begin("10.0.0.1", 1), [path])
    made.used("ann", sent(path))
    os.remove(path)
    made.sweep()
    assert not made._uploads and not made._users and not made._files


def test_halves_of_broken_uploads_go_after_a_while(made, folder):
    old, new = folder / "tmpabcd", folder / "tmpefgh"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (1e9, 1e9))
    number = made.begin("10.0.0.1", 5)
    made._running[number] = ("10.0.0.1", 5, 1e9 - 1)  # It began before: the file may be its first.
    made.sweep()
    assert old.exists()
    made.end(number, [])
    made.sweep()
    assert not old.exists() and new.exists()
