"""Files, folders, patterns and zips that `translate` takes, and the names of their results."""

import os
import zipfile
from pathlib import Path

import pytest

from cyclegan.errors import ConfigError
from cyclegan.translation.inputs import find_inputs, gather
from cyclegan.translation.pictures import output_names


@pytest.fixture
def photos(tmp_path):
    """Files that are never opened: photos/{2.jpg, 10.JPG, …} with two subfolders."""
    for name in ("2.jpg", "10.JPG", "a.npy", "b.npy", "c.CR2", "notes", ".DS_Store", ".thumbs/2.jpg", "day/1.png",
                 "day/deep/1.png", "night/1.png"):  # fmt: skip
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "photos"


def found(*texts, recursive=False, reconstruct=False, output=Path("out")):
    return gather(find_inputs(texts), recursive=recursive, reconstruct=reconstruct, output=output)


def targets(*texts, **options):
    return [item.target for item in found(*texts, **options).items]


def test_a_folder_reports_in_one_line_what_it_skips(photos):
    gathered = found(photos)
    assert [item.target for item in gathered.items] == ["2.png", "10.png"]
    said = str(gathered.skipped)
    assert said == ("2 .npy, 1 .CR2, 1 without a suffix, 2 subfolders (--recursive walks them), "
                    "2 hidden files or folders")  # fmt: skip
    assert str(found(photos / "night").skipped) == ""
    (photos / "night" / "more").mkdir()
    assert str(found(photos / "night").skipped) == "1 subfolder (--recursive walks it)"
    for index in range(20):
        (photos / "night" / f"x.s{index % 10}").write_bytes(b"x")
        (photos / "night" / f"y.s{index % 10}").write_bytes(b"x")
    assert "2 .s5, 8 other files, 1 subfolder" in str(found(photos / "night").skipped)


def test_subfolders_are_mirrored(photos):
    assert targets(photos, recursive=True) == ["2.png", "10.png", "day/1.png", "day/deep/1.png", "night/1.png"]
    gathered = found(photos, recursive=True)
    assert gathered.items[3].shown == str(photos / "day/deep/1.png") and "subfolder" not in str(gathered.skipped)


def test_a_search_among_thousands_shows_its_progress(photos):
    seen, walked = [], []
    inputs = find_inputs([photos / "*" / "*.png", photos / "2.jpg"], progress=seen.append)
    gather(inputs, recursive=False, reconstruct=False, output=Path("out"), progress=walked.append)
    assert sum(seen) == sum(walked) == len(inputs) == 3


def test_loops_of_links_end_and_no_picture_comes_twice(photos, tmp_path):
    (tmp_path / "other" / "sub").mkdir(parents=True)
    (tmp_path / "other" / "sub" / "o.png").write_bytes(b"x")
    (tmp_path / "above.png").write_bytes(b"x")
    for place, to in (("day/loop", ".."), ("day/above", "../.."), ("self", "."), ("again", "night"),
                      ("linked", "../other"), ("broken", "nowhere"), ("itself", "itself")):  # fmt: skip
        (photos / place).symlink_to(to, target_is_directory=True)
    (tmp_path / "other" / "back").symlink_to(photos)
    (tmp_path / "other" / "up").symlink_to("..")
    assert targets(photos, recursive=True) == [
        "2.png", "10.png", "day/1.png", "day/deep/1.png", "linked/sub/o.png", "night/1.png"
    ]  # fmt: skip


def test_the_folder_of_the_results_is_not_walked(photos):
    gathered = found(photos, recursive=True, output=photos / "day")
    assert [item.target for item in gathered.items] == ["2.png", "10.png", "night/1.png"]
    assert str(gathered.skipped).endswith("the folder of the results")
    assert "1 subfolder (" in str(found(photos, output=photos / "day").skipped)
    for pattern in (photos / "*", photos / "*" / "*.png"):
        gathered = found(pattern, output=photos / "day")
        assert gathered.items[-1].target == "night/1.png" and not any("day" in item.target for item in gathered.items)
        assert str(gathered.skipped).endswith("the folder of the results")
    assert targets(photos / "*" / "*.png", output=photos) == ["day/1.png", "night/1.png"]


def test_of_several_folders_each_gets_a_folder_of_its_name(photos, tmp_path):
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "1.png").write_bytes(b"x")
    both = targets(photos / "day", tmp_path / "day", photos / "2.jpg", photos / "day" / "1.png")
    assert both == ["day/1.png", "day-2/1.png", "2.png"]
    assert targets(photos / "day", photos / "day") == ["day/1.png"]


