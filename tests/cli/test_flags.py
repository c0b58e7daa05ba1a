"""Types of flags."""

import argparse
from pathlib import Path

import pytest

import app
from cyclegan.__main__ import build_parser, main
from cyclegan.cli.flags import file_path, parse_train_config


def refusal(program, line, capsys):
    with pytest.raises(SystemExit) as caught:
        program(line.split())
    assert caught.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    return said


@pytest.mark.parametrize(("program", "line", "says"), [
    (parse_train_config, "--dataset d --output_dir o --crop-size 64", "--crop-size 64; did you mean --crop_size inst"),
    (parse_train_config, "--dataset d --outputdir o", "did you mean --output_dir instead of --outputdir?"),
    (parse_train_config, "--datasset=d --Output_dir o", "--dataset instead of --datasset?; did you mean --output_dir"),
    (parse_train_config, "--dataset d --output_dir o --no_compile", "did you mean --no-compile instead of --no_c"),
    (parse_train_config, "--dataset d --method cycle_gan", "did you mean cyclegan?"),
    (app.main, "--checkpoint runs/r", "did you mean --checkpoints instead of --checkpoint?"),
    (main, "translate --checkpoint r --direction ab --input i --output o", "did you mean --checkpoints instead"),
    (main, "study build --protocl x", "did you mean --protocol instead of --protocl?"),
    (main, "tranlsate --input i", "did you mean translate?"),
    (main, "train --dataset 'd'", "train is a program of its own: python train_accelerate.py --dataset"),
])  # fmt: skip
def test_a_word_that_is_nearly_right_gets_a_suggestion(program, line, says, capsys):
    assert says in refusal(program, line, capsys)


@pytest.mark.parametrize(("program", "line", "says"), [
    (parse_train_config, "--dataset d --output_dir o --resume", "argument --resume: expected one argument: auto: cont"),
    (parse_train_config, "--resume --dataset d", "argument --resume: expected one argument: auto: continue from"),
    (main, "translate --checkpoints r --epoch", "argument --epoch: expected one argument: which epoch, or latest"),
])  # fmt: skip
def test_a_flag_without_its_value_says_what_it_takes(program, line, says, capsys):
    assert says in refusal(program, line, capsys)


def test_a_word_that_is_nothing_like_ours_gets_none(capsys):
    assert "did you mean" not in refusal(parse_train_config, "--dataset d --output_dir o --xyzzy 3", capsys)


@pytest.mark.parametrize("line", ["export r --direction ab", "export --checkpoints r --direction ab"])
def test_export_takes_its_source_with_and_without_the_flag(line):
    assert build_parser().parse_args(line.split()).source == "r"


@pytest.mark.parametrize(("line", "says"), [
    ("export --direction ab", "one of the arguments SOURCE --checkpoints is required"),
    ("translate --direction ab --input i --output o", "the following arguments are required: --checkpoints"),
])  # fmt: skip
def test_a_source_is_needed(line, says, capsys):
    assert says in refusal(main, line, capsys)


@pytest.mark.parametrize(("text", "says"), [
    ("", "'' names nothing"),
    ("n" * 300, "'nnnn.*…' is too long for a file's name here"),
    ("a/" * 3000, "'a/a/.*…' is too long"),
    ("a\0b", "has a character that no file's name can hold"),
    ("\ud800", "has a character that no file's name can hold"),
])  # fmt: skip
def test_a_path_that_no_file_can_have_is_refused(text, says):
    with pytest.raises(argparse.ArgumentTypeError, match=says):
        file_path(text)


def test_a_path_may_be_new_or_strange(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert file_path("~/x/*.jpg") == tmp_path / "x" / "*.jpg"
    for text in ("nowhere/x", "~nobody-of-this-name/x", "\udcff", "l" * 255, "a b\n"):
        assert file_path(text) == Path(text)


@pytest.mark.parametrize("words", [
    ("translate", "--checkpoints", "r", "--direction", "ab", "--output", "o", "--input"),
    ("translate", "--checkpoints", "r", "--direction", "ab", "--input", "i", "--output"),
    ("frames", "v.mp4", "--output"), ("frames", "--output", "o"),
    ("streets", "--output"), ("phantoms", "--output"),
    ("export", "r", "--direction", "ab", "--output"),
    ("import", "--from", "x.pth", "--output"), ("import", "--output", "o", "--from"),
    ("study", "report"), ("study", "simulate"), ("study", "serve"), ("study", "check"),
    ("study", "report", "s", "--output"), ("study", "export", "s", "--output"),
    ("study", "import", "s", "--input"), ("study", "import", "--input", "i"),
    ("study", "build", "--checkpoints", "r", "--direction", "ab", "--dataset", "d", "--output"),
])  # fmt: skip
def test_every_command_refuses_a_name_that_is_too_long(words, capsys):
    for text, says in (("n" * 300, "is too long for a file's name here"), ("", "'' names nothing")):
        with pytest.raises(SystemExit):
            main([*words, text])
        assert says in capsys.readouterr().err.splitlines()[-1]
