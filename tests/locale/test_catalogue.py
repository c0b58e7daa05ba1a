"""Every sentence that a visitor can see has its translation; the templates are read from the code that says them."""

import ast
import io
import re
import subprocess
import sys

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from cyclegan import locale
from cyclegan.errors import message
from cyclegan.locale import LANGUAGES, catalogue, catalogue_path, entries, in_language, in_script, translate
from cyclegan.locale.extract import ENGLISH_ONLY, ROOT, error_names, said, sources, templates, updated

NAMES = {
    "ab", "answers", "apache-2.0", "auth", "auto", "av", "AVIF", "ba", "binary", "both", "build", "cc-by-4.0", "DATA",
    "checkpoint.json", "commit_sha", "completion_url", "CONFIG", "config.json", "count", "cyclegan", "cyclegan2017",
    "darktable-cli", "datasets", "DICOM", "docs/data.md", "Enter", "entries", "epoch-0001", "epoch-0012", "every",
    "Face", "FID", "FILE", "format_version", "frames", "GB", "gen_ab.safetensors", "gen_ba.safetensors", "Git",
    "git", "H.264", "HEIC", "hf", "HF_ENDPOINT", "HF_HUB_OFFLINE", "hf_oauth", "HF_TOKEN", "https", "Hub", "hub",
    "Hugging", "huggingface_hub", "ID", "id", "imageA", "imageB", "import", "install", "JavaScript", "JPEG",
    "JSON", "key", "KID", "L1", "LAB", "last", "left_out.txt", "LFS", "lfs", "login", "LPIPS", "MB", "MiB", "mit",
    "mkv", "gif", "mp4", "ms", "MTurk", "NCE", "ngf", "none", "NumPy", "other", "PASSWORD@HOST/NAME", "pedestrian_a",
    "pedestrian_b", "phantoms", "pickle", "Pillow", "pip", "pix2pix", "PNG", "png", "PostgreSQL", "postgresql",
    "presentation", "Prolific", "psycopg", "pull", "PyAV", "pydicom", "python", "qualification", "RAW", "rawpy",
    "README", "README.md", "real_real_share", "resize", "resize_crop", "RGB", "runs/imported", "runs/maps", "seed",
    "SHA-256", "sides", "single", "size", "source", "Space", "space", "SQLite", "sqlite", "SSIM", "streets",
    "streets@epoch-0012", "study", "study.json", "STUDY_KEY", "SVG", "test_count", "testA", "testB", "TIFF",
    "sequences", "train", "trainA", "trainB", "translate", "transport", "true", "uint8", "USER", "USER/NAME",
    "USER/NAME@epoch-0012", "USER/NAME@REVISION", "UTC", "vigilance_pass", "vigilance_share", "votes.sqlite3",
    "webm", "x256", "zip", "NIfTI",
    "dB", "FCN", "GcGAN", "Inception", "IoU", "NDB", "PSNR", "RMSE",  # Scores.
    "color", "false", "label_domain", "name", "null", "sky", "void",  # In classes.json.
    "always_valid", "closed", "open", "planned_participants", "results",
    "exposure_ms", "least_exposure_ms", "most_exposure_ms", "step_down_ms", "step_up_ms",
    "nii.gz", "tif", "tar", "all", "cyclegan-workbench", "pylibjpeg", "volumes",  # Files of values.
}  # fmt: skip
"""Names that stay as they are in Korean, like flags."""
KOREAN = catalogue("ko")
NEEDED = templates()


def forms(translation):
    """The texts of an entry: one, or those of a counted sentence."""
    return list(translation.values()) if isinstance(translation, dict) else [translation]


def singular(entry_id):
    return entry_id if isinstance(entry_id, str) else entry_id[0]


def places(template):
    """Names of a template's places, with their conversions, such as `name` and `name!r`."""
    return set(re.findall(r"\{(\w+(?:![rsa])?)", template.replace("{{", "")))


# --- code and catalogue -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_template_has_its_korean(path):
    """For a new sentence, `python docs/generate.py` adds the entry; its Korean is for a person to write."""
    where = path.relative_to(ROOT).as_posix()
    assert [each for each, file in NEEDED.items() if file == where and singular(each) not in KOREAN] == []


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
        ast.unparse(argument) for call in said(ast.parse(path.read_text(encoding="utf-8")), error_names())
        for argument in call if isinstance(argument, (ast.JoinedStr, ast.BinOp))
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
    assert {singular(entry.id): entry.string for entry in catalog if entry.id} == {
        template: tuple(said.values()) if isinstance(said, dict) else said
        for template, said in entries(catalogue_path(language).read_text(encoding="utf-8")).items()
    }
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


