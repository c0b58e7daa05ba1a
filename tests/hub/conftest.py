"""A Hub on this machine, which the real huggingface_hub client talks to over HTTP; with faults to switch on."""

import base64
import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
import yaml

TOKEN = "hf_loopbackSecretToken"


@dataclass
class Repo:
    """A model repository: a line of commits on main, and tags."""

    private: bool
    commits: list = field(default_factory=list)  # {"id", "parent", "title", "files": {path: bytes}}, oldest first
    tags: dict = field(default_factory=dict)

    @property
    def head(self):
        return self.commits[-1]

    def commit(self, title, files):
        parent = self.commits[-1]["id"] if self.commits else None
        sha = hashlib.sha1(f"{parent} {title} {len(self.commits)}".encode()).hexdigest()
        self.commits.append({"id": sha, "parent": parent, "title": title, "files": files})
        return sha

    def resolve(self, revision):
        """The commit that a branch, tag or SHA names; None if none."""
        sha = self.head["id"] if revision == "main" else self.tags.get(revision, revision)
        return next((commit for commit in self.commits if commit["id"] == sha), None)

    def epoch_commits(self):
        return [commit for commit in self.commits if commit["title"].startswith("Epoch ")]


@dataclass
class Fault:
    """What goes wrong with a request whose `METHOD /path` matches: an HTTP status, or no reply for status 0."""

    match: str
    status: int = 0
    times: int = 1
    after: bool = False  # The request takes effect first; only the reply is lost.
    message: str = ""


