"""Layouts of data sets beyond trainA and trainB, and the lines that name what was found and what isn't used."""

import io
import logging
import os
import re
import shlex
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from cyclegan.config import DataConfig
from cyclegan.data import find_data, name_domains, open_data
from cyclegan.data.domains import LAYOUTS, UNUSED_PAIRS
from cyclegan.errors import DataError


@pytest.fixture
def root(tmp_path):
    """A folder that writes pictures and other files by their names."""
    return Root(tmp_path / "data")


class Root:
    def __init__(self, path):
        self.path = path
        path.mkdir()

    def pictures(self, folder, count=2, size=(40, 30), level=0):
        (self.path / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("RGB", size, (level + i, 0, 0)).save(self.path / folder / f"{i}.png")
        return self

    def files(self, *names):
        for name in names:
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        return self


def found(path, **options):
    splits = find_data(DataConfig(dataset=str(path)), **options)
    assert splits.train_a.part and splits.train_b.part
    return splits


def lines(path):
    return [str(note) for note in found(path).notes]


def counts(splits):
    return [domain and len(domain) for domain in (splits.train_a, splits.train_b, splits.test_a, splits.test_b)]


def refused(path):
    with pytest.raises(DataError) as caught:
        found(path)
    first, *rest = str(caught.value).splitlines()
    assert rest[0] == "Layouts that are understood:"
    return first


# --- one line a domain ----------------------------------------------------------------------------------------


def test_each_folder_has_a_line_that_names_what_is_not_used(root):
    root.pictures("trainA").pictures("trainA/more", 3).pictures("trainB").pictures("testA", 1).pictures("testB", 4)
    root.files(*(f"trainA/{i}.npy" for i in range(5)), *(f"trainA/{i}.CR2" for i in range(5)), "trainA/IM01")
    root.files(*(f"trainA/{name}" for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "a.txt", "b.json", "c.csv")))
    root.files("trainA/README", "trainB/x/notes.doc", "testB/.hidden/a.png", "testB/clip.mp4")
    assert lines(root.path) == [
        "trainA: 2 pictures; not used: 5 .CR2, 5 .npy, 1 without a suffix, 3 pictures in 1 subfolder "
        "(move them up into trainA to use them)",
        "trainB: 2 pictures",
        "testA: 1 picture",
        "testB: 4 pictures; not used: 1 .mp4",
    ]


def test_many_kinds_of_files_are_summed_up(root):
    root.pictures("trainA", 1).pictures("trainA/a", 1).pictures("trainA/b/c", 1).pictures("trainB", 1)
    root.files(*(f"trainA/x.k{i}" for i in range(8)))
    assert lines(root.path)[0] == (
        "trainA: 1 picture; not used: 1 .k0, 1 .k1, 1 .k2, 1 .k3, 1 .k4, 1 .k5, 2 others, 2 pictures in 2 subfolders "
        "(move them up into trainA to use them)"
    )


def test_half_a_test_split_is_said(root):
    root.pictures("trainA").pictures("trainB").pictures("testA").pictures("valA", 1).pictures("valB", 1)
    assert counts(found(root.path)) == [2, 2, 1, 1]
    assert lines(root.path)[4:] == ["testA isn't used, because the other domain has no such folder with pictures"]


def test_the_error_for_no_pictures_counts_and_says_how_to_convert(root):
    root.pictures("trainB").files("trainA/x.NEF", "trainA/y.NEF", "trainA/z.zip")
    assert refused(root.path) == (
        f"{root.path}/trainA has no pictures, but 2 .NEF, 1 .zip: put JPEG or PNG files directly into it. "
        "Develop a camera's RAW files to JPEG, for example with darktable-cli or rawpy. docs/data.md has the lines to "
        "type. Unpack archives first."
    )


