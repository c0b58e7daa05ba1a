"""`--report_to trackio --trackio_space`: what trackio is given, with a stand-in in its place, and what is refused."""

import json

import pytest

from cyclegan.config import RunConfig
from cyclegan.errors import ConfigError

SCRIPT = "train_accelerate.py"
TRACKIO = '''
import json, os, sys

told = open(os.environ["TOLD"], "a")

def tell(**values):
    print(json.dumps(values), file=told, flush=True)

class Config(dict):
    def update(self, values, allow_val_change):
        tell(config=values)

class Run:
    def log(self, values, step):
        tell(step=step, values=values)

    def finish(self):
        tell(finished=True)

config = Config()

def init(project, **options):
    tell(project=project, **options)
    if "alice/closed" in options.values():
        raise OSError("403 Forbidden")
    if "alice/bug" in options.values():
        raise KeyError("bug")
    return Run()
'''


@pytest.fixture
def train(tmp_path, tiny_flags, start_script):
    """Train two steps with the stand-in; the finished program's status and text, and what trackio was told."""
    package = tmp_path / "packages"
    (package / "trackio-0.1.dist-info").mkdir(parents=True)
    (package / "trackio-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: trackio\nVersion: 0.1\n")
    (package / "trackio.py").write_text(TRACKIO)
    told = tmp_path / "told.jsonl"

    def run(*flags):
        told.write_text("")
        process = start_script(
            SCRIPT, *tiny_flags, "--output_dir", tmp_path / "night", "--epochs", 1, "--decay_epochs", 0,
            "--max_steps", 2, "--report_to", "trackio", *flags, plain=True,
            env={"PYTHONPATH": str(package), "TOLD": str(told)},
        )  # fmt: skip
        _, err = process.communicate(timeout=300)
        return process.returncode, err, [json.loads(line) for line in told.read_text().splitlines()]

    return run


def test_the_space_reaches_trackio(train):
    status, err, told = train("--trackio_space", "alice/curves")
    assert status == 0, err
    assert told[0] == {"project": "night", "space_id": "alice/curves"} and told[-1] == {"finished": True}
    assert told[1]["config"]["trackio_space"] == "alice/curves"
    assert [row["step"] for row in told if "loss/cycle_a" in row.get("values", {})] == [1, 2]
    assert any("epoch/lr" in row.get("values", {}) for row in told)


def test_a_space_that_cannot_be_used_is_one_sentence_and_a_bug_is_a_bug(train):
    status, err, _ = train("--trackio_space", "alice/closed")
    assert status == 1 and "Traceback" not in err
    assert "error: trackio can't use the Space alice/closed (403 Forbidden): check its name, and that `hf auth" in err
    status, err, _ = train("--trackio_space", "alice/bug")
    assert status == 1 and "KeyError: 'bug'" in err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"trackio_space": "alice/x"}, "--trackio_space alice/x is where trackio shows the curves: add --report_to"),
        ({"trackio_space": "alice/x", "report_to": "wandb"}, "add --report_to trackio"),
        ({"trackio_space": "x", "report_to": "trackio"}, "--trackio_space x can't be a Space's name: use USER/NAME"),
    ],
)
def test_a_space_for_nothing_is_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        RunConfig(output_dir="run", **options).validate()


def test_without_the_package_it_is_refused_before_anything_is_written(run_script, tiny_flags, tmp_path):
    flags = ("--output_dir", tmp_path / "run", "--report_to", "trackio", "--trackio_space", "alice/x")
    done = run_script(SCRIPT, *tiny_flags, *flags, ok=False)
    assert done.returncode == 1 and not (tmp_path / "run").exists()
    assert "error: --report_to trackio needs the package trackio: pip install trackio" in done.stderr
