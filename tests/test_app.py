"""app.py before it serves: what a person named wrongly is one sentence."""

import pytest

import app


@pytest.mark.parametrize("flag", ["--checkpoints", "--studies"])
def test_a_name_that_is_too_long_is_a_sentence(flag, capsys):
    assert app.main(["--port", "7999", flag, "a" * 300]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") <= 2 and "a" * 300 in error


def test_an_empty_name_is_not_the_current_folder(capsys, monkeypatch):
    monkeypatch.chdir(app.DEMO / "streets")
    assert app.main(["--port", "7999", "--checkpoints", ""]) == 1
    assert capsys.readouterr().err.startswith("error: '' is not a folder; name a run's folder")


def test_a_host_that_is_too_long_is_a_sentence(capsys):
    assert app.main(["--port", "7999", "--host", "a" * 300]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: aaa") and "can't be served" in error and error.count("\n") == 1