def test_lines_are_printed_once_by_the_process_that_shows_progress(root, capsys):
    config = DataConfig(dataset=str(root.pictures("trainA", 3).pictures("trainB").path), load_size=32, crop_size=32)
    open_data(config, seed=0, progress=False)
    assert capsys.readouterr().err == ""
    open_data(DataConfig(**{**config.to_json(), "max_images": 2}), seed=0)
    said = capsys.readouterr().err
    assert said.splitlines()[:3] == [
        "trainA: 3 pictures", "trainB: 2 pictures", "--max_images: the first 2 of each are used"
    ]  # fmt: skip
    open_data(DataConfig(dataset="streets:count=2,test_count=1,size=32", load_size=32, crop_size=32), seed=0)
    said = capsys.readouterr().err.splitlines()
    assert said[:4] == [
        "streets, trainA: 2 pictures", "streets, trainB: 2 pictures",
        "streets, testA: 1 picture", "streets, testB: 1 picture",
    ]  # fmt: skip


# --- two folders of any name ------------------------------------------------------------------------------------


@pytest.mark.parametrize("validation", ["test", "val", "validation"])
def test_two_folders_in_train_are_two_domains(root, validation):
    root.pictures("train/zebra", 3).pictures("train/horse", 2).pictures(f"{validation}/Horse", 1)
    root.pictures(f"{validation}/zebra", 4).files("train/horse/x.npy")
    splits = found(root.path)
    assert counts(splits) == [2, 3, 1, 4] and not splits.aligned
    assert lines(root.path) == [
        "train/horse: 2 pictures; not used: 1 .npy", "train/zebra: 3 pictures",
        f"{validation}/Horse: 1 picture", f"{validation}/zebra: 4 pictures",
    ]  # fmt: skip


def test_two_folders_without_train_are_two_domains(root):
    root.pictures("A", 1).pictures("B", 2).files("README.md")
    root.pictures("run", 1).files("run/run.json")  # Trained here, with a picture of its curves.
    assert counts(found(root.path)) == [1, 2, None, None]
    paired = found(root.pictures("A", 2).path, paired=True)
    assert paired.aligned and paired.train_a.truth(1).tobytes() == paired.train_b.load(1).tobytes()


def test_names_of_any_encoding_can_be_printed(root):
    root.pictures("train/day").pictures("train/night")
    (root.path / "train" / "day").rename(root.path / "train" / os.fsdecode(b"d\xff"))
    config = name_domains(DataConfig(dataset=str(root.path)))
    assert (config.domain_a, config.domain_b) == ("d\ufffd", "night")


def test_a_wrong_folder_is_not_searched_through(root, monkeypatch):
    root.pictures("a/b/c")
    monkeypatch.setattr(os, "walk", lambda *_: pytest.fail("the whole tree was walked"))
    assert "neither trainA and trainB nor train" in refused(root.path)


def test_their_names_are_the_domains_unless_others_were_chosen(root):
    root.pictures("train/day").pictures("train/night")

    def names(**chosen):
        config = name_domains(DataConfig(dataset=str(root.path), **chosen))
        return config.domain_a, config.domain_b

    assert names() == ("day", "night")
    assert names(domain_a="sun") == ("sun", "night") and names(domain_b="moon") == ("day", "moon")
    root.pictures("trainA").pictures("trainB")
    assert names() == ("A", "B")
    drawn = {"streets": "day night", "streets:a=night,b=labels": "night labels", "phantoms:count=3": "MR CT"}
    for dataset, named in drawn.items():
        config = name_domains(DataConfig(dataset=dataset))
        assert f"{config.domain_a} {config.domain_b}" == named
    for dataset in ("streets:a=dusk", "user/name", "", "~nobody/x", "a\0b"):
        assert name_domains(DataConfig(dataset=dataset)).domain_a == "A"


@pytest.mark.parametrize(("folders", "says"), [
    (("train/a",), "no pictures in train, but 1 folder with pictures (a), where two are expected, one per domain:"),
    (("train/a", "train/b", "train/c"), "no pictures in train, but 3 folders with pictures (a, b, c), where two"),
    (("train/a/x", "train/b/x"), "train has no pictures, but 4 pictures in 2 subfolders: put JPEG or PNG files"),
    (("a", "b", "c"), "has neither trainA and trainB nor train in it; found in it: a, b, c"),
    (("test", "val"), "has neither trainA and trainB nor train in it; found in it: test, val"),
    (("testA", "testB"), "has neither trainA and trainB nor train in it; found in it: testA, testB"),
    ((".",), "found in it: 2 pictures in no folder"),
])  # fmt: skip
def test_other_counts_of_folders_are_named(root, folders, says):
    for folder in folders:
        root.pictures(folder)
    assert says in refused(root.path)


