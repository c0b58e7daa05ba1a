"""The benchmark of the temporal term: its recordings, and the figures that it makes of runs."""

import argparse

import numpy as np

from benchmarks import temporal
from cyclegan.data.next_frames import next_frames


def test_recordings_pan_and_stand_still_and_name_their_frames(tmp_path):
    args = argparse.Namespace(scenes=2, test_scenes=3, flicker_scenes=2, size=32)
    temporal.write_recordings(tmp_path, args)
    names = sorted(path.name for path in (tmp_path / "trainB").iterdir())
    following = next_frames(names, 250)
    count = temporal.FRAMES
    assert following.tolist() == [n if n in (count - 1, 2 * count - 1) else n + 1 for n in range(2 * count)]
    assert len(list((tmp_path / "testA").iterdir())) == 3
    frames = [np.asarray(f, np.int16) for f in temporal.scene_frames(temporal.spec_of(args), "train", "a", 0, count)]
    changes = [np.abs(one - other)[:20].mean() for one, other in zip(frames, frames[1:], strict=False)]
    assert sum(change < 3 for change in changes) >= count // 2 - 1 and max(changes) > 4
    noise, contrast = temporal.flicker(None, "ab", args).T
    assert noise.shape == (2,) and noise.min() > 0.5 and noise.max() < temporal.NOISE and contrast.min() > 20


def test_the_share_of_flicker_and_the_verdicts():
    rng = np.random.default_rng(1)
    without = rng.uniform(2, 3, (2, 8))
    left = temporal.share(without, 0.6 * without)
    assert left == {"value": 0.6, "low": 0.6, "high": 0.6}

    def row(weight, scenes, kid):
        kids = {"value": kid, "low": kid - 5, "high": kid + 5}
        figures = {"contrast": 30.0, "flicker_by_scene": scenes.tolist(), "kid": kids}
        return {"weight": weight, "ab": figures, "ba": figures}

    for factor, kid, reached, equal in ((0.6, 108, True, True), (0.9, 120, False, False)):
        rows = [row(0, without[0], 100), row(0, without[1], 100), row(10, factor * without[0], kid)]
        rows.append(row(10, factor * without[1], kid))
        found = temporal.summarise(rows, 10)["ab"]
        assert (found["share_reached"], found["kid_no_worse"]) == (reached, equal)
        assert f"{factor:g} [{factor:g}, {factor:g}]" in temporal.table({"10": {"ab": found}})
