"""The study's page in Chromium, as a participant meets it: what is seen, what is measured, what is recorded."""

import re
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from cyclegan.study import server
from cyclegan.study.staircase import next_exposure
from tests.ui.pages.test_translate_browser import Visit, chromium  # noqa: F401  # a fixture

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("app")]
WAIT_S = 300
QUICK = {"exposure_ms": 60, "blank_ms": 20, "feedback_ms": 300}
LOST = re.compile("Failed to load resource: net::ERR_(INTERNET_DISCONNECTED|FAILED)")
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of 4(01|09|10)")

WATCH = """
// Independent of the page's own clock: what is drawn and when, what is on the canvases, and where everything lies.
window.drawn = []; window.shown = []; window.places = new Set(); window.order = [];
const record = (context, what) => {
  const side = context.canvas.closest?.('.place')?.dataset.side;
  if (side && (what !== 'nothing' || window.drawn.findLast(entry => entry[0] === side)?.[1] === 'picture')) {
    window.drawn.push([side, what, document.timeline.currentTime]);
  }
};
const {drawImage, clearRect} = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.drawImage = function (image, ...rest) {
  record(this, image instanceof ImageBitmap ? 'picture' : 'mask');
  return drawImage.call(this, image, ...rest);
};
CanvasRenderingContext2D.prototype.clearRect = function (...rest) {
  record(this, 'nothing');
  return clearRect.call(this, ...rest);
};
const open = [null, null];
const look = now => {
  const canvases = document.querySelectorAll('.place canvas');
  canvases.forEach((canvas, index) => {
    const there = canvas.getContext('2d').getImageData(3, 3, 1, 1).data[3] > 0;
    if (there && open[index] === null) { open[index] = now; window.order.push([index, 'on']); }
    if (!there && open[index] !== null) {
      window.shown.push([index, now - open[index]]); open[index] = null; window.order.push([index, 'off']);
    }
  });
  if (document.body?.dataset.screen === 'trial') {
    window.places.add(JSON.stringify(['header', '#question', '#stage', '.place', '#said', '#buttons'].map(selector => {
      const box = document.querySelector(selector).getBoundingClientRect();
      return [box.x, box.y, box.width, box.height];
    })));
  }
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


@pytest.fixture
def database(tmp_path):
    return f"sqlite:///{tmp_path / 'votes.sqlite3'}"


class Player(Visit):
    """A participant's page."""

    def __init__(self, page, url):
        self.base = url
        page.add_init_script(WATCH)
        super().__init__(page, url)
        page.set_default_timeout(1000 * WAIT_S)

    def until(self, script):
        """Until an expression is true; the page's policy forbids what `wait_for_function` does."""
        end = time.monotonic() + WAIT_S
        while not self.page.evaluate(script):
            assert time.monotonic() < end, script
            self.page.wait_for_timeout(15)

    def title(self, text):
        self.page.locator("#text h1").get_by_text(text, exact=True).wait_for()

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def start(self):
        self.press("I am 18 or older and take part")
        self.press("Begin")

    def question(self):
        """Until an answer is awaited."""
        self.page.locator("body.open").wait_for()

    def answer(self, key="ArrowLeft"):
        self.question()
        self.page.keyboard.press(key)

    def answer_all(self, count, key="ArrowLeft"):
        for _ in range(count):
            self.answer(key)

    def progress(self):
        return self.page.locator("#progress").inner_text()


class Study:
    """A study that is played, and what it has recorded."""

    def __init__(self, study, store, url, open_page):
        self.study, self.store, self.url, self._open = study, store, url, open_page

    def open(self, query="?participant=ada", **options) -> Player:
        return self._open(self.url + query, **options)

    @property
    def votes(self):
        return self.store.votes(self.study)

    def wait_for_votes(self, count):
        end = time.monotonic() + WAIT_S
        while len(self.votes) < count:
            assert time.monotonic() < end
            time.sleep(0.03)


