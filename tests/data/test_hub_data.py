"""The shapes of unpaired data sets on the Hub, built here with `datasets`; nothing is downloaded."""

import io
import sys
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from cyclegan.config import DataConfig
from cyclegan.data import find_data, open_data
from cyclegan.data import hub as hub_module
from cyclegan.data.domains import UNUSED_PAIRS
from cyclegan.data.hub import analyse, open_hub
from cyclegan.errors import DataError

datasets = pytest.importorskip("datasets")
ClassLabel, Feature, Value = datasets.ClassLabel, datasets.Image, datasets.Value
NAMES = ("horse", "zebra")


def cell(level):
    """A stored picture that is recognised by its grey level."""
    stream = io.BytesIO()
    Image.new("L", (20, 10), level).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def table(columns, **features):
    """Columns of grey levels (pictures) unless their feature is given."""
    cells = {
        name: values if name in features else [v if v is None else cell(v) for v in values]
        for name, values in columns.items()
    }
    kinds = {name: features.get(name, Feature()) for name in columns}
    return datasets.Dataset.from_dict(cells, features=datasets.Features(kinds))


def sets(*, config="default", **splits):
    return {config: datasets.DatasetDict(splits)}


def levels(domain):
    return domain and [domain.load(i).getpixel((0, 0))[0] for i in range(len(domain))]


def found(splits):
    return [levels(d) for d in (splits.train_a, splits.train_b, splits.test_a, splits.test_b)]


def test_equal_pictures_share_a_fingerprint():
    splits = analyse(sets(train=table({"imageA": [1, 2], "imageB": [3, 1]})), "u/n", NAMES)
    a, b = ([domain.fingerprint(index) for index in range(2)] for domain in (splits.train_a, splits.train_b))
    assert a[0] == b[1] and len({*a, *b}) == 3


@pytest.mark.parametrize("names", [("imageA", "imageB"), ("image_b", "image_a"), ("x", "y"), ("B", "A")])
def test_two_image_columns(names):
    given = sets(train=table(dict(zip(names, ([1, 2], [3, 4]), strict=True))),
                 test=table(dict(zip(names, ([5], [6]), strict=True))))  # fmt: skip
    expected = [[1, 2], [3, 4], [5], [6]]
    if names[0].lower().endswith("b"):
        expected = [[3, 4], [1, 2], [6], [5]]
    splits = analyse(given, "u/n", NAMES)
    assert found(splits) == expected and not splits.aligned
    assert (splits.train_a.name, splits.train_b.name) == NAMES
    assert splits.train_a.probe(0) == (20, 10)


def test_columns_may_be_filled_to_different_lengths():
    given = sets(train=table({"imageA": [1, 2, 3], "imageB": [4, None, None]}))
    splits = analyse(given, "u/n", NAMES)
    assert found(splits) == [[1, 2, 3], [4], None, None]
    assert UNUSED_PAIRS in splits.notes
    paired = analyse(given, "u/n", NAMES, paired=True)
    assert found(paired)[:2] == [[1], [4]] and UNUSED_PAIRS not in paired.notes


def test_rows_of_a_selection_are_the_selections():
    chosen = table({"imageA": [1, 2, None, 4], "imageB": [5, 6, 7, 8]}).select([3, 2, 0])
    assert found(analyse(sets(train=chosen), "u/n", NAMES))[:2] == [[4, 1], [8, 7, 5]]


def test_pairs_know_their_truth():
    splits = analyse(sets(train=table({"imageA": [1, 2], "imageB": [3, 4]})), "u/n", NAMES, paired=True)
    assert splits.aligned
    assert splits.train_a.truth(1).getextrema()[0] == (4, 4)
    assert splits.train_b.truth(0).getextrema()[0] == (1, 1)


@pytest.mark.parametrize(
    ("label", "values"),
    [
        (ClassLabel(names=["horse", "zebra"]), [0, 1, 1]),
        (Value("string"), ["a", "b", "b"]),
        (Value("int64"), [3, 8, 8]),
    ],
)
def test_an_image_and_a_label(label, values):
    kinds = {"label": label, "note": Value("string")}
    train = table({"image": [1, 2, 3], "label": values, "note": ["x", "y", "z"]}, **kinds)
    test = table({"image": [4, 5], "label": values[1::-1], "note": ["x", "y"]}, **kinds)
    assert found(analyse(sets(train=train, validation=test), "u/n", NAMES)) == [[1], [2, 3], [5], [4]]


def test_uploaded_folders():
    label = ClassLabel(names=["testA", "testB", "trainA", "trainB"])
    train = table({"image": [1, 2, 3, 4, 5], "label": [2, 3, 0, 1, 2]}, label=label)
    assert found(analyse(sets(train=train), "u/n", NAMES)) == [[1, 5], [2], [3], [4]]


def test_two_configurations():
    given = {
        config: datasets.DatasetDict(train=table({"image": [n, n + 1]}), test=table({"image": [n + 2]}))
        for n, config in ((20, "domain_b"), (10, "domain_a"))
    }
    assert found(analyse(given, "u/n", NAMES)) == [[10, 11], [20, 21], [12], [22]]


def test_splits_per_domain():
    given = sets(**{s: table({"image": [i]}) for i, s in enumerate(("trainB", "trainA", "testA", "testB"))})
    assert found(analyse(given, "u/n", NAMES)) == [[1], [0], [2], [3]]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda: sets(train=table({"text": ["x"]}, text=Value("string"))), "0 image columns"),
        (lambda: sets(train=table({"x": [1], "y": [1], "z": [1]})), "3 image columns (x, y, z)"),
        (lambda: sets(train=table({"image": [1, 2]})), "no label with two values"),
        (lambda: sets(test=table({"imageA": [1], "imageB": [2]})), "no split train, but test"),
        (lambda: sets(train=table({"imageA": [1], "imageB": [None]})), "no training pictures for domain B"),
        (lambda: sets(train=table({"x": [1]})) | sets(config="b", train=table({"x": [1], "y": [2]})),
         "one image column"),
    ],
)
def test_other_shapes_are_explained(given, words):
    with pytest.raises(DataError) as caught:
        analyse(given(), "u/n", NAMES)
    for expected in (words, "u/n", "two image columns"):
        assert expected in str(caught.value)


