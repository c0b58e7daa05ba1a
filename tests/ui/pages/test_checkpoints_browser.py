"""The checkpoints page in Chromium, as a visitor meets it."""

import shutil
from urllib.parse import parse_qs, urlsplit

import pytest

from cyclegan.checkpoints.format import read_info
from tests.ui.conftest import write_epoch
from tests.ui.pages.test_checkpoints_page import pictured  # noqa: F401
from tests.ui.pages.test_scores_page import write_scores
from tests.ui.pages.test_translate_browser import chromium, visit  # noqa: F401  (fixtures)

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("app")]


@pytest.fixture
def checkpoints(visit, pictured):  # noqa: F811
    """Open the page and wait until it shows an epoch."""

    def open_page(query="", shows=2, **how):
        here = visit(path=f"checkpoints{query}", **how)
        wait_for_epoch(here, shows)
        return here

    return open_page


def wait_for_epoch(here, epoch):
    here.page.wait_for_function(
        "n => /\\d+/.exec(document.querySelector('.chosen h2')?.innerText)?.[0] == n"
        " && new URLSearchParams(location.search).get('epoch')?.endsWith(n)", arg=epoch
    )  # fmt: skip


def wait_for_thumbnails(here, epoch, count):
    card = here.page.locator(f"[data-epoch=epoch-000{epoch}]")
    card.scroll_into_view_if_needed()
    here.page.wait_for_function(
        "([n, count]) => { const all = [...document.querySelectorAll(`[data-epoch=epoch-000${n}] img[src]`)];"
        " return all.length == count && all.every(e => e.naturalWidth) }", arg=[epoch, count]
    )  # fmt: skip


def assert_tabs_fit(here, least):
    """All six can be read and tapped: of one row and one line each, within the text's edges, also on a small phone."""
    size = here.page.viewport_size
    for width in (size["width"], *((360,) if size["width"] < 600 else ())):
        here.page.set_viewport_size({**size, "width": width})
        here.page.wait_for_function(
            "document.querySelector('.navigation').getAnimations({subtree: true}).length == 0"
        )  # Buttons change their font slowly.
        tabs = here.page.locator(".navigation > *").evaluate_all(
            "all => all.map(e => { const r = e.getBoundingClientRect(), text = document.createRange();"
            " text.selectNodeContents(e);"
            " const lines = new Set([...text.getClientRects()].map(r => Math.round(r.top)));"
            " return [r.left, r.right, r.height, e.scrollWidth - e.clientWidth, r.top, lines.size] })"
        )
        title = here.page.locator("h1").bounding_box()
        left, right = title["x"] - 0.5, title["x"] + title["width"] + 0.5
        assert len(tabs) == 6
        assert all(left <= begin and end <= right and end - begin >= 24 for begin, end, *_ in tabs), (width, tabs)
        assert all(height >= least and cut <= 0 and lines == 1 for *_, height, cut, _, lines in tabs), (width, tabs)
        assert len({round(tab[-2]) for tab in tabs}) == 1, tabs
        assert all(one[1] <= other[0] for one, other in zip(tabs, tabs[1:], strict=False)), "none lies over another"
    here.page.set_viewport_size(size)


@pytest.mark.parametrize("width, height, scheme", [(1280, 900, "light"), (390, 844, "dark")])
def test_a_visitor_walks_over_the_epochs(checkpoints, width, height, scheme):
    here = checkpoints(width=width, height=height, scheme=scheme)
    here.wait_for("Samples of epoch 2")
    here.page.wait_for_function("document.querySelectorAll('.grids img').length == 2")
    here.page.locator(".curves svg").first.wait_for()
    wait_for_thumbnails(here, 2, 2)
    wait_for_thumbnails(here, 1, 1)
    assert here.overflow() <= 0
    assert_tabs_fit(here, 40 if width < 600 else 24)
    trend, cards = (here.page.locator(part).first.bounding_box() for part in (".trend .curves", ".cards"))
    figures = here.page.locator(".trend figure").evaluate_all("all => all.map(e => e.getBoundingClientRect().right)")
    assert all(right <= width for right in figures), "panels stand below each other where there is no room"
    assert trend["y"] + trend["height"] <= cards["y"] and trend["height"] < 400, "curves first, in less than a screen"
    here.page.locator("[data-epoch=epoch-0001] button.thumbs").click()
    wait_for_epoch(here, 1)
    here.wait_for("Samples of epoch 1")
    here.page.wait_for_function("document.querySelectorAll('.grids img').length == 1")
    assert parse_qs(urlsplit(here.page.url).query) == {"run": ["streets"], "epoch": ["epoch-0001"]}
    wait_for_thumbnails(here, 2, 2)  # They are there again after the list was written anew.


