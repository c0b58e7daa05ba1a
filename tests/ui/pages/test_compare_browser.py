"""The compare page in Chromium, as a visitor meets it."""

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.ui.conftest import picture, write_epoch
from tests.ui.pages.test_translate_browser import chromium, visit  # noqa: F401  # fixtures

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("app")]
BOTH = "streets@epoch-0001,streets@epoch-0002"


@pytest.fixture
def compare(visit):  # noqa: F811
    """Open the page at an address."""

    def open_page(query="", **options):
        return visit(path=f"compare{query}", **options)

    return open_page


def wait_for_tiles(here, *names) -> None:
    """Until these are shown, the input first, and their pictures are loaded."""
    here.page.wait_for_function(
        "names => { const all = [...document.querySelectorAll('.stage figure')];"
        " return JSON.stringify(all.map(e => e.querySelector('b').textContent)) == JSON.stringify(names)"
        " && all.every(e => e.querySelector('img').naturalWidth) }",
        arg=["input", *names],
    )


def alts_of(part) -> list[str]:
    return part.locator("img").evaluate_all("all => all.map(e => e.alt)")


def pictures_of(here) -> set[str]:
    """The addresses of all results that the page has asked for."""
    return {url for url in here.requests if "/file=" in url}


def pixels(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"), int)


def check_difference(here, cell, gain: int) -> None:
    """The screen shows a cell's |picture − other| × gain, each pixel of 48×40 as one of the screen's."""
    mix = cell.locator(".mix.difference")
    urls = mix.locator("img").evaluate_all("all => all.map(e => e.src)")
    other, one = (pixels(here.page.request.get(url).body()) for url in urls)
    mix.evaluate("e => { e.style = 'position: fixed; z-index: 99; left: 0; top: 0; width: 48px; height: 40px' }")
    assert np.abs(pixels(mix.screenshot()) - np.minimum(255, gain * np.abs(one - other))).max() <= 1
    mix.evaluate("e => { e.style = '' }")


def wait_for_query(here, pattern: str) -> None:
    """Until the address names this."""
    here.page.wait_for_url(re.compile(rf"compare\?.*{pattern}"))


def variable(here, name: str) -> float:
    return float(here.page.locator(".stage").evaluate(f"e => getComputedStyle(e).getPropertyValue('{name}')"))


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_a_visitor_sees_a_comparison_at_once(compare, width, scheme):
    here = compare(width=width, scheme=scheme)
    here.wait_for("day → night with 2 checkpoints, 2 pictures")
    wait_for_tiles(here, "epoch 1", "epoch 2")
    assert here.overflow() <= 0
    matrix = here.page.get_by_role("region", name="Pictures under epochs")
    assert alts_of(matrix) == ["example 1, input", "example 1, epoch 1", "example 1, epoch 2",
                               "example 3, input", "example 3, epoch 1", "example 3, epoch 2"]  # fmt: skip
    wait_for_query(here, f"entries={BOTH}&direction=ab&size=auto&example=1$")
    # Closer, by keyboard: the cell's picture and epoch.
    matrix.get_by_role("button", name="example 3, epoch 2").press("Enter")
    assert here.page.evaluate("document.activeElement.matches('.stage')")
    assert here.page.get_by_label("Picture", exact=True).input_value() == "1"
    wait_for_query(here, "view=grid&row=2$")
    figures = here.page.locator(".stage .figures")
    assert re.fullmatch(r"Way back: L1 \d+\.\d, SSIM -?\d\.\d{3}", figures.nth(1).inner_text())
    assert figures.nth(0).inner_text() == "", "the input has none"
    alts = here.page.locator(".stage img").evaluate_all("all => all.map(e => e.alt)")
    assert alts == ["input, day", "epoch 1, As night", "epoch 2, As night"] and matrix.is_hidden()
    tops = here.page.locator(".stage img").evaluate_all("all => all.map(e => e.getBoundingClientRect().top)")
    assert len(set(tops)) == (1 if width > 600 else 2)
    here.page.locator(".curves svg").first.wait_for()
    for view in ("Slider", "Scrub", "Blind"):
        here.page.get_by_role("button", name=view).click()
        assert here.overflow() <= 0


def test_the_matrix_is_sorted_and_subtracted(compare):
    here = compare("?from=1&gain=8&sort=difference")
    wait_for_tiles(here, "epoch 1", "epoch 2")
    matrix = here.page.get_by_role("region", name="Pictures under epochs")
    # Rows move while results come in: read them only when each has its figure.
    here.page.wait_for_function("[...document.querySelectorAll('tbody th .differs')].every(e => e.textContent)")
    texts = matrix.locator("tbody th .differs").all_inner_texts()
    differences = [float(text.removeprefix("Epochs differ by ")) for text in texts]
    assert differences == sorted(differences, reverse=True)
    names = matrix.locator("tbody th .name").all_inner_texts()
    assert sorted(names) == ["example 1", "example 3"]
    head = matrix.get_by_role("columnheader").first
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button", name="Pictures").press("Enter")
    assert head.get_attribute("aria-sort") == "none"
    assert matrix.locator("tbody th .name").all_inner_texts() == ["example 1", "example 3"]
    # The browser subtracts what it has: each pixel's |epoch 2 − epoch 1|, times the gain.
    cell = matrix.get_by_role("button", name="example 1, epoch 2, difference from epoch 1, ×8")
    here.page.wait_for_function("[...document.querySelectorAll('.matrix img')].every(e => e.naturalWidth)")
    before, said = pictures_of(here), here.page.locator(".note").first.inner_text()
    check_difference(here, cell, 8)
    here.page.get_by_role("button", name="×2").click()
    cell = matrix.get_by_role("button", name="example 1, epoch 2, difference from epoch 1, ×2")
    check_difference(here, cell, 2)
    assert matrix.get_by_text(re.compile(r"^Differs by \d+\.\d$")).count() == 2
    assert pictures_of(here) == before and here.page.locator(".note").first.inner_text() == said
    wait_for_query(here, "from=1&gain=2$")
    here.page.get_by_label("Difference from").select_option(label="none")
    wait_for_query(here, "example=1$")
    # What is shown as a file.
    for kind, shown in (("mp4", "video"), ("GIF", "img")):
        here.page.get_by_role("button", name=kind, exact=True).click()
        here.page.locator(f".film figure {shown}").wait_for()
        link = here.page.get_by_role("link", name=f"Save epoch_1_to_epoch_2.{kind.lower()}")
        assert here.page.request.get(link.evaluate("e => e.href")).body()[4:6] in (b"ft", b"9a")


def test_epochs_are_ranked_before_their_names_are_known(compare):
    here = compare("?view=blind")
    viewer, page = here.page.locator(".viewer"), here.page
    page.get_by_role("button", name="Rank A").wait_for()
    status = page.locator(".ranking [role=status]")
    assert status.inner_text() == "Picture 1 of 2: choose the best translation first, then the next best."
    page.get_by_text("nothing of it is recorded").wait_for()
    assert alts_of(page.locator(".stage")) == ["input, day", "Picture A, As night", "Picture B, As night"]
    markup = viewer.evaluate("e => e.outerHTML")
    assert not re.search(r"epoch[ -_]?\d", markup) and markup.count('src="blob:') == 2
    page.get_by_role("button", name="Rank B").press("Enter")  # Two of two: the other one comes last by itself.
    assert page.get_by_role("button", name="B: place 1").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="A: place 2").wait_for()
    page.get_by_role("button", name="Undo this picture").click()
    page.get_by_role("button", name="Blind", exact=True).focus()  # As after a click on it.
    page.keyboard.press("a")
    page.get_by_role("button", name="A: place 1").wait_for()
    page.keyboard.press("b")  # Its place is settled already.
    page.get_by_role("button", name="B: place 2").wait_for()
    assert status.inner_text() == "Picture 1 of 2 is ranked; 1 of 2 are."
    page.get_by_role("button", name="Next picture").click()
    page.get_by_role("button", name="The rest are equal").click()
    assert page.get_by_role("button", name=re.compile("[AB]: place 1")).count() == 2
    assert not re.search(r"epoch[ -_]?\d", viewer.evaluate("e => e.outerHTML"))
    page.get_by_role("button", name="Show my ranking").click()
    verdict = page.locator(".verdict")
    verdict.get_by_text("it won 75% of its comparisons").wait_for()
    page.get_by_role("button", name="Previous picture").click()
    first = page.locator(".stage b").nth(1).inner_text()
    assert first in ("A: epoch 1", "A: epoch 2")
    assert verdict.locator("tbody th").first.inner_text() == first.removeprefix("A: ")
    page.get_by_role("button", name="Rank again").click()
    verdict.wait_for(state="detached")
    page.get_by_role("button", name="Rank A").wait_for()


