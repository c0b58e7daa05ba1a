"""Opening folders and pairs, the check before training, the cache, and the batches that come out."""

import logging
import os
import pickle
import sys
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.config import DataConfig
from cyclegan.data import Data, about_domains, find_data, open_data
from cyclegan.data.cache import PictureCache, plan_cache
from cyclegan.data.domains import Splits, no_folder
from cyclegan.data.loader import without_tests
from cyclegan.errors import DataError
from cyclegan.images import normalise, prepare_for_evaluation, to_tensor
from cyclegan.locale import in_language


def picture(size, seed):
    """Smooth random colours: a picture that differs from every other."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def write(folder, count, size=(40, 30), start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture(size, start + i).save(folder / f"{i}.png")


def unpaired(root, a=5, b=3, test=2, **options):
    for n, (name, count) in enumerate((("trainA", a), ("trainB", b), ("testA", test), ("testB", test))):
        if count:
            write(root / name, count, start=100 * n, **options)
    return root


def pairs(root, split="train", count=4, size=(24, 20)):
    """Side by side: left any picture, right its negative."""
    (root / split).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        left = np.asarray(picture(size, i))
        Image.fromarray(np.concatenate([left, 255 - left], 1)).save(root / split / f"{i}.png")
    return root


def opened(root, *, seed=0, multiple=4, paired=False, progress=False, local_processes=1, **settings):
    defaults = {"load_size": 24, "crop_size": 16, "num_workers": 0}
    config = DataConfig(dataset=str(root), **{**defaults, **settings})
    return open_data(
        config,
        seed=seed,
        multiple=multiple,
        paired=paired,
        progress=progress,
        local_processes=local_processes,
    )


def epoch_of(data, epoch=1, **options):
    """Per batch a and b as networks see them: float32 (B, 3, H, W) in [-1, 1]."""
    batches = data.batches(epoch, **{"batch_size": 1, **options})
    return [(normalise(batch["real_a"]), normalise(batch["real_b"])) for batch in batches]


def same(left, right):
    return len(left) == len(right) and all(
        torch.equal(x, y) for a, b in zip(left, right, strict=True) for x, y in zip(a, b, strict=True)
    )


# ------------------------------------------------------------------------------------------------ layouts


def test_folders_per_domain(tmp_path):
    data = opened(unpaired(tmp_path), domain_a="photo", domain_b="map")
    assert [len(d) for d in (data.train_a, data.train_b, data.test_a, data.test_b)] == [5, 3, 2, 2]
    assert (data.train_a.name, data.train_b.name, data.test_is_train) == ("photo", "map", False)
    assert data.epoch_length == 5 and data.steps_per_epoch(2) == 2
    assert data.train_a.label(1) == "1.png"
    assert data.train_a.load(1).tobytes() == picture((40, 30), 1).tobytes()


def test_without_a_test_split_training_pictures_are_shown(tmp_path):
    data = opened(unpaired(tmp_path, test=0))
    assert data.test_is_train and data.test_a is data.train_a


@pytest.mark.parametrize(("make", "remedy"), [
    (lambda r: unpaired(r, test=0), "from trainA to testA and from trainB to testB"),
    (lambda r: [write(r / "Train" / d, 2) for d in ("day", "night")], "from Train/day to test/day and from Train/n"),
    (lambda r: [write(r / d, 2) for d in ("day", "night")], "from day to test/day and from night to test/night"),
    (lambda r: pairs(r), "moves one pair in ten from train to test"),
])  # fmt: skip
def test_the_note_on_missing_test_pictures_says_where_to_move_some(tmp_path, monkeypatch, make, remedy):
    monkeypatch.setattr("cyclegan.data.loader.TOO_FEW", 2)
    make(tmp_path)
    note = str(opened(tmp_path).no_test_note)
    assert note.startswith("the data set has no test pictures, so samples") and remedy in note
    assert f"python -m cyclegan holdout {tmp_path}" in note
    found = without_tests(find_data(DataConfig(dataset="streets:count=2,test_count=0,size=40")), "streets")
    assert str(found).endswith("; add test_count=50 to --dataset to draw some")


@pytest.mark.parametrize(("settings", "advised"), [
    ({}, True), ({"max_images": 50}, False), ({"augment": "small"}, False),
    ({"rotate": 3.0}, False), ({"diff_augment": "cutout"}, False),
])  # fmt: skip
def test_few_pictures_get_the_advice_to_vary_them(tmp_path, capsys, monkeypatch, settings, advised):
    monkeypatch.setattr("cyclegan.data.loader.TOO_FEW", 3)
    unpaired(tmp_path)
    opened(tmp_path, progress=True, **settings)
    said = "trainB has only 3 pictures, so discriminators may learn them by heart: consider --augment small"
    assert capsys.readouterr().err.count(said) == advised
    opened("streets:count=2,test_count=2,size=40", progress=True)
    assert "by heart" not in capsys.readouterr().err


def test_a_handful_of_pictures_gets_the_advice_to_add_some(tmp_path, capsys):
    write(tmp_path / "trainA", 12)
    write(tmp_path / "trainB", 9)
    note = str(opened(tmp_path, progress=True).no_test_note)
    assert note.endswith("; put some others into testA and testB"), "holdout would refuse"
    said = capsys.readouterr().err
    assert "trainB has only 9 pictures: enough to try the program out, too few to learn" in said and "augm" not in said


def test_enough_pictures_get_none(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("cyclegan.data.loader.FEW_PICTURES", 3)
    opened(unpaired(tmp_path), progress=True)
    assert "by heart" not in capsys.readouterr().err


def test_val_is_the_test_split_where_there_is_no_test(tmp_path):
    unpaired(tmp_path / "folders", test=0)
    write(tmp_path / "folders/valA", 1)
    write(tmp_path / "folders/valB", 2)
    data = opened(tmp_path / "folders")
    assert (len(data.test_a), len(data.test_b), data.test_is_train) == (1, 2, False)
    pairs(pairs(tmp_path / "pairs"), "val", 3)
    assert len(opened(tmp_path / "pairs").test_a) == 3
    pairs(tmp_path / "pairs", "test", 2)
    assert len(opened(tmp_path / "pairs").test_a) == 2, "test wins over val"


def test_pairs_are_cut_in_the_middle(tmp_path):
    data = opened(pairs(tmp_path))
    for i in range(4):
        left, right = data.train_a.load(i), data.train_b.load(i)
        assert left.size == right.size == (24, 20)
        assert np.array_equal(255 - np.asarray(left), np.asarray(right))
        assert data.train_a.truth(i).tobytes() == right.tobytes()


def test_pairs_of_odd_width_have_halves_of_one_size(tmp_path):
    (tmp_path / "train").mkdir()
    wide = Image.new("RGB", (41, 20), (9, 9, 9))
    wide.paste((255, 255, 255), (20, 0, 21, 20))
    wide.save(tmp_path / "train/a.png")
    splits = find_data(DataConfig(dataset=str(tmp_path)))
    for half in (splits.train_a, splits.train_b):
        assert half.load(0).size == half.probe(0) == (20, 20)
        assert half.load(0).getextrema() == ((9, 9),) * 3, "the middle column belongs to neither"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda r: None, "has neither trainA and trainB nor train in it; found in it: no folder"),
        (lambda r: write(r / "horses", 1), "nor train in it; found in it: horses"),
        (lambda r: write(r / "trainA", 1), "has no folder trainB"),
        (lambda r: (write(r / "trainA", 1), (r / "trainB").mkdir()), "trainB has no pictures"),
        (lambda r: (write(r / "trainA", 1), write(r / "trainB/x", 1)), "not into folders in it"),
        (lambda r: write(r / "train/class", 1), "has no pictures in train"),
    ],
)
def test_a_folder_that_is_not_understood_gets_the_layouts_explained(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    assert words in str(caught.value) and "Layouts that are understood" in str(caught.value)


def test_a_mistyped_name_isnt_buried_under_the_layouts(tmp_path):
    unpaired(tmp_path / "inner")
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    assert "(did you mean" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("dataset", ["", "horse2zebra", "/no/such/folder", "a b/c"])
def test_a_name_that_is_nothing(dataset):
    with pytest.raises(DataError, match="there is no folder"):
        find_data(DataConfig(dataset=dataset))


@pytest.mark.parametrize("dataset", [
    "./maps", "../some/maps", "~/no such/maps", "~nobody/maps", "/no/maps", "C:\\data\\maps", "C:/maps", "a/b/c",
    "a/..", "a/b/", "데이터/지도", "data/mapz",
])  # fmt: skip
def test_what_can_only_be_a_folder_is_not_asked_for_at_the_hub(tmp_path, monkeypatch, dataset):
    monkeypatch.setitem(sys.modules, "cyclegan.data.hub", None)  # Importing it fails.
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no folder|valid folder name") as caught:
        find_data(DataConfig(dataset=dataset))
    assert "Layouts that are understood" in str(caught.value)
    assert ("the Hub is not asked, as data is a folder here" in str(caught.value)) == (dataset == "data/mapz")


@pytest.mark.parametrize(("given", "meant"), [
    ("data/mapz", "data/maps"), ("dat/Maps", "data/maps"), ("./data/map", "data/maps"), ("{}/daata", "{}/data"),
    ("data/facades", None), ("other/maps", None), ("data/maps.zip/x", None), ("", None),
])  # fmt: skip
def test_a_folder_of_nearly_that_name_is_named(tmp_path, monkeypatch, given, meant):
    (tmp_path / "data/maps").mkdir(parents=True)
    (tmp_path / "data/mapz.txt").touch()
    monkeypatch.chdir(tmp_path)
    text = given.format(tmp_path)
    near = f" (did you mean {meant.format(tmp_path)!r}?)" if meant else ""
    assert str(no_folder(text)) == f"there is no folder {text!r}{near}"


@pytest.mark.parametrize(("make", "given", "meant"), [
    (unpaired, "data/mine/trainA", "data/mine"), (unpaired, "data/mine/testB", "data/mine"),
    (pairs, "data/mine/train", "data/mine"), (unpaired, "data", "data/mine"),
    (lambda r: [write(r / "train" / d, 1) for d in ("day", "night")], "data/mine/train/day", "data/mine"),
    (lambda r: [write(r / d, 1) for d in ("day", "night")], "./data/mine/night", "data/mine"),
    (lambda r: [write(r / d, 1) for d in ("a", "b", "c")], "data/mine/a", None),
    (lambda r: [unpaired(r), write(r / "more", 1)], "data/mine/more", None),
])  # fmt: skip
def test_a_folder_too_deep_or_too_high_gets_the_data_set_named(tmp_path, monkeypatch, make, given, meant):
    make(tmp_path / "data/mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="has neither trainA and trainB nor train in it") as caught:
        find_data(DataConfig(dataset=given))
    first = str(caught.value).splitlines()[0]
    assert (f"(did you mean {meant}?)" in first) if meant else ("did you mean" not in first)


def test_the_folder_that_one_stands_in_gets_it_too(tmp_path, monkeypatch):
    monkeypatch.chdir(unpaired(tmp_path) / "trainA")
    with pytest.raises(DataError) as caught:
        find_data(DataConfig(dataset="."))
    assert f"(did you mean {tmp_path}?)" in str(caught.value)


def test_a_nested_sentence_is_korean_as_a_whole(tmp_path, monkeypatch):
    (tmp_path / "data/maps").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        find_data(DataConfig(dataset="data/mapz"))
    first = in_language(caught.value, "ko").splitlines()[0]
    assert first == (
        "'data/mapz' 폴더가 없습니다(혹시 'data/maps' 폴더인가요?). data 폴더가 여기에 있으므로 "
        "Hub에서는 찾지 않았습니다"
    )


def test_a_file_is_no_data_set(tmp_path):
    (tmp_path / "maps.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="unpack it"):
        opened(tmp_path / "maps.zip")


def test_folder_names_in_any_case(tmp_path):
    write(tmp_path / "TrainA", 1)
    write(tmp_path / "trainb", 1)
    assert opened(tmp_path).epoch_length == 1


def test_max_images_are_the_first(tmp_path):
    data = opened(unpaired(tmp_path, a=12), max_images=4, seed=7)
    assert [data.train_a.label(i) for i in range(len(data.train_a))] == ["0.png", "1.png", "2.png", "3.png"]
    assert len(data.train_b) == 3 and len(data.test_a) == 2


def test_streets():
    data = opened("streets:count=3,test_count=2,size=32")
    assert (len(data.train_a), len(data.test_b), data.test_is_train) == (3, 2, False)
    samples = data.samples(2)
    truth = prepare_for_evaluation(data.test_a.truth(1), data.config)
    assert torch.equal(samples["truth_b"][1], to_tensor(truth)) and len(samples["truth_a"]) == 2
    paired = opened("streets:count=2,test_count=1,size=32", paired=True)
    assert paired.train_b.load(1).tobytes() == paired.train_a.truth(1).tobytes()
    assert paired.train_b.truth(1).tobytes() == paired.train_a.load(1).tobytes()
    with pytest.raises(DataError, match="colour"):
        opened("streets:colour=3")


# ------------------------------------------------------------------------------------ check before training


def spoil(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("preprocess", ["resize_crop", "none"])
def test_bad_files_are_named_all_at_once(tmp_path, preprocess):
    unpaired(tmp_path)
    spoil(tmp_path / "trainA/1.png")
    (tmp_path / "trainB/0.png").write_bytes(b"")
    (tmp_path / "testB/1.png").write_bytes(b"no picture")
    (tmp_path / "trainB/phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    with pytest.raises(DataError) as caught:
        opened(tmp_path, preprocess=preprocess)
    message = str(caught.value)
    expected = (
        "4 of the data set's files", "trainA/1.png is truncated", "trainB/0.png is empty",
        "testB/1.png is not a picture", "trainB/phone.heic is a HEIC", "--skip_bad_images",
    )  # fmt: skip
    assert [words for words in expected if words not in message] == []
    assert str(tmp_path) not in message


def test_a_long_summary_stops_at_twenty(tmp_path):
    unpaired(tmp_path, a=30)
    for i in range(25):
        (tmp_path / f"trainA/{i}.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    assert str(caught.value).count("is empty") == 20 and "… and 5 more" in str(caught.value)


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_skip_bad_images_leaves_them_out_and_says_so(tmp_path, caplog, cache_mb):
    unpaired(tmp_path)
    clean = opened(tmp_path)
    expected = {to_tensor(prepare_for_evaluation(clean.train_a.load(i), clean.config)) for i in (0, 2, 3, 4)}
    spoil(tmp_path / "trainA/1.png")
    with caplog.at_level(logging.WARNING):
        opened(tmp_path, skip_bad_images=True)
        assert not caplog.text, "other processes keep quiet"
        settings = {"cache_mb": cache_mb, "preprocess": "resize", "flip": False}
        data = opened(tmp_path, skip_bad_images=True, progress=True, **settings)
    assert caplog.text.count("trainA/1.png is truncated") == 1 and "left out" in caplog.text
    assert [data.train_a.label(i) for i in range(len(data.train_a))] == ["0.png", "2.png", "3.png", "4.png"]
    seen = [a[0] for a, _ in epoch_of(data)]
    assert all(any(torch.equal(x, y) for y in expected) for x in seen) and len(seen) == 4


def test_a_bad_picture_takes_its_partner_along(tmp_path):
    write(tmp_path / "trainA", 3)
    write(tmp_path / "trainB", 3)
    spoil(tmp_path / "trainB/1.png")
    data = opened(tmp_path, paired=True, skip_bad_images=True)
    for domain in (data.train_a, data.train_b):
        assert [domain.label(i) for i in range(len(domain))] == ["0.png", "2.png"]


def test_nothing_left(tmp_path):
    unpaired(tmp_path, a=1)
    spoil(tmp_path / "trainA/0.png")
    with pytest.raises(DataError, match="no picture of A can be used"):
        opened(tmp_path, skip_bad_images=True)


def test_extreme_shapes_are_found_before_training(tmp_path):
    unpaired(tmp_path)
    Image.new("RGB", (1, 19_000)).save(tmp_path / "trainA/thin.png")
    Image.new("RGB", (1, 19_000)).save(tmp_path / "testA/thin.png")
    with pytest.raises(DataError) as caught:
        opened(tmp_path, preprocess="none")
    for folder in ("trainA", "testA"):
        assert f"{folder}/thin.png: the picture's shape is too extreme" in str(caught.value)
    assert "2 of the data set's files" in str(caught.value)


# ------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("preprocess", ["resize_crop", "resize", "crop", "scale_width_crop"])
def test_batches_have_the_promised_shape_and_range(tmp_path, preprocess):
    data = opened(unpaired(tmp_path), preprocess=preprocess)
    for real in (side for batch in data.batches(1, batch_size=2) for side in batch.values()):
        assert real.shape == (2, 16, 16, 3) and real.dtype == torch.uint8 and real.is_contiguous()
        assert real.max() - real.min() > 12


def test_mirrored_pictures_keep_their_colours(tmp_path):
    data = opened(unpaired(tmp_path, a=16), preprocess="resize")
    upright = {np.asarray(prepare_for_evaluation(data.train_a.load(i), data.config)).tobytes() for i in range(16)}
    mirrored = 0
    for batch in data.batches(1, batch_size=1):
        array = batch["real_a"][0].numpy()
        assert array.tobytes() in upright or np.ascontiguousarray(array[:, ::-1]).tobytes() in upright
        mirrored += array.tobytes() not in upright
    assert 2 < mirrored < 14


def test_the_option_order_reaches_the_batches(tmp_path):
    unpaired(tmp_path)
    rounds, drawn = epoch_of(opened(tmp_path)), epoch_of(opened(tmp_path, order="random"))
    assert same(epoch_of(opened(tmp_path, order="rounds")), rounds) and not same(rounds, drawn)
    write(tmp_path / "trainB", 5, start=100)
    by_name = [epoch_of(opened(tmp_path, paired=True, order=order)) for order in ("rounds", "random")]
    assert same(*by_name), "pairs have none of it"


@pytest.mark.parametrize("device", ["cpu", "meta", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_networks_see_the_same_bits_on_every_device(device, memory_format):
    levels = np.random.default_rng(0).permutation(2 * 256 * 3).astype(np.uint8).reshape(2, 16, 16, 3)
    pictures = torch.from_numpy(levels).to(device)
    values = normalise(pictures, memory_format)
    assert values.shape == (2, 3, 16, 16) and values.dtype == torch.float32
    assert values.is_contiguous(memory_format=memory_format)
    assert normalise(pictures[:1], memory_format).is_contiguous(memory_format=memory_format)
    assert normalise(pictures).is_contiguous()
    if device != "meta":
        assert torch.equal(values.cpu(), torch.stack([to_tensor(picture) for picture in levels]))
        assert np.array_equal(values.cpu().numpy(), levels.transpose(0, 3, 1, 2) / np.float32(127.5) - np.float32(1))
        assert np.array_equal(pictures.cpu(), levels), "what was given is as it was"


@pytest.mark.parametrize("preprocess", ["resize_crop", "crop", "none"])
def test_cached_equals_uncached_equals_workers(tmp_path, preprocess):
    unpaired(tmp_path)
    reference = epoch_of(opened(tmp_path, preprocess=preprocess, cache_mb=100))
    assert len(reference) == 5
    assert same(reference, epoch_of(opened(tmp_path, preprocess=preprocess, cache_mb=0)))
    with opened(tmp_path, preprocess=preprocess, cache_mb=100, num_workers=2) as data:
        assert same(reference, epoch_of(data))


def test_workers_survive_epochs_restarts_and_early_ends(tmp_path):
    unpaired(tmp_path)
    with opened(tmp_path) as here, opened(tmp_path, num_workers=2, cache_mb=0) as data:
        state = torch.get_rng_state()
        for epoch in (1, 2):
            assert same(epoch_of(here, epoch), epoch_of(data, epoch))
        assert same(epoch_of(here, 2)[2:], epoch_of(data, 2, start_step=2))
        next(old := data.batches(3, batch_size=1))
        assert same(epoch_of(here, 4), epoch_of(data, 4)), "an epoch that was left early does not leak"
        with pytest.raises(RuntimeError, match="another iterator"):
            next(old)
        assert torch.equal(state, torch.get_rng_state()), "torch's global chance is the trainer's"


def test_two_processes_see_what_one_sees(tmp_path):
    data = opened(unpaired(tmp_path, a=9))
    one = epoch_of(data, batch_size=2)
    two = [epoch_of(data, batch_size=1, process_index=rank, num_processes=2) for rank in (0, 1)]
    joined = [tuple(torch.cat(side) for side in zip(*ranks, strict=True)) for ranks in zip(*two, strict=True)]
    assert same(one, joined) and len(one) == 4


def test_start_step_equals_skipping_and_epochs_and_seeds_differ(tmp_path):
    data = opened(unpaired(tmp_path))
    assert same(epoch_of(data, start_step=2), epoch_of(data)[2:])
    assert not same(epoch_of(data, 1), epoch_of(data, 2))
    assert not same(epoch_of(data), epoch_of(opened(tmp_path, seed=1)))
    assert same(epoch_of(data), epoch_of(opened(tmp_path)))


def test_pairs_share_crop_and_mirror(tmp_path):
    data = opened(pairs(tmp_path, count=8), paired=True)
    mirrored = 0
    for a, b in epoch_of(data):
        # bicubic and rounding of a negative may differ from the negative of the result by one level
        assert torch.allclose(a, -b, atol=2.1 / 255)
        assert not torch.allclose(a.flip(3), -b, atol=0.1)
        mirrored += 1
    assert mirrored == 8
    apart = [torch.allclose(a, -b, atol=0.1) for a, b in epoch_of(opened(tmp_path))]
    assert not all(apart), "used unpaired, the halves of a file don't meet"


def test_pairs_by_name(tmp_path):
    write(tmp_path / "trainA", 11)
    write(tmp_path / "trainB", 11)
    data = opened(tmp_path, paired=True)
    assert all(torch.equal(a, b) for a, b in epoch_of(data)) and data.epoch_length == 11
    (tmp_path / "trainB/3.png").rename(tmp_path / "trainB/x.png")
    with pytest.raises(DataError, match="2 are only in one, e.g. 3"):
        opened(tmp_path, paired=True)


def test_partners_of_different_sizes_are_refused_unless_preprocessing_makes_them_equal(tmp_path):
    write(tmp_path / "trainA", 3, size=(40, 32))
    write(tmp_path / "trainB", 2, size=(80, 64))
    picture((48, 64), 2).save(tmp_path / "trainB/2.png")
    for preprocess in ("resize", "resize_crop"):
        assert all(a.shape == b.shape for a, b in epoch_of(opened(tmp_path, paired=True, preprocess=preprocess)))
    for preprocess in ("none", "crop", "scale_width", "scale_width_crop"):
        pair = "0.png has 40×32 and .*B/0.png has 80×64" if preprocess in ("none", "crop") else "A/2.png .*B/2.png has"
        with pytest.raises(DataError, match=f"a pair differ in size: .*{pair}.*use --preprocess resize_crop or resize"):
            opened(tmp_path, paired=True, preprocess=preprocess)
        opened(tmp_path, preprocess=preprocess)  # Unpaired, any sizes will do.
    (tmp_path / "trainA/2.png").write_bytes(b"bad")
    opened(tmp_path, paired=True, preprocess="scale_width", skip_bad_images=True)


@pytest.mark.parametrize(("batch", "product"), [
    ((6,), "--batch_size 6"),
    ((1, 1, 6), "--batch_size 1 × --gradient_accumulation_steps 6"),
    ((1, 2, 3), "--batch_size 1 × --gradient_accumulation_steps 3 × 2 processes"),
    ((3, 2), "--batch_size 3 × 2 processes"),
])  # fmt: skip
def test_a_batch_larger_than_the_data(tmp_path, batch, product):
    data = opened(unpaired(tmp_path))
    with pytest.raises(DataError) as caught:
        data.steps_per_epoch(*batch)
    product += " = 6" * ("×" in product)
    assert str(caught.value) == (
        f"an update takes more pictures ({product}) than the 5 of an epoch: lower that, or add pictures"
    )
    with pytest.raises(DataError, match="--batch_size"):
        data.batches(1, batch_size=3, num_processes=2)
    assert data.steps_per_epoch(1, 1, 2) == 4


@pytest.mark.parametrize("preprocess", ["none", "scale_width"])
def test_sizes_that_cannot_share_a_batch_are_refused_at_once(tmp_path, preprocess):
    data = opened(unpaired(tmp_path), preprocess=preprocess)
    assert epoch_of(data, batch_size=2)[0][0].shape[0] == 2, "one size only: no problem"
    picture((40, 90), 0).save(tmp_path / "trainB/2.png")
    data = opened(tmp_path, preprocess=preprocess)
    with pytest.raises(DataError, match="use --batch_size 1"):
        data.batches(1, batch_size=2)
    shapes = {tuple(b.shape[2:]) for _, b in epoch_of(data)}
    assert len(shapes) == 2 and all(side % 4 == 0 for shape in shapes for side in shape)


def test_multiple_reaches_the_geometry(tmp_path):
    data = opened(unpaired(tmp_path), preprocess="none", multiple=16)
    assert epoch_of(data)[0][0].shape == (1, 3, 32, 48)  # 43 × 32 after MIN_SIDE, then rounded
    assert data.samples(1)["real_a"][0].shape == (3, 32, 48)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_file_that_vanishes_is_named(tmp_path, num_workers):
    with opened(unpaired(tmp_path), cache_mb=0, num_workers=num_workers) as data:
        for path in (tmp_path / "trainA").iterdir():
            path.unlink()
        with pytest.raises(DataError, match=r"trainA/\d\.png does not exist.*when training began"):
            next(data.batches(1, batch_size=1))
    (tmp_path / "testA/0.png").unlink()
    with pytest.raises(DataError, match=r"testA/0\.png does not exist"):
        data.samples(1)


class Dying:
    """A domain that kills the process which decodes it."""

    name, fallible = "A", False

    def __init__(self, whole):
        self.whole, self.parent = whole, os.getpid()

    def __len__(self):
        return len(self.whole)

    def load(self, index):
        if os.getpid() != self.parent:
            os._exit(3)
        return self.whole.load(index)


def test_a_worker_that_dies_is_explained(tmp_path):
    config = DataConfig(dataset=str(unpaired(tmp_path)), load_size=24, crop_size=16, cache_mb=0, num_workers=1)
    found = find_data(config)
    splits = Splits(Dying(found.train_a), found.train_b, None, None)
    data = Data(splits, config, seed=0, multiple=4, paired=False, progress=False)
    with data, pytest.raises(DataError, match="lower --num_workers"):
        next(data.batches(1, batch_size=1))


# --------------------------------------------------------------------------------------------------- cache


def test_the_cache_takes_what_it_needs_and_no_more(tmp_path):
    unpaired(tmp_path)
    assert opened(tmp_path).cache_bytes == 8 * 24 * 24 * 3
    assert opened(tmp_path, cache_mb=0).cache_bytes == 0
    half = opened(tmp_path, load_size=512, crop_size=512, cache_mb=4, local_processes=2)  # 768 KiB each
    assert half.cache_bytes == 2 * 512 * 512 * 3


def test_the_plan_takes_both_domains_in_turn():
    sizes = (np.full((5, 2), 10), np.full((2, 2), 10))
    offsets, used = plan_cache(sizes, 1000)
    assert used == 900 and [o.tolist() for o in offsets] == [[0, 600, -1, -1, -1], [300, -1]]
    assert plan_cache((np.zeros((2, 2), int), np.full((1, 2), 2)), 100)[0][0].tolist() == [-1, -1]


def test_drawn_pictures_are_not_checked_only_cached(monkeypatch):
    drawn = []
    from cyclegan.data.streets import StreetsSpec

    monkeypatch.setattr(StreetsSpec, "image", lambda self, *at: drawn.append(at) or picture((128, 128), 0))
    large = "streets:count=3,test_count=2,size=128"  # Other tests' smaller ones are drawn already.
    opened(large, cache_mb=0, num_workers=0)
    assert drawn == []
    opened(large)
    assert sorted(drawn) == [("train", side, i) for side in "ab" for i in range(3)]


def test_workers_are_chosen_only_when_something_is_left_to_decode(tmp_path):
    unpaired(tmp_path)
    assert opened(tmp_path, num_workers=-1).num_workers == 0
    assert 1 <= opened(tmp_path, num_workers=-1, cache_mb=0).num_workers <= 4


def test_the_cache_is_shared_with_processes_that_get_it_pickled():
    cache = PictureCache((np.array([[2, 1]]), np.array([[1, 1]])), 100, shared=True)
    copy = pickle.loads(ForkingPickler.dumps(cache))
    cache.get(0, 0)[...] = 7
    assert copy.get(0, 0).tolist() == [[[7, 7, 7], [7, 7, 7]]] and copy.get(1, 0).shape == (1, 1, 3)


def test_little_shared_memory_means_less_cache(monkeypatch, caplog):
    room = type("Usage", (), {"free": 10})
    monkeypatch.setattr("cyclegan.data.cache.shutil.disk_usage", lambda path: room)
    monkeypatch.setattr("cyclegan.data.cache.os.path.isdir", lambda path: True)
    cache = PictureCache((np.array([[2, 1]]), np.array([[1, 2]])), 100, shared=True)
    assert cache.bytes == 6 and cache.get(1, 0) is None and "shm-size" in caplog.text


# ------------------------------------------------------------------------------------------------- samples


def test_samples_are_fixed_spread_and_prepared(tmp_path):
    data = opened(unpaired(tmp_path, test=9))
    samples = data.samples(3)
    assert samples["label_a"] == ["0.png", "4.png", "8.png"]
    expected = to_tensor(prepare_for_evaluation(picture((40, 30), 204), data.config))
    assert torch.equal(samples["real_a"][1], expected) and expected.shape == (3, 16, 16)
    assert "truth_a" not in samples and "truth_b" not in samples
    assert len(data.samples(50)["real_b"]) == 9 and data.samples(0)["real_a"] == []


def test_samples_of_pairs_come_with_the_truth(tmp_path):
    samples = opened(pairs(pairs(tmp_path), "test", 2)).samples(2)
    for real, truth in zip(samples["real_a"], samples["truth_b"], strict=True):
        assert torch.allclose(real, -truth, atol=2.1 / 255)
    assert torch.equal(samples["truth_a"][0], samples["real_a"][0])


def test_truth_folders_are_used(tmp_path):
    unpaired(tmp_path)
    write(tmp_path / "truth/testA", 2, start=900)
    samples = opened(tmp_path).samples(2)
    assert len(samples["truth_b"]) == 2 and "truth_a" not in samples


def test_progress_goes_to_stderr(tmp_path, capsys):
    config = DataConfig(dataset=str(unpaired(tmp_path)), load_size=16, crop_size=16)
    open_data(config, seed=0)
    out, err = capsys.readouterr()
    assert "Checking pictures" in err and not out


@pytest.mark.parametrize("trained, dataset, said", [
    (("day", "night", "streets:count=5"), "named", "named has drawn and satellite, but the run translates between day "
                                                    "and night"),
    (("day", "night", "named"), "named", None),  # Trained on it, under names of the person's own.
    (("drawn", "satellite", "another"), "named", None),
    (("satellite", "drawn", "another"), "named", "named has drawn and satellite, but the run translates between "
                                                 "satellite and drawn"),
    (("A", "B", "another"), "named", None),
    (("day", "night", "another"), "unnamed", None),
    (("day", "night", "another"), "streets:count=5", None),
    (("day", "night", "another"), "nowhere", None),
])
def test_a_data_set_of_other_domains_than_the_run_is_noted(tmp_path, trained, dataset, said):
    for folder in ("named/train/drawn", "named/train/satellite", "unnamed/trainA", "unnamed/trainB"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / folder / "1.png")
    a, b, name = trained
    folder = dataset if ":" in dataset else str(tmp_path / dataset)
    found = about_domains(DataConfig(dataset=name, domain_a=a, domain_b=b), folder)
    assert found is None if said is None else said in str(found) and str(found).startswith("warning: ")
