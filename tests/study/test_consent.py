"""The consent in the owner's words: its file, its elements, and that nothing in it runs."""

import hashlib
import time

import pytest

from cyclegan.errors import StudyError
from cyclegan.study.consent import MAX_CHARS, Consent, read_consent

HOSTILE = """# Hello <b>you</b>

<script>alert(1)</script> <img src=x onerror=alert(2)> [run](javascript:alert(3)) [data](data:text/html,x)
[JS](JaVaScRiPt:alert(4)) <javascript:alert(5)> [ok](https://a.example/x?y=1 "title")

<div onclick="alert(6)">

&lt;b&gt; and `<i>`

    <script>alert(7)</script>

<!-- hidden -->
"""


def elements(parts):
    for part in parts:
        if isinstance(part, dict):
            yield part
            yield from elements(part["parts"])


def words(parts):
    return "".join(part if isinstance(part, str) else words(part["parts"]) for part in parts)


def test_markdown_becomes_a_tree_of_known_elements():
    text = "# Title\n\nRead **this** and *that*.\\\nBye, see https://a.example/b_c.\n\n3. three\n4. four\n\n"
    text += "> quoted\n\n---\n"
    blocks = Consent(text).blocks_of(text)
    assert [block["tag"] for block in blocks] == ["h2", "p", "ol", "blockquote", "hr"]
    assert [each["tag"] for each in elements(blocks[1]["parts"])] == ["strong", "em", "br", "a"]
    assert blocks[2]["start"] == 3 and words(blocks[2]["parts"]) == "threefour"
    assert next(each for each in elements(blocks) if each["tag"] == "a")["href"] == "https://a.example/b_c"


def test_nothing_in_it_runs():
    found = list(elements(Consent(HOSTILE).blocks_of(HOSTILE)))
    allowed = {"tag", "parts", "href", "start"}
    assert all(set(each) <= allowed for each in found)
    assert {each["tag"] for each in found} <= {"h2", "p", "a", "code", "pre"}
    assert [each["href"] for each in found if "href" in each] == ["https://a.example/x?y=1"]
    said = words(Consent(HOSTILE).blocks_of(HOSTILE))
    for shown in ("<script>alert(1)</script>", "<b>you</b>", "<div onclick", "<!-- hidden -->", "<b> and <i>"):
        assert shown in said, shown  # As text: participants see what the owner wrote.


def test_plain_text_keeps_its_lines_and_stars():
    text = "Do *not* run.\nTwo\n\n# no heading, ask a.b@c.example!"
    blocks = Consent(text, "txt").blocks_of(text)
    assert [words(block["parts"]) for block in blocks] == ["Do *not* run.Two", "# no heading, ask a.b@c.example!"]
    assert [each["tag"] for each in elements(blocks)] == ["p", "br", "p", "a"]
    assert next(each for each in elements(blocks) if each["tag"] == "a")["href"] == "mailto:a.b@c.example"


def test_its_hash_is_that_of_the_file(tmp_path):
    path = tmp_path / "consent.md"
    path.write_text("Ich stimme zu. 동의합니다.\n", encoding="utf-8")
    consent = read_consent(path, version="2", ethics="EK 7")
    assert consent.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (consent.version, consent.ethics, consent.format) == ("2", "EK 7", "md")
    path.write_bytes(b"\xef\xbb\xbfIch stimme zu.\r\n")
    assert read_consent(path).text == "Ich stimme zu.\n"


def test_translations_are_files_named_after_their_language(tmp_path):
    for name, text in (("consent.md", "Yes."), ("consent.ko.md", "네."), ("ko.md", "네."), ("consent.ko.txt", "네.")):
        (tmp_path / name).write_text(text)
    consent = read_consent(tmp_path / "consent.md", translations=[tmp_path / "consent.ko.md"])
    assert consent.translations == {"ko": "네."} and list(consent.hashes) == ["", "ko"]
    assert Consent(**consent.to_json()) == consent
    assert consent.shown["texts"]["ko"]["sha256"] == hashlib.sha256("네.".encode()).hexdigest()
    for name in ("ko.md", "consent.ko.txt", "consent.md"):
        with pytest.raises(StudyError, match="isn't named after its language: name translations as in consent.ko.md"):
            read_consent(tmp_path / "consent.md", translations=[tmp_path / name])


@pytest.mark.parametrize(("name", "content", "said"), [
    ("consent.docx", b"PK", "isn't Markdown or plain text: save the consent as .md or .txt"),
    ("missing.md", None, "can't be read"),
    ("latin.txt", "Übung".encode("latin-1"), "isn't UTF-8"),
    ("empty.md", b" \n", "has no text"),
    ("long.md", b"x" * (MAX_CHARS + 1), "20,001 characters"),
    ("nul.txt", b"a\0b", "U+0000"),
    ("picture.md", b"![a flower](http://a.example/f.png)", "can't show pictures: remove ![a flower]"),
])  # fmt: skip
def test_bad_files_get_a_sentence(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StudyError, match=".") as caught:
        read_consent(tmp_path / name)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["x" * MAX_CHARS, "x.-+" * (MAX_CHARS // 4), "a@" * (MAX_CHARS // 2)])
def test_long_words_take_no_time(text):
    began = time.process_time()
    assert Consent(text, "txt").blocks_of(text)
    assert time.process_time() - began < 0.5  # Seconds, where each letter as a beginning takes several.


@pytest.mark.parametrize("values", [{"version": "x" * 101}, {"ethics": "a\nb"}, {"format": "html"}, {"text": 7},
                                    {"translations": {"xx": "a"}}, {"translations": ["a"]},
                                    {"translations": {"ko": ""}}])
def test_what_a_damaged_study_may_hold(values):
    with pytest.raises(StudyError):
        Consent(**{"text": "Yes.", **values})
