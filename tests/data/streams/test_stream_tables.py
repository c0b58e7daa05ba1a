"""Tables as streams: their shapes, exact places, Parquet files. tests/hub/test_stream_training.py has the Hub's own."""

import json

import pytest

from cyclegan.config import DataConfig
from cyclegan.data import find_data, open_data
from cyclegan.data.streams.tables import sources_of
from cyclegan.errors import DataError
from tests.data.streams.conftest import parquet, table

datasets = pytest.importorskip("datasets")


def levels(source, start=None, shard=None, part=(0, 1)):
    """The levels of grey that a source yields, with the places after them."""
    from cyclegan.images import open_image

    found, places = [], []
    for number in range(source.shards) if shard is None else [shard]:
        for one, place in source.read(number, start, part):
            found.append(open_image(one.content, name=one.label).getpixel((0, 0))[0])
            places.append(place)
    return found, places


def streams(config="default", **splits):
    return {config: {name: each.to_iterable_dataset(num_shards=2) for name, each in splits.items()}}


def found(sets):
    return {key: levels(source)[0] for key, (source, _) in sources_of(sets, "u/n", "sha").items()}


def test_two_image_columns_with_gaps():
    given = streams(train=table({"image_b": [1, 2, None], "image_a": [4, None, 6]}),
                    validation=table({"image_b": [7, 9], "image_a": [8, 9]}))  # fmt: skip
    assert found(given) == {"traina": [4, 6], "trainb": [1, 2], "testa": [8, 9], "testb": [7, 9]}


def test_two_configurations():
    sets = streams("x_b", train=table({"image": [1, 2]})) | streams("x_a", train=table({"image": [3, 4]}))
    assert found(sets) == {"traina": [3, 4], "trainb": [1, 2]}


def test_a_label_of_two_classes():
    kind = datasets.ClassLabel(names=["horse", "zebra"])
    given = streams(train=table({"image": [1, 2, 3, 4], "label": [0, 1, 1, 0]}, label=kind))
    assert found(given) == {"traina": [1, 4], "trainb": [2, 3]}
    with pytest.raises(DataError, match="no label whose two classes it names"):
        found(streams(train=table({"image": [1, 2], "label": ["x", "y"]}, label=datasets.Value("string"))))


def test_folders_and_splits_named_after_domains():
    kind = datasets.ClassLabel(names=["testA", "testB", "trainA", "trainB"])
    given = streams(train=table({"image": [1, 2, 3, 4], "label": [2, 3, 0, 1]}, label=kind))
    assert found(given) == {"traina": [1], "trainb": [2], "testa": [3], "testb": [4]}
    given = streams(trainA=table({"image": [1, 5]}), trainB=table({"image": [2, 6]}))
    assert found(given) == {"traina": [1, 5], "trainb": [2, 6]}


@pytest.mark.parametrize("part", [(0, 1), (0, 3), (2, 3)])
def test_a_place_within_a_file_is_entered_exactly(tmp_path, part):
    (tmp_path / "train.parquet").write_bytes(parquet(table({"a": range(1, 24), "b": range(101, 124)})))
    source = find_data(config_of(tmp_path)).train_a.source
    whole, places = levels(source, part=part)
    assert whole == list(range(1, 24))[part[0]::part[1]]
    for index, place in enumerate(places):
        place = json.loads(json.dumps(place))
        assert levels(source, place, 0, part)[0] == whole[index + 1:]


def config_of(dataset, **more):
    return DataConfig(dataset=str(dataset), stream=True, **{
        "epoch_pictures": 8, "shuffle_buffer": 5, "load_size": 16, "crop_size": 16, **more})  # fmt: skip


def test_parquet_files_are_streamed_and_continued(tmp_path):
    for number in range(3):
        values = range(1 + 7 * number, 8 + 7 * number)
        given = table({"a": values, "b": [100 + value for value in values]})
        (tmp_path / f"train-{number}.parquet").write_bytes(parquet(given))

    def batches(data, *epochs):
        return [[int(one[0, 0, 0]) for side in ("real_a", "real_b") for one in batch[side]]
                for epoch in epochs for batch in data.batches(epoch, batch_size=2)]  # fmt: skip

    with open_data(config_of(tmp_path), seed=0, progress=False) as data:
        whole = batches(data, 1, 2, 3, 4, 5, 6)
        assert {v for batch in whole for v in batch[:2]} == set(range(1, 22))
    with open_data(config_of(tmp_path), seed=0, progress=False) as data:
        before = batches(data, 1, 2, 3)
        state = data.state_dict()
    with open_data(config_of(tmp_path), seed=0, progress=False) as data:
        assert data.load_state_dict(state) == []
        assert before + batches(data, 4, 5, 6) == whole


def test_a_folder_of_save_to_disk_needs_no_stream(tmp_path):
    table({"a": [1, 2], "b": [3, 4]}).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="leave out --stream"):
        find_data(config_of(tmp_path / "saved"))
