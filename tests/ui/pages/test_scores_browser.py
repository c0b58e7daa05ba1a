"""The page of scores in Chromium, as a visitor meets it."""

import shutil

import pytest

from tests.ui.conftest import write_epoch
from tests.ui.pages.test_checkpoints_browser import assert_tabs_fit
from tests.ui.pages.test_checkpoints_page import pictured  # noqa: F401
from tests.ui.pages.test_scores_page import write_scores
from tests.ui.pages.test_translate_browser import chromium, visit  # noqa: F401  (fixtures)

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("app")]


@pytest.fixture
def run(pictured):  # noqa: F811
    """The app's first run, whose scores are removed after the test."""
    yield pictured.run
    shutil.rmtree(pictured.run / "scores", ignore_errors=True)
    shutil.rmtree(pictured.run.parent / "other", ignore_errors=True)


def epochs(here):
    """The epochs' names, from above."""
    return here.page.locator(".scores tbody th").all_inner_texts()


@pytest.mark.parametrize("width, height, scheme, locale", [
    (1280, 900, "light", "en-US"), (390, 844, "dark", "ko-KR"),
])  # fmt: skip
def test_scores_come_are_sorted_and_open_their_pictures(visit, run, width, height, scheme, locale):  # noqa: F811
    korean = locale == "ko-KR"
    one, two = ("에폭 1", "에폭 2") if korean else ("epoch 1", "epoch 2")
    here = visit(width, height, scheme, locale, "scores")
    here.wait_for_notice("Starting …")  # Not an empty page while the files are read.
    told = here.page.get_by_text("python -m cyclegan evaluate").first  # One for each run.
    told.wait_for()
    assert told.evaluate("e => e.scrollWidth - e.clientWidth") <= 0 and here.overflow() <= 0, "a command is whole"
    here.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    here.page.get_by_role("button", name="복사" if korean else "Copy", exact=True).first.click()
    here.page.get_by_role("button", name="복사했습니다" if korean else "Copied").wait_for()
    assert here.page.evaluate("navigator.clipboard.readText()") == told.inner_text()
    assert str(run) in told.inner_text()
    write_scores(run)
    here.page.get_by_role("button", name="새로 고침" if korean else "Refresh").click()
    here.page.get_by_text("어느 에폭이 좋을까요?" if korean else "Which epoch?").wait_for()
    here.page.locator(".grids img").nth(1).wait_for()
    assert epochs(here) == [one, two] and here.overflow() <= 0
    assert_tabs_fit(here, 40 if width < 600 else 24)
    assert here.page.locator(".scores tr.is-chosen th").inner_text() == two

    # The best come first, then the worst; baselines stay where they are.
    references = here.page.locator(".scores thead tr th:first-child").all_inner_texts()
    head = here.page.get_by_role("button", name="KID")
    for direction, order in (("ascending", [two, one]), ("descending", [one, two])):
        head.click()
        assert here.page.locator(".heads th").nth(1).get_attribute("aria-sort") == direction
        assert epochs(here) == order
    assert here.page.locator(".scores thead tr th:first-child").all_inner_texts() == references

    # The head and the first column stay in sight when the table is scrolled.
    # Where the table is cut, its edge fades until there is nothing more to scroll to.
    here.page.locator(".scores-table .table").evaluate("box => box.style.width = '300px'")
    fades = "size => getComputedStyle(document.querySelector('.scores-table .table')).maskSize == size"
    here.page.wait_for_function(fades, arg="100% 100%")
    here.page.locator(".scores-table .table").evaluate("box => box.scrollTo(box.scrollWidth, 0)")
    here.page.wait_for_function(fades, arg="calc(100% + 48px) 100%")
    first = here.page.locator(".scores tbody th").first.bounding_box()
    assert first["x"] >= 0 and first["width"] < width / 2
    here.page.locator(".scores-table .table").evaluate("box => box.style.width = ''")

    here.page.locator(".scores tbody tr", has_text=one).locator("td").last.click()
    here.page.locator(".heading h2").get_by_text("1").wait_for()
    here.page.wait_for_function("document.querySelectorAll('.grids img').length == 1")
    assert here.page.locator(".scores tr.is-chosen th").inner_text() == one and epochs(here) == [one, two]
    assert "epoch=epoch-0001" in here.page.locator(".heading a").first.get_attribute("href")
    assert here.page.locator(".of-classes details").count() == 1 and here.page.locator(".trend svg").count() == 3
    here.page.get_by_label("<night> → day").check()
    here.page.locator(".scores td", has_text="400.0").wait_for()

    # A run that isn't the app's: a folder here, because the app is its visitor's own.
    write_scores(run.parent / "other", pictures=5)
    write_epoch(run.parent / "other", 2)
    field = here.page.locator(".runs input").first
    field.fill(str(run.parent / "other"))
    field.press("Enter")
    here.page.locator(".about-scores", has_text="5").get_by_text("5장" if korean else "5 at 32 pixels").wait_for()
    assert here.page.locator(".scores tr.is-chosen th").inner_text() == two and here.overflow() <= 0