def test_a_label_knows_no_pairs():
    train = table({"image": [1, 2], "label": [0, 1]}, label=ClassLabel(names=["a", "b"]))
    with pytest.raises(DataError, match="has no pairs: .*--method cyclegan trains without pairs"):
        analyse(sets(train=train), "u/n", NAMES, paired=True)


def test_from_files_to_batches(tmp_path, monkeypatch):
    """Parquet on disk, through `load_dataset`, the check, the cache and two worker processes."""
    train = table({"imageA": [10, 20, 30], "imageB": [40, 50, None]})
    train.to_parquet(tmp_path / "train-0.parquet")
    asked = []

    def load(repo, config):
        asked.append((repo, config))
        return {"default": datasets.load_dataset(
            "parquet", data_files={"train": str(tmp_path / "*.parquet")}, cache_dir=str(tmp_path / "cache")
        )}  # fmt: skip

    monkeypatch.setattr(hub_module, "fetch", load)
    config = DataConfig(dataset="user/horses:small", load_size=16, crop_size=16, num_workers=2)
    with open_data(config, seed=0, progress=False) as data:
        seen = [batch["real_a"].unique().tolist() for batch in data.batches(1, batch_size=1)]
        assert sorted(seen) == [[10], [20], [30]] and len(data.train_b) == 2
        assert data.train_a.label(1) == "train-imageA-00001"
    assert asked == [("user/horses", "small")]


def test_a_bad_row_is_named(monkeypatch):
    broken = table({"imageA": [1, 2], "imageB": [3, 4]}).to_dict()
    broken["imageA"][1] = {"bytes": b"junk", "path": None}
    given = sets(train=datasets.Dataset.from_dict(
        broken, features=datasets.Features({"imageA": Feature(), "imageB": Feature()})
    ))  # fmt: skip
    monkeypatch.setattr(hub_module, "fetch", lambda repo, config: given)
    with pytest.raises(DataError, match="train-imageA-00001 is not a picture"):
        open_data(DataConfig(dataset="u/n"), seed=0, progress=False)


def test_a_folder_wins_over_an_id(tmp_path, monkeypatch):
    for side in "AB":
        (tmp_path / f"user/name/train{side}").mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / f"user/name/train{side}/x.png")
    monkeypatch.chdir(tmp_path)
    assert find_data(DataConfig(dataset="user/name")).train_a.label(0) == "x.png"


class DatasetNotFoundError(FileNotFoundError):
    """As in datasets.exceptions."""


class GatedRepoError(Exception):
    """As in huggingface_hub.errors."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DatasetNotFoundError("Dataset 'u/n' doesn't exist on the Hub"), "has no data set of that name"),
        (GatedRepoError("403"), "accept its terms"),
        (ConnectionError("Couldn't reach 'u/n' on the Hub"), "the Hub can't be reached"),
        (ValueError("BuilderConfig 'x' not found. Available: ['a', 'b']"), "has no configuration"),
        (RuntimeError("odd\nthing"), "RuntimeError: odd thing"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(monkeypatch, error, words):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(datasets, "get_dataset_config_names", fail)
    with pytest.raises(DataError) as caught:
        open_hub("u/n", NAMES)
    assert words in str(caught.value) and str(caught.value).count("\n") == 0


def test_without_network_the_hub_is_asked_once_and_the_answer_comes_at_once(monkeypatch, caplog):
    """`datasets` alone retries for half a minute, with two warnings each time."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")  # Nothing listens there.
    with pytest.raises(DataError, match="there is no folder 'data/mine', and the Hub can't be reached"):
        open_hub("data/mine", NAMES)
    assert not caplog.records and datasets.config.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("error", [
    DatasetNotFoundError("doesn't exist"), ConnectionError("Couldn't reach"), RuntimeError("odd"), None,
])  # fmt: skip
def test_what_may_be_a_folder_or_an_id_gets_both_remedies(tmp_path, monkeypatch, error):
    (tmp_path / "data/maps").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    if error is None:
        monkeypatch.setitem(sys.modules, "datasets", None)
    else:
        monkeypatch.setattr(datasets, "get_dataset_config_names", Mock(side_effect=error))
    with pytest.raises(DataError, match=r"^there is no folder 'dat/maps' \(did you mean 'data/maps'\?\), and .*Hub"):
        find_data(DataConfig(dataset="dat/maps"))


def test_more_than_two_configurations_must_be_chosen_from(monkeypatch):
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda repo: ["x", "y", "z"])
    with pytest.raises(DataError, match="choose u/n:CONFIG out of x, y, z"):
        open_hub("u/n", NAMES)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="pip install datasets"):
        open_hub("u/n", NAMES)


def test_pictures_are_upright_and_rgb():
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(stream, "JPEG", exif=exif)
    data = table({"imageA": [1], "imageB": [2]}).to_dict()
    data["imageA"][0] = {"bytes": stream.getvalue(), "path": "x.jpg"}
    kinds = datasets.Features({"imageA": Feature(), "imageB": Feature()})
    domain = analyse(sets(train=datasets.Dataset.from_dict(data, features=kinds)), "u/n", NAMES).train_a
    assert domain.load(0).size == domain.probe(0) == (10, 20) and domain.load(0).mode == "RGB"
