"""The translate page in Chromium, as a visitor meets it."""

import os
import re
import shutil
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.ui.conftest import TOKEN, picture, write_epoch

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("app")]
ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-dev-shm-usage", "--disable-component-update", "--disable-sync",
]
WAIT_MS = 300_000


@pytest.fixture(scope="module")
def chromium():
    # The shell first: it is Chromium without a browser's own windows, and opens a page in two thirds of the time.
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed, and CI must not go without it")
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGS)
        yield browser
        browser.close()


class Visit:
    """One visitor's page, and what went wrong in it."""

    def __init__(self, page, url: str) -> None:
        self.page, self.requests, self.complaints = page, [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("framenavigated", lambda frame: self.forgive())
        page.set_default_timeout(WAIT_MS)
        # Notices go after seconds, and a busy machine may look too late: they are written down as they come.
        page.add_init_script(
            "window.notices = []; new MutationObserver(changes => { for (const change of changes)"
            " for (const node of change.addedNodes) if (node.textContent) window.notices.push(node.textContent) })"
            ".observe(document, {childList: true, subtree: true})"
        )
        page.goto(url)

    def forgive(self) -> None:
        """A page that is left amid a request complains of its end."""
        cut = re.compile("AbortError|Connection errored out|Failed to fetch|network error")
        self.complaints = [said for said in self.complaints if not cut.search(said)]

    def wait_for(self, note: str) -> None:
        """Until the line above the results begins so."""
        self.page.locator(".note").get_by_text(re.compile(f"^{note}")).first.wait_for()

    def wait_for_notice(self, text: str) -> None:
        """Until a notice that holds this has been shown, even if it is gone again."""
        self.page.wait_for_function("text => window.notices.some(shown => shown.includes(text))", arg=text)

    def upload(self, path) -> None:
        """Replace the picture."""
        self.page.get_by_label("Remove Image").click()
        self.wait_for("Choose a picture")
        self.page.locator(".given input[type=file]").set_input_files(path)

    def wait_for_pictures(self, width: int, height: int) -> None:
        """Until the four pictures of the reading that is shown large are there, loaded, and of this size."""
        self.page.wait_for_function(
            "([w, h]) => { const all = [...document.querySelectorAll('.large .pictures img')];"
            " return all.length == 4 && all.every(e => e.naturalWidth == w && e.naturalHeight == h) }",
            arg=[width, height],
        )

    def hide(self) -> None:
        """From here on the page, as a hidden one, doesn't look for epochs by itself: a test's click comes first."""
        self.page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true})")

    def overflow(self) -> int:
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture
def visit(chromium, app):
    """Open a page; whatever a test does there, nothing may leave the host and nothing may be complained of."""
    contexts, visits = [], []

    def open_page(width=1280, height=900, scheme="light", locale="en-US", path=""):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, locale=locale
        )  # fmt: skip
        contexts.append(context)
        context.request.get(f"{app.url}?token={TOKEN}")  # The context keeps the cookie, which downloads need, too.
        visits.append(Visit(context.new_page(), app.url + path))
        return visits[-1]

    yield open_page
    for context in contexts:
        context.close()
    for opened in visits:
        away = [url for url in opened.requests if urlsplit(url).scheme not in ("data", "blob")
                and urlsplit(url).netloc != urlsplit(app.url).netloc]
        assert away == []
        assert opened.complaints == []


