"""The running app under load.

    python -m benchmarks.app_load visitors      (or repeat, memory, neighbours)

Each part starts `python app.py` with a run of untrained ResNet-9 (64 channels, 256²), whose figures are those of a
trained one, and adds its rows to benchmarks/reports/app_load.json.

visitors: 20 clients upload pictures of their own for 60 s, and wait for both readings of each, over and over. Beside
it, before and after, a plain loop over such pictures in batches: the same passes, and nothing else.
repeat: one client asks for the same picture again.
neighbours: 20 visitors for 60 s, alone and then next to others who want to take the app down.
memory: 200 checkpoints are opened one after another; the server's resident memory.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

from benchmarks.machine import ROOT, describe
from cyclegan.cli.progress import progress_bar

TAKES = "2 to 10 minutes on two cores for each part"
REPORT = Path(__file__).parent / "reports" / "app_load.json"
SIDE, NGF = 256, 64


def write_run(folder: Path, epochs: int = 1, *, ngf: int = NGF, record: Mapping[str, Any] | None = None) -> Path:
    """A run of untrained networks; its later epochs share the first one's weights, under digests of their own.

    Args:
        ngf: channels of the networks' first layer.
        record: losses and metrics, the same in each epoch.
    """
    import torch

    from cyclegan.checkpoints.format import GENERATOR_OF, CheckpointConfig, save_checkpoint
    from cyclegan.config import DIRECTIONS, DataConfig, ModelConfig
    from cyclegan.networks import build_generator

    torch.manual_seed(0)
    model = ModelConfig(generator="resnet_9", ngf=ngf)
    run = folder / "untrained"
    config = CheckpointConfig(model=model, data=DataConfig(load_size=286, crop_size=SIDE))
    first = save_checkpoint(
        run, epoch=1, weights={GENERATOR_OF[one]: build_generator(model).state_dict() for one in DIRECTIONS},
        config=config, record={"global_step": 1, **(record or {})},
    )  # fmt: skip
    for epoch in range(2, epochs + 1):
        copy = run / f"epoch-{epoch:04d}"
        copy.mkdir()
        for file in first.glob("*.safetensors"):
            os.link(file, copy / file.name)
        for name, values in (("checkpoint.json", {"epoch": epoch}), ("config.json", {})):
            content = json.loads((first / name).read_text()) | values
            if name == "config.json":
                content["data"]["domain_a"] = f"epoch {epoch}"  # Or it would be the same checkpoint, loaded once.
            (copy / name).write_text(json.dumps(content))
    return run


def picture(number: int) -> Image.Image:
    """A picture of its own for each number."""
    values = np.random.default_rng(number).integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def say(what: str) -> None:
    """Print what begins."""
    print(f"{what} …", file=sys.stderr, flush=True)


@contextlib.contextmanager
def serving(run: Path, *flags: str) -> Iterator[tuple[str, psutil.Process]]:
    """The app's address and process, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # For others, so with a visitor's limits, and without a token; it believes addresses that a proxy here would name.
    served = ("--host", "0.0.0.0", "--hosts", "localhost", "--port", str(port))
    command = [sys.executable, "app.py", "--checkpoints", str(run), *served, *flags]
    say("starting the app")
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "GRADIO_TEMP_DIR": cache}
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=environment)
        try:
            url = f"http://127.0.0.1:{port}/"
            while True:
                if process.poll() is not None:
                    raise SystemExit("the app ended by itself; start it by hand to see why")
                with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
                    break
                time.sleep(0.2)
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


class Visitor:
    """Speaks to the app as a browser does: upload, join the queue, read what is told until it is done.

    Args:
        url: the app's address.
        run: the run that is asked for.
        address: where the visitor comes from; the server believes this of this computer, as of a proxy on it.
    """

    def __init__(self, url: str, run: str = "untrained", address: str | None = None) -> None:
        headers = {} if address is None else {"x-forwarded-for": address}
        self.url, self.run, self.client, self.turn = url, run, httpx.Client(timeout=600, headers=headers), 0
        dependencies = self.client.get(f"{url}config").json()["dependencies"]
        self.function = next(one["id"] for one in dependencies if one["api_name"] == "translate")

    @contextlib.contextmanager
    def page(self) -> Iterator[str]:
        """A page that is open: its session."""
        session = uuid.uuid4().hex
        with httpx.Client(timeout=600).stream("GET", f"{self.url}gradio_api/heartbeat/{session}"):
            yield session

    def ask(
        self, picture: bytes, *, epoch: str | None = None, size: str = "auto", session: str | None = None
    ) -> str:
        """One translation in both readings; its sentence."""
        api, session = f"{self.url}gradio_api/", session or uuid.uuid4().hex
        path = self.client.post(f"{api}upload", files={"files": ("picture.png", picture)}).json()[0]
        payload = {"path": path, "meta": {"_type": "gradio.FileData"}}
        data = [payload, self.run, epoch, size, "both"]
        body = {"fn_index": self.function, "session_hash": session, "data": data}
        self.client.post(f"{api}queue/join", json=body).raise_for_status()
        with self.client.stream("GET", f"{api}queue/data", params={"session_hash": session}) as told:
            for line in told.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    if not message["success"]:
                        raise RuntimeError(message["output"])
                    return str(message["output"])
        raise RuntimeError("the app said no more")


