"""Whatever sentence a visitor can be shown has its Korean: the sentences are read from the code that raises them."""

import ast
import itertools
import re
from pathlib import Path

import pytest
from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import CheckpointError, ImageError
from cyclegan.images import open_image
from cyclegan.ui import common, words
from cyclegan.ui.sentences import KOREAN, OF_THE_HUB, PLACE, WITHIN, in_language
from cyclegan.ui.workbench import Workbench

ROOT = Path(__file__).parents[2]
MODULES = [
    *(ROOT / "cyclegan" / name for name in ("images.py", "checkpoints/format.py", "checkpoints/sources.py")),
    *(ROOT / "cyclegan" / "translation" / f"{name}.py" for name in ("translator", "files", "video", "video_io")),
    *sorted((ROOT / "cyclegan" / "ui").rglob("*.py")),
    *(ROOT / "hub" / name for name in ("source.py", "client.py", "layout.py")),
    *(ROOT / "cyclegan" / name for name in ("study/build.py", "study/format.py", "study/shelf.py",
                                            "commands/study.py", "data/__init__.py", "data/hub.py")),
]  # fmt: skip
ERRORS = {"ImageError", "CheckpointError", "Cancelled", "HubError", "CardError", "StudyError",
          "DataError"}  # fmt: skip
LISTS = {"problems", "left_out"}
"""What is appended to these is shown, too."""
VALUE = "{…}"
SHAPES = (
    "Data sets that are understood have two image columns (e.g. imageA and imageB), two configurations with an image "
    "column each, or one image column and a label with two values"
)

PASSED_ON = {
    # Another error's sentence, which is collected where it is raised.
    "str(error)", "self._masked(str(error))", "failed", "problems[0]", "in_one(problems, say)",
    "said if where in said else said.replace(sha, where)", "str(info)", "lacking(entries[0], direction)",
    "lacking(found[0], direction)",
    # What `python -m cyclegan study build` has said.
    "lines[-1].split('error: ', 1)[-1].strip().removesuffix('.')",
    # See test_a_picture_of_too_many_pixels.
    "_too_large(name).replace(' has', f', {width}×{height}, has', 1)",
}  # fmt: skip
"""Expressions whose text can't be read from the code."""

