"""Segmenters: trained, saved, loaded and checked; each refusal is one sentence."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.data import find_data
from cyclegan.data.labels import Classes
from cyclegan.data.streets import PALETTE
from cyclegan.errors import CheckpointError, DataError
from cyclegan.evaluation.scores.prior import blind_prior
from cyclegan.evaluation.segmenter import (
    EMBEDDED,
    Segmenter,
    check_segmenter,
    load_segmenter,
    require_classes,
    save_segmenter,
    square_config,
)
from cyclegan.evaluation.segmenter_training import Labelled, read_labelled, train_segmenter
from tests.blocks import CLASSES, write_blocks

CONFIG = square_config(32)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Blocks with labels, in folders."""
    root = write_blocks(tmp_path_factory.mktemp("data") / "blocks")
    return find_data(dataclasses.replace(CONFIG, dataset=str(root)))


@pytest.fixture(scope="module")
def labelled(splits):
    """The training pictures of domain b."""
    return read_labelled(splits.train_b, CONFIG)


@pytest.fixture(scope="module")
def segmenter(labelled):
    """A network that was trained for three seconds."""
    return train_segmenter(labelled, CLASSES, epochs=20)


def same(one, other):
    """Return whether two networks have equal weights."""
    ours, theirs = one.network.state_dict(), other.network.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_trained_segmenter_beats_the_answers_without_looking(splits, segmenter):
    found = check_segmenter(segmenter, splits.test_b, blind_prior(splits.train_b, CLASSES, CONFIG))
    assert found.pictures == 4 and found.part == "testB"
    assert found.network.pixel > found.prior.pixel + 0.1 and found.network.iou > found.prior.iou + 0.1
    assert found.commonest.pixel == found.commonest.shares[found.commonest_class]
    summary = found.summary(segmenter.classes)
    assert list(summary["network"]["iou_by_class"]) == ["ground", "red", "blue"], "no figure for a void class"
    assert summary["commonest_class"] == "ground" and summary["prior"]["pixel"] == round(found.prior.pixel, 4)


def test_swapped_labels_score_badly(splits, segmenter):
    prior = blind_prior(splits.train_b, CLASSES, CONFIG)
    right = check_segmenter(segmenter, splits.test_b, prior).network

    class Swapped:
        part = "swapped"
        load = splits.test_b.load

        def labels(self, index):
            return np.array([1, 2, 0, *range(3, 256)], np.uint8)[splits.test_b.labels(index)]

        def __len__(self):
            return len(splits.test_b)

    wrong = check_segmenter(segmenter, Swapped(), prior).network
    assert wrong.pixel < 0.3 < right.pixel and wrong.iou < right.iou / 2


