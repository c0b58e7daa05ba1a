"""Spaces: that what goes into one is enough to run the app and nothing else, and keeping one up to date."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from PIL import Image, ImageOps

import hub.space as space
from cyclegan.errors import CheckpointError, StudyError
from cyclegan.evaluation.grids import cut_grid
from hub import HubError
from hub.modules import reached_modules
from hub.readme import BEGIN, END
from hub.space import publish_space, space_files
from tests.hub.loopback import TOKEN, Repo
from tests.hub.test_widget import draw_grids
from tests.study.conftest import small_study  # noqa: F401 (a fixture)
from tests.ui.conftest import HEADERS, OWNER, free_port, wait_until_answers
from tests.ui.pages.test_scores_page import write_scores

# The client's own upload of large files uses a deprecated argument of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

ROOT = Path(__file__).parents[2]
NAME, KEY = "alice/night-drive", "spaces/alice/night-drive"
MODEL = "alice/day-night"


@pytest.fixture
def publish(loopback, online):
    """`publish_space` as alice; the Space's address, and what was said."""

    def run(*checkpoints, name=NAME, **settings):
        said = []
        url = publish_space(name, [str(c) for c in checkpoints], endpoint=loopback.url, say=said.append, **settings)
        return url, said

    return run


@pytest.fixture
def model(loopback, make_run, tmp_path, monkeypatch):
    """A model repository with two epochs, and an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    run = make_run(2, name="published")
    repo = loopback.repos[MODEL] = Repo()
    for epoch in (1, 2):
        folder = run / f"epoch-{epoch:04d}"
        paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        paths |= {f"examples/{path.name}": path for path in (run / "examples").iterdir()}
        sha = repo.commit(f"Epoch {epoch}", {name: path.read_bytes() for name, path in paths.items()})
        repo.tags[f"epoch-{epoch:04d}"] = sha
    return repo


def content(file):
    return file if isinstance(file, bytes) else file.read_bytes()


def front_matter(readme):
    return yaml.safe_load(readme.decode().split("---")[1])


def size_of(picture):
    with Image.open(picture) as image:
        return image.size


def in_run(run):
    """Files of a run that a Space shows."""
    kept = [*run.glob("epoch-*/*.*"), *run.glob("epoch-*/samples/*.png"), *run.glob("examples/*.png")]
    return {path.relative_to(run).as_posix() for path in kept}


# --- what goes in -------------------------------------------------------------------------------------------


def test_a_space_has_what_the_app_needs_and_nothing_else(make_run):
    run = make_run(2, name="streets")
    (run / "epoch-0001" / "notes.txt").write_text("/home/alice")
    (run / ".hub-state-1").mkdir()
    write_scores(run, dataset="/home/alice/streets")
    (run / "scores" / "broken.json").write_text("/home/alice")
    files = space_files(NAME, [str(run), f"{MODEL}@epoch-0001"])
    scores = json.loads(files.pop("demo/streets/scores/test.json"))
    assert scores["ab"]["measured_on"]["dataset"] == "streets" and "epoch-0002" in scores["ab"]["scores"]
    code = {name for name in files if name.startswith(("cyclegan/", "hub/"))}
    demo = {name for name in files if name.startswith("demo/")}
    assert files.pop("demo/thumbnail.jpg") and demo.remove("demo/thumbnail.jpg") is None
    assert files.keys() - code - demo == {"LICENSE", "README.md", "app.py", "requirements.txt", "space.py"}
    assert demo == {f"demo/streets/{name}" for name in in_run(run) - {"epoch-0001/notes.txt"}}
    assert {f"demo/streets/epoch-0001/{name}" for name in ("gen_ab.safetensors", "checkpoint.json")} < demo
    pages = {"cyclegan/ui/pages/translate.py", "cyclegan/ui/pages/translate.css"}
    assert {*pages, "cyclegan/__init__.py", "hub/source.py"} < code
    needless = (
        r"cyclegan/(training|methods|data|commands)/|study/make\b|(samples|collapse|__main__|publish|outbox|space|card)\b"
        r"|__pycache__"
    )
    assert not [name for name in code if re.search(needless, name)]
    assert {Path(name).suffix for name in code} <= {".py", ".css", ".js", ".html", ".po"}
    assert all(name in code for name in ("cyclegan/study/page/player.html", "cyclegan/study/page/main.js"))

    front = front_matter(files["README.md"])
    assert front["sdk"] == "gradio" and front["sdk_version"] == version("gradio") and front["app_file"] == "space.py"
    assert front["python_version"] == "3.12" and front["models"] == [MODEL] and "license" not in front
    assert len(front["short_description"]) <= 60
    colors = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {front["colorFrom"], front["colorTo"]} <= colors
    everything = b"".join(map(content, files.values()))
    assert str(run.parent).encode() not in everything and TOKEN.encode() not in everything


def test_its_requirements_are_what_its_modules_import(make_run):
    lines = content(space_files(NAME, [str(make_run(1))])["requirements.txt"]).decode().splitlines()[1:]
    of_mcp = [line for line in lines if line.startswith(("mcp", "pydantic"))]  # Of gradio's extra.
    assert of_mcp and set(lines) - {*of_mcp} < set((ROOT / "requirements.txt").read_text().splitlines())
    named = {Requirement(line).name for line in lines if line not in of_mcp}
    assert not named & {"gradio", "accelerate", "datasets", "torchvision", "tqdm"}
    modules = reached_modules(("app",), space.NOT_IN_SPACES)
    imported = {name.split(".")[0] for names in modules.values() for name in names}
    others = imported - set(sys.stdlib_module_names) - {"cyclegan", "hub", "gradio", "spaces"}
    install = {"PIL": "pillow", "markdown_it": "markdown-it-py", "skimage": "scikit-image", "yaml": "pyyaml"}
    needed = {install.get(name, name.replace("_", "-")) for name in others}
    assert named - needed <= {"httpx", "itsdangerous"}
    assert needed - named <= installed_with([*named, "gradio"]), "not in requirements.txt"


def test_runs_of_one_name_get_names_of_their_own(make_run, tmp_path):
    runs = [shutil.copytree(make_run(1), tmp_path / parent / "a run!") for parent in ("one", "two", "three")]
    files = space_files(NAME, [*map(str, runs), str(runs[0]), f"{MODEL}@epoch-0001", MODEL])
    names = sorted({name.split("/")[1] for name in files if re.match("demo/.*/", name)})
    assert names == ["a-run", "a-run-2", "a-run-3"]
    shown = ["demo/a-run", "demo/a-run-2", "demo/a-run-3", f"{MODEL}@epoch-0001", MODEL]
    assert f"CHECKPOINTS = {shown}\n" in files["space.py"].decode()
    assert front_matter(files["README.md"])["models"] == [MODEL]


def test_a_single_epoch_is_shown_alone(make_run):
    run = make_run(2)
    (run / "epoch-0002" / "disc_a.safetensors").write_bytes(b"for --init_from")
    files = space_files(NAME, [str(run / "epoch-0002")])
    demo = {name for name in files if re.match("demo/.*/", name)}
    names = {"checkpoint.json", "config.json", "gen_ab.safetensors", "gen_ba.safetensors", "samples/ab.png",
             "samples/ba.png"}  # fmt: skip
    assert demo == {f"demo/epoch-0002/{name}" for name in names}


GUARD = '''
import os, sys
BLOCKED, ROOT, PREFIX = {blocked!r}, {root!r}, os.path.realpath(sys.prefix)

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

def watch(event, args):
    if event == "open" and isinstance(args[0], str):
        path = os.path.realpath(args[0])
        if path.startswith(ROOT + os.sep) and not path.startswith(PREFIX + os.sep):
            os.write(2, f"READ IN THE REPOSITORY: {{path}}\\n".encode())
            os._exit(3)

sys.meta_path.insert(0, Guard())
sys.addaudithook(watch)
'''


def installed_with(names):
    """Distributions that come with these, by what they require."""
    found, queue = set(), list(names)
    while queue:
        name = queue.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        try:
            needed = map(Requirement, requires(name) or [])
        except PackageNotFoundError:
            continue
        queue += [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def test_exactly_these_files_start_and_translate(loopback, model, make_run, tmp_path):
    """In an empty folder, where neither the repository nor what the Space's requirements leave out can be reached."""
    from gradio_client import Client, handle_file

    run = make_run(1, name="streets")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(run / "examples" / "a_1.png")
    files = space_files(NAME, [str(run), MODEL])
    for name, file in files.items():
        path = tmp_path / "home" / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(file))

    listed = [Requirement(line).name for line in files["requirements.txt"].decode().splitlines()[1:]]
    everything = re.findall(r"^[\w-]+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    blocked = set(everything) - installed_with([*listed, "gradio"])
    assert {"accelerate", "datasets", "torchvision"} <= blocked
    guard = tmp_path / "guard" / "sitecustomize.py"
    guard.parent.mkdir()
    guard.write_text(GUARD.format(blocked=blocked, root=str(ROOT)))

    port, log = free_port(), tmp_path / "log.txt"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
    env |= {
        **OWNER, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(guard.parent), "PYTHONSAFEPATH": "1",
        "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(tmp_path / "temp"),
        "HF_ENDPOINT": loopback.url, "HF_HUB_DISABLE_XET": "1",
        # At a heartbeat the client notices that it was closed; one that is still there holds up the app's end.
        "GRADIO_HEARTBEAT_INTERVAL": "0.1",
    }  # fmt: skip
    with open(log, "w") as output:
        process = subprocess.Popen(
            [sys.executable, "space.py"], cwd=tmp_path / "home" / "app", stdout=output, stderr=output, env=env
        )
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_until_answers(url, process, log)
            client = Client(url, headers=HEADERS, verbose=False, download_files=str(tmp_path / "downloads"))
            example = handle_file(tmp_path / "home/app/demo/streets/examples/a_1.png")
            for name, epoch in (("streets", 1), (MODEL, 2)):
                note, real, fake, rec, lost, words, *_ = client.predict(example, run=name, api_name="/translate")
                assert note.startswith(f"Epoch {epoch}, 48×40 pixels"), log.read_text()
                assert size_of(fake) == size_of(rec) == size_of(real) == (48, 40) and "grey levels" in words
            client.close()
        finally:
            process.terminate()
            process.wait(300)
    assert "Traceback" not in log.read_text() and "READ IN THE REPOSITORY" not in log.read_text()


# --- studies ------------------------------------------------------------------------------------------------

VOTES = "alice/votes"
SECRET = "5" * 64
LINK = "https://alice-night-drive.hf.space/study/tiny"
PLAYS = """
import sys
from cyclegan.study.format import find_studies

def main(arguments):
    print(*arguments)
    at = arguments.index("--studies") + 1
    print(find_studies(arguments[at : at + 1])[0].study_id)
    return 7

def leave(status):
    sys.exit(status)
"""


@pytest.fixture
def study(small_study):  # noqa: F811
    made = small_study(secret=SECRET)
    for name in ("votes.sqlite3", "votes.sqlite3-wal", "stimuli/notes.png", "report.json"):
        (made.folder / name).write_bytes(b"private")
    return made


def start(files, folder, env):
    """Start these files of a Space, with an app that tells what it was called with."""
    for name, file in {**files, "app.py": PLAYS.encode()}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(file))
    env = {**{name: value for name, value in os.environ.items() if not name.startswith("GRADIO")}, **env}
    return subprocess.run(
        [sys.executable, "space.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )


def test_a_private_space_holds_the_study_and_no_votes(loopback, publish, make_run, study, tmp_path, hub_env):
    run = make_run(1)
    _, said = publish(run, studies=[study.folder], private=True)
    assert said == [
        "warning: without --votes USER/NAME, a private data set, people's answers are lost whenever the Space "
        "restarts",
        "to see the results on the Space's page, add a secret STUDY_KEY there: a word that only you know",
    ]
    files = loopback.repos[KEY].head["files"]
    stimuli = {f"studies/tiny/stimuli/{sha}.png" for sha in study.by_hash}
    own = {"studies/tiny/study.json", "studies/tiny/secret", *stimuli}
    assert {name for name in files if name.startswith("studies/")} == own
    assert files["studies/tiny/secret"] == SECRET.encode()
    readme = files["README.md"].decode()
    assert f"- [A tiny study]({LINK})\n" in readme and "hf_oauth" not in readme

    done = start(files, tmp_path / "home", hub_env)
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines() == [
        "--checkpoints demo/run --host 0.0.0.0 --port 7860 --studies studies/tiny", study.study_id,
    ]  # fmt: skip
    publish(run, private=True)
    files = loopback.repos[KEY].head["files"]
    assert not [name for name in files if name.startswith("studies/")] and LINK not in files["README.md"].decode()


def test_a_public_space_fetches_the_study_from_where_the_votes_are(
    loopback, publish, make_run, study, tmp_path, hub_env
):
    run = make_run(1)
    _, said = publish(run, studies=[study.folder], votes=VOTES)
    assert said == [
        f"in the Space's settings, add a secret HF_TOKEN that may write to the data set {VOTES}",
        "to see the results on the Space's page, add a secret STUDY_KEY there: a word that only you know",
    ]
    data, repo = loopback.repos[f"datasets/{VOTES}"], loopback.repos[KEY]
    assert data.private and not repo.private
    assert [name for name in data.head["files"] if name.startswith("studies/")] == [
        f"studies/tiny-{study.study_id[:12]}.zip"
    ]
    files = repo.head["files"]
    assert not [name for name in files if name.startswith("studies/")] and "hub/studies/votes_dataset.py" in files
    assert not any(word.encode() in data for word in (*study.by_hash, SECRET) for data in files.values())
    assert publish(run, studies=[study.folder], votes=VOTES)[1][0] == "nothing to do: the Space is up to date"
    assert len(data.commits) == 2

    done = start(files, tmp_path / "home", hub_env)
    assert done.returncode == 7, done.stderr
    arguments, study_id = done.stdout.splitlines()
    assert arguments.endswith(f"--studies studies/tiny --votes {VOTES}") and study_id == study.study_id
    assert not (tmp_path / "home" / "studies" / "tiny" / "votes.sqlite3").exists()
    shutil.rmtree(tmp_path / "home" / "studies")
    done = start(files, tmp_path / "home", {**hub_env, "HF_TOKEN": ""})
    assert done.returncode == 1 and done.stderr.startswith("error: alice/votes is not on the Hub, or hidden")
    assert done.stderr.count("\n") == 1


def test_what_is_real_is_not_laid_open(loopback, publish, make_run, study):
    run = make_run(1)
    sentence = "alice/night-drive is public, and study.json reveals which pictures are real; name a private data set"
    with pytest.raises(HubError, match=sentence):
        publish(run, studies=[study.folder])
    assert KEY not in loopback.repos
    publish(run)
    with pytest.raises(HubError, match=sentence):
        publish(run, studies=[study.folder])
    loopback.repos[KEY].private = True
    publish(run, studies=[study.folder])
    loopback.repos[f"datasets/{VOTES}"] = Repo()
    loopback.repos[f"datasets/{VOTES}"].commit("theirs", {})
    with pytest.raises(HubError, match="alice/votes exists and is public; make it private"):
        publish(run, studies=[study.folder], votes=VOTES)
    assert not loopback.repos[f"datasets/{VOTES}"].head["files"]


def test_a_study_with_a_login_asks_the_hub_for_one(publish, loopback, make_run, small_study):  # noqa: F811
    study = small_study("with_login", login="huggingface")
    publish(make_run(1), studies=[study.folder], votes=VOTES)
    readme = loopback.repos[KEY].head["files"]["README.md"]
    assert front_matter(readme)["hf_oauth"] is True and b"night-drive.hf.space/study/with_login)" in readme


def test_studies_that_are_none_are_refused(loopback, publish, make_run, study, tmp_path):
    run = make_run(1)
    for settings, sentence in (
        ({"votes": VOTES}, "name one with --study, or leave out --votes"),
        ({"studies": [tmp_path / "nowhere"], "votes": VOTES}, "holds no study"),
        ({"studies": [study.folder, study.folder], "votes": VOTES}, "two studies are called tiny"),
        ({"studies": [study.folder], "votes": "votes"}, "can't be a repository's name"),
    ):
        with pytest.raises((HubError, StudyError), match=sentence):
            publish(run, **settings)
    assert loopback.count("POST /api/repos") == 0


def test_the_address_of_a_study():
    assert space._address("Alice/Night_drive.v2", "tiny") == "https://alice-night-drive-v2.hf.space/study/tiny"


# --- on the Hub ---------------------------------------------------------------------------------------------


def test_a_space_is_made_and_not_made_again(loopback, publish, model, make_run):
    run = make_run(2, name="streets")
    assert publish(run, MODEL) == (f"{loopback.url}/spaces/{NAME}", [])
    repo = loopback.repos[KEY]
    files = space_files(NAME, [str(run), MODEL])
    assert set(repo.head["files"]) == {*files, ".gitattributes"}
    for name in files.keys() - {"README.md"}:
        assert repo.head["files"][name] == content(files[name])
    front = front_matter(repo.head["files"]["README.md"])
    assert front["app_file"] == "space.py" and front["sdk_version"] == version("gradio") and front["models"] == [MODEL]
    assert front["pinned"] is False and front["short_description"] and front["python_version"] == "3.12"
    assert b"configuration reference" not in repo.head["files"]["README.md"]
    assert len(repo.commits) == 2 and repo.head["title"].startswith("CycleGAN workbench") and not repo.private

    assert publish(run, MODEL) == (f"{loopback.url}/spaces/{NAME}", ["nothing to do: the Space is up to date"])
    assert len(repo.commits) == 2 and loopback.count(f"POST /api/spaces/{NAME}/commit/") == 1


def test_an_update_deletes_what_is_stale_and_keeps_what_is_a_persons(loopback, publish, model, make_run):
    run = make_run(2, name="streets")
    publish(run, MODEL)
    repo = loopback.repos[KEY]
    theirs = {"photo.png": b"mine", "static/more.css": b"mine", "cyclegan/old.py": b"old", "hub/old.css": b"old"}
    card = repo.head["files"]["README.md"].decode()
    card = re.sub("title: .*", 'title: "Night drive"  # ours', card).replace("emoji: 🏢", "emoji: 🌃")
    card = re.sub("sdk_version: .*", "sdk_version: 5.1.0", card).replace("'3.12'", "'3.10'")
    card = card.replace("pinned: false", "pinned: true\nlicense: mit\nhf_oauth: true").replace("- mcp-server", "- cars")
    card = card.replace(BEGIN, f"Above.\n\n{BEGIN}").replace(END, f"{END}\n\nBelow, with {MODEL}.")
    repo.commit("Edit", {**repo.head["files"], **theirs, "README.md": card.encode()})

    shutil.rmtree(run / "epoch-0001")
    assert publish(run) == (f"{loopback.url}/spaces/{NAME}", [])
    files = repo.head["files"]
    assert set(files) == {*space_files(NAME, [str(run)]), ".gitattributes", "photo.png", "static/more.css"}
    readme = files["README.md"].decode()
    front = front_matter(files["README.md"])
    assert front["sdk_version"] == version("gradio") and "models" not in front
    assert front["emoji"] == "🌃" and front["pinned"] is True and front["license"] == "mit" and front["hf_oauth"]
    assert front["tags"] == ["cars", "mcp-server"] and front["python_version"] == "3.10"
    assert front["colorFrom"] == "pink" and "preload_from_hub" not in front
    assert 'title: "Night drive"  # ours\n' in readme
    assert f"Above.\n\n{BEGIN}" in readme and readme.endswith(f"{END}\n\nBelow, with {MODEL}.\n")
    assert MODEL not in readme[readme.index(BEGIN) : readme.index(END)] and "1 epoch," in readme
    assert len(repo.commits) == 4
    assert publish(run)[1] == ["nothing to do: the Space is up to date"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "the whole"),
        ("{sdk: gradio, title: x, models: [a/b]}", "title: x"),
        ("sdk: 'gradio'\n'sdk_version': 1.0\ntitle: x # mine\nmodels: [a/b]", "title: x"),
        ("models:\n# a comment between\n- a/b\ntitle: x", "title: x"),
        ("title: x # mine\nmodels:\n  - a/b\n# kept\nlicense: mit", "title: x # mine"),
    ],
)
def test_front_matter_says_what_it_should_however_it_was_written(make_run, before, after):
    sources = space._open([str(make_run(1)), MODEL])
    existing = f"---\n{before}\n---\nMy text.\n" if before else "My text, without front matter.\n"
    card = space._readme(NAME, sources, existing)
    front = front_matter(card.encode())
    needed = {
        "sdk": "gradio", "sdk_version": version("gradio"), "app_file": "space.py", "models": [MODEL],
        "tags": ["mcp-server"],
    }  # fmt: skip
    assert front.items() >= needed.items()
    assert front == {**(yaml.safe_load(before) or {}), **needed}
    assert len(re.findall(r"^.?sdk_version", card, re.MULTILINE)) == 1
    assert after in card or not before
    assert card.split("---\n")[2] == existing.split("---\n")[-1]
    assert space._readme(NAME, sources, card) == card


