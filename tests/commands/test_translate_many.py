"""`python -m cyclegan translate` of many pictures, in-process: shards, records, formats, tars, lists, Hub data sets."""

import contextlib
import io
import json
import os
import re
import sys
import tarfile
import threading

import numpy as np
import pytest
from PIL import Image

from cyclegan.errors import ConfigError, ImageError
from cyclegan.translation import pictures as pictures_module
from cyclegan.translation.files import Item, PictureReader
from cyclegan.translation.manifest import Manifest, finished_in
from cyclegan.translation.pipeline import Batches, Tasks, read_ahead
from cyclegan.translation.saving import FORMATS
from tests.commands.test_translate import files, picture, translate  # noqa: F401


@pytest.fixture
def ten(tmp_path):
    """Ten different pictures of two sizes, some in a subfolder."""
    for number in range(10):
        path = tmp_path / "in" / ("sub" if number > 6 else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (16, 12) if number % 3 else (20, 16)
        pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path / "in"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def same_pictures(one, other):
    names = [name for name in files(one) if not name.endswith(".jsonl")]
    assert names == [name for name in files(other) if not name.endswith(".jsonl")] and names
    return all(np.abs(pixels(one / n).astype(int) - pixels(other / n)).max() <= 1 for n in names)


# --- shards and records -------------------------------------------------------------------------------------


def test_shards_share_the_pictures_and_keep_a_record(tmp_path, translate, ten):  # noqa: F811
    assert translate("--input", "in", "--recursive", "--output", "plain")[0] == 0
    assert not list((tmp_path / "plain").glob("*.jsonl"))  # Nobody asked for one.
    for number, count in ((2, 3), (1, 3), (3, 3)):
        status, said = translate("--input", "in", "--recursive", "--output", "out", "--shard", f"{number}/{count}")
        assert status == 0 and re.match(r"[34] of [34] pictures", said.out)
    assert same_pictures(tmp_path / "plain", tmp_path / "out")
    records = [lines(tmp_path / "out" / f"translated-{number}-of-3.jsonl") for number in (1, 2, 3)]
    assert all(record[0] == records[0][0] and record[0]["direction"] == "ab" for record in records)
    outputs = [line["output"] for record in records for line in record[1:]]
    assert sorted(sum(outputs, [])) == [name for name in files(tmp_path / "out") if name.endswith(".png")]
    # Other numbers of shards know what these have finished.
    status, said = translate("--input", "in", "--recursive", "--output", "out", "--shard", "1/2", "--skip_existing")
    assert status == 0 and said.out == "nothing to do: 5 pictures had been translated before, into out\n"


def test_finished_ones_are_never_done_again_and_failed_ones_are(tmp_path, translate, ten, monkeypatch):  # noqa: F811
    (ten / "bad.png").write_bytes(b"no picture")
    words = ("--input", "in", "--recursive", "--output", "out", "--skip_existing")
    status, said = translate(*words)
    assert status == 1 and "10 of 11 pictures" in said.out and "bad.png" in said.err
    assert "error" in lines(tmp_path / "out" / "translated.jsonl")[-1] or any(
        "error" in line for line in lines(tmp_path / "out" / "translated.jsonl")
    )
    for name in ("0", "3"):
        (tmp_path / "out" / f"{name}.png").unlink()  # Moved away, but recorded.
    picture(ten / "bad.png")
    read = []
    original = PictureReader.read
    monkeypatch.setattr(PictureReader, "read", lambda self, item: read.append(item.shown) or original(self, item))
    status, said = translate(*words)
    assert status == 0 and read == ["in/bad.png"]
    assert said.out.endswith("written to out; 10 others had been translated before\n")


def test_results_without_a_record_are_left_alone_too(tmp_path, translate, ten):  # noqa: F811
    assert translate("--input", "in", "--recursive", "--output", "out", "--reconstruct")[0] == 0
    (tmp_path / "out" / "1_rec.png").unlink()  # Half of its results are missing.
    before = {path: os.stat(path).st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    words = ("--input", "in", "--recursive", "--output", "out", "--reconstruct", "--skip_existing")
    status, said = translate(*words)
    assert status == 0 and "1 of 1 picture translated" in said.out and "9 others" in said.out
    again = {path: os.stat(path).st_mtime_ns for path in before}
    assert {path.name for path in before if again[path] != before[path]} == {"1.png"}


@pytest.mark.parametrize(("words", "says"), [
    (("--format", "jpeg"), "records results with format png, not jpeg: choose another --output for these"),
    (("--size", "32"), "records results with size left out, not 32"),
])  # fmt: skip
def test_results_of_other_settings_are_not_mixed(tmp_path, translate, ten, words, says):  # noqa: F811
    assert translate("--input", "in", "--output", "out", "--shard", "1/2")[0] == 0
    status, said = translate("--input", "in", "--output", "out", "--shard", "2/2", *words)
    assert status == 1 and says in said.err and "translated-1-of-2.jsonl" in said.err


def test_a_torn_line_is_cut_off_and_one_process_has_a_shard(tmp_path):
    settings = {"checkpoint": "c"}
    with Manifest(tmp_path, settings) as manifest:
        manifest.finished("a", "in/a.jpg", ["a.png"])
        manifest.failed("in/b.jpg", "it's damaged")
        with pytest.raises(ConfigError, match=r"another process writes .*translated\.jsonl"):
            Manifest(tmp_path, settings)
        with pytest.raises(ConfigError, match="with another number of shards: wait for it"):
            Manifest(tmp_path, settings, (2, 3))
    with Manifest(tmp_path, settings, (1, 3)), Manifest(tmp_path, settings, (2, 3)) as other:
        other.finished("c", "in/ü\udcff.jpg", ["c.png"])  # A name that isn't UTF-8.
    path = tmp_path / "translated.jsonl"
    with open(path, "ab") as file:
        file.write(b'{"input": "in/d.jpg", "name": "d", "out')
    assert finished_in(tmp_path, settings).keys() == {"a", "c"}
    with Manifest(tmp_path, settings) as manifest:
        manifest.finished("e", "in/e.jpg", ["e.png"])
    assert finished_in(tmp_path, settings).keys() == {"a", "c", "e"} and len(lines(path)) == 4
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    with pytest.raises(ConfigError, match="checkpoint c, not other"):
        Manifest(tmp_path, {"checkpoint": "other"}, (3, 3))
    with Manifest(tmp_path, settings, (3, 3)):
        pass  # The refusal has let its lock go.


def test_a_file_that_is_no_record_is_never_written_to(tmp_path):
    for content in (b"garbage\n", b"\x00\xff\n" * 9, b"[" * 100_000 + b"\n", b'{"no": "version"}\n'):
        (tmp_path / "translated.jsonl").write_bytes(content)
        for read in (finished_in, Manifest):
            with pytest.raises(ConfigError, match="isn't a record of this program: move it away"):
                read(tmp_path, {"checkpoint": "c"})
        assert (tmp_path / "translated.jsonl").read_bytes() == content
    (tmp_path / "translated.jsonl").unlink()
    os.mkfifo(tmp_path / "translated.jsonl")
    with pytest.raises(ConfigError, match="isn't a file"):
        finished_in(tmp_path, {})


def test_a_folder_without_locks_takes_a_record_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("cyclegan.translation.manifest.keeps_locks", lambda folder: False)
    with Manifest(tmp_path, {"checkpoint": "c"}) as manifest, Manifest(tmp_path, {"checkpoint": "c"}, (1, 2)):
        manifest.finished("a", "in/a.jpg", ["a.png"])
    assert finished_in(tmp_path, {"checkpoint": "c"}).keys() == {"a"} and not list(tmp_path.glob(".*"))


def test_a_folder_that_goes_away_amid_the_work_is_said(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ConfigError, match="was moved or removed while pictures were translated"), \
            Manifest(out, {"checkpoint": "c"}) as manifest:  # fmt: skip
        manifest.finished("a", "in/a.jpg", ["a.png"])
        out.rename(tmp_path / "elsewhere")
        out.mkdir()
        manifest.finished("b", "in/b.jpg", ["b.png"])
    assert finished_in(tmp_path / "elsewhere", {"checkpoint": "c"}).keys() == {"a"}


def test_other_pictures_of_the_same_name_are_not_taken_for_finished(tmp_path, translate, ten):  # noqa: F811
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes((ten / f"{len(name) + (name == 'two')}.png").read_bytes())
        tar_of(tmp_path / f"{name}.tar", {"0.png": (ten / "0.png").read_bytes()})
    for one, two in (("one", "two"), ("one.tar", "two.tar")):
        assert translate("--input", one, "--output", f"of-{one}", "--skip_existing")[0] == 0
        status, said = translate("--input", two, "--output", f"of-{one}", "--skip_existing")
        assert status == 1 and "choose another --output for other pictures" in said.err
        (tmp_path / f"moved-{one}").mkdir()
        (tmp_path / one).rename(tmp_path / f"moved-{one}" / one)  # The same pictures on another disk.
        status, said = translate("--input", f"moved-{one}/{one}", "--output", f"of-{one}", "--skip_existing")
        assert status == 0 and "nothing to do" in said.out


def test_results_of_other_epochs_are_neither_kept_nor_recorded(tmp_path, translate, ten, make_checkpoint):  # noqa: F811
    make_checkpoint(tmp_path / "run", 2)
    assert translate("--input", "in", "--output", "out", "--epoch", 1)[0] == 0
    status, said = translate("--input", "in", "--output", "out", "--epoch", 2, "--skip_existing")
    assert status == 1 and "is the result of another checkpoint or direction" in said.err
    assert translate("--input", "in", "--output", "out", "--epoch", 1, "--skip_existing")[0] == 0
    status, said = translate("--input", "in", "--output", "out", "--epoch", 2)
    assert status == 1 and "translated.jsonl records results with checkpoint" in said.err


@pytest.mark.parametrize("name", ["png", "jpeg"])
def test_results_of_the_other_direction_are_not_replaced_by_a_slip(tmp_path, translate, ten, name):  # noqa: F811
    words = ("--input", "in", "--output", "out", "--format", name)
    assert translate(*words)[0] == 0
    first = (tmp_path / "out" / f"0{FORMATS[name]}").read_bytes()
    status, said = translate(*words, "--direction", "ba")
    assert status == 1 and f"0{FORMATS[name]} is the result of --direction ab and would be replaced by" in said.err
    assert (tmp_path / "out" / f"0{FORMATS[name]}").read_bytes() == first
    assert translate(*words, "--direction", "ba", "--reconstruct")[0] == 1
    assert translate(*words)[0] == 0  # A later epoch, or the same one, may replace them.
    assert translate(*words[:3], "back", *words[4:], "--direction", "ba")[0] == 0


@pytest.mark.parametrize(("name", "words"), [("jpeg", ()), ("webp", ("--skip_existing",))])
def test_no_input_becomes_a_result_of_its_own_kind(tmp_path, translate, ten, name, words):  # noqa: F811
    path = tmp_path / "mine" / "day" / f"x{FORMATS[name]}"
    path.parent.mkdir(parents=True)
    with Image.open(ten / "1.png") as image:
        image.save(path)
    before = path.read_bytes()
    for given in (("--input", "mine/*/*", "--output", "mine"), ("--list", "list.txt", "--output", "mine/day")):
        (tmp_path / "list.txt").write_text(f"{path}\n")
        status, said = translate(*given, "--format", name, *words)
        assert status == 1 and re.search("would be overwritten, and it is an input|folder of the input", said.err)
        assert path.read_bytes() == before
    status, said = translate("--input", str(path), "--output", "mine/day/x.png", "--format", name)
    assert status == 1 and f"is a PNG, not --format {name}" in said.err and path.read_bytes() == before


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_a_shard_that_is_none_is_refused(translate, ten, shard, capsys):  # noqa: F811
    with pytest.raises(SystemExit):
        translate("--input", "in", "--output", "out", f"--shard={shard}")
    assert f"{shard!r} isn't a part of the pictures: give 1/8, 2/8 … 8/8" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "says"), [
    (("--quality", "80"), "--quality is for JPEG and WebP"),
    (("--engine", "ray", "--device", "cpu"), "--engine ray takes every GPU of its cluster"),
    (("--address", "1.2.3.4:5"), "--address is a Ray cluster's"),
    (("--device", "cpu,nonsense"), "--device nonsense is unavailable"),
])  # fmt: skip
def test_flags_that_do_not_go_together(translate, ten, words, says):  # noqa: F811
    status, said = translate("--input", "in", "--output", "out", *words)
    assert status == 1 and says in said.err


