"""`python -m cyclegan translate` with many inputs, in-process: what is written, left out and printed."""

import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from cyclegan.__main__ import main
from cyclegan.files import whole_file


def picture(path, size=(16, 12)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def translate(tmp_path, make_checkpoint, capsys, monkeypatch):
    """Run the command in a folder with a run; the status and what is printed."""
    make_checkpoint(tmp_path / "run", 1)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        status = main(["translate", "--checkpoints", "run", "--direction", "ab", "--device", "cpu", *map(str, words)])
        return status, capsys.readouterr()

    return run


def size_of(path):
    with Image.open(path) as image:
        return image.size


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_thin_picture_is_enlarged_within_bounds_and_named(tmp_path, translate, monkeypatch):
    monkeypatch.setattr("cyclegan.translation.translator.MAX_SIDE", 400)
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "strip.gif", (100, 1))
    picture(tmp_path / "in" / "strip.png", (2, 90))
    status, said = translate("--input", "in", "--output", "out", "--size", 32)
    assert status == 0 and "3 of 3 pictures" in said.out
    assert said.err.splitlines()[-1] == (
        "note: in/strip.gif, 100×1, was translated at 400×4, the largest size for its shape, instead of at --size 32; "
        "in/strip.png, 2×90, was translated at 8×400, the largest size for its shape, instead of at --size 32"
    )
    assert size_of(tmp_path / "out" / "strip.gif.png") == (100, 1)
    status, said = translate("--input", "in/strip.gif", "--output", "o.png", "--size", 32)
    assert status == 0 and "was translated at 400×4" in said.err and size_of(tmp_path / "o.png") == (100, 1)


def test_many_notes_are_one_line(tmp_path, translate, monkeypatch):
    monkeypatch.setattr("cyclegan.translation.translator.MAX_SIDE", 40)
    for index in range(5):
        picture(tmp_path / "in" / f"{index}.png", (40, 2))
    status, said = translate("--input", "in", "--output", "out", "--size", 8)
    assert status == 0 and said.err.count("was translated at") == 3 and said.err.rstrip().endswith("; and 2 more")


def test_a_name_near_the_limit_of_the_file_system(tmp_path, translate):
    long = "l" * 251
    picture(tmp_path / "in" / f"{long}.jpg")
    picture(tmp_path / "in" / "m.jpg")
    status, said = translate("--input", "in", "--output", "in/out", "--size", 16)
    assert (status, files(tmp_path / "in" / "out")) == (0, [f"{long}.png", "m.png"])
    status, said = translate("--input", "in", "--output", "out", "--reconstruct")
    shortened = "l" * 247
    assert status == 0
    assert files(tmp_path / "out") == [f"{shortened}.png", f"{shortened}_rec.png", "m.png", "m_rec.png"]
    assert f"{long}.jpg becomes {shortened}.png" in said.err


def test_a_result_that_cannot_have_its_name_is_one_left_out(tmp_path, translate, monkeypatch):
    """As on a file system with shorter names than the input's."""
    for name in ("a.png", "too-long.png", "z.png"):
        picture(tmp_path / "in" / name)

    def short(path, **options):
        if path.name.startswith("too-long"):
            raise OSError(36, "File name too long", str(path))
        return whole_file(path, **options)

    monkeypatch.setattr("cyclegan.translation.saving.whole_file", short)
    (tmp_path / "out" / "z.png").mkdir(parents=True)  # In the way.
    status, said = translate("--input", "in", "--output", "out")
    assert status == 1 and "1 of 3 pictures" in said.out and files(tmp_path / "out") == ["a.png"]
    assert "too-long.png: its translation can't be written as too-long.png (File name too long)" in said.err
    assert "z.png: its translation can't be written as z.png (Is a directory)" in said.err