def test_epochs_are_ticked_and_compared(checkpoints):
    here = checkpoints()
    link = here.page.get_by_role("link", name="Compare the ticked epochs")
    assert not link.is_visible()
    for epoch in (2, 1):
        here.page.get_by_label(f"Compare epoch {epoch}").check()
    assert link.get_attribute("href") == "compare?entries=streets%40epoch-0001,streets%40epoch-0002"
    here.page.get_by_role("button", name="Show epoch 1").first.click()
    wait_for_epoch(here, 1)
    assert here.page.get_by_label("Compare epoch 1").is_checked() and link.is_visible()
    here.page.get_by_label("Compare epoch 1").uncheck()
    assert not link.is_visible()
    there = here.page.get_by_role("link", name="Translate with epoch 1")
    assert there.get_attribute("href") == "./?run=streets&epoch=epoch-0001"


def test_the_address_names_run_and_epoch(checkpoints):
    here = checkpoints("?run=oneway&epoch=epoch-0007", shows=7)
    here.wait_for("Epoch 7 has no samples")
    assert here.page.get_by_label("Run", exact=True).input_value() == "oneway"
    here.page.get_by_text("<b>horse</b> → zebra").first.wait_for()  # A name, not markup.
    here = checkpoints("?run=streets&epoch=epoch-0099")
    here.wait_for_notice("streets has no epoch 99; it has 2, 1")


def test_another_run_and_one_that_is_not_there(checkpoints):
    here = checkpoints()
    box = here.page.get_by_label("Run", exact=True)
    box.fill("nowhere")
    box.press("Enter")
    here.wait_for_notice("nowhere is not a folder")
    here.page.wait_for_function("document.querySelector('.run input').value == 'streets'")
    assert here.page.locator(".chosen h2").inner_text().startswith("Epoch 2")
    box.fill("oneway")
    box.press("Enter")
    wait_for_epoch(here, 7)
    here.wait_for("Epoch 7 has no samples")


def test_a_running_training_is_looked_at_again(checkpoints, pictured):  # noqa: F811
    here = checkpoints()
    here.page.get_by_role("button", name="Refresh").click()
    here.wait_for_notice("No newer epoch yet")
    added = write_epoch(pictured.run, 3)
    try:
        here.page.get_by_role("button", name="Refresh").click()
        here.wait_for_notice("The newest is epoch 3")
        wait_for_epoch(here, 3)
        here.wait_for("Epoch 3 has no samples")
    finally:
        shutil.rmtree(added)


@pytest.fixture
def scored(pictured):  # noqa: F811
    """The run's scores, in which epoch 1 has the better KID."""
    path = write_scores(
        pictured.run, shas={n: read_info(pictured.run / f"epoch-000{n}").commit_sha for n in (1, 2)}
    )
    path.write_text(path.read_text().replace('"kid": {"kid": {"value": 100.0', '"kid": {"kid": {"value": 5.0'))
    yield
    shutil.rmtree(pictured.run / "scores")


def test_epochs_are_sorted_by_a_score(checkpoints, scored):
    here = checkpoints()
    cards = "[...document.querySelectorAll('.epoch-card')].map(card => card.dataset.epoch).join()"
    assert here.page.evaluate(cards) == "epoch-0002,epoch-0001"
    here.page.locator(".references", has_text="the input, untranslated").wait_for()
    box = here.page.get_by_label("Sort the epochs by")
    box.click()
    here.page.get_by_role("option", name="KID × 1000 (lite0), day → <night>").click()
    here.page.wait_for_function(f"{cards} == 'epoch-0001,epoch-0002'")
    assert here.overflow() <= 0
    wait_for_thumbnails(here, 2, 2)
    here.page.get_by_role("button", name="Show epoch 1").first.click()
    wait_for_epoch(here, 1)
    assert here.page.evaluate(cards) == "epoch-0001,epoch-0002" and "KID" in box.input_value(), "the order stays"


def test_in_korean(checkpoints):
    here = checkpoints(width=390, height=844, locale="ko-KR")
    here.wait_for("에폭 2의 샘플입니다")
    here.page.locator(".curves svg").first.wait_for()
    shown = here.page.locator("body").inner_text()
    for said in ("체크포인트", "모든 에폭", "에폭 2개", "이것으로 변환", "학습 손실", "새로 고침", "수치의 뜻"):
        assert said in shown, said
    assert "__i18n__" not in shown
    assert here.overflow() <= 0
    assert_tabs_fit(here, 40)