# --- formats ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "quality"), [("png", None), ("webp", None), ("webp", 90), ("jpeg", None)])
def test_results_as_png_webp_and_jpeg_name_their_checkpoint(tmp_path, translate, ten, name, quality):  # noqa: F811
    lossless = quality is None and name != "jpeg"
    assert translate("--input", "in", "--output", "plain", "--reconstruct")[0] == 0
    words = ("--format", name) if quality is None else ("--format", name, "--quality", quality)
    assert translate("--input", "in", "--output", "out", "--reconstruct", *words)[0] == 0
    for number in range(7):
        for part in ("", "_rec"):
            path = tmp_path / "out" / f"{number}{part}{FORMATS[name]}"
            plain = pixels(tmp_path / "plain" / f"{number}{part}.png")
            assert pixels(path).shape == plain.shape and np.array_equal(pixels(path), plain) == lossless
            with Image.open(path) as image:
                said = image.getexif().get(270) or " ".join(f"{k}={v}" for k, v in image.text.items())
            assert "cyclegan:epoch=1" in said and "cyclegan:direction=ab" in said
    assert len(files(tmp_path / "out")) == 14


# --- tars and lists -----------------------------------------------------------------------------------------


def tar_of(path, contents, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_tars_as_webdataset_keeps_them(tmp_path, translate, ten):  # noqa: F811
    for shard in (0, 1):
        contents = {"._x.png": b"", "../../escape.txt": b"x"}
        for number in range(3):
            contents[f"k{shard}{number}.png"] = (ten / f"{3 * shard + number}.png").read_bytes()
            contents[f"k{shard}{number}.json"] = b"{}"
        tar_of(tmp_path / f"part-{shard}.tar", contents)
    status, said = translate("--input", "part-0.tar", "--output", "one")
    assert status == 0 and files(tmp_path / "one") == ["k00.png", "k01.png", "k02.png"]
    assert "3 .json" in said.err and "1 .txt" in said.err
    status, said = translate("--input", "part-*.tar", "--output", "both", "--device", "cpu,cpu")
    expected = ["part-0/k00.png", "part-0/k01.png", "part-0/k02.png", "part-1/k10.png", "part-1/k11.png"]
    assert [n for n in files(tmp_path / "both") if n.endswith(".png")] == [*expected, "part-1/k12.png"]
    assert translate("--input", "in/4.png", "--output", "k11.png")[0] == 0
    of_tar = pixels(tmp_path / "both" / "part-1" / "k11.png")
    assert np.abs(pixels(tmp_path / "k11.png").astype(int) - of_tar).max() <= 1


def test_hostile_tars_get_a_sentence(tmp_path, translate, ten):  # noqa: F811
    good = (ten / "0.png").read_bytes()
    tar_of(tmp_path / "packed.tar", {"a.png": good}, "w:gz")
    whole = tar_of(tmp_path / "whole.tar", {"a.png": good, "b.png": good}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: 512 + len(good) // 2])
    (tmp_path / "text.tar").write_text("no tar, but long enough to be one" * 40)
    (tmp_path / "empty.tar").write_bytes(b"")
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("evil.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    tar_of(tmp_path / "names.tar", {"../../up.png": good, "/abs.png": good, "c:\\w.png": good, "CON.png": good})
    os.mkfifo(tmp_path / "pipe.tar")
    for name, says in (("packed.tar", "packed by gzip"), ("text.tar", "isn't a tar"),
                       ("links.tar", "holds no pictures"), ("cut.tar", "cut off|damaged"),
                       ("empty.tar", "damaged|holds no pictures"), ("pipe.tar", "pipe.tar")):  # fmt: skip
        status, said = translate("--input", name, "--output", f"out-{name}")
        assert status == 1 and re.search(says, said.err), (name, said)
        assert "Traceback" not in said.err
    status, said = translate("--input", "names.tar", "--output", "inside/out")
    assert status == 0 and len(files(tmp_path / "inside" / "out")) == 4
    assert not (tmp_path / "up.png").exists() and not (tmp_path / "inside" / "up.png").exists()


def test_damage_within_a_tar_is_said_though_tarfile_takes_it_for_the_end(tmp_path, translate, ten):  # noqa: F811
    good = (ten / "0.png").read_bytes()
    whole = bytearray(tar_of(tmp_path / "whole.tar", {f"{n}.png": good for n in range(5)}).read_bytes())
    step = 512 + -(-len(good) // 512) * 512
    flipped = bytes(whole[: 2 * step + 3]) + b"\xff" + bytes(whole[2 * step + 4 :])
    (tmp_path / "flipped.tar").write_bytes(flipped)
    (tmp_path / "cut.tar").write_bytes(bytes(whole[: 3 * step + 100]))
    with tarfile.open(tmp_path / "negative.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a.png", "b.png"):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(good), {"size": "-1536"} if name == "b.png" else {}
            archive.addfile(info, io.BytesIO(good))
    for name, done in (("flipped", 2), ("cut", 3), ("negative", 1)):
        status, said = translate("--input", f"{name}.tar", "--output", f"out-{name}", "--skip_existing")
        assert status == 1 and re.search(rf"{name}\.tar is damaged|isn't a tar", said.err), (name, said)
        assert len(files(tmp_path / f"out-{name}")) - 1 == done
    long = "l" * 220
    tar_of(tmp_path / "long.tar", {f"{long}.png": good, f"{long}2.png": good, "same.png": good})
    with tarfile.open(tmp_path / "long.tar", "a") as archive:
        info = tarfile.TarInfo("same.png")
        info.size = len(good)
        archive.addfile(info, io.BytesIO(good))
    assert translate("--input", "long.tar", "--output", "out-long")[0] == 0
    assert len(files(tmp_path / "out-long")) == 4


def test_a_list_of_pictures(tmp_path, translate, ten, monkeypatch):  # noqa: F811
    (tmp_path / "list.txt").write_text(f"in/0.png\n\n{ten / 'sub' / '8.png'}\nin/missing.png\nin/0.png\n")
    status, said = translate("--list", "list.txt", "--output", "out", "--skip_existing")
    assert status == 1 and "missing.png" in said.err and "2 of 3 pictures" in said.out
    assert files(tmp_path / "out") == ["0.png", "sub/8.png", "translated.jsonl"]
    monkeypatch.setattr(sys, "stdin", type("Text", (), {"buffer": io.BytesIO(b"in/1.png\n")}))
    assert translate("--list", "-", "--output", "piped")[0] == 0 and files(tmp_path / "piped") == ["1.png"]
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbfin/1.png\r\n")
    assert translate("--list", "marked.txt", "--output", "marked")[0] == 0 and files(tmp_path / "marked") == ["1.png"]
    monkeypatch.setattr(sys, "stdin", None)
    assert "names no picture" in translate("--list", "-", "--output", "out2")[1].err
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "binary.txt").write_bytes(b"a\0b\n")
    for name, says in (("empty.txt", "names no picture"), ("binary.txt", "isn't a text file"),
                       ("no.txt", "can't be read")):  # fmt: skip
        status, said = translate("--list", name, "--output", "out2")
        assert status == 1 and says in said.err


# --- the pipeline -------------------------------------------------------------------------------------------


def test_reading_ahead_keeps_the_order_and_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("cyclegan.translation.pipeline.MOST_AHEAD", 4)
    path, began, lock = picture(tmp_path / "x.png"), [], threading.Lock()

    class Reader(PictureReader):
        def read(self, item):
            with lock:
                began.append(item.target)
            if item.target == "3":
                raise ImageError("3 is damaged")
            return super().read(item)

    items = [Item(path, None, str(n), str(n)) for n in range(20)]
    ahead, taken = [], []
    with Reader() as reader:
        for item, found in read_ahead(iter(items), reader):
            ahead.append(len(began) - len(taken))
            taken.append(item.target)
            assert isinstance(found, ImageError) == (item.target == "3")
    assert taken == [str(n) for n in range(20)] and max(ahead) <= 5
    with Reader() as reader, contextlib.closing(read_ahead(iter(items), reader)) as reading:
        next(reading)  # Who leaves early leaves no thread that reads on.
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_batches_are_of_one_size_and_nothing_waits_for_ever():
    batches = Batches(key=lambda one: one[0], most=lambda key: 3)
    given = [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)]
    full = [batch for one in given for batch in batches.add(one)]
    assert full == [[("a", 1), ("a", 3), ("a", 4)]] and list(batches.rest()) == [[("b", 2), ("b", 5)]]
    many = [batch for n in range(40) for batch in batches.add((n, n))]
    assert many[0] == [(0, 0)] and len(many) + len(list(batches.rest())) == 40


def test_large_pictures_do_not_pile_up(tmp_path, monkeypatch):
    monkeypatch.setattr("cyclegan.translation.pipeline.MAX_HELD_PIXELS", 1000)
    path, read, taken, most = picture(tmp_path / "x.png", (40, 30)), [], [], 0

    class Reader(PictureReader):
        def read(self, item):
            read.append(item)
            return super().read(item)

    with Reader() as reader:
        for item, _ in read_ahead((Item(path, None, str(n), str(n)) for n in range(12)), reader):
            taken.append(item)
            most = max(most, len(read) - len(taken))
    assert len(taken) == 12 and most <= 4  # One for each thread, and those that wait.
    batches = Batches(key=lambda one: one, most=lambda key: 9, pixels=lambda one: 600)
    assert [batch for one in "abc" for batch in batches.add(one)] == [["a"], ["b"]] and list(batches.rest()) == [["c"]]
    go, done = threading.Event(), []
    with Tasks() as writing:
        threading.Timer(0.05, go.set).start()
        for n in range(4):
            writing.put(lambda: go.wait(60), lambda future, n=n: done.append(n), 900)
            assert len(done) >= n - 1  # The second one has waited for the first.


def test_what_ends_the_source_is_raised_where_it_is_read(tmp_path):
    path = picture(tmp_path / "x.png")

    def items():
        yield Item(path, None, "x", "x")
        raise ConfigError("the network is gone")

    taken = []
    with PictureReader() as reader, pytest.raises(ConfigError, match="the network is gone"):
        for item, _ in read_ahead(items(), reader):
            taken.append(item.shown)
    assert taken == ["x"]


def test_writing_behind_reports_in_order_and_stops_at_an_error():
    seen, go = [], threading.Event()

    def task(n):
        go.wait(60)
        if n == 2:
            raise OSError("full")
        return n

    with Tasks() as writing:
        for n in range(5):
            writing.put(lambda n=n: task(n), lambda future: seen.append(future.exception() or future.result()))
        go.set()
    assert seen[:2] == [0, 1] and str(seen[2]) == "full" and seen[3:] == [3, 4]
    begun = []
    go.clear()
    with pytest.raises(KeyboardInterrupt), Tasks(threads=1) as writing:
        for n in range(5):
            writing.put(lambda n=n: begun.append(n) or go.wait(60), seen.append)
        threading.Timer(0.05, go.set).start()
        raise KeyboardInterrupt
    assert len(begun) <= 2


def test_one_picture_of_a_batch_that_fails_does_not_take_the_others(tmp_path, translate, ten, monkeypatch):  # noqa: F811
    original = pictures_module.Translator.translate_many

    def picky(self, images, *rest, **options):
        if any(image.getpixel((0, 0)) == first for image in images):
            raise ImageError("the picture is odd")
        return original(self, images, *rest, **options)

    with Image.open(ten / "4.png") as image:
        first = image.getpixel((0, 0))
    monkeypatch.setattr(pictures_module.Translator, "translate_many", picky)
    status, said = translate("--input", "in", "--output", "out", "--skip_existing")
    assert status == 1 and "error: in/4.png: the picture is odd" in said.err and "6 of 7 pictures" in said.out
