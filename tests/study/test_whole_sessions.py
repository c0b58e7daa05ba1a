"""A whole session of every preset in Chromium, from consent to code, wide and narrow, in every language."""

import re

import pytest

from cyclegan.errors import StudyError
from cyclegan.locale import LANGUAGES
from cyclegan.study.protocol import PROTOCOLS, protocol
from tests.study.asked import CONSENT, KOREAN_SHA256, QUESTIONS
from tests.study.test_player_browser import QUICK, database, play  # noqa: F401  # fixtures
from tests.ui.pages.test_translate_browser import chromium  # noqa: F401  # a fixture

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("app")]
SIZES = {"wide": {"width": 1280, "height": 900},
         "narrow": {"width": 390, "height": 844, "has_touch": True, "is_mobile": True}}  # fmt: skip
HOW = "하늘\u3000me\u200csky 👩\u200d🚀"
"""What keyboards write: a full-width space, a Persian joiner, a joined emoji. A page break is pasted behind it."""
ASKS = {"consent": CONSENT, "questions": QUESTIONS, "code_declined": "NO"}
FITS = """() => [...document.querySelectorAll('#buttons > *')].every(button => {
  const {top, bottom, left, right, height} = button.getBoundingClientRect();
  return height >= 44 && top >= 0 && left >= 0 && right <= innerWidth && bottom <= innerHeight;
})"""
NEXT = "document.body.classList.contains('open') || document.body.dataset.screen === 'text'"


def few_trials(preset):
    """The options of a short study by a preset's own rules; only times and numbers of trials are smaller."""
    p = PROTOCOLS[preset]
    shown = QUICK | {"feedback_ms": 0} | ({} if p.exposure_ms else {"exposure_ms": 0})
    try:
        protocol(preset, **shown)
    except StudyError:
        shown["exposure_ms"] = p.exposure_ms  # It belongs to other fields of this preset.
    return {**shown, "preset": preset, "practice_trials": min(2, p.practice_trials), "test_trials": 4, "scenes": 60,
            "contact": "ada@example.org"}  # fmt: skip


class Session:
    """A session from the first screen to the last, as the page shows it, whatever its trials ask for.

    Args:
        looked: called with a name at each kind of screen, for whoever wants to see it.
    """

    def __init__(self, game, here, touch, looked=lambda name: None):
        self.game, self.here, self.page, self.touch, self.looked = game, here, here.page, touch, looked
        self.seen = []

    def press(self, locator):
        """Click, or tap where there is no mouse."""
        if self.touch:
            locator.tap()
        else:
            locator.click()

    def check(self, name):
        """Nothing is cut off, buttons can be reached, and the page is in the participant's language."""
        assert self.here.overflow() <= 0, name
        assert self.page.evaluate(FITS), name
        heading = self.page.locator("h1:visible").first.inner_text()
        assert bool(re.search("[가-힣]", heading)) == (self.page.evaluate("document.documentElement.lang") == "ko")
        if name not in self.seen:
            self.seen.append(name)
            self.looked(name)

    def main(self):
        self.press(self.page.locator("#buttons .main"))

    def agree(self):
        self.page.locator(".own").wait_for()
        self.check("consent")
        self.main()  # Nobody agrees by accident.
        self.page.locator("#text .problem:not(:empty)").wait_for()
        assert self.game.store.sessions(self.game.study).empty
        self.press(self.page.locator("label:has(#agree)"))
        self.main()

    def answer_questions(self, name, answers):
        """Fill in the form, whose fields are found by their places."""
        self.page.locator("fieldset").first.wait_for()
        self.check(name)
        for number, value in answers.items():
            field = self.page.locator("fieldset").nth(number)
            if isinstance(value, int):
                self.press(field.locator(".option").nth(value))
            else:
                field.locator("input, textarea").fill(value)
        self.main()
        self.page.locator("fieldset").first.wait_for(state="detached")

    def play(self):
        """Go through instructions, practice and test; a qualification is passed, all else is answered anyhow."""
        answered, study = 0, self.game.study
        total = study.protocol.practice_trials + study.protocol.test_trials
        while answered < total:
            self.here.until(NEXT)
            if self.page.evaluate("document.body.dataset.screen") == "text":
                self.check(self.page.locator("#text h1").inner_text())
                self.main()
                continue
            self.check("trial")
            choice = self.page.locator("#buttons button:not([aria-disabled=true])").first
            if study.protocol.qualification and answered < study.protocol.practice_trials:
                row = self.game.store.sessions(study).iloc[0]
                kind = study.trials(int(row["arm"]), int(row["slot"]))[answered].left.kind
                choice = self.page.locator(f"#buttons button[value={'real' if kind == 'real' else 'fake'}]")
            number, still = self.here.progress(), True
            while still:  # An answer right after the picture came isn't taken for one.
                self.press(choice)
                still = self.page.evaluate("document.body.classList.contains('open')")
                still = still and self.here.progress() == number
            answered += 1
            self.game.wait_for_votes(answered)
            self.here.until(f"document.querySelector('.place[data-truth]') || {NEXT}")
            if self.page.locator(".place[data-truth]").count():
                self.check("feedback")
                self.main()

    def whole(self):
        self.agree()
        self.answer_questions("questions", {0: "34", 1: 1, 3: 2})
        self.play()
        self.answer_questions("last question", {0: f"{HOW}\x0c"})
        self.page.locator("#code").wait_for()
        self.check("end")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preset", PROTOCOLS)
