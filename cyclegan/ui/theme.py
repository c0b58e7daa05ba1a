"""The look that the pages share: colours, fonts, the header, and the options of `launch`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.routes import App
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from cyclegan.ui import uncollected, words
from cyclegan.ui.lean import Pages, describe_pages_only, no_deep_links
from cyclegan.ui.results import SERVED

CSS = Path(__file__).with_name("ui.css")


def theme() -> gr.themes.Base:
    """Return the theme: calm greys, one accent, the system's own fonts, so that nothing is fetched from elsewhere."""
    return gr.themes.Default(
        primary_hue="teal",
        neutral_hue="slate",
        font=("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Noto Sans CJK KR", "sans-serif"),
        font_mono=("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"),
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_label_background_fill="*background_fill_primary",
        # The built-in greys for small text fall short of a contrast of 4.5 to 1.
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
    )




def blocks() -> gr.Blocks:
    """Return the empty app; gradio removes its files an hour after their last use."""
    describe_pages_only()
    made = Pages(title="CycleGAN workbench", delete_cache=(3600, 3600))
    made.temp_file_sets.append(SERVED)
    return made


@contextlib.contextmanager
def composing() -> Iterator[None]:
    """Keep gradio from building its web app and its configuration after each page; `launch` builds what is served."""
    create, configure = App.create_app, gr.Blocks.get_config_file
    App.create_app = staticmethod(lambda *arguments, **options: None)
    gr.Blocks.get_config_file = lambda *arguments, **options: {}
    try:
        with uncollected():
            yield
    finally:
        App.create_app, gr.Blocks.get_config_file = staticmethod(create), configure


def header(page: str) -> None:
    """Put the app's name and the links to its pages at the top of a page.

    Args:
        page: its path.
    """
    pages = {
        "": words.label("Translate"), "compare": words.label("Compare"), "files": words.label("Files"),
        "checkpoints": words.label("Checkpoints"), "scores": words.label("Scores"), "studies": words.label("Studies"),
    }  # fmt: skip
    gr.HTML("<h1>CycleGAN workbench</h1>", elem_classes="title", padding=False)
    with gr.Row(elem_classes="navigation"):
        for path, name in pages.items():
            current = {"elem_classes": "current"} if path == page else {}
            gr.Button(name, link=f"./{path}", link_target="_self", size="sm", **current)


AFTER_LOAD = """() => {
  document.querySelector('.note')?.setAttribute('role', 'status');
  document.querySelector('.navigation')?.addEventListener('click', (event) => {
    const link = event.target.closest('a'), shown = document.querySelector('.training [data-run]')?.dataset;
    const run = shown ? 'chosen' in shown && shown.run : new URLSearchParams(location.search).get('run');
    if (link) link.search = run ? new URLSearchParams({run}) : '';
  }, true);
}"""


def after_load() -> None:
    """Make screen readers announce the line of progress, and links to the other pages keep a run that was chosen."""
    gr.context.Context.root_block.load(
        None, js=AFTER_LOAD, queue=False, show_progress="hidden", api_visibility="private"
    )


def launch_options(
    css: Sequence[Path], *, own: bool, routes: Sequence[BaseRoute] = (), middleware: Sequence[Middleware] = ()
) -> dict[str, Any]:
    """Return the options of `launch`: the look, limits on uploads, and no requests from or to elsewhere.

    Args:
        css: the pages' style sheets.
        own: whether the visitor owns this computer.
        routes: served next to gradio's pages.
        middleware: what requests go through before those pages.
    """
    return {
        "app_kwargs": {"routes": [no_deep_links(), *routes], "middleware": list(middleware)},
        "theme": theme(),
        "css_paths": [CSS, *css],
        "i18n": words.i18n(),
        "mcp_server": find_spec("mcp") is not None,  # Of gradio's extra `mcp`.
        "max_threads": 80,
        "state_session_capacity": 1000,  # A tenth of a megabyte each.
        "quiet": True,  # It would print an address without the token.
        "max_file_size": None if own else "50mb",
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
    }