def encoded(image: Image.Image) -> bytes:
    """As PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


LOOP = """
import sys, time
from benchmarks.app_load import picture
from cyclegan.translation.translator import Translator
from hub import open_source
translator = Translator(open_source(sys.argv[1]).load())
size = translator.batch_size((256, 256))
pictures = [picture(10**6 + n) for n in range(size)]
def once():
    for direction in ("ab", "ba"):
        translator.translate_many(pictures, direction, reconstruct=True)
once()
began, done = time.perf_counter(), 0
while time.perf_counter() - began < float(sys.argv[2]):
    once()
    done += size
print(done / (time.perf_counter() - began))
"""


def plain_loop(run: Path, seconds: float) -> float:
    """Pictures per second, both readings each, of a loop in a process of its own."""
    say(f"a plain loop, for {seconds:.0f} s")
    command = [sys.executable, "-c", LOOP, str(run), str(seconds)]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def visitors(run: Path, count: int, seconds: float) -> dict[str, Any]:
    """Many at once."""
    before = plain_loop(run, seconds / 3)
    errors: list[str] = []
    waits: list[float] = []
    ends: list[float] = []
    with serving(run) as (url, server):
        clients = [Visitor(url) for _ in range(count)]
        clients[0].ask(encoded(picture(0)))  # Loads torch and the networks.
        # Made before: these are the visitors' computers' work, not the server's.
        pictures = [[encoded(picture(1000 * number + turn)) for turn in range(1, 30)]
                    for number in progress_bar(iterable=range(count), desc="pictures to upload", unit="visitor")]
        say(f"{count} visitors, for {seconds:.0f} s and their last pictures")
        start = time.perf_counter()

        def visit(number: int) -> None:
            for given in pictures[number]:
                began = time.perf_counter()
                if began - start > seconds:
                    return
                try:
                    clients[number].ask(given)
                except Exception as error:
                    errors.append(f"{type(error).__name__}: {error}"[:200])
                else:
                    ends.append(time.perf_counter() - start)
                    waits.append(ends[-1] - (began - start))

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        peak_mib = server.memory_info().rss / 2**20
    after = plain_loop(run, seconds / 3)
    rate, loop = len(ends) / max(ends), (before + after) / 2
    return {
        "visitors": count, "seconds": round(max(ends), 1), "pictures": len(ends), "errors": errors,
        "pictures_per_s": round(rate, 4), "plain_loop_per_s": [round(before, 4), round(after, 4)],
        "ratio": round(rate / loop, 3), "wait_s": _spread(waits), "server_mib_at_end": round(peak_mib),
    }  # fmt: skip


def repeat(run: Path, times: int) -> dict[str, Any]:
    """The same picture again."""
    with serving(run) as (url, _):
        client, given, taken = Visitor(url), encoded(picture(0)), []
        began = time.perf_counter()
        client.ask(given)
        first_s = time.perf_counter() - began
        for _ in progress_bar(iterable=range(times), unit="request"):
            began = time.perf_counter()
            client.ask(given)
            taken.append(1000 * (time.perf_counter() - began))
        return {"first_s": round(first_s, 2), "times": times, "again_ms": _spread(taken)}


def memory(run: Path, cache_mb: int) -> dict[str, Any]:
    """Every epoch of the run, one after another, with a tiny picture."""
    with serving(run, "--cache_mb", str(cache_mb)) as (url, server):
        client, given = Visitor(url), encoded(picture(0).resize((64, 64)))
        time.sleep(20)  # The networks of the newest epoch are loaded behind the page.
        weights_mib = sum(f.stat().st_size for f in (run / "epoch-0001").glob("*.safetensors")) / 2**20
        start = server.memory_info().rss / 2**20 - weights_mib
        epochs, seen = sorted(folder.name for folder in run.glob("epoch-*")), []
        for epoch in progress_bar(iterable=epochs, unit="checkpoint"):
            client.ask(given, epoch=epoch, size="original")
            seen.append(server.memory_info().rss / 2**20)
        return {
            "checkpoints": len(epochs), "mib_each": round(weights_mib, 1), "cache_mb": cache_mb,
            "without_weights_mib": round(start),
            "mib_after": {n: round(seen[n - 1]) for n in (1, 5, 10, 20, 50, 100, 150, 200) if n <= len(seen)},
            "peak_mib": round(max(seen)),
            "beyond_bound_mib": round(max(seen) - start - cache_mb),
        }  # fmt: skip


ATTACKER, WATCHER = ({"x-forwarded-for": address} for address in ("203.0.113.9", "203.0.113.10"))
"""Addresses of their own: the server believes this header of this computer, as of a proxy on it."""


def hold_the_queue(url: str, film: bytes, until: threading.Event) -> int:
    """Ask for videos and never listen; the number of requests that were refused."""
    refused = 0
    with httpx.Client(base_url=f"{url}gradio_api/", timeout=600, headers=ATTACKER) as client:
        while not until.is_set():
            path = client.post("upload", files={"files": ("film.mp4", film)}).json()[0]
            payload = {"path": path, "meta": {"_type": "gradio.FileData"}}
            for _ in range(66):
                body = {"data": [payload, None, None, None, "original", 1]}
                refused += client.post("call/translate_video", json=body).status_code != 200
    return refused


def send_large_messages(url: str, until: threading.Event) -> int:
    """Send 150 MB within one message, over and over; the number of messages that were refused."""
    part, refused = b"A" * 2**20, 0
    while not until.is_set():
        with contextlib.suppress(httpx.HTTPError):
            body = (part for _ in range(150))
            kind = {"content-type": "application/json", **ATTACKER}
            refused += httpx.post(f"{url}gradio_api/call/translate", content=body, headers=kind).status_code == 413
    return refused


def fill_the_disk(url: str, until: threading.Event) -> int:
    """Upload 45 MB that nobody uses, over and over; the number of uploads that were refused."""
    refused = 0
    while not until.is_set():
        with contextlib.suppress(httpx.HTTPError):
            files = {"files": ("x.bin", os.urandom(1024) + bytes(45_000_000))}
            sent = httpx.post(f"{url}gradio_api/upload", files=files, timeout=60, headers=ATTACKER)
            refused += sent.status_code != 200
    return refused


def decode_in_vain(url: str, until: threading.Event) -> int:
    """Ask for pictures of 50 megapixels, for an epoch that isn't there; the number of answers."""
    buffer, answers = io.BytesIO(), 0
    Image.new("RGB", (7070, 7070), (9, 9, 9)).save(buffer, "WEBP", lossless=True, quality=0, method=0)
    bomb = {"url": f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"}
    with httpx.Client(base_url=f"{url}gradio_api/", timeout=600, headers=ATTACKER) as client:
        while not until.is_set():
            begun = client.post("call/translate", json={"data": [bomb, None, "epoch-999999", "128", "ab"]})
            if begun.status_code == 200:
                answers += "event: error" in client.get(f"call/translate/{begun.json()['event_id']}").text
    return answers


def disconnect(url: str, until: threading.Event) -> int:
    """Begin 100 downloads and streams, and cut each at once; their number."""
    host, port, cut = "127.0.0.1", int(url.rsplit(":", 1)[1].strip("/")), 0
    paths = ["/", "/gradio_api/heartbeat/nobody", "/gradio_api/queue/data?session_hash=nobody", "/config"]
    for number in range(100):
        if until.is_set():
            break
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=60) as stream:
            stream.sendall(f"GET {paths[number % len(paths)]} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # Cut, not closed.
            cut += 1
        time.sleep(0.3)
    return cut


def translate_a_film(url: str, film: bytes, until: threading.Event) -> int:
    """Translate a long video, as somebody who waits for it does; the number of reports of its progress."""
    reports = 0
    with httpx.Client(base_url=f"{url}gradio_api/", timeout=600, headers=WATCHER) as client:
        path = client.post("upload", files={"files": ("long.mp4", film)}).json()[0]
        payload = {"path": path, "meta": {"_type": "gradio.FileData"}}
        while not until.is_set():
            begun = client.post("call/translate_video", json={"data": [payload, None, None, None, "128", 0]})
            if begun.status_code != 200:  # The other one of the address may have its share.
                time.sleep(1)
                continue
            with client.stream("GET", f"call/translate_video/{begun.json()['event_id']}") as told:
                for line in told.iter_lines():
                    reports += "generating" in line
                    if until.is_set():
                        break
    return reports


def a_film(seconds: int) -> bytes:
    """A video of noise, 12 frames a second."""
    from cyclegan.translation.video_io import VideoWriter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with VideoWriter(path, (SIDE, SIDE), rate=Fraction(12)) as writer:
            for number in range(12 * seconds):
                writer.write(picture(number), Fraction(number, 12), Fraction(1, 12))
        return path.read_bytes()


def bytes_in(folder: Path) -> int:
    """The bytes below a folder, while others write there."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.path.getsize(os.path.join(parent, name))
    return total


def neighbours(run: Path, count: int, seconds: float) -> dict[str, Any]:
    """Visitors alone, then next to attacks 1, 3 and 4, a long video and 100 cut connections; then what is left."""
    say("writing two videos")
    short, film = a_film(5), a_film(50)
    errors: list[str] = []
    with serving(run) as (url, server):
        cache = Path(server.environ()["GRADIO_TEMP_DIR"])
        clients = [Visitor(url) for _ in range(count)]
        clients[0].ask(encoded(picture(0)), size="128")  # Loads torch and the networks.
        turns = iter(range(10**6, 10**9))
        lock = threading.Lock()

        def period(which: str) -> list[float]:
            say(f"{count} visitors {which}, for {seconds:.0f} s")
            start, waits = time.perf_counter(), []

            def visit(client: Visitor) -> None:
                with client.page() as session:
                    while time.perf_counter() - start < seconds:
                        with lock:
                            given = encoded(picture(next(turns)))
                        began = time.perf_counter()
                        try:
                            client.ask(given, size="128", session=session)
                        except Exception as error:
                            errors.append(f"{type(error).__name__}: {error}"[:200])
                        else:
                            waits.append(time.perf_counter() - began)

            threads = [threading.Thread(target=visit, args=(client,)) for client in clients]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return waits

        # Memory that the first visitors need, such as the networks' workspace, isn't the attackers'.
        period("to warm up")
        alone = period("alone")
        say("a minute's rest")
        time.sleep(60)
        mib, files = server.memory_info().rss / 2**20, bytes_in(cache)
        until, results, peak = threading.Event(), {}, [0.0]

        def watch() -> None:
            while not until.wait(0.2):
                peak[0] = max(peak[0], server.memory_info().rss / 2**20)

        attacks = {
            "requests_for_videos_refused": lambda: hold_the_queue(url, short, until),
            "messages_of_150_mb_refused": lambda: send_large_messages(url, until),
            "uploads_refused": lambda: fill_the_disk(url, until),
            "pictures_of_50_mp_answered": lambda: decode_in_vain(url, until),
            "connections_cut": lambda: disconnect(url, until),
            "reports_of_a_long_video": lambda: translate_a_film(url, film, until),
        }
        attackers = [threading.Thread(target=lambda name=name, attack=attack: results.update({name: attack()}))
                     for name, attack in attacks.items()]  # fmt: skip
        for thread in (*attackers, threading.Thread(target=watch, daemon=True)):
            thread.start()
        attacked = period("next to attacks")
        until.set()
        for thread in attackers:
            thread.join()
        largest = bytes_in(cache)
        say("a minute's rest")
        time.sleep(60)
        mib_after, files_after = server.memory_info().rss / 2**20, bytes_in(cache)
    return {
        "visitors": count, "seconds": seconds, "errors": errors, "alone_s": _spread(alone),
        "attacked_s": _spread(attacked), "p95_ratio": round(_spread(attacked)["p95"] / _spread(alone)["p95"], 2),
        "pictures": [len(alone), len(attacked)], "attacks": results, "server_mib_before": round(mib),
        "server_mib_peak": round(peak[0]), "server_mib_60_s_later": round(mib_after),
        "files_mb_before": round(files / 1e6, 1), "files_mb_at_end": round(largest / 1e6, 1),
        "files_mb_60_s_later": round(files_after / 1e6, 1),
    }  # fmt: skip


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 2), "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 2),
        "max": round(ordered[-1], 2),
    }  # fmt: skip


def main() -> None:
    """Measure one part, and put it into the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("visitors", "repeat", "neighbours", "memory"))
    parser.add_argument("--seconds", type=float, default=60, help="of visits (default: %(default)s)")
    parser.add_argument("--count", type=int, default=20, help="visitors at once (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=200, help="checkpoints to open (default: %(default)s)")
    parser.add_argument("--cache_mb", type=int, default=1024, help="the cache's bound for them (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.part == "memory":
            say(f"writing a run of {args.epochs} checkpoints")
            found = memory(write_run(Path(folder), args.epochs), args.cache_mb)
        else:
            run = write_run(Path(folder))
            parts = {"visitors": visitors, "neighbours": neighbours}
            found = parts[args.part](run, args.count, args.seconds) if args.part in parts else repeat(run, 30)
    report = json.loads(REPORT.read_text()) if REPORT.is_file() else {}
    command = f"python -m benchmarks.app_load {' '.join(sys.argv[1:])}"
    report[args.part] = {"command": command, "machine": describe(), **found}
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report[args.part], indent=2))


if __name__ == "__main__":
    main()
