"""The handler for Inference Endpoints: what is published translates, alone, and as the library does."""

import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import CheckpointError, ConfigError, ImageError
from cyclegan.translation.endpoint import EndpointHandler
from cyclegan.translation.translator import Translator
from hub.endpoint import FILES, endpoint_files
from tests.hub.test_publish import FILES as EPOCH_FILES
from tests.hub.test_space import installed_with

# The client's own upload of large files uses a deprecated argument of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "alice/day-night"
ROOT = Path(__file__).parents[2]
AS_THE_SERVICE = """
import importlib.util, json, pathlib, sys

class Missing:
    '''What the requirements don't bring.'''

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].lower().replace("_", "-") in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
sys.path.insert(0, ".")
spec = importlib.util.spec_from_file_location("handler", "handler.py")
handler = importlib.util.module_from_spec(spec)
spec.loader.exec_module(handler)
translate = handler.EndpointHandler(".")
translate(json.loads(pathlib.Path("request.json").read_text())).save("answer.png")
modules = [module for name, module in sys.modules.items() if name.split(".")[0] in ("cyclegan", "hub")]
print(json.dumps([module.__file__ for module in modules]))
"""


@pytest.fixture
def endpoint(run_script, hub_env):
    """Run the command."""

    def run(*words, ok=True):
        return run_script("-m", "hub", "endpoint", *words, env=hub_env, ok=ok)

    return run


@pytest.fixture
def photo():
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_published_handler_translates_as_the_library_does(
    loopback, publish_run, make_run, endpoint, photo, tmp_path, monkeypatch
):
    run = make_run(1)
    repo = publish_run(run)
    done = endpoint(NAME)
    assert done.stdout.splitlines() == [
        f"handler.py, requirements.txt and code.zip are at {loopback.url}/{NAME}",
        "choose the framework Custom for the endpoint, so that it downloads the weights",
    ]
    publish_run(make_run(2))  # A later epoch keeps them.
    files = repo.head["files"]
    assert set(files) == {*EPOCH_FILES, *FILES} and len(repo.epoch_commits()) == 2
    assert "nothing to do" in endpoint(NAME).stdout and len(repo.commits) == 4

    home = tmp_path / "repository"
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    request = {"inputs": base64.b64encode(photo).decode(), "parameters": {"direction": "ba", "size": 64}}
    (home / "request.json").write_text(json.dumps(request))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    missing = {*re.findall(r"^[\w-]+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)} - installed_with(
        re.findall(r"^[\w-]+", files["requirements.txt"].decode(), re.MULTILINE))  # fmt: skip
    assert {"gradio", "huggingface-hub", "tifffile"} <= missing
    words = [sys.executable, "-I", "-c", AS_THE_SERVICE, *missing]
    done = subprocess.run(words, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    used = json.loads(done.stdout)
    assert len(used) > 20 and not [path for path in used if path.startswith(f"{ROOT}/")]
    translator = Translator(LocalSource(run).load(2))
    expected = translator.translate(Image.open(io.BytesIO(photo)), "ba", size=64).fake
    with Image.open(home / "answer.png") as answer:
        assert answer.size == (48, 40) and answer.tobytes() == expected.tobytes()


def test_the_code_is_small_and_its_requirements_are_few():
    files = endpoint_files()
    assert len(files["code.zip"]) < 500_000 and files == endpoint_files()
    named = [line.split(">=")[0] for line in files["requirements.txt"].decode().splitlines()[1:]]
    assert {"numpy", "pillow", "safetensors", "torch"} <= {*named}
    assert not {*named} & {"gradio", "accelerate", "datasets", "huggingface-hub"}


@pytest.fixture(scope="module")
def handler(tmp_path_factory):
    from tests.conftest import make_checkpoint

    folder = make_checkpoint.__wrapped__()(tmp_path_factory.mktemp("run"), directions=("ab",))
    return EndpointHandler(folder)


def test_all_kinds_of_inputs_are_the_same_picture(handler, photo):
    text = base64.b64encode(photo).decode()
    inputs = (photo, text, f"data:image/png;base64,{text}", Image.open(io.BytesIO(photo)))
    found = {handler({"inputs": one, "parameters": None}).tobytes() for one in inputs}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("request_", "error", "sentence"),
    [
        ({}, ImageError, "inputs must be a picture"),
        ({"inputs": {"image": 3}}, ImageError, "inputs must be a picture"),
        ({"inputs": "/etc/passwd"}, ImageError, "inputs isn't a picture in base64"),
        ({"inputs": "aGVsbG8="}, ImageError, "inputs"),
        ({"inputs": b""}, ImageError, "inputs"),
        ({"parameters": {"direction": "ba"}}, CheckpointError, "epoch-0001 translates A → B only, not B → A"),
        ({"parameters": {"direction": "up"}}, ConfigError, "direction must be ab or ba, not 'up'"),
        ({"parameters": {"direction": ["ab"]}}, ConfigError, "direction must be ab or ba"),
        ({"parameters": {"size": 10**9}}, ConfigError, "size must be a number of pixels from 32 to 20000"),
        ({"parameters": {"size": "64"}}, ConfigError, "size must be a number of pixels"),
        ({"parameters": {"size": True}}, ConfigError, "size must be a number of pixels"),
        ({"parameters": {"strength": 1}}, ConfigError, "parameters can have direction, size, and nothing else"),
        ({"parameters": [1]}, ConfigError, "parameters can have direction, size, and nothing else"),
    ],
)
def test_a_bad_request_gets_a_sentence(handler, request_, error, sentence):
    with pytest.raises(error) as caught:
        handler(request_)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_weights_that_were_not_downloaded(tmp_path):
    with pytest.raises(CheckpointError, match="has no gen_ab.safetensors: choose the framework Custom"):
        EndpointHandler(tmp_path)


def test_what_cannot_have_a_handler_is_refused(loopback, publish_run, make_run, endpoint):
    repo = publish_run(make_run(1))
    files = repo.head["files"]
    config = json.loads(files["config.json"])
    grey = {**config, "data": {**config["data"], "channels_a": 1, "range_a": "0:255"}}
    for changes, sentence in (
        ({"handler.py": b"class EndpointHandler: pass\n"}, f"{NAME} has its own handler.py; delete that first"),
        ({"config.json": json.dumps(grey).encode()}, f"the pictures of {NAME} aren't 8-bit RGB"),
        ({"checkpoint.json": b"{}"}, f"{NAME} holds no readable checkpoint at its root"),
    ):
        sha = repo.commit("Edit", {**files, **changes})
        done = endpoint(NAME, ok=False)
        assert done.returncode == 1 and done.stderr.startswith(f"error: {sentence}"), done.stderr
        assert done.stderr.count("\n") == 1 and repo.head["id"] == sha
    done = endpoint("alice/nothing", ok=False)
    assert done.returncode == 1 and "alice/nothing is not on the Hub" in done.stderr