def test_one_of_two_folders_without_pictures_is_named(root):
    root.pictures("cat")
    (root.path / "dog").mkdir()
    (root.path / "dog" / "notes.txt").write_text("later")
    assert refused(root.path) == f"{root.path / 'dog'} has no pictures: put JPEG or PNG files directly into it."


# --- side by side -----------------------------------------------------------------------------------------------


def test_pairs_say_once_how_they_are_cut(root, capsys, caplog):
    root.pictures("train", 3, size=(256, 128)).pictures("train/more", 1).pictures("val", 1, size=(100, 50))
    assert lines(root.path) == [
        "train: 3 side-by-side pairs, each cut into two of 128×128; not used: 1 picture in 1 subfolder "
        "(move them up into train to use them)",
        "val: 1 side-by-side pair, cut into two of 50×50",
        str(UNUSED_PAIRS),
    ]
    open_data(DataConfig(dataset=str(root.path), load_size=32, crop_size=32), seed=0)
    said = capsys.readouterr().err
    assert said.count("side-by-side") == 2 and said.count("the pairs aren't used") == 1 and caplog.text == ""
    assert "--method pix2pix learns from pairs" in said
    open_data(DataConfig(dataset=str(root.path), load_size=32, crop_size=32), seed=0, paired=True)
    assert "aren't used" not in capsys.readouterr().err


def test_a_method_of_pairs_without_pairs_names_the_remedy(root):
    root.pictures("trainA", 3).pictures("trainB", 1)
    with pytest.raises(DataError, match="2 are only in one, e.g. 1. Give partners the same name, or .*cyclegan"):
        found(root.path, paired=True)


def test_ordinary_pictures_that_would_be_cut_in_halves_are_warned_of(root, caplog):
    root.pictures("train", 3, size=(256, 256))
    open_data(DataConfig(dataset=str(root.path), load_size=32, crop_size=32), seed=0)
    assert caplog.messages == [
        "train: most pictures are square or narrower (256×256), so they may be ordinary pictures rather than two side "
        "by side; those belong into trainA and trainB"
    ]
    Image.new("RGB", (300, 100)).save(root.path / "train/0.png")
    (root.path / "train/broken.png").write_bytes(b"x")
    assert "each cut into two of 128×256 to 150×100" in lines(root.path)[0] and found(root.path).warnings
    Image.new("RGB", (300, 100)).save(root.path / "train/1.png")
    assert not found(root.path).warnings, "most are wide"


# --- files and patterns -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "says"), [
    ("my maps.zip", "is an archive: unpack it with python -m zipfile -e '{}' 'my maps', then use --dataset 'my maps'"),
    ("maps.tar.gz", "is an archive: unpack it and give its folder"),
    ("a.jpg", "is a picture: give the folder that holds trainA and trainB"),
    ("list.csv", "is a file, not a data set: give a folder"),
])  # fmt: skip
def test_a_file_says_what_to_do_instead(root, name, says):
    root.files(name)
    assert refused(root.path / name).endswith(says.format(root.path / name) + ".")


