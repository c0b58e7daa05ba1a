"""A Hub on this machine, which the real huggingface_hub client talks to over HTTP; with faults to switch on.

By hand: `python -m tests.hub.loopback` prints the settings of a shell that uses it, and serves until Ctrl-C.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.hub.jobs import Jobs

TOKEN = "hf_loopbackSecretToken"
LICENSES = ("mit", "apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "other")
SPACE_README = """---
title: {name}
emoji: 🏢
colorFrom: pink
colorTo: gray
sdk: {sdk}
sdk_version: 5.0.0
python_version: '3.13'
app_file: app.py
pinned: false
---

Check out the configuration reference at https://huggingface.co/docs/hub/spaces-config-reference
"""


@dataclass
class Repo:
    """A repository: commits, branches, tags."""

    private: bool = False
    gated: bool = False  # Everyone may see what there is, and those who were given leave download it.
    everything: dict = field(default_factory=dict)  # SHA → {"id", "parent", "title", "date", "files": {path: bytes}}
    branches: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)

    def commit(self, title, files, branch="main"):
        parent = self.branches.get(branch)
        sha = os.urandom(20).hex()
        date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.everything[sha] = {"id": sha, "parent": parent, "title": title, "date": date, "files": files}
        self.branches[branch] = sha
        return sha

    def resolve(self, revision):
        """The commit that a branch, tag or SHA names; None if none."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.everything.get(sha)

    def history(self, revision="main"):
        """Commits, newest first."""
        commit, found = self.resolve(revision), []
        while commit:
            found.append(commit)
            commit = self.everything.get(commit["parent"])
        return found

    @property
    def head(self):
        return self.resolve("main")

    @property
    def commits(self):
        return self.history()[::-1]

    def epoch_commits(self):
        return [commit for commit in self.commits if commit["title"].startswith("Epoch ")]


@dataclass
class Fault:
    """What happens to a request whose `METHOD /path` matches; see `LoopbackHub.fail`."""

    match: str
    status: int | None = 0
    times: int = 1
    after: bool = False
    message: str = ""
    headers: dict = field(default_factory=dict)
    action: Callable | None = None
    delay_s: float = 0
    reset: bool = False
    truncate: bool = False


