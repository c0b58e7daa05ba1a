"""docs/workbench.md shows every function that the running app offers to programs, with parameters that it has."""

import ast
import base64
import io
import json
import re

import httpx
import pytest

from tests.ui.conftest import HEADERS, ROOT, START_LIMIT_S, fetch, picture

pytestmark = pytest.mark.xdist_group("app")


@pytest.fixture(scope="module")
def described(app):
    with fetch(f"{app.url}gradio_api/info") as reply:
        return json.load(reply)["named_endpoints"]


def calls_in_docs():
    """(api_name, positional arguments, names of the others) of each predict in the page's example."""
    text = (ROOT / "docs" / "workbench.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.S)
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "predict":
            named = {keyword.arg: keyword.value for keyword in node.keywords}
            yield named.pop("api_name").value, len(node.args), set(named)


def test_every_function_has_an_example_that_it_understands(described):
    calls = list(calls_in_docs())
    assert {name for name, _, _ in calls} == set(described)
    for name, positional, named in calls:
        parameters = described[name]["parameters"]
        names = [parameter["parameter_name"] for parameter in parameters]
        assert named <= set(names[positional:])
        given = {*names[:positional], *named}
        assert all(one["parameter_has_default"] or one["parameter_name"] in given for one in parameters)


def test_every_function_says_what_it_takes_and_returns(described):
    for name, about in described.items():
        assert len(about["description"]) > 80, name
        for parameter in about["parameters"]:
            assert parameter["parameter_name"] in about["description"], (name, parameter["parameter_name"])
        first, *others = about["parameters"]
        assert first["parameter_name"] in ("image", "video", "files", "run", "study") and all(
            other["parameter_has_default"] for other in others
        )


def test_programs_find_the_same_functions_as_tools(app, described):
    async def listed(session):
        return (await session.list_tools()).tools

    tools = as_agent(app, listed)
    assert {tool.name for tool in tools} == {name.removeprefix("/") for name in described} - {"translate_files"}
    # A reference within a tool's own schema would point nowhere.
    assert all(tool.description and "$ref" not in json.dumps(tool.inputSchema) for tool in tools)


def as_agent(app, work):
    """What `work` returns for a session by the protocol itself."""
    import anyio
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def connected():
        async with (
            httpx.AsyncClient(headers=HEADERS, timeout=START_LIMIT_S) as http,
            streamable_http_client(f"{app.url}gradio_api/mcp/", http_client=http) as (reader, writer, _),
            ClientSession(reader, writer) as session,
        ):
            await session.initialize()
            return await work(session)

    return anyio.run(connected)


def test_a_tool_is_called_as_an_agent_does(app):
    """With the picture in the message."""
    buffer = io.BytesIO()
    picture(40, 32).save(buffer, "PNG")
    buffer.write(bytes(8_000_000))  # A photo has some megabytes. Behind the picture, they mean nothing.
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"

    async def call(session):
        return await session.call_tool("translate", {"image": url, "epoch": "epoch-0001", "reading": "ab"})

    result = as_agent(app, call)
    said = " ".join(part.text for part in result.content if part.type == "text")
    assert not result.isError and "Epoch 1, 40×32 pixels" in said, said
