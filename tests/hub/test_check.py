"""`python -m hub check`: what a repository or a Space has and lacks, and that the commands in its lines add it."""

import json
import re
import shlex

import pytest
import yaml

from hub.check import Item
from tests.hub.loopback import Repo
from tests.hub.test_widget import draw_grids
from tests.study.conftest import small_study  # noqa: F401 (a fixture)

# The client's own upload of large files uses a deprecated argument of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME, SPACE = "alice/day-night", "alice/night-drive"
MODEL_ITEMS = [
    "a tag on each of its 2 epochs", "library, task and tags on the card", "a licence",
    "examples with their translations, in every direction", "a gallery of them",
    "handler.py for Inference Endpoints", "a Space of trackio with its curves",
]  # fmt: skip


@pytest.fixture
def check(run_script, hub_env):
    """Run the command; its status, and its lines by item: a mark and a remedy."""

    def run(source, address=None):
        done = run_script("-m", "hub", "check", source, env=hub_env, ok=False)
        assert not done.stderr, done.stderr
        first, *lines = done.stdout.splitlines()
        assert address is None or first == address
        rows = [re.fullmatch(r"  (has|lacks|could have) +(.*?)(?:: (.*))?", line) for line in lines]
        return done.returncode, {row[2]: (row[1], row[3]) for row in rows}

    return run


@pytest.fixture
def command(run_script, hub_env):
    """Run the command of a line, which is one of this program."""

    def run(remedy, **words):
        python, *arguments = [words.get(word, word) for word in shlex.split(remedy)]
        assert python == "python"
        return run_script(*arguments, env=hub_env)

    return run


@pytest.fixture
def run(make_run):
    made = make_run(2)
    for folder in made.glob("epoch-*"):
        draw_grids(folder / "samples", seed=int(folder.name[6:]))
    return made


def older(repo):
    """Make a repository one that an earlier version of the program has published."""
    files = {name: content for name, content in repo.head["files"].items() if not name.startswith("widget/")}
    repo.commit("As it was", {**files, "README.md": b"---\nlanguage: en\n---\nMine.\n"})
    del repo.tags["epoch-0001"]


def test_a_run_from_before_lacks_things_and_the_commands_add_them(loopback, publish_run, run, check, command):
    repo = publish_run(run)
    older(repo)
    status, items = check(NAME, f"{loopback.url}/{NAME}")
    assert status == 1 and list(items) == MODEL_ITEMS
    marks = [mark for mark, _ in items.values()]
    assert marks == ["lacks"] * 5 + ["could have"] * 2
    remedies = [remedy for _, remedy in items.values()]
    assert remedies[1:] == [
        f"python -m hub card {NAME}", f"python -m hub card {NAME} --license ID, such as mit",
        f"python -m hub card {NAME}", f"python -m hub card {NAME}", f"python -m hub endpoint {NAME}",
        "train with --report_to trackio --trackio_space USER/NAME",
    ]  # fmt: skip
    command(remedies[0])
    command(remedies[2].removesuffix(", such as mit"), ID="mit")
    status, items = check(NAME)
    assert status == 0 and [mark for mark, _ in items.values()] == ["has"] * 5 + ["could have"] * 2
    command(remedies[5])
    status, items = check(NAME)
    assert status == 0 and items["handler.py for Inference Endpoints"] == ("has", None)
    # Half a handler is worse than none.
    del repo.head["files"]["code.zip"]
    status, items = check(NAME)
    assert status == 1 and items["handler.py for Inference Endpoints"] == ("lacks", f"python -m hub endpoint {NAME}")


def test_a_run_that_began_at_another_names_it(loopback, publish_run, run, check):
    for folder in run.glob("epoch-*"):
        record = json.loads((folder / "checkpoint.json").read_text())
        start = {"source": "ann/maps@epoch-0009", "epoch": 9, "commit_sha": "0" * 40, "on_hub": True}
        (folder / "checkpoint.json").write_text(json.dumps({**record, "started_from": start}))
    repo = publish_run(run)
    assert check(NAME)[1]["base_model ann/maps"] == ("has", None)
    older(repo)
    assert check(NAME)[1]["base_model ann/maps"] == ("lacks", f"python -m hub card {NAME}")


def test_what_cannot_be_had_is_no_fault(loopback, publish_run, make_run, check, command):
    run = make_run(1)  # Its samples aren't grids, so they can't be cut.
    publish_run(run)
    command(f"python -m hub card {NAME} --license mit")
    status, items = check(NAME)
    assert status == 0 and items["examples with their translations, in every direction"][0] == "has"
    assert items["a gallery of them"] == ("could have", "its samples can't be cut into single pictures")
    imported = make_run(1, name="imported", run_id="2" * 32)
    for path in (imported / "epoch-0001" / "samples").iterdir():
        path.unlink()
    publish_run(imported, "alice/imported")
    _, items = check("alice/imported")
    assert items["examples with their translations, in every direction"][0] == "could have"


def test_the_folder_of_a_run_stands_for_its_repository(loopback, publish_run, run, check, run_script, hub_env):
    publish_run(run)
    done = run_script("-m", "hub", "check", run, env=hub_env, ok=False)
    assert done.returncode == 1 and done.stderr == (
        f"error: {run} wasn't published by its training; name its repository: python -m hub check USER/NAME\n"
    )
    (run / "run.json").write_text(json.dumps({"run_id": "1" * 32, "config": {"run": {"hub_model_id": NAME}}}))
    assert check(run, f"{loopback.url}/{NAME}")[1].keys() == {*MODEL_ITEMS}


