"""The app without what gradio does in vain for every visitor, all of it in the one thread that serves everybody."""

from __future__ import annotations

import copy
import functools
from typing import Any

import gradio as gr
from gradio import blocks
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SKIP = gr.skip()


class Pages(gr.Blocks):
    """An app whose components stay as they are where an event skips them; gradio would build each of them anew.

    A visitor who waits is told several times how far the work is, and of an event's fifteen outputs that is one.
    """

    async def postprocess_data(self, block_fn: Any, predictions: Any, *rest: Any, **named: Any) -> list[Any]:
        """Return what the page gets for an event's outputs."""
        outputs = list(block_fn.outputs)
        several = isinstance(predictions, (list, tuple)) and len(predictions) == len(outputs) > 1
        if not several or block_fn.batch:
            return await super().postprocess_data(block_fn, predictions, *rest, **named)
        given = [place for place, value in enumerate(predictions) if not (isinstance(value, dict) and value == SKIP)]
        sent: list[Any] = [None if output.stateful else dict(SKIP) for output in outputs]
        if given:
            fewer = copy.copy(block_fn)
            fewer.outputs = [outputs[place] for place in given]
            values = [predictions[place] for place in given]
            # One output's value isn't in a list.
            done = await super().postprocess_data(fewer, values if len(values) > 1 else values[0], *rest, **named)
            for place, value in zip(given, done, strict=True):
                sent[place] = value
        return sent


@functools.cache
def describe_pages_only() -> None:
    """Keep gradio from describing each component anew for every visitor, and for every value that it gets.

    Gradio's deep links alone read these descriptions, and no page has one. What a page is built from is described as
    before.
    """
    config = getattr(blocks, "BlocksConfig", None)
    describe = getattr(config, "config_for_block", None)
    if describe is None:  # A later gradio; a test tells us.
        return

    def described(_id: int, rendered_ids: list[int], *rest: Any, **named: Any) -> dict[str, Any]:
        return describe(_id, rendered_ids, *rest, **named) if rendered_ids else {}  # Of a page, some are.

    config.config_for_block = staticmethod(described)


def no_deep_links() -> Route:
    """Return the route that refuses gradio's deep links, which would lead to a page without components."""

    async def refuse(request: Request) -> JSONResponse:
        return JSONResponse({"detail": "this app has no deep links: give the address of a page"}, 404)

    return Route("/gradio_api/deep_link", refuse)
