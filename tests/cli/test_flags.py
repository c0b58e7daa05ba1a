"""Types of flags."""

import argparse
from pathlib import Path

import pytest

from cyclegan.__main__ import main
from cyclegan.cli.flags import file_path


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
    ("streets", "--output"),
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
