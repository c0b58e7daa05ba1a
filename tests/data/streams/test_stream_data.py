"""Tars as training data: what is found, batches, places, damage, and what a stream can't do."""

import dataclasses
import json
import tarfile
import threading

import pytest
import torch

from cyclegan.config import DataConfig, RunConfig, TrainConfig
from cyclegan.data import find_data, open_data
from cyclegan.data.values import with_values
from cyclegan.errors import ConfigError, DataError
from cyclegan.training.resolve import resolve_auto
from tests.data.streams.conftest import LEVELS, picture


def settings(root, **more):
    chosen = {"epoch_pictures": 12, "shuffle_buffer": 6, "load_size": 16, "crop_size": 16, **more}
    config = DataConfig(dataset=str(root), stream=True, **chosen)
    config.validate()
    return config


def opened(root, *, seed=0, **more):
    return open_data(settings(root, **more), seed=seed, progress=False)


def levels(batches, side="real_a"):
    """The levels of grey of a domain's pictures, batch by batch."""
    return [[int(one[0, 0, 0]) for one in batch[side]] for batch in batches]


def epochs(data, *numbers, **how):
    return [list(data.batches(number, batch_size=2, **how)) for number in numbers]


def same(one, other):
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in zip(one, other, strict=True)
    )


def test_what_is_found_is_said_and_nothing_is_read(shards):
    splits = find_data(settings(shards))
    said = [str(note) for note in splits.notes]
    assert said[:4] == [
        "trainA: 4 tars, streamed", "trainB: 3 tars, streamed", "testA: 1 tar, streamed", "testB: 1 tar, streamed"]
    assert "none is checked before training" in said[-1]
    assert len(splits.train_a) == splits.epoch_length() == 12 and not splits.train_a.fallible
    assert [splits.test_b.load(i).getpixel((0, 0))[0] for i in range(len(splits.test_b))] == [210, 211, 212]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_epochs_pass_over_the_stream_and_wrap_around(shards, workers):
    with opened(shards, num_workers=workers) as data:
        found = sum(epochs(data, 1, 2, 3, 4, 5), [])
    assert len(found) == 30 and all(batch["real_a"].dtype == torch.uint8 for batch in found)
    for side, expected in LEVELS.items():
        seen = sum(levels(found, side), [])
        for start in range(0, len(seen) - len(expected) + 1, len(expected)):
            assert set(seen[start:start + len(expected)]) == expected, side


@pytest.mark.parametrize("workers", [0, 2])
def test_the_order_depends_on_seed_and_epoch_alone(shards, workers):
    with opened(shards, num_workers=workers) as data, opened(shards, num_workers=0) as other:
        whole = epochs(data, 1, 2, 3)
        assert all(map(same, whole, epochs(other, 1, 2, 3)))
        assert same(whole[0], epochs(data, 1)[0]), "from the beginning again"
    with opened(shards, seed=1) as data:
        assert not same(whole[0], epochs(data, 1)[0])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("steps", [1, 5, 6, 8, 13])
def test_it_continues_exactly_from_a_state(shards, steps, workers):
    with opened(shards, num_workers=workers) as data:
        whole = sum(epochs(data, 1, 2, 3), [])
    with opened(shards, num_workers=workers) as data:
        assert data.state_dict() is None
        found = 0
        for epoch in (1, 2, 3):
            for _ in data.batches(epoch, batch_size=2):
                found += 1
                if found == steps:
                    break
            if found == steps:
                break
        state = json.loads(json.dumps(data.state_dict()))
    done, within = divmod(steps, 6)
    with opened(shards, num_workers=workers) as data:
        next(data.batches(1, batch_size=2))  # As a method does that looks at its first batch.
        assert data.load_state_dict(state) == []
        rest = list(data.batches(done + 1, batch_size=2, start_step=within))
        rest += sum(epochs(data, *range(done + 2, 4)), [])
    assert same(rest, whole[steps:])