def test_a_branch_that_moved_meanwhile_is_not_overwritten(loopback, publish, make_run):
    run = make_run(1)
    publish(run)
    repo = loopback.repos[KEY]

    def someone_edits():
        edited = repo.head["files"]["README.md"].replace(b"pinned: false", b"pinned: true")
        repo.commit("Edit", {**repo.head["files"], "README.md": edited, "photo.png": b"mine"})

    loopback.fail("POST .*/commit/", None, action=someone_edits)
    publish(make_run(2))
    assert [commit["title"] for commit in repo.commits[2:]] == ["Edit", repo.commits[1]["title"]]
    assert "demo/run/epoch-0002/config.json" in repo.head["files"] and "photo.png" in repo.head["files"]
    assert front_matter(repo.head["files"]["README.md"])["pinned"] is True

    loopback.fail("POST .*/commit/", 412, times=100)
    with pytest.raises(HubError, match="was changed by someone else just now; try again"):
        publish(make_run(3))


def test_private_spaces_and_models(loopback, publish, model, make_run):
    run = make_run(1)
    publish(run, private=True)
    assert loopback.repos[KEY].private
    publish(run, name="alice/open")
    with pytest.raises(HubError, match="alice/open exists and is public; make it private in its settings"):
        publish(run, name="alice/open", private=True)
    model.private = True
    (sentence,) = publish(MODEL, private=True)[1]
    assert sentence == (
        f"warning: {MODEL} is private: in the Space's settings, add a secret HF_TOKEN that may read it; then all who "
        "see the Space can use it, and the Space's README shows its name"
    )


