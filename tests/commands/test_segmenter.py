"""`python -m cyclegan segmenter`, as typed in a shell."""

import json
import shutil

import numpy as np
import pytest

from cyclegan.__main__ import main
from tests.blocks import write_blocks

TRAIN = ("segmenter", "train", "--size", "32", "--device", "cpu")


@pytest.fixture
def blocks(tmp_path):
    """A tiny labelled data set."""
    return write_blocks(tmp_path / "blocks", train=9, test=2)


def call(*words):
    """Return the exit status of a command."""
    return main([str(word) for word in words])


def refused(capsys, *words):
    """Run a command that must fail, and return its one sentence."""
    try:
        status = call(*words)
    except SystemExit as error:  # A flag that argparse refuses.
        status = error.code
    out, err = capsys.readouterr()
    assert status in (1, 2) and not out and "Traceback" not in err
    return err.splitlines()[-1]


def test_train_and_check(tmp_path, blocks, capsys):
    judge = tmp_path / "judge"
    assert call(*TRAIN, "--dataset", blocks, "--domain", "ab", "--epochs", 1, "--seed", 3, "--output", judge) == 0
    shown = capsys.readouterr().out
    assert "2 real pictures (testA) at 32×32" in shown and "2 real pictures (testB)" in shown
    assert f"written to {judge}; these figures again: python -m cyclegan segmenter check {judge} --dataset" in shown
    about = json.loads((judge / "segmenter.json").read_text())
    assert about["dataset"] == str(blocks) and about["domains"] == "ab" and about["seed"] == 3
    assert about["steps"] == 3 and about["pictures"] == 18 and about["scores"].keys() == {"a", "b"}
    assert about["command"].endswith("--domain ab --size 32 --network unet --epochs 1 --seed 3")

    assert call("segmenter", "check", judge, "--dataset", blocks, "--domain", "b", "--device", "cpu") == 0
    again = capsys.readouterr().out
    table = again[again.index("segmenter") :].rstrip()
    assert table in shown, "the figures are those at the end of the training"
    heads, *rows = table.splitlines()
    assert heads.split() == ["segmenter", "blind", "prior", "all", "ground"]
    assert [row.rsplit("  ", 3)[0].split("  ")[0] for row in rows[:6]] == [
        "pixel accuracy", "class accuracy", "class IoU", "IoU of ground", "IoU of red", "IoU of blue",
    ]  # fmt: skip
    assert float(rows[0].split()[2]) == pytest.approx(about["scores"]["b"]["network"]["pixel"], abs=6e-4)
    assert "hardly better than an answer without looking: train it for longer" in again, "after three steps"

    assert call("segmenter", "check", judge, "--dataset", blocks, "--domain", "ab", "--json", "--device", "cpu") == 0
    assert json.loads(capsys.readouterr().out) == about["scores"]


def test_classes_that_never_occur_are_named(tmp_path, capsys):
    from cyclegan.data.labels import Classes, write_classes
    from tests.blocks import CLASSES

    root = write_blocks(tmp_path / "blocks", train=4, test=1)
    write_classes(root, Classes((*CLASSES.names, "zebra"), (*CLASSES.colors, (9, 9, 9)), CLASSES.void))
    assert call(*TRAIN, "--dataset", root, "--domain", "a", "--epochs", 1, "--output", tmp_path / "judge") == 0
    shown = capsys.readouterr().out
    assert "never in these labels, so 0 in the means: zebra" in shown and "IoU of zebra" not in shown
    mean, occurring = (next(line for line in shown.splitlines() if line.startswith(f"{name}  "))
                       for name in ("class IoU", "class IoU, classes that occur"))  # fmt: skip
    assert float(mean.split()[2]) * 4 / 3 == pytest.approx(float(occurring.split()[5]), abs=2e-3)


def test_without_test_pictures_a_note_says_that_the_figures_flatter(tmp_path, blocks, capsys):
    for folder in ("testA", "testB"):
        shutil.rmtree(blocks / folder)
    assert call(*TRAIN, "--dataset", blocks, "--domain", "b", "--minutes", "1e-6", "--max_images", 4, "--class_weights",
                "--output", tmp_path / "judge") == 0  # fmt: skip
    out, err = capsys.readouterr()
    assert "9 real pictures (trainB)" in out and "those of training pictures, which flatter" in err
    about = json.loads((tmp_path / "judge" / "segmenter.json").read_text())
    assert about["pictures"] == 4 and "--minutes 1e-06 --max_images 4 --class_weights --seed 0" in about["command"]


