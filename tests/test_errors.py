"""Errors and messages: templates with values, nested, translated, and the same in another process."""

import gc
import multiprocessing
import pickle
import weakref
from pathlib import Path

import pytest

from cyclegan import locale
from cyclegan.errors import (
    SYSTEM_REASONS,
    CheckpointError,
    ConfigError,
    ImageError,
    Message,
    UserError,
    message,
    number_of,
    reason_of,
    rounded,
    shown,
)

GERMAN = {
    "{name} can't be read ({reason})": "{name} ist nicht lesbar ({reason})",
    "the disk is full: {size:.1f} GB": "Datenträger voll: {size:.1f} GB",
    "100% done {x}": "fertig",
    "Permission denied": "keine Rechte",
}


def german(template):
    return GERMAN.get(template, template)


def test_a_sentence_and_its_translation():
    error = ImageError("{name} can't be read ({reason})", name="{a}.png", reason="EOF")
    assert str(error) == "{a}.png can't be read (EOF)" and isinstance(error, UserError)
    assert error.text(german) == "{a}.png ist nicht lesbar (EOF)"
    assert str(ConfigError("a template without values keeps {its} braces")).endswith("{its} braces")
    assert UserError("100% done {x}").text(german) == "fertig"


@pytest.mark.parametrize("inner", [message, UserError])
def test_nested_messages_are_translated_too(inner):
    reason = inner("the disk is full: {size:.1f} GB", size=1.26)
    error = CheckpointError("{name} can't be read ({reason})", name="x", reason=reason)
    assert str(error) == "x can't be read (the disk is full: 1.3 GB)"
    assert error.text(german) == "x ist nicht lesbar (Datenträger voll: 1.3 GB)"
    outer = message("{name} can't be read ({reason})", name="y", reason=error)
    assert outer.text(german) == "y ist nicht lesbar (x ist nicht lesbar (Datenträger voll: 1.3 GB))"


def test_an_error_can_be_made_of_a_message():
    said = message("{name} can't be read ({reason})", name="x", reason=message("EOF"))
    assert UserError(said).message is said and str(UserError(said)) == str(said)


def test_another_librarys_exception_is_kept_as_text_only():
    class Foreign(Exception):
        pass

    error = Foreign("from elsewhere")
    gone = weakref.ref(error)
    said = message("{name} can't be read ({reason})", name="x", reason=error)
    del error
    gc.collect()
    assert gone() is None and str(said) == "x can't be read (from elsewhere)"


def test_an_os_error_is_the_systems_reason_without_the_path():
    denied = PermissionError(13, "Permission denied", "/secret")
    error = message("{name} can't be read ({reason})", name="x", reason=denied)
    assert str(error) == "x can't be read (Permission denied)"
    assert error.text(german) == "x ist nicht lesbar (keine Rechte)"
    assert str(message("{name} can't be read ({reason})", name="x", reason=OSError("odd"))) == "x can't be read (odd)"
    assert all(locale.translate("ko")(str(reason)) != str(reason) for reason in SYSTEM_REASONS)


def fail(number):
    reason = message("the disk is full: {size:.1f} GB", size=number)
    raise CheckpointError("{name} can't be read ({reason})", name="x", reason=reason)


def test_an_error_arrives_whole_from_another_process():
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(CheckpointError) as caught:
        pool.apply(fail, (2.5,))
    assert caught.value.text(german) == "x ist nicht lesbar (Datenträger voll: 2.5 GB)"
    for original in (caught.value, caught.value.message):
        copy = pickle.loads(pickle.dumps(original))
        assert type(copy) is type(original) and copy.text(german) == original.text(german)
    assert pickle.loads(pickle.dumps(caught.value.message)) == caught.value.message
    assert isinstance(caught.value.message, Message)


def test_an_error_counts_too():
    errors = [ConfigError("{n} file in {where}", "{n} files in {where}", n, where="zip") for n in (1, 3)]
    assert [str(error) for error in errors] == ["1 file in zip", "3 files in zip"]
    assert str(pickle.loads(pickle.dumps(errors[1]))) == "3 files in zip"
    inner = message("{n} day", "{n} days", 1)
    outer = message("{hours} of {days}", hours=message("{n} hour", "{n} hours", 2), days=inner)
    assert str(outer) == "2 hours of 1 day"


def test_numbers_with_their_noun():
    said = [number_of(0, "vote"), number_of(1, "vote"), number_of(1234, "vote"), number_of(2, "stimulus", "stimuli")]
    assert said == ["0 votes", "1 vote", "1,234 votes", "2 stimuli"]


@pytest.mark.parametrize("value, form, shown", [
    (-0.04, ".1f", "0.0"), (0.04, "+.1f", "0.0"), (-0.4, "+.0f", "0"), (-0.0, ".3g", "0"), (-0.0004, ".1%", "0.0%"),
    (-0.06, ".1f", "-0.1"), (0.06, "+.1f", "+0.1"), (-10, "+d", "-10"), (-0.0001, ".3g", "-0.0001"),
    (1e5, ",.0f", "100,000"), (float("-inf"), ".1f", "-inf"), (-0.2, ",.0f", "0"), (-0.0, ".1e", "0.0e+00"),
])  # fmt: skip
def test_zero_has_no_sign(value, form, shown):
    assert rounded(value, form) == shown
    assert str(message("{x:" + form + "} ms", x=value)) == f"{shown} ms"
    assert str(message("{name} stays", name="run-0")) == "run-0 stays", "a name isn't a number"


HOSTILE = "\x1b[2J\x1b]0;title\x07name\nerror: all good\r\x9b31m\u2028\u202egnp.exe\x00"


def test_a_value_cannot_write_to_the_terminal():
    for value in (HOSTILE, Path(HOSTILE.replace("\x00", "")), ValueError(HOSTILE), [HOSTILE]):
        for template in ("{name} can't be read: check it", "{name!s:>10} can't be read", "{name!r} can't be read"):
            said = ImageError(template, name=value)
            assert str(said).isprintable() and "all good" in str(said)
            assert str(message("{reason}; try again", reason=said)).isprintable()
    plurals = message("{n} picture of {name}", "{n} pictures of {name}", 2, name=HOSTILE)
    assert str(plurals).isprintable()


def test_a_value_is_bounded_but_never_the_sentence():
    said = message("{name} can't be read", name="a" * 10**6)
    assert len(str(said)) < 1100 and str(said).endswith("… can't be read")
    nested = message("{first}, and {second}", first=said, second=said)
    assert len(str(nested)) > 2000 and str(nested).endswith("can't be read")
    assert str(message("{command}", command=Message("x" * 3000 + "\n" + "y"))) == "x" * 3000 + "\ny"
    for huge in (10**4000, 10**5000, -(10**5000)):
        assert len(str(ConfigError("--epoch {value} is out of range", value=huge))) < 1100


def test_names_of_any_language_are_shown_as_they_are():
    names = ["밤과 낮.png", "日本 🚗", "👨‍👩‍👧", "می‌خواهم", "naïve (2).jpg", "C:\\x"]
    assert [str(message("{name}", name=name)) for name in names] == names
    assert shown("wide\u3000space and\xa0more") == "wide space and more"
    assert shown("a" * 81) == "a" * 80 + "…" and shown("a" * 80) == "a" * 80


def test_another_programs_exception_is_one_safe_line():
    error = ValueError(f"line 1\n  {HOSTILE}")
    assert str(message("{reason}", reason=error)).startswith("line 1 ?[2J") and str(reason_of(error)).isprintable()
    assert str(message("{name}", name=message("{reason}", reason=error))).isprintable()
