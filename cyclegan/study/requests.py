"""Requests of the page: reading their bodies, and refusing them with a sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from anyio import fail_after
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cyclegan.errors import Message, StudyError, message

MAX_BODY_BYTES, MAX_REPLIES_BYTES = 16_000, 64_000
BODY_S = 30.0
"""Seconds in which a body has to arrive."""
STATUS = {
    "no_session": 401, "no_login": 403, "not_invited": 403, "no_consent": 403, "login_needed": 401, "not_found": 404,
    "taken": 409, "stale_token": 409, "out_of_order": 409, "not_revealed": 409, "gone": 410, "late": 410, "closed": 410,
    "too_many": 429, "slow_down": 429, "busy": 503,
}  # fmt: skip
"""HTTP status by the code of a refusal; 400 for the others."""


class Refused(StudyError):
    """A request that is answered with an error.

    Args:
        code: for programs.
        said: the sentence for people.
        status: HTTP status; None for the code's.
        retry_after_s: seconds after which it may be repeated; 1 for 429 and 503.
    """

    def __init__(
        self, code: str, said: Message, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(said)
        self.code, self.status = code, status or STATUS.get(code, 400)
        self.retry_after_s = retry_after_s or (1 if self.status in (429, 503) else None)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message), self.__dict__

    def response(self) -> Response:
        """Return the answer: {error: code, message: sentence}."""
        headers = {"cache-control": "no-store"}
        if self.retry_after_s:
            headers["retry-after"] = str(math.ceil(self.retry_after_s))
        return JSONResponse({"error": self.code, "message": str(self)}, self.status, headers)


async def read_body(request: Request, most: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """Return the JSON object that was sent.

    Another site's page can make a browser send a form, but not JSON without asking first; and browsers name the
    site that a request comes from.

    Raises:
        Refused: cross_site, bad_answer, busy.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        said = message("This request comes from another site: open the study's link itself.")
        raise Refused("cross_site", said, status=403)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused("bad_answer", message("Send JSON, with Content-Type: application/json."), status=415)
    content = bytearray()
    try:
        with fail_after(BODY_S):
            async for part in request.stream():
                content += part
                if len(content) > most:
                    said = message("Send {most:,} bytes at most.", most=most)
                    raise Refused("bad_answer", said, status=413)
    except TimeoutError as error:
        said = message("The request did not arrive completely within {seconds:g} s: send it again.", seconds=BODY_S)
        raise Refused("busy", said) from error
    try:
        body = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused("bad_answer", message("This isn't valid JSON.")) from error
    if not isinstance(body, dict):
        raise Refused("bad_answer", message("Send a JSON object."))
    return body


def _refuse_constant(text: str) -> None:
    """Refuse NaN and Infinity, which Python's parser would take."""
    raise ValueError(f"{text} isn't valid JSON")


def read_token(body: Mapping[str, Any]) -> str:
    """Return the trial's token in a body; raise Refused if there is none."""
    token = body.get("token")
    if not isinstance(token, str) or not 0 < len(token) <= 200:
        raise Refused("bad_answer", message("token has to be the trial's token."))
    return token
