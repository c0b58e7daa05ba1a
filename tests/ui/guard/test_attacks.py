"""What the app as a server must withstand, through `python app.py`: one visitor can't take it down, nobody else's page
can drive the owner's, and what was sent goes again."""

import base64
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import httpx
import psutil
import pytest
from PIL import Image

from tests.translation.test_video_io import make_clip
from tests.ui.conftest import HEADERS, ROOT, free_port, paths_in, picture, wait_until_answers, write_epoch

pytestmark = pytest.mark.xdist_group("app")
LIMIT_S = 300
"""Of every wait for a condition."""


def served(folder, *flags):
    run, log, port = write_epoch(folder / "streets", 1).parent, folder / "log.txt", free_port()
    (folder / "temp").mkdir()
    with open(log, "w") as out:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), "--checkpoints", str(run), "--port", str(port), *flags],
            cwd=folder, stdout=out, stderr=out,
            env={**os.environ, "GRADIO_TEMP_DIR": str(folder / "cache"), "TMPDIR": str(folder / "temp")},
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    wait_until_answers(url, process, log)
    return SimpleNamespace(url=url, process=process, log=log, cache=folder / "cache")


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """An app for others, whose visitors are strangers."""
    app = served(tmp_path_factory.mktemp("public"), "--host", "0.0.0.0")
    yield app
    app.process.terminate()
    app.process.wait(LIMIT_S)


@pytest.fixture
def http(public):
    with httpx.Client(base_url=f"{public.url}gradio_api/", timeout=LIMIT_S) as made:
        yield made


def until(condition):
    end = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.2)
    return found


def upload(http, *paths, **options):
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    return [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in http.post("upload", files=files).json()]


def answer(http, name, *data):
    """What a program gets that listens."""
    begun = http.post(f"call/{name}", json={"data": data})
    assert begun.status_code == 200, begun.text
    return http.get(f"call/{name}/{begun.json()['event_id']}").text