def test_a_full_disk_ends_at_once(tmp_path, translate, monkeypatch):
    def full(path, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cyclegan.translation.saving.whole_file", full)
    picture(tmp_path / "in" / "a.png")
    status, said = translate("--input", "in", "--output", "out")
    assert status == 1 and "error: out/a.png can't be written (No space left on device): free space" in said.err


def test_folders_zips_patterns_and_files_together(tmp_path, translate):
    for name in ("day/1.png", "day/deep/2.png", "more/day/1.png", "x.png", "p/1.jpg", "p/2.jpg", "p/3.gif"):
        picture(tmp_path / name)
    (tmp_path / "day" / "list.txt").write_text("x")
    with zipfile.ZipFile(tmp_path / "trip.zip", "w") as archive:
        archive.write(tmp_path / "x.png", "k/x.png")
        archive.writestr("k/notes.txt", "x")
    status, said = translate("--input", "day", "more/day", "--input", "p/*.jpg", "trip.zip", "x.png",
                             "--recursive", "--output", "out")  # fmt: skip
    assert status == 0 and "7 of 7 pictures" in said.out
    assert "written to out; each folder and zip has a folder of its own there\n" in said.out
    wanted = ["1.png", "2.png", "day-2/1.png", "day/1.png", "day/deep/2.png", "trip/k/x.png", "x.png"]
    assert files(tmp_path / "out") == wanted
    assert said.err.splitlines()[:2] == ["note: not translated: 1 .txt", "note: k/notes.txt is not a picture"]
    status, said = translate("--input", "x.png", "day", "--output", "out")
    assert "note: not translated: 1 .txt, 1 subfolder (--recursive walks it)\n" in said.err
    assert "written to out, where 2 of this name existed and were replaced" in said.out
    status, said = translate("--input", "p/*.gif", "--output", "one.png")
    assert status == 0 and size_of(tmp_path / "one.png") == (16, 12)


def test_one_bad_zip_does_not_stop_the_others(tmp_path, translate):
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    picture(tmp_path / "a.png")
    status, said = translate("--input", "bad.zip", "a.png", "--output", "out")
    assert status == 1 and files(tmp_path / "out") == ["a.png"]
    assert "error: bad.zip is damaged or isn't a zip: pack it again" in said.err and "1 of 1 picture " in said.out


def test_results_that_are_renamed_are_named(tmp_path, translate):
    for name in ("a.jpg", "a.png", "x/1.jpg", "y/1.jpg"):
        picture(tmp_path / name)
    status, said = translate("--input", "a.jpg", "a.png", "x/1.jpg", "y/1.jpg", "--output", "out")
    assert files(tmp_path / "out") == ["1-2.png", "1.png", "a.jpg.png", "a.png.png"]
    assert said.err.splitlines()[0] == (
        "note: names that are taken or too long are changed: a.jpg becomes a.jpg.png; a.png becomes a.png.png; "
        "y/1.jpg becomes 1-2.png"
    )


@pytest.mark.parametrize(("words", "says"), [
    (["--input", "in", "--output", "in"], "--output is the folder of the input"),
    (["--input", "in/a.png", "out/b.png", "--output", "in"], "--output is the folder of the input"),
    (["--input", "out", "--output", "."], "nothing"),
    (["--input", ".", "--recursive", "--output", "out"], "nothing"),
    (["--input", "*/*.png", "--output", "."], "in/a.png would be overwritten, and it is an input itself"),
    (["--input", "in", "--output", "in/a.png"], "--output a.png names one picture, but --input is a folder"),
    (["--input", "in/a.png", "out/b.png", "--output", "x.png"], "--output x.png names one picture"),
    (["--input", "in/a.png", "--output", "x.zip"], "--output x.zip: results are written into a folder"),
    (["--input", "in/a.png", "v.mp4", "--output", "o"], "v.mp4 is a video: translate each video by itself"),
    (["--input", "empty", "--output", "o"], "--input empty holds no pictures\n"),
    (["--input", "videos", "--output", "o"], "holds no pictures, but 1 .mp4; name a video itself, not its folder"),
    (["--input", "top", "--output", "o"], "top holds no pictures, but 1 subfolder (--recursive walks it)"),
    (["--input", "in/a.png", "--output", "in/a.png/x"], "can't be made (Not a directory)"),
    (["--input", "pipe.zip", "--output", "o"], "pipe.zip is not a regular file"),
    (["--input", "/dev/zero", "--output", "o"], "zero is not a regular file"),
])  # fmt: skip
def test_no_input_is_overwritten_and_what_cannot_be_done_is_a_sentence(tmp_path, translate, words, says):
    for name in ("in/a.png", "out/b.png", "top/sub/c.png"):
        picture(tmp_path / name)
    for name in ("empty", "videos"):
        (tmp_path / name).mkdir()
    for name in ("v.mp4", "videos/v.mp4"):
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.zip")
    before = [(tmp_path / name).read_bytes() for name in ("in/a.png", "out/b.png", "top/sub/c.png")]
    status, said = translate(*words)
    if says == "nothing":
        assert status == 0
    else:
        assert status == 1 and says in said.err
    assert [(tmp_path / name).read_bytes() for name in ("in/a.png", "out/b.png", "top/sub/c.png")] == before


def test_a_working_size_beyond_any_picture_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["translate", "--checkpoints", "r", "--direction", "ab", "--input", "i", "--output", "o",
              "--size", "20001"])  # fmt: skip
    assert "argument --size: 20001 is too large for a working size: 1 to 20000" in capsys.readouterr().err
