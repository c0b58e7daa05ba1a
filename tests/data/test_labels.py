"""Class labels: classes.json, label maps in files and in colours, and streets as label maps."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclegan.config import DataConfig
from cyclegan.data import find_data, open_folder
from cyclegan.data.domains import Subset
from cyclegan.data.find_classes import find_classes
from cyclegan.data.labels import VOID, Classes, read_classes, write_classes
from cyclegan.data.streets import PALETTE, StreetsSpec, label_image, write_streets
from cyclegan.errors import DataError
from cyclegan.images import prepare_for_evaluation, prepare_labels

# The second is void, so that positions and numbers differ.
CLASSES = Classes(("sky", "void", "road", "car"), ((128, 128, 128), (0, 0, 0), (128, 64, 128), (64, 0, 128)), (1,))
INDICES = np.repeat(np.repeat(np.array([[0, 1, 2], [3, 255, 2], [0, 2, 3]], np.uint8), 16, 0), 16, 1)
INDICES = np.roll(INDICES, (5, 3), (0, 1))  # So that a JPEG's blocks hold edges.
NUMBERS = np.array([0, VOID, 1, 2], np.uint8)[np.where(INDICES == 255, 1, INDICES)]


def photo(seed: int, size=(48, 48)) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, 40, (*size[::-1], 3)) + np.linspace(30, 220, size[0])[None, :, None]
    return Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))


def save(image: Image.Image | np.ndarray, path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)


def pairs(root: Path, *, maps: bool = True) -> Path:
    """A side-by-side data set, photo | label map, as JPEG; with label maps in labels/."""
    for split, count in (("train", 3), ("test", 2)):
        for index in range(count):
            labels = np.roll(NUMBERS, 16 * index, axis=1)
            both = Image.new("RGB", (96, 48))
            both.paste(photo(index), (0, 0))
            both.paste(CLASSES.picture(labels), (48, 0))
            save(both, root / split / f"{index}.jpg", quality=90, subsampling=0)
            if maps:
                save(np.roll(INDICES, 16 * index, axis=1), root / "labels" / split / f"{index}.png")
    return root


def folders(root: Path) -> Path:
    """Photos in both domains, with label maps of the test pictures of A."""
    for folder in ("trainA", "trainB", "testA", "testB"):
        for index in range(2):
            save(photo(index + len(folder)), root / folder / f"{index}.png")
    for index in range(2):
        save(INDICES, root / "labels/testA" / f"{index}.png")
    return root


def find(dataset, **options):
    return find_data(DataConfig(dataset=str(dataset)), **options)


# ------------------------------------------------------------------------------------------------- Classes


def test_void_classes_have_no_number_and_the_rest_are_numbered_without_gaps():
    assert CLASSES.count == 3 and CLASSES.scored == ("sky", "road", "car")
    assert CLASSES.numbers.tolist() == [0, VOID, 1, 2]


def test_a_picture_of_labels_reads_back_exactly_even_as_jpeg():
    picture = CLASSES.picture(NUMBERS)
    assert picture.mode == "RGB" and (CLASSES.nearest(picture) == NUMBERS).all()
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=85, subsampling=0)
    found = CLASSES.nearest(Image.open(stored))
    assert len(np.unique(np.asarray(Image.open(stored)).reshape(-1, 3), axis=0)) > 4
    assert found.dtype == np.uint8 and (found == NUMBERS).all()


def test_the_nearest_colour_is_by_the_sum_over_channels():
    classes = Classes(("a", "b"), ((0, 0, 0), (255, 255, 255)))
    random = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    by_hand = (np.abs(random.astype(int)).sum(-1) > np.abs(255 - random.astype(int)).sum(-1)).astype(np.uint8)
    assert (classes.nearest(random) == by_hand).all()


def test_without_a_void_class_void_is_black_and_colours_are_never_void():
    classes = Classes(("a", "b"), ((10, 0, 0), (255, 255, 255)))
    assert classes.picture(np.array([[VOID, 1]], np.uint8)).getpixel((0, 0)) == (0, 0, 0)
    assert classes.nearest(np.zeros((1, 1, 3), np.uint8)) == 0


@pytest.mark.parametrize("preprocess", ["resize", "resize_crop", "crop", "scale_width", "scale_width_crop", "none"])
@pytest.mark.parametrize("size", [(96, 48), (50, 200)])
def test_labels_are_prepared_like_their_picture(preprocess, size):
    config = DataConfig(preprocess=preprocess, crop_size=40, load_size=48)
    labels = np.zeros(size[::-1], np.uint8)
    labels[size[1] // 3 :, size[0] // 4 :] = 2
    picture = prepare_for_evaluation(CLASSES.picture(labels), config)
    prepared = prepare_labels(labels, config)
    assert prepared.shape == picture.size[::-1] and prepared.dtype == np.uint8
    assert set(np.unique(prepared)) <= {0, 2}
    assert (CLASSES.nearest(picture) == prepared).mean() > 0.93  # Bicubic mixes colours at the edge.


# ------------------------------------------------------------------------------------------------ streets


@pytest.mark.parametrize(("a", "b", "label_domain"), [("labels", "day", "a"), ("night", "labels", "b")])
def test_streets_are_label_maps_in_either_domain(a, b, label_domain):
    splits = find(f"streets:count=2,test_count=2,size=48x32,a={a},b={b}")
    spec = StreetsSpec.parse(f"streets:count=2,test_count=2,size=48x32,a={a},b={b}")
    assert splits.classes == PALETTE and splits.label_domain == label_domain
    for split, side in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")):
        domain = getattr(splits, f"{split}_{side}")
        scene, labels = spec.scene(split, side, 1), domain.labels(1)
        shown = {"day": scene.day, "night": scene.night, "labels": PALETTE.picture(scene.labels)}
        here, there = (a, b) if side == "a" else (b, a)
        assert labels.dtype == np.uint8 and (labels == scene.labels).all()
        assert domain.load(1).mode == "RGB" and domain.load(1).tobytes() == shown[here].tobytes()
        assert domain.truth(1).tobytes() == shown[there].tobytes()
        coded = domain.load(1) if here == "labels" else domain.truth(1)
        assert (splits.classes.nearest(coded) == labels).all()


def test_pairs_of_streets_show_one_scene():
    splits = find("streets:count=2,test_count=1,size=48,a=labels,b=night", paired=True)
    for a, b in ((splits.train_a, splits.train_b), (splits.test_a, splits.test_b)):
        assert (a.labels(0) == b.labels(0)).all()
        assert (PALETTE.nearest(a.load(0)) == b.labels(0)).all()
        assert a.truth(0).tobytes() == b.load(0).tobytes() and b.truth(0).tobytes() == a.load(0).tobytes()


def test_streets_are_day_and_night_as_before():
    splits = find("streets:count=1,test_count=1,size=32")
    assert splits.label_domain is None and splits.classes == PALETTE
    assert splits.test_b.labels(0).shape == (32, 32)


@pytest.mark.parametrize("text", ["streets:a=moon", "streets:b=", "streets:a=Day"])
def test_an_unknown_view_names_the_known_ones(text):
    with pytest.raises(DataError, match="day, night, labels"):
        StreetsSpec.parse(text)
    with pytest.raises(DataError, match="a=moon: choose from day, night, labels"):
        StreetsSpec(a="moon")


def test_written_streets_of_labels_are_read_back(tmp_path):
    spec = StreetsSpec.parse("streets:count=1,test_count=1,size=32,a=labels,b=day")
    write_streets(spec, tmp_path / "s")
    splits = find(tmp_path / "s")
    assert splits.classes == PALETTE and splits.label_domain == "a"
    for split, side in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")):
        domain = getattr(splits, f"{split}_{side}")
        assert (domain.labels(0) == spec.raster(split, side, 0).labels).all()
        assert domain.load(0).tobytes() == spec.image(split, side, 0).tobytes()
    assert splits.test_a.truth(0).tobytes() == spec.scene("test", "a", 0).day.tobytes()


# ------------------------------------------------------------------------------------------------ folders


def test_labels_of_pairs_come_from_their_files(tmp_path):
    root = pairs(tmp_path)
    assert find(root).classes is None and find(root).test_a.labels(0) is None
    write_classes(root, CLASSES, "b")
    splits = find(root)
    assert splits.classes == CLASSES and splits.label_domain == "b"
    for domain in (splits.test_a, splits.test_b, Subset(splits.test_b, [0, 1])):
        assert (domain.labels(1) == np.roll(NUMBERS, 16, axis=1)).all()
    assert find(root, paired=True).classes == CLASSES


def test_without_files_labels_are_the_nearest_colours_of_the_label_domain(tmp_path):
    root = pairs(tmp_path, maps=False)
    write_classes(root, CLASSES, "b")
    splits = find(root)
    assert (splits.test_a.labels(1) == np.roll(NUMBERS, 16, axis=1)).all()
    assert (splits.test_b.labels(1) == np.roll(NUMBERS, 16, axis=1)).all()
    write_classes(root, CLASSES)
    assert find(root).test_b.labels(1) is None


def test_a_domain_of_label_maps_and_its_truth_need_no_files(tmp_path):
    root = folders(tmp_path)
    save(CLASSES.picture(NUMBERS), root / "testB/0.png")
    save(CLASSES.picture(NUMBERS).resize((96, 96), Image.Resampling.NEAREST), root / "truth/testA/0.png")
    (root / "labels/testA/0.png").unlink()
    (root / "labels/testA/1.png").unlink()
    write_classes(root, CLASSES, "b")
    splits = find(root)
    assert (splits.test_b.labels(0) == NUMBERS).all()
    assert (splits.test_a.labels(0) == NUMBERS).all()  # At the picture's size, not the truth's.
    assert splits.test_a.labels(1) is None and splits.train_a.labels(0) is None


def test_label_maps_may_be_in_colours_or_of_16_bits(tmp_path):
    root = folders(tmp_path)
    write_classes(root, CLASSES)
    save(CLASSES.picture(NUMBERS), root / "labels/testA/0.png")
    save(INDICES.astype(np.uint16), root / "labels/testA/1.png")
    domain = find(root).test_a
    assert (domain.labels(0) == NUMBERS).all() and (domain.labels(1) == NUMBERS).all()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("0.png", None, "labels/testA has no label map for 0: add labels/testA/0.png"),
        ("0.png", np.full((48, 48), 4, np.uint8), "labels/testA/0.png has the class index 4, but classes.json"),
        ("0.png", np.zeros((24, 48), np.uint8), "labels/testA/0.png is 48×24 pixels, but its picture is 48×48: save"),
        ("0.png", b"\x89PNG damaged", "labels/testA/0.png is not a picture"),
        ("0.jpg", np.zeros((48, 48), np.uint8), "labels/testA/0.jpg is a JPEG, which changes the class numbers: save"),
    ],
)
def test_a_bad_label_map_is_named_with_the_remedy(tmp_path, name, content, said):
    root = folders(tmp_path)
    write_classes(root, CLASSES)
    (root / "labels/testA/0.png").unlink()
    if isinstance(content, bytes):
        (root / "labels/testA" / name).write_bytes(content)
    elif content is not None:
        save(content, root / "labels/testA" / name)
    with pytest.raises(DataError) as error:
        find(root).test_a.labels(0)
    assert said in str(error.value)


def test_a_label_map_cut_short_is_named(tmp_path):
    root = folders(tmp_path)
    write_classes(root, CLASSES)
    path = root / "labels/testA/0.png"
    save(np.random.default_rng(0).integers(0, 3, (48, 48), np.uint8), path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"labels/testA/0\.png can't be read \(.*\): save it again"):
        find(root).test_a.labels(0)


SKY = {"name": "sky", "color": [1, 2, 3]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "it can't be read (Expecting property name"),
        ("\xff", "it can't be read ("),
        ("[]", "it isn't a JSON object"),
        ({}, "it has no list of 1 to 254 classes"),
        ({"classes": []}, "it has no list of 1 to 254 classes"),
        ({"classes": ["sky"]}, "class 0: it needs a name"),
        ({"classes": [SKY, {"name": "road"}]}, "class 1: road needs a color of three numbers from 0 to 255"),
        ({"classes": [{"name": "sky", "color": [1, 2, 256]}]}, "class 0: sky needs a color of three numbers"),
        ({"classes": [{"name": "sky", "color": [1, 2, True]}]}, "class 0: sky needs a color of three numbers"),
        ({"classes": [{**SKY, "void": "yes"}]}, "class 0: sky's void is neither true nor false"),
        ({"classes": [SKY, {**SKY, "color": [4, 5, 6]}]}, "two classes are named 'sky'"),
        ({"classes": [{**SKY, "void": True}]}, "every class is void"),
        ({"classes": [SKY], "label_domain": "B"}, "label_domain is 'B', not"),
        ({"classes": [SKY, {**SKY, "name": "road"}], "label_domain": "b"}, "sky and road have the same color"),
    ],
)
def test_a_broken_classes_file_is_named_with_the_remedy(tmp_path, content, said):
    root = folders(tmp_path / "mine")
    text = content if isinstance(content, str) else json.dumps(content)
    (root / "classes.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as error:
        find(root)
    assert str(error.value).startswith("mine/classes.json can't be used: ") and said in str(error.value)
    assert str(error.value).endswith("or write it again: python -m cyclegan classes DATA --overwrite")


def test_classes_are_written_a_line_each_and_read_back(tmp_path):
    assert read_classes(tmp_path) is None
    path = write_classes(tmp_path, CLASSES, "a")
    assert '    {"name": "void", "color": [0, 0, 0], "void": true},\n' in path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # As some editors save it.
    assert read_classes(tmp_path) == CLASSES


# ------------------------------------------------------------------------------------------- finding classes


def found(root: Path, **options):
    return find_classes(root, open_folder(root, ("a", "b")), **options)


def test_colours_are_found_in_the_coded_half_of_pairs(tmp_path):
    result = found(pairs(tmp_path), names=("sky", "void", "road", "car"), void=("void",))
    assert result.label_domain == "b" and result.maps == 5 and result.colors_from == "pictures"
    assert result.classes.names[:4] == CLASSES.names
    # Pixels of 255 are black, too.
    assert result.classes.names[4:] == ("void_255",) and result.classes.void == (1, 4)
    assert np.abs(np.array(result.classes.colors[:4]) - CLASSES.colors).max() <= 2
    assert result.shares == pytest.approx((2 / 9, 1 / 9, 3 / 9, 2 / 9, 1 / 9))
    write_classes(tmp_path, result.classes, result.label_domain)
    assert (find(tmp_path).test_a.labels(0) == NUMBERS).all()
    assert (find(tmp_path).classes.nearest(find(tmp_path).test_b.load(0)) == NUMBERS).all()


def test_photos_are_not_taken_for_label_maps_however_dark(tmp_path):
    root = folders(tmp_path)
    for index in range(2):  # Every pixel is near its class's median.
        save((np.asarray(photo(index)) // 12).astype(np.uint8), root / "testA" / f"{index}.png")
    result = found(root, void=("1",))
    assert result.label_domain is None and result.colors_from == "default"
    assert result.classes.names == ("class_0", "class_1", "class_2", "class_3") and result.classes.void == (1,)
    assert len(set(result.classes.colors)) == 4


def test_a_flat_wall_does_not_make_a_photo_a_label_map(tmp_path):
    root = folders(tmp_path)
    mask = np.zeros((48, 48), np.uint8)
    mask[10:20, 10:20] = 1
    for index in range(2):
        before = np.where(mask[..., None] == 1, np.asarray(photo(index)), 255).astype(np.uint8)
        save(before, root / f"testA/{index}.png")
        save(mask, root / f"labels/testA/{index}.png")
    assert found(root).label_domain is None


def test_the_palette_of_the_label_maps_gives_the_colours(tmp_path):
    root = folders(tmp_path)
    for index in range(2):
        save(label_image(INDICES % 5), root / f"labels/testA/{index}.png")
    result = found(root)
    assert result.colors_from == "maps" and result.classes.colors == PALETTE.colors[:4]


def test_pairs_without_label_maps_give_the_classes_by_their_colours(tmp_path):
    result = found(pairs(tmp_path, maps=False))
    assert result.label_domain == "b" and result.maps == 0
    assert result.classes.names == ("class_0", "class_1", "class_2", "class_3")
    wanted = sorted(CLASSES.colors)
    assert np.abs(np.array(sorted(result.classes.colors)) - wanted).max() <= 3
    assert sum(result.shares) > 0.95
    with pytest.raises(DataError, match="leave --names out"):
        found(tmp_path, names=("sky",))


def test_coloured_label_maps_give_the_classes_by_their_colours(tmp_path):
    root = folders(tmp_path)
    for index in range(2):
        save(CLASSES.picture(NUMBERS), root / f"labels/testA/{index}.png")
    result = found(root)
    assert sorted(result.classes.colors) == sorted(CLASSES.colors)
    assert result.maps == 2 and result.colors_from == "maps" and result.label_domain is None


def test_pictures_in_tables_have_no_labels(tmp_path):
    datasets = pytest.importorskip("datasets")
    save(photo(0), tmp_path / "x.png")
    encoded = {"bytes": (tmp_path / "x.png").read_bytes(), "path": None}
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_dict({"imageA": [encoded], "imageB": [encoded]}).to_parquet(tmp_path / "data/train.parquet")
    with pytest.raises(DataError, match="data holds its pictures in tables.*save them into trainA"):
        found(tmp_path / "data")
    write_classes(tmp_path / "data", CLASSES)
    assert find(tmp_path / "data").train_a.labels(0) is None


def test_what_does_not_fit_is_refused_with_the_remedy(tmp_path):
    root = pairs(tmp_path / "pairs")
    with pytest.raises(DataError, match="classes 0 to 3, but 2 names were given: give 4"):
        found(root, names=("a", "b"))
    with pytest.raises(DataError, match="--void moon isn't one of the classes: class_0"):
        found(root, void=("moon",))
    with pytest.raises(DataError, match="leaves no class"):
        found(root, void=("0", "1", "2", "3"))
    with pytest.raises(DataError, match="class_0 and class_1 have the same colour in the pictures of domain a"):
        flat = folders(tmp_path / "flat")
        for index in range(2):
            save(Image.new("RGB", (48, 48)), flat / f"testA/{index}.png")
        found(flat, label_domain="a")
    with pytest.raises(DataError, match="domain b has no label maps in labels, so"):
        found(folders(tmp_path / "half"), label_domain="b")
    with pytest.raises(DataError, match="has no labels: put label maps.*into labels/trainA, labels/testA"):
        plain = folders(tmp_path / "plain")
        (plain / "labels/testA").rename(plain / "labels/other")
        found(plain)