@pytest.fixture
def play(chromium, small_study, store):  # noqa: F811
    """Serve a tiny study; whatever a test does, nothing may leave the host and nothing may be complained of, but what
    `forgiven` matches."""
    contexts, pages, running = [], [], []

    def open_page(url, width=1280, height=900, scheme="light", locale="en-US", context=None, **options):
        if context is None:
            context = chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, locale=locale, **options
            )  # fmt: skip
            contexts.append(context)
        pages.append(Player(context.new_page(), url))
        return pages[-1]

    def serve(log_in=None, preview=False, **options):
        study = small_study(**{**QUICK, **options})
        app = server.make_app([study], store_of=lambda _: store, login=log_in, preview=preview)
        listening = socket.create_server(("127.0.0.1", 0))
        web = uvicorn.Server(uvicorn.Config(
            Starlette(routes=[Mount("/study", app)]), log_config=None, access_log=False, lifespan="off",
            timeout_graceful_shutdown=1,
        ))  # fmt: skip
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((web, thread, listening))
        return Study(study, store, f"http://127.0.0.1:{listening.getsockname()[1]}/study/{study.name}", open_page)

    serve.forgiven = re.compile("(?!)")
    yield serve
    try:
        for context in contexts:
            context.close()
    finally:  # A browser that crashed must not leave a server running beside the next tests.
        for web, thread, listening in running:
            web.should_exit = True
            thread.join()
            listening.close()
    for here in pages:
        assert [url for url in here.requests if urlsplit(url).netloc != urlsplit(here.base).netloc
                and urlsplit(url).scheme != "data"] == []
        assert [said for said in here.complaints if not serve.forgiven.search(said)] == []


# --- whole sessions -----------------------------------------------------------------------------------------


def test_a_session_by_mouse(play):
    game = play(
        test_trials=3, feedback_ms=1500, completion_code="THANKS-42",
        completion_url="https://panel.example/done?cc={code}", show_score="yes",
    )  # fmt: skip
    here = game.open()
    here.title("Would you like to take part?")
    said = here.page.locator("#text").inner_text()
    for word in ("5 pairs", "about a minute", "participant id in your link", "salted hash", "voluntary", "screen",
                 "A short code of it", "sets no cookies"):  # fmt: skip
        assert word in said, word
    here.press("No, thanks")
    here.title("That's fine")
    here.press("Back")
    assert game.store.sessions(game.study).empty
    here.start()
    for number in (1, 2):
        here.question()
        assert here.progress() == f"Practice: {number} of 2"
        here.page.get_by_role("button", name="Left").click()
        here.page.locator(".place[data-truth]").first.wait_for()
        here.until("!document.querySelector('.place[data-truth]') || performance.getEntriesByType('resource')"
                   f".filter(e => e.name.includes('/stimulus/')).length == {2 * number + 2}")  # The next ones, already.
        truth = here.page.locator(".place").evaluate_all("all => all.map(e => e.dataset.truth)")
        assert sorted(truth) == ["fake", "real"]
        right = truth[0] == "real"
        told = here.page.locator("#said").inner_text()
        assert told.startswith("✓ Correct." if right else "✗ Not quite.")
        assert told.endswith(f"on the {'left' if right else 'right'}.")
    here.title("Practice is over")
    here.press("Continue")
    for number in range(1, 4):
        here.question()
        assert here.progress() == f"{number} of 3"
        here.page.locator(".place").nth(1).click()  # The place itself is an answer, too.
    here.title("Thank you!")
    assert "You return to panel.example in " in here.page.locator("#countdown").inner_text()
    here.press("Stay here")
    assert not here.page.locator("#countdown").count()
    assert len(here.page.evaluate("[...window.places]")) == 1  # Nothing has moved.
    votes = game.votes
    assert list(votes.chosen_side) == ["left"] * 2 + ["right"] * 3 and votes.completed.all()
    assert not votes.stacked.any() and set(votes.picture_css_px) == set(votes.picture_device_px) == {320}
    correct = (votes.chosen_side == votes.real_side)[2:].sum()
    times = "once" if correct == 1 else f"{correct} times"
    assert f"You were right {times} out of 3." in here.page.locator("#text").inner_text()
    here.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    here.press("Copy")
    here.page.get_by_role("button", name="Copied").wait_for()
    assert here.page.evaluate("navigator.clipboard.readText()") == "THANKS-42"
    link = here.page.get_by_role("link", name="Finish at panel.example")
    assert link.get_attribute("href") == "https://panel.example/done?cc=THANKS-42"
    session = game.store.sessions(game.study).iloc[0]
    assert (session.participant, session.language) == ("ada", "en")
    assert session.screen["width"] == 1280 and 20 < session.screen["refresh_hz"] < 260
    # Whoever comes back is thanked again, and after ten seconds returns by themselves.
    here.page.route("https://panel.example/**", lambda route: route.fulfill(body="welcome back"))
    here.page.add_init_script("const slow = setInterval; window.setInterval = (f, ms) => slow(f, ms / 50);")
    here.page.reload()
    here.page.wait_for_url("https://panel.example/done?cc=THANKS-42")
    here.requests.remove("https://panel.example/done?cc=THANKS-42")  # And nothing else has left this computer.


