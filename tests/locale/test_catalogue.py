"""Every sentence that a visitor can see has its translation; the templates are read from the code that says them."""

import ast
import io
import re

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from cyclegan.errors import message
from cyclegan.locale import LANGUAGES, catalogue, catalogue_path, entries, in_language
from cyclegan.locale.extract import ARGUMENT, COMMAND_LINE_ONLY, ROOT, error_names, sources, templates, updated

NAMES = {
    "AVIF", "CONFIG", "FID", "Face", "Git", "GB", "H.264", "HEIC", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN", "Hub",
    "Hugging", "ID", "JPEG", "JSON", "KID", "L1", "LAB", "LFS", "LPIPS", "MB", "MTurk", "PNG", "Prolific", "PyAV",
    "SSIM", "STUDY_KEY", "SVG", "Space", "USER/NAME", "USER/NAME@epoch-0012", "UTC", "ab", "av", "ba", "both",
    "checkpoint.json", "config.json", "cyclegan", "datasets", "entries", "epoch-0001", "epoch-0012", "format_version",
    "from", "gen_ab.safetensors", "gen_ba.safetensors", "git", "hf", "auth", "login", "hub", "huggingface_hub", "id",
    "import", "install", "key", "left_out.txt", "lfs", "mkv", "mp4", "ms", "ngf", "output", "pickle", "pip",
    "force-reinstall", "pull", "python", "runs/imported", "runs/maps", "streets", "streets@epoch-0012", "testA",
    "testB", "train", "trainA", "trainB", "translate", "webm", "zip",
}  # fmt: skip
"""Names that stay as they are in Korean."""
KOREAN = catalogue("ko")
NEEDED = templates()


def places(template):
    """Names of a template's places, with their conversions, such as `name` and `name!r`."""
    return set(re.findall(r"\{(\w+(?:![rsa])?)", template.replace("{{", "")))


# --- code and catalogue -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_template_has_its_korean(path):
    """For a new sentence, `python docs/generate.py` adds the entry; its Korean is for a person to write."""
    where = path.relative_to(ROOT).as_posix()
    assert [template for template, file in NEEDED.items() if file == where and template not in KOREAN] == []


def test_no_translation_is_of_a_sentence_that_no_code_says():
    text = catalogue_path("ko").read_text(encoding="utf-8")
    assert sorted(entries(text).keys() - NEEDED.keys()) == []


def test_modules_of_the_command_line_exist():
    files = [path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.py"), *ROOT.glob("[ch]*/**/*.py"))]
    assert [name for name in COMMAND_LINE_ONLY if not any(file.startswith(name) for file in files)] == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_template_is_a_literal_where_it_is_said(path):
    """An f-string can't be found in a catalogue."""
    if path.suffix == ".js":
        return
    glued, errors = [], error_names()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            place = ARGUMENT.get(name, 0 if name in errors else None)
            if place is not None and len(node.args) > place:
                said = node.args[place]
                glued += [ast.unparse(said)] if isinstance(said, (ast.JoinedStr, ast.BinOp)) else []
    assert glued == []


@pytest.mark.parametrize(
    "path", [path for path in sources() if path.suffix == ".js"], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_what_is_found_in_scripts_is_what_babel_finds(path):
    found = extract("javascript", io.BytesIO(path.read_bytes()), keywords={"say": None})
    assert {text for _, text, _, _ in found} <= NEEDED.keys()


# --- the catalogue itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_the_catalogue_is_read_as_babel_reads_it(language):
    with open(catalogue_path(language), encoding="utf-8") as file:
        catalog = read_po(file, abort_invalid=True)
    assert {entry.id: entry.string for entry in catalog if entry.id} == entries(
        catalogue_path(language).read_text(encoding="utf-8")
    )
    # Babel takes a % for a place of Python's other formats.
    wrong = [errors for entry, errors in catalog.check() if "%" not in entry.id]
    assert str(catalog.locale) == language and wrong == []


def test_fuzzy_empty_and_long_entries():
    text = (
        'msgid ""\nmsgstr ""\n"Language: ko\\n"\n\n#, fuzzy\nmsgid "a"\nmsgstr "b"\n\n'
        'msgid ""\n"one \\"two\\""\nmsgstr "\\n"\n"둘"\n\n#: x.py\nmsgid "empty"\nmsgstr ""\n'
    )
    assert entries(text) == {"a": "", 'one "two"': "\n둘", "empty": ""}


def test_an_update_adds_and_drops_and_keeps_the_rest():
    head = '# Korean.\nmsgid ""\nmsgstr ""\n"Language: ko\\n"\n\n'
    text = head + '#. note\nmsgid "b"\nmsgstr "ㄴ"\n\nmsgid "old"\nmsgstr "x"\n'
    new = updated(text, {"b": "x.py", 'say "{what}"\n': "y.py"})
    assert entries(new) == {"b": "ㄴ", 'say "{what}"\n': ""}
    assert new.startswith("# Korean.\n") and "#. note\n" in new and "#: y.py\n" in new
    assert updated(new, {"b": "x.py", 'say "{what}"\n': "y.py"}) == new


def test_korean_sentences_are_whole():
    particle = re.compile(r"\}['’”)]?(은|는|이|가|을|를|과|와|으로|로|이나|나|이라|라)(?![가-힣])")
    for english, korean in KOREAN.items():
        assert places(english) == places(korean), english
        assert not particle.search(korean), f"the particle depends on the name: {korean}"
        if english[0].islower() or not english.endswith((".", ":")):
            assert not korean.endswith("."), f"the pages end it: {korean}"


def test_no_english_is_left_in_korean():
    for korean in KOREAN.values():
        words = re.findall(r"[A-Za-z][\w./@-]*\w", re.sub(r"\{[^}]*\}", " ", korean), re.ASCII)
        assert set(words) <= NAMES, korean


def test_values_that_are_sentences_are_translated_too():
    inner = message("{name} has no epoch that can be read", name="maps")
    said = message("{problem} (and {count} more like this)", problem=inner, count=2)
    assert in_language(said, "ko") == "maps에 읽을 수 있는 에폭이 없습니다 (그 밖에 2건)"
    assert in_language(said, "en") == "maps has no epoch that can be read (and 2 more like this)"
    assert in_language(message("nobody has translated this"), "ko") == "nobody has translated this"