def test_nothing_is_sent_where_a_source_or_the_name_is_wrong(loopback, publish, model, make_run, tmp_path):
    run = make_run(2)
    empty, damaged = tmp_path / "empty", shutil.copytree(run / "epoch-0001", tmp_path / "bad" / "epoch-0001").parent
    empty.mkdir()
    (damaged / "epoch-0001" / "config.json").write_text("{")
    for source, sentence in {
        "runs/nowhere/at/all": "is not a folder; name a run's folder",
        str(empty): "holds no checkpoint: a run's folder holds epoch-0001",
        str(damaged): "bad holds no readable checkpoint: epoch-0001/config.json can't be read",
        "alice/nothing": "alice/nothing is not on the Hub, or hidden from the token",
        f"{MODEL}@epoch-0009": "has no revision 'epoch-0009'",
    }.items():
        with pytest.raises(CheckpointError) as caught:
            publish(run, source)
        assert sentence in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="a Space needs checkpoints to show"):
        publish()
    for name in ("night", "alice/night drive", "a/b/c"):
        with pytest.raises(HubError, match="can't be a repository's name; use USER/NAME"):
            publish(run, name=name)
    assert loopback.count("POST /api/repos") == 0 and KEY not in loopback.repos

    (run / "epoch-0001" / "config.json").write_text("{")
    (sentence,) = publish(run)[1]
    assert sentence.startswith("warning: left out: epoch-0001/config.json can't be read")
    assert not [name for name in loopback.repos[KEY].head["files"] if "epoch-0001" in name]