def test_a_session_by_thumb_in_korean(play):
    game = play(test_trials=3)
    here = game.open("", width=390, height=844, scheme="dark", locale="ko-KR", has_touch=True, is_mobile=True,
                     device_scale_factor=3)  # fmt: skip
    here.title("연구에 참여하시겠습니까?")
    assert here.page.evaluate("document.documentElement.lang") == "ko"
    here.page.get_by_role("button", name="만 18세 이상이며 참여합니다").tap()
    assert here.page.locator("#text li").count() == 6  # Nothing of keys, where there are none.
    here.page.get_by_role("button", name="시작하기").tap()
    for number in range(5):
        here.question()
        if number == 0:
            first, second = (here.page.locator(".place").nth(n).bounding_box() for n in (0, 1))
            assert first["x"] == second["x"] and first["y"] + first["height"] < second["y"]
            assert first["width"] > 270 and first["width"] == second["width"], "as large as fits"
            for button in here.page.locator("#buttons button").all():
                box = button.bounding_box()
                assert box["height"] >= 48 and box["y"] > 700 and box["y"] + box["height"] <= 844
        here.page.get_by_role("button", name="위쪽" if number % 2 else "아래쪽").tap()
        if number == 1:
            here.title("연습이 끝났습니다")
            here.page.get_by_role("button", name="계속하기").tap()
        assert here.overflow() <= 0
    here.title("감사합니다!")
    assert "완료 코드" in here.page.locator("#text").inner_text()
    assert len(here.page.evaluate("[...window.places]")) == 1
    votes = game.votes
    assert list(votes.chosen_side) == ["right", "left"] * 2 + ["right"] and votes.stacked.all()
    assert votes[["window_width", "window_height"]].drop_duplicates().values.tolist() == [[390, 844]]
    assert votes.picture_css_px.tolist() == pytest.approx([first["width"]] * 5, abs=0.1)
    assert votes.picture_device_px.tolist() == pytest.approx([3 * first["width"]] * 5, abs=0.2)
    assert game.store.sessions(game.study).iloc[0].language == "ko"
    assert game.votes.participant[0].startswith("anonymous-")
    here.page.get_by_role("button", name="English").tap()
    here.title("Thank you!")


MINUTES = """async () => {
  const { say } = await import(document.querySelector('link[href*="/words.js"]').href);
  return [0, 1, 2].map(n => say("It takes about a minute.", "It takes about {n} minutes.", { n }));
}"""
"""A counted sentence, as the page's own modules put it."""


def test_no_other_language_is_seen_before_the_words_arrive(play):
    play.forgiven = LOST
    here = play(practice_trials=0).open("", locale="ko-KR")
    here.title("연구에 참여하시겠습니까?")
    assert here.page.evaluate(MINUTES) == ["0분쯤 걸립니다.", "1분쯤 걸립니다.", "2분쯤 걸립니다."]
    here.press("English")
    here.title("Would you like to take part?")
    counted = ["It takes about 0 minutes.", "It takes about a minute.", "It takes about 2 minutes."]
    assert here.page.evaluate(MINUTES) == counted
    here.press("한국어")
    here.title("연구에 참여하시겠습니까?")
    held = []
    here.page.route("**/words.ko.json", lambda route: held.append(route), times=1)
    here.page.reload()
    here.page.wait_for_timeout(700)
    assert len(held) == 1 and here.page.locator("body").inner_text().split() == ["A", "tiny", "study", "English"]
    held[0].abort()  # They are asked for again.
    here.title("연구에 참여하시겠습니까?")


def test_a_session_by_keyboard_alone(play):
    game = play(test_trials=3, feedback_ms=0)
    here = game.open()
    here.title("Would you like to take part?")
    here.page.keyboard.press("Enter")
    here.title("Would you like to take part?")  # Enter alone agrees to nothing.
    for _ in range(6):
        here.page.keyboard.press("Tab")
        if here.page.evaluate("document.activeElement.textContent") == "I am 18 or older and take part":
            break
    assert here.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    here.page.keyboard.press("Enter")
    here.title("How it works")
    assert "← left, → right" in here.page.locator("#text").inner_text()
    here.page.keyboard.press("Enter")
    for key in ("ArrowLeft", "ArrowRight"):
        here.answer(key)
        here.page.get_by_role("button", name="Continue").wait_for()  # With feedback_ms 0 it waits to be read.
        here.page.keyboard.press("Enter")
    here.title("Practice is over")
    here.page.keyboard.press("Enter")
    here.question()
    for key in ("ArrowUp", "ArrowDown", "a", "Enter", " "):
        here.page.keyboard.press(key)  # None of them is an answer here.
    for key in ("ArrowRight", "ArrowLeft", "ArrowRight"):
        here.answer(key)
    here.title("Thank you!")
    assert list(game.votes.chosen_side) == ["left", "right", "right", "left", "right"]