@pytest.mark.parametrize("lost", ["widget/ab_1_real.png", "widget/ba_1_fake.png"])
def test_examples_whose_pictures_are_not_there_are_none(loopback, publish_run, run, check, lost):
    repo = publish_run(run)
    name = "examples with their translations, in every direction"
    assert check(NAME)[1][name] == ("has", None)
    second = lost.replace("_1_", "_2_")
    repo.commit("Edit", {path: file for path, file in repo.head["files"].items() if path not in (lost, second)})
    assert check(NAME)[1][name] == ("lacks", f"python -m hub card {NAME}")


def test_a_broken_card_is_an_item(loopback, publish_run, run, check):
    repo = publish_run(run)
    repo.commit("Edit", {**repo.head["files"], "README.md": b"---\na: [\n---\n"})
    status, items = check(NAME)
    fix = f"fix it at {loopback.url}/{NAME}/blob/main/README.md"
    assert status == 1 and items["valid YAML at the top of README.md"] == ("lacks", fix)


def test_a_strangers_repository_is_a_sentence(loopback, run_script, hub_env):
    loopback.repos["alice/foreign"] = foreign = Repo()
    foreign.commit("theirs", {"README.md": b"Theirs.", "model.safetensors": b"x"})
    loopback.repos["alice/empty"] = Repo()
    loopback.repos["spaces/alice/theirs"] = space = Repo()
    space.commit("theirs", {"README.md": b"---\nsdk: gradio\n---\n", "app.py": b"x", "space.py": b"1 +\nmain()"})
    for name, sentence in (
        ("alice/foreign", "alice/foreign holds no run of this program; name a repository that a training or"),
        ("alice/empty", "alice/empty holds no run of this program"),
        ("alice/theirs", "alice/theirs isn't a Space of this program; make one with python -m hub space"),
        ("spaces/alice/theirs", "alice/theirs isn't a Space of this program"),
        ("alice/nothing", "alice/nothing is not on the Hub, or hidden from the token"),
        ("spaces/alice/nothing", "alice/nothing is not on the Hub, or hidden from the token"),
        ("night", "'night' can't be a repository's name"),
    ):
        done = run_script("-m", "hub", "check", name, env=hub_env, ok=False)
        assert done.returncode == 1 and done.stderr.startswith(f"error: {sentence}"), done.stderr
        assert done.stderr.count("\n") == 1 and not done.stdout


# --- Spaces -------------------------------------------------------------------------------------------------


def test_a_space_from_before_and_the_command_that_brings_it_up_to_date(loopback, publish_run, run, check, command):
    publish_run(run)
    command(f"python -m hub space {SPACE} --checkpoints {NAME} RUN", RUN=str(run))
    repo, address = loopback.repos[f"spaces/{SPACE}"], f"{loopback.url}/spaces/{SPACE}"
    status, items = check(SPACE, address)
    names = ["the tag mcp-server", "a thumbnail", f"{NAME} among its models", f"preload_from_hub of {NAME}, epoch-0002"]
    assert status == 0 and items == dict.fromkeys(names, ("has", None))
    assert check(f"spaces/{SPACE}", address) == (status, items)

    front = yaml.safe_load(repo.head["files"]["README.md"].decode().split("---")[1])
    newer = ("tags", "thumbnail", "models", "preload_from_hub")
    bare = {key: value for key, value in front.items() if key not in newer}
    files = {name: content for name, content in repo.head["files"].items() if name != "demo/thumbnail.jpg"}
    repo.commit("As it was", {**files, "README.md": f"---\n{yaml.safe_dump(bare)}---\nMine.\n".encode()})
    status, items = check(SPACE)
    again = f"python -m hub space {SPACE} --checkpoints {NAME} RUN"
    assert status == 1 and items == dict.fromkeys(names, ("lacks", again))
    command(again, RUN=str(run))
    assert check(SPACE)[0] == 0

    # Later epochs are loaded from the Hub, and not preloaded until the Space is brought up to date.
    model = loopback.repos[NAME]
    model.tags["epoch-0003"] = model.commit("Epoch 3", {
        **model.head["files"],
        "checkpoint.json": model.head["files"]["checkpoint.json"].replace(b'"epoch": 2', b'"epoch": 3'),
    })  # fmt: skip
    status, items = check(SPACE)
    assert status == 1 and items[f"preload_from_hub of {NAME}, epoch-0003"] == ("lacks", again)
    model.private = True
    assert check(SPACE)[0] == 0
    del loopback.repos[NAME]
    status, items = check(SPACE)
    assert status == 1 and items[f"the checkpoints of {NAME}"][0] == "lacks"


def test_a_space_with_a_study_needs_no_thumbnail(loopback, online, run, check, command, small_study):  # noqa: F811
    words = {"STUDY": str(small_study().folder), "RUN": str(run)}
    command(f"python -m hub space {SPACE} --checkpoints RUN --study STUDY --votes alice/votes", **words)
    status, items = check(SPACE)
    assert status == 0 and items["a thumbnail"][0] == "could have"
    repo = loopback.repos[f"spaces/{SPACE}"]
    bare = repo.head["files"]["README.md"].replace(b"- mcp-server", b"- cars")
    repo.commit("Edit", {**repo.head["files"], "README.md": bare})
    status, items = check(SPACE)
    again = f"python -m hub space {SPACE} --checkpoints RUN --study STUDY --votes alice/votes"
    assert status == 1 and items["the tag mcp-server"] == ("lacks", again)
    command(again, **words)
    assert check(SPACE)[0] == 0


def test_a_line():
    assert str(Item("a licence", False, "add one")) == "lacks       a licence: add one"
    assert str(Item("a licence", True, "add one")) == "has         a licence"