def within(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return {"url": f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"}


def waiting(http):
    return http.get("queue/status").json()["queue_size"]


def test_nobody_holds_the_queue_with_requests_that_nobody_listens_to(http, tmp_path):
    make_clip(tmp_path / "a.mp4", size=(256, 256), times=[i / 10 for i in range(100)])
    (film,) = upload(http, tmp_path / "a.mp4")
    begun = [http.post("call/translate_video", json={"data": [film, None, None, None, "original", 1]})
             for _ in range(66)]  # fmt: skip
    refused = [each for each in begun if each.status_code != 200]
    assert len(refused) >= 60 and "still at work here" in refused[0].json()["detail"]
    assert "complete" in answer(http, "translate", within(picture(40, 32)), None, None, "auto", "ab")
    until(lambda: waiting(http) == 0)
    assert "complete" in answer(http, "translate_video", film, None, None, None, "32", 0)


def test_many_pixels_in_few_bytes_are_not_decoded_in_vain(http, public):
    bomb = within(Image.new("RGB", (7000, 7000), (9, 9, 9)), lossless=True, quality=0, method=0)
    before, server = memory(public), psutil.Process(public.process.pid)
    most, done = [before], threading.Event()

    def watch():
        while not done.wait(0.02):
            most.append(server.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        answers = []

        def ask():
            with httpx.Client(base_url=f"{public.url}gradio_api/", timeout=LIMIT_S) as other:
                answers.append(answer(other, "translate", bomb, None, "epoch-999999", "128", "ab"))

        askers = [threading.Thread(target=ask) for _ in range(8)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(LIMIT_S)
    finally:
        done.set()
        watcher.join()
    assert len(answers) == 8 and all("has no epoch 999999" in each for each in answers)
    assert max(most) - before < 150 * 2**20


def memory(public):
    return psutil.Process(public.process.pid).memory_info().rss


def test_a_message_of_150_mb_is_refused_before_it_is_read(http):
    def body():
        yield b'{"data": [{"url": "data:image/png;base64,'
        for _ in range(150):
            yield b"A" * 2**20
        yield b'"}, null, null, "128", "ab"]}'

    for path in ("call/translate", "queue/join", "component_server", "run/translate"):
        # An answer that comes before the body was read may meet a sender who is still sending.
        with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            said = http.post(path, content=body(), headers={"content-type": "application/json"})
            assert said.status_code == 413 and " MB: send pictures as files" in said.json()["detail"]
    assert http.get("app_id").status_code == 200


@pytest.mark.parametrize("data", [[], [None] * 30, [7, 7], [[], {}, "x"]])
def test_a_caller_who_sends_too_few_or_too_many_values_gets_a_sentence(http, data):
    said = [answer(http, name.strip("/"), *data) for name in http.get("info").json()["named_endpoints"]]
    assert len(said) > 5 and not [each for each in said if "null}" in each]
    if not data:
        assert all("/gradio_api/info says which values each function takes" in each for each in said)


@pytest.mark.parametrize("path", ["call/nope", "run/nope", "api/nope", "queue/join"])
@pytest.mark.parametrize("which", [{"fn_index": 9999}, {"fn_index": -1}])
def test_an_unknown_function_is_the_caller_s_mistake(http, path, which):
    said = http.post(path, json={"data": [], "session_hash": "unknown", **which})
    assert said.status_code == 404 and "there is no such function here" in said.text, said.text


def test_gradio_s_own_failures_have_a_sentence(http):
    """Its newer way to call looks a name up before it is checked."""
    said = http.post("call/v2/nope", json={})
    assert said.status_code == 500 and "/gradio_api/info says which values" in said.json()["detail"]


def test_no_way_past_the_queue(http):
    """Its shares hold for functions by number, too; those of no queue only rearrange a page."""
    config = httpx.get(str(http.base_url).removesuffix("gradio_api/") + "config").json()
    for one in config["dependencies"]:
        if one["queue"]:
            body = {"data": [None] * len(one["inputs"]), "fn_index": one["id"], "session_hash": "past-the-queue"}
            for path in ("run/x", "api/x", f"run/{one['api_name']}", f"api/{one['api_name']}"):
                assert http.post(path, json=body).status_code in (401, 404)


def test_a_form_s_fields_that_are_no_files_are_not_kept_in_memory(http, public):
    before = memory(public)
    content = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + b"A" * 200_000_000 + b"\r\n--x--\r\n"
    with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        said = http.post("upload", content=content, headers={"content-type": "multipart/form-data; boundary=x"})
        assert said.status_code in (400, 413)
    assert memory(public) - before < 100 * 2**20


def test_files_of_a_session_that_never_listens_go(http, public, tmp_path):
    (tmp_path / "a.bin").write_bytes(os.urandom(100_000))
    (named,) = upload(http, tmp_path / "a.bin")
    http.post("queue/join", json={"data": [[named], None, None, None, "auto"], "session_hash": "silent",
                                  "fn_index": 0})  # fmt: skip
    http.post("call/translate_files", json={"data": [[named], None, None, None, "auto"], "session_hash": "silent"})
    until(lambda: not os.path.exists(named["path"]))


def test_what_nobody_uses_is_removed(http, public, tmp_path):
    (tmp_path / "a.bin").write_bytes(os.urandom(100_000))
    (unused,) = upload(http, tmp_path / "a.bin")
    assert os.path.isfile(unused["path"])
    until(lambda: not os.path.exists(unused["path"]))


def test_what_a_page_used_is_removed_when_it_is_gone(http, public, tmp_path):
    picture(40, 32, seed=3).save(tmp_path / "a.png")
    (given,) = upload(http, tmp_path / "a.png")
    with http.stream("GET", "heartbeat/some-page"):
        begun = http.post("call/translate", json={
            "data": [given, None, None, "auto", "ab"], "session_hash": "some-page"}).json()  # fmt: skip
        said = http.get(f"call/translate/{begun['event_id']}").text
        made = [each for each in json.loads(said.rpartition("data: ")[2]) if isinstance(each, dict) and "path" in each]
        files = [given["path"], *(each["path"] for each in made)]
        assert len(files) > 2 and all(map(os.path.isfile, files))
        time.sleep(1)
        assert all(map(os.path.isfile, files))
    until(lambda: not any(map(os.path.exists, files)))


def test_an_upload_that_is_broken_off_leaves_nothing_for_long(public):
    """A file of gradio's parser remains, which the guard removes later; here, that it is one of those it looks at."""
    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"A" * 200_000
        raise ConnectionAbortedError

    with contextlib.suppress(ConnectionAbortedError, httpx.HTTPError), httpx.Client() as http:
        http.post(f"{public.url}gradio_api/upload", content=body(),
                  headers={"content-type": "multipart/form-data; boundary=x"})  # fmt: skip
    left = [path for path in paths_in(public.cache) if path.is_file() and path.parent == public.cache]
    assert all(path.name.startswith("tmp") for path in left)


def test_pages_work_in_a_frame_of_their_own_only(http, public):
    for path in ("", "compare", "gradio_api/file=/etc/passwd"):
        headers = httpx.get(public.url + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src" in headers["content-security-policy"]
    assert "sandbox" in headers["content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80"])
def test_a_page_that_rebinds_its_name_reaches_nothing(app, host):
    names = {"host": host, "origin": f"http://{host}"}
    for method, path in (("GET", ""), ("POST", "gradio_api/call/checkpoints"), ("POST", "gradio_api/upload"),
                         ("POST", "gradio_api/mcp/"), ("GET", "config"), ("GET", "study/tiny")):  # fmt: skip
        for headers in (names, {**names, **HEADERS}):
            assert httpx.request(method, app.url + path, headers=headers).status_code == 403


def test_a_foreign_form_starts_nothing(app):
    for kind in ("text/plain", "multipart/form-data; boundary=x"):
        said = httpx.post(f"{app.url}gradio_api/upload", content=b"--x--", headers={
            **HEADERS, "content-type": kind, "origin": "https://evil.example"})  # fmt: skip
        assert said.status_code == 403


@pytest.mark.parametrize("heard", [False, True])
def test_sigterm_amid_videos_ends_in_order(tmp_path, heard):
    app = served(tmp_path, "--host", "0.0.0.0")
    make_clip(tmp_path / "a.mp4", size=(256, 256), times=[i / 10 for i in range(200)])
    with httpx.Client(base_url=f"{app.url}gradio_api/", timeout=LIMIT_S) as http:
        (film,) = upload(http, tmp_path / "a.mp4")
        begun = [http.post("call/translate_video", json={"data": [film, None, None, None, "original", 0]}).json()
                 for _ in range(2)]  # fmt: skip
        with contextlib.ExitStack() as stack:
            if heard:
                stream = stack.enter_context(http.stream("GET", f"call/translate_video/{begun[0]['event_id']}"))
                next(line for line in stream.iter_lines() if "generating" in line)
            else:
                until(lambda: list(app.cache.rglob("*.part*")) or list(app.cache.rglob("*as night*")))
            app.process.send_signal(signal.SIGTERM)
            assert app.process.wait(LIMIT_S) == 0
    assert "terminate called" not in app.log.read_text() and "Traceback" not in app.log.read_text()
