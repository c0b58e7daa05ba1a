"""What the tests of the Hub share: a Hub on this machine, and runs to publish."""

import json
import os
import time
from types import SimpleNamespace

import pytest

from hub.outbox import Outbox
from hub.publish import Publisher
from tests.hub.loopback import TOKEN, LoopbackHub


@pytest.fixture
def loopback():
    """A Hub with one user, alice, who has a token that can write."""
    hub = LoopbackHub()
    yield hub
    hub.close()


@pytest.fixture
def hub_env(loopback, tmp_path):
    """Environment of a program that talks to the loopback Hub as alice."""
    return {
        "HF_ENDPOINT": loopback.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "hf_home"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }


@pytest.fixture
def online(hub_env, monkeypatch, tmp_path):
    """The same settings for this process, where the client has read its environment already."""
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import _http, close_session

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf_home" / "token"))
    monkeypatch.setenv("HF_TOKEN", hub_env["HF_TOKEN"])
    # The client tries again as often as ever, but at once: up to 23 s of waiting show nothing.
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(**{**vars(time), "sleep": lambda _: None}))
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # Programs that the test starts stay offline unless told otherwise.
    yield
    close_session()


@pytest.fixture
def make_run(tmp_path, make_checkpoint):
    """Write a run of some epochs, as a training leaves it."""

    def make(epochs=3, *, name="run", run_id="1" * 32):
        from PIL import Image

        run = tmp_path / name
        for epoch in range(1, epochs + 1):
            if (run / f"epoch-{epoch:04d}").is_dir():
                continue
            folder = make_checkpoint(run, epoch)
            record = json.loads((folder / "checkpoint.json").read_text())
            (folder / "checkpoint.json").write_text(json.dumps({**record, "run_id": run_id}))
            (folder / "samples").mkdir()
            for direction in ("ab", "ba"):
                Image.new("RGB", (4, 4), (epoch, 0, 0)).save(folder / "samples" / f"{direction}.png")
            with open(run / "metrics.jsonl", "a") as file:
                file.write(json.dumps({"event": "epoch", "epoch": epoch}) + "\n")
            Image.new("RGB", (4, 4), (0, epoch, 0)).save(run / "curves.png")
        if run_id:
            (run / "run.json").write_text(json.dumps({"run_id": run_id}))
        (run / "examples").mkdir(exist_ok=True)
        for name in ("a_1", "b_1"):
            Image.new("RGB", (4, 4), (9, 0, 9)).save(run / "examples" / f"{name}.png")
        (run / "training_state").mkdir(exist_ok=True)
        (run / "training_state" / "secret.pt").write_bytes(b"never published")
        (run / "samples").mkdir(exist_ok=True)
        for name in ("progress.json", "samples/ab.png", "samples/later.png"):  # Of the epoch that is trained.
            (run / name).write_bytes(b"never published")
        return run

    return make


@pytest.fixture
def publish_run(loopback, online):
    """Publish a run's epochs, as a training does; its repository."""

    def publish(run, name="alice/day-night"):
        publisher = Publisher(run, name, endpoint=loopback.url)
        publisher.check_repository()
        publisher.check_run()
        outbox = Outbox(publisher, print)
        outbox.add(max(publisher.unpublished(), default=0), None)
        assert not outbox.start().finish(30)
        return loopback.repos[name]

    return publish
