"""What gradio does for every visitor."""

import asyncio
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.blocks import BlocksConfig
from gradio.state_holder import SessionState
from starlette.applications import Starlette
from starlette.testclient import TestClient

from cyclegan.ui import theme
from cyclegan.ui.lean import Pages, describe_pages_only


def test_components_are_described_for_the_page_and_not_for_every_visitor():
    """Gradio would do so at a visitor's first event, and for each value that a component gets."""
    describe_pages_only()
    config = BlocksConfig(SimpleNamespace(renderables=[]))
    box = config.blocks[1] = gr.Textbox("first", label="A word", render=False)
    assert config.config_for_block(1, [1], box)["props"]["label"] == "A word"
    visitor = SessionState(SimpleNamespace(default_config=config, blocks=config.blocks))
    visitor[1] = gr.Textbox("second", render=False)
    visitor._update_config(1)
    visitor._update_value_in_config(1, "third")
    assert visitor[1].value == "second"
    assert not list(visitor.components)


@pytest.fixture
def built(monkeypatch):
    """Outputs that gradio is asked to build anew, with their values; it says "new" of each."""
    asked = []

    async def build(self, block_fn, predictions, state):
        values = predictions if len(block_fn.outputs) > 1 else [predictions]
        asked.extend(zip(block_fn.outputs, values, strict=True))
        return ["new"] * len(values)

    monkeypatch.setattr(gr.Blocks, "postprocess_data", build)
    return asked


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["note", gr.skip(), gr.skip()], [0]),
        ([gr.skip(), {"__type__": "update", "value": 2}, ["a", "list"]], [1, 2]),
        ([gr.skip()] * 3, []),
        (["a", "b", "c"], [0, 1, 2]),
    ],
)
def test_components_that_an_event_skips_stay_as_they_are(built, given, wanted):
    outputs = [gr.Textbox(render=False), gr.Image(render=False), gr.JSON(render=False)]
    function = SimpleNamespace(outputs=outputs, batch=False)
    sent = asyncio.run(Pages.postprocess_data(Pages.__new__(Pages), function, given, None))
    assert built == [(outputs[place], given[place]) for place in wanted]
    assert sent == ["new" if place in wanted else gr.skip() for place in range(3)]
    assert function.outputs == outputs


def test_a_state_that_is_skipped_sends_nothing(built):
    function = SimpleNamespace(outputs=[gr.State(render=False), gr.Textbox(render=False)], batch=False)
    assert asyncio.run(Pages.postprocess_data(Pages.__new__(Pages), function, [gr.skip(), "x"], None)) == [None, "new"]


@pytest.mark.parametrize("given", ["only", gr.skip(), ["a", "list"]])
def test_an_event_with_one_output_is_gradio_s_own(built, given):
    box = gr.JSON(render=False)
    function = SimpleNamespace(outputs=[box], batch=False)
    asyncio.run(Pages.postprocess_data(Pages.__new__(Pages), function, given, None))
    assert built == [(box, given)]


def test_deep_links_are_refused():
    """They would lead to a page without components."""
    app = Starlette(routes=theme.launch_options([], own=True)["app_kwargs"]["routes"])
    answer = TestClient(app).get("/gradio_api/deep_link", params={"session_hash": "any"})
    assert answer.status_code == 404 and "no deep links" in answer.json()["detail"]