def test_another_space_is_not_overwritten(loopback, publish, make_run):
    run = make_run(1)
    for name, card, files, sentence in (
        ("app", "sdk: gradio\napp_file: app.py", {"app.py": b"theirs"}, "alice/app holds another app"),
        ("docker", "sdk: docker", {"Dockerfile": b"FROM x"}, "alice/docker is a Space of the kind docker"),
        ("broken", "title: [", {}, "the front matter of README.md in the Space alice/broken isn't valid YAML"),
    ):
        repo = loopback.repos[f"spaces/alice/{name}"] = Repo()
        repo.commit("theirs", {"README.md": f"---\n{card}\n---\n".encode(), **files})
        with pytest.raises(HubError, match=sentence):
            publish(run, name=f"alice/{name}")
        assert len(repo.commits) == 1


def test_too_much_is_said_before_it_is_sent(loopback, publish, make_run, monkeypatch):
    monkeypatch.setattr("hub.space.MAX_BYTES", 1000)
    (sentence,) = publish(make_run(1))[1]
    assert sentence.startswith("warning: these checkpoints have 0.0 GB") and "python -m hub push" in sentence


def test_the_command(loopback, hub_env, make_run, run_script):
    run = make_run(1)
    done = run_script("-m", "hub", "space", NAME, "--checkpoints", run, "--private", env=hub_env)
    assert done.stdout == f"{loopback.url}/spaces/{NAME}\n" and loopback.repos[KEY].private
    arguments = ("--checkpoints", run, "--study", run, "--votes", "alice/votes")
    done = run_script("-m", "hub", "space", NAME, *arguments, env=hub_env, ok=False)
    assert done.returncode == 1 and "holds no study" in done.stderr and done.stderr.count("\n") == 1
    done = run_script("-m", "hub", "space", NAME, "--checkpoints", run / "nothing", env=hub_env, ok=False)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


