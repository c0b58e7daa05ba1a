"""What gradio does for every visitor."""

from types import SimpleNamespace

import gradio as gr
from gradio.blocks import BlocksConfig
from gradio.state_holder import SessionState

from cyclegan.ui import theme


def test_components_are_described_for_the_page_and_not_for_every_visitor():
    """Gradio would do so at a visitor's first event, and for each value that a component gets."""
    theme.describe_pages_only()
    config = BlocksConfig(SimpleNamespace(renderables=[]))
    box = config.blocks[1] = gr.Textbox("first", label="A word", render=False)
    assert config.config_for_block(1, [1], box)["props"]["label"] == "A word"
    visitor = SessionState(SimpleNamespace(default_config=config, blocks=config.blocks))
    visitor[1] = gr.Textbox("second", render=False)
    visitor._update_config(1)
    visitor._update_value_in_config(1, "third")
    assert visitor[1].value == "second"
    assert not list(visitor.components)
