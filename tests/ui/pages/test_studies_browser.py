"""The studies' page as its owner sees it."""

import json

import pytest

from tests.ui.pages.test_translate_browser import chromium, visit  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("app")]

BUILT_MS = 300_000
"""A build loads torch in a process of its own, which takes seconds on a quiet machine and minutes on a busy one."""


@pytest.mark.parametrize("width, height, scheme", [(1280, 900, "light"), (390, 844, "dark")])
def test_the_owner_sees_the_study_and_its_results(visit, width, height, scheme):  # noqa: F811
    here = visit(width, height, scheme, path="studies?key=secret")
    here.page.get_by_role("heading", name="A tiny study").wait_for()
    here.page.get_by_role("heading", name="Results").wait_for()
    link = here.page.get_by_role("link", name="Take part")
    assert link.evaluate("e => e.href").endswith("/study/tiny") and link.get_attribute("target") == "_blank"
    tried = here.page.get_by_role("link", name="Try it: nothing is recorded")
    assert tried.evaluate("e => e.href").endswith("/study/_preview/tiny")
    way = here.page.locator(".ways a").all_inner_texts()
    assert way == ["Try it: nothing is recorded", "Take part: it is recorded"]
    # Whole addresses, without what the page's own one ends in.
    whole = link.evaluate("e => e.href")
    shown = here.page.locator(".to-copy code[data-path]").all_inner_texts()
    assert shown == [whole + end for end in ("?participant=ID", "?PROLIFIC_PID={{%PROLIFIC_PID%}}", "")]
    only_here = here.page.locator(".only-here")
    assert only_here.is_visible() and "Only this computer can open the addresses below" in only_here.inner_text()
    assert only_here.bounding_box()["y"] < here.page.get_by_text("?participant=ID").bounding_box()["y"]
    commands = only_here.locator("code").all_inner_texts()
    assert commands[0].endswith("--host 0.0.0.0") and "hub space USER/NAME" in commands[1]
    here.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    here.page.locator(".to-copy code[data-path] + button").first.click()
    here.page.get_by_role("button", name="Copied").wait_for()
    assert here.page.evaluate("navigator.clipboard.readText()") == shown[0]
    assert here.overflow() <= 0


def test_a_study_is_built_from_the_page(visit, app):  # noqa: F811
    here = visit(path="studies")
    here.page.get_by_role("button", name="Build a study").click()
    problem, dataset = here.page.locator(".built").get_by_role("alert"), "streets:count=1,test_count=4,size=40"
    here.page.get_by_role("textbox", name="Data set").fill(" ")
    here.page.get_by_role("textbox", name="Name Letters").fill("fresh")
    here.page.get_by_role("button", name="Build", exact=True).click()
    problem.filter(has_text="name a data set").wait_for()
    here.page.get_by_role("textbox", name="Data set").fill(dataset)
    here.page.get_by_role("button", name="Protocol, number of trials").click()
    here.page.get_by_label("Practice trials").fill("1")
    here.page.get_by_label("Test trials").fill("9")
    here.page.get_by_role("button", name="Build", exact=True).click()
    problem.filter(has_text="--practice_trials 1 --test_trials 3").wait_for(timeout=BUILT_MS)
    # It is no notice that vanishes, and all that was typed is there.
    assert not here.page.locator(".toast-body").count() and here.overflow() <= 0
    assert here.page.get_by_role("textbox", name="Name Letters").input_value() == "fresh"
    assert here.page.get_by_role("textbox", name="Data set").input_value() == dataset
    here.page.get_by_role("button", name="Build with 1 practice trial and 3 test trials").click()
    here.page.get_by_text("Built in studies/fresh; nothing but").wait_for(timeout=BUILT_MS)
    here.page.get_by_role("heading", name="Real or fake?").wait_for()
    assert not problem.count() and here.page.get_by_label("Test trials").input_value() == "3"
    study = json.loads((app.work / "studies" / "fresh" / "study.json").read_text())
    assert (study["protocol"]["practice_trials"], study["protocol"]["test_trials"]) == (1, 3)
    here.page.get_by_text("Nobody has taken part yet.").wait_for()
    # All of the page is about the new study, not only the choice at its top.
    links = here.page.locator(".study-card .ways a").evaluate_all("all => all.map(e => e.getAttribute('href'))")
    assert links and all(link.endswith("/fresh") for link in links), links


def test_in_korean(visit):  # noqa: F811
    here = visit(390, 844, locale="ko-KR", path="studies")
    here.page.get_by_role("heading", name="결과").wait_for()
    shown = here.page.locator("body").inner_text()
    for said in ("연구", "참여하기", "미리 보기", "복사", "어느 것이 진짜 사진일까요?", "연구 만들기"):
        assert said in shown, said
    assert "__i18n__" not in shown and here.overflow() <= 0
