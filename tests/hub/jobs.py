"""The Jobs of the loopback Hub: they are written down, and run on this machine where a test says how."""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from urllib.parse import parse_qs

HARDWARE = (  # name, card, number, US dollars a minute
    ("cpu-basic", None, 0, 0.000167),
    ("t4-small", "T4", 1, 0.00667),
    ("l4x1", "L4", 1, 0.8 / 60),
    ("l4x4", "L4", 4, 3.8 / 60),
    ("v5e-1x1", "v5e", 1, 1.2 / 60),
)


@dataclass
class Job:
    """A job: what was asked for, and the process that runs it, if any."""

    number: int
    spec: dict
    namespace: str
    process: object = None
    stage: str = "RUNNING"
    log: list = field(default_factory=list)

    def shown(self):
        """The Hub's record of it; secrets are never shown."""
        if self.process and self.stage == "RUNNING" and (status := self.process.poll()) is not None:
            self.stage = "ERROR" if status else "COMPLETED"
        shown = {key: self.spec.get(key) for key in ("dockerImage", "command", "arguments", "environment", "flavor",
                                                     "labels")}  # fmt: skip
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        owner = {"id": "1", "name": self.namespace, "type": "user"}
        return {"id": f"{self.number:024x}", "createdAt": now, **shown, "owner": owner,
                "status": {"stage": self.stage, "message": None}}  # fmt: skip


class Jobs:
    """Answers below /api/jobs. `run(spec)`, if a test sets it, starts a job and returns its process."""

    def __init__(self):
        self.all, self.run = [], None

    def answer(self, method, path, query, body, role):
        """Status, content and headers."""
        if role is None:
            return 401, {"error": "Invalid credentials"}, {"X-Error-Message": "Invalid credentials"}
        if path == "/api/jobs/hardware":
            return 200, [self.hardware(*one) for one in HARDWARE]
        _, _, _, namespace, *rest = path.split("/")
        if namespace != "alice":
            return 403, {"error": "Forbidden"}, {"X-Error-Message": "Forbidden"}
        if not rest and method == "GET":
            stages = parse_qs(query).get("stage")
            shown = [job.shown() for job in self.all if job.namespace == namespace]
            return 200, [one for one in shown if stages is None or one["status"]["stage"] in stages]
        if not rest:
            return self.start(namespace, json.loads(body), role)
        job = next((job for job in self.all if job.shown()["id"] == rest[0]), None)
        if job is None:
            return 404, {"error": "Job not found"}
        if rest[1:] == ["cancel"] and method == "POST":
            if job.process:
                job.process.terminate()
            job.stage = "CANCELED"
            return 200, {}
        if rest[1:] == ["logs"]:
            events = [{"data": line, "timestamp": job.shown()["createdAt"]} for line in job.log]
            text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
            return 200, text.encode(), {"Content-Type": "text/event-stream"}
        return 200, job.shown()

    def start(self, namespace, spec, role):
        if role != "write":
            return 403, {"error": "Forbidden"}, {"X-Error-Message": "Forbidden"}
        # As the Hub's own rule for names of labels.
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]*", label) for label in spec.get("labels", {}).values()), spec["labels"]
        job = Job(len(self.all) + 1, spec, namespace)
        job.process = self.run(spec) if self.run else None
        self.all.append(job)
        return 200, job.shown()

    @staticmethod
    def hardware(name, card, number, dollars):
        kind = "tpu" if name.startswith("v5e") else "gpu"
        gpu = {"type": kind, "model": card, "quantity": str(number), "vram": "24 GB", "manufacturer": "its maker"}
        return {"name": name, "prettyName": name, "cpu": "8 vCPU", "ram": "30 GB", "ephemeralStorage": "400 GB",
                "accelerator": gpu if card else None, "unitCostMicroUSD": round(dollars * 1e6),
                "unitCostUSD": dollars, "unitLabel": "minute"}  # fmt: skip
