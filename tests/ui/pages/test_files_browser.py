"""The page of videos and files in Chromium, as a visitor meets it."""

import time
import zipfile
from fractions import Fraction

import pytest

from tests.translation.test_video_io import make_clip
from tests.ui.conftest import half_files, picture
from tests.ui.pages.test_translate_browser import chromium, visit  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("app")]


@pytest.fixture
def here(visit):  # noqa: F811
    """The page, opened; with what is done on it."""

    def open_page(**look):
        here = visit(path="files", **look)
        here.page.locator(".given input[type=radio]:checked").wait_for()  # Chosen as the page has opened.
        box = here.page.locator(".given [role=tabpanel]:visible")

        def choose(*paths):
            box.locator("input[type=file]").set_input_files(paths)
            box.get_by_role("link").nth(len(paths) - 1).wait_for()  # Each one's size is a link to it.

        here.choose = choose
        return here

    return open_page


def button(here, name):
    return here.page.get_by_role("button", name=name, exact=True)


@pytest.mark.parametrize("width, height, scheme", [(1280, 900, "light"), (390, 844, "dark")])
def test_an_example_becomes_a_video_that_plays(here, width, height, scheme):
    here = here(width=width, height=height, scheme=scheme)
    assert here.page.get_by_label("day → night").is_checked()
    here.page.get_by_label("night → day").check()
    button(here, "Try a pan over an example picture").click()
    here.wait_for("24 frames, 2.0 s, 78×64 pixels, without sound; translated with epoch 2")
    player = ready(here)
    # One over the other: the divider shows as much of the input as the keyboard says.
    given, made = player.locator("video").all()
    assert given.bounding_box() == made.bounding_box()
    assert made.evaluate("e => [e.paused, e.videoWidth, e.videoHeight, e.muted]") == [True, 78, 64, False]
    assert made.evaluate("e => e.duration") == pytest.approx(2, abs=0.01) and given.evaluate("e => e.muted")
    divider = player.get_by_label("Divider between your video and its translation")
    divider.focus()
    for key, share in (("Home", "0%"), ("ArrowRight", "1%"), ("End", "100%")):
        here.page.keyboard.press(key)
        assert divider.get_attribute("aria-valuetext") == f"Your video {share}"
        assert made.evaluate("e => getComputedStyle(e).clipPath") in (f"inset(0px 0px 0px {share})", "inset(0px)")
    box = made.bounding_box()
    here.page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    assert int(divider.input_value()) == pytest.approx(25, abs=2)
    # One button plays both, in step, and they end together.
    play = player.locator(".play")
    play.evaluate(  # Written down, because on a busy machine the two seconds may be over before anyone looks.
        "e => { window.said = []; new MutationObserver(() => said.push(e.textContent)).observe(e, {childList: true}) }"
    )
    play.click()
    here.page.wait_for_function("document.querySelector('.player video + video').ended")
    until_both(here, "e.paused && e.currentTime >= 1.95")
    until_both(here, "e.played.length > 0")
    assert "❚❚ Pause" in here.page.evaluate("said")
    assert play.inner_text() == "▶ Play" and player.locator(".clock").inner_text() == "0:02 / 0:02"
    player.get_by_label("Time", exact=True).fill("0.5")
    until_both(here, "Math.abs(e.currentTime - 0.5) < 0.02")
    # Side by side, on a phone, too.
    button(here, "Side by side").click()
    left, right = given.bounding_box(), made.bounding_box()
    assert right["x"] >= left["x"] + left["width"] and abs(right["width"] - left["width"]) < 2
    assert right["y"] == left["y"] and not divider.is_visible()
    assert here.overflow() <= 0 and not button(here, "Cancel").is_visible()
    assert not here.page.locator(".videos").is_visible()
    for name, file in (("Save the translation", ""), ("Save both, side by side", "_side_by_side")):
        with here.page.expect_download() as caught:
            player.get_by_role("link", name=name).click()
        assert caught.value.suggested_filename == f"pan_over_a_0_as_day_epoch-0002{file}.mp4"


def ready(here):
    """The two videos together, once both can play."""
    player = here.page.locator(".player")
    player.wait_for()
    until_both(here, "e.readyState >= 2")
    return player


def until_both(here, condition):
    here.page.wait_for_function(f"[...document.querySelectorAll('.player video')].every(e => {condition})")


def test_a_kind_that_browsers_do_not_play_leaves_the_result_alone(here, tmp_path):
    here = here()
    here.choose(make_clip(tmp_path / "drive.avi", [Fraction(i, 10) for i in range(4)], codec="mpeg4",
                          tick=Fraction(1, 10)))  # fmt: skip
    button(here, "Translate the video").click()
    here.wait_for("4 frames, 0.4 s")
    here.page.locator(".made:not(.given-video) video").wait_for()
    assert not here.page.locator(".player").is_visible() and not here.page.locator(".given-video").is_visible()
    with here.page.expect_download() as caught:
        here.page.locator(".made:not(.given-video):visible").get_by_label("Download").or_(
            here.page.locator(".made:visible a[download]")
        ).first.click()
    assert caught.value.suggested_filename == "drive_as_night_epoch-0002.mp4"