def test_the_same_seed_gives_the_same_weights_and_leaves_other_draws_alone(labelled):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (train_segmenter(labelled, CLASSES, seed=seed, epochs=1) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert same(one, two) and not same(one, other)
    assert one.about["steps"] == 2 and one.about["seed"] == 1 and one.side == 32 and not one.network.training


def test_predictions_have_each_pictures_own_size(splits, segmenter):
    picture = splits.test_b.load(0)
    sizes = [(32, 32), (40, 20), (7, 90)]
    found = segmenter.predict([picture.resize(size) for size in sizes])
    assert [each.shape for each in found] == [size[::-1] for size in sizes]
    assert all(each.dtype == np.uint8 and each.max() < CLASSES.count for each in found)
    assert (found[0] == segmenter.predict([picture])[0]).all()
    many = segmenter.predict([picture] * 17)  # More than a batch.
    assert len(many) == 17 and (many[16] == found[0]).all() and segmenter.predict([]) == []


def test_what_is_saved_is_loaded(tmp_path, splits, segmenter):
    save_segmenter(segmenter, tmp_path / "new" / "judge")
    assert {path.name for path in (tmp_path / "new" / "judge").iterdir()} == {"segmenter.json", "segmenter.safetensors"}
    again = load_segmenter(tmp_path / "new" / "judge", CLASSES)
    assert same(segmenter, again) and again.side == 32 and not again.network.training
    assert again.about["network"] == "unet" and again.about["epochs"] == 20
    picture = splits.test_b.load(1)
    assert (again.predict([picture])[0] == segmenter.predict([picture])[0]).all()


def test_pictures_and_labels_are_changed_alike(labelled):
    from cyclegan.evaluation.segmenter_training import _varied

    flat = np.array(CLASSES.colors[:3], np.float32)[np.minimum(labelled.labels[:8], 2)] / 127.5 - 1
    pictures, labels = _varied(
        torch.from_numpy(flat).permute(0, 3, 1, 2), torch.from_numpy(labelled.labels[:8]), np.random.default_rng(0)
    )
    reds = (pictures[:, 0] > pictures[:, 2] + 0.6, labels == 1)
    overlap = (reds[0] & reds[1]).sum() / (reds[0] | reds[1]).sum()
    assert overlap > 0.95, "but for the blurred edges"
    assert labels.dtype == torch.int64 and not torch.equal(labels, torch.from_numpy(labelled.labels[:8]).long())


def test_minutes_end_the_training_and_every_step_is_reported(labelled):
    seen = []
    found = train_segmenter(
        labelled, CLASSES, minutes=1e-6, class_weights=True, progress=lambda *each: seen.append(each)
    )
    assert found.about["steps"] == len(seen) == 1 and seen[0][0] == 1 and seen[0][1] > 0
    assert found.about["minutes"] == 1e-6 and found.about["class_weights"] and "epochs" not in found.about


def test_pictures_without_a_scored_pixel_change_nothing_to_nan(labelled):
    void = Labelled(labelled.pictures, np.full_like(labelled.labels, 255))
    found = train_segmenter(void, CLASSES, epochs=1)
    assert all(torch.isfinite(each).all() for each in found.network.state_dict().values())


def test_rare_classes_weigh_more_and_pixels_weigh_one_in_the_mean(labelled):
    from cyclegan.evaluation.segmenter_training import _class_weights

    labels = np.array([[0, 0, 0, 0, 0, 0, 0, 1, 255]], np.uint8)
    weights = _class_weights(labels, 3).numpy()
    assert weights[0] < weights[1] < weights[2] and (weights * [7 / 8, 1 / 8, 0]).sum() == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(np.log(1.10 + 7 / 8) / np.log(1.10 + 1 / 8))


@pytest.mark.gpu
def test_a_segmenter_is_trained_saved_and_loaded_on_a_gpu(tmp_path, splits, labelled):
    found = train_segmenter(labelled, CLASSES, epochs=20, device="cuda")
    picture = splits.test_b.load(0)
    save_segmenter(found, tmp_path / "judge")
    again = load_segmenter(tmp_path / "judge", CLASSES, device="cuda")
    assert (again.predict([picture])[0] == found.predict([picture])[0]).all()
    prior = blind_prior(splits.train_b, CLASSES, CONFIG)
    figures = check_segmenter(load_segmenter(tmp_path / "judge", CLASSES), splits.test_b, prior)
    assert figures.network.pixel > figures.prior.pixel + 0.1


def test_several_domains_are_joined(splits, labelled):
    other = read_labelled(splits.train_a, square_config(32, max_images=3))
    both = Labelled.joined([labelled, other])
    assert both.pictures.shape == (19, 32, 32, 3) and (both.labels[16:] == other.labels).all()


# ----------------------------------------------------------------------------------------------- refusals


def test_the_embedded_segmenter_is_found_by_its_classes():
    found = load_segmenter(None, PALETTE)
    assert found.side == 128 and found.classes.scored == PALETTE.scored
    assert (EMBEDDED / "streets" / "segmenter.safetensors").stat().st_size < 4_000_000
    splits = find_data(square_config(128, dataset="streets:size=128,count=1,test_count=2,seed=7"))
    prior = blind_prior(splits.train_a, PALETTE, square_config(128))
    for side, domain in (("a", splits.test_a), ("b", splits.test_b)):
        figures = check_segmenter(found, domain, prior)
        assert figures.network.pixel > 0.85 and figures.network.iou_occurring > 0.4
        assert found.about["scores"][side]["network"]["pixel"] > found.about["scores"][side]["prior"]["pixel"] + 0.15
    with pytest.raises(CheckpointError, match="ground, red, blue comes with this package: train one with python -m"):
        load_segmenter(None, CLASSES)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("segmenter.json", None, "holds no segmenter"),
        ("segmenter.json", b"{", "judge/segmenter.json can't be read"),
        ("segmenter.json", b"{}", "segmenter.json is damaged"),
        ("segmenter.json", {"format": "new"}, "segmenter.json is damaged"),
        ("segmenter.json", {"side": "128"}, "segmenter.json is damaged"),
        ("segmenter.json", {"side": 10**9}, "segmenter.json is damaged"),
        ("segmenter.json", {"classes": [{"name": "x"}]}, "segmenter.json is damaged"),
        ("segmenter.json", {"classes": [{"name": 1, "color": [0, 0, 0]}] * 2}, "segmenter.json is damaged"),
        ("segmenter.json", {"format": 99}, "newer version (format 99, here 1): update"),
        ("segmenter.json", {"network": "vit"}, "vit isn't a segmenter: unet, lraspp, lite0"),
        ("segmenter.json", {"network": "lraspp"}, "segmenter.safetensors is damaged, or of another segmenter"),
        ("segmenter.safetensors", None, "segmenter.safetensors is damaged"),
        ("segmenter.safetensors", b"no weights", "segmenter.safetensors is damaged"),
        ("segmenter.safetensors", b"", "segmenter.safetensors is damaged"),
    ],
)
def test_a_broken_folder_is_named(tmp_path, segmenter, name, content, says):
    from cyclegan.errors import UserError

    folder = tmp_path / "judge"
    save_segmenter(segmenter, folder)
    if content is None:
        (folder / name).unlink()
    elif isinstance(content, dict):
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | content))
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=re.escape(says)):
        load_segmenter(folder, CLASSES)


