"""Inputs that several pages share: uploaded pictures, and working sizes."""

from __future__ import annotations

import base64
import html
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from cyclegan.config import DataConfig
from cyclegan.errors import ImageError, Message, message
from cyclegan.images import MAX_SIDE
from cyclegan.pixels import PictureFacts, notes_on, recorded_facts
from cyclegan.rasters.raster import Raster
from cyclegan.ui import words
from cyclegan.ui.decoding import kind_of, open_picture, slices_of
from cyclegan.ui.results import Picture, original_of, put_original, served
from cyclegan.ui.workbench import QUICK
from cyclegan.values import RGB, Values

MAX_SHOWN_PIXELS = 16_000_000
"""Larger pictures are reduced first: several of them travel to the browser as PNG."""
MAX_WORKED_PIXELS = {"cpu": 1_000_000}
"""Most pixels that the networks get, by device: four passes over this many take about a minute on two cores."""
MAX_WORKED_PIXELS_ELSEWHERE = 8_000_000
MAX_PREVIEW_SIDE = 1024
MAX_SHOWN_NAME = 80
NOT_FOR_BROWSERS = {".tif", ".tiff", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".heic", ".heif"}
NAMED_SIZES = ("auto", "training", "original")
PIXEL_SIZES = (128, 196, 208, 256, 384, 512, 768, 1024)
"""Offered; any other number of pixels can be typed."""
LEAST_SIZE, MOST_SIZE = 8, 8192


# --- uploaded pictures ------------------------------------------------------------------------------------


def source_of(payload: dict) -> Any:
    """Return the uploaded file's path, or the bytes that a browser sent within the message.

    Where a picture shows a file that browsers can't, the path is the picture's: see `content_of`.

    Raises:
        ImageError: it isn't a file that was uploaded here.
    """
    if payload.get("path"):
        # Gradio checks only what calls itself a file of its own, and any request may name any path.
        path = Path(str(payload["path"])).resolve()
        if not path.is_relative_to(Path(get_upload_folder()).resolve()):
            raise ImageError("This file wasn't uploaded here: choose it again")
        if not path.exists():  # Its page was closed or away for a while.
            raise ImageError("This file is no longer here: choose it again")
        return path
    head, _, data = (payload.get("url") or "").partition(",")
    if not head.startswith("data:"):
        raise ImageError("This file didn't arrive: choose it again")
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise ImageError("This file arrived damaged: choose it again") from error


def content_of(payload: dict) -> Any:
    """Return what a visitor gave, as `source_of` does: the file behind a picture that shows it. Raises ImageError."""
    source = source_of(payload)
    return original_of(source) if isinstance(source, Path) else source


def opened(payload: dict, values: Values = RGB) -> tuple[Image.Image | Raster, tuple[int, int]]:
    """Return the uploaded picture as a domain of these values has it, and the file's own size.

    A JPEG is decoded at no more than it needs for MAX_SHOWN_PIXELS.

    Raises:
        ImageError: it can't be read.
    """
    return open_picture(content_of(payload), values, name=_name_of(payload), enough=MAX_SHOWN_PIXELS)


def _name_of(payload: dict) -> str | Message:
    """Return the name that a picture has on its visitor's computer, for messages; any request may send any value."""
    name = payload.get("orig_name")
    shown = "".join(c for c in name if c.isprintable())[:MAX_SHOWN_NAME] if isinstance(name, str) else ""
    return shown or message("This file")


def received(payload: dict, say: words.Speaker, values: Values = RGB) -> tuple[Image.Image | Raster, list[str]]:
    """Return the uploaded picture within MAX_SHOWN_PIXELS, and remarks about what isn't used. Raises ImageError."""
    with recorded_facts() as facts:
        picture, size = opened(payload, values)
    picture, remarks = reduced(picture, size, say)
    return picture, [*remarks, *_remarks_on(facts, say), *_remarks_on_values(payload, values, say)]


def _remarks_on_values(payload: dict, values: Values, say: words.Speaker) -> list[str]:
    if values.plain:
        return []
    source = content_of(payload)
    if kind_of(source) is None:
        return [say("Your picture has 8 bits, so its grey levels, 0 to 255, were taken as its values.")]
    if (count := slices_of(source)) > 1:
        return [say("Your file has {count:,} slices; the one in the middle was taken.", count=count)]
    return []


def _remarks_on(facts: Sequence[PictureFacts], say: words.Speaker) -> list[str]:
    return [say("About your picture: {note}.", note=note) for note in notes_on(facts)]