@pytest.mark.parametrize("moment", ["reading", "training"])
def test_ctrl_c_leaves_nothing_and_says_so(tmp_path, blocks, capsys, monkeypatch, moment):
    def interrupt(*_):
        raise KeyboardInterrupt

    place = {"reading": "scores.prior.prepare_labels", "training": "segmenter_training._varied"}[moment]
    monkeypatch.setattr(f"cyclegan.evaluation.{place}", interrupt)
    assert call(*TRAIN, "--dataset", blocks, "--domain", "b", "--output", tmp_path / "judge") == 130
    assert "judge isn't written, because a segmenter that was stopped early" in capsys.readouterr().err
    assert not (tmp_path / "judge").exists()


def test_what_cannot_be_trained_is_one_sentence(tmp_path, blocks, capsys, monkeypatch):
    flags = {"--dataset": blocks, "--domain": "b", "--output": tmp_path / "judge", "--epochs": 1}

    def sentence(**changed):
        words = flags | {f"--{name}": value for name, value in changed.items()}
        return refused(capsys, *TRAIN, *(word for pair in words.items() for word in pair))

    assert "--output" in sentence(output=blocks) and "is not an empty folder" in sentence(output=blocks)
    assert "is not an empty folder" in sentence(output=blocks / "classes.json")
    assert "can't be used (" in sentence(output=blocks / "classes.json" / "judge")
    monkeypatch.setattr("os.access", lambda *_: False)  # As for a folder of another user's.
    assert "judge can't be used (Permission denied): choose another folder" in sentence()
    monkeypatch.undo()
    assert "16 is out of range: the networks take 32 to 2048" in sentence(size=16)
    assert "invalid choice: 'c'" in sentence(domain="c") and "invalid choice: 'fcn'" in sentence(network="fcn")
    assert "'0' is not a number of minutes above 0" in refused(
        capsys, *TRAIN, "--dataset", blocks, "--domain", "b", "--output", "x", "--minutes", "0"
    )
    assert "'-1' is not a whole number from 0" in sentence(seed=-1)
    assert "not allowed with" in sentence(minutes=1)
    assert "cuda:99 is unavailable" in sentence(device="cuda:99")
    labels = "streets:a=labels,size=32,count=1,test_count=1"
    assert "domain a in streets:a=labels" in (said := sentence(dataset=labels, domain="a"))
    assert "colour-coded label maps" in said and "--domain b" in said
    (blocks / "classes.json").write_text(json.dumps({"classes": [{"name": "all", "color": [0, 0, 0]}]}))
    assert "only one class that is scored (all)" in sentence()
    (blocks / "classes.json").unlink()
    assert "has no labels: a segmenter learns from label maps" in sentence()
    assert not (tmp_path / "judge").exists()


def test_check_refuses_what_it_cannot_judge(tmp_path, blocks, capsys):
    given = ("--dataset", blocks, "--domain", "b", "--device", "cpu")
    assert "no segmenter for the classes ground, red, blue" in refused(capsys, "segmenter", "check", *given)
    assert "holds no segmenter" in refused(capsys, "segmenter", "check", tmp_path, *given)


@pytest.mark.parametrize("broken", ["testB", "labels/testB"])
def test_what_is_missing_for_the_check_shows_before_the_training(tmp_path, blocks, capsys, monkeypatch, broken):
    monkeypatch.setattr("cyclegan.evaluation.segmenter_training.train_segmenter", lambda *_, **__: 1 / 0)
    next((blocks / broken).iterdir()).write_bytes(b"no picture")
    said = refused(capsys, *TRAIN, "--dataset", blocks, "--domain", "b", "--output", tmp_path / "judge")
    assert broken.split("/")[-1] in said and not (tmp_path / "judge").exists()


def test_an_answer_that_is_the_same_everywhere_is_no_judge():
    """Where one class is the most of each picture, the commonest class is above the prior of each place."""
    from cyclegan.commands.segmenter import _table
    from cyclegan.evaluation.scores.confusion import accuracies
    from cyclegan.evaluation.segmenter import Check
    from tests.blocks import CLASSES

    same, prior, good = (accuracies(np.array(m)) for m in (
        [[9, 0, 0], [3, 0, 0], [0, 0, 0]], [[5, 4, 0], [3, 0, 0], [0, 0, 0]], [[8, 1, 0], [0, 3, 0], [0, 0, 0]],
    ))  # fmt: skip
    assert "hardly better" in _table(Check("testB", 1, same, prior, same, 0), CLASSES, 32)
    assert "hardly better" not in _table(Check("testB", 1, good, prior, same, 0), CLASSES, 32)