@pytest.mark.parametrize("width, height, scheme", [(1280, 900, "light"), (390, 844, "dark")])
def test_a_visitor_sees_a_result_at_once(visit, width, height, scheme):
    here = visit(width, height, scheme)
    here.wait_for("Epoch 2, 48×40 pixels")
    here.wait_for_pictures(48, 40)
    assert here.overflow() <= 0
    assert here.page.locator("h1").inner_text() == "CycleGAN workbench"
    large, other = here.page.locator(".large"), here.page.locator(".reading:not(.large)")
    assert large.locator("> button").inner_text().startswith("Looks more like day than night")
    assert other.locator("> button").inner_text().startswith("The other reading: night → day → night")
    alts = large.locator(".pictures img").evaluate_all("all => all.map(e => e.alt)")
    assert alts[1] == "The picture, translated to night" and all(alts)
    assert here.page.get_by_text("Reconstruction: L1").locator("visible=true").count() == 1
    # The result is the largest picture, and starts on the first screen.
    boxes = here.page.locator("img").locator("visible=true").evaluate_all(
        "all => all.map(e => [e, e.getBoundingClientRect()])"
        ".map(([e, box]) => [box.width * box.height, e.alt, box.top])"
    )
    (area, largest, top), (next_area, *_), *_ = sorted(boxes, reverse=True)
    assert largest == alts[1] and area > 2 * next_area and top < 0.7 * height

    # A click enlarges it to the whole window, another one brings it back.
    result = large.locator(".pictures img").nth(1)
    for full in (True, False):
        result.click()
        here.page.wait_for_function(f"!!document.querySelector('.pictures > .fullscreen') == {str(full).lower()}")
        if full:
            size = result.evaluate("e => [e.clientWidth, e.clientHeight]")
            assert size == [pytest.approx(width, abs=20), pytest.approx(height, abs=20)]
    assert other.locator(".pictures img").locator("visible=true").count() == 0
    other.locator("> button").click()
    here.page.wait_for_function(
        "[...document.querySelectorAll('.reading:not(.large) img')].filter(e => e.naturalWidth == 48).length == 4"
    )
    assert here.overflow() <= 0


def test_uploads_bad_and_good(visit, tmp_path):
    here = visit()
    here.wait_for("Epoch 2")
    (tmp_path / "bad.png").write_text("no picture")
    here.upload(tmp_path / "bad.png")
    here.wait_for_notice("bad.png is not a picture but text")
    box = here.page.locator(".given input[type=file]")
    box.wait_for(state="attached")  # It is empty again, and can take another.
    assert here.page.locator(".pictures img").count() == 0
    here.page.wait_for_timeout(300)  # A second message would come within it, or another line.
    # The reason remains when the notice has gone, and there are no empty frames below it.
    here.wait_for("Nothing was translated: bad.png is not a picture but text")
    assert here.page.locator(".reading").locator("visible=true").count() == 0
    said = here.page.evaluate("window.notices.filter(said => /error|not a picture|wrong|translated/i.test(said))")
    assert sum("not a picture" in each and "Nothing was translated" not in each for each in said) == 1
    assert here.page.locator("[data-testid=status-tracker] .error:visible").count() == 0
    picture(70, 50).save(tmp_path / "good.png")
    box.set_input_files(tmp_path / "good.png")
    here.wait_for("Epoch 2, 70×50 pixels")
    here.wait_for_pictures(70, 50)
    here.upload(tmp_path / "bad.png")  # The same again is refused again.
    here.wait_for("Nothing was translated: bad.png is not a picture")
    box.wait_for(state="attached")


def test_examples_epochs_and_sizes(visit, app):
    here = visit()
    here.wait_for("Epoch 2, 48×40")
    here.wait_for_pictures(48, 40)
    here.page.locator(".examples button").nth(1).click()
    here.page.get_by_text("Looks more like night than day").wait_for()
    here.page.wait_for_function(
        "document.querySelector('.large .pictures > :nth-child(2) img')?.alt == 'The picture, translated to day'"
    )
    here.wait_for("Epoch 2")

    # By keyboard: the next older epoch.
    here.page.get_by_label("Epoch", exact=True).focus()
    for key in ("ArrowDown", "Enter"):
        here.page.keyboard.press(key)
    here.wait_for("Epoch 1, 48×40")
    here.page.get_by_label("Working size").click()
    here.page.get_by_role("option", name="Original").click()
    here.wait_for("Epoch 1, 48×40 pixels, worked at 48×40")
    here.page.get_by_label("Working size").fill("36")
    here.page.keyboard.press("Enter")
    here.wait_for("Epoch 1, 48×40 pixels, worked at 43×36")

    here.hide()
    here.page.get_by_role("button", name="Refresh").click()
    here.wait_for_notice("No newer epoch yet")
    here.wait_for("Epoch 1, 48×40")  # Nothing is new, so the choice stays.

    added = write_epoch(app.run, 3)
    try:
        here.page.get_by_role("button", name="Refresh").click()
        here.wait_for_notice("The newest is epoch 3")
        here.wait_for("Epoch 3, 48×40")
    finally:
        shutil.rmtree(added)