def test_all_tiles_are_magnified_and_moved_together(compare):
    here = compare("?view=grid")
    wait_for_tiles(here, "epoch 1", "epoch 2")
    stage, frames = here.page.locator(".stage"), here.page.locator(".stage .frame")
    box = frames.nth(1).bounding_box()
    here.page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])
    for _ in range(3):
        here.page.mouse.wheel(0, -100)
    here.page.wait_for_function("document.querySelector('.percent').textContent == '246%'")
    # What was under the mouse stays there: 3/4 of the picture.
    assert variable(here, "--x") + variable(here, "--zoom") * 0.75 == pytest.approx(0.75, abs=0.01)
    transforms = here.page.locator(".stage img").evaluate_all(
        "all => all.map(e => getComputedStyle(e).transform.match(/[-.\\d]+/g).map(x => Math.round(x)).join())"
    )
    assert len(set(transforms)) == 1 and transforms[0].startswith("2,0,0,2,-")
    assert "pixelated" in stage.get_attribute("class")
    before = variable(here, "--x")
    here.page.mouse.down()
    here.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"], steps=3)
    here.page.mouse.up()
    assert variable(here, "--x") == pytest.approx(before - 0.25, abs=0.02)
    wait_for_query(here, r"zoom=2\.46")
    frames.nth(0).dblclick()
    assert variable(here, "--zoom") == 1
    stage.focus()
    here.page.keyboard.press("+")
    assert variable(here, "--zoom") == 1.25
    at = variable(here, "--x")
    here.page.keyboard.press("ArrowRight")
    assert variable(here, "--x") == pytest.approx(at - 0.1)
    here.page.keyboard.press("0")
    assert variable(here, "--zoom") == 1