class LoopbackHub:
    """The part of the Hub's HTTP interface that publishing and downloading need, in memory."""

    def __init__(self):
        self.repos, self.lfs = {}, {}
        self.tokens = {TOKEN: "write"}  # token → role
        self.readonly = set()  # repositories that the user may see but not write to
        self.faults, self.requests = [], []
        hub = self

        class Handler(_Handler):
            loopback = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def fail(self, match, status=0, *, times=1, after=False, message=""):
        self.faults.append(Fault(match, status, times, after, message))

    def count(self, match):
        """How many requests matched."""
        return sum(bool(re.search(match, request)) for request in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        hub, path = self.loopback, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = f"{self.command} {path}"
        hub.requests.append(line)
        fault = next((f for f in hub.faults if f.times > 0 and re.search(f.match, line)), None)
        if fault:
            fault.times -= 1
            if fault.after:
                self.answer(path, body)
            if not fault.status:
                self.close_connection = True
                return
            self.reply(fault.status, {"error": fault.message or "switched on by the test"})
            return
        self.reply(*self.answer(path, body))

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def reply(self, status, content=b"", headers=None):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    # --- status, content, headers of each call --------------------------------------------------------------

    def answer(self, path, body):
        if match := re.fullmatch(r"/lfs/(\w+)", path):
            return self.lfs_object(match[1], body)
        role = self.loopback.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if role is None:
            return 401, {"error": "Invalid credentials"}, {"X-Error-Message": "Invalid credentials"}
        if path == "/api/whoami-v2":
            return 200, {"type": "user", "name": "alice", "orgs": [], "auth": {"accessToken": {"role": role}}}
        if path == "/api/validate-yaml":
            return self.validate_yaml(json.loads(body)["content"])
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        for pattern, call in (
            (r"/api/models/([^/]+/[^/]+)/auth-check(/write)?", self.auth_check),
            (r"/api/models/([^/]+/[^/]+)/preupload/(.+)", self.preupload),
            (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.lfs_batch),
            (r"/api/models/([^/]+/[^/]+)/commit/main", self.commit),
            (r"/api/models/([^/]+/[^/]+)/tag/(.+)", self.tag),
            (r"/api/models/([^/]+/[^/]+)/refs", self.refs),
            (r"/api/models/([^/]+/[^/]+)/commits/(.+)", self.commits),
            (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", self.tree),
            (r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", self.info),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.resolve),
        ):
            if match := re.fullmatch(pattern, path):
                name, *rest = match.groups()
                if name not in self.loopback.repos:
                    return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
                self.name, self.repo = name, self.loopback.repos[name]
                if self.command == "POST" and name in self.loopback.readonly:
                    return 403, {"error": "Forbidden"}, {"X-Error-Message": "Forbidden"}
                return call(body, *rest)
        raise AssertionError(f"the loopback Hub does not know {self.command} {path}")

    def validate_yaml(self, content):
        try:
            assert isinstance(yaml.safe_load(content.split("---")[1]), dict)
        except (AssertionError, IndexError, yaml.YAMLError) as error:
            return 400, {"errors": [{"message": f"bad front matter: {error}"}], "warnings": []}
        return 200, {"errors": [], "warnings": []}

    def create(self, values):
        name = f"{values['organization']}/{values['name']}"
        if name in self.loopback.repos:
            return 409, {"error": "You already created this model repo", "url": f"{self.loopback.url}/{name}"}
        if values["organization"] != "alice":
            return 403, {"error": "no"}, {"X-Error-Message": "You don't have the rights to create a model there"}
        repo = self.loopback.repos[name] = Repo(private=values.get("visibility") == "private" or values.get("private"))
        repo.commit("initial commit", {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        return 200, {"url": f"{self.loopback.url}/{name}"}

    def auth_check(self, body, write):
        if write and self.name in self.loopback.readonly:
            return 403, {"error": "Forbidden"}, {"X-Error-Message": "Forbidden"}
        return 200, {}

    def preupload(self, body, revision):
        there = self.repo.resolve(revision)["files"]
        return 200, {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if is_lfs(file["path"]) else "regular",
                    "shouldIgnore": False,
                    "oid": oid(file["path"], there[file["path"]]) if file["path"] in there else None,
                }
                for file in json.loads(body)["files"]
            ]
        }

    def lfs_batch(self, body):
        objects = []
        for item in json.loads(body)["objects"]:
            href = f"{self.loopback.url}/lfs/{item['oid']}"
            known = item["oid"] in self.loopback.lfs
            objects.append({**item} if known else {**item, "actions": {"upload": {"href": href}}})
        return 200, {"transfer": "basic", "objects": objects}

    def lfs_object(self, sha256, body):
        if hashlib.sha256(body).hexdigest() != sha256:
            return 400, {"error": "truncated"}
        self.loopback.lfs[sha256] = body
        return 200, {}

    def commit(self, body):
        header, *rest = (json.loads(line) for line in body.splitlines())
        parent = header["value"].get("parentCommit")
        if parent not in (None, self.repo.head["id"]):
            return 412, {"error": "A commit has happened since. Please refresh and try again."}
        files = dict(self.repo.head["files"])
        for item in rest:
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.loopback.lfs[value["oid"]]
            else:
                raise AssertionError(f"the loopback Hub does not know the operation {item['key']}")
        sha = self.repo.commit(header["value"]["summary"], files)
        return 200, {"commitOid": sha, "commitUrl": f"{self.loopback.url}/{self.name}/commit/{sha}"}

    def tag(self, body, revision):
        tag = json.loads(body)["tag"]
        if tag in self.repo.tags:
            return 409, {"error": "Tag exists"}
        self.repo.tags[tag] = self.repo.resolve(revision)["id"]
        return 200, {}

    def refs(self, body):
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": self.repo.head["id"]}
        tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": sha} for n, sha in self.repo.tags.items()]
        return 200, {"branches": [branch], "converts": [], "tags": tags}

    def commits(self, body, revision):
        last = self.repo.commits.index(self.repo.resolve(revision))
        return 200, [
            {"id": c["id"], "title": c["title"], "message": "", "authors": [], "date": "2026-01-01T00:00:00.000Z"}
            for c in reversed(self.repo.commits[: last + 1])
        ]

    def tree(self, body, revision):
        rows = []
        for path, content in self.repo.resolve(revision)["files"].items():
            row = {"type": "file", "path": path, "size": len(content), "oid": blob_oid(content)}
            lfs = {"oid": oid(path, content), "size": len(content), "pointerSize": 100}
            rows.append({**row, "lfs": lfs} if is_lfs(path) else row)
        return 200, rows

    def info(self, body, revision=None):
        commit = self.repo.resolve(revision or "main")
        if commit is None:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        files = [{"rfilename": path} for path in commit["files"]]
        return 200, {"id": self.name, "sha": commit["id"], "private": self.repo.private, "siblings": files}

    def resolve(self, body, revision, path):
        commit = self.repo.resolve(revision)
        if commit is None:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        if path not in commit["files"]:
            return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit["id"]}
        content = commit["files"][path]
        headers = {"X-Repo-Commit": commit["id"], "ETag": f'"{oid(path, content)}"'}
        if is_lfs(path):
            headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": len(content)}
        return 200, content, headers


def is_lfs(path):
    return path.endswith((".safetensors", ".png"))


def blob_oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def oid(path, content):
    return hashlib.sha256(content).hexdigest() if is_lfs(path) else blob_oid(content)


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
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf_home" / "token"))
    monkeypatch.setenv("HF_TOKEN", hub_env["HF_TOKEN"])
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
        (run / "training_state").mkdir(exist_ok=True)
        (run / "training_state" / "secret.pt").write_bytes(b"never published")
        return run

    return make