# --- where it is listed and built ---------------------------------------------------------------------------


def test_a_new_space_is_listed_with_its_tools_and_a_sample(loopback, publish, make_run):
    run = make_run(2)
    draw_grids(run / "epoch-0002" / "samples")
    publish(run)
    files = loopback.repos[KEY].head["files"]
    front = front_matter(files["README.md"])
    assert front["tags"] == ["mcp-server"] and "preload_from_hub" not in front
    assert front["thumbnail"] == f"https://huggingface.co/spaces/{NAME}/resolve/main/demo/thumbnail.jpg"
    real, fake, _ = cut_grid(run / "epoch-0002" / "samples" / "ab.png")[0]
    with Image.open(io.BytesIO(files["demo/thumbnail.jpg"])) as picture:
        assert picture.format == "JPEG" and picture.size == (800, 420)
        for tile, left in ((real, 0), (fake, 402)):
            half = np.asarray(picture.crop((left, 0, left + 398, 420)), dtype=float)
            wanted = np.asarray(ImageOps.fit(tile, (398, 420)), dtype=float)
            assert abs(half - wanted).mean() < 6


def test_a_persons_thumbnail_stays_and_a_study_shows_no_sample(loopback, publish, make_run, study):
    run = make_run(1)
    publish(run)
    repo = loopback.repos[KEY]
    mine = re.sub(rb"thumbnail: .*", b"thumbnail: https://example.com/me.png", repo.head["files"]["README.md"])
    repo.commit("Edit", {**repo.head["files"], "README.md": mine})
    publish(make_run(2))
    assert front_matter(repo.head["files"]["README.md"])["thumbnail"] == "https://example.com/me.png"

    publish(run, name="alice/study")
    publish(run, name="alice/study", studies=[study.folder], votes=VOTES)
    files = loopback.repos["spaces/alice/study"].head["files"]
    assert "thumbnail" not in front_matter(files["README.md"]) and "demo/thumbnail.jpg" not in files