def test_other_classes_than_the_segmenters_are_refused(tmp_path, segmenter):
    save_segmenter(segmenter, tmp_path / "judge")
    for names in (("ground", "blue", "red"), ("ground", "red")):
        other = Classes(names, CLASSES.colors[: len(names)])
        with pytest.raises(CheckpointError, match=r"other classes \(ground, red, blue\) than those of the data set"):
            load_segmenter(tmp_path / "judge", other)
    with pytest.raises(CheckpointError, match="name another folder, or train one with python -m cyclegan segmenter"):
        load_segmenter(tmp_path / "missing", CLASSES)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, segmenter):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="can't be written to .*judge"):
        save_segmenter(Segmenter(CLASSES, 32, segmenter.network, {}), tmp_path / "file" / "judge")


def test_data_sets_without_classes_or_with_one_are_refused():
    with pytest.raises(DataError, match="data/x has no labels: .* then run python -m cyclegan classes DATA"):
        require_classes(None, "data/x")
    with pytest.raises(DataError, match=r"only one class that is scored \(road\)"):
        require_classes(Classes(("road", "void"), ((1, 1, 1), (0, 0, 0)), (1,)), "data/x")
    assert require_classes(CLASSES, "data/x") is CLASSES


def test_a_picture_without_labels_is_named(tmp_path):
    root = write_blocks(tmp_path / "blocks", train=2, test=1)
    (root / "labels" / "trainB" / "1.png").unlink()
    domain = find_data(dataclasses.replace(CONFIG, dataset=str(root))).train_b
    with pytest.raises(DataError, match="no label map for 1: add labels/trainB/1.png"):
        read_labelled(domain, CONFIG)
    with pytest.raises(DataError, match="no label map for 1"):
        blind_prior(domain, CLASSES, CONFIG)

    class Unlabelled:
        def labels(self, index):
            return None

        def where(self, index):
            return "trainB/7.png"

        def __len__(self):
            return 1

    with pytest.raises(DataError, match="trainB/7.png has no label map: save one"):
        blind_prior(Unlabelled(), CLASSES, CONFIG)


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    from cyclegan.errors import ImageError

    root = write_blocks(tmp_path / "blocks", train=2, test=1)
    (root / "trainB" / "0.png").write_bytes(Image.new("RGB", (32, 32)).tobytes())
    with pytest.raises((ImageError, DataError), match="trainB/0.png"):
        read_labelled(find_data(dataclasses.replace(CONFIG, dataset=str(root))).train_b, CONFIG)
