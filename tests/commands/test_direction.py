"""The direction that a person means: ab, ba, the domains' names, or none where there is only one."""

import pytest

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.commands.options import found_direction
from cyclegan.errors import ConfigError


@pytest.mark.parametrize(("text", "way"), [
    ("ab", "ab"), ("ba", "ba"), ("day-night", "ab"), ("night-day", "ba"), ("day → night", "ab"), ("night->day", "ba"),
])  # fmt: skip
def test_names_are_directions_too(tmp_path, make_checkpoint, text, way):
    make_checkpoint(tmp_path / "run", 1)
    assert found_direction(text, LocalSource(tmp_path / "run")) == way


@pytest.mark.parametrize("text", ["day", "night", "day-dusk", "AtoB", None])
def test_what_isnt_clear_is_asked_with_the_names(tmp_path, make_checkpoint, text):
    make_checkpoint(tmp_path / "run", 1)
    with pytest.raises(ConfigError, match=r"give ab \(day → night\) or ba \(night → day\)"):
        found_direction(text, LocalSource(tmp_path / "run"))


def test_the_only_direction_needs_no_flag(tmp_path, make_checkpoint):
    make_checkpoint(tmp_path / "run", 1, directions=("ba",))
    assert found_direction(None, LocalSource(tmp_path / "run")) == "ba"