def test_the_newest_epoch_is_preloaded_by_its_commit(loopback, publish, model, make_run, hub_env, tmp_path):
    publish(MODEL)
    repo = loopback.repos[KEY]
    (entry,) = front_matter(repo.head["files"]["README.md"])["preload_from_hub"]
    repo_id, files, sha = entry.split(" ")
    assert repo_id == MODEL and sha == model.tags["epoch-0002"] == model.head["id"]
    assert set(files.split(",")) == {"checkpoint.json", "config.json", "examples/a_1.png", "examples/b_1.png",
        "gen_ab.safetensors", "gen_ba.safetensors", "samples/ab.png", "samples/ba.png"}  # fmt: skip
    assert repo.head["files"]["demo/thumbnail.jpg"]

    # As the Hub does it while it builds the Space. What the Space then loads, it finds.
    script = (
        "import sys; from huggingface_hub import hf_hub_download\n"
        "for name in sys.argv[2].split(','): hf_hub_download(sys.argv[1], name, revision=sys.argv[3])"
    )
    subprocess.run([sys.executable, "-c", script, repo_id, files, sha], env={**os.environ, **hub_env}, check=True)
    loopback.requests.clear()
    script = f"import hub; source = hub.open_source('{MODEL}'); source.load(); source.samples(2); source.examples()"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env={**os.environ, **hub_env}, check=True)
    assert loopback.count("/resolve/main/") == 0 and loopback.count(f"/resolve/{sha}/(gen|sam|exa|config)") == 0

    publish(f"{MODEL}@epoch-0001")
    (entry,) = front_matter(repo.head["files"]["README.md"])["preload_from_hub"]
    assert entry.endswith(f" {model.tags['epoch-0001']}")