def test_patterns_keep_the_path_below_their_plain_beginning(photos, monkeypatch):
    assert targets(photos / "*.[jJ]*") == ["2.png", "10.png"]
    assert targets(photos / "*" / "1.png") == ["day/1.png", "night/1.png"]
    assert targets(photos / "[dn]*") == ["day/1.png", "night/1.png"] == targets(photos / "[dn]*" / "")
    assert "1 .CR2" in str(found(photos / "*").skipped)
    (photos / "day" / "loop").symlink_to("..")
    assert targets(photos / "**" / "*.png") == ["day/1.png", "day/deep/1.png", "night/1.png"]
    monkeypatch.chdir(photos)
    assert "2.png" in targets("**")
    assert targets("*.jpg") == ["2.png"] and targets("day/../*.jpg") == ["2.png"]
    (photos / "x[1].png").write_bytes(b"x")
    assert targets("x[1].png") == ["x[1].png"], "a file of that very name"
    for pattern, said in (("*.gif", "nothing matches --input"), ("nowhere/*.png", "nothing matches"),
                          ("a**b", "isn't a valid pattern|nothing matches")):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            find_inputs([pattern])


def test_zips_give_their_pictures(photos, tmp_path):
    for name in ("one.zip", "two.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("trip/a.png", b"x")
            archive.writestr("trip/notes.txt", b"x")
    gathered = found(tmp_path / "one.zip")
    assert [item.target for item in gathered.items] == ["trip/a.png"] and len(gathered.notes) == 1
    assert targets(tmp_path / "one.zip", tmp_path / "two.zip", photos / "2.jpg") == [
        "one/trip/a.png", "two/trip/a.png", "2.png"
    ]  # fmt: skip
    assert targets(tmp_path / "*.zip") == ["one/trip/a.png", "two/trip/a.png"]
    (tmp_path / "two.zip").write_bytes(b"no zip")
    (tmp_path / "old.rar").write_bytes(b"Rar!")
    gathered = found(tmp_path / "two.zip", tmp_path / "one.zip", tmp_path / "old.rar")
    assert len(gathered.items) == 1 and "two.zip is damaged" in str(gathered.failed[0])
    assert any("old.rar is an archive" in str(note) for note in gathered.notes)


def test_a_pipe_is_never_opened(tmp_path):
    for name in ("x.zip", "x"):
        os.mkfifo(tmp_path / name)
        assert targets(tmp_path / name) == ["x.png"]


def test_a_folder_that_cannot_be_listed_does_not_stop_the_others(photos, monkeypatch):
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "day":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    gathered = found(photos, recursive=True)
    assert [item.target for item in gathered.items] == ["2.png", "10.png", "night/1.png"]
    assert "day can't be listed (Permission denied)" in str(gathered.failed[0])


def test_an_input_that_is_missing_or_unreadable_is_named(tmp_path, photos):
    with pytest.raises(ConfigError, match="--input .*none does not exist"):
        find_inputs([photos, tmp_path / "none"])
    (tmp_path / "self").symlink_to("self")
    for path in (tmp_path / "self", photos / "2.jpg" / "x.png"):
        with pytest.raises(ConfigError, match=r"can't be read \((Too many levels|Not a directory)"):
            find_inputs([path])


# --- names of results ---------------------------------------------------------------------------------------


def every_name(paths, reconstruct):
    names = output_names(paths, reconstruct=reconstruct)
    return names + [f"{name[:-4]}_rec.png" for name in names] * reconstruct


@pytest.mark.parametrize("reconstruct", [False, True])
@pytest.mark.parametrize("paths", [
    ["a.png", "a_rec.png", "b.jpg", "b.png", "b.jpg.png", "B.gif", "a.png", "a.png"],
    ["x.jpg", "x.png/y.png", "X.PNG/z.png", "é.jpg", "e\u0301.png"],
    ["d/a.jpg", "d/a.png", "D/a.png", "e/a.png"],
    ["l" * 251 + ".jpg", "l" * 250 + "m.jpg", "l" * 251 + ".png", "가" * 83 + ".gif", "d/" + "l" * 255],
    ["l" * 246 + f"{n:05}.png" for n in range(30)],
])  # fmt: skip
def test_names_are_distinct_and_fit(paths, reconstruct):
    names = every_name(paths, reconstruct)
    assert len({name.casefold() for name in names}) == len(names) == len(paths) * (1 + reconstruct)
    folders = {str(parent).casefold() for path in paths for parent in Path(path).parents}
    assert not folders & {name.casefold() for name in names}
    assert all(len(os.fsencode(Path(name).name)) <= 255 for name in names)


def test_names_are_their_pictures_where_they_can_be():
    assert output_names(["d/a.jpg", "e/a.jpg", "b.gif"], reconstruct=True) == [
        "d/a.png", "e/a.png", "b.png"
    ]  # fmt: skip
    assert output_names(["l" * 251 + ".jpg"], reconstruct=False) == ["l" * 251 + ".png"]
    long = "가" * 100 + ".jpg"  # 304 bytes, as NTFS and APFS allow.
    assert output_names([long], reconstruct=False) == [long.replace("jpg", "png")]
    many = output_names(["a.png"] * 20_000, reconstruct=False)
    assert many[:3] == ["a.png", "a-2.png", "a-3.png"] and len(set(many)) == 20_000
