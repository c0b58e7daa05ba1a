"""What the app's own MCP server asks on behalf of its callers counts as theirs, and a refusal has its reason."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from cyclegan.ui.guard import tools
from cyclegan.ui.guard.visitors import address_of


@pytest.fixture
def client():
    async def seen(request):
        return JSONResponse([address_of(request), request.headers.get(tools.CALLER.decode())])

    async def tool(request):  # As gradio's: what the caller has sent goes on with the call.
        return JSONResponse(inner.get("/seen", headers=dict(request.headers)).json())

    app = Starlette(routes=[Route("/seen", seen), Route("/gradio_api/mcp/", tool)],
                    middleware=[Middleware(tools.Callers)])  # fmt: skip
    inner = TestClient(app, client=("127.0.0.1", 1))
    return TestClient(app, client=("10.0.0.7", 1))


def test_a_tool_s_call_comes_from_its_caller(client):
    assert client.get("/gradio_api/mcp/").json() == ["10.0.0.7", None]


@pytest.mark.parametrize("forged", ["", "10.0.0.8", " 10.0.0.8", "key 10.0.0.8", "\xe9 10.0.0.8"])
def test_nobody_else_can_say_where_a_call_comes_from(client, forged):
    headers = {tools.CALLER: forged.encode("latin-1")}
    for path in ("/seen", "/gradio_api/mcp/"):
        assert client.get(path, headers=headers).json()[0] == "10.0.0.7"


@pytest.mark.parametrize(
    "body, said", [(b'{"detail": "too many"}', "too many"), (b"{}", "status"), (b"[]", "status"), (b"no", "status")]
)
def test_a_refused_call_has_its_reason(body, said):
    async def execute(job):
        raise httpx.HTTPStatusError("status", request=httpx.Request("GET", "http://x"),
                                    response=httpx.Response(400, content=body))  # fmt: skip

    with pytest.raises((ValueError, httpx.HTTPStatusError), match=said):
        asyncio.run(tools._with_reason(execute)(None))