def test_another_run_keeps_the_visitors_picture(visit, tmp_path):
    here = visit()
    here.wait_for("Epoch 2")
    picture(70, 50).save(tmp_path / "mine.png")
    here.upload(tmp_path / "mine.png")
    here.wait_for("Epoch 2, 70×50 pixels")
    here.page.get_by_label("Run", exact=True).click()
    here.page.get_by_role("option", name="oneway").click()
    here.wait_for("Epoch 7, 70×50 pixels")
    # Links to the other pages keep the run.
    here.page.locator(".navigation").get_by_text("Files").click()
    here.page.wait_for_url("**/files?run=oneway")
    here.page.wait_for_function("[...document.querySelectorAll('.run input')].some(e => e.value == 'oneway')")
    here.page.locator(".navigation").get_by_text("Translate").click()
    here.page.wait_for_url("**/?run=oneway")
    here.wait_for("Choose a picture")  # The run has no examples.


def test_eight_tabs_of_one_visitor_work(visit):
    here = visit()
    here.wait_for("Epoch 2")
    tabs = [Visit(here.page.context.new_page(), here.page.url) for _ in range(7)]  # A browser has six connections.
    for tab in tabs:
        tab.wait_for("Epoch 2, 48×40 pixels")
        tab.wait_for_pictures(48, 40)
    tabs[0].page.close()
    tabs[-1].page.get_by_label("Working size").fill("36")
    tabs[-1].page.keyboard.press("Enter")
    tabs[-1].wait_for("Epoch 2, 48×40 pixels, worked at 43×36")
    assert [tab.complaints for tab in tabs] == [[]] * 7


def test_a_run_that_is_not_there_is_told_and_changes_nothing(visit):
    here = visit()
    here.wait_for("Epoch 2")
    run = here.page.get_by_label("Run", exact=True)
    run.fill("/nope/x")
    here.page.keyboard.press("Enter")
    here.wait_for_notice("/nope/x is not a folder")
    here.page.wait_for_function("[...document.querySelectorAll('.run input')].some(e => e.value == 'streets')")
    here.page.get_by_label("Working size").fill("36")
    here.page.keyboard.press("Enter")
    here.wait_for("Epoch 2, 48×40 pixels, worked at 43×36")  # The page goes on working.


def test_a_run_with_one_direction_says_why(visit):
    here = visit()
    here.wait_for("Epoch 2")
    here.page.get_by_label("Run", exact=True).click()
    here.page.get_by_role("option", name="oneway").click()
    here.page.get_by_text("no way back, and no reading as zebra").wait_for()
    assert here.page.locator(".large > button").inner_text().startswith("As <b>horse</b>")  # a name, not markup
    assert here.page.locator(".reading:visible").count() == 1


def test_one_reading_is_pinned_and_compared_by_a_slider(visit):
    here = visit(390, 844)
    here.wait_for("Epoch 2")
    here.page.get_by_label("night", exact=True).check()
    here.page.wait_for_function("[...document.querySelectorAll('.reading')].filter(e => e.offsetParent).length == 1")
    assert here.page.locator(".large > button").inner_text().startswith("As night: night → day → night")
    here.page.get_by_label("Slider").check()
    here.page.wait_for_function(
        "(() => { const shown = [...document.querySelectorAll('.sliders img')].filter(e => e.offsetParent);"
        " return shown.length == 4 && shown.every(e => e.naturalWidth == 48) })()"
    )
    assert here.page.locator(".pictures:visible").count() == 0
    assert here.overflow() <= 0
    here.page.get_by_label("Likely", exact=True).check()
    here.page.locator(".large > button").get_by_text("Looks more like day").wait_for()
    here.page.locator(".reading:not(.large) > button").click()
    here.page.wait_for_function(
        "[...document.querySelectorAll('.sliders img')].filter(e => e.offsetParent && e.naturalWidth == 48).length == 8"
    )


def test_a_long_translation_is_cancelled(visit, tmp_path):
    here = visit()
    here.wait_for("Epoch 2")
    picture(1600, 1400).save(tmp_path / "large.png")
    here.page.get_by_label("Working size").fill("1400")
    here.page.keyboard.press("Enter")
    here.wait_for("Epoch 2")
    here.page.get_by_label("Remove Image").click()
    here.wait_for("Choose a picture")
    here.page.locator(".given input[type=file]").set_input_files(tmp_path / "large.png")
    here.page.get_by_role("button", name="Cancel").click()
    here.wait_for("Nothing was translated")