def test_the_divider_by_mouse_and_keyboard(compare):
    here = compare("?view=slider&left=0&right=2")
    wait_for_tiles(here, "epoch 1", "epoch 2")
    handle = here.page.get_by_role("slider", name="Divider")
    assert handle.get_attribute("aria-valuenow") == "50"
    box = here.page.locator(".stage .over").bounding_box()
    for start, end in ((0.2, 0.3), (0.8, 0.7)):  # On the left picture, on the right one.
        here.page.mouse.move(box["x"] + start * box["width"], box["y"] + 30)
        here.page.mouse.down()
        here.page.mouse.move(box["x"] + end * box["width"], box["y"] + 40, steps=3)
        here.page.mouse.up()
        assert handle.get_attribute("aria-valuenow") == str(round(100 * end))
    handle.focus()
    for key, now in (("ArrowRight", "72"), ("PageDown", "62"), ("Home", "0"), ("End", "100")):
        here.page.keyboard.press(key)
        assert handle.get_attribute("aria-valuenow") == now
    shown = here.page.locator(".stage figure:visible b").all_inner_texts()
    here.page.get_by_label("Left", exact=True).select_option(label="epoch 1")
    assert (shown, here.page.locator(".stage figure.left b").inner_text()) == (["input", "epoch 2"], "epoch 1")
    wait_for_query(here, "view=slider&left=1&right=2&split=100")


def test_the_scrubber_walks_the_epochs(compare):
    here = compare("?view=scrub")
    wait_for_tiles(here, "epoch 1", "epoch 2")
    shown = here.page.locator(".stage figure.at b")
    slider = here.page.get_by_role("slider", name="Step through")
    assert shown.inner_text() == slider.get_attribute("aria-valuetext") == "epoch 1"
    slider.focus()
    here.page.keyboard.press("ArrowRight")
    assert shown.inner_text() == slider.get_attribute("aria-valuetext") == "epoch 2"
    here.page.locator(".stage").focus()
    for key, name in ((" ", "epoch 1"), ("ArrowLeft", "epoch 2"), ("ArrowLeft", "epoch 1")):
        here.page.keyboard.press(key)
        assert shown.inner_text() == name


def test_a_link_shows_the_same_again(compare):
    query = f"?entries={BOTH}&direction=ba&size=32&example=2&view=slider&show=rec&left=0&right=2&split=30.0"
    here = compare(query)
    here.wait_for("night → day with 2 checkpoints")
    wait_for_tiles(here, "epoch 1", "epoch 2")
    assert here.page.locator(".viewer").get_attribute("data-view") == "slider"
    assert here.page.get_by_role("button", name="Back to night").get_attribute("aria-pressed") == "true"
    assert here.page.get_by_label("night → day").is_checked()
    assert here.page.get_by_label("Working size").input_value() == "32"
    here.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    here.page.get_by_role("button", name="Copy link").click()
    here.page.get_by_role("button", name="Copied").wait_for()
    assert here.page.evaluate("navigator.clipboard.readText()") == here.page.url
    assert here.page.url.endswith(query)