# --- counts -------------------------------------------------------------------------------------------------

POLISH = """
msgid ""
msgstr ""
"Language: pl\\n"
"Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<12 || n%100>14) ? 1 : 2);\\n"

msgid "one file in {zip}"
msgid_plural "{n:,} files in {zip}"
msgstr[0] "jeden plik w {zip}"
msgstr[1] "{n} pliki w {zip}"
msgstr[2] "{n} plików w {zip}"

msgid "{n} empty"
msgid_plural "{n} empties"
msgstr[0] "x"
msgstr[1] ""
msgstr[2] ""
"""


def test_a_count_chooses_the_form_by_the_rules_of_the_language(monkeypatch, tmp_path):
    """The file's header numbers the forms; a language with several is as easy as one with one."""
    counts = 1, 2, 5, 12, 22, 1000, 1.5
    files = [message("one file in {zip}", "{n:,} files in {zip}", n, zip="a.zip") for n in counts]
    assert [str(each).split()[0] for each in files] == ["one", "2", "5", "12", "22", "1,000", "1.5"]
    assert str(files[1]) == "2 files in a.zip"
    po = tmp_path / "pl" / "LC_MESSAGES" / "cyclegan.po"
    po.parent.mkdir(parents=True)
    po.write_text(POLISH)
    monkeypatch.setattr(locale, "FOLDER", tmp_path)
    polish = [each.text(translate("pl")).split()[1] for each in files]
    assert polish == ["plik", "pliki", "plików", "plików", "pliki", "plików", "plików"]  # Gettext counts whole things.
    lacking = [in_language(message("{n} empty", "{n} empties", n), "pl") for n in (1, 2)]
    assert lacking == ["1 empty", "2 empties"], "an entry with an empty form isn't translated yet"
    catalogue.cache_clear()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_korean_has_one_form(number):
    assert in_language(message("{n} fake", "{n} fakes", number), "ko") == f"가짜 사진 {number}장"


def test_a_sentence_has_one_plural():
    assert len({singular(each) for each in NEEDED}) == len(NEEDED)
    for one, several in (each for each in NEEDED if not isinstance(each, str)):
        assert places(one) <= places(several) | {"n"}, one