def loading(say: words.Speaker) -> str:
    """Return what is shown to whoever waits for the first networks."""
    return say("Loading the networks, which takes about ten seconds the first time …")


def reduced(
    picture: Image.Image | Raster, size: tuple[int, int], say: words.Speaker
) -> tuple[Image.Image | Raster, list[str]]:
    """Return the picture within MAX_SHOWN_PIXELS, and a remark if it was reduced.

    Args:
        picture: as it was decoded.
        size: width and height of the visitor's file.
        say: from `words.speaker`.
    """
    width, height = size
    if width * height <= MAX_SHOWN_PIXELS:
        return picture, []
    scale = math.sqrt(MAX_SHOWN_PIXELS / (width * height))
    smaller = picture.resize((max(1, int(width * scale)), max(1, int(height * scale))), Image.Resampling.BICUBIC)
    before, after = by(size), by(smaller.size)
    return smaller, [say("Your picture of {before} was reduced to {after} first.", before=before, after=after)]


def picked(image: gr.Image, **event: Any) -> tuple[gr.State, gr.State]:
    """Return a state that changes when the visitor gives or takes away a picture, and the number of refused ones.

    Not the box itself: a picture that replaces another changes that twice, and would be translated, or refused, twice.
    Nor its `input`: when a picture is taken away that the server had put there, it still brings that picture.

    Args:
        image: the picture's box; `unless_bad` empties it after a failure.
        event: options of its event.
    """
    now, refused = gr.State(None), gr.State(0)
    image.change(picture_of, [image, now, refused], now, preprocess=False, **event)
    return now, refused


def picture_of(payload: dict | None, before: Sequence[Any] | None, refused: int) -> Any:
    """Return the address of the picture in the box, with the number of pictures that were refused before it."""
    if payload is None and before is not None and before[1] != refused:
        return gr.skip()  # The server has emptied the box, and the reason remains on the page.
    path = payload and payload.get("path")
    if path and before and _shows(path, before[0]):
        return gr.skip()  # A picture for the browser has taken the place of its file.
    return [path or (payload and payload.get("url")), refused]


def _shows(path: str, file: str | None) -> bool:
    """Return whether a picture in the box is a view of a file that was in it before."""
    original = original_of(Path(path))
    try:
        return original != Path(path) and os.path.samefile(original, file or "")
    except OSError:
        return False


def unless_bad(payload: dict | None, refused: int, readings: Sequence[Values] = (RGB,)) -> list[Any]:
    """After a failure, empty the picture's box if the picture was the reason, so that another can be dropped.

    Args:
        payload: the picture.
        refused: number of pictures that were refused before.
        readings: values of the domains that it may be of.

    Returns:
        The box's value, and the number of refused pictures.
    """
    try:
        if payload is not None:
            readable(payload, readings)
    except Exception:
        return [None, refused + 1]
    return [gr.skip(), refused]


def readable(payload: dict, readings: Sequence[Values]) -> Values:
    """Return the first of the domains' values as which a picture can be read. Raises the first one's ImageError."""
    errors = []
    for values in readings:
        try:
            opened(payload, values)
        except ImageError as error:
            errors.append(error)
        else:
            return values
    raise errors[0]


def for_browsers(payload: dict | None, request: gr.Request, readings: Sequence[Values] = (RGB,)) -> Any:
    """Return what the picture's box shows of a file that the networks can read and browsers can't.

    Remarks about the file pop up, because the sentence below the box follows what the box shows, a copy of 8 bits. In a
    run of other values, the file remains behind the copy.
    """
    if payload is None or Path(payload.get("path") or "").suffix.lower() not in NOT_FOR_BROWSERS:
        return gr.skip()
    values = readable(payload, readings) if any(not one.plain for one in readings) else RGB
    if not values.plain:
        return preview(source_of(payload), values)
    with recorded_facts() as facts:
        shown, _ = opened(payload)
    for remark in _remarks_on(facts, words.speaker(request)):
        gr.Info(html.escape(remark, quote=False), title="", duration=30)
    shown.thumbnail((MAX_PREVIEW_SIDE, MAX_PREVIEW_SIDE))
    return shown


def preview(file: Path, values: Values, folder: str = "") -> str:
    """Return the path of a small picture of a file for a browser, with the file behind it. Raises ImageError.

    Args:
        file: a visitor's, in gradio's folder, or a run's.
        values: of the domain that it is read for.
        folder: see `served`.
    """
    shown = Picture(open_picture(file, values)[0], values).shown
    shown.thumbnail((MAX_PREVIEW_SIDE, MAX_PREVIEW_SIDE))
    path = served(f"{file.stem}.png", lambda target: shown.save(target, compress_level=1), folder)
    put_original(path, file)
    return path