def test_processes_see_parts_of_their_own(shards):
    parts = []
    for rank in (0, 1):
        with opened(shards, epoch_pictures=20) as data:
            parts.append(epochs(data, 1, process_index=rank, num_processes=2)[0])
    assert len(parts[0]) == len(parts[1]) == 5
    firsts = [set(sum(levels(part), [])) for part in parts]  # A's four tars, two for each process.
    assert not firsts[0] & firsts[1] and firsts[0] | firsts[1] == LEVELS["real_a"]


def test_another_number_of_processes_begins_an_order_of_its_own(shards):
    with opened(shards) as data:
        epochs(data, 1)
        state = data.state_dict()
        data.load_state_dict(state)
        first = epochs(data, 2, process_index=1, num_processes=2)[0]
        assert data.state_dict()["begun"] == 2
    with opened(shards) as data:
        assert same(first, epochs(data, 2, process_index=1, num_processes=2)[0])


def test_a_state_of_other_pictures_begins_anew_with_a_note(shards, write_tar):
    with opened(shards) as data:
        epochs(data, 1)
        state = data.state_dict()
    write_tar("trainA-0009.tar", 99)
    with opened(shards) as data:
        (note,) = data.load_state_dict(state)
        assert "begins anew" in str(note)
        assert len(list(data.batches(2, batch_size=2, start_step=4))) == 2


def test_without_test_pictures_the_first_training_pictures_are_shown(shards):
    for path in shards.glob("test*"):
        path.unlink()
    with opened(shards) as data:
        assert data.test_is_train and "no test pictures" in str(data.no_test_note)
        assert data.measured_on(8)["split"] == "train"
        assert len(data.samples(3)["real_a"]) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_pictures_stop_the_training_or_are_left_out(shards, write_tar, caplog, workers):
    write_tar("trainA-0001.tar", 10, 11, 12, 13, 14, bad_png=b"not a picture")
    with opened(shards, num_workers=workers) as data, pytest.raises(DataError, match=r"bad\.png.*--skip_bad_images"):
        epochs(data, 1, 2)
    with opened(shards, num_workers=workers, skip_bad_images=True, epoch_pictures=20) as data:
        data.progress = True
        assert set(sum(levels(sum(epochs(data, 1, 2, 3), [])), [])) == LEVELS["real_a"]
    assert caplog.text.count("bad.png") == 1


def test_a_domain_of_bad_pictures_alone_ends_with_a_sentence(tmp_path, write_tar):
    write_tar("trainA-0.tar", a_png=b"bad")
    write_tar("trainB-0.tar", 1, 2)
    with pytest.raises(DataError, match="no picture of trainA can be used"):
        opened(tmp_path / "shards", skip_bad_images=True)
    write_tar("testA-0.tar", 1)
    write_tar("testB-0.tar", 1)
    with opened(tmp_path / "shards", skip_bad_images=True) as data:
        with pytest.raises(DataError, match="no picture of trainA can be used"):
            epochs(data, 1)
        with pytest.raises(DataError, match="no picture of trainA can be used"):
            epochs(data, 1)  # Asked again, it doesn't wait.


@pytest.mark.parametrize("how", ["cut amid a member", "garbage for a header", "a size below 0", "no tar at all"])
def test_a_damaged_tar_is_named_or_used_as_far_as_it_goes(shards, how, caplog):
    path = shards / "trainA-0002.tar"
    with tarfile.open(path) as tar:
        offset = tar.getmember("023.png").offset
    content = path.read_bytes()
    info = tarfile.TarInfo("023.png")
    info.size = -512  # tarfile would read the same header for ever.
    damaged = {"cut amid a member": content[: offset + 530], "no tar at all": b"x" * 2000,
               "a size below 0": content[:offset] + info.tobuf(tarfile.GNU_FORMAT) + content[offset + 512 :],
               "garbage for a header": content[:offset] + b"garbage!" * 64 + content[offset + 512:]}  # fmt: skip
    path.write_bytes(damaged[how])
    with opened(shards) as data, pytest.raises(DataError, match=r"trainA-0002\.tar can't be read to its end"):
        epochs(data, 1, 2)
    with opened(shards, skip_bad_images=True) as data:
        seen = set(sum(levels(sum(epochs(data, 1, 2, 3, 4), [])), []))
    lost = {20, 21, 22} if how == "no tar at all" else set()
    assert seen == LEVELS["real_a"] - {23, 24} - lost