class LoopbackHub:
    """The part of the Hub's HTTP interface that publishing and downloading need, in memory.

    Repositories are in `repos`, by USER/NAME; those of other types by datasets/USER/NAME, spaces/USER/NAME.
    """

    def __init__(self, port=0):
        self.repos, self.lfs = {}, {}
        self.tokens = {TOKEN: "write"}  # token → role
        self.readonly = set()  # repositories that the user may see but not write to
        self.jobs = Jobs()
        self.faults, self.requests = [], []
        self.signed = []  # those of the requests that came with a token
        self.lock = threading.RLock()
        self.closed = False
        hub = self

        class Handler(_Handler):
            loopback = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def close(self):
        self.closed = True  # For connections that are still open.
        self.server.shutdown()
        self.server.server_close()

    def fail(self, match, status=0, **how):
        """Switch on a fault for the next `times` requests whose `METHOD /path` matches.

        status: the HTTP status to answer with; 0: close without an answer; None: answer as always.
        after: the request takes effect first; only its reply is lost. message, headers: of the answer.
        action: called first. delay_s: how long to be silent. reset: reset the connection instead of closing it.
        truncate: answer with the first half of the content and close.
        """
        self.faults.append(Fault(match, status, **how))

    def count(self, match):
        """How many requests matched."""
        return sum(bool(re.search(match, request)) for request in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Else most replies wait 40 ms for an acknowledgement.
    truncate = False

    def log_message(self, *_):
        pass

    def handle_any(self):
        hub, path = self.loopback, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = f"{self.command} {path}"
        if hub.closed:
            self.close_connection = True
            return
        with hub.lock:
            hub.requests.append(line)
            if "Authorization" in self.headers:
                hub.signed.append(line)
            fault = next((f for f in hub.faults if f.times > 0 and re.search(f.match, line)), None)
            if fault:
                fault.times -= 1
        if fault is None:
            self.reply(*self.locked_answer(path, body))
            return
        time.sleep(fault.delay_s)
        if fault.action:
            fault.action()
        if fault.after:
            self.locked_answer(path, body)
        if fault.reset:  # Closing with what was never sent makes the kernel send RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
        if fault.status == 0:
            self.close_connection = True
            if fault.truncate:
                self.truncate = True
                self.reply(*self.locked_answer(path, body))
        elif fault.status is None:
            self.reply(*self.locked_answer(path, body))
        else:
            self.reply(fault.status, {"error": fault.message or "switched on by the test"}, fault.headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def reply(self, status, content=b"", headers=None):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if self.truncate else content)

    # --- status, content, headers of each call --------------------------------------------------------------

    def locked_answer(self, path, body):
        with self.loopback.lock:
            return self.answer(path, body)

    def answer(self, path, body):
        if match := re.fullmatch(r"/lfs/(\w+)", path):
            return self.lfs_object(match[1], body)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        role = self.loopback.tokens.get(token)
        refused = 401, {"error": "Invalid credentials"}, {"X-Error-Message": "Invalid credentials"}
        if role is None and (token or path.startswith(("/api/whoami", "/api/repos"))):
            return refused
        if path == "/api/whoami-v2":
            return 200, {"type": "user", "name": "alice", "orgs": [], "auth": {"accessToken": {"role": role}}}
        if path == "/api/validate-yaml":
            return self.validate_yaml(json.loads(body)["content"])
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path.startswith("/api/jobs/"):
            return self.loopback.jobs.answer(self.command, path, urlsplit(self.path).query, body, role)
        for pattern, call in (
            (r"/api/(\w+)/([^/]+/[^/]+)/auth-check(/write)?", self.auth_check),
            (r"/api/(\w+)/([^/]+/[^/]+)/preupload/(.+)", self.preupload),
            (r"/()(?:\w+/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.lfs_batch),
            (r"/api/(\w+)/([^/]+/[^/]+)/commit/(.+)", self.commit),
            (r"/api/(\w+)/([^/]+/[^/]+)/tag/(.+)", self.tag),
            (r"/api/(\w+)/([^/]+/[^/]+)/branch/(.+)", self.branch),
            (r"/api/(\w+)/([^/]+/[^/]+)/super-squash/(.+)", self.super_squash),
            (r"/api/(\w+)/([^/]+/[^/]+)/refs", self.refs),
            (r"/api/(\w+)/([^/]+/[^/]+)/commits/(.+)", self.commits),
            (r"/api/(\w+)/([^/]+/[^/]+)/tree/([^/]+)/?(.*)", self.tree),
            (r"/api/(\w+)/([^/]+/[^/]+)/paths-info/([^/]+)", self.paths_info),
            (r"/api/(\w+)/([^/]+/[^/]+?)(?:/revision/(.+))?", self.info),
            (r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.resolve),
        ):
            if match := re.fullmatch(pattern, path):
                kind, name, *rest = match.groups()
                if not kind and call == self.lfs_batch:
                    kind = path.split("/")[1] if path.startswith(("/datasets/", "/spaces/")) else "models"
                key = name if kind in (None, "models") else f"{kind}/{name}"
                self.repo = self.loopback.repos.get(key)
                if self.repo is None or self.repo.private and role is None:
                    status = 404 if role else 401
                    return status, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
                if self.repo.gated and role is None and call == self.resolve:
                    return 401, {"error": "Access is restricted"}, {"X-Error-Code": "GatedRepo"}
                self.key, self.name = key, name
                reading = self.command in ("GET", "HEAD") or call == self.paths_info
                if not reading and (role != "write" or key in self.loopback.readonly):
                    return 403, {"error": "Forbidden"}, {"X-Error-Message": "Forbidden"}
                return call(body, *rest)
        raise AssertionError(f"the loopback Hub does not know {self.command} {path}")

    def validate_yaml(self, content):
        try:
            values = yaml.safe_load(content.split("---")[1])
            assert isinstance(values, dict) and values.get("license", "mit") in LICENSES
        except (AssertionError, IndexError, yaml.YAMLError) as error:
            return 400, {"errors": [{"message": f"bad front matter: {error}"}], "warnings": []}
        return 200, {"errors": [], "warnings": []}

    def create(self, values):
        name, kind = f"{values['organization']}/{values['name']}", values.get("type", "model")
        key = name if kind == "model" else f"{kind}s/{name}"
        if key in self.loopback.repos:
            return 409, {"error": f"You already created this {kind} repo", "url": f"{self.loopback.url}/{key}"}
        if values["organization"] != "alice":
            return 403, {"error": "no"}, {"X-Error-Message": f"You don't have the rights to create a {kind} there"}
        private = values.get("visibility") == "private" or bool(values.get("private"))
        repo = self.loopback.repos[key] = Repo(private=private)
        files = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
        if kind == "space":
            files["README.md"] = SPACE_README.format(name=values["name"], sdk=values["sdk"]).encode()
        repo.commit("initial commit", files)
        return 200, {"url": f"{self.loopback.url}/{key}"}

    def auth_check(self, body, write):
        if write and self.key in self.loopback.readonly:
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

    def commit(self, body, branch):
        header, *rest = (json.loads(line) for line in body.splitlines())
        parent, head = header["value"].get("parentCommit"), self.repo.resolve(branch)
        if head is None or branch not in self.repo.branches:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        if parent not in (None, head["id"]):
            return 412, {"error": "A commit has happened since. Please refresh and try again."}
        files = dict(head["files"])
        for item in rest:
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.loopback.lfs[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
            elif item["key"] == "deletedFolder":
                files = {path: files[path] for path in files if not path.startswith(value["path"].rstrip("/") + "/")}
            else:
                raise AssertionError(f"the loopback Hub does not know the operation {item['key']}")
        sha = self.repo.commit(header["value"]["summary"], files, branch)
        return 200, {"commitOid": sha, "commitUrl": f"{self.loopback.url}/{self.name}/commit/{sha}"}

    def tag(self, body, revision):
        tag = json.loads(body)["tag"]
        if tag in self.repo.tags:
            return 409, {"error": "Tag exists"}
        self.repo.tags[tag] = self.repo.resolve(revision)["id"]
        return 200, {}

    def branch(self, body, branch):
        if self.command == "DELETE":
            return (200, {}) if self.repo.branches.pop(branch, None) else (404, {"error": "no such branch"})
        if branch in self.repo.branches:
            return 409, {"error": "Branch exists"}
        start = self.repo.resolve(json.loads(body or b"{}").get("startingPoint") or "main")
        if start is None:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        self.repo.branches[branch] = start["id"]
        return 200, {}

    def super_squash(self, body, branch):
        files = self.repo.resolve(branch)["files"]
        self.repo.everything.clear()
        del self.repo.branches[branch]
        self.repo.commit(json.loads(body)["message"], dict(files), branch)
        return 200, {}

    def refs(self, body):
        def rows(kind, refs):
            return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": sha} for n, sha in refs.items()]

        branches, tags = rows("heads", self.repo.branches), rows("tags", self.repo.tags)
        return 200, {"branches": branches, "converts": [], "tags": tags}

    def commits(self, body, revision):
        if self.repo.resolve(revision) is None:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        return 200, [
            {"id": c["id"], "title": c["title"], "message": "", "authors": [], "date": c["date"]}
            for c in self.repo.history(revision)
        ]

    def rows(self, commit):
        """The commit's files, as `tree` and `paths-info` tell of them; and its folders."""
        rows, folders = {}, set()
        for path, content in commit["files"].items():
            row = {"type": "file", "path": path, "size": len(content), "oid": blob_oid(content)}
            lfs = {"oid": oid(path, content), "size": len(content), "pointerSize": 100}
            rows[path] = {**row, "lfs": lfs} if is_lfs(path) else row
            parts = path.split("/")[:-1]
            folders |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
        for path in folders:
            rows[path] = {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}
        return rows

    def tree(self, body, revision, folder):
        if (commit := self.repo.resolve(revision)) is None:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() in ("true", "1")
        below = f"{folder}/" if folder else ""
        inside = [row for path, row in self.rows(commit).items() if path.startswith(below)]
        if folder and not inside:
            return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"}
        return 200, [row for row in inside if recursive or "/" not in row["path"][len(below):]]

    def paths_info(self, body, revision):
        if (commit := self.repo.resolve(revision)) is None:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        sent = self.headers.get("Content-Type", "")
        wanted = json.loads(body)["paths"] if "json" in sent else parse_qs(body.decode()).get("paths", [])
        rows = self.rows(commit)
        return 200, [rows[path] for path in wanted if path in rows]

    def info(self, body, revision=None):
        commit = self.repo.resolve(revision or "main")
        if commit is None:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        files = [{"rfilename": path} for path in commit["files"]]
        return 200, {"id": self.name, "sha": commit["id"], "private": self.repo.private, "siblings": files,
                     "gated": "manual" if self.repo.gated else False, "tags": [], "downloads": 0, "likes": 0,
                     "lastModified": commit["date"]}

    def resolve(self, body, revision, path):
        commit = self.repo.resolve(revision)
        if commit is None:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        if path not in commit["files"]:
            return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit["id"]}
        content = commit["files"][path]
        headers = {"X-Repo-Commit": commit["id"], "ETag": f'"{oid(path, content)}"', "Accept-Ranges": "bytes"}
        if is_lfs(path):
            headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": len(content)}
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            return 206, content[start:end + 1], headers
        return 200, content, headers


def is_lfs(path):
    return path.endswith((".safetensors", ".png", ".pt", ".pth", ".zip"))


def blob_oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def oid(path, content):
    return hashlib.sha256(content).hexdigest() if is_lfs(path) else blob_oid(content)


def main():
    parser = argparse.ArgumentParser("python -m tests.hub.loopback", description=__doc__.split("\n\n")[0])
    parser.add_argument("--port", type=int, default=9797, help="port to serve at (default: %(default)s)")
    hub = LoopbackHub(parser.parse_args().port)
    home = tempfile.mkdtemp()
    print(f"export HF_ENDPOINT={hub.url} HF_TOKEN={TOKEN} HF_HUB_DISABLE_XET=1 HF_HOME={home}", flush=True)
    try:
        hub.thread.join()
    except KeyboardInterrupt:
        hub.close()


if __name__ == "__main__":
    main()
