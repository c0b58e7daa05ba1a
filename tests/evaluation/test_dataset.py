"""The data set of a run is found again, wherever the project has moved."""

import json

from PIL import Image

from cyclegan.evaluation.dataset import dataset_of


def folders(root):
    for name in ("trainA", "trainB", "testA", "testB"):
        (root / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(root / name / "1.png")
    return root


def test_a_runs_data_set_is_found_by_the_path_that_was_typed(tmp_path, monkeypatch):
    run = tmp_path / "myrun"
    run.mkdir()

    def trained_on(typed):
        (run / "run.json").write_text(json.dumps({"config": {"data": {"dataset": typed}}}))

    assert dataset_of(run, "maps") == ("maps", False)  # No run.json: a checkpoint has the name alone.
    for known in ("USER/maps", "streets:count=4"):
        assert dataset_of(run, known) == dataset_of(None, known) == (known, True)
    maps = folders(tmp_path / "data" / "maps")
    trained_on(str(maps))
    assert dataset_of(run, "maps") == (str(maps), True)
    trained_on("data/maps")  # From the project's folder, which isn't the current one now.
    assert dataset_of(run, "maps") == (str(maps), True)
    assert dataset_of(run / "epoch-0001", "maps") == (str(maps), True)
    trained_on("/somewhere/else/data/maps")  # The project has moved, and its data with it.
    assert dataset_of(run, "maps") == (str(maps), True)
    trained_on("../../data/faces")
    assert dataset_of(run, "faces") == ("../../data/faces", False)
    (tmp_path / "data" / "faces").mkdir()  # Not a data set.
    assert dataset_of(run, "faces") == ("../../data/faces", False)
    (run / "run.json").write_text("[]")
    assert dataset_of(run, "cats") == ("cats", False)
    monkeypatch.chdir(folders(tmp_path / "here" / "cats").parent)
    assert dataset_of(run, "cats") == (str(tmp_path / "here" / "cats"), True)
