"""Files and folders that are written whole or not at all; JSON; checksums."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cyclegan.errors import CheckpointError, UserError
from cyclegan.files import (
    MAX_JSON_BYTES,
    name_alone,
    read_json,
    remove_leftovers,
    sha256,
    shortened,
    whole_file,
    whole_folder,
    write_bytes,
    write_json,
)

ROOT = Path(__file__).parent.parent
LONG = "ü" * 120 + ".json"  # 245 of the 255 bytes that file systems allow.


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path, durable):
    target = tmp_path / "new" / "x.txt"
    with pytest.raises(RuntimeError), whole_file(target, durable=durable) as part:
        part.write_text("half")
        raise RuntimeError
    assert names(target.parent) == []
    for text in ("one", "two"):
        with whole_file(target, durable=durable) as part:
            assert part.parent == target.parent and part.name.startswith(".")
            part.write_text(text)
        assert target.read_text() == text
    with pytest.raises(RuntimeError), whole_file(target, durable=durable) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "two" and names(target.parent) == ["x.txt"]


def test_a_hidden_name_fits_where_the_file_s_own_does(tmp_path):
    """Encrypted file systems allow 143 bytes."""
    for name in ("가" * 47, "l" * 143, "l" * 255, os.fsdecode(b"\xff" * 143)):
        with whole_file(tmp_path / name) as part:
            assert len(os.fsencode(part.name)) <= 115
            part.write_text("x")
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()
    assert shortened("가나다", 8) == "가나" and shortened("abc", 3) == "abc"


def test_a_file_that_was_not_written_raises(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "x"):
        pass
    assert names(tmp_path) == []


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    target = tmp_path / "epoch-0001"
    with pytest.raises(RuntimeError), whole_folder(target) as part:
        (part / "x").write_text("1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with whole_folder(target) as part:
        (part / "x").write_text("1")
        assert not target.exists()
    with whole_folder(target) as part:
        (part / "x").write_text("2")
        assert (target / "x").read_text() == "1"
    assert (target / "x").read_text() == "2" and names(tmp_path) == ["epoch-0001"]
    with pytest.raises(RuntimeError), whole_folder(target) as part:
        raise RuntimeError
    assert (target / "x").read_text() == "2" and names(tmp_path) == ["epoch-0001"]


KILLED = {
    "whole_file": "with whole_file(target) as part: part.write_text('half'); os.kill(os.getpid(), 9)",
    "whole_folder": "with whole_folder(target) as part: (part / 'x').write_text('half'); os.kill(os.getpid(), 9)",
    "write_json": "os.replace = lambda *_: os.kill(os.getpid(), 9); write_json(target, {'a': 'half'})",
}


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize("function", KILLED)
@pytest.mark.parametrize("before", [False, True])
def test_a_killed_process_leaves_the_old_one_or_none(tmp_path, function, before):
    target = tmp_path / "target"
    if before and function == "whole_folder":
        target.mkdir()
        (target / "x").write_text("old")
    elif before:
        target.write_text("old")
    code = f"import os, sys; from pathlib import Path; from cyclegan.files import {function}\n"
    code += f"target = Path(sys.argv[1])\n{KILLED[function]}\n"
    done = subprocess.run([sys.executable, "-c", code, str(target)], cwd=ROOT, timeout=300)
    assert done.returncode == -9
    hidden = [name for name in names(tmp_path) if name != "target"]
    assert len(hidden) == 1 and hidden[0].startswith(".target.") and target.exists() == before
    if before:
        assert (target / "x" if function == "whole_folder" else target).read_text() == "old"
    remove_leftovers(tmp_path)
    assert names(tmp_path) == (["target"] if before else [])


def test_leftovers_that_another_process_may_be_writing_are_kept(tmp_path):
    old, young = tmp_path / ".a.12345678.part", tmp_path / ".b.12345678.old"
    for path in (old, young):
        path.mkdir()
        (path / "x").touch()
    (tmp_path / ".c.12345678.part").touch()
    (tmp_path / "d.part").touch()
    (tmp_path / ".e").touch()
    hour_ago = time.time() - 3600
    os.utime(old, (hour_ago, hour_ago))
    remove_leftovers(tmp_path, older_than_s=600)
    assert names(tmp_path) == [".b.12345678.old", ".c.12345678.part", ".e", "d.part"]
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".e", "d.part"]
    remove_leftovers(tmp_path / "missing")


def test_names_as_long_as_file_systems_allow(tmp_path):
    write_json(tmp_path / LONG, {"a": 1})
    with whole_folder(tmp_path / LONG[:-1]) as part:
        (part / "x").touch()
    assert names(tmp_path) == sorted([LONG, LONG[:-1]]) and read_json(tmp_path / LONG) == {"a": 1}


def test_json_is_replaced_whole_and_takes_any_file_name(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"name": "d\udcff", "loss": float("nan"), "more": [float("inf"), (1, 2.5)]})
    assert json.loads(path.read_text()) == {"name": "d\udcff", "loss": None, "more": [None, [1, 2.5]]}
    with pytest.raises(TypeError):
        write_json(path, {"name": object()})
    assert json.loads(path.read_text())["loss"] is None and names(tmp_path) == ["x.json"]


def test_a_file_in_the_way_of_a_folder_is_an_os_error(tmp_path):
    (tmp_path / "run").write_text("")
    for write in (lambda path: write_bytes(path, b""), lambda path: write_json(path, {})):
        with pytest.raises(OSError):
            write(tmp_path / "run" / "x")
    with pytest.raises(OSError), whole_folder(tmp_path / "run" / "epoch-0001"):
        pass


def test_json_that_cannot_be_read_is_one_sentence_of_the_wanted_kind(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / "x.json"

    def says(error):
        with pytest.raises(error) as caught:
            read_json(path, error=error)
        assert type(caught.value) is error and str(tmp_path) not in str(caught.value)
        return str(caught.value)

    assert says(UserError) == "run has no x.json; it is incomplete"
    for content, expected in (
        (b"{", "run/x.json can't be read (Expecting property name"), (b"\xff", "run/x.json can't be read ('utf-8'"),
        (b"[" * 100_000, "run/x.json can't be read ("), (b"[]", "run/x.json is damaged: a JSON object was expected"),
        (b" " * (MAX_JSON_BYTES + 1), "run/x.json is too large: more than 10 MB"),
    ):  # fmt: skip
        path.write_bytes(content)
        assert says(CheckpointError).startswith(expected)
    path.unlink()
    path.mkdir()
    assert says(CheckpointError) == "run/x.json is not a regular file"


def test_a_checksum_is_that_of_the_whole_file(tmp_path):
    content = os.urandom(2**20 + 7)
    write_bytes(tmp_path / "new" / "x", content)
    assert sha256(tmp_path / "new" / "x") == hashlib.sha256(content).hexdigest()


def test_a_folder_that_must_be_new_replaces_nothing(tmp_path):
    """Even if the other one appeared while this one was filled."""
    target = tmp_path / "study"
    with pytest.raises(OSError), whole_folder(target, replace=False) as part:
        (part / "ours.txt").write_text("ours")
        target.mkdir()
        (target / "theirs.txt").write_text("theirs")
    assert [path.name for path in target.iterdir()] == ["theirs.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_a_file_or_link_in_a_folders_place_is_replaced_and_leaves_nothing(tmp_path):
    other, link, file = tmp_path / "other", tmp_path / "link", tmp_path / "file"
    other.mkdir()
    link.symlink_to(other)
    file.write_text("x")
    for target in (link, file):
        with whole_folder(target) as part:
            (part / "new.txt").write_text("new")
        assert (target / "new.txt").read_text() == "new" and not target.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "other"] and not list(other.iterdir())


def test_a_report_names_no_folders_of_this_computer(tmp_path):
    assert name_alone(str(tmp_path)) == tmp_path.name
    assert name_alone("/no/such/folder") == "folder"
    assert [name_alone(name) for name in ("USER/maps", "streets:count=4", "x" * 300)] == [
        "USER/maps", "streets:count=4", "x" * 300
    ]  # fmt: skip
