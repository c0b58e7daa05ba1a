"""One picture translated in both directions and back, for the translate page."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Iterator
from typing import Any

import gradio as gr

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.config import DIRECTIONS
from cyclegan.errors import ImageError, Message, UserError, rounded
from cyclegan.ui import inputs, runs, words
from cyclegan.ui.feedback import busy, notices, raise_for_page
from cyclegan.ui.inputs import by
from cyclegan.ui.live import is_starting, waiting
from cyclegan.ui.results import Picture, Result, ResultRequest
from cyclegan.ui.workbench import Workbench

READINGS = ("both", *DIRECTIONS)
"""A picture is read as one of domain a, as one of b, or as both."""
EMPTY: list[Any] = [None, None, None, None, ""]
"""The values of a row without a result."""
KEPT = [gr.skip()] * len(EMPTY)
"""The values that leave a row as it is."""


def translate(
    bench: Workbench, payload: dict | None, run: str | None, epoch: str | None, size: str, reading: str,
    say: words.Speaker,
) -> Iterator[list[Any]]:
    """Yield a sentence and the values of the rows, after each direction; all empty before an error is raised."""
    if payload is None:
        yield [say("Choose a picture."), *EMPTY * len(DIRECTIONS)]
        return
    try:
        yield from _translate(bench, payload, run, epoch, size, reading, say)
    except Exception as error:
        yield [say("Nothing was translated."), *EMPTY * len(DIRECTIONS)]
        raise_for_page(error, say)


def _translate(
    bench: Workbench, payload: dict, run: str | None, epoch: str | None, size: str, reading: str, say: words.Speaker
) -> Iterator[list[Any]]:
    wanted_size = inputs.checked_size(size)
    if reading not in READINGS:
        raise ImageError("there is no reading {reading!r}: choose both, ab or ba", reading=str(reading)[:40])
    image, remarks = inputs.received(payload, say)
    if is_starting(bench.run(run)):
        yield [waiting(say), *EMPTY * len(DIRECTIONS)]
        return
    info = bench.info(run, None if epoch is None else runs.epoch_number(epoch))
    if not bench.ready.is_set():
        yield [busy(inputs.loading(say)), *KEPT * len(DIRECTIONS)]
    worked, more = inputs.working_side(image.size, wanted_size, info.config.data, bench.device_type(), say)
    picture, began = Picture(image), time.monotonic()
    directions = [one for one in DIRECTIONS if one in info.directions and reading in ("both", one)]
    run = run or next(iter(bench.runs))
    requests = [ResultRequest(run, info.epoch, info.commit_sha, one, worked) for one in directions]
    rows = {direction: [] if direction in directions else EMPTY for direction in DIRECTIONS}
    steps = bench.follow(picture, requests, say)
    for count, direction in enumerate(directions):
        while not isinstance(step := next(steps), Result):
            percent = f" {100 * (count + step) / len(directions):.0f} %" if step else ""
            yield [busy(say("Translating …") + percent), *(part for row in rows.values() for part in row or KEPT)]
        rows[direction] = row_values(bench.input(picture), step, say)
    said = say(
        "Epoch {epoch}, {size} pixels, worked at {worked}, {seconds:.1f} s.",
        epoch=info.epoch, size=by(image.size), seconds=time.monotonic() - began,
        worked=by(image.size if worked is None else inputs.working_size(image.size, worked)),
    )  # fmt: skip
    yield [" ".join([said, *remarks, *more]), *(part for row in rows.values() for part in row)]


def row_values(read: str, result: Result, say: words.Speaker) -> list[Any]:
    """Return a row's pictures, and a sentence about the reconstruction.

    Args:
        read: path of the picture as it was read.
        result: its translation.
        say: the visitor's language.
    """
    from cyclegan.evaluation.reconstruction import HEAT_FULL

    figures = result.similarity
    if figures is None:
        return [read, result.fake, None, None, ""]
    parts = [say("L1 {l1:.1f} of 255 grey levels", l1=figures.l1), f"PSNR {figures.psnr:.1f} dB"]
    parts += [] if figures.ssim is None else [f"SSIM {rounded(figures.ssim, '.3f')}"]
    said = say("Reconstruction: {figures}.", figures=", ".join(parts))
    scale = say("The map is black where nothing was lost, and brightest at {full} grey levels or more.", full=HEAT_FULL)
    return [read, result.fake, result.rec, result.lost, f"{said} {scale}"]


def lead(info: CheckpointInfo | None, problems: Iterable[Message | UserError | str], say: words.Speaker) -> str:
    """Return the HTML of the page's introduction, with what couldn't be shown of the run; info: None without epoch."""
    if info is None:
        return ""
    names = {domain: f"<b>{html.escape(name)}</b>" for domain, name in runs.domains(info).items()}
    if len(info.directions) == 1:
        here, there = (names[domain] for domain in info.directions[0])
        text = say("A network turns {a} into {b}, without ever having seen a matching pair.", a=here, b=there)
    else:
        text = say(
            "One network turns {a} into {b}, another {b} into {a}; neither has ever seen a matching pair. Your picture "
            "goes through both, in both orders; the reading that doesn't fit it looks odd. The closer the returned "
            "picture is to the original, the less was lost on the way.", **names
        )  # fmt: skip
    return f"<p>{text}</p>{notices(problems, say)}"


def row_names(info: CheckpointInfo, direction: str) -> dict[str, str]:
    """Return the names of a direction's domains, as `here` and `there`."""
    names = runs.domains(info)
    return {"here": names[direction[0]], "there": names[direction[1]]}


def row_heading(info: CheckpointInfo, direction: str, say: words.Speaker) -> str:
    """Return the HTML of a row's heading; it names a missing network."""
    names = row_names(info, direction)
    here, there = names.values()
    heading = say.html("As {here}", **names)
    if direction[::-1] in info.directions:
        return f"<h2>{heading} <span>{html.escape(f'{here} → {there} → {here}')}</span></h2>"
    why = say.html(
        "This checkpoint has no network for {back}: no way back, and no reading as {there}.",
        back=f"{there} → {here}", there=there,
    )  # fmt: skip
    return f"<h2>{heading} <span>{html.escape(f'{here} → {there}')}</span></h2><p>{why}</p>"


def row_looks(info: CheckpointInfo, direction: str, say: words.Speaker) -> list[dict[str, Any]]:
    """Return the label, alternative text and visibility of a row's four pictures."""
    names, both = row_names(info, direction), direction[::-1] in info.directions
    parts = [
        (True, say("input"), say("The picture, read as {here}", **names)),
        (True, say("as {there}", **names), say("The picture, translated to {there}", **names)),
        (both, say("back to {here}", **names), say("The picture as {there}, translated back to {here}", **names)),
        (both, say("lost on the way"), say("Where the returned picture differs from the original")),
    ]
    return [{"label": label, "alt_text": text, "visible": visible} for visible, label, text in parts]


def slider_looks(info: CheckpointInfo, direction: str, say: words.Speaker) -> list[dict[str, Any]]:
    """Return the label and visibility of a row's two sliders: input and translation, input and reconstruction."""
    first, *others = row_looks(info, direction, say)[:3]
    return [{"label": f"{first['label']} | {look['label']}", "visible": look["visible"]} for look in others]


def reading_choices(info: CheckpointInfo | None) -> list[tuple[Any, str]]:
    """Return the choices of a gr.Radio of readings."""
    if info is None:
        return [(words.label("Both"), "both")]
    names = runs.domains(info)
    return [(words.label("Both"), "both"), *((names[one[0]], one) for one in info.directions)]