NOT_FOR_VISITORS = {
    # An upload is always a file; folders are listed for training and by the command line.
    "{…} is a folder: give a picture file",
    "{…} is not a regular file: give a picture file",
    "{…} can't be listed ({…}): give a folder that can be read",
    "{…} is a folder: give a video file",
    "{…} is not a regular file: give a video file",
    # Mistakes of a program.
    "an array of {…} {…} is no picture: give uint8 (H, W, 3)",
    "a tensor {…} is no picture: give (3, H, W) or (1, 3, H, W)",
    "the pictures of a batch differ in size: translate them one by one",
    "a frame of {…}×{…} in a video of {…}×{…}",
    "a smoothing of {…} is not between 0 and 1",
    # There is a newest epoch wherever there is any.
    "{…} has no epoch; it has {…}",
    "{…} has no epoch; it has {…}, …",
    # Another sentence with a name before it, which the table knows.
    "{…}: {…}",
    # Training and evaluation.
    "the picture's shape is too extreme: it would become {…}×{…} pixels, so crop it first",
    "the disk is full: {…} could not be written to {…}. Earlier epochs are intact. Free some space, then run the same "
    "command with --resume auto",
    "{…} could not be written ({…}). Earlier epochs are intact. Make the folder writable, then run the same command "
    "with --resume auto",
    "the training state {…} can't be read ({…})",
    # Frames of a video as a training folder, and a video translated by the command line.
    "there are no frames between --start and --end in {…}: choose other times",
    "there are no frames between --start and --end in {…}, which is {…} seconds long: choose other times",
    "{…} holds pictures of a video named {…} already: remove them, rename the video, or choose another folder",
    "{…} can't be written ({…}): free space or choose another folder",
    "{…} would be overwritten by its own translation: choose another name",
    "{…} was cancelled: nothing was written",
    # Publishing, and importing a single file.
    "{…} can't be a repository's name; use USER/NAME, of letters, digits, '-', '_' and '.'",
    "{…} exists and is public; make it private in its settings, or ask for no private one",
    "{…} was changed by someone else just now; try again",
    "the Hub knows no licence {…}; name one as it does: mit, apache-2.0, cc-by-4.0, other …",
    "the Hub refuses the front matter of README.md ({…}); mend it there",
    "the Hugging Face token can only read; make one that can write at https://huggingface.co/settings/tokens, then run "
    "`hf auth login` or set HF_TOKEN",
    "there is no Hugging Face token; make one that can write at https://huggingface.co/settings/tokens, then run "
    "`hf auth login` or set HF_TOKEN",
    "hub:{…} names no file: use hub:USER/NAME:FILE, or hub:USER/NAME@REVISION:FILE",
    "{…} has no file {…}; look at {…}/tree/{…}",
    # Studies: what the page has no field for, and what ends the program at its start.
    "stimuli of {…}×{…} pixels: choose sides from {…} to {…}",
    "there is no protocol {…}: choose {…}",
    "picking takes two pictures: presentation can't be single",
    "real_real_share is for judging real or fake: leave it out of picking",
    "real_real_share is for pairs: leave it out where pictures are shown one by one",
    "qualification is for judging real or fake: a preference has no right answer",
    "vigilance_pass without a vigilance trial: set vigilance_share",
    "completion_url is {…}: it has to begin with https://",
    "direction is {…}: choose ab or ba",
    "{…} is {…}, which is no {…}",
    "{…} is {…}: choose {…}",
    "{…} is no seed: give a whole number",
    "{…} holds no readable checkpoint: name another with --checkpoints",
    "{…} holds no study: name a folder that `python -m cyclegan study build` has written",
    "{…} is damaged ({…}); build the study again, or get it again",
    "two studies are called {…}: build one of them under another name",
    "--dataset {…} is no name of a folder ({…})",
    # Studies: what the command line checks, plays and reports.
    "{…} is not blind: {…}",
    "{…} has no stimulus {…}",
    "{…} is not what was frozen: get the study again",
    "{…} can't be read ({…}): get the study again",
    "people have taken part in another study called {…} in this database: its study.json was changed, so bring it "
    "back, or build the study under another name",
    # Studies: mistakes of a program.
    "epoch {…} gives {…}×{…} pixels of {…}",
    "the contents are not those of the study's stimuli",
    "stimulus {…} is not described rightly",
    "{…} is no epoch",
    "epoch {…} has no commit_sha or source",
    "a study has two domains, and stimuli of a width and a height",
    "a study needs at least one checkpoint",
    "an epoch is named twice",
    "the data set does not say which real picture shows the same scene: use pairing different, or paired data",
    # Tables of the Hub, which training has to understand first.
    f"{VALUE} has {VALUE} image columns ({VALUE}). {SHAPES}",
    f"{VALUE} has no split {VALUE}, but {VALUE}. {SHAPES}",
    f"{VALUE} has the columns {VALUE}, where one image column was expected. {SHAPES}",
    f"{VALUE} has the columns {VALUE}, and no label with two values. {SHAPES}",
    f"{VALUE} has no training pictures for domain {VALUE}. {SHAPES}",
    "{…} has no pairs: training on pairs needs two image columns of equal length",
    "{…} has no configuration {…}: {…}",
    "{…}-{…}-{…} is empty: remove the row from the data set",
}

NAMES = [
    "python -m cyclegan import --from hub:", "--output runs/imported", "python -m cyclegan import",
    "pip install --force-reinstall av", "git lfs pull", "hf auth login", "USER/NAME", "epoch-", "config.json",
    "checkpoint.json", "gen_ab.safetensors", "gen_ba.safetensors", "format_version", "huggingface_hub",
    "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_TOKEN", "Hugging Face", "Hub", "HEIC", "AVIF", "SVG", "PNG", "JPEG", "Git LFS",
    "LAB", "JSON", "pickle", "ngf", "GB", "MB", "H.264", "PyAV", "mp4", "mkv", "webm", "zip", "entries",
    "https://huggingface.co/settings/tokens", "trainA", "trainB", "train", "CONFIG", "pip install datasets",
]  # fmt: skip
"""What stays as it is in Korean."""