SEEN = """() => [...document.querySelectorAll('.place canvas')].map(canvas => {
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return data.some(Boolean) ? data.join() : null;
})"""
"""What is on the canvases; null where nothing is."""
KEEP_WHAT_IS_DRAWN = """
window.pictures = [];
const {drawImage: before} = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.drawImage = function (image, ...rest) {
  before.call(this, image, ...rest);
  if (image instanceof ImageBitmap && this.canvas.closest('.place')) {
    window.pictures.push(this.getImageData(0, 0, this.canvas.width, this.canvas.height).data.join());
  }
};
"""


@pytest.mark.parametrize("mask", [True, False])
def test_feedback_shows_the_pictures_again_but_in_practice_alone(play, mask):
    game = play(test_trials=2, mask=mask, question="fake", feedback_ms=0)
    here = game.open(width=390, height=844)
    here.page.add_init_script(KEEP_WHAT_IS_DRAWN)
    here.page.reload()
    here.press("I am 18 or older and take part")
    here.title("How it works")
    assert ("pattern" in here.page.locator("#text").inner_text()) == mask
    here.press("Begin")
    for number in range(2):
        here.question()
        shown = here.page.evaluate("window.pictures")[4 * number:]
        assert len(set(shown)) == 2
        answered = here.page.evaluate(SEEN)
        assert not set(answered) & set(shown) and (None in answered) != mask
        here.answer()
        here.page.locator(".place[data-truth]").first.wait_for()
        assert here.page.evaluate(SEEN) == shown
        fake = here.page.locator(".place[data-truth=fake]").get_attribute("data-side")
        assert here.page.locator("#said").inner_text().endswith(
            "The fake was the upper one." if fake == "left" else "The fake was the lower one."
        )
        here.press("Continue")
    here.title("Practice is over")
    here.press("Continue")
    here.answer_all(2)
    here.title("Thank you!")
    assert len(here.page.evaluate("window.pictures")) == 2 * 4 + 2 * 2  # The test's are drawn once.


def test_a_server_in_trouble_is_asked_again_for_the_pictures(play):
    play.forgiven = re.compile(f"{REFUSED.pattern}|status of 503")
    game = play(practice_trials=0, test_trials=1)
    here = game.open()
    answers = []

    def busy(route):
        place = len(answers)
        if place == 2:
            route.continue_()
            return
        answers.append(None)  # The other picture may be asked for while this one is fetched.
        answers[place] = route.fetch().status  # The address is used up, and the picture doesn't come.
        route.fulfill(status=503, headers={"retry-after": "0"}, json={"error": "busy", "message": "Come again."})

    here.page.route("**/stimulus/*", busy)  # Not `times`: playwright then lets go of requests that are being handled.
    here.start()
    here.answer()
    here.title("Thank you!")
    assert answers == [200, 200] and len(game.votes) == 1


def test_feedback_after_a_reload_has_no_pictures_to_show(play):
    game = play(test_trials=1, mask=True, feedback_ms=0)
    here = game.open()
    here.start()
    here.question()
    here.page.reload()
    here.press("Continue")
    here.question()
    here.page.wait_for_timeout(350)
    here.answer()
    here.page.locator(".place[data-truth]").first.wait_for()
    assert here.page.evaluate(SEEN) == [None, None]


def batched(values):
    """Two by two."""
    return zip(values[::2], values[1::2], strict=True)


# --- time ---------------------------------------------------------------------------------------------------


def test_exposure_is_within_a_frame_of_plan(play):
    game = play(practice_trials=0, test_trials=50, scenes=104, exposure_ms=100, blank_ms=0)
    here = game.open()
    here.start()
    here.answer_all(50)
    here.title("Thank you!")
    votes = game.votes
    period = 1000 / game.store.sessions(game.study).iloc[0].screen["refresh_hz"]
    # What the page says it has measured is from the frame that drew to the frame that cleared, ...
    drawn = here.page.evaluate("window.drawn")
    for side, told in (("left", votes.exposure_left_ms), ("right", votes.exposure_right_ms)):
        times = [at for where, _, at in drawn if where == side]
        assert len(times) == 100 and abs(told - [off - on for on, off in batched(times)]).max() < 1
    assert (votes.exposure_left_ms == votes.exposure_right_ms).all()
    # ... and what a look at the pixels finds in each frame; that sees a change a frame late, for better or worse.
    shown = [ms for side, ms in here.page.evaluate("window.shown") if side == 0]
    assert (abs(votes.exposure_left_ms - shown) <= period + 1).mean() >= 0.9
    # A machine that drops a frame can't keep the plan, and says so by its longest frame.
    smooth = votes[votes.longest_frame_ms < 1.5 * period]
    assert len(smooth) >= 40
    assert abs(smooth.exposure_left_ms - 100).max() <= period
    assert abs(smooth.exposure_left_ms - smooth.exposure_left_clock_ms).max() <= period
    assert abs(smooth.frames * period - smooth.exposure_left_ms).max() <= period
    assert not votes.focus_lost.any() and not votes.resumed.any()
    assert (votes.response_ms >= 0).all() and (votes.server_ms >= votes.exposure_left_ms + votes.response_ms).all()


