"""Errors of the Hub: the problem and its remedy, in English and in Korean."""

from pathlib import Path

import pytest

from cyclegan.errors import CheckpointError, message
from cyclegan.locale import in_language
from hub.downloads import named
from hub.errors import HubError


def unreachable():
    return HubError(
        "the Hub ({address}) can't be reached", address="http://h", temporary=True,
        remedy=message("check the network, then try again"),
    )  # fmt: skip


def test_the_problem_and_its_remedy():
    error = unreachable()
    assert str(error) == "the Hub (http://h) can't be reached; check the network, then try again"
    assert str(error.reason) == "the Hub (http://h) can't be reached" and error.temporary
    alone = HubError("{file} has {size} bytes, too many for what it should be", file="a/b/c.json", size=9)
    assert str(alone) == str(alone.reason) == "a/b/c.json has 9 bytes, too many for what it should be"


def test_both_are_translated_also_within_other_errors():
    korean = "Hub(http://h)에 연결할 수 없습니다"
    assert in_language(unreachable(), "ko") == f"{korean}. 네트워크를 확인한 뒤 다시 해 보세요"
    assert in_language(unreachable().reason, "ko") == korean
    outer = CheckpointError("{where} could not be loaded: {reason}", where="a/b@epoch-0001", reason=unreachable())
    said = in_language(outer, "ko")
    assert said == f"a/b@epoch-0001 체크포인트를 불러오지 못했습니다: {korean}. 네트워크를 확인한 뒤 다시 해 보세요"


def test_errors_name_a_commit_as_people_know_it():
    sha = "ab" * 20
    damaged = message("the folder is {folder}", folder=Path(f"/cache/{sha}/x"))
    with pytest.raises(CheckpointError) as caught, named(sha, "a/b@epoch-0001"):
        raise CheckpointError("{where}: config.json is damaged ({reason})", where=sha, reason=damaged)
    assert str(caught.value) == (
        "a/b@epoch-0001: config.json is damaged (the folder is /cache/a/b@epoch-0001/x)"
    )
    assert caught.value.message.template.startswith("{where}: config.json is damaged")  # It can still be translated.