# --- what the code can say ------------------------------------------------------------------------------------


def _names(target):
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


class Module:
    """The sentences in a file's code, each value in them a VALUE."""

    def __init__(self, path):
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.within = {
            inner: node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef) for inner in ast.walk(node)
        }
        """By node the innermost function that it is in: outer functions come first in a walk."""
        self.functions = {node.name: node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)}

    def sentences(self):
        """(text, or None where it can't be read, the expression)."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and node.args and (
                isinstance(node.func, ast.Name) and node.func.id in ERRORS
                or isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "extend")
                and getattr(node.func.value, "id", "") in LISTS
            ):  # fmt: skip
                said = node.args[0].elt if isinstance(node.args[0], ast.GeneratorExp) else node.args[0]
                if isinstance(said, ast.Call) and getattr(said.func, "id", "") == "say":
                    continue  # In the visitor's language already.
                for text in self.texts(said, self.within.get(node)) or [None]:
                    yield text, ast.unparse(said)

    def texts(self, node, function, given=None):
        """What an expression may be, as far as it is written down; [] if nothing of it is.

        Args:
            node: the expression.
            function: that it is in; None: the module.
            given: by name what the function's parameters may be.
        """
        def texts_of(part):
            return self.texts(part, function, given)

        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=parts):
                return self.joined([texts_of(part) or [VALUE] for part in parts])
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                return texts_of(value)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.joined([texts_of(side) or [VALUE] for side in (left, right)])
            case ast.IfExp(body=body, orelse=orelse):
                return [*texts_of(body), *texts_of(orelse)]
            case ast.Name(id=name) if given and name in given:
                return given[name]
            case ast.Name(id=name):
                return self.assigned(name, function) if function else []
            case ast.Call(func=ast.Attribute(attr="_masked"), args=[text]):
                return texts_of(text)
            case ast.Call(func=ast.Name(id=name), args=args) if name in self.functions:
                called = self.functions[name]
                parameters = {each.arg: texts_of(arg) for each, arg in zip(called.args.args, args, strict=False)}
                return self.returned(called, parameters)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)) if name in self.functions:
                return self.returned(self.functions[name], {})
        return []

    def returned(self, function, given):
        """What a function may return."""
        returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
        return [text for value in returns for text in self.texts(value, function, given)]

    def assigned(self, name, function):
        """What a name stands for, by the assignments in the function, else in the module."""
        for place in (ast.walk(function), self.tree.body):
            found = [n for n in place if isinstance(n, ast.Assign) and name in _names(n.targets[0])]
            if any(isinstance(each.targets[0], ast.Tuple) for each in found):
                return []
            if found:
                return [text for each in found for text in self.texts(each.value, function)]
        return []

    @staticmethod
    def joined(parts):
        return ["".join(each) for each in itertools.product(*parts)]


COLLECTED = [(path.relative_to(ROOT).as_posix(), *found) for path in MODULES for found in Module(path).sentences()]
# Of a data set's message the page shows the first line; layouts that are understood follow.
FIRST_LINES = {text.partition("\n")[0].removesuffix(".") for _, text, _ in COLLECTED if text is not None}
TEXTS = FIRST_LINES - {VALUE} | {
    f"entries is a list of checkpoints such as {VALUE}",  # Returned by compare.resolve.
    f"{VALUE}, {VALUE}×{VALUE}, has more than {VALUE} megapixels: make it smaller first",  # Made by str.replace.
}


def filled(text):
    """A sentence with a name of its own for each value, and the names."""
    parts = text.split(VALUE)
    names = [f"«{n}»" for n in range(1, len(parts))]
    return "".join(itertools.chain(*zip(parts, [*names, ""], strict=True))), names


def english_left(text):
    """English words in a Korean sentence that are no names."""
    for name in sorted(NAMES, key=len, reverse=True):
        text = text.replace(name, " ")
    return re.findall(r"[A-Za-z]{2,}", text)


# --- every sentence -------------------------------------------------------------------------------------------


def test_the_code_is_read():
    files = {path for path, text, _ in COLLECTED if text is not None}
    assert {"cyclegan/images.py", "cyclegan/translation/video_io.py", "hub/source.py", "cyclegan/ui/common.py"} <= files
    assert "{…} has more than {…} megapixels: make it smaller first" in TEXTS, "returned by a helper"
    assert "the Hub is out of order ({…}); try again later" in TEXTS, "returned by a method, assigned, masked"
    assert "{…} is in LAB colours, which can't be read here: save it as PNG or JPEG" in TEXTS, "assigned first"
    assert "{…} has sound only: give a video" in TEXTS, "with a word chosen from two"
    assert "{…} is not a picture" in TEXTS, "added to a list"


def test_what_cannot_be_read_from_the_code_is_known():
    unread = {(path, expression) for path, text, expression in COLLECTED if text is None}
    assert {each for each in unread if each[1] not in PASSED_ON} == set()
    assert {expression for _, expression in unread} == PASSED_ON, "an expression that is no longer there"


@pytest.mark.parametrize("text", sorted(TEXTS - NOT_FOR_VISITORS))
def test_a_sentence_has_its_korean(text):
    sentence, names = filled(text)
    korean = in_language(sentence, "ko")
    assert korean != sentence, "add its Korean to cyclegan/ui/sentences.py, or the sentence to NOT_FOR_VISITORS here"
    assert not english_left(korean), korean
    assert [name for name in names if name not in korean] == [], korean
    assert in_language(sentence, "en") == sentence


def test_no_entry_is_left_of_a_sentence_that_is_gone():
    assert NOT_FOR_VISITORS <= TEXTS
    for english, _ in [*KOREAN, *OF_THE_HUB]:
        ours = ".*".join(map(re.escape, re.split(PLACE, english)[::2]))
        assert any(re.search(ours, text) for text in TEXTS), english


def test_the_table_can_be_said():
    particle = re.compile(r"\}['’”)]?(은|는|이|가|을|를|과|와|으로|로|이나|나|이라|라)(?![가-힣])")
    seen = [english for english, _ in [*KOREAN, *OF_THE_HUB, *WITHIN]]
    assert len(seen) == len(set(seen))
    for english, korean in [*KOREAN, *OF_THE_HUB, *WITHIN]:
        assert set(re.findall(PLACE, english)) == set(re.findall(PLACE, korean)), english
        assert not particle.search(korean), f"the particle depends on the name: {korean}"
        assert not korean.endswith("."), f"the pages end it: {korean}"


def test_what_the_hub_is_quoted_with_has_its_korean():
    from hub import HubError

    for english, korean in OF_THE_HUB:
        sentence, _ = filled(re.sub(PLACE, VALUE, english))
        reason = HubError(sentence).reason
        said = in_language(f"of me/run, only the 3 epochs that are kept here can be used: {reason}", "ko")
        assert not english_left(said.replace("me/run", "")), said
        if reason != sentence:
            assert korean.rpartition(". ")[2] not in said, "without the remedy"


# --- sentences within sentences -------------------------------------------------------------------------------


def test_sentences_within_and_beside_each_other():
    once = in_language("a has no epoch 9; it has 1, 2", "ko")
    both = in_language("a has no epoch 9; it has 1, 2; b has no epoch 4; it has 3", "ko")
    assert both == f"{once}. {in_language('b has no epoch 4; it has 3', 'ko')}"
    nested = "1@epoch-0002 could not be loaded: the Hub is out of order (503); try again later"
    assert in_language(nested, "ko") == (
        "1@epoch-0002 체크포인트를 불러오지 못했습니다: Hub에 장애가 있습니다(503). 나중에 다시 해 보세요"
    )
    assert in_language("b/1.png: b/1.png is not a picture", "ko") == "b/1.png: b/1.png 파일은 사진이 아닙니다"
    assert in_language("x.png can't be read (permission denied): copy or download it again", "ko") == (
        "x.png 파일을 읽을 수 없습니다(권한 없음). 다시 복사하거나 내려받으세요"
    )


@pytest.mark.parametrize("text", [
    "nobody knows this sentence", "", "a: b; c: d", "사진을 고르세요", "{name} {0} { }", "This file; " * 300,
    "a: " * 5000, "a: b is not a picture; " * 8 + "c",
])  # fmt: skip
def test_what_no_pattern_knows_stays(text):
    assert in_language(text, "ko") == text


def test_values_with_braces_and_line_breaks_are_taken_as_they_are():
    assert in_language("{0}\n{x}.png is not a picture", "ko") == "{0}\n{x}.png 파일은 사진이 아닙니다"


# --- real errors ----------------------------------------------------------------------------------------------


def shown(call, *args):
    """What a Korean visitor is shown of the error that a call raises."""
    with pytest.raises((ImageError, CheckpointError)) as caught:
        call(*args)
    assert english_left(str(caught.value)), "raised in English"
    return common.told_error(caught.value, words.Speaker("ko")).message


BAD_FILES = {
    "empty.png": b"", "text.jpg": b"no picture", "cut.png": None, "drawing.svg": b"<svg></svg>",
    "page.png": b"%PDF-1.7", "film.png": b"\0\0\0\x18ftypmp42", "phone.jpg": b"\0\0\0\x18ftypheic",
    "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file(tmp_path, name):
    path = tmp_path / name
    if BAD_FILES[name] is None:
        Image.effect_noise((64, 64), 90).save(path)
        path.write_bytes(path.read_bytes()[:-900])
    else:
        path.write_bytes(BAD_FILES[name])
    said = shown(open_image, path)
    assert name in said
    assert not english_left(said.replace(name, "")), said
    assert shown(lambda: open_image(path.read_bytes(), name="This file")).startswith("이 파일은 ")


def test_a_file_that_is_not_there(tmp_path):
    assert shown(open_image, tmp_path / "x.png") == "x.png 파일이 없습니다. 이름과 폴더를 확인하세요"


def test_a_picture_of_too_many_pixels():
    assert shown(open_image, Image.new("1", (8000, 7000))) == (
        "이 사진 파일은 8000×7000 크기로, 50메가픽셀을 넘습니다. 먼저 크기를 줄이세요"
    )
    assert "20,000" in shown(open_image, Image.new("1", (20_001, 1)))


def test_choices_that_are_not_there(tmp_path):
    run = tmp_path / "streets"
    (run / "epoch-0002").mkdir(parents=True)
    source = LocalSource(run)
    bench = Workbench([source])
    info = CheckpointInfo(2, "0" * 40, "", directions=("ab",))
    for call, *args in (
        (common.epoch_number, "zwölf"), (common.checked_size, "99999"), (common.checked_direction, "ac", info),
        (common.checked_direction, "ba", info), (bench.run, "maps"), (bench.info, None, None), (bench.info, None, 7),
        (source.load, 7), (source.load,), (common.listed, source), (LocalSource, tmp_path / "x"),
    ):  # fmt: skip
        said = shown(call, *args)
        for name in (*(str(arg) for arg in args), "streets", *common.NAMED_SIZES, "ab", "ba"):
            said = said.replace(name, "")
        assert not english_left(said), (said, args)


def test_what_is_no_repository():
    from hub.source import parse_spec

    assert shown(parse_spec, "a b").startswith("'a b': Hub의 이름이 아닙니다. USER/NAME")


def test_notices_are_told_in_the_language():
    problems = ["epoch-0003 has no config.json; it is not a whole checkpoint", "<b> is new"]
    assert common.notices(problems) == (
        '<p class="notice">Epoch-0003 has no config.json; it is not a whole checkpoint.</p>'
        '<p class="notice">&lt;b&gt; is new.</p>'
    )
    assert common.notices(problems, words.Speaker("ko")) == (
        '<p class="notice">Epoch-0003에 config.json 파일이 없습니다. 온전한 체크포인트가 아닙니다.</p>'
        '<p class="notice">&lt;b&gt; is new.</p>'
    )