@pytest.mark.parametrize(("more", "paired", "sentence"), [
    ({}, True, "has no pairs"), ({"max_images": 5}, False, "--max_images"), ({"cache_mb": 100}, False, "--cache_mb"),
    ({"order": "random"}, False, "--order random"), ({"range_a": "0:4095"}, False, "read as 8-bit RGB"),
])  # fmt: skip
def test_what_a_stream_cannot_do_is_said(shards, more, paired, sentence):
    with pytest.raises(DataError, match=sentence):
        config = TrainConfig(data=settings(shards, **more), run=RunConfig(output_dir="x"))
        with_values(config, find_data(config.data, paired=paired))


def test_settings_that_need_each_other(shards):
    with pytest.raises(ConfigError, match="add --epoch_pictures N"):
        DataConfig(dataset=str(shards), stream=True).validate()
    with pytest.raises(ConfigError, match="--epoch_pictures is for --stream"):
        DataConfig(dataset=str(shards), epoch_pictures=5).validate()
    with opened(shards, preprocess="none") as data, pytest.raises(DataError, match="--batch_size 1"):
        data.check_batch(2)
    with opened(shards) as data, pytest.raises(DataError, match="an update takes more pictures"):
        data.check_batch(50)
    config = TrainConfig(data=settings(shards), run=RunConfig(reference=True))
    assert resolve_auto(config, torch.device("cpu")).data.order == "rounds"
    with pytest.raises(DataError, match="--lambda_temporal"):
        open_data(config.data, seed=0, frames_within={"a": 250}, progress=False)


def test_pictures_of_a_stream_have_no_numbers(shards):
    with pytest.raises(DataError, match="give a data set in folders"):
        find_data(settings(shards)).train_a.load(0)


@pytest.mark.parametrize(("make", "dataset", "sentence"), [
    (("trainA-0.tar",), "shards", "no tar of .* is of trainB"), (("more.tar",), "shards", "is of trainA, such as more"),
    (("trainA.tar.gz", "trainB.tar.gz"), "shards", "is compressed"), (("x.jpg",), "shards", "leave it out"),
    (("trainA-0.tar",), "shards/trainA-0.tar", "is of trainB"), ((), "shard", "there is no folder"),
    ((), "streets", "is drawn as it is needed"), ((), "shards/*.tar", "there is no folder"), ((), "x\0y", "."),
    (("one.jpg",), "shards/one.jpg", "give the folder"),
])  # fmt: skip
def test_what_is_no_stream_gets_a_sentence(tmp_path, make, dataset, sentence):
    (tmp_path / "shards").mkdir()
    for name in make:
        (tmp_path / "shards" / name).write_bytes(picture(1))
    place = dataset if dataset == "streets" else str(tmp_path / dataset)
    with pytest.raises(DataError, match=sentence):
        find_data(settings(place))


def test_a_pattern_names_tars(shards):
    (shards / "notes.tar").write_bytes(b"")
    splits = find_data(settings(shards / "train*"))
    assert len(splits.train_a.source.paths) == 4
    with pytest.raises(DataError):
        find_data(settings(shards / "trainA*"))


def test_a_checkpoint_knows_nothing_of_the_stream(shards):
    from cyclegan.checkpoints.format import CheckpointConfig

    config = TrainConfig(data=settings(shards, load_size=32, crop_size=32), run=RunConfig(output_dir="x"))
    written = CheckpointConfig.of(config).to_json()
    assert not {"stream", "epoch_pictures", "shuffle_buffer"} & written["data"].keys()
    assert written["format_version"] < 3
    assert dataclasses.asdict(TrainConfig.from_json(config.to_json())) == dataclasses.asdict(config)


def test_no_thread_outlives_the_data(shards):
    with opened(shards, num_workers=2) as data:
        next(data.batches(1, batch_size=2))
        assert any(thread.name == "stream" for thread in threading.enumerate())
    assert not any(thread.name.startswith(("stream", "decode")) for thread in threading.enumerate())