BUSY = """() => {
  const {drawImage} = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.drawImage = function (image, ...rest) {
    if (this.canvas.closest?.('.place')) for (const end = performance.now() + 100; performance.now() < end;);
    return drawImage.call(this, image, ...rest);
  };
}"""


def test_a_page_too_busy_to_draw_is_seen_by_the_clock(play):
    game = play(practice_trials=0, test_trials=2, exposure_ms=500)
    here = game.open()
    here.start()
    here.answer()
    here.page.evaluate(BUSY)  # Each picture is drawn 100 ms late, and the frames' times don't show it.
    here.answer()
    here.title("Thank you!")
    on_time, late = game.votes.exposure_right_clock_ms
    assert abs(on_time - 500) < 50 and late < 440


def test_a_window_that_is_too_small_is_asked_to_grow_before_anything_is_shown(play):
    game = play(practice_trials=0, test_trials=2, least_px=200)
    here = game.open(width=390, height=440)
    here.title("The pictures need more room")
    assert "open the link on a larger screen" in here.page.locator("#text").inner_text()
    go = here.page.get_by_role("button", name="Continue")
    assert go.is_disabled()
    here.page.set_viewport_size({"width": 390, "height": 844})
    here.page.get_by_text("That is large enough.").wait_for()
    assert go.is_enabled()
    here.press("Continue")
    here.start()
    here.question()
    here.page.set_viewport_size({"width": 320, "height": 400})
    here.answer()  # This trial has been shown already; the next one isn't.
    here.title("The pictures need more room")
    here.page.wait_for_timeout(200)
    assert len(game.votes) == 1 and len(here.page.evaluate("window.drawn.filter(d => d[1] == 'picture')")) == 2
    here.page.set_viewport_size({"width": 844, "height": 440})  # The phone is turned.
    here.page.get_by_text("That is large enough.").wait_for()
    here.press("Continue")
    here.answer("ArrowRight")
    here.title("Thank you!")
    votes = game.votes
    assert list(votes.chosen_side) == ["left", "right"] and list(votes.stacked) == [True, False]
    assert (votes.picture_css_px >= 200).all()


def test_all_screens_can_show_pictures_at_one_scale(play):
    game = play(practice_trials=0, test_trials=1, device_scale=6, least_px=0)
    for name, factor, width in (("ada", 1, 1280), ("bob", 3, 390)):
        here = game.open(f"?participant={name}", width=width, height=844, device_scale_factor=factor)
        here.start()
        here.answer("ArrowLeft")
        here.title("Thank you!")
    assert game.votes.picture_device_px.tolist() == pytest.approx([96, 96], abs=0.2)


def test_pictures_in_sequence_are_masked(play):
    game = play(presentation="sequence", mask=True, practice_trials=0, test_trials=2)
    here = game.open()
    here.start()
    here.question()
    drawn = [entry for entry in here.page.evaluate("window.drawn") if entry[1] != "nothing"]
    assert [entry[:2] for entry in drawn] == [
        ["left", "picture"], ["left", "mask"], ["right", "picture"], ["right", "mask"]
    ]  # fmt: skip
    assert drawn[2][2] - drawn[1][2] >= 15  # The blank between them.
    here.answer_all(2)
    here.title("Thank you!")
    assert abs(game.votes[["exposure_left_ms", "exposure_right_ms"]] - 60).max().max() < 51


def test_a_page_that_goes_out_of_sight_takes_the_pictures_away(play):
    game = play(practice_trials=0, test_trials=1, exposure_ms=20_000)
    here = game.open()
    here.start()
    here.until("window.order.length == 2")
    here.page.evaluate("""() => {
      Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});
      document.dispatchEvent(new Event('visibilitychange'));
      delete document.hidden;
    }""")
    here.answer()
    here.title("Thank you!")
    vote = game.votes.iloc[0]
    assert vote.focus_lost and vote.exposure_left_ms < 15_000


# --- interruptions ------------------------------------------------------------------------------------------


