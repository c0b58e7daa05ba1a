"""What makes the old data and what opens them have in common; tests/old_data/make.py says how they were made."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
import socket
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.hub.loopback import Repo

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PICTURES = HERE / "pictures"
STUDY = HERE / "night-streets"
NAME = "alice/old-run"
EPOCHS = 3
STEPS = 6
"""Of an epoch: pictures of each domain."""
FLAGS = (
    "--dataset", PICTURES.relative_to(ROOT), "--domain_a", "day", "--domain_b", "night",
    "--generator", "resnet_6", "--ngf", "1", "--ndf", "1", "--n_layers_d", "1", "--dropout",
    "--load_size", "20", "--crop_size", "16", "--epochs", "2", "--decay_epochs", "1", "--pool_size", "2",
    "--ema", "0.9", "--mixed_precision", "no", "--sample_count", "1", "--log_every", "1", "--seed", "7",
)  # fmt: skip
"""The training's flags, but for its folder and the Hub. The pictures have the load size, so that no resizing, which
another Pillow may round another way, comes before the crop."""
HUB_FLAGS = ("--push_to_hub", "--hub_model_id", NAME, "--hub_training_state", "last")
WEIGHTS = ("gen_ab.safetensors", "gen_ba.safetensors")


def machine() -> dict[str, str]:
    """Return what decides how a training on one thread of a CPU is rounded."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    pairs = [line.partition(":") for line in cpuinfo.read_text().splitlines()] if cpuinfo.is_file() else []
    found = {name.strip(): value.strip() for name, _, value in reversed(pairs)}
    names = ("model name", "cpu family", "model", "stepping", "cache size")
    processor = [found[name] for name in names if name in found] or [platform.machine()]
    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "pillow")}
    return {"processor": ", ".join([*processor, torch.backends.cpu.get_cpu_capability()]), **versions}


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a plain archive, and return the folder."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


def copy_study(folder: Path) -> Path:
    """Copy the ready study to where its votes may be written, and return its folder."""
    return Path(shutil.copytree(STUDY, folder / STUDY.name))


# --- a run, and what the Hub has of it ----------------------------------------------------------------------


def pack(archive: Path, run: Path, repo: Repo, leave_out: Callable[[str], bool]) -> None:
    """Write a run's folder and its repository of the Hub into one archive, each different file once."""
    contents: dict[str, bytes] = {}

    def kept(files: Mapping[str, bytes]) -> dict[str, str]:
        hashes = {path: hashlib.sha256(content).hexdigest() for path, content in files.items() if not leave_out(path)}
        contents.update({name: files[path] for path, name in hashes.items()})
        return hashes

    paths = sorted(path for path in run.rglob("*") if path.is_file())
    told = {
        "run": kept({path.relative_to(run).as_posix(): path.read_bytes() for path in paths}),
        "repository": {
            "private": repo.private,
            "branches": repo.branches,
            "tags": repo.tags,
            "commits": [{**commit, "files": kept(commit["files"])} for commit in repo.everything.values()],
        },
    }
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("contents.json", json.dumps(told, indent=1))
        for name, content in sorted(contents.items()):
            packed.writestr(f"files/{name}", content)


def _contents(archive: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    with zipfile.ZipFile(archive) as packed:
        files = {name.split("/")[1]: packed.read(name) for name in packed.namelist() if name.startswith("files/")}
        return json.loads(packed.read("contents.json")), files


def unpack_run(archive: Path, run: Path) -> Path:
    """Write the run's folder, and return it."""
    told, files = _contents(archive)
    for path, name in told["run"].items():
        (run / path).parent.mkdir(parents=True, exist_ok=True)
        (run / path).write_bytes(files[name])
    return run


def unpack_repository(archive: Path) -> Repo:
    """Return the repository, for a loopback Hub."""
    told, files = _contents(archive)
    told = told["repository"]
    everything = {
        commit["id"]: {**commit, "files": {path: files[name] for path, name in commit["files"].items()}}
        for commit in told["commits"]
    }
    return Repo(private=told["private"], everything=everything, branches=told["branches"], tags=told["tags"])


# --- a participant ------------------------------------------------------------------------------------------


class Participant:
    """Somebody at a browser, who asks a study's server over HTTP, as its page does; what they were shown is kept."""

    def __init__(self, address: str) -> None:
        self.client = httpx.Client(base_url=address, timeout=300, trust_env=False)
        self.secret, self.state = "", {}
        self.shown: list[list[str]] = []
        """For each trial that they voted on, the start of the left and of the right picture's SHA-256."""
        self.right: list[bool] = []
        """In practice, whether they were."""

    def __enter__(self) -> Participant:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def begin(self, name: str) -> None:
        """Begin a session."""
        screen = {"width": 390, "height": 844, "dpr": 3, "refresh_hz": 60}
        begun = self._ask("POST", "session", {"participant": name, "language": "en", "screen": screen}).json()
        self.secret, self.state = begun["secret"], begun["state"]

    def go_on(self, secret: str) -> None:
        """Go on with a session, as the page does after it was closed."""
        self.secret = secret
        self.state = self._ask("GET", "session").json()

    def vote(self, votes: int = 1000) -> Participant:
        """Vote so often, or to the end: for the picture whose SHA-256 is the smaller one."""
        while (trial := self.state["trial"]) is not None and votes:
            token, votes = trial["token"], votes - 1
            pictures = [self._ask("GET", f"stimulus/{trial[side]}").content for side in ("left", "right")]
            self.shown.append([hashlib.sha256(picture).hexdigest()[:12] for picture in pictures])
            self._ask("POST", "reveal", {"token": token})
            answer = {"chosen_side": "left" if self.shown[-1] == sorted(self.shown[-1]) else "right",
                      "exposure_left_ms": 1000.5, "exposure_right_ms": 999.5, "frames": 60, "longest_frame_ms": 17.25,
                      "focus_lost": len(self.shown) % 7 == 0, "response_ms": 640.0 + len(self.shown)}  # fmt: skip
            ack = self._ask("POST", "vote", {"token": token, **answer}).json()
            if ack["feedback"] is not None:
                self.right.append(ack["feedback"]["correct"])
            self.state = ack["next"]
        return self

    def told(self) -> dict[str, object]:
        """What the server made of it, as far as the study's seed and the votes decide it."""
        return {"shown": self.shown, "right": self.right, "phase": self.state["phase"], "score": self.state["score"]}

    def _ask(self, method: str, path: str, body: dict | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.secret}"} if self.secret else {}
        reply = self.client.request(method, f"/{path}", json=body, headers=headers)
        assert reply.status_code == 200, f"{method} {path}: {reply.status_code} {reply.text[:300]}"
        return reply


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def served_address(line: str) -> str:
    """The study's address in the line that `python -m cyclegan study serve` prints."""
    assert "http://" in line, f"the server did not start: {line!r}"
    return line[line.index("http://"):].strip()


def play_on(address: str, secret: str) -> dict[str, object]:
    """Finish the unfinished session of the old votes, then let one more person take part; what both were shown."""
    told = {}
    with Participant(address) as eve:
        eve.go_on(secret)
        told["eve"] = eve.vote().told()
    with Participant(address) as fay:
        fay.begin("fay")
        told["fay"] = fay.vote().told()
    return told
