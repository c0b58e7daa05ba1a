"""Many pictures into a zip: names, order, what is left out, and zips that mean no good."""

import contextlib
import contextvars
import io
import struct
import zipfile
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from cyclegan.checkpoints.format import load_checkpoint
from cyclegan.errors import CheckpointError, ImageError
from cyclegan.pixels import recorded_facts
from cyclegan.translation import files as module
from cyclegan.translation.files import find_pictures, translate_files
from cyclegan.translation.translator import Translator


def picture(seed=0, size=(40, 36)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8))


def encoded(seed=0, size=(40, 36), format="PNG"):
    stream = io.BytesIO()
    picture(seed, size).save(stream, format)
    return stream.getvalue()


def packed(path, files):
    """A zip of name → bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return path


def finished(steps):
    """What the steps return, and what they yielded."""
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return end.value, seen


@pytest.fixture
def translator(tmp_path, make_checkpoint):
    return Translator(load_checkpoint(make_checkpoint(tmp_path / "run", 3)), "cpu")


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "result.zip"


def targets(found):
    return [item.target for item in found.items]


# --- what there is ------------------------------------------------------------------------------------------


def test_order_names_and_what_is_no_picture(tmp_path):
    path = packed(tmp_path / "trip.zip", [
        ("trip/10.jpg", b"x"), ("trip/2.JPG", b"x"), ("trip/day 1/a.png", b"x"), ("trip/a", b"x"), ("trip/", b""),
        ("__MACOSX/trip/._2.jpg", b"x"), ("trip/.DS_Store", b"x"), ("trip/Thumbs.db", b"x"), (".hidden/a.png", b"x"),
        ("trip/notes.txt", b"x"), ("trip/more.zip", b"x"), ("trip/v1.2", b"x"),
    ])  # fmt: skip
    found = find_pictures([path])
    assert targets(found) == ["trip/2.png", "trip/10.png", "trip/a.png", "trip/day 1/a.png"]
    assert len(found.left_out) == 3
    for name, said in (("notes.txt", "not a picture"), ("more.zip", "archive within trip.zip"), ("v1.2", "not a")):
        assert any(name in str(sentence) and said in str(sentence) for sentence in found.left_out)


def test_files_beside_zips(tmp_path):
    one = packed(tmp_path / "one.zip", {"a.png": b"x"})
    (tmp_path / "a.png").write_bytes(encoded())
    (tmp_path / "old.rar").write_bytes(b"Rar!")
    found = find_pictures([tmp_path / "old.rar", one, tmp_path / "a.png"])
    assert targets(found) == ["a.png", "a-2.png"] and [item.shown for item in found.items] == ["a.png", "a.png"]
    assert len(found.left_out) == 1 and "old.rar is an archive" in str(found.left_out[0])
    two = packed(tmp_path / "two.zip", {"a.png": b"x"})
    assert targets(find_pictures([one, two])) == ["one/a.png", "two/a.png"]


@pytest.mark.parametrize("name", [
    "../../evil.png", "/etc/evil.png", "C:\\Users\\evil.png", "C:evil.png", "..\\..\\evil.png", "a/../../evil.png",
    "a\x00b.png", "a\nb\x1b[31m.png", "\u202egnp.exe.png", "con.png", "dir./evil .png", "a" * 300 + ".png",
    "/".join("abcdefghijklmnop") + ".png", "...png", "a:b?<c>.png",
])  # fmt: skip
def test_names_lead_nowhere_else(name):
    (clean,) = module._targets([module.re.split(r"[/\\]", name)])
    path = PurePosixPath(clean)
    assert path.suffix == ".png" and not path.is_absolute() and ".." not in path.parts and path.stem
    assert clean.isprintable() and not set(clean) & set('\\:*?"<>|')
    assert len(path.parts) <= 8 and all(len(part.encode()) <= 104 and part[0] != "." for part in path.parts)
    assert path.stem.lower() != "con" and not any(part.endswith((" ", ".")) for part in path.parts)


def test_names_that_clash_are_numbered():
    paths = [["a.png"], ["A.PNG"], ["a.jpg"], ["b", "a.png"], ["B", "a.png"], ["c.png", "d.png"], ["c.jpg"],
             ["e\u0301.png"], ["\u00e9.png"], ["x.y.png"], ["x"]]  # fmt: skip
    assert module._targets(paths) == [
        "a.png", "A-2.png", "a-3.png", "b/a.png", "B/a-2.png", "c.png/d.png", "c-2.png", "e\u0301.png",
        "\u00e9-2.png", "x.y.png", "x.png",
    ]  # fmt: skip


def test_korean_names_of_windows_and_macos(tmp_path):
    data = packed(tmp_path / "a.zip", {"PLACEHOLD.png": b"x"}).read_bytes()
    for raw in ("사진한장.".encode("cp949"), "서울.k".encode()):
        renamed = data.replace(b"PLACEHOLD", raw.ljust(9, b"_"))
        (tmp_path / "k.zip").write_bytes(renamed)
        assert targets(find_pictures([tmp_path / "k.zip"]))[0].startswith(("사진한장", "서울"))


def encrypted(data):
    """The zip with each file's flag of encryption set."""
    data = bytearray(data)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(mark)
        while start >= 0:
            data[start + at] |= 1
            start = data.find(mark, start + 4)
    return bytes(data)


