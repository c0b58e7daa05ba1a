"""Every sentence that a visitor can see has its translation; the templates are read from the code that says them."""

import ast
import io
import re

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from cyclegan.errors import message
from cyclegan.locale import LANGUAGES, catalogue, catalogue_path, entries, in_language
from cyclegan.locale.extract import ENGLISH_ONLY, ROOT, error_names, said, sources, templates, updated

NAMES = {
    "ab", "answers", "apache-2.0", "auth", "auto", "av", "AVIF", "ba", "binary", "both", "build", "cc-by-4.0",
    "checkpoint.json", "commit_sha", "completion_url", "CONFIG", "config.json", "count", "cyclegan", "cyclegan2017",
    "datasets", "Enter", "entries", "epoch-0001", "epoch-0012", "every", "Face", "FID", "FILE", "format_version", "GB",
    "gen_ab.safetensors", "gen_ba.safetensors", "Git", "git", "H.264", "HEIC", "hf", "HF_ENDPOINT",
    "HF_HUB_OFFLINE", "hf_oauth", "HF_TOKEN", "https", "Hub", "hub", "Hugging", "huggingface_hub", "ID", "id",
    "imageA", "imageB", "import", "install", "JavaScript", "JPEG", "JSON", "key", "KID", "L1", "LAB", "last",
    "left_out.txt", "LFS", "lfs", "login", "LPIPS", "MB", "MiB", "mit", "mkv", "mp4", "ms", "MTurk", "ngf", "none",
    "other", "PASSWORD@HOST/NAME", "pedestrian_a", "pedestrian_b", "pickle", "pip", "PNG", "png", "PostgreSQL",
    "postgresql", "presentation", "Prolific", "psycopg", "pull", "PyAV", "python", "qualification", "README",
    "README.md", "real_real_share", "resize", "resize_crop", "runs/imported", "runs/maps", "seed", "SHA-256",
    "sides", "single", "size", "source", "space", "Space", "SQLite", "sqlite", "SSIM", "streets", "streets@epoch-0012",
    "study", "study.json", "STUDY_KEY", "SVG", "test_count", "testA", "testB", "train", "trainA", "trainB",
    "translate", "transport", "true", "uint8", "USER", "USER/NAME", "USER/NAME@epoch-0012", "USER/NAME@REVISION",
    "UTC", "vigilance_pass", "vigilance_share", "votes.sqlite3", "webm", "x256", "zip",
}  # fmt: skip
"""Names that stay as they are in Korean, like flags."""
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


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_entry_names_its_file_and_the_files_are_in_order(language):
    with open(catalogue_path(language), encoding="utf-8") as file:
        found = [(entry.id, path) for entry in read_po(file) if entry.id for path, _ in entry.locations]
    assert dict(found) == NEEDED and len(found) == len(NEEDED)
    assert [path for _, path in found] == sorted(path for _, path in found)


def test_modules_of_english_only_exist():
    assert [name for name in ENGLISH_ONLY if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_template_is_a_literal_where_it_is_said(path):
    """An f-string can't be found in a catalogue."""
    if path.suffix == ".js":
        return
    glued = [
        ast.unparse(argument) for argument in said(ast.parse(path.read_text(encoding="utf-8")), error_names())
        if isinstance(argument, (ast.JoinedStr, ast.BinOp))
    ]  # fmt: skip
    assert glued == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("cyclegan/ui/**/*.js")), ids=lambda path: path.name)
def test_what_is_found_in_scripts_is_what_babel_finds(path):
    """tests/study/test_page.py has the same for the player."""
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
    assert new.startswith("# Korean.\n") and "#. note\n#: x.py\nmsgid" in new and "#: y.py\n" in new
    assert "#, fuzzy\nmsgid" in updated(new.replace('msgid "b"', '#, fuzzy\nmsgid "b"'), {"b": "x.py"})
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
        words = re.findall(r"[A-Za-z][\w./@-]*\w", re.sub(r"\{[^}]*\}|--[\w-]+", " ", korean, flags=re.ASCII), re.ASCII)
        assert set(words) <= NAMES, korean


def test_values_that_are_sentences_are_translated_too():
    inner = message("{name} has no epoch that can be read", name="maps")
    said = message("{problem} (and {count} more like this)", problem=inner, count=2)
    assert in_language(said, "ko") == "maps에 읽을 수 있는 에폭이 없습니다 (그 밖에 2건)"
    assert in_language(said, "en") == "maps has no epoch that can be read (and 2 more like this)"
    assert in_language(message("nobody has translated this"), "ko") == "nobody has translated this"