@pytest.mark.parametrize("top", ["", "my pictures/", "one/two/"])
def test_the_advised_command_unpacks_an_archive_into_the_named_folder(root, top, monkeypatch, tmp_path):
    for name in ("trainA", "trainB"):
        root.pictures(name, 2)
    packed = tmp_path / "packed data.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in root.path.glob("*/*"):
            file.write(path, f"{top}{path.relative_to(root.path)}")
        file.writestr(f"__MACOSX/{top}trainA/._0.png", b"")
        file.writestr(f"{top}.DS_Store", b"")
    monkeypatch.chdir(tmp_path)
    command, dataset = re.search("unpack it with python (.*), then use --dataset (.*)[.]$", refused(packed)).groups()
    subprocess.run([sys.executable, *shlex.split(command)], check=True)
    assert len(find_data(DataConfig(dataset=shlex.split(dataset)[0])).train_a) == 2


def test_only_what_is_opened_is_among_the_layouts():
    assert ".zip" not in LAYOUTS.replace("(archives such as .zip: unpack them first)", "")


def test_patterns_and_packed_domains_say_what_to_do(root):
    assert "is a pattern, but --dataset takes one folder" in refused(root.path / "*/trainA")
    root.files("trainA.zip", "trainB.zip")
    assert refused(root.path).endswith("found in it: 2 .zip. Unpack archives first.")


# --- what the package datasets writes ---------------------------------------------------------------------------


def table(levels=(1, 2, 3), labels=(0, 1, 1)):
    datasets = pytest.importorskip("datasets")
    cells = []
    for level in levels:
        stream = io.BytesIO()
        Image.new("L", (20, 10), level).save(stream, "PNG")
        cells.append({"bytes": stream.getvalue(), "path": None})
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["horse", "zebra"])}
    return datasets.Dataset.from_dict({"image": cells, "label": labels}, features=datasets.Features(features))


def levels(domain):
    return domain and [domain.load(i).getpixel((0, 0))[0] for i in range(len(domain))]


def saved(path):
    import datasets

    datasets.DatasetDict(train=table(), test=table((4, 5), (1, 0))).save_to_disk(path)


def saved_split(path):
    table().save_to_disk(path)


def parquet(path):
    path.mkdir()
    (path / "data").mkdir()
    table().to_parquet(path / "data/train-00000-of-00001.parquet")
    table((4, 5), (1, 0)).to_parquet(path / "data/test-00000-of-00001.parquet")


@pytest.mark.parametrize(("write", "with_test"), [
    (saved, True), (saved_split, False), (parquet, True),
])  # fmt: skip
def test_folders_of_the_package_datasets(tmp_path, monkeypatch, write, with_test):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "set")
    splits = found(tmp_path / "set")
    assert [levels(d) for d in (splits.train_a, splits.train_b)] == [[1], [2, 3]]
    assert [levels(d) for d in (splits.test_a, splits.test_b)] == ([[5], [4]] if with_test else [None, None])
    assert [str(note) for note in splits.notes][:2] == ["A (train, image): 1 picture", "B (train, image): 2 pictures"]


@pytest.mark.parametrize("form", ["datasets", "struct", "bytes"])
def test_one_parquet_file(tmp_path, form):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "train.parquet"
    rows = table()
    if form == "datasets":
        rows.to_parquet(path)
    else:
        cells = rows.with_format("arrow")[:]["image"].to_pylist()
        cells = cells if form == "struct" else [cell["bytes"] for cell in cells]
        pandas.DataFrame({"image": cells, "label": rows["label"]}).to_parquet(path)
    assert [levels(d) for d in (found(path).train_a, found(path).train_b)] == [[1], [2, 3]]


def test_damaged_tables_are_one_sentence(root):
    pytest.importorskip("datasets")
    path = root.files("train.parquet").path
    for given in (path, path / "train.parquet"):
        with pytest.raises(DataError) as caught:
            found(given)
        assert "could not be opened as a data set (" in str(caught.value)


# --- pictures with metadata -------------------------------------------------------------------------------------


def test_a_label_in_metadata_separates_the_domains(root):
    root.pictures("train", 3, level=1).pictures("test", 2, level=4)
    (root.path / "train/metadata.csv").write_text("file_name,text,style\n0.png,x,day\n1.png,y,night\n2.png,z,night\n")
    (root.path / "test/metadata.jsonl").write_text(
        '{"file_name": "0.png", "style": "night"}\n{"file_name": "1.png", "style": "day"}\n'
    )
    splits = found(root.path)
    domains = (splits.train_a, splits.train_b, splits.test_a, splits.test_b)
    assert [levels(domain) for domain in domains] == [[1], [2, 3], [5], [4]]
    assert lines(root.path)[:2] == ["train (style: day): 1 picture", "train (style: night): 2 pictures"]
    config = name_domains(DataConfig(dataset=str(root.path)))
    assert (config.domain_a, config.domain_b) == ("day", "night")