def test_what_a_build_cannot_read_is_not_preloaded_and_a_persons_entries_stay(loopback, publish, model, make_run):
    publish(MODEL)
    repo = loopback.repos[KEY]
    mine = repo.head["files"]["README.md"].replace(b"preload_from_hub:\n", b"preload_from_hub:\n- ann/other a.bin\n")
    repo.commit("Edit", {**repo.head["files"], "README.md": mine})
    model.gated = True
    publish(MODEL)
    assert front_matter(repo.head["files"]["README.md"])["preload_from_hub"] == ["ann/other a.bin"]
    model.gated, model.private = False, True
    publish(MODEL)
    assert front_matter(repo.head["files"]["README.md"])["preload_from_hub"] == ["ann/other a.bin"]
    model.private = False
    publish(MODEL)
    preload = front_matter(repo.head["files"]["README.md"])["preload_from_hub"]
    assert [entry.split(" ")[0] for entry in preload] == [MODEL, "ann/other"]


# --- a GPU that is lent for a call --------------------------------------------------------------------------

FAKE_SPACES = """
import functools, pickle

inside, lent, calls = False, [], 0

def there_and_back(value):
    return pickle.loads(pickle.dumps(value))

def GPU(*, duration):
    return functools.partial(lend, duration)

def lend(duration, task):
    lent.append([task.__name__, duration])

    @functools.wraps(task)
    def wrapped(*args):
        global inside, calls
        calls += 1
        work = task(*there_and_back(args))
        while True:
            inside = True
            try:
                value = next(work)
            except StopIteration:
                return
            except Exception as error:
                raise there_and_back(error)
            finally:
                inside = False
            yield there_and_back(value)

    return wrapped
"""
CALLS = """
import builtins, json, os, sys

fake, picture, run = sys.argv[1:]
sys.path.insert(0, fake)
os.environ["SPACES_ZERO_GPU"] = "true"
imported, real_import = [], builtins.__import__

def noted_import(name, *args, **kwargs):
    imported.append(name.partition(".")[0])
    return real_import(name, *args, **kwargs)

builtins.__import__ = noted_import

import app  # First, as in a Space: whoever imports torch before `spaces` is found.
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.ui.pages import translate
from cyclegan.ui.workbench import Workbench

import gradio as gr
import spaces

bench = Workbench([LocalSource(run)])
with gr.Blocks() as demo:
    translate.build(bench)
event = next(fn for fn in demo.fns.values() if fn.api_name == "translate")

from cyclegan.translation.translator import Translator

inside, original = [], Translator.translate

def watched(*args, **kwargs):
    inside.append(spaces.inside)
    return original(*args, **kwargs)

Translator.translate = watched
told = []
for payload, epoch in (({"url": picture}, None), (None, None), ({"url": "data:,x"}, None), ({"url": picture}, "9")):
    before, values = spaces.calls, []
    try:
        for values in event.fn(payload, None, epoch, "auto"):
            pass
        told.append([spaces.calls - before, values[0]])
    except gr.Error as error:
        told.append([spaces.calls - before, values[0], error.message])
print(json.dumps({"lent": spaces.lent, "imported": imported, "inside": inside, "told": told}))
"""