def test_in_korean(visit):
    here = visit(390, 844, locale="ko-KR")
    here.wait_for("에폭 2, 48×40 픽셀")
    shown = here.page.locator("body").inner_text()
    likely = ("그럴듯한 쪽", "night 사진보다 day 사진에 가까워")
    for said in ("변환", "비교", "내 사진", "학습 실행", *likely, "재구성: L1", "새로 고침"):
        assert said in shown, said
    assert here.page.get_by_label("처리 크기").input_value() == "자동"
    assert "__i18n__" not in shown
    assert here.page.evaluate("document.documentElement.lang") == "ko"
    assert here.overflow() <= 0


def test_the_address_names_run_and_epoch(visit):
    here = visit(path="?run=streets&epoch=epoch-0001")
    here.wait_for("Epoch 1, 48×40")
    here = visit(path="?run=streets&epoch=epoch-0099")
    here.wait_for_notice("streets has no epoch 99; it has 2, 1")
    here.wait_for("Epoch 2, 48×40")


def test_downloads_are_png_and_named(visit, tmp_path):
    here = visit()
    here.wait_for("Epoch 2")
    block = here.page.locator(".large .pictures .block").nth(1)
    block.hover()
    with here.page.expect_download() as caught:
        block.get_by_label("Download").click()
    assert caught.value.suggested_filename == "epoch-0002_as_night.png"
    caught.value.save_as(tmp_path / "got.png")
    with Image.open(tmp_path / "got.png") as image:
        assert image.format == "PNG" and image.info["cyclegan:epoch"] == "2"


INPUT = "document.querySelector('.large .pictures > :first-child img')"
MEAN = (
    f"() => {{ const image = {INPUT}, canvas = document.createElement('canvas');"
    " canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;"
    " const pen = canvas.getContext('2d'); pen.drawImage(image, 0, 0);"
    " const all = pen.getImageData(0, 0, canvas.width, canvas.height).data.filter((_, n) => n % 4 === 0);"
    " return all.reduce((sum, one) => sum + one, 0) / all.length }"
)
"""The mean grey of the input as it is shown."""


def test_a_picture_of_other_values_is_seen_through_a_window(visit, tmp_path):
    run = tmp_path / "deep"
    write_epoch(run, 1, domains=("MR", "CT"), channels_a=1, channels_b=1, range_a="0:4000", range_b="-1000:2000")
    (run / "examples").mkdir()
    for name in ("a_1", "b_1"):
        low, dtype = (0, np.uint16) if name[0] == "a" else (-1000, np.int16)
        tifffile.imwrite(run / "examples" / f"{name}.tif", np.full((40, 48), low + 1000, dtype))
    here = visit(path=f"?run={quote(str(run))}")
    page = here.page
    here.wait_for("Epoch 1, 48×40 pixels")
    here.wait_for_pictures(48, 40)
    note = page.locator(".prose.note").inner_text()
    assert page.evaluate(MEAN) == 64  # 1000 of 0 to 4000.

    def shown(first_is):
        page.wait_for_function(f"() => {INPUT}.complete && ({MEAN})() === {first_is}")

    level, width = (page.get_by_label(f"number input for {name} of MR") for name in ("Level", "Width"))
    level.fill("1000")
    level.press("Enter")
    shown(128)
    assert page.get_by_label("Window of MR").input_value() == "as the sliders stand"
    width.fill("100")
    width.press("Enter")
    level.fill("1050")
    level.press("Enter")
    shown(0)
    page.get_by_label("Window of MR").click()
    page.get_by_role("option", name="whole range").click()
    shown(64)
    assert (level.input_value(), width.input_value()) == ("2000", "4000")
    page.get_by_label("Window of CT").click()
    page.get_by_role("option", name="soft tissue 40/400").click()
    translation = "document.querySelector('.large .pictures > :nth-child(2) img')"
    page.wait_for_function(f"() => {translation}.src.includes('window-')")
    assert page.locator(".prose.note").inner_text() == note  # No network was asked.
    # The window stays for the next picture; its file has the values.
    page.locator(".examples button").nth(1).click()
    page.locator(".large").get_by_text("Looks more like CT than MR").wait_for()
    assert page.get_by_label("Window of CT").input_value() == "soft tissue 40/400"
    with page.expect_download() as download:
        page.locator(".large .with-values a").first.click()
    assert download.value.suggested_filename == "epoch-0001_as_MR.tif"
    assert tifffile.imread(download.value.path()).dtype.kind in "iu"
    # Of 8 bits there is no window.
    here = visit()
    here.wait_for("Epoch 2")
    page = here.page
    assert not page.get_by_label("Window of").count() and not page.locator(".with-values:visible").count()