def test_metadata_of_the_whole_folder_names_the_splits_in_its_paths(root):
    root.pictures("train", 2, level=1).pictures("test", 2, level=4)
    rows = "".join(f"{split}/{i}.png,{i},{i}\n" for split in ("train", "test") for i in range(2))
    (root.path / "metadata.csv").write_text(f"\ufefffile_name,other,label\n{rows}")
    splits = found(root.path)
    assert [levels(d) for d in (splits.train_a, splits.train_b, splits.test_a, splits.test_b)] == [[1], [2], [4], [5]]
    assert lines(root.path)[0] == "train (label: 0): 1 picture", "the column of a usual name"


@pytest.mark.parametrize(("name", "text"), [
    ("train/metadata.csv", "file_name,city\n0.png,Ulm\n1.png,Bonn\n"), ("state.json", "{}"),
    ("train/annotations.parquet", "x"), ("train/metadata.csv", "file_name,text\n.,x\n"),
])  # fmt: skip
def test_files_next_to_pairs_leave_them_pairs(root, name, text):
    root.pictures("train", 4, size=(40, 20))
    (root.path / name).write_text(text)
    assert lines(root.path)[0].startswith("train: 4 side-by-side pairs")


def test_metadata_of_captions_leaves_the_folders_as_they_are(root):
    root.pictures("train", 3, size=(40, 20))
    captions = "".join(f"{i}.png,caption {i},{i % 2}\n" for i in range(3))
    (root.path / "train/metadata.csv").write_text(f"file_name,text,width\n{captions}")
    assert lines(root.path)[:-1] == ["train: 3 side-by-side pairs, each cut into two of 20×20"]
    for damaged in ("{", "[" * 100_000):
        (root.path / "train/metadata.jsonl").write_text(damaged)
        assert "train/metadata.jsonl can't be read" in refused(root.path)


# --- depth and bands --------------------------------------------------------------------------------------------


def test_the_check_says_once_what_was_lost(root, caplog):
    root.pictures("trainA").pictures("trainB").pictures("testA", 1).pictures("testB", 1)
    for i in range(3):
        Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 65).save(root.path / f"trainA/{i}.png")
        frames = [Image.new("RGB", (40, 30), (level, 0, 0)) for level in (200, 90)]
        frames[0].save(root.path / f"testB/{i}.tif", save_all=True, append_images=frames[1:])
    config = DataConfig(dataset=str(root.path), load_size=32, crop_size=32, cache_mb=0)
    with caplog.at_level(logging.WARNING):
        open_data(config, seed=0, progress=False)
        assert caplog.messages == []
        open_data(config, seed=0)
    assert caplog.messages == [
        "trainA: 16-bit pictures use only 0..4095 of 65535 and become 17 grey levels: multiply their values first, all "
        "by the same number",
        "testB: in 3 pictures, only the first of several pages or frames is used",
    ]


def test_one_picture_of_several_is_counted(root, caplog):
    root.pictures("trainA", 3).pictures("trainB")
    frames = [Image.new("RGB", (40, 30), (level, 0, 0)) for level in (200, 90)]
    frames[0].save(root.path / "trainA/0.tif", save_all=True, append_images=frames[1:])
    open_data(DataConfig(dataset=str(root.path), load_size=32, crop_size=32), seed=0)
    assert caplog.messages == ["trainA: in 1 picture, only the first of several pages or frames is used"]


def test_halves_of_one_file_are_one_sentence(root, caplog):
    root.pictures("train", 1)
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(4, 16) * 65).save(root.path / "train/0.png")
    open_data(DataConfig(dataset=str(root.path), load_size=32, crop_size=32), seed=0)
    assert caplog.text.count("0..4095") == 1
