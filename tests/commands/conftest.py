"""The fixtures of the studies' tests, for the commands that build and read studies."""

from tests.study.conftest import participant, small_study  # noqa: F401