def test_english_needs_no_babel():
    """Babel comes with the app; the command line works without it."""
    code = (
        "import sys; sys.modules['babel'] = None\n"
        "from cyclegan.errors import message; from cyclegan.locale import in_language\n"
        "print(in_language(message('{n} picture', '{n} pictures', 1), 'en'), message('{n} picture', '{n} pictures', 2))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1 picture 2 pictures\n"


def test_an_update_keeps_and_adds_plurals():
    head = '# Korean.\nmsgid ""\nmsgstr ""\n"Language: ko\\n"\n"Plural-Forms: nplurals=1; plural=0;\\n"\n\n'
    new = updated(head, {("{n} cat", "{n} cats"): "x.py", "dog": "x.py"})
    assert 'msgid "{n} cat"\nmsgid_plural "{n} cats"\nmsgstr[0] ""\n' in new
    filled = new.replace('msgstr[0] ""', 'msgstr[0] "고양이 {n}마리"')
    assert entries(filled)["{n} cat"] == {"other": "고양이 {n}마리"}
    assert updated(filled, {("{n} cat", "{n} cats"): "x.py", "dog": "x.py"}) == filled
    assert "고양이" not in updated(filled, {("{n} cat", "{n} kittens"): "x.py"}), "another sentence"


NOUNS = (
    "answers|blocks|bytes|checkpoints|commits|epochs|fakes|files|frames|hours|images(?!/s)|layers|lengths|minutes|others|"
    "pairs|participants|people|pictures|points|processes|reals|scenes|seconds|sessions|sizes|steps|stimuli|tags|threads|times|"
    "trials|votes"
)
VERBS = "are|had|has|have|hold|holds|is|need|of|one|over|takes|to|use|was|were|with|would"
A_COUNT = re.compile(rf"\{{\}}(?: (?!(?:{VERBS})\b)[a-z-]+){{0,3}}? (?:{NOUNS})\b")
NEVER_ONE = (
    "bytes can't be padded", "{size} bytes, too many", "{most:,} bytes", "{size:,} bytes", "{most:,} files",  # Limits.
    "{max_seconds:g} seconds", "{frames:,} frames, the limit", "{frames:,} frames, you can send",
    "{count:,} pictures are more than", "{count} checkpoints are more than", "{least} to {most} epochs",
    "{count} steps in a row", "this run has {epoch} epochs already",  # More than it was asked for.
    "{self.kind} has {self.length(split)}", "{COMMITS_PER_HOUR} commits an hour",
    "{count} sizes ({first}", "{kind} pictures use", "{count} more {kind} trials",
    "{duration:.1f} seconds",  # More than one; a decimal.
    "f'{processes} processes on", "f'{arrow} with {count} checkpoints", "{arrow} with {count} checkpoints",  # Asked.
    "'{count} hours'", "'{count} minutes'", "All {epochs} epochs: {time}",  # Below two, in a smaller unit.
    "all {len(contrasts)} contrasts", "'points_per_step']):.1f} points",
)  # fmt: skip
"""Parts of sentences whose number is never one thing."""


def sentences(tree):
    """Every text of a module that is no docstring, as it stands in the code, without those of a plural."""
    plural = {
        node for call in ast.walk(tree) if isinstance(call, ast.Call) and len(call.args) > 2 for node in call.args[1:-1]
    }
    for choice in (node for node in ast.walk(tree) if isinstance(node, ast.IfExp)):  # `… if count == 1 else …`
        if isinstance(choice.test, ast.Compare) and ast.unparse(choice.test.comparators[0]) == "1":
            plural |= {*ast.walk(choice.body), *ast.walk(choice.orelse)}
    inside = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {
        node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
    }
    about = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    left_out = plural | inside | about
    for node in ast.walk(tree):
        if node not in left_out and isinstance(node, (ast.JoinedStr, ast.Constant)):
            text = ast.unparse(node)
            if isinstance(node, ast.JoinedStr):
                yield text, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            elif isinstance(node.value, str):
                yield text, re.sub(r"\{\w*[^}]*\}", "{}", node.value)


@pytest.mark.parametrize("folder", ["cyclegan", "hub", "app.py", "train_accelerate.py"])
def test_every_count_has_a_singular(folder):
    """Give the plural as a second template and the number as a third argument, or use `number_of` for English alone."""
    paths = [ROOT / folder] if folder.endswith(".py") else sorted((ROOT / folder).rglob("*.py"))
    found = [
        f"{path.name}: {text}" for path in paths
        for text, plain in sentences(ast.parse(path.read_text(encoding="utf-8")))
        if A_COUNT.search(plain) and not any(part in text for part in NEVER_ONE)
    ]  # fmt: skip
    assert found == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("cyclegan/**/*.js")), ids=lambda path: path.name)
def test_every_count_of_a_script_has_a_singular(path):
    alone = [each for each in in_script(path.read_text(encoding="utf-8")) if isinstance(each, str)]
    assert [text for text in alone if A_COUNT.search(re.sub(r"\{\w+\}", "{}", text))] == []


def test_korean_sentences_are_whole():
    particle = re.compile(r"\}['’”)]?(은|는|이|가|을|를|과|와|으로|로|이나|나|이라|라)(?![가-힣])")
    plurals = dict(each for each in NEEDED if not isinstance(each, str))
    for english, korean in ((english, form) for english, found in KOREAN.items() for form in forms(found)):
        assert places(plurals.get(english, english)) == places(korean), english
        assert not particle.search(korean), f"the particle depends on the name: {korean}"
        if english[0].islower() or not english.endswith((".", ":")):
            assert not korean.endswith("."), f"the pages end it: {korean}"


def test_no_english_is_left_in_korean():
    for korean in (form for found in KOREAN.values() for form in forms(found)):
        words = re.findall(r"[A-Za-z][\w./@-]*\w", re.sub(r"\{[^}]*\}|--[\w-]+", " ", korean, flags=re.ASCII), re.ASCII)
        assert set(words) <= NAMES, korean


def test_values_that_are_sentences_are_translated_too():
    inner = message("{name} has no epoch that can be read", name="maps")
    said = message("{problem} (and {count} more like this)", problem=inner, count=2)
    assert in_language(said, "ko") == "maps에 읽을 수 있는 에폭이 없습니다 (그 밖에 2건)"
    assert in_language(said, "en") == "maps has no epoch that can be read (and 2 more like this)"
    assert in_language(message("nobody has translated this"), "ko") == "nobody has translated this"
