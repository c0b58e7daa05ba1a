"""A command in this process, and the fixtures of the studies' tests for the commands that build and read studies."""

import pytest

from cyclegan.__main__ import main
from tests.study.conftest import participant, small_study  # noqa: F401


@pytest.fixture
def run(capsys):
    """A subcommand as the shell runs it, but in this process: its status, what it printed, its last words."""

    def run(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as error:
            status = error.code
        text, errors = capsys.readouterr()
        return status, text, errors

    return run
