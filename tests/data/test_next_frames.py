"""The next frame of a recording, next to each picture in a batch."""

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.config import DataConfig
from cyclegan.data import open_data
from cyclegan.data.next_frames import next_frames
from cyclegan.errors import DataError


@pytest.mark.parametrize(
    ("names", "within", "expected"),
    [
        (["a_000000000.jpg", "a_000000040.jpg", "a_000000080.jpg"], 40, [1, 2, 2]),
        (["a_000000080.jpg", "a_000000000.jpg", "a_000000040.jpg"], 40, [0, 2, 0]),  # In any order.
        (["a_000000000.jpg", "a_000000041.jpg"], 40, [0, 1]),  # Too late.
        (["a_000000000.jpg", "b_000000040.jpg", "a_000000080.jpg"], 100, [2, 1, 2]),
        (["a_b_000000000.jpg", "a_b_000000040.png", "a_000000080.jpg"], 100, [1, 1, 2]),
        (["a_000000000.jpg", "a_000000000.png"], 100, [0, 1]),
        (["a_0001.jpg", "a_0002.jpg", "n02381460_20.jpg", "000000000.jpg", "000000040.jpg"], 100, [0, 1, 2, 3, 4]),
        (["a_1000000000.jpg", "a_999999960.jpg"], 40, [0, 0]),  # Beyond eleven days.
        ([], 40, []),
    ],
)
def test_frames_follow_by_their_names(names, within, expected):
    assert next_frames(names, within).tolist() == expected


def recordings(root, *, frames=5, others=1, b=True, size=(40, 32)):
    """Frames that grow brighter by 2 levels each, and pictures of none; in B too, or unrelated ones there."""
    colours = np.random.default_rng(1).integers(20, 200, (4, 4, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC))
    for folder in ("trainA", "trainB"):
        (root / folder).mkdir(parents=True)
        for number in range(frames):
            name = f"drive_{40 * number:09d}" if folder == "trainA" or b else f"{number}"
            Image.fromarray(smooth // 2 + np.uint8(2 * number)).save(root / folder / f"{name}.png")
        for number in range(others):
            Image.fromarray(255 - smooth).save(root / folder / f"other{number}.png")
    return root


def opened(root, within=None, **settings):
    config = DataConfig(**{"dataset": str(root), "load_size": 24, "crop_size": 16, "num_workers": 0, **settings})
    return open_data(config, seed=0, progress=False, frames_within=within)


def epoch_of(data, **options):
    return list(data.batches(1, **{"batch_size": 1, **options}))


def same(left, right):
    return len(left) == len(right) and all(
        x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)
        for x, y in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("settings", [{}, {"rotate": 20.0, "zoom": 0.3, "shift": 0.2, "preprocess": "none"}])
def test_the_next_frame_has_the_same_crop_mirror_and_other_changes(tmp_path, settings):
    data = opened(recordings(tmp_path), {"a": 40, "b": 40}, **settings)
    steps = []
    for batch in epoch_of(data):
        assert batch.keys() == {"real_a", "next_a", "real_b", "next_b"}
        for side in "ab":
            change = batch[f"next_{side}"].short() - batch[f"real_{side}"].short()
            assert (change - change.flatten()[0]).abs().max() <= 1  # Rounding.
            steps.append(round(change.float().mean().item()))
    assert sorted(steps) == [0] * 4 + [2] * 8  # The last frame and the other picture have none.


def test_pictures_are_the_same_with_and_without_and_in_any_process(tmp_path):
    within = {"a": 40, "b": 40}
    data, plain = opened(recordings(tmp_path), within), epoch_of(opened(tmp_path))
    whole = epoch_of(data, batch_size=2)
    assert same(plain, [{name: batch[name] for name in ("real_a", "real_b")} for batch in epoch_of(data)])
    assert same(epoch_of(data, batch_size=2, start_step=1), whole[1:])
    two = [epoch_of(data, process_index=rank, num_processes=2) for rank in (0, 1)]
    assert same(whole, [{name: torch.cat([x[name], y[name]]) for name in x} for x, y in zip(*two, strict=True)])
    with opened(tmp_path, within, cache_mb=0, num_workers=2) as workers:
        assert same(whole, epoch_of(workers, batch_size=2))


def test_only_what_is_wanted_and_there_is_in_a_batch(tmp_path, capsys):
    recordings(tmp_path, b=False)
    assert epoch_of(opened(tmp_path, {"a": 40, "b": 40}))[0].keys() == {"real_a", "next_a", "real_b"}
    assert epoch_of(opened(tmp_path, {"a": 40}))[0].keys() == {"real_a", "next_a", "real_b"}
    open_data(DataConfig(dataset=str(tmp_path), num_workers=0), seed=0, frames_within={"a": 40, "b": 40})
    said = capsys.readouterr().err
    assert "trainA: 4 of 6 pictures have a next frame, for --lambda_temporal" in said and "trainB: 0 of 6" in said
    for within in ({"b": 40}, {"a": 39}):
        with pytest.raises(DataError, match=f"next one within --temporal_gap_ms {max(within.values())}: write"):
            opened(tmp_path, within)


def test_frames_of_two_sizes_are_no_neighbours(tmp_path):
    recordings(tmp_path, frames=2, others=0)
    Image.new("RGB", (48, 32)).save(tmp_path / "trainA" / "drive_000000080.png")
    batches = epoch_of(opened(tmp_path, {"a": 40}, preprocess="none"))
    assert sorted(int((b["next_a"] != b["real_a"]).any()) for b in batches) == [0, 0, 1]
