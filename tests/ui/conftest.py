"""A run of tiny, untrained networks, and the real app serving it in a process of its own."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cyclegan.checkpoints.format import GENERATOR_OF, CheckpointConfig, save_checkpoint
from cyclegan.config import DataConfig, ModelConfig
from tests.study.conftest import small_study, write_small_study  # noqa: F401

ROOT = Path(__file__).parents[2]
TOKEN = "the-owner-of-the-tests"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
OWNER = {"CYCLEGAN_TOKEN": TOKEN}
"""For the environment of an app that serves this computer: its owner then comes in with HEADERS."""
START_LIMIT_S = 300
"""The app answers within 10 s on a quiet machine; a test machine need not be quiet."""


def write_epoch(run: Path, epoch: int, directions=("ab", "ba"), domains=("day", "night"), **data) -> Path:
    """One epoch of untrained networks, trained, they say, at 32 pixels."""
    import torch

    from cyclegan.networks import build_generator

    torch.manual_seed(epoch)
    model = ModelConfig(generator="resnet_6", ngf=4)
    config = DataConfig(domain_a=domains[0], domain_b=domains[1], load_size=36, crop_size=32, **data)
    channels = {domain: config.values(domain).channels for domain in "ab"}
    weights = {
        GENERATOR_OF[one]: build_generator(model, in_channels=channels[one[0]], out_channels=channels[one[1]])
        for one in directions
    }
    return save_checkpoint(
        run,
        epoch=epoch,
        weights={name: network.state_dict() for name, network in weights.items()},
        config=CheckpointConfig(model=model, data=config),
        record={"global_step": epoch, "losses": {"cycle_a": 0.25, "cycle_b": 0.35}},
    )


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture that isn't flat."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


@dataclass
class App:
    """The running app."""

    url: str
    run: Path
    """Its first run, `streets`: two epochs, four examples. The second run, `oneway`, has A → B only."""
    started_s: float
    pid: int
    work: Path
    """The folder that it was started in: what it builds lies there."""
    temp: Path
    """Its temporary folder; what was uploaded and what is served lies in gradio's own, `cache` beside it."""


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """`python app.py`, as a person starts it."""
    folder = tmp_path_factory.mktemp("app")
    run, oneway = folder / "streets", folder / "oneway"
    for epoch in (1, 2):
        write_epoch(run, epoch)
    write_epoch(oneway, 7, directions=("ab",), domains=("<b>horse</b>", "zebra"))
    (run / "examples").mkdir()
    for seed, name in enumerate(("a_0", "a_1", "b_0", "b_1")):
        # Night is darker, so that the page sees which domain a picture is nearer to.
        picture(48, 40, seed).point(lambda value, name=name: value // (1 if name[0] == "a" else 4)).save(
            run / "examples" / f"{name}.png"
        )

    write_small_study(folder / "studies" / "tiny")
    for name in ("temp", "work"):
        (folder / name).mkdir()
    port = free_port()
    log = open(folder / "log.txt", "w")  # noqa: SIM115
    began = time.monotonic()
    process = subprocess.Popen(
        [
            sys.executable, str(ROOT / "app.py"), "--checkpoints", str(run), str(oneway), "--port", str(port),
            "--studies", str(folder / "studies"),
        ],
        cwd=folder / "work", stdout=log, stderr=log,
        env={**os.environ, **OWNER, "GRADIO_TEMP_DIR": str(folder / "cache"), "TMPDIR": str(folder / "temp"),
             "GRADIO_HEARTBEAT_INTERVAL": "0.1"},  # It ends as soon as its pages have heard of it.
    )
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_until_answers(url, process, folder / "log.txt")
        yield App(url, run, time.monotonic() - began, process.pid, folder / "work", folder / "temp")
    finally:
        process.terminate()
        process.wait(300)
        log.close()


@pytest.fixture(scope="module")
def client(app, tmp_path_factory):
    from gradio_client import Client

    client = Client(app.url, headers=HEADERS, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))
    yield client
    client.close()


def paths_in(folder: Path) -> list[Path]:
    """All that is below a folder while others write and remove there, which pathlib's own search stumbles over."""
    return [Path(parent, name) for parent, folders, files in os.walk(folder) for name in (*folders, *files)]


def half_files(folder: Path) -> list[Path]:
    """The files below a folder that are not finished."""
    return [path for path in paths_in(folder) if path.suffix == ".part"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url: str, body: object = None, timeout: float = START_LIMIT_S) -> Any:
    """The answer to the owner's request; a body is posted as JSON."""
    content = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, content, {**HEADERS, "Content-Type": "application/json"})
    return urllib.request.urlopen(asked, timeout=timeout)


def wait_until_answers(url: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(10 * START_LIMIT_S):
        assert process.poll() is None, log.read_text()
        try:
            with fetch(url, timeout=5) as reply:
                assert reply.status == 200
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the app did not answer within {START_LIMIT_S} s: {log.read_text()}")
