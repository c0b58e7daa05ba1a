"""Answers of gradio's own that blame the server for a caller's mistake, or say nothing; here they are sentences."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import HTTPException
from gradio import queueing, route_utils, utils
from gradio.route_utils import FnIndexInferError
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyclegan.ui.guard.bodies import TooLarge

NO_FUNCTION = "there is no such function here: /gradio_api/info lists those that there are"
NOT_UNDERSTOOD = (
    "this request couldn't be carried out: /gradio_api/info says which values each function takes, and in which order; "
    "the reason is in the server's log"
)

log = logging.getLogger(__name__)


class Sentences:
    """Middleware that answers a program with a sentence where gradio's own code fails, and logs the failure."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except TooLarge:  # Its guard knows why.
            raise
        except Exception:
            if begun or scope["type"] != "http" or "/gradio_api/" not in scope["path"]:
                raise
            log.exception("%s failed", scope["path"])
            await JSONResponse({"detail": NOT_UNDERSTOOD}, 500)(scope, receive, send)


def prepare() -> None:
    """Put sentences in the place of a server error for an unknown function, and of an error without a word."""
    find, payload = route_utils.get_fn, utils.error_payload

    def found(*args: Any, **named: Any) -> Any:
        try:
            return find(*args, **named)
        except (FnIndexInferError, KeyError) as error:
            raise HTTPException(404, NO_FUNCTION) from error

    def said(error: BaseException | None, show_error: bool) -> dict[str, Any]:
        content = payload(error, show_error)
        # What our own functions raise is a sentence already (`feedback.page_error`).
        return content if content["error"] is not None else {**content, "error": NOT_UNDERSTOOD}

    route_utils.get_fn = found
    utils.error_payload = queueing.error_payload = said
