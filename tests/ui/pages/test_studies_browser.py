"""The studies' page as its owner sees it."""

import pytest

from tests.ui.pages.test_translate_browser import chromium, visit  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("app")]


@pytest.mark.parametrize("width, height, scheme", [(1280, 900, "light"), (390, 844, "dark")])
def test_the_owner_sees_the_study_and_its_results(visit, width, height, scheme):  # noqa: F811
    here = visit(width, height, scheme, path="studies?key=secret")
    here.page.get_by_role("heading", name="A tiny study").wait_for()
    here.page.get_by_role("heading", name="Results").wait_for()
    link = here.page.get_by_role("link", name="Take part")
    assert link.evaluate("e => e.href").endswith("/study/tiny") and link.get_attribute("target") == "_blank"
    tried = here.page.get_by_role("link", name="Try it: nothing is recorded")
    assert tried.evaluate("e => e.href").endswith("/study/_preview/tiny")
    # Whole addresses, without what the page's own one ends in.
    whole = link.evaluate("e => e.href")
    shown = here.page.locator(".links code").all_inner_texts()
    assert shown == [whole + end for end in ("?participant=ID", "?PROLIFIC_PID={{%PROLIFIC_PID%}}", "")]
    assert here.page.get_by_text("Only this computer can open these addresses").is_visible()
    here.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    here.page.locator(".links button").first.click()
    here.page.get_by_role("button", name="Copied").wait_for()
    assert here.page.evaluate("navigator.clipboard.readText()") == shown[0]
    assert here.overflow() <= 0


def test_a_study_is_built_from_the_page(visit, app):  # noqa: F811
    here = visit(path="studies")
    here.page.get_by_role("button", name="Build a study").click()
    here.page.get_by_role("textbox", name="Data set").fill(" ")
    here.page.get_by_role("button", name="Build", exact=True).click()
    here.wait_for_notice("name a data set")
    here.page.get_by_role("textbox", name="Data set").fill("streets:count=1,test_count=4,size=40")
    here.page.get_by_role("textbox", name="Name Letters").fill("fresh")
    here.page.get_by_label("Practice trials").fill("1")
    here.page.get_by_label("Test trials").fill("9")
    here.page.get_by_role("button", name="Build", exact=True).click()
    here.wait_for_notice("a session needs")  # Nine trials can't be made of three pictures; the sentence says so.
    here.page.get_by_label("Test trials").fill("2")
    here.page.get_by_role("button", name="Build", exact=True).click()
    here.page.get_by_text("Built in studies/fresh; nothing but").wait_for()
    here.page.get_by_role("heading", name="fresh").wait_for()
    assert (app.work / "studies" / "fresh" / "study.json").is_file()
    here.page.get_by_text("Nobody has taken part yet.").wait_for()


def test_in_korean(visit):  # noqa: F811
    here = visit(390, 844, locale="ko-KR", path="studies")
    here.page.get_by_role("heading", name="결과").wait_for()
    shown = here.page.locator("body").inner_text()
    for said in ("연구", "참여하기", "미리 보기", "복사", "어느 것이 진짜 사진일까요?", "연구 만들기"):
        assert said in shown, said
    assert "__i18n__" not in shown and here.overflow() <= 0