@pytest.mark.parametrize("damage, said", [
    (lambda data: data[: len(data) // 2], "damaged or isn't a zip"),
    (lambda data: b"hello", "damaged or isn't a zip"),
    (lambda data: b"", "damaged or isn't a zip"),
    (encrypted, "encrypted: pack it without a password"),
])
def test_bad_zips_are_one_sentence(tmp_path, damage, said):
    path = packed(tmp_path / "trip.zip", {"a.png": encoded(), "b.png": encoded(1)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ImageError, match=said) as caught:
        find_pictures([path])
    assert str(caught.value).startswith("trip.zip ") and "\n" not in str(caught.value)


def test_bombs_are_refused_by_what_they_declare(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(4):
            archive.writestr(f"{index}.png", bytes(400_000))
    monkeypatch.setattr(module, "MAX_PICTURE_BYTES", 300_000)
    found = find_pictures([tmp_path / "bomb.zip"])
    assert not found.items and len(found.left_out) == 4 and "0.png has more than" in str(found.left_out[0])
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 1_500_000)
    with pytest.raises(ImageError, match="bomb.zip has more than .* unpacked"):
        find_pictures([tmp_path / "bomb.zip"])
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # Its list is not even read.
    with pytest.raises(ImageError, match="bomb.zip lists more than 3 files"):
        find_pictures([tmp_path / "bomb.zip"])


# --- translating --------------------------------------------------------------------------------------------


def test_each_is_what_a_single_picture_gives(tmp_path, translator, out):
    path = packed(tmp_path / "trip.zip", {"b/2.jpg": encoded(1, format="JPEG"), "b/10.png": encoded(2)})
    done, steps = finished(translate_files(translator, find_pictures([path]), out, "ba", side=lambda size: 32))
    assert done.done == 2 and done.left_out == [] and steps[0] == (0, 2) and steps[-1] == (2, 2)
    assert [p.name for p in out.parent.iterdir()] == ["result.zip"]
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["b/2.png", "b/10.png"] and archive.testzip() is None
        with Image.open(archive.open("b/10.png")) as image:
            image.load()
            assert image.format == "PNG" and image.info["cyclegan:direction"] == "ba"
            assert image.info["cyclegan:commit_sha"] == translator.checkpoint.info.commit_sha
            wanted = translator.translate(picture(2), "ba", size=32).fake
            assert np.abs(np.asarray(image, int) - np.asarray(wanted, int)).max() <= 1


def test_bad_ones_stop_no_other(tmp_path, translator, out):
    whole = encoded(3)
    path = packed(tmp_path / "trip.zip", {
        "good.png": whole, "half.png": whole[:300], "text.png": b"hello", "empty.png": b"", "notes.txt": b"x",
        "wrong.png": b"y" * 500,
    })  # fmt: skip
    data = bytearray(path.read_bytes())
    at = data.find(b"y" * 500)
    data[at] = ord("z")  # Its checksum is wrong then.
    path.write_bytes(data)
    done, steps = finished(translate_files(translator, find_pictures([path]), out, "ab"))
    assert done.done == 1 and len(done.left_out) == 5 and steps[-1] == (5, 5)
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["good.png", "left_out.txt"]
        assert archive.read("left_out.txt").decode().splitlines() == [str(one) for one in done.left_out]
    for name, said in (("half", "truncated"), ("text", "not a picture"), ("empty", "0 bytes"),
                       ("notes", "not a picture"), ("wrong", "damaged within trip.zip")):  # fmt: skip
        assert any(str(one).startswith(name) and said in str(one) for one in done.left_out), name


def test_a_size_that_lies_unpacks_no_more(tmp_path, translator, out, monkeypatch):
    """What comes out is bounded even where the list was believed."""
    path = packed(tmp_path / "trip.zip", {"big.png": bytes(5000), "good.png": encoded()})
    found = find_pictures([path])
    monkeypatch.setattr(module, "MAX_PICTURE_BYTES", 4800)
    done, _ = finished(translate_files(translator, found, out, "ab"))
    assert done.done == 1 and "big.png has more than" in str(done.left_out[0])
    data = bytearray(path.read_bytes())
    first = data.find(b"PK\x01\x02")
    struct.pack_into("<I", data, first + 24, 100)  # In the list 100 bytes, in truth 5000.
    path.write_bytes(data)
    out.unlink()
    done, _ = finished(translate_files(translator, find_pictures([path]), out, "ab"))
    assert done.done == 1 and "big.png" in str(done.left_out[0])


def test_pictures_of_one_size_go_together(tmp_path, translator, out, monkeypatch):
    sizes = [(40, 36), (80, 72), (36, 40), (40, 36), (40, 36), (40, 36), (50, 36)]
    path = packed(tmp_path / "trip.zip", {f"{n}.png": encoded(n, size) for n, size in enumerate(sizes)})
    asked, real = [], translator.translate_batch

    def counted(images, direction, size=None):
        asked.append([image.size for image in images])
        return real(images, direction, size)

    translator.translate_batch = counted
    for batch_size, wanted in ((None, [2, 1, 3, 1]), (1, [1] * 7), (2, [2, 1, 2, 1, 1])):
        asked.clear()
        done, steps = finished(translate_files(
            translator, find_pictures([path]), out, "ab", side=lambda size: 36, batch_size=batch_size
        ))  # fmt: skip
        assert done.done == 7 and [len(batch) for batch in asked] == wanted
        assert steps == sorted(steps) and steps[-1] == (7, 7)
        with zipfile.ZipFile(out) as archive:
            for n, size in enumerate(sizes):
                assert Image.open(archive.open(f"{n}.png")).size == size
    asked.clear()
    monkeypatch.setattr(module, "MAX_HELD_PIXELS", 40 * 36 * 2)
    finished(translate_files(translator, find_pictures([path]), out, "ab", side=lambda size: 36))
    assert [len(batch) for batch in asked] == [1, 1, 1, 2, 1, 1]


def test_closed_before_its_end_it_leaves_nothing(tmp_path, translator, out):
    path = packed(tmp_path / "trip.zip", {f"{n}.png": encoded(n) for n in range(3)})
    steps = translate_files(translator, find_pictures([path]), out, "ab", batch_size=1)
    assert next(steps) == (0, 3) and next(steps) == (1, 3)
    assert len(list(out.parent.iterdir())) > 0
    steps.close()
    assert list(out.parent.iterdir()) == []


def test_what_can_not_be_done_is_said_and_leaves_nothing(tmp_path, translator, out, make_checkpoint):
    good = packed(tmp_path / "good.zip", {f"{n}.png": encoded(n) for n in range(3)})
    none = packed(tmp_path / "none.zip", {"a.png": b"no", "b.txt": b"no"})
    empty = packed(tmp_path / "empty.zip", {})
    one_way = Translator(load_checkpoint(make_checkpoint(tmp_path / "one", 1, directions=("ab",))), "cpu")
    for using, path, way, most, kind, said in (
        (translator, none, "ab", None, ImageError, "no picture among these files: b.txt"),
        (translator, empty, "ab", None, ImageError, "no picture"),
        (translator, good, "ab", 5000, ImageError, "send fewer or smaller pictures"),
        (one_way, good, "ba", None, CheckpointError, "A → B only"),
    ):
        with pytest.raises(kind, match=said):
            finished(translate_files(using, find_pictures([path]), out, way, max_bytes=most))
        assert list(out.parent.iterdir()) == []
    with pytest.raises(ImageError, match="can't be written"):
        finished(translate_files(translator, find_pictures([good]), good / "x.zip", "ab"))


def test_without_memory_a_picture_is_left_out(tmp_path, translator, out):
    path = packed(tmp_path / "trip.zip", {"a.png": encoded(0), "b.png": encoded(1, (20, 20))})
    real = translator.translate_batch

    def short(images, direction, size=None):
        if images[0].width == 40:
            raise ImageError("a picture of 40×36 needs more memory than there is")
        return real(images, direction, size)

    translator.translate_batch = short
    done, _ = finished(translate_files(translator, find_pictures([path]), out, "ab"))
    said = [str(one) for one in done.left_out]
    assert done.done == 1 and said == ["a.png: a picture of 40×36 needs more memory than there is"]


def test_each_picture_is_read_within_what_its_caller_wants_whatever_thread_takes_a_step(tmp_path, translator, out):
    facts = []

    @contextlib.contextmanager
    def around():
        with recorded_facts() as seen:
            yield
        facts.extend(seen)

    stream = io.BytesIO()
    Image.fromarray(np.arange(40 * 36, dtype=np.uint16).reshape(36, 40)).save(stream, "PNG")
    path = packed(tmp_path / "trip.zip", {"a.png": stream.getvalue(), "b.png": b"no", "c.png": stream.getvalue()})
    steps = translate_files(translator, find_pictures([path]), out, "ab", batch_size=1, around=around)
    with pytest.raises(StopIteration):
        while True:
            contextvars.Context().run(next, steps)
    assert [one.depth.high for one in facts] == [1439, 1439]


def test_many_files_of_one_name_are_numbered_at_once():
    names = module._targets([["a.png"]] * 20_000)
    assert names[:2] == ["a.png", "a-2.png"] and len(set(names)) == 20_000