def test_networks_run_on_the_gpu_that_a_space_is_lent(make_run, tmp_path, run_script):
    """With a `spaces` package that, as the real one, has calls and answers pickled and wants to come before torch."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "spaces.py").write_text(textwrap.dedent(FAKE_SPACES))
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (9, 99, 200)).save(buffer, "PNG")
    picture = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    found = json.loads(run_script("-c", CALLS, tmp_path / "fake", picture, make_run(1)).stdout.splitlines()[-1])
    assert found["lent"] == [["compute_results", 60]]
    # In a fork torch is loaded already; what counts is who asks for it, safetensors for its own sake too.
    first = found["imported"].index
    assert first("spaces") < first("torch") and first("spaces") < first("safetensors")
    assert found["inside"] == [True, True]
    translated, nothing, damaged, missing = found["told"]
    assert translated[0] == 1 and translated[1].startswith("Epoch 1, 40×40 pixels")
    # Nothing to translate takes no GPU, and what goes wrong on one is told as a sentence.
    assert nothing == [0, "Choose a picture."]
    assert damaged[:2] == [0, f"Nothing was translated: {damaged[2]}."]
    assert missing == [0, "Nothing was translated: run has no epoch 9; it has 1.", "run has no epoch 9; it has 1"]


def test_elsewhere_nothing_is_wrapped_and_torch_is_warmed(monkeypatch):
    from cyclegan.ui import workbench as ui

    assert ui.spaces is None and not ui.GPU_IS_LENT
    assert ui.on_gpu()(len) is len
    monkeypatch.setattr(ui, "GPU_IS_LENT", True)
    bench = ui.Workbench([])
    bench.warm()
    assert bench.ready.is_set() and bench._cache is None
