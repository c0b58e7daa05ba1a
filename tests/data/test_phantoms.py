"""The built-in MR and CT slices: the same everywhere, in units that a radiologist knows, with a map between them."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cyclegan.config import DataConfig
from cyclegan.data import find_data, name_domains
from cyclegan.data.domains import is_drawn, is_phantoms
from cyclegan.data.phantoms import CT_RANGE, MR_RANGE, TISSUES, PhantomsSpec, draw_slice, write_phantoms
from cyclegan.data.phantoms.anatomy import LEVELS
from cyclegan.errors import DataError
from cyclegan.rasters.raster import Raster


def digest(series: int, index: int) -> str:
    drawn = draw_slice(series, index, (96, 64))
    return hashlib.sha256(drawn.mr.tobytes() + drawn.ct.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def slices():
    return [draw_slice(3, index, (128, 128)) for index in range(40)]


def test_a_slice_is_a_pure_function_of_series_and_index():
    assert digest(5, 2) == digest(5, 2)
    assert len({digest(5, 2), digest(5, 3), digest(6, 2)}) == 3


def test_another_process_draws_the_same_bytes():
    code = "import sys; sys.path[:] = sys.argv[1:]; from test_phantoms import digest; print(digest(7, 4))"
    command = [sys.executable, "-c", code, str(Path(__file__).parent), *sys.path]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == digest(7, 4)


@pytest.mark.parametrize("index", range(4))
def test_another_size_shows_the_same_slice(index):
    large, small, other = (draw_slice(1, i, size) for i, size in (
        (index, (256, 256)), (index, (128, 128)), (index + 10, (128, 128)),
    ))  # fmt: skip
    for name in ("mr", "ct"):
        reduced = getattr(large, name).reshape(128, 2, 128, 2).mean((1, 3)).ravel()
        same = np.corrcoef(reduced, getattr(small, name).ravel())[0, 1]
        different = np.corrcoef(reduced, getattr(other, name).ravel())[0, 1]
        assert same > 0.97 > different


def test_values_are_whole_and_in_their_ranges(slices):
    for drawn in slices:
        for values, (low, high) in ((drawn.mr, MR_RANGE), (drawn.ct, CT_RANGE)):
            assert values.dtype == np.float32 and values.shape == (128, 128)
            assert values.min() >= low and values.max() <= high and (values == np.rint(values)).all()
    assert {drawn.level for drawn in slices} == set(LEVELS)
    mr, ct = (np.stack([getattr(drawn, name) for drawn in slices]) for name in ("mr", "ct"))
    assert mr.max() > 2800 and ct.max() > 1200
    assert ct.min() == -1000 and (ct == -1000).mean() > 0.3  # The air around the patient.


def test_what_matters_in_ct_lies_in_a_small_part_of_its_range(slices):
    ct = np.stack([drawn.ct for drawn in slices])
    body = ct > -300
    assert ((ct > -130) & (ct < 90))[body].mean() > 0.75


def test_the_tissues_are_a_radiologists():
    mr, ct = ({name: getattr(tissue, field) for name, tissue in TISSUES.items()} for field in ("mr", "ct"))
    assert mr["fat"] > mr["marrow"] > mr["liver"] > mr["muscle"] > mr["fluid"] > mr["lung"] > mr["air"]
    assert ct["air"] == -1000 and -900 < ct["lung"] < -700
    assert -120 < ct["fat"] < -90 < 0 < ct["fluid"] < ct["kidney"] < ct["muscle"] < ct["liver"] < 80
    assert ct["bone"] > 1000 > ct["marrow"] > 100


def test_ct_is_no_function_of_the_grey_value_of_mr(slices):
    """Bone and air are equally dark in MR, so a look-up table of grey values can't translate it."""
    mr, ct = (np.stack([getattr(drawn, name) for drawn in slices]) for name in ("mr", "ct"))
    dark = (mr > 20) & (mr < 60)
    assert (ct[dark] == -1000).sum() > 10_000 and (ct[dark] > 500).sum() > 500
    levels = (mr // 16).astype(int)
    means = np.bincount(levels.ravel(), ct.ravel()) / np.maximum(1, np.bincount(levels.ravel()))
    body = ct > -200
    assert np.abs(means[levels] - ct)[body].mean() > 100


def test_the_texture_of_one_tissue_is_the_same_in_both(slices):
    """Denser muscle is brighter in MR and lower in CT, so CT is a function of what MR shows."""
    found = []
    for drawn in slices:
        muscle = (np.abs(drawn.ct - 52) < 18) & (np.abs(drawn.mr - 1000) < 250)
        inner = muscle.copy()
        for axis in (0, 1):
            for step in (-2, -1, 1, 2):
                inner &= np.roll(muscle, step, axis)
        if drawn.level == "hips" and inner.sum() > 200:
            found.append(np.corrcoef(drawn.mr[inner], drawn.ct[inner])[0, 1])
    assert len(found) >= 3 and max(found) < -0.5


def test_the_table_is_seen_in_ct_alone(slices):
    for drawn in slices:
        row = int(np.flatnonzero((drawn.mr > 300).any(1)).max()) + 3
        below = slice(row, None)
        assert (drawn.ct[below] > -900).any() and drawn.mr[below].max() < 120


def test_parse():
    assert PhantomsSpec.parse("phantoms") == PhantomsSpec()
    spec = PhantomsSpec.parse("phantoms:count=7, test_count=3,size=160x96,seed=5")
    assert (spec.count, spec.test_count, spec.width, spec.height, spec.seed) == (7, 3, 160, 96, 5)
    assert PhantomsSpec.parse("phantoms:size=64").height == 64
    assert spec.image("train", "a", 6).size == (160, 96)


@pytest.mark.parametrize("text", [
    "streets", "phantoms:dogs=1", "phantoms:count=many", "phantoms:count", "phantoms:size=1x2x3", "phantoms:a=b",
])  # fmt: skip
def test_parse_says_what_is_understood(text):
    with pytest.raises(DataError, match="phantoms understands count, test_count, size"):
        PhantomsSpec.parse(text)


@pytest.mark.parametrize("text, says", [
    ("phantoms:count=0", "phantoms needs count=1 or more, not 0"),
    ("phantoms:test_count=-1", "phantoms needs test_count=0 or more"),
    ("phantoms:seed=-1", "phantoms needs seed=0 or more"),
    ("phantoms:size=8", "a picture of phantoms has 16 to 4096 pixels on each side, not 8×8"),
    ("phantoms:size=9999", "16 to 4096"),
])  # fmt: skip
def test_parse_refuses_values_out_of_range(text, says):
    with pytest.raises(DataError, match=says):
        PhantomsSpec.parse(text)


def test_all_splits_domains_and_seeds_are_different_slices():
    specs = [PhantomsSpec.parse(f"phantoms:count=3,test_count=3,size=48,seed={seed}") for seed in (0, 1)]
    seen = [
        spec.slice(split, domain, i).ct.tobytes()
        for spec in specs for split in ("train", "test") for domain in "ab" for i in range(3)
    ]  # fmt: skip
    assert len(set(seen)) == len(seen) == 24


def test_truth_is_the_same_slice_in_the_other_domain():
    spec = PhantomsSpec(count=1, test_count=1, width=64, height=48)
    a, b = spec.slice("test", "a", 0), spec.slice("test", "b", 0)
    for raster, values, dtype in (
        (spec.image("test", "a", 0), a.mr, "uint16"), (spec.truth("test", "a", 0), a.ct, "int16"),
        (spec.image("test", "b", 0), b.ct, "int16"), (spec.truth("test", "b", 0), b.mr, "uint16"),
    ):  # fmt: skip
        assert isinstance(raster, Raster) and raster.channels == 1 and raster.size == (64, 48)
        assert np.array_equal(raster.values[..., 0], values) and raster.origin.dtype == dtype


@pytest.mark.parametrize("where", [("valid", "a", 0), ("train", "c", 0), ("test", "a", 1), ("train", "b", -1)])
def test_slices_that_do_not_exist_are_refused(where):
    with pytest.raises(ValueError):
        PhantomsSpec(count=1, test_count=1, width=16, height=16).image(*where)


@pytest.mark.parametrize("size", [(16, 16), (1100, 40), (200, 16)])
def test_every_size_is_drawn(size):
    drawn = draw_slice(0, 1, size)
    assert drawn.mr.shape == drawn.ct.shape == size[::-1] and drawn.ct.max() > 0


def test_as_a_data_set():
    splits = find_data(DataConfig(dataset="phantoms:count=5,test_count=2,size=32", domain_a="MR", domain_b="CT"))
    assert [len(each) for each in (splits.train_a, splits.train_b, splits.test_a, splits.test_b)] == [5, 5, 2, 2]
    assert (splits.train_a.name, splits.train_b.name, splits.classes, splits.aligned) == ("MR", "CT", None, False)
    assert [str(note) for note in splits.notes][:2] == ["phantoms, trainA: 5 pictures", "phantoms, trainB: 5 pictures"]
    domain = splits.test_b
    assert domain.probe(1) == (32, 32) and domain.label(1) == domain.where(1) == "test-b-0001"
    assert domain.load(1).values.min() == -1000 and domain.truth(1).values.min() >= 0
    assert domain.labels(1) is None and domain.fingerprint(1) == "" and not domain.fallible
    assert find_data(DataConfig(dataset="phantoms:test_count=0,size=32")).test_a is None


def test_paired_domains_show_the_same_slices():
    splits = find_data(DataConfig(dataset="phantoms:count=2,test_count=1,size=32"), paired=True)
    assert splits.aligned and splits.train_b.part == "phantoms, trainB"
    assert np.array_equal(splits.train_a.truth(1).values, splits.train_b.load(1).values)
    assert np.array_equal(splits.train_a.load(1).values, splits.train_b.truth(1).values)


def test_the_domains_have_names_of_their_own(tmp_path, monkeypatch):
    named = name_domains(DataConfig(dataset="phantoms:count=2", domain_a="T1"))
    assert (named.domain_a, named.domain_b) == ("T1", "CT")
    assert is_phantoms("phantoms") and is_drawn("phantoms:size=64") and is_drawn("streets")
    assert not is_phantoms("phantoms2") and not is_drawn("data/phantoms")
    monkeypatch.chdir(tmp_path)  # A folder of that name wins.
    Path("phantoms").mkdir()
    assert name_domains(DataConfig(dataset="phantoms")).domain_a == "A"


def test_write_phantoms(tmp_path):
    spec, calls, out = PhantomsSpec(count=2, test_count=1, width=48, height=32, seed=3), [], tmp_path / "out"
    write_phantoms(spec, out, lambda done, total: calls.append((done, total)))
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    folders = {"trainA": 2, "trainB": 2, "testA": 1, "testB": 1, "truth/testA": 1, "truth/testB": 1}
    assert files == sorted([f"{folder}/{i:04d}.tif" for folder, n in folders.items() for i in range(n)]
                           + ["phantoms.json"])  # fmt: skip
    assert calls == [(i, 6) for i in range(1, 7)]
    drawn = spec.slice("test", "b", 0)
    ct, mr = tifffile.imread(out / "testB/0000.tif"), tifffile.imread(out / "truth/testB/0000.tif")
    assert (ct.dtype, mr.dtype) == (np.int16, np.uint16)
    assert np.array_equal(ct, drawn.ct) and np.array_equal(mr, drawn.mr)
    about = json.loads((out / "phantoms.json").read_text(encoding="utf-8"))
    assert about == {
        "spec": {"count": 2, "test_count": 1, "width": 48, "height": 32, "seed": 3},
        "range_a": [0, 4095], "range_b": [-1000, 2000],
    }  # fmt: skip
    again = tmp_path / "again"
    write_phantoms(spec, again)
    assert all((again / name).read_bytes() == (out / name).read_bytes() for name in files)


def test_the_folder_is_written_whole_or_not_at_all(tmp_path):
    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    spec = PhantomsSpec(count=2, test_count=1, width=16, height=16)
    with pytest.raises(KeyboardInterrupt):
        write_phantoms(spec, tmp_path / "out", stop)
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(DataError, match="not an empty folder"):
        write_phantoms(spec, tmp_path)
    with pytest.raises(DataError, match="can't be written"):
        write_phantoms(spec, tmp_path / "mine.txt" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_tifffile_a_sentence_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataError, match="pip install tifffile"):
        write_phantoms(PhantomsSpec(count=1, test_count=0, width=16, height=16), tmp_path / "out")


def test_a_written_folder_is_refused_as_pairs(tmp_path):
    write_phantoms(PhantomsSpec(count=1, test_count=1, width=32, height=32), tmp_path / "out")
    with pytest.raises(DataError, match="--dataset phantoms:… with the same settings"):
        find_data(DataConfig(dataset=str(tmp_path / "out")), paired=True)