def test_pictures_and_zips_become_a_zip(here, tmp_path):
    here = here()
    here.choose(make_clip(tmp_path / "clip.mp4"))  # Of another job: it goes as this one starts.
    here.page.locator(".given-video video").wait_for()
    here.page.get_by_role("tab", name="Pictures, zip").click()
    for seed, name in enumerate(("a.png", "b.png")):
        picture(60, 50, seed).save(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "trip.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "day/c.png")
        archive.writestr("<img src=x>.txt", "x")
    here.choose(*(tmp_path / name for name in ("a.png", "trip.zip", "b.png")))
    button(here, "Translate the pictures").click()
    here.wait_for("3 of 4 files translated with epoch 2, day → night")
    assert not here.page.locator(".given-video").is_visible()
    assert "<img src=x>.txt is not a picture" in here.page.locator(".note").first.inner_text()
    here.page.wait_for_function(
        "[...document.querySelectorAll('.previews img')].filter(e => e.naturalWidth == 60).length == 3"
    )
    assert here.overflow() <= 0
    with here.page.expect_download() as caught:
        here.page.locator(".made:visible a[download]").first.click()
    caught.value.save_as(tmp_path / "got.zip")
    with zipfile.ZipFile(tmp_path / "got.zip") as archive:
        assert archive.namelist() == ["a.png", "b.png", "day/c.png", "left_out.txt"]

    button(here, "Try the example pictures").click()  # What was there before gives way.
    here.wait_for("4 of 4 files translated")


def test_a_job_is_cancelled_or_left(here, app, tmp_path):
    here = here()

    def at_work():
        return half_files(app.run.parent / "cache")

    path = make_clip(tmp_path / "long.mp4", [Fraction(i, 30) for i in range(900)], size=(32, 24))
    here.choose(path)
    here.page.get_by_label("Size of the result").fill("512")
    here.page.keyboard.press("Enter")
    go = button(here, "Translate the video")
    go.click()
    here.wait_for(r"Frame \d+ of 900, about")
    assert go.is_disabled() and at_work() and here.page.locator(".note progress").count()
    button(here, "Cancel").click()
    here.wait_for("Cancelled")
    here.page.wait_for_function("[...document.querySelectorAll('button')].every(e => !e.disabled)")
    for _ in range(200):
        if not at_work():
            break
        here.page.wait_for_timeout(100)
    assert not at_work() and not button(here, "Cancel").is_visible()
    here.wait_for("Cancelled")  # Nothing comes after it.

    go.click()
    here.wait_for(r"Frame \d+ of 900, about")
    assert at_work()
    here.page.close()
    for _ in range(200):
        if not at_work():
            break
        time.sleep(0.1)
    assert not at_work()


def test_bad_files_are_told_and_the_next_works(here, tmp_path):
    here = here()
    button(here, "Translate the video").click()
    here.wait_for("Choose a video.")
    (tmp_path / "text.mp4").write_text("hello")
    here.choose(tmp_path / "text.mp4")
    button(here, "Translate the video").click()
    here.wait_for_notice("text.mp4 is not a video that can be read here")
    here.wait_for("Nothing was translated: text.mp4 is not a video that can be read here")
    here.page.get_by_label("Clear").first.click()
    here.choose(make_clip(tmp_path / "good.mp4", [Fraction(i, 10) for i in range(4)], sound="aac"))
    here.page.get_by_label("Size of the result").click()
    here.page.get_by_role("option", name="Original").click()
    button(here, "Translate the video").click()
    here.wait_for("4 frames, 0.4 s, 64×48 pixels, with its sound")


def test_another_run_and_the_address(visit):  # noqa: F811
    named = visit(path="files?run=streets&epoch=epoch-0001")
    named.page.locator(".given input[type=radio]:checked").wait_for()
    button(named, "Try a pan over an example picture").click()
    named.wait_for(r"24 frames.*translated with epoch 1 in")
    named.page.get_by_label("Run", exact=True).click()
    named.page.get_by_role("option", name="oneway").click()
    named.page.get_by_label("<b>horse</b> → zebra").wait_for()
    button(named, "Try a pan over an example picture").click()
    named.wait_for_notice("This run has no example pictures")


def test_in_korean(here):
    here = here(width=390, height=844, locale="ko-KR")
    shown = here.page.locator("body").inner_text()
    for said in ("파일", "내 동영상", "결과 크기", "깜박임 줄이기", "동영상 변환", "방향", "학습 실행"):
        assert said in shown, said
    button(here, "예시 사진을 훑는 영상으로 해 보기").click()
    here.wait_for("24프레임, 2.0초, 78×64 픽셀, 소리 없음. 에폭 2")
    shown = ready(here).inner_text()
    for said in ("겹쳐 나누기", "나란히", "내 동영상", "변환한 동영상", "재생", "나란히 놓은 동영상 저장"):
        assert said in shown, said
    assert "__i18n__" not in here.page.locator("body").inner_text() and here.overflow() <= 0
