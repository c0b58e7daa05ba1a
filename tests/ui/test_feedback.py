"""Errors and notices as visitors see them: one sentence, in their language."""

import errno

import pytest
from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DataConfig
from cyclegan.data import find_data
from cyclegan.errors import CheckpointError, DataError, ImageError, UserError, message
from cyclegan.images import open_image
from cyclegan.ui import feedback, inputs, runs, words
from cyclegan.ui.workbench import Workbench
from tests.locale.test_catalogue import NAMES


def shown(call, *args):
    """What a Korean visitor is shown of the error that a call raises."""
    with pytest.raises(UserError) as caught:
        call(*args)
    assert not any("가" <= letter <= "힣" for letter in str(caught.value)), "raised in English"
    return feedback.page_error(caught.value, words.Speaker("ko")).message


def english_left(text, *names):
    """English words in a Korean sentence that are no names."""
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, " ")
    return [word for word in text.replace(",", " ").replace("'", " ").replace(".", " ").split()
            if word.isascii() and word.isalpha() and len(word) > 1 and word not in NAMES]  # fmt: skip


BAD_FILES = {
    "empty.png": b"", "text.jpg": b"no picture", "cut.png": None, "drawing.svg": b"<svg></svg>",
    "page.png": b"%PDF-1.7", "film.png": b"\0\0\0\x18ftypmp42", "phone.jpg": b"\0\0\0\x18ftypheic",
    "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file(tmp_path, name):
    path = tmp_path / name
    if BAD_FILES[name] is None:
        Image.effect_noise((64, 64), 90).save(path)
        path.write_bytes(path.read_bytes()[:-900])
    else:
        path.write_bytes(BAD_FILES[name])
    said = shown(open_image, path)
    assert name in said and not english_left(said, name), said
    assert shown(lambda: open_image(path.read_bytes(), name=message("This file"))).startswith("이 파일은 ")


def test_a_file_that_is_not_there(tmp_path):
    assert shown(open_image, tmp_path / "x.png") == "x.png 파일이 없습니다. 이름과 폴더를 확인하세요"


def test_a_picture_of_too_many_pixels():
    assert "8000×7000 크기로, 50메가픽셀을 넘습니다" in shown(open_image, Image.new("1", (8000, 7000)))
    assert "20,000" in shown(open_image, Image.new("1", (20_001, 1)))


def test_choices_that_are_not_there(tmp_path):
    run = tmp_path / "streets"
    (run / "epoch-0002").mkdir(parents=True)
    source = LocalSource(run)
    bench = Workbench([source])
    info = CheckpointInfo(2, "0" * 40, "", directions=("ab",))
    for call, *args in (
        (runs.epoch_number, "last"), (inputs.checked_size, "99999"), (runs.checked_direction, "ac", info),
        (runs.checked_direction, "ba", info), (bench.run, "maps"), (bench.info, None, None), (bench.info, None, 7),
        (source.load, 7), (source.load,), (runs.listed, source), (LocalSource, tmp_path / "x"),
    ):  # fmt: skip
        said = shown(call, *args)
        names = (*(str(arg) for arg in args), "streets", "config.json", *inputs.NAMED_SIZES, "ab", "ba")
        assert not english_left(said, *names), (said, args)


def test_what_is_no_repository():
    from hub.source import parse_spec

    assert shown(parse_spec, "a b").startswith("'a b': Hub의 이름이 아닙니다. USER/NAME")


def test_notices_are_in_the_visitors_language_and_keep_names_as_they_are():
    problems = [
        message("{name} has no epoch that can be read", name="old"),
        CheckpointError("{name} has no epoch {epoch}; it has {have}", name="new", epoch=3, have="1"), "<b> is new",
        "a fourth",
    ]  # fmt: skip
    assert feedback.notices(problems) == (
        '<p class="notice">old has no epoch that can be read.</p>'
        '<p class="notice">new has no epoch 3; it has 1.</p><p class="notice">&lt;b&gt; is new.</p>'
    )
    assert feedback.notices(problems, words.Speaker("ko")).startswith(
        '<p class="notice">old에 읽을 수 있는 에폭이 없습니다.</p>'
    )


def test_every_kind_of_user_error_is_shown_and_a_bug_is_not(caplog):
    for kind in UserError.__subclasses__():
        assert feedback.page_error(kind("a sentence for a person")).message == "a sentence for a person"
    assert caplog.text == ""
    for bug in (ValueError("a bug"), RuntimeError("a bug")):
        assert feedback.page_error(bug).message.startswith("Something went wrong here")
    assert all(record.exc_info for record in caplog.records) and len(caplog.records) == 2


def test_layouts_in_columns_stay_in_the_terminal(tmp_path):
    with pytest.raises(DataError) as caught:
        find_data(DataConfig(dataset=str(tmp_path)))
    assert "Layouts that are understood:" in str(caught.value)
    shown = feedback.page_error(caught.value).message
    assert shown.startswith(str(tmp_path)) and shown.endswith("found in it: no folder")


def test_labels_reach_the_browser_in_both_languages():
    key = words.label("Working size").key
    tables = words.i18n().translations
    assert key.isalnum() and tables["en"][key] == "Working size" and tables["ko"][key] == "처리 크기"
    with pytest.raises(AssertionError):
        words.label("epoch {epoch}")


def test_scripts_get_the_translations_of_what_they_say():
    found = words.for_script('say("Grid"); say(\n  "Save {name}", tile); other("Slider");')
    assert found == {"ko": {"Grid": "격자", "Save {name}": "{name} 저장"}}


def test_a_sentence_within_a_sentence_is_translated_too():
    say = words.Speaker("ko")
    inner = ImageError("{name} is empty (0 bytes): copy or download it again", name="a.png")
    both = say("{problem} (and {count} more like this)", problem=inner, count=1)
    assert both.startswith("a.png 파일은 비어 있습니다")
    counted = "{name}: one epoch, {domains}.", "{name}: {n} epochs, {domains}."
    assert say.html(*counted, 1, name="<b>", domains="a ⇄ b") == "&lt;b&gt;: 에폭 1개, a ⇄ b."
    assert words.Speaker("en")(*counted, 2, name="x", domains="a ⇄ b") == "x: 2 epochs, a ⇄ b."


def test_a_full_disk_is_said():
    for reason in (errno.ENOSPC, errno.EDQUOT):
        full = OSError(reason, "No space left on device", "/cache/fake.png")
        assert feedback.page_error(full).message.startswith("This computer's disk is full")
        assert not english_left(feedback.page_error(full, words.Speaker("ko")).message)
    assert feedback.page_error(OSError(errno.EIO, "broken")).message.startswith("Something went wrong here")
