
import pytest

from cyclegan.experiments import run as run_module

FAKE = """
import os, pathlib, shutil, sys, time
flags = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
run = pathlib.Path(flags["--output_dir"])
with open(os.environ["FAKE_LOG"], "a") as log:
    print(run.name, file=log, flush=True)
if (run.parent.parent / f"fail-{run.name}").exists():
    sys.exit("error: the losses are not finite")
if (run.parent.parent / f"kill-{run.name}").exists():
    os.kill(os.getpid(), 9)
while (run.parent.parent / f"hang-{run.name}").exists():
    time.sleep(0.05)
total = int(flags["--epochs"]) + int(flags["--decay_epochs"])
for epoch in range(1, total + 1):
    source = pathlib.Path(os.environ["FAKE_EPOCHS"]) / f"epoch-{epoch:04}"
    shutil.copytree(source, run / source.name, dirs_exist_ok=True)
"""
"""A trainer that copies epochs, or fails as files in the experiment's folder demand."""


class FakeScorer:
    """Remembers what it was given; `reason` makes it fail."""

    def __init__(self):
        self.scored = []

    def score(self, training, progress):
        self.scored.append(training.folder.name)


@pytest.fixture
def fake_trainer(tmp_path, make_checkpoint, monkeypatch):
    """Replace train_accelerate.py; return a function that lists the trainings which were started."""
    script, log = tmp_path / "fake.py", tmp_path / "started.txt"
    script.write_text(FAKE)
    for epoch in (1, 2):
        make_checkpoint(tmp_path / "epochs", epoch)
    monkeypatch.setattr(run_module, "TRAINER", script)
    monkeypatch.setattr(run_module, "LOOK_S", 0.02)
    monkeypatch.setenv("FAKE_EPOCHS", str(tmp_path / "epochs"))
    monkeypatch.setenv("FAKE_LOG", str(log))
    return lambda: log.read_text().split() if log.exists() else []