def test_a_whole_session(play, preset, size, language):  # noqa: F811
    game = play(asks=ASKS, **few_trials(preset))
    here = game.open(**SIZES[size], locale={"en": "en-US", "ko": "ko-KR"}.get(language, language))
    session = Session(game, here, size == "narrow")
    session.whole()
    p, row = game.study.protocol, game.store.sessions(game.study).iloc[0]
    assert row["completed"] and not row["disqualified"] and row["language"] == language
    assert row["answers"] == {"age": "34", "edits": "Sometimes", "hours": None, "screen": None, "how": HOW}
    assert row["consent_sha256"] == (KOREAN_SHA256 if language == "ko" else CONSENT.sha256)
    assert row["agreed_at"] == row["started_at"]
    assert here.page.locator("#code").inner_text() == row["code"]
    votes = game.votes
    assert len(votes) == p.practice_trials + p.test_trials and not votes["resumed"].any()
    assert len(here.page.evaluate("[...window.places]")) <= 1 + (p.task == "tag")
    if p.exposure_ms:
        assert votes["exposure_left_ms"].notna().all()


def test_declined_reread_saved_and_reloaded(play, tmp_path):  # noqa: F811
    """What a participant can do with the consent, besides agreeing to it; and a form that a reload doesn't empty."""
    link = "https://panel.example/done?cc={code}&who={participant}"
    game = play(asks=ASKS, completion_url=link, practice_trials=0, test_trials=1)
    here = game.open("?participant=ada lovelace", width=390, height=844)
    page, session = here.page, Session(game, here, False)
    page.locator(".own").wait_for()
    assert page.title() == "A tiny study" and "<script>" in page.locator(".own").inner_text()
    assert page.locator(".own a").evaluate_all("all => all.map(e => e.getAttribute('href'))") == [
        "mailto:ada@example.org", "https://example.org/study"
    ]  # fmt: skip
    page.keyboard.press("Enter")  # Alone it must not agree.
    here.press("한국어")
    page.locator(".own h2").get_by_text("거리 사진").wait_for()
    here.press("English")
    page.locator(".own h2").get_by_text("Pictures of streets").wait_for()
    here.press("No, thanks")
    here.title("That's fine")
    assert page.locator("#code").inner_text() == "NO"
    back = page.get_by_role("link", name="Finish at panel.example")
    assert back.get_attribute("href") == "https://panel.example/done?cc=NO&who=ada%20lovelace"
    here.press("Back")
    assert game.store.sessions(game.study).empty  # Who declines leaves nothing.
    session.agree()
    page.locator("fieldset").first.wait_for()
    here.press("Continue")
    assert page.locator(".problem:not(:empty)").all_inner_texts() == ["Please answer this question."] * 2
    page.locator("input[type=number]").first.fill("7")
    page.keyboard.press("Tab")
    assert page.locator(".problem").first.inner_text() == "Please write a number from 18 to 120."
    page.locator("input[type=number]").first.fill("71")
    page.locator(".option").nth(2).click()
    page.reload()
    page.locator("fieldset").first.wait_for()
    assert page.locator("input[type=number]").first.input_value() == "71"
    assert page.locator(".option input").nth(2).is_checked()
    page.locator("#reread").click()
    dialog = page.locator("dialog[open]")
    assert "What you have agreed to" in dialog.inner_text() and "You agreed to this: " in dialog.inner_text()
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Save this text").click()
    saved = (tmp_path / "saved.md", download.value.save_as(tmp_path / "saved.md"))[0].read_text()
    assert download.value.suggested_filename == "tiny-consent.md"
    assert CONSENT.text.strip() in saved and "Version 1.2. Ethics approval: EK-2026-07." in saved
    page.keyboard.press("Enter")  # In the dialog, it doesn't press what is behind it.
    page.keyboard.press("Escape")
    here.press("Continue")
    here.title("How it works")
    here.press("Begin")
    here.question()
    assert not page.locator("#reread").is_visible()
    here.answer()
    page.locator("textarea").fill("two\nlines")
    page.locator("textarea").press("Enter")  # Another line, and not the button.
    here.press("Continue")
    here.title("Thank you!")
    assert game.store.sessions(game.study).iloc[0]["answers"]["how"] == "two\nlines"