def test_a_reload_resumes_and_shows_nothing_twice(play):
    play.forgiven = LOST
    game = play(practice_trials=0, test_trials=3, exposure_ms=150)
    here = game.open()
    here.start()
    here.answer()
    here.until("window.order.length >= 6")  # On, off, and on again.
    here.page.reload()
    here.title("Welcome back")
    assert "2 of 3" in here.page.locator("#text").inner_text()
    here.press("Continue")
    here.question()
    assert "answer from memory" in here.page.locator("#said").inner_text()
    here.page.wait_for_timeout(350)  # The click of before must not answer.
    assert here.page.evaluate("window.order.length") == 0
    here.page.route("**/reveal", lambda route: route.abort())  # The next trial is not shown yet.
    with here.page.expect_request("**/reveal"):
        here.answer()
    here.page.reload()
    here.title("Welcome back")
    here.page.unroute("**/reveal")
    here.press("Continue")
    here.until("window.order.length >= 2")
    here.answer("ArrowRight")
    here.title("Thank you!")
    votes = game.votes
    assert list(votes.resumed) == [False, True, False] and list(votes.chosen_side) == ["left", "left", "right"]
    assert votes.exposure_left_ms.isna().tolist() == [False, True, False]


def test_a_lost_connection_loses_no_vote(play):
    play.forgiven = LOST
    game = play(practice_trials=0, test_trials=3)
    here = game.open()
    here.start()
    here.question()
    here.page.context.set_offline(True)
    here.answer()
    here.page.locator("#notice").get_by_text("Your answer is kept").wait_for()
    assert game.votes.empty
    here.page.context.set_offline(False)
    # The answer arrives, and its acknowledgement is lost: it is sent again, and is one vote.
    lost = []

    def lose_reply(route):
        lost.append(route.fetch().status)
        route.abort()

    here.page.route("**/vote", lose_reply, times=1)
    here.answer("ArrowRight")
    # The same with a picture: it is had once, so new addresses are asked for.
    here.page.route("**/stimulus/*", lose_reply, times=1)
    here.answer("ArrowRight")
    here.title("Thank you!")
    assert lost == [200, 200]
    assert list(game.votes.chosen_side) == ["left", "right", "right"]
    assert here.page.locator("#notice").inner_text() == ""
    play.forgiven = re.compile(f"{LOST.pattern}|{REFUSED.pattern}")


def test_a_vote_that_was_on_its_way_at_a_reload_is_sent_again(play):
    play.forgiven = LOST
    game = play(practice_trials=0, test_trials=2)
    here = game.open()
    here.start()
    here.page.route("**/vote", lambda route: route.abort())
    here.answer("ArrowRight")
    here.page.locator("#notice").get_by_text("Your answer is kept").wait_for()
    here.page.unroute("**/vote")
    here.page.reload()
    here.title("Welcome back")
    assert "2 of 2" in here.page.locator("#text").inner_text()
    assert list(game.votes.chosen_side) == ["right"] and not game.votes.resumed.any()


def test_double_clicks_are_one_vote(play):
    game = play(practice_trials=0, test_trials=3, exposure_ms=0)
    here = game.open()
    here.start()
    here.question()
    here.page.wait_for_timeout(200)
    here.page.get_by_role("button", name="Left").dblclick()
    game.wait_for_votes(1)
    here.question()
    here.page.wait_for_timeout(200)
    assert here.progress() == "2 of 3" and len(game.votes) == 1
    for _ in range(2):
        here.page.evaluate("document.querySelector('#buttons button').click()")
    game.wait_for_votes(2)
    here.question()
    assert here.progress() == "3 of 3" and len(game.votes) == 2


def test_two_windows(play):
    play.forgiven = REFUSED
    game = play(practice_trials=0, test_trials=3)
    first = game.open()
    first.start()
    first.question()
    second = game.open(context=first.page.context)
    second.title("Welcome back")
    first.answer()
    first.title("The study continues in another window")
    assert game.votes.empty
    second.press("Continue")
    second.page.wait_for_timeout(350)
    second.answer("ArrowRight")
    game.wait_for_votes(1)
    second.question()
    first.press("Continue here")
    first.page.wait_for_timeout(350)
    first.answer("ArrowRight")
    second.answer()
    second.title("The study continues in another window")
    first.answer("ArrowRight")
    first.title("Thank you!")
    assert list(game.votes.chosen_side) == ["right"] * 3


def test_without_storage_the_window_remembers(play):
    game = play(practice_trials=0, test_trials=2)
    here = game.open("?participant=bob")
    here.page.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage'])"
        " Object.defineProperty(window, name, {get() { throw new DOMException('no', 'SecurityError') }})"
    )
    here.page.reload()
    here.start()
    here.answer()
    here.question()
    here.page.reload()
    here.title("Welcome back")


# --- links --------------------------------------------------------------------------------------------------


