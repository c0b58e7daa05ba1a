"""app.py before it serves: what a person named wrongly is one sentence."""

import pytest

import app


@pytest.mark.parametrize("flag", ["--checkpoints", "--studies"])
def test_a_name_that_is_too_long_is_a_sentence(flag, capsys):
    assert app.main(["--port", "7999", flag, "a" * 300]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") <= 2 and "a" * 300 in error
