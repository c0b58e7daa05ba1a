"""A private app answers under this computer's names only, and takes nothing from other pages."""

import pytest

from cyclegan.cli.access import Access
from tests.ui.guard.test_gate import TOKEN, client

OWNER = {"authorization": f"Bearer {TOKEN}"}
"""As if the browser had the cookie: names are looked at first."""


@pytest.fixture
def local():
    return client(Access(private=True, local=True, token=TOKEN))


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example",
             "192.168.1.7:7860", "[fe80::1]", "", " ", "127.0.0.1@evil.example", "0.0.0.0:7860", "[::1", "a" * 9000],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/gradio_api/upload", "/gradio_api/mcp/", "/study/tiny"])
def test_a_foreign_name_is_refused_whatever_it_knows(local, host, path):
    for method in ("GET", "POST"):
        answer = local.request(method, path, headers={**OWNER, "host": host})
        assert answer.status_code == 403 and "this computer only" in answer.text and len(answer.text) < 300


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1", "127.1.2.3:7860", "[::1]:7860", "LOCALHOST."]
)
def test_this_computer_s_names_are_taken_at_any_port(local, host):
    assert local.get("/", headers={**OWNER, "host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "https://[", "", "\x00"])
def test_nothing_is_taken_from_a_foreign_page(local, origin):
    for path in ("/gradio_api/upload", "/gradio_api/call/translate", "/owner", "/enter", "/study/tiny/session"):
        answer = local.post(path, headers={**OWNER, "origin": origin})
        assert answer.status_code == 403 and "can't use this app" in answer.text
        assert local.get(path, headers={**OWNER, "origin": origin}).status_code == 403  # Nor read.
    own = {**OWNER, "origin": "http://127.0.0.1:7860"}
    assert local.post("/gradio_api/upload", content=b"x", headers=own).status_code == 200


def test_a_proxy_s_name_can_be_allowed():
    behind_proxy = client(Access(private=True, local=True, hosts=("Lab.Example.org",), token=TOKEN))
    for host in ("lab.example.org", "127.0.0.1:7860"):  # As the proxy passes it on, or not.
        headers = {**OWNER, "host": host, "origin": "https://lab.example.org"}
        assert behind_proxy.post("/gradio_api/upload", content=b"x", headers=headers).status_code == 200
    assert behind_proxy.get("/", headers={**OWNER, "host": "evil.example"}).status_code == 403


def test_a_server_for_others_has_any_name():
    everybody = client(Access(private=False, token=TOKEN), "https://someone-demo.hf.space")
    assert everybody.post("/x", headers={"origin": "https://a.example"}).status_code == 200
    with_token = client(Access(private=True, token=TOKEN), "https://1234.gradio.live")
    assert with_token.get("/", headers=OWNER).status_code == 200
    assert with_token.post("/x", headers={**OWNER, "origin": "https://a.example"}).status_code == 403
