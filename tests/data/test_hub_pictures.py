"""Pictures of a Hub data set, streamed: which are taken, their names, and what is said of the rest."""

import io

import numpy as np
import pytest
from PIL import Image

from cyclegan.data.hub_pictures import open_pictures
from cyclegan.errors import DataError, ImageError
from tests.commands.test_translate import files, translate  # noqa: F401


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """`load_dataset` of two parquet files on disk: splits of six and two rows, two columns of pictures and a label."""
    import datasets

    features = datasets.Features({
        "label": datasets.Value("int64"), "image": datasets.Image(), "mask": datasets.Image(),
    })  # fmt: skip
    data = {}
    for split, count in (("train", 6), ("test", 2)):
        cells = [{"bytes": png(n), "path": f"x/scene {n}.png" if n % 2 else None} for n in range(count)]
        cells[-1] = None
        rows = {"label": list(range(count)), "image": cells, "mask": [{"bytes": png(n + 50)} for n in range(count)]}
        data[split] = str(tmp_path / f"{split}.parquet")
        datasets.Dataset.from_dict(rows, features=features).to_parquet(data[split])
    load, asked = datasets.load_dataset, []

    def loaded(repo, config=None, *, streaming, revision=None):
        asked.append((repo, config, streaming))
        if repo == "nobody/nothing":
            raise datasets.exceptions.DatasetNotFoundError("not there")
        return load("parquet", data_files=data, streaming=True)

    monkeypatch.setattr(datasets, "load_dataset", loaded)
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda repo: ["default"])
    return asked


def test_rows_are_named_by_split_and_number(hub):
    found = open_pictures("hf://datasets/ada/scenes:small")
    assert hub == [("ada/scenes", "small", True)] and (found.split, found.column) == ("train", "image")
    pictures = list(found)
    assert [picture.name for picture in pictures] == [
        "train-00000000", "train-00000001-scene 1", "train-00000002", "train-00000003-scene 3", "train-00000004",
        "train-00000005",
    ]  # fmt: skip
    assert pictures[1].content() == png(1)
    with pytest.raises(ImageError, match="train-00000005 is empty"):
        pictures[5].content()
    assert [p.content() for p in open_pictures("hf://datasets/ada/scenes?split=test&column=mask")] == [png(50), png(51)]


@pytest.mark.parametrize(("text", "says"), [
    ("hf://datasets/ada", "isn't a data set of the Hub"),
    ("hf://models/ada/x", "hf://models/ada/x isn't a data set"),
    ("hf://datasets/ada/scenes?splt=test", "isn't a data set of the Hub"),
    ("hf://datasets/ada/scenes?split=dev", "no split dev, but train, test"),
    ("hf://datasets/ada/scenes?column=label", "no column label of pictures, but image, mask"),
    ("hf://datasets/nobody/nothing", "nobody/nothing"),
])  # fmt: skip
def test_what_is_not_there_is_named(hub, text, says):
    with pytest.raises(DataError, match=says):
        open_pictures(text)


def test_translated_by_shards_and_continued(hub, tmp_path, translate):  # noqa: F811
    words = ("--input", "hf://datasets/ada/scenes", "--output", "out")
    status, said = translate(*words, "--shard", "2/2")
    assert status == 1 and "2 of 3 pictures" in said.out and "train-00000005 is empty" in said.err
    status, said = translate(*words, "--skip_existing")
    assert status == 1 and "3 of 4 pictures" in said.out and "2 others had been translated before" in said.out
    assert [name for name in files(tmp_path / "out") if name.endswith(".png")] == [
        "train-00000000.png", "train-00000001-scene 1.png", "train-00000002.png", "train-00000003-scene 3.png",
        "train-00000004.png",
    ]  # fmt: skip
    for more, says in ((("--device", "cpu,cpu"), "share the work by --shard"), (("--input", "x"), "by itself")):
        status, said = translate(*words, *more)
        assert status == 1 and says in said.err
    status, said = translate("--input", "hf://datasets/ada/scenes", "--output", "out.png")
    assert status == 1 and "name a folder" in said.err