def test_links_that_lead_nowhere_say_why(play):
    play.forgiven = REFUSED
    game = play(practice_trials=0, test_trials=1)
    here = game.open("?participant=ada&study=other")
    here.page.get_by_text("names a different study").wait_for()
    here = game.open("?workerId=w&assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE")
    here.page.get_by_text("Accept the task first").wait_for()
    here = game.open("?PROLIFIC_PID=pid-1&study=tiny")
    here.start()
    here.answer()
    here.title("Thank you!")
    assert list(game.votes.participant) == ["pid-1"]
    other = game.open("?PROLIFIC_PID=pid-1", locale="ko-KR")  # Another browser.
    other.press("만 18세 이상이며 참여합니다")  # Before that, anyone with an id could ask who has taken part.
    other.press("시작하기")
    other.page.get_by_text("다른 브라우저나 다른 기기에서 사용되었습니다").wait_for()


class Login:
    def attach(self, app):
        pass

    def user(self, request):
        return request.cookies.get("user")

    def url(self, request, back):
        return f"/login?back={back}"


def test_accounts_of_hugging_face(play):
    game = play(Login(), login="huggingface", practice_trials=0, test_trials=1)
    here = game.open("?participant=somebody")
    here.title("Log in to take part")
    link = here.page.get_by_role("link", name="Log in with Hugging Face")
    assert link.get_attribute("href") == "/login?back=/study/tiny"
    here.page.context.add_cookies([{"name": "user", "value": "ada", "url": game.url}])
    here.page.reload()
    here.title("Would you like to take part?")
    said = here.page.locator("#text").inner_text()
    assert "your Hugging Face user name" in said and "no cookies" not in said
    here.start()
    here.answer()
    here.title("Thank you!")
    assert list(game.votes.participant) == ["hf:ada"]
    # Who logs in next in this browser has a session of their own.
    here.page.context.add_cookies([{"name": "user", "value": "bob", "url": game.url}])
    here.page.reload()
    here.title("Would you like to take part?")


def test_a_preview_says_so_throughout_keeps_nothing_and_begins_anew(play):
    game = play(preview=True, practice_trials=0, test_trials=1, completion_code="THANKS-42",
                completion_url="https://example.org/")
    here = game.open("?participant=ada")
    here.title("Would you like to take part?")
    mark = here.page.get_by_text("Preview: nothing is recorded.")
    mark.wait_for()
    here.start()
    here.answer()
    here.title("Thank you!")
    assert mark.is_visible()
    said = here.page.locator("#text").inner_text()
    assert "nothing was recorded" in said and "are stored" not in said
    assert "code" not in said and "THANKS-42" not in said and not here.page.locator("a[href^='https']").count()
    assert here.page.evaluate("localStorage.length + sessionStorage.length") == 0
    back = here.page.get_by_role("link", name="Back to the study's page")
    assert back.get_attribute("href") == f"../../studies?study={game.study.name}"
    here.page.reload()
    here.title("Would you like to take part?")


def test_without_javascript_the_page_says_so(play):
    here = play().open(java_script_enabled=False)
    told = here.page.locator("noscript p")
    assert told.first.is_visible() and "JavaScript" in told.first.inner_text()
    assert [p.get_attribute("lang") for p in told.all()] == ["en", "ko"]


# --- other tasks --------------------------------------------------------------------------------------------


def test_one_picture_at_a_time(play):
    game = play(preset="hype_infinity", exposure_ms=0, qualification=0.0, test_trials=2)
    here = game.open(width=390, height=844)
    here.start()
    for number in range(4):
        here.question()
        here.page.wait_for_timeout(170)
        here.answer("ArrowLeft" if number % 2 else "ArrowRight")
        if number < 2:
            here.page.locator(".place[data-truth]").wait_for()
            here.page.locator("#said").filter(has_text=re.compile(r"\. The picture was")).wait_for()
        if number == 1:
            here.title("Practice is over")
            here.page.keyboard.press("Enter")
    here.title("Thank you!")
    assert list(game.votes.verdict) == ["fake", "real"] * 2
    assert game.votes.exposure_left_ms.isna().all()


def test_a_staircase_shows_each_picture_for_its_own_time(play):
    game = play(
        preset="hype_time", qualification=0.0, practice_trials=0, test_trials=6, exposure_ms=200, staircase_right=1,
        step_down_ms=100, step_up_ms=150, least_exposure_ms=100, most_exposure_ms=500,
    )  # fmt: skip
    here = game.open(width=390, height=844)
    here.press("I am 18 or older and take part")
    here.page.get_by_text("A picture appears for a short time that varies, then disappears.").wait_for()
    here.press("Begin")
    here.answer_all(3)
    game.wait_for_votes(3)
    here.page.reload()
    here.press("Continue")
    for number in range(4, 7):
        here.question()
        here.page.wait_for_timeout(330)  # An answer to a picture that was seen before the reload can't come at once.
        here.answer()
        game.wait_for_votes(number)
    here.title("Thank you!")
    votes = game.votes
    kinds = [game.study.by_hash[sha].kind for sha in votes.left_stimulus]
    right = [kind == verdict for kind, verdict in zip(kinds, votes.verdict, strict=True)]
    assert list(votes.exposure_planned_ms) == [next_exposure(game.study.protocol, right[:n]) for n in range(6)]
    assert len(set(votes.exposure_planned_ms)) > 2
    measured = votes[~votes.resumed]
    assert len(measured) >= 5 and abs(measured.exposure_left_ms - measured.exposure_planned_ms).median() < 51


