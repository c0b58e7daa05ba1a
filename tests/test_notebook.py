"""notebooks/train.ipynb: it is kept without outputs, and papermill runs all of it, tiny, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.loopback import TOKEN, LoopbackHub

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks" / "train.ipynb"
TINY = "--generator resnet_6 --ngf 4 --ndf 4 --sample_count 2"


def test_the_notebook_is_kept_clean_and_has_one_cell_of_parameters():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"]]
    assert [cell["metadata"].get("tags") for cell in code] == [["parameters"], *[None] * (len(code) - 1)]


@pytest.fixture
def run_notebook(tmp_path):
    """Run the notebook with other settings in an empty folder; the text of its cells' outputs, and their kinds."""

    def run(env=None, **settings):
        settings = {"INSTALL": False, "DATASET": "streets:count=4,test_count=2,size=40", "EPOCHS": 1,
                    "DECAY_EPOCHS": 0, "SIZE": 32, "MORE_FLAGS": TINY, **settings}  # fmt: skip
        work, own = tmp_path / "work", {name: str(tmp_path / name) for name in (
            "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}  # fmt: skip
        work.mkdir(exist_ok=True)
        python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        words = [word for name, value in settings.items() for word in ("-p", name, str(value))]
        done = subprocess.run(
            [sys.executable, "-m", "papermill", str(NOTEBOOK), "out.ipynb", *words, "--no-progress-bar"], cwd=work,
            env={**os.environ, **own, "PYTHONPATH": python_path, **(env or {})}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        cells = json.loads((work / "out.ipynb").read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
        text = "".join("".join(output.get("text", "")) for output in outputs)
        return text, [kind for output in outputs for kind in output.get("data", {}) if kind.startswith("image/")]

    return run


def test_it_trains_shows_samples_and_translates(run_notebook, tmp_path):
    text, pictures = run_notebook()
    assert "done, with 1 of 1 epoch" in text and "Traceback" not in text
    assert len(pictures) >= 5  # Two grids, a picture, its translation, and the way back.
    assert (tmp_path / "work" / "run" / "epoch-0001").is_dir()


def test_in_another_runtime_it_continues_from_the_hub(run_notebook, tmp_path):
    loopback = LoopbackHub()
    env = {"HF_ENDPOINT": loopback.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
           "HF_HOME": str(tmp_path / "hf_home")}  # fmt: skip
    try:
        run_notebook(env, HUB_REPOSITORY="alice/day-night")
        os.rename(tmp_path / "work", tmp_path / "lost")
        text, _ = run_notebook(env, HUB_REPOSITORY="alice/day-night", EPOCHS=2)
    finally:
        loopback.close()
    assert "fetched the training state step-" in text and "done, with 2 of 2 epochs" in text
    assert [commit["title"] for commit in loopback.repos["alice/day-night"].epoch_commits()] == ["Epoch 1", "Epoch 2"]
