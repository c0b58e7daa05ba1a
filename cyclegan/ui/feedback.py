"""A page's feedback: progress, problems of a run, and errors as one sentence."""

from __future__ import annotations

import functools
import html
import inspect
import itertools
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from typing import Any, NoReturn

import gradio as gr

from cyclegan.errors import Message, UserError
from cyclegan.files import is_full
from cyclegan.ui import words

MAX_NOTICES = 3

log = logging.getLogger(__name__)


def busy(text: str) -> str:
    """Return the HTML of a line that reports progress."""
    return f'<span class="busy">{html.escape(text)}</span>'


def notices(problems: Iterable[Message | UserError | str], say: words.Speaker | None = None) -> str:
    """Return the HTML of what couldn't be shown of a run."""
    sentences = (say or words.speaker()).text_of
    shown = []
    for problem in itertools.islice(problems, MAX_NOTICES):
        text = sentences(problem).removesuffix(".")
        said = problem.message if isinstance(problem, UserError) else problem
        values = said.values.values() if isinstance(said, Message) else ()
        if not any(str(value) and text.startswith(str(value)) for value in values):  # A name stays as it is.
            text = text[:1].upper() + text[1:]
        shown.append(f'<p class="notice">{html.escape(text)}.</p>')
    return "".join(shown)


def warn(problem: Message | UserError | str, say: words.Speaker, title: str) -> None:
    """Show a problem at the page's corner while the event continues."""
    gr.Warning(html.escape(say.text_of(problem), quote=False), title=title)


def page_error(error: BaseException, say: words.Speaker | None = None) -> gr.Error:
    """Return one sentence for the visitor; an error that isn't a UserError goes to the log with its traceback."""
    say = say or words.speaker()
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, UserError):
        # The list of layouts is in columns, of a terminal's letters.
        values = error.message.values
        text = say.text_of(values["problem"] if "layouts" in values else error)
    elif isinstance(error, CancelledError) or "out of memory" in str(error).lower():
        text = say("There isn't enough memory for this picture: choose the training size.")
    elif is_full(error):
        log.error("the disk is full: %s", error)
        text = say("This computer's disk is full: try again later, or with a smaller picture.")
    else:
        log.error("a page failed", exc_info=error)
        text = say("Something went wrong here, and it was logged: try again, or try another picture.")
    # gradio renders the message as HTML.
    return gr.Error(html.escape(text, quote=False), title=say("That didn't work"), print_exception=False)


def nothing_translated(problem: gr.Error, say: words.Speaker) -> str:
    """Return the HTML of the line about a failure; it remains when the notice at the corner (`page_error`) is gone."""
    reason = html.unescape(str(problem.message)).removesuffix(".")
    return html.escape(say("Nothing was translated: {reason}.", reason=reason), quote=False)


def raise_for_page(error: BaseException, say: words.Speaker | None = None) -> NoReturn:
    """Raise the error's sentence for the visitor (`page_error`)."""
    shown = page_error(error, say)
    raise shown from (None if shown is error else error)


def shows_errors(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn`, plain or a generator, whose errors are sentences in the language of its `gr.Request`, if any."""

    def say(args: tuple[Any, ...]) -> words.Speaker:
        return words.speaker(next((arg for arg in args if isinstance(arg, gr.Request)), None))

    if inspect.isgeneratorfunction(fn):

        @functools.wraps(fn)  # gradio reads the signature
        def steps(*args: Any) -> Any:
            try:
                yield from fn(*args)
            except Exception as error:
                raise_for_page(error, say(args))

        return steps

    @functools.wraps(fn)
    def call(*args: Any) -> Any:
        try:
            return fn(*args)
        except Exception as error:
            raise_for_page(error, say(args))

    return call
