"""The participants' page as it is served: its modules, its version, and its words in every language."""

import io
import json
import re

import pytest
from babel.messages.extract import extract

from cyclegan import locale
from cyclegan.locale import LANGUAGES, catalogue
from cyclegan.study import page

SCRIPTS = sorted(page.FOLDER.glob("*.js"))


@pytest.fixture
def uncached(monkeypatch):
    """Files and version are computed again in the test and after it."""
    cached = page.files, page.version, page._compressed
    for function in cached:
        function.cache_clear()
    yield
    monkeypatch.undo()
    for function in cached:
        function.cache_clear()


def test_babel_finds_the_templates_that_the_page_is_given():
    found = set()
    for script in SCRIPTS:
        keywords = {"say": {None: (1,), 3: (1, 2)}}
        messages = extract("javascript", io.BytesIO(script.read_bytes()), keywords=keywords)
        found |= {said if isinstance(said, str) else said[0] for _, said, _, _ in messages}
    assert found == set(page.templates()) and len(found) > 110


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_template_is_a_literal_where_it_is_said(script):
    calls = re.findall(r"(?<!function )\bsay\((.)", re.sub(r"^\s*//.*", "", script.read_text(encoding="utf-8")))
    assert set(calls) <= {'"'}


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_sentence_is_translated_with_the_same_places(language):
    known = catalogue(language)
    assert [template for template in page.templates() if template not in known] == []
    words = json.loads(page.files()[f"words.{language}.json"])
    assert words == {template: known[template] for template in page.templates()}
    plurals = dict(each for script in SCRIPTS for each in locale.in_script(script.read_text(encoding="utf-8"))
                   if not isinstance(each, str))  # fmt: skip
    said = [
        (plurals.get(english, english), form) for english, found in words.items()
        for form in (found.values() if isinstance(found, dict) else [found])
    ]  # fmt: skip
    assert len(plurals) > 8
    for english, translation in said:
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", translation)), english
        if language == "ko":
            assert re.search("[가-힣]", translation) and not re.search("[가-힣]", english), english


def test_no_script_imports_in_a_circle_or_what_is_not_there():
    imports = {
        script.name: re.findall(r'^(?:import|\}) .*from "\./(.+)";', script.read_text(encoding="utf-8"), re.MULTILINE)
        for script in SCRIPTS
    }
    done = set()
    while ready := {name for name, needed in imports.items() if name not in done and set(needed) <= done}:
        done |= ready
    assert done == set(imports)
    assert all(len(script.read_text(encoding="utf-8").splitlines()) <= 150 for script in SCRIPTS)


def test_the_version_is_of_all_files(monkeypatch, uncached):
    before = page.version()
    files = {**page.files(), "words.ko.json": b"{}"}
    monkeypatch.setattr(page, "files", lambda: files)
    page.version.cache_clear()
    assert page.version() != before


def test_another_language_is_a_catalogue_and_an_entry(monkeypatch, tmp_path, uncached):
    """Nothing else knows which languages there are."""
    catalogue("ko")  # It is read from the real folder.
    po = tmp_path / "xx" / "LC_MESSAGES" / "cyclegan.po"
    po.parent.mkdir(parents=True)
    po.write_text(
        'msgid ""\nmsgstr "Language: en\\n"\n\nmsgid "Begin"\nmsgstr "Go"\n\n'
        'msgid "JavaScript is off"\nmsgstr "No scripts"\n'
    )
    monkeypatch.setattr(locale, "FOLDER", tmp_path)
    monkeypatch.setattr(page, "LANGUAGES", (*LANGUAGES, "xx"))
    assert json.loads(page.files()["words.xx.json"]) == {"Begin": "Go"}
    content = page.page("A study").body.decode()
    assert f'data-languages="{" ".join(LANGUAGES)} xx"' in content and '<h1 lang="xx">No scripts</h1>' in content


def test_the_page_names_all_its_modules_so_that_they_come_at_once():
    content = page.page("A <study>").body.decode()
    named = re.findall(r'(?:src|href)="static/([0-9a-f]{16})/([\w.]+)"', content)
    assert {version for version, _ in named} == {page.version()}
    assert {name for _, name in named} == {"player.css", *(script.name for script in SCRIPTS)}
    assert "A &lt;study&gt;" in content and "$" not in content