def test_picking_with_ties(play):
    game = play(preset="pick", exposure_ms=0, test_trials=4)
    here = game.open()
    here.start()
    for press in ("ArrowDown", " ", "ArrowRight", None):
        here.question()
        here.page.wait_for_timeout(170)
        if press:
            here.page.keyboard.press(press)
        else:
            here.page.get_by_role("button", name="No difference").click()
    here.title("Thank you!")
    assert "right" not in here.page.locator("#text").inner_text()  # A preference has no score.
    assert list(game.votes.chosen_side) == ["tie", "tie", "right", "tie"]


@pytest.mark.parametrize("width, locale", [(1280, "en-US"), (390, "ko-KR")])
def test_rating_by_keys_and_by_thumb(play, width, locale):
    game = play(preset="mos", exposure_ms=0, practice_trials=1, test_trials=3)
    here = game.open(width=width, height=844, locale=locale)
    buttons = here.page.locator("#buttons button")
    for _ in range(2):
        buttons.last.click()
        assert "real" not in here.page.locator("#text").inner_text()  # Who rates isn't told.
    for number in range(4):
        here.question()
        here.page.wait_for_timeout(170)
        if number == 0:
            assert here.page.evaluate("document.activeElement.textContent") in ("How good is this picture?",
                                                                               "이 사진의 품질은 어떤가요?")
            boxes = [button.bounding_box() for button in buttons.all()]
            assert len(boxes) == 5 and all(box["height"] >= 44 and box["width"] >= 44 for box in boxes)
            assert all(a["x"] + a["width"] <= b["x"] for a, b in zip(boxes, boxes[1:], strict=False))
            assert buttons.evaluate_all("all => all.every(b => b.scrollWidth <= b.clientWidth)")
            assert here.overflow() <= 0
        if number == 2:
            buttons.nth(1).click()
        else:
            here.page.keyboard.press("9" if number == 1 else "5")
            if number == 1:  # Neither 9 nor a is on the scale.
                here.page.keyboard.press("a")
                assert here.page.locator("body.open").count()
                here.page.keyboard.press("1")
        if number == 0:
            here.title("Practice is over" if width > 390 else "연습이 끝났습니다")
            here.page.keyboard.press("Enter")
    here.title("Thank you!" if width > 390 else "감사합니다!")
    assert game.votes.rating.tolist() == [5, 1, 2, 5] and len(here.page.evaluate("[...window.places]")) == 1


@pytest.mark.parametrize("width, height", [(1280, 900), (390, 844)])
def test_tagging_with_a_box(play, width, height):
    game = play(preset="tag", exposure_ms=0, test_trials=3)
    here = game.open(width=width, height=height)
    here.start()
    here.question()
    here.page.wait_for_timeout(170)
    assert here.page.get_by_role("button", name="Next").is_disabled()
    here.page.get_by_label("Blurred").check()
    here.page.get_by_label("Something missing").check()
    area = here.page.locator(".place").first.bounding_box()
    assert area["width"] >= 240
    at = [(area["x"] + area["width"] * x, area["y"] + area["height"] * y) for x, y in ((0.75, 0.5), (0.25, 0.25))]
    here.page.mouse.move(*at[0])
    here.page.mouse.down()
    here.page.mouse.move(*at[1], steps=3)
    here.page.mouse.up()
    assert here.page.locator(".boxes div").count() == 1 and here.overflow() <= 0
    here.press("Next")
    here.question()
    here.page.wait_for_timeout(170)
    assert here.page.locator("#tags :checked").count() == here.page.locator(".boxes div").count() == 0
    for key in ("1", "7", "1", "Enter"):
        here.page.keyboard.press(key)
    game.wait_for_votes(2)
    here.question()
    here.page.wait_for_timeout(170)
    here.press("Nothing wrong")
    here.title("Thank you!")
    first, second, third = game.votes.marks
    assert first[0] == {"tag": "blur", "box": None} and first[1]["tag"] == "missing"
    assert first[1]["box"] == pytest.approx([0.25, 0.25, 0.5, 0.25], abs=0.01)
    assert (second, third) == ([{"tag": "other", "box": None}], [])