def test_bad_links_are_told_and_the_rest_is_shown(compare):
    entries = "streets@epoch-0099,streets@epoch-0001,%3Cb%3E@1"
    here = compare(f"?entries={entries}&direction=zz&size=3&pictures=99&example=x&view=y")
    here.wait_for_notice("streets has no epoch 99; it has 2, 1 (and 5 more like this)")
    here.wait_for("day → night with one checkpoint: choose a second one")
    wait_for_tiles(here, "epoch 1")
    wait_for_query(here, "entries=streets@epoch-0001&direction=ab&size=auto&example=1$")


def test_entries_of_other_runs_by_hand(compare):
    here = compare(f"?entries={BOTH}&view=grid")
    wait_for_tiles(here, "epoch 1", "epoch 2")
    box = here.page.get_by_label("Epochs to compare")
    box.fill("oneway@7")
    box.press("Enter")
    wait_for_tiles(here, "streets, epoch 1 (day → night)", "streets, epoch 2 (day → night)",
                   "oneway, epoch 7 (<b>horse</b> → zebra)")  # fmt: skip
    assert here.page.locator(".curves h2").all_inner_texts() == [
        "Training curves of streets", "Training curves of oneway",
    ]
    box.fill("nowhere@7")
    box.press("Enter")
    here.wait_for_notice("nowhere is not a folder")
    here.page.get_by_role("button", name="Back to day").click()
    here.page.locator(".stage figure").nth(3).get_by_text("No way back here").wait_for()
    here.page.get_by_role("button", name="As night").click()
    here.page.get_by_label("night → day").check()
    here.wait_for("night → day with 2 checkpoints, .* oneway, epoch 7 .* doesn't translate")
    wait_for_tiles(here, "streets, epoch 1 (night → day)", "streets, epoch 2 (night → day)")


def test_where_nothing_is_brought_back_no_way_back_is_offered(compare):
    here = compare("?entries=oneway@epoch-0007&run=streets&example=1&show=rec")
    wait_for_tiles(here, "epoch 7")  # Its translation.
    assert here.page.get_by_role("button", name=re.compile("Back to|Lost on")).count() == 0
    assert here.page.locator(".stage figure").nth(1).get_by_text("Way back").count() == 0
    wait_for_query(here, "entries=oneway@epoch-0007&run=streets&direction=ab&size=auto&example=1$")


def test_another_run_brings_its_own_epochs(compare):
    here = compare()
    wait_for_tiles(here, "epoch 1", "epoch 2")
    here.page.get_by_label("Run", exact=True).click()
    here.page.get_by_role("option", name="oneway").click()
    here.wait_for("Choose a picture")  # It has no examples.


def test_the_visitors_own_picture_and_a_bad_one(compare, tmp_path):
    here = compare("?view=grid&row=2")
    wait_for_tiles(here, "epoch 1", "epoch 2")
    assert here.page.get_by_text("Your own picture is not part").is_hidden()
    picture(70, 50).save(tmp_path / "mine.png")
    here.upload(tmp_path / "mine.png")
    here.wait_for("day → night with 2 checkpoints, 3 pictures")
    here.page.get_by_text("Your own picture is not part").wait_for()
    wait_for_query(here, "size=auto&view=grid$")  # It is shown, instead of the second picture.
    (tmp_path / "bad.png").write_text("no picture")
    here.upload(tmp_path / "bad.png")
    here.wait_for_notice("not a picture but text")
    here.page.locator(".given input[type=file]").wait_for(state="attached")  # It is empty again.
    here.page.wait_for_timeout(300)  # Another line would come within it.
    # The reason remains when the notice has gone.
    here.wait_for("Nothing was translated: bad.png is not a picture but text")


def test_new_epochs_are_offered(compare, app):
    here = compare()
    wait_for_tiles(here, "epoch 1", "epoch 2")
    here.hide()
    here.page.get_by_role("button", name="Refresh").click()
    here.wait_for_notice("No newer epoch yet")
    added = write_epoch(app.run, 3)
    try:
        here.page.get_by_role("button", name="Refresh").click()
        here.wait_for_notice("The newest is epoch 3")
        here.page.get_by_label("Epochs to compare").click()
        here.page.get_by_role("option", name="epoch 3").click()
        wait_for_tiles(here, "epoch 1", "epoch 2", "epoch 3")
    finally:
        shutil.rmtree(added)


def test_korean(compare):
    here = compare(locale="ko-KR")
    here.wait_for("day → night, 체크포인트 2개")
    assert here.page.locator(".stage b").all_inner_texts() == ["입력", "에폭 1", "에폭 2"]
    here.page.get_by_role("button", name="링크 복사").wait_for()
    here.page.get_by_role("heading", name="학습 곡선").wait_for()