def picture_inputs(height: int) -> tuple[gr.Image, gr.Gallery]:
    """Add the box for the visitor's picture, and a strip of examples.

    Args:
        height: of the picture's box, in pixels.
    """
    image = gr.Image(
        label=words.label("Your picture"), type="filepath", image_mode=None, format="png", buttons=[], height=height,
        sources=["upload", "webcam", "clipboard"],
        placeholder=words.label("Drop a picture here\nor click to choose one"),
    )  # fmt: skip
    examples = gr.Gallery(
        label=words.label("Or take an example"), allow_preview=False, interactive=False, columns=4, buttons=[],
        format="png", object_fit="cover", elem_classes="examples", visible=False,
    )
    # Another picture in the box isn't the example that was chosen before.
    gr.on([image.upload, image.clear], lambda: gr.Gallery(selected_index=None), None, examples, **QUICK)
    return image, examples


# --- sizes --------------------------------------------------------------------------------------------------


def by(size: tuple[int, int]) -> str:
    """Return a size as text: `640×480`."""
    return f"{size[0]}×{size[1]}"


def size_dropdown() -> gr.Dropdown:
    """Add the choice of a working size; its number of pixels can be typed."""
    named = [
        (words.label("Automatic"), "auto"), (words.label("As in training"), "training"),
        (words.label("Original"), "original"),
    ]  # fmt: skip
    return gr.Dropdown(
        [*named, *((f"{pixels} px", str(pixels)) for pixels in PIXEL_SIZES)], value="auto", allow_custom_value=True,
        label=words.label("Working size"),
        info=words.label(
            "The shorter side in pixels at which the networks work. Automatic takes the picture's own, at most twice "
            "the training size. Results have your picture's size."
        ),
    )


def working_size(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Return width and height in proportion, with the shorter side brought to `shorter`."""
    from cyclegan.translation.translator import working_size  # Loads torch.

    return working_size(size, shorter)


def checked_size(size: str | int) -> str | int:
    """Return a size as its name or in pixels; raise ImageError for another."""
    if size in NAMED_SIZES:
        return size
    digits = str(size).strip().lower().removesuffix("px").strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 6 and LEAST_SIZE <= int(digits) <= MOST_SIZE):
        raise ImageError(
            "there is no working size {size!r}: choose {names}, or {least} to {most} pixels",
            size=str(size)[:40], names=", ".join(NAMED_SIZES), least=LEAST_SIZE, most=MOST_SIZE,
        )
    return int(digits)


def working_side(
    size: tuple[int, int], choice: str | int, data: DataConfig, device: str, say: words.Speaker
) -> tuple[int | None, list[str]]:
    """Return the shorter side to work at, None for the picture's own, and a remark if it was limited.

    Args:
        size: the picture's width and height.
        choice: as `checked_size` returns it.
        data: what the networks were trained with.
        device: the type of torch's device.
        say: from `words.speaker`.
    """
    shorter = min(size)
    training = training_side(size, data)
    # Up to twice the training size, things are still of a size that the networks know, and results are sharper.
    named = {"original": shorter, "training": training, "auto": min(max(shorter, training), 2 * training)}
    wanted = named[choice] if isinstance(choice, str) else choice
    most = MAX_WORKED_PIXELS.get(device, MAX_WORKED_PIXELS_ELSEWHERE)
    limit = min(math.sqrt(most / math.prod(size)), max(1.0, MAX_SIDE / max(size)))
    if wanted <= limit * shorter:
        return (None if wanted == shorter else wanted), []
    worked = max(1, int(limit * shorter))
    return worked, [
        say(
            "It was translated at {size} and scaled back, because a larger size would take this computer too long.",
            size=by(working_size(size, worked)),
        )
    ]


def training_side(size: tuple[int, int], data: DataConfig) -> int:
    """Return the shorter side at which things have the size that they had in training."""
    shorter = min(size)
    match data.preprocess:
        case "none":
            return shorter
        case "crop":
            return max(shorter, data.crop_size)
        case "scale_width":
            return max(1, round(shorter * data.crop_size / size[0]))
        case "scale_width_crop":
            return max(data.crop_size, round(shorter * data.load_size / size[0]))
        case _:  # Whole pictures were squeezed to a square.
            return data.crop_size
